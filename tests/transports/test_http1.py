"""Our transport over real sockets, on every loop."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest

from g4ftrio.transports import _connect
from g4ftrio.transports._body import Body
from g4ftrio.transports._http1 import Http1Transport, Origin, encode_head
from tests import clocks
from tests.transports.http1_server import Peer, Service, answering, head

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NINE = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
async def _first_connection(anyio_backend: clocks.Backend) -> None:
    """Let uvloop open the descriptors that it keeps for itself before the tests count."""
    async with Service(answering(head())) as service, await anyio.connect_tcp("127.0.0.1", service.port):
        pass


def get(service: Service, path: str = "", **extensions: Any) -> httpx.Request:
    return httpx.Request("GET", service.url + path, extensions=extensions)


def body_of(response: httpx.Response) -> Body:
    body: Body = response.extensions["g4ftrio_body"]
    return body


async def read(response: httpx.Response) -> bytes:
    body = body_of(response)
    parts = []
    while part := await body.pull():
        parts.append(part)
    await body.aclose()
    return b"".join(parts)


async def fetch(transport: Http1Transport, service: Service) -> bytes:
    return await read(await transport.handle_async_request(get(service)))


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def stalled(peer: Peer) -> None:
    await peer.request()
    await peer.send(NINE + b"abc")
    await peer.gone()


async def closing(peer: Peer) -> None:
    await peer.request()


async def resetting(peer: Peer) -> None:
    await peer.request()
    peer.reset_on_close()


# --- connections are kept ---


async def test_an_answer_is_read_and_its_connection_is_used_again() -> None:
    async with Service(answering(head(b"one"), head(b"two"))) as service, Http1Transport() as transport:
        response = await transport.handle_async_request(get(service))
        assert (response.status_code, response.reason_phrase, response.http_version) == (200, "OK", "HTTP/1.1")
        assert await read(response) == b"one"
        assert await fetch(transport, service) == b"two"
        assert service.accepted == 1


async def test_the_connection_is_free_when_the_last_byte_is_read_and_not_only_at_the_close() -> None:
    async with Service(answering(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")) as service, Http1Transport() as transport:
        first = body_of(await transport.handle_async_request(get(service)))
        assert await first.pull() == b"abc"
        second = body_of(await transport.handle_async_request(get(service)))
        await first.aclose()  # must not touch the connection, which is the second's now
        first.close_now()
        assert (await second.pull(), await second.pull(), await first.pull()) == (b"abc", b"", b"")
        assert service.accepted == 1


async def test_connections_are_not_shared_between_origins_nor_between_running_answers() -> None:
    async with (
        Service(answering(NINE + b"abc")) as one,
        Service(answering(head(b"x"))) as two,
        Http1Transport() as transport,
    ):
        held = [await transport.handle_async_request(get(one)) for _ in range(3)]
        assert await fetch(transport, two) == b"x"
        assert (one.accepted, two.accepted) == (3, 1)
        for response in held:
            await response.aclose()
        await one.settled()
        assert two.open == 1


@pytest.mark.parametrize("answer", [NINE.replace(b"1.1", b"1.0") + b"x" * 9, head(b"x", b"Connection: close")])
async def test_a_connection_that_will_not_be_kept_is_closed(answer: bytes) -> None:
    async with Service(answering(answer)) as service, Http1Transport() as transport:
        await fetch(transport, service)
        await service.settled()


@pytest.mark.parametrize("rest", [b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("apart", [False, True])
async def test_what_comes_after_the_end_is_never_the_next_answer(rest: bytes, *, apart: bool) -> None:
    parts = (head(b"good"), rest) if apart else (head(b"good") + rest,)

    sent = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*parts)
        sent.set()
        await peer.gone()

    async with Service(script, answering(head(b"next"))) as service, Http1Transport() as transport:
        assert await fetch(transport, service) == b"good"
        await sent.wait()
        assert await fetch(transport, service) == b"next"
        assert service.accepted == 2


async def test_a_connection_that_the_peer_closed_is_not_used() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(b"one"))

    async with Service(once) as service, Http1Transport() as transport:
        await fetch(transport, service)
        await service.settled()
        response = await transport.handle_async_request(get(service))
        assert response.extensions["g4ftrio_retried"] is False
        assert await read(response) == b"one"


async def test_an_idle_connection_expires() -> None:
    async with Service(answering(head(b"x"))) as service, Http1Transport(keepalive_expiry=0.01) as transport:
        await fetch(transport, service)
        await anyio.sleep(0.03)
        await fetch(transport, service)
        assert service.accepted == 2
        await service.settled(open=1)


async def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    async with Service(answering(NINE + b"x" * 9)) as service, Http1Transport(max_idle_connections=2) as transport:
        held = [await transport.handle_async_request(get(service)) for _ in range(1)]
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(fetch, transport, service)
        for response in held:
            await response.aclose()
        await service.settled(open=2)


# --- a request that met a dead connection ---


def dying(end: Any) -> Any:
    """Answers once, and ends at the second request as told."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(b"one"))
        await end(peer)

    return script


