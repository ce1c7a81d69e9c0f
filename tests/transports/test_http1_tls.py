"""Our transport over TLS."""

from __future__ import annotations

import ssl
from typing import Any

import anyio
import httpx
import pytest
import trustme
from anyio.lowlevel import checkpoint

from g4ftrio.transports._body import Body
from g4ftrio.transports._http1 import Http1Transport
from tests import clocks
from tests.transports.http1_server import Peer, Service, answering, head

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def served(authority: trustme.CA) -> ssl.SSLContext:
    """The server's context, with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "named.test").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module", autouse=True)
async def _first_connection(anyio_backend: clocks.Backend) -> None:
    """Let uvloop open the descriptors that it keeps for itself before the tests count."""
    async with Service(answering(head())) as service, await anyio.connect_tcp("127.0.0.1", service.port):
        pass


def body_of(response: httpx.Response) -> Body:
    body: Body = response.extensions["g4ftrio_body"]
    return body


async def test_answers_are_read_and_the_connection_is_kept(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    large = bytes(range(256)) * 1000
    async with (
        Service(answering(head(b"one"), head(large), head(b"three")), tls=served) as service,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=trusting)) as client,
    ):
        assert (await client.get(service.url)).content == b"one"
        assert (await client.post(service.url, content=large)).content == large
        assert (await client.get(service.url)).content == b"three"
        assert service.accepted == 1


async def test_the_context_is_made_once_and_only_when_it_is_needed(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    made = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return trusting

    async with (
        Service(answering(head(b"x", b"Connection: close")), tls=served) as service,
        Service(answering(head(b"x"))) as plain,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=make)) as client,
    ):
        await client.get(plain.url)
        assert made == []
        for _ in range(2):
            await client.get(service.url)
        assert (made, service.accepted) == ([1], 2)


async def test_a_certificate_that_nobody_vouches_for_is_refused(served: ssl.SSLContext) -> None:
    async def refused(peer: Peer) -> None:
        await peer.gone()

    async with (
        Service(refused, tls=served) as service,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=ssl.create_default_context())) as client,
    ):
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await client.get(service.url)
        await service.settled()


async def test_the_name_that_the_certificate_must_have_can_be_given(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with (
        Service(answering(head(b"x")), tls=served) as service,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=trusting)) as client,
    ):
        assert (await client.get(service.url, extensions={"sni_hostname": "named.test"})).content == b"x"
    async with (
        Service(answering(head(b"x")), tls=served) as service,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=trusting)) as client,
    ):
        with pytest.raises(httpx.ConnectError, match=r"other\.test"):
            await client.get(service.url, extensions={"sni_hostname": "other.test"})


async def test_a_peer_that_speaks_no_tls_is_a_connect_error(trusting: ssl.SSLContext) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async def closing(peer: Peer) -> None:
        """Close at once."""

    async with Service(plain, closing) as service, Http1Transport(ssl_context=trusting) as transport:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError, match=rf"no connection to 127\.0\.0\.1:{service.port}"):
                await transport.handle_async_request(httpx.Request("GET", service.url.replace("http", "https")))
        await service.settled()


async def test_a_handshake_that_stalls_times_out(trusting: ssl.SSLContext) -> None:
    async def deaf(peer: Peer) -> None:
        await peer.gone()

    async with Service(deaf) as service, Http1Transport(ssl_context=trusting) as transport:
        request = httpx.Request("GET", service.url.replace("http", "https"), extensions={"timeout": {"connect": 0.05}})
        with pytest.raises(httpx.ConnectTimeout, match=r"within 0\.05 s"):
            await transport.handle_async_request(request)
        await service.settled()


async def test_an_unfinished_answer_is_closed_without_waiting_for_the_peer(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\nabc\r\n")
        await peer.gone()

    async with Service(script, tls=served) as service, Http1Transport(ssl_context=trusting) as transport:
        body = body_of(await transport.handle_async_request(httpx.Request("GET", service.url)))
        assert await body.pull() == b"abc"
        for seconds in (0, 0.01):
            with anyio.move_on_after(seconds) as scope:
                await body.pull()
            assert scope.cancelled_caught
        with anyio.fail_after(1):
            await body.aclose()
        await service.settled()


@pytest.mark.parametrize("answer", [CHUNKED + b"3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
async def test_a_cut_is_noticed(served: ssl.SSLContext, trusting: ssl.SSLContext, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with Service(script, tls=served) as service, Http1Transport(ssl_context=trusting) as transport:
        body = body_of(await transport.handle_async_request(httpx.Request("GET", service.url)))
        assert await body.pull() == b"abc"
        with pytest.raises(httpx.RemoteProtocolError, match="before the answer's end"):
            await body.pull()


RECORD = 16384  # bytes at most in a TLS record; what is longer goes out in several, at once
WHOLE_RECORD = (
    head(b"good" * 4080).ljust(RECORD, b"x").replace(b"16320", b"%d" % (16320 + RECORD - len(head(b"good" * 4080))))
)


@pytest.mark.parametrize("rest_apart", [False, True])
@pytest.mark.parametrize("good", [head(b"good"), WHOLE_RECORD])
async def test_what_comes_after_the_end_is_never_the_next_answer(
    served: ssl.SSLContext, trusting: ssl.SSLContext, good: bytes, *, rest_apart: bool
) -> None:
    sent = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*((good, head(b"evil")) if rest_apart else (good + head(b"evil"),)))
        sent.set()
        await peer.gone()

    async with (
        Service(script, answering(head(b"next")), tls=served) as service,
        httpx.AsyncClient(transport=Http1Transport(ssl_context=trusting)) as client,
    ):
        assert (await client.get(service.url)).content.startswith(b"good")
        await sent.wait()
        assert (await client.get(service.url)).content == b"next"


async def test_a_flood_leaves_others_their_turn(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with (
        Service(answering(head(b"x" * 2_000_000)), tls=served) as service,
        Http1Transport(ssl_context=trusting) as transport,
        anyio.create_task_group() as group,
    ):
        body = body_of(await transport.handle_async_request(httpx.Request("GET", service.url)))
        group.start_soon(count)
        pulls, before = 0, turns
        while await body.pull():
            pulls += 1
        assert turns - before >= pulls // 2
        group.cancel_scope.cancel()


async def told_by(transport: httpx.AsyncBaseTransport, service: Service) -> list[tuple[str, list[str]]]:
    told = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append((name, sorted(info)))

    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(service.url, extensions={"trace": trace})
    return told


async def test_the_steps_are_told_in_httpcores_words(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with Service(answering(head(b"x")), tls=served) as service:
        ours = await told_by(Http1Transport(ssl_context=trusting), service)
        assert ours == await told_by(httpx.AsyncHTTPTransport(verify=trusting), service)
