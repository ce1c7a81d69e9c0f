"""What is clean: filters that run over a stream of text, predicates over its chunks. No I/O.

A predicate is asked for every chunk of an entrant that has not won: ``(chunk, text_so_far) -> bool``, where
``text_so_far`` has all text up to and with this chunk. True lets the entrant win, False waits for more, and raising
``RejectedError`` rejects the entrant for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from g4ftrio._words.chunks import (
    AudioResponse,
    Chunk,
    Failover,
    FinishReason,
    ImageResponse,
    Reasoning,
    ToolCallDelta,
    ToolCalls,
)
from g4ftrio._words.errors import RejectedError, excerpt

__all__ = (
    "ChunkFilter",
    "Marker",
    "TextFilter",
    "is_content",
    "is_output",
    "page_title",
)

_BODY = 200  # characters of a web page's body in which it may yet say what it is, where it has no head
_UNDECIDED = 2048  # characters of a web page or a JSON object after which it passes for an answer


class Marker(Struct, frozen=True):
    """Where an unwanted passage begins and ends.

    It runs from its start to its end, both included, but never over a blank line and never further than ``reach``.

    :ivar start: the first 1 to 100 characters of the passage, the first of them not white space
    :ivar end: its last characters; without a blank line in them
    :ivar where: ``lead`` only before the first real text, white space and other passages aside, or ``anywhere``
    :ivar reach: characters of the longest passage, the start included
    """

    start: str
    end: str
    where: Literal["anywhere", "lead"] = "anywhere"
    reach: int = 500

    def __post_init__(self) -> None:
        if not 0 < len(self.start) <= 100 or self.start[0].isspace():
            raise ValueError(f"a marker's start is 1 to 100 characters, not {self.start!r}")
        if not self.end or "\n\n" in self.end:
            raise ValueError(f"a marker's end is some text without a blank line, not {self.end!r}")
        if self.reach < len(self.start):
            raise ValueError(f"a marker's reach is at least its start's length, not {self.reach}")


class TextFilter:
    """Takes marked passages out of a text that comes in pieces; where the text is cut makes no difference.

    Text is held back only while it could still be the beginning of a marker, and comes out as soon as it is not,
    at the latest at ``close``. A passage that the end of the text interrupts is removed as far as it goes. White space
    before the first real text is stripped.

    :ivar removed: characters taken out so far; the white space at the beginning is not counted
    :ivar passages: how many passages they were
    """

    def __init__(self, markers: Iterable[Marker]) -> None:
        self._markers = {marker.start: marker for marker in markers}
        self._lead = _starts(self._markers)
        self._anywhere = _starts(start for start, marker in self._markers.items() if marker.where == "anywhere")
        self._is_lead = True
        self._inside: Marker | None = None
        self._held = ""
        self.removed = 0
        self.passages = 0

    def feed(self, text: str) -> str:
        """Give what is clean and decided, often the very text."""
        text, self._held = self._held + text, ""
        clean: list[str] = []
        at = 0
        while at < len(text):
            inside = self._inside
            at = self._skip(text, at, inside) if inside else self._pass(text, at, clean)
        return "".join(clean)

    def close(self) -> str:
        """Say that no text follows; gives what was still undecided."""
        clean: list[str] = []
        while self._held and self._inside is None:  # no marker begins it, but a shorter one may stand further on in it
            first, rest, self._held = self._held[0], self._held[1:], ""
            self._is_lead = False
            clean += first, self.feed(rest)
        if self._inside is not None:
            self._count(len(self._held))
            self._held = ""
        return "".join(clean)

    def begin_again(self) -> None:
        """Forget the text so far: another one follows."""
        self._is_lead, self._inside, self._held = True, None, ""

    def _pass(self, text: str, at: int, clean: list[str]) -> int:
        """Put the text up to what begins a passage, or may begin one, into ``clean``; give where to go on."""
        found = None
        if self._is_lead:
            real = _REAL.search(text, at)
            at = real.start() if real else len(text)
            found = self._lead.match(text, at)
            self._is_lead = found is not None or real is None
        if not self._is_lead:
            found = self._anywhere.search(text, at)
        if found is None:
            clean.append(text[at:])
            return len(text)
        begin = found.start()
        clean.append(text[at:begin])
        self._inside = self._marker(found[0])
        if self._inside is None:
            self._held = text[begin:]
            return len(text)
        return begin

    def _marker(self, start: str) -> Marker | None:
        marker = self._markers.get(start)
        return marker if self._is_lead or (marker and marker.where == "anywhere") else None

    def _skip(self, text: str, at: int, marker: Marker) -> int:
        """Leave out the passage that begins there; give where to go on."""
        end = _passage_end(marker, text, at)
        if end is None:
            self._held = text[at:]
            return len(text)
        self._count(end - at)
        return end

    def _count(self, characters: int) -> None:
        self._inside = None
        self.removed += characters
        self.passages += 1


class ChunkFilter:
    """A ``TextFilter`` over chunks. What is not text passes at once and unchanged, before text that is still held.

    After a finish reason no text follows, so what is held comes out before it. An answer that begins anew takes the
    place of the one before it, and of what is held of that.
    """

    def __init__(self, markers: Iterable[Marker]) -> None:
        self._text = TextFilter(markers)

    @property
    def removed(self) -> int:
        """Characters taken out so far."""
        return self._text.removed

    @property
    def passages(self) -> int:
        """Passages taken out so far."""
        return self._text.passages

    def feed(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Give what is clean and decided: at most one text for each that came, none of them empty."""
        clean: list[Chunk] = []
        for chunk in chunks:
            if isinstance(chunk, FinishReason):
                clean += self.close()
            elif isinstance(chunk, Failover) and chunk.restarted:
                self._text.begin_again()
            passed = self._text.feed(chunk) if isinstance(chunk, str) else chunk
            if passed != "":
                clean.append(passed)
        return clean

    def close(self) -> list[Chunk]:
        """Say that no chunk follows; gives the text that was still undecided."""
        rest = self._text.close()
        return [rest] if rest else []


def is_content(chunk: Chunk, text_so_far: str) -> bool:
    """Tell whether a chunk is a piece of an answer: text, a tool call, an image or sound.

    Thinking, refusals, usage and the like are not. Text that may yet turn out to be a web page or an error's JSON is
    not either; a page passes for an answer when its head is over, or where it has none, when 200 characters of its body
    have come; an object when it is whole and no error, and each when 2,048 characters have come.

    :raises RejectedError: the text is a challenge page, a server's error page, or an error's JSON
    """
    match chunk:
        case str():
            return _SEEN.search(chunk) is not None and _is_answer(text_so_far)
        case ToolCallDelta():
            return True
        case ToolCalls():
            return bool(chunk.calls)
        case ImageResponse():
            return bool(chunk.images)
        case AudioResponse():
            return bool(chunk.data or chunk.transcript)
    return False


def is_output(chunk: Chunk, text_so_far: str) -> bool:
    """Tell whether a chunk is output of the model: content, or thinking in words.

    :raises RejectedError: as ``is_content`` does
    """
    if isinstance(chunk, Reasoning):
        return bool(chunk.text.strip())
    return is_content(chunk, text_so_far)


def page_title(page: str) -> str:
    """Give a web page's title on one line, empty if there is none or it is not whole."""
    found = _TITLE.search(page)
    return excerpt(found[1], 100) if found else ""


def _starts(markers: Iterable[str]) -> re.Pattern[str]:
    r"""Compile a pattern that finds a start, and at the end of a text also what may yet become one.

    ``abc`` becomes ``a(?:\Z|b(?:\Z|c))``. The shortest start stands first: the one that is whole first wins, and so the
    result does not depend on where the text was cut.
    """
    return re.compile("|".join(map(_growing, sorted(markers, key=len))) or "(?!)")


