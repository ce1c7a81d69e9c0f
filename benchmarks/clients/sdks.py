"""The peers, each by the lightest way that it offers: a client that is kept, and the stream that it gives."""

# Each peer lives in an environment of its own.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Self

from clients import PROMPT, Client, Take

__all__ = ("Anthropic", "AnyLLM", "G4f", "Litellm", "OpenAI", "PydanticAI")


class OpenAI(Client):
    """``AsyncOpenAI``; a base URL of its own for each call by ``with_options``, which shares the connections."""

    most = 1000  # openai's DEFAULT_CONNECTION_LIMITS

    async def __aenter__(self) -> Self:
        import openai

        self._client = openai.AsyncOpenAI(api_key="key", base_url="http://127.0.0.1")
        self._at = cache(lambda address: self._client.with_options(base_url=address))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        stream = await self._at(address).chat.completions.create(model="m", messages=PROMPT, stream=True)
        async with stream:
            async for chunk in stream:
                if text := chunk.choices[0].delta.content:
                    take(text)


class Anthropic(Client):
    """``AsyncAnthropic``. Its wire has other events: about 120 bytes each, not 305."""

    most = 1000

    async def __aenter__(self) -> Self:
        import anthropic

        self._client = anthropic.AsyncAnthropic(api_key="key")
        self._at = cache(lambda address: self._client.with_options(base_url=address.removesuffix("/v1")))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        messages = self._at(address).messages
        async with await messages.create(model="m", messages=PROMPT, max_tokens=9, stream=True) as stream:
            async for event in stream:
                if event.type == "content_block_delta":
                    take(event.delta.text)


class G4f(Client):
    """The provider's generator, which ``g4f.client`` wraps."""

    most = 20  # limit_per_host of g4f's shared connector

    async def __aenter__(self) -> Self:
        from g4f.Provider.template import OpenaiTemplate

        class Local(OpenaiTemplate):  # type: ignore[misc]  # of no type here
            default_model = "m"
            models = ("m",)

        self._provider: Any = Local
        return self

    async def __aexit__(self, *error: object) -> None:
        from g4f.requests.aiohttp import close_shared_connectors

        await close_shared_connectors()

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        async for chunk in self._provider.create_async_generator("m", PROMPT, base_url=address, stream=True):
            if isinstance(chunk, str):
                take(chunk)


class Litellm(Client):
    """``litellm.acompletion``; a ``Router`` for its race."""

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        import litellm

        await _taken(await litellm.acompletion("openai/m", PROMPT, api_base=address, api_key="key", stream=True), take)

    async def race(self, addresses: Sequence[str], take: Take) -> None:
        """Stream the answer of whoever sends the head of an answer first."""
        names = ",".join(map(str, range(len(addresses))))
        router = self._router(tuple(addresses))
        await _taken(await router.abatch_completion_fastest_response(model=names, messages=PROMPT, stream=True), take)

    @cache  # noqa: B019  # as many as there are sets of addresses
    def _router(self, addresses: tuple[str, ...]) -> Any:
        import litellm

        return litellm.Router(
            model_list=[
                {"model_name": str(n), "litellm_params": {"model": "openai/m", "api_base": address, "api_key": "key"}}
                for n, address in enumerate(addresses)
            ]
        )


class AnyLLM(Client):
    """An instance of its OpenAI provider for each base URL; the module's own function opens a client at each call."""

    most = 1000

    async def __aenter__(self) -> Self:
        import any_llm

        self._at = cache(lambda address: any_llm.AnyLLM.create("openai", api_key="key", api_base=address))
        return self

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        await _taken(await self._at(address).acompletion(model="m", messages=PROMPT, stream=True), take)


class PydanticAI(Client):
    """``pydantic_ai.direct``, the way below its agents."""

    most = 1000

    async def __aenter__(self) -> Self:
        from pydantic_ai.messages import ModelRequest
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        self._messages = [ModelRequest.user_text_prompt(PROMPT[0]["content"])]
        self._at = cache(lambda address: OpenAIChatModel("m", provider=OpenAIProvider(base_url=address, api_key="key")))
        return self

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        from pydantic_ai.direct import model_request_stream

        async with model_request_stream(self._at(address), self._messages) as stream:
            async for event in stream:
                if event.event_kind == "part_delta":
                    take(event.delta.content_delta)
                elif event.event_kind == "part_start":
                    take(event.part.content)


async def _taken(chunks: Any, take: Take) -> None:
    """Hand on the texts of chunks in OpenAI's shape."""
    async for chunk in chunks:
        if text := chunk.choices[0].delta.content:
            take(text)
