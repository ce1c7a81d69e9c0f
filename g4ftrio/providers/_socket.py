"""What all providers that are asked over a WebSocket share."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

from g4ftrio._race.source import Source
from g4ftrio._streams.socket_answer import Question, SocketAnswer
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.origin import as_http
from g4ftrio.base_provider import Ask
from g4ftrio.dialects._base import SocketDialect
from g4ftrio.providers._declared import HttpProvider, naming

__all__ = ("SocketProvider",)


class SocketProvider(HttpProvider):
    """A provider that is asked over a WebSocket, one for each answer: subclasses are declarations.

    ``http_client=`` opens the sockets, so its proxy, its TLS settings and its warm connections count here, too. An
    ``http`` address is read as ``ws``, and ``https`` as ``wss``; the list of models is asked for over HTTP. A service
    that speaks the wire of another is a subclass of that provider with its own ``label``, ``url``, ``api_base`` and
    ``key_variables``.
    """

    dialect: SocketDialect
    schemes: ClassVar[tuple[str, ...]] = ("http://", "https://", "ws://", "wss://")

    def _as_it_comes(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return SocketAnswer(
            ask.client,
            partial(self._ask_on_a_socket, ask),
            self.dialect.read_error,
            timeout=ask.timeout,
            record=ask.record,
            owner=self._owner(),
            open_client=self._open_client,
        )

    async def _ask_on_a_socket(self, ask: Ask) -> Question:
        request = self._chat(ask)
        with naming(ask.record.name):
            path, dialogue = self.dialect.path_for(request), self.dialect.dialogue(request)
        call, secrets = await self._call(ask, path)
        return call, dialogue, secrets

    def _origin(self, address: str) -> str:
        return super()._origin(as_http(address))

    def _address(self) -> str:
        return as_http(super()._address())
