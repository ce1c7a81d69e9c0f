"""TLS for hosts that are nowhere."""

from __future__ import annotations

import ssl
from typing import NamedTuple, Self

import trustme

__all__ = ("Certified",)


class Certified(NamedTuple):
    """A server's context with a certificate, and a client's that trusts who signed it."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def of(cls, *hosts: str) -> Self:
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert(*hosts).configure_cert(server)
        authority.configure_trust(client)
        return cls(server, client)
