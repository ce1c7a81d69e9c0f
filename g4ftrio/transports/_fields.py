"""Header fields: those of a request as bytes, checked, and those of an answer by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from g4ftrio._words.errors import SetupError

__all__ = ("Fields", "check_fields", "encode_fields")

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")  # RFC 9110, 5.5


class Fields(Mapping[str, str]):
    """An answer's header fields, by name whatever its case; several of one name are joined by commas."""

    __slots__ = ("_fields",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._fields: dict[str, str] = {}
        several: dict[str, list[str]] = {}
        for name, value in raw:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            if key in self._fields:
                several.setdefault(key, [self._fields[key]]).append(text)
            else:
                self._fields[key] = text
        for key, texts in several.items():
            self._fields[key] = ", ".join(texts)

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def encode_fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Encode header fields: httpx, given text, puts the value of one that is not ASCII into its error.

    :raises SetupError: one has a character that cannot be sent; its value is not shown
    """
    lower = {"accept-encoding": "identity"} | {name.lower(): value for name, value in headers.items()}
    return [_field(name, value) for name, value in lower.items()]


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    if not (name.isascii() and (value.isascii() or max(value) <= "\xff")):  # the codec's error would hold the value
        raise _bad_field(name)
    return name.encode("ascii"), value.encode("latin-1")


def check_fields(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """See that every field can be sent.

    :raises SetupError: as above
    """
    for name, value in fields:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise _bad_field(name.decode("latin-1"))


def _bad_field(name: str) -> SetupError:
    return SetupError(
        f"the header {name!r} cannot be sent: it has a line break, a control character, a space at an end, "
        "or a character outside latin-1. Check the key, and the headers that you pass."
    )
