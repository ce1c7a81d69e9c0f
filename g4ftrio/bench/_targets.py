"""Whom a run asks: providers and races under names of their own, with one HTTP client each, looked at before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from g4ftrio._compositions.race import Race
from g4ftrio._words.errors import SetupError
from g4ftrio._words.origin import PORTS
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import ProviderTypes, resolve
from g4ftrio.transports.http import open_http_client

if TYPE_CHECKING:
    import httpx

__all__ = ("Target", "TargetTypes", "check_reachable", "open_client", "resolved")

TargetTypes: TypeAlias = Sequence[ProviderTypes] | Mapping[str, ProviderTypes]

_CONNECTING = 5.0  # seconds


class Target(Struct, frozen=True):
    """One provider or race that is asked.

    :ivar name: no other target has it
    """

    name: str
    provider: AbstractProvider

    @property
    def entrants(self) -> tuple[str, ...]:
        """Of a race, the names that its reports give its entrants; those of a race within it as ``outer/inner``."""
        return tuple(_entrants(self.provider)) if isinstance(self.provider, Race) else ()

    @property
    def services(self) -> Iterator[tuple[str, AbstractProvider]]:
        """Whoever is asked for it, by the names that records give them: itself, or the entrants of a race."""
        return zip(self.entrants or (self.name,), _leaves(self.provider), strict=True)


def resolved(targets: TargetTypes) -> tuple[Target, ...]:
    """Find the targets, and see that each is ready.

    :param targets: providers, classes, specs and races; in a mapping, by the names that they shall have
    :raises SetupError: there is none, one is unknown, or one lacks a key or a model
    """
    if isinstance(targets, str) or not targets:
        raise SetupError("a run needs a list of at least one target: providers, specs, or races")
    if isinstance(targets, Mapping):
        found = [Target(name, resolve(provider)) for name, provider in targets.items()]
    else:
        providers = [resolve(provider) for provider in targets]
        names = _distinct([provider.name for provider in providers])
        found = [Target(name, provider) for name, provider in zip(names, providers, strict=True)]
    for target in found:
        target.provider.check_ready()
        target.provider.which_model(target.provider.model)
    return tuple(found)


async def open_client(provider: AbstractProvider, stack: AsyncExitStack) -> httpx.AsyncClient | None:
    """Open the HTTP client that all requests to a provider share; None where it has one, or needs none."""
    if provider._client is not None or not (provider._needs_client or provider._proxy):
        return None
    return await stack.enter_async_context(open_http_client(proxy=provider._proxy))


async def check_reachable(target: Target) -> None:
    """See that somebody listens at a target's address; of a race, at that of one entrant. Nothing is sent.

    Whoever is asked by a client of the caller's, by a proxy, or not over a network at all is taken for reachable.

    :raises SetupError: nobody does
    """
    failure = ""
    for provider in _leaves(target.provider):
        failure = await _failure(provider)
        if not failure:
            return
    raise SetupError(f"{target.name}: {failure}: is the service up, and is its address right?")


async def _failure(provider: AbstractProvider) -> str:
    from urllib.request import getproxies

    address: Any = getattr(provider, "_address", None)
    if address is None or provider._client is not None or provider._proxy or getproxies():
        return ""
    parts = urlsplit(getattr(provider, "api_endpoint", None) or address())
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme.replace("ws", "http"), 443)
    try:
        with anyio.fail_after(_CONNECTING):
            stream = await anyio.connect_tcp(host, port)
            await stream.aclose()
    except (OSError, TimeoutError) as error:
        return f"nobody answers at {host}:{port} ({str(error) or 'it took too long'})"
    return ""


def _leaves(provider: AbstractProvider) -> Iterator[AbstractProvider]:
    if isinstance(provider, Race):
        for entrant in provider.entrants:
            yield from _leaves(entrant)
    else:
        yield provider


def _entrants(race: Race) -> Iterator[str]:
    names = _distinct([entrant.name for entrant in race.entrants])
    for name, entrant in zip(names, race.entrants, strict=True):
        if isinstance(entrant, Race):
            yield from (f"{name}/{inner}" for inner in _entrants(entrant))
        else:
            yield name


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which none is another's: a repeated one with ``#2``, ``#3`` and so on, as in a race."""
    given: dict[str, None] = {}
    for name in names:
        distinct, count = name, 1
        while distinct in given:
            count += 1
            distinct = f"{name}#{count}"
        given[distinct] = None
    return list(given)
