"""Drawing: scales with ticks at round numbers, a canvas with axes, and the few shapes that the plots are made of.

Colours are classes: a series is ``s0`` to ``s7``, and its shapes are of ``currentColor``. So one sheet of styles serves
light and dark, the page and a picture that stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, log10

from msgspec import Struct

from g4ftrio.bench._markup import Markup, tag

__all__ = (
    "COLOURS",
    "Canvas",
    "Scale",
    "area",
    "bar",
    "dot",
    "linear",
    "rule",
    "spread",
    "step",
    "style",
    "text",
)

# The colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind people can tell apart, without the
# yellow, which nobody sees on white; light, and as bright as a dark ground wants them.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b0559a", "#c98a00", "#3b9ad6", "#6a4fb3", "#6b7280")
_DARK = ("#56aee8", "#ff8b4d", "#35cf9f", "#e699cc", "#f0b93a", "#9bd3f7", "#b39df0", "#a3aab8")
COLOURS = len(_LIGHT)

_LETTER = 7.2  # how wide a letter of 12 pixels is on average where it is bold, in pixels
_STEPS = (1, 2, 5, 10)


class Scale(Struct, frozen=True):
    """Where a value stands, in pixels; what is outside stands at the edge."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        share = _share(*map(log10, (self.low, self.high, value))) if self.is_log else _share(self.low, self.high, value)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Give round values, mostly no more than so many."""
        return _decades(self.low, self.high, most) if self.is_log else _steps(self.low, self.high, most)

    def parts(self, count: int) -> list[float]:
        """Give the edges of so many parts that are equally wide to the eye."""
        if self.is_log:
            step = (log10(self.high) - log10(self.low)) / count
            return [float(self.low * 10 ** (step * index)) for index in range(count + 1)]
        return [self.low + (self.high - self.low) * index / count for index in range(count + 1)]


def linear(low: float, high: float, start: float, end: float, *, ticks: int = 5) -> Scale:
    """Give an even scale that begins and ends at round numbers."""
    if high <= low:
        low, high = (0.0, 1.0) if low == 0 else (low - abs(low) / 2, low + abs(low) / 2)
    step = _step((high - low) / ticks)
    return Scale(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, start, end)


