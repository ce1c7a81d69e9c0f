"""The few shapes that drawings are made of.

Colours are classes, and what has none of its own is of ``currentColor``: one sheet of styles, ``style`` writes it,
serves light and dark, a page and a picture that stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from g4ftrio._drawing.markup import Markup, tag
from g4ftrio._words.printable import cells, shortened

__all__ = ("area", "bar", "dot", "fitted", "rule", "step", "text", "wide")

_LETTER = 7.2  # how wide a letter of 12 pixels is on average where it is bold, in pixels


def text(
    x: float,
    y: float,
    words: str,
    *,
    class_: str | None = "label",
    anchor: str | None = None,
    room: float | None = None,
) -> Markup:
    """Write, if need be cut to so much room; a pointer that rests there then shows all."""
    shown = words if room is None else fitted(words, room)
    whole = () if shown == words else (tag("title", words),)
    return tag("text", *whole, shown, x=x, y=y, class_=class_, text_anchor=anchor)


def wide(words: str) -> float:
    """Give about how many pixels words take."""
    return cells(words) * _LETTER


def fitted(words: str, room: float) -> str:
    """Cut words so that they take no more than so many pixels."""
    return shortened(words, max(1, int(room / _LETTER)))


def bar(
    x: float, y: float, width: float, height: float, *inner: str, class_: str = "bar", **attributes: object
) -> Markup:
    """Draw a bar; it is never so short that nobody sees it."""
    return tag("rect", *inner, x=x, y=y, width=max(width, 1.0), height=height, class_=class_, **attributes)


def dot(x: float, y: float, radius: float, *inner: str, class_: str = "dot") -> Markup:
    """Draw a dot."""
    return tag("circle", *inner, cx=x, cy=y, r=radius, class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, *inner: str, class_: str = "mark") -> Markup:
    """Draw a straight line."""
    return tag("line", *inner, x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def step(points: Sequence[tuple[float, float]], *inner: str) -> Markup:
    """Draw a line that goes across first and then up or down."""
    return tag("path", *inner, d=_outline(_corners(points)), class_="line")


def area(points: Sequence[tuple[float, float]], base: float, *inner: str) -> Markup:
    """Fill what is between such a line and its base."""
    corners = [(points[0][0], base), *_corners(points), (points[-1][0], base)]
    return tag("path", *inner, d=f"{_outline(corners)}Z", class_="area")


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    corners = [points[0]]
    for (_, before), (x, y) in pairwise(points):
        corners += [(x, before), (x, y)]
    return corners


def _outline(points: Iterable[tuple[float, float]]) -> Markup:
    return Markup("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
