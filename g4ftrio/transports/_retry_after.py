"""How long a service asks to wait. No clock: the caller says what time it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ("retry_after",)

_DAY = 86_400.0
_LONGEST = 200  # characters that are read of several headers
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how many seconds a service asks to wait: ``retry-after-ms``, else ``retry-after`` (RFC 9110, 10.2.3).

    :param headers: by lower-case name
    :param now: the wall clock, in seconds since the epoch
    :return: 0 to a day, or None where nothing readable is said
    """
    asked = _number(headers.get("retry-after-ms", ""), 0.001)
    if asked is None:
        value = headers.get("retry-after", "")
        asked = _number(value, 1)
        if asked is None:
            asked = _until(value, now)
        if asked is None:  # several headers, joined by commas: what all of them allow
            several = [_number(each, 1) for each in value[:_LONGEST].split(",")]
            asked = None if None in several else max(filter(None, several), default=0.0)
    return None if asked is None else min(max(asked, 0.0), _DAY)


def _number(value: str, unit: float) -> float | None:
    match = _NUMBER.fullmatch(value.strip())
    if match is None:
        return None
    return 0.0 if match[1] == "-" else float(match[2]) * unit


def _until(value: str, now: float) -> float | None:
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value[:100])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
