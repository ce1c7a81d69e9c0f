"""Runs on disk: everything comes back, wherever the file was cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from g4ftrio import SetupError
from g4ftrio.bench import Ending, EntrantRecord, Run, Writer, page, read, stored, summarize, table
from tests.bench.records import record, setup
from tests.bench.runs import drawn

RECORDS = (
    record(entrants=(EntrantRecord(name="x", outcome="won", clean_at=1.5),), winner="x"),
    record("b", number=1, error="RateLimitError", message="slow down\n", connected_at=None),
)
ENDING = Ending(seconds=5.0, cpu_seconds=0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with Writer(path) as writer:
        writer.begin(setup("a", "b", races={"a": ("x",)}, options={"count": 2}))
        for each in RECORDS:
            writer.write(each)
        writer.end(ENDING)
    return path


def test_a_run_comes_back_whole(path: Path) -> None:
    whole = setup("a", "b", races={"a": ("x",)}, options={"count": 2})
    assert read(path) == Run(setup=whole, records=RECORDS, ending=ENDING)


def test_records_can_stay_in_their_file(path: Path) -> None:
    run = stored(path)
    assert (run.setup, run.ending, run.interrupted) == (read(path).setup, ENDING, False)
    assert (len(run.records), tuple(run.records), tuple(run.records)) == (2, RECORDS, RECORDS)
    assert (run.records[0], run.records[-1], run.records[::-1]) == (RECORDS[0], RECORDS[1], RECORDS[::-1])
    with pytest.raises(IndexError):
        run.records[2]
    path.unlink()
    with pytest.raises(SetupError, match="cannot be read"):
        list(run.records)


def test_what_is_told_of_records_in_a_file_is_what_is_told_of_those_in_memory(tmp_path: Path) -> None:
    run = drawn(["a", "b"], 60, errors=0.1)
    with Writer(tmp_path / "run.jsonl") as writer:
        writer.begin(run.setup)
        for each in run.records:
            writer.write(each)
        writer.end(run.ending or ENDING)
    kept = stored(tmp_path / "run.jsonl")
    summary = summarize(run)
    assert summarize(kept) == summary
    assert table(kept, summary) == table(run, summary)
    assert page(kept, summary) == page(run, summary)


def test_every_line_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Writer(path) as writer:
        writer.begin(setup())
        writer.write(RECORDS[0])
        assert read(path).records == RECORDS[:1]
        assert read(path).interrupted


def test_of_a_cut_file_everything_whole_is_read(path: Path) -> None:
    whole = path.read_bytes()
    ends = [0, *(place + 1 for place, byte in enumerate(whole) if byte == ord("\n"))]
    for cut in {*range(ends[1], len(whole), 11), *(end - 1 for end in ends[2:]), *ends[2:-1]}:
        path.write_bytes(whole[:cut])
        found = read(path)
        lines = sum(cut >= end - 1 for end in ends[2:4])  # a line is whole without its end, too
        assert len(found.records) == lines
        assert found.interrupted is (cut < len(whole) - 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin as a run does"),
        ("hello\n", "does not begin as a run does"),
        ("{}\n", "does not begin as a run does"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(SetupError, match=says):
        read(path)


def test_a_line_that_is_wrong_in_the_middle_is_named(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], '{"number": "one"}\n', *lines[1:]]))
    with pytest.raises(SetupError, match="line 2 is no request's"):
        read(path)


def test_a_file_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be written to"):
        Writer(tmp_path / "none" / "run.jsonl")
    with pytest.raises(SetupError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
