"""The border to httpx: a call goes out, and an answer comes back as soon as its head is there.

httpx is loaded when it is first needed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache, partial
from os import environ
from typing import TYPE_CHECKING, Any

from msgspec import structs

from g4ftrio._words.errors import SetupError, excerpt
from g4ftrio._words.request import Call
from g4ftrio._words.secrets import Secret, hidden, in_address, shown, without_userinfo
from g4ftrio.transports._bodies import Body
from g4ftrio.transports._coding import unpacked
from g4ftrio.transports._connecting import Connecting
from g4ftrio.transports._direct import Direct, Place, direct, may_go_direct, place, transport_of
from g4ftrio.transports._fields import Fields, check_fields, encode_fields
from g4ftrio.transports._pieces import in_pieces
from g4ftrio.transports._response import Response, body_of, checked
from g4ftrio.transports._retry_after import retry_after
from g4ftrio.transports._translation import NO_URL, Watch

if TYPE_CHECKING:
    import ssl

    import httpx

    from g4ftrio._words.report import EntrantReport
    from g4ftrio._words.timeouts import Timeout
    from g4ftrio.transports._http1 import Http1Transport, Origin

__all__ = ("Body", "Response", "checked", "close_now", "open_http_client", "retry_after", "send")

_PROXIED = ("http", "https", "all")
_HOPS = 3  # redirects that are followed
_STOCK = ("transport", "proxy", "http2", "limits", "mounts", "cert")  # options that ask for a transport of httpx's


def open_http_client(*, warm: Mapping[str, int] | None = None, **options: Any) -> httpx.AsyncClient:
    """Open an HTTP client to share between providers; close it with ``async with`` or ``aclose()``.

    It has no time-outs of its own (those of each request count), no limit of connections, and one TLS context for
    the whole process, which costs 20 ms to build. It sends over this library's own transport; with a proxy, HTTP/2,
    limits or mounts, which that does not know, over httpx's.

    :param warm: how many connections to keep open ahead of time, by address: ``{"https://api.openai.com": 2}``. They
        are opened while the client is entered (``async with``), and again after a race has used them up
    :param options: whatever ``httpx.AsyncClient`` takes: ``proxy=``, ``verify=``, ``limits=``, ``transport=``, ...
    :raises SetupError: a proxy that is not a URL, or a package that is missing for what is asked
    """
    import httpx

    options = hidden(options)  # what frames hold, tracebacks show
    headers = httpx.Headers({"accept-encoding": "identity", "user-agent": f"g4ftrio/{_version()}"})
    headers.update(options.pop("headers", None))
    if options.get("verify", True) is True and not options.get("cert"):
        protocols = ("http/1.1", "h2") if options.get("http2") else ("http/1.1",)
        options["verify"] = _tls_context(protocols, trust_env=options.get("trust_env", True))
    options.setdefault("timeout", None)
    own = None
    if not any(options.get(name) for name in _STOCK) and not _proxied(trust_env=options.get("trust_env", True)):
        options["transport"] = own = _own_transport(options["verify"], _origins(warm))
    elif warm:
        raise SetupError(
            "warm= keeps connections of this library's own transport, and a proxy or option asks for httpx's"
        )
    options.setdefault("limits", httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30))
    try:
        client = httpx.AsyncClient(headers=headers, **options)
    except (ValueError, httpx.InvalidURL):
        words = "a proxy (proxy=, or from the environment) or base_url is no URL: it begins with http:// or https://"
        raise SetupError(words) from None  # httpx's words would show a proxy's password
    except ImportError as error:
        raise SetupError(str(error)) from error
    if own is not None:
        may_go_direct(client, own, options)
    return client


def _origins(warm: Mapping[str, int] | None) -> dict[Origin, int]:
    found = {}
    for address, count in (warm or {}).items():
        where = place(address)
        if where is None:
            raise SetupError(f"warm= names addresses such as https://api.example.com, not {shown(address)!r}")
        found[where.origin] = count
    return found


def _own_transport(verify: ssl.SSLContext | bool, warm: Mapping[Origin, int]) -> Http1Transport:
    import httpx

    from g4ftrio.transports._http1 import Http1Transport

    context = partial(httpx.create_ssl_context, verify=verify) if isinstance(verify, bool) else verify
    return Http1Transport(ssl_context=context, max_idle_connections=100, warm=warm)


def _proxied(*, trust_env: bool) -> bool:
    """Whether the environment, or elsewhere the system's settings, name a proxy."""
    if not trust_env:
        return False
    if sys.platform in ("darwin", "win32"):
        from urllib.request import getproxies

        return not getproxies().keys().isdisjoint(_PROXIED)
    return any(environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") for scheme in _PROXIED)


@cache
def _tls_context(protocols: tuple[str, ...], *, trust_env: bool) -> ssl.SSLContext:
    import httpx

    context = httpx.create_ssl_context(trust_env=trust_env)
    context.set_alpn_protocols(list(protocols))  # httpcore does this at every connect, so HTTP/1 and 2 cannot share
    return context


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("g4ftrio")
    except PackageNotFoundError:
        return "0"


def close_now(client: httpx.AsyncClient) -> None:
    """Close a client's connections at once, where they are our own transport's; ``aclose()`` may follow."""
    own = transport_of(client)
    if own is not None:
        own.close_now()


async def send(
    client: httpx.AsyncClient, call: Call, *, timeout: Timeout, record: EntrantReport | None = None
) -> Response:
    """Send a call, and return as soon as the head of the answer is there.

    :param client: any client of httpx or httpx2; its time-outs and its ``follow_redirects`` do not count
    :param timeout: its ``connect`` and ``idle`` are kept here, the others by whoever reads
    :param record: gets ``connected_at``, ``first_byte_at`` and ``bytes``
    :raises SetupError: nothing was sent: a closed client, a URL or a header that is none
    :raises APIConnectionError: there is no answer
    :raises APIStatusError: it redirects to where the key must not go
    """
    if client.is_closed:
        raise SetupError("the HTTP client is closed: open another, or keep this one open for as long as it is used")
    call = _with_userinfo(call)
    for _ in range(_HOPS + 1):
        response = await _ask(client, call, Watch(call.url, timeout, record))
        if response.status not in _REDIRECTS or "location" not in response.headers:
            return response
        await response.drain()
        call = _redirected(call, response)
    raise response.refused(f"it redirects in a circle, or more than {_HOPS} times")


def _with_userinfo(call: Call) -> Call:
    """Move user and password from the address, which httpx writes to its log, to the header that they are sent in."""
    url, userinfo = without_userinfo(call.url)
    if not userinfo:
        return call
    from base64 import b64encode

    headers = {name: value for name, value in call.headers.items() if name.lower() != "authorization"}
    headers["Authorization"] = Secret("Basic " + b64encode(userinfo.encode()).decode())
    return structs.replace(call, url=url, headers=headers)


async def _ask(client: httpx.AsyncClient, call: Call, watch: Watch) -> Response:
    short, where = direct(client), place(call.url)
    if short is not None and where is not None:
        return await _ask_directly(short, where, call, watch)
    connecting = Connecting(watch.timeout.connect)
    with watch:
        request = _request(client, call, watch, connecting)
        url = str(request.url)
        if any(in_address(url)):
            request.url = _unlogged(request.url)
        async with connecting:
            response = await client.send(request, stream=True, follow_redirects=False)
    watch.answer(retried=response.extensions.get("g4ftrio_retried", False))
    return Response(response.status_code, response.headers, url, body_of(response), watch)


def _request(client: httpx.AsyncClient, call: Call, watch: Watch, connecting: Connecting) -> httpx.Request:
    async def trace(event: str, info: Mapping[str, Any]) -> None:
        connecting.note(event, info)
        await watch.trace(event, info)

    request = client.build_request(
        call.method,
        call.url,
        content=call.body or None,
        headers=encode_fields(call.headers),
        extensions={"timeout": watch.limits(), "trace": trace},
    )
    check_fields(request.headers.raw)
    if call.body:
        request.stream = in_pieces(request.stream, call.body)
    return request


def _unlogged(url: httpx.URL) -> httpx.URL:
    """Make it one whose text, which httpx writes to its log, lacks what is secret in it."""
    kind = type(url)
    return type("URL", (kind,), {"__str__": lambda url: shown(kind.__str__(url)), "__repr__": str})(url)  # type: ignore[no-any-return]  # it is one


async def _ask_directly(short: Direct, where: Place, call: Call, watch: Watch) -> Response:
    head = short.head(call, where)
    with watch:
        answer = await short.transport.request(
            call.method.encode("ascii"),
            where.origin,
            head,
            call.body,
            timeouts=watch.limits(),
            connecting=watch.trace,
            upgrade="Upgrade" in call.headers,
        )
    watch.answer(retried=answer.retried)
    headers = Fields(answer.head.headers)
    body = unpacked(answer.body, headers.get("content-encoding", ""))
    return Response(answer.head.status, headers, call.url, body, watch)


_SHOWN = 200  # characters of where a redirect points
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})


def _redirected(call: Call, response: Response) -> Call:
    """Turn a call to where a redirect points: never to another origin, and never a POST into a GET."""
    try:
        import httpx

        here = httpx.URL(response.url)
        target = here.join(_as_utf8(response.headers["location"]))
    except Exception as error:  # httpx's client has looked at it before, others have not
        raise response.refused(NO_URL) from error
    if _origin(target) != _origin(here):
        there = excerpt(f"{target.scheme}://{target.netloc.decode()}", _SHOWN)
        words = f"it redirects to {there}, and the key goes to no other origin."
        raise response.refused(f"{words} If that is the right one, set api_base to it.")
    if call.method not in {"GET", "HEAD"} and response.status not in _SAME_METHOD:
        there = excerpt(target.path, _SHOWN)
        words = f"it redirects a {call.method} to {there}, which would turn it into a GET. Check api_base."
        raise response.refused(words)
    return structs.replace(call, url=str(target))


def _as_utf8(value: str) -> str:
    """Read a field that was decoded as Latin-1 as what it mostly is where it is not ASCII."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _origin(url: httpx.URL) -> tuple[object, ...]:
    return url.scheme, url.host, url.port, url.userinfo
