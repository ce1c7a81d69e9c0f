"""Virtual time, on both loops alike."""

from __future__ import annotations

import asyncio
import time

import anyio
import anyio.lowlevel
import pytest

from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


async def test_time_begins_at_zero_and_stands_still_while_tasks_run() -> None:
    assert anyio.current_time() == 0
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert anyio.current_time() == 0


async def test_a_sleep_takes_exactly_its_time() -> None:
    await anyio.sleep(0.75)
    assert anyio.current_time() == 0.75
    await anyio.sleep(1000)
    assert anyio.current_time() == 1000.75


async def test_a_thousand_virtual_seconds_need_no_real_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s in earnest")

    monkeypatch.setattr(time, "sleep", refuse)
    for _ in range(1000):
        await anyio.sleep(1)
    assert anyio.current_time() == 1000


async def test_tasks_wake_in_the_order_of_their_deadlines() -> None:
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((anyio.current_time(), name))

    async with anyio.create_task_group() as tasks:
        for name, seconds in [("last", 86_400.0), ("second", 0.5), ("first", 0.25)]:
            tasks.start_soon(sleeper, name, seconds)
    assert woken == [(0.25, "first"), (0.5, "second"), (86_400, "last")]


async def test_move_on_after_ends_at_its_deadline() -> None:
    with anyio.move_on_after(1.5) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() == 1.5


async def test_fail_after_raises_at_its_deadline_and_not_before() -> None:
    with anyio.fail_after(2):
        await anyio.sleep(1.75)
    with pytest.raises(TimeoutError), anyio.fail_after(2):
        await anyio.sleep(2.25)
    assert anyio.current_time() == 3.75


async def test_an_event_wakes_its_waiter_at_the_time_it_is_set() -> None:
    event = anyio.Event()
    seen: list[float] = []

    async def waiter() -> None:
        await event.wait()
        seen.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiter)
        await anyio.sleep(3)
        event.set()
    assert seen == [3]


async def test_a_cancelled_task_ends_at_the_time_of_the_cancellation() -> None:
    ended: list[float] = []

    async def forever() -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(forever)
        await anyio.sleep(0.5)
        tasks.cancel_scope.cancel()
    assert ended == [0.5]
    assert anyio.current_time() == 0.5


async def test_settle_runs_all_tasks_until_they_wait_and_moves_no_time() -> None:
    steps: list[int] = []

    async def stepper() -> None:
        for step in range(50):
            await anyio.lowlevel.checkpoint()
            steps.append(step)
        await anyio.sleep(1)
        steps.append(50)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stepper)
        await clocks.settle()
        assert steps == list(range(50))
        assert anyio.current_time() == 0
    assert steps == list(range(51))
    assert anyio.current_time() == 1


async def test_two_tasks_can_settle_at_once() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clocks.settle)
        tasks.start_soon(clocks.settle)
    assert anyio.current_time() == 0


async def test_settle_can_be_cancelled() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await clocks.settle()
    assert scope.cancelled_caught
    await clocks.settle()
    assert anyio.current_time() == 0


def test_a_deadlock_on_asyncio_is_an_error_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_DEADLOCK", 0.0)
    with pytest.raises(RuntimeError, match="a deadlock"), asyncio.Runner(loop_factory=clocks.VirtualLoop) as runner:
        runner.run(asyncio.Event().wait())


async def test_a_module_names_its_loops_in_one_line(anyio_backend: clocks.Backend) -> None:
    name, options = anyio_backend
    assert (name, set(options)) in [("asyncio", {"loop_factory"}), ("trio", {"clock"})]


@pytest.mark.may_leak("libuv opens a pipe for signals once and keeps it")
@pytest.mark.parametrize(("name", "expected"), [("asyncio", "WatchedLoop"), ("uvloop", "Loop")])
def test_the_real_backends_are_the_loops_that_they_name(name: str, expected: str) -> None:
    async def loop_name() -> str:
        return type(asyncio.get_running_loop()).__name__

    library, options = clocks.real_backend(name)
    assert library == "asyncio"
    assert anyio.run(loop_name, backend=library, backend_options=options) == expected
