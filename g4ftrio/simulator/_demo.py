"""The fleet that the command line races when it is given no provider: a wire each, one of them over a WebSocket."""

from __future__ import annotations

from g4ftrio.simulator._faults import Fault
from g4ftrio.simulator._latency import lognormal
from g4ftrio.simulator._service import Service

__all__ = ("DEMO",)

DEMO: tuple[Service, ...] = (
    # The first to say something, but that is an advertisement; its answer begins when `steady` is well under way.
    Service("promo", first_token=0.25, gap=1 / 40, fault=Fault("advertising", seconds=1.0)),
    Service("steady", first_token=lognormal(0.45, 0.1), gap=lognormal(1 / 45, 0.2), dialect="anthropic"),
    Service("patient", first_token=lognormal(0.95, 0.05), gap=lognormal(1 / 25, 0.2), dialect="openai-responses-ws"),
)
