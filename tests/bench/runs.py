"""Whole runs made by hand, as the tables and the page show them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from g4ftrio.bench import Ending, EntrantRecord, RequestRecord, Run
from tests.bench.records import record, setup

__all__ = ("HOSTILE", "answers", "drawn", "raced")

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202eevil\"'&\ud800\uffff"


def answers(target: str, *waits: float, **fields: object) -> list[RequestRecord]:
    """Requests that were sent one second after the other, and waited so long for the first of three tokens."""
    return [
        record(
            target,
            number=number,
            round=number,
            scheduled_at=float(number),
            sent_at=float(number),
            first_token_at=number + wait,
            first_content_at=number + wait,
            ended_at=number + wait + 0.5,
            **{"gaps": (0.25, 0.25), "pieces": 3, "output_tokens": 3, "tokens_from": "usage", **fields},
        )
        for number, wait in enumerate(waits)
    ]


def drawn(targets: Sequence[str], count: int, *, errors: float = 0.0) -> Run:
    """A run of so many requests to each target, each of which is slower than the one before it."""
    random = Random(0)
    records = []
    for place, target in enumerate(targets):
        waits = (random.lognormvariate(-1 + place / 4, 0.2) for _ in range(count))
        for each in answers(target, *waits):
            failed = random.random() < errors
            records.append(replace(each, error="RateLimitError", message="slow down") if failed else each)
    ending = Ending(seconds=count + 2.0, cpu_seconds=0.01 * len(records))
    return Run(setup=setup(*targets), records=tuple(records), ending=ending)


def raced(*winners: str, entrants: Sequence[str] = ("swift", "slow")) -> Run:
    """Races that these won, after a second each; who lost was closed 0.002 s later."""
    records = []
    for each, winner in zip(answers("race", *(1.0 for _ in winners)), winners, strict=True):
        at = each.sent_at
        ran = tuple(
            EntrantRecord(
                name=name,
                outcome="won" if name == winner else "lost",
                started_at=at,
                clean_at=at + 1 if name == winner else None,
                ended_at=at + 1.5 if name == winner else at + 1.002,
                output_tokens=3 if name == winner else None,
                usage_known="exact" if name == winner else "unknown",
            )
            for name in entrants
        )
        records.append(replace(each, winner=winner, entrants=ran))
    return Run(setup=setup("race", races={"race": tuple(entrants)}), records=tuple(records))
