"""Measure what hedging brings and what it costs, in virtual time: seconds to the first clean chunk, and extra calls.

Two providers answer after a log-normal time, median 0.5 and 0.6 s, and one call in twenty takes ten times as long.
Calls come at random, four a second. In the brown-out, everything takes ten times as long for a quarter of the calls;
its table has the calls that began in it, and the hedges that were started in it.

A simulation drives the library's own ``Schedule`` and policies by a heap of events. ``--race`` sends calls of the first
seed through the library's own race too, on trio with a clock that jumps, and fails unless every call took as long there
as in the simulation. ``--sockets`` asks simulated services over HTTP on this machine, ten times faster, in real time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice
from math import inf
from random import Random

import trio
from medians import median
from msgspec import Struct
from trio.testing import MockClock

import g4ftrio
from g4ftrio import Policy, adaptive, budget, fallback, parallel, race_iterators, staggered
from g4ftrio._race.policies import Schedule
from g4ftrio.bench import Poisson
from g4ftrio.bench._statistics import PERCENTILES, percentile
from g4ftrio.simulator import Latency, Service, lognormal, run_in_thread, with_stragglers

MEDIANS = {"first": 0.5, "second": 0.6}
SIGMA = 0.35
STRAGGLERS, FACTOR = 0.05, 10
RATE = 4  # calls a second, on average
SLOWER = 10
BROWN_OUT = (3 / 8, 5 / 8)  # of the calls
FASTER = 10  # over sockets

POLICIES: dict[str, Callable[[float], Policy]] = {  # given how long a second is
    "fallback()": lambda second: fallback(),  # noqa: ARG005  # one face for all
    "staggered(1)": staggered,
    "parallel(max_active=2)": lambda second: parallel(max_active=2),  # noqa: ARG005  # likewise
    "adaptive(0.9)": lambda second: adaptive(0.9, 2 * second, second / 20),
    "adaptive(0.95)": lambda second: adaptive(0.95, 2 * second, second / 20),
    "adaptive(0.9, budget=budget(0.1))": lambda second: adaptive(
        0.9, 2 * second, second / 20, budget=budget(0.10, cap=10)
    ),
}
SCENES = ("steady", "brown-out")
COLUMNS = ("p50", "p95", "p99", "p99.9", "extra")


class Call(Struct):
    """A call that is to be made: when, and how long each provider would take."""

    at: float
    takes: dict[str, float]


class Made(Struct):
    """What became of it."""

    at: float
    seconds: float
    hedges: list[float]


class Bar(Struct):
    """What must hold of the medians."""

    scene: str
    policy: str
    most_extra: float  # per cent
    least_cut: float | None = None  # per cent of the 99th percentile with fallback only


BARS = (
    Bar("steady", "adaptive(0.95)", 6.5, 50),
    Bar("steady", "adaptive(0.9, budget=budget(0.1))", 10.5, 70),
    Bar("brown-out", "adaptive(0.9, budget=budget(0.1))", 11),
)


def calls_of(seed: int, number: int, *, brown_out: bool) -> list[Call]:
    """Draw the calls of one run."""
    random, calls = Random(seed), []
    begin, end = (number * share for share in BROWN_OUT)
    for place, at in enumerate(islice(Poisson(RATE).times(random), number)):
        slower = SLOWER if brown_out and begin <= place < end else 1
        calls.append(Call(at, {name: slower * draw(random) for name, draw in latencies().items()}))
    return calls


def latencies(faster: float = 1) -> dict[str, Latency]:
    """How long the providers take."""
    return {
        name: with_stragglers(lognormal(usual / faster, SIGMA), STRAGGLERS, FACTOR) for name, usual in MEDIANS.items()
    }


# The simulation.


class Simulation:
    """A clock, and what is to happen when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Let something happen."""
        heappush(self._events, (time, next(self._number), call))

    def run(self) -> None:
        """Let everything happen."""
        while self._events:
            self.now, _, call = heappop(self._events)
            call()


class Caller:
    """One call, in the simulation: what a race does, without tasks."""

    def __init__(self, simulation: Simulation, call: Call, policy: Policy) -> None:
        self.made = Made(call.at, inf, [])
        self._simulation = simulation
        self._call = call
        self._policy = policy
        self._schedule = Schedule(policy, call.takes)
        self._running: dict[str, float] = {}
        simulation.at(call.at, self._look)

    def _look(self) -> None:
        if self.made.seconds < inf:
            return
        now = self._simulation.now
        while self._schedule.due(len(self._running)) <= now:
            name = self._schedule.start(now, len(self._running))
            if self._running:
                self.made.hedges.append(now)
            self._running[name] = now
            self._simulation.at(now + self._call.takes[name], partial(self._answers, name))
        due = self._schedule.due(len(self._running))
        if due < inf:
            self._simulation.at(due, self._look)
        self._line_up(due == inf and self._schedule.would_hedge(len(self._running)))

    def _line_up(self, short: bool) -> None:
        if self._policy.budget is not None:
            (self._policy.budget.wait if short else self._policy.budget.leave)(self._wake)

    def _wake(self) -> None:
        self._simulation.at(self._simulation.now, self._look)

    def _answers(self, winner: str) -> None:
        if self.made.seconds < inf:
            return
        now = self._simulation.now
        self.made.seconds = now - self._call.at
        for name, started in self._running.items():
            self._policy.decided(name, "won" if name == winner else "lost", now - started)
        self._line_up(False)


def simulate(calls: Sequence[Call], policy: Policy) -> list[Made]:
    """Make the calls in the simulation."""
    simulation = Simulation()
    callers = [Caller(simulation, call, policy) for call in calls]
    simulation.run()
    return [caller.made for caller in callers]


# The same by the library's race.


class Sleeper(AsyncIterator[int]):
    """Gives one item, after a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __anext__(self) -> int:
        await trio.sleep(self._seconds)
        return 1


