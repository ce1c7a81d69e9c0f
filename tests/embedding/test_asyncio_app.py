"""Inside an asyncio app with other tasks: whatever ends a request, the others go on, and its connections are closed.

It is ended by ``Task.cancel``, a sibling in a ``TaskGroup``, ``asyncio.timeout``, ``wait_for``, and not ended where
``shield`` keeps it, before there is a winner, while it is read and between two reads; on asyncio and uvloop, in
asyncio's debug mode, with eager tasks where there are some, over sockets.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from g4ftrio import Race, race
from g4ftrio.simulator import Fleet, serve
from tests import clocks
from tests.embedding.services import SERVICES, TEXT, asked, entrants, gone, whole

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> clocks.Backend:
    return clocks.real_backend(request.param)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with serve(SERVICES) as fleet:
        yield fleet


class Request:
    """A request of the app's, in whatever task it runs: a race between ``stuck``, or who is named, and ``never``."""

    def __init__(self, fleet: Fleet, moment: str) -> None:
        self._first = "never" if moment == "before the winner" else "stuck"
        self._entrants = entrants(fleet, self._first, "never")
        self._moment = moment
        self._reads = asyncio.Event()
        self._fleet = fleet
        self.ended_by: BaseException | None = None

    async def run(self) -> None:
        """Get to the moment, and stay there."""
        try:
            async with race(self._entrants, "Why?") as stream:
                async for _ in stream:
                    self._reads.set()
                    if self._moment == "between two reads":
                        await asyncio.sleep(3600)
        except BaseException as error:
            self.ended_by = error
            raise

    async def is_there(self) -> None:
        """Wait for the moment."""
        await asked(self._fleet, self._first)
        if self._moment != "before the winner":
            await self._reads.wait()
            await asyncio.sleep(0)


MOMENTS = ("before the winner", "during a read", "between two reads")
at_every_moment = pytest.mark.parametrize("moment", MOMENTS)


async def race_again(fleet: Fleet) -> None:
    """The task is as it was: nothing of a cancellation is left in it."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert (await Race(entrants(fleet, "quick", "never")).complete("Why?")).text == TEXT


@at_every_moment
async def test_a_cancelled_request_does_not_disturb_the_others(fleet: Fleet, moment: str) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def other() -> str:
        return (await Race(entrants(fleet, "quick", "never")).complete("Why?")).text

    ticking = asyncio.create_task(tick())
    request = Request(fleet, moment)
    ending = asyncio.create_task(request.run())
    others = [asyncio.create_task(other()) for _ in range(4)]
    await request.is_there()
    ending.cancel("its browser went away")
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert ending.cancelled()
    assert await asyncio.gather(*others) == [TEXT] * 4
    before = ticks
    await asyncio.sleep(0.02)
    assert ticks > before
    assert not ticking.done()
    ticking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ticking
    await race_again(fleet)
    assert await whole(fleet, "quick", 5)


@at_every_moment
async def test_cancelled_twice_it_ends_once(fleet: Fleet, moment: str) -> None:
    request = Request(fleet, moment)
    task = asyncio.create_task(request.run())
    await request.is_there()
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(request.ended_by, asyncio.CancelledError)
    assert await gone(fleet)


@at_every_moment
async def test_a_sibling_that_fails_is_the_only_error_of_the_group(fleet: Fleet, moment: str) -> None:
    request = Request(fleet, moment)

    async def fail() -> None:
        await request.is_there()
        raise KeyError("elsewhere")

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            tasks.create_task(fail())

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="elsewhere")):
        await asyncio.create_task(group())  # before Python 3.13, a group leaves a mark on the task that it is in
    assert isinstance(request.ended_by, asyncio.CancelledError)
    assert await gone(fleet)


async def in_a_timeout(request: Request) -> None:
    async with asyncio.timeout(None) as limit:
        reached = asyncio.create_task(_then(request, lambda: limit.reschedule(0)))
        try:
            await request.run()
        finally:
            await reached


async def waited_for(request: Request) -> None:
    await asyncio.wait_for(request.run(), 0.1)


async def _then(request: Request, act: Callable[[], None]) -> None:
    await request.is_there()
    act()


@at_every_moment
@pytest.mark.parametrize("limit", [in_a_timeout, waited_for])
async def test_a_time_limit_of_asyncio_s_ends_it_as_a_timeout_error(fleet: Fleet, moment: str, limit: Any) -> None:
    request = Request(fleet, moment)
    with pytest.raises(TimeoutError) as caught:
        await limit(request)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)  # so it is asyncio's
    assert isinstance(request.ended_by, asyncio.CancelledError)
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())
    await race_again(fleet)


async def test_in_debug_mode_nothing_is_done_from_a_thread_that_may_not(fleet: Fleet) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        await race_again(fleet)
    finally:
        loop.set_debug(False)


async def read_within(seconds: float, stream: Any) -> None:
    async with asyncio.timeout(seconds):
        while True:
            await anext(stream)


async def test_a_time_limit_inside_the_body_ends_a_read_and_the_race_goes_on(fleet: Fleet) -> None:
    async with race(entrants(fleet, "slow", "never"), "Why?") as stream:
        assert await anext(stream) == "on"
        for _ in range(8):
            with pytest.raises(TimeoutError):
                await read_within(0.001, stream)
        assert str(await anext(stream)).strip() in {"on", "and"}
    assert await gone(fleet)


async def test_what_is_shielded_goes_on_to_its_end(fleet: Fleet) -> None:
    inner = asyncio.create_task(Race(entrants(fleet, "slow", "never")).complete("Why?", timeout=60))
    outer = asyncio.create_task(_shielded(inner))
    await asked(fleet, "slow")
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert not inner.done()
    assert fleet["slow"].in_flight == 1
    inner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inner
    kept = asyncio.create_task(Race(entrants(fleet, "quick", "never")).complete("Why?"))
    waiting = asyncio.create_task(_shielded(kept))
    await asyncio.sleep(0)
    waiting.cancel()
    assert (await kept).text == TEXT
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await whole(fleet, "quick", 1)


async def _shielded(inner: asyncio.Task[Any]) -> Any:
    return await asyncio.shield(inner)


async def test_races_are_gathered_and_the_error_of_one_is_its_own(fleet: Fleet) -> None:
    llm = Race(entrants(fleet, "quick", "never"))
    bad = Race(entrants(fleet, "error"))
    first, failed, last = await asyncio.gather(
        llm.complete("Why?"), bad.complete("Why?"), llm.complete("Why?"), return_exceptions=True
    )
    assert str(first) == str(last) == TEXT
    assert type(failed).__name__ == "AllFailed"
    await fleet.quiet()


async def test_a_generator_made_before_the_loop_ran_is_read_in_it(fleet: Fleet) -> None:
    (provider,) = entrants(fleet, "quick")
    chunks = await anyio.to_thread.run_sync(provider.create_async_generator, "quick", "Why?")
    assert "".join([str(chunk) async for chunk in chunks]) == TEXT
    assert await whole(fleet, "quick", 1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks from Python 3.12 on")
@at_every_moment
async def test_with_eager_tasks(fleet: Fleet, moment: str) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("uvloop 0.23 passes a factory what Python 3.13's does not take")
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  # 3.11 has none
    try:
        request = Request(fleet, moment)
        task = asyncio.create_task(request.run())
        await request.is_there()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await race_again(fleet)
    finally:
        loop.set_task_factory(None)
    assert await whole(fleet, "quick", 1)
