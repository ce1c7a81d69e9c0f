"""What a request costs while other streams are held on the same client."""

from __future__ import annotations

from functools import partial

from clients import CannotDo, Client
from loops import LOOPS
from meter import Meter
from question import Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "measure")

HELD = (0, 500, 1000, 2000, 4000)
BLOCKS = 5
PATIENCE = 120  # seconds

QUESTION = Question(
    title="Streams held",
    says=(
        "µs of client CPU for a short request while so many streams of the same client wait for their next token. "
        "Limits of connections are lifted where the client has any."
    ),
    cases=(Case(job={}),),
    columns=tuple(Column(str(n), f"{n:,} held", 0) for n in HELD),
    peers=("g4ftrio", "httpx", "httpx2", "aiohttp"),
    bars=tuple(Bar(Row("g4ftrio", loop), str(HELD[-1]), 1.15, to_key="0") for loop in LOOPS),
    rounds=2,
    warm=False,
    quick={"held": (0, 20), "requests": 10},
)


async def measure(worker: Worker, *, held: tuple[int, ...] = HELD, requests: int = 200) -> dict[str, list[float]]:
    """Open more and more, and ask in between."""
    if worker.client.most is not None and worker.client.most < max(held):
        raise CannotDo(f"opens {worker.client.most} connections to an origin at most")
    address = worker.server.address(write=1, hold=1, every=1000)
    figures: dict[str, list[float]] = {}
    async with worker.new_client() as client:
        await _cost(worker, client, requests)
        async with worker.loop.group() as group:
            opened: list[str] = []
            for n in held:
                for _ in range(n - len(opened)):
                    group.start(client.read, address, opened.append)
                if not await worker.until(partial(_has, opened, n), PATIENCE):
                    raise TimeoutError(f"{len(opened)} streams of {n} opened in {PATIENCE} s")
                figures[str(n)] = await _cost(worker, client, requests)
            worker.server.release()
    return figures


def _has(opened: list[str], n: int) -> bool:
    return len(opened) >= n


async def _cost(worker: Worker, client: Client, requests: int) -> list[float]:
    """µs of CPU for a request, in each of some blocks."""
    costs = []
    for _ in range(BLOCKS):
        meter = Meter()
        for _ in range(requests // BLOCKS):
            await client.read(worker.server.address(), len)
        costs.append(meter.read().cpu / (requests // BLOCKS))
    return costs
