"""The benchmark of policies, in its short form: what it finds in virtual time does not depend on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bench() -> Any:
    """What it prints as JSON: one seed, and some calls by the library's race too."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "bench_policies.py"),
        "--seeds",
        "1",
        "--race",
        "100",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_every_bar_is_met_and_the_race_does_what_the_simulation_says(bench: Any) -> None:
    assert bench["missed"] == []


@pytest.mark.parametrize(
    ("policy", "most_extra", "least_cut"),
    [("adaptive(0.95)", 6.5, 50), ("adaptive(0.9, budget=budget(0.1))", 10.5, 70)],
)
def test_hedges_cut_the_tail_for_few_extra_calls(bench: Any, policy: str, most_extra: float, least_cut: float) -> None:
    row = bench["found"]["steady"][policy]
    assert 0 < row["extra"] <= most_extra
    assert row["p99"] <= bench["found"]["steady"]["fallback()"]["p99"] * (1 - least_cut / 100)


def test_in_a_brown_out_extra_calls_stay_within_the_budget(bench: Any) -> None:
    found = bench["found"]["brown-out"]
    assert found["adaptive(0.9, budget=budget(0.1))"]["extra"] <= 11
    assert found["staggered(1)"]["extra"] > 95  # which is what the budget is there for


def test_the_ends_of_the_scale_are_what_they_must_be(bench: Any) -> None:
    for rows in bench["found"].values():
        assert (rows["fallback()"]["extra"], rows["parallel(max_active=2)"]["extra"]) == (0, 100)
