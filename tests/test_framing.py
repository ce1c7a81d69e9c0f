from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from g4ftrio._framing import NDJSON, SSE, Framer, NamedFrame, Text, Whole, framer_for
from g4ftrio._words.errors import APIResponseValidationError

BOM = b"\xef\xbb\xbf"
OPEN_AI = b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'


def frames(framer: Framer, *reads: bytes) -> list[bytes]:
    return [frame for read in reads for frame in framer.feed(read)] + framer.close()


def in_reads_of(size: int, body: bytes) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def names(found: Sequence[bytes]) -> list[str]:
    return [frame.event if isinstance(frame, NamedFrame) else "message" for frame in found]


# --- Server-Sent Events ---


def test_one_read_gives_all_its_events() -> None:
    assert SSE().feed(OPEN_AI) == [b'{"a":1}', b'{"b":2}', b"[DONE]"]


def test_an_event_is_given_by_the_read_that_completes_it() -> None:
    sse = SSE()
    assert sse.feed(b"data: a\n\ndata: b") == [b"a"]
    assert sse.feed(b"c\n") == []
    assert sse.feed(b"\n") == [b"bc"]
    assert sse.close() == []


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_line_end_reads_the_same_wherever_it_is_cut(end: bytes, size: int) -> None:
    body = (b": hello\n\n" + OPEN_AI + b"event: x\ndata: 1\ndata: 2\n\n").replace(b"\n", end)
    assert frames(SSE(), *in_reads_of(size, body)) == [b'{"a":1}', b'{"b":2}', b"[DONE]", b"1\n2"]


