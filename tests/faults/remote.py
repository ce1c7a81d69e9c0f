"""Simulated services in a process of their own, so that their descriptors, tasks and memory are not the client's.

    with Remote("storm") as remote:
        provider = remote.asking("anthropic-swift")
        ...
        remote.quiet()

Beside the services there are places that no service is at: ``mute`` takes a connection and says nothing, ``full`` takes
none, and ``tls`` has a service behind TLS.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

from g4ftrio.providers import HttpProvider, find
from g4ftrio.simulator import FAULTS, Fleet, Service, serve, uniform

__all__ = ("FLEETS", "WIRES", "Remote", "State")

ROOT = Path(__file__).parent.parent.parent
WIRES = (
    "openai-compatible",
    "openai-realtime",
    "anthropic",
    "gemini-live",
    "gemini",
    "ollama",
    "openai-responses-ws",
    "openai-responses",
)


def _storm() -> list[Service]:
    """For each wire one that is swift and one that is slow, and one for each fault."""
    swift = [
        Service(f"{wire}-swift", dialect=wire, first_token=uniform(0, 0.01), gap=uniform(0, 0.002), tokens=range(4, 16))
        for wire in WIRES
    ]
    slow = [
        Service(f"{wire}-slow", dialect=wire, first_token=uniform(0.01, 0.06), gap=uniform(0, 0.005), tokens=12)
        for wire in WIRES
    ]
    return [*swift, *slow, *_faulty(1.0)]


def _faulty(share: float) -> list[Service]:
    return [
        Service(
            fault,
            dialect=WIRES[number % len(WIRES)],
            fault=fault,
            fault_share=share,
            first_token=uniform(0, 0.02),
            gap=uniform(0, 0.002),
            tokens=8,
        )
        for number, fault in enumerate(FAULTS)
    ]


FLEETS: dict[str, Callable[[], list[Service]]] = {
    "storm": _storm,
    "load": lambda: _faulty(0.05),
    "heavy": lambda: _faulty(0.5),
}


class State(NamedTuple):
    """What the services see.

    :ivar open: connections
    :ivar in_flight: requests that are being answered
    :ivar asked: requests so far
    """

    open: int
    in_flight: int
    asked: int


class Remote:
    """The parent's side of the process.

    :param fleet: one of ``FLEETS``
    :ivar names: of the services
    :ivar tls: the API base of a service behind TLS
    :ivar mute: an address that takes a connection and never says a word
    :ivar full: an address that takes no connection
    :ivar named: the API base of the first service, with a name that has to be looked up
    """

    def __init__(self, fleet: str) -> None:
        self._fleet = fleet

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.faults.remote", self._fleet]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        told = self._answer()
        self._services: dict[str, tuple[str, str]] = {name: (wire, base) for name, (wire, base) in told["at"].items()}
        self.names = tuple(self._services)
        self.tls, self.mute, self.full = told["tls"], told["mute"], told["full"]
        self.named = self._services[self.names[0]][1].replace("127.0.0.1", "localhost")
        self._authority: str = told["authority"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def asking(self, name: str, **settings: Any) -> HttpProvider:
        """The provider of a service's wire, with that service for its address."""
        wire, api_base = self._services[name]
        declared = find(wire)
        assert issubclass(declared, HttpProvider)
        return declared(**{"model": name, "name": name, "api_base": api_base, **settings})

    def trusting(self) -> ssl.SSLContext:
        """A context that trusts the service behind TLS."""
        return ssl.create_default_context(cadata=self._authority)

    def state(self) -> State:
        """Ask how it is now."""
        return State(*self._ask("state"))

    def quiet(self) -> State:
        """Wait until no request is being answered.

        :raises TimeoutError: names the services that are still answering
        """
        told = self._ask("quiet")
        if isinstance(told, str):
            raise TimeoutError(told)
        return State(*told)

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        print(question, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process of the services has died"
        return json.loads(line)


# --- the process's side ---


async def _main(name: str) -> None:
    async with serve(FLEETS[name]()) as fleet, _places(fleet) as places:
        at = {name: (running.service.dialect, running.api_base) for name, running in fleet.items()}
        print(json.dumps({"at": at, **places}), flush=True)
        async for line in anyio.wrap_file(sys.stdin):
            print(json.dumps(await _told(fleet, line.strip())), flush=True)


async def _told(fleet: Fleet, question: str) -> object:
    if question == "quiet":
        try:
            await fleet.quiet(10)
        except TimeoutError as error:
            return str(error)
    return (
        sum(running.connections for running in fleet.values()),
        sum(running.in_flight for running in fleet.values()),
        sum(running._asked for running in fleet.values()),
    )


@asynccontextmanager
async def _places(fleet: Fleet) -> AsyncIterator[dict[str, str]]:
    """Open what is no service, and tell where it is."""
    import trustme

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    behind = urlsplit(fleet[next(iter(fleet))].api_base)
    secure = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1024)
    mute = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1024)
    async with secure, mute, anyio.create_task_group() as tasks:
        tasks.start_soon(secure.serve, partial(_front, behind, context))
        tasks.start_soon(mute.serve, _hush)
        with _full() as full:
            yield {
                "tls": f"https://{_address(secure)}{behind.path}",
                "mute": _address(mute),
                "full": full,
                "authority": authority.cert_pem.bytes().decode(),
            }
        tasks.cancel_scope.cancel()


def _address(listener: Listener[SocketStream]) -> str:
    return f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"


@contextmanager
def _full() -> Iterator[str]:
    """Listen, with so many clients in the queue already that the system answers no other."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as one, socket.socket() as two:
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield f"127.0.0.1:{full.getsockname()[1]}"


async def _front(behind: SplitResult, context: ssl.SSLContext, client: SocketStream) -> None:
    async with client:
        try:
            secured = await TLSStream.wrap(client, server_side=True, ssl_context=context, standard_compatible=False)
            async with await anyio.connect_tcp(str(behind.hostname), behind.port or 0) as service:
                await _join(secured, service)
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):  # the client has gone
            return


async def _hush(client: SocketStream) -> None:
    async with client:
        await _pass(client, None)


async def _join(client: ByteStream, service: ByteStream) -> None:
    async with anyio.create_task_group() as tasks:

        async def pour(source: ByteStream, target: ByteStream) -> None:
            await _pass(source, target)
            tasks.cancel_scope.cancel()

        tasks.start_soon(pour, client, service)
        tasks.start_soon(pour, service, client)


async def _pass(source: ByteStream, target: ByteStream | None) -> None:
    try:
        async for data in source:
            if target is not None:
                await target.send(data)
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):  # the last from within TLS, on a send too
        return


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1])
