"""The Gemini Live wire: one turn of a conversation over a WebSocket.

Sources of the form: https://ai.google.dev/api/live and, for what ``realtime`` is about,
https://ai.google.dev/gemini-api/docs/models/gemini-3.1-flash-live-preview#migrating
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from g4ftrio._words.chunks import AudioResponse, Chunk
from g4ftrio._words.errors import SetupError, TruncatedError
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._error_body import error_in, read_error
from g4ftrio.dialects._gemini_contents import contents_of
from g4ftrio.dialects._gemini_options import (
    BUDGETED,
    STAND_IN,
    generation_config,
    instruction_of,
    laid_over,
    tools_of,
)
from g4ftrio.dialects._gemini_turn import FunctionCall, Turn, usage_of
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._parts import refuse
from g4ftrio.dialects._tools import choice_of
from g4ftrio.dialects._unreadable import UNREADABLE, payload, unreadable

__all__ = ("GeminiLive", "GeminiLiveDialogue")

_KNOWN = frozenset(
    {
        *("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty"),
        *("reasoning_effort", "tools", "tool_choice", "modalities", "audio"),
    }
)


class GeminiLive(Struct, frozen=True, kw_only=True):
    """The wire. A session is opened for each answer: the history goes along, and nothing is kept by the service.

    The answer is either text or sound: with ``modalities=["audio"]`` it is sound, and what is said in it comes as
    transcript. Most of today's models can only speak.

    :ivar version: of the API
    :ivar realtime: how the names of models begin that take the question as text of the moment, and what was said before
        it as history; all others take both as turns
    :ivar budgeted: as on the wire of generateContent
    :ivar stand_in: as on the wire of generateContent
    """

    version: str = "v1beta"
    realtime: tuple[str, ...] = ("gemini-3",)
    budgeted: tuple[str, ...] = (*BUDGETED, "gemini-live-2.")
    stand_in: str = STAND_IN

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # the model is named in the first message
        """What to append to the API base."""
        return f"/ws/google.ai.generativelanguage.{self.version}.GenerativeService.BidiGenerateContent"

    def dialogue(self, request: ChatRequest) -> GeminiLiveDialogue:
        """Begin to ask. ``extra_body`` is laid over the set-up, and over the objects in it; None takes a field out.

        :raises SetupError: the wire has no form for a parameter or for its value
        :raises MessagesError: nor for what is in a message
        """
        name = request.model.rpartition("/")[2]
        stand_in = "" if name.startswith(self.budgeted) else self.stand_in
        contents = contents_of(request.messages, stand_in)
        said = _moment(contents) if name.startswith(self.realtime) else [_turns(contents)]
        setup = self._setup(request, name)
        if len(said) > 1:
            setup["historyConfig"] = {"initialHistoryInClientContent": True}
        return GeminiLiveDialogue({"setup": laid_over(setup, request.extra_body)}, said)

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an answer that refuses the upgrade."""
        return read_error(body)

    @property
    def models_path(self) -> str:
        """What to append to the API base, over HTTP, to list the models; no more are given at once."""
        return f"/{self.version}/models?pageSize=1000"

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return [name.removeprefix("models/") for name in read_models(body)]

    def _setup(self, request: ChatRequest, name: str) -> dict[str, Any]:
        params = expressed(request.params, _KNOWN)
        speaks = "audio" in params.get("modalities", ())
        params["modalities"] = ["audio" if speaks else "text"]  # this wire takes one
        setup: dict[str, Any] = {
            "model": request.model if "/" in request.model else f"models/{request.model}",
            "generationConfig": generation_config(params, budgeted=name.startswith(self.budgeted)),
        }
        if speaks:
            setup["outputAudioTranscription"] = {}
        if instruction := instruction_of(request.messages):
            setup["systemInstruction"] = instruction
        if tools := _offered(params):
            setup["tools"] = tools
        return setup


class _ToolCall(Struct, rename="camel"):
    function_calls: list[FunctionCall] | None = None


class _Transcription(Struct):
    text: str | None = None


class _ModelTurn(Struct):
    parts: list[Raw] | None = None


class _ServerContent(Struct, rename="camel"):
    model_turn: _ModelTurn | None = None
    output_transcription: _Transcription | None = None
    interrupted: bool | None = None
    generation_complete: bool | None = None
    turn_complete: bool | None = None
    turn_complete_reason: str | None = None
    interaction_status: str | None = None


