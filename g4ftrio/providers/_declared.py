"""What all providers that are asked over HTTP share: a declaration says who, where, which dialect, which key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from inspect import isawaitable
from os import environ
from typing import Any, ClassVar
from urllib.parse import urlsplit

import anyio
import msgspec

from g4ftrio._answer import HttpAnswer, Lazy, Patient
from g4ftrio._chunks import Chunk
from g4ftrio._errors import APITimeoutError, MissingKeyError, ProviderError, SetupError
from g4ftrio._messages import Messages, fold_system
from g4ftrio._report import EntrantReport
from g4ftrio._request import Call, ChatRequest
from g4ftrio._source import Source
from g4ftrio._stream import Stream
from g4ftrio._timeouts import Timeout
from g4ftrio.base_provider import Ask, AsyncGeneratorProvider
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.transports import http

__all__ = ("HttpProvider",)

_NOT_IN_THE_BODY = frozenset({"stream", "extra_body", "extra_headers"})
_LIST_TIMEOUT = Timeout(idle=30, total=30)  # a list of models is small, and somebody waits for it
_LIST_SIZE = 16 << 20  # bytes; the largest catalogue that was seen has about one MiB


class HttpProvider(AsyncGeneratorProvider):
    """A provider that is asked over HTTP: subclasses are declarations.

    :param api_key: the key, or a function, sync or async, that gives one for each request
    :param api_base: where to ask instead of the declared address; ``base_url=`` is the same
    :param settings: see ``AbstractProvider``
    """

    api_base: str = ""
    dialect: Dialect = OpenAIChat()
    needs_auth = True

    key_variables: ClassVar[tuple[str, ...]] = ()
    base_variables: ClassVar[tuple[str, ...]] = ()
    key_header: ClassVar[str] = "Authorization"
    key_prefix: ClassVar[str] = "Bearer "

    _handoff: ClassVar[bool] = True
    _detachable: ClassVar[bool] = True
    _free_params: ClassVar[bool] = False

    def __init__(
        self,
        *,
        api_key: str | Callable[[], Any] | None = None,
        api_base: str | None = None,
        base_url: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._api_key = api_key
        self._bound_base = api_base or base_url

    # ``AsyncGeneratorProvider`` declares what a subclass writes; here it is made of ``_answer`` instead.
    def create_async_generator(
        self, model: str, messages: str | Messages, stream: bool = True, **params: Any
    ) -> AsyncIterator[Chunk]:
        """Give the answer's chunks; nothing is sent before the first read. Close it with ``aclose()``."""
        timeout = params.pop("timeout", None)
        ask = self._ask(messages, model, None, timeout, params.pop("http_client", None), {**params, "stream": stream})
        return Stream(Lazy(self._answer(ask), self.check_ready), ask.record)

    async def list_models(self) -> list[str]:
        """Ask the service for the names of its models.

        :raises ProviderError: it did not answer, or not with a list
        """
        self.check_ready()
        record = EntrantReport(name=self.name)
        key = await self._key()
        call = Call(method="GET", url=self._address() + self.dialect.models_path, headers=self._fields(key))
        timeout = self._timeout.over(_LIST_TIMEOUT)
        try:
            async with self._open_client() if self._client is None else nullcontext(self._client) as client:
                with anyio.move_on_after(timeout.total):
                    return self.dialect.read_models(await self._fetch(client, call, timeout, record, key))
        except ProviderError as error:
            error.provider = error.provider or self.name
            raise
        raise APITimeoutError("total", timeout.total, provider=self.name)

    async def _fetch(self, client: Any, call: Call, timeout: Timeout, record: EntrantReport, key: str) -> bytes:
        response = await http.send(client, call, timeout=timeout, record=record)
        try:
            await http.checked(response, self.dialect.read_error, (key,) if key else ())
            return await response.read(_LIST_SIZE)
        finally:
            await response.aclose()

    def check_ready(self) -> None:
        """See that there is an address, and a key where one is needed.

        :raises SetupError: there is no address, or one that is none
        :raises MissingKeyError: there is no key for that address
        """
        address = self._address()
        if not address.startswith(("http://", "https://")) or not urlsplit(address).hostname:
            raise SetupError(f"{self.label}: api_base must be an http:// or https:// address, not {address!r}")
        if self.needs_auth and not self._api_key and not self._key_from_environment() and not _is_loopback(address):
            reason = ""
            if found := next((name for name in self.key_variables if environ.get(name)), None):
                home = _origin(self._home())
                reason = f"the key in {found} goes only to {home}, not to {_origin(address)}"
            raise MissingKeyError(self.name, self.key_variables, reason)

    def which_model(self, asked: str) -> str:
        """The model to ask for: the one asked for, else the default.

        :raises SetupError: there is none
        """
        model = super().which_model(asked)
        if not model:
            raise SetupError(f"{self.label}: which model? Pass model=, or write the spec as {self.label}/MODEL.")
        return model

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        answer = HttpAnswer(
            ask.client,
            partial(self._prepare, ask),
            self.dialect,
            timeout=ask.timeout,
            record=ask.record,
            open_client=self._open_client,
        )
        return Patient(answer, ask.timeout, ask.record.name, ask.watched)

    async def _prepare(self, ask: Ask) -> tuple[Call, tuple[str, ...]]:
        key = await self._key()
        params = ask.params
        request = ChatRequest(
            model=self.which_model(ask.model),
            messages=ask.messages if self.supports_system_message else fold_system(ask.messages),
            stream=params.get("stream", True) and self.supports_stream,
            params={name: value for name, value in params.items() if name not in _NOT_IN_THE_BODY},
            extra_body=dict(params.get("extra_body", {})),
        )
        headers = self._fields(key, params.get("extra_headers", {}))
        body = msgspec.json.encode(self.dialect.encode(request))
        url = self._address() + self.dialect.path
        return Call(method="POST", url=url, headers=headers, body=body), (key,) if key else ()

    def _fields(self, key: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        fields = {"Content-Type": "application/json", "Accept": "*/*"}
        if key:
            fields[self.key_header] = self.key_prefix + key
        return {**fields, **self._headers, **(extra or {})}

    def _open_client(self) -> Any:
        return http.open_http_client(**({"proxy": self._proxy} if self._proxy else {}))

    def _home(self) -> str:
        """The address that the declaration or its own environment variable names."""
        name = next((name for name in self.base_variables if environ.get(name)), None)
        if name is None:
            return type(self).api_base
        try:
            address = self.base_from_variable(environ[name])
            _origin(address)
        except ValueError as error:
            raise SetupError(f"{self.label}: {name} holds no address: {environ[name]!r} ({error})") from error
        return address

    def _address(self) -> str:
        return (self._bound_base or self._home()).rstrip("/")

    @staticmethod
    def base_from_variable(value: str) -> str:
        """Turn what the environment variable holds into an API base."""
        return value

    async def _key(self) -> str:
        key = self._api_key() if callable(self._api_key) else self._api_key
        if isawaitable(key):
            key = await key
        return str(key or self._key_from_environment())

    def _key_from_environment(self) -> str:
        """A key from the environment goes only to the service's own origin, and to loopback never unasked."""
        if _origin(self._address()) != _origin(self._home()) or _is_loopback(self._address()):
            return ""
        return next((value for name in self.key_variables if (value := environ.get(name))), "")


def _origin(address: str) -> str:
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")
