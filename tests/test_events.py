"""What hooks are told: of races, of nested races, of providers alone, through every door."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Any

import anyio
import pytest

import g4ftrio
from g4ftrio import (
    AllFailed,
    Asked,
    Completion,
    Event,
    Race,
    RateLimitError,
    Stream,
    TruncatedError,
    race,
    staggered,
)
from g4ftrio.testing import Scripted
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends


class Ears:
    """A hook that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def story(self) -> list[tuple[float, str, str]]:
        return [(each.at, each.entrant or each.race, each.kind) for each in self.events]

    def of(self, name: str) -> list[str]:
        return [each.kind for each in self.events if each.entrant == name]


def slow(**settings: Any) -> Scripted:
    return Scripted(["late"], delay=2.0, name="slow", **settings)


def fast(**settings: Any) -> Scripted:
    return Scripted(["a", "b"], delay=0.5, gap=0.5, name="fast", **settings)


async def test_a_race_is_told_from_its_start_to_its_end() -> None:
    ears = Ears()
    async with race([slow(), fast()], "Why?", on_event=ears) as stream:
        await stream.collect()
    assert ears.story == [
        (0.0, "race", "race_started"),
        (0.0, "slow", "started"),
        (0.0, "fast", "started"),
        (0.5, "fast", "first_chunk"),
        (0.5, "fast", "clean"),
        (0.5, "fast", "won"),
        (0.5, "slow", "lost"),
        (0.5, "slow", "closed"),
        (1.5, "fast", "closed"),
        (1.5, "race", "race_ended"),
    ]
    assert all(event.report is stream.report for event in ears.events)


async def test_an_event_has_what_is_known_then() -> None:
    ears = Ears()
    limited = Scripted(error=RateLimitError("slow down", status=429), name="limited", model="small")
    with pytest.raises(AllFailed) as caught:
        async with race([limited], "Why?", on_event=ears, temperature=0.5):
            pass
    started, failed, _, ended = ears.events[1:]
    assert (started.race, started.entrant, started.model, started.error) == ("race", "limited", "small", None)
    assert isinstance(started.asked, Asked)
    assert started.asked.messages == [{"role": "user", "content": "Why?"}]
    assert started.asked.params == {"temperature": 0.5}
    assert (failed.kind, failed.error) == ("failed", caught.value.failures["limited"])
    assert (ended.kind, ended.error, ended.entrant) == ("race_ended", caught.value, "")
    assert failed.record is ended.report.entrants[0]  # type: ignore[union-attr]  # a race's event has one


async def test_the_repr_of_an_event_shows_neither_the_prompt_nor_the_answer() -> None:
    ears = Ears()
    async with race([fast()], "the prompt", on_event=ears) as stream:
        await stream.collect()
    assert repr(ears.events[1]) == "<fast started at 0.000 s>"
    assert repr(ears.events[1].asked) == "<Asked with scripted>"
    with pytest.raises(AttributeError):
        ears.events[1].at = 1.0  # type: ignore[misc]  # that it cannot be set is what is tested


async def test_what_the_consumer_took_can_be_read_at_the_end() -> None:
    ears = Ears()
    async with race([fast()], "Why?", on_event=ears) as stream:
        await stream.__anext__()
    closed = next(each for each in ears.events if each.kind == "closed")
    assert closed.asked is not None
    assert closed.asked.texts == ["a"]


@pytest.mark.parametrize("handoff", [True, False])
async def test_a_winner_that_breaks_off_has_failed_after_all(handoff: bool) -> None:
    ears = Ears()
    broken = Scripted(["a"], error=TruncatedError("cut"), name="broken")
    broken._handoff = handoff  # type: ignore[misc]  # of this one only
    with pytest.raises(TruncatedError):
        async with race([broken], "Why?", on_event=ears) as stream:
            await stream.collect()
    assert ears.of("broken") == ["started", "first_chunk", "clean", "won", "failed", "closed"]