class _Message(Struct, rename="camel"):
    server_content: _ServerContent | None = None
    tool_call: _ToolCall | None = None
    setup_complete: Any = None
    usage_metadata: Any = None
    go_away: Any = None
    tool_call_cancellation: Any = None
    session_resumption_update: Any = None
    error: Any = None

    def is_known(self) -> bool:
        """Whether there is anything in it that this wire is known to say."""
        return any(getattr(self, name) is not None for name in self.__struct_fields__)


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode
_MORE_FOLLOWS = "IN_PROGRESS"  # a turn is complete, the answer is not
_STOPPED = ("TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT")
_FILTERS = ("PROHIBITED", "SAFETY", "BLOCKLIST", "CELEBRITY", "REJECTED", "UNSAFE", "PROMINENT", "IDENTIFIABLE")
_FILTERS_TOO = ("INPUT_OTHER", "GENERATED_OTHER", "GENERATED_IMAGE_MINORS")


class GeminiLiveDialogue:
    """Asks, and reads the answer; see :class:`g4ftrio.dialects._base.Dialogue`.

    The set-up is said at once, the question when the service has taken it. The answer ends with its turn, or with the
    calls of tools: their results are part of the next question.

    :ivar finished: everything was said, and only the turn's end may still follow
    """

    def __init__(self, setup: Mapping[str, Any], said: Sequence[Mapping[str, Any]]) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None
        self._outgoing = [_encode(setup)]
        self._said = [_encode(message) for message in said]
        self._turn = Turn()
        self._usage: Any = None
        self._reason = "stop"
        self._leaves = False

    def outgoing(self) -> list[bytes]:
        """Take the messages to send now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read some messages, and give the chunks that they held."""
        chunks: list[Chunk] = []
        for frame in frames:
            if self.done or self.error is not None:
                break
            try:
                self._read(_decode(frame), frame, chunks)
            except UNREADABLE as error:
                self.error = unreadable(frame, error)
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no message follows; gives what was still held back."""
        if self.done or self.error is not None:
            return []
        if self.finished:
            return self._ending()
        why = ", as the service had announced" if self._leaves else ""
        self.error = TruncatedError(f"the connection was closed before the turn was complete{why}")
        usage = usage_of(self._usage)
        return [] if usage is None else [usage]

    def _read(self, message: _Message, frame: bytes, chunks: list[Chunk]) -> None:
        if message.usage_metadata is not None:
            self._usage = message.usage_metadata
        if message.setup_complete is not None:
            self._outgoing += self._said
            self._said = []
        self._leaves = self._leaves or message.go_away is not None
        if message.server_content is not None:
            self._read_content(message.server_content, chunks)
        elif message.tool_call is not None:
            self._read_calls(message.tool_call.function_calls or (), chunks)
        elif message.error is not None or not message.is_known():
            self._read_unknown(frame)

    def _read_content(self, content: _ServerContent, chunks: list[Chunk]) -> None:
        for part in (content.model_turn.parts if content.model_turn else None) or ():
            chunks += self._turn.read(part)
        if content.output_transcription is not None and content.output_transcription.text:
            chunks.append(AudioResponse(transcript=content.output_transcription.text))
        if content.interrupted:
            self._reason = "interrupted"
        if content.turn_complete_reason:
            self._reason = _reason(content.turn_complete_reason)
        self.finished = self.finished or bool(content.generation_complete)
        if content.turn_complete and content.interaction_status == _MORE_FOLLOWS:
            self.finished = False
        elif content.turn_complete:
            chunks += self._ending()

    def _read_calls(self, calls: Sequence[FunctionCall], chunks: list[Chunk]) -> None:
        if calls:
            chunks += map(self._turn.call, calls)
            chunks += self._ending()

    def _read_unknown(self, frame: bytes) -> None:
        self.error = error_in(payload(frame))
        if self.error is None:
            self._turn.pass_over("a message of an unknown kind")

    def _ending(self) -> list[Chunk]:
        self.done = self.finished = True
        return self._turn.ending(self._reason, usage_of(self._usage))


def _turns(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"clientContent": {"turns": contents, "turnComplete": True}}


def _moment(contents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say the last turn as text of the moment, after the history that was before it."""
    *before, last = contents
    texts = [part.get("text") for part in last["parts"]]
    if last["role"] != "user" or None in texts:
        raise refuse("last message other than a user's text from this model", "ask a model that takes whole turns")
    question = {"realtimeInput": {"text": "\n".join(texts)}}
    return [_turns(before), question] if before else [question]


def _offered(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the tools that may be called: this wire lets the model choose, or has none to choose from."""
    choice = choice_of(params.get("tool_choice", "auto"))
    if choice.mode == "none":
        return []
    if choice.mode != "auto":
        raise SetupError("this service takes no tool_choice but 'auto' and 'none': leave it out")
    return tools_of(params.get("tools", ()))


def _reason(said: str) -> str:
    if said in _STOPPED:
        return "stop"
    filtered = said in _FILTERS_TOO or any(word in said for word in _FILTERS)
    return "content_filter" if filtered else said
