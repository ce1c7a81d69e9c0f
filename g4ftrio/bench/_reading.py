"""What is seen of one answer while it is read, and the record that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from g4ftrio._cleaning import is_content
from g4ftrio._streams.stream import Stream
from g4ftrio._words.chunks import OUTPUT, Chunk, Reasoning, Refusal, Usage
from g4ftrio._words.errors import describe, excerpt
from g4ftrio._words.report import EntrantReport, RaceReport
from g4ftrio.bench._entrants import answering, entrants, moment
from g4ftrio.bench._records import RequestRecord

__all__ = ("Reading",)

_SAID = 500  # characters of an error that are written down


class Reading:
    """One answer as it is read; each network read costs a look at the clock and a look at the chunks' classes.

    :param now: seconds since the run's start
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._text = ""
        self._has_reasoned = False
        self._last_at: float | None = None
        self._last_piece_at = 0.0
        self.first_token_at: float | None = None
        self.first_content_at: float | None = None
        self.gaps: list[float] = []
        self.pieces = 0
        self.is_whole = False
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.winner = ""

    async def read(self, stream: Stream) -> None:
        """Read a stream to its end.

        :raises RejectedError: what it gives is an error page
        """
        pull, now, took = stream.pull, self._now, self.took
        self.winner = getattr(stream, "winner", "")
        try:
            while batch := await pull():
                took(batch, now())
            self.is_whole = True
        finally:
            self.usage, self.finish_reason = stream.usage, stream.finish_reason

    def took(self, batch: list[Chunk], at: float) -> None:
        """Look at what one read brought."""
        pieces = sum(map(_is_piece, batch))
        if pieces:
            self._count(pieces, at)
        if self.first_content_at is None:
            self._search(batch, at)
        if type(batch[-1]) is not str:
            self._has_reasoned |= any(isinstance(chunk, Reasoning) for chunk in batch)
        self._last_at = at

    @property
    def ended_at(self) -> float:
        """When the last of a whole answer came: its end may be known later, and be waited for; else the present."""
        return self._last_at if self.is_whole and self._last_at is not None else self._now()

    def record(self, report: EntrantReport | RaceReport, error: Exception | None, **known: Any) -> RequestRecord:
        """What is written down of it.

        :param report: the provider's or the race's own
        :param known: the fields that are known without the answer
        """
        race = report if isinstance(report, RaceReport) else None
        author = report if isinstance(report, EntrantReport) else answering(report)
        return RequestRecord(
            **known,
            connected_at=moment(author, "connected_at", self._now),
            first_byte_at=moment(author, "first_byte_at", self._now),
            first_token_at=self.first_token_at,
            first_content_at=self.first_content_at,
            ended_at=self.ended_at,
            gaps=tuple(self.gaps),
            pieces=self.pieces,
            finish_reason=self.finish_reason,
            error="" if error is None else type(error).__name__,
            message="" if error is None else excerpt(describe(error), _SAID),
            cancelled=error is None and not self.is_whole,
            winner=self.winner,
            entrants=() if race is None else tuple(entrants(race, self._now)),
            **self._tokens(),
        )

    def _tokens(self) -> dict[str, Any]:
        """The fields that are about tokens."""
        usage = self.usage or Usage()
        if usage.output_tokens is None:
            return {"input_tokens": usage.input_tokens, "output_tokens": self.pieces}
        hidden = 0 if self._has_reasoned else usage.reasoning_tokens or 0
        return {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "hidden_tokens": min(hidden, usage.output_tokens),
            "tokens_from": "usage",
        }

    def _count(self, pieces: int, at: float) -> None:
        if self.first_token_at is None:
            self.first_token_at = at
        else:
            self.gaps.append(at - self._last_piece_at)
        if pieces > 1:
            self.gaps += [0.0] * (pieces - 1)
        self._last_piece_at = at
        self.pieces += pieces

    def _search(self, batch: list[Chunk], at: float) -> None:
        """Look for the first clean chunk."""
        for chunk in batch:
            if isinstance(chunk, str):
                self._text += chunk
            self._has_reasoned |= isinstance(chunk, Reasoning)
            if is_content(chunk, self._text):
                self.first_content_at, self._text = at, ""
                return


def _is_piece(chunk: Chunk) -> bool:
    """Whether the model wrote it; an empty one, as the role comes in, it did not."""
    if isinstance(chunk, str):
        return chunk != ""
    if isinstance(chunk, Reasoning | Refusal):
        return chunk.text != ""
    return isinstance(chunk, OUTPUT)
