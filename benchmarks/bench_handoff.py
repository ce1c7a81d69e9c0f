"""Measure what a chunk costs between the winner and its consumer: handed over, pumped, through a channel.

Prints µs of CPU per item, the median of interleaved rounds, on both event loops. ``burst`` is a source that never
suspends, ``stepped`` one that gives way before every item, as a network read does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable

import anyio
from anyio.lowlevel import checkpoint
from medians import median
from meter import Meter

from g4ftrio import race_iterators

ITEMS = 20_000


class Counter:
    """The bare iterator: a class with ``__anext__``, as this library's own streams are."""

    def __init__(self, n: int, *, stepped: bool) -> None:
        self._left = n
        self._stepped = stepped

    def __aiter__(self) -> Counter:
        return self

    async def __anext__(self) -> int:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        if self._stepped:
            await checkpoint()
        return self._left


async def bare(n: int, stepped: bool) -> None:
    """Read the iterator itself."""
    async for _ in Counter(n, stepped=stepped):
        pass


async def raced(n: int, stepped: bool, *, handoff: bool) -> None:
    """Read it as the winner of a race."""
    async with race_iterators([lambda: Counter(n, stepped=stepped)], handoff=handoff) as items:
        async for _ in items:
            pass


async def handed_over(n: int, stepped: bool) -> None:
    """Read the winner's iterator in the consumer's own task."""
    await raced(n, stepped, handoff=True)


async def pumped(n: int, stepped: bool) -> None:
    """Read what the winner's own task has read."""
    await raced(n, stepped, handoff=False)


async def channel(n: int, stepped: bool) -> None:
    """Send every item through an anyio memory stream of 16, the usual way between two tasks."""

    async def send() -> None:
        async with sender:
            async for item in Counter(n, stepped=stepped):
                await sender.send(item)

    sender, receiver = anyio.create_memory_object_stream[int](16)
    async with anyio.create_task_group() as tasks, receiver:
        tasks.start_soon(send)
        async for _ in receiver:
            pass


WAYS: dict[str, Callable[[int, bool], Awaitable[None]]] = {
    "bare iterator": bare,
    "handed over": handed_over,
    "pumped": pumped,
    "memory stream": channel,
}


def measure(backend: str, rounds: int) -> dict[str, dict[str, float]]:
    """µs of CPU per item for each way, burst and stepped."""
    found: dict[tuple[str, bool], list[float]] = {(way, stepped): [] for way in WAYS for stepped in (False, True)}

    async def once(way: str, stepped: bool) -> float:
        meter = Meter()
        await WAYS[way](ITEMS, stepped)
        return meter.read().cpu / ITEMS

    for _ in range(rounds):
        for way, stepped in found:
            found[way, stepped].append(anyio.run(once, way, stepped, backend=backend))
    return {
        way: {
            "burst": median(found[way, False]),
            "stepped": median(found[way, True]),
        }
        for way in WAYS
    }


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {backend: measure(backend, options.rounds) for backend in ("trio", "asyncio")}
    if options.json:
        json.dump(figures, sys.stdout, indent=1)
        return
    print(f"{'µs CPU per item':16} {'trio burst':>12} {'stepped':>9} {'asyncio burst':>14} {'stepped':>9}")
    for way in WAYS:
        row = [figures[backend][way][shape] for backend in figures for shape in ("burst", "stepped")]
        print(f"{way:16} {row[0]:12.2f} {row[1]:9.2f} {row[2]:14.2f} {row[3]:9.2f}")
    for backend in figures:
        more = figures[backend]["handed over"]["burst"] - figures[backend]["bare iterator"]["burst"]
        print(f"handed over costs {more:.2f} µs more than the bare iterator on {backend}")


if __name__ == "__main__":
    main()
