"""The simulated providers, over real sockets, with a stock client that knows nothing of us."""

from __future__ import annotations

import json
import socket
import struct
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator
from itertools import islice
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from msgspec.structs import replace

from g4ftrio import (
    APIResponseValidationError,
    Completion,
    EntrantReport,
    ImageResponse,
    InternalServerError,
    RateLimitError,
    Stream,
    Timeout,
    TruncatedError,
    Usage,
    open_http_client,
)
from g4ftrio._streams.answer import HttpAnswer
from g4ftrio._words.request import Call, ChatRequest
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_images import OpenAIImages
from g4ftrio.dialects.openchat import OpenChat
from g4ftrio.simulator import (
    DEMO,
    FAULTS,
    Fault,
    Fleet,
    Running,
    Service,
    ThreadFleet,
    constant,
    lognormal,
    run_in_thread,
    serve,
    uniform,
    with_stragglers,
)
from g4ftrio.simulator._http1 import BODY_LIMIT, HEAD_LIMIT, Request, RequestReader
from g4ftrio.simulator._openai_chat import OpenAIChat
from g4ftrio.simulator._picture import draw
from g4ftrio.simulator._plan import Step, plan
from g4ftrio.simulator._schema import sample
from g4ftrio.simulator._text import made_up, split_tokens, topics

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 7}, "unit": {}},
            "required": ["city", "days"],
        },
    },
}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        yield client


def chat(model: str = "one", prompt: str = QUESTION, **body: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **body}


async def ask(client: httpx.AsyncClient, running: Running, **body: Any) -> httpx.Response:
    return await client.post(f"{running.api_base}/chat/completions", json=chat(running.service.models[0], **body))


def events(body: str) -> list[Any]:
    """Read the payloads of an event stream; every event is one data line, or a comment."""
    blocks = body.removesuffix("\n\n").split("\n\n")
    return [_payload(block.removeprefix("data: ")) for block in blocks if not block.startswith(":")]


def _payload(data: str) -> Any:
    return data if data == "[DONE]" else json.loads(data)


def deltas(body: str) -> list[dict[str, Any]]:
    chunks = [event for event in events(body) if event != "[DONE]"]
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def text_of(body: str) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(body))


def one(**settings: Any) -> list[Service]:
    return [Service("one", **{"tokens": 12, **settings})]


# What a good answer looks like


async def test_a_streamed_answer_opens_speaks_finishes_and_says_done(client: httpx.AsyncClient) -> None:
    async with serve(one(text="Hello there, you.")) as fleet:
        answer = await ask(client, fleet["one"], stream=True)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["connection"] == "keep-alive"
    assert deltas(answer.text) == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " there,"},
        {"content": " you."},
        {},
    ]
    *chunks, done = events(answer.text)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {answer.headers["x-request-id"]} == {"chatcmpl-one-0"}
    assert not any("usage" in chunk for chunk in chunks)


async def test_an_answer_that_is_not_streamed_is_one_json(client: httpx.AsyncClient) -> None:
    async with serve(one(text="Hello there.", reasoning=3)) as fleet:
        answer = await ask(client, fleet["one"])

    whole = answer.json()
    message = whole["choices"][0]["message"]
    assert answer.headers["content-type"] == "application/json"
    assert (message["role"], message["content"], message["refusal"]) == ("assistant", "Hello there.", None)
    assert len(message["reasoning_content"].split()) == 3
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (5, 5)
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}


async def test_usage_comes_last_when_it_is_asked_for_and_is_null_before(client: httpx.AsyncClient) -> None:
    async with serve(one(reasoning=2)) as fleet:
        answer = await ask(client, fleet["one"], stream=True, stream_options={"include_usage": True})

    *chunks, last, _ = events(answer.text)
    assert [chunk["usage"] for chunk in chunks] == [None] * 16
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (
        5,
        14,
        19,
    )
    assert [list(delta) for delta in deltas(answer.text)[1:4]] == [
        ["reasoning_content"],
        ["reasoning_content"],
        ["content"],
    ]


