"""Providers over WebSockets, against the simulator: alone, in races with HTTP providers, settled, synchronous."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from g4ftrio import (
    AllFailed,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    FinishReason,
    InternalServerError,
    MissingKeyError,
    NotFoundError,
    ProviderError,
    Race,
    RateLimitError,
    SetupError,
    Timeout,
    TruncatedError,
    open_http_client,
    race,
    race_sync,
)
from g4ftrio._cleaning import Marker
from g4ftrio._words.origin import as_http
from g4ftrio._words.request import Call
from g4ftrio.providers import OpenAICompatible
from g4ftrio.simulator import FAULTS, Exchange, Fault, Fleet, Service, _dialects, serve
from g4ftrio.simulator._thread import run_in_thread
from g4ftrio.testing import check_provider, forbid_network
from g4ftrio.transports.websocket import WebSocket, open_websocket
from tests import clocks
from tests.dialogues import LABEL, Says, SaysDialect, SaysWire

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
PATIENT = Timeout(connect=10, idle=10)
NEVER = 1e6


@pytest.fixture(autouse=True)
def _socket_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_dialects.SOCKETS, LABEL, SaysWire())


def socket_service(name: str, **settings: Any) -> Service:
    return Service(name, **{"dialect": LABEL, "text": ANSWER, **settings})


def says(fleet: Fleet, name: str, **settings: Any) -> Says:
    return Says(**{"model": name, "name": name, "api_base": fleet[name].api_base, **settings})


def over_http(fleet: Fleet, name: str) -> OpenAICompatible:
    return OpenAICompatible(model=name, name=name, api_base=fleet[name].api_base)


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110  # no event tells it
            await anyio.sleep(0.005)


def last(fleet: Fleet, name: str) -> Exchange:
    return fleet[name].log[-1]


# --- alone ---


async def test_a_whole_answer_is_gathered_and_the_server_sees_one_question() -> None:
    async with serve([socket_service("good")]) as fleet:
        whole = await says(fleet, "good").complete(QUESTION)
        assert (whole.text, whole.finish_reason, whole.provider) == (ANSWER, "stop", "good")
        await fleet.quiet()
        (exchange,) = fleet["good"].log
        assert (exchange.method, exchange.path, exchange.status) == ("GET", "/v1/talk?model=good", 200)
        assert exchange.body == [{"ask": QUESTION, "model": "good"}]
        assert exchange.outcome == "complete"


@pytest.mark.parametrize("stream", [True, False])
async def test_every_door_reads_it(stream: bool) -> None:
    async with serve([socket_service("good")]) as fleet:
        provider = says(fleet, "good")
        texts = [chunk async for chunk in provider.create_async_generator("good", QUESTION, stream=stream)]
        assert "".join(map(str, texts)) == ANSWER
        assert texts[-1] == FinishReason("stop")
        assert await provider.create_async("good", QUESTION) == ANSWER
        async with provider.stream(QUESTION, stream=stream) as answer:
            assert (await answer.collect()).text == ANSWER


@pytest.mark.parametrize("scheme", ["http", "ws", "WS"])
async def test_http_and_ws_addresses_are_the_same(scheme: str) -> None:
    async with serve([socket_service("good")]) as fleet:
        base = fleet["good"].api_base.replace("http", scheme) + "/"
        provider = says(fleet, "good", api_base=base)
        assert (await provider.complete(QUESTION)).text == ANSWER
        assert await provider.list_models() == ["good"]


@pytest.mark.parametrize("address", ["", "ftp://x.test", "talk", "wss://"])
async def test_an_address_that_is_none_is_refused_before_anything_is_sent(address: str) -> None:
    class Homeless(Says):
        api_base = address

    with pytest.raises(SetupError, match="api_base must be an http:// or https:// or ws:// or wss:// address"):
        await Homeless(model="m").complete(QUESTION)


def test_an_address_is_read_as_https_whatever_its_case() -> None:
    assert as_http("wss://x.test/a?u=ws://y") == "https://x.test/a?u=ws://y"
    assert as_http("WS://x.test") == "http://x.test"
    assert as_http("https://ws://x") == "https://ws://x"
    assert as_http("wsx://x") == "wsx://x"


class Keyed(Says):
    """A declared one, far away."""

    needs_auth = True
    api_base = "https://api.says.test/v1"
    key_variables = ("SAYS_API_KEY",)


async def test_a_key_goes_to_its_own_address_only_in_either_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYS_API_KEY", "from-the-environment")
    Keyed(model="m").check_ready()
    Keyed(model="m", api_base="wss://api.says.test/v2").check_ready()
    with pytest.raises(MissingKeyError, match=r"goes only to https://api\.says\.test:443, not to https://other\.test"):
        Keyed(model="m", api_base="wss://other.test/v1").check_ready()


async def test_a_wrong_key_is_refused_at_the_door() -> None:
    async with serve([socket_service("kept", key="right-key")]) as fleet:
        assert (await says(fleet, "kept", api_key="right-key").complete(QUESTION)).text == ANSWER
        with pytest.raises(AuthenticationError, match=r"status 401.*missing or wrong"):
            await says(fleet, "kept", api_key="wrong-key").complete(QUESTION)
        assert (last(fleet, "kept").status, last(fleet, "kept").outcome) == (401, "refused")


async def test_what_the_dialect_cannot_express_names_the_provider_and_sends_nothing() -> None:
    async with serve([socket_service("good")]) as fleet:
        with pytest.raises(SetupError, match=r"^good: this service takes no seed"):
            await says(fleet, "good").complete(QUESTION, seed=1)
        assert fleet["good"].log == []


async def test_advertising_is_taken_out() -> None:
    class Clean(Says):
        advertising = (Marker("Join for free", "...\n"),)

    async with serve([socket_service("ads", fault="advertising")]) as fleet:
        whole = await Clean(model="ads", api_base=fleet["ads"].api_base).complete(QUESTION)
        assert whole.text == ANSWER


@pytest.mark.parametrize("make", [open_http_client, httpx.AsyncClient])
async def test_any_http_client_opens_its_sockets(make: Callable[[], httpx.AsyncClient]) -> None:
    async with serve([socket_service("good")]) as fleet, make() as client:
        assert (await says(fleet, "good", http_client=client).complete(QUESTION)).text == ANSWER
        assert not client.is_closed


async def test_a_closed_client_is_a_setup_error() -> None:
    async with serve([socket_service("good")]) as fleet:
        client = open_http_client()
        await client.aclose()
        with pytest.raises(SetupError, match="the HTTP client is closed"):
            await says(fleet, "good", http_client=client).complete(QUESTION)


async def test_a_warm_connection_becomes_a_socket() -> None:
    async with serve([socket_service("good")]) as fleet:
        address = fleet["good"].api_base.removesuffix("/v1")
        async with open_http_client(warm={address: 1}) as client:
            await until(lambda: fleet["good"].connections > 0)
            async with says(fleet, "good").stream(QUESTION, http_client=client) as stream:
                await stream.collect()
            assert stream._record.connected_at is None


class Talk(SaysWire):
    """What is named like the dialect is its other side."""


Talk.__name__ = type(Says.dialect).__name__


async def test_a_socket_provider_is_held_against_what_every_provider_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_dialects.SOCKETS, LABEL, Talk())
    with forbid_network():
        await check_provider(Keyed)

    class Careless(Keyed):
        """It takes an answer that was cut for a whole one."""

        dialect = SaysDialect(careless=True)

    with pytest.raises(AssertionError, match="notices an answer that was cut"):
        await check_provider(Careless)


# --- faults ---


_ERRORS: dict[str, tuple[type[ProviderError], str]] = {
    "rate_limit": (RateLimitError, "status 429.*slow down.*It asks to wait 1 s"),
    "error": (InternalServerError, "status 500.*service failed"),
    "overloaded": (InternalServerError, "status 503.*overloaded"),
    "unauthorized": (AuthenticationError, "status 401.*Check the key"),
    "not_found": (NotFoundError, "status 404.*not_found"),
    "html": (APIResponseValidationError, "it opened no WebSocket.*Just a moment"),
    "garbage": (APIResponseValidationError, "it opened no WebSocket"),
    "error_in_stream": (APIStatusError, "failed in mid-stream"),
    "stall": (APITimeoutError, "timeout stall=0.15"),
    "stall_mid": (APITimeoutError, "timeout stall=0.15"),
    "keepalive": (APITimeoutError, "timeout stall=0.15"),
    "slow_head": (APITimeoutError, "timeout first_chunk=0.4"),
    "cut": (TruncatedError, "was cut off"),
    "reset": (TruncatedError, "was cut off"),
    "truncated": (TruncatedError, "was cut off.*without its end marker"),
    "bad_json": (APIResponseValidationError, "no such message"),
}
_WHOLE = {
    "advertising": "Join for free at https://discord.gg/sim ...\n" + ANSWER,
    "refusal": "",
    "empty": "",
    "html_text": "<!DOCTYPE html>",
    "error_as_text": '{"error"',
    "no_done": ANSWER,
}


def test_every_fault_of_the_simulator_is_here() -> None:
    assert {*_ERRORS, *_WHOLE} == {*FAULTS}


@pytest.mark.parametrize("name", _ERRORS)
async def test_a_fault_is_an_error_that_names_the_provider(name: str) -> None:
    kind, words = _ERRORS[name]
    timed = kind is APITimeoutError
    async with serve([socket_service(name, fault=name), socket_service("good")]) as fleet:
        await says(fleet, "good").complete(QUESTION)  # loads what is loaded at the first request
        with pytest.raises(kind, match=f"(?s)^{name}: .*{words}"):
            await says(fleet, name).complete(
                QUESTION, timeout=Timeout(stall=0.15, first_chunk=0.4) if timed else PATIENT
            )
        await fleet.quiet()
        assert last(fleet, name).outcome == ("client_gone" if timed else "fault")


@pytest.mark.parametrize("name", _WHOLE)
async def test_what_is_a_whole_answer_on_the_wire_is_one(name: str) -> None:
    async with serve([socket_service(name, fault=name)]) as fleet:
        whole = await says(fleet, name).complete(QUESTION, timeout=PATIENT)
        assert whole.text.startswith(_WHOLE[name])
        assert whole.finish_reason == "stop"
        await fleet.quiet()
        assert last(fleet, name).outcome == "fault"


async def test_what_came_before_a_cut_is_not_lost() -> None:
    async with serve([socket_service("late", fault=Fault("cut", after=5))]) as fleet:
        with pytest.raises(TruncatedError) as caught:
            await says(fleet, "late").complete(QUESTION)
        assert caught.value.text == "It is blue because of"


# --- races ---


@pytest.mark.parametrize("winner", ["socket", "http"])
async def test_a_socket_and_an_http_provider_race_each_other(winner: str) -> None:
    loser = {"socket": "http", "http": "socket"}[winner]
    slow: dict[str, Any] = {"first_token": NEVER}
    services = [
        socket_service("socket", **({} if winner == "socket" else slow)),
        Service("http", text=ANSWER, **({} if winner == "http" else slow)),
    ]
    async with serve(services) as fleet:
        entrants = [says(fleet, "socket"), over_http(fleet, "http")]
        async with race(entrants, QUESTION) as stream:
            assert stream.winner == winner
            assert (await stream.collect()).text == ANSWER
        await fleet.quiet()
        assert last(fleet, winner).outcome == "complete"
        assert {exchange.outcome for exchange in fleet[loser].log} <= {"client_gone"}
        report = {entrant.name: entrant for entrant in stream.report.entrants}
        assert (report[winner].outcome, report[loser].outcome) == ("won", "lost")
        assert report["socket"].connected_at is not None
        assert report[winner].first_byte_at is not None
        assert report[winner].first_chunk_at is not None
        assert report[winner].chunks >= 2
        assert report[winner].bytes > 100
        assert sum(running.connections for running in fleet.values()) <= 1  # HTTP's may be kept until the client closes


@pytest.mark.parametrize("moment", ["asked", "pinged"])
async def test_a_losers_socket_is_seen_closed_by_its_server(moment: str) -> None:
    silent: dict[str, Any] = {"first_token": NEVER}
    losing = silent if moment == "asked" else {"fault": "keepalive"}
    services = [socket_service("loser", **losing), Service("winner", text=ANSWER, first_token=0.1)]
    async with (
        serve(services) as fleet,
        race([says(fleet, "loser"), over_http(fleet, "winner")], QUESTION) as stream,
    ):
        assert stream.winner == "winner"
        await until(lambda: not fleet["loser"].connections)  # while the winner's answer is not read yet
        assert last(fleet, "loser").outcome == "client_gone"


async def test_all_may_fail_each_in_its_own_way() -> None:
    async with serve([socket_service("one", fault="error"), socket_service("two", fault="cut", key=None)]) as fleet:
        with pytest.raises(AllFailed) as caught:
            async with race([says(fleet, "one"), says(fleet, "two")], QUESTION, clean=lambda chunk, text: False) as _:
                pass
    assert {name: type(error) for name, error in caught.value.failures.items()} == {
        "one": InternalServerError,
        "two": TruncatedError,
    }


async def test_a_race_that_is_cancelled_leaves_no_socket() -> None:
    services = [
        socket_service("never", first_token=NEVER),
        socket_service("late", fault=Fault("slow_head", seconds=60)),
    ]
    async with serve(services) as fleet:
        for seconds in (0.0, 0.002, 0.01, 0.05):
            with anyio.move_on_after(seconds):
                async with race([says(fleet, "never"), says(fleet, "late")], QUESTION):
                    pass
            await fleet.quiet()
        assert not any(running.connections for running in fleet.values())


async def test_a_raced_socket_uses_the_races_client_and_not_its_proxy_by_accident() -> None:
    async with serve([socket_service("good")]) as fleet:
        async with Race([says(fleet, "good")], proxy="http://127.0.0.1:9") as llm:
            with pytest.raises(AllFailed, match=r"127\.0\.0\.1:9"):
                await llm.complete(QUESTION)
        assert fleet["good"].log == []


# --- the other doors ---


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    services = [
        socket_service("quick"),
        socket_service("slow", text="on and " * 500, gap=0.01),
        Service("never", first_token=NEVER),
    ]
    async with serve(services) as fleet:
        yield fleet


async def test_a_settled_race_leaves_its_socket_to_whoever_closes_it(fleet: Fleet) -> None:
    stream = await race([says(fleet, "slow"), over_http(fleet, "never")], QUESTION).settle()
    assert stream.winner == "slow"
    assert await stream.receive() == "on"

    async def close() -> None:
        await stream.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
    await fleet.quiet()
    assert last(fleet, "slow").outcome == "client_gone"
    assert not fleet["slow"].connections


async def test_a_settled_stream_is_read_to_its_end(fleet: Fleet) -> None:
    stream = await says(fleet, "quick").stream(QUESTION).settle()
    assert (await stream.collect()).text == ANSWER
    await stream.aclose()
    await fleet.quiet()
    assert last(fleet, "quick").outcome == "complete"


async def test_a_stream_that_is_dropped_unread_closes_its_socket(fleet: Fleet) -> None:
    chunks: Any = says(fleet, "slow").create_async_generator("slow", QUESTION)
    assert await anext(chunks) == "on"
    with pytest.warns(ResourceWarning, match="aclosing"):  # noqa: PT031  # both are the drop
        del chunks
        gc.collect()
    await fleet.quiet()
    assert last(fleet, "slow").outcome == "client_gone"


async def test_a_read_that_is_cancelled_may_be_repeated(fleet: Fleet) -> None:
    async with says(fleet, "slow").stream(QUESTION) as stream:
        text = ""
        while len(text) < 60:
            with anyio.move_on_after(0.004):
                text += str(await stream.receive())
        assert text == ("on and " * 500)[: len(text)]


# --- the simulator itself ---


async def test_a_client_that_goes_before_it_has_asked_is_seen_to_go() -> None:
    async with serve([socket_service("one")]) as fleet:
        async with open_http_client() as client:
            call = Call(method="GET", url=fleet["one"].api_base + "/talk?model=one", headers={})
            socket = await open_websocket(client, call, lambda body: ("", ""), timeout=PATIENT)
            assert await socket.pull() == [b'{"ready":true}']
            await socket.aclose()
        await fleet.quiet()
        assert (last(fleet, "one").outcome, last(fleet, "one").status) == ("client_gone", 101)


async def test_a_socket_answers_one_question_after_another() -> None:
    async def answer(socket: WebSocket) -> list[bytes]:
        messages: list[bytes] = []
        while not messages or b"done" not in messages[-1]:
            messages += await socket.pull()
        return messages

    async with serve([socket_service("one", text="yes")]) as fleet, open_http_client() as client:
        call = Call(method="GET", url=fleet["one"].api_base + "/talk", headers={})
        socket = await open_websocket(client, call, lambda body: ("", ""), timeout=PATIENT)
        assert await socket.pull() == [b'{"ready":true}']
        await socket.send(b'{"note":1}')
        assert await socket.pull() == [b'{"heard":{"note":1}}']
        for _ in range(2):
            await socket.send(b'{"ask":"?","model":"one"}')
            assert await answer(socket) == [b'{"say":"yes"}', b'{"finish":"stop"}', b'{"done":true}']
        for wrong, words in [
            (b"[", b"not JSON"),
            (b"[1]", b"is an object"),
            (b'{"ask":""}', b"ask something"),
            (b'{"ask":"?","model":"two"}', b"does not exist"),
        ]:
            await socket.send(wrong)
            (message,) = await socket.pull()
            assert words in message
        await socket.drain(1)
        await fleet.quiet()
        told = [(exchange.status, exchange.outcome) for exchange in fleet["one"].log]
        assert told == [(200, "complete")] * 2 + [(400, "refused")] * 3 + [(404, "refused")]
        assert fleet["one"].log[0].body == [{"note": 1}, {"ask": "?", "model": "one"}]
        assert [exchange.request_id for exchange in fleet["one"].log[:2]] == ["chatcmpl-one-0", "chatcmpl-one-1"]


async def test_where_a_dialect_has_no_message_for_errors_the_socket_is_closed_with_a_reason() -> None:
    async with serve([socket_service("mute", fault="error_in_stream"), socket_service("one")]) as fleet:
        with pytest.raises(InternalServerError, match="code 1011: The simulated service failed"):
            await says(fleet, "mute").complete(QUESTION)
        await fleet.quiet()
        assert last(fleet, "mute").outcome == "fault"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/talk", 426),
        ("POST", "/talk", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/models", 200),
    ],
)
async def test_what_opens_no_socket_is_answered_over_http(method: str, path: str, status: int) -> None:
    async with serve([socket_service("one")]) as fleet, open_http_client() as client:
        response = await client.request(method, fleet["one"].api_base + path)
        assert response.status_code == status
        assert ("error" in response.text) == (status != 200)


async def test_a_share_of_faults_falls_on_the_same_questions_with_and_without_a_refusal() -> None:
    outcomes: dict[str, list[str]] = {"error": [], "cut": []}
    for fault, seen in outcomes.items():
        async with serve([socket_service("some", fault=fault, fault_share=0.5)]) as fleet:
            for _ in range(12):
                with suppress(ProviderError):
                    await says(fleet, "some").complete(QUESTION)
            await fleet.quiet()
            seen += [exchange.outcome for exchange in fleet["some"].log]
    assert outcomes["error"] == outcomes["cut"]
    assert {*outcomes["cut"]} == {"fault", "complete"}


async def test_an_exchange_does_not_show_a_key_in_its_query() -> None:
    exchange = Exchange(request_id="r", method="GET", path="/v1/talk?key=secret", asked_at=0.0)
    assert "secret" not in repr(exchange)


# --- from synchronous code ---


@pytest.fixture
def fleet_in_a_thread() -> Iterator[Any]:
    with run_in_thread([socket_service("quick"), Service("never", first_token=NEVER)]) as fleet:
        yield fleet


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_race_sync_reads_a_socket(backend: Any, fleet_in_a_thread: Any) -> None:
    fleet = fleet_in_a_thread
    entrants = [says(fleet, "quick"), over_http(fleet, "never")]
    with race_sync(entrants, QUESTION, backend=backend) as stream:
        assert "".join(chunk for chunk in stream if isinstance(chunk, str)) == ANSWER
        assert stream.winner == "quick"
    assert says(fleet, "quick").complete_sync(QUESTION, backend=backend).text == ANSWER
