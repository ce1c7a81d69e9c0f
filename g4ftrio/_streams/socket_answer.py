"""One answer of one provider over a WebSocket, as a source of chunks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from g4ftrio._streams.answer import DecodedAnswer
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import Error, TruncatedError
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call
from g4ftrio._words.timeouts import Timeout
from g4ftrio.transports import http

if TYPE_CHECKING:
    import httpx

    from g4ftrio.dialects._base import Dialogue
    from g4ftrio.transports.websocket import WebSocket

__all__ = ("Question", "SocketAnswer")

Question: TypeAlias = "tuple[Call, Dialogue, Iterable[str]]"


class SocketAnswer(DecodedAnswer):
    """An answer read over a WebSocket of its own, which is closed with it.

    :param prepare: gives the call that opens the socket, what is said on it, and what must be masked in whatever the
        service says
    :param read_error: finds the message and the code in the body of an answer that refuses the socket
    """

    _decoder: Dialogue

    def __init__(
        self,
        client: httpx.AsyncClient | None,
        prepare: Callable[[], Awaitable[Question]],
        read_error: Callable[[bytes], tuple[str, str]],
        *,
        timeout: Timeout,
        record: EntrantReport,
        owner: str = "",
        open_client: Callable[[], httpx.AsyncClient] = http.open_http_client,
    ) -> None:
        super().__init__(client, timeout=timeout, record=record, owner=owner, open_client=open_client)
        self._prepare = prepare
        self._read_error = read_error

    async def _open(self) -> None:
        from g4ftrio.transports.websocket import open_websocket

        call, self._decoder, secrets = await self._prepare()
        self._know(secrets)
        try:
            socket = await open_websocket(
                self._http_client(),
                call,
                self._read_error,
                timeout=self._timeout,
                record=self._record,
                secrets=self._secrets,
            )
            self._carrier = talk = _Talk(socket, self._decoder)
            await talk.say()
        except Error as error:
            raise self._signed(error) from error.__cause__

    def _frames(self, data: list[bytes] | None) -> Sequence[bytes]:
        if data:
            self._measure(sum(map(len, data)))
        return data or ()

    def _read_end(self, frames: Sequence[bytes]) -> list[Chunk]:
        chunks = super()._read_end(frames)
        error, carrier = self._decoder.error, self._carrier
        if isinstance(error, TruncatedError) and isinstance(carrier, _Talk) and carrier.farewell:
            error.message += f"; as it closed the socket, the service said: {carrier.farewell}"
        return chunks


class _Talk:
    """A socket, on which what there is to say is said before each read; to say it sooner could cost chunks."""

    def __init__(self, socket: WebSocket, dialogue: Dialogue) -> None:
        self._socket = socket
        self._dialogue = dialogue
        self.drain, self.aclose, self.close_now = socket.drain, socket.aclose, socket.close_now

    @property
    def farewell(self) -> str:
        return self._socket.farewell

    async def pull(self, until: float = inf) -> list[bytes]:
        await self.say(until)
        return await self._socket.pull(until)

    async def say(self, until: float = inf) -> None:
        """Send what there is to say now."""
        if messages := self._dialogue.outgoing():
            await self._socket.send(*messages, until=until)
