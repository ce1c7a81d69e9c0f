"""The soak runs, in its short form, and finds the slopes of what it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COUNTED = ["tasks", "generators", "threads", "descriptors", "traced", "resident"]


def soaked(*options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--no-trace", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_soak_prints_what_was_leaked() -> None:
    said = soaked("--races", "120", "--round", "10", "--warm-up", "10", "--loop", "asyncio")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows == ["of", "---", *COUNTED[:4], "traced memory, KiB", "resident memory, KiB"]
    assert "120 races in" in said
    assert "0 complaints." in said


def test_a_soak_is_over_when_its_time_is() -> None:
    found: dict[str, Any] = json.loads(soaked("--minutes", "0", "--round", "20", "--warm-up", "0", "--json"))
    assert (found["races"], found["loop"]) == (20, "trio")
    assert [*found["slopes"]] == COUNTED
    assert found["ended"]
