"""When the next entrant starts: the schedule by itself, and exact start times in a race."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import Any

import anyio
import pytest

from g4ftrio._race.budget import budget
from g4ftrio._race.keeper import NoKeeper
from g4ftrio._race.policies import Policy, Schedule, adaptive, fallback, parallel, staggered
from g4ftrio._words.errors import AllFailed
from g4ftrio._words.report import EntrantReport
from tests import clocks
from tests.entrants import FOREVER, Line, Scripted, outcomes, race, race_of

in_virtual_time = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


async def starts(policy: Policy, entrants: dict[str, Scripted]) -> dict[str, float | None]:
    """Race them to the win, and give when each was started."""
    racing = race(entrants, policy=policy)
    try:
        async with racing:
            pass
    except AllFailed:
        pass
    return {record.name: record.started_at for record in racing.report.entrants}


def hangs(*names: str) -> dict[str, Scripted]:
    return {name: Scripted(FOREVER) for name in names}


@in_virtual_time
async def test_parallel_starts_all_at_once() -> None:
    assert await starts(parallel(), {**hangs("a", "b"), "c": Scripted(1, "C")}) == {"a": 0, "b": 0, "c": 0}


@in_virtual_time
async def test_staggered_starts_the_next_whenever_nobody_has_won_so_long_after_the_last_start() -> None:
    entrants = {**hangs("a", "b"), "c": Scripted(0.75, "C"), **hangs("d", "e")}
    assert await starts(staggered(0.5), entrants) == {"a": 0, "b": 0.5, "c": 1, "d": 1.5, "e": None}


@in_virtual_time
async def test_one_that_was_not_started_is_in_the_report_as_such() -> None:
    async with race({"a": Scripted("A"), **hangs("b")}, policy=staggered(1)) as stream:
        assert outcomes(stream.report) == {"a": "won", "b": "not_started"}


@in_virtual_time
async def test_fallback_starts_the_next_only_when_the_one_before_has_failed() -> None:
    entrants = {"a": Scripted(2, OSError()), "b": Scripted(0.5, "b"), "c": Scripted(3, "C"), **hangs("d")}
    assert await starts(fallback(), entrants) == {"a": 0, "b": 2, "c": 2.5, "d": None}


@in_virtual_time
async def test_a_failure_starts_the_next_at_once_and_its_start_counts_as_the_last() -> None:
    entrants = {"a": Scripted(0.25, OSError()), **hangs("b"), "c": Scripted(0.5, "C")}
    assert await starts(staggered(1), entrants) == {"a": 0, "b": 0.25, "c": 1.25}


@in_virtual_time
async def test_two_failures_in_one_tick_start_two() -> None:
    entrants = {"a": Scripted(1.5, OSError()), "b": Scripted(0.5, OSError()), **hangs("c", "d"), "e": Scripted(9, "E")}
    # a and b, who started at 0 and 1, fail at 1.5 both: c and d start then, and e one delay later
    assert await starts(staggered(1), entrants) == {"a": 0, "b": 1, "c": 1.5, "d": 1.5, "e": 2.5}


@in_virtual_time
async def test_two_failures_in_one_tick_start_two_where_only_failures_start_anybody() -> None:
    entrants = {
        "a": Scripted(1, OSError()),
        "b": Scripted(1, OSError()),
        **hangs("c"),
        "d": Scripted("D"),
        **hangs("e"),
    }
    assert await starts(parallel(max_active=2), entrants) == {"a": 0, "b": 0, "c": 1, "d": 1, "e": None}


@in_virtual_time
async def test_max_active_bounds_how_many_run_at_the_same_time() -> None:
    entrants = {"a": Scripted(1, OSError()), "b": Scripted(2, "b"), "c": Scripted(3, "C"), "d": Scripted(0.5, "D")}
    assert await starts(parallel(max_active=2), entrants) == {"a": 0, "b": 0, "c": 1, "d": 2}


@in_virtual_time
async def test_max_active_holds_back_a_staggered_start_until_there_is_room() -> None:
    entrants = {"a": Scripted(5, OSError()), **hangs("b"), "c": Scripted("C")}
    assert await starts(staggered(1, max_active=2), entrants) == {"a": 0, "b": 1, "c": 5}


@in_virtual_time
async def test_one_that_is_still_closing_does_not_hold_up_the_next() -> None:
    entrants = {"a": Scripted(1, OSError(), closing=9), "b": Scripted("B")}
    assert await starts(fallback(), entrants) == {"a": 0, "b": 1}


class Holding(NoKeeper):
    """Holds back who is named with a moment, and from the first failure on whoever is named with one for that."""

    def __init__(self, held: dict[str, float], on_failure: dict[str, float] | None = None) -> None:
        self._held = held
        self._on_failure = on_failure or {}

    def held_until(self, name: str) -> float:
        return self._held.get(name, -inf)

    def decided(self, record: EntrantReport, seconds: float) -> None:
        if record.outcome == "failed":
            self._held |= self._on_failure


@in_virtual_time
async def test_one_that_is_held_back_is_passed_over_and_started_when_it_may() -> None:
    lines = {"a": Line(0.5, "A"), "b": Line(FOREVER), "c": Line(FOREVER)}
    engine = race_of(lines, keeper=Holding({"a": 2.0}))
    async with engine as won:
        assert won.entrant.name == "a"
        engine.release()
    assert [record.started_at for record in engine.report.entrants] == [2, 0, 0]


@in_virtual_time
async def test_a_failure_may_hold_back_others_from_then_on() -> None:
    lines = {"a": Line(1, OSError("come back later")), "b": Line("B")}
    engine = race_of(lines, policy=fallback(), keeper=Holding({}, on_failure={"b": 3.0}))
    async with engine:
        engine.release()
    assert [record.started_at for record in engine.report.entrants] == [0, 3]


# A budget. It allows so much: what is saved, and of what every race adds.


@in_virtual_time
async def test_hedges_are_paid_from_the_budget_until_it_is_spent() -> None:
    saved = budget(0, cap=2)
    policy = staggered(1, budget=saved)
    assert await starts(policy, {**hangs("a", "b"), "c": Scripted(1, "C"), **hangs("d")}) == {
        "a": 0,
        "b": 1,
        "c": 2,
        "d": None,
    }
    assert saved.saved == 0
    assert await starts(policy, {"a": Scripted(9, "A"), **hangs("b")}) == {"a": 0, "b": None}


@in_virtual_time
async def test_without_budget_the_next_waits_until_the_running_one_fails() -> None:
    policy = staggered(1, budget=budget(0, cap=1))
    entrants = {**hangs("a"), "b": Scripted(4, OSError()), "c": Scripted(2, "C")}
    assert await starts(policy, entrants) == {"a": 0, "b": 1, "c": 5}


@in_virtual_time
async def test_failover_with_nothing_running_is_free() -> None:
    saved = budget(0, cap=1)
    failing = {name: Scripted(1, OSError()) for name in "abc"}
    assert await starts(fallback(budget=saved), {**failing, "d": Scripted("D")}) == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert saved.saved == 1


@in_virtual_time
async def test_a_race_of_all_starts_as_many_as_the_budget_allows() -> None:
    entrants = {**hangs("a"), "b": Scripted(2, OSError()), **hangs("c"), "d": Scripted(1, "D")}
    assert await starts(parallel(budget=budget(0, cap=2)), entrants) == {"a": 0, "b": 0, "c": 0, "d": 2}


@in_virtual_time
async def test_hedges_that_wait_for_the_budget_start_as_later_races_earn_it_the_first_first() -> None:
    policy = staggered(1, budget=budget(0.5, cap=1))
    found: dict[str, dict[str, float | None]] = {}

    async def race_at(moment: float, name: str, entrants: dict[str, Scripted]) -> None:
        await anyio.sleep(moment)
        found[name] = await starts(policy, entrants)

    async with anyio.create_task_group() as tasks:
        for number in range(3):  # their turn is at 1, 1.25 and 1.5; the first one takes what was saved
            tasks.start_soon(race_at, number / 4, f"{number}", {**hangs("a"), "b": Scripted(8, "B")})
        for number in range(4):  # the second of these makes one hedge more, the fourth another
            tasks.start_soon(race_at, 2 + number / 2, f"later {number}", {"a": Scripted("A")})
    assert [found[f"{number}"]["b"] for number in range(3)] == [1, 2.5 - 0.25, 3.5 - 0.5]


@in_virtual_time
async def test_who_gives_up_waiting_for_the_budget_leaves_its_place_to_the_next() -> None:
    saved = budget(0.5, cap=1)
    saved.saved = -1.0  # the two races that begin earn one, and have none then
    policy = staggered(1, budget=saved)
    found: list[float | None] = []

    async def wait(seconds: float) -> None:
        with anyio.move_on_after(seconds):
            found.append((await starts(policy, {**hangs("a"), "b": Scripted(1, "B")}))["b"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, 3)
        await anyio.sleep(0.5)
        tasks.start_soon(wait, 99)
        await anyio.sleep(4)
        assert (await starts(policy, {"a": Scripted("A")})) == {"a": 0}
        assert (await starts(policy, {"a": Scripted("A")})) == {"a": 0}
    assert found == [4]


@in_virtual_time
async def test_one_that_cannot_hedge_does_not_stand_in_the_way() -> None:
    saved = budget(1, cap=1)
    found: list[float | None] = []

    async def wait(policy: Policy) -> None:
        saved.saved = -2.0  # it has -1 once it has begun
        with anyio.move_on_after(9):
            found.append((await starts(policy, {**hangs("a"), "b": Scripted(1, "B")}))["b"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, fallback(budget=saved))
        tasks.start_soon(wait, staggered(50, budget=saved))
        tasks.start_soon(wait, parallel(max_active=1, budget=saved))
        await anyio.sleep(1)
        tasks.start_soon(wait, staggered(1, budget=saved))
        await anyio.sleep(2)
        for _ in range(2):
            assert (await starts(staggered(1, budget=saved), {"a": Scripted("A")})) == {"a": 0}
    assert found == [2]
    assert not saved._line


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_race_in_another_thread_is_woken_too(backend: str) -> None:
    saved = budget(1, cap=1)
    saved.saved = -1.0  # the race that begins earns one, and has none then
    won: list[str] = []

    async def wait() -> None:
        async with race({**hangs("a"), "b": Scripted("B")}, policy=parallel(budget=saved)) as items:
            won.append(items.winner)

    thread = threading.Thread(target=anyio.run, args=[wait], kwargs={"backend": backend})
    thread.start()
    while not saved._line:
        time.sleep(0.001)
    assert not won
    saved.earn()
    thread.join(30)
    assert won == ["b"]


@pytest.mark.parametrize("ratio", [-1, inf, float("nan")])
def test_a_ratio_below_zero_is_an_error(ratio: float) -> None:
    with pytest.raises(ValueError, match="the ratio of a budget is a number from 0, not"):
        budget(ratio)


@pytest.mark.parametrize("cap", [0, 0.5, inf, float("nan")])
def test_a_cap_below_one_is_an_error(cap: float) -> None:
    with pytest.raises(ValueError, match="the cap of a budget is a number from 1, not"):
        budget(cap=cap)


def test_ten_tenths_are_one() -> None:
    saved = budget(0.1, cap=1)
    saved.take()
    for _ in range(9):
        saved.earn()
        assert not saved.allows()
    saved.earn()
    assert saved.allows()


def test_what_was_saved_is_kept_with_the_policy() -> None:
    policy = staggered(1, budget=budget(0.1, cap=5))
    assert policy.state() == {"budget": 5}
    states: list[Any] = [{"budget": 2.5}, {"budget": 99}, {"budget": "many"}, {"budget": True}, {}, None, [], 7]
    for state in states:
        policy.restore(state)
    assert policy.state() == {"budget": 2.5}
    assert fallback().state() == {}
    fallback().restore({"budget": 1, "latencies": {}})


def began(schedule: Schedule, now: float, active: int = 0) -> list[str]:
    """Start all who are due, and give their names."""
    names: list[str] = []
    while schedule.due(active + len(names)) <= now:
        names.append(schedule.start(now, active + len(names)))
    return names


def test_a_schedule_of_nobody_is_empty_and_never_due() -> None:
    schedule = Schedule(parallel(), [])
    assert not schedule
    assert schedule.due(0) == inf


def test_a_schedule_gives_everybody_once_in_their_order() -> None:
    schedule = Schedule(parallel(), "abc")
    assert schedule
    assert began(schedule, 7) == ["a", "b", "c"]
    assert not schedule


def test_a_staggered_schedule_is_due_one_delay_after_the_last_start() -> None:
    schedule = Schedule(staggered(2), "abc")
    assert began(schedule, 10) == ["a"]
    assert schedule.due(1) == 12
    assert began(schedule, 13, active=1) == ["b"]
    assert schedule.due(2) == 15


def test_with_nobody_running_the_next_is_due_at_once() -> None:
    for policy in (parallel(), staggered(60), fallback()):
        schedule = Schedule(policy, "ab")
        schedule.start(0)
        assert schedule.due(0) == -inf


def test_a_fallback_schedule_is_never_due_while_somebody_runs_and_nobody_failed() -> None:
    schedule = Schedule(fallback(), "ab")
    schedule.start(0)
    assert schedule.due(1) == inf
    schedule.failed()
    assert schedule.due(1) == -inf


def test_each_failure_is_owed_one_start() -> None:
    schedule = Schedule(staggered(9), "abcd")
    schedule.start(0)
    schedule.failed()
    schedule.failed()
    assert began(schedule, 1, active=1) == ["b", "c"]
    assert schedule.due(3) == 10


def test_failures_do_not_exceed_what_may_run_and_are_not_forgotten() -> None:
    schedule = Schedule(staggered(9, max_active=1), "abc")
    schedule.start(0)
    schedule.failed()
    assert schedule.due(1) == inf
    assert schedule.due(0) == -inf


def test_a_schedule_whose_next_are_all_held_is_due_when_the_first_is_let_go() -> None:
    held = {"a": 5.0, "b": 3.0}
    schedule = Schedule(parallel(), "ab", held.__getitem__)
    assert schedule.due(0) == 3
    assert began(schedule, 3) == ["b"]
    assert schedule.due(1) == 5


def test_a_held_one_waits_for_its_turn_as_well() -> None:
    schedule = Schedule(staggered(4), "ab", {"a": -inf, "b": 2.0}.__getitem__)
    schedule.start(0)
    assert schedule.due(1) == 4


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (parallel(), "parallel()"),
        (parallel(max_active=3), "parallel(max_active=3)"),
        (staggered(0.5), "staggered(0.5)"),
        (staggered(2, max_active=1), "staggered(2, max_active=1)"),
        (fallback(), "fallback()"),
        (staggered(1, budget=budget(0.1)), "staggered(1, budget=budget(0.1))"),
        (parallel(max_active=2, budget=budget(0.25, cap=3)), "parallel(max_active=2, budget=budget(0.25, cap=3))"),
        (adaptive(), "adaptive(0.9)"),
        (adaptive(0.95, cold=1, max_active=2, budget=budget()), "adaptive(0.95, max_active=2, budget=budget(0.1))"),
    ],
)
def test_a_policy_prints_as_it_is_written(policy: Policy, text: str) -> None:
    assert str(policy) == text


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan")])
def test_a_head_start_below_zero_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="a head start is a number of seconds from 0, not"):
        staggered(seconds)


@pytest.mark.parametrize("make", [parallel, lambda **options: staggered(1, **options)])
@pytest.mark.parametrize("most", [0, -1])
def test_max_active_below_one_is_an_error(make: Any, most: int) -> None:
    with pytest.raises(ValueError, match=f"max_active is a number from 1 or None, not {most}"):
        make(max_active=most)


def test_policies_are_values() -> None:
    assert staggered(1) == staggered(1.0)
    assert len({parallel(), parallel(), fallback()}) == 2
    with pytest.raises(AttributeError):
        parallel().delay = 1  # type: ignore[misc]  # this is what must not work
