"""A race of providers as it is run: with the HTTP client that it needs, entered, settled, or inside another race."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from g4ftrio._compositions.failover import Contenders, Midstream, Relay
from g4ftrio._race.race import Race, Won
from g4ftrio._race.source import Source, use_async_with
from g4ftrio._streams.lazy import Lazy
from g4ftrio._streams.stream import RaceStream, Stream
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.events import Broadcast
from g4ftrio._words.report import RaceReport
from g4ftrio.base_provider import Ask, StreamContext
from g4ftrio.base_provider._ask import Answering
from g4ftrio.transports.http import open_http_client

if TYPE_CHECKING:
    import httpx

    from g4ftrio._race.policies import Policy
    from g4ftrio.base_provider import AbstractProvider

__all__ = ("Course", "RaceContext", "RacedAnswer")


class Whole(Answering, Protocol):
    """What a race needs of the provider that it is a race of."""

    policy: Policy
    midstream: Midstream
    keep_standby: int
    _shared: httpx.AsyncClient | None
    _proxy: str | None

    def _on_this_loop(self) -> None: ...

    def _ready(self, model: str | None) -> list[tuple[AbstractProvider, str]]: ...

    def _one_race(
        self, ready: Sequence[tuple[AbstractProvider, str]], ask: Ask, client: httpx.AsyncClient | None
    ) -> tuple[Race[Chunk], Contenders]: ...


class Course:
    """One race with the HTTP client that its entrants need, if any does: opened and closed together."""

    def __init__(self, whole: Whole, ask: Ask) -> None:
        whole._on_this_loop()
        ready = whole._ready(ask.model)  # raises before there is a client to close
        self._own: httpx.AsyncClient | None = None
        client = ask.client or whole._shared
        if client is None and any(provider._needs_client for provider, _ in ready):
            client = self._own = open_http_client(proxy=whole._proxy)
        if ask.hooks or any(provider._hooks for provider, _ in ready):
            ask.broadcast = Broadcast(ask.hooks, whole.name, ask.record if ask.record.listener is not None else None)
        self.race, self._contenders = whole._one_race(ready, ask, client)
        self._whole = whole
        self._total = ask.timeout.total
        self._broadcast = ask.broadcast
        if self._broadcast is not None:
            self._broadcast.begin(self.race.report)

    def source(self, won: Won[Chunk]) -> Source[Chunk]:
        """Where the consumer reads: the winner itself, or what goes on when that dies."""
        whole = self._whole
        if whole.midstream == "raise":
            return won.source
        return Relay(
            self.race,
            won,
            self._contenders,
            midstream=whole.midstream,
            keep_standby=whole.keep_standby,
            total=self._total,
        )

    async def close(self, error: BaseException | None = None) -> None:
        """Close the client where it is the race's own.

        :param error: why nobody won
        """
        try:
            if self._own is not None:
                await self._own.aclose()
        finally:
            if self._broadcast is not None:
                self._broadcast.end(error)

    def end_with(self, won: Won[Chunk]) -> None:
        """Let a settled winner close the client, and be the end of the race."""
        source: Any = won.source
        if self._own is not None:
            source.adopt(self._own)
        if self._broadcast is not None:
            self._broadcast.end_with(won.entrant.record)


class RaceContext(StreamContext):
    """A race that was set up and is to be entered: ``async with race(...) as stream``."""

    def __init__(self, whole: Whole, ask: Ask) -> None:
        super().__init__(whole, ask)
        self._whole = whole
        self._course: Course | None = None

    @property
    def report(self) -> RaceReport:
        """What became of everybody so far; it may be read while the race is on."""
        if self._course is None:
            return RaceReport(policy=str(self._whole.policy), entrants=[])
        return self._course.race.report

    def __aiter__(self) -> AsyncIterator[Chunk]:
        raise use_async_with("race(...)")

    async def __aenter__(self) -> RaceStream:
        self._course = course = Course(self._whole, self._ask)
        try:
            won = await course.race.__aenter__()
        except BaseException as error:
            await course.close(error)
            raise
        source = course.source(won)
        stream = self._winning(won, source, course.race.release)
        if isinstance(source, Relay):
            source.tell = stream.now_by
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._course is None:
            return False
        if self._stream is not None:
            self._stream.note_pieces()
        try:
            return await self._course.race.__aexit__(kind, error, traceback)
        finally:
            await self._course.close()

    def unread(self) -> Stream:
        """The winner's stream; the race begins at the first read, by ``settle()``.

        :raises TypeError: somebody is to go on when the winner dies
        """
        self._check_settled()
        return Stream(Lazy(_Settling(self)), self._ask.record)

    async def settle(self) -> RaceStream:
        """Decide inside this one await: no scope and no task stays open behind the stream.

        Close it with ``await stream.aclose()``, from any task. Losers are closed before this returns, which takes
        at most ``grace`` seconds.

        :raises TypeError: an entrant's stream belongs to the task that opens it, or somebody is to go on when the
            winner dies, for which there must be a task
        """
        self._check_settled()
        self._course = course = Course(self._whole, self._ask)
        try:
            won = await course.race.settle()
        except BaseException as error:
            await course.close(error)
            raise
        course.end_with(won)
        return self._winning(won, won.source, None)

    def _winning(self, won: Won[Chunk], source: Source[Chunk], release: Callable[[], None] | None) -> RaceStream:
        self._stream = stream = RaceStream(self.report, source, won.entrant.record, won.first, release, self._parse)
        return stream

    def _check_settled(self) -> None:
        if self._whole.midstream != "raise":
            said = f"a race with midstream={self._whole.midstream!r} cannot be settled, as no task is left to go on in"
            raise TypeError(f"{said}: use `async with race(...) as stream:`")


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


class RacedAnswer:
    """A race as one answer, for a race in which it is an entrant."""

    def __init__(self, whole: Whole, ask: Ask) -> None:
        self._course = Course(whole, ask)
        self._ask = ask
        self._won: Won[Chunk] | None = None

    async def __aenter__(self) -> Source[Chunk]:
        record = self._ask.record
        record.race = self._course.race.report
        try:
            self._won = won = await self._course.race.__aenter__()
        except BaseException as error:
            await self._course.close(error)
            raise
        self._first = won.first
        self._source = self._course.source(won)
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
        source = self._source
        record = source.record if isinstance(source, Relay) else self._won.entrant.record
        try:
            batch = await source.pull()
        except Exception as error:
            record.error = error  # for the inner race's report, and for what it keeps of its entrants
            raise
        record.note_usage(batch[-1:])
        return batch

    async def aclose(self) -> None:
        """Say that no more is wanted."""
        self._course.race.release()
