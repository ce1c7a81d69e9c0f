"""Requests of generateContent as they go over the wire, and the bodies of errors and model lists as they come back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from g4ftrio import audio, image, providers
from g4ftrio._words.errors import (
    APIResponseValidationError,
    AuthenticationError,
    MessagesError,
    RateLimitError,
    SetupError,
)
from g4ftrio._words.messages import file, normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects._error_body import error_in, retry_delay
from g4ftrio.dialects.gemini import Gemini
from tests.providers.wires import Recorder, whole

HELLO = [{"role": "user", "content": "Hello"}]
SKIPPED = "skip_thought_signature_validator"
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
PIXEL = b"\x89PNG\r\n\x1a\n"


def encode(model: str = "gemini-3-flash", messages: Any = HELLO, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(
        model=model, messages=normalize(messages), params=params, extra_body=extra_body or {}, stream=False
    )
    body = Gemini().encode(request)
    json.dumps(body)
    return body


def config(model: str = "gemini-3-flash", **params: Any) -> Any:
    return encode(model, **params).get("generationConfig")


def contents(*messages: dict[str, Any], model: str = "gemini-3-flash") -> Any:
    return encode(model, list(messages))["contents"]


def parts(*content: Any) -> Any:
    return contents({"role": "user", "content": list(content)})[0]["parts"]


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def told(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-flash", True, "/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse"),
        ("gemini-3-flash", False, "/v1beta/models/gemini-3-flash:generateContent"),
        ("models/gemini-3-flash", False, "/v1beta/models/gemini-3-flash:generateContent"),
        ("tunedModels/x", False, "/v1beta/tunedModels/x:generateContent"),
        ("a b?c#d:e", False, "/v1beta/models/a%20b%3Fc%23d%3Ae:generateContent"),
    ],
)
def test_the_model_is_in_the_path(model: str, stream: bool, path: str) -> None:
    dialect: Dialect = Gemini()
    assert dialect.path_for(ChatRequest(model=model, messages=[], stream=stream)) == path


def test_the_version_is_a_field() -> None:
    assert Gemini(version="v1").models_path == "/v1/models?pageSize=1000"
    assert Gemini(version="v1").path_for(ChatRequest(model="m", messages=[])).startswith("/v1/models/m:")


def test_a_bare_request_holds_no_more_than_it_must() -> None:
    assert encode() == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_parameters_are_called_as_the_service_calls_them() -> None:
    params: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "seed": 0,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "modalities": ["text", "audio"],
        "audio": {"voice": "Kore", "format": "pcm16"},
    }
    assert config(**params) == {
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 3,
        "maxOutputTokens": 9,
        "stopSequences": ["a", "b"],
        "seed": 0,
        "frequencyPenalty": 0.1,
        "presencePenalty": 0.2,
        "responseModalities": ["TEXT", "AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    assert config(stop="a") == {"stopSequences": ["a"]}
    assert encode(audio={"format": "pcm16"}, parallel_tool_calls=True, tools=[]) == encode()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"user": "u"}, "this service takes no 'user'"),
        ({"parallel_tool_calls": False}, "this service takes no parallel_tool_calls=False: leave it out"),
        ({"audio": {"format": "mp3"}}, "this service speaks in pcm16, not in 'mp3'"),
        ({"reasoning_effort": "most"}, "must be one of none, minimal, low, medium, high, xhigh, not 'most'"),
        ({"tools": [{"type": "web_search"}]}, "a tool of the type 'web_search': put that into extra_body"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice must be"),
    ],
)
def test_what_the_wire_has_no_form_for_is_refused_in_words(params: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        encode(**params)


def test_a_conversation_is_not_of_this_wire() -> None:
    assert encode(conversation={"id": 1}) == encode()


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-3-flash", "none", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
        ("gemini-3.1-pro", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("models/gemini-flash-latest", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("models/gemini-2.5-pro", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
    ],
)
def test_an_effort_is_a_level_or_a_budget_as_the_model_takes_it(
    model: str, effort: str, thinking: dict[str, Any]
) -> None:
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}


def test_the_extra_body_lies_over_everything_and_within_it_and_takes_out_by_none() -> None:
    extra: dict[str, Any] = {
        "generationConfig": {"temperature": None, "candidateCount": 2},
        "tools": [{"googleSearch": {}}],
        "safetySettings": [],
        "contents": None,
    }
    assert encode(temperature=1, seed=3, tools=[WEATHER], extra_body=extra) == {
        "generationConfig": {"seed": 3, "candidateCount": 2},
        "tools": [{"googleSearch": {}}],
        "safetySettings": [],
    }


def test_system_messages_stand_apart() -> None:
    body = encode(
        messages=[{"role": "system", "content": "Be brief."}, *HELLO, {"role": "developer", "content": "Be kind."}]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief.\n\nBe kind."}]}
    assert body["contents"] == encode()["contents"]
    with pytest.raises(MessagesError, match="there is nothing to answer: add a user message"):
        encode(messages=[{"role": "system", "content": "Be brief."}])


def test_roles_are_user_and_model_and_empty_turns_are_left_out() -> None:
    answers = [{"role": "assistant", "content": text} for text in ("Hi.", "")]
    assert contents(*HELLO, *answers, *HELLO) == [
        {"role": "user", "parts": [{"text": "Hello"}]},
        {"role": "model", "parts": [{"text": "Hi."}]},
        {"role": "user", "parts": [{"text": "Hello"}]},
    ]


def test_media_in_the_message_are_inline() -> None:
    assert parts(
        {"type": "text", "text": "Look:"},
        {"type": "text", "text": ""},
        image(PIXEL),
        audio(b"RIFF0000WAVE"),
        file(b"%PDF-", filename="a.pdf"),
    ) == [
        {"text": "Look:"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRjAwMDBXQVZF"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ]


def test_media_elsewhere_are_links_with_the_type_that_the_address_shows() -> None:
    uploaded = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    assert parts(
        image("https://example.com/a.jpg?b=c.png"),
        {"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=x"}},
        {"type": "file", "file": {"file_id": uploaded}},
    ) == [
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg?b=c.png"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}},
        {"fileData": {"fileUri": uploaded}},
    ]
    with pytest.raises(MessagesError, match="no file_id that is no address: give the uri that the service gave"):
        parts({"type": "file", "file": {"file_id": "file-1"}})


def test_tools_are_declared_with_plain_json_schema() -> None:
    def now() -> str:
        """Tell the time."""
        return ""

    properties = WEATHER["function"]["parameters"]  # type: ignore[index]  # the fixture is a plain nested dict
    assert encode(tools=[WEATHER, now])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "parametersJsonSchema": properties},
                {
                    "name": "now",
                    "description": "Tell the time.",
                    "parametersJsonSchema": {"type": "object", "properties": {}, "required": []},
                },
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_a_tool_choice_is_a_mode(choice: Any, calling: dict[str, Any]) -> None:
    assert encode(tools=[WEATHER], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": calling}
    assert "toolConfig" not in encode(tool_choice="none")


class Sky(msgspec.Struct):
    colour: str


SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
CLOSED = {**SCHEMA, "title": "Sky", "additionalProperties": False}


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "json_object"}, None),
        ({"type": "json_schema", "json_schema": {"name": "sky", "schema": SCHEMA}}, SCHEMA),
        (SCHEMA, {**SCHEMA, "additionalProperties": False}),
        (Sky, CLOSED),
    ],
)
def test_a_response_format_of_every_form_is_a_json_schema(wanted: Any, schema: Any) -> None:
    expected = {"responseMimeType": "application/json"} | ({"responseJsonSchema": schema} if schema else {})
    assert config(response_format=wanted) == expected
    assert config(response_format={"type": "text"}) is None


def test_a_tool_round_trip_from_elsewhere_gets_names_ids_and_a_stand_in_signature() -> None:
    calls = asked(call("a", "weather", '{"city":"Rome"}'), call("b", "time"))
    turns = contents(*HELLO, calls, told("a", "21 degrees"), told("b", '{"now": "noon"}'), *HELLO)
    assert turns[1:] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "a", "name": "weather", "args": {"city": "Rome"}},
                    "thoughtSignature": SKIPPED,
                },
                {"functionCall": {"id": "b", "name": "time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": "21 degrees"}, "id": "a"}},
                {"functionResponse": {"name": "time", "response": {"now": "noon"}, "id": "b"}},
            ],
        },
        {"role": "user", "parts": [{"text": "Hello"}]},
    ]
    assert SKIPPED not in json.dumps(contents(*HELLO, calls, model="gemini-2.5-flash"))


def test_a_turn_that_this_service_wrote_goes_back_as_it_was_written() -> None:
    written = [
        {"text": "Hm.", "thought": True},
        {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "c2lnbmVk"},
    ]
    message = asked(call("call_0", "weather", '{"city":"Rome"}'), provider_metadata={"gemini": written, "other": 1})
    assert contents(*HELLO, message, told("call_0", "rain"))[1:] == [
        {"role": "model", "parts": written},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "rain"}}}]},
    ]
    elsewhere = asked(call("a", "weather"), provider_metadata={"other": [{"text": "no"}]})
    assert contents(*HELLO, elsewhere)[1]["parts"][0]["functionCall"] == {"id": "a", "name": "weather", "args": {}}


def test_ids_that_come_again_in_a_later_turn_name_the_later_call() -> None:
    first, second = asked(call("call_0", "weather")), asked(call("call_0", "time"))
    turns = contents(*HELLO, first, told("call_0", "rain"), second, told("call_0", "noon"))
    assert [turns[n]["parts"][0]["functionResponse"]["name"] for n in (2, 4)] == ["weather", "time"]


def test_a_result_may_hold_pictures() -> None:
    content = [{"type": "text", "text": "A map:"}, image(PIXEL)]
    result = contents(*HELLO, asked(call("a", "map")), told("a", content))[2]["parts"][0]["functionResponse"]
    assert result == {
        "name": "map",
        "response": {"output": "A map:"},
        "id": "a",
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}],
    }


def test_results_and_calls_that_nobody_can_read_are_refused() -> None:
    with pytest.raises(MessagesError, match="answers the call 'b', which no message before it holds"):
        contents(*HELLO, asked(call("a", "map")), told("b", "x"))
    with pytest.raises(MessagesError, match="the arguments of the call 'a' of 'map' in a message are no JSON object"):
        contents(*HELLO, asked(call("a", "map", "[1]")))
    named = {"role": "function", "name": "map", "content": "x"}
    assert contents(*HELLO, named)[1]["parts"] == [{"functionResponse": {"name": "map", "response": {"output": "x"}}}]


ERROR = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [{"reason": "X"}]}


@pytest.mark.parametrize("body", [{"error": ERROR}, [{"error": ERROR}]])
def test_errors_are_read_alone_and_in_arrays(body: Any) -> None:
    assert Gemini().read_error(json.dumps(body).encode()) == ("API key not valid.", "400")


def refused(status: int, word: str, *details: dict[str, Any]) -> bytes:
    typed = [{**detail, "@type": f"type.googleapis.com/google.rpc.{detail['@type']}"} for detail in details]
    return json.dumps({"error": {"code": status, "message": "No.", "status": word, "details": typed}}).encode()


INVALID_KEY = refused(
    400,
    "INVALID_ARGUMENT",
    {"@type": "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
    {"@type": "LocalizedMessage", "locale": "en-US", "message": "No."},
)


def slow_down(delay: Any) -> bytes:
    return refused(
        429, "RESOURCE_EXHAUSTED", {"@type": "Help", "links": []}, {"@type": "RetryInfo", "retryDelay": delay}
    )


def test_the_reason_of_an_error_is_its_code() -> None:
    assert Gemini().read_error(INVALID_KEY) == ("No.", "API_KEY_INVALID")
    error = error_in(json.loads(INVALID_KEY))
    assert (type(error), error and error.status) == (AuthenticationError, 400)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        *(("34s", 34.0), ("34.074824224s", 34.074824224), ("0s", 0.0), ("9999999s", 86_400.0)),
        *(("", None), ("s", None), ("-1s", None), ("34", None), ("1e9s", None), ("٣s", None), ("1" * 40 + "s", None)),
        *((34, None), (None, None), ({}, None)),
    ],
)
def test_a_delay_in_an_error_is_what_it_asks_to_wait(delay: Any, seconds: float | None) -> None:
    assert retry_delay(slow_down(delay)) == seconds
    error = error_in(json.loads(slow_down(delay)))
    assert error is not None
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"error":{"details":{}}}', b'{"error":{"details":[[],1]}}'])
def test_what_names_no_delay_has_none(body: bytes) -> None:
    assert retry_delay(body) is None


@pytest.mark.anyio
async def test_an_answer_with_a_wrong_key_and_one_that_asks_to_wait_are_typed() -> None:
    bodies = {"400 Bad Request": INVALID_KEY, "429 Too Many Requests": slow_down("34.5s")}
    async with Recorder(*(whole(json.loads(body), status) for status, body in bodies.items())) as service:
        provider = providers.Gemini(model="m", api_base=service.url, api_key="k" * 20)
        with pytest.raises(AuthenticationError, match=r"the key was refused \(status 400\): No. \(API_KEY_INVALID\)"):
            await provider.complete("Hi")
        with pytest.raises(RateLimitError) as caught:
            await provider.complete("Hi")
    assert caught.value.retry_after == 34.5


def test_models_are_listed_by_the_names_that_go_into_a_request() -> None:
    listed = {"models": [{"name": "models/gemini-3-flash", "displayName": "F"}, {"name": "tunedModels/x"}]}
    assert Gemini().read_models(json.dumps(listed).encode()) == ["gemini-3-flash", "tunedModels/x"]
    with pytest.raises(APIResponseValidationError, match="the list of models is not one"):
        Gemini().read_models(b"{}")
