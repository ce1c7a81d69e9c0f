"""A connection that ends after any byte of what a service says, by FIN or RST, is no end of the answer.

Each wire answers with a thought and words, and with a thought and a call, in each way that HTTP and WebSockets have to
carry that; and each tape of ``tests/dialects`` is said over a socket. What is seen is the whole answer, or its
beginning and a ``TruncatedError`` that names the provider and holds the text; before the head is whole it is an
``APIConnectionError``. In a race another entrant wins, if there was nothing clean yet.

The short form (2,000 cuts on each loop) cuts at the borders of pieces, a byte before and behind them, and at places
between; the long one (130,000) everywhere, and a tape, or an entrant of a race, at every eleventh byte.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple, TypeAlias

import httpx
import pytest

from g4ftrio import (
    APIConnectionError,
    Chunk,
    FinishReason,
    Policy,
    ProviderError,
    ToolCalls,
    TruncatedError,
    Usage,
    fallback,
    is_content,
    open_http_client,
    parallel,
    race,
)
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.typing import AsyncResult, Messages
from tests.faults.carriers import CARRIERS_OF, PLAIN, WAYS, Carried
from tests.faults.outcomes import Outcome, outcome, outcome_of
from tests.faults.reciter import Reciter, reciting
from tests.faults.recordings import LABELS, QUESTIONS, TAPES, WORDS, Recording, questions_of, recordings

pytestmark = pytest.mark.anyio

Recorded: TypeAlias = Mapping[tuple[str, str], Recording]

ENDS = {False: "FIN", True: "RST"}
SHORT = 5  # offsets of an answer in one way and by one end
STEP = 11  # bytes from one offset to the next in a tape or a race, in the long form


class Whole(NamedTuple):
    """When an answer is whole.

    :ivar marker: what the frame holds behind which nothing of the answer follows; None: no frame tells
    :ivar may_lack: what a service says behind that frame, and what then is lost with it
    :ivar is_sure: whether that frame is enough; else the connection has to end in order as well
    """

    marker: bytes | None
    may_lack: tuple[type, ...] = ()
    is_sure: bool = True


WHOLE: Mapping[str, Whole] = {
    "anthropic": Whole(rb'"stop_reason":"'),
    "gemini": Whole(rb'"finishReason"', (Usage,), is_sure=False),
    "ollama": Whole(rb'"done":true'),
    "openai-compatible": Whole(rb'"finish_reason":"', (Usage,)),
    "openai-responses": Whole(rb'"type":"response.completed"'),
    "openchat": Whole(None),
    "gemini-live": Whole(rb'"generationComplete"|"toolCall"', (Usage,)),
    "openai-realtime": Whole(rb'"type":"response.done"'),
    "openai-responses-ws": Whole(rb'"type":"response.completed"'),
}
UNTELLABLE = {("openchat", "until_close")}  # bare text until the connection ends: any FIN is the end
MISLEADING = {
    "anthropic/overloaded": "until_close",
    "openai_chat/lm_studio_error_event": "until_close",
    "openai_responses/openai_error_flat": "until_close",
    "gemini/gateway_finishes_early": "chunked",
}
UNTELLABLE_TAPES = {"gemini/gateway_finishes_early", "openai_chat/message_instead_of_delta"}  # so are these


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


def whole_from(carried: Carried) -> tuple[int, int]:
    """Give the offsets before which an answer is cut, and from which it is whole; between them, both is right."""
    frames, whole = carried.recording.frames, WHOLE[carried.recording.label]
    if whole.marker is None:
        return carried.ended, carried.ended
    number = next(number for number, frame in enumerate(frames) if re.search(whole.marker, frame))
    end = carried.frame_ends()[number]
    return end - (len(frames[number]) - len(frames[number].rstrip())), end if whole.is_sure else carried.ended


def due(carried: Carried, at: int) -> str:
    """Give the text of the frames that came whole."""
    frames = zip(carried.recording.frames, carried.frame_ends(), strict=True)
    came = b"".join(frame for frame, end in frames if end <= at)
    return " ".join(word for word in WORDS if word.encode() in came)


def parts(label: str, chunks: Iterable[Chunk], lacking: tuple[type, ...] = (Usage,)) -> list[Any]:
    """Give what is the same wherever the network cut it: chunks, or characters where the wire has nothing else."""
    kept = [chunk for chunk in chunks if not isinstance(chunk, lacking)]
    return [*"".join(map(str, kept))] if label == "openchat" else kept


def check_error(error: Exception | None, label: str, text: str, *, headless: bool) -> None:
    """Hold an error against what it must say."""
    assert type(error) is (APIConnectionError if headless else TruncatedError), repr(error)
    assert isinstance(error, ProviderError)
    assert error.provider == label
    assert str(error).startswith(f"{label}: ")
    assert getattr(error, "text", "") == text


def check_cut(carried: Carried, whole: Outcome, came: Outcome, at: int) -> None:
    """Hold what became of an answer that was cut behind a byte against the whole one."""
    label = carried.recording.label
    cut_before, whole_behind = whole_from(carried)
    assert came.text == "".join(chunk for chunk in came.chunks if isinstance(chunk, str))
    if came.error is None:
        assert at >= cut_before, f"a clean end after {came.chunks}"
        lacking = WHOLE[label].may_lack
        assert parts(label, came.chunks, lacking) == parts(label, whole.chunks, lacking)
        return
    assert at < whole_behind, f"the answer was whole, and yet {came.error!r}"
    check_error(came.error, label, came.text, headless=at < carried.body)
    seen = parts(label, came.chunks)
    assert seen == parts(label, whole.chunks)[: len(seen)]
    assert not [chunk for chunk in seen if isinstance(chunk, ToolCalls | FinishReason)]
    assert whole.text.startswith(came.text)
    assert came.text.startswith(due(carried, at)) or not whole.text


def some(carried: Carried, most: int) -> list[tuple[int, bool]]:
    return [(at, reset) for at in carried.places(most) for reset in ENDS]


def everywhere(carried: Carried) -> list[tuple[int, bool]]:
    """Give every offset and both ends; for what is rarely seen, the ends in turn."""
    offsets = range(len(carried.raw) + 1)
    return [(at, reset) for at in offsets for reset in ENDS if carried.carrier in PLAIN or reset == at % 2]


async def cut(
    reciter: Reciter, client: Any, carried: Carried, question: str, places: Iterable[tuple[int, bool]]
) -> None:
    """Cut an answer.

    :param places: offsets, and whether the end there is a RST
    """
    reciter.say(carried.raw)
    whole = await outcome_of(reciter, carried, QUESTIONS[question], client)
    assert whole.error is None
    assert whole.text == (" ".join(WORDS) if question == "text" else "")
    for at, reset in places:
        reciter.say(carried.raw[:at], reset=reset)
        came = await outcome_of(reciter, carried, QUESTIONS[question], client)
        try:
            check_cut(carried, whole, came, at)
        except AssertionError as error:
            error.add_note(f"{carried} cut by {ENDS[reset]} behind byte {at}: {carried.raw[:at][-60:]!r}")
            raise


@pytest.mark.parametrize("label", LABELS)
async def test_an_answer_that_is_cut_is_told(
    label: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for question in questions_of(label):
        for carrier in CARRIERS_OF[label]:
            if (label, carrier) not in UNTELLABLE:
                carried = Carried(recorded[label, question], carrier)
                await cut(reciter, client, carried, question, some(carried, SHORT))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("label", "carrier"), [way for way in WAYS if way not in UNTELLABLE])
async def test_an_answer_that_is_cut_anywhere_is_told(
    label: str, carrier: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for question in questions_of(label) if carrier in PLAIN else ("text",):
        carried = Carried(recorded[label, question], carrier)
        await cut(reciter, client, carried, question, everywhere(carried))


@pytest.mark.parametrize("label", LABELS)
async def test_over_a_client_of_httpx_alone_it_is_told_as_well(
    label: str, recorded: Recorded, reciter: Reciter
) -> None:
    async with httpx.AsyncClient() as client:
        for carrier in CARRIERS_OF[label]:
            if (label, carrier) not in UNTELLABLE:
                carried = Carried(recorded[label, "text"], carrier)
                await cut(reciter, client, carried, "text", some(carried, 2))


async def test_bare_text_ends_with_its_connection_and_a_reset_is_a_cut(
    recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    carried = Carried(recorded["openchat", "text"], "until_close")
    text = carried.raw[carried.body :]
    for at in range(carried.body, len(carried.raw) + 1):
        for reset in ENDS:
            reciter.say(carried.raw[:at], reset=reset)
            came = await outcome_of(reciter, carried, QUESTIONS["text"], client)
            assert came.text == text[: at - carried.body].decode(errors="ignore")
            if reset:
                check_error(came.error, "openchat", came.text, headless=False)
            else:
                assert came.error is None


@pytest.mark.parametrize("label", LABELS)
async def test_a_whole_answer_that_is_asked_for_fails_with_the_text_so_far(
    label: str, recorded: Recorded, reciter: Reciter
) -> None:
    carried = Carried(recorded[label, "text"], CARRIERS_OF[label][0])
    first = next(end for end in carried.frame_ends() if due(carried, end))
    for reset in ENDS:
        reciter.say(carried.raw[:first], reset=reset)
        with pytest.raises(TruncatedError) as caught:
            await reciter.asked_by(label).complete(**QUESTIONS["text"])
        check_error(caught.value, label, WORDS[0], headless=False)


# --- tapes ---


async def cut_tape(
    reciter: Reciter, client: Any, name: str, carrier: str, places: Callable[[Carried], list[tuple[int, bool]]]
) -> None:
    """Cut what a real service said, which may be an error.

    :param places: gives offsets, and whether the end there is a RST
    """
    carried = Carried(TAPES[name], carrier)
    reciter.say(carried.raw)
    whole = await outcome_of(reciter, carried, QUESTIONS["text"], client)
    for at, reset in places(carried):
        reciter.say(carried.raw[:at], reset=reset)
        came = await outcome_of(reciter, carried, QUESTIONS["text"], client)
        try:
            check_cut_tape(carried.recording.label, whole, came, headless=at < carried.body)
        except AssertionError as error:
            error.add_note(f"{name} in {carrier} cut by {ENDS[reset]} behind byte {at}: {carried.raw[:at][-60:]!r}")
            raise


def check_cut_tape(label: str, whole: Outcome, came: Outcome, *, headless: bool) -> None:
    seen, all_parts = parts(label, came.chunks), parts(label, whole.chunks)
    if (type(came.error), str(came.error)) == (type(whole.error), str(whole.error)):
        assert seen == all_parts
        return
    check_error(came.error, label, came.text, headless=headless)
    assert seen == all_parts[: len(seen)]
    assert not [chunk for chunk in seen if isinstance(chunk, ToolCalls | FinishReason)]


def ways_of_tapes() -> list[tuple[str, str]]:
    """Give each tape in chunks, which say where they end, and until the connection's end; or on a socket."""
    ways = [(name, carrier) for name, tape in TAPES.items() for carrier in CARRIERS_OF[tape.label]]
    kept = ("chunked", "until_close", "messages")
    return [way for way in ways if way[1] in kept and not (way[0] in UNTELLABLE_TAPES and way[1] == "until_close")]


