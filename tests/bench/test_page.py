"""The page and the pictures: whole, escaped, and shown by a real browser without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from g4ftrio import SetupError
from g4ftrio.bench import Run, Summary, _png as png, page, picture, summarize
from g4ftrio.bench._findings import findings
from tests.bench.records import record, run_of, setup
from tests.bench.runs import HOSTILE, answers, drawn, raced

VOID = {"meta", "input", "path", "rect", "line", "circle"}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

RUNS = {
    "three": drawn(["swift", "slow", "slower"], 60, errors=0.1),
    "one": drawn(["swift"], 20),
    "eight": drawn([f"service-{number}/with-a-rather-long-name-of-a-model" for number in range(8)], 15),
    "race": raced(*["swift"] * 8, *["slow"] * 3),
    "tiny": run_of(*answers("a", 0.2)),
    "instant": run_of(*answers("a", 0.0, 0.0, gaps=(0.0, 0.0))),
    "failed": run_of(record(error="APITimeoutError", first_token_at=None, gaps=())),
    "nothing": Run(setup=setup("a"), records=()),
    "interrupted": replace(drawn(["swift", "slow"], 3), interrupted=True),
    "long": drawn(["swift"], 2000),
    "hostile": run_of(*answers(HOSTILE, *[0.2] * 20), record(HOSTILE, error=HOSTILE, message=HOSTILE), load=HOSTILE),
}


class Page(HTMLParser):
    """What is in a page: its elements, its text, and whether everything that is opened is closed."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(written)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@cache
def summary(name: str) -> Summary:
    return summarize(RUNS[name])


@cache
def written(name: str) -> str:
    return page(RUNS[name], summary(name), findings(RUNS[name]))


every_run = pytest.mark.parametrize("name", RUNS)


@every_run
def test_a_page_is_whole_and_refers_to_nothing_outside(name: str) -> None:
    told = Page(written(name))
    assert not {"script", "link", "img", "iframe", "a", "object", "image", "use"} & {name for name, _ in told.elements}
    for _, attributes in told.elements:
        assert not {"href", "src", "xlink:href", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert re.findall(r"url\(|@import|https?:", written(name)) == []
    policies = [each["content"] for each in told.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


@every_run
def test_every_picture_has_a_name_and_no_two_elements_have_one_id(name: str) -> None:
    told = Page(written(name))
    for svg in told.all("svg"):
        assert (svg["role"], bool(svg["aria-label"])) == ("img", True)
    ids = [attributes["id"] for _, attributes in told.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(th.get("scope") in ("col", "row") for th in told.all("th"))


@every_run
def test_numbers_in_pictures_are_numbers(name: str) -> None:
    assert re.search(r"\b(nan|inf)\b", written(name), re.IGNORECASE) is None
    assert re.search(r"\b(nan|inf)\b", picture(RUNS[name], summary(name)), re.IGNORECASE) is None


@every_run
def test_the_picture_alone_is_xml(name: str) -> None:
    drawn_alone = ET.fromstring(picture(RUNS[name], summary(name)).encode())
    assert drawn_alone.tag == "{http://www.w3.org/2000/svg}svg"


def test_what_a_service_says_stays_text() -> None:
    told = Page(written("hostile"))
    assert "alert(1)" in told.text
    assert "\x1b" not in told.text
    assert "\u202e" not in told.text
    assert written("hostile").encode()  # all of it is characters


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("three", ["First token, target against target", "First token, cumulated", "Throughput", "Errors"]),
        ("race", ["Who won the races", "Requests over time", "Between tokens"]),
        ("failed", ["Every request failed.", "Errors", "Requests over time"]),
        ("interrupted", ["The run was interrupted: this is what was measured until then."]),
        ("long", ["150 of 2,000 requests are shown, evenly chosen."]),
        ("nothing", ["No request was measured."]),
    ],
)
def test_a_page_shows_what_there_is(name: str, shown: list[str]) -> None:
    told = Page(written(name)).text
    assert [words for words in shown if words not in told] == []


def test_a_page_has_no_empty_plots() -> None:
    told = Page(written("failed")).text
    assert "First token, cumulated" not in told
    assert "Throughput" not in told
    assert "No request gave a token." in picture(RUNS["nothing"], summary("nothing"))


def test_a_page_of_many_requests_is_no_larger_than_one_of_some() -> None:
    assert len(written("long")) < 200_000


def test_each_target_can_be_hidden_without_a_script() -> None:
    whole = written("three")
    boxes = [each["id"] for each in Page(whole).all("input")]
    assert boxes == ["show-t0", "show-t1", "show-t2"]
    for box in boxes:
        assert f"body:has(#{box}:not(:checked))" in whole


def test_a_long_name_is_cut_and_a_pointer_shows_it_whole() -> None:
    long = "n" * 100
    told = page(drawn([long], 20), summarize(drawn([long], 20)))
    assert f"<title>{long}</title>" in told
    assert "n…</text>" in told


def test_without_a_browser_a_png_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match=r"needs Chromium or Chrome on this machine, and there is none: write a .svg"):
        png.write_png("<svg/>", tmp_path / "a.png")


def test_a_browser_that_does_not_draw_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chromium").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(SetupError, match=r"did not draw .*a.png: write a .svg"):
        png.write_png("<svg/>", tmp_path / "a.png")


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine")
    return tmp_path / "profile"


def console(address: str, profile: Path) -> tuple[str, list[str]]:
    """Show a page in a real browser; give the document, and what its console said."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = ["--headless", "--disable-gpu", *sandbox, f"--user-data-dir={profile}", "--enable-logging=stderr"]
    shown = subprocess.run(
        [str(BROWSER), *quiet, "--dump-dom", address], capture_output=True, text=True, timeout=60, check=True
    )
    return shown.stdout, re.findall(r"CONSOLE.*", shown.stderr)


def test_a_real_browser_shows_the_page_and_has_nothing_to_say(profile: Path, tmp_path: Path) -> None:
    whole = written("hostile")
    (tmp_path / "page.html").write_text(whole, "utf-8")
    document, said = console((tmp_path / "page.html").as_uri(), profile)
    assert said == []
    assert document.count("<svg") == whole.count("<svg") > 0
    assert "<script" not in document

    (tmp_path / "page.html").write_text(whole.replace("</body>", "<script>alert(1)</script></body>"), "utf-8")
    _, said = console((tmp_path / "page.html").as_uri(), profile)
    assert "violates the following Content Security Policy" in "".join(said)


def test_a_picture_becomes_a_png_of_twice_its_size(profile: Path, tmp_path: Path) -> None:
    svg = picture(RUNS["three"], summary("three"))
    png.write_png(svg, tmp_path / "a.png")
    head = (tmp_path / "a.png").read_bytes()[:24]
    width, height = re.findall(r"\d+", svg.partition('viewBox="0 0 ')[2])[:2]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (2 * int(width), 2 * int(height))
