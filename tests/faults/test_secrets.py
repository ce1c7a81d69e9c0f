"""A key is seen nowhere but in the request to the service that it is for.

A marked key is given in each of the ways there are (``KINDS``) to a service that does to it what it wants (``ANSWERS``,
most of which repeat all that they were sent, in many encodings). Then ``Mark`` walks over everything that came of it:
error, stream, completion, report and its drawings, events, the provider itself, every log record of every library at
DEBUG, output and files. ``g4ftrio/_words/secrets.py`` says what is promised, ``tests/faults/marks.py`` what is looked
at.

Short: every answer for a key over our own transport and some over httpx's, every kind with some of the answers, all
wires with all faults of the simulator, every declared provider with a key in the environment, the synchronous forms,
the command line and its processes. Long: every kind with every answer.
"""

from __future__ import annotations

import base64
import json
import logging
import signal
import ssl
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from html import escape
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
import trustme
from anyio.from_thread import start_blocking_portal

import g4ftrio
from g4ftrio import AuthResult, Error, SetupError, Timeout, bench
from g4ftrio._words.secrets import in_address, mask
from g4ftrio.base_provider import AbstractProvider, AsyncAuthedProvider
from g4ftrio.cli import main
from g4ftrio.cli._commands import cli
from g4ftrio.providers import Aura, HttpProvider, OpenAI, OpenAICompatible, known
from g4ftrio.simulator import FAULTS, Service, serve
from g4ftrio.testing import Scripted
from g4ftrio.typing import AsyncResult, Messages
from tests.faults.marks import Mark, tracebacks
from tests.providers.all_wires import ALL, OVER_HTTP, OVER_SOCKETS, asking
from tests.providers.wires import chat, events
from tests.transports import http1_server
from tests.transports.http1_server import Peer, head

KEY = 'sk-Mark/9Qz+7Wx&5Ty"3Kp=='  # what URLs, JSON, HTML and base64 write in another way
MARK = Mark(KEY)
QUESTION = "Why is the sky blue?"
PATIENT = Timeout(connect=10, idle=10, total=20)
SHORT = Timeout(first_chunk=0.2)

Answer = Callable[[str], bytes]


class Listener(http1_server.Service):
    """Answers each request with what a function makes of it, and closes the connection; it keeps what it was sent."""

    def __init__(self, answer: Answer, tls: Any = None) -> None:
        super().__init__(self._talk, tls=tls)
        self._answer = answer
        self.asked: list[str] = []

    async def _talk(self, peer: Peer) -> None:
        request = (await peer.request()).decode("latin-1")
        self.asked.append(request)
        if answer := self._answer(request):
            await peer.send(answer)
        else:
            await peer.gone()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


# --- what a service does with a key ---


def in_json(request: str) -> bytes:
    return json.dumps({"error": {"message": f"unknown: {request}", "type": "auth", "code": "invalid"}}).encode()


def refusing(body: Callable[[str], bytes], status: str = "401 Unauthorized") -> Answer:
    return lambda request: head(body(_told(request)), b"Content-Type: application/json", status=status.encode())


def _told(request: str) -> str:
    """What a service repeats of a request: its head, and the key as it was before it was encoded for a header."""
    lines, _, _ = request.partition("\r\n\r\n")
    coded = [line.rpartition(" ")[2] for line in lines.splitlines() if " Basic " in line]
    return " ".join([lines, *(base64.b64decode(each).decode() for each in coded)])


def streaming(*parts: bytes) -> Answer:
    body = b"".join(parts)
    return lambda _: head(body, b"Content-Type: text/event-stream")


def repeating(write: Callable[[str], bytes]) -> Answer:
    """An answer that has begun well, and then repeats what it was sent."""
    return lambda request: head(chat("Hel", "lo")[0] + write(_told(request)), b"Content-Type: text/event-stream")


def redirecting(where: Callable[[str], str], status: bytes = b"307 Temporary Redirect") -> Answer:
    return lambda request: head(b"", b"Location: " + where(quote(_told(request))).encode(), status=status)


