"""The event loops that tests run on: with the real clock, or in virtual time.

With the real clock, for sockets and threads, tests need nothing: ``tests/conftest.py`` runs them on asyncio and trio.
A module that is about time or order says at its top::

    from tests import clocks

    pytestmark = pytest.mark.anyio
    anyio_backend = clocks.virtual_backends  # or clocks.all_loops: the real clock on asyncio, uvloop and trio

In virtual time, the clock begins at 0 and stands still while a task can run; when all wait, it jumps to the next
deadline. So nothing takes time but what a test sleeps, and ``anyio.current_time()`` can be compared with ``==`` (use
halves and quarters of seconds, which add up exactly). It knows nothing of sockets and threads: do not wait for them.

``anyio.wait_all_tasks_blocked()`` sleeps 0.1 s on asyncio if a task is not blocked yet, and so moves virtual time
there; ``settle()`` does the same on both loops and moves nothing.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

import anyio
import pytest

__all__ = ("Backend", "VirtualLoop", "WatchedLoop", "all_loops", "real_backend", "settle", "virtual_backends")

Backend: TypeAlias = tuple[str, dict[str, Any]]

_DEADLOCK = 5.0  # real seconds that a virtual loop with no timer left waits for a thread before it calls it a deadlock


class WatchedLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, which notes the async generators left to the garbage collector; trio warns of them by itself."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(selector)
        self.dropped: list[str] = []

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        self.dropped.append(repr(agen))
        super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]  # asyncio's own hook, private and so untyped


class VirtualLoop(WatchedLoop):
    """asyncio's loop with a clock that jumps."""

    def __init__(self) -> None:
        self._now = 0.0
        self._settling: list[asyncio.Future[None]] = []
        super().__init__(_IdleSelector(self))

    def time(self) -> float:
        """Give the virtual time in seconds."""
        return self._now

    def settled(self) -> asyncio.Future[None]:
        """Give a future that is done as soon as no task can run."""
        future: asyncio.Future[None] = self.create_future()
        self._settling.append(future)
        return future

    def idle(self, seconds: float | None) -> bool:
        """Do what is due when no task can run; false if nothing is.

        :param seconds: until the next timer; None where there is none
        """
        if self._settling:
            settling, self._settling = self._settling, []
            for future in settling:
                if not future.done():
                    future.set_result(None)
        elif seconds is not None:
            self._now += seconds
        else:
            return False
        return True


class _IdleSelector(selectors.DefaultSelector):
    """Where a loop waits once it has nothing to run, and so where virtual time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0 or self._loop.idle(timeout):
            return events
        events = super().select(_DEADLOCK)
        if not events:
            raise RuntimeError("a deadlock: every task waits, and there is no deadline to jump to")
        return events


async def settle() -> None:
    """Let all other tasks run until each of them waits for something; virtual time stands still."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # trio, whose own function does not move a MockClock
        await anyio.wait_all_tasks_blocked()
        return
    if isinstance(loop, VirtualLoop):
        await loop.settled()
    else:
        await anyio.wait_all_tasks_blocked()


def real_backend(name: str) -> Backend:
    """Give the options of anyio's plugin for a loop with the real clock: asyncio, uvloop or trio."""
    if name == "uvloop":
        pytest.importorskip("uvloop")
        return "asyncio", {"use_uvloop": True}
    return name, {"loop_factory": WatchedLoop} if name == "asyncio" else {}


@pytest.fixture(params=["asyncio", "trio"])
def virtual_backends(request: pytest.FixtureRequest) -> Backend:
    """Run on asyncio and trio in virtual time; every test begins at 0."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    from trio.testing import MockClock

    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture(scope="module", params=["asyncio", "uvloop", "trio"])
def all_loops(request: pytest.FixtureRequest) -> Backend:
    """Run on all three loops with the real clock."""
    return real_backend(request.param)
