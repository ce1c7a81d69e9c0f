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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from subprocess import run
from time import process_time
from typing import Any, NamedTuple

import anyio
import httpx
import msgspec
import pytest

from g4ftrio import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    InternalServerError,
    ProviderError,
    Timeout,
    TruncatedError,
    open_http_client,
)
from g4ftrio._framing import NDJSON, SSE, Framer, Whole, framer_for
from g4ftrio._streams import answer as _answer
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.providers import HttpProvider, find
from g4ftrio.transports._fields import Fields
from tests.faults.frames import BINARY, GOING_ON, PING, event, frame, talk
from tests.faults.wires import WIRES
from tests.transports.http1_server import Peer, Script, Service

MIB = 1 << 20
UNREADABLE = APIResponseValidationError
TALKING = tuple(name for name in WIRES if name not in ("openai-images", "openchat"))  # piece by piece, in JSON
BLOCK = 65_536
NAME = "flooding"
SECONDS = 0.1  # of every time-out here
PATIENT = Timeout(connect=30, idle=30, total=60)
HASTY = Timeout(connect=30, idle=30, first_chunk=SECONDS, total=60)
STALLING = Timeout(connect=30, idle=30, stall=SECONDS, total=60)


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


def bomb(coding: str, before: bytes, *, status: bytes = b"200 OK", named: str = "") -> Script:
    """Answer with 64 MiB that were packed; they never come to their end."""
    name = (named or coding).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: text/event-stream\r\nContent-Encoding: %b\r\n\r\n" % (status, name)
    return flood(head + packed(coding, before, b"0" * MIB, 64), b"", 1)


class Case(NamedTuple):
    """A flood, and how it ends.

    :ivar kind: of the time-out, where it ends by one
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
BAD_HEAD = "does not answer in HTTP"
BAD_BODY = "does not go on as HTTP says"

ANSWERS: dict[str, Case] = {
    "an event that does not end": Case(body(b"data: "), UNREADABLE, TOO_LONG, 56),
    "an event of many lines that does not end": Case(body(FIRST, b"data: x\n" * 8192), UNREADABLE, TOO_LONG, 56),
    "a body that does not end": Case(
        body(b'{"choices": [', b'"x", ' * 13_000), UNREADABLE, "longer than 67,108,864 bytes", 160
    ),
    "a web page that does not end": Case(body(b"<!doctype html><title>Wait</title>"), UNREADABLE, "Wait"),
    "a page without a title": Case(body(b"<html>", b"<p>" * 1000), UNREADABLE, "a web page came"),
    "an error body of a GiB": Case(
        flood(b"HTTP/1.1 500 Oops\r\nContent-Length: 1073741824\r\n\r\nIt broke. "), InternalServerError, "It broke."
    ),
    "10,000 headers": Case(
        flood(HEAD, b"".join(b"x-header-%d: some value\r\n" % number for number in range(10_000)) + b"\r\n", 1),
        APIConnectionError,
        BAD_HEAD,
    ),
    "headers without end": Case(flood(HEAD, b"x-header: x\r\n" * 1000), APIConnectionError, BAD_HEAD),
    "a header without end": Case(flood(HEAD + b"x: "), APIConnectionError, BAD_HEAD),
    "a status line without end": Case(flood(b"HTTP/1.1 200 "), APIConnectionError, BAD_HEAD),
    "a chunk extension without end": Case(flood(CHUNKED + b"5;x="), TruncatedError, BAD_BODY),
    "chunk extensions without end": Case(flood(CHUNKED + b"5", b";x=y" * 1000), TruncatedError, BAD_BODY),
    "a trailer without end": Case(flood(CHUNKED + b"0\r\nx: "), TruncatedError, BAD_BODY),
    "trailers without end": Case(flood(CHUNKED + b"0\r\n", b"x: y\r\n" * 1000), TruncatedError, BAD_BODY),
    "a chunk of 2^64 bytes": Case(flood(CHUNKED + b"10000000000000000\r\n"), TruncatedError, BAD_BODY),
    "a chunk of 2^63 bytes": Case(flood(CHUNKED + b"8000000000000000\r\ndata: "), UNREADABLE, TOO_LONG, 56),
    "a chunk size without end": Case(flood(CHUNKED, b"0" * BLOCK), TruncatedError, BAD_BODY),
    "a negative length": Case(flood(HEAD + b"Content-Length: -1\r\n\r\n"), APIConnectionError, BAD_HEAD),
    "a length of 2^64": Case(
        flood(HEAD + b"Content-Length: 18446744073709551616\r\n\r\n"), APIConnectionError, BAD_HEAD
    ),
    "answers of status 100 without end": Case(
        flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), APIConnectionError, BAD_HEAD
    ),
    "gzip of an event": Case(bomb("gzip", b"data: "), UNREADABLE, TOO_LONG, 56),
    "deflate of an event": Case(bomb("deflate", b"data: "), UNREADABLE, TOO_LONG, 56),
    "deflate without its head": Case(bomb("raw", b"data: ", named="deflate"), UNREADABLE, TOO_LONG, 56),
    "gzip of gzip": Case(bomb("gzip", b"", named="gzip, gzip"), UNREADABLE, "packed as 'gzip, gzip'"),
    "brotli": Case(bomb("raw", b"", named="br"), UNREADABLE, "packed as 'br'"),
    "no gzip at all": Case(flood(HEAD + b"Content-Encoding: gzip\r\n\r\n" + FIRST), UNREADABLE, "cannot be unpacked"),
    "gzip of an error": Case(bomb("gzip", b"It broke. ", status=b"500 Oops"), InternalServerError, "It broke."),
    "comments without end": Case(body(b"", b": ping\n\n" * 100), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "empty deltas without end": Case(body(b"", EMPTY * 50), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "white space without end": Case(body(b"", SPACE * 50), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "blank lines without end": Case(body(b"", b"\r\n" * 1000), APITimeoutError, timeout=HASTY, kind="first_chunk"),
    "comments without end after a chunk": Case(
        body(FIRST, b": ping\n\n" * 100), APITimeoutError, timeout=STALLING, kind="stall"
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


HEAVY = ("a body that does not end", "an event of many lines that does not end", "a chunk of 2^63 bytes")


def cases(table: dict[str, Case]) -> list[Any]:
    """Ask with both clients; in the short form with our own, and leave out what takes long."""
    both = [(what, client) for what in table for client in CLIENTS]
    heavy = {(what, client) for what, client in both if client == "stock" or what in HEAVY}
    marks = {True: [pytest.mark.long], False: []}
    return [pytest.param(*each, marks=marks[each in heavy], id=", ".join(each)) for each in both]


@pytest.mark.anyio
@pytest.mark.parametrize(("what", "client"), cases(ANSWERS))
async def test_an_answer_that_is_too_much_ends_in_an_error(what: str, client: str) -> None:
    case = BY_STOCK.get(what, ANSWERS[what]) if client == "stock" else ANSWERS[what]
    async with Service(case.script) as service, CLIENTS[client]() as opened:
        with peak_of() as peak:
            error = await failed(asking("openai-compatible", service, http_client=opened), case.timeout)
        await service.settled()
    assert_ended(case, error, peak())


@pytest.fixture
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is 256 MiB outside is 1 here."""
    monkeypatch.setattr(_answer, "MAX_ANSWER", MIB)


