"""Async generators that close what they opened.

A provider's generator that reads another provider's, ``super()``'s say, by a plain ``async for`` does not close it when
it is closed itself: the inner stream is dropped, with its connection. Here the inner stream tells the generator in
which it is opened, and that closes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextvars import ContextVar
from threading import get_ident
from typing import Generic, Protocol, TypeVar
from warnings import warn

__all__ = ("Generated", "look_after")

T = TypeVar("T")


class Closable(Protocol):
    """A stream that may be open."""

    async def aclose(self) -> None: ...

    def close_now(self) -> None: ...


_inside: ContextVar[tuple[int, list[Closable]] | None] = ContextVar("streams opened inside a generator", default=None)


def look_after(stream: Closable) -> bool:
    """Have the generator that runs here close a stream that was just opened; false where none does."""
    inside = _inside.get()
    if inside is None or inside[0] != get_ident():  # the context of another loop's thread may be a copy of this one's
        return False
    inside[1].append(stream)
    return True


class Generated(Generic[T]):
    """An async generator, read as it is, that closes with it what it has opened."""

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator
        self._opened: list[Closable] = []

    def __aiter__(self) -> Generated[T]:
        return self

    async def __anext__(self) -> T:
        outer = _inside.set((get_ident(), self._opened))
        try:
            return await self._generator.__anext__()
        except StopAsyncIteration:
            await self._close_opened()
            raise
        except BaseException:
            self._close_now()
            raise
        finally:
            _inside.reset(outer)

    async def aclose(self) -> None:
        """Close the generator, and what it has opened."""
        try:
            await self._generator.aclose()
        finally:
            await self._close_opened()

    def __del__(self) -> None:
        if self._opened:
            self._close_now()
            warn("a provider's generator was dropped unread: use contextlib.aclosing()", ResourceWarning, 2, self)

    async def _close_opened(self) -> None:
        while self._opened:
            await self._opened.pop().aclose()

    def _close_now(self) -> None:
        while self._opened:
            self._opened.pop().close_now()
