"""Measure what a race costs before HTTP: how much later the first chunk comes, how much CPU an entrant takes.

The entrant that wins is the last one started; its first item comes after 5 ms, the losers sleep. Alone means the same
iterator without a race. The floor is what the event loop itself takes: tasks with two cancel scopes each, started and
cancelled, and nothing of a race. Prints medians of interleaved rounds, on both event loops.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import anyio

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


async def alone() -> tuple[float, float]:
    """Wall and CPU seconds until the first item without a race."""
    wall, cpu = time.perf_counter(), time.process_time()
    async for _ in Sleeper(FIRST):
        wall = time.perf_counter() - wall
    return wall, time.process_time() - cpu


async def raced(n: int) -> tuple[float, float]:
    """Wall seconds until the first item, and CPU seconds until everybody is closed, with n entrants."""
    entrants = [lambda: Sleeper(30.0)] * (n - 1) + [lambda: Sleeper(FIRST)]
    wall, cpu = time.perf_counter(), time.process_time()
    async with race_iterators(entrants, handoff=True) as items:
        async for _ in items:
            wall = time.perf_counter() - wall
    return wall, time.process_time() - cpu


async def floor(n: int) -> tuple[float, float]:
    """Wall seconds until the first item, and CPU seconds, of n tasks that are started and cancelled."""

    async def sleep(seconds: float) -> None:
        with anyio.CancelScope(), anyio.CancelScope():
            await anyio.sleep(seconds)
            first.set()

    wall, cpu, first = time.perf_counter(), time.process_time(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(n):
            tasks.start_soon(sleep, FIRST if number == n - 1 else 30.0)
        await first.wait()
        wall = time.perf_counter() - wall
        tasks.cancel_scope.cancel()
    return wall, time.process_time() - cpu


async def measure(rounds: int) -> dict[int, tuple[float, float]]:
    """µs of wall time and of CPU that n entrants cost more than one iterator alone; below 0 is the floor of -n."""
    ways: dict[int, Callable[[], Awaitable[tuple[float, float]]]] = {
        0: alone,
        **{n: partial(raced, n) for n in SIZES},
        **{-n: partial(floor, n) for n in SIZES},
    }
    samples: dict[int, list[tuple[float, float]]] = {n: [] for n in ways}
    for _ in range(rounds):
        for n, way in ways.items():
            samples[n].append(await way())
    medians = {
        n: tuple(statistics.median(column) for column in zip(*found, strict=True)) for n, found in samples.items()
    }
    return {n: ((medians[n][0] - medians[0][0]) * 1e6, (medians[n][1] - medians[0][1]) * 1e6) for n in ways if n}


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
