"""Our transport over real sockets, on every loop."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from g4ftrio.transports._body import Body
from g4ftrio.transports._http1 import Http1Transport, Origin, encode_head
from tests import clocks
from tests.transports.http1_server import Peer, Script, Service, answering, head

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops


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


async def stalled_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await peer.gone()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_answer_is_read_and_its_connection_is_used_again() -> None:
    async with Service(answering(head(b"one"), head(b"two"))) as service, Http1Transport() as transport:
        response = await transport.handle_async_request(get(service))
        assert (response.status_code, response.extensions["reason_phrase"]) == (200, b"OK")
        assert await read(response) == b"one"
        assert await fetch(transport, service) == b"two"
        assert service.accepted == 1
    assert service.open == 0
