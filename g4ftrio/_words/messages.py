"""Messages: what callers write, checked and copied before anybody sees them, and content parts made from files.

No I/O beyond reading a file that the caller named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from g4ftrio._words.errors import MessagesError

__all__ = (
    "MediaItem",
    "Messages",
    "attach",
    "audio",
    "file",
    "fold_system",
    "image",
    "image_type",
    "normalize",
    "plain_text",
)

Messages: TypeAlias = Sequence[Mapping[str, Any]]
MediaSource: TypeAlias = str | os.PathLike[str] | bytes  # a URL, a path, or what is in the file
MediaItem: TypeAlias = MediaSource | tuple[MediaSource, str | None]  # a source, or a source and a file name

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SYSTEM = ("system", "developer")
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")
_PARTS: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "image_url": (str, Mapping),
    "input_audio": Mapping,
    "file": Mapping,
    "video_url": (str, Mapping),
    "refusal": str,
    "thinking": (str, list),
}
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_SOUNDS = (
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"\xff\xf2", "mp3"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
)
_IMAGE_URLS = ("https://", "http://", "data:image/")
_SOUND_NAMES = frozenset({"aac", "flac", "m4a", "mp3", "ogg", "opus", "wav"})


def normalize(messages: str | Messages, system: str | None = None) -> list[dict[str, Any]]:
    """Copy a prompt or a list of messages into plain dicts that a dialect can encode.

    :param messages: a prompt, or the OpenAI list of mappings; models that have ``model_dump()`` count as mappings
    :param system: a system message to put first
    :raises MessagesError: no service could read them, or there is a system message already
    """
    listed = [_message(number, message) for number, message in enumerate(_listed(messages))]
    if not listed:
        raise MessagesError("there are no messages: give a prompt, or a list with at least one message")
    if listed[-1]["role"] == "user" and _blank(listed[-1]["content"]):
        raise MessagesError("the prompt is empty: the last user message has no content")
    if system is None:
        return listed
    if any(message["role"] in _SYSTEM for message in listed):
        raise MessagesError("system= was given, and the messages hold a system message already: leave one out")
    return [{"role": "system", "content": system}, *listed]


def fold_system(messages: Messages) -> list[dict[str, Any]]:
    """Put what the system messages say in front of the first user message, for services that know no such role."""
    said = "\n\n".join(_text(message["content"]) for message in messages if message["role"] in _SYSTEM)
    others = [dict(message) for message in messages if message["role"] not in _SYSTEM]
    if not said:
        return others
    for message in others:
        if message["role"] == "user":
            message["content"] = _before(said, message["content"])
            return others
    return [{"role": "user", "content": said}, *others]


def plain_text(message: Mapping[str, Any]) -> str:
    """Give the text of a message, for services that take nothing else.

    :raises MessagesError: it holds something else, which would be lost
    """
    content = message["content"]
    held = [part["type"] for part in content if part["type"] != "text"] if isinstance(content, list) else []
    held += [key for key in _INSTEAD_OF_CONTENT if message.get(key)]
    if held:
        raise MessagesError(f"this service takes text only, and a message holds {held[0]!r}: leave it out")
    return _text(content)


def attach(messages: Sequence[dict[str, Any]], media: Sequence[MediaItem]) -> list[dict[str, Any]]:
    """Put pictures, sounds and other files behind the text of the last user message, or into one of their own.

    :param messages: as ``normalize`` gives them; they are not changed
    :param media: what to attach: an image's URL, a ``data:`` URL, a path or bytes; with a file name where it matters
    :raises MessagesError: there is no such file, or it is of no form that services read
    """
    attached = [dict(message) for message in messages]
    parts = [_media_part(f"media[{number}]", item) for number, item in enumerate(media)]
    if not parts:
        return attached
    for message in reversed(attached):
        if message["role"] == "user":
            message["content"] = [*_parts(message["content"]), *parts]
            return attached
    return [*attached, {"role": "user", "content": parts}]


def image(source: str | os.PathLike[str] | bytes, *, detail: str | None = None) -> dict[str, Any]:
    """Make a content part of an image.

    :param source: an ``https:`` or ``data:`` URL, a path, or the image's bytes: PNG, JPEG, GIF or WebP
    :param detail: ``low``, ``high`` or ``auto``, for services that know it
    :raises MessagesError: there is no such file, or it is not such an image
    """
    if isinstance(source, str) and source.startswith(_IMAGE_URLS):
        url = source
    else:
        what = "these bytes are" if isinstance(source, bytes) else f"the file {_shown(source)} is"
        url = _image_url(_bytes(source), what)
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def audio(source: str | os.PathLike[str] | bytes, *, format: str | None = None) -> dict[str, Any]:  # noqa: A002 - the wire's name
    """Make a content part of a sound.

    :param source: a path, or the sound's bytes
    :param format: ``wav``, ``mp3``, ...; seen from the bytes or the file's name where it is not given
    :raises MessagesError: there is no such file, or its format cannot be told
    """
    data = _bytes(source)
    known = format or _sound_format(data) or ("" if isinstance(source, bytes) else Path(source).suffix[1:].lower())
    if not known:
        raise MessagesError("the format of the audio cannot be told from its bytes: pass format=, 'wav' say")
    return {"type": "input_audio", "input_audio": {"data": _base64(data), "format": known}}


def file(
    source: str | os.PathLike[str] | bytes, *, filename: str | None = None, mime: str | None = None
) -> dict[str, Any]:
    """Make a content part of a file, a PDF say.

    :param source: a path, or the file's bytes
    :param filename: what to call it; the path's last part where it is not given
    :param mime: its media type; seen from the bytes or the name where it is not given
    :raises MessagesError: there is no such file
    """
    data = _bytes(source)
    pdf = data.startswith(b"%PDF-")
    name = filename or (("file.pdf" if pdf else "file") if isinstance(source, bytes) else Path(source).name)
    url = _data_url(data, mime or ("application/pdf" if pdf else _guessed_type(name)))
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def image_type(data: bytes) -> str:
    """Tell an image's media type by its first 12 bytes; empty where it is none that services read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _IMAGES if data.startswith(magic)), "")


