"""How providers fare: who is left alone, and until when. Plain decisions; the caller says what time it is.

A circuit is kept for each key, ``provider/model`` in a race. It is *closed* while all is well, and *open* when the
provider has failed too often: it is then left alone for a while, and after that *half open*: one request tries it, and
decides by its outcome whether the circuit closes or opens for longer. Whether an error counts says ``verdict``.

Apart from that a service may ask for a pause: by ``Retry-After``, or by headers that say that its limit is used up.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from g4ftrio._words.errors import LimitError, ProviderError
from g4ftrio._words.verdict import verdict

__all__ = ("Breaker", "Health")

_KEYS = 1000  # circuits that are kept; a model's name may come from a stranger
_LONGEST = 16  # pauses; each trial that fails doubles the next, up to so many
_DAY = 86_400.0  # seconds, the longest ``Retry-After`` that is believed


class Breaker(Struct, frozen=True, kw_only=True):
    """When a provider that fails is left alone.

    It is after ``failures`` in a row, or when of its last ``window`` requests the share ``rate`` has failed. After
    ``pause`` seconds one request tries it: if that is answered, all is well again; if it fails, the pause is doubled,
    up to sixteen times.

    What counts as a failure: time-outs, connections that fail or break, 5xx and 408, answers that were cut or cannot
    be read, and exceptions of providers that are not g4ftrio's. A 429 is a pause, for as long as the service says, else
    for a second that doubles each time, up to ``pause``. What is wrong with the request itself (400, 401, 404, ...), an
    answer that was not clean, and having lost a race say nothing.

    :ivar failures: in a row
    :ivar rate: from above 0 to 1
    :ivar window: how many requests the rate is taken of
    :ivar pause: seconds
    """

    failures: int = 5
    rate: float = 0.5
    window: int = 20
    pause: float = 30.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.window < 1:
            raise ValueError("a breaker's failures and window are numbers from 1")
        if not 0 < self.rate <= 1:
            raise ValueError(f"a breaker's rate is a share above 0 and up to 1, not {self.rate!r}")
        if not 0 < self.pause < inf:
            raise ValueError(f"a breaker's pause is a number of seconds above 0, not {self.pause!r}")


class Circuit(Struct):
    """What is known of one provider that is not, or was not, well.

    :ivar failures: in a row
    :ivar recent: whether each of the last requests failed
    :ivar refusals: 429s in a row that did not say for how long
    :ivar opened: how often it was opened since it last answered; 0 is closed
    :ivar open_until: from then on it is half open
    :ivar paused_until: until then the service wants to be left alone
    :ivar trial_until: until then nobody else tries it; a trial that hangs must not hold it open for ever
    """

    failures: int = 0
    recent: list[bool] = field(default_factory=list)
    refusals: int = 0
    opened: int = 0
    open_until: float = -inf
    paused_until: float = -inf
    trial_until: float = -inf

    def closes(self) -> None:
        """The provider has answered."""
        self.opened = self.refusals = 0
        self.open_until = self.trial_until = -inf

    def is_well(self, now: float) -> bool:
        """Whether there is nothing to remember."""
        return not (self.opened or self.failures or any(self.recent) or self.paused_until > now)


class Health:
    """What is known of all providers of a race. All times are of one clock, which is the caller's.

    :param breaker: without one, only pauses that a service asks for are kept
    """

    def __init__(self, breaker: Breaker | None) -> None:
        self._breaker = breaker
        self._circuits: dict[str, Circuit] = {}

    def __bool__(self) -> bool:
        """Whether there is anybody who is not well."""
        return bool(self._circuits)

    def paused_until(self, key: str) -> float:
        """Until when the service itself wants to be left alone."""
        circuit = self._circuits.get(key)
        return circuit.paused_until if circuit else -inf

    def open_until(self, key: str) -> float:
        """Until when its circuit is open, or somebody else tries it."""
        circuit = self._circuits.get(key)
        return max(circuit.open_until, circuit.trial_until) if circuit else -inf

    def started(self, key: str, now: float) -> bool:
        """Somebody is about to ask; whether that is the trial of a half-open circuit."""
        circuit = self._circuits.get(key)
        if self._breaker is None or not circuit or not circuit.opened or self.open_until(key) > now:
            return False
        circuit.trial_until = now + self._breaker.pause
        return True

    def answered(self, key: str) -> None:
        """It gave a chunk: whatever becomes of the rest, it is there."""
        if circuit := self._circuits.get(key):
            circuit.closes()

    def succeeded(self, key: str, now: float) -> None:
        """An answer came to its end, or as far as somebody wanted it."""
        if circuit := self._circuits.get(key):
            circuit.closes()
            circuit.failures = 0
            self._note(circuit, failed=False)
            if circuit.is_well(now):
                del self._circuits[key]

    def failed(self, key: str, error: Exception, now: float, *, trial: bool = False) -> None:
        """A request failed, in the midst of its answer as well.

        :param trial: what ``started`` said of it
        """
        asked = error.retry_after if isinstance(error, ProviderError) else None
        what = verdict(error)
        if asked:
            self.paused(key, asked, now)
        elif what == "pause" and self._breaker is not None and not isinstance(error, LimitError):
            self._refused(key, self._breaker, now)
        if what in ("failure", "unknown") and self._breaker is not None:
            self._count(self._circuit(key), self._breaker, now, trial=trial)
        elif trial:
            self.undecided(key)

    def undecided(self, key: str) -> None:
        """A trial ended without a verdict: somebody else may try."""
        if circuit := self._circuits.get(key):
            circuit.trial_until = -inf

    def paused(self, key: str, seconds: float, now: float) -> None:
        """The service wants to be left alone."""
        circuit = self._circuit(key)
        circuit.paused_until = max(circuit.paused_until, now + min(seconds, _DAY))

    def state(self, shift: float) -> dict[str, Any]:
        """All of it as plain JSON values.

        :param shift: what to add to a time of the caller's clock for one of the wall clock
        """
        return {key: _kept(circuit, shift) for key, circuit in self._circuits.items()}

    def restore(self, state: Mapping[str, Any], shift: float, now: float) -> None:
        """Take over what ``state`` gave, before others; a time too far ahead is brought nearer.

        :raises msgspec.ValidationError: it is not of that form
        """
        found = msgspec.convert(state, dict[str, _Kept])
        for key, kept in list(found.items())[:_KEYS]:
            circuit = self._circuit(key)
            circuit.failures, circuit.refusals, circuit.opened = kept.failures, kept.refusals, kept.opened
            circuit.recent = kept.recent[-self._breaker.window :] if self._breaker else []
            circuit.paused_until = min(kept.paused_until - shift, now + _DAY) if kept.paused_until else -inf
            if self._breaker and kept.open_until:
                circuit.open_until = min(kept.open_until - shift, now + self._breaker.pause * _LONGEST)
            if circuit.is_well(now):
                del self._circuits[key]

    def _circuit(self, key: str) -> Circuit:
        circuit = self._circuits.get(key)
        if circuit is None:
            if len(self._circuits) >= _KEYS:
                del self._circuits[next(iter(self._circuits))]
            circuit = self._circuits[key] = Circuit()
        return circuit

    def _refused(self, key: str, breaker: Breaker, now: float) -> None:
        """Pause for a time that the service did not name."""
        circuit = self._circuit(key)
        self.paused(key, min(2.0 ** min(circuit.refusals, 30), breaker.pause), now)
        circuit.refusals += 1

    def _count(self, circuit: Circuit, breaker: Breaker, now: float, *, trial: bool) -> None:
        circuit.failures += 1
        self._note(circuit, failed=True)
        if trial or (not circuit.opened and _has_enough(circuit, breaker)):
            circuit.open_until = now + breaker.pause * min(2**circuit.opened, _LONGEST)
            circuit.opened = min(circuit.opened + 1, _LONGEST)
            circuit.trial_until = -inf
            circuit.recent.clear()

    def _note(self, circuit: Circuit, *, failed: bool) -> None:
        if self._breaker is not None:
            circuit.recent.append(failed)
            del circuit.recent[: -self._breaker.window]


class _Kept(Struct, omit_defaults=True):
    """A circuit in a file. Times are of the wall clock, 0 is never; a trial that was on is not kept."""

    failures: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    recent: Annotated[list[bool], Meta(max_length=10_000)] = field(default_factory=list)
    refusals: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    opened: Annotated[int, Meta(ge=0, le=_LONGEST)] = 0
    open_until: Annotated[float, Meta(ge=0, le=1e11)] = 0.0
    paused_until: Annotated[float, Meta(ge=0, le=1e11)] = 0.0


def _kept(circuit: Circuit, shift: float) -> Any:
    return msgspec.to_builtins(
        _Kept(
            failures=circuit.failures,
            recent=circuit.recent,
            refusals=circuit.refusals,
            opened=circuit.opened,
            open_until=max(0.0, circuit.open_until + shift),
            paused_until=max(0.0, circuit.paused_until + shift),
        )
    )


def _has_enough(circuit: Circuit, breaker: Breaker) -> bool:
    is_full = len(circuit.recent) >= breaker.window
    return circuit.failures >= breaker.failures or (is_full and sum(circuit.recent) >= breaker.rate * breaker.window)
