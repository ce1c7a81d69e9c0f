"""Section 3 of the contract: Jmuz, on the wire, and its advertising."""

from __future__ import annotations

import inspect
import io
import json
import pydoc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings, strategies as st

from g4ftrio import ChunkFilter, FinishReason, Reasoning, ToolCallDelta, ToolCalls, Usage, race
from g4ftrio._words.chunks import Chunk
from g4ftrio.providers import Jmuz, OpenaiTemplate, resolve
from g4ftrio.typing import AsyncResult
from tests.providers.wires import (
    HELD,
    Held,
    OnceThought,
    Recorder,
    chat,
    events,
    in_thread,
    streamed,
    thought,
    whole,
)

ASK = [{"role": "user", "content": "Why?"}]
HELLO = streamed(*chat("Hel", "lo"))
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
ALIASES = {
    "qwq-32b": "qwq-32b-preview",
    "gemini-1.5-flash": "gemini-flash",
    "gemini-1.5-pro": "gemini-pro",
    "gemini-2.0-flash-thinking": "gemini-thinking",
    "deepseek-chat": "deepseek-v3",
}


async def read(stream: AsyncResult) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def answered(*texts: str, **named: Any) -> list[Chunk]:
    """What comes out where the service answers with these texts, an event for each."""
    async with Recorder(streamed(*chat(*texts))) as service:
        return await read(Jmuz(api_base=service.url).create_async_generator("", ASK, **named))


# The declaration.


def test_row_base_is_openai_template() -> None:
    assert Jmuz.__mro__[1] is OpenaiTemplate


def test_row_attributes() -> None:
    assert (Jmuz.url, Jmuz.working, Jmuz.supports_system_message, Jmuz.needs_auth, Jmuz.supports_stream) == (
        *("https://discord.gg/Ew6JzjA2NR", True),
        *(False, False, True),
    )
    assert (Jmuz.key_variables, Jmuz.api_key) == (("JMUZ_API_KEY",), None)


def test_row_endpoint() -> None:
    assert Jmuz.api_base == "https://jmuz.me/gpt/api/v2"


@pytest.mark.parametrize(("alias", "model"), [("", "gpt-4o"), *ALIASES.items(), ("gpt-4o-mini", "gpt-4o-mini")])
def test_row_models_default_and_aliases(alias: str, model: str) -> None:
    assert (Jmuz.default_model, dict(Jmuz.model_aliases)) == ("gpt-4o", ALIASES)
    assert Jmuz.get_model(alias) == Jmuz().get_model(alias) == model


def test_row_arguments_in_their_order_and_without_self() -> None:
    parameters = inspect.signature(Jmuz.create_async_generator).parameters
    assert [(name, each.default) for name, each in parameters.items()] == [
        ("model", inspect.Parameter.empty),
        ("messages", inspect.Parameter.empty),
        ("stream", True),
        ("api_key", None),
        ("params", inspect.Parameter.empty),
    ]
    assert parameters["params"].kind is inspect.Parameter.VAR_KEYWORD


def test_its_parameters_are_shown_as_text_and_as_a_form() -> None:
    lines = Jmuz.params.splitlines()
    assert (lines[0], lines[1], lines[3], lines[-1]) == (
        "Jmuz supports: (",
        "    model: str = 'gpt-4o',",
        "    stream: bool = True,",
        ")",
    )
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == ["model", "messages", "stream", "api_key"]
    form = json.loads(json.dumps(Jmuz.get_parameters(as_json=True)))
    assert form == {
        "provider": "Jmuz",
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": ""}],  # it knows no system message
        "stream": True,
        "timeout": 0,
        "response_format": None,
        "max_tokens": 4096,
        "stop": ["stop1", "stop2"],
        "api_key": "",
    }


def test_help_shows_its_methods() -> None:
    with redirect_stdout(io.StringIO()) as shown:
        help(Jmuz)
    said = pydoc.plain(shown.getvalue())
    assert "class Jmuz(" in said
    assert "A free relay for many models" in said
    for method in ("create_async_generator", "create_completion", "get_models", "get_model", "stream", "complete"):
        assert f" {method}(" in said, method
    assert "Give the answer's chunks, without the advertising" in said


