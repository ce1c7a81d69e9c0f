"""What is kept of one race's entrants for the next races."""

from __future__ import annotations

from collections.abc import Mapping

from g4ftrio._loops import clock
from g4ftrio._resilience.health import Health
from g4ftrio._resilience.holds import Holds
from g4ftrio._timeline import to_timeline
from g4ftrio._words.report import EntrantReport

__all__ = ("Book",)


class Book:
    """What is kept of one race's entrants for the next races.

    :param keys: the keys of the entrants by their names
    :param total: seconds that this race may take
    """

    def __init__(self, health: Health, keys: Mapping[str, str], total: float) -> None:
        shift, now = to_timeline(), clock()
        self._shift = shift
        self._holds = Holds(health, keys, lambda: now() + shift, total)

    def held_until(self, name: str) -> float:
        return self._holds.until(name) - self._shift

    def started(self, name: str) -> None:
        self._holds.started(name)

    def decided(self, record: EntrantReport, seconds: float) -> None:  # noqa: ARG002  # the protocol's signature
        self._holds.decided(record)

    def ended(self, name: str) -> None:
        self._holds.ended(name)
