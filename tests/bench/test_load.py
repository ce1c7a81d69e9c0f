"""Loads say their times ahead, exactly and repeatably."""

from __future__ import annotations

from itertools import islice, pairwise
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio import Error
from g4ftrio.bench import Bursts, Constant, Poisson, Ramp, Sweep, Trace, Users, read_trace
from g4ftrio.bench._load import Load, OpenLoad, arrivals, plain_load

RATES = st.floats(0.01, 1000)
OPEN: st.SearchStrategy[OpenLoad] = st.one_of(
    st.builds(Constant, RATES),
    st.builds(Poisson, RATES),
    st.builds(Bursts, RATES, st.floats(0.1, 10)),
    st.builds(Ramp, st.floats(0, 50), st.floats(0.1, 50), st.floats(0.1, 60)),
    st.builds(
        Sweep, st.lists(st.floats(0.1, 50), min_size=1, max_size=5).map(tuple), st.floats(0.1, 20), st.floats(0, 5)
    ),
    st.builds(Trace, st.lists(st.floats(0, 1e6), min_size=1).map(lambda times: tuple(sorted(times)))),
)


def times(load: OpenLoad, number: int = 200, seed: int = 0) -> list[float]:
    return [arrival.at for arrival in arrivals(load, 1, rounds=number, seed=seed)]


def test_a_constant_rate_is_constant() -> None:
    assert times(Constant(4), 5) == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_ramp_sends_as_many_as_its_rates_add_up_to() -> None:
    ramp = times(Ramp(0, 4, 8), 1000)
    assert len(ramp) == 16  # (0 + 4) / 2 * 8
    assert ramp == pytest.approx([(4 * number) ** 0.5 for number in range(16)])  # t**2 / 4 == number


def test_a_ramp_goes_down_as_well_and_a_level_one_is_constant() -> None:
    assert times(Ramp(4, 0, 8), 1000) == pytest.approx([8 - (64 - 4 * number) ** 0.5 for number in range(16)])
    assert times(Ramp(2, 2, 2), 1000) == [0, 0.5, 1.0, 1.5]


def test_a_sweep_is_one_rate_after_another_with_pauses() -> None:
    sweep = Sweep((1, 2), seconds=2, pause=1)
    assert times(sweep) == [0, 1, 3, 3.5, 4, 4.5]
    assert [sweep.step(number) for number in range(6)] == [0, 0, 1, 1, 1, 1]


def test_targets_take_turns() -> None:
    due = islice(arrivals(Constant(1), 2), 4)
    assert [tuple(each) for each in due] == [(0, 0, 0), (0.5, 1, 0), (1, 0, 1), (1.5, 1, 1)]


def test_each_target_gets_the_same_times() -> None:
    due = list(arrivals(Poisson(3), 3, rounds=50, seed=7))
    of = [[each.at for each in due if each.place == place] for place in range(3)]
    assert of[1] == pytest.approx([at + 1 / 9 for at in of[0]])
    assert of[2] == pytest.approx([at + 2 / 9 for at in of[0]])


@pytest.mark.parametrize(("load", "spread"), [(Poisson(5), 1.0), (Bursts(5, 0.25), 2.0), (Bursts(5, 4), 0.5)])
def test_random_gaps_have_their_mean_and_spread(load: OpenLoad, spread: float) -> None:
    drawn = times(load, 20_000, seed=1)
    gaps = [later - earlier for earlier, later in pairwise([0.0, *drawn])]
    assert fmean(gaps) == pytest.approx(1 / 5, rel=0.05)
    assert stdev(gaps) / fmean(gaps) == pytest.approx(spread, rel=0.05)


