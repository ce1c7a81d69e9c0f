"""Garbage: whatever a service sends, its answer is chunks or a typed error with the provider's name.

Three sources of it: each of ``JUNK`` (29 kinds of value: other types, too large, no UTF-8, too deep) at each place of
each event on the recorded tapes; shapes that hypothesis makes from the decoders' own schemas; and bytes that are no
shape at all. The decoders get it directly, whole answers included, and every provider over a socket: as an answer
streamed or whole, as the body of an error, as the list of models. The same is done to what lies in files: logins, the
state of races, records of benchmarks, reports; these are read, refused with a word, or dropped.

The short form takes a sample of these, always the same; the long one takes every place of every answer, and every depth
that may be just too deep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from g4ftrio import Breaker, ProviderError, RaceReport, adaptive
from g4ftrio._auth_file import AuthFile
from g4ftrio._resilience.health import Health
from g4ftrio._resilience.state_file import load_state
from g4ftrio._words.chunks import AuthResult
from g4ftrio._words.errors import APIResponseValidationError, SetupError
from g4ftrio.bench import summarize
from g4ftrio.bench._file import read as read_run
from g4ftrio.bench._records import Ending
from g4ftrio.dialects._error_body import error_in, read_error, retry_delay
from g4ftrio.dialects._model_list import read_models
from g4ftrio.providers import HttpProvider, find
from g4ftrio.transports._rate_limits import exhausted_for
from g4ftrio.transports._retry_after import retry_after
from tests.bench.records import record, setup
from tests.faults.frames import frame, talk
from tests.faults.reading import read
from tests.faults.shapes import JUNK, frames_of, mutated, shape_of
from tests.faults.wires import WIRES, Wire, modules_with_schemas
from tests.reports import demo
from tests.transports.http1_server import Peer, Script, Service, head

NAME = "rubbish"
SOME = 200  # of a wire's mutations, and of a file's, in the short form
DAY = 86_400.0
IN_JSON = [name for name, wire in WIRES.items() if wire.modules]
SOCKETS = ("gemini-live", "openai-realtime", "openai-responses-ws")
THOROUGH = settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
QUICK = settings(THOROUGH, max_examples=25, derandomize=True)
RUBBISH = (
    *(b"", b"\0", b"\xff\xfe\0", b"\xef\xbb\xbf", b"\r\r\r", b"data:\rdata: x\r\r", b"null", b"[]", b"{}", b'""', b"1"),
    *(
        b"<html>",
        b"<!DOCTYPE html><title>\xff</title>",
        b"\x1f\x8b\x08\0",
        b'{"error": ',
        b'\xef\xbb\xbf{"error": "x"}',
    ),
    *(b"data: \xff\n\n", b"event: error\ndata: \0\n\n", b'{"a": "\\ud800"}\n', b"data: {}\n\ndata: []\n\n", b"[DONE]"),
    *(JUNK["deep lists"], JUNK["lists that are too deep"], Random(1).randbytes(5000)),
)


# --- decoders ---


def test_every_schema_is_fuzzed() -> None:
    assert modules_with_schemas() <= {module for wire in WIRES.values() for module in wire.modules}


class Mutation(NamedTuple):
    """What was done to which frame of an answer."""

    what: str
    answer: list[bytes]
    number: int
    bad: bytes


def mutations(wire: Wire, *, each_shape_once: bool = False) -> Iterator[Mutation]:
    seen: set[str] = set()
    for answer in wire.answers():
        for number, sent in enumerate(answer):
            shape = shape_of(sent)
            if not (each_shape_once and shape in seen):
                seen.add(shape)
                yield from (Mutation(what, answer, number, bad) for what, bad in mutated(sent))


def one_of_each(wire: Wire) -> Iterator[Mutation]:
    """Leave out what was done before to the same place of an event of the same kind."""
    seen: set[str] = set()
    for each in mutations(wire, each_shape_once=True):
        place = f"{_kind(each.answer[each.number])} {''.join(letter for letter in each.what if not letter.isdigit())}"
        if place not in seen:
            seen.add(place)
            yield each


@cache
def some_of(name: str) -> list[Mutation]:
    """Choose some, always the same."""
    found = list(one_of_each(WIRES[name]))
    return Random(name).sample(found, min(SOME, len(found)))


def _kind(sent: bytes) -> str:
    """What an event calls itself, if it does."""
    try:
        event = json.loads(sent)
    except ValueError:
        return ""
    return str(event.get("type")) if isinstance(event, dict) else ""


def assert_read(wire: Wire, mutation: Mutation) -> None:
    """See that what was done can be read, and gives the same wherever the network cuts the answer."""
    what, answer, number, bad = mutation
    before, after = answer[max(number - 3, 0) : number], answer[number + 1 : number + 4]
    try:
        at_once = read(wire, [*before, bad, *after])
        apart = read(wire, before, [bad], after)
        if "deep" not in what:  # where the stack decides
            assert (at_once[0], type(at_once[1])) == (apart[0], type(apart[1]))
    except Exception as error:
        raise AssertionError(f"{what}, in frame {number} of {answer!r:.300}: {bad!r:.200}") from error


@pytest.mark.parametrize("name", IN_JSON)
def test_junk_somewhere_in_an_event_gives_chunks_or_a_typed_error(name: str) -> None:
    for each in some_of(name):
        assert_read(WIRES[name], each)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", IN_JSON)
def test_junk_anywhere_in_every_answer_gives_chunks_or_a_typed_error(name: str) -> None:
    for each in mutations(WIRES[name]):
        assert_read(WIRES[name], each)


DEEP = "[" * 950 + "]" * 950
FOUND = [  # by this suite, each once a traceback
    ("openai-compatible", DEEP),
    ("openai-compatible", f'{{"detail": [{{"loc": ["body", {DEEP}], "msg": "x"}}]}}'),
    ("openai-responses", '{"type": 0, "error": "x", "output": [5]}'),
    ("openai-responses", f'{{"type": "response.completed", "response": {{"output": [{{"type": "x", "y": {DEEP}}}]}}}}'),
    ("anthropic", f'{{"type": "message", "stop_reason": "x", "content": [{{"type": "x", "y": {DEEP}}}]}}'),
    ("gemini", f'{{"candidates": [{{"finishReason": "STOP", "content": {{"parts": [{{"toolCall": {DEEP}}}]}}}}]}}'),
    ("gemini", f'{{"error": {{"details": [{{"@type": {DEEP}}}]}}}}'),
    (
        "gemini-live",
        f'{{"serverContent": {{"turnComplete": true, "modelTurn": {{"parts": [{{"toolCall": {DEEP}}}]}}}}}}',
    ),
]


@pytest.mark.parametrize(("name", "sent"), FOUND, ids=[f"{number}, {each[0]}" for number, each in enumerate(FOUND)])
def test_what_was_a_traceback_is_none_any_more(name: str, sent: str) -> None:
    read(WIRES[name], [sent.encode()])


def test_an_event_without_a_type_is_the_same_alone_and_among_others() -> None:
    untyped = b'{"index": 0, "delta": {"type": "text_delta", "text": "x"}}'
    end = b'{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}'
    assert read(WIRES["anthropic"], [untyped, end]) == read(WIRES["anthropic"], [untyped], [end])


def test_an_empty_piece_of_text_does_not_hide_the_whole() -> None:
    empty = b'{"type": "response.output_text.delta", "delta": "", "output_index": 0}'
    item = b'{"type": "message", "content": [{"type": "output_text", "text": "Blue"}]}'
    whole = b'{"type": "response.output_item.done", "output_index": 0, "item": %b}' % item
    assert read(WIRES["openai-responses"], [empty], [whole])[0] == ["Blue"]


@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize("much", [QUICK, pytest.param(THOROUGH, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_any_json_of_the_right_shape_gives_chunks_or_a_typed_error(name: str, much: settings) -> None:
    wire = WIRES[name]

    @much
    @given(frames_of(wire))
    def check(frames: list[bytes]) -> None:
        read(wire, frames)

    check()


@pytest.mark.parametrize("name", WIRES)
def test_any_bytes_give_chunks_or_a_typed_error(name: str) -> None:
    for body in RUBBISH:
        read(WIRES[name], [body])
    source = Random(name)
    for _ in range(300):
        read(WIRES[name], [source.randbytes(source.randrange(20)) for _ in range(source.randrange(4))])


def places(wire: Wire) -> Iterator[tuple[str, bytes, bytes]]:
    """Give each place of each kind of event, and what stands before and behind it."""
    for each in one_of_each(wire):
        if each.what.startswith("an int of 65 bits at"):
            before, _, after = each.bad.partition(JUNK["an int of 65 bits"])
            yield each.what, before, after


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", IN_JSON)
def test_nesting_is_no_traceback_at_any_depth(name: str) -> None:
    """What can just be decoded may be too deep a few calls further down, where it is encoded, copied or shown."""
    wire = WIRES[name]
    for what, before, after in places(wire):
        for depth in range(800, 1000, 4):
            try:
                read(wire, [before + b"[" * depth + b"]" * depth + after])
                read(wire, [before + b'{"a":' * depth + b"1" + b"}" * depth + after])
            except Exception as error:
                raise AssertionError(f"{depth} levels {what}: {before!r:.200}") from error


# --- what is not streamed: errors, lists, headers ---

DETAILS = b'[{"@type": "a.ErrorInfo", "reason": "R"}, {"@type": "a.RetryInfo", "retryDelay": "1.5s"}]'
ERRORS = (
    b'{"error": {"message": "no", "type": "x", "code": 429, "param": null, "metadata": {"raw": "why"}}}',
    b'{"detail": [{"loc": ["body", 0], "msg": "missing", "type": "x"}]}',
    b'[{"error": {"status": "X", "message": "m", "details": %b}}]' % DETAILS,
)
LISTS = (b'{"data": [{"id": "a", "name": "b"}]}', b'{"models": [{"name": "a"}]}', b'["a", {"slug": "b"}]')


def all_of(frames: tuple[bytes, ...]) -> Iterator[bytes]:
    yield from RUBBISH
    for each in frames:
        yield from (bad for _, bad in mutated(each))


def test_the_body_of_an_error_says_something_short_or_nothing() -> None:
    for body in all_of(ERRORS):
        said, code = read_error(body)
        assert (len(said) <= 500, len(code) <= 100) == (True, True), body[:300]
        wait = retry_delay(body)
        assert wait is None or 0 <= wait <= DAY, body[:300]
        try:
            payload = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            continue
        found = error_in(payload)
        assert found is None or len(str(found)) < 1000, body[:300]


def test_a_list_of_models_is_names_or_a_typed_error() -> None:
    for body in all_of(LISTS):
        names: list[str] | None = None
        with suppress(APIResponseValidationError):
            names = read_models(body)
        assert all(type(name) is str for name in names or ()), body[:300]


DIGITS = st.integers(0, 10**400).map(str) | st.floats().map(str)
SAID = st.text(max_size=30) | st.tuples(
    st.sampled_from("+- "), DIGITS, st.sampled_from(["", "s", "ms", "m0s", "Z", "d", "GMT"])
).map("".join)
LIMITS = [
    f"x-ratelimit-{what}{kind}" for what in ("limit", "remaining", "reset") for kind in ("", "-requests", "-tokens")
]


@settings(QUICK, max_examples=100)
@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", *LIMITS]), SAID), st.sampled_from(["0", "1"]))
def test_what_a_head_says_of_waiting_is_at_most_a_day_or_nothing(headers: dict[str, str], left: str) -> None:
    headers = dict.fromkeys(LIMITS[3:6], left) | headers
    for wait in (retry_after(headers, 1e9), exhausted_for(headers, 1e9)):
        assert wait is None or 0 <= wait <= DAY


# --- over sockets ---


def asking(label: str, service: Service) -> HttpProvider:
    declared = find(label)
    assert issubclass(declared, HttpProvider)
    return declared(model="m", name=NAME, api_key="key-of-mine", api_base=service.url + "v1")


def sample(name: str, number: int) -> list[bytes]:
    """Give some of what has been done to a wire's events, each as the body that it would come in."""
    bad = [each.bad for each in some_of(name)[:number]] if name in IN_JSON else []
    framed = [b"data: " + each + b"\n\n" if "ollama" not in name else each + b"\n" for each in bad]
    return [*RUBBISH, *bad[: number // 3], *framed[number // 3 :]]


async def outcome(asked: Any) -> object:
    """What came of it: an answer, or an error that is typed and named."""
    found: object
    try:
        found = await asked
    except ProviderError as error:
        found = error
    if isinstance(found, ProviderError):
        assert found.provider == NAME
        assert str(found).startswith(f"{NAME}: ")
        assert len(str(found)) < 1000
    return found


def saying(*answers: bytes) -> Script:
    """Give each answer on a connection of its own, one after another."""
    left = iter(answers)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(next(left))

    return script


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in WIRES if name not in SOCKETS])
async def test_an_answer_of_rubbish_is_an_answer_or_a_typed_error_that_names_the_provider(name: str) -> None:
    label = "openai" if name == "openai-images" else name
    kinds = (b"text/event-stream", b"application/json", b"text/html", b"application/x-ndjson", b"")
    for number, body in enumerate(sample(name, 20)):
        kind = kinds[number % len(kinds)]
        whole = head(body, b"Content-Type: " + kind, b"Connection: close")
        async with Service(saying(*[whole] * 3)) as service:
            provider = asking(label, service)
            for asked in (provider.complete("x"), provider.complete("x", stream=False), provider.list_models()):
                try:
                    await outcome(asked)
                except Exception as error:
                    raise AssertionError(f"{kind!r}: {body!r:.300}") from error


