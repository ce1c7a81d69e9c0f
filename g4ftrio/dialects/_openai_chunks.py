"""The OpenAI chat completions answer, streamed or whole, read into chunks."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from g4ftrio._words.chunks import AudioResponse, Chunk, FinishReason, ImageResponse, Reasoning, Refusal, Usage
from g4ftrio._words.errors import APIResponseValidationError, APIStatusError, TruncatedError, status_error
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._error_body import error_in, read_error
from g4ftrio.dialects._tool_calls import ToolCallAssembler
from g4ftrio.dialects._unreadable import UNREADABLE, is_cut_object, payload, unreadable

__all__ = ("OpenAIChatDecoder",)


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _ToolCall(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct, gc=False):
    """A piece of the message; what is typed ``Any`` is read as far as it has a known form."""

    content: str | list[Any] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None
    images: Any = None
    audio: Any = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    error: Any = None


class _Event(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


# Nearly all events of an answer are a piece of text and nothing else. These describe just that: any other field of the
# message with a value, any other choice, an end or an error does not fit, and then the classes above are used.


class _TextDelta(Struct, gc=False, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None
    reasoning: None = None
    audio: None = None


class _TextChoice(Struct, gc=False):
    delta: _TextDelta
    index: Literal[0] | None = None
    message: None = None
    finish_reason: None = None
    error: None = None


class _TextEvent(Struct, gc=False):
    choices: tuple[_TextChoice]
    usage: None = None
    error: None = None


_DONE = b"[DONE]"
_ONE = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[_Event])
_TEXTS = msgspec.json.Decoder(list[_TextEvent])
_KEEP_ALIVES = frozenset({"ping", "keepalive", "keep-alive", "heartbeat"})  # names of events without an answer
_REASONS = {"function_call": "tool_calls", "eos": "stop", "eos_token": "stop", "model_length": "length"}


class OpenAIChatDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    How it works: all frames of one network read are joined into one JSON array, so that one call decodes them all, if
    they are but text into classes that hold nothing else. Where that fails, or gives another number of events, they are
    decoded one by one, and the one at fault is found.
    What belongs to the end (whole tool calls, usage, finish reason) is kept until then, because servers send it in any
    order: usage before, with, or after the finish reason, once or with every event. The end is ``[DONE]``, or the
    body's end after a finish reason.

    :ivar finished: a finish reason was read; usage and ``[DONE]`` may still follow
    """

    def __init__(self, *, lenient_end: bool = False) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._lenient_end = lenient_end
        self._calls = ToolCallAssembler()
        self._usage: Any = None
        self._reason = ""
        self._whole = 0  # messages that came as a whole

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames, and give the chunks that they held."""
        if self.done or self.error is not None:
            return []
        chunks: list[Chunk] = []
        ends = _DONE in frames
        if ends:
            frames = frames[: frames.index(_DONE)]
        joined = array_of(frames)
        if texts := _only_texts(joined, len(frames)):
            chunks += texts
        elif (events := decoded(_MANY, joined, len(frames))) is not None:
            self._read(events, frames, chunks)
        else:
            self._read_singly(frames, chunks)
        if ends and self.error is None:
            self.done = True
        if self.done:
            chunks += self._ending()
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no frame follows; gives what was still held back."""
        if self.done or self.error is not None:
            return []
        if self.finished or self._whole == 1 or self._lenient_end:
            self.done = True
            return self._ending()
        self.error = TruncatedError("it ended without a finish reason and without [DONE]")
        return _usage_chunks(self._usage)

    def _read_singly(self, frames: Iterable[bytes], chunks: list[Chunk]) -> None:
        for frame in frames:
            data = frame.strip()
            if data == _DONE:
                self.done = True
            elif data:
                try:
                    event = _ONE.decode(data)
                except UNREADABLE as error:
                    self._read_unknown(frame, error)
                else:
                    self._read((event,), (frame,), chunks)
            if self.done or self.error is not None:
                return

    def _read(self, events: Iterable[_Event], frames: Sequence[bytes], chunks: list[Chunk]) -> None:
        for number, event in enumerate(events):
            try:
                self._read_event(event, frames[number], chunks)
            except UNREADABLE as error:
                self.error = unreadable(frames[number], error)
            if self.error is not None:
                return

    def _read_event(self, event: _Event, frame: bytes, chunks: list[Chunk]) -> None:
        choices = event.choices
        if event.usage:
            self._usage = event.usage
        elif not choices:
            self._read_unknown(frame)
        if event.error:
            self.error = _error(frame)
        for choice in choices or ():
            if not choice.index:
                self._read_choice(choice, chunks)

    def _read_choice(self, choice: _Choice, chunks: list[Chunk]) -> None:
        delta = choice.delta
        if delta is None:
            delta = choice.message
            self._whole += delta is not None
        if delta is not None:
            content = delta.content
            if isinstance(content, str):
                if content:
                    chunks.append(content)
            elif content:
                chunks += _part_chunks(content)
            self._read_rest(delta, chunks)
        if choice.finish_reason or choice.error:
            self._finish(choice)

    def _read_rest(self, delta: _Delta, chunks: list[Chunk]) -> None:
        if delta.tool_calls or delta.function_call:
            chunks += self._tool_call_deltas(delta)
        if delta.reasoning_content or delta.reasoning or delta.thinking or delta.reasoning_details:
            chunks += _reasoning_chunks(delta)
        if delta.refusal:
            chunks.append(Refusal(delta.refusal))
        if delta.images:
            chunks += _image_chunks(delta.images)
        if delta.audio:
            self._read_audio(delta.audio, chunks)

    def _tool_call_deltas(self, delta: _Delta) -> Iterator[Chunk]:
        for call in delta.tool_calls or ():
            function = call.function or _Function()
            yield self._calls.add(call.index, call.id or "", function.name or "", function.arguments)
        if legacy := delta.function_call:
            yield self._calls.add(0, "", legacy.name or "", legacy.arguments)

    def _read_audio(self, audio: Any, chunks: list[Chunk]) -> None:
        try:
            chunks += _audio_chunks(audio)
        except ValueError as error:
            self.error = APIResponseValidationError(f"a piece of audio that is not base64: {error}")

    def _finish(self, choice: _Choice) -> None:
        reason = choice.finish_reason or "error"
        if choice.error or reason == "error":
            said = choice.error or "the service broke the answer off"
            self.error = self.error or error_in({"error": said})
        else:
            self.finished = True
            self._reason = _REASONS.get(reason, reason)

    def _read_unknown(self, frame: bytes, error: Exception | None = None) -> None:
        """Judge a frame that is no piece of an answer: an error, something harmless, or nothing that can be read."""
        event = getattr(frame, "event", "").lower()
        if event == "error" and not is_cut_object(frame):
            self.error = _error(frame)
        elif found := error_in(payload(frame)):
            self.error = found
        elif error is not None and event not in _KEEP_ALIVES:
            self.error = self._unreadable(frame, error)

    def _unreadable(self, frame: bytes, error: Exception) -> Exception | None:
        data = frame.strip()
        if data == b"null" or _DONE.startswith(data):  # whether a marker that was cut matters, close() decides
            return None
        found = unreadable(frame, error)
        return None if self.finished and isinstance(found, TruncatedError) else found

    def _ending(self) -> list[Chunk]:
        ending: list[Chunk] = [self._calls.calls()] if self._calls else []
        ending += _usage_chunks(self._usage)
        if self._reason:
            ending.append(FinishReason(self._reason))
        return ending


