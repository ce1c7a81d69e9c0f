"""A race that is cancelled: at every moment, from every side, and entrants that do not care."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from tests import clocks
from tests.entrants import FOREVER, Line, Scripted, outcomes, race, race_of

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

ASYNCIO: clocks.Backend = ("asyncio", {"loop_factory": clocks.VirtualLoop})
MOMENTS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5]
HELD = 0.25  # seconds that each takes to close

Run: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

on_asyncio = pytest.mark.parametrize("anyio_backend", [ASYNCIO], ids=["asyncio"])


@pytest.fixture(params=[True, False], ids=["handoff", "pump"])
def handoff(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Field:
    """A race with somebody in every state: opening, reading, failing, winning at 1, ending at 2, all closed by 2.25."""

    def __init__(self, *, handoff: bool) -> None:
        self.entrants = {
            "opening": Scripted("O", opening=FOREVER, closing=HELD),
            "reading": Scripted("r", 0.5, "r", FOREVER, closing=HELD),
            "failing": Scripted(0.5, OSError("no"), closing=HELD),
            "winning": Scripted(0.5, "w", 0.5, "W", 0.5, "x", 0.5, closing=HELD),
        }
        self.race = race(self.entrants, handoff=handoff)
        self.items: list[str] = []
        self.left_at: float | None = None

    async def run(self) -> None:
        try:
            async with self.race as stream:
                async for item in stream:
                    self.items.append(item)
        finally:
            self.left_at = anyio.current_time()

    def check(self, at: float) -> None:
        """See that it was left as it must be if it was cancelled at that moment."""
        for entrant in self.entrants.values():
            assert len(entrant.closing_at) == (entrant.opened_at is not None)
            assert entrant.opened_at is None or entrant.closed_at == entrant.closing_at[0] + HELD
        assert "running" not in outcomes(self.race.report).values()
        assert self.items == ["w", "W", "x"][: len(self.items)]
        assert self.left_at is not None
        assert self.left_at <= at + HELD


async def native(at: float, run: Run) -> None:
    task = asyncio.ensure_future(run())
    await asyncio.sleep(at)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test runs in a task


async def by_deadline(at: float, run: Run) -> None:
    with anyio.move_on_after(at):
        await run()


async def by_parent(at: float, run: Run) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.sleep(at)
        tasks.cancel_scope.cancel()


async def by_failing_sibling(at: float, run: Run) -> None:
    async def fail() -> None:
        await anyio.sleep(at)
        raise OSError("a sibling failed")

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="a sibling failed")):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            tasks.start_soon(fail)


async def from_the_same_tick(at: float, run: Run) -> None:
    """Cancel after the other tasks of that moment have moved on, but have not come to rest."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.sleep(at)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("cancel", [by_deadline, by_parent, by_failing_sibling, from_the_same_tick])
async def test_a_race_cancelled_at_any_moment_closes_what_it_opened(cancel: Any, at: float, handoff: bool) -> None:
    field = Field(handoff=handoff)
    await cancel(at, field.run)
    field.check(at)


@on_asyncio
@pytest.mark.parametrize("at", MOMENTS)
async def test_a_task_cancelled_at_any_moment_closes_what_it_opened(at: float, handoff: bool) -> None:
    field = Field(handoff=handoff)
    await native(at, field.run)
    field.check(at)


async def test_before_the_decision_a_cancellation_makes_everybody_cancelled(handoff: bool) -> None:
    field = Field(handoff=handoff)
    await by_deadline(0.75, field.run)
    assert outcomes(field.race.report) == {
        "opening": "cancelled",
        "reading": "cancelled",
        "failing": "failed",
        "winning": "cancelled",
    }
    assert [entrant.closing_at for entrant in field.entrants.values()] == [[], [0.75], [0.5], [0.75]]
    assert field.left_at == 1


async def test_after_the_decision_a_cancellation_leaves_the_outcomes_and_closes_the_winner(handoff: bool) -> None:
    field = Field(handoff=handoff)
    await by_deadline(1.75, field.run)
    assert outcomes(field.race.report) == {"opening": "lost", "reading": "lost", "failing": "failed", "winning": "won"}
    assert [entrant.closing_at for entrant in field.entrants.values()] == [[], [1], [0.5], [1.75]]
    assert field.items == ["w", "W", "x"]
    assert field.left_at == 2


