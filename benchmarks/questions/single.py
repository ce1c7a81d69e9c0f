"""What an event costs where each comes alone, as a provider's tokens do."""

from __future__ import annotations

from typing import Any

from loops import LOOPS
from question import OURS, Bar, Case, Column, Question, Row
from worker import Worker

from questions.packed import RACED, cost_of_events

__all__ = ("QUESTION", "measure")

PACED = {"events": 1000, "write": 1, "every": 400}  # µs

QUESTION = Question(
    title="One event per read",
    says="1,000 events, each written by itself, 400 µs apart. µs of client CPU per event.",
    cases=(Case(job=PACED), Case(RACED, {**PACED, "raced": True}, OURS)),
    columns=(Column("cpu", "CPU µs/event", least=True),),
    ratio="cpu",
    bars=(
        *(
            Bar(Row("g4ftrio", loop, case), "cpu", most, Row("g4f", other))
            for case in ("", RACED)
            for loop, other, most in (
                ("trio", "asyncio", 0.6),
                ("asyncio", "asyncio", 0.85),
                ("uvloop", "uvloop", 0.45),
            )
        ),
        Bar(Row("g4ftrio", "trio"), "cpu", 1.15, Row("trio receive_some", "trio")),
        *(Bar(Row("g4ftrio", loop, RACED), "cpu", 1.1, Row("g4ftrio", loop)) for loop in LOOPS),
    ),
    quick={"events": 50},
)


async def measure(worker: Worker, **job: Any) -> dict[str, float]:
    """Read one stream."""
    return await cost_of_events(worker, **job)