def as_text(request: str) -> bytes:
    said = json.dumps({"error": {"message": f"unknown key: {_told(request)[:300]}"}})
    return head(b"".join(chat(said)), b"Content-Type: text/event-stream")


ANSWERS: dict[str, Answer] = {
    "whole": streaming(*chat("It is ", "blue.")),
    "in json": refusing(in_json),
    "escaped": refusing(
        lambda said: in_json("").replace(b"unknown: ", "".join(f"\\u{ord(c):04x}" for c in said).encode())
    ),
    "in a url": refusing(lambda said: in_json(quote(said, safe=""))),
    "in base64": refusing(lambda said: in_json(" ".join(_coded(line) for line in said.split()))),
    "in capitals": refusing(lambda said: in_json(said.upper())),
    "in small letters": refusing(lambda said: said.lower().encode()),
    "as text": refusing(lambda said: f"not with this: {said}".encode()),
    "as html": refusing(lambda said: f"<html><title>{escape(said)}</title></html>".encode(), "403 Forbidden"),
    "as a code": refusing(lambda said: json.dumps({"error": {"message": "no", "code": said[-99:]}}).encode()),
    **{
        f"cut after {at}": refusing(lambda said, at=at: in_json("." * (480 - at) + said[said.rfind(" ") :]))  # type: ignore[misc]  # a number of its own for each
        for at in (0, 8, 16)
    },
    "as a name": lambda request: head(in_json(""), b"x-request-id: " + _last(request), status=b"500 Oh"),
    "in an event": repeating(lambda said: b"".join(events({"error": {"message": said}}))),
    "in no event": repeating(lambda said: b"".join(events("{]" + said))),
    "not in utf-8": repeating(lambda said: b"data: \xff" + said.replace("\r\n", " ").encode() + b"\n\n"),
    "not http": lambda request: _last(request) + b" is this?\r\n\r\n",
    "in a field": lambda request: b"HTTP/1.1 200 OK\r\n" + _last(request) + b"\r\n\r\n",
    "elsewhere": redirecting(lambda said: f"http://elsewhere.invalid/{said}"),
    "at a user's": redirecting(lambda said: f"http://me:{said.replace('/', '')}@elsewhere.invalid/"),
    "nowhere": redirecting(lambda said: f"http://[{said}"),
    "as a get": redirecting(lambda said: f"/{said}", b"302 Found"),
    "in a circle": redirecting(lambda said: f"/{said}"),
    "error as text": as_text,
    "cut": lambda _: head(b"".join(chat("It is")), b"Content-Type: text/event-stream")[:-40],
    "no answer": lambda _: b"",
}
IN_THE_HEAD = frozenset(  # of the answer, which httpx's own client logs
    {
        *("as a name", "not http", "in a field", "elsewhere", "at a user's", "nowhere", "as a get", "in a circle"),
    }
)
SOME = ("whole", "in base64", "at a user's")
BY_HTTPX = ("in json", "as a name", "not http", "elsewhere", "in an event", "cut", "no answer")


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _last(request: str) -> bytes:
    """The last word of what was sent."""
    return _told(request).split()[-1].encode()


# --- how a key is given ---


class Keyed(OpenAICompatible):
    """A service whose key is in the environment. Such a one goes to no loopback, but may go by way of it."""

    label = "keyed"
    api_base = "http://service.invalid/v1"
    key_variables = ("MARKED_API_KEY",)


class LogsIn(AsyncAuthedProvider):
    """A provider that keeps its login in a file, and asks with what that says."""

    api_base: str = ""

    async def on_auth_async(self, *, api_key: str | None = None, **params: Any) -> AuthResult:
        return AuthResult(api_key=KEY, cookies={"sid": KEY})

    async def create_authed(
        self, model: str, messages: Messages, auth_result: AuthResult, *, api_base: str = "", **params: Any
    ) -> AsyncResult:
        service = OpenAICompatible(model="m", api_base=self.api_base, api_key=vars(auth_result)["api_key"])
        async with service.stream(messages) as stream:
            async for chunk in stream:
                yield chunk


