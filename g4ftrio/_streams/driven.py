"""A stream read by a thread, for code that is not asynchronous.

A thread with an event loop of its own opens the stream, reads it and closes it, all in one task. What each read brings
goes into a queue, from which the caller takes it. The loop stops reading when the caller is ``_AHEAD`` items behind and
goes on when the queue is empty. To close a stream early, the caller posts the cancellation into the loop and waits for
the thread, at most ``grace`` seconds and a little. The scopes are those of a race (``_race``)::

    hard  >  open() ... close  >  step  >  pull()

Only ``step`` is cancelled, so that the stream is left as by a ``break`` and closes itself undisturbed; ``hard`` follows
after ``grace`` seconds, or at once while the stream is still being opened.

Nothing here holds a lock: a Ctrl-C can come between any two lines of the caller, and the garbage collector can close a
generator between any two lines of the loop's thread. ``SimpleQueue`` is made for both, ``threading.Condition`` is not.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, get_args
from warnings import warn

import anyio

from g4ftrio._loops import clock, from_any_thread, loopless_context, running
from g4ftrio._race.source import Source
from g4ftrio._words.errors import EventLoopRunningError, SetupError

__all__ = ("Backend", "Driven", "check", "enter_first", "refuse_in_a_loop", "run")

T = TypeVar("T")
S = TypeVar("S", bound=Source[Any])

Backend: TypeAlias = Literal["trio", "asyncio"]

_AHEAD = 256  # items; a read of 64 KiB brings about 200, and a wait for the other thread costs as much as 100
_TEARDOWN = 1.0  # seconds for a loop to end after its last task
# Seconds between two looks for a Ctrl-C: before Python 3.14, Windows lets none into a wait (cpython#125541).
_LOOK = 0.1 if sys.platform == "win32" else None


def refuse_in_a_loop(instead: str) -> None:
    """See that no event loop runs in this thread.

    :param instead: the asynchronous line to write where one does
    :raises EventLoopRunningError: one does
    """
    if running():
        raise EventLoopRunningError(instead)


def enter_first() -> TypeError:
    """The error for reading what was not entered."""
    return TypeError("enter it first: `with ... as stream:`, then `for chunk in stream:`")


def check(backend: Backend, instead: str) -> None:
    """See that no event loop runs here, and that the one to run is known."""
    refuse_in_a_loop(instead)
    if backend not in get_args(Backend):
        raise SetupError(f"there is no event loop {backend!r}: backend= is 'trio' or 'asyncio'")


def run(function: Callable[[], Awaitable[T]], backend: Backend) -> T:
    """Run it on a new loop, in a context without the mark of another."""
    options: dict[str, Any] = {}
    if backend == "asyncio":
        from asyncio import new_event_loop

        options["loop_factory"] = new_event_loop  # without it asyncio forgets the loop that this thread had set
    return anyio.run(function, backend=backend, backend_options=options)


class Driven(Generic[S]):
    """A stream and the thread that reads it. The caller opens it, takes from it and leaves it."""

    def __init__(
        self, open_stream: Callable[[], AbstractAsyncContextManager[S]], backend: Backend, instead: str, grace: float
    ) -> None:
        check(backend, instead)
        self._open_stream = open_stream
        self._backend = backend
        self._instead = instead
        self._grace = grace
        work = loopless_context().run
        self._thread = threading.Thread(target=work, args=(self._work,), name="g4ftrio-stream", daemon=True)
        self._begun = self._is_open = self._ended = self._joined = False
        self._closed = False  # by the caller
        self._error: BaseException | None = None
        self._closing_error: BaseException | None = None
        self._batches: SimpleQueue[list[Any]] = SimpleQueue()  # the first holds the stream itself, an empty one ends it
        self._emptied: anyio.Event | None = None
        self._post: Callable[[Callable[[], object]], None] = lambda _: None  # there is no loop yet

    # The caller's side.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._join()
        closing_error, self._closing_error = self._closing_error, None
        if closing_error is not None and kind in (None, GeneratorExit):  # else the caller's own error goes on
            raise closing_error

    def open(self) -> S:
        """Start the thread, and wait until the stream is open."""
        refuse_in_a_loop(self._instead)
        if self._begun:
            raise RuntimeError("this stream was entered before: make another")
        self._begun = True
        self._thread.start()
        opened: S
        [opened] = self.take()
        return opened

    def take(self) -> list[Any]:
        """Give what the next read brought, or wait for it; an empty list is the end."""
        refuse_in_a_loop(self._instead)
        if not self._begun:
            raise enter_first()
        batch = self._next()
        if not batch or self._closed:
            self._batches.put([])  # for whoever asks next
            self._raise_why()
        elif (emptied := self._emptied) is not None and self._batches.empty():
            self._post(emptied.set)
        return batch

    def stop(self) -> None:
        """Say that no more is wanted, without waiting; from any thread, and from the garbage collector."""
        if not self._closed:
            self._closed = True
            self._batches.put([])
            self._post(self._leave)

    def _next(self) -> list[Any]:
        while True:
            try:
                return self._batches.get(timeout=_LOOK)
            except Empty:
                continue

    def _raise_why(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError("this stream was closed")
        if self._error is not None:
            raise self._error

    def _join(self) -> None:
        """Wait for the thread, once; never in a loop, nor at the end of the process, when no other thread runs on."""
        thread, limit = self._thread, self._grace + _TEARDOWN
        if self._joined or running() or thread is threading.current_thread() or sys.is_finalizing():
            return
        if thread.is_alive():
            thread.join(limit)
            self._joined = True
        if thread.is_alive():
            what = f"{thread.name}: this thread did not close its stream within {limit:g} s, and is left to do it"
            warn(what, ResourceWarning, stacklevel=4)

    # The loop's side.

    def _work(self) -> None:
        with self._ending():
            run(self._drive, self._backend)

    async def _drive(self) -> None:
        self._hard, self._step, self._now = anyio.CancelScope(), anyio.CancelScope(), clock()
        self._post = from_any_thread()
        if self._closed:
            return
        with self._ending(), self._hard:
            async with self._open_stream() as stream:
                self._has_opened(stream)
                with self._step:
                    await self._read(stream)
                self._end()

    def _has_opened(self, stream: S) -> None:
        self._thread.name = f"g4ftrio-{getattr(stream, 'provider', 'stream')}"
        self._is_open = True
        self._batches.put([stream])

    async def _read(self, stream: S) -> None:
        ahead = 0
        while batch := await stream.pull():
            ahead = len(batch) + (0 if self._batches.empty() else ahead)
            self._batches.put(batch)
            if ahead >= _AHEAD:
                self._emptied = emptied = anyio.Event()
                if not self._batches.empty():  # else the caller has looked for the event already
                    await emptied.wait()
                self._emptied = None

    def _leave(self) -> None:
        if self._is_open:
            self._step.cancel()
            self._hard.deadline = self._now() + self._grace
        else:
            self._hard.cancel()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Keep every error for the caller: there is nobody else here to raise it to."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # see above
            self._end(error)
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        if not self._ended:
            self._ended, self._error = True, error
            self._batches.put([])
        elif error is not None:
            self._closing_error = error
