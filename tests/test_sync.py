"""Synchronous code drives the asynchronous library: chunk by chunk, on both loops, and every early end closes it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest
import trio

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    Chunk,
    EntrantReport,
    EventLoopRunningError,
    FinishReason,
    Reasoning,
    SetupError,
    Stream,
    ToolCall,
    ToolCalls,
    Usage,
    race,
)
from g4ftrio._streams import driven as _driven
from g4ftrio._streams.sync import Backend, SyncStream, iterate_sync, refuse_in_a_loop, run_sync
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.providers import OpenAICompatible
from g4ftrio.testing import Scripted

BACKENDS: tuple[Backend, ...] = ("trio", "asyncio")
INSTEAD = "await provider.complete(...)"
HERE = Path(__file__).parent.parent
LONG = 10.0  # seconds that no test waits for

every_backend = pytest.mark.parametrize("backend", BACKENDS)


class Boom(Exception):
    pass


class Spoilt(Exception):
    pass


class Batches:
    """A source of these batches; an error among them is raised, a function called, None waits forever."""

    def __init__(self, *batches: Sequence[Chunk] | Exception | Callable[[], object] | None) -> None:
        self.left = list(batches)
        self.pulled = 0

    async def pull(self) -> list[Chunk]:
        await anyio.lowlevel.checkpoint()
        step = self.left.pop(0) if self.left else []
        if step is None:
            await anyio.sleep_forever()
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
            return await self.pull()
        self.pulled += 1
        return list(step or ())

    async def aclose(self) -> None:
        """Nothing is open."""


class Answer:
    """What opens a stream, again and again, and counts.

    :param closing: what it does when it is left
    """

    def __init__(self, *batches: Any, closing: Callable[[], Any] | None = None) -> None:
        self.batches = batches
        self.closing = closing
        self.opened = 0
        self.left: list[BaseException | None] = []

    def __call__(self) -> Any:
        return self.open()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Stream]:
        self.opened += 1
        stream = Stream(Batches(*self.batches), EntrantReport(name="one/model", model="model"))
        try:
            yield stream
        finally:
            self.left.append(sys.exception())
            await stream.aclose()
            if self.closing is not None:
                await self.closing()


def iterate(answer: Callable[[], Any], backend: Backend, **settings: Any) -> Generator[Chunk, None, None]:
    return iterate_sync(answer, backend=backend, instead=INSTEAD, **settings)


def stream_of(answer: Callable[[], Any], backend: Backend = "trio", **settings: Any) -> SyncStream:
    return SyncStream(answer, backend=backend, instead=INSTEAD, **settings)


def loop_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("g4ftrio-")]


class Service:
    """A service on loopback that answers one request, and says only what the test tells it to, when it tells it to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._orders: SimpleQueue[bytes] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve)
        self.asked: SimpleQueue[bytes] = SimpleQueue()
        self.api_base = "http://{}:{}/v1".format(*self._listener.getsockname())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._orders.put(b"")
        if self.asked.empty():
            socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(LONG)
        self._connection.close()
        self._listener.close()

    def say(self, text: str) -> None:
        self._orders.put(b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text.encode())

    def end(self) -> None:
        self._orders.put(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')

    def is_left(self) -> bool:
        """Wait until the client has closed the connection."""
        self._connection.settimeout(LONG)
        try:
            return self._connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def ask(self) -> Any:
        return OpenAICompatible(model="m", api_base=self.api_base).stream("Why?")

    def _serve(self) -> None:
        self._connection, _ = self._listener.accept()
        if request := self._connection.recv(65536):
            self.asked.put(request)
            self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            while order := self._orders.get():
                self._connection.sendall(order)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


# --- it streams ---


@every_backend
def test_every_chunk_is_given_before_the_next_one_is_sent(service: Service, backend: Backend) -> None:
    chunks = iterate(service.ask, backend)
    for text in ("a", "b", "c"):
        service.say(text)
        assert next(chunks) == text
    service.end()
    assert list(chunks) == [FinishReason("stop")]


@every_backend
def test_a_stream_in_a_with_gives_every_chunk_before_the_next_one_is_sent(service: Service, backend: Backend) -> None:
    with stream_of(service.ask, backend) as stream:
        for text in ("a", "b", "c"):
            service.say(text)
            assert next(stream) == text
        service.end()
        assert stream.collect().text == "abc"


@every_backend
def test_it_is_a_generator(backend: Backend) -> None:
    chunks = iterate(Answer("ab", "c"), backend)
    assert isinstance(chunks, Generator)
    assert list(chunks) == ["a", "b", "c"]


@every_backend
def test_nothing_happens_before_the_first_next(backend: Backend) -> None:
    answer = Answer("a")
    chunks = iterate(answer, backend)
    assert loop_threads() == []
    chunks.close()
    assert list(chunks) == []
    assert answer.opened == 0


@every_backend
def test_after_the_last_chunk_the_stream_is_left_and_the_thread_has_ended(backend: Backend) -> None:
    answer = Answer("ab")
    assert list(iterate(answer, backend)) == ["a", "b"]
    assert answer.left == [None]
    assert loop_threads() == []


@every_backend
def test_reading_stops_when_the_caller_is_far_behind(backend: Backend) -> None:
    read_on = threading.Event()
    answer = Answer(*["abcdefg"] * 100, read_on.set, *["abcdefg"] * 100)
    chunks = iterate(answer, backend)
    taken = [next(chunks)]
    assert not read_on.wait(0.05)
    taken += chunks
    assert taken == list("abcdefg") * 200


@every_backend
@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 255, 256, 257, 1000])
def test_nothing_is_lost_or_given_twice_however_large_the_batches_are(backend: Backend, size: int) -> None:
    letters = [str(n) for n in range(2000)]
    answer = Answer(*[letters[at : at + size] for at in range(0, len(letters), size)])
    assert list(iterate(answer, backend)) == letters


