"""Run the tests on every interpreter of this machine, with the newest and with the oldest dependencies allowed.

Of the standard library alone::

    python -m tests.versions                               # the whole suite: minutes for each line of the table
    python -m tests.versions --quick                       # the tests that touch the dependencies most
    python -m tests.versions --python 3.13 --only oldest -k race

Each interpreter and each choice of dependencies gets a fresh environment. First the built wheel is installed there,
with the extra ``cli`` and nothing that only the tests need: every public name must import, and the command line must
print its help and run a demo race, with warnings as errors. Then come the extras and the tests' own requirements, and
the tests run from the checkout.

*Oldest* is the lower bound of every requirement in ``pyproject.toml``, the tests' own included; what those need in
turn is the newest that fits. *Newest* is what pip takes by itself. The exit status is 0 if every line passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ("Interpreter", "Outcome", "Tally", "interpreters", "lower_bounds", "main", "table", "tally")

ROOT = Path(__file__).parent.parent
RESOLUTIONS = ("newest", "oldest")
WATCHED = ("anyio", "httptools", "httpx", "msgspec", "trio", "websockets")
QUICK = (
    *("tests/transports", "tests/providers/test_wires_faults.py", "tests/test_cli_process.py", "tests/test_loops.py"),
    *("tests/test_race_sockets.py", "tests/test_structured.py", "tests/test_sync.py", "tests/test_telemetry.py"),
)
SUITE_SECONDS = 2400

_EVERYTHING = "import g4ftrio\nfor name in g4ftrio.__all__: getattr(g4ftrio, name)"
_RACE = ("-m", "g4ftrio", "race", "Why is the sky blue?")
WITHOUT_TESTS = (
    ("-c", _EVERYTHING),
    ("-OO", "-c", _EVERYTHING),
    ("-X", "importtime", "-c", _EVERYTHING),
    ("-m", "g4ftrio", "--help"),
    _RACE,
    ("-OO", *_RACE),
)

_ASK = """
import ensurepip, json, platform, sys, sysconfig, venv
assert sys.prefix == sys.base_prefix, "an environment"
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
kind = "" if sys.implementation.name == "cpython" else platform.python_implementation() + " "
print(json.dumps([sys.executable, kind, sys.version_info[:3], threads]))
"""
_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""
_EXECUTABLE = re.compile(r"(python|pypy)3(\.\d+)?t?")
_BOUND = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?>=(?P<version>[\w.]+)\s*(?P<marker>;.*)?")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


class Interpreter(NamedTuple):
    """A Python that can make environments."""

    path: Path
    kind: str
    version: tuple[int, int, int]
    threads: str = ""

    @property
    def line(self) -> str:
        """The release that it is a patch of: ``3.13``, ``3.13t``, ``PyPy 3.11``."""
        return f"{self.kind}{self.version[0]}.{self.version[1]}{self.threads}"

    def __str__(self) -> str:
        return f"{self.kind}{'.'.join(map(str, self.version))}{self.threads}"


class Tally(NamedTuple):
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


class Outcome(NamedTuple):
    """One line of the table.

    :ivar versions: of the distributions in :data:`WATCHED`
    :ivar broken: what did not even get as far as the tests, in a few words
    """

    interpreter: str
    resolution: str
    versions: dict[str, str]
    broken: str
    tests: Tally
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the wheel worked alone, tests ran, and none of them failed."""
        return not self.broken and self.tests.passed > 0 and not self.tests.failed


class Failed(Exception):
    """A step that did not work, in a few words."""


def interpreters(folders: Iterable[Path], oldest: tuple[int, int]) -> list[Interpreter]:
    """Find interpreters that can make environments: of each release its newest patch.

    :param oldest: the release that the project begins with
    """
    found: dict[str, Interpreter] = {}
    for path in chain.from_iterable(map(_executables, folders)):
        asked = subprocess.run([path, "-I", "-c", _ASK], capture_output=True, text=True, check=False)
        if asked.returncode:  # too old for the question, an environment, without venv, a shim for nothing
            continue
        executable, kind, version, threads = json.loads(asked.stdout)
        one = Interpreter(Path(executable), kind, tuple(version), threads)
        if one.version >= oldest and (one.line not in found or one.version > found[one.line].version):
            found[one.line] = one
    return sorted(found.values(), key=lambda one: (one.kind, one.version, one.threads))


def _executables(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if _EXECUTABLE.fullmatch(path.name))


def _folders() -> list[Path]:
    """Where interpreters are looked for: what is on the path, and what pyenv and uv have installed."""
    on_path = [Path(folder) for folder in os.get_exec_path()]
    installed = (".pyenv/versions/*/bin", ".local/share/uv/python/*/bin")
    return [*on_path, *chain.from_iterable(Path.home().glob(pattern) for pattern in installed)]


def lower_bounds(project: Mapping[str, Any]) -> list[str]:
    """Pin every requirement of a project to its lower bound, with its marker; a bare one cannot be pinned.

    :param project: the table ``[project]``
    """
    pins = []
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        if requirement.startswith(f"{project['name']}["):  # its own extras, which are here anyway
            continue
        bound = _BOUND.fullmatch(requirement)
        if not bound:
            raise ValueError(f"a requirement without a lower bound: {requirement}")
        pins.append(f"{bound['name']}=={bound['version']}{bound['marker'] or ''}")
    return pins


