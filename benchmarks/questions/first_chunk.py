"""How long an answer of one token takes to come on a warm client."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from loops import LOOPS
from meter import Meter
from question import Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "measure")


QUESTION = Question(
    title="The first chunk",
    says=(
        "One request after the other on a client that is warm, each answered at once with one token: µs from the call "
        "to the token, the median of 100; and µs of client CPU for each request, to the answer's end."
    ),
    cases=(Case(job={}), Case("TLS", {"tls": True})),
    columns=(Column("first", "first chunk after µs", 0, least=True), Column("cpu", "CPU µs/request", 0)),
    ratio="first",
    bars=(
        *(Bar(Row("g4ftrio", loop), "first", 0.5, Row("g4f", "asyncio")) for loop in LOOPS),
        *(Bar(Row("g4ftrio", loop), "first", 1 / 8, Row("openai", "asyncio")) for loop in LOOPS),
        *(Bar(Row("g4ftrio", loop, "TLS"), "first", 0.5, Row("g4f", "asyncio", "TLS")) for loop in LOOPS),
    ),
    quick={"requests": 5},
)


async def measure(worker: Worker, *, requests: int = 100, tls: bool = False) -> dict[str, Any]:
    """Ask again and again."""
    address = worker.server.address(tls=tls)
    called: list[float] = []
    came: list[float] = []
    meter = Meter()
    for _ in range(requests):
        called.append(perf_counter())
        await worker.client.read(address, lambda _: came.append(perf_counter()))
    spent = meter.read()
    waits = [(end - start) * 1e6 for start, end in zip(called, came, strict=True)]
    return {"first": waits, "cpu": spent.cpu / requests}
