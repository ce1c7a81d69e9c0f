"""What a run says: of each target its measures, of races what they won and cost, and how the targets compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any, Literal

from msgspec import Struct, to_builtins

from g4ftrio.bench._measures import MEASURES, Goals, is_answered, tokens
from g4ftrio.bench._races import RaceSummary, RaceTally
from g4ftrio.bench._records import Ending, RequestRecord, Run
from g4ftrio.bench._statistics import Interval, Sample, Statistics, difference, percentile

__all__ = ("Comparison", "Summary", "Tally", "TargetSummary", "request_rows", "summarize", "summary_rows")

_COMPARED = ("first_token", "first_content", "per_output_token", "end_to_end", "scheduled")
_LATE = 0.02  # seconds at p95, of sending or of noticing, from which it is said
_BUSY = 0.7  # of one core, from which the client may be what is measured
_EARLY = {"errors": "too many requests failed", "cost": "one more request might have cost more than max_cost"}


class TargetSummary(Struct, frozen=True, kw_only=True):
    """What a run says of one target. Requests of the warm-up and the cool-down are not in it.

    :ivar requests: that were sent, failed and broken off ones included
    :ivar cancelled: broken off by the run
    :ivar error_share: of the requests that were not broken off
    :ivar seconds: from the first of them to the end of the last
    :ivar tokens_per_second: of whole answers, over those seconds; ``requests_per_second`` likewise
    :ivar goodput: answers per second that met the goals, None where there are none
    :ivar good_share: the share of the requests, not broken off, whose answers did
    :ivar tokens_from: whether the services counted the tokens, or pieces were counted
    """

    requests: int
    answered: int
    cancelled: int
    errors: dict[str, int]
    error_share: float
    seconds: float
    tokens: int
    tokens_per_second: float
    requests_per_second: float
    goodput: float | None
    good_share: float | None
    tokens_from: Literal["usage", "pieces", "mixed"]
    measures: dict[str, Statistics]
    race: RaceSummary | None = None


class Comparison(Struct, frozen=True, kw_only=True):
    """A target against the first one.

    :ivar difference: of the medians, in seconds: below 0, it is faster than the base
    :ivar interval: where that lies with 95 % confidence; if 0 is in it, nothing is shown
    """

    target: str
    base: str
    measure: str
    difference: float
    interval: Interval


class Summary(Struct, frozen=True, kw_only=True):
    """What a run says.

    :ivar warnings: why it may not say what it seems to
    :ivar cpu_per_request: seconds of this machine's work for each, whatever else its thread did included
    :ivar cpu_per_piece: the same for each piece of an answer
    :ivar lateness: seconds by which it noticed too late what came: times may be that much too long
    """

    targets: dict[str, TargetSummary]
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    cpu_per_request: float | None = None
    cpu_per_piece: float | None = None
    lateness: Statistics | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = to_builtins(self)
        return plain


def summarize(run: Run, *, goals: Goals | None = None) -> Summary:
    """Sum a run up.

    :param goals: what a good answer keeps, for ``goodput``
    """
    tally = Tally(goals=goals, targets=run.setup.targets, seed=run.setup.seed)
    for record in run.records:
        tally.add(record)
    return tally.summary(run.ending)


class Tally:
    """Sums records up as they come, in memory that does not grow with them.

    :param targets: names in the order in which they are to be told; the others follow as they come
    """

    def __init__(self, *, goals: Goals | None = None, targets: Iterable[str] = (), seed: int = 0) -> None:
        self._goals = goals or Goals()
        self._seed = seed
        self._targets = {name: _TargetTally(self._goals, seed) for name in targets}
        self._requests = self._pieces = 0

    def add(self, record: RequestRecord) -> None:
        """Add a request."""
        self._requests += 1
        self._pieces += record.pieces
        if record.phase == "measured":
            if record.target not in self._targets:
                self._targets[record.target] = _TargetTally(self._goals, self._seed)
            self._targets[record.target].add(record)

    def summary(self, ending: Ending | None = None, *, intervals: bool = True) -> Summary:
        """What is to be said by now.

        :param intervals: whether to say how sure it is, and compare; that takes 0.1 s for each target, so leave it away
            while the run goes on
        """
        targets = {name: tally.summary(self._seed, intervals=intervals) for name, tally in self._targets.items()}
        cpu = ending.cpu_seconds if ending else None
        return Summary(
            targets=targets,
            comparisons=tuple(self._comparisons()) if intervals else (),
            warnings=tuple(_warnings(targets, ending)),
            cpu_per_request=cpu / self._requests if cpu is not None and self._requests else None,
            cpu_per_piece=cpu / self._pieces if cpu is not None and self._pieces else None,
            lateness=ending.lateness if ending else None,
        )

    def _comparisons(self) -> Iterator[Comparison]:
        (base, first), *others = self._targets.items() or [("", _TargetTally(self._goals, 0))]
        for measure in _COMPARED:
            theirs = first.samples[measure].ordered()
            for name, tally in others:
                own = tally.samples[measure].ordered()
                if min(len(own), len(theirs)) > 1:
                    yield Comparison(
                        target=name,
                        base=base,
                        measure=measure,
                        difference=percentile(own, 0.5) - percentile(theirs, 0.5),
                        interval=difference(own, theirs, seed=self._seed),
                    )


class _TargetTally:
    def __init__(self, goals: Goals, seed: int) -> None:
        self.samples = {name: Sample(seed=seed) for name in MEASURES}
        self._goals = goals
        self._errors: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._from: set[Literal["usage", "pieces"]] = set()
        self._first, self._last = inf, -inf
        self._race: RaceTally | None = None

    def add(self, record: RequestRecord) -> None:
        self._first, self._last = min(self._first, record.sent_at), max(self._last, record.ended_at)
        self._counts["requests"] += 1
        self._counts["cancelled"] += record.cancelled
        if record.error:
            self._errors[record.error] += 1
        if record.entrants:
            self._race = self._race or RaceTally()
            self._race.add(record)
        if is_answered(record):
            self._add_answer(record)

    def _add_answer(self, record: RequestRecord) -> None:
        self._counts["answered"] += 1
        self._counts["tokens"] += tokens(record)
        self._counts["good"] += self._goals.met_by(record)
        self._from.add(record.tokens_from)
        for name, values in MEASURES.items():
            for value in values(record):
                self.samples[name].add(value)

    def summary(self, seed: int, *, intervals: bool) -> TargetSummary:
        counts, seconds = self._counts, max(self._last - self._first, 0.0)
        asked = counts["requests"] - counts["cancelled"]

        def per_second(name: str) -> float:
            return counts[name] / seconds if seconds else 0.0

        return TargetSummary(
            requests=counts["requests"],
            answered=counts["answered"],
            cancelled=counts["cancelled"],
            errors=dict(self._errors.most_common()),
            error_share=self._errors.total() / asked if asked else 0.0,
            seconds=seconds,
            tokens=counts["tokens"],
            tokens_per_second=per_second("tokens"),
            requests_per_second=per_second("answered"),
            goodput=per_second("good") if self._goals else None,
            good_share=counts["good"] / asked if self._goals and asked else None,
            tokens_from=next(iter(self._from)) if len(self._from) == 1 else "mixed" if self._from else "pieces",
            measures={name: sample.statistics(seed=seed, intervals=intervals) for name, sample in self.samples.items()},
            race=self._race.summary(seed) if self._race else None,
        )


def _warnings(targets: Mapping[str, TargetSummary], ending: Ending | None) -> Iterator[str]:
    for name, target in targets.items():
        queue = target.measures["queue"]
        late = queue.p95 if queue.p95 is not None else queue.max
        if late is not None and late > _LATE:
            yield (
                f"{name}: requests were sent up to {late:.3g} s late (p95 of `queue`): the rate was more than this "
                f"machine or max_active holds. `scheduled` counts the waiting, `end_to_end` does not."
            )
    if ending is not None and ending.lateness is not None and (ending.lateness.p95 or 0) > _LATE:
        yield (
            f"this machine noticed up to {ending.lateness.p95:.3g} s too late what came (p95): "
            f"that is how much too long the times may be."
        )
    if ending is not None and ending.seconds > 0 and ending.cpu_seconds > _BUSY * ending.seconds:
        share = ending.cpu_seconds / ending.seconds
        yield f"this client's thread was busy for {share:.0%} of the run: some of what it measured is itself."
    if ending is not None and ending.reason in _EARLY:
        yield f"the run ended early: {_EARLY[ending.reason]}."


def summary_rows(summary: Summary) -> Iterator[dict[str, Any]]:
    """A summary as flat rows, one for each measure of each target: for CSV."""
    for name, target in summary.targets.items():
        for measure, statistics in target.measures.items():
            plain = to_builtins(statistics)
            del plain["intervals"]
            yield {"target": name, "measure": measure, **plain}


def request_rows(run: Run) -> Iterator[dict[str, Any]]:
    """A run as flat rows, one for each request: for CSV. Of the gaps it has only how many there are."""
    for record in run.records:
        plain = {name: getattr(record, name) for name in record.__struct_fields__ if name not in ("gaps", "entrants")}
        yield {**plain, "entrants": " ".join(entrant.name for entrant in record.entrants)}
