"""What a frame is that cannot be read as a piece of an answer: an error, the beginning of one, or nothing known."""

from __future__ import annotations

from typing import Any

import msgspec

from g4ftrio._words.errors import APIResponseValidationError, ProviderError, TruncatedError, excerpt, opening
from g4ftrio.dialects._error_body import error_in

__all__ = ("UNREADABLE", "is_cut", "is_cut_object", "note_unknown", "payload", "unreadable")

UNREADABLE = (ValueError, RecursionError)  # all that a decoder of JSON and UTF-8 raises
_CUT = "Input data was truncated"  # msgspec's words for JSON that ends too early


def unreadable(frame: bytes, error: Exception) -> ProviderError:
    """Give the error for a frame that a dialect's decoder does not take.

    :param error: what the decoder raised
    """
    if found := error_in(payload(frame)):
        return found
    if is_cut(frame):
        return TruncatedError("it ended in the middle of an event")
    return APIResponseValidationError(f"{error} in {opening(frame, 200)!r}")


def payload(frame: bytes) -> Any:
    """Decode a frame whatever is in it; None where it is not JSON."""
    try:
        return msgspec.json.decode(frame)
    except UNREADABLE:
        return None


def is_cut(frame: bytes) -> bool:
    """Whether this is the beginning of JSON; a number at the end is left out, ``0.`` is not one yet."""
    try:
        msgspec.json.decode(frame.rstrip(b"0123456789.eE+- \t\r\n"))
    except UNREADABLE as error:
        return str(error) == _CUT
    return False


def is_cut_object(frame: bytes) -> bool:
    """Whether this is the beginning of an object; of a bare word nobody knows whether more of it was to come."""
    return frame.lstrip().startswith(b"{") and is_cut(frame)


def note_unknown(what: str) -> None:
    """Say for who debugs that something of an answer was passed over; call it once an answer."""
    from logging import getLogger

    getLogger("g4ftrio").debug("an answer holds %s, which was passed over", excerpt(what, 100))
