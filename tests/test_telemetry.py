"""Spans and metrics, by OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from g4ftrio import (
    AllFailed,
    APITimeoutError,
    Chunk,
    EntrantReport,
    Race,
    RateLimitError,
    Timeout,
    TruncatedError,
    Usage,
    race,
    race_sync,
)
from g4ftrio._words.chunks import FinishReason
from g4ftrio._words.events import Asked
from g4ftrio.providers import OpenAICompatible, known
from g4ftrio.simulator import Running, Service, run_in_thread
from g4ftrio.telemetry import OpenTelemetry, _whom
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

PROMPT, SECRET = "the prompt that nobody may see", "sk-nobody-may-see-this"


class Telemetry:
    """The SDK with everything in memory, and a hook that reports to it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])

    def hook(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(self.tracers, self.meters, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._spans.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> set[tuple[str, str | None]]:
        """Every span's name, with its parent's."""
        names = {span.context.span_id: span.name for span in self.spans if span.context}
        return {(span.name, names.get(span.parent.span_id) if span.parent else None) for span in self.spans}

    def points(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """The sums and the attributes of a metric."""
        data: Any = json.loads(self._metrics.get_metrics_data().to_json())  # type: ignore[union-attr]  # there are some
        metrics = [
            each for one in data["resource_metrics"] for scope in one["scope_metrics"] for each in scope["metrics"]
        ]
        found = [metric["data"]["data_points"] for metric in metrics if metric["name"] == name]
        return [(point["sum"], point["attributes"]) for points in found for point in points]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracers.shutdown()
    telemetry.meters.shutdown()


def fast(**settings: Any) -> Scripted:
    chunks: list[Chunk] = ["a", "b", FinishReason("stop"), Usage(7, 2, cached_tokens=3)]
    return Scripted(chunks, delay=0.5, gap=0.25, **{"name": "fast", "model": "small", **settings})


def slow(**settings: Any) -> Scripted:
    return Scripted(["late"], delay=9.0, **{"name": "slow", "model": "large", **settings})


async def test_a_race_is_a_span_and_every_entrant_a_child_of_it(telemetry: Telemetry) -> None:
    async with race([slow(), fast()], "Why?", on_event=telemetry.hook(), temperature=0.5, max_tokens=9) as stream:
        await stream.collect()

    assert telemetry.tree() == {("race race", None), ("chat small", "race race"), ("chat large", "race race")}
    whole, won, lost = map(telemetry.span, ("race race", "chat small", "chat large"))
    assert whole.kind is SpanKind.INTERNAL
    assert dict(whole.attributes or {}) == {
        "g4ftrio.race.name": "race",
        "g4ftrio.policy": "parallel()",
        "g4ftrio.entrants": ("slow", "fast"),
        "g4ftrio.winner": "fast",
    }
    assert won.kind is lost.kind is SpanKind.CLIENT
    assert dict(won.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "small",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "g4ftrio.entrant": "fast",
        "g4ftrio.outcome": "won",
    }
    assert [event.name for event in won.events] == ["g4ftrio.first_chunk", "g4ftrio.clean"]
    assert (lost.attributes or {})["g4ftrio.outcome"] == "lost"
    assert {span.status.status_code for span in telemetry.spans} == {StatusCode.UNSET}


async def test_durations_and_tokens_are_measured(telemetry: Telemetry) -> None:
    async with race([slow(), fast()], "Why?", on_event=telemetry.hook()) as stream:
        await stream.collect()

    small = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.request.model": "small"}
    large = {**small, "gen_ai.request.model": "large"}
    assert telemetry.points("gen_ai.client.operation.duration") == [
        (0.5, {**large, "g4ftrio.outcome": "lost"}),
        (1.5, {**small, "g4ftrio.outcome": "won"}),
    ]
    assert telemetry.points("gen_ai.client.operation.time_to_first_chunk") == [(0.5, small)]
    assert telemetry.points("gen_ai.client.token.usage") == [
        (7, {**small, "gen_ai.token.type": "input"}),
        (2, {**small, "gen_ai.token.type": "output"}),
    ]


async def test_a_failure_is_an_error_of_its_own_span_only(telemetry: Telemetry) -> None:
    limited = Scripted(error=RateLimitError(f"asked too often for {PROMPT}", status=429), name="limited", model="busy")
    async with race([limited, fast()], PROMPT, on_event=telemetry.hook()):
        pass

    failed, whole = telemetry.span("chat busy"), telemetry.span("race race")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert (failed.attributes or {})["error.type"] == "RateLimitError"
    assert whole.status.status_code is StatusCode.UNSET
    assert [attributes.get("error.type") for _, attributes in telemetry.points("gen_ai.client.operation.duration")] == [
        "RateLimitError",
        None,
    ]


@pytest.mark.parametrize(
    ("entrant", "options", "fault"),
    [
        (lambda: Scripted(error=RateLimitError("no"), model="m"), {}, "AllFailed"),
        (lambda: slow(), {"timeout": Timeout(total=1)}, "timeout"),
        (lambda: Scripted(["a"], error=TruncatedError("cut"), model="m"), {}, "TruncatedError"),
    ],
)
async def test_a_race_that_fails_is_an_error(
    telemetry: Telemetry, entrant: Callable[[], Scripted], options: dict[str, Any], fault: str
) -> None:
    with pytest.raises((AllFailed, APITimeoutError, TruncatedError)):
        async with race([entrant()], "Why?", on_event=telemetry.hook(), **options) as stream:
            await stream.collect()
    whole = telemetry.span("race race")
    assert (whole.status.status_code, (whole.attributes or {})["error.type"]) == (StatusCode.ERROR, fault)


async def test_a_race_in_a_race_is_one_span_between_them(telemetry: Telemetry) -> None:
    inner = Race([fast(), slow()], name="inner")
    async with race([inner, slow(name="other", model="other")], "Why?", on_event=telemetry.hook()) as stream:
        await stream.collect()

    assert telemetry.tree() == {
        ("race race", None),
        ("race inner", "race race"),
        ("chat other", "race race"),
        ("chat small", "race inner"),
        ("chat large", "race inner"),
    }
    nested = telemetry.span("race inner")
    assert nested.kind is SpanKind.INTERNAL
    assert {name: (nested.attributes or {})[f"g4ftrio.{name}"] for name in ("entrant", "winner", "outcome")} == {
        "entrant": "inner",
        "winner": "fast",
        "outcome": "won",
    }
    assert len(telemetry.points("gen_ai.client.operation.duration")) == 3


async def test_races_at_the_same_time_do_not_mix_their_spans(telemetry: Telemetry) -> None:
    hook = telemetry.hook()
    tracer = telemetry.tracers.get_tracer("test")

    async def ask(number: int) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            entrants = [fast(model=f"fast-{number}"), slow(model=f"slow-{number}")]
            async with race(entrants, "Why?", on_event=hook) as stream:
                await stream.collect()

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(ask, number)

    parents = {span.context.span_id: span for span in telemetry.spans if span.context}
    for number in range(5):
        for model in (f"fast-{number}", f"slow-{number}"):
            span = telemetry.span(f"chat {model}")
            assert span.parent is not None
            whole = parents[span.parent.span_id]
            assert whole.name == "race race"
            assert whole.parent is not None
            assert parents[whole.parent.span_id].name == f"request {number}"


async def test_a_settled_race_ends_with_its_stream(telemetry: Telemetry) -> None:
    stream = await race([fast(), slow()], "Why?", on_event=telemetry.hook()).settle()
    assert [span.name for span in telemetry.spans] == ["chat large"]
    await stream.collect()
    assert [span.name for span in telemetry.spans] == ["chat large", "chat small", "race race"]
    assert (telemetry.span("chat small").attributes or {})["gen_ai.usage.output_tokens"] == 2


async def test_a_provider_alone_is_a_span_without_a_race(telemetry: Telemetry) -> None:
    await fast(on_event=telemetry.hook()).complete("Why?")
    assert telemetry.tree() == {("chat small", None)}
    assert "g4ftrio.outcome" not in (telemetry.span("chat small").attributes or {})


async def test_what_is_asked_and_answered_is_told_only_if_wanted(telemetry: Telemetry) -> None:
    failure = RateLimitError(f"asked too often for {PROMPT}")
    for content in (False, True):
        entrants = [Scripted(error=failure, name="bad", model=f"bad-{content}"), fast(model=f"good-{content}")]
        hook = telemetry.hook(content=content)
        async with race(entrants, PROMPT, system=SECRET, on_event=hook) as stream:
            await stream.collect()

    told = [span.to_json() for span in telemetry.spans if not span.name.endswith("True")]
    assert not [each for each in told if PROMPT in each or SECRET in each or '"b"' in each]
    attributes: Any = telemetry.span("chat good-True").attributes
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": SECRET}]},
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]},
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "ab"}], "finish_reason": "stop"}
    ]
    assert PROMPT in (telemetry.span("chat bad-True").status.description or "")


