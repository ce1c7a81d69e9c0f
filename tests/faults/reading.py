"""What must hold of whatever a decoder has read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from g4ftrio import Chunk, ProviderError
from g4ftrio._streams.stream import Gathered
from g4ftrio._words.chunks import FinishReason, Reasoning, TypedChunk, Usage
from g4ftrio._words.report import EntrantReport
from tests.faults.wires import Wire

__all__ = ("read",)

_LONGEST = 1000  # characters of an error


def read(wire: Wire, *batches: Sequence[bytes]) -> tuple[list[Chunk], Exception | None]:
    """Read an answer, batch by batch, and see that what comes out of it can be used.

    It is chunks, and an error of ours or a whole answer. The chunks can be shown and gathered, the message that they
    make can be sent again, and the report of it written.
    """
    decoder = wire.decoder()
    chunks: list[Chunk] = []
    for frames in batches:
        chunks += decoder.feed(frames)
    chunks += decoder.close()
    assert decoder.error is not None or decoder.done or decoder.finished
    if decoder.error is not None:
        assert isinstance(decoder.error, ProviderError)
        assert len(str(decoder.error)) < _LONGEST
    _use(chunks)
    return _joined(chunks), decoder.error


def _use(chunks: list[Chunk]) -> None:
    assert all(isinstance(chunk, str | TypedChunk) for chunk in chunks)
    "".join(map(str, chunks)).encode()
    gathered = Gathered()
    gathered.add(chunks)
    msgspec.json.encode(gathered.completion("it", "m").message)
    if any(isinstance(chunk, Usage | FinishReason) for chunk in chunks):
        record = EntrantReport(name="it")
        record.note_usage(chunks)
        msgspec.json.encode(record.to_dict())


def _joined(chunks: list[Chunk]) -> list[Chunk]:
    """Make one of texts, and one of thoughts, that follow each other."""
    joined: list[Chunk] = []
    for chunk in chunks:
        before = joined[-1] if joined else None
        if isinstance(chunk, str) and isinstance(before, str):
            joined[-1] = before + chunk
        elif isinstance(chunk, Reasoning) and isinstance(before, Reasoning):
            joined[-1] = Reasoning(before.text + chunk.text)
        else:
            joined.append(chunk)
    return joined
