"""One benchmark from the command line: who is asked, how it goes, what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from msgspec import Struct

from g4ftrio._compositions.race import Race
from g4ftrio._drawing.units import counted
from g4ftrio._race.policies import Policy, adaptive, fallback, parallel, staggered
from g4ftrio._words.bill import Price
from g4ftrio._words.errors import SetupError
from g4ftrio._words.timeouts import Timeout
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.bench import (
    Goals,
    Load,
    Prompts,
    Run,
    Stop,
    Users,
    Verified,
    Writer,
    run,
    stored,
    summarize,
    verify_policies,
)
from g4ftrio.bench._findings import findings, verified_grid
from g4ftrio.bench._load import arrivals
from g4ftrio.bench._merged import compared, merged
from g4ftrio.bench._options import Options, RunOptions
from g4ftrio.bench._quotes import costs, quotes
from g4ftrio.bench._spending import Spending
from g4ftrio.bench._targets import Target, resolved
from g4ftrio.cli._demo import as_providers
from g4ftrio.cli._entrants import hint, named
from g4ftrio.cli._failure import FAILED, exit_status, in_words
from g4ftrio.cli._found import origin
from g4ftrio.cli._gauge import choose
from g4ftrio.cli._result import Files, show, tell
from g4ftrio.cli._screen import Screen
from g4ftrio.cli._signals import until_interrupted
from g4ftrio.simulator import DEMO, serve

__all__ = ("Order", "bench", "report")

_HEDGED = 0.9  # the percentile of what is known of the first after which the next is asked
_COUNTED = 100_000  # requests that are counted ahead, to say how many there will be


class Order(Struct, kw_only=True, frozen=True):
    """What a command line asks for.

    :ivar specs: whom to ask alone
    :ivar races: specs of entrants, separated by commas, for each race
    """

    specs: Sequence[str]
    races: Sequence[str]
    model: str | None
    load: Load
    prompts: Prompts
    options: RunOptions
    params: dict[str, Any]
    prices: Mapping[str, Price]
    timeout: Timeout
    policy: Policy
    goals: Goals
    verify_policies: bool
    dry_run: bool
    quiet: bool
    jsonl_to: Path | None
    files: Files


def bench(order: Order, loop: str) -> int:
    """Run a benchmark, tell what came of it, and give the exit status; interrupted, it tells what there is."""
    order.files.check(order.jsonl_to)
    with TemporaryDirectory(prefix="g4ftrio-") as folder:
        course = _Course(order, Path(folder) / "run.jsonl")
        status = anyio.run(_until_stopped, course, backend=loop)
        return status if course.run is None else _told(course, course.run, status)


def _told(course: _Course, measured: Run, status: int) -> int:
    """Tell what came of it, and give the exit status."""
    order = course.order
    found = findings(measured, order.goals)
    if measured.ending is not None and measured.ending.costs:
        found.append(costs(measured.ending.costs))
    if course.verified:
        found.append(verified_grid(course.verified))
    summary = summarize(measured, goals=order.goals)
    written = show(measured, summary, order.files, found)
    return status or written or (0 if any(target.answered for target in summary.targets.values()) else FAILED)


def report(paths: Sequence[Path], files: Files) -> int:
    """Tell what came of runs that were written down; of several, how they compare."""
    files.check()
    runs = {name: stored(path) for name, path in zip(_names(paths), paths, strict=True)}
    whole = merged(runs)
    return show(whole, compared(runs, whole), files, findings(whole) if len(runs) == 1 else [])


async def _until_stopped(course: _Course) -> int:
    return await until_interrupted(course, end=course.stop)


class _Course:
    """A benchmark from the choice of the targets to the last answer.

    :param spare: the file in which the requests are kept while it runs, where none is wanted
    """

    def __init__(self, order: Order, spare: Path) -> None:
        self.order = order
        self._spare = spare
        self._screen = Screen()
        self.stop = Stop()
        self.run: Run | None = None
        self.verified: Sequence[Verified] = ()

    async def __call__(self) -> int:
        """Measure, and give the exit status; what is wrong is told."""
        try:
            await self._choose()
        except Exception as error:  # noqa: BLE001  # a wrong set-up, or what the set-up of a foreign provider raises
            self._screen.tell(f"g4ftrio: {in_words(error)}")
            return exit_status(error)
        return 0

    async def _choose(self) -> None:
        order = self.order
        if order.specs or order.races:
            races = [_race(specs, order) for specs in order.races]
            return await self._measure(resolved([*named(order.specs, order.model), *races]))
        self._note(await hint("g4ftrio bench"))
        async with serve(DEMO) as fleet:
            providers = as_providers(fleet)
            return await self._measure(resolved([*providers, Race(as_providers(fleet), policy=order.policy)]))

    async def _measure(self, targets: Sequence[Target]) -> None:
        order = self.order
        total = _total(order, len(targets))
        self._note(_announcement(targets, order, total))
        if order.dry_run:
            self._quote(targets, total)
            return
        asked = {target.name: target.provider for target in targets}
        gauge = choose(asked, total, quiet=order.quiet)
        with Writer(order.jsonl_to or self._spare) as writer:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(gauge.follow)
                failure = await self._ask(asked, writer, on_record=gauge.add)
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if order.verify_policies and not self.stop.is_called:
            await self._verify({target.name: target.provider for target in targets if not target.entrants})

    def _quote(self, targets: Sequence[Target], total: int | None) -> None:
        """Tell what would be sent, and what it would cost."""
        order = self.order
        spending = Spending(targets, order.prices, params=order.params, most=order.options["max_cost"])
        spending.check(order.prompts)
        rounds = None if total is None else total // len(targets)
        tell([quotes([target.name for target in targets], spending, order.prompts, rounds)], sys.stdout)

    async def _ask(self, asked: Mapping[str, AbstractProvider], to: Writer, **more: Any) -> Exception | None:
        """Run it; what is wrong is given, so that no group of errors is made of it.

        The requests stay in the file, however many they are, but for one that cannot be read again: a pipe.
        """
        order = self.order
        known: dict[str, Any] = {"params": order.params, "timeout": order.timeout, "stop": self.stop}
        known |= {"prices": order.prices, "to": to, "keep": not to.path.is_file()}
        try:
            measured = await run(asked, order.load, order.prompts, **known, **more, **order.options)
            self.run = measured if known["keep"] else stored(to.path)
        except Exception as error:  # noqa: BLE001  # told by whoever called
            return error
        return None

    async def _verify(self, alone: Mapping[str, AbstractProvider]) -> None:
        order, measured = self.order, self.run
        if measured is None:
            return
        first = summarize(measured).targets[next(iter(alone))].measures["first_content"]
        starts = [float(f"{start:.2g}") for start in (first.p50, first.p90) if start is not None]
        candidates = [parallel(), *map(staggered, starts), adaptive(_HEDGED), fallback()]
        count = order.options.get("count") or len(measured.records) // len(measured.setup.targets)
        self._note(f"now {counted(count, 'race')} by each of {', '.join(map(str, candidates))}")
        self.verified = await verify_policies(
            measured,
            alone,
            candidates,
            order.prompts,
            count=max(count, 1),
            stop=self.stop,
            timeout=order.timeout,
            params=order.params,
        )

    def _note(self, line: str) -> None:
        if not self.order.quiet:
            self._screen.tell(line)


def _race(specs: str, order: Order) -> Race:
    entrants = [spec.strip() for spec in specs.split(",") if spec.strip()]
    if len(entrants) < 2:
        raise SetupError(f"--race {specs!r}: a race is of two at least, SPEC,SPEC")
    return Race(named(entrants, order.model), policy=order.policy)


def _total(order: Order, targets: int) -> int | None:
    """Tell how many requests there will be, where it is known ahead."""
    options = Options(**order.options)
    options.check(order.load)
    rounds, duration = options.rounds, options.duration
    if isinstance(order.load, Users):
        return None if duration is not None or rounds is None else rounds * targets
    due = arrivals(order.load, targets, rounds=rounds, seed=options.seed)
    end = inf if duration is None else duration
    many = sum(1 for _ in islice(takewhile(lambda arrival: arrival.at < end, due), _COUNTED))
    return many if many < _COUNTED else None


def _announcement(targets: Sequence[Target], order: Order, total: int | None) -> str:
    """Say who gets how many requests."""
    names = ", ".join(f"{target.name} ({', '.join(_places(target))})" for target in targets)
    duration = order.options.get("duration")
    many = "requests" if total is None else counted(total // len(targets), "request")
    within = "" if duration is None else f" within {duration:g} s"
    return f"each gets {many} by {order.load}{within} ({order.prompts}): {names}"


def _places(target: Target) -> Iterator[str]:
    if target.entrants:
        yield f"of {', '.join(target.entrants)}"
    else:
        yield origin(target.provider) or target.provider.label


def _names(paths: Sequence[Path]) -> Iterator[str]:
    """Call files by their stems, and those that share one by their paths."""
    stems = [path.stem for path in paths]
    given = set[str]()
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        while name in given:
            name += "'"
        given.add(name)
        yield name
