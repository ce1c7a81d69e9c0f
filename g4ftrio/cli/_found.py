"""What is on this machine to ask with: keys in the environment, servers on loopback."""

from __future__ import annotations

from collections.abc import Iterable
from os import environ
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from g4ftrio import providers
from g4ftrio._words.origin import is_loopback
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import HttpProvider

__all__ = ("Found", "address_of", "key_in", "look", "origin")

_PROBE = 0.2  # seconds; a connection to loopback takes well under a millisecond


class Found(Struct, frozen=True):
    """A provider that could be asked.

    :ivar variable: the environment variable that holds its key, if one does
    :ivar server: host and port where something listens, for a provider on this machine
    """

    label: str
    variable: str = ""
    server: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.server or self.variable})"


async def look() -> list[Found]:
    """Look for keys and for servers; those are called all at once.

    A service that is asked over several wires is found once, by the first of its labels.
    """
    declared = [
        (label, cls) for label, cls in providers.known().items() if issubclass(cls, HttpProvider) and cls.working
    ]
    local = {label: place for label, cls in declared if (place := _place(cls))}
    open_places = await _open(set(local.values()))
    found = [
        Found(label, key_in(cls), "{}:{}".format(*local[label]) if local.get(label) in open_places else "")
        for label, cls in declared
    ]
    ready = [each for each in found if (each.server if each.label in local else each.variable)]
    services: dict[str, Found] = {}
    for each in ready:
        services.setdefault(each.server or each.variable, each)
    return list(services.values())


def key_in(cls: type[AbstractProvider]) -> str:
    """Name the environment variable that holds the provider's key, or nothing."""
    return next((name for name in getattr(cls, "key_variables", ()) if environ.get(name)), "")


def address_of(provider: AbstractProvider) -> str:
    """Give the address that would be asked; nothing where there is none, or none that can be read."""
    try:
        return provider._address() if isinstance(provider, HttpProvider) else provider.url
    except ValueError:
        return ""


def origin(provider: AbstractProvider) -> str:
    """Give host and port, or host alone where the port is the scheme's own."""
    return urlsplit(address_of(provider)).netloc.rpartition("@")[2]


def _place(cls: type[HttpProvider]) -> tuple[str, int] | None:
    """Give host and port of a provider that is declared to be on this machine, and is not sent elsewhere."""
    here = urlsplit(address_of(cls()))
    declared = urlsplit(cls.api_base)
    if not (is_loopback(declared.hostname) and is_loopback(here.hostname)):
        return None
    return here.hostname or "", here.port or 80


async def _open(places: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Give the places where something listens."""
    listening: set[tuple[str, int]] = set()

    async def call(host: str, port: int) -> None:
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            return
        listening.add((host, port))
        await stream.aclose()

    with anyio.move_on_after(_PROBE):
        async with anyio.create_task_group() as tasks:
            for host, port in places:
                tasks.start_soon(call, host, port)
    return listening