@pytest.mark.parametrize("end", [closing, resetting])
async def test_a_request_on_a_kept_connection_that_dies_unanswered_is_sent_again(end: Any) -> None:
    async with Service(dying(end), answering(head(b"two"))) as service, Http1Transport() as transport:
        await fetch(transport, service)
        request = httpx.Request("POST", service.url, content=b"body")
        response = await transport.handle_async_request(request)
        assert response.extensions["g4ftrio_retried"] is True
        assert await read(response) == b"two"
        assert service.accepted == 2


async def test_it_is_sent_again_only_once() -> None:
    async with Service(dying(closing), closing) as service, Http1Transport() as transport:
        await fetch(transport, service)
        with pytest.raises(httpx.RemoteProtocolError, match="without an answer"):
            await transport.handle_async_request(get(service))
        assert service.accepted == 2


async def test_a_new_connection_that_dies_is_an_error_at_once() -> None:
    async with Service(closing) as service, Http1Transport() as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="without an answer"):
            await transport.handle_async_request(get(service))
        assert service.accepted == 1


async def test_after_one_byte_of_the_answer_nothing_is_sent_again() -> None:
    async def cut_off(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"H")

    async with Service(dying(cut_off)) as service, Http1Transport() as transport:
        await fetch(transport, service)
        with pytest.raises(httpx.RemoteProtocolError, match="head was not complete"):
            await transport.handle_async_request(get(service))
        assert service.accepted == 1


async def test_after_a_time_out_nothing_is_sent_again() -> None:
    async with Service(dying(silent)) as service, Http1Transport() as transport:
        await fetch(transport, service)
        with pytest.raises(httpx.ReadTimeout):
            await transport.handle_async_request(get(service, timeout={"read": 0.02}))
        assert service.accepted == 1
        await service.settled()


async def test_a_body_that_can_be_sent_but_once_is_not_sent_again() -> None:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"abc"

    async with Service(dying(closing)) as service, Http1Transport() as transport:
        await fetch(transport, service)
        with pytest.raises((httpx.RemoteProtocolError, httpx.NetworkError)):
            await transport.handle_async_request(httpx.Request("POST", service.url, content=parts()))
        assert service.accepted == 1


# --- what is sent ---


def recording(seen: list[bytes]) -> Any:
    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(head(b"x"))

    return script


async def test_a_request_is_sent_as_it_was_built() -> None:
    seen: list[bytes] = []
    async with Service(recording(seen)) as service, Http1Transport() as transport:
        request = httpx.Request("POST", service.url + "a%20b?c=d", headers=[("X-One", "1")], content=b"body")
        await read(await transport.handle_async_request(request))
        assert seen == [
            b"POST /a%%20b?c=d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody"
            % service.port
        ]


async def test_a_body_in_parts_is_sent_in_the_chunked_coding() -> None:
    async def parts() -> AsyncGenerator[bytes]:
        for part in (b"abc", b"", b"0123456789abcdef"):
            yield part

    seen: list[bytes] = []
    async with Service(recording(seen)) as service, Http1Transport() as transport:
        await read(await transport.handle_async_request(httpx.Request("POST", service.url, content=parts())))
        assert seen[0].endswith(b"\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n")


