"""What is measured: each library asked for a chat answer in its own idiom, on a client that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, TypeAlias

__all__ = ("PROMPT", "CannotDo", "Client", "Take")

PROMPT = [{"role": "user", "content": "Why is the sky blue?"}]

Take: TypeAlias = Callable[[str], object]


class CannotDo(Exception):
    """The library has not what is asked; the message is the reason that the tables show."""


class Client:
    """A library, made ready to ask; on its own, ``async with`` opens and closes what it keeps.

    :ivar most: how many streams it opens to one origin at once, if it limits them

    :param stock: leave limits and time-outs as the library sets them; else there are none
    :param warm: keep so many connections to an origin open ahead of time
    """

    most: int | None = None

    def __init__(self, *, stock: bool = False, warm: dict[str, int] | None = None) -> None:
        if warm is not None:
            raise CannotDo("keeps no connections ahead of time")
        self.stock = stock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""

    async def read(self, address: str, take: Take) -> None:
        """Ask what is at this base URL, and hand on every text of the answer as it comes."""
        raise NotImplementedError

    async def race(self, addresses: Sequence[str], take: Take) -> None:  # noqa: ARG002  # this one has none
        """Ask several, and hand on the texts of the one that wins."""
        raise CannotDo("has no race")
