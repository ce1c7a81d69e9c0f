"""Entrants that follow a script, for tests of the race engine in virtual time.

A script is a row of steps: a number is a wait in seconds, a string an item, an exception is raised; after the last step
the entrant has ended. Items in capitals are clean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import anyio

from g4ftrio._race.entrant import Entrant
from g4ftrio._race.iterators import IteratorRace, Opener, race_iterators
from g4ftrio._race.policies import Policy, parallel
from g4ftrio._race.race import Race
from g4ftrio._words.report import EntrantReport, RaceReport

__all__ = ("FOREVER", "CleanGate", "Line", "Scripted", "entrant", "outcomes", "race", "race_of")

FOREVER = 1e6  # seconds that no test waits for


class Scripted(AsyncIterator[str]):
    """An entrant with a resource, and an iterator that any task may read.

    :param opening: seconds that it takes to open
    :param closing: seconds that it takes to close
    :param spoilt: what closing raises
    """

    def __init__(
        self,
        *steps: float | str | BaseException,
        opening: float = 0,
        closing: float = 0,
        spoilt: BaseException | None = None,
    ) -> None:
        self._steps = iter(steps)
        self._opening = opening
        self._closing = closing
        self._spoilt = spoilt
        self.pulled = 0
        self.opened_at: float | None = None
        self.closing_at: list[float] = []
        self.closed_at: float | None = None

    def __call__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        await _wait(self._opening)
        self.opened_at = anyio.current_time()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.closing_at.append(anyio.current_time())
        await _wait(self._closing)
        self.closed_at = anyio.current_time()
        if self._spoilt is not None:
            raise self._spoilt

    async def __anext__(self) -> str:
        for step in self._steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, str):
                self.pulled += 1
                return step
            await anyio.sleep(step)
        raise StopAsyncIteration


class Line(Scripted):
    """A scripted source that can outlive its task, as an HTTP answer can."""

    detached = False

    async def __aexit__(self, *exc_info: object) -> None:
        if not self.detached:
            await self.aclose()

    def detach(self) -> None:
        self.detached = True

    async def pull(self) -> list[str]:
        try:
            return [await anext(self)]
        except StopAsyncIteration:
            return []

    async def aclose(self) -> None:
        await super().__aexit__()


async def _wait(seconds: float) -> None:
    if seconds:
        await anyio.sleep(seconds)


class CleanGate:
    """Lets pass what is in capitals, and what came before it."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def admit(self, batch: list[str]) -> list[str] | None:
        self._kept += batch
        return self._kept if any(map(str.isupper, batch)) else None

    def close(self) -> None:
        return None


def race(entrants: Mapping[str, Opener[str]], **options: Any) -> IteratorRace[str]:
    """Race them; who gives something in capitals first has won."""
    return race_iterators(entrants, is_clean=str.isupper, **options)


def entrant(name: str, line: Line, **options: Any) -> Entrant[str]:
    """Make an entrant of the engine that can be settled."""
    return Entrant(EntrantReport(name=name), line, CleanGate(), **{"handoff": True, "detachable": True, **options})


def race_of(lines: Mapping[str, Line], *, policy: Policy | None = None, **options: Any) -> Race[str]:
    """Race them on the engine itself."""
    return Race([entrant(name, line) for name, line in lines.items()], policy=policy or parallel(), **options)


def outcomes(report: RaceReport) -> dict[str, str]:
    """What became of whom."""
    return {record.name: record.outcome for record in report.entrants}