@pytest.mark.anyio
@pytest.mark.usefixtures("small_answers")
async def test_an_answer_that_does_not_end_reaches_a_limit() -> None:
    case = Case(body(b"", FIRST * 1000), UNREADABLE, "an answer of more than 1 MiB", 24)
    async with Service(case.script) as service:
        with peak_of() as peak:
            error = await failed(asking("openai-compatible", service), PATIENT)
        await service.settled()
    assert_ended(case, error, peak())


# --- in a process of its own, as the system counts ---

WHOLE = Case(body(b"", FIRST * 1000), UNREADABLE, "an answer of more than 256 MiB")
GROWTH = {
    "an event that does not end": 96,
    "gzip of an event": 96,
    "a body that does not end": 256,
    "an error body of a GiB": 24,
    "a web page that does not end": 24,
    "headers without end": 24,
    "comments without end": 24,
    "answers of status 100 without end": 24,
    "an answer of 256 MiB": 512,
}  # MiB


def alone(backend: str, what: str) -> None:
    """Ask once, and print by how many KiB the process has grown; called in a process of its own."""
    import resource

    async def ask(case: Case) -> Exception | None:
        async with Service(case.script) as service:
            return await failed(asking("openai-compatible", service), case.timeout)

    anyio.run(ask, ANSWERS["a negative length"], backend=backend)  # so that everything is imported
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case = ANSWERS.get(what, WHOLE)
    error = anyio.run(ask, case, backend=backend)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert isinstance(error, case.error)
    assert case.says in str(error)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is the system's")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("what", GROWTH)
def test_a_process_grows_no_further_than_this(what: str, backend: str) -> None:
    call = f"from tests.faults.test_sizes import alone; alone({backend!r}, {what!r})"
    done = run([sys.executable, "-c", call], capture_output=True, check=True, text=True)
    assert int(done.stdout) < GROWTH[what] * 1024


# --- over sockets, WebSockets ---

