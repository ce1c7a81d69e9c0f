"""The gate of a race of chats: what is clean wins, and what came before it is kept for the winner's consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from g4ftrio._cleaning import is_content
from g4ftrio._streams.stream import Gathered
from g4ftrio._words.chunks import OUTPUT, Chunk, Failover, Reasoning
from g4ftrio._words.errors import ProviderError, RejectedError
from g4ftrio._words.report import EntrantReport
from g4ftrio.clean import FirstComplete

__all__ = ("ChunkGate", "Clean", "WholeGate", "gate_for")

Clean: TypeAlias = Callable[[Chunk, str], bool]
Parse: TypeAlias = Callable[[str], Any] | None

KEPT = 1 << 20  # bytes, of what an undecided entrant has written
_BEGINNING = 4096  # characters by which it is content or not


def gate_for(clean: Clean, record: EntrantReport, *, begun: str = "", parse: Parse = None) -> ChunkGate:
    """Make the gate of one entrant.

    :param begun: the text from which it goes on
    :param parse: what turns the whole text into what was asked for, if that was a type
    """
    if isinstance(clean, FirstComplete):
        return WholeGate(clean, record, parse)
    return ChunkGate(_Continuing(clean, len(begun)) if begun else clean, record=record, begun=begun)


class ChunkGate:
    """Looks at one entrant's chunks until one is clean.

    :param clean: given a chunk and all the text so far, that chunk included; it may raise ``RejectedError``
    :param limit: how much is kept of what came before, in bytes; the oldest reasoning goes first
    :param record: the entrant's, for its name and for what it wrote
    :param begun: the text from which this entrant goes on, which is a part of the text so far
    """

    def __init__(
        self, clean: Clean = is_content, limit: int = KEPT, record: EntrantReport | None = None, begun: str = ""
    ) -> None:
        self._clean = clean
        self._limit = limit
        self._record = record or EntrantReport(name="")
        self._pieces = 0
        self._kept: list[Chunk] = []
        self._size = 0
        self._text = begun

    def admit(self, batch: list[Chunk]) -> list[Chunk] | None:
        """Give all that was kept, and this batch, if there is a clean chunk in it.

        :raises RejectedError: this entrant must not win
        """
        try:
            return self._judge(batch)
        except RejectedError as error:
            error.provider = error.provider or self._record.name or None
            error.message = self._record.mask(error.message)
            error.args = (error.message,)
            raise

    def close(self) -> list[Chunk] | None:
        """Ending makes nothing clean."""
        return None

    def _judge(self, batch: list[Chunk]) -> list[Chunk] | None:
        self._note(batch)
        if self._finds_clean(batch):
            return self._kept + batch
        self._keep(batch)
        return None

    def _finds_clean(self, batch: list[Chunk]) -> bool:
        text, self._text = self._text, ""  # with one reference only, += does not copy it
        for chunk in batch:
            if isinstance(chunk, str):
                text += chunk
            elif isinstance(chunk, Failover) and chunk.restarted:
                text = ""
            if self._clean(chunk, text):
                return True
        self._text = text if len(text) <= 2 * self._limit else text[-self._limit :]
        return False

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


class WholeGate(ChunkGate):
    """Keeps an entrant's whole answer until it has ended, and judges that."""

    def __init__(self, clean: FirstComplete, record: EntrantReport, parse: Parse = None) -> None:
        super().__init__(limit=clean.limit, record=record)
        self._accept = clean.accept
        self._parse = parse
        self._is_content = False

    def close(self) -> list[Chunk] | None:
        """Give all of it if there is content in it, it is of the type that was asked for, and it is accepted.

        :raises RejectedError: it is not
        """
        if not self._is_content:
            return None
        gathered = Gathered()
        gathered.add(self._kept)
        try:
            whole = gathered.completion(self._record.name, self._record.model, self._parse)
        except ProviderError as error:
            raise RejectedError(str(error), provider=self._record.name) from error
        if not self._accept(whole):
            raise RejectedError("its whole answer was not accepted", provider=self._record.name)
        return self._kept

    def _judge(self, batch: list[Chunk]) -> list[Chunk] | None:
        self._note(batch)
        self._is_content = self._is_content or self._finds_clean(batch)
        self._kept += batch
        self._size += sum(map(_size, batch))
        if self._size > self._limit:
            raise RejectedError(
                f"its answer is longer than the {self._limit} bytes that are kept of one until it is whole"
            )
        return None


class _Continuing:
    """Clean is what is content by itself, and clean together with the text from which it goes on."""

    def __init__(self, clean: Clean, begin: int) -> None:
        self._clean = clean
        self._begin = begin
        self._is_content = False

    def __call__(self, chunk: Chunk, text: str) -> bool:
        own = text[self._begin : self._begin + _BEGINNING]
        self._is_content = self._is_content or is_content(chunk, own)
        return self._is_content and self._clean(chunk, text)


def _size(chunk: Chunk) -> int:
    """About as many bytes as it takes; small chunks are not free either."""
    text = chunk if isinstance(chunk, str) else getattr(chunk, "text", None)
    return 64 + len(repr(chunk) if text is None else text)
