"""What others test with: scripted providers, tapes, a forbidden network, a check of a provider."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from g4ftrio import (
    APITimeoutError,
    Chunk,
    FinishReason,
    RateLimitError,
    Reasoning,
    Timeout,
    TruncatedError,
    Usage,
    open_http_client,
    race,
)
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.providers import Groq, OpenAI, OpenAICompatible
from g4ftrio.simulator import Service, serve
from g4ftrio.testing import NetworkForbidden, Scripted, Tape, check_provider, forbid_network, record, replay

pytestmark = pytest.mark.anyio

ANSWER = "It is blue because of the way air scatters light."
KEY = "sk-very-secret"


# --- scripted ---


async def test_a_scripted_provider_says_what_it_is_told() -> None:
    chunks: list[Chunk] = [Reasoning("hm"), "a", "b", Usage(1, 2), FinishReason("stop")]
    provider = Scripted(chunks)
    async with provider.stream("Hello?") as stream:
        assert [chunk async for chunk in stream] == chunks
    whole = await provider.complete("And now?")
    assert (whole.text, whole.reasoning, whole.usage, whole.provider) == ("ab", "hm", Usage(1, 2), "scripted")
    assert [messages[0]["content"] for messages in provider.asked] == ["Hello?", "And now?"]
    assert (provider.opened, provider.closed) == (2, 2)


async def test_a_text_is_one_chunk_and_nothing_is_an_empty_answer() -> None:
    async with Scripted("Hello").stream("?") as stream:
        assert [chunk async for chunk in stream] == ["Hello"]
    assert (await Scripted().complete("?")).text == ""


async def test_a_scripted_error_comes_after_the_chunks_every_time() -> None:
    provider = Scripted("a", error=RateLimitError("slow down"))
    for _ in range(2):
        async with provider.stream("?") as stream:
            assert await anext(stream) == "a"
            with pytest.raises(RateLimitError, match="slow down"):
                await anext(stream)


async def test_a_scripted_provider_is_held_to_its_limits() -> None:
    with pytest.raises(APITimeoutError, match=r"^scripted: "):
        await Scripted("a", delay=60).complete("?", timeout=Timeout(first_chunk=0.01))


async def test_a_scripted_provider_refuses_what_no_provider_knows() -> None:
    with pytest.raises(TypeError, match="unknown parameter 'chunk'"):
        Scripted(chunk="a")
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        Scripted("a").stream("?", temprature=1)  # type: ignore[call-arg]  # that is the mistake


async def test_it_can_be_settled() -> None:
    provider = Scripted(["a", "b"])
    stream = await race([provider], "?").settle()
    assert provider.closed == 0
    assert (await stream.collect()).text == "ab"
    assert provider.closed == 1


# --- tapes ---


async def test_what_was_recorded_is_replayed_piece_by_piece_without_the_network(tmp_path: Path) -> None:
    tape = tmp_path / "tape.json"
    async with serve([Service("good", text=ANSWER, gap=0.001)]) as fleet:
        provider = OpenAICompatible(model="good", api_base=fleet["good"].api_base, api_key=KEY)
        async with record(tape) as client:
            original = await provider.complete("Why?", http_client=client)
            await provider.complete("And?", http_client=client)
    with forbid_network():
        async with replay(tape) as client:
            again = await provider.complete("And?", http_client=client)
            assert (again.text, again.usage, again.finish_reason) == (ANSWER, original.usage, "stop")
            assert (await provider.complete("Why?", http_client=client)).text == ANSWER
            with pytest.raises(AssertionError, match=r"no such request on the tape \(any more\): POST http://127"):
                await provider.complete("Why?", http_client=client)
    exchanges = json.loads(tape.read_text("utf-8"))
    assert [exchange["body"]["messages"][0]["content"] for exchange in exchanges] == ["Why?", "And?"]
    assert len(exchanges[0]["pieces"]) > 1


async def test_there_is_no_key_on_a_tape(tmp_path: Path) -> None:
    tape = tmp_path / "tape.json"
    async with serve([Service("good", text=ANSWER)]) as fleet:
        address = fleet["good"].api_base
        provider = OpenAICompatible(model="good", api_base=address, api_key=KEY, headers={"x-key": KEY})
        async with record(tape) as client:
            await provider.complete("Why?", http_client=client)
            await client.get(f"{address}/models", params={"key": KEY})
    text = tape.read_text("utf-8")
    assert KEY not in text
    assert [exchange["url"] for exchange in json.loads(text)] == [f"{address}/chat/completions", f"{address}/models"]


async def test_errors_and_cut_answers_are_replayed_as_such(tmp_path: Path) -> None:
    tape = tmp_path / "tape.json"
    services = [Service("limited", fault="rate_limit"), Service("truncated", fault="truncated", text=ANSWER)]
    async with serve(services) as fleet:
        providers = [OpenAICompatible(model=name, api_base=fleet[name].api_base) for name in fleet]
        async with record(tape) as client:
            for provider in providers:
                with pytest.raises((RateLimitError, TruncatedError)):
                    await provider.complete("Why?", http_client=client)
    async with replay(tape) as client:
        with pytest.raises(RateLimitError, match="status 429") as limited:
            await providers[0].complete("Why?", http_client=client)
        assert (limited.value.retry_after, limited.value.status) == (1, 429)
        with pytest.raises(TruncatedError) as cut:
            await providers[1].complete("Why?", http_client=client)
        assert cut.value.text == "It is blue because of"


async def test_a_tape_is_written_whatever_came_and_has_what_was_read(tmp_path: Path) -> None:
    tape = tmp_path / "tape.json"

    async def read_one(provider: OpenAICompatible) -> None:
        async with record(tape) as client, provider.stream("Why?", http_client=client) as stream:
            await anext(stream)
            raise KeyError

    async with serve([Service("slow", text=ANSWER, gap=60)]) as fleet:
        with pytest.raises(KeyError):
            await read_one(OpenAICompatible(model="slow", api_base=fleet["slow"].api_base))
        await fleet.quiet()
        assert fleet["slow"].log[-1].outcome == "client_gone"
    (exchange,) = Tape.load(tape).exchanges
    assert "".join(exchange["pieces"]).count("data:") == 2  # the opening and the first token


async def test_a_tape_may_be_made_by_hand_and_saved(tmp_path: Path) -> None:
    asked = {"method": "GET", "url": "https://one.test/v1/models", "body": None}
    body = '{"data": [{"id": "ä"}]}'.encode().decode("latin-1")
    tape = Tape([{**asked, "status": 200, "headers": {"content-type": "application/json"}, "pieces": [body]}])
    tape.save(tmp_path / "tape.json")
    for played in (tape, tmp_path / "tape.json", str(tmp_path / "tape.json")):
        async with replay(played) as client:
            provider = OpenAICompatible(api_base="https://one.test/v1", http_client=client)
            assert await provider.list_models() == ["ä"]


async def test_any_transport_may_be_recorded(tmp_path: Path) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"id": "m"}]})

    async with record(tmp_path / "tape.json", transport=httpx.MockTransport(answer)) as client:
        assert await OpenAICompatible(api_base="https://one.test/v1", http_client=client).list_models() == ["m"]
    assert len(Tape.load(tmp_path / "tape.json").exchanges) == 1


# --- no network ---


async def test_a_connection_that_is_forbidden_is_an_error_that_names_the_host() -> None:
    with forbid_network(), pytest.raises(NetworkForbidden, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 9))
    with forbid_network(), pytest.raises(NetworkForbidden, match=r"one\.test"):
        await anyio.getaddrinfo("one.test", 443)
    with forbid_network(), pytest.raises(NetworkForbidden, match=r"192\.0\.2\.1"):
        await anyio.to_thread.run_sync(socket.create_connection, ("192.0.2.1", 9))


async def test_a_provider_cannot_reach_out_where_it_is_forbidden() -> None:
    with forbid_network(), pytest.raises(NetworkForbidden):
        await OpenAICompatible(model="m", api_base="https://192.0.2.1/v1").complete("?")
    with forbid_network(), pytest.raises(NetworkForbidden):
        await OpenAICompatible(model="m", api_base="https://one.test/v1").complete("?")


async def test_what_is_allowed_may_be_reached_and_afterwards_everything() -> None:
    async with serve([Service("good", text=ANSWER)]) as fleet:
        provider = OpenAICompatible(model="good", api_base=fleet["good"].api_base)
        with forbid_network(allow=["127.0.0.1"]):
            assert (await provider.complete("?")).text == ANSWER
            with forbid_network(), pytest.raises(NetworkForbidden):
                await provider.complete("?")
            assert (await provider.complete("?")).text == ANSWER
        assert (await provider.complete("?")).text == ANSWER


def test_sockets_of_the_machine_itself_are_not_the_network(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with forbid_network(), socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)


# --- the check of a provider ---


class Written(AsyncGeneratorProvider):
    """A provider of somebody else's."""

    label = "written"
    said: tuple[Chunk, ...] = ("Hello", " world")

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        for chunk in self.said:
            yield chunk


