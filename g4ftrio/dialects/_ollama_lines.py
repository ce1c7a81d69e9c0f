"""The /api/chat answer, a stream of lines or one whole object, read into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from g4ftrio._words.chunks import Chunk, FinishReason, ProviderMetadata, Reasoning, Usage
from g4ftrio._words.errors import TruncatedError
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._counts import count, seconds
from g4ftrio.dialects._error_body import error_in
from g4ftrio.dialects._tool_calls import ToolCallAssembler
from g4ftrio.dialects._unreadable import UNREADABLE, note_unknown, payload, unreadable

__all__ = ("NAME", "OllamaDecoder")

NAME = "ollama"  # by which what this wire wants back with a message is known


class _Function(Struct, gc=False):
    name: str = ""
    arguments: Any = None


class _Call(Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    error: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    total_duration: Any = None
    load_duration: Any = None
    prompt_eval_duration: Any = None
    eval_duration: Any = None


# Nearly all lines are a piece of text or of thinking and nothing else; these describe just that.


class _Text(Struct, gc=False, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    thinking: str | None = None
    images: None = None
    tool_calls: None = None


class _TextLine(Struct, gc=False):
    message: _Text
    done: bool = False
    error: None = None


_ONE = msgspec.json.Decoder(_Line)
_MANY = msgspec.json.Decoder(list[_Line])
_TEXTS = msgspec.json.Decoder(list[_TextLine])
_DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


class OllamaDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    All lines of one network read are joined into one JSON array and decoded in one call; where that fails they are
    decoded one by one, and the one at fault is found. The end is a line with ``"done": true``; a whole answer is one.
    """

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._calls = ToolCallAssembler()
        self._called = 0
        self._thoughts: list[str] = []
        self._has_noted = False

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some lines, and give the chunks that they held."""
        if self.done or self.error is not None:
            return []
        joined = array_of(frames)
        chunks: list[Chunk] = []
        if (texts := _texts(joined, len(frames))) is not None:
            for text in texts:
                self._read_text(text, chunks)
        elif (lines := decoded(_MANY, joined, len(frames))) is not None:
            self._read(lines, frames, chunks)
        else:
            self._read_singly(frames, chunks)
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no line follows. ``error`` is set if the answer was cut."""
        if not self.done and self.error is None:
            self.error = TruncatedError("it ended without a line that says it is done")
        return []

    def _read_singly(self, frames: Iterable[bytes], chunks: list[Chunk]) -> None:
        for frame in frames:
            if frame.isspace():
                continue
            try:
                line = _ONE.decode(frame)
            except UNREADABLE as error:
                self.error = unreadable(frame, error)
            else:
                self._read((line,), (frame,), chunks)
            if self.done or self.error is not None:
                return

    def _read(self, lines: Iterable[_Line], frames: Sequence[bytes], chunks: list[Chunk]) -> None:
        for number, line in enumerate(lines):
            try:
                self._read_line(line, frames[number], chunks)
            except UNREADABLE as error:
                self.error = unreadable(frames[number], error)
            if self.done or self.error is not None:
                return

    def _read_line(self, line: _Line, frame: bytes, chunks: list[Chunk]) -> None:
        if line.message is not None:
            self._read_message(line.message, chunks)
        if line.error:
            self.error = error_in(payload(frame))
        elif line.done:
            self.done = self.finished = True
            chunks += self._ending(line)
        elif line.message is None:
            self._read_unknown(frame)

    def _read_text(self, message: _Text | _Message, chunks: list[Chunk]) -> None:
        if message.thinking:
            self._thoughts.append(message.thinking)
            chunks.append(Reasoning(message.thinking))
        if message.content:
            chunks.append(message.content)

    def _read_message(self, message: _Message, chunks: list[Chunk]) -> None:
        self._read_text(message, chunks)
        for call in message.tool_calls or ():
            # Each is whole, and the index that it brings is 0 for all of them or missing in older versions.
            function = call.function
            chunks.append(self._calls.add(self._called, call.id or "", function.name, function.arguments or {}))
            self._called += 1

    def _read_unknown(self, frame: bytes) -> None:
        self.error = error_in(payload(frame))
        if self.error is None and not self._has_noted:
            self._has_noted = True
            note_unknown("a line that is no message")

    def _ending(self, line: _Line) -> list[Chunk]:
        ending: list[Chunk] = [self._calls.calls()] if self._calls else []
        if self._thoughts:
            ending.append(ProviderMetadata(NAME, {"thinking": "".join(self._thoughts)}))
        ending += _usage_chunks(line)
        reason = "tool_calls" if self._calls else line.done_reason
        if reason:
            ending.append(FinishReason(reason))
        return ending


def _texts(joined: bytes, number: int) -> list[_Text] | None:
    """The messages of that many lines, where they are nothing but text and none is the last."""
    lines = decoded(_TEXTS, joined, number)
    if lines is None or any(line.done for line in lines):
        return None
    return [line.message for line in lines]


def _usage_chunks(line: _Line) -> list[Chunk]:
    measured = {name: time for name in _DURATIONS if (time := seconds(getattr(line, name))) is not None}
    read = Usage(count(line.prompt_eval_count), count(line.eval_count), details=measured or None)
    return [] if read == Usage() else [read]
