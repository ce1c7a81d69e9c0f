"""HTTP/1.1 from the server's side, without I/O: bytes in, requests out; heads and chunks to bytes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import httptools
from msgspec import Struct, field

__all__ = ("BODY_LIMIT", "HEAD_LIMIT", "Request", "RequestReader", "chunk", "head")

HEAD_LIMIT = 32 * 1024
BODY_LIMIT = 32 * 1024 * 1024  # pictures come inside the JSON

_TOO_LONG_HEAD = (431, f"the request's head is longer than {HEAD_LIMIT} bytes")
_TOO_LONG_BODY = (413, f"the request's body is longer than {BODY_LIMIT} bytes")


class Request(Struct):
    """One request, or why it cannot be read: ``problem`` is a status and a sentence."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = False
    problem: tuple[int, str] | None = None


class RequestReader:
    """Reads the requests of one connection, within bounds; after a problem it reads nothing more.

    The ``on_`` methods are the parser's.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._ready: list[Request] = []
        self._problem: tuple[int, str] | None = None  # the first one stays
        self._is_deaf = False
        self._begin()

    def feed(self, data: bytes) -> list[Request]:
        """Read some bytes, and give the requests that ended in them."""
        if self._is_deaf:
            return []
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_deaf = True  # RFC 9110, 7.8: a server may ignore the wish, and answer what came with it
            self._ready[-1].keep_alive = False
        except httptools.HttpParserError as error:
            self._note(400, f"the request is not HTTP/1.1: {error}")
        if self._size > (BODY_LIMIT if self._in_body else HEAD_LIMIT):
            self._note(*(_TOO_LONG_BODY if self._in_body else _TOO_LONG_HEAD))
        ready, self._ready = self._ready, []
        if self._problem is not None:
            self._is_deaf = True
            ready.append(Request(problem=self._problem))
        return ready

    def _note(self, status: int, problem: str) -> None:
        self._problem = self._problem or (status, problem)

    def _begin(self) -> None:
        self._request = Request()
        self._url: list[bytes] = []
        self._body: list[bytes] = []
        self._size = 0
        self._head_size = 0
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        self._url.append(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        if not self._in_body:  # else it is a trailer
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            known = self._request.headers.get(key)
            self._request.headers[key] = text if known is None else f"{known}, {text}"

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_LIMIT:
            self._note(*_TOO_LONG_HEAD)

    def on_headers_complete(self) -> None:
        self._in_body = True
        length = self._request.headers.get("content-length", "0")
        if int(length) > BODY_LIMIT:  # the parser has seen to it that these are digits
            self._note(*_TOO_LONG_BODY)
        if self._parser.get_http_version() != "1.1":
            self._note(505, "this server speaks HTTP/1.1 only")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._problem is None:
            self._request.method = self._parser.get_method().decode("latin-1")
            self._request.path = b"".join(self._url).decode("latin-1")
            self._request.body = b"".join(self._body)
            self._request.keep_alive = self._parser.should_keep_alive()
            self._ready.append(self._request)
        self._begin()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Give a response's head."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def chunk(data: bytes) -> bytes:
    """Give a chunk of a chunked body; of no data it would be the last, so there is none."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
