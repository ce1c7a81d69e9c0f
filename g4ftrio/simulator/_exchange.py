"""What the server saw of one request."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

__all__ = ("Exchange", "Outcome")

Outcome: TypeAlias = Literal["running", "complete", "fault", "refused", "client_gone", "stopped"]


class Exchange(Struct, kw_only=True):
    """One request and what became of it. Times are the server's loop's clock in seconds, None is never.

    ``outcome`` is ``complete`` for a good answer, whole; ``fault`` for one with a fault, to the end that the fault
    makes; ``refused`` for a request that was wrong; ``client_gone`` where the client left before that; ``stopped``
    where the server did. A ``repr`` shows neither headers nor body: there are keys and prompts in them.

    :ivar request_id: what the answer says in its ``x-request-id`` header
    :ivar headers: names in lower case
    :ivar body: decoded from JSON; as bytes where it is not JSON; None where there was none
    :ivar status: of the answer
    :ivar fault: the name of the fault that it met
    :ivar tokens_sent: pieces of text, reasoning, refusal or tool call
    """

    request_id: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    fault: str | None = None
    status: int = 200
    asked_at: float
    first_token_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome = "running"
    tokens_sent: int = 0

    def __repr__(self) -> str:
        path, _, _ = self.path.partition("?")  # a key may be behind it
        return f"<{self.request_id} {self.method} {path} {self.outcome}, {self.tokens_sent} tokens>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [("request_id", self.request_id), ("outcome", self.outcome)]
