"""A provider that is asked again: which errors, when, for how long, and what is told of it. In virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    Chunk,
    ChunkFilter,
    Cleaned,
    Failover,
    Fallback,
    InternalServerError,
    RateLimitError,
    Retry,
    Timeout,
    ToolCallDelta,
    TruncatedError,
    Usage,
    fallback,
    full_jitter,
    race,
)
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

DOWN = APIConnectionError("refused")


def now() -> float:
    return anyio.current_time()


class Flaky(Scripted):
    """Fails with these errors, one an attempt, then gives its chunks; knows when it was asked, and what was open then.

    An error in a tuple comes after the chunks before it.
    """

    def __init__(self, *errors: Any, chunks: Any = "a", **settings: Any) -> None:
        super().__init__(chunks, **{"name": "flaky", **settings})
        self.lines = [*(each if isinstance(each, tuple) else (each,) for each in errors), None]
        self.good = self.chunks
        self.at: list[float] = []
        self.asks: list[Any] = []

    def _answer(self, ask: Any) -> Any:
        assert self.opened == self.closed, "the attempt before is still open"
        self.at.append(now())
        self.asks.append(ask)
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        *chunks, error = line or (*self.good, None)
        self.chunks, self.error = chunks, error
        return _Once(super()._answer(ask), self, chunks, error)


class _Once:
    """Gives each attempt its own script, also when the next is scripted already."""

    def __init__(self, answer: Any, script: Flaky, chunks: list[Chunk], error: Exception | None) -> None:
        self._inner, self._script, self._line = answer, script, (chunks, error)

    async def __aenter__(self) -> Any:
        self._script.chunks, self._script.error = self._line
        return await self._inner.__aenter__()

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._inner.__aexit__(*exc_info)


def exact(seconds: float) -> float:
    return seconds


async def test_it_is_asked_again_after_longer_and_longer_waits() -> None:
    one = Flaky(DOWN, DOWN, DOWN, DOWN)
    assert (await Retry(one, 5, base=0.5, cap=2, jitter=exact).complete("Why?")).text == "a"
    assert one.at == [0, 0.5, 1.5, 3.5, 5.5]
    assert one.opened == one.closed == 5


async def test_the_last_error_is_raised_with_the_earlier_ones_as_notes() -> None:
    last = InternalServerError("down", status=503)
    one = Flaky(DOWN, RateLimitError("slow down"), last)
    with pytest.raises(InternalServerError) as caught:
        await Retry(one, jitter=exact).complete("Why?")
    assert caught.value is last
    assert last.__notes__ == [
        "attempt 1: the connection failed: refused",
        "attempt 2: too many requests: slow down",
    ]
    assert len(one.at) == 3


async def test_what_the_service_asks_for_goes_before_what_is_reckoned() -> None:
    one = Flaky(RateLimitError("slow down", retry_after=7), RateLimitError("slow down", retry_after=0))
    await Retry(one).complete("Why?")
    assert one.at == [0, 7, 7]


async def test_who_asks_for_longer_than_the_cap_is_not_waited_for() -> None:
    one = Flaky(RateLimitError("slow down", retry_after=31))
    with pytest.raises(RateLimitError, match="asks to wait 31 s"):
        await Retry(one).complete("Why?")
    assert (one.at, now()) == ([0], 0)


@pytest.mark.parametrize("error", [AuthenticationError(), KeyError("x")], ids=repr)
async def test_what_another_attempt_would_not_change_is_raised_at_once(error: Exception) -> None:
    one = Flaky(error)
    with pytest.raises(type(error)):
        await Retry(one).complete("Why?")
    assert one.at == [0]


async def test_what_is_worth_it_can_be_said() -> None:
    for on in (KeyError, (ValueError, KeyError), lambda error: isinstance(error, KeyError)):
        one = Flaky(KeyError("x"))
        assert (await Retry(one, on=on, base=0).complete("Why?")).text == "a"
        two = Flaky(DOWN)
        with pytest.raises(APIConnectionError):
            await Retry(two, on=on).complete("Why?")


async def test_jitter_is_any_time_up_to_what_was_reckoned() -> None:
    drawn = [full_jitter(2.0) for _ in range(200)]
    assert all(0 <= each <= 2 for each in drawn)
    assert max(drawn) - min(drawn) > 1


async def test_after_a_chunk_there_is_no_other_attempt() -> None:
    one = Flaky(("a", TruncatedError("cut")))
    async with Retry(one).stream("Why?") as stream:
        assert await anext(stream) == "a"
        with pytest.raises(TruncatedError) as caught:
            await anext(stream)
    assert (caught.value.text, len(one.at), one.closed) == ("a", 1, 1)


async def test_if_it_is_asked_for_it_starts_over_after_a_chunk_and_marks_the_seam() -> None:
    one = Flaky(("a", "b", TruncatedError("cut")), DOWN, chunks=["c", "d"])
    async with Retry(one, after_output=True, base=0).stream("Why?") as stream:
        chunks = [chunk async for chunk in stream]
    assert chunks[:2] + chunks[-2:] == ["a", "b", "c", "d"]
    seams = [chunk for chunk in chunks if isinstance(chunk, Failover)]
    assert seams[0] == Failover("flaky", "flaky", "the answer was cut off: cut", restarted=True)
    assert one.opened == one.closed == 3


async def test_but_never_after_a_tool_call_has_begun() -> None:
    one = Flaky((ToolCallDelta(0, "id", "f", ""), TruncatedError("cut")))
    with pytest.raises(TruncatedError):
        await Retry(one, after_output=True, base=0).complete("Why?")
    assert len(one.at) == 1


async def test_an_answer_that_starts_over_is_left_cleanly_and_cannot_be_settled() -> None:
    one = Flaky(chunks=["a", "b"])
    again = Retry(one, after_output=True)
    async with again.stream("Why?") as stream:
        assert await anext(stream) == "a"
    assert one.opened == one.closed == 1
    with pytest.raises(TypeError, match="cannot be settled"):
        await again.stream("Why?").settle()
    async with race([again], "Why?") as racing:
        assert (await racing.collect()).text == "ab"


async def test_a_cancellation_ends_it_while_it_waits_and_while_it_asks() -> None:
    for one in (Flaky(RateLimitError("slow", retry_after=9)), Flaky(delay=9)):
        with anyio.move_on_after(3) as scope:
            await Retry(one).complete("Why?")
        assert scope.cancelled_caught
        assert (len(one.at), one.opened) == (1, one.closed)


# --- time-outs ---


async def test_the_time_outs_of_the_provider_are_for_each_attempt() -> None:
    one = Flaky(delay=5, timeout=Timeout(first_chunk=2))
    with pytest.raises(APITimeoutError, match="first_chunk=2") as caught:
        await Retry(one, base=1, jitter=exact).complete("Why?")
    assert one.at == [0, 3, 7]
    assert now() == 9
    assert len(caught.value.__notes__) == 2


async def test_those_of_a_call_are_for_all_of_them_together() -> None:
    one = Flaky(*[DOWN] * 9, timeout=Timeout(total=50))
    with pytest.raises(APIConnectionError):
        await Retry(one, 9, base=2, jitter=exact).complete("Why?", timeout=Timeout(total=7))
    assert one.at == [0, 2, 6]
    assert [ask.timeout.total for ask in one.asks] == [7, 5, 1]


async def test_a_limit_of_a_single_wait_is_that_of_the_call_in_every_attempt() -> None:
    one = Flaky(DOWN, timeout=Timeout(stall=9, idle=8))
    await Retry(one, base=0).complete("Why?", timeout=Timeout(stall=4))
    assert [(ask.timeout.stall, ask.timeout.idle) for ask in one.asks] == [(4, 8)] * 2


# --- with others ---


async def test_in_a_race_the_attempts_stand_in_the_report() -> None:
    one = Flaky(DOWN, ("x", DOWN), delay=1)
    one.lines[1] = (DOWN,)
    async with race([Retry(one, base=0.5, jitter=exact)], "Why?") as stream:
        assert (await stream.collect()).text == "a"
    record = stream.report.entrants[0]
    assert (record.name, record.outcome, record.started_at, record.clean_at) == ("flaky", "won", 0, 4.5)
    assert [(each.outcome, each.started_at, each.ended_at) for each in record.attempts] == [
        ("failed", 0, 1),
        ("failed", 1.5, 2.5),
    ]
    assert [each["error"]["type"] for each in record.to_dict()["attempts"]] == ["APIConnectionError"] * 2


async def test_a_race_goes_on_to_the_next_when_the_attempts_are_used_up() -> None:
    one = Flaky(DOWN, DOWN)
    two = Scripted("b", name="two")
    async with race([Retry(one, 2, base=1, jitter=exact), two], "Why?", policy=fallback()) as stream:
        assert (stream.winner, now()) == ("two", 1)
    assert len(stream.report.entrants[0].attempts) == 1


async def test_a_race_is_retried_whole() -> None:
    one, two = Flaky(DOWN), Flaky(DOWN, chunks="b", name="two", delay=1)
    whole = await Retry(Fallback([one, two]), base=1, jitter=exact).complete("Why?")
    assert (whole.text, one.at, two.at) == ("a", [0, 2], [0])
    with pytest.raises(AllFailed):
        await Retry(Fallback([Flaky(AuthenticationError())])).complete("Why?")


async def test_it_is_called_bound_and_cleaned_as_what_it_wraps() -> None:
    inner = Flaky(DOWN, chunks=["[ad]", "a"], name="", model="m", temperature=0.5)
    again = Retry(inner, base=0, top_p=0.25)
    whole = await Cleaned(again, lambda: ChunkFilter([])).complete("Why?")
    assert (whole.provider, whole.model, again.name) == ("flaky/m", "m", "flaky/m")
    assert inner.asks[0].params == {"temperature": 0.5, "top_p": 0.25}
    assert Retry("openai/gpt-5-mini").name == "openai/gpt-5-mini"


async def test_it_can_be_settled_where_the_provider_can() -> None:
    one = Flaky(DOWN, chunks=["a", "b"])
    for context in (Retry(one, base=0).stream("Why?"), race([Retry(one, base=0)], "Why?")):
        stream = await context.settle()
        assert (await stream.collect()).text == "ab"
        assert one.opened == one.closed


async def test_its_generator_is_read_and_closed() -> None:
    one = Flaky(DOWN, chunks=["a", "b"])
    chunks = Retry(one, base=0).create_async_generator("", [{"role": "user", "content": "Why?"}])
    assert [chunk async for chunk in chunks] == ["a", "b"]
    assert one.opened == one.closed == 2


class Written(AsyncGeneratorProvider):
    """Fails twice, with a task group open around what it says."""

    times = 0

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        self.times += 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0)
            if self.times < 3:
                raise DOWN
            yield "a"
            yield "b"


@pytest.mark.parametrize("after_output", [False, True])
async def test_a_generator_of_somebodys_own_is_opened_and_closed_by_one_task(after_output: bool) -> None:
    one = Written()
    again = Retry(one, base=0, after_output=after_output)
    assert (await again.complete("Why?")).text == "ab"
    one.times = 0
    async with race([again, Scripted("c", delay=9)], "Why?") as stream:
        assert (await stream.collect()).text == "ab"


async def test_an_answer_without_a_chunk_is_an_end_and_no_failure() -> None:
    one = Flaky(chunks=[])
    assert (await Retry(one).complete("Why?")).text == ""
    assert one.at == [0]


async def test_what_an_attempt_used_is_not_counted_to_the_next() -> None:
    one = Flaky(DOWN, chunks=["a", Usage(input_tokens=5, output_tokens=1)])
    async with race([Retry(one, base=0)], "Why?") as stream:
        await stream.collect()
    assert stream.report.entrants[0].usage == Usage(input_tokens=5, output_tokens=1)


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"base": -1}, {"cap": float("inf")}])
async def test_settings_that_mean_nothing_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match="number"):
        Retry(Scripted("a"), **settings)
