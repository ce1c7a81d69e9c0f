"""Which connections are kept: a mapping from origin to idle ones. Its cost does not depend on how many are in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import anyio
import httpx

from g4ftrio.transports._connect import Origin
from g4ftrio.transports._sockets import Stream

__all__ = ("Connection", "Pool")


class Connection:
    """A stream to an origin."""

    __slots__ = ("idle_since", "origin", "stream")

    def __init__(self, origin: Origin, stream: Stream) -> None:
        self.origin = origin
        self.stream = stream
        self.idle_since = 0.0


class Watcher(Protocol):
    """Who wants to know when connections come and go."""

    def taken(self) -> None: ...

    def freed(self) -> None: ...


class Pool:
    """The idle connections, and how many there may be.

    :param max_connections: how many may be in use at once; None is any number
    :param max_idle: how many may be idle; None is any number
    :param expiry: seconds after which an idle one is closed; None is never. Seen at the next request or answer.
    :ivar warm: how many of an origin's idle ones do not expire
    :ivar watcher: is told when an idle connection was taken, and when one was given back or closed
    """

    __slots__ = (
        *("_closed", "_expiry", "_idle", "_in_use", "_max", "_max_idle", "_oldest", "_places"),
        *("warm", "watcher"),
    )

    def __init__(self, max_connections: int | None, max_idle: int | None, expiry: float | None) -> None:
        self._max = max_connections
        self._places = None if max_connections is None else anyio.Semaphore(max_connections)
        self._max_idle = max_idle
        self._expiry = expiry
        self._idle: dict[Origin, dict[Connection, None]] = {}  # the youngest last
        self._oldest: OrderedDict[Connection, None] = OrderedDict()
        self._in_use: set[Connection] = set()
        self._closed = False
        self.warm: Mapping[Origin, int] = {}
        self.watcher: Watcher | None = None

    async def enter(self, timeout: float | None) -> None:
        """Take a place, where their number is limited.

        :raises httpx.PoolTimeout: after ``timeout`` seconds
        """
        self._check_open()
        if self._places is None:
            return
        try:
            with anyio.fail_after(timeout):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout(
                f"no connection became free within {timeout:g} s: all are in use (max_connections={self._max})"
            ) from None

    def leave(self) -> None:
        """Give the place back."""
        if self._places is not None:
            self._places.release()

    def add(self, connection: Connection) -> None:
        """Count a new connection as one in use."""
        if self._closed:
            connection.stream.close()
        self._check_open()
        self._in_use.add(connection)

    def take(self, origin: Origin) -> Connection | None:
        """Find an idle connection that is still good, the youngest first."""
        self._expire()
        while connections := self._idle.get(origin):
            connection = next(reversed(connections))
            self._forget(connection)
            if not connection.stream.is_stale():
                self._in_use.add(connection)
                if self.watcher is not None:
                    self.watcher.taken()
                return connection
            connection.stream.close()
        return None

    def idle(self, origin: Origin) -> int:
        """How many idle connections there are that are still good; the others are closed."""
        for connection in list(self._idle.get(origin, ())):
            if connection.stream.is_stale():
                self._forget(connection)
                connection.stream.close()
        return len(self._idle.get(origin, ()))

    def give(self, connection: Connection, *, reusable: bool) -> None:
        """Take a connection back: keep it, or close it."""
        if connection not in self._in_use:
            return
        self._in_use.discard(connection)
        if self.watcher is not None:
            self.watcher.freed()
        if not reusable or self._closed:
            connection.stream.close()
            return
        self._keep(connection)
        self._expire()

    def _expire(self) -> None:
        while self._oldest and self._is_over(connection := next(iter(self._oldest))):
            too_many = self._are_too_many()
            self._forget(connection)
            if too_many or not self._is_wanted(connection.origin):
                connection.stream.close()
            else:
                self._keep(connection)

    def _is_over(self, oldest: Connection) -> bool:
        expired = self._expiry is not None and anyio.current_time() - oldest.idle_since > self._expiry
        return expired or self._are_too_many()

    def _are_too_many(self) -> bool:
        return self._max_idle is not None and len(self._oldest) > self._max_idle

    def _is_wanted(self, origin: Origin) -> bool:
        return len(self._idle.get(origin, ())) < self.warm.get(origin, 0)

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = anyio.current_time()
        self._idle.setdefault(connection.origin, {})[connection] = None
        self._oldest[connection] = None

    def _forget(self, connection: Connection) -> None:
        del self._oldest[connection]
        connections = self._idle[connection.origin]
        del connections[connection]
        if not connections:
            del self._idle[connection.origin]

    def close(self) -> None:
        """Close every connection, the ones in use included."""
        self._closed = True
        for connection in (*self._oldest, *self._in_use):
            connection.stream.close()
        self._oldest.clear()
        self._idle.clear()
        self._in_use.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the transport is closed: it cannot send another request")
