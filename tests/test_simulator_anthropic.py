"""The simulated side of the Messages wire, asked by our own provider, and by a stock client that knows us not."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import islice
from typing import Annotated, Any, Literal

import httpx
import pytest
from msgspec import Meta, Struct

from g4ftrio import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    Reasoning,
    TruncatedError,
    race,
)
from g4ftrio.providers import Anthropic
from g4ftrio.simulator import FAULTS, Fault, Running, Service, serve
from g4ftrio.simulator._http1 import Request
from g4ftrio.simulator._plan import plan

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Sky(Struct):
    colour: Literal["blue", "red"]
    waves: Annotated[int, Meta(ge=1)]


def one(**settings: Any) -> list[Service]:
    return [Service("one", dialect="anthropic", **{"tokens": 12, **settings})]


def at(running: Running, **settings: Any) -> Anthropic:
    return Anthropic(model=running.service.models[0], api_base=running.api_base, **settings)


def body(prompt: Any = QUESTION, **fields: Any) -> dict[str, Any]:
    return {"model": "one", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **fields}


async def ask(running: Running, asked: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        return await client.post(f"{running.api_base}/v1/messages", json=asked)


def events(answer: str) -> list[tuple[str, Any]]:
    blocks = (block.split("\ndata: ") for block in answer.removesuffix("\n\n").split("\n\n"))
    return [(name.removeprefix("event: "), json.loads(data)) for name, data in blocks]


async def test_a_streamed_answer_is_a_row_of_blocks_that_begin_grow_and_stop() -> None:
    async with serve(one(text="Hi there.", reasoning=1)) as fleet:
        answer = await ask(fleet["one"], body(stream=True))

    told = events(answer.text)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert all(name == data["type"] for name, data in told)
    assert [name for name, _ in told] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    deltas = [data["delta"]["type"] for name, data in told if name == "content_block_delta"]
    assert deltas == ["thinking_delta", "signature_delta", "text_delta", "text_delta"]
    assert [data["index"] for _, data in told if "index" in data] == [0] * 4 + [1] * 4
    assert told[0][1]["message"]["usage"] == {"input_tokens": 5, "output_tokens": 1}
    assert told[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert told[-2][1]["usage"]["output_tokens"] == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_our_provider_reads_text_thoughts_usage_and_reason(stream: bool) -> None:
    async with serve(one(text="Hello there, né.", reasoning=2)) as fleet:
        running = fleet["one"]
        answer = await at(running).complete(QUESTION, system="Be brief.", stream=stream)

    assert (answer.text, len(answer.reasoning.split()), answer.finish_reason) == ("Hello there, né.", 2, "stop")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.reasoning_tokens) == (7, 5, 2)
    assert running.api_base.count("/") == 2
    assert running.log[0].body == {
        "model": "one",
        "max_tokens": 4096,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": stream,
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_a_whole_round_with_a_tool_and_signed_thoughts(stream: bool) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Use get_weather for Paris"}]
    async with serve(one(reasoning=4)) as fleet:
        llm = at(fleet["one"])
        first = await llm.complete(messages, tools=[WEATHER], stream=stream)
        [called] = first.tool_calls
        result = {"role": "tool", "tool_call_id": called.id, "content": "21 degrees"}
        last = await llm.complete([*messages, first.message, result], tools=[WEATHER], stream=stream)

        changed = deepcopy(first.message)
        changed["provider_metadata"]["anthropic"][0]["thinking"] += "!"
        with pytest.raises(BadRequestError, match="Invalid `signature` in `thinking` block"):
            await llm.complete([*messages, changed, result], tools=[WEATHER])
        with pytest.raises(BadRequestError, match="`tool_use` ids were found without `tool_result` blocks"):
            await llm.complete([*messages, first.message], tools=[WEATHER])

    assert (called.name, called.arguments, first.finish_reason) == ("get_weather", '{"city":"Paris"}', "tool_calls")
    assert last.text == "The tool says: 21 degrees"


async def test_thoughts_come_before_the_text_in_a_race() -> None:
    async with serve(one(reasoning=2, text="Blue.")) as fleet, race([at(fleet["one"])], QUESTION) as stream:
        chunks = [chunk async for chunk in stream]

    assert [type(chunk) for chunk in chunks[:3]] == [Reasoning, Reasoning, str]
    assert stream.text == "Blue."


async def test_limits_stops_schemas_and_choices_are_kept() -> None:
    async with serve(one(text="one two three four")) as fleet:
        llm = at(fleet["one"])
        cut = await llm.complete(QUESTION, max_tokens=2)
        stopped = await llm.complete(QUESTION, stop=[" three"])
        fitting = await llm.complete(QUESTION, response_format=Sky)
        must = await llm.complete(QUESTION, tools=[WEATHER], tool_choice="required")
        named = await llm.complete(QUESTION, tools=[WEATHER], tool_choice=WEATHER)
        none = await llm.complete("get_weather!", tools=[WEATHER], tool_choice="none")

    assert (cut.text, cut.finish_reason) == ("one two", "length")
    assert stopped.text == "one two"
    assert fitting.parsed == Sky("blue", 1)
    assert [answer.finish_reason for answer in (must, named, none)] == ["tool_calls", "tool_calls", "stop"]


async def test_models_are_listed_with_the_key_in_its_header() -> None:
    async with serve(one(models=("small", "large"), key="sk-right")) as fleet:
        assert await at(fleet["one"], api_key="sk-right").list_models() == ["small", "large"]
        with pytest.raises(AuthenticationError, match="the API key is missing or wrong"):
            await at(fleet["one"], api_key="sk-wrong").complete(QUESTION)


async def test_faults_are_read_as_what_they_are() -> None:
    faults = [Fault("rate_limit"), Fault("overloaded", status=529), Fault("html"), Fault("cut", after=3)]
    faults += [Fault("truncated", after=3), Fault("error_in_stream", after=2), Fault("no_done"), Fault("refusal")]
    services = [Service(each.name, dialect="anthropic", fault=each, text="a b c d e") for each in faults]
    async with serve(services) as fleet:
        llms = {name: at(running) for name, running in fleet.items()}
        with pytest.raises(RateLimitError, match="slow down") as limited:
            await llms["rate_limit"].complete(QUESTION)
        with pytest.raises(InternalServerError, match="overloaded") as overloaded:
            await llms["overloaded"].complete(QUESTION)
        with pytest.raises(APIResponseValidationError, match=r"a web page .*: 'Just a moment\.\.\.'"):
            await llms["html"].complete(QUESTION)
        with pytest.raises(TruncatedError) as cut:
            await llms["cut"].complete(QUESTION)
        with pytest.raises(TruncatedError, match="without a stop reason") as truncated:
            await llms["truncated"].complete(QUESTION)
        with pytest.raises(InternalServerError, match="failed in mid-stream") as broken:
            await llms["error_in_stream"].complete(QUESTION)
        undone = await llms["no_done"].complete(QUESTION)
        refused = await llms["refusal"].complete(QUESTION)

    assert (limited.value.retry_after, overloaded.value.status, broken.value.status) == (1, 529, 500)
    assert (cut.value.text, truncated.value.text, undone.text) == ("a b c", "a b c", "a b c d e")
    assert (refused.refusal, refused.finish_reason) == ("I cannot help with that.", "content_filter")


@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_has_a_form(stream: bool) -> None:
    request = Request("POST", "/v1/messages", body=json.dumps(body(stream=stream)).encode())
    for name in FAULTS:
        [service] = one(fault=name, text="a b")
        steps = list(islice(plan(service, request, 0, created=0).steps, 20))
        assert any(step.data or step.wait or step.ending for step in steps), name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"messages": []}, "Expected `array` of length >= 1 - at `$.messages`"),
        ({"messages": [{"role": "system", "content": "a"}]}, "Invalid enum value 'system' - at `$.messages[0].role`"),
        ({"temperature": 1.5}, "Expected `float` <= 1.0 - at `$.temperature`"),
        ({"max_tokens": None}, "Expected `int`, got `null` - at `$.max_tokens`"),
        ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools"),
        (
            {"tools": [{"name": "a", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "b"}},
            "tool_choice names 'b', which is not among the tools",
        ),
    ],
)
async def test_a_wrong_body_is_400_and_says_what_is_wrong(wrong: dict[str, Any], message: str) -> None:
    async with serve(one()) as fleet:
        answer = await ask(fleet["one"], body() | wrong)

    error = answer.json()
    assert (answer.status_code, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert message in error["error"]["message"]
