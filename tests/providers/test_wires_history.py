"""A conversation that goes on elsewhere: what only one service understands goes back to it, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio import Completion, Conversation, ProviderMetadata, SetupError
from g4ftrio.simulator import Fleet
from tests.providers.all_wires import ALL, asking, fleet_of, sent

pytestmark = pytest.mark.anyio

PROMPT = "Ask weather about Paris"
KEEPERS = ("anthropic", "gemini", "ollama", "openai-responses", "openai-responses-ws")  # their turns hold something own
KEPT = ("openai-responses", "openai-responses-ws")  # the services keep the conversation themselves


def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def own(whole: Completion) -> list[str]:
    """The texts by which what only the service itself understands can be told from all else."""
    [state] = [other.state for other in whole.others if isinstance(other, ProviderMetadata)]
    match state:
        case {"thinking": str(thought)}:
            return [thought]
        case list(parts):
            marks = ("signature", "thoughtSignature", "encrypted_content")
            return [part[mark] for part in parts for mark in marks if mark in part]
    raise AssertionError(state)


def conversation_of(whole: Completion) -> Conversation | None:
    return next((other for other in whole.others if isinstance(other, Conversation)), None)


async def begun(fleet: Fleet, label: str) -> Completion:
    whole = await asking(fleet[label]).complete(PROMPT, tools=[weather])
    assert [call.name for call in whole.tool_calls] == ["weather"]
    return whole


def continued(whole: Completion) -> list[dict[str, Any]]:
    [call] = whole.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain in Paris"}
    return [{"role": "user", "content": PROMPT}, whole.message, result]


@pytest.mark.parametrize("keeper", KEEPERS)
async def test_what_a_service_wrote_for_itself_goes_back_to_it(keeper: str) -> None:
    async with fleet_of(keeper, reasoning=3) as fleet:
        whole = await begun(fleet, keeper)
        marks = own(whole)
        assert marks
        answer = await asking(fleet[keeper]).complete(continued(whole), tools=[weather])
        assert answer.text == "The tool says: rain in Paris"
        assert all(mark in sent(fleet[keeper]) for mark in marks)
        assert whole.message["provider_metadata"]["provider"] not in sent(fleet[keeper])


@pytest.mark.parametrize("keeper", KEEPERS)
async def test_another_service_goes_on_and_is_sent_nothing_of_it(keeper: str) -> None:
    async with fleet_of(*ALL, reasoning=3) as fleet:
        whole = await begun(fleet, keeper)
        marks, conversation = own(whole), conversation_of(whole)
        for label in ALL:
            if label == keeper:
                continue
            answer = await asking(fleet[label]).complete(continued(whole), tools=[weather], conversation=conversation)
            assert answer.text == "The tool says: rain in Paris", label
            said = sent(fleet[label])
            assert not [mark for mark in (*marks, "provider_metadata", "resp_", "previous_response") if mark in said]


@pytest.mark.parametrize("keeper", KEEPERS)
async def test_the_same_wire_at_another_address_is_another_service(keeper: str) -> None:
    async with fleet_of(keeper, reasoning=3) as here, fleet_of(keeper, reasoning=3) as there:
        whole = await begun(here, keeper)
        conversation = conversation_of(whole)
        answer = await asking(there[keeper]).complete(continued(whole), tools=[weather], conversation=conversation)
        assert answer.text == "The tool says: rain in Paris"
        said = sent(there[keeper])
        assert not [mark for mark in (*own(whole), "previous_response_id") if mark in said]


@pytest.mark.parametrize("keeper", KEEPERS)
async def test_an_address_for_one_call_is_another_service_too(keeper: str) -> None:
    async with fleet_of(keeper, reasoning=3) as here, fleet_of(keeper, reasoning=3) as there:
        whole = await begun(here, keeper)
        chunks = asking(here[keeper]).create_async_generator(
            keeper, continued(whole), tools=[weather], api_base=there[keeper].api_base
        )
        assert [str(chunk) async for chunk in chunks]
        assert len(there[keeper].log) == 1
        assert not [mark for mark in own(whole) if mark in sent(there[keeper])]


@pytest.mark.parametrize("keeper", KEEPERS)
async def test_there_and_back_again_the_metadata_is_sent_where_it_is_from(keeper: str) -> None:
    other = "openai-compatible"
    async with fleet_of(keeper, other, reasoning=3, text="So it is.") as fleet:
        whole = await begun(fleet, keeper)
        history = continued(whole)
        between = await asking(fleet[other]).complete(history, tools=[weather])
        history += [between.message, {"role": "user", "content": "Is it so?"}]
        assert (await asking(fleet[keeper]).complete(history, tools=[weather])).text == "So it is."
        assert all(mark in sent(fleet[keeper]) for mark in own(whole))


@pytest.mark.parametrize("label", KEPT)
async def test_a_conversation_that_a_service_keeps_goes_on_there(label: str) -> None:
    async with fleet_of(label, text="So it is.") as fleet:
        first = await asking(fleet[label]).complete("Is it so?")
        conversation = conversation_of(first)
        assert conversation is not None
        await asking(fleet[label]).complete("And now?", conversation=conversation)
        assert f'"previous_response_id": "{conversation.state["response_id"]}"' in sent(fleet[label])
        assert "Is it so?" not in sent(fleet[label])


@pytest.mark.parametrize("label", KEPT)
async def test_a_conversation_of_no_known_form_is_refused_before_anything_is_sent(label: str) -> None:
    async with fleet_of(label) as fleet:
        with pytest.raises(SetupError, match=f"^{label}: conversation= is not one of this service's"):
            await asking(fleet[label]).complete("And now?", conversation={"id": 3})
        assert fleet[label].log == []


async def test_a_change_of_the_message_is_not_lost_where_the_metadata_is_taken_out() -> None:
    async with fleet_of(*KEEPERS, reasoning=3, text="So it is.") as fleet:
        for keeper in KEEPERS:
            whole = await begun(fleet, keeper)
            user, message, result = continued(whole)
            message = {**message, "content": "Let me look."}
            del message["provider_metadata"]
            await asking(fleet[keeper]).complete([user, message, result], tools=[weather])
            assert "Let me look." in sent(fleet[keeper])
