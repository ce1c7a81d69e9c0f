"""What follows from a run, as tables: which policy to take, and which rate a service holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from g4ftrio._drawing.units import figures, milliseconds, percent
from g4ftrio._words.errors import SetupError
from g4ftrio.bench._knees import Knee, knees
from g4ftrio.bench._measures import Goals
from g4ftrio.bench._policies import PolicyEstimate, Verified, policies
from g4ftrio.bench._records import Run
from g4ftrio.bench._statistics import Statistics
from g4ftrio.bench._table import Grid

__all__ = ("findings", "verified_grid")

_PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999"}
_WHO = {"alone": "{} alone", "policy": "{}", "hindsight": "the fastest each time"}
_AGREES = {True: "yes", False: "no", None: "too few samples"}


def findings(run: Run, goals: Goals | None = None) -> list[Grid]:
    """Tell what can be concluded from the run; nothing where it is not of the kind."""
    return [*_policies(run), *_knees(run, goals)]


def verified_grid(tried: Iterable[Verified]) -> Grid:
    """Tell how policies did when they were tried, beside what had been estimated."""
    rows = tuple(
        (
            each.name,
            milliseconds(each.estimated.p50),
            milliseconds(each.measured.p50),
            milliseconds(each.estimated.p90),
            milliseconds(each.measured.p90),
            figures(each.estimated_extra_calls),
            figures(each.measured_extra_calls),
            _AGREES[each.agrees],
        )
        for each in tried
    )
    return Grid(
        title="Policies tried: first content in milliseconds, estimated and measured",
        heads=("policy", "p50 est.", "p50", "p90 est.", "p90", "extra calls est.", "extra calls", "medians agree"),
        rows=rows,
        words=(0, 7),
    )


def _policies(run: Run) -> Iterator[Grid]:
    try:
        estimates = policies(run, seed=run.setup.seed)
    except SetupError:  # nobody, or only one, was asked alone
        return
    yield Grid(
        title="Which policy to take: first content in milliseconds",
        heads=("asked", *_PERCENTILES, "extra calls", "failed", "regret"),
        rows=tuple(map(_estimated, estimates)),
        notes=(
            "estimated from what each did alone, round by round; --verify-policies tries them",
            "extra calls: providers asked beyond the first; regret: behind the fastest each time, on average",
        ),
    )


def _estimated(estimate: PolicyEstimate) -> tuple[str, ...]:
    return (
        _WHO[estimate.kind].format(estimate.name),
        *_percentiles(estimate.seconds),
        figures(estimate.extra_calls),
        percent(estimate.error_share),
        milliseconds(estimate.regret),
    )


def _knees(run: Run, goals: Goals | None) -> Iterator[Grid]:
    try:
        found = knees(run, goals=goals)
    except SetupError:  # it was no sweep
        return
    yield Grid(
        title="Sweep: end to end since schedule, in milliseconds",
        heads=("target", "rate/s", *_PERCENTILES, "good", "held"),
        rows=tuple(_steps(found)),
        words=(0, 7),
        notes=tuple(_held(name, knee) for name, knee in found.items()),
    )


def _steps(found: Mapping[str, Knee]) -> Iterator[tuple[str, ...]]:
    for name, knee in found.items():
        for step in knee.steps:
            cells = (f"{step.rate:g}", *_percentiles(step.scheduled), percent(step.good_share))
            yield (name, *cells, "yes" if step.is_held else "no")


def _held(name: str, knee: Knee) -> str:
    return f"{name} holds {'none of these rates' if knee.rate is None else f'{knee.rate:g} requests/s'}"


def _percentiles(statistics: Statistics) -> tuple[str, ...]:
    return tuple(milliseconds(getattr(statistics, name)) for name in _PERCENTILES.values())
