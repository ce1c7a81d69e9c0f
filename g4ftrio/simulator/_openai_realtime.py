"""The OpenAI Realtime wire read backwards: a client's events in, the session's events out.

Source of the form: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, UnsetType

from g4ftrio._words.chunks import FinishReason, Refusal, ToolCallDelta, Usage
from g4ftrio.simulator._openai_chat import OpenAIChat
from g4ftrio.simulator._socket_wire import Session
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Tool, bearer

__all__ = ("OpenAIRealtime",)

_encode = msgspec.json.Encoder().encode
_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_exceeded"}
_HTTP = OpenAIChat()  # what is said over HTTP is said as on the chat wire


class _Tool(Struct):
    name: str
    type: Literal["function"] = "function"
    parameters: dict[str, Any] = {}


class _NamedTool(Struct):
    type: Literal["function"]
    name: str


class _Settings(Struct):
    """A session's settings; those of the beta are called otherwise, and have no type."""

    type: Literal["realtime"] | UnsetType = msgspec.UNSET
    instructions: str = ""
    tools: list[_Tool] = []
    tool_choice: Literal["auto", "none", "required"] | _NamedTool = "auto"
    max_output_tokens: int | Literal["inf"] = "inf"
    max_response_output_tokens: int | Literal["inf"] = "inf"


class _Part(Struct):
    type: Literal["input_text", "input_image", "input_audio", "output_text", "text"]
    text: str = ""
    image_url: str = ""
    audio: bytes = b""


class _Item(Struct):
    type: Literal["message", "function_call", "function_call_output"]
    role: Literal["system", "user", "assistant"] | None = None
    content: list[_Part] = []
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""

    @property
    def text(self) -> str:
        """What it says."""
        return self.output or "\n".join(part.text for part in self.content if part.text)


class _Event(Struct):
    type: Literal["session.update", "conversation.item.create", "response.create"]
    session: _Settings | None = None
    item: _Item | None = None


class OpenAIRealtime:
    """The wire of spoken conversations, used for text."""

    base = "/v1"
    path = "/realtime"
    models_path = "/models"

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:  # noqa: ARG002  # it is a header
        """Find the bearer token."""
        return bearer(headers)

    def session(self, query: Mapping[str, str], name: str, created: int) -> Session:  # noqa: ARG002  # tells no time
        """Begin with a client."""
        return _Session(query.get("model", ""), name)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object."""
        return _HTTP.error(status, message, code)

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the list of models."""
        return _HTTP.models(names, created)


