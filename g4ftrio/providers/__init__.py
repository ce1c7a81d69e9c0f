"""Providers: who, where, which dialect, which key. Found by name from a spec, ``provider[/model][@base_url]``."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from g4ftrio._words.errors import SetupError, SpecError, UnknownProviderError
from g4ftrio._words.secrets import shown
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.providers import _catalog, _community
from g4ftrio.providers._catalog import *  # noqa: F403  # the catalogue is this package's face
from g4ftrio.providers._community import *  # noqa: F403  # likewise
from g4ftrio.providers._declared import HttpProvider
from g4ftrio.providers._openai_template import OpenaiTemplate
from g4ftrio.providers._socket import SocketProvider

__all__ = (  # noqa: PLE0604  # names of the catalogues
    *_catalog.__all__,
    *_community.__all__,
    "HttpProvider",
    "OpenaiTemplate",
    "ProviderTypes",
    "SocketProvider",
    "find",
    "known",
    "resolve",
)

ProviderTypes: TypeAlias = AbstractProvider | type[AbstractProvider] | str  # an instance, a class, or a spec

_log = logging.getLogger("g4ftrio")
GROUP = "g4ftrio.providers"  # the entry-point group by which other packages add theirs

_SPEC = re.compile(r"(?P<label>[\w.+-]+)(?:[/:](?P<model>.*?))?(?:@(?P<base>[a-z][a-z0-9+.-]*://.*))?", re.IGNORECASE)


def known() -> dict[str, type[AbstractProvider]]:
    """Every provider by its label: those of the catalogue, and those that other packages bring as entry points.

    One of another package's that cannot be loaded is left out, and logged under ``g4ftrio``.
    """
    found: dict[str, type[AbstractProvider]] = {}
    for label, load in _plugins().items():
        try:
            found[label] = load()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong while somebody else's module is imported
            _log.warning("the provider %s of another package cannot be loaded: %r", label, error)
    found |= {_label(cls): cls for cls in _declared()}
    return dict(sorted(found.items()))


def find(label: str) -> type[AbstractProvider]:
    """The provider of that label.

    :raises UnknownProviderError: there is none; it names the nearest
    """
    wanted = label.lower()
    for cls in _declared():
        if wanted in (_label(cls), cls.__name__.lower()):
            return cls
    plugins = _plugins()
    if wanted not in plugins:
        raise UnknownProviderError(label, [*map(_label, _declared()), *plugins])
    return plugins[wanted]()


def resolve(provider: ProviderTypes) -> AbstractProvider:
    """Turn an instance, a class or a spec into a provider.

    A spec is ``provider[/model][@base_url]``: the provider ends at the first ``/`` or ``:``, and an ``@`` counts only
    before a scheme, so that model names may hold all three.

    :raises SpecError: a spec that cannot be read
    :raises UnknownProviderError: no provider of that name
    """
    if isinstance(provider, AbstractProvider):
        return provider
    if isinstance(provider, type) and issubclass(provider, AbstractProvider):
        return provider()
    if not isinstance(provider, str):
        raise SetupError(f"a provider is an instance, a class or a spec, not {type(provider).__name__}")
    match = _SPEC.fullmatch(provider.strip())
    if match is None:
        raise SpecError(f"{shown(provider)!r} is not a provider's spec: write provider[/model][@base_url]")
    cls = find(match["label"])
    settings: dict[str, Any] = {"model": match["model"] or ""}
    if match["base"]:
        settings["api_base"] = match["base"]
    return cls(**settings)


def _declared() -> list[type[AbstractProvider]]:
    return [getattr(catalog, name) for catalog in (_catalog, _community) for name in catalog.__all__]


def _label(cls: type[AbstractProvider]) -> str:
    return cls.label


def _plugins() -> dict[str, Callable[[], type[AbstractProvider]]]:
    from importlib.metadata import entry_points

    return {entry.name.lower(): entry.load for entry in entry_points(group=GROUP)}
