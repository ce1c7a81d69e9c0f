"""A task group that adds nothing to what its body raises."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import anyio

from g4ftrio._loops import in_trio

__all__ = ("Tasks",)


class Tasks:
    """A task group for tasks that keep their errors to themselves.

    What the body raises leaves it as it is, not in an exception group; the group is then ended without knowing of it,
    so whoever owns the tasks must stop them. What a task lets out all the same, ``KeyboardInterrupt`` say, leaves bare.
    """

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                return bool(await self._group.__aexit__(kind, error, traceback))
            await self._group.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise _bare(group) from None
        return False

    def start_soon(self, function: Any, *arguments: Any, name: str) -> None:
        """Start a task of that name. On trio, a Ctrl-C is raised in the main task, and not in the midst of this one."""
        if in_trio():
            from trio.lowlevel import enable_ki_protection

            enable_ki_protection(function)  # else it may come as a scope is left, which then stays open
        self._group.start_soon(function, *arguments, name=name)


def _bare(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first exception in a group that is not a cancellation, or the first of all."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [group]
    while stack:
        error = stack.pop()
        if isinstance(error, BaseExceptionGroup):
            stack += reversed(error.exceptions)
        else:
            leaves.append(error)
    cancelled = anyio.get_cancelled_exc_class()
    return next((leaf for leaf in leaves if not isinstance(leaf, cancelled)), leaves[0])
