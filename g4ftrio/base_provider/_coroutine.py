"""An answer that one coroutine gives whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from g4ftrio._race.source import Source
from g4ftrio._words.chunks import Chunk

__all__ = ("CoroutineAnswer",)


class CoroutineAnswer:
    """Awaits a coroutine at the first read. No scope is open between its reads, so any task may read it.

    A cancelled read asks anew when it is repeated.
    """

    def __init__(self, ask: Callable[[], Awaitable[Chunk]]) -> None:
        self._ask = ask
        self._done = False

    async def __aenter__(self) -> Source[Chunk]:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing is open."""

    async def pull(self) -> list[Chunk]:
        """Give the whole answer, then nothing."""
        if self._done:
            return []
        text = await self._ask()
        self._done = True
        return [text]

    async def aclose(self) -> None:
        """Nothing is open."""
        self.close_now()

    def close_now(self) -> None:
        """Ask no more."""
        self._done = True

    def detach(self) -> None:
        """It is nobody's from the beginning."""

    def adopt(self, client: object) -> None:
        """It sends nothing itself."""
