"""What can be raced, and how it is read: a source gives lists of items, an ``ItemStream`` gives them one by one.

The seam between all layers is ``pull() -> list``: whatever one network read brought travels as one list, through
filters, races and compositions, and only the object that the consumer iterates takes it apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from g4ftrio._loops import cancellation

__all__ = ("Detachable", "ItemStream", "IteratorResource", "IteratorSource", "Source", "use_async_with")

T = TypeVar("T")


class Source(Protocol[T]):
    """Where items come from. Whoever opened it closes it."""

    async def pull(self) -> list[T]:
        """Give what the next read brings; an empty list is the end."""

    async def aclose(self) -> None:
        """Close it; may be called more than once."""


class Detachable(Protocol):
    """A source that can outlive the task that opened it, because no scope of that task is open in it."""

    def detach(self) -> None:
        """Leave it open when its context ends; from here on ``aclose`` from any task closes it."""


class IteratorSource(Generic[T]):
    """Any async iterator as a source, an item a pull.

    A generator does not survive a cancelled read: the next read would say that it has ended, and an answer that was cut
    would look whole. So a cancelled read marks the source broken.
    """

    def __init__(self, iterator: AsyncIterator[T]) -> None:
        self.next_item = iterator.__anext__
        self.broken = False
        self._aclose = getattr(iterator, "aclose", None)

    async def pull(self) -> list[T]:
        """Give one item.

        :raises anyio.BrokenResourceError: an earlier read was cancelled
        """
        if self.broken:
            raise anyio.BrokenResourceError("a read of this stream was cancelled, so the rest of it is lost")
        try:
            return [await self.next_item()]
        except StopAsyncIteration:
            return []
        except anyio.get_cancelled_exc_class():
            self.broken = True
            raise

    async def aclose(self) -> None:
        """Close the iterator where it can be closed."""
        if self._aclose is None:
            return
        try:
            await self._aclose()
        except BaseExceptionGroup as group:
            # A generator with a nursery open at ``yield`` lets out, in a group, the GeneratorExit that closes it.
            rest = group.split(GeneratorExit)[1]
            if rest is not None:
                raise rest from None


class IteratorResource(Generic[T]):
    """A context manager that gives an async iterator, as one that gives a source.

    Closing the resource under a generator does not close the generator, so that is closed first.
    """

    def __init__(self, context: AbstractAsyncContextManager[AsyncIterator[T]]) -> None:
        self._context = context
        self._source: IteratorSource[T] | None = None

    async def __aenter__(self) -> Source[T]:
        opened = await self._context.__aenter__()
        try:
            self._source = IteratorSource(aiter(opened))
        except TypeError as error:
            await self._context.__aexit__(TypeError, error, error.__traceback__)
            raise
        return self._source

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            if self._source is not None:
                await self._source.aclose()
        except BaseException as closing:
            await self._context.__aexit__(type(closing), closing, closing.__traceback__)
            raise
        return await self._context.__aexit__(kind, error, traceback)


def use_async_with(what: str) -> TypeError:
    """The error for iterating what must be entered first.

    A plain ``async for`` over a race would leave its scopes open whenever the loop is left early (PEP 789).
    """
    return TypeError(f"enter it first: `async with {what} as stream:`, then `async for chunk in stream:`")


class ItemStream(Generic[T]):
    """A source, read item by item: ``async for``, ``receive()``, ``aclose()``, ``async with``.

    It may be read from any task of its event loop, by one reader at a time. It has the shape of anyio's
    ``ObjectReceiveStream``.

    :param source: where the items come from
    :param first: items that were read already
    :param release: called once when no more is wanted of the source; without it ``aclose`` closes the source itself
    """

    def __init__(
        self, source: Source[T], first: list[T] | None = None, release: Callable[[], None] | None = None
    ) -> None:
        self._source = source
        self._release = release
        self._cancelled = cancellation()
        self._reading = False
        self._closed = False
        self._ended = False
        self._is_let_go = False
        self._error: Exception | None = None
        self._items = first[::-1] if first else []  # the last is the next

    def __aiter__(self) -> ItemStream[T]:
        return self

    async def __anext__(self) -> T:
        # The items of one read are given out without giving way; a cancellation is still noticed at each.
        if self._cancelled():
            await checkpoint_if_cancelled()
        if self._items:
            return self._items.pop()
        batch = await self._read()
        if not batch:
            raise StopAsyncIteration
        if len(batch) > 1:
            self._items = batch[:0:-1]
        return batch[0]

    async def receive(self) -> T:
        """Give the next item.

        :raises anyio.EndOfStream: there is none
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def pull(self) -> list[T]:
        """Give all that is there already, or what the next read brings; an empty list is the end."""
        batch, self._items = self._items[::-1], []
        return batch or await self._read()

    async def aclose(self) -> None:
        """Say that no more is wanted, and close what is behind it; may be called more than once."""
        self._closed = True
        self._items = []
        if not self._is_let_go:
            await self._let_go()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _read(self) -> list[T]:
        if self._closed:
            raise anyio.ClosedResourceError("this stream was closed")
        if self._ended:
            if self._error is not None:
                raise self._error
            return []
        if self._reading:
            raise anyio.BusyResourceError("reading from")
        self._reading = True
        try:
            batch = await self._source.pull()
        except Exception as error:
            await self._end(error)
            raise
        finally:
            self._reading = False
        if batch:
            self._took(batch)
        else:
            await self._end()
        return batch

    async def _end(self, error: Exception | None = None) -> None:
        self._ended, self._error = True, error
        if error is not None:
            self._failed(error)
        await self._let_go()

    async def _let_go(self) -> None:
        if self._release is not None:
            self._release()
        else:
            await self._source.aclose()
        self._is_let_go = True  # what was cancelled before this is done again

    def _took(self, batch: list[T]) -> None:
        """For subclasses: these items are about to be given out."""

    def _failed(self, error: Exception) -> None:
        """For subclasses: reading ended with this error."""
