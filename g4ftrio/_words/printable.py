"""Text of others as it may be shown: without what a terminal would obey, on one line, in so many cells. No I/O."""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

__all__ = ("cells", "on_one_line", "printable", "shortened")

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replace what a terminal would obey rather than show, by a picture of it or by U+FFFD.

    That is ESC and the other C0 controls but newline, tab and CR before a newline; DEL; the C1 controls; and the
    characters that override the direction of writing (https://www.unicode.org/reports/tr9/, 2.1 to 2.4). So are lone
    surrogates, which no encoding has a form for.
    """
    return text if text.isprintable() else _CONTROL.sub(_picture, text)


def on_one_line(text: str) -> str:
    """Make text printable, with every stretch of white space one blank."""
    return " ".join(printable(text).split())


def cells(text: str) -> int:
    """Count the columns that a text takes in a terminal (https://www.unicode.org/reports/tr11/)."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def shortened(text: str, limit: int) -> str:
    """Cut a text to so many cells at most, its end marked by an ellipsis."""
    if cells(text) <= limit:
        return text
    kept, room = 0, limit - 1
    while (room := room - _cell(text[kept])) >= 0:
        kept += 1
    return text[:kept] + "…" if limit > 0 else ""


def _cell(character: str) -> int:
    if combining(character) or character in "\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _picture(found: re.Match[str]) -> str:
    if found[0] == "\r" and found.string.startswith("\n", found.end()):
        return "\r"
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
