"""A provider that is asked again when it fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import Any, TypeAlias

from anyio import sleep
from msgspec.structs import replace

from g4ftrio._compositions.wrapping import Wrapping
from g4ftrio._loops import clock
from g4ftrio._race.source import Source
from g4ftrio._streams.generator_answer import GeneratorAnswer
from g4ftrio._words.chunks import Chunk, Failover, ToolCallDelta
from g4ftrio._words.errors import ProviderError, describe
from g4ftrio._words.timeouts import Timeout
from g4ftrio._words.verdict import worth_retrying
from g4ftrio.base_provider import AbstractProvider, Ask

__all__ = ("Retry", "full_jitter")

Worth: TypeAlias = Callable[[Exception], bool] | type[Exception] | tuple[type[Exception], ...]

_LEAST = 0.001  # seconds; 0 would be no limit
_EACH = ("connect", "stall", "idle")  # limits of a single wait, which mean the same for one attempt and for all


def full_jitter(seconds: float) -> float:
    """Any time up to so many seconds: of many that fail at once, no two come back at once."""
    from random import uniform

    return uniform(0.0, seconds)  # noqa: S311  # nothing secret


class Retry(Wrapping):
    """A provider that is asked again when it fails, unless it has given a chunk already.

    Between two attempts it waits for as long as the service asks; else for ``base`` seconds, doubled each time, up to
    ``cap``, of which ``jitter`` makes any time up to that. A service that asks for more than ``cap`` is not waited for.
    What is worth another attempt: time-outs, connections that fail, 408, 429, 5xx, answers that were cut or cannot be
    read, and a limit of one's own that was reached. Not: what is wrong with the request or the key.

    The time-outs of the provider count for each attempt, those of the ``Retry`` and of a call for all of them together.
    The error of the last attempt is raised, with the earlier ones as its notes; in a race's report they are the
    entrant's ``attempts``.

    :param provider: an instance, a class, or a spec
    :param attempts: how often it is asked at most
    :param base: seconds
    :param cap: seconds
    :param jitter: given the seconds, how long it waits in truth; ``lambda seconds: seconds`` is none
    :param on: which errors are worth it: classes, or a function of an error
    :param after_output: start over also where chunks were given out; a ``Failover`` chunk marks the seam. Not after a
        tool call has begun. Its streams then cannot be settled
    """

    label = "retry"

    def __init__(
        self,
        provider: AbstractProvider | type[AbstractProvider] | str,
        attempts: int = 3,
        *,
        base: float = 0.5,
        cap: float = 30.0,
        jitter: Callable[[float], float] = full_jitter,
        on: Worth = worth_retrying,
        after_output: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(provider, **settings)
        if attempts < 1:
            raise ValueError(f"attempts is a number from 1, not {attempts!r}")
        if not (0 <= base < inf and 0 <= cap < inf):
            raise ValueError(f"base and cap are numbers of seconds from 0, not {base!r} and {cap!r}")
        self.attempts = attempts
        self.base = base
        self.cap = cap
        self.jitter = jitter
        self.on = on
        self.after_output = after_output
        if after_output:
            self._detachable = False  # type: ignore[misc]  # per instance: a task of its own opens every attempt

    def delay(self, error: Exception, attempt: int) -> float | None:
        """Seconds to wait after this error before the next attempt; None where there is none.

        :param attempt: the number of the one that failed, from 1
        """
        if attempt >= self.attempts or not self._is_worth(error):
            return None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        if asked is None:
            return self.jitter(min(self.cap, self.base * 2.0 ** min(attempt - 1, 60)))
        return asked if asked <= self.cap else None

    def _is_worth(self, error: Exception) -> bool:
        if isinstance(self.on, tuple | type):
            return isinstance(error, self.on)
        return self.on(error)

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        if self.after_output:
            return GeneratorAnswer(lambda: self._over_and_over(ask))
        return _RetriedAnswer(self, ask)

    async def _over_and_over(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """Give the chunks of every attempt; ``GeneratorAnswer`` runs this in a task of its own."""
        attempts, name = _Attempts(self, ask), ask.record.name
        given = called = False
        while True:
            try:
                async with self._inner._open(attempts.next()) as source:
                    while batch := await source.pull():
                        given, called = True, called or any(isinstance(chunk, ToolCallDelta) for chunk in batch)
                        for chunk in batch:
                            yield chunk
                return
            except Exception as error:
                delay = None if called else attempts.failed(error)
                if delay is None:
                    raise
                seam = Failover(name, name, describe(error), restarted=True)
            await sleep(delay)
            if given:
                yield seam


class _Attempts:
    """The attempts at one answer: what each is asked with, and whether there is another."""

    def __init__(self, retry: Retry, ask: Ask) -> None:
        self._retry = retry
        self._ask = ask
        self._now = clock()
        self._first_began = self._now()
        self._errors: list[Exception] = []
        self._started: float | None = None

    def next(self) -> Ask:
        """Begin another one."""
        record = self._ask.record
        self._started = record.started_at if not self._errors else record.clock()
        every = ("first_chunk", "stall", "total")
        return replace(self._ask, timeout=self._timeout(), watched=every, watched_opening=True)

    def failed(self, error: Exception) -> float | None:
        """Note that it failed: seconds until the next one; None where this error is the last word."""
        delay = self._retry.delay(error, len(self._errors) + 1)
        if delay is None or delay >= self._left("first_chunk") or delay >= self._left("total"):
            for number, earlier in enumerate(self._errors, 1):
                error.add_note(f"attempt {number}: {describe(earlier)}")
            return None
        self._errors.append(error)
        self._note(error)
        return delay

    def _note(self, error: Exception) -> None:
        """Put the attempt away in the report, and make room for the next one."""
        record = self._ask.record
        tried = replace(record, outcome="failed", error=error, started_at=self._started, attempts=[])
        tried.stamp("ended_at")
        record.attempts.append(tried)
        record.connected_at = record.first_byte_at = record.pause = None
        record.bytes = record.retries = 0
        record.usage, record.usage_known = None, "unknown"

    def _timeout(self) -> Timeout:
        """The provider's own for each attempt, within what is left for all of them."""
        own = self._retry._inner._timeout
        each = own.only("first_chunk", "total").over(Timeout(first_chunk=None, total=None))
        within = Timeout(
            first_chunk=min(each.first_chunk, max(self._left("first_chunk"), _LEAST)),
            total=min(each.total, max(self._left("total"), _LEAST)),
        )
        return within.over(self._ask.timeout.only(*_EACH)).over(own)

    def _left(self, kind: str) -> float:
        """Seconds that are left of a limit for all attempts together."""
        limit: float = getattr(self._ask.timeout, kind)
        return limit - (self._now() - self._first_began)


