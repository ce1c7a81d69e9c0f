"""The Responses wire over WebSockets: our half against the simulator's, without sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from g4ftrio._words.chunks import Chunk, Conversation, FinishReason, Reasoning, Refusal, ToolCall, ToolCalls, Usage
from g4ftrio._words.errors import BadRequestError, SetupError, TruncatedError
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialogue, SocketDialect
from g4ftrio.dialects.openai_responses import OpenAIResponses
from g4ftrio.dialects.openai_responses_socket import OpenAIResponsesSocket
from g4ftrio.simulator import _openai_responses
from g4ftrio.simulator._behaviour import behave
from g4ftrio.simulator._openai_responses import OpenAIResponses as HttpWire
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._socket_wire import Session, SocketWire
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark

WIRE: SocketWire = _openai_responses.OpenAIResponsesSocket()


def request(**settings: Any) -> ChatRequest:
    return ChatRequest(**{"model": "one", "messages": [{"role": "user", "content": "Hello"}], **settings})


def talk(dialogue: Dialogue, session: Session, **service: Any) -> list[Chunk]:
    """Let both halves talk, and give what was understood."""
    [asked] = dialogue.outgoing()
    _, ask = session.hear(json.loads(asked))
    assert ask is not None
    answer, _ = behave(Service("one", dialect="openai-responses", **service), HttpWire(), ask, 0)
    items = [item for beat in answer.beats for item in beat.items]
    return told(dialogue, session, items)


def told(dialogue: Dialogue, session: Session, items: list[Item]) -> list[Chunk]:
    messages = [message for item in items for message in session.say(item)]
    return [chunk for message in messages for chunk in dialogue.feed([message])] + dialogue.close()


def session() -> Session:
    return WIRE.session({}, "one", 0)


def test_it_is_a_dialect_over_sockets_whose_differences_are_those_of_the_body() -> None:
    dialect: SocketDialect = OpenAIResponsesSocket(body=OpenAIResponses(path="/responses/ws", store=False))
    assert dialect.path_for(request()) == "/responses/ws"
    assert dialect.models_path == "/models"
    assert dialect.read_error(WIRE.error(401, "no", "bad_key")) == ("no", "bad_key")
    assert dialect.read_models(WIRE.models(["a"], 0)) == ["a"]
    [asked] = dialect.dialogue(request()).outgoing()
    assert json.loads(asked)["store"] is False


def test_the_body_is_one_message_without_what_only_http_needs() -> None:
    extra = {"background": True, "stream_options": {}, "generate": False}
    dialogue = OpenAIResponsesSocket().dialogue(request(extra_body=extra))
    assert [json.loads(message) for message in dialogue.outgoing()] == [
        {
            "type": "response.create",
            "model": "one",
            "input": [{"type": "message", "role": "user", "content": "Hello"}],
            "generate": False,
        }
    ]
    assert dialogue.outgoing() == []
    with pytest.raises(SetupError, match="'seed'"):
        OpenAIResponsesSocket().dialogue(request(params={"seed": 1}))


def test_both_halves_understand_each_other() -> None:
    ours, theirs = OpenAIResponsesSocket().dialogue(request()), session()
    assert theirs.greet() == []
    chunks = talk(ours, theirs, text="Hi there.", reasoning=1)
    assert isinstance(chunks[0], Reasoning)
    assert [chunk for chunk in chunks if isinstance(chunk, str)] == ["Hi", " there."]
    assert chunks[-3:] == [
        Conversation("", {"response_id": "resp_one-0"}),
        Usage(1, 3, 0, 1),
        FinishReason("stop"),
    ]
    assert (ours.done, ours.error) == (True, None)


def test_a_conversation_goes_on_over_the_same_socket_with_the_tools_result_alone() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    theirs = session()
    asked = request(messages=[{"role": "user", "content": "Use weather"}], params={"tools": [tool]})
    first = talk(OpenAIResponsesSocket().dialogue(asked), theirs)
    assert ToolCalls((ToolCall("call_weather", "weather", "{}"),)) in first
    [kept] = [chunk for chunk in first if isinstance(chunk, Conversation)]

    result = [{"role": "tool", "tool_call_id": "call_weather", "content": "Sunny."}]
    second = talk(OpenAIResponsesSocket().dialogue(request(messages=result, params={"conversation": kept})), theirs)
    assert "".join(chunk for chunk in second if isinstance(chunk, str)) == "The tool says: Sunny."
    assert Conversation("", {"response_id": "resp_one-1"}) in second


def test_refusals_limits_keep_alives_and_foreign_frames_are_said() -> None:
    ours, theirs = OpenAIResponsesSocket().dialogue(request()), session()
    theirs.hear(json.loads(ours.outgoing()[0]))
    items: list[Item] = [Mark.OPEN, Mark.COMMENT, Frame(b'{"type":"x"}'), Refusal("No."), FinishReason("length")]
    chunks = told(ours, theirs, [*items, Mark.DONE])
    assert [chunk for chunk in chunks if not isinstance(chunk, Conversation)] == [
        Refusal("No."),
        FinishReason("length"),
    ]


def test_an_error_is_a_message_and_a_socket_that_closes_early_a_cut() -> None:
    ours, theirs = OpenAIResponsesSocket().dialogue(request()), session()
    [failed] = theirs.error(400, "Previous response with id 'x' not found.", "previous_response_not_found")
    assert ours.feed([failed]) == []
    assert isinstance(ours.error, BadRequestError)
    assert ours.error.message == "Previous response with id 'x' not found."

    cut = OpenAIResponsesSocket().dialogue(request())
    assert talk_until_cut(cut) == ["Hi"]
    assert isinstance(cut.error, TruncatedError)


def talk_until_cut(ours: Dialogue) -> list[Chunk]:
    theirs = session()
    theirs.hear(json.loads(ours.outgoing()[0]))
    return told(ours, theirs, [Mark.OPEN, "Hi", FinishReason("stop")])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([], "of the type 'response.create'"),
        ({"type": "response.cancel"}, "of the type 'response.create'"),
        ({"type": "response.create", "model": "one"}, "missing required field `input`"),
        ({"type": "response.create", "model": "one", "input": []}, "length >= 1"),
        ({"type": "response.create", "model": "one", "input": "a", "previous_response_id": "x"}, "'x' not found"),
    ],
)
def test_the_simulator_says_what_is_wrong_with_a_message(message: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        session().hear(message)


def test_the_simulator_finds_the_key_and_says_nothing_unasked() -> None:
    assert WIRE.key({"authorization": "Bearer sesame"}, {}) == "sesame"
    assert (WIRE.base, WIRE.path, WIRE.models_path) == ("/v1", "/responses", "/models")
    with pytest.raises(RuntimeError, match="nothing was asked"):
        session().say("Hi")


def test_a_message_is_read_as_a_body_is() -> None:
    message = {"type": "response.create", "model": "one", "input": "Why?", "max_output_tokens": 3}
    _, ask = session().hear(message)
    assert ask == Ask(model="one", prompt="Why?", input_tokens=1, stream=True, include_usage=True, max_tokens=3)
