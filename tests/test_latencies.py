"""The memory of how long entrants took: the estimator against its textbook form, bounds, and what is kept in files."""

from __future__ import annotations

import json
import threading
from bisect import insort
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from g4ftrio._race.latencies import Latencies, quantile

TIMES = st.lists(st.integers(0, 20).map(float), max_size=30).map(sorted)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def textbook(answers: list[float], censored: list[float], share: float) -> float:
    """The product-limit estimate, factor by factor."""
    survival = 1.0
    for time in sorted(set(answers)):
        at_risk = sum(each >= time for each in [*answers, *censored])
        survival *= 1 - answers.count(time) / at_risk
        if survival <= 1 - share + 1e-9:
            return time
    return inf


@given(TIMES, TIMES, st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.9, 0.95]))
@example([], [], 0.5)
@example([1.0], [1.0], 0.5)
@example([float(n) for n in range(10)], [], 0.9)
def test_the_percentile_is_that_of_kaplan_and_meier(answers: list[float], censored: list[float], share: float) -> None:
    assert quantile(answers, censored, share) == textbook(answers, censored, share)


def test_without_censored_times_it_is_the_plain_percentile() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [quantile(hundred, [], share) for share in (0.01, 0.5, 0.9, 0.95, 0.99)] == [1, 50, 90, 95, 99]


def filled(*answers: float, dropped: tuple[float, ...] = (), **options: Any) -> Latencies:
    latencies = Latencies(**options)
    for seconds in answers:
        latencies.answered("a", seconds)
    for seconds in dropped:
        latencies.dropped("a", seconds)
    return latencies


def test_who_was_never_heard_of_has_no_figures() -> None:
    latencies = Latencies()
    assert latencies.percentile("a", 0.9) is None
    assert latencies.typical("a") is None
    assert latencies.success("a") is None


def test_one_that_was_dropped_counts_as_slower_than_it_was_watched() -> None:
    assert filled(1, 2, 3, 4, 5).percentile("a", 0.5) == 3
    assert filled(1, 2, 3, 4, 5, dropped=(3.5, 3.5)).percentile("a", 0.5) == 4
    assert filled(1, 2, 3, 4, 5, dropped=(0.5, 0.5)).percentile("a", 0.5) == 3  # too early to say anything


def test_one_call_alone_is_no_tail() -> None:
    assert filled(1, 1, 1, 60).percentile("a", 0.9) == 1
    assert filled(1, 1, 60, 60).percentile("a", 0.9) == 60
    assert filled(60).percentile("a", 0.9) == 60


def test_where_too_many_were_dropped_it_is_the_longest_of_the_others() -> None:
    assert filled(1, 2, dropped=(3, 9, 9, 9, 9)).percentile("a", 0.9) == 2


def test_with_too_few_answers_there_is_no_percentile() -> None:
    latencies = filled(1, 2, dropped=(3, 4))
    assert latencies.percentile("a", 0.9, least=2) == 2
    assert latencies.percentile("a", 0.9, least=3) is None
    assert filled(dropped=(1, 2, 3)).percentile("a", 0.9) is None


def test_failures_are_no_times() -> None:
    latencies = filled(1, 2, 3)
    for _ in range(1000):
        latencies.failed("a")
    assert latencies.percentile("a", 0.5) == 2
    assert latencies.to_dict()["a"]["times"] == [[1, True], [2, True], [3, True]]


def test_success_is_the_share_of_the_latest_with_one_of_each_kind_added() -> None:
    latencies = filled(1, 1, 1, dropped=(1,))
    assert latencies.success("a") == 4 / 5
    latencies.failed("a")
    assert latencies.success("a") == 4 / 6
    for _ in range(20):
        latencies.failed("a")
    assert latencies.success("a") == 1 / 22


def test_the_typical_time_is_the_median_of_the_latest() -> None:
    latencies = filled(*[10.0] * 100, 1, 1, 1, 1)
    assert latencies.typical("a") == 10
    latencies.answered("a", 1)
    assert latencies.typical("a") == 1
    assert filled(1, dropped=(9, 9, 9)).typical("a") == inf


