"""Statistics agree with the standard library's, and say how sure they are."""

from __future__ import annotations

import statistics
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio.bench import Interval, Sample, Statistics
from g4ftrio.bench._statistics import PERCENTILES, difference, interval, percentile

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(VALUES.filter(lambda values: len(values) > 1))
@settings(max_examples=100, deadline=None)
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for share in (0.01, 0.5, 0.9, 0.99):
        assert percentile(sorted(values), share) == pytest.approx(cuts[round(share * 100) - 1], abs=1e-6)


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_mean_deviation_and_ends_are_exact(values: list[float]) -> None:
    found = Statistics.of(values)
    assert (found.count, found.min, found.max) == (len(values), min(values), max(values))
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found.sd == (pytest.approx(statistics.stdev(values), abs=1e-4) if len(values) > 1 else None)


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_percentiles_ascend_within_the_values_and_their_intervals_hold_them_in(values: list[float]) -> None:
    found = Statistics.of(values)
    given = [value for name in PERCENTILES if (value := getattr(found, name)) is not None]
    assert given == sorted(given)
    for name, bounds in found.intervals.items():
        assert min(values) <= bounds.low <= bounds.high <= max(values), name


@pytest.mark.parametrize(
    ("name", "least"), [("p50", 2), ("p75", 4), ("p90", 10), ("p95", 20), ("p99", 100), ("p999", 1000)]
)
def test_a_percentile_wants_one_value_above_it(name: str, least: int) -> None:
    assert getattr(Statistics.of(range(least)), name) is not None
    assert getattr(Statistics.of(range(least - 1)), name) is None
    assert getattr(Statistics.of(range(5000), behind=least - 1), name) is None


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert Statistics.of([]) == Statistics()


def test_a_sample_that_is_not_kept_whole_keeps_its_ends_and_a_fair_choice() -> None:
    sample = Sample(range(10_000), kept=500)
    found = sample.statistics()
    assert (found.count, found.min, found.max) == (10_000, 0, 9_999)
    assert found.mean == pytest.approx(4999.5)
    assert len(sample.ordered()) == 500
    assert found.p50 == pytest.approx(5000, rel=0.1)


def test_an_interval_is_that_of_a_bootstrap_that_draws_every_resample() -> None:
    random = Random(3)
    values = sorted(random.gauss(10, 2) for _ in range(60))
    drawn = sorted(statistics.median(random.choices(values, k=60)) for _ in range(20_000))
    bounds = interval(values, 0.5, draws=20_000)
    assert bounds.low == pytest.approx(drawn[500], abs=0.05)
    assert bounds.high == pytest.approx(drawn[19_499], abs=0.05)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = Random(5)
    held = [
        0.0 in interval(sorted(random.gauss(0, 1) for _ in range(50)), 0.5, draws=200, seed=number)
        for number in range(300)
    ]
    assert 0.9 <= sum(held) / len(held) <= 0.99


def test_a_difference_is_told_from_none() -> None:
    random = Random(1)
    slow, fast, other = (sorted(random.gauss(mean, 0.1) for _ in range(100)) for mean in (1.2, 1.0, 1.0))
    assert 0.2 in difference(slow, fast)
    assert 0.0 not in difference(slow, fast)
    assert 0.0 in difference(fast, other)


def test_what_is_drawn_is_repeated_by_the_seed() -> None:
    random = Random(1)
    values = sorted(random.random() for _ in range(100))
    assert interval(values, 0.9, seed=1) == interval(values, 0.9, seed=1) != interval(values, 0.9, seed=2)


def test_an_interval_says_what_is_in_it() -> None:
    assert 1.0 in Interval(1.0, 2.0)
    assert 2.1 not in Interval(1.0, 2.0)
