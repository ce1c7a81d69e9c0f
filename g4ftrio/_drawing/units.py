"""Numbers as people read them: three figures that count, and a unit."""

from __future__ import annotations

from math import floor, log10

__all__ = ("counted", "duration", "figures", "milliseconds", "percent")

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_NONE = "-"
_DECIMALS = 3


def figures(value: float | None, count: int = 3) -> str:
    """Round to so many figures, never before the decimal point nor to more than three behind it."""
    if value is None or value != value:
        return _NONE
    if value == 0:
        return "0"
    decimals = max(0, count - 1 - floor(log10(abs(value))))
    return f"{value:,.{min(decimals, _DECIMALS)}f}"


def milliseconds(seconds: float | None) -> str:
    """Give milliseconds without their unit, as they stand in a column."""
    return figures(None if seconds is None else seconds * 1000)


def duration(seconds: float | None, *, count: int = 3) -> str:
    """Give seconds with the unit that suits."""
    if seconds is None:
        return _NONE
    rounded = float(f"{abs(seconds):.{count}g}")  # 999.9 ms are 1 s
    size, unit = next((each for each in _UNITS if rounded >= each[0]), _UNITS[-1])
    return "0" if seconds == 0 else f"{_trimmed(figures(seconds / size, count))} {unit}"


def percent(share: float | None) -> str:
    """Give a share of one as a percentage."""
    return _NONE if share is None else f"{_trimmed(figures(share * 100))} %"


def counted(count: int, noun: str) -> str:
    """Say how many there are: ``1 request``, ``1,200 requests``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
