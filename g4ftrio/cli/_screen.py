"""What standard error shows of a race: a live table, plain lines, or nothing."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Protocol, TextIO

from anyio import sleep

from g4ftrio._words.printable import printable
from g4ftrio._words.report import RaceReport
from g4ftrio.cli._drawing import coloured, plain
from g4ftrio.cli._view import events, summary, table

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ("Lines", "Picture", "Raced", "Screen", "choose", "is_plain")

_STEP = 0.1  # seconds between two looks at the report


class Raced(Protocol):
    """A race whose report may be read while it is on."""

    @property
    def report(self) -> RaceReport:
        """What became of everybody so far."""


class Screen:
    """Shows nothing of the race; what somebody must read in any case, it writes.

    :cvar tells_failures: whether it shows why each provider failed
    :param is_shared: whether the answer goes to the same place, so that nothing may be written into its lines
    """

    tells_failures: ClassVar[bool] = False

    def __init__(self, *, is_shared: bool = False) -> None:
        self._is_shared = is_shared
        self._is_thinking = False

    async def follow(self, race: Raced) -> None:
        """Show how the race goes, until cancelled."""
        while True:
            self.show(race.report)
            await sleep(_STEP)

    def show(self, report: RaceReport) -> None:
        """Show how it stands."""

    def decided(self, report: RaceReport) -> None:
        """Show who has won; on a shared terminal the answer begins below."""

    def finish(self, report: RaceReport, finish_reason: str | None) -> None:
        """Show how it ended."""

    def draw(self, report: RaceReport) -> None:
        """Draw the whole race, a bar an entrant."""
        if sys.stderr is not None:
            _write(plain(report, sys.stderr))

    def note(self, line: str) -> None:
        """Write about the race, unless nothing of it is wanted."""

    def tell(self, line: str) -> None:
        """Write a line in any case."""
        self.answer_goes_on()
        _write(f"{printable(line)}\n")

    def think(self, text: str) -> None:
        """Write a piece of the model's reasoning."""
        self._is_thinking = not text.endswith("\n")
        _write(self._dim(printable(text)))

    def answer_goes_on(self) -> None:
        """End the line of reasoning, if there is one."""
        if self._is_thinking:
            self._is_thinking = False
            _write("\n")

    def _dim(self, text: str) -> str:
        return text


class Lines(Screen):
    """A line an event, without any control sequence: for logs, for ``TERM=dumb`` and for ``NO_COLOR``."""

    tells_failures = True

    def __init__(self, *, is_shared: bool) -> None:
        super().__init__(is_shared=is_shared)
        self._told: set[str] = set()
        self._is_frozen = False

    def show(self, report: RaceReport) -> None:
        """Write what is new."""
        if not self._is_frozen:
            self._tell_news(report)

    def decided(self, report: RaceReport) -> None:
        """Write what is new; on a shared terminal, the rest waits until the answer is over."""
        self.show(report)
        self._is_frozen = self._is_shared

    def finish(self, report: RaceReport, finish_reason: str | None) -> None:
        """Write the rest, and the summary."""
        self.answer_goes_on()
        self._tell_news(report)
        if line := summary(report, finish_reason):
            self.tell(line)

    def note(self, line: str) -> None:
        """Write it."""
        self.tell(line)

    def _tell_news(self, report: RaceReport) -> None:
        for line in events(report):
            if line not in self._told:
                self._told.add(line)
                self.tell(line)


class Picture(Screen):
    """A table that is redrawn in place.

    Where the answer goes to the same terminal, the table is frozen at the win, the answer comes below, and the summary
    tells what has become of the others. Else the table goes on beside it.

    :param with_reasoning: the reasoning will come below the table as well
    """

    tells_failures = True

    def __init__(self, *, is_shared: bool, with_reasoning: bool) -> None:
        super().__init__(is_shared=is_shared)
        self._freezes = is_shared or with_reasoning
        self._live: Live | None = _live()
        self._console = self._live.console

    def show(self, report: RaceReport) -> None:
        """Draw the table anew."""
        if self._live is not None and report.entrants:
            self._live.start()
            self._live.update(table(report), refresh=True)

    def decided(self, report: RaceReport) -> None:
        """Draw the table a last time if the answer comes below."""
        if self._freezes:
            self._freeze(report)
            _write("\n")

    def finish(self, report: RaceReport, finish_reason: str | None) -> None:
        """Draw the table a last time if that was not done, and write the summary below the answer."""
        self.answer_goes_on()
        if self._live is not None:
            self._freeze(report)
        elif self._is_shared:
            _write("\n")
        if line := summary(report, finish_reason):
            self._console.print(line, style="dim", markup=False, highlight=False)

    def draw(self, report: RaceReport) -> None:
        """Draw it in colours."""
        self._console.print(coloured(report, self._console.width, self._console.encoding))

    def note(self, line: str) -> None:
        """Write it above the table."""
        self._console.print(printable(line), style="dim", markup=False, highlight=False, soft_wrap=True)

    def tell(self, line: str) -> None:
        """Write it above the table, or below where that is frozen."""
        self.answer_goes_on()
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def _freeze(self, report: RaceReport) -> None:
        self.show(report)
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m"


def choose(*, quiet: bool, reasoning: bool) -> Screen:
    """Choose by what standard error is, and by the environment (https://no-color.org)."""
    is_shared = _is_shared()
    if quiet:
        return Screen(is_shared=is_shared)
    if is_plain(sys.stderr):
        return Lines(is_shared=is_shared)
    return Picture(is_shared=is_shared, with_reasoning=reasoning)


def is_plain(stream: TextIO | None) -> bool:
    """Whether control sequences are out of place there."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return bool(unwanted) or stream is None or not stream.isatty()


def _is_shared() -> bool:
    """Whether standard output and standard error go to the same place."""
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
        return (os.isatty(out) and os.isatty(err)) or os.path.sameopenfile(out, err)
    except (OSError, AttributeError):  # streams that some program has put there, or none
        return False


def _write(text: str) -> None:
    with suppress(OSError):  # nobody reads it; the answer is what counts
        print(text, end="", file=sys.stderr, flush=True)


def _live() -> Live:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
