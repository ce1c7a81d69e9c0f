"""Requests of the Messages wire, whole rounds with tools and thoughts, and the lists of models that come back."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from g4ftrio._words.chunks import Chunk
from g4ftrio._words.completion import Completion
from g4ftrio._words.errors import APIResponseValidationError, MessagesError, SetupError, status_error
from g4ftrio._words.messages import audio, file, image, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.anthropic import Anthropic
from g4ftrio.dialects.openai_chat import OpenAIChat

TAPES = Path(__file__).parent / "tapes" / "anthropic"
HELLO = [{"role": "user", "content": "Hello"}]
EPHEMERAL = {"type": "ephemeral"}
PNG = b"\x89PNG\r\n\x1a\n"


def encode(dialect: Anthropic | None = None, /, *, extra_body: Any = None, stream: bool = False, **params: Any) -> Any:
    """What a request holds beside the model and what the wire always wants."""
    request = ChatRequest(model="m", messages=HELLO, stream=stream, params=params, extra_body=extra_body or {})
    body = (dialect or Anthropic()).encode(request)
    json.dumps(body)
    return {name: value for name, value in body.items() if name not in {"model", "messages", "stream", "max_tokens"}}


def body_of(*messages: dict[str, Any]) -> dict[str, Any]:
    return Anthropic().encode(ChatRequest(model="m", messages=normalize(messages)))


def turns(*messages: dict[str, Any]) -> Any:
    return body_of(*messages)["messages"]


def block(part: dict[str, Any]) -> Any:
    """What one part of a user's message becomes."""
    [turn] = turns({"role": "user", "content": [part]})
    [written] = turn["content"]
    return written


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def inline(mime: str, data: bytes, **named: str) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": f"data:{mime};base64,{b64encode(data).decode()}", **named}}


def test_it_is_a_dialect() -> None:
    dialect: Dialect = Anthropic()
    path = dialect.path_for(ChatRequest(model="m", messages=[]))
    assert (path, dialect.models_path) == ("/v1/messages", "/v1/models")


def test_a_bare_request_holds_no_more_than_it_must() -> None:
    streamed = Anthropic().encode(ChatRequest(model="m", messages=HELLO))
    whole = Anthropic(max_tokens=9).encode(ChatRequest(model="m", messages=HELLO, stream=False))
    assert streamed == {"model": "m", "max_tokens": 4096, "messages": HELLO, "stream": True}
    assert whole == {"model": "m", "max_tokens": 9, "messages": HELLO, "stream": False}


def test_parameters_take_the_names_of_the_wire() -> None:
    params: dict[str, Any] = {"temperature": 0.0, "top_p": 0.5, "top_k": 3, "stop": "end", "user": "u"}
    assert encode(**params) == {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "stop_sequences": ["end"],
        "metadata": {"user_id": "u"},
    }
    assert encode(stop=("a", "b"), conversation={"id": 1}) == {"stop_sequences": ["a", "b"]}
    request = ChatRequest(model="m", messages=HELLO, params={"max_tokens": 7})
    assert Anthropic().encode(request)["max_tokens"] == 7


@pytest.mark.parametrize("temperature", [1.5, -0.1, "hot"])
def test_a_temperature_out_of_the_range_is_refused(temperature: Any) -> None:
    with pytest.raises(SetupError, match=f"takes a temperature from 0 to 1, not {temperature!r}"):
        encode(temperature=temperature)


def test_what_the_wire_has_no_form_for_is_refused_by_name_or_dropped_where_that_is_declared() -> None:
    with pytest.raises(SetupError, match=r"takes no 'seed', 'frequency_penalty': .* extra_body"):
        encode(seed=1, frequency_penalty=0.5, top_k=1)
    assert encode(Anthropic(drop=("seed", "temperature")), seed=1, temperature=2) == {}


def test_the_extra_body_lies_over_everything_and_takes_out_by_none() -> None:
    extra = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "output_config": None, "service_tier": "auto"}
    assert encode(reasoning_effort="low", extra_body=extra) == {
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "service_tier": "auto",
    }


