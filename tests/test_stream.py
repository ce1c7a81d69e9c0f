"""The stream object: what it gives, what it gathers, who may read it, and how it is closed."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import msgspec
import pytest

from g4ftrio import (
    AuthResult,
    Chunk,
    Conversation,
    EntrantReport,
    FinishReason,
    ImageResponse,
    ProviderError,
    RaceReport,
    RaceStream,
    Reasoning,
    Refusal,
    Stream,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    TruncatedError,
    Usage,
)
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

CALL = ToolCall("c1", "f", "{}")


class Batches:
    """A source that gives batches, each after ``wait`` seconds; an error among them is raised."""

    def __init__(self, *batches: Sequence[Chunk] | Exception, wait: float = 0.0) -> None:
        self.left = list(batches)
        self.wait = wait
        self.pulled = 0
        self.closed = 0
        self.closed_now = 0

    async def pull(self) -> list[Chunk]:
        await anyio.sleep(self.wait)
        self.pulled += 1
        batch = self.left.pop(0) if self.left else []
        if isinstance(batch, Exception):
            raise batch
        return list(batch)

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1

    def close_now(self) -> None:
        self.closed_now += 1


def stream_of(source: Batches, **settings: Any) -> Stream:
    return Stream(source, EntrantReport(name="one/model", model="model"), **settings)


async def all_of(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


# --- what it gives ---


async def test_the_chunks_of_all_batches_come_one_by_one() -> None:
    assert await all_of(stream_of(Batches(["a", "b"], [Reasoning("hm")], ["c"]))) == ["a", "b", Reasoning("hm"), "c"]


async def test_what_was_read_before_comes_first() -> None:
    assert await all_of(stream_of(Batches(["c"]), first=["a", "b"])) == ["a", "b", "c"]


async def test_nothing_is_read_before_it_is_wanted() -> None:
    source = Batches(["a", "b"], ["c"])
    stream = stream_of(source)
    assert source.pulled == 0
    assert [await anext(stream), await anext(stream)] == ["a", "b"]
    assert source.pulled == 1
    await stream.aclose()


async def test_receive_gives_the_next_and_at_the_end_says_so_for_ever() -> None:
    stream = stream_of(Batches(["a"]))
    assert await stream.receive() == "a"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert await stream.pull() == []


async def test_pull_gives_what_is_left_of_a_batch_then_whole_batches() -> None:
    stream = stream_of(Batches(["a", "b", "c"], ["d", "e"]))
    assert await anext(stream) == "a"
    assert [await stream.pull(), await stream.pull(), await stream.pull()] == [["b", "c"], ["d", "e"], []]
    assert stream.text == "abcde"


async def test_the_text_stream_gives_only_text_and_reads_the_stream_itself() -> None:
    stream = stream_of(Batches([Reasoning("hm"), "a", ToolCallDelta(0)], [Usage(1, 2)], ["b", FinishReason("stop")]))
    assert await all_of(stream.text_stream) == ["a", "b"]
    assert (stream.text, stream.usage, stream.finish_reason) == ("ab", Usage(1, 2), "stop")


async def test_closing_the_text_stream_closes_the_stream() -> None:
    source = Batches(["a"])
    stream = stream_of(source)
    await stream.text_stream.aclose()
    assert source.closed == 1
    with pytest.raises(anyio.ClosedResourceError):
        await anext(stream)


# --- what it gathers ---


async def test_only_what_was_given_out_is_gathered() -> None:
    stream = stream_of(Batches(["b", "c"], ["d"]), first=["a"])
    seen = [stream.text, *[stream.text async for _ in stream]]
    assert seen == ["", "a", "ab", "abc", "abcd"]


async def test_the_ends_of_an_answer_are_none_before_they_come() -> None:
    stream = stream_of(
        Batches(["a", ToolCallDelta(0, "c1", "f", "{}")], [ToolCalls((CALL,)), Usage(3), FinishReason("x")])
    )
    await anext(stream)
    await anext(stream)
    assert (stream.usage, stream.finish_reason, stream.tool_calls) == (None, None, ())
    await anext(stream)
    assert (stream.usage, stream.finish_reason, stream.tool_calls) == (None, None, (CALL,))
    await stream.collect()
    assert (stream.usage, stream.finish_reason, stream.tool_calls) == (Usage(3), "x", (CALL,))


async def test_collect_gives_the_whole_answer_what_was_read_before_included() -> None:
    image, state = ImageResponse(("https://x/y.png",)), Conversation("one", {"id": 1})
    source = Batches(
        [Reasoning("I "), Reasoning("think")],
        ["a", image, "b"],
        [Refusal("I can"), Refusal("not"), state],
        [ToolCallDelta(0, "c1", "f", "{}"), ToolCalls((CALL,)), Usage(1, 2, 3, 4), FinishReason("tool_calls")],
    )
    stream = stream_of(source)
    for _ in range(3):
        await anext(stream)
    whole = await stream.collect()
    assert (whole.text, whole.reasoning, whole.refusal) == ("ab", "I think", "I cannot")
    assert (whole.tool_calls, whole.usage, whole.finish_reason) == ((CALL,), Usage(1, 2, 3, 4), "tool_calls")
    assert whole.others == (image, state)
    assert (whole.provider, whole.model, whole.report, whole.parsed) == ("one/model", "model", None, None)
    assert source.closed == 1


async def test_collecting_twice_gives_the_same() -> None:
    stream = stream_of(Batches(["a"], ["b"]))
    assert await stream.collect() == await stream.collect()


async def test_an_empty_answer_is_an_empty_completion() -> None:
    whole = await stream_of(Batches()).collect()
    assert (whole.text, str(whole), whole.finish_reason) == ("", "", None)


async def test_text_is_added_up_over_chunks_of_every_kind() -> None:
    text = ""
    async for chunk in stream_of(Batches(["a", Reasoning("hm"), Refusal("no"), Usage(1), AuthResult(key="k"), "b"])):
        text += chunk
    assert text == "anob"


async def test_the_text_is_parsed_unless_tools_are_called() -> None:
    parse = msgspec.json.decode
    assert (await stream_of(Batches(['{"a"', ": 1}"]), parse=parse).collect()).parsed == {"a": 1}
    assert (await stream_of(Batches([ToolCalls((CALL,))]), parse=parse).collect()).parsed is None


async def test_the_record_counts_chunks_and_keeps_the_usage() -> None:
    record = EntrantReport(name="one")
    await Stream(Batches(["a", "b"], [Usage(1, 2), FinishReason("stop")]), record).collect()
    assert (record.chunks, record.usage, record.usage_known) == (4, Usage(1, 2), "exact")


async def test_the_record_keeps_the_usage_of_an_answer_that_was_whole_when_it_won() -> None:
    record = EntrantReport(name="one")
    await Stream(Batches(), record, first=["a", Usage(1, 2), FinishReason("stop")]).collect()
    assert (record.usage, record.usage_known) == (Usage(1, 2), "exact")


async def test_a_race_stream_says_who_won() -> None:
    report = RaceReport(policy="parallel()", entrants=[])
    stream = RaceStream(report, Batches(["a"]), EntrantReport(name="one"))
    assert (stream.winner, stream.report) == ("one", report)
    assert (await stream.collect()).report is report


# --- who may read it ---


async def test_a_second_reader_is_refused_and_the_first_goes_on() -> None:
    stream = stream_of(Batches(["a"], wait=1))
    got: list[Chunk] = []

    async def read() -> None:
        got.append(await anext(stream))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await clocks.settle()
        with pytest.raises(anyio.BusyResourceError):
            await anext(stream)
        with pytest.raises(anyio.BusyResourceError):
            await stream.collect()
    assert got == ["a"]
    assert await all_of(stream) == []


async def test_it_may_be_read_by_one_task_after_another() -> None:
    stream = stream_of(Batches(["a", "b"], ["c"]))
    got: list[Chunk] = []

    async def read_one() -> None:
        got.append(await anext(stream))

    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_one)
    assert got == ["a", "b", "c"]
    await stream.aclose()


async def test_a_cancelled_read_loses_nothing_and_may_be_repeated() -> None:
    stream = stream_of(Batches(["a"], ["b"], wait=2))
    with anyio.move_on_after(1) as scope:
        await anext(stream)
    assert scope.cancelled_caught
    assert await all_of(stream) == ["a", "b"]
    assert anyio.current_time() == 7  # 1 in vain, and 2 for each read, that of the end included


async def test_a_cancellation_is_noticed_at_every_chunk_and_loses_none() -> None:
    stream = stream_of(Batches(["a", "b", "c"]))
    got = []
    with anyio.CancelScope() as scope:
        async for chunk in stream:
            got.append(chunk)
            scope.cancel()
    assert (got, stream.text) == (["a"], "a")
    left = await all_of(stream)
    assert got + left == ["a", "b", "c"]


# --- how it ends ---


async def test_at_the_end_the_source_is_closed() -> None:
    source = Batches(["a"])
    await all_of(stream_of(source))
    assert source.closed == 1


async def test_closing_is_for_good_and_may_be_repeated() -> None:
    source = Batches(["a", "b", "c"])
    stream = stream_of(source)
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert source.closed == 1
    assert stream.text == "a"
    for read in (stream.receive, stream.pull, stream.collect, stream.__anext__):
        with pytest.raises(anyio.ClosedResourceError):
            await read()


async def test_the_block_closes_it() -> None:
    source = Batches(["a"], ["b"])
    async with stream_of(source) as stream:
        await anext(stream)
    assert source.closed == 1


async def test_another_task_may_close_it() -> None:
    source = Batches(["a"], ["b"])
    stream = stream_of(source)
    await anext(stream)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.aclose)
    assert source.closed == 1


async def test_an_error_is_raised_bare_kept_in_the_record_and_closes_the_source() -> None:
    source = Batches(["a"], ValueError("it broke"))
    record = EntrantReport(name="one")
    stream = Stream(source, record)
    assert await anext(stream) == "a"
    with pytest.raises(ValueError, match=r"^it broke$") as caught:
        await anext(stream)
    assert record.error is caught.value
    assert (source.closed, stream.text) == (1, "a")


async def test_after_an_error_the_answer_does_not_look_whole() -> None:
    stream = stream_of(Batches(["a"], ProviderError("it broke", provider="one")))
    await anext(stream)
    for _ in range(2):
        with pytest.raises(ProviderError, match="it broke"):
            await stream.collect()
    assert stream.text == "a"


async def test_an_answer_that_was_cut_has_the_text_that_came() -> None:
    stream = stream_of(Batches(["a", "b"], [Reasoning("hm"), "c"], TruncatedError("cut")))
    await anext(stream)
    with pytest.raises(TruncatedError) as caught:
        await stream.collect()
    assert caught.value.text == "abc"


# --- dropped ---


def drop(stream: list[Stream]) -> None:
    stream.clear()
    gc.collect()


async def test_dropped_unread_it_warns_once_and_closes_at_once() -> None:
    source = Batches(["a"], ["b"])
    held = [stream_of(source)]
    await anext(held[0])
    with pytest.warns(ResourceWarning, match=r"one/model .*aclosing") as caught:
        drop(held)
    assert len(caught) == 1
    assert source.closed_now == 1


async def test_dropped_unread_it_closes_also_where_warnings_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    source = Batches(["a"])
    held = [stream_of(source)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(held)
    assert [type(unraisable.exc_value) for unraisable in raised] == [ResourceWarning]
    assert source.closed_now == 1
    raised.clear()  # it holds the stream


async def test_dropped_after_its_end_an_error_or_aclose_it_says_nothing() -> None:
    for ending in (Stream.collect, Stream.aclose):
        held = [stream_of(Batches(["a"]))]
        await ending(held[0])
        drop(held)
    held = [stream_of(Batches(KeyError()))]
    with pytest.raises(KeyError):
        await held[0].collect()
    drop(held)


async def test_dropped_inside_its_block_it_says_nothing() -> None:
    source = Batches(["a"])
    held = [stream_of(source, release=lambda: None)]
    drop(held)
    assert source.closed_now == 0
