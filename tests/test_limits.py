"""Limits of providers: alone, in races, across threads, and whatever order things happen in. In virtual time."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from threading import Thread
from typing import Any, get_args

import anyio
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from g4ftrio import (
    AllFailed,
    Chunk,
    Cleaned,
    Fallback,
    LimitError,
    Rate,
    SetupError,
    Timeout,
    Usage,
    fallback,
    race,
)
from g4ftrio._cleaning import ChunkFilter
from g4ftrio._resilience.limits import Limiter, estimated_tokens
from g4ftrio._streams.sync import Backend
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


def now() -> float:
    return anyio.current_time()


class Counting(Scripted):
    """Scripted, and knows how many were open at most and when each was opened."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.most = 0
        self.at: list[float] = []

    def _answer(self, ask: Any) -> Any:
        return _Counted(self, super()._answer(ask))


class _Counted:
    def __init__(self, script: Counting, answer: Any) -> None:
        self._script, self._inner = script, answer

    async def __aenter__(self) -> Any:
        source, script = await self._inner.__aenter__(), self._script
        script.at.append(now())
        script.most = max(script.most, script.opened - script.closed)
        return source

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._inner.__aexit__(*exc_info)


async def all_of(provider: Any, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(provider.complete, "Why?")


# --- requests at once ---


async def test_no_more_than_the_limit_are_asked_at_once_and_all_are_answered() -> None:
    one = Counting("a", delay=1, limit=2)
    await all_of(one, 5)
    assert (one.most, one.opened, one.closed) == (2, 5, 5)
    assert one.at == [0, 0, 1, 1, 2]


async def test_a_stream_gives_its_place_back_when_it_has_ended_and_when_it_is_left() -> None:
    one = Counting(["a", "b"], limit=1, wait=0)
    async with one.stream("Why?") as stream:
        await stream.collect()
        assert (await one.complete("Why?")).text == "ab"  # the first has ended, though it is not left
    async with one.stream("Why?") as stream:
        await anext(stream)
        with pytest.raises(LimitError):
            await one.complete("Why?")
    assert (await one.complete("Why?")).text == "ab"


async def test_a_failure_gives_its_place_back() -> None:
    one = Counting(error=OSError("gone"), limit=1, wait=0)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await one.complete("Why?")


async def test_a_settled_stream_keeps_its_place_until_it_is_closed() -> None:
    one = Scripted(["a", "b"], limit=1, wait=0)
    for context in (one.stream("Why?"), race([one], "Why?")):
        stream = await context.settle()
        with pytest.raises(LimitError):
            await one.complete("Why?")
        await stream.aclose()
    assert (await one.complete("Why?")).text == "ab"


async def test_a_generator_keeps_its_place_until_it_is_closed() -> None:
    one = Scripted(["a", "b"], limit=1, wait=0)
    chunks: Any = one.create_async_generator("", [{"role": "user", "content": "Why?"}])
    assert await anext(chunks) == "a"
    with pytest.raises(LimitError):
        await one.complete("Why?")
    await chunks.aclose()
    assert (await one.complete("Why?")).text == "ab"


@pytest.mark.filterwarnings("ignore:a stream of")
async def test_a_stream_that_is_dropped_gives_its_place_back_and_wakes_who_waits() -> None:
    one = Scripted(["a", "b"], limit=1)
    stream: Any = await one.stream("Why?").settle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.complete, "Why?")
        await clocks.settle()
        assert one.opened == 1
        del stream
        gc.collect()
    assert (one.opened, one.closed) == (2, 2)


class Asking(AsyncGeneratorProvider):
    """Asks its base from its own generator."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        yield "a"
        await anyio.sleep(1)


class AskingItself(Scripted):
    """Writes a generator over the one that it has."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        async for chunk in super().create_async_generator(model, messages):
            yield chunk


