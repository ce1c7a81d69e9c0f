"""Who is held back in one race.

An open circuit is a guess: it makes a provider the last choice and not a forbidden one. When nobody runs and everybody
who is left is held back, waiting helps nobody, so the guess does not count: the one that would be tried first is asked
at once. What a service itself has asked for (``Retry-After``) is no guess: it is waited for, unless the race would be
over by then; the service is then asked at once, because what it says is a better error than a time-out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from g4ftrio._resilience.health import Health
from g4ftrio._words.report import EntrantReport

__all__ = ("Holds",)


class Holds:
    """Between one race and the health of its entrants.

    :param keys: the keys of the entrants by their names, in their order; more may be added while the race is on
    :param clock: the clock that ``health`` goes by
    :param total: seconds that the race may take from now on
    """

    def __init__(self, health: Health, keys: Mapping[str, str], clock: Callable[[], float], total: float = inf) -> None:
        self._health = health
        self._keys = keys
        self._clock = clock
        self._deadline = clock() + total
        self._started: set[str] = set()
        self._running: set[str] = set()
        self._trials: set[str] = set()
        self._winners: dict[str, EntrantReport] = {}  # who won, and who took over in mid-stream

    def until(self, name: str) -> float:
        """The moment before which an entrant that waits is not started."""
        if not self._health:
            return -inf
        held, now = self._held(name), self._clock()
        waiting = [other for other in self._keys if other not in self._started]
        if held <= now or self._running or any(self._held(other) <= now for other in waiting):
            return held
        first = min(waiting, key=lambda other: (max(self._paused(other), now), self._held(other)))
        if name != first:
            return held
        paused = self._paused(name)
        return -inf if paused > self._deadline else paused

    def started(self, name: str) -> None:
        """It was started."""
        self._started.add(name)
        self._running.add(name)
        if self._health.started(self._keys[name], self._clock()):
            self._trials.add(name)

    def decided(self, record: EntrantReport) -> None:
        """It is known what became of it."""
        key, trial = self._keys[record.name], record.name in self._trials
        self._running.discard(record.name)
        if record.outcome == "won":
            self._winners[record.name] = record
        if record.outcome == "won" or (record.outcome == "lost" and record.first_chunk_at is not None):
            self._health.answered(key)
        elif record.outcome == "failed" and record.error is not None:
            self._health.failed(key, record.error, self._clock(), trial=trial)
        elif trial:
            self._health.undecided(key)
        if record.pause is not None:
            self._health.paused(key, record.pause, self._clock())

    def ended(self, name: str) -> None:
        """It is closed; only now is it known how the winner's answer ended."""
        winner = self._winners.pop(name, None)
        if winner is None:
            return
        if winner.error is None:
            self._health.succeeded(self._keys[name], self._clock())
        else:
            self._health.failed(self._keys[name], winner.error, self._clock())

    def _held(self, name: str) -> float:
        return max(self._paused(name), self._health.open_until(self._keys[name]))

    def _paused(self, name: str) -> float:
        return self._health.paused_until(self._keys[name])
