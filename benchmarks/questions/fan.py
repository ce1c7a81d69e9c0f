"""What an event costs with 32 streams at once."""

from __future__ import annotations

from typing import Any

from question import Case, Column, Question
from worker import Worker

from questions.packed import cost_of_events

__all__ = ("QUESTION", "measure")

QUESTION = Question(
    title="32 streams at once",
    says=(
        "32 streams on one client, each with 50 events, one a write, 10 ms apart. µs of client CPU per event; "
        "the 32 requests are in it. g4f opens 20 connections to an origin, so it takes two turns."
    ),
    cases=(Case(job={"streams": 32, "events": 50, "write": 1, "every": 10_000}),),
    columns=(Column("cpu", "CPU µs/event", least=True),),
    ratio="cpu",
    quick={"streams": 4, "events": 5},
)


async def measure(worker: Worker, **job: Any) -> dict[str, float]:
    """Read them all."""
    return await cost_of_events(worker, **job)
