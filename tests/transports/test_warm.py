"""Connections that are kept open ahead of time."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from g4ftrio._words.errors import SetupError
from g4ftrio._words.request import Call
from g4ftrio._words.timeouts import Timeout
from g4ftrio.transports import _warm
from g4ftrio.transports.http import open_http_client, send
from tests.transports.http1_server import Peer, Service, answering, head

LIMITS = Timeout(connect=5, idle=5)
ANSWER = answering(head(b"ok"))


async def held(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    await peer.gone()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # what the server sees has no event
            await anyio.sleep(0.005)


async def ask(client: httpx.AsyncClient, service: Service) -> bytes:
    response = await send(client, Call(method="GET", url=service.url, headers={}), timeout=LIMITS)
    return await response.read()


@pytest.mark.anyio
async def test_connections_are_open_before_anybody_asks_and_closed_in_the_end() -> None:
    async with Service(ANSWER) as service:
        async with open_http_client(warm={service.url: 3}) as client:
            await until(lambda: service.open == 3)
            assert await ask(client, service) == b"ok"
            assert service.accepted == 3
        await until(lambda: service.open == 0)


@pytest.mark.anyio
async def test_what_a_race_uses_up_is_opened_anew_after_it() -> None:
    async with Service(held) as service, open_http_client(warm={service.url: 2}) as client:
        await until(lambda: service.open == 2)
        response = await send(client, Call(method="GET", url=service.url, headers={}), timeout=LIMITS)
        assert service.accepted == 2
        await response.aclose()  # unread, so its connection is closed
        await until(lambda: service.accepted == 3 and service.open == 2)


@pytest.mark.anyio
async def test_one_that_is_in_use_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_warm, "_SOON", 0.02)

    async with Service(held) as service, open_http_client(warm={service.url: 1}) as client:
        await until(lambda: service.open == 1)
        response = await send(client, Call(method="GET", url=service.url, headers={}), timeout=LIMITS)
        await until(lambda: service.accepted == 2)
        await response.aclose()


@pytest.mark.anyio
async def test_one_that_the_server_closed_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_warm, "_LOOK", 0.02)
    monkeypatch.setattr(_warm, "_SOON", 0.02)

    async def closing(peer: Peer) -> None: ...

    async with Service(closing, closing, ANSWER) as service, open_http_client(warm={service.url: 1}) as client:
        await until(lambda: service.accepted >= 3 and service.open == 1)
        assert await ask(client, service) == b"ok"


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_warm, "_LOOK", 0.01)
    monkeypatch.setattr(_warm, "_SOON", 0.01)
    monkeypatch.setattr(_warm, "_PAUSE", (0.02, 0.04))
    caplog.set_level("INFO", "g4ftrio")
    async with open_http_client(warm={"http://127.0.0.1:9": 1}):
        await until(lambda: len(caplog.records) >= 3)
    assert "no warm connection to 127.0.0.1:9" in caplog.text


@pytest.mark.anyio
async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    async with Service(ANSWER) as service:
        with pytest.raises(KeyError, match="mine"):
            async with open_http_client(warm={service.url: 1}):
                raise KeyError("mine")
        with anyio.move_on_after(0.05) as scope:
            async with open_http_client(warm={service.url: 1}):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await until(lambda: service.open == 0)


@pytest.mark.parametrize("address", ["api.example.com", "ftp://host", "http://user:word@host", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SetupError, match="warm= names addresses"):
        open_http_client(warm={address: 1})


def test_a_transport_of_httpxs_keeps_none_warm() -> None:
    with pytest.raises(SetupError, match="this library's own transport"):
        open_http_client(warm={"http://127.0.0.1:9": 1}, transport=httpx.MockTransport(lambda _: httpx.Response(200)))


@pytest.mark.anyio
async def test_a_client_that_is_closed_and_not_left_says_so_and_opens_no_more() -> None:
    async with Service(ANSWER) as service:
        async with open_http_client(warm={service.url: 1}) as client:
            await until(lambda: service.open == 1)
            with pytest.raises(RuntimeError, match="leave it by the `async with`"):
                await client.aclose()
            await until(lambda: service.open == 0)
        assert service.accepted == 1


@pytest.mark.anyio
async def test_a_client_that_was_never_entered_is_just_closed() -> None:
    client = open_http_client(warm={"http://127.0.0.1:9": 1})
    await client.aclose()
    assert client.is_closed