async def race_all(calls: Sequence[Call], policy: Policy) -> list[Made]:
    """Make the calls as races of iterators, on trio."""
    made = [Made(call.at, inf, []) for call in calls]

    async def make(call: Call, into: Made) -> None:
        openers = {name: partial(Sleeper, seconds) for name, seconds in call.takes.items()}
        async with race_iterators(openers, policy=policy, handoff=True) as items:
            into.seconds = trio.current_time() - call.at
            starts = [record.started_at for record in items.report.entrants]
            into.hedges = [call.at + start for start in starts[1:] if start is not None]

    async with trio.open_nursery() as nursery:
        for call, into in zip(calls, made, strict=True):
            await trio.sleep_until(call.at)
            nursery.start_soon(make, call, into)
    return made


def compare(calls: Sequence[Call], make_policy: Callable[[float], Policy]) -> float:
    """Give by how many seconds a call took longer or shorter in a race than in the simulation, at most."""
    simulated = simulate(calls, make_policy(1))
    raced = trio.run(race_all, calls, make_policy(1), clock=_clock_at_zero())
    apart = [abs(one.seconds - other.seconds) for one, other in zip(simulated, raced, strict=True)]
    hedges = [len(made.hedges) for made in simulated] == [len(made.hedges) for made in raced]
    return max(apart) if hedges else inf


def _clock_at_zero() -> MockClock:
    return MockClock(autojump_threshold=0)


# Over sockets.


def over_sockets(policy: Policy, number: int) -> list[Made]:
    """Ask simulated services, and give what was measured in the units of the others."""
    services = [Service(name, first_token=latency, tokens=1) for name, latency in latencies(FASTER).items()]
    with run_in_thread(services) as fleet:
        entrants = [fleet[name].spec for name in MEDIANS]
        return trio.run(_ask_all, entrants, policy, number)


async def _ask_all(entrants: list[str], policy: Policy, number: int) -> list[Made]:
    made: list[Made] = []
    begin = trio.current_time()

    async def ask(llm: g4ftrio.Race) -> None:
        async with llm.stream("Why?") as stream:
            records = [record for record in stream.report.entrants if record.started_at is not None]
            clean = stream.report.winner and stream.report.winner.clean_at
            made.append(Made(0.0, (clean or inf) * FASTER, [0.0] * (len(records) - 1)))

    async with g4ftrio.Race(entrants, policy=policy) as llm, trio.open_nursery() as nursery:
        for at in islice(Poisson(RATE * FASTER).times(Random(0)), number):
            await trio.sleep_until(begin + at)
            nursery.start_soon(ask, llm)
    return made


