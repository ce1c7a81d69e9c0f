"""A run: requests go out as the load says, and a record comes back of each."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from datetime import UTC, datetime
from functools import partial
from itertools import count as count_from, islice
from secrets import token_hex
from time import thread_time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint
from msgspec import to_builtins

from g4ftrio._compositions.course import RaceContext
from g4ftrio._loops import clock, in_trio
from g4ftrio._race.ordering import Prices
from g4ftrio._race.tasks import Tasks
from g4ftrio._words.errors import SetupError
from g4ftrio._words.report import EntrantReport, RaceReport
from g4ftrio._words.request import ChatParams
from g4ftrio._words.timeouts import TimeoutTypes
from g4ftrio.bench._chance import chance
from g4ftrio.bench._file import Writer
from g4ftrio.bench._lateness import Lateness
from g4ftrio.bench._load import Load, OpenLoad, Users, arrivals, plain_load
from g4ftrio.bench._options import Options, RunOptions
from g4ftrio.bench._prompts import Prompt, Prompts, PromptTypes, prompts as read_prompts
from g4ftrio.bench._reading import Reading
from g4ftrio.bench._records import Ending, RequestRecord, Run, Setup
from g4ftrio.bench._spending import Spending
from g4ftrio.bench._statistics import Statistics
from g4ftrio.bench._targets import Target, TargetTypes, check_reachable, open_client, resolved
from g4ftrio.transports.http import _version

if TYPE_CHECKING:
    import httpx

__all__ = ("Stop", "run")

Reason: TypeAlias = Literal["complete", "interrupted", "errors", "cost"]

_JUDGED = 10  # requests before a share of errors ends a run
_SHOWN = ("max_tokens", "temperature", "top_p", "seed", "reasoning_effort")  # parameters that are written down


class Stop:
    """Ends a run early from a callback or another task of its loop; what was measured is kept."""

    def __init__(self) -> None:
        self.is_called = False
        self._then: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        """End it: what is under way is broken off."""
        self.is_called = True
        self._then()

    def ends(self, then: Callable[[], None]) -> None:
        """Say what ends the run; the run itself does."""
        self._then = then
        if self.is_called:
            then()


async def run(
    targets: TargetTypes,
    load: Load,
    prompts: PromptTypes = "Why is the sky blue?",
    *,
    params: ChatParams | None = None,
    timeout: TimeoutTypes = None,
    prices: Prices | None = None,
    to: Writer | None = None,
    on_record: Callable[[RequestRecord], object] | None = None,
    keep: bool = True,
    stop: Stop | None = None,
    check: bool = True,
    **options: Unpack[RunOptions],
) -> Run:
    """Ask the targets as the load says, and give what was measured.

    Every target gets the same load and the same prompts; their requests take turns. Nothing is asked twice, whatever
    goes wrong. A run ends after ``count``, ``duration``, the end of its load, too many errors, or before it would cost
    more than ``max_cost``, and waits for what is under way. ``stop()`` ends it at once, and a cancellation from outside
    propagates: what was measured by then is in the file, and went to ``on_record``.

    :param targets: providers, classes, specs, and races (``Race``, ``Fallback``); in a mapping, by their names
    :param load: ``Users(8)``, ``Constant(5)``, ``Poisson(5)``, ``Bursts(5)``, ``Ramp``, ``Sweep``, or ``Trace``
    :param prompts: what to ask; see ``prompts`` and ``made_up``
    :param params: chat parameters for every request; a prompt's own go before them
    :param prices: ``{"provider/model": (input, output)}`` for a million tokens, for ``max_cost`` and what was spent
    :param to: writes down each record as it is made
    :param on_record: is called with each, in between requests: it must be quick
    :param keep: whether the records are given; a long run can do with ``to`` and ``on_record``
    :param check: see first that somebody listens at the targets' addresses
    :param options: ``count``, ``duration``, ``warmup``, ``seed`` and so on; see ``Options``
    :raises SetupError: before anything is sent: what is wrong, and with whom
    """
    whole = _Run(resolved(targets), load, read_prompts(prompts), Options(**options))
    whole.options.check(load)
    whole.params = {"timeout": timeout, **(params or {})}
    whole.check_requests()
    whole.spending = Spending(whole.targets, prices, params=whole.params, most=whole.options.max_cost)
    whole.spending.check(whole.prompts)
    if check:
        for target in whole.targets:
            await check_reachable(target)
    listeners = (None if to is None else to.write, on_record, whole.records.append if keep else None)
    whole.listeners = [each for each in listeners if each is not None]
    return await whole.run(to, stop or Stop())


class _Run:
    """A run under way."""

    def __init__(self, targets: tuple[Target, ...], load: Load, prompts: Prompts, options: Options) -> None:
        self.targets = targets
        self.load = load
        self.prompts = prompts
        self.options = options
        self.params: dict[str, Any] = {}
        self.records: list[RequestRecord] = []
        self.listeners: list[Callable[[RequestRecord], object]] = []
        self.spending = Spending((), None, params={})
        self._prefix = "" if options.allow_cache else token_hex(4)
        self._clients: dict[str, httpx.AsyncClient | None] = {}
        self._numbers = count_from()
        self._ended = self._failed = 0
        self._reason: Reason = "complete"
        self._scope = CancelScope()
        self._room = anyio.Semaphore(options.max_active)

    def check_requests(self) -> None:
        """See that each target can be asked.

        :raises SetupError: a parameter is none
        """
        for target in self.targets:
            try:
                self._context(target, self.prompts[0])
            except TypeError as error:
                raise SetupError(f"{target.name}: {error}") from None

    async def run(self, to: Writer | None, stop: Stop) -> Run:
        """Run it."""
        setup = self._setup()
        if to is not None:
            to.begin(setup)
        async with AsyncExitStack() as stack:
            for target in self.targets:
                self._clients[target.name] = await open_client(target.provider, stack)
            self._clock = clock()
            self._start, began = self._clock(), thread_time()
            stop.ends(partial(self._end, "interrupted"))
            lateness = await self._ask_all()
            ending = Ending(
                seconds=self._now(),
                cpu_seconds=thread_time() - began,
                reason=self._reason,
                costs=self.spending.costs,
                lateness=lateness,
            )
        if to is not None:
            to.end(ending)
        return Run(setup=setup, records=tuple(self.records), interrupted=self._reason == "interrupted", ending=ending)

    def _now(self) -> float:
        return self._clock() - self._start

    async def _ask_all(self) -> Statistics:
        """Ask, and give how late the loop was meanwhile."""
        lateness = Lateness(self._clock)
        async with Tasks() as beside:
            beside.start_soon(lateness.watch, name="lateness")
            try:
                await self._ask_each()
            finally:
                lateness.stop()
        return lateness.statistics()

    async def _ask_each(self) -> None:
        failure: BaseException | None = None
        with self._scope:
            async with Tasks() as tasks:
                try:
                    await self._start_all(tasks)
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as error:  # noqa: BLE001  # raised below, when no task is left
                    failure = error
                    self._scope.cancel()
        if failure is not None:
            raise failure

    async def _start_all(self, tasks: Tasks) -> None:
        if isinstance(self.load, Users):
            self._start_users(self.load.count, tasks)
        else:
            await self._send(self.load, tasks)

    def _start_users(self, users: int, tasks: Tasks) -> None:
        """Start all users; those of a target share its requests among them."""
        shared = [islice(count_from(), self.options.rounds) for _ in self.targets]
        for number in range(users):
            for target, rounds in zip(self.targets, shared, strict=True):
                tasks.start_soon(self._be_user, target, rounds, name=f"user {number} of {target.name}")

    async def _be_user(self, target: Target, rounds: Iterable[int]) -> None:
        for number in rounds:
            at = self._now()
            if self._is_over(at):
                return
            await self._ask(target, number, at)
            await checkpoint()  # a target that fails without waiting must not keep the others from running

    async def _send(self, load: OpenLoad, tasks: Tasks) -> None:
        """Send each request at its time, or as soon as there is room for it."""
        for at, place, number in arrivals(load, len(self.targets), rounds=self.options.rounds, seed=self.options.seed):
            if self._is_over(at):
                return
            await anyio.sleep_until(self._start + at)
            await self._room.acquire()
            target = self.targets[place]
            tasks.start_soon(self._ask_and_make_room, target, number, at, name=f"request {number} to {target.name}")

    async def _ask_and_make_room(self, target: Target, number: int, at: float) -> None:
        try:
            await self._ask(target, number, at)
        finally:
            self._room.release()

    def _is_over(self, at: float) -> bool:
        if self._reason == "cost":
            return True
        return self.options.duration is not None and at >= self.options.duration

    async def _ask(self, target: Target, round: int, scheduled: float) -> None:  # noqa: A002  # it is one
        """Ask, read the answer, and write down what was seen of it, however it ends."""
        number, prompt = next(self._numbers), self.prompts[round]
        if self._prefix:
            prompt = prompt.prefixed(f"[{self._prefix}-{number:07}] ")
        quote = self.spending.quote(target.name, prompt)
        if not self.spending.reserve(quote):
            self._reason = "cost"  # what is under way has its place in the sum, and goes on
            return
        sent = self._now()
        reading, error = Reading(self._now), None
        context = self._context(target, prompt)
        try:
            with self._breaking_off(target, round):
                async with context as stream:
                    await reading.read(stream)
        except Exception as raised:  # noqa: BLE001  # whatever a provider raises is what its record says
            error = raised
        finally:
            known = {"number": number, "round": round, "target": target.name, "prompt": self.prompts.index(round)}
            known |= {"phase": self.options.phase(round, scheduled), "scheduled_at": scheduled, "sent_at": sent}
            record = reading.record(_report(context), error, **known)
            self.spending.settle(quote, record)
            self._tell(record)

    def _context(self, target: Target, prompt: Prompt) -> Any:
        """A request that is ready to be entered; what it reports is on the clock of the run."""
        client = self._clients.get(target.name)
        context: Any = target.provider.stream(prompt.messages, http_client=client, **{**self.params, **prompt.params})
        if not isinstance(context, RaceContext):
            context._ask.record.clock = self._now
        return context

    def _breaking_off(self, target: Target, round: int) -> AbstractContextManager[object]:  # noqa: A002  # it is one
        """Break off the requests whose lot it is."""
        if self.options.cancel_share:
            random = chance(self.options.seed, f"cancel/{target.name}/{round}")
            if random.random() < self.options.cancel_share:
                return anyio.move_on_after(random.uniform(0, self.options.cancel_after))
        return nullcontext()

    def _tell(self, record: RequestRecord) -> None:
        for listen in self.listeners:
            listen(record)
        self._ended += 1
        self._failed += record.error != ""
        most = self.options.max_error_share
        if most is not None and self._ended >= _JUDGED and self._failed > most * self._ended:
            self._end("errors")

    def _end(self, reason: Reason) -> None:
        if self._reason == "complete":
            self._reason = reason
            self._scope.cancel()

    def _setup(self) -> Setup:
        return Setup(
            version=_version(),
            targets=tuple(target.name for target in self.targets),
            races={target.name: target.entrants for target in self.targets if target.entrants},
            load=str(self.load),
            seed=self.options.seed,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=_machine(),
            backend="trio" if in_trio() else "asyncio",
            options={
                "load": plain_load(self.load),
                "prompts": self.prompts.source,
                "prefix": self._prefix,
                "params": {name: value for name, value in self.params.items() if name in _SHOWN},
                **to_builtins(self.options),
            },
        )


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _report(context: Any) -> EntrantReport | RaceReport:
    """What a request tells of itself, which a race gives away and a single provider keeps."""
    report: EntrantReport | RaceReport = context.report if isinstance(context, RaceContext) else context._ask.record
    return report
