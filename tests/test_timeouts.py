from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from g4ftrio._words.timeouts import Timeout, TimeoutTypes, Waits

NAMES = ("connect", "first_chunk", "stall", "idle", "total")


def limits(timeout: Timeout) -> tuple[float, ...]:
    return tuple(getattr(timeout, name) for name in NAMES)


def test_the_defaults_are_those_of_the_documents() -> None:
    assert limits(Timeout()) == (5, inf, inf, 300, 600)
    assert limits(Timeout.of(None)) == (5, inf, inf, 300, 600)


@pytest.mark.parametrize("value", [2, 2.0])
def test_a_bare_number_is_the_longest_wait_without_progress(value: float) -> None:
    assert limits(Timeout.of(value)) == (2, 2, 2, 2, 600)


def test_a_timeout_is_taken_as_it_is() -> None:
    timeout = Timeout(stall=1)
    assert Timeout.of(timeout) is timeout


@pytest.mark.parametrize("value", [None, 0, 0.0, inf])
def test_none_and_zero_are_no_limit(value: float | None) -> None:
    assert limits(Timeout(connect=value, first_chunk=value, stall=value, idle=value, total=value)) == (inf,) * 5


def test_a_bare_zero_is_no_limit_on_progress() -> None:
    assert limits(Timeout.of(0)) == (inf, inf, inf, inf, 600)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["5", b"5", (5, 5), True, 5j, object()])
def test_what_is_no_number_is_a_type_error_that_names_the_limit(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^timeout {name} is a number of seconds or None, not "):
        Timeout(**{name: value})


@pytest.mark.parametrize("value", [-1, -0.5, nan, -inf])
def test_what_no_clock_can_reach_is_a_value_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout total is a number of seconds above 0, not "):
        Timeout(total=value)


def test_a_wrong_bare_value_is_refused_as_well() -> None:
    wrong: Any = "5"
    with pytest.raises(TypeError, match="a number of seconds or None, not '5'"):
        Timeout.of(wrong)


def test_a_name_that_is_no_limit_is_refused() -> None:
    wrong: dict[str, Any] = {"read": 5}
    with pytest.raises(TypeError, match="read"):
        Timeout(**wrong)


def test_limits_merge_name_by_name_call_over_entrant_over_provider() -> None:
    call, entrant, provider = Timeout(stall=1), Timeout(stall=2, idle=20), Timeout(idle=30, total=None, connect=3)
    merged = call.over(entrant).over(provider)
    assert limits(merged) == (3, inf, 1, 20, inf)
    assert merged == Timeout(stall=1, idle=20, total=None, connect=3)
    assert call.over(entrant.over(provider)) == merged


def test_merging_changes_neither_side() -> None:
    upper, lower = Timeout(stall=1), Timeout(stall=2, idle=3)
    upper.over(lower)
    assert (upper, lower) == (Timeout(stall=1), Timeout(stall=2, idle=3))


def test_a_limit_taken_away_on_purpose_beats_the_one_below() -> None:
    assert Timeout(total=None).over(Timeout(total=10)).total == inf


def test_a_default_that_was_given_beats_the_one_below() -> None:
    assert Timeout(connect=5).over(Timeout(connect=1)).connect == 5
    assert Timeout().over(Timeout(connect=1)).connect == 1


def test_equal_limits_are_equal_and_hash_alike() -> None:
    one, other = Timeout(stall=1, idle=2), Timeout(idle=2, stall=1.0)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Timeout(stall=1)
    assert one != 1


def test_the_repr_shows_what_was_given() -> None:
    assert repr(Timeout()) == "Timeout()"
    assert repr(Timeout(idle=2.5, total=None)) == "Timeout(idle=2.5, total=inf)"


def test_no_limit_is_nothing_to_watch() -> None:
    waits = Waits(Timeout(total=None))
    assert not waits
    assert waits.begin(7) == inf
    waits.end(1_000_000)


def waits_for(timeout: TimeoutTypes, *kinds: str) -> Waits:
    return Waits(Timeout.of(timeout), kinds or ("first_chunk", "stall", "total"))


def test_the_nearest_limit_is_the_moment_to_wait_until() -> None:
    waits = waits_for(Timeout(first_chunk=4, stall=3, total=10))
    assert waits
    assert waits.begin(100) == 104
    assert waits.reached() == ("first_chunk", 4)


def test_a_stall_begins_with_the_answer() -> None:
    waits = waits_for(Timeout(stall=3, total=None))
    assert waits
    assert waits.begin(100) == inf
    waits.output(clean=False)
    assert waits.begin(100) == 103
    assert waits.reached() == ("stall", 3)


def test_only_the_kinds_asked_for_are_watched() -> None:
    assert Waits(Timeout(connect=1, first_chunk=2, stall=3, idle=4, total=5), ("idle", "connect")).begin(0) == 1
    assert not Waits(Timeout(first_chunk=2, idle=None), ("idle",))


def test_what_a_read_waited_is_charged() -> None:
    waits = waits_for(Timeout(stall=3, total=10))
    waits.output()
    waits.begin(0)
    waits.end(2)
    assert waits.begin(2) == 3


def test_a_slow_consumer_is_not_charged() -> None:
    waits = waits_for(Timeout(first_chunk=4, stall=3, total=5))
    now = 0.0
    for _ in range(4):
        assert waits.begin(now) > now
        now += 1
        waits.end(now)
        waits.output()
        now += 1_000  # the consumer's own
    assert waits.begin(now) == now + 1  # of the total, 4 of 5 seconds were waited for
    assert waits.reached() == ("total", 5)


def test_output_refills_stall_and_idle_but_not_the_total() -> None:
    waits = waits_for(Timeout(stall=3, idle=4, total=10), "stall", "idle", "total")
    now = 0.0
    for _ in range(4):
        waits.begin(now)
        now += 2
        waits.end(now)
        waits.output()
    assert waits.begin(now) == now + 2
    assert waits.reached() == ("total", 10)


def test_keep_alives_refill_nothing() -> None:
    waits = waits_for(Timeout(stall=3, total=10))
    waits.output()
    for now in (0, 1, 2):
        assert waits.begin(now) == 3
        waits.end(now + 1)
    assert waits.begin(3) == 3
    assert waits.reached() == ("stall", 3)


def test_unclean_output_ends_a_stall_but_not_the_wait_for_the_first_chunk() -> None:
    waits = waits_for(Timeout(first_chunk=4, stall=3, total=None))
    waits.begin(0)
    waits.end(2)
    waits.output(clean=False)
    assert waits.begin(2) == 4
    assert waits.reached() == ("first_chunk", 4)
    waits.end(3)
    waits.output(clean=True)
    assert waits.begin(3) == 6
    assert waits.reached() == ("stall", 3)


def test_the_first_clean_chunk_ends_the_wait_for_it_for_good() -> None:
    waits = waits_for(Timeout(first_chunk=1, total=None))
    assert waits.begin(50) == 51
    waits.output()
    assert waits.begin(50) == inf


def test_each_limit_is_reported_as_it_was_set() -> None:
    for kind in ("first_chunk", "stall", "total"):
        waits = waits_for(Timeout(**{kind: 1.5}).over(Timeout(total=None)))
        waits.output(clean=False)
        waits.begin(0)
        waits.end(1.5)
        assert waits.reached() == (kind, 1.5)
