"""What is reported of simulated services, over real sockets and in virtual time, is what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp
from statistics import NormalDist

import pytest

from g4ftrio.bench import Statistics, Summary, Users, run, summarize
from g4ftrio.bench._statistics import PERCENTILES
from g4ftrio.simulator import Latency, Service, constant, lognormal, serve, uniform
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

COUNT, GAPS = 40, 10
PERCENTILES_SURE = 3 + 5  # of 40 first tokens up to p90, of 400 gaps up to p99


async def summed_up(latency: Latency) -> Summary:
    """Ask five services, whose draws are their own."""
    services = [Service(name, first_token=latency, gap=latency, tokens=GAPS + 1) for name in "abcde"]
    async with serve(services) as fleet:
        found = await run([fleet[name].spec for name in fleet], Users(20), count=COUNT, seed=1)
    return summarize(found)


async def test_percentiles_of_a_constant_are_that_constant() -> None:
    summary = await summed_up(constant(0.5))
    known = dict.fromkeys(("first_token", "first_content", "inter_token", "per_output_token"), 0.5)
    known["end_to_end"] = 0.5 * (GAPS + 1)
    for target in summary.targets.values():
        for measure, value in known.items():
            found = target.measures[measure]
            assert [found.min, found.mean, found.p50, found.p90, found.max] == [pytest.approx(value)] * 5, measure


@pytest.mark.parametrize(
    ("latency", "known"),
    [
        (uniform(0.25, 1.25), lambda share: 0.25 + share),
        (lognormal(0.5, 0.6), lambda share: 0.5 * exp(0.6 * NormalDist().inv_cdf(share))),
    ],
    ids=["uniform", "lognormal"],
)
async def test_percentiles_of_a_distribution_are_within_their_intervals_as_often_as_these_say(
    latency: Latency, known: Callable[[float], float]
) -> None:
    targets = (await summed_up(latency)).targets
    both = [target.measures[measure] for target in targets.values() for measure in ("first_token", "inter_token")]
    held = [is_held for found in both for is_held in _held(found, known)]
    assert len(held) == len(targets) * PERCENTILES_SURE
    assert sum(held) >= 0.85 * len(held)  # 95 % on average, and those of one sample go together


def _held(found: Statistics, known: Callable[[float], float]) -> Iterator[bool]:
    """Tell of each percentile whether what is known of it is within its interval."""
    for name, interval in found.intervals.items():
        yield known(PERCENTILES[name]) in interval
