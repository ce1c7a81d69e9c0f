"""What a request's reports say, on the clock of the run: each race has one of its own, which begins with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from g4ftrio._words.report import EntrantReport, RaceReport
from g4ftrio.bench._records import EntrantRecord

__all__ = ("answering", "entrants", "moment")


def answering(report: RaceReport) -> EntrantReport | None:
    """The report of who gave the answer: of a race within the race, the innermost winner's."""
    winner = report.winner
    while winner is not None and winner.race is not None:
        winner = winner.race.winner
    return winner


def moment(report: EntrantReport | None, event: str, now: Callable[[], float]) -> float | None:
    """A time of a report on the clock that ``now`` reads.

    :param event: one of the report's ``*_at``
    """
    at: float | None = None if report is None else getattr(report, event)
    return None if report is None or at is None else now() - report.clock() + at


def entrants(report: RaceReport, now: Callable[[], float], outer: str = "") -> Iterator[EntrantRecord]:
    """Everybody who was entered, in the place of a race within the race its own entrants, as ``outer/inner``."""
    for entrant in report.entrants:
        if entrant.race is not None:
            inner = entrants(entrant.race, now, f"{outer}{entrant.name}/")
            yield from inner if entrant.outcome == "won" else map(_nobody_won, inner)
        else:
            yield _record(entrant, outer, now)


def _record(entrant: EntrantReport, outer: str, now: Callable[[], float]) -> EntrantRecord:
    times = ("started_at", "first_chunk_at", "clean_at", "ended_at")
    return EntrantRecord(
        name=outer + entrant.name,
        outcome=entrant.outcome,
        **{name: moment(entrant, name, now) for name in times},
        output_tokens=entrant.usage.output_tokens if entrant.usage else None,
        usage_known=entrant.usage_known,
    )


def _nobody_won(record: EntrantRecord) -> EntrantRecord:
    """The winner of a race that lost has lost."""
    return replace(record, outcome="lost") if record.outcome == "won" else record
