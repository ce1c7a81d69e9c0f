"""The README's examples run, each in a process of its own, against simulated services."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from g4ftrio.simulator import Service, run_in_thread

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"(?:<!-- (\w+) -->\n)?```python\n(.*?)```", README, re.DOTALL)
PLAIN = [code for kind, code in BLOCKS if not kind]
ASK_TWICE = """
from fastapi.testclient import TestClient

with TestClient(app) as browser:
    for path in ("/ask", "/ask-too"):
        answer = browser.get(path, params={"question": "Why?"})
        assert answer.status_code == 200, answer.text
        assert answer.text.endswith("."), answer.text
"""


def example(kind: str) -> str:
    (code,) = [str(code) for named, code in BLOCKS if named == kind]
    return code


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What makes the services of the examples be simulated ones."""
    services = [
        Service("openai", models=("gpt-5-mini",), first_token=0.05, tokens=12),
        Service("groq", models=("llama-3.3-70b-versatile",), first_token=0.1, tokens=12),
        Service("jmuz", models=("gpt-4o",), first_token=0.05, tokens=12),
        Service("ollama", models=("llama3.2",), first_token=0.15, tokens=12),
        Service("anthropic", models=("claude-sonnet-4-5",), first_token=0.05, tokens=12, dialect="anthropic"),
        Service("gemini", models=("gemini-3.6-flash",), first_token=0.05, tokens=12, dialect="gemini"),
        Service("responses", models=("gpt-5-mini",), tokens=12, dialect="openai-responses"),
        Service("sockets", models=("gpt-5-mini",), tokens=12, dialect="openai-responses-ws"),
    ]
    with run_in_thread(services) as fleet:
        yield {
            **os.environ,
            "OPENAI_BASE_URL": fleet["openai"].api_base,
            "GROQ_BASE_URL": fleet["groq"].api_base,
            "JMUZ_BASE_URL": fleet["jmuz"].api_base,
            "OLLAMA_HOST": fleet["ollama"].api_base.removesuffix("/v1"),
            "ANTHROPIC_BASE_URL": fleet["anthropic"].api_base,
            "GOOGLE_GEMINI_BASE_URL": fleet["gemini"].api_base,
            "RESPONSES": fleet["responses"].api_base,
            "SOCKETS": fleet["sockets"].api_base,
            "PYTHONWARNINGS": "error",
        }


def run(arguments: list[str], environment: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_an_example_runs(number: int, environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(PLAIN[number], "utf-8")
    assert run([str(script)], environment, tmp_path).strip()


@pytest.mark.parametrize("kind", ["sockets", "responses"])
def test_an_example_of_another_wire_runs(kind: str, environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example(kind), "utf-8")
    said = run([str(script)], {**environment, "OPENAI_BASE_URL": environment[kind.upper()]}, tmp_path)
    assert said.strip()
    assert kind != "sockets" or "openai-responses-ws/gpt-5-mini" in said


def test_the_dialect_of_the_readme_passes_its_test(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(example("dialect"), "utf-8")
    script = tmp_path / "test_tiny.py"
    script.write_text(example("tape"), "utf-8")
    said = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)], dict(os.environ), tmp_path)
    assert "3 passed" in said, said


def test_the_web_app_answers_through_both_doors(environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(example("web") + ASK_TWICE, "utf-8")
    run([str(script)], {**environment, "PYTHONWARNINGS": "default"}, tmp_path)  # the test client warns of itself


def test_the_tests_of_the_readme_pass(tmp_path: Path) -> None:
    script = tmp_path / "test_example.py"
    script.write_text(example("pytest"), "utf-8")
    said = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)], dict(os.environ), tmp_path)
    assert "8 passed" in said, said


def test_every_label_in_the_readme_is_a_provider_and_no_provider_is_forgotten() -> None:
    from g4ftrio.providers import known

    table = re.findall(
        r"^\| (`[^|]+`) \| [^|]+ \| ([^|]+) \|$", README.partition("## In an asyncio app")[0], re.MULTILINE
    )
    listed = [label for labels, _ in table for label in re.findall(r"`([^`]+)`", labels)]
    assert sorted(listed) == list(known())
    for labels, keys in table:
        if named := re.findall(r"`(\w+_API_KEY)`", keys):
            assert named == list(known()[labels.strip("`")].key_variables)  # type: ignore[attr-defined]  # all are HttpProviders

    specs = {spec.split("/")[0] for spec in re.findall(r'"([a-z-]+/[a-z][^"/]*\d[^"]*)"', README)}
    assert {"openai", "groq", "ollama-chat", "anthropic", "gemini"} <= specs <= set(known())
