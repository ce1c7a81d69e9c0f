"""Markup that is safe by construction: whatever is not markup already is escaped."""

from __future__ import annotations

import re
from html import escape

from g4ftrio._words.printable import printable

__all__ = ("Markup", "join", "tag")

_EMPTY = {"circle", "input", "line", "meta", "path", "rect"}  # elements that hold nothing, of HTML and of SVG
_NO_CHARACTERS = re.compile("[\ud800-\udfff\ufffe\uffff]")  # https://www.w3.org/TR/xml/#charsets


class Markup(str):
    """Text that was escaped, or is markup."""

    __slots__ = ()


def tag(name: str, /, *inner: str, **attributes: object) -> Markup:
    """Write an element.

    :param inner: text, which is escaped, and markup, which is not
    :param attributes: ``class_`` is class, ``stroke_width`` is stroke-width; what is None is left out
    """
    written = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if not inner and name in _EMPTY:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(inner)}</{name}>")


def join(parts: tuple[str, ...] | list[str]) -> Markup:
    """Set text and markup one behind the other."""
    return Markup("".join(part if isinstance(part, Markup) else _escape(part) for part in parts))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return value if isinstance(value, Markup) else _escape(str(value))


def _escape(text: str) -> str:
    return escape(_NO_CHARACTERS.sub("\ufffd", printable(text)))
