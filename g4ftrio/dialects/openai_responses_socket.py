"""The OpenAI Responses wire over WebSockets: the body of a request is a message, and each event of the answer is one.

Source of the form: https://developers.openai.com/api/docs/guides/websocket-mode
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._responses_events import OpenAIResponsesDecoder
from g4ftrio.dialects.openai_responses import OpenAIResponses

__all__ = ("OpenAIResponsesDialogue", "OpenAIResponsesSocket")

_ONLY_OVER_HTTP = ("stream", "stream_options", "background")


class OpenAIResponsesSocket(Struct, frozen=True, kw_only=True):
    """The wire; an answer is always streamed.

    A ``conversation`` goes on over another socket only if the service stored the answer before it.

    :ivar body: how the service differs in what it is asked; its ``path`` is where the socket is opened
    """

    body: OpenAIResponses = OpenAIResponses()

    def path_for(self, request: ChatRequest) -> str:
        """What to append to the API base for a chat."""
        return self.body.path_for(request)

    def dialogue(self, request: ChatRequest) -> OpenAIResponsesDialogue:
        """Begin to ask, and to read the answer. ``extra_body`` is laid over the message as over the body of HTTP.

        :raises SetupError: the wire has no form for something in the request
        """
        asked = {name: value for name, value in self.body.encode(request).items() if name not in _ONLY_OVER_HTTP}
        return OpenAIResponsesDialogue({"type": "response.create", **asked})

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an answer that refuses the upgrade."""
        return self.body.read_error(body)

    @property
    def models_path(self) -> str:
        """What to append to the API base, over HTTP, to list the models."""
        return self.body.models_path

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return self.body.read_models(body)


class OpenAIResponsesDialogue(OpenAIResponsesDecoder):
    """One answer over a WebSocket; see :class:`g4ftrio.dialects._base.Dialogue`."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        self._outgoing = [msgspec.json.encode(asked)]

    def outgoing(self) -> list[bytes]:
        """Take the one message that there is to send."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing
