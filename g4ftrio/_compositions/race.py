"""Providers made of providers: ``Race`` and ``Fallback``. They nest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import anyio
from anyio import CancelScope

from g4ftrio import providers as _providers
from g4ftrio._cleaning import is_content
from g4ftrio._compositions.book import Book
from g4ftrio._compositions.course import RaceContext, RacedAnswer
from g4ftrio._compositions.failover import Contenders, Midstream, check_midstream
from g4ftrio._race.entrant import Entrant
from g4ftrio._race.ordering import Order, Ordering, Prices
from g4ftrio._race.policies import Policy, fallback, parallel
from g4ftrio._race.race import Race as _Race
from g4ftrio._race.source import Source
from g4ftrio._resilience.health import Breaker, Health
from g4ftrio._resilience.state_file import load_state, save_state
from g4ftrio._streams.gate import Clean, gate_for
from g4ftrio._words.bill import check_prices
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import APITimeoutError, SetupError, UnknownProviderError
from g4ftrio._words.messages import Messages
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import ChatParams
from g4ftrio._words.timeouts import Timeout, TimeoutTypes
from g4ftrio.base_provider import AbstractProvider, AnsweringProvider, Ask
from g4ftrio.base_provider._ask import parser
from g4ftrio.base_provider._binding import on_class_too
from g4ftrio.providers import ProviderTypes
from g4ftrio.transports.http import open_http_client

if TYPE_CHECKING:
    import httpx

__all__ = ("Fallback", "Race")

_BREAKER = Breaker()


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
            keeper=Book(self._health, keys, ask.timeout.total),
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
