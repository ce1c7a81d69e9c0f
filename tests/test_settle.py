"""The second door: a stream that leaves no scope and no task open, for generators and web responses. Over sockets."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from g4ftrio import AllFailed, Chunk, Race, RaceStream, Stream, Timeout, TruncatedError, race
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import Fleet, Service, serve
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
NEVER = 1e6


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """``quick`` gives its answer at once, ``slow`` a word now and then for ever, ``never`` nothing."""
    services = [
        Service("quick", text=ANSWER, first_token=0.005),
        Service("slow", text="on and " * 1000, gap=0.02),
        Service("never", first_token=NEVER),
        Service("cut", fault="cut", text=ANSWER),
        Service("error", fault="error"),
    ]
    async with serve(services) as fleet:
        yield fleet


def entrants(fleet: Fleet, *names: str) -> list[OpenAICompatible]:
    return [OpenAICompatible(model=name, api_base=fleet[name].api_base, name=name) for name in names]


async def gone(fleet: Fleet, *names: str) -> bool:
    """Wait until the servers have nothing to do, and tell whether they saw each of these clients leave.

    A loser may be dropped before it was heard of at all.
    """
    await fleet.quiet()
    left = {exchange.outcome for name in names for exchange in fleet[name].log}
    return left == {"client_gone"} and not any(running.connections for running in fleet.values())


def tasks_of_ours() -> set[int]:
    others = ("simulator", "watchdog")  # one watchdog looks after the time-outs of all reads of a trio run
    return {task.id for task in anyio.get_running_tasks() if not any(name in (task.name or "") for name in others)}


async def decided(fleet: Fleet, *names: str) -> RaceStream:
    return await race(entrants(fleet, *names), QUESTION).settle()


async def settled(fleet: Fleet, *names: str) -> Stream:
    (provider,) = entrants(fleet, *names[:1])
    return await provider.stream(QUESTION).settle()


async def generated(fleet: Fleet, *names: str) -> Stream:
    (provider,) = entrants(fleet, *names[:1])
    chunks: Any = provider.create_async_generator(names[0], QUESTION)
    return chunks  # type: ignore[no-any-return]  # the contract says an iterator; it is a stream


Door = Callable[..., Awaitable[Stream]]
every_door = pytest.mark.parametrize("door", [decided, settled, generated])


# --- what it gives ---


@every_door
async def test_the_answer_is_whole_and_nothing_is_left(door: Door, fleet: Fleet) -> None:
    stream = await door(fleet, "quick", "never")
    whole = await stream.collect()
    assert (whole.text, whole.finish_reason) == (ANSWER, "stop")
    await stream.aclose()
    await fleet.quiet()
    assert fleet["quick"].log[-1].outcome == "complete"
    assert [running.connections for running in fleet.values()] == [0] * 5


async def test_the_race_is_decided_and_the_losers_are_gone_when_it_returns(fleet: Fleet) -> None:
    tasks = tasks_of_ours()
    stream = await decided(fleet, "never", "quick", "error")
    assert tasks_of_ours() == tasks
    assert stream.winner == "quick"
    outcomes = [entrant.outcome for entrant in stream.report.entrants]
    assert outcomes[:2] == ["lost", "won"]
    assert outcomes[2] in ("failed", "lost")
    assert stream.report.entrants[0].ended_at is not None
    await stream.aclose()


async def test_a_race_of_which_all_fail_says_so(fleet: Fleet) -> None:
    with pytest.raises(AllFailed) as caught:
        await decided(fleet, "error", "error")
    assert list(caught.value.failures) == ["error", "error#2"]
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


@every_door
async def test_an_answer_that_is_cut_is_an_error_here_too(door: Door, fleet: Fleet) -> None:
    stream = await door(fleet, "cut", "never")
    with pytest.raises(TruncatedError, match=r"^cut: "):
        await stream.collect()
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


async def test_no_scope_is_left_open(fleet: Fleet) -> None:
    with anyio.CancelScope() as outer:
        stream = await decided(fleet, "slow", "never")
    with anyio.CancelScope():
        await anext(stream)
        outer.cancel()
        await anext(stream)
    await stream.aclose()
    assert await gone(fleet, "slow", "never")


async def test_a_cancellation_while_it_is_decided_leaves_nothing(fleet: Fleet) -> None:
    for seconds in (0, 0.001, 0.003, 0.01, 0.05):
        with anyio.move_on_after(seconds) as scope:
            await decided(fleet, "never")
        assert scope.cancelled_caught
    await fleet.quiet()
    assert {exchange.outcome for exchange in fleet["never"].log} <= {"client_gone"}
    assert fleet["never"].connections == 0


async def test_a_cancellation_at_any_moment_leaves_nothing(fleet: Fleet) -> None:
    for n in range(15):
        with anyio.move_on_after(n / 2000):
            async with aclosing(await decided(fleet, "quick", "slow", "never")) as stream:
                await anext(stream)
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


async def test_the_limits_hold_after_it_was_settled(fleet: Fleet) -> None:
    (provider,) = entrants(fleet, "slow")
    async with aclosing(await race([provider], QUESTION, timeout=Timeout(stall=0.01, total=30)).settle()) as stream:
        with pytest.raises(TimeoutError, match=r"^slow: .*stall=0\.01"):
            await stream.collect()
    assert await gone(fleet, "slow")


# --- generators over it ---


async def answer(door: Door, fleet: Fleet) -> AsyncGenerator[Chunk]:
    """What people write: a generator that yields what it reads, and closes what it read."""
    stream = await door(fleet, "slow", "never")
    try:
        async for chunk in stream:
            yield chunk
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()


async def careless(door: Door, fleet: Fleet) -> AsyncGenerator[Chunk]:
    """What people write, too."""
    async for chunk in await door(fleet, "slow", "never"):
        yield chunk


def losers_of(door: Door) -> list[str]:
    return ["never"] if door is decided else []


@every_door
async def test_a_generator_that_is_read_to_a_break_closes_it(door: Door, fleet: Fleet) -> None:
    async with aclosing(answer(door, fleet)) as chunks:
        async for chunk in chunks:
            assert chunk == "on"
            break
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_a_generator_whose_reader_raises_closes_it(door: Door, fleet: Fleet) -> None:
    async def read() -> None:
        async with aclosing(answer(door, fleet)) as chunks:
            await anext(chunks)
            raise KeyError

    with pytest.raises(KeyError):
        await read()
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_a_generator_may_be_closed_from_another_task(door: Door, fleet: Fleet) -> None:
    chunks = answer(door, fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anext, chunks)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chunks.aclose)
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_each_chunk_may_be_read_by_another_task(door: Door, fleet: Fleet) -> None:
    stream = await door(fleet, "quick", "never")
    got: list[Chunk] = []

    async def read_one() -> None:
        with anyio.CancelScope():
            got.append(await anext(stream))

    for _ in range(4):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_one)
    assert "".join(map(str, got)) == "It is blue because"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.aclose)
    assert not any(running.connections for name, running in fleet.items() if name != "quick")


@every_door
async def test_closing_from_another_task_ends_a_read_that_is_under_way(door: Door, fleet: Fleet) -> None:
    stream = await door(fleet, "slow", "never")
    await anext(stream)
    ends: list[type[BaseException]] = []

    async def read() -> None:
        try:
            async for _ in stream:
                pass
        except anyio.ClosedResourceError as error:
            ends.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.sleep(0.01)
        await stream.aclose()
    assert ends in ([], [anyio.ClosedResourceError])
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_a_sender_that_is_cancelled_between_chunks_leaves_nothing(door: Door, fleet: Fleet) -> None:
    """As a web framework does: it sends in a task that it cancels when the client goes."""
    sent: list[Chunk] = []
    two_sent = anyio.Event()

    async def send() -> None:
        async with aclosing(answer(door, fleet)) as chunks:
            async for chunk in chunks:
                sent.append(chunk)
                if len(sent) == 2:
                    two_sent.set()
                await anyio.sleep(0.001)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await two_sent.wait()
        tasks.cancel_scope.cancel()
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_a_cancelled_read_may_be_repeated(door: Door, fleet: Fleet) -> None:
    stream = await door(fleet, "slow", "never")
    text = str(await anext(stream))
    for _ in range(40):
        with anyio.move_on_after(0.003):
            text += str(await anext(stream))
    assert "on and on and on and ".startswith(text[:20])
    assert len(text) > 5
    await stream.aclose()
    assert await gone(fleet, "slow", *losers_of(door))


# --- dropped ---


async def drop(held: list[Any]) -> None:
    held.clear()
    gc.collect()
    await anyio.sleep(0.02)  # the loop closes a generator, and that drops the stream in it
    gc.collect()


@every_door
async def test_dropped_unread_it_warns_once_and_the_server_sees_it_gone(door: Door, fleet: Fleet) -> None:
    held = [await door(fleet, "slow", "never")]
    assert await anext(held[0]) == "on"
    with pytest.warns(ResourceWarning) as caught:
        await drop(held)
    assert [str(warning.message) for warning in caught] == [
        "a stream of slow was dropped unread: use contextlib.aclosing()"
    ]
    assert await gone(fleet, "slow", *losers_of(door))


@pytest.mark.may_leak("what is dropped here is a generator of the test's own, too")
@every_door
async def test_an_abandoned_generator_over_it_leaves_no_connection(door: Door, fleet: Fleet) -> None:
    held = [careless(door, fleet)]
    assert await anext(held[0]) == "on"
    with pytest.warns(ResourceWarning) as caught:
        await drop(held)
    ours = [warning for warning in caught if "contextlib.aclosing" in str(warning.message)]
    assert len(ours) == 1
    assert all("careless" in str(warning.message) for warning in caught if warning not in ours)  # trio's, of the test's
    assert await gone(fleet, "slow", *losers_of(door))


@every_door
async def test_dropped_after_its_end_or_closed_it_says_nothing(door: Door, fleet: Fleet) -> None:
    for end in (Stream.collect, Stream.aclose):
        held = [await door(fleet, "quick", "never")]
        await end(held[0])
        await drop(held)
    await fleet.quiet()


async def test_a_generator_that_was_not_read_says_nothing_and_has_sent_nothing(fleet: Fleet) -> None:
    held = [await generated(fleet, "quick")]
    await drop(held)
    await fleet.quiet()
    assert fleet["quick"].log == []


# --- who can be settled ---


class Written(AsyncGeneratorProvider):
    """A plain generator."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        yield "a"


@pytest.mark.parametrize("make", [Written, lambda: Race([Scripted("a")])])
async def test_others_are_refused_before_anybody_is_asked(make: Callable[[], Any], fleet: Fleet) -> None:
    with pytest.raises(TypeError, match=r"use `async with race\(\.\.\.\) as stream:`"):
        await race([*entrants(fleet, "quick"), make()], QUESTION).settle()
    await fleet.quiet()
    assert fleet["quick"].log == []


async def test_a_composition_gives_such_a_stream_by_its_generator(fleet: Fleet) -> None:
    whole: Any = Race(entrants(fleet, "quick", "never"))
    async with aclosing(whole.create_async_generator("", QUESTION)) as stream:
        assert (await stream.collect()).text == ANSWER


async def test_a_sender_that_is_cancelled_in_a_read_of_the_text_closes_the_provider_at_once(fleet: Fleet) -> None:
    stream = await race(entrants(fleet, "quick"), QUESTION).settle()
    text = stream.text_stream
    assert await anext(text)
    with anyio.move_on_after(0.0) as scope:
        while True:
            await anext(text)
    assert scope.cancelled_caught
    await fleet.quiet()
    with pytest.raises(anyio.ClosedResourceError):
        await anext(stream)
