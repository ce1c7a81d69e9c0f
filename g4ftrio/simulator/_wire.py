"""What the simulator's floors say to each other, of no dialect and without I/O.

A dialect reads a request into an ``Ask``; behaviour and faults make an ``Answer`` out of it, a row of ``Beat``; a
dialect's ``Renderer`` turns what is in the beats into bytes. A further dialect is one more file with a ``Wire`` in it,
and a row in ``_dialects``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol, TypeAlias

from msgspec import Struct, field

from g4ftrio._words.chunks import Chunk, ImageResponse, Reasoning, Refusal, ToolCallDelta

__all__ = (
    "OUTPUT",
    "Answer",
    "Ask",
    "Beat",
    "Ending",
    "Frame",
    "Item",
    "Mark",
    "Pictures",
    "Renderer",
    "Tool",
    "Wire",
    "bearer",
)

OUTPUT = (str, Reasoning, Refusal, ToolCallDelta, ImageResponse)  # what counts as a token


class Tool(Struct, frozen=True):
    """A tool that the model may call; ``schema`` describes its arguments."""

    name: str
    schema: dict[str, Any]


class Pictures(Struct, frozen=True):
    """How many pictures are wanted, of what size in pixels, and whether as URLs or as bare base64."""

    n: int
    width: int
    height: int
    as_url: bool


class Ask(Struct, frozen=True, kw_only=True):
    """What a request asks for.

    :ivar prompt: the text of the last user message
    :ivar tool_result: the text of the tool messages that end the conversation, or None
    :ivar input_tokens: the words of all messages
    :ivar must_call: whether a tool must be called; tools that are named in the prompt are called anyway, all of them
    :ivar schema: of the JSON value that the answer must be, or None for plain text
    :ivar pictures: what to draw instead of writing text, or None
    """

    model: str
    prompt: str = ""
    tool_result: str | None = None
    input_tokens: int = 0
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    schema: dict[str, Any] | None = None
    pictures: Pictures | None = None


class Mark(Enum):
    """What an answer holds beside chunks."""

    OPEN = "the answer begins"
    COMMENT = "a keep-alive, no content"
    DONE = "the dialect's end marker"


class Frame(Struct, frozen=True):
    """A frame's payload as it is, right or wrong."""

    data: bytes


Item: TypeAlias = Chunk | Mark | Frame


class Ending(Enum):
    """How a connection ends before its answer does."""

    CUT = "closed"
    RESET = "reset"
    SILENCE = "left open, and nothing more is sent"


class Beat(Struct, frozen=True):
    """One moment of an answer: a wait in seconds since the one before, and what is then sent in one write."""

    wait: float
    items: tuple[Item, ...] = ()
    ending: Ending | None = None

    @property
    def tokens(self) -> int:
        """How many pieces of model output are in it."""
        return sum(isinstance(item, OUTPUT) for item in self.items)


class Answer(Struct, frozen=True, kw_only=True):
    """One answer: either ``body``, whole, or ``beats``, which can go on for ever.

    :ivar lead: seconds before the response's head
    :ivar content_type: None is what the dialect says
    """

    status: int = 200
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lead: float = 0.0
    body: bytes | None = None
    beats: Iterable[Beat] = ()


class Renderer(Protocol):
    """Writes one answer in a dialect."""

    def frame(self, item: Item) -> bytes:
        """Give a streamed answer's bytes for one item, none where the dialect does not show it."""

    def whole(self, items: Sequence[Item]) -> bytes:
        """Give the body of an answer that is not streamed."""


class Wire(Protocol):
    """A dialect read backwards."""

    @property
    def base(self) -> str:
        """The path of the API base, ``/v1`` say."""

    @property
    def readers(self) -> Mapping[str, Callable[..., Ask]]:
        """What reads a request's body, decoded from JSON, by the path below the base to which it is posted.

        A path with ``{model}`` in it stands for many; its reader takes the name as ``model=`` beside the body.
        A reader raises ``ValueError``, which says what is wrong.
        """

    @property
    def models_path(self) -> str:
        """Where, below the base, the models are listed; empty if they are not."""

    @property
    def stream_type(self) -> str:
        """The content type of a streamed answer."""

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the key that a request brings."""

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:
        """Begin an answer that is called ``name``; ``created`` is in seconds since 1970."""

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give the body of an error answer."""

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Give the body of the list of models."""


def bearer(headers: Mapping[str, str]) -> str | None:
    """Find the token in an ``Authorization`` header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
