"""Connections without a network, so that a wait on a socket can be timed to the instant.

Who connects to a host gets one end of a socket pair, and what answers there gets the other. The kernel hands over what
is written to a pair inside the call that writes it: when every task waits, nothing is on its way, and virtual time may
jump. So the clients run all the way down to the system calls, and a time-out is due at one exact moment.

    async with switchboard(monkeypatch) as board:
        board.lines["slow.test"] = spoilt(simulated(fleet["openai"]), stall(at=300))
        ...  # ask http://slow.test/v1 through `open_http_client()`, or through `board.stock()`
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from copy import copy
from functools import cache
from typing import Any, TypeAlias

import anyio
import httpcore
import httpx
import pytest
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSStream

from g4ftrio.simulator import Running
from g4ftrio.simulator._peer import Peer
from g4ftrio.simulator._server import _Connection
from g4ftrio.transports import _connect
from g4ftrio.transports._sockets import in_trio
from tests.faults.relay import Spoiler, between

__all__ = ("Answerer", "Switchboard", "encrypted", "silent", "simulated", "slow_to_read", "spoilt", "switchboard")

Answerer: TypeAlias = Callable[[Peer], Coroutine[Any, Any, None]]


class Switchboard:
    """Who answers where.

    :ivar lines: by host, or address of a host; None never lets a connection come about, an error refuses it
    :ivar delays: the seconds that a connection takes, where it takes any
    :ivar addresses: those of a host that has several
    :ivar accepted: how many connections there were
    :ivar open: how many there are
    :ivar left: when the latest connection to an address ended, by the loop's clock
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self.lines: dict[str, Answerer | OSError | None] = {}
        self.delays: dict[str, float] = {}
        self.addresses: dict[str, list[str]] = {}
        self.accepted = 0
        self.open = 0
        self.left: dict[str, float] = {}
        self._tasks = tasks

    async def connect(self, address: str) -> socket.socket:
        """Connect, if anybody answers."""
        answerer = self.lines[address]
        await anyio.sleep(self.delays.get(address, 0.0))
        if isinstance(answerer, OSError):
            raise answerer
        if answerer is None:
            await anyio.sleep_forever()
            raise AssertionError
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.accepted += 1
        self.open += 1
        self._tasks.start_soon(self._answer, address, answerer, Peer(theirs))
        return ours

    async def _answer(self, address: str, answerer: Answerer, peer: Peer) -> None:
        try:
            await answerer(peer)
        finally:
            peer.close()
            self.open -= 1
            self.left[address] = anyio.current_time()

    def look_up(
        self, origin: _connect.Origin, flags: int
    ) -> list[_connect._Address]:  # the signature of what it stands for
        """Find the addresses of a host."""
        found = self.addresses.get(origin.host, [origin.host])
        return [_connect._Address(socket.AF_UNIX, address) for address in found]

    async def dial(self, to: _connect._Address) -> socket.socket:
        """Connect to one of them."""
        return await self.connect(to.address)

    def stock(self, **options: Any) -> httpx.AsyncClient:
        """Open a plain client of httpx's that connects here."""
        client = httpx.AsyncClient(trust_env=False, **{"verify": _trust(), **options})
        transports: Iterable[Any] = (client._transport, *client._mounts.values())
        for transport in transports:
            transport._pool._network_backend = _Backend(self)
        return client


@cache
def _trust() -> ssl.SSLContext:
    """Whom everybody trusts; this takes 20 ms to load."""
    return ssl.create_default_context()


class _Backend(httpcore.AsyncNetworkBackend):
    """The network of httpx's own transport."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: object, **__: object
    ) -> httpcore.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                sock = await self._board.connect(host)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host}:{port}") from None
        if in_trio():
            import trio
            from httpcore._backends.trio import TrioStream

            return TrioStream(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        from anyio._backends._asyncio import SocketStream, StreamProtocol
        from httpcore._backends.anyio import AnyIOStream

        loop = asyncio.get_running_loop()
        stream = SocketStream(*await loop.create_unix_connection(StreamProtocol, sock=sock))
        stream._transport.pause_reading()
        return AnyIOStream(stream)


@asynccontextmanager
async def switchboard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Switchboard]:
    """Have all connections of our own transport made by a switchboard."""
    async with anyio.create_task_group() as tasks:
        board = Switchboard(tasks)
        monkeypatch.setattr(_connect, "_look_up", board.look_up)
        monkeypatch.setattr(_connect, "_dial", board.dial)
        yield board
        tasks.cancel_scope.cancel()


async def silent(peer: Peer) -> None:
    """Hear everything, and say nothing."""
    while await peer.receive():
        pass


def simulated(running: Running) -> Answerer:
    """Answer as a simulated service does to the first who asks: it always says the same, to the byte."""

    async def answer(peer: Peer) -> None:
        connection = _Connection(copy(running), peer)
        running._open.add(connection)
        await connection.run()

    return answer


def spoilt(answerer: Answerer, spoiler: Spoiler) -> Answerer:
    """Answer so, with what is said spoilt."""

    async def answer(peer: Peer) -> None:
        async with _behind(answerer) as (near, _):
            await between(peer, near, spoiler)

    return answer


def slow_to_read(answerer: Answerer, seconds: float, *, after: int = 1024) -> Answerer:
    """Answer so, but read only once every so many seconds when so many bytes were read."""

    async def answer(peer: Peer) -> None:
        async with _behind(answerer) as (near, tasks):
            tasks.start_soon(_pass_on, near.receive, peer.send)
            read = 0
            while data := await peer.receive():
                await near.send(data)
                read += len(data)
                if read > after:
                    await anyio.sleep(seconds)

    return answer


def encrypted(answerer: Answerer, context: ssl.SSLContext) -> Answerer:
    """Answer so, inside TLS."""

    async def answer(peer: Peer) -> None:
        try:
            tls = await TLSStream.wrap(_Bytes(peer), server_side=True, ssl_context=context, standard_compatible=False)
            async with _behind(answerer) as (near, tasks):
                tasks.start_soon(_pass_on, near.receive, tls.send)
                await _pass_on(tls.receive, near.send)
        except (anyio.EndOfStream, anyio.BrokenResourceError):  # the client is gone before the handshake's end
            return

    return answer


class _Bytes(ByteStream):
    """A peer's bytes, as anyio's TLS wants them."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def receive(self, max_bytes: int = 65536) -> bytes:  # the whole of a read is taken
        if data := await self._peer.receive():
            return data
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        try:
            await self._peer.send(item)
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self._peer.finish()

    async def aclose(self) -> None:
        self._peer.close()


@asynccontextmanager
async def _behind(answerer: Answerer) -> AsyncIterator[tuple[Peer, TaskGroup]]:
    """Have somebody answer at the other end of a pair, as long as this lasts."""
    near, far = (Peer(each) for each in socket.socketpair())
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answerer, far)
            yield near, tasks
            tasks.cancel_scope.cancel()
    finally:
        near.close()
        far.close()


async def _pass_on(receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], Awaitable[object]]) -> None:
    try:
        while data := await receive():
            await send(data)
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return
