"""The OpenAI Responses answer, streamed or whole, read into chunks.

Source of the events: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from g4ftrio._framing import NamedFrame
from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    Conversation,
    FinishReason,
    ProviderMetadata,
    Reasoning,
    Refusal,
    Usage,
)
from g4ftrio._words.errors import APIStatusError, TruncatedError, status_error
from g4ftrio.dialects._batch import array_of, decoded
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._depth import is_shallow
from g4ftrio.dialects._error_body import error_in, read_error
from g4ftrio.dialects._responses_calls import ResponsesCalls
from g4ftrio.dialects._responses_items import FunctionCall, chunks_of, item_of, to_send_back
from g4ftrio.dialects._unreadable import UNREADABLE, is_cut_object, note_unknown, payload, unreadable

__all__ = ("NAME", "OpenAIResponsesDecoder")

NAME = "openai-responses"  # what its metadata and its conversations are found by


class _Event(Struct, gc=False):
    type: str = ""
    delta: str | None = None
    arguments: str | None = None
    output_index: int | None = None
    summary_index: int | None = None
    item_id: str | None = None
    call_id: str | None = None
    item: Raw = Raw()
    response: Raw = Raw()
    error: Raw = Raw()


class _TextEvent(Struct, gc=False):
    """Nearly all events of an answer are this."""

    type: Literal["response.output_text.delta"]
    delta: str
    output_index: int | None = None


class _Details(Struct, gc=False):
    reason: str | None = None


class _Response(Struct):
    id: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    usage: Any = None
    error: Any = None
    incomplete_details: _Details | None = None
    store: bool | None = None


_DONE = b"[DONE]"
_ONE = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[_Event])
_TEXTS = msgspec.json.Decoder(list[_TextEvent])
_RESPONSE = msgspec.json.Decoder(_Response | None)
_ITEM = msgspec.json.Decoder(dict[str, Any])
_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}
_UNFINISHED = ("failed", "cancelled", "queued", "in_progress")
_SILENT = ("keepalive", "ping")
_SILENT_ENDINGS = (  # of the names of events that tell what is going on, or once more what was told
    *(".added", ".done", ".created", ".queued", ".in_progress", ".completed", ".failed"),
    *(".searching", ".generating", ".interpreting", ".partial_image", "_code.delta"),
)
_STATUSES = {  # https://platform.openai.com/docs/guides/error-codes
    **dict.fromkeys(("invalid_prompt", "invalid_request_error", "context_length_exceeded"), 400),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "too_many_requests"), 429),
    **dict.fromkeys(("server_error", "internal_error"), 500),
    **dict.fromkeys(("server_is_overloaded", "slow_down"), 503),
}


class OpenAIResponsesDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    How it works: the wire says everything up to three times: in pieces, as a whole item, and as the whole response.
    Servers leave out any two of these, and most of the numbers that tell which belong together. So of each kind of
    chunk it is kept at which places of the output it was given; a whole item adds only what was not given at its
    place, and the whole response only what was not given at all.
    """

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._calls = ResponsesCalls()
        self._items: list[dict[str, Any]] = []
        self._given: dict[int | None, set[type]] = {}
        self._ever_given: set[type] = set()
        self._thought_at: object = None
        self._has_reported = False

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames, and give the chunks that they held."""
        if self.done or self.error is not None:
            return []
        joined = array_of(frames)
        if texts := self._only_texts(joined, len(frames)):
            return texts
        return self._read_all(decoded(_MANY, joined, len(frames)), frames)

    def close(self) -> list[Chunk]:
        """Say that no frame follows; nothing is held back."""
        if not self.done and self.error is None:
            self.error = TruncatedError("it ended without response.completed")
        return []

    def _only_texts(self, joined: bytes, frames: int) -> list[Chunk]:
        """The texts of that many events, where they are nothing else; a third of what it costs to read them in full."""
        events = decoded(_TEXTS, joined, frames) or ()
        for place in {event.output_index for event in events if event.delta}:
            self._note(str, place)
        return [event.delta for event in events if event.delta]

    def _read_all(self, events: Sequence[_Event] | None, frames: Sequence[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for number, frame in enumerate(frames):
            if events is None:
                self._read_singly(frame, chunks)
            else:
                self._read(events[number], frame, chunks)
            if self.done or self.error is not None:
                break
        return chunks

    def _read_singly(self, frame: bytes, chunks: list[Chunk]) -> None:
        data = frame.strip()
        if data == _DONE:
            self._conclude("", _Response(), chunks)
        elif data != b"null" and not _DONE.startswith(data):
            try:
                event = _ONE.decode(data)
            except UNREADABLE as error:
                if texts := self._only_texts(array_of((data,)), 1):  # which asks for less
                    chunks += texts
                else:
                    self._read_undecoded(frame, error)
            else:
                self._read(event, frame, chunks)

    def _read_undecoded(self, frame: bytes, error: Exception) -> None:
        """Judge a frame that is no event of a known form: one of an unknown type, an error, or nothing readable."""
        held = payload(frame)
        if isinstance(held, Mapping):
            name = held.get("type")
            is_other = isinstance(name, str) and name not in ("", *_READERS)
        else:
            name = frame.event if isinstance(frame, NamedFrame) else ""
            is_other = name != "" and not name.startswith("response.") and not is_cut_object(frame)
        if is_other:
            self._judge(str(name), frame, held)
        else:
            self.error = _failure(frame) if error_in(held) is not None else unreadable(frame, error)

    def _read(self, event: _Event, frame: bytes, chunks: list[Chunk]) -> None:
        if not event.type and isinstance(frame, NamedFrame):
            event.type = frame.event
        try:
            if reader := _READERS.get(event.type):
                reader(self, event, chunks)
            else:
                self._read_other(event.type, frame, chunks)
        except UNREADABLE as error:
            self.error = unreadable(frame, error)

    def _read_other(self, name: str, frame: bytes, chunks: list[Chunk]) -> None:
        held = payload(frame)
        if not name and _is_response(held):
            response = msgspec.convert(held, _Response)
            self._conclude(response.status or "completed", response, chunks)
        else:
            self._judge(name, frame, held)

    def _judge(self, name: str, frame: bytes, held: Any) -> None:
        """Tell what an event is that is no piece of the answer: an error, or a step on the way."""
        is_step = name.startswith("response.") and "error" not in name  # of the service's own tools, say
        if name == "error" or (not is_step and error_in(held) is not None):
            self.error = _failure(frame)
        elif name and name not in _SILENT and not name.endswith(_SILENT_ENDINGS):
            self._report(f"an event of the type {name!r}")

    def _read_delta(self, event: _Event, chunks: list[Chunk]) -> None:
        if event.delta:
            self._give(_MADE_OF_DELTAS[event.type](event.delta), (event.output_index, event.summary_index), chunks)

    def _begin_thought(self, event: _Event, chunks: list[Chunk]) -> None:  # noqa: ARG002  # as all readers are called
        self._thought_at = event.type  # which is no place

    def _begin_item(self, event: _Event, chunks: list[Chunk]) -> None:
        item = item_of(_ITEM.decode(event.item))
        if isinstance(item, FunctionCall) and (piece := self._calls.begin(event.output_index, item)):
            chunks.append(piece)

    def _read_arguments(self, event: _Event, chunks: list[Chunk]) -> None:
        item_id = event.item_id or event.call_id
        told_before = event.delta is None and self._calls.is_argued(event.output_index, item_id)
        arguments = event.delta or event.arguments
        if arguments and not told_before:
            chunks.append(self._calls.go_on(event.output_index, item_id, arguments))

    def _read_item(self, event: _Event, chunks: list[Chunk]) -> None:
        payload = _ITEM.decode(event.item)
        self._items.append(payload)
        place = event.output_index
        given = self._ever_given
        if place is not None:
            given = self._given.get(place, set()) | self._given.get(None, set())
        self._take(payload, place, frozenset(given), chunks)

    def _read_end(self, event: _Event, chunks: list[Chunk]) -> None:
        response = (_RESPONSE.decode(event.response) if event.response else None) or _Response()
        if event.error:
            response.error = response.error or msgspec.json.decode(event.error)
        outcome = event.type.removeprefix("response.")
        if outcome in ("completed", "done"):
            outcome = response.status if response.status in ("incomplete", "failed", "cancelled") else "completed"
        self._conclude(outcome, response, chunks)

    def _conclude(self, outcome: str, response: _Response, chunks: list[Chunk]) -> None:
        """Give what is left of the answer, and end it.

        :param outcome: the response's status; empty where the body ended in order, and no response told it
        """
        had_calls, given = bool(self._calls), frozenset(self._ever_given)
        for place, item in enumerate(response.output or ()):
            if not (had_calls and item.get("type") == "function_call" and not item.get("call_id")):
                self._take(item, place, given, chunks)
        usage = _usage(response.usage)
        if outcome in _UNFINISHED:
            chunks += usage
            self.error = _broken_off(outcome, response)
            return
        if self._calls:
            chunks.append(self._calls.calls())
        chunks += self._kept(outcome, response) + usage
        if reason := self._reason(outcome, response):
            chunks.append(FinishReason(reason))
        self.done = self.finished = True

    def _kept(self, outcome: str, response: _Response) -> list[Chunk]:
        """Give what the service wants to see again. Of an answer that was cut short it wants nothing back."""
        kept: list[Chunk] = []
        is_stored = response.store is not False
        items = to_send_back(response.output or self._items, is_stored=is_stored) if outcome == "completed" else None
        if items and is_shallow(items):
            kept.append(ProviderMetadata(NAME, items))
        if response.id and is_stored:
            kept.append(Conversation("", {"response_id": response.id}))
        return kept

    def _reason(self, outcome: str, response: _Response) -> str:
        if outcome in ("", "completed"):
            return "tool_calls" if self._calls else outcome and "stop"
        why = response.incomplete_details.reason if response.incomplete_details else None
        return _REASONS.get(why or "", why or outcome)

    def _take(self, payload: dict[str, Any], place: int | None, given: AbstractSet[type], chunks: list[Chunk]) -> None:
        """Give what a whole item says, but for the kinds of chunks that were given."""
        item = item_of(payload)
        if item is None:
            self._report(f"an item of the type {payload.get('type')!r}")
        elif isinstance(item, FunctionCall):
            if piece := self._calls.end(place, item):
                chunks.append(piece)
        else:
            for number, chunk in enumerate(chunks_of(item)):
                if type(chunk) not in given:
                    self._give(chunk, (place, number), chunks)

    def _give(self, chunk: Chunk, at: tuple[int | None, int | None], chunks: list[Chunk]) -> None:
        """Give a chunk; parts of thoughts, which are paragraphs, are kept apart."""
        if isinstance(chunk, Reasoning):
            if Reasoning in self._ever_given and at != self._thought_at:
                chunk = Reasoning("\n\n" + chunk.text)
            self._thought_at = at
        self._note(type(chunk), at[0])
        chunks.append(chunk)

    def _note(self, kind: type, place: int | None) -> None:
        self._given.setdefault(place, set()).add(kind)
        self._ever_given.add(kind)

    def _report(self, what: str) -> None:
        if not self._has_reported:
            self._has_reported = True
            note_unknown(what)


_Reader: TypeAlias = Callable[[OpenAIResponsesDecoder, _Event, list[Chunk]], None]

_MADE_OF_DELTAS: dict[str, Callable[[str], Chunk]] = {
    "response.output_text.delta": str,
    "response.refusal.delta": Refusal,
    "response.reasoning_summary_text.delta": Reasoning,
    "response.reasoning_text.delta": Reasoning,
    "response.reasoning.delta": Reasoning,  # what servers called it before the wire had a word for it
    "response.audio.delta": lambda data: AudioResponse(a2b_base64(data)),
    "response.audio.transcript.delta": lambda said: AudioResponse(transcript=said),
}
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(_MADE_OF_DELTAS, OpenAIResponsesDecoder._read_delta),
    "response.reasoning_summary_part.added": OpenAIResponsesDecoder._begin_thought,
    "response.output_item.added": OpenAIResponsesDecoder._begin_item,
    "response.output_item.done": OpenAIResponsesDecoder._read_item,
    "response.function_call_arguments.delta": OpenAIResponsesDecoder._read_arguments,
    "response.function_call_arguments.done": OpenAIResponsesDecoder._read_arguments,
    **dict.fromkeys(
        (f"response.{end}" for end in ("completed", "done", "incomplete", "failed", "cancelled")),
        OpenAIResponsesDecoder._read_end,
    ),
}


def _is_response(payload: Any) -> bool:
    return isinstance(payload, Mapping) and (
        payload.get("object") == "response" or isinstance(payload.get("output"), list)
    )


def _failure(body: bytes, unsaid: str = "the service broke the answer off") -> APIStatusError:
    message, code = read_error(body)
    found = error_in(payload(body))
    status = found.status if found is not None else None
    return status_error(status or _STATUSES.get(code), message or code or unsaid)


def _broken_off(outcome: str, response: _Response) -> Exception:
    if outcome in ("queued", "in_progress"):
        return TruncatedError(f"the service gave it unfinished, as {outcome!r}")
    unsaid = "the service cancelled the answer" if outcome == "cancelled" else "the service broke the answer off"
    return _failure(msgspec.json.encode({"error": response.error}) if response.error else b"", unsaid)


def _usage(usage: Any) -> list[Chunk]:
    read = Usage(
        count(usage, "input_tokens"),
        count(usage, "output_tokens"),
        count(usage, "input_tokens_details", "cached_tokens"),
        count(usage, "output_tokens_details", "reasoning_tokens"),
    )
    return [] if read == Usage() else [read]
