"""Section 3 of the contract: Aura, on the wire; and all three in a race."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import anyio
import pytest

from g4ftrio import APIStatusError, MessagesError, SetupError, race
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.request import ChatRequest
from g4ftrio.base_provider import AsyncGeneratorProvider
from g4ftrio.providers import Aura, Jmuz, ProviderTypes, resolve
from g4ftrio.simulator import Service, serve
from g4ftrio.testing import forbid_network
from g4ftrio.typing import AsyncResult
from tests.providers.wires import HELD, Answer, Asked, Held, Recorder, chat, in_thread, refused, streamed
from tests.test_browser import chromium
from tests.transports.http1_server import head

__all__ = ("chromium",)  # a fixture

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]
HELLO = streamed(b"Hello", kind="text/plain")
BODY = (
    b'{"model":{"id":"openchat_3.6","name":"OpenChat 3.6 (latest)","maxLength":24576,"tokenLimit":8192},'
    b'"messages":[{"role":"user","content":"Why?"}],"key":"","prompt":"","temperature":0.5}'
)


async def read(stream: AsyncResult) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def sent(*arguments: Any, **named: Any) -> Asked:
    """What goes over the wire for a call of ``create_async_generator``, which the arguments are those of."""
    async with Recorder(HELLO) as service:
        assert await read(Aura(url=service.url).create_async_generator(*arguments, **named)) == ["Hello"]
        [asked] = service.asked
        return asked


# The declaration.


def test_row_base_is_async_generator_provider() -> None:
    assert issubclass(Aura, AsyncGeneratorProvider)


def test_row_attributes() -> None:
    assert (Aura.working, Aura.needs_auth, Aura.api_key, Aura.key_variables) == (False, False, None, ())


def test_row_endpoint() -> None:
    assert Aura.url == "https://openchat.team"
    assert (
        Aura()._address() + Aura.dialect.path_for(ChatRequest(model="m", messages=[]))
        == "https://openchat.team/api/chat"
    )


def test_row_models() -> None:
    assert (Aura.default_model, Aura.get_models(), Aura.get_model("")) == (
        "openchat_3.6",
        ["openchat_3.6"],
        "openchat_3.6",
    )


def test_row_arguments_in_their_order() -> None:
    parameters = inspect.signature(Aura.create_async_generator).parameters
    assert [(name, each.default) for name, each in parameters.items()] == [
        ("model", inspect.Parameter.empty),
        ("messages", inspect.Parameter.empty),
        ("proxy", None),
        ("temperature", 0.5),
        ("max_tokens", 8192),
        ("webdriver", None),
        ("params", inspect.Parameter.empty),
    ]
    assert parameters["params"].kind is inspect.Parameter.VAR_KEYWORD


def test_specs_resolve() -> None:
    provider = resolve("aura@http://127.0.0.1:9")
    assert isinstance(provider, Aura)
    assert provider._address() == "http://127.0.0.1:9"
    plain = resolve("aura/openchat_3.6")
    assert isinstance(plain, Aura)
    assert (plain.model, plain._address()) == ("openchat_3.6", "https://openchat.team")


# The wire.


@pytest.mark.anyio
async def test_rows_endpoint_headers_and_body_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Recorder(HELLO) as service:
        monkeypatch.setattr(Aura, "url", service.url.rstrip("/"))
        assert await read(Aura.create_async_generator("", ASK)) == ["Hello"]
        [asked] = service.asked
    assert asked.start == "POST /api/chat HTTP/1.1"
    assert [field for field in asked.fields if not field.startswith("user-agent: g4ftrio/")] == [
        f"Host: 127.0.0.1:{service.port}",
        "Connection: keep-alive",
        "accept-encoding: identity",
        "content-type: application/json",
        "accept: */*",
        f"Content-Length: {len(BODY)}",
    ]
    assert asked.body == BODY


@pytest.mark.anyio
async def test_row_endpoint_can_be_pointed_anywhere_by_url_and_by_api_base() -> None:
    async with Recorder(HELLO) as service:

        class ByUrl(Aura):
            """Its page is elsewhere."""

            url = service.url

        class ByBase(Aura):
            """Its interface is elsewhere."""

            api_base = f"{service.url}base"

        await read(ByUrl.create_async_generator("", ASK))
        await read(ByBase.create_async_generator("", ASK))
        for bound in (Aura(url=f"{service.url}page/"), Aura(api_base=service.url)):
            await read(bound.create_async_generator("", ASK))
        await read(Aura.create_async_generator("", ASK, api_base=f"{service.url}call"))
        assert [asked.start.split()[1] for asked in service.asked] == [
            *("/api/chat", "/base/api/chat", "/page/api/chat", "/api/chat"),
            "/call/api/chat",
        ]


@pytest.mark.anyio
async def test_row_body_system_messages_are_the_prompt_and_the_others_the_messages() -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "How?"}]},
    ]
    asked = await sent("", said)
    assert asked.body == (
        b'{"model":{"id":"openchat_3.6","name":"OpenChat 3.6 (latest)","maxLength":24576,"tokenLimit":8192},'
        b'"messages":[{"role":"user","content":"Why?"},{"role":"assistant","content":"So."},'
        b'{"role":"user","content":"How?"}],"key":"","prompt":"Be brief.\\nBe kind.","temperature":0.5}'
    )


@pytest.mark.anyio
@pytest.mark.parametrize("temperature", [0, 1, 0.25])
async def test_row_arguments_temperature_and_max_tokens_in_their_places(temperature: float) -> None:
    asked = await sent("openchat_3.6", ASK, None, temperature, 100)
    assert (asked.json["temperature"], asked.json["model"]["tokenLimit"]) == (temperature, 100)
    async with Recorder(HELLO) as service:
        bound = Aura(url=service.url, temperature=temperature, max_tokens=100)
        await read(bound.create_async_generator("", ASK))
        await read(bound.create_async_generator("", ASK, temperature=0.5, max_tokens=8192))
        assert [(asked.json["temperature"], asked.json["model"]["tokenLimit"]) for asked in service.asked] == [
            (temperature, 100),
            (0.5, 8192),
        ]


@pytest.mark.anyio
@pytest.mark.parametrize("temperature", [-0.1, 1.1])
async def test_row_arguments_temperature_is_0_to_1(temperature: float) -> None:
    with (
        forbid_network(),
        pytest.raises(SetupError, match=r"aura/openchat_3\.6: .* takes a temperature from"),
    ):
        await read(Aura.create_async_generator("", ASK, temperature=temperature))


@pytest.mark.anyio
async def test_row_arguments_proxy_is_where_the_request_goes() -> None:
    async with Recorder(HELLO) as proxy:
        await read(Aura(url="http://page.invalid").create_async_generator("", ASK, proxy.url))
        assert proxy.asked[0].start == "POST http://page.invalid/api/chat HTTP/1.1"


@pytest.mark.anyio
async def test_row_arguments_kw_headers_are_sent() -> None:
    asked = await sent("", ASK, headers={"X-Mine": "1", "User-Agent": "me"})
    assert (asked["x-mine"], asked["user-agent"]) == ("1", "me")


@pytest.mark.anyio
async def test_row_attributes_no_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURA_API_KEY", "sk-unasked")
    assert (await sent("", ASK))["authorization"] is None


@pytest.mark.anyio
async def test_what_the_wire_cannot_carry_is_refused_and_not_lost() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with forbid_network():
        with pytest.raises(MessagesError, match="a message holds 'image_url'"):
            await read(Aura.create_async_generator("", [{"role": "user", "content": [image]}]))
        with pytest.raises(SetupError, match="this service takes no 'tools'"):
            await read(Aura.create_async_generator("", ASK, tools=[]))


# The answer.

TEXT = "aé€😀b"


@pytest.mark.anyio
async def test_row_answer_is_decoded_across_the_borders_of_chunks() -> None:
    data = TEXT.encode()
    for border in range(1, len(data)):
        held = Held()
        async with Recorder(streamed(data[:border], held, data[border:], kind="text/plain")) as service:
            stream = Aura(url=service.url).create_async_generator("", ASK)
            first = await anext(stream)
            assert first == data[:border].decode("utf-8", "ignore")  # at once, as far as it can be read
            held.go_on()
            assert "".join([str(first), *map(str, await read(stream))]) == TEXT


@pytest.mark.anyio
async def test_row_answer_may_come_byte_by_byte() -> None:
    parts = [bytes([byte]) for byte in TEXT.encode()]
    async with Recorder(streamed(*parts, kind="application/octet-stream")) as service:
        assert "".join(map(str, await read(Aura(url=service.url).create_async_generator("", ASK)))) == TEXT


@pytest.mark.anyio
async def test_row_answer_invalid_bytes_are_ignored() -> None:
    parts = [b"\xffna\xc3", b"\xafve \xe2\x82", b"x \xc0\x80", b"end \xf0\x9f"]
    async with Recorder(streamed(*parts, kind="text/plain")) as service:
        text = "".join(map(str, await read(Aura(url=service.url).create_async_generator("", ASK))))
    assert text == b"".join(parts).decode("utf-8", "ignore") == "naïve x end "


@pytest.mark.anyio
async def test_row_answer_is_text_whatever_it_looks_like() -> None:
    said = 'data: {"choices": []}\n\n[DONE]\n'
    async with Recorder(streamed(said.encode(), kind="text/event-stream")) as service:
        assert (await Aura(url=service.url).complete(ASK)).text == said


@pytest.mark.anyio
async def test_what_goes_wrong_is_typed_and_named() -> None:
    async with Recorder(refused("closed", "503 Service Unavailable")) as service:
        with pytest.raises(APIStatusError, match=r"^aura/openchat_3.6: the service failed \(status 503\): closed"):
            await read(Aura(url=service.url).create_async_generator("", ASK))


# The browser.


class Driver:
    """A scripted Selenium driver; its cookies are those of the page that it is at."""

    def __init__(self, jar: dict[str, list[dict[str, Any]]], at: str = "about:blank") -> None:
        self.current_url = at
        self.jar = jar
        self.gone_to: list[str] = []
        self.threads: set[int] = set()

    def get(self, url: str) -> None:
        self.gone_to.append(url)
        self.current_url = url

    def get_cookies(self) -> list[dict[str, Any]]:
        self.threads.add(threading.get_ident())
        return self.jar.get(self.current_url.rstrip("/"), [])

    def execute_script(self, script: str) -> Any:
        assert script == "return navigator.userAgent"
        return "Browser/1.0"


def cookie(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "domain": "127.0.0.1", "path": "/", "secure": False}


@pytest.mark.anyio
async def test_row_headers_and_special_a_webdriver_lends_its_cookies_and_its_user_agent() -> None:
    async with Recorder(HELLO) as service:
        page = service.url.rstrip("/")
        driver = Driver({page: [cookie("cf_clearance", "c00kie"), cookie("theme", "dark")]})
        assert await read(Aura(url=page).create_async_generator("", ASK, None, 0.5, 8192, driver)) == ["Hello"]
        await read(Aura(url=page, webdriver=driver).create_async_generator("", ASK))
        await read(Aura(url=page).create_async_generator("", ASK, webdriver=driver, headers={"User-Agent": "mine"}))
        assert [(asked["cookie"], asked["user-agent"]) for asked in service.asked] == [
            ("cf_clearance=c00kie; theme=dark", "Browser/1.0"),
            ("cf_clearance=c00kie; theme=dark", "Browser/1.0"),
            ("cf_clearance=c00kie; theme=dark", "mine"),
        ]
        assert driver.gone_to == [page]  # and then it was there
        assert threading.get_ident() not in driver.threads
        assert service.asked[0].body == BODY


@pytest.mark.anyio
async def test_row_special_the_loop_goes_on_while_the_browser_is_read() -> None:
    free = threading.Event()

    class Slow(Driver):
        """It waits for the event loop."""

        def get_cookies(self) -> list[dict[str, Any]]:
            assert free.wait(5)
            return []

    async with Recorder(HELLO) as service, anyio.create_task_group() as tasks:

        async def ask() -> None:
            assert await read(Aura(url=service.url, webdriver=Slow({})).create_async_generator("", ASK)) == ["Hello"]

        tasks.start_soon(ask)
        await anyio.sleep(0.01)
        free.set()


@pytest.mark.anyio
async def test_row_special_cookies_go_to_their_own_origin_only() -> None:
    async with Recorder(HELLO) as page, Recorder(HELLO) as elsewhere:
        home = page.url.rstrip("/")
        driver = Driver({home: [cookie("sid", "c00kie")]}, at=f"{home}/")
        aura = Aura(url=home, webdriver=driver)
        await read(aura.create_async_generator("", ASK))
        await read(aura.create_async_generator("", ASK, api_base=elsewhere.url))
        driver.current_url = home
        await read(aura.create_async_generator("", ASK, api_endpoint=f"{elsewhere.url}ask"))
        driver.current_url = home
        await read(aura.create_async_generator("", ASK, api_endpoint=f"{page.url}ask"))
        assert [asked["cookie"] for asked in elsewhere.asked] == [None, None]
        assert [asked["cookie"] for asked in page.asked] == ["sid=c00kie", "sid=c00kie"]


@pytest.mark.anyio
async def test_row_special_creating_the_generator_reads_no_browser_and_an_error_shows_no_cookie() -> None:
    async with Recorder(refused("who is c00kie-secret?", "403 Forbidden")) as service:
        driver = Driver({service.url.rstrip("/"): [cookie("sid", "c00kie-secret")]})
        stream = Aura(url=service.url).create_async_generator("", ASK, webdriver=driver)
        assert (driver.gone_to, service.accepted) == ([], 0)
        with pytest.raises(APIStatusError, match=r"who is \*\*\*\?"):
            await read(stream)


def test_row_special_a_real_browser_lends_its_cookies_and_its_user_agent(chromium: Any) -> None:
    answer = [head(b"Hello", b"Content-Type: text/plain", b"Set-Cookie: sid=c00kie; Path=/; HttpOnly")]
    with in_thread(Recorder(answer)) as service:
        assert list(Aura(url=service.url).create_completion("", ASK, webdriver=chromium)) == ["Hello"]
        page, *_, asked = service.asked
        assert page.start == "GET / HTTP/1.1"
        assert asked.start == "POST /api/chat HTTP/1.1"
        assert (asked["cookie"], asked["user-agent"]) == ("sid=c00kie", page["user-agent"])
        assert "Chrome/" in str(asked["user-agent"])


# All three in a race.

CHAT = streamed(*chat("Hello"))
SILENT: Answer = [HELD]


@pytest.mark.anyio
@pytest.mark.parametrize("winner", ["jmuz", "ylokh", "aura", "openai-compatible", "openchat"])
async def test_all_three_race_each_other_and_simulated_providers_and_each_can_win(winner: str) -> None:
    answers = {"jmuz": CHAT, "ylokh": CHAT, "aura": HELLO}
    wires = {name: Recorder(answer if name == winner else SILENT) for name, answer in answers.items()}
    simulated = [
        Service(name, dialect=name, text="Hello", first_token=0 if name == winner else 30)
        for name in ("openai-compatible", "openchat")
    ]
    async with wires["jmuz"] as first, wires["ylokh"] as second, wires["aura"] as third, serve(simulated) as fleet:
        entrants: list[ProviderTypes] = [
            Jmuz(api_base=first.url),
            f"ylokh@{second.url}",
            Aura(url=third.url),
            *(running.spec for running in fleet.values()),
        ]
        async with race(entrants, ASK) as stream:
            assert stream.winner.split("/")[0] == winner
            assert (await stream.collect()).text == "Hello"
        for wire in wires.values():
            await wire.settled()
        outcomes = [record.outcome for record in stream.report.entrants]
        assert (outcomes.count("won"), outcomes.count("lost")) == (1, 4)


@pytest.mark.anyio
async def test_all_three_race_as_classes_with_their_addresses_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Recorder(CHAT) as service, Recorder(SILENT) as other:
        monkeypatch.setenv("YLOKH_BASE_URL", service.url)
        monkeypatch.setenv("JMUZ_BASE_URL", other.url)
        monkeypatch.setenv("AURA_BASE_URL", other.url)
        async with race([Jmuz, "ylokh", Aura], ASK) as stream:
            assert stream.winner == "ylokh/gpt-3.5-turbo"
            assert (await stream.collect()).text == "Hello"
        await other.settled()
        assert {asked.start for asked in other.asked} <= {
            "POST /chat/completions HTTP/1.1",
            "POST /api/chat HTTP/1.1",
        }
