"""Free services of the community, as the documents of gpt4free's provider classes describe them.

Their hosts are gone or closed. They are configuration and behaviour: point ``api_base`` at whoever speaks their wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, ClassVar
from urllib.parse import urljoin

from g4ftrio._browser import BrowserSession, WebDriver, read_session
from g4ftrio._cleaning import Marker
from g4ftrio._words.messages import Messages
from g4ftrio._words.request import Call, ChatRequest
from g4ftrio._words.timeouts import TimeoutTypes
from g4ftrio.base_provider import Ask, ProviderModelMixin, StreamContext
from g4ftrio.base_provider._binding import creating
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.dialects.openchat import OpenChat
from g4ftrio.providers._declared import ApiKey, HttpProvider
from g4ftrio.providers._openai_template import OpenaiTemplate
from g4ftrio.typing import AsyncResult

__all__ = ("Aura", "Jmuz", "Ylokh")

_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


class Jmuz(OpenaiTemplate):
    """A free relay for many models, whose text had advertising mixed in."""

    label = "jmuz"
    url = "https://discord.gg/Ew6JzjA2NR"
    api_base = "https://jmuz.me/gpt/api/v2"
    key_variables = ("JMUZ_API_KEY",)
    base_variables = ("JMUZ_BASE_URL",)
    headers: ClassVar[Mapping[str, str]] = {"User-Agent": _USER_AGENT}
    supports_system_message = False
    default_model = "gpt-4o"
    model_aliases: Mapping[str, str] = {
        "qwq-32b": "qwq-32b-preview",
        "gemini-1.5-flash": "gemini-flash",
        "gemini-1.5-pro": "gemini-pro",
        "gemini-2.0-flash-thinking": "gemini-thinking",
        "deepseek-chat": "deepseek-v3",
    }
    dialect: Dialect = OpenAIChat(stream_usage=False)
    advertising: ClassVar[tuple[Marker, ...]] = (
        Marker("Join for free", "\n", where="lead"),
        Marker("o1-preview", "\n", where="lead"),
        Marker("https://discord.gg/", "..."),
    )

    @creating
    def create_async_generator(
        self,
        /,
        model: str,
        messages: str | Messages,
        stream: bool = True,
        api_key: ApiKey = None,
        **params: Any,
    ) -> AsyncResult:
        """Give the answer's chunks, without the advertising; see ``OpenaiTemplate``."""
        return super().create_async_generator(model, messages, stream=stream, api_key=api_key, **params)


class Ylokh(HttpProvider):
    """A free relay of one model, without a key. Parameters that nobody knows go into the body as they are."""

    label = "ylokh"
    url = "https://chat.ylokh.xyz"
    api_base = "https://chatapi.ylokh.xyz/v1"
    base_variables = ("YLOKH_BASE_URL",)
    working = False
    needs_auth = False
    supports_message_history = True
    supports_gpt_35_turbo = True
    default_model = "gpt-3.5-turbo"
    dialect: Dialect = OpenAIChat(
        stream_usage=False,
        defaults={
            "temperature": 1,
            "presence_penalty": 0,
            "top_p": 1,
            "frequency_penalty": 0,
            "allow_fallback": True,
            "stream": True,
        },
    )

    _free_params: ClassVar[bool] = True

    @creating
    def create_async_generator(
        self,
        /,
        model: str,
        messages: str | Messages,
        stream: bool = True,
        proxy: str | None = None,
        timeout: TimeoutTypes = 120,
        **params: Any,
    ) -> AsyncResult:
        """Give the answer's chunks; nothing is sent before the first read. Close it with ``aclose()``.

        :param timeout: seconds without progress, or a ``Timeout``
        :param params: whatever the body shall have besides, over its defaults
        """
        given = {**params, "stream": stream, "proxy": proxy, "timeout": timeout}
        return self._request(model, messages, given).unread()

    def _body(self, dialect: Dialect, request: ChatRequest) -> dict[str, Any]:
        return {"messages": [], **super()._body(dialect, request)}  # they come first on this wire

    def _fields(self, key: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {"Origin": self.url, "Referer": f"{self.url}/", **super()._fields(key, extra)}


class Aura(HttpProvider, ProviderModelMixin):
    """OpenChat's public page: a raw stream of text, asked for as the page itself does.

    :param webdriver: a Selenium WebDriver, whose cookies and user agent for the page are sent along
    """

    label = "aura"
    url = "https://openchat.team"
    base_variables = ("AURA_BASE_URL",)
    working = False
    needs_auth = False
    default_model = "openchat_3.6"
    models = ("openchat_3.6",)
    dialect: Dialect = OpenChat()
    webdriver: WebDriver | None = None

    @creating
    def create_async_generator(
        self,
        /,
        model: str,
        messages: str | Messages,
        proxy: str | None = None,
        temperature: float = 0.5,
        max_tokens: int = 8192,
        webdriver: WebDriver | None = None,
        **params: Any,
    ) -> AsyncResult:
        """Give the answer's text; nothing is sent before the first read. Close it with ``aclose()``.

        :param temperature: 0 to 1
        :param webdriver: a Selenium WebDriver; it is read in a thread
        :param params: ``headers``, and those of ``HttpProvider.create_async_generator``
        """
        given = {**params, "proxy": proxy, "temperature": temperature, "max_tokens": max_tokens, "webdriver": webdriver}
        return self._request(model, messages, given).unread()

    def _request(self, model: str, messages: str | Messages, params: dict[str, Any]) -> StreamContext:
        driver = params.pop("webdriver", None)
        asked = self
        if driver is not None:
            asked = copy(self)
            asked.webdriver = driver
        return super(Aura, asked)._request(model, messages, params)

    def _address(self) -> str:
        bound: str | None = vars(self).get("api_base") or vars(self).get("url")
        return (bound or self._home()).rstrip("/")

    def _home(self) -> str:
        return super()._home() or type(self).url

    async def _prepare(self, ask: Ask, dialect: Dialect) -> tuple[Call, Iterable[str]]:
        call, secrets = await super()._prepare(ask, dialect)
        if self.webdriver is None:
            return call, secrets
        page = urljoin(self.api_endpoint, "/") if self.api_endpoint else self._address()
        session: BrowserSession = await read_session(self.webdriver, page)
        headers = {**session.headers, **call.headers}
        return Call(method=call.method, url=call.url, headers=headers, body=call.body), (*secrets, *session.secrets)
