"""What is said of a run."""

from __future__ import annotations

import json

import pytest

from g4ftrio import SetupError
from g4ftrio.bench import (
    Ending,
    EntrantRecord,
    Goals,
    Run,
    Statistics,
    Sweep,
    Tally,
    knees,
    request_rows,
    summarize,
    summary_rows,
    table,
)
from g4ftrio.bench._load import plain_load
from g4ftrio.bench._records import RequestRecord
from tests.bench.records import record, run_of, setup


def test_throughput_is_over_the_time_in_which_a_target_was_asked() -> None:
    run = run_of(record(sent_at=10.0, ended_at=14.0), record(sent_at=16.0, ended_at=20.0, scheduled_at=16.0))
    target = summarize(run).targets["a"]
    assert (target.seconds, target.tokens, target.tokens_per_second, target.requests_per_second) == (10.0, 10, 1.0, 0.2)


def test_what_failed_is_counted_by_kind_and_not_measured() -> None:
    run = run_of(
        record(),
        record(error="RateLimitError"),
        record(error="RateLimitError"),
        record(error="APIConnectionError"),
        record(cancelled=True),
    )
    target = summarize(run).targets["a"]
    assert target.errors == {"RateLimitError": 2, "APIConnectionError": 1}
    assert (target.requests, target.answered, target.cancelled, target.error_share) == (5, 1, 1, 0.75)
    assert {name: each.count for name, each in target.measures.items()} == {
        **dict.fromkeys(target.measures, 1),
        "inter_token": 4,
    }


def test_warm_up_and_cool_down_are_left_out() -> None:
    run = run_of(record(phase="warmup"), record(), record(phase="cooldown"))
    assert summarize(run).targets["a"].requests == 1


def test_goodput_is_of_answers_that_met_the_goals() -> None:
    run = run_of(*(record(ended_at=12.0 + n, sent_at=10.0, scheduled_at=10.0) for n in range(1, 9)))
    target = summarize(run, goals=Goals(end_to_end=6.0)).targets["a"]
    assert (target.goodput, target.good_share) == (4 / 10, 0.5)
    assert summarize(run).targets["a"].goodput is None


def test_where_tokens_come_from_is_said() -> None:
    assert summarize(run_of(record())).targets["a"].tokens_from == "pieces"
    assert summarize(run_of(record(tokens_from="usage"))).targets["a"].tokens_from == "usage"
    assert summarize(run_of(record(tokens_from="usage"), record())).targets["a"].tokens_from == "mixed"


def test_targets_are_compared_with_the_first() -> None:
    run = run_of(
        *(record(name, first_token_at=at + n / 100) for n in range(9) for name, at in (("a", 12.0), ("b", 13.0)))
    )
    found = {(each.target, each.measure): each for each in summarize(run).comparisons}
    assert found["b", "first_token"].base == "a"
    assert found["b", "first_token"].difference == pytest.approx(1.0)
    assert found["b", "first_token"].interval.low > 0.9
    assert found["b", "end_to_end"].difference == 0
    assert 0 in found["b", "end_to_end"].interval


def test_a_client_that_was_late_or_busy_says_so() -> None:
    ending = Ending(seconds=10, cpu_seconds=9)
    run = Run(setup=setup(), records=(record(),), ending=ending)
    summary = summarize(run)
    assert [warning.split(":")[0] for warning in summary.warnings] == [
        "a",
        "this client's thread was busy for 90% of the run",
    ]
    assert (summary.cpu_per_request, summary.cpu_per_piece) == (9, 9 / 5)
    assert summarize(run_of(record(sent_at=10.0))).warnings == ()


def test_a_client_that_noticed_late_what_came_says_by_how_much() -> None:
    late, prompt = (Ending(seconds=10, cpu_seconds=1, lateness=Statistics.of([each] * 20)) for each in (0.03, 0.001))
    run = Run(setup=setup(), records=(record(sent_at=10.0),), ending=late)
    assert [warning.split(" (")[0] for warning in summarize(run).warnings] == [
        "this machine noticed up to 0.03 s too late what came"
    ]
    assert "it noticed what came 30 ms late at p50, 30 ms at p95" in table(run, summarize(run))
    assert summarize(Run(setup=setup(), records=(record(sent_at=10.0),), ending=prompt)).warnings == ()


