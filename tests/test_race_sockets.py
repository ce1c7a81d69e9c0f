"""Races of real providers over real sockets: what the servers see of them, fault by fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ChunkFilter,
    Cleaned,
    FinishReason,
    InternalServerError,
    Marker,
    NotFoundError,
    ProviderError,
    Race,
    RateLimitError,
    RejectedError,
    Timeout,
    TruncatedError,
    fallback,
    open_http_client,
    race,
)
from g4ftrio.providers import Groq, OpenAI, OpenAICompatible
from g4ftrio.simulator import FAULTS, Exchange, Fault, Fleet, Service, serve

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
ANSWER = "It is blue because of the way air scatters light."
SHORT = Timeout(stall=0.15, first_chunk=0.4)
PATIENT = Timeout(connect=10, idle=10)
NEVER = 1e6


def last(fleet: Fleet, name: str) -> Exchange:
    return fleet[name].log[-1]


async def warm_up(fleet: Fleet) -> None:
    """Load what is loaded at the first request, so that short limits do not meet it."""
    await OpenAICompatible(model="good", api_base=fleet["good"].api_base).complete(QUESTION)


# --- each fault alone ---

_ERRORS: dict[str, tuple[type[ProviderError], str]] = {
    "rate_limit": (RateLimitError, "status 429.*slow down.*It asks to wait 1 s"),
    "error": (InternalServerError, "status 500.*service failed"),
    "overloaded": (InternalServerError, "status 503.*overloaded"),
    "unauthorized": (AuthenticationError, "status 401.*Check the key"),
    "not_found": (NotFoundError, "status 404.*not_found"),
    "html": (APIResponseValidationError, "a web page.*Just a moment"),
    "error_in_stream": (APIStatusError, "failed in mid-stream"),
    "stall": (APITimeoutError, "timeout stall=0.15"),
    "stall_mid": (APITimeoutError, "timeout stall=0.15"),
    "keepalive": (APITimeoutError, "timeout stall=0.15"),
    "slow_head": (APITimeoutError, "timeout first_chunk=0.4"),
    "cut": (TruncatedError, "was cut off"),
    "reset": (TruncatedError, "was cut off"),
    "truncated": (TruncatedError, "was cut off.*without a finish reason"),
    "garbage": (ProviderError, ""),
    "bad_json": (ProviderError, ""),
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
    assert {*_ERRORS, *_WHOLE} == {*FAULTS} == {*_OUTCOMES, *_WINNING}


@pytest.mark.parametrize("name", _ERRORS)
async def test_a_fault_alone_is_an_error_that_names_the_provider_and_says_what_to_do(name: str) -> None:
    kind, words = _ERRORS[name]
    timed = kind is APITimeoutError
    async with serve([Service(name, fault=name, text=ANSWER), Service("good")]) as fleet:
        if timed:
            await warm_up(fleet)
        provider = OpenAICompatible(model=name, api_base=fleet[name].api_base)
        with pytest.raises(kind, match=f"(?s)^openai-compatible/{name}: .*{words}") as caught:
            await provider.complete(QUESTION, timeout=SHORT if timed else PATIENT)
        assert caught.value.provider == f"openai-compatible/{name}"
        await fleet.quiet()
        assert last(fleet, name).outcome == ("client_gone" if timed else "fault")


@pytest.mark.parametrize("name", _WHOLE)
async def test_what_is_a_whole_answer_on_the_wire_is_one_alone(name: str) -> None:
    async with serve([Service(name, fault=name, text=ANSWER)]) as fleet:
        whole = await OpenAICompatible(model=name, api_base=fleet[name].api_base).complete(QUESTION, timeout=PATIENT)
    assert whole.text.startswith(_WHOLE[name])
    assert whole.finish_reason == "stop"
    assert bool(whole.refusal) == (name == "refusal")


@pytest.mark.parametrize("name", ["cut", "reset", "truncated", "stall_mid", "error_in_stream", "bad_json"])
async def test_what_came_before_a_fault_is_not_lost(name: str) -> None:
    service = Service("late", fault=Fault(name, after=5), text=ANSWER)
    async with serve([service]) as fleet:
        provider = OpenAICompatible(model="late", api_base=fleet["late"].api_base)
        text = ""
        async with provider.stream(QUESTION, timeout=Timeout(stall=0.2)) as stream:
            with pytest.raises(ProviderError) as caught:
                text = (await stream.collect()).text
            assert (text, stream.text) == ("", "It is blue because of")
        if isinstance(caught.value, TruncatedError):
            assert caught.value.text == "It is blue because of"


# --- each fault in a race ---

_OUTCOMES: dict[str, tuple[str, type[Exception] | None]] = {
    "rate_limit": ("failed", RateLimitError),
    "error": ("failed", InternalServerError),
    "overloaded": ("failed", InternalServerError),
    "unauthorized": ("failed", AuthenticationError),
    "not_found": ("failed", NotFoundError),
    "html": ("failed", APIResponseValidationError),
    "html_text": ("rejected", RejectedError),
    "error_in_stream": ("failed", APIStatusError),
    "error_as_text": ("rejected", RejectedError),
    "refusal": ("rejected", RejectedError),
    "empty": ("rejected", RejectedError),
    "stall": ("lost", None),
    "keepalive": ("lost", None),
    "slow_head": ("lost", None),
    "garbage": ("failed", ProviderError),
    "bad_json": ("failed", ProviderError),
}
_WINNING = {"advertising", "stall_mid", "cut", "reset", "truncated", "no_done"}  # their first chunk is clean


def entrants(fleet: Fleet, *names: str) -> list[OpenAICompatible]:
    return [OpenAICompatible(model=name, api_base=fleet[name].api_base, name=name) for name in names]


@pytest.mark.parametrize("name", _OUTCOMES)
async def test_a_race_is_won_by_the_healthy_one_and_says_what_was_wrong_with_the_other(name: str) -> None:
    outcome, kind = _OUTCOMES[name]
    services = [Service(name, fault=name, text=ANSWER), Service("good", text=ANSWER, first_token=0.05)]
    async with serve(services) as fleet:
        # Nothing that the faulty one does may win; with the fallback, it has all the time that it needs to fail.
        policy = fallback() if kind else None
        async with race(entrants(fleet, name, "good"), QUESTION, policy=policy, timeout=PATIENT) as stream:
            assert stream.winner == "good"
            assert (await stream.collect()).text == ANSWER
        record = stream.report.entrants[0]
        await fleet.quiet()
        assert record.outcome == outcome
        assert kind is None or isinstance(record.error, kind)
        if isinstance(record.error, ProviderError):
            assert record.error.provider == name
        assert last(fleet, "good").outcome == "complete"
        ends = {"fault"} if outcome == "failed" else {"client_gone", "fault"} if kind else {"client_gone"}
        assert last(fleet, name).outcome in ends


@pytest.mark.parametrize("name", sorted(_WINNING))
async def test_a_fault_that_comes_after_the_first_clean_chunk_is_the_winners_own(name: str) -> None:
    async with serve([Service(name, fault=name, text=ANSWER), Service("never", first_token=NEVER)]) as fleet:
        async with race(entrants(fleet, name, "never"), QUESTION, timeout=Timeout(stall=0.2)) as stream:
            assert stream.winner == name
            if name in _ERRORS:
                with pytest.raises(_ERRORS[name][0], match=f"^{name}: ") as caught:
                    await stream.collect()
                assert stream.report.entrants[0].error is caught.value
                assert stream.text == "It is blue because of"
            else:
                assert (await stream.collect()).text == _WHOLE[name]
        await fleet.quiet()
        assert last(fleet, "never").outcome == "client_gone"


async def test_advertising_does_not_win_behind_a_filter() -> None:
    promo = Service("promo", text=ANSWER, fault=Fault("advertising", seconds=NEVER))
    async with serve([promo, Service("good", text=ANSWER, first_token=0.05)]) as fleet:
        bad, good = entrants(fleet, "promo", "good")
        cleaned = Cleaned(bad, lambda: ChunkFilter([Marker("Join for free", "\n", "lead")]))
        async with race([cleaned, good], QUESTION) as stream:
            assert (stream.winner, (await stream.collect()).text) == ("good", ANSWER)
        await fleet.quiet()
        assert last(fleet, "promo").outcome == "client_gone"


async def test_advertising_is_taken_out_of_what_wins() -> None:
    async with serve([Service("promo", text=ANSWER, fault="advertising")]) as fleet:
        (promo,) = entrants(fleet, "promo")
        whole = await Race([Cleaned(promo, lambda: ChunkFilter([Marker("Join for free", "\n", "lead")]))]).complete("?")
        assert (whole.text, whole.finish_reason) == (ANSWER, "stop")
        assert whole.report is not None
        assert whole.report.entrants[0].filtered == len("Join for free at https://discord.gg/sim ...\n")


async def test_when_every_service_is_faulty_each_error_is_there_by_name() -> None:
    names = ["rate_limit", "error", "html", "html_text", "empty", "unauthorized"]
    async with serve([Service(name, fault=name) for name in names]) as fleet:
        closed = OpenAICompatible(api_base="http://127.0.0.1:1/v1", model="m", name="closed")
        with pytest.raises(AllFailed) as caught:
            await Race([*entrants(fleet, *names), closed]).complete(QUESTION)
        assert list(caught.value.failures) == [*names, "closed"]
        kinds = [_OUTCOMES[name][1] for name in names] + [APIConnectionError]
        assert [type(error) for error in caught.value.failures.values()] == kinds
        await fleet.quiet()
        assert {last(fleet, name).outcome for name in names} <= {"fault", "client_gone"}


# --- two declared providers ---


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fleet], None]:
    """Point two declared services at the simulator, as their users would."""

    def point(fleet: Fleet) -> None:
        for name, service in (("OPENAI", "left"), ("GROQ", "right")):
            monkeypatch.setenv(f"{name}_BASE_URL", fleet[service].api_base)

    return point


async def test_two_declared_providers_race(declared: Any) -> None:
    left, right = Service("left", text=ANSWER, first_token=NEVER), Service("right", text=ANSWER, key="gsk-right")
    async with serve([left, right]) as fleet:
        declared(fleet)
        raced = [OpenAI(model="left", api_key="sk-left"), Groq(model="right", api_key="gsk-right")]
        async with race(raced, QUESTION, max_tokens=99) as stream:
            assert stream.winner == "groq/right"
            await fleet.quiet()
            assert last(fleet, "left").outcome == "client_gone"
            chunks = [chunk async for chunk in stream]
        assert ("".join(str(chunk) for chunk in chunks), chunks[-1]) == (ANSWER, FinishReason("stop"))
        asked = {name: last(fleet, name) for name in ("left", "right")}
        assert asked["left"].headers["authorization"] == "Bearer sk-left"
        assert asked["right"].headers["authorization"] == "Bearer gsk-right"
        for exchange in asked.values():
            assert exchange.body["messages"] == [{"role": "user", "content": QUESTION}]
            assert exchange.body["max_completion_tokens"] == 99
        record = stream.report.entrants[1]
        assert (record.usage_known, record.usage) == ("exact", stream.usage)
        assert record.bytes > 0


async def test_a_key_from_the_environment_does_not_go_to_loopback(
    declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret")
    async with serve([Service("left", text=ANSWER), Service("right", text=ANSWER)]) as fleet:
        declared(fleet)
        await Groq(model="right").complete(QUESTION)
        assert "authorization" not in last(fleet, "right").headers


async def test_the_times_in_the_report_are_in_order() -> None:
    async with serve([Service("good", text=ANSWER, reasoning=3, first_token=0.01, gap=0.002)]) as fleet:
        async with race([fleet["good"].spec], QUESTION) as stream:
            await stream.collect()
        record = stream.report.entrants[0]
        times = [record.started_at, record.connected_at, record.first_byte_at, record.first_chunk_at]
        times += [record.clean_at, record.ended_at]
        assert all(at is not None for at in times)
        assert times == sorted(at for at in times if at is not None)


# --- nothing is left ---


SILENT = ("stall", "keepalive", "slow_head", "never")


def silent_services() -> list[Service]:
    return [Service(name, fault=name) for name in SILENT[:3]] + [Service("never", first_token=NEVER)]


async def test_after_a_win_the_servers_see_every_loser_gone() -> None:
    async with serve([*silent_services(), Service("good", text=ANSWER, first_token=0.05, gap=0.01)]) as fleet:
        async with race(entrants(fleet, *SILENT, "good"), QUESTION) as stream:
            assert stream.winner == "good"
            await fleet.quiet()
            assert [last(fleet, name).outcome for name in SILENT] == ["client_gone"] * 4
            assert [fleet[name].connections for name in SILENT] == [0] * 4
            assert fleet["good"].connections == 1
            assert (await stream.collect()).text == ANSWER
        await fleet.quiet()
        assert sum(running.connections for running in fleet.values()) == 0


@pytest.mark.parametrize("how", ["break", "raise", "cancel", "finish"])
async def test_however_it_is_left_the_server_sees_the_winner_gone(how: str) -> None:
    service = Service("slow", text=ANSWER, gap=0.0 if how == "finish" else 1.0)
    async with serve([service, Service("never", first_token=NEVER)]) as fleet:
        with anyio.CancelScope() as scope:
            try:
                async with race(entrants(fleet, "slow", "never"), QUESTION) as stream:
                    async for _ in stream:
                        if how == "break":
                            break
                        if how == "raise":
                            raise KeyError
                        if how == "cancel":
                            scope.cancel()
            except KeyError:
                pass
        await fleet.quiet()
        assert last(fleet, "slow").outcome == ("complete" if how == "finish" else "client_gone")
        assert last(fleet, "never").outcome == "client_gone"
        assert sum(running.connections for running in fleet.values()) == 0


async def test_a_race_that_is_cancelled_before_the_decision_leaves_nothing() -> None:
    async with serve(silent_services()) as fleet:
        with anyio.move_on_after(0.1) as scope:
            await Race(entrants(fleet, *SILENT)).complete(QUESTION)
        assert scope.cancelled_caught
        await fleet.quiet()
        assert {exchange.outcome for running in fleet.values() for exchange in running.log} <= {"client_gone"}
        assert sum(running.connections for running in fleet.values()) == 0


async def test_a_race_that_is_left_at_any_moment_leaves_nothing() -> None:
    services = [Service("good", text=ANSWER), Service("cut", fault="cut"), Service("error", fault="error")]
    async with serve([*services, *silent_services()]) as fleet:
        async with Race(entrants(fleet, *fleet)) as llm:
            for n in range(20):
                with anyio.move_on_after(n / 2000):
                    async with llm.stream(QUESTION) as stream:
                        await anyio.sleep(n % 3 / 1000)
                        await anext(stream)
        await fleet.quiet()
        assert sum(running.connections for running in fleet.values()) == 0
        outcomes = {exchange.outcome for running in fleet.values() for exchange in running.log}
        assert outcomes <= {"client_gone", "complete", "fault"}


# --- connections are kept ---


async def test_an_answer_that_was_read_leaves_its_connection_to_the_next_request() -> None:
    async with serve([Service("good", text=ANSWER)]) as fleet, Race(entrants(fleet, "good")) as llm:
        for count in range(1, 4):
            assert (await llm.complete(QUESTION)).text == ANSWER
            assert (len(fleet["good"].log), fleet["good"].connections) == (count, 1)
    assert [exchange.outcome for exchange in fleet["good"].log] == ["complete"] * 3


async def test_a_kept_connection_has_no_moment_of_connecting() -> None:
    async with serve([Service("good", text=ANSWER)]) as fleet, Race(entrants(fleet, "good")) as llm:
        reports = [(await llm.complete(QUESTION)).report for _ in range(2)]
    moments = [report.entrants[0].connected_at for report in reports if report is not None]
    assert moments[0] is not None
    assert moments[1] is None


async def test_an_answer_that_was_left_early_does_not_spoil_the_next() -> None:
    services = [Service("good", text=ANSWER, gap=0.01), Service("never", first_token=NEVER)]
    async with serve(services) as fleet, Race(entrants(fleet, "good", "never")) as llm:
        for _ in range(3):
            async with llm.stream(QUESTION) as stream:
                await anext(stream)
            await fleet.quiet()
            assert [running.connections for running in fleet.values()] == [0, 0]
        assert (await llm.complete(QUESTION)).text == ANSWER


async def test_a_client_that_the_user_brings_serves_a_race() -> None:
    services = [Service("good", text=ANSWER), Service("never", first_token=NEVER)]
    async with serve(services) as fleet, open_http_client() as client:
        async with race(entrants(fleet, "good", "never"), QUESTION, http_client=client) as stream:
            assert (await stream.collect()).text == ANSWER
        assert not client.is_closed
        await fleet.quiet()
        assert fleet["never"].connections == 0


@pytest.mark.parametrize("tokens_per_write", [1, 3, 1000])
async def test_however_the_tokens_are_written_the_answer_is_the_same(tokens_per_write: int) -> None:
    async with serve([Service("good", text=ANSWER, tokens_per_write=tokens_per_write)]) as fleet:
        whole = await Race(entrants(fleet, "good")).complete(QUESTION)
        assert (whole.text, whole.finish_reason) == (ANSWER, "stop")
        assert whole.usage is not None
        assert whole.usage.output_tokens == len(ANSWER.split())
        assert whole.report is not None
        assert whole.report.entrants[0].usage == whole.usage


async def test_a_race_without_streaming_is_a_race_too() -> None:
    async with serve([Service("good", text=ANSWER), Service("error", fault="error")]) as fleet:
        whole = await Race(entrants(fleet, "error", "good")).complete(QUESTION, stream=False)
        assert (whole.text, last(fleet, "good").body["stream"]) == (ANSWER, False)
