"""Who may be handed to another task, who is pumped, and the pump by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from g4ftrio._loops import open_scopes
from g4ftrio._race import handoff as _handoff
from g4ftrio._race.handoff import Pump, affinity
from g4ftrio._race.iterators import Opener
from g4ftrio._words.errors import AllFailed
from tests import clocks
from tests.entrants import FOREVER, Line, Scripted, outcomes, race

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

Foreign = Callable[..., AsyncIterator[str]]
BOUND = ContextVar("BOUND", default="nothing")


async def scoped(*items: str) -> AsyncIterator[str]:
    with anyio.CancelScope():
        for item in items:
            await anyio.sleep(0.25)
            yield item


async def timed(*items: str) -> AsyncIterator[str]:
    with anyio.fail_after(60):
        for item in items:
            await anyio.sleep(0.25)
            yield item


async def grouped(*items: str) -> AsyncIterator[str]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 1)
        for item in items:
            await anyio.sleep(0.25)
            yield item


async def bound(*items: str) -> AsyncIterator[str]:
    token = BOUND.set("a span")
    try:
        for item in items:
            await anyio.sleep(0.25)
            yield item
    finally:
        BOUND.reset(token)


async def plain(*items: str) -> AsyncIterator[str]:
    for item in items:
        await anyio.sleep(0.25)
        yield item


TIED = [scoped, timed, grouped, bound]
foreign = pytest.mark.parametrize("foreign", [*TIED, plain])
claims = pytest.mark.parametrize("handoff", [True, False], ids=["claims to be safe", "does not"])


async def test_the_private_names_that_the_check_relies_on_are_there() -> None:
    with anyio.CancelScope():
        await anyio.lowlevel.checkpoint()
        assert open_scopes() == open_scopes() is not None
        assert affinity() == affinity()


@pytest.mark.parametrize("tie", TIED)
async def test_what_a_generator_holds_over_its_yield_is_noticed(tie: Foreign) -> None:
    with anyio.CancelScope():
        before = affinity()
        iterator = tie("a", "b")
        await anext(iterator)
        assert affinity() != before
        assert [item async for item in iterator] == ["b"]
        assert affinity() == before


async def test_a_generator_that_holds_nothing_leaves_no_trace() -> None:
    with anyio.CancelScope():
        before = affinity()
        iterator = plain("a", "b")
        await anext(iterator)
        assert affinity() == before
        assert [item async for item in iterator] == ["b"]


async def test_where_the_loop_does_not_tell_nobody_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_handoff, "open_scopes", lambda: None)
    assert affinity() != affinity()
    winner = Line("W", "w", "v")
    async with race({"winner": winner}, handoff=True) as stream:
        assert isinstance(stream._source, Pump)
        assert [item async for item in stream] == ["W", "w", "v"]


async def test_one_that_claims_nothing_is_pumped() -> None:
    async with race({"winner": Scripted("W")}, handoff=False) as stream:
        assert isinstance(stream._source, Pump)


async def test_one_that_claims_to_be_safe_and_is_is_handed_over() -> None:
    async with race({"winner": lambda: plain("W", "w")}, handoff=True) as stream:
        assert not isinstance(stream._source, Pump)
        assert [item async for item in stream] == ["W", "w"]


@pytest.mark.parametrize("tie", TIED)
async def test_one_that_claims_to_be_safe_and_is_not_is_found_out_and_pumped(tie: Foreign) -> None:
    async with race({"winner": lambda: tie("W", "w")}, handoff=True) as stream:
        assert isinstance(stream._source, Pump)


@foreign
@claims
async def test_any_generator_is_read_to_its_end(foreign: Foreign, handoff: bool) -> None:
    async with race({"winner": lambda: foreign("a", "W", "w", "v"), "loser": Scripted(9)}, handoff=handoff) as stream:
        assert [item async for item in stream] == ["a", "W", "w", "v"]
    assert outcomes(stream.report) == {"winner": "won", "loser": "lost"}
    assert [record.error for record in stream.report.entrants] == [None, None]


@foreign
@claims
@pytest.mark.parametrize("items", [0, 1, 2, 3])
async def test_any_generator_can_be_left_early(foreign: Foreign, handoff: bool, items: int) -> None:
    async with race({"winner": lambda: foreign(*"WXYZ")}, handoff=handoff) as stream:
        got = [await anext(stream) for _ in range(items)]
    assert got == list("WXYZ"[:items])
    assert stream.report.entrants[0].error is None


@foreign
@claims
async def test_any_generator_can_be_left_early_while_it_waits_for_us(foreign: Foreign, handoff: bool) -> None:
    async with race({"winner": lambda: foreign("W", "X")}, handoff=handoff) as stream:
        assert await anext(stream) == "W"
        assert await anext(stream) == "X"
        await anyio.sleep(0.125)
    assert stream.report.entrants[0].error is None


@foreign
@claims
async def test_any_generator_can_lose_in_the_midst_of_a_read_and_between_two(foreign: Foreign, handoff: bool) -> None:
    for at in (0.25, 0.375, 0.5):
        entrants: dict[str, Opener[str]] = {"loser": lambda: foreign("a", "b", "c"), "winner": Scripted(at, "W", 1)}
        async with race(entrants, handoff=handoff) as stream:
            assert [item async for item in stream] == ["W"]
        record = stream.report.entrants[0]
        assert (record.outcome, record.error) == ("lost", None)


@foreign
@claims
async def test_any_generator_can_be_cancelled_from_outside(foreign: Foreign, handoff: bool) -> None:
    for at in (0.125, 0.25, 0.375, 0.5, 0.625):
        with anyio.move_on_after(at) as scope:
            async with race({"winner": lambda: foreign("a", *"WXYZ")}, handoff=handoff) as stream:
                async for _ in stream:
                    pass
        assert scope.cancelled_caught


@pytest.mark.parametrize("tie", TIED)
@claims
async def test_any_generator_s_error_is_raised_after_its_items(tie: Foreign, handoff: bool) -> None:
    async def failing() -> AsyncIterator[str]:
        async for item in tie("W", "w"):
            yield item
        raise OSError("connection reset")

    async with race({"winner": failing}, handoff=handoff) as stream:
        assert [await anext(stream), await anext(stream)] == ["W", "w"]
        with pytest.raises(OSError, match="connection reset"):
            await anext(stream)


async def test_a_foreign_time_out_over_a_yield_ends_the_entrant_and_not_the_race() -> None:
    async def impatient() -> AsyncIterator[str]:
        with anyio.fail_after(1):
            yield "a"
            await anyio.sleep(FOREVER)

    with pytest.raises(AllFailed) as raised:
        async with race({"impatient": impatient}):
            pytest.fail("nobody could win")
    assert isinstance(raised.value.failures["impatient"], TimeoutError)
    assert anyio.current_time() == 1


async def test_a_generator_that_binds_a_variable_is_closed_in_the_context_that_bound_it() -> None:
    seen = []

    async def traced() -> AsyncIterator[str]:
        token = BOUND.set("a span")
        try:
            yield "W"
            yield "w"
        finally:
            seen.append(BOUND.get())
            BOUND.reset(token)

    async with race({"traced": traced}, handoff=True) as stream:
        assert await anext(stream) == "W"
        assert BOUND.get() == "nothing"
    assert seen == ["a span"]


class Counter:
    """A source that counts up, so many a pull, and then fails or ends."""

    def __init__(self, pulls: int, *, a_pull: int = 1, delay: float = 0, error: Exception | None = None) -> None:
        self._left = pulls
        self._a_pull = a_pull
        self._delay = delay
        self._error = error
        self.pulled = 0

    async def pull(self) -> list[int]:
        await anyio.sleep(self._delay)
        if not self._left:
            if self._error is not None:
                raise self._error
            return []
        self._left -= 1
        self.pulled += 1
        return [(self.pulled - 1) * self._a_pull + n for n in range(self._a_pull)]

    async def aclose(self) -> None:
        raise AssertionError("the owner closes it")


async def drain(pump: Pump[int]) -> list[list[int]]:
    batches = []
    while batch := await pump.pull():
        batches.append(batch)
    return batches


async def test_a_pump_gives_all_in_order_and_then_its_end() -> None:
    pump = Pump(Counter(100))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        assert [item for batch in await drain(pump) for item in batch] == list(range(100))
        assert await pump.pull() == []


async def test_a_pump_reads_nothing_before_it_is_asked() -> None:
    counter = Counter(100)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Pump(counter).run)
        await anyio.sleep(1)
        assert counter.pulled == 0
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("a_pull", "ahead"), [(1, 16), (5, 20), (40, 40)])
async def test_a_pump_stops_as_soon_as_it_holds_sixteen(a_pull: int, ahead: int) -> None:
    counter = Counter(100, a_pull=a_pull)
    pump = Pump(counter)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        first = await pump.pull()
        await anyio.sleep(1)
        assert counter.pulled * a_pull <= len(first) + ahead
        then = await pump.pull()
        assert len(then) <= ahead
        assert first + then == list(range(len(first + then)))
        tasks.cancel_scope.cancel()


async def test_a_pump_gives_at_once_all_that_came_while_nobody_looked() -> None:
    pump = Pump(Counter(100, delay=0.25))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        assert await pump.pull() == [0]
        await anyio.sleep(1.125)
        assert await pump.pull() == [1, 2, 3, 4]
        tasks.cancel_scope.cancel()


async def test_a_cancelled_read_of_a_pump_may_be_repeated_and_loses_nothing() -> None:
    pump = Pump(Counter(20, delay=0.5))
    got: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        while len(got) < 20:
            with anyio.move_on_after(0.3):
                got += await pump.pull()
    assert got == list(range(20))


async def test_a_pump_s_error_comes_after_the_items_before_it() -> None:
    pump = Pump(Counter(3, error=OSError("connection reset")))
    got: list[int] = []

    async def read() -> None:
        while True:
            got.extend(await pump.pull())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        with pytest.raises(OSError, match="connection reset"):
            await read()
    assert got == [0, 1, 2]


async def test_a_pump_whose_owner_is_cancelled_is_broken_and_not_ended() -> None:
    pump = Pump(Counter(3, delay=1))
    scope = anyio.CancelScope()

    async def own() -> None:
        with scope:
            await pump.run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(own)
        assert await pump.pull() == [0]
        scope.cancel()
        with pytest.raises(anyio.BrokenResourceError, match="this stream was cancelled while it was read"):
            await pump.pull()
