"""One answer of one provider as a source of chunks, over HTTP.

Over a WebSocket: ``socket_answer``; from any async generator: ``generator_answer``; how long to wait: ``patient``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from anyio import CancelScope, current_time
from msgspec.structs import replace

from g4ftrio._race.source import Source
from g4ftrio._words.chunks import (
    Chunk,
    Conversation,
    ProviderMetadata,
)
from g4ftrio._words.errors import APIResponseValidationError, APITimeoutError, Error, ProviderError, TruncatedError
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call
from g4ftrio._words.secrets import cleared, mask
from g4ftrio._words.timeouts import Timeout
from g4ftrio.transports import http

if TYPE_CHECKING:
    import httpx

    from g4ftrio.dialects._base import Decoder, Dialect

__all__ = ("MAX_ANSWER", "DecodedAnswer", "HttpAnswer")

MAX_ANSWER = 256 << 20  # bytes as they come on the wire; an hour of sound has 220 MiB
_SILENCE_IS_THE_END = 2.0  # seconds of waiting after a finish reason, keep-alives or not
_OWNED = (Conversation, ProviderMetadata)
_DRAIN = 0.05  # seconds; the last bytes of a body often come apart from the answer's end marker


class Carrier(Protocol):
    """What an answer's data come on: an HTTP response, a WebSocket."""

    async def pull(self, until: float = inf) -> Any:
        """Give what the next read brings, nothing at the end.

        :param until: when it is late, by the loop's clock
        """

    async def drain(self, seconds: float) -> None:
        """Close it after a whole answer, in good order, which may take so long."""

    async def aclose(self) -> None:
        """Close it; may be called more than once, from any task."""

    def close_now(self) -> None:
        """Close it at once."""


class _NotOpen:
    """What there is before an answer is open."""

    async def pull(self, until: float = inf) -> Any:  # noqa: ARG002  # the protocol's signature
        raise RuntimeError("this answer was not opened")

    async def drain(self, seconds: float) -> None: ...

    async def aclose(self) -> None: ...

    def close_now(self) -> None: ...


