"""Races in a process that may open fewer descriptors than they need: ``python -m tests.faults.short_of_files LOOP``."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Sequence

import anyio
import httpx

from g4ftrio import AllFailed, APIConnectionError, RaceReport, Timeout, open_http_client, race
from g4ftrio.base_provider import AbstractProvider
from tests.faults.census import census
from tests.faults.remote import Remote

__all__ = ("main",)

RACES = 40
ROOM = 40  # descriptors, for three times as many entrants
TIMEOUT = Timeout(connect=10, first_chunk=30, total=60)


class Short:
    """Races, and how they ended."""

    def __init__(self, entrants: Sequence[AbstractProvider], client: httpx.AsyncClient) -> None:
        self._entrants = entrants
        self._client = client
        self.ended: Counter[str] = Counter()

    async def hold(self, count: int) -> None:
        """Hold so many at once."""
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self._one)

    async def _one(self) -> None:
        context = race(self._entrants, "?", timeout=TIMEOUT, http_client=self._client)
        try:
            async with context as stream:
                assert (await stream.collect()).text
            self.ended["answered"] += 1
        except AllFailed:
            self.ended["AllFailed"] += 1
        self._check(context.report)

    def _check(self, report: RaceReport) -> None:
        for record in report.entrants:
            if record.error is not None:
                self.ended["refused"] += 1
                assert type(record.error) is APIConnectionError, repr(record.error)
                assert "Too many open files" in str(record.error), str(record.error)
                assert record.error.provider == record.name


async def _main(remote: Remote) -> None:
    entrants = [remote.asking(name) for name in ("openai-compatible-slow", "anthropic-slow", "openai-realtime-slow")]
    async with open_http_client() as client:
        await Short(entrants, client).hold(1)  # what is loaded once needs descriptors of its own
        before = census().files - remote.quiet().open
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (census().files + ROOM, most))
        short = Short(entrants, client)
        await short.hold(RACES)
        print(dict(short.ended))
        assert short.ended["answered"] + short.ended["AllFailed"] == RACES
        assert short.ended["refused"] > 0
        assert short.ended["answered"] > 0
        assert census().files - remote.quiet().open == before
        after = Short(entrants, client)
        await after.hold(1)
        assert after.ended == {"answered": 1}, after.ended


def main() -> None:
    """Hold them."""
    with Remote("storm") as remote:
        anyio.run(_main, remote, backend=sys.argv[1])


if __name__ == "__main__":
    main()
