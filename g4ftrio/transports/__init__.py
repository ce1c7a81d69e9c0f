"""The only sockets."""

__all__: tuple[str, ...] = ()
