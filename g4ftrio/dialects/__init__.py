"""Wire formats: requests in, bodies out; frames in, chunks out. No I/O.

A dialect is a file here, or in a package of yours: what implements ``Dialect``, or over WebSockets ``SocketDialect``.
These names are what it is written with; ``g4ftrio.testing.check_decoder`` holds it against its tape.
"""

from g4ftrio._framing import NDJSON, SSE, Framer, Text, Whole, framer_for
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Decoder, Dialect, Dialogue, SocketDialect, expressed
from g4ftrio.dialects._error_body import read_error
from g4ftrio.dialects._model_list import read_models
from g4ftrio.dialects._unreadable import unreadable

__all__ = (
    "NDJSON",
    "SSE",
    "ChatRequest",
    "Decoder",
    "Dialect",
    "Dialogue",
    "Framer",
    "SocketDialect",
    "Text",
    "Whole",
    "expressed",
    "framer_for",
    "read_error",
    "read_models",
    "unreadable",
)