def _listed(messages: Any) -> Sequence[Any]:
    if isinstance(messages, str):
        if not messages.strip():
            raise MessagesError("the prompt is empty")
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence) or isinstance(messages, bytes):
        raise MessagesError(f"messages must be a prompt or a list of messages, not {type(messages).__name__}")
    return messages


def _message(number: int, given: Any) -> dict[str, Any]:
    where = f"messages[{number}]"
    message = _mapping(where, given)
    role = message.get("role")
    if role not in _ROLES:
        said = "has no role" if role is None else f"has the unknown role {role!r}"
        raise MessagesError(f"{where} {said}: it must be one of {', '.join(_ROLES)}")
    message["content"] = _content(where, message)
    return message


def _mapping(where: str, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if callable(dump := getattr(given, "model_dump", None)):
        return dict(dump(exclude_none=True))
    raise MessagesError(f"{where} must be a mapping with a role and content, not {type(given).__name__}")


def _content(where: str, message: Mapping[str, Any]) -> str | list[dict[str, Any]] | None:
    match message.get("content"):
        case str() as text:
            return text
        case [*parts] if parts:
            return [_part(f"{where}.content[{number}]", part) for number, part in enumerate(parts)]
        case None if message["role"] == "assistant" and any(message.get(key) for key in _INSTEAD_OF_CONTENT):
            return None
        case None:
            raise MessagesError(f"{where} has no content; only an assistant's message with tool_calls may have none")
        case []:
            raise MessagesError(f"{where}.content is an empty list")
        case other:
            raise MessagesError(f"{where}.content must be text or a list of parts, not {type(other).__name__}")


def _part(where: str, given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return {"type": "text", "text": given}
    part = _mapping(where, given)
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _PARTS:
        raise MessagesError(f"{where} has the unknown type {kind!r}: it must be one of {', '.join(_PARTS)}")
    if not isinstance(part.get(kind), _PARTS[kind]):
        raise MessagesError(f"{where} is of type {kind!r} and lacks a {kind!r} of the right form")
    return part


def _blank(content: str | list[dict[str, Any]] | None) -> bool:
    if isinstance(content, list):
        return all(part["type"] == "text" and not part["text"].strip() for part in content)
    return not (content or "").strip()


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def _before(said: str, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, list):
        return [{"type": "text", "text": said}, *content]
    return f"{said}\n\n{content}"


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _media_part(where: str, item: Any) -> dict[str, Any]:
    match item:
        case (source, str() | None as name):
            pass
        case source:
            name = None
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if isinstance(source, bytes):
        return _bytes_part(source, name or "")
    if not isinstance(source, str | os.PathLike):
        said = f"a URL, a path, bytes, or one of these with a file name, not {type(source).__name__}"
        raise MessagesError(f"{where} must be {said}")
    if isinstance(source, str) and source.startswith(_IMAGE_URLS):
        return image(source)
    if isinstance(source, str) and source.startswith("data:"):
        return _inline_part(where, source, name)
    return _bytes_part(_bytes(source), name or Path(source).name)


def _bytes_part(data: bytes, name: str, mime: str = "") -> dict[str, Any]:
    suffix = Path(name).suffix[1:].lower()
    if sound := _sound_format(data) or (suffix if suffix in _SOUND_NAMES else ""):
        return audio(data, format=sound)
    if image_type(data) or _guessed_type(name).startswith("image/"):
        return {"type": "image_url", "image_url": {"url": _image_url(data, f"the file {_shown(name)} is")}}
    return file(data, filename=name or None, mime=mime or None)


def _inline_part(where: str, url: str, name: str | None) -> dict[str, Any]:
    """Read a ``data:`` URL (RFC 2397) that holds no image."""
    from binascii import a2b_base64
    from mimetypes import guess_extension
    from urllib.parse import unquote_to_bytes

    head, _, written = url.removeprefix("data:").partition(",")
    mime = head.partition(";")[0]
    try:
        data = a2b_base64(written) if head.endswith(";base64") else unquote_to_bytes(written)
    except ValueError as error:
        raise MessagesError(f"{where} is a data: URL that cannot be read: {error}") from None
    extension = guess_extension(mime) or (f".{mime.rpartition('/')[2]}" if mime else "")  # audio/mp3 is not on record
    return _bytes_part(data, name or f"file{extension}", mime)


def _bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MessagesError(f"the file {_shown(source)} cannot be read: {why}") from None


def _image_url(data: bytes, what: str) -> str:
    kind = image_type(data)
    if not kind:
        raise MessagesError(f"{what} not an image that services read: PNG, JPEG, GIF or WebP")
    return _data_url(data, kind)


def _sound_format(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    return next((kind for magic, kind in _SOUNDS if data.startswith(magic)), "")


def _shown(source: str | os.PathLike[str]) -> str:
    name = os.fspath(source)
    return repr(name if len(name) <= 200 else name[:199] + "…")


def _guessed_type(name: str) -> str:
    from mimetypes import guess_type

    return guess_type(name)[0] or "application/octet-stream"


def _data_url(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{_base64(data)}"


def _base64(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(data).decode("ascii")
