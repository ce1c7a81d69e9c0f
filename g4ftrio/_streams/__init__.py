"""One answer: how it is read, filtered, and handed to a consumer, in a loop or in a thread."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