async def test_generators_of_ones_own_have_limits_too() -> None:
    one = Asking(limit=1)
    await all_of(one, 3)
    assert now() == 3
    assert (await AskingItself("a", limit=1, wait=0).complete("Why?")).text == "a"


async def test_what_is_wrapped_keeps_its_limits() -> None:
    one = Counting("a", delay=1, limit=1)
    wrapped = Cleaned(one, lambda: ChunkFilter([]))
    async with anyio.create_task_group() as tasks:
        for each in (one, wrapped, wrapped):
            tasks.start_soon(each.complete, "Why?")
    assert (one.most, now()) == (1, 3)


# --- waiting ---


async def test_who_waits_too_long_is_told_which_limit_it_was() -> None:
    one = Scripted("a", delay=9, limit=1, wait=2, name="one")
    async with one.stream("Why?"):
        with pytest.raises(LimitError, match=r"one: the limit of requests at once is reached \(limit=1\)") as caught:
            await one.complete("Why?")
    assert (now(), caught.value.limit, caught.value.value, caught.value.retry_after) == (2, "limit", 1, None)


async def test_turns_are_taken_in_order() -> None:
    limiter, served = Limiter(1, None, None), []

    async def take(number: int) -> None:
        ticket = await limiter.enter(1, "one")
        served.append(number)
        await anyio.sleep(1)
        limiter.leave(ticket)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(take, number)
            await clocks.settle()
    assert served == [0, 1, 2, 3, 4]


async def test_who_is_cancelled_while_waiting_leaves_no_trace() -> None:
    one = Counting("a", delay=4, limit=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.complete, "Why?")
        await clocks.settle()
        with anyio.move_on_after(1):
            await one.complete("Why?")
        tasks.start_soon(one.complete, "Why?")
    assert (one.opened, now()) == (2, 8)


