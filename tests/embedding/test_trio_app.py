"""Inside a trio app: the caller's scopes end a race as they end any trio code, and nest after it as they did before.

Under ``move_on_after``, ``fail_after``, a cancelled nursery with a shielded race in it, and a sibling that fails, by
each door of a race, before there is a winner, while it is read and between two reads. A ``Cancelled`` reaches the scope
that it is from, nothing runs on behind it, and what leaves has the shape that the documents name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import trio

from g4ftrio import AllFailed, Race, RaceStream, race
from g4ftrio.simulator import Fleet, serve
from tests.embedding.services import SERVICES, TEXT, asked, entrants, gone, whole

MOMENTS = ("before the winner", "during a read", "between two reads")
DOORS = ("race", "settle", "generator")
at_every_moment = pytest.mark.parametrize("moment", MOMENTS)
by_every_door = pytest.mark.parametrize("door", DOORS)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with serve(SERVICES) as fleet:
        yield fleet


def place() -> Any:
    """Where this task is among scopes and nurseries; trio's own account of it."""
    task = trio.lowlevel.current_task()
    return task._cancel_status, tuple(task.child_nurseries)


class Request:
    """A request of the app's.

    :ivar ended_by: what went through it
    :ivar ran_on: whether anything behind the cancelled place ran
    """

    def __init__(self, fleet: Fleet, moment: str, door: str = "race") -> None:
        self._first = "never" if moment == "before the winner" else "stuck"
        self._entrants = entrants(fleet, self._first, "never")
        self._moment = moment
        self._door = door
        self._fleet = fleet
        self._reads = trio.Event()
        self.ended_by: BaseException | None = None
        self.ran_on = False

    async def run(self) -> None:
        """Get to the moment, and stay there."""
        before = place()
        try:
            await self._ask()
        except BaseException as error:
            self.ended_by = error
            raise
        finally:
            assert place() == before

    async def is_there(self) -> None:
        """Wait for the moment."""
        await asked(self._fleet, self._first)
        if self._moment != "before the winner":
            await self._reads.wait()
            await trio.lowlevel.checkpoint()

    async def _ask(self) -> None:
        if self._door == "race":
            async with race(self._entrants, "Why?") as stream:
                await self._read(stream)
        elif self._door == "settle":
            async with await race(self._entrants, "Why?").settle() as stream:
                await self._read(stream)
        else:
            chunks: Any = Race(self._entrants).create_async_generator("", "Why?")
            async with aclosing(chunks):
                await self._read(chunks)
        self.ran_on = True

    async def _read(self, stream: Any) -> None:
        async for _ in stream:
            self._reads.set()
            if self._moment == "between two reads":
                await trio.sleep_forever()
        self.ran_on = True


@at_every_moment
@by_every_door
@pytest.mark.trio
async def test_a_parent_s_scope_that_is_cancelled_ends_it_and_catches_its_own_cancellation(
    fleet: Fleet, door: str, moment: str
) -> None:
    request = Request(fleet, moment, door)
    before = place()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await request.is_there()
                scope.cancel()

            nursery.start_soon(cancel)
            await request.run()
        assert scope.cancelled_caught
    assert isinstance(request.ended_by, trio.Cancelled)
    assert not request.ran_on
    assert place() == before
    assert await gone(fleet)


@at_every_moment
@by_every_door
@pytest.mark.parametrize("limit", [trio.move_on_after, trio.fail_after])
@pytest.mark.trio
async def test_a_parent_s_deadline(fleet: Fleet, door: str, moment: str, limit: Any) -> None:
    request = Request(fleet, moment, door)
    before = place()
    try:
        async with trio.open_nursery() as nursery:
            with limit(3600) as scope:

                async def reach() -> None:
                    await request.is_there()
                    scope.deadline = trio.current_time()

                nursery.start_soon(reach)
                await request.run()
    except* trio.TooSlowError:
        assert limit is trio.fail_after
    else:
        assert limit is trio.move_on_after
    assert scope.cancelled_caught
    assert isinstance(request.ended_by, trio.Cancelled)
    assert not request.ran_on
    assert place() == before
    assert await gone(fleet)


@at_every_moment
@by_every_door
@pytest.mark.trio
async def test_a_sibling_that_fails_is_the_only_error_of_the_nursery(fleet: Fleet, door: str, moment: str) -> None:
    request = Request(fleet, moment, door)

    async def fail() -> None:
        await request.is_there()
        raise KeyError("elsewhere")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="elsewhere")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.run)
            nursery.start_soon(fail)
    assert isinstance(request.ended_by, trio.Cancelled)
    assert not request.ran_on
    assert await gone(fleet)


