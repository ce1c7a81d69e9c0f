"""Under trio's guest mode: trio and its asyncio host run by turns in one thread, and a race in each knows where it is.

``trio.lowlevel.in_trio_run()`` is true in the host's tasks as well while a guest lives, so nothing may go by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import trio

from g4ftrio import EventLoopRunningError, Race, open_http_client, race, race_sync
from g4ftrio._loops import in_trio, running
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import ThreadFleet, run_in_thread
from g4ftrio.testing import Scripted
from tests.embedding.services import SERVICES, TEXT, entrants

T = TypeVar("T")


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def host(request: pytest.FixtureRequest) -> Callable[[Awaitable[T]], T]:
    """How the host's loop is run."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    def run(main: Any) -> Any:
        factory = sys.modules["uvloop"].new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    run(asyncio.sleep(0))  # libuv's first loop opens a pipe for the process
    return run


@pytest.fixture
def fleet() -> Iterator[ThreadFleet]:
    with run_in_thread(SERVICES) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def guest(function: Callable[..., Awaitable[T]], *arguments: Any) -> AsyncIterator[asyncio.Future[T]]:
    """Run it on trio, as a guest of this asyncio loop, for as long as the body lasts or longer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    trio.lowlevel.start_guest_run(
        function,
        *arguments,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=done.set_result,
        host_uses_signal_set_wakeup_fd=True,  # asyncio and uvloop do
    )
    result: asyncio.Future[T] = asyncio.ensure_future(_unwrapped(done))
    try:
        yield result
    finally:
        await asyncio.wait([result])


async def _unwrapped(done: asyncio.Future[Any]) -> Any:
    return (await done).unwrap()


async def through_every_door(fleet: ThreadFleet) -> list[str]:
    """Race by every door, and by a generator that belongs to its task."""
    asked = entrants(fleet, "quick", "never")
    async with race(asked, "Why?") as stream:
        texts = [(await stream.collect()).text]
    async with await race(asked, "Why?").settle() as stream:
        texts.append((await stream.collect()).text)
    chunks: Any = Race(asked).create_async_generator("", "Why?")
    texts.append("".join([str(chunk) async for chunk in chunks]))
    async with race([Scripted(TEXT, delay=0.01), Scripted("late", delay=60)], "Why?") as stream:
        texts.append((await stream.collect()).text)
    return texts


def test_both_race_at_once_and_each_on_its_own_loop(fleet: ThreadFleet, host: Any) -> None:
    async def main() -> tuple[list[str], list[str]]:
        async with guest(through_every_door, fleet) as of_the_guest:
            await asyncio.sleep(0)
            assert not in_trio()
            of_the_host = await through_every_door(fleet)
        return of_the_host, await of_the_guest

    assert host(main()) == ([TEXT] * 4, [TEXT] * 4)
    fleet.quiet()


def test_the_host_is_known_while_a_guest_sleeps(host: Any) -> None:
    seen: dict[str, tuple[bool, bool]] = {}

    async def sleeper() -> None:
        seen["guest"] = in_trio(), running()
        await trio.sleep(0.05)

    async def main() -> None:
        async with guest(sleeper):
            await asyncio.sleep(0.01)
            seen["host"] = in_trio(), running()
            with pytest.raises(EventLoopRunningError):
                race_sync([Scripted("a")], "Why?")
        seen["after"] = in_trio(), running()

    host(main())
    assert seen == {"guest": (True, True), "host": (False, True), "after": (False, True)}
    assert not running()


def test_a_race_of_the_guest_is_cancelled_by_the_host_and_the_other_way_round(fleet: ThreadFleet, host: Any) -> None:
    async def wait_in_trio(scope: trio.CancelScope, name: str) -> bool:
        with scope:
            async with race(entrants(fleet, name, "never"), "Why?") as stream:
                await stream.collect()
        return scope.cancelled_caught

    async def wait_in_asyncio(name: str) -> None:
        async with race(entrants(fleet, name, "never"), "Why?") as stream:
            await stream.collect()

    async def cancel(task: asyncio.Task[None]) -> None:
        await trio.sleep(0.05)
        task.cancel()

    async def main() -> None:
        for name in ("never", "stuck"):
            scope = trio.CancelScope()
            async with guest(wait_in_trio, scope, name) as waiting:
                await asyncio.sleep(0.05)
                scope.cancel()
                assert await waiting
            task = asyncio.create_task(wait_in_asyncio(name))
            async with guest(cancel, task):
                with pytest.raises(asyncio.CancelledError):
                    await task

    host(main())
    fleet.quiet()
    assert {exchange.outcome for running in fleet.values() for exchange in running.log} <= {"client_gone"}
    assert not any(running.connections for running in fleet.values())


def test_a_stream_of_the_guest_that_the_host_drops_is_closed(fleet: ThreadFleet, host: Any) -> None:
    held: list[Any] = []

    async def settle() -> None:
        held.append(await race(entrants(fleet, "slow", "never"), "Why?").settle())
        assert await anext(held[0]) == "on"
        await trio.sleep(0.1)

    async def main() -> None:
        async with guest(settle):
            while not held:  # noqa: ASYNC110  # it comes from another loop
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            held[0].close_now()
            held[0] = await race(entrants(fleet, "slow", "never"), "Why?").settle()
            with pytest.warns(ResourceWarning, match="was dropped unread"):
                held.clear()

    host(main())
    fleet.quiet()
    assert {exchange.outcome for exchange in fleet["slow"].log} == {"client_gone"}


def test_a_client_that_both_use_keeps_to_each_its_own_connections(fleet: ThreadFleet, host: Any) -> None:
    async def ask(llm: Race) -> list[bool]:
        reports = [(await llm.complete("Why?")).report for _ in range(2)]
        return [report is not None and report.entrants[0].connected_at is not None for report in reports]

    async def main() -> None:
        client = open_http_client()
        llm = Race([OpenAICompatible(model="quick", api_base=fleet["quick"].api_base, http_client=client)])
        assert await ask(llm) == [True, False]
        async with guest(ask, llm) as of_the_guest:
            assert await of_the_guest == [True, False]
            assert await ask(llm) == [True, False]
        await client.aclose()

    host(main())
    fleet.quiet()
    assert not any(running.connections for running in fleet.values())
