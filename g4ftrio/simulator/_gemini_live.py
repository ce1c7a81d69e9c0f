"""The Gemini Live wire read backwards: a set-up first, then turns, each answered with one.

Source of the form: https://ai.google.dev/api/live
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from g4ftrio._words.chunks import FinishReason, ToolCallDelta, Usage
from g4ftrio.simulator._gemini import Content, Gemini, Part, Setup, function_calls, read_ask, said_part, usage_metadata
from g4ftrio.simulator._socket_wire import Session
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark

__all__ = ("GeminiLive",)

_encode = msgspec.json.Encoder().encode
_HTTP = Gemini()  # the list of models, and what refuses an upgrade, are said as over HTTP


class _History(Struct, rename="camel"):
    initial_history_in_client_content: bool = False


class _Setup(Setup, rename="camel"):
    model: str = ""
    history_config: _History = field(default_factory=_History)


class _ClientContent(Struct, rename="camel"):
    turns: list[Content] = []
    turn_complete: bool = False


class _RealtimeInput(Struct):
    text: str


class _ToolResponse(Struct, rename="camel"):
    function_responses: list[dict[str, Any]]


class _Message(Struct, rename="camel"):
    setup: _Setup | None = None
    client_content: _ClientContent | None = None
    realtime_input: _RealtimeInput | None = None
    tool_response: _ToolResponse | None = None


class GeminiLive:
    """The wire of BidiGenerateContent."""

    base = ""
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    models_path = "/v1beta/models"

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """Find the key in a header of its own, or in the query."""
        return _HTTP.key(headers) or query.get("key")

    def session(self, query: Mapping[str, str], name: str, created: int) -> Session:  # noqa: ARG002  # it tells neither
        """Begin with a client."""
        return _Session()

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give the body of an HTTP answer that refuses the upgrade."""
        return _HTTP.error(status, message, code)

    def models(self, names: list[str], created: int) -> bytes:
        """Give the body of the list of models."""
        return _HTTP.models(names, created)


class _Session:
    def __init__(self) -> None:
        self._setup: _Setup | None = None
        self._contents: list[Content] = []
        self._awaits_history = False
        self._calls: list[ToolCallDelta] = []
        self._said: list[str] = []
        self._waits_for_results = False

    def greet(self) -> list[bytes]:
        return []

    def hear(self, message: Any) -> tuple[list[bytes], Ask | None]:
        heard = msgspec.convert(_respelt(message), _Message)
        if self._setup is None:
            if heard.setup is None or not heard.setup.model:
                raise ValueError("the first message must be a setup that names the model")
            self._setup = heard.setup
            self._awaits_history = heard.setup.history_config.initial_history_in_client_content
            return [_encode({"setupComplete": {}})], None
        if heard.client_content is not None:
            return [], self._hear_turns(self._setup, heard.client_content)
        self._contents.append(_moment(heard))
        return [], self._ask(self._setup)

    def _hear_turns(self, setup: _Setup, content: _ClientContent) -> Ask | None:
        self._contents += content.turns
        if not content.turn_complete:
            return None
        if self._awaits_history:
            self._awaits_history = False
            return None
        return self._ask(setup)

    def _ask(self, setup: _Setup) -> Ask:
        return read_ask(setup, self._contents, setup.model, stream=True)

    def say(self, item: Item) -> list[bytes]:
        match item:
            case Frame(data):
                return [data]
            case ToolCallDelta():
                self._calls.append(item)
            case FinishReason():
                return self._finish()
            case Usage():
                return [_encode({"usageMetadata": usage_metadata(item, "responseTokenCount")})]
            case Mark.DONE if not self._waits_for_results:
                return [_encode({"serverContent": {"turnComplete": True}})]
            case _ if (part := said_part(item)) is not None:
                self._said.append(part.get("text", ""))
                return [_encode({"serverContent": {"modelTurn": {"parts": [part]}}})]
        return []

    def _finish(self) -> list[bytes]:
        self._contents.append(Content([Part(text="".join(self._said))], "model"))
        self._said = []
        self._waits_for_results = bool(self._calls)
        if not self._calls:
            return [_encode({"serverContent": {"generationComplete": True}})]
        calls, self._calls = function_calls(self._calls), []
        return [_encode({"toolCall": {"functionCalls": calls}})]

    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        return [_HTTP.error(status, message, code)]


def _respelt(message: Any) -> Any:
    """Spell the names of messages one way: the service takes two, and its own SDK writes ``client_content``."""
    if not isinstance(message, dict):
        return message
    return {re.sub("_([a-z])", lambda found: found[1].upper(), name): held for name, held in message.items()}


def _moment(heard: _Message) -> Content:
    """Read what is no whole turn as one."""
    if heard.realtime_input is not None:
        return Content([Part(text=heard.realtime_input.text)])
    if heard.tool_response is None:
        raise ValueError("a message is one of clientContent, realtimeInput and toolResponse")
    results = [{"functionResponse": result} for result in heard.tool_response.function_responses]
    return msgspec.convert({"parts": results}, Content)
