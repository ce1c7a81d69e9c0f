"""What a connection's bytes go through: the port, and what both loops' sockets share."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from typing import Protocol

import anyio
import httpx

__all__ = ("LOST", "READ_SIZE", "Stream", "in_trio", "is_readable", "read_error", "reason")

READ_SIZE = 64 * 1024
LOST = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)  # what a broken stream raises


class Stream(Protocol):
    """A connection's bytes. One reader and one writer at a time."""

    async def send(self, data: bytes, timeout: float | None) -> None:
        """Hand all of it to the network. What a cancelled one has sent is unknown.

        :raises httpx.WriteTimeout: after ``timeout`` seconds
        """

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for bytes; none at the end. A cancelled one loses nothing.

        :raises httpx.ReadTimeout: after ``timeout`` seconds
        """

    def close(self) -> None:
        """Close at once, without a good-bye; a reader is woken with ``anyio.ClosedResourceError``."""

    def is_stale(self) -> bool:
        """Whether the peer has closed, or sent something unasked, while nobody read."""

    def post(self, action: Callable[[], None]) -> None:
        """Run the action in the loop's thread: now where this is it, else soon. Garbage is collected in any thread."""


def in_trio() -> bool:
    """Whether this task is trio's; else it is asyncio's."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def is_readable(sock: socket.socket) -> bool:
    """Whether a read would not block: there are bytes, the end, or an error."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows, whose select() takes any descriptor
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def reason(error: BaseException) -> str:
    """Why a stream broke, in the system's words."""
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__


def read_error(error: BaseException) -> httpx.TransportError:
    """What a broken stream is to the reader; the kernel's own time-out is one, too."""
    timed_out = isinstance(error.__cause__ or error, TimeoutError)
    kind = httpx.ReadTimeout if timed_out else httpx.ReadError
    return kind(f"the connection broke while the answer was awaited: {reason(error)}")
