"""What services said, frame by frame: simulated ones as they really answer, and the tapes of ``tests/dialects``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from g4ftrio.simulator._dialects import DIALECTS, SOCKETS
from g4ftrio.simulator._peer import Peer
from g4ftrio.transports._frames import Frames, Side
from tests.faults.relay import Said, relayed
from tests.providers.all_wires import asking, fleet_of

__all__ = ("LABELS", "QUESTIONS", "TAPES", "WORDS", "Recording", "questions_of", "recordings")

LABELS = (*DIALECTS, *SOCKETS)
WORDS = ("Über", "den", "Wolken…", "\N{SUN WITH FACE}")  # characters of one byte, of two, three and four


def weather(city: str) -> str:
    """Tell the weather."""
    raise NotImplementedError


QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "text": {"messages": "What is above the clouds?"},
    "tools": {"messages": "Ask weather about Paris", "tools": [weather]},
}


def questions_of(label: str) -> tuple[str, ...]:
    """Give what a wire can be asked: one has text only."""
    return ("text",) if label == "openchat" else tuple(QUESTIONS)


class Recording(NamedTuple):
    """What a service said.

    :ivar label: the service's wire
    :ivar frames: events, lines, messages, as they are in the body or on the socket
    """

    label: str
    frames: tuple[bytes, ...]
    content_type: str = ""


@cache
def recordings() -> Mapping[tuple[str, str], Recording]:
    """Ask each simulated service each question; to be called outside of any loop."""

    async def record() -> dict[tuple[str, str], Recording]:
        return {(label, each): await _record(label, each) for label in LABELS for each in questions_of(label)}

    return anyio.run(record)


async def _record(label: str, question: str) -> Recording:
    """Note what a service says: a thought, and then words or a call."""
    said = bytearray()

    async def note(saying: Said, client: Peer) -> None:
        while more := await saying.take():
            said.extend(more)
            await client.send(more)

    services = fleet_of(label, text=" ".join(WORDS), reasoning=1)
    async with services as fleet, relayed(fleet[label].api_base, note) as relay:
        await asking(fleet[label], api_base=relay.api_base).complete(**QUESTIONS[question])
    head, _, rest = bytes(said).partition(b"\r\n\r\n")
    content_type = head.lower().partition(b"content-type: ")[2].partition(b"\r\n")[0].decode()
    return Recording(label, tuple(_messages(rest) if label in SOCKETS else _chunks(rest)), content_type)


def _chunks(body: bytes) -> Iterator[bytes]:
    """Give what is in each chunk: the simulator makes one of each frame."""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        yield from [rest[:length]] if length else ()
        body = rest[length + 2 :]


def _messages(data: bytes) -> list[bytes]:
    return Frames(Side.CLIENT, len(data)).feed(data)


_FOLDERS = {"openai_chat": "openai-compatible", "openai_responses": "openai-responses"}
_TYPES = {".sse": "text/event-stream", ".ndjson": "application/x-ndjson", ".json": "application/json"}
_SOCKET_FOLDERS = {"openai_responses": "openai-responses-ws"}
_ENDS = {".sse": b"\n\n", ".ndjson": b"\n"}


def _tape(path: Path) -> Recording:
    folder, kind = path.parent.name, path.suffix
    label = _FOLDERS.get(folder, folder.replace("_", "-"))
    data = path.read_bytes()
    if kind == ".jsonl":
        return Recording(_SOCKET_FOLDERS.get(folder, label), tuple(data.splitlines()))
    return Recording(label, tuple(_split(data, _ENDS.get(kind, data))), _TYPES[kind])


def _split(data: bytes, end: bytes) -> Iterator[bytes]:
    while data:
        frame, found, data = data.partition(end)
        yield frame + found


_FILES = sorted((Path(__file__).parents[1] / "dialects" / "tapes").glob("*/*"))
TAPES = {f"{path.parent.name}/{path.stem}": _tape(path) for path in _FILES}
