"""The short way out: a call of ours on a client of ours goes to the transport without httpx's client between.

Building httpx's request and passing it through its client is more than half of what a request costs (140 of 240 µs).
The bytes that are sent are the same. If the client was given what changes requests, an ``auth`` or a cookie say, or the
address is one that httpx would have to put right, the call takes the long way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from g4ftrio._words.origin import PORTS
from g4ftrio._words.secrets import SecretBytes
from g4ftrio.transports._fields import check_fields, encode_fields

if TYPE_CHECKING:
    import httpx

    from g4ftrio._words.request import Call
    from g4ftrio.transports._http1 import Http1Transport, Origin

__all__ = ("Direct", "Place", "direct", "may_go_direct", "place", "transport_of")

_PLAIN = re.compile(r"[!$&-;=?-Z_a-z~%]*")  # a target in which httpx quotes nothing
_HOST = re.compile(r"[a-z0-9.-]+")  # one that needs neither IDNA nor brackets
_HEADS = 32  # that are kept
_CHANGING = ("auth", "base_url", "cookies", "event_hooks", "params")  # options that change requests


class Direct:
    """A client's transport, and the fields that the client puts on every request."""

    def __init__(self, client: httpx.AsyncClient, transport: Http1Transport) -> None:
        from g4ftrio.transports._wire import encode_head

        self.transport = transport
        self._encode = encode_head
        self._heads: dict[object, bytes] = {}  # a program asks in few ways, and writing a head takes 20 µs
        self._raw = client.headers.raw
        self._fields = [(name.lower(), (name, value)) for name, value in self._raw]

    def fits(self, client: httpx.AsyncClient) -> bool:
        """Whether the client still changes nothing else."""
        if client.auth is not None or any(client.event_hooks.values()) or client.params or _is_mocked(client):
            return False
        return client.headers.raw == self._raw and not any(True for _ in client.cookies.jar)

    def head(self, call: Call, where: Place) -> bytes:
        """Write a request's head as httpx would: a call's own fields go before the client's.

        :raises SetupError: a field that cannot be sent
        """
        key = (call.method, where, *call.headers.items())
        head = self._heads.get(key)
        if "Upgrade" in call.headers:  # has a field that is new each time
            head = self._written(call, where)
        elif head is None:
            if len(self._heads) == _HEADS:
                self._heads.clear()
            head = self._heads[key] = self._written(call, where)
        return head + (b"Content-Length: %d\r\n\r\n" % len(call.body) if call.body else b"\r\n")

    def _written(self, call: Call, where: Place) -> bytes:
        """Write the head but for its last line, which tells the body's length, and the blank one."""
        fields = encode_fields(call.headers)
        check_fields(fields)
        own = {name for name, _ in fields}
        shared = (field for name, field in self._fields if name not in own)
        head = self._encode(call.method.encode("ascii"), where.target, [(b"Host", where.host), *shared, *fields])
        return SecretBytes(head.removesuffix(b"\r\n"))


def _is_mocked(client: httpx.AsyncClient) -> bool:
    """Whether a test stands between the clients and their transports, as respx does."""
    routing = getattr(type(client), "_transport_for_url", None)
    return not getattr(routing, "__module__", "").startswith("httpx")


class Place(NamedTuple):
    """Where a call goes: whom to connect to, the ``Host`` field, and the target."""

    origin: Origin
    host: bytes
    target: bytes


_clients: WeakKeyDictionary[httpx.AsyncClient, Direct] = WeakKeyDictionary()


def may_go_direct(client: httpx.AsyncClient, transport: Http1Transport, options: Mapping[str, object]) -> None:
    """Let calls on this client go directly to its transport, if nothing among its options changes requests."""
    if not any(options.get(name) for name in _CHANGING):
        _clients[client] = Direct(client, transport)


def direct(client: httpx.AsyncClient) -> Direct | None:
    """The short way of a client, where it has one."""
    found = _clients.get(client)
    return found if found is not None and found.fits(client) else None


def transport_of(client: httpx.AsyncClient) -> Http1Transport | None:
    """Our own transport of a client, where it has one."""
    found = _clients.get(client)
    return None if found is None else found.transport


@lru_cache(maxsize=256)
def place(url: str) -> Place | None:
    """Where a URL leads; None for one that httpx must look at."""
    from g4ftrio.transports._http1 import Origin

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in PORTS:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if "@" in parts.netloc or "/." in target or not (_HOST.fullmatch(host) and _PLAIN.fullmatch(target)):
        return None
    named = host if port == PORTS[parts.scheme] else f"{host}:{port}"
    return Place(Origin(parts.scheme, host, port), named.encode("ascii"), target.encode("ascii"))
