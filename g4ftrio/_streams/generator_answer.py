"""An answer that any async generator gives, read by a task of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING

from anyio import CancelScope, current_time

from g4ftrio._loops import open_scopes
from g4ftrio._race.handoff import Pump
from g4ftrio._race.source import IteratorSource, Source
from g4ftrio._race.tasks import Tasks
from g4ftrio._words.chunks import (
    Chunk,
)

if TYPE_CHECKING:
    pass

__all__ = ("GeneratorAnswer",)


class GeneratorAnswer:
    """An answer from an async generator of somebody else's.

    What it leaves open at a ``yield``, a cancel scope say, belongs to the task that reads it; so a task of its own
    opens, reads and closes it, and fills a slot that any other task may empty.

    :param grace: seconds that the generator has to close itself
    """

    def __init__(self, generator: Callable[[], AsyncIterator[Chunk]], grace: float = 1.0) -> None:
        self._generator = generator
        self._grace = grace
        self._tasks = Tasks()
        self._closing_error: Exception | None = None

    async def __aenter__(self) -> Source[Chunk]:
        self._reading = CancelScope()
        self._pump = Pump(self._source())
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._own, name="answer of a generator")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._reading.cancel()
        suppressed = await self._tasks.__aexit__(kind, error, traceback)
        if error is None and self._closing_error is not None:
            raise self._closing_error
        return suppressed

    async def pull(self) -> list[Chunk]:
        """Take what the generator has given since, or wait for it."""
        return await self._pump.pull()

    async def aclose(self) -> None:
        """Say that no more is wanted: the generator is closed, by its own task."""
        self._reading.cancel()

    async def _own(self) -> None:
        try:
            with self._reading:
                scopes = open_scopes()
                try:
                    await self._pump.run()
                finally:
                    if open_scopes() != scopes:  # what it holds open must be left before ``_reading`` is
                        await self._close()
        finally:
            with CancelScope(shield=True, deadline=current_time() + self._grace):
                await self._close()

    async def _close(self) -> None:
        try:
            await self._opened.aclose()
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is left
            self._closing_error = error

    def _source(self) -> Source[Chunk]:
        self._opened = IteratorSource(self._generator())
        return self._opened
