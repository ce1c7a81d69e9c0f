"""Who keeps book of the entrants beyond one race."""

from __future__ import annotations

from math import inf
from typing import Protocol

from g4ftrio._words.report import EntrantReport

__all__ = ("Keeper", "NoKeeper")


class Keeper(Protocol):
    """Who keeps book of the entrants beyond one race. It decides nothing about a race but when somebody may start."""

    def held_until(self, name: str) -> float:
        """The moment of the loop's clock before which an entrant is not started."""

    def started(self, name: str) -> None:
        """It was started."""

    def decided(self, record: EntrantReport, seconds: float) -> None:
        """It won, lost, failed, was rejected or cancelled, so many seconds after it was asked.

        This is said once for each start. What becomes of a winner or of a runner-up after that is not said.
        """

    def ended(self, name: str) -> None:
        """It is closed: it uses nothing any more."""


class NoKeeper:
    """Keeps nothing."""

    def held_until(self, name: str) -> float:  # noqa: ARG002  # the protocol's signature, as below
        return -inf

    def started(self, name: str) -> None: ...

    def decided(self, record: EntrantReport, seconds: float) -> None: ...

    def ended(self, name: str) -> None: ...
