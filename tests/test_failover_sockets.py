"""Failover over real sockets: what the servers are asked, and what they see of it."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio import Chunk, Failover, Race, TruncatedError, fallback, race, race_sync
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.providers import Anthropic, OpenAICompatible
from g4ftrio.simulator import Fault, Fleet, Service, run_in_thread, serve

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
BEFORE = "It is blue because of"
ASKED = {"role": "user", "content": QUESTION}


def provider(fleet: Fleet, name: str, **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(model=name, api_base=fleet[name].api_base, name=name, **settings)


def seams(chunks: list[Chunk]) -> list[tuple[str, str, bool]]:
    return [(chunk.from_, chunk.to, chunk.restarted) for chunk in chunks if isinstance(chunk, Failover)]


@pytest.mark.parametrize("fault", ["cut", "reset", "truncated", "error_in_stream"])
async def test_a_connection_that_is_cut_is_followed_by_another_answer(fault: str) -> None:
    async with serve([Service("a", fault=Fault(fault, after=5), text=ANSWER), Service("b", text="New.")]) as fleet:
        entrants = [provider(fleet, "a"), provider(fleet, "b")]
        async with race(entrants, QUESTION, policy=fallback(), midstream="restart") as stream:
            chunks = [chunk async for chunk in stream]
            assert (stream.text, stream.winner, stream.finish_reason) == ("New.", "b", "stop")
        assert "".join(chunk for chunk in chunks if isinstance(chunk, str)) == BEFORE + "New."
        assert seams(chunks) == [("a", "b", True)]
        await fleet.quiet()
        assert [exchange.outcome for exchange in fleet["b"].log] == ["complete"]


async def test_an_answer_goes_on_from_the_text_so_far_as_each_wire_has_it() -> None:
    services = [
        Service("a", fault=Fault("cut", after=5), text=ANSWER),
        Service("b", fault=Fault("cut", after=2), text=" the way air scatters", dialect="anthropic"),
        Service("c", text=" air scatters light."),
    ]
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    async with serve(services) as fleet:
        entrants = [
            provider(fleet, "a"),
            Anthropic(model="b", name="b", api_base=fleet["b"].api_base),
            provider(fleet, "c", dialect=OpenAIChat(prefill=True, prefill_fields=flags)),
        ]
        async with race(entrants, QUESTION, policy=fallback(), midstream="continue") as stream:
            chunks = [chunk async for chunk in stream]
            assert (stream.text, stream.winner) == (ANSWER, "c")
        assert seams(chunks) == [("a", "b", False), ("b", "c", False)]
        first, second, third = (fleet[name].log[-1].body for name in "abc")
        assert first["messages"] == [ASKED]
        assert second["messages"] == [ASKED, {"role": "assistant", "content": BEFORE}]
        assert third["messages"] == [ASKED, {"role": "assistant", "content": f"{BEFORE} the way"}]
        assert {name: third.get(name) for name in flags} == flags
        assert not flags.keys() & first.keys()


async def test_a_standby_over_a_socket_loses_nothing_while_it_waits() -> None:
    services = [
        Service("a", fault=Fault("cut", after=5), first_token=0.2, gap=0.05, text=ANSWER),
        Service("b", reasoning=3, first_token=0.05, gap=0.1, text=ANSWER),
    ]
    async with serve(services) as fleet:
        entrants = [provider(fleet, "a"), provider(fleet, "b")]
        async with race(entrants, QUESTION, midstream="restart", keep_standby=20) as stream:
            chunks = [chunk async for chunk in stream]
        texts = "".join(chunk for chunk in chunks if isinstance(chunk, str))
        if stream.winner == "b" and seams(chunks):  # on a slow machine b may be first
            assert texts == BEFORE + ANSWER
        assert stream.text == ANSWER
        await fleet.quiet()
        assert [exchange.outcome for exchange in fleet["b"].log] == ["complete"]


async def test_a_race_with_a_client_of_its_own_goes_on_with_that() -> None:
    async with serve([Service("a", fault=Fault("cut", after=5)), Service("b", text="New.")]) as fleet:
        async with Race([provider(fleet, "a"), provider(fleet, "b")], policy=fallback(), midstream="restart") as llm:
            for _ in range(2):
                assert (await llm.complete(QUESTION)).text == "New."
        await fleet.quiet()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_synchronous_race_goes_on_too(backend: Any) -> None:
    with run_in_thread([Service("a", fault=Fault("cut", after=5), text=ANSWER), Service("b", text="New.")]) as fleet:
        entrants = [OpenAICompatible(model=name, api_base=fleet[name].api_base, name=name) for name in ("a", "b")]
        with race_sync(entrants, QUESTION, policy=fallback(), midstream="restart", backend=backend) as stream:
            chunks = list(stream)
            assert (stream.text, stream.winner) == ("New.", "b")
        assert seams(chunks) == [("a", "b", True)]
        with (
            pytest.raises(TruncatedError),
            race_sync(entrants[:1], QUESTION, midstream="restart", backend=backend) as stream,
        ):
            list(stream)