@every_backend
def test_the_context_variables_of_the_caller_are_seen(backend: Backend) -> None:
    contextvars.copy_context().run(see_the_context, backend)


def see_the_context(backend: Backend) -> None:
    variable.set("caller")
    seen: list[str] = []
    answer = Answer(lambda: seen.append(variable.get()), "a")
    assert list(iterate(answer, backend)) == ["a"]
    with stream_of(answer, backend) as stream:
        assert stream.collect().text == "a"
    assert run_sync(read_variable, backend=backend, instead=INSTEAD) == "caller"
    assert seen == ["caller", "caller"]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")


async def read_variable() -> str:
    await anyio.lowlevel.checkpoint()
    return variable.get()


@every_backend
def test_the_loop_is_the_one_that_was_asked_for(backend: Backend) -> None:
    seen: list[Any] = []
    assert list(iterate(Answer(lambda: seen.append(library()), "a"), backend)) == ["a"]

    async def look() -> str:
        return library()

    assert run_sync(look, backend=backend, instead=INSTEAD) == backend
    assert seen == [backend]


def library() -> str:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        assert asyncio.current_task()
        return "asyncio"
    return "trio"


@every_backend
def test_the_thread_is_called_after_what_it_runs(backend: Backend) -> None:
    names: list[str] = []
    assert list(iterate(Answer(lambda: names.append(threading.current_thread().name), "a"), backend)) == ["a"]
    assert names == ["g4ftrio-one/model"]


# --- it is closed ---


@every_backend
def test_closing_the_generator_closes_the_socket(service: Service, backend: Backend) -> None:
    chunks = iterate(service.ask, backend)
    service.say("a")
    assert next(chunks) == "a"
    chunks.close()
    assert loop_threads() == []
    assert service.is_left()


@every_backend
def test_leaving_the_for_loop_closes_the_socket(service: Service, backend: Backend) -> None:
    service.say("a")
    for chunk in iterate(service.ask, backend):
        assert chunk == "a"
        break
    assert loop_threads() == []
    assert service.is_left()


