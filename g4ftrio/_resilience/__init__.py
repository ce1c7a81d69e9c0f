"""What is learned of services that misbehave, and the limits that a program sets itself."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
