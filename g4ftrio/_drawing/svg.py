"""A race drawn as an SVG picture: a bar an entrant, on one axis of time. No I/O.

The picture stands alone: it loads nothing, runs nothing, and has colours for light and for dark surroundings. Its
style is bound to the class ``g4ftrio-race``, so that it can be put into a page as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from math import inf
from typing import TypeAlias

from g4ftrio._drawing.chart import STAGES, Bar, Chart, Mark, Span, Stage, duration, moment, ticks
from g4ftrio._words.printable import cells, shortened

__all__ = ("draw",)

_WIDTH = 960.0
_MARGIN = 28.0
_HEAD = 104.0  # above the first row
_ROW = 34.0
_THICK = 14.0  # of a bar
_SLIM = 1.5  # what took no time is still seen,
_SEEN = 300  # and its colour is explained if it took one in so many parts of the axis
_INDENT = 16.0
_DEEPEST = 6  # races in races that are still indented
_WORDS = 150.0  # room for what became of an entrant
_CELL = 7.3  # about as much as a character takes at 13 px
_LEGEND = 24.0  # a line of the legend

# What has which colour, in light and in dark surroundings.
_FILLS: Mapping[str, tuple[str, str]] = {
    "card": ("#ffffff", "#0d1117"),
    "track": ("#f3f5f7", "#161b22"),
    "turn": ("#c3cbd4", "#484f58"),
    "connecting": ("#c8d1dc", "#3d4652"),
    "waiting": ("#a9c3e8", "#2f4a73"),
    "answering": ("#6f9fe0", "#3f6db5"),
    "unclean": ("#e9b44c", "#b5822a"),
    "writing": ("#2da44e", "#3fb950"),
    "closing": ("#d0d7de", "#484f58"),
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#5b6570", "#9aa4af"),
    "won": ("#1a7f37", "#56d364"),
    "bad": ("#cf222e", "#ff7b72"),
    "odd": ("#9a6700", "#e3b341"),
}
_STROKES: Mapping[str, tuple[str, str]] = {
    "edge": ("#d8dee4", "#30363d"),
    "grid": ("#e6eaef", "#21262d"),
    "line": ("#1a7f37", "#56d364"),
    "ring": ("#1f2328", "#e6edf3"),
    "cross": ("#cf222e", "#ff7b72"),
    "stop": ("#5b6570", "#9aa4af"),
}
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

_Drawn: TypeAlias = Iterator[str]


def draw(chart: Chart) -> str:
    """Draw a race as SVG."""
    return "\n".join(_Drawing(chart).lines()) + "\n"


class _Drawing:
    """A chart on a page: a column of names, the bars, a column of words, and below it what is what."""

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        widest = max((_indent(bar) + cells(bar.name) * _CELL for bar in chart.bars), default=0.0)
        self._names = min(max(widest, 90.0), 300.0)
        self._left = _MARGIN + self._names + 16
        self._right = _WIDTH - _MARGIN - _WORDS
        self._bottom = _HEAD + _ROW * len(chart.bars)
        self._below, rows = _legend(chart, self._bottom + 34)
        notes = [bar for bar in chart.bars if bar.note]
        top = self._bottom + 34 + _LEGEND * rows + (10 if notes else 0)
        self._below += [_note(bar, top + row * _LEGEND) for row, bar in enumerate(notes)]
        self._height = top + _LEGEND * len(notes) + 4

    def lines(self) -> _Drawn:
        width, height = f"{_WIDTH:g}", f"{self._height:g}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'class="g4ftrio-race" role="img" aria-label="' + _text(self._chart.title) + '">'
        )
        yield f"<title>{_text(self._chart.title)}</title>"
        yield f"<desc>{_text(_told(self._chart))}</desc>"
        yield f"<style>{_style()}</style>"
        yield f'<rect class="card edge" x="0.5" y="0.5" width="{_WIDTH - 1:g}" height="{self._height - 1:g}" rx="12"/>'
        yield _words(_MARGIN, 40, self._chart.title, "head ink", 96)
        yield _words(_MARGIN, 62, _subtitle(self._chart), "muted", 120)
        yield from self._axis()
        for row, bar in enumerate(self._chart.bars):
            yield from self._bar(bar, _HEAD + row * _ROW + _ROW / 2)
        yield from self._decision()
        yield from self._below
        yield "</svg>"

    def _axis(self) -> _Drawn:
        for at in ticks(self._chart.seconds, 6):
            x = self._x(at)
            yield f'<path class="grid" d="M{x:.1f} {_HEAD - 6:g}V{self._bottom + 4:g}"/>'
            yield _words(x, _HEAD - 14, moment(at), "small muted middle", 12)

    def _decision(self) -> _Drawn:
        if self._chart.won_at is not None:
            x = self._x(self._chart.won_at)
            yield f'<path class="line" d="M{x:.1f} {_HEAD - 6:g}V{self._bottom + 4:g}"/>'

    def _bar(self, bar: Bar, y: float) -> _Drawn:
        state = _STATES.get(bar.state, "muted")
        indent = _indent(bar)
        room = int((self._names - indent) / _CELL) + 1
        yield f"<g><title>{_text(_line(bar))}</title>"
        tone = "ink bold" if state == "won" else "ink"
        yield _words(_MARGIN + indent, y + 4.5, bar.name, tone, room)
        yield _rect("track", self._left, self._right, y)
        yield from (self._span(span, y) for span in bar.spans)
        yield from (_mark(mark.kind, self._x(mark.at), y) for mark in _apart(bar.marks))
        yield _words(self._right + 14, y + 4.5, _state(bar), f"{state} bold" if state == "won" else state, 20)
        yield "</g>"

    def _span(self, span: Span, y: float) -> str:
        start = min(self._x(span.start), self._right - _SLIM)
        return _rect(span.stage, start, max(self._x(span.end), start + _SLIM), y)

    def _x(self, at: float) -> float:
        share = at / self._chart.seconds
        return self._left + min(max(share, 0.0), 1.0) * (self._right - self._left)


def _apart(marks: tuple[Mark, ...]) -> Iterator[Mark]:
    """Leave out marks that the next one would cover."""
    following = [mark.at for mark in marks[1:]]
    yield from (mark for mark, at in zip(marks, [*following, inf], strict=False) if at > mark.at)


def _rect(name: str, start: float, end: float, y: float) -> str:
    thick, width = 4.0 if name == "turn" else _THICK, max(end - start, 0.0)
    place = f'x="{start:.1f}" y="{y - thick / 2:g}" width="{width:.1f}" height="{thick:g}"'
    return f'<rect class="{name}" {place} rx="{min(3.0, width / 2):.1f}"/>'


def _mark(kind: str, x: float, y: float) -> str:
    """Draw a moment: a ring, a tick, a diamond, a disc, a bar, a cross."""
    tip, half = _THICK / 2 + 3, 4.0
    match _MARKS.get(kind):
        case "connected":
            return f'<circle class="ring" cx="{x:.1f}" cy="{y:g}" r="3"/>'
        case "first byte":
            return f'<path class="ring" d="M{x:.1f} {y - tip + 3:g}V{y + tip - 3:g}"/>'
        case "first chunk":
            return f'<path class="ring" d="M{x:.1f} {y - half:g}l4 4 -4 4 -4 -4z"/>'
        case "clean":
            return f'<circle class="won rim" cx="{x:.1f}" cy="{y:g}" r="6.5"/>'
        case "failed":
            return f'<path class="cross" d="M{x - half:.1f} {y - half:g}l8 8m0 -8l-8 8"/>'
        case "dropped":
            return f'<path class="stop" d="M{x:.1f} {y - tip:g}V{y + tip:g}"/>'
    return f'<path class="stop thin" d="M{x:.1f} {y - tip + 3:g}V{y + tip - 3:g}"/>'


def _legend(chart: Chart, top: float) -> tuple[list[str], int]:
    """Explain what occurs, and tell how many lines that takes."""
    least = chart.seconds / _SEEN
    stages = {span.stage for bar in chart.bars for span in bar.spans if span.end - span.start >= least}
    kinds = dict.fromkeys(_MARKS[mark.kind] for bar in chart.bars for mark in _apart(bar.marks) if mark.kind in _MARKS)
    entries = [(_swatch(stage), words) for stage, words in STAGES.items() if stage in stages]
    entries += [(_sample(kind), kind) for kind in dict.fromkeys(_MARKS.values()) if kind in kinds]
    drawn, x, row = [], _MARGIN, 0
    for sample, words in entries:
        size = 22 + cells(words) * 6.2 + 16
        if x + size > _WIDTH - _MARGIN + 16:
            x, row = _MARGIN, row + 1
        y = top + row * _LEGEND
        drawn.append(f'<g transform="translate({x:.1f} {y:g})">{sample}{_words(22, 4, words, "small muted", 60)}</g>')
        x += size
    return drawn, row + 1


def _note(bar: Bar, y: float) -> str:
    """Write what went wrong with an entrant."""
    return _words(_MARGIN, y, f"{bar.name}: {bar.note}", f"small {_STATES.get(bar.state, 'muted')}", 140)


def _swatch(stage: Stage) -> str:
    thick = 4 if stage == "turn" else 10
    return f'<rect class="{stage}" x="0" y="{-thick / 2:g}" width="14" height="{thick}" rx="2"/>'


def _sample(kind: str) -> str:
    return f'<g transform="translate(7 0) scale(0.85)">{_mark(kind, 0, 0)}</g>'


def _words(x: float, y: float, text: str, name: str, limit: int) -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:g}">{_text(shortened(text, limit))}</text>'


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


def _text(text: str) -> str:
    """Escape text, and replace what XML has no place for (https://www.w3.org/TR/xml/#charsets)."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return escape(whole.translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}))


def _style() -> str:
    """Give the rules, each bound to this picture."""
    plain = {
        "text": "font:13px ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif",
        ".head": "font-size:19px;font-weight:600",
        ".small": "font-size:11.5px",
        ".bold": "font-weight:600",
        ".middle": "text-anchor:middle",
        ".grid": "stroke-width:1",
        ".line": "stroke-width:1.5;stroke-dasharray:3 3",
        ".ring": "stroke-width:1.5;fill:none",
        ".cross,.stop": "stroke-width:2.5;stroke-linecap:round;fill:none",
        ".thin": "stroke-width:1.5",
        ".rim": "stroke-width:2",
    }
    dark = "".join(_colours(1))
    return f"{_rules(plain)}{''.join(_colours(0))}@media(prefers-color-scheme:dark){{{dark}}}"


def _colours(scheme: int) -> Iterator[str]:
    yield _rules({f".{name}": f"fill:{colours[scheme]}" for name, colours in _FILLS.items()})
    yield _rules({f".{name}": f"stroke:{colours[scheme]}" for name, colours in _STROKES.items()})
    yield _rules({".rim": f"stroke:{_FILLS['card'][scheme]}"})


def _rules(rules: Mapping[str, str]) -> str:
    bound = {",".join(f".g4ftrio-race {each}" for each in names.split(",")): said for names, said in rules.items()}
    return "".join(f"{names}{{{said}}}" for names, said in bound.items())
