"""One request to one provider: as it travels, and as it is entered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ClassVar, Protocol

from msgspec import Struct, field

from g4ftrio._answer import Lazy
from g4ftrio._chunks import Chunk
from g4ftrio._report import EntrantReport
from g4ftrio._source import Source, use_async_with
from g4ftrio._stream import Stream
from g4ftrio._structured import parse_response
from g4ftrio._timeouts import Timeout

__all__ = ("Ask", "StreamContext", "parser")


class Ask(Struct, kw_only=True):
    """One request to one provider, as it travels through compositions.

    :ivar client: an HTTP client to use where the provider has none of its own
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

    def __repr__(self) -> str:
        return f"<Ask {self.record.name}>"  # the parameters may hold a key


class Answering(Protocol):
    """What a context needs of a provider."""

    _detachable: ClassVar[bool]

    @property
    def detachable(self) -> bool: ...

    @property
    def name(self) -> str: ...

    def check_ready(self) -> None: ...

    def _open(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]: ...

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]: ...


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
        self._provider.check_ready()
        self._answer = self._provider._open(self._ask)
        self._stream = Stream(await self._answer.__aenter__(), self._ask.record, parse=self._parse)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
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
        return Stream(Lazy(self._provider._answer(self._ask), self._provider.check_ready), self._ask.record)

    async def settle(self) -> Stream:
        """Open the stream without a context: close it with ``aclose()``, from any task.

        :raises TypeError: this provider's streams belong to the task that opens them
        """
        if not self._provider.detachable:
            raise self._not_detachable()
        stream = await self.__aenter__()
        self._answer.detach()  # type: ignore[attr-defined]  # what is detachable has it
        return stream

    def _not_detachable(self) -> TypeError:
        return TypeError(f"{self._provider.name} cannot be settled: use `async with provider.stream(...) as stream:`")


def parser(params: Mapping[str, Any]) -> Callable[[str], Any] | None:
    """What turns the answer's text into what was asked for with ``response_format=``, if that was a type."""
    wanted = params.get("response_format")
    if wanted is None or isinstance(wanted, Mapping | str):
        return None
    return lambda text: parse_response(wanted, text)
