"""Measure where the time of a stream goes: each stage is asked alone, then all below it together.

``packed``: µs of CPU per event for each stage over bytes that are there already. ``single``: µs per event where every
event is a read of its own, from a server process that sends one each 400 µs; each row does what the row above does and
one stage more. ``first``: the same for a whole request with a one-token answer on a kept connection. Medians of
interleaved rounds.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import anyio
from medians import median
from meter import Meter

from g4ftrio import open_http_client, race
from g4ftrio._framing import framer_for
from g4ftrio._words.request import Call
from g4ftrio._words.timeouts import Timeout
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.providers import OpenAICompatible
from g4ftrio.transports import http
from g4ftrio.transports._connect import Origin, connect
from g4ftrio.transports._wire import ResponseParser

EVENTS = 1000
GAP = 0.0004  # seconds
PACKED = 20_000
PER_READ = 200
EVENT = (
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"m","usage":null,'
    b'"system_fingerprint":"fp_44709d6fcb",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUEST = b"POST /single HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Put bytes into an HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(connection: socket.socket) -> None:
    """Answer every request on a connection: ``/first`` at once, others an event at a time."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while request := connection.recv(65536):
        if b"/first" in request.split(b"\r\n")[0]:
            connection.sendall(HEAD + chunk(EVENT + END) + b"0\r\n\r\n")
            continue
        connection.sendall(HEAD)
        for _ in range(EVENTS):
            time.sleep(GAP)
            connection.sendall(chunk(EVENT))
        connection.sendall(chunk(END) + b"0\r\n\r\n")


def serve() -> None:
    """Be the server: print the port, and answer until killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def packed(rounds: int) -> dict[str, list[float]]:
    """Give each stage bytes that are there already."""
    reads = [EVENT * PER_READ] * (PACKED // PER_READ)
    frames = framer_for("text/event-stream").feed(reads[0])

    def parse() -> None:
        parser = ResponseParser(b"POST")
        parser.feed(HEAD)
        for read in chunked:
            parser.body.feed(read)

    def frame() -> None:
        framer = framer_for("text/event-stream")
        for read in reads:
            framer.feed(read)

    def decode() -> None:
        decoder = OpenAIChat().decoder()
        for _ in reads:
            decoder.feed(frames)

    chunked = [chunk(EVENT) * PER_READ] * len(reads)
    stages = {"HTTP's chunked coding": parse, "events": frame, "JSON to chunks": decode}
    found: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, stage in stages.items():
            meter = Meter()
            stage()
            found[name].append(meter.read().cpu / PACKED)
    return found


class Client:
    """The rows of ``single`` and ``first``, each one stage more than the one before."""

    def __init__(self, port: int, client: Any) -> None:
        self._origin = Origin("http", "127.0.0.1", port)
        self._base = f"http://127.0.0.1:{port}"
        self._client = client

    async def _read(self, *stages: Callable[[Any], Any]) -> None:
        stream = await connect(self._origin, context=None, timeout=5)
        await stream.send(REQUEST, 5)
        parser = ResponseParser(b"POST")
        try:
            while not parser.body.complete:
                data: Any = parser.feed(await stream.receive(300, inf))
                for stage in stages:
                    data = stage(data)
        finally:
            stream.close()

    async def parsed(self) -> None:
        """Wait, receive, and read HTTP."""
        await self._read()

    async def framed(self) -> None:
        """And cut events."""
        await self._read(framer_for("text/event-stream").feed)

    async def decoded(self) -> None:
        """And decode them."""
        await self._read(framer_for("text/event-stream").feed, OpenAIChat().decoder().feed)

    async def sent(self, path: str) -> None:
        """Send over the client, and read the body."""
        call = Call(method="POST", url=self._base + path, headers={}, body=b"{}")
        response = await http.send(self._client, call, timeout=Timeout())
        while await response.pull():
            pass
        await response.aclose()

    async def streamed(self, path: str) -> None:
        """Ask a provider."""
        async with self._provider(path).stream("Hi") as stream:
            async for _ in stream:
                pass

    async def raced(self, path: str) -> None:
        """Ask a race of one."""
        async with race([self._provider(path)], "Hi") as stream:
            async for _ in stream:
                pass

    def _provider(self, path: str) -> OpenAICompatible:
        return OpenAICompatible(api_base=self._base + path, model="m", http_client=self._client)


async def over_sockets(port: int, rounds: int) -> Mapping[str, dict[str, list[float]]]:
    """Measure ``single`` and ``first``."""
    async with open_http_client() as shared:
        client = Client(port, shared)
        single: dict[str, Callable[[], Awaitable[None]]] = {
            "wait, receive, HTTP": client.parsed,
            "and events": client.framed,
            "and chunks": client.decoded,
            "a provider's stream": lambda: client.streamed("/single"),
            "a race's winner": lambda: client.raced("/single"),
        }
        first: dict[str, Callable[[], Awaitable[None]]] = {
            "the transport's request and answer": lambda: client.sent("/first"),
            "a provider's stream": lambda: client.streamed("/first"),
            "a race's winner": lambda: client.raced("/first"),
        }
        return {
            "single": await _measure(single, rounds, 1, EVENTS),
            "first": await _measure(first, rounds, 300, 300),
        }


async def _measure(
    rows: Mapping[str, Callable[[], Awaitable[None]]], rounds: int, times: int, units: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            meter = Meter()
            for _ in range(times):
                await row()
            found[name].append(meter.read().cpu / units)
    return found


def show(title: str, rows: Mapping[str, list[float]]) -> None:
    """Print medians, and the least."""
    print(f"\n{title}\n")
    for name, values in rows.items():
        print(f"  {name:36} {median(values):8.2f} ({min(values):.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--loops", nargs="+", default=["trio", "asyncio"], choices=["trio", "asyncio"])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    show("packed, µs of CPU per event", packed(given.rounds))
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            for loop in given.loops:
                tables = anyio.run(over_sockets, port, given.rounds, backend=loop)
                show(f"single on {loop}, µs of CPU per event", tables["single"])
                show(f"first on {loop}, µs of CPU per request", tables["first"])
        finally:
            server.kill()


if __name__ == "__main__":
    main()
