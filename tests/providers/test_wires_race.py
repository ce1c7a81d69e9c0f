"""All wires in one race, HTTP and sockets mixed: the fastest wins, the servers of the others see their clients gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import Struct

from g4ftrio import AllFailed, Race, RateLimitError, SetupError, race, race_sync
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import Running, Service, serve
from g4ftrio.simulator._thread import run_in_thread
from tests.providers.all_wires import ALL, OVER_HTTP, OVER_SOCKETS, asking

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
NEVER = 1e6
ROUNDS = ("anthropic", "openai-realtime", "ollama", "gemini-live")


def paced(fastest: str, **settings: Any) -> list[Service]:
    """One service answers at once, the others never do: some say nothing at all, some stop after their head."""
    return [
        Service(label, dialect=label, text=ANSWER, **settings)
        if label == fastest
        else Service(label, dialect=label, first_token=NEVER if n % 2 else 0.0, fault=None if n % 2 else "stall")
        for n, label in enumerate(ALL)
    ]


def everybody(fleet: Mapping[str, Running]) -> list[HttpProvider]:
    return [asking(running) for running in fleet.values()]


def outcomes(fleet: Mapping[str, Running]) -> dict[str, str]:
    """What the servers saw; of an entrant that was not asked before the decision there is nothing."""
    return {name: exchange.outcome for name, running in fleet.items() for exchange in running.log}


def only(winner: str, seen: Mapping[str, str], outcome: str) -> Iterator[str]:
    """The names of those that saw something else than they should."""
    for name, saw in seen.items():
        if saw != (outcome if name == winner else "client_gone"):
            yield name


@pytest.mark.parametrize("fastest", ALL)
async def test_the_fastest_wins_whatever_its_wire_and_the_others_are_left(fastest: str) -> None:
    async with serve(paced(fastest, first_token=0.1)) as fleet:
        async with race(everybody(fleet), QUESTION) as stream:
            assert stream.winner == fastest
            assert (await stream.collect()).text == ANSWER
        await fleet.quiet()
        seen = outcomes(fleet)
        assert seen.keys() == {*ALL}
        assert not [*only(fastest, seen, "complete")]
        assert sum(running.connections for running in fleet.values()) == 0


async def test_round_after_round_nothing_is_left_behind() -> None:
    for fastest in ROUNDS:
        async with serve(paced(fastest, first_token=0.05, gap=0.001)) as fleet, Race(everybody(fleet)) as llm:
            for _ in range(2):
                assert (await llm.complete(QUESTION)).provider == fastest
            await fleet.quiet()
            kept = {name: running.connections for name, running in fleet.items() if name != fastest}
            assert set(kept.values()) == {0}
            assert len(fleet[fastest].log) == 2


async def test_the_order_of_latencies_is_the_order_of_winning() -> None:
    services = [Service(label, dialect=label, text=ANSWER, first_token=0.08 * n) for n, label in enumerate(ALL)]
    async with serve(services) as fleet:
        entrants = everybody(fleet)
        for n in range(0, len(ALL), 3):
            async with race(entrants[n:], QUESTION) as stream:
                assert stream.winner == ALL[n]
        await fleet.quiet()


async def test_the_winner_that_is_left_sees_its_client_gone_too() -> None:
    for fastest in ROUNDS:
        async with serve(paced(fastest, first_token=0.05, gap=0.2)) as fleet:
            async with race(everybody(fleet), QUESTION) as stream:
                await anext(stream.text_stream)
            await fleet.quiet()
            assert set(outcomes(fleet).values()) == {"client_gone"}


@pytest.mark.parametrize("fastest", ALL)
async def test_a_settled_winner_is_all_that_a_race_leaves(fastest: str) -> None:
    async with serve(paced(fastest, first_token=0.1, gap=0.005)) as fleet:
        async with aclosing(await race(everybody(fleet), QUESTION).settle()) as stream:
            assert stream.winner == fastest
            assert (await stream.collect()).text == ANSWER
        await fleet.quiet()
        assert not [*only(fastest, outcomes(fleet), "complete")]


async def test_where_all_fail_each_is_named_with_its_error() -> None:
    services = [Service(label, dialect=label, fault="rate_limit") for label in ALL]
    async with serve(services) as fleet:
        with pytest.raises(AllFailed) as caught:
            await Race(everybody(fleet)).complete(QUESTION)
    failures = caught.value.failures
    assert list(failures) == [*ALL]
    assert {type(error) for error in failures.values()} == {RateLimitError}
    assert {getattr(error, "retry_after", None) for error in failures.values()} == {1.0}


class Weather(Struct):
    city: str


async def test_who_cannot_express_the_question_drops_out_and_is_sent_nothing() -> None:
    able, unable = "openai-compatible", ("gemini-live", "openai-realtime")
    services = [Service(label, dialect=label) for label in (able, *unable)]
    async with serve(services) as fleet:
        whole = await Race(everybody(fleet)).complete("Describe Paris", response_format=Weather)
        assert (whole.provider, whole.parsed) == (able, Weather("Paris"))
        assert [fleet[label].log for label in unable] == [[], []]
        assert whole.report is not None
        errors = {entrant.name: type(entrant.error) for entrant in whole.report.entrants}
        assert errors == {able: type(None), **dict.fromkeys(unable, SetupError)}
        await fleet.quiet()


async def test_where_nobody_can_express_it_nothing_is_sent() -> None:
    services = [Service(label, dialect=label) for label in ("gemini-live", "openai-realtime")]
    async with serve(services) as fleet:
        with pytest.raises(AllFailed, match="this service takes no 'response_format'"):
            await Race(everybody(fleet)).complete("Describe Paris", response_format=Weather)
        assert not outcomes(fleet)


@pytest.mark.parametrize("fastest", [OVER_HTTP[0], *OVER_SOCKETS])
def test_a_synchronous_program_reads_the_winner_of_any_wire(fastest: str) -> None:
    with run_in_thread(paced(fastest, first_token=0.1)) as fleet:
        with race_sync(everybody(fleet), QUESTION) as stream:
            assert stream.winner == fastest
            assert "".join(map(str, stream)) == ANSWER
        fleet.quiet()
        assert not [*only(fastest, outcomes(fleet), "complete")]
