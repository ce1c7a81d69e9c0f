"""Requests over httpx: against servers on loopback that speak scripted bytes, and against transports that do not."""

from __future__ import annotations

import gc
import gzip
import socket
import ssl
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

from g4ftrio._words.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    Error,
    RateLimitError,
    SetupError,
    TruncatedError,
)
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call
from g4ftrio._words.timeouts import Timeout
from g4ftrio.transports import http
from g4ftrio.transports._translation import Watch
from g4ftrio.transports.http import Response, checked, open_http_client, send

LIMITS = Timeout(connect=5, idle=5)
KEY = "sk-very-secret"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


# --- a server that speaks scripted bytes ---

HANG, CUT, RESET = "hang", "cut", "reset"
Step = bytes | float | str


class Server:
    """Answers each request with the next script, the last for ever: bytes to send, seconds to wait, a way to end."""

    def __init__(self, scripts: Sequence[Sequence[Step]], port: int) -> None:
        self.scripts = list(scripts)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = anyio.Event()

    async def serve(self, stream: Any) -> None:
        self.connections += 1
        async with stream:
            try:
                while True:
                    self.requests.append(await read_request(stream))
                    script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                    for step in script:
                        await self.play(stream, step)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.gone.set()

    async def play(self, stream: Any, step: Step) -> None:
        match step:
            case bytes():
                await stream.send(step)
            case float():
                await anyio.sleep(step)
            case "hang":
                await stream.receive()
            case "reset":
                raw = stream.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.aclose()
                raise anyio.ClosedResourceError
            case "cut":
                await stream.aclose()
                raise anyio.ClosedResourceError


async def read_request(stream: Any) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while lengths and len(body) < int(lengths[0]):
        body += await stream.receive()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(*scripts: Sequence[Step], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Server(scripts, listener.extra(SocketAttribute.local_port))
    serve = TLSListener(listener, tls, standard_compatible=False).serve if tls else listener.serve
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()


def post(url: str, **headers: str) -> Call:
    return Call(
        method="POST",
        url=f"{url}/v1/chat",
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers},
        body=b'{"stream":true}',
    )


def get(url: str) -> Call:
    return Call(method="GET", url=f"{url}/v1/models", headers={"authorization": f"Bearer {KEY}"})


@asynccontextmanager
async def answering(
    *scripts: Sequence[Step], client: httpx.AsyncClient | None = None, timeout: Timeout = LIMITS
) -> AsyncIterator[tuple[Response, Server]]:
    async with serving(*scripts) as server, client or open_http_client() as http_client:
        response = await send(http_client, post(server.url), timeout=timeout)
        try:
            yield response, server
        finally:
            await response.aclose()


