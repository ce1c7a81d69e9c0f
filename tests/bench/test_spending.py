"""What a run may cost, and what it cost: exact sums over scripted answers, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from g4ftrio import Race, SetupError, Usage
from g4ftrio.bench import Constant, Users, made_up, prompts, run, summarize
from g4ftrio.bench._prompts import Prompt
from g4ftrio.bench._spending import Spending, tokens_of
from g4ftrio.bench._targets import resolved
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

MILLION = 1_000_000
PRICES: Mapping[str, tuple[float, float]] = {"a": (1 * MILLION, 10 * MILLION)}  # 1 a token read, 10 a token written
ASK = prompts(["x" * 12], max_tokens=5)  # four tokens with its role, so it may cost 4 + 50


def answering(name: str = "a", *, read: int | None = 4, written: int | None = 2, **settings: Any) -> Scripted:
    usage = [] if written is None else [Usage(read, written)]
    return Scripted(["word", " word", *usage], name=name, **settings)


async def spent(*targets: Any, count: int = 3, load: Any = None, **settings: Any) -> Any:
    return await run([*targets], load or Users(), ASK, count=count, allow_cache=True, **{"prices": PRICES, **settings})


async def test_what_was_spent_is_what_the_service_counted() -> None:
    found = await spent(answering())
    assert found.ending is not None
    assert found.ending.costs == {"a": 3 * (4 + 20)}


async def test_where_it_did_not_count_all_that_it_may_have_written_is_taken() -> None:
    found = await spent(answering(written=None))
    assert found.ending is not None
    assert found.ending.costs == {"a": 3 * (4 + 50)}


async def test_an_error_in_place_of_an_answer_costs_nothing() -> None:
    found = await spent(Scripted([], name="a", error=RuntimeError("no")))
    assert found.ending is not None
    assert found.ending.costs == {"a": 0}


@pytest.mark.parametrize(
    ("most", "sent"),
    [(0, 0), (53, 0), (54, 1), (24 + 53, 1), (24 + 54, 2), (2 * 24 + 53, 2), (2 * 24 + 54, 3), (1000, 3)],
)
async def test_no_request_is_sent_that_might_cost_too_much(most: float, sent: int) -> None:
    found = await spent(answering(), max_cost=most)
    assert (len(found.records), found.ending and found.ending.costs) == (sent, {"a": sent * 24})
    assert (found.ending and found.ending.reason) == ("complete" if most >= 2 * 24 + 54 else "cost")
    assert any("max_cost" in each for each in summarize(found).warnings) == (most < 2 * 24 + 54)


async def test_what_is_under_way_has_its_place_in_the_sum_and_goes_on() -> None:
    """Ten requests within a second, which all last longer: only three of them fit at once."""
    found = await spent(answering(delay=60), count=10, load=Constant(10), max_cost=3 * 54 + 53)
    assert [record.error for record in found.records] == ["", "", ""]
    assert found.ending is not None
    assert (found.ending.reason, found.ending.costs) == ("cost", {"a": 3 * 24})


async def test_of_a_race_everybody_who_was_asked_is_paid() -> None:
    """The loser was left before it counted, so it is taken to have written all that it may."""
    race = Race([answering("a", delay=1), answering("b", delay=2)], name="race")
    prices = {"a": PRICES["a"], "b": (2.0 * MILLION, 20.0 * MILLION)}
    found = await spent(race, prices=prices, count=1)
    assert found.ending is not None
    assert found.ending.costs == {"race": (4 + 20) + (8 + 100)}
    found = await spent(race, prices=prices, count=2, max_cost=(4 + 50) + (8 + 100) - 1)
    assert found.records == ()


def test_a_race_is_quoted_as_all_its_entrants() -> None:
    race = Race([answering("a"), answering("b")], name="race")
    spending = Spending(resolved([race]), {"a": PRICES["a"], "b": (0, 0)}, params={})
    quote = spending.quote("race", ASK[0])
    assert (quote.input_tokens, quote.output_tokens, quote.cost) == (4, {"a": 5, "b": 5}, 54)


@pytest.mark.parametrize("key", ["a", "scripted/large", "mine"])
def test_a_price_is_found_by_name_by_model_and_by_target(key: str) -> None:
    provider = answering(model="large")
    assert Spending(resolved({"mine": provider}), {key: (0, 0)}, params={}).quote("mine", ASK[0]).cost == (
        None if key == "a" else 0  # a target that has a name goes by that
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prices": None}, "max_cost needs prices"),
        ({"prices": {"b": (1, 1)}}, "max_cost needs a price for a"),
        ({"prompts": "Why?"}, "max_cost needs max_tokens"),
        ({"prices": {"a": (1,)}}, "for a million tokens each"),
        ({"prices": {"a": (-1, 1)}}, "for a million tokens each"),
        ({"max_cost": -1}, "max_cost is a sum from 0"),
        ({"max_cost": float("nan")}, "max_cost is a sum from 0"),
    ],
)
async def test_a_limit_that_could_not_be_kept_is_refused(settings: dict[str, Any], said: str) -> None:
    known = {"prompts": ASK, "prices": PRICES, "max_cost": 10.0, **settings}
    with pytest.raises(SetupError, match=said):
        await run([answering()], Users(), known.pop("prompts"), count=1, **known)


async def test_a_bound_on_tokens_may_be_the_providers_or_the_requests() -> None:
    bound = await run([answering(max_tokens=5)], Users(), "Why?", count=1, prices=PRICES, max_cost=100)
    given = await run([answering()], Users(), "Why?", count=1, prices=PRICES, max_cost=100, params={"max_tokens": 5})
    assert len(bound.records) == len(given.records) == 1


def test_tokens_are_estimated_by_characters() -> None:
    content = [{"type": "text", "text": "x" * 10}, {"type": "image_url", "image_url": {"url": "data:image/png;AAAA"}}]
    parts = tokens_of(Prompt([{"role": "user", "content": content}]))
    assert parts == -(-(10 + len("user" + "text" + "image_url")) // 4)
    assert tokens_of(Prompt([], {"tools": [{"name": "x" * 8}]})) == 2
    assert 90 < tokens_of(made_up(100)[0]) < 200
