"""The relay passes on what it should and spoils what it should, or the suite would prove nothing."""

from __future__ import annotations

import pytest

from g4ftrio import APIConnectionError, Timeout, TruncatedError
from tests.faults.relay import Spoiler, cut, faithful, relayed, split, stall
from tests.providers.all_wires import ALL, asking, fleet_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("label", ALL)
@pytest.mark.parametrize("spoiler", [faithful, split(1), split(300)], ids=["faithful", "split(1)", "split(300)"])
async def test_an_answer_comes_through_whole(label: str, spoiler: Spoiler) -> None:
    async with fleet_of(label, text="one two three") as fleet, relayed(fleet[label].api_base, spoiler) as relay:
        provider = asking(fleet[label], api_base=relay.api_base)
        assert (await provider.complete("count")).text == "one two three"
        assert relay.accepted == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_is_cut(reset: bool) -> None:
    async with fleet_of("anthropic") as fleet:
        async with relayed(fleet["anthropic"].api_base, cut(900, reset=reset)) as relay:
            with pytest.raises(TruncatedError):
                await asking(fleet["anthropic"], api_base=relay.api_base).complete("count")
        async with relayed(fleet["anthropic"].api_base, cut(0, reset=reset)) as relay:
            with pytest.raises(APIConnectionError, match="without an answer"):
                await asking(fleet["anthropic"], api_base=relay.api_base).complete("count")


async def test_a_stalled_connection_stays_until_its_client_goes() -> None:
    async with fleet_of("ollama") as fleet, relayed(fleet["ollama"].api_base, stall(200)) as relay:
        provider = asking(fleet["ollama"], api_base=relay.api_base)
        with pytest.raises(TimeoutError):
            await provider.complete("count", timeout=Timeout(idle=0.1))
        await relay.quiet()
