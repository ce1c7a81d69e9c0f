"""Who takes part in a race: what opens it and judges it, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Generic, Protocol, TypeVar

import anyio
from anyio import CancelScope

from g4ftrio._race.source import Source
from g4ftrio._words.report import EntrantReport

__all__ = ("Entrant", "Gate", "by_progress")

T = TypeVar("T")


class Gate(Protocol[T]):
    """Decides what is clean, and keeps what came before."""

    def admit(self, batch: list[T]) -> list[T] | None:
        """Look at what a read brought; with a clean item in it, give what the consumer gets first."""

    def close(self) -> list[T] | None:
        """Say that it ended; if it is clean by that, give what the consumer gets."""


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
        self.opened = False
        self.dropped = False
        self.told = False
        self.resumed: anyio.Event | None = None
        self.held: list[T] | None = None

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def running(self) -> bool:
        """Whether it can still win."""
        return self.record.outcome == "running"

    @property
    def stands_by(self) -> bool:
        """Whether it lost, and waits to be needed."""
        return self.resumed is not None and not self.resumed.is_set()

    def starts(self, now: float) -> None:
        """Begin to count its time."""
        self.record.outcome = "running"
        self.record.stamp("started_at")
        self.hard = CancelScope(deadline=now + self.limit)
        self.step = CancelScope()
        self.reading = CancelScope()

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

    def stand_by(self, now: float) -> None:
        """Stop reading, and wait; what was read is kept, and no limit runs."""
        self.resumed = anyio.Event()
        self.left = self.step.deadline - now
        self.step.deadline = inf
        self.reading.cancel()

    def resume(self, now: float) -> None:
        """Go on where it stopped."""
        if self.resumed is not None:
            self.record.outcome = "running"
            self.step.deadline = now + self.left
            self.reading = CancelScope()
            self.resumed.set()

    def closes(self, until: float) -> None:
        """Bound and shield what is left to do, which is to close."""
        self.hard.shield = True
        self.hard.deadline = until

    def drop(self) -> None:
        """Stop it, softly where it is reading."""
        self.dropped = True
        (self.step if self.opened else self.hard).cancel()


def by_progress(record: EntrantReport) -> float:
    """A key to sort by: who gave something first comes first, who gave nothing last."""
    return inf if record.first_chunk_at is None else record.first_chunk_at
