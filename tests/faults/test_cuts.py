"""A connection that ends after any byte of what a service says, by FIN or RST, is no end of the answer.

Each wire answers with a thought and words, and with a thought and a call, in each way that HTTP and WebSockets have to
carry that; and each tape of ``tests/dialects`` is said over a socket. What is seen is the whole answer, or its
beginning and a ``TruncatedError`` that names the provider and holds the text; before the head is whole it is an
``APIConnectionError``. In a race another entrant wins, if there was nothing clean yet.

The short form cuts at the borders of pieces, a byte before and behind them, and at places between; the long one
everywhere.
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
from tests.faults.carriers import CARRIERS, CARRIERS_OF, Carried
from tests.faults.outcomes import Outcome, outcome, outcome_of
from tests.faults.reciter import Reciter, reciting
from tests.faults.recordings import LABELS, QUESTIONS, TAPES, WORDS, Recording, questions_of, recordings

pytestmark = pytest.mark.anyio

Recorded: TypeAlias = Mapping[tuple[str, str], Recording]

ENDS = {False: "FIN", True: "RST"}
SHORT = 6  # offsets of an answer in one way and by one end


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
ERROR_TAPES = ("anthropic/overloaded", "openai_chat/lm_studio_error_event", "openai_responses/openai_error_flat")
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
    came = b"".join(
        frame for frame, end in zip(carried.recording.frames, carried.frame_ends(), strict=True) if end <= at
    )
    said = [word for word in WORDS if word.encode() in came]
    return " ".join(said)


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


def check_cut(carried: Carried, whole: Outcome, cut: Outcome, at: int) -> None:
    """Hold what became of an answer that was cut behind a byte against the whole one."""
    label = carried.recording.label
    cut_before, whole_behind = whole_from(carried)
    assert cut.text == "".join(chunk for chunk in cut.chunks if isinstance(chunk, str))
    if cut.error is None:
        assert at >= cut_before, f"a clean end after {cut.chunks}"
        lacking = WHOLE[label].may_lack
        assert parts(label, cut.chunks, lacking) == parts(label, whole.chunks, lacking)
        return
    assert at < whole_behind, f"the answer was whole, and yet {cut.error!r}"
    check_error(cut.error, label, cut.text, headless=at < carried.body)
    seen = parts(label, cut.chunks)
    assert seen == parts(label, whole.chunks)[: len(seen)]
    assert not [chunk for chunk in seen if isinstance(chunk, ToolCalls | FinishReason)]
    assert whole.text.startswith(cut.text)
    assert cut.text.startswith(due(carried, at)) or not whole.text


def everywhere(carried: Carried) -> range:
    return range(len(carried.raw) + 1)


async def cut_everywhere(reciter: Reciter, client: Any, carried: Carried, question: str, places: Iterable[int]) -> None:
    """Cut an answer at these offsets, by either end."""
    reciter.say(carried.raw)
    whole = await outcome_of(reciter, carried, QUESTIONS[question], client)
    assert whole.error is None
    assert whole.text == (" ".join(WORDS) if question == "text" else "")
    for at in places:
        for reset in ENDS:
            reciter.say(carried.raw[:at], reset=reset)
            cut = await outcome_of(reciter, carried, QUESTIONS[question], client)
            try:
                check_cut(carried, whole, cut, at)
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
                await cut_everywhere(reciter, client, carried, question, carried.places(SHORT))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("label", LABELS)
async def test_an_answer_that_is_cut_anywhere_is_told(
    label: str, carrier: str, recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    if carrier not in CARRIERS_OF[label] or (label, carrier) in UNTELLABLE:
        return
    for question in questions_of(label):
        carried = Carried(recorded[label, question], carrier)
        await cut_everywhere(reciter, client, carried, question, everywhere(carried))


@pytest.mark.parametrize("label", LABELS)
async def test_over_a_client_of_httpx_alone_it_is_told_as_well(
    label: str, recorded: Recorded, reciter: Reciter
) -> None:
    async with httpx.AsyncClient() as client:
        for carrier in CARRIERS_OF[label]:
            if (label, carrier) not in UNTELLABLE:
                carried = Carried(recorded[label, "text"], carrier)
                await cut_everywhere(reciter, client, carried, "text", carried.places(3))


async def test_bare_text_ends_with_its_connection_and_a_reset_is_a_cut(
    recorded: Recorded, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    carried = Carried(recorded["openchat", "text"], "until_close")
    text = carried.raw[carried.body :]
    for at in range(carried.body, len(carried.raw) + 1):
        for reset in ENDS:
            reciter.say(carried.raw[:at], reset=reset)
            cut = await outcome_of(reciter, carried, QUESTIONS["text"], client)
            assert cut.text == text[: at - carried.body].decode(errors="ignore")
            if reset:
                check_error(cut.error, "openchat", cut.text, headless=False)
            else:
                assert cut.error is None


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
    reciter: Reciter, client: Any, name: str, carrier: str, places: Callable[[Carried], Iterable[tuple[int, bool]]]
) -> None:
    """Cut what a real service said, which may be an error.

    :param places: gives offsets, and whether the end there is a RST
    """
    carried = Carried(TAPES[name], carrier)
    reciter.say(carried.raw)
    whole = await outcome_of(reciter, carried, QUESTIONS["text"], client)
    for at, reset in places(carried):
        reciter.say(carried.raw[:at], reset=reset)
        cut = await outcome_of(reciter, carried, QUESTIONS["text"], client)
        try:
            check_cut_tape(carried.recording.label, whole, cut, headless=at < carried.body)
        except AssertionError as error:
            error.add_note(f"{name} in {carrier} cut by {ENDS[reset]} behind byte {at}: {carried.raw[:at][-60:]!r}")
            raise


def check_cut_tape(label: str, whole: Outcome, cut: Outcome, *, headless: bool) -> None:
    seen, all_parts = parts(label, cut.chunks), parts(label, whole.chunks)
    if (type(cut.error), str(cut.error)) == (type(whole.error), str(whole.error)):
        assert seen == all_parts
        return
    check_error(cut.error, label, cut.text, headless=headless)
    assert seen == all_parts[: len(seen)]
    assert not [chunk for chunk in seen if isinstance(chunk, ToolCalls | FinishReason)]


def ways_of_tapes() -> list[tuple[str, str]]:
    """Give each tape in chunks, which say where they end, and until the connection's end; or on a socket."""
    ways = [(name, carrier) for name, tape in TAPES.items() for carrier in CARRIERS_OF[tape.label]]
    kept = ("chunked", "until_close", "messages")
    return [way for way in ways if way[1] in kept and not (way[0] in UNTELLABLE_TAPES and way[1] == "until_close")]


