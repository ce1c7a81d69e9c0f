"""The Responses wire read backwards, over HTTP and over WebSockets: a request in, an answer's events out.

Source of the form: https://platform.openai.com/docs/api-reference/responses
and https://developers.openai.com/api/docs/guides/websocket-mode
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from g4ftrio.simulator._openai_chat import OpenAIChat
from g4ftrio.simulator._responses_events import ResponseEvents
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Renderer, Tool, bearer

__all__ = ("OpenAIResponses", "OpenAIResponsesSocket")

_encode = msgspec.json.Encoder().encode
_ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
_KEPT = "resp_"  # what the names of answers begin with


class _Part(Struct):
    type: str
    text: str | None = None


class _Item(Struct):
    """A message, a call's result, or something that the service wrote itself."""

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    output: str | list[_Part] | None = None


class _Tool(Struct):
    type: str
    name: str | None = None
    parameters: dict[str, Any] | None = None


class _Format(Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None


class _Text(Struct):
    format: _Format | None = None


class _Body(Struct):
    model: str
    input: Annotated[str, Meta(min_length=1)] | Annotated[list[_Item], Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    previous_response_id: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None
    text: _Text | None = None


class OpenAIResponses:
    """The wire on which an answer is a list of items."""

    base = "/v1"
    models_path = "/models"
    stream_type = "text/event-stream"

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Ask]]:
        """What is posted where."""
        return {"/responses": read}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the bearer token."""
        return bearer(headers)

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:
        """Begin an answer."""
        return _Renderer(ask, name, created)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object, which is the chat wire's."""
        return OpenAIChat().error(status, message, code)

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the list of models, which is the chat wire's."""
        return OpenAIChat().models(names, created)


class _Renderer:
    def __init__(self, ask: Ask, name: str, created: int) -> None:
        self._events = ResponseEvents(ask, name, created)

    def frame(self, item: Item) -> bytes:
        if item is Mark.COMMENT:
            return b": keep-alive\n\n"
        if isinstance(item, Frame):
            return b"data: " + item.data + b"\n\n"
        events = self._events.tell(item)
        return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event)) for event in events)

    def whole(self, items: Sequence[Item]) -> bytes:
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        for item in items:
            self._events.tell(item)
        return _encode(self._events.response())


class OpenAIResponsesSocket:
    """The same over WebSockets: each ``response.create`` is a request, and each event a message."""

    base = "/v1"
    path = "/responses"
    models_path = "/models"

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:  # noqa: ARG002  # it is in no query
        """Find the bearer token."""
        return bearer(headers)

    def session(self, query: Mapping[str, str], name: str, created: int) -> _Session:  # noqa: ARG002  # nothing is in it
        """Begin with a client."""
        return _Session(name, created)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object."""
        return OpenAIChat().error(status, message, code)

    def models(self, names: list[str], created: int) -> bytes:
        """Give the list of models."""
        return OpenAIChat().models(names, created)


class _Session:
    """One client's socket; answers follow one another, and none is asked for before the last one ended."""

    def __init__(self, name: str, created: int) -> None:
        self._name = name
        self._created = created
        self._count = 0
        self._events: ResponseEvents | None = None

    def greet(self) -> list[bytes]:
        """Say nothing before a question."""
        return []

    def hear(self, message: Any) -> tuple[list[bytes], Ask | None]:
        """Take a ``response.create``."""
        if not isinstance(message, Mapping) or message.get("type") != "response.create":
            raise ValueError("a message is an object of the type 'response.create'")
        ask = replace(read(message), stream=True)
        self._events = ResponseEvents(ask, f"{self._name}-{self._count}", self._created)
        self._count += 1
        return [], ask

    def say(self, item: Item) -> list[bytes]:
        """Give the events that an item makes."""
        if isinstance(item, Frame):
            return [item.data]
        if self._events is None:
            raise RuntimeError("nothing was asked yet")
        return [_encode(event) for event in self._events.tell(item)]

    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        """Give the event that says that something went wrong."""
        held = msgspec.json.decode(OpenAIChat().error(status, message, code))
        return [_encode({"type": "error", "status": status, **held})]


def read(body: Any) -> Ask:
    """Read a request.

    :raises ValueError: says what is wrong with it
    """
    asked = msgspec.convert(body, _Body)
    previous = asked.previous_response_id
    if previous is not None and not previous.startswith(_KEPT):
        raise ValueError(f"Previous response with id {previous[:100]!r} not found.")
    items = [_Item(role="user", content=asked.input)] if isinstance(asked.input, str) else asked.input
    texts = [_text(item.content if item.output is None else item.output) for item in items]
    users = [text for item, text in zip(items, texts, strict=True) if item.role == "user"]
    tools, must_call = _tools(asked)
    return Ask(
        model=asked.model,
        prompt=users[-1] if users else "",
        tool_result=_tool_result(items, texts),
        input_tokens=sum(len(text.split()) for text in (asked.instructions or "", *texts)),
        stream=bool(asked.stream),
        include_usage=True,
        max_tokens=asked.max_output_tokens,
        tools=tools,
        must_call=must_call,
        schema=_schema(asked.text),
    )


def _text(content: str | list[_Part] | None) -> str:
    if not isinstance(content, list):
        return content or ""
    return "\n".join(part.text for part in content if part.text is not None)


def _tool_result(items: Sequence[_Item], texts: Sequence[str]) -> str | None:
    last = len(items)
    while last and items[last - 1].type == "function_call_output":
        last -= 1
    return "\n".join(texts[last:]) if last < len(items) else None


def _tools(asked: _Body) -> tuple[tuple[Tool, ...], bool]:
    """Give the functions that may be called, and whether one must."""
    tools = tuple(Tool(tool.name, tool.parameters or {}) for tool in asked.tools or () if tool.name is not None)
    choice = asked.tool_choice
    if isinstance(choice, _Tool):
        tools = tuple(tool for tool in tools if tool.name == choice.name)
        if not tools:
            raise ValueError(f"tool_choice names {choice.name!r}, which is not among the tools")
    if choice == "required" and not tools:
        raise ValueError("tool_choice is 'required', and there are no tools")
    return (() if choice == "none" else tools), choice == "required" or isinstance(choice, _Tool)


def _schema(text: _Text | None) -> dict[str, Any] | None:
    if text is None or text.format is None or text.format.type == "text":
        return None
    return text.format.schema or _ANY_OBJECT