@on_asyncio
async def test_a_native_cancellation_leaves_the_race_as_a_cancellation(handoff: bool) -> None:
    for at in (0.75, 1.25):
        field = Field(handoff=handoff)
        task = asyncio.ensure_future(field.run())
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert field.left_at is not None


@on_asyncio
async def test_a_native_cancellation_and_one_by_a_scope_in_the_same_tick_are_both_honoured(handoff: bool) -> None:
    for at in (0.75, 1.25):
        start = anyio.current_time()
        winner, scope = Scripted(1, "W", FOREVER, closing=HELD), anyio.CancelScope()

        async def run(winner: Scripted = winner, scope: anyio.CancelScope = scope) -> None:
            with scope:
                async with race({"winner": winner}, handoff=handoff) as stream:
                    async for _ in stream:
                        pass

        task = asyncio.ensure_future(run())
        await asyncio.sleep(at)
        scope.cancel()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert winner.closed_at == start + at + HELD


@on_asyncio
async def test_asyncio_s_own_time_out_ends_a_race(handoff: bool) -> None:
    for at in (0.75, 1.25):
        field = Field(handoff=handoff)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(at):
                await field.run()


async def test_a_cancellation_while_losers_close_does_not_cut_their_closing(handoff: bool) -> None:
    loser, winner = Scripted(FOREVER, closing=1), Scripted(1, "W", closing=1)
    with anyio.move_on_after(1.5):
        async with race({"loser": loser, "winner": winner}, grace=2, handoff=handoff) as stream:
            assert [item async for item in stream] == ["W"]
    assert (loser.closed_at, winner.closed_at) == (2, 2)
    assert anyio.current_time() == 2


async def test_a_cancelled_race_forces_what_does_not_close_within_grace(handoff: bool) -> None:
    winner, loser = Scripted(1, "W", FOREVER, closing=FOREVER), Scripted(FOREVER, closing=FOREVER)
    with anyio.move_on_after(2) as scope:
        async with race({"winner": winner, "loser": loser}, grace=0.5, handoff=handoff) as stream:
            async for _ in stream:
                pass
    assert scope.cancelled_caught
    assert (winner.closing_at, winner.closed_at, loser.closing_at, loser.closed_at) == ([2], None, [1], None)
    assert anyio.current_time() == 2.5
    assert str(stream.report.entrants[1].error) == "it was not closed within grace=0.5 s, and was forced to"


async def test_a_body_cancelled_by_its_own_scope_goes_on_and_the_race_lives(handoff: bool) -> None:
    async with race({"winner": Scripted(1, "W", 1, "x")}, handoff=handoff) as stream:
        with anyio.move_on_after(0.5) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert await anext(stream) == "W"
        assert await anext(stream) == "x"


async def test_a_shielded_consumer_reads_on_although_the_race_is_cancelled() -> None:
    winner = Scripted(1, "W", 1, "x", 1)
    with anyio.CancelScope() as outer:
        async with race({"winner": winner}, handoff=True) as stream:
            outer.cancel()
            with anyio.CancelScope(shield=True):
                assert [item async for item in stream] == ["W", "x"]
    assert winner.closing_at == [3]


async def test_a_cancelled_read_of_one_handed_over_breaks_it() -> None:
    async with race({"winner": Scripted("W", 1, "x")}, handoff=True) as stream:
        assert await anext(stream) == "W"
        with anyio.move_on_after(0.5):
            await anext(stream)
        with pytest.raises(anyio.BrokenResourceError, match="a read of this stream was cancelled"):
            await anext(stream)


async def test_a_cancelled_read_of_one_that_is_pumped_may_be_repeated_and_loses_nothing() -> None:
    async with race({"winner": Scripted("W", 1, "x", 1, "y")}, handoff=False) as stream:
        got: list[str] = []
        while len(got) < 3:
            with anyio.move_on_after(0.3):
                got.append(await anext(stream))
        assert got == ["W", "x", "y"]
        assert anyio.current_time() == 2


async def test_a_cancellation_is_noticed_at_every_item(handoff: bool) -> None:
    got = []
    with anyio.CancelScope() as scope:
        async with race({"winner": Scripted(*"abcDEF")}, handoff=handoff) as stream:
            async for item in stream:
                got.append(item)
                if item == "b":
                    scope.cancel()
    assert scope.cancelled_caught
    assert got == ["a", "b"]


