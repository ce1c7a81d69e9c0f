"""Every status is a typed error that says whose it is, what it is and what the service said, on every wire.

Promised: an answer whose status is no success is an ``APIStatusError`` of the status's own class with ``status``,
``request_id`` and ``retry_after``, its words short, on one line and printable; interim answers are passed over, 101
unasked and a nonsense status line are a connection error; 204, 205 and 206 are no answer; what is said in an error's
body is waited for 2 s at most, and read 64 KiB far. An upgrade to a WebSocket is refused in the same way.

Cases, each on two loops: 41 statuses and 22 bodies on 3 wires, 7 statuses on 6 more, for 5 lists of models, a client
of httpx's and 8 races; 29 status lines on 2 wires, 9 bodies without end, 27 that stop. In the long form, all of all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest

from g4ftrio import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    UnprocessableEntityError,
    fallback,
    race,
)
from g4ftrio.simulator._dialects import DIALECTS, SOCKETS
from g4ftrio.transports import _response
from tests.faults.hostile import KEY, QUESTION, WIRES, Hostile, failure, provider, refusal, said
from tests.providers.all_wires import ALL, OVER_HTTP, asking, fleet_of
from tests.transports.http1_server import Peer, Service, head

pytestmark = pytest.mark.anyio

NO_ANSWERS = (204, 205, 206)
TYPES: dict[int, type[ProviderError]] = {
    **dict.fromkeys(NO_ANSWERS, APIResponseValidationError),
    **dict.fromkeys((300, 301, 302, 303, 304, 305, 306, 307, 308, 399), APIStatusError),
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    **dict.fromkeys((405, 406, 407, 408, 410, 411, 413, 414, 415, 418, 421, 424, 425, 431, 451, 499), APIStatusError),
    **dict.fromkeys((500, 501, 502, 503, 504, 508, 511, 529, 599, 600, 999), InternalServerError),
}
SOME = (204, 302, 304, 401, 429, 500, 529)
some_or_all = pytest.mark.parametrize(
    "statuses", [pytest.param(SOME, id="some"), pytest.param(tuple(TYPES), id="all", marks=pytest.mark.long)]
)
FEW = ("openai-compatible", "openchat", "gemini-live")
every_wire = pytest.mark.parametrize(
    ("label", "statuses"),
    [
        *(pytest.param(label, SOME, id=f"{label}-some") for label in WIRES),
        *(
            pytest.param(label, tuple(TYPES), id=f"{label}-all", marks=() if label in FEW else pytest.mark.long)
            for label in WIRES
        ),
    ],
)
few_or_all = pytest.mark.parametrize(
    "label", [pytest.param(label, marks=() if label in FEW else pytest.mark.long) for label in WIRES]
)
LONGEST = 800  # characters of an error's whole line

NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502</h1></center>\r\n</body>"
CLOUDFLARE = (
    b'<!DOCTYPE html>\n<!--[if lt IE 7]> <html class="no-js ie6 oldie"> <![endif]-->\n<html lang="en-US">'
    b"<head>\n<title>api.example.com | 502: Bad gateway</title>\n<meta charset='UTF-8'/>" + b"<p>" * 3000
)
SAID: dict[str, tuple[str | bytes, str]] = {
    **{f"as {label} says it": (label, "it has no time") for label in WIRES},
    "nginx": (NGINX, "502 Bad Gateway"),
    "cloudflare": (CLOUDFLARE, "api.example.com | 502: Bad gateway"),
    "a page without a title": (b"<html><style>h1{color:red}</style><h1>No   time</h1>", "No time"),
    "XML": (b"<?xml version='1.0'?><Error><Code>Busy</Code><Message>No time</Message></Error>", "Busy No time"),
    "text": (b"upstream connect error\r\nor disconnect", "upstream connect error or disconnect"),
    "JSON behind a BOM": (b'\xef\xbb\xbf{"error":{"message":"no time"}}', "no time"),
    "JSON that was cut": (b'{"error":{"message":"no ti', '{"error":{"message":"no ti'),
    "deep JSON": (b"[" * 70_000, "[[["),
    "empty": (b"", ""),
    "no UTF-8": (b"\xff\xfe no \x80 time", "\ufffd\ufffd no \ufffd time"),
    "10 MiB of JSON": (b'{"error":{"message":"' + b"no" * (5 << 20) + b'"}}', '{"error":{"message":"nono'),
    "10 MiB of text": (b"no" * (5 << 20), "nono"),
    "control characters": (b"\x1b[2Jno\rtime\x00\xc2\x9b1m\xe2\x80\xae", "␛[2Jno time␀\ufffd1m\ufffd"),
}


def worded(label: str, status: int, message: str) -> bytes:
    """An error's body as the service of a wire writes it."""
    wire = DIALECTS.get(label) or SOCKETS[label]
    return wire.error(status, message, "some_code")


