"""Every form of ``Retry-After`` is read, bounded and heeded.

Promised: seconds, fractions, the three forms of HTTP dates, ``retry-after-ms``, several headers and a delay in the body
become ``.retry_after``, 0 to a day, for whatever status; nonsense is None and harms nothing. A race asks the next
provider at once, and the one that has said how long to wait is asked no sooner than that.

Cases, each on two loops: 38 forms and 8 pauses of a race on 2 wires, in the long form on 8; 8 delays in a body.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from time import time
from typing import Any

import anyio
import pytest

from g4ftrio import Fallback, RateLimitError, Retry
from g4ftrio.transports import _response
from tests.faults.hostile import QUESTION, Hostile, failure, provider, refusal
from tests.providers.all_wires import ALL, asking, fleet_of

pytestmark = pytest.mark.anyio

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
DAY = 86_400.0
FORMS: dict[tuple[bytes, ...], float | None] = {
    (): None,
    (b"Retry-After: 7",): 7,
    (b"retry-after:7",): 7,
    (b"RETRY-AFTER:   7\t ",): 7,
    (b"Retry-After: 0",): 0,
    (b"Retry-After: 0.25",): 0.25,
    (b"Retry-After: .5",): 0.5,
    (b"Retry-After: +7",): 7,
    (b"Retry-After: 007",): 7,
    (b"Retry-After: -7",): 0,
    (b"Retry-After: 99999999999",): DAY,
    (b"Retry-After: " + b"9" * 10_000,): DAY,
    (b"Retry-After: Sun, 06 Nov 1994 08:50:07 GMT",): 30,
    (b"Retry-After: Sunday, 06-Nov-94 08:50:07 GMT",): 30,
    (b"Retry-After: Sun Nov  6 08:50:07 1994",): 30,
    (b"Retry-After: Sun, 06 Nov 1994 09:50:07 +0100",): 30,
    (b"Retry-After: Sun, 06 Nov 1994 08:00:00 GMT",): 0,
    (b"Retry-After: Sun, 06 Nov 3994 08:00:00 GMT",): DAY,
    (b"Retry-After: Sun, 99 Nov 1994 99:99:99 GMT",): None,
    (b"Retry-After: Sun, 06 Nov 1994 08:50:07 XYZ",): 30,
    (b"Retry-After: Sun, 00 Nov 1994 08:50:07 GMT",): None,
    (b"Retry-After: Sun, 06 Nov 99999 08:50:07 GMT",): None,
    (b"Retry-After: Sun, 06 Nov 1994 08:50:07 +9999999",): None,
    (b"Retry-After: ",): None,
    (b"Retry-After: soon",): None,
    (b"Retry-After: 7 s",): None,
    (b"Retry-After: 1e3",): None,
    (b"Retry-After: 0x10",): None,
    (b"Retry-After: nan",): None,
    (b"Retry-After: \xb2",): None,
    (b"Retry-After: \xd9\xa7",): None,
    (b"Retry-After: \xff\xfe",): None,
    (b"Retry-After: 7", b"Retry-After: 9"): 9,
    (b"Retry-After: 9", b"Retry-After: 9"): 9,
    (b"Retry-After: 7", b"Retry-After: soon"): None,
    (b"Retry-After-Ms: 250",): 0.25,
    (b"Retry-After-Ms: 250", b"Retry-After: 9"): 0.25,
    (b"Retry-After-Ms: soon", b"Retry-After: 9"): 9,
}
FEW = ("anthropic", "openai-realtime")
few_or_all = pytest.mark.parametrize(
    "label", [pytest.param(label, marks=() if label in FEW else pytest.mark.long) for label in ALL]
)
STATUSES = (429, 503, 500, 529, 403, 413, 307)


@few_or_all
async def test_every_form_is_read(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_response, "time", lambda: NOW)
    wrong = {}
    async with Hostile() as service:
        for number, (fields, seconds) in enumerate(FORMS.items()):
            status = STATUSES[number % len(STATUSES)]
            service.says = refusal(status, b"no", *fields)
            error = await failure(provider(label, service.url))
            asks = "" if seconds is None else f"It asks to wait {seconds:g} s."
            if (error.status, error.retry_after) != (status, seconds) or not str(error).endswith(asks):
                wrong[fields] = f"{error.retry_after}: {error}"
    assert not wrong


async def _asked_for(label: str, body: bytes, *fields: bytes) -> float | None:
    async with Hostile(*refusal(429, body, *fields)) as service:
        return (await failure(provider(label, service.url))).retry_after


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("7s", 7.0), ("0.5s", 0.5), ("99999999s", DAY), ("-7s", None), ("7", None), ("7m", None), (7, None), (None, None)],
)
async def test_a_delay_in_the_body_counts_where_no_header_says_one(delay: Any, seconds: float | None) -> None:
    told = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    body = json.dumps({"error": {"code": 429, "message": "no", "details": told}}).encode()
    assert await _asked_for("gemini", body) == seconds
    assert await _asked_for("gemini-live", body, b"Retry-After: 3") == 3


@pytest.mark.parametrize("date", ["in half an hour", "half an hour ago"])
async def test_a_date_is_told_from_this_machine_s_clock(date: str) -> None:
    ahead = 1800 if date.startswith("in") else -1800
    before = time()
    written = formatdate(before + ahead, usegmt=True).encode()
    found = await _asked_for("anthropic", b"no", b"Retry-After: " + written)
    assert found is not None
    assert max(ahead - 1 - (time() - before), 0) <= found <= max(ahead, 0)  # a date has no fractions


HELD = {
    b"Retry-After: 60": 1,
    b"Retry-After: 99999999999": 1,
    b"Retry-After-Ms: 60000": 1,
    b"Retry-After: Sun, 06 Nov 3994 08:00:00 GMT": 1,
    b"Retry-After: 0": 3,
    b"Retry-After: -60": 3,
    b"Retry-After: Sun, 06 Nov 1994 08:00:00 GMT": 3,
    b"Retry-After: soon": 3,
}


@few_or_all
async def test_who_asks_to_be_left_alone_is_and_the_next_one_is_asked_at_once(label: str) -> None:
    asked = {}
    async with Hostile() as service, fleet_of(label, text="I am here.") as fleet:
        for number, field in enumerate(HELD):
            service.asked.clear()
            service.says = refusal(STATUSES[number % 4], b"no", field)
            entrants = [provider(label, service.url, name="limited"), asking(fleet[label], name="good")]
            async with Fallback(entrants, breaker=None) as llm:
                for _ in range(3):
                    assert (await llm.complete(QUESTION)).provider == "good"
            asked[field] = len(service.asked)
    assert asked == HELD


async def test_a_retry_waits_as_long_as_it_is_asked_to_and_no_longer_than_it_may() -> None:
    async with Hostile(*refusal(429, b"no", b"Retry-After: 0.1")) as service:
        one = provider("ollama", service.url)
        began = anyio.current_time()
        with pytest.raises(RateLimitError):
            await Retry(one, 3).complete(QUESTION)
        assert anyio.current_time() - began >= 0.2
        assert len(service.asked) == 3
        service.says = refusal(429, b"no", b"Retry-After: 99999999999")
        with pytest.raises(RateLimitError):
            await Retry(one, 3).complete(QUESTION)
        assert len(service.asked) == 4
