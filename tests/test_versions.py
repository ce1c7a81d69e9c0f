"""The script that runs the tests on every interpreter: what it reads, and what it prints; it runs nothing here."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import versions
from tests.versions import Interpreter, Outcome, Tally

PROJECT: dict[str, Any] = tomllib.loads((versions.ROOT / "pyproject.toml").read_text())["project"]


def test_every_requirement_is_pinned_to_its_lower_bound_with_its_marker() -> None:
    project = {
        "name": "mine",
        "dependencies": ["anyio>=4.16", "http-tools>=0.7.1 ; python_version >= '3.14'"],
        "optional-dependencies": {
            "cli": ["rich[all]>=14"],
            "dev": ["mine[cli]", "uvloop>=0.22; sys_platform != 'win32'"],
        },
    }
    assert versions.lower_bounds(project) == [
        "anyio==4.16",
        "http-tools==0.7.1; python_version >= '3.14'",
        "rich==14",
        "uvloop==0.22; sys_platform != 'win32'",
    ]


@pytest.mark.parametrize("requirement", ["anyio", "anyio<5", "anyio~=4.0"])
def test_a_requirement_without_a_lower_bound_is_refused_by_name(requirement: str) -> None:
    with pytest.raises(ValueError, match=f"without a lower bound: {requirement}"):
        versions.lower_bounds({"name": "mine", "dependencies": [requirement], "optional-dependencies": {}})


def test_every_requirement_of_this_project_has_a_lower_bound() -> None:
    asked = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]
    assert len(versions.lower_bounds(PROJECT)) == len([each for each in asked if not each.startswith("g4ftrio[")])


def test_what_is_watched_is_what_the_project_needs() -> None:
    assert {each.partition(">=")[0] for each in PROJECT["dependencies"]} >= {*versions.WATCHED}


def test_the_quick_tests_are_there() -> None:
    assert [path for path in versions.QUICK if not (versions.ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("...\n10941 passed, 1 skipped, 166 deselected in 1808.27s (0:30:08)\n", (10941, 0, 1)),
        ("FAILED tests/test_1 passed.py::test\n5 failed, 3 passed, 2 errors in 2.00s\n", (3, 7, 0)),
        ("ERROR: usage\n", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_pytest_s_last_line_is_counted(said: str, counts: tuple[int, int, int]) -> None:
    assert versions.tally(said) == Tally(*counts)


def stand_in(folder: Path, name: str, *, line: str, status: int = 0) -> None:
    """An interpreter that answers the question what it is with one line."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{line}'\nexit {status}\n")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_of_each_release_the_newest_patch_is_taken_and_what_cannot_make_environments_is_not(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    stand_in(a, "python3.13", line='["/a/python3.13", "", [3, 13, 0], ""]')
    stand_in(a, "python3.13t", line='["/a/python3.13t", "", [3, 13, 0], "t"]')
    stand_in(a, "python3.10", line='["/a/python3.10", "", [3, 10, 9], ""]')
    stand_in(a, "python3.12", line="no venv", status=1)
    stand_in(a, "python3-config", line='["/a/config", "", [3, 14, 0], ""]')
    stand_in(b, "python3.13", line='["/b/python3.13", "", [3, 13, 2], ""]')
    stand_in(b, "pypy3", line='["/b/pypy3", "PyPy ", [3, 11, 5], ""]')
    found = versions.interpreters([a, tmp_path / "nowhere", b], (3, 11))
    assert [(str(one), one.line, str(one.path)) for one in found] == [
        ("3.13.0t", "3.13t", "/a/python3.13t"),
        ("3.13.2", "3.13", "/b/python3.13"),
        ("PyPy 3.11.5", "PyPy 3.11", "/b/pypy3"),
    ]


def test_an_outcome_is_a_line_and_is_good_only_if_tests_ran_and_none_failed() -> None:
    used = {"anyio": "4.16.0", "trio": "0.32.0"}
    good = Outcome(str(Interpreter(Path("p"), "", (3, 11, 7))), "oldest", used, "", Tally(10_941, 0, 7), 300.4)
    bad = good._replace(tests=Tally(10_940, 1, 7))
    broken = good._replace(versions={}, broken="pip cannot install x", tests=Tally())
    assert [each.good for each in (good, bad, broken, good._replace(tests=Tally()))] == [True, False, False, False]
    assert versions.table([good, broken]).splitlines() == [
        f"| Python | dependencies | {' | '.join(versions.WATCHED)} | passed | failed | skipped | seconds |",
        f"| {' | '.join(['---'] * 12)} |",
        "| 3.11.7 | oldest | 4.16.0 |  |  |  | 0.32.0 |  | 10,941 | 0 | 7 | 300 |",
        "| 3.11.7 | oldest |  |  |  |  |  |  | pip cannot install x |  |  | 300 |",
    ]


def test_for_an_interpreter_that_is_not_there_the_others_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "interpreters", lambda folders, oldest: [Interpreter(Path("/p"), "", (3, 11, 7))])
    assert versions.main(["--python", "3.99"]) == 2
    assert versions.main(["--list"]) == 0
    assert capsys.readouterr().out == "3.11.7\t/p\n" * 2
