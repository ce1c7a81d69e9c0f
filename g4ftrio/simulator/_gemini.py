"""The generateContent wire read backwards: the model is in the path, a call of a tool comes whole and signed.

Source of the form: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from g4ftrio._words.chunks import FinishReason, ImageResponse, Reasoning, Refusal, ToolCallDelta, Usage
from g4ftrio.dialects._gemini_options import BUDGETED
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Pictures, Renderer, Tool

__all__ = ("Content", "Gemini", "Part", "Setup", "function_calls", "read_ask", "said_part", "usage_metadata")

_encode = msgspec.json.Encoder().encode
_VERSIONS = ("v1beta", "v1")  # the same here; clients are divided on which they ask
_UNSIGNED = (*BUDGETED, "gemini-live-2.")  # how the names of models begin that take calls without a signature
_SIGNATURE = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_REASONS = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}  # all others stop, calls of tools too
_BASE64 = "data:image/png;base64,"
_ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


class _Call(Struct):
    name: str
    args: dict[str, Any] = field(default_factory=dict)


class _Result(Struct):
    name: str
    response: dict[str, Any]


class Part(Struct, rename="camel"):
    """A part of a turn; of kinds that are not here nothing is read."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None
    function_response: _Result | None = None


class Content(Struct):
    """A turn."""

    parts: list[Part]
    role: str = "user"

    @property
    def text(self) -> str:
        """What was said in it."""
        return "\n".join(part.text for part in self.parts if part.text and not part.thought)

    @property
    def results(self) -> list[str]:
        """What the tools said in it."""
        return [_result(part.function_response) for part in self.parts if part.function_response is not None]


class _Declaration(Struct, rename="camel"):
    name: str
    parameters_json_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    # Every field may also be spelt as in the service's protocol buffers; this is the one that its own SDK spells so.
    as_in_protocol_buffers: dict[str, Any] | None = field(default=None, name="parameters_json_schema")

    @property
    def schema(self) -> dict[str, Any]:
        """The arguments, whichever way they are described."""
        plain = self.parameters_json_schema or self.as_in_protocol_buffers
        return plain or _lower_types(self.parameters or {})


class _Tools(Struct, rename="camel"):
    function_declarations: list[_Declaration] = []


class _Calling(Struct, rename="camel"):
    mode: str = "AUTO"
    allowed_function_names: list[str] | None = None


class _ToolConfig(Struct, rename="camel"):
    function_calling_config: _Calling = field(default_factory=_Calling)


class _Config(Struct, rename="camel"):
    max_output_tokens: int | None = None
    stop_sequences: list[str] = []
    response_mime_type: str = "text/plain"
    response_json_schema: dict[str, Any] | None = None
    response_schema: dict[str, Any] | None = None
    response_modalities: list[str] = []


class Setup(Struct, rename="camel"):
    """What a request says beside the contents."""

    system_instruction: Content | None = None
    tools: list[_Tools] = []
    tool_config: _ToolConfig = field(default_factory=_ToolConfig)
    generation_config: _Config = field(default_factory=_Config)


class _Body(Setup, rename="camel"):
    contents: list[Content] = []


class Gemini:
    """The wire of generateContent and streamGenerateContent."""

    base = ""
    models_path = "/v1beta/models"
    stream_type = "text/event-stream"

    @property
    def readers(self) -> Mapping[str, Callable[..., Ask]]:
        """What is posted where."""
        methods = {"generateContent": False, "streamGenerateContent": True}
        return {
            f"/{version}/{{model}}:{method}": partial(self.read, stream=stream)
            for version in _VERSIONS
            for method, stream in methods.items()
        }

    def read(self, body: Any, *, model: str, stream: bool) -> Ask:
        """Read a request's body."""
        asked = msgspec.convert(body, _Body)
        return read_ask(asked, asked.contents, model, stream=stream)

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the key in a header of its own."""
        return headers.get("x-goog-api-key")

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:  # noqa: ARG002  # this wire tells no time
        """Begin an answer."""
        return _Renderer(ask, name)

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object."""
        word = _STATUSES.get(status, "INTERNAL")
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": (code or word).upper()}
        return _encode({"error": {"code": status, "message": message, "status": word, "details": [reason]}})

    def models(self, names: Sequence[str], created: int) -> bytes:  # noqa: ARG002  # this wire tells no time
        """Give the list of models."""
        methods = ["generateContent", "countTokens"]
        models = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} for name in names
        ]
        return _encode({"models": models})


def read_ask(setup: Setup, contents: Sequence[Content], model: str, *, stream: bool) -> Ask:
    """Read what is asked for.

    :raises ValueError: says what is wrong with it
    """
    if not contents:
        raise ValueError("* GenerateContentRequest.contents: contents is not specified")
    if not model.removeprefix("models/").startswith(_UNSIGNED):
        _check_signatures(contents)
    config = setup.generation_config
    users = [content.text for content in contents if content.role == "user" and content.text]
    said = [content.text for content in (*contents, *([setup.system_instruction] if setup.system_instruction else []))]
    tools, must_call = _tools(setup)
    results = contents[-1].results
    return Ask(
        model=model.removeprefix("models/"),
        prompt=users[-1] if users else "",
        tool_result="\n".join(results) if results else None,
        input_tokens=sum(len(text.split()) for text in said),
        stream=stream,
        include_usage=True,
        max_tokens=_max_tokens(config),
        stop=tuple(config.stop_sequences),
        tools=tools,
        must_call=must_call,
        schema=_schema(config),
        pictures=Pictures(1, 64, 64, as_url=False) if "IMAGE" in config.response_modalities else None,
    )


