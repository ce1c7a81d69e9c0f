"""Races that are struck by Ctrl-C: a process forks one child after the other, which holds races until then.

``python -m tests.faults.interrupted LOOP SEED COUNT`` prints a line of JSON for each child: its number, the seconds
after which it was struck, and what there is to complain of. The parent has everything loaded before it forks, so a child
takes as long as its races.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from itertools import count
from random import Random

import anyio

from g4ftrio import race, race_sync
from tests.faults.census import census
from tests.faults.remote import Remote
from tests.faults.storms import TIMEOUT, Storm

__all__ = ("main",)

_LATEST = 0.4  # seconds
_PATIENCE = 30  # seconds
_INTERRUPT = {signal.SIGINT}
# trio lets Ctrl-C in between any two lines, so also between the call of a coroutine function and its await.
_UNAVOIDABLE = "was never awaited"


async def _storm(remote: Remote, seed: int) -> None:
    async with Storm(remote, seed) as storm:
        for number in count():
            await storm.races([number], at_once=1)


async def _held(remote: Remote) -> None:
    entrants = [remote.asking(name) for name in ("openai-compatible-slow", "anthropic-slow", "openai-realtime-slow")]
    while True:
        async with race(entrants, "?", timeout=TIMEOUT) as stream:
            async for _ in stream:
                pass


def _synchronous(remote: Remote) -> None:
    while True:
        with race_sync([remote.asking("gemini-slow"), remote.asking("ollama-slow")], "?", timeout=TIMEOUT) as stream:
            for _ in stream:
                pass


def _child(loop: str, remote: Remote, seed: int, number: int) -> list[str]:
    """Hold races until Ctrl-C; tell what there is to complain of."""
    said: list[str] = []
    sys.unraisablehook = lambda raised: said.append(f"{raised.err_msg or ''} {raised.exc_value!r}")
    before = _files()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
        match number % 3:
            case 0:
                anyio.run(_storm, remote, seed, backend=loop)
            case 1:
                anyio.run(_held, remote, backend=loop)
            case _:
                _synchronous(remote)
    except BaseException as error:
        if not _is_interrupt(error):
            said.append(repr(error))
    else:
        said.append("the interruption was lost")
    gc.collect()
    said = [each for each in said if _UNAVOIDABLE not in each]
    if (now := _files()) > before:
        said.append(f"{now - before} descriptors are left")
    return said


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are enough


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is Ctrl-C and nothing else; a storm's own task groups put it into groups."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_interrupt, error.exceptions))
    return isinstance(error, KeyboardInterrupt)


def _struck(loop: str, remote: Remote, seed: int, number: int) -> dict[str, object]:
    at = Random(f"{seed}/{number}").uniform(0, _LATEST)
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)  # until the child is where it can be struck
    child = os.fork()
    if child == 0:
        os.close(reading)
        said = _child(loop, remote, seed, number)
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    time.sleep(at)
    os.kill(child, signal.SIGINT)
    ended = _wait(child)
    with os.fdopen(reading) as pipe:
        told = pipe.read() if ended else '["it hangs"]'
    return {
        "number": number,
        "at": at,
        "said": json.loads(told or '["it died"]'),
        "in_flight": remote.quiet().in_flight,
    }


def _wait(child: int) -> bool:
    """Wait for its end; one that does not come is brought about."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    """Strike so many."""
    loop, seed, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Remote("storm") as remote:
        anyio.run(_warm_up, remote, backend=loop)
        for number in range(many):
            print(json.dumps(_struck(loop, remote, seed, number)), flush=True)


async def _warm_up(remote: Remote) -> None:
    async with Storm(remote, 0) as storm:
        await storm.races(range(20))
        census()


if __name__ == "__main__":
    main()
