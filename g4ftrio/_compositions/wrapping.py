"""What providers that wrap another one share."""

from __future__ import annotations

from typing import Any

from g4ftrio import providers as _providers
from g4ftrio._words.events import Asked
from g4ftrio.base_provider import AbstractProvider, AnsweringProvider, Ask
from g4ftrio.base_provider._binding import on_class_too

__all__ = ("Wrapping",)


class Wrapping(AnsweringProvider):
    """A provider around another one, by whose name and settings it goes where it has none of its own.

    :param provider: an instance, a class, or a spec
    """

    def __init__(self, provider: AbstractProvider | type[AbstractProvider] | str, **settings: Any) -> None:
        super().__init__(**settings)
        self._inner = _providers.resolve(provider)
        self.model = self.model or self._inner.model
        self.default_model = self._inner.default_model
        self._client = self._client or self._inner._client
        self._proxy = self._proxy or self._inner._proxy
        self._defaults = {**self._inner._defaults, **self._defaults}
        self._hooks = (*self._hooks, *self._inner._hooks)
        self._handoff = self._inner._handoff  # type: ignore[misc]  # per instance: it is as safe as what it wraps
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

    def _asked(self, ask: Ask) -> Asked:
        return self._inner._asked(ask)

    @property
    def _needs_client(self) -> bool:
        return self._client is None and self._inner._needs_client
