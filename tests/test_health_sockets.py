"""Pauses, breakers, limits and retries over real sockets: what the servers see of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from g4ftrio import Breaker, Fallback, LimitError, Rate, RateLimitError, Retry
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import Fault, Fleet, Service, serve

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"


def provider(fleet: Fleet, name: str, **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(name=name, model=name, api_base=fleet[name].api_base, **settings)


async def test_a_429_is_waited_out_and_others_are_asked_meanwhile() -> None:
    limited = Service("limited", fault=Fault("rate_limit", retry_after=0.2))
    async with serve([limited, Service("good", tokens=3)]) as fleet:
        one, good = provider(fleet, "limited"), provider(fleet, "good")
        async with Fallback([one, good]) as llm:
            for _ in range(3):
                assert (await llm.complete(QUESTION)).provider == "good"
            assert len(fleet["limited"].log) == 1
            await anyio.sleep(0.25)
            assert (await llm.complete(QUESTION)).provider == "good"
        assert len(fleet["limited"].log) == 2
        began = anyio.current_time()
        with pytest.raises(RateLimitError) as caught:
            await Retry(one, 3).complete(QUESTION)
        assert anyio.current_time() - began >= 0.4  # what the service asked for, twice
        assert len(caught.value.__notes__) == 2
        assert len(fleet["limited"].log) == 5


async def test_a_service_that_fails_is_left_alone() -> None:
    async with serve([Service("bad", fault="overloaded"), Service("good", tokens=3)]) as fleet:
        entrants = [provider(fleet, "bad"), provider(fleet, "good")]
        async with Fallback(entrants, breaker=Breaker(failures=2)) as llm:
            for _ in range(4):
                assert (await llm.complete(QUESTION)).provider == "good"
        assert len(fleet["bad"].log) == 2


async def test_a_service_is_asked_no_more_at_once_than_its_limit() -> None:
    async with serve([Service("one", fault="stall")]) as fleet:
        one = provider(fleet, "one", limit=2)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one.complete, QUESTION)
            with anyio.fail_after(10):
                while len(fleet["one"].log) < 2:  # noqa: ASYNC110  # a server sets no events
                    await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            assert len(fleet["one"].log) == 2
            tasks.cancel_scope.cancel()
        await fleet.quiet()
        assert [exchange.outcome for exchange in fleet["one"].log] == ["client_gone"] * 2


async def test_a_service_is_asked_no_more_often_than_its_rate() -> None:
    async with serve([Service("one", tokens=3)]) as fleet:
        one = provider(fleet, "one", rate=Rate(requests=2, per=60), wait=0)
        for _ in range(2):
            await one.complete(QUESTION)
        with pytest.raises(LimitError, match="rate of requests is used up"):
            await one.complete(QUESTION)
        assert len(fleet["one"].log) == 2
