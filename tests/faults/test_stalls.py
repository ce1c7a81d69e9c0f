"""A service that stops in the midst of its answer costs no more than the limit that was set for it.

Promised of every wire, over our own transport and over httpx's: wherever an answer stops, the limit that was set fires,
at its very moment (the time is virtual, so that is exact), the error names the limit, its seconds and the provider,
what had come before is not lost, and the connection is closed at that moment; a limit that is kept does not fire; a
race goes on with the others. An answer whose finish reason has come lacks nothing, so there a limit is a clean end.

Short form: on each loop, 352 answers stop at a byte, each with one limit, and 300 more in other ways. Long form: 14,000
answers stop, at every edge of a line or frame and at every sixteenth byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import anyio
import pytest

from g4ftrio import AllFailed, APITimeoutError, Timeout, fallback, race
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Fault, Fleet, Running, Service, serve
from g4ftrio.simulator._peer import Peer
from g4ftrio.transports._connect import Origin, connect
from tests import clocks
from tests.faults.asked import TRANSPORTS, at_once, opened, reaching
from tests.faults.certificates import Certified
from tests.faults.relay import Said, Spoiler, stall
from tests.faults.switchboard import Switchboard, encrypted, simulated, slow_to_read, spoilt, switchboard
from tests.providers.all_wires import ALL, OVER_HTTP, OVER_SOCKETS, fleet_of

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

TEXT = "one two three"
LIMIT = 1.0
LATE = 16.0  # seconds after which an answer ends that ran into no other limit
DRAIN = 0.05  # seconds that a whole answer's connection may take to end
SILENCE = 2.0  # seconds without a word after a finish reason, which are the end
KINDS = ("first_chunk", "stall", "idle", "total")

_FEW = {"ours": 8, "stock": 3}  # bytes of an answer at which the short form stops it
_STEP = 16  # bytes between the stops of the long form that are at no edge
_AT_ONCE = 64  # fewer than the connections that httpx allows
_LAST = (b"0\r\n\r\n", b"\x88\x02\x03\xe8")  # with which a body, and a WebSocket, ends
_EDGES = re.compile(rb"\r?\n|\x81")  # lines, and frames of a WebSocket


@pytest.fixture(scope="module")
def certified() -> Certified:
    return Certified.of(*(f"{label}.test" for label in ALL))


class Ended(NamedTuple):
    """How an answer ended, and when."""

    error: APITimeoutError | None
    text: str
    at: float


def only(kind: str, seconds: float = LIMIT) -> Timeout:
    """One limit, and the one that ends all."""
    unlimited: dict[str, float | None] = dict.fromkeys(("connect", *KINDS))
    return Timeout(**{**unlimited, "total": LATE, kind: seconds})


async def read(provider: HttpProvider, timeout: Timeout) -> Ended:
    """Read an answer as far as it comes."""
    text, error = "", None
    try:
        async with provider.stream("count", timeout=timeout) as stream:
            async for chunk in stream:
                text += chunk
    except APITimeoutError as late:
        error = late
    return Ended(error, text, anyio.current_time())


async def taped(board: Switchboard, running: Running) -> bytes:
    """All that a service says, when nobody stops it."""
    tape = bytearray()

    async def record(said: Said, client: Peer) -> None:
        while more := await said.take():
            tape.extend(more)
            await client.send(more)
        client.finish()

    host = f"tape-{running.service.name}.test"
    board.lines[host] = spoilt(simulated(running), record)
    assert (await read(reaching(running, host), Timeout())).text == TEXT
    return bytes(tape)


# --- at any byte ---


def edges(tape: bytes) -> list[int]:
    """The offsets at which something begins or ends, and one inside each of these things."""
    found = {0, 1, len(tape), *(at for edge in _EDGES.finditer(tape) for at in range(edge.start(), edge.end() + 1))}
    return sorted(found | {(one + other) // 2 for one, other in pairwise(sorted(found))})


def some(offsets: Sequence[int], most: int) -> list[int]:
    """So many of them, the first and the last included."""
    return [offsets[round(n * (len(offsets) - 1) / (most - 1))] for n in range(most)]


class Stopped:
    """One wire's answers, each stopped at a byte and held to one limit."""

    def __init__(self, board: Switchboard, running: Running, client: Any) -> None:
        self._board = board
        self._running = running
        self._client = client
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self.ended: dict[tuple[int, str], Ended] = {}

    async def ask(self, at: int, kind: str) -> None:
        """Ask, and note how it ends."""
        async with self._limiter:
            host = f"{kind.replace('_', '-')}-{at}.test"
            self._board.lines[host] = spoilt(simulated(self._running), stall(at))
            asked_at = anyio.current_time()
            ended = await read(reaching(self._running, host, http_client=self._client), only(kind))
            await clocks.settle()
            self.ended[at, kind] = ended._replace(at=round(ended.at - asked_at, 9))  # moments are floats
            if ended.error is not None:
                assert self._board.left[host] == ended.at, f"closed late: {host}"
                assert str(ended.error).startswith(f"{host}: ")

    async def ask_all(self, offsets: Iterable[int]) -> None:
        async with anyio.create_task_group() as tasks:
            for at in offsets:
                for kind in KINDS:
                    tasks.start_soon(self.ask, at, kind)

    def limit(self, at: int, kind: str) -> tuple[str, float, float] | None:
        """Which limit fired, its value, and when; None for a whole answer."""
        error = self.ended[at, kind].error
        return None if error is None else (error.kind, error.seconds, self.ended[at, kind].at)

    def check(self, at: int, head: int) -> tuple[bool, str]:
        """See that each limit did what it should; whether the answer was whole, and its text.

        :param head: the length of the answer's head
        """
        told = {self.ended[at, kind].text for kind in KINDS}
        assert len(told) == 1, (at, told)
        fired, text = {kind: self.limit(at, kind) for kind in KINDS}, told.pop()
        if not any(fired.values()):
            for kind, wait in {**dict.fromkeys(KINDS, LIMIT), "first_chunk": SILENCE}.items():
                assert self.ended[at, kind].at <= wait + DRAIN, (at, kind)
            return True, text
        expected = {kind: (kind, LIMIT, LIMIT) for kind in KINDS}
        if at < head:  # a stall is one of the answer
            expected["stall"] = ("total", LATE, LATE)
        if text:
            expected["first_chunk"] = ("total", LATE, LATE)
        assert fired == expected, at
        return False, text


