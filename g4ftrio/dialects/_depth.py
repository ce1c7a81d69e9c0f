"""How deep a decoded value goes.

What was decoded high up on the stack may be too deep for whoever encodes, copies or prints it further down.
"""

from __future__ import annotations

from typing import Any

__all__ = ("is_shallow",)

_DEEPEST = 100  # lists and mappings inside each other; what services send has about ten


def is_shallow(value: Any, deepest: int = _DEEPEST) -> bool:
    """Whether it can be handed on: no deeper than 100 lists and mappings inside each other."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return deepest > 0 and all(is_shallow(each, deepest - 1) for each in value)
