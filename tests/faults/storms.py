"""A storm: races of all kinds over real sockets, each drawn from the storm's seed and its own number, cut off anywhere.

    with Remote("storm") as remote:
        async with Storm(remote, seed=7) as storm:
            await storm.races(range(1000))

What is drawn depends on nothing else, so a race can be held again: ``Storm(remote, seed=7).races([417])``. When its
cancellation strikes is drawn as a share of what races take on this machine at this time: that no seed repeats.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from random import Random
from typing import Any, NamedTuple, Self, TypeAlias, get_args

import anyio
import anyio.lowlevel
import httpx
from anyio import to_thread

from g4ftrio import (
    AllFailed,
    Policy,
    ProviderError,
    RaceReport,
    Timeout,
    adaptive,
    fallback,
    open_http_client,
    parallel,
    race,
    race_sync,
    staggered,
)
from g4ftrio._compositions.course import RaceContext
from g4ftrio._compositions.failover import Midstream
from g4ftrio._loops import in_trio
from g4ftrio.providers import HttpProvider
from tests.faults.census import Census, census
from tests.faults.remote import Remote

__all__ = (
    "CUTS",
    "LIMIT",
    "PLACES",
    "WAYS",
    "Drawn",
    "Oops",
    "Storm",
    "check_report",
    "draw",
    "lost_places",
    "policies",
)

AT_ONCE = 40
PATIENCE = 60.0  # seconds, after which a race hangs
PLACES = 30  # connections of the client that has httpx's own transport
LIMIT = 12  # requests at once of a provider that has one
TIMEOUT = Timeout(connect=0.3, first_chunk=1, stall=0.5, total=5)
_HEAD_START = 0.005  # seconds
_LATEST = 1.2  # of what a race mostly takes
_LONG = 2.0  # seconds; what takes longer waited for somebody who is silent
_QUESTION = "Why is the sky blue?"
_ENTRANTS = 3
_TRIES = 100  # looks, 20 ms apart, at what is being closed by a thread or on the other side


class Oops(Exception):
    """What a consumer raises."""


class Drawn(NamedTuple):
    """A race as it was drawn.

    :ivar way: one of ``WAYS``, or from a thread
    :ivar cut: one of ``CUTS``
    :ivar at: when it is cut off; 1 is after what a race that is not takes
    :ivar taken: chunks that the consumer takes before it does what it is to do
    """

    entrants: tuple[str, ...]
    policy: str
    midstream: Midstream
    keep_standby: int
    client: str
    way: str
    cut: str
    at: float
    taken: int


def draw(names: Sequence[str], seed: int, number: int) -> Drawn:
    """Draw a race."""
    random = Random(f"{seed}/{number}")
    midstream: Midstream = random.choice(get_args(Midstream))
    way = random.choices([*WAYS, *_IN_A_THREAD], [8, 4, 3, 3, 5, 2, 3, 1, 1])[0]
    if way in ("settle", "drop"):
        midstream = "raise"
    return Drawn(
        entrants=tuple(random.choices([*names, "tls", "mute", "full", "named"], k=_ENTRANTS)),
        policy=random.choice(("parallel", "staggered", "fallback", "adaptive")),
        midstream=midstream,
        keep_standby=0 if midstream == "raise" else random.choice((0, 3, 100)),
        client=random.choices(("shared", "own", "stock"), (6, 1, 1))[0],
        way=way,
        cut=random.choices([*CUTS], [2, 4, 2, 3, 2, 2])[0],
        at=random.uniform(0, _LATEST) * random.choice((0.02, 0.2, 1, 1, 1)),
        taken=random.randrange(6),
    )


# --- what a consumer does with a race ---


async def _read(context: RaceContext, taken: int) -> None:
    async with context as stream:
        async for _ in stream:
            pass


async def _leave(context: RaceContext, taken: int) -> None:
    async with context as stream:
        await _take(stream, taken)


async def _fail(context: RaceContext, taken: int) -> None:
    async with context as stream:
        await _take(stream, taken)
        raise Oops


async def _close(context: RaceContext, taken: int) -> None:
    async with context as stream:
        await _take(stream, taken)
        await stream.aclose()


async def _settle(context: RaceContext, taken: int) -> None:
    async with aclosing(await context.settle()) as stream:
        await _take(stream, taken)


async def _drop(context: RaceContext, taken: int) -> None:
    """Close the socket and await nothing."""
    stream = await context.settle()
    try:
        await _take(stream, taken)
    finally:
        stream.close_now()
        with anyio.CancelScope(shield=True):
            await stream.aclose()


async def _nibble(context: RaceContext, taken: int) -> None:
    """Read with no patience at all, again and again."""
    async with context as stream:
        for _ in range(20):
            with anyio.move_on_after(0.002):
                await _take(stream, 1)


async def _take(stream: Any, count: int) -> None:
    while count > 0:
        async for _ in stream:
            count -= 1
            break
        else:
            return


_Way: TypeAlias = Callable[[RaceContext, int], Awaitable[None]]
WAYS: dict[str, _Way] = {
    "read": _read,
    "leave": _leave,
    "fail": _fail,
    "close": _close,
    "settle": _settle,
    "drop": _drop,
    "nibble": _nibble,
}


def _left_by_a_thread(entrants: Sequence[HttpProvider], taken: int) -> None:
    with race_sync(entrants, _QUESTION, timeout=TIMEOUT, backend="trio" if taken % 2 else "asyncio") as stream:
        for _ in zip(range(taken), stream, strict=False):
            pass


def _abandoned_by_a_thread(entrants: Sequence[HttpProvider], taken: int) -> None:
    stream = race_sync(entrants, _QUESTION, timeout=TIMEOUT, backend="trio" if taken % 2 else "asyncio").__enter__()
    for _ in zip(range(taken), stream, strict=False):
        pass


# How a race may end. A body of httpx's own transports cannot be read on after a read of it was cancelled, and says so.
_EXPECTED: tuple[type[Exception], ...] = (AllFailed, ProviderError, Oops)
_AFTER: dict[str, tuple[type[Exception], ...]] = {"nibble": (anyio.BrokenResourceError,)}
_IN_A_THREAD: dict[str, Callable[[Sequence[HttpProvider], int], None]] = {
    "thread": _left_by_a_thread,
    "abandon": _abandoned_by_a_thread,
}


# --- how a race is cut off ---

_Run: TypeAlias = Callable[[], Awaitable[None]]


async def _not(at: float, run: _Run) -> None:
    await run()


async def _by_scope(at: float, run: _Run) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel, at, tasks.cancel_scope)
        await run()
        tasks.cancel_scope.cancel()


async def _by_deadline(at: float, run: _Run) -> None:
    with anyio.move_on_after(at):
        await run()


async def _by_task(at: float, run: _Run) -> None:
    """Cancel as asyncio does it, without a scope; on trio there is nothing else than scopes."""
    if in_trio():
        await _by_scope(at, run)
        return
    task = asyncio.ensure_future(run())
    try:
        await asyncio.wait([task], timeout=at)
    finally:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _twice(at: float, run: _Run) -> None:
    """Cancel, and cancel again while everything closes."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel, at * 1.02, tasks.cancel_scope)
        with anyio.move_on_after(at):
            await run()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def _by_sibling(at: float, run: _Run) -> None:
    with suppress(Oops):
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_fall, at)
                await run()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            fallen, others = group.split(Oops)
            others = others if fallen else group
            if others is not None:
                raise _first(others) from None


