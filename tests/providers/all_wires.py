"""Every simulated wire that says more than text, each asked by the provider that bears its name."""

from __future__ import annotations

import json
from typing import Any

from g4ftrio.providers import HttpProvider, find
from g4ftrio.simulator import Exchange, Fleet, Running, Service, serve
from g4ftrio.simulator._dialects import DIALECTS, SOCKETS

__all__ = ("ALL", "OVER_HTTP", "OVER_SOCKETS", "asking", "fleet_of", "last", "sent")

OVER_HTTP = tuple(label for label in DIALECTS if label != "openchat")  # which has text only
OVER_SOCKETS = tuple(SOCKETS)
ALL = (*OVER_HTTP, *OVER_SOCKETS)


def fleet_of(*labels: str, **settings: Any) -> Fleet:
    """Services named after their wires."""
    return serve([Service(label, **{"dialect": label, **settings}) for label in labels])


def asking(running: Running, **settings: Any) -> HttpProvider:
    """The provider of a service's wire, with that service for its address."""
    service = running.service
    declared = find(service.dialect)
    assert issubclass(declared, HttpProvider)
    bound = {"model": service.models[0], "name": service.name, "api_base": running.api_base, **settings}
    return declared(**bound)


def last(running: Running) -> Exchange:
    """What it was asked latest."""
    return running.log[-1]


def sent(running: Running) -> str:
    """What it was told latest, address and body, as one text."""
    exchange = last(running)
    return exchange.path + json.dumps(exchange.body, ensure_ascii=False)