def test_a_target_that_was_never_asked_has_no_numbers() -> None:
    summary = summarize(Run(setup=setup("a", "b"), records=()))
    assert summary.targets["b"].requests == 0
    assert summary.targets["b"].measures["first_token"].p50 is None


def test_records_can_be_summed_up_as_they_come() -> None:
    run = run_of(record(), record("b"), record())
    tally = Tally()
    for each in run.records:
        tally.add(each)
    assert tally.summary() == summarize(run)
    quick = tally.summary(intervals=False)
    assert quick.targets["a"].measures["first_token"].p50 == 1.0
    assert (quick.comparisons, quick.targets["a"].measures["first_token"].intervals) == ((), {})


def test_a_summary_is_plain_json_and_rows() -> None:
    run = run_of(
        record(), record("b", entrants=(EntrantRecord(name="x", outcome="won", started_at=11.0, clean_at=12.5),))
    )
    summary = summarize(run)
    assert json.loads(json.dumps(summary.to_dict()))["targets"]["b"]["race"]["win_share"] == {"x": 1.0}
    rows = list(summary_rows(summary))
    assert rows[0] == {
        "target": "a",
        "measure": "connect",
        "count": 1,
        "mean": 0.25,
        "sd": None,
        "min": 0.25,
        "max": 0.25,
        **dict.fromkeys(("p50", "p75", "p90", "p95", "p99", "p999")),
    }
    assert len(rows) == 20
    assert next(iter(request_rows(run)))["ended_at"] == 14.0
    assert all(isinstance(value, str | int | float | None) for row in request_rows(run) for value in row.values())


def raced(*entrants: EntrantRecord) -> RequestRecord:
    return record(entrants=entrants)


def test_of_races_it_is_said_who_won_what_it_cost_and_what_waiting_lost() -> None:
    lost = EntrantRecord(
        name="x", outcome="lost", started_at=11.0, ended_at=13.25, output_tokens=7, usage_known="at_least"
    )
    late = EntrantRecord(name="y", outcome="won", started_at=12.0, clean_at=13.0, ended_at=15.0)
    alone = EntrantRecord(name="x", outcome="won", started_at=11.0, clean_at=12.0, ended_at=15.0)
    waiting = EntrantRecord(name="y", outcome="not_started")
    race = summarize(run_of(raced(lost, late), raced(alone, waiting))).targets["a"].race
    assert race is not None
    assert race.win_share == {"x": 0.5, "y": 0.5}
    assert (race.races, race.extra_calls, race.wasted_tokens, race.wasted_unknown) == (2, 0.5, 7, 0)
    assert (race.regret.min, race.regret.max) == (0.0, 1.0)  # y began a second later than it could have
    assert (race.closing.count, race.closing.max) == (1, 0.25)


def swept(latencies: list[float]) -> Run:
    """A sweep of three rates, ten requests each, with these latencies."""
    load = Sweep((1.0, 2.0, 4.0), seconds=10)
    records, number = [], 0
    for step, rate in enumerate(load.rates):
        for place in range(int(10 * rate)):
            at = step * 10 + place / rate
            records.append(record(round=number, scheduled_at=at, sent_at=at, ended_at=at + latencies[step]))
            number += 1
    return run_of(*records, options={"load": plain_load(load)})


def test_the_knee_is_the_last_rate_that_kept_the_pace() -> None:
    knee = knees(swept([1.0, 1.5, 9.0]))["a"]
    assert (knee.rate, [step.is_held for step in knee.steps]) == (2.0, [True, True, False])
    assert [step.requests for step in knee.steps] == [10, 20, 40]


def test_no_rate_is_held_after_one_that_was_not() -> None:
    assert knees(swept([1.0, 9.0, 1.0]))["a"].rate == 1.0


def test_with_goals_the_knee_is_where_they_are_met() -> None:
    assert knees(swept([1.0, 1.5, 9.0]), goals=Goals(end_to_end=1.2))["a"].rate == 1.0
    assert knees(swept([1.0, 1.5, 9.0]), goals=Goals(end_to_end=0.5))["a"].rate is None


def test_a_knee_takes_a_sweep() -> None:
    with pytest.raises(SetupError, match="1 user"):
        knees(run_of(record()))
