"""A race drawn as text: a bar an entrant, on one axis of time. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set as AbstractSet
from typing import TypeAlias

from g4ftrio._drawing.chart import STAGES, Bar, Chart, Stage
from g4ftrio._drawing.scale import Scale
from g4ftrio._drawing.units import duration
from g4ftrio._words.printable import cells, shortened

__all__ = ("Line", "draw", "lines")

Line: TypeAlias = list[tuple[str, str]]
"""Pieces of text, each with what it is: a stage, a state, ``name``, ``axis``, ``title``, or nothing."""

_NARROWEST = 40  # columns
_INDENT = 2
_DEEPEST = 6  # races in races that are still indented
_STAGES: Mapping[Stage, tuple[str, str]] = {
    "turn": ("·", "."),
    "connecting": ("╌", "~"),
    "waiting": ("─", "-"),
    "answering": ("░", ":"),
    "unclean": ("▒", "="),
    "writing": ("█", "#"),
    "closing": ("╴", "_"),
}
_ENDS: Mapping[str, tuple[str, str]] = {
    "dropped": ("┤", "|"),
    "cancelled": ("┤", "|"),
    "failed": ("✗", "x"),
    "rejected": ("✗", "x"),
    "broke off": ("✗", "x"),
}
_END_WORDS = ("dropped", "failed")  # of those that look the same, these are explained


def draw(chart: Chart, width: int = 80, *, ascii: bool = False) -> str:  # noqa: A002  # the plain word for it
    """Draw a race as plain text.

    :param width: of a line, in columns; from 40 on
    :param ascii: with no other characters than ASCII has, but those of names
    """
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines(chart, width, ascii=ascii))


def lines(chart: Chart, width: int = 80, *, ascii: bool = False) -> list[Line]:  # noqa: A002  # as above
    """Give what ``draw`` draws, in pieces that can be coloured."""
    return _Drawing(chart, max(width, _NARROWEST), ascii=ascii).lines()


class _Drawing:
    """A chart on a grid of characters: a column of names, the bars, a column of words."""

    def __init__(self, chart: Chart, width: int, *, ascii: bool) -> None:  # noqa: A002  # as above
        self._chart = chart
        self._width = width
        self._set = int(ascii)
        self._ellipsis = "~" if ascii else "…"
        names = [cells(_indented(bar)) for bar in chart.bars]
        words = [cells(_words(bar)) for bar in chart.bars]
        self._words = max(words, default=0)
        self._names = min(max(names, default=0), width * 2 // 5)
        self._room = width - self._names - self._words - 4
        self._scale = Scale(0, chart.seconds, 0, self._room)

    def lines(self) -> list[Line]:
        head = self._cut(f"{self._chart.title} ({self._chart.policy})", self._width)
        tracks = [self._track(bar) for bar in self._chart.bars]
        drawn: list[Line] = [[(head, "title")], *([self._axis()] if tracks else [])]
        drawn += [self._row(bar, track) for bar, track in zip(self._chart.bars, tracks, strict=True)]
        drawn += self._legend({piece for track in tracks for piece in track})
        drawn += [self._note(bar) for bar in self._chart.bars if bar.note]
        return drawn

    def _axis(self) -> Line:
        written = ""
        for at in self._scale.ticks(max(2, self._room // 12)):
            label, column = duration(at), self._column(at)
            if column >= len(written) and column + len(label) <= self._room + self._words + 2:
                written = f"{written:<{column}}{label} "
        return [(" " * (self._names + 2), ""), (written, "axis")]

    def _track(self, bar: Bar) -> Line:
        """Draw a bar, a column a piece."""
        columns: Line = [(" ", "")] * self._room
        for span in bar.spans:
            first = self._column(span.start)
            last = max(first + 1, round(self._scale(span.end)))
            columns[first:last] = [(_STAGES[span.stage][self._set], span.stage)] * (last - first)
        if bar.spans and (end := self._end(bar)):
            columns[self._column(bar.marks[-1].at if bar.marks else bar.spans[-1].end)] = (end, bar.state)
        return columns

    def _row(self, bar: Bar, track: Line) -> Line:
        name = self._cut(_indented(bar), self._names)
        padding = " " * (self._names - cells(name) + 2)
        return [(name, bar.state), (padding, ""), *_joined(track), ("  ", ""), (_words(bar), bar.state)]

    def _legend(self, drawn: AbstractSet[tuple[str, str]]) -> list[Line]:
        """Explain the characters that occur."""
        words: dict[str, tuple[str, str]] = {}
        words |= {_STAGES[stage][self._set]: (stage, meaning) for stage, meaning in STAGES.items()}
        words |= {_ENDS[state][self._set]: (state, state) for state in _END_WORDS}
        rows: list[Line] = []
        room = 0
        for glyph, (style, meaning) in words.items():
            if all(glyph != shown for shown, _ in drawn):
                continue
            if len(meaning) + 5 > room:
                rows.append([])
                room = self._width + 3
            rows[-1] += [("   " if rows[-1] else "", ""), (glyph, style), (f" {meaning}", "axis")]
            room -= len(meaning) + 5
        return rows

    def _note(self, bar: Bar) -> Line:
        return [(self._cut(f"{self._end(bar) or ' '} {bar.name}: {bar.note}", self._width), bar.state)]

    def _end(self, bar: Bar) -> str:
        return _ENDS[bar.state][self._set] if bar.state in _ENDS else ""

    def _column(self, at: float) -> int:
        return min(int(self._scale(at)), self._room - 1)

    def _cut(self, text: str, limit: int) -> str:
        return shortened(text, limit).replace("…", self._ellipsis)


def _indented(bar: Bar) -> str:
    return " " * (_INDENT * min(bar.depth, _DEEPEST)) + bar.name


def _words(bar: Bar) -> str:
    return bar.state if bar.at is None else f"{bar.state} {duration(bar.at)}"


def _joined(columns: Sequence[tuple[str, str]]) -> Line:
    """Join neighbours of the same kind."""
    joined: Line = []
    for text, style in columns:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined
