"""Whoever does not let a connection come about costs no more than the ``connect`` time-out, all steps together.

Promised of every wire, over our own transport and over httpx's: where nobody answers, TLS stops half-way, a proxy is
silent, no place in the pool is free or a WebSocket is not opened, ``connect`` fires at its very moment, whatever the
steps before have taken of it; it is over when a request is sent. In virtual time, as ``test_stalls`` is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from g4ftrio import APIConnectionError, APITimeoutError, Timeout, open_http_client, race
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Running, Service, serve
from g4ftrio.simulator._peer import Peer
from tests import clocks
from tests.faults.certificates import Certified
from tests.faults.relay import stall
from tests.faults.switchboard import Answerer, Switchboard, encrypted, silent, simulated, spoilt, switchboard
from tests.providers.all_wires import ALL, OVER_HTTP, OVER_SOCKETS, asking, fleet_of

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

LIMIT = 1.0
ONLY = Timeout(connect=LIMIT, first_chunk=None, stall=None, idle=None, total=16)
HOST = "host.test"
TRANSPORTS = ("ours", "stock")


@pytest.fixture(scope="module")
def certified() -> Certified:
    return Certified.of(HOST)


def reaching(running: Running, client: Any, *, scheme: str = "http", host: str = HOST, **settings: Any) -> HttpProvider:
    """The provider of a service's wire, which asks that host."""
    api_base = urlsplit(running.api_base)._replace(scheme=scheme, netloc=host).geturl()
    return asking(running, api_base=api_base, api_key="sk-test", http_client=client, **settings)


def opened(board: Switchboard, transport: str, **options: Any) -> httpx.AsyncClient:
    return open_http_client(**options) if transport == "ours" else board.stock(**options)


async def check_late(board: Switchboard, provider: HttpProvider, timeout: Timeout = ONLY) -> None:
    """Ask, and see that ``connect`` fires in time, in words, and that nothing is left open."""
    began = anyio.current_time()
    with pytest.raises(APITimeoutError) as caught:
        await provider.complete("count", timeout=timeout)
    assert (caught.value.kind, caught.value.seconds) == ("connect", LIMIT)
    assert anyio.current_time() == began + LIMIT
    assert str(caught.value).startswith(f"{provider.name}: no connection within 1 s (timeout connect=1)")
    await clocks.settle()
    assert board.open == 0


# --- nobody answers ---


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", ALL)
async def test_a_connection_that_is_never_made(label: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_of(label) as fleet, switchboard(monkeypatch) as board:
        board.lines[HOST] = None
        async with opened(board, transport) as client:
            await check_late(board, reaching(fleet[label], client))


REFUSES = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        ((None, "good"), 0.25),
        ((None, None, "good"), 0.5),
        ((REFUSES, "good"), 0.0),
        ((None, REFUSES, "good"), 0.25),
        ((REFUSES, None, REFUSES, "good"), 0.25),
    ],
    ids=str,
)
async def test_an_address_that_is_silent_holds_the_next_one_up_for_a_moment(
    lines: tuple[Any, ...], at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of("openai-compatible") as fleet, switchboard(monkeypatch) as board:
        running = fleet["openai-compatible"]
        board.addresses[HOST] = [f"{HOST} {n}" for n in range(len(lines))]
        answerers = (simulated(running) if line == "good" else line for line in lines)
        board.lines.update(zip(board.addresses[HOST], answerers, strict=True))
        await reaching(running, None).complete("count", timeout=ONLY)
        assert anyio.current_time() == at
        assert board.accepted == 1


@pytest.mark.parametrize("lines", [(None, None), (REFUSES, None), (None, REFUSES), (None,) * 9], ids=str)
async def test_no_address_that_answers_is_late_all_the_same(
    lines: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of("openai-compatible") as fleet, switchboard(monkeypatch) as board:
        board.addresses[HOST] = [f"{HOST} {n}" for n in range(len(lines))]
        board.lines.update(zip(board.addresses[HOST], lines, strict=True))
        await check_late(board, reaching(fleet["openai-compatible"], None))


# --- TLS ---


@pytest.mark.parametrize("at", [0, 1, 5, 80, 300, 600])  # bytes of the server's first flight
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", ALL)
async def test_a_handshake_that_stops(
    label: str, transport: str, at: int, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with fleet_of(label) as fleet, switchboard(monkeypatch) as board:
        board.lines[HOST] = spoilt(encrypted(simulated(fleet[label]), certified.server), stall(at))
        async with opened(board, transport, verify=certified.client) as client:
            await check_late(board, reaching(fleet[label], client, scheme="https"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_slow_connection_leaves_less_for_the_handshake(
    transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board:
        board.lines[HOST], board.delays[HOST] = silent, 0.75
        async with opened(board, transport, verify=certified.client) as client:
            for label in ALL:
                await check_late(board, reaching(fleet[label], client, scheme="https"))


# --- a proxy ---


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("label", ALL)
async def test_a_proxy_that_does_not_connect(
    label: str, said: bytes, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async def proxy(peer: Peer) -> None:
        assert (await peer.receive()).startswith(b"CONNECT ")
        await peer.send(said)
        await silent(peer)

    async with fleet_of(label) as fleet, switchboard(monkeypatch) as board:
        board.lines["proxy.test"] = proxy
        async with board.stock(proxy="http://proxy.test:3128", verify=certified.client) as client:
            await check_late(board, reaching(fleet[label], client, scheme="https"))


@pytest.mark.parametrize("label", ALL)
async def test_a_slow_proxy_that_connects_is_not_late(
    label: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with fleet_of(label, text="one two", first_token=2 * LIMIT) as fleet, switchboard(monkeypatch) as board:
        target = encrypted(simulated(fleet[label]), certified.server)

        async def proxy(peer: Peer) -> None:
            await peer.receive()
            await anyio.sleep(0.5)
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await target(peer)

        board.lines["proxy.test"] = proxy
        async with board.stock(proxy="http://proxy.test:3128", verify=certified.client) as client:
            answer = await reaching(fleet[label], client, scheme="https").complete("count", timeout=ONLY)
        assert answer.text == "one two"
        assert anyio.current_time() > 2.5 * LIMIT - 0.1


# --- a place in the pool ---


@pytest.mark.parametrize("label", OVER_HTTP)
async def test_a_wait_for_a_place_in_the_pool_leaves_less_for_the_rest(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(label) as fleet, switchboard(monkeypatch) as board:
        board.lines.update({"first.test": simulated(fleet[label]), HOST: None})
        async with board.stock(limits=httpx.Limits(max_connections=1)) as client, anyio.create_task_group() as tasks:
            first = await reaching(fleet[label], client, host="first.test").stream("count").settle()
            await clocks.settle()

            async def leave() -> None:
                await anyio.sleep(0.75)
                await first.aclose()

            tasks.start_soon(leave)
            await check_late(board, reaching(fleet[label], client))


# --- the opening of a WebSocket ---


@pytest.mark.parametrize("at", [0, 1, 12, 30, 100, 190])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", OVER_SOCKETS)
async def test_a_web_socket_that_is_not_opened(
    label: str, transport: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(label) as fleet, switchboard(monkeypatch) as board:
        board.lines[HOST], board.delays[HOST] = spoilt(simulated(fleet[label]), stall(at)), 0.5
        async with opened(board, transport) as client:
            await check_late(board, reaching(fleet[label], client))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", OVER_HTTP)
async def test_an_answer_is_no_part_of_connecting(
    label: str, transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with fleet_of(label, fault="slow_head", text="one two") as fleet, switchboard(monkeypatch) as board:
        board.lines[HOST] = encrypted(simulated(fleet[label]), certified.server)
        async with opened(board, transport, verify=certified.client) as client:
            provider = reaching(fleet[label], client, scheme="https")
            assert (await provider.complete("count", timeout=ONLY)).text == "one two"
            assert anyio.current_time() > 10 * LIMIT - 0.1


# --- the race goes on ---


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_race_goes_on_without_whoever_cannot_be_reached(
    transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    """Nobody connects, shakes hands or opens a WebSocket but the last, who does not say a word before the others fail."""
    stages: dict[str, Answerer | None] = {"dial": None, "tls": silent, "upgrade": silent}
    services = [
        *(Service(f"{stage}-{label}", dialect=label) for label in ALL for stage in ("dial", "tls")),
        *(Service(f"upgrade-{label}", dialect=label) for label in OVER_SOCKETS),
        Service("good", text="one two", first_token=1.5 * LIMIT),
    ]
    async with serve(services) as fleet, switchboard(monkeypatch) as board:
        board.lines["good.test"] = simulated(fleet["good"])
        board.lines.update({f"{stage}.test": answerer for stage, answerer in stages.items()})
        async with opened(board, transport, verify=certified.client) as client:
            entrants = [
                reaching(running, client, scheme="https" if stage == "tls" else "http", host=f"{stage}.test", name=name)
                for name, running in fleet.items()
                for stage in [name.partition("-")[0]]
            ]
            async with race(entrants, "count", timeout=ONLY) as stream:
                assert (stream.winner, anyio.current_time()) == ("good", 1.5 * LIMIT)
                assert board.open == 1
                for entrant in stream.report.entrants[:-1]:
                    assert isinstance(entrant.error, APITimeoutError)
                    told = (entrant.outcome, entrant.ended_at, entrant.error.kind, entrant.error.provider)
                    assert told == ("failed", LIMIT, "connect", entrant.name)
                assert (await stream.collect()).text == "one two"
        await clocks.settle()
        assert board.open == 0
