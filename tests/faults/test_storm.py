"""A storm of cancellations leaves nothing behind: no task, no descriptor, no generator, no thread, no memory.

Over sockets, against simulated services in a process of their own: 1,000 races of three entrants on each of trio and
asyncio (every wire, plain and TLS, a place that is mute and one that takes no connection; every policy, mid-stream
failover with and without a standby; left, settled, dropped, closed, read in bites, from threads), most of them cut off
at a random moment by a scope, a deadline, a task's own ``cancel()``, twice, or a failing sibling. Ctrl-C: 9 processes
on each loop, each struck at a random moment. Memory, 300 races behind 300, and ``-X dev``, 50 behind 100: in processes
of their own, by ``benchmarks/soak.py``. Long: 10,000 races on each of trio, asyncio and uvloop, 200 times Ctrl-C on
each loop, and traced memory. In virtual time: ``test_storm_virtual.py``.

What fails names the seed of its storm and the number of its race; ``Storm(remote, seed).races([number])`` holds it
again.
"""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from g4ftrio import AllFailed, fallback, open_http_client, race, race_sync
from g4ftrio._streams.sync import SyncStream
from g4ftrio._streams.threads import ThreadAnswer
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import HttpProvider, OpenAICompatible
from g4ftrio.testing import Scripted
from tests import clocks
from tests.faults.census import census
from tests.faults.remote import Remote
from tests.faults.storms import PLACES, Storm, lost_places

ROOT = Path(__file__).parent.parent.parent
SEED = 7
RACES = 1000
MANY = 5000
BATCH = 200
GROWTH = 4 << 20  # bytes of resident memory in which the last races of a soak may differ from the first


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    with Remote("storm") as remote:
        yield remote


async def weather(remote: Remote, seed: int, races: int) -> None:
    """Hold a storm, and look after every batch what it has left; afterwards see that everything works as before."""
    first = census()
    async with Storm(remote, seed) as storm:
        await storm.races(range(20))  # what is loaded once
        await _a_connection_is_kept(remote, storm.shared)  # and so trio's task that watches reads lives from here on
        before = storm.count()
        assert before.files <= first.files
        for batch in range(0, races, BATCH):
            numbers = range(batch, min(batch + BATCH, races))
            await storm.races(numbers)
            assert await storm.left(before) == {}, f"after races {numbers} of the storm with seed {seed}"
        slow = remote.asking("slow_head")
        await _held_at_once(remote, slow, storm.shared, PLACES)
        await _held_at_once(remote, slow, storm.stock, PLACES - lost_places(storm.stock))
        for client in (storm.shared, storm.stock):
            await _a_connection_is_kept(remote, client)
        _check_limits(remote, storm)
        assert {"cancelled", "done"} <= {*storm.outcomes}, storm.outcomes
    with anyio.fail_after(30):
        while remote.state().open:  # noqa: ASYNC110  # it is another process that knows
            await anyio.sleep(0.02)
    assert census().files <= first.files


def _check_limits(remote: Remote, storm: Storm) -> None:
    for name in remote.names:
        limiter = storm.entrant(name)._limiter
        if limiter is not None:
            assert limiter._inside == len(limiter._left), f"{name} holds places of its limit"
            assert not limiter._line


async def _held_at_once(remote: Remote, provider: HttpProvider, client: httpx.AsyncClient, count: int) -> None:
    """Ask somebody who does not answer so often, and see that all questions arrive."""
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(_ask, provider, client)
            while remote.state().in_flight < count:  # noqa: ASYNC110  # it is another process that knows
                await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
    remote.quiet()


async def _ask(provider: HttpProvider, client: httpx.AsyncClient) -> None:
    await provider.complete("?", http_client=client)


async def _a_connection_is_kept(remote: Remote, client: httpx.AsyncClient) -> None:
    provider = remote.asking("openai-compatible-swift")
    await provider.complete("?", http_client=client)
    before = remote.quiet()
    for _ in range(5):
        assert (await provider.complete("?", http_client=client)).text
    after = remote.quiet()
    assert (after.open, after.asked) == (before.open, before.asked + 5)


@pytest.mark.anyio
async def test_a_storm_leaves_nothing_behind(remote: Remote) -> None:
    await weather(remote, SEED, RACES)


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["aclose", "close_now", "both", "cancelled"])
async def test_a_settled_race_leaves_none_of_its_own_client_s_connections(remote: Remote, how: str) -> None:
    before = census().files
    refused, slow = remote.asking("error"), remote.asking("openai-compatible-slow")
    stream = await race([refused, slow], "?", policy=fallback()).settle()
    assert stream.winner == "openai-compatible-slow"  # the other one's connection is kept by the race's own client
    if how == "cancelled":  # as a web framework does when the browser has gone
        with anyio.move_on_after(0) as scope:
            await anext(stream.text_stream)
        assert scope.cancelled_caught
    if how in ("close_now", "both"):
        stream.close_now()
    if how in ("aclose", "both"):
        await stream.aclose()
    await anyio.lowlevel.checkpoint()  # asyncio closes sockets in the loop's next turn
    await anyio.lowlevel.checkpoint()
    assert census().files == before


