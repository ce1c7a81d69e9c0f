"""What went wrong, read out of whatever a service sent to say so.

The forms that services send: ``{"error": {"message", "code"}}``, ``{"error": "text"}``, ``{"error": true, "message"}``,
``{"error_message"}``, ``{"errors": [...]}``, ``{"message"}``, ``{"detail": "text"}`` and FastAPI's
``{"detail": [{"loc", "msg"}]}``, each of them also in a list, plain text, and HTML pages; beside a message, ``details``
with a reason and a delay (https://google.aip.dev/193). Nothing here raises.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from g4ftrio._cleaning import page_title
from g4ftrio._words.errors import (
    APIStatusError,
    excerpt,
    status_error,
)

__all__ = ("error_in", "read_error", "retry_delay")

_BYTES = 65_536  # of a body that are looked at
_DEPTH = 6  # how deep a message may be buried
_SEVERAL = 5  # of a list of errors that are repeated
_WORDS = ("message", "msg", "detail", "error_message", "error", "errors", "title", "description", "reason")
_MARKS = ("error", "errors", "error_message")
_CODES = ("code", "status", "status_code", "type")
_DELAY = re.compile(r"(\d+(?:\.\d*)?)s", re.ASCII)
_TAG = re.compile(r"<(?:script|style)\b[^<>]*>[^<]*|<[^<>]*>", re.IGNORECASE)  # with what is in these two
_DAY = 86_400.0


def read_error(body: bytes) -> tuple[str, str]:
    """Find the message and the code, either of which may be empty, in the body of an error answer."""
    payload = _json(body)
    if payload is not None:
        return excerpt(_words(payload)), _code(payload)
    text = body[:_BYTES].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        from html import unescape

        text = unescape(page_title(text) or _TAG.sub(" ", text))
    return excerpt(text), ""


def error_in(payload: Any) -> APIStatusError | None:
    """Give the error that a decoded payload, or one of the first in a list, is; None where it is something else.

    :param payload: JSON that came where a piece of an answer was due
    """
    payloads = payload[:_SEVERAL] if isinstance(payload, list) else [payload]
    return next((_error_of(each) for each in payloads if isinstance(each, Mapping) and _is_error(each)), None)


def _error_of(payload: Mapping[str, Any]) -> APIStatusError:
    code = _code(payload)
    return status_error(_status(payload), _words(payload) or code, code=code, retry_after=_delay(payload))


def retry_delay(body: bytes) -> float | None:
    """Find how many seconds, up to a day, an error answer asks in its body to wait; None where it does not.

    :param body: of an answer whose header says nothing of it
    """
    return _delay(_json(body))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body.removeprefix(BOM_UTF8))
    except (ValueError, RecursionError):
        return None


def _is_error(payload: Mapping[str, Any]) -> bool:
    if any(payload.get(mark) for mark in _MARKS):
        return True
    kinds = [kind for kind in (payload.get("object"), payload.get("type")) if kind]
    if kinds:
        return any("error" in kind.lower() for kind in kinds if isinstance(kind, str)) or _status(payload) is not None
    said = payload.get("message")  # on some wires an object, which is a piece of the answer
    return bool(payload.get("detail") or (isinstance(said, str) and said))


def _words(node: Any, depth: int = _DEPTH) -> str:
    """Dig for the first text that people can read."""
    if isinstance(node, str):
        return node
    if depth and isinstance(node, list):
        return "; ".join(filter(None, (_words(child, depth - 1) for child in node[:_SEVERAL])))
    if not depth or not isinstance(node, Mapping):
        return ""
    inner = node.get("error")
    if isinstance(inner, Mapping | list) and (said := _words(inner, depth - 1)):
        return said
    said = next(filter(None, (_words(node.get(key), depth - 1) for key in _WORDS)), "")
    return _place(node) + said + _cause(node) if said else ""


def _place(node: Mapping[str, Any]) -> str:
    """Where in the request it was, in FastAPI's form: ``["body", "messages", 0]``."""
    where = node.get("loc")
    steps = [str(step) for step in where[:_SEVERAL] if isinstance(step, str | int)] if isinstance(where, list) else []
    return ".".join(steps) + ": " if steps else ""


def _cause(node: Mapping[str, Any]) -> str:
    """What the service behind a gateway said, in the gateways' form: ``{"metadata": {"raw": ...}}``."""
    metadata = node.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f" ({excerpt(raw, 300)})" if isinstance(raw, str) and raw else ""


def _levels(payload: Any) -> list[Mapping[str, Any]]:
    """The mappings that may name a code: the innermost ``error`` first."""
    levels: list[Mapping[str, Any]] = []
    while len(levels) < _DEPTH:
        if isinstance(payload, list):
            payload = payload[0] if payload else None
        if not isinstance(payload, Mapping):
            break
        levels.append(payload)
        payload = payload.get("error")
    return levels[::-1]


def _details(payload: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """Give what is told apart from the message, of one type."""
    for level in _levels(payload):
        details = level.get("details")
        for detail in details[:_SEVERAL] if isinstance(details, list) else ():
            if isinstance(detail, Mapping) and isinstance(name := detail.get("@type"), str) and name.endswith(kind):
                yield detail


def _delay(payload: Any) -> float | None:
    told = (detail.get("retryDelay") for detail in _details(payload, ".RetryInfo"))
    read = (_DELAY.fullmatch(delay[:30]) for delay in told if isinstance(delay, str))
    return next((min(float(delay[1]), _DAY) for delay in read if delay), None)


def _code(payload: Any) -> str:
    for detail in _details(payload, ".ErrorInfo"):
        if isinstance(reason := detail.get("reason"), str) and reason:
            return excerpt(reason, 100)
    for level in _levels(payload):
        for key in _CODES:
            code = level.get(key)
            if isinstance(code, str | int) and not isinstance(code, bool) and code != "":
                return excerpt(str(code), 100)
    return ""


def _status(payload: Any) -> int | None:
    for level in _levels(payload):
        for key in _CODES:
            code = level.get(key)
            if isinstance(code, str) and len(code) == 3 and code.isascii() and code.isdigit():
                code = int(code)
            if isinstance(code, int) and 400 <= code <= 599:
                return code
    return None
