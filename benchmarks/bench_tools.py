"""Hold `g4ftrio bench` against other benchmark tools on the same server: whether they agree, and what each costs.

The server is `server.py`, in a process of its own, and paces its answers: it is known when each token leaves it. The
tools are run as command lines, one after the other in shuffled rounds, each in an environment of its own. CPU is what
`getrusage` says of the whole command and the processes that it waited for. Prints medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import environments
from environments import Environment
from report import between, markdown

__all__ = ("main", "serving")

HERE = Path(__file__).resolve().parent
FIRST, GAP, TOKENS = 0.4, 0.02, 64
WHOLE = FIRST + GAP * TOKENS  # seconds; the end is a write of its own
USERS = (1, 8, 32)
PROMPT = "Why is the sky blue?"
NEAR = 0.05  # of ours, by which another tool's figures may differ
PATIENCE = 300  # seconds for a command
OURS = "g4ftrio trio"

_COLUMNS = (("first_token", ".1f"), ("requests", ".2f"), ("tokens", ".0f"), ("cpu", ".1f"), ("further", ".1f"))


class Job(NamedTuple):
    """What a tool is to do.

    :ivar address: the base URL without ``/v1``
    :ivar requests: that count; a wave of all users before them does not
    :ivar folder: for its files
    """

    address: str
    users: int
    requests: int
    folder: Path


class Found(NamedTuple):
    """What a tool says, and what it took; ``cpu`` is seconds of the whole command."""

    first_token: float
    requests: float
    tokens: float
    cpu: float


class Tool(NamedTuple):
    """A benchmark tool.

    :ivar command: what is run, by the folder of the environment's programs
    :ivar read: gives the median of the first token in ms, requests and tokens per second
    """

    environment: str
    command: Callable[[Path, Job], Sequence[str]]
    read: Callable[[Path], tuple[float, float, float]]
    environ: Mapping[str, str] = {}


def _ours(loop: str, programs: Path, job: Job) -> Sequence[str]:
    return (
        *(str(programs / "g4ftrio"), "bench", PROMPT, "-p", f"openai-compatible/m@{job.address}/v1", "--loop", loop),
        *("--users", str(job.users), "--count", str(job.requests), "--warmup", str(job.users)),
        *("--quiet", "--json", str(job.folder / "ours.json")),
    )


def _read_ours(folder: Path) -> tuple[float, float, float]:
    (target,) = json.loads((folder / "ours.json").read_text())["targets"].values()
    first = target["measures"]["first_token"]["p50"] * 1000
    return first, target["requests_per_second"], target["tokens_per_second"]


def _aiperf(programs: Path, job: Job) -> Sequence[str]:
    prompts = job.folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"text": PROMPT}) + "\n")
    return (
        *(str(programs / "aiperf"), "profile", "-m", "m", "--url", f"{job.address}/v1", "--endpoint-type", "chat"),
        *("--streaming", "--concurrency", str(job.users), "--request-count", str(job.requests)),
        *("--warmup-request-count", str(job.users), "--tokenizer", str(_tokenizer(job.folder))),
        *("--use-server-token-count", "--custom-dataset-type", "single_turn", "--input-file", str(prompts)),
        *("--ui", "none", "--artifact-dir", str(job.folder / "aiperf")),
    )


def _read_aiperf(folder: Path) -> tuple[float, float, float]:
    said = json.loads((folder / "aiperf" / "profile_export_aiperf.json").read_text())
    rates = said["request_throughput"]["avg"], said["output_token_throughput"]["avg"]
    return said["time_to_first_token"]["p50"], *rates


def _guidellm(programs: Path, job: Job) -> Sequence[str]:
    prompts = job.folder / "prompts.jsonl"
    total = job.requests + job.users
    prompts.write_text((json.dumps({"prompt": PROMPT}) + "\n") * total)
    return (
        *(str(programs / "guidellm"), "benchmark", "run", "--target", job.address, "--model", "m"),
        *("--processor", str(_tokenizer(job.folder)), "--data", str(prompts), "--rate-type", "concurrent"),
        *("--rate", str(job.users), "--max-requests", str(total), "--warmup-percent", f"{job.users / total:.4f}"),
        *("--output-path", str(job.folder / "guidellm.json"), "--output-sampling", "0"),
        *("--disable-progress", "--disable-console-outputs"),
    )


def _read_guidellm(folder: Path) -> tuple[float, float, float]:
    (benchmark,) = json.loads((folder / "guidellm.json").read_text())["benchmarks"]
    said = {name: each["successful"] for name, each in benchmark["metrics"].items()}
    rates = said["requests_per_second"]["mean"], said["output_tokens_per_second"]["mean"]
    return said["time_to_first_token_ms"]["median"], *rates


TOOLS = {
    OURS: Tool("g4ftrio-cli", partial(_ours, "trio"), _read_ours),
    "g4ftrio asyncio": Tool("g4ftrio-cli", partial(_ours, "asyncio"), _read_ours),
    "aiperf": Tool("aiperf", _aiperf, _read_aiperf),
    "guidellm": Tool(
        "guidellm", _guidellm, _read_guidellm, {"GUIDELLM__PREFERRED_ROUTE": "chat_completions"}
    ),  # its other route is not chat
}


def _tokenizer(folder: Path) -> Path:
    """Make a tokenizer that splits at spaces: both peers want one, though the server counts the tokens."""
    place = folder / "tokenizer"
    place.mkdir()
    unknown = {"id": 0, "content": "<unk>", "special": True}
    unknown |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "token": 1}, "unk_token": "<unk>"}
    tokenizer: dict[str, Any] = {"version": "1.0", "added_tokens": [unknown]}
    tokenizer |= {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    tokenizer |= {"model": model, **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))}
    (place / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 10**6}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return place


@contextmanager
def serving(certificate: environments.Certificate) -> Iterator[str]:
    """Run the server; gives its origin."""
    command = [sys.executable, str(HERE / "server.py"), str(certificate.chain), str(certificate.key)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["http"]
        yield f"http://127.0.0.1:{port}"
        server.communicate()


def measure(tool: Tool, environment: Environment, address: str, users: int, waves: int) -> Found:
    """Run a tool once.

    :raises SystemExit: it fails; what it said is told
    """
    folder = Path(tempfile.mkdtemp(prefix="g4ftrio-tools-"))
    command = tool.command(Path(environment.python).parent, Job(address, users, users * waves, folder))
    environ = {**os.environ, **tool.environ}
    before = _children()
    try:
        how: dict[str, Any] = {"env": environ, "cwd": folder, "timeout": PATIENCE}
        ended = subprocess.run(command, check=False, capture_output=True, text=True, **how)
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)}\nended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return Found(*tool.read(folder), _children() - before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


Samples = Mapping[tuple[str, int], list[Found]]


def figures(samples: Samples, waves: int) -> dict[str, dict[str, dict[str, float]]]:
    """The medians, by users and tool; ``further`` is what a request takes more, from fewer users to more, in ms."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (name, users), each in samples.items():
        cell = {key: median(getattr(sample, key) for sample in each) for key in Found._fields}
        found.setdefault(str(users), {})[name] = cell
    least, *_, most = sorted(map(int, found)) * 2
    for name, cell in found[str(most)].items():
        if most > least:
            cell["further"] = (cell["cpu"] - found[str(least)][name]["cpu"]) / (waves * (most - least)) * 1000
    return found


