"""One program over all wires: what it is given, what it does with tools, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from g4ftrio import (
    APIStatusError,
    AuthenticationError,
    Chunk,
    Completion,
    FinishReason,
    ProviderError,
    Reasoning,
    TruncatedError,
    Usage,
)
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Fault
from tests.providers.all_wires import ALL, OVER_SOCKETS, asking, fleet_of, last, sent

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("label", ALL)]

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
BEGINNING = "It is blue because of"
UNTHINKING = ("openai-realtime",)  # its models' thoughts are not told
UNCOUNTED = ("ollama", *UNTHINKING)  # thoughts are not counted apart from the rest
UNCOUNTED_CALLS = ("gemini-live",)  # a turn waits for the results of its tools, and is counted when it is over


def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def population(town: str) -> str:
    """Count the people."""
    return f"2 million in {town}"


TOOLS: dict[str, Callable[..., str]] = {"weather": weather, "population": population}


async def answered(provider: HttpProvider, messages: Any, *, streamed: bool) -> Completion:
    """The whole answer, by either of the two public ways."""
    if not streamed:
        return await provider.complete(messages, tools=[*TOOLS.values()])
    async with provider.stream(messages, tools=[*TOOLS.values()]) as stream:
        async for _ in stream:
            pass
        return await stream.collect()


def results_of(whole: Completion) -> list[dict[str, Any]]:
    """Do what the model asks for."""
    said = {call.id: TOOLS[call.name](**json.loads(call.arguments)) for call in whole.tool_calls}
    return [{"role": "tool", "tool_call_id": id_, "content": text} for id_, text in said.items()]


# --- tools ---


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("names", [("weather",), ("weather", "population")])
async def test_a_tool_is_called_and_its_result_answered(label: str, names: tuple[str, ...], streamed: bool) -> None:
    async with fleet_of(label, reasoning=3) as fleet:
        provider = asking(fleet[label])
        prompt = f"Ask {' and '.join(names)} about Paris"
        first = await answered(provider, prompt, streamed=streamed)
        assert ([call.name for call in first.tool_calls], first.finish_reason) == ([*names], "tool_calls")
        assert len({call.id for call in first.tool_calls}) == len(names)
        assert all("Paris" in call.arguments for call in first.tool_calls)

        history = [{"role": "user", "content": prompt}, first.message, *results_of(first)]
        second = await answered(provider, history, streamed=streamed)
        told = {"weather": "rain in Paris", "population": "2 million in Paris"}
        assert second.text == "The tool says: " + "\n".join(told[name] for name in names)
        assert (second.tool_calls, second.finish_reason) == ((), "stop")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_third_turn_follows_a_round_trip(label: str, streamed: bool) -> None:
    async with fleet_of(label, text=ANSWER, reasoning=3) as fleet:
        provider = asking(fleet[label])
        history: list[dict[str, Any]] = [{"role": "user", "content": "Ask weather about Paris"}]
        first = await answered(provider, history, streamed=streamed)
        history += [first.message, *results_of(first)]
        history += [(await answered(provider, history, streamed=streamed)).message]
        third = await answered(provider, [*history, {"role": "user", "content": QUESTION}], streamed=streamed)
        assert third.text == ANSWER
        assert "rain in Paris" in sent(fleet[label])


# --- the same program whichever answers ---


def outline(chunks: list[Chunk]) -> list[str]:
    """The kinds of chunks in their order, each once for a row of them; what only some wires give is left out."""
    kinds = [type(chunk).__name__ for chunk in chunks]
    known = ("Reasoning", "str", "ToolCallDelta", "ToolCalls", "Usage", "FinishReason")
    told = [kind for kind in kinds if kind in known]
    return [kind for n, kind in enumerate(told) if told[n - 1 : n] != [kind]]


async def test_the_kinds_of_chunks_and_their_order_are_the_same(label: str) -> None:
    service = fleet_of(label, text=ANSWER, reasoning=3)
    async with service as fleet, asking(fleet[label]).stream(QUESTION, max_tokens=500) as stream:
        chunks = [chunk async for chunk in stream]
        whole = await stream.collect()
    thinks = label not in UNTHINKING
    assert outline(chunks) == [*(["Reasoning"] if thinks else []), "str", "Usage", "FinishReason"]
    assert chunks[-1] == FinishReason("stop")
    assert "".join(map(str, chunks)) == ANSWER == whole.text
    assert whole.reasoning == "".join(chunk.text for chunk in chunks if isinstance(chunk, Reasoning))
    assert len(whole.reasoning.split()) == (3 if thinks else 0)
    assert whole.finish_reason == "stop"


async def test_the_usage_is_the_same(label: str) -> None:
    async with fleet_of(label, text=ANSWER, reasoning=3) as fleet:
        usage = (await asking(fleet[label]).complete(QUESTION)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (len(QUESTION.split()), len(ANSWER.split()) + 3)
    assert usage.reasoning_tokens == (None if label in UNCOUNTED else 3)


async def test_calls_come_in_pieces_then_whole_before_the_usage_and_the_end(label: str) -> None:
    async with fleet_of(label) as fleet, asking(fleet[label]).stream("weather!", tools=[weather]) as stream:
        chunks = [chunk async for chunk in stream]
    counted = [] if label in UNCOUNTED_CALLS else ["Usage"]
    assert outline(chunks) == ["ToolCallDelta", "ToolCalls", *counted, "FinishReason"]
    assert chunks[-1] == FinishReason("tool_calls")


async def test_an_answer_that_is_not_streamed_is_the_same(label: str) -> None:
    async with fleet_of(label, text=ANSWER, reasoning=3) as fleet:
        whole = await asking(fleet[label]).complete(QUESTION, stream=False)
    assert (whole.text, whole.finish_reason) == (ANSWER, "stop")
    assert len(whole.reasoning.split()) == (0 if label in UNTHINKING else 3)
    assert isinstance(whole.usage, Usage)


# --- how it fails ---


@pytest.mark.parametrize("fault", ["cut", "reset", "truncated"])
async def test_an_answer_that_is_cut_is_an_error_with_the_text_so_far(label: str, fault: str) -> None:
    async with fleet_of(label, text=ANSWER, fault=Fault(fault, after=5), gap=0.001) as fleet:
        async with asking(fleet[label]).stream(QUESTION) as stream:
            with pytest.raises(TruncatedError) as caught:
                await stream.collect()
        assert stream.finish_reason is None
    error = caught.value
    assert (error.text, stream.text, error.provider) == (BEGINNING, BEGINNING, label)


async def test_an_error_after_text_is_typed_and_leaves_the_text(label: str) -> None:
    service = fleet_of(label, text=ANSWER, fault=Fault("error_in_stream", after=5))
    async with service as fleet, asking(fleet[label]).stream(QUESTION) as stream:
        with pytest.raises(APIStatusError, match="The simulated service failed in mid-stream") as caught:
            await stream.collect()
    assert (stream.text, caught.value.provider) == (BEGINNING, label)


async def test_the_models_are_listed(label: str) -> None:
    async with fleet_of(label, models=(label, "another"), key="sk-right-key") as fleet:
        provider = asking(fleet[label], api_key="sk-right-key")
        assert await provider.list_models() == [label, "another"]
        assert last(fleet[label]).method == "GET"


async def test_a_wrong_key_is_refused_and_shown_nowhere(label: str) -> None:
    async with fleet_of(label, key="sk-right-key") as fleet:
        provider = asking(fleet[label], api_key="sk-wrong-key")
        errors = [await failing(provider, way) for way in ("complete", "list_models")]
    for error in errors:
        assert (type(error), error.status, error.provider) == (AuthenticationError, 401, label)
        assert "sk-wrong-key" not in f"{error!r} {error} {error.__cause__!r} {provider!r}"


async def failing(provider: HttpProvider, way: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await (provider.complete(QUESTION) if way == "complete" else provider.list_models())
    return caught.value


async def test_the_right_key_goes_in_a_header_and_not_in_the_address(label: str) -> None:
    async with fleet_of(label, key="sk-right-key", text=ANSWER) as fleet:
        assert (await asking(fleet[label], api_key="sk-right-key").complete(QUESTION)).text == ANSWER
        assert "sk-right-key" not in sent(fleet[label])
        assert [exchange.method for exchange in fleet[label].log] == ["GET" if label in OVER_SOCKETS else "POST"]
