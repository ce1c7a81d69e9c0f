"""How many extra calls races may make, all of them together. It knows nothing of what is called."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

__all__ = ("Budget", "Wake", "budget")

Wake: TypeAlias = Callable[[], object]

_ONE = 1 - 1e-9  # ten times a tenth is 0.9999999999999999


class Budget:
    """What is saved up for hedges: every race adds ``ratio``, every hedge takes 1, at most ``cap`` are saved.

    It begins full. Races that wait for it stand in a line, and the first of them is woken when there is enough for one.
    Threads may share it; of two that ask at the same instant both may be let through, and the next then waits longer.
    """

    def __init__(self, ratio: float, cap: float) -> None:
        self.ratio = ratio
        self.cap = cap
        self.saved = float(cap)
        self._line: dict[Wake, None] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        cap = "" if self.cap == 10 else f", cap={self.cap:g}"
        return f"budget({self.ratio:g}{cap})"

    def allows(self) -> bool:
        """Whether there is enough for a hedge."""
        return self.saved >= _ONE

    def earn(self) -> None:
        """A race has begun."""
        with self._lock:
            self.saved = min(self.cap, self.saved + self.ratio)
        self._wake_the_first()

    def take(self) -> None:
        """A hedge is started."""
        with self._lock:
            self.saved -= 1

    def wait(self, wake: Wake) -> None:
        """Stand in the line, if not there yet; ``wake`` is called, by any thread, to look again."""
        with self._lock:
            self._line[wake] = None
        self._wake_the_first()  # another thread's race may have earned meanwhile

    def leave(self, wake: Wake) -> None:
        """Leave the line, and let the next one look."""
        with self._lock:
            stood = wake in self._line
            self._line.pop(wake, None)
        if stood:
            self._wake_the_first()

    def restore(self, saved: object) -> None:
        """Begin with what was saved by an earlier process; what cannot be is ignored."""
        if isinstance(saved, int | float) and not isinstance(saved, bool) and -self.cap <= saved <= self.cap:
            self.saved = float(saved)

    def _wake_the_first(self) -> None:
        with self._lock:
            wake = next(iter(self._line), None) if self.allows() else None
        if wake is not None:
            wake()


def budget(ratio: float = 0.10, cap: float = 10) -> Budget:
    """Bound the extra calls of all races that get this object by ``policy(..., budget=)``.

    A hedge is a start while another entrant runs and none has failed. One that is beyond the budget waits until later
    races have earned it, or the running entrant fails: replacing one that failed is free. So n races make at most
    ``cap + ratio * n`` hedges, also when everything has become slow.

    A budget below the share of calls that a policy hedges by itself (0.1 for ``adaptive(0.9)``) runs dry, and then
    stragglers wait.

    :param ratio: hedges that each race earns, from 0
    :param cap: hedges that can be saved up, from 1; it begins with so many
    """
    if not 0 <= ratio < float("inf"):
        raise ValueError(f"the ratio of a budget is a number from 0, not {ratio!r}")
    if not 1 <= cap < float("inf"):
        raise ValueError(f"the cap of a budget is a number from 1, not {cap!r}")
    return Budget(ratio, cap)