@pytest.mark.anyio
@pytest.mark.parametrize("name", WIRES)
async def test_an_error_of_rubbish_is_a_typed_error_that_names_the_provider(name: str) -> None:
    label = "openai" if name == "openai-images" else name
    for number, body in enumerate([*RUBBISH, *islice(all_of(ERRORS), len(RUBBISH), None, 60)]):
        status = (b"400 x", b"429 x", b"500 x", b"503 x", b"404 x", b"302 x")[number % 6]
        lines = (b"Connection: close", b"Retry-After: \xff", b"x-request-id: \xff\xfe", b"x-ratelimit-reset: 1e999")
        async with Service(saying(*[head(body, *lines, status=status)] * 2)) as service:
            provider = asking(label, service)
            for asked in (provider.complete("x"), provider.list_models()):
                assert isinstance(await outcome(asked), ProviderError), (status, body[:300])


@pytest.mark.anyio
@pytest.mark.parametrize("name", SOCKETS)
async def test_messages_of_rubbish_are_an_answer_or_a_typed_error_that_names_the_provider(name: str) -> None:
    close = b"\x88\x02\x03\xe8"
    for body in sample(name, 20):
        async with Service(talk(frame(body) + frame(body) + close)) as service:
            try:
                await outcome(asking(name, service).complete("x"))
            except Exception as error:
                raise AssertionError(repr(body[:300])) from error