@given(st.lists(st.tuples(st.integers(0, 9).map(float), st.booleans()), max_size=40))
def test_a_window_holds_the_latest_and_no_more(times: list[tuple[float, bool]]) -> None:
    latencies = Latencies(window=7)
    for seconds, answered in times:
        (latencies.answered if answered else latencies.dropped)("a", seconds)
    answers: list[float] = []
    censored: list[float] = []
    for seconds, answered in times[-7:]:
        insort(answers if answered else censored, seconds)
    if times:
        kept = latencies._entrants["a"].times
        assert (kept.answers, kept.censored, len(kept.in_order)) == (answers, censored, min(len(times), 7))


def test_the_number_of_keys_is_bounded_and_the_stalest_goes_first() -> None:
    latencies = Latencies(keys=3)
    for key in "abcad":
        latencies.answered(key, 1)
    assert list(latencies.to_dict()) == ["c", "a", "d"]


def test_it_comes_back_from_json_as_it_was() -> None:
    latencies = filled(0.25, 1.5, dropped=(2, 3))
    latencies.failed("a")
    latencies.failed("b")
    written = json.dumps(latencies.to_dict(), allow_nan=False)
    assert json.loads(written) == {
        "a": {"times": [[0.25, True], [1.5, True], [2, False], [3, False]], "outcomes": [True, True, False]},
        "b": {"times": [], "outcomes": [False]},
    }
    assert Latencies.from_dict(json.loads(written)).to_dict() == latencies.to_dict()


@pytest.mark.parametrize("rows", [None, 7, "x", [7], [[1]], [[True, True]], [[-1, True]], [[float("nan"), True]]])
def test_bad_rows_of_a_file_are_left_out(rows: Any) -> None:
    kept = {"a": {"times": rows, "outcomes": rows}, "b": {"times": [[10**400, True], ["1", True], [2, False]]}, "c": 3}
    assert Latencies.from_dict(kept).to_dict() == {
        "a": {"times": [], "outcomes": []},
        "b": {"times": [[2, False]], "outcomes": []},
    }


@settings(max_examples=50)
@given(JSON | st.dictionaries(st.text(max_size=3), st.fixed_dictionaries({"times": JSON, "outcomes": JSON})))
def test_no_file_is_an_error(data: Any) -> None:
    latencies = Latencies.from_dict(data)
    json.dumps(latencies.to_dict(), allow_nan=False)
    for key in latencies.to_dict():
        latencies.answered(key, 1)
        latencies.percentile(key, 0.9)
        latencies.typical(key)


def test_a_file_is_bounded_as_it_is_read() -> None:
    latencies = Latencies(window=5, keys=2)
    latencies.restore({key: {"times": [[1, True]] * 1000, "outcomes": [True] * 1000} for key in "abc"})
    assert {key: len(kept["times"]) for key, kept in latencies.to_dict().items()} == {"b": 5, "c": 5}
    assert all(len(kept["outcomes"]) == 20 for kept in latencies.to_dict().values())


def test_a_full_memory_fits_into_a_file_of_one_mebibyte() -> None:
    latencies = Latencies()
    for key in range(300):
        for _ in range(220):
            latencies.dropped(f"some-provider/some-quite-long-name-of-a-model-{key}", 123.456789)
            latencies.failed(f"some-provider/some-quite-long-name-of-a-model-{key}")
    assert len(json.dumps(latencies.to_dict(), separators=(",", ":"))) < 2**20


def test_threads_may_share_it() -> None:
    latencies = Latencies(window=20, keys=3)

    def work() -> None:
        for number in range(2000):
            latencies.answered("abcd"[number % 4], number % 7)
            latencies.dropped("a", number % 5)
            latencies.percentile("a", 0.9)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for entrant in latencies._entrants.values():
        times = entrant.times
        assert sorted((*times.answers, *times.censored)) == sorted(seconds for seconds, _ in times.in_order)
        assert len(times.in_order) <= 20
