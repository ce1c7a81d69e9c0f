"""Leak detection: what a test began must be gone when it ends.

``tests/conftest.py`` applies it to every test. After each, these are compared with what there was before:

- tasks: asyncio's of the running loop, or trio's of the whole tree;
- async generators that were dropped without being closed: trio warns of them and warnings are errors, on asyncio
  ``clocks.WatchedLoop`` notes them (on uvloop nobody does);
- open file descriptors, sockets among them, where the system lists them;
- threads; the idle workers that asyncio, anyio and trio keep for later are not counted.

``@pytest.mark.may_leak("why")`` leaves a test out.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import pytest

from tests.clocks import VirtualLoop, WatchedLoop, settle

__all__ = ("LoopWatch", "ProcessWatch", "open_files")

_OPEN_FILES = Path("/dev/fd")
_POOLS = ("AnyIO worker thread", "Trio thread ", "asyncio_")  # names of workers that wait for the next job
_TRIES = 50  # waits of 10 ms for what is being closed on the other side, a connection in a server of the module say


def open_files() -> dict[int, str]:
    """Give the open file descriptors and what they are; nothing where the system does not say.

    The null device is left out: libuv keeps one in reserve for each loop that listens.
    """
    files = {}
    for number in map(int, os.listdir(_OPEN_FILES) if _OPEN_FILES.exists() else ()):  # noqa: PTH208  # one call, no stat
        try:
            files[number] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115  # a Path a descriptor is too slow
        except FileNotFoundError:  # the listing's own
            continue
        except OSError:  # there are descriptors, but no /proc
            files[number] = "open"
    return {number: what for number, what in files.items() if what != os.devnull}


def _tasks() -> set[Any]:
    try:
        return {task for task in asyncio.all_tasks() if not _is_anyios(task)}
    except RuntimeError:  # no running asyncio loop, so this is trio
        return set(_trio_tasks())


def _is_anyios(task: asyncio.Task[Any]) -> bool:
    """Tell whether this is a task of anyio's pytest plugin, which begins one for each call into the loop."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


def _trio_tasks() -> Iterator[object]:
    import trio

    root = trio.lowlevel.current_root_task()
    found = [] if root is None else [root]
    while found:
        task = found.pop()
        yield task
        found += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _is_pooled(thread: threading.Thread) -> bool:
    return thread.name.startswith(_POOLS)


class LoopWatch:
    """What must be left clean inside the loop: tasks, generators, descriptors."""

    async def __aenter__(self) -> None:
        self._tasks = _tasks()
        self._files = open_files()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.collect()
        left = await self._settled()
        if left:
            pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)

    async def _settled(self) -> list[str]:
        await settle()
        left = self._left()
        if not _is_virtual():
            for _ in range(_TRIES):
                if not left:
                    break
                await anyio.sleep(0.01)
                left = self._left()
        return left

    def _left(self) -> list[str]:
        tasks = [f"  task {getattr(task, 'name', task)}" for task in _tasks() - self._tasks]
        generators = [f"  not closed: {generator}" for generator in _dropped()]
        return tasks + generators + _new_files(self._files)


class ProcessWatch:
    """What must be left clean in the process: threads and, outside a loop, descriptors."""

    def __init__(self, *, files: bool) -> None:
        self._threads = set(threading.enumerate())
        self._files = open_files() if files else None

    def check(self) -> None:
        """Fail if anything is left."""
        left = [f"  thread {thread.name}" for thread in self._new_threads()]
        if self._files is not None and _new_files(self._files):
            gc.collect()  # what hangs in a circle is closed late, and warns by itself
            left += _new_files(self._files)
        if left:
            pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)

    def _new_threads(self) -> list[threading.Thread]:
        new = [thread for thread in threading.enumerate() if thread not in self._threads and not _is_pooled(thread)]
        for thread in new:
            thread.join(1.0)  # one that is on its way out is no leak
        return [thread for thread in new if thread.is_alive() and not _is_pooled(thread)]


def _is_virtual() -> bool:
    try:
        return isinstance(asyncio.get_running_loop(), VirtualLoop)
    except RuntimeError:
        import trio

        clock: object = trio.lowlevel.current_clock()
        return isinstance(clock, trio.testing.MockClock)


def _dropped() -> list[str]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return []
    return loop.dropped if isinstance(loop, WatchedLoop) else []


def _new_files(before: dict[int, str]) -> list[str]:
    """Name the new descriptors if there are more than before; one that took another's place is none."""
    now = open_files()
    if len(now) <= len(before):
        return []
    return [f"  file descriptor {number}: {what}" for number, what in now.items() if before.get(number) != what]
