"""Simulated providers: HTTP servers on loopback that speak a provider's wire, with latencies and faults, repeatably.

    async with serve([Service("fast", first_token=0.1), Service("broken", fault="cut")]) as fleet:
        ...  # fleet["fast"].spec is what to race, fleet["broken"].log what the server saw

Bottom to top: ``_latency``, ``_text``, ``_picture``, ``_schema``; ``_wire`` and ``_socket_wire`` the words; dialects
read backwards, over HTTP ``_anthropic``, ``_gemini``, ``_ollama``, ``_openai_chat``, ``_openai_images``,
``_openai_responses`` and ``_openchat``, over WebSockets ``_gemini_live``, ``_openai_realtime`` and a class in
``_openai_responses``; ``_dialects`` their table; ``_scene``, ``_faults``; ``_service`` the declaration, ``_behaviour``
what a model says; ``_http1``, ``_plan`` from a request to timed bytes. So far nothing does I/O: ``_peer``,
``_websocket``, ``_server``, ``_thread`` do.
"""

from __future__ import annotations

from g4ftrio.simulator._demo import DEMO
from g4ftrio.simulator._exchange import Exchange
from g4ftrio.simulator._faults import FAULTS, Fault
from g4ftrio.simulator._latency import Latency, constant, lognormal, uniform, with_stragglers
from g4ftrio.simulator._server import Fleet, Running, serve
from g4ftrio.simulator._service import Service
from g4ftrio.simulator._thread import ThreadFleet, run_in_thread

__all__ = (
    "DEMO",
    "FAULTS",
    "Exchange",
    "Fault",
    "Fleet",
    "Latency",
    "Running",
    "Service",
    "ThreadFleet",
    "constant",
    "lognormal",
    "run_in_thread",
    "serve",
    "uniform",
    "with_stragglers",
)
