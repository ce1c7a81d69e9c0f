"""A race drawn: as text on a terminal or a pipe, as SVG in a file; and the saved report that it may be drawn from."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TextIO

from g4ftrio._drawing.waterfall import lines
from g4ftrio._words.errors import SetupError
from g4ftrio._words.printable import printable
from g4ftrio._words.report import RaceReport

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ("check_plot", "coloured", "plain", "plot", "saved")

_STYLES = {
    "title": "bold",
    "axis": "dim",
    "turn": "dim",
    "connecting": "dim",
    "waiting": "blue",
    "answering": "cyan",
    "unclean": "yellow",
    "writing": "green",
    "closing": "dim",
    "won": "bold green",
    "dropped": "dim",
    "cancelled": "dim",
    "not asked": "dim",
    "failed": "red",
    "broke off": "red",
    "rejected": "yellow",
}


def plain(report: RaceReport, stream: TextIO) -> str:
    """Draw a race for a stream as it is: in its width, with the characters that it can write."""
    return report.waterfall(get_terminal_size().columns, ascii=_is_poor(stream.encoding)) + "\n"


def coloured(report: RaceReport, width: int, encoding: str) -> Text:
    """Draw a race for a terminal."""
    from rich.text import Text

    drawn = lines(report.chart(), width, ascii=_is_poor(encoding))
    rows = (Text.assemble(*((text, _STYLES.get(what, "")) for text, what in line)) for line in drawn)
    return Text("\n", no_wrap=True).join(rows)


def check_plot(written: str) -> Path:
    """See that a picture could be written there, before anybody is asked.

    :raises ValueError: why it could not
    """
    path = Path(written)
    folder = path.parent
    if written == "-":
        raise ValueError("standard output is the answer's: name a file, race.svg")
    if path.suffix.lower() != ".svg":
        raise ValueError(f"the picture is SVG: name a file that ends with .svg, not {written!r}")
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{written!r} cannot be written")
    return path


def plot(report: RaceReport, path: Path) -> str:
    """Write the picture, and give what went wrong with it, or nothing."""
    try:
        path.write_text(report.to_svg(), "utf-8")
    except OSError as error:
        return f"{path} was not written: {error.strerror}"
    return ""


def saved(name: str) -> RaceReport:
    """Read a report from a file, or with ``-`` from standard input: one alone, or as ``--json`` writes it.

    :raises SetupError: there is none in it
    """
    try:
        data = json.loads(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        if isinstance(data, dict) and "report" in data:
            data = data["report"]
        return RaceReport.from_dict(data)
    except OSError as error:
        raise SetupError(f"{printable(name)} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{printable(name)} holds no report: {printable(str(error))}") from error


def _is_poor(encoding: str | None) -> bool:
    """Whether what a waterfall is drawn with cannot be written."""
    try:
        "─░▒█┤✗╌╴·".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return True
    return False
