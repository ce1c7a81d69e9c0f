"""The asynchronous library for plain synchronous code: a function is run to its end, a stream is read by a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar

from g4ftrio._loops import loopless_context
from g4ftrio._race.source import Source
from g4ftrio._streams.driven import Backend, Driven, check, enter_first, refuse_in_a_loop, run
from g4ftrio._streams.stream import Gathered, Gathering, RaceStream, Stream
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.completion import Completion
from g4ftrio._words.report import RaceReport

__all__ = ("Backend", "SyncStream", "iterate_sync", "refuse_in_a_loop", "run_sync")

T = TypeVar("T")


def run_sync(function: Callable[[], Awaitable[T]], *, backend: Backend = "trio", instead: str) -> T:
    """Run an async function to its end in this thread, on an event loop of its own.

    :param instead: the asynchronous line to write where a loop runs already
    :raises EventLoopRunningError: one does
    :raises SetupError: no such backend
    """
    check(backend, instead)
    return loopless_context().run(run, function, backend)


def iterate_sync(
    open_stream: Callable[[], AbstractAsyncContextManager[Source[T]]],
    *,
    backend: Backend = "trio",
    instead: str,
    grace: float = 1.0,
) -> Generator[T, None, None]:
    """Give the items of a stream as they come; nothing is opened before the first ``next``.

    Closing the generator early, or dropping it, closes the stream behind it.

    :param instead: the asynchronous line to write where a loop runs already
    :param grace: seconds that the stream has to close itself
    :raises EventLoopRunningError: a loop runs in this thread, now or at a ``next``
    :raises SetupError: no such backend
    """
    return _items(Driven(open_stream, backend, instead, grace))


def _items(driven: Driven[Source[T]]) -> Generator[T, None, None]:
    with driven:
        driven.open()
        while batch := driven.take():
            yield from batch


class SyncStream(Gathering):
    """An answer as it arrives, for a plain ``with`` and ``for``; entering waits until it is open, or raises.

    What was taken so far is gathered in ``text``, ``usage``, ``finish_reason`` and ``tool_calls``.

    :param instead: the asynchronous line to write where a loop runs already
    :param grace: seconds that the stream has to close itself
    :raises EventLoopRunningError: a loop runs in this thread, now, on entering or when a chunk is taken
    :raises SetupError: no such backend
    """

    def __init__(
        self,
        open_stream: Callable[[], AbstractAsyncContextManager[Stream]],
        *,
        backend: Backend = "trio",
        instead: str,
        grace: float = 1.0,
    ) -> None:
        self._driven = Driven(open_stream, backend, instead, grace)
        self._stream: Stream | None = None
        self._items: list[Chunk] = []  # the last is the next
        self._taken: list[Chunk] = []  # and not gathered yet
        self._gathered = Gathered()

    def __del__(self) -> None:
        # Where it was entered without `with`, and never left. No weakref.finalize: that would hold an error that was
        # raised here, and by its traceback this stream, for ever.
        if (driven := getattr(self, "_driven", None)) is not None:
            driven.stop()

    def __enter__(self) -> Self:
        try:
            self._stream = self._driven.open()
        except BaseException as error:
            self._driven.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._items = []
        self._driven.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if not self._items:
            self._items = self._driven.take()[::-1]
            if not self._items:
                raise StopIteration
        chunk = self._items.pop()
        self._taken.append(chunk)
        return chunk

    @property
    def text_stream(self) -> Iterator[str]:
        """The same stream with only the text of it."""
        return (chunk for chunk in self if isinstance(chunk, str))

    @property
    def provider(self) -> str:
        """Who writes."""
        return self._entered.provider

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return self._entered.model

    @property
    def report(self) -> RaceReport | None:
        """Of a race, what became of everybody; complete when the stream was left."""
        return self._entered.report

    @property
    def winner(self) -> str:
        """Of a race, the entrant's name."""
        if not isinstance(self._entered, RaceStream):
            raise AttributeError("only a race has a winner")  # noqa: TRY004  # so that `hasattr` tells
        return self._entered.winner

    def collect(self) -> Completion:
        """Read to the end, and give the whole answer, what was taken before included."""
        for _ in self:
            pass
        stream = self._entered
        return self._so_far().completion(stream.provider, stream.model, stream._parsed, stream.report)

    def close(self) -> None:
        """Say that no more is wanted, and close what is behind it; may be called more than once."""
        self.__exit__(None, None, None)

    @property
    def _entered(self) -> Stream:
        if self._stream is None:
            raise enter_first()
        return self._stream

    def _so_far(self) -> Gathered:
        taken, self._taken = self._taken, []
        self._gathered.add(taken)
        return self._gathered