def test_effort_is_adaptive_thinking_or_a_budget_where_that_is_declared() -> None:
    adaptive = {"type": "adaptive"}
    assert encode(reasoning_effort="xhigh") == {"thinking": adaptive, "output_config": {"effort": "xhigh"}}
    assert encode(reasoning_effort="minimal") == {"thinking": adaptive, "output_config": {"effort": "low"}}
    assert encode(reasoning_effort="none") == {"thinking": {"type": "disabled"}}

    dialect = Anthropic(thinking_budgets={"high": 9000})
    request = ChatRequest(model="m", messages=HELLO, params={"reasoning_effort": "high"})
    body = dialect.encode(request)
    assert (body["thinking"], body["max_tokens"]) == ({"type": "enabled", "budget_tokens": 9000}, 13096)
    request.params["max_tokens"] = 10000
    assert dialect.encode(request)["max_tokens"] == 10000


class Sky(Struct):
    colour: str
    waves: Annotated[int, Meta(ge=1)]
    minimum: Annotated[list[str], Meta(min_length=2, max_length=3)]


def test_an_answer_is_kept_to_a_schema_without_the_limits_that_the_service_refuses() -> None:
    schema = {
        "title": "Sky",
        "type": "object",
        "properties": {
            "colour": {"type": "string"},
            "waves": {"type": "integer"},
            "minimum": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["colour", "waves", "minimum"],
        "additionalProperties": False,
    }
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    assert encode(response_format=Sky) == {"output_config": wanted}
    assert encode(response_format=Sky, reasoning_effort="low")["output_config"] == {**wanted, "effort": "low"}
    assert encode(response_format={"type": "text"}) == {}


def test_a_schema_of_the_callers_keeps_its_values() -> None:
    given = {"enum": [{"maximum": 1}, "minLength"], "minItems": 1, "anyOf": [{"const": 1, "maximum": 2}]}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": given}}
    schema = encode(response_format=asked)["output_config"]["format"]["schema"]
    assert schema == {"enum": [{"maximum": 1}, "minLength"], "minItems": 1, "anyOf": [{"const": 1}]}


def test_json_of_no_form_is_refused() -> None:
    with pytest.raises(SetupError, match="to a schema only, and response_format names none: pass a JSON schema"):
        encode(response_format={"type": "json_object"})


def weather(city: str, days: Annotated[int, Meta(ge=1)] = 1) -> str:
    """Tell the weather."""
    return f"{city} {days}"


def test_tools_are_definitions_or_functions() -> None:
    bare = {"type": "function", "function": {"name": "time", "strict": False}}
    parameters = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    strict = {
        "type": "function",
        "function": {"name": "strict", "description": "So.", "parameters": parameters, "strict": True},
        "cache_control": EPHEMERAL,
    }
    assert encode(tools=[bare, strict, weather]) == {
        "tools": [
            {"name": "time", "input_schema": {"type": "object"}},
            {
                "name": "strict",
                "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
                "description": "So.",
                "strict": True,
                "cache_control": EPHEMERAL,
            },
            {
                "name": "weather",
                "input_schema": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "days": {"type": "integer", "minimum": 1, "default": 1},
                    },
                    "required": ["city"],
                },
                "description": "Tell the weather.",
            },
        ]
    }
    assert encode(tools=[]) == {}


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({}, None),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_the_choice_of_tools_is_translated(params: dict[str, Any], choice: Any) -> None:
    assert encode(tools=[weather], **params).get("tool_choice") == choice


def test_calls_one_by_one_are_not_asked_for_where_there_is_nothing_to_call() -> None:
    assert encode(parallel_tool_calls=False) == {}


def test_system_messages_stand_apart_as_text_or_as_blocks_where_one_is_to_be_cached() -> None:
    plain = body_of({"role": "system", "content": "Be brief."}, *HELLO, {"role": "developer", "content": "Be kind."})
    assert (plain["system"], plain["messages"]) == ("Be brief.\n\nBe kind.", HELLO)

    part = {"type": "text", "text": "A long book.", "cache_control": EPHEMERAL}
    cached = body_of({"role": "system", "content": "Be brief."}, {"role": "system", "content": [part]}, *HELLO)
    assert cached["system"] == [{"type": "text", "text": "Be brief."}, part]
    whole = body_of({"role": "system", "content": "Be brief.", "cache_control": EPHEMERAL}, *HELLO)
    assert whole["system"] == [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}]
    with pytest.raises(MessagesError, match="takes no image in a system message: put it into the user's"):
        body_of({"role": "system", "content": [image("https://a/b.png")]}, *HELLO)


