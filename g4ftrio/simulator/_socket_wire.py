"""What a dialect over WebSockets is when it is read backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from g4ftrio.simulator._wire import Ask, Item

__all__ = ("Session", "SocketWire")


class Session(Protocol):
    """One client's socket. It hears messages and says messages; the sockets are somebody else's."""

    def greet(self) -> list[bytes]:
        """Give what the service says before it is asked anything."""

    def hear(self, message: Any) -> tuple[list[bytes], Ask | None]:
        """Take a message, decoded from JSON; give the replies to it, and what it asks for if it asks for an answer.

        :raises ValueError: says what is wrong with it
        """

    def say(self, item: Item) -> list[bytes]:
        """Give the messages that one item of the latest answer makes, none where the dialect does not show it."""

    def error(self, status: int, message: str, code: str | None = None) -> list[bytes]:
        """Give the messages that say that something went wrong."""


class SocketWire(Protocol):
    """A dialect over WebSockets, read backwards."""

    @property
    def base(self) -> str:
        """The path of the API base, ``/v1`` say."""

    @property
    def path(self) -> str:
        """Where, below the base, sockets are opened."""

    @property
    def models_path(self) -> str:
        """Where, below the base, the models are listed over HTTP; empty if they are not."""

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """Find the key that an upgrade brings."""

    def session(self, query: Mapping[str, str], name: str, created: int) -> Session:
        """Begin with a client; answers are called after ``name``, ``created`` is in seconds since 1970."""

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """Give the body of an HTTP answer that refuses the upgrade."""

    def models(self, names: list[str], created: int) -> bytes:
        """Give the body of the list of models."""
