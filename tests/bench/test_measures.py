"""Each formula, on records made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio.bench import MEASURES, Goals, RequestRecord, _measures
from g4ftrio.bench._measures import is_answered, tokens, values
from tests.bench.records import record


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("connect", (0.25,)),  # 11.25 - 11
        ("first_byte", (0.5,)),  # 11.5 - 11
        ("first_token", (1.0,)),  # 12 - 11
        ("first_content", (1.5,)),  # 12.5 - 11
        ("inter_token", (0.5, 0.5, 0.75, 0.0)),
        ("per_output_token", (0.5,)),  # (14 - 12) / (5 - 1)
        ("end_to_end", (3.0,)),  # 14 - 11
        ("queue", (1.0,)),  # 11 - 10
        ("scheduled_first", (2.0,)),  # 12 - 10
        ("scheduled", (4.0,)),  # 14 - 10
    ],
)
def test_a_measure_is_its_formula(measure: str, expected: tuple[float, ...]) -> None:
    assert tuple(values(record(), measure)) == expected


def test_every_measure_is_explained() -> None:
    assert all(f"\n{name} " in str(_measures.__doc__) for name in MEASURES)
    assert len(MEASURES) == 10


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(ValueError, match="not 'ttft'"):
        values(record(), "ttft")


@pytest.mark.parametrize(
    ("fields", "measure"),
    [
        ({"connected_at": None}, "connect"),  # the connection was kept
        ({"first_token_at": None}, "first_token"),
        ({"first_token_at": None}, "per_output_token"),
        ({"output_tokens": 1}, "per_output_token"),
        ({"output_tokens": 30, "hidden_tokens": 29}, "per_output_token"),
        ({"first_content_at": None}, "first_content"),
    ],
)
def test_what_did_not_happen_is_not_measured(fields: dict[str, Any], measure: str) -> None:
    assert tuple(values(record(**fields), measure)) == ()


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (record(output_tokens=None, pieces=4), 4),
        (record(output_tokens=9, pieces=4), 9),
        (record(output_tokens=9, hidden_tokens=5), 4),
    ],
)
def test_tokens_are_the_services_own_count_where_it_counts(given: RequestRecord, count: int) -> None:
    assert tokens(given) == count


@pytest.mark.parametrize(
    ("goals", "met"),
    [
        (Goals(), True),
        (Goals(first_token=2.0), True),  # counted from when it was scheduled
        (Goals(first_token=1.99), False),
        (Goals(per_output_token=0.5), True),
        (Goals(per_output_token=0.49), False),
        (Goals(end_to_end=4.0), True),
        (Goals(end_to_end=3.99), False),
        (Goals(first_token=5.0, end_to_end=1.0), False),
    ],
)
def test_goals_are_met_by_whoever_keeps_them_all(goals: Goals, met: bool) -> None:
    assert goals.met_by(record()) is met
    assert bool(goals) is (goals != Goals())


def test_what_failed_or_was_broken_off_meets_no_goal() -> None:
    for given in (record(error="RateLimitError"), record(cancelled=True)):
        assert not is_answered(given)
        assert not Goals(end_to_end=100).met_by(given)
