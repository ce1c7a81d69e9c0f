"""What a race costs more than its winner alone, and how soon its losers are gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from clients import Client, Take
from loops import LOOPS
from meter import Meter
from question import OURS, Bar, Case, Column, Question, Row
from worker import Worker

__all__ = ("QUESTION", "entrants", "measure")

SIZES = (1, 2, 4, 8)
WIN, NEVER = 20_000, 1_000_000  # µs until the winner's first token, and until a loser's
AT_ONCE, TLS, COLD, KEPT = "heads at once", "TLS", "TLS, losers' connections new", "TLS, connections kept by warm="

QUESTION = Question(
    title="A race",
    says=(
        "k entrants, the winner started last; its first token comes 20 ms after the request, the losers' after 1 s. "
        "ms by which a race's first token comes later than the winner's alone. The head comes with the first token, "
        "or at once. Connections are warm: before each race k requests at once open what the last race has closed; "
        "but litellm has a client for each entrant, and losers' connections are new. *Gone*: ms from the win until "
        "the server sees a loser's connection closed, the median. *Kept*: how many losers it still served 0.3 s after "
        "the winner's answer was read, of all. *Wrong*: how many races were won by a loser."
    ),
    cases=(
        Case(job={}),
        Case(AT_ONCE, {"heads": "at once"}),
        Case(TLS, {"tls": True}, OURS),
        Case(COLD, {"tls": True, "warm": "never"}, OURS),
        Case(KEPT, {"tls": True, "warm": "kept"}, OURS),
    ),
    columns=(
        Column("alone", "alone", 2),
        *(Column(f"k={k}", f"k = {k}", 2) for k in SIZES),
        Column("gone 2", "gone, k = 2", 2),
        Column("gone 8", "k = 8", 2),
        Column("cpu 8", "CPU ms, k = 8"),
        Column("kept", "kept %"),
        Column("wrong", "wrong %"),
    ),
    peers=("g4ftrio", "litellm"),
    bars=tuple(
        Bar(Row("g4ftrio", loop, case), key, most)
        for case in ("", AT_ONCE)
        for loop in LOOPS
        for key, most in (("k=2", 0.4), ("k=8", 1.5), ("gone 2", 0.7), ("gone 8", 0.7), ("kept", 0), ("wrong", 0))
    ),
    less={f"k={k}": "alone" for k in SIZES},
    rounds=5,
    quick={"races": 1, "sizes": (2,)},
)


def entrants(worker: Worker, k: int, *, heads: str = "late", tls: bool = False) -> list[str]:
    """The addresses of k entrants, the winner's last."""
    wait = "first" if heads == "at once" else "head"
    losers = [worker.server.address(tls=tls, word=f"loser{n}", **{wait: NEVER}) for n in range(1, k)]
    return [*losers, worker.server.address(tls=tls, word="winner", events=20, write=1, every=1000, **{wait: WIN})]


async def measure(
    worker: Worker,
    *,
    races: int = 10,
    sizes: Sequence[int] = SIZES,
    heads: str = "late",
    tls: bool = False,
    warm: str = "again",
) -> dict[str, Any]:
    """Race with each number of entrants in turn, ``races`` times; 0 is the winner alone."""
    heat = Heat(worker)
    client = worker.new_client(warm={worker.server.origin(tls=tls): max(sizes)} if warm == "kept" else None)
    async with client:
        for k in (0, *sizes) * races:
            addresses = entrants(worker, max(k, 1), heads=heads, tls=tls)
            if warm == "again":
                await _warm(worker, client, max(k, 1), tls=tls)
            await worker.loop.sleep(0.2 if warm == "kept" else 0.02)
            await heat.run(k, partial(client.race, addresses) if k else partial(client.read, addresses[0]))
    return heat.figures()


async def _warm(worker: Worker, client: Client, k: int, *, tls: bool) -> None:
    """Open k connections, by as many requests at once."""
    async with worker.loop.group() as group:
        for _ in range(k):
            group.start(client.read, worker.server.address(tls=tls, first=5000), len)


class Heat:
    """Runs races, and notes what became of them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waits: defaultdict[int, list[float]] = defaultdict(list)
        self._gone: defaultdict[int, list[float]] = defaultdict(list)
        self._cpu: defaultdict[int, list[float]] = defaultdict(list)
        self._kept: list[float] = []
        self._wrong: list[bool] = []

    async def run(self, k: int, ask: Callable[[Take], Awaitable[object]]) -> None:
        """Race, or ask alone (``k`` is 0), and wait until the losers are gone."""
        server = self._worker.server
        server.state()  # forget the drops of what was before
        texts: list[tuple[float, str]] = []
        meter = Meter()
        began = perf_counter()
        await ask(lambda text: texts.append((perf_counter(), text)))
        spent = meter.read()
        won, word = texts[0]
        await self._worker.loop.sleep(0.01)
        state = server.state()
        drops = state.drops
        if state.answering:
            await self._worker.loop.sleep(0.29)
            state = server.state()
        self._waits[k].append((won - began) * 1e3)
        self._cpu[k].append(spent.cpu / 1e3)
        if k < 2:
            return
        self._kept.append(state.answering / (k - 1))
        self._wrong.append(word[:-1] != "winner")  # without what ends it
        if not self._wrong[-1]:
            self._gone[k] += [(when - won) * 1e3 for _, when in (*drops, *state.drops)]

    def figures(self) -> dict[str, Any]:
        """What the tables show."""
        return {
            **{f"k={k}" if k else "alone": waits for k, waits in self._waits.items()},
            **{f"gone {k}": gone for k, gone in self._gone.items() if gone},
            **{f"cpu {k}": cpu for k, cpu in self._cpu.items()},
            "kept": 100 * sum(self._kept) / len(self._kept),
            "wrong": 100 * sum(self._wrong) / len(self._wrong),
        }
