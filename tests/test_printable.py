"""Text of others, as it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from g4ftrio._words.printable import cells, on_one_line, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — 天空 é \U0001f600", "plain — 天空 é \U0001f600"),
        ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x00\x07\x08\x0b\x1f", "␀␇␈␋␟"),
        ("over\rwritten\r", "over␍written␍"),
        ("\x7f", "␡"),
        ("\x9b31m\x80", "\ufffd31m\ufffd"),
        ("\u202egnp.exe\u202c \u2066a\u2069", "\ufffdgnp.exe\ufffd \ufffda\ufffd"),
        ("a\ud800b", "a\ufffdb"),
        ("a\u00a0\u200db\u2028c", "a\u00a0\u200db\u2028c"),
    ],
)
def test_a_terminal_is_shown_control_characters_and_does_not_obey_them(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_text_without_control_characters_is_the_very_object() -> None:
    text = "Hello there"
    assert printable(text) is text


@given(st.text())
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_a_line_is_one_line() -> None:
    assert on_one_line(" a\n\tb\r\nc\u2028d\x1b ") == "a b c d␛"


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("天空", 4), ("e\u0301", 1), ("a\u200db", 2)])
def test_cells_are_the_columns_of_a_terminal(text: str, columns: int) -> None:
    assert cells(text) == columns


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("天空天", 5, "天空…"),
        ("天空天", 4, "天…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_a_long_text_ends_with_an_ellipsis(text: str, limit: int, shown: str) -> None:
    assert shortened(text, limit) == shown


@given(st.text(), st.integers(0, 20))
def test_a_shortened_text_fits(text: str, limit: int) -> None:
    assert cells(shortened(text, limit)) <= limit
