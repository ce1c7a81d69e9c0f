"""From a request to the bytes of its answer and the moments at which they are sent: everything but the sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from g4ftrio.simulator._behaviour import behave
from g4ftrio.simulator._dialects import DIALECTS
from g4ftrio.simulator._http1 import Request, chunk, head
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._socket_wire import Session
from g4ftrio.simulator._wire import Answer, Ask, Beat, Ending, Item, Mark, Renderer, Wire

__all__ = ("Plan", "Step", "Writer", "decoded", "packed", "plan")

_LAST_CHUNK = b"0\r\n\r\n"


class Step(Struct, frozen=True):
    """Wait some seconds, write some bytes, and go on, or end the connection."""

    wait: float
    data: bytes = b""
    tokens: int = 0
    ending: Ending | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What to do about one request.

    :ivar body: the request's, decoded; as bytes where it is not JSON; None where there is none
    :ivar is_chat: the request was a chat in good order, or one for pictures, and counts
    :ivar fault: the name of the fault that it meets
    :ivar session: what goes on afterwards on the socket that the request opens, if it does
    """

    name: str
    status: int
    steps: Iterator[Step]
    body: Any = None
    is_chat: bool = False
    fault: str | None = None
    session: Session | None = None


def plan(service: Service, request: Request, count: int, created: int) -> Plan:
    """Decide what a service does about a request.

    :param count: the chats that it was asked before
    :param created: the wall clock's time, in seconds since 1970
    """
    wire = DIALECTS[service.dialect]
    writer = Writer(request, f"chatcmpl-{service.name}-{count}")
    body = decoded(request.body)
    asked = _route(service, wire, request, body, created)
    if isinstance(asked, Answer):
        steps = writer.reply(asked, "application/json")
        return Plan(name=writer.name, status=asked.status, steps=steps, body=body)
    answer, fault = behave(service, wire, asked, count)
    renderer = wire.renderer(asked, writer.name, created)
    kind = wire.stream_type if asked.stream else "application/json"
    if answer.body is not None:
        steps = writer.reply(answer, kind if answer.status == 200 else "application/json")
    elif asked.stream:
        steps = writer.streamed(replace(answer, beats=packed(answer.beats, service.tokens_per_write)), renderer, kind)
    else:
        steps = writer.gathered(answer, renderer, kind)
    return Plan(name=writer.name, status=answer.status, steps=steps, body=body, is_chat=True, fault=fault)


def _route(service: Service, wire: Wire, request: Request, body: Any, created: int) -> Answer | Ask:
    """Give the answer to everything but a request in good order to a model."""

    def refuse(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
        return Answer(status=status, body=wire.error(status, message, code), headers=headers)

    if request.problem is not None:
        return refuse(*request.problem)
    path = request.path.partition("?")[0]
    read = _reader(wire, path)
    method = "GET" if wire.models_path and path == wire.base + wire.models_path else "POST" if read else None
    if method is None:
        return refuse(404, f"there is nothing at {path[:200]}", "unknown_url")
    if request.method != method:
        return refuse(405, f"{path} takes {method}, not {request.method}", "method_not_allowed", allow=method)
    if service.key is not None and wire.key(request.headers) != service.key:
        return refuse(401, "the API key is missing or wrong", "invalid_api_key")
    if read is None:
        return Answer(body=wire.models(service.models, created))
    try:
        ask = read(body)
    except ValueError as error:
        return refuse(400, str(error), "invalid_request")
    if ask.model not in service.models:
        known = ", ".join(service.models)
        return refuse(404, f"The model {ask.model[:200]!r} does not exist; there is {known}.", "model_not_found")
    return ask


def _reader(wire: Wire, path: str) -> Callable[[Any], Ask] | None:
    """Find what reads a request to this path, with the model's name bound to it where the path holds that."""
    for below, read in wire.readers.items():
        before, is_template, after = (wire.base + below).partition("{model}")
        if path == before and not is_template:
            return read
        if is_template and path.startswith(before) and path.removeprefix(before).endswith(after):
            return partial(read, model=unquote(path.removeprefix(before).removesuffix(after)))
    return None


def decoded(body: bytes) -> Any:
    """Read JSON; what is none stays as it is, and nothing is None."""
    try:
        return msgspec.json.decode(body) if body else None
    except (ValueError, RecursionError):
        return body


def packed(beats: Iterable[Beat], tokens: int) -> Iterator[Beat]:
    """Hold tokens back and say so many at once, when the last of them is due."""
    wait = 0.0
    held: list[Item] = []
    for beat in beats:
        full = len(held) == tokens
        if held and (full or not beat.tokens):
            yield Beat(wait, tuple(held))
            wait, held = 0.0, []
        if beat.tokens:
            wait += beat.wait
            held += beat.items
        else:
            yield beat
    if held:
        yield Beat(wait, tuple(held))


class Writer:
    """Puts answers to one request into HTTP."""

    def __init__(self, request: Request, name: str) -> None:
        self.name = name
        self._request = request

    def _head(self, answer: Answer, kind: str, framing: dict[str, str]) -> bytes:
        connection = "keep-alive" if self._request.keep_alive else "close"
        headers = {
            "content-type": answer.content_type or kind,
            **framing,
            "cache-control": "no-cache",
            "connection": connection,
            "x-request-id": self.name,
            **answer.headers,
        }
        return head(answer.status, headers)

    def _whole(self, answer: Answer, kind: str, body: bytes) -> bytes:
        top = self._head(answer, kind, {"content-length": str(len(body))})
        return top if self._request.method == "HEAD" else top + body

    def reply(self, answer: Answer, kind: str) -> Iterator[Step]:
        """Send the body that the answer has."""
        yield Step(answer.lead, self._whole(answer, kind, answer.body or b""))

    def gathered(self, answer: Answer, renderer: Renderer, kind: str) -> Iterator[Step]:
        """Let the time of all beats pass, then send what was said in one body."""
        yield Step(answer.lead)
        items: list[Item] = []
        tokens = 0
        for beat in answer.beats:
            yield Step(beat.wait)
            items += (item for item in beat.items if item is not Mark.COMMENT)
            tokens += beat.tokens
            if beat.ending is not None:
                whole = self._whole(answer, kind, renderer.whole(items))
                kept = 0 if beat.ending is Ending.SILENCE else len(whole) * 3 // 4
                yield Step(0.0, whole[:kept], ending=beat.ending)
                return
        yield Step(0.0, self._whole(answer, kind, renderer.whole(items)), tokens)

    def streamed(self, answer: Answer, renderer: Renderer, kind: str) -> Iterator[Step]:
        """Send every beat that holds tokens by itself; what holds none goes with the next, unless that has to wait."""
        wait = answer.lead
        data = self._head(answer, kind, {"transfer-encoding": "chunked"})
        for beat in answer.beats:
            if beat.wait and (wait or data):
                yield Step(wait, data)
                wait, data = 0.0, b""
            wait += beat.wait
            said = b"".join(chunk(renderer.frame(item)) for item in beat.items)
            data += said
            if beat.ending is not None:
                yield Step(wait, data, ending=beat.ending)
                return
            if beat.tokens and said:
                yield Step(wait, data, beat.tokens)
                wait, data = 0.0, b""
        yield Step(wait, data + _LAST_CHUNK)
