"""A plain socket under asyncio (and uvloop): a protocol with one waiter.

Through asyncio's or anyio's streams a read costs 57 µs of processor time, so 31. A read's time-out is one timer for
the connection, which looks at a time that the read has moved, and not one timer for each read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf
from typing import Any

import anyio

from g4ftrio.transports._sockets import in_trio, is_readable, too_late, untaken

__all__ = ("AsyncioSocket", "dial")

_LOOKS = 16  # at what a peer has taken, in the time that it may take nothing
_FULL = 256 * 1024  # bytes that wait to be read before the kernel is left to hold back the peer


async def dial(sock: socket.socket, address: Any) -> None:
    """Connect the socket; a failed or cancelled one is closed."""
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise


class AsyncioSocket(asyncio.Protocol):
    """A connected socket, after ``open``."""

    __slots__ = (
        "_closed",
        "_deadline",
        "_drained",
        "_ended",
        "_looked_at",
        "_loop",
        "_lost",
        "_pieces",
        "_size",
        "_sock",
        "_timer",
        "_transport",
        "_waiter",
    )

    _transport: asyncio.Transport

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._closed = False
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._deadline = self._looked_at = inf
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, sock: socket.socket) -> AsyncioSocket:
        """Take over a connected socket; it is closed if this fails or is cancelled."""
        self = cls(sock)
        kinds = {socket.AF_UNIX: self._loop.create_unix_connection} if hasattr(socket, "AF_UNIX") else {}
        create: Any = kinds.get(sock.family, self._loop.create_connection)
        try:
            await create(lambda: self, sock=sock)
        except BaseException:
            self._forsake()
            raise
        return self

    def _forsake(self) -> None:
        """Close the socket that the loop did not take.

        uvloop has closed its descriptor by now, before 0.23 without telling the socket, and the number may be
        somebody else's already.
        """
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._sock.close()
        else:
            self._sock.detach()

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a socket's transport is a Transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _FULL:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # keeps our own half open: the rest of the request may still have to go out

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._lost = exc or ConnectionAbortedError("the event loop closed it")  # not an end that the peer made
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what we call

    async def send(self, data: bytes, timeout: float | None) -> None:
        self._raise_if_lost()
        self._transport.write(data)
        if self._drained is not None:
            await self._drain(inf if timeout is None else timeout)
            self._raise_if_lost()

    async def _drain(self, limit: float) -> None:
        """Wait until the peer has taken enough; how much it takes can only be looked at now and then."""
        left, due = inf, inf
        while (drained := self._drained) is not None:
            now, size = self._loop.time(), self._transport.get_write_buffer_size()
            if size < left:
                left, due = size, now + limit
            elif now >= due:
                raise untaken(limit)
            wait = min(limit / _LOOKS, due - now)
            await asyncio.wait((drained,), timeout=None if wait == inf else wait)  # a bare await would cancel it, too

    async def receive(self, timeout: float | None, until: float = inf) -> bytes:
        pieces = self._pieces
        while not pieces:
            self._raise_if_lost()
            if self._ended:
                return b""
            self._waiter = self._loop.create_future()
            self._deadline = until if timeout is None else min(until, self._loop.time() + timeout)
            if self._deadline < self._looked_at:
                self._set_timer()
            try:
                await self._waiter
            except TimeoutError:
                raise too_late(timeout) from None
            finally:
                self._waiter = None
                self._deadline = inf
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self._size > _FULL and not self._ended:
            self._transport.resume_reading()
        self._size = 0
        return data

    def _raise_if_lost(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        if self._lost is not None:
            raise anyio.BrokenResourceError from self._lost

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looked_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        """See whether the read that waits now, if any, has waited too long."""
        self._timer, self._looked_at = None, inf
        if self._waiter is None or self._waiter.done() or self._deadline == inf:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self._waiter.set_exception(TimeoutError())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.post(self._abort)  # elsewhere, in a forked child say, it would take the socket out of its loop's epoll

    def _abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        self._transport.abort()

    def is_stale(self) -> bool:
        return not self._is_here() or self._ended or bool(self._pieces) or is_readable(self._sock)

    def post(self, action: Callable[[], None]) -> None:
        if self._is_here():
            action()
            return
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # the loop is closed
            self._sock.close()

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop and not in_trio()  # trio may be this loop's guest
        except RuntimeError:
            return False
