"""The Gemini wire's two halves, one against the other, over real sockets."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from g4ftrio import (
    AuthenticationError,
    ImageResponse,
    InternalServerError,
    NotFoundError,
    ProviderMetadata,
    RateLimitError,
    TruncatedError,
)
from g4ftrio.providers import Gemini
from g4ftrio.simulator import Fault, Running, Service, serve
from g4ftrio.simulator._gemini import Gemini as Simulated

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Use weather for Paris"}]


def one(name: str = "one", **settings: Any) -> Service:
    return Service(name, dialect="gemini", **{"text": "Hello there, you.", **settings})


def ask(running: Running, **settings: Any) -> Gemini:
    return Gemini(model=running.service.models[0], api_base=running.api_base, api_key="k", **settings)


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"21 degrees in {city}"


async def test_streamed_and_whole_answers_hold_the_same() -> None:
    async with serve([one(reasoning=2)]) as fleet:
        streamed = await ask(fleet["one"]).complete("Hi", reasoning_effort="low")
        whole = await ask(fleet["one"]).complete("Hi", stream=False)
        models = await ask(fleet["one"]).list_models()
        log = fleet["one"].log

    for answer in (streamed, whole):
        assert (answer.text, answer.finish_reason) == ("Hello there, you.", "stop")
        assert len(answer.reasoning.split()) == 2
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.reasoning_tokens) == (1, 5, 2)
    assert models == ["one"]
    assert [exchange.outcome for exchange in log][:2] == ["complete", "complete"]
    assert log[0].body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "LOW"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_round_trip_brings_the_signature_back(stream: bool) -> None:
    async with serve([one(reasoning=2)]) as fleet:
        provider = ask(fleet["one"])
        called = await provider.complete(QUESTION, tools=[weather], stream=stream)
        result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": weather("Paris")}
        answer = await provider.complete([*QUESTION, called.message, result], tools=[weather], stream=stream)
        sent = fleet["one"].log[1].body["contents"][1]["parts"]

    assert (called.finish_reason, called.tool_calls[0].name) == ("tool_calls", "weather")
    assert json.loads(called.tool_calls[0].arguments) == {"city": "Paris"}
    (kept,) = [other for other in called.others if isinstance(other, ProviderMetadata)]
    assert sent == kept.state
    assert sent[-1]["thoughtSignature"]
    assert answer.text == "The tool says: 21 degrees in Paris"


async def test_a_call_that_another_service_wrote_is_taken_for_its_stand_in_and_not_without_a_signature() -> None:
    call = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    calls = {"role": "assistant", "content": None, "tool_calls": [call], "provider_metadata": {"other": [1]}}
    messages: list[dict[str, Any]] = [*QUESTION, calls, {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"}]
    async with serve([one(models=("one", "gemini-2.5-flash"))]) as fleet, httpx.AsyncClient() as client:
        answer = await ask(fleet["one"]).complete(messages)
        body = json.loads(json.dumps(fleet["one"].log[0].body).replace("thoughtSignature", "nothing"))
        url = f"{fleet['one'].api_base}/v1/models/one:generateContent"
        refused = await client.post(url, json=body)
        taken = await client.post(url.replace("/one:", "/gemini-2.5-flash:"), json=body)

    assert taken.status_code == 200
    assert answer.text == "The tool says: rain"
    assert refused.status_code == 400
    assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert "missing a thought_signature" in refused.json()["error"]["message"]


class Sky(msgspec.Struct):
    colour: str


async def test_structured_output_and_pictures_come_as_asked() -> None:
    async with serve([one(text=None)]) as fleet:
        sky = await ask(fleet["one"]).complete("Which colour?", response_format=Sky)
        drawn = await ask(fleet["one"], extra_body={"generationConfig": {"responseModalities": ["IMAGE"]}}).complete(
            "Sky"
        )

    assert isinstance(sky.parsed, Sky)
    (picture,) = [other for other in drawn.others if isinstance(other, ImageResponse)]
    assert picture.images[0].startswith("data:image/png;base64,iVBOR")


async def test_faults_are_read_as_what_they_are() -> None:
    faults: list[str | Fault] = ["rate_limit", "unauthorized", "not_found", "bad_json", "truncated", "reset"]
    faults += [Fault("cut", after=2), Fault("error_in_stream", after=2), "empty", "refusal", "no_done"]
    names = [fault.name if isinstance(fault, Fault) else fault for fault in faults]
    kinds = {
        "rate_limit": RateLimitError,
        "unauthorized": AuthenticationError,
        "not_found": NotFoundError,
        "bad_json": TruncatedError,
        "truncated": TruncatedError,
        "reset": TruncatedError,
        "cut": TruncatedError,
        "error_in_stream": InternalServerError,
    }
    async with serve([one(name, fault=fault) for name, fault in zip(names, faults, strict=True)]) as fleet:
        for name, kind in kinds.items():
            with pytest.raises(kind):
                await ask(fleet[name]).complete("Hi")
        texts = [(await ask(fleet[name]).complete("Hi")).text for name in ("empty", "refusal", "no_done")]

    assert texts == ["", "I cannot help with that.", "Hello there, you."]


async def test_a_key_a_path_and_a_model_that_are_none_are_refused() -> None:
    async with serve([one(key="right")]) as fleet, httpx.AsyncClient(base_url=fleet["one"].api_base) as client:
        with pytest.raises(AuthenticationError, match="the API key is missing or wrong"):
            await ask(fleet["one"]).complete("Hi")
        with pytest.raises(NotFoundError, match=r"there is one\."):
            await Gemini(model="two", api_base=fleet["one"].api_base, api_key="right").complete("Hi")
        nowhere = await client.post("/v1beta/models/one:countTokens", json={})
        wrong = await client.get("/v1beta/models/one:generateContent")
        empty = await client.post("/v1beta/models/one:generateContent", json={}, headers={"x-goog-api-key": "right"})

    assert (nowhere.status_code, wrong.status_code, empty.status_code) == (404, 405, 400)
    assert "contents is not specified" in empty.json()["error"]["message"]


def test_tools_of_every_spelling_are_read() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    capitals = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "anyOf": [{"type": "NULL"}]}
    named = [
        {"name": "a", "parametersJsonSchema": schema},
        {"name": "b", "parameters_json_schema": schema},
        {"name": "c", "parameters": capitals},
    ]
    said = {"contents": [{"parts": [{"text": "Hi"}]}], "tools": [{"functionDeclarations": named}]}
    asked = Simulated().read(said, model="models/m", stream=True)
    assert [tool.schema for tool in asked.tools] == [schema, schema, {**schema, "anyOf": [{"type": "null"}]}]
    choice = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["b"]}}
    only = Simulated().read({**said, "toolConfig": choice}, model="m", stream=True)
    assert ([tool.name for tool in only.tools], only.must_call) == (["b"], True)
