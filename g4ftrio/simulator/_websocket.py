"""WebSockets from the server's side: which requests open one, and what is then said on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from anyio import Event, Lock
from msgspec.structs import replace
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake, Response
from websockets.server import ServerProtocol

from g4ftrio.simulator._behaviour import behave
from g4ftrio.simulator._dialects import SOCKETS
from g4ftrio.simulator._http1 import BODY_LIMIT, Request, head
from g4ftrio.simulator._peer import Peer
from g4ftrio.simulator._plan import Plan, Step, Writer, decoded, packed
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._socket_wire import Session, SocketWire
from g4ftrio.simulator._wire import Answer, Ask, Beat, Ending, Frame, Item, Mark
from g4ftrio.transports._frames import SILENT, Frames, Side

__all__ = ("Conversation", "plan_upgrade")

_WAITING = 64  # messages that a client may have said before the first of them is heeded


def plan_upgrade(service: Service, request: Request, count: int, created: int) -> Plan:
    """Decide what a service of sockets does about a request, as ``plan`` does for the others.

    A fault whose answer has a body, a status say, is met here: that answer comes instead of a socket.
    """
    wire = SOCKETS[service.dialect]
    writer = Writer(request, f"chatcmpl-{service.name}-{count}")
    query = dict(parse_qsl(request.path.partition("?")[2]))
    answer, fault = _instead(service, wire, request, query, created), None
    if answer is None:
        answer, fault = behave(service, wire, Ask(model=service.models[0]), count)
    if answer.body is not None:
        steps = writer.reply(answer, "application/json")
        return Plan(name=writer.name, status=answer.status, steps=steps, is_chat=fault is not None, fault=fault)
    opening = head(101, {**dict(_shaken(request).headers.raw_items()), "x-request-id": writer.name})
    session = wire.session(query, writer.name, created)
    return Plan(name=writer.name, status=101, steps=iter([Step(answer.lead, opening)]), is_chat=True, session=session)


def _instead(
    service: Service, wire: SocketWire, request: Request, query: dict[str, str], created: int
) -> Answer | None:
    """Give the answer to everything but a request in good order that opens a socket."""

    def refuse(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
        return Answer(status=status, body=wire.error(status, message, code), headers=headers)

    if request.problem is not None:
        return refuse(*request.problem)
    path = request.path.partition("?")[0]
    models = wire.base + wire.models_path if wire.models_path else None
    if path not in (wire.base + wire.path, models):
        return refuse(404, f"there is nothing at {path[:200]}", "unknown_url")
    if request.method != "GET":
        return refuse(405, f"{path} takes GET, not {request.method}", "method_not_allowed", allow="GET")
    if service.key is not None and wire.key(request.headers, query) != service.key:
        return refuse(401, "the API key is missing or wrong", "invalid_api_key")
    if path == models:
        return Answer(body=wire.models(list(service.models), created))
    shaken = _shaken(request)
    if shaken.status_code != 101:
        return refuse(shaken.status_code, shaken.body.decode().strip(), "no_websocket")
    return None


def _shaken(request: Request) -> Response:
    """The other half of the handshake."""
    return ServerProtocol(logger=SILENT).accept(Handshake(request.path, Headers(request.headers)))


class Conversation:
    """What is said on one socket: what needs no answer is replied to at once, the questions are answered in turn.

    :param number: gives each question its number among those that the service was asked
    """

    def __init__(self, service: Service, session: Session, peer: Peer, number: Callable[[], int]) -> None:
        self._service = service
        self._session = session
        self._peer = peer
        self._number = number
        self._frames = Frames(Side.SERVER, BODY_LIMIT)
        self._sending = Lock()
        self._waiting: deque[bytes] = deque()
        self._came = Event()
        self._heard: list[Any] = []

    async def greet(self) -> None:
        """Say what comes before any question."""
        await self.send(self._said(self._session.greet()))

    async def hear(self, data: bytes) -> bool:
        """Take what came, and answer pings; false once the client has said good-bye, or too much at once."""
        self._waiting += self._frames.feed(data)
        self._came.set()
        await self.send(self._frames.unsent())
        return not self._frames.ended and len(self._waiting) <= _WAITING

    async def send(self, data: bytes) -> None:
        """Send all of it, pongs and answers one after another; to a client that is gone, nothing."""
        if data:
            async with self._sending:
                with suppress(OSError):  # who reads will hear of it, and end all this
                    await self._peer.send(data)

    async def question(self) -> Plan:
        """Wait for a question, or something that is wrong, and decide about it."""
        while True:
            while not self._waiting:
                self._came = Event()
                await self._came.wait()
            message = decoded(self._waiting.popleft())
            self._heard.append(message)
            replies, asked = self._heed(message)
            await self.send(self._said(replies))
            if asked is not None:
                return asked

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Word an error, for a fault: its messages, a line each; none where the dialect closes the socket instead."""
        return b"\n".join(self._session.error(status, message, code))

    def _heed(self, message: Any) -> tuple[list[bytes], Plan | None]:
        if message is None or isinstance(message, bytes):
            return [], self._refusal(400, "the message is not JSON", "invalid_json")
        try:
            replies, ask = self._session.hear(message)
        except ValueError as error:
            return [], self._refusal(400, str(error), "invalid_request")
        return replies, None if ask is None else self._decide(ask)

    def _decide(self, ask: Ask) -> Plan:
        if ask.model not in self._service.models:
            known = ", ".join(self._service.models)
            words = f"The model {ask.model[:200]!r} does not exist; there is {known}."
            return self._refusal(404, words, "model_not_found")
        count = self._number()
        answer, fault = behave(self._service, self, ask, count)
        return self._plan(f"chatcmpl-{self._service.name}-{count}", 200, self._steps(answer), fault)

    def _refusal(self, status: int, message: str, code: str) -> Plan:
        data = self._wrong(self.error(status, message, code), 1007, message)
        ending = None if self._frames.is_open else Ending.CUT
        return self._plan(f"chatcmpl-{self._service.name}-refused", status, iter([Step(0.0, data, ending=ending)]))

    def _plan(self, name: str, status: int, steps: Iterator[Step], fault: str | None = None) -> Plan:
        heard, self._heard = self._heard, []
        return Plan(name=name, status=status, steps=steps, body=heard, fault=fault)

    def _steps(self, answer: Answer) -> Iterator[Step]:
        """Say an answer; one that has no end marker is ended by a good-bye, in one write with the last of it."""
        step, is_done = Step(0.0), False
        beats = answer.beats if answer.body is None else (Beat(answer.lead, (Frame(answer.body),)),)
        for beat in packed(beats, self._service.tokens_per_write):
            yield step
            data = b"".join(map(self._item, beat.items))
            is_done = is_done or Mark.DONE in beat.items
            step = Step(beat.wait, data, beat.tokens if data else 0, beat.ending)
        if step.ending is None and not is_done:
            self._frames.close()
            step = replace(step, data=step.data + self._frames.unsent(), ending=Ending.CUT)
        yield step

    def _item(self, item: Item) -> bytes:
        if isinstance(item, Frame):
            return self._wrong(item.data, 1011, "The simulated service failed.")
        messages = self._session.say(item)
        if item is Mark.COMMENT and not messages:
            self._frames.ping()
        return self._said(messages)

    def _wrong(self, lines: bytes, code: int, reason: str) -> bytes:
        """Say messages that are lines; with none, close the socket with a code and a reason."""
        if not lines:
            self._frames.close(code, reason)
        return self._said(lines.split(b"\n") if lines else [])

    def _said(self, messages: list[bytes]) -> bytes:
        for message in messages:
            self._frames.say(message)
        return self._frames.unsent()
