"""What the heads of answers say of rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from g4ftrio.transports._fields import Fields
from g4ftrio.transports._rate_limits import exhausted_for

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def openai_like(kind: str = "requests", **said: str) -> dict[str, str]:
    return {f"x-ratelimit-{word}-{kind}": value for word, value in said.items()}


def vendors_own(kind: str = "requests", **said: str) -> dict[str, str]:
    return {f"vendor-ratelimit-{kind}-{word}": value for word, value in said.items()}


def test_a_head_without_such_fields_says_nothing() -> None:
    assert exhausted_for({"content-type": "text/event-stream", "date": "today"}, NOW) is None


def test_as_long_as_there_is_something_left_nobody_waits() -> None:
    assert exhausted_for(openai_like(limit="60", remaining="1", reset="59s"), NOW) is None


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("7", 7.0),
        ("0.5", 0.5),
        ("2026-01-01T00:00:30Z", 30.0),
        ("2026-01-01T01:00:30+01:00", 30.0),
        ("2025-12-31T23:00:00Z", 0.0),
        (str(int(NOW) + 9), 9.0),
        (str(int(NOW) * 1000 + 9500), 9.5),
        ("4d", 86_400.0),
    ],
)
def test_a_reset_is_read_in_every_form(reset: str, seconds: float) -> None:
    assert exhausted_for(openai_like(remaining="0", reset=reset), NOW) == pytest.approx(seconds)


def test_one_more_request_fits_long_before_the_limit_is_whole_again() -> None:
    assert exhausted_for(openai_like(limit="60", remaining="0", reset="60s"), NOW) == pytest.approx(1.0)
    daily = vendors_own(limit="14400", remaining="0", reset="2026-01-02T00:00:00Z")
    assert exhausted_for(daily, NOW) == pytest.approx(6.0)


def test_of_tokens_the_next_request_is_taken_to_need_a_thousand() -> None:
    assert exhausted_for(openai_like("tokens", limit="60000", remaining="0", reset="60s"), NOW) == pytest.approx(1.0)
    assert exhausted_for(vendors_own("input-tokens", limit="500", remaining="0", reset="9"), NOW) == pytest.approx(9.0)


def test_the_longer_wait_counts() -> None:
    both = openai_like("requests", remaining="0", reset="2s") | openai_like("tokens", remaining="0", reset="5s")
    assert exhausted_for(both, NOW) == 5.0


def test_a_limit_of_nobody_knows_what_is_waited_for_whole() -> None:
    plain = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}
    assert exhausted_for(plain, NOW) == 30.0


@pytest.mark.parametrize("reset", ["", "soon", "1s later", "-5s", "5 minutes", "2026-01-01T00:00:30", "9" * 400, "²s"])
def test_what_cannot_be_read_says_nothing(reset: str) -> None:
    assert exhausted_for(openai_like(remaining="0", reset=reset), NOW) is None
    assert exhausted_for(openai_like(remaining=reset, reset="1s"), NOW) is None


def test_the_names_have_no_case() -> None:
    raw = [(b"X-RateLimit-Remaining-Requests", b"0"), (b"X-RateLimit-Reset-Requests", b"1s")]
    assert exhausted_for(Fields(raw), NOW) == 1.0


@given(
    st.dictionaries(st.sampled_from([*openai_like(limit="", remaining="", reset=""), "x-ratelimit-reset"]), st.text())
)
def test_whatever_a_service_sends_it_is_nothing_or_up_to_a_day(headers: dict[str, str]) -> None:
    seconds = exhausted_for({**headers, "x-ratelimit-remaining-requests": "0"}, NOW)
    assert seconds is None or 0 <= seconds <= 86_400
