"""The rules for an answer's bytes, without I/O: by name, then against h11, cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import h11
import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from g4ftrio.transports._wire import MAX_HEAD, MAX_INTERIM, ResponseParser, encode_head

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Outcome(NamedTuple):
    """What became of an answer: ``error`` is None where it came whole."""

    status: int | None
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    reusable: bool
    error: str | None


def read(pieces: Iterable[bytes], method: bytes = b"GET") -> Outcome:
    """Feed the pieces and then the end, as a transport does: nothing is fed after the answer is complete."""
    parser, body, error = ResponseParser(method), b"", None
    try:
        for piece in pieces:
            body += parser.feed(piece)
            if parser.head is not None and parser.body.complete:
                break
        else:
            parser.end()
    except httpx.RemoteProtocolError as wrong:
        error = str(wrong)
    head = parser.head
    if head is None:
        return Outcome(None, b"", [], body, reusable=False, error=error)
    return Outcome(head.status, head.reason, head.headers, body, error is None and parser.reusable, error)


def one(raw: bytes, method: bytes = b"GET") -> Outcome:
    return read([raw], method)


def byte_by_byte(raw: bytes) -> Outcome:
    return read(raw[i : i + 1] for i in range(len(raw)))


# --- how a body ends ---


@pytest.mark.parametrize("feed", [one, byte_by_byte])
@pytest.mark.parametrize(
    ("raw", "body", "reusable"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde", True),
        (CHUNKED + b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", b"abc", True),
        (CHUNKED + b"0\r\n\r\n", b"", True),
        (OK + b"\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", b"a", True),
        (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (OK + b"Connection: Keep-Alive, CLOSE\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a", True),
    ],
)
def test_a_body_ends_where_its_framing_says(
    feed: Callable[[bytes], Outcome], raw: bytes, body: bytes, *, reusable: bool
) -> None:
    outcome = feed(raw)
    assert (outcome.error, outcome.body, outcome.reusable) == (None, body, reusable)


@pytest.mark.parametrize("framing", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_the_answer_to_head_ends_at_its_head(framing: bytes) -> None:
    assert one(OK + framing + b"\r\n", b"HEAD")[3:] == (b"", True, None)
    assert one(OK + framing + b"\r\nabc", b"HEAD")[3:] == (b"", False, None)


@pytest.mark.parametrize(
    ("raw", "body", "words"),
    [
        (b"", b"", "without an answer"),
        (OK, b"", "its head was not complete"),
        (OK + b"Content-Length: 3\r\n\r\nab", b"ab", "2 of 3 bytes"),
        (CHUNKED + b"3\r\nab", b"ab", "its last chunk had not come"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"abc", "its last chunk had not come"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"", "its head was not complete"),
    ],
)
def test_an_answer_that_is_cut_is_an_error_after_what_came(raw: bytes, body: bytes, words: str) -> None:
    for outcome in (read([raw] if raw else []), byte_by_byte(raw)):
        assert outcome.body == body
        assert outcome.error is not None
        assert words in outcome.error


# --- what discards the connection, and never the answer ---


@pytest.mark.parametrize(
    "rest", [b"\r\n", b"\n", b"\r", b"X", OK + b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", OK + b"Content-Length: 1\r\n\r\nx"]
)
@pytest.mark.parametrize(
    "whole",
    [
        OK + b"Content-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\n\r\n\r\n\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_bytes_after_the_end_cost_the_connection_only(whole: bytes, rest: bytes) -> None:
    clean = one(whole)
    assert (clean.error, clean.reusable) == (None, True)
    for cut in range(len(whole)):
        assert read([whole[:cut], whole[cut:] + rest]) == clean._replace(reusable=False)


# --- what is refused ---

REFUSED = {
    "two lengths that differ": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths that are alike": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "a length with a sign": OK + b"Content-Length: +3\r\n\r\nabc",
    "a length in hexadecimal": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "no length": OK + b"Content-Length:\r\n\r\nabc",
    "a length and then a coding": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding and then a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "a length beside a coding in an answer without a body": b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 3\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an empty coding": OK + b"Transfer-Encoding:\r\n\r\nabc",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "version 0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "version 2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "another protocol": b"ICE/1.0 200 OK\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a line break before the answer": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a space before the colon": OK + b"Name : x\r\n\r\n",
    "a header without a name": OK + b": x\r\n\r\n",
    "a line that is no header": OK + b"Name\r\n\r\n",
    "a folded header": OK + b"Name: x\r\n y\r\n\r\n",
    "a lone line feed": OK + b"Name: x\nContent-Length: 0\r\n\r\n",
    "a lone carriage return": OK + b"Name: x\rContent-Length: 0\r\n\r\n",
    "a null byte": OK + b"Name: x\x00\r\n\r\n",
    "a control character": OK + b"Name: x\x01\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a chunk's size that overflows": CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "a lone line feed after a chunk's size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "a lone line feed in the trailers": CHUNKED + b"0\r\nName: x\n\r\n",
    "a head that is too long": OK + b"Name: " + b"x" * MAX_HEAD + b"\r\n\r\n",
    "a head without an end": OK + b"Name: " + b"x" * MAX_HEAD,
    "a chunk extension without an end": CHUNKED + b"3;" + b"x" * MAX_HEAD,
    "trailers without an end": CHUNKED + b"0\r\n" + b"Name: x\r\n" * (MAX_HEAD // 9 + 1),
    "too many heads of status 1xx": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + OK + b"\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    raw = REFUSED[name]
    outcomes = [one(raw), read(raw[i : i + 1000] for i in range(0, len(raw), 1000))]
    if len(raw) < 1000:
        outcomes.append(byte_by_byte(raw))
    for outcome in outcomes:
        assert outcome.error is not None
        assert not outcome.reusable
        assert "before the answer's end" not in outcome.error  # it was refused, not waited for


def test_eight_heads_of_status_1xx_are_taken() -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM + OK + b"Content-Length: 0\r\n\r\n"
    assert one(raw).status == byte_by_byte(raw).status == 200


def test_what_came_before_a_broken_chunk_is_given_first() -> None:
    outcome = one(CHUNKED + b"3\r\nabc\r\nnonsense\r\n")
    parser = ResponseParser(b"GET")
    assert parser.feed(CHUNKED + b"3\r\nabc\r\nnonsense\r\n") == b"abc"
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError, match="chunked coding is broken"):
            parser.feed(b"x")
    with pytest.raises(httpx.RemoteProtocolError, match="chunked coding is broken"):
        parser.end()
    assert not outcome.reusable


def test_trailers_are_no_headers() -> None:
    assert one(CHUNKED + b"0\r\nX-Late: x\r\n\r\n").headers == [(b"Transfer-Encoding", b"chunked")]


def test_values_lose_the_space_around_them() -> None:
    assert one(OK + b"A: \t b c \t\r\nContent-Length: 0 \r\n\r\n").headers == [
        (b"A", b"b c"),
        (b"Content-Length", b"0"),
    ]


# --- requests ---


def test_a_head_is_written_as_it_was_given() -> None:
    head = encode_head(b"POST", b"/a?b=c", [(b"Host", b"x:1"), (b"X-Empty", b""), (b"X-Latin", b"\xe9 \t")])
    assert head == b"POST /a?b=c HTTP/1.1\r\nHost: x:1\r\nX-Empty: \r\nX-Latin: \xe9 \t\r\n\r\n"


@pytest.mark.parametrize(
    "header", [(b"Key", b"se\r\ncret: x"), (b"Key", b"secret\n"), (b"Key", b"se\rcret"), (b"Key", b"se\x00cret")]
)
def test_a_value_with_a_line_break_is_refused_and_not_shown(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx.LocalProtocolError) as caught:
        encode_head(b"GET", b"/", [(b"Host", b"x"), header])
    assert "'Key'" in str(caught.value)
    assert "se" not in str(caught.value).replace("header", "").replace("does", "")


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b"\xe9"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError, match="does not allow"):
        encode_head(b"GET", b"/", [(name, b"x")])


@pytest.mark.parametrize(
    ("method", "target"), [(b"GET ", b"/"), (b"", b"/"), (b"GET", b""), (b"GET", b"/ x"), (b"GET", b"/\r\n")]
)
def test_a_request_line_that_is_none_is_refused(method: bytes, target: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError, match="method or target"):
        encode_head(method, target, [])


# --- against h11 ---

# Where ours is stricter: what in the bytes is the reason that it refuses what h11 takes.
STRICTER = {
    "a lone line feed ends a line": rb"(?<!\r)\n",
    "a lone carriage return": rb"\r(?!\n)",
    "a folded line": rb"\r\n[ \t]",
    "a control character": rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
    "a version that is neither 1.0 nor 1.1": rb"HTTP/(?!1\.[01])",
    "a length given twice, or as a list": rb"(?i)content-length:[^\r]*,|content-length:(?s:.*)content-length:",
    "a length of 2**64": rb"(?i)content-length:[^\r]*[0-9]{20}",
    "a length beside a coding": rb"(?is)content-length:.*transfer-encoding:|transfer-encoding:.*content-length:",
    "another coding, where the answer has no body anyway": rb"(?i)HTTP/1.. [1-3](?s:.*)transfer-encoding:",
    "space after a chunk's size": rb"\r\n[0-9a-fA-F]+[ \t]+\r\n",
    "a chunk extension that is none": rb"\r\n[0-9a-fA-F]+;",
    "a chunk of 2**64 bytes": rb"\r\n[0-9a-fA-F]{17,}",
}
# Where h11 is stricter: a chunk's size has at most 20 digits, the zeros in front included.
H11_STRICTER = rb"\r\n0[0-9a-fA-F]{20,}"


def read_by_h11(raw: bytes, method: bytes) -> Outcome:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=10 * MAX_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    head, body, error, ended = None, b"", None, False
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                assert not ended
                connection.receive_data(b"")
                ended = True
    except h11.RemoteProtocolError as wrong:
        error = str(wrong)
    if head is None:
        return Outcome(None, b"", [], body, reusable=False, error=error or "no answer")
    return Outcome(head.status_code, bytes(head.reason), head.headers.raw_items(), body, reusable=False, error=error)


LINES = [
    *(
        b"Content-Length: %b" % value
        for value in (b"0", b"3", b"5", b"+3", b"3, 3", b" 3 ", b"", b"18446744073709551616")
    ),
    *(
        b"Transfer-Encoding: %b" % value
        for value in (b"chunked", b"Chunked ", b"gzip", b"gzip, chunked", b"", b"identity")
    ),
    *(b"Connection: %b" % value for value in (b"close", b"keep-alive", b"upgrade", b"x, close")),
    *(
        b"Upgrade: websocket",
        b"A: b",
        b"A:",
        b"A: \t b  c \t",
        b"A : b",
        b": b",
        b"A",
        b"",
        b" folded",
        b"A: \xe9",
        b"A(: b",
    ),
]
STARTS = [
    *(
        b"HTTP/1.1 %b" % status
        for status in (b"200 OK", b"200", b"200 ", b"204 x", b"304 x", b"100 x", b"101 x", b"103 x")
    ),
    *(
        b"HTTP/1.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 099 x",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 x",
    ),
]
CHUNKS = [
    *(b"3\r\nabc\r\n", b"1\r\nx\r\n", b"003\r\nabc\r\n", b"3;a=b\r\nabc\r\n", b"3 \r\nabc\r\n", b"3;\r\nabc\r\n"),
    *(
        b"A\r\n0123456789\r\n",
        b"2\r\nabc\r\n",
        b"4\r\nabc\r\n",
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"0" * 22 + b"1\r\nx\r\n",
    ),
    *(b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"00\r\n\r\n", b"0\r\nA\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n"),
]
GOOD_LINES, GOOD_CHUNKS = (LINES[1], LINES[8], LINES[14]), (*CHUNKS[:4], CHUNKS[13])


def mostly(good: Iterable[bytes], every: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.sampled_from([*good]) | st.sampled_from(every)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer, most often nearly right."""
    heads = draw(st.lists(mostly(STARTS[:1], STARTS), min_size=1, max_size=2))
    raw = b"".join(
        b"\r\n".join((start, *draw(st.lists(mostly(GOOD_LINES, LINES), max_size=3)), b"\r\n")) for start in heads
    )
    raw += b"".join(draw(st.lists(mostly(GOOD_CHUNKS, CHUNKS), max_size=4))) + draw(
        st.sampled_from([b"", b"0\r\n\r\n"])
    )
    for position, junk in draw(st.lists(st.tuples(st.integers(0, len(raw)), st.binary(max_size=2)), max_size=1)):
        raw = raw[:position] + junk + raw[position + draw(st.integers(0, 2)) :]
    return raw