async def test_who_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    limiter = Limiter(1, None, None)
    first = await limiter.enter(1, "one")
    got: list[int] = []

    async def take(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            limiter.leave(await limiter.enter(1, "one"))
            got.append(number)

    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    async with anyio.create_task_group() as tasks:
        for number, scope in enumerate(scopes):
            tasks.start_soon(take, number, scope)
            await clocks.settle()
        limiter.leave(first)
        scopes[0].cancel()
    assert got[-1] == 1
    assert limiter._admit(first) == float("inf")
    assert (limiter._inside, len(limiter._line)) == (0, 0)


# --- rates ---


async def test_in_any_span_there_are_no_more_requests_than_the_rate() -> None:
    one = Counting("a", rate=Rate(requests=2, per=10))
    for at in (0, 4, 5, 20):
        await anyio.sleep_until(at)
        await one.complete("Why?")
    assert one.at == [0, 4, 10, 20]


async def test_a_rate_says_when_there_is_room_again() -> None:
    one = Scripted("a", rate=Rate(requests=1, per=10), wait=2, name="one")
    await one.complete("Why?")
    with pytest.raises(LimitError, match=r"one: the rate of requests is used up \(1 in 10 s\)") as caught:
        await one.complete("Why?")
    assert (caught.value.limit, caught.value.retry_after, now()) == ("requests", 8, 2)


async def test_tokens_are_estimated_first_and_put_right_afterwards() -> None:
    one = Counting(["a", Usage(input_tokens=60, output_tokens=40)], rate=Rate(tokens=150, per=10))
    for _ in range(3):
        await one.complete("x" * 160)  # 44 tokens by estimate
    assert one.at == [0, 0, 10]


async def test_a_request_larger_than_the_rate_has_it_all_for_itself() -> None:
    one = Counting("a", rate=Rate(tokens=100, per=10))
    for text in ("x" * 4000, "x"):
        await one.complete(text)
    assert one.at == [0, 10]


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    limiter, served = Limiter(None, Rate(tokens=100, per=10), None), []

    async def take(tokens: int) -> None:
        limiter.leave(await limiter.enter(tokens, "one"))
        served.append((tokens, now()))

    async with anyio.create_task_group() as tasks:
        for tokens in (60, 90, 10):
            tasks.start_soon(take, tokens)
            await clocks.settle()
    assert served == [(60, 0), (90, 10), (10, 10)]


async def test_the_next_in_line_finds_out_when_its_own_time_is() -> None:
    limiter, served = Limiter(None, Rate(tokens=100, per=10), None), []

    async def take(tokens: int, patience: float) -> None:
        with anyio.move_on_after(patience):
            limiter.leave(await limiter.enter(tokens, "one"))
            served.append((tokens, now()))

    async with anyio.create_task_group() as tasks:
        for tokens, patience in ((60, 99), (90, 3), (40, 99)):
            tasks.start_soon(take, tokens, patience)
            await clocks.settle()
    assert served == [(60, 0), (40, 3)]


@pytest.mark.parametrize(
    ("messages", "params", "tokens"),
    [
        ([{"role": "user", "content": "x" * 40}], {}, 14),
        ([{"role": "user", "content": "x" * 40}] * 2, {"max_tokens": 100}, 128),
        ([{"content": [{"type": "text", "text": "x" * 40}, {"type": "image_url", "image_url": {}}]}], {}, 1014),
        ([{"role": "assistant", "content": None, "tool_calls": []}], {"max_tokens": None}, 4),
    ],
)
async def test_how_large_a_request_is_taken_to_be(messages: Any, params: Any, tokens: int) -> None:
    assert estimated_tokens(messages, params) == tokens


# --- races ---


async def test_without_waiting_a_race_goes_on_to_the_next_at_once() -> None:
    one, two = Scripted("a", delay=9, limit=1, wait=0, name="one"), Scripted("b", name="two")
    async with one.stream("Why?"), race([one, two], "Why?", policy=fallback()) as stream:
        assert (stream.winner, now()) == ("two", 0)
    first = stream.report.entrants[0]
    assert (first.outcome, first.started_at) == ("failed", None)
    assert isinstance(first.error, LimitError)


async def test_who_waits_for_its_turn_is_not_counted_as_asked() -> None:
    one, two = Scripted("a", limit=1, name="one"), Scripted("b", delay=3, name="two")
    async with one.stream("Why?"):
        async with race([one, two], "Why?") as stream:
            assert stream.winner == "two"
        lost = stream.report.entrants[0]
        assert (lost.outcome, lost.started_at, one.opened) == ("lost", None, 1)


async def test_who_got_its_turn_was_asked_then() -> None:
    one = Scripted(["a", "b"], gap=2, limit=1, name="one")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.complete, "Why?")
        await clocks.settle()
        async with race([one], "Why?") as stream:
            assert stream.winner == "one"
    record = stream.report.entrants[0]
    assert (record.started_at, record.clean_at) == (4, 4)


async def test_a_race_leaves_nobody_in_line() -> None:
    one, two = Scripted("a", delay=5, limit=1, name="one"), Scripted("b", delay=1, name="two")
    async with race([one, one, two], "Why?") as stream:
        await stream.collect()
    assert (one.opened, one.closed) == (1, 1)
    assert (await one.complete("Why?")).text == "a"


async def test_a_rate_holds_an_entrant_back_for_as_long_as_it_is_known() -> None:
    one, two = Scripted("a", rate=Rate(requests=1, per=10), wait=0, name="one"), Scripted("b", name="two")
    async with Fallback([one, two]) as llm:
        for at, winner in ((0, "one"), (1, "two"), (2, "two"), (10, "one")):
            await anyio.sleep_until(at)
            async with llm.stream("Why?") as stream:
                assert stream.winner == winner
            if at == 2:
                assert stream.report.entrants[0].outcome == "not_started"


async def test_in_a_race_the_wait_counts_as_time_to_the_first_chunk() -> None:
    one = Scripted("a", delay=9, limit=1, name="one")
    async with one.stream("Why?"):
        with pytest.raises(AllFailed, match="first_chunk=2"):
            async with race([one], "Why?", timeout=Timeout(first_chunk=2)):
                pass


