from __future__ import annotations

import asyncio
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest
from rich.pretty import pretty_repr

from g4ftrio._browser import BrowserSession, WebDriver, read_session
from g4ftrio._errors import APIConnectionError, ProviderError, describe, mask

SITE = "https://chat.example.com"
SECRET = "c00kie-never-to-be-shown"


def cookie(name: str = "sid", value: str = SECRET, domain: str = "chat.example.com", **more: object) -> dict[str, Any]:
    """A cookie as a driver words it."""
    return {"name": name, "value": value, "domain": domain, "path": "/", "secure": False, "httpOnly": True, **more}


class Scripted:
    """A driver that notes what is asked of it, and by which thread; what it is at can be held up."""

    def __init__(self, at: str = f"{SITE}/", cookies: object = (), agent: object = "Agent/1.0 (X11; Linux)") -> None:
        self.at = at
        self.cookies = cookies
        self.agent = agent
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.errors: dict[str, Exception] = {}
        self.under_way = 0
        self.most_at_once = 0
        self.free = threading.Event()
        self.free.set()
        self.held = threading.Event()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        if name != "current_url":
            self.held.set()
            assert self.free.wait(10)
        self.under_way -= 1
        if name in self.errors:
            raise self.errors[name]

    @property
    def current_url(self) -> str:
        self._called("current_url")
        return self.at

    def get(self, url: str) -> None:
        self._called(f"get {url}")
        self.at = url

    def get_cookies(self) -> Any:
        self._called("get_cookies")
        return [*self.cookies] if isinstance(self.cookies, tuple | list) else self.cookies

    def execute_script(self, script: str) -> object:
        self._called(script)
        return self.agent


AGENT = "return navigator.userAgent"


def read(driver: WebDriver, url: str = f"{SITE}/", backend: str = "asyncio") -> BrowserSession:
    return anyio.run(read_session, driver, url, backend=backend)


# What is read.


@pytest.mark.anyio
async def test_a_session_is_the_user_agent_and_the_cookies() -> None:
    driver = Scripted(cookies=[cookie(), cookie("theme", "dark")])
    session = await read_session(driver, f"{SITE}/api/chat")
    assert session.headers == {"User-Agent": "Agent/1.0 (X11; Linux)", "Cookie": f"sid={SECRET}; theme=dark"}
    assert session.secrets == (f"sid={SECRET}; theme=dark", SECRET, "dark")


@pytest.mark.anyio
async def test_without_cookies_there_is_the_user_agent() -> None:
    session = await read_session(Scripted(), SITE)
    assert session == BrowserSession({"User-Agent": "Agent/1.0 (X11; Linux)"}, ())


@pytest.mark.parametrize("agent", [None, 5, "", "Agent\r\nX-Other: 1", "Agent\x00", "Agent é"])
def test_what_is_no_user_agent_is_left_out(agent: object) -> None:
    assert read(Scripted(agent=agent)) == BrowserSession({}, ())


@pytest.mark.parametrize(
    ("at", "goes"),
    [
        (f"{SITE}/", False),
        (f"{SITE}/another?page#here", False),
        (f"{SITE}:443/", False),
        ("HTTPS://Chat.Example.com", False),
        (f"{SITE}:8443/", True),
        ("http://chat.example.com/", True),
        ("https://example.com/", True),
        ("https://chat.example.com.evil.net/", True),
        ("https://chat.example.com@evil.net/", True),
        ("about:blank", True),
        ("data:,", True),
        ("", True),
        ("https://[broken/", True),
        ("https://chat.example.com:port/", True),
    ],
)
def test_a_browser_that_is_elsewhere_goes_to_the_service(at: str, goes: bool) -> None:
    driver = Scripted(at=at, cookies=[cookie()])
    assert read(driver, f"{SITE}/").headers["Cookie"] == f"sid={SECRET}"
    gone = [f"get {SITE}/"] if goes else []
    assert driver.calls == ["current_url", *gone, "get_cookies", AGENT, "current_url"]


# Which cookies, as a browser chooses them: RFC 6265, sections 5.1.3, 5.1.4 and 5.4.


