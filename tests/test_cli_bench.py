"""`g4ftrio bench`: what it refuses, what it sends to whom, what it writes where; and what it saves when interrupted."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from g4ftrio.bench import Sweep, read
from g4ftrio.cli import _bench, _found, main
from g4ftrio.cli._gauge import Gauge, Lines, Picture, choose
from g4ftrio.simulator import Fault, Running, Service, ThreadFleet, run_in_thread
from tests.bench.records import record

SECRET = "sk-nobody-may-see-this"


class Told:
    """What one run of the command line gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    def table(self, title: str) -> list[list[str]]:
        """Give the cells of a table, its heads first."""
        _, _, below = self.out.partition(f"{title}\n")
        return [line.split() for line in below.partition("\n\n")[0].splitlines()]


Run = Callable[..., Told]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line with no server on this machine."""

    async def nothing_listens(places: object) -> set[tuple[str, int]]:
        return set()

    monkeypatch.setattr(_found, "_open", nothing_listens)

    def run(*argv: str, stdin: str = "") -> Told:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = main(["bench", *argv])
        out, err = capsys.readouterr()
        return Told(status, out, err)

    return run


@pytest.fixture(scope="module")
def services() -> Iterator[ThreadFleet]:
    services = [
        Service("swift", first_token=0.01, text="It is blue."),
        Service("slow", first_token=0.05, text="It is blue."),
        Service("broken", fault=Fault("error", status=503)),
        Service("guarded", key=SECRET, text="Blue."),
        Service("before", models=("m",), first_token=0.1, text="It is blue."),
        Service("after", models=("m",), first_token=0.01, text="It is blue."),
        Service("endless", gap=0.01, tokens=100_000),
    ]
    with run_in_thread(services) as running:
        yield running


@pytest.fixture
def fleet(services: ThreadFleet) -> Iterator[Callable[[str], Running]]:
    """Services by name; a test ends when they have seen its connections closed."""
    for running in services.values():
        running.log.clear()
    yield services.__getitem__
    while any(running.connections for running in services.values()):
        sleep(0.001)


Fleet = Callable[[str], Running]


def asked(running: Running) -> list[Any]:
    return [exchange.body["messages"][0]["content"] for exchange in running.log]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--rate", "5", "--users", "2"], "--users and --rate cannot be used together: choose one"),
        (["--rate", "fast"], "--rate fast: write --rate R"),
        (["--rate", "0"], "rate of a load is a number above 0, not 0.0"),
        (["--rate", "nan"], "rate of a load is a number above 0, not nan"),
        (["--users", "0"], "users are a number from 1, not 0"),
        (["--users", "1.5"], "--users 1.5: write --users N"),
        (["--bursts", "5"], "--bursts 5: write --bursts R:SHAPE"),
        (["--ramp", "1:5"], "--ramp needs --duration SECONDS"),
        (["--ramp", "1-5", "--duration", "9"], "--ramp 1-5: write --ramp A:B"),
        (["--sweep", "1,2,x"], "--sweep 1,2,x: write --sweep R,R,R"),
        (["--trace", "/nowhere/trace.csv"], "the trace /nowhere/trace.csv cannot be read"),
        (["--count", "0"], "'--count'"),
        (["--duration", "-1"], "'-1' is not a number of seconds above 0"),
        (["--duration", "5", "--warmup", "5"], "warmup and cooldown leave nothing of duration"),
        (["--cancel", "2"], "'--cancel'"),
        (["--goal", "first=1"], "'first=1' is not NAME=SECONDS, with a NAME out of first_token, "),
        (["--goal", "first_token=soon"], "'soon' is not a number of seconds above 0"),
        (["--plot", "x.gif"], "'x.gif' ends neither in .svg nor in .png"),
        (["--html", "/nowhere/x.html"], "/nowhere/x.html cannot be written: its directory is not there"),
        (["--csv", "/"], "/ cannot be written: it is a directory"),
        (["--jsonl", "/nowhere/x.jsonl"], "/nowhere/x.jsonl cannot be written"),
        (["--prompts", "/nowhere/prompts"], "the prompts in /nowhere/prompts cannot be read"),
        (["hi", "--prompt-words", "5"], "PROMPT and --prompt-words cannot be used together"),
        (["--race", "openai/x"], "--race 'openai/x': a race is of two at least, SPEC,SPEC"),
        (["-p", "opnai"], "there is no provider named 'opnai': did you mean openai"),
        (["-p", "openai/x"], "openai/x: there is no API key. Set the OPENAI_API_KEY environment variable."),
        (["-p", "openai-compatible/x@http://127.0.0.1:1/v1"], "nobody answers at 127.0.0.1:1"),
        (["--loop", "curio"], "'--loop'"),
        (["report"], "Missing argument 'FILES...'"),
        (["report", "/nowhere/run.jsonl"], "the run /nowhere/run.jsonl cannot be read"),
        (["report", __file__], "does not begin as a run does"),
    ],
)
def test_a_wrong_use_is_told_before_anything_is_sent(run: Run, argv: list[str], said: str) -> None:
    told = run(*argv)
    assert (told.status, told.out) == (2, "")
    last = told.err.splitlines()[-1]
    assert last.startswith("g4ftrio: ")
    assert said in last


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_providers_and_their_race_are_measured_and_told(run: Run, fleet: Fleet, tmp_path: Path, loop: str) -> None:
    swift, slow = fleet("swift").spec, fleet("slow").spec
    files = {name: str(tmp_path / f"run.{name}") for name in ("json", "jsonl", "csv", "html", "svg")}
    told = run(
        *("Why?", "-p", swift, "-p", slow, "--race", f"{slow},{swift}", "--users", "2", "--count", "6", "--loop", loop),
        *("--warmup", "1", "--goal", "first_token=30", "--json", files["json"], "--jsonl", files["jsonl"]),
        *("--csv", files["csv"], "--html", files["html"], "--plot", files["svg"]),
    )
    assert told.status == 0
    heads, *rows = told.table("Requests")
    assert heads == [
        "target",
        "requests",
        "errors",
        "tokens/s",
        "requests/s",
        "met",
        "the",
        "goals",
        "tokens",
        "counted",
        "by",
    ]
    names = ["openai-compatible/swift", "openai-compatible/slow", "race"]
    assert [row[:3] for row in rows[:3]] == [[name, "6", "0"] for name in names]
    assert "left out: 3 requests of warmup" in told.out
    assert "won by" in told.out
    assert "openai-compatible/swift alone" in told.out
    announced = told.err.splitlines()[0]  # a busy machine adds that some were sent late
    assert announced.startswith("each gets 7 requests by 2 users (1 prompt): openai-compatible/swift (127.0.0.1:")
    assert announced.endswith("race (of openai-compatible/slow, openai-compatible/swift)")

    found = read(files["jsonl"])
    assert (found.setup.backend, len(found.records), found.interrupted) == (loop, 21, False)
    summary = json.loads(Path(files["json"]).read_text("utf-8"))
    assert [(name, target["answered"]) for name, target in summary["targets"].items()] == [(name, 6) for name in names]
    with Path(files["csv"]).open(newline="", encoding="utf-8") as file:
        assert [row["target"] for row in csv.DictReader(file)] == [each.target for each in found.records]
    assert "Who won the races" in Path(files["html"]).read_text("utf-8")
    assert Path(files["svg"]).read_text("utf-8").startswith("<svg")


def test_no_request_has_the_prompt_of_another_unless_that_is_wanted(run: Run, fleet: Fleet) -> None:
    run("Why?", "-p", fleet("swift").spec, "--count", "3", "-q")
    prompts = asked(fleet("swift"))
    assert len(set(prompts)) == 3
    assert all(prompt.endswith("Why?") for prompt in prompts)
    fleet("swift").log.clear()
    run("Why?", "-p", fleet("swift").spec, "--count", "2", "-q", "--allow-cache", "--max-tokens", "7")
    assert asked(fleet("swift")) == ["Why?", "Why?"]
    assert fleet("swift").log[0].body["max_tokens"] == 7


def test_prompts_come_from_a_file_or_from_standard_input_or_are_made_up(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("one\ntwo\n")
    given = ("-p", fleet("swift").spec, "--users", "1", "--count", "2", "-q", "--allow-cache")
    run(*given, "--prompts", str(tmp_path / "prompts"))
    run(*given, "--prompts", "-", stdin="three\nfour\n")
    assert asked(fleet("swift")) == ["one", "two", "three", "four"]
    fleet("swift").log.clear()
    run(*given, "--prompt-words", "9")
    assert [len(prompt.split()) for prompt in asked(fleet("swift"))] == [9, 9]


def test_a_dry_run_says_who_would_get_what_and_sends_nothing(run: Run, fleet: Fleet) -> None:
    given = ("-p", fleet("swift").spec, "--poisson", "5", "--duration", "4", "--dry-run", "--prompts", "-")
    told = run(*given, stdin="a\nb\n")
    assert told.status == 0
    assert told.table("What would be sent")[1][2:] == ["36", "-", "-"]  # "a" and "user" make 5 characters
    assert told.err.startswith("each gets ")
    assert " requests by poisson 5/s within 4 s (" in told.err
    assert not fleet("swift").log


def test_a_dry_run_tells_what_it_would_cost(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    swift, slow = fleet("swift").spec, fleet("slow").spec
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({swift: [1, 2], "openai-compatible/slow": [1, 4]}))
    given = ("x" * 16, "-p", swift, "--race", f"{swift},{slow}", "--count", "1000", "--dry-run", "-q")
    told = run(*given, "--max-tokens", "100", "--prices", str(prices), "--price", "openai-compatible/swift=1000,20")
    assert told.table("What would be sent")[1:3] == [
        ["openai-compatible/swift", "1,000", "5,000", "100,000", "7"],
        ["race", "1,000", "10,000", "200,000", "7.405"],
    ]


def test_a_run_ends_before_it_costs_too_much_and_says_what_it_cost(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    name, jsonl = "openai-compatible/swift", tmp_path / "run.jsonl"
    given = ("Why?", "-p", fleet("swift").spec, "--users", "1", "--count", "500", "-q", "--jsonl", str(jsonl))
    told = run(*given, "--max-tokens", "100", "--price", f"{name}=0,10000", "--max-cost", "1.5")
    assert told.status == 0
    assert "one more request might have cost more than max_cost" in told.err
    cost = float(told.table("What it cost at most")[1][1])
    assert 0.5 < cost <= 1.5
    found = read(jsonl)
    assert sum(record.output_tokens or 0 for record in found.records) / 100 == pytest.approx(cost, rel=1e-3)


def test_prices_that_are_none_are_refused(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    given = ("-p", fleet("swift").spec, "--dry-run")
    (tmp_path / "prices").write_text("[]")
    assert "write --price SPEC=IN,OUT" in run(*given, "--price", "swift").err
    assert "is no file of prices" in run(*given, "--prices", str(tmp_path / "prices")).err
    assert "is no file of prices" in run(*given, "--prices", str(tmp_path / "missing")).err
    assert "max_cost needs prices" in run(*given, "--max-cost", "1").err
    told = run(*given, "--max-cost", "1", "--price", "openai-compatible/swift=1,1")
    assert (told.status, told.err.splitlines()[-1]) == (
        2,
        "g4ftrio: max_cost needs max_tokens, so that it is known what a request costs at most",
    )


def test_standard_output_can_be_the_summary_and_the_table_then_is_elsewhere(run: Run, fleet: Fleet) -> None:
    told = run("-p", fleet("swift").spec, "--count", "2", "--json", "-")
    assert list(json.loads(told.out)["targets"]) == ["openai-compatible/swift"]
    assert "Latencies in milliseconds" in told.err


def test_where_nobody_answers_errors_are_told_and_the_status_is_1(run: Run, fleet: Fleet) -> None:
    told = run("-p", fleet("broken").spec, "--count", "2", "-q")
    assert told.status == 1
    assert told.err.splitlines()[-1] == "g4ftrio: every request failed."
    assert told.table("Errors")[1][:3] == ["openai-compatible/broken", "InternalServerError", "2"]


def test_too_many_errors_end_it(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    jsonl = str(tmp_path / "run.jsonl")
    told = run("-p", fleet("broken").spec, "--count", "500", "--max-errors", "0.5", "-q", "--jsonl", jsonl)
    assert told.status == 1
    assert "too many requests failed" in told.err
    assert 10 <= len(read(jsonl).records) < 30


def test_a_rate_that_this_machine_cannot_hold_is_told(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    told = run("-p", fleet("swift").spec, "--rate", "1000000", "--count", "200", "--json", str(tmp_path / "sum.json"))
    assert "the rate was more than this machine or max_active holds" in told.err
    (target,) = json.loads((tmp_path / "sum.json").read_text())["targets"].values()
    queue, waited, asked = (target["measures"][name]["mean"] for name in ("queue", "scheduled", "end_to_end"))
    assert queue > 0.01
    assert waited == pytest.approx(queue + asked)


def test_requests_may_go_to_a_pipe_that_nobody_can_read_again(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        lines = reader.submit(pipe.read_bytes)
        told = run("-p", fleet("swift").spec, "--count", "3", "--jsonl", str(pipe))
        assert len(lines.result().splitlines()) == 5
    assert told.table("Requests")[1][1] == "3"


def test_a_key_is_shown_nowhere(run: Run, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", SECRET)
    files = {name: tmp_path / f"run.{name}" for name in ("json", "jsonl", "csv", "html")}
    saves = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    told = run("-p", fleet("guarded").spec, "--count", "2", *saves)
    everything = told.out + told.err + "".join(path.read_text("utf-8") for path in files.values())
    assert SECRET not in everything


def test_what_a_service_said_runs_in_no_spreadsheet(run: Run, tmp_path: Path, fleet: Fleet) -> None:
    run("-p", fleet("swift").spec, "--count", "1", "-q", "--jsonl", str(tmp_path / "run.jsonl"))
    lines = (tmp_path / "run.jsonl").read_text("utf-8").splitlines()
    first = {**json.loads(lines[1]), "error": "Bad", "message": "=cmd|'/c calc'!A0"}
    (tmp_path / "run.jsonl").write_text("\n".join([lines[0], json.dumps(first), lines[2]]) + "\n", "utf-8")
    told = run("report", str(tmp_path / "run.jsonl"), "--csv", str(tmp_path / "run.csv"))
    assert told.status == 0
    with (tmp_path / "run.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["message"] == "'=cmd|'/c calc'!A0"


def test_runs_are_compared_target_by_target(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.jsonl") for name in ("before", "after")]
    for path, name in zip(paths, ("before", "after"), strict=True):
        run("-p", fleet(name).spec, "--users", "1", "--count", "4", "-q", "--jsonl", path)
    told = run("report", *paths, "--html", str(tmp_path / "both.html"))
    assert told.status == 0
    assert [row[:2] for row in told.table("Requests")[1:3]] == [
        ["before:", "openai-compatible/m"],
        ["after:", "openai-compatible/m"],
    ]
    (_, *rows) = told.table("Against before: openai-compatible/m: medians, in milliseconds")
    assert rows[0][:4] == ["after:", "openai-compatible/m", "first", "token"]
    assert rows[0][-1] == "sooner"
    assert "after: openai-compatible/m" in (tmp_path / "both.html").read_text("utf-8")


def test_runs_with_one_name_are_called_by_their_paths(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run("-p", fleet("swift").spec, "--count", "1", "-q", "--jsonl", str(tmp_path / name / "run.jsonl"))
    told = run("report", *(str(tmp_path / name / "run.jsonl") for name in ("a", "b", "b")))
    rows = told.table("Requests")[1:4]
    assert [row[0].removeprefix(str(tmp_path)) for row in rows] == ["/a/run.jsonl:", "/b/run.jsonl:", "/b/run.jsonl':"]


def test_policies_are_tried_where_that_is_wanted(run: Run, fleet: Fleet) -> None:
    specs = ("-p", fleet("slow").spec, "-p", fleet("swift").spec)
    told = run(*specs, "--count", "2", "--verify-policies")
    tried = told.table("Policies tried: first content in milliseconds, estimated and measured")
    assert tried[1][0] == "parallel()"
    assert tried[-1][0] == "fallback()"
    assert "now 2 races by each of parallel(), staggered(" in told.err


@pytest.mark.parametrize(
    ("argv", "load"),
    [
        (["--rate", "50"], "50/s"),
        (["--poisson", "50"], "poisson 50/s"),
        (["--bursts", "50:0.5"], "bursts 50/s, shape 0.5"),
        (["--ramp", "10:50", "--duration", "0.1"], "ramp 10 to 50/s in 0.1 s"),
        (["--sweep", "20,40", "--duration", "0.2"], "sweep 20, 40/s, 0.1 s each"),
        (["--trace", "trace"], "trace of 2 requests in 0.05 s"),
    ],
)
def test_every_load_can_be_written(
    run: Run, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], load: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trace").write_text('{"at": 0}\n{"at": 0.05}\n')
    told = run("-p", fleet("swift").spec, *argv, "--count", "2", "--jsonl", "run.jsonl")
    assert (told.status, read("run.jsonl").setup.load) == (0, load)
    assert ("holds" in told.out) == (argv[0] == "--sweep")
    assert Sweep((20, 40), 0.1).is_endless is False


def test_without_a_provider_simulated_ones_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    services = (Service("promo", text="A."), Service("steady", text="B."))
    monkeypatch.setattr(_bench, "DEMO", services)
    told = run("--count", "2")
    assert told.status == 0
    assert "no provider was named, so simulated ones answer" in told.err
    assert [row[0] for row in told.table("Requests")[1:4]] == ["promo", "steady", "race"]


def test_help_tells_of_the_report(run: Run) -> None:
    assert "g4ftrio bench report FILE" in run("--help").out
    assert "Usage: g4ftrio bench report [OPTIONS] FILES..." in run("report", "--help").out


def test_progress_counts_and_gives_the_last_percentiles() -> None:
    gauge = Lines(["a", "b"], 10)
    for wait in (0.5, 1.5, 2.5):
        gauge.add(record("a", first_token_at=11.0 + wait))
    gauge.add(record("b", error="Bad", first_token_at=None))
    assert gauge.done == 4
    assert gauge.courses["a"].percentiles()["p50"] == 1.5
    assert gauge.courses["b"].percentiles()["p50"] is None
    assert gauge.courses["b"].failed == 1


def test_progress_is_chosen_by_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose(["a"], 1, quiet=True)) is Gauge
    assert type(choose(["a"], 1, quiet=False)) is Lines
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert type(choose(["a"], 1, quiet=False)) is Picture


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_an_interrupt_ends_it_and_what_was_measured_is_told(fleet: Fleet, tmp_path: Path, loop: str) -> None:
    specs = ["-p", fleet("swift").spec, "-p", fleet("endless").spec]
    saves = ["--jsonl", str(tmp_path / "run.jsonl"), "--html", str(tmp_path / "run.html")]
    command = [sys.executable, "-m", "g4ftrio", "bench", *specs, *saves, "--count", "100000", "--loop", loop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(fleet("swift").log) < 5:
            sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.endswith("g4ftrio: the run was interrupted: this is what was measured until then.\n")
    assert "Latencies in milliseconds" in out
    found = read(tmp_path / "run.jsonl")
    assert found.interrupted
    assert len(found.records) >= 5
    assert "The run was interrupted" in (tmp_path / "run.html").read_text("utf-8")
