"""When the winner dies in mid-stream: who goes on, what the consumer gets, and what is left behind. In virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from g4ftrio import (
    AllFailed,
    APITimeoutError,
    BadRequestError,
    Chunk,
    ChunkFilter,
    Cleaned,
    Failover,
    Fallback,
    FinishReason,
    InternalServerError,
    Marker,
    ProviderMetadata,
    Race,
    RaceStream,
    RateLimitError,
    Reasoning,
    SetupError,
    Timeout,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    TruncatedError,
    Usage,
    fallback,
    parallel,
    race,
    staggered,
)
from g4ftrio._compositions.failover import Midstream
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.providers import Anthropic, Ollama, OpenAICompatible
from g4ftrio.testing import Scripted
from tests import clocks
from tests.entrants import outcomes

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

FOREVER = 1e9


def scripted(name: str, *chunks: Chunk, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


def cut() -> TruncatedError:
    return TruncatedError("the connection was closed")


def dying(name: str = "a", *chunks: Chunk, **settings: Any) -> Scripted:
    return scripted(name, *(chunks or ("one ", "two")), error=cut(), **settings)


def all_closed(*entrants: Scripted) -> bool:
    return all(entrant.opened == entrant.closed for entrant in entrants)


async def read(stream: RaceStream, got: list[Chunk] | None = None) -> list[Chunk]:
    """Read to the end; ``got`` has what came also where that was an error."""
    got = [] if got is None else got
    async for chunk in stream:
        got.append(chunk)
    return got


# --- what the consumer gets ---


async def test_by_default_the_winners_error_is_raised_and_nobody_else_is_asked() -> None:
    a, b = dying(), scripted("b", "new", delay=1)
    async with race([a, b], "Why?", policy=fallback()) as stream:
        with pytest.raises(TruncatedError) as caught:
            await read(stream)
    assert caught.value.text == stream.text == "one two"
    assert outcomes(stream.report) == {"a": "won", "b": "not_started"}


async def test_restarting_marks_the_seam_and_gives_another_answer_from_its_beginning() -> None:
    a, b = dying(), scripted("b", "new ", "answer", FinishReason("stop"), prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
        assert await read(stream) == [
            *("one ", "two"),
            Failover("a", "b", "the answer was cut off: the connection was closed", restarted=True),
            *("new ", "answer", FinishReason("stop")),
        ]
        assert (stream.text, stream.winner, stream.provider) == ("new answer", "b", "b")
    assert outcomes(stream.report) == {"a": "failed", "b": "won"}
    assert isinstance(stream.report.entrants[0].error, TruncatedError)
    assert stream.report.winner is stream.report.entrants[1]
    assert b.asked == [[{"role": "user", "content": "Why?"}]]
    assert all_closed(a, b)


async def test_continuing_gives_the_text_so_far_to_who_can_go_on_from_it() -> None:
    a, b = dying(), scripted("b", " three", prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="continue") as stream:
        chunks = await read(stream)
        assert (stream.text, stream.winner) == ("one two three", "b")
    assert [chunk.restarted for chunk in chunks if isinstance(chunk, Failover)] == [False]
    assert b.asked == [[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "one two"}]]


async def test_who_cannot_go_on_from_a_text_starts_over() -> None:
    b = scripted("b", "new")
    async with race([dying(), b], "Why?", policy=fallback(), midstream="continue") as stream:
        assert (await stream.collect()).text == "new"
    assert b.asked == [[{"role": "user", "content": "Why?"}]]


async def test_an_answer_that_the_messages_begin_is_gone_on_from_together_with_that() -> None:
    messages = [{"role": "user", "content": "Count!"}, {"role": "assistant", "content": "zero "}]
    b = scripted("b", " three", prefill=True)
    async with race([dying(), b], messages, policy=fallback(), midstream="continue") as stream:
        assert (await stream.collect()).text == "one two three"
    assert b.asked == [[messages[0], {"role": "assistant", "content": "zero one two"}]]


async def test_where_no_text_was_given_out_there_is_nothing_to_go_on_from() -> None:
    def clean(_chunk: Chunk, _text: str) -> bool:
        return True

    a, b = dying("a", Reasoning("hm")), scripted("b", "new", prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="continue", clean=clean) as stream:
        whole = await stream.collect()
    assert (whole.text, whole.reasoning) == ("new", "")
    assert [chunk.restarted for chunk in whole.others if isinstance(chunk, Failover)] == [True]
    assert b.asked == [[{"role": "user", "content": "Why?"}]]


@pytest.mark.parametrize(
    ("given", "rest", "whole"),
    [
        (("one \n",), (" \n two",), "one \n two"),
        (("one \n",), (" ", "\n", " two"), "one \n two"),
        (("one ",), ("two",), "one two"),
        (("one ",), ("\n two",), "one \n two"),
        (("one", "  "), (" two",), "one  two"),
        (("one",), (" two",), "one two"),
    ],
)
async def test_white_space_before_the_seam_is_not_sent_and_not_given_twice(
    given: tuple[str, ...], rest: tuple[str, ...], whole: str
) -> None:
    b = scripted("b", *rest, prefill=True)
    async with race([dying("a", *given), b], "Why?", policy=fallback(), midstream="continue") as stream:
        assert (await stream.collect()).text == whole
    assert b.asked[0][-1] == {"role": "assistant", "content": "one"}


async def test_what_is_gathered_after_a_restart_is_of_the_new_answer_only() -> None:
    a = dying("a", Reasoning("old"), "old", Usage(1, 2))
    b = scripted("b", Reasoning("new"), "new", Usage(3, 4), FinishReason("stop"))
    async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
        whole = await stream.collect()
    assert (whole.text, whole.reasoning, whole.usage, whole.finish_reason) == ("new", "new", Usage(3, 4), "stop")
    assert (whole.provider, [type(other) for other in whole.others]) == ("b", [Failover])
    first, second = stream.report.entrants
    assert (first.usage, second.usage) == (Usage(1, 2), Usage(3, 4))


async def test_what_is_gathered_after_a_continuation_is_both_parts() -> None:
    a = dying("a", Reasoning("before, "), "one ")
    b = scripted("b", Reasoning("behind"), "two", ProviderMetadata("wire", ["two"]), prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="continue") as stream:
        whole = await stream.collect()
    assert (whole.text, whole.reasoning) == ("one two", "before, behind")
    assert whole.message == {"role": "assistant", "content": "one two"}  # no state that knows only of "two"


async def test_the_report_counts_what_each_has_written() -> None:
    a, b = dying("a", *"abc"), scripted("b", *"defgh", prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="continue") as stream:
        await stream.collect()
    first, second = stream.report.entrants
    assert (first.chunks, second.chunks) == (3, 5)
    assert (first.usage, second.usage) == (Usage(output_tokens=3), Usage(output_tokens=5))
    assert (first.ended_at, first.clean_at, second.started_at) == (0, 0, 0)


async def test_the_text_of_the_stream_changes_with_the_seam_and_not_before() -> None:
    a, b = dying(), scripted("b", "new")
    async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
        texts = [(str(chunk), stream.text) async for chunk in stream]
    assert texts == [("one ", "one "), ("two", "one two"), ("", ""), ("new", "new")]


# --- who goes on ---


async def test_those_that_were_never_started_come_before_those_that_lost() -> None:
    a, b, c = dying(gap=1), scripted("b", "from b", delay=0.5), scripted("c", "from c")
    async with race([a, b, c], "Why?", policy=parallel(max_active=2), midstream="restart") as stream:
        assert (await stream.collect()).text == "from c"
    assert outcomes(stream.report) == {"a": "failed", "b": "lost", "c": "won", "b#2": "lost"}


async def test_one_that_lost_is_asked_again_under_a_name_of_its_own() -> None:
    a, b = dying(gap=1), scripted("b", "from b", delay=0.5)
    async with race([a, b], "Why?", midstream="restart") as stream:
        assert (await stream.collect()).text == "from b"
        assert (stream.winner, stream.provider) == ("b#2", "b#2")
    assert outcomes(stream.report) == {"a": "failed", "b": "lost", "b#2": "won"}
    lost, again = stream.report.entrants[1:]
    assert (lost.started_at, lost.ended_at, again.started_at, again.clean_at) == (0, 0, 2, 2.5)
    assert b.opened == b.closed == 2


async def test_of_those_that_lost_who_had_come_further_is_asked_first() -> None:
    a = dying("a", "one", delay=1)
    b, c = scripted("b", "from b", delay=1.5), scripted("c", Reasoning("hm"), "from c", delay=0.25, gap=1)
    seen: list[str] = []

    class Noting(Scripted):
        def _answer(self, ask: Any) -> Any:
            seen.append(ask.record.name)
            return super()._answer(ask)

    b.__class__ = c.__class__ = Noting
    async with race([a, b, c], "Why?", policy=staggered(0.25), midstream="restart") as stream:
        await stream.collect()
    assert seen[:3] == ["b", "c", "c#2"]


async def test_one_that_failed_is_not_asked_again() -> None:
    a, b = dying("a", delay=1), scripted("b", error=RateLimitError("slow down"))
    async with race([a, b], "Why?", midstream="restart") as stream:
        with pytest.raises(TruncatedError):
            await read(stream)
    assert (a.opened, b.opened) == (1, 1)
    assert outcomes(stream.report) == {"a": "won", "b": "failed"}


async def test_one_takeover_may_follow_another_until_nobody_is_left() -> None:
    entrants = [dying(name, f"from {name}") for name in "abc"]
    async with race(entrants, "Why?", policy=fallback(), midstream="restart") as stream:
        got: list[Chunk] = []
        with pytest.raises(TruncatedError) as caught:
            await read(stream, got)
    seams = [(chunk.from_, chunk.to) for chunk in got if isinstance(chunk, Failover)]
    assert seams == [("a", "b"), ("b", "c")]
    assert caught.value is entrants[2].error
    assert (caught.value.text, stream.text) == ("from c", "from c")
    assert outcomes(stream.report) == {"a": "failed", "b": "failed", "c": "won"}


async def test_if_all_others_fail_the_winners_own_error_is_raised_and_says_so() -> None:
    a, b = dying(), scripted("b", error=InternalServerError("no", status=500))
    async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
        with pytest.raises(TruncatedError) as caught:
            await read(stream)
        assert stream.winner == "a"
    assert caught.value.text == "one two"
    assert "status 500" in caught.value.__notes__[0]
    assert outcomes(stream.report) == {"a": "failed", "b": "failed"}


async def test_a_takeover_is_raced_by_the_races_own_policy() -> None:
    a, b, c = dying(), scripted("b", "slow", delay=10), scripted("c", "fast", delay=1)
    async with race([a, b, c], "Why?", policy=staggered(2), midstream="restart") as stream:
        assert (await stream.collect()).text == "fast"
    assert outcomes(stream.report) == {"a": "failed", "b": "lost", "c": "won"}
    assert anyio.current_time() == 3


async def test_an_unclean_beginning_does_not_take_over() -> None:
    b, c = scripted("b", "<html><title>Just a moment</title>"), scripted("c", "new")
    async with race([dying(), b, c], "Why?", policy=fallback(), midstream="restart") as stream:
        assert (await stream.collect()).text == "new"
    assert outcomes(stream.report) == {"a": "failed", "b": "rejected", "c": "won"}


async def test_a_page_of_errors_is_no_continuation_though_the_text_before_it_is_clean() -> None:
    b, c = scripted("b", "<html><title>Just a moment</title>", prefill=True), scripted("c", " three", prefill=True)
    async with race([dying(), b, c], "Why?", policy=fallback(), midstream="continue") as stream:
        assert (await stream.collect()).text == "one two three"
    assert outcomes(stream.report) == {"a": "failed", "b": "rejected", "c": "won"}


async def test_a_continuation_is_judged_together_with_the_text_before_it() -> None:
    def long(_chunk: Chunk, text: str) -> bool:
        return len(text) >= 7

    a, b = dying("a", "one two"), scripted("b", "!", prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream="continue", clean=long) as stream:
        assert (await stream.collect()).text == "one two!"


async def test_who_refuses_to_go_on_from_a_text_is_asked_to_begin() -> None:
    class Proud(Scripted):
        def _answer(self, ask: Any) -> Any:
            self.error = BadRequestError("no prefill", status=400) if ask.messages[-1]["role"] == "assistant" else None
            self.chunks = [] if self.error else ["new"]
            return super()._answer(ask)

    b = Proud(name="b", prefill=True)
    async with race([dying(), b], "Why?", policy=fallback(), midstream="continue") as stream:
        assert (await stream.collect()).text == "new"
    assert outcomes(stream.report) == {"a": "failed", "b": "failed", "b#2": "won"}
    assert [asked[-1]["role"] for asked in b.asked] == ["assistant", "user"]


# --- when nobody goes on ---

CALL = ToolCalls((ToolCall("1", "weather", "{}"),))


@pytest.mark.parametrize("chunk", [ToolCallDelta(0, "1", "weather"), CALL, FinishReason("stop")])
@pytest.mark.parametrize("midstream", ["continue", "restart"])
async def test_nobody_goes_on_once_a_tool_call_or_the_end_was_given_out(chunk: Chunk, midstream: Midstream) -> None:
    a, b = dying("a", "one", chunk), scripted("b", "new", prefill=True)
    async with race([a, b], "Why?", policy=fallback(), midstream=midstream) as stream:
        with pytest.raises(TruncatedError):
            await read(stream)
    assert b.opened == 0
    assert outcomes(stream.report) == {"a": "won", "b": "not_started"}


async def test_a_takeover_ends_with_the_races_total() -> None:
    a, b = dying("a", "one", delay=1, gap=2), scripted("b", "new", delay=FOREVER)
    async with race([a, b], "Why?", policy=fallback(), midstream="restart", timeout=Timeout(total=10)) as stream:
        with pytest.raises(TruncatedError) as caught:
            await read(stream)
    assert anyio.current_time() == 10
    assert "(timeout total=" in caught.value.__notes__[0]
    assert stream.report.entrants[1].outcome in ("cancelled", "failed")  # its own total ends at the same moment


async def test_who_took_over_has_only_the_rest_of_the_total() -> None:
    a, b = dying("a", "one", delay=1, gap=2), scripted("b", "new", gap=FOREVER)
    async with race([a, b], "Why?", policy=fallback(), midstream="restart", timeout=Timeout(total=10)) as stream:
        async for chunk in stream:
            if isinstance(chunk, str):
                await anyio.sleep(100)  # a slow consumer's own time is not counted
            if chunk == "new":
                break
        with pytest.raises(APITimeoutError, match="total"):
            await anext(stream)
    assert anyio.current_time() == 210


async def test_a_winner_that_used_up_the_total_is_not_replaced() -> None:
    a, b = scripted("a", "one", gap=FOREVER), scripted("b", "new")
    async with race([a, b], "Why?", policy=fallback(), midstream="restart", timeout=Timeout(total=10)) as stream:
        with pytest.raises(APITimeoutError, match="total=10"):
            await read(stream)
    assert b.opened == 0


async def test_a_winner_that_stalls_is_replaced() -> None:
    a, b = scripted("a", "one", gap=FOREVER), scripted("b", "new")
    async with race([a, b], "Why?", policy=fallback(), midstream="restart", timeout=Timeout(stall=3)) as stream:
        assert (await stream.collect()).text == "new"
    assert anyio.current_time() == 3


async def test_a_stream_that_was_closed_has_nobody_sought() -> None:
    a, b = dying(gap=1), scripted("b", "new")
    async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
        assert await anext(stream) == "one "
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await anext(stream)
    assert b.opened == 0


async def test_a_settled_race_has_no_task_to_go_on_in_and_says_so() -> None:
    llm = Race([dying(), scripted("b", "new")], midstream="restart")
    with pytest.raises(TypeError, match=r"midstream='restart' cannot be settled.*`async with race"):
        await llm.stream("Why?").settle()
    with pytest.raises(TypeError, match="cannot be settled"):
        llm.create_async_generator("", "Why?")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"midstream": "go on"}, "midstream= is 'raise', 'continue' or 'restart', not 'go on'"),
        ({"keep_standby": 3}, "keep_standby= needs midstream="),
        ({"keep_standby": -1, "midstream": "restart"}, "keep_standby= is a number of chunks from 0, not -1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        Race([scripted("a")], **options)


# --- everywhere ---


async def test_a_fallback_and_its_other_doors_go_on() -> None:
    llm = Fallback([dying(), scripted("b", " three", prefill=True)], midstream="continue")
    whole = await llm.complete("Why?")
    assert (whole.text, whole.provider) == ("one two three", "b")


async def test_a_nested_race_goes_on_by_itself() -> None:
    inner = Race([dying("a", "one ", "two", gap=1), scripted("b", "new")], policy=fallback(), midstream="restart")
    async with race([inner], "Why?") as stream:
        chunks = await read(stream)
        assert (stream.winner, stream.text) == ("race/b", "new")
    assert [type(chunk).__name__ for chunk in chunks] == ["str", "str", "Failover", "str"]
    assert outcomes(stream.report) == {"race": "won"}
    assert stream.report.entrants[0].race is not None
    assert outcomes(stream.report.entrants[0].race) == {"a": "failed", "b": "won"}


async def test_an_outer_race_goes_on_when_all_of_an_inner_one_died() -> None:
    inner = Race([dying("a", "a "), dying("b", "b ")], policy=fallback(), midstream="restart", name="inner")
    c = scripted("c", "of c", prefill=True)
    async with race([inner, c], "Why?", policy=fallback(), midstream="continue") as stream:
        chunks = await read(stream)
        assert (stream.winner, stream.text) == ("c", "b of c")
    seams = [(chunk.from_, chunk.to, chunk.restarted) for chunk in chunks if isinstance(chunk, Failover)]
    assert seams == [("a", "b", True), ("inner", "c", False)]
    assert c.asked[0][-1] == {"role": "assistant", "content": "b"}


async def test_a_nested_race_goes_on_from_a_text_if_all_of_it_can() -> None:
    able, other = scripted("able", " three", prefill=True), scripted("other", "new")
    for entrants, text in (([able], "one two three"), ([able, other], " three")):
        async with race(
            [dying(), Race(entrants, policy=fallback())], "Why?", policy=fallback(), midstream="continue"
        ) as stream:
            assert (await stream.collect()).text == text


async def test_a_filter_over_a_race_forgets_what_it_held_of_the_answer_that_died() -> None:
    inner = Race([dying("a", "one [a"), scripted("b", "[ad]", "two")], policy=fallback(), midstream="restart")
    cleaned = Cleaned(inner, lambda: ChunkFilter([Marker("[ad", "]")]))
    async with cleaned.stream("Why?") as stream:
        chunks = [str(chunk) async for chunk in stream]
        assert (chunks, stream.text) == (["one ", "", "two"], "two")


async def test_an_undecided_outer_race_judges_the_new_answer_and_not_the_old() -> None:
    def clean(_chunk: Chunk, text: str) -> bool:
        return text.endswith("!") and text.startswith("b")

    inner = Race([dying("a", "a"), scripted("b", "b", "!")], policy=fallback(), midstream="restart")
    async with race([inner], "Why?", clean=clean) as stream:
        assert (await stream.collect()).text == "b!"


async def test_a_generator_that_breaks_is_replaced() -> None:
    class Breaking(AsyncGeneratorProvider):
        async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[str]:
            yield "one"
            raise OSError("no more")

    async with race([Breaking(), scripted("b", "new")], "Why?", policy=fallback(), midstream="restart") as stream:
        chunks = await read(stream)
    assert chunks == ["one", Failover("breaking", "b", "no more", restarted=True), "new"]


async def test_the_error_of_closing_who_died_is_not_raised() -> None:
    class Spoilt(Scripted):
        def _answer(self, ask: Any) -> Any:
            answer = super()._answer(ask)

            class Closing:
                async def __aenter__(self) -> Any:
                    return await answer.__aenter__()

                async def __aexit__(self, *exc_info: object) -> None:
                    await answer.__aexit__(None, None, None)
                    raise OSError("cannot close")

            return Closing()

    a = Spoilt(["one"], error=cut(), name="a")
    async with race([a, scripted("b", "new")], "Why?", policy=fallback(), midstream="restart") as stream:
        assert (await stream.collect()).text == "new"
    assert isinstance(stream.report.entrants[0].error, TruncatedError)


async def test_retry_after_holds_a_successor_back() -> None:
    b = scripted("b", error=RateLimitError("slow down", retry_after=5))
    llm = Race([b, dying(gap=1)], policy=fallback(), midstream="restart")
    async with llm.stream("Why?") as stream:
        with pytest.raises(TruncatedError):
            await read(stream)
    b.error, b.chunks = None, ["new"]
    async with llm.stream("Why?") as stream:
        assert stream.winner == "a"
        assert (await stream.collect()).text == "new"
    assert anyio.current_time() == 5


def test_which_wires_go_on_from_a_text() -> None:
    assert Anthropic(model="m").goes_on_from_text("m")
    assert not Anthropic(model="m", prefill=False).goes_on_from_text("m")
    assert not Ollama(model="m").goes_on_from_text("m")
    assert Ollama(model="m", prefill=True).goes_on_from_text("m")
    assert not OpenAICompatible(model="m", api_base="http://127.0.0.1/v1").goes_on_from_text("m")


# --- cancellations ---


async def test_a_cancelled_read_loses_nothing_and_may_be_repeated() -> None:
    a, b = dying(gap=1), scripted("b", " three", " four", delay=2, gap=1, prefill=True)
    got: list[Chunk] = []
    async with race([a, b], "Why?", policy=fallback(), midstream="continue") as stream:
        ended = False
        while not ended:
            with anyio.move_on_after(0.3):
                try:
                    got.append(await anext(stream))
                except StopAsyncIteration:
                    ended = True
        assert stream.text == "one two three four"
    assert [str(chunk) for chunk in got] == ["one ", "two", "", " three", " four"]
    assert (a.opened, b.opened) == (1, 1)


async def test_a_takeover_goes_on_while_nobody_reads() -> None:
    a, b = dying(), scripted("b", error=OSError("no"), delay=1)
    c = scripted("c", "new", delay=1)
    async with race([a, b, c], "Why?", policy=fallback(), midstream="restart") as stream:
        assert [await anext(stream), await anext(stream)] == ["one ", "two"]
        with anyio.move_on_after(0.5):
            await anext(stream)
        await anyio.sleep(5)
        assert outcomes(stream.report) == {"a": "failed", "b": "failed", "c": "won"}
        assert [str(chunk) for chunk in await read(stream)] == ["", "new"]


async def test_leaving_during_a_takeover_starts_nobody_else_and_closes_who_was() -> None:
    a, b, c = dying(), scripted("b", "late", delay=FOREVER), scripted("c", "new")
    async with race([a, b, c], "Why?", policy=fallback(), midstream="restart") as stream:
        with anyio.move_on_after(1):
            await read(stream)
    assert outcomes(stream.report) == {"a": "failed", "b": "cancelled", "c": "not_started"}
    assert all_closed(a, b, c)


async def test_closing_during_a_takeover_ends_it_and_the_read_that_waits() -> None:
    a, b = dying(), scripted("b", "late", delay=FOREVER)
    context = race([a, b], "Why?", policy=fallback(), midstream="restart")
    async with context as stream, anyio.create_task_group() as tasks:

        async def close() -> None:
            await anyio.sleep(1)
            await stream.aclose()

        tasks.start_soon(close)
        with pytest.raises(TruncatedError):
            await read(stream)
    assert outcomes(stream.report) == {"a": "failed", "b": "cancelled"}
    assert anyio.current_time() == 1


async def test_what_the_body_raises_during_a_takeover_leaves_bare() -> None:
    a, b = dying(), scripted("b", "late", delay=FOREVER)

    async def run() -> None:
        async with race([a, b], "Why?", policy=fallback(), midstream="restart") as stream:
            with anyio.move_on_after(1):
                await read(stream)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await run()
    assert all_closed(a, b)


@pytest.mark.parametrize("keep_standby", [0, 9])
@pytest.mark.parametrize("ticks", range(30))
async def test_cancelled_at_any_await_everything_is_closed(ticks: int, keep_standby: int) -> None:
    entrants = [dying("a"), dying("b", "three", prefill=True), scripted("c", "four", prefill=True)]
    got: list[Chunk] = []

    async def consume() -> None:
        policy = parallel() if keep_standby else fallback()
        context = race(entrants, "Why?", policy=policy, midstream="continue", keep_standby=keep_standby)
        async with context as stream:
            await read(stream, got)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert all_closed(*entrants)


@pytest.mark.parametrize("keep_standby", [0, 9])
@pytest.mark.parametrize("ticks", range(25))
async def test_closed_by_another_task_at_any_await_the_read_ends_and_everything_is_closed(
    ticks: int, keep_standby: int
) -> None:
    entrants = [dying("a"), dying("b", "three", prefill=True), scripted("c", *["four"] * 9, prefill=True)]
    policy = parallel() if keep_standby else fallback()

    async def close(stream: RaceStream) -> None:
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        await stream.aclose()

    context = race(entrants, "Why?", policy=policy, midstream="continue", keep_standby=keep_standby)
    with anyio.fail_after(60):
        async with context as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(close, stream)
            with suppress(TruncatedError, anyio.ClosedResourceError):
                await read(stream)
    assert all_closed(*entrants)
    assert "running" not in outcomes(context.report).values()


@pytest.mark.parametrize("ticks", range(1, 12))
async def test_with_every_read_cancelled_after_some_ticks_the_whole_answer_comes(ticks: int) -> None:
    a, b = dying("a", gap=0.25), scripted("b", "three", "four", gap=0.25, prefill=True)
    got: list[str] = []
    async with race([a, b], "Why?", policy=fallback(), midstream="continue") as stream:
        ended = False
        while not ended:
            async with anyio.create_task_group() as tasks:

                async def one() -> None:
                    nonlocal ended
                    try:
                        got.append(str(await anext(stream)))
                    except StopAsyncIteration:
                        ended = True

                tasks.start_soon(one)
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(0.5)
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
    assert got == ["one ", "two", "", "three", "four"]


# --- whatever happens ---

words = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5)
waits = st.sampled_from([0.0, 0.25, 0.5, 1.0])
scripts = st.fixed_dictionaries(
    {
        "words": words,
        "delay": waits,
        "gap": waits,
        "fails": st.booleans(),
        "empty": st.booleans(),
        "prefill": st.booleans(),
    }
)
policies = st.sampled_from([parallel(), parallel(max_active=2), staggered(0.25), fallback()])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(scripts, min_size=1, max_size=4),
    st.sampled_from(["raise", "continue", "restart"]),
    policies,
    st.integers(0, 3),
)
async def test_whatever_fails_the_consumer_gets_a_whole_answer_or_the_error_with_the_text_so_far(
    made: list[dict[str, Any]], midstream: Midstream, policy: Any, standby: int
) -> None:
    entrants = {
        name: Scripted(
            [] if one["empty"] else one["words"],
            name=name,
            delay=one["delay"],
            gap=one["gap"],
            prefill=one["prefill"],
            error=InternalServerError(f"{name} failed") if one["fails"] else None,
        )
        for name, one in zip("ABCD", made, strict=False)
    }
    played = Play(entrants)
    context = race(
        list(entrants.values()),
        "Why?",
        policy=policy,
        midstream=midstream,
        keep_standby=standby if midstream != "raise" else 0,
    )
    try:
        async with context as stream:
            await played.read(stream)
    except AllFailed:
        assert not any(one.error is None and one.chunks for one in entrants.values())
        assert played.chunks == []
    else:
        played.check(stream, midstream)
    assert all_closed(*entrants.values())
    assert "running" not in outcomes(context.report).values()


class Play:
    """What a consumer saw of a race, held against what the entrants wrote."""

    def __init__(self, entrants: dict[str, Scripted]) -> None:
        self.entrants = entrants
        self.chunks: list[Chunk] = []
        self.error: Exception | None = None

    async def read(self, stream: RaceStream) -> None:
        self.first = stream.winner
        try:
            await read(stream, self.chunks)
        except InternalServerError as error:
            self.error = error

    def check(self, stream: RaceStream, midstream: Midstream) -> None:
        writer, written, text = self.first, "", ""
        seen = {writer}
        for chunk in self.chunks:
            if isinstance(chunk, Failover):
                assert midstream != "raise"
                assert chunk.restarted or midstream == "continue"
                assert (chunk.from_, chunk.error) == (writer, str(self.script(writer).error))
                assert written == "".join(map(str, self.script(writer).chunks))
                assert self.script(chunk.to).prefill or chunk.restarted
                assert chunk.to[0] not in {name[0] for name in seen}  # nobody who died is asked again
                writer, written = chunk.to, ""
                text = "" if chunk.restarted else text
                seen.add(writer)
            else:
                written += str(chunk)
                text += str(chunk)
        assert written == "".join(map(str, self.script(writer).chunks))
        assert (stream.text, stream.winner) == (text, writer)
        assert self.error is self.script(writer).error
        records = {record.name: record for record in stream.report.entrants}
        assert all(records[name].outcome == "failed" for name in seen - {writer})
        assert records[writer].outcome == ("won" if self.error is None else records[writer].outcome)

    def script(self, name: str) -> Scripted:
        return self.entrants[name[0]]