async def fetch_key() -> str:
    return KEY


def stock() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # an empty one is made at once


def with_userinfo(url: str) -> str:
    return url.replace("//", f"//user:{quote(KEY, safe='')}@")


def asks_at(url: str, **settings: Any) -> HttpProvider:
    return OpenAICompatible(**{"model": "m", "api_base": f"{url}/v1", **settings})


KINDS: dict[str, Callable[[str], AbstractProvider]] = {
    "argument": lambda url: asks_at(url, api_key=KEY),
    "stock client": lambda url: asks_at(url, api_key=KEY, http_client=stock()),
    "function": lambda url: asks_at(url, api_key=lambda: KEY),
    "coroutine": lambda url: asks_at(url, api_key=fetch_key),
    "environment": lambda url: Keyed(model="m", proxy=url),
    "login": lambda url: LogsIn(model="m", api_base=url),
    "header": lambda url: asks_at(url, headers={"X-Api-Key": KEY}),
    "cookie": lambda url: asks_at(url, headers={"Cookie": f"theme=dark; sid={KEY}"}),
    "query": lambda url: asks_at(url, api_endpoint=f"{url}/chat?key={quote(KEY, safe='')}"),
    "query, stock client": lambda url: asks_at(
        url, api_endpoint=f"{url}/chat?key={quote(KEY, safe='')}", http_client=stock()
    ),
    "userinfo": lambda url: asks_at(with_userinfo(url)),
    "userinfo, stock client": lambda url: asks_at(with_userinfo(url), http_client=stock()),
    "proxy": lambda url: asks_at("http://service.invalid", proxy=with_userinfo(url)),
}


# --- what is seen of a run ---


