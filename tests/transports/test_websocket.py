"""WebSockets over real sockets: against scripts byte by byte, and against two libraries' servers."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
import trustme
from anyio.lowlevel import checkpoint
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key

from g4ftrio import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    EntrantReport,
    InternalServerError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    SetupError,
    Timeout,
    TruncatedError,
    open_http_client,
)
from g4ftrio._words.request import Call
from g4ftrio.dialects._error_body import read_error
from g4ftrio.transports._frames import Frames, Side
from g4ftrio.transports.websocket import MAX_MESSAGE, WebSocket, open_websocket
from tests import clocks
from tests.transports.http1_server import Peer, Script, Service, head

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

KEY = "sk-very-secret-key"
PATIENT = Timeout(connect=5, idle=5)
NOBODY = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.fixture(scope="module", autouse=True)
async def _first_connection(anyio_backend: clocks.Backend) -> None:
    """Let uvloop open the descriptors that it keeps for itself before the tests count."""

    async def closing(peer: Peer) -> None:
        """Close at once."""

    async with Service(closing) as service, await anyio.connect_tcp("127.0.0.1", service.port):
        pass


# --- the other side ---


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def closing(code: int, reason: str = "") -> bytes:
    return frame(Close(code, reason).serialize(), Opcode.CLOSE)


async def shake(peer: Peer, *first: bytes) -> bytes:
    """Accept the upgrade, with some frames in the same packet; gives the request."""
    request = await peer.request()
    found = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert found
    accept = accept_key(found[1].decode())
    await peer.send(f"{NOBODY}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"".join(first))
    return request


def saying(*parts: bytes, stays: bool = True) -> Script:
    """Accept, send the parts, each in a packet of its own, and wait for the client to go."""

    async def script(peer: Peer) -> None:
        await shake(peer)
        await peer.send(*parts)
        if stays:
            await peer.gone()

    return script


async def echo(peer: Peer) -> None:
    """Send everything back, and say good-bye to who says so."""
    await shake(peer)
    frames = Frames(Side.SERVER, MAX_MESSAGE)
    while not frames.ended:
        for message in frames.feed(await peer._stream.receive()):
            frames.say(message)
        if unsent := frames.unsent():
            await peer.send(unsent)


async def deaf(peer: Peer) -> None:
    await peer.gone()


@asynccontextmanager
async def stuffed(client: httpx.AsyncClient, timeout: Timeout = PATIENT) -> AsyncIterator[WebSocket]:
    """A socket to somebody who reads nothing more after the handshake, and whose system takes only so much."""

    async def accept(listener: socket.socket) -> None:
        await anyio.wait_readable(listener)
        peer, _ = listener.accept()
        peers.append(peer)
        await anyio.wait_readable(peer)
        found = re.search(rb"(?i)sec-websocket-key: (\S+)", peer.recv(65536))
        assert found
        peer.send(f"{NOBODY}Sec-WebSocket-Accept: {accept_key(found[1].decode())}\r\n\r\n".encode())

    peers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, listener)
            opening = await opened(client, f"ws://127.0.0.1:{listener.getsockname()[1]}/", timeout)
        try:
            yield opening
        finally:
            await opening.aclose()
            peers[0].close()


# --- this side ---


def own() -> httpx.AsyncClient:
    return open_http_client()


def stock() -> httpx.AsyncClient:
    return httpx.AsyncClient()


both_clients = pytest.mark.parametrize("make", [own, stock])


async def opened(client: httpx.AsyncClient, url: str, timeout: Timeout = PATIENT, **headers: str) -> WebSocket:
    call = Call(method="GET", url=url, headers=headers)
    return await open_websocket(client, call, read_error, timeout=timeout, secrets=(KEY,))


@asynccontextmanager
async def talking(
    script: Script, make: Callable[[], httpx.AsyncClient] = own, timeout: Timeout = PATIENT
) -> AsyncIterator[WebSocket]:
    """An open socket to a script; afterwards both have closed it."""
    async with Service(script) as service, make() as client:
        socket = await opened(client, service.url, timeout)
        try:
            yield socket
        finally:
            await socket.aclose()
        await service.settled()


async def gathered(socket: WebSocket) -> list[bytes]:
    messages: list[bytes] = []
    while found := await socket.pull():
        messages += found
    return messages


# --- talking ---


@both_clients
async def test_messages_go_both_ways(make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(echo, make) as socket:
        await socket.send(b"one", "zwölf".encode())
        received: list[bytes] = []
        while len(received) < 2:
            received += await socket.pull()
        assert received == [b"one", "zwölf".encode()]
        await socket.send(b"three")
        assert await socket.pull() == [b"three"]


@both_clients
async def test_what_comes_with_the_answers_head_is_not_lost(make: Callable[[], httpx.AsyncClient]) -> None:
    async def script(peer: Peer) -> None:
        await shake(peer, frame(b"at once"), frame(b"and more"))
        await peer.gone()

    async with talking(script, make) as socket:
        assert await socket.pull() == [b"at once", b"and more"]


async def test_messages_are_whole_however_they_are_cut_into_frames_and_packets() -> None:
    parts = [
        frame(b"on", fin=False),
        frame(b"", Opcode.CONT, fin=False),
        frame(b"ping", Opcode.PING),
        frame(b"e", Opcode.CONT),
        frame(b"", fin=False) + frame(b"two", Opcode.CONT) + frame(b"", Opcode.TEXT),
        frame(b"\x00three", Opcode.BINARY)[:4],
        frame(b"\x00three", Opcode.BINARY)[4:] + closing(1000),
    ]
    async with talking(saying(*parts)) as socket:
        assert await gathered(socket) == [b"one", b"two", b"", b"\x00three"]


async def test_a_ping_is_answered_by_the_next_read() -> None:
    answered: list[bytes] = []

    async def script(peer: Peer) -> None:
        await shake(peer, frame(b"still there?", Opcode.PING))
        frames = Frames(Side.SERVER, MAX_MESSAGE)
        frames.feed(await peer._stream.receive())
        answered.append(b"pong")
        await peer.send(frame(b"well"))
        await peer.gone()

    async with talking(script) as socket:
        assert await socket.pull() == [b"well"]
        assert answered == [b"pong"]


@both_clients
async def test_a_large_message_goes_both_ways(make: Callable[[], httpx.AsyncClient]) -> None:
    large = bytes(range(256)) * 20_000
    async with talking(echo, make) as socket:
        await socket.send(large)
        assert await socket.pull() == [large]


async def test_what_is_asked_is_an_upgrade_of_http_with_the_callers_fields() -> None:
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await shake(peer))
        await peer.gone()

    async with Service(script) as service, open_http_client() as client:
        url = service.url.replace("http", "ws") + "talk?model=a%20b"
        socket = await opened(client, url, Authorization=f"Bearer {KEY}", Connection="close")
        await socket.aclose()
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /talk?model=a%20b HTTP/1.1"
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    assert fields["host"] == f"127.0.0.1:{service.port}"
    assert fields["authorization"] == f"Bearer {KEY}"
    assert (fields["connection"], fields["upgrade"], fields["sec-websocket-version"]) == ("Upgrade", "websocket", "13")
    assert "sec-websocket-extensions" not in fields


async def test_the_report_has_the_times_and_the_bytes() -> None:
    record = EntrantReport(name="one", clock=anyio.current_time)
    async with Service(saying(frame(b"x" * 100), closing(1000))) as service, open_http_client() as client:
        call = Call(method="GET", url=service.url, headers={})
        socket = await open_websocket(client, call, read_error, timeout=PATIENT, record=record)
        assert await gathered(socket) == [b"x" * 100]
        await socket.aclose()
    assert record.connected_at is not None
    assert record.first_byte_at is not None
    assert record.connected_at <= record.first_byte_at
    assert record.bytes == 102 + 4


# --- ends ---


_ENDS: list[tuple[int, str, type[ProviderError] | None, str]] = [
    (1000, "", None, ""),
    (1000, "done", None, ""),
    (1001, "", None, ""),
    (1002, "", BadRequestError, "the request was refused: it closed the WebSocket with code 1002"),
    (1007, "API key not valid", BadRequestError, "with code 1007: API key not valid"),
    (1008, "no such model", APIStatusError, "with code 1008: no such model"),
    (1011, "quota", InternalServerError, "the service failed: it closed the WebSocket with code 1011: quota"),
    (1013, "", InternalServerError, "with code 1013"),
    (3000, "who?", AuthenticationError, "with code 3000: who?"),
    (3003, "", PermissionDeniedError, "with code 3003"),
    (4321, "odd", APIStatusError, "with code 4321: odd"),
]


@pytest.mark.parametrize(("code", "reason", "kind", "words"), _ENDS)
async def test_a_close_is_an_end_or_a_typed_error(
    code: int, reason: str, kind: type[ProviderError] | None, words: str
) -> None:
    heard: list[tuple[int | None, str]] = []

    async def script(peer: Peer) -> None:
        await shake(peer)
        await peer.send(frame(b"before") + closing(code, reason))
        frames = Frames(Side.SERVER, MAX_MESSAGE)
        frames.feed(await peer._stream.receive())
        heard.append(frames.closed)
        await peer.gone()

    async with talking(script) as socket:
        assert await socket.pull() == [b"before"]
        for _ in range(2):  # it stays so
            if kind is None:
                assert await socket.pull() == []
            else:
                with pytest.raises(kind, match=re.escape(words)) as caught:
                    await socket.pull()
                assert type(caught.value) is kind
        assert socket.farewell == reason
        await socket.send(b"is not heard")
    assert heard == [(code, reason)]


async def test_a_close_without_a_code_is_an_end() -> None:
    async with talking(saying(frame(b"", Opcode.CLOSE))) as socket:
        assert await socket.pull() == []


async def _vanish(peer: Peer) -> None:
    await shake(peer)
    await peer.send(frame(b"before"))


async def _reset(peer: Peer) -> None:
    await shake(peer)
    await peer.send(frame(b"before"))
    await anyio.sleep(0.02)
    peer.reset_on_close()


@both_clients
@pytest.mark.parametrize("script", [_vanish, _reset, saying(frame(b"before"), frame(b"lost")[:3], stays=False)])
async def test_a_connection_that_breaks_is_a_cut(script: Script, make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(script, make) as socket:
        assert await socket.pull() == [b"before"]
        with pytest.raises(TruncatedError, match="the connection before the end of its answer"):
            await socket.pull()


async def test_a_close_within_a_message_is_a_cut() -> None:
    async with talking(saying(frame(b"half", fin=False) + closing(1000))) as socket:
        with pytest.raises(TruncatedError):
            await socket.pull()


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\xff\xff\xff\xff\xff\xff", "no WebSocket frames"),
        (frame(b"lonely", Opcode.CONT), "no WebSocket frames: unexpected continuation frame"),
        (Frame(Opcode.TEXT, b"masked").serialize(mask=True), "no WebSocket frames: incorrect masking"),
        (frame(b"\x03", Opcode.CLOSE), "no WebSocket frames"),
        (b"\x81\x7f" + (MAX_MESSAGE + 1).to_bytes(8, "big"), "a message of more than 16 MiB"),
        (b"\x01\x7f" + MAX_MESSAGE.to_bytes(8, "big") + bytes(MAX_MESSAGE) + frame(b"x", Opcode.CONT), "16 MiB"),
    ],
)
async def test_what_are_no_frames_or_too_large_ones_is_an_error(garbage: bytes, words: str) -> None:
    async with talking(saying(frame(b"before") + garbage)) as socket:
        assert await socket.pull() == [b"before"]
        for _ in range(2):
            with pytest.raises(APIResponseValidationError, match=words):
                await socket.pull()


async def test_fragments_take_no_more_memory_than_the_message() -> None:
    fragments = frame(b"x", fin=False) + frame(b"x", Opcode.CONT, fin=False) * 20_000 + frame(b"!", Opcode.CONT)
    async with talking(saying(fragments)) as socket:
        assert await socket.pull() == [b"x" * 20_001 + b"!"]


@both_clients
async def test_what_cannot_be_sent_is_told_by_the_next_read(make: Callable[[], httpx.AsyncClient]) -> None:
    async def script(peer: Peer) -> None:
        await shake(peer)
        await peer.send(closing(1008, "no"))

    async with talking(script, make) as socket:
        await anyio.sleep(0.02)
        for _ in range(20):
            await socket.send(b"x" * 1000)
        with pytest.raises(ProviderError):
            await socket.pull()


# --- the handshake ---


@both_clients
async def test_a_refusal_is_the_error_that_it_is_over_http(make: Callable[[], httpx.AsyncClient]) -> None:
    body = b'{"error": {"message": "slow down, ' + KEY.encode() + b'", "code": "rate_limit"}}'
    answer = head(body, b"Retry-After: 7", b"X-Request-Id: req-1", status=b"429 Too Many Requests")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    async with Service(script) as service, make() as client:
        with pytest.raises(RateLimitError, match=r"slow down, \*\*\* \(rate_limit\)") as caught:
            await opened(client, service.url)
    assert (caught.value.status, caught.value.retry_after, caught.value.request_id) == (429, 7.0, "req-1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(b"401 No", AuthenticationError), (b"403 No", PermissionDeniedError), (b"500", InternalServerError)],
)
async def test_a_refusal_without_a_body_is_typed_by_its_status(status: bytes, kind: type[APIStatusError]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 " + status + b"\r\n\r\n")

    async with Service(script) as service, open_http_client() as client:
        with pytest.raises(kind):
            await opened(client, service.url)


async def test_a_redirect_to_another_origin_is_refused_before_the_key_goes_there() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(b"", b"Location: wss://elsewhere.test/talk", status=b"301 Moved"))
        await peer.gone()

    async with Service(script) as service, open_http_client() as client:
        with pytest.raises(APIStatusError, match=r"redirects to wss://elsewhere\.test.*key goes to no other origin"):
            await opened(client, service.url)
        assert service.accepted == 1


@both_clients
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            head(b"<title>Hello</title>"),
            APIResponseValidationError,
            "status 200.*it opened no WebSocket.*: Hello$",
        ),
        (head(), APIResponseValidationError, r"it opened no WebSocket \(is api_base right\?\)$"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", APIConnectionError, "does not answer in HTTP as it should"),
        (b"", APIConnectionError, "closed the connection without an answer"),
        (
            NOBODY.encode() + b"Sec-WebSocket-Accept: bm9wZQ==\r\n\r\n",
            APIConnectionError,
            "opens no WebSocket: .*bm9wZQ",
        ),
        (NOBODY.encode() + b"\r\n", APIConnectionError, "opens no WebSocket: .*Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 Hm\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", APIConnectionError, "opens no WebSocket"),
        (b"HTTP/1.1 101 Hm\r\nUpgrade: websocket\r\n\r\n", APIConnectionError, "WebSocket|HTTP as it should|answer"),
    ],
)
async def test_garbage_instead_of_a_handshake_is_an_error(
    answer: bytes, kind: type[ProviderError], words: str, make: Callable[[], httpx.AsyncClient]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with Service(script) as service, make() as client:
        with pytest.raises(kind, match=words):
            await opened(client, service.url)
        await service.settled()


async def test_extensions_that_nobody_asked_for_are_refused() -> None:
    async def script(peer: Peer) -> None:
        found = re.search(rb"(?i)sec-websocket-key: (\S+)", await peer.request())
        assert found
        fields = (
            f"Sec-WebSocket-Accept: {accept_key(found[1].decode())}\r\nSec-WebSocket-Extensions: permessage-deflate"
        )
        await peer.send(f"{NOBODY}{fields}\r\n\r\n".encode())
        await peer.gone()

    async with Service(script) as service, open_http_client() as client:
        with pytest.raises(APIConnectionError, match="opens no WebSocket: no extensions supported"):
            await opened(client, service.url)
        await service.settled()


@pytest.mark.parametrize("value", ["secret\r\nX: y", "secret\n", "sécret\u2028", "\x00secret"])
async def test_a_header_with_a_line_break_is_refused_unsent_and_unseen(value: str) -> None:
    async with Service(deaf) as service, open_http_client() as client:
        with pytest.raises(SetupError, match="authorization") as caught:
            await opened(client, service.url, Authorization=value)
        assert "cret" not in str(caught.value)
        assert service.accepted == 0


@pytest.mark.parametrize("url", ["ftp://x.test/", "talk", "ws://", "wss://x.test:port/"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    async with open_http_client() as client:
        with pytest.raises(SetupError, match="api_base"):
            await opened(client, url)


async def test_a_client_that_gives_no_connection_is_a_setup_error() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(101))) as client:
        with pytest.raises(SetupError, match="access to its connection"):
            await opened(client, "ws://mock.test/")


async def test_nobody_there_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with open_http_client() as client:
            with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port} refused the connection"):
                await opened(client, f"ws://127.0.0.1:{port}/")


# --- time ---


@both_clients
async def test_a_handshake_that_stalls_is_a_connect_timeout(make: Callable[[], httpx.AsyncClient]) -> None:
    async with Service(deaf) as service, make() as client:
        with pytest.raises(APITimeoutError, match=r"no connection within 0\.05 s \(timeout connect=0\.05\)"):
            await opened(client, service.url, Timeout(connect=0.05))
        await service.settled()


@both_clients
async def test_a_socket_that_says_nothing_is_an_idle_timeout(make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(saying(), make, Timeout(idle=0.05)) as socket:
        with pytest.raises(APITimeoutError, match=r"no byte came within 0\.05 s \(timeout idle=0\.05\)"):
            await socket.pull()


@both_clients
async def test_a_read_waits_until_a_moment(make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(saying(), make) as socket:
        with pytest.raises(APITimeoutError):
            await socket.pull(anyio.current_time() + 0.02)


async def test_a_peer_that_reads_nothing_is_an_idle_timeout_too() -> None:
    async with open_http_client() as client, stuffed(client, Timeout(idle=0.05)) as socket:
        with pytest.raises(APITimeoutError, match=r"timeout idle=0\.05"):
            await socket.send(bytes(MAX_MESSAGE))


async def test_a_good_bye_waits_only_so_long() -> None:
    async with talking(saying()) as socket:
        with anyio.fail_after(1):
            await socket.drain(0.02)
            await socket.drain(0.02)
        with pytest.raises(anyio.ClosedResourceError):
            await socket.pull()


async def test_a_good_bye_is_heard_and_answered() -> None:
    heard: list[tuple[int | None, str]] = []

    async def script(peer: Peer) -> None:
        await shake(peer)
        frames = Frames(Side.SERVER, MAX_MESSAGE)
        frames.feed(await peer._stream.receive())
        heard.append(frames.closed)
        await peer.send(frame(b"late") + frames.unsent())
        await peer.gone()

    async with talking(script) as socket:
        await socket.drain(5)
    assert heard == [(1000, "")]


# --- closed from anywhere ---


@both_clients
@pytest.mark.parametrize("how", ["aclose", "close_now"])
async def test_a_close_from_another_task_ends_a_read(how: str, make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(saying(), make) as socket, anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await socket.pull()
            tasks.cancel_scope.cancel()

        tasks.start_soon(read)
        await anyio.sleep(0.01)
        if how == "aclose":
            await socket.aclose()
        else:
            socket.close_now()
        with anyio.fail_after(2):
            await anyio.sleep_forever()


async def test_a_close_ends_a_send_that_waits() -> None:
    async with open_http_client() as client, stuffed(client) as socket, anyio.create_task_group() as tasks:

        async def send() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await socket.send(bytes(MAX_MESSAGE))

        tasks.start_soon(send)
        await anyio.sleep(0.02)
        await socket.aclose()


@both_clients
async def test_a_cancelled_read_loses_nothing(make: Callable[[], httpx.AsyncClient]) -> None:
    async with talking(echo, make) as socket:
        for _ in range(3):
            with anyio.move_on_after(0.005) as scope:
                await socket.pull()
            assert scope.cancelled_caught
        await socket.send(b"after")
        assert await socket.pull() == [b"after"]


async def test_a_cancelled_send_breaks_the_socket() -> None:
    async with open_http_client() as client, stuffed(client) as socket:
        with anyio.move_on_after(0.02) as scope:
            await socket.send(bytes(MAX_MESSAGE))
        assert scope.cancelled_caught
        with pytest.raises(anyio.BrokenResourceError):
            await socket.pull()


async def test_two_readers_are_one_too_many() -> None:
    async with talking(saying()) as socket, anyio.create_task_group() as tasks:
        tasks.start_soon(socket.pull)
        await anyio.sleep(0.01)
        with pytest.raises(anyio.BusyResourceError):
            await socket.pull()
        tasks.cancel_scope.cancel()


async def test_a_client_that_is_closed_closes_its_sockets() -> None:
    async with Service(saying()) as service:
        client = open_http_client()
        socket = await opened(client, service.url)
        await client.aclose()
        await service.settled()
        with pytest.raises(ProviderError):
            await socket.pull()
        await socket.aclose()


# --- cancelled at every point ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def served(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def _whole_talk(client: httpx.AsyncClient, url: str) -> None:
    socket = await opened(client, url)
    try:
        await socket.send(b"x" * 300_000)
        await socket.pull()
        await socket.drain(1)
    finally:
        await socket.aclose()


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_a_cancellation_at_any_point_leaves_nothing_behind(
    secure: bool, served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    tls = served if secure else None
    async with Service(echo, tls=tls) as service, open_http_client(verify=trusting) as client:
        for tenths in range(0, 120, 4):
            with anyio.move_on_after(tenths / 10_000):
                await _whole_talk(client, service.url)
            await service.settled()


async def test_a_cancellation_at_each_wait_leaves_nothing_behind() -> None:
    """Somebody counts the loop's turns beside the talk, and cancels it at the next one each time."""
    async with Service(echo) as service, open_http_client() as client:
        for turns in range(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_after, turns, tasks.cancel_scope)
                await _whole_talk(client, service.url)
            await service.settled()