@pytest.mark.parametrize(
    ("url", "given", "sent"),
    [
        ("https://chat.example.com/", {"domain": "chat.example.com"}, True),
        ("https://chat.example.com/", {"domain": "CHAT.example.com"}, True),
        ("https://CHAT.example.com/", {"domain": "chat.example.com"}, True),
        ("https://chat.example.com/", {"domain": ".chat.example.com"}, True),
        ("https://chat.example.com/", {"domain": ".example.com"}, True),
        ("https://chat.example.com/", {"domain": ".com"}, True),  # which no browser would have taken
        ("https://chat.example.com/", {"domain": "example.com"}, False),  # for that host alone
        ("https://chat.example.com/", {"domain": "a.chat.example.com"}, False),
        ("https://chat.example.com/", {"domain": ".a.chat.example.com"}, False),
        ("https://chat.example.com/", {"domain": ".ample.com"}, False),
        ("https://chat.example.com/", {"domain": "evil.net"}, False),
        ("https://chat.example.com/", {"domain": "."}, False),
        ("https://chat.example.com/", {"domain": ""}, True),  # the page's own
        ("http://127.0.0.1:8000/", {"domain": "127.0.0.1"}, True),
        ("http://127.0.0.1:8000/", {"domain": ".127.0.0.1"}, True),
        ("http://127.0.0.1:8000/", {"domain": ".0.0.1"}, False),
        ("http://[::1]/", {"domain": "[::1]"}, True),
        ("http://[::1]/", {"domain": "::1"}, True),
        ("https://chat.example.com", {"path": "/"}, True),
        ("https://chat.example.com/api/chat", {"path": "/"}, True),
        ("https://chat.example.com/api/chat", {"path": ""}, True),
        ("https://chat.example.com/api/chat", {"path": "/api"}, True),
        ("https://chat.example.com/api/chat", {"path": "/api/"}, True),
        ("https://chat.example.com/api/chat", {"path": "/api/chat"}, True),
        ("https://chat.example.com/api/chat?x=/api/chat/y", {"path": "/api/chat/y"}, False),
        ("https://chat.example.com/api", {"path": "/api/"}, False),
        ("https://chat.example.com/apis", {"path": "/api"}, False),
        ("https://chat.example.com/", {"path": "/api"}, False),
        ("https://chat.example.com/", {"secure": True}, True),
        ("http://chat.example.com/", {"secure": True}, False),
        ("http://localhost/", {"secure": True, "domain": "localhost"}, True),
        ("http://a.localhost/", {"secure": True, "domain": "a.localhost"}, True),
        ("http://127.0.0.1/", {"secure": True, "domain": "127.0.0.1"}, True),
        ("http://[::1]/", {"secure": True, "domain": "[::1]"}, True),
        ("http://127.evil.net/", {"secure": True, "domain": "127.evil.net"}, False),
        ("http://notlocalhost/", {"secure": True, "domain": "notlocalhost"}, False),
        ("https://chat.example.com/", {"expiry": time.time() + 3600}, True),
        ("https://chat.example.com/", {"expiry": int(time.time()) + 3600}, True),
        ("https://chat.example.com/", {"expiry": time.time() - 1}, False),
        ("https://chat.example.com/", {"expiry": 0}, False),
        ("https://chat.example.com/", {"expiry": None}, True),
        ("https://chat.example.com/", {"sameSite": "Strict"}, True),
    ],
)
def test_the_cookies_are_those_that_a_browser_would_send(url: str, given: dict[str, Any], sent: bool) -> None:
    session = read(Scripted(at=url, cookies=[cookie(**given)]), url)
    assert session.headers.get("Cookie") == (f"sid={SECRET}" if sent else None)
    assert session.secrets == ((f"sid={SECRET}", SECRET) if sent else ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sid", "a\r\nX-Other: 1"),
        ("sid", "a\nb"),
        ("sid", "a\rb"),
        ("sid", "a; other=b"),
        ("sid", "a\x00b"),
        ("sid", "a\tb"),
        ("sid", "a\x7fb"),
        ("sid", "é"),
        ("s;id", "a"),
        ("s\r\nid", "a"),
        ("s=id", "a"),
    ],
)
def test_what_would_be_more_than_a_cookie_is_left_out(name: str, value: str) -> None:
    session = read(Scripted(cookies=[cookie(name, value), cookie("good", "1")]))
    assert session.headers["Cookie"] == "good=1"


