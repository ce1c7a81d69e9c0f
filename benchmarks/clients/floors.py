"""Floors: what it costs to receive the bytes and to count the tokens in them, with nothing above the transport."""

# Each library lives in an environment of its own.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from clients import PROMPT, CannotDo, Client, Take

__all__ = ("Aiohttp", "AsyncioProtocol", "Blocking", "Httpcore", "Httpx", "Httpx2", "TrioReceive")

BODY = json.dumps({"model": "m", "messages": PROMPT, "stream": True}).encode()
HEADERS: Mapping[Any, str] = {"content-type": "application/json", "accept": "*/*"}
READ = 65536
END = b"0\r\n\r\n"


def request_to(address: str) -> bytes:
    """The request as bytes."""
    lines = [f"POST {urlsplit(address).path}/chat/completions HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join([*lines, f"content-length: {len(BODY)}", "", ""]).encode() + BODY


class Counter:
    """Counts the tokens in what is received; one that is cut by a read is not counted."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._last = b""

    def feed(self, data: bytes) -> bool:
        """Count, and tell whether this was the end."""
        if found := data.count(b'"token'):
            self._take("token " * found)
        self._last = (self._last + data[-len(END) :])[-len(END) :]
        return self._last == END


def origin(address: str) -> tuple[str, int]:
    """Host and port, for those that speak no TLS."""
    parts = urlsplit(address)
    if parts.scheme != "http":
        raise CannotDo("speaks no TLS")
    return parts.hostname or "", parts.port or 80


class Blocking(Client):
    """``socket.recv`` that blocks: no event loop at all."""

    most = 1

    def __init__(self, *, stock: bool = False, warm: dict[str, int] | None = None) -> None:
        super().__init__(stock=stock, warm=warm)
        self._idle: list[socket.socket] = []

    async def __aexit__(self, *error: object) -> None:
        for sock in self._idle:
            sock.close()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        where, counter = origin(address), Counter(take)
        sock = self._idle.pop() if self._idle else socket.create_connection(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request_to(address))
        while not counter.feed(sock.recv(READ)):
            pass
        self._idle.append(sock)


class TrioReceive(Client):
    """``trio.SocketStream.receive_some``."""

    def __init__(self, *, stock: bool = False, warm: dict[str, int] | None = None) -> None:
        super().__init__(stock=stock, warm=warm)
        self._idle: list[Any] = []

    async def __aexit__(self, *error: object) -> None:
        for stream in self._idle:
            await stream.aclose()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        import trio

        where, counter = origin(address), Counter(take)
        stream = self._idle.pop() if self._idle else await trio.open_tcp_stream(*where)
        await stream.send_all(request_to(address))
        while not counter.feed(await stream.receive_some()):
            pass
        self._idle.append(stream)


class Receiver(asyncio.Protocol):
    """Feeds a counter, and resolves ``ended`` at the end."""

    counter: Counter
    ended: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Count."""
        if self.counter.feed(data):
            self.ended.set_result(None)


class AsyncioProtocol(Client):
    """A bare ``asyncio.Protocol``."""

    def __init__(self, *, stock: bool = False, warm: dict[str, int] | None = None) -> None:
        super().__init__(stock=stock, warm=warm)
        self._idle: list[Receiver] = []

    async def __aexit__(self, *error: object) -> None:
        for receiver in self._idle:
            receiver.transport.close()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        loop, where = asyncio.get_running_loop(), origin(address)
        receiver = self._idle.pop() if self._idle else (await loop.create_connection(Receiver, *where))[1]
        receiver.counter, receiver.ended = Counter(take), loop.create_future()
        receiver.transport.write(request_to(address))
        await receiver.ended
        self._idle.append(receiver)


class Httpcore(Client):
    """httpcore's connection pool."""

    async def __aenter__(self) -> Self:
        import httpcore

        limits: dict[str, Any] = {} if self.stock else {"max_connections": None, "max_keepalive_connections": 100}
        self._pool = await httpcore.AsyncConnectionPool(**limits).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.aclose()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        counter = Counter(take)
        asked = self._pool.stream("POST", f"{address}/chat/completions", headers=HEADERS, content=BODY)
        async with asked as response:
            async for data in response.aiter_stream():
                counter.feed(data)


class Httpx(Client):
    """httpx with its own transport."""

    library = "httpx"

    async def __aenter__(self) -> Self:
        library: Any = __import__(self.library)
        lifted = {"timeout": None, "limits": library.Limits(max_connections=None, max_keepalive_connections=100)}
        self._client = await library.AsyncClient(**({} if self.stock else lifted)).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        counter = Counter(take)
        asked = self._client.stream("POST", f"{address}/chat/completions", headers=HEADERS, content=BODY)
        async with asked as response:
            async for data in response.aiter_raw():
                counter.feed(data)


class Httpx2(Httpx):
    """httpx2 with its own transport."""

    library = "httpx2"


class Aiohttp(Client):
    """aiohttp's client session."""

    async def __aenter__(self) -> Self:
        import aiohttp

        lifted = {} if self.stock else {"connector": aiohttp.TCPConnector(limit=0), "timeout": aiohttp.ClientTimeout()}
        self._session = await aiohttp.ClientSession(**lifted).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def read(self, address: str, take: Take) -> None:
        """Receive until the end."""
        counter = Counter(take)
        async with self._session.post(f"{address}/chat/completions", headers=HEADERS, data=BODY) as response:
            async for data in response.content.iter_any():
                counter.feed(data)
