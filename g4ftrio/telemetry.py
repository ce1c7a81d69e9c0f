"""OpenTelemetry: a span for each race, a span for each entrant, and metrics; needs the extra ``otel``.

The names are those of the conventions for generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/, as of
release 1.41, where all of it is still in development), and for what they do not know ``g4ftrio.*``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from g4ftrio._words.chunks import Usage
from g4ftrio._words.errors import APITimeoutError, describe
from g4ftrio._words.events import Asked, Event
from g4ftrio._words.report import EntrantReport, RaceReport

try:
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ModuleNotFoundError as missing:
    words = "g4ftrio.telemetry needs the package opentelemetry-api: pip install 'g4ftrio[otel]'"
    raise ModuleNotFoundError(words, name=missing.name) from missing

__all__ = ("OpenTelemetry",)

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_PARAMS = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
}
_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}


class OpenTelemetry:
    """Makes spans and metrics of what happens: ``race(..., on_event=OpenTelemetry())``.

    A race's span is a child of the span that is current where the race is entered; an entrant's is a child of its
    race's. A loser's span has no error: its attribute ``g4ftrio.outcome`` is ``lost``. One object may serve any number
    of races and providers at the same time, on any event loop.

    :param tracer_provider: the global one if None
    :param meter_provider: the global one if None
    :param propagate: send the entrant's span along with its request, by the global propagator: ``traceparent``. The
        services then see your trace's id
    :param content: put into the spans what is asked and answered, and errors in words, which may repeat it
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        propagate: bool = False,
        content: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer("g4ftrio", tracer_provider=tracer_provider)
        self._meters = _Meters(metrics.get_meter("g4ftrio", meter_provider=meter_provider))
        self._propagate = propagate
        self._content = content
        self._open: dict[int, tuple[object, Span]] = {}  # by the record's or the report's id, with what has that id

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event.kind:
            case "race_started":
                self._begin_race(event)
            case "started":
                self._begin(event)
            case "closed":
                self._end(event)
            case "race_ended":
                self._end_race(event)
            case "connected" | "first_byte" | "first_chunk" | "clean" | "failover":
                self._reach(event)

    def _begin_race(self, event: Event) -> None:
        report = event.report
        if report is None:
            return
        span = self._of(event.within)
        if span is None:
            span = self._tracer.start_span(f"race {event.race}", kind=SpanKind.INTERNAL)
        span.set_attribute("g4ftrio.race.name", event.race)
        span.set_attribute("g4ftrio.policy", report.policy)
        span.set_attribute("g4ftrio.entrants", [entrant.name for entrant in report.entrants])
        self._open[id(report)] = report, span

    def _end_race(self, event: Event) -> None:
        report, span = event.report, self._pop(event.report)
        if report is None or span is None:
            return
        if report.winner is not None:
            span.set_attribute("g4ftrio.winner", report.winner.name)
        if event.within is None:
            fault = _named(event.error or getattr(report.winner, "error", None))
            if fault is not None:
                _mark(span, fault)
            span.end()

    def _begin(self, event: Event) -> None:
        record, asked = event.record, event.asked
        if record is None or asked is None or id(record) in self._open:
            return
        parent = self._of(event.report)
        within = context.get_current() if parent is None else trace.set_span_in_context(parent)
        is_race = asked.operation == "race"
        span = self._tracer.start_span(
            f"{asked.operation} {(event.entrant if is_race else event.model) or ''}".rstrip(),
            context=within,
            kind=SpanKind.INTERNAL if is_race else SpanKind.CLIENT,
            attributes={"g4ftrio.entrant": event.entrant, **({} if is_race else _requested(record, asked))},
        )
        self._open[id(record)] = record, span
        if self._content and not is_race:
            span.set_attribute("gen_ai.input.messages", json.dumps([_message(each) for each in asked.messages]))
        if self._propagate:
            propagate.inject(asked.headers, context=trace.set_span_in_context(span, within))

    def _reach(self, event: Event) -> None:
        record, asked, span = event.record, event.asked, self._of(event.record)
        if record is None or asked is None or span is None:
            return
        span.add_event(f"g4ftrio.{event.kind}")
        if event.kind == "first_chunk":
            self._meters.first_chunk(record, asked)

    def _end(self, event: Event) -> None:
        record, asked, span = event.record, event.asked, self._pop(event.record)
        if record is None or asked is None or span is None:
            return
        if asked.operation != "race":
            span.set_attributes(_answered(record))
            self._meters.closed(record, asked, event.at)
        if event.report is not None:
            span.set_attribute("g4ftrio.outcome", record.outcome)
        if self._content and asked.texts:
            span.set_attribute("gen_ai.output.messages", json.dumps([_answer(record, "".join(asked.texts))]))
        if (fault := _fault(record)) is not None:
            _mark(span, fault, describe(record.error) if self._content and record.error else None)
        span.end()

    def _of(self, owner: EntrantReport | RaceReport | None) -> Span | None:
        found = self._open.get(id(owner))
        return None if found is None else found[1]

    def _pop(self, owner: EntrantReport | RaceReport | None) -> Span | None:
        found = self._open.pop(id(owner), None)
        return None if found is None else found[1]


