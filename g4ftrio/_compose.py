"""Providers made of providers: ``Race`` and ``Fallback``. They nest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import anyio
from anyio import current_time

from g4ftrio import providers as _providers
from g4ftrio._answer import Lazy
from g4ftrio._chunks import Chunk
from g4ftrio._cleaning import is_content
from g4ftrio._errors import APITimeoutError, ProviderError, SetupError, UnknownProviderError
from g4ftrio._gate import ChunkGate, Clean
from g4ftrio._messages import Messages
from g4ftrio._policies import Policy, fallback, parallel
from g4ftrio._race import Entrant, Race as _Race, Won
from g4ftrio._report import EntrantReport, RaceReport
from g4ftrio._request import ChatParams
from g4ftrio._source import Source, use_async_with
from g4ftrio._stream import RaceStream, Stream
from g4ftrio._sync import Backend, SyncStream
from g4ftrio._timeouts import TimeoutTypes
from g4ftrio.base_provider import AbstractProvider, AnsweringProvider, Ask, StreamContext
from g4ftrio.base_provider._binding import on_class_too
from g4ftrio.providers import ProviderTypes
from g4ftrio.transports.http import open_http_client

if TYPE_CHECKING:
    import httpx

__all__ = ("Fallback", "Race", "RaceContext", "race", "race_sync")


def race(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    clean: Clean = is_content,
    timeout: TimeoutTypes = None,
    http_client: httpx.AsyncClient | None = None,
    grace: float = 1.0,
    skip_unready: bool = False,
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
    :param policy: when to start whom: ``parallel()`` (the default), ``staggered(seconds)``, ``fallback()``
    :param clean: given a chunk and all the text so far, that chunk included, whether this decides the race
    :param timeout: a ``Timeout`` or seconds without progress, for every entrant; ``total`` bounds the race as well
    :param http_client: an ``httpx.AsyncClient`` for the entrants that have none
    :param grace: seconds that a loser has to close itself before it is forced to
    :param skip_unready: leave out entrants whose set-up is wrong (no key) instead of raising
    :param params: see ``ChatParams``
    :raises SetupError: on entering: an unknown provider, a missing key; nothing was sent
    :raises AllFailed: on entering: no provider gave a clean chunk; ``.failures`` has every error
    :raises APITimeoutError: on entering: nobody won within ``timeout.total``
    :raises ProviderError: while reading: the winner failed
    """
    whole = Race(providers, policy=policy, clean=clean, grace=grace, skip_unready=skip_unready)
    return whole.stream(messages, model=model, system=system, timeout=timeout, http_client=http_client, **params)


def race_sync(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    clean: Clean = is_content,
    timeout: TimeoutTypes = None,
    grace: float = 1.0,
    skip_unready: bool = False,
    backend: Backend = "trio",
    **params: Unpack[ChatParams],
) -> SyncStream:
    """Race from synchronous code: a plain ``with`` gives the stream, a plain ``for`` reads it.

    Entering waits for the winner or raises. The parameters and errors are those of ``race``.

    :param backend: the event loop to run it on, in a thread of its own: ``trio`` or ``asyncio``
    :raises EventLoopRunningError: one runs here already; nothing was sent
    """
    whole = Race(providers, policy=policy, clean=clean, grace=grace, skip_unready=skip_unready)
    context = whole.stream(messages, model=model, system=system, timeout=timeout, **params)
    return SyncStream(lambda: context, backend=backend, instead="async with race(...) as stream:", grace=grace)


