"""Drawing: numbers as lines of text and as SVG; no I/O."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
