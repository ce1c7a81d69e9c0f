"""One time for all event loops of a process: what outlives a loop cannot be kept in times of its clock."""

from __future__ import annotations

from time import monotonic

from anyio import current_time
from anyio.lowlevel import RunVar

__all__ = ("to_timeline",)

_GRAIN = 1024  # a second's parts; a binary fraction, so that adding it to a time and taking it off again is exact

_offset: RunVar[float] = RunVar("g4ftrio timeline")


def to_timeline() -> float:
    """What to add to a time of the running loop's clock; two loops agree to a thousandth of a second."""
    try:
        return _offset.get()
    except LookupError:
        offset = round((monotonic() - current_time()) * _GRAIN) / _GRAIN
        _offset.set(offset)
        return offset
