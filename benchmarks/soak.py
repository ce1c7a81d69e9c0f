"""Hold races for as long as told, most of them cut off somewhere, and print what they leak for each 10,000.

The races are those of the storm in ``tests/faults/storms.py``: three entrants on every wire, each fault, each policy,
cut off at random moments in every way, against simulated services in a process of their own. After every round,
everything is let come to rest and is counted; a slope over the rounds is a leak. With ``-X dev -W error`` the
interpreter looks, too: what it has to say of objects that were dropped is counted as a complaint.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import count
from math import inf, nan, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from loops import LOOPS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.faults.census import resident
from tests.faults.remote import Remote
from tests.faults.storms import Storm

ROUND = 200  # races
WARM_UP = 2000  # races that fill caches and are not counted
PER = 10_000  # races
BLOCKS = 10
STUDENT = 2.306  # of t with BLOCKS - 2 degrees of freedom, for an interval of 95 %


class Sample(NamedTuple):
    """What there was after so many races."""

    races: int
    tasks: int
    generators: int
    threads: int
    descriptors: int
    traced: int
    resident: int


class Slope(NamedTuple):
    """What comes with each 10,000 races, and half the interval that holds it with 95 % certainty."""

    value: float
    margin: float


def slope(samples: Sequence[Sample], what: str) -> Slope:
    """Fit a line. Neighbouring samples are no two witnesses, so it goes through the means of ten blocks."""
    size = len(samples) // BLOCKS
    if not size:  # too few to tell
        return Slope(nan, nan)
    blocks = [samples[at : at + size] for at in range(len(samples) % BLOCKS, len(samples), size)]
    xs = [fmean(sample.races for sample in block) / PER for block in blocks]
    ys = [fmean(getattr(sample, what) for sample in block) for block in blocks]
    x, y = fmean(xs), fmean(ys)
    spread = sum((each - x) ** 2 for each in xs)
    value = sum((one - x) * (two - y) for one, two in zip(xs, ys, strict=True)) / spread
    rest = sum((two - y - value * (one - x)) ** 2 for one, two in zip(xs, ys, strict=True))
    return Slope(value, STUDENT * sqrt(rest / (BLOCKS - 2) / spread))


class Complaints(logging.Handler):
    """What the interpreter and the event loops say of objects that were not closed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record; that something was slow is no complaint."""
        if not str(record.msg).startswith("Executing"):
            self.said.append(record.getMessage())

    def listen(self) -> None:
        """Listen."""
        logging.getLogger("asyncio").addHandler(self)
        sys.unraisablehook = lambda raised: self.said.append(f"{raised.err_msg or ''} {raised.exc_value!r}")


async def soak(storm: Storm, size: int) -> AsyncGenerator[Sample, None]:
    """Hold rounds of so many races, and give what there is after each."""
    for number in count(0, size):
        await storm.races(range(number, number + size))
        yield await _sample(storm, number + size)


async def _sample(storm: Storm, races: int) -> Sample:
    """Count, when the other side has seen everything closed."""
    now = storm.count()
    traced, _ = tracemalloc.get_traced_memory()
    return Sample(races, *now, traced, resident())


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield "| of | leaked for each 10,000 races | ± (95 %) |"
    yield "| --- | ---: | ---: |"
    for what, (value, margin) in found["slopes"].items():
        unit = 1024 if what in ("traced", "resident") else 1
        name = f"{what} memory, KiB" if unit > 1 else what
        yield f"| {name} | {value / unit:,.2f} | {margin / unit:,.2f} |"
    yield ""
    ended = ", ".join(f"{number:,} {how}" for how, number in sorted(found["ended"].items(), key=lambda each: -each[1]))
    yield f"{found['races']:,} races in {found['seconds']:,.0f} s on {found['loop']}, seed {found['seed']}: {ended}."
    yield f"{len(found['complaints'])} complaints."
    yield from found["complaints"][:20]


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--races", type=float, default=inf, help="end after so many, if that is earlier")
    parser.add_argument("--round", type=int, default=ROUND, help="races between two looks")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="races that are not counted")
    parser.add_argument("--loop", choices=LOOPS, default="trio")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--trace", action=argparse.BooleanOptionalAction, default=True, help="run tracemalloc")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
    else:
        print(*_lines(found), sep="\n")
    sys.exit(bool(found["complaints"]))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Soak, and find the slopes."""
    complaints, samples, ended = Complaints(), list[Sample](), dict[str, int]()
    complaints.listen()
    began = time.monotonic()

    if options.trace:
        tracemalloc.start()
    with Remote("storm") as remote:

        async def whole() -> None:
            async with Storm(remote, options.seed) as storm, aclosing(soak(storm, options.round)) as taken:
                async for sample in taken:
                    if sample.races >= options.warm_up:
                        samples.append(sample)
                    if sample.races >= options.races or time.monotonic() - began >= options.minutes * 60:
                        break
                ended.update(storm.outcomes)

        LOOPS[options.loop]().run(whole)
    return {
        "loop": options.loop,
        "seed": options.seed,
        "races": samples[-1].races if samples else 0,
        "seconds": time.monotonic() - began,
        "ended": ended,
        "slopes": {what: slope(samples, what) for what in Sample._fields[1:]},
        "samples": samples,
        "complaints": complaints.said,
    }


if __name__ == "__main__":
    main()
