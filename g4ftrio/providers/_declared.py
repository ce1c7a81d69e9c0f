"""What all providers that are asked over HTTP share: a declaration says who, where, which dialect, which key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from copy import copy
from functools import partial
from inspect import isawaitable
from os import environ
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, Unpack
from urllib.parse import urlsplit

import anyio
import msgspec

from g4ftrio._cleaning import ChunkFilter, Marker
from g4ftrio._race.source import Source
from g4ftrio._streams.answer import HttpAnswer
from g4ftrio._streams.filtered import FilteredAnswer
from g4ftrio._streams.patient import Patient
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import APITimeoutError, Error, MissingKeyError, SetupError
from g4ftrio._words.messages import Messages, fold_system
from g4ftrio._words.origin import is_loopback, origin
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import Call, ChatRequest, ModelParams
from g4ftrio._words.secrets import Secret, cleared, hidden, in_address, in_headers, private, shown
from g4ftrio._words.timeouts import Timeout, TimeoutTypes
from g4ftrio.base_provider import AnsweringProvider, Ask, StreamContext
from g4ftrio.base_provider._binding import creating, on_class_too
from g4ftrio.dialects._base import Dialect, SocketDialect
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.transports import http
from g4ftrio.typing import AsyncResult

if TYPE_CHECKING:
    import httpx

__all__ = ("PER_CALL", "ApiKey", "HttpProvider", "naming")

ApiKey: TypeAlias = str | Callable[[], Any] | None

PER_CALL = frozenset({"api_base", "api_endpoint", "api_key", "headers", "proxy"})
_NOT_IN_THE_BODY = frozenset({"stream", "extra_body", "extra_headers"})
_LIST_TIMEOUT = Timeout(idle=30, total=30)  # a list of models is small, and somebody waits for it
_TELLING = 16  # characters of a message's text from which on it is masked where a service repeats it in an error
_SENDABLE = re.compile(r"[!-~]*")
_LIST_SIZE = 16 << 20  # bytes; the largest catalogue that was seen has about one MiB


class HttpProvider(AnsweringProvider):
    """A provider that is asked over HTTP: subclasses are declarations.

    :param api_key: the key, or a function, sync or async, that gives one for each request
    :param api_base: where to ask instead of the declared address; ``base_url=`` is the same
    :param settings: see ``AbstractProvider``
    :ivar api_endpoint: the whole address of a chat, where it is not ``api_base`` and the dialect's path
    :ivar prefill: whether it goes on from an assistant's message at the end of a conversation; None is as its dialect
        says
    :ivar advertising: passages that the service mixes into its text, and that are taken out again
    """

    api_base: str = ""
    api_endpoint: str = ""
    api_key: ApiKey = None
    dialect: Dialect | SocketDialect = OpenAIChat()
    prefill: bool | None = None
    needs_auth = True

    key_variables: ClassVar[tuple[str, ...]] = ()
    base_variables: ClassVar[tuple[str, ...]] = ()
    key_header: ClassVar[str] = "Authorization"
    key_prefix: ClassVar[str] = "Bearer "
    headers: ClassVar[Mapping[str, str]] = {}
    schemes: ClassVar[tuple[str, ...]] = ("http://", "https://")
    advertising: ClassVar[tuple[Marker, ...]] = ()

    def __init__(
        self,
        *,
        api_key: ApiKey = None,
        api_base: str | None = None,
        base_url: str | None = None,
        **settings: Any,
    ) -> None:
        given = hidden({"api_key": api_key, "api_base": api_base or base_url})
        api_key = api_base = base_url = None  # what frames hold, tracebacks show
        settings = hidden(settings)
        super().__init__(**settings)
        self._bind_address(**given)

    @creating
    def create_async_generator(
        self,
        /,
        model: str,
        messages: str | Messages,
        stream: bool = True,
        *,
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        api_key: ApiKey = None,
        api_base: str | None = None,
        **params: Unpack[ModelParams],
    ) -> AsyncResult:
        """Give the answer's chunks; nothing is sent before the first read. Close it with ``aclose()``.

        :param api_base: another address, for this request; a key that is bound does not go there, so pass ``api_key``
        :raises TypeError: a parameter that nobody knows, before anything is sent
        """
        given: dict[str, Any] = {**params, "stream": stream, "timeout": timeout, "http_client": http_client}
        given |= {"proxy": proxy, "headers": headers, "api_key": api_key, "api_base": api_base}
        return self._request(model, messages, given).unread()

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """Ask the service for the names of its models.

        :raises ProviderError: it did not answer, or not with a list
        """
        self.check_ready()
        record = EntrantReport(name=self.name)
        url = self._address() + self.dialect.models_path
        key = await self._key(url)
        call = Call(method="GET", url=url, headers=self._fields(key))
        secrets = self._secrets(key, call)
        timeout = self._timeout.over(_LIST_TIMEOUT)
        try:
            async with self._open_client() if self._client is None else nullcontext(self._client) as client:
                with anyio.move_on_after(timeout.total):
                    return self.dialect.read_models(await self._fetch(client, call, timeout, record, secrets))
        except Error as error:
            raise cleared(error, secrets, self.name) from error.__cause__
        raise APITimeoutError("total", timeout.total, provider=self.name)

    async def _fetch(
        self, client: Any, call: Call, timeout: Timeout, record: EntrantReport, secrets: tuple[str, ...]
    ) -> bytes:
        response = await http.send(client, call, timeout=timeout, record=record)
        try:
            await http.checked(response, self.dialect.read_error, secrets)
            return await response.read(_LIST_SIZE)
        finally:
            await response.aclose()

    def check_ready(self) -> None:
        """See that there is an address, and a key where one is needed.

        :raises SetupError: there is no address, or one that is none
        :raises MissingKeyError: there is no key for that address
        """
        address = self.api_endpoint or self._address()
        self._origin(address)
        if not address.startswith(self.schemes) or not urlsplit(address).hostname:
            name = "api_endpoint" if self.api_endpoint else "api_base"
            wanted = " or ".join(self.schemes)
            raise SetupError(f"{self.label}: {name} must be an {wanted} address, not {shown(address)!r}")
        self._check_key(self._key_for(address))
        if self.needs_auth and not self._key_for(address) and not is_loopback(urlsplit(address).hostname):
            reason = ""
            if found := next((name for name in self.key_variables if environ.get(name)), None):
                reason = f"the key in {found} goes only to {self._origin(self._home())}, not to {self._origin(address)}"
            raise MissingKeyError(self.name, self.key_variables, reason)

    def which_model(self, asked: str) -> str:
        """The model to ask for: the one asked for, else the default.

        :raises SetupError: there is none
        """
        model = super().which_model(asked)
        if not model:
            raise SetupError(f"{self.label}: which model? Pass model=, or write the spec as {self.label}/MODEL.")
        return model

    def goes_on_from_text(self, model: str) -> bool:
        """Whether it answers a conversation that ends with an assistant's message by the rest of that message."""
        if self._by_generator:
            return False
        as_its_wire: bool = getattr(self.dialect_for(model), "prefill", False)
        return as_its_wire if self.prefill is None else self.prefill

    def dialect_for(self, model: str) -> Dialect:  # noqa: ARG002  # for subclasses that speak several
        """The wire that this model is asked on."""
        return self.dialect  # type: ignore[return-value]  # those of sockets do not ask for this

    @staticmethod
    def base_from_variable(value: str) -> str:
        """Turn what the environment variable holds into an API base."""
        return value

    @property
    def _server(self) -> str:
        return self._origin(self.api_endpoint or self._address())

    @property
    def _needs_client(self) -> bool:
        return self._client is None and not self._proxy

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        answer = self._as_it_comes(ask)
        if self.advertising:
            answer = FilteredAnswer(answer, ChunkFilter(self.advertising), ask.record)
        return Patient(answer, ask.timeout, ask.record.name, ask.watched, opening=ask.watched_opening)

    def _as_it_comes(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        """An answer that nobody filters or times yet."""
        dialect = self.dialect_for(ask.model)
        return HttpAnswer(
            ask.client,
            partial(self._prepare, ask, dialect),
            dialect,
            timeout=ask.timeout,
            record=ask.record,
            owner=self._owner(),
            open_client=self._open_client,
        )

    async def _prepare(self, ask: Ask, dialect: Dialect) -> tuple[Call, tuple[str, ...]]:
        request = self._chat(ask)
        with naming(ask.record.name):
            path, body = dialect.path_for(request), msgspec.json.encode(self._body(dialect, request), enc_hook=_plain)
        return await self._call(ask, path, body)

    def _chat(self, ask: Ask) -> ChatRequest:
        owner = self._owner()
        params = {name: value for name, value in ask.params.items() if value is not None}
        if not _is_of(getattr(params.get("conversation"), "provider", ""), owner):
            del params["conversation"]
        messages = [_own(message, owner) for message in ask.messages]
        return ChatRequest(
            model=self.which_model(ask.model),
            messages=messages if self.supports_system_message else fold_system(messages),
            stream=bool(params.get("stream", True)) and self.supports_stream,
            params={name: value for name, value in params.items() if name not in _NOT_IN_THE_BODY},
            extra_body=_mapping("extra_body", params),
        )

    async def _call(self, ask: Ask, path: str, body: bytes = b"") -> tuple[Call, tuple[str, ...]]:
        """What to send where, and what must be masked in whatever the service says."""
        url = self.api_endpoint or self._address() + path
        key = await self._key(url)
        headers = {**ask.headers, **self._fields(key, ask.params.get("extra_headers"))}
        call = Call(method="POST", url=url, headers=headers, body=body)
        return call, (*self._secrets(key, call), *_telling(ask.messages))

    def _secrets(self, key: str, call: Call) -> tuple[str, ...]:
        found = (key, *in_address(call.url), *in_address(self._proxy or ""), *in_headers(call.headers))
        return tuple(filter(None, dict.fromkeys(found)))

    def _body(self, dialect: Dialect, request: ChatRequest) -> dict[str, Any]:
        return dialect.encode(request)

    def _fields(self, key: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        fields = {"Content-Type": "application/json", "Accept": "*/*"}
        if key:
            fields[self.key_header] = self.key_prefix + key
        return {**fields, **type(self).headers, **self._headers, **(extra or {})}

    def _open_client(self) -> Any:
        options: dict[str, Any] = {"proxy": self._proxy} if self._proxy else {}
        return http.open_http_client(**options)

    def _request(self, model: str, messages: str | Messages, params: dict[str, Any]) -> StreamContext:
        given = {name: value for name, value in params.items() if name in PER_CALL and value}
        if "proxy" in given and (params.get("http_client") or self._client):
            raise SetupError("pass http_client= or proxy=, not both: a client has its own proxy")
        params = {name: value for name, value in params.items() if name not in PER_CALL}
        return super(HttpProvider, self._rebound(**given))._request(model, messages, params)

    def _rebound(
        self,
        *,
        api_key: ApiKey = None,
        api_base: str | None = None,
        api_endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> Self:
        """The same with other settings, for one call. A key that is bound here goes to no other origin."""
        other = copy(self)
        other._settings = dict(self._settings)
        other._headers = {**self._headers, **hidden({"headers": headers or {}})["headers"]}
        other._proxy = proxy or self._proxy
        other.api_endpoint = api_endpoint or self.api_endpoint
        other._bind_address(api_key, api_base)
        before, after = (self._origin(each.api_endpoint or each._address()) for each in (self, other))
        if api_key is None and after != before:
            other._forget_key(headers or {})
        return other

    def _forget_key(self, headers: Mapping[str, str]) -> None:
        """Drop the bound key, one in a bound header included; a header of this call's stays."""
        vars(self).pop("api_key", None)
        self._settings.pop("api_key", None)
        kept = {name: value for name, value in self._headers.items() if name.lower() != self.key_header.lower()}
        self._headers = {**kept, **headers}

    def _bind_address(self, api_key: ApiKey, api_base: str | None) -> None:
        if api_key:
            self.api_key = self._settings["api_key"] = api_key
        if api_base:
            self.api_base = self._settings["api_base"] = api_base

    def _owner(self) -> str:
        """Who understands what this service gives back to be sent again: it, at this address."""
        where = self._origin(self.api_endpoint or self._address())
        return self.label if where == self._origin(type(self).api_base) else f"{self.label}@{where}"

    def _home(self) -> str:
        """The address that the declaration or its own environment variable names."""
        name = next((name for name in self.base_variables if environ.get(name)), None)
        if name is None:
            return type(self).api_base
        try:
            address = self.base_from_variable(environ[name])
            origin(address)
        except ValueError as error:
            why = str(error)
        else:
            return address
        raise SetupError(f"{self.label}: {name} holds no address: {_told(environ[name], why)}")

    def _origin(self, address: str) -> str:
        try:
            return origin(address)
        except ValueError as error:
            why = str(error)
        raise SetupError(f"{self.label}: this is no address: {_told(address, why)}")

    def _address(self) -> str:
        bound: str | None = vars(self).get("api_base")
        return private((bound or self._home()).rstrip("/"))

    async def _key(self, address: str) -> str:
        key = self._key_for(address)
        key = key() if callable(key) else key
        if isawaitable(key):
            key = await key
        key = Secret(key or "")
        self._check_key(key)
        return key

    def _check_key(self, key: ApiKey) -> None:
        """See that it can be one. With a space or a line break it was copied or read from a file with something else.

        :raises SetupError: it cannot; it is not shown
        """
        if isinstance(key, str) and not _SENDABLE.fullmatch(key):
            raise SetupError(
                f"{self.name}: the key has a space, a line break, or another character that no key has. "
                f"Check {' and '.join(('api_key=', *self.key_variables))}."
            )

    def _key_for(self, address: str) -> ApiKey:
        """The key that is bound; else, to the service's own origin only, the declared one or the environment's.

        The environment's never goes to loopback: whatever listens there was not what the variable was set for.
        """
        bound: ApiKey = vars(self).get("api_key")
        if bound or self._origin(address) not in map(self._origin, (self._home(), type(self).api_endpoint)):
            return bound
        from_environment = () if is_loopback(urlsplit(address).hostname) else self.key_variables
        key = type(self).api_key or next((environ[name] for name in from_environment if environ.get(name)), None)
        return Secret(key) if isinstance(key, str) else key


@contextmanager
def naming(provider: str) -> Iterator[None]:
    """Put the provider's name before what a dialect says of a request that it cannot express, nor write as JSON."""
    try:
        yield
    except (SetupError, TypeError) as error:
        raise type(error)(f"{provider}: {error}") from error


def _told(address: str, why: str) -> str:
    """Words for what is no address. They are written where no exception is handled, which would hold its parts."""
    return f"{shown(address)!r}" + (f" ({why})" if shown(address) == address else "")


def _plain(value: Any) -> str:
    """Write what msgspec does not take for text, a key that a subclass puts into its body."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _mapping(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    given = params.get(name, {})
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping, {name}={{...}}, not {type(given).__name__}")
    return dict(given)


def _telling(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The texts of messages that are too long to occur in an error by chance."""
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = (part.get("text") for part in parts if isinstance(part, Mapping))
        yield from (text for text in texts if isinstance(text, str) and len(text) >= _TELLING)


def _is_of(provider: str, owner: str) -> bool:
    return provider in ("", owner)


def _own(message: dict[str, Any], owner: str) -> dict[str, Any]:
    """The message without what only another service understands."""
    kept = message.get("provider_metadata")
    if not isinstance(kept, Mapping) or _is_of(str(kept.get("provider") or ""), owner):
        return message
    return {name: value for name, value in message.items() if name != "provider_metadata"}
