"""The command line in this process: what it refuses, what it sends, and what it writes where."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select
from time import sleep
from typing import Any

import anyio
import pytest

from g4ftrio._words import errors
from g4ftrio._words.chunks import Usage
from g4ftrio._words.report import EntrantReport, RaceReport
from g4ftrio.cli import _entrants, _found, _run, main
from g4ftrio.cli._demo import fleet_of
from g4ftrio.cli._drawing import coloured, plain
from g4ftrio.cli._failure import as_dict, exit_status, in_words
from g4ftrio.cli._output import Output
from g4ftrio.cli._screen import Lines, Screen, choose
from g4ftrio.cli._view import events, state, summary, table
from g4ftrio.simulator import Fault, Running, Service, ThreadFleet, run_in_thread

SECRET = "sk-nobody-may-see-this"


class Told:
    """What one run of the command line gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Told]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line with nothing on standard input, and no server on this machine."""

    async def nothing_listens(places: object) -> set[tuple[str, int]]:
        return set()

    monkeypatch.setattr(_found, "_open", nothing_listens)

    def run(*argv: str, stdin: bytes = b"") -> Told:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        status = main(argv)
        out, err = capsys.readouterr()
        return Told(status, out, err)

    return run


@pytest.fixture(scope="module")
def services() -> Iterator[ThreadFleet]:
    services = [
        Service("good", first_token=0.05, text="It is blue."),
        Service("silent", fault="stall"),
        Service("cut", text="one two three four five six", fault=Fault("cut", after=3)),
        Service("wrong", fault=Fault("error", status=503)),
        Service("limited", fault=Fault("rate_limit", retry_after=7)),
        Service("thinker", text="Done.", reasoning=3),
        Service("rude", text="a\x1b[2Jb\n"),
        Service("guarded", key=SECRET),
        Service("many", models=("large", "small")),
    ]
    with run_in_thread(services) as running:
        yield running


@pytest.fixture
def fleet(services: ThreadFleet) -> Iterator[Callable[[str], Running]]:
    """Services by name; a test ends when they have seen its connections closed."""
    yield services.__getitem__
    while any(running.connections for running in services.values()):
        sleep(0.001)


Fleet = Callable[[str], Running]


def port(running: Running) -> int:
    return int(running.api_base.rsplit(":", 1)[1].removesuffix("/v1"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["race", "hi", "-p", "opnai"], "there is no provider named 'opnai': did you mean openai"),
        (["race", "hi", "-p", "://"], "'://' is not a provider's spec: write provider[/model][@base_url]"),
        (
            ["race", "hi", "-p", "openai/x"],
            "openai/x: there is no API key. Set the OPENAI_API_KEY environment variable.",
        ),
        (
            ["race", "hi", "-p", "vllm"],
            "vllm: which model? Write -p vllm/MODEL or -m MODEL; `g4ftrio models vllm` lists",
        ),
        (["race", ""], "the prompt is empty: write it behind the command, or pipe it in"),
        (["race"], "the prompt is empty: write it behind the command, or pipe it in"),
        (["ask", "hi", "--polcy", "x"], "(see `g4ftrio ask --help`)"),
        (
            ["race", "hi", "--policy", "zig"],
            "'zig' is none of parallel, staggered:SECONDS, adaptive[:PERCENTILE] and fallback",
        ),
        (
            ["race", "hi", "--policy", "staggered:soon"],
            "write the head start in seconds, staggered:2, or the percentile from 0 to 1",
        ),
        (["race", "hi", "--timeout", "-1"], "'-1' is not a number of seconds; 0 is no limit"),
        (["race", "hi", "-o", "temprature", "1"], "unknown parameter 'temprature': did you mean 'temperature'?"),
        (["race", "hi", "--max-tokens", "0"], "'--max-tokens'"),
        (["race", "hi", "--loop", "curio"], "'--loop'"),
        (["race", "hi", "--all"], "write -p PROVIDER/MODEL; `g4ftrio providers` lists them"),
        (["race", "hi", "--all", "-p", "vllm/x"], "--all and -p cannot be used together"),
        (["race", "hi", "--api-key", "x"], "No such option"),
        (["models", "opnai"], "did you mean openai"),
        (["models", "openai"], "openai: there is no API key. Set the OPENAI_API_KEY environment variable."),
        (["simulate", "--fault", "steady"], "'steady' is not NAME:FAULT, with a NAME out of promo, steady, patient"),
        (
            ["simulate", "--dialect", "steady:antropic"],
            "steady: there is no dialect named 'antropic'; there is anthropic,",
        ),
        (
            ["simulate", "--dialect", "nobody:anthropic"],
            "'nobody:anthropic' is not NAME:DIALECT, with a NAME out of promo",
        ),
        (["simulate", "--fault", "steady:stal"], "there is no fault named 'stal': did you mean 'stall"),
        (["simulate", "--fault", "steady:cut,aft=3"], "fault 'cut' does not take 'aft'; it takes after"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_a_wrong_use_is_one_line_that_says_what_to_do(run: Run, argv: list[str], said: str) -> None:
    told = run(*argv)

    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("g4ftrio: ")
    assert said in told.err
    assert told.err.count("\n") == 1


def test_without_a_command_the_help_comes_on_standard_error(run: Run) -> None:
    told = run()

    assert (told.status, told.out) == (2, "")
    assert "Commands:" in told.err


@pytest.mark.parametrize("argv", [["-h"], ["race", "--help"], ["--version"]])
def test_help_and_version_are_answers(run: Run, argv: list[str]) -> None:
    told = run(*argv)

    assert (told.status, told.err) == (0, "")
    assert "g4ftrio" in told.out


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_the_answer_goes_to_standard_output_and_everything_else_to_standard_error(
    run: Run, fleet: Fleet, loop: str
) -> None:
    told = run("race", "Why?", "-p", fleet("good").spec, "-p", fleet("silent").spec, "--loop", loop)

    assert (told.status, told.out) == (0, "It is blue.\n")
    goes_to, *lines = told.err.splitlines()
    assert goes_to == (
        f"the prompt goes to openai-compatible/good (127.0.0.1:{port(fleet('good'))}),"
        f" openai-compatible/silent (127.0.0.1:{port(fleet('silent'))})"
    )
    assert [line[12:] for line in lines if line.endswith((": won", ": dropped"))] == [
        "openai-compatible/good: won",
        "openai-compatible/silent: dropped",
    ]
    assert lines[-1].startswith("openai-compatible/good won after ")
    assert "finish: stop; dropped: openai-compatible/silent at " in lines[-1]


def test_quiet_shows_nothing_but_errors(run: Run, fleet: Fleet) -> None:
    assert run("race", "Why?", "-q", "-p", fleet("good").spec).err == ""
    assert "status 503" in run("race", "Why?", "-q", "-p", fleet("wrong").spec).err


def test_json_is_one_object_with_the_answer_and_the_report(run: Run, fleet: Fleet) -> None:
    told = run("race", "Why?", "--json", "-p", fleet("good").spec, "-p", fleet("silent").spec)

    assert told.out.count("\n") == 1
    assert {**told.json, "report": None, "usage": None} == {
        "text": "It is blue.",
        "winner": "openai-compatible/good",
        "model": "good",
        "finish_reason": "stop",
        "usage": None,
        "tool_calls": [],
        "report": None,
    }
    assert told.json["usage"]["output_tokens"] == 3
    assert told.json["report"]["policy"] == "parallel()"
    assert [entrant["outcome"] for entrant in told.json["report"]["entrants"]] == ["won", "lost"]


def test_a_cut_answer_is_printed_and_then_an_error(run: Run, fleet: Fleet) -> None:
    told = run("race", "Why?", "-p", fleet("cut").spec)

    assert (told.status, told.out) == (1, "one two three\n")
    assert told.err.splitlines()[-1].startswith("g4ftrio: openai-compatible/cut: the answer was cut off")
    assert "broke off" in told.err

    told = run("race", "Why?", "--json", "-p", fleet("cut").spec)

    assert (told.status, told.json["text"], told.json["error"]["type"]) == (1, "one two three", "TruncatedError")


def test_where_nobody_answers_every_failure_is_told_once(run: Run, fleet: Fleet) -> None:
    specs = ("-p", fleet("wrong").spec, "-p", fleet("limited").spec)
    told = run("race", "Why?", *specs)

    assert (told.status, told.out) == (1, "")
    assert told.err.endswith("g4ftrio: no provider answered (2 asked)\n")
    assert told.err.count("status 503") == told.err.count("It asks to wait 7 s.") == 1

    quiet = run("race", "Why?", "-q", *specs)

    assert quiet.err.splitlines()[0] == "g4ftrio: no provider answered (2 asked)"
    assert quiet.err.count("status 503") == quiet.err.count("It asks to wait 7 s.") == 1

    error = run("race", "Why?", "--json", *specs).json["error"]

    assert error["type"] == "AllFailed"
    assert error["failures"]["openai-compatible/limited"]["retry_after"] == 7


def test_a_timeout_and_an_unreachable_server_are_one_line_each(run: Run, fleet: Fleet) -> None:
    told = run("race", "Why?", "-q", "--timeout", "0.05", "-p", fleet("silent").spec)

    assert (told.status, told.out) == (1, "")
    assert told.err.startswith("g4ftrio: openai-compatible/silent: no ")
    assert "within 0.05 s" in told.err

    told = run("race", "Why?", "-q", "-p", "openai-compatible/x@http://127.0.0.1:9/v1")

    assert (told.status, told.out) == (1, "")
    assert told.err.startswith("g4ftrio: openai-compatible/x: the connection failed")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("argv", [["-p", "opnai"], ["--max-tokens", "none"], ["--all"]])
def test_a_wrong_use_is_json_too_where_json_is_wanted(run: Run, argv: list[str]) -> None:
    told = run("race", "hi", "--json", *argv)

    assert told.status == 2
    assert told.json["report"] is None
    assert f"g4ftrio: {told.json['error']['message']}" in told.err


def test_what_is_piped_in_follows_the_prompt_after_a_blank_line(run: Run, fleet: Fleet) -> None:
    def asked(*argv: str, stdin: bytes = b"") -> object:
        run("race", "-q", "-p", fleet("good").spec, *argv, stdin=stdin)
        return fleet("good").log[-1].body["messages"]

    assert asked("Why?", stdin=b"line\n") == [{"role": "user", "content": "Why?\n\nline"}]
    assert asked("-", stdin=b"Why?\n") == [{"role": "user", "content": "Why?"}]
    assert asked(stdin=b"Why?\n") == [{"role": "user", "content": "Why?"}]
    assert asked("Why?", "-s", "Be brief.")[0] == {"role": "system", "content": "Be brief."}  # type: ignore[index]  # a list


def test_what_is_piped_in_must_be_text(run: Run, fleet: Fleet) -> None:
    told = run("race", "-p", fleet("good").spec, stdin=b"\xff\xfe")

    assert (told.status, told.err) == (2, "g4ftrio: standard input is not UTF-8 text (its byte 0 is none)\n")
    assert run("race", "a\udcff", "-p", fleet("good").spec).status == 2


def test_options_are_sent(run: Run, fleet: Fleet) -> None:
    run(
        "race",
        "Why?",
        "-q",
        "-p",
        fleet("good").spec,
        "--max-tokens",
        "7",
        "-o",
        "temperature",
        "0.5",
        "-o",
        "user",
        "me",
    )

    body = fleet("good").log[-1].body
    assert {name: body[name] for name in ("max_tokens", "temperature", "user")} == {
        "max_tokens": 7,
        "temperature": 0.5,
        "user": "me",
    }


def test_ask_gives_the_first_a_head_start(run: Run, fleet: Fleet) -> None:
    told = run("ask", "Why?", "--json", "-p", fleet("good").spec, "-p", fleet("silent").spec)

    assert told.json["report"]["policy"] == "staggered(2)"
    assert [entrant["outcome"] for entrant in told.json["report"]["entrants"]] == ["won", "not_started"]


def test_specs_may_stand_in_the_environment(run: Run, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G4FTRIO_PROVIDERS", f"{fleet('wrong').spec},\n{fleet('good').spec}")

    told = run("race", "Why?", "--json")

    assert [entrant["name"] for entrant in told.json["report"]["entrants"]] == [
        "openai-compatible/wrong",
        "openai-compatible/good",
    ]


def test_a_bad_spec_in_the_environment_is_told_with_the_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G4FTRIO_PROVIDERS", "opnai/x")

    told = run("race", "Why?")

    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("g4ftrio: in $G4FTRIO_PROVIDERS: there is no provider named 'opnai'")


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    services = (
        Service("promo", text="Late.", fault=Fault("advertising", seconds=30)),
        Service("steady", first_token=0.05, text="Blue.", dialect="gemini-live"),
    )
    monkeypatch.setattr(_run, "DEMO", services)


@pytest.mark.usefixtures("small_demo")
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_without_a_provider_the_simulated_fleet_answers_and_no_key_is_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    told = run("race", "Why?", "--loop", loop)

    assert (told.status, told.out) == (0, "Blue.\n")
    hint, goes_to, *_ = told.err.splitlines()
    assert hint == (
        "no provider was named, so simulated ones answer. Found: openai (OPENAI_API_KEY)."
        " To ask them: g4ftrio race --all -m MODEL PROMPT"
    )
    assert goes_to == "the prompt goes to promo (simulated openai-compatible), steady (simulated gemini-live)"
    assert "promo: dropped: 44 characters filtered" in told.err
    assert SECRET not in told.out + told.err


@pytest.mark.usefixtures("small_demo")
def test_without_anything_found_the_hint_says_how_to_name_a_provider(run: Run) -> None:
    hint = run("race", "Why?").err.splitlines()[0]

    assert hint.endswith("To ask others: g4ftrio race -p PROVIDER/MODEL PROMPT; `g4ftrio providers` lists them")


def test_all_asks_a_local_server_for_its_first_model(run: Run, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    async def one_listens(places: set[tuple[str, int]]) -> set[tuple[str, int]]:
        return places & {("127.0.0.1", port(fleet("many")))}

    monkeypatch.setenv("VLLM_BASE_URL", fleet("many").api_base)
    monkeypatch.setattr(_found, "_open", one_listens)
    monkeypatch.setenv("DEEPSEEK_API_KEY", SECRET)

    told = run("race", "Why?", "--all")

    assert told.status == 0
    assert fleet("many").log[-1].body["model"] == "large"
    assert told.err.splitlines()[:2] == [
        (
            "left out: deepseek (DEEPSEEK_API_KEY): which model?"
            " Write -p deepseek/MODEL or -m MODEL; `g4ftrio models deepseek` lists them"
        ),
        f"the prompt goes to vllm/large (127.0.0.1:{port(fleet('many'))})",
    ]


@pytest.mark.anyio
async def test_servers_are_found_by_a_connection() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        here = ("127.0.0.1", listener.extra(anyio.abc.SocketAttribute.local_port))
        assert await _found._open({here, ("127.0.0.1", 9)}) == {here}


def test_the_list_of_providers_says_whether_there_is_a_key_and_never_the_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    told = run("providers")
    rows = [line.split() for line in told.out.splitlines()]

    assert rows[0] == ["PROVIDER", "ADDRESS", "KEY", "SET", "WIRE"]
    assert ["openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "yes", "OpenAIChat"] in rows
    assert ["deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "no", "OpenAIChat"] in rows
    described = {row["label"]: row for row in run("providers", "--json").json}
    assert described["openai"]["key_is_set"] is True
    assert described["vllm"]["needs_key"] is False
    assert [described[label]["wire"] for label in ("gemini", "gemini-live", "openai-responses-ws")] == [
        *("Gemini", "GeminiLive", "OpenAIResponsesSocket")
    ]
    assert SECRET not in told.out + json.dumps(described)


def test_a_key_does_not_follow_to_another_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    told = run("race", "hi", "-p", "openai/x@https://example.com/v1")

    assert told.status == 2
    assert "the key in OPENAI_API_KEY goes only to https://api.openai.com" in told.err
    assert SECRET not in told.err


def test_models_are_listed(run: Run, fleet: Fleet) -> None:
    assert run("models", fleet("many").spec).out == "large\nsmall\n"
    assert run("models", fleet("many").spec, "--json", "--loop", "asyncio").json == ["large", "small"]

    told = run("models", fleet("guarded").spec, "--json")

    assert (told.status, told.json["error"]["status"]) == (1, 401)


def test_reasoning_is_shown_only_if_wanted_and_never_on_standard_output(run: Run, fleet: Fleet) -> None:
    plain = run("race", "Why?", "-q", "-p", fleet("thinker").spec)
    shown = run("race", "Why?", "-q", "-p", fleet("thinker").spec, "--reasoning")

    assert (plain.out, plain.err) == ("Done.\n", "")
    assert shown.out == "Done.\n"
    assert len(shown.err.split()) == 3
    assert shown.err.endswith("\n")


def test_tool_calls_are_json_lines_on_standard_error(run: Run, fleet: Fleet) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

    told = run("race", "please look", "-q", "-p", fleet("good").spec, "-o", "tools", json.dumps([tool]))

    assert told.out == ""
    assert json.loads(told.err) == {"id": "call_look", "name": "look", "arguments": "{}"}


def test_the_faults_are_listed(run: Run) -> None:
    assert "stall_mid         Some tokens, then nothing, for ever." in run("simulate", "--faults").out.splitlines()


def test_a_port_that_is_taken_is_one_line(run: Run, fleet: Fleet) -> None:
    told = run("simulate", "--port", str(port(fleet("good"))))

    assert (told.status, told.out) == (1, "")
    assert "choose another --port" in told.err


def test_a_fleet_is_declared_by_faults_and_seed() -> None:
    promo, steady, patient = fleet_of(["promo:none", "steady:cut,after=3", "patient:slow_head,seconds=0.5"], 7)

    assert (promo.fault, steady.fault) == (None, Fault("cut", after=3))
    assert patient.fault == Fault("slow_head", seconds=0.5)
    assert {promo.seed, steady.seed, patient.seed} == {7}
    with pytest.raises(errors.SetupError, match="NAME:FAULT"):
        fleet_of(["nobody:cut"], 0)


def test_a_fleet_speaks_several_dialects_or_those_that_are_named() -> None:
    assert [each.dialect for each in fleet_of([], 0)] == ["openai-compatible", "anthropic", "openai-responses-ws"]
    named = fleet_of([], 0, ["gemini", "patient:gemini-live"])
    assert [each.dialect for each in named] == ["gemini", "gemini", "gemini-live"]


def test_all_asks_a_service_once_however_many_wires_it_is_known_by(
    run: Run, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_listens(places: set[tuple[str, int]]) -> set[tuple[str, int]]:
        return places & {("127.0.0.1", port(fleet("many")))}

    monkeypatch.setattr(_found, "_open", one_listens)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    monkeypatch.setenv("GOOGLE_API_KEY", SECRET)
    monkeypatch.setenv("OLLAMA_HOST", fleet("many").api_base.removesuffix("/v1"))

    found = [str(each) for each in anyio.run(_found.look)]

    here = f"127.0.0.1:{port(fleet('many'))}"
    assert found == ["gemini (GEMINI_API_KEY)", f"ollama ({here})", "openai (OPENAI_API_KEY)"]


# --- errors in words ---


def test_a_single_failure_is_told_without_a_heading() -> None:
    failed = errors.AllFailed({"a": errors.RateLimitError(provider="a", status=429)})

    assert in_words(failed) == "a: too many requests (status 429)"
    assert as_dict(failed)["failures"]["a"]["status"] == 429
    assert exit_status(failed) == 1


def test_failures_that_are_all_of_the_set_up_are_a_wrong_use() -> None:
    assert exit_status(errors.AllFailed({"a": errors.SetupError("which model?")})) == 2
    assert exit_status(errors.MissingKeyError("a", ("A_KEY",))) == 2


# --- the report, shown ---


def entrant(name: str, **values: Any) -> EntrantReport:
    return EntrantReport(name=name, clock=lambda: 3.0, **values)


REPORT = RaceReport(
    policy="parallel()",
    entrants=[
        entrant("slow", outcome="running", started_at=0.0),
        EntrantReport(
            name="fast",
            outcome="won",
            started_at=0.0,
            connected_at=0.1,
            first_byte_at=0.4,
            first_chunk_at=0.5,
            clean_at=0.5,
            ended_at=2.5,
            chunks=8,
            usage=Usage(input_tokens=3, output_tokens=8),
        ),
        entrant("ad", outcome="lost", started_at=0.0, ended_at=0.6, filtered=44),
        entrant(
            "bad", outcome="failed", started_at=0.0, ended_at=0.2, error=errors.APIStatusError("\x1bno", provider="bad")
        ),
        entrant("last"),
    ],
)


def test_states_are_words() -> None:
    assert [state(each) for each in REPORT.entrants] == ["connecting", "won", "dropped", "failed", "not asked"]
    assert state(entrant("a", outcome="running", connected_at=0.1)) == "waiting"
    assert state(entrant("a", outcome="running", first_chunk_at=0.1)) == "not clean"
    assert state(entrant("a", outcome="won", error=errors.TruncatedError())) == "broke off"


def test_events_come_in_the_order_of_time_and_cannot_steer_a_terminal() -> None:
    assert events(REPORT) == [
        "   0.000 s  slow: asked",
        "   0.000 s  fast: asked",
        "   0.000 s  ad: asked",
        "   0.000 s  bad: asked",
        "   0.100 s  fast: connected",
        "   0.200 s  bad: failed: the service answered with an error: ␛no",
        "   0.500 s  fast: first chunk",
        "   0.500 s  fast: won",
        "   0.600 s  ad: dropped: 44 characters filtered",
        "   2.500 s  fast: done: 8 chunks",
    ]


def test_the_summary_is_one_line() -> None:
    assert summary(REPORT, "stop") == (
        "fast won after 0.50 s; 8 chunks in 2.00 s; tokens: 3 in, 8 out; finish: stop; dropped: ad at 0.60 s"
    )
    assert summary(RaceReport(policy="parallel()", entrants=[])) == ""


def test_the_table_has_a_row_for_everybody() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=120)
    console.print(table(REPORT))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO from above

    assert lines[0].split() == ["provider", "3.0", "s", "connected", "first", "chunk", "clean", "ended"]
    assert lines[2].split() == ["fast", "won", "0.10", "0.50", "0.50", "2.50", "8", "chunks"]
    assert lines[4].split() == ["bad", "failed", "0.20", "the", "service", "answered", "with", "an", "error:", "␛no"]


def test_where_answer_and_lines_share_a_place_no_line_falls_into_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    early = RaceReport(policy="", entrants=[entrant("a", outcome="won", started_at=0.0, clean_at=0.5)])
    late = RaceReport(policy="", entrants=[entrant("a", outcome="won", started_at=0.0, clean_at=0.5, ended_at=1.0)])
    shared, apart = Lines(is_shared=True), Lines(is_shared=False)
    seen = []
    for screen in (shared, apart):
        screen.decided(early)
        capsys.readouterr()
        screen.show(late)
        seen.append(capsys.readouterr().err)
        screen.finish(late, None)
        seen.append(capsys.readouterr().err.splitlines()[0])

    assert seen == [
        "",
        "   1.000 s  a: done: 0 chunks",
        "   1.000 s  a: done: 0 chunks\n",
        "a won after 0.50 s; 0 chunks in 0.50 s",
    ]


def test_what_cannot_be_drawn_on_gets_lines() -> None:
    assert type(choose(quiet=False, reasoning=False)) is Lines
    assert type(choose(quiet=True, reasoning=False)) is Screen


# --- standard output ---


@pytest.mark.anyio
async def test_a_slow_reader_does_not_block_the_loop() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as slow, os.fdopen(writer, "w") as stream:
        output = Output(stream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.write, "x" * 200_000)
            with anyio.fail_after(5):
                while select([], [stream], [], 0)[1]:  # noqa: ASYNC110  # a full pipe tells nobody
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        os.set_blocking(slow.fileno(), False)
        assert 0 < len(slow.read(200_000)) < 200_000


@pytest.mark.anyio
async def test_writing_for_nobody_ends_without_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        output = Output(stream)
        assert await output.write("x") is False
        assert isinstance(output.error, BrokenPipeError)
        assert await output.write("y") is False


@pytest.mark.anyio
async def test_a_terminal_sees_no_control_sequence_of_a_provider() -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as seen, os.fdopen(slave, "w") as stream:
        output = Output(stream)
        assert output.is_terminal
        await output.write("a\x1b[2Jb")
        assert seen.read(100).decode() == "a␛[2Jb"


def test_a_pipe_gets_the_answer_as_it_is(run: Run, fleet: Fleet) -> None:
    assert run("race", "Why?", "-q", "-p", fleet("rude").spec).out == "a\x1b[2Jb\n"


@pytest.mark.anyio
async def test_lines_are_ended_once(tmp_path: Any) -> None:
    with (tmp_path / "out").open("w") as stream:
        output = Output(stream)
        await output.end_line()
        await output.write("a")
        await output.end_line()
        await output.end_line()
    assert (tmp_path / "out").read_bytes() == b"a\n"
    assert await Output(None).write("a") is False


def test_who_gets_the_prompt_is_told_without_what_is_secret_in_an_address() -> None:
    from g4ftrio.providers import OpenAICompatible

    provider = OpenAICompatible(model="x", api_base="http://user:pw@127.0.0.1:1/v1")

    assert _entrants.announcement([provider]) == "the prompt goes to openai-compatible/x (127.0.0.1:1)"


# --- the race, drawn ---


def test_the_race_is_drawn_below_the_answer_even_where_all_else_is_quiet(run: Run, fleet: Fleet) -> None:
    told = run("race", "Why?", "-q", "--report", "-p", fleet("good").spec, "-p", fleet("wrong").spec)

    assert told.out == "It is blue.\n"
    title, _, good, wrong, *_, note = told.err.splitlines()
    assert re.fullmatch(r"openai-compatible/good won after [\d.]+ ms \(parallel\(\)\)", title)
    assert re.fullmatch(r"openai-compatible/good  +[─╌·░▒]+█+ +won [\d.]+ ms", good)
    assert re.fullmatch(r"openai-compatible/wrong +[─╌·░▒]*✗ +failed [\d.]+ ms", wrong)
    assert note.startswith("✗ openai-compatible/wrong: the service failed (status 503): ")


def test_the_race_is_drawn_where_nobody_answers(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    picture = tmp_path / "race.svg"
    told = run("ask", "Why?", "--report", "--plot", str(picture), "-p", fleet("wrong").spec)

    assert told.status == 1
    assert "nobody won (staggered(2))" in told.err
    assert picture.read_text("utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("-", "standard output is the answer's: name a file, race.svg"),
        ("race.png", "the picture is SVG: name a file that ends with .svg, not '{folder}/race.png'"),
        ("missing/race.svg", "there is no folder '{folder}/missing'"),
        ("folder.svg", "'{folder}/folder.svg' cannot be written"),
    ],
)
def test_a_place_where_nothing_can_be_drawn_is_refused_before_anybody_is_asked(
    run: Run, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "folder.svg").mkdir()
    told = run("race", "Why?", "--plot", name if name == "-" else str(tmp_path / name), "-p", "openai/gpt-5-mini")

    assert (told.status, told.out) == (2, "")
    assert told.err == (
        f"g4ftrio: Invalid value for '--plot': {said.format(folder=tmp_path)} (see `g4ftrio race --help`)\n"
    )


def test_a_picture_that_cannot_be_written_after_all_is_a_failure(
    run: Run, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "race.svg"

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    told = run("race", "Why?", "-q", "--plot", str(picture), "-p", fleet("good").spec)

    assert (told.status, told.out) == (1, "It is blue.\n")
    assert told.err == f"g4ftrio: {picture} was not written: No space left on device\n"


def test_a_saved_report_is_drawn(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    saved = run("race", "Why?", "--json", "-q", "-p", fleet("good").spec).out
    whole, alone = tmp_path / "race.json", tmp_path / "report.json"
    whole.write_text(saved, "utf-8")
    alone.write_text(json.dumps(json.loads(saved)["report"]), "utf-8")

    drawn = run("report", str(whole))
    assert drawn.status == 0
    assert drawn.out.startswith("openai-compatible/good won after ")
    assert run("report", str(alone)).out == run("report", "-", stdin=saved.encode()).out == drawn.out

    picture = tmp_path / "race.svg"
    told = run("report", str(alone), "--plot", str(picture))
    assert (told.status, told.out, told.err) == (0, "", f"{picture} shows the race\n")
    assert "openai-compatible/good won after " in picture.read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "holds no report: "),
        (b"[", "holds no report: "),
        (b'{"report": null}', "holds no report: this is no report of a race: Expected `object`, got `null`"),
        (b"[" * 100_000, "holds no report: "),
    ],
)
def test_what_is_no_saved_report_is_one_line(run: Run, tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content)
    told = run("report", str(file))
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith(f"g4ftrio: {file} {said}")
    assert told.err.count("\n") == 1


def test_a_drawing_has_the_characters_and_the_colours_that_the_place_can_show() -> None:
    race = RaceReport(policy="p", entrants=[entrant("a", outcome="won", started_at=0.0, clean_at=0.5, ended_at=1.0)])
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii") as poor, io.TextIOWrapper(io.BytesIO(), "utf-8") as rich:
        assert "#" in plain(race, poor)
        assert "█" in plain(race, rich)
    drawn = coloured(race, 60, "utf-8")
    assert [line.rstrip() for line in drawn.plain.splitlines()] == race.waterfall(60).splitlines()
    assert {span.style for span in drawn.spans} >= {"bold", "dim", "green", "bold green"}


def test_what_one_call_has_learned_is_kept_for_the_next(run: Callable[..., Told], fleet: Fleet, tmp_path: Path) -> None:
    file, good = tmp_path / "state.json", fleet("good")
    for calls in (1, 2):
        assert run("ask", "hi", "-q", "-p", good.spec, "--policy", "adaptive", "--state", str(file)).status == 0
        (learned,) = json.loads(file.read_text())["policy"]["latencies"].values()
        assert len(learned["times"]) == calls
