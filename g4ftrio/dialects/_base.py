"""What a dialect is: a wire format without I/O. Request in, body out; frames in, chunks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from g4ftrio._framing import Framer
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import SetupError
from g4ftrio._words.request import ChatRequest

__all__ = ("Decoder", "Dialect", "Dialogue", "SocketDialect", "expressed", "stops")


class Decoder(Protocol):
    """Reads one answer. It never raises: what went wrong is in ``error``, after the chunks that came before it.

    One whose wire lets an answer go on after what looked like its end has a true attribute ``may_go_on``: there a
    connection that breaks is a cut, even where it is finished.

    :ivar finished: the answer is whole, though something may follow that is worth waiting for a little: usage
    :ivar done: the dialect's end marker was read; what follows is not the answer's
    :ivar error: what went wrong; nothing more comes after it
    """

    finished: bool
    done: bool
    error: Exception | None

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some frames, and give the chunks that they held, mostly as many, sometimes none."""

    def close(self) -> list[Chunk]:
        """Say that no frame follows; gives what was still held back. ``error`` is set if the answer was cut."""


class Dialect(Protocol):
    """A wire format. Frozen; how vendors differ is in its fields.

    One whose services go on from an assistant's message at the end of a conversation has a true attribute ``prefill``.
    """

    def path_for(self, request: ChatRequest) -> str:
        """What to append to the API base for this request, ``/chat/completions`` say."""

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body."""

    def framer(self, content_type: str) -> Framer:
        """Begin to cut an answer's body into the frames that the decoder reads.

        :param content_type: the header's value, empty if there was none
        """

    def decoder(self) -> Decoder:
        """Begin to read an answer."""

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code (both may be empty) in the body of an error answer, of whatever form."""

    @property
    def models_path(self) -> str:
        """What to append to the API base to list the models."""

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body."""


class Dialogue(Decoder, Protocol):
    """One answer over a WebSocket: a decoder that is fed messages instead of frames, and that has something to say."""

    def outgoing(self) -> list[bytes]:
        """Take the messages to send now, in their order: some at once, some when what they wait for was fed."""


class SocketDialect(Protocol):
    """A wire format over WebSockets: each message is one piece of JSON. Frozen; how vendors differ is in its fields."""

    def path_for(self, request: ChatRequest) -> str:
        """What to append to the API base for this request, with its query, ``/realtime?model=...`` say."""

    def dialogue(self, request: ChatRequest) -> Dialogue:
        """Begin to ask, and to read the answer.

        :raises SetupError: the wire has no form for something in the request
        """

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code (both may be empty) in the body of an answer that refuses the upgrade."""

    @property
    def models_path(self) -> str:
        """What to append to the API base, over HTTP, to list the models."""

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body."""


def expressed(params: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Copy a request's parameters for a wire that has a form for these only; a ``conversation`` is no parameter of it.

    :raises SetupError: names those that would be lost
    """
    params = {name: value for name, value in params.items() if name != "conversation"}
    if lost := [repr(name) for name in params if name not in known]:
        said = f"this service takes no {', '.join(lost)}"
        raise SetupError(f"{said}: leave that out, or put what it knows by another name into extra_body={{...}}")
    return params


def stops(given: Any) -> list[str]:
    """Give the texts of ``stop=`` as a list.

    :raises SetupError: they are none
    """
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, Sequence) or not all(isinstance(each, str) for each in listed):
        raise SetupError(f"stop must be a text or a list of texts, not {given!r}")
    return list(listed)
