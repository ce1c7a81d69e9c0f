"""A provider whose answers go through a filter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from g4ftrio._cleaning import ChunkFilter
from g4ftrio._compositions.wrapping import Wrapping
from g4ftrio._race.source import Source
from g4ftrio._streams.filtered import FilteredAnswer
from g4ftrio._words.chunks import Chunk
from g4ftrio.base_provider import AbstractProvider, Ask

__all__ = ("Cleaned",)


class Cleaned(Wrapping):
    """A provider whose answers go through a filter: advertisements, say, do not win a race.

    :param provider: an instance, a class, or a spec
    :param make_filter: makes a filter for each answer
    """

    label = "cleaned"

    def __init__(
        self,
        provider: AbstractProvider | type[AbstractProvider] | str,
        make_filter: Callable[[], ChunkFilter],
        **settings: Any,
    ) -> None:
        super().__init__(provider, **settings)
        self._make_filter = make_filter
        self._timeout = self._timeout.over(self._inner._timeout)

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return FilteredAnswer(self._inner._open(ask), self._make_filter(), ask.record)
