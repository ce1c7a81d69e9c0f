"""The knee of a sweep: up to which rate a service keeps its pace."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, ValidationError, convert

from g4ftrio._words.errors import SetupError
from g4ftrio.bench._load import Sweep
from g4ftrio.bench._measures import Goals, is_answered, values
from g4ftrio.bench._records import RequestRecord, Run
from g4ftrio.bench._statistics import Statistics

__all__ = ("Knee", "Step", "knees")

_SLOWER = 2.0  # times the first step's
_GOOD = 0.9  # the share of good answers by which goodput is commonly told


class Step(Struct, frozen=True, kw_only=True):
    """One rate of a sweep.

    :ivar rate: requests per second that were to be sent
    :ivar scheduled: seconds from when a request was to be sent until its answer was whole
    :ivar good_share: of the requests, those that were answered whole and met the goals
    :ivar is_held: whether the service kept its pace
    """

    rate: float
    requests: int
    scheduled: Statistics
    good_share: float
    is_held: bool


class Knee(Struct, frozen=True, kw_only=True):
    """What a sweep says of one target.

    :ivar rate: the highest that was held, and every lower one too; None if not even the first was
    """

    rate: float | None
    steps: tuple[Step, ...]


def knees(run: Run, *, goals: Goals | None = None) -> dict[str, Knee]:
    """Find the knee of each target in a run whose load was a ``Sweep``.

    A step is held if at least 90 % of its requests are answered and meet the goals; and where there are no goals, if
    its mean answer, from when it was scheduled, takes at most twice that of the first step. What comes after a step
    that was not held bears its burden, and is not counted as held either.

    :raises SetupError: the load was another
    """
    try:
        load = convert(run.setup.options.get("load"), Sweep)
    except ValidationError:
        raise SetupError(f"a knee takes a run whose load is a sweep, and this one's was {run.setup.load}") from None
    found: dict[str, list[list[RequestRecord]]] = {name: [[] for _ in load.rates] for name in run.setup.targets}
    for record in run.records:
        if record.phase == "measured" and not record.cancelled:
            found[record.target][load.step(record.round)].append(record)
    return {name: _knee(load, steps, goals or Goals()) for name, steps in found.items()}


def _knee(load: Sweep, records: Sequence[Sequence[RequestRecord]], goals: Goals) -> Knee:
    steps: list[Step] = []
    for rate, sent in zip(load.rates, records, strict=True):
        answered = [record for record in sent if is_answered(record)]
        scheduled = Statistics.of(value for record in answered for value in values(record, "scheduled"))
        good_share = sum(map(goals.met_by, answered)) / len(sent) if sent else 0.0
        is_slow = not goals and _mean(scheduled) > _SLOWER * _mean(steps[0].scheduled if steps else scheduled)
        is_held = good_share >= _GOOD and not is_slow and all(step.is_held for step in steps)
        steps.append(Step(rate=rate, requests=len(sent), scheduled=scheduled, good_share=good_share, is_held=is_held))
    return Knee(rate=max((step.rate for step in steps if step.is_held), default=None), steps=tuple(steps))


def _mean(statistics: Statistics) -> float:
    return statistics.mean or 0.0