async def test_max_tokens_cuts_and_says_so(client: httpx.AsyncClient) -> None:
    async with serve(one()) as fleet:
        answer = await ask(client, fleet["one"], stream=True, max_tokens=5)
        whole = (await ask(client, fleet["one"], max_completion_tokens=4)).json()

    assert len(text_of(answer.text).split()) == 5
    assert events(answer.text)[-2]["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 4
    assert whole["choices"][0]["finish_reason"] == "length"


async def test_stop_ends_before_its_text(client: httpx.AsyncClient) -> None:
    async with serve(one(text="one two three four")) as fleet:
        answer = await ask(client, fleet["one"], stop=["four", " thr"])

    assert answer.json()["choices"][0]["message"]["content"] == "one two"
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "wish",
    [{"prompt": "Use get_weather for Paris"}, {"prompt": "Rain in Paris?", "tool_choice": "required"}],
    ids=["named", "required"],
)
async def test_a_tool_that_is_named_or_required_is_called(client: httpx.AsyncClient, wish: dict[str, Any]) -> None:
    async with serve(one()) as fleet:
        answer = await ask(client, fleet["one"], tools=[WEATHER], stream=True, **wish)
        whole = (await ask(client, fleet["one"], tools=[WEATHER], **wish)).json()

    pieces = [delta["tool_calls"][0] for delta in deltas(answer.text) if "tool_calls" in delta]
    assert (pieces[0]["id"], pieces[0]["type"], pieces[0]["function"]["name"]) == (
        "call_get_weather",
        "function",
        "get_weather",
    )
    assert len(pieces) > 3
    arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    assert json.loads(arguments) == {"city": "Paris", "days": 1}
    assert events(answer.text)[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["content"] is None
    assert whole["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_get_weather", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    ]


async def test_a_tool_is_not_called_unasked_nor_against_tool_choice_none(client: httpx.AsyncClient) -> None:
    async with serve(one()) as fleet:
        unasked = await ask(client, fleet["one"], tools=[WEATHER])
        against = await ask(client, fleet["one"], prompt="get_weather!", tools=[WEATHER], tool_choice="none")

    for answer in (unasked, against):
        assert answer.json()["choices"][0]["finish_reason"] == "stop"


async def test_a_tool_result_is_answered_with_text_that_holds_it(client: httpx.AsyncClient) -> None:
    result = [{"role": "tool", "tool_call_id": "call_get_weather", "content": "21 degrees"}]
    async with serve(one()) as fleet:
        body = chat(prompt="Use get_weather", tools=[WEATHER])
        body["messages"] += result
        answer = await client.post(f"{fleet['one'].api_base}/chat/completions", json=body)

    assert answer.json()["choices"][0]["message"]["content"] == "The tool says: 21 degrees"


async def test_a_response_format_is_kept(client: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["blue", "red"]}}, "required": ["colour"]}
    wish = {"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}}
    async with serve(one()) as fleet:
        fitting = await ask(client, fleet["one"], response_format=wish)
        anything = await ask(client, fleet["one"], response_format={"type": "json_object"})

    assert json.loads(fitting.json()["choices"][0]["message"]["content"]) == {"colour": "blue"}
    assert json.loads(anything.json()["choices"][0]["message"]["content"]) == {"answer": "blue"}


async def test_the_models_are_listed_and_only_they_can_be_asked(client: httpx.AsyncClient) -> None:
    async with serve(one(models=("small", "large"))) as fleet:
        running = fleet["one"]
        models = (await client.get(f"{running.api_base}/models")).json()["data"]
        wrong = await client.post(f"{running.api_base}/chat/completions", json=chat("other"))

    assert [model["id"] for model in models] == ["small", "large"]
    assert running.spec == f"openai-compatible/small@{running.api_base}"
    assert wrong.status_code == 404
    assert wrong.json()["error"]["code"] == "model_not_found"
    assert wrong.json()["error"]["message"] == "The model 'other' does not exist; there is small, large."


async def test_a_connection_is_kept_and_closed_when_the_client_says_so(client: httpx.AsyncClient) -> None:
    async with serve(one()) as fleet:
        running = fleet["one"]
        for _ in range(3):
            await ask(client, running, stream=True)
        assert running.connections == 1
        answer = await client.get(f"{running.api_base}/models", headers={"connection": "close"})
        assert answer.headers["connection"] == "close"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serve(one()) as fleet:
        request = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
        missing = b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answer = await raw(fleet["one"], request + missing)

    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 404 Not Found\r\n" in answer


# The raw-text wire


def raw_text(**settings: Any) -> list[Service]:
    return one(dialect="openchat", **settings)


def said(model: str = "one") -> dict[str, Any]:
    """A body of the raw-text wire, as the contract writes it."""
    settings = {"id": model, "name": "One", "maxLength": 24576, "tokenLimit": 8192}
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": settings, "messages": messages, "key": "", "prompt": "", "temperature": 0.5}


async def read_through(dialect: Dialect, running: Running, prompt: str = QUESTION, **params: Any) -> Completion:
    """Ask with our own half of a wire, and read to the end."""

    async def prepare() -> tuple[Call, tuple[str, ...]]:
        messages = [{"role": "user", "content": prompt}]
        request = ChatRequest(model=running.service.models[0], messages=messages, params=params)
        body = dialect.encode(request)
        url = running.api_base + dialect.path_for(request)
        headers = {"content-type": "application/json"}
        return Call(method="POST", url=url, headers=headers, body=json.dumps(body).encode()), ()

    record = EntrantReport(name="one", model="one")
    async with open_http_client() as client:
        answer = HttpAnswer(client, prepare, dialect, timeout=Timeout(), record=record)
        async with answer as source, Stream(source, record) as stream:
            completion: Completion = await stream.collect()
    return completion


async def test_a_raw_text_answer_is_its_text(client: httpx.AsyncClient) -> None:
    async with serve(raw_text(text="Hello there, né.", reasoning=2)) as fleet:
        running = fleet["one"]
        answer = await client.post(f"{running.api_base}/api/chat", json=said())
        whole = await read_through(OpenChat(), running)

    assert running.spec == f"openchat/one@{running.api_base}"
    assert running.api_base.count("/") == 2
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == "Hello there, né.".encode()
    assert (whole.text, whole.finish_reason, whole.usage) == ("Hello there, né.", None, None)
    assert [(exchange.outcome, exchange.tokens_sent) for exchange in running.log] == [("complete", 3)] * 2
    assert running.log[1].body == said() | {
        "model": {"id": "one", "name": "OpenChat 3.6 (latest)", "maxLength": 24576, "tokenLimit": 8192}
    }


async def test_a_token_limit_cuts_raw_text() -> None:
    async with serve(raw_text()) as fleet:
        whole = await read_through(OpenChat(), fleet["one"], max_tokens=5)

    assert len(whole.text.split()) == 5


async def test_raw_text_faults_are_read_as_what_they_are() -> None:
    faults: list[str | Fault] = ["rate_limit", "error", "html", "reset", Fault("cut", after=3), "error_in_stream"]
    names = [fault.name if isinstance(fault, Fault) else fault for fault in faults]
    pairs = zip(names, faults, strict=True)
    services = [Service(name, dialect="openchat", fault=fault, text="a b c d e f g") for name, fault in pairs]
    async with serve(services) as fleet:
        with pytest.raises(RateLimitError, match="slow down") as limited:
            await read_through(OpenChat(), fleet["rate_limit"])
        with pytest.raises(InternalServerError, match="The simulated service failed"):
            await read_through(OpenChat(), fleet["error"])
        with pytest.raises(APIResponseValidationError, match=r"a web page .*: 'Just a moment\.\.\.'"):
            await read_through(OpenChat(), fleet["html"])
        with pytest.raises(TruncatedError):
            await read_through(OpenChat(), fleet["reset"])
        with pytest.raises(TruncatedError) as cut:
            await read_through(OpenChat(), fleet["cut"])
        error = await read_through(OpenChat(), fleet["error_in_stream"])

    assert limited.value.retry_after == 1
    assert cut.value.text == "a b c"
    assert json.loads(error.text)["error"]["code"] == "internal_error"  # this wire has no other way to say it
    assert all(running.log[0].outcome == "fault" for running in fleet.values())


async def test_raw_text_stalls_until_the_client_goes() -> None:
    async with serve(raw_text(fault=Fault("stall_mid", after=2), text="a b c")) as fleet:
        async with await anyio.connect_tcp("127.0.0.1", port_of(fleet["one"])) as stream:
            await stream.send(post(said(), b"/api/chat"))
            got = b""
            while not got.endswith(b"1\r\na\r\n2\r\n b\r\n"):
                got += await stream.receive()
        await fleet.quiet()
        assert fleet["one"].log[0].outcome == "client_gone"


def raw_text_steps(fault: str | Fault, most: int = 100) -> list[Step]:
    request = Request("POST", "/api/chat", body=json.dumps(said()).encode())
    steps = plan(
        Service("one", dialect="openchat", fault=fault, first_token=1, text="a b"), request, 0, created=0
    ).steps
    return list(islice(steps, most))


def test_every_fault_has_a_form_as_raw_text() -> None:
    for name in FAULTS:
        steps = raw_text_steps(name)
        assert steps, name
        assert all(step.data or step.wait or step.ending for step in steps), name
    assert [(step.wait, step.data) for step in raw_text_steps("keepalive", 4)][1:] == [(0.25, b"1\r\n \r\n")] * 3
    assert b"I cannot" in b"".join(step.data.split(b"\r\n")[1] for step in raw_text_steps("refusal")[1:3])


def test_thinking_is_not_told_as_raw_text_but_takes_its_time() -> None:
    request = Request("POST", "/api/chat", body=json.dumps(said()).encode())
    service = Service("one", dialect="openchat", first_token=1, gap=0.5, reasoning=3, text="a b")
    steps = list(plan(service, request, 0, created=0).steps)

    assert [(step.tokens, step.data) for step in steps if step.tokens] == [(1, b"1\r\na\r\n"), (1, b"2\r\n b\r\n")]
    first = next(number for number, step in enumerate(steps) if step.tokens)
    assert sum(step.wait for step in steps[: first + 1]) == 2.5
    assert sum(step.wait for step in steps) == 3.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"messages": []}, "Expected `array` of length >= 1 - at `$.messages`"),
        ({"messages": [{"role": "system", "content": "a"}]}, "Invalid enum value 'system' - at `$.messages[0].role`"),
        ({"messages": [{"role": "user", "content": []}]}, "Expected `str`, got `array` - at `$.messages[0].content`"),
        ({"temperature": 1.5}, "Expected `float` <= 1.0 - at `$.temperature`"),
        ({"prompt": None}, "Expected `str`, got `null` - at `$.prompt`"),
        ({"model": {"id": "one", "name": "One", "maxLength": 1}}, "missing required field `tokenLimit` - at `$.model`"),
    ],
)
async def test_a_wrong_raw_text_body_is_400_and_says_what_is_wrong(
    client: httpx.AsyncClient, wrong: dict[str, Any], message: str
) -> None:
    async with serve(raw_text()) as fleet:
        answer = await client.post(f"{fleet['one'].api_base}/api/chat", json=said() | wrong)

    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