async def test_who_is_cancelled_with_the_race_is_told_so() -> None:
    ears = Ears()
    with anyio.move_on_after(1):
        async with race([slow()], "Why?", on_event=ears):
            pass
    assert ears.of("slow") == ["started", "cancelled", "closed"]
    assert ears.story[-1] == (1.0, "race", "race_ended")


async def test_who_ends_without_a_clean_chunk_is_rejected() -> None:
    ears = Ears()
    async with race([Scripted([" "], name="empty"), fast()], "Why?", on_event=ears):
        pass
    assert ears.of("empty") == ["started", "first_chunk", "rejected", "closed"]


async def test_who_is_never_asked_is_never_told_of() -> None:
    ears = Ears()
    async with race([fast(), slow()], "Why?", policy=staggered(9), on_event=ears):
        pass
    assert ears.of("slow") == []


async def test_a_settled_race_ends_when_its_stream_is_closed() -> None:
    ears = Ears()
    stream = await race([fast(), slow()], "Why?", on_event=ears).settle()
    assert ears.story[-1] == (0.5, "slow", "closed")
    assert stream.report.entrants[0].ended_at is None
    await anyio.sleep(1)
    await stream.aclose()
    await stream.aclose()
    assert ears.story[-2:] == [(1.5, "fast", "closed"), (1.5, "race", "race_ended")]


async def test_a_settled_race_that_is_read_to_its_end_is_over() -> None:
    ears = Ears()
    stream = await race([fast()], "Why?", on_event=ears).settle()
    await stream.collect()
    assert ears.story[-2:] == [(1.5, "fast", "closed"), (1.5, "race", "race_ended")]


async def test_a_race_through_a_generator_is_told_once() -> None:
    ears = Ears()
    answer: Any = Race([fast()], on_event=ears).create_async_generator("", "Why?")
    assert ears.events == []
    async with aclosing(answer):
        assert [chunk async for chunk in answer] == ["a", "b"]
    kinds = [kind for _, _, kind in ears.story]
    assert kinds == ["race_started", "started", "first_chunk", "clean", "won", "closed", "race_ended"]


async def test_a_nested_race_is_told_to_the_outer_ones_hook() -> None:
    ears = Ears()
    inner = Race([slow(), fast()], name="inner")
    async with race([inner, Scripted(["never"], delay=9, name="other")], "Why?", on_event=ears) as stream:
        await stream.collect()
    began = next(each for each in ears.events if (each.kind, each.race) == ("race_started", "inner"))
    assert began.within is stream.report.entrants[0]
    assert began.report is stream.report.entrants[0].race
    assert ears.of("fast") == ["started", "first_chunk", "clean", "won", "closed"]
    assert ears.of("inner") == ["started", "first_chunk", "clean", "won", "closed"]
    assert [name for _, name, kind in ears.story if kind == "race_ended"] == ["inner", "race"]
    operations = {each.entrant: each.asked.operation for each in ears.events if each.asked}
    assert operations == {"inner": "race", "other": "chat", "fast": "chat", "slow": "chat"}


async def test_a_providers_own_hook_hears_of_it_in_every_race() -> None:
    ears, both = Ears(), Ears()
    async with race([fast(on_event=ears), slow(on_event=both)], "Why?", on_event=both) as stream:
        await stream.collect()
    assert {each.entrant for each in ears.events} == {"fast"}
    assert [kind for _, name, kind in both.story if name == "slow"] == ["started", "lost", "closed"]  # each once
    ears.events.clear()
    async with race([fast(on_event=ears)], "Why?") as stream:
        await stream.collect()
    assert ears.of("fast") == ["started", "first_chunk", "clean", "won", "closed"]


async def test_a_hook_behind_a_filter_hears_too() -> None:
    ears = Ears()
    cleaned = g4ftrio.Cleaned(fast(on_event=ears), lambda: g4ftrio.ChunkFilter([]))
    await cleaned.complete("Why?")
    assert ears.of("fast") == ["started", "first_chunk", "closed"]


