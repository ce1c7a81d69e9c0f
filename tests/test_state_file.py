"""What a race has learned, kept in a file from one run to the next."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from g4ftrio import APIConnectionError, Breaker, Fallback, Race, RateLimitError, fallback, parallel
from g4ftrio.testing import Scripted

pytestmark = pytest.mark.anyio

DOWN = APIConnectionError("refused")
ONCE = Breaker(failures=1, pause=50)


def scripted(name: str, *chunks: str, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


def raced(one: Scripted, **settings: Any) -> Race:
    return Fallback([one, scripted("other", "b")], breaker=ONCE, **settings)


class Learning:
    """A policy that keeps statistics: what it is in all else is the usual one."""

    def __init__(self) -> None:
        self._policy = fallback()
        self.learned: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def state(self) -> dict[str, Any]:
        return self.learned

    def restore(self, state: dict[str, Any]) -> None:
        if "bad" in state:
            raise ValueError("not of this policy")
        self.learned = state


async def test_the_next_run_knows_who_was_down(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    for asked in (1, 0):
        one = scripted("one", error=DOWN)
        async with raced(one, state=path) as llm:
            assert (await llm.complete("Why?")).provider == "other"
        assert len(one.asked) == asked


async def test_saving_and_loading_by_hand(tmp_path: Path) -> None:
    one = scripted("one", error=RateLimitError("slow", retry_after=100))
    first = raced(one)
    await first.complete("Why?")
    await first.save(tmp_path / "race.json")
    second = raced(one)
    await second.load(str(tmp_path / "race.json"))
    await second.complete("Why?")
    assert len(one.asked) == 1
    held = second._health.paused_until("one") - first._health.paused_until("one")
    assert abs(held) < 0.01


async def test_a_policy_that_learns_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    policy: Any = Learning()
    policy.learned = {"one": [0.5, 1.25]}
    await Race([scripted("one", "a")], policy=policy).save(path)
    other: Any = Learning()
    await Race([scripted("one", "a")], policy=other).load(path)
    assert other.learned == {"one": [0.5, 1.25]}
    await Race([scripted("one", "a")], policy=parallel()).load(path)


async def test_the_file_is_small_versioned_and_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    path.write_text("something else, open to all")
    llm = raced(scripted("one", error=DOWN))
    await llm.complete("Why?")
    await llm.save(path)
    kept = json.loads(path.read_text())
    assert (kept["g4ftrio"], list(kept["health"])) == (1, ["one"])
    assert kept["saved_at"] < kept["health"]["one"]["open_until"] <= kept["saved_at"] + 50
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["race.json"]  # noqa: PTH208  # names, at once


async def test_it_is_kept_also_when_the_block_is_cancelled_or_fails(tmp_path: Path) -> None:
    for number, error in enumerate((None, KeyError("x"))):
        path = tmp_path / f"{number}.json"
        try:
            with anyio.CancelScope() as scope:
                async with raced(scripted("one", error=DOWN), state=path) as llm:
                    await llm.complete("Why?")
                    scope.cancel()
                    if error:
                        raise error
                    await anyio.sleep(1)
        except KeyError:
            pass
        assert "one" in json.loads(path.read_text())["health"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"g4ftrio": 2, "saved_at": 1}',
        b'{"g4ftrio": 1, "saved_at": 1, "other": {}}',
        b'{"g4ftrio": 1, "saved_at": 1, "health": {"one": 3}}',
        b'{"g4ftrio": 1, "saved_at": 1, "health": {"one": {"opened": -3}}}',
        b'{"g4ftrio": 1, "saved_at": 1, "policy": {"bad": 1}}',
        b'{"g4ftrio": 1, "saved_at": 1, "health": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b" " * (1 << 21),
    ],
    ids=range(10),
)
async def test_a_file_that_is_broken_or_not_ours_is_one_line_in_the_log(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "race.json"
    path.write_bytes(data)
    policy: Any = Learning()
    one = scripted("one", "a")
    async with Race([one], policy=policy, state=path) as llm:
        assert (await llm.complete("Why?")).text == "a"
    (line,) = caplog.records
    assert (line.levelno, line.name) == (logging.WARNING, "g4ftrio")
    assert str(path) in line.getMessage()
    assert json.loads(path.read_bytes())["g4ftrio"] == 1  # written anew


async def test_a_place_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llm = Race([scripted("one", "a")])
    await llm.save(tmp_path / "nowhere" / "race.json")
    await llm.load(tmp_path / "nowhere" / "race.json")
    (line,) = caplog.records
    assert "was not written: No such file or directory" in line.getMessage()
    await llm.load(tmp_path)
    await llm.save(tmp_path)
    assert len(caplog.records) == 3
    assert os.listdir(tmp_path) == []  # noqa: PTH208  # as above


async def test_no_file_is_nothing_to_speak_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await Race([scripted("one", "a")]).load(tmp_path / "race.json")
    assert caplog.records == []
