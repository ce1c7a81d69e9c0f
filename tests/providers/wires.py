"""Services on loopback that keep what they were asked, byte by byte, and answer what a test says.

    async with Recorder(streamed(*chat("Hel", "lo"))) as service:
        ...  # ask service.url, then look at service.asked[0].body

An answer is a row of parts: bytes go out in a packet of their own, a function of the peer is awaited.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
from anyio.from_thread import start_blocking_portal
from msgspec import Struct

from g4ftrio import Reasoning, is_content
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.typing import AsyncResult, Chunk, Messages
from tests.transports.http1_server import Peer, Service, head

__all__ = (
    "HELD",
    "Answer",
    "Asked",
    "Held",
    "OnceThought",
    "Recorder",
    "chat",
    "events",
    "in_thread",
    "refused",
    "streamed",
    "thought",
    "whole",
)

Part: TypeAlias = bytes | Callable[[Peer], Awaitable[None]]
Answer: TypeAlias = Sequence[Part]


class Asked(Struct, frozen=True):
    """One request as it came.

    :ivar start: method, target and version
    :ivar fields: the header's lines, in their order
    """

    start: str
    fields: tuple[str, ...]
    body: bytes

    @classmethod
    def read(cls, raw: bytes) -> Asked:
        header, _, body = raw.partition(b"\r\n\r\n")
        start, *fields = header.decode("latin-1").split("\r\n")
        return cls(start, tuple(fields), body)

    def __getitem__(self, name: str) -> str | None:
        """The value of a header field, None where there is none; two of one name are a fault."""
        found = [value for field in self.fields for key, _, value in [field.partition(": ")] if key.lower() == name]
        assert len(found) < 2, self.fields
        return found[0] if found else None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Recorder(Service):
    """A service that answers its n-th request with the n-th answer, and the last one over and over.

    :ivar asked: what it was asked, oldest first
    """

    def __init__(self, *answers: Answer) -> None:
        super().__init__(self._talk)
        self._answers = answers
        self.asked: list[Asked] = []

    async def _talk(self, peer: Peer) -> None:
        while True:
            self.asked.append(Asked.read(await peer.request()))
            for part in self._answers[min(len(self.asked), len(self._answers)) - 1]:
                await (peer.send(part) if isinstance(part, bytes) else part(peer))


class Held:
    """A part that holds an answer up until a test lets it go on."""

    def __init__(self) -> None:
        self._free = anyio.Event()

    async def __call__(self, peer: Peer) -> None:
        with anyio.fail_after(5):
            await self._free.wait()

    def go_on(self) -> None:
        self._free.set()


async def HELD(peer: Peer) -> None:
    """Hold an answer up until the client has gone."""
    await peer.gone()


class OnceThought(AsyncGeneratorProvider):
    """An entrant that answers, and so wins, once the race has seen another's reasoning; ``clean`` is its predicate."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = anyio.Event()

    def clean(self, chunk: Chunk, text_so_far: str) -> bool:
        if isinstance(chunk, Reasoning):
            self._seen.set()
        return is_content(chunk, text_so_far)

    async def create_async_generator(self, model: str, messages: Messages, **params: Any) -> AsyncResult:
        await self._seen.wait()
        yield "won"


@contextmanager
def in_thread(service: Recorder) -> Iterator[Recorder]:
    """Run a service in a thread with a loop of its own, for plain synchronous tests."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(service):
        yield service


def streamed(*parts: Part, kind: str = "text/event-stream", ends: bool = True) -> Answer:
    """A chunked answer; each of the parts that are bytes is a chunk."""
    start = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) if isinstance(part, bytes) else part for part in parts]
    return [start, *chunks, *([b"0\r\n\r\n"] if ends else [])]


def whole(payload: Any, status: str = "200 OK") -> Answer:
    """One JSON answer."""
    body = json.dumps(payload).encode()
    return [head(body, b"Content-Type: application/json", status=status.encode())]


def refused(message: str, status: str) -> Answer:
    """An error as most services word it."""
    return whole({"error": {"message": message}}, status)


def events(*payloads: Any) -> list[bytes]:
    """Server-sent events; what is no string is JSON."""
    return [f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n".encode() for each in payloads]


def chat(*texts: str) -> list[bytes]:
    """The events of a chat's answer, an event for each text, and its end."""
    said = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return events(*said, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, "[DONE]")


def thought(text: str) -> bytes:
    """The event of a piece of reasoning."""
    return events({"choices": [{"delta": {"reasoning_content": text}}]})[0]
