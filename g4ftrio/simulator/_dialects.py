"""The dialects that can be simulated, by the name that a spec has for their providers."""

from __future__ import annotations

from collections.abc import Mapping

from g4ftrio.simulator._openai_chat import OpenAIChat
from g4ftrio.simulator._openchat import OpenChat
from g4ftrio.simulator._socket_wire import SocketWire
from g4ftrio.simulator._wire import Wire

__all__ = ("DIALECTS", "SOCKETS", "base_of")

DIALECTS: Mapping[str, Wire] = {"openai-compatible": OpenAIChat(), "openchat": OpenChat()}

SOCKETS: Mapping[str, SocketWire] = {}


def base_of(dialect: str) -> str:
    """The path of a dialect's API base."""
    return SOCKETS[dialect].base if dialect in SOCKETS else DIALECTS[dialect].base
