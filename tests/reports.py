"""Reports of races to draw: what can happen in one, and whatever a report can hold."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from g4ftrio import APIConnectionError, EntrantReport, RaceReport, RateLimitError, RejectedError, TruncatedError
from g4ftrio._words.report import Outcome

__all__ = ("any_report", "demo", "everything", "one")


def one() -> RaceReport:
    """One entrant, which won."""
    won: dict[str, Any] = {"started_at": 0.0, "connected_at": 0.5, "first_byte_at": 1.0, "first_chunk_at": 1.5}
    return RaceReport(
        policy="fallback", entrants=[EntrantReport(name="one", outcome="won", clean_at=2.0, ended_at=4.0, **won)]
    )


def demo() -> RaceReport:
    """The first to say something says nothing clean; the second wins; the third is slow."""
    return RaceReport(
        policy="parallel",
        entrants=[
            EntrantReport(
                name="promo/demo",
                outcome="lost",
                started_at=0.0,
                connected_at=0.004,
                first_byte_at=0.251,
                first_chunk_at=0.252,
                ended_at=0.462,
            ),
            EntrantReport(
                name="steady/demo",
                outcome="won",
                started_at=0.0,
                connected_at=0.003,
                first_byte_at=0.455,
                first_chunk_at=0.456,
                clean_at=0.458,
                ended_at=1.72,
            ),
            EntrantReport(name="patient/demo", outcome="lost", started_at=0.0, connected_at=0.005, ended_at=0.461),
        ],
    )


def everything() -> RaceReport:
    """All that can become of an entrant, and a race in the race."""
    limited = RateLimitError("slow <b>&down", provider="inner/limited", status=429)
    inner = RaceReport(
        policy="fallback",
        entrants=[
            EntrantReport(
                name="inner/limited", outcome="failed", started_at=0.0, connected_at=0.1, ended_at=0.2, error=limited
            ),
            EntrantReport(name="inner/spare", outcome="won", started_at=0.2, first_chunk_at=0.5, clean_at=0.6),
        ],
    )
    refused = APIConnectionError("127.0.0.1:9 refused the connection. Is the server running?")
    return RaceReport(
        policy="staggered(0.4)",
        entrants=[
            EntrantReport(
                name="won",
                outcome="won",
                started_at=0.0,
                connected_at=0.1,
                first_byte_at=1.0,
                first_chunk_at=1.2,
                clean_at=1.6,
                ended_at=4.0,
                error=TruncatedError("it ended early"),
            ),
            EntrantReport(name="backup", outcome="lost", started_at=0.4, ended_at=2.0, race=inner),
            EntrantReport(
                name="evil\x1b[2J\n" + "x" * 60,
                outcome="rejected",
                started_at=0.8,
                first_chunk_at=0.9,
                ended_at=1.0,
                error=RejectedError("nothing clean"),
            ),
            EntrantReport(name="refused", outcome="failed", started_at=1.0, ended_at=1.0, error=refused),
            EntrantReport(name="天空", outcome="cancelled", started_at=1.2, ended_at=1.4),
            EntrantReport(name="late", outcome="lost", started_at=1.6, ended_at=1.6),
            EntrantReport(name="spare"),
        ],
    )


_times = st.none() | st.floats(0, 100) | st.sampled_from([float("nan"), float("inf"), -1.0, 1e300, 5e-324])
_entrants = {
    "name": st.text(max_size=50),
    "outcome": st.sampled_from(get_args(Outcome)),
    "error": st.none() | st.builds(TruncatedError, st.text(max_size=200)),
    **{f"{name}_at": _times for name in ("started", "connected", "first_byte", "first_chunk", "clean", "ended")},
}


def _races(entrants: st.SearchStrategy[EntrantReport]) -> st.SearchStrategy[RaceReport]:
    return st.builds(RaceReport, policy=st.text(max_size=20), entrants=st.lists(entrants, max_size=4))


def any_report() -> st.SearchStrategy[RaceReport]:
    """Whatever a report can hold, and more than a race writes into one."""
    plain = st.builds(EntrantReport, **_entrants)
    return st.recursive(
        _races(plain), lambda races: _races(st.builds(EntrantReport, **_entrants, race=races)), max_leaves=4
    )
