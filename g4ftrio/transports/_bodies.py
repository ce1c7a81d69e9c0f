"""What a response reads from: the port to a body, ours or httpx's."""

from __future__ import annotations

from math import inf
from typing import Protocol

__all__ = ("Body", "Duplex")


class Body(Protocol):
    """What a response reads from; a transport of our own gives one in ``extensions["g4ftrio_body"]``.

    A cancelled ``pull`` of one of our own loses nothing, and may be repeated.
    """

    async def pull(self, until: float = inf) -> bytes:
        """Give the next piece, which is not empty; empty is the end.

        :param until: when it is late, by the loop's clock; it then raises httpx's ``ReadTimeout``
        """

    async def aclose(self) -> None:
        """Let go of the connection: keep it if the body was read to its end, else close it without a word."""

    def close_now(self) -> None:
        """Make the peer see the connection gone, at once, from wherever this is called."""


class Duplex(Body, Protocol):
    """What goes on in another protocol: with status 101, a body is one."""

    async def send(self, data: bytes) -> None:
        """Write; where the peer has closed, the next ``pull`` finds out. What a cancelled one has sent is unknown."""
