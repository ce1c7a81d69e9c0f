"""Whether a client is well after thousands of streams that were cancelled at their beginning, as losers are."""

from __future__ import annotations

import random
from time import perf_counter

from clients import Client
from loops import LOOPS
from meter import Meter
from question import Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "measure")

LANES = 20  # streams at once
AFTER = 20  # requests at once that follow
PATIENCE = 10.0  # seconds

QUESTION = Question(
    title="The pool's health",
    says=(
        "10,000 streams, 20 at once, each cancelled at a random moment of its first 4 ms: connecting, sending, waiting "
        "for the head (1 ms) or for the first token. Every client has the limits and time-outs it comes with. Then 20 "
        "requests at once: how many of them are answered within 10 s, and when the last of these is."
    ),
    cases=(Case(job={}),),
    columns=(
        Column("answered", "answered of 20", 0),
        Column("last", "the last after ms", 0),
        Column("failed", "failed before", 0),
        Column("streams", "streams left", 0),
        Column("connections", "connections left", 0),
        Column("cpu", "CPU µs/stream", 0),
    ),
    peers=("g4ftrio", "httpcore", "httpx", "httpx2", "aiohttp", "openai", "g4f"),
    bars=tuple(
        bar
        for loop in LOOPS
        for bar in (
            Bar(Row("g4ftrio", loop), "unanswered", 0),
            Bar(Row("g4ftrio", loop), "failed", 0),
            Bar(Row("g4ftrio", loop), "streams", 0),
        )
    ),
    rounds=1,
    warm=False,
    quick={"streams": 100, "rest": 0.05},
)


async def measure(worker: Worker, *, streams: int = 10_000, rest: float = 0.5) -> dict[str, float]:
    """Wear a client out, and see what it can do then."""
    await worker.quiet()
    before = worker.server.state()
    async with worker.new_client(stock=True) as client:
        meter = Meter()
        failed = await _wear_out(worker, client, streams)
        spent = meter.read()
        await worker.loop.sleep(rest)
        after = worker.server.state()
        times = await _ask(worker, client)
    return {
        "cpu": spent.cpu / streams,
        "failed": failed,
        "streams": after.answering - before.answering,
        "connections": after.connections - before.connections,
        "answered": len(times),
        "unanswered": AFTER - len(times),
        "last": max(times, default=PATIENCE) * 1e3,
    }


async def _wear_out(worker: Worker, client: Client, streams: int) -> int:
    """Cancel streams, and count those that failed by themselves."""
    address = worker.server.address(head=1000, first=1_000_000)
    moments = random.Random(1)
    failed = 0

    async def lane() -> None:
        nonlocal failed
        for _ in range(streams // LANES):
            try:
                await worker.loop.within(moments.uniform(0, 0.004), client.read, address, len)
            except Exception:  # noqa: BLE001  # counted
                failed += 1

    async with worker.loop.group() as group:
        for _ in range(LANES):
            group.start(lane)
    return failed


async def _ask(worker: Worker, client: Client) -> list[float]:
    """Ask at once; the seconds of those that were answered."""
    began = perf_counter()
    times: list[float] = []

    async def request() -> None:
        try:
            if await worker.loop.within(PATIENCE, client.read, worker.server.address(), len):
                times.append(perf_counter() - began)
        except Exception:  # noqa: BLE001  # not answered
            pass

    async with worker.loop.group() as group:
        for _ in range(AFTER):
            group.start(request)
    return times
