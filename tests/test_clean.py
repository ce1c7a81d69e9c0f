"""Ways to decide a race: the predicates, how they are joined, and whole answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st
from msgspec import Struct

import g4ftrio
from g4ftrio import (
    AllFailed,
    Chunk,
    Completion,
    FinishReason,
    ImageResponse,
    Reasoning,
    RejectedError,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    TruncatedError,
    Usage,
    clean,
    fallback,
    first_complete,
    race,
    staggered,
)
from g4ftrio._streams.gate import ChunkGate, WholeGate, gate_for
from g4ftrio._words.report import EntrantReport
from g4ftrio.testing import Scripted
from tests import clocks
from tests.entrants import outcomes

anyio_backend = clocks.virtual_backends

REJECTED = "rejected"
RUSSIAN = "Небо голубое, потому что"  # noqa: RUF001  # the letters are meant
KOREAN = "하늘은 푸릅니다 왜냐하면 빛이 산란되기 때문입니다"
JAPANESE = "空は青いです。なぜならば光が散乱するからです。"


def judged(predicate: clean.Predicate, *pieces: str) -> list[bool | str]:
    """What a predicate says of each piece; nothing follows a rejection."""
    said: list[bool | str] = []
    text = ""
    for piece in pieces:
        text += piece
        try:
            said.append(predicate(piece, text))
        except RejectedError:
            return [*said, REJECTED]
    return said


def verdict(predicate: clean.Predicate, text: str) -> bool | str:
    """What it comes to, a character at a time."""
    said = judged(predicate, *text)
    return next((each for each in said if each is not False), False)


JSON = [
    ('{"a": 1}', True),
    ('  \n{ "a": 1}', True),
    ("{}", True),
    ("[1, 2]", True),
    ('["a"]', True),
    ("[ ]", True),
    ("[[1]]", True),
    ('[{"a": 1}]', True),
    ("[true]", True),
    ("[-1]", True),
    ('```json\n{"a": 1}\n```', True),
    ('```\n{"a": 1}\n```', True),
    ("```json  \r\n[1]", True),
    ("{", False),
    ("[", False),
    ("``", False),
    ("```json", False),
    ("```json\n", False),
    ("```json\n{ ", False),
    ("Here is the JSON: {", REJECTED),
    ("{not json", REJECTED),
    ("[see above]", REJECTED),
    ("{{template}}", REJECTED),
    ("```json {", REJECTED),
    ("```\nprint(1)", REJECTED),
    ("`{}`", REJECTED),
    ("42", REJECTED),
]


@pytest.mark.parametrize(("text", "said"), JSON)
def test_text_that_begins_like_json(text: str, said: bool | str) -> None:
    assert verdict(clean.begins_json(), text) == said


@pytest.mark.parametrize(("text", "said"), JSON)
def test_json_is_told_the_same_however_it_is_cut(text: str, said: bool | str) -> None:
    assert judged(clean.begins_json(), text) == [said]


def test_json_of_one_kind_only() -> None:
    for kind, text, other in (("object", '{"a"', "["), ("array", "[1", '{"a')):
        predicate = clean.begins_json(kind=kind)  # type: ignore[arg-type]  # one of the two
        assert (verdict(predicate, text), verdict(predicate, other)) == (True, REJECTED)


def test_an_errors_json_begins_like_json_and_does_not_pass() -> None:
    assert verdict(clean.begins_json(), '{"error": {"message": "no"}}') == REJECTED


@pytest.mark.parametrize(
    ("limits", "text", "said"),
    [
        ({"characters": 5}, "12345", True),
        ({"characters": 5}, "1234", False),
        ({"characters": 5}, "  1234  ", False),
        ({"characters": 5}, "1 2 3", True),
        ({"words": 3}, "one two three", True),
        ({"words": 3}, "one two", False),
        ({"words": 3}, "\u6f22" * 30, True),
        ({"words": 3}, "\u6f22" * 29, False),
        ({"words": 2, "characters": 10}, "one two", False),
        ({"words": 2, "characters": 10}, "one two three", True),
        ({}, "a", True),
    ],
)
def test_text_that_is_long_enough(limits: dict[str, int], text: str, said: bool) -> None:
    assert verdict(clean.long_enough(**limits), text) == said


@pytest.mark.parametrize(
    ("scripts", "text", "said"),
    [
        (("latin",), "Le ciel est bleu, parce que", True),
        (
            ("latin",),
            RUSSIAN,
            REJECTED,
        ),
        (
            ("cyrillic",),
            RUSSIAN,
            True,
        ),
        (
            ("cjk", "hiragana", "katakana"),
            JAPANESE,
            True,
        ),
        (
            ("hangul",),
            KOREAN,
            True,
        ),
        (("latin",), "Blue.", False),
        (("latin",), "1, 2, 3, " * 40, False),
        (("latin",), "1, 2, 3, " * 120, REJECTED),
    ],
)
def test_text_in_a_script(scripts: tuple[str, ...], text: str, said: bool | str) -> None:
    assert verdict(clean.in_script(*scripts), text) == said


def test_the_share_of_a_script() -> None:
    mixed = "ab\u0436" * 10
    assert judged(clean.in_script("latin", share=0.6, letters=30), mixed) == [True]
    assert judged(clean.in_script("latin", share=0.7, letters=30), mixed) == [REJECTED]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I'm sorry, but I can't help with that.", REJECTED),
        ("I\u2019m sorry, but I can\u2019t help with that.", REJECTED),
        ("  I cannot\nassist with that", REJECTED),
        ("As an AI language model", REJECTED),
        ("I'm sorry to hear that. Here", True),
        ("I can do that", True),
        ("As and when", True),
        ("The sky", True),
        ("I'm sor", False),
        ("I", False),
    ],
)
def test_text_that_is_no_refusal(text: str, said: bool | str) -> None:
    assert verdict(clean.not_refusal(), text) == said


def test_the_table_of_refusals_can_be_extended() -> None:
    predicate = clean.not_refusal(also=("Das kann ich nicht",))
    assert verdict(predicate, "Das kann ich nicht tun.") == REJECTED
    assert verdict(predicate, "Das kann ich tun.") is True


def test_text_that_matches() -> None:
    predicate = clean.matches(r"\b\d{4}\b", within=20)
    assert judged(predicate, "In 19", "69", " they") == [False, True, True]
    assert judged(predicate, "In that year", " of old they went") == [False, REJECTED]


def test_joined_by_and_all_must_pass_and_one_can_reject() -> None:
    predicate = clean.all_of(clean.long_enough(words=2), clean.not_refusal())
    assert judged(predicate, "The", " sky") == [False, True]
    assert judged(predicate, "I cannot help") == [REJECTED]


def test_joined_by_or_one_must_pass_and_all_must_reject() -> None:
    predicate = clean.any_of(clean.begins_json(), clean.matches("^No", within=3))
    assert judged(predicate, "{", '"a') == [False, True]
    assert judged(predicate, "N", "o") == [False, True]
    assert judged(predicate, "Y", "es") == [False, REJECTED]


PREDICATES: dict[str, Callable[[], clean.Predicate]] = {
    "begins_json": clean.begins_json,
    "long_enough": lambda: clean.long_enough(words=5),
    "in_script": lambda: clean.in_script("latin"),
    "not_refusal": clean.not_refusal,
    "matches": lambda: clean.matches("x"),
}


@pytest.mark.parametrize("name", PREDICATES)
def test_what_is_content_without_text_passes_and_what_is_none_does_not(name: str) -> None:
    predicate = PREDICATES[name]()
    assert predicate(ToolCallDelta(0), "")
    assert predicate(ImageResponse(("https://example.com/a.png",)), "")
    assert not predicate(Reasoning("hm"), "")
    assert not predicate(FinishReason("stop"), "")
    assert not predicate(" ", " ")


@pytest.mark.parametrize("name", PREDICATES)
def test_an_error_page_passes_none(name: str) -> None:
    assert verdict(PREDICATES[name](), "<html><title>Just a moment...</title>") == REJECTED


@pytest.mark.parametrize("name", PREDICATES)
@given(text=st.text("{[\"]} aI'm\n`1x", min_size=1, max_size=60))
def test_where_the_text_is_cut_makes_no_difference(name: str, text: str) -> None:
    predicate = PREDICATES[name]()
    if text.strip():
        assert verdict(predicate, text) == judged(predicate, text.rstrip())[0]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: clean.begins_json(kind="number"), ValueError),  # type: ignore[arg-type]  # what is refused
        (lambda: clean.long_enough(words=-1), ValueError),
        (lambda: clean.in_script(), ValueError),
        (lambda: clean.in_script("latin", share=0), ValueError),
        (lambda: clean.in_script("latin-1"), ValueError),
        (lambda: clean.not_refusal(also="no"), TypeError),  # type: ignore[arg-type]  # as above
        (lambda: clean.matches("x", within=0), ValueError),
        (lambda: clean.all_of(), TypeError),
        (lambda: clean.any_of(first_complete()), TypeError),
        (lambda: first_complete(True), TypeError),  # type: ignore[arg-type]  # as above
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        make()


def test_the_ways_are_at_the_face() -> None:
    assert g4ftrio.clean is clean
    assert g4ftrio.first_complete is first_complete


# --- in a race ---


def scripted(name: str, *chunks: Chunk, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


@pytest.mark.anyio
async def test_a_race_is_decided_by_what_all_agree_on_and_the_others_are_dropped() -> None:
    predicate = clean.all_of(clean.not_refusal(), clean.long_enough(words=2))
    sorry = scripted("sorry", "I'm sorry, ", "but I can't.", gap=1)
    slow, fast = scripted("slow", "The sky", delay=9), scripted("fast", "It is", " blue", delay=2, gap=1)
    async with race([sorry, slow, fast], "Why?", clean=predicate) as stream:
        assert anyio.current_time() == 2
        assert (await stream.collect()).text == "It is blue"
    assert outcomes(stream.report) == {"sorry": "rejected", "slow": "lost", "fast": "won"}
    assert slow.closed == 1


@pytest.mark.anyio
async def test_a_refusal_starts_the_next_one_at_once() -> None:
    sorry = scripted("sorry", "I cannot help with that.")
    policy = staggered(60)
    async with race([sorry, scripted("b", "It is blue")], "Why?", policy=policy, clean=clean.not_refusal()) as stream:
        assert stream.winner == "b"
    assert anyio.current_time() == 0


# --- whole answers ---


@pytest.mark.anyio
async def test_the_first_whole_answer_wins_and_is_given_out_whole() -> None:
    early = scripted("early", "It", " is", delay=0.5, gap=4)
    whole = scripted("whole", Reasoning("hm"), "Blue", ".", Usage(1, 2), FinishReason("stop"), delay=1, gap=0.5)
    async with race([early, whole], "Why?", clean=first_complete()) as stream:
        assert (stream.winner, anyio.current_time()) == ("whole", 3.5)
        assert [chunk async for chunk in stream] == [Reasoning("hm"), "Blue", ".", Usage(1, 2), FinishReason("stop")]
    assert outcomes(stream.report) == {"early": "lost", "whole": "won"}
    assert (early.closed, whole.closed) == (1, 1)
    assert stream.report.entrants[1].clean_at == 3.5


@pytest.mark.anyio
async def test_a_whole_answer_that_is_not_accepted_does_not_win() -> None:
    seen: list[Completion] = []

    def accept(whole: Completion) -> bool:
        seen.append(whole)
        return whole.finish_reason == "stop"

    cut_off = scripted("cut", "Blue, be", FinishReason("length"), model="m1")
    good = scripted("good", "Blue.", FinishReason("stop"), delay=1)
    async with race([cut_off, good], "Why?", clean=first_complete(accept)) as stream:
        assert (await stream.collect()).text == "Blue."
    assert [(one.text, one.provider, one.model) for one in seen] == [("Blue, be", "cut", "m1"), ("Blue.", "good", "")]
    assert outcomes(stream.report) == {"cut": "rejected", "good": "won"}
    assert str(stream.report.entrants[0].error) == "cut: the answer was rejected: its whole answer was not accepted"


@pytest.mark.anyio
async def test_what_breaks_off_or_holds_no_content_is_no_whole_answer() -> None:
    broken = scripted("broken", "It is", error=TruncatedError("the connection was closed"))
    empty, page = scripted("empty", Reasoning("hm"), " "), scripted("page", "<html><title>Just a moment")
    with pytest.raises(AllFailed) as caught:
        async with race([broken, empty, page], "Why?", clean=first_complete()):
            pass
    assert {name: type(error) for name, error in caught.value.failures.items()} == {
        "broken": TruncatedError,
        "empty": RejectedError,
        "page": RejectedError,
    }


@pytest.mark.anyio
async def test_a_tool_call_is_a_whole_answer() -> None:
    calls = ToolCalls((ToolCall("1", "weather", "{}"),))
    async with race(
        [scripted("a", ToolCallDelta(0, "1", "weather", "{}"), calls)], "Why?", clean=first_complete()
    ) as stream:
        assert (await stream.collect()).tool_calls == calls.calls


class City(Struct):
    name: str


@pytest.mark.anyio
async def test_a_whole_answer_is_of_the_type_that_was_asked_for() -> None:
    wrong, right = scripted("wrong", '{"nome": "Paris"}'), scripted("right", '{"name": ', '"Paris"}', delay=1)

    def accept(whole: Completion) -> bool:
        return isinstance(whole.parsed, City)

    async with race([wrong, right], "Where?", clean=first_complete(accept), response_format=City) as stream:
        assert (await stream.collect()).parsed == City("Paris")
    assert outcomes(stream.report) == {"wrong": "rejected", "right": "won"}


@pytest.mark.anyio
async def test_an_answer_that_is_longer_than_what_is_kept_is_rejected() -> None:
    long = scripted("long", *["x" * 100] * 10)
    with pytest.raises(AllFailed) as caught:
        async with race([long], "Why?", clean=first_complete(limit=1000)):
            pass
    assert str(caught.value.failures["long"]).endswith(
        "its answer is longer than the 1000 bytes that are kept of one until it is whole"
    )
    assert long.closed == 1


@pytest.mark.anyio
async def test_a_settled_race_can_be_decided_by_whole_answers() -> None:
    stream = await race([scripted("a", "Blue", ".")], "Why?", clean=first_complete()).settle()
    async with stream:
        assert (await stream.collect()).text == "Blue."


@pytest.mark.anyio
async def test_what_accept_raises_is_the_entrants_failure() -> None:
    def accept(whole: Completion) -> bool:
        raise LookupError(whole.text)

    with pytest.raises(AllFailed) as caught:
        async with race([scripted("a", "Blue")], "Why?", clean=first_complete(accept), policy=fallback()):
            pass
    assert isinstance(caught.value.failures["a"], LookupError)


def test_the_gate_is_chosen_by_what_decides() -> None:
    record = EntrantReport(name="a")
    assert type(gate_for(first_complete(), record)) is WholeGate
    assert type(gate_for(clean.not_refusal(), record)) is ChunkGate


@given(st.lists(st.lists(st.sampled_from(["a", " ", "b c"]), max_size=4), max_size=6))
def test_a_whole_gate_gives_all_that_came_and_only_at_the_end(batches: list[list[str]]) -> None:
    gate = gate_for(first_complete(), EntrantReport(name="a"))
    came: list[Chunk] = []
    for batch in batches:
        came += batch
        assert gate.admit([*batch]) is None
    assert gate.close() == (came if "".join(map(str, came)).strip() else None)
