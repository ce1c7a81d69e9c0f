"""What thousands of slow streams cost."""

from __future__ import annotations

import gc
from time import perf_counter

from clients import CannotDo, Take
from loops import LOOPS
from meter import Meter, memory
from question import Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "measure")

FEW, MANY = "100 streams", "5,000 streams"
EVERY = 1_500_000  # µs
EVENTS = 4
PATIENCE = 120  # seconds

QUESTION = Question(
    title="5,000 slow streams",
    says=(
        "A process of its own for each sample. All streams are opened at once, and their first token comes at once: "
        "µs of CPU to open one, and s until all are open. Then three more tokens and the end to each, one every 1.5 s: "
        "µs of CPU for each of these, the closing included. KiB of resident memory for each stream that is open."
    ),
    cases=(Case(FEW, {"streams": 100}), Case(MANY, {"streams": 5000})),
    columns=(
        Column("open", "open: CPU µs/stream", 0),
        Column("wall", "time s", 2),
        Column("flow", "CPU µs/event"),
        Column("memory", "KiB/stream"),
    ),
    peers=("g4ftrio", "httpx", "httpx2", "aiohttp"),
    ratio="open",
    bars=tuple(
        bar
        for loop in LOOPS
        for ours, theirs in ((Row("g4ftrio", loop, MANY), Row("aiohttp", "asyncio", MANY)),)
        for bar in (
            Bar(ours, "open", 1.6, theirs),
            Bar(ours, "memory", 1.0, theirs),
            Bar(ours, "flow", 1.1, Row("g4ftrio", loop, FEW)),
        )
    ),
    rounds=3,
    warm=False,
    fresh=True,
    quick={"streams": 10, "every": 10_000},
)


async def measure(worker: Worker, *, streams: int, every: int = EVERY) -> dict[str, float]:
    """Open them, let them flow, and see them end."""
    if worker.client.most is not None and worker.client.most < streams:
        raise CannotDo(f"opens {worker.client.most} connections to an origin at most")
    address = worker.server.address(events=EVENTS, write=1, hold=1, every=every)
    await worker.client.read(worker.server.address(), len)
    opened = Opened()
    gc.collect()
    before = memory()
    async with worker.loop.group() as group:
        opening = Meter()
        for _ in range(streams):
            group.start(worker.client.read, address, opened.taker())
        if not await worker.until(lambda: opened.count == streams, PATIENCE):
            raise TimeoutError(f"{opened.count} streams of {streams} opened in {PATIENCE} s")
        open_cost = opening.read()
        after = memory()
        flowing = Meter()
        worker.server.release()
    flow = flowing.read()
    return {
        "open": open_cost.cpu / streams,
        "wall": opened.last - opened.first,
        "flow": flow.cpu / (streams * EVENTS),  # one has come, but the end is one
        "memory": (after - before) / streams,
    }


class Opened:
    """Counts the streams whose first token has come."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.last = perf_counter()

    def taker(self) -> Take:
        """Take the tokens of one stream."""
        started = False

        def take(_: str) -> None:
            nonlocal started
            if not started:
                started = True
                self.count += 1
                self.last = perf_counter()

        return take
