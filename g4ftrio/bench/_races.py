"""What is measured of a race: who won, what it cost, and what waiting for one's turn lost."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from g4ftrio.bench._records import EntrantRecord, RequestRecord
from g4ftrio.bench._statistics import Sample, Statistics

__all__ = ("RaceSummary", "RaceTally")


class RaceSummary(Struct, frozen=True, kw_only=True):
    """What a run says of the races of one target.

    :ivar win_share: of the races that somebody won, by entrant
    :ivar regret: seconds by which the answer would have come sooner had its winner been started first. Nobody knows how
        long the others would have taken, so it is the least regret; ``policies`` estimates the whole of it
    :ivar extra_calls: entrants that were started beyond the first, for each request
    :ivar wasted_tokens: those that losers are known to have written
    :ivar wasted_unknown: losers that were started of which nothing is known; they may have written more
    :ivar closing: seconds from the win until the last loser was closed
    """

    races: int
    win_share: dict[str, float]
    regret: Statistics
    extra_calls: float
    wasted_tokens: int
    wasted_unknown: int
    closing: Statistics


class RaceTally:
    """Sums races up as they come."""

    def __init__(self) -> None:
        self._races = 0
        self._wins: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._regret = Sample()
        self._closing = Sample()

    def add(self, record: RequestRecord) -> None:
        """Add a request that was a race."""
        started = [each for each in record.entrants if each.started_at is not None]
        winner = next((each for each in started if each.outcome == "won"), None)
        losers = [each for each in started if each is not winner]
        self._races += 1
        self._counts["extra"] += max(len(started) - 1, 0)
        for entrant in record.entrants:
            self._wins[entrant.name] += 0
        for loser in losers:
            self._counts["wasted"] += loser.output_tokens or 0
            self._counts["unknown"] += loser.usage_known == "unknown"
        if winner is not None and winner.clean_at is not None:
            self._wins[winner.name] += 1
            self._regret.add(_since(min(each.started_at or 0.0 for each in started), winner.started_at))
            if closed := [each.ended_at for each in losers if _was_open(each, winner.clean_at)]:
                self._closing.add(_since(winner.clean_at, max(filter(None, closed))))

    def summary(self, seed: int = 0) -> RaceSummary:
        """What is to be said of them."""
        won = self._wins.total()
        return RaceSummary(
            races=self._races,
            win_share={name: wins / won for name, wins in self._wins.most_common()} if won else {},
            regret=self._regret.statistics(seed=seed),
            extra_calls=self._counts["extra"] / self._races if self._races else 0.0,
            wasted_tokens=self._counts["wasted"],
            wasted_unknown=self._counts["unknown"],
            closing=self._closing.statistics(seed=seed),
        )


def _was_open(entrant: EntrantRecord, at: float) -> bool:
    return entrant.ended_at is not None and entrant.ended_at >= at


def _since(begin: float, end: float | None) -> float:
    return 0.0 if end is None else end - begin
