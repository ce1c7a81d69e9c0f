"""The body of an answer: a stream, and its connection's way back to the pool."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import inf

import anyio
import httpx
from anyio.lowlevel import cancel_shielded_checkpoint

from g4ftrio.transports._exchange import Exchange
from g4ftrio.transports._pool import Connection, Pool
from g4ftrio.transports._sockets import LOST, read_error
from g4ftrio.transports._trace import Step

__all__ = ("Body",)


class Body(httpx.AsyncByteStream):
    """The bytes of one answer. httpx reads it as an iterator, and we by ``pull``.

    The connection goes back the moment that the last byte is parsed. One that is dropped unread is closed.

    :param first: body bytes that came with the head
    """

    repeatable = True  # a cancelled `pull` loses nothing

    __slots__ = (
        "_closed",
        "_connection",
        "_decoder",
        "_error",
        "_first",
        "_parser",
        "_pool",
        "_reading",
        "_sending_timeout",
        "_step",
        "_timeout",
        "_trace",
    )

    def __init__(self, exchange: Exchange, pool: Pool, first: bytes) -> None:
        self._connection: Connection | None = exchange.connection
        self._pool = pool
        self._parser = exchange.parser
        self._decoder = exchange.parser.body
        self._first = first
        self._timeout = exchange.call.timeouts.get("read")
        self._sending_timeout = exchange.call.timeouts.get("write")
        self._trace = exchange.call.trace
        self._step = None if self._trace is None else exchange.call.step("receive_response_body")
        self._reading = False
        self._closed = False
        self._error: httpx.TransportError | None = self._parser.fault
        if self._decoder.complete or self._error is not None:
            self._release(reusable=self._parser.reusable)

    async def pull(self, until: float = inf) -> bytes:
        """Wait for body bytes: all that one read of the network brought; none at the end.

        A cancelled call loses nothing and may be repeated. An error is raised again by every later call.

        :param until: when it is late, by the loop's clock, whatever the request's ``read`` time-out says

        :raises httpx.RemoteProtocolError: if the answer is cut or broken
        :raises httpx.ReadError: if the connection broke, or the answer was closed before its end
        :raises httpx.ReadTimeout: after the request's ``read`` time-out
        :raises anyio.BusyResourceError: if another task is reading
        """
        if self._step is not None:
            return await self._pull_and_tell(self._step, until)
        if self._reading:
            raise anyio.BusyResourceError("reading from")
        if self._first:
            first, self._first = self._first, b""
            return first
        decoder, body = self._decoder, b""
        self._reading = True
        try:
            while not body and (connection := self._connection) is not None:
                data = await connection.stream.receive(self._timeout, until)
                body = decoder.feed(data) if data else decoder.end()
                if decoder.complete:
                    self._release(reusable=self._parser.reusable)
        except LOST as error:
            raise self._broken(read_error(error)) from error
        except httpx.TransportError as error:
            raise self._broken(error) from error.__cause__
        finally:
            self._reading = False
        if not body and self._error is not None:
            raise self._error
        return body

    async def send(self, data: bytes) -> None:
        """Write on a connection that goes on in another protocol. What a cancelled call has sent is unknown.

        Where the peer has closed, this does nothing: the next ``pull`` finds out, after what the peer said before.

        :raises httpx.WriteTimeout: after the request's ``write`` time-out
        """
        if self._connection is not None:
            with suppress(*LOST):
                await self._connection.stream.send(data, self._sending_timeout)

    async def _pull_and_tell(self, step: Step, until: float) -> bytes:
        await step.begin()
        self._step = None
        try:
            data = await self.pull(until)
        except httpx.TransportError as error:
            await step.end(error)
            raise
        finally:
            self._step = step
        if not data:
            await step.end()
        return data

    def _broken(self, error: httpx.TransportError) -> httpx.TransportError:
        self._error = self._error or error
        self.close_now()
        return self._error

    @property
    def is_whole(self) -> bool:
        """Whether it was read to its end, so that nothing is to be waited for."""
        return self._connection is None and not self._first and self._error is None

    def _release(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give(connection, reusable=reusable)
            self._pool.leave()

    def close_now(self) -> None:
        """Close the connection at once if the answer has not come whole; a waiting reader gets ``httpx.ReadError``.

        As often as one likes, and from any thread: elsewhere than in the loop's, where garbage may be collected, it is
        left to the loop. In a process that was forked this leaves the parent's connection, and its loop, alone.
        """
        if self._connection is not None:
            self._error = self._error or httpx.ReadError("the answer was closed before its end")
            self._drop()

    async def aclose(self) -> None:
        """Be done with the answer, from any task: the connection is kept if the answer came whole, else closed."""
        if self._closed:
            return
        self._closed = True
        if self._first:
            self._error, self._first = httpx.ReadError("the answer was closed before its end"), b""
        unfinished = self._connection is not None
        async with Step(self._trace, "http11.response_closed"):
            self.close_now()
            if unfinished:
                await cancel_shielded_checkpoint()  # asyncio closes the socket in the loop's next turn

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        data = await self.pull()
        if not data:
            raise StopAsyncIteration
        return data

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.post(partial(_drop, self._pool, connection))


def _drop(pool: Pool, connection: Connection) -> None:
    pool.give(connection, reusable=False)
    pool.leave()
