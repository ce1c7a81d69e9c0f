"""What an import costs."""

from __future__ import annotations

import os
import resource
import subprocess

from clients import CannotDo
from environments import Environment
from peers import Peer
from question import OURS, Bar, Case, Column, Question, Row

__all__ = ("PEERS", "QUESTION", "measure")

PEERS = ("g4ftrio", "httpx", "httpx2", "aiohttp", "g4f", "openai", "anthropic", "any-llm", "pydantic-ai", "litellm")
_TELL = "import os, time; print(time.process_time(), open('/proc/self/statm').read().split()[1])"
ALL = "all its names"
READY = "ready to ask on trio"

QUESTION = Question(
    title="Import",
    says="ms of CPU and MiB of resident memory of a fresh process that imports it. g4ftrio loads what is behind a name "
    "when the name is first used, so two rows more say what its use loads.",
    cases=(
        Case(job={}),
        Case(ALL, {"statement": "from g4ftrio import *"}, OURS),
        Case(READY, {"statement": "import trio; from g4ftrio import *; open_http_client()"}, OURS),
        Case("no import", {"statement": "pass"}, OURS),
    ),
    columns=(Column("cpu", "CPU ms", 0, least=True), Column("memory", "MiB")),
    peers=PEERS,
    ratio="cpu",
    bars=(
        Bar(Row("g4ftrio"), "cpu", 1 / 4, Row("g4f")),
        Bar(Row("g4ftrio"), "cpu", 1 / 7, Row("openai")),
    ),
    inside=False,
)


def measure(peer: Peer, environment: Environment, *, statement: str = "") -> dict[str, float]:
    """Start an interpreter with the peer's environment, and wait for its end."""
    command = [environment.python, "-I", "-c", f"{statement or f'import {peer.module}'}; {_TELL}"]
    asked = subprocess.run(command, env={**os.environ, **peer.environ}, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise CannotDo((asked.stderr.strip().splitlines() or ["its import fails"])[-1])
    cpu, pages = map(float, asked.stdout.split())
    return {"cpu": cpu * 1e3, "memory": pages * resource.getpagesize() / (1 << 20)}
