"""Circuit breakers as plain decisions: the test says what time it is."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from g4ftrio import Breaker
from g4ftrio._resilience.health import Health
from g4ftrio._words.errors import APIConnectionError, InternalServerError, LimitError, RateLimitError, status_error

DOWN = APIConnectionError()
QUICK = Breaker(failures=2, rate=1.0, window=50, pause=10.0)


def opened(breaker: Breaker = QUICK, at: float = 0.0) -> Health:
    health = Health(breaker)
    for _ in range(breaker.failures):
        health.failed("a", DOWN, at)
    return health


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    health = Health(QUICK)
    health.failed("a", DOWN, 0)
    assert health.open_until("a") == -inf
    health.failed("a", DOWN, 1)
    assert health.open_until("a") == 11
    assert health.open_until("b") == -inf


def test_a_success_in_between_begins_the_count_anew() -> None:
    health = Health(QUICK)
    for _ in range(5):
        health.failed("a", DOWN, 0)
        health.succeeded("a", 0)
    assert health.open_until("a") == -inf


def test_it_opens_at_a_share_of_failures_once_the_window_is_full() -> None:
    health = Health(Breaker(failures=100, rate=0.5, window=4, pause=10))
    for outcome in (True, False, True):
        health.failed("a", DOWN, 0) if outcome else health.succeeded("a", 0)
    assert health.open_until("a") == -inf
    health.succeeded("a", 5)
    assert health.open_until("a") == -inf  # opens on a failure only
    health.failed("a", DOWN, 6)
    assert health.open_until("a") == 16


def test_half_open_it_is_tried_by_one_at_a_time() -> None:
    health = opened()
    assert not health.started("a", 9.75)
    assert health.started("a", 10)
    assert not health.started("a", 10)
    assert health.open_until("a") == 20


def test_a_trial_that_hangs_does_not_hold_it_open_for_ever() -> None:
    health = opened()
    assert health.started("a", 10)
    assert health.started("a", 20)


def test_a_trial_that_is_answered_closes_it() -> None:
    health = opened()
    health.started("a", 10)
    health.answered("a")
    assert health.open_until("a") == -inf
    assert not health.started("a", 11)


def test_a_trial_that_fails_opens_it_for_twice_as_long_up_to_sixteen_times() -> None:
    health = opened()
    now, pauses = 10.0, []
    for _ in range(6):
        assert health.started("a", now)
        health.failed("a", DOWN, now, trial=True)
        pauses.append(health.open_until("a") - now)
        now = health.open_until("a")
    assert pauses == [20, 40, 80, 160, 160, 160]


def test_a_trial_that_decides_nothing_lets_the_next_one_try() -> None:
    health = opened()
    health.started("a", 10)
    health.undecided("a")
    assert health.started("a", 10)
    health.failed("a", status_error(401, "no"), 10, trial=True)
    assert health.started("a", 10)


def test_what_is_wrong_with_a_request_does_not_count() -> None:
    health = Health(Breaker(failures=1))
    for status in (400, 401, 403, 404, 422):
        health.failed("a", status_error(status, "no"), 0)
    assert health.open_until("a") == health.paused_until("a") == -inf


def test_who_fails_while_it_is_open_does_not_lengthen_it() -> None:
    health = opened()
    health.failed("a", DOWN, 5)
    assert health.open_until("a") == 10


def test_a_429_is_a_pause_and_no_failure() -> None:
    health = Health(Breaker(failures=1))
    health.failed("a", RateLimitError("slow down", retry_after=7.5), 1)
    assert health.open_until("a") == -inf
    assert health.paused_until("a") == 8.5


def test_a_429_that_says_nothing_pauses_for_a_second_that_doubles() -> None:
    health = Health(Breaker(pause=5))
    pauses = []
    for now in range(0, 500, 100):
        health.failed("a", RateLimitError("slow down"), now)
        pauses.append(health.paused_until("a") - now)
    assert pauses == [1, 2, 4, 5, 5]
    health.answered("a")
    health.failed("a", RateLimitError("slow down"), 900)
    assert health.paused_until("a") == 901


def test_a_failure_may_ask_for_a_pause_as_well() -> None:
    health = opened()
    health.failed("b", InternalServerError("busy", retry_after=3), 1)
    assert health.paused_until("b") == 4


def test_a_limit_of_ones_own_pauses_only_where_it_is_known_for_how_long() -> None:
    health = Health(QUICK)
    health.failed("a", LimitError("limit", 1), 0)
    assert health.paused_until("a") == -inf
    health.failed("a", LimitError("requests", 1, 60, retry_after=4), 0)
    assert health.paused_until("a") == 4


def test_a_pause_is_at_most_a_day_and_never_shortened() -> None:
    health = Health(QUICK)
    health.paused("a", 1e9, 0)
    health.paused("a", 1, 0)
    assert health.paused_until("a") == 86_400


def test_without_a_breaker_only_what_a_service_asks_for_is_kept() -> None:
    health = Health(None)
    for _ in range(50):
        health.failed("a", DOWN, 0)
        health.failed("a", RateLimitError("slow down"), 0)
    assert (health.open_until("a"), health.paused_until("a")) == (-inf, -inf)
    health.failed("a", RateLimitError("slow down", retry_after=3), 0)
    assert health.paused_until("a") == 3


def test_who_is_well_costs_nothing_and_strangers_names_are_bounded() -> None:
    health = Health(QUICK)
    health.failed("a", DOWN, 0)
    for _ in range(QUICK.window + 1):
        health.succeeded("a", 0)
    assert health._circuits == {}
    for number in range(5000):
        health.failed(str(number), DOWN, 0)
    assert len(health._circuits) == 1000


@pytest.mark.parametrize("settings", [{"failures": 0}, {"window": 0}, {"rate": 0}, {"rate": 1.5}, {"pause": 0}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        Breaker(**settings)


# --- kept ---


def test_what_is_kept_comes_back_on_another_clock() -> None:
    health = opened(at=100)
    health.failed("b", RateLimitError("slow down", retry_after=30), 100)
    health.failed("c", DOWN, 100)
    kept = json.loads(json.dumps(health.state(shift=1000.0)))
    other = Health(QUICK)
    other.restore(kept, shift=1100.0, now=3.0)
    assert other.open_until("a") == 10
    assert other.paused_until("b") == 30
    other.failed("c", DOWN, 3)
    assert other.open_until("c") == 13


def test_a_time_too_far_ahead_is_brought_nearer() -> None:
    health = Health(QUICK)
    health.restore({"a": {"opened": 1, "open_until": 1e10, "paused_until": 1e10}}, shift=0.0, now=0.0)
    assert (health.open_until("a"), health.paused_until("a")) == (160, 86_400)


@pytest.mark.parametrize("state", [{"a": 1}, {"a": {"failures": -1}}, {"a": {"open_until": "x"}}, [1]])
def test_what_is_not_of_that_form_is_refused(state: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        Health(QUICK).restore(state, 0.0, 0.0)


# --- whatever happens ---

EVENT = st.tuples(st.sampled_from(["ask", "answer", "fail", "refuse", "undecided"]), st.floats(0, 15))


@given(st.lists(EVENT, max_size=60))
def test_whatever_happens_there_is_one_trial_at_a_time_and_it_is_never_shut_for_ever(
    events: list[tuple[str, float]],
) -> None:
    health, now = Health(QUICK), 0.0
    trials: list[float] = []
    for what, seconds in events:
        now += seconds
        match what:
            case "ask":
                if health.open_until("a") <= now and health.started("a", now):
                    assert not trials or now - trials[-1] >= QUICK.pause  # the one before has hung
                    trials.append(now)
            case "answer":
                health.answered("a")
                trials.clear()
            case "fail":
                health.failed("a", DOWN, now, trial=bool(trials))
                trials.clear()
            case "refuse":
                health.failed("a", RateLimitError("no", retry_after=2), now, trial=bool(trials))
                trials.clear()
            case _ if trials:
                health.undecided("a")
                trials.clear()
        assert health.open_until("a") <= now + 16 * QUICK.pause
        assert health.paused_until("a") <= now + 2
        if what == "answer":
            assert health.open_until("a") == -inf
