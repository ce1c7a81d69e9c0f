"""What httpx raises, in our words: this is the only place that knows its exceptions.

They are told by the names of their classes, so that a client of ``httpx2``, its continuation, works as well. No
error repeats httpx's own words where those may hold a header's value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anyio import CancelScope

from g4ftrio._errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    Error,
    SetupError,
    TruncatedError,
    status_error,
)
from g4ftrio._origin import PORTS, is_loopback

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from g4ftrio._report import EntrantReport
    from g4ftrio._timeouts import Timeout

__all__ = ("Watch",)


class Watch:
    """One request under way: its limits, its record, and the words for what may go wrong in it.

    As a context manager it translates what httpx raises inside.
    """

    __slots__ = ("_connected", "_plain", "_record", "_words", "host", "port", "timeout")

    host: str
    port: int
    timeout: Timeout

    def __init__(self, url: str, timeout: Timeout, record: EntrantReport | None) -> None:
        scheme, self.host, self.port = _place(url)
        self.timeout = timeout
        self._record = record
        self._connected = "start_tls.complete" if scheme == "https" else _CONNECTED
        self._words = _WITHOUT_ANSWER
        self._plain: Any = None

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
        elif event.endswith("start_tls.failed"):
            await self._close_plain()
        elif event.endswith("connect_tcp.complete"):
            self._plain = info.get("return_value")
        if self._record is not None and event.endswith(self._connected):
            self._record.connected_at = self._record.clock()
            self._record.tell("connected_at")

    async def _close_plain(self) -> None:
        """Close what is under TLS: httpcore 1.0.9 does not where its handshake is cancelled, and leaks the socket."""
        aclose = getattr(self._plain, "aclose", None)  # a stream of our own transport has none, and was closed
        if aclose is not None:
            with CancelScope(shield=True):
                await aclose()

    def answer(self, *, retried: bool = False) -> None:
        """The head is there: from now on, what breaks is an answer.

        :param retried: a kept connection had died, and the request was sent again on a new one
        """
        self._words = _IN_ANSWER
        if self._record is not None:
            self._record.stamp("first_byte_at")
            self._record.retries += retried

    def count(self, piece: bytes) -> None:
        """Note a piece of the body."""
        if self._record is not None:
            self._record.bytes += len(piece)

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.translate(error)

    def translate(self, error: BaseException) -> None:
        """Raise what an error of httpx's is in our words; nothing for any other."""
        if isinstance(error, Exception) and (words := _named(error, self._words)) is not None:
            raise words(error, self) from error


_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "setup_socks5_connection.complete")


@lru_cache(maxsize=512)
def _place(url: str) -> tuple[str, str, int]:
    """The scheme, host and port of a URL that HTTP can be spoken to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SetupError("api_base is no URL: its host or port cannot be read") from None  # it may hold a password
    if parts.scheme not in PORTS or not parts.hostname:
        raise SetupError("api_base must begin with http:// or https:// and name a host")
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


_Words = Callable[[Any, Watch], Error]


def _named(error: BaseException, table: Mapping[str, _Words]) -> _Words | None:
    """What a table says of an error, by the name of the nearest of its classes."""
    return next((table[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in table), None)


class _PoolTimeoutError(APITimeoutError):
    def __str__(self) -> str:
        return f"{super().__str__()}: every connection that the HTTP client may have was in use. Raise its limits."


def _not_connected(error: BaseException, watch: Watch) -> Error:
    causes = _causes(error)
    for cause in causes:
        words = _named(cause, _REASONS)
        if words is not None:
            return words(cause, watch)
    said = next((cause.strerror for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror), "")
    return APIConnectionError(f"{watch.host}:{watch.port} cannot be reached" + (f": {said}" if said else ""))


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    for one in found:  # which grows meanwhile
        below = one.__cause__ or one.__context__
        found += [*getattr(one, "exceptions", ()), *([below] if below is not None and below not in found else [])]
        if len(found) > 50:
            break
    return found


def _refused(_: object, watch: Watch) -> Error:
    asked = " Is the server running?" if is_loopback(watch.host) else " Check api_base."
    return APIConnectionError(f"{watch.host}:{watch.port} refused the connection.{asked}")


def _no_such_name(_: object, watch: Watch) -> Error:
    return APIConnectionError(f"the name {watch.host} could not be found. Check api_base, and the network.")


def _not_trusted(error: ssl.SSLCertVerificationError, watch: Watch) -> Error:
    why = getattr(error, "verify_message", "") or "it could not be verified"
    advice = "Pass an http_client with a verify= that knows who signed it."
    return APIConnectionError(f"the certificate of {watch.host} was not accepted: {why}. {advice}")


def _no_tls(error: ssl.SSLError, watch: Watch) -> Error:
    why = (error.reason or "the handshake failed").replace("_", " ").lower()
    return APIConnectionError(f"TLS with {watch.host} failed: {why}. Does it speak https:// there?")


_REASONS: dict[str, _Words] = {
    "ConnectionRefusedError": _refused,
    "gaierror": _no_such_name,
    "SSLCertVerificationError": _not_trusted,
    "SSLError": _no_tls,
}


def _no_answer(_: object, watch: Watch) -> Error:
    return APIConnectionError(f"{watch.host} closed the connection without an answer")


def _no_whole_head(error: Exception, watch: Watch) -> Error:
    hung_up = any(words in str(error) for words in ("disconnected", "closed the connection"))
    return (_no_answer if hung_up else _not_http)(error, watch)


def _not_http(_: object, watch: Watch) -> Error:
    return APIConnectionError(f"{watch.host}:{watch.port} does not answer in HTTP as it should")


def _proxy(error: Exception, watch: Watch) -> Error:
    return APIConnectionError(f"the proxy {watch.host}:{watch.port} did not connect: {error}")


def _no_url(error: Exception, _: Watch) -> Error:
    return SetupError(f"api_base is no URL: {error}")


_WITHOUT_ANSWER: dict[str, _Words] = {
    "ConnectTimeout": lambda _, watch: APITimeoutError("connect", watch.timeout.connect),
    "PoolTimeout": lambda _, watch: _PoolTimeoutError("connect", watch.timeout.connect),
    "ReadTimeout": lambda _, watch: APITimeoutError("idle", watch.timeout.idle),
    "WriteTimeout": lambda _, watch: APITimeoutError("idle", watch.timeout.idle),
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


def _cut(_: object, watch: Watch) -> Error:
    return TruncatedError(f"{watch.host} broke the connection before the end of its answer")


_IN_ANSWER: dict[str, _Words] = {**_WITHOUT_ANSWER, "NetworkError": _cut, "RemoteProtocolError": _cut}
