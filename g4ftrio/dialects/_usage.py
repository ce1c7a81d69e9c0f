"""Numbers of tokens, found where services put them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("count",)


def count(usage: Any, *path: str) -> int | None:
    """Read a number that lies under these keys, one in the other; None where there is none, or something else."""
    for key in path:
        usage = usage.get(key) if isinstance(usage, Mapping) else None
    return int(usage) if isinstance(usage, int | float) and usage >= 0 and not isinstance(usage, bool) else None
