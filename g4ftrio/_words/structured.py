"""Types to JSON schemas, and answers back to values of the type. No I/O.

A type is a ``msgspec.Struct``, a dataclass, a ``TypedDict``, any other type that msgspec knows, or a class with
``model_json_schema`` and ``model_validate_json`` (a pydantic model; pydantic itself is never imported).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from g4ftrio._words.errors import APIResponseValidationError, excerpt

__all__ = ("JSONSchema", "ParseError", "json_schema", "parse_response", "response_format", "tool_definition")

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_KEYWORDS = frozenset({"$ref", "$defs", "properties", "items", "anyOf", "allOf", "oneOf", "enum", "const"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class JSONSchema(msgspec.Struct, frozen=True):
    """What an answer must look like.

    ``strict`` is true where every object is closed and requires all its properties, as services want it for answers
    that are bound to keep to the schema. An object with free keys cannot be, and the schema is then left as it is.
    """

    name: str
    schema: dict[str, Any]
    strict: bool


class ParseError(APIResponseValidationError, ValueError):
    """The answer is not of the type that ``response_format=`` asked for.

    :ivar text: the answer's whole text
    """

    what = "the answer is not of the asked form"

    def __init__(self, message: str, *, text: str, provider: str | None = None) -> None:
        super().__init__(message, provider=provider)
        self.text = text


def json_schema(format: Any) -> JSONSchema | None:  # noqa: A002 - short for the parameter response_format
    """Give the schema that a ``response_format`` asks for; None where it asks for no particular one.

    :param format: a type, a JSON schema, or a ``response_format`` as on the OpenAI wire
    :raises TypeError: it is none of these
    """
    if isinstance(format, Mapping):
        return _of_mapping(format)
    if callable(dump := getattr(format, "model_json_schema", None)):
        return _schema(_name(format), dump())
    try:
        return _schema(_name(format), msgspec.json.schema(format))
    except (TypeError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise TypeError(f"response_format={format!r} is neither a schema nor a type with one: {why}") from None


def response_format(format: Any) -> dict[str, Any]:  # noqa: A002 - as above
    """Encode a ``response_format`` for the OpenAI wire; one that is in its form already passes unchanged."""
    if isinstance(format, Mapping) and not _is_schema(format):
        return dict(format)
    asked = json_schema(format)
    if asked is None:
        return {"type": "json_object"}
    named = {"name": asked.name, "schema": asked.schema, "strict": asked.strict}
    return {"type": "json_schema", "json_schema": named}


def parse_response(format: Any, text: str) -> Any:  # noqa: A002 - as above
    """Read an answer as the type that was asked for; a fence of backquotes around the JSON is taken off.

    :param format: as it was given to ``response_format=``; for a mapping the plain JSON value is given
    :raises ParseError: the text is not of that type
    """
    if isinstance(format, Mapping) and format.get("type") == "text":
        return text
    bare = _unfenced(text)
    try:
        if isinstance(format, Mapping):
            return msgspec.json.decode(bare)
        if callable(validate := getattr(format, "model_validate_json", None)):
            return validate(bare)
        return msgspec.json.decode(bare, type=format)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"{excerpt(str(error), 200)} in {excerpt(text, 200)!r}", text=text) from None


def tool_definition(tool: Mapping[str, Any] | Callable[..., Any]) -> dict[str, Any]:
    """Describe a tool for the OpenAI wire.

    :param tool: a definition, which passes unchanged, or an annotated function; its docstring's first paragraph
        is the description
    :raises TypeError: the function takes something that JSON cannot carry
    """
    if isinstance(tool, Mapping):
        return dict(tool)
    if not callable(tool):
        raise TypeError(f"a tool is a mapping or a function, not {type(tool).__name__}")
    name = _NOT_IN_NAMES.sub("_", getattr(tool, "__name__", type(tool).__name__))
    function = {"name": name, "parameters": _parameters(name, tool)}
    if said := (getattr(tool, "__doc__", None) or "").strip().partition("\n\n")[0]:
        function["description"] = " ".join(said.split())
    return {"type": "function", "function": function}


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    from inspect import Parameter, signature
    from typing import get_type_hints

    hints = get_type_hints(
        function if hasattr(function, "__annotations__") else type(function).__call__, include_extras=True
    )
    fields: list[Any] = []
    for parameter in signature(function).parameters.values():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD, Parameter.POSITIONAL_ONLY):
            raise TypeError(f"the tool {name} takes {parameter}, which no model can name: give it named parameters")
        field = (parameter.name, hints.get(parameter.name, Any))
        fields.append(field if parameter.default is Parameter.empty else (*field, parameter.default))
    try:
        schema = _root(msgspec.json.schema(msgspec.defstruct(name, fields, kw_only=True)))
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"the tool {name} takes what JSON cannot carry: {error}") from None
    return {key: value for key, value in schema.items() if key != "title"}


def _of_mapping(format: Mapping[str, Any]) -> JSONSchema | None:  # noqa: A002 - as above
    if _is_schema(format):
        return _schema(str(format.get("title") or "answer"), dict(format))
    given = format.get("json_schema")
    if not isinstance(given, Mapping) or not isinstance(given.get("schema"), Mapping):
        return None
    return JSONSchema(str(given.get("name", "answer")), dict(given["schema"]), bool(given.get("strict")))


def _is_schema(format: Mapping[str, Any]) -> bool:  # noqa: A002 - as above
    kind = format.get("type")
    return (isinstance(kind, str) and kind in _TYPES) or not _KEYWORDS.isdisjoint(format)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _schema(name: str, schema: dict[str, Any]) -> JSONSchema:
    root = _root(schema)
    strict = not _has_free_keys(root)
    # The wire allows 64 characters of [A-Za-z0-9_-] in a schema's name.
    named = _NOT_IN_NAMES.sub("_", name)[:64] or "answer"
    return JSONSchema(named, _closed(root) if strict else root, strict)


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    """Put the definition that the root refers to into its place: services want an object there."""
    reference = schema.get("$ref")
    definitions = schema.get("$defs")
    if not isinstance(reference, str) or not isinstance(definitions, Mapping):
        return schema
    name = reference.removeprefix("#/$defs/")
    if not isinstance(target := definitions.get(name), Mapping):
        return schema
    others = definitions if _refers(definitions, reference) else {k: v for k, v in definitions.items() if k != name}
    return {**target, "$defs": others} if others else dict(target)


def _refers(node: Any, reference: str) -> bool:
    if isinstance(node, Mapping):
        return node.get("$ref") == reference or any(_refers(child, reference) for child in node.values())
    return isinstance(node, list) and any(_refers(child, reference) for child in node)


def _has_free_keys(node: Any) -> bool:
    if isinstance(node, Mapping):
        is_object = node.get("type") == "object" and "properties" not in node
        return is_object or bool(node.get("additionalProperties")) or any(map(_has_free_keys, node.values()))
    return isinstance(node, list) and any(map(_has_free_keys, node))


def _closed(node: Any) -> Any:
    """Close every object and require its properties; defaults go, because nothing is left out any more."""
    if isinstance(node, list):
        return [_closed(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    closed = {key: _closed(child) for key, child in node.items() if key != "default"}
    if isinstance(properties := node.get("properties"), Mapping):
        closed["properties"] = {name: _closed(child) for name, child in properties.items()}
        closed |= {"additionalProperties": False, "required": list(properties)}
    return closed


def _unfenced(text: str) -> str:
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        return bare[3:-3].partition("\n")[2]
    return bare
