"""What is asked: the words on the command line, and what is piped in."""

from __future__ import annotations

import sys

from g4ftrio._words.errors import MessagesError

__all__ = ("read_prompt",)


def read_prompt(words: str | None) -> str:
    """Put the prompt together; ``-`` or none stands for standard input, which else follows it after a blank line.

    :raises MessagesError: there is none, or it is not text
    """
    if words is not None and not _is_text(words):
        raise MessagesError("the prompt is not text in the terminal's encoding")
    spoken = "" if words in (None, "-") else (words or "").strip()
    piped = _piped(wanted=words == "-").strip()
    prompt = "\n\n".join(part for part in (spoken, piped) if part)
    if not prompt:
        raise MessagesError("the prompt is empty: write it behind the command, or pipe it in")
    return prompt


def _piped(*, wanted: bool) -> str:
    if sys.stdin is None or (sys.stdin.isatty() and not wanted):
        return ""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise MessagesError(f"standard input is not UTF-8 text (its byte {error.start} is none)") from None


def _is_text(words: str) -> bool:
    # Python keeps bytes of an argument that are not text as lone surrogates, which cannot be sent.
    return words.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in words)
