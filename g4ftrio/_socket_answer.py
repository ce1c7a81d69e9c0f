"""One answer of one provider over a WebSocket, as a source of chunks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from anyio import CancelScope

from g4ftrio._answer import DecodedAnswer
from g4ftrio._chunks import Chunk
from g4ftrio._errors import APITimeoutError, ProviderError, TruncatedError
from g4ftrio._report import EntrantReport
from g4ftrio._request import Call
from g4ftrio._timeouts import Timeout
from g4ftrio.transports import http

if TYPE_CHECKING:
    import httpx

    from g4ftrio.dialects._base import Dialogue
    from g4ftrio.transports.websocket import WebSocket

__all__ = ("Question", "SocketAnswer")

Question: TypeAlias = "tuple[Call, Dialogue, tuple[str, ...]]"


class SocketAnswer(DecodedAnswer):
    """An answer read over a WebSocket of its own, which is closed with it.

    :param prepare: gives the call that opens the socket, what is said on it, and what must be masked in whatever the
        service says
    :param read_error: finds the message and the code in the body of an answer that refuses the socket
    """

    _carrier: WebSocket | None
    _decoder: Dialogue

    def __init__(
        self,
        client: httpx.AsyncClient | None,
        prepare: Callable[[], Awaitable[Question]],
        read_error: Callable[[bytes], tuple[str, str]],
        *,
        timeout: Timeout,
        record: EntrantReport,
        open_client: Callable[[], httpx.AsyncClient] = http.open_http_client,
    ) -> None:
        super().__init__(client, timeout=timeout, record=record, open_client=open_client)
        self._prepare = prepare
        self._read_error = read_error

    async def _open(self) -> None:
        from g4ftrio.transports.websocket import open_websocket

        call, self._decoder, self._secrets = await self._prepare()
        try:
            self._carrier = socket = await open_websocket(
                self._http_client(),
                call,
                self._read_error,
                timeout=self._timeout,
                record=self._record,
                secrets=self._secrets,
            )
            await self._say(socket)
        except ProviderError as error:
            raise self._signed(error) from error.__cause__

    async def _say(self, socket: WebSocket) -> None:
        """Send what there is to say now. A read looks at the clock itself, this does not."""
        if messages := self._decoder.outgoing():
            with CancelScope(deadline=self._until) as scope:
                await socket.send(*messages)
            if scope.cancelled_caught:
                raise APITimeoutError("idle", self._timeout.idle)

    async def _next(self) -> list[bytes] | None:
        """Say what the messages before have given to say, and read; to say it at once could cost their chunks."""
        if self._carrier is not None:
            await self._say(self._carrier)
        messages: list[bytes] | None = await super()._next()
        return messages

    def _frames(self, data: list[bytes] | None) -> Sequence[bytes]:
        return data or ()

    async def _read(self) -> list[Chunk]:
        chunks = await super()._read()
        error, socket = self._decoder.error, self._carrier
        if self._ended and isinstance(error, TruncatedError) and socket is not None and socket.farewell:
            error.message += f"; as it closed the socket, the service said: {socket.farewell}"
        return chunks
