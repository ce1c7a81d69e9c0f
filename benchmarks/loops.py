"""The event loops: what a benchmark needs of one, and nothing between it and the library that is measured.

Each loop's own task groups and time-outs are used; anyio's would be charged to all alike, and blur the ratios.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

__all__ = ("LOOPS", "Group", "Loop", "Step")

Step: TypeAlias = Callable[..., Coroutine[Any, Any, object]]


class Group(Protocol):
    """Tasks that are waited for where the group is left."""

    def start(self, step: Step, *args: object) -> None:
        """Start a task."""


class Loop(Protocol):
    """An event loop."""

    def run(self, main: Step) -> None:
        """Run until ``main`` ends."""

    def group(self) -> AbstractAsyncContextManager[Group]:
        """Open a group of tasks."""

    async def within(self, seconds: float, step: Step, *args: object) -> bool:
        """Call ``step``, and cancel it after so long; tell whether it had ended by then."""

    async def sleep(self, seconds: float) -> None:
        """Let others run."""

    def tasks(self) -> int:
        """How many tasks there are."""


class Asyncio:
    """asyncio, by itself or on uvloop."""

    def run(self, main: Step) -> None:
        """Run until ``main`` ends."""
        asyncio.run(main())

    def group(self) -> AsyncioGroup:
        """Open a task group."""
        return AsyncioGroup()

    async def within(self, seconds: float, step: Step, *args: object) -> bool:
        """Call it with a time-out."""
        try:
            async with asyncio.timeout(seconds) as scope:
                await step(*args)
        except TimeoutError:
            if not scope.expired():
                raise
        return not scope.expired()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def tasks(self) -> int:
        """Count them."""
        return len(asyncio.all_tasks())


class Uvloop(Asyncio):
    """asyncio on uvloop."""

    def run(self, main: Step) -> None:
        """Run until ``main`` ends."""
        import uvloop

        uvloop.run(main())


class AsyncioGroup:
    """``asyncio.TaskGroup``."""

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, traceback)

    def start(self, step: Step, *args: object) -> None:
        """Start a task."""
        self._tasks.create_task(step(*args))


class Trio:
    """trio."""

    def run(self, main: Step) -> None:
        """Run until ``main`` ends."""
        import trio

        trio.run(main)

    def group(self) -> TrioGroup:
        """Open a nursery."""
        return TrioGroup()

    async def within(self, seconds: float, step: Step, *args: object) -> bool:
        """Call it with a time-out."""
        import trio

        with trio.move_on_after(seconds) as scope:
            await step(*args)
        return not scope.cancelled_caught

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        import trio

        await trio.sleep(seconds)

    def tasks(self) -> int:
        """Count them."""
        import trio

        return trio.lowlevel.current_statistics().tasks_living


class TrioGroup:
    """A nursery."""

    async def __aenter__(self) -> Self:
        import trio

        self._opening: Any = trio.open_nursery()
        self._nursery = await self._opening.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._opening.__aexit__(*error)

    def start(self, step: Step, *args: object) -> None:
        """Start a task."""
        self._nursery.start_soon(step, *args)


LOOPS: dict[str, Callable[[], Loop]] = {"trio": Trio, "asyncio": Asyncio, "uvloop": Uvloop}
