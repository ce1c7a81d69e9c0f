"""The sockets: simulated services listening on loopback, and what they saw."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Self

from anyio import (
    CancelScope,
    WouldBlock,
    create_memory_object_stream,
    create_task_group,
    current_time,
    move_on_after,
    sleep,
    sleep_forever,
    sleep_until,
    wait_readable,
)
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from g4ftrio.simulator._dialects import SOCKETS, base_of
from g4ftrio.simulator._exchange import Exchange, Outcome
from g4ftrio.simulator._http1 import Request, RequestReader
from g4ftrio.simulator._peer import Peer
from g4ftrio.simulator._plan import Plan, Step, plan
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._socket_wire import Session
from g4ftrio.simulator._wire import Ending

if TYPE_CHECKING:
    from g4ftrio.simulator._websocket import Conversation

__all__ = ("Fleet", "Running", "serve")

_BACKLOG = 1024
_LINGER = 1.0  # seconds that a client has to read the last answer before the connection is closed under it
_LOG_LIMIT = 100_000
_PIPELINED = 16
_QUIET_STEP = 0.002  # seconds


class Running:
    """A service that is listening.

    :ivar api_base: what a client calls the API base
    :ivar spec: what ``g4ftrio`` calls it: ``provider/model@base``
    :ivar log: what was asked, oldest first
    """

    def __init__(self, service: Service, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        self.service = service
        self.api_base = f"http://{address}:{port}{base_of(service.dialect)}"
        self.spec = f"{service.dialect}/{service.models[0]}@{self.api_base}"
        self.log: list[Exchange] = []
        self._listener = listener
        self._open: set[_Connection] = set()
        self._asked = 0

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return sum(connection.pending for connection in self._open)

    def __repr__(self) -> str:
        return f"<{self.spec} {self.connections} open, {self.in_flight} in flight>"

    async def _listen(self, tasks: TaskGroup) -> None:
        while True:
            await wait_readable(self._listener)
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # it was gone before we came to it
                continue
            except OSError:  # no descriptor is free; one may be soon
                await sleep(0.1)
                continue
            connection = _Connection(self, Peer(accepted))
            self._open.add(connection)
            tasks.start_soon(connection.run, name=f"simulator {self.service.name}")

    def _watched(self) -> Iterator[int]:
        yield self._listener.fileno()
        yield from (connection.peer.fileno() for connection in self._open)

    def _plan(self, request: Request) -> tuple[Plan, Exchange]:
        """Decide about a request, and begin its record."""
        decide = plan
        if self.service.dialect in SOCKETS:
            from g4ftrio.simulator._websocket import plan_upgrade as decide  # it loads the websockets library
        decided = decide(self.service, request, self._asked, int(time.time()))
        self._asked += decided.is_chat
        return decided, self._begin(decided, request)

    def _number(self) -> int:
        """Count a further question on a socket."""
        self._asked += 1
        return self._asked - 1

    def _begin(self, decided: Plan, request: Request) -> Exchange:
        exchange = Exchange(
            request_id=decided.name,
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=decided.body,
            status=decided.status,
            fault=decided.fault,
            asked_at=current_time(),
        )
        self.log.append(exchange)
        del self.log[:-_LOG_LIMIT]
        return exchange


class _Connection:
    """One client's connection: a task that reads all the time, and so sees the client go, and one that answers."""

    def __init__(self, running: Running, peer: Peer) -> None:
        self.peer = peer
        self.pending = 0
        self._running = running
        self._is_gone = False
        self._send = peer.send
        self._conversation: Conversation | None = None

    async def run(self) -> None:
        requests, queue = create_memory_object_stream[Request](_PIPELINED)
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._read, requests, tasks.cancel_scope)
                with queue:
                    await self._answer(queue)
                tasks.cancel_scope.cancel()
        finally:
            self._running._open.discard(self)
            self.peer.close()

    async def _read(self, requests: MemoryObjectSendStream[Request], scope: CancelScope) -> None:
        reader = RequestReader()
        with requests:
            while data := await self.peer.receive():
                if self._conversation is not None:
                    if not await self._conversation.hear(data):
                        break
                    continue
                for request in reader.feed(data):
                    try:
                        requests.send_nowait(request)
                    except WouldBlock:  # nobody pipelines so many
                        return scope.cancel()
                    self.pending += 1
        self._is_gone = True
        return scope.cancel()

    async def _answer(self, queue: MemoryObjectReceiveStream[Request]) -> None:
        async for request in queue:
            ending = await self._exchange(request)
            self.pending -= 1
            if ending is Ending.RESET:
                return self.peer.abort()
            if ending is not None or not request.keep_alive:
                break
        # Closed while it has something unread, a socket resets the connection, and the client may lose the answer.
        self.pending = 0
        self.peer.finish()
        await sleep(_LINGER)
        return None

    async def _exchange(self, request: Request) -> Ending | None:
        """Answer one request; tell how that ended the connection, if it did."""
        decided, exchange = self._running._plan(request)
        if decided.session is not None:
            return await self._converse(decided, decided.session, exchange, request)
        with self._recorded(exchange):
            try:
                return await self._perform(decided.steps, exchange)
            except OSError:
                self._is_gone = True
                return Ending.RESET

    async def _converse(self, opening: Plan, session: Session, exchange: Exchange, request: Request) -> Ending:
        """Open a socket, and answer one question on it after another; the first has the record of the upgrade."""
        from g4ftrio.simulator._websocket import Conversation

        running = self._running
        numbers = chain((running._asked - 1,), iter(running._number, None))
        conversation = Conversation(running.service, session, self.peer, numbers.__next__)
        self._conversation, self._send = conversation, conversation.send
        with self._recorded(exchange):
            await self._perform(opening.steps, exchange)
            await conversation.greet()
            asked = await conversation.question()
            exchange.body, exchange.status, exchange.fault = asked.body, asked.status, asked.fault
            ending = await self._perform(asked.steps, exchange)
        while ending is None:
            self.pending -= 1
            asked = await conversation.question()
            self.pending += 1
            exchange = running._begin(asked, request)
            with self._recorded(exchange):
                ending = await self._perform(asked.steps, exchange)
        return ending

    @contextmanager
    def _recorded(self, exchange: Exchange) -> Iterator[None]:
        """Note what becomes of a request."""
        outcome: Outcome = "stopped"
        try:
            yield
            outcome = "fault" if exchange.fault else "refused" if exchange.status >= 400 else "complete"
        finally:
            exchange.outcome = "client_gone" if self._is_gone else outcome
            exchange.ended_at = current_time()

    async def _perform(self, steps: Iterator[Step], exchange: Exchange) -> Ending | None:
        due = current_time()
        for step in steps:
            due += step.wait
            if due > current_time():
                await sleep_until(due)
            if step.data:
                await self._send(step.data)
            if step.tokens and exchange.first_token_at is None:
                exchange.first_token_at = current_time()
            exchange.tokens_sent += step.tokens
            if step.ending is Ending.SILENCE:
                await sleep_forever()
            if step.ending is not None:
                return step.ending
        return None