PIECE = event(type="response.output_text.delta", delta="Hello")
PARAGRAPH = event(type="response.output_text.delta", delta="Hello" * 500)
MESSAGES: dict[str, Case] = {
    "a message of 64 MiB": Case(talk(frame(b"", length=64 * MIB), MANY), UNREADABLE, "more than 16 MiB"),
    "a message of 2^63 bytes": Case(talk(frame(b"", length=1 << 63), MANY), UNREADABLE),
    "fragments without end": Case(
        talk(frame(b"{", fin=False), frame(MANY, GOING_ON, fin=False)),
        UNREADABLE,
        "more than 16 MiB",
        56,
    ),
    "empty fragments without end": Case(
        talk(frame(b"{", fin=False), frame(b"", GOING_ON, fin=False) * 1000),
        APITimeoutError,
        "",
        8,
        HASTY,
        "first_chunk",
    ),
    "a message that is packed": Case(talk(frame(zlib.compress(bytes(MIB)), rsv=4)), UNREADABLE, "no WebSocket frames"),
    "pings without end, and nobody who reads the answers": Case(
        talk(b"", frame(b"?" * 125, PING) * 100), APITimeoutError, "", 8, HASTY, "first_chunk"
    ),
    "events without end that say nothing": Case(
        talk(b"", event(type="session.updated") * 100), APITimeoutError, "", 8, HASTY, "first_chunk"
    ),
    "events without end after a piece of text": Case(
        talk(PIECE, event(type="session.updated") * 100), APITimeoutError, "", 8, STALLING, "stall"
    ),
    "an answer without end": Case(talk(b"", PARAGRAPH * 100), UNREADABLE, "more than 1 MiB", 24),
    "bytes without end": Case(talk(b"", frame(MANY, BINARY)), UNREADABLE, "", 8),
    "no UTF-8": Case(talk(frame(b'{"type": "\xff"}')), UNREADABLE),
    "no frames": Case(talk(b"", MANY), UNREADABLE, "no WebSocket frames"),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("what", "client"), cases(MESSAGES))
@pytest.mark.usefixtures("small_answers")
async def test_a_socket_that_says_too_much_ends_in_an_error(what: str, client: str) -> None:
    case = MESSAGES[what]
    async with Service(case.script) as service, CLIENTS[client]() as opened:
        with peak_of() as peak:
            error = await failed(asking("openai-realtime", service, http_client=opened), case.timeout)
        await service.settled()
    assert_ended(case, error, peak())


# --- over sockets, much that is right ---


@pytest.mark.anyio
@pytest.mark.parametrize("thousands", [10, pytest.param(100, marks=pytest.mark.long)])
async def test_an_answer_of_very_many_events_is_whole(thousands: int) -> None:
    async with Service(flood(HEAD + b"\r\n", FIRST * 1000, thousands)) as service:
        provider = asking("openai-compatible", service)
        with pytest.raises(APITimeoutError):
            async with provider.stream("Hello", timeout=Timeout(idle=SECONDS)) as stream:
                await stream.collect()
    assert stream.text == "Hello" * 1000 * thousands


# --- in the decoders ---

Load = Callable[[], object]


def batches(frames: list[bytes], size: int = 100) -> Iterator[list[bytes]]:
    return (frames[start : start + size] for start in range(0, len(frames), size))


def decoding(name: str, frames: list[bytes], size: int = 100) -> Load:
    """Read frames as they come from the network, so many at a time."""

    def run() -> list[Any]:
        decoder = WIRES[name].decoder()
        chunks = [chunk for batch in batches(frames, size) for chunk in decoder.feed(batch)]
        return chunks + decoder.close()

    return run


def framing(framer: Callable[[], Framer], reads: Callable[[], Iterator[bytes]]) -> Load:
    """Cut reads into frames, up to what is too long."""

    def run() -> list[bytes]:
        made, frames = framer(), []
        with suppress(UNREADABLE):
            for data in reads():
                frames += made.feed(data)
            frames += made.close()
        return frames

    return run


def piece_of(name: str) -> bytes:
    """Find an event on the wire's tapes that is a piece of text and nothing else."""
    for answer in WIRES[name].answers():
        for each in answer:
            decoder = WIRES[name].decoder()
            chunks = decoder.feed([each])
            if chunks and all(isinstance(chunk, str) for chunk in chunks) and not (decoder.done or decoder.error):
                return each
    raise AssertionError(f"there is none on the tapes of {name}")


def pieces(name: str, size: int, n: int) -> Load:
    return decoding(name, [piece_of(name)] * n, size)


def calls(n: int, *, at: Callable[[int], int], arguments: str) -> list[bytes]:
    """Give so many pieces of tool calls."""
    function = {"name": "f", "arguments": arguments}
    deltas = ({"tool_calls": [{"index": at(number), "function": function}]} for number in range(n))
    return [msgspec.json.encode({"choices": [{"delta": delta}]}) for delta in deltas]


