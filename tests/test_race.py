"""The race over any async iterators: who wins, what the consumer gets, and what becomes of the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from g4ftrio._race.iterators import Opener, race_iterators
from g4ftrio._race.policies import fallback, parallel
from g4ftrio._race.race import Race
from g4ftrio._words.errors import AllFailed, RejectedError
from tests import clocks
from tests.entrants import FOREVER, Line, Scripted, entrant, outcomes, race, race_of

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

BARE = [KeyError, GeneratorExit, KeyboardInterrupt, SystemExit]


@pytest.fixture(params=[True, False], ids=["handoff", "pump"])
def handoff(request: pytest.FixtureRequest) -> bool:
    """Run with a winner that is handed over, and with one that is pumped."""
    return bool(request.param)


async def test_the_first_clean_item_wins_although_another_gave_unclean_ones_earlier(handoff: bool) -> None:
    early = Scripted(0.25, "e", 0.25, "e", 9, "E")
    late = Scripted(1, "L", 0.5, "l", "M")
    async with race({"early": early, "late": late}, handoff=handoff) as stream:
        assert stream.winner == "late"
        assert anyio.current_time() == 1
        assert [item async for item in stream] == ["L", "l", "M"]
    assert outcomes(stream.report) == {"early": "lost", "late": "won"}
    assert [record.chunks for record in stream.report.entrants] == [2, 3]


async def test_what_the_winner_gave_before_its_clean_item_is_given_out_first(handoff: bool) -> None:
    async with race({"one": Scripted(0.5, "a", 0.5, "b", 0.5, "C", 0.5, "d")}, handoff=handoff) as stream:
        assert anyio.current_time() == 1.5
        assert [item async for item in stream] == ["a", "b", "C", "d"]


async def test_of_two_that_are_clean_in_the_same_tick_exactly_one_wins(handoff: bool) -> None:
    for _ in range(20):  # trio runs the tasks of a tick in random order
        start = anyio.current_time()
        both = {"A": Scripted(1, "A", "a"), "B": Scripted(1, "B", "b")}
        async with race(both, handoff=handoff) as stream:
            assert anyio.current_time() == start + 1
            assert [item async for item in stream] == [stream.winner, stream.winner.lower()]
        assert sorted(outcomes(stream.report).values()) == ["lost", "won"]
        assert [len(one.closing_at) for one in both.values()] == [1, 1]


async def test_of_two_that_open_in_the_same_tick_and_are_clean_at_once_exactly_one_wins(handoff: bool) -> None:
    for _ in range(20):
        both = {"A": Scripted("A", opening=1), "B": Scripted("B", opening=1)}
        async with race(both, handoff=handoff) as stream:
            assert [item async for item in stream] == [stream.winner]
        assert sorted(outcomes(stream.report).values()) == ["lost", "won"]


async def test_of_three_that_never_wait_exactly_one_wins(handoff: bool) -> None:
    async def ready(name: str) -> AsyncIterator[str]:
        yield name

    for _ in range(20):
        three = {name: (lambda name=name: ready(name)) for name in "ABC"}
        async with race(three, handoff=handoff) as stream:
            assert [item async for item in stream] == [stream.winner]
        assert sorted(outcomes(stream.report).values()) == ["lost", "lost", "won"]


async def test_one_that_wins_without_waiting_keeps_the_others_from_being_opened() -> None:
    for _ in range(20):
        entrants = {name: Scripted(name) for name in "ABC"}
        async with race(entrants) as stream:
            pass
        assert [name for name, one in entrants.items() if one.opened_at is not None] == [stream.winner]


async def test_an_error_that_a_nursery_of_the_entrant_s_put_in_a_group_is_kept_bare() -> None:
    broken = OSError("connection reset")

    async def fail() -> None:
        raise broken

    async def foreign() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep(FOREVER)
        yield "never"

    with pytest.raises(AllFailed) as raised:
        async with race({"foreign": foreign, "two": Scripted(ExceptionGroup("two", [KeyError(), ValueError()]))}):
            pytest.fail("nobody could win")
    assert raised.value.failures["foreign"] is broken
    assert type(raised.value.failures["two"]) is ExceptionGroup


async def test_one_that_is_always_ready_does_not_keep_the_others_from_running() -> None:
    async def chatter() -> AsyncIterator[str]:
        while True:
            yield "nothing"

    steps = 0

    async def busy() -> AsyncIterator[str]:
        nonlocal steps
        while steps < 10:
            steps += 1
            await anyio.lowlevel.checkpoint()
        yield "B"

    async with race({"chatter": chatter, "busy": busy}) as stream:
        assert stream.winner == "busy"


async def test_losers_are_cancelled_at_the_win_and_closed_beside_the_stream(handoff: bool) -> None:
    loser = Scripted("a", FOREVER, closing=0.5)
    async with race({"loser": loser, "winner": Scripted(1, "W", 0.25, "w", 0.5, "v")}, handoff=handoff) as stream:
        assert anyio.current_time() == 1
        await clocks.settle()
        assert loser.closing_at == [1]
        assert await anext(stream) == "W"
        assert await anext(stream) == "w"
        assert anyio.current_time() == 1.25
        assert loser.closed_at is None
        assert await anext(stream) == "v"
        assert loser.closed_at == 1.5
    assert anyio.current_time() == 1.75
    record = stream.report.entrants[0]
    assert (record.outcome, record.error, record.ended_at) == ("lost", None, 1.5)


async def test_a_loser_that_is_still_opening_is_cancelled_hard() -> None:
    loser = Scripted("L", opening=FOREVER)
    async with race({"loser": loser, "winner": Scripted(1, "W")}) as stream:
        await clocks.settle()
        record = stream.report.entrants[0]
        assert (record.outcome, record.error, record.ended_at) == ("lost", None, 1)
    assert loser.opened_at is None
    assert loser.closing_at == []


async def test_a_loser_whose_close_hangs_is_forced_after_grace_and_delays_only_the_exit(handoff: bool) -> None:
    loser = Scripted(FOREVER, closing=FOREVER)
    winner = Scripted(1, "W", 0.25, "w")
    async with race({"loser": loser, "winner": winner}, grace=0.5, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W", "w"]
        assert anyio.current_time() == 1.25
    assert anyio.current_time() == 1.5
    assert loser.closed_at is None
    record = stream.report.entrants[0]
    assert record.outcome == "lost"
    assert isinstance(record.error, TimeoutError)
    assert str(record.error) == "it was not closed within grace=0.5 s, and was forced to"


async def test_a_loser_whose_close_raises_has_the_error_in_its_record_and_no_one_else_notices(handoff: bool) -> None:
    spoilt = OSError("cannot close")
    loser = Scripted(FOREVER, spoilt=spoilt)
    async with race({"loser": loser, "winner": Scripted(0.5, "W", 0.5, "w")}, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W", "w"]
    record = stream.report.entrants[0]
    assert (record.outcome, record.error) == ("lost", spoilt)


async def test_an_error_in_closing_the_winner_surfaces_at_the_exit(handoff: bool) -> None:
    spoilt = OSError("cannot close")
    with pytest.raises(OSError, match="cannot close") as raised:
        async with race({"winner": Scripted("W", spoilt=spoilt)}, handoff=handoff) as stream:
            assert [item async for item in stream] == ["W"]
    assert raised.value is spoilt
    assert stream.report.entrants[0].error is spoilt


async def test_an_error_in_closing_the_winner_does_not_hide_what_the_body_raised(handoff: bool) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with race({"winner": Scripted("W", spoilt=OSError("cannot close"))}, handoff=handoff) as stream:
            raise KeyError("mine")
    assert str(stream.report.entrants[0].error) == "cannot close"


async def test_a_winner_that_hangs_in_closing_is_forced_after_grace_and_the_report_says_so(handoff: bool) -> None:
    async with race({"winner": Scripted(1, "W", closing=FOREVER)}, grace=0.25, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W"]
    assert anyio.current_time() == 1.25
    assert str(stream.report.entrants[0].error) == "it was not closed within grace=0.25 s, and was forced to"


async def test_a_race_is_entered_once() -> None:
    engine = race({"one": Scripted("A")})
    async with engine:
        pass
    with pytest.raises(RuntimeError, match="this race was entered before: make another"):
        await engine.__aenter__()


@pytest.mark.parametrize("kind", BARE)
async def test_what_the_body_raises_leaves_bare(kind: type[BaseException], handoff: bool) -> None:
    winner, loser = Scripted(1, "W", FOREVER, closing=0.25), Scripted(FOREVER, closing=0.5)
    mine = kind("mine")
    with pytest.raises(kind) as raised:
        async with race({"winner": winner, "loser": loser}, handoff=handoff):
            raise mine
    assert raised.value is mine
    assert (winner.closed_at, loser.closed_at) == (1.25, 1.5)


async def test_an_exception_group_of_the_body_s_own_stays_as_it_is() -> None:
    mine = ExceptionGroup("mine", [KeyError("a"), ValueError("b")])
    with pytest.raises(ExceptionGroup) as raised:
        async with race({"winner": Scripted("W")}):
            raise mine
    assert raised.value is mine


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [(), ("W",)], ids=["before the win", "after it"])
def test_what_must_not_be_held_leaves_a_provider_bare(
    kind: type[BaseException], before: tuple[str, ...], anyio_backend: clocks.Backend, handoff: bool
) -> None:
    loser = Scripted(FOREVER)

    async def main() -> None:
        async with race({"bad": Scripted(*before, 0.5, kind("stop")), "loser": loser}, handoff=handoff) as stream:
            async for _ in stream:
                pass

    name, options = anyio_backend
    with pytest.raises(kind) as raised:  # asyncio lets these two out of its loop by itself
        anyio.run(main, backend=name, backend_options=options)
    assert type(raised.value) is kind
    assert len(loser.closing_at) == (loser.opened_at is not None)


async def test_an_early_break_closes_the_winner(handoff: bool) -> None:
    winner = Scripted("W", 0.5, "a", 0.5, "b", FOREVER, closing=0.25)
    async with race({"winner": winner}, handoff=handoff) as stream:
        async for item in stream:
            if item == "a":
                break
    assert winner.closing_at == [0.5]
    assert anyio.current_time() == 0.75


async def test_a_winner_that_is_handed_over_is_not_read_ahead() -> None:
    winner = Scripted("W", *"abc")
    async with race({"winner": winner}, handoff=True) as stream:
        async for _ in stream:
            await anyio.sleep(1)
            break
    assert winner.pulled == 1


async def test_a_winner_that_is_pumped_is_read_ahead_only_after_it_was_asked_and_by_sixteen_at_most() -> None:
    winner = Scripted("W", *("abcdefgh" * 10))
    async with race({"winner": winner}) as stream:
        assert await anext(stream) == "W"
        await anyio.sleep(1)
        assert winner.pulled == 1
        assert await anext(stream) == "a"
        await anyio.sleep(1)
        assert winner.pulled <= 1 + 1 + 16
        assert "".join([item async for item in stream]) == ("abcdefgh" * 10)[1:]


async def test_closing_the_stream_lets_the_winner_go_before_the_exit(handoff: bool) -> None:
    winner = Scripted("W", FOREVER)
    async with race({"winner": winner}, handoff=handoff) as stream:
        await stream.aclose()
        await clocks.settle()
        assert winner.closing_at == [0]
        with pytest.raises(anyio.ClosedResourceError):
            await anext(stream)
    assert winner.closing_at == [0]


async def test_the_winner_is_closed_as_soon_as_it_has_ended(handoff: bool) -> None:
    winner = Scripted("W", 0.5)
    async with race({"winner": winner}, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W"]
        await clocks.settle()
        assert winner.closed_at == 0.5
        await anyio.sleep(1)


async def test_a_winner_that_fails_later_raises_bare_after_the_items_before(handoff: bool) -> None:
    broken = OSError("connection reset")
    async with race({"winner": Scripted("W", 0.25, "w", "v", broken), "loser": Scripted(1)}, handoff=handoff) as stream:
        assert [await anext(stream) for _ in range(3)] == ["W", "w", "v"]
        for _ in range(2):  # a second look says so again, and not that it has ended
            with pytest.raises(OSError, match="connection reset") as raised:
                await anext(stream)
            assert raised.value is broken
    record = stream.report.entrants[0]
    assert (record.outcome, record.error) == ("won", broken)


async def test_a_winner_s_later_error_leaves_the_race_bare_if_the_body_lets_it(handoff: bool) -> None:
    broken = OSError("connection reset")
    with pytest.raises(OSError, match="connection reset") as raised:
        async with race({"winner": Scripted("W", broken)}, handoff=handoff) as stream:
            pytest.fail(f"it was not raised: {[item async for item in stream]}")
    assert raised.value is broken


async def test_when_all_fail_the_error_has_every_failure_in_the_entrants_order() -> None:
    errors = {"a": OSError("late"), "b": ValueError("early"), "c": KeyError("at once")}
    script = {"a": Scripted(1, errors["a"]), "b": Scripted(0.5, "x", errors["b"]), "c": Scripted(errors["c"])}
    racing = race(script)
    with pytest.raises(AllFailed) as raised:
        async with racing:
            pytest.fail("nobody could win")
    failed = raised.value
    assert list(failed.failures.items()) == list(errors.items())
    assert isinstance(failed.__cause__, ExceptionGroup)
    assert failed.__cause__.exceptions == tuple(errors.values())
    assert failed.report is racing.report
    assert outcomes(racing.report) == {"a": "failed", "b": "failed", "c": "failed"}
    assert anyio.current_time() == 1


async def test_one_that_cannot_be_opened_has_failed() -> None:
    def refuse() -> Scripted:
        raise OSError("refused")

    async with race({"refused": refuse, "winner": Scripted(1, "W")}) as stream:
        assert stream.winner == "winner"
    assert str(stream.report.entrants[0].error) == "refused"
    assert outcomes(stream.report) == {"refused": "failed", "winner": "won"}


async def test_an_entrant_that_ends_without_a_clean_item_is_rejected() -> None:
    racing = race({"silent": Scripted(), "unclean": Scripted("a", "b")})
    with pytest.raises(AllFailed) as raised:
        async with racing:
            pytest.fail("nobody could win")
    assert outcomes(racing.report) == {"silent": "rejected", "unclean": "rejected"}
    assert {name: (type(error), str(error)) for name, error in raised.value.failures.items()} == {
        name: (RejectedError, f"{name}: the answer was rejected: it ended without a clean chunk")
        for name in ("silent", "unclean")
    }


async def test_a_failure_in_closing_does_not_replace_the_error_before_it() -> None:
    first = ValueError("first")
    with pytest.raises(AllFailed) as raised:
        async with race({"a": Scripted(first, spoilt=OSError("second"))}):
            pytest.fail("nobody could win")
    assert raised.value.failures == {"a": first}


async def test_a_failed_entrant_is_closed_while_the_others_run() -> None:
    failing = Scripted(0.5, OSError("broken"), closing=0.25)
    async with race({"failing": failing, "winner": Scripted(2, "W")}):
        assert anyio.current_time() == 2
        assert failing.closed_at == 0.75


async def test_a_predicate_that_raises_is_its_entrant_s_failure() -> None:
    def picky(item: str) -> bool:
        if item == "a":
            raise ValueError("what is this?")
        return True

    async with race_iterators([Scripted("a"), Scripted(1, "b")], is_clean=picky) as stream:
        assert [item async for item in stream] == ["b"]
    assert str(stream.report.entrants[0].error) == "what is this?"


async def test_reading_from_another_task_works(handoff: bool) -> None:
    got = []
    async with race({"winner": Scripted("W", 0.5, "a", 0.5, "b")}, handoff=handoff) as stream:

        async def read() -> None:
            got.append(await anext(stream))

        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert got == ["W", "a", "b"]


async def test_a_second_reader_is_told_that_the_stream_is_busy(handoff: bool) -> None:
    async with race({"winner": Scripted("W", 1, "a")}, handoff=handoff) as stream, anyio.create_task_group() as tasks:
        assert await anext(stream) == "W"
        got = []

        async def read() -> None:
            got.append(await anext(stream))

        tasks.start_soon(read)
        await clocks.settle()
        with pytest.raises(anyio.BusyResourceError):
            await anext(stream)
        await anyio.sleep(1.5)
        assert got == ["a"]


async def test_iterating_a_race_that_was_not_entered_names_async_with() -> None:
    with pytest.raises(TypeError, match=r"async with race_iterators\(\.\.\.\) as stream"):
        async for _ in race({"a": Scripted("A")}):
            pass


@pytest.mark.parametrize("fastest", ["generator", "manager", "class"])
async def test_a_generator_and_a_context_manager_and_a_class_can_race_each_other(fastest: str) -> None:
    closed = []

    async def generate(name: str) -> AsyncGenerator[str, None]:
        try:
            await anyio.sleep(1 if name == fastest else 2)
            yield name.upper()
        finally:
            closed.append(name)

    openers: dict[str, Opener[str]] = {
        "generator": lambda: generate("generator"),
        "manager": lambda: aclosing(generate("manager")),
        "class": Scripted(1 if fastest == "class" else 2, "CLASS"),
    }
    async with race(openers) as stream:
        assert [item async for item in stream] == [fastest.upper()]
    assert anyio.current_time() == 1
    assert sorted(closed) == ["generator", "manager"]


async def test_an_opener_that_gives_no_iterator_has_failed_and_is_closed() -> None:
    class Wrong(Scripted):
        async def __aenter__(self) -> Any:
            await super().__aenter__()
            return 7

    wrong = Wrong()
    with pytest.raises(AllFailed) as raised:
        async with race({"wrong": wrong, "none": lambda: None}):  # type: ignore[dict-item,return-value]  # on purpose
            pytest.fail("nobody could win")
    assert [type(error) for error in raised.value.failures.values()] == [TypeError, TypeError]
    assert wrong.closing_at == [0]


async def test_entrants_without_names_are_numbered() -> None:
    async with race_iterators([Scripted(1, "a"), Scripted("b")]) as stream:
        assert stream.winner == "1"
    assert list(outcomes(stream.report)) == ["0", "1"]


@pytest.mark.parametrize("nobody", [[], {}])
def test_a_race_of_nobody_is_an_error(nobody: list[Opener[str]]) -> None:
    with pytest.raises(ValueError, match="a race needs at least one entrant"):
        race_iterators(nobody)


async def test_nobody_in_time_is_a_time_out_while_opening_and_while_reading() -> None:
    opening, reading = Scripted("A", opening=FOREVER), Scripted("b", FOREVER, closing=0.25)
    racing = race({"opening": opening, "reading": reading}, timeout=2)
    with pytest.raises(TimeoutError, match=r"^no iterator gave a clean item within 2 s$"):
        async with racing:
            pytest.fail("nobody could win")
    assert outcomes(racing.report) == {"opening": "cancelled", "reading": "cancelled"}
    assert (opening.opened_at, reading.closing_at) == (None, [2])
    assert anyio.current_time() == 2.25


async def test_a_winner_in_time_is_not_bound_by_the_time_out(handoff: bool) -> None:
    async with race({"winner": Scripted(1, "W", 5, "w")}, timeout=2, handoff=handoff) as stream:
        assert [item async for item in stream] == ["W", "w"]


@pytest.mark.parametrize(
    ("opening", "steps"), [(FOREVER, ["A"]), (0, ["a", FOREVER]), (1, [0.5, "a", 0.25, "b", FOREVER])]
)
async def test_an_entrant_s_own_limit_is_its_failure_and_starts_the_next(
    opening: float, steps: list[float | str]
) -> None:
    slow = entrant("slow", Line(*steps, opening=opening), limit=2, late=lambda: TimeoutError("too slow"))
    engine: Race[str] = Race([slow, entrant("next", Line("N"))], policy=fallback())
    async with engine as won:
        assert (won.entrant.name, anyio.current_time()) == ("next", 2)
        engine.release()
    assert (slow.record.outcome, str(slow.record.error)) == ("failed", "too slow")


async def test_an_entrant_that_won_is_not_bound_by_its_limit(handoff: bool) -> None:
    winner = entrant("winner", Line(1, "W", 5, "w"), limit=2, handoff=handoff)
    engine: Race[str] = Race([winner], policy=parallel())
    async with engine as won:
        assert await won.source.pull() == ["w"]
    assert winner.record.outcome == "won"
    assert anyio.current_time() == 6


async def test_the_report_has_the_times_of_everybody_from_the_race_s_start() -> None:
    await anyio.sleep(5)
    entrants = {
        "won": Scripted(0.5, "a", 0.5, "B", 0.5, opening=0.5),
        "lost": Scripted(0.25, "c", FOREVER, closing=0.25),
        "failed": Scripted(1, OSError("no")),
    }
    async with race(entrants) as stream:
        assert [item async for item in stream] == ["a", "B"]
        await anyio.sleep(1)
    times = {
        record.name: (record.started_at, record.first_chunk_at, record.clean_at, record.ended_at)
        for record in stream.report.entrants
    }
    assert times == {"won": (0, 1, 1.5, 2), "lost": (0, 0.25, None, 1.75), "failed": (0, None, None, 1)}


async def test_the_report_can_be_read_while_the_race_is_on() -> None:
    racing = race({"a": Scripted(1, "A"), "b": Scripted(9, "B")}, policy=fallback())
    seen = {}

    async def look() -> None:
        await anyio.sleep(0.5)
        seen.update(outcomes(racing.report))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        async with racing:
            pass
    assert seen == {"a": "running", "b": "not_started"}
    assert outcomes(racing.report) == {"a": "won", "b": "not_started"}


async def test_a_settled_race_leaves_no_task_and_its_stream_is_closed_from_another() -> None:
    loser, winner = Line(FOREVER, closing=0.5), Line(1, "W", 0.25, "w", FOREVER)
    engine = race_of({"loser": loser, "winner": winner})
    won = await engine.settle()
    assert anyio.current_time() == 1.5  # the loser was closed inside
    assert (loser.closed_at, winner.closing_at) == (1.5, [])
    assert won.first == ["W"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(won.source.pull)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(won.source.aclose)
    assert winner.closing_at == [1.75]
    assert outcomes(engine.report) == {"loser": "lost", "winner": "won"}


async def test_a_settled_race_leaves_no_scope_open() -> None:
    with anyio.CancelScope() as outer:
        won = await race_of({"winner": Line("W", "w")}).settle()
    outer.cancel()
    assert await won.source.pull() == ["w"]
    await won.source.aclose()


async def test_a_race_that_is_settled_waits_for_a_hanging_loser_no_longer_than_grace() -> None:
    engine = race_of({"loser": Line(FOREVER, closing=FOREVER), "winner": Line(1, "W")}, grace=0.5)
    won = await engine.settle()
    assert anyio.current_time() == 1.5
    await won.source.aclose()


async def test_settling_cancelled_while_losers_close_closes_the_winner() -> None:
    loser, winner = Line(FOREVER, closing=0.5), Line(1, "W", FOREVER, closing=0.25)
    with anyio.move_on_after(1.25) as scope:
        await race_of({"loser": loser, "winner": winner}).settle()
    assert scope.cancelled_caught
    assert (loser.closed_at, winner.closing_at, winner.closed_at) == (1.5, [1.5], 1.75)


async def test_settling_raises_what_the_race_raises() -> None:
    with pytest.raises(AllFailed):
        await race_of({"a": Line(OSError("no")), "b": Line()}).settle()
    with pytest.raises(TimeoutError, match="too late"):
        await race_of({"a": Line(FOREVER)}, total=1, late=lambda: TimeoutError("too late")).settle()


async def test_what_cannot_outlive_its_task_cannot_be_settled() -> None:
    lines = [Line("A"), Line("B")]
    engine = Race(
        [entrant("a", lines[0]), entrant("b", lines[1], detachable=False)],
        policy=parallel(),
    )
    with pytest.raises(TypeError, match=r"^b cannot be settled: use `async with race\(\.\.\.\) as stream:`$"):
        await engine.settle()
    assert [line.opened_at for line in lines] == [None, None]