async def _cancel_after(turns: int, scope: anyio.CancelScope) -> None:
    for _ in range(turns):
        await checkpoint()
    scope.cancel()


# --- TLS and proxies ---


async def test_wss_shares_the_clients_tls_settings(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with Service(echo, tls=served) as service:
        url = service.url.replace("https", "wss")
        async with open_http_client(verify=trusting) as client:
            socket = await opened(client, url)
            await socket.send(b"secretly")
            assert await socket.pull() == [b"secretly"]
            await socket.drain(1)
        async with open_http_client() as client:
            with pytest.raises(APIConnectionError, match=r"the certificate of 127\.0\.0\.1 was not accepted"):
                await opened(client, url)
        await service.settled()


async def test_wss_goes_through_a_proxys_tunnel(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    tunnels: list[bytes] = []
    async with Service(echo, tls=served) as service:

        async def tunnel(peer: Peer) -> None:
            tunnels.append((await peer.request()).partition(b"\r\n")[0])
            async with await anyio.connect_tcp("127.0.0.1", service.port) as inner:
                await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")

                async def pass_on(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Any]) -> None:
                    try:
                        while True:
                            await write(await read())
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        tasks.cancel_scope.cancel()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pass_on, inner.receive, peer.send)
                    tasks.start_soon(pass_on, peer._stream.receive, inner.send)

        async with Service(tunnel) as proxy, open_http_client(verify=trusting, proxy=proxy.url) as client:
            socket = await opened(client, service.url)
            await socket.send(b"through a tunnel")
            assert await socket.pull() == [b"through a tunnel"]
            await socket.drain(1)
            await proxy.settled()
        await service.settled()
        assert tunnels == [b"CONNECT 127.0.0.1:%d HTTP/1.1" % service.port]


