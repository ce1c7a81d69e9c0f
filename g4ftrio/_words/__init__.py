"""The words: what is asked, what comes out of a stream, what goes wrong, and what is reported of it; no I/O."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
