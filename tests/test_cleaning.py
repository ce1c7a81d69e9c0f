from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import example, given, strategies as st

from g4ftrio._cleaning import ChunkFilter, Marker, TextFilter, is_content, is_output, page_title
from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    Conversation,
    FinishReason,
    ImageResponse,
    ProviderInfo,
    ProviderMetadata,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._words.errors import RejectedError

ADVERTS = (
    Marker("Join for free", "\n", "lead"),
    Marker("o1-preview", "\n", "lead"),
    Marker("https://discord.gg/", "..."),
)


def filtered(*texts: str, markers: Iterable[Marker] = ADVERTS) -> str:
    text_filter = TextFilter(markers)
    return "".join([text_filter.feed(text) for text in texts]) + text_filter.close()


# --- passages ---


@pytest.mark.parametrize("by_character", [False, True])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Hello", "Hello"),
        ("Join for free now!\nHello", "Hello"),
        ("o1-preview is here\nJoin for free\n \n Hello\n", "Hello\n"),
        (" \n Join for free\n\tHello", "Hello"),
        ("https://discord.gg/abc...\nJoin for free\nHello", "Hello"),
        ("Hello. Join for free\nWorld", "Hello. Join for free\nWorld"),
        ("I like o1-preview\nmost", "I like o1-preview\nmost"),
        ("Try o1-preview\nHello", "Try o1-preview\nHello"),
        ("See https://discord.gg/abc for more... and", "See  and"),
        ("a https://discord.gg/1...https://discord.gg/2.... b", "a . b"),
        ("a https://discord.com/b", "a https://discord.com/b"),
        ("a hthttps://discord.gg/x... b", "a ht b"),
        ("a https://discord.gg/x\nand\n\nb...", "a \n\nb..."),
        ("Join for free" + "x" * 600 + "\nHello", "x" * 113 + "\nHello"),
        ("a https://discord.gg/" + "x" * 481 + "b...", "a b..."),
        ("a https://discord.gg/" + "x" * 478 + "...b", "a b"),
        ("a https://discord.gg/" + "x" * 479 + "...b", "a .b"),
        ("a https://discord.gg/unfinished", "a "),
        ("Join for free", ""),
        ("Join for f", "Join for f"),
        ("a https://disc", "a https://disc"),
        ("Join us\nHello", "Join us\nHello"),
        ("  Hello  World  ", "Hello  World  "),
        (" \n ", ""),
    ],
)
def test_a_passage_runs_from_its_marker_to_its_end(text: str, expected: str, by_character: bool) -> None:
    assert filtered(*(text if by_character else [text])) == expected


def test_text_is_held_only_while_it_may_become_a_marker() -> None:
    text_filter = TextFilter(ADVERTS)
    texts = [
        " ",
        "J",
        "ust",
        " this: ",
        "https://",
        "dis",
        "cord.com",
        " http",
        "s://discord.gg/a.",
        ".",
        ".b",
        "h",
        "",
    ]
    passed = ["", "", "Just", " this: ", "", "", "https://discord.com", " ", "", "", "b", "", ""]
    assert [text_filter.feed(text) for text in texts] == passed
    assert text_filter.close() == "h"


def test_a_text_without_anything_to_remove_is_passed_as_the_very_object() -> None:
    text_filter, text = TextFilter(ADVERTS), "Hello there"
    assert text_filter.feed(text) is text
    assert text_filter.feed(text) is text


def test_what_was_removed_is_counted_without_the_white_space_before_the_text() -> None:
    text_filter = TextFilter(ADVERTS)
    for text in ["  Join for ", "free\nHello ", "https://discord.gg/x... World https://disc", "ord.gg/y"]:
        text_filter.feed(text)
    assert (text_filter.removed, text_filter.passages) == (14 + 23, 2)
    assert text_filter.close() == ""
    assert (text_filter.removed, text_filter.passages) == (14 + 23 + 20, 3)


def test_without_markers_only_the_white_space_before_the_text_goes() -> None:
    assert filtered(" \n", " Hello ", "World", markers=()) == "Hello World"


