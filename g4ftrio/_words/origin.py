"""Where an address leads: what decides which key may go there."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

__all__ = ("PORTS", "as_http", "is_loopback", "origin")

PORTS = {"http": 80, "https": 443}

_WEBSOCKET = re.compile(r"ws(?=s?://)", re.IGNORECASE)
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")  # not 127.example.net


def as_http(address: str) -> str:
    """The address that a WebSocket's begins as: HTTP's, from which the connection then changes (RFC 6455, 1.2)."""
    return _WEBSOCKET.sub("http", address, count=1) if _WEBSOCKET.match(address) else address


@lru_cache(maxsize=512)
def origin(address: str) -> str:
    """Scheme, host and port.

    :raises ValueError: the port is none
    """
    parts = urlsplit(address)
    port = parts.port or PORTS.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    return host is not None and (
        host in ("localhost", "::1") or host.endswith(".localhost") or _LOOPBACK.fullmatch(host) is not None
    )
