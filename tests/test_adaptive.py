"""The policy that waits as long as an entrant mostly takes. In virtual time."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import anyio
import pytest

from g4ftrio import Policy, adaptive, race as chat_race
from g4ftrio._words.errors import AllFailed
from g4ftrio.testing import Scripted as ScriptedProvider
from tests import clocks
from tests.entrants import FOREVER, Scripted, outcomes, race

in_virtual_time = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


async def answers(policy: Policy, name: str, *seconds: float) -> None:
    """Let one entrant win, alone, after so long each time."""
    for each in seconds:
        async with race({name: Scripted(each, "A")}, policy=policy):
            pass


async def starts(policy: Policy, **entrants: Scripted) -> list[float | None]:
    racing = race(entrants, policy=policy)
    async with racing:
        pass
    return [record.started_at for record in racing.report.entrants]


def hangs() -> Scripted:
    return Scripted(FOREVER)


def known(policy: Policy) -> Any:
    return policy.state()["latencies"]


@in_virtual_time
async def test_until_there_are_enough_samples_the_head_start_is_the_cold_one() -> None:
    policy = adaptive(0.5, cold=3, min_samples=4)
    await answers(policy, "a", 0.25, 0.5, 0.75)
    assert await starts(policy, a=Scripted(3.5, "A"), b=Scripted(1, "B")) == [0, 3]  # which is the fourth
    assert await starts(policy, a=hangs(), b=Scripted(1, "B")) == [0, 0.5]


@in_virtual_time
async def test_each_has_its_own_percentile() -> None:
    policy = adaptive(0.5, cold=3, min_samples=2)
    await answers(policy, "a", 0.5, 0.5, 0.5)
    await answers(policy, "b", 2, 2, 2)
    assert await starts(policy, a=hangs(), b=hangs(), c=hangs(), d=Scripted("D")) == [0, 0.5, 2.5, 5.5]


@in_virtual_time
async def test_ninety_per_cent_is_ninety_per_cent() -> None:
    policy = adaptive()
    await answers(policy, "a", *(number / 4 for number in range(1, 11)))
    assert await starts(policy, a=hangs(), b=Scripted("B")) == [0, 2.25]


@in_virtual_time
async def test_the_head_start_is_not_shorter_than_the_floor() -> None:
    policy = adaptive(0.5, floor=1, min_samples=2)
    await answers(policy, "a", 0.25, 0.25)
    assert await starts(policy, a=hangs(), b=Scripted("B")) == [0, 1]


@in_virtual_time
async def test_a_loser_is_remembered_as_slower_than_it_was_watched() -> None:
    policy = adaptive(cold=1)
    assert await starts(policy, a=hangs(), b=Scripted(0.5, "B")) == [0, 1]
    assert known(policy) == {
        "b": {"times": [[0.5, True]], "outcomes": [True]},
        "a": {"times": [[1.5, False]], "outcomes": []},
    }


@in_virtual_time
async def test_so_is_one_that_was_running_when_the_caller_gave_up() -> None:
    policy = adaptive()
    with anyio.move_on_after(0.75):
        await answers(policy, "a", FOREVER)
    assert known(policy) == {"a": {"times": [[0.75, False]], "outcomes": []}}


@in_virtual_time
async def test_a_failure_is_no_latency() -> None:
    policy = adaptive()
    for broken in (Scripted(0.25, OSError()), Scripted(0.5, "a"), Scripted(1)):
        with pytest.raises(AllFailed):
            await starts(policy, a=broken)
    assert known(policy) == {"a": {"times": [], "outcomes": [False, False, False]}}


@in_virtual_time
async def test_a_failure_starts_the_next_at_once() -> None:
    policy = adaptive()
    assert await starts(policy, a=Scripted(0.5, OSError()), b=Scripted("B")) == [0, 0.5]


@in_virtual_time
async def test_one_that_hangs_is_not_waited_for_longer_and_longer() -> None:
    policy = adaptive(cold=2)
    await answers(policy, "a", *[0.5] * 20)
    for _ in range(100):
        assert await starts(policy, a=hangs(), b=Scripted(0.5, "B")) == [0, 0.5]
    for _ in range(200):
        last = await starts(policy, a=hangs(), b=Scripted(0.5, "B"))
    assert last == [0, 2]  # what was known of it is forgotten


@in_virtual_time
async def test_one_that_has_become_slower_gets_more_time() -> None:
    policy = adaptive(0.5, min_samples=3)
    await answers(policy, "a", *[0.5] * 5)
    for _ in range(5):
        assert await starts(policy, a=Scripted(1, "A"), b=hangs()) == [0, 0.5]
    await answers(policy, "a", 1)
    assert await starts(policy, a=Scripted(3, "A"), b=hangs()) == [0, 1]


@in_virtual_time
async def test_max_active_holds_for_it_too() -> None:
    policy = adaptive(cold=1, max_active=2)
    assert await starts(policy, a=hangs(), b=Scripted(3, OSError()), c=Scripted("C")) == [0, 1, 4]


@in_virtual_time
async def test_races_of_providers_share_what_the_policy_knows_by_provider_and_model() -> None:
    policy = adaptive(0.5, min_samples=3)
    slow, fast = (ScriptedProvider("Hi", delay=delay, name=name) for name, delay in (("slow", 9), ("fast", 0.5)))
    for _ in range(3):
        async with chat_race([fast], "Hi", policy=policy):
            pass
    assert list(known(policy)) == ["fast"]
    async with chat_race([ScriptedProvider("Hi", delay=FOREVER, name="fast"), slow], "Hi", policy=policy) as stream:
        assert [record.started_at for record in stream.report.entrants] == [0, 0.5]
        assert stream.report.policy == "adaptive(0.5)"
        assert outcomes(stream.report) == {"fast": "lost", "slow": "won"}


@in_virtual_time
async def test_a_model_of_its_own_is_a_key_of_its_own() -> None:
    policy = adaptive()
    for model in ("one", "two"):
        async with chat_race([ScriptedProvider("Hi", model=model)], "Hi", policy=policy):
            pass
    assert list(known(policy)) == ["scripted/one", "scripted/two"]


@in_virtual_time
async def test_what_it_knows_survives_the_process() -> None:
    before, after = (adaptive(0.5, min_samples=3) for _ in range(2))
    await answers(before, "a", 0.5, 0.5, 0.5)
    after.restore(json.loads(json.dumps(before.state())))
    assert after.state() == before.state()
    assert await starts(after, a=hangs(), b=Scripted("B")) == [0, 0.5]


@pytest.mark.parametrize("state", [None, 7, [], {}, {"latencies": 7}, {"latencies": {"a": [1]}}, {"latencies": None}])
def test_a_state_that_is_none_is_ignored(state: Any) -> None:
    policy = adaptive()
    policy.restore({"latencies": {"b": {"times": [[1, True]], "outcomes": []}}})
    policy.restore(state)
    assert known(policy)["b"]["times"] == [[1, True]]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"percentile": 0}, "a percentile is a share between 0 and 1, not 0"),
        ({"percentile": 90}, "a percentile is a share between 0 and 1, not 90"),
        ({"cold": -1}, "cold and floor are numbers of seconds from 0, not -1 and 0.05"),
        ({"floor": inf}, "cold and floor are numbers of seconds from 0, not 2.0 and inf"),
        ({"min_samples": 0}, "min_samples is a number from 1, not 0"),
        ({"max_active": 0}, "max_active is a number from 1 or None, not 0"),
    ],
)
def test_settings_that_make_no_sense_are_errors(settings: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        adaptive(**settings)
