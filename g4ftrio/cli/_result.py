"""What a benchmark came to: tables to standard output, and files."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from g4ftrio._words.errors import SetupError
from g4ftrio._words.printable import on_one_line, printable
from g4ftrio.bench import Run, Summary, page, picture, request_rows
from g4ftrio.bench._png import browser, write_png
from g4ftrio.bench._table import Grid, as_rich, as_text, tables, warnings
from g4ftrio.cli._failure import output_status
from g4ftrio.cli._screen import is_plain

__all__ = ("Files", "show", "tell")

_STDOUT = Path("-")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would run


class Files(Struct, frozen=True, kw_only=True):
    """Where a result goes besides the terminal."""

    json_to: Path | None = None
    csv_to: Path | None = None
    html_to: Path | None = None
    plot_to: Path | None = None

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output is for a file."""
        return _STDOUT in self._paths

    @property
    def _paths(self) -> tuple[Path | None, ...]:
        return self.json_to, self.csv_to, self.html_to, self.plot_to

    def check(self, *more: Path | None) -> None:
        """See that all can be written, before anything is asked.

        :param more: other files
        :raises SetupError: which of them cannot, and why
        """
        for path in (*self._paths, *more):
            if path is not None and path != _STDOUT:
                _check(path)
        if self.plot_to is not None and self.plot_to.suffix.lower() == ".png":
            browser()

    def write(self, run: Run, summary: Summary, more: Sequence[Grid]) -> None:
        """Write them all.

        :raises SetupError: one cannot be written after all
        """
        if self.json_to is not None:
            _write(self.json_to, json.dumps(summary.to_dict(), indent=2, ensure_ascii=False) + "\n")
        if self.csv_to is not None:
            _write(self.csv_to, _csv(run))
        if self.html_to is not None:
            _write(self.html_to, page(run, summary, more))
        if self.plot_to is not None:
            drawn = picture(run, summary)
            write_png(drawn, self.plot_to) if self.plot_to.suffix.lower() == ".png" else _write(self.plot_to, drawn)


def show(run: Run, summary: Summary, files: Files, more: Sequence[Grid]) -> int:
    """Write tables and files, and give the exit status of writing."""
    for warning in warnings(run, summary):
        print(f"g4ftrio: {on_one_line(warning)}", file=sys.stderr)
    try:
        tell([*tables(run, summary), *more], sys.stderr if files.takes_stdout else sys.stdout)
        files.write(run, summary, more)
    except OSError as error:
        return output_status(error)
    return 0


def tell(grids: Sequence[Grid], stream: Any) -> None:
    """Write tables to a terminal, or as plain text."""
    if is_plain(stream):
        return _say(as_text(grids), stream)
    from rich.console import Console

    return Console(file=stream, highlight=False).print(as_rich(grids))


def _say(text: str, stream: Any) -> None:
    """Write text, with what the stream's encoding does not have replaced."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="", file=stream, flush=True)


def _check(path: Path) -> None:
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "it is a directory" if path.is_dir() else "its directory is not there, or nobody may write there"
        raise SetupError(f"{path} cannot be written: {why}")


def _write(path: Path, text: str) -> None:
    if path == _STDOUT:
        return _say(printable(text) if sys.stdout.isatty() else text, sys.stdout)
    try:
        path.write_text(text, "utf-8", "replace")
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    return None


def _csv(run: Run) -> str:
    rows = [{name: _cell(value) for name, value in row.items()} for row in request_rows(run)]
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]) if rows else ["number"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def _cell(value: Any) -> Any:
    """Keep a spreadsheet from running what a service said (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
