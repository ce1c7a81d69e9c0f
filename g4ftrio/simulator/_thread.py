"""Simulated services in a thread with a loop of its own, for synchronous programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self

from anyio.from_thread import start_blocking_portal

from g4ftrio.simulator._server import Fleet, Running, serve
from g4ftrio.simulator._service import Service

__all__ = ("ThreadFleet", "run_in_thread")


class ThreadFleet(Mapping[str, Running]):
    """Services by name, listening between ``with`` and its end; their times are the thread's loop's."""

    def __init__(self, fleet: Fleet, backend: Literal["asyncio", "trio"]) -> None:
        self._fleet = fleet
        self._backend = backend
        self._closing = ExitStack()

    def __getitem__(self, name: str) -> Running:
        return self._fleet[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fleet)

    def __len__(self) -> int:
        return len(self._fleet)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(self._backend))
            stack.enter_context(self._portal.wrap_async_context_manager(self._fleet))
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._closing.__exit__(kind, error, trace)

    def quiet(self, seconds: float = 5.0) -> None:
        """Wait until no request is being answered, nor on its way here.

        :param seconds: how long to wait
        :raises TimeoutError: names the services that are not quiet yet
        """
        self._portal.call(self._fleet.quiet, seconds)


def run_in_thread(
    services: Iterable[Service],
    *,
    host: str = "127.0.0.1",
    ports: int = 0,
    backend: Literal["asyncio", "trio"] = "asyncio",
) -> ThreadFleet:
    """Run simulated services in a thread inside a ``with``, which gives the fleet.

    Leaving it closes everything at once and joins the thread.

    :param ports: the first one's port, the next one's is one higher; 0 lets the system choose
    :raises OSError: a port cannot be had
    """
    return ThreadFleet(serve(services, host=host, ports=ports), backend)
