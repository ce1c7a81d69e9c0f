"""A runner-up that is kept while the winner begins: who it is, what it does not do, and how it takes over."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from g4ftrio import (
    Chunk,
    Failover,
    InternalServerError,
    Race,
    RaceStream,
    Reasoning,
    Timeout,
    fallback,
    race,
    staggered,
)
from g4ftrio._race.source import Source
from g4ftrio.base_provider import Ask
from g4ftrio.testing import Scripted
from tests import clocks
from tests.entrants import outcomes

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

FOREVER = 1e9


class Watched(Scripted):
    """A scripted entrant that notes when it was read and when it was closed.

    :ivar reads: when each read that brought something did
    :ivar opening: seconds that it takes to open
    """

    opening = 0.0

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        self.reads: list[float] = []
        self.closed_at: list[float] = []
        return _WatchedAnswer(self, super()._answer(ask))


class _WatchedAnswer(AbstractAsyncContextManager[Source[Chunk]]):
    def __init__(self, watched: Watched, answer: AbstractAsyncContextManager[Source[Chunk]]) -> None:
        self._watched = watched
        self._answer = answer

    async def __aenter__(self) -> Source[Chunk]:
        await anyio.sleep(self._watched.opening)
        self._source = await self._answer.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._watched.closed_at.append(anyio.current_time())
        await self._answer.__aexit__(None, None, None)

    async def pull(self) -> list[Chunk]:
        batch = await self._source.pull()
        self._watched.reads.append(anyio.current_time())
        return batch

    async def aclose(self) -> None:
        await self._source.aclose()


def watched(name: str, *chunks: Chunk, opening: float = 0.0, **settings: Any) -> Watched:
    entrant = Watched(chunks, name=name, **settings)
    entrant.opening = opening
    return entrant


def dying(name: str, *chunks: Chunk, **settings: Any) -> Watched:
    return watched(name, *chunks, error=InternalServerError(f"{name} failed"), **settings)


def text_of(chunks: list[Chunk]) -> list[str]:
    return [chunk if isinstance(chunk, str) else type(chunk).__name__ for chunk in chunks]


async def read(stream: RaceStream) -> list[str]:
    return text_of([chunk async for chunk in stream])


async def test_the_standby_takes_over_at_once_with_what_it_had_read() -> None:
    a = dying("a", "one", "two", delay=1, gap=1)
    b = watched("b", Reasoning("so"), "new", " answer", delay=0.5, gap=1)
    async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
        chunks = [(chunk, anyio.current_time()) async for chunk in stream]
    assert [(str(chunk), at) for chunk, at in chunks] == [
        ("one", 1),
        ("two", 2),
        ("", 3),  # the seam: what "new" it had to write was there at 1.5, so it is read at once
        ("", 3),
        ("new", 3),
        (" answer", 4),
    ]
    assert [type(chunk) for chunk, _ in chunks[2:4]] == [Failover, Reasoning]
    assert outcomes(stream.report) == {"a": "failed", "b": "won"}
    assert b.opened == 1


async def test_while_it_waits_nothing_is_read_of_it() -> None:
    a, b = dying("a", *"1234", delay=1, gap=1), watched("b", Reasoning("so"), *"new", delay=0.5, gap=0.75)
    async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
        assert [await anext(stream), await anext(stream)] == ["1", "2"]
        assert (b.reads, b.closed_at) == ([0.5], [])
        assert outcomes(stream.report) == {"a": "won", "b": "lost"}
        assert await read(stream) == ["3", "4", "Failover", "Reasoning", *"new"]
    assert b.reads == [0.5, 5, 5.75, 6.5, 7.25]


async def test_one_that_was_clean_in_the_same_tick_takes_over_with_that() -> None:
    a, b = dying("a", "1", delay=1), watched("b", "2", " more", delay=1)
    async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
        chunks = await read(stream)
    assert chunks in (["1", "Failover", "2", " more"], ["2", " more"])


async def test_it_is_let_go_when_the_winner_has_given_so_many_chunks() -> None:
    a, b = watched("a", *"12345", delay=1, gap=1), watched("b", "new", delay=2)
    async with race([a, b], "Why?", midstream="restart", keep_standby=3) as stream:
        assert await read(stream) == [*"12345"]
    assert b.closed_at == [3]  # with the read that follows the third
    assert outcomes(stream.report) == {"a": "won", "b": "lost"}


async def test_after_it_was_let_go_it_may_be_asked_anew() -> None:
    a, b = dying("a", *"12", delay=1, gap=1), watched("b", "new", delay=2)
    async with race([a, b], "Why?", midstream="restart", keep_standby=1) as stream:
        assert await read(stream) == ["1", "2", "Failover", "new"]
    assert (outcomes(stream.report), b.opened) == ({"a": "failed", "b": "lost", "b#2": "won"}, 2)


async def test_it_is_let_go_when_the_winner_ends_and_when_the_race_is_left() -> None:
    for early in (False, True):
        a, b = watched("a", "1", "2", delay=1, gap=1), watched("b", "new", delay=FOREVER)
        start = anyio.current_time()
        async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
            if early:
                await stream.aclose()
            else:
                assert await read(stream) == ["1", "2"]
        assert b.closed_at == [start + (1 if early else 3)]


async def test_the_runner_up_is_who_had_given_something_first() -> None:
    b = watched("b", Reasoning("1"), "of b", delay=0.75, gap=1)
    c = watched("c", Reasoning("2"), "of c", delay=0.5, gap=1)
    d = watched("d", "of d", delay=2)
    async with race([dying("a", "1", delay=1), b, c, d], "Why?", midstream="restart", keep_standby=9) as stream:
        assert await anext(stream) == "1"
        await anyio.sleep(0.25)
        assert (b.closed_at, c.closed_at, d.closed_at) == ([1], [], [1])
        assert await read(stream) == ["Failover", "Reasoning", "of c"]
    assert outcomes(stream.report)["c"] == "won"


async def test_one_that_is_open_is_kept_rather_than_one_that_is_not_yet() -> None:
    b, c = watched("b", "of b", opening=3), watched("c", "of c", delay=3)
    async with race([dying("a", "1", delay=1), b, c], "Why?", midstream="restart", keep_standby=9) as stream:
        chunks = await read(stream)
    assert chunks == ["1", "Failover", "of c"]
    assert outcomes(stream.report)["b"] == "lost"


async def test_nobody_is_kept_where_nobody_is_open() -> None:
    a, b = watched("a", "1", "2", delay=1, gap=1), watched("b", "of b", opening=3)
    async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
        assert await read(stream) == ["1", "2"]
    assert (b.opened, outcomes(stream.report)) == (0, {"a": "won", "b": "lost"})


async def test_no_time_out_runs_while_it_waits_and_the_rest_of_it_runs_after() -> None:
    timeout = Timeout(first_chunk=3, stall=3, idle=3)
    a, b = dying("a", *"1234567", delay=1, gap=1), Scripted(["new"], name="b", delay=FOREVER)
    async with race([a, b], "Why?", midstream="restart", keep_standby=99, timeout=timeout) as stream:
        with pytest.raises(InternalServerError):
            await read(stream)
    assert stream.text == "1234567"
    second = stream.report.entrants[1]
    assert (second.outcome, second.ended_at) == ("failed", 10)  # 1 s before it waited, and 2 s after 8 s
    assert "3 s" in str(second.error)


async def test_a_standby_that_dies_is_followed_by_the_others() -> None:
    a, b, c = dying("a", "1", delay=1), dying("b", delay=2), watched("c", "new", delay=3)
    async with race([a, b, c], "Why?", policy=staggered(0.25), midstream="restart", keep_standby=9) as stream:
        assert await read(stream) == ["1", "Failover", "new"]
    assert outcomes(stream.report) == {"a": "failed", "b": "failed", "c": "lost", "c#2": "won"}


async def test_with_nobody_else_a_standby_that_dies_leaves_the_winners_error() -> None:
    a, b = dying("a", "1", delay=1), dying("b", delay=2)
    async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
        with pytest.raises(InternalServerError, match="a failed"):
            await read(stream)
    assert outcomes(stream.report) == {"a": "failed", "b": "failed"}


async def test_a_standby_starts_over_though_others_could_continue() -> None:
    a, b = dying("a", "1", delay=1), watched("b", "new", delay=1.5, prefill=True)
    async with race([a, b], "Why?", policy=staggered(0.5), midstream="continue", keep_standby=9) as stream:
        assert (await stream.collect()).text == "new"
    assert len(b.asked) == 1


async def test_a_continuation_is_not_kept_because_its_text_will_be_old() -> None:
    a = dying("a", "1", delay=1, gap=1)
    b, c = dying("b", "2", delay=1, gap=1, prefill=True), watched("c", "3", delay=2, prefill=True)
    policy = staggered(0.25)
    async with race([a, b, c], "Why?", policy=policy, midstream="continue", keep_standby=1) as stream:
        chunks = await read(stream)
    assert chunks == ["1", "Failover", "2", "Failover", "3"]
    assert stream.text == "123"
    assert [asked[-1]["content"] for asked in c.asked] == ["Why?", "1", "12"]


async def test_with_a_fallback_there_is_no_runner_up() -> None:
    a, b = dying("a", "1"), watched("b", "new")
    async with race([a, b], "Why?", policy=fallback(), midstream="restart", keep_standby=9) as stream:
        assert await read(stream) == ["1", "Failover", "new"]


async def test_a_nested_race_keeps_one_too() -> None:
    a, b = dying("a", "1", delay=1), watched("b", "new", delay=1.5)
    inner = Race([a, b], midstream="restart", keep_standby=9)
    async with race([inner], "Why?") as stream:
        assert await read(stream) == ["1", "Failover", "new"]
    assert b.opened == 1


@pytest.mark.parametrize("at", [0.5, 1.0, 1.25, 2.0, 2.25, 3.0, 3.25, 4.0, 4.25])
async def test_cancelled_at_any_moment_it_is_closed(at: float) -> None:
    a, b = dying("a", "1", "2", delay=1, gap=1), watched("b", "3", "4", delay=1.5, gap=1)
    with anyio.move_on_after(at):
        async with race([a, b], "Why?", midstream="restart", keep_standby=9) as stream:
            await read(stream)
    assert (a.opened, b.opened) == (a.closed, b.closed)
    assert b.closed_at == [at]