def mocked(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return open_http_client(transport=httpx.MockTransport(handler))


class Notes:
    """A handler of requests that keeps them, and answers 200."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200)


class Pieces(httpx.AsyncByteStream):
    """A body that gives pieces, raises the errors among them, and knows whether it was closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


async def all_of(response: Response) -> list[bytes]:
    pieces = []
    while piece := await response.pull():
        pieces.append(piece)
    return pieces


def clean_client() -> httpx.AsyncClient:
    return httpx.AsyncClient()


EITHER_CLIENT = pytest.mark.parametrize("opened", [open_http_client, clean_client])


# --- the client ---


def test_the_module_does_not_load_httpx() -> None:
    code = "import sys, g4ftrio.transports.http; sys.exit('httpx' in sys.modules or 'trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_tls_context_is_built_once_for_all_clients_and_their_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[bool] = []

    def create(*, trust_env: bool) -> ssl.SSLContext:
        built.append(trust_env)
        return ssl.create_default_context()

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr(httpx, "create_ssl_context", create)
    http._tls_context.cache_clear()
    open_http_client()
    open_http_client()
    http._tls_context.cache_clear()
    assert built == [True]


@pytest.mark.anyio
async def test_a_call_is_sent_as_it_is() -> None:
    with respx.mock:
        route = respx.post("https://api.test/v1/chat").respond(200, text="hi")
        async with open_http_client(transport=httpx.AsyncHTTPTransport()) as client:  # what respx steps in for
            response = await send(client, post("https://api.test"), timeout=LIMITS)
            assert await response.read() == b"hi"
            await response.aclose()
    request = route.calls.last.request
    assert request.content == b'{"stream":true}'
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("g4ftrio/")
    assert request.extensions["timeout"] == {"connect": 5, "pool": 5, "write": 5, "read": 5}


@pytest.mark.anyio
async def test_a_limit_that_is_infinite_is_none_for_httpx() -> None:
    notes = Notes()
    async with mocked(notes) as client:
        await (await send(client, get("http://api.test"), timeout=Timeout(connect=None, idle=7))).aclose()
    assert notes.requests[0].extensions["timeout"] == {"connect": None, "pool": None, "write": 7, "read": 7}


@pytest.mark.anyio
async def test_headers_of_a_client_and_of_a_call_come_before_the_defaults() -> None:
    notes = Notes()
    async with open_http_client(transport=httpx.MockTransport(notes), headers={"User-Agent": "mine"}) as client:
        call = post("http://api.test", **{"Accept-Encoding": "gzip"})
        await (await send(client, call, timeout=LIMITS)).aclose()
    assert notes.requests[0].headers.get_list("user-agent") == ["mine"]
    assert notes.requests[0].headers.get_list("accept-encoding") == ["gzip"]


@pytest.mark.parametrize("proxy", ["user:secret@proxy:3128", "ftp://user:secret@proxy", "http://user:secret@proxy:x"])
def test_a_proxy_that_is_no_url_is_a_setup_error_that_does_not_show_its_password(proxy: str) -> None:
    with pytest.raises(SetupError, match="proxy") as caught:
        open_http_client(proxy=proxy)
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    with pytest.raises(SetupError, match="http2"):
        open_http_client(http2=True)


@pytest.mark.anyio
async def test_requests_go_through_a_proxy() -> None:
    async with serving([PLAIN]) as proxy, open_http_client(proxy=proxy.url) as client:
        response = await send(client, get("http://api.invalid"), timeout=LIMITS)
        assert await response.read() == b"ok"
        await response.aclose()
    assert proxy.requests[0].startswith(b"GET http://api.invalid/v1/models HTTP/1.1\r\n")


@pytest.mark.anyio
async def test_requests_go_through_a_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving([PLAIN]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with open_http_client() as client:
            await (await send(client, get("http://api.invalid"), timeout=LIMITS)).drain()
    assert len(proxy.requests) == 1


@pytest.mark.anyio
async def test_an_error_names_the_proxy_where_it_is_the_proxy_that_fails() -> None:
    port = unused_port()
    async with open_http_client(proxy=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port} refused the connection"):
            await send(client, get("https://api.invalid"), timeout=LIMITS)


@pytest.mark.anyio
async def test_a_proxy_that_refuses_to_connect_is_named() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with serving([refusal]) as proxy, open_http_client(proxy=proxy.url) as client:
        with pytest.raises(APIConnectionError, match=f"the proxy 127.0.0.1:{proxy.port} did not connect: 407"):
            await send(client, get("https://api.invalid"), timeout=LIMITS)


# --- an answer ---


@EITHER_CLIENT
@pytest.mark.anyio
async def test_the_head_is_there_before_the_body_and_the_body_comes_in_pieces(
    opened: Callable[[], httpx.AsyncClient],
) -> None:
    async with answering([CHUNKED, 0.01, HELLO, 0.01, b"1\r\n!\r\n", END], client=opened()) as (response, server):
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await all_of(response) == [b"hello", b"!"]
        assert await response.pull() == b""
        assert server.requests[0].endswith(b'\r\n\r\n{"stream":true}')


@pytest.mark.anyio
async def test_content_type_has_no_parameters_and_the_request_has_an_id() -> None:
    head = {"content-type": "Text/Event-Stream; charset=utf-8", "x-request-id": "req_1", "retry-after": "2"}
    async with mocked(lambda _: httpx.Response(200, headers=head)) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        await response.aclose()
    assert (response.content_type, response.request_id, response.retry_after) == ("text/event-stream", "req_1", 2.0)
    assert repr(response) == "<Response 200 closed>"


@pytest.mark.anyio
async def test_a_compressed_body_is_unpacked_even_though_nobody_asked_for_it() -> None:
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with answering([head + packed]) as (response, _):
        assert await response.read() == b"hello"


@pytest.mark.anyio
async def test_reading_stops_at_a_limit() -> None:
    async with answering([CHUNKED, HELLO, HELLO, END]) as (response, _):
        assert await response.read(limit=7) == b"hellohe"


@EITHER_CLIENT
@pytest.mark.anyio
async def test_a_report_says_when_it_connected_once_and_how_many_bytes_came(
    opened: Callable[[], httpx.AsyncClient],
) -> None:
    async with serving([PLAIN]) as server, opened() as client:
        one, two = EntrantReport(name="one"), EntrantReport(name="two")
        one.clock, two.clock = iter([1.0, 2.0]).__next__, lambda: 3.0
        for record in (one, two):
            await (await send(client, post(server.url), timeout=LIMITS, record=record)).drain()
    assert (one.connected_at, one.first_byte_at, one.bytes) == (1.0, 2.0, 2)
    assert (two.connected_at, two.first_byte_at, two.bytes) == (None, 3.0, 2)


@pytest.mark.anyio
async def test_over_tls_it_is_connected_after_the_handshake() -> None:
    events = iter([10.0, 20.0, 30.0])
    record = EntrantReport(name="one", clock=events.__next__)
    async with serving([PLAIN], tls=server_tls()) as server, open_http_client(verify=client_tls()) as client:
        await (await send(client, get(f"https://localhost:{server.port}"), timeout=LIMITS, record=record)).drain()
    assert (record.connected_at, record.first_byte_at) == (10.0, 20.0)


# --- leaving early ---


@EITHER_CLIENT
@pytest.mark.parametrize("pieces", [0, 1, 3])
@pytest.mark.anyio
async def test_an_answer_that_is_left_early_leaves_nothing_behind(
    pieces: int, opened: Callable[[], httpx.AsyncClient]
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with answering([CHUNKED, HELLO * 5, HANG], client=opened()) as (response, server):
            got = b""
            while len(got) < 5 * pieces:
                got += await response.pull()
            await response.aclose()
            with anyio.fail_after(5):
                await server.gone.wait()
            await response.aclose()
        del response
        gc.collect()
        await anyio.lowlevel.checkpoint()
    assert [str(one.message) for one in warned] == []


@pytest.mark.anyio
async def test_a_response_can_be_closed_inside_a_cancelled_scope() -> None:
    async with answering([CHUNKED, HELLO, HANG]) as (response, server):
        assert await response.pull() == b"hello"
        with anyio.CancelScope() as scope:
            scope.cancel()
            await response.aclose()
        with anyio.fail_after(5):
            await server.gone.wait()


@pytest.mark.parametrize("close", ["aclose", "close_now"])
@pytest.mark.anyio
async def test_closing_from_another_task_ends_a_read(close: str) -> None:
    errors: list[type[BaseException]] = []

    async def read(response: Response) -> None:
        try:
            await response.pull()
        except Exception as error:
            errors.append(type(error))

    async with answering([CHUNKED, HANG]) as (response, server), anyio.create_task_group() as tasks:
        tasks.start_soon(read, response)
        await anyio.wait_all_tasks_blocked()
        if close == "aclose":
            await response.aclose()
        else:
            response.close_now()
        with anyio.fail_after(5):
            await server.gone.wait()
    assert errors == [anyio.ClosedResourceError]


@pytest.mark.anyio
async def test_close_now_shuts_the_connection_down_without_waiting_and_aclose_may_follow() -> None:
    async with answering([CHUNKED, HELLO, HANG]) as (response, server):
        assert await response.pull() == b"hello"
        response.close_now()
        with anyio.fail_after(5):
            await server.gone.wait()
        with pytest.raises(anyio.ClosedResourceError):
            await response.pull()


@pytest.mark.anyio
async def test_close_now_after_the_end_does_not_harm_the_next_request() -> None:
    async with serving([PLAIN]) as server, open_http_client() as client:
        for _ in range(2):
            response = await send(client, post(server.url), timeout=LIMITS)
            assert await response.read() == b"ok"
            assert await response.pull() == b""
            response.close_now()
    assert server.connections == 1


@pytest.mark.anyio
async def test_close_now_is_quiet_where_there_is_no_socket() -> None:
    async with mocked(lambda _: httpx.Response(200, stream=Pieces(b"a", b"b"))) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        response.close_now()
        await response.aclose()


@pytest.mark.anyio
async def test_after_a_cancelled_read_of_httpx_there_is_an_error_and_never_an_end() -> None:
    async with answering([CHUNKED, HELLO, HANG], client=httpx.AsyncClient()) as (response, server):
        assert response.repeatable is False
        assert await response.pull() == b"hello"
        with anyio.move_on_after(0.02) as scope:
            await response.pull()
        assert scope.cancelled_caught
        for _ in range(2):
            with pytest.raises(anyio.BrokenResourceError, match="cancelled"):
                await response.pull()
        with anyio.fail_after(5):
            await server.gone.wait()


@pytest.mark.anyio
async def test_a_cancelled_read_of_our_own_transport_loses_nothing() -> None:
    async with answering([CHUNKED, HELLO, 0.1, HELLO, END]) as (response, _):
        assert response.repeatable is True
        assert await response.pull() == b"hello"
        with anyio.move_on_after(0.02) as scope:
            await response.pull()
        assert scope.cancelled_caught
        assert await all_of(response) == [b"hello"]


@pytest.mark.anyio
async def test_a_request_that_is_cancelled_before_the_head_closes_its_connection() -> None:
    async with serving([HANG]) as server, open_http_client() as client:
        with anyio.move_on_after(0.05):
            await send(client, post(server.url), timeout=LIMITS)
        with anyio.fail_after(5):
            await server.gone.wait()


async def until_closed(response: Response) -> None:
    with suppress(anyio.ClosedResourceError):
        await response.pull()


@pytest.mark.anyio
async def test_a_second_reader_is_told_that_somebody_reads() -> None:
    async with answering([CHUNKED, HANG]) as (response, _), anyio.create_task_group() as tasks:
        tasks.start_soon(until_closed, response)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await response.pull()
        await response.aclose()


@pytest.mark.anyio
async def test_a_stream_of_a_foreign_transport_is_closed_too() -> None:
    stream = Pieces(b"a", b"b", b"c")
    async with mocked(lambda _: httpx.Response(200, stream=stream)) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        assert await response.pull() == b"a"
        await response.aclose()
    assert stream.closed


# --- the end of an answer ---


@pytest.mark.anyio
async def test_a_drained_connection_is_kept_although_its_end_comes_late() -> None:
    async with serving([CHUNKED, HELLO, 0.005, END]) as server, open_http_client() as client:
        for _ in range(2):
            response = await send(client, post(server.url), timeout=LIMITS)
            assert await response.pull() == b"hello"
            await response.drain(seconds=5)
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    "tail", [[HELLO, HANG], [HELLO, 0.01] * 1000, [HELLO * 20_000, HANG], [0.02, b"nonsense\r\n", HANG]]
)
@pytest.mark.anyio
async def test_draining_gives_up_on_a_body_that_does_not_end(tail: list[Step]) -> None:
    async with answering([CHUNKED, *tail]) as (response, server):
        with anyio.fail_after(5):
            await response.drain()
            await server.gone.wait()


@pytest.mark.anyio
async def test_draining_that_is_cancelled_closes() -> None:
    body = OwnBody(b"a")
    async with owning(body) as response:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await response.drain()
        assert body.closed == 1


# --- a body of a transport of our own ---


class OwnBody:
    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.closed = 0
        self.shut = 0

    async def pull(self, until: float = 1e9) -> bytes:
        await anyio.lowlevel.checkpoint()
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed += 1

    def close_now(self) -> None:
        self.shut += 1


@asynccontextmanager
async def owning(body: OwnBody, **headers: str) -> AsyncIterator[Response]:
    def handler(_: httpx.Request) -> httpx.Response:
        stream = Pieces(b"through httpx's generators")
        return httpx.Response(200, headers=headers, stream=stream, extensions={"g4ftrio_body": body})

    async with mocked(handler) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        yield response
        await response.aclose()


@pytest.mark.anyio
async def test_a_body_of_our_own_is_read_past_httpx() -> None:
    body = OwnBody(b"a", b"b", b"")
    async with owning(body) as response:
        assert response.repeatable is True
        assert await all_of(response) == [b"a", b"b"]
    assert (body.closed, body.shut) == (1, 0)


@pytest.mark.anyio
async def test_a_cancelled_read_of_a_body_of_our_own_may_be_repeated() -> None:
    async with owning(OwnBody(b"a", b"")) as response:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await response.pull()
        assert await all_of(response) == [b"a"]


@pytest.mark.anyio
async def test_a_body_of_our_own_is_translated_closed_and_shut_like_any_other() -> None:
    body = OwnBody(b"a", httpx.ReadError("reset"))
    async with owning(body) as response:
        assert await response.pull() == b"a"
        with pytest.raises(TruncatedError):
            await response.pull()
        with pytest.raises(anyio.BrokenResourceError):
            await response.pull()
        response.close_now()
    assert (body.closed, body.shut) == (1, 1)


@pytest.mark.anyio
async def test_a_body_of_our_own_is_unpacked() -> None:
    packed = gzip.compress(b"hello")
    async with owning(OwnBody(packed[:15], packed[15:], b""), **{"content-encoding": "gzip"}) as response:
        assert response.repeatable is True
        assert await response.read() == b"hello"


# --- time-outs ---


@pytest.mark.parametrize("script", [[HANG], [CHUNKED, HELLO, HANG]])
@pytest.mark.anyio
async def test_silence_before_or_after_the_head_is_idle(script: list[Step]) -> None:
    async with serving(script) as server, open_http_client() as client:
        with pytest.raises(APITimeoutError) as caught:
            await all_of(await send(client, post(server.url), timeout=Timeout(idle=0.05)))
    assert (caught.value.kind, caught.value.seconds) == ("idle", 0.05)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == "no byte came within 0.05 s (timeout idle=0.05)"


@pytest.mark.anyio
async def test_a_full_pool_is_a_connect_time_out_that_says_so() -> None:
    async with (
        serving([CHUNKED, HANG]) as server,
        open_http_client(limits=httpx.Limits(max_connections=1)) as client,
    ):
        first = await send(client, post(server.url), timeout=LIMITS)
        with pytest.raises(APITimeoutError, match="every connection that the HTTP client may have") as caught:
            await send(client, post(server.url), timeout=Timeout(connect=0.05))
        assert caught.value.kind == "connect"
        await first.aclose()


# --- the table of errors ---


def chain(error: Exception, *causes: Exception) -> Exception:
    error.__cause__ = chain(*causes) if causes else None
    return error


CONNECT = httpx.ConnectError("All connection attempts failed")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"
WRONG_TLS = ssl.SSLError(1, "x")
WRONG_TLS.reason = "WRONG_VERSION_NUMBER"
GROUP = ExceptionGroup("tried", [OSError(113, "No route to host"), ConnectionRefusedError(111, "refused")])
BAD_STATUS = httpx.HTTPStatusError("bad", request=httpx.Request("GET", "http://x"), response=httpx.Response(429))

BEFORE_THE_HEAD: list[tuple[Exception, type[Error], str]] = [
    (httpx.ConnectTimeout(""), APITimeoutError, "no connection within 5 s (timeout connect=5)"),
    (httpx.WriteTimeout(""), APITimeoutError, "no byte came within 5 s (timeout idle=5)"),
    (CONNECT, APIConnectionError, "api.test:80 cannot be reached"),
    (
        chain(httpx.ConnectError(""), OSError(101, "Network is unreachable")),
        APIConnectionError,
        "Network is unreachable",
    ),
    (chain(httpx.ConnectError(""), OSError("all failed"), GROUP), APIConnectionError, "refused the connection. Check"),
    (
        chain(httpx.ConnectError(""), socket.gaierror(-2, "x")),
        APIConnectionError,
        "the name api.test could not be found",
    ),
    (chain(httpx.ConnectError(""), UNTRUSTED), APIConnectionError, "was not accepted: self-signed certificate"),
    (chain(httpx.ConnectError(""), WRONG_TLS), APIConnectionError, "TLS with api.test failed: wrong version number"),
    (httpx.ProxyError("407 Nope"), APIConnectionError, "the proxy api.test:80 did not connect: 407 Nope"),
    (httpx.ReadError("x"), APIConnectionError, "closed the connection without an answer"),
    (httpx.WriteError("x"), APIConnectionError, "closed the connection without an answer"),
    (
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        APIConnectionError,
        "without an answer",
    ),
    (httpx.RemoteProtocolError("illegal status line"), APIConnectionError, "does not answer in HTTP"),
    (httpx.LocalProtocolError(f"Illegal header value {KEY}"), APIConnectionError, "does not answer in HTTP"),
    (httpx.UnsupportedProtocol("Unsupported"), SetupError, "api_base is no URL"),
    (httpx.InvalidURL("URL too long"), SetupError, "api_base is no URL: URL too long"),
    (UnicodeError("label too long"), SetupError, "api_base is no URL"),
    (BAD_STATUS, RateLimitError, "too many requests (status 429)"),
]


@pytest.mark.parametrize(("error", "kind", "words"), BEFORE_THE_HEAD, ids=lambda value: type(value).__name__)
@pytest.mark.anyio
async def test_an_error_before_the_head_is_translated(error: Exception, kind: type[Error], words: str) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    async with mocked(handler) as client:
        with pytest.raises(kind) as caught:
            await send(client, get("http://api.test"), timeout=LIMITS)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is error


IN_THE_BODY: list[tuple[Exception, type[Error]]] = [
    (httpx.ReadError("reset"), TruncatedError),
    (httpx.RemoteProtocolError("incomplete chunked read"), TruncatedError),
    (httpx.ReadTimeout(""), APITimeoutError),
    (httpx.DecodingError("bad gzip"), APIResponseValidationError),
]


@pytest.mark.parametrize(("error", "kind"), IN_THE_BODY, ids=lambda value: type(value).__name__)
@pytest.mark.anyio
async def test_an_error_in_the_body_is_translated(error: Exception, kind: type[Error]) -> None:
    async with mocked(lambda _: httpx.Response(200, stream=Pieces(b"a", error))) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        assert await response.pull() == b"a"
        with pytest.raises(kind) as caught:
            await response.pull()
        assert caught.value.__cause__ is error
        with pytest.raises(anyio.BrokenResourceError):
            await response.pull()
        await response.aclose()


@pytest.mark.anyio
async def test_what_is_not_of_httpx_is_raised_as_it_is() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    async with mocked(handler) as client:
        with pytest.raises(ZeroDivisionError):
            await send(client, get("http://api.test"), timeout=LIMITS)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@EITHER_CLIENT
@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_named_and_asked_after(opened: Callable[[], httpx.AsyncClient]) -> None:
    port = unused_port()
    async with opened() as client:
        with pytest.raises(APIConnectionError) as caught:
            await send(client, get(f"http://127.0.0.1:{port}"), timeout=LIMITS)
    assert str(caught.value) == (
        f"the connection failed: 127.0.0.1:{port} refused the connection. Is the server running?"
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [([CUT], "without an answer"), ([RESET], "without an answer"), ([b"SSH-2.0-OpenSSH\r\n\r\n", CUT], "in HTTP")],
)
@pytest.mark.anyio
async def test_a_break_before_the_head_is_a_connection_error(script: list[Step], words: str) -> None:
    async with serving(script) as server, open_http_client() as client:
        with pytest.raises(APIConnectionError, match=words) as caught:
            await send(client, post(server.url), timeout=LIMITS)
    assert not isinstance(caught.value, TruncatedError)


@pytest.mark.parametrize(
    "tail",
    [
        [CHUNKED, HELLO, CUT],
        [CHUNKED, HELLO, 0.02, b"9\r\nhel", CUT],
        [CHUNKED, HELLO, 0.02, RESET],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", CUT],
    ],
)
@pytest.mark.anyio
async def test_a_break_after_the_head_is_a_truncated_answer(tail: list[Step]) -> None:
    async with answering(tail) as (response, _):
        assert await response.pull() == b"hello"
        with pytest.raises(TruncatedError, match=r"127\.0\.0\.1 broke the connection"):
            await all_of(response)


@pytest.mark.anyio
async def test_a_body_that_is_framed_wrongly_is_said_to_be_so() -> None:
    async with answering([CHUNKED, HELLO, 0.02, b"not a size\r\n", HANG]) as (response, _):
        assert await response.pull() == b"hello"
        with pytest.raises(TruncatedError, match=r"127\.0\.0\.1 does not go on as HTTP says: .* chunk size"):
            await all_of(response)


@EITHER_CLIENT
@pytest.mark.parametrize("window", [31, 15, -15])
@pytest.mark.anyio
async def test_a_packed_body_is_unpacked_wherever_the_network_cuts_it(
    opened: Callable[[], httpx.AsyncClient], window: int
) -> None:
    whole = b"data: hello\n\n" * 20_000
    pack = zlib.compressobj(9, zlib.DEFLATED, window)
    packed = pack.compress(whole) + pack.flush()
    name = b"gzip" if window == 31 else b"deflate"
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (name, len(packed))
    async with answering([head, packed[:1], 0.01, packed[1:50], 0.01, packed[50:]], client=opened()) as (response, _):
        pieces = await all_of(response)
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) <= 65_536


@EITHER_CLIENT
@pytest.mark.anyio
async def test_a_packed_body_that_ends_too_early_is_a_truncated_answer(opened: Callable[[], httpx.AsyncClient]) -> None:
    packed = gzip.compress(b"hello")[:-9]
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with answering([head + packed], client=opened()) as (response, _):
        with pytest.raises(TruncatedError, match="compressed body ends too early"):
            await all_of(response)


@pytest.mark.anyio
async def test_a_certificate_that_nobody_knows_is_said_to_be_the_reason() -> None:
    async with serving([PLAIN], tls=server_tls()) as server, open_http_client() as client:
        with pytest.raises(APIConnectionError, match=r"the certificate of localhost was not accepted: self.signed"):
            await send(client, get(f"https://localhost:{server.port}"), timeout=LIMITS)


@pytest.mark.anyio
async def test_tls_with_a_server_that_speaks_none_says_so() -> None:
    async with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, open_http_client() as client:
        with pytest.raises(APIConnectionError, match=r"TLS with 127\.0\.0\.1 failed"):
            await send(client, get(f"https://127.0.0.1:{port}"), timeout=LIMITS)


@asynccontextmanager
async def raw_server(reply: bytes) -> AsyncIterator[int]:
    async def serve(stream: Any) -> None:
        async with stream:
            await stream.receive()
            await stream.send(reply)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


# --- set-ups that are wrong ---


@pytest.mark.parametrize("url", ["api.test/v1", "ftp://api.test", "http://", "http://host:port", "http://[::1", ""])
@pytest.mark.anyio
async def test_an_address_that_is_none_is_a_setup_error(url: str) -> None:
    async with mocked(lambda _: httpx.Response(200)) as client:
        with pytest.raises(SetupError, match="api_base"):
            await send(client, Call(method="GET", url=url, headers={}), timeout=LIMITS)


@pytest.mark.anyio
async def test_an_address_that_only_httpx_refuses_is_a_setup_error() -> None:
    async with mocked(lambda _: httpx.Response(200)) as client:
        with pytest.raises(SetupError, match="api_base is no URL"):
            await send(client, get("http://api.test/" + "x" * 70_000), timeout=LIMITS)


@pytest.mark.anyio
async def test_a_closed_client_is_a_setup_error() -> None:
    client = open_http_client()
    await client.aclose()
    with pytest.raises(SetupError, match="closed"):
        await send(client, get("http://api.test"), timeout=LIMITS)


@pytest.mark.parametrize(
    "value",
    [f"{KEY}\n", f"{KEY}\r\nx: y", f"{KEY}\0", f" {KEY}", f"{KEY}\N{EN DASH}", f"{KEY}\N{GRINNING FACE}", f"{KEY}\x7f"],
)
@pytest.mark.anyio
async def test_a_key_that_no_header_can_hold_is_refused_before_it_is_sent_and_not_shown(value: str) -> None:
    notes = Notes()
    async with mocked(notes) as client:
        with pytest.raises(SetupError, match="'x-api-key'") as caught:
            await send(client, post("http://api.test", **{"X-Api-Key": value}), timeout=LIMITS)
    assert notes.requests == []
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["a b", "a:", "", "x\n", "é"])
@pytest.mark.anyio
async def test_a_header_with_a_wrong_name_is_refused(name: str) -> None:
    async with mocked(lambda _: httpx.Response(200)) as client:
        with pytest.raises(SetupError, match="header"):
            await send(client, post("http://api.test", **{name: "x"}), timeout=LIMITS)


