"""A request's body as a client of httpx's sends it, without a generator of httpx's.

A request that is left while its body is sent would leave that generator suspended, for the garbage collector to find,
which trio warns of. And in pieces, each of which has the whole of the ``write`` time-out, a body may take as long as it
likes while its peer goes on taking it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Self

__all__ = ("in_pieces",)

_PIECE = 64 * 1024  # bytes


def in_pieces(stream: Any, body: bytes) -> Any:
    """Give a stream of the same kind, of httpx's or httpx2's, for a body that is known."""
    kind: Any = type(stream)
    return _kind(kind)(body)


@cache
def _kind(stream: Any) -> Any:
    return type("InPieces", (stream,), {"__init__": _keep, "__aiter__": _pieces})


def _keep(self: Any, body: bytes) -> None:
    self.body = body


def _pieces(self: Any) -> _Pieces:
    return _Pieces(self.body)


class _Pieces:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = self._body[self._sent : self._sent + _PIECE]
        if not piece:
            raise StopAsyncIteration
        self._sent += len(piece)
        return piece
