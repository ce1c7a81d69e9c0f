"""The server that all are measured against: a process of its own, one thread, answers that were rendered beforehand.

What an answer is like stands in the path, so that the base URL of any SDK carries it; see ``Plan``::

    http://127.0.0.1:8000/events-1000/write-1/every-400/v1/chat/completions

The paths end as OpenAI's and Anthropic's do, and so do the answers; ``/models`` lists one. ``python server.py CHAIN
KEY`` prints its three ports as JSON and serves until its standard input ends: one port speaks HTTP, one HTTPS with that
certificate, and the third is the control: each line ``state`` or ``release`` is answered with a line of JSON.

Its own cost is part of what is measured, as a row of its own. Two things keep it low: a body is one buffer that is
sliced, and the times are kept in a heap, awaited by ``select`` on the epoll descriptor because ``epoll`` knows
milliseconds only.
"""

from __future__ import annotations

import gc
import heapq
import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

__all__ = ("Plan", "Server")

_BACKLOG = 4096
_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MODELS = b'{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"benchmarks"}]}'
_LISTED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_MODELS), _MODELS)
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Plan(NamedTuple):
    """What an answer is like; in a path ``name-value`` is a segment.

    :ivar events: how many tokens, an event each; the first comes with the role, and the end is one more
    :ivar write: how many events are written at once; 0 is all of them
    :ivar chunk: how many events an HTTP chunk has
    :ivar every: µs from one write to the next
    :ivar head: µs until the head is sent
    :ivar first: µs from the head to the first write; with 0 they are one
    :ivar hold: whether everything after the first write waits until the control says ``release``
    :ivar usage: whether the end of a completion says how many tokens there were
    :ivar word: what each token says, before the space or the full stop at its end
    """

    events: int = 1
    write: int = 0
    chunk: int = 1
    every: int = 0
    head: int = 0
    first: int = 0
    hold: int = 0
    usage: int = 0
    word: str = "token"

    @classmethod
    def of(cls, path: str) -> Plan:
        """Read a path."""
        said = dict(segment.split("-", 1) for segment in path.split("/") if "-" in segment)
        return cls(**{name: type(cls._field_defaults[name])(said[name]) for name in cls._fields if name in said})


class Answer(NamedTuple):
    """A rendered answer.

    :ivar writes: the buffers, and how many events each has
    """

    plan: Plan
    writes: tuple[tuple[memoryview, int], ...]


@cache
def answer_to(path: str) -> Answer:
    """Render the answer to a path."""
    plan = Plan.of(path)
    if path.endswith("/models"):
        return Answer(plan, ((memoryview(_LISTED), 0),))
    events = (_messages if path.endswith("/messages") else _completions)(plan)
    size = plan.write or len(events)
    writes = [(_chunked(events[at : at + size], plan.chunk), size) for at in range(0, len(events), size)]
    writes[-1] = (writes[-1][0] + b"0\r\n\r\n", writes[-1][1])
    if not plan.first:
        writes[0] = (_SSE + writes[0][0], writes[0][1])
    else:
        writes.insert(0, (_SSE, 0))
    return Answer(plan, tuple((memoryview(data), count) for data, count in writes))