def said_part(item: Item) -> dict[str, Any] | None:
    """Give the part for something that the model says at once; None for everything else."""
    match item:
        case str(text) | Refusal(text):  # this wire has no place of its own for a refusal
            return {"text": text}
        case Reasoning(text):
            return {"text": text, "thought": True}
        case ImageResponse((url, *_)):
            return {"inlineData": {"mimeType": "image/png", "data": url.removeprefix(_BASE64)}}
    return None


def function_calls(deltas: Sequence[ToolCallDelta]) -> list[dict[str, Any]]:
    """Put calls together: on this wire they come whole."""
    calls: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        calls.setdefault(delta.index, []).append(delta)
    return [_function_call(pieces) for pieces in calls.values()]


def _function_call(deltas: Sequence[ToolCallDelta]) -> dict[str, Any]:
    arguments = "".join(delta.arguments for delta in deltas)
    return {"id": deltas[0].id, "name": deltas[0].name, "args": msgspec.json.decode(arguments or "{}")}


def usage_metadata(usage: Usage, written: str = "candidatesTokenCount") -> dict[str, Any]:
    """Count thoughts apart from the answer, as this wire does.

    :param written: what the tokens of the answer are called
    """
    read, all_written, thought = usage.input_tokens or 0, usage.output_tokens or 0, usage.reasoning_tokens or 0
    counted = {"promptTokenCount": read, written: all_written - thought, "totalTokenCount": read + all_written}
    return {**counted, "thoughtsTokenCount": thought} if thought else counted


class _Renderer:
    def __init__(self, ask: Ask, name: str) -> None:
        self._named = {"modelVersion": ask.model, "responseId": name}
        self._calls: list[ToolCallDelta] = []

    def frame(self, item: Item) -> bytes:
        match item:
            case Mark.COMMENT:
                return b": keep-alive\n\n"
            case Mark():
                return b""
            case Frame(data):
                return b"data: " + data + b"\n\n"
            case ToolCallDelta():
                self._calls.append(item)
                return b""
            case Usage():
                return self._event({"usageMetadata": usage_metadata(item)})
            case FinishReason(reason):
                return self._event(_candidates(_called(self._calls), reason))
        part = said_part(item)
        return b"" if part is None else self._event(_candidates([part]))

    def _event(self, payload: dict[str, Any]) -> bytes:
        return b"data: " + _encode({**payload, **self._named}) + b"\n\n"

    def whole(self, items: Sequence[Item]) -> bytes:
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        parts = _merged([part for item in items if (part := said_part(item)) is not None])
        parts += _called([item for item in items if isinstance(item, ToolCallDelta)])
        reason = next((item.reason for item in items if isinstance(item, FinishReason)), None)
        answer = _candidates(parts, reason)
        for item in items:
            if isinstance(item, Usage):
                answer["usageMetadata"] = usage_metadata(item)
        return _encode({**answer, **self._named})


def _candidates(parts: Sequence[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"parts": parts, "role": "model"} if parts else {"role": "model"},
        "index": 0,
    }
    if reason is not None:
        candidate["finishReason"] = _REASONS.get(reason, "STOP")
    return {"candidates": [candidate]}


def _called(deltas: Sequence[ToolCallDelta]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"functionCall": call} for call in function_calls(deltas)]
    if parts:
        parts[0]["thoughtSignature"] = _SIGNATURE
    return parts


def _merged(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join texts that follow each other."""
    merged: list[dict[str, Any]] = []
    for part in parts:
        if merged and "text" in part and "text" in merged[-1] and part.keys() == merged[-1].keys():
            merged[-1]["text"] += part["text"]
        else:
            merged.append(part)
    return merged


def _result(result: _Result) -> str:
    said = result.response.get("output")
    return said if isinstance(said, str) else _encode(result.response).decode()


def _check_signatures(contents: Sequence[Content]) -> None:
    for content in contents:
        calls = [part for part in content.parts if part.function_call is not None]
        if calls and not calls[0].thought_signature:
            raise ValueError("Function call is missing a thought_signature in functionCall parts.")


def _tools(setup: Setup) -> tuple[tuple[Tool, ...], bool]:
    """Give the tools that may be called, and whether one must."""
    declared = [declaration for tools in setup.tools for declaration in tools.function_declarations]
    calling = setup.tool_config.function_calling_config
    allowed = calling.allowed_function_names
    tools = tuple(Tool(each.name, each.schema) for each in declared if allowed is None or each.name in allowed)
    if calling.mode == "ANY" and not tools:
        raise ValueError("Function calling mode is ANY, and no function is declared and allowed.")
    return (() if calling.mode == "NONE" else tools), calling.mode == "ANY"


def _max_tokens(config: _Config) -> int | None:
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        raise ValueError("max_output_tokens must be positive.")
    return config.max_output_tokens


def _schema(config: _Config) -> dict[str, Any] | None:
    if config.response_mime_type != "application/json":
        return None
    return config.response_json_schema or _lower_types(config.response_schema or {}) or _ANY_OBJECT


def _lower_types(schema: Any) -> Any:
    """Read a schema of OpenAPI's dialect, in which the names of types are written in capitals."""
    if isinstance(schema, list):
        return [_lower_types(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    lowered = {key: _lower_types(value) for key, value in schema.items()}
    if isinstance(kind := schema.get("type"), str):
        lowered["type"] = kind.lower()
    return lowered
