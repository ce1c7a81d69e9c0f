"""The /api/chat wire read backwards: a request's body in, an answer's lines out.

Source of the form: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from g4ftrio._words.chunks import FinishReason, Reasoning, Refusal, ToolCallDelta, Usage
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Renderer, Tool, bearer

__all__ = ("Ollama",)

_encode = msgspec.json.Encoder().encode
_ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
_NANOSECONDS = 1_000_000  # that a token is said to take


class _Called(Struct):
    name: str
    arguments: dict[str, Any]


class _Call(Struct):
    function: _Called


class _Message(Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str = ""
    images: list[bytes] = []
    tool_calls: list[_Call] = []
    tool_name: str = ""
    tool_call_id: str = ""


class _Function(Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Tool(Struct):
    function: _Function


class _Options(Struct):
    num_predict: int = -1
    stop: list[str] = []


class _Body(Struct):
    model: str
    messages: Annotated[list[_Message], Meta(min_length=1)]
    stream: bool = True
    tools: list[_Tool] = []
    options: _Options = field(default_factory=_Options)
    format: Literal["json", ""] | dict[str, Any] | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None


class Ollama:
    """The wire of models that run on one's own machine."""

    base = ""
    models_path = "/api/tags"
    stream_type = "application/x-ndjson"

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Ask]]:
        """What is posted where."""
        return {"/api/chat": self.read}

    def read(self, body: Any) -> Ask:
        """Read a chat's body."""
        asked = msgspec.convert(body, _Body)
        users = [message.content for message in asked.messages if message.role == "user"]
        limit = asked.options.num_predict
        return Ask(
            model=asked.model,
            prompt=users[-1] if users else "",
            tool_result=_tool_result(asked.messages),
            input_tokens=sum(len(message.content.split()) for message in asked.messages),
            stream=asked.stream,
            include_usage=True,
            max_tokens=limit if limit >= 0 else None,
            stop=tuple(asked.options.stop),
            tools=tuple(Tool(tool.function.name, tool.function.parameters) for tool in asked.tools),
            schema=_ANY_OBJECT if asked.format == "json" else asked.format or None,
        )

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the bearer token."""
        return bearer(headers)

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:  # noqa: ARG002  # this wire does not tell it
        """Begin an answer."""
        return _Renderer(ask.model, _time(created))

    def error(self, status: int, message: str, code: str | None = None) -> bytes:  # noqa: ARG002  # as above
        """Give an error object."""
        return _encode({"error": message})

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the list of models."""
        details = {"format": "gguf", "family": "simulator", "parameter_size": "1B", "quantization_level": "Q4_0"}
        told = {"modified_at": _time(created), "size": 0, "digest": "0" * 64, "details": details}
        return _encode({"models": [{"name": name, "model": name, **told} for name in names]})


def _tool_result(messages: Sequence[_Message]) -> str | None:
    last = len(messages)
    while last and messages[last - 1].role == "tool":
        last -= 1
    return "\n".join(message.content for message in messages[last:]) if last < len(messages) else None


def _time(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")


class _Renderer:
    """Calls are told whole, before the last line, and the last line tells the reason and the counts."""

    def __init__(self, model: str, created_at: str) -> None:
        self._head = {"model": model, "created_at": created_at}
        self._calls: list[ToolCallDelta] = []
        self._reason = "stop"
        self._usage = Usage()

    def frame(self, item: Item) -> bytes:
        match item:
            case Frame(data):
                return data + b"\n"
            case Mark.OPEN:
                return b""
            case Mark.COMMENT:
                return b"\n"
            case Mark.DONE:
                return self._line(_message(()), **self._ending())
            case FinishReason() | Usage() | ToolCallDelta():
                return self._keep(item)
        return self._line(_message((item,)))

    def whole(self, items: Sequence[Item]) -> bytes:
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        for item in items:
            if isinstance(item, FinishReason | Usage):
                self._keep(item)
        return self._line(_message(items), **self._ending()).rstrip()

    def _keep(self, item: FinishReason | Usage | ToolCallDelta) -> bytes:
        match item:
            case ToolCallDelta():
                self._calls.append(item)
            case Usage():
                self._usage = item
            case FinishReason(reason):
                self._reason = "stop" if reason == "tool_calls" else reason
                return self._line(_message(self._calls)) if self._calls else b""
        return b""

    def _line(self, message: dict[str, Any], *, done: bool = False, **ending: Any) -> bytes:
        return _encode({**self._head, "message": message, "done": done, **ending}) + b"\n"

    def _ending(self) -> dict[str, Any]:
        read, written = self._usage.input_tokens or 0, self._usage.output_tokens or 0
        return {
            "done": True,
            "done_reason": self._reason,
            "total_duration": (read + written) * _NANOSECONDS,
            "load_duration": 0,
            "prompt_eval_count": read,
            "prompt_eval_duration": read * _NANOSECONDS,
            "eval_count": written,
            "eval_duration": written * _NANOSECONDS,
        }


def _message(items: Iterable[Item]) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: dict[int, list[ToolCallDelta]] = {}
    for item in items:
        match item:
            case str(text) | Refusal(text):
                texts.append(text)
            case Reasoning(text):
                thoughts.append(text)
            case ToolCallDelta(index):
                calls.setdefault(index, []).append(item)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["thinking"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = [_call(index, pieces) for index, pieces in calls.items()]
    return message


def _call(index: int, pieces: Sequence[ToolCallDelta]) -> dict[str, Any]:
    arguments = msgspec.json.decode("".join(piece.arguments for piece in pieces) or "{}")
    return {"id": pieces[0].id, "function": {"index": index, "name": pieces[0].name, "arguments": arguments}}
