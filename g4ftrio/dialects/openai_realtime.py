"""The OpenAI Realtime wire over WebSockets: one question and its answer, in text, to a session.

Source of the form: https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._openai_realtime_events import RealtimeDialogue
from g4ftrio.dialects._parts import Linked, media_of, refuse, system_text, text_of
from g4ftrio.dialects._tools import calls_of, choice_of, functions_of

__all__ = ("OpenAIRealtime", "RealtimeDialogue")

_SAID_TO_BOTH = ("max_tokens", "modalities", "tools", "tool_choice")
_KNOWN = frozenset({*_SAID_TO_BOTH, "parallel_tool_calls", "reasoning_effort"})
_KNOWN_BEFORE = frozenset({*_SAID_TO_BOTH, "temperature"})
_SOUNDS = ("audio/pcm16", "audio/pcm")
_LONGEST_ID = 32  # "Invalid 'item.call_id': string too long. Expected a string with maximum length 32"


class OpenAIRealtime(Struct, frozen=True, kw_only=True):
    """The wire.

    :ivar path: what to append to the API base to open a socket; the model is in the query
    :ivar models_path: what to append to it, over HTTP, to list the models
    :ivar beta: send what the wire's first form called the fields; answers are read in both forms
    """

    path: str = "/realtime"
    models_path: str = "/models"
    beta: bool = False

    def path_for(self, request: ChatRequest) -> str:
        """What to append to the API base for this request."""
        return f"{self.path}?model={quote(request.model, safe='')}"

    def dialogue(self, request: ChatRequest) -> RealtimeDialogue:
        """Begin to ask. ``extra_body`` is laid over the session's settings, field by field; None takes one out.

        :raises SetupError: the wire has no form for something in the request
        """
        session = self._session(request) | request.extra_body
        said = [{"type": "session.update", "session": _without_none(session)}]
        said += ({"type": "conversation.item.create", "item": item} for item in self._items(request.messages))
        said.append({"type": "response.create"})
        return RealtimeDialogue([msgspec.json.encode(message) for message in said])

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an answer that refuses the upgrade."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)

    def _session(self, request: ChatRequest) -> dict[str, Any]:
        params = expressed(request.params, _KNOWN_BEFORE if self.beta else _KNOWN)
        session = {
            "instructions": system_text(request.messages) or None,
            "tools": _tools(params.get("tools", ())) or None,
            "tool_choice": _choice(params["tool_choice"]) if "tool_choice" in params else None,
        }
        speaks = "audio" in params.get("modalities", ())
        if self.beta:
            return session | {
                "modalities": ["text", "audio"] if speaks else ["text"],
                "max_response_output_tokens": params.get("max_tokens"),
                "temperature": params.get("temperature"),
            }
        effort = params.get("reasoning_effort")
        return session | {
            "type": "realtime",
            "output_modalities": ["audio"] if speaks else ["text"],  # with sound, a transcript always comes
            "max_output_tokens": params.get("max_tokens"),
            "parallel_tool_calls": params.get("parallel_tool_calls"),
            "reasoning": {"effort": effort} if effort else None,
        }

    def _items(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for message in messages:
            match message["role"]:
                case "user":
                    yield {"type": "message", "role": "user", "content": self._heard(message["content"])}
                case "assistant":
                    yield from self._answered(message)
                case "tool" | "function":
                    yield _result(message)

    def _heard(self, content: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if isinstance(content, str):
            return [{"type": "input_text", "text": content}]
        return [self._part(part) for part in content]

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        match part:
            case {"type": "text", "text": text}:
                return {"type": "input_text", "text": text}
            case {"type": "image_url", "image_url": held} if not self.beta:
                return _image(part, held)
            case {"type": "input_audio"}:
                return _sound(part)
        raise refuse(f"part of the type {part['type']!r}", "put what it says into the text")

    def _answered(self, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for key in ("audio", "function_call"):
            if message.get(key):
                raise refuse(f"{key!r} in a message", "leave it out, or put what it says into content or tool_calls")
        if text := _written(message):
            part = {"type": "text" if self.beta else "output_text", "text": text}
            yield {"type": "message", "role": "assistant", "content": [part]}
        for call in calls_of(message):
            called = {"call_id": _short(call.id), "name": call.name, "arguments": call.arguments}
            yield {"type": "function_call", **called}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "name": each.name,
            "description": each.description,
            "parameters": each.parameters or {"type": "object", "properties": {}},
        }
        for each in functions_of(tools)
    ]


def _choice(given: Any) -> str | dict[str, str]:
    choice = choice_of(given)
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def _image(part: Mapping[str, Any], held: Any) -> dict[str, Any]:
    image = media_of(part)
    if isinstance(image, Linked):
        raise refuse("link to an image", "pass its bytes, image(path) or image(data), or a data: URL")
    url = {"type": "input_image", "image_url": f"data:{image.mime};base64,{image.data}"}
    detail = held.get("detail") if isinstance(held, Mapping) else None
    return {**url, "detail": detail} if detail else url


def _sound(part: Mapping[str, Any]) -> dict[str, Any]:
    sound = media_of(part)
    if isinstance(sound, Linked) or sound.mime not in _SOUNDS:
        raise refuse("sound of that format", "pass bare PCM of 16 bits, 24 kHz, one channel, as format='pcm16'")
    return {"type": "input_audio", "audio": sound.data}


def _written(message: Mapping[str, Any]) -> str:
    """Give the text of an assistant's message; what it thought is not sent."""
    content = message["content"]
    if not isinstance(content, list):
        return content or str(message.get("refusal") or "")
    for part in content:
        if part["type"] not in ("text", "refusal", "thinking"):
            raise refuse(f"part of the type {part['type']!r} in an assistant's message")
    return "\n".join(str(part[part["type"]]) for part in content if part["type"] != "thinking")


def _result(message: Mapping[str, Any]) -> dict[str, Any]:
    called = message.get("tool_call_id")
    if not called:
        raise refuse("result of a tool without the id of its call", "write tool_call_id into the message")
    content = message["content"]
    if isinstance(content, list) and (other := next((part for part in content if part["type"] != "text"), None)):
        raise refuse(f"part of the type {other['type']!r} in the result of a tool", "put what it says into the text")
    return {"type": "function_call_output", "call_id": _short(called), "output": text_of(content)}


def _short(id_: str) -> str:
    """Give an id that the service takes, for a call and for its result the same."""
    if len(id_) <= _LONGEST_ID:
        return id_
    from hashlib import blake2s

    return blake2s(id_.encode(), digest_size=_LONGEST_ID // 2).hexdigest()
