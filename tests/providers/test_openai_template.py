"""Section 2 of the contract: the base of every OpenAI-compatible provider, on the wire."""

from __future__ import annotations

import gc
import inspect
import json
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import anyio
import httpx
import pytest

from g4ftrio import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    EventLoopRunningError,
    FinishReason,
    ImageResponse,
    MessagesError,
    MissingKeyError,
    ModelNotFoundError,
    Reasoning,
    SetupError,
    Timeout,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
    race,
)
from g4ftrio._words.chunks import Chunk
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import OpenaiTemplate, resolve
from g4ftrio.testing import Scripted, forbid_network
from g4ftrio.typing import AsyncResult
from tests.providers.wires import (
    HELD,
    Answer,
    Asked,
    Held,
    OnceThought,
    Recorder,
    chat,
    events,
    in_thread,
    refused,
    streamed,
    thought,
    whole,
)
from tests.transports.http1_server import Peer

ASK = [{"role": "user", "content": "Why?"}]
HELLO = streamed(*chat("Hel", "lo"))
SAID: list[Chunk] = ["Hel", "lo", FinishReason("stop")]
PNG = b"\x89PNG\r\n\x1a\n...."
UNSPOKEN = "http://api.invalid/v1"


class Shop(OpenaiTemplate):
    """A service in three lines."""

    api_base = UNSPOKEN
    default_model = "shop-1"


class Painter(Shop):
    """A service that makes images, too."""

    image_models = ("brush", "shop-2")
    model_aliases: Mapping[str, str] = {"draw": "brush"}


async def read(stream: AsyncResult) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def sent(*arguments: Any, cls: type[OpenaiTemplate] = Shop, answer: Answer = HELLO, **named: Any) -> Asked:
    """What goes over the wire for a call of ``create_async_generator``, which the arguments are those of."""
    async with Recorder(answer) as service:
        await read(cls(api_base=f"{service.url}v1").create_async_generator(*arguments, **named))
        [asked] = service.asked
        return asked


async def body(**named: Any) -> Any:
    asked = await sent("m", ASK, **named)
    return asked.json


BARE = {"model": "m", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}}


# The declaration.


def test_row_attributes_has_everything_that_a_declaration_can_say() -> None:
    declared = {
        "url": "",
        "api_base": "",
        "api_endpoint": "",
        "api_key": None,
        "working": True,
        "needs_auth": False,
        "supports_stream": True,
        "supports_system_message": True,
        "supports_message_history": True,
        "default_model": "",
        "fallback_models": (),
        "sort_models": True,
    }
    assert {name: getattr(OpenaiTemplate, name) for name in declared} == declared
    bound = Shop(url="https://shop.example", working=False, fallback_models=["a"], sort_models=False)
    assert (bound.url, bound.working, bound.fallback_models, bound.sort_models) == (
        "https://shop.example",
        False,
        ["a"],
        False,
    )


def test_row_create_async_generator_takes_the_named_arguments_in_their_order() -> None:
    parameters = inspect.signature(OpenaiTemplate.create_async_generator).parameters
    assert list(parameters) == [
        *("model", "messages", "proxy", "timeout", "media", "api_key", "api_endpoint", "api_base", "temperature"),
        *("max_tokens", "top_p", "stop", "stream", "prompt", "headers", "extra_parameters", "extra_body", "params"),
    ]
    assert parameters["timeout"].default == 120
    given = {"model", "messages", "timeout", "extra_parameters", "params"}
    assert {each.default for name, each in parameters.items() if name not in given} == {None}
    assert parameters["params"].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.anyio
async def test_row_posts_to_chat_completions_and_yields_the_text_on_the_class_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Recorder(HELLO) as service:
        monkeypatch.setattr(Shop, "api_base", f"{service.url}v1")
        assert await read(Shop.create_async_generator("m", ASK)) == SAID
        [asked] = service.asked
    assert asked.start == "POST /v1/chat/completions HTTP/1.1"
    assert [field for field in asked.fields if not field.startswith("user-agent: g4ftrio/")] == [
        f"Host: 127.0.0.1:{service.port}",
        "Connection: keep-alive",
        "accept-encoding: identity",
        "content-type: application/json",
        "accept: */*",
        f"Content-Length: {len(asked.body)}",
    ]
    assert asked.body == (
        b'{"model":"m","messages":[{"role":"user","content":"Why?"}],'
        b'"stream":true,"stream_options":{"include_usage":true}}'
    )


@pytest.mark.anyio
async def test_creating_the_generator_sends_nothing() -> None:
    with forbid_network():
        stream = Shop.create_async_generator("m", ASK)
        await stream.aclose()  # type: ignore[attr-defined]  # what is given has it
    async with Recorder(HELLO) as service:
        stream = Shop(api_base=service.url).create_async_generator("m", ASK)
        await anyio.sleep(0.01)
        assert service.accepted == 0
        assert await anext(stream) == "Hel"
        assert len(service.asked) == 1
        await stream.aclose()  # type: ignore[attr-defined]  # likewise
        await service.settled()


