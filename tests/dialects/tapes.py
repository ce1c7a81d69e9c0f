"""What every decoder must do with tapes of its wire: read them in every batching, notice cuts, bear what is mangled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any, Protocol, TypeAlias, TypeVar

from hypothesis import strategies as st

from g4ftrio._framing import SSE
from g4ftrio._words.chunks import Chunk, FinishReason, ToolCalls, TypedChunk, Usage
from g4ftrio._words.errors import ProviderError, TruncatedError

__all__ = ("check_alike", "check_batchings", "check_cuts", "drained", "events", "mangled")

_FEW = 12  # frames, which are batched in every way there is


class Reader(Protocol):
    """A decoder, or a dialogue."""

    def feed(self, frames: list[bytes], /) -> list[Chunk]: ...

    def close(self) -> list[Chunk]: ...


R = TypeVar("R", bound=Reader)
Decode: TypeAlias = Callable[..., tuple[list[Chunk], Any]]
"""Reads batches of frames to their end."""


def drained(reader: R, *batches: list[bytes]) -> tuple[list[Chunk], R]:
    """Have a decoder read all, and close it."""
    chunks = [chunk for batch in batches for chunk in reader.feed(batch)]
    return chunks + reader.close(), reader


def events(tape: bytes) -> list[bytes]:
    """Cut a stream of events into frames."""
    framer = SSE()
    return framer.feed(tape) + framer.close()


def batchings(frames: list[bytes]) -> Iterator[list[list[bytes]]]:
    """Divide frames into batches: in every way, or where there are many with up to two seams, and one by one."""
    inner = range(1, len(frames))
    most = len(inner) if len(frames) <= _FEW else 2
    for seams in (*(each for count in range(most + 1) for each in combinations(inner, count)), tuple(inner)):
        yield [frames[start:end] for start, end in pairwise((0, *seams, len(frames)))]


def check_batchings(decode: Decode, frames: list[bytes], expected: Sequence[Chunk]) -> None:
    """See that an answer's chunks are exactly these, and typed, however its frames come together."""
    for batches in batchings(frames):
        chunks, reader = decode(*batches)
        assert chunks == expected
        assert (reader.error, reader.done) == (None, True)
        assert reader.finished or not any(isinstance(chunk, FinishReason) for chunk in expected)
        assert all(type(chunk) is str or isinstance(chunk, TypedChunk) for chunk in chunks)


def check_cuts(
    decode: Decode,
    frames: Callable[[bytes], list[bytes]],
    tape: bytes,
    expected: Sequence[Chunk],
    *,
    never: tuple[type[TypedChunk], ...] = (),
    late: tuple[type[TypedChunk], ...] = (),
) -> None:
    """See that an answer that is cut at any byte is whole, or truncated and gives what had come.

    :param frames: cuts bytes into frames
    :param never: what an answer that was cut does not have, beside calls and a finish reason
    :param late: what may come behind the end of an answer that is whole
    """
    for end in range(len(tape)):
        chunks, reader = decode(frames(tape[:end]))
        if reader.error is None:
            assert reader.done
            assert _without(late, chunks) == _without(late, expected)
            continue
        assert isinstance(reader.error, TruncatedError)
        assert not any(isinstance(chunk, (ToolCalls, FinishReason, *never)) for chunk in chunks)
        came = _without((Usage,), chunks)
        assert came == _without((Usage,), expected)[: len(came)]


def check_alike(decode: Decode, frames: list[bytes]) -> None:
    """See that whatever comes gives chunks or a typed error, the same in one batch and one by one."""
    together, one = decode(frames)
    singly, other = decode(*([frame] for frame in frames))
    assert together == singly
    assert repr(one.error) == repr(other.error)
    assert one.error is None or isinstance(one.error, ProviderError)
    assert all(type(chunk) is str or isinstance(chunk, TypedChunk) for chunk in together)


def mangled(tapes: Sequence[list[bytes]]) -> st.SearchStrategy[list[bytes]]:
    """Frames of any tapes in any order, some of them shortened."""
    whole = st.sampled_from(tapes).flatmap(st.sampled_from)
    shortened = whole.flatmap(lambda frame: st.integers(0, len(frame)).map(lambda end: frame[:end]))
    return st.lists(whole | shortened, max_size=8)


def _without(kinds: tuple[type[TypedChunk], ...], chunks: Sequence[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if not isinstance(chunk, kinds)]
