"""The time-outs of all reads of a trio run, kept by one task.

A cancel scope around each read costs as much as the read. Here a reader writes down until when it waits, which costs
nothing; the watchdog sleeps to the earliest moment at which somebody may be late, and then looks. Who waits and is late
is woken; who has read since then is looked at again when it would be late now. So a busy stream is looked at once
in the length of its time-out, however many reads it makes.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

import trio

__all__ = ("Watchdog", "watchdog")

_FEW = 64  # appointments that no longer hold and may lie in the queue before they are taken out


class Reader(Protocol):
    """Who may be late.

    :ivar deadline: until when it waits; inf while it does not, or as long as it takes
    :ivar looked_at: when it is looked at next; inf is not at all
    """

    deadline: float
    looked_at: float

    def interrupt(self) -> None: ...


class Watchdog:
    """Whom to look at, and when. Its task, one of trio's system tasks, lives while there is anybody."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Reader]] = []  # the earliest first; with appointments that no longer hold
        self._readers = 0  # with an appointment that holds
        self._number = 0  # so that readers are never compared
        self._sleep: trio.CancelScope | None = None

    def look_at(self, reader: Reader, when: float) -> None:
        """Look at a reader at that time, and not before; an appointment that it has is off."""
        self._readers += reader.looked_at == inf
        self._number += 1
        reader.looked_at = when
        heappush(self._queue, (when, self._number, reader))
        if self._sleep is None:
            self._sleep = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run, name="g4ftrio watchdog")
        elif when < self._sleep.deadline:
            self._sleep.deadline = when

    def forget(self, reader: Reader) -> None:
        """Call off a reader's appointment."""
        if reader.looked_at == inf:
            return
        reader.looked_at = inf
        self._readers -= 1
        if not self._readers or len(self._queue) > _FEW + 2 * self._readers:
            self._queue = [each for each in self._queue if each[2].looked_at == each[0]]
            heapify(self._queue)
            if self._sleep is not None:
                self._sleep.deadline = self._next()

    async def _run(self) -> None:
        try:
            while self._queue:
                with trio.CancelScope(deadline=self._next()) as self._sleep:
                    await trio.sleep_forever()
                self._look(trio.current_time())
        finally:
            self._sleep = None

    def _next(self) -> float:
        return self._queue[0][0] if self._queue else -inf

    def _look(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            when, _, reader = heappop(self._queue)
            if reader.looked_at != when:
                continue
            reader.looked_at = inf
            self._readers -= 1
            if reader.deadline <= now:
                reader.interrupt()
            elif reader.deadline != inf:
                self.look_at(reader, reader.deadline)
        if not self._readers:
            self._queue.clear()


_watchdogs: trio.lowlevel.RunVar[Watchdog] = trio.lowlevel.RunVar("g4ftrio_watchdog")


def watchdog() -> Watchdog:
    """The watchdog of this run."""
    try:
        return _watchdogs.get()
    except LookupError:
        made = Watchdog()
        _watchdogs.set(made)
        return made
