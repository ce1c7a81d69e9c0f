"""When to start the next entrant. Plain decisions: no clock, no I/O, and nothing known of what is raced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from g4ftrio._race.budget import Budget
from g4ftrio._race.latencies import Latencies

__all__ = ("Policy", "Schedule", "adaptive", "fallback", "parallel", "staggered")


class Policy(Struct, frozen=True, repr_omit_defaults=True):
    """When the next entrant is started, if no one has won by then.

    Whatever the delay is, a failure starts the next one at once, and so does having nothing that runs.

    :ivar delay: seconds from one start to the next; 0 is a race of all, infinity one after another
    :ivar max_active: how many may run at the same time, or None
    :ivar budget: what bounds the extra calls, or None
    :ivar latencies: what is known of the entrants of all races that have this policy, or None
    """

    name: str
    delay: float
    max_active: int | None = None
    budget: Budget | None = None
    latencies: Latencies | None = None

    def delay_after(self, key: str) -> float:  # noqa: ARG002  # others go by whom they wait for
        """Give the head start of an entrant over the next one."""
        return self.delay

    def decided(self, key: str, outcome: str, seconds: float) -> None:
        """Learn what became of an entrant, so many seconds after its start."""
        if self.latencies is None:
            return
        match outcome:
            case "won":
                self.latencies.answered(key, seconds)
            case "lost" | "cancelled":
                self.latencies.dropped(key, seconds)
            case "failed" | "rejected":
                self.latencies.failed(key)

    def learning(self) -> Self:
        """Give the same policy with a memory, or itself if it has one."""
        return self if self.latencies is not None else replace(self, latencies=Latencies())

    def state(self) -> dict[str, Any]:
        """Give what it has learnt and saved, as plain JSON values."""
        state: dict[str, Any] = {}
        if self.latencies is not None:
            state["latencies"] = self.latencies.to_dict()
        if self.budget is not None:
            state["budget"] = round(self.budget.saved, 6)
        return state

    def restore(self, state: object) -> None:
        """Take over what ``state`` gave; ignore what is none of it."""
        if not isinstance(state, Mapping):
            return
        if self.latencies is not None:
            self.latencies.restore(state.get("latencies"))
        if self.budget is not None:
            self.budget.restore(state.get("budget"))

    def __str__(self) -> str:
        options = {"max_active": self.max_active, "budget": self.budget}
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        return f"{self.name}({', '.join([*self._shown(), *given])})"

    def _shown(self) -> list[str]:
        return [] if self.delay in (0, inf) else [f"{self.delay:g}"]


class Adaptive(Policy, frozen=True):
    """Starts the next one when the running one is slower than it mostly is; ``delay`` counts until that is known."""

    percentile: float = 0.9
    floor: float = 0.0
    min_samples: int = 1

    def delay_after(self, key: str) -> float:
        """Give the percentile of the times in which this entrant answered of late."""
        if self.latencies is None:
            return self.delay
        known = self.latencies.percentile(key, self.percentile, self.min_samples)
        return self.delay if known is None else max(self.floor, known)

    def _shown(self) -> list[str]:
        return [f"{self.percentile:g}"]


def parallel(*, max_active: int | None = None, budget: Budget | None = None) -> Policy:
    """Start all at once: the fastest answer, and every provider is asked every time.

    :param max_active: how many may run at the same time; the next starts when one of them fails
    :param budget: bounds the extra calls; see ``budget``
    """
    return Policy("parallel", 0.0, _at_least_one(max_active), budget)


def staggered(seconds: float, *, max_active: int | None = None, budget: Budget | None = None) -> Policy:
    """Start the next one whenever nobody has won ``seconds`` after the last start.

    :param seconds: the head start of each entrant over the next
    :param max_active: how many may run at the same time
    :param budget: bounds the extra calls; see ``budget``
    """
    if not seconds >= 0:
        raise ValueError(f"a head start is a number of seconds from 0, not {seconds!r}")
    return Policy("staggered", float(seconds), _at_least_one(max_active), budget)


def adaptive(
    percentile: float = 0.9,
    cold: float = 2.0,
    floor: float = 0.05,
    min_samples: int = 10,
    *,
    max_active: int | None = None,
    budget: Budget | None = None,
) -> Policy:
    """Start the next one when the running one is slower than it is in this share of its calls.

    What counts is the time to the first clean chunk, of late, of the same provider and model. The times are kept in
    the policy: pass the same object to all races that are to learn from each other. Losers count as slower than they
    were watched, failures do not count.

    :param percentile: 0.9 asks twice in about one call of ten, 0.95 in one of twenty
    :param cold: seconds of head start until there are enough samples
    :param floor: seconds of head start at least
    :param min_samples: answers of a provider from which on its times are used
    :param max_active: how many may run at the same time
    :param budget: bounds the extra calls; see ``budget``
    """
    if not 0 < percentile < 1:
        raise ValueError(f"a percentile is a share between 0 and 1, not {percentile!r}")
    if not (cold >= 0 and floor >= 0 and isfinite(floor)):
        raise ValueError(f"cold and floor are numbers of seconds from 0, not {cold!r} and {floor!r}")
    if min_samples < 1:
        raise ValueError(f"min_samples is a number from 1, not {min_samples!r}")
    return Adaptive(
        "adaptive",
        float(cold),
        _at_least_one(max_active),
        budget,
        Latencies(),
        percentile=percentile,
        floor=floor,
        min_samples=min_samples,
    )


def fallback(*, budget: Budget | None = None) -> Policy:
    """Start the next one only when the one before has failed.

    :param budget: is given what each race earns; nothing is taken from it
    """
    return Policy("fallback", inf, None, budget)


def _at_least_one(max_active: int | None) -> int | None:
    if max_active is not None and max_active < 1:
        raise ValueError(f"max_active is a number from 1 or None, not {max_active!r}")
    return max_active


class Schedule:
    """Which entrant starts when.

    :param names: the entrants in their order
    :param held_until: the moment before which a name must not be started (its service asked for a pause)
    :param keys: what the policy knows them by, where that is not their names
    """

    def __init__(
        self,
        policy: Policy,
        names: Iterable[str],
        held_until: Callable[[str], float] = lambda _: -inf,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self._policy = policy
        self._budget = policy.budget
        self._waiting = deque(names)
        self._held_until = held_until
        self._keys = keys or {}
        self._begun = False
        self._next_turn = -inf
        self._owed = 0

    def __bool__(self) -> bool:
        """Whether anybody is still to be started."""
        return bool(self._waiting)

    def add(self, name: str) -> None:
        """Let one more be started, after all that wait."""
        self._waiting.append(name)

    def failed(self) -> None:
        """Somebody failed, so the next one starts at once: one for each failure, also for two in the same tick."""
        self._owed += 1

    def would_hedge(self, active: int) -> bool:
        """Whether the next one, with so many running, is started for slowness, sooner or later: as a budget allows."""
        return self._can_start(active) and self._is_hedge(active) and self._next_turn < inf

    def due(self, active: int) -> float:
        """When the next one starts, with so many running; infinity for not before something changes."""
        if not self._can_start(active):
            return inf
        return max(self._turn(active), min(self._held_until(name) for name in self._waiting))

    def start(self, now: float, active: int = 0) -> str:
        """Take the first one that is not held back; call it when ``due`` says so."""
        name = next(name for name in self._waiting if self._held_until(name) <= now)
        self._waiting.remove(name)
        self._pay(active)
        self._begun = True
        self._next_turn = now + self._policy.delay_after(self._keys.get(name, name))
        self._owed = max(0, self._owed - 1)
        return name

    def _turn(self, active: int) -> float:
        if not self._is_hedge(active):
            return -inf
        return self._next_turn if self._budget is None or self._budget.allows() else inf

    def _can_start(self, active: int) -> bool:
        most = self._policy.max_active
        return bool(self._waiting) and (most is None or active < most)

    def _is_hedge(self, active: int) -> bool:
        return bool(active) and not self._owed

    def _pay(self, active: int) -> None:
        if self._budget is None:
            return
        if not self._begun:
            self._budget.earn()
        elif self._is_hedge(active):
            self._budget.take()
