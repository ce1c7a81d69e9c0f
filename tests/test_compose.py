"""Providers made of providers: names, models, time-outs, clients, holds, and races in races. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
import trio

from g4ftrio import (
    AllFailed,
    APITimeoutError,
    Chunk,
    ChunkFilter,
    Cleaned,
    EntrantReport,
    Fallback,
    Marker,
    MissingKeyError,
    Race,
    RaceReport,
    RateLimitError,
    Reasoning,
    SetupError,
    Timeout,
    fallback,
    open_http_client,
    race,
    staggered,
)
from g4ftrio.base_provider import Ask, AsyncGeneratorProvider
from g4ftrio.providers import Groq, OpenAI, OpenAICompatible
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

ANSWER = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Noting(Scripted):
    """Scripted, keeps what it was asked in full, and says that it sends over HTTP."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.asks: list[Ask] = []

    @property
    def _needs_client(self) -> bool:
        return self._client is None and not self._proxy

    def _answer(self, ask: Ask) -> Any:
        self.asks.append(ask)
        return super()._answer(ask)


class Boom(Exception):
    pass


def scripted(name: str, *chunks: Chunk, **settings: Any) -> Noting:
    return Noting(chunks, name=name, **settings)


def outcomes(report: RaceReport) -> dict[str, str]:
    return {entrant.name: entrant.outcome for entrant in report.entrants}


