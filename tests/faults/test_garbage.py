"""Garbage: whatever a service sends, an answer is chunks or a typed error; whatever a file holds, it is read or refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from g4ftrio import Chunk, ProviderError
from g4ftrio._chunks import TypedChunk
from g4ftrio._errors import excerpt
from g4ftrio._report import EntrantReport
from g4ftrio._stream import Gathered
from g4ftrio.dialects._base import Decoder
from tests.faults.shapes import frames_of, mutated, shape_of
from tests.faults.wires import WIRES, Wire, modules_with_schemas

_LONGEST_ERROR = 1000  # characters


def read(wire: Wire, *batches: Sequence[bytes]) -> tuple[list[Chunk], Exception | None]:
    """Read frames, and see that what comes out can be used."""
    decoder = wire.decoder()
    chunks: list[Chunk] = []
    for frames in batches:
        chunks += decoder.feed(frames)
    chunks += decoder.close()
    assert_usable(chunks, decoder)
    return chunks, decoder.error


def assert_usable(chunks: list[Chunk], decoder: Decoder) -> None:
    error = decoder.error
    assert error is not None or decoder.done or decoder.finished
    if error is not None:
        assert isinstance(error, ProviderError)
        assert len(str(error)) < _LONGEST_ERROR
    assert all(isinstance(chunk, str | TypedChunk) for chunk in chunks)
    "".join(map(str, chunks)).encode()
    gathered, record = Gathered(), EntrantReport(name="it")
    gathered.add(chunks)
    record.note_usage(chunks)
    msgspec.json.encode(gathered.completion("it", "m").message)
    msgspec.json.encode(record.to_dict())


def test_every_schema_is_fuzzed() -> None:
    assert modules_with_schemas() <= {module for wire in WIRES.values() for module in wire.modules}


def mutations(wire: Wire) -> Iterator[tuple[str, list[bytes], int, bytes]]:
    seen = set()
    for answer in wire.answers():
        for number, frame in enumerate(answer):
            if (shape := shape_of(frame)) not in seen:
                seen.add(shape)
                for what, bad in mutated(frame):
                    yield what, answer, number, bad


@pytest.mark.parametrize("name", WIRES)
def test_mutations(name: str) -> None:
    import time
    t = time.process_time()
    n = 0
    fails: dict[str, str] = {}
    for what, answer, number, bad in mutations(WIRES[name]):
        n += 1
        try:
            read(WIRES[name], answer[:number], [bad], answer[number + 1:])
        except BaseException as e:
            import traceback
            tb = traceback.extract_tb(e.__traceback__)[-1]
            fails.setdefault(f"{type(e).__name__}:{str(e)[:60]} {tb.filename[-30:]}:{tb.lineno}", f"{what} in {excerpt(answer[number].decode(),200)}")
    print(name, n, time.process_time() - t)
    for k, v in fails.items():
        print("   ", k, "|", v)


@pytest.mark.parametrize("name", [n for n in WIRES if WIRES[n].modules])
def test_shapes(name: str) -> None:
    wire = WIRES[name]
    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(frames_of(wire))
    def check(frames: list[bytes]) -> None:
        read(wire, frames)
    check()