def test_messages_of_one_side_are_one_turn_and_empty_ones_are_none() -> None:
    part = {"type": "text", "text": "How?", "cache_control": EPHEMERAL}
    assert turns(
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": [part, {"type": "text", "text": " \n"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Well?", "cache_control": EPHEMERAL},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Please."},
        {"role": "assistant", "content": "It is ("},
    ) == [
        {"role": "assistant", "content": "Welcome."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                part,
                {"type": "text", "text": "Well?", "cache_control": EPHEMERAL},
            ],
        },
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Please."},
        {"role": "assistant", "content": "It is ("},
    ]


def test_a_conversation_without_a_turn_is_refused() -> None:
    with pytest.raises(MessagesError, match="needs a message beside the system's"):
        body_of({"role": "system", "content": "Be brief."})


def test_results_of_tools_come_first_in_one_turn_and_ids_are_what_the_service_takes() -> None:
    parts = [{"type": "text", "text": "9", "cache_control": EPHEMERAL}, image(PNG)]
    ids = ("functions.weather:0", "c2", "c3")
    calls = [call("weather", '{"city":"Rome"}', ids[0]), call("time", "", ids[1]), call("time", "{}", ids[2])]
    assert turns(
        *HELLO,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "user", "content": "Quick!"},
        {"role": "tool", "tool_call_id": ids[0], "content": "21"},
        {"role": "tool", "tool_call_id": ids[1], "content": parts, "cache_control": EPHEMERAL},
        {"role": "tool", "tool_call_id": ids[2], "content": ""},
    )[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "functions_weather_0", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "c2", "name": "time", "input": {}},
                {"type": "tool_use", "id": "c3", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "functions_weather_0", "content": "21"},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": [
                        parts[0],
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": b64encode(PNG).decode(),
                            },
                        },
                    ],
                    "cache_control": EPHEMERAL,
                },
                {"type": "tool_result", "tool_use_id": "c3"},
                {"type": "text", "text": "Quick!"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (image("https://a/b.png"), {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
        (
            {"type": "image_url", "image_url": "data:image/jpg;base64,eA==", "cache_control": EPHEMERAL},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": "eA=="},
                "cache_control": EPHEMERAL,
            },
        ),
        (
            file(b"%PDF-1.7", filename="a.pdf"),
            {
                "type": "document",
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": b64encode(b"%PDF-1.7").decode(),
                },
                "title": "a.pdf",
            },
        ),
        (
            inline("text/csv", "a,b\né".encode()),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b\né"}},
        ),
        (
            inline("image/webp", b"x", filename="a.webp"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "eA=="}},
        ),
        (
            {"type": "file", "file": {"file_id": "file_1"}},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            {"type": "file", "file": {"file_data": "https://a/b.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
        ),
    ],
)
def test_images_and_files_are_blocks(part: dict[str, Any], written: dict[str, Any]) -> None:
    assert block(part) == written


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "content": [audio(b"RIFF0000WAVE")]}, "takes no audio: give it as text"),
        ({"role": "user", "content": [{"type": "video_url", "video_url": "https://a"}]}, "no 'video_url' in a message"),
        (
            {"role": "user", "content": [image("data:image/bmp;base64,eA==")]},
            "no image of the type image/bmp: give it as PNG",
        ),
        (
            {"role": "user", "content": [inline("application/zip", b"PK\x03\xff")]},
            "no file of the type application/zip: give it as PDF",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "neither file_data nor file_id"),
        ({"role": "user", "content": [image("data:image/png;base64,A")]}, "a data: URL that cannot be sent"),
        ({"role": "tool", "content": "21"}, "has no tool_call_id"),
        ({"role": "function", "name": "f", "content": "21"}, "no messages of the role 'function': write the results"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "no 'function_call' in an assistant's message"),
        ({"role": "assistant", "audio": {"id": "a"}}, "no 'audio' in an assistant's message"),
        ({"role": "assistant", "tool_calls": [call("f", "{")]}, "are no JSON object"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, r"tool_calls\[0\] of a message names no function"),
    ],
)
def test_what_the_wire_has_no_form_for_is_refused_before_anything_is_sent(message: dict[str, Any], said: str) -> None:
    with pytest.raises(MessagesError, match=said):
        turns(*HELLO, message)


