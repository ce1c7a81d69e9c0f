"""Providers made of providers: they are raced, retried, cleaned, and take over from each other."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
