"""A storm in virtual time: races of scripted entrants, cut off at any eighth of a second, in every way.

500 races on each of trio and asyncio, 20,000 in the long form. What fails names its race's seed, by which
``storm(seed)`` holds it again, in every step as before.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import get_args

import anyio
import pytest

from g4ftrio import AllFailed, Chunk, Race, RaceReport, Reasoning, Timeout, Usage, race
from g4ftrio._compositions.failover import Midstream
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.testing import Scripted
from tests import clocks
from tests.faults.storms import CUTS, WAYS, Oops, check_report, policies

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

STEP = 0.125  # seconds
BLOCK = 100  # races


class Weak(Exception):
    """What an entrant fails of."""


def scripted(random: Random, name: str) -> Scripted:
    chunks: list[Chunk] = random.choices(
        ["a", "b", " ", Reasoning("hm"), Usage(input_tokens=1, output_tokens=2)], k=random.randrange(6)
    )
    return Scripted(
        chunks,
        delay=STEP * random.randrange(12),
        gap=STEP * random.randrange(4),
        error=Weak() if random.random() < 0.4 else None,
        prefill=random.random() < 0.5,
        limit=random.choice((None, 1)),
        name=name,
    )


async def storm(seed: int) -> None:
    """Hold the race of this seed, and see that nothing of it is left."""
    random = Random(seed)
    scripts = [scripted(random, f"{number}") for number in range(random.randint(1, 5))]
    way, cut = random.choice([*WAYS]), random.choice([*CUTS])
    midstream: Midstream = "raise" if way in ("settle", "drop") else random.choice(get_args(Midstream))
    entrants: list[AbstractProvider] = list(scripts)
    if random.random() < 0.2 and way not in ("settle", "drop"):
        entrants = [Race(scripts[:1], name="inner"), *scripts]
    context = race(
        entrants,
        "?",
        policy=random.choice([*policies(STEP * 3).values()]),
        midstream=midstream,
        keep_standby=0 if midstream == "raise" else random.choice((0, 1, 5)),
        timeout=random.choice((None, Timeout(first_chunk=STEP * 6, stall=STEP * 3), Timeout(total=STEP * 10))),
    )
    taken = random.randrange(5)

    async def run() -> None:
        with suppress(AllFailed, TimeoutError, Weak, Oops):
            await WAYS[way](context, taken)

    await CUTS[cut](STEP * random.randrange(24), run)
    await clocks.settle()
    check_report(context.report)
    assert len([each for each in _records(context.report) if each == "won"]) <= 1
    for script in scripts:
        assert script.opened == script.closed, f"{script.name} was opened {script.opened} times, closed {script.closed}"
        if script._limiter is not None:
            assert script._limiter._inside == len(script._limiter._left), f"{script.name} holds a place of its limit"


def _records(report: RaceReport) -> list[str]:
    return [record.outcome for record in report.entrants]


async def storms(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            with anyio.fail_after(60):
                await storm(seed)
        except Exception as error:
            error.add_note(f"in storm({seed})")
            raise


@pytest.mark.parametrize("first", range(0, 500, BLOCK))
async def test_a_storm_of_scripts_leaves_nothing_open(first: int) -> None:
    await storms(first, BLOCK)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 21_000, 2000))
async def test_a_long_storm_of_scripts_leaves_nothing_open(first: int) -> None:
    await storms(first, 2000)
