"""The simulated fleet: services as a command line declares them, and providers that ask them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from g4ftrio import providers
from g4ftrio._cleaning import ChunkFilter, Marker
from g4ftrio._compositions.cleaned import Cleaned
from g4ftrio._words.errors import SetupError
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.simulator import DEMO, Fault, Running, Service

__all__ = ("Simulated", "as_providers", "fleet_of")

_ADVERTISEMENT = (Marker("Join for free", "\n", where="lead"),)


class Simulated(Cleaned):
    """One of the fleet; its label is what is said of where it is, and the wire that it is asked on."""

    def __init__(self, running: Running) -> None:
        service = running.service
        super().__init__(_asked(running), _without_advertisement, name=service.name)
        self.label = f"simulated {service.dialect}"  # type: ignore[misc]  # per instance: each has its own wire


def as_providers(fleet: Mapping[str, Running]) -> list[AbstractProvider]:
    """Ask each service under its name; their advertisements are dropped, and win nothing."""
    return [Simulated(running) for running in fleet.values()]


def fleet_of(faults: Iterable[str], seed: int, dialects: Iterable[str] = ()) -> Sequence[Service]:
    """Declare the demonstration's services with other faults and on other wires.

    :param faults: each ``NAME:FAULT``, or with settings ``NAME:FAULT,after=3,...``; ``none`` makes a service well
    :param dialects: each ``NAME:DIALECT``, or ``DIALECT`` for all services
    :raises SetupError: one that cannot be read
    """
    services = {service.name: replace(service, seed=seed) for service in DEMO}
    for written in dialects:
        names, dialect = (services, written) if ":" not in written else _split(written, services, "DIALECT")
        for name in names:
            with _refusing(written):
                services[name] = replace(services[name], dialect=dialect)
    for written in faults:
        (name,), fault = _split(written, services, "FAULT")
        with _refusing(written):
            services[name] = replace(services[name], fault=_fault(fault))
    return tuple(services.values())


def _split(written: str, names: Iterable[str], what: str) -> tuple[list[str], str]:
    name, _, value = written.partition(":")
    if name not in names or not value:
        raise SetupError(f"{written!r} is not NAME:{what}, with a NAME out of {', '.join(names)}")
    return [name], value


@contextmanager
def _refusing(written: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise SetupError(f"{written!r}: {error}") from None


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
