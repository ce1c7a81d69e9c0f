"""In several threads, each with an event loop of its own: what is shared among them is for all of them.

Eight threads at once (trio, asyncio, uvloop, and the synchronous forms on either loop) race the same provider objects,
with a limit and a rate, by the same policy and budget, as the same un-entered ``Race``, and keep what they learn in the
same file. A ``Race`` that was entered belongs to its loop, and says so.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio

from g4ftrio import Race, Rate, adaptive, budget, race, race_sync
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import ThreadFleet, run_in_thread
from tests.embedding.services import SERVICES, TEXT, entrants

ROUNDS = 4


@pytest.fixture
def fleet() -> Iterator[ThreadFleet]:
    with run_in_thread(SERVICES) as fleet:
        yield fleet


def on_trio(main: Callable[[], Any]) -> Any:
    return trio.run(main)


def on_asyncio(main: Callable[[], Any]) -> Any:
    return asyncio.run(main())


def on_uvloop(main: Callable[[], Any]) -> Any:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


LOOPS = (on_trio, on_asyncio, on_uvloop)


@pytest.fixture(scope="module", autouse=True)
def libuv() -> None:
    on_uvloop(partial(asyncio.sleep, 0))  # the first loop opens a pipe for the process


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, all beginning together."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def in_eight_threads(asynchronous: Callable[[], Any], synchronous: Callable[[str], Any]) -> list[Any]:
    works = [partial(run, asynchronous) for run in (*LOOPS, *LOOPS)]
    return at_once(*works, partial(synchronous, "trio"), partial(synchronous, "asyncio"))


def test_providers_policy_and_budget_are_shared(fleet: ThreadFleet) -> None:
    asked = [
        OpenAICompatible(
            model=name,
            name=name,
            api_base=fleet[name].api_base,
            limit=12 if name == "never" else 3,
            rate=Rate(requests=1000, per=60),
        )
        for name in ("quick", "never")
    ]
    policy = adaptive(0.9, cold=5, budget=budget(0.5))

    async def several() -> list[str]:
        texts = []
        for _ in range(ROUNDS):
            async with race(asked, "Why?", policy=policy) as stream:
                texts.append((await stream.collect()).text)
        return texts

    def in_sync(backend: Any) -> list[str]:
        texts = []
        for _ in range(ROUNDS):
            with race_sync(asked, "Why?", policy=policy, backend=backend) as stream:
                texts.append(stream.collect().text)
        return texts

    assert in_eight_threads(several, in_sync) == [[TEXT] * ROUNDS] * 8
    fleet.quiet()
    assert sum(exchange.outcome == "complete" for exchange in fleet["quick"].log) == 8 * ROUNDS
    assert not any(running.connections for running in fleet.values())


def test_a_race_object_that_was_not_entered_is_for_all_threads(fleet: ThreadFleet) -> None:
    llm = Race(entrants(fleet, "quick", "error", "never"), order="latency")

    async def several() -> list[str]:
        return [(await llm.complete("Why?")).text for _ in range(ROUNDS)]

    def in_sync(backend: Any) -> list[str]:
        return [llm.complete_sync("Why?", backend=backend).text for _ in range(ROUNDS)]

    assert in_eight_threads(several, in_sync) == [[TEXT] * ROUNDS] * 8
    fleet.quiet()
    assert not any(running.connections for running in fleet.values())


def test_a_file_of_state_is_shared(fleet: ThreadFleet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = tmp_path / "fleet.json"

    async def several() -> list[str]:
        texts = []
        for _ in range(2):
            async with Race(entrants(fleet, "quick", "error"), policy=adaptive(0.9), state=state) as llm:
                texts.append((await llm.complete("Why?")).text)
        return texts

    def in_sync(backend: Any) -> list[str]:
        return anyio.run(several, backend=backend)

    assert in_eight_threads(several, in_sync) == [[TEXT] * 2] * 8
    assert caplog.records == []
    assert json.loads(state.read_bytes())["g4ftrio"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.json"]
    fleet.quiet()


def test_an_entered_race_belongs_to_its_loop(fleet: ThreadFleet) -> None:
    with anyio.from_thread.start_blocking_portal("trio") as portal:
        llm = Race(entrants(fleet, "quick"))
        with portal.wrap_async_context_manager(llm):
            for run in LOOPS:
                with pytest.raises(RuntimeError, match="entered on another event loop: make one for each loop"):
                    run(lambda: llm.complete("Why?"))
            assert portal.call(llm.complete, "Why?").text == TEXT
    assert run_alone(llm) == TEXT
    fleet.quiet()


def run_alone(llm: Race) -> str:
    return llm.complete_sync("Why?").text


def test_a_thread_that_is_cancelled_leaves_the_others_alone(fleet: ThreadFleet) -> None:
    llm = Race(entrants(fleet, "slow", "never"))
    keeps = Race(entrants(fleet, "quick", "never"))

    async def cancelled() -> str:
        with anyio.move_on_after(0.1) as scope:
            await llm.complete("Why?")
        return "cancelled" if scope.cancelled_caught else ""

    async def kept() -> str:
        return "".join([(await keeps.complete("Why?")).text for _ in range(ROUNDS)])

    works = [partial(run, work) for run in LOOPS for work in (cancelled, kept)]
    assert at_once(*works) == ["cancelled", TEXT * ROUNDS] * 3
    fleet.quiet()
    assert not any(running.connections for running in fleet.values())


@pytest.mark.parametrize("run", LOOPS)
def test_a_stream_that_another_thread_collects_is_closed_in_its_own_loop(fleet: ThreadFleet, run: Any) -> None:
    """What hangs in a circle is collected in whichever thread comes to it."""
    kept: list[Any] = []

    def collect() -> None:
        kept.clear()
        with pytest.warns(ResourceWarning, match="a stream of slow was dropped unread"):
            gc.collect()

    async def main() -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop().set_debug(True)  # asyncio then sees who calls it from another thread
        gc.disable()
        try:
            kept.append(await race(entrants(fleet, "slow", "never"), "Why?").settle())
            kept[0].itself = kept[0]
            await anyio.to_thread.run_sync(collect)
        finally:
            gc.enable()
        await anyio.to_thread.run_sync(fleet.quiet)
        assert {exchange.outcome for exchange in fleet["slow"].log} == {"client_gone"}

    run(main)
