"""Chance that can be repeated."""

from __future__ import annotations

from random import Random

__all__ = ("chance",)


def chance(seed: int, what: str) -> Random:
    """The random numbers of a seed for one purpose, so that what draws more of one changes nothing of another."""
    return Random(f"{seed}/{what}")  # noqa: S311  # none of them is a secret