class Log(logging.Handler):
    """Keeps every record of every library."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[object] = []
        self.hears_httpx = True

    def emit(self, record: logging.LogRecord) -> None:
        if self.hears_httpx or not record.name.startswith(("httpx", "httpcore")):
            self.seen += [record.getMessage(), repr(record.args), *(record.exc_info or ())]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Log]:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MARKED_API_KEY", KEY)
    handler, root = Log(), logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("asyncio", "g4ftrio", "httpcore", "httpx", "websockets"))]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


async def raced(provider: AbstractProvider, timeout: Timeout, seen: list[object]) -> None:
    """Race it with one that has nothing to say, and keep what there is to see."""
    context = g4ftrio.race([provider, Scripted([])], QUESTION, timeout=timeout, on_event=seen.append)
    seen.append(context)
    try:
        async with context as stream:
            seen.append(stream)
            seen.append(await stream.collect())
    except Error as error:
        seen.append(error)
    report = context.report
    seen += [report, report.to_svg(), report.waterfall(), json.dumps(report.to_dict()), str(report)]


async def asked(provider: AbstractProvider, timeout: Timeout, seen: list[object]) -> None:
    """Ask it alone, and for its models."""
    try:
        seen.append(await provider.complete(QUESTION, timeout=timeout))
    except Error as error:
        seen.append(error)
    try:
        with anyio.move_on_after(timeout.first_chunk or 20):
            seen.append(await provider.list_models())
    except Error as error:
        seen.append(error)


async def leaks_of(kind: str, answer: str) -> tuple[list[str], list[str], list[object]]:
    """Everything in which the key is seen, what the service was sent, and what was looked at."""
    seen: list[object] = []
    timeout = SHORT if answer == "no answer" else PATIENT
    async with Listener(ANSWERS[answer]) as service:
        provider = KINDS[kind](service.address)
        try:
            seen.append(provider)
            await raced(provider, timeout, seen)
            if answer != "error as text":  # where nobody judges, it is the answer
                await asked(provider, timeout, seen)
        finally:
            if provider._client is not None:
                await provider._client.aclose()
    return MARK.shown_by(*seen), service.asked, seen


async def check(kind: str, answer: str, log: Log) -> None:
    log.hears_httpx = answer not in IN_THE_HEAD
    found, sent, seen = await leaks_of(kind, answer)
    found += MARK.shown_by(*log.seen)
    if answer == "error as text":  # what it wrote passes through frames; and who knows what is secret is another here
        found = [] if kind == "login" else [each for each in found if " in /" not in each]
    assert not found, f"{kind}, {answer}:\n" + "\n".join(found)
    assert any(MARK.is_in(each) or MARK.is_in(_told(each)) for each in sent), "the key was not sent at all"
    failed = [each for each in seen if isinstance(each, Error)]
    assert bool(failed) or answer == "whole"
    log.seen.clear()


# --- the tests ---


@pytest.mark.anyio
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_key_is_seen_nowhere_whatever_the_service_says(answer: str, log: Log) -> None:
    await check("argument", answer, log)
    if answer in BY_HTTPX:
        await check("stock client", answer, log)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("argument", "stock client")])
async def test_a_key_is_seen_nowhere_however_it_is_given(kind: str, log: Log) -> None:
    for answer in SOME:
        await check(kind, answer, log)


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_key_with_every_answer(kind: str, log: Log) -> None:
    for answer in ANSWERS:
        await check(kind, answer, log)


@pytest.mark.anyio
@pytest.mark.parametrize("answer", ["not http", "in an event"])
async def test_no_tool_prints_a_key_in_a_traceback(answer: str) -> None:
    async with Listener(ANSWERS[answer]) as service:
        provider = asks_at(service.address, api_key=KEY)
        with pytest.raises(Error) as caught:
            async with g4ftrio.race([provider], QUESTION) as stream:
                await stream.collect()
        for how, printed in tracebacks(caught.value):
            assert not MARK.is_in(printed), how
            assert type(caught.value).__name__ in printed


@pytest.mark.anyio
async def test_what_breaks_while_a_key_is_on_its_way_shows_no_key_in_its_frames() -> None:
    """Not an error of ours, whose frames are dropped, but whatever else may come: a fault here, Ctrl-C."""

    def fault(event: str) -> None:
        raise ZeroDivisionError(event)

    async with Listener(ANSWERS["whole"]) as service, g4ftrio.open_http_client() as client:
        provider = asks_at(service.address, api_key=KEY, http_client=client)

        async def broken(*_: object, **__: object) -> None:
            fault("send")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("g4ftrio.transports._exchange.Exchange._write", broken)
            with pytest.raises(ZeroDivisionError) as caught:
                await provider.complete(QUESTION)
    assert any(frame.name == "run" for frame in traceback.extract_tb(caught.value.__traceback__))  # deep inside
    assert not MARK.shown_by(caught.value)


@pytest.mark.anyio
async def test_a_service_that_cannot_be_reached_is_named_without_a_key(log: Log) -> None:
    async with Listener(ANSWERS["whole"]) as service:
        gone = service.address
    for kind in KINDS:
        seen: list[object] = []
        provider = KINDS[kind](gone)
        await raced(provider, PATIENT, seen)
        if provider._client is not None:
            await provider._client.aclose()
        assert any(isinstance(each, g4ftrio.AllFailed) for each in seen)
        assert not MARK.shown_by(provider, *seen, *log.seen), kind


@pytest.mark.anyio
async def test_tls_that_is_not_trusted_or_none_shows_no_key(log: Log) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Listener(ANSWERS["whole"], tls=context) as untrusted, Listener(ANSWERS["whole"]) as plain:
        for service in (untrusted, plain):
            seen: list[object] = []
            provider = asks_at(f"https://127.0.0.1:{service.port}", api_key=KEY)
            await raced(provider, Timeout(connect=0.2 if service is plain else 10), seen)
            assert any(isinstance(each, g4ftrio.AllFailed) for each in seen)
            assert not MARK.shown_by(*seen, *log.seen)
        assert not any(MARK.is_in(each) for each in (*untrusted.asked, *plain.asked))


@pytest.mark.anyio
async def test_all_wires_hide_the_key_in_all_faults(log: Log) -> None:
    seen: list[object] = []
    timeout = Timeout(connect=10, first_chunk=1, stall=0.5, idle=10)
    labels = {f"{label}-{fault}": (label, fault) for label in ALL for fault in FAULTS}
    services = [Service(name, dialect=label, fault=fault) for name, (label, fault) in labels.items()]
    log.hears_httpx = False
    async with serve(services) as fleet, anyio.create_task_group() as tasks:
        for name in labels:
            tasks.start_soon(asked, asking(fleet[name], api_key=KEY), timeout, seen)
    assert sum(isinstance(each, Error) for each in seen) > len(labels) / 2
    assert not MARK.shown_by(*seen, *log.seen)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    ["in base64", *(pytest.param(each, marks=pytest.mark.long) for each in ("in json", "as text", "as a code"))],
)
async def test_no_wire_repeats_a_key_that_a_service_repeats(answer: str, log: Log) -> None:
    async with Listener(ANSWERS[answer]) as service:
        for label in (*OVER_HTTP, *OVER_SOCKETS):
            seen: list[object] = []
            provider = known()[label](model="m", api_base=service.address, api_key=KEY)
            await raced(provider, PATIENT, seen)
            assert any(isinstance(each, g4ftrio.AllFailed) for each in seen)
            assert not MARK.shown_by(provider, *seen, *log.seen), label
        assert len(service.asked) == len(ALL)


class Browser:
    """A web browser that is logged in; its script engine may be broken."""

    def __init__(self, url: str, *, works: bool) -> None:
        self.current_url = url
        self._works = works

    def get(self, url: str) -> None: ...

    def get_cookies(self) -> list[dict[str, Any]]:
        return [{"name": "sid", "value": KEY}]

    def execute_script(self, script: str) -> str:
        if not self._works:
            raise OSError(script)
        return "A browser"


@pytest.mark.anyio
@pytest.mark.parametrize("works", [True, False])
async def test_a_cookie_of_a_web_browser_is_shown_nowhere(works: bool, log: Log) -> None:
    seen: list[object] = []
    async with Listener(ANSWERS["in base64"]) as service:
        provider = Aura(api_base=service.address, webdriver=Browser(service.address, works=works))
        await raced(provider, PATIENT, seen)
        assert [MARK.is_in(each) for each in service.asked] == [True] * works
    assert any(isinstance(each, g4ftrio.AllFailed) for each in seen)
    assert not MARK.shown_by(provider, *seen, *log.seen)


@pytest.mark.anyio
async def test_a_race_with_losers_and_a_failover_shows_no_key(log: Log) -> None:
    seen: list[object] = []
    answers = {"cut": "cut", "mute": "no answer", "good": "whole"}
    async with AsyncExitStack() as stack:
        services = {name: await stack.enter_async_context(Listener(ANSWERS[each])) for name, each in answers.items()}
        entrants = [asks_at(each.address, api_key=KEY, name=name) for name, each in services.items()]
        policy = g4ftrio.staggered(0.05)
        race = g4ftrio.Race(entrants, midstream="restart", on_event=seen.append, policy=policy)
        async with race as llm, llm.stream(QUESTION) as stream:
            seen += [llm, race, stream, await stream.collect(), stream.report]
    assert any(isinstance(each, g4ftrio.Event) and each.kind == "failover" for each in seen)
    assert not MARK.shown_by(*seen, *log.seen)


@pytest.mark.anyio
@pytest.mark.parametrize("given", [{"api_key": KEY}, {"headers": {"Authorization": f"Bearer {KEY}"}}])
async def test_a_wrong_set_up_shows_no_key_that_is_given_with_it(given: dict[str, Any]) -> None:
    def wrong() -> list[Callable[[], object]]:
        return [
            lambda: OpenAI(**given, modell="m"),
            lambda: OpenAI.create_async_generator("m", QUESTION, **given, temperatur=1),
            lambda: OpenAI(model="m", **given).stream(QUESTION, temperatur=1),  # type: ignore[call-arg]  # which is wrong
            lambda: OpenAI(model="m", api_base="ftp://x", **given).check_ready(),
            lambda: OpenAI(**given).which_model(""),
        ]

    for each in wrong():
        with pytest.raises((TypeError, SetupError)) as caught:
            each()
        assert not MARK.shown_by(caught.value)


@pytest.mark.parametrize(
    "address", ["ftp://u:{}@h/v1", "http://u:{}@h:port/v1", "u:{}@h", "http://u:{}@/", "nothing?key={}"]
)
def test_an_address_that_is_none_is_named_without_its_password(address: str) -> None:
    with pytest.raises(SetupError) as caught:
        OpenAICompatible(model="m", api_base=address.format(KEY)).check_ready()
    assert not MARK.shown_by(caught.value)
    with pytest.raises(SetupError) as caught:
        g4ftrio.open_http_client(warm={address.format(KEY): 1})
    assert not MARK.is_in(f"{caught.value} {caught.value!r}")


BREAKING = ("{}\n", "{}\r\nX-More: 1", "{}\0", "ключ{}", "{}\x7f")  # what no header can hold
SPACED = (" {}", "{} ", "two {}", "{}\t", "é{}")  # what no key has


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((kind, wrong) for kind in ("argument", "function", "environment") for wrong in (*BREAKING, *SPACED)),
        *(("header", wrong) for wrong in BREAKING),
    ],
)
async def test_a_key_that_is_none_is_refused_before_it_is_sent(
    kind: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "KEY", wrong.format(KEY))
    monkeypatch.setenv("MARKED_API_KEY", KEY.replace("\0", "\1"))  # no variable can hold that one
    async with Listener(ANSWERS["whole"]) as service:
        provider = KINDS[kind](service.address)
        with pytest.raises(SetupError) as caught:
            await provider.complete(QUESTION)
        assert service.asked == []
    assert "cannot be sent" in str(caught.value) or "Check api_key=" in str(caught.value)
    assert not MARK.shown_by(caught.value, provider)


# --- a key from the environment goes home, and nowhere else ---


@pytest.mark.anyio
async def test_a_key_from_the_environment_goes_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {label: cls for label, cls in known().items() if issubclass(cls, HttpProvider) and cls.key_variables}
    assert len(declared) > 20
    for cls in declared.values():
        for variable in cls.key_variables:
            monkeypatch.setenv(variable, KEY)
    async with Listener(ANSWERS["whole"]) as one, Listener(ANSWERS["in json"]) as two:
        for label, cls in declared.items():
            for service, address in (
                (one, one.address),
                (two, f"http://localhost:{two.port}"),
                (one, "http://other.invalid"),
            ):
                before = len(one.asked) + len(two.asked)
                proxy = service.address if address.endswith("invalid") else None
                provider = cls(model="m", api_base=address, proxy=proxy)
                await _tried(provider.complete(QUESTION, timeout=PATIENT))
                await _tried(_read(cls(proxy=proxy).create_async_generator("m", QUESTION, api_base=address)))
                await _tried(provider.list_models())
                assert len(one.asked) + len(two.asked) > before or cls.needs_auth, (label, address)
            for variable in cls.base_variables:
                monkeypatch.setenv(variable, one.address)
                await _tried(cls(model="m").complete(QUESTION, timeout=PATIENT))
                monkeypatch.delenv(variable)
        sent = [*one.asked, *two.asked]
        assert len(sent) > 2 * len(declared)
        assert not [each for each in sent if MARK.is_in(each)]


@pytest.mark.anyio
async def test_a_key_is_not_taken_along_by_a_redirect() -> None:
    async with Listener(ANSWERS["whole"]) as other, Listener(redirecting(lambda _: other.address)) as home:
        for kind in ("argument", "environment", "header", "cookie", "userinfo"):
            await _tried(KINDS[kind](home.address).complete(QUESTION))
        assert len(home.asked) == 5
        assert other.asked == []


@pytest.mark.anyio
async def test_a_bound_key_does_not_go_where_one_call_goes() -> None:
    async with Listener(ANSWERS["whole"]) as home, Listener(ANSWERS["whole"]) as other:
        for bound in (KINDS["argument"](home.address), KINDS["function"](home.address)):
            await _read(bound.create_async_generator("m", QUESTION, api_base=other.address))
            await _read(bound.create_async_generator("m", QUESTION))
        assert [MARK.is_in(each) for each in (*home.asked, *other.asked)] == [True, True, False, False]


async def _tried(asking: Any) -> None:
    with suppress(Error):
        await asking


async def _read(chunks: AsyncResult) -> None:
    try:
        async for _ in chunks:
            pass
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]  # it has one


# --- synchronous code, files, the command line ---


def holding_the_key(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and MARK.is_in(each.read_text())]


@pytest.fixture
def refuses() -> Iterator[Listener]:
    """A service, in a thread of its own, that refuses a key and repeats it."""
    service = Listener(ANSWERS["in json"])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(service):
        yield service


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_synchronous_forms_show_no_key(backend: Any, refuses: Listener, log: Log) -> None:
    provider = asks_at(refuses.address, api_key=KEY)
    asked: list[Callable[[], object]] = [
        lambda: provider.complete_sync(QUESTION, backend=backend),
        lambda: provider.stream_sync(QUESTION, backend=backend).__enter__(),
        lambda: list(provider.create_completion("m", QUESTION, backend=backend)),
        lambda: g4ftrio.race_sync([provider], QUESTION, backend=backend).__enter__(),
    ]
    for ask in asked:
        with pytest.raises(Error) as caught:
            ask()
        assert not MARK.shown_by(caught.value, provider)
    assert all(MARK.is_in(each) for each in refuses.asked)
    assert not MARK.shown_by(*log.seen)


@pytest.mark.anyio
async def test_a_login_is_kept_in_a_file_for_the_user_alone(tmp_path: Path) -> None:
    async with Listener(ANSWERS["whole"]) as service:
        provider = LogsIn(model="m", api_base=service.address)
        await provider.complete(QUESTION)
        path = provider.get_cache_file()
        assert MARK.is_in(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await provider.complete(QUESTION)
        assert len(service.asked) == 2
        assert not MARK.shown_by(provider)
    assert holding_the_key(tmp_path) == [path]


@pytest.fixture
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is piped into the command line."""
    monkeypatch.setattr(sys, "stdin", None)