class _Events:
    """Writes a session's events, each with an id of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def __call__(self, kind: str, **told: Any) -> bytes:
        self._count += 1
        return _encode({"type": kind, "event_id": f"event_{self._name}_{self._count}", **told})


class _Session:
    def __init__(self, model: str, name: str) -> None:
        self._model = model
        self._name = name
        self._event = _Events(name)
        self._settings = _Settings()
        self._items: list[_Item] = []
        self._answer = _Answer(name, self._event, is_beta=False)

    def greet(self) -> list[bytes]:
        return [self._event("session.created", session=self._shown())]

    def hear(self, message: Any) -> tuple[list[bytes], Ask | None]:
        event = msgspec.convert(message, _Event)
        if event.type == "session.update" and event.session is not None:
            self._settings = event.session
            return [self._event("session.updated", session=self._shown())], None
        if event.type == "conversation.item.create" and event.item is not None:
            return self._add(event.item, message["item"]), None
        if event.type != "response.create":
            raise ValueError(f"{event.type} without what it is about")
        self._answer = _Answer(self._name, self._event, is_beta=self._is_beta)
        begun = {"object": "realtime.response", "id": self._name, "status": "in_progress", "output": []}
        return [self._event("response.created", response=begun)], self._ask()

    def say(self, item: Item) -> list[bytes]:
        return self._answer.say(item)

    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        kind = _ERROR_TYPES.get(status, "server_error")
        return [self._event("error", error={"type": kind, "code": code, "message": message, "param": None})]

    @property
    def _is_beta(self) -> bool:
        return self._settings.type is msgspec.UNSET

    def _shown(self) -> dict[str, Any]:
        return {"object": "realtime.session", "id": f"sess_{self._name}", "model": self._model, "type": "realtime"}

    def _add(self, item: _Item, told: dict[str, Any]) -> list[bytes]:
        if item.type == "function_call_output" and item.call_id not in {each.call_id for each in self._items}:
            raise ValueError(f"no call has the id {item.call_id!r}")
        self._items.append(item)
        kinds = ("created",) if self._is_beta else ("added", "done")
        shown = {"id": f"item_{len(self._items)}", **told, "status": "completed"}
        return [self._event(f"conversation.item.{kind}", item=shown) for kind in kinds]

    def _ask(self) -> Ask:
        settings = self._settings
        users = [item.text for item in self._items if item.role == "user"]
        if not self._items:
            raise ValueError("the conversation is empty: create an item first")
        limits = (settings.max_output_tokens, settings.max_response_output_tokens)
        tools, must_call = self._tools()
        return Ask(
            model=self._model,
            prompt=users[-1] if users else "",
            tool_result=self._tool_result(),
            input_tokens=sum(len(text.split()) for text in (settings.instructions, *(i.text for i in self._items))),
            stream=True,
            include_usage=True,
            max_tokens=min((limit for limit in limits if isinstance(limit, int)), default=None),
            tools=tools,
            must_call=must_call,
        )

    def _tools(self) -> tuple[tuple[Tool, ...], bool]:
        """Give the tools that may be called, and whether one must."""
        choice = self._settings.tool_choice
        name = choice.name if isinstance(choice, _NamedTool) else None
        tools = tuple(
            Tool(tool.name, tool.parameters) for tool in self._settings.tools if name is None or tool.name == name
        )
        return (() if choice == "none" else tools), choice == "required" or name is not None

    def _tool_result(self) -> str | None:
        last = len(self._items)
        while last and self._items[last - 1].type == "function_call_output":
            last -= 1
        return "\n".join(item.text for item in self._items[last:]) if last < len(self._items) else None


class _Answer:
    """Writes one response: items of the output one after another, each opened, told in pieces and closed."""

    def __init__(self, name: str, events: _Events, *, is_beta: bool) -> None:
        self._name = name
        self._events = events
        self._kind = "text" if is_beta else "output_text"
        self._output: list[dict[str, Any]] = []
        self._pieces: list[str] = []
        self._reason = "stop"
        self._usage = Usage()

    def say(self, item: Item) -> list[bytes]:
        match item:
            case str(text) | Refusal(text):
                return self._say_text(text)
            case ToolCallDelta():
                return self._say_call(item)
            case FinishReason(reason):
                self._reason = reason
            case Usage():
                self._usage = item
            case Frame(data):
                return [data]
            case Mark.COMMENT:
                return [self._events("rate_limits.updated", rate_limits=[])]
            case Mark.DONE:
                return [*self._close(), self._done()]
        return []

    def _event(self, kind: str, **told: Any) -> bytes:
        place = {"response_id": self._name, "output_index": len(self._output) - 1, "item_id": self._output[-1]["id"]}
        return self._events(f"response.{kind}", **place, **told)

    def _say_text(self, text: str) -> list[bytes]:
        said: list[bytes] = []
        if not self._output or self._output[-1]["type"] != "message":
            item = {"type": "message", "role": "assistant", "content": []}
            said += self._open(item)
            said.append(self._event("content_part.added", content_index=0, part={"type": "text", "text": ""}))
        self._pieces.append(text)
        return [*said, self._event(f"{self._kind}.delta", content_index=0, delta=text)]

    def _say_call(self, piece: ToolCallDelta) -> list[bytes]:
        said: list[bytes] = []
        if piece.id:
            said += self._open({"type": "function_call", "call_id": piece.id, "name": piece.name, "arguments": ""})
        if piece.arguments:
            self._pieces.append(piece.arguments)
            call_id = self._output[-1]["call_id"]
            said.append(self._event("function_call_arguments.delta", call_id=call_id, delta=piece.arguments))
        return said

    def _open(self, item: dict[str, Any]) -> list[bytes]:
        closed = self._close()
        self._output.append({"id": f"item_{self._name}_{len(self._output)}", **item})
        return [*closed, self._event("output_item.added", item=self._output[-1])]

    def _close(self) -> list[bytes]:
        if not self._output:
            return []
        item, whole = self._output[-1], "".join(self._pieces)
        self._pieces = []
        if item["type"] == "function_call":
            item["arguments"] = whole
            told = {"call_id": item["call_id"], "name": item["name"], "arguments": whole}
            said = [self._event("function_call_arguments.done", **told)]
        else:
            item["content"] = [{"type": self._kind, "text": whole}]
            said = [
                self._event(f"{self._kind}.done", content_index=0, text=whole),
                self._event("content_part.done", content_index=0, part={"type": "text", "text": whole}),
            ]
        return [*said, self._event("output_item.done", item=item)]

    def _done(self) -> bytes:
        is_cut = self._reason == "length"
        status = "incomplete" if is_cut else "completed"
        details = {"type": status, **({"reason": "max_output_tokens"} if is_cut else {})}
        read, written = self._usage.input_tokens or 0, self._usage.output_tokens or 0
        usage = {
            "total_tokens": read + written,
            "input_tokens": read,
            "output_tokens": written,
            "input_token_details": {"cached_tokens": self._usage.cached_tokens or 0, "text_tokens": read},
            "output_token_details": {"text_tokens": written},
        }
        response = {"object": "realtime.response", "id": self._name, "status": status, "status_details": details}
        return self._events("response.done", response={**response, "output": self._output, "usage": usage})
