"""The Anthropic Messages answer, streamed or whole, read into chunks.

Source of the form: https://platform.claude.com/docs/en/build-with-claude/streaming and .../api/errors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

from g4ftrio._words.chunks import Chunk, FinishReason, ProviderMetadata, Reasoning, Refusal, Usage
from g4ftrio._words.errors import ProviderError, TruncatedError, status_error
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._depth import is_shallow
from g4ftrio.dialects._error_body import error_in, read_error
from g4ftrio.dialects._tool_calls import ToolCallAssembler
from g4ftrio.dialects._unreadable import UNREADABLE, is_cut_object, note_unknown, payload, unreadable

__all__ = ("NAME", "AnthropicDecoder")

NAME = "anthropic"  # by which what this wire wants back with a message is known


class _BlockDelta(Struct, gc=False, tag="content_block_delta"):
    delta: dict[str, Any]
    index: int = 0


class _BlockStart(Struct, gc=False, tag="content_block_start"):
    content_block: dict[str, Any]
    index: int = 0


class _BlockStop(Struct, gc=False, tag="content_block_stop"):
    index: int = 0


class _Opening(Struct, gc=False):
    usage: Any = None


class _MessageStart(Struct, gc=False, tag="message_start"):
    message: _Opening


class _Stop(Struct, gc=False):
    stop_reason: str | None = None
    stop_details: Any = None


class _MessageDelta(Struct, gc=False, tag="message_delta"):
    delta: _Stop
    usage: Any = None


class _MessageStop(Struct, gc=False, tag="message_stop"):
    pass


class _Message(_Stop, gc=False, kw_only=True, tag="message"):
    """An answer that is not streamed."""

    content: list[dict[str, Any]]
    usage: Any = None


class _Ping(Struct, gc=False, tag="ping"):
    pass


_Event: TypeAlias = (
    _BlockDelta | _BlockStart | _BlockStop | _MessageStart | _MessageDelta | _MessageStop | _Message | _Ping
)


# Nearly all events of an answer are a piece of text, and these describe nothing else. A tag may be missing where there
# is no choice of classes, so the types are fields.


class _Text(Struct, gc=False):
    type: Literal["text_delta"]
    text: str


class _TextEvent(Struct, gc=False):
    type: Literal["content_block_delta"]
    delta: _Text
    index: int


_ONE: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[_Event])
_TEXTS = msgspec.json.Decoder(list[_TextEvent])
_INPUT = msgspec.json.Decoder(dict[str, Any])
_EVENTS = frozenset(kind.__struct_config__.tag for kind in get_args(_Event))
_DONE = b"[DONE]"  # not of this wire, and yet sent by services that speak several
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_HOMES = {"text": "text", "thinking": "thinking", "signature": "thinking", "partial_json": "tool_use"}
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_KNOWN = frozenset({"text", "tool_use", *_THOUGHTS})
_READ = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_REBUILT = frozenset({"text", "tool_use"})  # the types of blocks that the common chunks have a form for


class _Block(Struct):
    """A content block: what it began with, and the pieces that came to it, by what they are called."""

    begun: dict[str, Any]
    number: int
    kind: str
    pieces: dict[str, list[Any]] = {}

    def add(self, name: str, piece: Any) -> None:
        self.pieces.setdefault(name, []).append(piece)

    def whole(self) -> dict[str, Any]:
        """Give the block as if it had come at once.

        :raises ValueError: the input of a tool is not a whole object
        """
        block = dict(self.begun)
        for name, pieces in self.pieces.items():
            if name == "citation":
                block["citations"] = pieces
            elif name == "partial_json":
                block["input"] = _INPUT.decode("".join(pieces))
            else:
                block[name] = _text(block, name) + "".join(pieces)
        return block


class AnthropicDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    How it works: all frames of one network read are joined into one JSON array and decoded in one call, first into
    classes for text alone; where that fails they are decoded one by one, and the one at fault is found. Every block is
    kept as it was written, because a turn with signed thoughts, or with what the service's own tools did, is wanted
    back like that. The end is ``message_stop``, or the body's end after a stop reason. A whole answer is read as the
    blocks that it consists of.

    :ivar finished: a stop reason was read; ``message_stop`` may still follow
    """

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._calls = ToolCallAssembler()
        self._blocks: list[_Block] = []
        self._open: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._reason = ""
        self._has_noted = False

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames, and give the chunks that they held."""
        if self.done or self.error is not None:
            return []
        joined = array_of(frames)
        chunks: list[Chunk] = []
        if (texts := decoded(_TEXTS, joined, len(frames))) is not None:
            for text in texts:
                self._add(text.index, "text", text.delta.text, chunks)
        else:
            self._read_events(frames, decoded(_MANY, joined, len(frames)), chunks)
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no frame follows; gives what was still held back."""
        if self.done or self.error is not None:
            return []
        chunks: list[Chunk] = []
        if self.finished:
            self._conclude(b"", chunks)
            return chunks
        self.error = TruncatedError("it ended without a stop reason and without message_stop")
        return self._usage_chunks()

    def _read_events(self, frames: Sequence[bytes], events: list[_Event] | None, chunks: list[Chunk]) -> None:
        for number, frame in enumerate(frames):
            try:
                self._read(self._event(frame) if events is None else events[number], chunks)
            except UNREADABLE as error:
                self._read_unreadable(frame, error)
            if self.error is not None:
                return
            if self.done:
                self._conclude(frame, chunks)
                return

    def _conclude(self, frame: bytes, chunks: list[Chunk]) -> None:
        """End the answer; of a call whose block was not ended, the input is looked at only now."""
        try:
            chunks += self._ending()
            self.done = True
        except UNREADABLE as error:
            self.done, self.error = False, unreadable(frame, error)

    def _event(self, frame: bytes) -> _Event | None:
        """Decode one frame; None where it is to be passed over, or where it is an error."""
        try:
            return _ONE.decode(frame)
        except msgspec.ValidationError:
            said = payload(frame)
            name = getattr(frame, "event", "")
            if isinstance(said, dict) and "type" not in said and name in _EVENTS:
                return msgspec.convert({**said, "type": name}, _Event)  # type: ignore[no-any-return]  # convert knows no unions
            if _type(said) in _EVENTS or not isinstance(said, dict | list):
                raise
            self._read_unknown(frame, said)
            return None

    def _read_unreadable(self, frame: bytes, error: Exception) -> None:
        event = getattr(frame, "event", "")
        if event == "error" and not is_cut_object(frame):
            self.error = _error(frame)
        elif event != "ping" and frame.strip() != b"null" and not _DONE.startswith(frame.strip()):
            found = unreadable(frame, error)
            self.error = None if self.finished and isinstance(found, TruncatedError) else found

    def _read_unknown(self, frame: bytes, said: Any) -> None:
        if error_in(said) or getattr(frame, "event", "") == "error":
            self.error = _error(frame)
        else:
            self._note(f"an event of the type {_type(said)!r}")

    def _read(self, event: _Event | None, chunks: list[Chunk]) -> None:
        match event:
            case _BlockDelta():
                self._read_delta(event.index, event.delta, chunks)
            case _BlockStart():
                self._begin(event.index, event.content_block, chunks)
            case _BlockStop():
                self._end(event.index, chunks)
            case _MessageStart():
                self._count(event.message.usage)
                self._usage.pop("output_tokens", None)  # a placeholder, until the end tells
            case _MessageDelta():
                self._count(event.usage)
                self._finish(event.delta, chunks)
            case _MessageStop():
                self.done = True
            case _Message():
                self._read_whole(event, chunks)

    def _read_delta(self, index: int, delta: dict[str, Any], chunks: list[Chunk]) -> None:
        kind = _text(delta, "type")
        if kind == "citations_delta":
            self._block(index, "text", chunks).add("citation", delta.get("citation"))
        elif name := _PIECES.get(kind):
            self._add(index, name, _text(delta, name), chunks)
        else:
            self._note(f"a delta of the type {kind!r}")

    def _add(self, index: int, name: str, piece: str, chunks: list[Chunk]) -> None:
        if not piece:
            return
        block = self._block(index, _HOMES[name], chunks)
        block.add(name, piece)
        if name == "text":
            chunks.append(piece)
        elif name == "thinking":
            chunks.append(Reasoning(piece))
        elif name == "partial_json" and block.kind == "tool_use":
            chunks.append(self._calls.add(block.number, "", "", piece))

    def _block(self, index: int, kind: str, chunks: list[Chunk]) -> _Block:
        """Find the block that a piece belongs to; some servers leave out how it begins."""
        return self._open.get(index) or self._begin(index, {"type": kind}, chunks)

    def _begin(self, index: int, begun: dict[str, Any], chunks: list[Chunk]) -> _Block:
        self._end(index, chunks)
        block = _Block(begun, len(self._blocks), _text(begun, "type"))
        self._blocks.append(block)
        self._open[index] = block
        match block.kind:
            case "tool_use":
                chunks.append(self._calls.add(block.number, _text(begun, "id"), _text(begun, "name"), ""))
            case "text" if text := _text(begun, "text"):
                chunks.append(text)
            case "thinking" if text := _text(begun, "thinking"):
                chunks.append(Reasoning(text))
            case other if other not in _KNOWN:
                self._note(f"a block of the type {other!r}")
        return block

    def _end(self, index: int, chunks: list[Chunk]) -> None:
        """End a block. The input of a call is what it began with if no piece of it came, mostly nothing."""
        block = self._open.pop(index, None)
        if block is not None and block.kind == "tool_use" and "partial_json" not in block.pieces:
            chunks.append(self._calls.add(block.number, "", "", block.begun.get("input") or {}))

    def _read_whole(self, message: _Message, chunks: list[Chunk]) -> None:
        for index, block in enumerate(message.content):
            self._begin(index, block, chunks)
            self._end(index, chunks)
        self._count(message.usage)
        self._finish(message, chunks)
        self.done = True

    def _count(self, usage: Any) -> None:
        """Take what an event says of the usage: each number is a sum so far, and null is not told again."""
        if isinstance(usage, Mapping):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _finish(self, stop: _Stop, chunks: list[Chunk]) -> None:
        if not stop.stop_reason:
            return
        self.finished = True
        self._reason = _REASONS.get(stop.stop_reason, stop.stop_reason)
        match stop.stop_details:
            case {"type": "refusal", "explanation": str(said)} if said:
                chunks.append(Refusal(said))

    def _note(self, what: str) -> None:
        if not self._has_noted:
            self._has_noted = True
            note_unknown(what)

    def _ending(self) -> list[Chunk]:
        ending: list[Chunk] = []
        for index in list(self._open):
            self._end(index, ending)
        if self._calls:
            ending.append(self._calls.calls())
        if turn := self._turn():
            ending.append(ProviderMetadata(NAME, turn))
        ending += self._usage_chunks()
        reason = "tool_calls" if self._calls and self._reason in {"", "stop"} else self._reason
        return [*ending, FinishReason(reason)] if reason else ending

    def _turn(self) -> list[dict[str, Any]]:
        """Give the blocks to send back, none where the common chunks hold all of them or the service would refuse them.

        It refuses a turn that ends with thoughts, https://github.com/tailcallhq/forgecode/issues/2107, and the input
        of a call that was cut is no JSON.
        """
        kinds = [block.kind for block in self._blocks]
        if _REBUILT.issuperset(kinds) or kinds[-1] in _THOUGHTS:
            return []
        try:
            turn = [block.whole() for block in self._blocks]
        except UNREADABLE:
            return []
        return turn if is_shallow(turn) else []

    def _usage_chunks(self) -> list[Chunk]:
        read = [count(self._usage, name) for name in _READ]
        told = [number for number in read if number is not None]
        usage = Usage(
            sum(told) if told else None,
            count(self._usage, "output_tokens"),
            count(self._usage, "cache_read_input_tokens"),
            count(self._usage, "output_tokens_details", "thinking_tokens"),
        )
        return [] if usage == Usage() else [usage]


def _type(said: Any) -> str:
    kind = said.get("type") if isinstance(said, dict) else None
    return kind if isinstance(kind, str) else ""


def _text(node: dict[str, Any], name: str) -> str:
    """Give a field that is text, or nothing.

    :raises ValueError: it is something else
    """
    text = node.get(name)
    if text is None or isinstance(text, str):
        return text or ""
    raise ValueError(f"Expected `str`, got `{type(text).__name__}` - at `{name}`")


def _error(frame: bytes) -> ProviderError:
    """Read a frame that is known to be an error: ``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
    message, kind = read_error(frame)
    if kind not in _STATUSES:
        return error_in(payload(frame)) or status_error(None, message or kind)
    said = payload(frame)
    request_id = said.get("request_id") if isinstance(said, dict) else None
    return status_error(
        _STATUSES[kind], message or kind, request_id=request_id if isinstance(request_id, str) else None
    )