def complaint(error: ProviderError, label: str, status: int) -> str:
    """What is wrong with an error; mostly nothing."""
    wrong = {
        "type": type(error) is not TYPES[status],
        "provider": error.provider != label or not str(error).startswith(f"{label}: "),
        "status": error.status != status or f"(status {status})" not in str(error),
        "request_id": error.request_id != "r-1",
        "length": len(str(error)) > LONGEST or not str(error).isprintable(),
        "key": KEY in str(error),
    }
    return ", ".join(what for what, is_so in wrong.items() if is_so)


@every_wire
async def test_every_status_is_an_error_of_its_class(label: str, statuses: Sequence[int]) -> None:
    wrong = {}
    async with Hostile() as service:
        for status in statuses:
            service.says = refusal(status, worded(label, status, "it has no time"), b"X-Request-Id: r-1")
            error = await failure(provider(label, service.url))
            has_words = status not in (*NO_ANSWERS, 304)  # which have no body
            if found := complaint(error, label, status) or ("words" * (("it has no time" in str(error)) != has_words)):
                wrong[status] = f"{found}: {error!r}"
    assert not wrong


@some_or_all
async def test_every_status_is_the_same_on_a_client_of_httpx(statuses: Sequence[int]) -> None:
    wrong = {}
    async with Hostile() as service, httpx.AsyncClient() as client:
        for status in statuses:
            body = b"" if status in (204, 304) else b"it has no time"  # there httpx takes one for the next answer
            service.says = refusal(status, body, b"X-Request-Id: r-1")
            error = await failure(provider("openai-compatible", service.url, http_client=client))
            if found := complaint(error, "openai-compatible", status):
                wrong[status] = f"{found}: {error!r}"
    assert not wrong


@some_or_all
@pytest.mark.parametrize("label", OVER_HTTP)
async def test_the_list_of_models_fails_by_every_status_too(label: str, statuses: Sequence[int]) -> None:
    wrong = {}
    async with Hostile() as service:
        for status in statuses:
            service.says = refusal(status, worded(label, status, f"not with {KEY}"), b"X-Request-Id: r-1")
            try:
                wrong[status] = f"{await provider(label, service.url).list_models()}"
            except ProviderError as error:
                if found := complaint(error, label, status):
                    wrong[status] = f"{found}: {error!r}"
    assert not wrong


@few_or_all
async def test_what_the_service_says_is_told_whatever_its_form(label: str) -> None:
    wrong = {}
    async with Hostile() as service:
        for form, (told, words) in SAID.items():
            body = told if isinstance(told, bytes) else worded(told, 502, words)
            service.says = refusal(502, body, b"X-Request-Id: r-1", b"Retry-After: 7")
            error = await failure(provider(label, service.url))
            found = complaint(error, label, 502)
            if found or words not in str(error) or error.retry_after != 7 or (not words and error.message):
                wrong[form] = f"{found}: {error}"
    assert not wrong


@pytest.mark.parametrize("label", WIRES)
async def test_no_more_than_64_kib_of_an_error_are_read(label: str) -> None:
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 503 Hm\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + b"no" * 32_768 + b"\r\n")
            sent += 65_536

    async with Service(endless) as service:
        assert type(await failure(provider(label, service.url))) is InternalServerError
        await service.settled()
    assert sent < 32 << 20  # what the system's buffers hold of it


@pytest.mark.parametrize("label", WIRES)
@pytest.mark.parametrize("part", [b"", b'{"error":', b"it has "])
async def test_what_does_not_come_of_an_error_is_not_waited_for(
    label: str, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_response, "_ERROR_WAIT", 0.05)
    async with Hostile(b"HTTP/1.1 429 Hm\r\nContent-Length: 1000\r\nRetry-After: 3\r\n\r\n" + part) as service:
        error = await failure(provider(label, service.url))
        await service.settled()
    assert type(error) is RateLimitError
    assert (error.retry_after, error.message) == (3, part.decode().strip())


@pytest.mark.parametrize("interim", [(100,), (102,), (103,), (103, 103), (100, 102, 103, 199), (103,) * 8])
async def test_an_interim_answer_is_passed_over(interim: tuple[int, ...]) -> None:
    lines = b"".join(b"HTTP/1.1 %d Soon\r\nLink: </x>\r\nRetry-After: 9\r\n\r\n" % status for status in interim)
    async with Hostile(lines, *refusal(503, b"it has no time")) as service:
        for label in ("openai-compatible", "openai-realtime"):
            error = await failure(provider(label, service.url))
            assert type(error) is InternalServerError
            assert error.retry_after is None


