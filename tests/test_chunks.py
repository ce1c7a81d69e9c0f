from __future__ import annotations

import pickle

import pytest
from msgspec import Struct

from g4ftrio._words.chunks import (
    AudioResponse,
    AuthResult,
    Chunk,
    Conversation,
    Failover,
    FinishReason,
    ImageResponse,
    Notice,
    ProviderInfo,
    ProviderMetadata,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    TypedChunk,
    Usage,
)

CALL = ToolCall(id="call_1", name="weather", arguments='{"city": "Rome"}')

# Every typed chunk, and what a terminal should print for it.
PRINTED = [
    (Reasoning("hm"), ""),
    (Refusal("I will not."), "I will not."),
    (Notice("open https://a"), "open https://a"),
    (ToolCallDelta(index=0, id="call_1", name="weather", arguments="{"), ""),
    (ToolCalls((CALL,)), ""),
    (Usage(input_tokens=1), ""),
    (Usage(output_tokens=1, details={"total_duration": 0.5}), ""),
    (FinishReason("stop"), ""),
    (
        ImageResponse(("https://a/1.png", "https://a/2.png"), "a cat"),
        "![a cat](https://a/1.png)\n![a cat](https://a/2.png)",
    ),
    (ImageResponse(("data:image/png;base64,AAAA", "https://a/1.png")), "![](https://a/1.png)"),
    (AudioResponse(b"\0\1", "pcm16", "hello"), "hello"),
    (AudioResponse(b"\0\1"), ""),
    (Conversation("one", {"id": "x"}), ""),
    (ProviderInfo("one", "a"), ""),
    (ProviderMetadata("wire", [{"signature": "x"}]), ""),
    (AuthResult(api_key="sk-secret"), ""),
    (Failover("one", "two", "it broke", restarted=True), ""),
]
each_chunk = pytest.mark.parametrize(("chunk", "printed"), PRINTED, ids=[type(chunk).__name__ for chunk, _ in PRINTED])


@each_chunk
def test_a_chunk_prints_as_what_a_terminal_should_show(chunk: TypedChunk, printed: str) -> None:
    assert str(chunk) == f"{chunk}" == printed


@each_chunk
def test_a_chunk_can_be_added_to_text_on_either_side(chunk: TypedChunk, printed: str) -> None:
    text = "so far: "
    text += chunk
    assert text == f"so far: {printed}"
    assert chunk + "!" == f"{printed}!"


def test_text_gathers_over_a_whole_stream_of_any_chunks() -> None:
    stream: list[Chunk] = ["The ", Reasoning("hm"), "sky", *(chunk for chunk, _ in PRINTED[4:7]), "."]
    text = ""
    for chunk in stream:
        text += chunk
    assert text == "The sky."


def test_every_class_of_chunk_is_tried_here() -> None:
    assert {type(chunk) for chunk, _ in PRINTED} == set(TypedChunk.__subclasses__())


@pytest.mark.parametrize("chunk", [chunk for chunk, _ in PRINTED if isinstance(chunk, Struct)])
def test_a_chunk_is_frozen(chunk: Struct) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(chunk, chunk.__struct_fields__[0], "changed")


def test_a_tool_call_is_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        CALL.id = "changed"  # type: ignore[misc]  # that it is refused is the test


def test_equal_chunks_are_equal_and_kinds_are_told_apart() -> None:
    thought: object = Reasoning("hm")
    assert thought == Reasoning("hm")
    assert thought not in (Reasoning("hm?"), Refusal("hm"))
    assert hash(ToolCalls((CALL,))) == hash(ToolCalls((ToolCall(CALL.id, CALL.name, CALL.arguments),)))


def test_what_a_service_did_not_say_is_none() -> None:
    assert Usage() == Usage(None, None, None, None, None)


@pytest.mark.parametrize("chunk", [chunk for chunk, _ in PRINTED if not isinstance(chunk, AuthResult)])
def test_a_chunk_can_be_pickled(chunk: TypedChunk) -> None:
    assert pickle.loads(pickle.dumps(chunk)) == chunk


def test_an_auth_result_holds_anything_and_shows_no_value() -> None:
    result = AuthResult(api_key="sk-secret", cookies={"session": "abcdef"})
    assert result.__dict__ == {"api_key": "sk-secret", "cookies": {"session": "abcdef"}}
    assert repr(result) == "AuthResult(api_key=***, cookies=***)"
    assert f"{result} {result!r} {[result]}".count("secret") == 0


def test_an_auth_result_survives_a_cache() -> None:
    assert pickle.loads(pickle.dumps(AuthResult(token="t"))).__dict__ == {"token": "t"}
