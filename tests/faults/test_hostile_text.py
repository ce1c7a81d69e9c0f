"""What the command line shows of services' words never commands the terminal, nor passes for the command line's own.

Promised: standard error is printable whatever it goes to, a line an event. Standard output is the model's: to a
terminal, its control sequences and bidirectional overrides are shown and not obeyed; to a pipe or a file, the bytes go
as the model wrote them, and with ``--json`` as JSON. Lists and tables (models, reports, benchmarks) are the command
line's own, and are printable everywhere, a line a name. Zero-width characters are parts of words in many scripts, and
stay. In pages and pictures everything is escaped. What an error says is neutralised where it is made, for logs and
tracebacks as well.

Cases: 12 attacks together in 8 places, to a terminal and to a pipe; pages and pictures with 9 names.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from anyio.from_thread import start_blocking_portal

from g4ftrio import EntrantReport, RaceReport, RateLimitError
from g4ftrio.bench import page, picture, summarize
from g4ftrio.cli import _found, main
from g4ftrio.simulator import Fault, Service, run_in_thread
from tests.bench.records import record, run_of
from tests.faults.hostile import Hostile, refusal, say
from tests.transports.http1_server import head

ATTACKS = {
    "clears the screen": "\x1b[2J\x1b[3J\x1b[H",
    "hides what follows": "\x1b[8m",
    "sets the title": "\x1b]0;evil\x07",
    "a link": "\x1b]8;;javascript:alert(1)\x1b\\here\x1b]8;;\x1b\\",
    "the clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "a device control string": "\x1bP+q544e\x1b\\",
    "C1": "\x9b31m\x9d0;evil\x9c\x90\x85\x8d",
    "overwrites the line": "good\revil",
    "goes back": "good\x08\x08\x08\x08evil",
    "a bell and a page": "\x07\x0c\x0b\x00\x7f\x0e",
    "overrides": "\u202eevil\u202c\u202devil\u202c\u202a\u202b",
    "isolates": "\u2066evil\u2069\u2067evil\u2069\u2068",
}
ATTACK = " ".join(ATTACKS.values())
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
OWN = re.compile(r"\x1b\[(?:[0-7;]*|9[0-7])m|\x1b\[\?25[lh]|\x1b\[[12]?[KA]|\r(?=\x1b\[)")  # what rich draws with
INVISIBLE = "\u0915\u094d\u200d\u0937 \u0645\u06cc\u200c\u062e \U0001f468\u200d\U0001f469 a\u200bb\u2060c\ufeffd"


class Terminal(io.StringIO):
    """A terminal, as far as a program asks."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Told:
    """What one run of the command line gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


Run = Callable[..., Told]


@pytest.fixture(params=["terminal", "pipe"])
def to(request: pytest.FixtureRequest) -> str:
    """Where standard output and standard error go."""
    return str(request.param)


@pytest.fixture
def run(to: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    async def nothing_listens(places: object) -> set[tuple[str, int]]:
        return set()

    monkeypatch.setattr(_found, "_open", nothing_listens)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*argv: str) -> Told:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        if to == "pipe":
            status = main(argv)
            return Told(status, *capsys.readouterr())
        out, err = Terminal(), Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            return Told(main(argv), out.getvalue(), err.getvalue())

    return run


@contextmanager
def hostile(*says: bytes) -> Iterator[str]:
    """A service that says so, in a thread; gives the end of a spec for it."""
    service = Hostile(*says)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(service):
        yield f"@{service.url.rstrip('/')}"


def obeyed(shown: str) -> list[str]:
    """What a terminal would obey in it that is not the command line's own."""
    return OBEYED.findall(OWN.sub("", shown))


