"""What every provider must do, as a check."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

from g4ftrio._words import errors as _errors
from g4ftrio._words.chunks import FinishReason
from g4ftrio._words.request import ChatRequest
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import HttpProvider, SocketProvider
from g4ftrio.simulator._dialects import DIALECTS, SOCKETS
from g4ftrio.simulator._socket_wire import SocketWire
from g4ftrio.simulator._wire import Ask as Asked, Item, Mark, Wire
from g4ftrio.testing._talk import Talk
from g4ftrio.testing._tape import Pieces
from g4ftrio.transports.http import open_http_client

__all__ = ("check_provider",)

_KEY = "check-provider-secret-key"
_LABEL = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


async def check_provider(provider: type[AbstractProvider] | AbstractProvider) -> None:
    """Hold a provider against what every provider must do; works on trio and asyncio, and needs no network.

    A declared HTTP provider is asked over a scripted wire, any other one is really asked.

    :param provider: a class, or an instance with what it needs bound
    :raises AssertionError: what it does not do, in a sentence
    """
    cls = provider if isinstance(provider, type) else type(provider)
    _check_declaration(cls)
    if issubclass(cls, HttpProvider):
        await _check_wire(cls, provider)
    else:
        await _check_behaviour(provider if isinstance(provider, AbstractProvider) else cls())


def _must(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _check_declaration(cls: type[AbstractProvider]) -> None:
    _must(cls.__doc__, f"{cls.__name__} says in its docstring what it is")
    _must(_LABEL.fullmatch(cls.label), f"the label {cls.label!r} is lower case, words joined by - or .")
    if issubclass(cls, HttpProvider):
        base = cls.api_base
        _must(
            not base or re.match(r"https://|http://(127\.0\.0\.1|localhost)", base), f"{base!r} is https or on loopback"
        )
        _must(not base.endswith("/"), f"the api_base {base!r} ends without a slash")
        for name in (*cls.key_variables, *cls.base_variables):
            _must(re.fullmatch(r"[A-Z][A-Z0-9_]*", name), f"{name!r} is an environment variable's name")


async def _check_behaviour(provider: AbstractProvider) -> None:
    async with provider.stream("Say something.") as stream:
        async for _ in stream:
            break
    whole = await provider.complete("Say something.")
    _must(whole.text or whole.tool_calls or whole.others, f"{provider.name} gives an answer")
    _must(whole.provider, f"{provider.name} says who answered")


async def _check_wire(cls: type[HttpProvider], provider: type[AbstractProvider] | AbstractProvider) -> None:
    served = _served(cls)
    settings: dict[str, Any] = {"model": cls.default_model or "some-model", "api_key": _KEY}
    if not cls.api_base:
        settings["api_base"] = "https://service.example/v1"
    asked = provider if isinstance(provider, HttpProvider) else cls(**settings)
    async with open_http_client(transport=httpx.MockTransport(served)) as client:
        whole = await asked.complete("What is 6 times 7?", http_client=client)
        _must(whole.text == served.text, f"{asked.name} reads the text of an answer, and gave {whole.text!r}")
        path = cls.dialect.path_for(ChatRequest(model=asked.model, messages=[])).partition("?")[0]
        _must(served.request.url.path.endswith(path), f"{asked.name} asks at {path}")
        await _check_key(asked, client, served)
        await _check_errors(asked, client, served)


async def _check_key(asked: HttpProvider, client: httpx.AsyncClient, served: _Served) -> None:
    sent = served.request.headers.get(asked.key_header, "")
    _must(sent == asked.key_prefix + _KEY, f"{asked.name} sends its key in {asked.key_header}")
    _must(_KEY not in repr(asked), f"the key of {asked.name} is not in its repr")
    served.status = 401
    try:
        await asked.complete("Hello?", http_client=client)
    except _errors.AuthenticationError as error:
        _must(_KEY not in str(error), f"an error of {asked.name} does not show the key that the service echoed")
        _must(asked.label in str(error), f"an error of {asked.name} names it")
    else:
        raise AssertionError(f"{asked.name} raises AuthenticationError when its key is refused")
    finally:
        served.status = 200


async def _check_errors(asked: HttpProvider, client: httpx.AsyncClient, served: _Served) -> None:
    served.cut = True
    try:
        await asked.complete("Hello?", http_client=client)
    except _errors.TruncatedError as error:
        _must(served.text.startswith(error.text), f"{asked.name} keeps the text of an answer that was cut")
    else:
        raise AssertionError(f"{asked.name} notices an answer that was cut")
    finally:
        served.cut = False
    async with asked.stream("Hello?", http_client=client) as stream:
        async for _ in stream:
            break


class _Served:
    """A scripted service behind ``httpx.MockTransport``."""

    text = "It is 42."

    def __init__(self) -> None:
        self.status = 200
        self.cut = False
        self.request: httpx.Request

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        if self.status != 200:
            return httpx.Response(self.status, json={"error": {"message": f"bad key {_KEY}"}})
        said: list[Item] = [Mark.OPEN, "It ", "is ", "42.", FinishReason("stop"), Mark.DONE]
        return self._answer(request, said)

    def _answer(self, request: httpx.Request, said: list[Item]) -> httpx.Response:
        raise NotImplementedError


class _ServedHttp(_Served):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def _answer(self, request: httpx.Request, said: list[Item]) -> httpx.Response:  # noqa: ARG002  # a script listens to nobody
        renderer = self._wire.renderer(Asked(model="some-model"), "answer-1", 0)
        pieces = [renderer.frame(item) for item in said]
        stream = Pieces(pieces)
        if self.cut:
            has_end_marker = any(pieces[4:])
            stream = Pieces(pieces[:3]) if has_end_marker else _Broken(pieces[:3])
        return httpx.Response(200, headers={"content-type": self._wire.stream_type}, stream=stream)


class _Broken(Pieces):
    """A body that breaks off: where the wire has no end marker, the connection alone tells."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class _ServedSocket(_Served):
    def __init__(self, wire: SocketWire) -> None:
        super().__init__()
        self._wire = wire

    def _answer(self, request: httpx.Request, said: list[Item]) -> httpx.Response:
        return Talk.opened(self._wire, request, said[:3] if self.cut else said)


def _served(cls: type[HttpProvider]) -> _Served:
    """A service that speaks a provider's dialect: what is named like it in the simulator.

    :raises TypeError: the simulator speaks no such dialect
    """
    name = type(cls.dialect).__name__
    sockets = {type(wire).__name__: wire for wire in SOCKETS.values()}
    if issubclass(cls, SocketProvider) and name in sockets:
        return _ServedSocket(sockets[name])
    wires = {type(wire).__name__: wire for wire in DIALECTS.values()}
    if name in wires:
        return _ServedHttp(wires[name])
    raise TypeError(
        f"no service here speaks {name}, so {cls.__name__} cannot be asked: check_decoder holds its dialect"
    )
