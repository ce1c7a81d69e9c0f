"""When to start the next entrant. Plain decisions: no clock, no I/O, and nothing known of what is raced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from msgspec import Struct

__all__ = ("Policy", "Schedule", "fallback", "parallel", "staggered")


class Policy(Struct, frozen=True, repr_omit_defaults=True):
    """When the next entrant is started, if no one has won by then.

    Whatever the delay is, a failure starts the next one at once, and so does having nothing that runs.

    :ivar delay: seconds from one start to the next; 0 is a race of all, infinity one after another
    :ivar max_active: how many may run at the same time, or None
    """

    name: str
    delay: float
    max_active: int | None = None

    def __str__(self) -> str:
        shown = [] if self.delay in (0, inf) else [f"{self.delay:g}"]
        shown += [] if self.max_active is None else [f"max_active={self.max_active}"]
        return f"{self.name}({', '.join(shown)})"


def parallel(*, max_active: int | None = None) -> Policy:
    """Start all at once: the fastest answer, and every provider is asked every time.

    :param max_active: how many may run at the same time; the next starts when one of them fails
    """
    return Policy("parallel", 0.0, _at_least_one(max_active))


def staggered(seconds: float, *, max_active: int | None = None) -> Policy:
    """Start the next one whenever nobody has won ``seconds`` after the last start.

    :param seconds: the head start of each entrant over the next
    :param max_active: how many may run at the same time
    """
    if not seconds >= 0:
        raise ValueError(f"a head start is a number of seconds from 0, not {seconds!r}")
    return Policy("staggered", float(seconds), _at_least_one(max_active))


def fallback() -> Policy:
    """Start the next one only when the one before has failed."""
    return Policy("fallback", inf)


def _at_least_one(max_active: int | None) -> int | None:
    if max_active is not None and max_active < 1:
        raise ValueError(f"max_active is a number from 1 or None, not {max_active!r}")
    return max_active


class Schedule:
    """Which entrant starts when.

    :param names: the entrants in their order
    :param held_until: the moment before which a name must not be started (its service asked for a pause)
    """

    def __init__(
        self, policy: Policy, names: Iterable[str], held_until: Callable[[str], float] = lambda _: -inf
    ) -> None:
        self._policy = policy
        self._waiting = deque(names)
        self._held_until = held_until
        self._last_start = -inf
        self._owed = 0

    def __bool__(self) -> bool:
        """Whether anybody is still to be started."""
        return bool(self._waiting)

    def add(self, name: str) -> None:
        """Let one more be started, after all that wait."""
        self._waiting.append(name)

    def failed(self) -> None:
        """Somebody failed, so the next one starts at once: one for each failure, also for two in the same tick."""
        self._owed += 1

    def due(self, active: int) -> float:
        """When the next one starts, with so many running; infinity for not before something changes."""
        if not self._waiting or (self._policy.max_active is not None and active >= self._policy.max_active):
            return inf
        turn = self._last_start + self._policy.delay if active and not self._owed else -inf
        return max(turn, min(self._held_until(name) for name in self._waiting))

    def start(self, now: float) -> str:
        """Take the first one that is not held back; call it when ``due`` says so."""
        name = next(name for name in self._waiting if self._held_until(name) <= now)
        self._waiting.remove(name)
        self._last_start = now
        self._owed = max(0, self._owed - 1)
        return name
