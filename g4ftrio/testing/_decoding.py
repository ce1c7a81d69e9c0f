"""What every dialect's decoder must do with what a service sent, however the network cut it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from g4ftrio._words.chunks import Chunk, FinishReason, Reasoning, ToolCalls, Usage
from g4ftrio._words.errors import APIResponseValidationError, TruncatedError
from g4ftrio.dialects._base import Decoder, Dialect

__all__ = ("check_decoder",)


def check_decoder(
    dialect: Dialect, tape: bytes, expected: Sequence[Chunk], *, content_type: str = "", ends_itself: bool = True
) -> None:
    """Hold a dialect's decoder against the body of one answer, and against its end being lost at every byte.

    It is read whole, frame by frame, in batches of every size, and in two reads that meet at every byte: the chunks
    must be these. Texts that follow each other count as one. Then it is cut at every byte: that must be told by
    ``TruncatedError``, after text that is no more than the beginning of the whole one.

    :param tape: the body as it was received
    :param expected: the chunks that are in it
    :param content_type: the header's value that came with it
    :param ends_itself: whether the wire has an end marker; where it has none, only the transport knows of a cut
    :raises AssertionError: what goes wrong, and where, in a sentence
    """
    wanted = _joined(expected)
    reading = _Reading(dialect, content_type)
    for where, batches in (*reading.batchings(tape), *reading.seams(tape)):
        _check_whole(where, wanted, *reading.decode(batches, where))
    for end in range(len(tape)):
        where = f"cut behind byte {end}"
        chunks, decoder = reading.decode([reading.frames(tape[:end])], where)
        _check_cut(where, wanted, chunks, decoder, ends_itself=ends_itself)


class _Reading:
    """What is done with the bytes of an answer."""

    def __init__(self, dialect: Dialect, content_type: str) -> None:
        self._dialect = dialect
        self._type = content_type

    def frames(self, *reads: bytes) -> list[bytes]:
        """Cut what was read into frames, up to what the framer refuses."""
        framer = self._dialect.framer(self._type)
        frames: list[bytes] = []
        try:
            for data in reads:
                frames += framer.feed(data)
            return frames + framer.close()
        except APIResponseValidationError:
            return frames

    def batchings(self, tape: bytes) -> Iterable[tuple[str, list[list[bytes]]]]:
        """Give all frames at once, and so many at a time."""
        frames = self.frames(tape)
        for size in range(max(1, len(frames)), 0, -1):
            where = "whole" if size >= len(frames) else f"in batches of {size}"
            yield where, [frames[start : start + size] for start in range(0, len(frames), size)]

    def seams(self, tape: bytes) -> Iterable[tuple[str, list[list[bytes]]]]:
        """Give the frames of two reads that meet at each byte, and of reads of a byte each."""
        for seam in range(1, len(tape)):
            yield f"in two reads that meet at byte {seam}", [self.frames(tape[:seam], tape[seam:])]
        yield "byte by byte", [self.frames(*(tape[start:end] for start, end in pairwise(range(len(tape) + 1))))]

    def decode(self, batches: Iterable[list[bytes]], where: str) -> tuple[list[Chunk], Decoder]:
        """Read batches of frames, and close."""
        decoder = self._dialect.decoder()
        chunks: list[Chunk] = []
        try:
            for frames in batches:
                chunks += decoder.feed(frames)
            chunks += decoder.close()
        except Exception as error:
            raise AssertionError(f"{where}, it raises {error!r}: a decoder puts what goes wrong into .error") from error
        return chunks, decoder


def _check_whole(where: str, wanted: list[Chunk], chunks: list[Chunk], decoder: Decoder) -> None:
    _must(decoder.error is None, f"{where}, it reads the answer without an error, and has {decoder.error!r}")
    _must((found := _joined(chunks)) == wanted, f"{where}, it gives {wanted}, and gave {found}")
    _must(decoder.done or decoder.finished, f"{where}, it knows that the answer is whole: .done or .finished")


def _check_cut(where: str, wanted: list[Chunk], chunks: list[Chunk], decoder: Decoder, *, ends_itself: bool) -> None:
    text, whole = _text(chunks), _text(wanted)
    _must(whole.startswith(text), f"{where}, its text is the beginning of {whole!r}, and is {text!r}")
    if decoder.error is None:
        is_whole = _without_usage(_joined(chunks)) == _without_usage(wanted)
        _must(is_whole or not ends_itself, f"{where}, it notices the cut: .error is a TruncatedError")
        return
    told = isinstance(decoder.error, TruncatedError)
    _must(told, f"{where}, .error is a TruncatedError, and is {decoder.error!r}")
    ended = [chunk for chunk in chunks if isinstance(chunk, ToolCalls | FinishReason)]
    _must(not ended, f"{where}, it gives no {ended}: what is cut has not ended")


def _without_usage(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Leave out what may come behind the end of an answer, and be lost with it."""
    return [chunk for chunk in chunks if not isinstance(chunk, Usage)]


def _must(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk for chunk in chunks if isinstance(chunk, str))


def _joined(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Make one of texts, and one of thoughts, that follow each other: where they are cut is the network's doing."""
    joined: list[Any] = []
    for chunk in chunks:
        before = joined[-1] if joined else None
        if isinstance(chunk, str) and isinstance(before, str):
            joined[-1] = before + chunk
        elif isinstance(chunk, Reasoning) and isinstance(before, Reasoning):
            joined[-1] = Reasoning(before.text + chunk.text)
        else:
            joined.append(chunk)
    return joined
