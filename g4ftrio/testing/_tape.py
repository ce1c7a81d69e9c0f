"""Real answers on a tape, and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from g4ftrio.transports.http import open_http_client

__all__ = ("Pieces", "Tape", "record", "replay")


class Tape:
    """Exchanges with services: what was asked, and the answer as it came, piece by piece.

    Neither the headers of requests nor the query of their addresses are kept, so there is no key on a tape.
    """

    kept_headers = ("content-type", "retry-after", "x-request-id", "location")

    def __init__(self, exchanges: Sequence[dict[str, Any]] = ()) -> None:
        self.exchanges = list(exchanges)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Tape:
        """Read a tape from a file."""
        return cls(json.loads(Path(path).read_text("utf-8")))

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file, as JSON."""
        Path(path).write_text(json.dumps(self.exchanges, indent=1, ensure_ascii=False) + "\n", "utf-8")


class _Recorder(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, tape: Tape) -> None:
        self._inner = inner
        self._tape = tape

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        headers = {name: response.headers[name] for name in Tape.kept_headers if name in response.headers}
        pieces: list[str] = []
        self._tape.exchanges.append(
            {**_asked(request), "status": response.status_code, "headers": headers, "pieces": pieces}
        )
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("a recorded answer must be asynchronous")
        return httpx.Response(response.status_code, headers=response.headers, stream=_Recorded(stream, pieces))

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Recorded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, pieces: list[str]) -> None:
        self._stream = stream
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._pieces.append(piece.decode("latin-1"))
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Player(httpx.AsyncBaseTransport):
    def __init__(self, tape: Tape) -> None:
        self._left = list(tape.exchanges)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = _asked(request)
        for exchange in self._left:
            if all(exchange[name] == value for name, value in asked.items()):
                self._left.remove(exchange)
                stream = Pieces([piece.encode("latin-1") for piece in exchange["pieces"]])
                return httpx.Response(exchange["status"], headers=exchange["headers"], stream=stream)
        raise AssertionError(f"there is no such request on the tape (any more): {asked['method']} {asked['url']}")


class Pieces(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def _asked(request: httpx.Request) -> dict[str, Any]:
    body = json.loads(request.content) if request.content else None
    return {"method": request.method, "url": str(request.url.copy_with(query=None)), "body": body}


class record:  # noqa: N801  # it is used like a function, beside `replay`
    """Record what goes over a client: ``async with record("tape.json") as client`` and ``http_client=client``.

    The tape is written when the block is left, whatever came. An answer that was left early is on it as far as it
    was read.

    :param path: the file to write
    :param transport: what really sends; by default the network
    """

    def __init__(self, path: str | PathLike[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._path = path
        self._tape = Tape()
        self._client = open_http_client(transport=_Recorder(transport or httpx.AsyncHTTPTransport(), self._tape))

    async def __aenter__(self) -> httpx.AsyncClient:
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._client.aclose()
        finally:
            self._tape.save(self._path)


def replay(tape: str | PathLike[str] | Tape) -> httpx.AsyncClient:
    """Give back what is on a tape.

    Like ``record`` it gives a client: ``async with replay("tape.json") as client`` and ``http_client=client``. A
    request is answered by the first exchange that is left with the same method, address and body; one that is not on
    the tape is an ``AssertionError``.

    :param tape: a file that ``record`` wrote, or a ``Tape``
    """
    return open_http_client(transport=_Player(tape if isinstance(tape, Tape) else Tape.load(tape)))