def _growing(start: str) -> str:
    *before, pattern = map(re.escape, start)
    for character in reversed(before):
        pattern = rf"{character}(?:\Z|{pattern})"
    return pattern


def _passage_end(marker: Marker, text: str, begin: int) -> int | None:
    """Find where the passage that begins there ends, None if that is not known yet."""
    furthest = begin + marker.reach
    found = _end(marker.end).search(text, begin + len(marker.start), furthest)
    if found:
        return found.end()
    return furthest if len(text) >= furthest else None


@lru_cache
def _end(end: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(end)}|(?=\n\r?\n)")


def _is_answer(text: str) -> bool:
    seen = _SEEN.search(text)
    text = text[seen.start() :] if seen else ""
    match text[:1]:
        case "<":
            return _is_answer_page(text)
        case "{":
            return _is_answer_object(text)
    return True


def _is_answer_page(text: str) -> bool:
    head = text[:_UNDECIDED].lower()
    if not _may_begin(head, _PAGE_OPENINGS):
        return True
    word = next((word for word in _CHALLENGE_WORDS if word in head), "")
    if word:
        raise RejectedError(f"a challenge or error page: {page_title(text) or word!r}")
    body = head.find("<body")
    is_told = "</head>" in head or "</html>" in head or 0 <= body <= len(head) - _BODY
    return is_told or len(text) >= _UNDECIDED


def _is_answer_object(text: str) -> bool:
    if not _may_begin(text[1:].lstrip(), _ERROR_KEYS):
        return True
    payload, rest = _first_object(text)
    if payload is None:
        return len(text) >= _UNDECIDED
    if rest or not _is_error(payload):
        return True
    raise RejectedError(f"an error sent as text: {_message(payload) or excerpt(text)}")


def _may_begin(text: str, openings: Iterable[str]) -> bool:
    return any(opening.startswith(text[: len(opening)]) for opening in openings)


def _first_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Give the object that the text begins with, None if it is not whole, and what follows it."""
    if "}" not in text:
        return None, ""
    from json import JSONDecoder

    try:
        payload, end = JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None, ""
    return payload, text[end:].strip()


def _is_error(payload: dict[str, Any]) -> bool:
    if payload.get("error") or payload.get("errors") or payload.get("error_message"):
        return True
    status = next((payload[key] for key in _STATUS_KEYS if isinstance(payload.get(key), int)), 0)
    return payload.keys() == {"detail"} or status >= 400


def _message(payload: Any) -> str:
    while isinstance(payload, dict):
        payload = next((payload[key] for key in _MESSAGE_KEYS if payload.get(key)), "")
    return excerpt(payload) if isinstance(payload, str) else ""


_REAL = re.compile(r"\S")
_SEEN = re.compile("[^\\s\u200b-\u200f\u2060\ufeff]")  # what is neither white space nor without width
_TITLE = re.compile(r"<title[^<>]*>([^<]*)</", re.IGNORECASE)

_PAGE_OPENINGS = ("<!doctype html", "<html")

# What challenge pages, firewalls' refusals and servers' own error pages say near their beginning, in lower case.
_CHALLENGE_WORDS = (
    "just a moment",
    "cf-chl",
    "cf_chl",
    "/cdn-cgi/",
    "challenge-platform",
    "checking your browser",
    "enable javascript and cookies",
    "verify you are human",
    "attention required",
    "captcha",
    "ddos-guard",
    "sucuri",
    "_incapsula_",
    "awswaf",
    "access denied",
    "access to this page has been denied",
    "403 forbidden",
    "too many requests",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "service temporarily unavailable",
    "gateway time-out",
    "gateway timeout",
)

_ERROR_KEYS = ('"error"', '"errors"', '"error_message"', '"detail"', '"message"')
_MESSAGE_KEYS = ("message", "error_message", "error", "errors", "detail")
_STATUS_KEYS = ("status", "statusCode", "status_code", "code")