def some(carried: Carried) -> list[tuple[int, bool]]:
    """Choose one place for either end, by chance, the same in each run."""
    random = Random(f"{carried}/{len(carried.raw)}")
    return [(random.randrange(carried.body, len(carried.raw)), reset) for reset in ENDS]


def each(carried: Carried) -> list[tuple[int, bool]]:
    return [(at, reset) for at in everywhere(carried) for reset in ENDS]


def in_the_last_frame(carried: Carried) -> list[tuple[int, bool]]:
    *_, before, end = 0, *carried.frame_ends()
    return [(at, False) for at in range(max(before, carried.body) + 1, end, 25)]


async def test_a_tape_that_is_cut_is_told(reciter: Reciter, client: httpx.AsyncClient) -> None:
    for name, carrier in ways_of_tapes():
        await cut_tape(reciter, client, name, carrier, some)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_tape_that_is_cut_anywhere_is_told(reciter: Reciter, client: httpx.AsyncClient) -> None:
    for name, carrier in ways_of_tapes():
        await cut_tape(reciter, client, name, carrier, each)


@pytest.mark.parametrize("name", ERROR_TAPES)
async def test_the_beginning_of_an_error_is_a_cut_and_not_that_error(
    name: str, reciter: Reciter, client: httpx.AsyncClient
) -> None:
    await cut_tape(reciter, client, name, "until_close", in_the_last_frame)


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
    for question in questions_of(label):
        carried = Carried(recorded[label, question], CARRIERS_OF[label][0])
        await race_everywhere(reciter, client, carried, question, end, everywhere(carried))
