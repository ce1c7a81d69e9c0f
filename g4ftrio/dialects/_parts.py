"""The parts of a message in the OpenAI shape, read for the wires that have another."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from g4ftrio._words.errors import MessagesError

__all__ = ("Inline", "Linked", "media_of", "metadata_of", "refuse", "system_text", "text_of")

_SYSTEM = ("system", "developer")
_SOUND_TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4"}  # the others are called as the format is


class Inline(NamedTuple):
    """Something that is in the message itself: ``data`` is base64."""

    mime: str
    data: str
    name: str = ""


class Linked(NamedTuple):
    """Something that the service has to fetch, or has already where ``is_id``."""

    url: str
    is_id: bool = False


def media_of(part: Mapping[str, Any]) -> Inline | Linked:
    """Read a part of the type ``image_url``, ``video_url``, ``input_audio`` or ``file``.

    :raises MessagesError: what it holds cannot be read
    """
    kind = part["type"]
    held = part[kind]
    match kind:
        case "input_audio":
            known = str(held.get("format", ""))
            return Inline(_SOUND_TYPES.get(known, f"audio/{known}"), str(held.get("data", "")))
        case "file" if isinstance(held.get("file_id"), str):
            return Linked(held["file_id"], is_id=True)
        case "file":
            return _located(str(held.get("file_data", "")), str(held.get("filename", "")))
    return _located(held if isinstance(held, str) else str(held.get("url", "")))


def _located(url: str, name: str = "") -> Inline | Linked:
    if not url.startswith("data:"):
        return Linked(url)
    head, _, data = url.removeprefix("data:").partition(",")
    mime, *marks = head.split(";")
    try:
        if "base64" not in marks:
            raise ValueError("it is not base64")
        a2b_base64(data)
    except ValueError as error:
        raise MessagesError(f"a message holds a data: URL that cannot be sent: {error}") from None
    return Inline(mime or "application/octet-stream", data, name)


def text_of(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    """Give the text of a message's content, which may be nothing; parts of other types are passed over."""
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def system_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Give what all system messages say, for the wires on which that stands apart from the conversation."""
    return "\n\n".join(filter(None, (text_of(said["content"]) for said in messages if said["role"] in _SYSTEM)))


def metadata_of(message: Mapping[str, Any], dialect: str) -> Any:
    """Give what this dialect itself wrote about a message when it came from there, or None."""
    kept = message.get("provider_metadata")
    return kept.get(dialect) if isinstance(kept, Mapping) else None


def refuse(what: str, instead: str = "leave it out") -> MessagesError:
    """Give the error for what a wire has no form for, before anything is sent."""
    return MessagesError(f"this service takes no {what}: {instead}")