async def check_stops(label: str, transport: str, monkeypatch: pytest.MonkeyPatch, most: int | None) -> None:
    async with fleet_of(label, text=TEXT) as fleet, switchboard(monkeypatch) as board:
        tape = await taped(board, fleet[label])
        head = tape.index(b"\r\n\r\n") + 4
        offsets = some(edges(tape), most) if most else sorted({*edges(tape), *range(0, len(tape), _STEP)})
        async with opened(board, transport) as client:
            stopped = Stopped(board, fleet[label], client)
            await stopped.ask_all(offsets)
        found = [stopped.check(at, head) for at in offsets]
        assert found == sorted(found, key=lambda each: (each[0], len(each[1])))  # more bytes, more answer
        assert (found[0], found[-1]) == ((False, ""), (True, TEXT))
        await clocks.settle()
        assert board.open == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", ALL)
async def test_wherever_an_answer_stops_its_limit_fires(
    label: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_stops(label, transport, monkeypatch, _FEW[transport])


@pytest.mark.long
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", ALL)
async def test_at_whatever_edge_an_answer_stops_its_limit_fires(
    label: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_stops(label, transport, monkeypatch, None)


# --- what is said, and is no progress ---


def drip(seconds: float) -> Spoiler:
    """Say one byte at a time."""

    async def spoil(said: Said, client: Peer) -> None:
        while byte := await said.take(1):
            await client.send(byte)
            await anyio.sleep(seconds)

    return spoil


async def asked_all(
    board: Switchboard, fleet: Fleet, spoiler: Spoiler | None, client: Any
) -> dict[tuple[str, str], Any]:
    """Ask every service of a fleet with each of the limits; which fired, and when."""
    found: dict[tuple[str, str], tuple[str, float]] = {}

    async def ask(label: str, kind: str) -> None:
        running = fleet[label]
        ended = await read(reaching(running, f"{label}.test", http_client=client), only(kind))
        assert ended.error is not None
        assert ended.error.seconds == (LATE if ended.error.kind != kind else LIMIT)
        found[label, kind] = (ended.error.kind, ended.at)

    for label in fleet:
        answerer = simulated(fleet[label])
        board.lines[f"{label}.test"] = answerer if spoiler is None else spoilt(answerer, spoiler)
    async with anyio.create_task_group() as tasks:
        for label in fleet:
            for kind in KINDS:
                tasks.start_soon(ask, label, kind)
    return found


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_keep_alives_are_no_output(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault("keepalive", seconds=0.75)  # comments, empty lines or pings, as the wire has them
    async with fleet_of(*ALL, fault=fault) as fleet, switchboard(monkeypatch) as board:
        async with opened(board, transport) as client:
            found = await asked_all(board, fleet, None, client)
        await clocks.settle()
        assert board.open == 0
    expected = {kind: ("total", LATE) if kind == "idle" else (kind, LIMIT) for kind in KINDS}
    assert found == {(label, kind): expected[kind] for label in ALL for kind in KINDS}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_head_that_comes_byte_by_byte_is_not_idle(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board:
        async with opened(board, transport) as client:
            found = await asked_all(board, fleet, drip(0.75), client)
        await clocks.settle()
        assert board.open == 0
    expected = {kind: (kind, LIMIT) if kind in ("first_chunk", "total") else ("total", LATE) for kind in KINDS}
    assert found == {(label, kind): expected[kind] for label in ALL for kind in KINDS}


@pytest.mark.parametrize("kind", ["first_chunk", "stall", "idle"])
async def test_a_slow_answer_that_goes_on_runs_into_no_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(label: str) -> str:
        board.lines[f"{label}.test"] = simulated(fleet[label])
        ended = await read(reaching(fleet[label], f"{label}.test"), only(kind))
        assert ended.at >= 2.25
        return ended.text

    async with fleet_of(*ALL, text=TEXT, first_token=0.75, gap=0.75) as fleet, switchboard(monkeypatch) as board:
        assert await at_once(ask) == dict.fromkeys(ALL, TEXT)


# --- a race goes on ---


STOPS = {"before the head": 0, "in the head": 30, "in the body": 250}  # where no wire has said a word of its answer yet


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("where", STOPS)
async def test_a_race_is_won_by_who_goes_on_and_the_others_are_closed_at_once(
    where: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = [*(Service(label, dialect=label) for label in ALL), Service("good", text=TEXT, first_token=0.5)]
    async with serve(services) as fleet, switchboard(monkeypatch) as board:
        entrants = stopping(board, fleet, STOPS[where])
        async with (
            opened(board, transport) as client,
            race(entrants, "count", http_client=client) as stream,
        ):
            await clocks.settle()
            assert (stream.winner, anyio.current_time()) == ("good", 0.5)
            assert (await stream.collect()).text == TEXT
            assert {board.left[f"{label}.test"] for label in ALL} == {0.5}
        await clocks.settle()
        assert board.open == 0
        outcomes = {entrant.name: entrant.outcome for entrant in stream.report.entrants}
        assert outcomes == {**dict.fromkeys(ALL, "lost"), "good": "won"}


def stopping(board: Switchboard, fleet: Fleet, at: int) -> list[HttpProvider]:
    """Providers whose services stop there, all but the good one."""
    for label, running in fleet.items():
        line = simulated(running)
        board.lines[f"{label}.test"] = line if label == "good" else spoilt(line, stall(at))
    return [reaching(running, f"{label}.test", name=label) for label, running in fleet.items()]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_next_is_asked_when_a_limit_has_fired(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(label: str) -> Any:
        stopped = reaching(fleet[label], f"{label}.test", name=label, timeout=only(kind))
        async with race([stopped, good], "count", policy=fallback()) as stream:
            decided = (stream.winner, anyio.current_time(), board.left[f"{label}.test"])
            await stream.collect()
        error = stream.report.entrants[0].error
        assert isinstance(error, APITimeoutError)
        return decided, (error.provider, error.kind, error.seconds)

    services = [*(Service(label, dialect=label) for label in ALL), Service("good", text=TEXT)]
    async with serve(services) as fleet, switchboard(monkeypatch) as board:
        *_, good = stopping(board, fleet, 250)
        found = await at_once(ask)
        assert found == {label: (("good", LIMIT, LIMIT), (label, kind, LIMIT)) for label in ALL}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_race_of_stalled_services_ends_with_every_name_and_limit(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board:
        with pytest.raises(APITimeoutError if kind == "total" else AllFailed) as caught:
            await race(stopping(board, fleet, 250), "count", timeout=only(kind)).__aenter__()
        assert anyio.current_time() == LIMIT
        await clocks.settle()
        assert board.open == 0
    failures = getattr(caught.value, "failures", {"race": caught.value})  # the race keeps its total itself
    assert failures.keys() == ({"race"} if kind == "total" else {*ALL})
    for name, error in failures.items():
        assert (error.provider, error.kind, error.seconds) == (name, kind, LIMIT)


# --- a peer that does not read ---


LONG_PROMPT = "x" * (4 << 20)  # bytes, more than the system holds for a connection
DEAF = 100.0  # seconds


@pytest.mark.parametrize("kind", ["first_chunk", "idle", "total"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_that_nobody_reads_is_late(kind: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(label: str) -> Any:
        board.lines[f"{label}.test"] = slow_to_read(simulated(fleet[label]), DEAF)
        provider = reaching(fleet[label], f"{label}.test", name=label, http_client=client)
        with pytest.raises(APITimeoutError) as caught:
            await provider.complete(LONG_PROMPT, timeout=only(kind))
        assert LIMIT <= anyio.current_time() <= (1.2 * LIMIT if kind == "idle" else LIMIT), label
        return caught.value.provider, caught.value.kind, caught.value.seconds

    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board:
        async with opened(board, transport) as client:
            assert await at_once(ask) == {label: (label, kind, LIMIT) for label in ALL}
        await anyio.sleep(10 * DEAF)
        assert board.open == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_that_is_read_slowly_is_not_idle(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(label: str) -> str:
        line = slow_to_read(simulated(fleet[label]), LIMIT / 8)  # a system holds much, and wakes its writers late
        board.lines[f"{label}.test"] = line
        provider = reaching(fleet[label], f"{label}.test", http_client=client)
        completion = await provider.complete(LONG_PROMPT[: 1 << 20], timeout=Timeout(idle=LIMIT))
        assert anyio.current_time() > 1.5 * LIMIT
        return completion.text

    async with (
        fleet_of(*OVER_HTTP, text=TEXT) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport) as client,
    ):
        assert await at_once(ask, OVER_HTTP) == dict.fromkeys(OVER_HTTP, TEXT)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_leaves_a_request_that_nobody_reads_waits_for_nothing(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(label: str) -> float:
        board.lines[f"{label}.test"] = slow_to_read(simulated(fleet[label]), DEAF)
        with anyio.move_on_after(0.5) as scope:
            await reaching(fleet[label], f"{label}.test", http_client=client).complete(LONG_PROMPT)
        assert scope.cancelled_caught
        return anyio.current_time()

    async with fleet_of(*ALL) as fleet, switchboard(monkeypatch) as board:
        async with opened(board, transport) as client:
            assert await at_once(ask) == dict.fromkeys(ALL, 0.5)
        assert anyio.current_time() == 0.5
        await anyio.sleep(10 * DEAF)
        assert board.open == 0


async def test_a_write_that_was_cancelled_spoils_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = bytearray()

    async def hear(peer: Peer) -> None:
        await anyio.sleep(LIMIT)
        while data := await peer.receive():
            heard.extend(data)

    async with switchboard(monkeypatch) as board:
        board.lines["deaf.test"] = hear
        stream = await connect(Origin("http", "deaf.test", 80), context=None)
        with anyio.move_on_after(LIMIT / 2) as scope:
            await stream.send(LONG_PROMPT.encode(), None)
        assert scope.cancelled_caught
        await anyio.sleep(LIMIT)
        await stream.send(b"more", None)
        await clocks.settle()
        stream.close()
    assert heard.endswith(b"more")


# --- at close ---


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_peer_that_does_not_answer_a_good_bye_is_waited_for_a_moment(
    transport: str, scheme: str, monkeypatch: pytest.MonkeyPatch, certified: Certified
) -> None:
    """It never ends the body after the answer, it says no close frame, and no ``close_notify``."""

    async def ask(label: str) -> str:
        tape = await taped(board, fleet[label])
        line = spoilt(simulated(fleet[label]), stall(len(tape) - len(_LAST[label in OVER_SOCKETS])))
        host, began = f"{label}.test", anyio.current_time()
        board.lines[host] = encrypted(line, certified.server) if scheme == "https" else line
        completion = await reaching(fleet[label], host, scheme=scheme, http_client=http).complete("count")
        await clocks.settle()
        assert board.left[host] == anyio.current_time(), label
        assert anyio.current_time() - began <= SILENCE + DRAIN, label
        return completion.text

    async with (
        fleet_of(*ALL, text=TEXT) as fleet,
        switchboard(monkeypatch) as board,
        opened(board, transport, verify=certified.client) as http,
    ):
        assert await at_once(ask) == dict.fromkeys(ALL, TEXT)
        assert board.open == 0
