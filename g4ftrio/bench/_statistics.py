"""Samples, what is said of them, and how sure that is. Seeded, with nothing beyond the standard library."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from math import inf, sqrt
from random import Random

from msgspec import Struct

from g4ftrio.bench._chance import chance

__all__ = ("PERCENTILES", "Interval", "Sample", "Statistics", "difference", "interval", "percentile")

PERCENTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

_KEPT = 100_000  # values of a sample that are kept; a percentile of more is estimated from so many drawn of them
_DRAWS = 500
_LEVEL = 0.95


class Interval(Struct, frozen=True, array_like=True):
    """Where a value lies at a level of confidence, 95 % if nothing else is said."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Statistics(Struct, frozen=True, kw_only=True):
    """What is said of a sample, in its own unit.

    A percentile is None if fewer than one value is to be expected above it: p50 takes 2 values, p90 takes 10, p99 takes
    100, p99.9 takes 1,000. Between two values it is interpolated, as numpy does by default.

    :ivar sd: the sample's standard deviation, None of one value
    :ivar intervals: of each percentile for which there are enough values, from a bootstrap: p50 takes 6 values, p90
        takes 36, p99 takes 368, p99.9 takes 3,688. Of fewer, all may well lie below it, and nothing says how far
    """

    count: int = 0
    mean: float | None = None
    sd: float | None = None
    min: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    intervals: dict[str, Interval] = {}

    @classmethod
    def of(cls, values: Iterable[float], *, behind: int | None = None, seed: int = 0) -> Statistics:
        """The statistics of some values.

        :param behind: how many independent values these were drawn from, if they are fewer
        """
        return Sample(values).statistics(behind=behind, seed=seed)


class Sample:
    """Values as they come, in bounded memory.

    Count, mean, deviation, least and greatest are exact. Of more than ``kept`` values the percentiles are those of so
    many of them, each as likely to be among them as any other (algorithm R, ACM TOMS 11, 1985, 37-57).
    """

    def __init__(self, values: Iterable[float] = (), *, kept: int = _KEPT, seed: int = 0) -> None:
        self.count = 0
        self.mean = 0.0
        self.least = inf
        self.greatest = -inf
        self._squares = 0.0
        self._limit = kept
        self._kept = array("d")
        self._random = chance(seed, "kept")
        for value in values:
            self.add(value)

    def __len__(self) -> int:
        return self.count

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self._squares += off * (value - self.mean)  # Welford's, which loses no digits
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        if self.count <= self._limit:
            self._kept.append(value)
        elif (place := self._random.randrange(self.count)) < self._limit:
            self._kept[place] = value

    def ordered(self) -> Sequence[float]:
        """The values that are kept, ascending."""
        return sorted(self._kept)

    def statistics(self, *, behind: int | None = None, intervals: bool = True, seed: int = 0) -> Statistics:
        """What is to be said of them by now.

        :param behind: how many independent values they were drawn from, if those are fewer
        :param intervals: whether to say how sure the percentiles are, which takes 10 ms
        """
        if not self.count:
            return Statistics()
        ordered, known = self.ordered(), min(self.count, behind or self.count)
        given = {name: share for name, share in PERCENTILES.items() if known * (1 - share) >= 1 - 1e-9}
        return Statistics(
            count=self.count,
            mean=self.mean,
            sd=sqrt(self._squares / (self.count - 1)) if self.count > 1 else None,
            min=self.least,
            max=self.greatest,
            intervals={
                name: interval(ordered, share, size=known, seed=seed)
                for name, share in given.items()
                if intervals and share**known <= (1 - _LEVEL) / 2
            },
            **{name: percentile(ordered, share) for name, share in given.items()},
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, interpolated between the two next to it.

    :param ordered: at least one value, ascending
    """
    whole, part = divmod(share * (len(ordered) - 1), 1)
    below = ordered[int(whole)]
    return below + part * (ordered[int(whole) + 1] - below) if part else below


def interval(
    ordered: Sequence[float],
    share: float,
    *,
    size: int | None = None,
    level: float = _LEVEL,
    draws: int = _DRAWS,
    seed: int = 0,
) -> Interval:
    """Where a percentile lies, by bootstrap.

    :param ordered: at least one value, ascending
    :param size: of each resample, that of the sample by default
    """
    random = chance(seed, "interval")
    return _middle((_resampled(ordered, share, size or len(ordered), random) for _ in range(draws)), level)


def difference(
    ordered: Sequence[float],
    other: Sequence[float],
    share: float = 0.5,
    *,
    level: float = _LEVEL,
    draws: int = 4 * _DRAWS,
    seed: int = 0,
) -> Interval:
    """Where a percentile's difference lies between a sample and another, by bootstrap: above 0, the first has more.

    :param ordered: at least one value, ascending; ``other`` likewise
    """
    random = chance(seed, "difference")
    return _middle(
        (
            _resampled(ordered, share, len(ordered), random) - _resampled(other, share, len(other), random)
            for _ in range(draws)
        ),
        level,
    )


def _middle(values: Iterable[float], level: float) -> Interval:
    ordered = sorted(values)
    return Interval(percentile(ordered, (1 - level) / 2), percentile(ordered, (1 + level) / 2))


def _resampled(ordered: Sequence[float], share: float, size: int, random: Random) -> float:
    """The percentile of a resample, without drawing it.

    To resample is to look up ``size`` uniform draws in the ordered values. Only the two draws are needed between which
    the percentile lies. The r-th smallest of n uniform draws is distributed as Beta(r, n - r + 1); and given it, the
    next one is the least of n - r draws from there to 1, whose distance to 1 shrinks by a factor of V ** (1 / (n - r))
    with V uniform. So a resample costs 3 µs, whatever its size, and is what drawing it would have given.
    """
    whole, part = divmod(share * (size - 1), 1)
    rank = int(whole) + 1
    low = random.betavariate(rank, size - rank + 1)
    below = _looked_up(ordered, low)
    if not part:
        return below
    high = 1 - (1 - low) * random.random() ** (1 / (size - rank))
    return below + part * (_looked_up(ordered, high) - below)


def _looked_up(ordered: Sequence[float], uniform: float) -> float:
    return ordered[min(int(uniform * len(ordered)), len(ordered) - 1)]
