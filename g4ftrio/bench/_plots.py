"""The plots of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from msgspec import Struct

from g4ftrio._drawing.canvas import Canvas
from g4ftrio._drawing.markup import Markup, tag
from g4ftrio._drawing.shapes import text
from g4ftrio._drawing.style import SERIES
from g4ftrio._drawing.units import counted, duration, percent
from g4ftrio.bench._charts import Bar, Level, Series, Span, bars, curves, levels, rates, ridges, style, timeline
from g4ftrio.bench._measures import is_answered, tokens, values
from g4ftrio.bench._records import RequestRecord, Run
from g4ftrio.bench._statistics import Sample, Statistics

if TYPE_CHECKING:
    from g4ftrio.bench._summary import Summary

__all__ = ("Plot", "looks", "picture", "plots")

_LEVELS = ("p50", "p90", "p99")
_PARTS = 48  # of the time, in a plot over time
_ROWS = 150  # requests in a timeline
_CLASS = "g4ftrio-bench"
_WIDTH = 760  # of a picture that stands alone
_MARGIN = 24
_HEAD = 92.0  # where the first plot's title stands
_KINDS = 12  # of errors in a plot; the table has them all
_WAIT = "time to first token"


class Plot(Struct, frozen=True):
    """A plot.

    :ivar note: how to read it
    :ivar draw: draws it so many pixels wide
    :ivar is_wide: whether it wants all the width that there is
    """

    title: str
    note: str
    draw: Callable[[float], Canvas]
    is_wide: bool = False


def plots(run: Run, summary: Summary) -> list[Plot]:
    """Give those plots for which there is something to show."""
    drawn = (
        _percentiles(run, summary),
        _curves(run, summary),
        _distribution(run, summary),
        _gaps(run, summary),
        _throughput(run),
        _wins(run, summary),
        _errors(summary),
        _timeline(run),
    )
    return [plot for plot in drawn if plot is not None]


def looks(run: Run) -> dict[str, str]:
    """Give each target, and each entrant of a race, the classes of its shapes."""
    entrants = (name for race in run.setup.races.values() for name in race)
    names = dict.fromkeys((*run.setup.targets, *entrants))
    return {name: f"s{index % len(SERIES)} t{index}" for index, name in enumerate(names)}


def picture(run: Run, summary: Summary) -> Markup:
    """Draw what matters most as an SVG file of its own: how soon each target answers, and what came of it."""
    drawn = (_percentiles(run, summary), _curves(run, summary), _wins(run, summary), _errors(summary))
    canvas = Canvas(_WIDTH, _HEAD)
    canvas.add(tag("rect", width="100%", height="100%", class_="ground"))
    canvas.add(text(_MARGIN, 32, "g4ftrio bench", class_="heading"))
    canvas.add(text(_MARGIN, 52, _described(run), class_="note", room=_WIDTH - 2 * _MARGIN))
    for plot in filter(None, drawn):
        below = plot.draw(_WIDTH - 2 * _MARGIN)
        canvas.add(text(_MARGIN, canvas.height, plot.title), below.part(_MARGIN, canvas.height + 16))
        canvas.height += below.height + 52
    if canvas.height == _HEAD:
        canvas.add(text(_MARGIN, _HEAD, "No request gave a token."))
    canvas.height = round(canvas.height + 8)
    return canvas.picture(f"Benchmark: {_described(run)}", style(f".{_CLASS}"), class_=_CLASS)


def _described(run: Run) -> str:
    measured = sum(record.phase == "measured" for record in run.records)
    cut = ", interrupted" if run.interrupted else ""
    return f"{counted(measured, 'request')}, {run.setup.load}, on {run.setup.backend}, {run.setup.started}{cut}"


def _percentiles(run: Run, summary: Summary) -> Plot | None:
    series = [each for each in _series(run, summary, "first_token") if each.levels]
    note = (
        "Half of the requests waited no longer than p50 for their first token, nine of ten no longer than p90."
        " The fine lines are 95 % confidence intervals."
    )
    return Plot("First token, target against target", note, partial(levels, series, _WAIT)) if series else None


def _distribution(run: Run, summary: Summary) -> Plot | None:
    series = _series(run, summary, "first_token")
    note = "How often each time occurred. The long mark is the median, the short ones are p90 and p99."
    return Plot("First token, how it is distributed", note, partial(ridges, series, _WAIT)) if series else None


def _curves(run: Run, summary: Summary) -> Plot | None:
    series = _series(run, summary, "first_token")
    note = "The share of the answers whose first token had come by then. The dots are p50, p90 and p99."
    return Plot("First token, cumulated", note, partial(curves, series, _WAIT)) if series else None


def _gaps(run: Run, summary: Summary) -> Plot | None:
    series = _series(run, summary, "inter_token")
    note = (
        "The time from one piece of an answer to the next. What lies far to the right are pauses that readers notice."
    )
    return Plot("Between tokens", note, partial(ridges, series, "time between two pieces")) if series else None


def _throughput(run: Run) -> Plot | None:
    span = max((record.ended_at for record in run.records if record.first_token_at is not None), default=None)
    if span is None:
        return None
    span = span or 1.0
    look = looks(run)
    series = [
        Series(name, look[name], _per_second((record for record in run.records if record.target == name), span))
        for name in run.setup.targets
    ]
    note = "Tokens of all requests together that came in each moment, warm-up included."
    return Plot("Throughput", note, partial(rates, series, span, "since the start"))


def _timeline(run: Run) -> Plot | None:
    records = run.records
    if not records:
        return None
    rows = min(len(records), _ROWS)
    places = {index * len(records) // rows for index in range(rows)}
    chosen = (record for place, record in enumerate(records) if place in places)
    shown = sorted(chosen, key=lambda record: record.scheduled_at)
    look = looks(run)
    spans = [_span(record, look[record.target]) for record in shown]
    note = (
        "A row is a request: palest while it is late for its schedule, pale until the first token, then full."
        " A red end is an error; what is faint is warm-up or cool-down."
    )
    if len(shown) < len(records):
        note += f" {len(shown)} of {counted(len(records), 'request')} are shown, evenly chosen."
    return Plot("Requests over time", note, partial(timeline, spans, "since the start"), is_wide=True)


def _wins(run: Run, summary: Summary) -> Plot | None:
    look = looks(run)
    alone = len(run.setup.races) == 1
    rows = [
        Bar(entrant if alone else f"{name}: {entrant}", look.get(entrant, ""), share, percent(share))
        for name, target in summary.targets.items()
        if target.race is not None
        for entrant, share in target.race.win_share.items()
    ]
    note = "Who was the first with a clean chunk."
    has_any = any(row.share for row in rows)
    return Plot("Who won the races", note, partial(bars, rows, "share of the races")) if has_any else None


def _errors(summary: Summary) -> Plot | None:
    rows = [
        Bar(f"{name}: {error}", "wrong", count / target.requests, f"{count:,} of {target.requests:,}")
        for name, target in summary.targets.items()
        for error, count in sorted(target.errors.items(), key=lambda counted: -counted[1])
    ]
    note = "Requests that failed, by the kind of error. What they said stands in the table below."
    return Plot("Errors", note, partial(bars, rows[:_KINDS], "share of the requests")) if rows else None


def _series(run: Run, summary: Summary, measure: str) -> list[Series]:
    """Give the targets that have values of a measure, with their percentiles."""
    look = looks(run)
    came = {name: Sample(seed=run.setup.seed) for name in run.setup.targets}
    for record in run.records:
        if record.phase == "measured" and is_answered(record):
            for value in values(record, measure):
                came[record.target].add(value)
    return [
        Series(name, look[name], each.ordered(), _levels(summary.targets[name].measures[measure]))
        for name, each in came.items()
        if each
    ]


def _levels(statistics: Statistics) -> list[Level]:
    """Give those percentiles that the samples are enough for."""
    given = [(name, getattr(statistics, name), statistics.intervals.get(name)) for name in _LEVELS]
    return [
        Level(name, value, *((between.low, between.high) if between else ()))
        for name, value, between in given
        if value is not None
    ]


def _per_second(records: Iterable[RequestRecord], span: float) -> list[float]:
    """Give the tokens per second in each part of the time; those of a request came evenly in its pieces."""
    came = [0.0] * _PARTS
    for record in records:
        if record.first_token_at is None:
            continue
        pieces = list(accumulate(record.gaps, initial=record.first_token_at))
        weight = tokens(record) / len(pieces)
        for at in pieces:
            came[min(int(at / span * _PARTS), _PARTS - 1)] += weight
    return [count * _PARTS / span for count in came]


def _span(record: RequestRecord, look: str) -> Span:
    return Span(
        look,
        "; ".join(_told(record)),
        record.scheduled_at,
        record.sent_at,
        record.first_token_at,
        record.ended_at,
        failed=bool(record.error),
        counts=record.phase == "measured",
    )


def _told(record: RequestRecord) -> Iterator[str]:
    yield f"{record.number}: {record.target}"
    yield f"sent at {record.sent_at:.3f} s"
    if record.first_token_at is not None:
        yield f"first token after {duration(record.first_token_at - record.sent_at)}"
    yield f"ended after {duration(record.ended_at - record.sent_at)}"
    if record.error or record.cancelled:
        yield record.error or "broken off"
