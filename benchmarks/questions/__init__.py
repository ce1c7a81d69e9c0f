"""The questions, a module each: ``QUESTION`` declares what is asked and shown, ``measure`` answers it."""

__all__ = ("NAMES",)

NAMES = (
    "packed",
    "single",
    "fan",
    "first_chunk",
    "race",
    "leftovers",
    "pool",
    "held",
    "many",
    "imports",
    "size",
)
