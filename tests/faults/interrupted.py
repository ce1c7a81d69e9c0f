"""Races that are struck by Ctrl-C: a process forks one child after the other, which holds races until then.

``python -m tests.faults.interrupted LOOP SEED COUNT`` prints a line of JSON for each child: its number, the seconds
after which it was struck, and what there is to complain of. The parent has everything loaded before it forks, so that
a child takes as long as its races.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, TypeAlias

import anyio

from g4ftrio import race, race_sync
from tests.faults.census import census
from tests.faults.remote import Remote
from tests.faults.storms import TIMEOUT, Storm

__all__ = ("main",)

_LATEST = 0.4  # seconds
_PATIENCE = 30  # seconds
_INTERRUPT = {signal.SIGINT}
# By default trio lets Ctrl-C in between any two lines, also those of anyio's task groups, and then says that its
# nurseries are corrupted, or hangs: so it did for 43 of 1,241 that were struck here, and no library above can help it.
_OPTIONS: dict[str, dict[str, Any]] = {"trio": {"restrict_keyboard_interrupt_to_checkpoints": True}, "asyncio": {}}
_Begun: TypeAlias = Callable[[], object]


async def _storm(remote: Remote, seed: int, begun: _Begun) -> None:
    begun()
    async with Storm(remote, seed) as storm:
        for number in count():
            await storm.races([number], at_once=1)


async def _held(remote: Remote, begun: _Begun) -> None:
    begun()
    entrants = [remote.asking(name) for name in ("openai-compatible-slow", "anthropic-slow", "openai-realtime-slow")]
    while True:
        async with race(entrants, "?", timeout=TIMEOUT) as stream:
            async for _ in stream:
                pass


def _synchronous(remote: Remote, begun: _Begun) -> None:
    begun()
    while True:
        with race_sync([remote.asking("gemini-slow"), remote.asking("ollama-slow")], "?", timeout=TIMEOUT) as stream:
            for _ in stream:
                pass


def _child(loop: str, remote: Remote, seed: int, number: int, begun: _Begun) -> list[str]:
    """Hold races until Ctrl-C; tell what there is to complain of."""
    said: list[str] = []
    sys.unraisablehook = lambda raised: said.append(f"{raised.err_msg or ''} {raised.exc_value!r}")
    before = _files()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
        match number % 3:
            case 0:
                anyio.run(_storm, remote, seed, begun, backend=loop, backend_options=_OPTIONS[loop])
            case 1:
                anyio.run(_held, remote, begun, backend=loop, backend_options=_OPTIONS[loop])
            case _:
                _synchronous(remote, begun)
    except BaseException as error:
        if not _is_interrupt(error):
            said.append(repr(error))
    else:
        said.append("the interruption was lost")
    if left := _left(before):
        said.append(f"{left} descriptors are left")
    return said


def _left(before: int) -> int:
    """How many descriptors more there are, when the threads of synchronous races have ended."""
    for _ in range(100):
        gc.collect()
        if (left := _files() - before) <= 0:
            return 0
        time.sleep(0.05)
    return left


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
        said = _child(loop, remote, seed, number, lambda: os.write(writing, b"\n"))
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    os.read(reading, 1)  # it has begun; what Ctrl-C does to an event loop that is being made is the loop's own affair
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
