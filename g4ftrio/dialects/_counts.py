"""Numbers out of what a service says of its usage, whatever it holds there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("count", "seconds")

_MOST = 2**63  # no service means more, and a float cannot hold every int that JSON can


def count(node: Any, *path: str) -> int | None:
    """Give the number at the end of a path of keys, or None where there is none."""
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return int(node) if _is_number(node) else None


def seconds(nanoseconds: Any) -> float | None:
    """Give a time in seconds, or None where it is none."""
    return nanoseconds / 1e9 if _is_number(nanoseconds) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
