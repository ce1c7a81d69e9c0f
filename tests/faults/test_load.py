"""Many races at once, against services of which some fail in each way: every race ends, and none hangs.

Three entrants each of 22 services, one for each fault, over every wire. Short: 100 races at once on each of asyncio and
trio, with a fault in 5 % of the answers. Long: 1,000 races at once, uvloop too, with 5 % and with 50 %. The figures are
printed (``pytest -s``). And where the system has no descriptor left: 40 races with room for 40 descriptors.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import quantiles

import anyio
import httpx
import pytest

from g4ftrio import AllFailed, ProviderError, Timeout, open_http_client, race
from g4ftrio._loops import clock
from g4ftrio.base_provider import AbstractProvider
from tests.faults.remote import Remote
from tests.faults.storms import check_report

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
SEED = 7
RACES = 100
MANY = 1000
TIMEOUT = Timeout(connect=30, first_chunk=30, stall=5, total=60)
GRACE = 1.0
ALLOWED = 2 * TIMEOUT.total + GRACE  # seconds: until somebody has won, for the answer, and to close
AFTER_THE_WIN = {
    *("APITimeoutError", "TruncatedError"),
    *("APIStatusError", "InternalServerError", "APIResponseValidationError"),
}
LAG = 60.0  # seconds that a busy machine may be late with all of it


class Load:
    """Races that begin at the same time, and how they ended."""

    def __init__(self, remote: Remote, client: httpx.AsyncClient) -> None:
        self._remote = remote
        self._client = client
        self.ended: Counter[str] = Counter()
        self.first_chunks: list[float] = []
        self.took: list[float] = []

    async def hold(self, count: int, seed: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                names = Random(f"{seed}/{number}").sample(self._remote.names, 3)
                tasks.start_soon(self._one, number, [self._remote.asking(name) for name in names])

    async def _one(self, number: int, entrants: Sequence[AbstractProvider]) -> None:
        now = clock()
        began = now()
        context = race(entrants, "?", timeout=TIMEOUT, http_client=self._client, grace=GRACE)
        try:
            with anyio.fail_after(ALLOWED + LAG):
                async with context as stream:
                    self.first_chunks.append(now() - began)
                    await stream.collect()
            self.ended["answered"] += 1
        except AllFailed:
            self.ended["AllFailed"] += 1
        except ProviderError as error:  # after the win; ``total`` too, which is an APITimeoutError
            self.ended[type(error).__name__] += 1
        except TimeoutError:
            names = [entrant.name for entrant in entrants]
            pytest.fail(f"race {number} of {names} hangs: {context.report.to_dict()}", pytrace=False)
        self.took.append(now() - began)
        check_report(context.report)

    def figures(self) -> str:
        ended = ", ".join(f"{number} {how}" for how, number in self.ended.most_common())
        parts = quantiles([0.0, 0.0, *self.first_chunks], n=100)
        first = f"first chunk p50 {parts[49]:.2f} s, p99 {parts[98]:.2f} s"
        return f"{ended}; {first}; the last ended after {max(self.took):.2f} s"


async def load(fleet: str, count: int) -> Load:
    """Hold so many races at once; all of them end, and everything is quiet after them."""
    with Remote(fleet) as remote:
        async with open_http_client() as client:
            load, cpu = Load(remote, client), time.process_time()
            await load.hold(count, SEED)
            print(f"\n{count} races, {fleet}: {load.figures()}; {time.process_time() - cpu:.2f} s of CPU")
            assert remote.quiet().in_flight == 0
        with anyio.fail_after(30):
            while remote.state().open:  # noqa: ASYNC110  # it is another process that knows
                await anyio.sleep(0.02)
    assert load.ended.total() == len(load.took) == count
    return load


async def test_all_of_many_races_end() -> None:
    loaded = await load("load", RACES)
    assert loaded.ended["answered"] >= 0.7 * RACES
    assert loaded.ended.keys() <= {"answered", "AllFailed", *AFTER_THE_WIN}


_LOOPS = {"asyncio": ("asyncio", {}), "uvloop": ("asyncio", {"use_uvloop": True}), "trio": ("trio", {})}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("anyio_backend", _LOOPS.values(), ids=_LOOPS)
@pytest.mark.parametrize("fleet", ["load", "heavy"])
async def test_all_of_a_thousand_races_end(fleet: str) -> None:
    loaded = await load(fleet, MANY)
    assert loaded.ended.keys() <= {"answered", "AllFailed", *AFTER_THE_WIN}


# --- no descriptor left ---


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_where_descriptors_run_out_every_error_says_so_and_none_is_lost(anyio_backend: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.faults.short_of_files", anyio_backend]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
