"""One answer on the Responses wire as events, and as the response that they add up to.

Source of the form: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from g4ftrio._words.chunks import FinishReason, Reasoning, Refusal, ToolCallDelta, Usage
from g4ftrio.simulator._wire import Ask, Item, Mark

__all__ = ("ResponseEvents",)

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_SETTINGS: dict[str, Any] = {  # what the response repeats of its request, as if it had been asked for plainly
    **dict.fromkeys(("error", "instructions", "max_output_tokens", "previous_response_id", "user")),
    "background": False,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


class ResponseEvents:
    """Tells an answer, and gathers it: a piece of another kind than the one before begins another output item."""

    def __init__(self, ask: Ask, name: str, created: int) -> None:
        self._name = name
        self._told = 0
        self._output: list[dict[str, Any]] = []
        self._open: _OpenItem | None = None
        head = {"id": f"resp_{name}", "object": "response", "created_at": created, "model": ask.model}
        self._state = {**head, **_SETTINGS, "status": "in_progress", "incomplete_details": None, "usage": None}

    def tell(self, item: Item) -> list[dict[str, Any]]:
        """Give the events that one item of the answer makes."""
        events = [{**event, "sequence_number": self._told + number} for number, event in enumerate(self._tell(item))]
        self._told += len(events)
        return events

    def response(self) -> dict[str, Any]:
        """Give the response as far as it has come."""
        return {**self._state, "output": list(self._output)}

    def _tell(self, item: Item) -> Iterator[dict[str, Any]]:
        match item:
            case Mark.OPEN:
                yield {"type": "response.created", "response": self.response()}
                yield {"type": "response.in_progress", "response": self.response()}
            case Mark.COMMENT:
                yield {"type": "keepalive"}
            case Mark.DONE:
                yield {"type": f"response.{self._state['status']}", "response": self.response()}
            case Usage():
                self._state["usage"] = _usage(item)
            case FinishReason(reason):
                yield from self._close()
                why = _INCOMPLETE.get(reason)
                self._state["status"] = "incomplete" if why else "completed"
                self._state["incomplete_details"] = {"reason": why} if why else None
            case _:
                yield from self._say(item)

    def _say(self, item: Item) -> Iterator[dict[str, Any]]:
        form = _FORMS.get(type(item))
        if form is None:
            raise TypeError(f"the Responses wire has no form for {item!r}")
        if self._open is None or not self._open.takes(item):
            yield from self._close()
            self._open = _OpenItem(form, item, self._name, len(self._output))
            yield from self._open.begin()
        if piece := str(getattr(item, form.said_in) if form.said_in else item):
            yield self._open.say(piece)

    def _close(self) -> Iterator[dict[str, Any]]:
        if self._open is not None:
            yield from self._open.end()
            self._output.append(self._open.item)
            self._open = None


class _Form(Struct, frozen=True, kw_only=True):
    """How a kind of chunk is told.

    :ivar kind: the type of the output item
    :ivar prefix: of its id
    :ivar empty: what the item is before anything is said
    :ivar said_in: the chunk's field that holds the piece, none where it is the chunk itself
    :ivar says: the name of the events that bring a piece
    :ivar whole: the field of the last of these, and of the item or its part, that holds all pieces
    :ivar part: the name of the events that begin and end the item's part, none where it has no parts
    :ivar parts: the item's field that holds its parts
    :ivar part_type: the type of a part
    :ivar place: where in the item the part is
    :ivar logged: whether the pieces bring probabilities
    """

    kind: str
    prefix: str
    empty: Mapping[str, Any]
    said_in: str = ""
    says: str
    whole: str = "text"
    part: str = ""
    parts: str = ""
    part_type: str = ""
    place: Mapping[str, int] = {}
    logged: bool = False


_TEXT = _Form(
    kind="message",
    prefix="msg",
    empty={"role": "assistant", "content": []},
    says="output_text",
    part="content_part",
    parts="content",
    part_type="output_text",
    place={"content_index": 0},
    logged=True,
)
_FORMS: dict[type, _Form] = {
    str: _TEXT,
    Refusal: replace(_TEXT, said_in="text", says="refusal", whole="refusal", part_type="refusal", logged=False),
    Reasoning: _Form(
        kind="reasoning",
        prefix="rs",
        empty={"summary": [], "encrypted_content": "c2VhbGVk"},
        said_in="text",
        says="reasoning_summary_text",
        part="reasoning_summary_part",
        parts="summary",
        part_type="summary_text",
        place={"summary_index": 0},
    ),
    ToolCallDelta: _Form(
        kind="function_call",
        prefix="fc",
        empty={"arguments": ""},
        said_in="arguments",
        says="function_call_arguments",
        whole="arguments",
    ),
}


class _OpenItem:
    """An output item that is being written."""

    def __init__(self, form: _Form, first: Item, name: str, place: int) -> None:
        self._form = form
        self._is_for = _which(first)
        self._place = place
        self._pieces: list[str] = []
        self.item: dict[str, Any] = {"id": f"{form.prefix}_{name}_{place}", "type": form.kind, "status": "in_progress"}
        self.item |= form.empty
        if isinstance(first, ToolCallDelta):
            self.item |= {"call_id": first.id, "name": first.name}

    def takes(self, item: Item) -> bool:
        """Whether a piece belongs into this one."""
        return _which(item) == self._is_for

    def begin(self) -> Iterator[dict[str, Any]]:
        """Begin the item and its part."""
        yield self._told("added")
        if self._form.part:
            yield self._event(f"{self._form.part}.added", part=self._part(""))

    def say(self, piece: str) -> dict[str, Any]:
        """Bring a piece."""
        self._pieces.append(piece)
        return self._event(f"{self._form.says}.delta", delta=piece, **self._logged())

    def end(self) -> Iterator[dict[str, Any]]:
        """Say all of it again, as the wire does, in one, as a part and as an item."""
        form, said = self._form, "".join(self._pieces)
        yield self._event(f"{form.says}.done", **{form.whole: said}, **self._logged())
        if form.part:
            yield self._event(f"{form.part}.done", part=self._part(said))
        self.item |= {form.parts: [self._part(said)]} if form.part else {form.whole: said}
        self.item["status"] = "completed"
        yield self._told("done")

    def _told(self, moment: str) -> dict[str, Any]:
        return {"type": f"response.output_item.{moment}", "output_index": self._place, "item": dict(self.item)}

    def _event(self, name: str, **what: Any) -> dict[str, Any]:
        place = {"item_id": self.item["id"], "output_index": self._place, **self._form.place}
        return {"type": f"response.{name}", **place, **what}

    def _part(self, said: str) -> dict[str, Any]:
        annotated: dict[str, list[Any]] = {"annotations": [], "logprobs": []} if self._form.logged else {}
        return {"type": self._form.part_type, self._form.whole: said, **annotated}

    def _logged(self) -> dict[str, Any]:
        return {"logprobs": []} if self._form.logged else {}


def _which(item: Item) -> tuple[type, int]:
    """What pieces of one output item have in common."""
    return type(item), item.index if isinstance(item, ToolCallDelta) else 0


def _usage(usage: Usage) -> dict[str, Any]:
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": read + written,
    }