def spread(values: Iterable[float], start: float, end: float, *, ticks: int = 5) -> Scale:
    """Choose a scale for values of which none is negative: logarithmic where most are far below the largest.

    :param values: in any order, at least one
    """
    ordered = sorted(values)
    positive = [value for value in ordered if value > 0]
    if positive and ordered[-1] > 10 * positive[len(positive) // 20]:
        return _logarithmic(max(positive[0], ordered[-1] / 1e5), ordered[-1], start, end)
    return linear(ordered[0], ordered[-1], start, end, ticks=ticks)


class Canvas:
    """A drawing: shapes one over the other.

    :ivar left: where what is drawn begins, behind the labels of a vertical axis
    :ivar right: where it ends
    """

    def __init__(self, width: float, height: float, *, left: float = 1, right: float = 14) -> None:
        self.width = width
        self.height = height
        self.left = left
        self.right = width - right
        self._shapes: list[Markup] = []

    def add(self, *shapes: Markup) -> None:
        """Draw on top."""
        self._shapes.extend(shapes)

    def horizontal_axis(self, scale: Scale, bottom: float, label: Callable[[float], str], title: str) -> None:
        """Draw a scale below, with lines up to the top."""
        for value in scale.ticks(max(2, int((self.right - self.left) / 72))):
            x = scale(value)
            self.add(rule(x, 0, x, bottom, class_="grid"), self._tick(x, bottom + 16, label(value)))
        self.add(text(self.right, bottom + 34, title, class_="title", anchor="end"))

    def vertical_axis(self, scale: Scale, label: Callable[[float], str]) -> None:
        """Draw a scale at the left, with lines across."""
        for value in scale.ticks(5):
            y = scale(value)
            self.add(rule(self.left, y, self.right, y, class_="grid"))
            self.add(text(self.left - 7, y + 4, label(value), class_="tick", anchor="end"))

    def part(self, x: float, y: float) -> Markup:
        """Give the drawing as a part of another one, at that place."""
        return tag("g", *self._shapes, transform=f"translate({x:g} {y:g})")

    def markup(self, label: str, **attributes: object) -> Markup:
        """Give the picture.

        :param label: what a reader hears of it
        """
        box = f"0 0 {self.width:g} {self.height:g}"
        return tag("svg", *self._shapes, viewBox=box, role="img", aria_label=label, **attributes)

    def _tick(self, x: float, y: float, words: str) -> Markup:
        half = len(words) * _LETTER / 2
        if x < half:
            return text(0, y, words, class_="tick")
        if x + half > self.width:
            return text(self.width, y, words, class_="tick", anchor="end")
        return text(x, y, words, class_="tick", anchor="middle")


def style() -> Markup:
    """Give the sheet of styles for plots, in light and dark."""
    light = _coloured(_LIGHT, text="#1f2933", soft="#5f6b7a", grid="#e3e7ec", ground="#fff")
    dark = _coloured(_DARK, text="#e6e9ee", soft="#9aa4b2", grid="#2b323c", ground="#14181e")
    return Markup(f"{_SHAPES}{light}@media(prefers-color-scheme:dark){{{dark}}}")


def text(
    x: float, y: float, words: str, *, class_: str = "label", anchor: str | None = None, room: float | None = None
) -> Markup:
    """Write, if need be cut to so much room; a pointer that rests there then shows all."""
    shown = words if room is None else _fitting(words, room)
    whole = () if shown == words else (tag("title", words),)
    return tag("text", *whole, shown, x=x, y=y, class_=class_, text_anchor=anchor)


def step(points: Sequence[tuple[float, float]], *inner: str, **attributes: object) -> Markup:
    """Draw a line that goes across first and then up or down."""
    return tag("path", *inner, d=_outline(_corners(points)), class_="line", **attributes)


def area(points: Sequence[tuple[float, float]], base: float, *inner: str, **attributes: object) -> Markup:
    """Fill what is between such a line and its base."""
    corners = [(points[0][0], base), *_corners(points), (points[-1][0], base)]
    return tag("path", *inner, d=f"{_outline(corners)}Z", class_="area", **attributes)


def bar(x: float, y: float, width: float, height: float, *inner: str, class_: str = "bar") -> Markup:
    """Draw a bar; it is never so short that nobody sees it."""
    return tag("rect", *inner, x=x, y=y, width=max(width, 1.0), height=height, class_=class_)


def dot(x: float, y: float, radius: float, *inner: str, class_: str = "dot") -> Markup:
    """Draw a dot."""
    return tag("circle", *inner, cx=x, cy=y, r=radius, class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, *inner: str, class_: str = "mark") -> Markup:
    """Draw a straight line."""
    return tag("line", *inner, x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Give a logarithmic scale with a little room at both sides.

    :param low: more than 0
    """
    room = max((high / low) ** 0.02, 1.05)
    return Scale(low / room, high * room, start, end, is_log=True)


def _fitting(words: str, width: float) -> str:
    """Cut words so that they take no more than so many pixels."""
    most = max(1, int(width / _LETTER))
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    corners = [points[0]]
    for (_, before), (x, y) in pairwise(points):
        corners += [(x, before), (x, y)]
    return corners


def _outline(points: Iterable[tuple[float, float]]) -> Markup:
    return Markup("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))


def _share(low: float, high: float, value: float) -> float:
    return (value - low) / (high - low)


def _step(rough: float) -> float:
    """Give the next larger 1, 2 or 5 of a power of ten."""
    size = 10.0 ** floor(log10(rough))
    return next(each * size for each in _STEPS if each * size >= rough * (1 - 1e-9))


def _steps(low: float, high: float, most: int) -> list[float]:
    step = _step((high - low) / most)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    """Give 1, 2 and 5 of every power of ten, or 1 only, or 1 of every other one and so on."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: ceil(len(ticks) / most)]


def _coloured(colours: Iterable[str], *, text: str, soft: str, grid: str, ground: str) -> str:
    slots = "".join(f".s{slot}{{color:{colour}}}" for slot, colour in enumerate(colours))
    return (
        f"{slots}text{{fill:{text}}}.tick,.title,.note{{fill:{soft}}}"
        f".grid{{stroke:{grid}}}.mark{{stroke:{text}}}.ground{{fill:{ground}}}"
    )


_SHAPES = (
    "svg{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    ".line,.grid,.mark{fill:none}.line{stroke:currentColor;stroke-width:2;stroke-linejoin:round}"
    ".area{fill:currentColor;fill-opacity:.3}.bar,.dot{fill:currentColor}.pale{fill:currentColor;fill-opacity:.32}"
    ".middle{fill:currentColor;fill-opacity:.62}.wait{fill:currentColor;fill-opacity:.14}"
    ".label{font-weight:600}.tick,.title,.note{font-variant-numeric:tabular-nums}.mark{stroke-width:1.5}"
    ".grid{stroke-width:1}.error{fill:#d6293a}.wrong{color:#d6293a}.heading{font-size:18px}"
)
