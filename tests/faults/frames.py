"""A server's end of a WebSocket, frame by frame as a test writes them."""

from __future__ import annotations

from typing import Any

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from g4ftrio.transports._frames import SILENT
from tests.transports.http1_server import Peer, Script

__all__ = ("BINARY", "GOING_ON", "PING", "TEXT", "event", "frame", "talk")

TEXT, BINARY, GOING_ON, PING = 1, 2, 0, 9


def frame(data: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, length: int | None = None) -> bytes:
    """Write a frame as a server does; ``length`` is what it claims to have."""
    size = len(data) if length is None else length
    return bytes([fin << 7 | rsv << 4 | opcode, 127]) + size.to_bytes(8, "big") + data


def event(**fields: Any) -> bytes:
    return frame(msgspec.json.encode(fields))


def talk(said: bytes, block: bytes = b"") -> Script:
    """Open a socket and say something, then the block as often as the client takes it."""

    async def script(peer: Peer) -> None:
        line, *fields = (await peer.request()).decode("latin-1").split("\r\n")
        headers = Headers(
            [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields if field)]
        )
        answer = ServerProtocol(logger=SILENT).accept(Handshake(line.split(" ")[1], headers))
        await peer.send(answer.serialize() + said)
        while block:
            await peer.send(block)
        await peer.gone()

    return script
