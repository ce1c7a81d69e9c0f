"""The short way out sends the same bytes as the long one, and is not taken where the client changes requests."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call
from g4ftrio._words.timeouts import Timeout
from g4ftrio.transports._direct import direct, place
from g4ftrio.transports._fields import Fields
from g4ftrio.transports._http1 import Http1Transport
from g4ftrio.transports.http import open_http_client, send
from tests.transports.http1_server import Peer, Service, answering, head

LIMITS = Timeout(connect=5, idle=5)


def call(url: str, **headers: str) -> Call:
    return Call(method="POST", url=url, headers={"Content-Type": "application/json", **headers}, body=b'{"a":1}')


def lines(request: bytes) -> list[bytes]:
    """The request with its header fields in order of their names, which is all that may differ."""
    top, _, body = request.partition(b"\r\n\r\n")
    first, *fields = top.split(b"\r\n")
    return [first, *sorted(field.lower() for field in fields), body]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/chat", "", "/v1/chat?api-version=2026-01-01&x=%20y", "/a%2Fb/c;d=e"])
async def test_both_ways_send_the_same(path: str) -> None:
    sent: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            sent.append(await peer.request())
            await peer.send(head(b"{}"))

    async with Service(script) as service, open_http_client() as short, open_http_client() as long:
        long.event_hooks = {"request": [do_nothing]}
        assert direct(short) is not None
        assert direct(long) is None
        for client in (short, long):
            url = f"http://127.0.0.1:{service.port}{path}"
            response = await send(client, call(url, Authorization="Bearer k", **{"User-Agent": "mine"}), timeout=LIMITS)
            assert await response.read() == b"{}"
    assert lines(sent[0]) == lines(sent[1])
    assert sent[0].startswith(b"POST ")


async def do_nothing(request: httpx.Request) -> None: ...


def with_auth(client: httpx.AsyncClient) -> None:
    client.auth = ("user", "word")


def with_cookie(client: httpx.AsyncClient) -> None:
    client.cookies.set("a", "b")


def with_params(client: httpx.AsyncClient) -> None:
    client.params = httpx.QueryParams({"a": "b"})


def with_header(client: httpx.AsyncClient) -> None:
    client.headers["x-mine"] = "1"


def with_hook(client: httpx.AsyncClient) -> None:
    client.event_hooks = {"request": [do_nothing]}


@pytest.mark.anyio
@pytest.mark.parametrize("change", [with_auth, with_cookie, with_params, with_header, with_hook])
async def test_a_client_that_changes_requests_is_asked_itself(change: Callable[[httpx.AsyncClient], None]) -> None:
    async with open_http_client() as client:
        assert direct(client) is not None
        change(client)
        assert direct(client) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options",
    [
        {"auth": ("a", "b")},
        {"params": {"a": "b"}},
        {"cookies": {"a": "b"}},
        {"base_url": "http://127.0.0.1:1"},
        {"event_hooks": {"request": [do_nothing]}},
        {"transport": httpx.MockTransport(lambda _: httpx.Response(200))},
        {"http2": False, "proxy": "http://127.0.0.1:1"},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_a_client_that_was_made_to_change_requests_is_asked_itself(options: dict[str, Any]) -> None:
    async with open_http_client(**options) as client:
        assert direct(client) is None


@pytest.mark.anyio
async def test_a_client_of_somebody_elses_is_asked_itself() -> None:
    async with httpx.AsyncClient() as client:
        assert direct(client) is None


@pytest.mark.anyio
async def test_a_mock_between_is_not_passed_by() -> None:
    async with open_http_client() as client:
        with respx.mock(using="httpx"):
            assert direct(client) is None
        assert direct(client) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://user:word@host/v1",
        "http://[::1]:80/v1",
        "http://bücher.example/v1",
        "http://host/a b",
        "http://host/a/../b",
        "http://host/ü",
        "http://host/a#b|",
    ],
)
def test_an_address_that_httpx_puts_right_takes_the_long_way(url: str) -> None:
    found = place(url)
    assert found is None or b"#" not in found.target


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("http://host/v1", b"host", b"/v1"),
        ("http://host:80", b"host", b"/"),
        ("https://host:443/v1?a=b", b"host", b"/v1?a=b"),
        ("https://HOST:8443/v1", b"host:8443", b"/v1"),
    ],
)
def test_where_a_url_leads(url: str, host: bytes, target: bytes) -> None:
    found = place(url)
    assert found is not None
    assert (found.host, found.target) == (host, target)


@pytest.mark.anyio
async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b"hello")
    async with Service(answering(head(packed, b"Content-Encoding: gzip"))) as service, open_http_client() as client:
        response = await send(client, call(f"http://127.0.0.1:{service.port}/"), timeout=LIMITS)
        assert await response.read() == b"hello"


@pytest.mark.anyio
async def test_a_request_that_was_sent_again_is_counted() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(b"1"))
        await peer.request()  # and goes without an answer

    record = EntrantReport(name="one")
    async with Service(once) as service, open_http_client() as client:
        url = f"http://127.0.0.1:{service.port}/"
        await (await send(client, call(url), timeout=LIMITS)).read()
        response = await send(client, call(url), timeout=LIMITS, record=record)
        assert await response.read() == b"1"
    assert record.retries == 1


def test_fields_are_found_whatever_their_case() -> None:
    fields = Fields([(b"Content-Type", b"a"), (b"X-Many", b"1"), (b"x-many", b"2")])
    assert fields["content-TYPE"] == "a"
    assert fields["X-MANY"] == "1, 2"
    assert fields.get("absent") is None
    assert "x-many" in fields
    assert list(fields) == ["content-type", "x-many"]
    assert len(fields) == 2


@pytest.mark.anyio
async def test_the_short_way_leads_to_the_clients_own_transport() -> None:
    async with open_http_client() as client:
        found = direct(client)
        assert found is not None
        assert isinstance(found.transport, Http1Transport)
