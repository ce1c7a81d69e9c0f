"""What the tests in virtual time cannot see of a stall: the name's look-up, the system's backlog, a real connection.

Which limit fires is compared, and what it says; not how long it took, for a machine may be busy. The synchronous forms
time out alike.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any, Literal

import httpx
import pytest

from g4ftrio import AllFailed, APITimeoutError, Timeout, open_http_client, race, race_sync
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Service
from g4ftrio.simulator._thread import run_in_thread
from tests.faults.asked import TRANSPORTS, at_once, reaching
from tests.faults.relay import relayed, stall
from tests.providers.all_wires import ALL, asking, fleet_of

LIMIT = 0.3
TEXT = "one two"
STOPS = {"first_chunk": 0, "idle": 30, "stall": 250, "total": 250}  # bytes; no wire has said a word of its answer yet
WAYS: dict[str, Callable[[], httpx.AsyncClient]] = {"ours": open_http_client, "stock": httpx.AsyncClient}

Backend = Literal["asyncio", "trio"]


def only(kind: str) -> Timeout:
    """One limit alone."""
    unlimited: dict[str, float | None] = dict.fromkeys(("connect", "first_chunk", "stall", "idle", "total"))
    return Timeout(**{**unlimited, kind: LIMIT})


async def late(provider: HttpProvider, kind: str) -> tuple[str | None, str, float]:
    """Ask somebody who is late; who that was, which limit fired, and its value."""
    with pytest.raises(APITimeoutError, match=rf"^{provider.name}: .* \(timeout {kind}=0\.3\)$") as caught:
        await provider.complete("count", timeout=only(kind))
    return caught.value.provider, caught.value.kind, caught.value.seconds


# --- no connection ---


@contextmanager
def unresolved(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name that is looked up for as long as this lasts."""
    go_on, real = threading.Event(), socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
        if host not in ("slow.test", b"slow.test"):
            return real(host, *args, **options)
        flags = options.get("flags", args[4] if len(args) > 4 else 0)
        if not flags & socket.AI_NUMERICHOST:
            go_on.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        yield "http://slow.test"
    finally:
        go_on.set()


@contextmanager
def unaccepted(_: pytest.MonkeyPatch) -> Iterator[str]:
    """Somebody whose system connects, and who does not shake hands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full(_: pytest.MonkeyPatch) -> Iterator[str]:
    """Somebody whose backlog is full: the system lets further attempts wait."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _attempt in range(4):
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what their backlog cannot hold")
NOWHERE = [unresolved, unaccepted, pytest.param(full, marks=ON_LINUX)]


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("nowhere", NOWHERE)
async def test_nobody_is_reached(nowhere: Any, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(label: str) -> Any:
        return await late(reaching(fleet[label], host, scheme=scheme, name=label, http_client=client), "connect")

    async with fleet_of(*ALL, text=TEXT) as fleet, WAYS[transport]() as client:
        with nowhere(monkeypatch) as address:
            scheme, _, host = address.partition("://")
            assert await at_once(ask) == {label: (label, "connect", LIMIT) for label in ALL}


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("nowhere", NOWHERE)
async def test_a_race_goes_on_without_whom_nobody_reaches(
    nowhere: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(*ALL, text=TEXT) as fleet, WAYS[transport]() as client:
        with nowhere(monkeypatch) as address:
            scheme, _, host = address.partition("://")
            lost = [reaching(fleet[label], host, scheme=scheme, name=f"lost-{label}") for label in ALL]
            async with race([*lost, asking(fleet["ollama"], name="good")], "count", http_client=client) as stream:
                assert (await stream.collect()).text == TEXT
            assert stream.winner == "good"
        await fleet.quiet()


# --- a connection that stalls ---


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", STOPS)
async def test_an_answer_stops(kind: str, transport: str) -> None:
    async def ask(label: str) -> Any:
        relay = relays[label]
        return await late(asking(fleet[label], api_base=relay.api_base, api_key="sk-test", http_client=client), kind)

    async with fleet_of(*ALL) as fleet, WAYS[transport]() as client, AsyncExitStack() as stack:
        relays = {
            label: await stack.enter_async_context(relayed(fleet[label].api_base, stall(STOPS[kind]))) for label in ALL
        }
        assert await at_once(ask) == {label: (label, kind, LIMIT) for label in ALL}
        for relay in relays.values():
            await relay.quiet()


# --- without a loop ---


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", ["first_chunk", "stall", "idle", "total"])
def test_a_synchronous_call_is_late_alike(kind: str, backend: Backend) -> None:
    def ask(label: str) -> Any:
        with pytest.raises(APITimeoutError) as caught:
            asking(fleet[label], api_key="sk-test").complete_sync("count", timeout=only(kind), backend=backend)
        return caught.value.provider, caught.value.kind, caught.value.seconds

    with (
        run_in_thread([Service(label, dialect=label, fault="stall") for label in ALL]) as fleet,
        ThreadPoolExecutor(len(ALL)) as threads,
    ):
        assert list(threads.map(ask, ALL)) == [(label, kind, LIMIT) for label in ALL]
        fleet.quiet()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_synchronous_race_goes_on(backend: Backend) -> None:
    services = [*(Service(label, dialect=label, fault="stall") for label in ALL), Service("good", text=TEXT)]
    with run_in_thread(services) as fleet:
        entrants = [asking(running, api_key="sk-test") for running in fleet.values()]
        with race_sync(entrants, "count", backend=backend) as stream:
            assert stream.winner == "good"
            assert stream.collect().text == TEXT
        with pytest.raises(AllFailed) as caught:
            race_sync(entrants[:-1], "count", timeout=only("stall"), backend=backend).__enter__()
        fleet.quiet()
    assert caught.value.failures.keys() == {*ALL}
    for name, error in caught.value.failures.items():
        assert isinstance(error, APITimeoutError)
        assert (error.provider, error.kind, error.seconds) == (name, "stall", LIMIT)
