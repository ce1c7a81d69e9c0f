"""The user's session with a service in a web browser: the headers by which the service knows it.

Selenium is never imported: a driver is whatever has the members of ``WebDriver``. They block, so a worker thread calls
them, for each driver one read at a time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit
from weakref import WeakValueDictionary

import msgspec
from anyio import to_thread

from g4ftrio._words.errors import APIConnectionError
from g4ftrio._words.secrets import Secret

__all__ = ("BrowserSession", "WebDriver", "read_session")

T = TypeVar("T")

_PRINTABLE = re.compile(r"[ -~]+")  # ASCII: what any HTTP client takes for a header
_IN_COOKIE = re.compile(r"[ -:<-~]*")  # the same without the semicolon, which ends a cookie
_PORTS = {"http": 80, "https": 443}


class WebDriver(Protocol):
    """What is needed of a Selenium driver."""

    @property
    def current_url(self) -> str:
        """Where the browser is."""

    def get(self, url: str) -> None:
        """Go there."""

    def get_cookies(self) -> list[dict[str, Any]]:
        """The cookies that the current page is sent with."""

    def execute_script(self, script: str) -> Any:
        """Run JavaScript in the current page."""


class BrowserSession(msgspec.Struct, frozen=True):
    """A session's headers; its ``repr`` names them and shows no value.

    ``secrets`` are the cookies, together and one by one: what must not show anywhere.
    """

    headers: dict[str, str]
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"BrowserSession({', '.join(f'{name}: ***' for name in self.headers)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, "***") for name in self.headers]


async def read_session(driver: WebDriver, url: str) -> BrowserSession:
    """Read the user agent, and the cookies that the browser would send to an address.

    Nothing can interrupt a driver's call. If this is cancelled it returns at once all the same: the thread ends with
    the call that it is in, which can be a page that loads for five minutes, and makes no further one. Only the cookies
    of the page are known to a driver: one for another path than the page's is not found.

    :param url: the service's address; a browser that is at another origin goes there
    :raises APIConnectionError: if the driver fails
    """
    reading = _Reading(driver, url)
    try:
        page = await to_thread.run_sync(reading.run, abandon_on_cancel=True)
    finally:
        reading.abandoned = True
    return _session(page, url, time.time())


class _Cookie(msgspec.Struct):
    """A cookie as WebDriver words it. Without a dot before it, the domain is a host; empty, it is the page's."""

    name: str
    value: str
    domain: str = ""
    path: str = "/"
    secure: bool = False
    expiry: float | None = None  # seconds since 1970

    def __repr__(self) -> str:
        return f"<cookie {self.name}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [("name", self.name)]


class _Page(NamedTuple):
    url: str
    user_agent: object
    cookies: list[_Cookie]


class _Reading:
    """One read of a driver, in a worker thread. Once it is abandoned, it leaves the driver alone."""

    __slots__ = ("_driver", "_url", "abandoned")

    def __init__(self, driver: WebDriver, url: str) -> None:
        self._driver = driver
        self._url = url
        self.abandoned = False

    def run(self) -> _Page:
        try:
            with _turn(self._driver):
                return self._look()
        except Exception as error:
            raise APIConnectionError(
                f"the web browser could not be read ({type(error).__name__})."
                " See that it still runs and opens the service's page, or pass another webdriver="
            ) from error

    def _look(self) -> _Page:
        driver = self._driver
        if _origin(self._call(lambda: driver.current_url)) != _origin(self._url):
            self._call(lambda: driver.get(self._url))
        cookies = msgspec.convert(self._call(driver.get_cookies), list[_Cookie])
        user_agent = self._call(lambda: driver.execute_script("return navigator.userAgent"))
        return _Page(self._call(lambda: driver.current_url), user_agent, cookies)

    def _call(self, call: Callable[[], T]) -> T:
        if self.abandoned:
            raise InterruptedError
        return call()


_turns: WeakValueDictionary[int, Lock] = WeakValueDictionary()
_turns_lock = Lock()


@contextmanager
def _turn(driver: WebDriver) -> Iterator[None]:
    """Wait until no other read of this driver is under way; the lock of a driver is forgotten when none is."""
    with _turns_lock:
        lock = _turns.setdefault(id(driver), Lock())
    with lock:
        yield


def _session(page: _Page, url: str, now: float) -> BrowserSession:
    headers: dict[str, str] = {}
    if isinstance(page.user_agent, str) and _PRINTABLE.fullmatch(page.user_agent):
        headers["User-Agent"] = page.user_agent
    cookies = _sent(page, urlsplit(url), now)
    if not cookies:
        return BrowserSession(headers)
    cookie = Secret("; ".join(f"{each.name}={each.value}" if each.name else each.value for each in cookies))
    headers["Cookie"] = cookie
    return BrowserSession(headers, (cookie, *(Secret(each.value) for each in cookies if each.value)))


def _sent(page: _Page, address: SplitResult, now: float) -> list[_Cookie]:
    """The cookies that belong into a request, longer paths first: RFC 6265, section 5.4."""
    host, path = address.hostname or "", address.path or "/"
    _, page_host, _ = _origin(page.url)
    found = [
        each
        for each in page.cookies
        if _is_for_host(each.domain.lower() or page_host or "", host)
        and _is_for_path(each.path, path)
        and (not each.secure or address.scheme == "https" or _is_loopback(host))
        and (each.expiry is None or each.expiry > now)
        and _is_sendable(each)
    ]
    return sorted(found, key=lambda each: -len(each.path))


def _is_for_host(domain: str, host: str) -> bool:
    """RFC 6265, section 5.1.3."""
    if not domain.startswith("."):
        return domain.strip("[]") == host
    return domain[1:] == host or (host.endswith(domain) and _ip(host) is None)


def _is_for_path(cookie_path: str, path: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == cookie_path or path.startswith(cookie_path.removesuffix("/") + "/")


def _is_sendable(cookie: _Cookie) -> bool:
    """Whether it is one cookie in a header, and not a piece of something else."""
    return "=" not in cookie.name and all(map(_IN_COOKIE.fullmatch, (cookie.name, cookie.value)))


def _is_loopback(host: str) -> bool:
    address = _ip(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Tell what a browser keeps apart, "about:blank" included; a malformed address is an origin of its own."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", url, None
