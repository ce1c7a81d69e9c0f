"""An answer that is asked for when it is its turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from g4ftrio._race.source import Source
from g4ftrio._resilience.limits import Limiter, Ticket, estimated_tokens
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.report import EntrantReport

__all__ = ("LimitedAnswer",)


class LimitedAnswer:
    """An answer within the limits of its provider. While it waits for its turn, the report knows of no start.

    What is read is read of the answer itself, so a limit costs nothing for a chunk.
    """

    def __init__(
        self,
        answer: AbstractAsyncContextManager[Source[Chunk]],
        limiter: Limiter,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        record: EntrantReport,
    ) -> None:
        self._answer = answer
        self._limiter = limiter
        self._messages = messages
        self._params = params
        self._record = record
        self._ticket: Ticket | None = None
        self._source: Any = None
        self._detached = False

    async def __aenter__(self) -> Any:
        started, self._record.started_at = self._record.started_at, None
        tokens = estimated_tokens(self._messages, self._params)
        self._ticket = await self._limiter.enter(tokens, self._record.name)
        if started is not None:  # in a race; alone there are no times
            self._record.stamp("started_at")
        try:
            self._source = await self._answer.__aenter__()
        except BaseException:
            self._leave()
            raise
        self.pull = self._source.pull
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await self._answer.__aexit__(kind, error, traceback)
        finally:
            if not self._detached:
                self._leave()

    async def aclose(self) -> None:
        """Close it, and let the next one in."""
        try:
            await self._source.aclose()
        finally:
            self._leave()

    def close_now(self) -> None:
        """Close the socket at once."""
        self._source.close_now()
        self._leave()

    def detach(self) -> None:
        """Outlive the context; the place is kept until ``aclose``."""
        self._source.detach()
        self._detached = True

    def __getattr__(self, name: str) -> Any:
        # adopt, is_over and keeps_time, where the answer behind has them
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def _leave(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._limiter.leave(ticket, self._used())

    def _used(self) -> int | None:
        """The tokens that it has used, if the service has said so."""
        usage = self._record.usage
        if usage is None or self._record.usage_known != "exact":
            return None
        return (usage.input_tokens or 0) + (usage.output_tokens or 0)
