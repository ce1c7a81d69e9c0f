"""What became of one question: all that its consumer has seen, and how that ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import anyio

from g4ftrio import Chunk, Completion, Stream
from tests.faults.carriers import Carried
from tests.faults.reciter import Reciter

__all__ = ("Outcome", "outcome", "outcome_of")

_FOR_EVER = 20.0  # seconds


class Outcome(NamedTuple):
    """What a consumer saw.

    :ivar chunks: in their order
    :ivar text: what the stream says that its text is
    :ivar winner: who wrote, None where nobody did
    :ivar completion: the whole answer, None where there was an error
    """

    chunks: list[Chunk]
    text: str
    winner: str | None
    completion: Completion | None
    error: Exception | None


async def outcome(context: AbstractAsyncContextManager[Stream]) -> Outcome:
    """Read a stream to its end."""
    chunks: list[Chunk] = []
    stream: Stream | None = None
    completion, error = None, None
    try:
        with anyio.fail_after(_FOR_EVER):
            async with context as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401  # a comprehension loses what came before an error
                completion = await stream.collect()
    except Exception as raised:
        error = raised
    text, winner = ("", None) if stream is None else (stream.text, stream.provider)
    return Outcome(chunks, text, winner, completion, error)


async def outcome_of(reciter: Reciter, carried: Carried, question: Mapping[str, Any], client: Any = None) -> Outcome:
    """Ask the reciter."""
    return await outcome(reciter.asked_by(carried.recording.label, http_client=client).stream(**question))
