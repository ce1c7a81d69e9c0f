"""The /api/chat wire: settings apart in ``options``, arguments of tools as objects, images as bare base64.

Source of the form: https://github.com/ollama/ollama/blob/main/docs/api.md and ``api/types.go`` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.errors import SetupError
from g4ftrio._words.request import ChatRequest
from g4ftrio._words.structured import json_schema
from g4ftrio.dialects._base import expressed, stops
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._ollama_lines import NAME, OllamaDecoder
from g4ftrio.dialects._parts import Linked, media_of, metadata_of, refuse
from g4ftrio.dialects._tools import arguments_of, calls_of, choice_of, functions_of, names_of

__all__ = ("Ollama", "OllamaDecoder")

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_KNOWN = frozenset(
    {*_OPTIONS, "reasoning_effort", "response_format", "tools", "tool_choice", "parallel_tool_calls"},
)
_EFFORTS: Mapping[Any, Any] = {"none": False, "minimal": "low", "xhigh": "max"}
_ROLES = {"developer": "system", "function": "tool"}
_NO_PARAMETERS = {"type": "object", "properties": {}}


class Ollama(Struct, frozen=True, kw_only=True):
    """The wire.

    :ivar path: what to append to the API base for a chat
    :ivar models_path: what to append to it to list the models
    :ivar prefill: whether an assistant's message at the end is gone on from, as with most models' templates it is:
        https://github.com/ollama/ollama/issues/6778
    """

    path: str = "/api/chat"
    models_path: str = "/api/tags"
    prefill: bool = False

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body. ``extra_body`` is laid over it, its ``options`` over its options; None takes out.

        :raises SetupError: the wire has no form for something in the request
        """
        params = expressed(request.params, _KNOWN)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": _messages(request.messages),
            "stream": request.stream,
            "tools": _tools(params) or None,
            "format": _format(params.get("response_format")),
            "think": _think(params.get("reasoning_effort")),
            "options": _options(params) or None,
        }
        extra = dict(request.extra_body)
        if isinstance(extra.get("options"), Mapping):
            extra["options"] = _without_none(_options(params) | extra["options"])
        return _without_none(body | extra)

    def framer(self, content_type: str) -> Framer:
        """Cut an answer into lines, or leave it whole."""
        return framer_for(content_type or "application/x-ndjson")

    def decoder(self) -> OllamaDecoder:
        """Begin to read an answer, streamed or whole."""
        return OllamaDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _options(params: Mapping[str, Any]) -> dict[str, Any]:
    options = {told: params[name] for name, told in _OPTIONS.items() if name in params}
    if "stop" in options:
        options["stop"] = stops(options["stop"])
    return options


def _think(effort: Any) -> Any:
    return _EFFORTS.get(effort, effort)


def _format(asked: Any) -> Any:
    if asked is None or (isinstance(asked, Mapping) and asked.get("type") == "text"):
        return None
    schema = json_schema(asked)
    return "json" if schema is None else schema.schema


def _tools(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    choice = choice_of(params.get("tool_choice", "auto"))
    if choice.mode in ("required", "named"):
        raise SetupError("this service's models choose by themselves whether to call a tool: leave tool_choice out")
    if params.get("parallel_tool_calls") is False:
        raise SetupError("this service takes no parallel_tool_calls=False: leave it out")
    if choice.mode == "none":
        return []
    return [
        {
            "type": "function",
            "function": {
                "name": each.name,
                "description": each.description,
                "parameters": each.parameters or _NO_PARAMETERS,
            },
        }
        for each in functions_of(params.get("tools", ()))
    ]


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = names_of(messages)
    return [_message(message, names) for message in messages]


def _message(message: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for key in ("audio", "function_call"):
        if message.get(key):
            raise refuse(f"{key!r} in a message", "leave it out, or put what it says into content or tool_calls")
    role = _ROLES.get(message["role"], message["role"])
    encoded = {"role": role, **_content(message)}
    if calls := calls_of(message):
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"index": index, "name": call.name, "arguments": arguments_of(call)},
            }
            for index, call in enumerate(calls)
        ]
    if role == "tool":
        called = str(message.get("tool_call_id") or "")
        named = {"tool_call_id": called, "tool_name": names.get(called) or message.get("name")}
        encoded |= {key: value for key, value in named.items() if value}
    return encoded


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    """Give a message's text, its media and what was thought before it, each under its own name."""
    content = message["content"]
    if not isinstance(content, list):
        content = [{"type": "text", "text": content or message.get("refusal") or ""}]
    texts: list[str] = []
    media: list[str] = []
    thoughts: list[str] = []
    for part in content:
        match part:
            case {"type": "text", "text": text} | {"type": "refusal", "refusal": text}:
                texts.append(text)
            case {"type": "thinking", "thinking": thought}:
                thoughts += [thought] if isinstance(thought, str) else []
            case {"type": "image_url" | "input_audio"}:
                media.append(_base64(part))
            case _:
                raise refuse(f"part of the type {part['type']!r}", "put what it says into the text")
    if isinstance(kept := metadata_of(message, NAME), Mapping):
        thoughts = [str(kept.get("thinking") or "")]
    encoded: dict[str, Any] = {"content": "\n".join(texts)}
    if media:
        encoded["images"] = media
    if thought := "".join(thoughts):
        encoded["thinking"] = thought
    return encoded


def _base64(part: Mapping[str, Any]) -> str:
    """Give a picture's bytes, or a sound's: the service tells by the bytes which it is, and takes both as images."""
    media = media_of(part)
    if isinstance(media, Linked):
        raise refuse("link to an image", "pass its bytes, image(path) or image(data), or a data: URL")
    return media.data
