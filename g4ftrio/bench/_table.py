"""What a run came to, as tables of words: a terminal and a page both set them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from g4ftrio._drawing.units import counted, duration, figures, milliseconds, percent
from g4ftrio._words.errors import excerpt
from g4ftrio._words.printable import cells, on_one_line
from g4ftrio.bench._records import RequestRecord, Run

if TYPE_CHECKING:
    from rich.console import Group

    from g4ftrio.bench._summary import Comparison, Summary, TargetSummary

__all__ = ("MEASURES", "Grid", "as_rich", "as_text", "table", "tables", "verdicts", "warnings")

# What the measures are called, in the order in which they happen.
MEASURES = {
    "queue": "sent late",
    "connect": "connect",
    "first_byte": "first byte",
    "first_token": "first token",
    "first_content": "first content",
    "inter_token": "between tokens",
    "per_output_token": "per output token",
    "end_to_end": "end to end",
    "scheduled_first": "first token since schedule",
    "scheduled": "end to end since schedule",
}
_MAIN = ("first_token", "inter_token", "end_to_end")
_COLUMNS = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "mean": "mean", "sd": "sd"}
_TOO_FEW = "- too few samples: a percentile is given where one of them at least is expected to lie beyond it"
_TOKENS_FROM = {"usage": "the service's", "pieces": "pieces", "mixed": "both"}
_VERDICTS = {"first_token": "gives its first token", "end_to_end": "is done"}


class Grid(Struct, frozen=True, kw_only=True):
    """A table.

    :ivar words: which columns are words; the others are numbers, and stand at the right
    :ivar notes: what must be known to read it
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()


def tables(run: Run, summary: Summary, *, measures: Iterable[str] = _MAIN) -> list[Grid]:
    """Give all that there is to tell, what matters most first; what is empty is left out."""
    shown = tuple(measures)
    told = (
        requests(run, summary),
        latencies(summary, shown),
        comparisons(summary, shown),
        races(summary),
        errors(run.records),
    )
    return [grid for grid in told if grid.rows]


def table(run: Run, summary: Summary) -> str:
    """Tell a run in words and numbers, as ``g4ftrio bench`` prints it."""
    return as_text(tables(run, summary))


def requests(run: Run, summary: Summary) -> Grid:
    """Tell how many were asked, how many failed, and how much came in which time."""
    has_goals = any(target.good_share is not None for target in summary.targets.values())
    heads = (
        "target",
        "requests",
        "errors",
        "tokens/s",
        "requests/s",
        *(("met the goals",) * has_goals),
        "tokens counted by",
    )
    rows = tuple(
        (
            name,
            f"{target.requests:,}",
            _failures(target),
            figures(target.tokens_per_second),
            figures(target.requests_per_second),
            *((percent(target.good_share),) * has_goals),
            _TOKENS_FROM.get(target.tokens_from, target.tokens_from),
        )
        for name, target in summary.targets.items()
    )
    notes = tuple(_request_notes(run, summary))
    return Grid(title="Requests", heads=heads, rows=rows, words=(0, len(heads) - 1), notes=notes)


def latencies(summary: Summary, measures: Iterable[str] = MEASURES) -> Grid:
    """Tell each measure's percentiles, and how many samples stand behind them."""
    rows = tuple(
        (
            name,
            MEASURES[measure],
            *(milliseconds(getattr(statistics, column)) for column in _COLUMNS.values()),
            f"{statistics.count:,}",
        )
        for measure in measures
        for name, target in summary.targets.items()
        if (statistics := target.measures.get(measure)) and statistics.count
    )
    return Grid(
        title="Latencies in milliseconds",
        heads=("target", "measure", *_COLUMNS, "samples"),
        rows=rows,
        words=(0, 1),
        notes=(_TOO_FEW,) if any("-" in row for row in rows) else (),
    )


def warnings(run: Run, summary: Summary) -> list[str]:
    """Say why the run may not say what it seems to."""
    said = list(summary.warnings)
    if run.interrupted:
        said.insert(0, "the run was interrupted: this is what was measured until then.")
    if not any(record.phase == "measured" for record in run.records):
        said.append("no request was measured.")
    elif all(record.error for record in run.records if record.phase == "measured"):
        said.append("every request failed.")
    return said


def verdicts(summary: Summary) -> list[str]:
    """Say in a sentence what each comparison shows, or that it shows nothing."""
    return [_verdict(each, _VERDICTS[each.measure]) for each in summary.comparisons if each.measure in _VERDICTS]


def comparisons(summary: Summary, measures: Iterable[str] = MEASURES) -> Grid:
    """Tell how much later each target is than the first, and how sure that is."""
    chosen = set(measures)
    rows = tuple(
        (
            each.target,
            MEASURES[each.measure],
            _signed(each.difference),
            f"{_signed(each.interval.low)} to {_signed(each.interval.high)}",
            _direction(each) or "not shown",
        )
        for each in summary.comparisons
        if each.measure in chosen
    )
    base = next((each.base for each in summary.comparisons), "")
    return Grid(
        title=f"Against {base}: medians, in milliseconds",
        heads=("target", "measure", "difference", "95 % confidence", "so it is"),
        rows=rows,
        words=(0, 1, 4),
    )


