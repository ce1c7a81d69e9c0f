"""A server on loopback that does to each connection what a test says, byte by byte."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, TaskGroup
from anyio.streams.tls import TLSListener

__all__ = ("Peer", "Script", "Service", "answering", "head")


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._rest = b""

    async def request(self) -> bytes:
        """Read one request, with its body if it has a Content-Length or is chunked.

        :raises anyio.EndOfStream: if there is none
        """
        raw = await self._until(b"\r\n\r\n")
        for line in raw.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return raw + await self._exactly(int(line.partition(b":")[2]))
            if line == b"transfer-encoding: chunked":
                return raw + await self._until(b"0\r\n\r\n")
        return raw

    async def _until(self, end: bytes) -> bytes:
        while end not in self._rest:
            self._rest += await self._stream.receive()
        found, _, self._rest = self._rest.partition(end)
        return found + end

    async def _exactly(self, length: int) -> bytes:
        while len(self._rest) < length:
            self._rest += await self._stream.receive()
        found, self._rest = self._rest[:length], self._rest[length:]
        return found

    async def send(self, *parts: bytes) -> None:
        """Send the parts, each in a packet of its own."""
        for number, part in enumerate(parts):
            if number:
                await anyio.sleep(0.005)
            await self._stream.send(part)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        with anyio.fail_after(5):
            try:
                while True:
                    await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    def reset_on_close(self) -> None:
        """Make the close a reset."""
        raw = self._stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


def head(body: bytes = b"", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with its length."""
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines, b"", body))


def answering(*answers: bytes) -> Script:
    """Each request of a connection gets the next of these answers, the last of them over and over."""

    async def script(peer: Peer) -> None:
        number = 0
        while True:
            await peer.request()
            await peer.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script


class Service:
    """The server; the script is run for each connection, which is closed when it returns.

    :param scripts: for the first connection, the second, ...; the last one for all others
    :ivar accepted: how many connections there were
    :ivar open: how many there are
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self.accepted = 0
        self.open = 0
        self.port = 0
        self._changed = anyio.Event()
        self._group: TaskGroup | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        served = listener if self._tls is None else TLSListener(listener, self._tls, standard_compatible=False)
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._listen, served)
        return self

    async def _listen(self, listener: Listener[ByteStream]) -> None:
        async with listener:
            await listener.serve(self._serve)

    async def _serve(self, stream: ByteStream) -> None:
        script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
        self.accepted += 1
        self._count(1)
        try:
            await script(Peer(stream))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
        finally:
            await anyio.aclose_forcefully(stream)
            self._count(-1)

    def _count(self, change: int) -> None:
        self.open += change
        self._changed.set()
        self._changed = anyio.Event()

    async def settled(self, *, open: int = 0) -> None:  # noqa: A002  # reads well
        """Wait until so many connections are left."""
        with anyio.fail_after(5):
            while self.open != open:
                await self._changed.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(kind, error, traceback)
