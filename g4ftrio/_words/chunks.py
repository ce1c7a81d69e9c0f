"""What a stream gives: ``str`` for text, small frozen classes for the rest.

``str(chunk)`` is what a terminal should print for it, mostly nothing, and ``text += chunk`` works over every chunk,
so a program that only wants text never has to look at a type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct

__all__ = (
    "OUTPUT",
    "AudioResponse",
    "AuthResult",
    "Chunk",
    "Conversation",
    "Failover",
    "FinishReason",
    "ImageResponse",
    "Notice",
    "ProviderInfo",
    "ProviderMetadata",
    "Reasoning",
    "Refusal",
    "ToolCall",
    "ToolCallDelta",
    "ToolCalls",
    "TypedChunk",
    "Usage",
)


class TypedChunk:
    """A chunk that is not text; its ``str()`` is what a terminal should show."""

    __slots__ = ()

    def __str__(self) -> str:
        return ""

    def __add__(self, other: str) -> str:
        return str(self) + other

    def __radd__(self, other: str) -> str:
        return other + str(self)


class Reasoning(TypedChunk, Struct, frozen=True):
    """A piece of the model's thinking, which is not part of the answer."""

    text: str


class Refusal(TypedChunk, Struct, frozen=True):
    """A piece of a refusal that the service sent apart from the answer's text."""

    text: str

    def __str__(self) -> str:
        return self.text


class Notice(TypedChunk, Struct, frozen=True):
    """Something for the user that is not the model's: the link of a login, say. It wins no race."""

    text: str

    def __str__(self) -> str:
        return self.text


class ToolCallDelta(TypedChunk, Struct, frozen=True):
    """A piece of a tool call as it arrives.

    ``index`` numbers the calls of one answer from 0; ``id`` and ``name`` are empty where this piece does not bring
    them; ``arguments`` is the next piece of a JSON string.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ToolCall(Struct, frozen=True):
    """One whole tool call; ``arguments`` is the JSON string that the model wrote, not checked."""

    id: str
    name: str
    arguments: str


class ToolCalls(TypedChunk, Struct, frozen=True):
    """All tool calls of an answer, whole, given once at its end."""

    calls: tuple[ToolCall, ...]


class Usage(TypedChunk, Struct, frozen=True):
    """Tokens as the service counted them; ``None`` is what it did not say.

    ``cached_tokens`` are part of ``input_tokens``, ``reasoning_tokens`` part of ``output_tokens``. ``details`` are the
    times that the service measured, in seconds, under its own names.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    details: Mapping[str, float] | None = None


class FinishReason(TypedChunk, Struct, frozen=True):
    """Why the answer ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``, or the service's own word."""

    reason: str


class ImageResponse(TypedChunk, Struct, frozen=True):
    """Images in an answer, each an ``https:`` or ``data:`` URL, with the text that describes them."""

    images: tuple[str, ...]
    alt: str = ""

    def __str__(self) -> str:
        return "\n".join(f"![{self.alt}]({image})" for image in self.images if not image.startswith("data:"))


class AudioResponse(TypedChunk, Struct, frozen=True):
    """A piece of spoken answer: ``data`` is sound in ``format``, ``transcript`` what is said in it."""

    data: bytes = b""
    format: str = ""
    transcript: str = ""

    def __str__(self) -> str:
        return self.transcript


class Conversation(TypedChunk, Struct, frozen=True):
    """What a service needs to go on with this conversation: pass it back as ``conversation=``."""

    provider: str
    state: dict[str, Any]


class ProviderMetadata(TypedChunk, Struct, frozen=True):
    """What the service that wrote a message wants back with it in the history: signed thoughts, say.

    ``state`` is plain JSON, the turn as ``dialect`` wrote it. ``Completion.message`` carries it under
    ``provider_metadata``, and whoever else is asked next is not sent it.
    """

    dialect: str
    state: Any
    provider: str = ""


class ProviderInfo(TypedChunk, Struct, frozen=True):
    """Which provider and model write what follows."""

    provider: str
    model: str
    url: str = ""


class AuthResult(TypedChunk):
    """Whatever a provider's login produced, as attributes; its ``repr`` names them and shows no value."""

    def __init__(self, /, **anything: Any) -> None:
        self.__dict__.update(anything)

    def __repr__(self) -> str:
        return f"AuthResult({', '.join(f'{name}=***' for name in self.__dict__)})"


class Failover(TypedChunk, Struct, frozen=True):
    """The seam where another provider took over in mid-stream.

    ``restarted`` tells whether what follows begins anew or goes on from the text so far.
    """

    from_: str
    to: str
    error: str
    restarted: bool


Chunk: TypeAlias = str | TypedChunk

OUTPUT = (str, Reasoning, Refusal, ToolCallDelta, AudioResponse, ImageResponse)  # what the model itself writes
