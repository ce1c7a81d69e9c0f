"""A service on loopback that says what it is told, in the writes that it is told, whatever it is asked."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from websockets.utils import accept_key

from g4ftrio.providers import HttpProvider, find
from g4ftrio.simulator._dialects import base_of
from g4ftrio.simulator._http1 import RequestReader
from g4ftrio.simulator._peer import Peer
from tests.faults.carriers import ACCEPT

__all__ = ("Reciter", "reciting")

_TURNS = 6  # of the loop between two writes: by then a client of the same loop has read the first


class Reciter:
    """Answers each connection with the same writes, and ends it.

    :ivar writes: what is said
    :ivar reset: whether the end is a RST, and not a FIN
    :ivar quiet: is set when a connection, come since this was said, has gone
    """

    def __init__(self) -> None:
        self.writes: tuple[bytes, ...] = ()
        self.reset = False
        self.quiet = anyio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def say(self, *writes: bytes, reset: bool = False) -> None:
        """Say this from now on."""
        self.writes, self.reset = writes, reset
        self.quiet = anyio.Event()

    def asked_by(self, label: str, **settings: Any) -> HttpProvider:
        """Give a provider of this wire that asks here."""
        declared = find(label)
        assert issubclass(declared, HttpProvider)
        api_base = f"http://127.0.0.1:{self.port}{base_of(label)}"
        return declared(model="m", name=label, api_base=api_base, **settings)

    async def serve(self) -> None:
        """Serve until cancelled."""
        with self._listener:
            async with anyio.create_task_group() as tasks:
                while True:
                    await anyio.wait_readable(self._listener)
                    accepted, _ = self._listener.accept()
                    tasks.start_soon(self._recite, Peer(accepted))

    async def _recite(self, client: Peer) -> None:
        quiet = self.quiet
        try:
            key = await _asked(client)
            await self._say(client, key)
            while not self.reset and await client.receive():
                pass
        except OSError:  # the client is gone
            pass
        finally:
            client.close()
            quiet.set()

    async def _say(self, client: Peer, key: str) -> None:
        whole = b"".join(self.writes).replace(ACCEPT, accept_key(key).encode())
        ends = [*accumulate(map(len, self.writes))]
        for start, end in zip((0, *ends), ends, strict=False):
            for _ in range(_TURNS if start else 0):
                await checkpoint()
            await client.send(whole[start:end])
        if self.reset:
            client.abort()
        else:
            client.finish()


async def _asked(client: Peer) -> str:
    """Read a request; give the key of one that wants a WebSocket."""
    reader = RequestReader()
    while data := await client.receive():
        for request in reader.feed(data):
            return request.headers.get("sec-websocket-key", "")
    return ""


@asynccontextmanager
async def reciting() -> AsyncIterator[Reciter]:
    """Run a reciter."""
    reciter = Reciter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reciter.serve)
        yield reciter
        tasks.cancel_scope.cancel()
