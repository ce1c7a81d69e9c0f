"""Sheets of styles: light, dark, and bound to a place."""

from __future__ import annotations

import pytest

from g4ftrio._drawing.style import CARD, INK, RED, SERIES, SHAPES, SOFT, TEXT, Colour, Style, sheet

_STYLE = Style({".a,.b": "x:y"}, {"fill": {".a": ("#fff", "#000")}})


def test_a_sheet_has_its_colours_for_light_and_for_dark() -> None:
    assert sheet(_STYLE) == ".a,.b{x:y}.a{fill:#fff}@media(prefers-color-scheme:dark){.a{fill:#000}}"


def test_a_sheet_may_be_for_one_place_only() -> None:
    assert sheet(_STYLE, within=".p") == (
        ".p .a,.p .b{x:y}.p .a{fill:#fff}@media(prefers-color-scheme:dark){.p .a{fill:#000}}"
    )


def test_all_that_is_drawn_has_two_colours_each() -> None:
    for style in (TEXT, SHAPES):
        for colours in style.colours.values():
            assert all(len(colour) == 2 for colour in colours.values())
    assert len(set(SERIES)) == len(SERIES) == 8


@pytest.mark.parametrize("colour", [INK, SOFT, RED])
@pytest.mark.parametrize("scheme", [0, 1])
def test_words_can_be_read_on_a_card(colour: Colour, scheme: int) -> None:
    """The contrast that WCAG 2.2 asks for (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    bright, dim = sorted((_luminance(colour[scheme]), _luminance(CARD[scheme])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    """Relative luminance (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    shares = [part / 255 for part in bytes.fromhex(colour[1:])]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
