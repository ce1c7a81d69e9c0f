"""Requests as they go over the wire, and the bodies of errors and model lists as they come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._words.errors import APIResponseValidationError
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_chat import OpenAIChat

HELLO = [{"role": "user", "content": "Hello"}]


def encode(dialect: OpenAIChat | None = None, /, *, stream: bool = False, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(model="m", messages=HELLO, stream=stream, params=params, extra_body=extra_body or {})
    body = (dialect or OpenAIChat()).encode(request)
    json.dumps(body)
    return {name: value for name, value in body.items() if name not in {"model", "messages", "stream"}}


def roles(dialect: OpenAIChat, *given: str) -> list[str]:
    messages = [{"role": role, "content": role} for role in given]
    return [message["role"] for message in dialect.encode(ChatRequest(model="m", messages=messages))["messages"]]


def test_it_is_a_dialect() -> None:
    dialect: Dialect = OpenAIChat()
    path = dialect.path_for(ChatRequest(model="m", messages=[]))
    assert (path, dialect.models_path) == (
        "/chat/completions",
        "/models",
    )


def test_a_bare_request_holds_no_more_than_it_must() -> None:
    streamed = OpenAIChat().encode(ChatRequest(model="m", messages=HELLO))
    whole = OpenAIChat().encode(ChatRequest(model="m", messages=HELLO, stream=False))
    assert streamed == {
        "model": "m",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert whole == {"model": "m", "messages": HELLO, "stream": False}


def test_usage_is_not_asked_for_where_the_service_refuses_the_question() -> None:
    assert encode(OpenAIChat(stream_usage=False), stream=True) == {}


def test_parameters_keep_their_names_and_none_is_left_out() -> None:
    params: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "seed": 0,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "reasoning_effort": "low",
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
        "user": "u",
    }
    assert encode(**params, response_format=None, tools=None) == params


def test_what_services_call_otherwise_is_renamed() -> None:
    dialect = OpenAIChat(max_tokens_field="max_completion_tokens", seed_field="random_seed")
    assert encode(dialect, max_tokens=9, seed=7) == {"max_completion_tokens": 9, "random_seed": 7}


def test_what_a_service_refuses_is_dropped_and_its_defaults_are_overridden() -> None:
    dialect = OpenAIChat(drop=("top_k", "user"), defaults={"temperature": 1, "allow_fallback": True})
    assert encode(dialect, top_k=3, user="u", temperature=0.5) == {"temperature": 0.5, "allow_fallback": True}


def test_a_conversation_is_not_of_this_wire() -> None:
    assert encode(conversation={"id": 1}) == {}


def test_the_extra_body_lies_over_everything_and_takes_out_by_none() -> None:
    extra = {"temperature": 2, "stream_options": None, "provider": {"order": ["a"]}}
    assert encode(stream=True, temperature=1, extra_body=extra) == {"temperature": 2, "provider": {"order": ["a"]}}


def test_system_messages_take_the_role_that_the_service_knows() -> None:
    assert roles(OpenAIChat(), "system", "developer", "user") == ["system", "system", "user"]
    assert roles(OpenAIChat(system_role="developer"), "system", "user") == ["developer", "user"]


def test_keys_of_messages_that_the_service_refuses_are_left_out() -> None:
    messages = [{"role": "user", "name": "Ann", "content": "Hello"}]
    body = OpenAIChat(drop_from_messages=("name",)).encode(ChatRequest(model="m", messages=messages))
    assert body["messages"] == HELLO
    assert messages[0]["name"] == "Ann"


def weather(city: str, days: int = 1) -> str:
    """Tell the weather
    of a city.

    :param city: its name
    """
    return f"{city} {days}"


def test_tools_are_definitions_or_functions() -> None:
    definition = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
    assert encode(tools=[definition, weather])["tools"] == [
        definition,
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tell the weather of a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
                    "required": ["city"],
                },
            },
        },
    ]


def test_response_formats_pass_and_schemas_are_named() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert encode(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert encode(response_format=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {**schema, "additionalProperties": False, "required": ["a"]},
        },
    }


FORBIDDEN = '{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra"}'
BEHIND_A_GATEWAY = '{"message":"Provider returned error","code":429,"metadata":{"raw":"slow down"}}'
ERROR_BODIES = {
    '{"error":{"message":"bad key","type":"invalid_request_error","code":"bad_key"}}': ("bad key", "bad_key"),
    '{"error":{"message":"busy","type":"overloaded","code":null}}': ("busy", "overloaded"),
    '{"error":{"message":"no credit","code":402}}': ("no credit", "402"),
    '[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]': ("bad", "400"),
    '{"error":"no such model"}': ("no such model", ""),
    '{"error":true,"message":"no","code":"x"}': ("no", "x"),
    '{"error_message":"no"}': ("no", ""),
    '{"errors":[{"message":"a","code":7000},{"message":"b"}]}': ("a; b", ""),
    '{"detail":"Not Found"}': ("Not Found", ""),
    f'{{"detail":[{FORBIDDEN}]}}': ("body.seed: Extra", ""),
    f'{{"object":"error","message":{{"detail":[{FORBIDDEN}]}},"code":null}}': ("body.seed: Extra", ""),
    '{"title":"Unprocessable","status":422,"detail":"body -> n"}': ("body -> n", "422"),
    f'{{"error":{BEHIND_A_GATEWAY}}}': ("Provider returned error (slow down)", "429"),
    "<html><head><title>502 Bad &amp; Gateway</title></head><p>nginx</html>": ("502 Bad & Gateway", ""),
    "<!doctype html><style>p{color:red}</style><p>Not <b>here</b>": ("Not here", ""),
    "upstream connect error\nreset": ("upstream connect error reset", ""),
    "null": ("null", ""),
    "": ("", ""),
    "{}": ("", ""),
    '{"error":{"error":{"error":{"message":"deep"}}}}': ("deep", ""),
}
JSON = st.recursive(
    st.none() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "loc", "code"]), inner)
    ),
)


@pytest.mark.parametrize("body", ERROR_BODIES)
def test_error_bodies_of_every_form_are_read(body: str) -> None:
    assert OpenAIChat().read_error(body.encode()) == ERROR_BODIES[body]


def test_an_error_that_is_not_even_text_is_shown() -> None:
    assert OpenAIChat().read_error(b"\xff\xfe") == ("��", "")


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None, max_examples=150)
def test_reading_an_error_never_fails_and_is_bounded(body: bytes) -> None:
    message, code = OpenAIChat().read_error(body)
    assert len(message) <= 500
    assert len(code) <= 100


def test_a_huge_or_deep_error_is_read_in_bounds() -> None:
    assert len(OpenAIChat().read_error(b"x" * 10_000_000)[0]) == 500
    assert OpenAIChat().read_error(b'{"error":' * 5000)[1] == ""
    assert len(OpenAIChat().read_error(b"[" * 5000)[0]) == 500


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"object":"list","data":[{"id":"a","object":"model"},{"id":"b"}]}', ["a", "b"]),
        (b'{"models":[{"name":"models/a"},{"model":"b"},"c"]}', ["models/a", "b", "c"]),
        (b'[{"id":"a"},{"name":"b"},{"id":"a"},{},5]', ["a", "b"]),
        (b'{"data":[]}', []),
    ],
)
def test_lists_of_models_are_read(body: bytes, names: list[str]) -> None:
    assert OpenAIChat().read_models(body) == names


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"data":{}}', b'"a"', b"\xff", b"[" * 5000])
def test_what_is_no_list_of_models_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match="the list of models is not one"):
        OpenAIChat().read_models(body)
