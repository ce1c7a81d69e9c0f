"""A chat request before any wire: the parameters that everybody knows, and what goes over HTTP in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from msgspec import Struct, field

from g4ftrio._words.secrets import shown

__all__ = ("KNOWN", "Call", "ChatParams", "ChatRequest", "ModelParams", "check_params")


class ModelParams(TypedDict, total=False):
    """What models are told beside the messages, in the words of the OpenAI chat API."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop: str | Sequence[str]
    seed: int
    frequency_penalty: float
    presence_penalty: float
    reasoning_effort: str
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]]
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    response_format: Any
    modalities: Sequence[Literal["text", "audio"]]
    audio: Mapping[str, str]
    user: str
    conversation: Any
    extra_body: Mapping[str, Any]
    extra_headers: Mapping[str, str]


class ChatParams(ModelParams, total=False):
    """What every provider's ``stream`` and ``complete`` take beside the messages.

    A name that is not here is a ``TypeError`` before anything is sent; what only one service knows goes into
    ``extra_body``, which is laid over the request's body as it is: field by field, or on some wires also over the
    objects in it, as the dialect's ``encode`` says.
    """

    stream: bool


class ChatRequest(Struct, kw_only=True):
    """One request as a dialect's encoder gets it: messages in the OpenAI shape, parameters by their names above.

    ``params`` holds neither ``stream`` nor ``extra_body`` nor ``extra_headers``, and no ``None``.
    """

    model: str
    messages: list[dict[str, Any]]
    stream: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    extra_body: dict[str, Any] = field(default_factory=dict)


class Call(Struct, frozen=True, kw_only=True):
    """One HTTP request, encoded: what a transport sends.

    Its ``repr`` shows neither headers nor body: both may hold what is nobody's business.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<Call {self.method} {shown(self.url).partition('?')[0]}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [("method", self.method), ("url", shown(self.url).partition("?")[0])]


KNOWN = frozenset({*ModelParams.__annotations__, *ChatParams.__annotations__})


def check_params(given: Mapping[str, Any], also: frozenset[str] = frozenset()) -> None:
    """Refuse parameter names that nobody knows.

    :param given: the parameters of a call
    :param also: further names that this provider knows
    :raises TypeError: names the unknown one and the nearest known
    """
    unknown = [name for name in given if name not in KNOWN and name not in also]
    if not unknown:
        return
    from difflib import get_close_matches

    name = unknown[0]
    near = get_close_matches(name, KNOWN | also, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "what only one service knows goes into extra_body={...}."
    raise TypeError(f"unknown parameter {name!r}: {hint}")