def test_a_carriage_return_ends_an_event_without_waiting_for_the_next_read() -> None:
    sse = SSE()
    assert sse.feed(b"data: a\r\n\r") == [b"a"]
    assert sse.feed(b"\ndata: b\r\n\r\n") == [b"b"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\ndata\n\n", [b"a\n"]),
        (b": keep-alive\n\n", []),
        (b": keep-alive\ndata: a\n\n", [b"a"]),
        (b"data: a\n\n: keep-alive\n\ndata: b\n\n", [b"a", b"b"]),
        (b"id: 7\nretry: 10\ndata: a\nunknown: 1\n\n", [b"a"]),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        (b"event: x\ndata: a\nid: 1\n\n", [b"a"]),
        (b"data: \n\ndata: a\n\n", [b"a"]),
        (b"data\n\n", []),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (BOM + b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\n\n" + BOM + b"data: b\n\n", [b"a"]),
        (b" data: a\n\n", []),
        (b"Data: a\n\n", []),
        (b"data: a", [b"a"]),
        (b"data: a\n\ndata: b\n", [b"a", b"b"]),
        (BOM + b"data: a", [b"a"]),
        (b"data: a\n\ndat", [b"a"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_events_follow_the_standard(body: bytes, expected: list[bytes], size: int) -> None:
    assert frames(SSE(), *in_reads_of(size, body)) == expected


def test_a_named_event_knows_its_name_and_is_bytes_otherwise() -> None:
    found = SSE().feed(
        b"event: ping\ndata: {}\n\nevent:delta\nid: 1\ndata: x\n\nevent: message\ndata: y\n\ndata: z\n\n"
    )
    assert found == [b"{}", b"x", b"y", b"z"]
    assert names(found) == ["ping", "delta", "message", "message"]
    assert [type(frame) for frame in found] == [NamedFrame, NamedFrame, bytes, bytes]


def test_the_last_name_of_an_event_counts_and_does_not_last() -> None:
    found = SSE().feed(b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\ndata: 3\nevent: \xff\n\n")
    assert names(found) == ["b", "message", "\ufffd"]


def by_the_standard(body: bytes) -> list[tuple[str, bytes]]:
    """Read events line by line as the standard words it, with our two differences."""
    events, data, name = [], [], "message"
    for line in [*re.split(rb"\r\n|\r|\n", body.removeprefix(BOM)), b""]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        if field == b"event":
            name = value.decode(errors="replace") or "message"
        if not line:
            if joined := b"\n".join(data):
                events.append((name, joined))
            data, name = [], "message"
    return events


def cut(body: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in at)})
    return [body[begin:end] for begin, end in pairwise(places)]


pieces = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"data",
        b"event: ",
        b"message",
        b":",
        b" ",
        b"a",
        b"{}",
        b"\n",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
    ]
)


@given(st.lists(pieces, max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_events_do_not_depend_on_where_the_bytes_are_cut(body: bytes, at: list[int], has_bom: bool) -> None:
    body = BOM + body if has_bom else body
    found = frames(SSE(), *cut(body, at))
    assert list(zip(names(found), found, strict=True)) == by_the_standard(body)


def test_a_long_event_in_many_small_reads_is_one_frame() -> None:
    sse, line = SSE(), b"x" * 64  # in quadratic time this would copy 130 GiB
    assert sse.feed(b"data: ") == []
    assert not any(sse.feed(line) for _ in range(2**16))
    assert sse.feed(b"\n\n") == [line * 2**16]


# --- limits ---


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("make", "fits"),
    [(SSE, b"data: 123\n\n"), (SSE, b"data: 1\r\ndata:2\r\n\r\n"), (NDJSON, b"123456789\n")],
)
def test_a_frame_may_be_as_long_as_the_limit_and_no_longer(
    make: Callable[[int], Framer], fits: bytes, size: int
) -> None:
    length = len(fits.replace(b"\r\n", b"\n").removesuffix(b"\n\n").removesuffix(b"\n")) + 1
    assert len(frames(make(length), *in_reads_of(size, fits * 2))) == 2
    with pytest.raises(APIResponseValidationError, match=rf"is longer than {length - 1} bytes"):
        frames(make(length - 1), *in_reads_of(size, fits * 2))


@pytest.mark.parametrize("long", [b"data: 12345678901\n\ndata: c\n\n", b"data: 12345678901"])
def test_what_came_before_a_frame_that_is_too_long_is_given_first(long: bytes) -> None:
    sse = SSE(limit=16)
    assert sse.feed(b"data: a\n\ndata: b\n\n" + long) == [b"a", b"b"]
    with pytest.raises(APIResponseValidationError, match="an event is longer than 16 bytes"):
        sse.feed(b"data: d\n\n")
    with pytest.raises(APIResponseValidationError, match="an event is longer than 16 bytes"):
        sse.close()


def test_a_read_of_many_short_frames_may_be_longer_than_the_limit() -> None:
    assert SSE(limit=16).feed(b"data: a\n\n" * 10) == [b"a"] * 10


def test_a_body_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert frames(Whole(limit=4), b"12", b"34") == [b"1234"]
    with pytest.raises(APIResponseValidationError, match="a body is longer than 4 bytes"):
        frames(Whole(limit=4), b"12", b"345")


# --- the other framings ---


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_line_of_json_is_a_frame(size: int) -> None:
    body = BOM + b'{"a":1}\n\n{"b":2}\r\n  \n{"c":3}'
    assert frames(NDJSON(), *in_reads_of(size, body)) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_a_line_is_given_by_the_read_that_completes_it() -> None:
    ndjson = NDJSON()
    assert ndjson.feed(b"1\n2\n3") == [b"1", b"2"]
    assert ndjson.feed(b"4\n") == [b"34"]


def test_text_is_given_read_by_read() -> None:
    assert frames(Text(), b"\xc3", b"", b"\xa9 ") == [b"\xc3", b"\xa9 "]


def test_a_whole_body_is_given_at_its_end() -> None:
    whole = Whole()
    assert whole.feed(BOM + b"{") == []
    assert whole.feed(b"}\n") == []
    assert whole.close() == [b"{}\n"]
    assert frames(Whole(), b" \n") == []


# --- which framing an answer has ---

JSON = b'{"choices":[]}'
LINES = b'{"a":1}\n{"b":2}\n'


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/event-stream; charset=utf-8", OPEN_AI, [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        ("application/json", JSON, [JSON]),
        ("application/problem+json", JSON, [JSON]),
        ("Application/X-NDJSON", LINES, LINES.split()),
        ("application/jsonl", LINES, LINES.split()),
        ("text/event-stream", JSON, [JSON]),
        ("text/event-stream", b"\n  " + JSON, [JSON]),
        ("application/json", OPEN_AI, [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        ("application/x-ndjson", b"data: x\n\n", [b"x"]),
        ("text/html", b"data: x\n\n", [b"x"]),
        ("text/html; charset=utf-8", JSON, [JSON]),
        ("text/plain", b"event: e\ndata: x\n\n", [b"x"]),
        ("application/octet-stream", b": hello\n\ndata: x\n\n", [b"x"]),
        ("", b"id: 1\ndata: x\n\n", [b"x"]),
        ("", b"retry: 1\ndata: x\n\n", [b"x"]),
        ("", BOM + b"\r\n data: x\n\n", [b"x"]),
        ("", b"\r\n" + JSON, [JSON]),
        ("", b"[1]", [b"[1]"]),
        ("text/plain", b"daily quota reached", [b"daily quota reached"]),
        ("text/event-stream", b"x: 1\ndata: x\n\n", [b"x"]),
        ("text/event-stream", b"dat", []),
        ("application/json", b"d", [b"d"]),
        ("application/json", b"", []),
        ("", b" \n ", []),
    ],
)
def test_the_first_bytes_show_the_framing_else_the_content_type_does(
    content_type: str, body: bytes, expected: list[bytes], size: int
) -> None:
    assert frames(framer_for(content_type), *in_reads_of(size, body)) == expected


def test_events_are_given_as_soon_as_they_are_known_to_be_events() -> None:
    framer = framer_for("application/json")
    assert framer.feed(b"da") == []
    assert framer.feed(b"ta: 1\n\ndata: 2\n\n") == [b"1", b"2"]
    assert framer.feed(b"data: 3\n\n") == [b"3"]


PAGE = b"<!DOCTYPE html>\n<html><head><title class=x>Just a\n moment...</title></head><body>wait</body></html>"


@pytest.mark.parametrize("size", [1, 10, 1000])
@pytest.mark.parametrize("content_type", ["text/html", "text/event-stream", "application/json", ""])
def test_a_web_page_is_an_error_with_its_title(content_type: str, size: int) -> None:
    with pytest.raises(
        APIResponseValidationError, match=r"a web page came instead of an answer: 'Just a moment\.\.\.'"
    ):
        frames(framer_for(content_type), *in_reads_of(size, PAGE))


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [("", b"<Error>no\n such bucket", "<Error>no such bucket"), ("text/html", b"go away", "go away")],
)
def test_a_web_page_without_a_title_is_an_error_with_its_beginning(content_type: str, body: bytes, said: str) -> None:
    with pytest.raises(APIResponseValidationError, match=re.escape(f"a web page came instead of an answer: {said!r}")):
        frames(framer_for(content_type), body)


def test_a_web_page_is_not_read_to_its_end_for_a_title() -> None:
    framer = framer_for("text/html")
    assert framer.feed(b"<html>" + b" " * 2000) == []
    with pytest.raises(APIResponseValidationError, match="a web page"):
        framer.feed(b" " * 100)


def test_a_method_that_was_taken_hold_of_goes_on_where_the_framing_was_found() -> None:
    framer = framer_for("")
    feed = framer.feed
    assert [feed(b"data: 1\n\n"), feed(b"data: 2\n\nda"), framer.feed(b"ta: 3\n\n")] == [[b"1"], [b"2"], [b"3"]]
