"""The asynchronous bases: a subclass writes one coroutine, one generator, or one answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from g4ftrio._race.source import Source
from g4ftrio._streams.patient import Patient
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.messages import Messages
from g4ftrio._words.request import ModelParams
from g4ftrio._words.timeouts import TimeoutTypes
from g4ftrio.base_provider._abstract import AbstractProvider, joined
from g4ftrio.base_provider._ask import Ask
from g4ftrio.base_provider._binding import creating, on_class_too
from g4ftrio.base_provider._coroutine import CoroutineAnswer
from g4ftrio.typing import AsyncResult, CreateResult

if TYPE_CHECKING:
    import httpx

__all__ = ("AnsweringProvider", "AsyncGeneratorProvider", "AsyncProvider")


class AsyncProvider(AbstractProvider):
    """A provider whose one written method is the coroutine ``create_async(model, messages, **params) -> str``."""

    @creating
    async def create_async(self, /, model: str, messages: Messages, **params: Any) -> str:
        """Ask, and give the whole text; the one method that a subclass writes."""
        raise NotImplementedError(f"{type(self).__name__} has none of the methods that create an answer")

    @creating
    def create_completion(
        self, /, model: str, messages: str | Messages, stream: bool = False, **params: Any
    ) -> CreateResult:
        """Ask from synchronous code: an iterator of one item, the whole text.

        :raises EventLoopRunningError: an event loop runs here; nothing was sent
        """
        instead = f"await {type(self).__name__}.create_async(...)"
        return self._request_sync(instead, model, messages, {**params, "stream": stream})

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        params = {name: value for name, value in ask.params.items() if name != "stream"}
        answer = CoroutineAnswer(lambda: self.create_async(ask.model, ask.messages, **params))
        return Patient(answer, ask.timeout, ask.record.name, (*ask.watched, "idle"))


class AsyncGeneratorProvider(AbstractProvider):
    """A provider whose one written method is ``create_async_generator(model, messages, stream=True, **params)``.

    What is yielded is a chunk: text as ``str``, other things as the classes of ``g4ftrio.Chunk``.
    """

    supports_stream = True

    @creating
    def create_async_generator(
        self, /, model: str, messages: Messages, stream: bool = True, **params: Any
    ) -> AsyncResult:
        """Ask, and give chunks as they come; the one method that a subclass writes."""
        raise NotImplementedError(f"{type(self).__name__} has none of the methods that create an answer")

    _detachable: ClassVar[bool] = False

    @creating
    def create_completion(
        self, /, model: str, messages: str | Messages, stream: bool = True, **params: Any
    ) -> CreateResult:
        """Ask from synchronous code: a generator that gives chunk by chunk as they come.

        Closing it cancels the stream behind it.

        :param params: the provider's own, and ``backend``: the event loop to run on, ``trio`` (the default) or
            ``asyncio``
        :raises EventLoopRunningError: an event loop runs here; nothing was sent
        """
        instead = f"async for chunk in {type(self).__name__}.create_async_generator(...)"
        return self._request_sync(instead, model, messages, {**params, "stream": stream})

    @creating
    async def create_async(self, /, model: str, messages: str | Messages, **params: Any) -> str:
        """Ask, and give the whole text."""
        async with self._request(model, messages, params) as stream:
            return await joined(stream)

    @on_class_too
    def get_async_create_function(self, /) -> Callable[..., Any]:
        """The method that asks from asynchronous code."""
        return self.create_async_generator

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return self._generated(ask)


class AnsweringProvider(AsyncGeneratorProvider):
    """A provider whose one written method is ``_answer``: over HTTP, or made of other providers."""

    _detachable: ClassVar[bool] = True
    _free_params: ClassVar[bool] = False

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
        **params: Unpack[ModelParams],
    ) -> AsyncResult:
        """Give the answer's chunks; nothing is sent before the first read. Close it with ``aclose()``.

        :raises TypeError: a parameter that nobody knows, before anything is sent
        """
        given = {**params, "stream": stream, "timeout": timeout, "http_client": http_client}
        return self._request(model, messages, given).unread()
