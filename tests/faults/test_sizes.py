"""Too much of everything: what a service sends is bounded in memory and in time, and ends in an error that says so.

Over real sockets, on both loops, by this library's own client and by a plain ``httpx`` client: each of ``ANSWERS`` and
``MESSAGES`` is a flood that never ends by itself, or something far too large. Each ends in the stated error within the
stated memory (``tracemalloc``'s peak, the server's share included). In the decoders: ``LOADS``, where the long form
compares the processor time of n with that of 4 n; it also looks at the memory of a process of its own, as the system
counts it.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import process_time
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from g4ftrio import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    InternalServerError,
    ProviderError,
    Timeout,
    TruncatedError,
    _answer,
    open_http_client,
)
from g4ftrio._framing import NDJSON, SSE, Framer, Whole, framer_for
from g4ftrio.dialects._base import Decoder
from g4ftrio.providers import HttpProvider, find
from g4ftrio.transports._frames import SILENT
from tests.faults.wires import WIRES
from tests.transports.http1_server import Peer, Script, Service

MIB = 1 << 20
BLOCK = 65_536
NAME = "flooding"
SECONDS = 0.5  # of every time-out here
PATIENT = Timeout(connect=30, idle=30, total=60)
HASTY = Timeout(connect=30, idle=30, first_chunk=SECONDS, stall=SECONDS, total=60)


@contextmanager
def peak_of() -> Iterator[Callable[[], float]]:
    """Measure the most memory that is taken meanwhile, in MiB; what was taken before is not counted."""
    found = 0.0
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield lambda: found
        found = (tracemalloc.get_traced_memory()[1] - before) / MIB
    finally:
        tracemalloc.stop()


# --- over sockets, HTTP ---


def packed(coding: str, before: bytes, block: bytes, blocks: int) -> bytes:
    """Pack a text that begins so and goes on with so many times the block: some KiB for each of 64 MiB."""
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = one.compress(before) + one.flush(zlib.Z_FULL_FLUSH)
    again = one.compress(block) + one.flush(zlib.Z_FULL_FLUSH)
    lead = {"gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "deflate": b"\x78\x9c", "raw": b""}[coding]
    return lead + first + again * blocks


BOMB = 64  # MiB of each
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
EMPTY = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
SPACE = b'data: {"choices":[{"index":0,"delta":{"content":" "}}]}\n\n'
MANY = b"x" * BLOCK


def flood(head: bytes, block: bytes = MANY, blocks: int = 1 << 40) -> Script:
    """Say something, then the block as often as the client takes it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head)
        for _ in range(blocks):
            await peer.send(block)
        await peer.gone()

    return script


def body(head: bytes, block: bytes = MANY) -> Script:
    """Answer with a body that goes on until the client has gone."""
    return flood(HEAD + b"\r\n" + head, block)


def bomb(coding: str, kind: bytes, before: bytes, block: bytes, *, status: bytes = b"200 OK", named: str = "") -> Script:
    name = (named or coding).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Encoding: %b\r\nConnection: close\r\n\r\n" % (status, kind, name)
    return flood(head + packed(coding, before, block, BOMB), b"", 1)


def line(label: str) -> bytes:
    return {"openai-compatible": b"data: ", "ollama": b'{"message":{"content":"'}[label]


class Case(NamedTuple):
    """A flood, and how it ends.

    :ivar kinds: of the time-out, where it ends by one
    :ivar peak: MiB that it may cost
    """

    script: Script
    error: type[ProviderError]
    says: str = ""
    peak: float = 8
    timeout: Timeout = PATIENT
    kind: str = ""


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = "longer than 16,777,216 bytes"
EVENTS = b"text/event-stream"
ZEROS = b"0" * MIB

