"""The Anthropic Messages wire read backwards: a request's body in, an answer's bytes out.

Source of the form: https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from g4ftrio._words.chunks import FinishReason, Reasoning, Refusal, ToolCallDelta, Usage
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Renderer, Tool

__all__ = ("Anthropic",)

_encode = msgspec.json.Encoder().encode
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_Block = dict[str, Any]


class _Message(Struct):
    role: Literal["user", "assistant"]
    content: str | list[_Block]

    @property
    def blocks(self) -> list[_Block]:
        return [{"type": "text", "text": self.content}] if isinstance(self.content, str) else self.content

    def ids(self, kind: str, key: str) -> set[Any]:
        """What the blocks of a type hold under a key."""
        return {block.get(key) for block in self.blocks if block.get("type") == kind}


class _Tool(Struct):
    name: str
    input_schema: dict[str, Any]


class _Choice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class _Format(Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _OutputConfig(Struct):
    format: _Format | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class _Body(Struct):
    model: str
    max_tokens: Annotated[int, Meta(ge=1)]
    messages: Annotated[list[_Message], Meta(min_length=1)]
    system: str | list[_Block] = ""
    stream: bool = False
    temperature: Annotated[float, Meta(ge=0, le=1)] = 1
    stop_sequences: tuple[str, ...] = ()
    tools: tuple[_Tool, ...] = ()
    tool_choice: _Choice | None = None
    output_config: _OutputConfig = field(default_factory=_OutputConfig)


class Anthropic:
    """The wire of content blocks: an answer is a row of them, and each begins, grows and stops."""

    base = ""
    models_path = "/v1/models"
    stream_type = "text/event-stream; charset=utf-8"

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Ask]]:
        """What is posted where."""
        return {"/v1/messages": self.read}

    def read(self, body: Any) -> Ask:
        """Read a request's body."""
        asked = msgspec.convert(body, _Body)
        _check(asked.messages)
        texts = [_text(message.blocks) for message in asked.messages]
        users = [text for message, text in zip(asked.messages, texts, strict=True) if message.role == "user" and text]
        system = asked.system if isinstance(asked.system, str) else _text(asked.system)
        tools, must_call = _tools(asked)
        wanted = asked.output_config.format
        return Ask(
            model=asked.model,
            prompt=users[-1] if users else "",
            tool_result=_tool_result(asked.messages[-1]),
            input_tokens=sum(len(text.split()) for text in (system, *texts)),
            stream=asked.stream,
            max_tokens=asked.max_tokens,
            stop=asked.stop_sequences,
            tools=tools,
            must_call=must_call,
            schema=None if wanted is None else wanted.schema,
        )

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the key in its own header."""
        return headers.get("x-api-key")

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:  # noqa: ARG002  # this wire tells no time
        """Begin an answer."""
        return _Renderer(ask, name)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:  # noqa: ARG002  # this wire has none
        """Give an error object."""
        kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return _encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": None})

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the list of models."""
        since = datetime.fromtimestamp(created, UTC).isoformat()
        models = [{"type": "model", "id": name, "display_name": name, "created_at": since} for name in names]
        return _encode({"data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]})


def _check(messages: Sequence[_Message]) -> None:
    """See that thoughts come back as they were written, and that every call of a tool is answered at once."""
    for block in (block for message in messages for block in message.blocks if block.get("type") == "thinking"):
        if block.get("signature") != _signature(block.get("thinking", "")):
            raise ValueError("messages: Invalid `signature` in `thinking` block")
    for message, answer in pairwise((*messages, _Message("user", ""))):
        if missing := message.ids("tool_use", "id") - answer.ids("tool_result", "tool_use_id"):
            raise ValueError(f"messages: `tool_use` ids were found without `tool_result` blocks after: {missing}")


def _signature(thought: str) -> str:
    return b64encode(sha256(thought.encode()).digest()).decode()


def _text(blocks: Sequence[_Block]) -> str:
    texts = (block.get("text") for block in blocks)
    return "\n".join(text for text in texts if isinstance(text, str))


def _tool_result(last: _Message) -> str | None:
    contents = [block.get("content", "") for block in last.blocks if block.get("type") == "tool_result"]
    said = (content if isinstance(content, str) else _text(content) for content in contents)
    return "\n".join(said) if contents else None


def _tools(asked: _Body) -> tuple[tuple[Tool, ...], bool]:
    """Give the tools that may be called, and whether one must."""
    choice = asked.tool_choice or _Choice("auto")
    tools = tuple(Tool(tool.name, tool.input_schema) for tool in asked.tools)
    if asked.tool_choice is not None and not tools:
        raise ValueError("tool_choice may only be specified while providing tools")
    if choice.type == "tool":
        tools = tuple(tool for tool in tools if tool.name == choice.name)
        if not tools:
            raise ValueError(f"tool_choice names {choice.name!r}, which is not among the tools")
    return (() if choice.type == "none" else tools), choice.type in {"any", "tool"}


class _Renderer:
    """Writes one answer; of a block that is open it keeps the type, the number and what a signature needs."""

    def __init__(self, ask: Ask, name: str) -> None:
        self._ask = ask
        self._name = name
        self._number = -1
        self._kind = ""
        self._thought = ""
        self._refusal = ""
        self._reason = ""

    def frame(self, item: Item) -> bytes:
        match item:
            case Mark.OPEN:
                usage = {"input_tokens": self._ask.input_tokens, "output_tokens": 1}
                return _event("message_start", message=self._message([], usage))
            case Mark.COMMENT:
                return _event("ping")
            case Frame(data):
                return (b"event: error\n" if data.startswith(b'{"type":"error"') else b"") + b"data: " + data + b"\n\n"
            case FinishReason(reason):
                self._reason = reason
                return self._stop()
            case Usage():
                return self._ending(_usage(item))
            case Mark.DONE:
                return self._ending({"output_tokens": 1}) + _event("message_stop")
        return self._delta(item)

    def whole(self, items: Sequence[Item]) -> bytes:
        """Give all of it as one message."""
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        self._refusal = "".join(item.text for item in items if isinstance(item, Refusal))
        self._reason = next((item.reason for item in items if isinstance(item, FinishReason)), "")
        usage = next((_usage(item) for item in items if isinstance(item, Usage)), {})
        return _encode({**self._message(_content(items), usage), **self._stopped()})

    def _message(self, content: list[_Block], usage: Mapping[str, Any]) -> dict[str, Any]:
        message = {"id": self._name, "type": "message", "role": "assistant", "model": self._ask.model}
        return {**message, "content": content, "stop_reason": None, "stop_sequence": None, "usage": usage}

    def _stopped(self) -> dict[str, Any]:
        if self._refusal:
            details = {"type": "refusal", "category": None, "explanation": self._refusal}
            return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
        return {"stop_reason": _REASONS.get(self._reason), "stop_sequence": None}

    def _ending(self, usage: Mapping[str, Any]) -> bytes:
        """Say how it ended, once: with the usage, or without it if none was told."""
        if not self._reason:
            return b""
        told = _event("message_delta", delta=self._stopped(), usage=usage)
        self._reason = ""
        return told

    def _delta(self, item: Item) -> bytes:
        match item:
            case str():
                return self._start("text", text="") + self._grow("text_delta", text=item)
            case Reasoning(text):
                begun = self._start("thinking", thinking="", signature="")
                self._thought += text
                return begun + self._grow("thinking_delta", thinking=text)
            case ToolCallDelta(_, name, called, arguments):
                begun = self._start("tool_use", id=name, name=called, input={}) if name else b""
                return begun + self._grow("input_json_delta", partial_json=arguments)
            case Refusal(text):
                self._refusal += text
                return b""
        raise TypeError(f"the messages wire has no form for {item!r}")

    def _start(self, kind: str, **block: Any) -> bytes:
        if self._kind == kind != "tool_use":
            return b""
        stopped = self._stop()
        self._number += 1
        self._kind = kind
        return stopped + _event("content_block_start", index=self._number, content_block={"type": kind, **block})

    def _grow(self, kind: str, **delta: Any) -> bytes:
        return _event("content_block_delta", index=self._number, delta={"type": kind, **delta})

    def _stop(self) -> bytes:
        if not self._kind:
            return b""
        signed = b""
        if self._kind == "thinking":
            signed = self._grow("signature_delta", signature=_signature(self._thought))
            self._thought = ""
        self._kind = ""
        return signed + _event("content_block_stop", index=self._number)


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind, **fields}) + b"\n\n"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens or 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens or 0},
    }


def _content(items: Sequence[Item]) -> list[_Block]:
    thought = "".join(item.text for item in items if isinstance(item, Reasoning))
    text = "".join(item for item in items if isinstance(item, str))
    content: list[_Block] = []
    if thought:
        content.append({"type": "thinking", "thinking": thought, "signature": _signature(thought)})
    if text:
        content.append({"type": "text", "text": text})
    return content + _calls([item for item in items if isinstance(item, ToolCallDelta)])


def _calls(deltas: Sequence[ToolCallDelta]) -> list[_Block]:
    calls: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        calls.setdefault(delta.index, []).append(delta)
    return [
        {
            "type": "tool_use",
            "id": pieces[0].id,
            "name": pieces[0].name,
            "input": msgspec.json.decode("".join(piece.arguments for piece in pieces) or "{}"),
        }
        for pieces in calls.values()
    ]
