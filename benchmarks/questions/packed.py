"""What an event costs where the server is fast, and many come with each read."""

from __future__ import annotations

from functools import partial
from typing import Any

from clients import CannotDo
from loops import LOOPS
from meter import Meter
from question import OURS, Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "cost_of_events", "measure")

RACED = "the winner of a race"
EVENTS = 10_000

QUESTION = Question(
    title="A packed stream",
    says=(
        f"{EVENTS:,} events of 305 bytes, an HTTP chunk each, as fast as the client reads. µs of client CPU for each."
    ),
    cases=(Case(job={"events": EVENTS}), Case(RACED, {"events": EVENTS, "raced": True}, OURS)),
    columns=(Column("cpu", "CPU µs/event", 2, least=True), Column("wall", "time µs/event", 2)),
    ratio="cpu",
    bars=(
        *(
            Bar(Row("g4ftrio", "trio", case), "cpu", 1 / times, Row(peer, "asyncio"))
            for case in ("", RACED)
            for peer, times in (("g4f", 12), ("openai", 60), ("litellm", 180))
        ),
        Bar(Row("g4ftrio", "trio"), "cpu", 3.5, Row("blocking recv", "asyncio")),
        Bar(Row("g4ftrio", "asyncio"), "cpu", 4.0, Row("blocking recv", "asyncio")),
        *(Bar(Row("g4ftrio", loop, RACED), "cpu", 1.1, Row("g4ftrio", loop)) for loop in LOOPS),
    ),
    quick={"events": 200},
)


async def measure(worker: Worker, **job: Any) -> dict[str, float]:
    """Read one stream."""
    return await cost_of_events(worker, **job)


async def cost_of_events(
    worker: Worker, *, events: int, streams: int = 1, raced: bool = False, **plan: Any
) -> dict[str, float]:
    """Read some streams at once: µs per event.

    :param raced: read each as the winner of a race against one whose head does not come
    """
    if streams > 1 == worker.client.most:
        raise CannotDo("reads one stream at a time")
    address, never = worker.server.address(events=events, **plan), worker.server.address(head=30_000_000)
    read = partial(worker.client.race, [never, address]) if raced else partial(worker.client.read, address)
    texts: list[str] = []
    before = worker.server.state()
    meter = Meter()
    async with worker.loop.group() as group:
        for _ in range(streams):
            group.start(read, texts.append)
    length = len("".join(texts))
    spent = meter.read()
    after = worker.server.state()
    total = events * streams
    if abs(length - total * len("token ")) > total / 10:  # the floors do not see a token that a read has cut
        raise ValueError(f"{length} characters came, not those of {total} tokens")
    server = (after.cpu - before.cpu) * 1e6
    return {"cpu": spent.cpu / total, "wall": spent.wall / total, "server": server / total}
