"""The providers' base classes.

A class is a declaration, an instance is the same with settings bound. Whoever writes one door of a provider gets the
others: a subclass that has only ``create_async_generator`` can be streamed, completed and raced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, Unpack

from msgspec import Struct, field

from g4ftrio._answer import GeneratorAnswer, Patient
from g4ftrio._chunks import Chunk
from g4ftrio._completion import Completion
from g4ftrio._errors import SetupError
from g4ftrio._messages import Messages, normalize
from g4ftrio._report import EntrantReport
from g4ftrio._request import ChatParams, check_params
from g4ftrio._source import Source, use_async_with
from g4ftrio._stream import Stream
from g4ftrio._structured import parse_response
from g4ftrio._timeouts import Timeout, TimeoutTypes

if TYPE_CHECKING:
    import httpx

__all__ = ("AbstractProvider", "Ask", "AsyncGeneratorProvider", "StreamContext")

ApiKey: TypeAlias = str | Callable[[], Any] | None


class Ask(Struct, kw_only=True):
    """One request to one provider, as it travels through compositions.

    :ivar client: an HTTP client to use where the provider has none of its own
    :ivar watched: the time-outs that the answer itself must watch; a race watches ``first_chunk`` for its entrants
    """

    messages: list[dict[str, Any]]
    model: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    timeout: Timeout = field(default_factory=Timeout)
    client: Any = None
    record: EntrantReport
    watched: tuple[str, ...] = ("first_chunk", "stall", "total")


class AbstractProvider:
    """What every provider is.

    :param model: the model to ask for where a call names none
    :param name: what reports and errors call it; by default ``label/model``
    :param timeout: a ``Timeout``, or seconds without progress; a call's own goes before it, limit by limit
    :param http_client: an ``httpx.AsyncClient`` to send with; whoever made it closes it
    :param proxy: the URL of a proxy, for a client of its own
    :param headers: sent with every request
    :param settings: any attribute that the class declares, and any chat parameter as a default
    :raises TypeError: a setting that nobody knows
    """

    label: ClassVar[str] = ""
    url: str = ""
    working: bool = True
    needs_auth: bool = False
    supports_stream: bool = True
    supports_system_message: bool = True
    supports_message_history: bool = True
    default_model: str = ""

    _handoff: ClassVar[bool] = False
    _detachable: ClassVar[bool] = False
    _free_params: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "label" not in cls.__dict__:
            cls.label = cls.__name__.lower()

    def __init__(
        self,
        *,
        model: str = "",
        name: str = "",
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        if http_client is not None and proxy is not None:
            raise SetupError("pass http_client= or proxy=, not both: a client has its own proxy")
        self.model = model
        self._name = name
        self._timeout = Timeout.of(timeout)
        self._client = http_client
        self._proxy = proxy
        self._headers = dict(headers or {})
        self._defaults = self._bind(settings)

    @property
    def name(self) -> str:
        """What reports and errors call it."""
        return self._called(self.model or self.default_model)

    def stream(
        self,
        messages: str | Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        **params: Unpack[ChatParams],
    ) -> StreamContext:
        """Ask, and read the answer as it comes: ``async with provider.stream("Why?") as stream``.

        :param messages: a prompt, or a list of mappings in the OpenAI shape
        :param system: a system message to put before them
        :param timeout: a ``Timeout``, or seconds without progress
        :param params: see ``ChatParams``
        :raises TypeError: a parameter that nobody knows
        :raises MessagesError: messages that no service could read
        :raises ProviderError: on entering and while reading: the provider failed
        """
        return StreamContext(self, self._ask(messages, model, system, timeout, http_client, dict(params)))

    async def complete(
        self,
        messages: str | Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        **params: Unpack[ChatParams],
    ) -> Completion:
        """Ask, and wait for the whole answer; the parameters are those of ``stream``.

        :raises ProviderError: the provider failed
        """
        context = self.stream(messages, model=model, system=system, timeout=timeout, http_client=http_client, **params)
        async with context as stream:
            return await stream.collect()

    async def list_models(self) -> list[str]:
        """The models that the service offers now, or those that the class declares."""
        return [self.default_model] if self.default_model else []

    def check_ready(self) -> None:
        """See that everything is there that a request needs; sends nothing.

        :raises SetupError: what is missing, and how to give it
        """

    def which_model(self, asked: str) -> str:
        """The model to ask for: the one asked for, else the default.

        :raises SetupError: it needs one, and there is none
        """
        return asked or self.default_model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        """The one door behind all others: open an answer."""
        raise NotImplementedError(f"{type(self).__name__} has none of the methods that create an answer")

    def _ask(
        self,
        messages: str | Messages,
        model: str | None,
        system: str | None,
        timeout: TimeoutTypes,
        client: httpx.AsyncClient | None,
        params: dict[str, Any],
    ) -> Ask:
        if not self._free_params:
            check_params(params, frozenset())
        asked = model or self.model or self.default_model
        return Ask(
            messages=normalize(messages, system),
            model=asked,
            params=self._merged(params),
            timeout=Timeout.of(timeout).over(self._timeout),
            client=client or self._client,
            record=EntrantReport(name=self._called(asked), model=asked),
        )

    def _called(self, model: str) -> str:
        return self._name or (f"{self.label}/{model}" if model else self.label)

    def _merged(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {**self._defaults, **params}.items() if value is not None}

    def _bind(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Set what the class declares as attributes; what is left are parameters for every request."""
        declared = [name for name in settings if _is_declared(type(self), name)]
        for name in declared:
            setattr(self, name, settings.pop(name))
        check_params(settings, frozenset(name for name in dir(type(self)) if _is_declared(type(self), name)))
        return settings


