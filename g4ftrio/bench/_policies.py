"""Which policy to take: what each would have bought, by what the providers did when they were asked alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from g4ftrio._compositions.race import Race
from g4ftrio._race import policies as _policies
from g4ftrio._race.policies import Policy, Schedule, fallback, parallel, staggered
from g4ftrio._words.errors import SetupError
from g4ftrio.bench._chance import chance
from g4ftrio.bench._load import Load, Users
from g4ftrio.bench._measures import is_answered
from g4ftrio.bench._prompts import PromptTypes
from g4ftrio.bench._records import RequestRecord, Run
from g4ftrio.bench._run import run as run_live
from g4ftrio.bench._statistics import Statistics, percentile
from g4ftrio.bench._summary import summarize
from g4ftrio.providers import ProviderTypes

__all__ = ("PolicyEstimate", "Replayed", "Solo", "Verified", "policies", "replay", "verify_policies")

Goal: TypeAlias = Literal["first_content", "end_to_end"]


class Solo(Struct, frozen=True):
    """What one provider did with one request, asked alone.

    :ivar decided: seconds until its first clean content, or until it had failed
    :ivar ended: seconds until its answer was whole
    """

    decided: float
    ended: float
    failed: bool = False


class Replayed(Struct, frozen=True):
    """What a race would have been.

    :ivar winner: None if all failed
    :ivar seconds: until it was decided
    :ivar ended: until the answer was whole
    """

    winner: str | None
    seconds: float
    ended: float
    calls: int


class PolicyEstimate(Struct, frozen=True, kw_only=True):
    """What one way to ask would have given.

    :ivar kind: one provider alone, a policy, or the fastest provider each time, which nobody can know
    :ivar seconds: of the draws that were answered
    :ivar extra_calls: providers that are asked beyond the first, for each request
    :ivar regret: seconds behind the fastest provider in hindsight, on average
    """

    name: str
    kind: Literal["alone", "policy", "hindsight"]
    seconds: Statistics
    extra_calls: float
    error_share: float
    regret: float


def policies(
    run: Run,
    candidates: Sequence[Policy] | None = None,
    *,
    names: Sequence[str] | None = None,
    goal: Goal = "first_content",
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[PolicyEstimate, ...]:
    """Estimate what policies buy against each provider alone, at no cost.

    A draw is one round of the run: what each provider did with the same prompt at about the same time, so that what
    slows all of them is not taken for luck. Each policy's own schedule is driven in virtual time through the same
    draws. What it leaves out: a provider that is asked by more races at a time may be slower than it was alone. There
    are percentiles only as far as the rounds carry them, however many are drawn.

    :param candidates: ``parallel()``, ``fallback()`` and head starts at the first provider's own percentiles by default
    :param names: the providers in the order of the race; by default the run's targets that are no races
    :param goal: what is told: seconds until the first clean content, or until the whole answer
    :raises SetupError: there are no two such providers, or no round in which all of them were asked
    """
    names = names or [name for name in run.setup.targets if name not in run.setup.races]
    if len(names) < 2:
        raise SetupError("policies are estimated from at least two providers that were asked alone in the same run")
    rounds = _rounds(run, names)
    random = chance(seed, "policies")
    drawn = [rounds[random.randrange(len(rounds))] for _ in range(draws)]
    best = [_alone(min(row, key=lambda name: _rank(row[name])), row) for row in drawn]
    chosen = candidates if candidates is not None else _usual([row[names[0]] for row in rounds])

    def told(name: str, kind: Literal["alone", "policy", "hindsight"], made: Sequence[Replayed]) -> PolicyEstimate:
        return _estimate(name, kind, made, best, goal, len(rounds))

    return (
        *(told(name, "alone", [_alone(name, row) for row in drawn]) for name in names),
        *(told(str(policy), "policy", _replayed(policy, drawn)) for policy in chosen),
        told("hindsight", "hindsight", best),
    )


def replay(policy: Policy, solos: Mapping[str, Solo]) -> Replayed:
    """Race what providers did alone, in virtual time.

    :param solos: what each would do, in the order of the race
    """
    schedule, running, now, calls = Schedule(policy, solos), dict[str, float](), 0.0, 0
    while True:
        while schedule.due(len(running)) <= now:
            running[schedule.start(now, len(running))] = now
            calls += 1
        if not running and not schedule:
            return Replayed(None, now, now, calls)
        ends = {name: began + solos[name].decided for name, began in running.items()}
        first = min(ends, key=ends.__getitem__)
        now = min(ends[first], schedule.due(len(running)))
        if now < ends[first]:
            continue
        began = running.pop(first)
        if not solos[first].failed:
            _learn(policy, {**running, first: began}, first, now)
            return Replayed(first, now, began + solos[first].ended, calls)
        _learn(policy, {first: began}, None, now)
        schedule.failed()


class Verified(Struct, frozen=True, kw_only=True):
    """A policy as it was estimated, and as it was when it was tried.

    :ivar agrees: whether the intervals of the medians meet; None without enough requests
    """

    name: str
    estimated: Statistics
    measured: Statistics
    estimated_extra_calls: float
    measured_extra_calls: float
    agrees: bool | None


async def verify_policies(
    run: Run,
    providers: Mapping[str, ProviderTypes],
    candidates: Sequence[Policy],
    prompts: PromptTypes = "Why is the sky blue?",
    *,
    load: Load | None = None,
    count: int = 100,
    goal: Goal = "first_content",
    seed: int = 0,
    **live: Any,
) -> tuple[Verified, ...]:
    """Try policies for real, and hold that against what ``policies`` says of them. It costs what the races cost.

    :param run: in which the providers were asked alone
    :param providers: by their names in that run, in the order of the race
    :param load: of the races, one user by default
    :param live: the other options of ``run``
    """
    estimates = policies(run, candidates, names=list(providers), goal=goal, seed=seed)
    estimated = {each.name: each for each in estimates if each.kind == "policy"}
    races = {str(policy): Race(list(providers.values()), policy=_forgetful(policy)) for policy in candidates}
    tried = await run_live(races, load or Users(1), prompts, count=count, seed=seed, **live)
    measured = summarize(tried).targets
    return tuple(_verified(estimated[name], each.measures[goal], each.race) for name, each in measured.items())


def _verified(estimate: PolicyEstimate, measured: Statistics, race: Any) -> Verified:
    ours, theirs = estimate.seconds.intervals.get("p50"), measured.intervals.get("p50")
    return Verified(
        name=estimate.name,
        estimated=estimate.seconds,
        measured=measured,
        estimated_extra_calls=estimate.extra_calls,
        measured_extra_calls=race.extra_calls if race is not None else 0.0,
        agrees=None if ours is None or theirs is None else ours.low <= theirs.high and theirs.low <= ours.high,
    )


def _rounds(run: Run, names: Sequence[str]) -> list[dict[str, Solo]]:
    """What each provider did, round by round; rounds in which somebody was not asked, or broken off, are left out."""
    found: dict[int, dict[str, Solo]] = {}
    for record in run.records:
        if record.phase == "measured" and record.target in names and not record.cancelled:
            found.setdefault(record.round, {})[record.target] = _solo(record)
    rounds = [{name: row[name] for name in names} for _, row in sorted(found.items()) if len(row) == len(names)]
    if not rounds:
        raise SetupError(f"there is no round in which {', '.join(names)} were all asked alone")
    return rounds


def _solo(record: RequestRecord) -> Solo:
    ended = record.ended_at - record.sent_at
    if not is_answered(record) or record.first_content_at is None:
        return Solo(ended, ended, failed=True)
    return Solo(record.first_content_at - record.sent_at, ended)


def _alone(name: str, row: Mapping[str, Solo]) -> Replayed:
    solo = row[name]
    return Replayed(None if solo.failed else name, solo.decided, solo.ended, 1)


def _rank(solo: Solo) -> float:
    return inf if solo.failed else solo.decided


def _usual(first: Sequence[Solo]) -> list[Policy]:
    """The policies to choose among, with head starts that go by how long the first provider takes."""
    times = sorted(solo.decided for solo in first if not solo.failed)
    shares = (0.5, 0.9, 0.95) if times else ()
    starts = {float(f"{percentile(times, share):.2g}"): None for share in shares}
    learnt: Callable[[], Policy] | None = getattr(_policies, "adaptive", None)
    return [parallel(), *map(staggered, starts), *([learnt()] if learnt else []), fallback()]


def _replayed(policy: Policy, drawn: Sequence[Mapping[str, Solo]]) -> list[Replayed]:
    if getattr(policy, "latencies", None) is None and getattr(policy, "budget", None) is None:
        once = {id(row): row for row in drawn}  # who remembers nothing does the same each time
        made = {key: replay(policy, row) for key, row in once.items()}
        return [made[id(row)] for row in drawn]
    fresh = _forgetful(policy)
    return [replay(fresh, row) for row in drawn]


def _estimate(
    name: str,
    kind: Literal["alone", "policy", "hindsight"],
    made: Sequence[Replayed],
    best: Sequence[Replayed],
    goal: Goal,
    rounds: int,
) -> PolicyEstimate:
    answered = [each for each in made if each.winner is not None]
    behind = [_told(each, goal) - _told(first, goal) for each, first in zip(made, best, strict=True) if each.winner]
    return PolicyEstimate(
        name=name,
        kind=kind,
        seconds=Statistics.of((_told(each, goal) for each in answered), behind=rounds),
        extra_calls=sum(each.calls for each in made) / len(made) - 1,
        error_share=1 - len(answered) / len(made),
        regret=sum(behind) / len(behind) if behind else 0.0,
    )


def _told(made: Replayed, goal: Goal) -> float:
    return made.seconds if goal == "first_content" else made.ended


def _learn(policy: Policy, running: Mapping[str, float], winner: str | None, now: float) -> None:
    """Tell a policy that learns what became of those who ran, as a race does."""
    decided: Callable[[str, str, float], object] | None = getattr(policy, "decided", None)
    if decided is not None:
        for name, began in running.items():
            outcome = "failed" if winner is None else "won" if name == winner else "lost"
            decided(name, outcome, now - began)


def _forgetful(policy: Policy) -> Policy:
    """The same policy, without what it has learnt, so that nothing of an estimate stays in it."""
    latencies = getattr(policy, "latencies", None)
    return policy if latencies is None else replace(policy, latencies=type(latencies)())
