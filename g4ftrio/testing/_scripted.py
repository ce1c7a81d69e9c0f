"""A provider that says what it is told, when it is told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from g4ftrio._race.source import Source
from g4ftrio._streams.patient import Patient
from g4ftrio._words.chunks import Chunk
from g4ftrio.base_provider import AnsweringProvider, Ask

__all__ = ("Scripted",)


class Scripted(AnsweringProvider):
    """A provider that gives these chunks.

    :param chunks: a text, or a list of chunks
    :param delay: seconds before the first chunk
    :param gap: seconds before every further one
    :param error: raised after the last chunk
    :param prefill: whether a race may have it go on from the text of another; what it gives is the same
    :ivar asked: the messages of every request so far
    :ivar opened: how many answers were opened
    :ivar closed: how many were closed again
    """

    label = "scripted"

    def __init__(
        self,
        chunks: str | Sequence[Chunk] = (),
        *,
        delay: float = 0.0,
        gap: float = 0.0,
        error: Exception | None = None,
        prefill: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.chunks = [chunks] if isinstance(chunks, str) else list(chunks)
        self.delay = delay
        self.gap = gap
        self.error = error
        self.prefill = prefill
        self.asked: list[list[dict[str, Any]]] = []
        self.opened = 0
        self.closed = 0

    def goes_on_from_text(self, model: str) -> bool:  # noqa: ARG002  # it has no models
        """Whether it was said to."""
        return self.prefill

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        self.asked.append(ask.messages)
        return Patient(_ScriptedAnswer(self), ask.timeout, ask.record.name, (*ask.watched, "idle"))


class _ScriptedAnswer:
    def __init__(self, script: Scripted) -> None:
        self._script = script
        self._left = list(script.chunks)
        self._wait = script.delay
        self._due: float | None = None
        self._detached = False
        self._open = False

    async def __aenter__(self) -> Source[Chunk]:
        self._script.opened += 1
        self._open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if not self._detached:
            await self.aclose()

    async def pull(self) -> list[Chunk]:
        if self._due is None:  # else the read before was cancelled, and this one waits for the same
            self._due = anyio.current_time() + self._wait
        await anyio.sleep_until(self._due)
        self._wait, self._due = self._script.gap, None
        if self._left:
            return [self._left.pop(0)]
        if self._script.error is not None:
            raise self._script.error
        return []

    async def aclose(self) -> None:
        self.close_now()

    def close_now(self) -> None:
        self._script.closed += self._open
        self._open = False

    def detach(self) -> None:
        self._detached = True

    def adopt(self, client: object) -> None:
        """Nothing was sent with it."""
