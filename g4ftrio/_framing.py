"""Bytes to frames, without I/O: Server-Sent Events, newline-delimited JSON, text, a whole body.

Frames do not depend on where the network cut the bytes, and the time is linear in the bytes whatever the cuts. What
came before something unreadable is given first: the error waits for the next call.
"""

from __future__ import annotations

from typing import Protocol, Self

from g4ftrio._cleaning import page_title
from g4ftrio._words.errors import APIResponseValidationError, excerpt

__all__ = ("NDJSON", "SSE", "Framer", "NamedFrame", "Text", "Whole", "framer_for")

_MIB = 2**20
_BOM = b"\xef\xbb\xbf"
_CR, _LF = b"\r\n"  # as integers, which `in` finds several times faster than bytes: 0.05 µs in an event, not 0.3
_PAGE_HEAD = 2048  # bytes of a web page in which its title is looked for


class Framer(Protocol):
    """Cuts one body into frames."""

    def feed(self, data: bytes) -> list[bytes]:
        """Give the frames that this read completed.

        :raises APIResponseValidationError: the body is not of this form, or a frame is over its limit
        """

    def close(self) -> list[bytes]:
        """Give what was unfinished at the end of the body; call it once, and ``feed`` no more.

        :raises APIResponseValidationError: as ``feed`` does
        """


class NamedFrame(bytes):
    """The data of an event that has a name, for who wants to know; for the others plain bytes."""

    event: str

    def __new__(cls, data: bytes, event: str) -> Self:
        frame = super().__new__(cls, data)
        frame.event = event
        return frame


class SSE:
    """Server-Sent Events: an event's data is a frame, a ``NamedFrame`` if its name is not ``message``.

    Two differences from https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream:
    an event with empty data gives nothing, because services send such to keep a connection alive; and the data of
    an event that the end of the body interrupts is given at ``close``, because services leave out the last blank line.

    :param limit: bytes of the longest event, its line ends included
    """

    def __init__(self, limit: int = 16 * _MIB) -> None:
        self._units = _Units(b"\n\n", limit, "an event")
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Give the events that this read completed."""
        if self._after_cr or _CR in data:
            data = self._unify(data)
        return _events(self._units.feed(data))

    def close(self) -> list[bytes]:
        """Give the data of the unfinished event."""
        return _events(self._units.close())

    def _unify(self, data: bytes) -> bytes:
        """Make every line end a newline. A CR ends its line at once; if an LF comes in the next read, it is dropped."""
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class NDJSON:
    """Newline-delimited JSON: a line is a frame, blank ones are none.

    :param limit: bytes of the longest line, its end included
    """

    def __init__(self, limit: int = 16 * _MIB) -> None:
        self._units = _Units(b"\n", limit, "a line")

    def feed(self, data: bytes) -> list[bytes]:
        """Give the lines that this read completed."""
        return _lines(self._units.feed(data))

    def close(self) -> list[bytes]:
        """Give the last line, if no newline ended it."""
        return _lines(self._units.close())


class Text:
    """Every read is a frame, as it came: a character may be cut in two."""

    def feed(self, data: bytes) -> list[bytes]:
        """Give the read."""
        return [data] if data else []

    def close(self) -> list[bytes]:
        """Give nothing."""
        return []


class Whole:
    """The whole body is one frame, given at ``close``; an empty one is none.

    :param limit: bytes of the longest body
    """

    def __init__(self, limit: int = 64 * _MIB) -> None:
        self._body = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Keep the read."""
        if len(self._body) + len(data) > self._limit:
            raise _too_long("a body", self._limit)
        self._body += data
        return []

    def close(self) -> list[bytes]:
        """Give the body."""
        body = bytes(self._body).removeprefix(_BOM)
        return [body] if body.strip() else []


def framer_for(content_type: str) -> Framer:
    """Give a framer that goes by the answer's first bytes, and where they show nothing, by its content type.

    The bytes count for more because services mislabel: JSON errors are sent as ``text/event-stream``, events as
    ``application/json``. A web page is an ``APIResponseValidationError`` with the page's title.

    :param content_type: the header's value, empty if there was none
    """
    return _Sniffed(content_type)