ANSWERS: dict[str, Case] = {
    "an event that does not end": Case(body(b"data: "), APIResponseValidationError, TOO_LONG, 56),
    "an event of many lines that does not end": Case(
        body(FIRST, b"data: x\n" * 8192), APIResponseValidationError, TOO_LONG, 56
    ),
    "a body that does not end": Case(
        body(b'{"choices": [', b'"x", ' * 13_000), APIResponseValidationError, "longer than 67,108,864 bytes", 160
    ),
    "a web page that does not end": Case(body(b"<!doctype html><title>Wait</title>"), APIResponseValidationError, "Wait"),
    "a page without a title": Case(body(b"<html>", b"<p>" * 1000), APIResponseValidationError, "a web page came"),
    "an error body of a GiB": Case(
        flood(b"HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\nIt broke. "), InternalServerError, "It broke."
    ),
    "10,000 headers": Case(
        flood(HEAD, b"".join(b"x-header-%d: some value\r\n" % number for number in range(10_000)) + b"\r\n", 1),
        APIConnectionError,
        "does not answer in HTTP",
    ),
    "headers without end": Case(flood(HEAD, b"x-header: x\r\n" * 1000), APIConnectionError, "does not answer in HTTP"),
    "a header without end": Case(flood(HEAD + b"x: "), APIConnectionError, "does not answer in HTTP"),
    "a status line without end": Case(flood(b"HTTP/1.1 200 "), APIConnectionError, "does not answer in HTTP"),
    "a chunk extension without end": Case(flood(CHUNKED + b"5;x="), TruncatedError, "not go on as HTTP says"),
    "chunk extensions without end": Case(flood(CHUNKED + b"5", b";x=y" * 1000), TruncatedError, "not go on as HTTP says"),
    "a trailer without end": Case(flood(CHUNKED + b"0\r\nx: "), TruncatedError, "not go on as HTTP says"),
    "trailers without end": Case(flood(CHUNKED + b"0\r\n", b"x: y\r\n" * 1000), TruncatedError, "not go on as HTTP says"),
    "a chunk of 2^64 bytes": Case(flood(CHUNKED + b"10000000000000000\r\n"), TruncatedError, "not go on as HTTP says"),
    "a chunk of 2^63 bytes": Case(
        flood(CHUNKED + b"8000000000000000\r\ndata: "), APIResponseValidationError, TOO_LONG, 56
    ),
    "a chunk size without end": Case(flood(CHUNKED, b"0" * BLOCK), TruncatedError, "not go on as HTTP says"),
    "a negative length": Case(
        flood(HEAD + b"Content-Length: -1\r\n\r\n"), APIConnectionError, "does not answer in HTTP"
    ),
    "a length of 2^64": Case(
        flood(HEAD + b"Content-Length: 18446744073709551616\r\n\r\n"), APIConnectionError, "does not answer in HTTP"
    ),
    "answers of status 100 without end": Case(
        flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), APIConnectionError, "does not answer in HTTP"
    ),
    "gzip of an event": Case(bomb("gzip", EVENTS, b"data: ", ZEROS), APIResponseValidationError, TOO_LONG, 56),
    "deflate of an event": Case(bomb("deflate", EVENTS, b"data: ", ZEROS), APIResponseValidationError, TOO_LONG, 56),
    "deflate without its head": Case(
        bomb("raw", EVENTS, b"data: ", ZEROS, named="deflate"), APIResponseValidationError, TOO_LONG, 56
    ),
    "gzip of gzip": Case(
        bomb("gzip", EVENTS, b"", ZEROS, named="gzip, gzip"), APIResponseValidationError, "packed as 'gzip, gzip'"
    ),
    "brotli": Case(bomb("raw", EVENTS, b"", ZEROS, named="br"), APIResponseValidationError, "packed as 'br'"),
    "no gzip at all": Case(
        flood(HEAD + b"Content-Encoding: gzip\r\n\r\n" + FIRST), APIResponseValidationError, "cannot be unpacked"
    ),
    "gzip of an error": Case(
        bomb("gzip", b"text/plain", b"It broke. ", ZEROS, status=b"500 Oops"), InternalServerError, "It broke."
    ),
    "comments without end": Case(body(b"", b": ping\n\n" * 100), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "empty deltas without end": Case(body(b"", EMPTY * 50), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "white space without end": Case(body(b"", SPACE * 50), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "blank lines without end": Case(body(b"", b"\r\n" * 1000), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "comments without end after a chunk": Case(
        body(FIRST, b": ping\n\n" * 100), APITimeoutError, timeout=HASTY, kind="stall"
    ),
    "an answer without end, and a time": Case(
        body(FIRST, FIRST), APITimeoutError, timeout=Timeout(idle=30, total=SECONDS), kind="total"
    ),
}
BY_STOCK = {  # where httpx's own transport has no limit, one of ours ends it
    "a chunk of 2^64 bytes": ANSWERS["a chunk of 2^63 bytes"]._replace(
        script=flood(CHUNKED + b"10000000000000000\r\ndata: ")
    ),
    "a length of 2^64": ANSWERS["an event that does not end"]._replace(
        script=flood(HEAD + b"Content-Length: 18446744073709551616\r\n\r\ndata: ")
    ),
    "answers of status 100 without end": Case(
        ANSWERS["answers of status 100 without end"].script, APITimeoutError, timeout=HASTY, kind="first_chunk"
    ),
}
CLIENTS: dict[str, Callable[[], Any]] = {
    "own": open_http_client,
    "stock": lambda: httpx.AsyncClient(trust_env=False, timeout=None),
}


def asking(label: str, service: Service, **settings: Any) -> HttpProvider:
    declared = find(label)
    assert issubclass(declared, HttpProvider)
    return declared(model="m", name=NAME, api_key="key-of-mine", api_base=service.url + "v1", **settings)


async def failed(provider: HttpProvider, timeout: Timeout) -> Exception | None:
    """Read an answer to its end, and give what it failed with."""
    try:
        async with provider.stream("Hello", timeout=timeout) as stream:
            async for _ in stream:
                pass
    except Exception as error:
        return error.with_traceback(None)  # whose frames hold what was read
    return None


def assert_ended(case: Case, error: Exception | None, peak: float) -> None:
    assert isinstance(error, case.error), repr(error)
    assert case.says in str(error)
    assert error.provider == NAME
    assert len(str(error)) < 1000
    assert getattr(error, "kind", "") == case.kind
    assert peak < case.peak


@pytest.mark.anyio
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_is_too_much_ends_in_an_error(what: str, client: str) -> None:
    case = BY_STOCK.get(what, ANSWERS[what]) if client == "stock" else ANSWERS[what]
    async with Service(case.script) as service, CLIENTS[client]() as opened:
        with peak_of() as peak:
            error = await failed(asking("openai-compatible", service, http_client=opened), case.timeout)
        await service.settled()
    assert_ended(case, error, peak())
