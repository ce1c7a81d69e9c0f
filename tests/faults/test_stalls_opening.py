"""Whoever does not let a connection come about costs no more than the ``connect`` time-out, all steps together.

Promised of every wire, over our own transport and over httpx's: where nobody answers, TLS stops half-way, a proxy is
silent, no place in the pool is free or a WebSocket is not opened, ``connect`` fires at its very moment, whatever the
steps before have taken of it; it is over when a request is sent. In virtual time, as ``test_stalls`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio
import httpx
import pytest

from g4ftrio import APITimeoutError, Timeout, race
from g4ftrio.simulator import Fleet, Service, serve
from g4ftrio.simulator._peer import Peer
from tests import clocks
from tests.faults.asked import TRANSPORTS, at_once, opened, reaching
from tests.faults.certificates import Certified
from tests.faults.relay import stall
from tests.faults.switchboard import Answerer, Switchboard, encrypted, silent, simulated, spoilt, switchboard
from tests.providers.all_wires import ALL, OVER_HTTP, OVER_SOCKETS, fleet_of

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

LIMIT = 1.0
ONLY = Timeout(connect=LIMIT, first_chunk=None, stall=None, idle=None, total=16)
TEXT = "one two"
PROXY = "http://proxy.test:3128"


@pytest.fixture(scope="module")
def certified() -> Certified:
    return Certified.of("tls.test", *(f"{label}.test" for label in ALL))


async def check_late(
    board: Switchboard, fleet: Fleet, client: Any, *, labels: Iterable[str] = ALL, scheme: str = "http"
) -> None:
    """Ask on these wires, and see that ``connect`` fires in time, in words, and that nothing is left open."""
    began = anyio.current_time()

    async def ask(label: str) -> str:
        provider = reaching(fleet[label], f"{label}.test", scheme=scheme, name=label, http_client=client)
        with pytest.raises(APITimeoutError) as caught:
            await provider.complete("count", timeout=ONLY)
        assert (caught.value.kind, caught.value.seconds) == ("connect", LIMIT), label
        assert anyio.current_time() == began + LIMIT, label
        return str(caught.value).partition(" within ")[0]

    assert await at_once(ask, labels) == {label: f"{label}: no connection" for label in labels}
    await clocks.settle()
    assert board.open == 0


def answering(
    board: Switchboard, fleet: Fleet, line: Callable[[Answerer], Answerer | None], delay: float = 0.0
) -> None:
    """Let each service be reached at a host of its name."""
    for label, running in fleet.items():
        board.lines[f"{label}.test"] = line(simulated(running))
        board.delays[f"{label}.test"] = delay


# --- nobody answers ---


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_connection_that_is_never_made(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board, opened(board, transport) as client:
        answering(board, fleet, lambda _: None)
        await check_late(board, fleet, client)


WIRE = "openai-compatible"
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
    async with fleet_of(WIRE) as fleet, switchboard(monkeypatch) as board:
        board.addresses["many.test"] = [f"address {n}" for n in range(len(lines))]
        answerers = (simulated(fleet[WIRE]) if line == "good" else line for line in lines)
        board.lines.update(zip(board.addresses["many.test"], answerers, strict=True))
        await reaching(fleet[WIRE], "many.test").complete("count", timeout=ONLY)
        assert anyio.current_time() == at
        assert board.accepted == 1


@pytest.mark.parametrize("lines", [(None, None), (REFUSES, None), (None, REFUSES), (None,) * 9], ids=str)
async def test_no_address_that_answers_is_late_all_the_same(
    lines: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(WIRE) as fleet, switchboard(monkeypatch) as board:
        board.addresses[f"{WIRE}.test"] = [f"address {n}" for n in range(len(lines))]
        board.lines.update(zip(board.addresses[f"{WIRE}.test"], lines, strict=True))
        await check_late(board, fleet, None, labels=[WIRE])


# --- TLS ---


@pytest.mark.parametrize("at", [0, 5, 300, 600])  # bytes of the server's first flight
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_handshake_that_stops(
    transport: str, at: int, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with (
        fleet_of(*ALL) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport, verify=certified.client) as client,
    ):
        answering(board, fleet, lambda line: spoilt(encrypted(line, certified.server), stall(at)))
        await check_late(board, fleet, client, scheme="https")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_slow_connection_leaves_less_for_the_handshake(
    transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async with (
        fleet_of(*ALL) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport, verify=certified.client) as client,
    ):
        answering(board, fleet, lambda _: silent, delay=0.75)
        await check_late(board, fleet, client, scheme="https")


# --- a proxy ---


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_proxy_that_does_not_connect(
    said: bytes, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async def proxy(peer: Peer) -> None:
        assert (await peer.receive()).startswith(b"CONNECT ")
        await peer.send(said)
        await silent(peer)

    async with (
        fleet_of(*ALL) as fleet,
        switchboard(monkeypatch) as board,
        board.stock(proxy=PROXY, verify=certified.client) as client,
    ):
        board.lines["proxy.test"] = proxy
        await check_late(board, fleet, client, scheme="https")


async def test_a_slow_proxy_that_connects_is_not_late(monkeypatch: pytest.MonkeyPatch, certified: Certified) -> None:
    async def proxy(peer: Peer) -> None:
        label = (await peer.receive()).removeprefix(b"CONNECT ").partition(b".test:")[0].decode()
        await anyio.sleep(0.5)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await encrypted(simulated(fleet[label]), certified.server)(peer)

    async def ask(label: str) -> str:
        provider = reaching(fleet[label], f"{label}.test", scheme="https", http_client=client)
        return (await provider.complete("count", timeout=ONLY)).text

    async with (
        fleet_of(*ALL, text=TEXT, first_token=2.0) as fleet,
        switchboard(monkeypatch) as board,
        board.stock(proxy=PROXY, verify=certified.client) as client,
    ):
        board.lines["proxy.test"] = proxy
        assert await at_once(ask) == dict.fromkeys(ALL, TEXT)
        assert anyio.current_time() >= 2.5


# --- a place in the pool ---


@pytest.mark.parametrize("label", OVER_HTTP)
async def test_a_wait_for_a_place_in_the_pool_leaves_less_for_the_rest(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave() -> None:
        await anyio.sleep(0.75)
        await first.aclose()

    async with (
        fleet_of(label) as fleet,
        switchboard(monkeypatch) as board,
        board.stock(limits=httpx.Limits(max_connections=1)) as client,
        anyio.create_task_group() as tasks,
    ):
        board.lines.update({"first.test": simulated(fleet[label]), f"{label}.test": None})
        first = await reaching(fleet[label], "first.test", http_client=client).stream("count").settle()
        tasks.start_soon(leave)
        await check_late(board, fleet, client, labels=[label])


# --- the opening of a WebSocket, and what is none ---


@pytest.mark.parametrize("at", [0, 1, 30, 190])  # bytes of the head
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_web_socket_that_is_not_opened(transport: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        fleet_of(*OVER_SOCKETS) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport) as client,
    ):
        answering(board, fleet, lambda line: spoilt(line, stall(at)), delay=0.5)
        await check_late(board, fleet, client, labels=OVER_SOCKETS)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_is_no_part_of_connecting(
    transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    async def ask(label: str) -> str:
        provider = reaching(fleet[label], f"{label}.test", scheme="https", http_client=client)
        return (await provider.complete("count", timeout=ONLY)).text

    async with (
        fleet_of(*OVER_HTTP, fault="slow_head", text=TEXT) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport, verify=certified.client) as client,
    ):
        answering(board, fleet, lambda line: encrypted(line, certified.server))
        assert await at_once(ask, OVER_HTTP) == dict.fromkeys(OVER_HTTP, TEXT)
        assert anyio.current_time() >= 10.0


# --- the race goes on ---


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_race_goes_on_without_whoever_cannot_be_reached(
    transport: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    """Nobody connects, shakes hands or opens a WebSocket but the last, who says nothing before the others fail."""
    services = [
        *(Service(f"{stage}-{label}", dialect=label) for label in ALL for stage in ("dial", "tls")),
        *(Service(f"upgrade-{label}", dialect=label) for label in OVER_SOCKETS),
        Service("good", text=TEXT, first_token=1.5),
    ]
    async with (
        serve(services) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport, verify=certified.client) as client,
    ):
        board.lines |= {"good.test": simulated(fleet["good"]), "dial.test": None}
        board.lines |= {"tls.test": silent, "upgrade.test": silent}
        entrants = [
            reaching(running, f"{stage}.test", scheme="https" if stage == "tls" else "http", name=name)
            for name, running in fleet.items()
            for stage in [name.partition("-")[0]]
        ]
        async with race(entrants, "count", timeout=ONLY, http_client=client) as stream:
            assert (stream.winner, anyio.current_time()) == ("good", 1.5)
            assert board.open == 1
            *others, _ = stream.report.entrants
            for entrant in others:
                assert isinstance(entrant.error, APITimeoutError)
                told = (entrant.outcome, entrant.ended_at, entrant.error.kind, entrant.error.provider)
                assert told == ("failed", LIMIT, "connect", entrant.name)
            assert (await stream.collect()).text == TEXT
