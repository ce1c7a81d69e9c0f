"""WebSockets, opened by an HTTP client: a request that is upgraded, and frames on its connection.

The websockets library keeps the protocol, without I/O. So there is one code for both loops, and no task behind a
socket: whatever there is to do, answering a ping above all, is done inside a read. The connection has what any call's
has: TLS, proxies, times in the report, a time-out for each read, a close at once from any task.

Importing this loads the websockets library (30 ms), so it is imported when the first socket is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import anyio
from msgspec import structs
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, PayloadTooBig
from websockets.http11 import Response as Handshake
from websockets.uri import WebSocketURI

from g4ftrio._words.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Error,
    InternalServerError,
    PermissionDeniedError,
    ProviderError,
    TruncatedError,
    excerpt,
)
from g4ftrio._words.origin import as_http
from g4ftrio._words.secrets import mask
from g4ftrio.transports import http
from g4ftrio.transports._frames import SILENT, Frames, Side

if TYPE_CHECKING:
    import httpx

    from g4ftrio._words.report import EntrantReport
    from g4ftrio._words.request import Call
    from g4ftrio._words.timeouts import Timeout

__all__ = ("MAX_MESSAGE", "WebSocket", "open_websocket")

MAX_MESSAGE = 16 << 20  # bytes, of all the fragments of a message together

_NOWHERE = WebSocketURI(secure=False, host="localhost", port=80, path="", query="")
_NORMAL = frozenset({1000, 1001, 1005})  # done; going away; no code

_REFUSALS: Mapping[int, type[APIStatusError]] = {
    **dict.fromkeys((1002, 1003, 1007, 1009), BadRequestError),
    **dict.fromkeys((1011, 1012, 1013, 1014), InternalServerError),
    3000: AuthenticationError,
    3003: PermissionDeniedError,
}  # what close codes mean: RFC 6455, 7.4.1, and https://www.iana.org/assignments/websocket


async def open_websocket(
    client: httpx.AsyncClient,
    call: Call,
    read_error: Callable[[bytes], tuple[str, str]],
    *,
    timeout: Timeout,
    record: EntrantReport | None = None,
    secrets: Iterable[str] = (),
) -> WebSocket:
    """Connect, and ask to go on as a WebSocket, all within the ``connect`` time-out.

    :param client: as for ``http.send``
    :param call: the address, whose scheme may be ``ws`` or ``wss``, and the header fields
    :param read_error: finds the message and the code in the body of an answer that refuses
    :param secrets: what must not be seen in an error
    :raises SetupError: nothing was sent: a closed client, a URL or a header that is none
    :raises APIConnectionError: there is no answer, or not one that opens a WebSocket
    :raises APIStatusError: the service refuses
    """
    ours = ClientProtocol(_NOWHERE, logger=SILENT)
    upgrade = dict(ours.connect().headers.raw_items())
    del upgrade["Host"]
    call = structs.replace(call, method="GET", url=as_http(call.url), headers={**call.headers, **upgrade})
    with anyio.move_on_after(timeout.connect) as scope:
        response = await http.send(client, call, timeout=timeout, record=record)
    if scope.cancelled_caught:
        raise APITimeoutError("connect", timeout.connect)
    try:
        await _check(response, ours, read_error, secrets)
    except BaseException:
        await response.aclose()
        raise
    return WebSocket(response)


async def _check(
    response: http.Response,
    ours: ClientProtocol,
    read_error: Callable[[bytes], tuple[str, str]],
    secrets: Iterable[str],
) -> None:
    await http.checked(response, read_error, secrets)
    if response.status != 101:
        said, _ = read_error(await response.error_body())
        words = f"it opened no WebSocket (is api_base right?){said and f': {said}'}"
        raise APIResponseValidationError(mask(words, secrets), status=response.status)
    try:
        ours.process_response(Handshake(101, "", Headers([*response.headers.items()])))
    except InvalidHandshake as error:
        raise APIConnectionError(f"its answer opens no WebSocket: {excerpt(str(error))}") from error


class WebSocket:
    """An open WebSocket: one task at a time reads or writes it, any closes it. Each message is text.

    Pings are answered by the reads.
    """

    def __init__(self, response: http.Response) -> None:
        self._response = response
        self._frames = Frames(Side.CLIENT, MAX_MESSAGE)
        self._ready: list[bytes] = []

    @property
    def farewell(self) -> str:
        """What the service said as it closed the socket; empty where it said nothing, or has not."""
        return excerpt(self._frames.closed[1])

    async def send(self, *messages: bytes, until: float = inf) -> None:
        """Send messages. On a socket that the service has closed, this does nothing: the next read tells.

        :param until: as for ``pull``; one that is late breaks the socket
        :raises APITimeoutError: the service did not take them within ``idle``, or by then
        :raises anyio.ClosedResourceError: it was closed here
        """
        for message in messages:
            self._frames.say(message)
        await self._flush(until)

    async def pull(self, until: float = inf) -> list[bytes]:
        """Give the messages that the next reads bring, whole ones; none at all is a normal end.

        One that is cancelled or late loses nothing, and may be repeated.

        :param until: when it is late, by the loop's clock, whatever ``idle`` says
        :raises APITimeoutError: no byte came within ``idle``, or by then
        :raises TruncatedError: the connection broke
        :raises APIStatusError: the service closed the socket, and not because it was done
        :raises APIResponseValidationError: what came are no frames, or too large ones
        """
        while not (self._ready or self._frames.ended):
            self._ready = self._frames.feed(await self._response.pull(until))
            await self._flush(until)
            if (
                not self._ready and anyio.current_time() >= until
            ):  # as long as there is something to read, no read is late
                raise self._late()
        messages, self._ready = self._ready, []
        if not messages and (error := self._failure()) is not None:
            raise error
        return messages

    async def drain(self, seconds: float) -> None:
        """Say good-bye, wait at most so long for the service's, and close."""
        try:
            with suppress(Error, anyio.BrokenResourceError, anyio.BusyResourceError, anyio.ClosedResourceError):
                with anyio.move_on_after(seconds):
                    await self._say_goodbye()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection without a word, from any task; a read under way raises ``ClosedResourceError``."""
        await self._response.aclose()

    def close_now(self) -> None:
        """Close the connection at once, without awaiting anything; ``aclose()`` may follow."""
        self._response.close_now()

    async def _say_goodbye(self) -> None:
        self._frames.close()
        await self._flush()
        while not self._frames.ended:
            self._frames.feed(await self._response.pull())

    async def _flush(self, until: float = inf) -> None:
        """Write what there is to write. A read looks at the clock itself, this does not."""
        if data := self._frames.unsent():
            with anyio.CancelScope(deadline=until) as scope:
                await self._response.send(data)
            if scope.cancelled_caught:
                raise self._late()

    def _late(self) -> APITimeoutError:
        return APITimeoutError("idle", self._response.idle)

    def _failure(self) -> ProviderError | None:
        """Why it ended, where that was not as it should."""
        (code, _), broken = self._frames.closed, self._frames.broken
        if code is not None and code not in _NORMAL:
            said = f": {self.farewell}" if self.farewell else ""
            return _REFUSALS.get(code, APIStatusError)(f"it closed the WebSocket with code {code}{said}")
        if broken is None:
            return None
        if code is not None or isinstance(broken, EOFError):
            return TruncatedError("the service closed the connection before the end of its answer")
        if isinstance(broken, PayloadTooBig):
            return APIResponseValidationError(f"a message of more than {MAX_MESSAGE >> 20} MiB")
        return APIResponseValidationError(f"it sends what are no WebSocket frames: {broken}")
