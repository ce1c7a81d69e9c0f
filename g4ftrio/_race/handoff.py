"""How a winner comes to its consumer: handed over where that is safe, pumped where it is not.

An iterator may be read by another task than the one that opened it only if it left nothing of that task open: no cancel
scope, no nursery, no context variable that it would reset later. Handing it over costs the consumer 0.5 µs an item,
while a channel between two tasks costs 8 to 25 (`benchmarks/README.md`). So a source that claims to be safe
is handed over, and the claim is checked by comparing ``affinity()`` before its first read and after its last. All
others are pumped: their owner reads them into a slot that the consumer empties as a whole, which costs 2 to 9 µs.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Generic, TypeVar

import anyio

from g4ftrio._loops import open_scopes
from g4ftrio._race.source import Source

__all__ = ("Pump", "affinity")

T = TypeVar("T")


def affinity() -> object:
    """What ties running code to its task: open scopes and nurseries, and context variables.

    Two equal values mean that what ran between them left nothing open. Where the event loop does not tell, the value
    equals nothing, itself included.
    """
    scopes = open_scopes()
    return (scopes, copy_context()) if scopes is not None else float("nan")


class Pump(Generic[T]):
    """A slot between the owner of a source and its consumer.

    The owner reads only when the consumer has asked, and stops when ``bound`` items are in the slot; the consumer
    takes all of them at once. A read of the consumer's may be cancelled and repeated: nothing is lost.

    :ivar error: why it ended before its end, or None
    """

    def __init__(self, source: Source[T], bound: int = 16) -> None:
        self._source = source
        self._bound = bound
        self._slot: list[T] = []
        self.error: Exception | None = None
        self._done = False
        self._filled = anyio.Event()
        self._room = anyio.Event()

    async def run(self) -> None:
        """Fill the slot until the source ends; for the owner's task."""
        try:
            await self._room.wait()
            while batch := await self._source.pull():
                self._slot += batch
                self._filled.set()
                if len(self._slot) >= self._bound:
                    self._room = anyio.Event()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001  # it belongs to the consumer, who raises it
            self.error = error
        except BaseException:
            self.error = anyio.BrokenResourceError("this stream was cancelled while it was read")
            raise
        finally:
            self._done = True
            self._filled.set()

    async def pull(self) -> list[T]:
        """Take what is in the slot, or wait for it; for the consumer."""
        self._room.set()
        while not self._slot and not self._done:
            if self._filled.is_set():
                self._filled = anyio.Event()
            await self._filled.wait()
        batch, self._slot = self._slot, []
        if not batch and self.error is not None:
            raise self.error
        return batch

    async def aclose(self) -> None:
        """Nothing to do: the source is its owner's."""
