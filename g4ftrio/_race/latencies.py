"""How long entrants took of late, and whether they answered: a bounded memory of plain numbers under plain names.

An entrant that was dropped before it answered took longer than it was watched. Leave such times out, and whoever is
slow is never recorded: the percentile sinks, and with it the delay before a hedge, until twice as many calls are hedged
as should be. Take them for answers, and a caller who often gives up early makes an entrant look fast. They are
right-censored, so the percentile is read from the Kaplan-Meier estimate (JASA 53, 1958, 457-481), which counts each
among those still waited for up to the moment at which it was dropped, and not after it. That is sound as long as when
an entrant is dropped does not depend on how long it would have taken: it depends on the others.

How it is computed. From one censored time to the next the product telescopes, (n-1)/n * (n-2)/(n-1) ... = (n-k)/n, so
it is enough to walk from one to the next and to look up by bisection how many answers lie between. As hedges start at
the percentile, few censored times lie below it: a look costs O(c log n) with c of them, a new sample O(log n).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from math import ceil, inf
from threading import Lock
from typing import Any, Self

__all__ = ("Latencies",)

_LONGEST = 1e9  # seconds; what claims to have taken longer is no time
_RECENT = 9  # times that make the typical one: five new ones, and a recovered entrant is known as such
_OUTCOMES = 20


class Latencies:
    """The latest times and outcomes of each entrant, by its key. Threads may share it.

    :param window: times that are kept of each
    :param keys: entrants that are kept; whoever was not heard of for longest is forgotten first. All together are less
        than 1 MiB as JSON
    """

    def __init__(self, *, window: int = 200, keys: int = 250) -> None:
        self._window = window
        self._keys = keys
        self._entrants: dict[str, _Entrant] = {}
        self._lock = Lock()

    def answered(self, key: str, seconds: float) -> None:
        """Note that it answered after so long."""
        with self._lock:
            entrant = self._of(key)
            entrant.times.add(seconds, answered=True)
            entrant.outcomes.append(True)

    def dropped(self, key: str, seconds: float) -> None:
        """Note that it had not answered for so long when it was no longer waited for."""
        with self._lock:
            self._of(key).times.add(seconds, answered=False)

    def failed(self, key: str) -> None:
        """Note a failure, which says nothing about how long an answer takes."""
        with self._lock:
            self._of(key).outcomes.append(False)

    def percentile(self, key: str, share: float, least: int = 1) -> float | None:
        """Give the seconds within which it answers in this share of the calls; None with fewer than ``least`` answers.

        The longest time of all is taken for censored: one call alone says nothing about a tail. Where too many were
        dropped for the percentile to be known, it is the longest of the other answers.
        """
        with self._lock:
            entrant = self._entrants.get(key)
            if entrant is None or len(entrant.times.answers) < max(least, 1):
                return None
            return entrant.times.percentile(share)

    def typical(self, key: str) -> float | None:
        """Give the median of its latest times: infinity for more than was waited for, None if there are none."""
        with self._lock:
            entrant = self._entrants.get(key)
            if entrant is None:
                return None
            times = entrant.times.latest(_RECENT)
            return quantile(times.answers, times.censored, 0.5) if times.answers else inf

    def success(self, key: str) -> float | None:
        """Give the share of its latest calls that did not fail, with one of each kind added; None if there are none."""
        with self._lock:
            entrant = self._entrants.get(key)
            return None if entrant is None else (sum(entrant.outcomes) + 1) / (len(entrant.outcomes) + 2)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from the one that was not heard of for longest to the latest."""
        with self._lock:
            return {key: entrant.to_dict() for key, entrant in self._entrants.items()}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Make it from what ``to_dict`` gave; what is none of it is left out."""
        latencies = cls()
        latencies.restore(data)
        return latencies

    def restore(self, data: object) -> None:
        """Take over what ``to_dict`` gave in place of what is known of the same keys; ignore what is none of it."""
        if not isinstance(data, Mapping):
            return
        with self._lock:
            for key, kept in data.items():
                if isinstance(key, str) and isinstance(kept, Mapping):
                    self._entrants.pop(key, None)
                    self._of(key).restore(kept)

    def _of(self, key: str) -> _Entrant:
        self._entrants[key] = entrant = self._entrants.pop(key, None) or _Entrant(self._window)
        if len(self._entrants) > self._keys:
            del self._entrants[next(iter(self._entrants))]
        return entrant


class _Entrant:
    def __init__(self, window: int) -> None:
        self.times = _Times(window)
        self.outcomes: deque[bool] = deque(maxlen=_OUTCOMES)

    def to_dict(self) -> dict[str, Any]:
        times = [[round(seconds, 4), answered] for seconds, answered in self.times.in_order]
        return {"times": times, "outcomes": list(self.outcomes)}

    def restore(self, kept: Mapping[object, object]) -> None:
        for time in _rows(kept.get("times")):
            if _is_time(time):
                self.times.add(float(time[0]), answered=time[1])
        self.outcomes += [outcome for outcome in _rows(kept.get("outcomes")) if isinstance(outcome, bool)]


class _Times:
    """The latest so many times: as they came, and sorted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.in_order: deque[tuple[float, bool]] = deque()
        self.answers: list[float] = []
        self.censored: list[float] = []

    def add(self, seconds: float, *, answered: bool) -> None:
        self.in_order.append((seconds, answered))
        insort(self._list(answered), seconds)
        if len(self.in_order) > self._most:
            oldest, was_answered = self.in_order.popleft()
            times = self._list(was_answered)
            del times[bisect_left(times, oldest)]

    def percentile(self, share: float) -> float:
        known = len(self.answers)
        if known > 1 and not (self.censored and self.censored[-1] >= self.answers[-1]):
            known -= 1  # the longest of all
        return min(quantile(self.answers, self.censored, share, known), self.answers[known - 1])

    def latest(self, count: int) -> _Times:
        latest = _Times(count)
        for seconds, answered in list(self.in_order)[-count:]:
            latest.add(seconds, answered=answered)
        return latest

    def _list(self, answered: bool) -> list[float]:
        return self.answers if answered else self.censored


def quantile(answers: Sequence[float], censored: Sequence[float], share: float, known: int | None = None) -> float:
    """Give the time by which this share has answered, by Kaplan and Meier; infinity if too many were dropped before.

    :param answers: sorted, as are the censored times
    :param known: how many of the answers count as such; the others took longer than all
    """
    known = len(answers) if known is None else known
    ends = chain((bisect_right(answers, time, 0, known) for time in censored), (known,))
    pending, begin = 1.0, 0  # the share that waits still where a stretch without censored times begins, and its place
    for dropped, end in enumerate(ends):
        at_risk = len(answers) + len(censored) - begin - dropped
        needed = ceil(at_risk * (1 - (1 - share) / pending) - 1e-9)  # of 10, 0.9 are 9, not 9.000000000000002
        if needed <= end - begin:
            return answers[begin + max(needed, 1) - 1] if begin < end else inf
        pending *= 1 - (end - begin) / at_risk
        begin = end
    return inf


def _rows(data: object) -> list[Any]:
    return data if isinstance(data, list) else []


def _is_time(row: Any) -> bool:
    match row:
        case [bool(), _]:
            return False
        case [int() | float() as seconds, bool()]:
            return 0 <= seconds < _LONGEST
    return False
