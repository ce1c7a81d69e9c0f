"""Providers that log in: every flow of a kept login, read from asynchronous and from synchronous code."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import anyio
import httpx
import pytest

import g4ftrio
from g4ftrio import AuthResult, Chunk, MissingAuthError, Notice, SetupError
from g4ftrio.base_provider import AsyncAuthedProvider, AsyncGeneratorProvider, AuthFileMixin
from g4ftrio.providers import OpenaiTemplate
from g4ftrio.testing import Scripted
from g4ftrio.typing import AsyncResult, Messages

Provider: TypeAlias = Any  # a class or an instance
WHY: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]
SECRET = "sk-never-to-be-shown"

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
however = pytest.mark.parametrize("how", ["async", "sync"])


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where logins are kept during a test."""
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def never_shown(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text


class Service(AsyncAuthedProvider):
    """Logs in for a new token each time, and answers who has one that is ``good``.

    :ivar events: what happened
    """

    good: ClassVar[Any]
    events: ClassVar[list[str]]

    async def on_auth_async(self, **kw: Any) -> AuthResult:
        self.events.append("log in")
        return AuthResult(token=f"{SECRET}-{self.events.count('log in')}")

    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        token = vars(auth_result)["token"].removeprefix(f"{SECRET}-")
        self.events.append(f"ask with {token}")
        if not self.good(token):
            raise MissingAuthError("it was refused")
        self.events.append(f"kept {kept(self)}")
        yield "a"
        self.events.append(f"kept {kept(self)}")
        yield "b"


def kept(provider: Provider) -> str | None:
    """The token in the file."""
    path = provider.get_cache_file()
    if not path.exists():
        return None
    token: str = json.loads(path.read_text())["auth"]["token"]
    return token.removeprefix(f"{SECRET}-")


def keep(provider: Provider, token: str) -> None:
    provider.write_cache_file(auth_result=AuthResult(token=f"{SECRET}-{token}"))


def service(good: Callable[[str], bool] = lambda token: True, base: type[Service] = Service) -> Any:
    """A class of its own for each test, so that nothing is left of the last one."""
    return type("Mine", (base,), {"good": staticmethod(good), "events": []})


async def ask(provider: Provider, how: str, **kw: Any) -> list[Chunk]:
    if how == "sync":
        return await anyio.to_thread.run_sync(lambda: list(provider.create_completion("m", WHY, **kw)))
    async with aclosing(provider.create_async_generator("m", WHY, **kw)) as chunks:
        return [chunk async for chunk in chunks]


# The flow.


@pytest.mark.anyio
@however
@pytest.mark.parametrize("on", ["class", "instance"])
async def test_without_a_kept_login_one_is_made_and_kept_once_the_first_chunk_proved_it(how: str, on: str) -> None:
    cls = service()
    assert await ask(cls if on == "class" else cls(model="m"), how) == ["a", "b"]
    assert cls.events == ["log in", "ask with 1", "kept None", "kept 1"]
    assert kept(cls) == "1"


@pytest.mark.anyio
@however
async def test_a_good_kept_login_is_used_and_not_written_again(how: str) -> None:
    cls = service()
    keep(cls, "old")
    before = cls.get_cache_file().stat()
    assert await ask(cls, how) == ["a", "b"]
    assert cls.events == ["ask with old", "kept old", "kept old"]
    after = cls.get_cache_file().stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.anyio
@however
async def test_the_login_that_one_request_made_serves_the_next(how: str) -> None:
    cls = service()
    await ask(cls, how)
    await ask(cls(model="another binding"), how)
    assert cls.events.count("log in") == 1


@pytest.mark.anyio
@however
@pytest.mark.parametrize(
    "broken",
    ['{"g4ftrio": 1, "auth": {"tok', "", "[]", '{"token": "x"}', "\x00\xff", '{"g4ftrio": 2, "auth": {"token": "x"}}'],
    ids=["torn", "empty", "no mapping", "foreign", "binary", "another version"],
)
async def test_a_broken_kept_login_is_dropped_and_asked_anew(how: str, broken: str) -> None:
    cls = service()
    keep(cls, "old")
    cls.get_cache_file().write_bytes(broken.encode("latin-1"))
    assert await ask(cls, how) == ["a", "b"]
    assert cls.events == ["log in", "ask with 1", "kept None", "kept 1"]


@pytest.mark.anyio
@however
async def test_a_kept_login_that_is_refused_before_the_first_chunk_is_dropped_and_asked_anew(how: str) -> None:
    cls = service(lambda token: token != "old")
    keep(cls, "old")
    assert await ask(cls, how) == ["a", "b"]
    assert cls.events == ["ask with old", "log in", "ask with 1", "kept None", "kept 1"]


class RefusedLater(Service):
    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        self.events.append("ask")
        yield "a"
        raise MissingAuthError("it was refused")


@pytest.mark.anyio
@however
async def test_a_kept_login_that_is_refused_after_a_chunk_is_an_error_and_nothing_is_said_twice(how: str) -> None:
    cls = service(base=RefusedLater)
    keep(cls, "old")
    with pytest.raises(MissingAuthError, match="it was refused"):
        await ask(cls, how)
    assert cls.events == ["ask"]


@pytest.mark.anyio
@however
async def test_a_new_login_that_is_refused_is_an_error_and_not_kept(how: str) -> None:
    cls = service(lambda token: False)
    keep(cls, "old")
    with pytest.raises(MissingAuthError, match="it was refused"):
        await ask(cls, how)
    assert cls.events == ["ask with old", "log in", "ask with 1"]
    assert kept(cls) is None


class Closed(Service):
    async def on_auth_async(self, **kw: Any) -> AuthResult:
        raise PermissionError("no entry")


@pytest.mark.anyio
@however
async def test_a_login_that_fails_is_an_error_of_its_own_and_nothing_is_asked(how: str) -> None:
    cls = service(lambda token: False, base=Closed)
    with pytest.raises(PermissionError, match="no entry"):
        await ask(cls, how)
    assert cls.events == []
    keep(cls, "old")
    with pytest.raises(PermissionError, match="no entry"):
        await ask(cls, how)
    assert (cls.events, kept(cls)) == (["ask with old"], None)


class Mute(Service):
    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        if messages is None:
            yield ""


@pytest.mark.anyio
@however
async def test_a_login_that_no_chunk_proved_is_not_kept(how: str) -> None:
    cls = service(base=Mute)
    assert await ask(cls, how) == []
    assert kept(cls) is None


class Broken(Service):
    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        self.events.append("ask")
        raise ValueError("a fault of its own")
        yield ""


@pytest.mark.anyio
@however
async def test_an_error_that_is_not_about_the_login_leaves_the_kept_one_alone(how: str) -> None:
    cls = service(base=Broken)
    keep(cls, "old")
    with pytest.raises(ValueError, match="a fault of its own"):
        await ask(cls, how)
    assert (cls.events, kept(cls)) == (["ask"], "old")


class Renewing(Service):
    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        auth_result.__dict__["token"] = f"{SECRET}-renewed"
        yield "a"


@pytest.mark.anyio
@however
async def test_a_kept_login_that_was_renewed_on_the_way_is_kept_anew(how: str) -> None:
    cls = service(base=Renewing)
    keep(cls, "old")
    assert await ask(cls, how) == ["a"]
    assert kept(cls) == "renewed"


@pytest.mark.anyio
@however
async def test_where_it_cannot_be_kept_the_answer_comes_all_the_same(
    how: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await anyio.Path(folder).write_text("a file in the folder's place")
    cls = service()
    assert await ask(cls, how) == ["a", "b"]
    assert "was not written" in caplog.text


@pytest.mark.anyio
async def test_every_door_goes_through_the_same_flow() -> None:
    cls = service(lambda token: token != "old")
    for door in (cls.create_async("m", WHY), cls.complete("Why?")):
        keep(cls, "old")
        answer: Any = await door
        assert getattr(answer, "text", answer) == "ab"
        assert kept(cls) == str(cls.events.count("log in"))
    keep(cls, "old")
    async with g4ftrio.race([cls], "Why?") as stream:
        whole = await stream.collect()
    assert (whole.text, kept(cls)) == ("ab", "3")


class ByHand(Service):
    """Keeps its login elsewhere."""

    def write_cache_file(self, cache_file: Path | None = None, auth_result: AuthResult | None = None) -> None:
        self.events.append(f"write {cache_file == self.get_cache_file()} {vars(auth_result)['token'][-1]}")


@pytest.mark.anyio
@however
async def test_an_overriding_write_cache_file_is_asked_once_to_keep_it(how: str) -> None:
    cls = service(base=ByHand)
    assert await ask(cls, how) == ["a", "b"]
    assert cls.events == ["log in", "ask with 1", "kept None", "write True 1", "kept None"]


class OverATemplate(Service, OpenaiTemplate):
    """Logs in for a key, with which the service behind the template is asked."""

    api_base = "https://service.example/v1"
    default_model = "m"

    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        key = vars(auth_result)["token"]
        answer = super(AsyncAuthedProvider, self).create_async_generator(model, messages, api_key=key)
        async with aclosing(answer):  # type: ignore[type-var]  # it has aclose()
            async for chunk in answer:
                yield chunk


@pytest.mark.anyio
@however
async def test_a_login_in_front_of_a_declared_provider_goes_before_every_answer(how: str) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["authorization"])
        return httpx.Response(200, json={"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]})

    keys: list[str] = []
    cls = service(base=OverATemplate)
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        if how == "sync":
            chunks = await anyio.to_thread.run_sync(lambda: list(cls(http_client=client).create_completion("m", WHY)))
            assert "".join(map(str, chunks)) == "Hi."
        else:
            assert (await cls(http_client=client).complete("Why?")).text == "Hi."
    assert keys == [f"Bearer {SECRET}-1"]
    assert kept(cls) == "1"


# The ways to write the login.


class Linking(Service):
    async def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        self.events.append("link")
        yield "open https://login.example"
        self.events.append("log in")
        yield AuthResult(token=f"{SECRET}-1")


class LinkingByClass(Service):
    @classmethod
    async def on_auth_async(cls, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        yield "open https://login.example"
        yield AuthResult(token=f"{SECRET}-1")


class LinkingStatic(Service):
    @staticmethod
    async def on_auth_async(**kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        yield "open https://login.example"
        yield AuthResult(token=f"{SECRET}-1")


class CoroutineByClass(Service):
    @classmethod
    async def on_auth_async(cls, **kw: Any) -> AuthResult:
        return AuthResult(token=f"{SECRET}-1")


class CoroutineStatic(Service):
    @staticmethod
    async def on_auth_async(**kw: Any) -> AuthResult:
        return AuthResult(token=f"{SECRET}-1")


class Steps(AsyncIterator[Chunk]):
    """An iterator that cannot be closed."""

    def __init__(self, *steps: Chunk) -> None:
        self.steps = list(steps)

    async def __anext__(self) -> Chunk:
        if not self.steps:
            raise StopAsyncIteration
        return self.steps.pop(0)


class ByIterators(Service):
    def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        return Steps("open https://login.example", AuthResult(token=f"{SECRET}-1"))

    def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        return Steps("a", "b")


@pytest.mark.anyio
@however
@pytest.mark.parametrize("base", [Linking, LinkingByClass, LinkingStatic, ByIterators])
async def test_the_chunks_of_a_login_come_to_the_user_before_the_answer_and_its_result_does_not(
    how: str, base: type[Service]
) -> None:
    cls = service(base=base)
    assert await ask(cls, how) == [Notice("open https://login.example"), "a", "b"]
    assert kept(cls) == "1"
    assert await ask(cls, how) == ["a", "b"]


class Waiting(Service):
    async def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        yield "open https://login.example"
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_a_login_link_wins_no_race() -> None:
    async with g4ftrio.race([service(base=Waiting), Scripted("x", delay=0.05, name="other")], "Why?") as stream:
        assert (await stream.collect()).text == "x"
    assert stream.winner == "other"


@pytest.mark.anyio
@however
@pytest.mark.parametrize("base", [CoroutineByClass, CoroutineStatic])
async def test_a_login_may_be_a_coroutine_in_whatever_form(how: str, base: type[Service]) -> None:
    cls = service(base=base)
    assert await ask(cls, how) == ["a", "b"]
    assert kept(cls) == "1"


class Undecided(Service):
    async def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        yield "never mind"


class Twice(Service):
    async def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
        yield AuthResult(token=f"{SECRET}-1")
        yield AuthResult(token=f"{SECRET}-2")


@pytest.mark.anyio
@however
async def test_a_login_that_ends_without_a_result_is_an_error_and_nothing_is_asked(how: str) -> None:
    cls = service(base=Undecided)
    with pytest.raises(MissingAuthError, match="on_auth_async gave no AuthResult"):
        await ask(cls, how)
    assert cls.events == []


@pytest.mark.anyio
@however
async def test_of_several_results_the_last_counts(how: str) -> None:
    cls = service(base=Twice)
    await ask(cls, how)
    assert kept(cls) == "2"


class Told(Service):
    async def on_auth_async(self, proxy: str | None = None, **kw: Any) -> AuthResult:
        self.events.append(f"{proxy} {kw.get('flavour')} {kw.get('top_k')}")
        return AuthResult(token=f"{SECRET}-1")


@pytest.mark.anyio
@however
async def test_the_login_gets_what_the_call_and_the_binding_say(how: str) -> None:
    cls = service(base=Told)
    await ask(cls(proxy="http://127.0.0.1:1", top_k=3), how, flavour="lemon")
    assert cls.events[0] == "http://127.0.0.1:1 lemon 3"


# on_auth


@pytest.mark.parametrize("on", ["class", "instance"])
def test_on_auth_is_the_synchronous_form_of_a_login_that_is_a_coroutine(on: str) -> None:
    cls = service()
    [login] = (cls if on == "class" else cls()).on_auth()
    assert vars(login) == {"token": f"{SECRET}-1"}
    assert kept(cls) is None


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_on_auth_is_the_synchronous_form_of_a_login_that_speaks_to_the_user(backend: str) -> None:
    cls = service(base=Linking)
    said = cls.on_auth(backend=backend)
    assert next(said) == "open https://login.example"
    assert isinstance(next(said), AuthResult)
    assert list(said) == []


def test_on_auth_sends_nothing_before_it_is_read_and_gets_what_is_bound() -> None:
    cls = service(base=Told)
    login = cls(top_k=3).on_auth(flavour="lemon")
    assert cls.events == []
    list(login)
    assert cls.events == ["None lemon 3"]


# The default: a key.


class Keyed(AsyncAuthedProvider):
    async def create_authed(
        self, model: str, messages: Messages, auth_result: AuthResult, api_key: str | None = None, **kw: Any
    ) -> AsyncResult:
        yield vars(auth_result)["api_key"].removeprefix(SECRET)


@pytest.mark.anyio
@however
async def test_by_default_a_login_wants_a_key_and_nothing_is_asked_without(how: str) -> None:
    with pytest.raises(MissingAuthError, match=r"keyed: there is no API key\. Pass api_key=\.") as caught:
        await ask(Keyed, how)
    assert isinstance(caught.value, SetupError)
    with pytest.raises(MissingAuthError):
        await ask(Keyed, how, api_key="")


@pytest.mark.anyio
async def test_on_auth_async_by_default_raises_without_a_key_and_gives_it_back_with_one() -> None:
    with pytest.raises(MissingAuthError):
        await Keyed.on_auth_async()
    assert vars(await Keyed.on_auth_async(api_key="k")) == {"api_key": "k"}
    assert vars(await Keyed(api_key="bound").on_auth_async(api_key="k")) == {"api_key": "k"}


def test_on_auth_by_default_raises_without_a_key_and_gives_it_back_with_one() -> None:
    with pytest.raises(MissingAuthError):
        list(Keyed.on_auth())
    assert [vars(login) for login in Keyed.on_auth(api_key="k")] == [{"api_key": "k"}]
    assert [vars(login) for login in Keyed(api_key="bound").on_auth()] == [{"api_key": "bound"}]


@pytest.mark.anyio
@however
async def test_a_key_that_was_proved_need_not_be_given_again(how: str) -> None:
    assert await ask(Keyed, how, api_key=f"{SECRET}1") == ["1"]
    assert await ask(Keyed, how) == ["1"]
    assert await ask(Keyed, how, api_key=f"{SECRET}1") == ["1"]


@pytest.mark.anyio
@however
async def test_another_key_than_the_kept_one_is_not_ignored_and_takes_its_place(how: str) -> None:
    await ask(Keyed, how, api_key=f"{SECRET}1")
    assert await ask(Keyed, how, api_key=f"{SECRET}2") == ["2"]
    assert await ask(Keyed(api_key=f"{SECRET}3"), how) == ["3"]
    assert await ask(Keyed, how) == ["3"]


class Declaring(Keyed):
    api_key: str | None = None


class WithItsOwn(Keyed):
    api_key = f"{SECRET}own"


@pytest.mark.anyio
@however
async def test_a_key_counts_also_where_the_class_declares_it(how: str) -> None:
    with pytest.raises(MissingAuthError):
        await ask(Declaring, how)
    assert await ask(Declaring(api_key=f"{SECRET}1"), how) == ["1"]
    assert await ask(Declaring(api_key=f"{SECRET}2"), how) == ["2"]
    assert await ask(Declaring, how) == ["2"]
    assert await ask(WithItsOwn, how) == ["own"]
    assert await ask(WithItsOwn(api_key=f"{SECRET}1"), how) == ["1"]
    assert await ask(WithItsOwn, how) == ["own"]


# The file.


class Parented(Service):
    parent = "Family"


class Sibling(Service):
    parent = "Family"


class OnlyMixin(AsyncGeneratorProvider, AuthFileMixin):
    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        yield ""


def test_the_file_is_named_after_the_parent_or_the_class_in_the_folder_of_the_environment(folder: Path) -> None:
    assert Service.get_cache_file() == Service().get_cache_file() == folder / "auth_Service.json"
    assert Parented.get_cache_file() == Sibling().get_cache_file() == folder / "auth_Family.json"
    assert OnlyMixin.get_cache_file() == OnlyMixin(model="m").get_cache_file() == folder / "auth_OnlyMixin.json"
    assert type("Child", (Service,), {}).get_cache_file() == folder / "auth_Child.json"  # type: ignore[attr-defined]  # a class made here


def test_the_folder_is_else_the_platform_s_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    from platformdirs import user_cache_path

    monkeypatch.delenv("G4FTRIO_CACHE_DIR")
    assert Service.get_cache_file() == user_cache_path("g4ftrio", appauthor=False) / "auth_Service.json"


@pytest.mark.anyio
async def test_providers_of_one_parent_share_their_login() -> None:
    one, other = service(base=Parented), service(base=Sibling)
    await ask(one, "async")
    await ask(other, "async")
    assert (one.events.count("log in"), other.events.count("log in")) == (1, 0)


@posix_only
@pytest.mark.anyio
@however
async def test_the_file_is_for_the_user_alone_in_a_folder_for_the_user_alone(how: str, folder: Path) -> None:
    cls = service()
    before = os.umask(0)
    try:
        await ask(cls, how)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((await anyio.Path(path).stat()).st_mode) for path in (cls.get_cache_file(), folder)]
    assert modes == [0o600, 0o700]


@pytest.mark.parametrize("on", ["class", "instance"])
def test_write_cache_file_keeps_a_login_and_forgets_it_without_one(on: str, tmp_path: Path) -> None:
    cls = service()
    provider = cls if on == "class" else cls()
    login = AuthResult(token=f"{SECRET}-x")
    provider.write_cache_file(provider.get_cache_file(), login)
    assert kept(provider) == "x"
    provider.write_cache_file(provider.get_cache_file())
    assert kept(provider) is None
    provider.write_cache_file(tmp_path / "elsewhere.json", login)
    assert SECRET in (tmp_path / "elsewhere.json").read_text()
    assert kept(provider) is None


PROCESS = """
import sys
import anyio
from g4ftrio import AuthResult, MissingAuthError
from g4ftrio.base_provider import AsyncAuthedProvider

mine = sys.argv[1]
WHY = [{"role": "user", "content": "Why?"}]

class Shared(AsyncAuthedProvider):
    async def on_auth_async(self, **kw):
        return AuthResult(token=mine, padding="x" * 50_000)

    async def create_authed(self, model, messages, auth_result, **kw):
        assert len(auth_result.padding) == 50_000
        if auth_result.token != mine:  # the other process's: refused, so each drops what the other has kept
            raise MissingAuthError("it is not mine")
        yield "ok"

print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    assert list(Shared.create_completion("m", WHY)) == ["ok"]
    backend = ("trio", "asyncio")[number % 2]
    assert anyio.run(Shared.create_async, "m", WHY, backend=backend) == "ok"
"""


def test_two_processes_at_once_that_drop_each_other_s_login_do_not_break_it(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PROCESS]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both: list[Any] = [subprocess.Popen([*command, name], **pipes) for name in ("one", "two")]
    try:
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.write("go\n")
            process.stdin.flush()
        errors = [process.communicate(timeout=60)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert ([process.returncode for process in both], errors) == ([0, 0], ["", ""])
    whole = json.loads((folder / "auth_Shared.json").read_text())
    assert whole["auth"]["token"] in ("one", "two")
    assert {path.name for path in folder.iterdir()} <= {"auth_Shared.json", "auth_Shared.json.lock"}


# What is never shown.


@pytest.mark.anyio
@however
async def test_a_key_is_in_no_error_repr_or_log_of_a_refused_login(how: str, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Keyed):
        async def create_authed(
            self, model: str, messages: Messages, auth_result: AuthResult, api_key: str | None = None, **kw: Any
        ) -> AsyncResult:
            assert SECRET not in f"{auth_result!r} {auth_result}"
            raise MissingAuthError("it was refused")
            yield ""

    Refusing.write_cache_file(auth_result=AuthResult(api_key=SECRET))
    for provider, kw in ((Refusing, {"api_key": SECRET}), (Refusing(api_key=SECRET), {})):
        with pytest.raises(MissingAuthError) as caught:
            await ask(provider, how, **kw)
        assert SECRET not in f"{caught.value!r} {caught.value} {provider!r}"
    assert SECRET not in caplog.text


def test_an_auth_result_shows_names_and_no_values() -> None:
    assert repr(AuthResult(api_key=SECRET, cookies={"sid": SECRET})) == "AuthResult(api_key=***, cookies=***)"
    assert str(AuthResult(api_key=SECRET)) == ""


# Cancelled, or left early.


def leaving(ended: list[str], *, at: str, wait: Callable[[], Awaitable[None]] = anyio.sleep_forever) -> Any:
    """A service that waits at one place, for ever if not told otherwise, and notes where it was left."""

    class Waiting(AsyncAuthedProvider):
        async def on_auth_async(self, **kw: Any) -> AsyncIterator[Chunk]:  # type: ignore[override]  # the other form
            try:
                yield "link"
                if at == "login":
                    await wait()
                yield AuthResult(token="t")
            finally:
                ended.append("login")

        async def create_authed(
            self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any
        ) -> AsyncResult:
            try:
                yield "a"
                await wait()
            finally:
                ended.append("answer")

    return Waiting


@pytest.mark.anyio
@pytest.mark.parametrize(("at", "ends"), [("login", ["login"]), ("answer", ["login", "answer"])])
async def test_a_cancellation_closes_the_login_or_the_answer_and_keeps_only_what_was_proved(
    at: str, ends: list[str]
) -> None:
    async def wait() -> None:
        scope.cancel()
        await anyio.sleep_forever()

    ended: list[str] = []
    cls = leaving(ended, at=at, wait=wait)
    got: list[Chunk] = []
    with anyio.CancelScope() as scope:
        async with aclosing(cls.create_async_generator("m", WHY)) as chunks:
            while True:
                got.append(await anext(chunks))
    assert scope.cancelled_caught
    assert (got, ended) == ([Notice("link"), "a"][: len(ends)], ends)
    assert cls.get_cache_file().exists() is (at == "answer")


@pytest.mark.anyio
@pytest.mark.parametrize(("chunks", "ends"), [(1, ["login"]), (2, ["login", "answer"])])
async def test_left_early_the_login_or_the_answer_is_closed(chunks: int, ends: list[str]) -> None:
    ended: list[str] = []
    async with aclosing(leaving(ended, at="answer").create_async_generator("m", WHY)) as answer:
        for _ in range(chunks):
            await anext(answer)
    assert ended == ends


@pytest.mark.parametrize(("chunks", "ends"), [(1, ["login"]), (2, ["login", "answer"])])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_left_early_from_synchronous_code_the_login_or_the_answer_is_closed(
    chunks: int, ends: list[str], backend: str
) -> None:
    ended: list[str] = []
    answer = leaving(ended, at="login" if chunks == 1 else "answer").create_completion("m", WHY, backend=backend)
    for _ in range(chunks):
        next(answer)
    answer.close()
    assert ended == ends


@pytest.mark.anyio
async def test_a_race_that_is_won_by_another_cancels_a_login() -> None:
    class Quick(AsyncGeneratorProvider):
        async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
            await began.wait()
            yield "quick"

    class LoggingIn(AsyncAuthedProvider):
        async def on_auth_async(self, **kw: Any) -> AuthResult:
            try:
                began.set()
                await anyio.sleep_forever()
            finally:
                ended.append("login")
            raise AssertionError

        async def create_authed(
            self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any
        ) -> AsyncResult:
            yield "never"

    began, ended = anyio.Event(), list[str]()
    async with g4ftrio.race([LoggingIn, Quick], "Why?") as stream:
        whole = await stream.collect()
    assert (whole.text, ended) == ("quick", ["login"])
    assert not LoggingIn.get_cache_file().exists()