def one_event(name: str, **fields: Any) -> Load:
    return decoding(name, [msgspec.json.encode(fields)])


BLOCKS = [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]
SAID = [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}]
PART = [{"functionCall": {"name": "f"}, "thoughtSignature": "x"}]
CHOICE = [{"index": 0, "delta": {"content": "x"}}]

LOADS: dict[str, Callable[[int], Load]] = {
    **{f"events, {name}": partial(lambda name, n: decoding(name, [piece_of(name)] * n), name) for name in TALKING},
    **{
        f"events one by one, {name}": partial(lambda name, n: decoding(name, [piece_of(name)] * n, 1), name)
        for name in TALKING
    },
    "calls": lambda n: decoding("openai-compatible", calls(n, at=int, arguments="{}")),
    "pieces of a call": lambda n: decoding("openai-compatible", calls(n, at=lambda _: 0, arguments="x")),
    "white space, and pieces of a call": lambda n: decoding(
        "openai-compatible", calls(1, at=int, arguments=" " * 200 * n) + calls(n, at=lambda _: 0, arguments="")
    ),
    "choices of one event": lambda n: one_event("openai-compatible", choices=CHOICE * n),
    "blocks of one answer": lambda n: one_event(
        "anthropic", type="message", content=BLOCKS * n, stop_reason="tool_use"
    ),
    "parts of one event": lambda n: one_event("gemini", candidates=[{"content": {"parts": PART * n}}]),
    "items of one answer": lambda n: one_event("openai-responses", object="response", output=SAID * n),
    "errors of one error": lambda n: lambda: read_error(msgspec.json.encode({"errors": ["x"] * n, "loc": ["x"] * n})),
    "words of an error": lambda n: lambda: read_error(b"x " * n),
    "titles of a page": lambda n: lambda: read_error(b"<" + b"<title>" * n),
    "an endless title": lambda n: lambda: read_error(b"<title" + b" title" * n),
    "names of a list": lambda n: lambda: read_models(msgspec.json.encode([{"id": str(each)} for each in range(n)])),
    "fields of an event": lambda n: framing(SSE, lambda: iter([b"id: x\n" * n + b"data: x\n\n"])),
    "data of an event": lambda n: framing(SSE, lambda: iter([b"data: x\n"] * n)),
    "lines with a CR": lambda n: framing(SSE, lambda: iter([b"data: x\r"] * n)),
    "byte by byte": lambda n: framing(SSE, lambda: iter([b"x"] * n)),
    "a line": lambda n: framing(NDJSON, lambda: iter([b"x" * 100] * n)),
    "a body": lambda n: framing(Whole, lambda: iter([b"x" * 100] * n)),
    "white space before anything": lambda n: framing(lambda: framer_for(""), lambda: iter([b" " * 1000] * n)),
    "the beginning of a page": lambda n: framing(lambda: framer_for(""), lambda: iter([b"<", *[b" "] * n])),
    "header fields of one name": lambda n: lambda: Fields([(b"x", b"y")] * n),
}
MANY_OF = 10_000  # in the short form
KIB_FOR_ONE = 4  # a generous bound: what is kept of the smallest event is a tenth


@pytest.mark.parametrize("what", LOADS)
def test_memory_grows_with_what_came_and_no_faster(what: str) -> None:
    load = LOADS[what](MANY_OF // 10)
    with peak_of() as peak:
        load()
    assert peak() * 1024 < KIB_FOR_ONE * MANY_OF


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"choices":[', b'{"error":['], ids=repr)
def test_brackets_without_end_are_a_typed_error(name: str, opening: bytes) -> None:
    decoder = WIRES[name].decoder()
    with peak_of() as peak:
        decoder.feed([opening + b"[" * 100_000])
        decoder.close()
    assert decoder.error is None if name == "openchat" else isinstance(decoder.error, ProviderError)
    assert peak() < 4


@pytest.mark.long
@pytest.mark.parametrize("what", LOADS)
def test_time_grows_with_what_came_and_no_faster(what: str) -> None:
    """Four times as much takes less than eight times as long: a quadratic load would take sixteen times."""
    small, large = (LOADS[what](n) for n in (MANY_OF, 4 * MANY_OF))
    ratio = min(_seconds_of(large) / max(_seconds_of(small), 1e-4) for _ in range(3))
    assert ratio < 8


def _seconds_of(load: Load) -> float:
    began = process_time()
    load()
    return process_time() - began


@pytest.mark.long
def test_a_load_that_is_quadratic_would_be_found() -> None:
    def quadratic(n: int) -> Load:
        return lambda: [sum(range(n)) for _ in range(n)]

    small, large = (min(_seconds_of(quadratic(n)) for _ in range(3)) for n in (300, 1200))
    assert large / small > 8
