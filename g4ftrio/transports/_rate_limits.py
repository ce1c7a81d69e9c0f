"""What an answer's head says of the service's rate limits. No clock: the caller says what time it is.

Services count requests and tokens apart, and name the three numbers of each in one of two orders:
``x-ratelimit-remaining-requests`` or ``<vendor>-ratelimit-requests-remaining``; beside ``remaining`` there are
``limit`` and ``reset``. A reset is a duration (``20ms``, ``1s``, ``6m0s``), a number of seconds, a moment in RFC 3339,
or one in seconds or milliseconds since the epoch.

A reset is the time until the limit is *whole* again, not until one more request fits: of a limit of 5,000 requests a
minute, one request reads ``remaining 4999, reset 12ms`` (60 s / 5,000). So what is used up comes back bit by bit, and
who waits for all of it waits ``limit`` times too long: a day instead of six seconds where the limit is a daily one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ("exhausted_for",)

_MARK = "ratelimit-"
_REQUEST = 1000.0  # tokens that the next request is taken to need
_DAY = 86_400.0
_EPOCH, _EPOCH_MS = 1e9, 1e12  # numbers from here on are moments, not durations
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,12})?", re.ASCII)
_NUMBERS = frozenset({"limit", "remaining", "reset"})


def exhausted_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a service that has no more to give takes the next request; None where it has, or says nothing.

    :param headers: by lower-case name
    :param now: the wall clock, in seconds since the epoch
    :return: 0 to a day
    """
    kinds: dict[str, dict[str, str]] = {}
    for name in headers:
        if _MARK in name:
            words = name.partition(_MARK)[2].split("-")
            kind = "-".join(word for word in words if word not in _NUMBERS)
            kinds.setdefault(kind, {}).update({word: headers[name] for word in words if word in _NUMBERS})
    waits = [wait for kind, said in kinds.items() if (wait := _wait(kind, said, now)) is not None]
    return max(waits, default=None)


def _wait(kind: str, said: Mapping[str, str], now: float) -> float | None:
    if _number(said.get("remaining", "")) != 0:
        return None
    reset = _seconds(said.get("reset", ""), now)
    if reset is None:
        return None
    need = _REQUEST if "tokens" in kind else 1.0
    limit = _number(said.get("limit", "")) if kind else None  # without a kind nobody knows what is counted
    return min(max(reset, 0.0), _DAY) * (min(1.0, need / limit) if limit else 1.0)


def _number(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value.strip()) else None


def _seconds(value: str, now: float) -> float | None:
    value = value.strip()[:64]
    number = _number(value)
    if number is None:
        return _duration(value) if _PART.match(value) and "T" not in value else _until(value, now)
    if number >= _EPOCH_MS:
        return number / 1000 - now
    return number - now if number >= _EPOCH else number


def _duration(value: str) -> float | None:
    parts = _PART.findall(value)
    whole = "".join(number + unit for number, unit in parts) == value
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if whole else None


def _until(value: str, now: float) -> float | None:
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(value)
        return moment.timestamp() - now if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
