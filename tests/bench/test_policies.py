"""Policies are estimated from what providers did alone, and races do what was estimated."""

from __future__ import annotations

from random import Random

import pytest

from g4ftrio import AllFailed, APIConnectionError, Policy, Race, SetupError, fallback, parallel, staggered
from g4ftrio.bench import Run, Users, policies, run, verify_policies
from g4ftrio.bench._policies import Replayed, Solo, replay
from g4ftrio.testing import Scripted
from tests import clocks
from tests.bench.records import record, run_of

anyio_backend = clocks.virtual_backends

POLICIES = (parallel(), parallel(max_active=1), parallel(max_active=2), staggered(1), staggered(0.25), fallback())


def solos(*seconds: float, failed: str = "") -> dict[str, Solo]:
    return {name: Solo(each, each + 10, failed=name in failed) for name, each in zip("abc", seconds, strict=False)}


@pytest.mark.parametrize(
    ("policy", "row", "expected"),
    [
        (parallel(), solos(3, 1), Replayed("b", 1, 11, 2)),
        (staggered(1), solos(3, 1), Replayed("b", 2, 12, 2)),
        (staggered(1), solos(0.5, 0.1), Replayed("a", 0.5, 10.5, 1)),
        (fallback(), solos(3, 1), Replayed("a", 3, 13, 1)),
        (fallback(), solos(3, 1, failed="a"), Replayed("b", 4, 14, 2)),
        (staggered(9), solos(1, 2, 5, failed="ab"), Replayed("c", 8, 18, 3)),
        (parallel(max_active=2), solos(4, 1, 1, failed="b"), Replayed("c", 2, 12, 3)),
        (parallel(), solos(3, 1, failed="ab"), Replayed(None, 3, 3, 2)),
        (fallback(), solos(3, 1, failed="ab"), Replayed(None, 4, 4, 2)),
    ],
)
def test_a_race_is_replayed_in_virtual_time(policy: Policy, row: dict[str, Solo], expected: Replayed) -> None:
    assert replay(policy, row) == expected


@pytest.mark.anyio
async def test_the_librarys_own_race_does_what_was_replayed() -> None:
    random = Random(8)
    for _ in range(15):
        row = {}
        for name, own in {"a": 1 / 64, "b": 2 / 64, "c": 5 / 64}.items():  # so that no two things happen at once
            seconds = random.randrange(20) / 8 + own
            row[name] = Solo(seconds, seconds, failed=random.random() < 0.3)
        for policy in POLICIES:
            assert await raced(policy, row) == replay(policy, row), (policy, row)


async def raced(policy: Policy, row: dict[str, Solo]) -> Replayed:
    gone = APIConnectionError("gone")
    entrants = [
        Scripted((), delay=solo.decided, error=gone, name=name)
        if solo.failed
        else Scripted("word", delay=solo.decided, name=name)
        for name, solo in row.items()
    ]
    context = Race(entrants, policy=policy).stream("Why?")
    try:
        async with context as stream:
            winner, ended = stream.winner, next(each.clean_at for each in stream.report.entrants if each.clean_at)
    except AllFailed:
        winner, ended = None, max(each.ended_at or 0 for each in context.report.entrants)
    calls = sum(each.started_at is not None for each in context.report.entrants)
    return Replayed(winner, ended, ended, calls)


def recorded(rounds: list[dict[str, float]], **failed: set[int]) -> Run:
    """A run in which providers answered after so many seconds, round by round."""
    return run_of(
        *(
            record(
                name,
                round=number,
                scheduled_at=0.0,
                sent_at=0.0,
                first_content_at=seconds,
                ended_at=seconds + 1,
                error="RateLimitError" if number in failed.get(name, ()) else "",
            )
            for number, row in enumerate(rounds)
            for name, seconds in row.items()
        )
    )


ROUNDS = [{"a": 1.0, "b": 3.0}] * 30 + [{"a": 9.0, "b": 3.0}] * 10


