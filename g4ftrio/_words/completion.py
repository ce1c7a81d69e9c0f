"""A whole answer."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from msgspec import Struct

from g4ftrio._words.chunks import ProviderMetadata, ToolCall, TypedChunk, Usage
from g4ftrio._words.report import RaceReport

__all__ = ("Completion",)


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer; ``str()`` of it is its text.

    :ivar provider: who wrote it
    :ivar model: the model that was asked for
    :ivar parsed: the answer as the type that was asked for with ``response_format=``, as plain values where that was a
        JSON schema, else None
    :ivar report: of a race, what became of everybody
    :ivar others: chunks of other kinds in the order in which they came: images, sound, a conversation's state
    """

    text: str
    provider: str
    model: str
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None
    others: tuple[TypedChunk, ...] = ()
    parsed: Any = None
    report: RaceReport | None = None

    @property
    def message(self) -> dict[str, Any]:
        """The answer as an assistant message, ready to append to the conversation.

        What only the service that wrote it understands is under ``provider_metadata``; no other is sent that. Take
        it out if you change the message.
        """
        message: dict[str, Any] = {"role": "assistant", "content": self.text or self.refusal or None}
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        elif message["content"] is None:
            message["content"] = ""
        for other in self.others:
            if isinstance(other, ProviderMetadata):
                message["provider_metadata"] = {"provider": other.provider, other.dialect: deepcopy(other.state)}
        return message

    def __str__(self) -> str:
        return self.text
