"""One request on one connection, up to the head of its answer."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import anyio
import httpx

from g4ftrio.transports._pool import Connection
from g4ftrio.transports._sockets import LOST, read_error, reason
from g4ftrio.transports._trace import Step, Trace
from g4ftrio.transports._wire import Head, ResponseParser

__all__ = ("Call", "Exchange", "Timeouts", "Upload")

_ONE_SEND = 64 * 1024  # bytes of body that are copied behind the head, so that both leave in one packet

Timeouts: TypeAlias = Mapping[str, float | None]


class Upload:
    """A body that comes in parts, and can be sent but once.

    :param length: bytes, as the head says; None for the chunked coding
    """

    __slots__ = ("_length", "_parts", "_sent")

    def __init__(self, parts: AsyncIterable[bytes], length: int | None) -> None:
        self._parts = aiter(parts)
        self._length = length
        self._sent = 0

    async def send(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write all of it.

        :raises httpx.LocalProtocolError: if it is not as long as the head says
        """
        try:
            async for part in self._parts:
                if part:
                    await write(self._frame(part))
            await write(self._end())
        finally:
            await self._close()

    def _frame(self, part: bytes) -> bytes:
        if self._length is None:
            return b"%x\r\n%b\r\n" % (len(part), part)
        self._sent += len(part)
        if self._sent > self._length:
            raise self._mismatch("more")
        return part

    def _end(self) -> bytes:
        if self._length is None:
            return b"0\r\n\r\n"
        if self._sent < self._length:
            raise self._mismatch("less")
        return b""

    def _mismatch(self, comparison: str) -> httpx.LocalProtocolError:
        return httpx.LocalProtocolError(f"the request's body is {comparison} than its Content-Length of {self._length}")

    async def _close(self) -> None:
        """Close the iterator, which a generator needs where it was left before its end."""
        close = getattr(self._parts, "aclose", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await close()


class Call(NamedTuple):
    """A request, and how it is to be sent.

    :ivar head: as ``encode_head`` writes it; it tells the body's length
    :ivar timeouts: seconds by name: ``pool``, ``connect``, ``write``, ``read``
    :ivar subject: what the trace names as its request
    :ivar upgrade: whether it asks to go on in another protocol
    """

    method: bytes
    head: bytes
    body: bytes | Upload
    timeouts: Timeouts
    trace: Trace | None
    subject: object
    upgrade: bool = False

    def __repr__(self) -> str:
        return f"<Call {self.method.decode('latin-1')}>"  # the head has the key in it

    def __rich_repr__(self) -> Iterator[str]:
        yield repr(self)  # rich shows what is in a tuple

    def step(self, name: str) -> Step:
        """Begin to report a step of the exchange."""
        return Step(self.trace, f"http11.{name}", request=self.subject)


class Exchange:
    """Sends, and reads the answer's head. Who made it closes the connection if it fails."""

    __slots__ = ("_stream", "call", "connection", "parser")

    def __init__(self, connection: Connection, call: Call) -> None:
        self.connection = connection
        self.call = call
        self._stream = connection.stream
        self.parser = ResponseParser(call.method, upgrade=call.upgrade)

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent again if this connection had been closed before it."""
        return not self.parser.started and isinstance(self.call.body, bytes)

    async def run(self) -> tuple[Head, bytes]:
        """Send the request and wait for the answer's head; gives the body bytes that came with it, too."""
        unsent = await self._send(self.call.head, self.call.body)
        try:
            return await self._receive_head()
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            if unsent is not None and not self.parser.started:
                raise unsent from error
            raise

    async def _send(self, head: bytes, body: bytes | Upload) -> httpx.WriteError | None:
        """Send everything, or as much as the peer takes: it may answer and close before it has read all."""
        if isinstance(body, bytes) and len(body) <= _ONE_SEND:
            head, body = head + body, b""
        try:
            if self.call.trace is None:
                await self._write(head)
                await self._send_body(body)
                return None
            async with self.call.step("send_request_headers"):
                await self._write(head)
            async with self.call.step("send_request_body"):
                await self._send_body(body)
        except httpx.WriteError as error:
            return error
        return None

    async def _send_body(self, body: bytes | Upload) -> None:
        if isinstance(body, Upload):
            await body.send(self._write)
        elif body:
            await self._write(body)

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send(data, self.call.timeouts.get("write"))
        except LOST as error:
            raise httpx.WriteError(f"the connection broke while the request was sent: {reason(error)}") from error

    async def _receive_head(self) -> tuple[Head, bytes]:
        if self.call.trace is None:
            return await self._read_head()
        async with self.call.step("receive_response_headers") as step:
            head, first = await self._read_head()
            step.value = tuple(head)
        return head, first

    async def _read_head(self) -> tuple[Head, bytes]:
        parser, timeout = self.parser, self.call.timeouts.get("read")
        first = b""
        while parser.head is None:
            try:
                data = await self._stream.receive(timeout)
            except LOST as error:
                raise read_error(error) from error
            if not data:
                parser.end()
            first = parser.feed(data)
        return parser.head, first