def test_odd_characters_that_a_cookie_may_hold_are_kept() -> None:
    session = read(Scripted(cookies=[cookie("a", '"x=y, z"'), cookie("b", ""), cookie("", "nameless")]))
    assert session.headers["Cookie"] == 'a="x=y, z"; b=; nameless'
    assert session.secrets[1:] == ('"x=y, z"', "nameless")


def test_longer_paths_come_first_and_else_the_drivers_order_stays() -> None:
    paths = {"a": "/", "b": "/api", "c": "/", "d": "/api/chat", "e": "/api"}
    cookies = [cookie(name, "1", path=path) for name, path in paths.items()]
    session = read(Scripted(cookies=cookies), f"{SITE}/api/chat")
    assert session.headers["Cookie"] == "d=1; b=1; e=1; a=1; c=1"


def test_a_browser_that_the_service_sent_elsewhere_keeps_the_others_cookies_to_itself() -> None:
    class Redirected(Scripted):
        def get(self, url: str) -> None:
            super().get("https://login.example.net/")

    session = read(Redirected(at="about:blank", cookies=[cookie(domain=""), cookie(domain="login.example.net")]))
    assert "Cookie" not in session.headers


# What must not show.


def test_no_value_shows() -> None:
    session = read(Scripted(cookies=[cookie()]))
    assert repr(session) == "BrowserSession(User-Agent: ***, Cookie: ***)"
    assert pretty_repr(session) == "BrowserSession(User-Agent='***', Cookie='***')"
    assert mask(f"the service said: bad cookie {SECRET}", session.secrets) == "the service said: bad cookie ***"
    assert mask(f"the service said: sid={SECRET}", session.secrets) == "the service said: ***"


@pytest.mark.anyio
@pytest.mark.parametrize("failing", ["current_url", f"get {SITE}/", "get_cookies", AGENT])
async def test_a_driver_that_fails_is_an_error_that_says_what_to_do(failing: str) -> None:
    driver = Scripted(at="about:blank", cookies=[cookie()])
    error = driver.errors[failing] = LookupError(f"the session {SECRET} is gone")
    with pytest.raises(APIConnectionError) as raised:
        await read_session(driver, f"{SITE}/")
    assert isinstance(raised.value, ProviderError)
    assert raised.value.__cause__ is error
    assert describe(raised.value) == (
        "the connection failed: the web browser could not be read (LookupError)."
        " See that it still runs and opens the service's page, or pass another webdriver="
    )


@pytest.mark.parametrize("cookies", [None, SECRET, [SECRET], [{"name": SECRET}], [{"name": "a", "value": 5}]], ids=str)
def test_an_answer_that_is_not_webdrivers_is_an_error_that_shows_nothing(cookies: object) -> None:
    with pytest.raises(APIConnectionError, match="ValidationError") as raised:
        read(Scripted(cookies=cookies))
    assert SECRET not in f"{raised.value} {raised.value.__cause__}"


# The event loop stays free, and the driver is not called twice at once.


