"""The chat completions wire read backwards: a request's body in, an answer's bytes out.

Source of the form: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from g4ftrio._words.chunks import FinishReason, Reasoning, Refusal, ToolCallDelta, Usage
from g4ftrio.simulator._openai_images import ImagesRenderer, read_images
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Renderer, Tool, bearer

__all__ = ("OpenAIChat",)

_encode = msgspec.json.Encoder().encode
_ERROR_TYPES = {
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


class _Message(Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None


class _Function(Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Tool(Struct):
    function: _Function
    type: str = "function"


class _JSONSchema(Struct):
    schema: dict[str, Any] = field(default_factory=dict)


class _ResponseFormat(Struct):
    type: str
    json_schema: _JSONSchema | None = None


class _StreamOptions(Struct):
    include_usage: bool = False


class _Body(Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None
    response_format: _ResponseFormat | None = None


_ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


class OpenAIChat:
    """The wire that most services understand."""

    base = "/v1"
    models_path = "/models"
    stream_type = "text/event-stream"

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Ask]]:
        """What is posted where."""
        return {"/chat/completions": self.read, "/images/generations": read_images}

    def read(self, body: Any) -> Ask:
        """Read a chat's body."""
        asked = msgspec.convert(body, _Body)
        if not asked.messages:
            raise ValueError("messages is empty: send at least one message")
        texts = [_text(message) for message in asked.messages]
        users = [text for message, text in zip(asked.messages, texts, strict=True) if message.role == "user"]
        tools, must_call = _tools(asked)
        return Ask(
            model=asked.model,
            prompt=users[-1] if users else "",
            tool_result=_tool_result(asked.messages, texts),
            input_tokens=sum(len(text.split()) for text in texts),
            stream=bool(asked.stream),
            include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
            max_tokens=_max_tokens(asked),
            stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
            tools=tools,
            must_call=must_call,
            schema=_schema(asked.response_format),
        )

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the bearer token."""
        return bearer(headers)

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:
        """Begin an answer."""
        return _Renderer(ask, name, created) if ask.pictures is None else ImagesRenderer(ask, created)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object."""
        kind = _ERROR_TYPES.get(status, "invalid_request_error")
        return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the list of models."""
        models = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in names]
        return _encode({"object": "list", "data": models})


def _text(message: _Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    texts = (part.get("text") for part in message.content)
    return "\n".join(text for text in texts if isinstance(text, str))


def _tool_result(messages: Sequence[_Message], texts: Sequence[str]) -> str | None:
    last = len(messages)
    while last and messages[last - 1].role == "tool":
        last -= 1
    return "\n".join(texts[last:]) if last < len(messages) else None


def _max_tokens(asked: _Body) -> int | None:
    limits = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
    if any(limit < 1 for limit in limits):
        raise ValueError("max_tokens is a number from 1 up")
    return min(limits, default=None)


def _tools(asked: _Body) -> tuple[tuple[Tool, ...], bool]:
    """Give the tools that may be called, and whether one must."""
    tools = tuple(Tool(tool.function.name, tool.function.parameters or {}) for tool in asked.tools or ())
    choice = asked.tool_choice
    if isinstance(choice, _Tool):
        tools = tuple(tool for tool in tools if tool.name == choice.function.name)
        if not tools:
            raise ValueError(f"tool_choice names {choice.function.name!r}, which is not among the tools")
    if choice == "required" and not tools:
        raise ValueError("tool_choice is 'required', and there are no tools")
    return (() if choice == "none" else tools), choice == "required" or isinstance(choice, _Tool)


def _schema(wanted: _ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    return wanted.json_schema.schema if wanted.json_schema is not None else _ANY_OBJECT


class _Choice(Struct, frozen=True):
    delta: dict[str, Any]
    index: int = 0
    finish_reason: str | None = None


class _Chunk(Struct, frozen=True):
    id: str
    object: str
    created: int
    model: str
    choices: tuple[_Choice, ...]
    usage: dict[str, Any] | UnsetType | None = UNSET


class _Renderer:
    def __init__(self, ask: Ask, name: str, created: int) -> None:
        self._ask = ask
        self._name = name
        self._created = created

    def frame(self, item: Item) -> bytes:
        match item:
            case Mark.COMMENT:
                return b": keep-alive\n\n"
            case Mark.DONE:
                return b"data: [DONE]\n\n"
            case Frame(data):
                return b"data: " + data + b"\n\n"
            case Usage():
                return self._chunk((), _usage(item)) if self._ask.include_usage else b""
            case FinishReason(reason):
                return self._chunk((_Choice({}, finish_reason=reason),))
        return self._chunk((_Choice(_delta(item)),))

    def _chunk(self, choices: tuple[_Choice, ...], usage: dict[str, Any] | None = None) -> bytes:
        told = usage if self._ask.include_usage else UNSET  # asked for, it is null in all chunks but the last
        chunk = _Chunk(self._name, "chat.completion.chunk", self._created, self._ask.model, choices, told)
        return b"data: " + _encode(chunk) + b"\n\n"

    def whole(self, items: Sequence[Item]) -> bytes:
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        choice: dict[str, Any] = {"index": 0, "message": _message(items), "finish_reason": None}
        answer = {"id": self._name, "object": "chat.completion", "created": self._created, "model": self._ask.model}
        answer["choices"] = [choice]
        for item in items:
            if isinstance(item, FinishReason):
                choice["finish_reason"] = item.reason
            elif isinstance(item, Usage):
                answer["usage"] = _usage(item)
        return _encode(answer)


def _delta(item: Item) -> dict[str, Any]:
    match item:
        case str():
            return {"content": item}
        case Mark.OPEN:
            return {"role": "assistant", "content": ""}
        case Reasoning(text):
            return {"reasoning_content": text}
        case Refusal(text):
            return {"refusal": text}
        case ToolCallDelta(index, id_, name, arguments):
            if not id_:
                return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}
            function = {"name": name, "arguments": arguments}
            return {"tool_calls": [{"index": index, "id": id_, "type": "function", "function": function}]}
    raise TypeError(f"the chat completions wire has no form for {item!r}")


def _message(items: Sequence[Item]) -> dict[str, Any]:
    text = "".join(item for item in items if isinstance(item, str))
    refusal = "".join(item.text for item in items if isinstance(item, Refusal))
    reasoning = "".join(item.text for item in items if isinstance(item, Reasoning))
    calls = _calls([item for item in items if isinstance(item, ToolCallDelta)])
    content = None if not text and (refusal or calls) else text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal or None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    return message


def _calls(deltas: Sequence[ToolCallDelta]) -> list[dict[str, Any]]:
    calls: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        calls.setdefault(delta.index, []).append(delta)
    return [
        {
            "id": pieces[0].id,
            "type": "function",
            "function": {"name": pieces[0].name, "arguments": "".join(piece.arguments for piece in pieces)},
        }
        for pieces in calls.values()
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