# --- files ---


def files(*lines: Any) -> list[tuple[str, bytes]]:
    """Give a file of JSON, each of its lines spoilt in every place; a sample of these."""
    written = [json.dumps(line).encode() for line in lines]
    found = []
    for number, line in enumerate(written):
        for what, bad in mutated(line):
            spoilt = [*written[:number], bad, *written[number + 1 :]]
            found.append((f"{what} in line {number}", b"\n".join(spoilt) + b"\n"))
    chosen = Random(written[0]).sample(found, min(SOME, len(found)))
    return [*chosen, *((repr(rubbish[:50]), rubbish) for rubbish in RUBBISH)]


def test_a_file_with_a_login_is_read_or_dropped(tmp_path: Path) -> None:
    file = AuthFile(tmp_path / "login.json")
    for what, data in files({"g4ftrio": 1, "auth": {"api_key": "x", "cookies": {"a": "b"}, "expires": 1.5}}):
        file.path.write_bytes(data)
        file.path.chmod(0o600)
        found = file.read()
        assert found is None or isinstance(found, AuthResult), what
        assert file.path.exists() is (found is not None), what


KEPT = {"failures": 1, "recent": [True], "refusals": 1, "opened": 1, "open_until": 2e9, "paused_until": 2e9}
STATE = {
    "g4ftrio": 1,
    "saved_at": 1.9e9,
    "health": {"k": KEPT},
    "policy": {"latencies": {"k": {"times": [[0.5, True]], "outcomes": [True]}}, "budget": 1.0},
}


