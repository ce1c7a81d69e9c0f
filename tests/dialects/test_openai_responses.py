"""The provider of the Responses wire, asked over real sockets: the simulator answers."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import msgspec
import pytest

from g4ftrio._words.chunks import Conversation, ImageResponse, ProviderMetadata
from g4ftrio._words.errors import APIStatusError, BadRequestError, InternalServerError, RateLimitError, TruncatedError
from g4ftrio.providers import OpenAIResponses, resolve
from g4ftrio.simulator import FAULTS, Running, Service, serve
from g4ftrio.simulator._http1 import Request
from g4ftrio.simulator._openai_responses import OpenAIResponses as Wire, read
from g4ftrio.simulator._plan import Step, plan

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"


class Sky(msgspec.Struct):
    colour: str
    days: int


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


def one(**settings: Any) -> list[Service]:
    return [Service("one", **{"dialect": "openai-responses", "tokens": 12, **settings})]


def provider(running: Running, **settings: Any) -> OpenAIResponses:
    asked = OpenAIResponses(model=running.service.models[0], api_base=running.api_base, api_key="sesame", **settings)
    assert type(resolve(running.spec)) is OpenAIResponses
    return asked


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_read_streamed_and_whole(stream: bool) -> None:
    async with serve(one(text="Hello there, né.", reasoning=3, key="sesame")) as fleet:
        whole = await provider(fleet["one"]).complete(QUESTION, stream=stream, max_tokens=50)

    assert (whole.text, len(whole.reasoning.split()), whole.finish_reason) == ("Hello there, né.", 3, "stop")
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.reasoning_tokens) == (5, 6, 3)
    [metadata, conversation] = whole.others
    assert isinstance(metadata, ProviderMetadata)
    assert isinstance(conversation, Conversation)
    assert [item["type"] for item in metadata.state] == ["reasoning", "message"]
    assert conversation.state == {"response_id": f"resp_{fleet['one'].log[0].request_id}"}
    assert fleet["one"].log[0].outcome == "complete"


async def test_the_models_are_listed() -> None:
    async with serve(one(models=("small", "large"))) as fleet:
        assert await provider(fleet["one"]).list_models() == ["small", "large"]


async def test_a_tool_round_trip_without_memory_sends_the_thoughts_back() -> None:
    async with serve(one(reasoning=2)) as fleet:
        asked = provider(fleet["one"])
        history: list[dict[str, Any]] = [{"role": "user", "content": "Use weather for Paris"}]
        first = await asked.complete(history, tools=[weather])
        [call] = first.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": weather(**json.loads(call.arguments))}
        second = await asked.complete([*history, first.message, result], tools=[weather])

    assert (call.name, call.arguments, first.finish_reason) == ("weather", '{"city":"Paris"}', "tool_calls")
    assert second.text == "The tool says: Sunny in Paris."
    sent = fleet["one"].log[1].body["input"]
    assert [item["type"] for item in sent] == ["message", "reasoning", "function_call", "function_call_output"]
    assert sent[1]["encrypted_content"]


async def test_a_tool_round_trip_by_conversation_sends_the_result_alone() -> None:
    async with serve(one()) as fleet:
        asked = provider(fleet["one"])
        first = await asked.complete("Use weather", tools=[weather], tool_choice="required")
        [conversation] = [other for other in first.others if isinstance(other, Conversation)]
        result = [{"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "Sunny."}]
        second = await asked.complete(result, conversation=conversation)

    assert second.text == "The tool says: Sunny."
    assert fleet["one"].log[1].body["previous_response_id"] == conversation.state["response_id"]
    assert len(fleet["one"].log[1].body["input"]) == 1


async def test_an_answer_is_of_the_type_that_was_asked_for() -> None:
    async with serve(one()) as fleet:
        whole = await provider(fleet["one"]).complete(QUESTION, response_format=Sky)
        anything = await provider(fleet["one"]).complete(QUESTION, response_format={"type": "json_object"})

    assert whole.parsed == Sky("blue", 1)
    assert json.loads(anything.text) == {"answer": "blue"}
    assert fleet["one"].log[0].body["text"]["format"]["name"] == "Sky"


async def test_a_limit_is_told_as_length() -> None:
    async with serve(one()) as fleet:
        whole = await provider(fleet["one"]).complete(QUESTION, max_tokens=4)
    assert (len(whole.text.split()), whole.finish_reason) == (4, "length")


async def test_faults_are_read_as_what_they_are() -> None:
    kinds: dict[str, type[Exception]] = {
        "rate_limit": RateLimitError,
        "error": InternalServerError,
        "cut": TruncatedError,
        "truncated": TruncatedError,
        "no_done": TruncatedError,
        "error_in_stream": APIStatusError,
    }
    services = [Service(name, dialect="openai-responses", fault=name) for name in (*kinds, "refusal", "empty")]
    async with serve(services) as fleet:
        for name, kind in kinds.items():
            with pytest.raises(kind):
                await provider(fleet[name]).complete(QUESTION)
        refused = await provider(fleet["refusal"]).complete(QUESTION)
        empty = await provider(fleet["empty"]).complete(QUESTION)

    assert (refused.refusal, refused.text) == ("I cannot help with that.", "")
    assert (empty.text, empty.finish_reason) == ("", "stop")


async def test_a_conversation_that_the_service_does_not_know_is_refused() -> None:
    async with serve(one()) as fleet:
        with pytest.raises(BadRequestError, match="Previous response with id 'elsewhere' not found"):
            await provider(fleet["one"]).complete(QUESTION, conversation={"response_id": "elsewhere"})


@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_spoils_an_answer_of_this_wire(stream: bool) -> None:
    body = json.dumps({"model": "one", "input": QUESTION, "stream": stream}).encode()

    def steps_of(fault: str | None) -> list[Step]:
        service = Service("one", dialect="openai-responses", fault=fault, text="a b c d e f g")
        return list(islice(plan(service, Request("POST", "/v1/responses", body=body), 0, created=0).steps, 40))

    good = steps_of(None)
    untold = set() if stream else {"no_done"}  # a whole answer has no end marker
    for name in FAULTS.keys() - untold:
        assert steps_of(name) != good, name


# What the simulator reads


def test_input_is_text_or_items() -> None:
    parts = [{"type": "input_text", "text": "one two"}, {"type": "input_image", "image_url": "data:,"}]
    items = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"type": "reasoning", "id": "rs", "summary": []},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
    ]
    asked = read({"model": "m", "input": items, "instructions": "Be kind now.", "unknown": 1})
    assert (asked.prompt, asked.tool_result, asked.input_tokens, asked.stream) == ("one two", "1\n2", 9, False)
    assert read({"model": "m", "input": "Hi", "text": {"format": {"type": "text"}}}).prompt == "Hi"


TOOL = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": ""}, "length >= 1"),
        ({"input": [{"role": "tool", "content": "1"}]}, r"Invalid enum value 'tool' - at `\$.input"),
        ({"max_output_tokens": 0}, "Expected `int` >= 1"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "names 'g', which is not among"),
        ({"text": {"format": {"type": "xml"}}}, "Invalid enum value 'xml'"),
    ],
)
def test_a_wrong_body_is_refused_in_words(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read({"model": "m", "input": "Hi", **wrong})


def test_a_choice_of_none_keeps_tools_from_being_called() -> None:
    assert read({"model": "m", "input": "f", "tools": [TOOL], "tool_choice": "none"}).tools == ()
    named = read({"model": "m", "input": "x", "tools": [TOOL, {"type": "web_search"}], "tool_choice": TOOL})
    assert ([tool.name for tool in named.tools], named.must_call) == (["f"], True)


def test_a_picture_has_no_form_on_this_wire() -> None:
    renderer = Wire().renderer(read({"model": "m", "input": "Hi"}), "one", 0)
    with pytest.raises(TypeError, match="no form for ImageResponse"):
        renderer.frame(ImageResponse(("https://a",)))
