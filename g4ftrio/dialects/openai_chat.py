"""The OpenAI chat completions wire, as the many services that speak it speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.request import ChatRequest
from g4ftrio._words.structured import response_format, tool_definition
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._openai_chunks import OpenAIChatDecoder

__all__ = ("OpenAIChat", "OpenAIChatDecoder")

_SYSTEM = ("system", "developer")


class OpenAIChat(Struct, frozen=True, kw_only=True):
    """The wire; the fields are how services differ on it, and the defaults are what most of them take.

    :ivar path: what to append to the API base for a chat
    :ivar models_path: what to append to it to list the models
    :ivar max_tokens_field: what ``max_tokens`` is called: ``max_tokens`` or ``max_completion_tokens``
    :ivar seed_field: what ``seed`` is called
    :ivar system_role: what the role of system messages is called: ``system`` or ``developer``
    :ivar stream_usage: ask for the usage of a streamed answer; some services refuse the question, others answer unasked
    :ivar lenient_end: an answer that just ends is an end, not a cut
    :ivar defaults: what to send where the caller says nothing
    :ivar drop: parameters that the service refuses and that an answer can do without
    :ivar drop_from_messages: keys of messages that the service refuses
    :ivar prefill: whether an assistant's message at the end is gone on from; most services begin another one instead
    :ivar prefill_fields: what the body must say for that, ``{"continue_final_message": True,
        "add_generation_prompt": False}`` to vLLM
    """

    path: str = "/chat/completions"
    models_path: str = "/models"
    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    system_role: str = "system"
    stream_usage: bool = True
    lenient_end: bool = False
    defaults: Mapping[str, Any] = {}
    drop: tuple[str, ...] = ()
    drop_from_messages: tuple[str, ...] = ()
    prefill: bool = False
    prefill_fields: Mapping[str, Any] = {}

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body. ``extra_body`` is laid over it, field by field; None takes one out."""
        body: dict[str, Any] = {"model": request.model, "messages": self._messages(request), **self.defaults}
        body |= {self._field(name): value for name, value in request.params.items() if name not in self.drop}
        body.pop("conversation", None)
        body["stream"] = request.stream
        if request.stream and self.stream_usage:
            body["stream_options"] = {"include_usage": True}
        if body.get("tools") is not None:
            body["tools"] = [tool_definition(tool) for tool in body["tools"]]
        if body.get("response_format") is not None:
            body["response_format"] = response_format(body["response_format"])
        if self.prefill_fields and request.messages[-1]["role"] == "assistant":
            body |= self.prefill_fields
        body |= request.extra_body
        return {name: value for name, value in body.items() if value is not None}

    def framer(self, content_type: str) -> Framer:
        """Cut an answer into events or lines, or leave it whole."""
        return framer_for(content_type)

    def decoder(self) -> OpenAIChatDecoder:
        """Begin to read an answer, streamed or whole."""
        return OpenAIChatDecoder(lenient_end=self.lenient_end)

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)

    def _field(self, name: str) -> str:
        return {"max_tokens": self.max_tokens_field, "seed": self.seed_field}.get(name, name)

    def _messages(self, request: ChatRequest) -> list[dict[str, Any]]:
        return [self._message(message) for message in request.messages]

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        encoded = {key: value for key, value in message.items() if key not in self.drop_from_messages}
        encoded.pop("provider_metadata", None)
        if encoded["role"] in _SYSTEM:
            encoded["role"] = self.system_role
        return encoded
