"""The median, as ``g4ftrio.bench`` gives percentiles; workers, where nothing of ours is installed, give samples."""

from __future__ import annotations

from collections.abc import Iterable

from g4ftrio.bench._statistics import percentile

__all__ = ("median",)


def median(values: Iterable[float]) -> float:
    """Give the median of at least one value."""
    return percentile(sorted(values), 0.5)
