"""The raw-text wire: settings and messages in, bare text out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from g4ftrio._framing import Text
from g4ftrio._words.errors import APIResponseValidationError, MessagesError, SetupError
from g4ftrio._words.messages import image
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Decoder, Dialect
from g4ftrio.dialects.openchat import OpenChat

HELLO = [{"role": "user", "content": "Hello"}]
PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"


def encode(dialect: OpenChat | None = None, /, *, messages: Any = HELLO, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(model="openchat_3.6", messages=messages, params=params, extra_body=extra_body or {})
    return (dialect or OpenChat()).encode(request)


def read(*reads: bytes) -> list[Any]:
    decoder = OpenChat().decoder()
    chunks = [chunk for data in reads for chunk in decoder.feed([data])]
    return chunks + decoder.close()


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    """Cut bytes at every border; none is lost, some pieces may be empty."""
    marks = [0, *sorted(border % (len(data) + 1) for border in borders), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks)]


def test_it_is_a_dialect_without_a_list_of_models() -> None:
    dialect: Dialect = OpenChat()
    decoder: Decoder = dialect.decoder()
    assert (dialect.path_for(ChatRequest(model="m", messages=[])), dialect.models_path) == ("/api/chat", "")
    assert (decoder.done, decoder.finished, decoder.error) == (False, False, None)
    with pytest.raises(APIResponseValidationError, match="this service has no list of its models"):
        dialect.read_models(b'{"data": [{"id": "m"}]}')


# The body


def test_the_body_is_the_documented_one_key_by_key() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    assert json.dumps(encode(messages=messages, temperature=0.25, max_tokens=100)) == json.dumps(
        {
            "model": {
                "id": "openchat_3.6",
                "name": "OpenChat 3.6 (latest)",
                "maxLength": 24576,
                "tokenLimit": 100,
            },
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": "a\nb"},
            ],
            "key": "",
            "prompt": "Be brief.\nBe kind.",
            "temperature": 0.25,
        }
    )
    assert messages[4]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


def test_what_the_caller_does_not_say_is_the_dialects() -> None:
    body = encode()
    assert (body["temperature"], body["model"]["tokenLimit"], body["prompt"]) == (0.5, 8192, "")
    other = encode(OpenChat(name="Other", max_length=10, temperature=0.0, max_tokens=20))
    assert other["model"] == {"id": "openchat_3.6", "name": "Other", "maxLength": 10, "tokenLimit": 20}
    assert other["temperature"] == 0.0


def test_extra_body_is_laid_over_and_takes_out_by_none() -> None:
    body = encode(extra_body={"key": None, "prompt": "p", "more": 1}, conversation=object())
    assert list(body) == ["model", "messages", "prompt", "temperature", "more"]
    assert body["prompt"] == "p"


@pytest.mark.parametrize("temperature", [0, 1, 0.0, 1.0])
def test_a_temperature_may_be_a_bound(temperature: float) -> None:
    assert encode(temperature=temperature)["temperature"] == temperature


@pytest.mark.parametrize("temperature", [-0.01, 1.01, float("nan"), "hot"])
def test_a_temperature_out_of_range_is_refused_before_anything_is_sent(temperature: Any) -> None:
    with pytest.raises(SetupError, match=rf"takes a temperature from 0 to 1, not {temperature!r}"):
        encode(temperature=temperature)


def test_parameters_that_would_be_lost_are_named() -> None:
    with pytest.raises(SetupError, match=r"this service takes no 'tools', 'seed': leave that out, or put"):
        encode(tools=[], temperature=0.5, seed=1)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"role": "user", "content": [image("https://x/y.png")]}, "a message holds 'image_url': leave it out"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "holds 'tool_calls'"),
        ({"role": "assistant", "content": "a", "tool_calls": [{}]}, "holds 'tool_calls'"),
        ({"role": "tool", "tool_call_id": "c", "content": "3"}, "takes no messages of the role 'tool'"),
    ],
)
def test_messages_that_would_be_lost_are_refused(message: dict[str, Any], why: str) -> None:
    with pytest.raises(MessagesError, match=why):
        encode(messages=[*HELLO, message])


# The answer


def test_the_end_of_the_body_is_the_end_and_nothing_is_said_of_why() -> None:
    decoder = OpenChat().decoder()
    assert decoder.feed([b"Hel", b"lo"]) == ["Hello"]
    assert (decoder.done, decoder.finished) == (False, False)  # so a transport's TruncatedError stays one
    assert decoder.close() == []
    assert (decoder.done, decoder.error) == (True, None)


def test_a_split_character_waits_for_its_last_byte_and_invalid_bytes_are_left_out() -> None:
    assert read(b"na\xc3", b"\xafve \xf0\x9f\x98", b"\x80 \xff!") == ["na", "ïve ", "😀 !"]
    assert read(b"caf\xc3\xa9 \xf0\x9f") == ["café "]
    assert read(b"\xe2\x82", b"x") == ["x"]
    assert read() == read(b"") == []


@example([b"\xef\xbb\xbf"], [])  # a byte order mark before the text is none of it
@given(st.lists(st.one_of(st.text().map(str.encode), st.binary())), st.lists(st.integers(0, 2**16)))
@settings(max_examples=200, deadline=None)
def test_however_it_is_cut_all_that_can_be_read_is_given_at_once(parts: list[bytes], borders: list[int]) -> None:
    whole = b"".join(parts)
    decoder = OpenChat().decoder()
    framer = OpenChat().framer("text/plain")
    sent, given_out = b"", ""
    for piece in cut(whole, borders):
        sent += piece
        given_out += "".join(map(str, decoder.feed(framer.feed(piece))))
        # Nothing but the beginning of a character is held back, which has 3 bytes at most.
        assert given_out == sent.decode("utf-8-sig", "ignore")
    assert decoder.feed(framer.close()) + decoder.close() == []
    assert given_out == whole.decode("utf-8-sig", "ignore")


# The frames


@pytest.mark.parametrize("kind", ["", "text/plain; charset=utf-8", "text/event-stream", "application/octet-stream"])
def test_every_read_is_a_frame_whatever_it_looks_like(kind: str) -> None:
    framer = OpenChat().framer(kind)
    assert isinstance(framer, Text)
    assert framer.feed(b"data: <html>") == [b"data: <html>"]


def test_a_web_page_is_an_error_with_its_title() -> None:
    framer = OpenChat().framer("text/html; charset=utf-8")
    assert framer.feed(b"\n ") == [b"\n "]
    with pytest.raises(APIResponseValidationError, match=r"a web page came instead of an answer: 'Just a moment...'"):
        framer.feed(PAGE)
    framer = OpenChat().framer("Text/HTML")
    assert framer.feed(b"<html>") == []
    with pytest.raises(APIResponseValidationError, match="a web page"):
        framer.close()


def test_text_that_is_labelled_as_a_page_is_text() -> None:
    framer = OpenChat().framer("text/html")
    assert [*framer.feed(b" "), *framer.feed(b"Use <b>"), *framer.feed(b"<i>"), *framer.close()] == [
        b" ",
        b"Use <b>",
        b"<i>",
    ]
    assert OpenChat().framer("text/html").close() == []


def test_errors_are_read_whatever_their_form() -> None:
    assert OpenChat().read_error(b'{"error": {"message": "no", "code": "c"}}') == ("no", "c")
    assert OpenChat().read_error(b"Error") == ("Error", "")
