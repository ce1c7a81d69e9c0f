"""Where the network cuts what a service says into reads makes no difference to who reads the answer.

Each wire's answers, in each way to carry them, and each tape of ``tests/dialects`` come in two writes that meet at some
byte, and in writes of a few bytes each. The chunks are the same, and so are the gathered text, message, calls, usage,
metadata and finish reason; where the answer is an error, that is the same, with the text before it.

The short form (600 cases on each loop) has the seams at the borders of pieces, a byte before and behind them, and at
places between; the long one (60,000) everywhere in what services do, at every eleventh byte of tapes and of the other
ways, and in writes of one byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from random import Random
from typing import Any, TypeAlias

import httpx
import pytest

from g4ftrio import open_http_client
from tests.faults.carriers import CARRIERS_OF, PLAIN, WAYS, Carried
from tests.faults.outcomes import Outcome, outcome_of
from tests.faults.reciter import Reciter, reciting
from tests.faults.recordings import LABELS, QUESTIONS, TAPES, Recording, questions_of, recordings

pytestmark = pytest.mark.anyio

Recorded: TypeAlias = Mapping[tuple[str, str], Recording]

SHORT = 4  # seams of an answer in one way
STEP = 11  # bytes from one seam to the next in what is rarely seen, in the long form
BITS = 97  # bytes of a write, in the short form


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return recordings()


@pytest.fixture
async def reciter() -> AsyncIterator[Reciter]:
    async with reciting() as reciter:
        yield reciter


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


def seen(outcome: Outcome) -> Any:
    """Give all that must be the same: chunks, or characters where the wire has nothing else."""
    error = outcome.error and (type(outcome.error), str(outcome.error))
    chunks = [*outcome.text] if outcome.winner == "openchat" else outcome.chunks
    if (whole := outcome.completion) is None:
        return chunks, outcome.text, error
    gathered = (whole.text, whole.reasoning, whole.tool_calls, whole.usage, whole.finish_reason, whole.others)
    return chunks, outcome.text, gathered, whole.message


def halves(raw: bytes, seams: Iterable[int]) -> Iterator[tuple[bytes, ...]]:
    """Give two writes for each seam."""
    for seam in seams:
        yield raw[:seam], raw[seam:]


def bits(raw: bytes, size: int) -> tuple[bytes, ...]:
    """Give writes of so many bytes."""
    return tuple(raw[start : start + size] for start in range(0, len(raw), size))


async def split(
    reciter: Reciter, client: Any, carried: Carried, question: str, writings: Iterable[tuple[bytes, ...]]
) -> None:
    """Hear an answer in one write, and then in these."""
    reciter.say(carried.raw)
    whole = seen(await outcome_of(reciter, carried, QUESTIONS[question], client))
    for writes in writings:
        reciter.say(*writes)
        heard = seen(await outcome_of(reciter, carried, QUESTIONS[question], client))
        assert heard == whole, f"{carried} in {len(writes)} writes, the first of {len(writes[0])} bytes"


@pytest.mark.parametrize("label", LABELS)
async def test_an_answer_in_two_writes_is_the_same(
    label: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for question in questions_of(label):
        for carrier in CARRIERS_OF[label]:
            carried = Carried(recorded[label, question], carrier)
            writings = [*halves(carried.raw, carried.places(SHORT)), bits(carried.raw, BITS)]
            await split(reciter, client, carried, question, writings)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("label", "carrier"), WAYS)
async def test_an_answer_in_two_writes_that_meet_anywhere_is_the_same(
    label: str, carrier: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for question in questions_of(label):
        carried = Carried(recorded[label, question], carrier)
        seams = range(1, len(carried.raw), 1 if carrier in PLAIN else STEP)
        writings = (*halves(carried.raw, seams), bits(carried.raw, 1))
        await split(reciter, client, carried, question, writings)


async def test_a_tape_in_two_writes_is_the_same(reciter: Reciter, client: httpx.AsyncClient) -> None:
    for name, tape in TAPES.items():
        carried = Carried(tape, CARRIERS_OF[tape.label][0])
        seam = Random(name).randrange(carried.body, len(carried.raw))
        await split(reciter, client, carried, "text", halves(carried.raw, [seam]))


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_tape_in_two_writes_that_meet_at_many_places_is_the_same(
    reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for tape in TAPES.values():
        carried = Carried(tape, CARRIERS_OF[tape.label][0])
        writings = (*halves(carried.raw, range(1, len(carried.raw), STEP)), bits(carried.raw, 1))
        await split(reciter, client, carried, "text", writings)


async def test_what_is_written_apart_is_read_apart(recorded: Recorded, reciter: Reciter) -> None:
    carried = Carried(recorded["openchat", "text"], "until_close")
    seams = (carried.body, carried.body + 5, carried.body + 9)
    reciter.say(*(carried.raw[start:end] for start, end in zip((0, *seams), (*seams, None), strict=True)))
    async with open_http_client() as client, client.stream("GET", f"http://127.0.0.1:{reciter.port}/") as response:
        read = [piece async for piece in response.aiter_raw()]
    text = carried.raw[carried.body :]
    assert read == [text[:5], text[5:9], text[9:]]
