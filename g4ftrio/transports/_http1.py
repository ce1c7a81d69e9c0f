"""HTTP/1.1 for httpx on trio and asyncio, made for answers that come as many small events.

Stock httpx costs 74 (trio) and 114 (asyncio) µs of processor time for an event that comes alone, 10 for one of many,
and for each request a time that grows with the number of open streams. Here it is one pass of llhttp over each read,
and a pool whose cost does not grow. Proxies and HTTP/2 are left to httpx's own transport.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import httpx
from anyio.lowlevel import cancel_shielded_checkpoint

from g4ftrio._words.origin import PORTS
from g4ftrio.transports._body import Body
from g4ftrio.transports._connect import Origin, connect
from g4ftrio.transports._exchange import Call, Exchange, Timeouts, Upload
from g4ftrio.transports._pool import Connection, Pool
from g4ftrio.transports._trace import Trace
from g4ftrio.transports._warm import Warmer
from g4ftrio.transports._wire import Head, encode_head

__all__ = ("Answer", "Http1Transport", "Origin", "Upload", "encode_head")

_NO_TIMEOUTS: Timeouts = {}
_AHEAD = 10.0  # seconds that opening a connection ahead of time may take

ContextSource = ssl.SSLContext | Callable[[], ssl.SSLContext] | None


class Answer(NamedTuple):
    """An answer whose head has come.

    :ivar retried: a kept connection had died, and the request was sent again on a new one
    """

    head: Head
    body: Body
    retried: bool


class Http1Transport(httpx.AsyncBaseTransport):
    """Keeps connections, and sends requests on them. It belongs to the loop that it is first used in.

    :param ssl_context: a context, or what makes one when the first is needed; httpx's default if None. It is told to
        offer HTTP/1.1 alone.
    :param max_connections: how many requests may be under way at once; None is no limit
    :param max_idle_connections: how many connections are kept; None is no limit
    :param keepalive_expiry: seconds that a connection is kept unused; None is no limit
    :param uds: the path of a Unix socket to go through
    :param warm: how many idle connections to an origin to keep open while the transport is entered
    """

    def __init__(
        self,
        *,
        ssl_context: ContextSource = None,
        max_connections: int | None = None,
        max_idle_connections: int | None = None,
        keepalive_expiry: float | None = 30.0,
        uds: str | None = None,
        warm: Mapping[Origin, int] | None = None,
    ) -> None:
        self._context_source = ssl_context
        self._context: ssl.SSLContext | None = None
        self._uds = uds
        self._pool = Pool(max_connections, max_idle_connections, keepalive_expiry)
        self._warmer = Warmer(self._pool, warm, self._open_ahead) if warm else None

    async def __aenter__(self) -> Self:
        if self._warmer is not None:
            await self._warmer.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            if self._warmer is not None:
                await self._warmer.__aexit__(kind, error, traceback)
        finally:
            await self.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give the answer when its head has come."""
        extensions = request.extensions
        method = request.method.encode("ascii")
        target = extensions.get("target", request.url.raw_path)
        answer = await self.request(
            method,
            _origin(request.url),
            encode_head(method, target, request.headers.raw),
            _request_body(request),
            timeouts=extensions.get("timeout", _NO_TIMEOUTS),
            trace=extensions.get("trace"),
            server_hostname=extensions.get("sni_hostname"),
            subject=request,
            upgrade="upgrade" in request.headers,
        )
        head = answer.head
        return httpx.Response(
            head.status,
            headers=head.headers,
            stream=answer.body,
            extensions={
                "http_version": head.version,
                "reason_phrase": head.reason,
                "g4ftrio_body": answer.body,
                "g4ftrio_retried": answer.retried,
            },
        )

    async def request(
        self,
        method: bytes,
        origin: Origin,
        head: bytes,
        body: bytes | Upload = b"",
        *,
        timeouts: Timeouts = _NO_TIMEOUTS,
        trace: Trace | None = None,
        connecting: Trace | None = None,
        server_hostname: str | None = None,
        subject: object = None,
        upgrade: bool = False,
    ) -> Answer:
        """Send a request whose head is ready, and give the answer when its head has come.

        Where a kept connection turns out to be dead (its end or a reset, before any byte of the answer), the request is
        sent once more on a new one, if its body is bytes.

        :param head: as ``encode_head`` writes it; it tells the body's length
        :param timeouts: seconds by name: ``pool``, ``connect``, ``write``, ``read``
        :param trace: is told of every step
        :param connecting: is told of the steps of connecting, where ``trace`` is None
        :param server_hostname: whom the certificate has to name; the origin's host by default
        :param subject: what the trace names as its request
        :param upgrade: whether it asks to go on in another protocol, which the answer's body then reads and sends
        :raises httpx.TransportError: as httpx's own transport does
        """
        if origin.scheme not in PORTS:
            raise httpx.UnsupportedProtocol(f"the URL's scheme is http or https, not {origin.scheme!r}")
        call = Call(method, head, body, timeouts, trace, subject, upgrade)
        await self._pool.enter(timeouts.get("pool"))
        try:
            return await self._send(origin, call, server_hostname, trace or connecting)
        except BaseException:
            self._pool.leave()
            raise

    async def _send(self, origin: Origin, call: Call, server_hostname: str | None, connecting: Trace | None) -> Answer:
        kept = self._pool.take(origin)
        if kept is not None:
            exchange = Exchange(kept, call)
            try:
                return await self._run(exchange)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if not exchange.repeatable:
                    raise
        fresh = await self._open(origin, call.timeouts.get("connect"), server_hostname, connecting)
        return await self._run(Exchange(fresh, call), retried=kept is not None)

    async def _run(self, exchange: Exchange, *, retried: bool = False) -> Answer:
        try:
            head, first = await exchange.run()
        except BaseException:
            self._pool.give(exchange.connection, reusable=False)
            raise
        return Answer(head, Body(exchange, self._pool, first), retried)

    async def _open(
        self, origin: Origin, timeout: float | None, server_hostname: str | None, trace: Trace | None
    ) -> Connection:
        stream = await connect(
            origin,
            context=self._ssl_context() if origin.scheme == "https" else None,
            server_hostname=server_hostname,
            uds=self._uds,
            timeout=timeout,
            trace=trace,
        )
        connection = Connection(origin, stream)
        self._pool.add(connection)
        return connection

    async def _open_ahead(self, origin: Origin) -> Connection:
        return await self._open(origin, _AHEAD, None, None)

    def _ssl_context(self) -> ssl.SSLContext:
        if self._context is None:
            source = self._context_source or httpx.create_ssl_context
            self._context = source if isinstance(source, ssl.SSLContext) else source()
        return self._context

    def close_now(self) -> None:
        """Close all connections, the ones in use as well, and await nothing."""
        self._pool.close()

    async def aclose(self) -> None:
        """Close all connections, the ones in use as well.

        :raises RuntimeError: it was entered and keeps connections warm, so it is to be left, where it was entered
        """
        self.close_now()
        forgotten = self._warmer is not None and self._warmer.stop()
        await cancel_shielded_checkpoint()  # asyncio closes sockets in the loop's next turn
        if forgotten:
            raise RuntimeError("a client with warm= has tasks: leave it by the `async with` that it was entered by")


def _origin(url: httpx.URL) -> Origin:
    scheme = url.scheme
    return Origin(scheme, url.raw_host.decode("ascii"), url.port or PORTS.get(scheme, 0))


def _request_body(request: httpx.Request) -> bytes | Upload:
    """The body as bytes where httpx has it so; it has to be as long as the head says."""
    length = _declared_length(request.headers.raw)
    stream = request.stream
    try:
        content = request.content
    except httpx.RequestNotRead:
        content = None
    if content is None or length is None:
        if not isinstance(stream, httpx.AsyncByteStream):
            raise RuntimeError(
                "the request's body is a synchronous stream: an asynchronous client takes none"
            ) from None
        return Upload(stream, length)
    if len(content) != length:
        raise httpx.LocalProtocolError(f"the request's body has {len(content)} bytes, its Content-Length is {length}")
    return content


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """What the head says of the body: its length, 0 where it says nothing, or None for the chunked coding."""
    length = 0
    for name, value in headers:
        lower = name.lower()
        if lower == b"transfer-encoding":
            return None
        if lower == b"content-length":
            length = int(value)
    return length
