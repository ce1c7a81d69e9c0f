"""The answer of generateContent, streamed or whole, read into chunks.

Source of the form: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from g4ftrio._words.chunks import Chunk, Reasoning, Usage
from g4ftrio._words.errors import BadRequestError, TruncatedError, excerpt
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._error_body import error_in
from g4ftrio.dialects._gemini_turn import Turn, usage_of
from g4ftrio.dialects._unreadable import UNREADABLE, payload, unreadable

__all__ = ("GeminiDecoder",)


class _Content(Struct, gc=False):
    parts: list[Raw] | None = None


class _Candidate(Struct, rename="camel", gc=False):
    content: _Content | None = None
    index: int | None = None
    finish_reason: str | None = None


class _Rating(Struct):
    category: str = ""
    probability: str = ""
    blocked: bool | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None
    safety_ratings: list[_Rating] | None = None


class _Event(Struct, rename="camel", gc=False):
    candidates: list[_Candidate] | None = None
    usage_metadata: Raw = Raw()
    prompt_feedback: _Feedback | None = None
    error: Any = None


# Nearly all events of an answer are one piece of text or of a thought. These describe just that; what holds anything
# else with a meaning does not fit, and then the classes above are used.


class _TextPart(Struct, gc=False, forbid_unknown_fields=True):
    text: str
    thought: bool = False


class _TextContent(Struct, gc=False):
    parts: tuple[_TextPart]


class _TextCandidate(Struct, rename="camel", gc=False):
    content: _TextContent
    index: Literal[0] | None = None
    finish_reason: None = None


class _TextEvent(Struct, rename="camel", gc=False):
    candidates: tuple[_TextCandidate]
    usage_metadata: Raw = Raw()
    prompt_feedback: None = None
    error: None = None


_ONE = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[_Event])
_TEXTS = msgspec.json.Decoder(list[_TextEvent])
_BLOCKED = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
)
_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", **dict.fromkeys(_BLOCKED, "content_filter")}
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"  # which is none
_LIKELY = ("MEDIUM", "HIGH")


class GeminiDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    How it works: all frames of one network read are joined into one JSON array and decoded by one call into classes
    that hold nothing but text; where that fails, they are decoded one by one. A frame may be an array of events too:
    that is how the service streams without ``alt=sse``, and how it wraps its errors.
    This wire has no end marker: the end is the body's end after a finish reason. One that more of the answer follows
    was none, because gateways were seen that write one into each event (router-for-me/CLIProxyAPI#5651).

    :ivar finished: a finish reason was read
    """

    may_go_on = True

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._turn = Turn()
        self._usage = Raw()
        self._reason = ""

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames, and give the chunks that they held."""
        if self.done or self.error is not None or not frames:
            return []
        texts = decoded(_TEXTS, array_of(frames), len(frames))
        if texts is not None:
            return self._say(texts)
        chunks: list[Chunk] = []
        for frame in frames:
            if frame.strip():
                self._read_frame(frame, chunks)
            if self.error is not None:
                break
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no frame follows; gives what was still held back."""
        if self.done or self.error is not None:
            return []
        usage = self._read_usage()
        if self.finished:
            self.done = True
            return self._turn.ending(self._reason, usage)
        self.error = TruncatedError("it ended without a finish reason")
        return [] if usage is None else [usage]

    def _say(self, events: list[_TextEvent]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for event in events:
            part = event.candidates[0].content.parts[0]
            if text := part.text:
                self._turn.say(text, is_thought=part.thought)
                chunks.append(Reasoning(text) if part.thought else text)
            self._usage = event.usage_metadata or self._usage
        self.finished = self.finished and not chunks
        return chunks

    def _read_frame(self, frame: bytes, chunks: list[Chunk]) -> None:
        try:
            events = _MANY.decode(frame) if frame.lstrip().startswith(b"[") else [_ONE.decode(frame)]
            for event in events:
                self._read(event, frame, chunks)
                if self.error is not None:
                    return
        except UNREADABLE as error:
            self.error = unreadable(frame, error)

    def _read(self, event: _Event, frame: bytes, chunks: list[Chunk]) -> None:
        self._usage = event.usage_metadata or self._usage
        for candidate in event.candidates or ():
            if not candidate.index:
                self._read_candidate(candidate, chunks)
        if event.prompt_feedback is not None and event.prompt_feedback.block_reason:
            self.error = _blocked(event.prompt_feedback)
        elif event.error or not (event.candidates or event.usage_metadata or event.prompt_feedback):
            self._read_unknown(frame)

    def _read_candidate(self, candidate: _Candidate, chunks: list[Chunk]) -> None:
        before = len(chunks)
        for part in (candidate.content.parts if candidate.content else None) or ():
            chunks += self._turn.read(part)
        if len(chunks) > before:
            self.finished = False
        reason = candidate.finish_reason
        if reason and reason != _UNSPECIFIED:
            self.finished = True
            self._reason = _REASONS.get(reason, reason)

    def _read_unknown(self, frame: bytes) -> None:
        self.error = error_in(payload(frame))
        if self.error is None:
            self._turn.pass_over("an event of an unknown kind")

    def _read_usage(self) -> Usage | None:
        return usage_of(payload(bytes(self._usage)))


def _blocked(feedback: _Feedback) -> BadRequestError:
    """Give the error for a prompt that the service let no model answer."""
    ratings = feedback.safety_ratings or []
    named = [rating.category for rating in ratings if rating.blocked]
    named = named or [rating.category for rating in ratings if rating.probability in _LIKELY]
    why = f" ({', '.join(named)})" if named else ""
    said = f": {feedback.block_reason_message}" if feedback.block_reason_message else ""
    return BadRequestError(excerpt(f"the prompt was blocked, {feedback.block_reason}{why}{said}"))