@pytest.mark.parametrize(("length", "words"), [("2", "more than"), ("4", "less than")])
async def test_a_body_of_another_length_than_the_head_says_is_refused(length: str, words: str) -> None:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"ab"
        yield b"c"

    async with Service(silent) as service, Http1Transport() as transport, aclosing(parts()) as content:
        request = httpx.Request("POST", service.url, content=content, headers={"Content-Length": length})
        with pytest.raises(httpx.LocalProtocolError, match=words):
            await transport.handle_async_request(request)
        request = httpx.Request("POST", service.url, content=b"abc", headers={"Content-Length": length})
        with pytest.raises(httpx.LocalProtocolError, match=f"Content-Length is {length}"):
            await transport.handle_async_request(request)


async def test_a_large_body_goes_out_whole() -> None:
    body = bytes(range(256)) * 4_000
    seen: list[bytes] = []
    async with Service(recording(seen)) as service, Http1Transport() as transport:
        await read(await transport.handle_async_request(httpx.Request("POST", service.url, content=body)))
        assert seen[0].partition(b"\r\n\r\n")[2] == body


async def test_an_answer_to_half_a_request_is_read() -> None:
    async def refusing(peer: Peer) -> None:
        await peer.send(head(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        await peer.gone()

    async with Service(refusing) as service, Http1Transport() as transport:
        response = await transport.handle_async_request(httpx.Request("POST", service.url, content=b"x" * 100_000))
        assert (response.status_code, await read(response)) == (413, b"too large")


async def test_a_head_that_is_ready_needs_no_httpx_request() -> None:
    seen: list[bytes] = []
    async with Service(recording(seen)) as service, Http1Transport() as transport:
        prepared = encode_head(b"POST", b"/x", [(b"Host", b"a"), (b"Content-Length", b"2")])
        answer = await transport.request(b"POST", Origin("http", "127.0.0.1", service.port), prepared, b"{}")
        assert (answer.head.status, answer.retried) == (200, False)
        assert await answer.body.pull() == b"x"
        assert seen == [prepared + b"{}"]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "ws://127.0.0.1/"])
async def test_other_schemes_are_refused(url: str) -> None:
    async with Http1Transport() as transport:
        with pytest.raises(httpx.UnsupportedProtocol, match="http or https"):
            await transport.handle_async_request(httpx.Request("GET", url))


# --- bodies ---


async def test_all_chunks_of_one_packet_are_one_pull() -> None:
    packets = (CHUNKED + b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n1\r\nd\r\n", b"0\r\n\r\n")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*packets)
        await peer.gone()

    async with Service(script) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        assert [await body.pull() for _ in range(4)] == [b"ab", b"cd", b"", b""]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NINE + b"abc", "3 of 9 bytes"),
        (CHUNKED + b"3\r\nabc\r\n", "last chunk"),
        (CHUNKED + b"3\r\nabc\r\nnonsense\r\n", "chunked coding is broken"),
    ],
)
async def test_a_body_that_is_cut_is_an_error_and_stays_one(answer: bytes, words: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with Service(script) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        assert await body.pull() == b"abc"
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError, match=words):
                await body.pull()
        await body.aclose()
        await service.settled()


async def test_a_connection_that_is_reset_is_a_read_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await anyio.sleep(0.01)
        peer.reset_on_close()

    async with Service(script) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        with pytest.raises(httpx.ReadError, match="reset by peer"):
            await body.pull()


async def test_a_cancelled_read_loses_nothing() -> None:
    go_on = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await go_on.wait()
        await peer.send(b"3\r\nabc\r\n0\r\n\r\n")
        await peer.gone()

    async with Service(script) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        for seconds in (0, 0.01, 0.02):
            with anyio.move_on_after(seconds) as scope:
                await body.pull()
            assert scope.cancelled_caught
        go_on.set()
        assert (await body.pull(), await body.pull()) == (b"abc", b"")