@given(OPEN, st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_times_ascend_and_are_the_same_for_the_same_seed(load: OpenLoad, seed: int, targets: int) -> None:
    due = list(arrivals(load, targets, rounds=30, seed=seed))
    assert due == list(arrivals(load, targets, rounds=30, seed=seed))
    assert [each.at for each in due] == sorted(each.at for each in due)
    assert all(0 <= each.at < inf for each in due)
    for place in range(targets):
        numbers = [each.round for each in due if each.place == place]
        assert sorted(numbers) == list(range(len(numbers)))


@given(st.floats(0, 50), st.floats(0.1, 50), st.floats(0.1, 60))
@settings(max_examples=60, deadline=None)
def test_a_ramp_ends_in_time(start: float, stop: float, seconds: float) -> None:
    ramp = list(Ramp(start, stop, seconds).times(Random()))
    assert all(0 <= at <= seconds * (1 + 1e-9) for at in ramp)
    assert len(ramp) == pytest.approx((start + stop) / 2 * seconds, abs=1)


@given(OPEN)
@settings(max_examples=60, deadline=None)
def test_steps_and_words_are_there_for_every_load(load: OpenLoad) -> None:
    assert str(load)
    assert plain_load(load)["type"] == type(load).__name__.lower()
    if isinstance(load, Sweep):
        steps = [load.step(number) for number in range(len(list(load.times(Random()))))]
        assert steps == sorted(steps)
        assert set(steps) == set(range(len(load.rates)))


def test_other_seeds_give_other_times() -> None:
    assert times(Poisson(1), seed=1) != times(Poisson(1), seed=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Users(0),
        lambda: Constant(0),
        lambda: Poisson(-1),
        lambda: Constant(inf),
        lambda: Constant(float("nan")),
        lambda: Bursts(1, 0),
        lambda: Ramp(0, 0, 1),
        lambda: Ramp(-1, 5, 1),
        lambda: Ramp(1, 2, 0),
        lambda: Sweep(()),
        lambda: Sweep((1, 0)),
        lambda: Sweep((1,), pause=-1),
        lambda: Trace(()),
        lambda: Trace((2.0, 1.0)),
        lambda: Trace((-1.0,)),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()  # type: ignore[operator]  # each is a function


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Users(), "1 user"),
        (Users(8), "8 users"),
        (Constant(2.5), "2.5/s"),
        (Poisson(5), "poisson 5/s"),
        (Bursts(5, 0.5), "bursts 5/s, shape 0.5"),
        (Ramp(1, 9, 60), "ramp 1 to 9/s in 60 s"),
        (Sweep((1, 2), seconds=5), "sweep 1, 2/s, 5 s each"),
        (Trace((0.0, 1.5)), "trace of 2 requests in 1.5 s"),
    ],
)
def test_a_load_says_what_it_is(load: Load, words: str) -> None:
    assert str(load) == words


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ('{"timestamp": 100, "input_length": 5}\n\n{"timestamp": 104}\n{"timestamp": 101}\n', (0.0, 1.0, 4.0)),
        ("tokens,Timestamp\n7,3\n8,3.5\n", (0.0, 0.5)),
        ("10\n11.5\n", (0.0, 1.5)),
        ("TIMESTAMP,n\n2024-05-10 00:00:00.250000,1\n2024-05-10 00:00:01,2\n", (0.0, 0.75)),
    ],
)
def test_a_trace_is_read_from_lines_of_json_and_from_csv(tmp_path: Path, text: str, moments: tuple[float, ...]) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    assert read_trace(path).moments == moments
    assert read_trace(path, speed=2).moments == tuple(at / 2 for at in moments)


def test_a_traces_numbers_may_be_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0\n500\n")
    assert read_trace(path, unit=0.001).moments == (0.0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no requests"),
        ("at\n1\nsoon\n", "line 3: 'soon' is no time"),
        ('{"at": true}', "line 1: 'True' is no time"),
        ('{"at": NaN}', "line 1 is not JSON"),
        ("nan\n", "is no time"),
        ('{"at": 1}\n[1]', "has none of at, timestamp"),
        ('{"when": 1}', "has none of at, timestamp"),
        ('{"at": [1]}', "is no time"),
    ],
)
def test_a_trace_that_cannot_be_read_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(Error, match=says):
        read_trace(path)


def test_a_trace_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot be read"):
        read_trace(tmp_path / "none")
