"""Scales, and where their ticks are."""

from __future__ import annotations

import pytest

from g4ftrio._drawing.scale import linear, spread


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.31, 0.98, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (3, 3, [1, 2, 3, 4, 5]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 7000, [0, 2000, 4000, 6000, 8000]),
    ],
)
def test_an_even_scale_has_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    scale = linear(low, high, 0, 100)
    assert scale.ticks(5) == ticks
    assert scale(low) <= scale(high)
    assert (scale(scale.low), scale(scale.high)) == (0, 100)


def test_a_wide_range_is_logarithmic() -> None:
    scale = spread([0.01, 0.02, 0.05, 5.0], 0, 100)
    assert scale.is_log
    assert scale.ticks(10) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    assert scale.ticks(3) == [0.01, 0.1, 1]
    assert scale(-1) == 0
    assert not spread([1.0, 1.1, 3.0], 0, 100).is_log
