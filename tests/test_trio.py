"""What is trio's own: nurseries, cancel scopes, its mock clock. The shared semantics are in test_race.py."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import g4ftrio
from g4ftrio import RateLimitError
from g4ftrio.testing import Scripted


@pytest.mark.trio
async def test_a_deadline_around_the_race_ends_it_on_time(autojump_clock: MockClock) -> None:
    slow = Scripted("late", delay=10)
    start = trio.current_time()
    with trio.move_on_after(3) as scope:
        async with g4ftrio.race([slow, slow], "Why?"):
            raise AssertionError("nobody was to win")
    assert scope.cancelled_caught
    assert trio.current_time() - start == 3
    assert (slow.opened, slow.closed) == (2, 2)


@pytest.mark.trio
async def test_a_nursery_that_fails_takes_the_race_with_it_and_stays_a_group(autojump_clock: MockClock) -> None:
    slow = Scripted(["a", "b"], delay=1, gap=10)

    async def fail() -> None:
        await trio.sleep(5)
        raise KeyError("elsewhere")

    async def read() -> None:
        async with g4ftrio.race([slow], "Why?") as stream:
            async for _ in stream:
                pass

    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(fail)
    assert (slow.opened, slow.closed) == (1, 1)


@pytest.mark.trio
async def test_a_stream_may_be_read_by_a_child_of_the_body(autojump_clock: MockClock) -> None:
    said: list[str] = []

    async def read(stream: g4ftrio.RaceStream) -> None:
        said.extend([text async for text in stream.text_stream])

    async with (
        g4ftrio.race([Scripted(["a", "b", "c"], gap=1)], "Why?") as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(read, stream)
    assert said == ["a", "b", "c"]


@pytest.mark.trio
async def test_a_read_with_a_deadline_of_its_own_can_be_repeated(autojump_clock: MockClock) -> None:
    async with g4ftrio.race([Scripted(["a", "b"], gap=5)], "Why?") as stream:
        assert await stream.receive() == "a"
        with trio.move_on_after(1) as scope:
            await stream.receive()
        assert scope.cancelled_caught
        assert await stream.receive() == "b"


@pytest.mark.trio
async def test_tasks_carry_the_names_of_their_entrants(autojump_clock: MockClock) -> None:
    async with g4ftrio.race([Scripted("hello", name="swift")], "Why?"):
        task = trio.lowlevel.current_task()
        names = {child.name for nursery in task.child_nurseries for child in nursery.child_tasks}
    assert names == {"race entrant swift"}


@pytest.mark.trio
async def test_all_failed_is_raised_bare_through_a_strict_nursery_of_ours() -> None:
    limited = Scripted(error=RateLimitError("slow down", status=429), name="limited")
    with pytest.raises(g4ftrio.AllFailed) as caught:
        async with g4ftrio.race([limited, limited], "Why?"):
            pass
    assert list(caught.value.failures) == ["limited", "limited#2"]