def test_specs_resolve() -> None:
    provider = resolve("jmuz/qwq-32b@http://127.0.0.1:9/v2")
    assert isinstance(provider, Jmuz)
    assert (provider.model, provider._address()) == ("qwq-32b", "http://127.0.0.1:9/v2")
    plain = resolve("Jmuz")
    assert isinstance(plain, Jmuz)
    assert plain._address() == "https://jmuz.me/gpt/api/v2"


# The wire.


@pytest.mark.anyio
async def test_row_endpoint_headers_and_body_byte_for_byte_without_a_key() -> None:
    async with Recorder(HELLO) as service:
        chunks = await read(Jmuz(api_base=f"{service.url}gpt/api/v2").create_async_generator("", ASK))
        assert chunks == ["Hel", "lo", FinishReason("stop")]
        [asked] = service.asked
    assert asked.start == "POST /gpt/api/v2/chat/completions HTTP/1.1"
    assert asked.fields == (
        f"Host: 127.0.0.1:{service.port}",
        "Connection: keep-alive",
        "accept-encoding: identity",
        "content-type: application/json",
        "accept: */*",
        f"user-agent: {USER_AGENT}",
        "Content-Length: 78",
    )
    assert asked.body == b'{"model":"gpt-4o","messages":[{"role":"user","content":"Why?"}],"stream":true}'


@pytest.mark.anyio
async def test_row_headers_with_a_key_have_the_authorization_as_a_bearer() -> None:
    async with Recorder(HELLO) as service:
        await read(Jmuz(api_base=service.url, api_key="sk-bound").create_async_generator("", ASK))
        [asked] = service.asked
    assert asked.fields[3:7] == (
        "content-type: application/json",
        "accept: */*",
        "authorization: Bearer sk-bound",
        f"user-agent: {USER_AGENT}",
    )


@pytest.mark.anyio
async def test_row_arguments_api_key_of_the_caller_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMUZ_API_KEY", "sk-environment")
    async with Recorder(HELLO) as service:
        await read(Jmuz(api_base=service.url, api_key="sk-bound").create_async_generator("", ASK, True, "sk-called"))
        await read(Jmuz.create_async_generator("", ASK, True, "sk-called", api_base=service.url))
        assert [asked["authorization"] for asked in service.asked] == ["Bearer sk-called"] * 2


@pytest.mark.anyio
async def test_row_attributes_jmuz_api_key_goes_home_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jmuz, "api_base", "http://jmuz.invalid/gpt/api/v2")  # plain HTTP, so that a proxy sees it all
    monkeypatch.setenv("JMUZ_API_KEY", "sk-environment")
    async with Recorder(HELLO) as proxy:
        await read(Jmuz.create_async_generator("", ASK, proxy=proxy.url))
        await read(Jmuz.create_async_generator("", ASK, proxy=proxy.url, api_base="http://other.invalid"))
        await read(Jmuz.create_async_generator("", ASK, api_base=proxy.url))
        assert [(asked.start, asked["authorization"]) for asked in proxy.asked] == [
            ("POST http://jmuz.invalid/gpt/api/v2/chat/completions HTTP/1.1", "Bearer sk-environment"),
            ("POST http://other.invalid/chat/completions HTTP/1.1", None),
            ("POST /chat/completions HTTP/1.1", None),
        ]


@pytest.mark.anyio
async def test_row_arguments_stream_false_asks_for_a_whole_answer() -> None:
    message = {"role": "assistant", "content": "Join for free\nHello"}
    answer = whole({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}})
    async with Recorder(answer) as service:
        chunks = await read(Jmuz(api_base=service.url).create_async_generator("", ASK, False))
        assert chunks == ["Hello", Usage(3), FinishReason("stop")]
        assert service.asked[0].body == (
            b'{"model":"gpt-4o","messages":[{"role":"user","content":"Why?"}],"stream":false}'
        )


