"""The OpenAI Responses wire over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.errors import SetupError
from g4ftrio._words.request import ChatRequest
from g4ftrio._words.structured import response_format
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._parts import system_text
from g4ftrio.dialects._responses_events import OpenAIResponsesDecoder
from g4ftrio.dialects._responses_input import items_of
from g4ftrio.dialects._tools import choice_of, functions_of

__all__ = ("OpenAIResponses", "OpenAIResponsesDecoder")

_SYSTEM = ("system", "developer")
_SAME = ("parallel_tool_calls", "temperature", "top_p", "user")  # called as everywhere
_KNOWN = frozenset({*_SAME, "max_tokens", "reasoning_effort", "response_format", "tool_choice", "tools"})
_NO_ARGUMENTS = {"type": "object", "properties": {}}


class OpenAIResponses(Struct, frozen=True, kw_only=True):
    """The wire; the fields are how services differ on it, and what a caller may want of it.

    A ``conversation`` makes the service prepend what it stored of the turns before, so the messages beside it are
    those that are new since then; they are sent as they are given.

    :ivar path: what to append to the API base for a chat
    :ivar models_path: what to append to it to list the models
    :ivar system_as: what system messages are sent as: items of the ``input``, which stay in the conversation, or
        ``instructions``, which are for one answer
    :ivar store: whether the service should keep the answer, which ``conversation`` needs; None is its own default
    :ivar include: what to ask for beside the answer: ``reasoning.encrypted_content``, so that thoughts can be sent back
        to a service that does not keep them
    :ivar reasoning_summary: ask for a summary of the reasoning: ``auto``, ``concise`` or ``detailed``
    :ivar takes_sound: the service reads sound, which the wire describes and its own service refuses
    """

    path: str = "/responses"
    models_path: str = "/models"
    system_as: Literal["input", "instructions"] = "input"
    store: bool | None = None
    include: tuple[str, ...] = ()
    reasoning_summary: str | None = None
    takes_sound: bool = False

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body. ``extra_body`` is laid over it, field by field; None takes one out.

        :raises SetupError: the wire has no form for something in the request
        """
        params = expressed(request.params, _KNOWN)
        body: dict[str, Any] = {"model": request.model, **self._messages(request), "stream": request.stream}
        body |= {"previous_response_id": _previous(request), "store": self.store, "include": list(self.include) or None}
        body |= {name: params[name] for name in _SAME if name in params}
        body |= {
            "max_output_tokens": params.get("max_tokens"),
            "reasoning": self._reasoning(params),
            "text": _text(params),
            "tools": [_tool(tool) for tool in params.get("tools") or ()] or None,
            "tool_choice": _choice(params.get("tool_choice")),
        }
        body |= request.extra_body
        return {name: value for name, value in body.items() if value is not None}

    def framer(self, content_type: str) -> Framer:
        """Cut an answer into events, or leave it whole."""
        return framer_for(content_type)

    def decoder(self) -> OpenAIResponsesDecoder:
        """Begin to read an answer, streamed or whole."""
        return OpenAIResponsesDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)

    def _messages(self, request: ChatRequest) -> dict[str, Any]:
        messages, instructions = request.messages, None
        if self.system_as == "instructions":
            instructions = system_text(messages) or None
            messages = [message for message in messages if message["role"] not in _SYSTEM]
        return {"instructions": instructions, "input": items_of(messages, takes_sound=self.takes_sound)}

    def _reasoning(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        asked = {"effort": params.get("reasoning_effort"), "summary": self.reasoning_summary}
        return {name: value for name, value in asked.items() if value is not None} or None


def _previous(request: ChatRequest) -> str | None:
    conversation = request.params.get("conversation")
    if conversation is None:
        return None
    match getattr(conversation, "state", conversation):
        case {"response_id": str(response_id)} if response_id:
            return response_id
    raise SetupError("conversation= is not one of this service's: pass the Conversation that an answer of it gave")


def _text(params: Mapping[str, Any]) -> dict[str, Any] | None:
    if params.get("response_format") is None:
        return None
    asked = response_format(params["response_format"])
    if isinstance(schema := asked.get("json_schema"), Mapping):
        asked = {"type": "json_schema", "name": "answer", **schema}
    return {"format": asked}


def _tool(tool: Any) -> dict[str, Any]:
    """Give a tool in the wire's own flat shape, as which it passes unchanged: the service's own tools have no other."""
    if isinstance(tool, Mapping) and "function" not in tool:
        return dict(tool)
    [function] = functions_of([tool])
    described = {"description": function.description} if function.description else {}
    # Where nothing is said of it, functions are strict here and not on the chat wire, which the caller's shape is of.
    asked = {"parameters": function.parameters or _NO_ARGUMENTS, "strict": bool(function.strict)}
    return {"type": "function", "name": function.name, **described, **asked}


def _choice(given: Any) -> Any:
    if given is None or (isinstance(given, Mapping) and given.get("type", "function") != "function"):
        return given
    choice = choice_of(given)
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode
