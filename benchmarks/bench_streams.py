"""Measure what `g4ftrio.bench` itself takes: a thousand streams at once, and ten times as many requests.

The server is `server.py`, in a process of its own, which is not the bottleneck: its answers are rendered beforehand,
and paced, so that it is known when each token leaves it. The client is a process of its own for each row. Requests come
at a constant rate, so many that a thousand answers are under way; the first ten seconds, until they are, do not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import environments
from bench_tools import serving
from report import markdown

from g4ftrio.bench import Constant, Users, Writer, run, stored, summarize
from g4ftrio.bench._options import RunOptions

__all__ = ("main",)

FIRST, GAP, TOKENS = 1.0, 0.1, 95
WHOLE = FIRST + GAP * TOKENS  # seconds; the end is a write of its own
KNOWN = {"first_token": FIRST, "inter_token": GAP, "end_to_end": WHOLE}
PACED = f"events-{TOKENS}/write-1/every-{GAP * 1e6:.0f}/first-{FIRST * 1e6:.0f}/usage-1/v1"
FAST = "events-16/write-4/every-1000/usage-1/v1"
ENOUGH = 4000  # requests under way at most, so that none waits for another


async def streams(address: str, folder: Path, *, at_once: int, seconds: float) -> dict[str, Any]:
    """Have so many streams at once for so long."""
    load = Constant(at_once / WHOLE)
    with Writer(folder / "run.jsonl") as writer:
        times = RunOptions(duration=WHOLE + seconds, warmup=WHOLE, max_active=ENOUGH)
        await run([f"openai-compatible/m@{address}"], load, to=writer, keep=False, **times)
    return told(folder)


async def many(address: str, folder: Path, *, requests: int) -> dict[str, Any]:
    """Have fifty users ask so many requests."""
    with Writer(folder / "run.jsonl") as writer:
        await run([f"openai-compatible/m@{address}"], Users(50), to=writer, keep=False, count=requests)
    return told(folder)


def told(folder: Path) -> dict[str, Any]:
    """Sum up what is in the file, and what this process took."""
    kept = stored(folder / "run.jsonl")
    summary = summarize(kept)
    (target,) = summary.targets.values()
    assert kept.ending is not None
    late = kept.ending.lateness
    return {
        "cpu": summary.cpu_per_piece or 0.0,
        "requests": target.requests,
        "errors": sum(target.errors.values()),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "late": None if late is None else late.p95,
        **{name: (target.measures[name].p50, target.measures[name].p99) for name in KNOWN},
    }


def ask(loop: str, question: str, address: str, **job: float) -> dict[str, Any]:
    """Have a process of its own do a job."""
    command = [sys.executable, __file__, "--client", json.dumps([loop, question, address, job])]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def client(loop: str, question: str, address: str, job: Mapping[str, float]) -> None:
    """Do a job, and write what was found."""
    with tempfile.TemporaryDirectory(prefix="g4ftrio-streams-") as folder:
        asked: Any = {"streams": streams, "many": many}[question]
        print(json.dumps(anyio.run(lambda: asked(address, Path(folder), **job), backend=loop)))


def measured(origin: str, options: argparse.Namespace) -> str:
    """Measure, and give the tables as Markdown."""
    heads = ["streams", "share of a core", "MiB", "late p95", *(f"{name.replace('_', ' ')} p50, p99" for name in KNOWN)]
    known = ["*what the server does*", "", "", "", *(f"{seconds * 1000:,.0f}" for seconds in KNOWN.values())]
    lines = [heads, known]
    for at_once in options.streams:
        rate = at_once / WHOLE * TOKENS  # tokens per second while all are under way
        for loop in ("trio", "asyncio"):
            print(f"{at_once} streams, {loop}", file=sys.stderr)
            found = ask(loop, "streams", f"{origin}/{PACED}", at_once=at_once, seconds=options.seconds)
            times = (", ".join(_ms(each) for each in found[name]) for name in KNOWN)
            costs = (f"{found['cpu'] * rate:.0%}", f"{found['memory']:.0f}", _ms(found["late"]))
            lines.append([f"{at_once:,}, {loop}: {rate:,.0f} tokens/s", *costs, *times])
    memory = [["requests", "trio MiB", "asyncio MiB"]]
    for requests in options.requests:
        print(f"{requests} requests", file=sys.stderr)
        found_by = (ask(loop, "many", f"{origin}/{FAST}", requests=requests) for loop in ("trio", "asyncio"))
        memory.append([f"{requests:,}", *(f"{found['memory']:.0f}" for found in found_by)])
    return f"{markdown(lines)}\n\n{markdown(memory)}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:,.0f}" if seconds >= 1 else f"{seconds * 1000:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was found as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", nargs="+", type=int, default=(100, 1000), metavar="N")
    parser.add_argument("--requests", nargs="+", type=int, default=(1500, 15000), metavar="N")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--venvs", type=Path, default=environments.default_folder(), metavar="DIR")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.client:
        return client(*json.loads(options.client))
    trustme = environments.prepare("trustme", options.venvs, Path(__file__).resolve().parent.parent)
    with serving(environments.certificate(options.venvs, trustme.python)) as origin:
        print(measured(origin, options))
    return None


if __name__ == "__main__":
    main()
