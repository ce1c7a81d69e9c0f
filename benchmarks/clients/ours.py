"""This library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from clients import PROMPT, CannotDo, Client, Take
from g4ftrio import Timeout, open_http_client, race
from g4ftrio.providers import OpenAICompatible

__all__ = ("G4ftrio",)

PATIENT = Timeout(connect=60)  # 5,000 at once stand in a queue, and nobody else gives up after 5 s


class G4ftrio(Client):
    """Providers on one shared client."""

    def __init__(self, *, stock: bool = False, warm: dict[str, int] | None = None) -> None:
        super().__init__(stock=stock)
        self._providers: dict[str, OpenAICompatible] = {}
        try:
            self._http = open_http_client(**({"warm": warm} if warm else {}))
        except TypeError as error:
            raise CannotDo("open_http_client() has no warm=") from error

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:  # noqa: PYI036  # the client's own takes no objects
        await self._http.__aexit__(*error)

    def _provider(self, address: str) -> OpenAICompatible:
        if address not in self._providers:
            self._providers[address] = OpenAICompatible(
                api_base=address, model="m", http_client=self._http, timeout=PATIENT
            )
        return self._providers[address]

    async def read(self, address: str, take: Take) -> None:
        """Stream one answer."""
        async with self._provider(address).stream(PROMPT) as stream:
            async for chunk in stream:
                if isinstance(chunk, str):
                    take(chunk)

    async def race(self, addresses: Sequence[str], take: Take) -> None:
        """Stream the winner's answer."""
        async with race([self._provider(address) for address in addresses], PROMPT) as stream:
            async for chunk in stream:
                if isinstance(chunk, str):
                    take(chunk)
