"""Requests as they go over the Responses wire."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from g4ftrio._words.chunks import Conversation
from g4ftrio._words.errors import APIResponseValidationError, MessagesError, SetupError
from g4ftrio._words.messages import audio, file, image, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_responses import OpenAIResponses

HELLO = [{"role": "user", "content": "Hello"}]
PNG = b"\x89PNG\r\n\x1a\n"


def encode(dialect: OpenAIResponses | None = None, /, *, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(model="m", messages=HELLO, stream=False, params=params, extra_body=extra_body or {})
    body = (dialect or OpenAIResponses()).encode(request)
    json.dumps(body)
    return {name: value for name, value in body.items() if name not in {"model", "input", "stream"}}


def input_of(*messages: dict[str, Any], dialect: OpenAIResponses | None = None) -> Any:
    body = (dialect or OpenAIResponses()).encode(ChatRequest(model="m", messages=normalize(messages)))
    json.dumps(body)
    return body["input"]


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def content_of(*parts: dict[str, Any], dialect: OpenAIResponses | None = None) -> Any:
    [item] = input_of(user(*parts), dialect=dialect)
    return item["content"]


def test_it_is_a_dialect() -> None:
    dialect: Dialect = OpenAIResponses()
    path = dialect.path_for(ChatRequest(model="m", messages=[]))
    assert (path, dialect.models_path) == ("/responses", "/models")
    assert dialect.read_error(b'{"error":{"message":"no","code":"bad"}}') == ("no", "bad")
    assert dialect.read_models(b'{"data":[{"id":"a"}]}') == ["a"]
    with pytest.raises(APIResponseValidationError):
        dialect.read_models(b"{}")


def test_a_bare_request_holds_no_more_than_it_must() -> None:
    assert OpenAIResponses().encode(ChatRequest(model="m", messages=HELLO)) == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_parameters_are_called_as_the_wire_calls_them() -> None:
    params = {"temperature": 0.0, "top_p": 0.5, "parallel_tool_calls": False, "user": "u"}
    assert encode(**params) == params
    assert encode(max_tokens=9, reasoning_effort="low") == {"max_output_tokens": 9, "reasoning": {"effort": "low"}}


def test_what_the_wire_has_no_form_for_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"takes no 'stop', 'seed', 'frequency_penalty': .* extra_body"):
        encode(stop=["a"], seed=1, frequency_penalty=0.5, temperature=1)
    for name in ("top_k", "presence_penalty", "modalities", "audio"):
        with pytest.raises(SetupError, match=name):
            encode(**{name: 1})


def test_fields_of_the_dialect_are_sent_where_they_are_set() -> None:
    dialect = OpenAIResponses(store=False, include=("reasoning.encrypted_content",), reasoning_summary="auto")
    assert encode(dialect) == {
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
    }
    assert encode(dialect, reasoning_effort="high")["reasoning"] == {"effort": "high", "summary": "auto"}


def test_the_extra_body_lies_over_everything_and_takes_out_by_none() -> None:
    extra = {"temperature": 2, "store": None, "truncation": "auto"}
    assert encode(OpenAIResponses(store=True), temperature=1, extra_body=extra) == {
        "temperature": 2,
        "truncation": "auto",
    }


def test_a_conversation_goes_on_after_the_answer_that_gave_it() -> None:
    state = {"response_id": "resp_1"}
    expected = {"previous_response_id": "resp_1"}
    assert encode(conversation=Conversation("openai-responses", state)) == encode(conversation=state) == expected


@pytest.mark.parametrize("wrong", [{"id": 1}, {"response_id": ""}, {"response_id": 5}, "resp_1", Conversation("x", {})])
def test_what_is_no_conversation_of_this_wire_is_refused(wrong: Any) -> None:
    with pytest.raises(SetupError, match="conversation="):
        encode(conversation=wrong)


# Tools and formats


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def test_tools_take_the_flat_shape_and_are_as_strict_as_on_the_chat_wire() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    strict = {"type": "function", "function": {"name": "time", "strict": True, "parameters": schema}}
    bare = {"type": "function", "function": {"name": "ping"}}
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert encode(tools=[strict, bare, weather])["tools"] == [
        {"type": "function", "name": "time", "parameters": schema, "strict": True},
        {"type": "function", "name": "ping", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {
            "type": "function",
            "name": "weather",
            "description": "Tell the weather.",
            "parameters": city,
            "strict": False,
        },
    ]


def test_tools_in_the_wires_own_shape_pass() -> None:
    own = [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}]
    assert encode(tools=own, tool_choice={"type": "web_search"}) == {
        "tools": own,
        "tool_choice": {"type": "web_search"},
    }


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_a_choice_of_tools_passes(mode: str) -> None:
    assert encode(tool_choice=mode) == {"tool_choice": mode}


def test_a_chosen_tool_is_named_flatly() -> None:
    flat = {"type": "function", "name": "f"}
    assert encode(tool_choice={"type": "function", "function": {"name": "f"}}) == {"tool_choice": flat}
    assert encode(tool_choice=flat) == {"tool_choice": flat}


@pytest.mark.parametrize("wrong", ["always", {"type": "function"}, {}, 5])
def test_what_is_no_choice_of_tools_is_refused(wrong: Any) -> None:
    with pytest.raises(SetupError, match="tool_choice must be"):
        encode(tool_choice=wrong)


class Sky(msgspec.Struct):
    colour: str


CLOSED = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}


def format_of(given: Any) -> Any:
    return encode(response_format=given)["text"]["format"]


def test_response_formats_of_every_form_lie_flat_in_text() -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}}
    flat = {"type": "json_schema", "name": "sky", "schema": schema, "strict": True}
    nested = {"type": "json_schema", "json_schema": {"name": "sky", "schema": schema, "strict": True}}
    assert format_of(nested) == format_of(flat) == flat
    assert format_of({"type": "json_schema", "json_schema": {"schema": schema}})["name"] == "answer"
    assert format_of(schema) == {"type": "json_schema", "name": "answer", "schema": CLOSED, "strict": True}
    assert format_of(Sky) == {"type": "json_schema", "name": "Sky", "strict": True, "schema": {"title": "Sky"} | CLOSED}
    for plain in ({"type": "json_object"}, {"type": "text"}):
        assert format_of(plain) == plain


# Messages


def test_system_messages_are_items_or_instructions() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        *HELLO,
    ]
    assert input_of(*messages)[:2] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
    ]
    body = OpenAIResponses(system_as="instructions").encode(ChatRequest(model="m", messages=messages))
    assert body["instructions"] == "Be brief.\n\nBe kind."
    assert body["input"] == [{"type": "message", "role": "user", "content": "Hello"}]


def test_pictures_and_files_are_parts_of_the_input() -> None:
    parts = content_of(
        {"type": "text", "text": "What?"},
        image("https://a/b.png", detail="low"),
        image(PNG),
        {"type": "image_url", "image_url": "https://c"},
        file(b"%PDF-1", filename="a.pdf"),
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "file", "file": {"file_data": "https://d/e.pdf"}},
    )
    assert parts == [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_image", "image_url": "https://c", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0x"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_file", "file_url": "https://d/e.pdf"},
    ]


def test_sound_is_sent_only_where_the_service_reads_it() -> None:
    sound = audio(b"ID3", format="mp3")
    assert content_of(sound, dialect=OpenAIResponses(takes_sound=True)) == [sound]
    with pytest.raises(MessagesError, match="takes no sound: write down what is said"):
        content_of(sound)


def called(name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_tool_round_trip_is_items_of_their_own() -> None:
    turn = {"role": "assistant", "content": "Looking.", "tool_calls": [called("weather", '{"city":"Rome"}')]}
    silent = {"role": "assistant", "content": None, "tool_calls": [called("time", "")]}
    shown = [{"type": "text", "text": "Sunny."}, image("https://a")]
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "call_weather", "name": "weather", "content": shown},
        {"role": "tool", "tool_call_id": "call_time", "content": "noon"},
    ]
    assert input_of(turn, silent, *results) == [
        {"type": "message", "role": "assistant", "content": "Looking."},
        {"type": "function_call", "call_id": "call_weather", "name": "weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call", "call_id": "call_time", "name": "time", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "call_weather",
            "output": [
                {"type": "input_text", "text": "Sunny."},
                {"type": "input_image", "image_url": "https://a", "detail": "auto"},
            ],
        },
        {"type": "function_call_output", "call_id": "call_time", "output": "noon"},
    ]


def test_refusals_are_said_as_such_and_thinking_is_not() -> None:
    refused = {"type": "refusal", "refusal": "No."}
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Sorry."}, refused]
    spoken = [{"type": "output_text", "text": "Sorry."}, refused]
    assert input_of({"role": "assistant", "content": parts}) == [
        {"type": "message", "role": "assistant", "content": spoken}
    ]
    assert input_of({"role": "assistant", "content": None, "refusal": "No."}) == [
        {"type": "message", "role": "assistant", "content": [refused]}
    ]


def test_a_turn_goes_back_as_this_service_wrote_it_and_not_as_another_did() -> None:
    items = [{"type": "reasoning", "id": "rs", "encrypted_content": "x", "summary": []}, {"type": "message", "id": "m"}]
    ours = {"role": "assistant", "content": "Hi", "provider_metadata": {"openai-responses": items, "other": 1}}
    theirs = {"role": "assistant", "content": "Hi", "provider_metadata": {"other": 1}}
    assert input_of(ours) == items
    assert input_of(theirs) == [{"type": "message", "role": "assistant", "content": "Hi"}]


def test_an_empty_answer_is_still_a_turn() -> None:
    assert input_of({"role": "assistant", "content": ""}) == [{"type": "message", "role": "assistant", "content": ""}]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (user({"type": "video_url", "video_url": "https://a"}), "part of the type 'video_url'"),
        ({"role": "user", "content": "Hi", "name": "Ann"}, "names of who said a message: put them into the text"),
        ({"role": "function", "content": "1"}, "role 'function'"),
        ({"role": "assistant", "content": [image("https://a")]}, "'image_url' in an assistant's message"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "'audio' in an assistant's message"),
        ({"role": "tool", "content": "1"}, "no tool_call_id"),
        ({"role": "tool", "tool_call_id": "a", "content": [audio(b"ID3")]}, "no sound"),
        (user(image("data:image/png;base64,A")), "data: URL"),
    ],
)
def test_messages_that_the_wire_has_no_form_for_are_refused_in_words(message: dict[str, Any], words: str) -> None:
    with pytest.raises(MessagesError, match=words):
        input_of(message)
