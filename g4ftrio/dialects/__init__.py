"""Wire formats: requests in, bodies out; frames in, chunks out. No I/O."""

__all__: tuple[str, ...] = ()
