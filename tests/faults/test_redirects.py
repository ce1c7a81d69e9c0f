"""A redirect never takes the key, the messages or the scheme elsewhere.

Promised: only to the same origin (scheme, host and port as written), at most three times, a POST only by 307 and 308,
which leave it one; what else there is to follow is an ``APIStatusError`` that says where it points. It is the same on
this library's own client and on one of httpx's, for a chat, a WebSocket's upgrade and the list of models.

Cases, each on two loops: 19 places elsewhere and 10 here, on 3 clients; 5 statuses on 9 wires, 4 numbers of hops.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trustme

from g4ftrio import APIStatusError, fallback, open_http_client, race
from tests.faults.hostile import KEY, QUESTION, WIRES, Hostile, failure, provider, refusal, said, upgraded
from tests.providers.all_wires import ALL, OVER_HTTP, asking, fleet_of
from tests.transports.http1_server import Peer, Service, head

pytestmark = pytest.mark.anyio

REDIRECTS = (301, 302, 303, 307, 308)
TURNING = (301, 302, 303)  # a POST into a GET
UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to make one takes httpx 20 ms
LONG = b"p" * 3000

# Where else one may point, and what is said of it. ``%`` is the service that redirects.
ELSEWHERE = {
    b"http://evil.example/": "http://evil.example",
    b"//evil.example/v1": "http://evil.example",
    rb"\\evil.example\v1": "",
    b"http://localhost:%/": "http://localhost:%",
    b"http://127.0.0.2:%/": "http://127.0.0.2:%",
    b"https://127.0.0.1:%/": "https://127.0.0.1:%",
    b"http://127.0.0.1:1/": "http://127.0.0.1:1",
    b"http://127.0.0.1/": "http://127.0.0.1",
    b"http://user:word@127.0.0.1:%/": "http://127.0.0.1:%",
    b"http://127.0.0.1:%@evil.example/": "http://evil.example",
    b"http://evil.example/" + LONG: "http://evil.example",
    b"http://" + b"e" * 3000 + b".example/": "http://eeee",
    b"ftp://127.0.0.1:%/": "ftp://127.0.0.1:%",
    b"javascript:alert(1)": "",
    b"data:text/html,hi": "",
    b"http://[::1": "no URL",
    b"http://127.0.0.1:99999/": "",
    b"http://\x80\xff.example/": "",
    b"http:///v1": "",
}


def pointing(service: Service, status: int, to: bytes) -> tuple[bytes]:
    return refusal(status, b"gone", b"Location: " + to.replace(b"%", b"%d" % service.port), b"X-Request-Id: r-1")


@asynccontextmanager
async def each_client() -> AsyncIterator[dict[str, Any]]:
    async with open_http_client() as own, httpx.AsyncClient(verify=UNUSED, follow_redirects=True) as foreign:
        yield {"none": None, "own": own, "of httpx's": foreign}


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_nothing_goes_to_another_origin(place: bytes) -> None:
    async with Hostile() as service, each_client() as clients:
        for wire in ("openai-compatible", "openai-realtime"):
            for name, client in clients.items():
                service.says = pointing(service, 307, place)
                before = len(service.asked)
                error = await failure(provider(wire, service.url, http_client=client))
                where = (wire, name, repr(error))
                assert type(error) is APIStatusError, where
                assert (error.provider, error.status) == (wire, 307), where
                assert ELSEWHERE[place].replace("%", str(service.port)) in str(error), where
                if "in a circle" not in str(error):
                    assert len(service.asked) == before + 1, where
                else:  # they are paths like any other
                    assert place in (rb"\\evil.example\v1", b"http:///v1"), where
                assert len(str(error)) < 500, where


@pytest.mark.parametrize("label", WIRES)
async def test_the_other_place_is_never_asked(label: str) -> None:
    async with Hostile(*refusal(200)) as other, Hostile() as service:
        for status in REDIRECTS:
            service.says = pointing(service, status, b"http://127.0.0.1:%d/v1" % other.port)
            error = await failure(provider(label, service.url))
            assert type(error) is APIStatusError
            assert (error.status, error.request_id) == (status, "r-1")
            assert f"http://127.0.0.1:{other.port}, and the key goes to no other origin" in str(error)
        assert other.accepted == 0


@pytest.mark.parametrize("label", OVER_HTTP)
async def test_a_list_of_models_is_not_asked_for_elsewhere_either(label: str) -> None:
    async with Hostile(*refusal(200)) as other, Hostile() as service:
        for status in REDIRECTS:
            service.says = pointing(service, status, b"http://127.0.0.1:%d/models" % other.port)
            with pytest.raises(APIStatusError, match="goes to no other origin") as caught:
                await provider(label, service.url).list_models()
            assert (caught.value.provider, caught.value.status) == (label, status)
        assert other.accepted == 0


# Where the same origin may be pointed to from /v1/api/chat, and the target that is then asked for.
HERE = {
    b"/other/chat?a=1#top": b"/other/chat?a=1",
    b"other": b"/v1/api/other",
    b"../other": b"/v1/other",
    b"?a=1": b"/v1/api/chat?a=1",
    b"": b"/v1/api/chat",
    b"http://127.0.0.1:%": b"/",
    b"HTTP://127.0.0.1:%/a%%20b": b"/a%20b",
    b"//127.0.0.1:%/other": b"/other",
    b"/caf\xc3\xa9": b"/caf%C3%A9",
    b"/caf\xe9": b"/caf%C3%A9",
    b"/a, http://evil.example/": b"/a,%20http://evil.example/",
}


WHOLE = (head(b'{"message":{"content":"hi"},"done":true,"done_reason":"stop"}'),)


def target(request: bytes) -> bytes:
    return request.split(b" ")[1]


@pytest.mark.parametrize("place", HERE)
async def test_a_redirect_within_the_origin_is_followed_with_everything(place: bytes) -> None:
    async with each_client() as clients:
        for name, client in clients.items():
            for status in (307, 308):
                async with Hostile() as first:
                    asked = first.asked
                    to = place.replace(b"%%", b"*").replace(b"%", b"%d" % first.port).replace(b"*", b"%")
                    first.answers = [refusal(status, b"gone", b"Location: " + to), WHOLE]
                    assert await said(provider("ollama", f"{first.url}v1", http_client=client)) == "hi", name
                    assert [target(each) for each in asked] == [b"/v1/api/chat", HERE[place]], name
                    assert asked[1] == asked[0].replace(b"/v1/api/chat", HERE[place], 1), name
                    assert KEY.encode() in asked[1]


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_so_many_hops_are_followed(hops: int) -> None:
    moves = [refusal(307, b"", b"Location: /%d" % number) for number in range(hops)]
    async with Hostile() as service:
        service.answers = [*moves, WHOLE]
        assert await said(provider("ollama", service.url)) == "hi"
        assert [target(each) for each in service.asked] == [b"/api/chat", *(b"/%d" % each for each in range(hops))]


@pytest.mark.parametrize("label", WIRES)
async def test_a_circle_ends_after_three_hops(label: str) -> None:
    async with Hostile(*refusal(308, b"", b"Location: /v1", b"X-Request-Id: r-1")) as service:
        error = await failure(provider(label, service.url))
        assert "in a circle" in str(error)
        assert (type(error), error.provider, error.status, error.request_id) == (APIStatusError, label, 308, "r-1")
        assert len(service.asked) == 4


@pytest.mark.parametrize("label", OVER_HTTP)
async def test_a_post_never_becomes_a_get(label: str) -> None:
    async with Hostile() as service, each_client() as clients:
        for status in TURNING:
            for client in clients.values():
                service.says = refusal(status, b"", b"Location: /login")
                error = await failure(provider(label, service.url, http_client=client))
                assert "redirects a POST to /login, which would turn it into a GET" in str(error)
                assert (type(error), error.provider, error.status) == (APIStatusError, label, status)
        assert all(request.startswith(b"POST ") for request in service.asked)


async def test_a_list_of_models_is_followed_within_the_origin() -> None:
    models = (head(b'{"data":[{"id":"m"}]}'),)
    for status in REDIRECTS:
        async with Hostile() as service:
            service.answers = [refusal(status, b"", b"Location: /other"), models]
            assert await provider("openai-compatible", service.url).list_models() == ["m"]
            assert [each.split(b" ", 2)[:2] for each in service.asked] == [[b"GET", b"/models"], [b"GET", b"/other"]]


@pytest.mark.parametrize("status", REDIRECTS)
async def test_an_upgrade_is_followed_within_the_origin(status: int) -> None:
    messages = [b'{"serverContent":{"modelTurn":{"parts":[{"text":"hi"}]},"turnComplete":true}}']
    keys = []

    async def script(peer: Peer) -> None:
        keys.append(await peer.request())
        await peer.send(*refusal(status, b"", b"Location: /other"))
        keys.append(await upgraded(peer, b'{"setupComplete":{}}', *messages))

    async with Service(script) as service:
        assert await said(provider("gemini-live", service.url)) == "hi"
        await service.settled()
    assert target(keys[1]) == b"/other"
    assert all(KEY.encode() in request for request in keys)


async def test_the_body_of_a_redirect_is_not_waited_for() -> None:
    async with Hostile(stays=True) as service:
        stuck = b"HTTP/1.1 307 Hm\r\nContent-Length: 9999\r\nLocation: /other\r\n\r\n..."
        service.answers = [(stuck,), WHOLE]
        assert await said(provider("ollama", service.url)) == "hi"
        assert service.accepted == 2  # what was not read to its end is not kept


async def test_a_scheme_is_not_changed() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Hostile() as plain, Hostile(tls=context) as safe:
        async with open_http_client(verify=trusting) as own, httpx.AsyncClient(verify=trusting) as foreign:
            for client in (own, foreign):
                for here, there in ((plain, safe), (safe, plain)):
                    here.says = refusal(308, b"", b"Location: " + there.url.encode())
                    error = await failure(provider("anthropic", here.url, http_client=client))
                    assert f"it redirects to {there.url.rstrip('/')}, and the key goes to no other" in str(error)
        assert (len(plain.asked), len(safe.asked)) == (2, 2)


@pytest.mark.parametrize("label", ALL)
async def test_a_race_goes_on_to_the_next(label: str) -> None:
    async with Hostile() as service, fleet_of(label, text="I am here.") as fleet:
        service.says = pointing(service, 307, b"http://evil.example/")
        entrants = [provider(label, service.url, name="bad"), asking(fleet[label], name="good")]
        async with race(entrants, QUESTION, policy=fallback()) as stream:
            assert (await stream.collect()).text == "I am here."
        assert [each.outcome for each in stream.report.entrants] == ["failed", "won"]
