"""How much a provider may be asked: so many requests at once, so many requests and tokens in so many seconds.

Whoever wants to ask stands in line. The first in line goes in as soon as there is room, and nobody before him: a large
request is not overtaken by small ones for ever. A limit belongs to a provider's instance, whatever loop asks: the
synchronous forms run a loop in each thread. So what is kept is kept in the time that all loops share, and a lock is
held for the few lines in which somebody is let in. To leave takes no lock, because the garbage collector may do it in
the midst of those lines: it is noted, and whoever is first in line is woken to see to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from threading import Lock
from typing import Any

import anyio
from anyio import CancelScope, current_time
from msgspec import Struct

from g4ftrio._loops import from_any_thread
from g4ftrio._timeline import to_timeline
from g4ftrio._words.errors import LimitError, SetupError

__all__ = ("Limiter", "Rate", "Ticket", "estimated_tokens", "make_limiter")

_LETTERS = 4  # of a token, about, in English
_PART = 1000  # tokens that a picture or a file is taken to be
_OVERHEAD = 4  # tokens that wrap a message


class Rate(Struct, frozen=True, kw_only=True):
    """So many requests, and so many tokens, in any span of ``per`` seconds.

    A request's tokens are estimated before it is asked (a token is four letters, and ``max_tokens`` are counted in),
    and put right when the service has said how many there were.

    :ivar per: seconds
    """

    requests: int | None = None
    tokens: int | None = None
    per: float = 60.0

    def __post_init__(self) -> None:
        if self.requests is None and self.tokens is None:
            raise ValueError("a rate is of requests=, of tokens=, or of both")
        if not 0 < self.per < inf or not all(most is None or most >= 1 for most in (self.requests, self.tokens)):
            raise ValueError("a rate's requests and tokens are numbers from 1, and per is a number of seconds above 0")


class Ticket:
    """One request's place in line, and inside.

    :ivar tokens: what it is taken to need, later what it did
    :ivar changed: set when its task must look again
    :ivar gone: it does not wait any more, and nothing was asked
    """

    __slots__ = ("_post", "changed", "entries", "gone", "is_in", "tokens")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.changed = anyio.Event()
        self.is_in = False
        self.gone = False
        self.entries: dict[str, _Entry] = {}
        self._post = from_any_thread()

    def wake(self) -> None:
        """Have its task look again; from any thread."""
        self._post(self.changed.set)


class _Entry(Struct):
    at: float
    amount: int
    counts: bool = True


class _Window:
    """How much was used in the last seconds."""

    def __init__(self, most: int, per: float) -> None:
        self.most = most
        self.per = per
        self._used = 0
        self._entries: deque[_Entry] = deque()

    def room_at(self, amount: int, now: float) -> float:
        """When there is room for so much; what is more than all of it needs all of it."""
        while self._entries and self._entries[0].at + self.per <= now:
            oldest = self._entries.popleft()
            oldest.counts = False
            self._used -= oldest.amount
        most, used, at = max(self.most - amount, 0), self._used, -inf
        for entry in self._entries:
            if used <= most:
                break
            used, at = used - entry.amount, entry.at + self.per
        return at

    def take(self, amount: int, now: float) -> _Entry:
        entry = _Entry(now, amount)
        self._entries.append(entry)
        self._used += amount
        return entry

    def correct(self, entry: _Entry, amount: int) -> None:
        """It was so much in truth."""
        if entry.counts:
            self._used += amount - entry.amount
            entry.amount = amount


class Limiter:
    """The limits of one provider's instance.

    :param limit: requests at once, or None
    :param wait: seconds that a request waits for its turn, 0 not at all; None as long as it takes
    """

    def __init__(self, limit: int | None, rate: Rate | None, wait: float | None) -> None:
        self._limit = limit
        self._wait = inf if wait is None else wait
        self._windows: dict[str, _Window] = {}
        if rate is not None:
            mosts = {"requests": rate.requests, "tokens": rate.tokens}
            self._windows = {kind: _Window(most, rate.per) for kind, most in mosts.items() if most is not None}
        self._inside = 0
        self._line: deque[Ticket] = deque()
        self._left: deque[Ticket] = deque()
        self._lock = Lock()

    async def enter(self, tokens: int, provider: str) -> Ticket:
        """Wait for a turn; whoever gets a ticket must give it to ``leave``.

        :raises LimitError: it did not come in time
        """
        ticket = Ticket(tokens)
        late = current_time() + self._wait
        with self._lock:
            self._line.append(ticket)
        try:
            room = self._admit(ticket)
            while not ticket.is_in:
                if current_time() >= late:
                    raise self._refusal(ticket, provider)
                with CancelScope(deadline=min(late, room)):
                    await ticket.changed.wait()
                ticket.changed = anyio.Event()
                room = self._admit(ticket)
        except BaseException:
            self._withdraw(ticket)
            raise
        return ticket

    def leave(self, ticket: Ticket, tokens: int | None = None) -> None:
        """Make room, from anywhere.

        :param tokens: how many they were in truth, if that is known
        """
        if tokens is not None:
            ticket.tokens = tokens
        self._left.append(ticket)
        self._wake_first()

    def _admit(self, ticket: Ticket) -> float:
        """Let in who can go in; when this one should look again without being woken, by the running loop's clock."""
        shift = to_timeline()
        now = current_time() + shift
        with self._lock:
            self._clear()
            moved = False
            while self._line:
                head = self._line[0]
                room = self._room_at(head, now)
                if room > now:
                    break
                self._take(self._line.popleft(), now)
                moved = True
                if head is not ticket:
                    head.wake()
            else:
                return inf
        if head is ticket:
            return room - shift
        if moved:
            self._wake_first()  # it did not know that it is the first
        return inf

    def _withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            ticket.gone = True
            if ticket.is_in:
                self._left.append(ticket)
            else:
                self._line.remove(ticket)
        self._wake_first()

    def _wake_first(self) -> None:
        with suppress(IndexError):  # nobody waits; whoever comes next sees to what there is
            self._line[0].wake()

    def _clear(self) -> None:
        """See to those who have left."""
        while self._left:
            ticket = self._left.popleft()
            self._inside -= 1
            for kind, entry in ticket.entries.items():
                self._windows[kind].correct(entry, 0 if ticket.gone else _need(kind, ticket))

    def _room_at(self, ticket: Ticket, now: float) -> float:
        if self._limit is not None and self._inside >= self._limit:
            return inf
        return max((window.room_at(_need(kind, ticket), now) for kind, window in self._windows.items()), default=-inf)

    def _take(self, ticket: Ticket, now: float) -> None:
        self._inside += 1
        ticket.is_in = True
        ticket.entries = {kind: window.take(_need(kind, ticket), now) for kind, window in self._windows.items()}

    def _refusal(self, ticket: Ticket, provider: str) -> LimitError:
        now = current_time() + to_timeline()
        with self._lock:
            rooms = {kind: window.room_at(_need(kind, ticket), now) for kind, window in self._windows.items()}
            inside = self._inside
        if not rooms or (self._limit is not None and inside >= self._limit):
            return LimitError("limit", self._limit or 0, provider=provider)
        kind = max(rooms, key=rooms.__getitem__)
        window, left = self._windows[kind], rooms[kind] - now
        return LimitError(kind, window.most, window.per, retry_after=left if left > 0 else None, provider=provider)


def make_limiter(limit: int | None, rate: Rate | None, wait: float | None) -> Limiter | None:
    """The limiter for a provider's settings; None where there is nothing to limit.

    :raises SetupError: settings that mean nothing
    """
    if limit is None and rate is None:
        if wait is not None:
            raise SetupError("wait= is how long a request waits for its turn: it goes with limit= or rate=")
        return None
    if limit is not None and limit < 1:
        raise SetupError(f"limit= is a number of requests from 1, not {limit!r}")
    if wait is not None and not wait >= 0:
        raise SetupError(f"wait= is a number of seconds from 0, or None, not {wait!r}")
    return Limiter(limit, rate, wait)


def estimated_tokens(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> int:
    """About how many tokens a request is, with those that it may be answered with where it says how many."""
    answer = params.get("max_tokens")
    return sum(map(_tokens, messages)) + (answer if isinstance(answer, int) else 0)


def _tokens(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return _OVERHEAD + len(content) // _LETTERS
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content or ()]
    return _OVERHEAD + sum(len(text) // _LETTERS if isinstance(text, str) else _PART for text in texts)


def _need(kind: str, ticket: Ticket) -> int:
    return ticket.tokens if kind == "tokens" else 1
