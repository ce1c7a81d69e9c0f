"""A service on loopback that says any bytes, and the provider of any wire that asks it.

async with Hostile() as service:
    service.says = refusal(503, b"busy")
    error = await failure(provider("anthropic", service.url))
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from typing import Any

import anyio
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from g4ftrio import ProviderError
from g4ftrio.providers import HttpProvider, find
from g4ftrio.simulator._dialects import DIALECTS, SOCKETS
from tests.transports.http1_server import Peer, Service, head

__all__ = ("KEY", "QUESTION", "WIRES", "Hostile", "failure", "provider", "refusal", "said", "say", "upgraded")

KEY = "sk-nobody/may+see==this-key"
QUESTION = "Why, of all colours, is the sky blue?"
WIRES = (*DIALECTS, *SOCKETS)
_LATE = 10.0  # seconds after which a test is not going to end by itself


class Hostile(Service):
    """Answers every request with ``says``; each of its parts goes out in a packet of its own.

    :ivar says: what to answer
    :ivar answers: what to answer first, one request after another; the last of them over and over
    :ivar asked: the requests, oldest first
    :ivar stays: whether a connection is kept open behind the answer
    """

    def __init__(self, *says: bytes, stays: bool = True, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._talk, tls=tls)
        self.answers: Sequence[Sequence[bytes]] = ()
        self.says: Sequence[bytes] = says
        self.asked: list[bytes] = []
        self.stays = stays

    async def _talk(self, peer: Peer) -> None:
        while True:
            self.asked.append(await peer.request())
            says = self.answers[min(len(self.asked), len(self.answers)) - 1] if self.answers else self.says
            await peer.send(*says)
            if not self.stays:
                return


def provider(label: str, url: str, **settings: Any) -> HttpProvider:
    """The provider of a wire, with that address and a key."""
    declared = find(label)
    assert issubclass(declared, HttpProvider)
    return declared(**{"model": "m", "name": label, "api_base": url.rstrip("/"), "api_key": KEY, **settings})


async def failure(asked: HttpProvider, question: str = QUESTION, **params: Any) -> ProviderError:
    """What asking fails with, which is an error of the provider's, never another."""
    try:
        with anyio.fail_after(_LATE):
            answer = await asked.complete(question, **params)
    except ProviderError as error:
        return error
    raise AssertionError(f"{asked.name} answered {answer.text[:100]!r}")


async def said(asked: HttpProvider, **params: Any) -> str:
    """The text of its answer."""
    with anyio.fail_after(_LATE):
        return (await asked.complete(QUESTION, **params)).text


def refusal(status: int, body: bytes = b"", *fields: bytes) -> tuple[bytes]:
    """An answer of that status."""
    return (head(body, *fields, status=b"%d Hm" % status),)


def say(*frames: bytes, kind: bytes = b"text/event-stream") -> tuple[bytes]:
    """An answer of these server-sent events."""
    body = b"".join(b"data: %s\n\n" % frame for frame in frames)
    return (head(body, b"Content-Type: " + kind),)


async def upgraded(peer: Peer, *messages: bytes) -> bytes:
    """Accept an upgrade, say messages, and wait for the client to go; gives the request."""
    request = await peer.request()
    found = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert found
    accept = accept_key(found[1].decode()).encode()
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    spoken = b"".join(Frame(Opcode.TEXT, message).serialize(mask=False) for message in messages)
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + accept + b"\r\n\r\n" + spoken)
    await peer.gone()
    return request