async def _fall(at: float) -> None:
    await anyio.sleep(at)
    raise Oops


async def _cancel(at: float, scope: anyio.CancelScope) -> None:
    await anyio.sleep(at)
    scope.cancel()


CUTS: dict[str, Callable[[float, _Run], Awaitable[None]]] = {
    "not": _not,
    "scope": _by_scope,
    "deadline": _by_deadline,
    "task": _by_task,
    "twice": _twice,
    "sibling": _by_sibling,
}


class Storm:
    """The races of one seed.

    :param remote: the services
    :ivar outcomes: how many races ended how
    """

    def __init__(self, remote: Remote, seed: int) -> None:
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self._remote = remote
        self._takes = 0.05  # seconds; what a race took of late that was not cut off
        self._policies: dict[str, Policy] = {}
        self._entrants: dict[str, HttpProvider] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        context = self._remote.trusting()
        self.shared = await self._stack.enter_async_context(open_http_client(verify=context))
        limits = httpx.Limits(max_connections=PLACES, max_keepalive_connections=PLACES)
        self.stock = await self._stack.enter_async_context(open_http_client(verify=context, limits=limits))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def races(self, numbers: Iterable[int], *, at_once: int = AT_ONCE) -> None:
        """Hold these races, so many at once; what a policy learns, it learns in these, and then it is forgotten."""
        self._policies = policies(_HEAD_START)
        left = iter(numbers)

        async def hold() -> None:
            for number in left:
                await self._held(number)

        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(hold)

    def count(self) -> Census:
        """Count what there is, without the connections that the clients keep.

        The clients themselves say how many these are. The services cannot: they see one that was leaked as open, too.
        """
        self._remote.quiet()
        now = census()
        return now._replace(files=now.files - _kept(self.shared) - _kept(self.stock))

    async def left(self, before: Census) -> dict[str, int]:
        """Tell what there is more of than before, when all has come to rest."""
        left: dict[str, int] = {}
        for _ in range(_TRIES):
            left = self.count().more_than(before)
            if not left:
                break
            await anyio.sleep(0.02)
        return left

    async def _held(self, number: int) -> None:
        drawn = draw(self._remote.names, self.seed, number)
        try:
            with anyio.fail_after(PATIENCE):
                self.outcomes[await self._hold(drawn)] += 1
        except Exception as error:
            error.add_note(f"in race {number} of the storm with seed {self.seed}: {drawn}")
            raise

    async def _hold(self, drawn: Drawn) -> str:
        """Hold a race, and tell how it ended."""
        entrants = [self.entrant(name) for name in drawn.entrants]
        if drawn.way in _IN_A_THREAD:
            return await self._in_a_thread(entrants, drawn)
        ended: list[str] = []
        context = race(
            entrants,
            _QUESTION,
            policy=self._policies[drawn.policy],
            midstream=drawn.midstream,
            keep_standby=drawn.keep_standby,
            http_client={"shared": self.shared, "stock": self.stock, "own": None}[drawn.client],
            timeout=TIMEOUT,
        )

        expected = (*_EXPECTED, *_AFTER.get(drawn.way, ()))

        async def run() -> None:
            try:
                await WAYS[drawn.way](context, drawn.taken)
                ended.append("done")
            except expected as error:
                ended.append(type(error).__name__)

        began = anyio.current_time()
        await CUTS[drawn.cut](drawn.at * self._takes, run)
        if drawn.cut == "not":
            self._takes += 0.1 * (min(anyio.current_time() - began, _LONG) - self._takes)
        check_report(context.report)
        return ended[0] if ended else "cancelled"

    async def _in_a_thread(self, entrants: Sequence[HttpProvider], drawn: Drawn) -> str:
        try:
            await to_thread.run_sync(partial(_IN_A_THREAD[drawn.way], entrants, drawn.taken))
        except (AllFailed, ProviderError) as error:
            return type(error).__name__
        return "done"

    def entrant(self, name: str) -> HttpProvider:
        """A service's provider, the same for all races; every third has a limit of requests at once."""
        if name not in self._entrants:
            limit = LIMIT if len(self._entrants) % 3 == 0 else None
            where = self._where(name)
            service = name if name in self._remote.names else self._remote.names[0]
            self._entrants[name] = self._remote.asking(service, limit=limit, **where)
        return self._entrants[name]

    def _where(self, name: str) -> dict[str, str]:
        remote = self._remote
        places = {
            "tls": remote.tls,
            "mute": f"https://{remote.mute}/v1",
            "full": f"http://{remote.full}/v1",
            "named": remote.named,
        }
        return {"api_base": places[name]} if name in places else {}