class DecodedAnswer:
    """An answer that a dialect decodes: a context manager, and the source that it gives.

    No scope is open between its reads, so it may be read and closed by any task.

    :param client: a client to use, or None and ``open_client`` makes one of the answer's own
    :param owner: whose what is given back with a message is, and a conversation's state
    :ivar keeps_time: ``pull`` takes the moment at which it is late, and needs no scope around it; see also ``is_over``
    """

    keeps_time = True
    _carrier: Carrier = _NotOpen()
    _decoder: Decoder

    def __init__(
        self,
        client: httpx.AsyncClient | None,
        *,
        timeout: Timeout,
        record: EntrantReport,
        owner: str,
        open_client: Callable[[], httpx.AsyncClient],
    ) -> None:
        self._client = client
        self._open_client = open_client
        self._timeout = timeout
        self._record = record
        self._owner = owner
        self._secrets: tuple[str, ...] = ()
        self._own: list[httpx.AsyncClient] = []
        self._detached = False
        self._ended = False
        self._patience = _SILENCE_IS_THE_END
        self._size = 0

    async def __aenter__(self) -> Source[Chunk]:
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if not self._detached:
            await self.aclose()

    async def pull(self, until: float = inf) -> list[Chunk]:
        """Give the chunks that the next reads bring; an empty list is the end.

        :param until: when it is late, by the loop's clock; that is an ``idle`` time-out
        :raises ProviderError: the answer is an error, cannot be read, or was cut
        """
        decoder = self._decoder
        chunks: list[Chunk] = []
        while not chunks:
            if decoder.error is not None:
                raise self._signed(decoder.error)
            if self._ended:
                return []
            try:
                data = await (self._last(until) if decoder.finished else self._carrier.pull(until))
                chunks = self._read(data)
                if not chunks and current_time() >= until:  # a read that does not wait is never late
                    raise APITimeoutError("idle", self._timeout.idle)
            except ProviderError as error:
                if not self._is_an_end(error):
                    raise self._signed(error) from error.__cause__
                chunks = self._read_end(())
        return chunks

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing, so that a read is never late."""
        return self._ended or self._decoder.finished

    async def aclose(self) -> None:
        """Close it, from any task; a connection whose answer was read to its end is kept for the next request."""
        try:
            if self._ended and self._decoder.error is None:
                await self._carrier.drain(_DRAIN)
            await self._carrier.aclose()
        finally:
            while self._own:
                await self._own.pop().aclose()

    def close_now(self) -> None:
        """Close the socket at once, without awaiting anything, and those that its own clients keep."""
        self._carrier.close_now()
        for client in self._own:
            http.close_now(client)

    def detach(self) -> None:
        """Outlive the context: from here on ``aclose`` closes it."""
        self._detached = True

    def adopt(self, client: httpx.AsyncClient) -> None:
        """Close this client too, when this is closed."""
        self._own.append(client)

    async def _open(self) -> None:
        """Ask, and set ``_carrier`` and ``_decoder``."""
        raise NotImplementedError

    def _frames(self, data: Any) -> Sequence[bytes]:
        """Give the frames in what the carrier gave; nothing is the end."""
        raise NotImplementedError

    def _http_client(self) -> httpx.AsyncClient:
        if self._client is not None:
            return self._client
        client = self._open_client()
        self._own.append(client)
        return client

    def _measure(self, size: int) -> None:
        """Count the bytes that came: what never ends must not be gathered for ever."""
        self._size += size
        if self._size > MAX_ANSWER:
            raise APIResponseValidationError(f"an answer of more than {MAX_ANSWER >> 20} MiB")

    def _read(self, data: Any) -> list[Chunk]:
        frames = self._frames(data)
        if not data:
            return self._read_end(frames)
        chunks = self._decoder.feed(frames)
        self._ended = self._decoder.done
        return self._owned(chunks) if self._ended else chunks

    def _is_an_end(self, error: ProviderError) -> bool:
        """Whether nothing is lost by what went wrong: the answer was whole, or had nothing but usage to come."""
        if isinstance(error, TruncatedError):
            return self._decoder.finished and not getattr(self._decoder, "may_go_on", False)
        return self._decoder.finished and isinstance(error, APITimeoutError)

    def _read_end(self, frames: Sequence[bytes]) -> list[Chunk]:
        self._ended = True
        chunks = self._decoder.feed(frames)
        return self._owned(chunks if self._decoder.done else chunks + self._decoder.close())

    def _owned(self, chunks: list[Chunk]) -> list[Chunk]:
        """Note on what only this service understands that it is this service's."""
        return [replace(each, provider=self._owner) if isinstance(each, _OWNED) else each for each in chunks]

    async def _last(self, until: float) -> Any:
        """Read after a finish reason: nothing but usage can follow, and some servers then neither write nor close.

        Nothing is missing, so a limit that is reached here is an end, and no error.
        """
        began = current_time()
        with CancelScope(deadline=min(until, began + self._patience)):
            try:
                return await self._carrier.pull()
            finally:
                self._patience -= current_time() - began
        return None

    def _signed(self, error: Exception) -> Exception:
        return cleared(error, self._secrets, self._record.name)

    def _know(self, secrets: tuple[str, ...]) -> None:
        """Note what must be masked in whatever the service says, also by those who judge its answer."""
        self._secrets = secrets
        self._record.mask = lambda text: mask(text, secrets)


class HttpAnswer(DecodedAnswer):
    """An answer read over HTTP.

    :param prepare: gives the request, and what must be masked in whatever the service says
    """

    def __init__(
        self,
        client: httpx.AsyncClient | None,
        prepare: Callable[[], Awaitable[tuple[Call, tuple[str, ...]]]],
        dialect: Dialect,
        *,
        timeout: Timeout,
        record: EntrantReport,
        owner: str = "",
        open_client: Callable[[], httpx.AsyncClient] = http.open_http_client,
    ) -> None:
        super().__init__(client, timeout=timeout, record=record, owner=owner, open_client=open_client)
        self._prepare = prepare
        self._dialect = dialect
        self._decoder = dialect.decoder()

    async def _open(self) -> None:
        call, secrets = await self._prepare()
        self._know(secrets)
        try:
            client = self._http_client()
            self._carrier = response = await http.send(client, call, timeout=self._timeout, record=self._record)
            self._record.pause = response.exhausted_for
            await http.checked(response, self._dialect.read_error, self._secrets)
        except Error as error:
            raise self._signed(error) from error.__cause__
        self._framer = self._dialect.framer(response.content_type)

    def _frames(self, data: bytes | None) -> Sequence[bytes]:
        if not data:
            return self._framer.close()
        self._measure(len(data))
        return self._framer.feed(data)
