"""HTTP/1.1 without I/O: a request's head as bytes, and bytes as an answer.

llhttp (by httptools) reads heads and the chunked coding. Around it stand the rules that it leaves to its user: it is
given one whole head at a time, so that nothing is gathered piece by piece inside it, and of a body only the chunked
coding, under a head of ours. Where a body ends otherwise is counted here.

None of llhttp's leniencies is ever switched on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import httptools
import httpx

from g4ftrio._words.secrets import SecretBytes

__all__ = ("MAX_HEAD", "MAX_INTERIM", "BodyDecoder", "Head", "ResponseParser", "encode_head")

MAX_HEAD = 64 * 1024  # bytes of a head, and bytes between two body bytes: chunk extensions, trailers
MAX_INTERIM = 8  # answers of status 1xx before the real one

RawHeaders = list[tuple[bytes, bytes]]

_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_REQUEST_LINE = re.compile(_TOKEN + rb" [\x21-\x7e\x80-\xff]+ HTTP/1\.1\r\n")
_HEADER = re.compile(_TOKEN + rb": [^\x00\r\n]*+\r\n")
_HEADERS = re.compile(rb"(?:" + _HEADER.pattern + rb")*+")


def encode_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write a request's head, the blank line included.

    :raises httpx.LocalProtocolError: if a part holds what HTTP does not allow there, a line break above all; the
        message names the header, never its value
    """
    request_line = b"%b %b HTTP/1.1\r\n" % (method, target)
    if not _REQUEST_LINE.fullmatch(request_line):
        raise httpx.LocalProtocolError("the request's method or target has a character that HTTP does not allow")
    lines = [b"%b: %b\r\n" % header for header in headers]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or not _HEADERS.fullmatch(block):
        wrong = next(line for line in lines if not _HEADER.fullmatch(line))
        name = wrong.partition(b":")[0][:64]
        raise httpx.LocalProtocolError(f"the header {name!r} has a character that HTTP does not allow")
    return SecretBytes(request_line + block + b"\r\n")


class BodyDecoder(Protocol):
    """Tells a body's bytes from their framing.

    :ivar complete: the body has ended
    :ivar clean: the connection stands exactly at the end of the answer, and may carry another
    """

    complete: bool
    clean: bool

    def feed(self, data: bytes) -> bytes:
        """Read what came from the network, and give the body's bytes in it."""

    def end(self) -> bytes:
        """Say that the peer closed; gives no more bytes.

        :raises httpx.RemoteProtocolError: if the body was cut
        """


class _Sized:
    """A body of known length, 0 included."""

    __slots__ = ("_left", "_length", "clean", "complete")

    def __init__(self, length: int) -> None:
        self._length = self._left = length
        self.complete = length == 0
        self.clean = True

    def feed(self, data: bytes) -> bytes:
        body = data[: self._left]  # bytes give themselves where all is asked for
        self._left -= len(body)
        self.complete = self._left == 0
        self.clean = len(body) == len(data)
        return body

    def end(self) -> bytes:
        if not self.complete:
            had = self._length - self._left
            raise _cut(f"{had} of {self._length} bytes had come")
        return b""


class _UntilClose:
    """A body that ends with the connection, which therefore is never clean."""

    __slots__ = ("complete",)

    clean = False

    def __init__(self) -> None:
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        self.complete = True
        return b""


class _ChunkSink:
    """What llhttp calls; apart from the decoder, so that the two make no reference cycle."""

    __slots__ = ("complete", "on_body", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class _Chunked:
    """A body in the chunked coding.

    After the end, llhttp complains of everything (our head says ``Connection: close``) but line breaks, which it
    swallows, and it does not say where in its input the end was. But the coding always ends with one line that has
    something in it and one that has nothing, so the last five bytes tell.
    """

    __slots__ = ("_error", "_parser", "_silent", "_sink", "_tail", "clean", "complete")

    def __init__(self) -> None:
        self.complete = False
        self.clean = False
        self._sink = _ChunkSink()
        self._parser = httptools.HttpResponseParser(self._sink)
        self._parser.feed_data(_CHUNKED_HEAD)
        self._silent = 0
        self._tail = b""
        self._error: httpx.RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        if self._error is not None:
            raise self._error
        wrong = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            wrong = str(error)
        self._tail = data[-5:] if len(data) > 4 else (self._tail + data)[-5:]
        pieces = self._sink.pieces
        body = b"".join(pieces)
        pieces.clear()
        if self._sink.complete:
            self.complete = True
            self.clean = wrong is None and _ends_a_head(self._tail)
        elif wrong is not None:
            return self._fail(wrong, body)
        elif not body:
            self._silent += len(data)
            if self._silent > MAX_HEAD:
                return self._fail(f"{MAX_HEAD} bytes of chunk extensions or trailers, and no end of them", body)
        else:
            self._silent = 0
        return body

    def _fail(self, why: str, body: bytes) -> bytes:
        """Give what came before the fault; the next call raises it."""
        self._error = httpx.RemoteProtocolError(f"the answer's chunked coding is broken: {why}")
        if body:
            return body
        raise self._error

    def end(self) -> bytes:
        if self._error is not None:
            raise self._error
        if not self.complete:
            raise _cut("its last chunk had not come")
        return b""


def _ends_a_head(tail: bytes) -> bool:
    """Whether the bytes end with exactly one blank line."""
    return tail[-4:] == b"\r\n\r\n" and tail[-5:-4] not in b"\r\n"


def _cut(how_far: str) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"the peer closed the connection before the answer's end: {how_far}")


class Head(NamedTuple):
    """The head of an answer."""

    version: bytes
    status: int
    reason: bytes
    headers: RawHeaders


