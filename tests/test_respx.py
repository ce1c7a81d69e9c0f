"""respx, which our users' tests use, works over a provider's requests.

It is told to mock httpx (``using="httpx"``) and not httpcore, its default, which is below our own transport.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import respx

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    FinishReason,
    Race,
    RateLimitError,
    TruncatedError,
    Usage,
    open_http_client,
    race,
)
from g4ftrio.providers import Groq, OpenAI
from g4ftrio.testing import forbid_network

pytestmark = pytest.mark.anyio

OPENAI = "https://api.openai.com/v1/chat/completions"
GROQ = "https://api.groq.com/openai/v1/chat/completions"
EVENTS = {"content-type": "text/event-stream"}


def events(*texts: str, end: bool = True) -> bytes:
    chunks: list[dict[str, object]] = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    if end:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"] * end
    return "".join(lines).encode()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-groq")


@pytest.fixture
def mocked() -> Iterator[respx.MockRouter]:
    with forbid_network(), respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


async def test_a_request_is_seen_as_it_is_encoded_and_the_answer_is_read(mocked: respx.MockRouter) -> None:
    route = mocked.post(OPENAI).respond(200, headers=EVENTS, content=events("Hel", "lo"))
    whole = await OpenAI(model="gpt-5-mini").complete("Hi?", system="Be brief.", max_tokens=9, temperature=0)
    assert (whole.text, whole.usage, whole.finish_reason) == ("Hello", Usage(5, 2), "stop")
    request = route.calls.last.request
    assert json.loads(request.content) == {
        "model": "gpt-5-mini",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 9,
        "temperature": 0,
    }
    assert request.headers["authorization"] == "Bearer sk-openai"
    assert request.headers["content-type"] == "application/json"


async def test_a_stream_is_read_chunk_by_chunk(mocked: respx.MockRouter) -> None:
    mocked.post(GROQ).respond(200, headers=EVENTS, content=events("Hel", "lo"))
    async with Groq(model="m").stream("Hi?") as stream:
        assert [chunk async for chunk in stream] == ["Hel", "lo", Usage(5, 2), FinishReason("stop")]


async def test_a_race_goes_over_mocked_services(mocked: respx.MockRouter) -> None:
    refused = mocked.post(OPENAI).respond(429, headers={"retry-after": "3"}, json={"error": {"message": "slow down"}})
    mocked.post(GROQ).respond(200, headers=EVENTS, content=events("Hello"))
    async with race([OpenAI(model="a"), Groq(model="b")], "Hi?") as stream:
        assert (stream.winner, (await stream.collect()).text) == ("groq/b", "Hello")
    error = stream.report.entrants[0].error
    if refused.called and error is not None:
        assert isinstance(error, RateLimitError)
        assert error.retry_after == 3


async def test_when_all_mocked_services_fail_every_error_is_told(mocked: respx.MockRouter) -> None:
    mocked.post(OPENAI).respond(429, json={"error": {"message": "slow down"}})
    mocked.post(GROQ).mock(side_effect=httpx.ConnectError("no route"))
    with pytest.raises(AllFailed) as caught:
        await Race([OpenAI(model="a"), Groq(model="b")]).complete("Hi?")
    assert [type(error) for error in caught.value.failures.values()] == [RateLimitError, APIConnectionError]


async def test_an_answer_that_is_cut_is_noticed(mocked: respx.MockRouter) -> None:
    mocked.post(OPENAI).respond(200, headers=EVENTS, content=events("Hel", end=False))
    with pytest.raises(TruncatedError) as caught:
        await OpenAI(model="a").complete("Hi?")
    assert caught.value.text == "Hel"


async def test_the_models_are_listed(mocked: respx.MockRouter) -> None:
    mocked.get("https://api.openai.com/v1/models").respond(200, json={"data": [{"id": "b"}, {"id": "a"}]})
    assert sorted(await OpenAI().list_models()) == ["a", "b"]


@pytest.mark.parametrize("own", [True, False])
async def test_a_client_on_a_mocked_transport_is_used(own: bool) -> None:
    router = respx.MockRouter()
    router.post(OPENAI).respond(200, headers=EVENTS, content=events("Hello"))
    transport = httpx.MockTransport(router.async_handler)
    async with open_http_client(transport=transport) if own else httpx.AsyncClient(transport=transport) as client:
        assert (await OpenAI(model="a", http_client=client).complete("Hi?")).text == "Hello"
        assert (await Race([OpenAI(model="a")]).complete("Hi?", http_client=client)).text == "Hello"
    assert router.calls.call_count == 2