class Stubborn:
    """Swallows this many cancellations while it reads."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.closed = 0

    def __call__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> str:
        while True:
            try:
                await anyio.sleep(FOREVER)
            except BaseException:
                self.left -= 1
                if self.left < 0:
                    raise

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("times", [1, 2, 50])
async def test_a_loser_that_swallows_cancellations_is_cancelled_until_it_goes(times: int, handoff: bool) -> None:
    stubborn = Stubborn(times)
    async with race({"stubborn": stubborn, "winner": Scripted(1, "W", 1, "x")}, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W", "x"]
    assert outcomes(stream.report) == {"stubborn": "lost", "winner": "won"}
    assert (stubborn.left, stubborn.closed) == (-1, 1)
    assert anyio.current_time() == 2


@pytest.mark.parametrize("times", [1, 50])
async def test_one_that_swallows_cancellations_is_cancelled_from_outside_until_it_goes(times: int) -> None:
    stubborn = Stubborn(times)
    with anyio.move_on_after(1) as scope:
        async with race({"stubborn": stubborn}):
            pytest.fail("nobody could win")
    assert scope.cancelled_caught
    assert (stubborn.left, stubborn.closed) == (-1, 1)


async def test_a_loser_that_catches_everything_and_goes_on_giving_items_gives_them_to_nobody(handoff: bool) -> None:
    async def deaf() -> AsyncIterator[str]:
        while True:
            try:
                await anyio.sleep(FOREVER)
            except anyio.get_cancelled_exc_class():
                yield "D"

    async with race({"deaf": deaf, "winner": Scripted(1, "W", 1, "x")}, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W", "x"]
    assert outcomes(stream.report) == {"deaf": "lost", "winner": "won"}


async def test_a_loser_that_ends_when_it_is_cancelled_is_not_blamed_for_it() -> None:
    async def tidy() -> AsyncIterator[str]:
        yield "a"
        try:
            await anyio.sleep(FOREVER)
        except anyio.get_cancelled_exc_class():
            return

    async with race({"tidy": tidy, "winner": Scripted(1, "W")}) as stream:
        assert [item async for item in stream] == ["W"]
    record = stream.report.entrants[0]
    assert (record.outcome, record.error) == ("lost", None)


async def test_a_loser_that_turns_its_cancellation_into_an_error_has_that_error() -> None:
    async def wrapping() -> AsyncIterator[str]:
        try:
            await anyio.sleep(FOREVER)
        except BaseException as error:
            raise OSError("interrupted") from error
        yield "never"

    async with race({"wrapping": wrapping, "winner": Scripted(1, "W")}) as stream:
        assert [item async for item in stream] == ["W"]
    record = stream.report.entrants[0]
    assert (record.outcome, str(record.error)) == ("lost", "interrupted")


@pytest.mark.parametrize("at", [0.25, 1.0, 1.25, 1.5, 1.75])
@pytest.mark.parametrize("cancel", [by_deadline, by_parent, by_failing_sibling, from_the_same_tick])
async def test_settling_cancelled_at_any_moment_gives_the_winner_or_closes_it(cancel: Any, at: float) -> None:
    loser, winner = Line(FOREVER, closing=0.5), Line(1, "W", FOREVER, closing=0.25)
    settled = []

    async def settle() -> None:
        settled.append(await race_of({"loser": loser, "winner": winner}).settle())

    await cancel(at, settle)
    assert len(loser.closing_at) == 1
    assert len(winner.closing_at) == 1 - len(settled)
    assert at == 1.5 or len(settled) == (at > 1.5)


async def test_an_entrant_s_error_among_cancellations_is_kept_in_its_record() -> None:
    async def spoil() -> None:
        try:
            await anyio.sleep(FOREVER)
        finally:
            raise OSError("cannot close")

    async def foreign() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spoil)
            await anyio.sleep(FOREVER)
        yield "never"

    racing = race({"foreign": foreign})
    with anyio.move_on_after(1) as scope:
        async with racing:
            pytest.fail("nobody could win")
    assert scope.cancelled_caught
    assert outcomes(racing.report) == {"foreign": "cancelled"}
    assert str(racing.report.entrants[0].error) == "cannot close"
