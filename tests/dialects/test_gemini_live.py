"""Dialogues of Gemini Live: what is said when; answers read whole, in every batching, cut at every message, mangled.

The tapes are written from the service's documents, one message a line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from g4ftrio._words.chunks import (
    AudioResponse,
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
    InternalServerError,
    MessagesError,
    ProviderError,
    SetupError,
    TruncatedError,
)
from g4ftrio._words.messages import image, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import SocketDialect
from g4ftrio.dialects.gemini_live import GeminiLive, GeminiLiveDialogue
from g4ftrio.simulator._gemini_live import GeminiLive as Simulated
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark
from tests.dialects.tapes import check_alike, check_batchings, drained

TAPES = Path(__file__).parent / "tapes" / "gemini_live"
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}

ANSWERS: dict[str, list[Chunk]] = {
    "text.jsonl": ["The sky", " is blüe", ".", Usage(9, 5), FinishReason("stop")],
    "speech.jsonl": [
        Reasoning("I greet."),
        AudioResponse(b"\x00\x01\x02", "pcm16"),
        AudioResponse(transcript="Hel"),
        AudioResponse(transcript="lo."),
        Usage(9, 8, None, 3),
        FinishReason("stop"),
    ],
    "tools.jsonl": [
        ToolCallDelta(0, "fc-1", "weather", '{"city":"Rome"}'),
        ToolCallDelta(1, "fc-2", "time", "{}"),
        ToolCalls((ToolCall("fc-1", "weather", '{"city":"Rome"}'), ToolCall("fc-2", "time", "{}"))),
        ProviderMetadata(
            "gemini",
            [
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"functionCall": {"id": "fc-1", "name": "weather", "args": {"city": "Rome"}}},
                {"functionCall": {"id": "fc-2", "name": "time", "args": {}}},
            ],
        ),
        Usage(9, 5),
        FinishReason("tool_calls"),
    ],
    "interrupted.jsonl": ["Once", FinishReason("interrupted")],
    "in_progress.jsonl": ["One moment.", " Done.", Usage(9, 5), FinishReason("stop")],
    "blocked.jsonl": [FinishReason("content_filter")],
}


def begin(model: str = "gemini-live-2.5-flash", messages: Any = HELLO, **params: Any) -> GeminiLiveDialogue:
    extra = params.pop("extra_body", {})
    request = ChatRequest(model=model, messages=normalize(messages), params=params, extra_body=extra)
    return GeminiLive().dialogue(request)


def said(dialogue: GeminiLiveDialogue) -> list[Any]:
    return [msgspec.json.decode(message) for message in dialogue.outgoing()]


def setup(**settings: Any) -> Any:
    (message,) = said(begin(**settings))
    return message["setup"]


def question(*messages: dict[str, Any], model: str = "gemini-live-2.5-flash") -> list[Any]:
    dialogue = begin(model, list(messages))
    dialogue.outgoing()
    dialogue.feed([b'{"setupComplete":{}}'])
    return said(dialogue)


def frames_of(name: str) -> list[bytes]:
    return (TAPES / name).read_bytes().splitlines()


def read(*batches: list[bytes]) -> tuple[list[Chunk], GeminiLiveDialogue]:
    return drained(begin(), *batches)


def failure(*frames: bytes) -> ProviderError:
    _, dialogue = read(list(frames))
    assert isinstance(dialogue.error, ProviderError)
    return dialogue.error


def test_it_is_a_dialect_over_sockets() -> None:
    dialect: SocketDialect = GeminiLive()
    request = ChatRequest(model="m", messages=[])
    assert dialect.path_for(request) == (
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )
    assert dialect.models_path == "/v1beta/models?pageSize=1000"
    assert dialect.read_models(b'{"models":[{"name":"models/m"}]}') == ["m"]
    assert dialect.read_error(b'{"error":{"message":"no","status":"UNAUTHENTICATED"}}') == ("no", "UNAUTHENTICATED")


def test_the_question_waits_until_the_setup_is_taken() -> None:
    dialogue = begin()
    assert [*said(dialogue)[0]] == ["setup"]
    assert said(dialogue) == []
    assert dialogue.feed([b'{"sessionResumptionUpdate":{}}']) == []
    assert said(dialogue) == []
    assert dialogue.feed([b'{"setupComplete":{"sessionId":"s"}}']) == []
    turns = [{"role": "user", "parts": [{"text": "Hello"}]}]
    assert said(dialogue) == [{"clientContent": {"turns": turns, "turnComplete": True}}]
    assert dialogue.feed([b'{"setupComplete":{}}']) == []
    assert said(dialogue) == []


def test_the_setup_holds_what_is_no_turn() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    settings = {"temperature": 0.5, "max_tokens": 9, "reasoning_effort": "low", "tools": [WEATHER]}
    extra = {"generationConfig": {"temperature": None}, "sessionResumption": {}}
    assert setup(messages=messages, extra_body=extra, **settings) == {
        "model": "models/gemini-live-2.5-flash",
        "generationConfig": {
            "maxOutputTokens": 9,
            "responseModalities": ["TEXT"],
            "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True},
        },
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "parametersJsonSchema": WEATHER["function"]["parameters"]},  # type: ignore[index]  # a plain nested dict
                ]
            }
        ],
        "sessionResumption": {},
    }
    assert "tools" not in setup(tools=[WEATHER], tool_choice="none")


def test_sound_is_asked_for_with_its_transcript() -> None:
    asked = setup(modalities=["text", "audio"], audio={"voice": "Kore"})
    assert asked["generationConfig"]["responseModalities"] == ["AUDIO"]
    assert asked["generationConfig"]["speechConfig"] == {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
    assert asked["outputAudioTranscription"] == {}


def test_what_the_wire_has_no_form_for_is_refused_before_anything_is_said() -> None:
    with pytest.raises(SetupError, match="this service takes no 'response_format', 'stop'"):
        begin(response_format={"type": "json_object"}, stop="a")
    with pytest.raises(SetupError, match="takes no tool_choice but 'auto' and 'none'"):
        begin(tools=[WEATHER], tool_choice="required")
    with pytest.raises(MessagesError, match="no last message other than a user's text from this model"):
        begin("gemini-3.1-flash-live", [{"role": "user", "content": [image(b"\x89PNG\r\n\x1a\n")]}])
    with pytest.raises(MessagesError, match="ask a model that takes whole turns"):
        begin("gemini-3.1-flash-live", [*HELLO, {"role": "assistant", "content": "Hi"}])


def test_models_of_the_third_generation_take_the_question_as_text_of_the_moment() -> None:
    history = [*HELLO, {"role": "assistant", "content": "Hi."}]
    moment = {"realtimeInput": {"text": "Hello"}}
    turns = [{"role": "user", "parts": [{"text": "Hello"}]}, {"role": "model", "parts": [{"text": "Hi."}]}]
    assert question(*HELLO, model="gemini-3.1-flash-live-preview") == [moment]
    assert question(*history, *HELLO, model="gemini-3.1-flash-live-preview") == [
        {"clientContent": {"turns": turns, "turnComplete": True}},
        moment,
    ]
    asked = setup(model="gemini-3.1-flash-live-preview", messages=[*history, *HELLO])
    assert asked["historyConfig"] == {"initialHistoryInClientContent": True}
    assert "historyConfig" not in setup(model="gemini-3.1-flash-live-preview")


def test_every_tape_has_its_expected_chunks_here() -> None:
    assert {path.name for path in TAPES.iterdir()} == set(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_gives_exactly_its_chunks_however_its_messages_are_batched(name: str) -> None:
    check_batchings(read, frames_of(name), ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_tape_that_is_cut_between_messages_is_whole_or_truncated(name: str) -> None:
    frames = frames_of(name)
    expected = [chunk for chunk in ANSWERS[name] if not isinstance(chunk, Usage)]
    for cut in range(len(frames)):
        chunks, dialogue = read(frames[:cut])
        came = [chunk for chunk in chunks if not isinstance(chunk, Usage)]
        if dialogue.error is None:
            assert came == expected
        else:
            assert isinstance(dialogue.error, TruncatedError)
            assert came == expected[: len(came)]
            assert not any(isinstance(chunk, ToolCalls | FinishReason) for chunk in chunks)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_message_that_is_cut_at_any_byte_is_truncated(name: str) -> None:
    for frame in frames_of(name):
        for cut in range(1, len(frame)):
            assert isinstance(failure(frame[:cut]), TruncatedError)


def test_a_connection_that_closes_as_announced_says_so() -> None:
    error = failure(b'{"goAway":{"timeLeft":"5s"}}', b'{"serverContent":{"modelTurn":{"parts":[{"text":"a"}]}}}')
    said = "the connection was closed before the turn was complete, as the service had announced"
    assert str(error) == f"the answer was cut off: {said}"


def test_everything_said_is_an_end_though_the_turns_end_never_comes() -> None:
    said = b'{"serverContent":{"modelTurn":{"parts":[{"text":"a"}]},"generationComplete":true}}'
    assert read([said])[0] == ["a", FinishReason("stop")]


def test_an_error_after_text_is_an_error_after_it() -> None:
    text = b'{"serverContent":{"modelTurn":{"parts":[{"text":"a"}]}}}'
    chunks, dialogue = read([text, b'{"error":{"code":500,"message":"no"}}', text])
    assert chunks == ["a"]
    assert isinstance(dialogue.error, InternalServerError)
    assert dialogue.feed([text]) == []


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("NEED_MORE_INPUT", "stop"),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
        ("RESPONSE_REJECTED", "content_filter"),
        ("GENERATED_CONTENT_SAFETY", "content_filter"),
        ("INPUT_OTHER", "content_filter"),
    ],
)
def test_why_a_turn_is_complete_is_told_in_the_common_words_or_its_own(word: str, reason: str) -> None:
    content = {"serverContent": {"turnComplete": True, "turnCompleteReason": word}}
    assert read([json.dumps(content).encode()])[0] == [FinishReason(reason)]


@pytest.mark.parametrize(
    "frame",
    [
        b'"text"',
        b'{"serverContent":[]}',
        b'{"serverContent":{"modelTurn":{"parts":[{"text":5}]}}}',
        b'{"toolCall":{"functionCalls":[{"id":"a"}]}}',
        b"\xff",
    ],
)
def test_what_is_not_of_the_wires_form_is_a_typed_error(frame: bytes) -> None:
    assert isinstance(failure(frame), APIResponseValidationError)


def test_harmless_messages_are_passed_over() -> None:
    harmless = [
        b"{}",
        b'{"voiceActivity":{"type":"START"}}',
        b'{"toolCall":{}}',
        b'{"toolCallCancellation":{"ids":[]}}',
    ]
    assert read([*harmless, *frames_of("text.jsonl")])[0] == ANSWERS["text.jsonl"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("modelTurn", "outputTranscription", "turnComplete", "parts", "text", "functionCalls", "interrupted")
CONTENTS = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON))
KINDS = ("serverContent", "toolCall", "setupComplete", "usageMetadata", "error", "goAway")
MESSAGES = st.dictionaries(st.sampled_from(KINDS), CONTENTS, max_size=2).map(lambda value: json.dumps(value).encode())


@given(st.lists(MESSAGES | st.binary(max_size=8), max_size=6))
@settings(deadline=None, max_examples=100)
def test_whatever_comes_gives_chunks_or_a_typed_error(frames: list[bytes]) -> None:
    check_alike(read, frames)


# Both halves, one against the other


def converse(items: list[Item], **settings: Any) -> tuple[list[Chunk], Ask]:
    """Have the simulator's session answer a dialogue with these items."""
    dialogue, session = begin(**settings), Simulated().session({}, "answer-1", 0)
    asked: Ask | None = None
    chunks: list[Chunk] = []
    to_server = dialogue.outgoing()
    while to_server:
        to_client: list[bytes] = []
        for message in to_server:
            replies, ask = session.hear(msgspec.json.decode(message))
            to_client += replies
            asked = asked or ask
        chunks += dialogue.feed(to_client)
        to_server = dialogue.outgoing()
    assert asked is not None
    for item in items:
        chunks += dialogue.feed(session.say(item))
    assert dialogue.error is None
    return chunks, asked