class _Meters:
    """The metrics that the conventions name."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time from the request to the first chunk of its answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def first_chunk(self, record: EntrantReport, asked: Asked) -> None:
        if asked.operation != "race" and record.first_chunk_at is not None:
            self._first_chunk.record(record.first_chunk_at - (record.started_at or 0.0), _whom(record, asked))

    def closed(self, record: EntrantReport, asked: Asked, at: float) -> None:
        whom = _whom(record, asked)
        fault = _fault(record)
        ended = {"g4ftrio.outcome": record.outcome, **({} if fault is None else {"error.type": fault})}
        self._duration.record(at - (record.started_at or 0.0), {**whom, **ended})
        if record.usage is not None and record.usage_known == "exact":  # a guess must not be counted
            counted = {"input": record.usage.input_tokens, "output": record.usage.output_tokens}
            for kind, count in counted.items():
                if count is not None:
                    self._tokens.record(count, {**whom, "gen_ai.token.type": kind})


def _whom(record: EntrantReport, asked: Asked) -> dict[str, Any]:
    """Say who is asked for what."""
    said: dict[str, Any] = {"gen_ai.operation.name": asked.operation, "gen_ai.provider.name": asked.provider}
    if record.model:
        said["gen_ai.request.model"] = record.model
    if asked.server:
        host, _, port = asked.server.partition("://")[2].rpartition(":")  # an IPv6 address has colons, too
        said |= {"server.address": host, "server.port": int(port)}
    return said


def _requested(record: EntrantReport, asked: Asked) -> dict[str, Any]:
    said = _whom(record, asked)
    said |= {name: value for key, name in _PARAMS.items() if isinstance(value := asked.params.get(key), int | float)}
    said["gen_ai.request.stream"] = bool(asked.params.get("stream", True))
    return said


def _answered(record: EntrantReport) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if record.finish_reason is not None:
        said["gen_ai.response.finish_reasons"] = [record.finish_reason]
    if record.first_chunk_at is not None:
        said["gen_ai.response.time_to_first_chunk"] = record.first_chunk_at - (record.started_at or 0.0)
    if record.usage is not None and record.usage_known == "exact":
        said |= _counted(record.usage)
    return said


def _counted(usage: Usage) -> dict[str, int]:
    return {name: count for key, name in _USAGE.items() if (count := getattr(usage, key)) is not None}


def _fault(record: EntrantReport) -> str | None:
    """Name the class of an error; who was dropped has none, whatever came of it afterwards."""
    return None if record.outcome in ("lost", "cancelled") else _named(record.error)


def _named(error: Exception | None) -> str | None:
    if error is None:
        return None
    return "timeout" if isinstance(error, APITimeoutError) else type(error).__name__


def _mark(span: Span, fault: str, words: str | None = None) -> None:
    span.set_attribute("error.type", fault)
    span.set_status(Status(StatusCode.ERROR, words))


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Put a message into the shape that the conventions have for what is asked; of other parts only the kind."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return {"role": str(message.get("role", "")), "parts": [_part(part) for part in parts]}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "text", "content": part["text"]} if "text" in part else {"type": str(part.get("type", ""))}


def _answer(record: EntrantReport, text: str) -> dict[str, Any]:
    parts = [{"type": "text", "content": text}]
    return {"role": "assistant", "parts": parts, "finish_reason": record.finish_reason or "error"}