@pytest.mark.anyio
async def test_a_header_in_latin_1_is_sent() -> None:
    notes = Notes()
    async with mocked(notes) as client:
        await (await send(client, post("http://api.test", title="caf\xe9\tx"), timeout=LIMITS)).aclose()
    assert (b"title", b"caf\xe9\tx") in notes.requests[0].headers.raw


# --- redirects ---


def moved(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.anyio
async def test_a_key_never_goes_to_another_origin(status: int) -> None:
    async with (
        serving([PLAIN]) as thief,
        serving([moved(status, f"{thief.url}/steal?with=query")]) as server,
        open_http_client(follow_redirects=True) as client,
    ):
        for call in (get(server.url), post(server.url)):
            with pytest.raises(APIStatusError) as caught:
                await send(client, call, timeout=LIMITS)
            assert caught.value.status == status
            assert f"redirects to {thief.url}, and the key goes to no other origin" in str(caught.value)
            assert "query" not in str(caught.value)
    assert thief.connections == 0


@pytest.mark.parametrize("location", ["https://127.0.0.1/", "//127.0.0.1:1/", "http://evil@127.0.0.1:{port}/"])
@pytest.mark.anyio
async def test_another_scheme_port_or_user_is_another_origin(location: str) -> None:
    async with serving([b""]) as server, open_http_client() as client:
        server.scripts = [[moved(307, location.format(port=server.port))]]
        with pytest.raises(APIStatusError, match="no other origin"):
            await send(client, post(server.url), timeout=LIMITS)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.anyio
async def test_on_its_own_origin_a_post_is_sent_again_as_it_was(status: int) -> None:
    async with answering([moved(status, "/v2/chat?x=1")], [PLAIN]) as (response, server):
        assert await response.read() == b"ok"
    assert [request.split(b"\r\n")[0] for request in server.requests] == [
        b"POST /v1/chat HTTP/1.1",
        b"POST /v2/chat?x=1 HTTP/1.1",
    ]
    assert all(request.endswith(b'{"stream":true}') and KEY.encode() in request for request in server.requests)
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.anyio
async def test_a_post_never_becomes_a_get(status: int) -> None:
    async with serving([moved(status, "/elsewhere")]) as server, open_http_client() as client:
        with pytest.raises(APIStatusError, match="redirects a POST to /elsewhere") as caught:
            await send(client, post(server.url), timeout=LIMITS)
    assert (caught.value.status, len(server.requests)) == (status, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.anyio
async def test_on_its_own_origin_a_get_follows(status: int) -> None:
    async with serving([moved(status, "/v2/models")], [PLAIN]) as server, open_http_client() as client:
        response = await send(client, get(server.url), timeout=LIMITS)
        assert (response.status, str(response.url)) == (200, f"{server.url}/v2/models")
        await response.drain()


@pytest.mark.anyio
async def test_redirects_in_a_circle_end() -> None:
    async with serving([moved(307, "/v1/chat")]) as server, open_http_client() as client:
        with pytest.raises(APIStatusError, match="more than 3 times"):
            await send(client, post(server.url), timeout=LIMITS)
    assert len(server.requests) == 4


@pytest.mark.anyio
async def test_a_redirect_to_what_is_no_url_is_an_error() -> None:
    async with serving([moved(307, "http://host:port/")]) as server, open_http_client() as client:
        with pytest.raises(APIStatusError, match="redirects to what is no URL"):
            await send(client, post(server.url), timeout=LIMITS)


def test_a_redirect_to_what_is_no_url_is_an_error_where_the_client_did_not_look() -> None:
    watch = Watch("http://api.test", LIMITS, None)
    response = Response(307, {"location": "http://host:port/"}, "http://api.test", OwnBody(), watch)
    with pytest.raises(APIStatusError, match="redirects to what is no URL"):
        http._redirected(post("http://api.test"), response)


# --- errors by status ---


def read_error(body: bytes) -> tuple[str, str]:
    message, _, code = body.decode().partition("|")
    return message, code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"slow down", "too many requests (status 429): slow down. It asks to wait 2 s."),
        (b"slow down|limited", "too many requests (status 429): slow down (limited). It asks to wait 2 s."),
        (b"|limited", "too many requests (status 429): limited. It asks to wait 2 s."),
        (b"", "too many requests (status 429). It asks to wait 2 s."),
        (f"no {KEY} here".encode(), "too many requests (status 429): no *** here. It asks to wait 2 s."),
    ],
)
@pytest.mark.anyio
async def test_an_error_by_status_says_what_the_service_said_and_no_key(body: bytes, words: str) -> None:
    head = {"retry-after": "2", "request-id": "req_7"}
    async with mocked(lambda _: httpx.Response(429, headers=head, content=body)) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        with pytest.raises(RateLimitError) as caught:
            await checked(response, read_error, [KEY])
    assert str(caught.value) == words
    assert (caught.value.retry_after, caught.value.request_id, caught.value.status) == (2.0, "req_7", 429)
    with pytest.raises(anyio.ClosedResourceError):
        await response.pull()


