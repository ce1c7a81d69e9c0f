"""Inside a FastAPI app, with the browser gone: nothing is left, whatever the server tells the app of it.

The app is the README's own, each of its doors under ASGI 2.3 (the sending is cancelled) and 2.4 (sending raises), on
both loops; the browser leaves before there is a winner, while a chunk is awaited, and while one is sent. Then: both
services see their client gone, and no task, generator or socket is left (``tests/leaks.py``). The same behind a
middleware, with a background task, with a server that cancels the app, and under uvicorn and hypercorn.
"""

from __future__ import annotations

import gc
import socket
import sys
import types
from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import NoneType
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import g4ftrio
from g4ftrio.simulator import Fleet, serve
from tests.embedding.asgi import VERSIONS, Browser
from tests.embedding.services import SERVICES, TEXT, asked, entrants, gone
from tests.faults.relay import Said, faithful, relayed
from tests.test_readme import example

pytestmark = pytest.mark.anyio

DOORS = ("/ask", "/ask-too")
QUESTION = "?question=Why"

every_version = pytest.mark.parametrize("version", VERSIONS)
every_door = pytest.mark.parametrize("door", DOORS)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with serve(SERVICES) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def readme() -> Iterator[Any]:
    """The README's app as a module; its ``ENTRANTS`` are for the test to set."""
    module: Any = types.ModuleType("readme_app")
    sys.modules["readme_app"] = module  # where FastAPI looks up the annotations
    exec(compile(example("web"), "README.md", "exec"), vars(module))
    yield module
    del sys.modules["readme_app"]


def app_of(readme: Any, fleet: Fleet, *names: str) -> Any:
    readme.ENTRANTS[:] = [fleet[name].spec for name in names]
    return readme.app


def disconnected(browser: Browser, version: str) -> bool:
    """Whether the app let out what it should: up to 2.3 nothing, from 2.4 on Starlette's own error."""
    return type(browser.error) is (NoneType if version == "2.3" else ClientDisconnect)


# --- the browser stays ---


@every_version
@every_door
async def test_a_browser_that_stays_gets_the_whole_answer(readme: Any, fleet: Fleet, door: str, version: str) -> None:
    browser = Browser(app_of(readme, fleet, "quick", "never"), door + QUESTION, version)
    await browser.visit()
    assert (browser.status, browser.text, browser.is_complete) == (200, TEXT, True)
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


async def test_when_all_fail_the_status_says_so(readme: Any, fleet: Fleet) -> None:
    browser = Browser(app_of(readme, fleet, "error"), "/ask" + QUESTION, "2.4")
    await browser.visit()
    assert browser.status == 502
    assert "no provider answered" in browser.text


# --- the browser goes ---


@every_version
@every_door
async def test_gone_before_the_winner(readme: Any, fleet: Fleet, door: str, version: str) -> None:
    """No server tells the app, which goes on until there is a winner, and then no further."""
    decide = anyio.Event()

    async def held_back(said: Said, client: Any) -> None:
        await decide.wait()
        await faithful(said, client)

    async with relayed(fleet["slow"].api_base, held_back) as relay:
        app = app_of(readme, fleet, "never")
        readme.ENTRANTS.append(f"openai-compatible/slow@{relay.api_base}")
        browser = Browser(app, door + QUESTION, version)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(browser.visit)
            await asked(fleet, "slow", "never")
            browser.leave()
            await asked(fleet, "slow", "never")
            decide.set()
        assert await gone(fleet)
        assert browser.text == ""
        assert disconnected(browser, version)


@every_version
@every_door
async def test_gone_during_a_read(readme: Any, fleet: Fleet, door: str, version: str) -> None:
    """Under 2.3 the app is told at once, while the service says no more; under 2.4 at the next chunk."""
    name = "stuck" if version == "2.3" else "slow"
    browser = Browser(app_of(readme, fleet, name, "never"), door + QUESTION, version)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await browser.received.wait()
        await anyio.sleep(0.001)
        browser.leave()
    assert await gone(fleet)
    assert browser.text.startswith("on")
    assert disconnected(browser, version)


