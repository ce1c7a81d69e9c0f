"""The names of models, read out of the lists that services give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from g4ftrio._words.errors import APIResponseValidationError, opening

__all__ = ("read_models",)

_LISTS = ("data", "models", "items")
_NAMES = ("id", "name", "model", "slug")


def read_models(body: bytes) -> list[str]:
    """Read ``{"data": [{"id"}]}``, ``{"models": [{"name"}]}`` or a bare list; each name once, in its order.

    :raises APIResponseValidationError: the body holds no list of models
    """
    try:
        listed = _list_in(msgspec.json.decode(body))
    except (ValueError, RecursionError):
        listed = None
    if listed is None:
        raise APIResponseValidationError(f"the list of models is not one: {opening(body, 100)!r}")
    return list(dict.fromkeys(filter(None, map(_name, listed))))


def _list_in(payload: Any) -> list[Any] | None:
    if isinstance(payload, Mapping):
        payload = next((payload[key] for key in _LISTS if isinstance(payload.get(key), list)), None)
    return payload if isinstance(payload, list) else None


def _name(entry: Any) -> str:
    if isinstance(entry, Mapping):
        entry = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")
    return entry if isinstance(entry, str) else ""
