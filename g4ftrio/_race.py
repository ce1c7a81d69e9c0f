"""A race over anything that gives items: the first clean item wins, the others are dropped at that moment.

How it works. Every entrant is a resource that its own task opens and closes; after the win only its source goes to
the consumer, who then reads it directly (``_handoff``). The scopes of an entrant nest in this order, and every other
order misnests somewhere::

    hard  >  open() ... close  >  step  >  pull()

``step`` cancels softly: only a read is cancelled, so the resource then closes undisturbed. ``hard`` encloses the
closing too, and is given a deadline of ``grace`` seconds and a shield as soon as the reading is over, so that closing
survives a cancellation from outside and is bounded all the same. An entrant that is still opening has nothing to close
softly, and is cancelled hard.

There is exactly one winner because the test and the setting of ``winner`` have no ``await`` between them. The winner's
owner waits, shielded, until the consumer is done: were it cancelled from outside together with the consumer, it would
close the connection under the consumer's read.

Errors of entrants never leave their tasks; they are kept in the records. What the caller's body raises is not
put into the task group, so it leaves bare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from g4ftrio._errors import AllFailed, RejectedError
from g4ftrio._handoff import Pump, affinity
from g4ftrio._loops import clock, open_scopes
from g4ftrio._policies import Policy, Schedule
from g4ftrio._report import EntrantReport, RaceReport
from g4ftrio._source import Source
from g4ftrio._tasks import Tasks

__all__ = ("Entrant", "Gate", "Race", "Won")

T = TypeVar("T")


class Gate(Protocol[T]):
    """Decides what is clean, and keeps what came before."""

    def admit(self, batch: list[T]) -> list[T] | None:
        """Look at what a read brought; with a clean item in it, give what the consumer gets first."""


class Entrant(Generic[T]):
    """One entrant of one race.

    :param open: opens its resource; a source that is handed over must be readable by another task
    :param gate: says when it has won
    :param handoff: whether it claims that its source may be read by another task (checked at the win)
    :param detachable: whether its source has ``detach()``, so that it can be settled
    :param limit: seconds from its start until it must have won
    :param late: the error if it has not
    """

    def __init__(
        self,
        record: EntrantReport,
        open: Callable[[], AbstractAsyncContextManager[Source[T]]],  # noqa: A002  # it is what it does
        gate: Gate[T],
        *,
        handoff: bool = False,
        detachable: bool = False,
        limit: float = inf,
        late: Callable[[], Exception] = TimeoutError,
    ) -> None:
        self.record = record
        self.open = open
        self.gate = gate
        self.handoff = handoff
        self.detachable = detachable
        self.limit = limit
        self.late = late
        self.began = 0.0
        self.opened = False
        self.dropped = False

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def running(self) -> bool:
        """Whether it can still win."""
        return self.record.outcome == "running"

    def starts(self, now: float) -> None:
        """Begin to count its time."""
        self.record.outcome = "running"
        self.began = now
        self.record.stamp("started_at")
        self.hard = CancelScope(deadline=now + self.limit)
        self.step = CancelScope()

    def has_opened(self) -> None:
        """From here on a soft cancellation is enough."""
        self.opened = True
        if self.limit != inf:  # a deadline costs 5 µs to set
            self.step.deadline, self.hard.deadline = self.hard.deadline, inf

    def has_won(self) -> None:
        """Let it take its time."""
        self.record.outcome = "won"
        self.record.stamp("clean_at")
        if self.limit != inf:
            self.step.deadline = inf

    def closes(self, until: float) -> None:
        """Bound and shield what is left to do, which is to close."""
        self.hard.shield = True
        self.hard.deadline = until

    def drop(self) -> None:
        """Stop it, softly where it is reading."""
        self.dropped = True
        (self.step if self.opened else self.hard).cancel()


class Keeper(Protocol):
    """Who keeps book of the entrants beyond one race. It decides nothing about a race but when somebody may start."""

    def held_until(self, name: str) -> float:
        """The moment of the loop's clock before which an entrant is not started."""

    def started(self, name: str) -> None:
        """It was started."""

    def decided(self, record: EntrantReport, seconds: float) -> None:
        """It won, lost, failed, was rejected or cancelled, so many seconds after its start; said once."""

    def ended(self, name: str) -> None:
        """It is closed: it uses nothing any more."""


class NoKeeper:
    """Keeps nothing."""

    def held_until(self, name: str) -> float:  # noqa: ARG002  # the protocol's signature, as below
        return -inf

    def started(self, name: str) -> None: ...

    def decided(self, record: EntrantReport, seconds: float) -> None: ...

    def ended(self, name: str) -> None: ...