class _HeadSink:
    """What llhttp calls for a head."""

    __slots__ = ("complete", "framing", "headers")

    def __init__(self) -> None:
        self.headers: RawHeaders = []
        self.framing: dict[bytes, list[bytes]] = {b"connection": [], b"content-length": [], b"transfer-encoding": []}
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")
        self.headers.append((name, value))
        values = self.framing.get(name.lower())
        if values is not None:
            values.append(value)

    def on_headers_complete(self) -> None:
        self.complete = True


def _read_head(raw: bytes, *, upgrade: bool) -> _HeadSink:
    """Read one head, from its first byte to the blank line.

    :param upgrade: whether another protocol was asked for
    :raises httpx.RemoteProtocolError: if it is none, or one that we do not speak
    """
    if not _STATUS_LINE.match(raw):
        raise httpx.RemoteProtocolError(f"the answer is not HTTP/1.1: it begins with {raw[:32]!r}")
    if raw[9:12] == b"101" and not upgrade:
        raise httpx.RemoteProtocolError("the service changed to another protocol (status 101), unasked")
    sink = _HeadSink()
    try:
        httptools.HttpResponseParser(sink).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the head is whole
    except httptools.HttpParserError as error:
        raise httpx.RemoteProtocolError(f"the answer's head cannot be read: {error}") from None
    if not sink.complete:
        raise httpx.RemoteProtocolError("the answer's head cannot be read")
    return sink


def _keeps_alive(version: bytes, sink: _HeadSink) -> bool:
    options = {option.strip().lower() for value in sink.framing[b"connection"] for option in value.split(b",")}
    if b"close" in options:
        return False
    if version == b"HTTP/1.0":
        return b"keep-alive" in options and not sink.framing[b"transfer-encoding"]
    return True


def _decoder(method: bytes, status: int, sink: _HeadSink) -> BodyDecoder:
    """How the body ends (RFC 9112, section 6.3); llhttp has refused two lengths, and a length beside a coding."""
    if status == 101:
        return _UntilClose()  # what follows is the other protocol's
    codings = sink.framing[b"transfer-encoding"]
    lengths = sink.framing[b"content-length"]
    if len(codings) + len(lengths) > 1 or (codings and codings[0].lower() != b"chunked"):
        raise httpx.RemoteProtocolError("the answer's length is given twice, or its Transfer-Encoding is not chunked")
    if method == b"HEAD" or status in (204, 304):
        return _Sized(0)
    if codings:
        return _Chunked()
    return _Sized(int(lengths[0])) if lengths else _UntilClose()


class ResponseParser:
    """Reads the answer to one request.

    :param upgrade: whether the request asks for another protocol; with status 101 the body is what that writes
    :ivar head: None until it has come
    :ivar body: what decodes the body, once the head has come; it may be fed directly
    :ivar started: whether any byte has come
    :ivar fault: what is wrong with a body whose beginning came with the head
    """

    __slots__ = (
        "_buffer",
        "_interim",
        "_keeps_alive",
        "_method",
        "_seen",
        "_upgrade",
        "body",
        "fault",
        "head",
        "started",
    )

    def __init__(self, method: bytes, *, upgrade: bool = False) -> None:
        self.head: Head | None = None
        self.body: BodyDecoder = _UntilClose()
        self.fault: httpx.RemoteProtocolError | None = None
        self.started = False
        self._method = method
        self._upgrade = upgrade
        self._buffer = bytearray()
        self._seen = 0
        self._interim = 0
        self._keeps_alive = False

    def feed(self, data: bytes) -> bytes:
        """Read what came from the network, and give the body's bytes in it.

        :raises httpx.RemoteProtocolError: if it is no answer that can be read
        """
        if self.head is not None:
            return self.body.feed(data)
        self.started = True
        self._buffer += data
        while (raw := self._next_head()) is not None:
            self._take(raw)
            if self.head is not None:
                rest = bytes(self._buffer)
                self._buffer.clear()
                return self._begin_body(rest) if rest else b""
        return b""

    def _begin_body(self, first: bytes) -> bytes:
        """Read what came with the head; what is wrong in it is the body's, wherever the network cut the bytes."""
        try:
            return self.body.feed(first)
        except httpx.RemoteProtocolError as error:
            self.fault = error
            return b""

    def _next_head(self) -> bytes | None:
        """Cut the next whole head off the buffer."""
        end = self._buffer.find(b"\r\n\r\n", max(self._seen - 3, 0)) + 4
        length = end if end > 3 else len(self._buffer)
        if length > MAX_HEAD:
            raise httpx.RemoteProtocolError(f"the answer's head is longer than {MAX_HEAD} bytes")
        if end < 4:
            self._seen = length
            return None
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._seen = 0
        return raw

    def _take(self, raw: bytes) -> None:
        sink = _read_head(raw, upgrade=self._upgrade)
        status = int(raw[9:12])
        body = _decoder(self._method, status, sink)
        if status < 200 and status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise httpx.RemoteProtocolError(f"more than {MAX_INTERIM} answers of status 1xx before the real one")
            return
        version = raw[:8]
        self._keeps_alive = _keeps_alive(version, sink)
        self.body = body
        self.head = Head(version, status, raw[13 : raw.index(b"\r")], sink.headers)

    def end(self) -> None:
        """Say that the peer closed.

        :raises httpx.RemoteProtocolError: if the answer was cut
        """
        if self.head is not None:
            self.body.end()
        elif self.started:
            raise _cut("its head was not complete")
        else:
            raise httpx.RemoteProtocolError("the peer closed the connection without an answer")

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self._keeps_alive and self.body.complete and self.body.clean
