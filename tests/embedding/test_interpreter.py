"""Ctrl-C, and the end of the interpreter, in the midst of a race: one KeyboardInterrupt, no traceback of ours, no hang.

A program of the user's runs ``asyncio.run`` or ``trio.run`` and is interrupted before there is a winner, while it
waits in a read, and while it is busy: ``KeyboardInterrupt`` leaves that once, and the services see
their client gone before the program does anything else. Others end with a stream open in each way that one is kept.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from g4ftrio import race_iterators
from g4ftrio.simulator import Service, ThreadFleet, run_in_thread
from tests.embedding.services import NEVER

ROOT = Path(__file__).parent.parent.parent

INTERRUPTED = """if True:
    import asyncio, sys, threading, warnings
    import trio
    import g4ftrio
    from g4ftrio.providers import OpenAICompatible

    # The interrupt can come between the making of a coroutine and the `await`.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    loop, bases = sys.argv[1], dict(zip(("slow", "stuck", "never"), sys.argv[2:]))

    def entrants(*names):
        return [OpenAICompatible(model="m", api_base=bases[name]) for name in names]

    def tell():
        print("ready", flush=True)

    async def before_the_winner():
        tell()
        async with g4ftrio.race(entrants("never"), "Why?"):
            print("won", flush=True)

    async def during_a_read():
        async with g4ftrio.race(entrants("stuck", "never"), "Why?") as stream:
            await anext(stream)
            tell()
            await anext(stream)

    async def settled():
        async with await g4ftrio.race(entrants("stuck", "never"), "Why?").settle() as stream:
            await anext(stream)
            tell()
            await anext(stream)

    async def busy():
        async with g4ftrio.race(entrants("slow", "never"), "Why?") as stream:
            await anext(stream)
            tell()
            while True:
                sum(range(1000))
                await anext(stream)

    for main in (before_the_winner, during_a_read, settled, busy):
        try:
            asyncio.run(main()) if loop == "asyncio" else trio.run(main)
        except KeyboardInterrupt as error:
            shown = type(error).__name__
        except BaseExceptionGroup as group:
            shown = str(group)
        print(main.__name__, shown, threading.active_count(), flush=True)
        sys.stdin.readline()
"""
ENDING = """if True:
    import asyncio, os, sys
    import trio
    import g4ftrio
    from anyio.from_thread import start_blocking_portal
    from g4ftrio.providers import OpenAICompatible

    entrants = [OpenAICompatible(model="m", api_base=base) for base in sys.argv[1:3]]

    async def settle():
        global stream
        stream = await g4ftrio.race(entrants, "Why?").settle()
        await anext(stream)

    async def leave():
        async with g4ftrio.race(entrants, "Why?") as stream:
            await anext(stream)
            sys.exit(0)

    g4ftrio.open_http_client()  # loads what is loaded late
    for how in sys.argv[3:]:
        if not (child := os.fork()):
            break
        print(how, os.waitpid(child, 0)[1], flush=True)
    else:
        how = "nothing"

    match how:
        case "settled on asyncio":
            asyncio.run(settle())
        case "settled on trio":
            trio.run(settle)
        case "a loop that was stopped":
            loop = asyncio.new_event_loop()
            loop.run_until_complete(settle())
        case "exit inside asyncio":
            asyncio.run(leave())
        case "exit inside trio":
            trio.run(leave)
        case "entered and not left":
            stream = g4ftrio.race_sync(entrants, "Why?").__enter__()
            next(stream)
        case "a portal":
            with start_blocking_portal("asyncio") as portal:
                portal.call(settle)
"""
ENDS = (
    *("settled on asyncio", "settled on trio", "a loop that was stopped", "exit inside asyncio", "exit inside trio"),
    *("entered and not left", "a portal"),
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[ThreadFleet]:
    services = [
        Service("slow", text="on and " * 1000, gap=0.002, models=("m",)),
        Service("stuck", text="on and on", gap=NEVER, models=("m",)),
        Service("never", first_token=NEVER, models=("m",)),
    ]
    with run_in_thread(services) as fleet:
        yield fleet


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bases(fleet: ThreadFleet, *names: str) -> list[str]:
    return [fleet[name].api_base for name in names]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process")
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_ctrl_c_leaves_the_loop_once_when_all_is_closed(fleet: ThreadFleet, loop: str) -> None:
    with start(INTERRUPTED, loop, *bases(fleet, "slow", "stuck", "never")) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for moment in ("before_the_winner", "during_a_read", "settled", "busy"):
            assert process.stdout.readline() == "ready\n"
            if moment == "before_the_winner":
                wait_until_asked(fleet, "never")
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == f"{moment} KeyboardInterrupt 1\n"
            fleet.quiet()
            assert not any(running.connections for running in fleet.values()), moment
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0
    assert {exchange.outcome for running in fleet.values() for exchange in running.log} == {"client_gone"}


def wait_until_asked(fleet: ThreadFleet, name: str) -> None:
    import time

    until = time.monotonic() + 20
    while not fleet[name].in_flight:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_on_trio_no_ctrl_c_comes_in_the_midst_of_an_entrant_s_task() -> None:
    """It might come between two lines that leave a cancel scope; it is for the main task."""
    protected: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        protected.append(trio.lowlevel.currently_ki_protected())
        yield 1

    async def main() -> None:
        async with race_iterators([numbers]):
            protected.append(trio.lowlevel.currently_ki_protected())

    trio.run(main)
    assert protected == [True, False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_program_that_ends_with_a_stream_open_ends_in_silence(fleet: ThreadFleet) -> None:
    """Each ending is a fork of one program that has loaded everything and run nothing."""
    with start(ENDING, *bases(fleet, "slow", "never"), *ENDS) as process:
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (output.splitlines(), errors) == ([f"{how} 0" for how in ENDS], "")
    fleet.quiet()
    assert [exchange.outcome for exchange in fleet["slow"].log[-len(ENDS) :]] == ["client_gone"] * len(ENDS)
    assert not any(service.connections for service in fleet.values())
