"""A race's report as bars on one axis of time: what its drawings, the waterfall and the SVG, draw. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from g4ftrio._drawing.units import duration
from g4ftrio._words.printable import on_one_line

__all__ = ("STAGES", "Bar", "Chart", "Mark", "Span", "Stage", "chart")

Stage: TypeAlias = Literal["turn", "connecting", "waiting", "answering", "unclean", "writing", "closing"]

STAGES: Mapping[Stage, str] = {
    "turn": "waiting for its turn",
    "connecting": "connecting",
    "waiting": "waiting for the first byte",
    "answering": "waiting for the first chunk",
    "unclean": "nothing clean yet",
    "writing": "clean: it won",
    "closing": "closing",
}
_BEGINNINGS: tuple[tuple[str, Stage], ...] = (
    ("started_at", "connecting"),
    ("connected_at", "waiting"),
    ("first_byte_at", "answering"),
    ("first_chunk_at", "unclean"),
    ("clean_at", "writing"),
)
_MARKS = {"connected_at": "connected", "first_byte_at": "first byte", "first_chunk_at": "first chunk"}
_MARKS |= {"clean_at": "clean"}
_WORDS = {"lost": "dropped", "not_started": "not asked", "running": "not over"}
_DECIDED = {"won": "clean_at", "not over": "ended_at"}
_SHORTEST = 1e-3  # seconds on the axis of a race in which nothing took any time
_LONGEST = 999_999.0  # seconds: eleven days have room in a line, and nothing overflows


class Span(Struct, frozen=True):
    """From when to when an entrant was at what."""

    stage: Stage
    start: float
    end: float


class Mark(Struct, frozen=True):
    """A moment: connected, first byte, first chunk, clean, or what the end was."""

    kind: str
    at: float


class Bar(Struct, frozen=True, kw_only=True):
    """One entrant.

    :ivar depth: in how many races its race is nested
    :ivar state: what became of it, in a word or two
    :ivar at: when that was decided, or None
    :ivar note: what went wrong, on one line, or nothing
    """

    name: str
    depth: int
    state: str
    at: float | None
    note: str
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]


class Chart(Struct, frozen=True, kw_only=True):
    """All bars of a race, those of nested races below the entrant that they are.

    :ivar seconds: how long the axis is
    :ivar won_at: when the race was decided, or None
    """

    title: str
    policy: str
    seconds: float
    won_at: float | None
    bars: tuple[Bar, ...]


def chart(report: Mapping[str, Any], now: float | None = None) -> Chart:
    """Lay a report out.

    :param report: as ``RaceReport.to_dict()`` gives it
    :param now: how far the race is, where it is still on
    """
    until = max(0.0, _moment(now, 0.0) or 0.0, *_all_times(report, 0.0))
    bars = tuple(_bars(report, 0.0, until, 0))
    winner = next((each for each in report["entrants"] if each["outcome"] == "won"), None)
    won_at = None if winner is None else _time(winner, "clean_at", 0.0)
    return Chart(
        title=_title(report, winner, won_at),
        policy=on_one_line(report["policy"]),
        seconds=max(until, _SHORTEST),
        won_at=won_at,
        bars=bars,
    )


def _title(report: Mapping[str, Any], winner: Mapping[str, Any] | None, won_at: float | None) -> str:
    if winner is None:
        is_on = any(each["outcome"] == "running" for each in report["entrants"])
        return "nobody has won yet" if is_on else "nobody won"
    return f"{on_one_line(winner['name'])} won" + ("" if won_at is None else f" after {duration(won_at)}")


def _bars(report: Mapping[str, Any], origin: float, until: float, depth: int) -> Iterator[Bar]:
    """Give the bars of a race.

    :param origin: when it began, on the axis
    :param until: the end of what is known, for those who have not ended
    """
    decided = next((_time(each, "clean_at", origin) for each in report["entrants"] if each["outcome"] == "won"), None)
    for entrant in report["entrants"]:
        yield _bar(entrant, origin, decided, until, depth)
        if entrant["race"] is not None:
            began, end = _time(entrant, "started_at", origin), _end(entrant, origin, until)
            start = origin if began is None else began
            yield from _bars(entrant["race"], start, until if end is None else end, depth + 1)


def _bar(entrant: Mapping[str, Any], origin: float, decided: float | None, until: float, depth: int) -> Bar:
    end = _end(entrant, origin, until)
    dropped = decided if entrant["outcome"] == "lost" else None
    state, ended = _state(entrant), end if dropped is None else dropped
    note = on_one_line(entrant["error"]["message"]) if entrant["error"] else ""
    return Bar(
        name=on_one_line(entrant["name"]),
        depth=depth,
        state=state,
        at=_time(entrant, _DECIDED[state], origin) if state in _DECIDED else ended,
        note=note.removeprefix(f"{on_one_line(entrant['name'])}: "),
        spans=tuple(_spans(entrant, origin, end, dropped)),
        marks=tuple(_marks(entrant, origin, end, dropped)),
    )


def _state(entrant: Mapping[str, Any]) -> str:
    if entrant["outcome"] == "won" and entrant["error"]:
        return "broke off"
    outcome: str = entrant["outcome"]
    return _WORDS.get(outcome, outcome)


def _end(entrant: Mapping[str, Any], origin: float, until: float) -> float | None:
    """Give the end of its bar; None for who never started."""
    began = _time(entrant, "started_at", origin)
    if began is None:
        return None
    ended = _time(entrant, "ended_at", origin)
    return max(began, until if ended is None else ended)


def _spans(entrant: Mapping[str, Any], origin: float, end: float | None, dropped: float | None) -> Iterator[Span]:
    began = _time(entrant, "started_at", origin)
    if began is None or end is None:
        return
    if began > origin:
        yield Span("turn", origin, began)
    stop = end if dropped is None else min(max(dropped, began), end)
    reached = [(stage, at) for at, stage in _reached(entrant, origin)]
    for (stage, start), (_, after) in zip(reached, [*reached[1:], ("", stop)], strict=True):
        if min(after, stop) > start or len(reached) == 1:
            yield Span(stage, start, min(after, stop))
    if end > stop:
        yield Span("closing", stop, end)


def _reached(entrant: Mapping[str, Any], origin: float) -> list[tuple[float, Stage]]:
    """Give the stages that it reached, each with its beginning, in order; none begins before the one before it.

    Who has never connected sent on a connection that was kept open, or over none.
    """
    reached: list[tuple[float, Stage]] = []
    for moment, stage in _BEGINNINGS:
        at = _time(entrant, moment, origin)
        if at is not None:
            reached.append((max(at, reached[-1][0]) if reached else at, stage))
    if entrant["connected_at"] is None:
        reached[0] = (reached[0][0], "waiting")
    return reached


def _marks(entrant: Mapping[str, Any], origin: float, end: float | None, dropped: float | None) -> Iterator[Mark]:
    if end is None:
        return
    for moment, kind in _MARKS.items():
        at = _time(entrant, moment, origin)
        if at is not None:
            yield Mark(kind, min(at, end))
    if dropped is not None:
        yield Mark("dropped", min(dropped, end))
    if entrant["ended_at"] is not None:
        closed = entrant["outcome"] in ("won", "lost") and not (entrant["outcome"] == "won" and entrant["error"])
        yield Mark("closed" if closed else _state(entrant), end)


def _all_times(report: Mapping[str, Any], origin: float) -> Iterator[float]:
    for entrant in report["entrants"]:
        times = [_time(entrant, name, origin) for name in (*_MARKS, "started_at", "ended_at")]
        yield from (at for at in times if at is not None)
        if entrant["race"] is not None:
            yield from _all_times(entrant["race"], _time(entrant, "started_at", origin) or origin)


def _time(entrant: Mapping[str, Any], name: str, origin: float) -> float | None:
    return _moment(entrant[name], origin)


def _moment(at: object, origin: float) -> float | None:
    """Give a moment on the axis; a report that was read from a file may hold any number."""
    if isinstance(at, int | float) and isfinite(at):
        return min(origin + max(0.0, at), _LONGEST)
    return None