@pytest.mark.anyio
async def test_row_arguments_kw_are_those_of_the_template() -> None:
    async with Recorder(HELLO) as service:
        jmuz = Jmuz(api_base=service.url)
        await read(
            jmuz.create_async_generator("qwq-32b", ASK, temperature=0, max_tokens=5, headers={"User-Agent": "me"})
        )
        bound = Jmuz(api_base=service.url, temperature=0, max_tokens=5, stream=False)
        await read(bound.create_async_generator("", ASK))
        first, second = service.asked
    assert first.body == (
        b'{"model":"qwq-32b-preview","messages":[{"role":"user","content":"Why?"}],'
        b'"temperature":0,"max_tokens":5,"stream":true}'
    )
    assert first["user-agent"] == "me"
    assert (second.json["stream"], second.json["max_tokens"]) == (False, 5)


@pytest.mark.anyio
@pytest.mark.parametrize(("alias", "model"), ALIASES.items())
async def test_row_models_an_alias_is_asked_by_its_name(alias: str, model: str) -> None:
    async with Recorder(HELLO) as service:
        await read(Jmuz(api_base=service.url).create_async_generator(alias, ASK))
        assert service.asked[0].json["model"] == model


@pytest.mark.anyio
async def test_row_attributes_system_messages_are_folded_into_the_first_user_message() -> None:
    async with Recorder(HELLO) as service:
        await read(Jmuz(api_base=service.url).create_async_generator("", [{"role": "system", "content": "S"}, *ASK]))
        assert service.asked[0].json["messages"] == [{"role": "user", "content": "S\n\nWhy?"}]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_row_endpoint_models_are_asked_for_once(backend: Any) -> None:
    with in_thread(Recorder(whole({"data": [{"id": "gpt-4o"}, {"id": "deepseek-v3"}]}))) as service:
        jmuz = Jmuz(api_base=f"{service.url}gpt/api/v2")
        assert jmuz.get_models(backend=backend) == ["deepseek-v3", "gpt-4o"]
        assert jmuz.get_models() == ["deepseek-v3", "gpt-4o"]
        [asked] = service.asked
        assert (asked.start, asked["authorization"], asked["user-agent"]) == (
            *("GET /gpt/api/v2/models HTTP/1.1", None),
            USER_AGENT,
        )


@pytest.mark.anyio
async def test_row_answer_is_data_lines_that_done_ends() -> None:
    parts = [b": hello\r\n\r\n", *chat("Hel"), b"data: {never read}\n\n"]
    parts[1:1] = [b'data:{"choices":[{"delta":{"role":"assistant","content":""}}]}\r\n\r\n']
    async with Recorder(streamed(*parts)) as service:
        assert await read(Jmuz(api_base=service.url).create_async_generator("", ASK)) == ["Hel", FinishReason("stop")]


# The advertising, on the wire.

LINK = "https://discord.gg/"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["Join for free at our server!\n", "Hello"], "Hello"),
        (["o1-preview and more\nHello"], "Hello"),
        (["\n Join for free\n\n", " o1-preview\n", f"{LINK}x ...\n", "  Hello "], "Hello "),
        ([f"He{LINK}abc come ... and go ...llo"], "He and go ...llo"),
        (["Hello. ", "Join for free\n", "Try o1-preview\n"], "Hello. Join for free\nTry o1-preview\n"),
        ([f"Hello {LINK}a\n\nnow..."], "Hello \n\nnow..."),
        ([f"Hello {LINK}" + "x" * 600], "Hello " + "x" * 119),
        (["Join for free" + "x" * 600 + "\n"], "x" * 113 + "\n"),
        ([f"Hello {LINK}and no end"], "Hello "),
        (["Hello, Join", " us"], "Hello, Join us"),
        (["Join for"], "Join for"),
        (["Hello https://disc", "ord.gg"], "Hello https://discord.gg"),
        (["Hello https://disc", f"{LINK}x...!"], "Hello https://disc!"),
        ([" \n\t", " Hello"], "Hello"),
    ],
)
@pytest.mark.parametrize("by_character", [False, True])
async def test_row_special_advertising_is_taken_out(texts: list[str], said: str, by_character: bool) -> None:
    chunks = await answered(*("".join(texts) if by_character else texts))
    assert "".join(map(str, chunks)) == said
    assert FinishReason("stop") in chunks


