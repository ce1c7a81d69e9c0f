"""Answers of many servers, decoded whole, in every batching, cut at every byte, and mangled.

The tapes are written after the documents of the services and after what others' tests say that gateways send.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._framing import NamedFrame
from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    Conversation,
    FinishReason,
    ImageResponse,
    ProviderMetadata,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import APIResponseValidationError, APIStatusError, ProviderError, TruncatedError
from g4ftrio.dialects.openai_responses import OpenAIResponses, OpenAIResponsesDecoder
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained, events, mangled

TAPES = Path(__file__).parent / "tapes" / "openai_responses"


def kept(name: str) -> ProviderMetadata:
    """The items that are in the response at the end of a tape."""
    last = json.loads(frames_of(name)[-1])
    return ProviderMetadata("openai-responses", last["response"]["output"])


def frames_of(name: str) -> list[bytes]:
    tape = (TAPES / name).read_bytes()
    if name.endswith(".json"):
        return [tape]
    if name.endswith(".jsonl"):
        return tape.splitlines()
    return events(tape)


STORED = Conversation("", {"response_id": "resp_6890f1"})
ROME = ToolCall("call_a1", "weather", '{"city":"Rome"}')

ANSWERS: dict[str, list[Chunk]] = {
    "openai_text.sse": ["The sky", " is blüe 🌌", ".", STORED, Usage(12, 73, 4, 64), FinishReason("stop")],
    "socket_text.jsonl": ["The sky", " is blüe 🌌", ".", STORED, Usage(12, 73, 4, 64), FinishReason("stop")],
    "openai_reasoning_tool.sse": [
        Reasoning("**Looking**\n\n"),
        Reasoning("I need the weather."),
        Reasoning("\n\n**Calling**"),
        Reasoning("\n\nRome."),
        ToolCallDelta(0, "call_Yq1", "weather"),
        ToolCallDelta(0, arguments='{"city"'),
        ToolCallDelta(0, arguments=':"Rome"}'),
        ToolCalls((ToolCall("call_Yq1", "weather", '{"city":"Rome"}'),)),
        kept("openai_reasoning_tool.sse"),
        Usage(60, 40, 0, 24),
        FinishReason("tool_calls"),
    ],
    "openai_parallel_tools.sse": [
        ToolCallDelta(0, "call_a1", "weather"),
        ToolCallDelta(0, arguments='{"city":'),
        ToolCallDelta(0, arguments='"Rome"}'),
        ToolCallDelta(1, "call_b2", "time"),
        ToolCallDelta(1, arguments="{}"),
        ToolCalls((ROME, ToolCall("call_b2", "time", "{}"))),
        STORED,
        Usage(60, 30, 0, 0),
        FinishReason("tool_calls"),
    ],
    "openai_refusal.sse": [
        Refusal("I can't"),
        Refusal(" do that."),
        STORED,
        Usage(9, 6, 0, 0),
        FinishReason("stop"),
    ],
    "openai_image.sse": [
        ImageResponse(("data:image/webp;base64,UklGRg==",), "A grey cat"),
        kept("openai_image.sse"),
        STORED,
        Usage(50, 200, 0, 0),
        FinishReason("stop"),
    ],
    "openai_web_search.sse": [
        "Blue.",
        kept("openai_web_search.sse"),
        STORED,
        Usage(400, 5, 0, 0),
        FinishReason("stop"),
    ],
    "openai_length.sse": ["Once upon", STORED, Usage(8, 16, 0, 0), FinishReason("length")],
    "azure_content_filter.sse": ["Blue", STORED, FinishReason("content_filter")],
    "vllm_reasoning_text.sse": [
        Reasoning("Rayleigh"),
        Reasoning("?"),
        "Scattering.",
        kept("vllm_reasoning_text.sse"),
        Usage(70, 20, 0, 0),
        FinishReason("stop"),
    ],
    "gateway_without_numbers.sse": [
        "Hi",
        " there",
        ToolCallDelta(0, "call_1", "read"),
        ToolCallDelta(0, arguments='{"path":'),
        ToolCallDelta(0, arguments='"a"}'),
        ToolCallDelta(1, "call_2", "read"),
        ToolCallDelta(1, arguments='{"path":"b"}'),
        ToolCalls((ToolCall("call_1", "read", '{"path":"a"}'), ToolCall("call_2", "read", '{"path":"b"}'))),
        FinishReason("tool_calls"),
    ],
    "gateway_completed_only.sse": [
        Reasoning("Hm."),
        "Hi there",
        ToolCallDelta(0, "call_c", "time", "{}"),
        ToolCalls((ToolCall("call_c", "time", "{}"),)),
        kept("gateway_completed_only.sse"),
        Conversation("", {"response_id": "resp_c"}),
        Usage(3, 4, 0, 0),
        FinishReason("tool_calls"),
    ],
    "codex_items_only.sse": [
        Reasoning("Hm."),
        "Hi there",
        ProviderMetadata(
            "openai-responses", [json.loads(frame)["item"] for frame in frames_of("codex_items_only.sse")[2:4]]
        ),
        Usage(3, 4, 0, 0),
        FinishReason("stop"),
    ],
    "openai_whole.json": [
        "Blue.",
        ProviderMetadata("openai-responses", json.loads((TAPES / "openai_whole.json").read_bytes())["output"]),
        STORED,
        Usage(12, 3, 0, 0),
        FinishReason("stop"),
    ],
    "openai_whole_length.json": ["Bl", STORED, Usage(12, 16, 0, 0), FinishReason("length")],
}

ERRORS: dict[str, tuple[list[Chunk], int | None, str]] = {
    "openai_error_then_failed.sse": (
        ["Once upon"],
        429,
        "Rate limit reached for gpt-5-mini on tokens per min: slow down.",
    ),
    "openai_error_flat.sse": (["Once upon"], 500, "The server had an error."),
    "openai_failed.sse": (["Once upon", Usage(5, 2, 0, 0)], 500, "The model failed."),
    "openai_cancelled.sse": (["Once upon"], None, "the service cancelled the answer"),
    "openai_whole_failed.json": ([], 400, "Invalid prompt."),
    "perplexity_failed.sse": (["Once upon"], 503, "search is down"),
    "socket_previous_response_not_found.jsonl": ([], 400, "Previous response with id 'resp_1' not found."),
    "socket_connection_limit.jsonl": (
        ["Once upon"],
        429,
        "Responses websocket connection limit reached (60 minutes).",
    ),
}

STREAMS = sorted(name for name in ANSWERS if name.endswith(".sse"))


def decode(*batches: list[bytes]) -> tuple[list[Chunk], OpenAIResponsesDecoder]:
    return drained(OpenAIResponses().decoder(), *batches)


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": f"response.{kind}", **fields}).encode()


def text(delta: str, **fields: Any) -> bytes:
    return event("output_text.delta", delta=delta, **fields)


def message(said: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": said}]}


def called(**fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "name": "f", **fields}


COMPLETED = event("completed")


def said(*frames: bytes) -> list[Chunk]:
    """The chunks of an answer that ends well, without its finish reason."""
    chunks, decoder = decode([*frames, COMPLETED])
    assert decoder.error is None
    assert chunks.pop() in (FinishReason("stop"), FinishReason("tool_calls"))
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


@pytest.mark.parametrize("name", STREAMS)
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    check_cuts(decode, events, (TAPES / name).read_bytes(), ANSWERS[name], never=(Conversation,))


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_inside_an_answer_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, status, words = ERRORS[name]
    frames = frames_of(name)
    chunks, decoder = decode(*([frames] if batched else [[frame] for frame in frames]))
    assert chunks == before
    assert isinstance(decoder.error, APIStatusError)
    assert (decoder.error.status, decoder.error.message) == (status, words)
    assert decoder.feed([text("more")]) == []


def test_an_answer_is_done_with_its_last_event_and_nothing_after_it_is_read() -> None:
    decoder = OpenAIResponses().decoder()
    assert decoder.feed([text("a"), COMPLETED, text("b")]) == ["a", FinishReason("stop")]
    assert (decoder.finished, decoder.done, decoder.feed([text("c")]), decoder.close()) == (True, True, [], [])


def test_an_answer_without_its_last_event_was_cut_and_says_so() -> None:
    error = failure(text("a"), event("output_item.done", item=message("a")))
    assert str(error) == "the answer was cut off: it ended without response.completed"


def test_the_chat_wires_end_marker_is_an_end_without_a_reason() -> None:
    chunks, decoder = decode([text("a"), b"[DONE]"])
    assert (chunks, decoder.done) == (["a"], True)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_not_finished_is_no_answer(status: str) -> None:
    error = failure(json.dumps({"object": "response", "status": status, "output": []}).encode())
    assert isinstance(error, TruncatedError)
    assert status in error.message


# What comes once, twice or three times


def test_a_whole_item_adds_only_what_was_not_given_at_its_place() -> None:
    first = [text("a", output_index=0), event("output_item.done", output_index=0, item=message("a"))]
    second = [event("output_item.done", output_index=1, item=message("b"))]
    assert said(*first, *second, event("completed", response={"output": [message("a"), message("b")]})) == ["a", "b"]


def test_the_whole_response_adds_only_kinds_that_were_not_given_at_all() -> None:
    drawing = {"type": "image_generation_call", "result": "eA=="}
    final = event("completed", response={"output": [message("never"), drawing]})
    chunks, _ = decode([text("a", output_index=7), final])
    assert chunks[:2] == ["a", ImageResponse(("data:image/png;base64,eA==",))]


def test_an_item_without_a_place_adds_nothing_that_was_given_anywhere() -> None:
    item = message("a b") | {"content": [{"text": "a b"}, {"refusal": "No."}]}
    assert said(text("a b", output_index=0), event("output_item.done", item=item)) == ["a b", Refusal("No.")]


def test_content_may_be_plain_text() -> None:
    assert said(event("output_item.done", item={"type": "message", "content": "a"})) == ["a"]


def test_thoughts_are_kept_apart_where_another_part_or_item_begins() -> None:
    deltas = [event("reasoning_summary_text.delta", delta="b", output_index=place) for place in (0, 0, 2)]
    part = event("reasoning_summary_part.added", output_index=2)
    whole = {"type": "reasoning", "summary": [{"text": "c"}], "content": [{"text": "d"}]}
    chunks = said(*deltas, part, deltas[2], event("output_item.done", output_index=3, item=whole))
    thoughts = [chunk.text for chunk in chunks if isinstance(chunk, Reasoning)]
    assert thoughts == ["b", "b", "\n\nb", "\n\nb", "\n\nc", "\n\nd"]


def test_a_drawing_may_be_a_url() -> None:
    drawing = {"type": "image_generation_call", "result": "https://a/b.png", "revised_prompt": None}
    chunks = said(event("output_item.done", item=drawing))
    assert chunks[0] == ImageResponse(("https://a/b.png",))


def test_sound_is_read() -> None:
    frames = [event("audio.delta", delta="AAEC"), event("audio.transcript.delta", delta="Hel")]
    assert said(*frames) == [AudioResponse(b"\x00\x01\x02"), AudioResponse(transcript="Hel")]
    assert "base64" in failure(event("audio.delta", delta="A")).message


# Calls


def calls(*frames: bytes) -> list[tuple[str, str, str]]:
    whole = next(chunk for chunk in said(*frames) if isinstance(chunk, ToolCalls))
    return [(call.id, call.name, call.arguments) for call in whole.calls]


def argued(delta: str, **fields: Any) -> bytes:
    return event("function_call_arguments.delta", delta=delta, **fields)


def begun(**fields: Any) -> bytes:
    place = {"output_index": fields.pop("output_index")} if "output_index" in fields else {}
    return event("output_item.added", item=called(**fields), **place)


def test_pieces_find_their_call_by_place_by_id_or_as_the_one_that_is_open() -> None:
    by_place = [begun(call_id="a", output_index=0), begun(call_id="b", output_index=1)]
    by_place += [argued("1", output_index=0), argued("2", output_index=1), argued("3", output_index=0)]
    by_id = [begun(call_id="a", id="x"), begun(call_id="b", id="y"), argued("1", item_id="x"), argued("2", item_id="y")]
    unmarked = [begun(call_id="a"), argued("1"), argued("3"), begun(call_id="b"), argued("2", item_id="unknown")]
    assert calls(*by_place) == [("a", "f", "13"), ("b", "f", "2")]
    assert calls(*by_id) == [("a", "f", "1"), ("b", "f", "2")]
    assert calls(*unmarked) == [("a", "f", "13"), ("b", "f", "2")]


def test_calls_at_one_place_are_several_where_their_ids_say_so() -> None:
    frames = [begun(call_id=name, output_index=0) for name in "ab"] + [argued("{}", output_index=0)]
    assert calls(*frames) == [("a", "f", ""), ("b", "f", "{}")]


def test_pieces_before_their_call_belong_to_it() -> None:
    whole = event("output_item.done", output_index=0, item=called(call_id="a", arguments="12"))
    assert calls(argued("1", output_index=0), argued("2", output_index=0), whole) == [("a", "f", "12")]


def test_arguments_come_once_whether_at_the_beginning_in_pieces_or_at_the_end() -> None:
    begin = begun(call_id="a", arguments="{}", output_index=0)
    end = event("output_item.done", output_index=0, item=called(call_id="a", arguments="{}"))
    told = event("function_call_arguments.done", output_index=0, arguments="{}")
    for frames in (
        [begin, end],
        [begin, told, end],
        [begin, argued("{}", output_index=0), told, end],
        [end],
        [end] * 2,
    ):
        final = event("completed", response={"output": [called(call_id="a", arguments="{}")]})
        assert calls(*frames) == calls(*frames, final) == [("a", "f", "{}")]


def test_a_call_without_any_id_is_called_after_its_number_and_not_repeated() -> None:
    final = event("completed", response={"output": [called(arguments="{}")]})
    assert calls(begun(), argued("{}"), event("output_item.done", item=called(arguments="{}")), final) == [
        ("call_0", "f", "{}")
    ]
    assert calls(final) == [("call_0", "f", "{}")]


def test_arguments_that_are_no_string_are_encoded() -> None:
    assert calls(event("output_item.done", item=called(id="fc", arguments={"x": 1}))) == [("fc", "f", '{"x":1}')]


def test_a_call_in_an_answer_that_was_cut_short_does_not_hide_that() -> None:
    final = {"incomplete_details": {"reason": "max_output_tokens"}, "output": [called(call_id="a", arguments='{"x')]}
    chunks, _ = decode([event("incomplete", response=final)])
    assert chunks[1:] == [ToolCalls((ToolCall("a", "f", '{"x'),)), FinishReason("length")]


# What is kept


def thought(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs", "summary": [], **fields}


def kept_of(*items: dict[str, Any], kind: str = "completed", **response: Any) -> list[Chunk]:
    chunks, _ = decode([event(kind, response={"output": items, **response})])
    return [chunk for chunk in chunks if isinstance(chunk, ProviderMetadata | Conversation)]


def test_a_turn_that_the_message_says_in_full_is_not_kept() -> None:
    assert kept_of(message("a"), called(call_id="a")) == []


@pytest.mark.parametrize(
    "special", [thought(), {"type": "web_search_call"}, {**message("b"), "phase": "commentary"}, {"type": "compaction"}]
)
def test_a_turn_with_more_than_the_message_says_is_kept_as_it_was_written(special: dict[str, Any]) -> None:
    assert kept_of(special, message("a")) == [ProviderMetadata("openai-responses", [special, message("a")])]


def test_thoughts_that_are_kept_nowhere_are_not_sent_back_by_halves() -> None:
    assert kept_of(thought(), message("a"), store=False, id="r") == []
    for sealed in (thought(encrypted_content="x"), thought(content=[{"type": "reasoning_text", "text": "Hm."}])):
        assert kept_of(sealed, store=False) == [ProviderMetadata("openai-responses", [sealed])]


def test_an_answer_that_was_cut_short_is_not_sent_back_and_goes_on_by_its_name() -> None:
    assert kept_of(thought(), kind="incomplete", id="r") == [Conversation("", {"response_id": "r"})]


def test_finish_reasons_that_nobody_knows_pass() -> None:
    for why, reason in ((None, "incomplete"), ("max_tokens", "length"), ("moonshine", "moonshine")):
        chunks, _ = decode([event("incomplete", response={"incomplete_details": {"reason": why}})])
        assert chunks == [FinishReason(reason)]
    chunks, _ = decode([event("completed", response={"status": "incomplete"})])
    assert chunks == [FinishReason("incomplete")]


def test_usage_of_a_wrong_form_is_no_usage() -> None:
    chunks, _ = decode([event("completed", response={"usage": {"input_tokens": "many", "output_tokens": True}})])
    assert chunks == [FinishReason("stop")]


# What is harmless, what is an error, and what cannot be read


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"keepalive","sequence_number":3}',
        b'{"type":"response.queued","response":{"status":"queued"}}',
        b'{"type":"response.mcp_call.failed","error":"a tool of the service failed"}',
        b'{"type":"response.strange.delta","delta":{"a":1}}',
        b'{"type":"response.output_item.done","item":{"type":["strange"]}}',
        b'{"type":"response.output_item.done","item":{"type":"strange","content":7}}',
        b'{"type":"session.created","delta":5}',
        b"{}",
        b"null",
        b"  ",
        NamedFrame(b"2026-11-21", "ping"),
    ],
)
def test_harmless_frames_are_skipped(frame: bytes) -> None:
    chunks = said(text("a"), frame, text("b"))
    assert [chunk for chunk in chunks if not isinstance(chunk, ProviderMetadata)] == ["a", "b"]


def test_what_is_passed_over_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "g4ftrio"):
        said(event("strange"), event("stranger"), event("output_item.done", item={"type": "strangest"}))
        said(*frames_of("openai_text.sse")[:-1])
    assert [record.getMessage() for record in caplog.records] == [
        "an answer holds an event of the type 'response.strange', which was passed over"
    ]


def test_a_type_that_only_the_events_name_tells_is_known() -> None:
    named: list[bytes] = [
        NamedFrame(b'{"delta":"a"}', "response.output_text.delta"),
        NamedFrame(b"{}", "response.completed"),
    ]
    assert decode(named)[0] == ["a", FinishReason("stop")]


@pytest.mark.parametrize(
    ("frame", "status", "words"),
    [
        (b'{"type":"error","code":"slow_down","message":"no"}', 503, "no"),
        (b'{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"no"}}', 400, "no"),
        (b'{"type":"error","status":401,"error":{"message":"no"},"headers":{}}', 401, "no"),
        (b'{"type":"error"}', None, "error"),
        (b'{"type":"error","message":5}', None, "error"),
        (b'{"type":"response.error","error":{"message":"no","code":"429"}}', 429, "no"),
        (b'{"error":{"message":"no","code":"insufficient_quota"}}', 429, "no"),
        (b'{"detail":"no"}', None, "no"),
        (b'[{"error":{"code":400,"message":"no"}}]', 400, "no"),
        (NamedFrame(b"no", "error"), None, "no"),
        (NamedFrame(b'{"message":"no","code":"server_error"}', "error"), 500, "no"),
        (event("failed"), None, "the service broke the answer off"),
        (event("failed", response={"error": {"code": "strange"}}), None, "strange"),
        (event("completed", response={"status": "failed", "error": "no"}), None, "no"),
    ],
)
def test_errors_are_read_in_every_form_that_servers_send(frame: bytes, status: int | None, words: str) -> None:
    error = failure(text("a"), frame)
    assert isinstance(error, APIStatusError)
    assert (error.status, error.message) == (status, words)


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff\xfe", "��"),
        (b'"ping"', '"ping"'),
        (b'{"type":5}', "$.type"),
        (event("output_text.delta", delta=5), "$.delta"),
        (event("output_item.done", item=[]), "Expected `object`"),
        (event("output_item.done"), "output_item.done"),
        (event("output_item.done", item=called(name=5)), "$.name"),
        (event("output_item.done", item={"type": "message", "content": [5]}), "$.content"),
        (event("completed", response={"output": [5]}), "$.output"),
        (event("completed", response={"output": [message("a") | {"content": 5}]}), "$.content"),
        (event("completed", response=5), "Expected `object | null`"),
        (b'{"object":"response","output":{}}', "$.output"),
        (b"[" * 100_000, "[[[[[["),
        (text("a") + b"," + text("b"), "trailing characters"),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    error = failure(text("a"), frame, text("b"))
    assert isinstance(error, APIResponseValidationError)
    assert seen in error.message
    assert len(error.message) < 500


def test_many_items_take_time_in_proportion() -> None:
    frames = [event("output_item.done", output_index=number, item=message("a")) for number in range(20_000)]
    assert len(said(*frames)) == 20_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ITEM_TYPES = st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "web_search_call"])
PARTS = JSON | st.lists(st.fixed_dictionaries({}, optional={"text": JSON, "refusal": JSON}), max_size=2)
ITEMS = JSON | st.fixed_dictionaries(
    {"type": ITEM_TYPES | JSON},
    optional={"content": PARTS, "summary": PARTS, "call_id": JSON, "name": JSON, "arguments": JSON, "result": JSON},
)
RESPONSES = JSON | st.fixed_dictionaries(
    {},
    optional={"id": JSON, "status": JSON, "output": JSON | st.lists(ITEMS, max_size=3), "usage": JSON, "error": JSON},
)
KINDS = st.sampled_from(
    sorted({json.loads(frame).get("type", "") for name in STREAMS for frame in frames_of(name) if frame != b"[DONE]"})
)
EVENTS = JSON | st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={"delta": st.text(max_size=3) | JSON, "output_index": JSON, "item": ITEMS, "response": RESPONSES},
)
FRAMES = EVENTS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=8) | st.just(text("x"))


@given(st.lists(FRAMES, max_size=6))
@settings(deadline=None, max_examples=200)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


@given(mangled([frames_of(name) for name in STREAMS]))
@settings(deadline=None, max_examples=100)
def test_shuffled_and_shortened_frames_are_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)
