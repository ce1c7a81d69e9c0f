"""Runs on disk: JSONL, the setup first, then a line for each request as it ends, and how it ended last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, overload

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from g4ftrio._words.errors import SetupError
from g4ftrio.bench._records import Ending, RequestRecord, Run, Setup

__all__ = ("Stored", "Writer", "read", "stored")


class _LastLine(Struct):
    """Its one key tells it from a request's line."""

    ending: Ending


_LAST = b'{"ending":'
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Writer:
    """Writes a run as it goes: every line is with the operating system before the next request is looked at.

    :param path: where to; what is there is replaced
    :raises SetupError: nothing can be written there
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._encode = msgspec.json.Encoder().encode
        try:
            self._file: BinaryIO = self.path.open("wb", buffering=0)
        except OSError as error:
            raise SetupError(f"the run cannot be written to {self.path}: {error.strerror}") from None

    def begin(self, setup: Setup) -> None:
        """Write down what is going to be asked."""
        self._write(setup)

    def write(self, record: RequestRecord) -> None:
        """Write down a request."""
        self._write(record)

    def end(self, ending: Ending) -> None:
        """Write down how it ended."""
        self._write(_LastLine(ending))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: object) -> None:
        left = memoryview(self._encode(line) + b"\n")
        while left:
            left = left[self._file.write(left) :]


def read(path: str | os.PathLike[str]) -> Run:
    """Read a run that was written to a file. Of one that was cut, a last line that is not whole is left out.

    :raises SetupError: there is no such file, or it is no run's
    """
    run = stored(path)
    return replace(run, records=tuple(run.records))


def stored(path: str | os.PathLike[str]) -> Run:
    """Give a run whose records stay in its file, and are read anew each time that they are gone through.

    :raises SetupError: there is no such file, or it is no run's; it is looked through once
    """
    where = Path(path)
    with _opened(where) as file:
        setup = _setup(file, where)
        ending: Ending | None = None
        count = 0
        for found in _lines(file, where):
            if isinstance(found, Ending):
                ending = found
            else:
                count += 1
    interrupted = ending is None or ending.reason == "interrupted"
    return Run(setup=setup, records=Stored(where, count), interrupted=interrupted, ending=ending)


class Stored(Sequence[RequestRecord]):
    """The requests of a run that is on disk, so that a long one takes no more memory than a short one.

    :param count: how many there are; what is written behind them later is not seen
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RequestRecord]:
        with _opened(self._path) as file:
            file.readline()
            requests = (found for found in _lines(file, self._path) if isinstance(found, RequestRecord))
            yield from islice(requests, self._count)

    @overload
    def __getitem__(self, index: int) -> RequestRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RequestRecord]: ...
    def __getitem__(self, index: int | slice) -> RequestRecord | Sequence[RequestRecord]:
        places = range(self._count)[index]
        if isinstance(places, int):
            return next(islice(self, places, None))
        chosen = set(places)
        found = {place: record for place, record in enumerate(self) if place in chosen}
        return tuple(found[place] for place in places)


@contextmanager
def _opened(where: Path) -> Iterator[BinaryIO]:
    try:
        with where.open("rb") as file:
            yield file
    except OSError as error:
        raise SetupError(f"the run {where} cannot be read: {error.strerror}") from None


def _setup(file: BinaryIO, where: Path) -> Setup:
    try:
        return msgspec.json.decode(file.readline(), type=Setup)
    except _UNREADABLE as error:
        raise SetupError(f"{where} does not begin as a run does: {error}") from None


def _lines(file: BinaryIO, where: Path) -> Iterator[RequestRecord | Ending]:
    decode_record = msgspec.json.Decoder(RequestRecord).decode
    decode_ending = msgspec.json.Decoder(_LastLine).decode
    for number, line in enumerate(file, 2):
        try:
            yield decode_ending(line).ending if line.startswith(_LAST) else decode_record(line)
        except _UNREADABLE as error:
            if not line.endswith(b"\n"):
                return  # it was cut here
            raise SetupError(f"{where} line {number} is no request's: {error}") from None
