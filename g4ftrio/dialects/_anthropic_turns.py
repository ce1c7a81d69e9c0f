"""A conversation in the OpenAI shape, written as the system text and the turns of the Anthropic Messages wire.

Source of the form: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from g4ftrio._words.errors import MessagesError
from g4ftrio.dialects._anthropic_events import NAME
from g4ftrio.dialects._parts import Inline, media_of, metadata_of, refuse, system_text
from g4ftrio.dialects._tools import arguments_of, calls_of

__all__ = ("system_of", "turns_of")

Block: TypeAlias = dict[str, Any]

_SYSTEM = ("system", "developer")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")  # other services write ids with dots and colons, and this one refuses them


def system_of(messages: Sequence[Mapping[str, Any]]) -> str | list[Block]:
    """Give what the system messages say: as blocks where one of them is to be cached, else as text, maybe empty.

    :raises MessagesError: one holds something that is not text
    """
    blocks = [block for said in messages if said["role"] in _SYSTEM for block in _cached(said, _parts(said))]
    if others := [block["type"] for block in blocks if block["type"] != "text"]:
        raise refuse(f"{others[0]} in a system message", "put it into the user's")
    return blocks if any("cache_control" in block for block in blocks) else system_text(messages)


def turns_of(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the conversation's turns: messages of one side that follow each other are one, and empty ones are none.

    :raises MessagesError: there is none, or the wire has no form for something in them
    """
    spoken = [message for message in messages if message["role"] not in _SYSTEM]
    written = ((_side(message), _cached(message, _blocks(message))) for message in spoken)
    turns = [
        {"role": side, "content": _content([block for _, blocks in group for block in blocks])}
        for side, group in groupby((each for each in written if each[1]), key=lambda each: each[0])
    ]
    if not turns:
        raise MessagesError("this service needs a message beside the system's, and there is none with content")
    return turns


def _side(message: Mapping[str, Any]) -> str:
    return "assistant" if message["role"] == "assistant" else "user"


def _content(blocks: list[Block]) -> str | list[Block]:
    """Put a turn's blocks in order, the results of tools first as the service wants them; a bare text is a string."""
    match blocks:
        case [{"type": "text", "text": str(text), **others}] if not others:
            return text
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _blocks(message: Mapping[str, Any]) -> list[Block]:
    match message["role"]:
        case "user":
            return _parts(message)
        case "assistant":
            return _assistant(message)
        case "tool":
            return [_tool_result(message)]
    raise refuse(
        f"messages of the role {message['role']!r}", "write the results of tools as messages of the role 'tool'"
    )


def _assistant(message: Mapping[str, Any]) -> list[Block]:
    kept = metadata_of(message, NAME)
    if isinstance(kept, list) and kept and all(isinstance(block, Mapping) for block in kept):
        return [_returned(block) for block in kept if not _is_blank(block)]
    for key in ("function_call", "audio"):
        if message.get(key):
            raise refuse(f"{key!r} in an assistant's message", "write its text and its tool_calls")
    said = message if message.get("content") else {"content": message.get("refusal")}
    calls = [
        {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": arguments_of(call)}
        for call in calls_of(message)
    ]
    return [*_parts(said), *calls]


def _returned(block: Mapping[str, Any]) -> Block:
    """Give a block that was kept; a call's id is written as in its result, whoever wrote it."""
    match block:
        case {"type": "tool_use", "id": str(name)}:
            return {**block, "id": _id(name)}
    return dict(block)


def _tool_result(message: Mapping[str, Any]) -> Block:
    if not isinstance(answered := message.get("tool_call_id"), str):
        raise MessagesError("a message of the role 'tool' has no tool_call_id: give the id of the call that it answers")
    content = message.get("content")
    result: Block = {"type": "tool_result", "tool_use_id": _id(answered)}
    if said := content if isinstance(content, str) else _parts(message):
        result["content"] = said
    return result


def _id(given: str) -> str:
    return _NOT_IN_IDS.sub("_", given)


def _cached(source: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """Mark the last of the blocks that came of something as it was marked itself."""
    if blocks and (mark := source.get("cache_control")):
        return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]
    return blocks


def _parts(message: Mapping[str, Any]) -> list[Block]:
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    return [block for part in parts for block in _cached(part, [*_part(part)]) if not _is_blank(block)]


def _is_blank(block: Mapping[str, Any]) -> bool:
    """Whether it is text without a letter: the service refuses that, though it sometimes writes it."""
    return block.get("type") == "text" and not str(block.get("text", "")).strip()


def _part(part: Mapping[str, Any]) -> Iterator[Block]:
    kind = part["type"]
    match kind:
        case "text" | "refusal":
            yield {"type": "text", "text": part[kind]}
        case "image_url" | "file":
            yield _MEDIA[kind](part)
        case "thinking":  # what is signed is the service's own, and what is not is some other's and never sent
            if part.get("signature"):
                yield {key: part[key] for key in ("type", "thinking", "signature")}
        case "input_audio":
            raise refuse("audio", "give it as text")
        case _:
            raise refuse(f"{kind!r} in a message")


def _image(part: Mapping[str, Any]) -> Block:
    found = media_of(part)
    if isinstance(found, Inline):
        return {"type": "image", "source": _picture(found)}
    return {"type": "image", "source": {"type": "url", "url": found.url}}


def _picture(found: Inline) -> dict[str, Any]:
    mime = "image/jpeg" if found.mime == "image/jpg" else found.mime
    if mime not in _IMAGES:
        raise refuse(f"image of the type {mime}", "give it as PNG, JPEG, GIF or WebP")
    return {"type": "base64", "media_type": mime, "data": found.data}


def _file(part: Mapping[str, Any]) -> Block:
    found = media_of(part)
    if not isinstance(found, Inline):
        if not found.url:
            raise MessagesError("a file in a message has neither file_data nor file_id")
        return {"type": "document", "source": _FETCHED[found.is_id](found.url)}
    if found.mime.startswith("image/"):
        return {"type": "image", "source": _picture(found)}
    document = {"type": "document", "source": _document(found)}
    return {**document, "title": found.name} if found.name else document


def _document(found: Inline) -> dict[str, Any]:
    if found.mime == "application/pdf":
        return {"type": "base64", "media_type": found.mime, "data": found.data}
    try:
        text = a2b_base64(found.data).decode("utf-8-sig")
    except ValueError:
        raise refuse(f"file of the type {found.mime}", "give it as PDF, as an image or as text in UTF-8") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


_MEDIA: dict[str, Callable[[Mapping[str, Any]], Block]] = {"image_url": _image, "file": _file}
_FETCHED: dict[bool, Callable[[str], dict[str, Any]]] = {
    True: lambda name: {"type": "file", "file_id": name},
    False: lambda url: {"type": "url", "url": url},
}