def test_a_marker_may_be_a_hundred_characters_long() -> None:
    assert filtered("a", "x" * 50, "x" * 50 + "y!b", markers=[Marker("x" * 99 + "y", "!", reach=200)]) == "axb"


def test_a_great_many_passages_in_one_text_take_linear_time() -> None:
    assert filtered("https://discord.gg/..." * 200_000) == ""


@pytest.mark.parametrize(
    ("start", "end", "reach"),
    [
        ("", "\n", 500),
        ("x" * 101, "\n", 500),
        (" x", "\n", 500),
        ("x", "", 500),
        ("x", "a\n\nb", 500),
        ("xyz", "\n", 2),
    ],
)
def test_a_marker_that_could_not_work_is_refused(start: str, end: str, reach: int) -> None:
    with pytest.raises(ValueError, match="a marker's"):
        Marker(start, end, reach=reach)


def reference(text: str, markers: Sequence[Marker]) -> str:
    """Filter a whole text, character by character."""
    clean, at = "", 0
    while at < len(text):
        if not clean and text[at].isspace():
            at += 1
            continue
        begun = (m for m in markers if text.startswith(m.start, at) and (not clean or m.where == "anywhere"))
        marker = min(begun, key=lambda m: len(m.start), default=None)
        if marker is None:
            clean += text[at]
            at += 1
            continue
        window = text[at : at + marker.reach]
        end, blank = (window.find(mark, len(marker.start)) for mark in (marker.end, "\n\n"))
        if end >= 0 and (blank < 0 or end <= blank):
            at += end + len(marker.end)
        else:
            at += blank if blank >= 0 else len(window)
    return clean


def cut(text: str, at: Sequence[int]) -> list[str]:
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[begin:end] for begin, end in pairwise(places)]


tiny = st.text("ab", min_size=1, max_size=4)
wheres: st.SearchStrategy[Literal["anywhere", "lead"]] = st.sampled_from(["anywhere", "lead"])
tiny_markers = st.lists(
    st.builds(
        Marker,
        tiny,
        st.text("b.\n", min_size=1, max_size=2).filter(lambda end: end != "\n\n"),
        wheres,
        st.integers(4, 9),
    ),
    max_size=3,
    unique_by=lambda marker: marker.start,
)
adverts = st.sampled_from(
    [marker.start + rest for marker in ADVERTS for rest in ["", " x\n", " y...", "\n\n", "z" * 500]]
)
texts = st.lists(st.one_of(st.text("ab. \n", max_size=6), adverts, st.text("htps:/J", max_size=3)), max_size=8).map(
    "".join
)


@given(st.text("aab b.\n", max_size=40), tiny_markers, st.lists(st.integers(0, 40), max_size=8))
@example("abab", [Marker("ab", "b", "lead", 4), Marker("aba", ".", "anywhere", 4)], [2, 3])
@example("aba.b", [Marker("aba", ".", reach=9), Marker("ab", "b", reach=9)], [])
@example("aba.b", [Marker("ab", "b", reach=9), Marker("aba", ".", reach=9)], [])
@example("bab", [Marker("ab", "b", "lead", 9), Marker("aba", ".", reach=9)], [])
@example("ab.b.", [Marker("ab", "b", reach=9)], [])
@example("ba", [Marker("a", "b", reach=4), Marker("baa", "b", reach=4)], [])
def test_where_the_text_is_cut_makes_no_difference_for_any_markers(
    text: str, markers: list[Marker], at: list[int]
) -> None:
    assert filtered(*cut(text, at), markers=markers) == reference(text, markers)


@given(texts, st.lists(st.integers(0, 5000), max_size=12))
def test_adverts_are_removed_wherever_the_text_is_cut_and_little_is_held(text: str, at: list[int]) -> None:
    text_filter, passed, came = TextFilter(ADVERTS), "", ""
    for piece in cut(text, at):
        came += piece
        passed += text_filter.feed(piece)
        held = deepcopy(text_filter).close()
        assert passed + held == reference(came, ADVERTS)
        assert len(held) < max(len(marker.start) for marker in ADVERTS)
        assert not held or any(marker.start.startswith(held) for marker in ADVERTS)
    assert passed + text_filter.close() == reference(text, ADVERTS)