def answer(name: str) -> Completion:
    """Read a tape as the stream's reader gathers it."""
    dialect = Anthropic()
    framer, decoder = dialect.framer(""), dialect.decoder()
    frames = framer.feed((TAPES / name).read_bytes()) + framer.close()
    chunks: list[Chunk] = decoder.feed(frames) + decoder.close()
    calls = next((chunk.calls for chunk in chunks if hasattr(chunk, "calls")), ())
    text = "".join(chunk for chunk in chunks if isinstance(chunk, str))
    others = tuple(chunk for chunk in chunks if not isinstance(chunk, str))
    return Completion(text=text, provider="p", model="m", tool_calls=calls, others=others)


def test_a_round_with_tools_and_signed_thoughts_goes_back_as_it_was_written() -> None:
    message = answer("thinking.sse").message
    assert message["tool_calls"][0]["function"]["name"] == "weather"

    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "21 degrees"}
    assert turns(*HELLO, message, result) == [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Rome it is.", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"},
                {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"},
                {
                    "type": "tool_use",
                    "id": "toolu_01",
                    "name": "weather",
                    "input": {"city": "Rome"},
                    "caller": {"type": "direct"},
                },
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "21 degrees"}]},
    ]


@pytest.mark.parametrize("name", ["tools.sse", "whole_tools.json", "web_search.sse", "thinking_omitted.sse"])
def test_every_answer_can_go_back(name: str) -> None:
    completion = answer(name)
    results = [{"role": "tool", "tool_call_id": call.id, "content": "1"} for call in completion.tool_calls]
    _, wrote, *answered = turns(*HELLO, completion.message, *results)
    kinds = [block["type"] for block in wrote["content"]]
    assert kinds.count("tool_use") == len(completion.tool_calls)
    assert [block["tool_use_id"] for turn in answered for block in turn["content"]] == [
        call.id for call in completion.tool_calls
    ]


def test_what_another_wire_wrote_stays_at_home_and_so_does_what_this_one_wrote() -> None:
    foreign = {"role": "assistant", "content": "Blue.", "provider_metadata": {"other": [{"type": "x"}]}}
    assert turns(*HELLO, foreign)[1] == {"role": "assistant", "content": "Blue."}

    message = answer("thinking.sse").message
    [sent] = OpenAIChat().encode(ChatRequest(model="m", messages=[message]))["messages"]
    assert set(sent) == {"role", "content", "tool_calls"}


@pytest.mark.parametrize("kept", [[], "text", [5], None, {"type": "text"}])
def test_what_was_kept_and_is_no_turn_is_not_sent(kept: Any) -> None:
    message = {"role": "assistant", "content": "Blue.", "provider_metadata": {"anthropic": kept}}
    assert turns(*HELLO, message)[1] == {"role": "assistant", "content": "Blue."}


def test_of_a_turn_that_goes_back_blank_text_is_left_out_and_ids_are_written_as_in_the_results() -> None:
    thought = {"type": "thinking", "thinking": "", "signature": "E"}
    used = {"type": "tool_use", "id": "f:0", "name": "f", "input": {}}
    kept = [thought, {"type": "text", "text": "\n\n"}, used]
    message = {"role": "assistant", "content": "\n\n", "provider_metadata": {"anthropic": kept}}
    assert turns(*HELLO, message)[1]["content"] == [thought, {**used, "id": "f_0"}]
    assert used["id"] == "f:0"


def test_thoughts_in_the_history_are_sent_only_if_they_are_signed() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "E"}
    parts = [thought, {"type": "thinking", "thinking": "No."}, {"type": "text", "text": "Blue."}]
    assert turns(*HELLO, {"role": "assistant", "content": parts})[1]["content"] == [
        thought,
        {"type": "text", "text": "Blue."},
    ]


def test_an_error_body_is_read_and_overload_is_the_services_failure() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'
    message, code = Anthropic().read_error(body)
    assert (message, code) == ("Overloaded", "overloaded_error")
    assert str(status_error(529, message)) == "the service failed (status 529): Overloaded"


def test_lists_of_models_are_read() -> None:
    body = b'{"data":[{"type":"model","id":"a","display_name":"A"},{"id":"b"}],"has_more":false,"first_id":"a"}'
    assert Anthropic().read_models(body) == ["a", "b"]
    with pytest.raises(APIResponseValidationError, match="the list of models is not one"):
        Anthropic().read_models(b"<html>")