@every_version
@every_door
async def test_gone_during_a_send(readme: Any, fleet: Fleet, door: str, version: str) -> None:
    browser = Browser(app_of(readme, fleet, "slow", "never"), door + QUESTION, version, blocks_at=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await browser.blocked.wait()
        browser.leave()
    assert await gone(fleet)
    assert browser.text == "on"
    assert disconnected(browser, version)


@every_door
@pytest.mark.parametrize("moment", ["before the winner", "during a read", "during a send"])
async def test_a_server_that_cancels_the_app(readme: Any, fleet: Fleet, door: str, moment: str) -> None:
    name = "never" if moment == "before the winner" else "stuck"
    blocks_at = 1 if moment == "during a send" else 9
    browser = Browser(app_of(readme, fleet, name, "never"), door + QUESTION, "2.4", blocks_at=blocks_at)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await asked(fleet, name)
        if moment == "during a read":
            await browser.received.wait()
        elif moment == "during a send":
            await browser.blocked.wait()
        tasks.cancel_scope.cancel()
    assert await gone(fleet)


@pytest.mark.may_leak("under 2.4, a generator of Starlette's own, body_stream")
@pytest.mark.filterwarnings("ignore:.*body_stream:ResourceWarning")
@every_version
@every_door
async def test_gone_behind_a_middleware(readme: Any, fleet: Fleet, door: str, version: str) -> None:
    """Starlette's ``BaseHTTPMiddleware`` runs the app in a task of its own and hands its pieces on."""

    async def pass_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app = BaseHTTPMiddleware(app_of(readme, fleet, "slow", "never"), dispatch=pass_on)
    browser = Browser(app, door + QUESTION, version, blocks_at=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await browser.blocked.wait()
        browser.leave()
    assert await gone(fleet)


# --- other ways to write it ---


async def test_an_app_that_looks_out_for_its_browser_stops_racing_when_it_goes(fleet: Fleet) -> None:
    async def look_out(request: Request, scope: anyio.CancelScope) -> None:
        while not await request.is_disconnected():  # noqa: ASYNC110  # there is no event
            await anyio.sleep(0.002)
        scope.cancel()

    async def ask(request: Request) -> Response:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_out, request, tasks.cancel_scope)
            await g4ftrio.Race(entrants(fleet, "never")).complete("Why?")
        return Response("nobody hears it")

    browser = Browser(Starlette(routes=[Route("/", ask)]), "/", "2.3")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await asked(fleet, "never")
        browser.leave()
    assert await gone(fleet)
    assert browser.text == ""


def forget(browser: Browser) -> None:
    """Do as a server that has logged an error."""
    browser.error = None
    gc.collect()


@every_version
async def test_a_background_task_closes_up_to_2_3_and_then_only_the_dropping_does(fleet: Fleet, version: str) -> None:
    async def ask(request: Request) -> Response:
        stream = await g4ftrio.race(entrants(fleet, "slow", "never"), "Why?").settle()
        return StreamingResponse(stream.text_stream, background=BackgroundTask(stream.aclose))

    browser = Browser(Starlette(routes=[Route("/", ask)]), "/", version, blocks_at=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.visit)
        await browser.blocked.wait()
        browser.leave()
    if browser.error is not None:
        assert fleet["slow"].in_flight == 1
        with pytest.warns(ResourceWarning, match="a stream of slow was dropped unread"):
            forget(browser)
    assert await gone(fleet)


@every_version
async def test_a_race_in_a_background_task_runs_after_the_answer_was_sent(fleet: Fleet, version: str) -> None:
    answers: list[str] = []

    async def race() -> None:
        answers.append((await g4ftrio.Race(entrants(fleet, "quick", "never")).complete("Why?")).text)

    def race_in_a_thread() -> None:
        with g4ftrio.race_sync(entrants(fleet, "quick", "never"), "Why?") as stream:
            answers.append(stream.collect().text)

    async def ask(request: Request) -> Response:
        background = BackgroundTasks()
        background.add_task(race)
        background.add_task(race_in_a_thread)
        return Response("done", background=background)

    browser = Browser(Starlette(routes=[Route("/", ask)]), "/", version)
    await browser.visit()
    assert (browser.text, answers) == ("done", [TEXT, TEXT])
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


# --- real servers ---


async def visit(port: int, target: str, *, until: bytes) -> SocketStream:
    """Ask as a browser does, and read so far."""
    browser = await anyio.connect_tcp("127.0.0.1", port)
    await browser.send(b"GET %s HTTP/1.1\r\nHost: app.test\r\n\r\n" % target.encode())
    got = b""
    while until not in got:
        got += await browser.receive()
    return browser


async def leave_at_every_moment(readme: Any, fleet: Fleet, port: int) -> None:
    """Through each door: stay; leave while a chunk is awaited; leave while the server cannot send."""
    for door in DOORS:
        app_of(readme, fleet, "quick", "never")
        async with await visit(port, door + QUESTION, until=b"light."):
            pass
        for name in ("stuck", "slow"):
            app_of(readme, fleet, name, "never")
            async with await visit(port, door + QUESTION, until=b"on"):
                assert fleet[name].in_flight == 1
            await fleet.quiet()
    assert {exchange.outcome for name in ("stuck", "slow", "never") for exchange in fleet[name].log} == {"client_gone"}
    assert {exchange.outcome for exchange in fleet["quick"].log} == {"complete"}
    assert not any(running.connections for running in fleet.values())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


async def test_under_uvicorn(readme: Any, fleet: Fleet, listener: socket.socket, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("uvicorn runs on asyncio")
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(readme.app, lifespan="off", log_level="critical"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await leave_at_every_moment(readme, fleet, listener.getsockname()[1])
        server.should_exit = True


async def test_under_hypercorn(readme: Any, fleet: Fleet, listener: socket.socket, anyio_backend_name: str) -> None:
    config = pytest.importorskip("hypercorn.config").Config()
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]  # hypercorn closes it
    config.loglevel = "CRITICAL"
    hypercorn_serve = pytest.importorskip(f"hypercorn.{anyio_backend_name}").serve
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(hypercorn_serve, readme.app, config, shutdown_trigger=stop.wait))
        await leave_at_every_moment(readme, fleet, port)
        stop.set()