# --- chunks ---


def test_a_chunk_filter_drops_empty_texts_and_passes_the_rest_unchanged() -> None:
    chunk_filter = ChunkFilter(ADVERTS)
    thought, end = Reasoning("Join for free"), FinishReason("stop")
    assert chunk_filter.feed([thought, "Join for", " free\nHi", " there", "", end]) == [thought, "Hi", " there", end]
    assert (chunk_filter.removed, chunk_filter.passages) == (14, 1)
    assert chunk_filter.close() == []


def test_what_is_not_text_passes_before_text_that_is_held() -> None:
    chunk_filter, thought = ChunkFilter(ADVERTS), Reasoning("hm")
    assert chunk_filter.feed(["a http", thought]) == ["a ", thought]
    assert chunk_filter.feed([thought, "://b http"]) == [thought, "http://b "]
    assert chunk_filter.close() == ["http"]


# --- predicates ---


@pytest.mark.parametrize(
    ("chunk", "content", "output"),
    [
        ("Hi", True, True),
        (" \n", False, False),
        ("", False, False),
        (ToolCallDelta(0), True, True),
        (ToolCalls((ToolCall("1", "f", "{}"),)), True, True),
        (ToolCalls(()), False, False),
        (ImageResponse(("https://example.org/a.png",)), True, True),
        (ImageResponse(()), False, False),
        (AudioResponse(b"\0"), True, True),
        (AudioResponse(transcript="Hi"), True, True),
        (AudioResponse(), False, False),
        (Reasoning("Hm"), False, True),
        (Reasoning(" \n"), False, False),
        (Refusal("No"), False, False),
        (Usage(1, 1), False, False),
        (FinishReason("stop"), False, False),
        (Conversation("x", {"id": 1}), False, False),
        (ProviderInfo("x", "y"), False, False),
        (ProviderMetadata("x", []), False, False),
    ],
)
def test_content_is_what_answers_and_output_is_thinking_too(chunk: Chunk, content: bool, output: bool) -> None:
    text_so_far = chunk if isinstance(chunk, str) else ""
    assert is_content(chunk, text_so_far) is content
    assert is_output(chunk, text_so_far) is output


def first_clean(text: str, size: int = 1) -> int | None:
    """Give how many characters must come until the text is clean."""
    for at in range(0, len(text), size):
        if is_content(text[at : at + size], text[: at + size]):
            return at + size
    return None


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("Hello", 1),
        (" \n Hello", 4),
        ("<think>", 2),
        ("<h1>Hello", 3),
        ("<!-- Hello", 3),
        ("< html", 3),
        ('{"answer": 1}', 3),
        ('{ "errand": 1}', 7),
        ('{"details": 1}', 9),
        ("{error", 2),
        ('{"error": null}', 15),
        ('{"error": "", "answer": "42"}', 29),
        ('{"message": "Hello"}', 20),
        ('{"message": "Hello", "status": "ok"}', 36),
        ('{"message": "Hello", "code": 200}', 33),
        ('{"detail": "blue", "answer": "42"}', 34),
        ("<html><head></head>", 19),
        (" <!DOCTYPE HTML><body>", None),
        (" <!DOCTYPE HTML><body>" + "x" * 300, 216),
        ("<html><body>Yes.</body></html>", 30),
        ("\ufeff\u200b", None),
        ("\ufeff<html><he", None),
        ("\u200bYes", 2),
        ("<html>" + "x" * 3000, 2048),
        ('{"error": "' + "x" * 3000, 2048),
        ('{"error": "}' + "x" * 3000, 2048),
        ('{"error": ' + '[{"a":0},' * 300, 2048),
        ("<", None),
        ("<!doc", None),
        ("<html><he", None),
        ("{", None),
        ('{ "err', None),
        ('{"error": {"a": 1}', None),
    ],
)
def test_text_is_clean_once_it_can_no_longer_be_a_page_or_an_error(text: str, characters: int | None) -> None:
    assert first_clean(text) == characters


