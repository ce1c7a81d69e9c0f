"""Recorded answers of many servers, decoded whole, in every batching, cut at every byte, and mangled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._framing import NamedFrame
from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    FinishReason,
    ImageResponse,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import APIResponseValidationError, APIStatusError, ProviderError, TruncatedError
from g4ftrio.dialects.openai_chat import OpenAIChat, OpenAIChatDecoder
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained, events, mangled

TAPES = Path(__file__).parent / "tapes" / "openai_chat"

ANSWERS: dict[str, list[Chunk]] = {
    "openai_text.sse": ["The sky", " is blüe 🌌", ".", Usage(12, 73, 4, 64), FinishReason("stop")],
    "openai_parallel_tools.sse": [
        ToolCallDelta(0, "call_a1", "weather"),
        ToolCallDelta(0, arguments='{"city":'),
        ToolCallDelta(0, arguments='"Rome"}'),
        ToolCallDelta(1, "call_b2", "time"),
        ToolCallDelta(1, arguments="{}"),
        ToolCalls((ToolCall("call_a1", "weather", '{"city":"Rome"}'), ToolCall("call_b2", "time", "{}"))),
        FinishReason("tool_calls"),
    ],
    "openai_refusal.sse": [Refusal("I can't"), Refusal(" do that."), FinishReason("stop")],
    "openai_audio.sse": [
        AudioResponse(transcript="Hel"),
        AudioResponse(b"\x00\x01\x02"),
        AudioResponse(transcript="lo"),
        FinishReason("stop"),
    ],
    "legacy_function.sse": [
        ToolCallDelta(0, "", "weather"),
        ToolCallDelta(0, arguments='{"city"'),
        ToolCallDelta(0, arguments=':"Rome"}'),
        ToolCalls((ToolCall("call_0", "weather", '{"city":"Rome"}'),)),
        FinishReason("tool_calls"),
    ],
    "azure_text.sse": ["Blue", FinishReason("content_filter")],
    "groq_reasoning.sse": [
        Reasoning("Rayleigh"),
        Reasoning("?"),
        "Scattering.",
        Usage(73, 40),
        FinishReason("stop"),
    ],
    "mistral_thinking.sse": [
        Reasoning("Let me"),
        Reasoning(" think"),
        "It ",
        "is blue",
        ".",
        Usage(9, 21),
        FinishReason("stop"),
    ],
    "mistral_tools.sse": [
        ToolCallDelta(0, "D681PevKs", "weather", '{"city": "Rome"}'),
        ToolCallDelta(1, "E792QfwLt", "weather", '{"city":"Oslo"}'),
        ToolCalls(
            (
                ToolCall("D681PevKs", "weather", '{"city": "Rome"}'),
                ToolCall("E792QfwLt", "weather", '{"city":"Oslo"}'),
            )
        ),
        Usage(94, 32),
        FinishReason("tool_calls"),
    ],
    "deepseek_reasoning.sse": [
        Reasoning("Hm"),
        Reasoning("m."),
        "Blue",
        Usage(19, 21, 16, 9),
        FinishReason("stop"),
    ],
    "openrouter_reasoning.sse": [
        Reasoning("Light"),
        Reasoning(" bends"),
        "Short waves.",
        Usage(40, 50, 0, 30),
        FinishReason("stop"),
    ],
    "openrouter_image.sse": [
        "Here it is: ",
        ImageResponse(("data:image/png;base64,iVBORw0KGgo=",)),
        FinishReason("stop"),
    ],
    "perplexity_no_done.sse": ["Blue", " light", Usage(5, 2), FinishReason("stop")],
    "gemini_tools_without_index.sse": [
        ToolCallDelta(0, "call_29", "read", '{"path":"a"}'),
        ToolCallDelta(1, "call_30", "read", '{"path":"b"}'),
        ToolCalls((ToolCall("call_29", "read", '{"path":"a"}'), ToolCall("call_30", "read", '{"path":"b"}'))),
        Usage(8, 20),
        FinishReason("stop"),
    ],
    "ollama_tools_at_index_0.sse": [
        Reasoning("Two calls."),
        ToolCallDelta(0, "call_p", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "call_q", "weather", '{"city":"Oslo"}'),
        ToolCalls((ToolCall("call_p", "weather", '{"city":"Rome"}'), ToolCall("call_q", "weather", '{"city":"Oslo"}'))),
        Usage(140, 50),
        FinishReason("tool_calls"),
    ],
    "llama_cpp_text.sse": ["Blue", Usage(20, 1), FinishReason("length")],
    "vllm_repeats_id_and_name.sse": [
        Reasoning("So"),
        ToolCallDelta(0, "chatcmpl-tool-1", "weather"),
        ToolCallDelta(0, "chatcmpl-tool-1", "weather", '{"a": {"b": 1}'),
        ToolCallDelta(0, "chatcmpl-tool-1", "weather", "}"),
        ToolCalls((ToolCall("chatcmpl-tool-1", "weather", '{"a": {"b": 1}}'),)),
        Usage(1, 2),
        FinishReason("tool_calls"),
    ],
    "done_without_finish_reason.sse": ["Hi", " there"],
    "message_instead_of_delta.sse": ["Hi", " there", FinishReason("stop")],
    "openai_whole.json": ["Blue.", Usage(12, 3, 0, 0), FinishReason("stop")],
    "deepseek_whole_tools.json": [
        "Looking.",
        ToolCallDelta(0, "call_0_x", "weather", "{}"),
        Reasoning("I must look."),
        ToolCalls((ToolCall("call_0_x", "weather", "{}"),)),
        Usage(7, 9),
        FinishReason("tool_calls"),
    ],
    "whole_without_finish_reason.json": ["Hi"],
}

ERRORS: dict[str, tuple[list[Chunk], int | None, str]] = {
    "openrouter_error.sse": (["Once upon"], 502, "Provider returned error (upstream idle)"),
    "llama_cpp_error.sse": (["Bl"], 500, "context shift is disabled"),
    "lm_studio_error_event.sse": (["Hi"], None, "The model has crashed without additional information."),
    "fastapi_error_in_a_200.sse": ([], None, "body.model: Field required"),
    "error_before_anything.sse": ([], 429, "429: slow down"),
}

STREAMS = sorted(name for name in ANSWERS if name.endswith(".sse"))
ONE_MESSAGE_IS_WHOLE = "message_instead_of_delta.sse"  # its first event alone is, as far as one can tell, an answer


def frames_of(name: str) -> list[bytes]:
    tape = (TAPES / name).read_bytes()
    if name.endswith(".json"):
        return [tape]
    return events(tape)


def decode(*batches: list[bytes], lenient_end: bool = False) -> tuple[list[Chunk], OpenAIChatDecoder]:
    return drained(OpenAIChat(lenient_end=lenient_end).decoder(), *batches)


def event(**delta: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


def said(*frames: bytes) -> list[Chunk]:
    chunks, decoder = decode([*frames, b"[DONE]"])
    assert decoder.error is None
    return chunks


def failure(*frames: bytes) -> ProviderError:
    _, decoder = decode(list(frames))
    assert isinstance(decoder.error, ProviderError)
    return decoder.error


def test_every_tape_has_its_expected_chunks_here() -> None:
    assert {path.name for path in TAPES.iterdir()} == set(ANSWERS) | set(ERRORS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_gives_exactly_its_chunks_however_its_frames_are_batched(name: str) -> None:
    check_batchings(decode, frames_of(name), ANSWERS[name])


@pytest.mark.parametrize("name", [name for name in STREAMS if name != ONE_MESSAGE_IS_WHOLE])
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    check_cuts(decode, events, (TAPES / name).read_bytes(), ANSWERS[name], late=(Usage,))


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_inside_a_stream_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, status, message = ERRORS[name]
    frames = frames_of(name)
    chunks, decoder = decode(*([frames] if batched else [[frame] for frame in frames]))
    assert chunks == before
    assert isinstance(decoder.error, APIStatusError)
    assert (decoder.error.status, decoder.error.message) == (status, message)
    assert decoder.feed([event(content="more")]) == []


def test_a_finish_reason_shows_before_the_end_so_that_a_reader_need_not_wait_for_it() -> None:
    decoder = OpenAIChat().decoder()
    assert decoder.feed([b'{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}']) == ["Hi"]
    assert decoder.finished
    assert not decoder.done
    assert decoder.feed([b'{"choices":[],"usage":{"prompt_tokens":1}}']) == []
    assert decoder.close() == [Usage(1), FinishReason("stop")]
    assert decoder.done
    assert decoder.close() == []


def test_nothing_after_the_end_marker_is_read() -> None:
    assert said(event(content="a"), b"[DONE]", event(content="b")) == ["a"]


def test_an_answer_that_just_ends_is_an_end_only_where_the_declaration_says_so() -> None:
    _, strict = decode([event(content="Hi")])
    chunks, lenient = decode([event(content="Hi")], lenient_end=True)
    assert isinstance(strict.error, TruncatedError)
    assert str(strict.error) == "the answer was cut off: it ended without a finish reason and without [DONE]"
    assert chunks == ["Hi"]
    assert lenient.error is None


def test_a_cut_within_tool_calls_gives_the_pieces_and_not_the_whole() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}
    chunks, decoder = decode([event(tool_calls=[call])])
    assert chunks == [ToolCallDelta(0, "c", "f", '{"a')]
    assert isinstance(decoder.error, TruncatedError)


def test_what_is_null_is_nothing() -> None:
    names = ("content", "role", "tool_calls", "function_call", "refusal", "reasoning", "audio", "images")
    assert said(event(**dict.fromkeys(names))) == []


def test_only_the_first_choice_is_read() -> None:
    other = b'{"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"length"},{"delta":{"content":"yes"}}]}'
    assert said(other) == ["yes"]


@pytest.mark.parametrize(
    "frame",
    [
        b'{"object":"ping"}',
        b'{"type":"status","message":"working"}',
        b'{"type":"progress","detail":"searching"}',
        b'{"choices":[],"prompt_filter_results":[]}',
        b'{"choices":[],"usage":{}}',
        b'{"choices":null,"error":null}',
        b"{}",
        b"null",
        b"  ",
        NamedFrame(b"2026-11-21", "ping"),
    ],
)
def test_harmless_frames_are_skipped(frame: bytes) -> None:
    assert said(event(content="a"), frame, event(content="b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("frame", "status", "message"),
    [
        (b'{"error":{"message":"no","code":"rate_limit"}}', None, "no"),
        (b'{"error":{"message":"no","code":"429"}}', 429, "no"),
        (b'{"error":{"message":"no","code":9000},"status_code":503}', 503, "no"),
        (b'{"error":"no"}', None, "no"),
        (b'{"error":true,"message":"no"}', None, "no"),
        (b'{"error":{}, "message":"no", "type":"error"}', None, "no"),
        (b'{"error_message":"no"}', None, "no"),
        (b'{"errors":[{"message":"no"},{"message":"never"}]}', None, "no; never"),
        (b'[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]', 400, "no"),
        (b'{"object":"error","message":"no","code":404}', 404, "no"),
        (b'{"message":"no"}', None, "no"),
        (b'{"detail":"no"}', None, "no"),
        (b'{"choices":[{"delta":{},"finish_reason":"error","error":{"code":502,"message":"no"}}]}', 502, "no"),
        (b'{"choices":[{"delta":{},"finish_reason":"error"}]}', None, "the service broke the answer off"),
        (NamedFrame(b"no", "error"), None, "no"),
        (NamedFrame(b'{"message":"no","type":"overloaded"}', "error"), None, "no"),
        (b'{"error":{"code":500}}', 500, "500"),
    ],
)
def test_errors_are_read_in_every_form_that_servers_send(frame: bytes, status: int | None, message: str) -> None:
    error = failure(event(content="a"), frame)
    assert isinstance(error, APIStatusError)
    assert (error.status, error.message) == (status, message)


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff\xfe", "��"),
        (b'"ping"', '"ping"'),
        (b'{"choices":{}}', '{"choices":{}}'),
        (b'{"choices":[{"delta":{"content":5}}]}', "content"),
        (b'{"choices":[{"delta":"text"}]}', "delta"),
        (b'{"choices":[{"delta":{"tool_calls":[{"index":"0"}]}}]}', "index"),
        (b"[" * 100_000, "[[[[[["),
        (b'{"choices":[{"delta":{"audio":{"data":"A"}}}]}', "base64"),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    error = failure(event(content="a"), frame, event(content="b"))
    assert isinstance(error, APIResponseValidationError)
    assert seen in error.message
    assert len(error.message) < 400


def test_reasoning_under_two_names_is_given_once() -> None:
    both = {"reasoning": "a", "reasoning_content": "a", "reasoning_details": [{"text": "a"}]}
    assert said(event(**both)) == [Reasoning("a")]
    assert said(event(thinking="b")) == [Reasoning("b")]
    summaries = [{"type": "reasoning.summary", "summary": "c"}, {"type": "reasoning.encrypted", "data": "x"}]
    assert said(event(reasoning={"effort": "low"}, reasoning_details=summaries)) == [Reasoning("c")]


def test_images_are_read_in_every_form_that_servers_send() -> None:
    images = [{"image_url": "https://a"}, {"url": "https://b"}, "https://c", {"b64_json": "eA=="}, {"else": 1}, 5]
    expected = ImageResponse(("https://a", "https://b", "https://c", "data:image/png;base64,eA=="))
    assert said(event(images=images)) == [expected]
    part = {"type": "image_url", "image_url": {"url": "https://d"}}
    assert said(event(content=[part, "text", {"type": "reference"}])) == [ImageResponse(("https://d",)), "text"]


def test_the_last_usage_wins_and_is_given_once() -> None:
    usages = [b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}' % n for n in (1, 2)]
    assert said(*usages, b'{"choices":[],"usage":null}') == [Usage(1, 2)]
    assert said(b'{"choices":[],"usage":{"prompt_tokens":"many","completion_tokens":true}}') == []
    assert said(b'{"choices":[],"usage":"none"}') == []


def calls(*pieces: dict[str, Any]) -> list[tuple[str, str, str]]:
    *_, whole = said(*(event(tool_calls=[piece]) for piece in pieces))
    assert isinstance(whole, ToolCalls)
    return [(call.id, call.name, call.arguments) for call in whole.calls]


def piece(
    index: int | None = None, call_id: str | None = None, name: str | None = None, arguments: Any = ""
) -> dict[str, Any]:
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_pieces_without_index_go_on_with_the_latest_call() -> None:
    pieces = [piece(call_id="a", name="f"), piece(arguments="{"), piece(arguments="}"), piece(call_id="b", name="f")]
    assert calls(*pieces) == [("a", "f", "{}"), ("b", "f", "")]


def test_interleaved_pieces_find_their_call_by_index_or_by_id() -> None:
    by_index = [piece(1, "a", "f", "1"), piece(2, "b", "g", "2"), piece(1, arguments="3"), piece(2, arguments="4")]
    by_id = [piece(None, "a", "f", "1"), piece(None, "b", "g", "2"), piece(None, "a", None, "3")]
    assert calls(*by_index) == [("a", "f", "13"), ("b", "g", "24")]
    assert calls(*by_id) == [("a", "f", "13"), ("b", "g", "2")]


def test_whole_calls_at_one_index_and_without_ids_are_several_calls() -> None:
    twice = [piece(0, "", "f", '{"a":1}'), piece(0, "", "f", '{"a":2}'), piece(0, "", "g", "{}")]
    assert calls(*twice) == [("call_0", "f", '{"a":1}'), ("call_1", "f", '{"a":2}'), ("call_2", "g", "{}")]


def test_a_new_id_without_a_name_does_not_begin_a_call() -> None:
    assert calls(piece(0, "a", "f", "{"), piece(0, "b", None, "}")) == [("a", "f", "{}")]


def test_a_name_repeated_with_each_piece_does_not_begin_a_call() -> None:
    pieces = [piece(0, "a", "f", "{"), piece(0, None, "f", '"x":{}'), piece(0, None, "f", "}")]
    assert calls(*pieces) == [("a", "f", '{"x":{}}')]


def test_arguments_that_are_no_string_are_encoded() -> None:
    assert calls(piece(0, "a", "f", {"x": 1}), {"id": "b"}) == [("a", "f", '{"x":1}')]


def test_an_event_that_is_two_is_not_taken_for_two() -> None:
    two = event(content="a") + b"," + event(content="b")
    assert isinstance(failure(two), APIResponseValidationError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("content", "tool_calls", "function_call", "refusal", "reasoning", "reasoning_details", "images", "audio")
DELTAS = JSON | st.dictionaries(st.sampled_from(KEYS), JSON | st.lists(st.dictionaries(st.just("function"), JSON)))
CHOICES = st.fixed_dictionaries({}, optional={"index": JSON, "delta": DELTAS, "finish_reason": JSON, "error": JSON})
EVENTS = JSON | st.fixed_dictionaries({}, optional={"choices": JSON | st.lists(CHOICES, max_size=2), "usage": JSON})
FRAMES = EVENTS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=8) | st.just(event(content="x"))


@given(st.lists(FRAMES, max_size=6))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


@given(mangled([frames_of(name) for name in STREAMS]))
@settings(deadline=None, max_examples=100)
def test_shuffled_and_shortened_frames_are_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)
