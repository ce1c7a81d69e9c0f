"""Providers made of providers: ``Race`` and ``Fallback``. They nest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import anyio
from anyio import CancelScope

from g4ftrio import providers as _providers
from g4ftrio._bill import check_prices
from g4ftrio._chunks import Chunk
from g4ftrio._cleaning import is_content
from g4ftrio._course import RaceContext, RacedAnswer
from g4ftrio._entrant import Entrant
from g4ftrio._errors import APITimeoutError, SetupError, UnknownProviderError
from g4ftrio._events import Hook
from g4ftrio._failover import Contenders, Midstream, check_midstream
from g4ftrio._gate import Clean, gate_for
from g4ftrio._health import Breaker, Health
from g4ftrio._holds import Holds
from g4ftrio._loops import clock
from g4ftrio._messages import Messages
from g4ftrio._ordering import Order, Ordering, Prices
from g4ftrio._policies import Policy, fallback, parallel
from g4ftrio._race import Race as _Race
from g4ftrio._report import EntrantReport
from g4ftrio._request import ChatParams
from g4ftrio._source import Source
from g4ftrio._state_file import load_state, save_state
from g4ftrio._sync import Backend, SyncStream
from g4ftrio._timeline import to_timeline
from g4ftrio._timeouts import Timeout, TimeoutTypes
from g4ftrio.base_provider import AbstractProvider, AnsweringProvider, Ask
from g4ftrio.base_provider._ask import parser
from g4ftrio.base_provider._binding import on_class_too
from g4ftrio.providers import ProviderTypes
from g4ftrio.transports.http import open_http_client

if TYPE_CHECKING:
    import httpx

__all__ = ("Fallback", "Race", "RaceContext", "race", "race_sync")

_BREAKER = Breaker()


def race(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    order: Order = "given",
    prices: Prices | None = None,
    clean: Clean = is_content,
    midstream: Midstream = "raise",
    keep_standby: int = 0,
    timeout: TimeoutTypes = None,
    http_client: httpx.AsyncClient | None = None,
    grace: float = 1.0,
    skip_unready: bool = False,
    on_event: Hook | None = None,
    **params: Unpack[ChatParams],
) -> RaceContext:
    """Ask several providers, and stream from the first that gives a clean chunk.

    ``async with race([...], "Why?") as stream`` waits for the winner or raises; the others are cancelled at the moment
    of the win, and closed beside the running stream. ``stream = await race(...).settle()`` is the second door, for
    generators and web responses: no scope and no task is left open, and ``await stream.aclose()`` works from any task.

    :param providers: instances, classes, or specs: ``provider[/model][@base_url]``
    :param messages: a prompt, or a list of mappings in the OpenAI shape
    :param model: the model for every entrant that names none
    :param system: a system message to put before them
    :param policy: when to start the next: ``parallel()``, the default, ``staggered()``, ``adaptive()``, ``fallback()``
    :param order: who is first: ``given``, or by what the policy knows, ``latency``, ``success``, or by ``price``
    :param prices: for ``order="price"``: ``{"provider/model": (input, output)}`` for a million tokens
    :param clean: given a chunk and all the text so far, whether this decides the race; see also ``g4ftrio.clean``
    :param midstream: when the winner fails after chunks were given out: ``raise`` its error, ``continue`` from its text
        with who can (``prefill``), or ``restart``; a ``Failover`` marks the seam; not once a tool call was given out
    :param keep_standby: chunks of the winner during which the runner-up is kept, open and unread, to take over
    :param timeout: a ``Timeout`` or seconds without progress, for every entrant; ``total`` bounds the race as well
    :param http_client: an ``httpx.AsyncClient`` for the entrants that have none
    :param grace: seconds that a loser has to close itself before it is forced to
    :param skip_unready: leave out entrants whose set-up is wrong (no key) instead of raising
    :param on_event: is called with an ``Event`` for everything that happens in the race, while it happens
    :param params: see ``ChatParams``
    :raises SetupError: on entering: an unknown provider, a missing key; nothing was sent
    :raises AllFailed: on entering: no provider gave a clean chunk; ``.failures`` has every error
    :raises APITimeoutError: on entering: nobody won within ``timeout.total``
    :raises ProviderError: while reading: the winner failed, and nobody went on
    """
    whole = Race(
        providers,
        policy=policy,
        order=order,
        prices=prices,
        clean=clean,
        midstream=midstream,
        keep_standby=keep_standby,
        grace=grace,
        skip_unready=skip_unready,
        on_event=on_event,
    )
    return whole.stream(messages, model=model, system=system, timeout=timeout, http_client=http_client, **params)


def race_sync(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    order: Order = "given",
    prices: Prices | None = None,
    clean: Clean = is_content,
    midstream: Midstream = "raise",
    keep_standby: int = 0,
    timeout: TimeoutTypes = None,
    grace: float = 1.0,
    skip_unready: bool = False,
    on_event: Hook | None = None,
    backend: Backend = "trio",
    **params: Unpack[ChatParams],
) -> SyncStream:
    """Race from synchronous code: a plain ``with`` gives the stream, a plain ``for`` reads it.

    Entering waits for the winner or raises. The parameters and errors are those of ``race``.

    :param backend: the event loop to run it on, in a thread of its own: ``trio`` or ``asyncio``
    :raises EventLoopRunningError: one runs here already; nothing was sent
    """
    context = race(
        providers,
        messages,
        model=model,
        system=system,
        policy=policy,
        order=order,
        prices=prices,
        clean=clean,
        midstream=midstream,
        keep_standby=keep_standby,
        timeout=timeout,
        grace=grace,
        skip_unready=skip_unready,
        on_event=on_event,
        **params,
    )
    return SyncStream(lambda: context, backend=backend, instead="async with race(...) as stream:", grace=grace)


class Race(AnsweringProvider):
    """Several providers as one: every request is a race among them.

    ``async with Race([...]) as llm`` is the long-lived form: it keeps one HTTP client for the entrants that have none,
    and remembers how each fares: one that keeps failing, or asks for a pause, is left alone for a while. It belongs to
    one event loop.

    :param providers: instances, classes, or specs: ``provider[/model][@base_url]``
    :param policy: when to start the next one; what it remembers, it shares with all who have the same object
    :param order: who is started first: ``given``, or by ``latency``, ``success`` or ``price``
    :param explore: the share of races in which, by latency or success, another one than the first is
    :param seed: makes that exploration repeatable
    :param clean: what decides a race; see ``race``
    :param midstream: what to do when a winner fails after chunks were given out; see ``race``
    :param keep_standby: chunks of the winner during which the runner-up is kept
    :param grace: seconds that a loser has to close itself
    :param skip_unready: leave out entrants whose set-up is wrong instead of raising
    :param breaker: when one that fails is left alone; None is never, unless the service itself asks for it
    :param prices: ``{"provider/model": (input, output)}`` for a million tokens each: for the costs in the report, and
        for ``order="price"``
    :param state: a file from which ``async with`` takes what was learned before, and where it is kept at the end
    """

    label = "race"

    _operation: ClassVar[str] = "race"

    _detachable: ClassVar[bool] = False

    def __init__(
        self,
        providers: Sequence[ProviderTypes],
        *,
        policy: Policy | None = None,
        order: Order = "given",
        explore: float = 0.05,
        seed: int | None = None,
        clean: Clean = is_content,
        midstream: Midstream = "raise",
        keep_standby: int = 0,
        grace: float = 1.0,
        skip_unready: bool = False,
        breaker: Breaker | None = _BREAKER,
        prices: Prices | None = None,
        state: str | PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        check_midstream(midstream, keep_standby)
        super().__init__(**settings)
        if self._limiter is not None:
            raise SetupError("limit= and rate= are for providers: give them to the entrants of the race")
        if isinstance(providers, str) or not providers:
            raise SetupError("a race needs a list of at least one provider")
        self.entrants = _resolved(providers, skip_unknown=skip_unready)
        table = check_prices(prices)
        self._ordering = Ordering(order, explore=explore, prices=table, seed=seed)
        self.policy = policy or parallel()
        if self._ordering.learns:
            self.policy = self.policy.learning()
        self.clean = clean
        self.midstream = midstream
        self.keep_standby = keep_standby
        self.grace = grace
        self.skip_unready = skip_unready
        self._health = Health(breaker)
        self._prices = table
        self._state = state
        self._shared: httpx.AsyncClient | None = None
        self._loop: object = None

    @property
    def name(self) -> str:
        """What reports and errors call it."""
        return self._name or self.label

    @on_class_too
    def stream(
        self,
        /,
        messages: str | Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        **params: Unpack[ChatParams],
    ) -> RaceContext:
        """Race, and read the winner's answer as it comes; see ``race``."""
        return self._context(self._ask(messages, model, system, timeout, http_client, dict(params)))

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """The models of all entrants, without doubles."""
        found: dict[str, None] = {}
        for entrant in self.entrants:
            found.update(dict.fromkeys(await entrant.list_models()))
        return list(found)

    def check_ready(self) -> None:
        """See that every entrant is ready, or with ``skip_unready`` at least one."""
        self._ready(None)

    def which_model(self, asked: str) -> str:
        """The model for the entrants that name none.

        :raises SetupError: an entrant needs one, and there is none
        """
        model = super().which_model(asked)
        self._ready(model)
        return model

    async def __aenter__(self) -> Self:
        self._loop = anyio.lowlevel.current_token()
        if self._state is not None:
            await self.load(self._state)
        self._shared = self._client or open_http_client(proxy=self._proxy)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        shared, self._shared = self._shared, None
        try:
            if shared is not None and shared is not self._client:
                await shared.aclose()
        finally:
            if self._state is not None:
                with CancelScope(shield=True):  # some milliseconds, also for who is cancelled
                    await self.save(self._state)

    async def save(self, path: str | PathLike[str]) -> None:
        """Keep in a small JSON file what was learned: who fares how, and what the policy has measured.

        A file that cannot be written is a warning in the log of ``g4ftrio``, not an error.
        """
        await save_state(path, self._health, self.policy)

    async def load(self, path: str | PathLike[str]) -> None:
        """Take over what ``save`` has kept; a file that is missing changes nothing, one that is broken is logged."""
        await load_state(path, self._health, self.policy)

    @property
    def _needs_client(self) -> bool:
        if self._client is not None or self._shared is not None:
            return False
        return any(entrant._needs_client for entrant in self.entrants)

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return RacedAnswer(self, ask)

    def _called(self, model: str) -> str:  # noqa: ARG002  # a race is not named after a model
        return self.name

    def _context(self, ask: Ask) -> RaceContext:
        return RaceContext(self, ask)

    def _ready(self, model: str | None) -> list[tuple[AbstractProvider, str]]:
        """The entrants that can be asked, and the model that each will be asked for; None leaves the models open."""
        ready, first_error = [], None
        for entrant in self.entrants:
            try:
                entrant.check_ready()
                asked = "" if model is None else entrant.which_model(entrant.model or model)
                ready.append((entrant, asked))
            except SetupError as error:
                if not self.skip_unready:
                    raise
                first_error = first_error or error
        if not ready and first_error is not None:
            raise first_error
        return ready

    def goes_on_from_text(self, model: str) -> bool:
        """Whether every entrant does."""
        return all(entrant.goes_on_from_text(entrant.model or model) for entrant in self.entrants)

    def _one_race(
        self, ready: Sequence[tuple[AbstractProvider, str]], ask: Ask, client: httpx.AsyncClient | None
    ) -> tuple[_Race[Chunk], Contenders]:
        """Set up the race for one request."""
        contenders = Contenders(ready, ask, partial(self._entrant, client), self._prices)
        entrants = contenders.entrants()
        keys = contenders.keys
        turns = self._ordering.turns([keys[entrant.name] for entrant in entrants], self.policy.latencies)
        race = _Race(
            [entrants[turn] for turn in turns],
            policy=self.policy,
            grace=self.grace,
            total=ask.timeout.total,
            late=partial(APITimeoutError, "total", ask.timeout.total, provider=self.name),
            keeper=_Book(self._health, keys, ask.timeout.total),
            keys=keys,
            keep_standby=self.keep_standby > 0,
        )
        return race, contenders

    def _entrant(
        self,
        client: httpx.AsyncClient | None,
        provider: AbstractProvider,
        ask: Ask,
        record: EntrantReport,
        *,
        begun: str = "",
        within: float = inf,
    ) -> Entrant[Chunk]:
        timeout = ask.timeout.over(provider._timeout)
        limits = {"first_chunk": timeout.first_chunk}
        if timeout.total < min(ask.timeout.total, within):  # which the race keeps for everybody
            limits["total"] = timeout.total
        limit = min(limits, key=limits.__getitem__)
        params = provider._merged(ask.params)
        theirs = Ask(
            messages=ask.messages,
            model=record.model,
            params=params,
            timeout=timeout if timeout.total <= within else Timeout(total=within).over(timeout),
            client=provider._client or (None if provider._proxy else client),
            record=record,
            watched=("stall", "total"),
            watched_opening=False,
            hooks=tuple(dict.fromkeys((*ask.hooks, *provider._hooks))),
        )
        if ask.broadcast is not None:
            ask.broadcast.listen_to(record, provider._asked(theirs), provider._hooks)
        return Entrant(
            record,
            partial(provider._open, theirs),
            gate_for(self.clean, record, begun=begun, parse=parser(params)),
            handoff=provider._handoff,
            detachable=provider.detachable,
            limit=limits[limit],
            late=partial(APITimeoutError, limit, limits[limit], provider=record.name),
        )

    def _on_this_loop(self) -> None:
        if self._shared is not None and self._loop != anyio.lowlevel.current_token():
            raise RuntimeError("this Race was entered on another event loop: make one for each loop")


