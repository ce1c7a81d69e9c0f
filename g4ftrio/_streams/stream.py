"""The stream of an answer: chunks one by one, and what has been gathered of them so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from warnings import warn

import anyio

from g4ftrio._race.source import ItemStream, Source
from g4ftrio._words.chunks import (
    OUTPUT,
    Chunk,
    Failover,
    FinishReason,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    TypedChunk,
    Usage,
)
from g4ftrio._words.completion import Completion
from g4ftrio._words.errors import ProviderError, TruncatedError
from g4ftrio._words.report import EntrantReport, RaceReport

__all__ = ("Gathered", "Gathering", "RaceStream", "Stream", "TextStream")


_TEXT_ONLY = {str}


class Gathered:
    """What the chunks of an answer amount to. ``add`` looks at a chunk's class in a table, once for each chunk."""

    __slots__ = ("before", "calls", "finish_reason", "others", "reasoning", "refusal", "texts", "usage")

    def __init__(self) -> None:
        self.before = 0
        self.texts: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: tuple[ToolCall, ...] = ()
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.others: list[TypedChunk] = []

    def add(self, chunks: list[Chunk]) -> None:
        """Add what was given out since."""
        if set(map(type, chunks)) == _TEXT_ONLY:
            self.texts += chunks  # type: ignore[arg-type]  # they are all of type str
            return
        for chunk in chunks:
            if isinstance(chunk, str):
                self.texts.append(chunk)
            else:
                self._add_typed(chunk)

    @property
    def pieces(self) -> int:
        """How many the writer of now has written."""
        return self._written() - self.before

    def completion(
        self,
        provider: str,
        model: str,
        parse: Callable[[str], Any] | None = None,
        report: RaceReport | None = None,
    ) -> Completion:
        """Give the whole answer."""
        text = "".join(self.texts)
        return Completion(
            text=text,
            provider=provider,
            model=model,
            reasoning="".join(self.reasoning),
            refusal="".join(self.refusal),
            tool_calls=self.calls,
            usage=self.usage,
            finish_reason=self.finish_reason,
            others=tuple(self.others),
            parsed=parse(text) if parse and not (self.calls or self.refusal) else None,
            report=report,
        )

    def _written(self) -> int:
        return len(self.texts) + len(self.reasoning) + len(self.refusal)

    def _pass(self, seam: Failover) -> None:
        """Somebody else writes from here on; of an answer that begins anew, what came before is not a part."""
        if seam.restarted:
            seams: list[TypedChunk] = [other for other in self.others if isinstance(other, Failover)]
            Gathered.__init__(self)
            self.others = seams
        self.others.append(seam)
        self.before = self._written()

    def _add_typed(self, chunk: TypedChunk) -> None:
        match chunk:
            case Reasoning():
                self.reasoning.append(chunk.text)
            case Refusal():
                self.refusal.append(chunk.text)
            case ToolCalls():
                self.calls = chunk.calls
            case Usage():
                self.usage = chunk
            case FinishReason():
                self.finish_reason = chunk.reason
            case ToolCallDelta():
                pass
            case Failover():
                self._pass(chunk)
            case _:
                self.others.append(chunk)


