"""The Gemini wire: generateContent and streamGenerateContent.

Source of the form: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._gemini_contents import contents_of
from g4ftrio.dialects._gemini_events import GeminiDecoder
from g4ftrio.dialects._gemini_options import (
    BUDGETED,
    STAND_IN,
    generation_config,
    instruction_of,
    laid_over,
    tool_config,
    tools_of,
)
from g4ftrio.dialects._model_list import read_models

__all__ = ("Gemini", "GeminiDecoder")

_KNOWN = frozenset(
    {
        *("temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "frequency_penalty", "presence_penalty"),
        *("reasoning_effort", "tools", "tool_choice", "parallel_tool_calls", "response_format", "modalities", "audio"),
    }
)


class Gemini(Struct, frozen=True, kw_only=True):
    """The wire.

    :ivar version: of the API; the first part of every path
    :ivar budgeted: how the names of models begin whose thinking is bounded by tokens, and whose calls are unsigned;
        all others take a level, and refuse calls without a signature
    :ivar stand_in: the signature for calls that another service wrote, or this one unsigned
    """

    version: str = "v1beta"
    budgeted: tuple[str, ...] = BUDGETED
    stand_in: str = STAND_IN

    def path_for(self, request: ChatRequest) -> str:
        """What to append to the API base: the model is in the path. A name with a slash in it is whole as it is."""
        model = request.model if "/" in request.model else f"models/{request.model}"
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return f"/{self.version}/{quote(model)}:{method}"

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body. ``extra_body`` is laid over it, and over the objects in it; None takes a field out.

        :raises SetupError: the wire has no form for a parameter or for its value
        :raises MessagesError: nor for what is in a message
        """
        params = expressed(request.params, _KNOWN)
        budgeted = request.model.rpartition("/")[2].startswith(self.budgeted)
        body = {
            "contents": contents_of(request.messages, "" if budgeted else self.stand_in),
            "systemInstruction": instruction_of(request.messages),
            "tools": tools_of(params.get("tools", ())),
            "toolConfig": tool_config(params),
            "generationConfig": generation_config(params, budgeted=budgeted),
        }
        return laid_over({name: value for name, value in body.items() if value}, request.extra_body)

    def framer(self, content_type: str) -> Framer:
        """Cut an answer into events, or leave it whole."""
        return framer_for(content_type)

    def decoder(self) -> GeminiDecoder:
        """Begin to read an answer, streamed or whole."""
        return GeminiDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    @property
    def models_path(self) -> str:
        """What to append to the API base to list the models; no more are given at once."""
        return f"/{self.version}/models?pageSize=1000"

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return [name.removeprefix("models/") for name in read_models(body)]
