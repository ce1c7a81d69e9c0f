"""One answer: what is waited for and how long, how it ends, and whose name its errors bear. All in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from json import dumps
from typing import Any

import anyio
import httpx
import pytest

from g4ftrio import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    Chunk,
    EntrantReport,
    FinishReason,
    RateLimitError,
    Reasoning,
    SetupError,
    Stream,
    Timeout,
    ToolCallDelta,
    TruncatedError,
    Usage,
    open_http_client,
)
from g4ftrio._race.source import Source
from g4ftrio._streams.answer import HttpAnswer
from g4ftrio._streams.generator_answer import GeneratorAnswer
from g4ftrio._streams.lazy import Lazy
from g4ftrio._streams.patient import Patient
from g4ftrio._words.request import Call
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.providers import OpenAICompatible
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

KEY = "sk-very-secret-key"
FOREVER = 1e9

Step = bytes | float | Exception


# --- a service that is a list: bytes to send, seconds to wait, an error to raise ---


class Body(httpx.AsyncByteStream):
    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.closed_at: float | None = None
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            match step:
                case float():
                    await anyio.sleep(step)
                case bytes():
                    self.sent += 1
                    yield step
                case _:
                    raise step

    async def aclose(self) -> None:
        self.closed_at = self.closed_at if self.closed_at is not None else anyio.current_time()


class Service:
    """Answers every request with these steps, after so many seconds."""

    def __init__(self, *steps: Step, status: int = 200, head: float = 0.0, **headers: str) -> None:
        self.body = Body(steps)
        self.status = status
        self.head = head
        self.headers = {"content-type": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        self.requests: list[httpx.Request] = []
        self.client = open_http_client(transport=httpx.MockTransport(self._answer))
        self.record = EntrantReport(name="one/model", model="model")

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await anyio.sleep(self.head)
        return httpx.Response(self.status, headers=self.headers, stream=self.body)

    def answer(self, timeout: Timeout | None = None, **settings: Any) -> HttpAnswer:
        async def prepare() -> tuple[Call, tuple[str, ...]]:
            return Call(method="POST", url="https://one.test/v1", headers={}), (KEY,)

        return HttpAnswer(
            self.client, prepare, OpenAIChat(), timeout=timeout or Timeout(), record=self.record, **settings
        )

    async def read(self, timeout: Timeout | None = None) -> list[Chunk]:
        async with (
            Patient(self.answer(), timeout or Timeout(), "one/model") as source,
            Stream(source, self.record) as stream,
        ):
            return [chunk async for chunk in stream]


def event(content: str | None = None, reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content, **delta}, "finish_reason": reason}
    return b"data: " + dumps({"choices": [choice]}).encode() + b"\n\n"


def said(**payload: Any) -> bytes:
    return b"data: " + dumps(payload).encode() + b"\n\n"


def every(seconds: float, data: bytes, times: int) -> list[Step]:
    """Wait and send, so many times."""
    return [seconds, data] * times


HELLO, WORLD, STOP, DONE = event("Hello"), event(" world"), event(reason="stop"), b"data: [DONE]\n\n"
PING = b": ping\n\n"
USAGE = said(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2})


# --- how it ends ---


async def test_it_ends_at_its_end_marker() -> None:
    service = Service(HELLO, WORLD, STOP, USAGE, DONE, event("after the end"))
    assert await service.read() == ["Hello", " world", Usage(1, 2), FinishReason("stop")]
    assert anyio.current_time() == 0


async def test_what_one_read_brought_comes_as_one_batch() -> None:
    service = Service(HELLO + WORLD, STOP + DONE)
    async with service.answer() as source:
        assert await source.pull() == ["Hello", " world"]
        assert await source.pull() == [FinishReason("stop")]
        assert [await source.pull(), await source.pull()] == [[], []]


async def test_the_body_may_end_without_an_end_marker_after_a_finish_reason() -> None:
    assert await Service(HELLO, STOP).read() == ["Hello", FinishReason("stop")]


async def test_after_a_finish_reason_two_seconds_of_silence_are_the_end() -> None:
    service = Service(HELLO, STOP, FOREVER)
    assert await service.read() == ["Hello", FinishReason("stop")]
    assert anyio.current_time() == 2
    assert service.body.closed_at is not None


async def test_a_slow_consumer_loses_nothing_of_what_follows_a_finish_reason() -> None:
    service = Service(event("Hello", "stop"), USAGE, DONE)
    async with service.answer() as source:
        batches = [await source.pull()]
        await anyio.sleep(1000)
        batches += [await source.pull(), await source.pull()]
    assert batches == [["Hello"], [Usage(1, 2), FinishReason("stop")], []]


async def test_what_comes_within_these_two_seconds_is_read() -> None:
    service = Service(HELLO, STOP, 1.5, USAGE, DONE, FOREVER)
    assert await service.read() == ["Hello", Usage(1, 2), FinishReason("stop")]


async def test_keep_alives_after_a_finish_reason_do_not_prolong_the_answer() -> None:
    service = Service(HELLO, STOP, *every(1.5, PING, 50))
    assert await service.read() == ["Hello", FinishReason("stop")]
    assert anyio.current_time() == 2


async def test_before_a_finish_reason_silence_is_no_end() -> None:
    service = Service(HELLO, 100.0, WORLD, STOP, DONE)
    assert await service.read() == ["Hello", " world", FinishReason("stop")]
    assert anyio.current_time() == 100


async def test_a_connection_that_breaks_after_a_finish_reason_is_an_end() -> None:
    assert await Service(HELLO, STOP, httpx.ReadError("reset")).read() == ["Hello", FinishReason("stop")]


async def test_a_whole_answer_that_is_not_streamed_is_read() -> None:
    body = dumps(
        {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    )
    service = Service(body[:20].encode(), 1.0, body[20:].encode(), content_type="application/json")
    assert await service.read() == ["Hello", Usage(3), FinishReason("stop")]


# --- the drain: the body's last bytes come apart from the end marker ---


async def test_after_the_end_the_body_is_drained_so_that_the_connection_can_be_kept() -> None:
    service = Service(HELLO, STOP, DONE, 0.03125, b"\n", b"\n")
    assert len(await service.read()) == 2
    assert service.body.sent == 5
    assert service.body.closed_at == 0.03125


async def test_a_body_that_does_not_end_after_the_answer_is_closed_after_50_ms() -> None:
    service = Service(HELLO, STOP, DONE, FOREVER)
    assert len(await service.read()) == 2
    assert service.body.closed_at == 0.05


async def test_an_answer_that_is_left_early_is_not_drained() -> None:
    service = Service(HELLO, 0.01, WORLD, STOP, DONE)
    async with service.answer() as source:
        await source.pull()
    assert service.body.closed_at == 0
    assert service.body.sent == 1


# --- errors ---


@pytest.mark.parametrize("ending", [(), (httpx.RemoteProtocolError("incomplete"),), (httpx.ReadError("reset"),)])
async def test_an_answer_that_is_cut_is_an_error_that_holds_what_came(ending: Sequence[Step]) -> None:
    with pytest.raises(TruncatedError, match=r"^one/model: the answer was cut off") as caught:
        await Service(HELLO, WORLD, *ending).read()
    assert (caught.value.text, caught.value.provider) == ("Hello world", "one/model")


async def test_an_empty_body_is_a_cut() -> None:
    with pytest.raises(TruncatedError):
        await Service().read()


async def test_what_came_before_an_error_in_the_same_read_is_given_first() -> None:
    service = Service(HELLO + said(error={"message": "out of order", "code": 503}))
    async with service.answer() as source:
        stream = Stream(source, service.record)
        assert await anext(stream) == "Hello"
        with pytest.raises(APIStatusError, match=r"^one/model: .*\(status 503\): out of order"):
            await anext(stream)
    assert service.record.error is not None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (429, RateLimitError), (500, APIStatusError)],
)
async def test_an_error_answer_names_the_provider_and_says_what_the_service_said(status: int, kind: Any) -> None:
    service = Service(
        dumps({"error": {"message": "no way"}}).encode(), status=status, x_request_id="r1", retry_after="7"
    )
    with pytest.raises(kind, match=r"^one/model: .*no way") as caught:
        await service.read()
    assert (caught.value.status, caught.value.request_id, caught.value.retry_after) == (status, "r1", 7)
    assert service.body.closed_at == 0


@pytest.mark.parametrize(
    "service",
    [
        Service(dumps({"error": {"message": f"bad key {KEY}!"}}).encode(), status=401),
        Service(f"bad key {KEY}".encode(), status=500),
        Service(said(error={"message": f"bad key {KEY}!"})),
        Service(HELLO, said(error=f"bad key {KEY}!")),
        Service(HELLO, f"data: {{bad key {KEY}}}\n\n".encode()),
        Service(f"<html><title>bad key {KEY}</title>".encode(), content_type="text/html"),
        Service(dumps({"error": {"message": "x" * (500 - len(KEY)) + KEY}}).encode(), status=401),
    ],
    ids=["status", "status with text", "in stream", "in mid-stream", "bad JSON", "a page", "at the end of an excerpt"],
)
async def test_a_key_that_the_service_repeats_is_masked(service: Service) -> None:
    with pytest.raises(Exception, match=r"\*\*\*") as caught:
        await service.read()
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error} {error!r}"
        error = error.__cause__


@pytest.mark.parametrize("status", [200, 401])
async def test_no_part_of_a_key_shows_where_an_excerpt_cuts_it(status: int) -> None:
    payload = dumps({"error": {"message": "x" * 490 + KEY}})
    with pytest.raises(APIStatusError) as caught:
        await Service(f"data: {payload}\n\n".encode() if status == 200 else payload.encode(), status=status).read()
    assert KEY[:6] not in str(caught.value)


async def test_what_is_no_answer_is_an_error_that_names_the_provider() -> None:
    with pytest.raises(APIResponseValidationError, match=r"^one/model: .*Just a moment"):
        await Service(b"<!DOCTYPE html><html><head><title>Just a moment...</title>").read()


async def test_a_connection_that_cannot_be_made_names_the_provider_and_says_what_to_do() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from ConnectionRefusedError()

    provider = OpenAICompatible(api_base="http://127.0.0.1:9/v1", model="m")
    async with open_http_client(transport=httpx.MockTransport(refuse)) as client:
        with pytest.raises(APIConnectionError, match=r"^openai-compatible/m: .*Is the server running\?$"):
            await provider.complete("Hello?", http_client=client)


async def test_an_error_in_opening_closes_the_client_of_its_own() -> None:
    service = Service(status=500)
    answer = service.answer(open_client=lambda: service.client)
    answer._client = None
    with pytest.raises(APIStatusError):
        await answer.__aenter__()
    assert service.client.is_closed


async def test_what_preparing_raises_comes_out_as_it_is_and_nothing_is_sent() -> None:
    provider = OpenAICompatible(api_base="http://127.0.0.1:9/v1")
    service = Service()
    with pytest.raises(SetupError, match=r"which model\?"):
        await provider.complete("Hello?", http_client=service.client)
    assert service.requests == []


# --- how long to wait ---


async def late(service: Service, timeout: Timeout) -> tuple[str, float, float]:
    """Read until it is too late; give which limit it was, its value, and the time."""
    with pytest.raises(APITimeoutError, match=r"^one/model: ") as caught:
        await service.read(timeout)
    assert service.body.closed_at is None or service.body.closed_at == anyio.current_time()
    return caught.value.kind, caught.value.seconds, anyio.current_time()


@pytest.mark.parametrize(
    "service",
    [
        Service(head=FOREVER),
        Service(FOREVER),
        Service(*every(0.25, PING, 20)),
        Service(*every(0.25, event(""), 20)),
        Service(*every(0.25, event(" "), 20)),
        Service(*every(0.25, event(reasoning_content="hm"), 20)),
    ],
    ids=["no head", "no body", "keep-alives", "empty deltas", "white space", "thinking"],
)
async def test_the_first_clean_chunk_must_come_in_time_whatever_else_does(service: Service) -> None:
    assert await late(service, Timeout(first_chunk=2)) == ("first_chunk", 2, 2)


async def test_the_first_chunk_ends_the_wait_for_it() -> None:
    service = Service(1.5, HELLO, 10.0, WORLD, STOP, DONE)
    assert len(await service.read(Timeout(first_chunk=2))) == 3


@pytest.mark.parametrize("delta", [event("a"), event(reasoning_content="hm"), event(refusal="no")])
async def test_a_stall_is_the_time_without_output_and_output_of_any_kind_ends_it(delta: bytes) -> None:
    assert await late(Service(*every(1.5, delta, 4), FOREVER), Timeout(stall=2)) == ("stall", 2, 8)


async def test_a_piece_of_a_tool_call_ends_a_stall() -> None:
    call = event(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}])
    assert await late(Service(1.5, call, 1.5, call, FOREVER), Timeout(stall=2)) == ("stall", 2, 5)


@pytest.mark.parametrize("delta", [PING, event(""), event(), said(choices=[])])
async def test_keep_alives_do_not_end_a_stall(delta: bytes) -> None:
    assert await late(Service(HELLO, *every(0.75, delta, 20)), Timeout(stall=2)) == ("stall", 2, 2)


async def test_the_whole_answer_must_come_in_time() -> None:
    assert await late(Service(*every(0.75, HELLO, 20)), Timeout(total=4)) == ("total", 4, 4)


async def test_the_nearest_limit_is_the_one_that_counts() -> None:
    assert await late(Service(FOREVER), Timeout(first_chunk=3, stall=2, total=4)) == ("stall", 2, 2)


async def test_a_slow_consumer_runs_into_no_limit() -> None:
    service = Service(HELLO, 0.5, WORLD, 0.5, STOP, DONE)
    async with Patient(service.answer(), Timeout(first_chunk=1, stall=1, total=1.5), "one/model") as source:
        got = []
        async for chunk in Stream(source, service.record):
            got.append(chunk)
            await anyio.sleep(1000)
    assert got == ["Hello", " world", FinishReason("stop")]


async def test_a_time_out_is_also_the_builtin_one_and_says_which_limit_it_was() -> None:
    with pytest.raises(TimeoutError, match=r"^one/model: the model wrote nothing within 2 s \(timeout stall=2\)$"):
        await Service(HELLO, FOREVER).read(Timeout(stall=2))


async def test_a_cancellation_from_outside_is_not_taken_for_a_time_out() -> None:
    service = Service(HELLO, FOREVER)
    with anyio.move_on_after(2) as scope:
        await service.read(Timeout(stall=3))
    assert scope.cancelled_caught
    assert anyio.current_time() == 2


async def test_a_cancelled_read_is_charged_and_may_be_repeated() -> None:
    provider = Scripted(["a", "b"], gap=5)
    async with provider.stream("Hello?", timeout=Timeout(stall=4, total=None)) as stream:
        assert await anext(stream) == "a"
        with anyio.move_on_after(2):
            await anext(stream)
        with pytest.raises(APITimeoutError) as caught:
            await anext(stream)
        assert (caught.value.kind, anyio.current_time()) == ("stall", 4)


class Written(AsyncGeneratorProvider):
    """A provider of somebody else's: a plain generator."""

    label = "written"

    def __init__(self, *steps: Chunk | float, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps = steps
        self.closed = False

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        try:
            for step in self.steps:
                if isinstance(step, float):
                    await anyio.sleep(step)
                else:
                    yield step
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("timeout", "kind", "at"),
    [
        (Timeout(idle=2), "idle", 3.5),
        (Timeout(stall=1), "stall", 1),
        (Timeout(first_chunk=1.25), "first_chunk", 1.25),
        (Timeout(total=3), "total", 3),
        (Timeout.of(2), "first_chunk", 2),
    ],
)
async def test_a_generator_is_held_to_all_limits(timeout: Timeout, kind: str, at: float) -> None:
    provider = Written(1.5, Reasoning("hm"), FOREVER)
    with pytest.raises(APITimeoutError, match=r"^written: ") as caught:
        await provider.complete("Hello?", timeout=timeout)
    assert (caught.value.kind, anyio.current_time(), provider.closed) == (kind, at, True)


async def test_a_cancelled_read_of_a_generator_loses_nothing_and_may_be_repeated() -> None:
    async with Written("a", 2.0, "b").stream("Hello?") as stream:
        assert await anext(stream) == "a"
        with anyio.move_on_after(1) as scope:
            await anext(stream)
        assert scope.cancelled_caught
        assert await anext(stream) == "b"
    assert anyio.current_time() == 2


async def test_a_generator_is_closed_where_it_is_left() -> None:
    provider = Written("a", "b")
    async with provider.stream("Hello?") as stream:
        await anext(stream)
    assert provider.closed


class Scoped(AsyncGeneratorProvider):
    """Holds a scope and a nursery open at ``yield``, which is a fault, and common."""

    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 100)
            with anyio.fail_after(50):
                for text in model or "abc":
                    yield text
                    await anyio.sleep(0 if model else 1)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("chunks", [1, 2, 3])
async def test_a_generator_that_holds_scopes_open_may_be_left_at_any_chunk(chunks: int) -> None:
    async with Scoped().stream("Hello?") as stream:
        assert [await anext(stream) for _ in range(chunks)] == list("abc")[:chunks]
        await clocks.settle()
    with anyio.move_on_after(1.5) as scope:
        async with Scoped().stream("Hello?") as stream:
            async for _ in stream:
                pass
    assert scope.cancelled_caught
    assert (await Scoped().complete("Hello?")).text == "abc"


async def test_a_generator_that_holds_scopes_open_may_be_left_while_it_waits_for_room() -> None:
    async with Scoped().stream("Hello?", model="a" * 99) as stream:
        assert await anext(stream) == "a"
        await clocks.settle()


async def test_a_generator_that_is_never_begun_is_never_run() -> None:
    answer = GeneratorAnswer(lambda: Written("a").create_async_generator("", []))
    async with answer:
        pass


# --- asked for at the first read ---


class Opened(AbstractAsyncContextManager[Source[Chunk]]):
    """An answer that knows what was done to it."""

    def __init__(self, opening: Callable[[], Any] | None = None) -> None:
        self.opening = opening
        self.done: list[str] = []

    async def __aenter__(self) -> Any:
        self.done.append("open")
        if self.opening is not None:
            await self.opening()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.done.append("exit")

    async def pull(self) -> list[Chunk]:
        self.done.append("pull")
        return ["a"]

    async def aclose(self) -> None:
        self.done.append("close")

    def close_now(self) -> None:
        self.done.append("close now")

    def detach(self) -> None:
        self.done.append("detach")


async def test_a_lazy_answer_is_opened_by_the_first_read_and_once() -> None:
    opened = Opened()
    lazy = Lazy(opened)
    assert (opened.done, lazy.is_open) == ([], False)
    assert [await lazy.pull(), await lazy.pull()] == [["a"], ["a"]]
    assert (opened.done, lazy.is_open) == (["open", "detach", "pull", "pull"], True)
    await lazy.aclose()
    assert opened.done[-1] == "close"


async def test_a_lazy_answer_that_was_not_read_has_nothing_to_close() -> None:
    opened = Opened()
    lazy = Lazy(opened)
    lazy.close_now()
    await lazy.aclose()
    assert opened.done == []


async def test_a_generator_of_a_declared_provider_sends_nothing_before_the_first_read() -> None:
    service = Service(HELLO, STOP, DONE)
    provider = OpenAICompatible(api_base="http://127.0.0.1:9/v1", http_client=service.client)
    chunks = provider.create_async_generator("model", "Hello?")
    await clocks.settle()
    assert service.requests == []
    assert [chunk async for chunk in chunks] == ["Hello", FinishReason("stop")]
    assert len(service.requests) == 1


async def test_a_generator_of_a_declared_provider_checks_its_set_up_before_it_sends() -> None:
    service = Service()
    provider = OpenAICompatible(api_base="ftp://one.test", http_client=service.client)
    with pytest.raises(SetupError, match="api_base must be an http"):
        await anext(provider.create_async_generator("model", "Hello?"))
    assert service.requests == []


async def test_a_piece_of_a_tool_call_is_content() -> None:
    async with Scripted([ToolCallDelta(0), "late"], gap=2).stream("?", timeout=Timeout(first_chunk=1)) as stream:
        assert (await stream.collect()).text == "late"
