"""A run over real sockets, against services whose latencies are known."""

from __future__ import annotations

from pathlib import Path
from time import sleep

import pytest

from g4ftrio import Race, SetupError
from g4ftrio.bench import Poisson, Users, Writer, made_up, read, run, summarize
from g4ftrio.providers import ProviderTypes
from g4ftrio.simulator import Service, serve

pytestmark = pytest.mark.anyio


async def test_services_and_their_race_are_measured(tmp_path: Path) -> None:
    services = [
        Service("swift", first_token=0.05, gap=0.002, tokens=5),
        Service("slow", first_token=0.15, tokens=5),
        Service("busy", fault="rate_limit"),
    ]
    async with serve(services) as fleet:
        specs = {name: fleet[name].spec for name in fleet}
        targets: dict[str, ProviderTypes] = {**specs, "race": Race([specs["slow"], specs["swift"]])}
        with Writer(tmp_path / "run.jsonl") as writer:
            found = await run(targets, Users(2), made_up(8, max_tokens=50), count=6, to=writer)
        asked = fleet["swift"].log
    assert read(tmp_path / "run.jsonl") == found
    assert len(asked) == 12
    summary = summarize(found).targets
    assert summary["busy"].errors == {"RateLimitError": 6}
    swift = summary["swift"]
    assert (swift.answered, swift.tokens, swift.tokens_from) == (6, 30, "usage")
    for measure, least in {"first_byte": 0, "first_token": 0.05, "end_to_end": 0.058}.items():
        assert swift.measures[measure].count == 6
        assert (swift.measures[measure].min or 0) >= least
    assert swift.measures["connect"].count == 2  # a connection for each user, and each is kept
    assert swift.measures["inter_token"].count == 24
    assert summary["race"].race is not None
    assert max(summary["race"].race.win_share.values()) == 1


async def test_a_loop_that_is_busy_with_other_things_knows_how_late_it_noticed_what_came() -> None:
    async with serve([Service("s", first_token=0.2, tokens=1)]) as fleet:
        found = await run([fleet["s"].spec], Users(), count=2, on_record=lambda _: sleep(0.1))
    assert found.ending is not None
    assert found.ending.lateness is not None
    assert found.ending.lateness.count > 0
    assert (found.ending.lateness.max or 0) >= 0.03  # a look was due while it slept


async def test_nobody_at_an_address_is_told_before_anything_is_sent() -> None:
    async with serve([Service("here")]) as fleet:
        here, gone = fleet["here"].spec, "openai-compatible/x@http://127.0.0.1:1/v1"
        with pytest.raises(SetupError, match=r"x: nobody answers at 127.0.0.1:1 "):
            await run([here, gone], Poisson(5), count=1)
        assert not fleet["here"].log
        found = await run([Race([here, gone])], Users(), count=1)  # one of them answers
        assert not found.records[0].error
        unchecked = await run([gone], Users(), count=1, check=False)
        assert unchecked.records[0].error == "APIConnectionError"
