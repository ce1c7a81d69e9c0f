"""Between threads and loops: anyio's portals and worker threads, and the caller's context in whatever runs for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from g4ftrio import Chunk, Race, race, race_sync
from g4ftrio.base_provider import AbstractProvider, AsyncGeneratorProvider
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import Fleet, ThreadFleet, run_in_thread, serve
from tests.embedding.services import SERVICES, TEXT, asked, entrants, gone, whole

BACKENDS = ("asyncio", "trio")
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def fleet() -> Iterator[ThreadFleet]:
    with run_in_thread(SERVICES) as fleet:
        yield fleet


@pytest.fixture
async def near() -> AsyncIterator[Fleet]:
    """The services on the test's own loop."""
    async with serve(SERVICES) as fleet:
        yield fleet


# --- portals ---


@every_backend
def test_a_portal_races_and_each_read_is_a_call_of_its_own(fleet: ThreadFleet, backend: str) -> None:
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        llm = Race(entrants(fleet, "quick", "never"))
        assert portal.call(llm.complete, "Why?").text == TEXT
        with portal.wrap_async_context_manager(race(entrants(fleet, "slow", "never"), "Why?")) as stream:
            assert [portal.call(stream.receive) for _ in range(3)] == ["on", " and", " on"]
        stream = portal.call(race(entrants(fleet, "slow", "never"), "Why?").settle)
        assert [portal.call(stream.receive) for _ in range(3)] == ["on", " and", " on"]
        portal.call(stream.aclose)
    fleet.quiet()
    assert {exchange.outcome for exchange in fleet["slow"].log} == {"client_gone"}
    assert not any(running.connections for running in fleet.values())


@every_backend
def test_a_future_of_a_portal_that_is_cancelled_closes_its_race(fleet: ThreadFleet, backend: str) -> None:
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        future = portal.start_task_soon(Race(entrants(fleet, "stuck", "never")).complete, "Why?")
        portal.call(anyio.sleep, 0.05)
        assert future.cancel()
        portal.call(anyio.sleep, 0)
        fleet.quiet()
    assert not any(running.connections for running in fleet.values())


@every_backend
def test_a_portal_that_ends_takes_its_races_with_it(fleet: ThreadFleet, backend: str) -> None:
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        portal.start_task_soon(Race(entrants(fleet, "stuck", "never")).complete, "Why?")
        portal.call(anyio.sleep, 0.05)
        portal.call(portal.stop, True)
    fleet.quiet()
    assert not any(running.connections for running in fleet.values())


# --- worker threads ---


@pytest.mark.anyio
async def test_a_worker_thread_races_by_itself_and_by_the_loop_that_it_came_from(near: Fleet) -> None:
    llm = Race(entrants(near, "quick", "never"))

    def work() -> list[str]:
        texts = [llm.complete_sync("Why?", backend=backend).text for backend in BACKENDS]  # type: ignore[arg-type]  # literals
        texts.append(anyio.from_thread.run(llm.complete, "Why?").text)
        with race_sync(entrants(near, "quick", "never"), "Why?") as stream:
            texts.append(stream.collect().text)
        return texts

    assert await anyio.to_thread.run_sync(work) == [TEXT] * 4
    assert await whole(near, "quick", 4)


@pytest.mark.anyio
async def test_a_worker_s_race_on_the_loop_is_cancelled_with_the_worker_s_task(near: Fleet) -> None:
    llm = Race(entrants(near, "stuck", "never"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, lambda: anyio.from_thread.run(llm.complete, "Why?"))
        await asked(near, "stuck")
        tasks.cancel_scope.cancel()
    assert await gone(near)


# --- the caller's context ---

who: ContextVar[str] = ContextVar("who", default="nobody")


class Written(AsyncGeneratorProvider):
    """A generator that says who asks, and afterwards calls itself the asker."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        yield who.get()
        who.set("the provider")


class Threaded(AbstractProvider):
    """The same, synchronous."""

    def create_completion(self, model: str, messages: Any, **params: Any) -> Iterator[Chunk]:
        yield who.get()
        who.set("the provider")


@every_backend
@pytest.mark.parametrize("provider", [Written, Threaded])
def test_a_provider_s_code_sees_the_caller_s_context_and_changes_it_for_nobody(
    provider: type[AbstractProvider], backend: Any
) -> None:
    async def in_a_loop() -> list[str]:
        who.set("a task")
        texts = [(await provider(model="m").complete("Who?")).text]
        texts.append((await Race([provider(model="m")]).complete("Who?")).text)
        async with race([provider(model="m")], "Who?") as stream:
            texts.append((await stream.collect()).text)
        return [*texts, who.get()]

    token = who.set("a thread")
    try:
        said = [provider(model="m").complete_sync("Who?", backend=backend).text]
        with race_sync([provider(model="m")], "Who?", backend=backend) as stream:
            said.append(stream.collect().text)
        said.append(who.get())
        assert said == ["a thread"] * 3
        assert anyio.run(in_a_loop, backend=backend) == ["a task"] * 4
        assert who.get() == "a thread"
        with anyio.from_thread.start_blocking_portal(backend) as portal:
            assert portal.call(Race([provider(model="m")]).complete, "Who?").text == "a thread"
    finally:
        who.reset(token)


@pytest.mark.anyio
async def test_a_key_s_function_and_a_hook_see_the_caller_s_context(near: Fleet) -> None:
    seen: set[tuple[str, str]] = set()

    def key() -> str:
        seen.add(("key", who.get()))
        return "key"

    def hook(event: Any) -> None:
        seen.add(("hook", who.get()))

    async def ask() -> str:
        who.set("a request")
        provider = OpenAICompatible(model="quick", api_base=near["quick"].api_base, api_key=key)
        return (await Race([provider], on_event=hook).complete("Why?")).text

    texts: list[str] = []

    async def request() -> None:
        texts.append(await ask())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
    assert (texts, seen, who.get()) == ([TEXT], {("key", "a request"), ("hook", "a request")}, "nobody")
    assert await whole(near, "quick", 1)
