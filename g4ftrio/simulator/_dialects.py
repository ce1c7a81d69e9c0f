"""The dialects that can be simulated, by the name that a spec has for their providers."""

from __future__ import annotations

from collections.abc import Mapping

from g4ftrio.simulator._anthropic import Anthropic
from g4ftrio.simulator._gemini import Gemini
from g4ftrio.simulator._gemini_live import GeminiLive
from g4ftrio.simulator._ollama import Ollama
from g4ftrio.simulator._openai_chat import OpenAIChat
from g4ftrio.simulator._openai_realtime import OpenAIRealtime
from g4ftrio.simulator._openai_responses import OpenAIResponses, OpenAIResponsesSocket
from g4ftrio.simulator._openchat import OpenChat
from g4ftrio.simulator._socket_wire import SocketWire
from g4ftrio.simulator._wire import Wire

__all__ = ("DIALECTS", "SOCKETS", "base_of")

DIALECTS: Mapping[str, Wire] = {
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "ollama": Ollama(),
    "openai-compatible": OpenAIChat(),
    "openai-responses": OpenAIResponses(),
    "openchat": OpenChat(),
}

SOCKETS: Mapping[str, SocketWire] = {
    "gemini-live": GeminiLive(),
    "openai-realtime": OpenAIRealtime(),
    "openai-responses-ws": OpenAIResponsesSocket(),
}


def base_of(dialect: str) -> str:
    """The path of a dialect's API base."""
    return SOCKETS[dialect].base if dialect in SOCKETS else DIALECTS[dialect].base