async def test_a_second_reader_is_refused() -> None:
    async with Service(stalled) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        assert await body.pull() == b"abc"
        async with anyio.create_task_group() as group:
            group.start_soon(body.pull)
            await anyio.sleep(0.01)
            with pytest.raises(anyio.BusyResourceError):
                await body.pull()
            group.cancel_scope.cancel()
        await body.aclose()


@pytest.mark.parametrize("how", ["aclose", "close_now"])
async def test_closing_wakes_the_reader_with_an_error(how: str) -> None:
    async with Service(stalled) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        assert await body.pull() == b"abc"

        async def close() -> None:
            await anyio.sleep(0.01)
            if how == "aclose":
                await body.aclose()
            else:
                body.close_now()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with pytest.raises(httpx.ReadError, match="closed before its end"):
                await body.pull()
        with pytest.raises(httpx.ReadError, match="closed before its end"):
            await body.pull()
        await service.settled()


async def test_an_answer_that_is_dropped_closes_its_connection() -> None:
    async with Service(stalled) as service, Http1Transport() as transport:
        await transport.handle_async_request(get(service))
        gc.collect()
        await service.settled()


async def test_an_answer_that_another_thread_drops_closes_its_connection() -> None:
    async with Service(stalled) as service, Http1Transport() as transport:
        held = [await transport.handle_async_request(get(service))]

        def drop() -> None:
            held.clear()
            gc.collect()

        thread = threading.Thread(target=drop)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        await service.settled()


async def test_httpx_reads_it_whatever_the_coding() -> None:
    import gzip

    packed = head(gzip.compress(b"hello"), b"Content-Encoding: gzip")
    async with Service(answering(packed)) as service, httpx.AsyncClient(transport=Http1Transport()) as client:
        assert (await client.get(service.url)).text == "hello"
        async with client.stream("GET", service.url) as response:
            assert [part async for part in response.aiter_bytes()] == [b"hello"]
        assert (await client.head(service.url)).content == b""
        assert service.accepted == 1


async def test_a_flood_is_held_back_until_it_is_read() -> None:
    piece, sent = b"x" * 65536, 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * 300))
        for _ in range(300):
            await peer.send(piece)
            sent += 1

    async with Service(flood) as service, Http1Transport() as transport:
        response = await transport.handle_async_request(get(service))
        await anyio.sleep(0.2)
        assert sent < 200
        assert len(await read(response)) == len(piece) * 300


# --- time-outs ---


@pytest.mark.parametrize("script", [silent, stalled])
async def test_a_read_takes_no_longer_than_its_time_out(script: Any) -> None:
    async with Service(script) as service, Http1Transport() as transport:
        with pytest.raises(httpx.ReadTimeout, match=r"within 0\.05 s"):
            await read(await transport.handle_async_request(get(service, timeout={"read": 0.05})))
        await service.settled()


async def test_every_read_has_the_whole_time_out() -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(NINE)
        for _ in range(9):
            await anyio.sleep(0.03)
            await peer.send(b"x")
        await peer.gone()

    async with Service(slow) as service, Http1Transport() as transport:
        response = await transport.handle_async_request(get(service, timeout={"read": 0.2}))
        assert await read(response) == b"x" * 9


async def test_a_request_that_nobody_reads_times_out() -> None:
    # Nobody even accepts: a server on uvloop reads on for a while although its application does not.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        async with Http1Transport() as transport:
            request = httpx.Request("POST", url, content=b"x" * 50_000_000, extensions={"timeout": {"write": 0.05}})
            with pytest.raises(httpx.WriteTimeout, match=r"within 0\.05 s"):
                await transport.handle_async_request(request)


async def test_a_full_pool_times_out_and_names_its_limit() -> None:
    async with Service(answering(NINE + b"abc")) as service, Http1Transport(max_connections=2) as transport:
        held = [await transport.handle_async_request(get(service)) for _ in range(2)]
        with pytest.raises(httpx.PoolTimeout, match=r"within 0\.01 s.*max_connections=2"):
            await transport.handle_async_request(get(service, timeout={"pool": 0.01}))
        del held[0]
        gc.collect()
        held.append(await transport.handle_async_request(get(service, timeout={"pool": 1})))
        for response in held:
            await response.aclose()


