"""Answers of the Messages wire, decoded whole, in every batching, cut at every byte, and mangled.

The tapes are written from https://platform.claude.com/docs/en/build-with-claude/streaming, the imitation's from what
servers that imitate the wire leave out.
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
    Chunk,
    FinishReason,
    ProviderMetadata,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import (
    APIResponseValidationError,
    APIStatusError,
    InternalServerError,
    ProviderError,
    RateLimitError,
    TruncatedError,
)
from g4ftrio.dialects.anthropic import Anthropic, AnthropicDecoder
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained, events, mangled

TAPES = Path(__file__).parent / "tapes" / "anthropic"

THOUGHT = {"type": "thinking", "thinking": "Rome it is.", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"}
CALLED = {
    "type": "tool_use",
    "id": "toolu_01",
    "name": "weather",
    "input": {"city": "Rome"},
    "caller": {"type": "direct"},
}
SEARCHED = [
    {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "sky"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_01",
        "content": [
            {
                "type": "web_search_result",
                "title": "Sky",
                "url": "https://example.com",
                "encrypted_content": "EqgfCioI",
                "page_age": None,
            }
        ],
    },
    {
        "type": "text",
        "text": "It is blue.",
        "citations": [
            {
                "type": "web_search_result_location",
                "cited_text": "blue",
                "url": "https://example.com",
                "title": "Sky",
                "encrypted_index": "Eo8B",
            }
        ],
    },
]

ANSWERS: dict[str, list[Chunk]] = {
    "text.sse": ["The sky", " is blüe 🌌", ".", Usage(2173, 15, 2048), FinishReason("stop")],
    "tools.sse": [
        "Let me look.",
        ToolCallDelta(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "weather"),
        ToolCallDelta(0, arguments='{"city": "Ro'),
        ToolCallDelta(0, arguments='me"}'),
        ToolCallDelta(1, "toolu_02b", "time"),
        ToolCallDelta(1, arguments="{}"),
        ToolCalls(
            (
                ToolCall("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "weather", '{"city": "Rome"}'),
                ToolCall("toolu_02b", "time", "{}"),
            )
        ),
        Usage(472, 89, 0),
        FinishReason("tool_calls"),
    ],
    "thinking.sse": [
        Reasoning("Rome"),
        Reasoning(" it is."),
        ToolCallDelta(0, "toolu_01", "weather"),
        ToolCallDelta(0, arguments='{"city":"Rome"}'),
        ToolCalls((ToolCall("toolu_01", "weather", '{"city":"Rome"}'),)),
        ProviderMetadata("anthropic", [THOUGHT, {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}, CALLED]),
        Usage(25, 60, 0, 40),
        FinishReason("tool_calls"),
    ],
    "thinking_omitted.sse": [
        "42.",
        ProviderMetadata(
            "anthropic",
            [
                {"type": "thinking", "thinking": "", "signature": "EosnCkYICxIMMb3LzNrMu"},
                {"type": "text", "text": "42."},
            ],
        ),
        Usage(25, 12, 0),
        FinishReason("stop"),
    ],
    "thinking_only.sse": [Reasoning("Hmm"), Usage(25, 4, 0), FinishReason("length")],
    "web_search.sse": [
        "It is blue.",
        ProviderMetadata("anthropic", SEARCHED),
        Usage(6039, 20, 0),
        FinishReason("pause_turn"),
    ],
    "refusal.sse": [
        "First",
        Refusal("This cannot be answered."),
        Usage(25, 3, 0),
        FinishReason("content_filter"),
    ],
    "max_tokens.sse": [
        Reasoning("Hm"),
        ToolCallDelta(0, "toolu_9", "write"),
        ToolCallDelta(0, arguments='{"text":"Once u'),
        ToolCalls((ToolCall("toolu_9", "write", '{"text":"Once u'),)),
        Usage(25, 4, 0),
        FinishReason("length"),
    ],
    "no_message_stop.sse": ["Blue", Usage(25, 1, 0), FinishReason("length")],
    "imitation.sse": [
        "Bl",
        "ue",
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(0, arguments='{"x":1}'),
        ToolCalls((ToolCall("a", "f", '{"x":1}'),)),
        Usage(7, 5),
        FinishReason("tool_calls"),
    ],
    "whole.json": ["Hello!", Usage(10, 6), FinishReason("stop")],
    "whole_tools.json": [
        Reasoning("Two."),
        "Looking.",
        ToolCallDelta(0, "toolu_1", "weather"),
        ToolCallDelta(0, arguments='{"city":"Rome"}'),
        ToolCallDelta(1, "toolu_2", "time"),
        ToolCallDelta(1, arguments="{}"),
        ToolCalls((ToolCall("toolu_1", "weather", '{"city":"Rome"}'), ToolCall("toolu_2", "time", "{}"))),
        ProviderMetadata(
            "anthropic",
            [
                {"type": "thinking", "thinking": "Two.", "signature": "Eq"},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
            ],
        ),
        Usage(12, 9, 5),
        FinishReason("tool_calls"),
    ],
}

ERRORS: dict[str, tuple[list[Chunk], type[APIStatusError], int, str, str | None]] = {
    "overloaded.sse": (["Once upon"], InternalServerError, 529, "Overloaded", "req_011CSHoEeqs5C35K2UUqR7Fy"),
    "error_at_once.sse": ([], InternalServerError, 500, "Internal server error", None),
    "error.json": ([], RateLimitError, 429, "slow down", "req_1"),
}

STREAMS = sorted(name for name in ANSWERS if name.endswith(".sse"))
MESSAGE_STOP = b'{"type":"message_stop"}'


def frames_of(name: str) -> list[bytes]:
    tape = (TAPES / name).read_bytes()
    if name.endswith(".json"):
        return [tape]
    return events(tape)


def decode(*batches: list[bytes]) -> tuple[list[Chunk], AnthropicDecoder]:
    return drained(Anthropic().decoder(), *batches)


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def begin(index: int, kind: str, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **block})


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def text(said: str, index: int = 0) -> bytes:
    return delta(index, "text_delta", text=said)


def said(*frames: bytes) -> list[Chunk]:
    chunks, decoder = decode([*frames, MESSAGE_STOP])
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


@pytest.mark.parametrize("name", STREAMS)
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    check_cuts(decode, events, (TAPES / name).read_bytes(), ANSWERS[name], never=(ProviderMetadata,))


@pytest.mark.parametrize("name", ["whole.json", "whole_tools.json"])
def test_a_whole_answer_that_is_cut_at_any_byte_is_truncated(name: str) -> None:
    tape = (TAPES / name).read_bytes().rstrip()
    for cut in range(len(tape)):
        chunks, decoder = decode([tape[:cut]])
        assert chunks == []
        assert isinstance(decoder.error, TruncatedError)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_inside_a_stream_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, kind, status, message, request_id = ERRORS[name]
    frames = frames_of(name)
    chunks, decoder = decode(*([frames] if batched else [[frame] for frame in frames]))
    error = decoder.error
    assert [chunk for chunk in chunks if not isinstance(chunk, Usage)] == before
    assert isinstance(error, kind)
    assert (error.status, error.message, error.request_id) == (status, message, request_id)
    assert decoder.feed([text("more")]) == []


def test_a_stop_reason_shows_before_the_end_so_that_a_reader_need_not_wait_for_it() -> None:
    decoder = Anthropic().decoder()
    assert decoder.feed([begin(0, "text", text=""), text("Hi")]) == ["Hi"]
    assert decoder.feed([event("message_delta", delta={"stop_reason": "end_turn"})]) == []
    assert (decoder.finished, decoder.done) == (True, False)
    assert decoder.feed([event("message_delta", delta={}, usage={"output_tokens": 3})]) == []
    assert decoder.close() == [Usage(None, 3), FinishReason("stop")]
    assert decoder.done
    assert decoder.close() == []


def test_an_end_without_a_stop_reason_is_a_cut_and_tells_what_was_read_so_far() -> None:
    start = event("message_start", message={"usage": {"input_tokens": 7, "output_tokens": 1}})
    chunks, decoder = decode([start, begin(0, "text"), text("Hi")])
    assert chunks == ["Hi", Usage(7)]
    assert str(decoder.error) == ("the answer was cut off: it ended without a stop reason and without message_stop")


def test_nothing_after_the_end_is_read() -> None:
    assert said(text("a"), MESSAGE_STOP, text("b")) == ["a"]


def test_a_reason_that_nobody_knows_passes_through() -> None:
    assert said(event("message_delta", delta={"stop_reason": "tired"})) == [FinishReason("tired")]


def test_pieces_without_the_block_that_they_belong_to_are_read_all_the_same() -> None:
    pieces = [
        delta(0, "thinking_delta", thinking="Hm"),
        text("a", 1),
        delta(2, "input_json_delta", partial_json="{}"),
    ]
    turn = [
        {"type": "thinking", "thinking": "Hm"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "input": {}},
    ]
    assert said(*pieces) == [
        Reasoning("Hm"),
        "a",
        ToolCallDelta(0),
        ToolCallDelta(0, arguments="{}"),
        ToolCalls((ToolCall("call_0", "", "{}"),)),
        ProviderMetadata("anthropic", turn),
        FinishReason("tool_calls"),
    ]


def test_blocks_that_share_an_index_are_several() -> None:
    calls = [begin(0, "tool_use", id=name, name="f") for name in ("a", "a", "b")]
    assert said(*calls)[-2] == ToolCalls((ToolCall("a", "f", "{}"), ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")))


def test_what_is_null_is_nothing() -> None:
    opened = begin(0, "text", text=None, citations=None)
    null = delta(0, "text_delta", text=None)
    ended = event("message_delta", delta={"stop_reason": None, "stop_details": None}, usage=None)
    assert said(event("message_start", message={}), opened, null, ended) == []


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"ping"}',
        b"{}",
        b"null",
        b"  ",
        b"[DONE]",
        b'{"type":"status","message":"working"}',
        b'{"type":"vendor_event","content_block":5}',
        event("content_block_stop", index=9),
        delta(0, "compaction_delta", content="..."),
        begin(1, "container_upload", file_id="f"),
        NamedFrame(b"2026-11-21", "ping"),
        NamedFrame(b'{"step":1}', "progress"),
    ],
)
def test_harmless_frames_are_skipped(frame: bytes) -> None:
    chunks = said(text("a"), frame, text("b"))
    assert [chunk for chunk in chunks if not isinstance(chunk, ProviderMetadata)] == ["a", "b"]


def test_what_is_unknown_is_told_once_to_who_debugs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="g4ftrio"):
        said(event("new_event"), begin(0, "new_block"), delta(0, "new_delta"))
    assert caplog.messages == ["an answer holds an event of the type 'new_event', which was passed over"]


def test_an_event_without_a_type_goes_by_its_name() -> None:
    named = NamedFrame(b'{"index":0,"delta":{"type":"text_delta","text":"a"}}', "content_block_delta")
    assert said(named) == ["a"]


@pytest.mark.parametrize(
    ("frame", "status", "message"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', 529, "Overloaded"),
        (b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}', 400, "no"),
        (b'{"type":"error","error":{"type":"billing_error","message":""}}', 402, "billing_error"),
        (b'{"type":"error","error":{"type":"timeout_error","message":"no"}}', 504, "no"),
        (b'{"type":"error","error":{"type":"new_error","message":"no"}}', None, "no"),
        (b'{"error":{"message":"no","code":429}}', 429, "no"),
        (b'{"detail":"no"}', None, "no"),
        (b'[{"error":{"code":400,"message":"no"}}]', 400, "no"),
        (NamedFrame(b"no", "error"), None, "no"),
        (NamedFrame(b'"no"', "error"), None, "no"),
        (NamedFrame(b'{"message":"no"}', "error"), None, "no"),
    ],
)
def test_errors_are_read_in_every_form_that_servers_send(frame: bytes, status: int | None, message: str) -> None:
    error = failure(text("a"), frame)
    assert isinstance(error, APIStatusError)
    assert (error.status, error.message) == (status, message)


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff\xfe", "��"),
        (b'"ping"', "ping"),
        (text(5), "Expected `str`, got `int` - at `text`"),  # type: ignore[arg-type]  # what a server may send
        (event("content_block_delta", index="0", delta={}), "$.index"),
        (event("content_block_delta", delta="text"), "$.delta"),
        (event("content_block_start", index=0), "content_block"),
        (event("content_block_delta", delta={"type": ["text_delta"]}), "at `type`"),
        (begin(0, ["text"]), "at `type`"),  # type: ignore[arg-type]  # as above
        (begin(0, "tool_use", id=5), "at `id`"),
        (begin(0, "text", text={}), "at `text`"),
        (event("message_delta", delta={"stop_reason": 5}), "stop_reason"),
        (event("message", content="text"), "$.content"),
        (event("message", content=["text"]), "$.content"),
        (b"[" * 100_000, "[[[[[["),
        (NamedFrame(b'{"index":0}', "content_block_delta"), "delta"),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    error = failure(text("a"), frame, text("b"))
    assert isinstance(error, APIResponseValidationError)
    assert seen in error.message
    assert len(error.message) < 400


def test_numbers_of_the_usage_are_sums_and_the_last_counts() -> None:
    told = [{"input_tokens": 5, "cache_creation_input_tokens": 2}, {"output_tokens": 3}, {"output_tokens": 4}]
    assert said(*(event("message_delta", delta={}, usage=usage) for usage in told)) == [Usage(7, 4)]
    nonsense = [{"input_tokens": "many", "output_tokens": True}, "none", [1]]
    assert said(*(event("message_delta", delta={}, usage=usage) for usage in nonsense)) == []


@pytest.mark.parametrize("signature", [5, ["E"], {}])
def test_a_turn_that_cannot_be_sent_back_is_not_kept(signature: Any) -> None:
    thought = [begin(0, "thinking", signature=signature), delta(0, "signature_delta", signature="E")]
    assert said(*thought, text("a", 1)) == ["a"]


def test_an_event_that_is_two_is_not_taken_for_two() -> None:
    assert isinstance(failure(text("a") + b"," + text("b")), APIResponseValidationError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"]) | JSON
PIECES = st.sampled_from(["text", "thinking", "signature", "input_json", "citations", "new"]).map("{}_delta".format)
BLOCKS = JSON | st.fixed_dictionaries(
    {"type": KINDS}, optional=dict.fromkeys(("id", "name", "text", "thinking", "input", "signature", "citations"), JSON)
)
DELTAS = JSON | st.fixed_dictionaries(
    {"type": PIECES | JSON},
    optional=dict.fromkeys(("text", "thinking", "signature", "partial_json", "citation"), st.text(max_size=3) | JSON),
)
STOPS = JSON | st.fixed_dictionaries({}, optional={"stop_reason": st.text(max_size=3) | JSON, "stop_details": JSON})
INDICES = st.integers(0, 1) | JSON
EVENTS = st.one_of(
    JSON,
    st.fixed_dictionaries({"type": st.just("message_start"), "message": JSON}),
    st.fixed_dictionaries({"type": st.just("content_block_start"), "index": INDICES, "content_block": BLOCKS}),
    st.fixed_dictionaries({"type": st.just("content_block_delta"), "index": INDICES, "delta": DELTAS}),
    st.fixed_dictionaries({"type": st.just("content_block_stop"), "index": INDICES}),
    st.fixed_dictionaries({"type": st.just("message_delta"), "delta": STOPS, "usage": JSON}),
    st.fixed_dictionaries({"type": st.just("message"), "content": JSON | st.lists(BLOCKS, max_size=2), "usage": JSON}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["ping", "error", "message_stop", "new"])}, optional={"error": JSON}
    ),
)
FRAMES = EVENTS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=8) | st.just(text("x"))


@given(st.lists(FRAMES, max_size=6))
@settings(deadline=None, max_examples=120)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


@given(mangled([frames_of(name) for name in STREAMS]))
@settings(deadline=None, max_examples=100)
def test_shuffled_and_shortened_frames_are_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)
