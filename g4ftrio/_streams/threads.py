"""The answer of a synchronous provider: a thread reads its iterator, and the event loop is never blocked.

How it works. One thread opens the iterator, advances it and closes it, for what it holds (a database connection, a
session) may be bound to a thread. The chunks lie in a slot, which each read empties as a whole; when ``bound`` of them
are there, the thread parks. Either side first changes what it has to change and then looks at the other's: the thread
appends and then looks for whom to wake, a reader asks to be woken and then looks at the slot again. So no wake-up is
lost, and one is posted only to who waits. Nothing here holds a lock: the garbage collector can close an answer between
any two lines of either side.

Nothing can interrupt a thread. Told to stop, it closes the iterator at its next step. Who closes the answer waits for
that not at all if a read has waited in vain (it was cancelled or timed out), ``_STEP`` seconds if the thread is inside
the iterator's own code, and ``grace`` seconds if it is parked or closing. Then the thread is left to end by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from anyio import ClosedResourceError, Event, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint

from g4ftrio._loops import from_any_thread, loopless_context
from g4ftrio._race.source import Source
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import SetupError
from g4ftrio.transports import http

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    import httpx

__all__ = ("ThreadAnswer",)

_STEP = 0.05  # seconds; an iterator that takes longer for one step waits for somebody else


class ThreadAnswer:
    """An answer from an iterator of synchronous code, which one thread opens, reads and closes.

    No scope is open between its reads, so any task of the loop that opened it may read and close it.

    :param open_iterator: called in the thread, where the opener's context variables are seen
    :param executor: a thread pool to run in; else a daemon thread of its own
    :param bound: chunks that the thread may be ahead
    :param grace: seconds that the iterator has to close itself
    """

    def __init__(
        self,
        open_iterator: Callable[[], Iterable[Chunk]],
        name: str,
        *,
        executor: Executor | None = None,
        bound: int = 64,
        grace: float = 1.0,
    ) -> None:
        self._work = _Work(open_iterator, name, bound)
        self._executor = executor
        self._grace = grace
        self._changed: Event | None = None
        self._asking = self._closed = self._detached = False
        self._own: list[httpx.AsyncClient] = []

    def __del__(self) -> None:
        # Where it was dropped. No weakref.finalize: that would hold an error that was raised here, and by its traceback
        # this answer, for ever.
        self._work.stop()

    async def __aenter__(self) -> Source[Chunk]:
        if self._changed is not None:
            raise RuntimeError("this answer was opened before: make another")
        self._work.post = from_any_thread()
        self._work.start(self._executor, loopless_context())
        self._changed = self._watch()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not self._detached:
            await self._close()
            if error is None:
                self._raise(self._work.closing_error)

    async def pull(self) -> list[Chunk]:
        """Give the chunks that are there, or wait for one; an empty list is the end. Cancelled, it may be repeated.

        :raises Exception: what the iterator raised, when all that came before it was given
        """
        if self._work.has_news():
            await checkpoint()  # a thread that is always ahead must not keep other tasks from running
        self._asking = True
        await self._until(self._work.has_news)
        self._asking = False
        if self._work.stopped:
            raise ClosedResourceError("this answer was closed")
        batch = self._work.take()
        if not batch:
            self._raise(self._work.error)
        return batch

    async def aclose(self) -> None:
        """Tell the thread to stop, and wait for it where that cannot be long; from any task."""
        await self._close()
        if self._detached:
            self._raise(self._work.closing_error)

    def close_now(self) -> None:
        """Tell the thread to stop, without awaiting anything; from any thread."""
        self._work.stop()
        for client in self._own:
            self._work.post(partial(http.close_now, client))

    def detach(self) -> None:
        """Outlive the context: from here on ``aclose`` closes it."""
        self._detached = True

    def adopt(self, client: httpx.AsyncClient) -> None:
        """Close this client too, when this is closed."""
        self._own.append(client)

    async def _close(self) -> None:
        in_vain = self._asking and not self._work.has_news()
        self._work.stop()
        try:
            if self._changed is not None and not self._closed and not in_vain:
                await self._end_within(min(_STEP, self._grace))
                if not self._work.inside:
                    await self._end_within(self._grace - _STEP)
        finally:
            self._closed = True
            while self._own:
                await self._own.pop().aclose()

    async def _end_within(self, seconds: float) -> None:
        with move_on_after(seconds, shield=True):
            await self._until(lambda: self._work.ended)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._changed is None:
                raise RuntimeError("this answer was not opened")
            if self._changed.is_set():
                self._changed = self._watch()
            else:
                await self._changed.wait()

    def _watch(self) -> Event:
        changed = Event()
        self._work.watchers.append(changed.set)
        return changed

    def _raise(self, error: BaseException | None) -> None:
        if isinstance(error, (GeneratorExit, StopIteration, StopAsyncIteration, get_cancelled_exc_class())):
            what = f"{self._work.name}: its iterator raised {type(error).__name__}, which has another meaning here"
            raise RuntimeError(what) from error  # noqa: TRY004  # it is no argument that has a wrong type
        if error is not None:
            raise error


class _Work:
    """The thread's side. It does not know the answer, so that one which is dropped is noticed, and stops it."""

    post: Callable[[Callable[[], object]], None]

    def __init__(self, open_iterator: Callable[[], Iterable[Chunk]], name: str, bound: int) -> None:
        self.name = name
        self.watchers: deque[Callable[[], object]] = deque()  # each is called once, in the loop, after a change
        self.inside = self.stopped = self.ended = False
        self.error: BaseException | None = None
        self.closing_error: BaseException | None = None  # of an iterator that was stopped
        self._open_iterator = open_iterator
        self._opened = ExitStack()
        self._items: deque[Chunk] = deque()
        self._bound = bound
        self._parked = False
        self._room: SimpleQueue[None] = SimpleQueue()
        self._withdraw: Callable[[], object] = lambda: None

    def start(self, executor: Executor | None, context: Context) -> None:
        if executor is None:
            Thread(target=context.run, args=(self._run,), name=f"g4ftrio-{self.name}", daemon=True).start()
            return
        try:
            future = executor.submit(context.run, self._run)
        except RuntimeError as error:
            raise self._not_begun() from error
        self._withdraw = future.cancel
        future.add_done_callback(self._has_left)

    def stop(self) -> None:
        self.stopped = True
        self._withdraw()
        self._room.put(None)
        self._wake()

    def has_news(self) -> bool:
        return bool(self._items) or self.ended or self.stopped

    def take(self) -> list[Chunk]:
        batch = [self._items.popleft() for _ in range(len(self._items))]
        if self._parked:
            self._room.put(None)
        return batch

    def _run(self) -> None:
        reading, closing = _error_of(self._read), _error_of(self._opened.close)
        self.closing_error = closing if self.stopped else None
        self._end(closing if reading is None else reading)

    def _read(self) -> None:
        self.inside = not self.stopped
        try:
            for chunk in self._open() if self.inside else ():
                self.inside = False
                self._put(chunk)
                if self.stopped:
                    return
                self.inside = True
        finally:
            self.inside = False

    def _open(self) -> Iterator[Chunk]:
        opened = self._open_iterator()
        iterator = iter(opened)
        for closable in (opened,) if opened is iterator else (opened, iterator):
            if close := getattr(closable, "close", None):
                self._opened.callback(close)
        return iterator

    def _put(self, chunk: Chunk) -> None:
        self._items.append(chunk)
        self._wake()
        if len(self._items) >= self._bound:
            self._parked = True
            while len(self._items) >= self._bound and not self.stopped:
                self._room.get()
            self._parked = False

    def _wake(self) -> None:
        while self.watchers:
            with suppress(IndexError):  # another thread was faster
                self.post(self.watchers.popleft())

    def _end(self, error: BaseException | None) -> None:
        self.error, self.ended = error, True
        self._wake()

    def _has_left(self, future: Future[None]) -> None:
        if not self.ended:
            error = self._not_begun()
            error.__cause__ = None if future.cancelled() else future.exception()
            self._end(error)

    def _not_begun(self) -> SetupError:
        return SetupError(f"{self.name}: its executor is shut down or broken, so nothing was asked; pass another one")


def _error_of(step: Callable[[], object]) -> BaseException | None:
    """What a step raises, of whatever kind: in a thread there is nobody else to raise it to."""
    try:
        step()
    except BaseException as error:  # noqa: BLE001  # see above
        return error
    return None