async def test_places_come_back_whatever_happens() -> None:
    async def asked(peer: Peer) -> None:
        await peer.request()
        scope.cancel()
        await peer.gone()

    async with (
        Service(asked, closing, answering(head(b"x"))) as service,
        Http1Transport(max_connections=1) as transport,
    ):
        with anyio.CancelScope() as scope:
            await transport.handle_async_request(get(service))
        with pytest.raises(httpx.RemoteProtocolError):
            await transport.handle_async_request(get(service))
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
        for _ in range(3):
            assert await fetch(transport, service) == b"x"


# --- connecting ---


async def test_nobody_listening_is_a_connect_error() -> None:
    async with Http1Transport() as transport:
        with pytest.raises(httpx.ConnectError, match=r"no connection to 127\.0\.0\.1:1: .*111"):
            await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, Any]) -> None:
    def look_up(*_: object, flags: int = 0, **__: object) -> list[tuple[Any, ...]]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(family, socket.SOCK_STREAM, 0, "", address) for family, address in addresses]

    monkeypatch.setattr(_connect.socket, "getaddrinfo", look_up)  # type: ignore[attr-defined]  # imported, not exported


async def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Service(answering(head(b"x"))) as service, Http1Transport() as transport:
        good = (socket.AF_INET, ("127.0.0.1", service.port))
        refused = (socket.AF_INET, ("127.0.0.1", 1))
        resolving(monkeypatch, refused, (socket.AF_INET6, ("::1", 1, 0, 0)), good)
        response = await transport.handle_async_request(httpx.Request("GET", "http://two.test/"))
        assert await read(response) == b"x"


async def test_all_addresses_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, (socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET, ("127.0.0.1", 2)))
    async with Http1Transport() as transport:
        with pytest.raises(httpx.ConnectError, match=r"no connection to two\.test:80: .*111"):
            await transport.handle_async_request(httpx.Request("GET", "http://two.test/"))


async def test_a_name_that_nobody_knows_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_connect.socket, "getaddrinfo", look_up)  # type: ignore[attr-defined]  # imported, not exported
    async with Http1Transport() as transport:
        with pytest.raises(httpx.ConnectError, match=r"no connection to nowhere\.test:443: .*not known"):
            await transport.handle_async_request(httpx.Request("GET", "https://nowhere.test/"))


async def test_a_stalled_look_up_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def look_up(*_: object, flags: int = 0, **__: object) -> list[tuple[Any, ...]]:
        if not flags:
            go_on.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_connect.socket, "getaddrinfo", look_up)  # type: ignore[attr-defined]  # imported, not exported
    async with Http1Transport() as transport:
        request = httpx.Request("GET", "http://slow.test/", extensions={"timeout": {"connect": 0.02}})
        with pytest.raises(httpx.ConnectTimeout, match=r"no connection to slow\.test:80 within 0\.02 s"):
            await transport.handle_async_request(request)
        assert not go_on.is_set()
    go_on.set()


async def test_a_unix_socket_is_a_way_in(tmp_path: Any) -> None:
    path = str(tmp_path / "s")

    async def serve(stream: Any) -> None:
        async with stream:
            await answering(head(b"unix"))(Peer(stream))

    async def run(listener: Any) -> None:
        async with listener:
            await listener.serve(serve)

    async with anyio.create_task_group() as group, Http1Transport(uds=path) as transport:
        group.start_soon(run, await anyio.create_unix_listener(path))
        response = await transport.handle_async_request(httpx.Request("GET", "http://any.test/"))
        assert await read(response) == b"unix"
        group.cancel_scope.cancel()


# --- cancellation ---


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 10, 30])
@pytest.mark.parametrize("script", [silent, stalled])
async def test_a_cancelled_request_closes_its_connection(script: Any, milliseconds: int) -> None:
    async with Service(script) as service, Http1Transport() as transport:
        with anyio.move_on_after(milliseconds / 1000):
            response = await transport.handle_async_request(get(service))
            await read(response)
        response = None  # type: ignore[assignment]  # dropped, as a cancelled task drops it
        gc.collect()
        await service.settled()