def check_against_h11(raw: bytes, method: bytes) -> None:
    ours, theirs = one(raw, method), read_by_h11(raw, method)
    if ours.error is None and theirs.error is not None:
        assert re.search(H11_STRICTER, raw), (theirs.error, ours)
    elif ours.error is not None and theirs.error is None:
        assert any(re.search(pattern, raw) for pattern in STRICTER.values()), (ours.error, theirs)
    elif ours.error is None:
        assert _comparable(ours) == _comparable(theirs)


def _comparable(outcome: Outcome) -> tuple[object, ...]:
    """What both have to say; h11 gives codings in lower case."""
    headers = [
        (name, value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in outcome.headers
    ]
    return outcome.status, outcome.reason, headers, outcome.body


def check_cuts(raw: bytes, method: bytes, cuts: list[int]) -> None:
    whole = one(raw, method)
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(edges) if a < b]
    cut = read(pieces, method)
    assert cut._replace(reusable=False) == whole._replace(reusable=False)
    assert (
        whole.reusable <= cut.reusable
    )  # cut before what came unasked, the rest is found when the connection is taken


METHODS = st.sampled_from([b"GET", b"GET", b"GET", b"HEAD"])
CUTS = st.lists(st.integers(1, 200), max_size=6)


@settings(max_examples=200, deadline=None)
@given(answers(), METHODS, CUTS)
def test_h11_takes_what_ours_takes_and_reads_the_same(raw: bytes, method: bytes, cuts: list[int]) -> None:
    check_against_h11(raw, method)
    check_cuts(raw, method, cuts)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers(), METHODS, CUTS)
def test_h11_takes_what_ours_takes_and_reads_the_same_at_length(raw: bytes, method: bytes, cuts: list[int]) -> None:
    check_against_h11(raw, method)
    check_cuts(raw, method, cuts)
