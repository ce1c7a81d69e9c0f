"""Sources, and the stream that gives their items one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import pytest

from g4ftrio._race.source import ItemStream, IteratorResource, IteratorSource
from tests import clocks
from tests.entrants import FOREVER, Scripted

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


class Batches:
    """A source of these batches, each after a second."""

    def __init__(self, *batches: list[str] | Exception) -> None:
        self._batches = iter(batches)
        self.pulls = 0
        self.closes = 0

    async def pull(self) -> list[str]:
        await anyio.sleep(1)
        self.pulls += 1
        batch = next(self._batches, list[str]())
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def aclose(self) -> None:
        self.closes += 1


async def count() -> AsyncGenerator[str, None]:
    for number in "123":
        await anyio.sleep(1)
        yield number


async def test_an_iterator_is_a_source_of_one_item_a_pull() -> None:
    source = IteratorSource(count())
    assert [await source.pull() for _ in range(5)] == [["1"], ["2"], ["3"], [], []]


async def test_a_cancelled_read_breaks_an_iterator_and_the_next_one_says_so() -> None:
    source = IteratorSource(count())
    assert await source.pull() == ["1"]
    with anyio.move_on_after(0.5) as scope:
        await source.pull()
    assert scope.cancelled_caught
    for _ in range(2):
        with pytest.raises(anyio.BrokenResourceError, match="a read of this stream was cancelled"):
            await source.pull()


async def test_an_error_of_the_iterator_s_own_is_raised_as_it_is() -> None:
    broken = OSError("connection reset")
    with pytest.raises(OSError, match="connection reset") as raised:
        await IteratorSource(Scripted(broken)).pull()
    assert raised.value is broken


async def test_closing_a_source_closes_a_generator_and_lets_an_iterator_without_aclose_be() -> None:
    closed = []

    async def generator() -> AsyncIterator[str]:
        try:
            yield "a"
        finally:
            closed.append(True)

    source = IteratorSource(generator())
    assert await source.pull() == ["a"]
    await source.aclose()
    await source.aclose()
    assert closed == [True]
    await IteratorSource(Scripted()).aclose()


async def test_closing_a_generator_with_a_nursery_open_at_its_yield_raises_nothing() -> None:
    async def foreign() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, FOREVER)
            yield "a"

    source = IteratorSource(foreign())
    assert await source.pull() == ["a"]
    await source.aclose()


async def test_closing_a_generator_with_a_nursery_raises_what_else_went_wrong_in_it() -> None:
    async def spoil() -> None:
        try:
            await anyio.sleep(FOREVER)
        finally:
            raise OSError("cannot close")

    async def foreign() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spoil)
            await clocks.settle()
            yield "a"

    source = IteratorSource(foreign())
    assert await source.pull() == ["a"]
    with pytest.raises(ExceptionGroup) as raised:
        await source.aclose()
    assert [str(error) for error in raised.value.exceptions] == ["cannot close"]


@pytest.mark.parametrize("spoilt", [None, OSError("cannot close")])
async def test_a_resource_closes_the_generator_before_what_it_reads_from(spoilt: Exception | None) -> None:
    closed = []

    async def generator() -> AsyncIterator[str]:
        try:
            yield "a"
        finally:
            closed.append("generator")
            if spoilt is not None:
                raise spoilt

    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[str]]:
        try:
            yield generator()
        finally:
            closed.append("resource")

    with nullcontext() if spoilt is None else pytest.raises(OSError, match="cannot close"):
        async with IteratorResource(opened()) as source:
            assert await source.pull() == ["a"]
    assert closed == ["generator", "resource"]


async def test_a_resource_passes_on_an_exception_and_whether_it_was_handled() -> None:
    seen = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[str]]:
        try:
            yield count()
        except KeyError as error:
            seen.append(error)

    mine = KeyError("mine")
    async with IteratorResource(opened()):
        raise mine
    assert seen == [mine]


async def test_a_resource_that_gives_no_iterator_is_closed_and_says_so() -> None:
    closed = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        try:
            yield 7
        finally:
            closed.append(True)

    with pytest.raises(TypeError, match="int"):
        await IteratorResource(opened()).__aenter__()
    assert closed == [True]


async def test_a_stream_gives_what_was_read_already_and_then_batches_item_by_item() -> None:
    batches = Batches(["c", "d"], ["e"])
    stream = ItemStream(batches, ["a", "b"])
    seen = [(item, anyio.current_time()) async for item in stream]
    assert seen == [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2)]
    assert (anyio.current_time(), batches.pulls, batches.closes) == (3, 3, 1)


async def test_a_stream_pulls_what_is_there_as_one_batch() -> None:
    stream = ItemStream(Batches(["c", "d"], ["e", "f"]), ["a", "b"])
    assert await anext(stream) == "a"
    assert await stream.pull() == ["b"]
    assert await stream.pull() == ["c", "d"]
    assert await anext(stream) == "e"
    assert await stream.pull() == ["f"]
    assert await stream.pull() == []
    assert await stream.pull() == []


async def test_receive_raises_end_of_stream_at_the_end() -> None:
    stream = ItemStream(Batches(["a"]))
    assert await stream.receive() == "a"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_reading_after_aclose_is_an_error_even_where_items_were_left() -> None:
    batches = Batches()
    stream = ItemStream(batches, ["a", "b"])
    assert await anext(stream) == "a"
    await stream.aclose()
    await stream.aclose()
    assert batches.closes == 1
    for read in (stream.__anext__, stream.receive, stream.pull):
        with pytest.raises(anyio.ClosedResourceError, match="this stream was closed"):
            await read()


async def test_leaving_a_stream_s_async_with_closes_it() -> None:
    batches = Batches()
    async with ItemStream(batches, ["a"]) as stream:
        assert await anext(stream) == "a"
    assert batches.closes == 1


async def test_a_stream_with_a_release_calls_it_and_leaves_the_source_to_its_owner() -> None:
    batches, released = Batches(["a"]), []
    stream = ItemStream(batches, release=lambda: released.append(True))
    assert await anext(stream) == "a"
    await stream.aclose()
    assert (released, batches.closes) == ([True], 0)


async def test_an_error_ends_a_stream_and_closes_what_is_behind_it() -> None:
    broken = OSError("connection reset")
    batches = Batches(["a"], broken)
    stream = ItemStream(batches)
    assert await anext(stream) == "a"
    for _ in range(2):  # a second look says so again, and not that it has ended
        with pytest.raises(OSError, match="connection reset") as raised:
            await anext(stream)
        assert raised.value is broken
        assert (batches.pulls, batches.closes) == (2, 1)


async def test_a_second_reader_is_refused_and_the_first_reads_on() -> None:
    stream = ItemStream(Batches(["a"]))
    got = []

    async def read() -> None:
        got.append(await anext(stream))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await clocks.settle()
        for second in (stream.__anext__, stream.receive, stream.pull):
            with pytest.raises(anyio.BusyResourceError, match="reading from"):
                await second()
    assert got == ["a"]


async def test_a_cancellation_is_noticed_at_every_item() -> None:
    stream = ItemStream(Batches(), list("abcdef"))
    got = []
    with anyio.CancelScope() as scope:
        async for item in stream:
            got.append(item)
            if item == "c":
                scope.cancel()
    assert scope.cancelled_caught
    assert got == ["a", "b", "c"]


async def test_a_cancelled_read_loses_nothing_of_what_was_there() -> None:
    stream = ItemStream(Batches(["c"]), ["a", "b"])
    for _ in range(3):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(stream)
        assert scope.cancelled_caught
    assert [await anext(stream), await anext(stream)] == ["a", "b"]
    with anyio.move_on_after(0.5) as scope:
        await anext(stream)
    assert scope.cancelled_caught
    assert await anext(stream) == "c"
