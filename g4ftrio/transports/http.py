"""The border to httpx: a call goes out, pieces of bytes come in, and what httpx raises is translated, once.

httpx is loaded when it is first needed, and its exceptions are told by the names of their classes, so that a client
of ``httpx2``, its continuation, works as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from math import inf
from time import time
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

import anyio
from msgspec import structs

from g4ftrio._errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    Error,
    SetupError,
    TruncatedError,
    mask,
    status_error,
)
from g4ftrio._request import Call

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    import httpx

    from g4ftrio._report import EntrantReport
    from g4ftrio._timeouts import Timeout

__all__ = ("Body", "Response", "checked", "open_http_client", "retry_after", "send")

_CLOSING = 1.0  # seconds that closing a connection may take; it never waits for the peer, so this is never reached
_DAY = 86_400.0
_DRAINED = 4096  # bytes that may follow an answer's end marker before its connection is given up
_ERROR_BODY = 65_536  # bytes of an error answer that are read
_HOPS = 3  # redirects that are followed
_UNWOUND = 20_000  # pieces that one read of 64 KiB can hold; more than that is not a network


# --- the client ---


def open_http_client(**options: Any) -> httpx.AsyncClient:
    """Open an HTTP client to share between providers; close it with ``async with`` or ``aclose()``.

    It has no time-outs of its own (those of each request count), no limit of connections, and one TLS context for
    the whole process, which costs 20 ms to build.

    :param options: whatever ``httpx.AsyncClient`` takes: ``proxy=``, ``verify=``, ``limits=``, ``transport=``, ...
    :raises SetupError: a proxy that is not a URL, or a package that is missing for what is asked
    """
    import httpx

    headers = httpx.Headers({"accept-encoding": "identity", "user-agent": f"g4ftrio/{_version()}"})
    headers.update(options.pop("headers", None))
    if options.get("verify", True) is True and not options.get("cert"):
        protocols = ("http/1.1", "h2") if options.get("http2") else ("http/1.1",)
        options["verify"] = _tls_context(protocols, trust_env=options.get("trust_env", True))
    options.setdefault("timeout", None)
    options.setdefault("limits", httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30))
    options.setdefault("transport", None)  # the place for a transport of our own; None is httpx's, with its proxies
    try:
        return httpx.AsyncClient(headers=headers, **options)
    except (ValueError, httpx.InvalidURL):
        words = "a proxy (proxy=, or from the environment) or base_url is no URL: it begins with http:// or https://"
        raise SetupError(words) from None  # httpx's words would show a proxy's password
    except ImportError as error:
        raise SetupError(str(error)) from error


@cache
def _tls_context(protocols: tuple[str, ...], *, trust_env: bool) -> ssl.SSLContext:
    import httpx

    context = httpx.create_ssl_context(trust_env=trust_env)
    context.set_alpn_protocols(list(protocols))  # httpcore does this at every connect, so HTTP/1 and 2 cannot share
    return context


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("g4ftrio")
    except PackageNotFoundError:
        return "0"


# --- one request ---


async def send(
    client: httpx.AsyncClient, call: Call, *, timeout: Timeout, record: EntrantReport | None = None
) -> Response:
    """Send a call, and return as soon as the head of the answer is there.

    :param client: any client of httpx or httpx2; its time-outs and its ``follow_redirects`` do not count
    :param timeout: its ``connect`` and ``idle`` are kept here, the others by whoever reads
    :param record: gets ``connected_at``, ``first_byte_at`` and ``bytes``
    :raises SetupError: nothing was sent: a closed client, a URL or a header that is none
    :raises APIConnectionError: there is no answer
    :raises APIStatusError: it redirects to where the key must not go
    """
    if client.is_closed:
        raise SetupError("the HTTP client is closed: open another, or keep this one open for as long as it is used")
    for _ in range(_HOPS + 1):
        response = await _ask(client, call, _Exchange(call.url, timeout, record))
        if response.status not in _REDIRECTS or "location" not in response.headers:
            return response
        await response.drain()
        call = _redirected(call, response)
    raise status_error(response.status, f"it redirects in a circle, or more than {_HOPS} times")


async def _ask(client: httpx.AsyncClient, call: Call, exchange: _Exchange) -> Response:
    with exchange:
        request = client.build_request(
            call.method,
            call.url,
            content=call.body or None,
            headers=_fields(call.headers),
            extensions={"timeout": exchange.limits(), "trace": exchange.trace},
        )
        _check_fields(request.headers.raw)
        response = await client.send(request, stream=True, follow_redirects=False)
    exchange.answer()
    return Response(response.status_code, response.headers, request.url, _body(response), exchange)


def _body(response: httpx.Response) -> Body:
    own: Body | None = response.extensions.get("g4ftrio_body")
    if own is None or response.headers.get("content-encoding", "identity") != "identity":
        return _Generators(response)
    return own


_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")  # RFC 9110, 5.5


def _fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Encode header fields: httpx, given text, puts the value of one that is not ASCII into its error."""
    lower = {"accept-encoding": "identity"} | {name.lower(): value for name, value in headers.items()}
    return [_field(name, value) for name, value in lower.items()]


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        return name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise _bad_field(name) from None


