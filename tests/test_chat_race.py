"""Races of chats, in virtual time: who wins, what becomes of the others, and how it is left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any

import anyio
import pytest

from g4ftrio import (
    AllFailed,
    APITimeoutError,
    Chunk,
    Fallback,
    FinishReason,
    MessagesError,
    Policy,
    ProviderError,
    Race,
    RaceReport,
    Reasoning,
    RejectedError,
    SetupError,
    Timeout,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
    fallback,
    is_output,
    parallel,
    race,
    staggered,
)
from g4ftrio._race.source import Source
from g4ftrio.base_provider import Ask, AsyncGeneratorProvider
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

FOREVER = 1e9


def scripted(name: str, *chunks: Chunk, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


def outcomes(report: RaceReport) -> dict[str, str]:
    return {entrant.name: entrant.outcome for entrant in report.entrants}


def all_closed(*entrants: Scripted) -> bool:
    return all(entrant.closed == entrant.opened for entrant in entrants)


class Boom(Exception):
    pass


class Slow(Scripted):
    """An entrant whose clean-up takes its time, or fails; ``done_at`` is when it was over, however."""

    def __init__(self, *chunks: Chunk, closing: float = 0.0, failing: Exception | None = None, **settings: Any) -> None:
        super().__init__(chunks, **settings)
        self.closing = closing
        self.failing = failing
        self.closed_whole = False
        self.done_at: float | None = None

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return _SlowToClose(self, super()._answer(ask))


class _SlowToClose(AbstractAsyncContextManager[Source[Chunk]]):
    def __init__(self, slow: Slow, answer: AbstractAsyncContextManager[Source[Chunk]]) -> None:
        self._slow = slow
        self._inner = answer

    async def __aenter__(self) -> Source[Chunk]:
        return await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await anyio.sleep(self._slow.closing)
            self._slow.closed_whole = True
            if self._slow.failing is not None:
                raise self._slow.failing
        finally:
            self._slow.done_at = anyio.current_time()
            await self._inner.__aexit__(kind, error, traceback)


class Opening(Scripted):
    """An entrant that never gets as far as to be opened."""

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return _NeverOpen(super()._answer(ask))


class _NeverOpen(AbstractAsyncContextManager[Source[Chunk]]):
    def __init__(self, answer: AbstractAsyncContextManager[Source[Chunk]]) -> None:
        self._inner = answer

    async def __aenter__(self) -> Source[Chunk]:
        await anyio.sleep_forever()
        return await self._inner.__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        raise AssertionError("what was not entered is left")


class Written(AsyncGeneratorProvider):
    """A provider of somebody else's: a plain generator, which is pumped and not handed over."""

    label = "written"

    def __init__(self, *steps: Chunk | float | Exception, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps = steps
        self.given = 0
        self.running = 0

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        self.running += 1
        try:
            for step in self.steps:
                if isinstance(step, float):
                    await anyio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    self.given += 1
                    yield step
        finally:
            self.running -= 1


# --- who wins ---


async def test_the_first_clean_chunk_wins_and_the_winner_streams_on() -> None:
    slow, fast = scripted("slow", "late", delay=2), scripted("fast", "a", "b", "c", delay=1, gap=0.5)
    async with race([slow, fast], "Why?") as stream:
        assert (stream.winner, anyio.current_time()) == ("fast", 1)
        assert [chunk async for chunk in stream] == ["a", "b", "c"]
        assert anyio.current_time() == 2.5
    assert outcomes(stream.report) == {"slow": "lost", "fast": "won"}
    assert all_closed(slow, fast)


async def test_every_entrant_is_asked_the_same() -> None:
    entrants = [scripted("one", "a"), scripted("two", "b")]
    async with race(entrants, "Why?", system="Be brief."):
        pass
    expected = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert [entrant.asked for entrant in entrants] == [[expected], [expected]]


async def test_entering_waits_for_the_winner_and_reading_begins_with_what_decided() -> None:
    one = scripted("one", "a", "b", delay=3)
    async with race([one], "Why?") as stream:
        assert anyio.current_time() == 3
        assert stream.text == ""
        assert await anext(stream) == "a"
        assert anyio.current_time() == 3


@pytest.mark.parametrize("unclean", ["", " ", "\n\t", Reasoning("hm"), Usage(1), FinishReason("stop"), ToolCalls(())])
async def test_what_is_not_clean_does_not_win(unclean: Chunk) -> None:
    early, late = scripted("early", unclean, "a", gap=3), scripted("late", "b", delay=1)
    async with race([early, late], "Why?") as stream:
        assert stream.winner == "late"


@pytest.mark.parametrize("clean", ["a", " a", ToolCallDelta(0, "c", "f"), ToolCalls((ToolCall("c", "f", "{}"),))])
async def test_text_and_tool_calls_are_clean(clean: Chunk) -> None:
    async with race([scripted("one", clean, gap=3), scripted("two", "b", delay=1)], "Why?") as stream:
        assert stream.winner == "one"


@pytest.mark.parametrize(
    "page",
    [
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>",
        '{"error": {"message": "out of order", "code": 503}}',
    ],
)
async def test_an_error_or_a_challenge_page_as_text_is_rejected_also_letter_by_letter(page: str) -> None:
    bad, good = Scripted(list(page), name="bad"), scripted("good", "a", delay=1)
    async with race([bad, good], "Why?") as stream:
        assert stream.winner == "good"
    record = stream.report.entrants[0]
    assert record.outcome == "rejected"
    assert isinstance(record.error, RejectedError)
    assert bad.closed == 1


async def test_what_came_before_the_clean_chunk_is_given_out_and_that_of_losers_is_not() -> None:
    loser = scripted("loser", Reasoning("other"), "late", gap=9)
    winner = scripted("winner", Reasoning("hm"), " ", Usage(1), "a", gap=1)
    async with race([loser, winner], "Why?") as stream:
        assert [chunk async for chunk in stream] == [Reasoning("hm"), " ", Usage(1), "a"]


async def test_a_caller_decides_what_is_clean() -> None:
    short, long = scripted("short", "a", "b"), scripted("long", "aaaaa", delay=1)
    async with race([short, long], "Why?", clean=lambda chunk, text: len(text) > 3) as stream:
        assert stream.winner == "long"
    async with race([scripted("thinks", Reasoning("hm"), "a", gap=9), long], "Why?", clean=is_output) as stream:
        assert stream.winner == "thinks"


async def test_a_predicate_that_fails_is_the_failure_of_whoever_it_judged() -> None:
    def broken(chunk: Chunk, _text: str) -> bool:
        return chunk != "a" or bool(chunk.bit_length())  # type: ignore[attr-defined]  # that is the mistake

    async with race([scripted("one", "a"), scripted("two", "b", delay=1)], "Why?", clean=broken) as stream:
        assert stream.winner == "two"
    assert isinstance(stream.report.entrants[0].error, AttributeError)


async def test_two_that_are_ready_in_the_same_tick_have_one_winner() -> None:
    for _ in range(20):  # trio runs the tasks of a tick in any order
        entrants = [scripted(name, name, delay=1) for name in "abcd"]
        async with race(entrants, "Why?") as stream:
            assert [chunk async for chunk in stream] == [stream.winner]
        assert sorted(outcomes(stream.report).values()) == ["lost", "lost", "lost", "won"]
        assert all_closed(*entrants)


async def test_one_that_is_always_ready_does_not_keep_the_others_from_winning() -> None:
    async with race([scripted("busy", *[" "] * 5000), scripted("one", "a")], "Why?") as stream:
        assert stream.winner == "one"


# --- what becomes of the losers ---


async def test_losers_are_cancelled_at_the_moment_of_the_win() -> None:
    losers = [scripted("reading", " ", "late", gap=9), scripted("waiting", "late", delay=9), Opening(name="opening")]
    async with race([*losers, scripted("winner", "a", FOREVER_CHUNK, delay=2)], "Why?") as stream:
        await clocks.settle()
        assert anyio.current_time() == 2
        assert [entrant.ended_at for entrant in stream.report.entrants] == [2, 2, 2, None]
        assert all_closed(*losers)
        assert outcomes(stream.report) == {"reading": "lost", "waiting": "lost", "opening": "lost", "winner": "won"}


FOREVER_CHUNK = " and on"


async def test_a_loser_closes_beside_the_running_stream() -> None:
    loser = Slow("late", name="loser", delay=9, closing=0.75)
    async with race([loser, scripted("winner", "a", "b", "c", gap=0.5)], "Why?") as stream:
        assert anyio.current_time() == 0
        assert [(chunk, anyio.current_time()) async for chunk in stream] == [("a", 0), ("b", 0.5), ("c", 1)]
        assert (loser.done_at, loser.closed_whole) == (0.75, True)


async def test_leaving_waits_for_a_loser_that_is_still_closing_and_not_longer_than_grace() -> None:
    quick, slow = Slow(name="quick", delay=9, closing=0.5), Slow(name="slow", delay=9, closing=FOREVER)
    async with race([quick, slow, scripted("winner", "a")], "Why?", grace=2) as stream:
        await stream.collect()
        assert anyio.current_time() == 0
    assert anyio.current_time() == 2
    assert (quick.done_at, quick.closed_whole, slow.done_at, slow.closed_whole) == (0.5, True, 2, False)
    record = stream.report.entrants[1]
    assert (record.outcome, str(record.error)) == ("lost", "it was not closed within grace=2 s, and was forced to")


async def test_a_loser_that_fails_to_close_harms_nobody_and_is_in_the_report() -> None:
    async with race([Slow(name="loser", delay=9, failing=Boom("no")), scripted("winner", "a")], "Why?") as stream:
        assert (await stream.collect()).text == "a"
    record = stream.report.entrants[0]
    assert (record.outcome, repr(record.error)) == ("lost", "Boom('no')")


async def test_a_loser_that_fails_in_the_very_tick_of_the_win_has_lost_or_failed_and_harms_nobody() -> None:
    for _ in range(20):
        async with race([scripted("bad", delay=1, error=Boom()), scripted("good", "a", delay=1)], "Why?") as stream:
            assert (await stream.collect()).text == "a"
        assert outcomes(stream.report)["bad"] in ("lost", "failed")


async def test_who_is_dropped_before_its_first_step_is_not_opened_at_all() -> None:
    for _ in range(10):  # trio runs the tasks of a tick in any order
        losers = [Slow(name="slow", delay=9, closing=0.5) for _ in range(5)]
        async with race([losers[0], Written("a"), *losers[1:]], "Why?"):
            pass
        assert all(loser.closed_whole for loser in losers if loser.done_at is not None)


async def test_a_generator_that_loses_is_closed() -> None:
    losers = [Written(9.0, "a"), Written(" ", 9.0, "a"), Written(*[" "] * 3, 9.0)]
    async with race([*losers, scripted("winner", "a", delay=1)], "Why?"):
        await clocks.settle()
        assert [loser.running for loser in losers] == [0, 0, 0]


# --- how it is read ---


@pytest.mark.parametrize("make", [lambda: scripted("one", *"abcdef"), lambda: Written(*"abcdef" * 10)])
async def test_nothing_is_read_ahead_of_the_consumer_but_what_the_slot_of_a_generator_holds(
    make: Callable[[], Any],
) -> None:
    provider = make()
    async with race([provider], "Why?") as stream:
        assert await anext(stream) == "a"
        await clocks.settle()
    if isinstance(provider, Written):
        assert (provider.given <= 16, provider.running) == (True, 0)
    else:
        assert stream.report.entrants[0].chunks == 1


async def test_a_slow_consumer_holds_the_winner_back() -> None:
    provider = Written(*"a" * 100)
    async with race([provider], "Why?") as stream:
        for _ in range(2):
            await anext(stream)
            await anyio.sleep(10)
        assert provider.given <= 2 + 16
        assert len((await stream.collect()).text) == 100


async def test_breaking_off_closes_the_winner() -> None:
    one = scripted("one", *"abc", gap=1)
    async with race([one], "Why?") as stream:
        async for _ in stream:
            break
        assert one.closed == 0
    assert (one.closed, stream.text, anyio.current_time()) == (1, "a", 0)
    assert outcomes(stream.report) == {"one": "won"}


async def test_leaving_without_a_read_closes_the_winner() -> None:
    one = scripted("one", "a")
    async with race([one], "Why?"):
        pass
    assert one.closed == 1


async def test_closing_the_stream_inside_the_block_closes_the_winner_there() -> None:
    one = scripted("one", *"abc")
    async with race([one], "Why?") as stream:
        await stream.aclose()
        await clocks.settle()
        assert one.closed == 1
        with pytest.raises(anyio.ClosedResourceError):
            await anext(stream)


async def test_at_its_end_the_winner_is_closed_before_the_block_is_left() -> None:
    one = scripted("one", "a")
    async with race([one], "Why?") as stream:
        await stream.collect()
        await clocks.settle()
        assert one.closed == 1


@pytest.mark.parametrize(
    "make", [lambda: scripted("one", "a", "b", "c", gap=2), lambda: Written("a", 2.0, "b", 2.0, "c")]
)
async def test_a_cancelled_read_loses_nothing_and_may_be_repeated(make: Callable[[], Any]) -> None:
    async with race([make()], "Why?") as stream:
        got = [await anext(stream)]
        for _ in range(3):
            with anyio.move_on_after(0.75):
                got.append(await anext(stream))
        got += [chunk async for chunk in stream]
    assert got == ["a", "b", "c"]


async def test_another_task_may_read_and_close_it() -> None:
    got: list[Chunk] = []
    async with race([scripted("one", *"abc")], "Why?") as stream:

        async def read() -> None:
            got.append(await anext(stream))

        for close in (read, read, stream.aclose):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(close)
    assert got == ["a", "b"]


async def test_a_race_that_was_not_entered_says_how_to_enter_it() -> None:
    with pytest.raises(TypeError, match=r"async with race\(\.\.\.\) as stream:"):
        aiter(race([scripted("one", "a")], "Why?"))


async def test_complete_races_and_reports() -> None:
    whole = await Race([scripted("one", "a", delay=9), scripted("two", *"bc")]).complete("Why?")
    assert (whole.text, whole.provider) == ("bc", "two")
    assert whole.report is not None
    assert outcomes(whole.report) == {"one": "lost", "two": "won"}


# --- how it is left ---


class Stopped(BaseException):
    pass


@pytest.mark.parametrize(
    "kind", [Boom, KeyError, ExceptionGroup, GeneratorExit, KeyboardInterrupt, SystemExit, Stopped]
)
async def test_what_the_body_raises_leaves_bare(kind: type[BaseException]) -> None:
    error = ExceptionGroup("mine", [Boom()]) if kind is ExceptionGroup else kind()
    winner, loser = scripted("one", "a", "b", gap=9), Slow(name="two", delay=9, closing=0.5)
    with pytest.raises(kind) as caught:
        async with race([winner, loser], "Why?"):
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert all_closed(winner, loser)
    assert loser.closed_whole


@pytest.mark.parametrize("kind", [StopAsyncIteration, StopIteration])
async def test_also_what_ends_an_iteration_leaves_bare(kind: type[Exception]) -> None:
    error = kind()
    caught: BaseException | None = None
    try:
        async with race([scripted("one", "a")], "Why?"):
            raise error
    except kind as raised:
        caught = raised
    assert caught is error


@pytest.mark.parametrize("delay", [0, 0.5])
async def test_a_cancellation_before_the_decision_cancels_all(delay: float) -> None:
    slow = Slow(name="two", delay=9, closing=0.5)
    entrants = [scripted("one", "a", delay=9), slow, Opening(name="three")]
    asked = race(entrants, "Why?", policy=parallel())
    with anyio.CancelScope(deadline=delay) as scope:
        async with asked:
            raise AssertionError
    assert scope.cancelled_caught
    assert all_closed(*entrants)
    assert set(outcomes(asked.report).values()) <= {"cancelled", "not_started"}
    if delay:
        assert set(outcomes(asked.report).values()) == {"cancelled"}
        assert slow.closed_whole
        assert anyio.current_time() == 1


@pytest.mark.parametrize(
    "make", [lambda: scripted("one", "a", "b", delay=0.5, gap=9), lambda: Written(0.5, "a", 9.0, "b", name="one")]
)
async def test_a_cancellation_after_the_decision_closes_the_winner_and_the_losers(make: Callable[[], Any]) -> None:
    loser = Slow(name="two", delay=9, closing=2.5)
    with anyio.move_on_after(2) as scope:
        async with race([make(), loser], "Why?", grace=5) as stream:
            async for _ in stream:
                pass
    assert scope.cancelled_caught
    assert outcomes(stream.report) == {"one": "won", "two": "lost"}
    assert (loser.done_at, loser.closed_whole) == (3, True)
    assert stream.report.entrants[0].ended_at == 2


async def test_a_cancellation_while_the_losers_close_does_not_disturb_them() -> None:
    loser = Slow(name="two", delay=9, closing=0.75)
    with anyio.move_on_after(0.5) as scope:
        async with race([scripted("one", "a"), loser], "Why?") as stream:
            await stream.collect()
    assert scope.cancel_called
    assert (loser.closed_whole, anyio.current_time()) == (True, 0.75)


@pytest.mark.parametrize(
    "make", [lambda: scripted("one", "a", error=Boom("no")), lambda: Written("a", Boom("no"), name="one")]
)
async def test_a_winner_that_fails_later_raises_bare_where_it_is_read(make: Callable[[], Any]) -> None:
    async with race([make(), scripted("two", "b", delay=9)], "Why?") as stream:
        assert await anext(stream) == "a"
        with pytest.raises(Boom, match=r"^no$") as caught:
            await anext(stream)
    record = stream.report.entrants[0]
    assert (record.outcome, record.error) == ("won", caught.value)
    assert outcomes(stream.report)["two"] == "lost"


async def test_an_error_of_the_winner_leaves_the_block_bare() -> None:
    one = scripted("one", "a", error=Boom("no"))
    with pytest.raises(Boom, match=r"^no$"):
        async with race([one, scripted("two", "b", delay=9)], "Why?") as stream:
            await stream.collect()
    assert one.closed == 1


async def test_a_winner_that_fails_to_close_says_so_after_a_good_body() -> None:
    with pytest.raises(Boom, match=r"^no$"):
        async with race([Slow("a", name="one", failing=Boom("no"))], "Why?") as stream:
            assert (await stream.collect()).text == "a"
    assert outcomes(stream.report) == {"one": "won"}


async def test_a_winner_that_fails_to_close_does_not_hide_what_the_body_raised() -> None:
    with pytest.raises(KeyError):
        async with race([Slow("a", name="one", failing=Boom("no"))], "Why?"):
            raise KeyError


async def test_a_winner_that_does_not_close_is_forced_to_within_grace() -> None:
    async with race([Slow("a", name="one", closing=FOREVER)], "Why?", grace=2) as stream:
        await stream.collect()
    assert anyio.current_time() == 2
    assert "not closed within grace=2 s" in str(stream.report.entrants[0].error)


async def test_races_may_run_inside_one_another_and_side_by_side() -> None:
    texts: list[str] = []

    async def one_race(number: int) -> None:
        async with race([scripted("a", f"a{number}", delay=number), scripted("b", "b", delay=9)], "Why?") as stream:
            texts.append((await stream.collect()).text)

    async with race([scripted("outer", *"xyz", gap=1)], "Why?") as outer, anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(one_race, number)
        assert (await outer.collect()).text == "xyz"
    assert texts == ["a0", "a1", "a2"]


# --- all fail ---


async def test_when_all_fail_every_name_and_error_is_there() -> None:
    first = ProviderError("out of order", provider="one")
    entrants = [
        scripted("one", error=first, delay=2),
        scripted("two", Reasoning("hm"), FinishReason("stop"), delay=1),
        Scripted(["<html><title>Just a moment...</title>"], name="three"),
        Written(Boom("no"), name="four"),
    ]
    with pytest.raises(AllFailed) as caught:
        async with race(entrants, "Why?"):
            raise AssertionError
    failed = caught.value
    assert list(failed.failures) == ["one", "two", "three", "four"]
    assert failed.failures["one"] is first
    assert [type(error) for error in failed.failures.values()] == [ProviderError, RejectedError, RejectedError, Boom]
    assert isinstance(failed.__cause__, ExceptionGroup)
    assert list(failed.__cause__.exceptions) == list(failed.failures.values())
    lines = str(failed).splitlines()
    assert "Just a moment..." in lines.pop(3)
    assert lines == [
        "no provider answered (4 asked)",
        "  one: failed: out of order",
        "  two: the answer was rejected: it ended without a clean chunk",
        "  four: no",
    ]
    assert isinstance(failed.report, RaceReport)
    assert list(outcomes(failed.report).values()) == ["failed", "rejected", "rejected", "failed"]
    assert anyio.current_time() == 2


async def test_a_rejection_names_its_provider() -> None:
    with pytest.raises(AllFailed) as caught:
        await Race([Scripted(["<html><title>Just a moment...</title>"], name="three")]).complete("Why?")
    assert str(caught.value.failures["three"]).startswith("three: the answer was rejected: a challenge")


async def test_one_entrant_that_fails_is_a_race_that_fails() -> None:
    with pytest.raises(AllFailed) as caught:
        await Race([scripted("one", error=Boom("no"))]).complete("Why?")
    assert {name: repr(error) for name, error in caught.value.failures.items()} == {"one": "Boom('no')"}


async def test_somebody_must_win_within_the_total() -> None:
    entrants = [scripted("one", "a", delay=9), scripted("two", " ", delay=1, gap=9)]
    asked = race(entrants, "Why?", timeout=Timeout(total=4))
    with pytest.raises(APITimeoutError, match=r"^race: not done within 4 s \(timeout total=4\)$"):
        async with asked:
            raise AssertionError
    assert anyio.current_time() == 4
    assert set(outcomes(asked.report).values()) <= {"cancelled", "failed"}  # each has that limit of its own as well
    assert all_closed(*entrants)


async def test_an_entrant_that_is_late_with_the_race_itself_does_not_change_its_error() -> None:
    for _ in range(10):
        with pytest.raises(APITimeoutError, match=r"^race: not done"):
            await Race([scripted("one", delay=9), scripted("two", delay=9)]).complete("Why?", timeout=Timeout(total=4))


async def test_who_has_no_clean_chunk_in_time_has_failed_and_the_others_race_on() -> None:
    entrants = [scripted("one", " ", "late", gap=9), Opening(name="two"), scripted("three", "a", delay=4)]
    entrants[2]._timeout = Timeout(first_chunk=5)
    async with race(entrants, "Why?", policy=parallel()) as stream:
        pass
    assert stream.winner == "three"
    entrants = [scripted("one", " ", "late", gap=9), Opening(name="two")]
    with pytest.raises(AllFailed) as caught:
        async with race(entrants, "Why?", timeout=Timeout(first_chunk=2)):
            raise AssertionError
    assert [str(error) for error in caught.value.failures.values()] == [
        "one: no clean chunk within 2 s (timeout first_chunk=2)",
        "two: no clean chunk within 2 s (timeout first_chunk=2)",
    ]
    assert anyio.current_time() == 6
    assert all_closed(*entrants)


# --- when to start whom ---


def starts(report: RaceReport) -> list[float | None]:
    return [entrant.started_at for entrant in report.entrants]


def never_clean(*names: str) -> list[Scripted]:
    return [scripted(name, delay=FOREVER) for name in names]


async def test_parallel_starts_all_at_once() -> None:
    async with race([*never_clean("a", "b"), scripted("c", "c", delay=1)], "Why?") as stream:
        assert starts(stream.report) == [0, 0, 0]


async def test_staggered_starts_the_next_whenever_nobody_has_won() -> None:
    entrants = [*never_clean("a", "b"), scripted("c", "c", delay=1), *never_clean("d", "e")]
    async with race(entrants, "Why?", policy=staggered(0.75)) as stream:
        assert starts(stream.report) == [0, 0.75, 1.5, 2.25, None]
    assert outcomes(stream.report) == {"a": "lost", "b": "lost", "c": "won", "d": "lost", "e": "not_started"}
    assert entrants[4].asked == []


async def test_fallback_starts_the_next_only_after_a_failure() -> None:
    entrants = [scripted("a", error=Boom(), delay=1), scripted("b", delay=1), scripted("c", "c"), scripted("d", "d")]
    async with race(entrants, "Why?", policy=fallback()) as stream:
        assert starts(stream.report) == [0, 1, 2, None]
    assert list(outcomes(stream.report).values()) == ["failed", "rejected", "won", "not_started"]


async def test_a_failure_starts_the_next_at_once() -> None:
    entrants = [scripted("a", error=Boom(), delay=1), *never_clean("b"), scripted("c", "c", delay=9)]
    async with race(entrants, "Why?", policy=staggered(5)) as stream:
        assert starts(stream.report) == [0, 1, 6]


async def test_two_failures_in_one_tick_start_two() -> None:
    failing = [scripted(name, error=Boom(), delay=1) for name in "ab"]
    entrants = [*failing, *never_clean("c"), scripted("d", "d", delay=1), *never_clean("e")]
    async with race(entrants, "Why?", policy=Policy("paced", 5.0, 2)) as stream:
        assert starts(stream.report)[2:] != [None] * 3
    async with race(entrants, "Why?", policy=parallel(max_active=2)) as stream:
        assert starts(stream.report) == [0, 0, 1, 1, None]


async def test_no_more_run_at_the_same_time_than_max_active() -> None:
    entrants = [scripted("a", error=Boom(), delay=3), scripted("b", error=Boom(), delay=1), scripted("c", "c", delay=9)]
    async with race(entrants, "Why?", policy=staggered(0.5, max_active=2)) as stream:
        assert starts(stream.report) == [0, 0.5, 1.5]


# --- the report ---


async def test_the_report_has_every_moment_and_is_plain_json() -> None:
    loser = scripted("loser", Reasoning("hm"), "late", delay=0.5, gap=9)
    winner = scripted("winner", Reasoning("hm"), "a", Usage(1, 2), delay=1, gap=0.5)
    await anyio.sleep(100)  # times count from the race's start
    async with race([loser, winner, scripted("failed", error=Boom("no"))], "Why?", model="m") as stream:
        await stream.collect()
    report = json.loads(json.dumps(stream.report.to_dict()))
    assert report["policy"] == "parallel()"
    moments = ("started_at", "first_chunk_at", "clean_at", "ended_at")
    assert [[entrant[at] for at in moments] for entrant in report["entrants"]] == [
        [0, 0.5, None, 1.5],
        [0, 1, 1.5, 2.5],
        [0, None, None, 0],
    ]
    assert [entrant["chunks"] for entrant in report["entrants"]] == [1, 3, 0]
    assert [entrant["model"] for entrant in report["entrants"]] == ["m"] * 3
    assert report["entrants"][1]["usage_known"] == "exact"
    assert report["entrants"][1]["usage"]["output_tokens"] == 2
    assert report["entrants"][2]["error"] == {"type": "Boom", "message": "no"}


async def test_what_a_loser_wrote_is_used_at_least() -> None:
    loser = scripted("loser", Reasoning("hm"), Reasoning("hm"), "late", delay=0.5, gap=9)
    async with race([loser, scripted("winner", "a", delay=1)], "Why?") as stream:
        pass
    record = stream.report.entrants[0]
    assert record.usage_known == "at_least"


async def test_the_report_may_be_read_while_the_race_is_on() -> None:
    asked = race([scripted("one", "a", delay=2)], "Why?")
    assert asked.report.entrants == []
    seen: list[str] = []

    async def look() -> None:
        await anyio.sleep(1)
        seen.extend(outcomes(asked.report).values())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        async with asked:
            pass
    assert seen == ["running"]


# --- what is wrong before anything is sent ---


async def test_a_wrong_call_is_refused_before_anybody_is_asked() -> None:
    one = scripted("one", "a")
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        race([one], "Why?", temprature=1)  # type: ignore[call-arg]  # that is the mistake
    with pytest.raises(MessagesError):
        race([one], "")
    with pytest.raises(SetupError, match="list of at least one provider"):
        race([], "Why?")
    with pytest.raises(SetupError, match="list of at least one provider"):
        race("openai", "Why?")
    with pytest.raises(SetupError, match="instance, a class or a spec, not int"):
        race([one, 5], "Why?")  # type: ignore[list-item]  # that is the mistake
    with pytest.raises(SetupError, match="there is no provider named 'opnai': did you mean openai"):
        race([one, "opnai/gpt"], "Why?")
    assert one.asked == []


async def test_a_race_needs_an_entrant_that_is_ready() -> None:
    one = scripted("one", "a")
    with pytest.raises(SetupError, match="OPENAI_API_KEY"):
        async with race([one, "openai/gpt"], "Why?"):
            raise AssertionError
    assert one.asked == []


async def test_a_fallback_is_a_race_of_one_after_another() -> None:
    tried = Fallback([scripted("one", error=Boom()), scripted("two", "b"), scripted("three", "c")])
    async with tried.stream("Why?") as stream:
        assert (stream.winner, stream.report.policy) == ("two", "fallback()")
    with suppress(AllFailed):
        await Fallback([scripted("one", error=Boom())]).complete("Why?")


# --- generators of somebody else's ---


async def test_a_generator_is_pumped_and_gives_all_its_chunks() -> None:
    provider = Written(" ", "a", 0.5, "b", Usage(1, 2), FinishReason("stop"))
    async with race([provider, scripted("other", "x", delay=9)], "Why?") as stream:
        whole = await stream.collect()
    assert (whole.text, whole.usage, whole.finish_reason) == (" ab", Usage(1, 2), "stop")
    assert (stream.winner, provider.running) == ("written", 0)


async def test_a_generator_that_holds_a_scope_open_between_chunks_does_not_harm_the_consumer() -> None:
    class Scoped(AsyncGeneratorProvider):
        """Holds a scope open at ``yield``, which is a fault, and common."""

        async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
            with anyio.fail_after(50):
                for letter in "abc":
                    yield letter

    async with race([Scoped(), scripted("other", "x", delay=9)], "Why?") as stream:
        with anyio.move_on_after(1):
            assert await anext(stream) == "a"
        with anyio.CancelScope():
            assert [chunk async for chunk in stream] == ["b", "c"]
