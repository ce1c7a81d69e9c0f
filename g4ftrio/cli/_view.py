"""A race's report as a table for a terminal, as lines for a log, and as one line at the end. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from g4ftrio._words.chunks import Usage
from g4ftrio._words.errors import describe, excerpt
from g4ftrio._words.printable import on_one_line
from g4ftrio._words.report import EntrantReport, RaceReport

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ("events", "state", "summary", "table")

_ENDS = {"lost": "dropped", "not_started": "not asked", "won": "won"}
_STYLES = {
    "won": "bold green",
    "dropped": "dim",
    "not asked": "dim",
    "cancelled": "dim",
    "failed": "red",
    "broke off": "red",
    "rejected": "yellow",
    "not clean": "yellow",
}
_REASON = 80  # characters of a finish reason; one that a service has made up may be of any length
_TIMES = {"connected": "connected_at", "first chunk": "first_chunk_at", "clean": "clean_at", "ended": "ended_at"}
_MILESTONES = {"asked": "started_at", "connected": "connected_at", "first chunk": "first_chunk_at", "won": "clean_at"}


def state(entrant: EntrantReport) -> str:
    """Say in a word or two how far an entrant is."""
    if entrant.outcome == "won" and entrant.error is not None:
        return "broke off"
    if entrant.outcome != "running":
        return _ENDS.get(entrant.outcome, entrant.outcome)
    if entrant.first_chunk_at is not None:
        return "not clean"
    if entrant.first_byte_at is not None or entrant.connected_at is not None:
        return "waiting"
    return "connecting"


def table(report: RaceReport) -> Table:
    """Draw the race as it stands: who is where, and since when, in seconds from its start."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    drawn.add_column("provider", overflow="fold")
    drawn.add_column(f"{report.elapsed:.1f} s", min_width=10, no_wrap=True)
    for title in _TIMES:
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("", overflow="fold")
    for entrant in report.entrants:
        word = state(entrant)
        style = _STYLES.get(word, "cyan")
        times = [Text(_seconds(getattr(entrant, field)), style) for field in _TIMES.values()]
        drawn.add_row(Text(on_one_line(entrant.name), style), Text(word, style), *times, Text(_note(entrant), style))
    return drawn


def events(report: RaceReport) -> list[str]:
    """Tell what has happened so far, a line an event, in the order of time; a later list begins with an earlier one's.

    That holds as long as a clock goes on between two calls: an event has the time at which it was noted.
    """
    happened = [
        (at, f"{at:8.3f} s  {on_one_line(entrant.name)}: {what}")
        for entrant in report.entrants
        for at, what in _happened(entrant)
    ]
    return [line for _, line in sorted(happened, key=lambda event: event[0])]


def summary(report: RaceReport, finish_reason: str | None = None) -> str:
    """Say in a line who won, when, and what came of it; nothing if nobody did."""
    winner = report.winner
    if winner is None:
        return ""
    parts = [f"{on_one_line(winner.name)} won after {_seconds(winner.clean_at)} s"]
    if winner.ended_at is not None and winner.clean_at is not None:
        parts.append(f"{_count(winner.chunks)} in {winner.ended_at - winner.clean_at:.2f} s")
    parts += _tokens(winner.usage)
    if finish_reason:
        parts.append(f"finish: {excerpt(finish_reason, _REASON)}")
    dropped = [
        f"{entrant.name} at {_seconds(entrant.ended_at)} s" for entrant in report.entrants if _is_dropped(entrant)
    ]
    return "; ".join(parts) + (f"; dropped: {on_one_line(', '.join(dropped))}" if dropped else "")


def _happened(entrant: EntrantReport) -> list[tuple[float, str]]:
    reached = [(getattr(entrant, field), what) for what, field in _MILESTONES.items()]
    if entrant.ended_at is not None:
        note = _note(entrant)
        word = state(entrant).replace("won", "done")
        reached.append((entrant.ended_at, f"{word}: {note}" if note else word))
    return [(at, what) for at, what in reached if at is not None]


def _note(entrant: EntrantReport) -> str:
    if entrant.error is not None:
        return on_one_line(describe(entrant.error).removeprefix(f"{entrant.name}: "))
    if entrant.filtered:
        return f"{entrant.filtered} characters filtered"
    return _count(entrant.chunks) if entrant.outcome == "won" and entrant.ended_at is not None else ""


def _count(chunks: int) -> str:
    return f"{chunks} chunk" if chunks == 1 else f"{chunks} chunks"


def _is_dropped(entrant: EntrantReport) -> bool:
    return entrant.outcome == "lost" and entrant.ended_at is not None


def _tokens(usage: Usage | None) -> list[str]:
    if usage is None:
        return []
    counted = {"in": usage.input_tokens, "out": usage.output_tokens}
    said = [f"{count} {way}" for way, count in counted.items() if count is not None]
    return [f"tokens: {', '.join(said)}"] if said else []


def _seconds(at: float | None) -> str:
    return "" if at is None else f"{at:.2f}"