@pytest.mark.anyio
async def test_a_cancelled_handshake_on_httpx_s_own_transport_leaves_no_socket(remote: Remote) -> None:
    mute = remote.asking("openai-compatible-swift", api_base=f"https://{remote.mute}/v1")
    async with open_http_client(limits=httpx.Limits(max_connections=1)) as client:
        before = census().files
        with anyio.move_on_after(0.3) as scope:
            await mute.complete("?", http_client=client)
        assert scope.cancelled_caught
        await anyio.lowlevel.checkpoint()  # asyncio closes sockets in the loop's next turn
        assert census().files == before


@pytest.mark.anyio
async def test_a_cancelled_send_on_httpx_s_own_transport_leaves_no_generator() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes the connection and reads nothing
        base = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        async with open_http_client(limits=httpx.Limits(max_connections=1)) as client:
            with anyio.move_on_after(0.3) as scope:
                provider = OpenAICompatible(model="m", api_base=base)
                await provider.complete("x" * (16 << 20), http_client=client)
            assert scope.cancelled_caught


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "anyio_backend",
    [clocks.real_backend("asyncio"), clocks.real_backend("trio"), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "trio", "uvloop"],
)
@pytest.mark.timeout(1800)
async def test_a_long_storm_leaves_nothing_behind(remote: Remote, seed: int) -> None:
    await weather(remote, seed, MANY)


# --- in a process of its own, where memory is its own and the interpreter looks closely ---


def soaked(*options: str, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [sys.executable, *flags, "-W", "error", str(ROOT / "benchmarks" / "soak.py"), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any]) -> None:
    """See that counts are as they were after the warm-up, and memory about so."""
    _, *first = found["samples"][0]
    _, *last = found["samples"][-1]
    assert found["complaints"] == []
    assert last[:4] == first[:4]
    assert last[5] - first[5] <= GROWTH


def test_memory_is_back_at_its_level() -> None:
    check(soaked("--round", "100", "--races", "600", "--warm-up", "300", "--no-trace", "--loop", "trio"))


def test_the_interpreter_s_own_development_mode_has_nothing_to_say() -> None:
    check(
        soaked(
            "--round",
            "50",
            "--races",
            "150",
            "--warm-up",
            "100",
            "--no-trace",
            "--loop",
            "asyncio",
            flags=("-X", "dev"),
        )
    )


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("loop", ["trio", "asyncio", "uvloop"])
def test_traced_memory_is_back_at_its_level(loop: str) -> None:
    found = soaked("--races", "2000", "--warm-up", "1000", "--loop", loop, flags=("-X", "dev"))
    check(found)
    assert found["samples"][-1][5] - found["samples"][0][5] <= GROWTH // 8


# --- Ctrl-C ---


def interrupted(loop: str, seed: int, many: int) -> None:
    flags = ("-X", "dev", "-W", "error", "-m", "tests.faults.interrupted")
    command = [sys.executable, *flags, loop, str(seed), str(many)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    struck = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(struck) == many, done.stderr
    bad = [each for each in struck if each["said"] or each["in_flight"]]
    assert not bad, f"of those that were struck with seed {seed} on {loop}: {bad}"


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_an_interruption_ends_everything(loop: str) -> None:
    interrupted(loop, SEED, 9)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_many_interruptions_end_everything(loop: str) -> None:
    interrupted(loop, SEED + 1, 200)


# --- what synchronous forms remember of an error ---


def _alive(kind: type[object]) -> int:
    """Count those that are held, when the threads that read for them have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("g4ftrio-"):
            thread.join(10)
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


def test_a_synchronous_race_that_failed_is_forgotten() -> None:
    before = _alive(SyncStream)
    for _ in range(3):
        with pytest.raises(AllFailed):
            race_sync([Scripted(error=OSError("no"))], "?").__enter__()
        broken = race_sync([Scripted("a", error=OSError("no"))], "?").__enter__()  # and never left
        with pytest.raises(OSError, match="no"):
            broken.collect()
        del broken
    assert _alive(SyncStream) == before


class Refusing(AbstractProvider):
    label = "refusing"

    def create_completion(self, model: str, messages: Any, **params: Any) -> Iterator[str]:
        yield "a"
        raise OSError("no")


@pytest.mark.anyio
async def test_an_answer_of_a_synchronous_provider_that_failed_is_forgotten() -> None:
    before = _alive(ThreadAnswer)
    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            await Refusing().complete("?")
    assert _alive(ThreadAnswer) == before