@pytest.mark.parametrize("model", ["gemini-live-2.5-flash", "gemini-3.1-flash-live-preview"])
def test_the_simulator_is_asked_and_answers(model: str) -> None:
    items: list[Item] = [Mark.OPEN, Reasoning("Hm."), "Hi", " there", FinishReason("stop"), Usage(3, 4), Mark.DONE]
    messages = [*HELLO, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Why so blue?"}]
    chunks, asked = converse(items, model=model, messages=messages, max_tokens=7)
    assert chunks == [Reasoning("Hm."), "Hi", " there", Usage(3, 4), FinishReason("stop")]
    assert (asked.model, asked.prompt, asked.max_tokens, asked.input_tokens) == (model, "Why so blue?", 7, 5)


def test_a_tool_round_trip_with_the_simulator() -> None:
    pieces: list[Item] = [ToolCallDelta(0, "fc-1", "weather"), ToolCallDelta(0, arguments='{"city":"Rome"}')]
    chunks, asked = converse([Mark.OPEN, *pieces, FinishReason("tool_calls"), Usage(3, 4)], tools=[WEATHER])
    assert asked.tools[0].name == "weather"
    assert chunks[1:] == [ToolCalls((ToolCall("fc-1", "weather", '{"city":"Rome"}'),)), FinishReason("tool_calls")]
    call = {"id": "fc-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "fc-1", "content": "21 degrees"},
    ]
    _, asked = converse([FinishReason("stop"), Mark.DONE], model="gemini-live-4", messages=messages, tools=[WEATHER])
    assert asked.tool_result == "21 degrees"


def test_the_simulator_goes_on_with_a_turn_when_it_has_the_results() -> None:
    session = Simulated().session({}, "answer-1", 0)
    session.hear({"setup": {"model": "models/m", "tools": [{"function_declarations": []}]}})
    session.hear({"client_content": {"turns": [{"parts": [{"text": "Hello"}]}], "turnComplete": True}})
    called: list[Item] = [ToolCallDelta(0, "fc-1", "weather", "{}"), FinishReason("tool_calls"), Mark.DONE]
    (message,) = [message for item in called for message in session.say(item)]
    assert msgspec.json.decode(message)["toolCall"]["functionCalls"] == [{"id": "fc-1", "name": "weather", "args": {}}]
    result = {"id": "fc-1", "name": "weather", "response": {"output": "rain"}}
    _, asked = session.hear({"tool_response": {"functionResponses": [result]}})
    assert asked is not None
    assert (asked.prompt, asked.tool_result) == ("Hello", "rain")


def test_the_simulator_refuses_in_words() -> None:
    session = Simulated().session({}, "answer-1", 0)
    with pytest.raises(ValueError, match="the first message must be a setup"):
        session.hear({"clientContent": {"turns": [], "turnComplete": True}})
    session.hear({"setup": {"model": "models/m"}})
    with pytest.raises(ValueError, match="a message is one of"):
        session.hear({})
    (error,) = session.error(429, "slow down", "rate_limit")
    assert failure(error).message == "slow down"
    assert session.say(Frame(b"{")) == [b"{"]
    assert session.say(Mark.COMMENT) == []
    assert Simulated().key({}, {"key": "k"}) == "k"
    assert Simulated().key({"x-goog-api-key": "h"}, {"key": "k"}) == "h"
