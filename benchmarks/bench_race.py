"""Measure what a race costs before HTTP: how much later the first chunk comes, how much CPU an entrant takes.

The entrant that wins is the last one started; its first item comes after 5 ms, the losers sleep. Alone means the same
iterator without a race. The floor is what the event loop itself takes: tasks with two cancel scopes each, started and
cancelled, and nothing of a race. Prints medians of interleaved rounds, on both event loops.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import anyio
from medians import median
from meter import Meter, Spent

from g4ftrio import race_iterators

SIZES = (1, 2, 4, 8)
FIRST = 0.005


class Sleeper:
    """An entrant: its first item after a while, and then no more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        seconds, self._seconds = self._seconds, 0.0
        if not seconds:
            raise StopAsyncIteration
        await anyio.sleep(seconds)
        return 1


async def alone() -> Spent:
    """Spend time until the first item, and CPU until the end, without a race."""
    meter = Meter()
    async for _ in Sleeper(FIRST):
        first = meter.read()
    return meter.read()._replace(wall=first.wall)


async def raced(n: int) -> Spent:
    """Spend time until the first item, and CPU until everybody is closed, with n entrants."""
    entrants = [lambda: Sleeper(30.0)] * (n - 1) + [lambda: Sleeper(FIRST)]
    meter = Meter()
    async with race_iterators(entrants, handoff=True) as items:
        async for _ in items:
            first = meter.read()
    return meter.read()._replace(wall=first.wall)


async def floor(n: int) -> Spent:
    """Spend time until the first item, and CPU, with n tasks that are started and cancelled."""

    async def sleep(seconds: float) -> None:
        with anyio.CancelScope(), anyio.CancelScope():
            await anyio.sleep(seconds)
            came.set()

    meter, came = Meter(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(n):
            tasks.start_soon(sleep, FIRST if number == n - 1 else 30.0)
        await came.wait()
        first = meter.read()
        tasks.cancel_scope.cancel()
    return meter.read()._replace(wall=first.wall)


async def measure(rounds: int) -> dict[int, tuple[float, float]]:
    """µs of wall time and of CPU that n entrants cost more than one iterator alone; below 0 is the floor of -n."""
    ways: dict[int, Callable[[], Awaitable[Spent]]] = {
        0: alone,
        **{n: partial(raced, n) for n in SIZES},
        **{-n: partial(floor, n) for n in SIZES},
    }
    samples: dict[int, list[Spent]] = {n: [] for n in ways}
    for _ in range(rounds):
        for n, way in ways.items():
            samples[n].append(await way())
    usual = {n: Spent(*map(median, zip(*found, strict=True))) for n, found in samples.items()}
    return {n: (usual[n].wall - usual[0].wall, usual[n].cpu - usual[0].cpu) for n in ways if n}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {backend: anyio.run(measure, options.rounds, backend=backend) for backend in ("trio", "asyncio")}
    if options.json:
        json.dump(figures, sys.stdout, indent=1)
        return
    print(f"{'entrants':>8} {'trio: first item later by':>27} {'CPU':>9} {'asyncio: later by':>19} {'CPU':>9}")
    for n in SIZES:
        row = [f"{value:.0f} µs" for backend in figures for value in figures[backend][n]]
        print(f"{n:8} {row[0]:>27} {row[1]:>9} {row[2]:>19} {row[3]:>9}")
    for backend, found in figures.items():
        more = (found[SIZES[-1]][1] - found[1][1]) / (SIZES[-1] - 1)
        least = (found[-SIZES[-1]][1] - found[-1][1]) / (SIZES[-1] - 1)
        print(f"{backend}: {more:.0f} µs of CPU for each further entrant; the event loop itself takes {least:.0f}")


if __name__ == "__main__":
    main()
