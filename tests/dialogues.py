"""The smallest dialect over WebSockets, forwards and backwards, for the tests of what carries such dialects.

The service greets with ``{"ready": true}``; to ``{"ask": "...", "model": "..."}`` it answers ``{"say": "..."}`` as
often as it likes, then ``{"finish": "stop"}`` and ``{"done": true}``; or ``{"error": "..."}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from g4ftrio._words.chunks import Chunk, FinishReason
from g4ftrio._words.errors import APIResponseValidationError, SetupError, TruncatedError, status_error
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._error_body import read_error
from g4ftrio.providers._socket import SocketProvider
from g4ftrio.simulator._wire import Ask, Frame, Item, Mark, bearer

__all__ = ("LABEL", "Says", "SaysDialect", "SaysDialogue", "SaysWire")

LABEL = "says"


def encoded(**message: Any) -> bytes:
    return msgspec.json.encode(message)


class SaysDialogue:
    """One answer. With ``waits``, it asks only when the service has greeted; a careless one notices no cut."""

    def __init__(self, request: ChatRequest, waits: bool = True, careless: bool = False) -> None:
        self._careless = careless
        self.finished = self.done = False
        self.error: Exception | None = None
        self._question = encoded(ask=request.messages[-1]["content"], model=request.model)
        self._out: list[bytes] = [] if waits else [self._question]
        self._waits = waits

    def outgoing(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for frame in frames:
            if self.error is None and not self.done:
                try:
                    self._read(msgspec.json.decode(frame), chunks)
                except (ValueError, AttributeError) as error:
                    self.error = APIResponseValidationError(f"no such message: {error}")
        return chunks

    def _read(self, message: Any, chunks: list[Chunk]) -> None:
        if "say" in message:
            chunks.append(message["say"])
        elif "finish" in message:
            self.finished = True
            chunks.append(FinishReason(message["finish"]))
        elif "error" in message:
            self.error = status_error(message.get("status"), message["error"])
        elif self._waits and message.get("ready"):
            self._out.append(self._question)
        self.done = self.done or bool(message.get("done"))

    def close(self) -> list[Chunk]:
        if not (self.done or self.finished or self.error or self._careless):
            self.error = TruncatedError("it ended without its end marker")
        return []


class SaysDialect:
    """The dialect; what it cannot express is a seed."""

    models_path = "/models"

    def __init__(self, careless: bool = False) -> None:
        self.careless = careless

    def path_for(self, request: ChatRequest) -> str:
        return f"/talk?model={request.model}"

    def dialogue(self, request: ChatRequest) -> SaysDialogue:
        if "seed" in request.params:
            raise SetupError("this service takes no seed")
        return SaysDialogue(request, careless=self.careless)

    def read_error(self, body: bytes) -> tuple[str, str]:
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        return msgspec.json.decode(body, type=list[str])


class Says(SocketProvider):
    """A provider of it."""

    label = LABEL
    needs_auth = False
    dialect = SaysDialect()


class _Session:
    def greet(self) -> list[bytes]:
        return [encoded(ready=True)]

    def hear(self, message: Any) -> tuple[list[bytes], Ask | None]:
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        if "ask" not in message:
            return [encoded(heard=message)], None
        if not message["ask"]:
            raise ValueError("ask something")
        return [], Ask(model=message["model"], prompt=message["ask"], stream=True)

    def say(self, item: Item) -> list[bytes]:
        match item:
            case str():
                return [encoded(say=item)]
            case FinishReason():
                return [encoded(finish=item.reason)]
            case Mark.DONE:
                return [encoded(done=True)]
            case Frame():
                return [item.data]
        return []

    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        return [encoded(error=message, status=status, code=code)]


class SaysWire:
    """The dialect read backwards. The session of a model named ``mute`` has no messages for errors."""

    base = "/v1"
    path = "/talk"
    models_path = "/models"

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return bearer(headers) or query.get("key")

    def session(self, query: Mapping[str, str], name: str, created: int) -> _Session:
        return _Mute() if query.get("model") == "mute" else _Session()

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        return encoded(error={"message": message, "code": code})

    def models(self, names: list[str], created: int) -> bytes:
        return msgspec.json.encode(names)


class _Mute(_Session):
    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        return []
