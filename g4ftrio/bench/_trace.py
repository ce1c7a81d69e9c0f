"""Traces of requests that were recorded elsewhere: when each was sent."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from g4ftrio._words.errors import SetupError, excerpt
from g4ftrio.bench._load import Trace

__all__ = ("read_trace",)

_COLUMNS = ("at", "timestamp", "time", "arrival_time", "scheduled_at")  # in small letters, the first that is there


def read_trace(path: str | os.PathLike[str], *, unit: float = 1.0, speed: float = 1.0) -> Trace:
    """Read when requests were sent, from a JSONL or a CSV file.

    An object of JSON has ``at``, ``timestamp``, ``time`` or ``arrival_time``; a CSV file has a column of such a name,
    or the times in its first one. Times are numbers, or dates in ISO 8601. The first request is sent at once, however
    late it was in the trace.

    :param unit: seconds in one of the file's numbers; 0.001 for milliseconds
    :param speed: 2 sends twice as fast
    :raises SetupError: there is no such file, or a line of it cannot be read
    """
    if not (unit > 0 and speed > 0):
        raise ValueError(f"unit and speed of a trace are numbers above 0, not {unit!r} and {speed!r}")
    where = os.fspath(path)
    try:
        lines = Path(where).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the trace {where} cannot be read: {error}") from None
    moments = sorted(_moments(lines, where, unit))
    if not moments:
        raise SetupError(f"the trace {where} has no requests in it")
    return Trace(tuple((moment - moments[0]) / speed for moment in moments))


def _moments(lines: list[str], where: str, unit: float) -> Iterator[float]:
    first = next(filter(str.strip, lines), "").lstrip()
    values = _from_json if first.startswith("{") else _from_csv
    for number, value in values(lines, where):
        try:
            yield _seconds(value, unit)
        except (TypeError, ValueError):
            raise SetupError(f"{where} line {number}: {excerpt(str(value), 40)!r} is no time") from None


def _from_json(lines: list[str], where: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise SetupError(f"{where} line {number} is not JSON: {error}") from None
        yield number, _of_columns(value, where)


def _from_csv(lines: list[str], _: str) -> Iterator[tuple[int, Any]]:
    rows: Iterable[list[str]] = csv.reader(lines)
    column = 0
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if number == 1 and (named := [name.strip().lower() for name in row]) and set(named) & set(_COLUMNS):
            column = min(named.index(name) for name in _COLUMNS if name in named)
            continue
        yield number, row[column] if column < len(row) else ""


def _of_columns(line: Any, where: str) -> Any:
    found = {name.lower(): value for name, value in line.items()} if isinstance(line, dict) else {}
    name = next((name for name in _COLUMNS if name in found), None)
    if name is None:
        raise SetupError(f"{where}: a line has none of {', '.join(_COLUMNS)}")
    return found[name]


def _seconds(value: Any, unit: float) -> float:
    if isinstance(value, bool):
        raise TypeError
    try:
        seconds = float(value) * unit
    except ValueError:
        return datetime.fromisoformat(value).timestamp()
    if not abs(seconds) < 1e12:
        raise ValueError
    return seconds
