"""A race over anything that gives items: the first clean item wins, the others are dropped at that moment.

How it works. Every entrant is a resource that its own task opens and closes; after the win only its source goes to
the consumer, who then reads it directly (``handoff``). The scopes of an entrant nest in this order, and every other
order misnests somewhere::

    hard  >  open() ... close  >  step  >  pull()

``step`` cancels softly: only a read is cancelled, so the resource then closes undisturbed. ``hard`` encloses the
closing too, and is given a deadline of ``grace`` seconds and a shield as soon as the reading is over, so that closing
survives a cancellation from outside and is bounded all the same. An entrant that is still opening has nothing to close
softly, and is cancelled hard.

There is exactly one winner because the test and the setting of ``winner`` have no ``await`` between them. The winner's
owner waits, shielded, until the consumer is done: were it cancelled from outside together with the consumer, it would
close the connection under the consumer's read.

When the winner dies and somebody is to go on, ``seek`` begins a second race among those that are left, in the same
task group: a task of its own decides it, so that nothing is opened or decided inside a read of the consumer's, who only
waits for the ``Takeover``. A runner-up that is kept for this stands by: its read is cancelled, by a scope inside
``step``, and it waits, open and unread, with no limit running.

Errors of entrants never leave their tasks; they are kept in the records. What the caller's body raises is not
put into the task group, so it leaves bare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from math import inf
from types import TracebackType
from typing import Generic, TypeVar

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from g4ftrio._loops import clock, from_any_thread, open_scopes
from g4ftrio._race.entrant import Entrant, by_progress
from g4ftrio._race.handoff import Pump, affinity
from g4ftrio._race.keeper import Keeper, NoKeeper
from g4ftrio._race.policies import Policy, Schedule
from g4ftrio._race.source import Source
from g4ftrio._race.tasks import Tasks
from g4ftrio._words.errors import AllFailed, RejectedError
from g4ftrio._words.report import Outcome, RaceReport

__all__ = ("Race", "Takeover", "Won")

T = TypeVar("T")


class Won(Generic[T]):
    """What a race gives: the winner, what it wrote first, and where the rest comes from."""

    def __init__(self, entrant: Entrant[T], first: list[T]) -> None:
        self.entrant = entrant
        self.first = first
        self.source: Source[T]
        self.released = anyio.Event()

    def release(self) -> None:
        """Let its owner close it."""
        self.released.set()
        if isinstance(self.source, Pump):
            self.entrant.step.cancel()


class Takeover(Generic[T]):
    """The search for who goes on; who waits for it may be cancelled, and wait again.

    :param error: what the winner died of
    :param within: seconds until somebody must have won
    :ivar won: who goes on, or None
    :ivar failure: why nobody does
    """

    def __init__(self, error: Exception, within: float) -> None:
        self.error = error
        self.within = within
        self.scope = CancelScope()
        self.decided = anyio.Event()
        self.won: Won[T] | None = None
        self.failure: Exception | None = None


class Race(Generic[T]):
    """One race, an async context manager that gives what won.

    :param entrants: in the order in which the policy starts them; their names differ
    :param grace: seconds that a resource has to close itself before it is cancelled in that too
    :param total: seconds until somebody must have won
    :param late: the error if nobody has
    :param keeper: knows who is held back, and is told what becomes of everybody
    :param keys: what the policy knows the entrants by in all races, where that is not their names
    :param keep_standby: whether the runner-up is kept open, unread, until ``drop_standby`` or the end
    :ivar standby: the runner-up while it is kept
    :ivar released: whether the consumer has said that it wants no more
    """

    def __init__(
        self,
        entrants: Sequence[Entrant[T]],
        *,
        policy: Policy,
        grace: float = 1.0,
        total: float = inf,
        late: Callable[[], Exception] = TimeoutError,
        keeper: Keeper | None = None,
        keys: Mapping[str, str] | None = None,
        keep_standby: bool = False,
    ) -> None:
        self.entrants = {entrant.name: entrant for entrant in entrants}
        self.report = RaceReport(policy=str(policy), entrants=[entrant.record for entrant in entrants])
        self.winner: Won[T] | None = None
        self._grace = grace
        self._total = total
        self._late = late
        self._keeper = keeper or NoKeeper()
        self._policy = policy
        self._keys = keys or {}
        self._schedule = Schedule(policy, self.entrants, self._keeper.held_until, self._keys)
        self._begun = False
        self._settling = False
        self._keep_standby = keep_standby
        self.standby: Entrant[T] | None = None
        self.released = False
        self._takeover: Takeover[T] | None = None
        self._closing_error: Exception | None = None

    async def __aenter__(self) -> Won[T]:
        if self._begun:
            raise RuntimeError("this race was entered before: make another")
        self._begin()
        await self._tasks.__aenter__()
        try:
            return await self._decide(self._total)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.release()
        suppressed = await self._tasks.__aexit__(kind, error, traceback)
        if error is None and self._closing_error is not None:
            raise self._closing_error
        return suppressed

    async def settle(self) -> Won[T]:
        """Decide inside this one await: afterwards no scope and no task is open, and the winner's source is its own.

        :raises TypeError: an entrant's source cannot outlive its task
        """
        for entrant in self.entrants.values():
            if not entrant.detachable:
                raise TypeError(f"{entrant.name} cannot be settled: use `async with race(...) as stream:`")
        self._settling = True
        try:
            won = await self.__aenter__()
            await self.__aexit__(None, None, None)
            await checkpoint_if_cancelled()  # trio's nurseries do not look for a cancellation as they end
        except BaseException:
            if self.winner is not None:
                with CancelScope(shield=True, deadline=self._now() + self._grace):
                    await self.winner.source.aclose()
                self.winner.entrant.record.stamp("ended_at")
            raise
        return won

    def release(self) -> None:
        """Say that the consumer wants no more: the winner's owner may close it, and nobody goes on after it."""
        self.released = True
        if self._takeover is not None:
            self._takeover.scope.cancel()
        self.drop_standby()
        self._stop_running("cancelled")
        if self.winner is not None:
            self.winner.release()

    def drop_standby(self) -> None:
        """Say that the runner-up is not needed any more."""
        if self.standby is not None:
            self.standby.drop()
            self.standby = None

    def seek(self, error: Exception, successors: Sequence[Entrant[T]], within: float) -> Takeover[T]:
        """Let the winner close, and have a task of this race find who goes on: a race again, by the same policy.

        A standby goes on reading. Those who were never started come next, then the others.

        :param error: what the winner died of
        :param successors: by name in the place of one that was never started, or new
        :param within: seconds until somebody must have won
        """
        self._lose_winner(error)
        for entrant in successors:
            entrant.record.clock = self._clock
            if entrant.name not in self.entrants:
                self.report.entrants.append(entrant.record)
                self._schedule.add(entrant.name)
            self.entrants[entrant.name] = entrant
        self._takeover = takeover = Takeover[T](error, within)
        self._tasks.start_soon(self._conduct, takeover, name="race takeover")
        return takeover

    def _lose_winner(self, error: Exception) -> None:
        winner, self.winner = self.winner, None
        if winner is not None:
            winner.entrant.record.outcome, winner.entrant.record.error = "failed", error
            winner.entrant.record.tell("failed")
            winner.release()

    def _begin(self) -> None:
        self._begun = True
        self._now = now = clock()
        start = now()
        self._clock = lambda: now() - start
        for entrant in self.entrants.values():
            entrant.record.clock = self._clock
        self._tasks = Tasks()
        self._changed = anyio.Event()
        if self._policy.budget is not None:
            self._wake = partial(from_any_thread(), self._look_again)

    async def _conduct(self, takeover: Takeover[T]) -> None:
        try:
            with takeover.scope:
                await self._resume_standby()
                takeover.won = await self._decide(takeover.within)
        except Exception as error:  # noqa: BLE001  # it is for the consumer, who waits for it elsewhere
            takeover.failure = error
            self._stop_running("cancelled")
        finally:
            takeover.decided.set()

    async def _resume_standby(self) -> None:
        """Have the standby go on; where it is clean already, it has won before anybody else is started."""
        standby, self.standby = self.standby, None
        if standby is None:
            return
        standby.resume(self._now())
        while standby.held is not None and standby.running:
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _decide(self, within: float) -> Won[T]:
        try:
            with anyio.move_on_after(within):
                while self.winner is None:
                    self._start_who_is_due()
                    await self._until_something_changes()
        finally:
            self._line_up(False)
        if self.winner is None:
            raise self._late()
        return self.winner

    async def _until_something_changes(self) -> None:
        active = self._active()
        if not active and not self._schedule:
            raise self._all_failed()
        self._changed = anyio.Event()
        due = self._schedule.due(active)
        self._line_up(due == inf and self._schedule.would_hedge(active))
        with nullcontext() if due == inf else CancelScope(deadline=due):  # a scope costs 15 µs
            await self._changed.wait()

    def _look_again(self) -> None:
        self._changed.set()

    def _line_up(self, short: bool) -> None:
        """Stand in the line of those who wait for the budget, or leave it."""
        if (budget := self._policy.budget) is not None:
            (budget.wait if short else budget.leave)(self._wake)

    def _start_who_is_due(self) -> None:
        now, active = self._now(), self._active()
        while self._schedule.due(active) <= now:
            entrant = self.entrants[self._schedule.start(now, active)]
            entrant.starts(now)
            self._keeper.started(entrant.name)
            active += 1
            self._tasks.start_soon(self._run, entrant, name=f"race entrant {entrant.name}")

    def _active(self) -> int:
        return sum(entrant.running for entrant in self.entrants.values())

    async def _run(self, entrant: Entrant[T]) -> None:
        try:
            if not entrant.running:
                return  # it was dropped before it began
            with entrant.hard:
                async with entrant.open() as source:
                    entrant.has_opened()
                    try:
                        await self._compete(entrant, source)
                    finally:
                        entrant.closes(self._now() + self._grace)
            if entrant.hard.cancelled_caught:
                self._cut_off(entrant)
        except* Exception as errors:  # noqa: BLE001  # what an entrant raises, among cancellations too, is its own failure
            self._fail(entrant, errors)
        finally:
            if entrant.running:  # it was cancelled from outside, and knew it before the race
                self._becomes(entrant, "cancelled")
            if not self._is_settled(entrant):
                entrant.record.stamp("ended_at")
            if self.standby is entrant:
                self.standby = None
            self._keeper.ended(entrant.name)
            self._changed.set()

    async def _compete(self, entrant: Entrant[T], source: Source[T]) -> None:
        with entrant.step:
            scopes = open_scopes()
            before = affinity() if entrant.handoff else None
            try:
                await self._search(entrant, source)
                if self.winner is not None and self.winner.entrant is entrant:
                    await self._serve(self.winner, source, safe=entrant.handoff and affinity() == before)
            except Exception as error:  # noqa: BLE001  # noted before the resource is closed
                self._fail(entrant, error)
            finally:
                if open_scopes() != scopes:  # what it holds open must be left before ``step`` is
                    await source.aclose()
        if entrant.running:
            self._fail(entrant, entrant.late())

    async def _search(self, entrant: Entrant[T], source: Source[T]) -> None:
        """Read until there is a clean item, and win with it if nobody has. Who stands by stops, and may go on."""
        while True:
            if entrant.held is not None:
                self._judge(entrant, entrant.held)
            else:
                with entrant.reading if self._keep_standby else nullcontext():
                    await self._read(entrant, source)
            resumed = entrant.resumed
            if resumed is None or resumed.is_set():
                return
            await resumed.wait()

    async def _read(self, entrant: Entrant[T], source: Source[T]) -> None:
        while batch := await source.pull():
            entrant.record.chunks += len(batch)
            entrant.record.stamp("first_chunk_at")
            if self._judge(entrant, entrant.gate.admit(batch)):
                return
            await checkpoint()  # a source that is always ready must not keep the others from running
        if not (entrant.dropped or self._judge(entrant, entrant.gate.close())):
            raise RejectedError("it ended without a clean chunk", provider=entrant.name)

    def _judge(self, entrant: Entrant[T], first: list[T] | None) -> bool:
        """Let it win if it is clean; true if it is to be read no further."""
        if entrant.stands_by:
            entrant.held = first
        elif first is not None and entrant.running and not entrant.step.cancel_called:
            self._win(entrant, first)
        return not entrant.running or entrant.step.cancel_called

    def _win(self, entrant: Entrant[T], first: list[T]) -> None:
        self.winner = Won(entrant, first)
        entrant.has_won()
        self._decided(entrant)
        if self._keep_standby and (runner_up := self._runner_up()):
            self.standby = runner_up
            runner_up.stand_by(self._now())
        self._stop_running("lost")
        self._changed.set()

    def _runner_up(self) -> Entrant[T] | None:
        """The first of those that are open to have given anything, else the first that is open."""
        opened = [each for each in self.entrants.values() if each.running and each.opened]
        return min(opened, key=lambda each: by_progress(each.record), default=None)

    def _stop_running(self, outcome: Outcome) -> None:
        for entrant in self.entrants.values():
            if entrant.running:
                self._becomes(entrant, outcome)
                if entrant is not self.standby:
                    entrant.drop()

    async def _serve(self, won: Won[T], source: Source[T], *, safe: bool) -> None:
        """Give the source to the consumer, and wait until it is done with it."""
        if self._settling:
            source.detach()  # type: ignore[attr-defined]  # `settle` made sure that it can
            won.source = source
        elif safe:
            won.source = source
            with CancelScope(shield=True):
                await won.released.wait()
        else:
            won.source = pump = Pump(source)
            await pump.run()
            if pump.error is not None:
                won.entrant.record.broke_off(pump.error)

    def _fail(self, entrant: Entrant[T], error: Exception) -> None:
        """Note an error: a failure before the win, and a fault in closing after it."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if entrant.record.error is None:
            entrant.record.error = error
        if entrant.running:
            self._becomes(entrant, "rejected" if isinstance(error, RejectedError) else "failed")
            self._schedule.failed()
            self._changed.set()
        elif entrant.record.outcome == "won" and self._closing_error is None:
            self._closing_error = error

    def _is_settled(self, entrant: Entrant[T]) -> bool:
        """Whether its source goes on without it."""
        return self._settling and self.winner is not None and self.winner.entrant is entrant

    def _becomes(self, entrant: Entrant[T], outcome: Outcome) -> None:
        entrant.record.outcome = outcome
        self._decided(entrant)

    def _decided(self, entrant: Entrant[T]) -> None:
        entrant.record.tell(entrant.record.outcome)
        if entrant.told:
            return
        entrant.told = True
        asked = entrant.record.started_at  # None while it waits for its turn, and nobody was asked yet
        seconds = 0.0 if asked is None else entrant.record.clock() - asked
        self._policy.decided(self._keys.get(entrant.name, entrant.name), entrant.record.outcome, seconds)
        self._keeper.decided(entrant.record, seconds)

    def _cut_off(self, entrant: Entrant[T]) -> None:
        if entrant.running:
            self._fail(entrant, entrant.late())
        elif entrant.opened and self._now() >= entrant.hard.deadline:
            forced = TimeoutError(f"it was not closed within grace={self._grace:g} s, and was forced to")
            entrant.record.error = entrant.record.error or forced

    def _all_failed(self) -> AllFailed:
        failures = {name: entrant.record.error for name, entrant in self.entrants.items() if entrant.record.error}
        failed = AllFailed(failures, self.report)
        failed.__cause__ = ExceptionGroup("every entrant failed", list(failures.values()))
        return failed