class Gathering:
    """A stream that gathers what its consumer has taken."""

    def _so_far(self) -> Gathered:
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The text that was given out so far."""
        return "".join(self._so_far().texts)

    @property
    def usage(self) -> Usage | None:
        """The tokens as the service counted them, which most do at the end."""
        return self._so_far().usage

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, or None before it has."""
        return self._so_far().finish_reason

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole, once they are."""
        return self._so_far().calls


class Stream(Gathering, ItemStream[Chunk]):
    """One provider's answer as it arrives.

    ``async for chunk in stream`` gives text as ``str`` and everything else as small classes (``g4ftrio.Chunk``);
    ``text_stream`` gives only the text. What has been given out so far is gathered in ``text``, ``usage``,
    ``finish_reason`` and ``tool_calls``. It may be read from any task of its event loop, by one reader at a time.

    Behind a ``Failover`` that says ``restarted`` an answer begins anew: what is gathered then holds that one only.
    Behind one that does not, it goes on, and what is gathered holds both parts.

    :ivar provider: who writes; it changes with a ``Failover``
    :ivar model: the model that was asked for
    """

    report: RaceReport | None = None

    def __init__(
        self,
        source: Source[Chunk],
        record: EntrantReport,
        first: list[Chunk] | None = None,
        release: Callable[[], None] | None = None,
        parse: Callable[[str], Any] | None = None,
    ) -> None:
        self.provider = record.name
        self.model = record.model
        self._record = record
        self._parse = parse
        self._gathered = Gathered()
        self._batch: list[Chunk] = first or []
        record.note_usage(self._batch)
        if record.listener is not None:
            record.listener.takes(self._gathered.texts)
        super().__init__(source, first, release)

    @property
    def text_stream(self) -> TextStream:
        """The same stream with only the text of it: for ``print``, or for a web framework's streaming response."""
        return TextStream(self)

    @property
    def is_settled(self) -> bool:
        """Whether nothing but this object keeps it open: it has to be closed by ``aclose()``."""
        return self._release is None

    async def collect(self) -> Completion:
        """Read to the end, and give the whole answer, what was read before included."""
        while await self.pull():
            pass
        return self._so_far().completion(self.provider, self.model, self._parsed, self.report)

    async def aclose(self) -> None:
        """Say that no more is wanted, and close what is behind it; may be called more than once, from any task."""
        if not self._closed:
            self._forget()
        await super().aclose()

    def __del__(self) -> None:
        # Nothing can be awaited here, and nobody may be left to do it: the socket is closed at once.
        if self._closed or self._ended or not getattr(self._source, "is_open", True):
            return
        if self._release is None:
            self.close_now()
            warn(f"a stream of {self.provider} was dropped unread: use contextlib.aclosing()", ResourceWarning, 2, self)

    def close_now(self) -> None:
        """Close what is behind it at once, as far as that can be done without awaiting; ``aclose()`` does the rest."""
        self._forget()
        self._closed = True
        close_now = getattr(self._source, "close_now", None)
        if close_now is not None:
            close_now()
        self._is_over()

    def _forget(self) -> None:
        """What was not taken is not given out any more."""
        if not self._is_let_go:
            self.note_pieces()
        self._so_far()
        self._batch, self._items = [], []

    def _so_far(self) -> Gathered:
        """Gather what the consumer has taken of the present batch; what is before it is gathered already."""
        left = len(self._items)
        taken, self._batch = self._batch[: len(self._batch) - left], self._batch[len(self._batch) - left :]
        self._gathered.add(taken)
        return self._gathered

    def _took(self, batch: list[Chunk]) -> None:
        self._gathered.add(self._batch)
        self._batch = batch
        self._record.chunks += len(batch)
        if self._record.first_chunk_at is None:
            self._record.stamp("first_chunk_at")
        if type(batch[-1]) is not str:
            self._record.note_usage(batch)

    async def _let_go(self) -> None:
        self.note_pieces()
        try:
            await super()._let_go()
        finally:
            self._is_over()

    def _is_over(self) -> None:
        """Note the end where nobody else does, because nothing but this object holds the stream open."""
        if self._release is None:
            self._record.stamp("ended_at")

    def note_pieces(self) -> None:
        """Note in the report how much was written at least, where the service has not said how much it was."""
        gathered = self._so_far()
        kept = sum(isinstance(chunk, OUTPUT) for chunk in self._batch)
        self._record.wrote(kept + gathered.pieces)

    def _parsed(self, text: str) -> Any:
        if self._parse is None:
            return None
        try:
            return self._parse(text)
        except ProviderError as error:
            error.provider = error.provider or self.provider
            raise

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TruncatedError) and not error.text:
            error.text = self.text
        self._record.broke_off(error)


class RaceStream(Stream):
    """The winner's answer as it arrives.

    :ivar winner: the name of the entrant that writes
    :ivar report: what became of everybody; it is filled in as it goes, and complete when the race was left
    """

    report: RaceReport

    def __init__(self, report: RaceReport, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.report = report

    def now_by(self, record: EntrantReport, counted: int) -> None:
        """Go on with another entrant.

        :param counted: of the chunks that follow, how many the race has counted in the record already
        """
        self.note_pieces()
        self._record, self.provider, self.model = record, record.name, record.model
        record.chunks -= counted

    @property
    def winner(self) -> str:
        """The name of the entrant that writes; where that is a race itself, ``outer/inner``."""
        names, race = [self.provider], self._record.race
        while race is not None and (inner := race.winner) is not None:
            names.append(inner.name)
            race = inner.race
        return "/".join(names)


class TextStream:
    """The text of a stream and nothing else. Reading from it reads the stream itself.

    Of a settled stream it closes the stream as soon as one of its reads is cancelled: whoever sends it to a browser is
    cancelled when the browser goes away, and nobody else may be left to close it. To go on reading after a cancelled
    read, read the stream.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> TextStream:
        return self

    async def __anext__(self) -> str:
        try:
            while not isinstance(chunk := await self._stream.__anext__(), str):
                pass
        except anyio.get_cancelled_exc_class():
            if self._stream.is_settled:
                self._stream.close_now()
            raise
        return chunk

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