@pytest.mark.anyio
async def test_text_comes_as_it_arrives() -> None:
    held = Held()
    first, *rest = chat("Hel", "lo")
    async with Recorder(streamed(first, held, *rest)) as service:
        stream = Shop(api_base=service.url).create_async_generator("m", ASK)
        assert await anext(stream) == "Hel"
        held.go_on()
        assert await read(stream) == SAID[1:]


def test_a_synchronous_caller_gets_the_text_as_it_arrives_and_may_leave_early() -> None:
    gone = threading.Event()

    async def left(peer: Peer) -> None:
        await peer.gone()
        gone.set()

    with in_thread(Recorder(streamed(chat("Hel")[0], left, ends=False))) as service:
        chunks = Shop(api_base=service.url).create_completion("m", ASK)
        assert service.asked == []
        assert next(chunks) == "Hel"
        chunks.close()  # type: ignore[attr-defined]  # it is a generator
        assert gone.wait(5)


# The arguments, one by one.


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("argument", "value"),
    [("temperature", 0.0), ("max_tokens", 7), ("top_p", 0.5), ("stop", "\n"), ("stop", ["a", "b"])],
)
async def test_arguments_temperature_max_tokens_top_p_and_stop_go_into_the_body(argument: str, value: Any) -> None:
    assert await body(**{argument: value}) == {**BARE, argument: value}


@pytest.mark.anyio
async def test_row_none_valued_fields_are_left_out_of_the_body() -> None:
    optional = [
        *("proxy", "timeout", "media", "api_key", "api_endpoint", "api_base", "temperature", "max_tokens", "top_p"),
        *("stop", "stream", "prompt", "headers", "extra_parameters", "extra_body", "seed", "tools", "response_format"),
    ]
    assert await body(**dict.fromkeys(optional)) == BARE
    assert await body(logit_bias=None, extra_body={"stream_options": None, "more": None}) == {
        name: value for name, value in BARE.items() if name != "stream_options"
    }


