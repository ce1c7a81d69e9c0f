"""The ``connect`` time-out of a request that somebody else's transport sends, and what that leaves open.

httpx's own keeps it for each step anew: for a place in the pool, for the connection, for each handshake. Its wait for a
proxy's answer is bounded by the time-out for reading, or not at all. Here it is one limit on all of them together. And
a connection whose handshake is cancelled is not closed there (httpcore 1.0.9, ``start_tls``), so it is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import TracebackType
from typing import Any, Self

from anyio import CancelScope, current_time

from g4ftrio._words.errors import APITimeoutError

__all__ = ("Connecting",)

_CONNECTS = ("connect_tcp.started", "connect_unix_socket.started")
_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete")
_SENDS = "send_request_headers.started"


class Connecting:
    """Listens to a transport, as a context manager around its work, and ends it where connecting takes too long.

    A transport that does not tell of its steps is not bounded.

    :param limit: seconds
    :raises APITimeoutError: it took longer
    """

    __slots__ = ("_limit", "_scope", "_since", "_stream")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._scope = CancelScope()
        self._since: float | None = None
        self._stream: Any = None

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear of a step.

        :param event: one of httpcore's names
        """
        if event.endswith(_CONNECTS):
            self._scope.deadline = self._limit + (current_time() if self._since is None else self._since)
        elif event.endswith(_CONNECTED):
            self._stream = info["return_value"]
        elif event.endswith(_SENDS) and info["request"].method not in (b"CONNECT", "CONNECT"):
            self._scope.deadline = inf
            self._since = self._stream = None  # if this connection is dead, the next one has all the time

    async def __aenter__(self) -> Self:
        self._since = current_time()
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is not None and hasattr(self._stream, "aclose"):
            with CancelScope(shield=True):
                await self._stream.aclose()  # of a plain connection, so it waits for nobody
        suppressed = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise APITimeoutError("connect", self._limit)
        return suppressed
