"""The ways to put an answer on a connection, piece by piece.

A piece is what belongs together there: a line of the head, the size of a chunk, the header of a WebSocket's frame, a
frame of the answer. So it is known of every byte how much of the answer had been said before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from g4ftrio.simulator._dialects import SOCKETS
from tests.faults.recordings import LABELS, Recording

__all__ = ("ACCEPT", "CARRIERS", "CARRIERS_OF", "PLAIN", "WAYS", "Carried")

ACCEPT = b"(derived from a client's key"  # 28 bytes; in their place a server puts what its client awaits
_TEAR = 17  # bytes: characters are torn, and so is everything else
_STRIDE = 50


class Piece(NamedTuple):
    """Some bytes on a connection, and whether they are of the answer or the carrier's."""

    data: bytes
    is_answer: bool = False


Carrier: TypeAlias = Callable[[Recording], Iterator[Piece]]


def _head(status: bytes, *lines: bytes) -> Iterator[Piece]:
    for line in (b"HTTP/1." + status, *lines, b""):
        yield Piece(line + b"\r\n")


def _type(recording: Recording) -> bytes:
    return b"Content-Type: " + recording.content_type.encode()


def _answer(recording: Recording) -> Iterator[Piece]:
    for frame in recording.frames:
        yield Piece(frame, is_answer=True)


def _torn(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _TEAR):
        yield data[start : start + _TEAR]


def chunked(recording: Recording) -> Iterator[Piece]:
    """Make a chunk of each frame, as services do."""
    yield from _head(b"1 200 OK", _type(recording), b"Transfer-Encoding: chunked")
    for piece in _answer(recording):
        yield Piece(b"%x\r\n" % len(piece.data))
        yield piece
        yield Piece(b"\r\n")
    yield from (Piece(b"0\r\n"), Piece(b"\r\n"))


def torn_chunks(recording: Recording) -> Iterator[Piece]:
    """Use all that the coding knows: an interim head, chunks that end anywhere, extensions, trailers."""
    yield from _head(b"1 103 Early Hints", b"Link: </style.css>")
    yield from _head(b"1 200 OK", _type(recording), b"Transfer-Encoding: chunked", b"Trailer: X-Sum")
    for number, data in enumerate(_torn(b"".join(recording.frames))):
        yield Piece(b"%04X;%d\r\n" % (len(data), number))
        yield Piece(data, is_answer=True)
        yield Piece(b"\r\n")
    yield from (Piece(b"000;last\r\n"), Piece(b"X-Sum: 0\r\n"), Piece(b"\r\n"))


def sized(recording: Recording) -> Iterator[Piece]:
    """Say the length before."""
    length = sum(map(len, recording.frames))
    yield from _head(b"1 200 OK", _type(recording), b"Content-Length: %d" % length)
    yield from _answer(recording)


def until_close(recording: Recording) -> Iterator[Piece]:
    """End with the connection, as in HTTP/1.0."""
    yield from _head(b"0 200 OK", _type(recording))
    yield from _answer(recording)


def _upgrade() -> Iterator[Piece]:
    return _head(
        b"1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + ACCEPT
    )


_FIN, _CONTINUATION, _TEXT, _CLOSE, _PING = 0x80, 0x0, 0x1, 0x8, 0x9  # RFC 6455, 5.2
_GOODBYE = (Piece(bytes((_FIN | _CLOSE, 2))), Piece((1000).to_bytes(2)))


def _frame_header(first: int, length: int) -> Piece:
    return Piece(bytes((first, length)) if length < 126 else bytes((first, 126)) + length.to_bytes(2))


def messages(recording: Recording) -> Iterator[Piece]:
    """Make a WebSocket's frame of each message, and say good-bye."""
    yield from _upgrade()
    for piece in _answer(recording):
        yield _frame_header(_FIN | _TEXT, len(piece.data))
        yield piece
    yield from _GOODBYE


def fragments(recording: Recording) -> Iterator[Piece]:
    """Make of each message as many fragments as there can be, with pings between them."""
    yield from _upgrade()
    for frame in recording.frames:
        opcode = _TEXT
        for end, data in zip(accumulate(map(len, _torn(frame))), _torn(frame), strict=True):
            yield _frame_header(opcode | (_FIN if end == len(frame) else 0), len(data))
            yield Piece(data, is_answer=True)
            yield Piece(bytes((_FIN | _PING, 1)))
            yield Piece(b"?")
            opcode = _CONTINUATION
    yield from _GOODBYE


CARRIERS: Mapping[str, Carrier] = {
    carrier.__name__: carrier for carrier in (chunked, torn_chunks, sized, until_close, messages, fragments)
}
_OVER_HTTP, _OVER_SOCKETS = tuple(CARRIERS)[:4], tuple(CARRIERS)[4:]
CARRIERS_OF: Mapping[str, tuple[str, ...]] = {
    label: _OVER_SOCKETS if label in SOCKETS else _OVER_HTTP for label in LABELS
}
PLAIN = ("chunked", "messages")  # as services do it
WAYS = tuple((label, carrier) for label in LABELS for carrier in CARRIERS_OF[label])


class Carried:
    """A recording on a connection.

    :ivar raw: all that is said there
    :ivar edges: the offsets behind each piece
    :ivar body: the offset behind the head
    :ivar ended: the offset from which HTTP says that all was said; behind the last where only a FIN does
    """

    def __init__(self, recording: Recording, carrier: str) -> None:
        pieces = [*CARRIERS[carrier](recording)]
        self.recording = recording
        self.carrier = carrier
        self.raw = b"".join(piece.data for piece in pieces)
        self.edges = [*accumulate(len(piece.data) for piece in pieces)]
        self._answered = [*accumulate(len(piece.data) if piece.is_answer else 0 for piece in pieces)]
        self.body = self.raw.rindex(b"\r\n\r\n", 0, self.offset(1)) + 4
        self.ended = len(self.raw) + (carrier == until_close.__name__)

    def offset(self, answered: int) -> int:
        """Give the offset on the connection behind so many bytes of the answer."""
        number = bisect_left(self._answered, answered)
        return self.edges[number] - (self._answered[number] - answered)

    def places(self, most: int) -> list[int]:
        """Choose so many offsets: behind pieces, a byte before and after that, and between; always the last two."""
        end = len(self.raw)
        near = {edge + step for edge in (0, *self.edges) for step in (-1, 0, 1)}
        among = sorted(near.union(range(0, end, _STRIDE)).intersection(range(end + 1)))
        return sorted({*(among[number * len(among) // most] for number in range(most)), end - 1, end})

    def frame_ends(self) -> list[int]:
        """Give the offsets behind each frame of the answer."""
        return [self.offset(end) for end in accumulate(map(len, self.recording.frames))]

    def __repr__(self) -> str:
        return f"{self.recording.label} in {self.carrier}"