def _chunked(events: list[bytes], size: int) -> bytes:
    bodies = (b"".join(events[at : at + size]) for at in range(0, len(events), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies)


def _completions(plan: Plan) -> list[bytes]:
    """OpenAI's chat completions: the role, the tokens, a finish reason and ``[DONE]``; about 305 bytes an event."""

    def event(delta: dict[str, str], reason: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {
            "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
            "object": "chat.completion.chunk",
            "created": 1741570283,
            "model": "gpt-4.1-2025-04-14",
            "service_tier": "default",
            "system_fingerprint": "fp_44added55e",
            "choices": [choice],
            "usage": None,
            "obfuscation": "Jq8mNv2x",
            **more,
        }
        return b"data: %s\n\n" % json.dumps(chunk, separators=(",", ":")).encode()

    start = event({"role": "assistant", "content": ""})
    tokens = _tokens(plan, lambda text: event({"content": text}))
    spent = {"prompt_tokens": 9, "completion_tokens": plan.events, "total_tokens": 9 + plan.events}
    usage = event({}, choices=[], usage=spent) if plan.usage else b""
    return [start + tokens[0], *tokens[1:], event({}, "stop") + usage + b"data: [DONE]\n\n"]


def _messages(plan: Plan) -> list[bytes]:
    """Anthropic's messages: about 120 bytes an event."""

    def event(kind: str, **more: object) -> bytes:
        data = json.dumps({"type": kind, **more}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude"}
    usage = {"input_tokens": 9, "output_tokens": 1}
    begin = {"message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": plan.events}}
    start = event("message_start", **begin) + event("content_block_start", **block)
    stop = event("content_block_stop", index=0) + event("message_delta", **end) + event("message_stop")
    delta = {"type": "text_delta"}
    tokens = _tokens(plan, lambda text: event("content_block_delta", index=0, delta={**delta, "text": text}))
    return [start + tokens[0], *tokens[1:], stop]


def _tokens(plan: Plan, event: Callable[[str], bytes]) -> list[bytes]:
    """Events that are not all the same: litellm takes a hundred equal ones for a fault."""
    usual, tenth = event(f"{plan.word} "), event(f"{plan.word}.")
    return [usual if number % 10 else tenth for number in range(plan.events)]


class Connection:
    """A client's connection, and how far the answer is that it gets."""

    __slots__ = ("answer", "at", "got", "left", "next", "read_only", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""
        self.answer: Answer | None = None
        self.next = 0  # the write that is to come
        self.left = memoryview(b"")  # what the socket did not take of the last one
        self.at = 0.0  # when the last write was due
        self.read_only = True


class Server:
    """Everything happens in one thread, the one that calls ``run``."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._epoll = select.epoll()
        self._on: dict[int, Callable[[int], None]] = {}
        self._connections: dict[int, Connection] = {}
        self._times: list[tuple[float, int, Connection]] = []
        self._held: list[Connection] = []
        self._events = 0
        self._answering = 0
        self._drops: list[tuple[str, float]] = []
        self._running = True
        ports = [self._listen(accept) for accept in (self._accept, self._accept_tls, self._accept_control)]
        self.ports = dict(zip(("http", "https", "control"), ports, strict=True))

    def run(self, stop: int) -> None:
        """Serve until the descriptor ``stop`` is at its end."""
        self._watch(stop, self._stop)
        while self._running:
            wait = max(0.0, self._times[0][0] - time.perf_counter()) if self._times else None
            select.select((self._epoll,), (), (), wait)
            for number, what in self._epoll.poll(0):
                if number in self._on:
                    self._on[number](what)
            self._tick()

    def _stop(self, _: int) -> None:
        self._running = bool(sys.stdin.buffer.read(1))

    def _tick(self) -> None:
        now = time.perf_counter()
        while self._times and self._times[0][0] <= now:
            self._write(heapq.heappop(self._times)[2])

    # Listening

    def _listen(self, accept: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        listener.setblocking(False)

        def ready(_: int) -> None:
            try:
                while True:
                    accept(listener.accept()[0])
            except _LATER:
                return

        self._watch(listener.fileno(), ready)
        port: int = listener.getsockname()[1]
        return port

    def _watch(self, number: int, ready: Callable[[int], None]) -> None:
        self._on[number] = ready
        self._epoll.register(number, select.EPOLLIN)

    def _accept(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._connections[sock.fileno()] = Connection(sock)
        self._watch(sock.fileno(), lambda what: self._ready(connection, what))

    def _accept_tls(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._accept(self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False))

    def _accept_control(self, sock: socket.socket) -> None:
        lines = sock.makefile("rwb")

        def ready(_: int) -> None:
            if line := lines.readline():
                lines.write(json.dumps(self._command(line.strip())).encode() + b"\n")
                lines.flush()
            else:
                self._epoll.unregister(sock)
                del self._on[sock.fileno()]
                sock.close()

        self._watch(sock.fileno(), ready)

    def _command(self, line: bytes) -> dict[str, object]:
        if line == b"release":
            return {"released": self._release()}
        drops, self._drops = self._drops, []
        return {
            "cpu": time.process_time(),
            "events": self._events,
            "answering": self._answering,
            "connections": len(self._connections),
            "drops": drops,
        }

    def _release(self) -> int:
        """Go on with the answers that are held, spread over one of their intervals."""
        held, self._held = self._held, []
        now = time.perf_counter()
        for number, connection in enumerate(held):
            if connection.answer is not None:
                connection.at = now
                self._write_later(connection, connection.answer.plan.every * number / len(held))
        return len(held)

    # A connection

    def _ready(self, connection: Connection, what: int) -> None:
        if what & select.EPOLLOUT:
            self._flush(connection)
        else:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except _LATER:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        connection.got += data
        head, blank, body = connection.got.partition(b"\r\n\r\n")
        if blank and len(body) >= _length(head):
            connection.got = b""
            self._begin(connection, head)

    def _begin(self, connection: Connection, head: bytes) -> None:
        connection.answer = answer_to(head.split(b" ", 2)[1].decode())
        connection.next = 0
        self._answering += 1
        connection.at = time.perf_counter()
        if connection.answer.plan.head:
            self._write_later(connection, connection.answer.plan.head)
        else:
            self._write(connection)

    def _write_later(self, connection: Connection, wait: float) -> None:
        """Plan a write so many µs after the last one was due, so that what is late does not make the next one late."""
        connection.at += wait / 1e6
        heapq.heappush(self._times, (connection.at, id(connection), connection))

    def _write(self, connection: Connection) -> None:
        if connection.answer is None:
            return
        connection.left, events = connection.answer.writes[connection.next]
        connection.next += 1
        self._events += events
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            connection.left = connection.left[connection.sock.send(connection.left) :]
        except _LATER:
            pass
        except OSError:
            self._drop(connection)
            return
        done = not connection.left
        if done is not connection.read_only:
            connection.read_only = done
            self._epoll.modify(connection.sock, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)
        if done:
            self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """Plan the next write, if there is one."""
        answer, number = connection.answer, connection.next
        assert answer is not None
        plan = answer.plan
        if number == len(answer.writes):
            connection.answer = None
            self._answering -= 1
        elif plan.hold and answer.writes[number - 1][1] and number <= 1 + bool(plan.first):
            self._held.append(connection)
        else:
            self._write_later(connection, plan.first if number == 1 and plan.first else plan.every)

    def _drop(self, connection: Connection) -> None:
        """Note that the client is gone."""
        if connection.answer is not None:
            self._drops.append((connection.answer.plan.word, time.perf_counter()))
            self._answering -= 1
            connection.answer = None
        number = connection.sock.fileno()
        self._epoll.unregister(number)
        del self._on[number], self._connections[number]
        connection.sock.close()


def _length(head: bytes) -> int:
    """What ``Content-Length`` says."""
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def main() -> None:
    """Serve until the standard input ends."""
    gc.disable()  # nothing here is in a circle
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:])
    server = Server(tls)
    print(json.dumps(server.ports), flush=True)
    server.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
