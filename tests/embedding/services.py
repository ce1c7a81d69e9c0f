"""The services that are asked in these tests, and what is to be true of them afterwards."""

from __future__ import annotations

import anyio

from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import Fleet, Service, ThreadFleet

__all__ = ("NEVER", "SERVICES", "TEXT", "asked", "entrants", "gone", "whole")

TEXT = "It is blue because of the way air scatters light."
NEVER = 1e6  # seconds that no test waits for

SERVICES = (
    Service("quick", text=TEXT),
    Service("slow", text="on and " * 1000, gap=0.02),
    Service("stuck", text="on and on", gap=NEVER),  # says one word and no more
    Service("never", first_token=NEVER),
    Service("error", fault="error"),
)


def entrants(fleet: Fleet | ThreadFleet, *names: str) -> list[OpenAICompatible]:
    """Providers that ask these services, and are called after them."""
    return [OpenAICompatible(model=name, api_base=fleet[name].api_base, name=name) for name in names]


async def asked(fleet: Fleet, *names: str) -> None:
    """Wait until each of these is answering."""
    with anyio.fail_after(5):
        while not all(fleet[name].in_flight for name in names):  # noqa: ASYNC110  # no event tells
            await anyio.sleep(0.002)


async def gone(fleet: Fleet) -> bool:
    """Wait until nothing is asked any more, and tell whether every client left before its answer was whole."""
    return await _outcomes(fleet) == {"client_gone"}


async def whole(fleet: Fleet, name: str, count: int) -> bool:
    """Wait until nothing is asked any more, and tell whether only this one was heard to the end, so many times."""
    outcomes = await _outcomes(fleet)
    complete = [exchange for exchange in fleet[name].log if exchange.outcome == "complete"]
    return len(complete) == count and outcomes <= {"complete", "client_gone"}


async def _outcomes(fleet: Fleet) -> set[str]:
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())
    return {exchange.outcome for running in fleet.values() for exchange in running.log}