class Race(AnsweringProvider):
    """Several providers as one: every request is a race among them.

    ``async with Race([...]) as llm`` is the long-lived form: it keeps one HTTP client for the entrants that have none,
    and remembers for how long a service asked to be left alone. It belongs to one event loop.

    :param providers: instances, classes, or specs: ``provider[/model][@base_url]``
    :param policy: when to start whom
    :param clean: what decides a race; see ``race``
    :param grace: seconds that a loser has to close itself
    :param skip_unready: leave out entrants whose set-up is wrong instead of raising
    """

    label = "race"

    _detachable: ClassVar[bool] = False

    def __init__(
        self,
        providers: Sequence[ProviderTypes],
        *,
        policy: Policy | None = None,
        clean: Clean = is_content,
        grace: float = 1.0,
        skip_unready: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if isinstance(providers, str) or not providers:
            raise SetupError("a race needs a list of at least one provider")
        self.entrants = _resolved(providers, skip_unknown=skip_unready)
        self.policy = policy or parallel()
        self.clean = clean
        self.grace = grace
        self.skip_unready = skip_unready
        self._held: dict[str, float] = {}
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
        self._shared = self._client or open_http_client(proxy=self._proxy)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        shared, self._shared = self._shared, None
        if shared is not None and shared is not self._client:
            await shared.aclose()

    @property
    def _needs_client(self) -> bool:
        if self._client is not None or self._shared is not None:
            return False
        return any(entrant._needs_client for entrant in self.entrants)

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return _RacedAnswer(self, ask)

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

    def _one_race(
        self, ready: Sequence[tuple[AbstractProvider, str]], ask: Ask, client: httpx.AsyncClient | None
    ) -> _Race[Chunk]:
        """Set up the race for one request."""
        entrants, names, keys = [], _Names(), {}
        for provider, asked in ready:
            key = provider._called(asked)
            name = names.distinct(key)
            keys[name] = key
            entrants.append(self._entrant(provider, ask, EntrantReport(name=name, model=asked), client))
        return _Race(
            entrants,
            policy=self.policy,
            grace=self.grace,
            total=ask.timeout.total,
            late=partial(APITimeoutError, "total", ask.timeout.total, provider=self.name),
            held_until=lambda name: self._held.get(keys[name], -inf),
            failed=lambda name, error: self._hold(keys[name], error),
        )

    def _entrant(
        self, provider: AbstractProvider, ask: Ask, record: EntrantReport, client: httpx.AsyncClient | None
    ) -> Entrant[Chunk]:
        timeout = ask.timeout.over(provider._timeout)
        limits = {"first_chunk": timeout.first_chunk}
        if timeout.total < ask.timeout.total:  # which the race keeps for everybody
            limits["total"] = timeout.total
        limit = min(limits, key=limits.__getitem__)
        theirs = Ask(
            messages=ask.messages,
            model=record.model,
            params=provider._merged(ask.params),
            timeout=timeout,
            client=provider._client or (None if provider._proxy else client),
            record=record,
            watched=("stall", "total"),
            watched_opening=False,
        )
        return Entrant(
            record,
            partial(provider._open, theirs),
            ChunkGate(self.clean, record=record),
            handoff=provider._handoff,
            detachable=provider.detachable,
            limit=limits[limit],
            late=partial(APITimeoutError, limit, limits[limit], provider=record.name),
        )

    def _hold(self, key: str, error: Exception) -> None:
        """A service asked to be left alone for a while: it is not started again before."""
        if isinstance(error, ProviderError) and error.retry_after:
            self._held[key] = current_time() + error.retry_after

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


class _Names:
    """Gives names, a repeated one with ``#2``, ``#3`` and so on."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def distinct(self, name: str) -> str:
        distinct, count = name, 1
        while distinct in self._given:
            count += 1
            distinct = f"{name}#{count}"
        self._given.add(distinct)
        return distinct


class _Course:
    """One race with the HTTP client that its entrants need, if any does: opened and closed together."""

    def __init__(self, whole: Race, ask: Ask) -> None:
        whole._on_this_loop()
        ready = whole._ready(ask.model)  # raises before there is a client to close
        self._own: httpx.AsyncClient | None = None
        client = ask.client or whole._shared
        if client is None and any(provider._needs_client for provider, _ in ready):
            client = self._own = open_http_client(proxy=whole._proxy)
        self.race = whole._one_race(ready, ask, client)

    async def close(self) -> None:
        """Close the client where it is the race's own."""
        if self._own is not None:
            await self._own.aclose()

    def give_client_to(self, source: Any) -> None:
        """Let a settled winner close the client."""
        if self._own is not None:
            source.adopt(self._own)


class RaceContext(StreamContext):
    """A race that was set up and is to be entered: ``async with race(...) as stream``."""

    def __init__(self, whole: Race, ask: Ask) -> None:
        super().__init__(whole, ask)
        self._whole = whole
        self._course: _Course | None = None

    @property
    def report(self) -> RaceReport:
        """What became of everybody so far; it may be read while the race is on."""
        if self._course is None:
            return RaceReport(policy=str(self._whole.policy), entrants=[])
        return self._course.race.report

    def __aiter__(self) -> AsyncIterator[Chunk]:
        raise use_async_with("race(...)")

    async def __aenter__(self) -> RaceStream:
        self._course = course = _Course(self._whole, self._ask)
        try:
            won = await course.race.__aenter__()
        except BaseException:
            await course.close()
            raise
        return self._winning(won, course.race.release)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._course is None:
            return False
        try:
            return await self._course.race.__aexit__(kind, error, traceback)
        finally:
            if self._stream is not None:
                self._stream.note_pieces()
            await self._course.close()

    def unread(self) -> Stream:
        """The winner's stream; the race begins at the first read, by ``settle()``."""
        return Stream(Lazy(_Settling(self)), self._ask.record)

    async def settle(self) -> RaceStream:
        """Decide inside this one await: no scope and no task stays open behind the stream.

        Close it with ``await stream.aclose()``, from any task. Losers are closed before this returns, which takes
        at most ``grace`` seconds.

        :raises TypeError: an entrant's stream belongs to the task that opens it
        """
        self._course = course = _Course(self._whole, self._ask)
        try:
            won = await course.race.settle()
        except BaseException:
            await course.close()
            raise
        course.give_client_to(won.source)
        return self._winning(won, None)

    def _winning(self, won: Won[Chunk], release: Callable[[], None] | None) -> RaceStream:
        self._stream = stream = RaceStream(self.report, won.source, won.entrant.record, won.first, release, self._parse)
        return stream


class _Settling:
    """A race that is settled when it is entered, for who opens an answer at the first read."""

    def __init__(self, context: RaceContext) -> None:
        self._context = context

    async def __aenter__(self) -> Self:
        self._stream = await self._context.settle()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing to do: see ``detach``."""

    def detach(self) -> None:
        """It is nobody's from the beginning."""

    async def pull(self) -> list[Chunk]:
        return await self._stream.pull()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close_now(self) -> None:
        self._stream.close_now()


class _RacedAnswer:
    """A race as one answer, for a race in which it is an entrant."""

    def __init__(self, whole: Race, ask: Ask) -> None:
        self._course = _Course(whole, ask)
        self._ask = ask
        self._won: Won[Chunk] | None = None

    async def __aenter__(self) -> Source[Chunk]:
        record = self._ask.record
        record.race = self._course.race.report
        try:
            self._won = won = await self._course.race.__aenter__()
        except BaseException:
            await self._course.close()
            raise
        self._first = won.first
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            return await self._course.race.__aexit__(kind, error, traceback)
        finally:
            await self._course.close()

    async def pull(self) -> list[Chunk]:
        """Give what decided the race, then what the winner goes on to write."""
        if self._first:
            first, self._first = self._first, []
            return first
        if self._won is None:
            return []
        return await self._won.source.pull()

    async def aclose(self) -> None:
        """Say that no more is wanted."""
        self._course.race.release()