# --- two libraries' servers ---


@asynccontextmanager
async def _websockets_server(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            if message == "bye":
                await connection.close(1011, "as you wish")
            elif message == "ping":
                await (await connection.ping())
                await connection.send("pong came")
            else:
                await connection.send([message[:1], message[1:]])

    async with serve(handle, "127.0.0.1", 0, ssl=tls) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def _trio_websocket_server(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    import trio
    from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            while True:
                message = await connection.get_message()
                if message == "bye":
                    await connection.aclose(1011, "as you wish")
                elif message == "ping":
                    await connection.ping()
                    await connection.send_message("pong came")
                else:
                    await connection.send_message(message)
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, tls)
        yield server.port
        nursery.cancel_scope.cancel()


def other_server(anyio_backend_name: str, tls: ssl.SSLContext | None) -> AbstractAsyncContextManager[int]:
    return _trio_websocket_server(tls) if anyio_backend_name == "trio" else _websockets_server(tls)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_other_peoples_servers_understand_us(
    secure: bool, anyio_backend_name: str, served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    tls, scheme = (served, "wss") if secure else (None, "ws")
    async with other_server(anyio_backend_name, tls) as port, open_http_client(verify=trusting) as client:
        url = f"{scheme}://127.0.0.1:{port}/"
        socket = await opened(client, url)
        for message in (b"hello", "größer".encode(), b"x" * 200_000):
            await socket.send(message)
            assert await socket.pull() == [message]
        await socket.send(b"ping")
        assert await socket.pull() == [b"pong came"]
        await socket.send(b"bye")
        with pytest.raises(InternalServerError, match="code 1011: as you wish"):
            await socket.pull()
        await socket.aclose()
        polite = await opened(client, url)
        await polite.drain(5)
