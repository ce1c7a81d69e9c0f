"""The scripts that hold `g4ftrio bench` against other tools and against many streams: what takes only a second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from g4ftrio.simulator import Service, run_in_thread

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts ask for `resource`")


def python(*arguments: str) -> str:
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=BENCHMARKS)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("loop", "question", "job", "requests"),
    [("trio", "many", {"requests": 60}, 60), ("asyncio", "streams", {"at_once": 1, "seconds": 0.5}, 5)],
)
def test_a_client_says_what_it_measured_and_took(loop: str, question: str, job: dict[str, Any], requests: int) -> None:
    in_a_hurry = "import bench_streams as b; b.WHOLE = 0.1; b.main()"
    with run_in_thread([Service("s", models=("m",), tokens=3, gap=0.001)]) as running:
        address = running["s"].spec.partition("@")[2]
        said = json.loads(python("-c", in_a_hurry, "--client", json.dumps([loop, question, address, job])))
    assert (said["requests"], said["errors"]) == (requests, 0)
    assert min(said["memory"], said["cpu"]) > 0
    assert 0 < said["first_token"][0] < said["end_to_end"][0]


def test_what_tools_found_is_a_table_and_a_judgement() -> None:
    code = """
import bench_tools as b
found = {1: {b.OURS: b.Found(400, 1, 64, 2), "aiperf": b.Found(410, 0.9, 60, 20)},
         9: {b.OURS: b.Found(400, 9, 576, 10), "aiperf": b.Found(410, 9, 576, 36)}}
samples = {(name, users): [each] * 3 for users, row in found.items() for name, each in row.items()}
print(b.tables(b.figures(samples, 10)))
"""
    lines = python("-c", code).splitlines()
    assert "| 9: g4ftrio trio | 400.0 | 9.00 | 576 | 10.0 | 100.0 |" in lines
    assert "| 9: aiperf | 410.0 | 9.00 | 576 | 36.0 | 200.0 |" in lines
    assert "| 1 users: first token, off aiperf's | 0.05 | 0.024 | met |" in lines
    assert "| 1 users: requests, off aiperf's | 0.05 | 0.111 | **missed** |" in lines
    assert "| 9 users: CPU, of aiperf's | 1 | 0.278 | met |" in lines
