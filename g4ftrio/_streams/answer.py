"""One answer of one provider as a source of chunks: over HTTP, or from any async generator; and how long to wait.

Over a WebSocket: ``socket_answer``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from anyio import CancelScope, current_time
from msgspec.structs import replace

from g4ftrio._loops import clock, open_scopes
from g4ftrio._race.handoff import Pump
from g4ftrio._race.source import IteratorSource, Source
from g4ftrio._race.tasks import Tasks
from g4ftrio._streams.generated import look_after
from g4ftrio._words.chunks import (
    OUTPUT,
    AudioResponse,
    Chunk,
    Conversation,
    ImageResponse,
    ProviderMetadata,
    ToolCallDelta,
)
from g4ftrio._words.errors import APIResponseValidationError, APITimeoutError, Error, ProviderError, TruncatedError
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call
from g4ftrio._words.secrets import cleared, mask
from g4ftrio._words.timeouts import Timeout, Waits
from g4ftrio.transports import http

if TYPE_CHECKING:
    import httpx

    from g4ftrio.dialects._base import Decoder, Dialect

__all__ = ("MAX_ANSWER", "DecodedAnswer", "GeneratorAnswer", "HttpAnswer", "Lazy", "Patient")

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


class GeneratorAnswer:
    """An answer from an async generator of somebody else's.

    What it leaves open at a ``yield``, a cancel scope say, belongs to the task that reads it; so a task of its own
    opens, reads and closes it, and fills a slot that any other task may empty.

    :param grace: seconds that the generator has to close itself
    """

    def __init__(self, generator: Callable[[], AsyncIterator[Chunk]], grace: float = 1.0) -> None:
        self._generator = generator
        self._grace = grace
        self._tasks = Tasks()
        self._closing_error: Exception | None = None

    async def __aenter__(self) -> Source[Chunk]:
        self._reading = CancelScope()
        self._pump = Pump(self._source())
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._own, name="answer of a generator")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._reading.cancel()
        suppressed = await self._tasks.__aexit__(kind, error, traceback)
        if error is None and self._closing_error is not None:
            raise self._closing_error
        return suppressed

    async def pull(self) -> list[Chunk]:
        """Take what the generator has given since, or wait for it."""
        return await self._pump.pull()

    async def aclose(self) -> None:
        """Say that no more is wanted: the generator is closed, by its own task."""
        self._reading.cancel()

    async def _own(self) -> None:
        try:
            with self._reading:
                scopes = open_scopes()
                try:
                    await self._pump.run()
                finally:
                    if open_scopes() != scopes:  # what it holds open must be left before ``_reading`` is
                        await self._close()
        finally:
            with CancelScope(shield=True, deadline=current_time() + self._grace):
                await self._close()

    async def _close(self) -> None:
        try:
            await self._opened.aclose()
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is left
            self._closing_error = error

    def _source(self) -> Source[Chunk]:
        self._opened = IteratorSource(self._generator())
        return self._opened


class Patient:
    """An answer that is waited for only so long, around another one.

    :param kinds: the time-outs that are watched here; what is left out is watched elsewhere
    :param opening: whether the opening is watched too; not where it leaves a scope open, which must not end in another,
        and not where somebody else watches it; its time is counted anyway
    """

    def __init__(
        self,
        answer: AbstractAsyncContextManager[Source[Chunk]],
        timeout: Timeout,
        name: str,
        kinds: tuple[str, ...] = ("first_chunk", "stall", "total"),
        *,
        opening: bool = True,
    ) -> None:
        self._answer = answer
        self._opening = opening
        self._waits = Waits(timeout, kinds)
        self._name = name

    async def __aenter__(self) -> Source[Chunk]:
        self._now = clock()
        if self._opening:
            self._source: Any = await self._watched(self._answer.__aenter__)
        else:
            self._waits.begin(self._now())
            self._source = await self._answer.__aenter__()
            self._waits.end(self._now())
        self._keeps_time = getattr(self._source, "keeps_time", False)
        self._waits.output(clean=False)  # the answer has begun, so from here on a stall is one
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._answer.__aexit__(kind, error, traceback)

    async def pull(self) -> list[Chunk]:
        """Give what the next read brings.

        :raises APITimeoutError: it did not come in time
        """
        if not self._keeps_time:
            batch = await self._watched(self._source.pull)
        else:  # a scope around a read costs as much as the read
            now = self._now()
            until = self._waits.begin(now)
            if until <= now and not self._source.is_over:  # chunks that came at once, over and over, made no read late
                raise self._late()
            try:
                batch = await self._source.pull(until)
            except APITimeoutError:
                if self._now() < until:
                    raise
                batch = None
            finally:
                self._waits.end(self._now())
            if batch is None:
                raise self._late()
        if self._waits.by_output and any(isinstance(chunk, OUTPUT) for chunk in batch):
            self._waits.output(clean=any(map(_is_substance, batch)))
        given: list[Chunk] = batch
        return given

    async def aclose(self) -> None:
        """Close it."""
        await self._source.aclose()

    def close_now(self) -> None:
        """Close the socket at once."""
        self._source.close_now()

    def detach(self) -> None:
        """Outlive the context."""
        self._source.detach()

    def adopt(self, client: httpx.AsyncClient) -> None:
        """Close this client too."""
        self._source.adopt(client)

    async def _watched(self, read: Callable[[], Any]) -> Any:
        with CancelScope(deadline=self._waits.begin(self._now())):
            try:
                return await read()
            finally:
                self._waits.end(self._now())
        raise self._late()

    def _late(self) -> APITimeoutError:
        kind, seconds = self._waits.reached()
        return APITimeoutError(kind, seconds, provider=self._name)


class Lazy:
    """An answer that is asked for at the first read, and belongs to nobody's task.

    :param check: raises where the set-up is wrong, before anything is sent
    """

    def __init__(self, answer: AbstractAsyncContextManager[Any], check: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._check = check
        self._source: Any = None
        self._is_looked_after = False

    @property
    def is_open(self) -> bool:
        """Whether there is anything to close, and nobody else to do it."""
        return self._source is not None and not self._is_looked_after

    async def pull(self) -> list[Chunk]:
        """Open it if it is not, and read."""
        if self._source is None:
            self._check()
            self._source = await self._answer.__aenter__()
            self._source.detach()
            self._is_looked_after = look_after(self)
        batch: list[Chunk] = await self._source.pull()
        return batch

    async def aclose(self) -> None:
        """Close it where it was opened."""
        if self._source is not None:
            await self._source.aclose()

    def close_now(self) -> None:
        """Close the socket at once."""
        if self._source is not None:
            self._source.close_now()


def _is_substance(chunk: Chunk) -> bool:
    """Whether the wait for a first chunk is over. It judges nothing: a race asks its own predicate as well."""
    return (
        bool(chunk.strip())
        if isinstance(chunk, str)
        else isinstance(chunk, ToolCallDelta | ImageResponse | AudioResponse)
    )