class Service:
    """A client whose every request is answered with a greeting, and noted."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.client = open_http_client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=ANSWER)


# --- names and models ---


async def names(*providers: Any, **settings: Any) -> list[str]:
    async with race(providers, "Why?", **settings) as stream:
        await stream.collect()
    return [entrant.name for entrant in stream.report.entrants]


async def test_an_entrant_is_called_by_label_and_model_or_by_its_own_name() -> None:
    entrants = [Scripted("a"), Scripted("a", model="m"), Scripted("a", model="m", name="mine")]
    assert await names(*entrants) == ["scripted", "scripted/m", "mine"]
    assert await names(*entrants, model="x") == ["scripted/x", "scripted/m", "mine"]


async def test_a_repeated_name_gets_a_number() -> None:
    entrants = [Scripted("a", model="m") for _ in range(3)]
    assert await names(*entrants, Scripted("a", name="other")) == [
        "scripted/m",
        "scripted/m#2",
        "scripted/m#3",
        "other",
    ]


async def test_a_number_that_somebody_is_called_by_already_is_not_given_twice() -> None:
    entrants = [Scripted("a", name="a"), Scripted("a", name="a#2"), Scripted("a", name="a")]
    assert len(set(await names(*entrants))) == 3


async def test_one_provider_may_enter_twice() -> None:
    one = scripted("one", "a")
    async with race([one, one], "Why?") as stream:
        assert stream.winner in ("one", "one#2")
    assert sorted(outcomes(stream.report).values()) == ["lost", "won"]


async def test_the_model_of_a_call_fills_in_only_where_an_entrant_has_none() -> None:
    mine, none = scripted("mine", "a", model="m"), scripted("none", "a")
    none.default_model = "d"
    async with race([mine, none], "Why?", model="x") as stream:
        assert [entrant.model for entrant in stream.report.entrants] == ["m", "x"]
    async with race([mine, none], "Why?") as stream:
        assert [entrant.model for entrant in stream.report.entrants] == ["m", "d"]
    async with race([mine, none], "Why?", policy=fallback()) as stream:
        assert (await stream.collect()).model == "m"


async def test_entrants_may_be_specs_and_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setenv("GROQ_API_KEY", "k")
    specs: list[Any] = ["openai-compatible/a/b:c@http://127.0.0.1:9/v1", Groq]
    async with race(specs, "Why?", model="m", http_client=service.client) as stream:
        await stream.collect()
    assert list(outcomes(stream.report)) == ["openai-compatible/a/b:c", "groq/m"]
    urls = sorted(str(request.url) for request in service.requests)
    assert set(urls) <= {"http://127.0.0.1:9/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"}


async def test_parameters_of_a_call_come_before_an_entrants_own() -> None:
    one, two = scripted("one", "a", delay=1, temperature=0.5, top_p=0.5), scripted("two", "a", delay=1)
    async with race([one, two], "Why?", temperature=1.0):
        pass
    assert one.asks[0].params == {"temperature": 1.0, "top_p": 0.5}
    assert two.asks[0].params == {"temperature": 1.0}


async def test_parameters_bound_to_a_race_are_defaults() -> None:
    one = scripted("one", "a", temperature=0.5)
    await Race([one], top_p=0.25).complete("Why?")
    assert one.asks[0].params == {"temperature": 0.5, "top_p": 0.25}


# --- set-up ---


async def test_a_missing_key_is_an_error_before_anybody_is_asked() -> None:
    one = scripted("one", "a")
    with pytest.raises(MissingKeyError, match=r"openai/m: .*OPENAI_API_KEY"):
        await Race([one, OpenAI(model="m")]).complete("Why?")
    assert one.asked == []


async def test_who_is_not_ready_can_be_left_out() -> None:
    assert await names(OpenAI(model="m"), Scripted("a"), skip_unready=True) == ["scripted"]
    with pytest.raises(MissingKeyError, match="openai/m"):
        await Race([OpenAI(model="m"), Groq(model="m")], skip_unready=True).complete("Why?")


async def test_a_race_is_ready_as_its_entrants_are() -> None:
    Race([Scripted("a")]).check_ready()
    Race([Scripted("a"), OpenAI(model="m")], skip_unready=True).check_ready()
    for whole in (Race([Scripted("a"), OpenAI(model="m")]), Race([OpenAI(model="m")], skip_unready=True)):
        with pytest.raises(SetupError):
            whole.check_ready()


async def test_the_models_of_a_race_are_those_of_all_without_doubles() -> None:
    one, two = Scripted("a"), Scripted("a")
    one.default_model = two.default_model = "m"
    assert await Race([one, two, Scripted("a")]).list_models() == ["m"]


# --- time-outs: call over entrant, limit by limit ---


async def test_time_outs_merge_call_over_race_over_entrant() -> None:
    mine = scripted("mine", "a", delay=1, timeout=Timeout(stall=7, idle=8, connect=9))
    none = scripted("none", "a", delay=1)
    whole = Race([mine, none], timeout=Timeout(idle=5, total=50))
    await whole.complete("Why?", timeout=Timeout(total=40))
    assert mine.asks[0].timeout == Timeout(connect=9, stall=7, idle=5, total=40)
    assert none.asks[0].timeout == Timeout(idle=5, total=40)


async def test_an_entrants_own_limit_fails_only_that_entrant() -> None:
    slow = scripted("slow", "a", delay=9, timeout=Timeout(first_chunk=1))
    async with race([slow, scripted("patient", "b", delay=3)], "Why?") as stream:
        assert stream.winner == "patient"
    error = stream.report.entrants[0].error
    assert str(error) == "slow: no clean chunk within 1 s (timeout first_chunk=1)"
    assert stream.report.entrants[0].ended_at == 1


async def test_a_winner_is_held_to_its_limits_after_the_win() -> None:
    with pytest.raises(APITimeoutError, match=r"^one: .*\(timeout stall=2\)$"):
        async with race([scripted("one", "a", "b", gap=9)], "Why?", timeout=Timeout(stall=2, first_chunk=1)) as stream:
            await stream.collect()
    assert anyio.current_time() == 2


async def test_the_first_chunk_of_a_staggered_entrant_is_counted_from_its_own_start() -> None:
    entrants = [scripted("one", delay=9), scripted("two", "b", delay=2)]
    async with race(entrants, "Why?", policy=staggered(2), timeout=Timeout(first_chunk=3)) as stream:
        assert (stream.winner, anyio.current_time()) == ("two", 4)
    assert outcomes(stream.report) == {"one": "failed", "two": "won"}


# --- Retry-After ---


def limited(seconds: float, **settings: Any) -> Noting:
    return scripted("limited", error=RateLimitError("slow down", retry_after=seconds), **settings)


async def test_who_asked_to_be_left_alone_is_not_asked_again_before_that() -> None:
    one, other = limited(10), scripted("other", "a", delay=1)
    async with Race([one, other]) as llm:
        for at, asked in ((0, 1), (5, 1), (8.5, 1), (11, 2)):
            await anyio.sleep_until(at)
            assert (await llm.complete("Why?")).provider == "other"
            assert len(one.asked) == asked


async def test_one_race_does_not_hold_what_another_one_was_told() -> None:
    one = limited(10)
    for asked in (1, 2):
        await Race([one, scripted("other", "a", delay=1)]).complete("Why?")
        assert len(one.asked) == asked


async def test_if_all_are_held_back_the_race_waits_for_the_first() -> None:
    one = limited(10)
    async with Race([one]) as llm:
        with pytest.raises(AllFailed):
            await llm.complete("Why?")
        one.chunks, one.error = ["a"], None
        assert (await llm.complete("Why?")).text == "a"
        assert anyio.current_time() == 10


async def test_a_hold_that_is_longer_than_the_total_is_not_waited_for() -> None:
    async with Race([limited(100)]) as llm:
        for _ in range(2):
            with pytest.raises(AllFailed, match="asks to wait 100 s"):
                await llm.complete("Why?", timeout=Timeout(total=4))
        assert anyio.current_time() == 0


# --- the client ---


async def test_entrants_without_a_client_share_that_of_the_race() -> None:
    own = open_http_client()
    one, two = scripted("one", delay=9), scripted("two", "a", delay=1, http_client=own)
    async with Race([one, two]) as llm:
        for _ in range(2):
            await llm.complete("Why?")
        shared = one.asks[0].client
        assert shared is one.asks[1].client
        assert two.asks[0].client is own
        assert not shared.is_closed
    assert shared.is_closed
    assert not own.is_closed
    await own.aclose()


@pytest.mark.parametrize("bound", [True, False])
async def test_a_client_that_was_lent_is_not_closed(bound: bool) -> None:
    one = scripted("one", "a")
    async with open_http_client() as client:
        async with Race([one], http_client=client if bound else None) as llm:
            await llm.complete("Why?", http_client=None if bound else client)
        assert one.asks[0].client is client
        assert not client.is_closed


async def test_a_race_opens_no_client_that_nobody_needs() -> None:
    own = Service()
    one, two = scripted("one", "a", http_client=own.client), Scripted(["b"], name="two", delay=1)
    assert (await Race([one, two]).complete("Why?")).text == "a"
    assert one.asks[0].client is own.client
    assert (await Race([Race([one]), two]).complete("Why?")).text == "a"
    assert not Race([Race([one]), two])._needs_client
    assert Race([Race([scripted("three", "c")]), two])._needs_client
    await own.client.aclose()


async def test_a_race_that_is_not_entered_opens_a_client_for_each_request_and_closes_it() -> None:
    one = scripted("one", "a", "b", delay=1)
    whole = Race([one])
    for leave in (0, 1, 2):
        async with whole.stream("Why?") as stream:
            for _ in range(leave):
                await anext(stream)
            assert not one.asks[-1].client.is_closed
        assert one.asks[-1].client.is_closed
    with anyio.move_on_after(0.5):
        await whole.complete("Why?")
    assert one.asks[-1].client.is_closed
    assert len({id(ask.client) for ask in one.asks}) == 4


async def test_a_client_is_closed_also_when_all_fail_or_the_body_raises() -> None:
    one = scripted("one", error=Boom())
    with pytest.raises(AllFailed):
        await Race([one]).complete("Why?")
    assert one.asks[0].client.is_closed
    two = scripted("two", "a")
    with pytest.raises(KeyError):
        async with race([two], "Why?"):
            raise KeyError
    assert two.asks[0].client.is_closed


async def test_a_settled_winner_keeps_the_client_of_its_race_until_its_stream_is_closed() -> None:
    one = scripted("one", "a", "b")
    stream = await race([one], "Why?").settle()
    client = one.asks[0].client
    assert await anext(stream) == "a"
    assert (client.is_closed, one.closed) == (False, 0)
    await stream.aclose()
    assert one.closed == 1


async def test_an_entrant_behind_a_proxy_has_a_client_of_its_own() -> None:
    one, two = scripted("one", "a", delay=1, proxy="http://127.0.0.1:9"), scripted("two", "a", delay=1)
    await Race([one, two]).complete("Why?")
    assert one.asks[0].client is None
    assert two.asks[0].client is not None


def test_a_race_belongs_to_the_loop_that_entered_it() -> None:
    whole = Race([Scripted("a")])

    async def enter() -> None:
        await whole.__aenter__()
        await whole.complete("Why?")

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await whole.complete("Why?")
        await whole.__aexit__(None, None, None)

    asyncio.run(enter())
    trio.run(ask)


# --- races in races ---


async def test_races_nest_and_the_winner_is_named_by_its_way() -> None:
    inner = Race([scripted("slow", "x", delay=9), scripted("fast", Reasoning("hm"), "a", "b", delay=1)], name="inner")
    async with race([inner, scripted("other", "y", delay=5)], "Why?") as stream:
        assert [chunk async for chunk in stream] == [Reasoning("hm"), "a", "b"]
        assert stream.winner == "inner/fast"
    record = stream.report.entrants[0]
    assert outcomes(stream.report) == {"inner": "won", "other": "lost"}
    assert record.race is not None
    assert outcomes(record.race) == {"slow": "lost", "fast": "won"}
    assert record.to_dict()["race"]["entrants"][1]["outcome"] == "won"


async def test_a_nested_race_that_loses_drops_all_of_its_own() -> None:
    deep = [scripted(name, "x", delay=9) for name in "abc"]
    inner = Race([deep[0], Fallback(deep[1:])])
    async with race([inner, scripted("other", "y", delay=1)], "Why?") as stream:
        await clocks.settle()
        assert [entrant.closed for entrant in deep] == [entrant.opened for entrant in deep] == [1, 1, 0]
    report = stream.report.entrants[0].race
    assert report is not None
    assert list(outcomes(report).values()) == ["cancelled", "cancelled"]


async def test_a_nested_race_that_fails_is_one_failure() -> None:
    inner = Race([scripted("a", error=Boom()), scripted("b", error=Boom())])
    async with race([inner, scripted("other", "y", delay=1)], "Why?") as stream:
        assert stream.winner == "other"
    error = stream.report.entrants[0].error
    assert isinstance(error, AllFailed)
    assert list(error.failures) == ["a", "b"]


async def test_a_fallback_to_a_race_starts_it_only_then() -> None:
    racers = [scripted("a", "x", delay=9), scripted("b", "y", delay=1)]
    async with Fallback([scripted("first", error=Boom(), delay=2), Race(racers)]).stream("Why?") as stream:
        assert anyio.current_time() == 3
        assert (await stream.collect()).text == "y"
    assert outcomes(stream.report) == {"first": "failed", "race": "won"}


async def test_a_nested_race_breaks_off_cleanly_and_passes_errors_on() -> None:
    entrant = scripted("a", *"xyz", gap=1)
    async with race([Race([entrant])], "Why?") as stream:
        assert await anext(stream) == "x"
    assert entrant.closed == 1
    with pytest.raises(Boom):
        await Race([Race([scripted("a", "x", error=Boom())])]).complete("Why?")


async def test_a_nested_race_uses_the_client_of_the_outer_one() -> None:
    entrant = scripted("a", "x")
    async with Race([Race([entrant])]) as llm:
        await llm.complete("Why?")
        await llm.complete("Why?")
        assert entrant.asks[0].client is entrant.asks[1].client
    assert entrant.asks[0].client.is_closed


# --- cleaned ---


def filtered() -> ChunkFilter:
    return ChunkFilter([Marker("[ad]", "[/ad]")])


async def test_what_a_filter_removes_does_not_win_and_is_counted() -> None:
    bad = Cleaned(scripted("bad", "[ad]buy", " this[/ad]", "a", "b", gap=1), filtered)
    async with race([bad, scripted("good", "c", delay=1.5)], "Why?") as stream:
        assert stream.winner == "good"
    async with race([bad, scripted("good", "c", delay=9)], "Why?") as stream:
        assert (await stream.collect()).text == "ab"
        assert stream.winner == "bad"
    assert stream.report.entrants[0].filtered == len("[ad]buy this[/ad]")


async def test_a_filter_is_made_for_each_answer() -> None:
    made: list[ChunkFilter] = []

    def make() -> ChunkFilter:
        made.append(filtered())
        return made[-1]

    cleaned = Cleaned(scripted("one", "a[ad]b"), make)
    assert [(await cleaned.complete("Why?")).text for _ in range(2)] == ["a", "a"]
    assert len(made) == 2


async def test_text_that_was_held_back_comes_out_at_the_end() -> None:
    assert (await Cleaned(scripted("one", "a", "[a"), filtered).complete("Why?")).text == "a[a"


async def test_a_cleaned_provider_is_called_and_bound_as_the_one_it_cleans() -> None:
    inner = scripted("", "a", model="m", timeout=Timeout(stall=7), temperature=0.5)
    cleaned = Cleaned(inner, filtered, top_p=0.25)
    whole = await Race([cleaned]).complete("Why?", model="x")
    assert (whole.provider, whole.model) == ("noting/m", "m")
    assert inner.asks[0].timeout.stall == 7
    assert inner.asks[0].params == {"temperature": 0.5, "top_p": 0.25}
    assert cleaned.name == "noting/m"


async def test_a_cleaned_provider_can_be_settled_as_the_one_it_cleans_can() -> None:
    one = scripted("one", "[ad]x[/ad]", "a", "b")
    stream = await race([Cleaned(one, filtered)], "Why?").settle()
    assert (await stream.collect()).text == "ab"
    assert one.closed == 1
    alone = await Cleaned(one, filtered).stream("Why?").settle()
    await alone.aclose()
    assert one.closed == 2


class Written(AsyncGeneratorProvider):
    """A plain generator."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        yield "[ad]x[/ad]a"


