"""What happens in a race, told to whoever listens while it happens: ``on_event=``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, cast

from msgspec import Struct, field

from g4ftrio._words.printable import on_one_line
from g4ftrio._words.report import EntrantReport, RaceReport

__all__ = ("Asked", "Broadcast", "Event", "Hook", "Kind", "with_log")

Kind: TypeAlias = Literal[
    "race_started",
    "started",
    "connected",
    "first_byte",
    "first_chunk",
    "clean",
    "won",
    "lost",
    "failed",
    "rejected",
    "cancelled",
    "failover",
    "closed",
    "race_ended",
]

_log = logging.getLogger("g4ftrio")
_RENAMED = {"ended_at": "closed"}


class Asked(Struct, kw_only=True):
    """What an entrant is asked and what it answers, for hooks that look that far; its ``repr`` shows nothing of it.

    :ivar operation: ``chat``, or ``race`` for an entrant that is a race itself
    :ivar provider: the service, as OpenTelemetry calls it
    :ivar server: the origin that is asked, such as ``https://api.example.com:443``, or nothing
    :ivar headers: what a hook puts in here at ``started`` is sent with the request, where that goes over HTTP
    :ivar texts: the pieces of text that the consumer has taken
    """

    operation: str = "chat"
    provider: str = ""
    server: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Asked with {self.provider}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [("provider", self.provider)]


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. It is frozen; the records that it points to go on to be filled in.

    ``clean`` and ``won`` come at the same moment; ``failed`` comes after ``won`` where the winner broke off. A provider
    that is asked outside of any race tells ``started``, ``connected``, ``first_byte``, ``first_chunk``, ``failed``,
    ``closed``.

    :ivar at: seconds from the race's start, by the loop's clock
    :ivar race: the race's name; nothing outside of any
    :ivar error: what went wrong with the entrant; of ``race_ended`` why nobody won
    :ivar entrant: the entrant's name; nothing for ``race_started`` and ``race_ended``
    :ivar record: the entrant's record, or None
    :ivar report: the race's report, or None outside of any
    :ivar within: of ``race_started`` and ``race_ended``: the entrant that this race is in another, or None
    :ivar asked: what the entrant is asked, or None
    """

    kind: Kind
    at: float
    race: str = ""
    entrant: str = ""
    model: str = ""
    error: Exception | None = None
    record: EntrantReport | None = None
    report: RaceReport | None = None
    within: EntrantReport | None = None
    asked: Asked | None = None

    def __repr__(self) -> str:
        return f"<{self.entrant or self.race} {self.kind} at {self.at:.3f} s>"


Hook: TypeAlias = Callable[[Event], object]
"""Is called in the event loop's thread, in the midst of the race: it has to be quick, and must not block."""


class Broadcast:
    """Tells hooks what happens in one race, or with one request outside of any.

    :param name: the race's
    :param within: the record of the entrant that this race is in another
    """

    def __init__(self, hooks: tuple[Hook, ...], name: str = "", within: EntrantReport | None = None) -> None:
        self._hooks = hooks
        self._name = name
        self._within = within
        self._report: RaceReport | None = None
        self._last: EntrantReport | None = None
        self._faulty: set[int] = set()

    def begin(self, report: RaceReport) -> None:
        """Tell that the race has started."""
        self._report = report
        self._tell_race("race_started", 0.0)

    def end(self, error: BaseException | None = None) -> None:
        """Tell that it is over: everybody is closed; told once.

        :param error: why nobody won
        """
        if self._report is not None:
            why = error if isinstance(error, Exception) else None
            self._tell_race("race_ended", self._report.entrants[0].clock(), why)
            self._report = None

    def end_with(self, record: EntrantReport) -> None:
        """Let the race be over as soon as this entrant is closed, the others being so already."""
        self._last = record

    def listen_to(self, record: EntrantReport, asked: Asked, also: tuple[Hook, ...] = ()) -> None:
        """Tell what happens to an entrant.

        :param also: hooks that are told of this one only
        """
        record.listener = _Listener(self, record, asked, tuple(dict.fromkeys((*self._hooks, *also))))

    def has_happened(self, kind: str, record: EntrantReport, asked: Asked, hooks: tuple[Hook, ...]) -> None:
        """Tell the hooks of an event in an entrant's race."""
        event = Event(
            kind=cast("Kind", kind),
            at=record.clock(),
            race=self._name,
            entrant=record.name,
            model=record.model,
            error=record.error,
            record=record,
            report=self._report,
            asked=asked,
        )
        self._tell(event, hooks)
        if kind == "closed":
            record.listener = None
            if record is self._last:
                self.end()

    def _tell_race(self, kind: Kind, at: float, error: Exception | None = None) -> None:
        event = Event(kind=kind, at=at, race=self._name, error=error, report=self._report, within=self._within)
        self._tell(event, self._hooks)

    def _tell(self, event: Event, hooks: tuple[Hook, ...]) -> None:
        for hook in hooks:
            try:
                hook(event)
            except Exception as error:  # noqa: BLE001  # whatever a hook raises is no business of the race's
                if id(hook) not in self._faulty:
                    self._faulty.add(id(hook))
                    _log.error("an on_event hook failed at %r, which is told once in a race", event, exc_info=error)


class _Listener:
    """Who hears what an entrant's record is told."""

    def __init__(self, broadcast: Broadcast, record: EntrantReport, asked: Asked, hooks: tuple[Hook, ...]) -> None:
        self._broadcast = broadcast
        self._record = record
        self._asked = asked
        self._hooks = hooks

    def __call__(self, event: str) -> None:
        kind = _RENAMED.get(event, event.removesuffix("_at"))
        self._broadcast.has_happened(kind, self._record, self._asked, self._hooks)

    def takes(self, texts: list[str]) -> None:
        """Note where the text is gathered that the consumer takes."""
        self._asked.texts = texts


def with_log(hooks: tuple[Hook, ...]) -> tuple[Hook, ...]:
    """Add the log to the hooks where somebody reads it."""
    return (*hooks, _write_to_log) if _log.isEnabledFor(logging.DEBUG) else hooks


def _write_to_log(event: Event) -> None:
    """Write names, times and classes of errors: no prompts, no keys, and no service's words, which may repeat them."""
    who = on_one_line(event.entrant or event.race)
    where = f" in {on_one_line(event.race)}" if event.entrant and event.race else ""
    why = f": {type(event.error).__name__}" if event.error is not None else ""
    _log.debug("%s%s: %s at %.3f s%s", who, where, event.kind.replace("_", " "), event.at, why)
