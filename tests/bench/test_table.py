"""What a run came to, as a terminal shows it."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace

from g4ftrio.bench import Ending, Goals, Run, Statistics, Sweep, Verified, summarize, table
from g4ftrio.bench._findings import findings, verified_grid
from g4ftrio.bench._load import plain_load
from g4ftrio.bench._table import Grid, as_rich, as_text, tables, verdicts, warnings
from tests.bench.records import record, run_of, setup
from tests.bench.runs import HOSTILE, answers, drawn, raced

WHOLE = """\
Requests
target  requests      errors  tokens/s  requests/s  tokens counted by
swift          3  1 (33.3 %)      2.14       0.714  the service's
slow           3           0      2.20       0.732  pieces
left out: 1 request of warmup
pieces: where a service does not count its tokens, each piece that came is taken for one
this client's thread worked 10 ms for each request, which is 3.33 ms for each piece

Latencies in milliseconds
target  measure           p50  p90  p99  p99.9   mean   sd  samples
swift   first token       300    -    -      -    300  141        2
slow    first token     1,600    -    -      -  1,733  513        3
swift   between tokens    250    -    -      -    250    0        4
slow    between tokens    250    -    -      -    250    0        6
swift   end to end        800    -    -      -    800  141        2
slow    end to end      2,100    -    -      -  2,233  513        3
- too few samples: a percentile is given where one of them at least is expected to lie beyond it

Against swift: medians, in milliseconds
target  measure      difference  95 % confidence  so it is
slow    first token      +1,300   +900 to +2,100  later
slow    end to end       +1,300   +900 to +2,100  later

Errors
target  error           times  the first one said
swift   RateLimitError      1  slow down
"""


def small() -> Run:
    swift = answers("swift", 0.2, 0.4, 0.3)
    swift[2] = replace(swift[2], error="RateLimitError", message="slow down")
    slow = answers("slow", 1.3, 2.3, 1.6, tokens_from="pieces", output_tokens=None)
    warm = record("slow", phase="warmup", pieces=3)
    ending = Ending(seconds=5, cpu_seconds=0.07)
    return Run(setup=setup("swift", "slow"), records=(*swift, *slow, warm), ending=ending)


def test_a_run_is_told_in_words_and_numbers() -> None:
    run = small()
    assert table(run, summarize(run)) == WHOLE


def test_a_verdict_is_a_sentence_and_says_where_nothing_is_shown() -> None:
    assert verdicts(summarize(small()))[0] == (
        "slow gives its first token 1.3 s later than swift (median; 95 % confidence: 900 ms to 2.1 s)."
    )
    same = run_of(*answers("a", 1.0, 2.0, 3.0), *answers("b", 3.0, 2.0, 1.0))
    assert verdicts(summarize(same))[0] == (
        "b gives its first token neither sooner nor later than a, as far as these samples show."
    )


def test_a_race_is_told_by_who_won_and_what_it_cost() -> None:
    run = raced("swift", "swift", "slow")
    (race,) = (grid for grid in tables(run, summarize(run)) if grid.title == "Races")
    assert race.rows == (("race", "swift 66.7 %, slow 33.3 %", "3", "1.00", "at least 0", "0", "2.00", "2.00"),)


def test_goals_have_a_column_where_there_are_any() -> None:
    run = run_of(*answers("a", 0.2, 0.4, 0.6, 0.8))
    (told, *_) = tables(run, summarize(run, goals=Goals(first_token=0.5)))
    assert (told.heads[5], told.rows[0][5]) == ("met the goals", "50 %")


def test_which_policy_to_take_is_told_where_providers_were_asked_alone() -> None:
    (grid,) = findings(drawn(["swift", "slow"], 20))
    asked = [row[0] for row in grid.rows]
    assert asked[:3] == ["swift alone", "slow alone", "parallel()"]
    assert (asked[-2], asked[-1]) == ("fallback()", "the fastest each time")
    parallel = grid.rows[2]
    assert (parallel[5], parallel[6]) == ("1.00", "0 %")
    assert findings(drawn(["swift"], 20)) == []


def test_a_sweep_tells_which_rates_were_held() -> None:
    sweep = Sweep((1.0, 2.0), seconds=2)
    waits = (1.0, 1.0, 1.0, 1.0, 9.0, 9.0)
    run = run_of(*answers("a", *waits), options={"load": plain_load(sweep)})
    (grid,) = findings(run)
    assert [(row[1], row[-1]) for row in grid.rows] == [("1", "yes"), ("2", "no")]
    assert grid.notes == ("a holds 1 requests/s",)


def test_policies_that_were_tried_stand_beside_their_estimates() -> None:
    tried = Verified(
        name="parallel()",
        estimated=Statistics(p50=0.4),
        measured=Statistics(p50=0.5),
        estimated_extra_calls=1,
        measured_extra_calls=1,
        agrees=None,
    )
    assert verified_grid([tried]).rows == (("parallel()", "400", "500", "-", "-", "1.00", "1.00", "too few samples"),)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (replace(small(), interrupted=True), "the run was interrupted: this is what was measured until then."),
        (run_of(record(error="APITimeoutError")), "every request failed."),
        (Run(setup=setup("a"), records=()), "no request was measured."),
    ],
)
def test_what_makes_a_run_doubtful_is_said(run: Run, said: str) -> None:
    assert said in warnings(run, summarize(run))


def test_a_run_without_a_request_is_told_too() -> None:
    run = Run(setup=setup("a"), records=())
    assert table(run, summarize(run)).splitlines()[2].split() == ["a", "0", "0", "0", "0", "pieces"]


def test_a_terminal_is_not_told_what_it_would_obey() -> None:
    run = run_of(*answers(HOSTILE, 1.0, 2.0), *answers("b", 1.0, 2.0), record(HOSTILE, error=HOSTILE, message=HOSTILE))
    drawn_richly = io.StringIO()
    from rich.console import Console

    Console(file=drawn_richly, width=200).print(as_rich(tables(run, summarize(run))))
    for told in (table(run, summarize(run)), drawn_richly.getvalue()):
        assert "\x1b" not in told
        assert "\u202e" not in told
        assert "\u241b[31m" in told
        assert told.encode()


def test_columns_are_straight_where_names_are_wide() -> None:
    rows = (("模型", "1"), ("ab", "22"))
    assert as_text([Grid(title="T", heads=("a", "n"), rows=rows)]) == "T\na      n\n模型   1\nab    22\n"


def test_rich_and_plain_tables_have_the_same_cells() -> None:
    from rich.console import Console

    grids = tables(small(), summarize(small()))
    written = io.StringIO()
    Console(file=written, width=200).print(as_rich(grids))
    assert written.getvalue().split() == as_text(grids).split()


def test_a_line_break_in_a_cell_breaks_no_table() -> None:
    assert as_text([Grid(title="T", heads=("a", "b"), rows=(("x\ny", "1"),))]) == "T\na    b\nx y  1\n"
