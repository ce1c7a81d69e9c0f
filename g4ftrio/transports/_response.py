"""An answer that is being read: in pieces, by one reader, closed from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from time import time
from typing import TYPE_CHECKING

import anyio

from g4ftrio._words.errors import APIResponseValidationError, APIStatusError, Error, SetupError, status_error
from g4ftrio._words.secrets import mask
from g4ftrio.dialects._error_body import retry_delay
from g4ftrio.transports._bodies import Body, Duplex
from g4ftrio.transports._coding import unpacked
from g4ftrio.transports._rate_limits import exhausted_for
from g4ftrio.transports._retry_after import retry_after

if TYPE_CHECKING:
    import httpx

    from g4ftrio.transports._translation import Watch

__all__ = ("Response", "body_of", "checked")

_CLOSING = 1.0  # seconds that closing a connection may take; it never waits for the peer, so this is never reached
_DRAINED = 4096  # bytes that may follow an answer's end marker before its connection is given up
_ERROR_BODY = 65_536  # bytes of an error answer that are read
_ERROR_WAIT = 2.0  # seconds that they may take: the status is known, and others wait to be asked instead
_UNWOUND = 20_000  # pieces that one read of 64 KiB can hold; more than that is not a network
_READ = 65_536  # bytes
_REQUEST_IDS = ("x-request-id", "request-id", "x-correlation-id")


class _Generators:
    """A body over httpx's generators.

    Reading from httpx goes through six to nine nested async generators, and one that is left suspended is a
    ``ResourceWarning`` on trio; ``aclose()`` of the outermost ends none of the inner ones. What ends them all is an
    exception from the innermost: a read that is cancelled before it can wait. So this is how a body is left early,
    and a cancelled read leaves nothing to do, but has ended the body for good.
    """

    repeatable = False

    __slots__ = ("_left", "_over", "_pieces", "_reading", "_response")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.aiter_bytes() if response.is_stream_consumed else response.aiter_raw()
        self._reading: anyio.CancelScope | None = None
        self._left: anyio.Event | None = None
        self._over = False

    async def pull(self, until: float = inf) -> bytes:
        with anyio.CancelScope(deadline=until) as scope:  # by which another task's aclose() ends the read
            self._reading, self._over = scope, True
            try:
                piece = await anext(self._pieces, b"")
                self._over = not piece
                return piece
            finally:
                self._reading = None
                if self._left is not None:
                    self._left.set()
        if self._left is None and anyio.current_time() >= until:
            import httpx

            raise httpx.ReadTimeout("no byte of the answer came in time")
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
        if self._response.http_version.startswith("HTTP/1"):  # other streams may live on an HTTP/2 connection
            _shut(self._response)


class _Network:
    """What httpx's own transport leaves of a connection that goes on in another protocol."""

    __slots__ = ("_limits", "_network", "_reading", "_response")

    def __init__(self, response: httpx.Response) -> None:
        if "network_stream" not in response.extensions:
            raise SetupError("this HTTP client's transport gives no access to its connection, as a WebSocket needs")
        self._response = response
        self._network = response.extensions["network_stream"]
        self._limits = response.request.extensions.get("timeout", {})
        self._reading = anyio.CancelScope()  # by which ``close_now`` ends a read

    async def pull(self, until: float = inf) -> bytes:
        idle, left = self._limits.get("read"), until - anyio.current_time()
        limit = left if idle is None else min(idle, left)
        with anyio.CancelScope() as self._reading:
            piece: bytes = await self._network.read(_READ, timeout=None if limit == inf else max(limit, 0.0))
            return piece
        return b""

    async def send(self, data: bytes) -> None:
        try:
            await self._network.write(data, timeout=self._limits.get("write"))
        except Exception as error:
            if type(error).__name__ != "WriteError":
                raise

    async def aclose(self) -> None:
        with suppress(Exception), anyio.move_on_after(_CLOSING, shield=True):
            await self._response.aclose()

    def close_now(self) -> None:
        self._reading.cancel()
        _shut(self._response)


def _shut(response: httpx.Response) -> None:
    with suppress(Exception):  # a socket that is closed already, or uvloop's, which knows no shutdown
        response.extensions["network_stream"].get_extra_info("socket").shutdown(2)


