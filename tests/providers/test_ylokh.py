"""Section 3 of the contract: Ylokh, on the wire."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from g4ftrio import FinishReason, RateLimitError, SetupError, Usage
from g4ftrio._words.chunks import Chunk
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.providers import Ylokh, resolve
from g4ftrio.testing import forbid_network
from g4ftrio.typing import AsyncResult
from tests.providers.wires import Asked, Recorder, chat, refused, streamed, whole

ASK: list[dict[str, Any]] = [{"role": "system", "content": "S"}, {"role": "user", "content": "Why?"}]
HELLO = streamed(*chat("Hel", "lo"))
SAID: list[Chunk] = ["Hel", "lo", FinishReason("stop")]
BODY = (
    b'{"messages":[{"role":"system","content":"S"},{"role":"user","content":"Why?"}],"model":"gpt-3.5-turbo",'
    b'"temperature":1,"presence_penalty":0,"top_p":1,"frequency_penalty":0,"allow_fallback":true,"stream":true}'
)


async def read(stream: AsyncResult) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def sent(*arguments: Any, **named: Any) -> Asked:
    """What goes over the wire for a call of ``create_async_generator``, which the arguments are those of."""
    async with Recorder(HELLO) as service:
        assert await read(Ylokh(api_base=f"{service.url}v1").create_async_generator(*arguments, **named)) == SAID
        [asked] = service.asked
        return asked


# The declaration.


def test_row_base_is_async_generator_provider() -> None:
    assert issubclass(Ylokh, AsyncGeneratorProvider)
    assert Ylokh.get_async_create_function() == Ylokh.create_async_generator


def test_row_attributes() -> None:
    assert (Ylokh.working, Ylokh.supports_message_history, Ylokh.supports_gpt_35_turbo) == (False, True, True)
    assert (Ylokh.needs_auth, Ylokh.key_variables, Ylokh.api_key) == (False, (), None)


def test_row_endpoint() -> None:
    assert (Ylokh.url, Ylokh.api_base) == ("https://chat.ylokh.xyz", "https://chatapi.ylokh.xyz/v1")


def test_row_models() -> None:
    assert Ylokh.default_model == "gpt-3.5-turbo"


def test_row_arguments_in_their_order() -> None:
    parameters = inspect.signature(Ylokh.create_async_generator).parameters
    assert [(name, each.default) for name, each in parameters.items()] == [
        ("model", inspect.Parameter.empty),
        ("messages", inspect.Parameter.empty),
        ("stream", True),
        ("proxy", None),
        ("timeout", 120),
        ("params", inspect.Parameter.empty),
    ]
    assert parameters["params"].kind is inspect.Parameter.VAR_KEYWORD


def test_specs_resolve() -> None:
    provider = resolve("ylokh/other@http://127.0.0.1:9/v1")
    assert isinstance(provider, Ylokh)
    assert (provider.model, provider._address()) == ("other", "http://127.0.0.1:9/v1")
    plain = resolve("ylokh")
    assert isinstance(plain, Ylokh)
    assert plain._address() == "https://chatapi.ylokh.xyz/v1"


# The wire.


@pytest.mark.anyio
async def test_rows_endpoint_headers_and_body_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Recorder(HELLO) as service:
        monkeypatch.setattr(Ylokh, "api_base", f"{service.url}v1")
        assert await read(Ylokh.create_async_generator("", ASK)) == SAID
        [asked] = service.asked
    assert asked.start == "POST /v1/chat/completions HTTP/1.1"
    assert [field for field in asked.fields if not field.startswith("user-agent: g4ftrio/")] == [
        f"Host: 127.0.0.1:{service.port}",
        "Connection: keep-alive",
        "accept-encoding: identity",
        "origin: https://chat.ylokh.xyz",
        "referer: https://chat.ylokh.xyz/",
        "content-type: application/json",
        "accept: */*",
        f"Content-Length: {len(BODY)}",
    ]
    assert asked.body == BODY


@pytest.mark.anyio
async def test_row_headers_are_those_of_its_page_and_the_callers_go_before_them() -> None:
    async with Recorder(HELLO) as service:
        ylokh = Ylokh(api_base=service.url, url="https://page.example", headers={"referer": "https://bound.example/"})
        await read(ylokh.create_async_generator("", ASK))
        await read(ylokh.create_async_generator("", ASK, headers={"Origin": "https://called.example"}))
        assert [(asked["origin"], asked["referer"]) for asked in service.asked] == [
            ("https://page.example", "https://bound.example/"),
            ("https://called.example", "https://bound.example/"),
        ]


@pytest.mark.anyio
async def test_row_body_whatever_the_caller_passes_goes_over_the_defaults() -> None:
    asked = await sent("gpt-4", ASK[1:], temperature=0, allow_fallback=False, web_search=True, mine={"a": [1]})
    assert asked.body == (
        b'{"messages":[{"role":"user","content":"Why?"}],"model":"gpt-4",'
        b'"temperature":0,"presence_penalty":0,"top_p":1,"frequency_penalty":0,"allow_fallback":false,"stream":true,'
        b'"web_search":true,"mine":{"a":[1]}}'
    )
    assert (await sent("", ASK, top_p=None)).body == BODY  # None says nothing
    without = await sent("", ASK, extra_body={"top_p": None, "temperature": 0.5})
    assert without.body == BODY.replace(b'"top_p":1,', b"").replace(b'"temperature":1', b'"temperature":0.5')


@pytest.mark.anyio
async def test_row_attributes_no_key_is_sent_but_one_that_a_caller_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YLOKH_API_KEY", "sk-unasked")
    assert (await sent("", ASK))["authorization"] is None
    assert (await sent("", ASK, api_key="sk-called"))["authorization"] == "Bearer sk-called"


@pytest.mark.anyio
async def test_row_answer_is_one_json_where_it_is_not_streamed() -> None:
    message = {"role": "assistant", "content": "Hello"}
    answer = whole({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}})
    async with Recorder(answer) as service:
        ylokh = Ylokh(api_base=service.url)
        assert await read(ylokh.create_async_generator("", ASK, False)) == ["Hello", Usage(3), FinishReason("stop")]
        assert service.asked[0].body == BODY.replace(b'"stream":true', b'"stream":false')
        await read(Ylokh(api_base=service.url, stream=False).create_async_generator("", ASK))
        assert service.asked[1].json["stream"] is False


@pytest.mark.anyio
async def test_row_arguments_proxy_is_where_the_request_goes() -> None:
    async with Recorder(HELLO) as proxy:
        await read(Ylokh(api_base="http://api.invalid").create_async_generator("", ASK, True, proxy.url))
        assert proxy.asked[0].start == "POST http://api.invalid/chat/completions HTTP/1.1"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bound", "arguments", "waits"), [(None, (), 120), (7, (), 7), (None, (True, None, 8), 8), (7, (True, None, 8), 8)]
)
async def test_row_arguments_timeout_is_120_seconds_where_nothing_else_is_said(
    bound: float | None, arguments: tuple[Any, ...], waits: float
) -> None:
    limits: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"])
        return httpx.Response(200, json={"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        ylokh = Ylokh(timeout=bound, http_client=client)
        await read(ylokh.create_async_generator("", ASK, *arguments))
    assert (limits[0]["connect"], limits[0]["read"]) == (waits, waits)


@pytest.mark.anyio
async def test_every_other_door_asks_the_same() -> None:
    async with Recorder(HELLO) as service:
        ylokh = Ylokh(api_base=service.url)
        assert (await ylokh.complete(ASK)).text == "Hello"
        assert await ylokh.create_async("", ASK, allow_fallback=True) == "Hello"
        assert [asked.body for asked in service.asked] == [BODY, BODY]


@pytest.mark.anyio
async def test_what_goes_wrong_is_typed_and_named() -> None:
    async with Recorder(refused("slow down", "429 Too Many Requests")) as service:
        with pytest.raises(RateLimitError, match=r"^ylokh/gpt-3.5-turbo: too many requests \(status 429\): slow down"):
            await read(Ylokh(api_base=service.url).create_async_generator("", ASK))
    with forbid_network(), pytest.raises(SetupError, match="ylokh: api_base must be an http"):
        await read(Ylokh(api_base="nowhere").create_async_generator("", ASK))
