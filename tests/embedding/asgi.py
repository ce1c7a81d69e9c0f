"""An ASGI server for one browser, which goes away exactly when the test says so.

    browser = Browser(app, "/ask?question=Why", spec_version="2.4", blocks_at=1)
    tasks.start_soon(browser.visit)
    await browser.blocked.wait()
    browser.leave()

What the app is told then differs by version, as it does in servers: up to 2.3, what is sent to nobody is thrown away,
and only ``receive()`` tells; from 2.4 on, ``send()`` raises ``OSError``, too.
"""

from __future__ import annotations

from math import inf
from typing import Any

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message

__all__ = ("VERSIONS", "Browser")

VERSIONS = ("2.3", "2.4")


class Browser:
    """One request of one browser.

    :param blocks_at: the number of the piece of the body, from 1, that the browser does not take: its sending lasts
        until the browser leaves
    :ivar status: of the answer, 0 before there is one
    :ivar text: what has arrived
    :ivar received: is set with every piece of the body that arrives
    :ivar error: what the app let out, if its browser was gone
    """

    def __init__(self, app: ASGIApp, target: str, spec_version: str, *, blocks_at: float = inf) -> None:
        self._app = app
        path, _, query = target.partition("?")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"app.test")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        self._raises = spec_version >= "2.4"
        self._blocks_at = blocks_at
        self._pieces = 0
        self._asked = False
        self._left = anyio.Event()
        self.status = 0
        self.text = ""
        self.is_complete = False
        self.received = anyio.Event()
        self.blocked = anyio.Event()
        self.error: BaseException | None = None

    async def visit(self) -> None:
        """Run the app for this request, to its end."""
        try:
            await self._app(self._scope, self._receive, self._send)
        except (ClientDisconnect, OSError) as error:
            if not self._left.is_set():
                raise
            self.error = error

    def leave(self) -> None:
        """Go away."""
        self._left.set()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self._left.is_set():  # else it is told at once, also in a cancelled scope, as servers do
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        body = message.get("body", b"")
        self._pieces += bool(body)
        if body and self._pieces >= self._blocks_at:
            self.blocked.set()
            await self._left.wait()
        await anyio.lowlevel.checkpoint()
        if not self._left.is_set():
            self._arrive(message)
        elif self._raises:
            raise OSError("the browser is gone")

    def _arrive(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.text += message["body"].decode()
        self.is_complete = not message.get("more_body", False)
        self.received.set()
