"""Who is measured: a row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ("PEERS", "Peer")


class Peer(NamedTuple):
    """Who is measured.

    :ivar kind: "ours", "peer", or "floor": what a transport costs with nothing above it
    :ivar client: the class that asks, as ``module:name``
    :ivar loops: what it runs on; see ``loops.LOOPS``
    :ivar environment: where it is installed; see ``environments.ENVIRONMENTS``
    :ivar module: what is imported to use it
    :ivar environ: environment variables for its processes
    """

    name: str
    kind: str
    client: str
    loops: tuple[str, ...]
    environment: str
    module: str
    environ: Mapping[str, str] = {}


_LOCAL = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else its import asks the network

PEERS = (
    Peer("g4ftrio", "ours", "clients.ours:G4ftrio", ("trio", "asyncio", "uvloop"), "g4ftrio", "g4ftrio"),
    Peer("blocking recv", "floor", "clients.floors:Blocking", ("asyncio",), "sockets", "socket"),
    Peer("trio receive_some", "floor", "clients.floors:TrioReceive", ("trio",), "sockets", "trio"),
    Peer("protocol", "floor", "clients.floors:AsyncioProtocol", ("asyncio", "uvloop"), "sockets", "asyncio"),
    Peer("httpcore", "floor", "clients.floors:Httpcore", ("trio", "asyncio"), "httpx", "httpcore"),
    Peer("httpx", "floor", "clients.floors:Httpx", ("trio", "asyncio", "uvloop"), "httpx", "httpx"),
    Peer("httpx2", "floor", "clients.floors:Httpx2", ("trio", "asyncio"), "httpx2", "httpx2"),
    Peer("aiohttp", "floor", "clients.floors:Aiohttp", ("asyncio", "uvloop"), "aiohttp", "aiohttp"),
    Peer("g4f", "peer", "clients.sdks:G4f", ("asyncio", "uvloop"), "g4f", "g4f"),
    Peer("openai", "peer", "clients.sdks:OpenAI", ("trio", "asyncio", "uvloop"), "openai", "openai"),
    Peer("anthropic", "peer", "clients.sdks:Anthropic", ("asyncio",), "anthropic", "anthropic"),
    Peer("any-llm", "peer", "clients.sdks:AnyLLM", ("asyncio",), "any-llm", "any_llm"),
    Peer("pydantic-ai", "peer", "clients.sdks:PydanticAI", ("asyncio",), "pydantic-ai", "pydantic_ai"),
    Peer("litellm", "peer", "clients.sdks:Litellm", ("asyncio",), "litellm", "litellm", _LOCAL),
)
