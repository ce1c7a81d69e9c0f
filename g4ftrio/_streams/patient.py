"""How long an answer is waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anyio import CancelScope

from g4ftrio._loops import clock
from g4ftrio._race.source import Source
from g4ftrio._words.chunks import OUTPUT, AudioResponse, Chunk, ImageResponse, ToolCallDelta
from g4ftrio._words.errors import APITimeoutError
from g4ftrio._words.timeouts import Timeout, Waits

if TYPE_CHECKING:
    import httpx

__all__ = ("Patient",)


class Patient:
    """An answer that is waited for only so long, around another one.

    :param kinds: the time-outs that are watched here; what is left out is watched elsewhere
    :param opening: whether the opening is watched too; not where it leaves a scope open, which must not end in another,
        and not where somebody else watches it; its time is counted anyway
    """

    def __init__(
        self,
        answer: AbstractAsyncContextManager[Source[Chunk]],
        timeout: Timeout,
        name: str,
        kinds: tuple[str, ...] = ("first_chunk", "stall", "total"),
        *,
        opening: bool = True,
    ) -> None:
        self._answer = answer
        self._opening = opening
        self._waits = Waits(timeout, kinds)
        self._name = name

    async def __aenter__(self) -> Source[Chunk]:
        self._now = clock()
        if self._opening:
            self._source: Any = await self._watched(self._answer.__aenter__)
        else:
            self._waits.begin(self._now())
            self._source = await self._answer.__aenter__()
            self._waits.end(self._now())
        self._keeps_time = getattr(self._source, "keeps_time", False)
        self._waits.output(clean=False)  # the answer has begun, so from here on a stall is one
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._answer.__aexit__(kind, error, traceback)

    async def pull(self) -> list[Chunk]:
        """Give what the next read brings.

        :raises APITimeoutError: it did not come in time
        """
        if not self._keeps_time:
            batch = await self._watched(self._source.pull)
        else:  # a scope around a read costs as much as the read
            now = self._now()
            until = self._waits.begin(now)
            if until <= now and not self._source.is_over:  # chunks that came at once, over and over, made no read late
                raise self._late()
            try:
                batch = await self._source.pull(until)
            except APITimeoutError:
                if self._now() < until:
                    raise
                batch = None
            finally:
                self._waits.end(self._now())
            if batch is None:
                raise self._late()
        if self._waits.by_output and any(isinstance(chunk, OUTPUT) for chunk in batch):
            self._waits.output(clean=any(map(_is_substance, batch)))
        given: list[Chunk] = batch
        return given

    async def aclose(self) -> None:
        """Close it."""
        await self._source.aclose()

    def close_now(self) -> None:
        """Close the socket at once."""
        self._source.close_now()

    def detach(self) -> None:
        """Outlive the context."""
        self._source.detach()

    def adopt(self, client: httpx.AsyncClient) -> None:
        """Close this client too."""
        self._source.adopt(client)

    async def _watched(self, read: Callable[[], Any]) -> Any:
        with CancelScope(deadline=self._waits.begin(self._now())):
            try:
                return await read()
            finally:
                self._waits.end(self._now())
        raise self._late()

    def _late(self) -> APITimeoutError:
        kind, seconds = self._waits.reached()
        return APITimeoutError(kind, seconds, provider=self._name)


def _is_substance(chunk: Chunk) -> bool:
    """Whether the wait for a first chunk is over. It judges nothing: a race asks its own predicate as well."""
    return (
        bool(chunk.strip())
        if isinstance(chunk, str)
        else isinstance(chunk, ToolCallDelta | ImageResponse | AudioResponse)
    )
