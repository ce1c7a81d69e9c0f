"""All frames of one network read, decoded in one call, which costs less than one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from g4ftrio.dialects._unreadable import UNREADABLE

__all__ = ("array_of", "decoded")

T = TypeVar("T")


def array_of(frames: Sequence[bytes]) -> bytes:
    """Give frames of JSON as one JSON array."""
    return b"[" + b",".join(frames) + b"]"


def decoded(decoder: msgspec.json.Decoder[list[T]], array: bytes, number: int) -> list[T] | None:
    """Decode that many frames; None where one is of another form, or where they are not one value each."""
    try:
        values = decoder.decode(array)
    except UNREADABLE:
        return None
    return values if len(values) == number else None
