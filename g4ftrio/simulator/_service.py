"""The declaration of a simulated provider."""

from __future__ import annotations

from math import inf

from msgspec import Struct
from msgspec.structs import force_setattr

from g4ftrio.simulator._dialects import DIALECTS, SOCKETS
from g4ftrio.simulator._faults import Fault
from g4ftrio.simulator._latency import Latency, as_latency

__all__ = ("Service",)


class _Named(Struct, frozen=True):
    name: str


class Service(_Named, frozen=True, kw_only=True):
    """A provider to simulate: how fast it is, what it says, and what goes wrong.

    The n-th chat that a service is asked, counted from 0, draws its times from ``random.Random(f"{seed}/{name}/{n}")``,
    so that a run can be repeated whatever the order in which services answer.

    :ivar name: also the model's name where ``models`` does not say otherwise
    :ivar first_token: seconds until the first token; errors take as long
    :ivar gap: seconds between two tokens
    :ivar tokens: how many there are in an answer, or a range to choose from; a token is a word
    :ivar text: a fixed answer in place of a made-up one
    :ivar reasoning: tokens of reasoning that come before the answer
    :ivar fault: what goes wrong, one of ``FAULTS`` or a ``Fault`` with settings
    :ivar fault_share: the share of the requests that meet the fault
    :ivar key: the key that requests must bring, if any
    :ivar tokens_per_write: holds tokens back and writes so many at once, as proxies do
    :ivar dialect: the wire that it speaks, as a spec names it
    """

    first_token: Latency | float = 0.0
    gap: Latency | float = 0.0
    tokens: int | range = range(60, 101)
    text: str | None = None
    reasoning: int = 0
    fault: Fault | str | None = None
    fault_share: float = 1.0
    key: str | None = None
    models: tuple[str, ...] = ()
    seed: int = 0
    tokens_per_write: int = 1
    dialect: str = "openai-compatible"

    def __post_init__(self) -> None:
        if not self.name or not self.name.isascii() or not self.name.isprintable() or " " in self.name:
            raise ValueError(f"a service's name is printable ASCII without spaces, not {self.name!r}")
        lengths = self.tokens if isinstance(self.tokens, range) else (self.tokens,)
        if not lengths or min(lengths) < 0:
            raise ValueError(f"{self.name}: tokens is a number from 0 up or a range of them, not {self.tokens!r}")
        if self.dialect not in (known := {**DIALECTS, **SOCKETS}):
            raise ValueError(f"{self.name}: there is no dialect named {self.dialect!r}; there is {', '.join(known)}")
        self._check("reasoning", 0, inf)
        self._check("tokens_per_write", 1, inf)
        self._check("fault_share", 0, 1)
        as_latency(self.first_token), as_latency(self.gap)
        force_setattr(self, "fault", Fault.of(self.fault))
        force_setattr(self, "models", tuple(self.models) or (self.name,))

    def _check(self, field: str, least: float, most: float) -> None:
        value = getattr(self, field)
        if not least <= value <= most:
            raise ValueError(f"{self.name}: {field} is a number from {least:g} to {most:g}, not {value!r}")