@pytest.mark.parametrize("label", WIRES)
async def test_interim_answers_without_end_and_101_unasked_are_no_answers(label: str) -> None:
    async with Hostile(b"HTTP/1.1 103 Soon\r\n\r\n" * 9, *refusal(200)) as service:
        error = await failure(provider(label, service.url))
        assert type(error) is APIConnectionError
        service.says = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: telnet\r\nConnection: Upgrade\r\n\r\nlogin:",)
        error = await failure(provider(label, service.url))
        assert type(error) is APIConnectionError
        assert str(error).startswith(f"{label}: ")


NONSENSE = (
    *(b"HTTP/1.1 099 Low", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 2x0 OK"),
    *(b"HTTP/1.1 200OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 OK 200"),
    *(b"HTTP/2 200 OK", b"HTTP/1.2 200 OK", b"HTTP/0.9 200 OK", b"http/1.1 200 OK", b"HTTPS/1.1 200 OK", b"ICY 200 OK"),
    *(b" HTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK", b"HTTP/1.1 200 a\x00b"),
    b"HTTP/1.1 200 \x1b]0;evil\x07",
    *(b"", b"\x00", b"\x15\x03\x01\x00\x02\x02\x46", b"SSH-2.0-OpenSSH_9.6", b"220 mail.example.com ESMTP"),
    *(b"<html><title>Hi</title>", b'{"error":{"message":"no"}}'),
)


@pytest.mark.parametrize("label", ["openai-compatible", "openai-realtime"])
async def test_a_nonsense_status_line_is_no_answer(label: str) -> None:
    async with Hostile(stays=False) as service:
        for line in NONSENSE:
            service.says = (line + b"\r\nContent-Length: 2\r\n\r\n{}",)
            error = await failure(provider(label, service.url))
            assert type(error) is APIConnectionError, line
            assert error.provider == label
            assert str(error).isprintable(), line


async def test_a_reason_is_of_no_interest() -> None:
    async with Hostile() as service:
        for reason in (b"", b" ", b" OK", b" " + b"x" * 60_000, b" \xff\xfe"):
            service.says = (b"HTTP/1.1 503%s\r\nContent-Length: 2\r\n\r\nno" % reason,)
            assert (await failure(provider("ollama", service.url))).message == "no"


@pytest.mark.parametrize("status", [200, 201, 202, 203, 207, 226, 299])
async def test_another_success_is_an_answer(status: int) -> None:
    whole = {"message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"}
    async with Hostile(*refusal(status, json.dumps(whole).encode(), b"Content-Type: application/json")) as service:
        assert await said(provider("ollama", service.url)) == "hi"


@pytest.mark.parametrize("status", [200, 201, 203, 299])
@pytest.mark.parametrize("label", SOCKETS)
async def test_a_success_opens_no_websocket(label: str, status: int) -> None:
    async with Hostile(*refusal(status, b'{"detail":"use POST"}')) as service:
        error = await failure(provider(label, service.url))
    assert type(error) is APIResponseValidationError
    assert error.status == status
    assert "use POST" in str(error)


@some_or_all
@pytest.mark.parametrize("label", ALL)
async def test_a_race_goes_on_to_the_next_at_once(label: str, statuses: Sequence[int]) -> None:
    """By ``fallback()``, which starts nobody as long as somebody runs, and with no clock that could do it."""
    async with Hostile() as service, fleet_of(label, text="I am here.") as fleet:
        for status in statuses:
            service.says = refusal(status, b"no")
            entrants = [provider(label, service.url, name="bad"), asking(fleet[label], name="good")]
            async with race(entrants, QUESTION, policy=fallback()) as stream:
                assert (await stream.collect()).text == "I am here."
            bad, good = stream.report.entrants
            assert (bad.outcome, good.outcome) == ("failed", "won"), status
            assert type(bad.error) is TYPES[status]
        assert len(service.asked) == len(statuses)


async def test_a_race_of_all_statuses_tells_each() -> None:
    async with Hostile(*refusal(418, b"teapot")) as one, Hostile(*refusal(529, b"overloaded")) as two:
        entrants = [provider("anthropic", one.url, name="one"), provider("gemini-live", two.url, name="two")]
        with pytest.raises(AllFailed) as caught:
            async with race(entrants, QUESTION):
                raise AssertionError
    assert str(caught.value).split("\n  ")[1:] == [
        "one: the service answered with an error (status 418): teapot",
        "two: the service failed (status 529): overloaded",
    ]


async def test_a_head_without_an_end_is_no_status() -> None:
    async with Hostile(head(b"", status=b"503 Hm")[:-2], stays=False) as service:
        error = await failure(provider("anthropic", service.url))
    assert type(error) is APIConnectionError
