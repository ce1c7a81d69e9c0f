"""The OpenAI Realtime answer, read out of a socket's events, in the names of today and in those of the beta.

Source of the form: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from g4ftrio._words.chunks import AudioResponse, Chunk, FinishReason, Usage
from g4ftrio._words.errors import APIStatusError, TruncatedError, status_error
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._error_body import error_in
from g4ftrio.dialects._tool_calls import ToolCallAssembler
from g4ftrio.dialects._unreadable import UNREADABLE, note_unknown, payload, unreadable

__all__ = ("RealtimeDialogue",)


class _Item(Struct, gc=False):
    """A piece of the output: a message, or a call."""

    type: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[Any] | None = None


class _Response(Struct, gc=False):
    status: str | None = None
    status_details: Any = None
    output: list[_Item] | None = None
    usage: Any = None


class _Event(Struct, gc=False):
    type: str
    delta: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output_index: int | None = None
    item: Any = None
    response: Any = None


class _TextEvent(Struct, gc=False):
    """Nearly all events of an answer in text are this."""

    type: Literal["response.output_text.delta", "response.text.delta"]
    delta: str


_ONE = msgspec.json.Decoder(_Event)
_TEXTS = msgspec.json.Decoder(list[_TextEvent])
_SOUND = "pcm16"  # the wire's default: 16 bits, 24 kHz, one channel
_REASONS = {"max_output_tokens": "length"}
_STATUSES = {  # by code, else by type; https://platform.openai.com/docs/guides/error-codes
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
}
_TOLD_OTHERWISE = frozenset(  # what was told in pieces already, and what tells nothing
    f"response.{name}"
    for name in (
        *("created", "content_part.added", "content_part.done", "output_text.done", "text.done"),
        *("output_audio.done", "output_audio_transcript.done", "audio.done", "audio_transcript.done"),
    )
)
_NOT_OF_THE_ANSWER = ("session.", "conversation.", "input_audio_buffer.", "output_audio_buffer.", "rate_limits.")


class RealtimeDialogue:
    """Asks once and reads one answer; see :class:`g4ftrio.dialects._base.Dialogue`.

    Everything is sent at once, before ``session.created`` is heard. The service takes messages in their order (its own
    SDK's example, https://github.com/openai/openai-python#realtime-api, waits for nothing either), to wait would cost
    a round trip in a race, and a server that never sends that event would be waited for in vain.

    An ``error`` event is the end, though the session would go on: what was asked for was not done.

    :param unsent: the messages that ask
    """

    def __init__(self, unsent: Sequence[bytes]) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._unsent = list(unsent)
        self._calls = ToolCallAssembler()
        self._call_ids: dict[int | None, str] = {}
        self._named: set[str] = set()
        self._argued: set[str] = set()
        self._has_said = False
        self._has_noted = False

    def outgoing(self) -> list[bytes]:
        """Take the messages to send now."""
        sent, self._unsent = self._unsent, []
        return sent

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some messages, and give the chunks that they held."""
        if self.done or self.error is not None:
            return []
        if (texts := self._only_texts(frames)) is not None:
            return texts
        chunks: list[Chunk] = []
        self._read_singly(frames, chunks)
        return chunks

    def close(self) -> list[Chunk]:
        """Say that the socket is closed. ``error`` is set if the answer was cut."""
        if not self.done and self.error is None:
            self.error = TruncatedError("the socket was closed before response.done")
        return []

    def _only_texts(self, frames: Sequence[bytes]) -> list[Chunk] | None:
        """The texts of the events, where they are nothing else."""
        events = decoded(_TEXTS, array_of(frames), len(frames))
        if events is None:
            return None
        texts: list[Chunk] = [event.delta for event in events if event.delta]
        if texts:
            self._has_said = True
        return texts

    def _read_singly(self, frames: Iterable[bytes], chunks: list[Chunk]) -> None:
        for frame in frames:
            self._read_one(frame, chunks)
            if self.done or self.error is not None:
                return

    def _read_one(self, frame: bytes, chunks: list[Chunk]) -> None:
        if (texts := self._only_texts((frame,))) is not None:
            chunks += texts
            return
        try:
            self._read(_ONE.decode(frame), frame, chunks)
        except UNREADABLE as error:
            self.error = self._unreadable(frame, error)

    def _unreadable(self, frame: bytes, error: Exception) -> Exception | None:
        """Judge what did not fit: only an event that this reads, or something that is no event, is at fault."""
        decoded = payload(frame)
        name = decoded.get("type") if isinstance(decoded, Mapping) else None
        if not isinstance(name, str) or name == "error" or name in _READERS:
            return unreadable(frame, error)
        self._note(name)
        return None

    def _read(self, event: _Event, frame: bytes, chunks: list[Chunk]) -> None:
        if event.type == "error":
            self.error = _failure(payload(frame))
        elif reader := _READERS.get(event.type):
            chunks += reader(self, event)
        else:
            self._note(event.type)

    def _note(self, name: str) -> None:
        if not self._has_noted and name not in _TOLD_OTHERWISE and not name.startswith(_NOT_OF_THE_ANSWER):
            self._has_noted = True
            note_unknown(f"an event of the unknown type {name!r}")

    def _nothing(self, event: _Event) -> Iterator[Chunk]:  # noqa: ARG002  # as all readers are called
        """Pass over a piece of text that holds none; those with text are read above."""
        return iter(())

    def _sound(self, event: _Event) -> Iterator[Chunk]:
        if event.delta:
            self._has_said = True
            yield AudioResponse(a2b_base64(event.delta), _SOUND)

    def _transcript(self, event: _Event) -> Iterator[Chunk]:
        if event.delta:
            self._has_said = True
            yield AudioResponse(format=_SOUND, transcript=event.delta)

    def _arguments(self, event: _Event) -> Iterator[Chunk]:
        if event.delta:
            call_id = self._call_id(event.output_index, event.call_id)
            self._argued.add(call_id)
            yield self._calls.add(event.output_index, call_id, "", event.delta)
        else:
            yield from self._call(event.output_index, event.call_id, event.name, event.arguments)

    def _item(self, event: _Event) -> Iterator[Chunk]:
        item = msgspec.convert(event.item, _Item)
        if item.type == "function_call":
            yield from self._call(event.output_index, item.call_id, item.name, item.arguments)

    def _call(self, index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> Iterator[Chunk]:
        """Give of a call what was not told: it comes with its item, in pieces, as a whole, and with its item again."""
        call_id = self._call_id(index, call_id)
        name = "" if call_id in self._named else name or ""
        arguments = "" if call_id in self._argued else arguments or ""
        if name:
            self._named.add(call_id)
        if arguments:
            self._argued.add(call_id)
        if name or arguments:
            yield self._calls.add(index, call_id, name, arguments)

    def _call_id(self, index: int | None, call_id: str | None) -> str:
        """Give the call's id, where an event leaves it out that of the latest call at its place."""
        if call_id:
            self._call_ids[index] = call_id
        return self._call_ids.get(index, "")

    def _done(self, event: _Event) -> Iterator[Chunk]:
        response = msgspec.convert(event.response, _Response)
        yield from self._untold(response.output or ())
        if response.status == "failed":
            self.error = _failure(response.status_details)
            yield from _usage_chunks(response.usage)
        elif response.status == "cancelled":
            self.error = TruncatedError(f"the service cancelled it ({_reason(response) or 'it did not say why'})")
            yield from _usage_chunks(response.usage)
        else:
            yield from self._ending(response)

    def _untold(self, output: Iterable[_Item]) -> Iterator[Chunk]:
        """Give what a server told only at the end, and not in pieces."""
        had_calls = bool(self._calls)
        for index, item in enumerate(output):
            if item.type == "function_call" and not had_calls:
                yield from self._call(index, item.call_id, item.name, item.arguments)
            for part in () if self._has_said else item.content or ():
                match part:
                    case {"type": "output_text" | "text", "text": str(text)} if text:
                        yield text
                    case {"type": "output_audio" | "audio", "transcript": str(said)} if said:
                        yield AudioResponse(format=_SOUND, transcript=said)

    def _ending(self, response: _Response) -> Iterator[Chunk]:
        self.done = self.finished = True
        if self._calls:
            yield self._calls.calls()
        yield from _usage_chunks(response.usage)
        if self._calls:
            yield FinishReason("tool_calls")
        elif response.status == "incomplete":
            reason = _reason(response)
            yield FinishReason(_REASONS.get(reason, reason) or "incomplete")
        else:
            yield FinishReason("stop")


_Reader: TypeAlias = Callable[[RealtimeDialogue, _Event], Iterator[Chunk]]

_READERS: Mapping[str, _Reader] = {
    "response.output_text.delta": RealtimeDialogue._nothing,
    "response.text.delta": RealtimeDialogue._nothing,
    "response.output_audio.delta": RealtimeDialogue._sound,
    "response.audio.delta": RealtimeDialogue._sound,
    "response.output_audio_transcript.delta": RealtimeDialogue._transcript,
    "response.audio_transcript.delta": RealtimeDialogue._transcript,
    "response.function_call_arguments.delta": RealtimeDialogue._arguments,
    "response.function_call_arguments.done": RealtimeDialogue._arguments,
    "response.output_item.added": RealtimeDialogue._item,
    "response.output_item.done": RealtimeDialogue._item,
    "response.done": RealtimeDialogue._done,
}


def _failure(told: Any) -> APIStatusError:
    """Read an ``error`` event, or the details of a response that failed."""
    error = told.get("error") if isinstance(told, Mapping) else None
    found = error_in({"error": error}) or status_error(None, "the service failed, and did not say why")
    if found.status is not None or not isinstance(error, Mapping):
        return found
    names = (error.get(key) for key in ("code", "type"))
    status = next((_STATUSES[name] for name in names if isinstance(name, str) and name in _STATUSES), None)
    return status_error(status, found.message)


def _reason(response: _Response) -> str:
    details = response.status_details
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return reason if isinstance(reason, str) else ""


def _usage_chunks(usage: Any) -> list[Chunk]:
    read = Usage(
        count(usage, "input_tokens"),
        count(usage, "output_tokens"),
        count(usage, "input_token_details", "cached_tokens"),
        count(usage, "output_token_details", "reasoning_tokens"),
    )
    return [] if read == Usage() else [read]