# Figures.


def figures(made: Sequence[Made]) -> dict[str, float]:
    """Seconds by percentile, and extra calls in per cent."""
    return {**_percentiles(made), "extra": 100 * sum(len(one.hedges) for one in made) / len(made)}


def brown_out_figures(made: Sequence[Made]) -> dict[str, float]:
    """The same of the calls that began in the brown-out, and of the hedges that did."""
    first, last = (int(len(made) * share) for share in BROWN_OUT)
    begin, end = made[first].at, made[last].at
    hedges = [at for one in made for at in one.hedges if begin <= at < end]
    return {**_percentiles(made[first:last]), "extra": 100 * len(hedges) / (last - first)}


def _percentiles(made: Sequence[Made]) -> dict[str, float]:
    seconds = sorted(one.seconds for one in made)
    return {column: percentile(seconds, PERCENTILES[column.replace(".", "")]) for column in COLUMNS[:-1]}


def run_of(scene: str, seed: int, number: int) -> dict[str, dict[str, float]]:
    """One run with every policy, and how much of the fallback's 99th percentile each cuts."""
    brown_out = scene == "brown-out"
    calls = calls_of(seed, number, brown_out=brown_out)
    look = brown_out_figures if brown_out else figures
    found = {name: look(simulate(calls, make(1))) for name, make in POLICIES.items()}
    return _with_cuts(found)


def _with_cuts(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    alone = found["fallback()"]["p99"]
    return {name: {**row, "cut": 100 * (1 - row["p99"] / alone)} for name, row in found.items()}


def medians(runs: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of every figure."""
    return {
        name: {column: median(run[name][column] for run in runs) for column in (*COLUMNS, "cut")} for name in POLICIES
    }


def missed(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """Say which bars were missed."""
    for bar in BARS:
        row = found[bar.scene][bar.policy]
        if row["extra"] > bar.most_extra:
            yield f"{bar.scene}, {bar.policy}: {row['extra']:.2f} % extra calls, {bar.most_extra:g} at most"
        if bar.least_cut is not None and row["cut"] < bar.least_cut:
            yield f"{bar.scene}, {bar.policy}: cuts p99 by {row['cut']:.1f} %, {bar.least_cut:g} at least"


def table(title: str, found: dict[str, dict[str, float]]) -> Iterator[str]:
    """Write a table in Markdown."""
    yield f"\n{title}\n\n| policy | p50 | p95 | p99 | p99.9 | extra calls | p99 cut by |\n| --- |{' ---: |' * 6}"
    for name, row in found.items():
        seconds = " | ".join(f"{row[column]:.2f}" for column in COLUMNS[:-1])
        yield f"| `{name}` | {seconds} | {row['extra']:.1f} % | {row['cut']:.0f} % |"


def disagreements(number: int) -> Iterator[str]:
    """Say under which policies a race took more than a microsecond longer or shorter than in the simulation."""
    for scene in SCENES:
        calls = calls_of(0, number, brown_out=scene == "brown-out")
        for name, make in POLICIES.items():
            if (apart := compare(calls, make)) > 1e-6:
                yield f"{scene}, {name}: a race took {apart:g} s more or less than its simulation"


def main() -> int:
    """Print tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--race", type=int, metavar="CALLS", help="compare with the library's race")
    parser.add_argument("--sockets", type=int, metavar="CALLS", help="ask simulated services instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.sockets:
        asked = {name: figures(over_sockets(make(1 / FASTER), options.sockets)) for name, make in POLICIES.items()}
        found, failures = {"over sockets, times ten": _with_cuts(asked)}, []
    else:
        seeds = range(options.seeds)
        found = {scene: medians([run_of(scene, seed, options.calls) for seed in seeds]) for scene in SCENES}
        failures = list(missed(found))
    if options.race:
        failures += disagreements(options.race)
    if options.json:
        json.dump({"found": found, "missed": failures}, sys.stdout, indent=1)
    else:
        print(*(line for title, rows in found.items() for line in table(title, rows)), sep="\n")
        print(*failures, sep="\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