@pytest.mark.trio
async def test_what_is_shielded_from_a_cancelled_parent_goes_on_to_its_end(fleet: Fleet) -> None:
    texts: list[str] = []

    async def keep_on() -> None:
        with trio.CancelScope(shield=True):
            texts.append((await Race(entrants(fleet, "quick", "never")).complete("Why?")).text)
            async with race(entrants(fleet, "quick", "never"), "Why?") as stream:
                texts.append((await stream.collect()).text)
            async with await race(entrants(fleet, "quick", "never"), "Why?").settle() as stream:
                texts.append((await stream.collect()).text)
        await trio.lowlevel.checkpoint()
        texts.append("ran on")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_on)
        nursery.cancel_scope.cancel()
    assert texts == [TEXT] * 3
    assert await whole(fleet, "quick", 3)


@pytest.mark.trio
async def test_a_deadline_that_is_past_asks_nobody_for_long(fleet: Fleet) -> None:
    for enter in ("race", "settle"):
        with trio.CancelScope() as scope:
            scope.cancel()
            if enter == "race":
                async with race(entrants(fleet, "quick", "never"), "Why?"):
                    raise AssertionError("nobody was to win")
            await race(entrants(fleet, "quick", "never"), "Why?").settle()
        assert scope.cancelled_caught
    await fleet.quiet()
    assert not any(running.log for running in fleet.values())


@at_every_moment
@pytest.mark.trio
async def test_cancelled_while_a_scope_inside_was_cancelled_too_both_are_honoured(fleet: Fleet, moment: str) -> None:
    """The inner scope is entered in the race's body, and the outer one around the race."""
    ran: list[str] = []
    name = "quick" if moment == "before the winner" else "stuck"
    with trio.CancelScope() as outer:
        async with race(entrants(fleet, name, "never"), "Why?") as stream:
            with trio.CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await anext(stream)
            ran.append("after the inner scope")
            await trio.lowlevel.checkpoint()
            ran.append("after a checkpoint")
    assert outer.cancelled_caught
    assert ran in ([], ["after the inner scope"])
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())


async def fail_in_the_body(fleet: Fleet) -> None:
    async with race(entrants(fleet, "slow", "never"), "Why?") as stream:
        await anext(stream)
        raise KeyError("body")


@pytest.mark.parametrize("strict", [True, False])
def test_errors_leave_a_race_bare_and_a_nursery_of_the_apps_as_that_makes_them(strict: bool) -> None:
    """Whatever the app has chosen for its own nurseries, none of ours puts a group around what the body raises."""

    async def main() -> None:
        async with serve(SERVICES) as fleet:
            with pytest.raises(KeyError, match="body"):
                await fail_in_the_body(fleet)
            with pytest.raises(AllFailed) as caught:
                async with race(entrants(fleet, "error"), "Why?"):
                    pass
            cause = caught.value.__cause__
            assert isinstance(cause, ExceptionGroup)
            assert cause.exceptions == tuple(caught.value.failures.values())
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                nursery.cancel_scope.cancel()
                nursery.start_soon(Request(fleet, "during a read").run)
            with pytest.RaisesGroup(AllFailed):
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    nursery.start_soon(Race(entrants(fleet, "error")).complete, "Why?")

    if strict:
        trio.run(main)
        return
    with pytest.warns(trio.TrioDeprecationWarning, match="strict_exception_groups"):
        trio.run(main, strict_exception_groups=False)


@pytest.mark.trio
async def test_a_task_of_the_apps_holds_a_race_open_for_others(fleet: Fleet) -> None:
    """``nursery.start`` gives the stream to whoever asked for it; the task that entered the race leaves it."""
    finished = trio.Event()

    async def hold(task_status: trio.TaskStatus[RaceStream] = trio.TASK_STATUS_IGNORED) -> None:
        async with race(entrants(fleet, "slow", "never"), "Why?") as stream:
            task_status.started(stream)
            await finished.wait()

    async with trio.open_nursery() as nursery:
        stream = await nursery.start(hold)
        assert [await anext(stream) for _ in range(3)] == ["on", " and", " on"]
        finished.set()
    assert await gone(fleet)


@pytest.mark.trio
async def test_a_race_that_starts_in_a_nursery_and_is_cancelled_starting_leaves_nothing(fleet: Fleet) -> None:
    async def hold(task_status: trio.TaskStatus[RaceStream] = trio.TASK_STATUS_IGNORED) -> None:
        async with race(entrants(fleet, "never"), "Why?") as stream:
            task_status.started(stream)

    with trio.move_on_after(0.03) as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(hold)
    assert scope.cancelled_caught
    await fleet.quiet()
    assert not any(running.connections for running in fleet.values())
