"""Runs in virtual time, where every number is exact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

import g4ftrio
from g4ftrio import Fallback, FinishReason, Race, Reasoning, SetupError, Usage, staggered
from g4ftrio.bench import (
    Constant,
    Poisson,
    RequestRecord,
    Run,
    Stop,
    Trace,
    Users,
    Writer,
    prompts,
    read,
    run,
    summarize,
)
from g4ftrio.providers import OpenAI
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


def scripted(name: str = "s", chunks: Any = "word", **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


def sent(found: Run, target: str | None = None) -> list[float]:
    records = sorted(found.records, key=lambda each: each.number)
    return [each.sent_at for each in records if target in (None, each.target)]


async def test_the_times_of_an_answer_are_exact() -> None:
    chunks = ["", Reasoning("hm"), "Blue", " it", " is.", FinishReason("stop"), Usage(5, 7)]
    found = await run([scripted(chunks=chunks, delay=1, gap=0.5)], Users(), count=1)
    (record,) = found.records
    assert (record.sent_at, record.first_token_at, record.first_content_at, record.ended_at) == (0, 1.5, 2, 4)
    assert (record.gaps, record.pieces) == ((0.5, 0.5, 0.5), 4)  # the empty delta of the role is no token
    assert (record.input_tokens, record.output_tokens, record.tokens_from) == (5, 7, "usage")
    assert (record.finish_reason, record.error, record.cancelled, record.winner) == ("stop", "", False, "")
    measures = summarize(found).targets["s"].measures
    assert measures["per_output_token"].mean == pytest.approx(2.5 / 6)


async def test_pieces_are_counted_where_the_service_does_not() -> None:
    found = await run([scripted(chunks=["a", "b", "c"])], Users(), count=1)
    assert (found.records[0].output_tokens, found.records[0].tokens_from) == (3, "pieces")


async def test_reasoning_that_was_counted_and_not_shown_is_set_apart() -> None:
    usage = Usage(output_tokens=50, reasoning_tokens=40)
    hidden, shown = scripted(chunks=["a", usage]), scripted("t", chunks=[Reasoning("hm"), "a", usage])
    later = scripted("u", chunks=["a", Reasoning("hm"), "b", usage])
    found = await run([hidden, shown, later], Users(), count=1)
    assert {each.target: each.hidden_tokens for each in found.records} == {"s": 40, "t": 0, "u": 0}
    assert [each.ended_at for each in found.records] == [0, 0, 0]


async def test_an_error_page_is_an_error() -> None:
    found = await run([scripted(chunks='{"error": {"message": "no"}}')], Users(), count=1)
    assert found.records[0].error == "RejectedError"


async def test_users_ask_again_as_soon_as_they_have_an_answer() -> None:
    slow, fast = scripted("slow", delay=2), scripted("fast", delay=1)
    found = await run([slow, fast], Users(2), count=4)
    assert sent(found, "slow") == [0, 0, 2, 2]
    assert sent(found, "fast") == [0, 0, 1, 1]
    assert sorted(each.number for each in found.records) == list(range(8))
    assert all(each.scheduled_at == each.sent_at for each in found.records)


async def test_an_open_loop_waits_for_nobody_and_targets_take_turns() -> None:
    found = await run([scripted("a", delay=5), scripted("b", delay=5)], Constant(1), count=3)
    assert (sent(found, "a"), sent(found, "b")) == ([0, 1, 2], [0.5, 1.5, 2.5])


async def test_a_slow_service_cannot_hide_the_waiting_it_causes() -> None:
    found = await run([scripted(delay=1)], Constant(2), count=8, max_active=1)
    target = summarize(found).targets["s"]
    end_to_end, scheduled = target.measures["end_to_end"], target.measures["scheduled"]
    assert (end_to_end.min, end_to_end.max) == (1, 1)  # who counts from when it was sent sees a steady second...
    assert [each.scheduled_at for each in found.records] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert [each.sent_at for each in found.records] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert (scheduled.min, scheduled.p50, scheduled.max) == (1, 2.75, 4.5)  # ...and a user of it waits ever longer
    assert "sent up to" in summarize(found).warnings[0]


async def test_a_trace_is_followed() -> None:
    found = await run([scripted()], Trace((0.0, 0.25, 4.0)))
    assert sent(found) == [0, 0.25, 4]


async def test_a_run_can_be_repeated() -> None:
    first, again = [await run([scripted()], Poisson(2), count=20, seed=5) for _ in range(2)]
    other = await run([scripted()], Poisson(2), count=20, seed=6)
    assert [each.scheduled_at for each in first.records] == [each.scheduled_at for each in again.records]
    assert [each.scheduled_at for each in first.records] != [each.scheduled_at for each in other.records]


async def test_a_duration_ends_the_sending_and_what_is_under_way_is_waited_for() -> None:
    found = await run([scripted(delay=3)], Constant(1), duration=4)
    assert sent(found) == [0, 1, 2, 3]
    assert found.ending is not None
    assert (found.ending.seconds, found.ending.reason) == (6, "complete")
    assert sent(await run([scripted(delay=3)], Users(), duration=4)) == [0, 3]


async def test_warm_up_and_cool_down_are_marked_by_number_or_by_time() -> None:
    def phases(found: Run) -> list[str]:
        return [each.phase for each in sorted(found.records, key=lambda each: each.number)]

    by_number = await run([scripted()], Constant(1), count=2, warmup=1, cooldown=1)
    assert phases(by_number) == ["warmup", "measured", "measured", "cooldown"]
    by_time = await run([scripted()], Constant(2), duration=3, warmup=1, cooldown=0.5)
    assert phases(by_time) == ["warmup", "warmup", "measured", "measured", "measured", "cooldown"]
    assert summarize(by_time).targets["s"].requests == 3


async def test_too_many_errors_end_a_run() -> None:
    broken = scripted(chunks=(), error=g4ftrio.RateLimitError("slow down", status=429), delay=1)
    found = await run([broken], Users(), count=100, max_error_share=0.5)
    assert len(found.records) == 10
    assert found.ending is not None
    assert (found.ending.reason, found.interrupted) == ("errors", False)
    assert summarize(found).targets["s"].errors == {"RateLimitError": 10}
    assert "slow down" in found.records[0].message


async def test_nothing_is_asked_twice() -> None:
    broken = scripted(chunks=(), error=g4ftrio.APIConnectionError("gone"))
    await run([broken], Users(), count=3)
    assert broken.opened == 3


async def test_stopping_ends_a_run_at_once_and_keeps_what_was_measured() -> None:
    slow, stop = scripted(delay=1), Stop()
    async with anyio.create_task_group() as tasks:

        async def stop_later() -> None:
            await anyio.sleep(2.5)
            stop()

        tasks.start_soon(stop_later)
        found = await run([slow], Users(), count=100, stop=stop)
    assert found.interrupted
    assert [(each.ended_at, each.cancelled) for each in found.records] == [(1, False), (2, False), (2.5, True)]
    assert slow.closed == slow.opened == 3


async def test_a_run_that_was_stopped_before_asks_nobody() -> None:
    provider, stop = scripted(delay=1), Stop()
    stop()
    assert (await run([provider], Users(), count=5, stop=stop)).interrupted
    assert all(each.cancelled for each in (await run([provider], Users(), count=5, stop=stop)).records)


async def test_a_callback_can_stop_a_run() -> None:
    stop = Stop()

    def enough(record: RequestRecord) -> None:
        if record.number == 2:
            stop()

    found = await run([scripted(delay=1)], Constant(1), count=50, stop=stop, on_record=enough)
    assert [each.cancelled for each in found.records].count(False) == 3


async def test_a_cancellation_from_outside_leaves_the_records_in_the_file(tmp_path: Path) -> None:
    slow = scripted(delay=1)
    with Writer(tmp_path / "run.jsonl") as writer, anyio.move_on_after(2.5) as scope:
        await run([slow], Users(), count=100, to=writer)
    assert scope.cancelled_caught
    found = read(tmp_path / "run.jsonl")
    assert found.interrupted
    assert [(each.ended_at, each.cancelled) for each in found.records] == [(1, False), (2, False), (2.5, True)]
    assert slow.closed == slow.opened == 3


async def test_what_a_callback_raises_ends_the_run_bare() -> None:
    def broken(_: RequestRecord) -> None:
        raise ZeroDivisionError

    for load in (Users(2), Constant(1)):
        provider = scripted(delay=1)
        with pytest.raises(ZeroDivisionError):
            await run([provider], load, count=50, on_record=broken)
        assert provider.closed == provider.opened


async def test_a_share_of_requests_is_broken_off_by_the_seed() -> None:
    async def broken_off(seed: int) -> list[bool]:
        slow = scripted(delay=10)
        found = await run([slow], Constant(1), count=40, cancel_share=0.5, cancel_after=2, seed=seed)
        assert slow.closed == slow.opened == 40
        assert all(each.ended_at - each.sent_at <= 2 for each in found.records if each.cancelled)
        return [each.cancelled for each in sorted(found.records, key=lambda each: each.number)]

    first = await broken_off(1)
    assert 10 < sum(first) < 30
    assert first == await broken_off(1)
    assert first != await broken_off(2)


async def test_all_targets_get_the_same_prompts_in_the_same_rounds_behind_prefixes_of_their_own() -> None:
    a, b = scripted("a"), scripted("b")
    found = await run([a, b], Users(), prompts(["Why?", "How?"]), count=4)
    asked = [messages[0]["content"] for messages in a.asked + b.asked]
    assert len(set(asked)) == 8
    assert [text.partition("] ")[2] for text in asked] == ["Why?", "How?"] * 4
    assert len({text.partition("] ")[0] for text in asked}) == 8
    assert len({len(text) for text in asked}) == 1
    assert Counter((each.target, each.round, each.prompt) for each in found.records) == Counter(
        (target, number, number % 2) for target in "ab" for number in range(4)
    )


async def test_prefixes_are_new_in_each_run_and_may_be_left_away() -> None:
    a = scripted("a")
    await run([a], Users(), "Why?", count=1)
    await run([a], Users(), "Why?", count=1)
    await run([a], Users(), "Why?", count=1, allow_cache=True)
    first, second, plain = (messages[0]["content"] for messages in a.asked)
    assert first != second
    assert plain == "Why?"


async def test_records_may_be_left_to_others(tmp_path: Path) -> None:
    seen: list[RequestRecord] = []
    with Writer(tmp_path / "run.jsonl") as writer:
        found = await run([scripted()], Users(), count=3, keep=False, on_record=seen.append, to=writer)
    assert found.records == ()
    assert read(tmp_path / "run.jsonl").records == tuple(seen)
    assert len(seen) == 3


async def test_a_race_says_what_became_of_everybody_on_the_clock_of_the_run() -> None:
    fast = scripted("fast", chunks=["Sky", " blue"], delay=1, gap=1)
    slow = scripted("slow", delay=3)
    whole = Race([fast, slow], policy=staggered(0.5), name="both")
    found = await run([whole], Constant(0.25), count=2)
    record = found.records[1]
    assert (record.sent_at, record.first_content_at, record.ended_at, record.winner) == (4, 5, 6, "fast")
    won, lost = record.entrants
    assert (won.name, won.outcome, won.started_at, won.clean_at) == ("fast", "won", 4, 5)
    assert (lost.name, lost.outcome, lost.started_at, lost.ended_at) == ("slow", "lost", 4.5, 5)
    assert found.setup.races == {"both": ("fast", "slow")}
    race = summarize(found).targets["both"].race
    assert race is not None
    assert (race.win_share, race.extra_calls, race.regret.max, race.closing.max) == (
        {"fast": 1.0, "slow": 0.0},
        1,
        0,
        0,
    )


async def test_a_race_that_nobody_wins_is_an_error_that_names_everybody() -> None:
    broken = [scripted(name, chunks=(), error=g4ftrio.APIConnectionError("gone")) for name in ("a", "b")]
    found = await run([Fallback(broken)], Users(), count=1)
    (record,) = found.records
    assert (record.error, record.winner) == ("AllFailed", "")
    assert [(each.name, each.outcome) for each in record.entrants] == [("a", "failed"), ("b", "failed")]


async def test_a_race_within_a_race_is_told_by_its_own_entrants() -> None:
    inner = Race([scripted("x", delay=1), scripted("y", delay=2)], name="inner")
    found = await run([Race([inner, scripted("z", delay=3)], name="outer")], Users(), count=1)
    (record,) = found.records
    assert record.winner == "inner/x"
    assert [(each.name, each.outcome) for each in record.entrants] == [
        ("inner/x", "won"),
        ("inner/y", "lost"),
        ("z", "lost"),
    ]
    assert found.setup.races == {"outer": ("inner/x", "inner/y", "z")}
    lost = await run([Race([inner, scripted("z", delay=0.5)], name="outer")], Users(), count=1)
    assert [each.outcome for each in lost.records[0].entrants] == ["cancelled", "cancelled", "won"]


async def test_names_are_unique_or_ones_own() -> None:
    found = await run([scripted(), scripted(), scripted()], Users(), count=1)
    assert found.setup.targets == ("s", "s#2", "s#3")
    named = await run({"mine": scripted()}, Users(), count=1)
    assert (named.setup.targets, named.records[0].target) == (("mine",), "mine")


async def test_the_setup_says_what_was_asked_and_how() -> None:
    params: Any = {"max_tokens": 5, "extra_headers": {"x-key": "secret"}}
    found = await run([scripted()], Poisson(5), count=1, warmup=2, seed=9, params=params)
    setup = found.setup
    assert (setup.load, setup.seed, setup.backend) == (
        "poisson 5/s",
        9,
        "trio" if g4ftrio._loops.in_trio() else "asyncio",
    )
    assert (setup.options["warmup"], setup.options["params"]) == (2, {"max_tokens": 5})
    assert "secret" not in repr(setup)


@pytest.mark.parametrize(
    ("targets", "load", "options", "says"),
    [
        ([], Users(), {"count": 1}, "at least one target"),
        ("openai/x", Users(), {"count": 1}, "at least one target"),
        (["nobody/x"], Users(), {"count": 1}, "no provider named 'nobody'"),
        ([OpenAI(model="x")], Users(), {"count": 1}, "no API key"),
        ([OpenAI(api_key="k")], Users(), {"count": 1}, "which model"),
        ([Scripted("x")], Users(), {}, "no end of its own"),
        ([Scripted("x")], Constant(1), {}, "no end of its own"),
        ([Scripted("x")], Users(), {"count": 0}, "count is"),
        ([Scripted("x")], Users(), {"duration": -1}, "duration is"),
        ([Scripted("x")], Users(), {"duration": float("nan")}, "duration is"),
        ([Scripted("x")], Users(), {"duration": 5, "warmup": 5}, "leave nothing"),
        ([Scripted("x")], Users(), {"count": 5, "warmup": -1}, "warmup and cooldown are"),
        ([Scripted("x")], Trace((0.0,)), {"cooldown": 1}, "cooldown needs"),
        ([Scripted("x")], Users(), {"count": 1, "max_error_share": 2}, "max_error_share is"),
        ([Scripted("x")], Users(), {"count": 1, "cancel_share": 2}, "cancel_share is"),
        ([Scripted("x")], Users(), {"count": 1, "cancel_after": 0}, "cancel_after is"),
        ([Scripted("x")], Users(), {"count": 1, "max_active": 0}, "max_active is"),
        ([OpenAI(model="x", api_key="k")], Users(), {"count": 1, "params": {"max_token": 1}}, "unknown parameter"),
    ],
)
async def test_what_cannot_be_run_is_told_before_anything_is_sent(
    targets: Any, load: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SetupError, match=says):
        await run(targets, load, **options)


class Drawn(Scripted):
    """Takes a time that is drawn anew for each answer."""

    def _answer(self, ask: Any) -> Any:
        self.delay = 0.5 * 2 ** self.chance.gauss(0, 0.5)
        return super()._answer(ask)

    chance = Random(11)


async def test_percentiles_of_a_known_distribution_are_found_within_their_intervals() -> None:
    found = await run([Drawn("word", name="s")], Users(20), count=1000, seed=3)
    first = summarize(found).targets["s"].measures["first_token"]
    for name, deviations in {"p50": 0.0, "p75": 0.674490, "p90": 1.281552, "p95": 1.644854, "p99": 2.326348}.items():
        assert 0.5 * 2 ** (0.5 * deviations) in first.intervals[name], name
