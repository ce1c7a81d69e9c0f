"""An answer that is asked for when it is first read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from g4ftrio._streams.generated import look_after
from g4ftrio._words.chunks import (
    Chunk,
)

if TYPE_CHECKING:
    pass

__all__ = ("Lazy",)


class Lazy:
    """An answer that is asked for at the first read, and belongs to nobody's task.

    :param check: raises where the set-up is wrong, before anything is sent
    """

    def __init__(self, answer: AbstractAsyncContextManager[Any], check: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._check = check
        self._source: Any = None
        self._is_looked_after = False

    @property
    def is_open(self) -> bool:
        """Whether there is anything to close, and nobody else to do it."""
        return self._source is not None and not self._is_looked_after

    async def pull(self) -> list[Chunk]:
        """Open it if it is not, and read."""
        if self._source is None:
            self._check()
            self._source = await self._answer.__aenter__()
            self._source.detach()
            self._is_looked_after = look_after(self)
        batch: list[Chunk] = await self._source.pull()
        return batch

    async def aclose(self) -> None:
        """Close it where it was opened."""
        if self._source is not None:
            await self._source.aclose()

    def close_now(self) -> None:
        """Close the socket at once."""
        if self._source is not None:
            self._source.close_now()
