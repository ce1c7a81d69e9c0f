"""The race over anything that gives items, and when to start whom; it knows nothing of chats."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
