"""What a simulated model says to what was asked."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from random import Random

import msgspec
from msgspec.structs import replace

from g4ftrio._words.chunks import Chunk, ImageResponse, Reasoning, ToolCallDelta
from g4ftrio.simulator._faults import Fault
from g4ftrio.simulator._latency import as_latency
from g4ftrio.simulator._picture import draw
from g4ftrio.simulator._scene import Errors, Scene, say
from g4ftrio.simulator._schema import sample
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._text import made_up, split_tokens, topics
from g4ftrio.simulator._wire import Answer, Ask, Pictures, Tool

__all__ = ("behave",)

_ARGUMENTS_PIECE = 6  # characters of a tool call's arguments to a delta


def behave(service: Service, wire: Errors, ask: Ask, count: int) -> tuple[Answer, str | None]:
    """Give the answer to a service's ``count``-th chat, from 0, and the name of the fault that it has."""
    seed = f"{service.seed}/{service.name}/{count}"
    random, words = Random(seed), Random(f"{seed}/words")  # noqa: S311  # repeatable is what is wanted
    fault = Fault.of(service.fault) if random.random() < service.fault_share else None
    scene = Scene(
        wire=wire,
        ask=ask,
        random=random,
        first_token=max(as_latency(service.first_token)(random), 0.0),
        gap=as_latency(service.gap),
    )
    pieces, reason = _pieces(service, ask, words)
    beats = say(scene, pieces, reason)
    return (Answer(beats=beats), None) if fault is None else (fault.apply(replace(scene, beats=beats)), fault.name)


def _pieces(service: Service, ask: Ask, words: Random) -> tuple[list[Chunk], str]:
    """Give the answer's tokens and its finish reason."""
    if ask.pictures is not None:
        return [_drawn(ask.pictures, ask.prompt, words)], "stop"
    thinking: list[Chunk] = [Reasoning(token) for token in made_up(words, ask.prompt, service.reasoning)]
    if called := _tools_to_call(ask):
        calls = (piece for number, tool in enumerate(called) for piece in _call(number, tool, ask))
        return [*thinking, *calls], "tool_calls"
    pieces = thinking + list(_stopped(_tokens(service, ask, words), ask.stop))
    if ask.max_tokens is not None and len(pieces) > ask.max_tokens:
        return pieces[: ask.max_tokens], "length"
    return pieces, "stop"


def _drawn(wanted: Pictures, prompt: str, words: Random) -> ImageResponse:
    drawn = (draw(words, wanted.width, wanted.height) for _ in range(wanted.n))
    urls = tuple(f"data:image/png;base64,{b64encode(picture).decode()}" for picture in drawn)
    return ImageResponse(urls, " ".join(("Stripes, and no", *topics(prompt))))


def _tokens(service: Service, ask: Ask, words: Random) -> list[str]:
    length = service.tokens if isinstance(service.tokens, int) else words.choice(service.tokens)
    if ask.tool_result is not None:
        return split_tokens(f"The tool says: {ask.tool_result}")
    if ask.schema is not None:
        return split_tokens(_json(ask.schema, ask))
    return made_up(words, ask.prompt, length) if service.text is None else split_tokens(service.text)


def _stopped(tokens: list[str], stops: Sequence[str]) -> list[str]:
    text = "".join(tokens) if stops else ""
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return split_tokens(text[: min(found)]) if found else tokens


def _tools_to_call(ask: Ask) -> Sequence[Tool]:
    if ask.tool_result is not None:
        return ()
    named = [tool for tool in ask.tools if tool.name in ask.prompt]
    return named or (ask.tools[:1] if ask.must_call else ())


def _call(number: int, tool: Tool, ask: Ask) -> list[Chunk]:
    arguments = _json(tool.schema or {"type": "object"}, ask)
    pieces = [arguments[at : at + _ARGUMENTS_PIECE] for at in range(0, len(arguments), _ARGUMENTS_PIECE)]
    opening = ToolCallDelta(number, id=f"call_{tool.name}", name=tool.name)
    return [opening, *(ToolCallDelta(number, arguments=piece) for piece in pieces)]


def _json(schema: dict[str, object], ask: Ask) -> str:
    """Write a value whose strings are the question's last topic: "Paris" where somebody asks for weather in Paris."""
    about = [word for word in topics(ask.prompt) if word not in {tool.name for tool in ask.tools}]
    return msgspec.json.encode(sample(schema, about[-1] if about else "example")).decode()
