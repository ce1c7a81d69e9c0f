"""A plain socket under trio.

Waiting for the socket and then reading it costs 21 µs of processor time a read; trio's own stream, which tries first,
33; a cancel scope around each read 20 more, so one watchdog looks after the time-outs of all reads.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import anyio
import trio
from trio.lowlevel import wait_readable, wait_writable

from g4ftrio.transports._sockets import READ_SIZE, in_trio, is_readable, too_late, untaken
from g4ftrio.transports._watchdog_trio import watchdog

__all__ = ("TrioSocket", "dial")


async def dial(sock: socket.socket, address: Any) -> None:
    """Connect the socket; a failed or cancelled one is closed."""
    try:
        await trio.socket.from_stdlib_socket(sock).connect(address)
    except BaseException:
        sock.close()
        raise


class TrioSocket:
    """A connected, non-blocking socket."""

    __slots__ = ("_is_late", "_now", "_sock", "_token", "_watchdog", "deadline", "looked_at")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._token = trio.lowlevel.current_trio_token()
        self._watchdog = watchdog()
        self._now = trio.lowlevel.current_clock().current_time
        self._is_late = False
        self.deadline = self.looked_at = inf

    async def send(self, data: bytes, timeout: float | None) -> None:
        rest = memoryview(data)[self._send_some(data) :]
        if not rest:
            return
        limit = inf if timeout is None else timeout
        try:
            with trio.fail_after(limit) as scope:
                while rest:
                    await wait_writable(self._sock)
                    rest = rest[self._send_some(rest) :]
                    scope.deadline = self._now() + limit
        except trio.TooSlowError:
            raise untaken(limit) from None
        except trio.ClosedResourceError:
            raise anyio.ClosedResourceError from None

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def receive(self, timeout: float | None, until: float = inf) -> bytes:
        sock = self._sock
        if sock.fileno() < 0:
            raise anyio.ClosedResourceError
        deadline = until if timeout is None else min(until, self._now() + timeout)
        self.deadline = deadline
        if deadline < self.looked_at:
            self._watchdog.look_at(self, deadline)
        try:
            while True:
                await wait_readable(sock)
                try:
                    return sock.recv(READ_SIZE)
                except BlockingIOError:
                    continue
        except trio.ClosedResourceError:
            if not self._is_late:
                raise anyio.ClosedResourceError from None
            raise too_late(timeout) from None
        finally:
            self.deadline = inf
            self._is_late = False  # bytes may have come in the same moment

    def interrupt(self) -> None:
        """Wake the reader, who is late; the socket stays open."""
        self._is_late = True
        trio.lowlevel.notify_closing(self._sock)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            with suppress(RuntimeError):  # trio runs no more, and nobody waits
                trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._watchdog.forget(self)

    def is_stale(self) -> bool:
        return not self._is_here() or is_readable(self._sock)

    def post(self, action: Callable[[], None]) -> None:
        if self._is_here():
            action()
            return
        try:
            self._token.run_sync_soon(action)
        except trio.RunFinishedError:
            self._sock.close()

    def _is_here(self) -> bool:
        return in_trio() and trio.lowlevel.current_trio_token() is self._token
