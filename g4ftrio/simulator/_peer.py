"""The server's end of one TCP connection, on either loop.

Plain sockets instead of anyio's streams, because those send a FIN before anything else when they are closed, and a
connection that is reset must not.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from anyio import wait_readable, wait_writable
from anyio.lowlevel import checkpoint

__all__ = ("Peer",)

_READ = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for 0 s


class Peer:
    """One accepted connection; one task reads it, one writes.

    :ivar is_aborted: whether its close will be a reset
    """

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        with suppress(OSError):  # macOS refuses options for a connection that is gone already
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self.is_aborted = False

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._socket.fileno()

    async def receive(self) -> bytes:
        """Give what came, nothing at the end or if the client reset the connection."""
        while True:
            await wait_readable(self._socket)
            try:
                return self._socket.recv(_READ)
            except BlockingIOError:  # a false alarm of the selector
                continue
            except OSError:
                return b""

    async def send(self, data: bytes) -> None:
        """Send all of it.

        :raises OSError: the client is gone
        """
        await checkpoint()
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await wait_writable(self._socket)

    def finish(self) -> None:
        """Send a FIN; the client can still be heard."""
        if not self.is_aborted:
            with suppress(OSError):  # the client is gone
                self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Make ``close`` send a RST."""
        self.is_aborted = True
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def close(self) -> None:
        """Close it."""
        self._socket.close()
