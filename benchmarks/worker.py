"""A process that measures one library on one event loop: it reads jobs, a line of JSON each, and answers with figures.

Started by ``run.py`` with the interpreter of the library's own environment. A client is kept as long as the jobs are of
one question, so that connections are warm and interleaved samples comparable.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import groupby
from typing import Any

from clients import CannotDo, Client
from control import Control
from loops import LOOPS, Loop

__all__ = ("Worker",)


class Worker:
    """What a question measures with.

    :ivar client: the library
    :ivar loop: the event loop it runs on
    :ivar server: what answers
    :ivar new_client: makes another client, for questions that wear one out
    """

    def __init__(self, new_client: Callable[..., Client], loop: Loop, server: Control) -> None:
        self.new_client = new_client
        self.loop = loop
        self.server = server
        self.client = new_client()

    async def until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so; tell whether it is."""
        end = time.perf_counter() + seconds
        while not reached() and time.perf_counter() < end:
            await self.loop.sleep(0.005)
        return reached()

    async def quiet(self) -> None:
        """Wait for the end of what other samples have left on the server."""
        await self.until(lambda: not self.server.state().answering, 5)

    async def serve(self, jobs: Iterator[dict[str, Any]], answer: Callable[[dict[str, Any]], None]) -> None:
        """Do one job after the other."""
        for question, same in groupby(jobs, lambda job: job["question"]):
            self.client = self.new_client()
            async with self.client:
                for job in same:
                    answer(await self._done(question, job["job"]))

    async def _done(self, question: str, job: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"figures": await import_module(f"questions.{question}").measure(self, **job)}
        except CannotDo as reason:
            return {"cannot": str(reason)}
        except Exception as error:  # noqa: BLE001  # a library that fails has an empty cell, and the reason
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            return {"cannot": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    """Measure ``CLIENT`` on ``LOOP`` against the server whose ports are ``PORTS``, until the standard input ends."""
    client, loop, ports = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=answers, flush=True)

    module, name = client.split(":")
    try:
        worker = Worker(getattr(import_module(module), name), LOOPS[loop](), Control(json.loads(ports)))
    except ImportError as error:
        answer({"cannot": str(error)})
        return
    answer({"ready": True})
    worker.loop.run(lambda: worker.serve(map(json.loads, sys.stdin), answer))


if __name__ == "__main__":
    main()