# --- set-up ---


@pytest.mark.parametrize("settings", [{"limit": 0}, {"wait": 1}, {"limit": 1, "wait": -1}])
async def test_settings_that_mean_nothing_are_refused(settings: Any) -> None:
    with pytest.raises(SetupError, match=r"(limit|wait)="):
        Scripted("a", **settings)


@pytest.mark.parametrize("settings", [{}, {"requests": 0}, {"requests": 1, "per": 0}])
async def test_a_rate_that_means_nothing_is_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(**settings)


# --- whatever happens ---

REQUEST = st.tuples(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),  # after the one before
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),  # how long it takes
    st.integers(1, 8),  # tokens
    st.sampled_from([None, None, 0.0, 0.5, 2.0]),  # cancelled after
)


@given(
    st.lists(REQUEST, max_size=12),
    st.one_of(st.none(), st.integers(1, 3)),
    st.one_of(st.none(), st.builds(Rate, requests=st.integers(1, 3), tokens=st.integers(4, 12), per=st.just(2.0))),
    st.sampled_from([None, None, 0.0, 1.0]),
)
@hypothesis_settings(max_examples=60, deadline=None)
async def test_whatever_happens_the_limits_are_kept_in_order_and_everybody_is_served_or_gone(
    requests: list[tuple[float, float, int, float | None]], limit: int | None, rate: Rate | None, wait: float | None
) -> None:
    limiter = Limiter(limit, rate, wait)
    inside, served, ended = 0, {}, []
    log: list[tuple[float, int]] = []

    async def run(number: int, seconds: float, tokens: int, patience: float | None) -> None:
        nonlocal inside
        asked = now()
        try:
            with anyio.move_on_after(patience if patience is not None else 1e6):
                ticket = await limiter.enter(tokens, "one")
                inside += 1
                served[number] = now()
                log.append((now(), tokens))
                try:
                    assert limit is None or inside <= limit
                    assert wait is None or now() - asked <= wait
                    await anyio.sleep(seconds)
                finally:
                    inside -= 1
                    limiter.leave(ticket)
        except LimitError:
            assert wait is not None
            assert now() - asked == wait
        ended.append(number)

    async with anyio.create_task_group() as tasks:
        for number, (gap, seconds, tokens, patience) in enumerate(requests):
            await anyio.sleep(gap)
            tasks.start_soon(run, number, seconds, tokens, patience)
            await clocks.settle()
    assert [served[number] for number in sorted(served)] == sorted(served.values())
    assert sorted(ended) == list(range(len(requests)))
    if rate is not None:
        for at, _ in log:
            span = [tokens for moment, tokens in log if at <= moment < at + rate.per]
            assert len(span) <= (rate.requests or 0)
            assert sum(span) <= (rate.tokens or 0) or len(span) == 1
    limiter._clear()
    assert (limiter._inside, [each for each in limiter._line if not each.gone]) == (0, [])


# --- loops and threads ---


def test_an_instance_is_limited_across_threads_and_loops() -> None:
    one = Counting("a", delay=0.02, limit=2)

    def ask(backend: Any) -> None:
        for _ in range(3):
            with one.stream_sync("Why?", backend=backend) as stream:
                assert list(stream) == ["a"]

    threads = [Thread(target=ask, args=(backend,)) for backend in ("trio", "asyncio") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (one.opened, one.closed, one.most) == (18, 18, 2)


def test_a_rate_outlives_the_loop_that_used_it() -> None:
    one = Scripted("a", rate=Rate(requests=2, per=60), wait=0)
    for backend in get_args(Backend):
        assert one.complete_sync("Why?", backend=backend).text == "a"
    with pytest.raises(LimitError) as caught:
        one.complete_sync("Why?")
    assert 50 < (caught.value.retry_after or 0) <= 60
