"""How a benchmark goes, on standard error: a table that is redrawn, or a line every few seconds."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct, field

from g4ftrio._drawing.units import duration, figures
from g4ftrio._words.printable import printable
from g4ftrio.bench import RequestRecord
from g4ftrio.bench._measures import values
from g4ftrio.bench._statistics import percentile
from g4ftrio.cli._screen import is_plain

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ("Gauge", "Lines", "Picture", "choose")

_LAST = 500  # requests of which the percentiles are told
_LINE = 5.0  # seconds between two lines
_STEP = 0.25  # seconds between two drawings
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class _Course(Struct):
    """What has become of a target's requests so far."""

    done: int = 0
    failed: int = 0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=_LAST))

    def percentiles(self) -> dict[str, float | None]:
        """Give those of the last first tokens."""
        ordered = sorted(self.waits)
        return {name: percentile(ordered, share) if ordered else None for name, share in _PERCENTILES.items()}


class Gauge:
    """Counts, and shows nothing.

    :param targets: names, in the order in which they are shown
    :param total: how many requests there will be, None where nobody knows
    """

    def __init__(self, targets: Iterable[str] = (), total: int | None = None) -> None:
        self.courses = {name: _Course() for name in targets}
        self._total = total
        self._begin = 0.0

    @property
    def done(self) -> int:
        """How many requests have ended."""
        return sum(course.done for course in self.courses.values())

    def add(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        course = self.courses.setdefault(record.target, _Course())
        course.done += 1
        course.failed += bool(record.error)
        course.waits.extend(values(record, "first_token"))

    async def follow(self) -> None:
        """Show how it goes, until cancelled."""
        self._begin = anyio.current_time()
        await anyio.sleep_forever()

    def _head(self) -> str:
        since = anyio.current_time() - self._begin
        of = f" of {self._total:,}" if self._total else ""
        failed = sum(course.failed for course in self.courses.values())
        rate = figures(self.done / since) if since else "0"
        return f"{since:.0f} s: {self.done:,}{of} done, {rate}/s, {failed:,} failed"


class Lines(Gauge):
    """A line every few seconds, for logs."""

    async def follow(self) -> None:
        """Write a line every few seconds, until cancelled."""
        self._begin = anyio.current_time()
        while True:
            await anyio.sleep(_LINE)
            with suppress(OSError):  # nobody reads it; the result is what counts
                print(printable(self._line()), file=sys.stderr, flush=True)

    def _line(self) -> str:
        waits = (
            f"{name} {duration(wait)}"
            for name, course in self.courses.items()
            if (wait := course.percentiles()["p50"]) is not None
        )
        told = ", ".join(waits)
        return f"{self._head()}; first token p50: {told}" if told else self._head()


class Picture(Gauge):
    """A table that is redrawn in place, and gone at the end."""

    async def follow(self) -> None:
        """Draw it again and again, until cancelled."""
        self._begin = anyio.current_time()
        with self._live() as live:
            while True:
                live.update(self._table(), refresh=True)
                await anyio.sleep(_STEP)

    def _live(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), title=self._head())
        table.title_justify = "left"
        table.add_column("target", overflow="fold")
        for head in ("done", "failed", *(f"first token {name}" for name in _PERCENTILES)):
            table.add_column(head, justify="right", no_wrap=True)
        for name, course in self.courses.items():
            waits = (duration(wait) for wait in course.percentiles().values())
            style = "red" if course.failed else ""
            table.add_row(
                Text(printable(name)), Text(f"{course.done:,}"), Text(f"{course.failed:,}", style), *map(Text, waits)
            )
        return table


def choose(targets: Iterable[str], total: int | None, *, quiet: bool) -> Gauge:
    """Choose by what standard error is."""
    kind = Gauge if quiet else Lines if is_plain(sys.stderr) else Picture
    return kind(targets, total)
