"""What a connection's bytes go through: the port, and what both loops' sockets share."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from math import inf
from typing import Protocol

import anyio
import httpx

__all__ = ("LOST", "READ_SIZE", "Stream", "in_trio", "is_readable", "read_error", "reason", "too_late", "untaken")

READ_SIZE = 64 * 1024
LOST = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)  # what a broken stream raises


class Stream(Protocol):
    """A connection's bytes. One reader and one writer at a time."""

    async def send(self, data: bytes, timeout: float | None) -> None:
        """Hand all of it to the network. What a cancelled one has sent is unknown.

        :raises httpx.WriteTimeout: the peer took nothing for ``timeout`` seconds
        """

    async def receive(self, timeout: float | None, until: float = inf) -> bytes:
        """Wait for bytes; none at the end. One that is cancelled or late loses nothing.

        :param until: the moment, by the loop's clock, at which it is late whatever ``timeout`` says
        :raises httpx.ReadTimeout: after ``timeout`` seconds, or then
        """

    def close(self) -> None:
        """Close at once, without a good-bye; a reader is woken with ``anyio.ClosedResourceError``."""

    def is_stale(self) -> bool:
        """Whether the peer has closed, or sent something unasked, while nobody read."""

    def post(self, action: Callable[[], None]) -> None:
        """Run the action in the loop's thread: now where this is it, else soon. Garbage is collected in any thread."""


def in_trio() -> bool:
    """Whether this task is trio's; else it is asyncio's."""
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)  # None also while another thread imports trio
    return lowlevel is not None and lowlevel.in_trio_task()


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


def too_late(timeout: float | None) -> httpx.ReadTimeout:
    """What a reader gets that has waited too long."""
    within = f" within {timeout:g} s" if timeout is not None else " in time"
    return httpx.ReadTimeout(f"no byte of the answer came{within}")


def untaken(timeout: float) -> httpx.WriteTimeout:
    """What a writer gets whose peer does not read."""
    return httpx.WriteTimeout(f"the peer took nothing of the request within {timeout:g} s")


def read_error(error: BaseException) -> httpx.TransportError:
    """What a broken stream is to the reader; the kernel's own time-out is one, too."""
    timed_out = isinstance(error.__cause__ or error, TimeoutError)
    kind = httpx.ReadTimeout if timed_out else httpx.ReadError
    return kind(f"the connection broke while the answer was awaited: {reason(error)}")