@every_backend
def test_a_generator_in_the_garbage_closes_the_socket(service: Service, backend: Backend) -> None:
    service.say("a")
    circle: list[Any] = [iterate(service.ask, backend)]
    assert next(circle[0]) == "a"
    circle.append(circle)
    del circle
    gc.collect()
    assert loop_threads() == []
    assert service.is_left()


@every_backend
def test_leaving_the_with_closes_the_socket(service: Service, backend: Backend) -> None:
    service.say("a")
    with stream_of(service.ask, backend) as stream:
        assert next(stream) == "a"
    assert loop_threads() == []
    assert service.is_left()


@every_backend
def test_a_stream_that_was_entered_and_dropped_closes_the_socket(service: Service, backend: Backend) -> None:
    service.say("a")
    stream = stream_of(service.ask, backend).__enter__()
    assert next(stream) == "a"
    del stream
    assert service.is_left()


@every_backend
def test_an_early_end_leaves_the_stream_as_a_break_would(backend: Backend) -> None:
    answer = Answer("ab", None)
    with closing(iterate(answer, backend)) as chunks:
        assert next(chunks) == "a"
    with stream_of(answer, backend) as stream:
        assert next(stream) == "a"
    assert answer.left == [None, None]


@every_backend
def test_a_stream_that_is_still_being_opened_is_cancelled(backend: Backend) -> None:
    opening, cancelled = threading.Event(), threading.Event()

    @asynccontextmanager
    async def never() -> AsyncIterator[Stream]:
        opening.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError
        yield

    stream = stream_of(never, backend)
    with ThreadPoolExecutor(1) as pool:
        entering = pool.submit(stream.__enter__)
        assert opening.wait(LONG)
        stream.close()
        assert cancelled.is_set()
        with pytest.raises(anyio.ClosedResourceError):
            entering.result(LONG)


@every_backend
def test_an_error_in_closing_leaves_close(backend: Backend) -> None:
    chunks = iterate(Answer("a", None, closing=spoil), backend)
    assert next(chunks) == "a"
    with pytest.raises(Spoilt):
        chunks.close()
    chunks.close()


@every_backend
def test_an_error_in_closing_leaves_the_with_once(backend: Backend) -> None:
    stream = stream_of(Answer("ab", closing=spoil), backend)
    with pytest.raises(Spoilt), stream:
        answer = stream.collect()
    assert answer.text == "ab"
    stream.close()


@every_backend
def test_an_error_in_closing_comes_after_the_last_chunk(backend: Backend) -> None:
    chunks = iterate(Answer("ab", closing=spoil), backend)
    assert [next(chunks), next(chunks)] == ["a", "b"]
    with pytest.raises(Spoilt):
        next(chunks)


async def spoil() -> None:
    await anyio.lowlevel.checkpoint()
    raise Spoilt


@every_backend
def test_what_the_body_raises_leaves_bare_and_before_an_error_in_closing(backend: Backend) -> None:
    boom = Boom()
    with pytest.raises(Boom) as caught, stream_of(Answer("a", None, closing=spoil), backend):
        raise boom
    assert caught.value is boom
    assert boom.__context__ is None


@every_backend
def test_an_error_that_was_read_ahead_is_not_raised_by_closing(backend: Backend) -> None:
    failed = threading.Event()
    chunks = iterate(Answer("a", "b", failed.set, Boom()), backend)
    assert next(chunks) == "a"
    assert failed.wait(LONG)
    chunks.close()


@every_backend
def test_what_does_not_close_in_time_is_cancelled(backend: Backend) -> None:
    chunks = iterate(Answer("a", None, closing=anyio.sleep_forever), backend, grace=0.05)
    assert next(chunks) == "a"
    chunks.close()
    assert loop_threads() == []


@every_backend
def test_a_thread_that_does_not_end_is_left_behind_with_one_warning(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_driven, "_TEARDOWN", 0.05)
    released = threading.Event()

    async def hang() -> None:
        released.wait(LONG)

    chunks = iterate(Answer("a", None, closing=hang), backend, grace=0.05)
    stream = stream_of(Answer("a", None, closing=hang), backend, grace=0.05)
    with pytest.warns(ResourceWarning, match=r"^g4ftrio-one/model: .* within 0.1 s") as warned:
        begin_and_leave(chunks, stream)
    assert [warning.filename for warning in warned] == [__file__, __file__]
    left = [thread for thread in threading.enumerate() if thread.name == "g4ftrio-one/model"]
    assert [thread.daemon for thread in left] == [True, True]
    released.set()
    for thread in left:
        thread.join(LONG)


def begin_and_leave(chunks: Generator[Chunk, None, None], stream: SyncStream) -> None:
    assert next(chunks) == "a"
    chunks.close()
    with stream:
        assert next(stream) == "a"
    stream.close()


@pytest.mark.anyio
@every_backend
async def test_closed_inside_a_loop_it_is_not_waited_for(backend: Backend) -> None:
    released = threading.Event()

    async def hang() -> None:
        released.wait(LONG)

    answer = Answer("ab", None, closing=hang)
    chunks = iterate_in_a_thread(answer, backend)
    thread = next(thread for thread in threading.enumerate() if thread.name == "g4ftrio-one/model")
    chunks.close()
    assert thread.is_alive()
    released.set()
    await anyio.to_thread.run_sync(thread.join, LONG)
    assert answer.left == [None]


def iterate_in_a_thread(answer: Answer, backend: Backend) -> Generator[Chunk, None, None]:
    """A generator that has begun elsewhere."""
    with ThreadPoolExecutor(1) as pool:
        chunks = pool.submit(iterate, answer, backend).result()
        assert pool.submit(next, chunks).result() == "a"
    return chunks


# --- errors ---


class Failing(AsyncGeneratorProvider):
    async def create_async_generator(self, model: str, messages: Any, **params: Any) -> AsyncIterator[Chunk]:
        yield "a"
        raise Boom(f"{model} failed")


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@every_backend
def test_an_error_comes_after_what_was_received_with_its_own_type_and_traceback(backend: Backend) -> None:
    chunks = iterate(lambda: Failing(model="m").stream("Why?"), backend)
    assert next(chunks) == "a"
    with pytest.raises(Boom, match=r"^m failed$") as caught:
        next(chunks)
    assert type(caught.value) is Boom
    assert frames(caught.value)[-1] == "create_async_generator"
    assert list(chunks) == []


@every_backend
def test_all_that_was_received_comes_before_the_error(backend: Backend) -> None:
    failed = threading.Event()
    chunks = iterate(Answer("abc", "d", failed.set, Boom()), backend)
    assert next(chunks) == "a"
    assert failed.wait(LONG)
    assert [next(chunks), next(chunks), next(chunks)] == ["b", "c", "d"]
    with pytest.raises(Boom):
        next(chunks)


@every_backend
def test_an_error_in_a_with_is_raised_at_every_read(backend: Backend) -> None:
    with stream_of(Answer("a", Boom()), backend) as stream:
        assert next(stream) == "a"
        for _ in range(2):
            with pytest.raises(Boom):
                next(stream)
        assert stream.text == "a"


@every_backend
def test_entering_raises_what_opening_raised(backend: Backend) -> None:
    def fail() -> Any:
        raise Boom

    with pytest.raises(Boom) as caught, stream_of(fail, backend):
        pass
    assert frames(caught.value)[-1] == "fail"
    with pytest.raises(Boom):
        next(iterate(fail, backend))
    assert loop_threads() == []


@every_backend
def test_an_error_of_the_connection_is_ours(backend: Backend) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        provider = OpenAICompatible(model="m", api_base="http://{}:{}/v1".format(*nobody.getsockname()))
        with pytest.raises(APIConnectionError):
            next(iterate(lambda: provider.stream("Why?"), backend))
        with pytest.raises(APIConnectionError):
            run_sync(partial(provider.complete, "Why?"), backend=backend, instead=INSTEAD)


@every_backend
def test_a_function_is_run_to_its_end_and_its_error_leaves_bare(backend: Backend) -> None:
    async def give() -> int:
        await anyio.lowlevel.checkpoint()
        return 3

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise Boom

    assert run_sync(give, backend=backend, instead=INSTEAD) == 3
    with pytest.raises(Boom) as caught:
        run_sync(fail, backend=backend, instead=INSTEAD)
    assert frames(caught.value)[-1] == "fail"


def test_trio_is_the_default() -> None:
    async def look() -> str:
        return library()

    assert run_sync(look, instead=INSTEAD) == "trio"


@pytest.mark.parametrize("start", [run_sync, iterate_sync, SyncStream])
def test_an_unknown_loop_is_an_error_that_names_the_two(start: Any) -> None:
    with pytest.raises(SetupError, match=r"'curio'.*'trio' or 'asyncio'"):
        start(Answer("a"), backend="curio", instead=INSTEAD)


@every_backend
def test_a_loop_that_cannot_be_made_is_an_error_for_the_caller(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(anyio, "run", fail)
    with pytest.raises(OSError, match="Too many open files"):
        next(iterate(Answer("a"), backend))
    assert loop_threads() == []


def test_a_thread_that_cannot_be_had_is_an_error_for_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(iterate(Answer("a"), "trio"))


# --- inside a loop ---


@pytest.mark.anyio
@every_backend
async def test_inside_a_loop_it_is_an_error_before_anything_is_sent(service: Service, backend: Backend) -> None:
    starts: list[Callable[[], object]] = [
        partial(refuse_in_a_loop, INSTEAD),
        partial(iterate, service.ask, backend),
        partial(stream_of, service.ask, backend),
        partial(run_sync, service.ask, backend=backend, instead=INSTEAD),
    ]
    for start in starts:
        with pytest.raises(EventLoopRunningError, match=r"write `await provider.complete\(...\)` instead"):
            start()
    assert loop_threads() == []
    assert service.asked.empty()


@pytest.mark.anyio
@every_backend
async def test_what_was_made_outside_does_not_start_inside_a_loop(service: Service, backend: Backend) -> None:
    with ThreadPoolExecutor(1) as pool:
        chunks = pool.submit(iterate, service.ask, backend).result()
        stream = pool.submit(stream_of, service.ask, backend).result()
    with pytest.raises(EventLoopRunningError):
        next(chunks)
    with pytest.raises(EventLoopRunningError), stream:
        pass
    assert loop_threads() == []
    assert service.asked.empty()


@pytest.mark.anyio
@every_backend
async def test_what_was_started_outside_does_not_block_a_loop(backend: Backend) -> None:
    answer = Answer("a", None)
    chunks = iterate_in_a_thread(answer, backend)
    with pytest.raises(EventLoopRunningError):
        next(chunks)
    await until(lambda: loop_threads() == [])
    assert answer.left == [None]


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(LONG):
        while not done():  # noqa: ASYNC110  # a thread ends without an event
            await anyio.sleep(0.001)


def use_all(backend: Backend) -> list[Any]:
    """Use every form in this thread."""
    with stream_of(Answer("ab"), backend) as stream:
        text = stream.collect().text
    return [*iterate(Answer("ab"), backend), text, run_sync(read_variable, backend=backend, instead=INSTEAD)]


@pytest.mark.anyio
@every_backend
async def test_in_worker_threads_of_a_loop_it_works(backend: Backend, anyio_backend_name: str) -> None:
    variable.set("loop")
    workers = {"asyncio": asyncio.to_thread, "trio": trio.to_thread.run_sync}
    for work in (anyio.to_thread.run_sync, workers[anyio_backend_name]):
        assert await work(use_all, backend) == ["a", "b", "ab", "loop"]  # type: ignore[operator]


@every_backend
@pytest.mark.parametrize("outer", BACKENDS)
def test_a_thread_with_the_context_of_a_loop_is_no_loop(backend: Backend, outer: Backend) -> None:
    async def work() -> list[Any]:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(context.run, use_all, backend).result()

    assert anyio.run(work, backend=outer) == ["a", "b", "ab", "nobody"]


def test_the_loop_that_a_thread_had_set_stays() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        run_sync(read_variable, backend="asyncio", instead=INSTEAD)
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@every_backend
def test_eight_threads_at_once(backend: Backend) -> None:
    together = threading.Barrier(8, timeout=LONG)

    def read(number: int) -> list[Chunk]:
        return list(iterate(Answer(str(number), together.wait, "ab"), backend))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [[str(n), "a", "b"] for n in range(8)]


# --- the stream in a with ---

CALLS = ToolCalls((ToolCall("c1", "f", "{}"),))


@every_backend
def test_what_is_gathered_is_what_was_taken(backend: Backend) -> None:
    usage = Usage(output_tokens=3)
    with stream_of(Answer(["a", "b", Reasoning("hm"), CALLS], [usage, FinishReason("stop")]), backend) as stream:
        assert [next(stream), stream.text] == ["a", "a"]
        assert stream.tool_calls == ()
        assert [next(stream), next(stream), next(stream)] == ["b", Reasoning("hm"), CALLS]
        assert (stream.text, stream.tool_calls, stream.usage) == ("ab", CALLS.calls, None)
        whole = stream.collect()
        assert (stream.usage, stream.finish_reason) == (usage, "stop")
    assert (whole.text, whole.reasoning, whole.tool_calls, whole.usage) == ("ab", "hm", CALLS.calls, usage)
    assert (whole.provider, whole.model) == (stream.provider, stream.model) == ("one/model", "model")
    assert stream.text == "ab"


@every_backend
def test_only_the_text_is_to_be_had(backend: Backend) -> None:
    with stream_of(Answer(["a", Reasoning("hm"), "b"], [FinishReason("stop")]), backend) as stream:
        assert list(stream.text_stream) == ["a", "b"]
        assert stream.finish_reason == "stop"


def test_iterating_before_entering_is_an_error_that_says_with() -> None:
    stream = stream_of(Answer("a"))
    for use in (lambda: list(stream), lambda: next(stream), stream.collect, lambda: stream.provider):
        with pytest.raises(TypeError, match=r"`with \.\.\. as stream:`"):
            use()
    assert loop_threads() == []


@every_backend
def test_it_is_entered_once(backend: Backend) -> None:
    answer = Answer("a")
    stream = stream_of(answer, backend)
    with stream, pytest.raises(RuntimeError, match="entered before"):
        stream.__enter__()
    with pytest.raises(RuntimeError, match="entered before"):
        stream.__enter__()
    assert answer.opened == 1


@every_backend
def test_closed_before_it_is_entered_it_opens_nothing(backend: Backend) -> None:
    answer = Answer("a")
    stream = stream_of(answer, backend)
    stream.close()
    with pytest.raises(anyio.ClosedResourceError), stream:
        pass
    assert answer.opened == 0


@every_backend
def test_after_the_end_there_is_no_more_and_after_leaving_it_is_closed(backend: Backend) -> None:
    with stream_of(Answer("ab"), backend) as stream:
        assert list(stream) == ["a", "b"]
        assert list(stream) == []
    for read in (stream.collect, lambda: next(stream)):
        with pytest.raises(anyio.ClosedResourceError):
            read()


@every_backend
def test_what_was_not_taken_before_closing_is_not_given_out(backend: Backend) -> None:
    with stream_of(Answer("ab", "c"), backend) as stream:
        assert next(stream) == "a"
        stream.close()
        with pytest.raises(anyio.ClosedResourceError):
            next(stream)
        assert stream.text == "a"


@every_backend
def test_closing_from_another_thread_frees_the_reader(backend: Backend) -> None:
    waiting = threading.Event()
    with stream_of(Answer(waiting.set, None), backend) as stream, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(next, stream)
        assert waiting.wait(LONG)
        stream.close()
        with pytest.raises(anyio.ClosedResourceError):
            reading.result(LONG)


@every_backend
def test_of_a_race_the_winner_is_known_on_entering_and_the_report_complete_after_leaving(backend: Backend) -> None:
    fast, slow = Scripted("a", name="fast"), Scripted("b", name="slow", delay=LONG)
    with stream_of(lambda: race([slow, fast], "Why?"), backend) as stream:
        assert stream.winner == "fast"
        assert list(stream) == ["a"]
    report = stream.report
    assert report is not None
    assert {entrant.name: entrant.outcome for entrant in report.entrants} == {"slow": "lost", "fast": "won"}
    assert all(entrant.ended_at is not None for entrant in report.entrants)
    assert (fast.closed, slow.closed) == (1, 1)


@every_backend
def test_of_a_race_that_all_lose_entering_raises(backend: Backend) -> None:
    with (
        pytest.raises(AllFailed) as caught,
        stream_of(lambda: race([Scripted(error=Boom(), name="one")], "Why?"), backend),
    ):
        pass
    assert isinstance(caught.value.failures["one"], Boom)


def test_what_is_no_race_has_no_winner() -> None:
    with stream_of(Answer("a")) as stream:
        assert not hasattr(stream, "winner")
        assert stream.report is None


# --- the process ---

PROGRAM = """if True:
    import sys, warnings
    from g4ftrio._streams.sync import SyncStream, iterate_sync, run_sync
    from g4ftrio.providers import OpenAICompatible

    warnings.simplefilter("error")
    api_base, backend, form = sys.argv[1:]

    def ask():
        return OpenAICompatible(model="m", api_base=api_base).stream("Why?")

    def show(chunk):
        print(chunk, flush=True)

    async def read():
        async with ask() as stream:
            async for chunk in stream:
                show(chunk)

    def use():
        if form == "generator":
            for chunk in iterate_sync(ask, backend=backend, instead=""):
                show(chunk)
        elif form == "with":
            with SyncStream(ask, backend=backend, instead="") as stream:
                for chunk in stream:
                    show(chunk)
        elif form == "function":
            run_sync(read, backend=backend, instead="")
        else:
            global chunks
            chunks = iterate_sync(ask, backend=backend, instead="")
            show(next(chunks))
            sys.exit(0)

    try:
        use()
    except KeyboardInterrupt:
        show("interrupted")
        sys.stdin.read()
"""


def run_program(service: Service, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, service.api_base, *arguments],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@every_backend
@pytest.mark.parametrize("form", ["generator", "with", "function"])
def test_ctrl_c_closes_the_socket_before_it_goes_on(service: Service, backend: Backend, form: str) -> None:
    service.say("a")
    with run_program(service, backend, form) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert service.is_left()
        assert process.poll() is None
        output = process.communicate(timeout=LONG)
    assert output == ("", "")
    assert process.returncode == 0


@every_backend
def test_a_program_that_ends_in_mid_stream_ends_at_once_and_in_silence(service: Service, backend: Backend) -> None:
    service.say("a")
    with run_program(service, backend, "leave") as process:
        output = process.communicate(timeout=LONG)
    assert output == ("a\n", "")
    assert process.returncode == 0
    assert service.is_left()


FRESH = """if True:
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from g4ftrio._streams.sync import iterate_sync
    from g4ftrio.testing import Scripted

    assert not sys.modules.keys() & {"asyncio", "trio"}

    def read(number):
        backend = ("trio", "asyncio")[number % 2]
        return list(iterate_sync(lambda: Scripted(str(number)).stream("Why?"), backend=backend, instead=""))

    with ThreadPoolExecutor(8) as pool:
        print(*pool.map(read, range(8)))
"""


def test_eight_threads_may_be_the_first_to_load_a_loop() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FRESH], cwd=HERE, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "['0'] ['1'] ['2'] ['3'] ['4'] ['5'] ['6'] ['7']\n"
