"""Every wire with its decoder, its tapes and its schemas: what the fuzz of the decoders is made of.

The schemas are the decoders' own: the types of the ``msgspec`` decoders in a dialect's modules, and the classes beside
them. So a field that is added to a dialect is fuzzed from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from g4ftrio._framing import framer_for
from g4ftrio._words.messages import normalize
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Decoder
from g4ftrio.dialects.anthropic import Anthropic
from g4ftrio.dialects.gemini import Gemini
from g4ftrio.dialects.gemini_live import GeminiLive
from g4ftrio.dialects.ollama import Ollama
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.dialects.openai_images import OpenAIImages
from g4ftrio.dialects.openai_realtime import OpenAIRealtime
from g4ftrio.dialects.openai_responses import OpenAIResponses
from g4ftrio.dialects.openai_responses_socket import OpenAIResponsesSocket
from g4ftrio.dialects.openchat import OpenChat

__all__ = ("DIALECTS", "WIRES", "Wire", "Words", "modules_with_schemas")

DIALECTS = Path(__file__).parents[2] / "g4ftrio" / "dialects"
_TAPES = Path(__file__).parents[1] / "dialects" / "tapes"
_REQUEST = ChatRequest(model="m", messages=normalize("Why?"))
_LONGEST_WORD = 80  # characters; longer texts are what models wrote, not what wires say

Words = dict[str, tuple[str, ...]]


class Wire(NamedTuple):
    """A wire.

    :ivar decoder: begins to read an answer
    :ivar modules: where its schemas are
    :ivar tapes: the folder of its tapes, empty where they are written here
    """

    name: str
    decoder: Callable[[], Decoder]
    modules: tuple[str, ...] = ()
    tapes: str = ""
    written: tuple[bytes, ...] = ()

    def answers(self) -> list[list[bytes]]:
        """Give its tapes, cut into frames."""
        paths = sorted((_TAPES / self.tapes).iterdir()) if self.tapes else []
        return [_frames(path) for path in paths] + [[body] for body in self.written]

    def schemas(self) -> list[Any]:
        """Give the types of its decoders, then the classes that its modules convert to later."""
        found = [names for module in self.modules for names in vars(import_module(_full(module))).values()]
        roots = [_root(value) for value in found if _root(value) is not None]
        classes = [value for value in found if _is_schema(value) and value.__module__.endswith(self.modules)]
        return [*roots, *classes]

    def words(self) -> Words:
        """Give the short texts on its tapes, by the key that they stand at."""
        said: dict[str, set[str]] = {}
        for frame in (frame for answer in self.answers() for frame in answer):
            for key, text in _texts("", _json(frame)):
                said.setdefault(key, set()).add(text)
        return {key: tuple(sorted(texts)) for key, texts in said.items()}


def modules_with_schemas() -> set[str]:
    """Give the names of all modules of dialects in which something is decoded by a schema."""
    names = (path.stem for path in DIALECTS.glob("*.py"))
    return {name for name in names if any(_root(value) for value in vars(import_module(_full(name))).values())}


def _full(module: str) -> str:
    return f"g4ftrio.dialects.{module}" if module != "__init__" else "g4ftrio.dialects"


def _root(value: Any) -> Any:
    """Give the type that a decoder, or its bound method, decodes; a list of events is read as one of them."""
    decoder = getattr(value, "__self__", value)
    if not isinstance(decoder, msgspec.json.Decoder):
        return None
    return decoder.type


def _is_schema(value: Any) -> bool:
    """Whether this describes what comes: what describes a dialect or is kept while reading is frozen or has no gc."""
    return isinstance(value, type) and issubclass(value, msgspec.Struct) and not value.__struct_config__.frozen


def _frames(path: Path) -> list[bytes]:
    if path.suffix == ".jsonl":
        return path.read_bytes().splitlines()
    kind = {".sse": "text/event-stream", ".ndjson": "application/x-ndjson"}.get(path.suffix, "application/json")
    framer = framer_for(kind)
    return framer.feed(path.read_bytes()) + framer.close()


def _json(frame: bytes) -> Any:
    try:
        return json.loads(frame)
    except ValueError:
        return None


def _texts(key: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _texts(name, child)
    elif isinstance(node, list):
        for child in node:
            yield from _texts(key, child)
    elif isinstance(node, str) and len(node) <= _LONGEST_WORD:
        yield key, node


_IMAGES = (
    b'{"data": [{"url": "https://img.test/1.png", "revised_prompt": "a cat"}], "usage": {"input_tokens": 3}}',
    b'{"data": [{"b64_json": "iVBORw0KGgo="}], "usage": {"output_tokens": 4}}',
    b'{"error": {"message": "no", "type": "invalid_request_error", "code": "content_policy_violation"}}',
)
_RESPONSES = ("_responses_events", "_responses_items")

WIRES: dict[str, Wire] = {
    wire.name: wire
    for wire in (
        Wire("openai-compatible", OpenAIChat().decoder, ("_openai_chunks",), "openai_chat"),
        Wire("anthropic", Anthropic().decoder, ("_anthropic_events",), "anthropic"),
        Wire("gemini", Gemini().decoder, ("_gemini_events", "_gemini_turn"), "gemini"),
        Wire("ollama", Ollama().decoder, ("_ollama_lines",), "ollama"),
        Wire("openai-responses", OpenAIResponses().decoder, _RESPONSES, "openai_responses"),
        Wire("openai-images", OpenAIImages().decoder, ("openai_images",), "", _IMAGES),
        Wire("openchat", OpenChat().decoder, (), "", ("Wäre".encode(),)),
        Wire("gemini-live", lambda: GeminiLive().dialogue(_REQUEST), ("gemini_live", "_gemini_turn"), "gemini_live"),
        Wire(
            "openai-realtime",
            lambda: OpenAIRealtime().dialogue(_REQUEST),
            ("_openai_realtime_events",),
            "openai_realtime",
        ),
        Wire(
            "openai-responses-ws",
            lambda: OpenAIResponsesSocket().dialogue(_REQUEST),
            _RESPONSES,
            "openai_responses",
        ),
    )
}
