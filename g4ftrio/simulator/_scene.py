"""One request's scene: what was asked, and the pace at which the answer is said."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from msgspec import Struct

from g4ftrio._words.chunks import Chunk, FinishReason, Reasoning, Usage
from g4ftrio.simulator._latency import Latency
from g4ftrio.simulator._wire import Ask, Beat, Item, Mark

__all__ = ("Errors", "Scene", "say")


class Errors(Protocol):
    """What can word an error in a dialect."""

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give the body of an error answer."""


class Scene(Struct, frozen=True, kw_only=True):
    """What behaviour and faults go by.

    :ivar random: this request's own, for times; the words have another, so that neither depends on the other
    :ivar first_token: seconds, as drawn
    :ivar beats: the good answer, once it is made: an opening, tokens, an ending
    """

    wire: Errors
    ask: Ask
    random: Random
    first_token: float
    gap: Latency
    beats: tuple[Beat, ...] = ()


def say(scene: Scene, pieces: Sequence[Chunk], reason: str = "stop") -> tuple[Beat, ...]:
    """Say something at the service's pace, from the opening to the end marker."""
    waits = [scene.first_token, *(max(scene.gap(scene.random), 0.0) for _ in pieces[1:])]
    spoken = [Beat(wait, (piece,)) for wait, piece in zip(waits, pieces, strict=False)]
    usage = Usage(
        input_tokens=scene.ask.input_tokens,
        output_tokens=len(pieces),
        reasoning_tokens=sum(isinstance(piece, Reasoning) for piece in pieces),
    )
    ending: tuple[Item, ...] = (FinishReason(reason), usage, Mark.DONE)
    return (Beat(0.0, (Mark.OPEN,)), *spoken, Beat(0.0 if pieces else scene.first_token, ending))
