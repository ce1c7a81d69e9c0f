"""One request to one provider: as it travels, and as it is entered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ClassVar, Protocol

from msgspec import Struct, field

from g4ftrio._loops import clock
from g4ftrio._race.source import Source, use_async_with
from g4ftrio._streams.lazy import Lazy
from g4ftrio._streams.stream import Stream
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.events import Asked, Broadcast, Hook
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.structured import json_schema, parse_response
from g4ftrio._words.timeouts import Timeout

__all__ = ("Ask", "StreamContext", "parser")


class Ask(Struct, kw_only=True):
    """One request to one provider, as it travels through compositions.

    :ivar client: an HTTP client to use where the provider has none of its own
    :ivar hooks: who wants to hear what becomes of it
    :ivar headers: what they want to have sent with it
    :ivar broadcast: of a race: what tells them
    :ivar watched: the time-outs that the answer itself must watch
    :ivar watched_opening: whether it must watch them while it is opened, too; a race does that for its entrants, and
        their ``first_chunk``
    """

    messages: list[dict[str, Any]]
    model: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    timeout: Timeout = field(default_factory=Timeout)
    client: Any = None
    record: EntrantReport
    watched: tuple[str, ...] = ("first_chunk", "stall", "total")
    watched_opening: bool = True
    hooks: tuple[Hook, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    broadcast: Broadcast | None = None

    def __repr__(self) -> str:
        return f"<Ask {self.record.name}>"  # the parameters may hold a key

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [("name", self.record.name)]


class Answering(Protocol):
    """What a context needs of a provider."""

    _detachable: ClassVar[bool]
    _by_generator: ClassVar[bool]

    @property
    def detachable(self) -> bool: ...

    @property
    def name(self) -> str: ...

    def check_ready(self) -> None: ...

    def _open(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]: ...

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]: ...

    def _asked(self, ask: Ask) -> Asked: ...


class StreamContext:
    """A request that was made ready and is to be entered: ``async with provider.stream(...) as stream``."""

    def __init__(self, provider: Answering, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask
        self._parse = parser(ask.params)
        self._stream: Stream | None = None

    def __aiter__(self) -> AsyncIterator[Chunk]:
        raise use_async_with("provider.stream(...)")

    async def __aenter__(self) -> Stream:
        self._listen()
        self._begin()
        try:
            self._answer = self._provider._open(self._ask)
            self._stream = Stream(await self._answer.__aenter__(), self._ask.record, parse=self._parse)
        except BaseException as error:
            self._note(error)
            self._ask.record.stamp("ended_at")
            raise
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is not None and not isinstance(error, Exception):
            self._note(error)
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            await self._answer.__aexit__(kind, error, traceback)
        return None

    def unread(self) -> Stream:
        """The stream of an answer that is opened at the first read, and belongs to nobody's task.

        :raises TypeError: this provider's streams belong to the task that opens them
        """
        if not self._provider._detachable:
            raise self._not_detachable()
        self._listen()
        provider = self._provider  # a generator that a subclass wrote has its turn already when it asks ``super()``
        answer = provider._answer(self._ask) if provider._by_generator else provider._open(self._ask)
        return Stream(Lazy(answer, self._begin), self._ask.record)

    async def settle(self) -> Stream:
        """Open the stream without a context: close it with ``aclose()``, from any task.

        :raises TypeError: this provider's streams belong to the task that opens them
        """
        if not self._provider.detachable:
            raise self._not_detachable()
        stream = await self.__aenter__()
        self._answer.detach()  # type: ignore[attr-defined]  # what is detachable has it
        return stream

    def _listen(self) -> None:
        """Let the hooks hear of it, where there are any."""
        if self._ask.hooks:
            Broadcast(self._ask.hooks).listen_to(self._ask.record, self._provider._asked(self._ask))

    def _begin(self) -> None:
        """See that all is ready, and begin to count the time."""
        self._provider.check_ready()
        if self._ask.hooks:
            now = clock()
            start = now()
            self._ask.record.clock = lambda: now() - start
            self._ask.record.stamp("started_at")

    def _note(self, error: BaseException) -> None:
        """Tell why it ended before it was read to its end."""
        if isinstance(error, Exception):
            self._ask.record.error = error
        self._ask.record.tell("failed" if isinstance(error, Exception) else "cancelled")

    def _not_detachable(self) -> TypeError:
        return TypeError(f"{self._provider.name} cannot be settled: use `async with provider.stream(...) as stream:`")


def parser(params: Mapping[str, Any]) -> Callable[[str], Any] | None:
    """What turns the answer's text into what ``response_format=`` asked for, if that was a type or a schema."""
    wanted = params.get("response_format")
    if wanted is None or isinstance(wanted, str) or (isinstance(wanted, Mapping) and json_schema(wanted) is None):
        return None
    return lambda text: parse_response(wanted, text)
