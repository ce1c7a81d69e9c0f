"""Fuzz the decoders, the framers and the HTTP parser with atheris, which looks for new paths through the code.

    pip install atheris
    python -m tests.faults.fuzz_atheris -max_total_time=300 [-seed=1] [CORPUS_FOLDER]

Not a test: atheris has wheels for few interpreters and systems, and it needs minutes. What follows the name goes to
libFuzzer. The first byte of an input chooses what reads the rest of it. A finding is a traceback and a file
``crash-...``; ``python -m tests.faults.fuzz_atheris crash-...`` repeats it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # it is not installed, or has no types

with atheris.instrument_imports(include=["g4ftrio"]):
    import httpx

    from g4ftrio._framing import NDJSON, SSE, Framer, Whole, framer_for
    from g4ftrio._words.errors import APIResponseValidationError, ProviderError
    from g4ftrio.dialects._error_body import read_error, retry_delay
    from g4ftrio.dialects._model_list import read_models
    from g4ftrio.transports._rate_limits import exhausted_for
    from g4ftrio.transports._retry_after import retry_after
    from g4ftrio.transports._wire import ResponseParser
    from tests.faults.reading import read
    from tests.faults.wires import WIRES, Wire

_SEPARATOR = b"\x1e\n"  # between the frames of one input
_DAY = 86_400.0


def _decoding(wire: Wire) -> Callable[[bytes], None]:
    def fuzz(data: bytes) -> None:
        read(wire, data.split(_SEPARATOR))

    return fuzz


def _framing(make: Callable[[], Framer]) -> Callable[[bytes], None]:
    def fuzz(data: bytes) -> None:
        whole, halves = _framed(make(), data), _framed(make(), data[: len(data) // 2], data[len(data) // 2 :])
        assert whole == halves

    return fuzz


def _framed(framer: Framer, *reads: bytes) -> list[bytes]:
    frames: list[bytes] = []
    try:
        for data in reads:
            frames += framer.feed(data)
        return frames + framer.close()
    except APIResponseValidationError:
        return frames


def _http(data: bytes) -> None:
    parser = ResponseParser(b"GET")
    try:
        for start in range(0, len(data), 7):
            parser.feed(data[start : start + 7])
        parser.end()
    except httpx.RemoteProtocolError:
        return


def _errors(data: bytes) -> None:
    said, code = read_error(data)
    assert len(said) <= 500
    assert len(code) <= 100
    assert 0 <= (retry_delay(data) or 0) <= _DAY


def _models(data: bytes) -> None:
    try:
        assert all(isinstance(name, str) for name in read_models(data))
    except ProviderError:
        return


def _waits(data: bytes) -> None:
    value = data.decode("latin-1")
    names = ("retry-after", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "x-ratelimit-limit-tokens")
    for name in names:
        headers = dict.fromkeys(names, "0") | {name: value}
        for wait in (retry_after(headers, 1e9), exhausted_for(headers, 1e9)):
            assert wait is None or 0 <= wait <= _DAY


_FRAMERS: list[Callable[[], Framer]] = [SSE, NDJSON, Whole, lambda: framer_for(""), lambda: framer_for("text/html")]
_READERS: list[Callable[[bytes], None]] = [
    *(_decoding(wire) for wire in WIRES.values()),
    *(_framing(make) for make in _FRAMERS),
    *(_http, _errors, _models, _waits),
]


def fuzz(data: bytes) -> None:
    """Read one input."""
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def _seeds() -> Iterator[bytes]:
    for number, wire in enumerate(WIRES.values()):
        for answer in wire.answers():
            yield bytes([number]) + _SEPARATOR.join(answer)
    for number in range(len(WIRES), len(_READERS)):
        yield (
            bytes([number])
            + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx: y\r\n\r\n"
        )
        yield bytes([number]) + b': x\nevent: y\rdata: {"error": {"message": "x", "code": 429}}\n\n'
        yield bytes([number]) + b"6m0s"


def main() -> None:
    """Fuzz, from the tapes on."""
    with TemporaryDirectory() as folder:
        for number, seed in enumerate(_seeds()):
            Path(folder, f"seed-{number}").write_bytes(seed)
        atheris.Setup([*sys.argv, folder], fuzz)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
