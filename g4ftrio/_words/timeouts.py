"""How long to wait for what.

Five limits, because liveness is not progress: a service can keep a connection alive for minutes and say nothing.
Only time that somebody spends waiting in a read counts, so a slow consumer never runs into a time-out.
No I/O and no clock: whoever waits says what time it is.
"""

from __future__ import annotations

from math import inf
from typing import Any, TypeAlias

__all__ = ("Timeout", "TimeoutTypes", "Waits")

DEFAULTS = {"connect": 5.0, "first_chunk": inf, "stall": inf, "idle": 300.0, "total": 600.0}
_UNSET: Any = object()


class Timeout:
    """Limits in seconds; None and 0 are no limit.

    What is not named is left to the provider's own time-outs, and then to the defaults: connect 5, idle 300,
    total 600, the others none.

    :param connect: until the connection stands, with a place in the client's pool
    :param first_chunk: from the start until the first clean chunk
    :param stall: between two pieces of model output, the first counted from the head; keep-alives are no output
    :param idle: without a single byte
    :param total: for the whole answer, the time that the consumer takes for itself left out
    """

    __slots__ = ("_given",)

    def __init__(
        self,
        *,
        connect: float | None = _UNSET,
        first_chunk: float | None = _UNSET,
        stall: float | None = _UNSET,
        idle: float | None = _UNSET,
        total: float | None = _UNSET,
    ) -> None:
        given = {"connect": connect, "first_chunk": first_chunk, "stall": stall, "idle": idle, "total": total}
        self._given = {name: _seconds(name, value) for name, value in given.items() if value is not _UNSET}

    connect = property(lambda self: self._value("connect"), doc="Seconds; inf is no limit.")
    first_chunk = property(lambda self: self._value("first_chunk"), doc="Seconds; inf is no limit.")
    stall = property(lambda self: self._value("stall"), doc="Seconds; inf is no limit.")
    idle = property(lambda self: self._value("idle"), doc="Seconds; inf is no limit.")
    total = property(lambda self: self._value("total"), doc="Seconds; inf is no limit.")

    def _value(self, name: str) -> float:
        return self._given.get(name, DEFAULTS[name])

    def over(self, other: Timeout) -> Timeout:
        """These limits where they are given, else the other's."""
        merged = Timeout()
        merged._given = {**other._given, **self._given}
        return merged

    def only(self, *names: str) -> Timeout:
        """These limits where they are given, and nothing of the others."""
        picked = Timeout()
        picked._given = {name: value for name, value in self._given.items() if name in names}
        return picked

    @classmethod
    def of(cls, value: TimeoutTypes) -> Timeout:
        """Read what a caller passed as ``timeout=``.

        :param value: a ``Timeout``; None for nothing named; a number is the longest wait without progress
            (connect, first_chunk, stall and idle)
        """
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls()
        return cls(connect=value, first_chunk=value, stall=value, idle=value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeout) and self._given == other._given

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._given.items())))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value:g}" for name, value in self._given.items())
        return f"Timeout({given})"


TimeoutTypes: TypeAlias = Timeout | float | None


def _seconds(name: str, value: float | None) -> float:
    if value is None:
        return inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"timeout {name} is a number of seconds or None, not {value!r}")
    if not value >= 0:
        raise ValueError(f"timeout {name} is a number of seconds above 0, not {value!r}")
    return inf if value == 0 or value > 1e9 else float(value)  # thirty years is no limit either


class Waits:
    """The book-keeping of one answer's time-outs.

    ``begin`` says until when a read may wait, and ``end`` charges what it waited. The limits are budgets of waiting
    that output refills, not points in time, so what a consumer does between two reads costs nothing.

    :ivar by_output: whether any limit is one that output refills or ends
    """

    __slots__ = ("_began", "_due", "_ends", "_limits", "_waited", "by_output")

    def __init__(self, timeout: Timeout, kinds: tuple[str, ...] = ("first_chunk", "stall", "total")) -> None:
        self._limits = {kind: limit for kind in kinds if (limit := getattr(timeout, kind)) != inf}
        self._ends = {kind: limit for kind, limit in self._limits.items() if kind != "stall"}
        self._due = min(self._ends.values(), default=inf)  # the nearest of the ends
        self._waited = 0.0
        self._began = 0.0
        self.by_output = not self._limits.keys() <= {"total", "connect"}

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._limits)

    def begin(self, now: float) -> float:
        """Begin to wait; the moment at which the first limit is reached."""
        self._began = now
        return now + self._due - self._waited

    def end(self, now: float) -> None:
        """Stop waiting, and charge it."""
        self._waited += now - self._began
        self._began = now

    def output(self, *, clean: bool = True) -> None:
        """The answer began, or goes on: ``stall`` and ``idle`` begin anew; clean output ends ``first_chunk``."""
        if clean:
            self._ends.pop("first_chunk", None)
        for kind in ("stall", "idle"):
            if kind in self._limits:
                self._ends[kind] = self._waited + self._limits[kind]
        self._due = min(self._ends.values(), default=inf)

    def reached(self) -> tuple[str, float]:
        """Which limit was reached first, and its value in seconds."""
        kind = min(self._ends, key=lambda name: self._ends[name])
        return kind, self._limits[kind]