def _only_texts(joined: bytes, count: int) -> list[Chunk]:
    """The texts of that many events, where they are nothing else; a third of what it costs to read them in full."""
    events = decoded(_TEXTS, joined, count)
    return [text for event in events or () if (text := event.choices[0].delta.content)]


def _error(frame: bytes) -> APIStatusError:
    """Read a frame that is known to be an error."""
    return error_in(payload(frame)) or status_error(None, read_error(frame)[0])


def _reasoning_chunks(delta: _Delta) -> Iterator[Chunk]:
    """Give the reasoning once: some servers send it under two names."""
    for said in (delta.reasoning_content, delta.reasoning, delta.thinking):
        if said and isinstance(said, str):
            yield Reasoning(said)
            return
    if said := "".join(_texts(delta.reasoning_details)):
        yield Reasoning(said)


def _texts(node: Any) -> Iterator[str]:
    """The texts in a string, or in a list of parts that hold them as ``text`` or ``summary``."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for part in node:
            text = (part.get("text") or part.get("summary")) if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield text


def _part_chunks(parts: list[Any]) -> Iterator[Chunk]:
    for part in parts:
        match part:
            case {"type": "thinking", "thinking": thinking}:
                if said := "".join(_texts(thinking)):
                    yield Reasoning(said)
            case {"type": "image_url"}:
                yield from _image_chunks([part])
            case _:
                yield from filter(None, _texts([part]))


def _image_chunks(images: Any) -> Iterator[Chunk]:
    urls = map(_image_url, images) if isinstance(images, list) else ()
    if found := tuple(url for url in urls if url):
        yield ImageResponse(found)


def _image_url(image: Any) -> str:
    match image:
        case str(url) | {"url": str(url)} | {"image_url": str(url) | {"url": str(url)}}:
            return url
        case {"b64_json": str(data)}:
            return f"data:image/png;base64,{data}"
    return ""


def _audio_chunks(audio: Any) -> Iterator[Chunk]:
    if not isinstance(audio, Mapping):
        return
    data, transcript = (value if isinstance(value := audio.get(key), str) else "" for key in ("data", "transcript"))
    if data or transcript:
        yield AudioResponse(a2b_base64(data), transcript=transcript)


def _usage_chunks(usage: Any) -> list[Chunk]:
    if not usage:
        return []
    cached = count(usage, "prompt_tokens_details", "cached_tokens")
    read = Usage(
        count(usage, "prompt_tokens"),
        count(usage, "completion_tokens"),
        count(usage, "prompt_cache_hit_tokens") if cached is None else cached,
        count(usage, "completion_tokens_details", "reasoning_tokens"),
    )
    return [] if read == Usage() else [read]