def tally(output: str) -> Tally:
    """Read the numbers in pytest's last line; a test whose fixture failed has failed."""
    last = output.rstrip().rpartition("\n")[2]
    counts = {word: int(count) for count, word in _COUNT.findall(last)}
    return Tally(counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0), counts.get("skipped", 0))


class _Environment:
    """A fresh environment, and the log of what was done in it."""

    def __init__(self, folder: Path, interpreter: Interpreter, constraints: Path | None) -> None:
        self.log = folder.parent / f"{folder.name}.log"
        self._folder = folder
        self._python = folder / "bin" / "python"
        self._constraints = ("-c", str(constraints)) if constraints else ()
        self.log.write_text("")
        self._run("no environment", interpreter.path, "-m", "venv", "--clear", folder)

    def install(self, *wanted: str) -> None:
        """Install with pip."""
        words = f"pip cannot install {wanted[-1]}"
        self._run(words, self._python, "-m", "pip", "install", "-q", *self._constraints, *wanted)

    def try_alone(self) -> None:
        """Use what is installed as a user does, from a folder that is not the checkout."""
        for arguments in WITHOUT_TESTS:
            words = " ".join(word if "\n" not in word else "import" for word in arguments)
            self._run(f"without the tests' requirements: {words}", self._python, "-W", "error", *arguments)

    def versions(self) -> dict[str, str]:
        """Give the versions of what is watched."""
        found: dict[str, str] = json.loads(self._run("no versions", self._python, "-I", "-c", _VERSIONS, *WATCHED))
        return found

    def test(self, arguments: Sequence[str]) -> Tally:
        """Run tests of the checkout."""
        command: list[str | Path] = [self._python, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *arguments]
        return tally(self._said(command, ROOT, SUITE_SECONDS)[1])

    def _run(self, words: str, *command: str | Path) -> str:
        status, output = self._said(command, self._folder.parent, timeout=900)
        if status:
            raise Failed(words)
        return output

    def _said(self, command: Sequence[str | Path], folder: Path, timeout: float) -> tuple[int, str]:
        """Run a command, and give its exit status and what it said, which is in the log too."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with self.log.open("a+") as log:
            print("$", *command, file=log, flush=True)
            start = log.tell()
            try:
                run = subprocess.run(
                    command, cwd=folder, env=environment, stdout=log, stderr=log, timeout=timeout, check=False
                )
            except subprocess.TimeoutExpired:
                print(f"not done after {timeout} s", file=log)
                return -1, ""
            log.seek(start)
            return run.returncode, log.read()


def attempt(interpreter: Interpreter, resolution: str, constraints: Path, tests: Sequence[str]) -> Outcome:
    """Make one line of the table: an environment, the wheel alone in it, and the tests.

    :param constraints: a file of the oldest versions; the environment goes beside it
    """
    began = time.monotonic()
    folder = constraints.parent / f"{interpreter.line.replace(' ', '')}-{resolution}"
    versions: dict[str, str] = {}
    try:
        environment = _Environment(folder, interpreter, constraints if resolution == "oldest" else None)
        environment.install(f"{ROOT}[cli]")
        versions = environment.versions()
        environment.try_alone()
        environment.install("-e", f"{ROOT}[dev]")
        versions = environment.versions()
        counts, broken = environment.test(tests), ""
    except Failed as error:
        counts, broken = Tally(), str(error)
    return Outcome(str(interpreter), resolution, versions, broken, counts, time.monotonic() - began)


def table(outcomes: Iterable[Outcome]) -> str:
    """Write a table in Markdown."""
    head = ["Python", "dependencies", *WATCHED, "passed", "failed", "skipped", "seconds"]
    rows = [head, ["---"] * len(head), *map(_cells, outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(outcome: Outcome) -> list[str]:
    versions = [outcome.versions.get(name, "") for name in WATCHED]
    counts = [outcome.broken, "", ""] if outcome.broken else [f"{count:,}" for count in outcome.tests]
    return [outcome.interpreter, outcome.resolution, *versions, *counts, f"{outcome.seconds:.0f}"]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", action="append", metavar="3.13", help="this release alone; can be repeated")
    parser.add_argument("--only", choices=RESOLUTIONS, help="these dependencies alone")
    parser.add_argument("--quick", action="store_true", help="only the tests that touch the dependencies most")
    parser.add_argument("-k", default="", metavar="WORDS", help="only tests whose names match, as pytest has it")
    parser.add_argument("--list", action="store_true", help="say which interpreters there are, and run nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, tell each line as it is done, and print the table."""
    options = _options(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    major, minor = map(int, project["requires-python"].removeprefix(">=").split("."))
    found = interpreters(_folders(), (major, minor))
    chosen = [one for one in found if not options.python or one.line in options.python]
    if options.list or not chosen:
        print("\n".join(f"{one}\t{one.path}" for one in found) or "no interpreter that the project allows")
        return 0 if options.list else 2
    folder = Path(tempfile.mkdtemp(prefix="g4ftrio-versions-"))
    constraints = folder / "oldest.txt"
    constraints.write_text("\n".join(lower_bounds(project)))
    tests = [*(QUICK if options.quick else ()), *(("-k", options.k) if options.k else ())]
    outcomes = []
    for interpreter in chosen:
        for resolution in [options.only] if options.only else RESOLUTIONS:
            outcomes.append(attempt(interpreter, resolution, constraints, tests))
            print(" ".join(_cells(outcomes[-1])), file=sys.stderr)
    print(table(outcomes), f"\nThe logs are in {folder}", sep="\n")
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