class Fallback(Race):
    """Providers one after another: the next is asked only when the one before has failed.

    :param providers: instances, classes, or specs, the favourite first
    """

    label = "fallback"

    def __init__(self, providers: Sequence[ProviderTypes], **settings: Any) -> None:
        super().__init__(providers, policy=fallback(), **settings)


class _Book:
    """What is kept of one race's entrants for the next races.

    :param keys: the keys of the entrants by their names
    :param total: seconds that this race may take
    """

    def __init__(self, health: Health, keys: Mapping[str, str], total: float) -> None:
        shift, now = to_timeline(), clock()
        self._shift = shift
        self._holds = Holds(health, keys, lambda: now() + shift, total)

    def held_until(self, name: str) -> float:
        return self._holds.until(name) - self._shift

    def started(self, name: str) -> None:
        self._holds.started(name)

    def decided(self, record: EntrantReport, seconds: float) -> None:  # noqa: ARG002  # the protocol's signature
        self._holds.decided(record)

    def ended(self, name: str) -> None:
        self._holds.ended(name)


def _resolved(providers: Sequence[ProviderTypes], *, skip_unknown: bool) -> tuple[AbstractProvider, ...]:
    resolved = []
    for provider in providers:
        try:
            resolved.append(_providers.resolve(provider))
        except UnknownProviderError:
            if not skip_unknown or len(providers) == 1:
                raise
    if not resolved:
        raise SetupError("none of the race's providers is known")
    return tuple(resolved)