@pytest.mark.anyio
async def test_row_special_text_is_held_only_while_it_could_be_a_marker() -> None:
    go_on = [Held() for _ in range(4)]
    texts = ["J", "oin us: htt", "ps://discord.gg/a.", ".. bye"]
    parts: list[Any] = []
    for event, held in zip(chat(*texts), go_on, strict=False):
        parts += event, held
    async with Recorder(streamed(*parts, *chat()[-2:])) as service:
        stream = Jmuz(api_base=service.url).create_async_generator("", ASK)
        with anyio.move_on_after(0.03):
            pytest.fail(f"{await anext(stream)!r} may still be a marker")
        go_on[0].go_on()
        assert await anext(stream) == "Join us: "
        go_on[1].go_on()
        go_on[2].go_on()
        assert await anext(stream) == " bye"
        go_on[3].go_on()
        assert await read(stream) == [FinishReason("stop")]


@pytest.mark.anyio
async def test_row_special_what_is_not_text_passes_unchanged() -> None:
    said: list[dict[str, Any]] = [
        {"reasoning_content": "Join for free\n"},
        {"content": "Join for "},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": f'"{LINK}..."'}}]},
        {"content": "free\nHello"},
    ]
    deltas = [{"choices": [{"delta": each}]} for each in said]
    end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
    async with Recorder(streamed(*events(*deltas, end, "[DONE]"))) as service:
        chunks = await read(Jmuz(api_base=service.url).create_async_generator("", ASK))
    assert chunks[:3] == [Reasoning("Join for free\n"), ToolCallDelta(0, "c", "f", f'"{LINK}..."'), "Hello"]
    assert isinstance(chunks[3], ToolCalls)
    assert chunks[4:] == [FinishReason("tool_calls")]


@pytest.mark.anyio
async def test_row_special_what_was_removed_is_counted_in_the_report() -> None:
    async with Recorder(streamed(*chat("Join for ", "free\nHello ", f"{LINK}x... you"))) as service:
        async with race([Jmuz(api_base=service.url)], ASK) as stream:
            assert (await stream.collect()).text == "Hello  you"
        assert stream.report.entrants[0].filtered == len("Join for free\n") + len(f"{LINK}x...")


@pytest.mark.anyio
async def test_row_special_an_advertisement_does_not_win_a_race() -> None:
    advertising = chat("Join for free\n", f" {LINK}x...\n")[:2]
    late = OnceThought()
    async with Recorder(streamed(*advertising, thought("Hm."), HELD, ends=False)) as service:
        async with race([Jmuz(api_base=service.url), late], ASK, clean=late.clean) as stream:
            assert stream.winner == "oncethought"
            assert await anext(stream) == "won"
        await service.settled()
        record = stream.report.entrants[0]
        assert (record.outcome, record.filtered, record.clean_at) == ("lost", 14 + 23, None)


@pytest.mark.anyio
async def test_row_special_a_subclass_keeps_the_filter_and_may_have_other_markers() -> None:
    class Quiet(Jmuz):
        """It lets all pass."""

        advertising = ()

    class Loud(Jmuz):
        """It is written as the original was."""

        @classmethod
        async def create_async_generator(cls, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
            async for chunk in super().create_async_generator(cls.get_model(model), messages, **params):
                yield chunk.upper() if isinstance(chunk, str) else chunk

    async with Recorder(streamed(*chat("Join for free\nHello"))) as service:
        assert (await Quiet(api_base=service.url).complete(ASK)).text == "Join for free\nHello"
        assert (await Loud(api_base=service.url).complete(ASK)).text == "HELLO"


# The advertising, for any text.

LEADS = ("Join for free", "o1-preview")
LONGEST = 500


def decided(came: str) -> str:
    """Read the rule aloud: what must have come out when this much has come. Slow, a character at a time."""
    clean, at = "", 0
    while at < len(came):
        rest = came[at:]
        if not clean and rest[0].isspace():
            at += 1
            continue
        markers = (LINK,) if clean else (*LEADS, LINK)
        marker = next((marker for marker in markers if rest.startswith(marker)), None)
        if marker is not None:
            length = advertisement(rest, marker)
            if length is None:  # inside an advertisement that has not ended
                return clean
            at += length
        elif any(marker.startswith(rest) for marker in markers):  # it could still become a marker
            return clean
        else:
            clean += rest[0]
            at += 1
    return clean


def advertisement(text: str, marker: str) -> int | None:
    """The length of the advertisement that a text begins with, None where its end has not come."""
    end = "..." if marker == LINK else "\n"
    for length in range(len(marker), LONGEST + 1):
        if text.endswith(end, len(marker), length):
            return length
        if length > len(text) - 2 and length < LONGEST:
            return None
        if text.startswith("\n\n", length):
            return length
    return LONGEST


def cut(text: str, places: Sequence[int]) -> list[str]:
    marks = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in pairwise(marks)]


