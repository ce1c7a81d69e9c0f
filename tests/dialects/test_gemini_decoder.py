"""Answers of generateContent, decoded whole, in every batching, cut at every byte, and mangled.

The tapes are written from the service's documents; what only gateways do was taken from reports about them.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._framing import framer_for
from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    FinishReason,
    ImageResponse,
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
    BadRequestError,
    InternalServerError,
    ProviderError,
    RateLimitError,
    TruncatedError,
)
from g4ftrio.dialects.gemini import Gemini, GeminiDecoder
from tests.dialects.tapes import check_alike, check_batchings, check_cuts, drained, events, mangled

TAPES = Path(__file__).parent / "tapes" / "gemini"
SIGNATURE = "EroCCrcCAXLI2nwbXqLbZ0C7d5Zy"
SIGNED = {"thoughtSignature": SIGNATURE}


def kept(*parts: dict[str, Any]) -> ProviderMetadata:
    return ProviderMetadata("gemini", list(parts))


ANSWERS: dict[str, list[Chunk]] = {
    "signed_text.sse": [
        *("The sky", " is blüe 🌌", "."),
        kept({"text": "The sky is blüe 🌌."}, {"text": "", **SIGNED}),
        Usage(8, 69, 4, 61),
        FinishReason("stop"),
    ],
    "unsigned_text.sse": ["Blue", " light", " scatters", ".", Usage(8, 4), FinishReason("stop")],
    "thoughts.sse": [
        Reasoning("**Weighing it**\n\n"),
        Reasoning("Short waves."),
        "Rayleigh",
        " scattering.",
        kept(
            {"text": "**Weighing it**\n\nShort waves.", "thought": True},
            {"text": "Rayleigh"},
            {"text": " scattering.", **SIGNED},
        ),
        Usage(9, 45, None, 40),
        FinishReason("stop"),
    ],
    "parallel_tools.sse": [
        Reasoning("Let me look."),
        ToolCallDelta(0, "fc-1", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "fc-2", "time", "{}"),
        ToolCalls((ToolCall("fc-1", "weather", '{"city":"Rome"}'), ToolCall("fc-2", "time", "{}"))),
        kept(
            {"text": "Let me look.", "thought": True},
            {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "fc-1"}, **SIGNED},
            {"functionCall": {"name": "time", "args": {}, "id": "fc-2"}},
        ),
        Usage(50, 50, None, 30),
        FinishReason("tool_calls"),
    ],
    "tools_without_ids.sse": [
        "Two calls.",
        ToolCallDelta(0, "", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "", "weather", '{"city":"Oslo","days":2}'),
        ToolCalls(
            (
                ToolCall("call_0", "weather", '{"city":"Rome"}'),
                ToolCall("call_1", "weather", '{"city":"Oslo","days":2}'),
            )
        ),
        Usage(40, 18),
        FinishReason("tool_calls"),
    ],
    "image.sse": [
        "Here it is: ",
        ImageResponse(("data:image/png;base64,iVBORw0KGgoAAA==",)),
        kept(
            {"text": "Here it is: "},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thought": True},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAA=="}, **SIGNED},
        ),
        Usage(6, 1294),
        FinishReason("stop"),
    ],
    "speech.sse": [
        AudioResponse(b"\x00\x01\x02", "pcm16"),
        AudioResponse(b"\x03\x04\x05", "pcm16"),
        Usage(3, 50),
        FinishReason("stop"),
    ],
    "code_and_search.sse": [
        "It is 42.",
        kept(
            {"executableCode": {"language": "PYTHON", "code": "print(6*7)\n"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
            {"text": "It is 42."},
        ),
        Usage(41, 14),
        FinishReason("stop"),
    ],
    "max_tokens.sse": ["Once upon", Usage(5, 3), FinishReason("length")],
    "safety.sse": ["To do that,", Usage(5, 3), FinishReason("content_filter")],
    "malformed_call.sse": [Usage(80), FinishReason("MALFORMED_FUNCTION_CALL")],
    "gateway_finishes_early.sse": ["Late", " text", Usage(7, 2), FinishReason("stop")],
    "whole.json": [Reasoning("Because."), "Blue.", Usage(8, 17, None, 15), FinishReason("stop")],
    "whole_tools.json": [
        ToolCallDelta(0, "fc-9", "weather", '{"city":"Rome"}'),
        ToolCalls((ToolCall("fc-9", "weather", '{"city":"Rome"}'),)),
        kept({"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "fc-9"}, **SIGNED}),
        Usage(50, 12),
        FinishReason("tool_calls"),
    ],
    "array.json": ["Streamed without", " alt=sse", Usage(4, 4), FinishReason("stop")],
}

ERRORS: dict[str, tuple[list[Chunk], type[APIStatusError], int | None, str]] = {
    "error_after_text.sse": (
        ["Once upon"],
        InternalServerError,
        503,
        "The model is overloaded. Please try again later.",
    ),
    "error_array.json": ([], RateLimitError, 429, "You exceeded your current quota."),
    "blocked.sse": ([], BadRequestError, None, "the prompt was blocked, PROHIBITED_CONTENT"),
    "blocked.json": ([], BadRequestError, None, "the prompt was blocked, SAFETY (HARM_CATEGORY_DANGEROUS_CONTENT)"),
}

STREAMS = sorted(name for name in ANSWERS if name.endswith(".sse"))
LOOKS_WHOLE_BEFORE_ITS_END = "gateway_finishes_early.sse"


def frames_of(name: str) -> list[bytes]:
    framer = framer_for("application/json" if name.endswith(".json") else "text/event-stream")
    return framer.feed((TAPES / name).read_bytes()) + framer.close()


def decode(*batches: list[bytes]) -> tuple[list[Chunk], GeminiDecoder]:
    return drained(Gemini().decoder(), *batches)


def event(*parts: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, "finishReason": reason}
    return json.dumps({"candidates": [candidate], **more}).encode()


END = event(reason="STOP")


def said(*frames: bytes) -> list[Chunk]:
    chunks, decoder = decode([*frames, END])
    assert decoder.error is None
    assert chunks.pop() == FinishReason("stop")
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


@pytest.mark.parametrize("name", [name for name in STREAMS if name != LOOKS_WHOLE_BEFORE_ITS_END])
def test_a_tape_that_is_cut_at_any_byte_is_whole_or_truncated(name: str) -> None:
    check_cuts(decode, events, (TAPES / name).read_bytes(), ANSWERS[name], never=(ProviderMetadata,))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name.endswith(".json")])
def test_a_whole_answer_that_is_cut_at_any_byte_is_truncated(name: str) -> None:
    tape = (TAPES / name).read_bytes().rstrip()
    for cut in range(1, len(tape)):
        chunks, decoder = decode([tape[:cut]])
        assert chunks == []
        assert isinstance(decoder.error, TruncatedError)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_in_an_answer_is_an_error_after_the_chunks_before_it(name: str, batched: bool) -> None:
    before, kind, status, message = ERRORS[name]
    frames = frames_of(name)
    chunks, decoder = decode(*([frames] if batched else [[frame] for frame in frames]))
    assert chunks == before
    assert type(decoder.error) is kind
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.status, decoder.error.message) == (status, message)
    assert decoder.feed([event({"text": "more"})]) == []


def test_a_blocked_prompt_is_said_in_words() -> None:
    feedback = {"blockReason": "OTHER", "blockReasonMessage": "Not in your region.", "safetyRatings": None}
    error = failure(json.dumps({"promptFeedback": feedback}).encode())
    assert str(error) == "the request was refused: the prompt was blocked, OTHER: Not in your region."
    assert said(b'{"promptFeedback":{"safetyRatings":[{"category":"HARM","probability":"LOW"}]}}') == []


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *[
            ("STOP", "stop"),
            ("MAX_TOKENS", "length"),
            ("OTHER", "OTHER"),
            ("TOO_MANY_TOOL_CALLS", "TOO_MANY_TOOL_CALLS"),
        ],
        *[(word, "content_filter") for word in ("RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")],
        *[(word, "content_filter") for word in ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR")],
    ],
)
def test_a_finish_reason_is_told_in_the_common_words_or_its_own(word: str, reason: str) -> None:
    chunks, _ = decode([event({"text": "a"}, reason=word)])
    assert chunks == ["a", FinishReason(reason)]


def test_a_call_that_ran_into_the_limit_is_told_as_that() -> None:
    chunks, _ = decode([event({"functionCall": {"name": "f"}}, reason="MAX_TOKENS")])
    assert chunks[1:] == [ToolCalls((ToolCall("call_0", "f", "{}"),)), FinishReason("length")]


def test_a_finish_reason_shows_before_the_end_and_is_withdrawn_by_what_follows() -> None:
    decoder = GeminiDecoder()
    assert decoder.feed([event({"text": "a"}, reason="STOP")]) == ["a"]
    assert (decoder.finished, decoder.done) == (True, False)
    assert decoder.feed([event({"text": "b"})]) == ["b"]
    assert not decoder.finished
    assert decoder.close() == []
    assert str(decoder.error) == "the answer was cut off: it ended without a finish reason"


def test_a_reason_that_is_unspecified_is_none() -> None:
    assert isinstance(failure(event({"text": "a"}, reason="FINISH_REASON_UNSPECIFIED")), TruncatedError)


def test_usage_after_the_finish_reason_is_read_and_the_last_one_counts() -> None:
    usages = [json.dumps({"usageMetadata": {"promptTokenCount": count}}).encode() for count in (1, 2)]
    assert decode([event({"text": "a"}, reason="STOP"), *usages])[0] == ["a", Usage(2), FinishReason("stop")]
    assert decode([event({"text": "a"}), usages[1]])[0] == ["a", Usage(2)]
    assert said(b'{"usageMetadata":{"promptTokenCount":"many","candidatesTokenCount":true}}') == []
    assert said(b'{"usageMetadata":[1]}') == []


def test_only_the_first_candidate_is_read() -> None:
    second = {"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "MAX_TOKENS"}
    assert said(json.dumps({"candidates": [second, {"content": {"parts": [{"text": "yes"}]}}]}).encode()) == ["yes"]


def test_sounds_of_other_forms_keep_the_services_word_for_it() -> None:
    sound = [{"inlineData": {"mimeType": kind, "data": "AA=="}} for kind in ("audio/L16;rate=16000", "audio/mpeg")]
    expected = [AudioResponse(b"\x00", "L16;rate=16000"), AudioResponse(b"\x00", "mpeg")]
    assert said(event(*sound)) == expected


def test_a_linked_image_is_its_address() -> None:
    linked = {"fileData": {"mimeType": "image/png", "fileUri": "https://a/b"}}
    assert said(event(linked)) == [ImageResponse(("https://a/b",)), kept(linked)]


def test_server_side_tool_calls_are_kept_for_the_next_turn() -> None:
    parts: list[dict[str, Any]] = [
        {"toolCall": {"toolType": "GOOGLE_SEARCH", "id": "1"}},
        {"toolResponse": {"id": "1", "response": {}}},
    ]
    assert said(event(*parts), event({"text": "a"})) == ["a", kept(*parts, {"text": "a"})]


@pytest.mark.parametrize(
    "frame",
    [
        b"{}",
        b'{"candidates":[]}',
        b'{"candidates":[{}]}',
        b'{"candidates":[{"content":null}]}',
        b'{"modelVersion":"m"}',
        b'{"candidates":null,"error":null}',
        b"[]",
        b"  ",
        event({"text": ""}),
        event({"text": "", "thought": True}),
    ],
)
def test_harmless_frames_are_skipped(frame: bytes) -> None:
    assert said(event({"text": "a"}), frame, event({"text": "b"})) == ["a", "b"]


def test_what_is_unknown_is_passed_over_and_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "g4ftrio")
    unknown = [{"smell": {"of": "roses"}}, {"inlineData": {"mimeType": "video/mp4", "data": "AA=="}}]
    assert said(event(*unknown), b'{"news":1}') == [kept(*unknown)]
    assert caplog.messages == ["an answer holds a part of an unknown kind, which was passed over"]


def test_known_parts_without_a_form_are_passed_over_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "g4ftrio")
    decode(frames_of("code_and_search.sse"))
    decode(frames_of("image.sse"))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff\xfe", "��"),
        (b'"ping"', '"ping"'),
        (b'{"candidates":{}}', '{"candidates":{}}'),
        (b'{"candidates":[{"content":"text"}]}', "content"),
        (event({"text": 5}), "text"),
        (event({"functionCall": {"args": {}}}), "name"),
        (event({"functionCall": {"name": "f", "args": "{}"}}), "args"),
        (event({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a"}]}}), "partialArgs"),
        (event({"inlineData": {"mimeType": "audio/pcm", "data": "A"}}), "base64"),
        (b"[" * 100_000, "[[[[[["),
        (b'{"candidates":[{"content":{"parts":[{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}}]}", "candidates"),
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error_with_its_first_bytes(frame: bytes, seen: str) -> None:
    error = failure(event({"text": "a"}), frame, event({"text": "b"}))
    assert isinstance(error, APIResponseValidationError)
    assert seen in error.message
    assert len(error.message) < 400


def test_parts_before_one_that_cannot_be_read_are_not_lost() -> None:
    chunks, decoder = decode([event({"text": "a"}, {"text": 5})])
    assert chunks == ["a"]
    assert isinstance(decoder.error, APIResponseValidationError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "inlineData",
    "fileData",
    "executableCode",
    "name",
    "args",
)
PARTS = JSON | st.dictionaries(
    st.sampled_from(FIELDS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON), max_size=3
)
CONTENTS = JSON | st.fixed_dictionaries({"parts": JSON | st.lists(PARTS, max_size=3)})
CANDIDATES = st.fixed_dictionaries({}, optional={"index": JSON, "content": CONTENTS, "finishReason": JSON})
OTHERS = {"usageMetadata": JSON, "promptFeedback": JSON, "error": JSON}
EVENTS = JSON | st.fixed_dictionaries({}, optional={"candidates": st.lists(CANDIDATES, max_size=2), **OTHERS})
FRAMES = EVENTS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=8) | st.just(event({"text": "x"}))


@given(st.lists(FRAMES, max_size=6))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_gives_chunks_or_a_typed_error_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)


@given(mangled([frames_of(name) for name in STREAMS]))
@settings(deadline=None, max_examples=100)
def test_shuffled_and_shortened_frames_are_alike_in_one_batch_and_one_by_one(frames: list[bytes]) -> None:
    check_alike(decode, frames)
