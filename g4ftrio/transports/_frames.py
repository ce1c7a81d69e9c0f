"""WebSocket frames without I/O, for either side: bytes to messages, and messages to bytes.

The protocol is the websockets library's; importing this loads it (30 ms).
"""

from __future__ import annotations

from logging import CRITICAL, Logger

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

__all__ = ("SILENT", "Frames", "Side")

SILENT = Logger("websocket", CRITICAL + 1)  # noqa: LOG001  # frames hold prompts, and this one nobody can switch on

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_REASON = 123  # bytes: RFC 6455, 5.5


class Frames:
    """What is said and heard on one open WebSocket.

    What is to be written is gathered until ``unsent`` takes it, pongs and the reply to the peer's close as well.

    :param limit: bytes of a message, all of its fragments together
    :ivar ended: nothing more will be heard
    """

    def __init__(self, side: Side, limit: int) -> None:
        self.ended = False
        self._protocol = Protocol(side, max_size=limit, logger=SILENT)
        self._message = bytearray()  # what has come of one that is in fragments

    @property
    def is_open(self) -> bool:
        """Whether neither side has said good-bye."""
        return self._protocol.state is State.OPEN

    @property
    def closed(self) -> tuple[int | None, str]:
        """The code and the words with which the peer said good-bye, None where it did not."""
        close = self._protocol.close_rcvd
        return (None, "") if close is None else (int(close.code), close.reason)

    @property
    def broken(self) -> Exception | None:
        """What was wrong with what was heard: ``EOFError`` for an end without a good-bye."""
        return self._protocol.parser_exc

    def feed(self, data: bytes) -> list[bytes]:
        """Hear some bytes, none at their end, and give the messages that are whole."""
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        messages: list[bytes] = []
        for event in protocol.events_received():
            if isinstance(event, Frame) and event.opcode in _DATA:
                self._add(event, messages)
        self.ended = protocol.close_rcvd is not None or protocol.parser_exc is not None
        return messages

    def _add(self, frame: Frame, messages: list[bytes]) -> None:
        if frame.fin and not self._message:
            messages.append(bytes(frame.data))
            return
        self._message += frame.data
        if frame.fin:
            messages.append(bytes(self._message))
            self._message.clear()

    def say(self, message: bytes) -> None:
        """Say a message, as text; after a good-bye nothing is said any more."""
        if self.is_open:
            self._protocol.send_text(message)

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self.is_open:
            self._protocol.send_ping(b"")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say good-bye."""
        if self.is_open:
            self._protocol.send_close(code, reason.encode()[:_REASON].decode(errors="ignore"))

    def unsent(self) -> bytes:
        """Take what is to be written."""
        return b"".join(self._protocol.data_to_send())
