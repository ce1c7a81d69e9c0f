"""TLS over a stream of ours, by anyio's."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from math import inf

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSAttribute, TLSStream

from g4ftrio.transports._sockets import READ_SIZE, Stream

__all__ = ("TlsSocket",)


class _Plain(ByteStream):
    """Our stream, as anyio wants it; counts its reads."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reads = 0
        self.timeout: float | None = None
        self.until = inf

    async def send(self, item: bytes) -> None:
        await self.stream.send(item, self.timeout)

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:  # noqa: ARG002  # the whole of a read is taken
        data = await self.stream.receive(self.timeout, self.until)
        self.reads += 1
        if not data:
            raise anyio.EndOfStream
        return data

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.stream.close()


class TlsSocket:
    """A connection inside TLS.

    Nobody waits for the peer's good-bye (``close_notify``): HTTP's own framing says whether an answer is whole.
    """

    __slots__ = ("_plain", "_seen", "_tls")

    def __init__(self, plain: _Plain, tls: TLSStream) -> None:
        self._plain = plain
        self._tls = tls
        self._seen = -1

    @classmethod
    async def wrap(cls, stream: Stream, context: ssl.SSLContext, hostname: str) -> TlsSocket:
        """Shake hands. The stream is not closed if that fails."""
        plain = _Plain(stream)
        tls = await TLSStream.wrap(
            plain, server_side=False, hostname=hostname, ssl_context=context, standard_compatible=False
        )
        return cls(plain, tls)

    async def send(self, data: bytes, timeout: float | None) -> None:
        self._plain.timeout = timeout
        await self._tls.send(data)

    async def receive(self, timeout: float | None, until: float = inf) -> bytes:
        if self._plain.reads == self._seen:  # the last one took what had been read before, and did not wait
            await checkpoint()
        self._seen = self._plain.reads
        self._plain.timeout, self._plain.until = timeout, until
        try:
            return await self._tls.receive(READ_SIZE)
        except anyio.EndOfStream:
            return b""

    def close(self) -> None:
        self._plain.stream.close()

    def is_stale(self) -> bool:
        return self._plain.stream.is_stale() or self._has_more()

    def _has_more(self) -> bool:
        """Whether there is something inside TLS; session tickets, which come late, are none."""
        try:
            self._tls.extra(TLSAttribute.ssl_object).read(1)  # noqa: S610  # anyio's `extra`, not Django's
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        return True

    def post(self, action: Callable[[], None]) -> None:
        self._plain.stream.post(action)