@pytest.mark.anyio
async def test_a_success_is_left_alone() -> None:
    async with answering([PLAIN]) as (response, _):
        await checked(response, read_error)
        assert await response.read() == b"ok"


@pytest.mark.parametrize("status", [300, 304, 307, 400, 418, 503])
@pytest.mark.anyio
async def test_every_other_status_is_an_error(status: int) -> None:
    async with mocked(lambda _: httpx.Response(status)) as client:
        response = await send(client, get("http://api.test"), timeout=LIMITS)
        with pytest.raises(APIStatusError) as caught:
            await checked(response, read_error)
    assert caught.value.status == status


REFUSED = b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("tail", [[HELLO, CUT], [HELLO, HANG], [HELLO, 0.02] * 1000])
@pytest.mark.anyio
async def test_an_error_body_that_is_cut_or_slow_gives_what_came(tail: list[Step]) -> None:
    async with answering([REFUSED, *tail], timeout=Timeout(idle=0.1)) as (response, server):
        with anyio.fail_after(5), pytest.raises(APIStatusError, match="hello"):
            await checked(response, read_error)
        with anyio.fail_after(5):
            await server.gone.wait()


@pytest.mark.anyio
async def test_an_error_body_without_an_end_is_bounded() -> None:
    piece = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with answering([REFUSED, *[piece] * 100, HANG]) as (response, _):
        assert len(await response.error_body()) == 65_536