async def test_a_provider_alone_is_told_of_too() -> None:
    ears = Ears()
    answer = await fast(on_event=ears).complete("Why?")
    assert answer.text == "ab"
    assert ears.story == [(0.0, "fast", "started"), (0.5, "fast", "first_chunk"), (1.5, "fast", "closed")]
    assert {each.race for each in ears.events} == {""}


async def collected(settling: Awaitable[Stream]) -> Completion:
    return await (await settling).collect()


@pytest.mark.parametrize("door", ["stream", "settle", "generator"])
async def test_a_provider_alone_that_fails_is_told_of(door: str) -> None:
    ears = Ears()
    broken = Scripted(["a"], error=TruncatedError("cut"), name="broken", on_event=ears)
    answer: Any = {
        "stream": lambda: broken.complete("Why?"),
        "settle": lambda: collected(broken.stream("Why?").settle()),
        "generator": lambda: broken.create_async_generator("", "Why?").collect(),  # type: ignore[attr-defined]  # a Stream
    }[door]
    with pytest.raises(TruncatedError):
        await answer()
    assert ears.of("broken") == ["started", "first_chunk", "failed", "closed"]
    assert isinstance(ears.events[-1].error, TruncatedError)


async def test_a_provider_alone_that_is_cancelled_is_told_of() -> None:
    ears = Ears()
    with anyio.move_on_after(1):
        await slow(on_event=ears).complete("Why?")
    assert ears.story == [(0.0, "slow", "started"), (1.0, "slow", "cancelled"), (1.0, "slow", "closed")]


async def test_a_hook_that_fails_is_logged_once_and_the_race_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    heard = []

    def deaf(event: Event) -> None:
        heard.append(event)
        raise ZeroDivisionError("a hook's own words")

    ears = Ears()
    async with race([fast(on_event=deaf), slow()], "Why?", on_event=ears) as stream:
        assert (await stream.collect()).text == "ab"
    assert len(heard) == 5
    assert ears.story[-1] == (1.5, "race", "race_ended")
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == ("an on_event hook failed at <fast started at 0.000 s>, which is told once in a race")
    assert record.exc_info is not None


@pytest.mark.parametrize("hook", ["print", 3])
def test_what_cannot_be_called_is_no_hook(hook: Any) -> None:
    with pytest.raises(TypeError, match=r"on_event= is a function that takes an Event, not (str|int)"):
        race([fast()], "Why?", on_event=hook)


async def test_nothing_is_made_where_nobody_listens() -> None:
    async with race([fast(), slow()], "Why?") as stream:
        assert [each.listener for each in stream.report.entrants] == [None, None]


# --- the log ---

SECRET, PROMPT = "sk-nobody-may-see-this", "the prompt that nobody may see"


async def test_the_log_has_names_and_times_and_neither_keys_nor_prompts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)  # of everything, other libraries too
    broken = Scripted(error=RateLimitError(f"too often asked for {PROMPT}"), name="bro\x1bken\n2")
    async with race([broken, fast(headers={"x": SECRET})], PROMPT, system=PROMPT) as stream:
        await stream.collect()
    said = [record.getMessage() for record in caplog.records if record.name == "g4ftrio"]
    assert said == [
        "race: race started at 0.000 s",
        "bro␛ken 2 in race: started at 0.000 s",
        "fast in race: started at 0.000 s",
        "bro␛ken 2 in race: failed at 0.000 s: RateLimitError",
        "bro␛ken 2 in race: closed at 0.000 s: RateLimitError",
        "fast in race: first chunk at 0.500 s",
        "fast in race: clean at 0.500 s",
        "fast in race: won at 0.500 s",
        "fast in race: closed at 1.500 s",
        "race: race ended at 1.500 s",
    ]
    assert not [record for record in caplog.records if SECRET in record.getMessage() or PROMPT in record.getMessage()]


async def test_the_log_is_quiet_by_default(caplog: pytest.LogCaptureFixture) -> None:
    async with race([fast()], PROMPT) as stream:
        await stream.collect()
    assert [record for record in caplog.records if record.name == "g4ftrio"] == []