def _is_declared(cls: type, name: str) -> bool:
    if name.startswith("_") or not hasattr(cls, name):
        return False
    value = getattr(cls, name)
    return not callable(value) and not isinstance(value, property)


class StreamContext:
    """A request that was made ready and is to be entered: ``async with provider.stream(...) as stream``."""

    def __init__(self, provider: AbstractProvider, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask
        self._parse = _parser(ask.params)
        self._stream: Stream | None = None

    def __aiter__(self) -> AsyncIterator[Chunk]:
        raise use_async_with("provider.stream(...)")

    async def __aenter__(self) -> Stream:
        self._provider.check_ready()
        self._answer = self._provider._answer(self._ask)
        self._stream = Stream(await self._answer.__aenter__(), self._ask.record, parse=self._parse)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            await self._answer.__aexit__(kind, error, traceback)
        return None

    async def settle(self) -> Stream:
        """Open the stream without a context: close it with ``aclose()``, from any task.

        :raises TypeError: this provider's streams belong to the task that opens them
        """
        if not self._provider._detachable:
            raise TypeError(
                f"{self._provider.name} cannot be settled: use `async with provider.stream(...) as stream:`"
            )
        stream = await self.__aenter__()
        self._answer.detach()  # type: ignore[attr-defined]  # what is detachable has it
        return stream


def _parser(params: Mapping[str, Any]) -> Callable[[str], Any] | None:
    """What turns the answer's text into what was asked for with ``response_format=``, if that was a type."""
    wanted = params.get("response_format")
    if wanted is None or isinstance(wanted, Mapping):
        return None
    return lambda text: parse_response(wanted, text)


class AsyncGeneratorProvider(AbstractProvider):
    """A provider whose one written method is ``create_async_generator(model, messages, stream=True, **params)``.

    What is yielded is a chunk: text as ``str``, other things as the classes of ``g4ftrio.Chunk``.
    """

    create_async_generator: ClassVar[Callable[..., AsyncIterator[Chunk]]]

    _handoff: ClassVar[bool] = True

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        params = {"stream": True, **ask.params}
        answer = GeneratorAnswer(lambda: self.create_async_generator(ask.model, ask.messages, **params))
        return Patient(answer, ask.timeout, ask.record.name, (*ask.watched, "idle"), opening=False)