def tables(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """What was found, and whether the tools agree, as Markdown."""
    lines = [["users, tool", "first token ms", "requests/s", "tokens/s", "CPU s", "CPU ms a further request"]]
    for users, cells in found.items():
        rate = int(users) / WHOLE
        lines.append([f"*{users}: what the server does*", f"{FIRST * 1000:.1f}", f"{rate:.2f}", f"{rate * TOKENS:.0f}"])
        for name, cell in cells.items():
            row = (
                f"{cell['first_token']:.1f}",
                f"{cell['requests']:.2f}",
                f"{cell['tokens']:.0f}",
                f"{cell['cpu']:.1f}",
            )
            lines.append([f"{users}: {name}", *row, f"{cell['further']:.1f}" if "further" in cell else ""])
    return f"{markdown(lines)}\n\n{markdown([['must be', 'at most', 'is', ''], *_judged(found)])}"


def _judged(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[list[str]]:
    for users, cells in found.items():
        for name in (name for name in cells if name not in (OURS, "g4ftrio asyncio")):
            ours, theirs = cells[OURS], cells[name]
            for key in ("first_token", "requests", "tokens"):
                off = abs(ours[key] / theirs[key] - 1)
                yield _bar(f"{users} users: {key.replace('_', ' ')}, off {name}'s", NEAR, off)
            yield _bar(f"{users} users: CPU, of {name}'s", 1.0, ours["cpu"] / theirs["cpu"])


def _bar(what: str, most: float, is_: float) -> list[str]:
    return [what, f"{most:g}", f"{is_:.3f}", "met" if is_ <= most else "**missed**"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was found as it is."""
    options = _options(arguments)
    names = {"trustme", *(TOOLS[name].environment for name in options.tools)}
    found = {name: environments.prepare(name, options.venvs, HERE.parent) for name in sorted(names)}
    cells = [(name, users) for users in options.users for name in options.tools]
    samples: dict[tuple[str, int], list[Found]] = {cell: [] for cell in cells}
    plan = f"events-{TOKENS}/write-1/every-{GAP * 1e6:.0f}/first-{FIRST * 1e6:.0f}/usage-1"
    with serving(environments.certificate(options.venvs, found["trustme"].python)) as origin:
        for number in range(options.rounds):
            for name, users in random.sample(cells, len(cells)):
                tool = TOOLS[name]
                sample = measure(tool, found[tool.environment], f"{origin}/{plan}", users, options.waves)
                samples[name, users].append(sample)
                print(f"round {number + 1} of {options.rounds}: {users} users, {name}: {sample}", file=sys.stderr)
    told = figures(samples, options.waves)
    print(json.dumps(told, indent=1) if options.json else tables(told))
    if options.write:
        readme = HERE / "README.md"
        readme.write_text(between(readme.read_text(), "tools", tables(told)))


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=[*TOOLS], default=[*TOOLS], metavar="NAME")
    parser.add_argument("--users", nargs="+", type=int, default=USERS, metavar="N")
    parser.add_argument("--waves", type=int, default=30, help="requests of each user that count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--venvs", type=Path, default=environments.default_folder(), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print plain data")
    parser.add_argument("--write", action="store_true", help="keep the tables in README.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