def _check_fields(fields: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in fields:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise _bad_field(name.decode("latin-1"))


def _bad_field(name: str) -> SetupError:
    return SetupError(
        f"the header {name!r} cannot be sent: it has a line break, a control character, a space at an end, "
        "or a character outside latin-1. Check the key, and the headers that you pass."
    )


# --- redirects ---

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})


def _redirected(call: Call, response: Response) -> Call:
    """Turn a call to where a redirect points: never to another origin, and never a POST into a GET."""
    target = response.url.join(response.headers["location"])  # the client has seen that it is a URL
    if _origin(target) != _origin(response.url):
        words = f"it redirects to {target.scheme}://{target.netloc.decode()}, and the key goes to no other origin."
        raise status_error(response.status, f"{words} If that is the right one, set api_base to it.")
    if call.method not in {"GET", "HEAD"} and response.status not in _SAME_METHOD:
        words = f"it redirects a {call.method} to {target.path}, which would turn it into a GET. Check api_base."
        raise status_error(response.status, words)
    return structs.replace(call, url=str(target))


def _origin(url: httpx.URL) -> tuple[object, ...]:
    return url.scheme, url.host, url.port, url.userinfo


# --- the answer ---


class Body(Protocol):
    """What a response reads from; a transport of our own gives one in ``extensions["g4ftrio_body"]``.

    A cancelled ``pull`` of one of our own loses nothing, and may be repeated.
    """

    async def pull(self) -> bytes:
        """Give the next piece, which is not empty; empty is the end."""

    async def aclose(self) -> None:
        """Let go of the connection: keep it if the body was read to its end, else close it without a word."""

    def close_now(self) -> None:
        """Make the peer see the connection gone, at once, from wherever this is called."""


