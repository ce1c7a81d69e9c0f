"""Messages in the OpenAI chat shape as input items of the Responses wire.

Source of the forms: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from g4ftrio._words.errors import MessagesError
from g4ftrio.dialects._parts import Linked, media_of, metadata_of, refuse, text_of
from g4ftrio.dialects._responses_events import NAME
from g4ftrio.dialects._tools import calls_of

__all__ = ("items_of",)

_NOT_SAID = ("audio", "function_call")  # of an assistant's message, on this wire


def items_of(messages: Sequence[Mapping[str, Any]], *, takes_sound: bool = False) -> list[Mapping[str, Any]]:
    """Give the items of messages; an assistant's that this service wrote is sent as it wrote it.

    :param takes_sound: whether the service reads ``input_audio``
    :raises MessagesError: the wire has no form for something in them
    """
    return [item for message in messages for item in _items(message, takes_sound)]


def _items(message: Mapping[str, Any], takes_sound: bool) -> list[Mapping[str, Any]]:
    role = message["role"]
    if role == "tool":
        return [_result(message)]
    if message.get("name"):
        raise refuse("names of who said a message", "put them into the text")
    if role == "assistant":
        return _turn(message)
    if role == "function":
        raise refuse("messages of the role 'function'", "send the result as a tool message")
    content = message["content"]
    if not isinstance(content, str):
        content = [_part(part, takes_sound) for part in content]
    return [_message(role, content)]


def _message(role: str, content: str | list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _turn(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give an assistant's message: what it said, then what it called."""
    if written := metadata_of(message, NAME):
        return list(written)
    for key in _NOT_SAID:
        if message.get(key):
            raise refuse(f"{key!r} in an assistant's message")
    said = _said(message)
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}
        for call in calls_of(message)
    ]
    return [*([_message("assistant", said)] if said or not calls else ()), *calls]


def _said(message: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    """Give an assistant's words: as text, or as parts where it refused; its thinking is no part of the answer."""
    content = message["content"]
    parts = content if isinstance(content, list) else []
    if lost := next((part["type"] for part in parts if part["type"] not in ("text", "refusal", "thinking")), None):
        raise refuse(f"{lost!r} in an assistant's message")
    refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
    refusals += filter(None, [message.get("refusal")])
    text = text_of(content)
    if not refusals:
        return text
    spoken = [{"type": "output_text", "text": text}] if text else []
    return spoken + [{"type": "refusal", "refusal": refusal} for refusal in refusals]


def _result(message: Mapping[str, Any]) -> dict[str, Any]:
    call_id = message.get("tool_call_id")
    if not call_id:
        raise MessagesError("a tool message has no tool_call_id, which says whose result it is")
    content = message["content"]
    output = content if isinstance(content, str) else [_part(part, takes_sound=False) for part in content]
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _part(part: Mapping[str, Any], takes_sound: bool) -> dict[str, Any]:
    match part["type"]:
        case "text":
            return {"type": "input_text", "text": part["text"]}
        case "image_url":
            return {"type": "input_image", "image_url": _url(part), "detail": _detail(part["image_url"])}
        case "file":
            return {"type": "input_file", **_file(part)}
        case "input_audio" if takes_sound:
            return {"type": "input_audio", "input_audio": dict(part["input_audio"])}
        case "input_audio":
            raise refuse("sound", "write down what is said")
        case other:
            raise refuse(f"part of the type {other!r} in a message")


def _url(part: Mapping[str, Any]) -> str:
    image = media_of(part)
    return image.url if isinstance(image, Linked) else f"data:{image.mime};base64,{image.data}"


def _detail(image: Any) -> str:
    return str((image.get("detail") if isinstance(image, Mapping) else None) or "auto")


def _file(part: Mapping[str, Any]) -> dict[str, Any]:
    match media_of(part):
        case Linked(url, is_id):
            return {"file_id" if is_id else "file_url": url}
        case inline:
            return {"filename": inline.name or "file", "file_data": f"data:{inline.mime};base64,{inline.data}"}
