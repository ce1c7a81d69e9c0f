"""The check of a decoder finds what decoders do wrong, and nothing where they do right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from g4ftrio import Chunk, FinishReason, Reasoning, TruncatedError, Usage
from g4ftrio.dialects import NDJSON, SSE, ChatRequest, Dialect, Framer, Text, read_error, read_models, unreadable
from g4ftrio.dialects.ollama import Ollama
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.dialects.openchat import OpenChat
from g4ftrio.providers import HttpProvider
from g4ftrio.testing import check_decoder, check_provider

TAPES = Path(__file__).parent / "dialects" / "tapes"
TAPE = b'{"t": "H\xc3\xa9l"}\n{"t": "lo"}\n{"end": true}\n'
EVENTS: dict[str, Any] = {"content_type": "text/event-stream"}
WANTED: list[Chunk] = ["Hél", "lo", FinishReason("stop")]


class TinyDecoder:
    """Does right; those below do one thing wrong each."""

    def __init__(self) -> None:
        self.finished = self.done = False
        self.error: Exception | None = None

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for frame in frames:
            if not self.done and self.error is None:
                self.read(frame, chunks)
        return chunks

    def read(self, frame: bytes, chunks: list[Chunk]) -> None:
        try:
            line = msgspec.json.decode(frame)
        except ValueError as error:
            self.error = unreadable(frame, error)
            return
        self.done = self.finished = "end" in line
        chunks.append(FinishReason("stop") if self.done else line["t"])

    def close(self) -> list[Chunk]:
        if not self.done and self.error is None:
            self.error = TruncatedError()
        return []


class Tiny:
    models_path = "/models"

    def __init__(self, decoder: Callable[[], Any] = TinyDecoder, framer: Callable[[], Framer] = NDJSON) -> None:
        self.decoder = decoder
        self._framer = framer

    def path_for(self, request: ChatRequest) -> str:
        return "/chat"

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        return {"say": request.messages[-1]["content"]}

    def framer(self, content_type: str) -> Framer:
        return self._framer()

    def read_error(self, body: bytes) -> tuple[str, str]:
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        return read_models(body)


def test_a_decoder_that_does_right_passes() -> None:
    check_decoder(Tiny(), TAPE, WANTED)
    check_decoder(Tiny(), TAPE, ["Héllo", FinishReason("stop")])


@pytest.mark.parametrize(
    ("dialect", "name", "wanted", "options"),
    [
        (OpenAIChat(), "openai_chat/openai_text.sse", ["The sky is blüe 🌌.", Usage(12, 73, 4, 64), "stop"], EVENTS),
        (Ollama(), "ollama/text.ndjson", None, {}),
        (OpenChat(), None, ["The sky is blüe 🌌."], {"ends_itself": False}),
    ],
)
def test_the_dialects_of_this_library_pass(dialect: Any, name: str | None, wanted: Any, options: Any) -> None:
    tape = (TAPES / name).read_bytes() if name else "The sky is blüe 🌌.".encode()
    if wanted is None:
        framer, decoder = dialect.framer(""), dialect.decoder()
        wanted = decoder.feed(framer.feed(tape))
    elif "stop" in wanted:
        wanted = [*wanted[:-1], FinishReason("stop")]
    check_decoder(dialect, tape, wanted, **options)


class Raises(TinyDecoder):
    def read(self, frame: bytes, chunks: list[Chunk]) -> None:
        line = msgspec.json.decode(frame)
        self.done = self.finished = "end" in line
        chunks.append(FinishReason("stop") if self.done else line["t"])


class SeesNoCut(TinyDecoder):
    def close(self) -> list[Chunk]:
        return []


class EndsAtOnce(TinyDecoder):
    def close(self) -> list[Chunk]:
        super().close()
        return [FinishReason("stop")] if self.error else []


class NeverDone(TinyDecoder):
    def read(self, frame: bytes, chunks: list[Chunk]) -> None:
        super().read(frame, chunks)
        self.is_over, self.done, self.finished = self.done, False, False

    def close(self) -> list[Chunk]:
        self.error = self.error or (None if self.is_over else TruncatedError())
        return []


class LosesABatch(TinyDecoder):
    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        return super().feed(frames[-2:])


class WrongError(TinyDecoder):
    def close(self) -> list[Chunk]:
        if not self.done:
            self.error = ValueError("cut")
        return []


class Blind(TinyDecoder):
    def read(self, frame: bytes, chunks: list[Chunk]) -> None:
        self.done = self.finished = b"end" in frame
        chunks.append(
            FinishReason("stop") if self.done else re.sub(r'^{"t": "|"}$', "", frame.decode(errors="replace"))
        )


@pytest.mark.parametrize(
    ("dialect", "wanted", "said"),
    [
        (Tiny(), ["Hello", FinishReason("stop")], "whole, it gives ['Hello', "),
        (Tiny(Raises), WANTED, "cut behind byte 1, it raises DecodeError"),
        (Tiny(SeesNoCut), WANTED, "cut behind byte 0, it notices the cut: .error is a TruncatedError"),
        (Tiny(EndsAtOnce), WANTED, "cut behind byte 0, it gives no [FinishReason(reason='stop')]: what is cut has"),
        (Tiny(NeverDone), WANTED, "whole, it knows that the answer is whole: .done or .finished"),
        (Tiny(LosesABatch), WANTED, "whole, it gives ['Héllo', FinishReason(reason='stop')], and gave ['lo', "),
        (Tiny(WrongError), WANTED, "cut behind byte 0, .error is a TruncatedError, and is ValueError('cut')"),
        (Tiny(Blind), WANTED, "cut behind byte 1, its text is the beginning of 'Héllo', and is '{'"),
        (Tiny(framer=Text), WANTED, "whole, it reads the answer without an error, and has APIResponseValidationError"),
        (Tiny(framer=SSE), WANTED, "whole, it reads the answer without an error, and has TruncatedError"),
    ],
)
def test_what_a_decoder_does_wrong_is_told_in_a_sentence(dialect: Dialect, wanted: list[Chunk], said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        check_decoder(dialect, TAPE, wanted)


def test_thoughts_that_follow_each_other_are_one() -> None:
    tape = b"".join(
        b'data: {"choices":[{"delta":%s}]}\n\n' % delta
        for delta in (b'{"reasoning_content":"a"}', b'{"reasoning_content":"b"}', b'{"content":"c"}')
    )
    tape += b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    check_decoder(OpenAIChat(), tape, [Reasoning("ab"), "c", FinishReason("stop")], **EVENTS)


@pytest.mark.anyio
async def test_a_provider_whose_dialect_no_service_here_speaks_is_refused_in_words() -> None:
    class Small(HttpProvider):
        """A provider of another package."""

        label = "small"
        api_base = "https://example.com/v1"
        dialect = Tiny()

    with pytest.raises(TypeError, match="no service here speaks Tiny, so Small cannot be asked: check_decoder holds"):
        await check_provider(Small)
