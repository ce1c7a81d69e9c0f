"""A synchronous provider in asynchronous code: what its one thread does, what the reader gets, and how it is left."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count, repeat
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from g4ftrio import APITimeoutError, Chunk, FinishReason, Reasoning, SetupError, Timeout, open_http_client
from g4ftrio._streams import threads as _threads
from g4ftrio._streams.lazy import Lazy
from g4ftrio._streams.patient import Patient
from g4ftrio._streams.threads import ThreadAnswer
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

FOREVER = 3600.0  # seconds; a test that waits for it fails by pytest's own time-out
END = object()


class Script:
    """An iterator that gives what the test writes into it, blocks where nothing is written, and notes its threads."""

    def __init__(self, *steps: object) -> None:
        self.steps: SimpleQueue[Any] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.calls: list[str] = []
        self.inside = threading.Event()
        self.write(*steps)

    def write(self, *steps: object) -> None:
        for step in steps:
            self.steps.put(step)

    def open(self) -> Iterator[Chunk]:
        self.note("open")
        return self

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        self.note("next")
        if self.steps.empty():
            self.inside.set()
        step: Any = self.steps.get(timeout=FOREVER)
        if step is END:
            raise StopIteration
        if isinstance(step, BaseException):
            raise step
        chunk: Chunk = step
        return chunk

    def close(self) -> None:
        self.note("close")

    def note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.append(threading.current_thread())

    @property
    def thread(self) -> threading.Thread:
        return self.threads[0]

    @property
    def is_closed(self) -> bool:
        return "close" in self.calls

    def is_gone(self) -> bool:
        """Whether the thread has ended, which it has a moment at most after its last word."""
        self.thread.join(5)
        return self.is_closed and not self.thread.is_alive()


def answer_of(script: Script, **options: Any) -> ThreadAnswer:
    return ThreadAnswer(script.open, "Sync", **options)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # a thread brings it about, and sets no anyio.Event
            await anyio.sleep(0.001)


async def read(answer: ThreadAnswer) -> list[Chunk]:
    async with answer as source:
        chunks: list[Chunk] = []
        while batch := await source.pull():
            chunks += batch
        return chunks


@asynccontextmanager
async def beside(function: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(function)
        await clocks.settle()
        yield


# --- what the reader gets ---


async def test_each_chunk_arrives_before_the_next_is_written() -> None:
    script = Script()
    async with answer_of(script) as source:
        for text in ("a", "b", "c"):
            script.write(text)
            assert await source.pull() == [text]
        script.write(END)
        assert await source.pull() == []
        assert await source.pull() == []
    assert script.is_gone()


async def test_what_lies_there_is_taken_whole() -> None:
    script = Script("a", "b", "c", END)
    async with answer_of(script) as source:
        await until(lambda: script.is_closed)
        assert await source.pull() == ["a", "b", "c"]
        assert await source.pull() == []


async def test_a_chunk_may_be_of_any_kind() -> None:
    chunks: list[Chunk] = [Reasoning("hm"), "", "text", FinishReason("stop")]
    assert await read(ThreadAnswer(lambda: chunks, "Sync")) == chunks


async def test_an_answer_may_be_empty() -> None:
    assert await read(ThreadAnswer(list, "Sync")) == []


async def test_a_thousand_chunks_arrive_in_their_order() -> None:
    texts = [str(number) for number in range(1000)]
    assert await read(ThreadAnswer(lambda: iter(texts), "Sync")) == texts


async def test_a_slot_for_one_chunk_is_enough() -> None:
    texts = [str(number) for number in range(100)]
    assert await read(ThreadAnswer(lambda: iter(texts), "Sync", bound=1)) == texts


async def test_many_are_read_at_once() -> None:
    texts = [str(number) for number in range(50)]
    seen: list[list[Chunk]] = []

    async def one() -> None:
        seen.append(await read(ThreadAnswer(lambda: iter(texts), "Sync", bound=3)))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert seen == [texts] * 20


# --- the loop stays free ---


async def test_other_tasks_run_while_the_iterator_blocks() -> None:
    script = Script()

    async def work_and_then_write() -> None:
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        script.write("late", END)

    async with answer_of(script) as source, beside(work_and_then_write):
        assert await source.pull() == ["late"]


async def test_other_tasks_run_while_the_thread_is_always_ahead() -> None:
    async with ThreadAnswer(lambda: repeat("x"), "Sync", bound=1000) as source, anyio.create_task_group() as tasks:

        async def stop_the_reader() -> None:
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

        tasks.start_soon(stop_the_reader)
        while True:
            await source.pull()


async def test_a_reader_that_waits_does_not_keep_the_loop_busy() -> None:
    script = Script()
    async with answer_of(script) as source:

        async def reader() -> None:
            while await source.pull():
                pass

        async with beside(reader):
            script.write("a")
            await until(script.steps.empty)
            await clocks.settle()  # which never comes while a task can run
            script.write(END)


async def test_a_stuck_thread_takes_no_place_in_the_shared_pool() -> None:
    script = Script()
    async with answer_of(script):
        await until(script.inside.is_set)
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        script.write(END)


# --- its thread ---


async def test_one_thread_of_its_own_opens_advances_and_closes() -> None:
    script = Script("a", "b", END)
    assert await read(answer_of(script)) == ["a", "b"]
    assert script.calls == ["open", "next", "next", "next", "close"]
    assert set(script.threads) == {script.thread}
    assert script.thread.name == "g4ftrio-Sync"
    assert script.thread.daemon
    assert script.thread is not threading.current_thread()


async def test_an_executor_is_where_it_runs() -> None:
    script = Script("a", END)
    with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        assert await read(answer_of(script, executor=pool)) == ["a"]
        assert {thread.name for thread in script.threads} == {"mine_0"}
        assert script.calls[-1] == "close"


async def test_nothing_is_asked_before_it_is_entered() -> None:
    script = Script(END)
    answer = answer_of(script)
    await clocks.settle()
    assert script.calls == []
    await read(answer)
    assert script.calls[0] == "open"


async def test_the_openers_context_is_seen_and_not_changed() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def chunks() -> Iterator[Chunk]:
        yield variable.get()
        variable.set("of the thread")
        yield variable.get()

    variable.set("of the task")
    assert await read(ThreadAnswer(chunks, "Sync")) == ["of the task", "of the thread"]
    assert variable.get() == "of the task"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_it_may_run_a_loop_in_its_thread(backend: str) -> None:
    async def text() -> str:
        await anyio.lowlevel.checkpoint()
        return "from a loop"

    assert await read(ThreadAnswer(lambda: [anyio.run(text, backend=backend)], "Sync")) == ["from a loop"]


async def test_the_thread_stops_when_the_slot_is_full_and_goes_on_when_it_is_emptied() -> None:
    drawn: list[str] = []

    def chunks() -> Iterator[Chunk]:
        for number in count():
            drawn.append(str(number))
            yield str(number)

    async with ThreadAnswer(chunks, "Sync", bound=3) as source:
        for begin in (0, 3, 6):
            await until(lambda begin=begin: len(drawn) >= begin + 3)  # type: ignore[misc]  # mypy does not infer it
            await anyio.sleep(0.01)
            assert len(drawn) == begin + 3
            assert await source.pull() == drawn[begin:]


# --- errors ---


class OwnError(Exception):
    pass


def fails_midway() -> Iterator[Chunk]:
    yield "a"
    raise OwnError("midway")


async def test_an_error_comes_after_the_chunks_before_it_and_says_where_it_was_raised() -> None:
    async with ThreadAnswer(fails_midway, "Sync") as source:
        assert await source.pull() == ["a"]
        for _ in range(2):
            with pytest.raises(OwnError, match="midway") as caught:
                await source.pull()
            assert caught.traceback[-1].name == "fails_midway"


async def test_the_error_does_not_overtake_what_is_not_taken_yet() -> None:
    script = Script("a", "b", OwnError())
    async with answer_of(script) as source:
        await until(lambda: script.is_closed)
        assert await source.pull() == ["a", "b"]
        with pytest.raises(OwnError):
            await source.pull()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, OwnError, RecursionError])
async def test_an_error_of_any_kind_keeps_its_type(kind: type[BaseException]) -> None:
    error = kind()
    with pytest.raises(kind) as caught:
        await read(answer_of(Script(error)))
    assert caught.value is error


async def test_an_iterator_that_cannot_be_opened_says_why() -> None:
    def refuses() -> Iterable[Chunk]:
        raise OwnError("no")

    with pytest.raises(OwnError, match="no"):
        await read(ThreadAnswer(refuses, "Sync"))


async def test_what_is_no_iterable_is_a_type_error() -> None:
    nothing: Any = lambda: None  # noqa: E731  # a def would need the wrong return type
    with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
        await read(ThreadAnswer(nothing, "Sync"))


async def test_a_sign_that_means_something_to_the_reader_is_no_such_sign() -> None:
    for kind in (GeneratorExit, StopAsyncIteration, anyio.get_cancelled_exc_class()):
        error = kind.__new__(kind)
        what = f"Sync: its iterator raised {kind.__name__}, which has another meaning here"
        with pytest.raises(RuntimeError, match=what) as caught:
            await read(answer_of(Script("a", error)))
        assert caught.value.__cause__ is error


async def test_a_stop_iteration_while_it_is_opened_is_not_the_end() -> None:
    def opened() -> Iterator[Chunk]:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await read(ThreadAnswer(opened, "Sync"))


class BadlyClosed(Script):
    def close(self) -> None:
        super().close()
        raise OwnError("while closing")


async def test_an_error_of_closing_takes_the_place_of_the_end() -> None:
    async with answer_of(BadlyClosed("a", END)) as source:
        assert await source.pull() == ["a"]
        with pytest.raises(OwnError, match="while closing"):
            await source.pull()


async def test_an_error_of_closing_does_not_hide_the_one_before_it() -> None:
    with pytest.raises(OwnError, match="before"):
        await read(answer_of(BadlyClosed(OwnError("before"))))


async def test_an_error_of_closing_early_is_raised_where_the_answer_is_left() -> None:
    with pytest.raises(OwnError, match="while closing"):
        async with answer_of(BadlyClosed("a"), bound=1) as source:
            await source.aclose()  # it is the context that raises


async def test_an_error_of_closing_early_does_not_hide_that_of_the_body() -> None:
    with pytest.raises(ValueError, match="of the body"):
        async with answer_of(BadlyClosed("a"), bound=1):
            raise ValueError("of the body")


async def test_it_does_not_hide_it_either_where_the_body_itself_closes_the_answer() -> None:
    async def body() -> None:
        async with answer_of(BadlyClosed("a"), bound=1) as source:
            try:
                raise ValueError("of the body")
            finally:
                await source.aclose()

    with pytest.raises(ValueError, match="of the body"):
        await body()


async def test_an_error_of_closing_what_was_detached_is_raised_where_it_is_closed() -> None:
    async with answer_of(BadlyClosed("a"), bound=1) as source:
        detached: Any = source
        detached.detach()
    with pytest.raises(OwnError, match="while closing"):
        await source.aclose()


# --- a cancelled read ---


async def test_a_cancelled_read_loses_nothing_and_can_be_repeated() -> None:
    script = Script()
    async with answer_of(script) as source:
        for text in ("a", "b"):
            with anyio.move_on_after(0.001) as scope:
                await source.pull()
            assert scope.cancelled_caught
            script.write(text)
            assert await source.pull() == [text]
        script.write(END)


async def test_reads_cancelled_at_any_moment_lose_nothing() -> None:
    texts = [str(number) for number in range(300)]
    pause = threading.Event()

    def chunks() -> Iterator[Chunk]:
        for text in texts:
            pause.wait(0.0002)
            yield text

    seen: list[Chunk] = []
    async with ThreadAnswer(chunks, "Sync", bound=2) as source:
        ended = False
        while not ended:
            with anyio.move_on_after(0.0003):
                batch = await source.pull()
                seen += batch
                ended = not batch
    assert seen == texts


async def test_a_cancelled_scope_cancels_a_read_that_would_not_have_to_wait() -> None:
    script = Script("a", END)
    async with answer_of(script) as source:
        await until(lambda: script.is_closed)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await source.pull()
        assert scope.cancelled_caught
        assert await source.pull() == ["a"]


# --- leaving it ---


async def test_a_reader_that_timed_out_does_not_wait_for_a_stuck_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_STEP", FOREVER)
    script = Script()
    with anyio.move_on_after(0.01) as scope:
        async with answer_of(script, grace=FOREVER) as source:
            await until(script.inside.is_set)
            await source.pull()
    assert scope.cancelled_caught
    assert script.thread.is_alive()
    script.write("too late", "and more")
    assert script.is_gone()
    assert script.calls == ["open", "next", "close"]


async def test_the_time_out_of_a_provider_does_not_wait_for_a_stuck_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_STEP", FOREVER)
    script = Script()
    stream = Lazy(Patient(answer_of(script, grace=FOREVER), Timeout(first_chunk=0.01), "Sync"))
    with pytest.raises(APITimeoutError, match=r"^Sync: no clean chunk within"):
        await stream.pull()
    await stream.aclose()
    await until(script.inside.is_set)
    script.write(END)
    assert script.is_gone()


async def test_a_thread_that_is_long_in_one_step_is_left_to_itself() -> None:
    script = Script("a")
    async with answer_of(script, grace=FOREVER) as source:
        assert await source.pull() == ["a"]
        await until(script.inside.is_set)
    assert script.thread.is_alive()
    script.write("too late")
    assert script.is_gone()


async def test_a_thread_whose_step_is_short_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_STEP", FOREVER)
    script = Script("a")

    async def let_it_go_on() -> None:
        script.write("more")

    async with anyio.create_task_group() as tasks:
        async with answer_of(script, grace=FOREVER) as source:
            assert await source.pull() == ["a"]
            await until(script.inside.is_set)
            tasks.start_soon(let_it_go_on)
        assert script.is_closed
    assert script.is_gone()


async def test_when_a_parked_thread_is_left_the_iterator_is_closed_and_the_thread_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_threads, "_STEP", 0)
    script = Script("a", "b")
    async with answer_of(script, bound=1, grace=FOREVER) as source:
        assert await source.pull() == ["a"]
        await until(lambda: script.calls.count("next") == 2)
    assert script.is_closed
    assert script.is_gone()


async def test_a_parked_thread_is_closed_properly_in_a_cancelled_scope() -> None:
    script = Script("a")
    with anyio.CancelScope() as scope:
        async with answer_of(script, bound=1, grace=FOREVER):
            scope.cancel()
            await anyio.sleep_forever()
    assert script.is_closed
    assert script.is_gone()


class LongInClosing(Script):
    def __init__(self, *steps: object) -> None:
        super().__init__(*steps)
        self.released = threading.Event()

    def close(self) -> None:
        self.note("closing")
        self.released.wait(FOREVER)
        super().close()


async def test_an_iterator_that_is_long_in_closing_gets_its_grace_and_no_more() -> None:
    script = LongInClosing("a")
    async with answer_of(script, bound=1, grace=0.1):
        await until(lambda: "next" in script.calls)
    assert script.calls == ["open", "next", "closing"]
    script.released.set()
    assert script.is_gone()


async def test_an_iterator_that_needs_less_than_its_grace_is_closed_when_it_was_left() -> None:
    script = LongInClosing("a")

    async def let_it_close() -> None:
        await until(lambda: "closing" in script.calls)
        await anyio.sleep(2 * _threads._STEP)
        script.released.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_it_close)
        async with answer_of(script, bound=1, grace=FOREVER):
            await until(lambda: "next" in script.calls)
        assert script.is_closed
    assert script.is_gone()


async def test_a_generator_is_closed_at_its_yield() -> None:
    closed_in: list[int] = []

    def chunks() -> Iterator[Chunk]:
        try:
            yield "a"
            yield "b"
        finally:
            closed_in.append(threading.get_ident())

    async with ThreadAnswer(chunks, "Sync", bound=1):
        pass
    assert len(closed_in) <= 1  # it may not have begun
    async with ThreadAnswer(chunks, "Sync", bound=1) as source:
        assert await source.pull() == ["a"]
    assert closed_in
    assert threading.get_ident() not in closed_in


async def test_an_iterable_is_closed_after_the_iterator_that_it_gave() -> None:
    calls: list[str] = []

    class Response:
        def __init__(self) -> None:
            self.lines = self.read()  # kept, so that it is not closed by being dropped

        def read(self) -> Iterator[Chunk]:
            try:
                yield "a"
                yield "b"
            finally:
                calls.append("iterator")

        def __iter__(self) -> Iterator[Chunk]:
            return self.lines

        def close(self) -> None:
            calls.append("response")

    async with ThreadAnswer(Response, "Sync", bound=1) as source:
        assert await source.pull() == ["a"]
    assert calls == ["iterator", "response"]


async def test_closing_wakes_a_reader_in_another_task() -> None:
    script = Script()
    async with answer_of(script) as source:

        async def reader() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await source.pull()

        async with beside(reader):
            await source.aclose()
        script.write(END)


async def test_it_may_be_closed_from_another_thread() -> None:
    script = Script()
    answer = answer_of(script)
    async with answer as source:

        async def reader() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await source.pull()

        async with beside(reader):
            await anyio.to_thread.run_sync(answer.close_now)
        script.write(END)


async def test_what_is_detached_outlives_its_context_and_its_task() -> None:
    script = Script("a")
    answer = answer_of(script, bound=1)

    async def opener() -> None:
        async with answer:
            answer.detach()

    async def reader() -> None:
        assert await answer.pull() == ["a"]
        script.write("b")

    for function in (opener, reader, answer.aclose):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(function)
    assert script.is_gone()


async def test_a_client_that_it_adopts_is_closed_with_it() -> None:
    client = open_http_client()
    answer = answer_of(Script(END))
    async with answer:
        answer.adopt(client)
        assert not client.is_closed
    assert client.is_closed


# --- every state, every way to leave ---


async def new(script: Script, answer: ThreadAnswer) -> None:
    """Leave it as it is."""


async def running(script: Script, answer: ThreadAnswer) -> None:
    await answer.__aenter__()
    await until(script.inside.is_set)


async def full(script: Script, answer: ThreadAnswer) -> None:
    script.write("a", "b")
    await answer.__aenter__()
    await until(lambda: script.calls.count("next") == 2)


async def ended(script: Script, answer: ThreadAnswer) -> None:
    script.write("a", END)
    await answer.__aenter__()
    await until(lambda: script.is_closed)


async def failed(script: Script, answer: ThreadAnswer) -> None:
    script.write("a", OwnError())
    await answer.__aenter__()
    await until(lambda: script.is_closed)


STATES = pytest.mark.parametrize("state", [new, running, full, ended, failed])
State = Callable[[Script, ThreadAnswer], Awaitable[None]]


@STATES
async def test_closed_in_any_state_it_gives_no_more_and_its_thread_ends(state: State) -> None:
    script = Script()
    answer = answer_of(script, bound=2)
    await state(script, answer)
    await answer.aclose()
    script.write("too late")
    with pytest.raises(anyio.ClosedResourceError):
        await answer.pull()
    await answer.aclose()
    assert state is new or script.is_gone()


@STATES
async def test_closed_at_once_in_any_state_it_gives_no_more_and_its_thread_ends(state: State) -> None:
    script = Script()
    answer = answer_of(script, bound=2)
    await state(script, answer)
    answer.close_now()
    script.write("too late")
    with pytest.raises(anyio.ClosedResourceError):
        await answer.pull()
    assert state is new or script.is_gone()


@STATES
async def test_dropped_in_any_state_its_thread_ends(state: State) -> None:
    script = Script()
    answer = answer_of(script, bound=2)
    await state(script, answer)
    del answer
    gc.collect()
    script.write("too late")
    assert state is new or script.is_gone()


async def test_closed_before_it_is_entered_it_never_asks() -> None:
    script = Script("a")
    answer = answer_of(script)
    await answer.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await read(answer)
    assert script.calls == []


def test_a_thread_outlives_the_loop_and_ends_when_it_can(anyio_backend_name: str) -> None:
    script = Script()
    answer = answer_of(script)

    async def abandon() -> None:
        await answer.__aenter__()
        with anyio.move_on_after(0.001):
            await answer.pull()
        await until(script.inside.is_set)

    anyio.run(abandon, backend=anyio_backend_name)
    script.write("a", END)
    assert script.is_gone()
    assert script.calls == ["open", "next", "next", "close"]


async def test_it_is_read_only_after_it_was_entered_and_entered_once() -> None:
    answer = answer_of(Script(END))
    with pytest.raises(RuntimeError, match="was not opened"):
        await answer.pull()
    assert await read(answer) == []
    with pytest.raises(RuntimeError, match="opened before: make another"):
        await answer.__aenter__()


# --- executors that do not come to it ---

NOT_BEGUN = "^Sync: its executor is shut down or broken, so nothing was asked; pass another one$"


async def test_an_executor_that_was_shut_down_is_an_error_that_says_so() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    answer = answer_of(Script(), executor=pool)
    with pytest.raises(SetupError, match=NOT_BEGUN) as caught:
        await read(answer)
    assert isinstance(caught.value.__cause__, RuntimeError)
    await answer.aclose()


@asynccontextmanager
async def busy_pool() -> AsyncIterator[ThreadPoolExecutor]:
    released = threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(released.wait, FOREVER)
    try:
        yield pool
    finally:
        released.set()
        pool.shutdown()


async def test_an_executor_that_is_shut_down_while_it_queues_does_not_keep_the_reader_waiting() -> None:
    script = Script("a")
    async with busy_pool() as pool:

        async def reader() -> None:
            with pytest.raises(SetupError, match=NOT_BEGUN):
                await read(answer_of(script, executor=pool))

        async with beside(reader):
            pool.shutdown(wait=False, cancel_futures=True)
    assert script.calls == []


async def test_an_executor_whose_threads_do_not_start_does_not_keep_the_reader_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "concurrent.futures")
    script = Script("a")
    release = threading.Event()

    def broken() -> None:
        release.wait(FOREVER)
        raise OwnError

    with ThreadPoolExecutor(1, initializer=broken) as pool:
        async with answer_of(script, executor=pool) as source:
            release.set()
            with pytest.raises(SetupError, match=NOT_BEGUN) as caught:
                await source.pull()
    assert type(caught.value.__cause__).__name__ == "BrokenThreadPool"
    assert script.calls == []


@pytest.mark.parametrize("reads", [False, True])
async def test_what_is_left_while_it_queues_never_asks(reads: bool) -> None:
    script = Script("a")
    async with busy_pool() as pool:
        with anyio.move_on_after(0.01):
            async with answer_of(script, executor=pool, grace=FOREVER) as source:
                if reads:
                    await source.pull()
    assert script.calls == []