@pytest.mark.anyio
async def test_argument_proxy_is_where_the_request_goes() -> None:
    async with Recorder(HELLO) as proxy:
        assert await read(Shop.create_async_generator("m", ASK, proxy.url)) == SAID
        assert await read(Shop(proxy=proxy.url).create_async_generator("m", ASK)) == SAID
        assert [asked.start for asked in proxy.asked] == [f"POST {UNSPOKEN}/chat/completions HTTP/1.1"] * 2
    async with httpx.AsyncClient() as client:
        for shop, named in [(Shop(http_client=client), {}), (Shop(), {"http_client": client})]:
            with pytest.raises(SetupError, match="pass http_client= or proxy=, not both"):
                shop.create_async_generator("m", ASK, proxy="http://127.0.0.1:1", **named)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bound", "named", "waits"),
    [
        (None, {}, (120, 120)),
        (None, {"timeout": 7}, (7, 7)),
        (3, {}, (3, 3)),
        (Timeout(idle=4), {}, (5, 4)),
        (3, {"timeout": 120}, (120, 120)),
        (3, {"timeout": Timeout(idle=9)}, (3, 9)),
        (3, {"timeout": None}, (3, 3)),
        (None, {"timeout": 0}, (None, None)),
    ],
)
async def test_argument_timeout_is_120_seconds_and_what_is_bound_goes_before_that(
    bound: Any, named: dict[str, Any], waits: tuple[float | None, float | None]
) -> None:
    limits: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"])
        return httpx.Response(200, json={"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await read(Shop(timeout=bound).create_async_generator("m", ASK, http_client=client, **named))
    assert [(each["connect"], each["read"]) for each in limits] == [waits]


@pytest.mark.anyio
@pytest.mark.parametrize(("bound", "named"), [(0.02, {}), (30, {"timeout": 0.02})])
async def test_argument_timeout_ends_a_wait_and_closes_the_socket(bound: float, named: dict[str, Any]) -> None:
    async with Recorder([HELD]) as service:
        with pytest.raises(APITimeoutError, match=r"shop/shop-1: .* within 0.02 s") as caught:
            await read(Shop(api_base=service.url, timeout=bound).create_async_generator("", ASK, **named))
        assert isinstance(caught.value, TimeoutError)
        await service.settled()


@pytest.mark.anyio
async def test_argument_media_is_put_behind_the_last_user_message(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgouLi4u"}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}}
    media = [PNG, (tmp_path / "a.png", None), (str(tmp_path / "a.png"), "c.png"), "https://example.org/b.png"]
    said = {"role": "user", "content": [{"type": "text", "text": "Why?"}, image, image, image, linked]}
    assert await body(media=media) == {**BARE, "messages": [said]}
    assert await body(media=PNG) == await body(media=[PNG])
    with pytest.raises(MessagesError, match="cannot be read"):
        Shop.create_async_generator("m", ASK, media=[str(tmp_path / "none.png")])


@pytest.mark.anyio
async def test_argument_api_key_goes_before_every_other_key() -> None:
    async with Recorder(HELLO) as service:
        shop = Shop(api_base=service.url, api_key="sk-bound")
        await read(shop.create_async_generator("m", ASK))
        await read(shop.create_async_generator("m", ASK, api_key="sk-called"))
        await read(shop.create_async_generator("m", ASK, api_key=lambda: "sk-made"))
        await read(Shop.create_async_generator("m", ASK, api_base=service.url, api_key="sk-class"))
        await read(Shop.create_async_generator("m", ASK, api_base=service.url))
        assert [asked["authorization"] for asked in service.asked] == [
            *("Bearer sk-bound", "Bearer sk-called", "Bearer sk-made", "Bearer sk-class"),
            None,
        ]


@pytest.mark.anyio
async def test_argument_api_base_is_asked_instead_and_gets_no_bound_key_unless_one_stands_beside_it() -> None:
    async with Recorder(HELLO) as home, Recorder(HELLO) as elsewhere:
        shop = Shop(api_base=f"{home.url}v1", api_key="sk-bound")
        await read(shop.create_async_generator("m", ASK, api_base=f"{elsewhere.url}v2/"))
        await read(shop.create_async_generator("m", ASK, api_base=elsewhere.url, api_key="sk-beside"))
        await read(shop.create_async_generator("m", ASK, api_base=f"{home.url}v3"))
        assert [(asked.start, asked["authorization"]) for asked in elsewhere.asked] == [
            ("POST /v2/chat/completions HTTP/1.1", None),
            ("POST /chat/completions HTTP/1.1", "Bearer sk-beside"),
        ]
        assert [(asked.start, asked["authorization"]) for asked in home.asked] == [
            ("POST /v3/chat/completions HTTP/1.1", "Bearer sk-bound")  # the same origin
        ]


@pytest.mark.anyio
async def test_argument_api_endpoint_is_the_whole_address_and_gets_no_bound_key_of_another_origin() -> None:
    async with Recorder(HELLO) as home, Recorder(HELLO) as elsewhere:
        shop = Shop(api_base=home.url, api_key="sk-bound")
        await read(shop.create_async_generator("m", ASK, api_endpoint=f"{elsewhere.url}ask?v=2"))
        await read(shop.create_async_generator("m", ASK, api_endpoint=f"{home.url}ask"))
        await read(Shop(api_endpoint=f"{home.url}bound", api_key="k-bound").create_async_generator("m", ASK))
        assert [(asked.start, asked["authorization"]) for asked in (*elsewhere.asked, *home.asked)] == [
            ("POST /ask?v=2 HTTP/1.1", None),
            ("POST /ask HTTP/1.1", "Bearer sk-bound"),
            ("POST /bound HTTP/1.1", "Bearer k-bound"),
        ]


@pytest.mark.anyio
async def test_attribute_api_key_of_the_declaration_goes_to_the_declared_address_only() -> None:
    async with Recorder(HELLO) as home, Recorder(HELLO) as elsewhere:

        class Local(OpenaiTemplate):
            """A server of one's own."""

            api_base = home.url
            api_key = "sk-declared"

        await read(Local.create_async_generator("m", ASK))
        await read(Local.create_async_generator("m", ASK, api_base=elsewhere.url))
        await read(Local(api_base=elsewhere.url).create_async_generator("m", ASK))
        assert [asked["authorization"] for asked in (*home.asked, *elsewhere.asked)] == [
            "Bearer sk-declared",
            None,
            None,
        ]


@pytest.mark.anyio
async def test_attribute_api_endpoint_of_the_declaration_is_asked_with_the_declared_key() -> None:
    async with Recorder(HELLO) as service:

        class Elsewhere(OpenaiTemplate):
            """A service with an address of its own for chats."""

            api_base = UNSPOKEN
            api_endpoint = f"{service.url}ask"
            api_key = "sk-declared"

        assert await read(Elsewhere.create_async_generator("m", ASK)) == SAID
        assert [(asked.start, asked["authorization"]) for asked in service.asked] == [
            ("POST /ask HTTP/1.1", "Bearer sk-declared")
        ]


@pytest.mark.anyio
async def test_a_key_from_the_environment_goes_home_only_and_never_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyed(Shop):
        """A service with a key in the environment."""

        key_variables = ("SHOP_KEY",)

    monkeypatch.setenv("SHOP_KEY", "sk-environment")
    async with Recorder(HELLO) as service:  # it stands for a proxy first, and then for the service
        await read(Keyed.create_async_generator("m", ASK, proxy=service.url))
        await read(Keyed.create_async_generator("m", ASK, proxy=service.url, api_base="http://other.invalid/v1"))
        await read(Keyed.create_async_generator("m", ASK, proxy=service.url, api_key="sk-called"))
        monkeypatch.setattr(Keyed, "api_base", service.url)
        await read(Keyed.create_async_generator("m", ASK))
        assert [asked["authorization"] for asked in service.asked] == [
            *("Bearer sk-environment", None, "Bearer sk-called"),
            None,
        ]


@pytest.mark.anyio
async def test_attribute_needs_auth_says_which_key_is_missing_before_anything_is_sent() -> None:
    class Keyed(Shop):
        """A service that wants a key."""

        needs_auth = True
        key_variables = ("SHOP_KEY",)

    stream = Keyed.create_async_generator("m", ASK)
    with forbid_network(), pytest.raises(MissingKeyError, match="Set the SHOP_KEY environment variable or pass"):
        await anext(stream)


@pytest.mark.anyio
async def test_argument_stream_asks_for_a_stream_or_for_a_whole_answer() -> None:
    answer = whole({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]})
    asked = await sent("m", ASK, stream=False, answer=answer)
    assert asked.body == b'{"model":"m","messages":[{"role":"user","content":"Why?"}],"stream":false}'
    assert (await body(stream=True)) == (await body()) == BARE
    async with Recorder(answer) as service:
        bound = Shop(api_base=service.url, stream=False)
        await read(bound.create_async_generator("m", ASK))
        await read(bound.create_async_generator("m", ASK, stream=True))
        await read(Shop(api_base=service.url, supports_stream=False).create_async_generator("m", ASK, stream=True))
        assert [asked.json["stream"] for asked in service.asked] == [False, True, False]


@pytest.mark.anyio
async def test_argument_prompt_stands_for_messages_that_are_not_there() -> None:
    asked = await sent("m", [], prompt="How?")
    assert asked.json["messages"] == [{"role": "user", "content": "How?"}]
    assert (await body(prompt="How?"))["messages"] == ASK


@pytest.mark.anyio
async def test_argument_headers_goes_over_what_is_declared_and_bound() -> None:
    class Dressed(Shop):
        """A service with headers of its own."""

        headers: ClassVar[dict[str, str]] = {"X-Declared": "1", "X-Both": "1"}

    async with Recorder(HELLO) as service:
        shop = Dressed(api_base=service.url, headers={"X-Both": "2", "x-bound": "2"})
        await read(shop.create_async_generator("m", ASK))
        await read(shop.create_async_generator("m", ASK, headers={"x-both": "3", "Accept": "text/event-stream"}))
        assert [[asked[name] for name in ("x-declared", "x-bound", "x-both", "accept")] for asked in service.asked] == [
            ["1", "2", "2", "*/*"],
            ["1", "2", "3", "text/event-stream"],
        ]


@pytest.mark.anyio
async def test_argument_extra_parameters_names_what_goes_into_the_body_as_it_is() -> None:
    assert await body(extra_parameters=["top_a", "temperature"], top_a=3, temperature=0.5) == {
        **BARE,
        "top_a": 3,
        "temperature": 0.5,
    }
    usual = {"logit_bias": {"5": 1}, "include_reasoning": True, "max_completion_tokens": 5, "search_settings": {"a": 1}}
    assert await body(**usual, stream_options={"include_usage": False}) == {
        **BARE,
        **usual,
        "stream_options": {"include_usage": False},
    }
    with pytest.raises(TypeError, match="unknown parameter 'top_a'"):
        Shop.create_async_generator("m", ASK, top_a=3)


@pytest.mark.anyio
async def test_argument_extra_body_is_laid_over_the_body() -> None:
    assert await body(temperature=1, extra_body={"temperature": 0.5, "mine": {"a": [None]}}) == {
        **BARE,
        "temperature": 0.5,
        "mine": {"a": [None]},
    }
    assert (await body(logit_bias={"5": 1}, extra_body={"logit_bias": {}}))["logit_bias"] == {}


@pytest.mark.anyio
async def test_argument_kw_takes_what_chats_know_and_leaves_out_what_the_wire_does_not_have() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    known = {"seed": 5, "reasoning_effort": "low", "tools": tools, "tool_choice": "auto", "user": "u", "n": 2}
    elsewhere = {
        **dict.fromkeys(["web_search", "history_disabled", "private", "safe", "enhance", "randomize_seed"], True),
        **dict.fromkeys(["max_retries", "width", "height", "guidance_scale", "num_inference_steps"], 3),
        **dict.fromkeys(["negative_prompt", "aspect_ratio"], "x"),
        "conversation": {"id": 1},
    }
    assert await body(**known, **elsewhere) == {**BARE, **known}
    assert await body(loop=object(), executor=object()) == BARE
    with pytest.raises(TypeError, match="unknown parameter 'temprature': did you mean 'temperature'"):
        Shop.create_async_generator("m", ASK, temprature=1)


@pytest.mark.anyio
async def test_what_is_bound_to_an_instance_is_sent_where_a_call_does_not_say_otherwise() -> None:
    async with Recorder(HELLO) as service:
        shop = Shop(api_base=service.url, model="bound", temperature=0.5, max_tokens=5, extra_body={"x": 1})
        await read(shop.create_async_generator("", ASK))
        await read(shop.create_async_generator("called", ASK, temperature=0.25, max_tokens=None))
        first, second = (asked.json for asked in service.asked)
        assert first == {**BARE, "model": "bound", "temperature": 0.5, "max_tokens": 5, "x": 1}
        assert second == {**BARE, "model": "called", "temperature": 0.25, "x": 1}


@pytest.mark.anyio
async def test_every_door_takes_the_same_parameters() -> None:
    extra = {"logit_bias": {"5": 1}, "media": ["https://example.org/b.png"], "timeout": 5}
    async with Recorder(HELLO) as service:
        shop = Shop(api_base=service.url)
        await read(shop.create_async_generator("m", ASK, **extra))
        assert await shop.create_async("m", ASK, **extra) == "Hello"
        first, second = (asked.body for asked in service.asked)
        assert first == second
        assert b'"logit_bias"' in first


# The answer.

MESSAGE = {
    "role": "assistant",
    "content": "Let me look.",
    "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}],
    "reasoning_content": "Hm.",
}
TOKENS = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
CHUNKS: list[Chunk] = [
    "Let me look.",
    ToolCallDelta(0, "c1", "look", '{"a":1}'),
    Reasoning("Hm."),
    ToolCalls((ToolCall("c1", "look", '{"a":1}'),)),
    Usage(3, 5),
    FinishReason("tool_calls"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        streamed(
            *events(
                {"choices": [{"index": 0, "delta": MESSAGE}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
                {"choices": [], "usage": TOKENS},
                "[DONE]",
            )
        ),
        whole({"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}], "usage": TOKENS}),
    ],
    ids=["streamed", "whole"],
)
async def test_row_a_streamed_and_a_whole_answer_give_the_same_chunks(answer: Answer) -> None:
    async with Recorder(answer) as service:
        shop = Shop(api_base=service.url)
        assert await read(shop.create_async_generator("m", ASK)) == CHUNKS
        completion = await shop.complete(ASK)
        assert (completion.text, completion.reasoning, completion.finish_reason, completion.usage) == (
            *("Let me look.", "Hm.", "tool_calls"),
            Usage(3, 5),
        )
        assert completion.tool_calls == (ToolCall("c1", "look", '{"a":1}'),)


@pytest.mark.anyio
async def test_row_pieces_are_given_as_they_arrive_and_their_sums_at_the_end() -> None:
    pieces: list[dict[str, Any]] = [
        {"reasoning_content": "H"},
        {"reasoning_content": "m."},
        {"content": "Let me "},
        {"content": "look."},
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    said = [{"choices": [{"delta": piece}]} for piece in pieces]
    ending = [{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}, {"choices": [], "usage": TOKENS}, "[DONE]"]
    async with Recorder(streamed(*events(*said, *ending))) as service:
        assert await read(Shop(api_base=service.url).create_async_generator("m", ASK)) == [
            Reasoning("H"),
            Reasoning("m."),
            "Let me ",
            "look.",
            ToolCallDelta(0, "c1", "look", '{"a"'),
            ToolCallDelta(0, "", "", ":1}"),
            *CHUNKS[-3:],
        ]


@pytest.mark.anyio
async def test_an_error_is_typed_names_the_provider_and_never_shows_the_key() -> None:
    async with Recorder(refused("bad key sk-secret-key", "401 Unauthorized"), refused("no", "402 Payment")) as service:
        shop = Shop(api_base=service.url, api_key="sk-secret-key")
        with pytest.raises(AuthenticationError, match=r"^shop/m: .*\(status 401\): bad key \*\*\*") as caught:
            await read(shop.create_async_generator("m", ASK))
        assert "sk-secret-key" not in repr(caught.value)
        with pytest.raises(APIStatusError, match=r"status 402"):
            await read(shop.create_async_generator("m", ASK))


def test_row_raise_error_mixin_is_in_the_template() -> None:
    with pytest.raises(APIStatusError, match="no credit"):
        Shop.raise_error({"error": "no credit"})
    Shop.raise_error({"choices": [{}]})


@pytest.mark.anyio
@pytest.mark.parametrize("address", ["http://127.0.0.1:port/v1", "http://127.0.0.1:99999", "http://[::1", "shop"])
async def test_an_address_that_is_none_is_a_fault_of_the_set_up(address: str) -> None:
    with forbid_network():
        for named in ({"api_base": address}, {"api_endpoint": address}):
            with pytest.raises(SetupError, match=r"shop: .*address"):
                await read(Shop.create_async_generator("m", ASK, **named))
            with pytest.raises(SetupError, match=r"shop: .*address"):
                await Shop(**named).complete(ASK)


# Images.

PICTURE = whole({"data": [{"url": "https://example.org/1.png", "revised_prompt": "A cat"}]})


@pytest.mark.anyio
@pytest.mark.parametrize("model", ["brush", "draw", "shop-2"])
async def test_row_an_image_model_goes_to_images_generations(model: str) -> None:
    async with Recorder(PICTURE) as service:
        painter = Painter(api_base=f"{service.url}v1")
        chunks = await read(painter.create_async_generator(model, [{"role": "user", "content": "A cat"}]))
        assert chunks == [ImageResponse(("https://example.org/1.png",), "A cat")]
        assert "".join(map(str, chunks)) == "![A cat](https://example.org/1.png)"
        [asked] = service.asked
    assert asked.start == "POST /v1/images/generations HTTP/1.1"
    assert asked.json == {"prompt": "A cat", "model": {"draw": "brush"}.get(model, model)}


@pytest.mark.anyio
async def test_row_an_image_model_takes_prompt_size_and_what_else_images_have() -> None:
    async def painted(**named: Any) -> Any:
        asked = await sent("brush", ASK, cls=Painter, answer=PICTURE, **named)
        return asked.json

    assert await painted(prompt="A dog") == {"prompt": "A dog", "model": "brush"}
    asked = {"n": 2, "seed": 5, "negative_prompt": "rain", "aspect_ratio": "16:9", "guidance_scale": 7.5}
    asked |= {"num_inference_steps": 4, "response_format": "url"}
    assert await painted(**asked, width=640, height=480) == {
        **asked,
        "prompt": "Why?",
        "model": "brush",
        "size": "640x480",
    }
    # Whoever fills in a form for all models says these, too.
    assert await painted(temperature=1, max_tokens=9, top_p=1, stop=["x"], stream=True, tools=[], web_search=True) == {
        "prompt": "Why?",
        "model": "brush",
    }


@pytest.mark.anyio
async def test_an_image_model_can_be_the_default_and_be_streamed_completed_and_raced() -> None:
    async with Recorder(PICTURE) as service:
        painter = Painter(api_base=service.url, default_model="brush")
        assert (await painter.complete("A cat")).others == (ImageResponse(("https://example.org/1.png",), "A cat"),)
        async with race([painter, Scripted("late", delay=30)], "A cat") as stream:
            assert stream.winner == "painter/brush"
        assert [asked.start for asked in service.asked] == ["POST /images/generations HTTP/1.1"] * 2


# Messages.


@pytest.mark.anyio
async def test_row_supports_system_message_false_folds_system_messages_into_the_first_user_message() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Why?"},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "How?"},
    ]
    async with Recorder(HELLO) as service:
        await read(Shop(api_base=service.url).create_async_generator("m", messages))
        folding = Shop(api_base=service.url, supports_system_message=False)
        await read(folding.create_async_generator("m", messages))
        await read(folding.create_async_generator("m", messages[:1]))
        plain, folded, alone = (asked.json["messages"] for asked in service.asked)
    assert plain == messages
    assert folded == [
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Be brief.\n\nBe kind.\n\nWhy?"},
        {"role": "user", "content": "How?"},
    ]
    assert alone == [{"role": "user", "content": "Be brief."}]


# Models.


def models(*names: str) -> Answer:
    return whole({"object": "list", "data": [{"id": name} for name in names]})


def test_row_get_models_asks_once_per_binding_and_sorts() -> None:
    with in_thread(Recorder(models("b", "c", "a"))) as service:
        shop = Shop(api_base=f"{service.url}v1", api_key="sk")
        assert [shop.get_models(), shop.get_models()] == [["a", "b", "c"]] * 2
        [asked] = service.asked
        assert (asked.start, asked["authorization"], asked.body) == ("GET /v1/models HTTP/1.1", "Bearer sk", b"")
        assert Shop(api_base=f"{service.url}v1", sort_models=False).get_models() == ["b", "c", "a"]
        assert len(service.asked) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_row_get_models_on_the_class_itself(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    class Fresh(Shop):
        """A service that was not asked yet."""

    with in_thread(Recorder(models("b", "a"))) as service:
        monkeypatch.setattr(Fresh, "api_base", service.url)
        assert Fresh.get_models(backend=backend) == ["a", "b"]
        assert Fresh.get_models(timeout=5) == ["a", "b"]
        assert len(service.asked) == 1


def test_row_get_models_falls_back_where_the_service_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    dead = "http://127.0.0.1:1/v1"
    shop = Shop(api_base=dead, fallback_models=["z", "a"])
    assert shop.get_models() == ["z", "a"]
    assert "shop does not tell its models: shop/shop-1: the connection failed" in caplog.text
    assert Shop(api_base=dead).get_models() == ["shop-1"]
    with pytest.raises(APIConnectionError):
        OpenaiTemplate(api_base=dead).get_models()
    with in_thread(Recorder(whole({"error": "gone"}, "404 Not Found"), models("a"), models())) as service:
        shop = Shop(api_base=service.url, fallback_models=["f"])
        assert [shop.get_models(), shop.get_models(), shop.get_models()] == [["f"], ["a"], ["a"]]
        assert OpenaiTemplate(api_base=service.url).get_models() == []


def test_get_models_says_so_where_the_key_is_missing_or_refused() -> None:
    with in_thread(Recorder(refused("who are you?", "401 Unauthorized"))) as service:
        shop = Shop(api_base=service.url, fallback_models=["f"])
        with pytest.raises(AuthenticationError, match="who are you"):
            shop.get_models()
    with forbid_network(), pytest.raises(MissingKeyError):
        Shop(needs_auth=True).get_models()


def test_models_of_two_bindings_and_two_classes_are_their_own() -> None:
    class Other(Shop):
        """Another one."""

    with in_thread(Recorder(models("a"))) as one, in_thread(Recorder(models("b"))) as two:
        first, second = Shop(api_base=one.url), Shop(api_base=two.url)
        assert (first.get_models(), second.get_models()) == (["a"], ["b"])
        assert Other(api_base=two.url).get_models() == ["b"]
        assert (first.models, second.models, Shop.models, Other.models) == (["a"], ["b"], (), ())
        assert first.get_models(api_base=two.url) == ["b"]
        assert (first.get_models(), len(one.asked)) == (["a"], 1)
        first.get_models().append("x")
        assert first.get_models() == ["a"]


@pytest.mark.anyio
async def test_row_get_models_inside_a_loop_gives_what_is_known_or_names_the_coroutine() -> None:
    async with Recorder(models("b", "a"), models("c")) as service:
        shop = Shop(api_base=service.url)
        with pytest.raises(EventLoopRunningError, match=r"write `await Shop\.list_models\(\)` instead"):
            shop.get_models()
        assert service.accepted == 0
        assert await shop.list_models() == ["a", "b"]
        assert shop.get_models() == ["a", "b"]
        assert await shop.list_models() == ["c"]  # whoever asks for it is told what is there now
        assert shop.get_models() == ["c"]
        assert Shop(models=["known"]).get_models() == ["known"]


@pytest.mark.anyio
async def test_a_model_that_the_service_does_not_have_is_refused_once_its_models_are_known() -> None:
    async with Recorder(models("a", "b")) as service, Recorder(HELLO) as other:
        shop = Shop(api_base=service.url, model_aliases={"short": "long"})
        await shop.list_models()
        with pytest.raises(ModelNotFoundError, match=r"shop: no such model: 'c'\. It has a, b, short\."):
            await anext(shop.create_async_generator("c", ASK))
        assert [shop.get_model(name) for name in ("", "a", "short", "long", "shop-1")] == [
            *("shop-1", "a", "long", "long", "shop-1")
        ]
        # What one service has says nothing of another.
        assert await read(shop.create_async_generator("c", ASK, api_base=other.url)) == SAID


# Subclasses that write the method anew.


class Plain(Shop):
    """It is written as a plain method."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        async for chunk in super().create_async_generator(model, messages, **params):
            yield chunk.upper() if isinstance(chunk, str) else chunk


class ByClass(Shop):
    """It is written as a class method, as all of gpt4free's are."""

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Any, stream: bool = True, api_key: str | None = None, **params: Any
    ) -> AsyncIterator[Chunk]:
        generator = super().create_async_generator(cls.get_model(model), messages, api_key=api_key, **params)
        async for chunk in generator:
            yield chunk.upper() if isinstance(chunk, str) else chunk


class Static(Shop):
    """It is written as a static method, and asks another provider."""

    @staticmethod
    async def create_async_generator(
        model: str, messages: Any, api_base: str | None = None, **params: Any
    ) -> AsyncIterator[Chunk]:
        base = api_base or Static.api_base
        async for chunk in Shop.create_async_generator(model, messages, api_base=base, **params):
            yield chunk.upper() if isinstance(chunk, str) else chunk


class Returning(Shop):
    """It gives what super() gives."""

    def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncResult:
        return super().create_async_generator(model, messages, **params, extra_body={"by": "me"})


FORMS = [Plain, ByClass, Static, Returning]
LOUD: list[Chunk] = ["HEL", "LO", FinishReason("stop")]


async def by_iterator(provider: Any) -> list[Chunk]:
    return await read(provider.create_async_generator("m", ASK))


async def by_stream(provider: Any) -> list[Chunk]:
    chunks: list[Chunk] = []
    async with provider.stream(ASK) as stream:
        chunks += await read(stream)
    return chunks


async def by_race(provider: Any) -> list[Chunk]:
    chunks: list[Chunk] = []
    async with race([provider, Scripted("late", delay=30)], ASK) as stream:
        chunks += await read(stream)
    return chunks


@pytest.mark.anyio
@pytest.mark.parametrize("door", [by_iterator, by_stream, by_race])
@pytest.mark.parametrize("form", FORMS)
async def test_a_subclass_may_write_the_method_in_any_form_and_call_super_on_class_and_instance(
    form: type[Shop], door: Callable[[Any], Awaitable[list[Chunk]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Recorder(HELLO) as service:
        expected = SAID if form is Returning else LOUD
        assert await door(form(api_base=f"{service.url}v1", model="m")) == expected
        monkeypatch.setattr(form, "api_base", f"{service.url}v1")
        assert await door(form) == expected
        assert [asked.start for asked in service.asked] == ["POST /v1/chat/completions HTTP/1.1"] * 2
        assert [asked.json.get("by") for asked in service.asked] == ["me" if form is Returning else None] * 2
        await service.settled()


@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMS)
async def test_what_a_subclass_writes_is_completed(form: type[Shop]) -> None:
    async with Recorder(HELLO) as service:
        completion = await form(api_base=service.url).complete(ASK)
        assert completion.text == ("Hello" if form is Returning else "HELLO")
        assert completion.finish_reason == "stop"


OPEN = streamed(chat("Hel")[0], HELD, ends=False)


@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMS)
async def test_a_consumer_who_breaks_off_leaves_no_stream_of_supers_open(form: type[Shop]) -> None:
    async with Recorder(OPEN) as service:
        provider = form(api_base=service.url)
        async with provider.stream(ASK) as stream:
            async for _ in stream:
                break
        await service.settled()
        async with aclosing(provider.create_async_generator("m", ASK)) as chunks:  # type: ignore[type-var]  # it has it
            async for _ in chunks:
                break
        await service.settled()
        assert len(service.asked) == 2


@pytest.mark.may_leak("what is dropped here is a generator of the test's own, too")
@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMS)
async def test_a_consumer_who_drops_it_is_told_once_and_its_connection_is_closed(form: type[Shop]) -> None:
    async with Recorder(OPEN) as service:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            async for _ in form(api_base=service.url).create_async_generator("m", ASK):
                break
            gc.collect()
            said = [str(warning.message) for warning in caught]
            caught.clear()  # a warning holds what it warns of; trio has something to say of that, too
            await service.settled()
        assert len([each for each in said if "use contextlib.aclosing()" in each]) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMS)
async def test_a_subclass_that_loses_a_race_leaves_no_stream_of_supers_open(form: type[Shop]) -> None:
    late = OnceThought()
    async with Recorder(streamed(thought("Hm."), HELD, ends=False)) as service:
        async with race([form(api_base=service.url), late], ASK, clean=late.clean) as stream:
            assert stream.winner == "oncethought"
            assert await anext(stream) == "won"
        await service.settled()
        assert len(service.asked) == 1
        assert stream.report.entrants[0].outcome == "lost"


@pytest.mark.anyio
async def test_a_subclass_gets_what_is_bound_and_its_caller_goes_before_that() -> None:
    async with Recorder(HELLO) as service:
        bound = ByClass(api_base=service.url, model="bound", api_key="sk-bound", temperature=0.5)
        await read(bound.create_async_generator("", ASK))
        await read(bound.create_async_generator("called", ASK, api_key="sk-called", temperature=0.25))
        assert [(each.json["model"], each["authorization"], each.json["temperature"]) for each in service.asked] == [
            ("bound", "Bearer sk-bound", 0.5),
            ("called", "Bearer sk-called", 0.25),
        ]


@pytest.mark.anyio
async def test_a_key_of_one_call_is_not_that_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Recorder(HELLO) as service, Recorder(HELLO) as elsewhere:
        monkeypatch.setattr(ByClass, "api_base", service.url)
        for provider in (ByClass, ByClass(api_base=service.url)):
            await read(provider.create_async_generator("m", ASK, api_key="sk-called"))
            await read(provider.create_async_generator("m", ASK))
            await read(provider.create_async_generator("m", ASK, api_key="sk-beside", api_base=elsewhere.url))
            await read(provider.create_async_generator("m", ASK))
            await read(provider.create_async_generator("m", ASK, api_base=elsewhere.url))
        assert [asked["authorization"] for asked in service.asked] == ["Bearer sk-called", None, None] * 2
        assert [asked["authorization"] for asked in elsewhere.asked] == ["Bearer sk-beside", None] * 2


@pytest.mark.anyio
async def test_a_subclass_that_names_the_key_does_not_send_the_bound_one_to_another_address() -> None:
    class Naming(Shop):
        """It names both, and passes them on."""

        async def create_async_generator(
            self, model: str, messages: Any, api_key: str | None = None, api_base: str | None = None, **params: Any
        ) -> AsyncIterator[Chunk]:
            async for chunk in super().create_async_generator(
                model, messages, api_key=api_key, api_base=api_base, **params
            ):
                yield chunk

    async with Recorder(HELLO) as home, Recorder(HELLO) as elsewhere:
        provider = Naming(api_base=home.url, api_key="sk-bound")
        await read(provider.create_async_generator("m", ASK))
        await read(provider.create_async_generator("m", ASK, api_base=elsewhere.url))
        assert [asked["authorization"] for asked in (*home.asked, *elsewhere.asked)] == ["Bearer sk-bound", None]


@pytest.mark.anyio
async def test_a_key_in_a_bound_header_does_not_go_to_another_address() -> None:
    async with Recorder(HELLO) as home, Recorder(HELLO) as elsewhere:
        provider = Shop(api_base=home.url, headers={"authorization": "Bearer sk-by-hand", "X-Shop": "1"})
        await read(provider.create_async_generator("m", ASK))
        await read(provider.create_async_generator("m", ASK, api_base=elsewhere.url))
        asked = [*home.asked, *elsewhere.asked]
        assert [each["authorization"] for each in asked] == ["Bearer sk-by-hand", None]
        assert [each["x-shop"] for each in asked] == ["1", "1"]


def test_a_bound_stream_goes_before_the_signatures_default_at_the_synchronous_door() -> None:
    recorder = Recorder(HELLO)
    with in_thread(recorder):
        provider = Shop(api_base=recorder.url, stream=False)
        assert "".join(map(str, provider.create_completion("m", ASK)))
        assert recorder.asked[-1].json["stream"] is False


# How it is found and shown.


def test_the_template_is_importable_from_providers_and_its_subclasses_are_providers() -> None:
    assert issubclass(OpenaiTemplate, AbstractProvider)
    assert isinstance(resolve(Shop), Shop)
    assert Shop.label == "shop"
    assert Shop.params.splitlines()[:2] == ["Shop supports: (", "    model: str = 'shop-1',"]
    form = Shop.get_parameters(as_json=True)
    assert (form["provider"], form["model"], form["stream"], form["timeout"]) == ("Shop", "shop-1", True, 120)
    json.dumps(form)
