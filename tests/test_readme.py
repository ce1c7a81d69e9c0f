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
    ]
    with run_in_thread(services) as fleet:
        yield {
            **os.environ,
            "OPENAI_BASE_URL": fleet["openai"].api_base,
            "GROQ_BASE_URL": fleet["groq"].api_base,
            "JMUZ_BASE_URL": fleet["jmuz"].api_base,
            "OLLAMA_HOST": fleet["ollama"].api_base.removesuffix("/v1"),
            "PYTHONWARNINGS": "error",
        }


def run(arguments: list[str], environment: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_an_example_runs(number: int, environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(PLAIN[number], "utf-8")
    assert run([str(script)], environment, tmp_path).strip()


def test_the_web_app_answers_through_both_doors(environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(example("web") + ASK_TWICE, "utf-8")
    run([str(script)], {**environment, "PYTHONWARNINGS": "default"}, tmp_path)  # the test client warns of itself


def test_the_tests_of_the_readme_pass(tmp_path: Path) -> None:
    script = tmp_path / "test_example.py"
    script.write_text(example("pytest"), "utf-8")
    said = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)], dict(os.environ), tmp_path)
    assert "8 passed" in said, said


def test_every_label_in_the_readme_is_a_provider() -> None:
    from g4ftrio.providers import known

    named = {spec.split("/")[0] for spec in re.findall(r'"((?:openai|groq|ollama-chat)/[^"]+)"', README)}
    assert named == {"openai", "groq", "ollama-chat"}
    assert named <= set(known())
