"""The benchmarks run: each question once, asked of g4ftrio alone and in this interpreter, with tiny counts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUESTIONS = [
    "A packed stream",
    "One event per read",
    "32 streams at once",
    "The first chunk",
    "A race",
    "Leftovers",
    "The pool's health",
    "Streams held",
    "5,000 slow streams",
    "Import",
    "Install size",
]
SHORT = ("--here", "--quick", "--rounds", "1", "--peers", "g4ftrio", "--loops", "trio")


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """What is printed under each heading."""
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *SHORT]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    _, *parts = re.split(r"^### (.*)\n", asked.stdout, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_question_is_asked(sections: dict[str, str]) -> None:
    assert [*sections] == QUESTIONS


@pytest.mark.skipif(sys.platform != "linux", reason="the server is an epoll program")
@pytest.mark.parametrize("title", QUESTIONS[:-1])
def test_every_question_is_answered_for_this_library(sections: dict[str, str], title: str) -> None:
    lines = [line for line in sections[title].splitlines() if line.startswith("| **g4ftrio")]
    assert lines
    assert all(re.search(r"\| [\d,.-]*\d", line) for line in lines)
    assert not [line for line in sections[title].splitlines() if line.startswith("- ") and "warm=" not in line]
