"""Frames that cannot be read; what errors say is tested with the dialects that read it."""

from __future__ import annotations

import msgspec
import pytest

from g4ftrio._words.errors import APIResponseValidationError, TruncatedError
from g4ftrio.dialects._unreadable import unreadable


def judged(frame: bytes) -> Exception:
    with pytest.raises((ValueError, RecursionError)) as caught:
        msgspec.json.decode(frame, type=dict[str, int])
    return unreadable(frame, caught.value)


@pytest.mark.parametrize("frame", [b"{", b'{"a', b'{"a":', b'{"a":-', b'{"a":0.', b'{"a":"b"', b' {"a":1,\n'])
def test_the_beginning_of_json_was_cut(frame: bytes) -> None:
    error = judged(frame)
    assert isinstance(error, TruncatedError)
    assert error.message == "it ended in the middle of an event"


@pytest.mark.parametrize("frame", [b"<html>", b"\xff", b'{"a":"b"}', b"{}{}", b"[" * 100_000])
def test_what_is_of_another_form_is_shown_in_bounds(frame: bytes) -> None:
    error = judged(frame)
    assert isinstance(error, APIResponseValidationError)
    assert frame[:6].decode(errors="replace") in error.message
    assert len(error.message) < 400
