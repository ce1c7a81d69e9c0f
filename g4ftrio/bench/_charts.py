"""Kinds of charts, drawn from plain numbers for a width in pixels: one for a phone is no shrunken one for a desk."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isqrt

from msgspec import Struct

from g4ftrio._drawing.canvas import Canvas
from g4ftrio._drawing.markup import Markup, tag
from g4ftrio._drawing.scale import Scale, linear, spread
from g4ftrio._drawing.shapes import area, bar, dot, rule, step, text, wide
from g4ftrio._drawing.style import RED, SHAPES, TEXT, Style, sheet
from g4ftrio._drawing.units import duration, percent

__all__ = ("Bar", "Level", "Series", "Span", "bars", "curves", "levels", "rates", "ridges", "style", "timeline")

_FEW = 12  # values that are dots, and not yet a distribution
_POINTS = 300  # of a curve: nobody would see more
_AXIS = 40  # pixels below for a scale and its title
_RIDGE = 62
_LEVEL = 15
_TALL = 230

_STYLE = Style(
    {
        ".pale,.middle,.wait": "fill:currentColor",
        ".pale": "fill-opacity:.32",
        ".middle": "fill-opacity:.62",
        ".wait": "fill-opacity:.14",
    },
    {"fill": {".error": RED}, "color": {".wrong": RED}},
)


class Level(Struct, frozen=True):
    """A percentile, and between what it may lie."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        between = "" if self.low is None else f" ({duration(self.low)} to {duration(self.high)})"
        return f"{self.label} {duration(self.value)}{between}"


class Series(Struct, frozen=True):
    """Values of somebody.

    :ivar look: the classes of its shapes
    :ivar values: in the order of the horizontal axis
    """

    name: str
    look: str
    values: Sequence[float] = ()
    levels: Sequence[Level] = ()


class Bar(Struct, frozen=True):
    """A share of one, and what is said of it."""

    name: str
    look: str
    share: float
    said: str


class Span(Struct, frozen=True):
    """A request, in seconds from the start.

    :ivar middle: when the first token came, or None
    """

    look: str
    said: str
    due: float
    start: float
    middle: float | None
    end: float
    failed: bool = False
    counts: bool = True


def ridges(series: Sequence[Series], title: str, width: float) -> Canvas:
    """Draw distributions one below the other, over one scale; the marks are their levels.

    :param series: with values in rising order
    """
    bottom = _RIDGE * len(series) + 4.0
    canvas = Canvas(width, bottom + _AXIS)
    scale = spread([value for each in series for value in each.values], canvas.left + 3, canvas.right)
    canvas.horizontal_axis(scale, bottom, duration, title)
    for index, each in enumerate(series):
        base = _RIDGE * (index + 1.0)
        said = _said(each, canvas.right)
        head = (
            text(canvas.left, base - 42, each.name, room=canvas.right - wide(said)),
            text(canvas.right, base - 42, said, class_="note", anchor="end"),
        )
        shape = _dots(each, scale, base) if len(each.values) < _FEW else _hill(each, scale, base)
        marks = (_mark(level, scale, base) for level in each.levels)
        canvas.add(tag("g", *head, *shape, *marks, class_=each.look))
    return canvas


def curves(series: Sequence[Series], title: str, width: float) -> Canvas:
    """Draw which share of the values is no larger than each of them; the dots are levels.

    :param series: with values in rising order
    """
    canvas = Canvas(width, _TALL + 8 + _AXIS, left=46)
    scale = spread([value for each in series for value in each.values], canvas.left, canvas.right)
    shares = Scale(0, 1, _TALL, 8)
    canvas.vertical_axis(shares, percent)
    canvas.horizontal_axis(scale, _TALL, duration, title)
    for each in series:
        canvas.add(tag("g", *_curve(each, scale, shares), class_=each.look))
    return canvas


def levels(series: Sequence[Series], title: str, width: float) -> Canvas:
    """Draw bars as long as each level is high, with the intervals that they may lie in."""
    tops = [top for each in series for top in each.levels]
    heights = [26.0 + _LEVEL * len(each.levels) for each in series]
    canvas = Canvas(width, sum(heights) + _AXIS, right=92)
    far = max(max(level.value, level.high or 0) for level in tops)
    scale = linear(0, far, canvas.left, canvas.right)
    canvas.horizontal_axis(scale, sum(heights) - 4, duration, title)
    base = 0.0
    for each, height in zip(series, heights, strict=True):
        rows = (_level(level, index, scale, base + 19 + _LEVEL * index) for index, level in enumerate(each.levels))
        name = text(canvas.left, base + 13, each.name, room=width)
        canvas.add(tag("g", name, *rows, class_=each.look))
        base += height
    return canvas


def bars(rows: Sequence[Bar], title: str, width: float) -> Canvas:
    """Draw shares of a whole."""
    bottom = 40.0 * len(rows) + 2
    canvas = Canvas(width, bottom + _AXIS)
    scale = linear(0, max(row.share for row in rows), canvas.left, canvas.right)
    canvas.horizontal_axis(scale, bottom, percent, title)
    for index, row in enumerate(rows):
        y = 40.0 * index
        canvas.add(
            tag(
                "g",
                text(canvas.left, y + 14, row.name, room=canvas.right - wide(row.said)),
                text(canvas.right, y + 14, row.said, class_="note", anchor="end"),
                bar(canvas.left, y + 20, scale(row.share) - canvas.left, 14),
                class_=row.look,
            )
        )
    return canvas


