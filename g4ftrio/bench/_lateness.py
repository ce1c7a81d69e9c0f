"""How late a loop notices what happens, which is the error of every time that is measured in it."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from g4ftrio.bench._statistics import Sample, Statistics

__all__ = ("Lateness",)

_STEP = 1 / 16  # seconds; a look costs some 50 µs, so this takes 0.1 % of a core


class Lateness:
    """Wakes up at times known ahead, and sees how late that was.

    A token that comes while the loop is at work for others, or while the machine is, is noticed when its turn comes,
    and its time is that much too long; so is a timer's. Bursts show here that are lost in the CPU's share of a run.

    :param now: the loop's clock, in seconds
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen = Sample()
        self._scope = anyio.CancelScope()

    async def watch(self) -> None:
        """Look, until stopped."""
        with self._scope:
            while True:
                due = self._now() + _STEP
                await anyio.sleep_until(due)
                self._seen.add(self._now() - due)

    def stop(self) -> None:
        """Look no more."""
        self._scope.cancel()

    def statistics(self) -> Statistics:
        """What was seen, in seconds."""
        return self._seen.statistics(intervals=False)
