"""Every order in which the events of a race can happen, ties and a cancellation included, checked against a model.

Each entrant follows a script, and each step of it waits at a gate. A letter is a step: ``o`` it has opened (without it,
it opens at once), ``u`` an unclean item, ``C`` a clean one, ``m`` an item after that, ``.`` its end, ``!`` an error.

A schedule is a row of ticks, and a tick is a row of players whose next gates open together. trio runs them in random
order, asyncio in the order of the tick, so every order within a tick is a schedule of its own. The last player is the
canceller, who has one step; it ends a schedule, as nothing after it matters.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice, permutations
from math import inf
from typing import Self, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from g4ftrio._race.entrant import Entrant
from g4ftrio._race.policies import parallel
from g4ftrio._race.race import Race, Won
from g4ftrio._race.source import ItemStream
from g4ftrio._words.errors import AllFailed, RejectedError
from g4ftrio._words.report import EntrantReport
from tests import clocks
from tests.entrants import CleanGate

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

Tick: TypeAlias = tuple[int, ...]
Schedule: TypeAlias = tuple[Tick, ...]

WAYS = ("handoff", "pump", "settle")
DUELS = [("oC.", "oC"), ("uC", "C!"), ("Cm", "C."), ("oC", "u!"), ("o!", "uC"), ("u.", "o!")]
TRIPLES = [("C", "C", "C"), (".", "!", "C")]
LONG_DUELS = [("oCm.", "oC!"), ("uCm", "oCm."), ("Cmm.", "Cm!"), ("ouC", "ou!")]
LONG_TRIPLES = [("oC", "oC", "C."), ("o!", "C!", "Cm"), ("u.", "!", "uC")]
QUARTETS = [("ouCm.", "oC!", "uuC.", "oum!"), ("Cmm.", "Cmm!", "Cmm", "oC"), ("o.", "u!", "ou!", "uu."), ("C",) * 4]


class Broken(Exception):
    """What ``!`` raises."""


class Gated:
    """A resource and its source, whose every step waits at a gate."""

    def __init__(self, name: str, script: str) -> None:
        self.name = name
        self.script = script
        self.opened = 0
        self.closed = 0
        self._detached = False
        self._gates = [anyio.Event() for _ in script]
        self._to_open = iter(self._gates)
        self._steps = iter(zip(self._gates, script, strict=True))

    def move(self) -> None:
        """Open the next gate."""
        next(self._to_open).set()

    def items(self, steps: int) -> list[str]:
        """What it gives in its first steps."""
        return [self._item(step) for step in self.script[:steps] if step in "uCm"]

    def __call__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        if self.script.startswith("o"):
            gate, _ = next(self._steps)
            await gate.wait()
        self.opened += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if not self._detached:
            self.closed += 1
            await anyio.lowlevel.checkpoint()

    def detach(self) -> None:
        self._detached = True

    async def pull(self) -> list[str]:
        gate, step = next(self._steps, (None, ""))
        if gate is None:
            await anyio.sleep_forever()
        else:
            await gate.wait()
        if step == "!":
            raise Broken(self.name)
        return [] if step == "." else [self._item(step)]

    async def aclose(self) -> None:
        self.closed = 1  # it may be called more than once
        await anyio.lowlevel.checkpoint()

    def _item(self, step: str) -> str:
        return f"{self.name}{step}" if step == "C" else f"{self.name}{step}".lower()


class Play:
    """One schedule, played on the engine.

    :ivar ending: how it was for the consumer: ``end``, ``error``, ``all failed`` or ``cancelled``
    """

    def __init__(self, scripts: Sequence[str], way: str) -> None:
        self.entrants = [Gated(name, script) for name, script in zip("ABCD", scripts, strict=False)]
        self.race = Race(
            [
                Entrant(EntrantReport(name=one.name), one, CleanGate(), handoff=way != "pump", detachable=True)
                for one in self.entrants
            ],
            policy=parallel(),
        )
        self.won_by: str | None = None
        self.items: list[str] = []
        self.failures: list[str] = []
        self.ending = "cancelled"
        self._consume = self._settle if way == "settle" else self._enter
        self._scope = anyio.CancelScope()

    async def run(self, schedule: Schedule) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            await clocks.settle()
            for tick in schedule:
                for player in tick:
                    self._move(player)
                await clocks.settle()

    def _move(self, player: int) -> None:
        if player == len(self.entrants):
            self._scope.cancel()
        else:
            self.entrants[player].move()

    async def _watch(self) -> None:
        try:
            with self._scope:
                await self._consume()
                self.ending = "end"
        except Broken:
            self.ending = "error"
        except AllFailed as failed:
            self.ending = "all failed"
            self.failures = list(failed.failures)

    async def _enter(self) -> None:
        async with self.race as won:
            await self._read(won, ItemStream(won.source, won.first, self.race.release))

    async def _settle(self) -> None:
        won = await self.race.settle()
        stream = ItemStream(won.source, won.first)
        try:
            await self._read(won, stream)
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def _read(self, won: Won[str], stream: ItemStream[str]) -> None:
        self.won_by = won.entrant.name
        async for item in stream:
            self.items.append(item)


class Model:
    """What may come of a schedule. The cancellation is in its last tick, and what ties with it may happen or not."""

    def __init__(self, play: Play, schedule: Schedule) -> None:
        self.play = play
        self.schedule = schedule
        self.last = len(schedule) - 1
        self.clean = [self._tick(n, "C") for n in range(len(play.entrants))]
        self.fails = [inf if "C" in one.script else self._tick(n, ".!") for n, one in enumerate(play.entrants)]
        self.decided = min(self.clean)

    def check(self) -> None:
        assert (self.play.won_by, self.play.ending) in self._endings()
        assert self.play.failures == [one.name for one in self.play.entrants if self.play.ending == "all failed"]
        for n, one in enumerate(self.play.entrants):
            assert one.closed == one.opened <= 1
            self._check_record(n)
        if self.play.won_by is not None:
            self._check_items("ABCD".index(self.play.won_by))

    def _endings(self) -> Iterator[tuple[str | None, str]]:
        if self.decided >= self.last and max(self.fails) >= self.last:
            yield None, "cancelled"
        if max(self.fails) <= self.last:
            yield None, "all failed"
        for n, one in enumerate(self.play.entrants):
            if self.clean[n] == self.decided < inf:
                end = self._tick(n, ".!")
                if end >= self.last:
                    yield one.name, "cancelled"
                if end <= self.last:
                    yield one.name, "error" if one.script.endswith("!") else "end"

    def _check_record(self, n: int) -> None:
        record = self.play.race.report.entrants[n]
        winner = self.play.race.winner
        stop = min(self.decided, self.last)
        if winner is not None and winner.entrant.name == record.name:
            assert (record.outcome, self.clean[n]) == ("won", self.decided)
            return
        failed = "failed" if self.play.entrants[n].script.endswith("!") else "rejected"
        dropped = ["lost"] * (winner is not None) + ["cancelled"] * (winner is None or self.decided == self.last)
        assert record.outcome in dropped * (self.fails[n] >= stop) + [failed] * (self.fails[n] <= stop)
        assert record.error is None or type(record.error) in (Broken, RejectedError)
        assert (record.error is not None) >= (record.outcome == failed)

    def _check_items(self, n: int) -> None:
        one = self.play.entrants[n]
        sure, possible = (one.items(self._steps(n, ticks)) for ticks in (self.last, self.last + 1))
        assert self.play.items == possible or self.play.items == sure

    def _steps(self, player: int, ticks: int) -> int:
        return sum(player in tick for tick in self.schedule[:ticks])

    def _tick(self, player: int, steps: str) -> float:
        """When the first of these steps of a player was, infinity for never."""
        moves = [n for n, tick in enumerate(self.schedule) if player in tick]
        found = [n for n, step in zip(moves, self.play.entrants[player].script, strict=False) if step in steps]
        return found[0] if found else inf


def all_schedules(left: tuple[int, ...]) -> Iterator[Schedule]:
    """Every schedule of players with so many steps left."""
    movers = [player for player, steps in enumerate(left) if steps]
    for count in range(1, len(movers) + 1):
        for tick in permutations(movers, count):
            if len(left) - 1 in tick:
                yield (tick,)
            else:
                after = tuple(steps - (player in tick) for player, steps in enumerate(left))
                yield from ((tick, *rest) for rest in all_schedules(after))


def random_schedules(left: tuple[int, ...], seed: int) -> Iterator[Schedule]:
    """An endless row of them, without order; the canceller comes late rather than early."""
    chance = random.Random(seed)
    while True:
        rest, ticks = list(left), list[Tick]()
        while rest[-1]:
            movers = [player for player, steps in enumerate(rest[:-1]) if steps and chance.random() < 0.5]
            movers += [len(rest) - 1] * (chance.random() < (0.1 if any(rest[:-1]) else 1))
            chance.shuffle(movers)
            for player in movers:
                rest[player] -= 1
            ticks += [tuple(movers)] * bool(movers)
        yield tuple(ticks)


async def play_all(scripts: Sequence[str], way: str, schedules: Iterator[Schedule]) -> None:
    for schedule in schedules:
        try:
            play = Play(scripts, way)
            await play.run(schedule)
            Model(play, schedule).check()
        except BaseException as error:
            error.add_note(f"scripts {scripts}, by {way}, schedule {schedule}")
            raise


def lengths(scripts: Sequence[str]) -> tuple[int, ...]:
    return (*map(len, scripts), 1)


def named(*entrants: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scripts", entrants, ids="-".join)


by_every_way = pytest.mark.parametrize("way", WAYS)


@by_every_way
@named(*DUELS)
async def test_two_entrants_in_every_order(scripts: tuple[str, ...], way: str) -> None:
    await play_all(scripts, way, all_schedules(lengths(scripts)))


@by_every_way
@named(*TRIPLES)
async def test_three_entrants_in_every_order(scripts: tuple[str, ...], way: str) -> None:
    await play_all(scripts, way, all_schedules(lengths(scripts)))


@pytest.mark.long
@by_every_way
@named(*LONG_DUELS, *LONG_TRIPLES)
async def test_longer_scripts_in_every_order(scripts: tuple[str, ...], way: str) -> None:
    await play_all(scripts, way, all_schedules(lengths(scripts)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@by_every_way
@named(*QUARTETS)
async def test_four_entrants_in_random_orders(scripts: tuple[str, ...], way: str, seed: int) -> None:
    await play_all(scripts, way, islice(random_schedules(lengths(scripts), seed), 1000))


def test_two_players_of_one_step_have_these_schedules() -> None:
    assert sorted(all_schedules((1, 1))) == [((0,), (1,)), ((0, 1),), ((1,),), ((1, 0),)]


def test_the_schedules_are_thousands() -> None:
    assert len(WAYS) * sum(len(list(all_schedules(lengths(scripts)))) for scripts in [*DUELS, *TRIPLES]) == 4059
