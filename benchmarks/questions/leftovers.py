"""What a race leaves behind."""

from __future__ import annotations

import os
from functools import partial
from typing import NamedTuple

from loops import LOOPS, Step
from question import Bar, Case, Column, Question, Row
from worker import Worker

from questions.race import entrants

__all__ = ("QUESTION", "measure")

CANCELLED = "cancelled"

QUESTION = Question(
    title="Leftovers",
    says=(
        "Three races of eight whose heads come at once, read to the end; or cancelled after 10 ms, before anybody has "
        "won. What there is 0.3 s later, and was not before, when the client had answered one request: tasks, streams "
        "that the server still writes, and sockets."
    ),
    cases=(Case(job={}), Case(CANCELLED, {"cancelled": True})),
    columns=(Column("tasks", "tasks", 0), Column("streams", "streams", 0), Column("sockets", "sockets", 0)),
    peers=("g4ftrio", "litellm"),
    bars=tuple(
        Bar(Row("g4ftrio", loop, case), key, 0)
        for case in ("", CANCELLED)
        for loop in LOOPS
        for key in ("tasks", "streams", "sockets")
    ),
    rounds=3,
    warm=False,
    quick={"races": 1, "k": 2, "rest": 0.05},
)


class Left(NamedTuple):
    """What there is."""

    tasks: int
    streams: int
    sockets: int


async def measure(
    worker: Worker, *, races: int = 3, k: int = 8, rest: float = 0.3, cancelled: bool = False
) -> dict[str, float]:
    """Race, and look."""
    await worker.quiet()
    async with worker.new_client() as client:
        await client.read(worker.server.address(), len)
        before = _look(worker)
        race = partial(client.race, entrants(worker, k, heads="at once"), len)
        for _ in range(races):
            await (worker.loop.within(0.01, race) if cancelled else _whole(race))
        await worker.loop.sleep(rest)
        after = _look(worker)
    return {name: max(0, now - then) for name, now, then in zip(Left._fields, after, before, strict=True)}


async def _whole(race: Step) -> None:
    await race()


def _look(worker: Worker) -> Left:
    sockets = sum(map(_is_socket, os.listdir("/proc/self/fd")))  # noqa: PTH208  # names are enough
    return Left(worker.loop.tasks(), worker.server.state().answering, sockets)


def _is_socket(number: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith("socket:")  # noqa: PTH115  # the text of the link
    except FileNotFoundError:
        return False  # the listing's own
