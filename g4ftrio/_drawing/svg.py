"""A race drawn as an SVG picture: a bar an entrant, on one axis of time. No I/O.

The picture stands alone: it loads nothing, runs nothing, and has colours for light and for dark surroundings. Its
style is bound to the class ``g4ftrio-race``, so that it can be put into a page as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from g4ftrio._drawing.canvas import Canvas
from g4ftrio._drawing.chart import STAGES, Bar, Chart, Mark, Span, Stage
from g4ftrio._drawing.markup import Markup, tag
from g4ftrio._drawing.scale import Scale
from g4ftrio._drawing.shapes import bar as rectangle, dot, fitted, rule, text, wide
from g4ftrio._drawing.style import CARD, GRID, INK, RED, SOFT, TEXT, Style, sheet
from g4ftrio._drawing.units import duration

__all__ = ("draw",)

_CLASS = "g4ftrio-race"
_WIDTH = 960.0
_MARGIN = 28.0
_WHOLE = _WIDTH - 2 * _MARGIN
_HEAD = 104.0  # above the first row
_ROW = 34.0
_THICK = 14.0  # of a bar
_SLIM = 1.5  # what took no time is still seen,
_SEEN = 300  # and its colour is explained if it took one in so many parts of the axis
_INDENT = 16.0
_DEEPEST = 6  # races in races that are still indented
_WORDS = 150.0  # room for what became of an entrant
_LINE = 24.0  # of the legend
_LARGE = 1.5  # how wide the letters of a heading are, against those that are not bold
_SMALL = 0.86  # and those of the legend

_GREEN = ("#1a7f37", "#56d364")
_STYLE = Style(
    {
        "text": "font-size:13px",
        ".legend,.tick": "font-size:11.5px",
        ".decision": "stroke-width:1.5;stroke-dasharray:3 3",
        ".ring": "stroke-width:1.5;fill:none",
        ".cross,.stop": "stroke-width:2.5;stroke-linecap:round;fill:none",
        ".thin": "stroke-width:1.5",
        ".rim": "stroke-width:2",
    },
    {
        "fill": {
            ".track": ("#f3f5f7", "#1d232b"),
            ".turn": ("#c3cbd4", "#484f58"),
            ".connecting": ("#c8d1dc", "#3d4652"),
            ".waiting": ("#a9c3e8", "#2f4a73"),
            ".answering": ("#6f9fe0", "#3f6db5"),
            ".unclean": ("#e9b44c", "#b5822a"),
            ".writing": ("#2da44e", "#3fb950"),
            ".closing": ("#d0d7de", "#484f58"),
            ".soft": SOFT,
            ".won": _GREEN,
            ".bad": RED,
            ".odd": ("#9a6700", "#e3b341"),
        },
        "stroke": {
            ".edge": GRID,
            ".decision": _GREEN,
            ".ring": INK,
            ".rim": CARD,
            ".cross": RED,
            ".stop": SOFT,
        },
    },
)
_STATES = {"won": "won", "failed": "bad", "broke off": "bad", "rejected": "odd"}
_MARKS: Mapping[str, str] = {
    "connected": "connected",
    "first byte": "first byte",
    "first chunk": "first chunk",
    "clean": "clean",
    "dropped": "dropped",
    "closed": "closed",
    "failed": "failed",
    "rejected": "failed",
    "broke off": "failed",
    "cancelled": "dropped",
}


def draw(chart: Chart) -> str:
    """Draw a race as SVG."""
    return f"{_Drawing(chart).picture()}\n"


class _Drawing:
    """A chart on a page: a column of names, the bars, a column of words, and below it what is what."""

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        widest = max((_indent(bar) + wide(bar.name) for bar in chart.bars), default=0.0)
        self._names = min(max(widest, 90.0), 300.0)
        self._canvas = Canvas(_WIDTH, left=_MARGIN + self._names + 16, right=_MARGIN + _WORDS)
        self._scale = Scale(0, chart.seconds, self._canvas.left, self._canvas.right)
        self._bottom = _HEAD + _ROW * len(chart.bars)

    def picture(self) -> Markup:
        below, height = self._below()
        self._canvas.height = height
        edge = rectangle(0.5, 0.5, _WIDTH - 1, height - 1, class_="ground edge", rx=12)
        title = text(_MARGIN, 40, self._chart.title, class_="heading", room=_WHOLE / _LARGE)
        self._canvas.add(edge, title, text(_MARGIN, 62, _subtitle(self._chart), class_="note", room=_WHOLE))
        self._canvas.add(*self._axis(), *self._rows(), *self._decision(), *below)
        style = sheet(TEXT, _STYLE, within=f".{_CLASS}")
        return self._canvas.picture(self._chart.title, style, told=_told(self._chart), class_=_CLASS)

    def _axis(self) -> Iterator[Markup]:
        for at in self._scale.ticks(6):
            yield self._upright(at, "grid")
            yield text(self._scale(at), _HEAD - 14, duration(at), class_="tick", anchor="middle")

    def _decision(self) -> Iterator[Markup]:
        if self._chart.won_at is not None:
            yield self._upright(self._chart.won_at, "decision")

    def _upright(self, at: float, name: str) -> Markup:
        """Draw a line across all rows."""
        x = self._scale(at)
        return rule(x, _HEAD - 6, x, self._bottom + 4, class_=name)

    def _rows(self) -> Iterator[Markup]:
        for row, bar in enumerate(self._chart.bars):
            yield tag("g", tag("title", _line(bar)), *self._bar(bar, _HEAD + (row + 0.5) * _ROW))

    def _bar(self, bar: Bar, y: float) -> Iterator[Markup]:
        indent, state = _indent(bar), _STATES.get(bar.state, "soft")
        weight = "label" if state == "won" else None
        name = fitted(bar.name, self._names - indent + 7)
        yield text(_MARGIN + indent, y + 4.5, name, class_=weight)
        yield _stretch("track", self._canvas.left, self._canvas.right, y)
        yield from (self._span(span, y) for span in bar.spans)
        yield from (_mark(mark.kind, self._scale(mark.at), y) for mark in _apart(bar.marks))
        classes = " ".join(filter(None, (state, weight)))
        yield text(self._canvas.right + 14, y + 4.5, _state(bar), class_=classes, room=_WORDS)

    def _span(self, span: Span, y: float) -> Markup:
        start = min(self._scale(span.start), self._canvas.right - _SLIM)
        return _stretch(span.stage, start, max(self._scale(span.end), start + _SLIM), y)

    def _below(self) -> tuple[list[Markup], float]:
        """Explain what occurs, tell what went wrong, and give where that ends."""
        drawn, end = _legend(self._chart, self._bottom + 34)
        notes = [bar for bar in self._chart.bars if bar.note]
        top = end + (10 if notes else 0)
        drawn += [_note(bar, top + row * _LINE) for row, bar in enumerate(notes)]
        return drawn, top + _LINE * len(notes) + 4


def _apart(marks: tuple[Mark, ...]) -> Iterator[Mark]:
    """Leave out marks that the next one would cover."""
    following = [mark.at for mark in marks[1:]]
    yield from (mark for mark, at in zip(marks, [*following, inf], strict=False) if at > mark.at)


def _stretch(name: str, start: float, end: float, y: float) -> Markup:
    thick, width = 4.0 if name == "turn" else _THICK, max(end - start, 0.0)
    return rectangle(start, y - thick / 2, width, thick, class_=name, rx=min(3.0, width / 2))


def _mark(kind: str, x: float, y: float) -> Markup:
    """Draw a moment: a ring, a tick, a diamond, a disc, a bar, a cross."""
    tip, half = _THICK / 2 + 3, 4.0
    match _MARKS.get(kind):
        case "connected":
            return dot(x, y, 3, class_="ring")
        case "first byte":
            return rule(x, y - tip + 3, x, y + tip - 3, class_="ring")
        case "first chunk":
            return tag("path", d=f"M{x:.1f} {y - half:g}l4 4 -4 4 -4 -4z", class_="ring")
        case "clean":
            return dot(x, y, 6.5, class_="won rim")
        case "failed":
            return tag("path", d=f"M{x - half:.1f} {y - half:g}l8 8m0 -8l-8 8", class_="cross")
        case "dropped":
            return rule(x, y - tip, x, y + tip, class_="stop")
    return rule(x, y - tip + 3, x, y + tip - 3, class_="stop thin")


def _legend(chart: Chart, top: float) -> tuple[list[Markup], float]:
    """Explain what occurs, and give where that ends."""
    least = chart.seconds / _SEEN
    stages = {span.stage for bar in chart.bars for span in bar.spans if span.end - span.start >= least}
    kinds = dict.fromkeys(_MARKS[mark.kind] for bar in chart.bars for mark in _apart(bar.marks) if mark.kind in _MARKS)
    entries = [(_swatch(stage), words) for stage, words in STAGES.items() if stage in stages]
    entries += [(_sample(kind), kind) for kind in dict.fromkeys(_MARKS.values()) if kind in kinds]
    drawn, x, y = [], _MARGIN, top
    for sample, words in entries:
        size = 22 + wide(words) * _SMALL + 16
        if x + size > _WIDTH - _MARGIN + 16:
            x, y = _MARGIN, y + _LINE
        entry = text(22, 4, words, class_="note legend")
        drawn.append(tag("g", sample, entry, transform=f"translate({x:.1f} {y:g})"))
        x += size
    return drawn, y + _LINE


def _note(bar: Bar, y: float) -> Markup:
    """Write what went wrong with an entrant."""
    tone = _STATES.get(bar.state, "soft")
    return text(_MARGIN, y, f"{bar.name}: {bar.note}", class_=f"legend {tone}", room=_WHOLE / _SMALL)


def _swatch(stage: Stage) -> Markup:
    thick = 4 if stage == "turn" else 10
    return rectangle(0, -thick / 2, 14, thick, class_=stage, rx=2)


def _sample(kind: str) -> Markup:
    return tag("g", _mark(kind, 0, 0), transform="translate(7 0) scale(0.85)")


def _indent(bar: Bar) -> float:
    return _INDENT * min(bar.depth, _DEEPEST)


def _state(bar: Bar) -> str:
    return bar.state if bar.at is None else f"{bar.state} at {duration(bar.at)}"


def _subtitle(chart: Chart) -> str:
    states = [bar.state for bar in chart.bars if not bar.depth]
    asked = len(states) - states.count("not asked")
    counted = {"asked": asked, **{word: states.count(word) for word in ("dropped", "failed", "rejected", "cancelled")}}
    return " · ".join([chart.policy, *(f"{count} {word}" for word, count in counted.items() if count)])


def _told(chart: Chart) -> str:
    """Tell the race to those who cannot see it."""
    return ". ".join([_subtitle(chart), *map(_line, chart.bars)])


def _line(bar: Bar) -> str:
    moments = ", ".join(f"{mark.kind} {duration(mark.at)}" for mark in bar.marks)
    return ": ".join(filter(None, (bar.name, f"{_state(bar)}" + (f" ({moments})" if moments else ""), bar.note)))
