"""A provider whose answers go through a filter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from g4ftrio import providers as _providers
from g4ftrio._chunks import Chunk
from g4ftrio._cleaning import ChunkFilter
from g4ftrio._filtered import FilteredAnswer
from g4ftrio._source import Source
from g4ftrio.base_provider import AbstractProvider, AnsweringProvider, Ask
from g4ftrio.base_provider._binding import on_class_too

__all__ = ("Cleaned",)


class Cleaned(AnsweringProvider):
    """A provider whose answers go through a filter: advertisements, say, do not win a race.

    :param provider: an instance, a class, or a spec
    :param make_filter: makes a filter for each answer
    """

    label = "cleaned"

    def __init__(
        self,
        provider: AbstractProvider | type[AbstractProvider] | str,
        make_filter: Callable[[], ChunkFilter],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._inner = _providers.resolve(provider)
        self._make_filter = make_filter
        self.model = self.model or self._inner.model
        self.default_model = self._inner.default_model
        self._timeout = self._timeout.over(self._inner._timeout)
        self._client = self._client or self._inner._client
        self._proxy = self._proxy or self._inner._proxy
        self._defaults = {**self._inner._defaults, **self._defaults}
        self._handoff = self._inner._handoff  # type: ignore[misc]  # per instance: it is as safe as what it cleans
        self._detachable = self._inner.detachable  # type: ignore[misc]  # likewise

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """The models of the provider."""
        return await self._inner.list_models()

    def check_ready(self) -> None:
        """See that the provider is ready."""
        self._inner.check_ready()

    def which_model(self, asked: str) -> str:
        """The model that the provider will be asked for."""
        return self._inner.which_model(asked)

    def goes_on_from_text(self, model: str) -> bool:
        """Whether the provider does."""
        return self._inner.goes_on_from_text(model)

    def _called(self, model: str) -> str:
        return self._name or self._inner._called(model)

    @property
    def _needs_client(self) -> bool:
        return self._client is None and self._inner._needs_client

    def _answer(self, ask: Ask) -> AbstractAsyncContextManager[Source[Chunk]]:
        return FilteredAnswer(self._inner._open(ask), self._make_filter(), ask.record)
