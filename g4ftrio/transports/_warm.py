"""Connections that are open before anybody asks, so that the first token waits for neither TCP nor TLS.

Each loser of a race costs its connection. Here a task opens new ones, but not at once: while a race is on, every
handshake would take processor time from it. So the task waits until a connection was given back or closed, which in a
race is after the win, or for half a second.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

import anyio
import httpx

from g4ftrio.transports._connect import Origin
from g4ftrio.transports._pool import Connection, Pool

__all__ = ("Warmer",)

_SOON = 0.5  # seconds after a connection was taken
_LOOK = 5.0  # seconds between two looks whether servers have closed some
_PAUSE = (1.0, 60.0)  # seconds until the next try after a failure, at first and at most: twice as long each time

_log = logging.getLogger("g4ftrio")


class Warmer:
    """Keeps so many idle connections to each origin, from ``__aenter__`` to ``__aexit__``.

    :param connect: opens a connection
    """

    def __init__(
        self, pool: Pool, wanted: Mapping[Origin, int], connect: Callable[[Origin], Awaitable[Connection]]
    ) -> None:
        self._pool = pool
        self._wanted = wanted
        self._connect = connect
        self._changed = anyio.Event()
        self._is_freed = False
        self._pauses: dict[Origin, float] = {}
        self._not_before: dict[Origin, float] = {}

    async def __aenter__(self) -> None:
        self._pool.warm, self._pool.watcher = self._wanted, self
        self._filling = anyio.CancelScope()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run, name="g4ftrio warm connections")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self._group.__aexit__(kind, error, traceback)
        else:
            await self._group.__aexit__(None, None, None)

    def stop(self) -> bool:
        """Open no more; tells whether it would have."""
        if self._pool.watcher is not self:
            return False
        self._pool.watcher = None
        self._filling.cancel()  # and not the group, whose scope is around whoever entered this
        return True

    def taken(self) -> None:
        """An idle connection was taken."""
        self._changed.set()

    def freed(self) -> None:
        """A connection was given back, or closed."""
        self._is_freed = True
        self._changed.set()

    async def _run(self) -> None:
        with self._filling:
            while True:
                async with anyio.create_task_group() as filling:
                    for origin, count in self._wanted.items():
                        filling.start_soon(self._fill, origin, count)
                await self._wait()

    async def _wait(self) -> None:
        """Wait until there may be something to do, and it disturbs no race."""
        self._changed, self._is_freed = anyio.Event(), False
        with anyio.move_on_after(_LOOK):
            await self._changed.wait()
        with anyio.move_on_after(_SOON):
            while not self._is_freed:
                self._changed = anyio.Event()
                await self._changed.wait()

    async def _fill(self, origin: Origin, count: int) -> None:
        if anyio.current_time() < self._not_before.get(origin, 0.0):
            return
        try:
            while self._pool.idle(origin) < count:
                self._pool.give(await self._connect(origin), reusable=True)
        except (httpx.TransportError, OSError) as error:
            pause = min(self._pauses.get(origin, _PAUSE[0] / 2) * 2, _PAUSE[1])
            self._pauses[origin], self._not_before[origin] = pause, anyio.current_time() + pause
            _log.info("no warm connection to %s:%d, next try in %g s: %s", origin.host, origin.port, pause, error)
        else:
            self._pauses.pop(origin, None)