def two(carried: Carried) -> list[tuple[int, bool]]:
    """Choose one place for either end, by chance, the same in each run."""
    random = Random(f"{carried}/{len(carried.raw)}")
    return [(random.randrange(carried.body, len(carried.raw)), reset) for reset in ENDS]


def many(carried: Carried) -> list[tuple[int, bool]]:
    """Go through all that the service said, as `tests/dialects` do without a connection at each byte."""
    return [(at, reset) for at in range(carried.body, len(carried.raw) + 1, STEP) for reset in ENDS]


def behind_and_in_frames(carried: Carried) -> list[tuple[int, bool]]:
    """Give the ends of all frames but the last, and places in that."""
    *ends, last = carried.frame_ends()
    return [(at, False) for at in (*ends, *range(max((carried.body, *ends)) + 1, last, 25))]


async def test_a_tape_that_is_cut_is_told(reciter: Reciter, client: httpx.AsyncClient) -> None:
    for name, carrier in ways_of_tapes():
        await cut_tape(reciter, client, name, carrier, two)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_tape_that_is_cut_at_many_places_is_told(reciter: Reciter, client: httpx.AsyncClient) -> None:
    for name, carrier in ways_of_tapes():
        await cut_tape(reciter, client, name, carrier, many)


@pytest.mark.parametrize(("name", "carrier"), MISLEADING.items())
async def test_what_looks_like_an_error_or_an_end_and_is_cut_is_a_cut(
    name: str, carrier: str, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    await cut_tape(reciter, client, name, carrier, behind_and_in_frames)


# --- races ---


class Patient(AsyncGeneratorProvider):
    """An entrant that answers when the connection of the other is gone."""

    def __init__(self, reciter: Reciter) -> None:
        super().__init__(name="patient")
        self._reciter = reciter

    async def create_async_generator(self, model: str, messages: Messages, **params: Any) -> AsyncResult:
        await self._reciter.quiet.wait()
        yield "other words"


RACES: Mapping[str, tuple[bool, Callable[[], Policy]]] = {
    "FIN": (False, parallel),
    "RST": (True, fallback),  # after a reset the service does not know when its client is done
}


async def race_everywhere(
    reciter: Reciter, client: Any, carried: Carried, question: str, end: str, places: Iterable[int]
) -> None:
    """Let an entrant that is cut race against a patient one."""
    label = carried.recording.label
    reset, policy = RACES[end]
    for at in places:
        reciter.say(carried.raw[:at], reset=reset)
        alone = await outcome_of(reciter, carried, QUESTIONS[question], client)
        reciter.say(carried.raw[:at], reset=reset)
        entrants = [reciter.asked_by(label, http_client=client), Patient(reciter)]
        raced = await outcome(race(entrants, policy=policy(), **QUESTIONS[question]))
        try:
            check_raced(label, alone, raced)
        except AssertionError as error:
            error.add_note(f"{carried} cut by {end} behind byte {at}: {carried.raw[:at][-60:]!r}")
            raise


def check_raced(label: str, alone: Outcome, raced: Outcome) -> None:
    """Hold a race against what the entrant that is cut gives alone."""
    if not any(is_content(chunk, "") for chunk in alone.chunks):
        assert (raced.winner, raced.text, raced.error) == ("patient", "other words", None)
        return
    assert raced.winner == label
    assert parts(label, raced.chunks, ()) == parts(label, alone.chunks, ())
    if alone.error is None:
        assert raced.error is None
    else:
        check_error(raced.error, label, raced.text, headless=False)


@pytest.mark.parametrize("end", RACES)
@pytest.mark.parametrize("label", LABELS)
async def test_a_race_goes_on_without_an_entrant_that_is_cut_and_fails_with_a_winner_that_is(
    label: str, end: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    for question in questions_of(label):
        carried = Carried(recorded[label, question], CARRIERS_OF[label][0])
        await race_everywhere(reciter, client, carried, question, end, carried.places(4))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("end", RACES)
@pytest.mark.parametrize("label", LABELS)
async def test_wherever_an_entrant_is_cut_its_race_is_right(
    label: str, end: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    carried = Carried(recorded[label, "text"], CARRIERS_OF[label][0])
    await race_everywhere(reciter, client, carried, "text", end, range(0, len(carried.raw) + 1, STEP))
