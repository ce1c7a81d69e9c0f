"""What a transport tells about its steps, in httpcore's words, so that reports are alike whichever client ran."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

__all__ = ("Step", "Trace")

Trace: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[None]]


class Step:
    """Report that a step started, and that it was completed or failed.

    :param trace: who is told, or None
    :param name: the step, ``connection.connect_tcp`` say
    :ivar value: what the step gave
    """

    __slots__ = ("_begun", "_info", "_name", "_trace", "value")

    def __init__(self, trace: Trace | None, name: str, **info: Any) -> None:
        self._trace = trace
        self._name = name
        self._info = info
        self._begun = False
        self.value: Any = None

    async def begin(self) -> None:
        """Report the start, once."""
        if self._trace is not None and not self._begun:
            self._begun = True
            await self._trace(f"{self._name}.started", self._info)

    async def end(self, error: BaseException | None = None) -> None:
        """Report the end, once for each start."""
        if self._trace is None or not self._begun:
            return
        self._begun = False
        if error is None:
            await self._trace(f"{self._name}.complete", {"return_value": self.value})
        else:
            await self._trace(f"{self._name}.failed", {"exception": error})

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end(error)