words = st.one_of(
    st.text(max_size=6),
    st.text("Jjo1h. \n", max_size=6),
    # What looks like a marker and is none.
    st.sampled_from(
        ["Join for fre", "o1-", "o1-previe", "https://disc", "https://discord.com/", "..", "\n\n", "JoJoin"]
    ),
)
plain_texts = words.filter(lambda text: not any(marker in text for marker in (*LEADS, LINK)))
lines = st.text("ab.https:/ ", max_size=30)
leading = st.builds(str.__add__, st.sampled_from(LEADS), lines).map(lambda text: text[: LONGEST - 1] + "\n")
links = (
    st.text("ab. \nhttps:/", max_size=30)
    .filter(lambda text: "..." not in text and "\n\n" not in text and not text.endswith("."))
    .map(lambda text: f"{LINK}{text}...")
)
spaces = st.text(" \n\t", max_size=3)
cuts = st.lists(st.integers(0, 1000), max_size=20)


@given(
    before=st.lists(st.one_of(spaces, leading, links), max_size=4),
    said=st.lists(st.tuples(plain_texts, links), max_size=5),
    last=plain_texts,
    places=cuts,
)
@example(before=["Join for free\n"], said=[("Hello", f"{LINK}...")], last="h", places=[*range(60)])
@settings(max_examples=300, deadline=None)
def test_property_what_comes_out_is_the_text_without_the_advertising_however_it_is_cut(
    before: list[str], said: list[tuple[str, str]], last: str, places: list[int]
) -> None:
    text = "".join(word for word, _ in said) + last
    came = "".join(before) + "".join(word + advert for word, advert in said) + last
    clean, removed = run(cut(came, places))
    assert clean == text.lstrip()
    assert removed == len("".join(before + [advert for _, advert in said])) - sum(
        len(each) for each in before if not each.strip()
    )


def run(pieces: Sequence[str]) -> tuple[str, int]:
    chunk_filter = ChunkFilter(Jmuz.advertising)
    passed = [str(chunk) for piece in pieces for chunk in chunk_filter.feed([piece])]
    return "".join(passed) + "".join(map(str, chunk_filter.close())), chunk_filter.removed


anything = st.lists(
    st.one_of(words, st.sampled_from([*LEADS, LINK, "...", "\n", "\n\n", " ", "x" * 499]), leading, links), max_size=8
).map("".join)


@given(came=anything, places=cuts)
@example(came="Join for free" + "x" * 488 + "Hi", places=[*range(500)])
@example(came=f"{LINK}" + "x" * 481 + "\n\nHi", places=[*range(510)])
@example(came=f"a {LINK}" + "x" * 478 + "...b", places=[*range(510)])
@settings(max_examples=300, deadline=None)
def test_property_after_every_chunk_nothing_is_held_back_that_is_decided(came: str, places: list[int]) -> None:
    chunk_filter = ChunkFilter(Jmuz.advertising)
    so_far = passed = ""
    for piece in cut(came, places):
        so_far += piece
        passed += "".join(map(str, chunk_filter.feed([piece])))
        assert passed == decided(so_far)


def test_the_reference_itself_says_what_the_contract_says() -> None:
    expected: Mapping[str, str] = {
        "Join for free\nHi": "Hi",
        "Hi Join for free\n": "Hi Join for free\n",
        f"Hi {LINK}x...!": "Hi !",
        f"Hi {LINK}x\n\n...": "Hi \n\n...",
        f"Hi {LINK}x": "Hi ",
        "Hi https://di": "Hi ",
        "Join f": "",
        f"a{LINK}" + "x" * 482: "ax",
    }
    assert {came: decided(came) for came in expected} == expected
