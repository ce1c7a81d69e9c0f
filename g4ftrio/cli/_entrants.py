"""Who is asked: whom the user has named, with ``--all`` whatever was found, and else nobody outside this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from os import environ

import anyio

from g4ftrio import providers
from g4ftrio._words.errors import Error, SetupError
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.cli._failure import in_words
from g4ftrio.cli._found import look, origin
from g4ftrio.providers import HttpProvider

__all__ = ("announcement", "from_environment", "hint", "named", "whatever_was_found")

_VARIABLE = "G4FTRIO_PROVIDERS"
_NOBODY = "no provider was named, so simulated ones answer"
_LIST_WAIT = 2.0  # seconds for a server on this machine to name its models


def from_environment() -> list[str]:
    """Give the specs that the environment names.

    :raises SetupError: one of them cannot be read, or names nobody
    """
    specs = [spec for spec in re.split(r"[,\s]+", environ.get(_VARIABLE, "")) if spec]
    try:
        for spec in specs:
            providers.resolve(spec)
    except SetupError as error:
        raise SetupError(f"in ${_VARIABLE}: {error}") from None
    return specs


def named(specs: Iterable[str], model: str | None) -> list[AbstractProvider]:
    """Find the providers, and see that each could be asked, before any is.

    :raises SetupError: names what is wrong, and what to do
    """
    return [_checked(providers.resolve(spec), model) for spec in specs]


async def whatever_was_found(model: str | None, note: Callable[[str], None]) -> list[AbstractProvider]:
    """Make a provider of every key and of every server on this machine.

    :param note: is told who is left out, and why
    :raises SetupError: nobody is left
    """
    ready = []
    for found in await look():
        try:
            provider = providers.resolve(found.label)
            if found.server and not model:
                provider.model = provider.default_model or await _first_model(provider)
            ready.append(_checked(provider, model))
        except Error as error:
            note(f"left out: {found}: {in_words(error).removeprefix(f'{found.label}: ')}")
    if not ready:
        raise SetupError(
            "--all finds no server on this machine, and no key together with a model:"
            " write -p PROVIDER/MODEL; `g4ftrio providers` lists them"
        )
    return ready


def announcement(entrants: Iterable[AbstractProvider]) -> str:
    """Say who gets the prompt."""
    return "the prompt goes to " + ", ".join(
        f"{entrant.name} ({origin(entrant) or entrant.label})" for entrant in entrants
    )


async def hint(command: str) -> str:
    """Say why nobody outside was asked, and with which command those would be who could."""
    found = await look()
    if not found:
        return f"{_NOBODY}. To ask others: {command} -p PROVIDER/MODEL PROMPT; `g4ftrio providers` lists them"
    has_models = all(each.server or providers.find(each.label).default_model for each in found)
    option = "--all" if has_models else "--all -m MODEL"
    return f"{_NOBODY}. Found: {', '.join(map(str, found))}. To ask them: {command} {option} PROMPT"


def _checked(provider: AbstractProvider, model: str | None) -> AbstractProvider:
    provider.check_ready()
    if isinstance(provider, HttpProvider) and not (provider.model or model or provider.default_model):
        label = provider.label
        raise SetupError(
            f"{label}: which model? Write -p {label}/MODEL or -m MODEL; `g4ftrio models {label}` lists them"
        )
    return provider


async def _first_model(provider: AbstractProvider) -> str:
    """Give the model that a server on this machine names first, which is mostly the only one that is loaded."""
    with anyio.move_on_after(_LIST_WAIT):
        return next(iter(await provider.list_models()), "")
    raise SetupError(f"{provider.label}: what listens at {origin(provider)} does not name its models")
