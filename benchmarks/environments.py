"""A virtual environment for each peer, kept in a folder outside the repository, with pinned versions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

__all__ = ("ENVIRONMENTS", "PINS", "Certificate", "Environment", "certificate", "default_folder", "here", "prepare")

PINS = {
    "aiperf": "0.13.0",
    "aiohttp": "3.14.5",
    "anthropic": "2.11.0",
    "any-llm-sdk": "1.40.2",
    "anyio": "4.16.0",
    "click": "8.5.1",
    "datasets": "4.8.5",
    "g4f": "8.8.6",
    "guidellm": "0.3.1",  # from 0.4 on it needs torch
    "httpcore": "1.0.9",
    "httpx": "0.28.1",
    "httpx2": "2.16.2",
    "litellm": "1.106.2",
    "openai": "3.52.0",
    "pydantic-ai-slim": "2.68.0",
    "rich": "15.0.0",
    "transformers": "4.57.6",
    "trio": "0.35.0",
    "trustme": "1.2.1",
    "uvloop": "0.23.0",
}

ENVIRONMENTS = {
    "g4ftrio": ("anyio", "httpx", "trio"),  # and the checkout itself
    "g4ftrio-cli": ("anyio", "click", "httpx", "rich", "trio"),
    "sockets": ("trio",),
    "httpx": ("anyio", "httpcore", "httpx"),
    "httpx2": ("anyio", "httpx2"),
    "aiohttp": ("aiohttp",),
    "g4f": ("aiohttp", "g4f"),
    "openai": ("anyio", "httpx2", "openai"),
    "anthropic": ("anthropic", "anyio", "httpx2"),
    "any-llm": ("any-llm-sdk[openai]", "anyio", "httpx2", "openai"),
    "pydantic-ai": ("anyio", "httpx2", "openai", "pydantic-ai-slim[openai]"),
    "litellm": ("aiohttp", "anyio", "httpx", "litellm"),
    "aiperf": ("aiperf",),
    "guidellm": ("datasets", "guidellm", "transformers"),
    "trustme": ("trustme",),  # for the server's certificate
}
_EXTRAS = {"g4ftrio": "", "g4ftrio-cli": "[cli]"}  # of the checkout, by environment
_HARNESS = ("trio", "uvloop")  # the loops, in every environment; installed when the size has been taken


class Environment(NamedTuple):
    """An interpreter and what it can import.

    :ivar size: MB of the installed files, those that Python compiled left out; None where nobody has measured it
    :ivar distributions: how many distributions that is
    :ivar versions: of all that is installed
    :ivar unpinned: whether the index had a pinned version not
    """

    python: str
    size: float | None
    distributions: int
    versions: dict[str, str]
    unpinned: bool = False


def default_folder() -> Path:
    """Where environments are kept if nothing else is said: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "g4ftrio-benchmarks"


def here() -> Environment:
    """The interpreter that runs this."""
    return Environment(sys.executable, None, 0, {each.name: each.version for each in distributions()})


def prepare(name: str, folder: Path, source: Path) -> Environment:
    """Make an environment, or take the one that was made before; g4ftrio itself is always installed anew.

    :param source: the checkout of g4ftrio
    """
    wanted = [_pinned(requirement) for requirement in ENVIRONMENTS[name]]
    mark = hashlib.sha256(f"{sys.version}{wanted}{_HARNESS}".encode()).hexdigest()[:8]
    place = folder / f"{name}-{mark}"
    notes = place / "environment.json"
    ours = [f"{source}{_EXTRAS[name]}"] if name in _EXTRAS else []
    if not notes.exists():
        notes.write_text(json.dumps(_made(place, [*wanted, *ours])))
    elif ours:
        _pip(place, "install", *ours)  # pip installs a directory anew, whatever its version
    return Environment(**json.loads(notes.read_text()))


def _made(place: Path, wanted: list[str]) -> dict[str, object]:
    """Make an environment: without pip, so that what is in it is the peer's alone."""
    print(f"making {place} with {', '.join(wanted)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", place], check=True)
    unpinned = not _pip(place, "install", *wanted, check=False)
    if unpinned:
        _pip(place, "install", *(requirement.partition("==")[0] for requirement in wanted))
    packages = next(place.glob("lib/python*/site-packages"))
    files = (path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
    size = sum(path.stat().st_size for path in files) / 1e6
    count = len(_versions(packages))
    _pip(place, "install", *map(_pinned, _HARNESS))
    return {
        "python": str(place / "bin" / "python"),
        "size": size,
        "distributions": count,
        "versions": _versions(packages),
        "unpinned": unpinned,
    }


def _pinned(requirement: str) -> str:
    name = re.match(r"[^\[]*", requirement)
    return f"{requirement}=={PINS[name[0]]}" if name else requirement


def _versions(packages: Path) -> dict[str, str]:
    return {each.name: each.version for each in sorted(distributions(path=[str(packages)]), key=lambda each: each.name)}


def _pip(place: Path, *arguments: str, check: bool = True) -> bool:
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "-qq", *arguments]
    return subprocess.run(command, check=check).returncode == 0


class Certificate(NamedTuple):
    """The server's chain and key, and what its clients must trust."""

    chain: Path
    key: Path
    trust: Path


def certificate(folder: Path, python: str) -> Certificate:
    """Make a certificate, or take the one that was made before.

    :param python: an interpreter that has ``trustme``
    """
    files = Certificate(folder / "server.pem", folder / "server.key", folder / "client.pem")
    if not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        names = ("--identities", "localhost", "127.0.0.1")
        subprocess.run([python, "-m", "trustme", "--quiet", "--dir", folder, *names], check=True)
    return files