class Response:
    """An answer whose head is there, and whose body one reader at a time may read.

    :ivar status: the HTTP status
    :ivar headers: by name, whatever its case
    :ivar url: the URL that was asked
    """

    __slots__ = ("_body", "_released", "_state", "_watch", "headers", "status", "url")

    def __init__(self, status: int, headers: Mapping[str, str], url: str, body: Body, watch: Watch) -> None:
        self.status = status
        self.headers = headers
        self.url = url
        self._body = body
        self._watch = watch
        self._state = "open"  # or reading, ended, broken, closed
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
        """Seconds that the service asks to wait, by ``Retry-After``, else because its limit is used up."""
        asked = retry_after(self.headers, time())
        return self.exhausted_for if asked is None else asked

    @property
    def exhausted_for(self) -> float | None:
        """Seconds until the service takes another request, where its head says that this was the last for now."""
        return exhausted_for(self.headers, time())

    @property
    def idle(self) -> float:
        """Seconds that a read waits for a byte."""
        limit: float = self._watch.timeout.idle
        return limit

    @property
    def repeatable(self) -> bool:
        """Whether a cancelled ``pull`` loses nothing and may be repeated."""
        return getattr(self._body, "repeatable", True)

    async def send(self, data: bytes) -> None:
        """Write, on a connection that goes on in another protocol (status 101); a cancelled one breaks it.

        Where the peer has closed, this does nothing, and the next ``pull`` finds out.

        :raises APITimeoutError: the peer did not take it within ``idle``
        :raises anyio.BusyResourceError: somebody is reading or writing
        :raises anyio.ClosedResourceError: it is closed, or was closed meanwhile
        """
        if self._state != "open":
            self._refuse()
            return
        body: Duplex = self._body  # type: ignore[assignment]  # with this status, it is one
        self._state = "reading"
        try:
            with self._watch:
                await body.send(data)
        except BaseException as error:
            self._interrupted(error, repeatable=False)
            raise
        self._raise_if_closed()
        self._state = "open"

    async def pull(self, until: float = inf) -> bytes:
        """Give the next piece of the body, which is not empty; empty is the end.

        :param until: when it is late, by the loop's clock, whatever ``idle`` says
        :raises APITimeoutError: no byte came within ``idle``, or by then
        :raises TruncatedError: the connection broke, or the body is not whole
        :raises anyio.BrokenResourceError: an earlier read failed, or was cancelled and cannot be repeated
        :raises anyio.BusyResourceError: somebody else is reading
        :raises anyio.ClosedResourceError: it is closed, or was closed during this read
        """
        if self._state != "open":
            return self._refuse()
        self._state = "reading"
        watch = self._watch
        try:
            piece = await self._body.pull(until)
        except BaseException as error:
            self._interrupted(error, repeatable=self.repeatable)
            watch.translate(error)
            raise
        if self._state == "closed":
            raise anyio.ClosedResourceError
        self._state = "open" if piece else "ended"
        watch.count(piece)
        return piece

    def _refuse(self) -> bytes:
        match self._state:
            case "ended":
                return b""
            case "reading":
                raise anyio.BusyResourceError("reading from")
            case "broken":
                raise anyio.BrokenResourceError("an earlier read failed or was cancelled: the rest is lost")
        raise anyio.ClosedResourceError

    def _interrupted(self, error: BaseException, *, repeatable: bool) -> None:
        if self._state == "closed":
            if isinstance(error, Exception):
                raise anyio.ClosedResourceError from error
        elif isinstance(error, Exception) or not repeatable:
            self._state = "broken"
        else:
            self._state = "open"

    def _raise_if_closed(self) -> None:
        if self._state == "closed":
            raise anyio.ClosedResourceError

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
        if self._released or getattr(self._body, "is_whole", False):
            await self.aclose()
            return
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._fill_and_close(bytearray(), _DRAINED, seconds)

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
        """Read the beginning of an error answer, as much as comes within 2 s or ``idle``, and close."""
        body = bytearray()
        await self._fill_and_close(body, _ERROR_BODY, min(self.idle, _ERROR_WAIT))
        return bytes(body[:_ERROR_BODY])

    def refused(self, why: str) -> APIStatusError:
        """Give the error for an answer whose head alone says that it is none."""
        return status_error(self.status, why, retry_after=self.retry_after, request_id=self.request_id)

    async def _fill_and_close(self, body: bytearray, limit: int, seconds: float) -> None:
        try:
            with suppress(Error), anyio.move_on_after(seconds):
                await self._fill(body, limit)
        finally:
            await self.aclose()

    def __repr__(self) -> str:
        return f"<Response {self.status} {self._state}>"


def body_of(response: httpx.Response) -> Body:
    """Choose what to read from: our own transport's body, else httpx's generators or its bare connection."""
    own: Body | None = response.extensions.get("g4ftrio_body")
    if response.status_code == 101:
        return own or _Network(response)
    body = own or _Generators(response)
    return body if response.is_stream_consumed else unpacked(body, response.headers.get("content-encoding", ""))


_NO_ANSWERS = {
    **dict.fromkeys((204, 205), "it says that there is no content"),
    206: "it says that it sends a part only, which nobody has asked for",
}  # RFC 9110, 15.3.5 to 15.3.7


async def checked(
    response: Response, read_error: Callable[[bytes], tuple[str, str]], secrets: Iterable[str] = ()
) -> None:
    """Raise if an answer's status is not a success, after reading what it says and closing it.

    :param read_error: finds the message and the code in a body, as ``Dialect.read_error`` does
    :param secrets: what must not be seen in the error, keys above all
    :raises APIStatusError: the status is 300 or more
    :raises APIResponseValidationError: it is one of those of an answer that is none, or not all of it
    """
    if why := _NO_ANSWERS.get(response.status):
        await response.aclose()
        raise APIResponseValidationError(why, status=response.status, request_id=response.request_id)
    if response.status < 300:
        return
    body = await response.error_body()
    message, code = read_error(body)
    asked = response.retry_after
    said = f"{message} ({code})" if message and code and code not in message else message or code
    raise status_error(
        response.status,
        mask(said, secrets),
        code=code,
        retry_after=retry_delay(body) if asked is None else asked,
        request_id=response.request_id,
    )
