"""The simulated fleet: services as a command line declares them, and providers that ask them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from g4ftrio import providers
from g4ftrio._cleaned import Cleaned
from g4ftrio._cleaning import ChunkFilter, Marker
from g4ftrio._errors import SetupError
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.simulator import DEMO, Fault, Running, Service

__all__ = ("Simulated", "as_providers", "fleet_of")

_ADVERTISEMENT = (Marker("Join for free", "\n", where="lead"),)


class Simulated(Cleaned):
    """One of the fleet; its label is what is said of where it is."""

    label = "simulated"


def as_providers(fleet: Mapping[str, Running]) -> list[AbstractProvider]:
    """Ask each service under its name; their advertisements are dropped, and win nothing."""
    return [Simulated(_asked(running), _without_advertisement, name=name) for name, running in fleet.items()]


def fleet_of(faults: Iterable[str], seed: int) -> Sequence[Service]:
    """Declare the demonstration's services with other faults.

    :param faults: each ``NAME:FAULT``, or with settings ``NAME:FAULT,after=3,...``; ``none`` makes a service well
    :raises SetupError: one that cannot be read
    """
    services = {service.name: replace(service, seed=seed) for service in DEMO}
    for written in faults:
        name, _, fault = written.partition(":")
        if name not in services or not fault:
            raise SetupError(f"{written!r} is not NAME:FAULT, with a NAME out of {', '.join(services)}")
        try:
            services[name] = replace(services[name], fault=_fault(fault))
        except (TypeError, ValueError) as error:
            raise SetupError(f"{written!r}: {error}") from None
    return tuple(services.values())


def _fault(written: str) -> Fault | None:
    name, *settings = written.split(",")
    pairs = [setting.partition("=")[::2] for setting in settings]
    return None if name == "none" else Fault(name, **{setting: _value(value) for setting, value in pairs})


def _value(written: str) -> float | str:
    for read in (int, float):
        try:
            return read(written)
        except ValueError:
            continue
    return written


def _asked(running: Running) -> AbstractProvider:
    service = running.service
    return providers.find(service.dialect)(model=service.models[0], api_base=running.api_base)


def _without_advertisement() -> ChunkFilter:
    return ChunkFilter(_ADVERTISEMENT)