def _kept(client: httpx.AsyncClient) -> int:
    """How many idle connections a client has, on our own transport or on httpx's."""
    pool: Any = client._transport._pool  # type: ignore[attr-defined]  # both have one
    if hasattr(pool, "connections"):
        idle: int = sum(connection.is_idle() for connection in pool.connections)
        return idle + lost_places(client)
    return len(pool._oldest)


def lost_places(client: httpx.AsyncClient) -> int:
    """How many connections a client on httpx's transport keeps as new for ever, each with its place.

    httpcore 1.0.9 takes a lock before the ``try`` that cleans up (``AsyncHTTP11Connection.handle_async_request``): one
    that is cancelled there, behind the TLS handshake, stays in the pool until the client is closed.
    """
    pool: Any = client._transport._pool  # type: ignore[attr-defined]  # httpx's own has one
    inner = (connection._connection for connection in pool.connections)
    return sum(each is not None and each._state.name == "NEW" for each in inner)


def policies(head_start: float) -> dict[str, Policy]:
    """One of each kind."""
    return {
        "parallel": parallel(),
        "staggered": staggered(head_start),
        "fallback": fallback(),
        "adaptive": adaptive(cold=head_start, floor=head_start),
    }


def check_report(report: RaceReport) -> None:
    """See that a report of a race that is over says so of everybody."""
    for record in report.entrants:
        assert record.outcome != "running", f"{record.name} runs for ever, says the report"
        assert record.started_at is None or record.ended_at is not None, f"{record.name} never ended, says the report"


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first error in a group."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
