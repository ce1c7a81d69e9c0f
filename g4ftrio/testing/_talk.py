"""A scripted service of WebSockets, as httpx's transports leave an upgraded connection to whoever asked for it."""

from __future__ import annotations

import httpx
import msgspec

from g4ftrio.simulator._socket_wire import SocketWire
from g4ftrio.simulator._wire import Item

__all__ = ("Talk",)

_LIMIT = 1 << 24  # bytes of a message


class Talk(httpx.AsyncByteStream):
    """One connection: it hears what is asked, says what it is given to say, and good-bye."""

    def __init__(self, wire: SocketWire, request: httpx.Request, said: list[Item]) -> None:
        from g4ftrio.transports._frames import Frames, Side

        self._said = said
        self._session = wire.session(dict(request.url.params), "answer-1", 0)
        self._frames = Frames(Side.SERVER, _LIMIT)
        self._say(self._session.greet())

    @classmethod
    def opened(cls, wire: SocketWire, request: httpx.Request, said: list[Item]) -> httpx.Response:
        """Give the answer that opens the socket."""
        from websockets.utils import accept_key

        talk = cls(wire, request, said)
        accept = accept_key(request.headers["sec-websocket-key"])
        headers = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
        return httpx.Response(101, headers=headers, stream=talk, extensions={"network_stream": talk})

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  # httpcore's face
        """Give what is there to say, and then a good-bye."""
        if not (unsent := self._frames.unsent()):
            self._frames.close()
        return unsent or self._frames.unsent()

    async def write(self, data: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # as above
        """Hear the client."""
        for message in self._frames.feed(data):
            replies, asked = self._session.hear(msgspec.json.decode(message))
            self._say(replies)
            for item in self._said if asked is not None else ():
                self._say(self._session.say(item))

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def _say(self, messages: list[bytes]) -> None:
        for message in messages:
            self._frames.say(message)