@pytest.fixture
def by_proxy(monkeypatch: pytest.MonkeyPatch, refuses: Listener) -> None:
    """Both secrets in the environment: a key for a service, and the password of the proxy on the way."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://service.invalid/v1")
    monkeypatch.setenv("http_proxy", with_userinfo(refuses.address))
    monkeypatch.setenv("no_proxy", "")


COMMANDS = (
    "race Why? -p openai/m --report --plot {}/race.svg --state {}/state.json",
    "race Why? -p openai/m --json",
    "ask Why? -p openai/m -p openai/n --reasoning",
    "models openai",
    "models openai --json",
    "providers",
    "providers --json",
    "race --help",
    "race Why? -p openai/m -o api_key x",
    "bench -p openai/m --count 2 --jsonl {}/run.jsonl --html {}/run.html --csv {}/run.csv --json - --prompt-words 3",
    "bench report {}/run.jsonl",
)


@pytest.mark.usefixtures("by_proxy", "no_input")
def test_the_command_line_shows_no_key(
    tmp_path: Path, refuses: Listener, capsys: pytest.CaptureFixture[str], log: Log
) -> None:
    for command in COMMANDS:
        status = main(command.replace("{}", str(tmp_path)).split())
        out, err = capsys.readouterr()
        assert out or err, command
        assert not MARK.is_in(out + err), (command, status)
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert {each.name for each in files} >= {"race.svg", "run.jsonl"}
    assert holding_the_key(tmp_path) == []
    assert len(refuses.asked) >= 7
    assert all(MARK.is_in(each) for each in refuses.asked)
    assert not MARK.shown_by(*log.seen)


@pytest.mark.usefixtures("no_input")
def test_an_address_in_the_environment_is_listed_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", with_userinfo("https://gate.example/v1"))
    monkeypatch.setenv("G4FTRIO_PROVIDERS", f"openai-compatible@{with_userinfo('ftp://x')} ,")
    for command in ("providers", "providers --json", "race Why?"):
        main(command.split())
        assert not MARK.is_in("".join(capsys.readouterr()))


def test_no_option_takes_a_key() -> None:
    options = [(name, option) for name, command in cli.commands.items() for option in command.params]
    assert len(options) > 40
    names = {word for _, option in options for each in option.opts for word in each.strip("-").split("-")}
    assert not names & {"key", "api", "token", "secret", "password", "auth", "header", "headers", "proxy", "cookie"}
    assert not [option for _, option in options if option.envvar]


@pytest.mark.parametrize(
    "words",
    [
        ["race", "Why?", "-o", "extra_headers", json.dumps({"Authorization": KEY})],
        ["race", "Why?", "-p", f"openai/m@{with_userinfo('https://gate.example')}"],
        ["race", "Why?", "-p", f"openai/m@https://gate.example/v1?api_key={KEY}"],
        ["bench", "Why?", "--race", f"openai/m@{with_userinfo('https://gate.example')},openai/n"],
        ["models", f"openai/m@{with_userinfo('https://gate.example')}"],
    ],
)
def test_a_key_on_the_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "can be read by all users of this machine" in err
    assert not MARK.is_in(out + err)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="it reads what `ps` reads")
@pytest.mark.usefixtures("by_proxy")
def test_no_key_is_in_what_other_users_see_of_a_process(refuses: Listener) -> None:
    refuses._answer = ANSWERS["no answer"]
    command = [sys.executable, "-m", "g4ftrio", "race", "Why?", "-p", "openai/m", "--timeout", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            while not refuses.asked:
                sleep(0.01)
            assert MARK.is_in(refuses.asked[0])
            assert not MARK.is_in(Path(f"/proc/{process.pid}/cmdline").read_text())
            tasks = Path(f"/proc/{process.pid}/task").glob("*/comm")
            assert not any(MARK.is_in(each.read_text()) for each in tasks)
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
    assert not MARK.is_in(err.decode())


@pytest.mark.anyio
async def test_a_benchmark_writes_no_key(tmp_path: Path) -> None:
    async with Listener(ANSWERS["in json"]) as service:
        with bench.Writer(tmp_path / "run.jsonl") as writer:
            targets = {
                "a": asks_at(service.address, api_key=KEY),
                "b": asks_at(service.address, headers={"Cookie": KEY}),
            }
            params: Any = {"extra_headers": {"x-key": KEY}}
            run = await bench.run(targets, bench.Users(1), count=2, params=params, to=writer)
        assert len(service.asked) == 4
    assert [record.error for record in run.records] == ["AuthenticationError"] * 4
    assert not MARK.shown_by(
        run, bench.summarize(run), bench.page(run, bench.summarize(run)), (tmp_path / "run.jsonl").read_bytes()
    )


def test_a_key_is_masked_in_every_form_it_takes() -> None:
    assert not MARK.is_in(mask(f"who is {KEY}?", in_address(f"https://{quote(KEY, safe='')}@gate.example")))
    forms = (
        KEY,
        KEY.upper(),
        quote(KEY, safe=""),
        json.dumps(KEY),
        escape(KEY),
        _coded(f"user:{KEY}"),
        f"{KEY[:-4]} (cut)",
    )
    for form in forms:
        masked = mask(f"bad key {form}", [KEY])
        assert not MARK.is_in(masked), form
        assert masked.startswith("bad key "), form
