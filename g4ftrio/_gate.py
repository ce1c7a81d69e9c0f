"""The gate of a race of chats: what is clean wins, and what came before it is kept for the winner's consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from g4ftrio._chunks import Chunk, Reasoning
from g4ftrio._cleaning import is_content

__all__ = ("ChunkGate", "Clean")

Clean: TypeAlias = Callable[[Chunk, str], bool]

KEPT = 1 << 20  # bytes, of what an undecided entrant has written


class ChunkGate:
    """Looks at one entrant's chunks until one is clean.

    :param clean: given a chunk and all the text so far, that chunk included; it may raise ``RejectedError``
    :param limit: how much is kept of what came before, in bytes; the oldest reasoning goes first
    """

    def __init__(self, clean: Clean = is_content, limit: int = KEPT) -> None:
        self._clean = clean
        self._limit = limit
        self._kept: list[Chunk] = []
        self._size = 0
        self._text = ""

    def admit(self, batch: list[Chunk]) -> list[Chunk] | None:
        """Give all that was kept, and this batch, if there is a clean chunk in it."""
        for chunk in batch:
            if isinstance(chunk, str):
                self._text += chunk
            if self._clean(chunk, self._text):
                return self._kept + batch
        self._keep(batch)
        return None

    def _keep(self, batch: list[Chunk]) -> None:
        self._kept += batch
        self._size += sum(map(_size, batch))
        while self._size > self._limit:
            oldest = next((n for n, chunk in enumerate(self._kept) if isinstance(chunk, Reasoning)), 0)
            self._size -= _size(self._kept.pop(oldest))
        self._text = self._text[-self._limit :]


def _size(chunk: Chunk) -> int:
    """About as many bytes as it takes; small chunks are not free either."""
    return 64 + len(chunk if isinstance(chunk, str) else getattr(chunk, "text", ""))
