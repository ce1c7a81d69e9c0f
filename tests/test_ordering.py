"""Whom a race starts first: by what is known of each, with a little exploration."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio import Race, adaptive, fallback, parallel, race
from g4ftrio._race.latencies import Latencies
from g4ftrio._race.ordering import Ordering
from g4ftrio._words.errors import AllFailed
from g4ftrio.testing import Scripted
from tests import clocks

in_virtual_time = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

KEYS = ("a", "b", "c")


def known(**seconds: float) -> Latencies:
    latencies = Latencies()
    for key, time in seconds.items():
        latencies.answered(key, time)
    return latencies


def order(by: Any, latencies: Latencies | None = None, **options: Any) -> str:
    return "".join(KEYS[turn] for turn in Ordering(by, **{"explore": 0, **options}).turns(KEYS, latencies))


def test_as_given_is_as_given() -> None:
    assert order("given", known(a=9, b=1)) == "abc"
    assert order("latency", None) == "abc"
    assert order("latency", Latencies()) == "abc"


def test_by_latency_the_fastest_comes_first_after_those_that_are_not_known_yet() -> None:
    assert order("latency", known(a=3, b=2, c=1)) == "cba"
    assert order("latency", known(a=3, b=2)) == "cba"
    assert order("latency", known(a=3)) == "bca"


def test_by_latency_who_never_answered_comes_last_and_who_often_fails_late() -> None:
    latencies = known(a=2, b=1.5)
    latencies.failed("c")
    assert order("latency", latencies) == "bac"
    latencies.failed("b")
    assert order("latency", latencies) == "abc"


def test_by_success_the_most_dependable_comes_first() -> None:
    latencies = known(a=1, b=1, c=1)
    latencies.failed("a")
    assert order("success", latencies) == "bca"
    latencies.failed("b")
    latencies.failed("b")
    assert order("success", latencies) == "cab"


def test_by_price_the_cheapest_comes_first_and_who_has_none_last() -> None:
    assert order("price", prices={"c": (1, 4), "b": (0.5, 6)}) == "cba"  # three read for one written: 7 against 7.5
    assert order("price", prices={"b": (0, 0)}) == "bac"


def test_a_share_of_the_races_begins_with_another_one() -> None:
    ordering, latencies = Ordering("latency", explore=0.1, seed=1), known(a=1, b=2, c=3)
    firsts = [ordering.turns(KEYS, latencies) for _ in range(1000)]
    assert {len(set(turns)) for turns in firsts} == {3}
    explored = [turns for turns in firsts if turns[0] != 0]
    assert 80 < len(explored) < 120
    assert sorted({tuple(turns) for turns in explored}) == [(1, 0, 2), (2, 0, 1)]


def test_the_exploration_of_a_seed_can_be_repeated() -> None:
    latencies = known(a=1, b=2, c=3)
    one, other = (Ordering("success", explore=0.5, seed=7) for _ in range(2))
    assert [one.turns(KEYS, latencies) for _ in range(50)] == [other.turns(KEYS, latencies) for _ in range(50)]


def test_one_alone_is_first() -> None:
    assert Ordering("latency", explore=1).turns(["a"], Latencies()) == [0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"by": "speed"}, "order is one of given, latency, success, price, not 'speed'"),
        ({"explore": 2}, "explore is a share from 0 to 1, not 2"),
        ({"by": "price"}, 'order="price" needs prices='),
        ({"by": "price", "prices": {"a": 3}}, "the price of a is .* not 3"),
        ({"by": "price", "prices": {"a": (1, -1)}}, "the price of a is .* not"),
        ({"by": "price", "prices": {"a": (1, float("nan"))}}, "the price of a is .* not"),
    ],
)
def test_an_order_that_makes_no_sense_is_an_error(options: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Ordering(**options)


# In races of providers.


def providers(**seconds: float) -> list[Scripted]:
    return [Scripted("Hello", delay=delay, name=name) for name, delay in seconds.items()]


async def winners(llm: Race, count: int) -> str:
    won = []
    for _ in range(count):
        async with llm.stream("Hi") as stream:
            won.append(stream.winner or "?")
    return "".join(won)


@in_virtual_time
async def test_a_race_by_latency_tries_each_and_then_asks_the_fastest_first() -> None:
    llm = Race(providers(a=3, b=1, c=2), policy=fallback(), order="latency", explore=0)
    assert await winners(llm, 6) == "abcbbb"
    assert str(llm.policy) == "fallback()"


@in_virtual_time
async def test_a_provider_that_has_recovered_is_found_again() -> None:
    a, b = providers(a=1, b=2)
    llm = Race([a, b], policy=fallback(), order="latency", explore=0.1, seed=2)
    assert (await winners(llm, 20)).count("a") > 12
    a.delay = 9
    assert (await winners(llm, 60))[-20:].count("a") < 5
    a.delay = 1
    assert (await winners(llm, 120))[-20:].count("a") > 12


@in_virtual_time
async def test_a_bare_race_goes_by_what_its_policy_remembers() -> None:
    policy = adaptive()
    policy.restore({"latencies": {**known(b=1).to_dict(), "a": {"outcomes": [False]}}})
    firsts = []
    for _ in range(100):
        async with race(providers(a=1.5, b=1), "Hi", policy=policy, order="success") as stream:
            firsts.append(stream.report.entrants[0].name)
    assert firsts.count("b") > 80


@in_virtual_time
async def test_a_race_by_price_asks_the_cheapest_first() -> None:
    prices = {"b": (0.1, 0.4), "a": (1.0, 4.0)}
    async with race(providers(a=1, b=2), "Hi", policy=fallback(), order="price", prices=prices) as stream:
        assert stream.winner == "b"


@in_virtual_time
async def test_doubles_share_what_is_known_and_keep_their_names() -> None:
    llm = Race(providers(a=1, b=2) + providers(a=3), policy=parallel(), order="latency", explore=0)
    assert await winners(llm, 2) == "aa"
    async with llm.stream("Hi") as stream:
        assert [record.name for record in stream.report.entrants] == ["a", "a#2", "b"]
        assert sorted(llm.policy.state()["latencies"]) == ["a", "b"]


@in_virtual_time
async def test_failures_are_told_to_the_policy_once_each() -> None:
    policy = adaptive()
    broken = Scripted(error=OSError("down"), name="a")
    with pytest.raises(AllFailed):
        async with race([broken, Scripted("", name="b")], "Hi", policy=policy):
            pass
    assert policy.state()["latencies"] == {
        "a": {"times": [], "outcomes": [False]},
        "b": {"times": [], "outcomes": [False]},
    }
