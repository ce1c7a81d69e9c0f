from __future__ import annotations

import json
from itertools import count
from typing import get_args

import pytest

from g4ftrio._words.chunks import FinishReason, Usage
from g4ftrio._words.errors import RateLimitError
from g4ftrio._words.report import EntrantReport, Outcome, RaceReport, ReportedError


def full_report() -> RaceReport:
    inner = RaceReport(policy="fallback", entrants=[EntrantReport(name="deep", outcome="won", clean_at=0.5)])
    return RaceReport(
        policy="parallel",
        entrants=[
            EntrantReport(
                name="one/a",
                model="a",
                outcome="won",
                started_at=0.0,
                connected_at=0.1234567891,
                first_byte_at=0.2,
                first_chunk_at=0.25,
                clean_at=0.25,
                ended_at=2.0,
                chunks=3,
                bytes=120,
                filtered=1,
                usage=Usage(input_tokens=4, output_tokens=5, details={"load_duration": 0.1234567891}),
                usage_known="exact",
            ),
            EntrantReport(
                name="two/b",
                outcome="failed",
                started_at=0.0,
                error=RateLimitError("slow down", provider="two/b", status=429, retry_after=2.0),
            ),
            EntrantReport(name="three", outcome="lost", race=inner),
            EntrantReport(name="four"),
        ],
    )


def test_a_report_is_plain_json_and_survives_the_round_trip() -> None:
    report = full_report().to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_report_names_every_field() -> None:
    entrant = full_report().to_dict()["entrants"][0]
    assert entrant == {
        "name": "one/a",
        "model": "a",
        "outcome": "won",
        "started_at": 0.0,
        "connected_at": 0.123457,
        "first_byte_at": 0.2,
        "first_chunk_at": 0.25,
        "clean_at": 0.25,
        "ended_at": 2.0,
        "chunks": 3,
        "bytes": 120,
        "retries": 0,
        "filtered": 1,
        "error": None,
        "usage": {
            "input_tokens": 4,
            "output_tokens": 5,
            "cached_tokens": None,
            "reasoning_tokens": None,
            "details": {"load_duration": 0.123457},
        },
        "usage_known": "exact",
        "finish_reason": None,
        "race": None,
        "attempts": [],
        "pause": None,
        "cost": None,
        "cost_known": "unknown",
    }


def test_an_error_is_reported_by_its_class_and_its_words() -> None:
    error = full_report().to_dict()["entrants"][1]["error"]
    assert error == {
        "type": "RateLimitError",
        "message": "two/b: too many requests (status 429): slow down. It asks to wait 2 s.",
    }


def test_an_error_without_words_is_reported_by_its_class() -> None:
    error = EntrantReport(name="one", error=KeyError()).to_dict()["error"]
    assert error == {"type": "KeyError", "message": "KeyError"}


def test_a_nested_race_is_reported_in_its_entrant() -> None:
    nested = full_report().to_dict()["entrants"][2]["race"]
    assert nested["policy"] == "fallback"
    assert [each["name"] for each in nested["entrants"]] == ["deep"]


def test_an_entrant_that_never_started_says_so_and_has_no_times() -> None:
    report = EntrantReport(name="four").to_dict()
    assert report["outcome"] == "not_started"
    assert [value for name, value in report.items() if name.endswith("_at")] == [None] * 6


def test_an_event_is_stamped_the_first_time_only() -> None:
    ticks = count(1)
    report = EntrantReport(name="one", clock=lambda: float(next(ticks)))
    report.stamp("started_at")
    report.stamp("first_byte_at")
    report.stamp("started_at")
    report.stamp("ended_at")
    assert (report.started_at, report.first_byte_at, report.ended_at) == (1.0, 2.0, 3.0)


def test_the_clock_is_no_part_of_the_report() -> None:
    assert "clock" not in EntrantReport(name="one").to_dict()


def test_the_winner_is_the_entrant_that_won() -> None:
    report = full_report()
    assert report.winner is report.entrants[0]
    report.entrants[0].outcome = "cancelled"
    assert report.winner is None


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_can_be_read_aloud(outcome: Outcome) -> None:
    report = RaceReport(policy="parallel", entrants=[EntrantReport(name="one", outcome=outcome)])
    assert str(report) == f"race, parallel:\n  one: {outcome.replace('_', ' ')}"


def test_a_report_prints_a_line_an_entrant() -> None:
    assert str(full_report()) == (
        "race, parallel:\n"
        "  one/a: won, clean after 0.250 s\n"
        "  two/b: failed: too many requests (status 429): slow down. It asks to wait 2 s.\n"
        "  three: lost\n"
        "  four: not started"
    )


def test_the_repr_of_an_entrant_is_short() -> None:
    assert repr(EntrantReport(name="one", outcome="won", clean_at=0.25)) == "<one won clean_at=0.250>"
    assert repr(EntrantReport(name="one")) == "<one not_started>"


def test_a_saved_report_is_read_again() -> None:
    saved = json.loads(json.dumps(full_report().to_dict()))
    read = RaceReport.from_dict(saved)
    assert read.to_dict() == saved
    error = read.entrants[1].error
    assert isinstance(error, ReportedError)
    assert error.type == "RateLimitError"
    assert str(read) == str(full_report())


def test_a_report_of_another_version_is_read_as_far_as_it_is_known() -> None:
    read = RaceReport.from_dict({"policy": "later", "entrants": [{"name": "one", "new": 1}], "also": "new"})
    assert read.entrants[0].to_dict() == EntrantReport(name="one").to_dict()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (None, "null"),
        ({}, "policy"),
        ({"policy": "", "entrants": [{}]}, "name"),
        ({"policy": "", "entrants": [{"name": "a", "outcome": "lucky"}]}, "lucky"),
        ({"policy": "", "entrants": [{"name": "a", "started_at": "now"}]}, "started_at"),
        ({"policy": "", "entrants": [{"name": "a", "error": {"type": 1}}]}, "error"),
        ({"policy": "", "entrants": [{"name": "a", "clock": 1}]}, "clock"),
        ({"policy": "", "entrants": [{"name": "a", "listener": 1}]}, "listener"),
    ],
)
def test_what_is_no_report_says_where(data: object, where: str) -> None:
    with pytest.raises(ValueError, match=f"this is no report of a race: .*{where}"):
        RaceReport.from_dict(data)


def test_races_nested_without_end_are_no_report() -> None:
    data: dict[str, object] = {"policy": "", "entrants": []}
    for _ in range(100_000):
        data = {"policy": "", "entrants": [{"name": "a", "race": data}]}
    with pytest.raises(ValueError, match="no report"):
        RaceReport.from_dict(data)
    while data["entrants"]:  # taken apart by hand: freeing it at once would exhaust the stack of some Pythons
        data = data["entrants"][0]["race"]  # type: ignore[index]  # it was made above


def test_the_time_stands_still_when_all_have_ended() -> None:
    running = EntrantReport(name="a", started_at=0.0, clock=lambda: 3.0)
    ended = EntrantReport(name="b", started_at=0.0, ended_at=1.0, clock=lambda: 3.0)
    assert RaceReport(policy="", entrants=[running, ended]).elapsed == 3.0
    assert RaceReport(policy="", entrants=[ended, EntrantReport(name="c", clock=lambda: 3.0)]).elapsed == 1.0
    assert RaceReport(policy="", entrants=[]).elapsed == 0.0


def test_the_reason_for_an_end_is_noted() -> None:
    report = EntrantReport(name="one")
    report.note_usage(["text", FinishReason("stop"), Usage(1, 2)])
    assert (report.finish_reason, report.usage) == ("stop", Usage(1, 2))
