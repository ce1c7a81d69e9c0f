"""Who is held back in a race: circuit breakers and pauses, with scripted providers. In virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    APIStatusError,
    Breaker,
    Fallback,
    InternalServerError,
    Race,
    RateLimitError,
    Retry,
    SetupError,
    Timeout,
    TruncatedError,
    open_http_client,
    race,
    staggered,
)
from g4ftrio.providers import OpenAICompatible
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

DOWN = APIConnectionError("refused")
QUICK = Breaker(failures=2, pause=8)


def scripted(name: str, *chunks: str, **settings: Any) -> Scripted:
    return Scripted(chunks, name=name, **settings)


def heal(provider: Scripted, *chunks: str) -> None:
    provider.chunks, provider.error = list(chunks), None


async def ask(llm: Race) -> str:
    return (await llm.complete("Why?")).provider


async def test_who_keeps_failing_is_left_alone_tried_once_and_taken_back() -> None:
    one, other = scripted("one", error=DOWN), scripted("other", "b")
    async with Fallback([one, other], breaker=QUICK) as llm:
        for at, asked in ((0, 1), (1, 2), (2, 2), (8.75, 2), (9, 3), (10, 3), (24.5, 3)):
            await anyio.sleep_until(at)
            assert await ask(llm) == "other"
            assert len(one.asked) == asked, at
        heal(one, "a")
        await anyio.sleep_until(25)
        assert [await ask(llm) for _ in range(2)] == ["one", "one"]


async def test_the_breaker_is_on_by_default_and_can_be_switched_off() -> None:
    for settings, asked in (({}, 5), ({"breaker": None}, 9)):
        one = scripted("one", error=DOWN)
        async with Fallback([one, scripted("other", "b")], **settings) as llm:
            for _ in range(9):
                await ask(llm)
        assert len(one.asked) == asked


async def test_while_one_tries_it_the_others_ask_somebody_else() -> None:
    one, other = scripted("one", error=DOWN), scripted("other", "b", delay=0.5)
    async with Fallback([one, other], breaker=QUICK) as llm:
        for _ in range(2):
            await ask(llm)
        await anyio.sleep_until(9)
        heal(one, "a")
        one.delay = 3
        answered: list[str] = []

        async def ask_and_note() -> None:
            answered.append(await ask(llm))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask_and_note)
        assert answered == ["other", "other", "other", "one"]
        assert len(one.asked) == 3


async def test_if_nobody_else_is_left_an_open_circuit_is_asked_at_once() -> None:
    one, two = scripted("one", error=DOWN), scripted("two", error=DOWN)
    async with Fallback([one, two], breaker=QUICK) as llm:
        for count in (1, 2, 3):
            with pytest.raises(AllFailed) as caught:
                await ask(llm)
            assert list(caught.value.failures) == ["one", "two"]
            assert len(one.asked) == len(two.asked) == count
        heal(two, "b")
        assert await ask(llm) == "two"
    assert anyio.current_time() == 0


async def test_a_pause_that_was_asked_for_is_waited_for_and_an_open_circuit_is_not() -> None:
    paused, broken = scripted("paused", error=RateLimitError("no", retry_after=3)), scripted("broken", error=DOWN)
    async with Fallback([paused, broken], breaker=Breaker(failures=1, pause=8)) as llm:
        with pytest.raises(AllFailed):
            await ask(llm)
        heal(paused, "a")
        assert await ask(llm) == "paused"
        assert (len(broken.asked), anyio.current_time()) == (2, 3)


async def test_an_open_circuit_is_the_last_choice_in_a_race_of_all() -> None:
    one, other = scripted("one", error=DOWN), scripted("other", "b", delay=1)
    async with Race([one, other], breaker=QUICK) as llm:
        for _ in range(4):
            assert await ask(llm) == "other"
        assert len(one.asked) == 2
        other.error, other.chunks = DOWN, []
        heal(one, "a")
        assert await ask(llm) == "one"  # asked as soon as the other has failed


async def test_a_loser_that_wrote_something_is_well_and_one_that_did_not_says_nothing() -> None:
    slow, other = scripted("slow", error=DOWN), scripted("other", "b", delay=1)
    async with Race([slow, other], breaker=QUICK) as llm:
        for _ in range(2):
            await ask(llm)
        heal(slow, " ", "a")
        slow.gap, slow.delay = 5, 5
        await anyio.sleep_until(10)
        await ask(llm)
        assert llm._health.open_until("slow") > -float("inf")  # tried, and nothing came
        slow.delay = 0.5
        await ask(llm)
        assert llm._health.open_until("slow") == -float("inf")


async def test_an_answer_that_breaks_off_counts_although_it_had_won() -> None:
    one = scripted("one", "a", error=TruncatedError("cut"))
    async with Fallback([one, scripted("other", "b")], breaker=QUICK) as llm:
        for _ in range(2):
            with pytest.raises(TruncatedError):
                await ask(llm)
        assert await ask(llm) == "other"


async def test_wrong_requests_do_not_open_it() -> None:
    one = scripted("one", error=APIStatusError("no", status=400))
    async with Fallback([one, scripted("other", "b")], breaker=QUICK) as llm:
        for _ in range(5):
            await ask(llm)
    assert len(one.asked) == 5


async def test_models_of_one_provider_have_circuits_of_their_own() -> None:
    one = Scripted(error=DOWN, model="m")
    two = Scripted("a", model="n", delay=1)
    async with Race([one, two], breaker=QUICK) as llm:
        for _ in range(4):
            assert await ask(llm) == "scripted/n"
    assert (len(one.asked), len(two.asked)) == (2, 4)


async def test_a_policy_starts_the_next_one_in_place_of_who_is_held_back() -> None:
    one, two, three = scripted("one", error=DOWN), scripted("two", "b", delay=9), scripted("three", "c", delay=1)
    async with Race([one, two, three], policy=staggered(2), breaker=QUICK) as llm:
        for _ in range(2):
            await ask(llm)
        before = anyio.current_time()
        assert await ask(llm) == "three"
        assert anyio.current_time() - before == 3  # two at once, three after two seconds
        assert len(one.asked) == 2


async def test_what_an_unentered_race_has_learned_counts_for_its_next_request() -> None:
    one = scripted("one", error=DOWN)
    llm = Fallback([one, scripted("other", "b")], breaker=QUICK)
    for _ in range(4):
        await ask(llm)
    assert len(one.asked) == 2


# --- rate-limit headers ---

ANSWER = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def served(headers: dict[str, str], status: int = 200) -> Any:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": "text/event-stream", **headers}, content=ANSWER)

    return open_http_client(transport=httpx.MockTransport(answer))


async def test_a_service_that_says_that_this_was_the_last_one_is_left_alone() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
    async with served(headers) as client:
        one = OpenAICompatible(name="one", model="m", api_base="http://127.0.0.1:1/v1", http_client=client)
        async with Fallback([one, scripted("other", "b")]) as llm:
            async with llm.stream("Why?") as stream:
                await stream.collect()
            assert (stream.winner, stream.report.entrants[0].pause) == ("one", 360)
            assert await ask(llm) == "other"
            await anyio.sleep_until(360)
            assert await ask(llm) == "one"


async def test_a_429_without_retry_after_waits_as_its_headers_say() -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "90s"}
    async with served(headers, 429) as client:
        one = OpenAICompatible(name="one", model="m", api_base="http://127.0.0.1:1/v1", http_client=client)
        with pytest.raises(RateLimitError) as caught:
            await one.complete("Why?")
    assert caught.value.retry_after == 90


# --- compositions ---


async def test_a_race_has_no_limits_of_its_own() -> None:
    with pytest.raises(SetupError, match="give them to the entrants"):
        Race([scripted("one", "a")], limit=1)


async def test_a_race_in_a_race_fails_as_its_entrants_do() -> None:
    deep = scripted("deep", error=InternalServerError("down", status=503))
    async with Fallback([Race([deep], name="inner"), scripted("other", "b")], breaker=QUICK) as llm:
        for _ in range(4):
            await ask(llm)
    assert len(deep.asked) == 2


async def test_the_helper_race_gives_an_entrant_its_time_although_it_retries() -> None:
    again = Retry(scripted("one", error=DOWN), base=0)
    async with race([again, scripted("other", "b", delay=1)], "Why?", timeout=Timeout(total=5)) as stream:
        assert stream.winner == "other"