@pytest.mark.parametrize("make", [Written, lambda: Cleaned(Written(), filtered), lambda: Race([Scripted("a")])])
async def test_what_belongs_to_its_task_cannot_be_settled(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"async with race\(\.\.\.\) as stream:"):
        await race([make()], "Why?").settle()


async def test_a_provider_that_is_no_stream_of_its_own_cannot_be_settled_either() -> None:
    with pytest.raises(TypeError, match=r"written cannot be settled: use `async with provider\.stream"):
        await Written().stream("Why?").settle()


async def test_a_cleaned_generator_is_raced() -> None:
    assert (await Race([Cleaned(Written(), filtered)]).complete("Why?")).text == "a"


async def test_records_are_the_requests_own() -> None:
    whole = Race([scripted("one", "a")])
    async with whole.stream("Why?") as first, whole.stream("Why?") as second:
        await first.collect()
        assert isinstance(first.report.entrants[0], EntrantReport)
        assert first.report is not second.report
        assert second.text == ""


async def test_a_missing_model_is_found_before_anybody_is_asked() -> None:
    ready = scripted("ready", "a")
    nameless = OpenAICompatible(api_base="http://127.0.0.1:1/v1")
    with pytest.raises(SetupError, match="openai-compatible: which model"):
        async with race([ready, nameless], "Why?"):
            pass
    assert ready.opened == 0
    async with race([ready, nameless], "Why?", skip_unready=True) as stream:
        assert stream.winner == "ready"


async def test_an_unknown_provider_can_be_skipped_but_not_all_of_them() -> None:
    async with race([scripted("ready", "a"), "no-such-service"], "Why?", skip_unready=True) as stream:
        assert [entrant.name for entrant in stream.report.entrants] == ["ready"]
    with pytest.raises(SetupError, match="no provider named 'no-such-service'"):
        race(["no-such-service"], "Why?", skip_unready=True)


async def test_a_nested_race_gets_its_model_from_the_call() -> None:
    nameless = OpenAICompatible(api_base="http://127.0.0.1:1/v1")
    nested = Race([nameless, scripted("ready", "a")])
    async with race([nested], "Why?", model="m") as stream:
        assert stream.winner == "race/ready"
    with pytest.raises(SetupError, match="which model"):
        async with race([nested], "Why?"):
            pass
