"""An answer that goes through a filter."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from g4ftrio._cleaning import ChunkFilter
from g4ftrio._race.source import Source
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.report import EntrantReport

__all__ = ("FilteredAnswer",)


class FilteredAnswer:
    """An answer without what a filter removes; how much that was is noted in the report."""

    def __init__(
        self, answer: AbstractAsyncContextManager[Source[Chunk]], chunk_filter: ChunkFilter, record: EntrantReport
    ) -> None:
        self._answer = answer
        self._filter = chunk_filter
        self._record = record
        self._source: Any = None
        self._ended = False

    async def __aenter__(self) -> Source[Chunk]:
        self._source = await self._answer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._answer.__aexit__(kind, error, traceback)

    async def pull(self, *until: float) -> list[Chunk]:
        """Read until something comes through the filter; what it held back comes out at the end.

        :param until: as the answer's own ``pull`` takes it
        """
        while not self._ended:
            batch = await self._source.pull(*until)
            self._ended = not batch
            through = self._filter.feed(batch) if batch else self._filter.close()
            self._record.filtered = self._filter.removed
            if through:
                return through
        return []

    async def aclose(self) -> None:
        """Close the answer."""
        await self._source.aclose()

    def __getattr__(self, name: str) -> Any:
        # detach, adopt, close_now, is_over and keeps_time, where the answer behind has them
        return getattr(self._source, name)