def rates(series: Sequence[Series], span: float, title: str, width: float) -> Canvas:
    """Draw how much came in each of some equal parts of so many seconds."""
    canvas = Canvas(width, _TALL + 8 + _AXIS, left=46)
    scale = Scale(0, span, canvas.left, canvas.right)
    amounts = linear(0, max(max(each.values) for each in series), _TALL, 8)
    canvas.vertical_axis(amounts, "{:,g}".format)
    canvas.horizontal_axis(scale, _TALL, duration, title)
    for each in series:
        part = span / len(each.values)
        points = [(scale(part * index), amounts(value)) for index, value in enumerate([*each.values, each.values[-1]])]
        name = tag("title", each.name)
        filled = (area(points, _TALL, name),) if len(series) == 1 else ()  # several over each other would be mud
        canvas.add(tag("g", *filled, step(points, name), class_=each.look))
    return canvas


def timeline(spans: Sequence[Span], title: str, width: float) -> Canvas:
    """Draw a row for each request: due, sent, first token, end."""
    row = min(max(460 / len(spans), 3.0), 14.0)
    bottom = row * len(spans) + 4
    canvas = Canvas(width, bottom + _AXIS)
    scale = Scale(0, max(span.end for span in spans) or 1.0, canvas.left, canvas.right)
    canvas.horizontal_axis(scale, bottom, duration, title)
    for index, span in enumerate(spans):
        faint = None if span.counts else "0.35"
        canvas.add(tag("g", *_span(span, scale, row * index + 2, row * 0.76), class_=span.look, opacity=faint))
    return canvas


def style(within: str = "") -> Markup:
    """Give the sheet of styles of all charts.

    :param within: the selector of what alone it is for
    """
    return sheet(TEXT, SHAPES, _STYLE, within=within)


def _said(series: Series, width: float) -> str:
    """Give as many of the levels as there is room for beside the name."""
    levels = [f"{level.label} {duration(level.value)}" for level in series.levels]
    choices = [" · ".join(chosen) for chosen in (levels, levels[:: max(len(levels) - 1, 1)], levels[:1])]
    room = width - wide(series.name)
    return next((said for said in choices if wide(said) < room), choices[-1])


def _dots(series: Series, scale: Scale, base: float) -> Iterator[Markup]:
    return (
        dot(scale(value), base - 12, 4.5, tag("title", duration(value)), class_="middle") for value in series.values
    )


def _hill(series: Series, scale: Scale, base: float) -> tuple[Markup, Markup]:
    edges = scale.parts(min(max(3 * isqrt(len(series.values)), 24), int((scale.end - scale.start) / 5)))
    below = [0, *(bisect_left(series.values, edge) for edge in edges[1:-1]), len(series.values)]
    counts = [high - low for low, high in pairwise(below)]
    points = [
        (scale(edge), base - 31 * count / max(counts)) for edge, count in zip(edges, [*counts, counts[-1]], strict=True)
    ]
    name = tag("title", f"{series.name}: {', '.join(map(str, series.levels))}")
    return area(points, base, name), step(points, name)


def _mark(level: Level, scale: Scale, base: float) -> Markup:
    height = 31 if level.label == "p50" else 12
    x = scale(level.value)
    return rule(x, base, x, base - height, tag("title", str(level)))


def _curve(series: Series, scale: Scale, shares: Scale) -> Iterator[Markup]:
    count = len(series.values)
    picked = sorted({round(index * (count - 1) / _POINTS) for index in range(_POINTS + 1)})
    points = [(scale(series.values[index]), shares((index + 1) / count)) for index in picked]
    yield step([(points[0][0], shares(0)), *points], tag("title", series.name))
    for level in series.levels:
        share = float(f"0.{level.label[1:]}")
        yield dot(scale(level.value), shares(share), 3.5, tag("title", f"{series.name}: {level}"))


def _level(level: Level, index: int, scale: Scale, y: float) -> Markup:
    shade = ("bar", "middle", "pale")[index % 3]
    parts = [bar(scale.start, y, scale(level.value) - scale.start, _LEVEL - 4, tag("title", str(level)), class_=shade)]
    edge = level.value
    if level.low is not None and level.high is not None:
        edge = max(edge, level.high)
        middle = y + (_LEVEL - 4) / 2
        low, high = scale(level.low), scale(level.high)
        parts += [rule(low, middle, high, middle), *(rule(x, middle - 3, x, middle + 3) for x in (low, high))]
    words = f"{level.label} {duration(level.value)}"
    return tag("g", *parts, text(scale(edge) + 6, y + 10, words, class_="note"))


def _span(span: Span, scale: Scale, y: float, height: float) -> Iterator[Markup]:
    due, start, end = scale(span.due), scale(span.start), scale(span.end)
    middle = end if span.middle is None else scale(span.middle)
    yield tag("title", span.said)
    if start - due > 0.5:
        yield bar(due, y, start - due, height, class_="wait")
    yield bar(start, y, middle - start, height, class_="pale")
    if span.middle is not None:
        yield bar(middle, y, end - middle, height)
    if span.failed:
        yield bar(end - 3, y, 3, height, class_="error")