class _RetriedAnswer:
    """An answer of the first attempt that gives a chunk: it is open when that has come, and not repeated after it."""

    def __init__(self, retry: Retry, ask: Ask) -> None:
        self._retry = retry
        self._ask = ask
        self._first: list[Chunk] | None = None
        self._answer: AbstractAsyncContextManager[Source[Chunk]]
        self._source: Any = None

    async def __aenter__(self) -> Any:
        attempts = _Attempts(self._retry, self._ask)
        while True:
            try:
                await self._attempt(attempts.next())
                return self
            except Exception as error:
                delay = attempts.failed(error)
                if delay is None:
                    raise
            await sleep(delay)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._answer.__aexit__(kind, error, traceback)

    async def pull(self) -> list[Chunk]:
        """Give the chunk that decided it, then what the answer goes on to give."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        more: list[Chunk] = await self._source.pull()
        return more

    def __getattr__(self, name: str) -> Any:
        # aclose, close_now, detach and adopt, as the attempt's answer has them
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    async def _attempt(self, ask: Ask) -> None:
        """Open it, and read until there is a chunk or an end; close it again where that fails."""
        answer = self._retry._inner._open(ask)
        source = await answer.__aenter__()
        try:
            self._first = await source.pull()
        except BaseException as error:
            await answer.__aexit__(type(error), error, error.__traceback__)
            raise
        self._answer, self._source = answer, source
