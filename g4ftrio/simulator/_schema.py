"""JSON values that satisfy a simple JSON schema: what a model writes as a tool's arguments or as structured output."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Any, TypeAlias

__all__ = ("sample",)

_DEEPEST = 12  # a schema can refer to itself,
_MOST_VALUES = 2_000  # and to itself more than once
_MOST_ITEMS = 100
_LONGEST_PAD = 10_000

Schema: TypeAlias = dict[str, Any]


def sample(schema: Schema, word: str = "example") -> Any:
    """Make a value with every required property.

    Understands types, ``enum``, ``const``, ``default``, ``anyOf``/``oneOf`` (the first), ``allOf`` (merged), references
    into the schema itself, and the bounds of numbers, lengths and items; not ``pattern`` and ``format``.

    :param word: what strings are made of
    """
    return _Sampler(schema, word).value(schema)


class _Sampler:
    def __init__(self, root: Schema, word: str) -> None:
        self._root = root
        self._word = word
        self._depth = 0
        self._left = _MOST_VALUES

    def value(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return self._word
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        choices = _listed(schema, "enum") or _listed(schema, "examples") or [schema.get("default")]
        return self._of_type(schema) if choices[0] is None else choices[0]

    def _of_type(self, schema: Schema) -> Any:
        kind = _type_of(schema)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        self._depth += 1
        made = _BY_TYPE.get(kind, _Sampler.text)(self, schema)
        self._depth -= 1
        return made

    def _resolved(self, schema: Schema, followed: int = 0) -> Schema:
        """Follow a reference, take the first alternative, merge what must hold together."""
        self._left -= 1
        if max(self._depth, followed) > _DEEPEST or self._left < 0:
            return {"type": "null"}
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")}
        parts = [self._referred(schema["$ref"])] if "$ref" in schema else []
        parts += [part for key in ("anyOf", "oneOf") for part in _listed(schema, key)[:1]]
        parts += _listed(schema, "allOf")
        for part in parts:
            if isinstance(part, dict):
                rest = {**self._resolved(part, followed + 1), **rest}
        return rest

    def _referred(self, reference: Any) -> Any:
        found: Any = self._root
        for name in str(reference).removeprefix("#").strip("/").split("/"):
            found = found.get(name) if name and isinstance(found, dict) else found
        return found

    def object(self, schema: Schema) -> dict[str, Any]:
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        return {str(name): self.value(known.get(str(name), {})) for name in _listed(schema, "required")}

    def array(self, schema: Schema) -> list[Any]:
        size = min(_number(schema, "minItems", 1), _number(schema, "maxItems", _MOST_ITEMS), _MOST_ITEMS)
        return [self.value(schema.get("items", {})) for _ in range(int(size))]

    def text(self, schema: Schema) -> str:
        word = self._word.ljust(int(min(_number(schema, "minLength", 0), _LONGEST_PAD)), "x")
        return word[: max(int(_number(schema, "maxLength", len(word))), 0)]

    def integer(self, schema: Schema) -> int:
        return ceil(_near_one(schema, 1))

    def number(self, schema: Schema) -> float:
        return _near_one(schema, 0.25)


_CONSTANTS = {"boolean": True, "null": None}
_BY_TYPE: dict[str, Callable[[_Sampler, Schema], Any]] = {
    "object": _Sampler.object,
    "array": _Sampler.array,
    "string": _Sampler.text,
    "integer": _Sampler.integer,
    "number": _Sampler.number,
}


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else "string"
    return str(kind or ("object" if "properties" in schema else "string"))


def _listed(schema: Schema, key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _near_one(schema: Schema, step: float) -> float:
    """Give 1, or the bound that keeps it out; a bound that is itself out is missed by a step."""
    least = max(_number(schema, "minimum", -inf), _number(schema, "exclusiveMinimum", -inf) + step)
    most = min(_number(schema, "maximum", inf), _number(schema, "exclusiveMaximum", inf) - step)
    return min(max(1, least), most)


def _number(schema: Schema, key: str, default: float) -> float:
    value = schema.get(key, default)
    return value if isinstance(value, int | float) else default
