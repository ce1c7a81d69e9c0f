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


def exhausted_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a service that has no more to give takes the next request; None where it has, or says nothing.

    :param headers: by lower-case name
    :param now: the wall clock, in seconds since the epoch
    :return: 0 to a day
    """
    if _MARK not in "\n".join(headers):  # as in most heads
        return None
    spent = [name for name in headers if _MARK in name and "remaining" in name and _number(headers[name]) == 0]
    waits = [wait for name in spent if (wait := _wait(name, headers, now)) is not None]
    return max(waits, default=None)


def _wait(name: str, headers: Mapping[str, str], now: float) -> float | None:
    reset = _seconds(headers.get(name.replace("remaining", "reset"), ""), now)
    if reset is None:
        return None
    is_of_something = not name.endswith(f"{_MARK}remaining")  # else nobody knows what is counted
    limit = _number(headers.get(name.replace("remaining", "limit"), "")) if is_of_something else None
    need = _REQUEST if "tokens" in name else 1.0
    return min(max(reset, 0.0), _DAY) * (min(1.0, need / limit) if limit else 1.0)


def _number(value: str) -> float | None:
    value = value.strip()  # of more than what float() takes for white space
    return float(value) if _NUMBER.fullmatch(value) else None


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