def chat(text: str, reason: str = "stop", **delta: Any) -> tuple[bytes]:
    said = {"choices": [{"index": 0, "delta": {"content": text, **delta}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    return say(json.dumps(said).encode(), json.dumps(end).encode(), b"[DONE]")


def test_the_attacks_would_be_obeyed() -> None:
    assert all(obeyed(attack) for attack in ATTACKS.values())
    assert not obeyed(INVISIBLE + "\r\n\t ␛[2J \x1b[1;32mwon\x1b[0m\x1b[2K\x1b[1A")


def test_an_answer_is_shown_and_not_obeyed_and_goes_through_a_pipe_as_it_is(run: Run, to: str) -> None:
    with hostile(*chat(f"{ATTACK}|{INVISIBLE}")) as spec:
        for flags in ((), ("-q",)):
            told = run("race", "hi", *flags, "-p", f"openai-compatible/m{spec}")
            assert told.status == 0
            assert not obeyed(told.err)
            assert INVISIBLE in told.out
            if to == "pipe":
                assert told.out == f"{ATTACK}|{INVISIBLE}\n"
            else:
                assert not obeyed(told.out)
                assert "␛[2J␛[3J␛[H ␛[8m" in told.out


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_pieces_is_none_either(attack: str, run: Run, to: str) -> None:
    frames = [{"choices": [{"index": 0, "delta": {"content": each}}]} for each in f"a{ATTACKS[attack]}b"]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    with hostile(*say(*(json.dumps(each).encode() for each in (*frames, end)), b"[DONE]")) as spec:
        told = run("race", "hi", "-q", "-p", f"openai-compatible/m{spec}")
    assert not obeyed(told.out) if to == "terminal" else told.out == f"a{ATTACKS[attack]}b\n"


def test_what_is_beside_the_answer_is_printable_everywhere(run: Run) -> None:
    call = {"index": 0, "id": ATTACK, "function": {"name": ATTACK, "arguments": json.dumps({"a": ATTACK})}}
    reason = f"{ATTACK}\n   0.000 s  forged: won" + "x" * 10_000
    says = chat("Yes.", reason, reasoning_content=ATTACK, tool_calls=[call])
    with hostile(*says) as spec:
        told = run("race", "hi", "--reasoning", "--report", "-p", f"openai-compatible/m{spec}")
    assert told.status == 0
    assert not obeyed(told.err)
    assert told.out.startswith("Yes.")
    assert "␛[2J" in told.err
    assert "finish: " in told.err
    assert not [line for line in told.err.splitlines() if line.startswith("   0.000 s  forged")]
    assert "x" * 200 not in told.err


def test_json_is_json_and_printable_on_a_terminal(run: Run, to: str) -> None:
    with hostile(*chat(ATTACK, ATTACK)) as spec:
        told = run("race", "hi", "--json", "-p", f"openai-compatible/m{spec}")
    assert told.status == 0
    assert not obeyed(told.err)
    result = json.loads(told.out)
    if to == "pipe":
        assert (result["text"], result["finish_reason"]) == (ATTACK, ATTACK)
    else:
        assert not obeyed(told.out)


@pytest.mark.parametrize("flags", [(), ("-q",), ("--json",), ("--report",)])
def test_what_a_service_says_of_an_error_is_printable_on_one_line(flags: tuple[str, ...], run: Run) -> None:
    forged = f"{ATTACK}\n   0.001 s  forged: won\r\n"
    body = json.dumps({"error": {"message": forged, "code": ATTACK}}).encode()
    with (
        hostile(*refusal(500, body, b"X-Request-Id: r\x9b2J")) as one,
        hostile(b"\x1b[2J\x9b2J\r\n\r\n") as two,
        hostile(*chat(f'{{"error": "{json.dumps(forged)[1:-1]}"}}')) as three,
    ):
        specs = [part for spec in (one, two, three) for part in ("-p", f"openai-compatible/m{spec}")]
        told = run("race", "hi", *flags, *specs)
    assert told.status == 1
    assert not obeyed(told.out)
    assert not obeyed(told.err)
    assert not [line for line in told.err.splitlines() if line.startswith("   0.001 s  forged")]
    assert "␛[2J" in told.err


def test_models_are_a_line_each_and_printable_everywhere(run: Run) -> None:
    names = [ATTACK, "two\nlines\r\n", "three"]
    listed = head(json.dumps({"data": [{"id": name} for name in names]}).encode())
    with hostile(listed) as spec:
        told = run("models", f"openai-compatible{spec}")
        as_json = run("models", "--json", f"openai-compatible{spec}")
    assert (told.status, told.err) == (0, "")
    assert told.out.splitlines()[1:] == ["two lines", "three"]
    assert not obeyed(told.out)
    assert len(json.loads(as_json.out)) == 3
    assert not obeyed(as_json.err)
    with hostile(*refusal(401, ATTACK.encode())) as spec:
        told = run("models", f"openai-compatible{spec}")
    assert told.status == 1
    assert not obeyed(told.err)


NAMES = (
    *("<script>alert(1)</script>", "]]><svg onload=alert(1)>", "javascript:alert(1)", "\" onload='alert(1)' x=\""),
    *("</title></style><img src=x onerror=alert(1)>", "<!-- x", "&lt;b&gt;", ATTACK, "\ud800x\udc00\uffff\ufffe\x00"),
)


def report_of(name: str) -> RaceReport:
    error = RateLimitError(f"{name}\n{name}", provider=name, status=429)
    times: dict[str, Any] = {"started_at": 0.0, "connected_at": 0.1, "first_byte_at": 0.2, "first_chunk_at": 0.3}
    inner = RaceReport(policy=name, entrants=[EntrantReport(name=name, model=name, outcome="running", started_at=0.1)])
    entrants = [
        EntrantReport(name=name, model=name, outcome="won", clean_at=0.4, ended_at=2.0, finish_reason=name, **times),
        EntrantReport(name=name, model=name, outcome="failed", ended_at=1.0, error=error, **times),
        EntrantReport(name=name, outcome="lost", ended_at=1.5, race=inner, **times),
    ]
    return RaceReport(policy=name, entrants=entrants)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_report_is_drawn_without_obeying_it(name: str, run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "race.json"
    saved.write_text(json.dumps({"report": report_of(name).to_dict()}))
    drawn = run("report", str(saved))
    assert (drawn.status, drawn.err) == (0, "")
    assert not obeyed(drawn.out)
    picture = tmp_path / "race.svg"
    told = run("report", str(saved), "--plot", str(picture))
    assert told.status == 0
    check_picture(picture.read_text("utf-8"))


SAFE = {"svg", "g", "rect", "path", "circle", "line", "text", "tspan", "title", "desc", "style", "polyline", "polygon"}


def check_picture(svg: str) -> None:
    """It is XML of harmless elements, and nothing in it refers to anything or runs."""
    for element in ET.fromstring(svg).iter():  # our own, and this is the test of it
        assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in SAFE
        assert not [name for name in element.attrib if name.startswith("on") or name.endswith(("href", "src"))]
        assert element.tag.endswith("style") or not obeyed(element.text or "")


class Page(HTMLParser):
    """What elements and attributes a page has."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(written)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_page_of_a_benchmark_runs_nothing() -> None:
    plain = run_of(*(record("a", number=number) for number in range(3)))
    name = "".join(NAMES)
    measured = run_of(*(record(name, number=number) for number in range(3)), record(name, error=name, message=name))
    harmless = Page(page(plain, summarize(plain)))
    summary = summarize(measured)
    written = Page(page(measured, summary))
    assert written.tags <= harmless.tags | SAFE | {"p", "ul", "li"}
    assert not [each for each in written.attributes if each.startswith("on") or each in ("href", "src")]
    check_picture(picture(measured, summary))


def test_a_benchmark_s_tables_and_errors_are_printable_everywhere(run: Run, to: str, tmp_path: Path) -> None:
    lines = tmp_path / "run.jsonl"
    body = json.dumps({"error": {"message": f"{ATTACK}\nforged", "code": ATTACK}}).encode()
    with hostile(*refusal(500, body)) as spec:
        told = run("bench", "-p", f"openai-compatible/m{spec}", "--count", "2", "--jsonl", str(lines))
    assert not obeyed(told.err)
    assert not obeyed(told.out)
    assert "␛[2J" in told.out
    attacked = tmp_path / "attacked.jsonl"
    attacked.write_text(lines.read_text().replace("openai-compatible", json.dumps(f"{ATTACK}\n")[1:-1]))
    told = run("bench", "report", str(attacked))
    assert not obeyed(told.err)
    assert not obeyed(told.out)
    for option in ("--csv", "--json", "--html"):
        told = run("bench", "report", str(attacked), option, "-")
        assert not obeyed(told.err)
        assert to == "pipe" or not obeyed(told.out), option


def test_a_simulated_service_may_say_it_too(run: Run, to: str) -> None:
    services = [
        Service("rude", text=f"{ATTACK}\n", dialect="openai-realtime"),
        Service("broken", text=ATTACK, fault=Fault("error_in_stream", after=9), dialect="anthropic"),
    ]
    with run_in_thread(services) as fleet:
        for name, running in fleet.items():
            told = run("race", "hi", "-p", f"{running.service.dialect}/{name}@{running.api_base}")
            assert not obeyed(told.err)
            assert to == "pipe" or not obeyed(told.out)
