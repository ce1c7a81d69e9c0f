"""Inside pytest with either plugin: a user's tests race on simulated services, and no warning is made.

Each plugin gets a small file of a user's own, run in a process with warnings as errors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

COMMON = """
import pytest
from g4ftrio import AllFailed, Race, race, race_sync
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import Service, run_in_thread, serve
from g4ftrio.testing import Scripted

SERVICES = [Service("quick", text="one two"), Service("slow", text="on and on", gap=9), Service("never", first_token=9)]


def entrants(fleet, *names):
    return [OpenAICompatible(model=name, api_base=fleet[name].api_base) for name in names]


async def test_a_race_in_a_fixture_is_left_after_the_test(opened):
    assert await anext(opened) == "on"


async def test_a_race_in_the_test(fleet):
    async with race(entrants(fleet, "quick", "never"), "Why?") as stream:
        assert (await stream.collect()).text == "one two"
    await fleet.quiet()
    assert fleet["never"].connections == 0


async def test_an_error_is_raised_bare():
    with pytest.raises(AllFailed):
        await Race([Scripted(error=KeyError())]).complete("Why?")


def test_the_synchronous_form():
    with run_in_thread(SERVICES) as fleet, race_sync(entrants(fleet, "quick", "never"), "Why?") as stream:
        assert stream.collect().text == "one two"
"""
FIXTURES = """

@pytest.fixture
async def fleet():
    async with serve(SERVICES) as fleet:
        yield fleet
        await fleet.quiet()


@pytest.fixture
async def opened(fleet):
    async with race(entrants(fleet, "slow", "never"), "Why?") as stream:
        yield stream
"""


def test_with_anyios_plugin_and_with_pytest_trio(tmp_path: Path) -> None:
    running = []
    for plugin, option in (("anyio", "anyio_mode=auto"), ("pytest_trio.plugin", "trio_mode=true")):
        folder = tmp_path / option.partition("_")[0]
        folder.mkdir()
        file = folder / "test_of_a_user.py"
        file.write_text(COMMON + FIXTURES, "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", plugin, "-o", option, file.name]
        running.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    anyios, trios = [process.communicate(timeout=60)[0] for process in running]
    assert "7 passed" in anyios, anyios  # three on each loop, and the synchronous one
    assert "4 passed" in trios, trios