@pytest.mark.anyio
async def test_the_loop_runs_on_while_the_driver_blocks() -> None:
    driver = Scripted(at="about:blank", cookies=[cookie()])
    driver.free.clear()
    sessions = []

    async def reader() -> None:
        sessions.append(await read_session(driver, f"{SITE}/"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        await anyio.to_thread.run_sync(driver.held.wait, 10)
        assert not sessions
        driver.free.set()
    assert [session.headers["Cookie"] for session in sessions] == [f"sid={SECRET}"]
    assert threading.get_ident() not in driver.threads


@pytest.mark.anyio
async def test_a_cancelled_read_returns_at_once_and_then_leaves_the_driver_alone() -> None:
    driver = Scripted(at="about:blank")
    driver.free.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_session, driver, f"{SITE}/")
        await anyio.to_thread.run_sync(driver.held.wait, 10)
        tasks.cancel_scope.cancel()
    assert driver.under_way == 1  # the thread is still in the call
    driver.free.set()
    # A read of the same driver has its turn only after the thread is done, and finds that the browser is there.
    await read_session(driver, f"{SITE}/")
    assert driver.calls == ["current_url", f"get {SITE}/", "current_url", "get_cookies", AGENT, "current_url"]


def test_a_read_cancelled_by_asyncio_itself_leaves_the_driver_alone_too() -> None:
    driver = Scripted(at="about:blank")

    async def main() -> None:
        driver.free.clear()
        task = asyncio.create_task(read_session(driver, f"{SITE}/"))
        await asyncio.to_thread(driver.held.wait, 10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        driver.free.set()
        await read_session(driver, f"{SITE}/")

    asyncio.run(main())
    assert driver.calls == ["current_url", f"get {SITE}/", "current_url", "get_cookies", AGENT, "current_url"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_driver_that_hangs_does_not_hold_up_the_end_of_the_loop(backend: str) -> None:
    driver = Scripted(at="about:blank")
    driver.free.clear()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_session, driver, f"{SITE}/")
            await anyio.to_thread.run_sync(driver.held.wait, 10)
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    assert driver.under_way == 1
    driver.free.set()
    read(driver, f"{SITE}/")  # has its turn when the thread is done
    assert driver.calls == ["current_url", f"get {SITE}/", "current_url", "get_cookies", AGENT, "current_url"]


@pytest.mark.anyio
async def test_reads_of_one_driver_take_turns() -> None:
    driver = Scripted(at="about:blank", cookies=[cookie(), cookie(domain="other.net", value="other")])
    sites = [f"{SITE}/", "https://other.net/"] * 4
    found: dict[int, str] = {}

    async def reader(number: int) -> None:
        found[number] = (await read_session(driver, sites[number])).headers["Cookie"]

    async with anyio.create_task_group() as tasks:
        for number in range(len(sites)):
            tasks.start_soon(reader, number)
    assert driver.most_at_once == 1
    assert [found[number] for number in range(len(sites))] == [f"sid={SECRET}", "sid=other"] * 4


@pytest.mark.anyio
async def test_a_driver_that_hangs_holds_up_no_other() -> None:
    hanging, other = Scripted(), Scripted(cookies=[cookie()])
    hanging.free.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_session, hanging, SITE)
        await anyio.to_thread.run_sync(hanging.held.wait, 10)
        assert (await read_session(other, SITE)).headers["Cookie"] == f"sid={SECRET}"
        hanging.free.set()


# A real browser. What it sends by itself is what we must send.

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


class Request(NamedTuple):
    path: str
    cookies: str
    user_agent: str


class CookieSite(http.server.BaseHTTPRequestHandler):
    """Sets cookies of all kinds at ``/login``, and notes what comes with every request."""

    seen: ClassVar[list[Request]]
    cookies = (
        f"sid={SECRET}; Path=/; HttpOnly",
        "deep=1; Path=/api",
        "deepest=2; Path=/api/chat; Max-Age=3600",
        "elsewhere=3; Path=/files",
        "gone=4; Path=/; Max-Age=0",
        "secure=5; Path=/; Secure",
        'quoted="6 7"; Path=/; SameSite=Strict',
        "nameless; Path=/",
    )

    def do_GET(self) -> None:
        self.seen.append(Request(self.path, self.headers.get("Cookie", ""), self.headers.get("User-Agent", "")))
        body = b"<!doctype html><title>chat</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        for each in self.cookies if self.path == "/login" else ():
            self.send_header("Set-Cookie", each)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    CookieSite.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CookieSite) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("no chromium, or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))
    yield driver
    driver.quit()


def test_a_real_browser_session_is_what_the_browser_itself_sends(site: str, chromium: Any) -> None:
    page = f"{site}/api/chat"
    chromium.get(f"{site}/login")
    chromium.get("about:blank")
    sessions = [read(chromium, page, "trio"), read(chromium, page, "asyncio")]  # the first goes there by itself
    (sent,) = [request for request in CookieSite.seen if request.path == "/api/chat"]
    assert len(sent.cookies.split("; ")) == 6
    for session in sessions:
        assert session.headers["User-Agent"] == sent.user_agent
        cookies = session.headers["Cookie"].split("; ")
        assert sorted(cookies) == sorted(sent.cookies.split("; "))
        assert cookies[:2] == ["deepest=2", "deep=1"]  # the others' paths are equally long
    chromium.quit()
    with pytest.raises(APIConnectionError, match="See that it still runs"):
        read(chromium, page)
