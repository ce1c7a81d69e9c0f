"""Several runs as one, so that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from msgspec.structs import replace

from g4ftrio.bench._records import RequestRecord, Run, Setup
from g4ftrio.bench._summary import Comparison, Summary, summarize

__all__ = ("compared", "merged")

_BETWEEN = ": "


def merged(runs: Mapping[str, Run]) -> Run:
    """Put runs into one, in which a target is called after its run as well; their beginnings coincide.

    :param runs: by their names; of a single one nothing is changed
    """
    if len(runs) == 1:
        return next(iter(runs.values()))
    records = chain.from_iterable(_renamed(name, run) for name, run in runs.items())
    return Run(
        setup=_setup(runs),
        records=tuple(replace(record, number=number) for number, record in enumerate(records)),
        interrupted=any(run.interrupted for run in runs.values()),
    )


def compared(runs: Mapping[str, Run], whole: Run) -> Summary:
    """Sum runs up that were put into one: a target that is in several is compared with itself in the first of them."""
    summary = summarize(whole)
    again = [name for name in dict.fromkeys(_targets(runs)) if len(_homes(runs, name)) > 1]
    if len(runs) == 1 or not again:
        return summary
    comparisons = (each for name in again for each in _against_itself(whole, _homes(runs, name)))
    return replace(summary, comparisons=tuple(comparisons))


def _against_itself(whole: Run, homes: tuple[str, ...]) -> tuple[Comparison, ...]:
    setup = replace(whole.setup, targets=homes)
    records = tuple(record for record in whole.records if record.target in homes)
    return summarize(replace(whole, setup=setup, records=records)).comparisons


def _homes(runs: Mapping[str, Run], target: str) -> tuple[str, ...]:
    return tuple(f"{name}{_BETWEEN}{target}" for name, run in runs.items() if target in run.setup.targets)


def _targets(runs: Mapping[str, Run]) -> chain[str]:
    return chain.from_iterable(run.setup.targets for run in runs.values())


def _renamed(name: str, run: Run) -> list[RequestRecord]:
    """Give the records of a run with the names that its targets and entrants have among several."""

    def called(who: str) -> str:
        return who and f"{name}{_BETWEEN}{who}"

    return [
        replace(
            record,
            target=called(record.target),
            winner=called(record.winner),
            entrants=tuple(replace(entrant, name=called(entrant.name)) for entrant in record.entrants),
        )
        for record in run.records
    ]


def _setup(runs: Mapping[str, Run]) -> Setup:
    setups = {name: run.setup for name, run in runs.items()}

    def told(field: str) -> str:
        return "; ".join(dict.fromkeys(str(getattr(setup, field)) for setup in setups.values()))

    return Setup(
        version=told("version"),
        targets=tuple(f"{name}{_BETWEEN}{target}" for name, setup in setups.items() for target in setup.targets),
        races={
            f"{name}{_BETWEEN}{race}": tuple(f"{name}{_BETWEEN}{each}" for each in entrants)
            for name, setup in setups.items()
            for race, entrants in setup.races.items()
        },
        load=told("load"),
        seed=next(iter(setups.values())).seed,
        started=told("started"),
        machine=told("machine"),
        backend=told("backend"),
    )
