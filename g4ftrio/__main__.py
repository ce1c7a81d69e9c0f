"""``python -m g4ftrio``."""

from __future__ import annotations

from g4ftrio.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
