"""Measure g4ftrio, the floors below it and its peers against the same server, and print what was found.

Makes a virtual environment for each peer when it is first needed, and keeps it. Samples are taken in shuffled rounds:
in each, every row of a question once. What counts are medians, and the ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import environments
from clients import CannotDo
from environments import Environment
from loops import LOOPS
from medians import median
from peers import PEERS
from question import Question, Row
from questions import NAMES
from report import between, preface, report, rows_of, section
from stage import HERE, Stage

__all__ = ("main",)

RESULTS = HERE / "results" / "latest.json"
README = HERE / "README.md"
BY_NAME = {peer.name: peer for peer in PEERS}


class Run:
    """Asks the questions.

    :param found: the environments
    """

    def __init__(self, options: argparse.Namespace, found: Mapping[str, Environment], stage: Stage) -> None:
        self._options = options
        self._environments = found
        self._stage = stage

    def ask(self, name: str) -> dict[str, Any]:
        """Ask everybody, round after round."""
        question: Question = import_module(f"questions.{name}").QUESTION
        rows = rows_of(question, self._options.peers, self._options.loops)
        rounds = min(self._options.rounds, question.rounds)
        found: dict[str, Any] = {str(row): {"figures": {}} for row in rows}
        for number in range(0 if question.warm and not self._options.quick else 1, rounds + 1):
            print(f"{name}: round {number} of {rounds}", file=sys.stderr)
            for row in random.sample([*rows], len(rows)):
                if "cannot" not in found[str(row)]:
                    _note(found, row, self._sample(name, question, row, rows[row].job), question.less, keep=number > 0)
        return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "rounds": rounds, "rows": found}

    def _sample(self, name: str, question: Question, row: Row, job: Mapping[str, Any]) -> dict[str, Any]:
        peer = BY_NAME[row.peer]
        job = {**job, **(question.quick if self._options.quick else {})}
        if question.inside:
            return self._stage.ask(name, peer, row.loop, job, fresh=question.fresh)
        try:
            measure = import_module(f"questions.{name}").measure
            return {"figures": measure(peer, self._environments[peer.environment], **job)}
        except CannotDo as reason:
            return {"cannot": str(reason)}


def _note(found: dict[str, Any], row: Row, answer: dict[str, Any], less: Mapping[str, str], *, keep: bool) -> None:
    if "cannot" in answer:
        found[str(row)] = answer
    elif keep:
        figures = {key: median(value) if isinstance(value, list) else value for key, value in answer["figures"].items()}
        for key, value in figures.items():
            figure = value - figures[less[key]] if key in less else value
            found[str(row)]["figures"].setdefault(key, []).append(float(f"{figure:.5g}"))


def _machine() -> dict[str, str]:
    """What this runs on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def write(results: Mapping[str, Any]) -> None:
    """Keep the results, beside those of the questions that were not asked, and show them in the README."""
    before = json.loads(RESULTS.read_text())["questions"] if RESULTS.exists() else {}
    kept = {**results, "questions": {**before, **results["questions"]}}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    README.write_text(between(README.read_text(), "results", report(kept)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was found as it is."""
    options = _options(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if options.here else options.venvs
        found = _found(options, folder)
        certificate = environments.certificate(folder, found["trustme"].python)
        run = Run(options, found, stack.enter_context(closing(Stage(found, certificate))))
        about = {"machine": _machine(), "environments": {name: each.versions for name, each in found.items()}}
        print(preface(about))
        for name in options.questions:
            results = {**about, "questions": {name: run.ask(name)}}
            print(f"\n{section(name, results)}", flush=True)
            if options.write:
                write(results)


def _found(options: argparse.Namespace, folder: Path) -> dict[str, Environment]:
    names = ["trustme", *{peer.environment for peer in PEERS if peer.name in (options.peers or BY_NAME)}]
    if options.here:
        return dict.fromkeys(names, environments.here())
    return {name: environments.prepare(name, folder, options.source) for name in sorted(names)}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, known in (("--questions", NAMES), ("--peers", BY_NAME), ("--loops", LOOPS)):
        listed = ", ".join(known)
        parser.add_argument(flag, nargs="+", choices=[*known], default=[], metavar="NAME", help=f"only these: {listed}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a rough answer: few events, few requests")
    parser.add_argument("--venvs", type=Path, default=environments.default_folder(), metavar="DIR")
    parser.add_argument("--source", type=Path, default=HERE.parent, metavar="DIR", help="the checkout of g4ftrio")
    parser.add_argument("--here", action="store_true", help="use this interpreter for all, and whatever it can import")
    parser.add_argument("--write", action="store_true", help="keep the results in results/ and README.md")
    options = parser.parse_args(arguments)
    options.questions = options.questions or NAMES
    return options


if __name__ == "__main__":
    main()
