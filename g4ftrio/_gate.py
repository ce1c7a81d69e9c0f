"""The gate of a race of chats: what is clean wins, and what came before it is kept for the winner's consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from g4ftrio._chunks import OUTPUT, Chunk, Reasoning
from g4ftrio._cleaning import is_content
from g4ftrio._errors import RejectedError
from g4ftrio._report import EntrantReport

__all__ = ("ChunkGate", "Clean")

Clean: TypeAlias = Callable[[Chunk, str], bool]

KEPT = 1 << 20  # bytes, of what an undecided entrant has written


class ChunkGate:
    """Looks at one entrant's chunks until one is clean.

    :param clean: given a chunk and all the text so far, that chunk included; it may raise ``RejectedError``
    :param limit: how much is kept of what came before, in bytes; the oldest reasoning goes first
    :param record: the entrant's, for its name and for what it wrote
    """

    def __init__(self, clean: Clean = is_content, limit: int = KEPT, record: EntrantReport | None = None) -> None:
        self._clean = clean
        self._limit = limit
        self._record = record or EntrantReport(name="")
        self._pieces = 0
        self._kept: list[Chunk] = []
        self._size = 0
        self._text = ""

    def admit(self, batch: list[Chunk]) -> list[Chunk] | None:
        """Give all that was kept, and this batch, if there is a clean chunk in it.

        :raises RejectedError: this entrant must not win
        """
        try:
            return self._judge(batch)
        except RejectedError as error:
            error.provider = error.provider or self._record.name or None
            raise

    def _judge(self, batch: list[Chunk]) -> list[Chunk] | None:
        self._note(batch)
        text, self._text = self._text, ""  # with one reference only, += does not copy it
        for chunk in batch:
            if isinstance(chunk, str):
                text += chunk
            if self._clean(chunk, text):
                return self._kept + batch
        self._text = text if len(text) <= 2 * self._limit else text[-self._limit :]
        self._keep(batch)
        return None

    def _note(self, batch: list[Chunk]) -> None:
        """Note what it costs, in case that this entrant does not win."""
        self._pieces += sum(isinstance(chunk, OUTPUT) for chunk in batch)
        self._record.wrote(self._pieces)
        self._record.note_usage(batch)

    def _keep(self, batch: list[Chunk]) -> None:
        self._kept += batch
        self._size += sum(map(_size, batch))
        if self._size > self._limit:
            self._drop(Reasoning)
            self._drop(object)

    def _drop(self, kind: type) -> None:
        """Drop the oldest of a kind, down to three quarters of the limit: a pass over all is then rare."""
        kept = []
        for chunk in self._kept:
            if self._size > self._limit * 3 // 4 and isinstance(chunk, kind):
                self._size -= _size(chunk)
            else:
                kept.append(chunk)
        self._kept = kept


def _size(chunk: Chunk) -> int:
    """About as many bytes as it takes; small chunks are not free either."""
    text = chunk if isinstance(chunk, str) else getattr(chunk, "text", None)
    return 64 + len(repr(chunk) if text is None else text)