async def test_nothing_is_kept_of_races_that_are_over(telemetry: Telemetry) -> None:
    hook = telemetry.hook()
    for _ in range(3):
        async with race([Race([fast()]), slow()], "Why?", on_event=hook):
            pass
    with anyio.move_on_after(0.25):
        async with race([slow()], "Why?", on_event=hook):
            pass
    assert hook._open == {}


# The values that the conventions know (release 1.41); where one of them fits, it has to be used.
WELL_KNOWN = {
    *("anthropic", "aws.bedrock", "azure.ai.inference", "azure.ai.openai", "cohere", "deepseek", "gcp.gemini"),
    *("gcp.gen_ai", "gcp.vertex_ai", "groq", "ibm.watsonx.ai", "mistral_ai", "openai", "perplexity", "x_ai"),
}


def test_a_service_that_the_conventions_know_has_their_name() -> None:
    named = {label: provider.telemetry_name for label, provider in known().items() if provider.telemetry_name}
    assert set(named.values()) <= WELL_KNOWN
    assert named.keys() == {
        *("azure-openai", "gemini", "gemini-live", "mistral", "openai-realtime", "openai-responses"),
        *("openai-responses-ws", "xai"),
    }
    assert {"anthropic", "deepseek", "groq", "openai", "perplexity"} <= known().keys()  # their labels are the names


def test_a_server_is_an_address_and_a_port() -> None:
    said = _whom(EntrantReport(name="a"), Asked(provider="p", server="http://::1:8000"))
    assert (said["server.address"], said["server.port"]) == ("::1", 8000)


# --- over real sockets ---


def traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-"


def at(service: Running) -> OpenAICompatible:
    return OpenAICompatible(model=service.service.name, api_base=service.api_base, api_key=SECRET)


def test_the_synchronous_form_is_a_child_of_the_callers_span(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")
    with run_in_thread([Service("one", text="It is blue.", key=SECRET)]) as fleet:
        entrants = [at(fleet["one"])]
        with (
            tracer.start_as_current_span("caller"),
            race_sync(entrants, PROMPT, on_event=telemetry.hook(propagate=True)) as stream,
        ):
            assert "".join(map(str, stream)) == "It is blue."
        (request,) = fleet["one"].log
        port = urlsplit(fleet["one"].api_base).port

    assert telemetry.tree() == {("caller", None), ("race race", "caller"), ("chat one", "race race")}
    span = telemetry.span("chat one")
    assert request.headers["traceparent"].startswith(traceparent(span))
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    attributes = span.attributes or {}
    assert attributes["gen_ai.provider.name"] == "openai-compatible"
    assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", port)
    assert [event.name for event in span.events] == [
        *("g4ftrio.connected", "g4ftrio.first_byte", "g4ftrio.first_chunk", "g4ftrio.clean")
    ]
    assert not [each for each in telemetry.spans if SECRET in each.to_json() or PROMPT in each.to_json()]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_every_request_has_its_own_entrants_span_if_that_is_wanted(telemetry: Telemetry, backend: str) -> None:
    async def ask(hook: OpenTelemetry, *services: Running) -> None:
        async with race([at(service) for service in services], PROMPT, on_event=hook) as stream:
            await stream.collect()

    services = [Service("one", text="It is blue.", first_token=0.3), Service("two", first_token=30)]
    with run_in_thread(services) as fleet:
        one, two = fleet["one"], fleet["two"]
        anyio.run(ask, telemetry.hook(), one, backend=backend)
        anyio.run(ask, telemetry.hook(propagate=True), one, two, backend=backend)
        unasked, asked = one.log
        (other,) = two.log

    assert "traceparent" not in unasked.headers
    _, span = [each for each in telemetry.spans if each.name == "chat one"]
    assert asked.headers["traceparent"].startswith(traceparent(span))
    assert other.headers["traceparent"].startswith(traceparent(telemetry.span("chat two")))


def test_without_the_package_one_line_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import g4ftrio; g4ftrio.telemetry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: g4ftrio.telemetry needs the package opentelemetry-api: pip install 'g4ftrio[otel]'"
    )
