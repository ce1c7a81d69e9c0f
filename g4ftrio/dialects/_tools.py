"""Tools, calls of them and their results in the OpenAI shape, read for the wires that have another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from g4ftrio._words.chunks import ToolCall
from g4ftrio._words.errors import MessagesError, SetupError
from g4ftrio._words.structured import tool_definition

__all__ = ("Choice", "Function", "arguments_of", "calls_of", "choice_of", "functions_of", "names_of")


class Function(NamedTuple):
    """A tool that the model may call; ``parameters`` is a JSON schema, empty where it takes nothing."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool | None = None


class Choice(NamedTuple):
    """Whether the model may, must or must not call a tool, and which one it must if it is ``named``."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


def functions_of(tools: Sequence[Any]) -> list[Function]:
    """Read the ``tools=`` of a request: definitions, or functions.

    :raises SetupError: one is no function; what only one service knows goes into ``extra_body``
    """
    return [_function(tool_definition(tool)) for tool in tools]


def _function(tool: Mapping[str, Any]) -> Function:
    held = tool.get("function")
    if not isinstance(held, Mapping) or not isinstance(held.get("name"), str):
        said = f"a tool of the type {tool.get('type')!r}"
        raise SetupError(f"this service takes functions as tools, not {said}: put that into extra_body={{...}}")
    return Function(
        held["name"], str(held.get("description") or ""), dict(held.get("parameters") or {}), held.get("strict")
    )


def choice_of(given: Any) -> Choice:
    """Read the ``tool_choice=`` of a request.

    :raises SetupError: it is none
    """
    match given:
        case "auto" | "none" | "required":
            return Choice(given)
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return Choice("named", name)
    said = "'auto', 'none', 'required' or {'type': 'function', 'function': {'name': ...}}"
    raise SetupError(f"tool_choice must be {said}, not {given!r}")


def calls_of(message: Mapping[str, Any]) -> list[ToolCall]:
    """Read the calls in an assistant's message.

    :raises MessagesError: one has no name
    """
    return [_call(number, call) for number, call in enumerate(message.get("tool_calls") or ())]


def _call(number: int, call: Any) -> ToolCall:
    match call:
        case {"function": {"name": str(name), **function}}:
            arguments = function.get("arguments")
            written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
            return ToolCall(str(call.get("id") or f"call_{number}"), name, written)
    raise MessagesError(f"tool_calls[{number}] of a message names no function")


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Read a call's arguments, for the wires that take an object.

    :raises MessagesError: they are none, and this wire cannot carry what is no JSON
    """
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        said = f"the arguments of the call {call.id!r} of {call.name!r} in a message"
        raise MessagesError(f"{said} are no JSON object, which this service needs")
    return arguments


def names_of(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give the names of all tools that were called, by the ids of the calls, for wires on which a result brings it."""
    return {call.id: call.name for message in messages for call in calls_of(message)}