# --- a certificate for localhost that is nobody's ---


def server_tls() -> ssl.SSLContext:
    import tempfile

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(LOCALHOST_KEY + LOCALHOST)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def client_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=LOCALHOST)


LOCALHOST_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJ5PNPWxexNUGYIMG
BL/WPq0MN08qngGW/GJQCIOndeyhRANCAARiSk+wUkvlTDT5eZocldzyD3eBcXMw
NtLBtWh3TVwOkmkegNQqxhRFcGIQomPHTqizv3FWd83J0pBWXfWA1lSi
-----END PRIVATE KEY-----
"""
LOCALHOST = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUImJx9ZiQ1ZnFaazuS+plbHW1HUgwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA4Mjg1MVoYDzIxMjYxMDI4
MDgyODUxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARiSk+wUkvlTDT5eZocldzyD3eBcXMwNtLBtWh3TVwOkmkegNQqxhRF
cGIQomPHTqizv3FWd83J0pBWXfWA1lSio28wbTAdBgNVHQ4EFgQUkskk5+TyUOA6
I8QpaahO+SuSp6MwHwYDVR0jBBgwFoAUkskk5+TyUOA6I8QpaahO+SuSp6MwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhALNEJqu9+8nQrUe1sRxMFf34rtrJaKC0Mi8qxnARIFitAiBF
PG7WgSFJeA1WzPLa0OZP50mXAhaXAs9IlHGhXGXRHQ==
-----END CERTIFICATE-----
"""
