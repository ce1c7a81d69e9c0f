"""Output items of the Responses wire: what a whole one says, and which ones the service wants back.

Source of the forms: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from g4ftrio._words.chunks import Chunk, ImageResponse, Reasoning, Refusal

__all__ = ("FunctionCall", "Item", "chunks_of", "item_of", "to_send_back")


class _Part(Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


_Parts: TypeAlias = str | list[_Part] | None


class _Message(Struct):
    content: _Parts = None


class _Thought(Struct):
    summary: _Parts = None
    content: _Parts = None


class _Drawing(Struct, gc=False):
    result: str | None = None
    output_format: str | None = None
    revised_prompt: str | None = None


class FunctionCall(Struct):
    """A call of one of the caller's functions; ``id`` is the item's, ``call_id`` is what the result is given to."""

    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None


Item: TypeAlias = _Message | _Thought | _Drawing | FunctionCall

_ITEMS: dict[Any, type[Item]] = {
    "message": _Message,
    "reasoning": _Thought,
    "function_call": FunctionCall,
    "image_generation_call": _Drawing,
}


def item_of(payload: Mapping[str, Any]) -> Item | None:
    """Read an item; None where it is of a type that says nothing to the caller.

    :raises ValueError: it is not of its type's form
    """
    kind = payload.get("type")
    read = _ITEMS.get(kind) if isinstance(kind, str) else None
    return None if read is None else msgspec.convert(payload, read)


def chunks_of(item: Item) -> Iterator[Chunk]:
    """Give what an item says; a function call is put together elsewhere."""
    match item:
        case _Message(content):
            yield from _spoken(content)
        case _Thought(summary, content):
            yield from (Reasoning(said) for said in (*_texts(summary), *_texts(content)))
        case _Drawing(str(result), form, alt) if result:
            is_url = result.startswith(("https://", "http://", "data:"))
            yield ImageResponse((result if is_url else f"data:image/{form or 'png'};base64,{result}",), alt or "")


def to_send_back(items: Sequence[Mapping[str, Any]], *, is_stored: bool) -> list[Mapping[str, Any]] | None:
    """Give a turn's items where the service wants them back as they are; None where the message says it all.

    Reasoning goes with what follows it: sent by halves, the service refuses it. So a thought that it neither stored
    nor wrote into the item keeps the whole turn from being sent as it was.

    :param is_stored: whether the service kept the items, so that their ids are enough
    """
    if all(item.get("type") in ("message", "function_call") and not item.get("phase") for item in items):
        return None
    thoughts = (item for item in items if item.get("type") == "reasoning")
    whole = is_stored or all(item.get("encrypted_content") or item.get("content") for item in thoughts)
    return list(items) if whole else None


def _spoken(content: _Parts) -> Iterator[Chunk]:
    for part in [_Part(content)] if isinstance(content, str) else content or ():
        if part.text:
            yield part.text
        if part.refusal:
            yield Refusal(part.refusal)


def _texts(parts: _Parts) -> list[str]:
    if isinstance(parts, str):
        return [parts]
    return [part.text for part in parts or () if part.text]
