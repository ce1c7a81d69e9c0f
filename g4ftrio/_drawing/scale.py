"""Scales: where a value stands, with ticks at round numbers."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10

from msgspec import Struct

__all__ = ("Scale", "linear", "spread")

_STEPS = (1, 2, 5, 10)


class Scale(Struct, frozen=True):
    """Where a value stands, in pixels; what is outside stands at the edge."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        share = _share(*map(log10, (self.low, self.high, value))) if self.is_log else _share(self.low, self.high, value)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Give round values, mostly no more than so many."""
        return _decades(self.low, self.high, most) if self.is_log else _steps(self.low, self.high, most)

    def parts(self, count: int) -> list[float]:
        """Give the edges of so many parts that are equally wide to the eye."""
        if self.is_log:
            step = (log10(self.high) - log10(self.low)) / count
            return [float(self.low * 10 ** (step * index)) for index in range(count + 1)]
        return [self.low + (self.high - self.low) * index / count for index in range(count + 1)]


def linear(low: float, high: float, start: float, end: float, *, ticks: int = 5) -> Scale:
    """Give an even scale that begins and ends at round numbers."""
    if high <= low:
        low, high = (0.0, 1.0) if low == 0 else (low - abs(low) / 2, low + abs(low) / 2)
    step = _step((high - low) / ticks)
    return Scale(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, start, end)


def spread(values: Iterable[float], start: float, end: float, *, ticks: int = 5) -> Scale:
    """Choose a scale for values of which none is negative: logarithmic where most are far below the largest.

    :param values: in any order, at least one
    """
    ordered = sorted(values)
    positive = [value for value in ordered if value > 0]
    if positive and ordered[-1] > 10 * positive[len(positive) // 20]:
        return _logarithmic(max(positive[0], ordered[-1] / 1e5), ordered[-1], start, end)
    return linear(ordered[0], ordered[-1], start, end, ticks=ticks)


def _logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Give a logarithmic scale with a little room at both sides.

    :param low: more than 0
    """
    room = max((high / low) ** 0.02, 1.05)
    return Scale(low / room, high * room, start, end, is_log=True)


def _share(low: float, high: float, value: float) -> float:
    return (value - low) / (high - low)


def _step(rough: float) -> float:
    """Give the next larger 1, 2 or 5 of a power of ten."""
    size = 10.0 ** floor(log10(rough))
    return next(each * size for each in _STEPS if each * size >= rough * (1 - 1e-9))


def _steps(low: float, high: float, most: int) -> list[float]:
    step = _step((high - low) / most)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    """Give 1, 2 and 5 of every power of ten, or 1 only, or 1 of every other one and so on."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: ceil(len(ticks) / most)]
