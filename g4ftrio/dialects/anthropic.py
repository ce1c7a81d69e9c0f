"""The Anthropic Messages wire, as the service itself and those that imitate it speak it.

Source of the form: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.errors import SetupError
from g4ftrio._words.request import ChatRequest
from g4ftrio._words.structured import json_schema
from g4ftrio.dialects._anthropic_events import AnthropicDecoder
from g4ftrio.dialects._anthropic_turns import system_of, turns_of
from g4ftrio.dialects._base import expressed, stops
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._tools import choice_of, functions_of

__all__ = ("Anthropic", "AnthropicDecoder")

_AS_THEY_ARE = ("max_tokens", "top_p", "top_k")
_KNOWN = frozenset(
    {
        *_AS_THEY_ARE,
        *("temperature", "stop", "user", "reasoning_effort", "response_format"),
        *("tools", "tool_choice", "parallel_tool_calls"),
    }
)
_EFFORTS = {"minimal": "low"}  # the others are called alike
_CHOICES = {"auto": "auto", "required": "any", "named": "tool", "none": "none"}
_LIMITS = frozenset(  # https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
_VALUES = ("enum", "const", "default", "examples")
_NAMED = ("properties", "$defs", "definitions")


class Anthropic(Struct, frozen=True, kw_only=True):
    """The wire; the fields are how services and models differ on it.

    :ivar path: what to append to the API base for a chat
    :ivar models_path: what to append to it to list the models
    :ivar max_tokens: what to send where the caller says nothing, because the wire wants a number; thinking counts too
    :ivar thinking_budgets: tokens to think with by ``reasoning_effort``, for models that take a number and do not
        adapt their thinking to an effort; the default of ``max_tokens`` grows by it
    :ivar drop: parameters that the service refuses and that an answer can do without
    :ivar prefill: whether an assistant's message at the end is gone on from; models from 4.6 on refuse one (400):
        https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6#prefill-removal
    """

    path: str = "/v1/messages"
    models_path: str = "/v1/models"
    max_tokens: int = 4096
    thinking_budgets: Mapping[str, int] = {}
    drop: tuple[str, ...] = ()
    prefill: bool = True

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body. ``extra_body`` is laid over it, field by field; None takes one out.

        :raises SetupError: the wire has no form for a parameter
        :raises MessagesError: it has none for a message
        """
        params = expressed({name: value for name, value in request.params.items() if name not in self.drop}, _KNOWN)
        body = {
            "model": request.model,
            "max_tokens": self.max_tokens,
            "system": system_of(request.messages) or None,
            "messages": turns_of(request.messages),
            "stream": request.stream,
            **self._output(params),
            **{name: params[name] for name in _AS_THEY_ARE if name in params},
            **_settings(params),
            **_tools(params),
            **request.extra_body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def framer(self, content_type: str) -> Framer:
        """Cut an answer into events, or leave it whole."""
        return framer_for(content_type)

    def decoder(self) -> AnthropicDecoder:
        """Begin to read an answer, streamed or whole."""
        return AnthropicDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)

    def _output(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Say how much to think, and to which schema to keep."""
        fields: dict[str, Any] = {}
        config = _format(params.get("response_format"))
        match params.get("reasoning_effort"):
            case None:
                pass
            case "none":
                fields["thinking"] = {"type": "disabled"}
            case effort if budget := self.thinking_budgets.get(effort):
                fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
                fields["max_tokens"] = self.max_tokens + budget
            case effort:
                fields["thinking"] = {"type": "adaptive"}
                config["effort"] = _EFFORTS.get(effort, effort)
        return {**fields, "output_config": config} if config else fields


def _format(asked: Any) -> dict[str, Any]:
    if asked is None or (isinstance(asked, Mapping) and asked.get("type") == "text"):
        return {}
    wanted = json_schema(asked)
    if wanted is None:
        said = "this service keeps an answer to a schema only, and response_format names none"
        raise SetupError(f"{said}: pass a JSON schema or a type, or ask for JSON in the prompt")
    return {"format": {"type": "json_schema", "schema": _unlimited(wanted.schema)}}


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (temperature := params.get("temperature")) is not None:
        fields["temperature"] = _checked(temperature)
    if (stop := params.get("stop")) is not None:
        fields["stop_sequences"] = stops(stop)
    if (user := params.get("user")) is not None:
        fields["metadata"] = {"user_id": user}
    return fields


def _checked(temperature: Any) -> float:
    if not isinstance(temperature, int | float) or not 0 <= temperature <= 1:
        raise SetupError(f"this service takes a temperature from 0 to 1, not {temperature!r}")
    return temperature


def _tools(params: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if tools := params.get("tools"):
        fields["tools"] = _definitions(tools)
    is_single = bool(tools) and params.get("parallel_tool_calls") is False
    if is_single or params.get("tool_choice") is not None:
        fields["tool_choice"] = _choice(params.get("tool_choice") or "auto", is_single=is_single)
    return fields


def _choice(given: Any, *, is_single: bool) -> dict[str, Any]:
    choice = choice_of(given)
    fields: dict[str, Any] = {"type": _CHOICES[choice.mode]}
    if choice.mode == "named":
        fields["name"] = choice.name
    if is_single and choice.mode != "none":
        fields["disable_parallel_tool_use"] = True
    return fields


def _definitions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for given, function in zip(tools, functions_of(tools), strict=True):
        schema = {"type": "object", **function.parameters}
        tool: dict[str, Any] = {"name": function.name, "input_schema": schema}
        if function.description:
            tool["description"] = function.description
        if function.strict:
            tool |= {"input_schema": _unlimited(schema), "strict": True}
        if isinstance(given, Mapping) and (mark := given.get("cache_control")):
            tool["cache_control"] = mark
        written.append(tool)
    return written


def _unlimited(node: Any) -> Any:
    """Leave out of a schema the limits of numbers, lengths and counts, which the service refuses.

    An answer is held against the type that was asked for in any case.
    """
    if isinstance(node, list):
        return [_unlimited(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    return {key: _kept(key, child) for key, child in node.items() if not _is_limit(key, child)}


def _kept(key: str, child: Any) -> Any:
    if key in _VALUES:
        return child
    if key in _NAMED and isinstance(child, Mapping):  # what is a keyword elsewhere is a property's name in there
        return {name: _unlimited(schema) for name, schema in child.items()}
    return _unlimited(child)


def _is_limit(key: str, child: Any) -> bool:
    return key in _LIMITS or (key == "minItems" and child not in (0, 1))
