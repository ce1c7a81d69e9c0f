"""The raw-text chat wire read backwards: the model's settings and the messages in, bare text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from g4ftrio._words.chunks import Refusal
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, Renderer, bearer

__all__ = ("OpenChat",)

_encode = msgspec.json.Encoder().encode
_Size = Annotated[int, Meta(ge=1)]


class _Model(Struct):
    id: str
    name: str
    max_length: _Size = msgspec.field(name="maxLength")
    token_limit: _Size = msgspec.field(name="tokenLimit")


class _Message(Struct):
    role: Literal["user", "assistant"]
    content: str


class _Body(Struct):
    model: _Model
    messages: Annotated[list[_Message], Meta(min_length=1)]
    key: str
    prompt: str
    temperature: Annotated[float, Meta(ge=0, le=1)]


class OpenChat:
    """The wire that has no frames: what is sent is the text."""

    base = ""
    models_path = ""
    stream_type = "text/plain; charset=utf-8"

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Ask]]:
        """What is posted where."""
        return {"/api/chat": self.read}

    def read(self, body: Any) -> Ask:
        """Read a request's body."""
        asked = msgspec.convert(body, _Body)
        users = [message.content for message in asked.messages if message.role == "user"]
        texts = [asked.prompt, *(message.content for message in asked.messages)]
        return Ask(
            model=asked.model.id,
            prompt=users[-1] if users else "",
            input_tokens=sum(len(text.split()) for text in texts),
            stream=True,
            max_tokens=asked.model.token_limit,
        )

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the bearer token."""
        return bearer(headers)

    def renderer(self, ask: Ask, name: str, created: int) -> Renderer:  # noqa: ARG002  # this wire tells neither
        """Begin an answer."""
        return _Renderer()

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give an error object."""
        return _encode({"error": {"message": message, "code": code or str(status)}})

    def models(self, names: Sequence[str], created: int) -> bytes:
        """Refuse: there is no path for it."""
        raise NotImplementedError("this wire has no list of models")


class _Renderer:
    def frame(self, item: Item) -> bytes:
        """Give text as it is; a keep-alive can only be white space, and what is no text is not told."""
        match item:
            case str(text) | Refusal(text):
                return text.encode()
            case Frame(data):
                return data
            case Mark.COMMENT:
                return b" "
        return b""

    def whole(self, items: Sequence[Item]) -> bytes:
        """Give all of it."""
        return b"".join(map(self.frame, items))