def races(summary: Summary) -> Grid:
    """Tell who won, and what the others cost."""
    raced = {name: target.race for name, target in summary.targets.items() if target.race is not None}
    rows = tuple(
        (
            name,
            ", ".join(f"{entrant} {percent(share)}" for entrant, share in race.win_share.items()) or "nobody",
            f"{race.races:,}",
            figures(race.extra_calls),
            f"{'' if not race.wasted_unknown else 'at least '}{race.wasted_tokens:,}",
            milliseconds(race.regret.mean),
            milliseconds(race.closing.p50),
            milliseconds(race.closing.max),
        )
        for name, race in raced.items()
    )
    return Grid(
        title="Races",
        heads=("race", "won by", "races", "extra calls", "wasted tokens", "regret ms", "closing p50 ms", "max"),
        rows=rows,
        words=(0, 1),
        notes=("regret: how much sooner the winner's answer had come, had it been started first",) * bool(rows),
    )


def errors(records: Iterable[RequestRecord]) -> Grid:
    """Tell what went wrong how often, with the words of the first time."""
    count = Counter[tuple[str, str]]()
    said: dict[tuple[str, str], str] = {}
    for record in records:
        if record.error and record.phase == "measured":
            count[record.target, record.error] += 1
            said.setdefault((record.target, record.error), record.message)
    rows = tuple((*kind, f"{times:,}", excerpt(said[kind], 160)) for kind, times in count.most_common())
    return Grid(title="Errors", heads=("target", "error", "times", "the first one said"), rows=rows, words=(0, 1, 3))


def as_text(grids: Iterable[Grid]) -> str:
    """Set tables with spaces only."""
    return "\n".join(_plain(grid) for grid in grids)


def as_rich(grids: Iterable[Grid]) -> Group:
    """Set tables for a terminal; needs rich."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn: list[Table | Text] = []
    for grid in grids:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for index, head in enumerate(grid.heads):
            is_words = index in grid.words
            table.add_column(head, justify="left" if is_words else "right", overflow="fold", no_wrap=not is_words)
        for row in _shown(grid):
            table.add_row(*map(Text, row))
        notes = (Text(_seen(note), "dim") for note in grid.notes)
        drawn += [Text(_seen(grid.title), "bold"), table, *notes, Text()]
    return Group(*drawn[:-1])


def _plain(grid: Grid) -> str:
    rows = [grid.heads, *_shown(grid)]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_set, row, widths, _aligned(grid))).rstrip() for row in rows]
    return "".join(f"{line}\n" for line in (_seen(grid.title), *lines, *map(_seen, grid.notes)))


def _aligned(grid: Grid) -> list[bool]:
    """Tell of each column whether it stands at the left."""
    return [index in grid.words for index in range(len(grid.heads))]


def _set(cell: str, width: int, is_left: bool) -> str:  # `map` gives it by position
    room = " " * (width - cells(cell))
    return cell + room if is_left else room + cell


def _shown(grid: Grid) -> list[tuple[str, ...]]:
    """Give the rows as a terminal may see them."""
    return [tuple(map(_seen, row)) for row in grid.rows]


def _seen(cell: str) -> str:
    return on_one_line(cell).encode("utf-8", "replace").decode()


def _failures(target: TargetSummary) -> str:
    count = sum(target.errors.values())
    return f"{count:,} ({percent(target.error_share)})" if count else "0"


def _request_notes(run: Run, summary: Summary) -> Iterator[str]:
    left_out = Counter(record.phase for record in run.records if record.phase != "measured")
    yield from (f"left out: {counted(count, 'request')} of {phase}" for phase, count in left_out.items())
    if cancelled := sum(target.cancelled for target in summary.targets.values()):
        yield f"{counted(cancelled, 'request')} broken off: neither an answer nor an error"
    if any(target.tokens_from != "usage" for target in summary.targets.values()):
        yield "pieces: where a service does not count its tokens, each piece that came is taken for one"
    if summary.cpu_per_request is not None and summary.cpu_per_piece is not None:
        spent, each = duration(summary.cpu_per_request), duration(summary.cpu_per_piece)
        yield f"this client's thread worked {spent} for each request, which is {each} for each piece"
    if summary.lateness is not None and summary.lateness.p95 is not None:
        late, later = duration(summary.lateness.p50), duration(summary.lateness.p95)
        yield f"it noticed what came {late} late at p50, {later} at p95: times are that much too long"


def _verdict(each: Comparison, does: str) -> str:
    low, high = sorted((abs(each.interval.low), abs(each.interval.high)))
    direction = _direction(each)
    if not direction:
        return f"{each.target} {does} neither sooner nor later than {each.base}, as far as these samples show."
    return (
        f"{each.target} {does} {duration(abs(each.difference))} {direction} than {each.base}"
        f" (median; 95 % confidence: {duration(low)} to {duration(high)})."
    )


def _direction(each: Comparison) -> str:
    """Say whether it is sooner or later; nothing where that is not sure."""
    if each.interval.low <= 0 <= each.interval.high:
        return ""
    return "later" if each.difference > 0 else "sooner"


def _signed(seconds: float) -> str:
    return f"{'+' if seconds > 0 else ''}{milliseconds(seconds)}"