class _Generators:
    """A body over httpx's generators.

    Reading from httpx goes through six to nine nested async generators, and one that is left suspended is a
    ``ResourceWarning`` on trio; ``aclose()`` of the outermost ends none of the inner ones. What ends them all is an
    exception from the innermost: a read that is cancelled before it can wait. So this is how a body is left early,
    and a cancelled read leaves nothing to do, but has ended the body for good.
    """

    __slots__ = ("_left", "_over", "_pieces", "_reading", "_response")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.aiter_bytes()
        self._reading: anyio.CancelScope | None = None
        self._left: anyio.Event | None = None
        self._over = False

    async def pull(self) -> bytes:
        with anyio.CancelScope() as scope:  # by which another task's aclose() ends the read
            self._reading, self._over = scope, True
            try:
                piece = await anext(self._pieces, b"")
                self._over = not piece
                return piece
            finally:
                self._reading = None
                if self._left is not None:
                    self._left.set()
        return b""

    async def aclose(self) -> None:
        if self._reading is not None:
            self._left = anyio.Event()
            self._reading.cancel()
            with anyio.move_on_after(_CLOSING, shield=True):
                await self._left.wait()
        if not self._over:
            await self._unwind()
        if not self._response.is_closed:
            with suppress(Exception), anyio.move_on_after(_CLOSING, shield=True):
                await self._response.aclose()

    async def _unwind(self) -> None:
        with suppress(Exception), anyio.CancelScope(shield=True) as scope:
            scope.cancel()
            for _ in range(_UNWOUND):
                if not await anext(self._pieces, b""):
                    break

    def close_now(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        network = self._response.extensions.get("network_stream")
        if network is None or not self._response.http_version.startswith("HTTP/1"):
            return  # other streams may live on an HTTP/2 connection
        with suppress(Exception):  # a socket that is closed already, or uvloop's, which knows no shutdown
            network.get_extra_info("socket").shutdown(2)


class Response:
    """An answer whose head is there, and whose body one reader at a time may read.

    :ivar status: the HTTP status
    :ivar headers: by name, whatever its case
    :ivar url: the URL that was asked
    """

    __slots__ = ("_body", "_exchange", "_released", "_state", "headers", "status", "url")

    def __init__(
        self, status: int, headers: Mapping[str, str], url: httpx.URL, body: Body, exchange: _Exchange
    ) -> None:
        self.status = status
        self.headers = headers
        self.url = url
        self._body = body
        self._exchange = exchange
        self._state: Literal["open", "reading", "ended", "broken", "closed"] = "open"
        self._released = False

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without its parameters; empty where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        """The service's own name for this request."""
        return next((self.headers[name] for name in _REQUEST_IDS if name in self.headers), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the service asks to wait."""
        return retry_after(self.headers, time())

    @property
    def repeatable(self) -> bool:
        """Whether a cancelled ``pull`` loses nothing and may be repeated."""
        return not isinstance(self._body, _Generators)

    async def pull(self) -> bytes:
        """Give the next piece of the body, which is not empty; empty is the end.

        :raises APITimeoutError: no byte came within ``idle``
        :raises TruncatedError: the connection broke, or the body is not whole
        :raises anyio.BrokenResourceError: an earlier read failed, or was cancelled and cannot be repeated
        :raises anyio.BusyResourceError: somebody else is reading
        :raises anyio.ClosedResourceError: it is closed, or was closed during this read
        """
        if self._state != "open":
            return self._refuse()
        self._state = "reading"
        try:
            with self._exchange:
                piece = await self._body.pull()
        except BaseException as error:
            self._interrupted(error)
            raise
        return self._given(piece)

    def _refuse(self) -> bytes:
        match self._state:
            case "ended":
                return b""
            case "reading":
                raise anyio.BusyResourceError("reading from")
            case "broken":
                raise anyio.BrokenResourceError("an earlier read failed or was cancelled: the rest is lost")
        raise anyio.ClosedResourceError

    def _interrupted(self, error: BaseException) -> None:
        if self._state == "closed":
            if isinstance(error, Exception):
                raise anyio.ClosedResourceError from error
        elif isinstance(error, Exception) or not self.repeatable:
            self._state = "broken"
        else:
            self._state = "open"

    def _given(self, piece: bytes) -> bytes:
        if self._state == "closed":
            raise anyio.ClosedResourceError
        self._state = "open" if piece else "ended"
        self._exchange.count(piece)
        return piece

    async def read(self, limit: int = _ERROR_BODY) -> bytes:
        """Read the body to its end, but no further than a limit in bytes."""
        body = bytearray()
        await self._fill(body, limit)
        return bytes(body[:limit])

    async def _fill(self, body: bytearray, limit: int) -> None:
        while len(body) < limit and (piece := await self.pull()):
            body += piece

    async def drain(self, seconds: float = 0.05) -> None:
        """Read what is left, so that the connection can be kept; if that takes too long, close it.

        In four of five answers of one common server, the end of the body comes apart from the answer's end marker.
        """
        with suppress(Error, anyio.BrokenResourceError, anyio.ClosedResourceError), anyio.move_on_after(seconds):
            await self._fill(bytearray(), _DRAINED)
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connection, from any task; a read that is under way raises ``ClosedResourceError``.

        A body that was not read to its end is closed without waiting for the peer.
        """
        self._state = "closed"
        if not self._released:
            self._released = True
            await self._body.aclose()

    def close_now(self) -> None:
        """Shut the connection down at once, as well as that can be done without waiting; ``aclose()`` may follow.

        A read that is under way raises ``ClosedResourceError``.
        """
        if self._state != "ended" and not self._released:
            self._state = "closed"
            self._body.close_now()

    async def error_body(self) -> bytes:
        """Read the beginning of an error answer, as much as comes within ``idle``, and close."""
        body = bytearray()
        with suppress(Error), anyio.move_on_after(self._exchange.timeout.idle):
            await self._fill(body, _ERROR_BODY)
        await self.aclose()
        return bytes(body[:_ERROR_BODY])

    def __repr__(self) -> str:
        return f"<Response {self.status} {self._state}>"


_REQUEST_IDS = ("x-request-id", "request-id", "x-correlation-id")


async def checked(
    response: Response, read_error: Callable[[bytes], tuple[str, str]], secrets: Iterable[str] = ()
) -> None:
    """Raise if an answer's status is not a success, after reading what it says and closing it.

    :param read_error: finds the message and the code in a body, as ``Dialect.read_error`` does
    :param secrets: what must not be seen in the error, keys above all
    :raises APIStatusError: the status is 300 or more
    """
    if response.status < 300:
        return
    message, code = read_error(await response.error_body())
    said = f"{message} ({code})" if message and code and code not in message else message or code
    raise status_error(
        response.status,
        mask(said, secrets),
        retry_after=response.retry_after,
        request_id=response.request_id,
    )


# --- how long to wait ---

_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how many seconds a service asks to wait: ``retry-after-ms``, else ``retry-after`` (RFC 9110, 10.2.3).

    :param headers: by lower-case name
    :param now: the wall clock, in seconds since the epoch
    :return: 0 to a day, or None where nothing readable is said
    """
    asked = _number(headers.get("retry-after-ms", ""), 0.001)
    if asked is None:
        value = headers.get("retry-after", "")
        asked = _number(value, 1)
        if asked is None:
            asked = _until(value, now)
    return None if asked is None else min(max(asked, 0.0), _DAY)


def _number(value: str, unit: float) -> float | None:
    match = _NUMBER.fullmatch(value.strip())
    if match is None:
        return None
    return 0.0 if match[1] == "-" else float(match[2]) * unit


def _until(value: str, now: float) -> float | None:
    from email.utils import mktime_tz, parsedate_tz

    try:
        date = parsedate_tz(value[:100])
        return None if date is None else mktime_tz(date) - now
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


# --- errors ---


class _Exchange:
    """One request under way: its limits, its record, and in whose words its errors are told.

    As a context manager it translates what httpx raises inside.
    """

    __slots__ = ("_connected", "_record", "_words", "host", "port", "timeout")

    def __init__(self, url: str, timeout: Timeout, record: EntrantReport | None) -> None:
        scheme, self.host, self.port = _place(url)
        self.timeout = timeout
        self._record = record
        self._connected = "start_tls.complete" if scheme == "https" else _CONNECTED
        self._words = _WITHOUT_ANSWER

    def limits(self) -> dict[str, float | None]:
        """Our time-outs as httpx has them."""
        connect, idle = (None if limit == inf else limit for limit in (self.timeout.connect, self.timeout.idle))
        return {"connect": connect, "pool": connect, "write": idle, "read": idle}

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Listen to a transport; ``event`` is one of httpcore's names.

        Behind a proxy it is the proxy that is connected to first, and which an error should name.
        """
        if event.endswith(("connect_tcp.started", "start_tls.started")):
            self.host = info.get("server_hostname") or info.get("host") or self.host
            self.port = info.get("port") or self.port
        elif self._record is not None and event.endswith(self._connected):
            self._record.connected_at = self._record.clock()

    def answer(self) -> None:
        """The head is there: from now on, what breaks is an answer."""
        self._words = _IN_ANSWER
        if self._record is not None:
            self._record.stamp("first_byte_at")

    def count(self, piece: bytes) -> None:
        """Note a piece of the body."""
        if self._record is not None:
            self._record.bytes += len(piece)

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            words = _named(error, self._words)
            if words is not None:
                raise words(error, self) from error


_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "setup_socks5_connection.complete")


def _place(url: str) -> tuple[str, str, int]:
    """The scheme, host and port of a URL that HTTP can be spoken to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SetupError("api_base is no URL: its host or port cannot be read") from None  # it may hold a password
    if parts.scheme not in _PORTS or not parts.hostname:
        raise SetupError("api_base must begin with http:// or https:// and name a host")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


_PORTS = {"http": 80, "https": 443}

_Words = Callable[[Any, _Exchange], Error]


def _named(error: BaseException, table: Mapping[str, _Words]) -> _Words | None:
    """What a table says of an error, by the name of the nearest of its classes."""
    return next((table[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in table), None)


class _PoolTimeoutError(APITimeoutError):
    def __str__(self) -> str:
        return f"{super().__str__()}: every connection that the HTTP client may have was in use. Raise its limits."


def _not_connected(error: BaseException, exchange: _Exchange) -> Error:
    causes = _causes(error)
    for cause in causes:
        words = _named(cause, _REASONS)
        if words is not None:
            return words(cause, exchange)
    said = next((cause.strerror for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror), "")
    return APIConnectionError(f"{exchange.host}:{exchange.port} cannot be reached" + (f": {said}" if said else ""))


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    for one in found:  # which grows meanwhile
        below = one.__cause__ or one.__context__
        found += [*getattr(one, "exceptions", ()), *([below] if below is not None and below not in found else [])]
        if len(found) > 50:
            break
    return found


def _refused(_: object, exchange: _Exchange) -> Error:
    asked = " Is the server running?" if _is_loopback(exchange.host) else " Check api_base."
    return APIConnectionError(f"{exchange.host}:{exchange.port} refused the connection.{asked}")


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _no_such_name(_: object, exchange: _Exchange) -> Error:
    return APIConnectionError(f"the name {exchange.host} could not be found. Check api_base, and the network.")


def _not_trusted(error: ssl.SSLCertVerificationError, exchange: _Exchange) -> Error:
    why = getattr(error, "verify_message", "") or "it could not be verified"
    advice = "Pass an http_client with a verify= that knows who signed it."
    return APIConnectionError(f"the certificate of {exchange.host} was not accepted: {why}. {advice}")


def _no_tls(error: ssl.SSLError, exchange: _Exchange) -> Error:
    why = (error.reason or "the handshake failed").replace("_", " ").lower()
    return APIConnectionError(f"TLS with {exchange.host} failed: {why}. Does it speak https:// there?")


_REASONS: dict[str, _Words] = {
    "ConnectionRefusedError": _refused,
    "gaierror": _no_such_name,
    "SSLCertVerificationError": _not_trusted,
    "SSLError": _no_tls,
}


def _no_answer(_: object, exchange: _Exchange) -> Error:
    return APIConnectionError(f"{exchange.host} closed the connection without an answer")


def _no_whole_head(error: Exception, exchange: _Exchange) -> Error:
    return (_no_answer if "disconnected" in str(error) else _not_http)(error, exchange)


def _not_http(_: object, exchange: _Exchange) -> Error:
    return APIConnectionError(f"{exchange.host}:{exchange.port} does not answer in HTTP as it should")


def _proxy(error: Exception, exchange: _Exchange) -> Error:
    return APIConnectionError(f"the proxy {exchange.host}:{exchange.port} did not connect: {error}")


def _no_url(error: Exception, _: _Exchange) -> Error:
    return SetupError(f"api_base is no URL: {error}")


_WITHOUT_ANSWER: dict[str, _Words] = {
    "ConnectTimeout": lambda _, exchange: APITimeoutError("connect", exchange.timeout.connect),
    "PoolTimeout": lambda _, exchange: _PoolTimeoutError("connect", exchange.timeout.connect),
    "ReadTimeout": lambda _, exchange: APITimeoutError("idle", exchange.timeout.idle),
    "WriteTimeout": lambda _, exchange: APITimeoutError("idle", exchange.timeout.idle),
    "ConnectError": _not_connected,
    "ProxyError": _proxy,
    "NetworkError": _no_answer,
    "RemoteProtocolError": _no_whole_head,
    "TransportError": _not_http,
    "DecodingError": lambda _, __: APIResponseValidationError("its compressed body cannot be unpacked"),
    "UnsupportedProtocol": _no_url,
    "InvalidURL": _no_url,
    "UnicodeError": _no_url,
    "HTTPStatusError": lambda error, _: status_error(error.response.status_code, ""),
}


def _cut(_: object, exchange: _Exchange) -> Error:
    return TruncatedError(f"{exchange.host} broke the connection before the end of its answer")


_IN_ANSWER: dict[str, _Words] = {**_WITHOUT_ANSWER, "NetworkError": _cut, "RemoteProtocolError": _cut}
