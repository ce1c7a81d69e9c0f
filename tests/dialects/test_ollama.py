"""The /api/chat wire: answers, written from the service's documents, decoded in every way, and requests encoded."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._framing import NDJSON
from g4ftrio._words.chunks import (
    Chunk,
    FinishReason,
    ProviderMetadata,
    Reasoning,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import (
    APIResponseValidationError,
    APIStatusError,
    MessagesError,
    ProviderError,
    SetupError,
    TruncatedError,
)
from g4ftrio._words.messages import audio, image, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Decoder, Dialect
from g4ftrio.dialects.ollama import Ollama, OllamaDecoder
from g4ftrio.providers import resolve
from g4ftrio.simulator import Service, serve
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained

TAPES = Path(__file__).parent / "tapes" / "ollama"

ANSWERS: dict[str, list[Chunk]] = {
    "text.ndjson": [
        "The sky",
        " is blüe 🌌",
        ".",
        Usage(
            26,
            282,
            details={
                "total_duration": 4.883583458,
                "load_duration": 0.001334875,
                "prompt_eval_duration": 0.342546,
                "eval_duration": 4.535599,
            },
        ),
        FinishReason("stop"),
    ],
    "text_of_2023.ndjson": [
        "The",
        " sky",
        Usage(
            61,
            468,
            details={
                "total_duration": 8.1133315,
                "load_duration": 0.006396458,
                "prompt_eval_duration": 0.398801,
                "eval_duration": 7.701267,
            },
        ),
    ],
    "thinking.ndjson": [
        Reasoning("Ray"),
        Reasoning("leigh."),
        "Scatter",
        "ing.",
        ProviderMetadata("ollama", {"thinking": "Rayleigh."}),
        Usage(None, 4),
        FinishReason("length"),
    ],
    "tools.ndjson": [
        Reasoning("Two cities."),
        ToolCallDelta(0, "call_x8p2k1aa", "weather", '{"city":"Tokyo","days":2}'),
        ToolCallDelta(1, "call_y1m0c7bb", "time", "{}"),
        ToolCalls(
            (
                ToolCall("call_x8p2k1aa", "weather", '{"city":"Tokyo","days":2}'),
                ToolCall("call_y1m0c7bb", "time", "{}"),
            )
        ),
        ProviderMetadata("ollama", {"thinking": "Two cities."}),
        Usage(169, 15, details={"total_duration": 0.182242375}),
        FinishReason("tool_calls"),
    ],
    "tools_without_ids.ndjson": [
        ToolCallDelta(0, "", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "", "weather", '{"city":"Oslo"}'),
        ToolCalls((ToolCall("call_0", "weather", '{"city":"Rome"}'), ToolCall("call_1", "weather", '{"city":"Oslo"}'))),
        Usage(169, 15),
        FinishReason("tool_calls"),
    ],
    "load.json": [FinishReason("load")],
    "whole.json": [
        "Hello! How are you today?",
        Usage(
            26,
            298,
            details={
                "total_duration": 5.191566416,
                "load_duration": 0.002154458,
                "prompt_eval_duration": 0.383809,
                "eval_duration": 4.799921,
            },
        ),
        FinishReason("stop"),
    ],
    "whole_tools.json": [
        Reasoning("I must look."),
        "Looking.",
        ToolCallDelta(0, "call_1", "weather", '{"city":"Tokyo"}'),
        ToolCalls((ToolCall("call_1", "weather", '{"city":"Tokyo"}'),)),
        ProviderMetadata("ollama", {"thinking": "I must look."}),
        Usage(169, 18),
        FinishReason("tool_calls"),
    ],
}

ERRORS: dict[str, tuple[list[Chunk], int | None, str]] = {
    "error_after_text.ndjson": ([" Yes", "."], None, "an error was encountered while running the model"),
    "hosted_error.ndjson": ([], 429, "you have reached your hourly usage limit"),
}

HELLO = [{"role": "user", "content": "Hello"}]
DONE = b'{"done":true,"done_reason":"stop"}'
PNG = b"\x89PNG\r\n\x1a\n"


def frames_of(name: str) -> list[bytes]:
    framer = NDJSON()
    return framer.feed((TAPES / name).read_bytes()) + framer.close()


def decode(*batches: list[bytes]) -> tuple[list[Chunk], OllamaDecoder]:
    return drained(Ollama().decoder(), *batches)


def line(**message: Any) -> bytes:
    return json.dumps({"model": "m", "message": {"role": "assistant", **message}, "done": False}).encode()


def said(*frames: bytes) -> list[Chunk]:
    chunks, decoder = decode([*frames, DONE])
    assert decoder.error is None
    assert chunks.pop() == FinishReason("stop")
    return chunks


def encode(messages: Any = HELLO, /, *, stream: bool = False, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(
        model="m", messages=normalize(messages), stream=stream, params=params, extra_body=extra_body or {}
    )
    body = Ollama().encode(request)
    json.dumps(body)
    return body


def rest(**params: Any) -> Any:
    return {name: value for name, value in encode(**params).items() if name not in {"model", "messages", "stream"}}


# --- answers ---


def test_every_tape_has_its_expected_chunks_here() -> None:
    assert {path.name for path in TAPES.iterdir()} == set(ANSWERS) | set(ERRORS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_gives_exactly_its_chunks_however_its_lines_are_batched(name: str) -> None:
    check_batchings(decode, frames_of(name), ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    kind = "application/json" if name.endswith(".json") else "application/x-ndjson"

    def lines(tape: bytes) -> list[bytes]:
        framer = Ollama().framer(kind)
        return framer.feed(tape) + framer.close()

    check_cuts(decode, lines, (TAPES / name).read_bytes(), ANSWERS[name], never=(Usage,))


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_line_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, status, message = ERRORS[name]
    frames = frames_of(name)
    chunks, decoder = decode(*([frames] if batched else [[frame] for frame in frames]))
    assert chunks == before
    assert isinstance(decoder.error, APIStatusError)
    assert (decoder.error.status, decoder.error.message) == (status, message)
    assert decoder.feed([line(content="more"), DONE]) == []
    assert not decoder.done


def test_an_answer_without_done_is_cut() -> None:
    chunks, decoder = decode([line(content="Hi"), line(tool_calls=[{"function": {"name": "f", "arguments": {}}}])])
    assert chunks == ["Hi", ToolCallDelta(0, "", "f", "{}")]
    assert str(decoder.error) == "the answer was cut off: it ended without a line that says it is done"


def test_nothing_after_the_line_that_is_done_is_read() -> None:
    chunks, decoder = decode([line(content="a"), DONE, line(content="b")], [b"garbage"])
    assert chunks == ["a", FinishReason("stop")]
    assert decoder.error is None


@pytest.mark.parametrize("reason", ["unload", "load", "a word of tomorrow"])
def test_a_reason_that_is_not_known_passes_through(reason: str) -> None:
    assert decode([json.dumps({"done": True, "done_reason": reason}).encode()])[0] == [FinishReason(reason)]


def test_a_line_of_no_known_kind_is_passed_over_and_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "g4ftrio")
    unknown = b'{"status":"loading the model"}'
    assert said(line(content="a"), unknown, unknown, line(content="b")) == ["a", "b"]
    noted = "an answer holds a line that is no message, which was passed over"
    assert caplog.messages == [noted]


def test_arguments_that_are_no_object_are_given_as_they_came() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"a": 1}'}}, {"function": {"name": "g"}}]
    chunks, _ = decode([line(tool_calls=calls), DONE])
    assert chunks[:2] == [ToolCallDelta(0, "", "f", '{"a": 1}'), ToolCallDelta(1, "", "g", "{}")]


@pytest.mark.parametrize(
    "usage",
    [
        {"eval_count": "many", "total_duration": "long", "load_duration": -1, "eval_duration": True},
        {"eval_count": None, "total_duration": {}},
        {"total_duration": 10**400},
    ],
)
def test_usage_that_cannot_be_read_is_left_out(usage: dict[str, Any]) -> None:
    assert decode([json.dumps({"done": True, **usage}).encode()])[0] == []


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff\xfe", "��"),
        (b"null", "null"),
        (b'{"message":{"content":5}}', "content"),
        (b'{"message":{"tool_calls":{}}}', "tool_calls"),
        (b'{"done":"yes"}', "done"),
        (b"[" * 100_000, "[[[[[["),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    chunks, decoder = decode([line(content="a"), frame, line(content="b")])
    assert chunks == ["a"]
    assert isinstance(decoder.error, APIResponseValidationError)
    assert seen in decoder.error.message
    assert len(decoder.error.message) < 400


@pytest.mark.parametrize("frame", [b'{"error":"no"}', b'{"message":"no"}', b'{"detail":"no"}'])
def test_errors_are_read_in_the_forms_that_gateways_send(frame: bytes) -> None:
    _, decoder = decode([line(content="a"), frame])
    assert isinstance(decoder.error, APIStatusError)
    assert decoder.error.message == "no"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(st.dictionaries(st.sampled_from(["id", "function"]), JSON), max_size=2)
MESSAGES = st.fixed_dictionaries(
    {}, optional={"content": JSON, "thinking": st.text(max_size=3) | JSON, "tool_calls": JSON | CALLS}
)
LINES = JSON | st.fixed_dictionaries(
    {},
    optional={
        "message": JSON | MESSAGES,
        "done": st.booleans() | JSON,
        "done_reason": st.text(max_size=3) | JSON,
        "error": JSON,
        "eval_count": JSON,
        "total_duration": JSON,
    },
)
FRAMES = LINES.map(lambda value: json.dumps(value).encode()) | st.binary(min_size=1, max_size=8)


@given(st.lists(FRAMES | st.just(line(content="x")), max_size=6))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


# --- requests ---


def test_it_is_a_dialect() -> None:
    dialect: Dialect = Ollama()
    decoder: Decoder = dialect.decoder()
    path = dialect.path_for(ChatRequest(model="m", messages=[]))
    assert (path, dialect.models_path, decoder.done) == ("/api/chat", "/api/tags", False)
    assert dialect.read_error(b'{"error":"model \'m\' not found"}') == ("model 'm' not found", "")
    assert dialect.read_models(b'{"models":[{"name":"a:1b","model":"a:1b"},{"model":"b"}]}') == ["a:1b", "b"]


def test_a_stream_without_a_content_type_is_one_of_lines() -> None:
    assert Ollama().framer("").feed(b'{"done":true}\n{') == [b'{"done":true}']


@pytest.mark.parametrize("stream", [True, False])
def test_a_bare_request_holds_no_more_than_it_must(stream: bool) -> None:
    assert encode(stream=stream) == {"model": "m", "messages": HELLO, "stream": stream}


def test_settings_go_into_options_under_the_wires_names() -> None:
    settings: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "max_tokens": 9,
        "stop": "END",
        "seed": 0,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
    }
    renamed = {name: value for name, value in settings.items() if name != "max_tokens"}
    assert rest(**settings) == {"options": {**renamed, "num_predict": 9, "stop": ["END"]}}
    assert rest(stop=["a", "b"]) == {"options": {"stop": ["a", "b"]}}


def test_the_extra_body_lies_over_the_body_and_its_options_over_the_options() -> None:
    extra = {"keep_alive": "10m", "options": {"num_ctx": 8192, "seed": None}, "model": None}
    body = encode(seed=1, top_k=3, extra_body=extra)
    assert body == {
        "messages": HELLO,
        "stream": False,
        "options": {"top_k": 3, "num_ctx": 8192},
        "keep_alive": "10m",
    }
    assert rest(seed=1, extra_body={"options": None}) == {}


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        (True, True),
        (False, False),
    ],
)
def test_the_effort_of_reasoning_is_whether_and_how_much_to_think(effort: Any, think: Any) -> None:
    assert rest(reasoning_effort=effort) == {"think": think}


class Weather(msgspec.Struct):
    """An answer."""

    degrees: int


SCHEMA = {"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]}


def test_every_form_of_a_response_format_is_a_format() -> None:
    assert rest(response_format={"type": "text"}) == {}
    assert rest(response_format={"type": "json_object"}) == {"format": "json"}
    named = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}
    assert rest(response_format=named) == {"format": SCHEMA}
    assert rest(response_format=SCHEMA)["format"]["properties"] == SCHEMA["properties"]
    assert rest(response_format=Weather)["format"]["properties"] == SCHEMA["properties"]


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def test_tools_are_definitions_or_functions() -> None:
    bare = {"type": "function", "function": {"name": "time", "strict": True}}
    tools = rest(tools=[weather, bare], tool_choice="auto", parallel_tool_calls=True)["tools"]
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert [tool["function"] for tool in tools] == [
        {"name": "weather", "description": "Tell the weather.", "parameters": parameters},
        {"name": "time", "description": "", "parameters": {"type": "object", "properties": {}}},
    ]
    assert {tool["type"] for tool in tools} == {"function"}
    assert rest(tools=[weather], tool_choice="none") == {}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"tool_choice": "required", "tools": [weather]}, "choose by themselves whether to call a tool"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "leave tool_choice out"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls=False"),
        ({"user": "u", "modalities": ["text"]}, "this service takes no 'user', 'modalities'"),
        ({"tools": [{"type": "web_search"}]}, "extra_body"),
    ],
)
def test_what_the_wire_has_no_form_for_is_refused_before_anything_is_sent(params: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        encode(**params)


def test_a_conversation_of_others_is_not_sent() -> None:
    assert rest(conversation={"id": 1}) == {}


TURNS: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "text", "text": "Quick."}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
            {"id": "b", "type": "function", "function": {"name": "time", "arguments": ""}},
        ],
        "provider_metadata": {"ollama": {"thinking": "Look it up."}, "another": [1]},
    },
    {"role": "tool", "tool_call_id": "a", "content": "22°C"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
    {"role": "assistant", "content": "Warm.", "provider_metadata": {"another": [1]}},
    {"role": "user", "content": "Thanks."},
]


def test_a_whole_history_is_translated() -> None:
    call = {"name": "weather", "arguments": {"city": "Rome"}}
    assert encode(TURNS)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?\nQuick."},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Look it up.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"index": 0, **call}},
                {"id": "b", "type": "function", "function": {"index": 1, "name": "time", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "22°C", "tool_call_id": "a", "tool_name": "weather"},
        {"role": "tool", "content": "noon", "tool_call_id": "b", "tool_name": "time"},
        {"role": "assistant", "content": "Warm."},
        {"role": "user", "content": "Thanks."},
    ]


def test_results_without_a_call_are_named_as_they_name_themselves() -> None:
    results = [{"role": "function", "name": "weather", "content": "22"}, {"role": "tool", "content": "1"}]
    assert encode([*HELLO, *results])["messages"][1:] == [
        {"role": "tool", "content": "22", "tool_name": "weather"},
        {"role": "tool", "content": "1"},
    ]


def test_thoughts_and_refusals_among_the_parts_of_a_message_are_told() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "refusal", "refusal": "No."}]
    turns = [*HELLO, {"role": "assistant", "content": parts}, {"role": "assistant", "content": None, "refusal": "No!"}]
    assert encode(turns)["messages"][1:] == [
        {"role": "assistant", "content": "No.", "thinking": "Hm."},
        {"role": "assistant", "content": "No!"},
    ]


def test_images_and_sounds_are_bare_base64() -> None:
    parts = [{"type": "text", "text": "What?"}, image(PNG), audio(b"ab", format="wav")]
    assert encode([{"role": "user", "content": parts}])["messages"] == [
        {"role": "user", "content": "What?", "images": ["iVBORw0KGgo=", "YWI="]}
    ]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            {"role": "user", "content": [image("https://a/b.png")]},
            r"no link to an image: pass its bytes, image\(path\)",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "no part of the type 'file'"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "no 'audio' in a message"),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
            "no JSON object",
        ),
    ],
)
def test_messages_that_the_wire_has_no_form_for_are_refused(message: dict[str, Any], said: str) -> None:
    with pytest.raises(MessagesError, match=said):
        encode([message, *HELLO])


# --- both sides together ---


@pytest.mark.anyio
async def test_a_round_trip_with_a_tool_against_the_other_side_of_the_wire() -> None:
    async with serve([Service("m", dialect="ollama", reasoning=2)]) as fleet:
        provider = resolve(fleet["m"].spec)
        assert await provider.list_models() == ["m"]
        asked = [{"role": "user", "content": "Call weather for Paris"}]
        called = await provider.complete(asked, tools=[weather])
        assert called.finish_reason == "tool_calls"
        assert called.tool_calls == (ToolCall("call_weather", "weather", '{"city":"Paris"}'),)
        assert called.usage is not None
        assert called.usage.details is not None
        assert called.usage.details["eval_duration"] > 0
        result = {"role": "tool", "tool_call_id": "call_weather", "content": "warm"}
        answer = await provider.complete([*asked, called.message, result], tools=[weather])
        assert answer.text == "The tool says: warm"
        sent = fleet["m"].log[-1].body["messages"]
        assert sent[1]["thinking"] == called.reasoning
        assert sent[2]["tool_name"] == "weather"


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False])
async def test_settings_and_schemas_arrive_at_the_other_side(stream: bool) -> None:
    async with serve([Service("m", dialect="ollama", tokens=9)]) as fleet:
        provider = resolve(fleet["m"].spec)
        short = await provider.complete("Tell of rain", stream=stream, max_tokens=3, reasoning_effort="none")
        assert (len(short.text.split()), short.finish_reason) == (3, "length")
        parsed = await provider.complete("Tell of rain", stream=stream, response_format=Weather)
        assert isinstance(parsed.parsed, Weather)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("truncated", TruncatedError),
        ("no_done", TruncatedError),
        ("error_in_stream", APIStatusError),
        ("unauthorized", APIStatusError),
        ("bad_json", ProviderError),
        ("html", APIResponseValidationError),
    ],
)
async def test_faults_of_the_other_side_are_typed_errors(fault: str, error: type[ProviderError]) -> None:
    async with serve([Service("m", dialect="ollama", fault=fault)]) as fleet:
        with pytest.raises(error):
            await resolve(fleet["m"].spec).complete("Hello?")
