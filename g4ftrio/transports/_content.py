"""A request's body for httpx's own transports.

httpx's body is read by an async generator, which a cancelled send leaves suspended: a ``ResourceWarning`` on trio.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ("whole",)


def whole(stream: Any, body: bytes) -> Any:
    """Give a body in one piece, whose iterator is no generator.

    :param stream: the one that httpx, or httpx2, made of the same bytes
    """
    return _kind(type(stream))(body)  # type: ignore[arg-type]  # a class is hashable, whatever mypy says of Any


class _Once:
    def __init__(self, body: bytes) -> None:
        self._left = [body]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@cache
def _kind(base: type[Any]) -> type[Any]:
    """A transport wants a stream of its own library's class."""

    def init(self: Any, body: bytes) -> None:
        base.__init__(self, body)
        self.body = body

    return type("Whole", (base,), {"__init__": init, "__aiter__": lambda self: _Once(self.body)})