async def test_the_raw_text_wire_has_one_address_and_asks_for_the_key_like_others(client: httpx.AsyncClient) -> None:
    async with serve(raw_text(key="sesame")) as fleet:
        base = fleet["one"].api_base
        statuses = [(await client.get(base + path)).status_code for path in ("", "/", "/models", "/v1/models")]
        wrong = await client.get(f"{base}/api/chat")
        locked = await client.post(f"{base}/api/chat", json=said())
        headers = {"Authorization": "Bearer sesame"}
        other = await client.post(f"{base}/api/chat", json=said("other"), headers=headers)
        right = await client.post(f"{base}/api/chat", json=said(), headers=headers)

    assert statuses == [404] * 4
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert [answer.status_code for answer in (locked, other, right)] == [401, 404, 200]


# Pictures


async def drawn(client: httpx.AsyncClient, running: Running, **body: Any) -> httpx.Response:
    wish = {"model": running.service.models[0], "prompt": "A fox in Paris", **body}
    return await client.post(f"{running.api_base}/images/generations", json=wish)


def size_of(picture: bytes) -> tuple[int, int]:
    """Read a PNG as a viewer does, checksums and all; gives its width and height."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    parts: dict[bytes, bytes] = {}
    at = 8
    while at < len(picture):
        (length,) = struct.unpack_from(">I", picture, at)
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", picture, at + 8 + length) == (zlib.crc32(kind + data),)
        parts[kind] = data
        at += 12 + length
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, depth, colours = struct.unpack(">2I2B3x", parts[b"IHDR"])
    assert (depth, colours) == (1, 3)
    assert len(zlib.decompress(parts[b"IDAT"])) == height * (1 + (width + 7) // 8)
    return width, height


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8, 3), (9, 2), (128, 1), (129, 1), (1024, 768)])
def test_a_picture_is_a_png_of_its_size(width: int, height: int) -> None:
    assert size_of(draw(Random(1), width, height)) == (width, height)
    assert draw(Random(1), width, height) == draw(Random(1), width, height) != draw(Random(2), width, height)


async def test_pictures_come_as_base64_or_as_urls(client: httpx.AsyncClient) -> None:
    async with serve(one()) as fleet:
        bare = await drawn(client, fleet["one"])
        two = await drawn(client, fleet["one"], n=2, size="32x16", response_format="url")

    [picture] = bare.json()["data"]
    assert bare.headers["content-type"] == "application/json"
    assert size_of(b64decode(picture["b64_json"])) == (64, 64)
    assert picture["revised_prompt"] == "Stripes, and no fox Paris"
    assert bare.json()["usage"] == {
        "input_tokens": 4,
        "output_tokens": 1,
        "total_tokens": 5,
        "input_tokens_details": {"text_tokens": 4, "image_tokens": 0},
    }
    first, second = (each["url"] for each in two.json()["data"])
    assert first != second
    for url in (first, second):
        assert size_of(b64decode(url.removeprefix("data:image/png;base64,"))) == (32, 16)
    assert [(each.path, each.outcome, each.tokens_sent) for each in fleet["one"].log] == [
        ("/v1/images/generations", "complete", 1)
    ] * 2


async def test_pictures_are_read_by_our_own_half_of_the_wire() -> None:
    async with serve([*one(), Service("late", fault="rate_limit"), Service("torn", fault="cut")]) as fleet:
        whole = await read_through(OpenAIImages(), fleet["one"], "A fox", n=2, width=16, height=8)
        with pytest.raises(RateLimitError):
            await read_through(OpenAIImages(), fleet["late"])
        with pytest.raises(TruncatedError):
            await read_through(OpenAIImages(), fleet["torn"])

    [pictures] = whole.others
    assert isinstance(pictures, ImageResponse)
    assert len(pictures.images) == 2
    assert all(url.startswith("data:image/png;base64,") for url in pictures.images)
    assert pictures.alt == "Stripes, and no fox"
    assert whole.usage == Usage(2, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt": ""}, "length >= 1 - at `$.prompt`"),
        ({"n": 11}, "Expected `int` <= 10 - at `$.n`"),
        ({"size": "0x64"}, "matching regex"),
        ({"size": "4097x1"}, "size is 4096x4096 at most"),
        ({"response_format": "png"}, "Invalid enum value 'png' - at `$.response_format`"),
        ({"stream": True}, "at `$.stream`"),
        ({"model": None}, "Expected `str`, got `null` - at `$.model`"),
    ],
)
async def test_a_wrong_wish_for_pictures_is_400(client: httpx.AsyncClient, wrong: dict[str, Any], message: str) -> None:
    async with serve(one()) as fleet:
        answer = await drawn(client, fleet["one"], **wrong)
        other = await drawn(client, fleet["one"], model="other")

    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert other.json()["error"]["code"] == "model_not_found"


def test_every_fault_has_a_form_as_pictures() -> None:
    request = Request("POST", "/v1/images/generations", body=b'{"model": "one", "prompt": "A fox"}')

    def body_of(fault: str | None) -> bytes:
        steps = plan(Service("one", fault=fault), request, 0, created=0).steps
        return b"".join(step.data for step in islice(steps, 20)).partition(b"\r\n\r\n")[2]

    assert json.loads(body_of("empty"))["data"] == json.loads(body_of("refusal"))["data"] == []
    assert json.loads(body_of("error_in_stream"))["error"]["code"] == "internal_error"
    assert body_of("stall") == body_of("keepalive") == b""
    assert b"Just a moment" in body_of("html")
    for name in FAULTS.keys() - {"advertising", "truncated", "no_done", "slow_head"}:  # a picture has no such
        assert body_of(name) != body_of(None), name


# Time and chance


def steps_of(service: Service, count: int = 0, **body: Any) -> list[Step]:
    """Plan an answer without sockets."""
    request = Request("POST", "/v1/chat/completions", body=json.dumps(chat(service.name, **body)).encode())
    return list(plan(service, request, count, created=0).steps)


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    def runs(seed: int) -> list[list[Step]]:
        service = Service("one", first_token=lognormal(1, 0.5), gap=uniform(0.1, 0.2), seed=seed)
        return [steps_of(service, count, stream=True) for count in range(3)]

    assert runs(7) == runs(7)
    assert runs(7) != runs(8)
    assert len({tuple(step.wait for step in steps) for steps in runs(7)}) == 3


def test_times_do_not_depend_on_what_is_asked() -> None:
    service = Service("one", first_token=uniform(1, 2), gap=uniform(0.1, 0.2), tokens=9)

    waits = [[step.wait for step in steps_of(service, prompt=prompt, stream=True)] for prompt in ("Why?", QUESTION)]

    assert waits[0] == waits[1]
    assert 1 <= waits[0][1] <= 2
    assert all(0.1 <= wait <= 0.2 for wait in waits[0][2:-1])


def test_a_write_holds_one_token_and_the_ending_is_one_write() -> None:
    steps = steps_of(Service("one", first_token=0.5, gap=0.25, text="a b c"), stream=True)

    assert [(step.wait, step.tokens) for step in steps] == [(0, 0), (0.5, 1), (0.25, 1), (0.25, 1), (0, 0)]
    assert b"assistant" in steps[0].data
    assert steps[-1].data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_packed_tokens_come_when_the_last_of_them_was_due() -> None:
    steps = steps_of(Service("one", first_token=0.5, gap=0.25, text="a b c d e", tokens_per_write=2), stream=True)

    assert [(step.wait, step.tokens) for step in steps] == [(0, 0), (0.75, 2), (0.5, 2), (0.25, 1), (0, 0)]


def test_an_answer_that_is_not_streamed_takes_as_long() -> None:
    steps = steps_of(Service("one", first_token=0.5, gap=0.25, text="a b c"))

    assert sum(step.wait for step in steps) == 1.0
    assert [step.tokens for step in steps if step.data] == [3]


def test_latencies_are_drawn_as_declared() -> None:
    random = Random(1)

    assert constant(0.5)(random) == 0.5
    assert all(1 <= uniform(1, 2)(random) <= 2 for _ in range(100))
    drawn = sorted(lognormal(2, 0.5)(random) for _ in range(1001))
    assert 1.8 < drawn[500] < 2.2
    straggling = [with_stragglers(1.0, share=0.25, factor=10)(random) for _ in range(1000)]
    assert set(straggling) == {1.0, 10.0}
    assert 200 < straggling.count(10.0) < 300


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_latency_that_is_no_time_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="seconds of a latency"):
        Service("one", gap=wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fault": "stal"}, "no fault named 'stal': did you mean 'stall'"),
        ({"fault_share": 2}, "fault_share is a number from 0 to 1"),
        ({"tokens": range(0)}, "tokens is a number"),
        ({"tokens_per_write": 0}, "tokens_per_write"),
        ({"name": "a b"}, "name is printable ASCII"),
        ({"dialect": "morse"}, "no dialect named 'morse'"),
    ],
)
def test_a_wrong_declaration_is_refused_in_words(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Service(**{"name": "one", **settings})


def test_a_fault_says_what_it_takes() -> None:
    with pytest.raises(ValueError, match="'empty' does not take 'after'; it takes nothing"):
        Fault("empty", after=1)
    assert repr(Fault("cut", after=3)) == "Fault('cut', after=3)"
    assert Fault("cut", after=3) == Fault("cut", after=3) != Fault("cut")
    assert all(line.endswith(".") for line in FAULTS.values())


def test_a_share_of_the_requests_meets_the_fault() -> None:
    service = Service("one", fault="error", fault_share=0.25)
    failed = sum(steps_of(service, count)[-1].data.startswith(b"HTTP/1.1 500") for count in range(400))

    assert 70 < failed < 130


# The text


@pytest.mark.parametrize("tokens", [0, 1, 2, 8, 9, 10, 17, 80, 200])
def test_made_up_text_has_as_many_words_as_wanted_and_ends_its_sentences(tokens: int) -> None:
    for seed in range(20):
        text = "".join(made_up(Random(seed), QUESTION, tokens))

        assert len(text.split()) == len(split_tokens(text)) == tokens
        assert text.isascii()
        assert text == "" or text.endswith(".")
        assert "{" not in text
        assert tokens < 20 or "sky" in text or "blue" in text


def test_topics_are_the_words_that_carry_the_question() -> None:
    assert topics(QUESTION) == ["sky", "blue"]
    assert topics("Tell me about Paris, and \x1b[31m<b>Rome</b>, call get_weather") == ["Paris", "Rome", "call"]
    assert topics("") == []


def test_tokens_joined_are_the_text() -> None:
    text = " two\n words  \n"

    assert split_tokens(text) == [" two", "\n words", "  \n"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 8}, "wordxxxx"),
        ({"type": "string", "maxLength": 2}, "wo"),
        ({"type": "integer", "minimum": 18, "maximum": 20}, 18),
        ({"type": "integer", "exclusiveMinimum": 1}, 2),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.75),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": ["null", "string"]}, None),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"const": 3}, "minItems": 2}, [3, 3]),
        ({"type": "array", "maxItems": 0}, []),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, 1),
        ({"allOf": [{"type": "string"}, {"enum": ["x"]}]}, "x"),
        ({"required": ["a"], "properties": {"a": {"default": 5}}}, {"a": 5}),
        ({"type": 7, "items": 8, "enum": 9}, "word"),
    ],
)
def test_a_value_is_made_to_fit_a_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema, "word") == value


def test_a_schema_that_holds_itself_many_times_is_bounded() -> None:
    again = {"$ref": "#"}
    sample({"type": "array", "minItems": 100, "items": again})
    sample({"allOf": [again] * 100})
    sample({"type": "object", "properties": {"a": again, "b": again}, "required": ["a", "b"]})


# Faults, each by name


async def test_advertising_comes_before_the_answer_in_pieces(client: httpx.AsyncClient) -> None:
    async with serve(one(fault="advertising", text="Real.")) as fleet:
        answer = await ask(client, fleet["one"], stream=True)
        await fleet.quiet()

    contents = [delta["content"] for delta in deltas(answer.text)[1:-1]]
    assert "".join(contents) == "Join for free at https://discord.gg/sim ...\nReal."
    assert contents[0] == "Join for"
    assert contents[-1] == "Real."
    assert (fleet["one"].log[0].fault, fleet["one"].log[0].outcome) == ("advertising", "fault")


def test_an_advertisement_comes_first_and_the_answer_later() -> None:
    fault = Fault("advertising", text="Buy this now!", seconds=2)
    steps = steps_of(Service("one", first_token=0.5, gap=0.25, text="a b", fault=fault), stream=True)

    assert [(step.wait, step.tokens) for step in steps] == [(0, 0), (0.5, 1), (0, 1), (2, 1), (0.25, 1), (0, 0)]


async def test_a_refusal_and_an_empty_answer(client: httpx.AsyncClient) -> None:
    async with serve([Service("no", fault="refusal"), Service("void", fault="empty")]) as fleet:
        refusal = await ask(client, fleet["no"], stream=True)
        whole = (await ask(client, fleet["no"])).json()
        empty = await ask(client, fleet["void"], stream=True)

    assert "".join(delta.get("refusal", "") for delta in deltas(refusal.text)) == "I cannot help with that."
    assert text_of(refusal.text) == ""
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "I cannot help with that.",
    }
    assert deltas(empty.text) == [{"role": "assistant", "content": ""}, {}]
    assert events(empty.text)[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault("rate_limit", retry_after=20), 429, "rate_limit_exceeded"),
        (Fault("error"), 500, "internal_error"),
        (Fault("overloaded"), 503, "overloaded"),
        (Fault("overloaded", status=529), 529, "overloaded"),
        (Fault("unauthorized"), 401, "invalid_api_key"),
        (Fault("not_found"), 404, "model_not_found"),
    ],
    ids=repr,
)
async def test_a_fault_with_a_status(client: httpx.AsyncClient, fault: Fault, status: int, code: str) -> None:
    async with serve(one(fault=fault)) as fleet:
        for stream in (True, False):
            answer = await ask(client, fleet["one"], stream=stream)

            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["error"]["code"] == code
            assert answer.headers.get("retry-after") == ("20" if status == 429 else None)
    assert [exchange.outcome for exchange in fleet["one"].log] == ["fault", "fault"]


async def test_pages_and_errors_in_place_of_an_answer(client: httpx.AsyncClient) -> None:
    services = [Service(name, fault=name) for name in ("html", "html_text", "error_as_text", "garbage")]
    async with serve(services) as fleet:
        page = await ask(client, fleet["html"], stream=True)
        page_text = await ask(client, fleet["html_text"], stream=True)
        error_text = await ask(client, fleet["error_as_text"])
        garbage = await ask(client, fleet["garbage"], stream=True)

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!DOCTYPE html>")
    assert text_of(page_text.text) == page.text
    assert json.loads(error_text.json()["choices"][0]["message"]["content"])["error"]["type"] == "server_error"
    assert (garbage.headers["content-type"], len(garbage.content)) == ("text/event-stream", 2048)


async def test_an_error_or_broken_json_in_the_stream(client: httpx.AsyncClient) -> None:
    services = [Service("error", fault=Fault("error_in_stream", after=2)), Service("json", fault="bad_json")]
    async with serve(services) as fleet:
        error = await ask(client, fleet["error"], stream=True)
        whole = await ask(client, fleet["error"])
        broken = await ask(client, fleet["json"], stream=True)

    *chunks, last = events(error.text)
    assert len(chunks) == 3
    assert list(last) == ["error"]
    assert whole.json() == last
    assert broken.text.endswith('"and th\n\ndata: [DONE]\n\n')


@pytest.mark.parametrize("fault", ["truncated", "no_done"])
async def test_a_body_that_ends_well_without_the_end_marker(client: httpx.AsyncClient, fault: str) -> None:
    async with serve(one(fault=fault)) as fleet:
        answer = await ask(client, fleet["one"], stream=True)

    chunks = events(answer.text)
    assert "[DONE]" not in chunks
    assert len(text_of(answer.text).split()) == (5 if fault == "truncated" else 12)
    assert chunks[-1]["choices"][0]["finish_reason"] == (None if fault == "truncated" else "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_is_a_fin_in_the_midst_of_the_body(stream: bool) -> None:
    async with serve(one(fault=Fault("cut", after=3))) as fleet:
        answer = await raw(fleet["one"], post(chat(stream=stream)))
        await fleet.quiet()

    if stream:
        assert answer.count(b'"content":') == 4
        assert answer.endswith(b"}\n\n\r\n")
    else:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert [exchange.outcome for exchange in fleet["one"].log] == ["fault"]


async def test_a_reset_is_a_rst(client: httpx.AsyncClient) -> None:
    async with serve(one(fault="reset")) as fleet:
        with pytest.raises(httpx.ReadError):
            await ask(client, fleet["one"], stream=True)
        with pytest.raises(ConnectionResetError):
            await raw(fleet["one"], post(chat(stream=True)))


@pytest.mark.parametrize(
    ("fault", "tokens", "comments"),
    [("stall", 0, 0), (Fault("stall_mid", after=4), 4, 0), (Fault("keepalive", seconds=0.001), 0, 3)],
    ids=["stall", "stall_mid", "keepalive"],
)
async def test_an_answer_that_never_ends_ends_when_the_client_goes(
    fault: str | Fault, tokens: int, comments: int
) -> None:
    got = b""
    async with serve(one(fault=fault)) as fleet:
        async with await anyio.connect_tcp("127.0.0.1", port_of(fleet["one"])) as stream:
            await stream.send(post(chat(stream=True)))
            while got.count(b"data: ") < 1 + tokens or got.count(b": keep-alive") < comments:
                got += await stream.receive()
            assert fleet["one"].in_flight == 1
        await fleet.quiet()

        exchange = fleet["one"].log[0]
        assert (exchange.outcome, exchange.tokens_sent) == ("client_gone", tokens)
        assert fleet["one"].connections == 0


async def test_a_slow_head_is_slow(client: httpx.AsyncClient) -> None:
    async with serve(one(fault="slow_head")) as fleet:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{fleet['one'].api_base}/chat/completions", json=chat(stream=True), timeout=0.05)
        await fleet.quiet()
        assert fleet["one"].log[0].outcome == "client_gone"
    assert steps_of(Service("one", fault=Fault("slow_head", seconds=3)), stream=True)[0].wait == 3


def test_every_fault_spoils_streamed_and_whole_answers() -> None:
    good = {stream: steps_of(Service("one"), stream=stream) for stream in (True, False)}

    for name in FAULTS.keys() - {"keepalive"}:
        assert steps_of(Service("one", fault=name), stream=True) != good[True], name
        if name != "no_done":
            assert steps_of(Service("one", fault=name)) != good[False], name


# What the server sees


async def test_the_server_sees_a_client_go_while_it_waits(client: httpx.AsyncClient) -> None:
    async with serve([Service("slow", first_token=60), Service("fast", gap=0.001)]) as fleet:
        with anyio.move_on_after(0.05):
            await ask(client, fleet["slow"], stream=True)
        answer = await ask(client, fleet["fast"], stream=True)
        await fleet.quiet()

        lost, won = fleet["slow"].log[0], fleet["fast"].log[0]
        assert (lost.outcome, lost.tokens_sent, lost.first_token_at) == ("client_gone", 0, None)
        assert won.outcome == "complete"
        assert won.tokens_sent == len(text_of(answer.text).split())
        assert won.first_token_at is not None
        assert won.ended_at is not None
        assert won.asked_at <= won.first_token_at <= won.ended_at


async def test_a_client_that_leaves_before_it_is_served_is_seen_too() -> None:
    async with serve(one(first_token=60)) as fleet:
        for linger in (False, True):
            client = socket.create_connection(("127.0.0.1", port_of(fleet["one"])))
            client.sendall(post(chat()))
            if linger:  # a RST
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        await fleet.quiet()

        outcomes = [exchange.outcome for exchange in fleet["one"].log]
        assert outcomes.count("client_gone") == len(outcomes) >= 1
        assert fleet["one"].connections == 0


async def test_quiet_gives_up_and_names_who_is_busy(client: httpx.AsyncClient) -> None:
    async with serve(one(fault="stall")) as fleet:
        url = f"{fleet['one'].api_base}/chat/completions"
        async with client.stream("POST", url, json=chat(stream=True)):
            with pytest.raises(TimeoutError, match=r"still being answered: one \(1\)"):
                await fleet.quiet(0.02)


async def test_the_log_holds_what_was_asked(client: httpx.AsyncClient) -> None:
    async with serve(one(key="sesame")) as fleet:
        running = fleet["one"]
        url = f"{running.api_base}/chat/completions"
        await client.post(url, json=chat(), headers={"Authorization": "Bearer sesame"})
        wrong = await client.post(url, json=chat(), headers={"Authorization": "Bearer other"})
        await client.post(url + "?a=b", json=chat())
        await client.get(f"{running.api_base}/models", headers={"Authorization": "bearer sesame"})

    right, *refused, models = running.log
    assert (right.path, right.body, right.status, right.outcome) == ("/v1/chat/completions", chat(), 200, "complete")
    assert right.headers["authorization"] == "Bearer sesame"
    assert "sesame" not in repr(running.log)
    assert [exchange.status for exchange in refused] == [401, 401]
    assert [exchange.outcome for exchange in refused] == ["refused", "refused"]
    assert wrong.json()["error"] == {
        "message": "the API key is missing or wrong",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert (models.method, models.path, models.body, models.status) == ("GET", "/v1/models", None, 200)


async def test_leaving_stops_everything_at_once_and_what_the_body_raised_leaves_bare() -> None:
    fleet = serve(one(fault="stall"))
    with pytest.raises(KeyError, match="mine"):
        await fail_in_the_midst(fleet)

    assert fleet["one"].connections == 0
    with pytest.raises(OSError, match=r"."):
        await anyio.connect_tcp("127.0.0.1", port_of(fleet["one"]))
    with pytest.raises(RuntimeError, match="call serve"):
        await fleet.__aenter__()


async def fail_in_the_midst(fleet: Fleet) -> None:
    async with fleet, await anyio.connect_tcp("127.0.0.1", port_of(fleet["one"])) as stream:
        await stream.send(post(chat(stream=True)))
        await stream.receive()
        raise KeyError("mine")


async def test_clients_see_the_end_when_the_server_stops() -> None:
    async with serve(one(fault="stall")) as fleet:
        stream = await anyio.connect_tcp("127.0.0.1", port_of(fleet["one"]))
        await stream.send(post(chat(stream=True)))
        await stream.receive()
    assert fleet["one"].log[0].outcome == "stopped"
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await stream.aclose()


async def test_ports_can_be_chosen_and_a_taken_one_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"one cannot listen on 127.0.0.1:{port}"):
            async with serve(one(), ports=port):
                pass
    async with serve(one(), ports=port) as fleet:
        assert fleet["one"].api_base == f"http://127.0.0.1:{port}/v1"


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="different names: one is there twice"):
        serve([Service("one"), Service("one")])


# Bad input


def port_of(running: Running) -> int:
    return int(running.api_base.rpartition(":")[2].removesuffix("/v1"))


def post(body: Any, path: bytes = b"/v1/chat/completions") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path, len(data), data)


async def raw(running: Running, request: bytes) -> bytes:
    """Send bytes, and read what comes to the end."""
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", port_of(running)) as stream:
        await stream.send(request)
        try:
            while True:
                received += await stream.receive()
        except anyio.EndOfStream:
            return received
        except anyio.BrokenResourceError as error:
            raise error.__cause__ or error from None


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * (HEAD_LIMIT + 1) + b"\r\n\r\n", 431),
        (b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * 4 * HEAD_LIMIT, 431),
        (b"GET /" + b"a" * 4 * HEAD_LIMIT, 431),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\nabc" % (BODY_LIMIT + 1), 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /v1/models HTTP/1.0\r\n\r\n", 505),
        (b"GET /no HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n", 404),
    ],
    ids=["long header", "endless header", "endless url", "long body", "tls", "http/1.0", "upgrade"],
)
async def test_what_is_not_a_decent_request_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int
) -> None:
    async with serve(one()) as fleet:
        answer = await raw(fleet["one"], request_bytes)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert [exchange.outcome for exchange in fleet["one"].log] == ["refused"]


def test_a_chunked_body_is_bounded_too() -> None:
    reader = RequestReader()
    assert reader.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n") == []
    megabyte = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    found = [request for _ in range(40) for request in reader.feed(megabyte)]

    assert [request.problem and request.problem[0] for request in found] == [413]


def test_requests_split_at_every_byte_are_the_same() -> None:
    data = post(b"{}") + b"GET /b?c HTTP/1.1\r\nA: 1\r\nb: 2\r\na: 3\r\nconnection: close\r\n\r\n"
    reader = RequestReader()
    found = [request for byte in data for request in reader.feed(bytes([byte]))]

    assert found == RequestReader().feed(data)
    assert [(request.method, request.path, request.body) for request in found] == [
        ("POST", "/v1/chat/completions", b"{}"),
        ("GET", "/b?c", b""),
    ]
    assert found[1].headers == {"a": "1, 3", "b": "2", "connection": "close"}
    assert [request.keep_alive for request in found] == [True, False]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expected `object`, got `bytes`"),
        (b"", "Expected `object`, got `null`"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"model": "one"}', "missing required field `messages`"),
        (b'{"model": "one", "messages": []}', "messages is empty"),
        (b'{"model": 1, "messages": []}', r"Expected `str`, got `int` - at `$.model`"),
        (json.dumps(chat(max_tokens=0)).encode(), "max_tokens is a number from 1 up"),
        (json.dumps(chat(tool_choice="required")).encode(), "there are no tools"),
        (json.dumps(chat(tool_choice=WEATHER)).encode(), "names 'get_weather', which is not among the tools"),
    ],
)
async def test_a_wrong_body_is_400_and_says_what_is_wrong(client: httpx.AsyncClient, body: bytes, message: str) -> None:
    async with serve(one()) as fleet:
        answer = await client.post(f"{fleet['one'].api_base}/chat/completions", content=body)
        good = await ask(client, fleet["one"])

    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert good.headers["x-request-id"] == "chatcmpl-one-0"


async def test_wrong_methods_and_paths(client: httpx.AsyncClient) -> None:
    async with serve(one()) as fleet:
        base = fleet["one"].api_base
        get = await client.get(f"{base}/chat/completions")
        head = await client.head(f"{base}/models")
        nowhere = await client.post(f"{base}/nowhere")
        good = await client.get(f"{base}/models")

    assert (get.status_code, get.headers["allow"]) == (405, "POST")
    assert (head.status_code, head.content) == (405, b"")
    assert (nowhere.status_code, nowhere.json()["error"]["message"]) == (404, "there is nothing at /v1/nowhere")
    assert good.status_code == 200


def test_parts_and_system_messages_are_read() -> None:
    parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "data:,"}}, {"text": 3}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}, {"role": "assistant"}]

    asked = OpenAIChat().read({"model": "m", "messages": messages, "stream": None, "unknown": 1})

    assert (asked.prompt, asked.input_tokens, asked.stream, asked.tool_result) == ("one two", 4, False, None)


# The other forms


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fleet_in_a_thread_serves_synchronous_clients(backend: Any) -> None:
    with run_in_thread(one(text="Hello."), backend=backend) as fleet, httpx.Client(trust_env=False) as client:
        running = fleet["one"]
        answer = client.post(f"{running.api_base}/chat/completions", json=chat(), timeout=5)
        fleet.quiet()

        assert answer.json()["choices"][0]["message"]["content"] == "Hello."
        assert [exchange.outcome for exchange in running.log] == ["complete"]
    assert running.connections == 0


def test_a_fleet_in_a_thread_stops_in_the_midst_of_answers() -> None:
    fleet = run_in_thread(one(fault="stall"))
    with socket.socket() as client:
        with pytest.raises(KeyError, match="mine"):
            fail_in_the_midst_of_a_thread(fleet, client)

        assert fleet["one"].log[0].outcome == "stopped"
        assert client.recv(9999).endswith(b"\n\r\n")
        assert client.recv(9999) == b""


def fail_in_the_midst_of_a_thread(fleet: ThreadFleet, client: socket.socket) -> None:
    with fleet:
        client.connect(("127.0.0.1", port_of(fleet["one"])))
        client.sendall(post(chat(stream=True)))
        assert client.recv(12) == b"HTTP/1.1 200"
        raise KeyError("mine")


def test_the_demo_is_first_with_an_advertisement_and_not_with_an_answer() -> None:
    promo, steady, patient = (
        steps_of(replace(service, dialect="openai-compatible"), stream=True, prompt=QUESTION) for service in DEMO
    )

    def when(steps: list[Step], token: int) -> float:
        return sum(step.wait for step in steps[: token + 1])

    advertisement = 6  # deltas
    assert when(promo, 1) < when(steady, 1) < when(patient, 1) < when(promo, 1 + advertisement)
    for steps in (promo, steady, patient):
        assert 1.5 < sum(step.wait for step in steps) < 6
    assert b"Join for" in promo[1].data
