"""Which models a provider has, and what else they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from g4ftrio._words.errors import UnknownModelError
from g4ftrio.base_provider._abstract import AbstractProvider
from g4ftrio.base_provider._binding import creating, on_class_too

__all__ = ("ProviderModelMixin",)

_KEPT = ("models", "model_aliases", "image_models", "vision_models")


class ProviderModelMixin(AbstractProvider):
    """A provider that knows its models by name.

    What an instance keeps is its own: a class's lists are copied for it, and a class asked without an instance keeps
    what it learns in a default instance of that very class.

    :ivar models: the names of the models; empty is not known
    :ivar model_aliases: other names, each for a model or for a list of which one is drawn at random
    :ivar image_models: those that make images
    :ivar vision_models: those that look at images
    """

    models: Sequence[str] = ()
    model_aliases: Mapping[str, str | Sequence[str]] = MappingProxyType({})
    image_models: Sequence[str] = ()
    vision_models: Sequence[str] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in _KEPT:
            if not isinstance(kept := getattr(self, name), tuple):
                setattr(self, name, deepcopy(dict(kept) if isinstance(kept, Mapping) else kept))

    @creating
    def get_models(self, /, **params: Any) -> list[str]:  # noqa: ARG002  # those of a subclass may take some
        """The names of the models that are known, without asking anybody; else that of the default model."""
        return list(self.models) or ([self.default_model] if self.default_model else [])

    @creating
    def get_model(self, /, model: str | None = None, **params: Any) -> str:  # noqa: ARG002  # likewise
        """The name that the service has for a model: of none the default's, of an alias the model's.

        :raises UnknownModelError: the models are known, and this is none of them; it lists them
        """
        name = model or self.model or self.default_model
        if name in self.model_aliases:
            return _drawn(self.model_aliases[name])
        if name and self.models and name not in self._names():
            raise UnknownModelError(name, dict.fromkeys([*self.models, *self.model_aliases]), provider=self.label)
        return name

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """The models of ``get_models``, which is run in a thread: a subclass may ask its service there."""
        from anyio import to_thread

        return await to_thread.run_sync(self.get_models)

    def which_model(self, asked: str) -> str:
        """The model to ask for.

        :raises UnknownModelError: the models are known, and this is none of them
        """
        return self.get_model(super().which_model(asked))

    def _names(self) -> set[str]:
        targets = self.model_aliases.values()
        aliased = {name for target in targets for name in ([target] if isinstance(target, str) else target)}
        return {*self.models, *aliased, *self.image_models, *self.vision_models, self.default_model}


def _drawn(target: str | Sequence[str]) -> str:
    if isinstance(target, str):
        return target
    from random import choice

    return choice(target)  # noqa: S311  # nothing secret hangs on it
