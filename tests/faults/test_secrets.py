"""A key is seen nowhere but in the request to the service that it is for.

A marked key is given in each of the ways there are (``KINDS``) to a service that does to it what it wants (``ANSWERS``,
most of which repeat all that they were sent, in many encodings). Then ``Mark`` walks over everything that came of it:
error, stream, completion, report and its drawings, events, the provider itself, every log record of every library at
DEBUG, output and files. Read what ``g4ftrio/_secrets.py`` promises, and ``tests/faults/marks.py`` for what is looked at.

Short: every answer for a key over our own transport and over httpx's, every kind with some of the answers, all wires
with all faults of the simulator, every declared provider with a key in the environment, the synchronous forms, the
command line and its processes. Long: every kind with every answer.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import click
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

import g4ftrio
from g4ftrio import AuthResult, Error, Event, SetupError, Timeout, bench
from g4ftrio._secrets import mask
from g4ftrio.base_provider import AbstractProvider, AsyncAuthedProvider
from g4ftrio.cli import main
from g4ftrio.cli._commands import cli
from g4ftrio.providers import HttpProvider, OpenAI, OpenAICompatible, known
from g4ftrio.simulator import FAULTS, Service, serve
from g4ftrio.testing import Scripted
from g4ftrio.typing import AsyncResult, Messages
from tests.faults.marks import Mark
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
    "escaped": refusing(lambda said: in_json("").replace(b"unknown: ", "".join(f"\\u{ord(c):04x}" for c in said).encode())),
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
SOME = ("whole", "in json", "in base64", "in a url", "not http", "at a user's", "in an event", "error as text")


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
        service = OpenAICompatible(model="m", api_base=self.api_base, api_key=auth_result.api_key)
        async with service.stream(messages) as stream:
            async for chunk in stream:
                yield chunk


async def fetch_key() -> str:
    return KEY


def with_userinfo(url: str) -> str:
    return url.replace("//", f"//user:{quote(KEY, safe='')}@")


def asks_at(url: str, **settings: Any) -> HttpProvider:
    return OpenAICompatible(**{"model": "m", "api_base": f"{url}/v1", **settings})


KINDS: dict[str, Callable[[str], AbstractProvider]] = {
    "argument": lambda url: asks_at(url, api_key=KEY),
    "stock client": lambda url: asks_at(url, api_key=KEY, http_client=httpx.AsyncClient()),
    "function": lambda url: asks_at(url, api_key=lambda: KEY),
    "coroutine": lambda url: asks_at(url, api_key=fetch_key),
    "environment": lambda url: Keyed(model="m", proxy=url),
    "login": lambda url: LogsIn(model="m", api_base=url),
    "header": lambda url: asks_at(url, headers={"X-Api-Key": KEY}),
    "cookie": lambda url: asks_at(url, headers={"Cookie": f"theme=dark; sid={KEY}"}),
    "query": lambda url: asks_at(url, api_endpoint=f"{url}/chat?key={quote(KEY, safe='')}"),
    "query, stock client": lambda url: asks_at(
        url, api_endpoint=f"{url}/chat?key={quote(KEY, safe='')}", http_client=httpx.AsyncClient()
    ),
    "userinfo": lambda url: asks_at(with_userinfo(url)),
    "userinfo, stock client": lambda url: asks_at(with_userinfo(url), http_client=httpx.AsyncClient()),
    "proxy": lambda url: asks_at("http://service.invalid", proxy=with_userinfo(url)),
}


# --- what is seen of a run ---


class Log(logging.Handler):
    """Keeps every record of every library."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += [record.getMessage(), record.args, *(record.exc_info or ())]


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
            await asked(provider, timeout, seen)
        finally:
            if provider._client is not None:
                await provider._client.aclose()
    return MARK.shown_by(*seen), service.asked, seen


async def check(kind: str, answer: str, log: Log) -> None:
    found, sent, seen = await leaks_of(kind, answer)
    found += MARK.shown_by(*log.seen)
    assert not found, f"{kind}, {answer}:\n" + "\n".join(found)
    assert any(MARK.is_in(each) or MARK.is_in(_told(each)) for each in sent), "the key was not sent at all"
    failed = [each for each in seen if isinstance(each, Error)]
    assert bool(failed) or answer == "whole"
    log.seen.clear()


# --- the tests ---


@pytest.mark.anyio
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_key_is_seen_nowhere_whatever_the_service_says(answer: str, log: Log) -> None:
    for kind in ("argument", "stock client"):
        await check(kind, answer, log)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("argument", "stock client")])
async def test_a_key_is_seen_nowhere_however_it_is_given(kind: str, log: Log) -> None:
    for answer in SOME:
        await check(kind, answer, log)
