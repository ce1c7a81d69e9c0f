"""The Realtime wire: answers, written from the service's documents, decoded in every way, and what is said to it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    FinishReason,
    Reasoning,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import (
    APIResponseValidationError,
    BadRequestError,
    MessagesError,
    ProviderError,
    RateLimitError,
    SetupError,
    TruncatedError,
)
from g4ftrio._words.messages import audio, image, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialogue, SocketDialect
from g4ftrio.dialects.openai_realtime import OpenAIRealtime, RealtimeDialogue
from g4ftrio.simulator._openai_realtime import OpenAIRealtime as OtherSide
from g4ftrio.simulator._socket_wire import Session, SocketWire
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained

TAPES = Path(__file__).parent / "tapes" / "openai_realtime"

CALLS = ToolCalls((ToolCall("call_a1", "weather", '{"city":"Rome"}'), ToolCall("call_b2", "time", "{}")))

ANSWERS: dict[str, list[Chunk]] = {
    "text.jsonl": ["The sky", " is blüe 🌌", ".", Usage(24, 73, 4), FinishReason("stop")],
    "text_of_the_beta.jsonl": ["Blue", " light", Usage(11, 2), FinishReason("length")],
    "sound.jsonl": [
        AudioResponse(format="pcm16", transcript="Hel"),
        AudioResponse(b"\x00\x01\x02", "pcm16"),
        AudioResponse(format="pcm16", transcript="lo"),
        FinishReason("stop"),
    ],
    "sound_of_the_beta.jsonl": [
        AudioResponse(format="pcm16", transcript="Hello"),
        AudioResponse(b"\x00\x01\x02", "pcm16"),
        FinishReason("stop"),
    ],
    "tools.jsonl": [
        ToolCallDelta(0, "call_a1", "weather"),
        ToolCallDelta(0, "call_a1", "", '{"city":'),
        ToolCallDelta(0, "call_a1", "", '"Rome"}'),
        ToolCallDelta(1, "call_b2", "time"),
        ToolCallDelta(1, "call_b2", "", "{}"),
        CALLS,
        Usage(24, 73, 4),
        FinishReason("tool_calls"),
    ],
    "tools_whole.jsonl": [
        ToolCallDelta(0, "call_a1", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "call_b2", "time", "{}"),
        CALLS,
        FinishReason("tool_calls"),
    ],
    "told_at_the_end.jsonl": [
        "The sky is blüe 🌌.",
        ToolCallDelta(0, "call_b2", "time", "{}"),
        ToolCalls((ToolCall("call_b2", "time", "{}"),)),
        Usage(24, 73, 4),
        FinishReason("tool_calls"),
    ],
    "content_filter.jsonl": ["Bl", FinishReason("content_filter")],
}

ERRORS: dict[str, tuple[list[Chunk], type[ProviderError], str]] = {
    "error.jsonl": ([], BadRequestError, "Unknown parameter: 'session.temperature'."),
    "failed.jsonl": (["Once"], RateLimitError, "Rate limit reached."),
    "cancelled.jsonl": (["Once", Usage(24, 73, 4)], TruncatedError, "the service cancelled it (turn_detected)"),
}

HELLO = [{"role": "user", "content": "Hello"}]
DONE = b'{"type":"response.done","response":{"status":"completed"}}'
PNG = b"\x89PNG\r\n\x1a\n"


def frames_of(name: str) -> list[bytes]:
    return (TAPES / name).read_bytes().splitlines()


def ask(messages: Any = HELLO, /, *, beta: bool = False, extra_body: Any = None, **params: Any) -> RealtimeDialogue:
    request = ChatRequest(model="m", messages=normalize(messages), params=params, extra_body=extra_body or {})
    return OpenAIRealtime(beta=beta).dialogue(request)


def sent(messages: Any = HELLO, /, **how: Any) -> list[Any]:
    return [json.loads(message) for message in ask(messages, **how).outgoing()]


def session(**how: Any) -> dict[str, Any]:
    first: dict[str, Any] = sent(**how)[0]["session"]
    return first


def items(messages: Any, **how: Any) -> list[Any]:
    return [event["item"] for event in sent(messages, **how) if event["type"] == "conversation.item.create"]


def decode(*batches: list[bytes]) -> tuple[list[Chunk], RealtimeDialogue]:
    return drained(ask(), *batches)


def event(kind: str, **told: Any) -> bytes:
    return json.dumps({"type": kind, **told}).encode()


def text(delta: Any) -> bytes:
    return event("response.output_text.delta", delta=delta)


def said(*frames: bytes) -> list[Chunk]:
    chunks, dialogue = decode([*frames, DONE])
    assert dialogue.error is None
    return chunks


# --- answers ---


def test_every_tape_has_its_expected_chunks_here() -> None:
    assert {path.name for path in TAPES.iterdir()} == set(ANSWERS) | set(ERRORS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_gives_exactly_its_chunks_however_its_messages_are_batched(name: str) -> None:
    check_batchings(decode, frames_of(name), ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    check_cuts(decode, bytes.splitlines, (TAPES / name).read_bytes(), ANSWERS[name], never=(Usage,))


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, kind, message = ERRORS[name]
    frames = frames_of(name)
    chunks, dialogue = decode(*([frames] if batched else [[frame] for frame in frames]))
    assert chunks == before
    assert type(dialogue.error) is kind
    assert dialogue.error.message == message
    assert dialogue.feed([text("more"), DONE]) == []
    assert not dialogue.done


def test_a_socket_that_closes_before_the_end_cuts_the_answer() -> None:
    _, dialogue = decode([text("Hi")])
    assert str(dialogue.error) == "the answer was cut off: the socket was closed before response.done"


def test_an_event_of_no_known_type_is_passed_over_and_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "g4ftrio")
    unknown = event("response.mcp_call.in_progress", output_index="0")
    harmless = event("conversation.item.input_audio_transcription.failed", error={"message": "no"})
    assert said(text("a"), harmless, unknown, event("response.hologram.delta", delta="~"), text("b")) == [
        "a",
        "b",
        FinishReason("stop"),
    ]
    assert caplog.messages == [
        "an answer holds an event of the unknown type 'response.mcp_call.in_progress', which was passed over"
    ]


def test_pieces_of_a_call_are_found_by_place_where_the_id_is_left_out() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}
    frames = [
        event("response.output_item.added", output_index=1, item={**item, "arguments": ""}),
        event("response.function_call_arguments.delta", output_index=1, delta="["),
        event("response.function_call_arguments.delta", output_index=1, delta="]"),
        event("response.output_item.done", output_index=1, item=item),
    ]
    assert ToolCalls((ToolCall("c", "f", "[]"),)) in said(*frames)


def test_a_name_that_comes_after_the_arguments_is_taken() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}
    delta = event("response.function_call_arguments.delta", call_id="c", delta="[]")
    assert said(delta, event("response.output_item.done", item=item))[:3] == [
        ToolCallDelta(0, "c", "", "[]"),
        ToolCallDelta(0, "c", "f"),
        ToolCalls((ToolCall("c", "f", "[]"),)),
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "invalid_request_error", "code": "invalid_api_key", "message": "no"}, "AuthenticationError"),
        ({"type": "server_error", "message": "no"}, "InternalServerError"),
        ({"type": "tomorrow", "message": "no"}, "APIStatusError"),
        ({"code": 503, "message": "no"}, "InternalServerError"),
        ("no", "APIStatusError"),
    ],
)
def test_an_error_is_typed_by_its_code_or_its_type(error: Any, kind: str) -> None:
    _, dialogue = decode([event("error", error=error)])
    assert isinstance(dialogue.error, ProviderError)
    assert (type(dialogue.error).__name__, dialogue.error.message) == (kind, "no")


def test_a_failure_without_a_word_is_one_all_the_same() -> None:
    _, dialogue = decode([event("response.done", response={"status": "failed"})])
    assert isinstance(dialogue.error, ProviderError)
    assert dialogue.error.message == "the service failed, and did not say why"


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>", "<html>"),
        (b"\xff\xfe", "��"),
        (b"[]", "[]"),
        (b"{}", "type"),
        (text(5), "delta"),
        (event("response.done", response=5), "response.done"),
        (event("response.done", response={"output": [5]}), "output"),
        (event("response.output_item.done", item={"type": 5}), "type"),
        (event("response.output_audio.delta", delta="A"), "delta"),
        (b"[" * 100_000, "[[[[[["),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    chunks, dialogue = decode([text("a"), frame, text("b")])
    assert chunks == ["a"]
    assert isinstance(dialogue.error, APIResponseValidationError)
    assert seen in dialogue.error.message
    assert len(dialogue.error.message) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted({json.loads(frame)["type"] for path in TAPES.iterdir() for frame in frames_of(path.name)})
ITEMS = JSON | st.dictionaries(st.sampled_from(["type", "call_id", "name", "arguments", "content"]), JSON)
ENDS = JSON | st.dictionaries(st.sampled_from(["status", "status_details", "output", "usage"]), JSON | st.lists(ITEMS))
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(NAMES) | st.text(max_size=5)},
    optional={
        "delta": st.text(max_size=5) | JSON,
        "call_id": st.sampled_from(["a", "b", None, 5]),
        "arguments": st.text(max_size=5) | JSON,
        "output_index": st.sampled_from([0, 1, None, "x"]),
        "item": ITEMS,
        "response": ENDS,
        "error": JSON,
    },
)
FRAMES = (JSON | EVENTS).map(lambda value: json.dumps(value).encode()) | st.binary(min_size=1, max_size=8)


@given(st.lists(FRAMES | st.just(text("x")), max_size=6))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


# --- what is said ---


def test_it_is_a_dialect_over_sockets() -> None:
    dialect: SocketDialect = OpenAIRealtime()
    request = ChatRequest(model="gpt realtime/2", messages=HELLO)
    dialogue: Dialogue = dialect.dialogue(request)
    assert dialect.path_for(request) == "/realtime?model=gpt%20realtime%2F2"
    assert dialect.models_path == "/models"
    assert dialect.read_error(b'{"error":{"message":"no","code":"x"}}') == ("no", "x")
    assert dialect.read_models(b'{"data":[{"id":"a"}]}') == ["a"]
    assert len(dialogue.outgoing()) == 3
    assert dialogue.outgoing() == []


def test_a_bare_question_is_said_at_once_without_waiting_for_the_session() -> None:
    assert sent() == [
        {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        },
        {"type": "response.create"},
    ]


def test_the_first_form_of_the_wire_has_other_names() -> None:
    turns = [*HELLO, {"role": "assistant", "content": "Hi."}, *HELLO]
    assert session(beta=True, max_tokens=9, temperature=0.7) == {
        "modalities": ["text"],
        "max_response_output_tokens": 9,
        "temperature": 0.7,
    }
    assert [item["content"][0]["type"] for item in items(turns, beta=True)] == ["input_text", "text", "input_text"]
    assert [item["content"][0]["type"] for item in items(turns)] == ["input_text", "output_text", "input_text"]
    assert session(beta=True, modalities=["text", "audio"])["modalities"] == ["text", "audio"]
    assert session(modalities=["text", "audio"])["output_modalities"] == ["audio"]


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def test_settings_are_the_sessions() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    told = session(
        tools=[weather, named], tool_choice=named, max_tokens=9, parallel_tool_calls=False, reasoning_effort="low"
    )
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "name": "weather", "description": "Tell the weather.", "parameters": parameters}
    assert told == {
        "type": "realtime",
        "output_modalities": ["text"],
        "tools": [tool, {**tool, "description": "", "parameters": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "function", "name": "weather"},
        "max_output_tokens": 9,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
    }
    assert session(tool_choice="required")["tool_choice"] == "required"


def test_the_extra_body_lies_over_the_sessions_settings_and_takes_out_by_none() -> None:
    extra = {"output_modalities": None, "truncation": "disabled"}
    assert session(extra_body=extra) == {"type": "realtime", "truncation": "disabled"}


def test_a_whole_history_is_translated() -> None:
    long_id = "toolu_" + "x" * 40
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "And kind."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}, image(PNG, detail="low")]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Looking."}],
            "tool_calls": [{"id": "a", **call}, {"id": long_id, **call}],
            "provider_metadata": {"another": [1]},
        },
        {"role": "tool", "tool_call_id": "a", "content": "22°C"},
        {"role": "tool", "tool_call_id": long_id, "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": [audio(b"ab", format="pcm16")]},
    ]
    first, *_ = sent(turns)
    assert first["session"]["instructions"] == "Be brief.\n\nAnd kind."
    said = items(turns)
    short = said[3]["call_id"]
    called = {"type": "function_call", "name": "weather", "arguments": '{"city":"Rome"}'}
    picture = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}
    assert said == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}, picture]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        {**called, "call_id": "a"},
        {**called, "call_id": short},
        {"type": "function_call_output", "call_id": "a", "output": "22°C"},
        {"type": "function_call_output", "call_id": short, "output": "noon"},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "YWI="}]},
    ]
    assert len(short) == 32


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"stop": ["x"], "seed": 1}, "this service takes no 'stop', 'seed'"),
        ({"temperature": 1}, "no 'temperature'"),
        ({"response_format": {"type": "json_object"}}, "no 'response_format'"),
        ({"beta": True, "reasoning_effort": "low"}, "no 'reasoning_effort'"),
        ({"tools": [{"type": "mcp"}]}, "extra_body"),
    ],
)
def test_what_the_wire_has_no_form_for_is_refused_before_anything_is_sent(params: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        ask(**params)


@pytest.mark.parametrize(
    ("message", "beta", "said"),
    [
        ({"role": "user", "content": [image("https://a/b.png")]}, False, "no link to an image: pass its bytes"),
        ({"role": "user", "content": [image(PNG)]}, True, "no part of the type 'image_url'"),
        ({"role": "user", "content": [audio(b"ab", format="mp3")]}, False, "no sound of that format: pass bare PCM"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, False, "type 'file'"),
        ({"role": "assistant", "content": [image(PNG)]}, False, "in an assistant's message"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, False, "no 'audio' in a message"),
        ({"role": "tool", "content": "22"}, False, "write tool_call_id into the message"),
        ({"role": "tool", "tool_call_id": "a", "content": [image(PNG)]}, False, "in the result of a tool"),
    ],
)
def test_messages_that_the_wire_has_no_form_for_are_refused(message: dict[str, Any], beta: bool, said: str) -> None:
    with pytest.raises(MessagesError, match=said):
        ask([message, *HELLO], beta=beta)


# --- both sides together ---


def talk(dialogue: RealtimeDialogue, said: list[Item]) -> tuple[list[Chunk], Ask, Session]:
    """Let the other side hear what is asked, and answer by saying this."""
    wire: SocketWire = OtherSide()
    other = wire.session({"model": "m"}, "answer-1", 0)
    replies, asked = other.greet(), None
    for message in dialogue.outgoing():
        heard, asked = other.hear(json.loads(message))
        replies += heard
    assert asked is not None
    replies += [reply for item in said for reply in other.say(item)]
    return dialogue.feed(replies) + dialogue.close(), asked, other


@pytest.mark.parametrize("beta", [False, True])
def test_an_answer_of_the_other_side_is_read_as_it_was_said(beta: bool) -> None:
    usage = Usage(2, 3, 1)
    said: list[Item] = [Mark.OPEN, Reasoning("Hm."), "It ", Mark.COMMENT, "is ", "42.", FinishReason("length"), usage]
    dialogue = ask([{"role": "system", "content": "Be brief."}, *HELLO], beta=beta, max_tokens=3)
    chunks, asked, _ = talk(dialogue, [*said, Mark.DONE])
    assert dialogue.error is None
    assert chunks == ["It ", "is ", "42.", usage, FinishReason("length")]
    assert (asked.model, asked.prompt, asked.max_tokens, asked.input_tokens) == ("m", "Hello", 3, 3)


@pytest.mark.parametrize("beta", [False, True])
def test_a_round_trip_with_a_tool_goes_through_both_sides(beta: bool) -> None:
    pieces: list[Item] = [ToolCallDelta(0, "c", "weather"), ToolCallDelta(0, arguments='{"city":"Rome"}')]
    said = ["Looking.", *pieces, FinishReason("tool_calls"), Usage(1, 2), Mark.DONE]
    chunks, asked, _ = talk(ask(tools=[weather], tool_choice="required", beta=beta), said)
    call = ToolCall("c", "weather", '{"city":"Rome"}')
    assert chunks == [
        "Looking.",
        ToolCallDelta(0, "c", "weather"),
        ToolCallDelta(0, "c", "", '{"city":"Rome"}'),
        ToolCalls((call,)),
        Usage(1, 2, 0),
        FinishReason("tool_calls"),
    ]
    assert asked.must_call
    assert [tool.name for tool in asked.tools] == ["weather"]
    called = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": call.arguments}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": "warm"},
    ]
    _, answered, _ = talk(ask(turns, tools=[weather], tool_choice="none", beta=beta), ["Warm.", Mark.DONE])
    assert (answered.tool_result, answered.tools) == ("warm", ())


def test_errors_and_bare_frames_of_the_other_side_are_read() -> None:
    chunks, _, other = talk(ask(tools=[weather], tool_choice={"function": {"name": "weather"}}), [Frame(text("raw"))])
    assert chunks == ["raw"]
    _, dialogue = decode(other.error(429, "slow down", "rate_limit_exceeded"))
    assert isinstance(dialogue.error, RateLimitError)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "response.create"},
        {"type": "session.update"},
        {"type": "session.close"},
        {"type": "session.update", "session": {"type": "transcription"}},
        {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "nobody's"}},
        {"type": "conversation.item.create", "item": {"type": "message", "content": [{"type": "picture"}]}},
        5,
    ],
)
def test_the_other_side_refuses_what_is_out_of_order(message: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        OtherSide().session({"model": "m"}, "answer-1", 0).hear(message)


def test_the_other_side_tells_over_http_what_it_has_to() -> None:
    wire = OtherSide()
    assert wire.key({"authorization": "Bearer k"}, {}) == "k"
    dialect = OpenAIRealtime()
    assert dialect.read_error(wire.error(401, "no", "invalid_api_key")) == ("no", "invalid_api_key")
    assert dialect.read_models(wire.models(["a", "b"], 0)) == ["a", "b"]
