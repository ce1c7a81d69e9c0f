"""The root of all providers: every door, and the synchronous base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from anyio import move_on_after

from g4ftrio._race.source import Source
from g4ftrio._resilience.limited import LimitedAnswer
from g4ftrio._streams.generator_answer import GeneratorAnswer
from g4ftrio._streams.patient import Patient
from g4ftrio._streams.sync import Backend, SyncStream, iterate_sync, refuse_in_a_loop, run_sync
from g4ftrio._streams.threads import ThreadAnswer
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.completion import Completion
from g4ftrio._words.errors import APITimeoutError
from g4ftrio._words.events import Asked, with_log
from g4ftrio._words.messages import Messages, normalize
from g4ftrio._words.report import EntrantReport
from g4ftrio._words.request import ChatParams, check_params
from g4ftrio._words.secrets import hidden
from g4ftrio._words.timeouts import Timeout, TimeoutTypes
from g4ftrio.base_provider import _parameters
from g4ftrio.base_provider._ask import Ask, StreamContext
from g4ftrio.base_provider._binding import ClassProperty, creating, on_class_too
from g4ftrio.base_provider._declaration import Declaration
from g4ftrio.typing import AsyncResult, CreateResult

if TYPE_CHECKING:
    import httpx

__all__ = ("AbstractProvider",)

_PRIVATE = frozenset({"api_key", "cookies", "extra_headers", "headers", "proxy"})  # parameters that no hook is told
_WAITS = ("first_chunk", "stall", "idle", "total")
_SETTINGS = frozenset({"executor", "http_client", "loop", "timeout"})  # beside the parameters; two mean nothing here
_DOORS = ("create_authed", "create_async_generator", "create_async", "create_completion")


class AbstractProvider(Declaration):
    """What every provider is, and the base of those whose one written method is the synchronous ``create_completion``.

    Every method that asks may be called on the class, and on an instance with its settings bound.

    :param model: the model to ask for where a call names none
    :param name: what reports and errors call it; by default ``label/model``
    :param timeout: a ``Timeout``, or seconds without progress; a call's own goes before it, limit by limit
    :param http_client: an ``httpx.AsyncClient`` to send with; whoever made it closes it
    :param proxy: the URL of a proxy, for a client of its own
    :param headers: sent with every request
    :param limit: how many requests it is asked at once, of all that this instance is asked
    :param rate: how many requests and tokens in how many seconds
    :param wait: seconds that a request waits for its turn within these limits, before it fails with a ``LimitError``;
        0 is not at all, so that a race asks the next one at once; None, the default, as long as it takes
    :param on_event: is called with an ``Event`` for everything that happens with a request, while it happens
    :param settings: any attribute that the class declares, and any chat parameter as a default
    :raises TypeError: a setting that nobody knows
    """

    _detachable: ClassVar[bool] = True
    _handoff: ClassVar[bool] = True

    @creating
    def create_completion(self, /, model: str, messages: Messages, stream: bool, **params: Any) -> CreateResult:
        """Ask from synchronous code; the one method that a subclass of ``AbstractProvider`` itself writes.

        :param stream: whether to give the answer piece by piece
        :returns: an iterator of chunks
        """
        raise NotImplementedError(f"{type(self).__name__} has none of the methods that create an answer")

    @creating
    async def create_async(
        self,
        /,
        model: str,
        messages: Messages,
        *,
        timeout: float | None = None,
        loop: object = None,  # noqa: ARG002  # the documents name it; the loop is the one that runs here
        executor: Executor | None = None,
        **params: Any,
    ) -> str:
        """Run the synchronous ``create_completion`` in a thread, and give the whole text.

        :param timeout: seconds for all of it, beside what is bound; the thread is not waited for after that
        :param loop: has no effect
        :param executor: a thread pool to run it in
        :raises APITimeoutError: it took too long; a ``TimeoutError``
        """
        params.setdefault("stream", False)
        answer = ThreadAnswer(partial(self.create_completion, model, messages, **params), self.name, executor=executor)
        with move_on_after(timeout or inf):
            async with Patient(answer, self._timeout, self.name, _WAITS) as source:
                return await joined(source)
        raise APITimeoutError("total", timeout or inf, provider=self.name)

    @creating
    def create_async_generator(
        self, /, model: str, messages: Messages, stream: bool = True, **params: Any
    ) -> AsyncResult:
        """Give the answer's chunks; nothing is asked before the first read. Close it with ``aclose()``."""
        return self._request(model, messages, {**params, "stream": stream}).unread()

    @on_class_too
    def stream(
        self,
        /,
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
        return self._context(self._ask(messages, model, system, timeout, http_client, dict(params)))

    @on_class_too
    async def complete(
        self,
        /,
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
        async with self._context(self._ask(messages, model, system, timeout, http_client, dict(params))) as stream:
            return await stream.collect()

    @on_class_too
    def stream_sync(
        self,
        /,
        messages: str | Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        timeout: TimeoutTypes = None,
        backend: Backend = "trio",
        **params: Unpack[ChatParams],
    ) -> SyncStream:
        """``stream`` for synchronous code: ``with provider.stream_sync("Why?") as stream``, then a plain ``for``.

        :param backend: the event loop to run it on, in a thread of its own: ``trio`` or ``asyncio``
        :raises EventLoopRunningError: one runs here already; nothing was sent
        :raises ProviderError: on entering and while reading: the provider failed
        """
        context = self._context(self._ask(messages, model, system, timeout, None, dict(params)))
        return SyncStream(
            lambda: context, backend=backend, instead=f"async with {type(self).__name__}.stream(...) as stream:"
        )

    @on_class_too
    def complete_sync(
        self,
        /,
        messages: str | Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        timeout: TimeoutTypes = None,
        backend: Backend = "trio",
        **params: Unpack[ChatParams],
    ) -> Completion:
        """``complete`` for synchronous code.

        :param backend: the event loop to run it on, ``trio`` or ``asyncio``
        :raises EventLoopRunningError: one runs here already; nothing was sent
        :raises ProviderError: the provider failed
        """
        complete = partial(self.complete, messages, model=model, system=system, timeout=timeout, **params)
        return run_sync(complete, backend=backend, instead=f"await {type(self).__name__}.complete(...)")

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """The models that the service offers now, or those that the class declares."""
        return [self.default_model] if self.default_model else []

    @on_class_too
    def get_create_function(self, /) -> Callable[..., CreateResult]:
        """The method that asks from synchronous code."""
        return self.create_completion

    @on_class_too
    def get_async_create_function(self, /) -> Callable[..., Any]:
        """The method that asks from asynchronous code."""
        return self.create_async

    @on_class_too
    def get_parameters(self, /, as_json: bool = False) -> dict[str, Any]:
        """The safe parameters of the creating method that the subclass writes.

        :param as_json: give values for a form instead: defaults, else examples, else a value of the type
        :returns: ``inspect.Parameter`` by name, or plain JSON values
        """
        found: dict[str, Any] = _parameters.shown(self._written(), stream=self.supports_stream)
        if not as_json:
            return found
        fixed = {"provider": type(self).__name__, "stream": self.supports_stream}
        fixed["model"] = self.model or self.default_model
        return _parameters.as_json(found, fixed, system=self.supports_system_message)

    @ClassProperty
    def params(self) -> str:
        """The parameters as text: name, type and default, one a line."""
        return _parameters.as_text(type(self).__name__, self.get_parameters(), self.model or self.default_model)

    def check_ready(self) -> None:
        """See that everything is there that a request needs; sends nothing.

        :raises SetupError: what is missing, and how to give it
        """

    def which_model(self, asked: str) -> str:
        """The model to ask for: the one asked for, else the default.

        :raises SetupError: it needs one, and there is none
        """
        return asked or self.default_model

    def goes_on_from_text(self, model: str) -> bool:  # noqa: ARG002  # for subclasses that know
        """Whether a conversation that ends with an assistant's message is answered by the rest of that message."""
        return False

    @property
    def _server(self) -> str:
        """The origin that is asked, if it is one."""
        return ""

    @property
    def _needs_client(self) -> bool:
        """Whether it would send with the HTTP client of a race."""
        return False

    def _open(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        """The one door behind all others: open an answer, that of the generator where a subclass wrote one."""
        answer = self._generated(ask) if self._by_generator else self._answer(ask)
        if self._limiter is None:
            return answer
        return LimitedAnswer(answer, self._limiter, ask.messages, ask.params, ask.record)

    def _generated(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        params = {"stream": True, **ask.params}
        answer = GeneratorAnswer(lambda: self.create_async_generator(ask.model, ask.messages, **params))
        return Patient(answer, ask.timeout, ask.record.name, (*ask.watched, "idle"), opening=False)

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        """Open an answer; what a subclass asks for by ``super().create_async_generator(...)``."""
        params = {"stream": True, **ask.params}
        answer = ThreadAnswer(partial(self.create_completion, ask.model, ask.messages, **params), ask.record.name)
        return Patient(answer, ask.timeout, ask.record.name, (*ask.watched, "idle"))

    def _context(self, ask: Ask) -> StreamContext:
        return StreamContext(self, ask)

    def _request(self, model: str, messages: str | Messages, params: dict[str, Any]) -> StreamContext:
        """A request as the creating methods take it: the model first, and settings among the parameters."""
        given = {name: value for name, value in params.items() if name not in _SETTINGS}
        timeout, client = params.get("timeout"), params.get("http_client")
        return self._context(self._ask(messages, model, None, timeout, client, given))

    def _request_sync(self, instead: str, model: str, messages: str | Messages, params: dict[str, Any]) -> CreateResult:
        """The same for synchronous code: a generator over a thread that runs an event loop."""
        backend = params.pop("backend", "trio")
        refuse_in_a_loop(instead)
        context = self._request(model, messages, params)
        return iterate_sync(lambda: context, backend=backend, instead=instead)

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
            check_params(params, self._extra_params | self._own_names())
        asked = model or self.model or self.default_model
        return Ask(
            messages=normalize(messages, system),
            model=asked,
            params=self._merged(params),
            timeout=Timeout.of(timeout).over(self._timeout),
            client=client or self._client,
            record=EntrantReport(name=self._called(asked), model=asked),
            hooks=with_log(self._hooks),
        )

    def _asked(self, ask: Ask) -> Asked:
        """What hooks are told of a request."""
        return Asked(
            operation=self._operation,
            provider=self.telemetry_name or self.label,
            server=self._server,
            messages=ask.messages,
            params={name: value for name, value in ask.params.items() if name not in _PRIVATE},
            headers=ask.headers,
        )

    def _merged(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A None given for a default takes the default out: whoever sends it leaves what is None away."""
        return {**self._defaults, **hidden(params)}

    def _written(self) -> Callable[..., Any]:
        """The creating method that a subclass wrote, else the one that a subclass is to write."""
        for name in _DOORS:
            home = next((base for base in type(self).__mro__ if name in vars(base)), AbstractProvider)
            if home.__module__.rpartition(".")[0] != __package__:
                return getattr(self, name)  # type: ignore[no-any-return]  # by its name only
        return self.create_completion

    def _own_names(self) -> frozenset[str]:
        """The parameters of a generator that a subclass wrote."""
        return _parameters.names(self.create_async_generator) if self._by_generator else frozenset()

    def _known_names(self) -> frozenset[str]:
        names = super()._known_names()
        return names | (_parameters.names(self._written()) if self._free_params else self._own_names())


async def joined(source: Source[Chunk]) -> str:
    """Read to the end, and give the text of everything."""
    texts: list[str] = []
    while batch := await source.pull():
        texts += map(str, batch)
    return "".join(texts)
