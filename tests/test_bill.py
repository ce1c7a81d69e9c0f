"""What a race costs, as far as it is known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from g4ftrio import APIConnectionError, Fallback, Race, Retry, Usage, race
from g4ftrio._words.bill import Bill, check_prices, total
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

USED = Usage(input_tokens=1000, output_tokens=200)
PRICES = {"one": (2.0, 10.0), "two": (4.0, 20.0)}  # for USED: 0.004 and 0.008


def scripted(name: str, *chunks: Any, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


async def test_a_bill_is_exact_at_least_or_unknown() -> None:
    assert Bill.of((2, 10), USED, "exact") == Bill(0.004, "exact")
    assert Bill.of((2, 10), Usage(output_tokens=200), "at_least") == Bill(0.002, "at_least")
    assert Bill.of((2, 10), Usage(output_tokens=200), "exact") == Bill(0.002, "at_least")
    assert Bill.of((2, 10), None, "unknown") == Bill.of(None, USED, "exact") == Bill()


async def test_a_sum_is_worth_what_its_parts_are() -> None:
    exact, least, unknown = Bill(1, "exact"), Bill(2, "at_least"), Bill()
    assert total([exact, exact]) == Bill(2, "exact")
    assert total([exact, least]) == Bill(3, "at_least")
    assert total([exact, unknown]) == Bill(1, "at_least")
    assert total([unknown, unknown]) == total([]) == Bill()


async def test_who_was_dropped_makes_the_sum_a_lower_bound() -> None:
    one, two = scripted("one", "a", USED, delay=1), scripted("two", " ", "b", gap=9)
    async with Race([one, two], prices=PRICES).stream("Why?") as stream:
        await stream.collect()
    first, second = stream.report.entrants
    assert (first.cost, first.cost_known) == (0.004, "exact")
    assert (second.cost, second.cost_known) == (0.00002, "at_least")  # one piece of output
    assert stream.report.cost == pytest.approx(0.00402)
    assert stream.report.cost_known == "at_least"


async def test_who_was_not_asked_costs_nothing() -> None:
    async with race([scripted("one", "a", USED)], "Why?") as unpriced:
        await unpriced.collect()
    assert (unpriced.report.cost, unpriced.report.cost_known) == (None, "unknown")
    both = [scripted("one", "a", USED), scripted("two", "b")]
    async with Fallback(both, prices=PRICES).stream("Why?") as stream:
        await stream.collect()
    assert (stream.report.cost, stream.report.cost_known) == (0.004, "exact")
    plain = json.loads(json.dumps(stream.report.to_dict()))
    assert (plain["cost"], plain["cost_known"]) == (0.004, "exact")
    assert [each["cost"] for each in plain["entrants"]] == [0.004, None]


async def test_a_race_inside_has_prices_of_its_own_and_attempts_count() -> None:
    inner = Race([scripted("one", "a", USED)], prices=PRICES)
    async with Race([inner]).stream("Why?") as stream:
        await stream.collect()
    assert (stream.report.cost, stream.report.cost_known) == (0.004, "exact")
    one = scripted("one", "a", USED)
    one.error, one.chunks = APIConnectionError(), []
    again = Retry(one, on=lambda error: heal(one), base=0)
    async with Race([again], prices=PRICES).stream("Why?") as retried:
        await retried.collect()
    assert (retried.report.cost, retried.report.cost_known) == (0.004, "at_least")


def heal(one: Any) -> bool:
    one.error = None
    one.chunks = ["a", USED]
    return True


@pytest.mark.parametrize("prices", [{"one": 1}, {"one": (1,)}, {"one": (1, -1)}, {"one": ("a", "b")}, [1], "one"])
async def test_what_is_no_table_of_prices_is_refused(prices: Any) -> None:
    with pytest.raises(ValueError, match="prices= is"):
        check_prices(prices)