async def test_a_request_cancelled_while_it_is_sent_closes_its_connection() -> None:
    async def deaf(peer: Peer) -> None:
        await anyio.sleep(0.05)
        await peer.gone()

    async with Service(deaf) as service, Http1Transport() as transport:
        with anyio.move_on_after(0.02) as scope:
            request = httpx.Request("POST", service.url, content=b"x" * 50_000_000)
            await transport.handle_async_request(request)
        assert scope.cancelled_caught
        await service.settled()


async def test_closing_while_cancelled_closes() -> None:
    async with Service(stalled) as service, Http1Transport() as transport:
        body = body_of(await transport.handle_async_request(get(service)))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await body.aclose()
        await service.settled()


@pytest.mark.parametrize("turns", [4, pytest.param(20, marks=pytest.mark.long)])
async def test_after_hundreds_of_cancelled_requests_the_next_one_works(turns: int) -> None:
    async def brisk(peer: Peer) -> None:
        while True:
            await peer.request()
            await anyio.sleep(0.002)
            await peer.send(CHUNKED + b"3\r\nabc\r\n", b"0\r\n\r\n")

    async def run(transport: Http1Transport, service: Service, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            response = await transport.handle_async_request(get(service))
            try:
                await read(response)
            finally:
                await response.aclose()

    async with Service(brisk) as service, Http1Transport(max_connections=60) as transport:
        for turn in range(turns):
            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(run, transport, service, ((turn + number) % 9) / 2000)
        assert await fetch(transport, service) == b"abc"
        await transport.aclose()
        await service.settled()


# --- closing the transport ---


async def test_closing_the_transport_closes_idle_and_running_connections() -> None:
    async with Service(answering(head(b"x")), stalled) as service:
        transport = Http1Transport()
        await fetch(transport, service)
        await transport.aclose()
        transport = Http1Transport()
        body = body_of(await transport.handle_async_request(get(service)))
        await transport.aclose()
        await service.settled()
        assert await body.pull() == b"abc"
        with pytest.raises(httpx.ReadError):
            await body.pull()
        with pytest.raises(RuntimeError, match="closed"):
            await transport.handle_async_request(get(service))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # asyncio's, for the connection that the first loop left open
async def test_a_kept_connection_of_another_run_is_not_used() -> None:
    async with Service(answering(head(b"x"))) as service:
        transport = Http1Transport()

        def another_run() -> bytes:
            return anyio.run(fetch, transport, service)

        assert [await anyio.to_thread.run_sync(another_run) for _ in range(2)] == [b"x", b"x"]
        await anyio.to_thread.run_sync(anyio.run, transport.aclose)
        gc.collect()
        assert service.accepted == 2


# --- what is told ---


async def told_by(transport: httpx.AsyncBaseTransport, service: Service) -> list[tuple[str, list[str]]]:
    told = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append((name, sorted(info)))

    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(2):
            async with client.stream("GET", service.url, extensions={"trace": trace}) as response:
                assert await response.aread() == b"abc"
    return told


async def test_the_steps_are_told_in_httpcores_words() -> None:
    async with Service(answering(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")) as service:
        assert await told_by(Http1Transport(), service) == await told_by(httpx.AsyncHTTPTransport(), service)


async def test_a_step_that_fails_is_told() -> None:
    told = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append((name, info.get("exception")))

    async with Http1Transport() as transport:
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(
                httpx.Request("GET", "http://127.0.0.1:1/", extensions={"trace": trace})
            )
    assert [name for name, _ in told] == ["connection.connect_tcp.started", "connection.connect_tcp.failed"]
    assert isinstance(told[1][1], OSError)


async def test_a_trace_that_fails_leaks_nothing() -> None:
    async with Service(answering(head(b"x"))) as service, Http1Transport() as transport:
        for name in ("connection.connect_tcp.complete", "http11.receive_response_headers.complete"):

            async def trace(event: str, info: dict[str, Any], name: str = name) -> None:
                if event == name:
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await transport.handle_async_request(get(service, trace=trace))
            await service.settled()