class Fleet(Mapping[str, Running]):
    """Services by name, listening between ``async with`` and its end."""

    def __init__(self, services: Sequence[Service], host: str, ports: int) -> None:
        names = [service.name for service in services]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"services need different names: {', '.join(sorted(twice))} is there twice")
        self._services = tuple(services)
        self._host = host
        self._ports = ports
        self._running: dict[str, Running] = {}
        self._closing = ExitStack()

    def __getitem__(self, name: str) -> Running:
        return self._running[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def __repr__(self) -> str:
        return f"<Fleet {list(self._running.values())}>"

    async def __aenter__(self) -> Self:
        if self._running:
            raise RuntimeError("this fleet is running or has run: call serve(...) again for another")
        with ExitStack() as sockets:
            for n, service in enumerate(self._services):
                listener = _listener(service, self._host, self._ports and self._ports + n)
                self._running[service.name] = Running(service, sockets.enter_context(listener))
            self._closing = sockets.pop_all()
        self._tasks = await create_task_group().__aenter__()
        for running in self._running.values():
            self._tasks.start_soon(running._listen, self._tasks, name=f"simulator {running.service.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        with self._closing:
            try:
                return await self._tasks.__aexit__(kind, error, trace)
            except BaseExceptionGroup as group:
                if group.exceptions == (error,):
                    return False  # what the body raised leaves bare
                raise

    async def quiet(self, seconds: float = 5.0) -> None:
        """Wait until no request is being answered, nor on its way here.

        :param seconds: how long to wait
        :raises TimeoutError: names the services that are not quiet yet
        """
        with move_on_after(seconds):
            while any(running.in_flight for running in self.values()) or self._is_called():  # noqa: ASYNC110  # no event tells what waits in the system
                await sleep(_QUIET_STEP)
            return
        busy = [f"{running.service.name} ({running.in_flight})" for running in self.values() if running.in_flight]
        raise TimeoutError(f"after {seconds:g} s, requests are still being answered: {', '.join(busy)}")

    def _is_called(self) -> bool:
        """Whether the system holds something that the tasks here have not seen: a client come, gone or talking."""
        with selectors.DefaultSelector() as selector:
            for running in self.values():
                for descriptor in running._watched():
                    selector.register(descriptor, selectors.EVENT_READ)
            return bool(selector.select(0))


def serve(services: Iterable[Service], *, host: str = "127.0.0.1", ports: int = 0) -> Fleet:
    """Run simulated services inside an ``async with``, which gives the fleet.

    Leaving it closes everything at once.

    :param ports: the first one's port, the next one's is one higher; 0 lets the system choose
    :raises OSError: a port cannot be had
    """
    return Fleet(tuple(services), host, ports)


def _listener(service: Service, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"{service.name} cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener
