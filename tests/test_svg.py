"""A race drawn as SVG: read as XML, and once by a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from g4ftrio import RaceReport
from tests.reports import any_report, demo, everything, one

SVG = "{http://www.w3.org/2000/svg}"
STAGES = ("turn", "connecting", "waiting", "answering", "unclean", "writing", "closing")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def drawn(report: RaceReport) -> ET.Element:
    return ET.fromstring(report.to_svg())


def texts(picture: ET.Element) -> list[str]:
    return ["".join([each.text or "", *(inner.tail or "" for inner in each)]) for each in picture.iter(f"{SVG}text")]


def bars(picture: ET.Element, name: str) -> list[tuple[float, float]]:
    """The beginnings and ends of the rectangles of a kind, those of the legend left out."""
    found = [each for each in picture.iter(f"{SVG}rect") if each.get("class") == name and each.get("x") != "0"]
    return [(float(each.get("x", 0)), float(each.get("x", 0)) + float(each.get("width", 0))) for each in found]


def test_it_says_who_won_and_what_became_of_everybody() -> None:
    said = texts(drawn(demo()))
    assert said[:2] == ["steady/demo won after 458 ms", "parallel · 3 asked · 2 dropped"]
    assert {"promo/demo", "steady/demo", "patient/demo", "won at 458 ms"} < set(said)
    assert said.count("dropped at 458 ms") == 2


def test_those_who_cannot_see_it_are_told() -> None:
    picture = drawn(demo())
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == "steady/demo won after 458 ms"
    assert picture.findtext(f"{SVG}title") == "steady/demo won after 458 ms"
    assert picture.findtext(f"{SVG}desc") == (
        "parallel · 3 asked · 2 dropped. promo/demo: dropped at 458 ms (connected 4 ms, first byte 251 ms, "
        "first chunk 252 ms, dropped 458 ms, closed 462 ms). steady/demo: won at 458 ms (connected 3 ms, first byte "
        "455 ms, first chunk 456 ms, clean 458 ms, closed 1.72 s). patient/demo: dropped at 458 ms (connected 5 ms, "
        "dropped 458 ms, closed 461 ms)"
    )


def test_a_bar_is_as_long_as_what_it_shows() -> None:
    picture = drawn(one())
    ((left, right),) = bars(picture, "track")
    quarter = (right - left) / 8
    shown = {name: bars(picture, name) for name in STAGES}
    expected = {"connecting": (0, 1), "waiting": (1, 2), "answering": (2, 3), "unclean": (3, 4), "writing": (4, 8)}
    for name, (start, end) in expected.items():
        assert shown.pop(name) == [pytest.approx((left + start * quarter, left + end * quarter), abs=0.11)]
    assert shown == {"turn": [], "closing": []}


def test_what_services_say_is_text_and_nothing_else() -> None:
    said = texts(drawn(everything()))
    assert "inner/limited: too many requests (status 429): slow <b>&down" in said
    assert any(text.startswith("evil␛[2J xxx") and text.endswith("…") for text in said)


def test_it_loads_nothing_and_runs_nothing() -> None:
    picture = drawn(everything())
    assert not re.findall(r"url\(|@import|href|<script|\bon\w+=", everything().to_svg())
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} == {
        *("circle", "desc", "g", "line", "path", "rect", "style", "svg", "text", "title")
    }


def test_its_style_is_bound_to_it_and_knows_the_dark() -> None:
    style = drawn(one()).findtext(f"{SVG}style") or ""
    light, _, dark = style.partition("@media(prefers-color-scheme:dark){")
    assert ".g4ftrio-race .writing{fill:#2da44e}" in light
    assert ".g4ftrio-race .writing{fill:#3fb950}" in dark
    selectors = [each for rule in re.findall(r"([^{}]+)\{", light + dark) for each in rule.split(",")]
    assert all(each.startswith(".g4ftrio-race ") for each in selectors)


@given(any_report())
def test_any_report_can_be_drawn_within_the_axis(report: RaceReport) -> None:
    picture = drawn(report)
    tracks = set(bars(picture, "track"))
    assert len(tracks) <= 1
    for name in STAGES:
        for start, end in bars(picture, name):
            ((left, right),) = tracks
            assert left - 0.11 <= start <= end <= right + 0.11  # written with one decimal


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(scheme: str, tmp_path: Path) -> None:
    picture, shot = tmp_path / "race.svg", tmp_path / "race.png"
    picture.write_text(everything().to_svg(), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=960,700"]
    options += ["--force-dark-mode"] if scheme == "dark" else []
    command = [str(BROWSER), *options, f"--user-data-dir={tmp_path}", f"--screenshot={shot}", picture.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert shot.read_bytes().startswith(b"\x89PNG")
    assert shot.stat().st_size > 10_000  # an empty page has about 4,000
