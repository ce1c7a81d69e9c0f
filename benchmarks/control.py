"""The server as a worker sees it: addresses of answers, and what the server has counted."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

__all__ = ("Control", "State")


class State(NamedTuple):
    """What the server has counted; see ``server.Server``.

    :ivar cpu: seconds of CPU since its start
    :ivar events: how many events it has written
    :ivar answering: how many answers are not at their end
    :ivar connections: how many connections are open
    :ivar drops: the words of the answers that clients left since the last look, and when (``time.perf_counter``)
    """

    cpu: float
    events: int
    answering: int
    connections: int
    drops: list[tuple[str, float]]


class Control:
    """A connection to the server's control port."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self._lines = socket.create_connection(("127.0.0.1", ports["control"])).makefile("rwb")

    def origin(self, *, tls: bool = False) -> str:
        """Where the server is."""
        return f"https://localhost:{self.ports['https']}" if tls else f"http://127.0.0.1:{self.ports['http']}"

    def address(self, *, tls: bool = False, **plan: int | str) -> str:
        """The base URL of an answer; see ``server.Plan``."""
        return "/".join([self.origin(tls=tls), *(f"{name}-{value}" for name, value in plan.items()), "v1"])

    def state(self) -> State:
        """Look at what the server has counted."""
        return State(**self._ask(b"state"))

    def release(self) -> None:
        """Let the answers that are held go on."""
        self._ask(b"release")

    def _ask(self, command: bytes) -> dict[str, Any]:
        self._lines.write(command + b"\n")
        self._lines.flush()
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer
