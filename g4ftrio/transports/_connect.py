"""From an origin to a connected stream: addresses, the race among them, TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import anyio
import httpx
from anyio import to_thread
from anyio.lowlevel import RunVar

from g4ftrio.transports._sockets import LOST, Stream, in_trio, reason
from g4ftrio.transports._tls import TlsSocket
from g4ftrio.transports._trace import Step, Trace

__all__ = ("Origin", "connect")

_LOOKUPS = 40  # names looked up at once, each in a thread of its own
_STAGGER = 0.25  # seconds until the next address is tried beside the first: RFC 8305, section 8


class Origin(NamedTuple):
    """Whom connections lead to."""

    scheme: str
    host: str
    port: int


class _Address(NamedTuple):
    family: int
    address: Any


async def connect(
    origin: Origin,
    *,
    context: ssl.SSLContext | None,
    server_hostname: str | None = None,
    uds: str | None = None,
    timeout: float | None = None,
    trace: Trace | None = None,
) -> Stream:
    """Open a connection.

    :param context: None for plain HTTP
    :param server_hostname: whom the certificate has to name; the origin's host by default
    :param uds: the path of a Unix socket to go through
    :param timeout: seconds for everything, from the name's look-up to the end of the TLS handshake
    :raises httpx.ConnectError: if nobody answers, or TLS fails
    :raises httpx.ConnectTimeout: after ``timeout`` seconds
    """
    whom = uds or f"{origin.host}:{origin.port}"
    try:
        with anyio.fail_after(timeout):
            return await _open(origin, context, server_hostname or origin.host, uds, timeout, trace)
    except TimeoutError as error:
        within = f" within {timeout:g} s" if timeout is not None else ""
        raise httpx.ConnectTimeout(f"no connection to {whom}{within}") from error
    except LOST as error:
        raise httpx.ConnectError(f"no connection to {whom}: {_why(error)}") from error


def _why(error: Exception) -> str:
    closed = isinstance(error, anyio.EndOfStream)
    return "the peer closed it during the TLS handshake" if closed else reason(error)


async def _open(
    origin: Origin,
    context: ssl.SSLContext | None,
    hostname: str,
    uds: str | None,
    timeout: float | None,
    trace: Trace | None,
) -> Stream:
    stream: Stream | None = None
    try:
        async with _connect_step(origin, uds, timeout, trace) as step:
            step.value = stream = await _plain(origin, uds)
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
            async with Step(
                trace,
                "connection.start_tls",
                ssl_context=context,
                server_hostname=hostname,
                timeout=timeout,
            ) as step:
                step.value = stream = await TlsSocket.wrap(stream, context, hostname)
        return stream
    except BaseException:
        if stream is not None:
            stream.close()
        raise


def _connect_step(origin: Origin, uds: str | None, timeout: float | None, trace: Trace | None) -> Step:
    options = {"timeout": timeout, "socket_options": None}
    if uds is not None:
        return Step(trace, "connection.connect_unix_socket", path=uds, **options)
    return Step(trace, "connection.connect_tcp", host=origin.host, port=origin.port, local_address=None, **options)


async def _plain(origin: Origin, uds: str | None) -> Stream:
    addresses = [_Address(socket.AF_UNIX, uds)] if uds is not None else await _resolve(origin)
    sock = await _first(addresses)
    if in_trio():
        from g4ftrio.transports._sockets_trio import TrioSocket

        return TrioSocket(sock)
    from g4ftrio.transports._sockets_asyncio import AsyncioSocket

    return await AsyncioSocket.open(sock)


async def _resolve(origin: Origin) -> list[_Address]:
    """Find the host's addresses, the families by turns.

    A name is looked up in a thread that a cancellation leaves behind: asyncio's own look-up would make the end of
    ``asyncio.run`` wait for it, for as long as the resolver pleases.
    """
    try:
        found = _look_up(origin, socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await to_thread.run_sync(_look_up, origin, 0, abandon_on_cancel=True, limiter=_limiter())
    first = [address for address in found if address.family == found[0].family]
    others = [address for address in found if address.family != found[0].family]
    return [address for address in chain(*zip_longest(first, others)) if address is not None]


def _look_up(origin: Origin, flags: int) -> list[_Address]:
    found = socket.getaddrinfo(origin.host.encode(), origin.port, type=socket.SOCK_STREAM, flags=flags)
    return [_Address(family, address) for family, _, _, _, address in found]


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("g4ftrio_lookups")


def _limiter() -> anyio.CapacityLimiter:
    """The loop's limit on look-ups, apart from the application's own on threads: a stalled one keeps its place."""
    try:
        return _limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_LOOKUPS)
        _limiters.set(limiter)
        return limiter


async def _dial(to: _Address) -> socket.socket:
    if in_trio():
        from g4ftrio.transports._sockets_trio import dial
    else:
        from g4ftrio.transports._sockets_asyncio import dial
    sock = socket.socket(to.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if to.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await dial(sock, to.address)
    return sock


async def _first(addresses: Sequence[_Address]) -> socket.socket:
    """Give the first connection that stands ("happy eyeballs", RFC 8305).

    The next address is tried after a quarter of a second, or at once where an attempt fails; the attempts that lose are
    cancelled. anyio has the same in ``connect_tcp``, but the socket cannot be taken out of its asyncio stream.
    """
    if len(addresses) == 1:
        return await _dial(addresses[0])
    race = _Race()
    try:
        await race.run(addresses)
    except BaseException:
        if race.winner is not None:
            race.winner.close()
        raise
    if race.winner is None:
        raise race.errors[0]
    return race.winner


class _Race:
    __slots__ = ("errors", "winner")

    def __init__(self) -> None:
        self.winner: socket.socket | None = None
        self.errors: list[OSError] = []

    async def run(self, addresses: Sequence[_Address]) -> None:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(self._attempt, address, failed, group.cancel_scope)
                with anyio.move_on_after(_STAGGER):
                    await failed.wait()

    async def _attempt(self, address: _Address, failed: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            sock = await _dial(address)
        except OSError as error:
            self.errors.append(error)
            failed.set()
            return
        if self.winner is None:
            self.winner = sock
            scope.cancel()
        else:
            sock.close()
