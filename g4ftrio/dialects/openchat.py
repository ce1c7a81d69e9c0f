"""The raw-text chat wire of OpenChat's own site: the model's settings and the messages in, bare text out."""

from __future__ import annotations

from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from g4ftrio._framing import Framer, Text, framer_for
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import APIResponseValidationError, MessagesError, SetupError
from g4ftrio._words.messages import plain_text
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._error_body import read_error

__all__ = ("OpenChat", "OpenChatDecoder")

_SYSTEM = ("system", "developer")
_SPOKEN = ("user", "assistant")
_KNOWN = frozenset({"temperature", "max_tokens"})


class OpenChat(Struct, frozen=True, kw_only=True):
    """The wire; the fields are what its users configure.

    :ivar path: what to append to the API base for a chat
    :ivar models_path: the wire has no list of models
    :ivar name: what the model is called beside its id
    :ivar max_length: characters of the longest prompt
    :ivar temperature: what to send where the caller says nothing, 0 to 1
    :ivar max_tokens: what to send as ``tokenLimit`` where the caller says nothing
    """

    path: str = "/api/chat"
    models_path: str = ""
    name: str = "OpenChat 3.6 (latest)"
    max_length: int = 24576
    temperature: float = 0.5
    max_tokens: int = 8192

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body; ``extra_body`` is laid over it, and takes a field out by None.

        :raises SetupError: the wire has no form for a parameter, or the temperature is out of its range
        :raises MessagesError: it has none for a message
        """
        params = expressed(request.params, _KNOWN)
        model = {
            "id": request.model,
            "name": self.name,
            "maxLength": self.max_length,
            "tokenLimit": params.get("max_tokens", self.max_tokens),
        }
        body = {
            "model": model,
            "messages": [_spoken(message) for message in request.messages if message["role"] not in _SYSTEM],
            "key": "",
            "prompt": "\n".join(plain_text(said) for said in request.messages if said["role"] in _SYSTEM),
            "temperature": _checked(params.get("temperature", self.temperature)),
        }
        return {name: value for name, value in {**body, **request.extra_body}.items() if value is not None}

    def framer(self, content_type: str) -> Framer:
        """Give the reads as they come; a web page in their place is an error."""
        return _TextUnlessPage(content_type) if "html" in content_type.lower() else Text()

    def decoder(self) -> OpenChatDecoder:
        """Begin to read an answer."""
        return OpenChatDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:  # noqa: ARG002  # the protocol's signature
        """Refuse: nothing on this wire is a list of models.

        :raises APIResponseValidationError: always
        """
        raise APIResponseValidationError("this service has no list of its models")


class OpenChatDecoder:
    """Reads one answer; see :class:`g4ftrio.dialects._base.Decoder`.

    The end of the body is the end of the answer, and whether that came too early only the transport can tell. Bytes
    that are no UTF-8 are left out, and so is a character that the end cuts.
    """

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._characters = getincrementaldecoder("utf-8-sig")("ignore")

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames; a character that is not whole waits for its last byte."""
        text = self._characters.decode(b"".join(frames))
        return [text] if text else []

    def close(self) -> list[Chunk]:
        """Say that no frame follows."""
        self.done = self.finished = True
        return []


class _TextUnlessPage:
    """Text that is labelled as a page: some servers label all text so, and only what begins as a page is one."""

    def __init__(self, content_type: str) -> None:
        self._type = content_type
        self._framer: Framer | None = None

    def feed(self, data: bytes) -> list[bytes]:
        if self._framer is None:
            first = data.removeprefix(BOM_UTF8).lstrip()
            if not first:
                return [data]
            self._framer = framer_for(self._type) if first.startswith(b"<") else Text()
        return self._framer.feed(data)

    def close(self) -> list[bytes]:
        return self._framer.close() if self._framer is not None else []


def _spoken(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] not in _SPOKEN:
        raise MessagesError(f"this service takes no messages of the role {message['role']!r}: leave them out")
    return {"role": message["role"], "content": plain_text(message)}


def _checked(temperature: Any) -> float:
    if not isinstance(temperature, int | float) or not 0 <= temperature <= 1:
        raise SetupError(f"this service takes a temperature from 0 to 1, not {temperature!r}")
    return temperature
