"""A race drawn as text."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from g4ftrio import EntrantReport, RaceReport
from g4ftrio._words.printable import cells
from tests.reports import any_report, demo, everything, one


def test_one_entrant() -> None:
    assert (
        one().waterfall(60)
        == """\
one won after 2 s (fallback)
     0                      2 s                   4 s
one  ╌╌╌╌╌──────░░░░░░▒▒▒▒▒▒███████████████████████  won 2 s
╌ connecting   ─ waiting for the first byte
░ waiting for the first chunk   ▒ nothing clean yet
█ clean: it won"""
    )


def test_three_entrants() -> None:
    assert (
        demo().waterfall()
        == """\
steady/demo won after 458 ms (parallel)
              0             500 ms         1 s           1.5 s
promo/demo    ───────▒▒▒▒▒▒┤                                      dropped 458 ms
steady/demo   ─────────────█████████████████████████████████████  won 458 ms
patient/demo  ─────────────┤                                      dropped 458 ms
─ waiting for the first byte   ▒ nothing clean yet   █ clean: it won   ┤ dropped"""
    )


def test_everything_in_ascii() -> None:
    assert (
        everything().waterfall(72, ascii=True)
        == """\
won won after 1.6 s (staggered(0.4))
                              0           2 s         4 s
won                           ------:===##############x  broke off 4 s
backup                        ..--------__|              dropped 1.6 s
  inner/limited                 ~x                       failed 600 ms
  inner/spare                   .--=######               won 1 s
evil␛[2J xxxxxxxxxxxxxxxxxx~  .....=x                    rejected 1 s
refused                       ......x                    failed 1 s
天空                          .......-|                  cancelled 1.4 s
late                          ..........|                dropped 1.6 s
spare                                                    not asked
. waiting for its turn   ~ connecting   - waiting for the first byte
: waiting for the first chunk   = nothing clean yet   # clean: it won
_ closing   | dropped   x failed
x won: the answer was cut off: it ended early
x inner/limited: too many requests (status 429): slow <b>&down
x evil␛[2J xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx~
x refused: the connection failed: 127.0.0.1:9 refused the connection. I~"""
    )


def test_a_race_that_is_still_on_is_drawn_up_to_now() -> None:
    running = EntrantReport(name="a", outcome="running", started_at=0.0, clock=lambda: 2.0)
    waiting = EntrantReport(name="b", clock=lambda: 2.0)
    assert (
        RaceReport(policy="fallback", entrants=[running, waiting]).waterfall(40)
        == """\
nobody has won yet (fallback)
   0            1 s         2 s
a  ──────────────────────────  not over
b                              not asked
─ waiting for the first byte"""
    )


def test_a_race_without_entrants_is_drawn() -> None:
    assert RaceReport(policy="parallel", entrants=[]).waterfall() == "nobody won (parallel)"


@pytest.mark.parametrize("width", [0, 40, 41, 60, 200])
def test_no_line_is_wider_than_allowed(width: int) -> None:
    for line in everything().waterfall(width).splitlines():
        assert cells(line) <= max(width, 40)


def test_names_and_errors_cannot_move_the_cursor() -> None:
    drawn = everything().waterfall(200)
    assert "\x1b" not in drawn
    assert "evil␛[2J xxx" in drawn


@given(any_report(), st.integers(20, 120), st.booleans())
def test_any_report_can_be_drawn(report: RaceReport, width: int, plain: bool) -> None:
    lines = report.waterfall(width, ascii=plain).splitlines()
    assert all(cells(line) <= max(width, 40) for line in lines)
    assert lines == RaceReport.from_dict(report.to_dict()).waterfall(width, ascii=plain).splitlines()
