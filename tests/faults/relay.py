"""A relay between a client and a simulated service, which spoils what the service says at any byte.

    async with fleet_of("openai") as fleet, relayed(fleet["openai"].api_base, cut(at=100, reset=True)) as relay:
        ...  # ask relay.api_base

What the client says is passed on as it is. A connection that the spoiler is done with is closed on both sides.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

import anyio

from g4ftrio.simulator._peer import Peer

__all__ = ("Relay", "Said", "Spoiler", "begin", "between", "cut", "faithful", "relayed", "split", "stall")

_LINGER = 5.0  # seconds that a client has to go after a FIN, before the connection is closed under it
_READ = 64 * 1024
_PAUSE = 0.001  # seconds between two writes: on loopback the first has been read by then


class Said:
    """What the service says on one connection, to be taken as it comes, up to any byte."""

    def __init__(self, service: Peer) -> None:
        self._service = service
        self._rest = b""

    async def take(self, most: int = _READ) -> bytes:
        """Take what is there, so many bytes at most; nothing at the end."""
        self._rest = self._rest or await self._service.receive()
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken


Spoiler: TypeAlias = Callable[[Said, Peer], Awaitable[None]]


async def faithful(said: Said, client: Peer) -> None:
    """Pass everything on, and then the end."""
    while more := await said.take():
        await client.send(more)
    client.finish()


async def begin(said: Said, client: Peer, count: int) -> None:
    """Pass the first so many bytes on as they come."""
    while count and (more := await said.take(count)):
        await client.send(more)
        count -= len(more)


def cut(at: int, *, reset: bool = False) -> Spoiler:
    """End the connection after so many bytes, with a FIN or a RST."""

    async def spoil(said: Said, client: Peer) -> None:
        await begin(said, client, at)
        if reset:
            client.abort()
        else:
            client.finish()

    return spoil


def split(at: int) -> Spoiler:
    """Make one write end after so many bytes and another begin."""

    async def spoil(said: Said, client: Peer) -> None:
        await begin(said, client, at)
        await anyio.sleep(_PAUSE)
        await faithful(said, client)

    return spoil


def stall(at: int) -> Spoiler:
    """Say no more after so many bytes, and keep the connection."""

    async def spoil(said: Said, client: Peer) -> None:
        await begin(said, client, at)
        await anyio.sleep_forever()

    return spoil


class Relay:
    """Listens on loopback, and connects each client to the service.

    :param api_base: the service's
    :param spoiler: what is done to the service's words, for each connection anew
    :ivar api_base: the service's, by way of the relay
    :ivar accepted: how many connections there were
    :ivar open: how many there are
    """

    def __init__(self, api_base: str, spoiler: Spoiler = faithful) -> None:
        address = urlsplit(api_base)
        assert address.hostname
        assert address.port
        self._service = (address.hostname, address.port)
        self._listener = _socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)
        self.api_base = address._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.spoiler = spoiler
        self.accepted = 0
        self.open = 0
        self._quiet = anyio.Event()

    async def serve(self) -> None:
        """Serve until cancelled."""
        with self._listener:
            async with anyio.create_task_group() as tasks:
                while True:
                    await anyio.wait_readable(self._listener)
                    accepted, _ = self._listener.accept()
                    self.accepted += 1
                    tasks.start_soon(self._relay, Peer(accepted))

    async def _relay(self, client: Peer) -> None:
        self.open += 1
        try:
            raw = _socket()
            raw.connect_ex(self._service)
            await anyio.wait_writable(raw)
            await between(client, Peer(raw), self.spoiler)
        finally:
            client.close()
            self.open -= 1
            self._quiet.set()
            self._quiet = anyio.Event()

    async def quiet(self) -> None:
        """Wait until no connection is left."""
        with anyio.fail_after(_LINGER):
            while self.open:
                await self._quiet.wait()


async def between(client: Peer, service: Peer, spoiler: Spoiler) -> None:
    """Pass on what the two say until one of them is gone, and close the service's side."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_upstream, client, service, tasks.cancel_scope)
            try:
                await spoiler(Said(service), client)
            except OSError:  # the client is gone
                tasks.cancel_scope.cancel()
            if client.is_aborted:
                tasks.cancel_scope.cancel()
            tasks.cancel_scope.deadline = anyio.current_time() + _LINGER
    finally:
        service.close()


async def _upstream(client: Peer, service: Peer, scope: anyio.CancelScope) -> None:
    try:
        while asked := await client.receive():
            await service.send(asked)
    except OSError:  # the service is gone; what it said last may be still on its way
        while await client.receive():
            pass
    scope.cancel()


@asynccontextmanager
async def relayed(api_base: str, spoiler: Spoiler = faithful) -> AsyncIterator[Relay]:
    """Run a relay."""
    relay = Relay(api_base, spoiler)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.serve)
        yield relay
        tasks.cancel_scope.cancel()


def _socket() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    return made