class _Sniffed:
    """Holds an answer's beginning until it shows a framing; white space before it is dropped."""

    def __init__(self, content_type: str) -> None:
        self._type = content_type.partition(";")[0].strip().lower()
        self._first = b""
        self._framer: Framer | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Give the frames that this read completed, none until the framing is known."""
        if self._framer is not None:  # who took hold of this method before
            return self._framer.feed(data)
        self._first = (self._first + data).removeprefix(_BOM).lstrip()
        if self._is_undecided():
            return []
        return self._decide().feed(self._first)

    def close(self) -> list[bytes]:
        """Give what was unfinished."""
        if self._framer is not None:
            return self._framer.close()
        framer = self._decide()
        return framer.feed(self._first) + framer.close()

    def _is_undecided(self) -> bool:
        first = self._first
        if first.startswith(b"data: "):
            return False
        if first.startswith(b"<"):
            return len(first) < _PAGE_HEAD and not _title(first)
        return any(sign.startswith(first) and sign != first for sign in (*_SIGNS, _BOM))

    def _decide(self) -> Framer:
        named = _BY_TYPE.get(self._type, Whole)
        shown = next((framer for sign, framer in _SIGNS.items() if self._first.startswith(sign)), None)
        if shown is None and (self._first.startswith(b"<") or (self._first and self._type in _PAGES)):
            raise _web_page(self._first)
        if shown is Whole and named is NDJSON:
            shown = NDJSON
        self._framer = (shown or named)()
        self.feed = self._framer.feed  # type: ignore[method-assign]  # from here on a read goes there without a detour
        return self._framer


class _Units:
    """Bytes up to the last separator, the rest held until more comes.

    :param limit: bytes of the longest unit, one byte of the separator included
    :param what: a unit's name in the error
    """

    def __init__(self, separator: bytes, limit: int, what: str) -> None:
        self._separator = separator
        self._limit = limit
        self._what = what
        self._held = bytearray()
        self._is_first = True
        self._is_over = False

    def feed(self, data: bytes) -> bytes:
        """Give the units that are complete, with separators between them and none at the end."""
        plain = not (self._held or self._is_first or self._is_over) and len(data) <= self._limit
        if plain and data.endswith(self._separator):  # as nearly every read
            return data[: -len(self._separator)]
        whole = b"" if self._is_over else self._take(data)
        if whole and self._is_first:
            self._is_first = False
            whole = whole.removeprefix(_BOM)
        if self._is_over and not whole:
            raise _too_long(self._what, self._limit)
        return whole

    def close(self) -> bytes:
        """Give the unit that no separator ended."""
        if self._is_over:
            raise _too_long(self._what, self._limit)
        rest = bytes(self._held)
        return rest.removeprefix(_BOM) if self._is_first else rest

    def _take(self, data: bytes) -> bytes:
        held, separator = self._held, self._separator
        if held:
            unsearched = max(0, len(held) + 1 - len(separator))
            held += data
            if held.find(separator, unsearched) >= 0:
                data = bytes(held)
                held.clear()
            else:
                data = b""
        whole, _, rest = data.rpartition(separator)
        held += rest
        if len(whole) >= self._limit:
            whole = self._until_too_long(whole)
        if len(held) > self._limit:
            self._is_over = True
        return whole

    def _until_too_long(self, whole: bytes) -> bytes:
        units = whole.split(self._separator)
        for index, unit in enumerate(units):
            if len(unit) >= self._limit:
                self._is_over = True
                return self._separator.join(units[:index])
        return whole


def _events(whole: bytes) -> list[bytes]:
    """Read blocks of lines with blank lines between them: all at once if each is one line of data."""
    if whole.startswith(b"data: "):
        frames = whole[6:].split(b"\n\ndata: ")
        if _LF not in b"".join(frames) and b"" not in frames:
            return frames
    return [frame for block in whole.split(b"\n\n") if (frame := _event(block))]


def _event(block: bytes) -> bytes:
    head, _, last = block.rpartition(b"\ndata: ")
    if head.startswith(b"event: ") and _LF not in head and _LF not in last:
        return _frame(last, head[7:])
    data: list[bytes] = []
    name = b""
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return _frame(b"\n".join(data), name)


def _frame(data: bytes, name: bytes) -> bytes:
    if not data or name in {b"", b"message"}:
        return data
    return NamedFrame(data, name.decode(errors="replace"))


def _lines(whole: bytes) -> list[bytes]:
    return [line for raw in whole.split(b"\n") if (line := raw.strip())]


def _title(page: bytes) -> str:
    return page_title(page.decode(errors="replace"))


def _web_page(page: bytes) -> APIResponseValidationError:
    said = _title(page) or excerpt(page.decode(errors="replace"), 100)
    return APIResponseValidationError(f"a web page came instead of an answer: {said!r}")


def _too_long(what: str, limit: int) -> APIResponseValidationError:
    return APIResponseValidationError(f"{what} is longer than {limit:,} bytes")


_SIGNS: dict[bytes, type[SSE | NDJSON | Whole]] = {
    b"data:": SSE,
    b"event:": SSE,
    b"id:": SSE,
    b"retry:": SSE,
    b":": SSE,
    b"{": Whole,
    b"[": Whole,
}

_BY_TYPE: dict[str, type[SSE | NDJSON | Whole]] = {
    "text/event-stream": SSE,
    "application/jsonl": NDJSON,
    "application/ndjson": NDJSON,
    "application/stream+json": NDJSON,
    "application/x-jsonl": NDJSON,
    "application/x-ndjson": NDJSON,
}

_PAGES = frozenset({"application/xhtml+xml", "text/html"})
