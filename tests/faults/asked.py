"""How the stall tests ask: every wire at the same moment, over our own transport or over httpx's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from g4ftrio import open_http_client
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Running
from tests.faults.switchboard import Switchboard
from tests.providers.all_wires import ALL, asking

__all__ = ("TRANSPORTS", "at_once", "opened", "reaching")

T = TypeVar("T")

TRANSPORTS = ("ours", "stock")


async def at_once(ask: Callable[[str], Awaitable[T]], labels: Iterable[str] = ALL) -> dict[str, T]:
    """Ask on all these wires at the same moment; what each gave."""
    found: dict[str, T] = {}

    async def note(label: str) -> None:
        found[label] = await ask(label)

    async with anyio.create_task_group() as tasks:
        for label in labels:
            tasks.start_soon(note, label)
    return found


def opened(board: Switchboard, transport: str, **options: Any) -> httpx.AsyncClient:
    """A client of ours, or a plain one of httpx's."""
    return open_http_client(**options) if transport == "ours" else board.stock(**options)


def reaching(running: Running, host: str, *, scheme: str = "http", **settings: Any) -> HttpProvider:
    """The provider of a service's wire, which asks that host, and bears its name."""
    api_base = urlsplit(running.api_base)._replace(scheme=scheme, netloc=host).geturl()
    return asking(running, **{"name": host, "api_base": api_base, "api_key": "sk-test", **settings})
