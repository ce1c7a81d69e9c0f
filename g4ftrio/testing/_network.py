"""No network: a test that would reach out fails instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ("NetworkForbidden", "forbid_network")


class NetworkForbidden(RuntimeError):
    """A connection was about to be made where ``forbid_network`` forbids it."""


_forbidding: list[tuple[str, ...]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _forbidding or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    host = args[0] if event == "socket.getaddrinfo" else args[1]
    host = host[0] if isinstance(host, tuple) else host
    host = host.decode("ascii", "replace") if event == "socket.getaddrinfo" and isinstance(host, bytes) else host
    if isinstance(host, str) and not host.startswith("/") and host not in _forbidding[-1]:
        raise NetworkForbidden(f"a connection to {host} was about to be made, and the network is forbidden here")


@cache
def _hook_once() -> None:
    sys.addaudithook(_audit)  # it cannot be taken off again, so there is one for all


@contextmanager
def forbid_network(*, allow: Sequence[str] = ()) -> Iterator[None]:
    """Make every attempt to connect or to look a name up raise ``NetworkForbidden``, in all threads.

    It listens to Python's audit events (PEP 578), so it holds for trio and asyncio, and not for uvloop, which
    connects without Python's socket module.

    :param allow: hosts that may be reached all the same, ``127.0.0.1`` say
    """
    _hook_once()
    _forbidding.append(tuple(allow))
    try:
        yield
    finally:
        _forbidding.pop()
