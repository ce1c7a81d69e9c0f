"""Made-up pictures: stripes of two colours as PNG, the same for the same seed."""

from __future__ import annotations

import struct
import zlib
from random import Random

__all__ = ("draw",)

_MAGIC = b"\x89PNG\r\n\x1a\n"
_PALETTE = (1, 3, 0, 0, 0)  # one bit a pixel, an index into the palette; nothing unusual
_STRIPE = 16  # bytes, 128 pixels, before the pattern begins anew


def draw(random: Random, width: int, height: int) -> bytes:
    """Draw a picture; https://www.w3.org/TR/png-3/ has the form."""
    row = b"\0" + (random.randbytes(_STRIPE) * (width // (8 * _STRIPE) + 1))[: (width + 7) // 8]
    parts = (
        (b"IHDR", struct.pack(">2I5B", width, height, *_PALETTE)),
        (b"PLTE", random.randbytes(6)),
        (b"IDAT", zlib.compress(row * height)),
        (b"IEND", b""),
    )
    return _MAGIC + b"".join(_part(kind, data) for kind, data in parts)


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
