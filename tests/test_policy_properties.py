"""Random races under every policy, in virtual time on both loops, and what must be true of each whatever happens.

A play is a few races at once that share one policy, and so its memory and its budget. Each entrant has a script: after
a while it wins, fails, ends, or hangs; its closing may take a while or fail too; and a caller may give up. What a race
does is written down by its keeper, in the order in which it happens, and read afterwards.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings, strategies as st
from trio.testing import MockClock

from g4ftrio._race.budget import budget
from g4ftrio._race.keeper import NoKeeper
from g4ftrio._race.policies import Policy, adaptive, fallback, parallel, staggered
from g4ftrio._words.errors import AllFailed
from g4ftrio._words.report import EntrantReport
from tests.clocks import VirtualLoop
from tests.entrants import FOREVER, Line, race_of

WON, FAILED, EMPTY, HANGS = "won", "failed", "empty", "hangs"
NAMES = "abcde"
FLOOR = 0.25


class Script(NamedTuple):
    """How it goes with one entrant."""

    seconds: float
    ending: str
    opening: float = 0.0
    closing: float = 0.0

    def line(self) -> Line:
        last: dict[str, list[Any]] = {WON: ["A"], FAILED: [OSError("it broke")], EMPTY: ["a"], HANGS: [FOREVER]}
        return Line(self.seconds, *last[self.ending], opening=self.opening, closing=self.closing)


class Running(NamedTuple):
    """One race: when it begins, who is in it, and when its caller gives up."""

    begins: float
    scripts: list[Script]
    patience: float


class Event(NamedTuple):
    """What a keeper was told."""

    at: float
    race: int
    kind: str
    name: str


class Play:
    """Races under one policy, and all that happened."""

    def __init__(self, policy: Policy, races: list[Running]) -> None:
        self.policy = policy
        self.races = races
        self.events: list[Event] = []
        self.winners: dict[int, str] = {}
        self.endings: dict[int, str] = {}

    async def run(self) -> None:
        self._zero = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number, race in enumerate(self.races):
                tasks.start_soon(self._race, number, race)

    def note(self, number: int, kind: str, name: str) -> None:
        self.events.append(Event(anyio.current_time() - self._zero, number, kind, name))

    async def _race(self, number: int, race: Running) -> None:
        await anyio.sleep(race.begins)
        lines = {name: script.line() for name, script in zip(NAMES, race.scripts, strict=False)}
        engine = race_of(lines, policy=self.policy, keeper=Noting(self, number), grace=1)
        self.endings[number] = "cancelled"
        with anyio.move_on_after(race.patience):
            try:
                async with engine as won:
                    self.winners[number] = won.entrant.name
                    self.endings[number] = "won"
            except AllFailed:
                self.endings[number] = "all failed"


class Noting(NoKeeper):
    """Writes down what it is told of one race."""

    def __init__(self, play: Play, number: int) -> None:
        self._play = play
        self._number = number

    def started(self, name: str) -> None:
        self._play.note(self._number, "started", name)

    def decided(self, record: EntrantReport, seconds: float) -> None:
        assert seconds >= 0
        self._play.note(self._number, record.outcome, record.name)

    def ended(self, name: str) -> None:
        self._play.note(self._number, "ended", name)


QUARTERS = st.integers(0, 12).map(lambda quarters: quarters / 4)
SCRIPTS = st.builds(
    Script,
    QUARTERS,
    st.sampled_from([WON, FAILED, FAILED, EMPTY, HANGS]),
    st.sampled_from([0.0, 0.0, 0.25, 1.0]),
    st.sampled_from([0.0, 0.0, 0.5, 9.0]),
)
RACES = st.builds(
    Running, QUARTERS, st.lists(SCRIPTS, min_size=1, max_size=len(NAMES)), st.sampled_from([0.0, 0.5, 2.0, 5.0, 60.0])
)
BUDGETS = st.none() | st.builds(lambda *given: lambda: budget(*given), st.sampled_from([0, 0.25, 1]), st.integers(1, 3))
MOST = st.none() | st.integers(1, 3)


@st.composite
def policies(draw: st.DrawFn) -> Callable[[], Policy]:
    """A function that makes a policy, with a budget of its own."""
    make_budget, most, seconds = draw(BUDGETS), draw(MOST), draw(QUARTERS)
    kind = draw(st.sampled_from(["parallel", "staggered", "adaptive", "fallback"]))

    def make() -> Policy:
        saved = make_budget() if make_budget else None
        match kind:
            case "parallel":
                return parallel(max_active=most, budget=saved)
            case "staggered":
                return staggered(seconds, max_active=most, budget=saved)
            case "adaptive":
                return adaptive(0.5, cold=seconds, floor=FLOOR, min_samples=1, max_active=most, budget=saved)
        return fallback(budget=saved)

    return make


def play(policy: Policy, races: list[Running], backend: str) -> Play:
    played = Play(policy, races)
    if backend == "trio":
        trio.run(played.run, clock=MockClock(autojump_threshold=0))
    else:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(played.run())
    return played


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(make_policy=policies(), races=st.lists(RACES, min_size=1, max_size=4))
@example(make_policy=lambda: parallel(budget=budget(0, 1)), races=[Running(0, [Script(1, HANGS)] * 3, 5)] * 3)
@example(make_policy=lambda: staggered(0), races=[Running(0, [Script(1, FAILED)] * 5, 60)])
def test_what_is_true_of_every_race(backend: str, make_policy: Callable[[], Policy], races: list[Running]) -> None:
    played = play(make_policy(), races, backend)
    for number, race in enumerate(races):
        events = [event for event in played.events if event.race == number]
        check_that_everybody_comes_and_goes_once(events)
        check_that_one_wins(played, number, events)
        check_how_many_run(events, played.policy.max_active)
        given_up = race.begins + race.patience
        check_that_a_failure_starts_the_next_at_once([event for event in events if event.at < given_up], race)
        check_the_head_starts(events, played.policy)
    check_the_budget(played)


def check_that_everybody_comes_and_goes_once(events: list[Event]) -> None:
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event.name, []).append(event.kind)
    for name, met in kinds.items():
        assert len(met) == 3, (name, met)
        assert met[0] == "started"
        assert Counter(met)["ended"] == 1
        outcome = next(kind for kind in met[1:] if kind != "ended")
        assert outcome in {"won", "lost", "failed", "rejected", "cancelled"}
        assert met[2] == "ended" or outcome in {"lost", "cancelled"}  # one cancelled from outside may have ended before
    assert [event.name for event in events if event.kind == "started"] == list(NAMES[: len(kinds)])


def check_that_one_wins(played: Play, number: int, events: list[Event]) -> None:
    outcomes = Counter(event.kind for event in events)
    ending = played.endings.get(number)
    won = played.winners.get(number)
    assert outcomes["won"] <= 1
    assert [event.name for event in events if event.kind == "won"] == ([won] if won else []) or ending == "cancelled"
    if ending == "all failed":
        assert outcomes["failed"] + outcomes["rejected"] == len(played.races[number].scripts) == outcomes["started"]
    decided_at = [place for place, event in enumerate(events) if event.kind in {"won", "cancelled"}]
    assert not [event for event in events[min(decided_at, default=len(events)) :] if event.kind == "started"]


def check_how_many_run(events: list[Event], most: int | None) -> None:
    active = 0
    for event in events:
        active += {"started": 1, "ended": 0}.get(event.kind, -1)
        assert active <= (most or len(NAMES))
    assert active == 0


def check_that_a_failure_starts_the_next_at_once(events: list[Event], race: Running) -> None:
    waiting = len(race.scripts)
    for moment in sorted({event.at for event in events}):
        now = Counter(event.kind for event in events if event.at == moment)
        if not now["won"]:
            assert now["started"] >= min(now["failed"] + now["rejected"], waiting)
        waiting -= now["started"]


def hedges(events: list[Event]) -> list[Event]:
    """The starts beside a running one that do not replace one that failed."""
    found, active, owed = [], 0, 0
    for event in events:
        if event.kind == "started":
            if active and not owed:
                found.append(event)
            active, owed = active + 1, max(0, owed - 1)
        elif event.kind != "ended":
            active -= 1
            owed += event.kind in {"failed", "rejected"}
    return found


def check_the_head_starts(events: list[Event], policy: Policy) -> None:
    starts = [event.at for event in events if event.kind == "started"]
    for hedge in hedges(events):
        place = next(place for place, event in enumerate(events) if event is hedge)
        before = [event.at for event in events[:place] if event.kind == "started"][-1]
        least = min(FLOOR, policy.delay) if policy.name == "adaptive" else policy.delay
        assert hedge.at - before >= least - 1e-9
    if policy.name == "fallback":
        assert not hedges(events)
    if policy == parallel():
        assert len(set(starts)) <= 1


def check_the_budget(played: Play) -> None:
    saved = played.policy.budget
    if saved is None:
        return
    begun: set[int] = set()
    spent = {id(hedge) for number in range(len(played.races)) for hedge in hedges(by_race(played, number))}
    hedged = 0
    for event in played.events:
        begun.add(event.race)
        hedged += id(event) in spent
        assert hedged <= saved.cap + saved.ratio * len(begun) + 1e-9
    assert saved.saved + 1e-9 >= 0
    assert saved.saved <= saved.cap
    assert not saved._line


def by_race(played: Play, number: int) -> list[Event]:
    return [event for event in played.events if event.race == number]