def test_what_policies_buy_is_told_beside_each_provider_and_the_best_in_hindsight() -> None:
    found = {each.name: each for each in policies(recorded(ROUNDS), [parallel(), staggered(2), fallback()], draws=4000)}
    assert [(each.name, each.kind) for each in found.values()] == [
        ("a", "alone"),
        ("b", "alone"),
        ("parallel()", "policy"),
        ("staggered(2)", "policy"),
        ("fallback()", "policy"),
        ("hindsight", "hindsight"),
    ]
    assert {name: each.seconds.max for name, each in found.items()} == {
        "a": 9,
        "b": 3,
        "parallel()": 3,
        "staggered(2)": 5,
        "fallback()": 9,
        "hindsight": 3,
    }
    assert {name: each.extra_calls for name, each in found.items()} == {
        "a": 0,
        "b": 0,
        "parallel()": 1,
        "fallback()": 0,
        "hindsight": 0,
        "staggered(2)": pytest.approx(0.25, abs=0.03),
    }
    assert found["a"].regret == pytest.approx(6 / 4, abs=0.2)
    assert found["staggered(2)"].regret == pytest.approx(2 / 4, abs=0.07)
    assert found["parallel()"].regret == found["hindsight"].regret == 0


def test_percentiles_go_as_far_as_the_rounds_carry_them() -> None:
    seconds = policies(recorded(ROUNDS), [parallel()])[0].seconds
    assert (seconds.count, seconds.p95 is None, seconds.p99) == (10_000, False, None)


def test_failures_count_against_who_asks_one_alone() -> None:
    run = recorded(ROUNDS[:4], a={0, 1})
    found = {each.name: each for each in policies(run, [fallback()], draws=1000)}
    assert found["a"].error_share == pytest.approx(0.5, abs=0.05)
    assert found["fallback()"].error_share == 0
    assert found["fallback()"].seconds.max == 2 + 3  # a failed after two seconds, when its answer would have ended


def test_the_whole_answer_can_be_told_instead() -> None:
    found = policies(recorded(ROUNDS), [parallel()], goal="end_to_end", draws=100)
    assert found[2].seconds.max == 4


def test_estimates_are_repeated_by_the_seed_and_the_usual_policies_go_by_the_first_provider() -> None:
    run = recorded(ROUNDS)
    assert policies(run, draws=500, seed=1) == policies(run, draws=500, seed=1) != policies(run, draws=500, seed=2)
    names = [each.name for each in policies(run, draws=10) if each.kind == "policy"]
    assert names[:3] == ["parallel()", "staggered(1)", "staggered(9)"]
    assert names[-1] == "fallback()"


def test_what_cannot_be_estimated_is_told() -> None:
    with pytest.raises(SetupError, match="at least two providers"):
        policies(recorded([{"a": 1.0}]))
    with pytest.raises(SetupError, match="no round in which a, b were all asked"):
        policies(recorded([{"a": 1.0}, {"b": 1.0}]))


@pytest.mark.anyio
async def test_policies_are_verified_by_asking() -> None:
    providers = {"a": Scripted("x", delay=1, name="a"), "b": Scripted("y", delay=3, name="b")}
    alone = await run(providers, Users(), count=10)
    tried = {each.name: each for each in await verify_policies(alone, providers, [parallel(), staggered(0.5)], count=6)}
    assert [tried[name].measured.p50 for name in ("parallel()", "staggered(0.5)")] == [1, 1]
    assert all(each.agrees and each.estimated.p50 == 1 for each in tried.values())
    assert [each.measured_extra_calls for each in tried.values()] == [1, 1]
    slower = {"a": Scripted("x", delay=2, name="a"), "b": Scripted("y", delay=3, name="b")}
    (changed,) = await verify_policies(alone, slower, [fallback()], count=6)
    assert (changed.agrees, changed.estimated.p50, changed.measured.p50) == (False, 1, 2)
