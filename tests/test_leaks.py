"""The leak detector finds what it is there for, on every loop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
import trio

from tests import clocks, leaks

anyio_backend = clocks.all_loops
Failed = pytest.fail.Exception


async def numbers() -> AsyncIterator[int]:
    for number in range(10):
        yield number


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_TRIES", 1)


@pytest.mark.anyio
async def test_a_clean_body_passes() -> None:
    async with leaks.LoopWatch():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0)
        assert [number async for number in numbers()] == list(range(10))
        left, right = socket.socketpair()
        left.close()
        right.close()


@pytest.mark.anyio
async def test_a_task_that_still_runs_is_found() -> None:
    async def lasting_task() -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        watch = leaks.LoopWatch()
        await watch.__aenter__()
        tasks.start_soon(lasting_task)
        with pytest.raises(Failed, match=r"task .*lasting_task"):
            await watch.__aexit__(None, None, None)
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_system_task_that_still_runs_is_found() -> None:
    scope = trio.CancelScope()

    async def lasting_task() -> None:
        with scope:
            await trio.sleep_forever()

    watch = leaks.LoopWatch()
    await watch.__aenter__()
    trio.lowlevel.spawn_system_task(lasting_task)
    with pytest.raises(Failed, match=r"task .*lasting_task"):
        await watch.__aexit__(None, None, None)
    scope.cancel()


@pytest.mark.anyio
@pytest.mark.may_leak("on purpose")
async def test_a_dropped_generator_is_found(anyio_backend: clocks.Backend) -> None:
    match anyio_backend:
        case "trio", _:
            with pytest.warns(ResourceWarning, match="numbers"):
                await anext(numbers())
        case _, {"loop_factory": _}:
            with pytest.raises(Failed, match="not closed: <async_generator object numbers"):
                async with leaks.LoopWatch():
                    await anext(numbers())
        case _:
            pytest.skip("uvloop's generators are not watched")


@pytest.mark.anyio
async def test_an_open_socket_is_found() -> None:
    sockets: tuple[socket.socket, ...] = ()
    with pytest.raises(Failed, match="file descriptor"):
        async with leaks.LoopWatch():
            sockets = socket.socketpair()
    for each in sockets:
        each.close()


@pytest.mark.anyio
async def test_idle_workers_of_the_libraries_are_no_leak() -> None:
    assert await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident()


def test_a_lasting_thread_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "join", lambda self, timeout=None: None)
    end = threading.Event()
    watch = leaks.ProcessWatch(files=False)
    thread = threading.Thread(target=end.wait, name="lasting", daemon=True)
    thread.start()
    with pytest.raises(Failed, match="thread lasting"):
        watch.check()
    end.set()
    monkeypatch.undo()
    thread.join()
    watch.check()


def test_an_open_file_outside_a_loop_is_found() -> None:
    watch = leaks.ProcessWatch(files=True)
    number = os.open(__file__, os.O_RDONLY)
    with pytest.raises(Failed, match=f"file descriptor {number}: "):
        watch.check()
    os.close(number)
    watch.check()


def test_a_stopped_loop_leaves_nothing() -> None:
    watch = leaks.ProcessWatch(files=True)
    asyncio.run(asyncio.sleep(0))
    anyio.run(anyio.sleep, 0, backend="trio")
    watch.check()