@pytest.mark.anyio
async def test_the_state_of_races_is_read_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for what, data in files(STATE):
        path.write_bytes(data)
        health, policy = Health(Breaker()), adaptive()
        try:
            await load_state(path, health, policy)
            msgspec.json.encode([health.state(0.0), policy.state()])
            assert policy.delay_after("k") >= 0
            assert health.paused_until("k") <= anyio.current_time() + DAY + 1
        except Exception as error:
            raise AssertionError(what) from error


def test_the_records_of_a_benchmark_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    entrants = [{"name": "e", "outcome": "won", "started_at": 1.0, "output_tokens": 3}]
    lines = [
        msgspec.to_builtins(setup("a", races={"a": ("e",)}, options={"x": 1})),
        {**msgspec.to_builtins(record("a", gaps=(0.5,))), "entrants": entrants},
        {"ending": msgspec.to_builtins(Ending(seconds=1.0, cpu_seconds=0.5))},
    ]
    for what, data in files(*lines):
        path.write_bytes(data)
        with suppress(SetupError):
            run = read_run(path)
            assert usable(what, partial(summarize, run))


def usable(what: str, use: Callable[[], object]) -> bool:
    try:
        use()
    except Exception as error:
        raise AssertionError(what) from error
    return True


def test_a_report_is_read_and_can_be_drawn_or_is_refused() -> None:
    for what, data in files(demo().to_dict()):
        try:
            found = RaceReport.from_dict(msgspec.json.decode(data))
        except (ValueError, RecursionError):  # the second is the decoder's
            continue
        for use in (found.to_dict, found.waterfall, found.to_svg, found.__str__):
            assert usable(what, use)
