"""Types to schemas and answers back to values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

from g4ftrio._words.structured import (
    JSONSchema,
    ParseError,
    json_schema,
    parse_response,
    response_format,
    tool_definition,
)


class City(msgspec.Struct):
    """A city."""

    name: str
    country: Country | None = None


class Country(msgspec.Struct):
    code: str


class Node(msgspec.Struct):
    children: list[Node] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Reply(TypedDict, total=False):
    text: str


class PydanticLike:
    value: Any

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"title": "PydanticLike", "type": "object", "properties": {"value": {"type": "integer", "default": 3}}}

    @classmethod
    def model_validate_json(cls, text: str) -> PydanticLike:
        made = cls()
        made.value = int(text)
        return made


POINT = {
    "title": "Point",
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def test_a_types_schema_is_an_object_that_is_closed_and_requires_all_of_itself() -> None:
    assert json_schema(Point) == JSONSchema("Point", POINT, strict=True)
    asked = json_schema(City)
    assert asked
    asked.schema["properties"]["country"]["anyOf"].sort(key=str)  # which msgspec 0.22 does otherwise than 0.21
    assert asked == JSONSchema(
        "City",
        {
            "title": "City",
            "description": "A city.",
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "country": {"anyOf": [{"$ref": "#/$defs/Country"}, {"type": "null"}]},
            },
            "required": ["name", "country"],
            "additionalProperties": False,
            "$defs": {
                "Country": {
                    "title": "Country",
                    "type": "object",
                    "properties": {"code": {"type": "string"}},
                    "required": ["code"],
                    "additionalProperties": False,
                }
            },
        },
        strict=True,
    )


def test_a_type_that_holds_itself_keeps_its_definition() -> None:
    asked = json_schema(Node)
    assert asked is not None
    assert asked.schema["type"] == "object"
    assert asked.schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert set(asked.schema["$defs"]) == {"Node"}


def test_typed_dicts_and_pydantic_models_give_schemas() -> None:
    reply, model = json_schema(Reply), json_schema(PydanticLike)
    assert reply is not None
    assert reply.schema["required"] == ["text"]
    assert model == JSONSchema(
        "PydanticLike",
        {
            "title": "PydanticLike",
            "type": "object",
            "properties": {"value": {"type": "integer"}},
            "required": ["value"],
            "additionalProperties": False,
        },
        strict=True,
    )


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"default": {"type": "string"}, "required": {"type": "string"}}}
    asked = json_schema(schema)
    assert asked is not None
    assert asked.schema["properties"] == schema["properties"]
    assert asked.schema["required"] == ["default", "required"]


def test_a_schema_with_free_keys_is_left_as_it_is_and_not_strict() -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "object", "additionalProperties": {"type": "string"}}}}
    assert json_schema(schema) == JSONSchema("answer", schema, strict=False)


def test_a_schemas_name_is_one_that_the_wire_allows() -> None:
    asked = json_schema({"title": "My answer (v2)!", "type": "object", "properties": {}})
    assert asked is not None
    assert asked.name == "My_answer_v2_"


def test_a_format_of_the_wire_passes_unchanged() -> None:
    named = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    for given in ({"type": "json_object"}, {"type": "text"}, named):
        assert response_format(given) == given
    assert json_schema({"type": "json_object"}) is None
    assert json_schema(named) == JSONSchema("n", {"type": "object"}, strict=True)


def test_what_has_no_schema_is_a_type_error_in_words() -> None:
    with pytest.raises(TypeError, match=r"response_format=<class 'object'> is neither a schema nor a type with one"):
        response_format(object)


def test_an_answer_is_read_as_what_was_asked_for() -> None:
    assert parse_response(Point, '{"x":1}') == Point(1)
    assert parse_response(City, '{"name":"Rome"}') == City("Rome")
    assert parse_response(PydanticLike, "3").value == 3
    assert parse_response({"type": "json_object"}, '{"a":1}') == {"a": 1}
    assert parse_response({"type": "text"}, "plain") == "plain"


@pytest.mark.parametrize("text", ['```json\n{"x":1}\n```', '\n```\n{"x":1}```\n', ' {"x": 1} '])
def test_a_fence_around_the_json_is_taken_off(text: str) -> None:
    assert parse_response(Point, text) == Point(1)


@pytest.mark.parametrize("text", ["Sure!", '{"x":"one"}', "", "```", "[" * 100_000])
def test_an_answer_of_another_form_is_an_error_that_holds_it(text: str) -> None:
    with pytest.raises(ParseError, match="the answer is not of the asked form") as caught:
        parse_response(Point, text)
    assert caught.value.text == text
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 600


def sum_up(numbers: list[int], *, where: Country | None = None) -> int:
    return sum(numbers)


def test_a_function_is_described_by_its_signature() -> None:
    parameters = tool_definition(sum_up)["function"]["parameters"]
    assert parameters["required"] == ["numbers"]
    assert parameters["properties"]["numbers"] == {"type": "array", "items": {"type": "integer"}}
    assert set(parameters["$defs"]) == {"Country"}


def takes_anything(**anything: Any) -> None: ...


def takes_a_lock(lock: object) -> None: ...


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        (takes_anything, "takes \\*\\*anything: 'Any', which no model can name"),
        (takes_a_lock, "the tool takes_a_lock takes what JSON cannot carry"),
        (5, "a tool is a mapping or a function, not int"),
    ],
)
def test_a_function_that_no_model_can_call_is_a_type_error_in_words(tool: Callable[..., Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        tool_definition(tool)
