"""The gate of a race of chats: what wins, and what is kept until then."""

from __future__ import annotations

import pytest

from g4ftrio import (
    AudioResponse,
    Chunk,
    FinishReason,
    ImageResponse,
    Reasoning,
    RejectedError,
    ToolCallDelta,
    Usage,
    is_output,
)
from g4ftrio._streams.gate import KEPT, ChunkGate

KIB = 1024


def never(_chunk: Chunk, _text: str) -> bool:
    return False


def fourth(_chunk: Chunk, text: str) -> bool:
    return text.count(".") == 4


def let_through(gate: ChunkGate) -> list[Chunk]:
    """Give what the gate has kept, by showing it a tool call."""
    *kept, _ = gate.admit([ToolCallDelta(0)]) or []
    return kept


def test_a_batch_with_a_clean_chunk_is_admitted_whole() -> None:
    batch: list[Chunk] = ["", Reasoning("hm"), "Yes", Usage(1, 2), FinishReason("stop")]
    assert ChunkGate().admit(batch) == batch


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [""],
        [" \n", "\t"],
        [Reasoning("I think")],
        [Usage(1, 2)],
        [FinishReason("stop")],
        ['{"error": {"mess'],
        ["<!DOCTYPE html><html><he"],
    ],
)
def test_what_is_not_content_is_kept_and_comes_before_the_clean_chunk(batch: list[Chunk]) -> None:
    gate = ChunkGate()
    assert gate.admit(batch) is None
    assert gate.admit([ToolCallDelta(0, name="f")]) == [*batch, ToolCallDelta(0, name="f")]


def test_what_was_kept_comes_in_the_order_in_which_it_came() -> None:
    gate = ChunkGate()
    batches: list[list[Chunk]] = [[Reasoning("a"), " "], [Reasoning("b")], [Usage(1, 0)]]
    assert [gate.admit(batch) for batch in batches] == [None] * 3
    assert gate.admit(["Yes"]) == [Reasoning("a"), " ", Reasoning("b"), Usage(1, 0), "Yes"]


def test_the_predicate_sees_all_text_so_far_with_the_chunk_itself() -> None:
    seen: list[tuple[Chunk, str]] = []

    def look(chunk: Chunk, text: str) -> bool:
        seen.append((chunk, text))
        return False

    gate = ChunkGate(look)
    gate.admit(["a", Reasoning("not text"), "b"])
    gate.admit(["c"])
    assert seen == [("a", "a"), (Reasoning("not text"), "a"), ("b", "ab"), ("c", "abc")]


def test_the_predicate_is_not_asked_about_what_follows_the_clean_chunk() -> None:
    asked: list[Chunk] = []

    def second(chunk: Chunk, _text: str) -> bool:
        asked.append(chunk)
        return chunk == "b"

    assert ChunkGate(second).admit(["a", "b", "c"]) == ["a", "b", "c"]
    assert asked == ["a", "b"]


def test_text_that_is_cut_anywhere_is_judged_as_a_whole() -> None:
    gate = ChunkGate(fourth)
    assert [gate.admit([dot]) for dot in "..."] == [None] * 3
    assert gate.admit(["."]) == list("....")


@pytest.mark.parametrize("text", ['{"error": {"message": "out of order"}}', "<html><title>Just a moment...</title>"])
def test_what_the_predicate_rejects_is_an_error_also_letter_by_letter(text: str) -> None:
    gate = ChunkGate()
    with pytest.raises(RejectedError):
        assert {letter: gate.admit([letter]) for letter in text} == {}


def test_thinking_wins_where_output_is_what_counts() -> None:
    assert ChunkGate(is_output).admit([Reasoning("hm")]) == [Reasoning("hm")]
    assert ChunkGate().admit([Reasoning("hm")]) is None


def test_of_too_much_the_oldest_reasoning_goes_first() -> None:
    gate = ChunkGate(limit=4 * KIB)
    gate.admit([" "])
    for letter in "abcdef":
        gate.admit([Reasoning(letter * KIB)])
    assert let_through(gate) == [" ", Reasoning("e" * KIB), Reasoning("f" * KIB)]


def test_without_reasoning_the_oldest_goes_first() -> None:
    gate = ChunkGate(limit=4 * KIB)
    for size in range(KIB, KIB + 4):
        gate.admit([" " * size])
    assert let_through(gate) == [" " * (KIB + 2), " " * (KIB + 3)]


@pytest.mark.parametrize("chunk", [" ", " " * 100, Usage(1, 2), Reasoning("hm")])
def test_keeping_takes_linear_time(chunk: Chunk) -> None:
    sizes: list[int] = []

    class Counting(ChunkGate):
        def _drop(self, kind: type) -> None:
            sizes.append(len(self._kept))
            super()._drop(kind)

    gate = Counting(limit=64 * KIB)
    for _ in range(20_000):
        gate.admit([chunk])
    assert sum(sizes) < 20 * 20_000  # a pass for each chunk would look at 20,000 times 1,000


def test_an_entrant_does_not_fail_by_one_chunk_that_is_over_the_limit() -> None:
    gate = ChunkGate(limit=KIB)
    assert gate.admit([Reasoning("x" * 2 * KIB)]) is None
    assert gate.admit(["Yes"]) == ["Yes"]


def test_small_chunks_are_not_free() -> None:
    gate = ChunkGate()
    for _ in range(50):
        gate.admit([Reasoning(".")] * 1000)
    assert len(let_through(gate)) <= KEPT // 64


@pytest.mark.parametrize(
    "chunk",
    [
        ToolCallDelta(0, arguments="x" * KIB),
        AudioResponse(b"x" * KIB),
        AudioResponse(transcript="x" * KIB),
        ImageResponse(("data:" + "x" * KIB,)),
    ],
)
def test_every_kind_of_chunk_counts_by_what_it_holds(chunk: Chunk) -> None:
    gate = ChunkGate(lambda chunk, _: chunk == "Yes", limit=10 * KIB)
    for _ in range(20):
        gate.admit([chunk])
    kept = gate.admit(["Yes"])
    assert kept is not None
    assert 5 <= len(kept) <= 10


def test_the_text_that_the_predicate_sees_is_bounded_and_is_the_newest() -> None:
    texts: list[str] = []

    def look(_chunk: Chunk, text: str) -> bool:
        texts.append(text)
        return False

    gate = ChunkGate(look, limit=KIB)
    for letter in "abcd":
        gate.admit([letter * KIB])
    assert [len(text) for text in texts] == [KIB, 2 * KIB, 3 * KIB, 2 * KIB]
    assert texts[-1] == "c" * KIB + "d" * KIB