class Won(Generic[T]):
    """What a race gives: the winner, what it wrote first, and where the rest comes from."""

    def __init__(self, entrant: Entrant[T], first: list[T]) -> None:
        self.entrant = entrant
        self.first = first
        self.source: Source[T]


class Race(Generic[T]):
    """One race, an async context manager that gives what won.

    :param entrants: in the order in which the policy starts them; their names differ
    :param grace: seconds that a resource has to close itself before it is cancelled in that too
    :param total: seconds until somebody must have won
    :param late: the error if nobody has
    :param keeper: knows who is held back, and is told what becomes of everybody
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
    ) -> None:
        self.entrants = {entrant.name: entrant for entrant in entrants}
        self.report = RaceReport(policy=str(policy), entrants=[entrant.record for entrant in entrants])
        self.winner: Won[T] | None = None
        self._grace = grace
        self._total = total
        self._late = late
        self._keeper = keeper or NoKeeper()
        self._schedule = Schedule(policy, self.entrants, self._keeper.held_until)
        self._begun = False
        self._settling = False
        self._closing_error: Exception | None = None

    async def __aenter__(self) -> Won[T]:
        if self._begun:
            raise RuntimeError("this race was entered before: make another")
        self._begin()
        await self._tasks.__aenter__()
        try:
            return await self._decide()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._end()
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
        """Say that the consumer wants no more: the winner's owner may close it."""
        self._released.set()
        if self.winner is not None and isinstance(self.winner.source, Pump):
            self.winner.entrant.step.cancel()

    def _begin(self) -> None:
        self._begun = True
        self._now = now = clock()
        start = now()
        for entrant in self.entrants.values():
            entrant.record.clock = lambda: now() - start
        self._tasks = Tasks()
        self._changed = anyio.Event()
        self._released = anyio.Event()

    async def _decide(self) -> Won[T]:
        with anyio.move_on_after(self._total):
            while self.winner is None:
                self._start_who_is_due()
                active = self._active()
                if not active and not self._schedule:
                    raise self._all_failed()
                self._changed = anyio.Event()
                due = self._schedule.due(active)
                with nullcontext() if due == inf else CancelScope(deadline=due):  # a scope costs 15 µs
                    await self._changed.wait()
        if self.winner is None:
            raise self._late()
        return self.winner

    def _start_who_is_due(self) -> None:
        now, active = self._now(), self._active()
        while self._schedule.due(active) <= now:
            entrant = self.entrants[self._schedule.start(now)]
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
            self._cancel(entrant)  # where it still runs, it was cancelled from outside, and knew it before `_end`
            if not self._is_settled(entrant):
                entrant.record.stamp("ended_at")
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
        """Read until there is a clean item, and win with it if nobody has."""
        while batch := await source.pull():
            entrant.record.chunks += len(batch)
            entrant.record.stamp("first_chunk_at")
            first = entrant.gate.admit(batch)
            if not entrant.running or entrant.step.cancel_called:
                return
            if first is not None:
                self._win(entrant, first)
                return
            await checkpoint()  # a source that is always ready must not keep the others from running
        if not entrant.dropped:
            raise RejectedError("it ended without a clean chunk", provider=entrant.name)

    def _win(self, entrant: Entrant[T], first: list[T]) -> None:
        self.winner = Won(entrant, first)
        entrant.has_won()
        self._decided(entrant)
        for other in self.entrants.values():
            if other.running:
                other.record.outcome = "lost"
                self._decided(other)
                other.drop()
        self._changed.set()

    async def _serve(self, won: Won[T], source: Source[T], *, safe: bool) -> None:
        """Give the source to the consumer, and wait until it is done with it."""
        if self._settling:
            source.detach()  # type: ignore[attr-defined]  # `settle` made sure that it can
            won.source = source
        elif safe:
            won.source = source
            with CancelScope(shield=True):
                await self._released.wait()
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
            entrant.record.outcome = "rejected" if isinstance(error, RejectedError) else "failed"
            self._decided(entrant)
            self._schedule.failed()
            self._changed.set()
        elif entrant.record.outcome == "won" and self._closing_error is None:
            self._closing_error = error

    def _is_settled(self, entrant: Entrant[T]) -> bool:
        """Whether its source goes on without it."""
        return self._settling and self.winner is not None and self.winner.entrant is entrant

    def _decided(self, entrant: Entrant[T]) -> None:
        entrant.record.tell(entrant.record.outcome)
        self._keeper.decided(entrant.record, self._now() - entrant.began)

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

    def _end(self) -> None:
        for entrant in self.entrants.values():
            if self._cancel(entrant):
                entrant.drop()
        self.release()

    def _cancel(self, entrant: Entrant[T]) -> bool:
        """Note that it was cancelled, where nothing else has become of it."""
        if not entrant.running:
            return False
        entrant.record.outcome = "cancelled"
        self._decided(entrant)
        return True