@pytest.mark.parametrize("provider", [OpenAI, Groq, OpenAICompatible, Written, Written(), Scripted("Hello")])
async def test_good_providers_pass_without_the_network(provider: Any) -> None:
    with forbid_network():
        await check_provider(provider)


async def test_a_provider_that_is_bound_to_its_address_is_checked_with_that() -> None:
    with forbid_network():
        await check_provider(
            OpenAICompatible(model="m", api_base="https://one.test/v1", api_key="check-provider-secret-key")
        )


def declared(**attributes: Any) -> type[OpenAI]:
    return type("Other", (OpenAI,), {"__doc__": "A service.", **attributes})


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        (declared(__doc__=None), "says in its docstring what it is"),
        (declared(label="Not Good"), "the label 'Not Good' is lower case"),
        (declared(api_base="http://one.test/v1"), "'http://one.test/v1' is https or on loopback"),
        (declared(api_base="https://one.test/v1/"), "ends without a slash"),
        (declared(key_variables=("my key",)), "'my key' is an environment variable's name"),
        (declared(dialect=OpenAIChat(lenient_end=True)), "notices an answer that was cut"),
        (type("Silent", (Written,), {"__doc__": "Says nothing.", "said": ()}), "gives an answer"),
    ],
)
async def test_what_a_provider_does_not_do_is_told_in_a_sentence(provider: Any, sentence: str) -> None:
    with forbid_network(), pytest.raises(AssertionError, match=sentence):
        await check_provider(provider)


async def test_a_provider_that_keeps_its_key_to_itself_fails() -> None:
    class Keyless(OpenAI):
        """Sends no key."""

        def _fields(self, key: str, extra: Any = None) -> dict[str, str]:
            return super()._fields("", extra)

    with forbid_network(), pytest.raises(AssertionError, match=r"sends its key in Authorization"):
        await check_provider(Keyless)


async def test_a_client_of_the_users_own_is_still_open_after_the_check() -> None:
    async with open_http_client() as client:
        with forbid_network():
            await check_provider(OpenAI(model="m", api_key="check-provider-secret-key", http_client=client))
        assert not client.is_closed