def test_text_after_an_error_object_makes_it_an_example_of_one() -> None:
    assert is_content('{"error": "x"} is how', '{"error": "x"} is how')


def test_white_space_decides_nothing() -> None:
    assert not is_content(" ", "< ")
    assert is_content("3", "< 3")


def test_deep_nesting_is_no_error_of_ours() -> None:
    text = '{"error":' + "[" * 2000 + "}"
    assert not is_content(text, text)


PAGES = [
    "<!DOCTYPE html><html lang=en><head><title>Just a moment...</title>",
    "<html><head><script src='/cdn-cgi/challenge-platform/h/b/orchestrate'>",
    "<!doctype html>\n<html><head><title>Attention Required!</title></head>",
    "<html><head><title>DDoS-Guard</title></head>",
    "<HTML><head></head><body>Please enable JavaScript and cookies to continue",
    "<html><head><title>502 Bad Gateway</title></head>",
    "<html><head><title>503 Service Temporarily Unavailable</title></head>",
    "<html><body><div class='g-recaptcha'>",
]


@pytest.mark.parametrize("page", PAGES)
def test_a_challenge_page_is_rejected(page: str) -> None:
    with pytest.raises(RejectedError, match="a challenge or error page: "):
        is_content(page, page)


def test_a_challenge_page_in_pieces_is_rejected_before_it_is_clean() -> None:
    with pytest.raises(RejectedError, match="'just a moment'"):
        first_clean(PAGES[0])
    with pytest.raises(RejectedError, match=r"Just a moment\.\.\."):
        first_clean(PAGES[0], 100)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"error": "no\\n credit"}', "no credit"),
        (' \n{"error": {"message": "no credit", "code": 402}, "user_id": "x"} ', "no credit"),
        ('{"error_message": "no credit"}', "no credit"),
        ('{"error": true, "message": "no credit"}', "no credit"),
        ('{"message": "no credit", "statusCode": 402}', "no credit"),
        ('{"message": "no credit", "code": 402}', "no credit"),
        ('{"detail": "no credit"}', "no credit"),
        ('{"error": {"code": 402}}', '{"error": {"code": 402}}'),
        ('{"errors": ["no credit"]}', '{"errors": ["no credit"]}'),
        ('{"error": "no credit' + "\t" * 3 + '"}', "no credit "),
    ],
)
def test_an_error_sent_as_text_is_rejected_with_its_message(text: str, message: str, size: int) -> None:
    with pytest.raises(RejectedError) as caught:
        first_clean(text, size)
    assert caught.value.message == f"an error sent as text: {message.strip()}"


def test_output_is_as_strict_about_text_as_content() -> None:
    assert not is_output("<", "<")
    with pytest.raises(RejectedError):
        is_output('{"error": 1}', '{"error": 1}')


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<html><TITLE id=x>\n A \n b </Title>", "A b"),
        ("<title>cut", ""),
        ("<title></title>", ""),
        ("<p>none", ""),
        ("<title>" + "x" * 200 + "</title>", "x" * 99 + "…"),
    ],
)
def test_a_page_title_is_one_short_line(page: str, title: str) -> None:
    assert page_title(page) == title


def test_text_that_is_held_comes_out_before_the_finish_reason() -> None:
    held = ChunkFilter([Marker("advert", "\n")])
    assert held.feed(["text ad", Usage(1, 2), FinishReason("stop")]) == [
        "text ",
        Usage(1, 2),
        "ad",
        FinishReason("stop"),
    ]
    assert held.close() == []


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\n\r\n"])
def test_a_passage_ends_at_a_blank_line_of_either_kind(blank: str) -> None:
    passages = TextFilter([Marker("advert", "...")])
    assert passages.feed(f"a advert b{blank}c ... d") + passages.close() in (f"a {blank}c ... d", "a \n\r\nc ... d")
