"""A Gemini model's turn: its parts read into chunks as they come, and kept as they were written.

Source of the forms: https://ai.google.dev/api/caching#Part
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any

import msgspec
from msgspec import Raw, Struct

from g4ftrio._words.chunks import AudioResponse, Chunk, FinishReason, ImageResponse, ProviderMetadata, Reasoning, Usage
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._depth import is_shallow
from g4ftrio.dialects._tool_calls import ToolCallAssembler
from g4ftrio.dialects._unreadable import note_unknown

__all__ = ("NAME", "FunctionCall", "Turn", "usage_of")

NAME = "gemini"  # what its metadata is called
_REBUILT = frozenset({"text", "thought", "functionCall"})  # of a part; any other key is lost in the common shape
_SOUND = ("audio/l16", "audio/pcm")  # 16 bits, little-endian, one channel
_SOUND_RATE = "24000"  # of what others call pcm16


class FunctionCall(Struct, rename="camel", gc=False):
    """A call of a tool, whole: pieces of arguments come only where a request asks for them."""

    name: str
    id: str | None = None
    args: dict[str, Any] | None = None
    partial_args: None = None


class _Blob(Struct, rename="camel", gc=False):
    mime_type: str = ""
    data: str = ""


class _File(Struct, rename="camel", gc=False):
    file_uri: str = ""
    mime_type: str | None = None


class _Part(Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None
    executable_code: Any = None
    code_execution_result: Any = None
    tool_call: Any = None
    tool_response: Any = None

    def is_known(self) -> bool:
        """Whether it is of a kind that may be passed over without a word."""
        if self.inline_data is not None or self.file_data is not None:
            return bool(self.thought)  # a sketch
        ran = self.executable_code, self.code_execution_result, self.tool_call, self.tool_response
        return any(part is not None for part in (self.text, self.thought_signature, *ran))


_decode = msgspec.json.Decoder(_Part).decode


class Turn:
    """Reads the parts of one turn, and gives at its end what belongs there.

    The turn is kept as it was written because the service wants it back so: signed thoughts above all, without which
    Gemini 3 refuses its own function calls. Pieces of text that follow each other unsigned are kept as one part.
    """

    def __init__(self) -> None:
        self._calls = ToolCallAssembler()
        self._called = 0
        self._parts: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._is_thought = False
        self._has_unknown = False

    def say(self, text: str, *, is_thought: bool) -> None:
        """Keep a piece of text that was given out."""
        if is_thought is not self._is_thought:
            self._end_text()
            self._is_thought = is_thought
        self._text.append(text)

    def read(self, raw: Raw) -> list[Chunk]:
        """Read a part.

        :raises ValueError: it is none
        """
        part = _decode(raw)
        self._keep(raw, part)
        if part.function_call is not None:
            return [self._call(part.function_call)]
        if said := _chunk(part):
            return [said]
        if not part.is_known():
            self.pass_over("a part of an unknown kind")
        return []

    def call(self, call: FunctionCall) -> Chunk:
        """Take a call of a tool that came apart from the parts."""
        self._end_text()
        written = {"id": call.id, "name": call.name, "args": call.args}
        self._parts.append({"functionCall": {key: value for key, value in written.items() if value is not None}})
        return self._call(call)

    def pass_over(self, what: str) -> None:
        """Say once that something was not read."""
        if not self._has_unknown:
            self._has_unknown = True
            note_unknown(what)

    def ending(self, reason: str, usage: Usage | None) -> list[Chunk]:
        """Give what belongs to the end, in its order.

        :param reason: why it ended, as a finish reason
        """
        ending: list[Chunk] = []
        if self._calls:
            ending.append(self._calls.calls())
            reason = "tool_calls" if reason == "stop" else reason
        if state := self._state():
            ending.append(ProviderMetadata(NAME, state))
        if usage is not None:
            ending.append(usage)
        return [*ending, FinishReason(reason)]

    def _call(self, call: FunctionCall) -> Chunk:
        self._called += 1
        return self._calls.add(self._called, call.id or "", call.name, call.args or {})

    def _keep(self, raw: Raw, part: _Part) -> None:
        if part.inline_data is not None and part.inline_data.mime_type.startswith("audio/"):
            return  # it is large, and no model wants its own voice back
        written: dict[str, Any] = msgspec.json.decode(raw)
        if written.keys() <= {"text", "thought"}:
            if part.text:
                self.say(part.text, is_thought=bool(part.thought))
            return
        self._end_text()
        self._parts.append(written)

    def _end_text(self) -> None:
        if self._text:
            part: dict[str, Any] = {"text": "".join(self._text)}
            self._parts.append(part | {"thought": True} if self._is_thought else part)
            self._text = []

    def _state(self) -> list[dict[str, Any]]:
        """Give the parts, or none where the common shape holds all that is in them, or nobody could copy them."""
        self._end_text()
        has_more = any(part.keys() - _REBUILT for part in self._parts)
        return self._parts if has_more and is_shallow(self._parts) else []


def usage_of(told: Any) -> Usage | None:
    """Read the usage metadata, however much of it there is; what its own tools read counts as read."""
    read = _sum(told, "promptTokenCount", "toolUsePromptTokenCount")
    written = _sum(told, "candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount")
    usage = Usage(read, written, count(told, "cachedContentTokenCount"), count(told, "thoughtsTokenCount"))
    return None if usage == Usage() else usage


def _sum(told: Any, *names: str) -> int | None:
    counted = [number for name in names if (number := count(told, name)) is not None]
    return sum(counted) if counted else None


def _chunk(part: _Part) -> Chunk | None:
    if part.text:
        return Reasoning(part.text) if part.thought else part.text
    if part.thought:  # a sketch of the picture to come has no form here
        return None
    if part.inline_data is not None:
        return _inline(part.inline_data)
    linked = part.file_data
    if linked is not None and (linked.mime_type or "").startswith("image/"):
        return ImageResponse((linked.file_uri,))
    return None


def _inline(blob: _Blob) -> Chunk | None:
    kind, _, settings = blob.mime_type.partition(";")
    if kind.startswith("image/"):
        return ImageResponse((f"data:{kind};base64,{blob.data}",))
    if not kind.startswith("audio/"):
        return None
    rate = settings.partition("rate=")[2].partition(";")[0]
    is_usual = kind.lower() in _SOUND and rate in ("", _SOUND_RATE)
    known = "pcm16" if is_usual else blob.mime_type.removeprefix("audio/")
    return AudioResponse(a2b_base64(blob.data), known)
