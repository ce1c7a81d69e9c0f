"""What a race did: one record an entrant, filled in as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, Self, TypeAlias

from msgspec import Struct, ValidationError, convert, field

from g4ftrio._drawing import chart as _chart
from g4ftrio._words.bill import Bill, Known, Price, total
from g4ftrio._words.chunks import Chunk, FinishReason, Usage
from g4ftrio._words.errors import Error, describe

__all__ = ("EntrantReport", "Outcome", "RaceReport", "ReportedError")

Outcome: TypeAlias = Literal["won", "lost", "failed", "rejected", "cancelled", "not_started", "running"]


_UNTOLD = frozenset({"clock", "listener", "mask", "price"})  # fields that are no part of what is told


def _never() -> float:
    return 0.0


class ReportedError(Error):
    """An error as a saved report tells it.

    :ivar type: the name of the class that it had
    """

    def __init__(self, type: str, message: str) -> None:  # noqa: A002  # as the report calls it
        super().__init__(message)
        self.type = type


class Listener(Protocol):
    """Who wants to hear what happens to an entrant."""

    def __call__(self, event: str) -> None:
        """An event was stamped, or an outcome is known."""

    def takes(self, texts: list[str]) -> None:
        """What the consumer takes of the text is gathered here."""


class Billed(Struct, kw_only=True):
    """What can be billed: an entrant with its earlier attempts or the race inside it, a race with all that it asked."""

    @property
    def cost(self) -> float | None:
        """What the tokens of all of it cost together, as far as it is known; None where nothing is."""
        return self._bill().cost

    @property
    def cost_known(self) -> Known:
        """What ``cost`` is worth, as ``usage_known``: ``at_least`` as soon as a part's is not ``exact``."""
        return self._bill().known

    def _bill(self) -> Bill:
        raise NotImplementedError


class EntrantReport(Billed, kw_only=True):
    """What became of one entrant. Times are seconds of the loop's clock from the race's start, None is never.

    ``connected_at`` stays None where a kept-alive connection was used; ``retries`` counts the kept ones that turned out
    to be dead, so that the request was sent again. ``usage_known`` tells what ``usage`` is worth:
    ``exact`` where the service said it, ``at_least`` where the answer was cut short after some chunks, ``unknown``.
    ``attempts`` are those that failed and were repeated. ``pause`` are the seconds for which the head of an answer says
    that the service has no more to give, ``price`` is that of a million tokens, of input and of output. ``mask`` takes
    out of a text what must not be seen of the request.
    """

    name: str
    model: str = ""
    outcome: Outcome = "not_started"
    started_at: float | None = None
    connected_at: float | None = None
    first_byte_at: float | None = None
    first_chunk_at: float | None = None
    clean_at: float | None = None
    ended_at: float | None = None
    chunks: int = 0
    bytes: int = 0
    retries: int = 0
    filtered: int = 0
    error: Exception | None = None
    usage: Usage | None = None
    usage_known: Known = "unknown"
    finish_reason: str | None = None
    race: RaceReport | None = None
    attempts: list[EntrantReport] = field(default_factory=list)
    price: Price | None = None
    pause: float | None = None
    clock: Callable[[], float] = field(default=_never)
    mask: Callable[[str], str] = field(default=str)
    listener: Listener | None = None

    def stamp(self, event: str) -> None:
        """Note the time of an event the first time that it happens; ``event`` is one of the ``*_at`` above."""
        if getattr(self, event) is None:
            setattr(self, event, self.clock())
            self.tell(event)

    def tell(self, event: str) -> None:
        """Tell whoever listens what has happened: an event as above, or an outcome."""
        if self.listener is not None:
            self.listener(event)

    def broke_off(self, error: Exception) -> None:
        """Note why an answer ended before its end, once it is being read."""
        if self.error is not error:
            self.error = error
            self.tell("failed")

    def note_usage(self, chunks: Iterable[Chunk]) -> None:
        """Note what the service says of its tokens and of the answer's end, where it is among these chunks."""
        for chunk in chunks:
            if isinstance(chunk, Usage):
                self.usage, self.usage_known = chunk, "exact"
            elif isinstance(chunk, FinishReason):
                self.finish_reason = chunk.reason

    def wrote(self, pieces: int) -> None:
        """Note that the model wrote so many pieces, where the service does not say how many tokens they were."""
        if pieces and self.usage_known != "exact":
            self.usage, self.usage_known = Usage(output_tokens=pieces), "at_least"

    def _bill(self) -> Bill:
        if self.price is None and self.race is not None:
            return self.race._bill()
        return total([Bill.of(self.price, self.usage, self.usage_known), *(each._bill() for each in self.attempts)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; errors as text, times to the microsecond."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _UNTOLD}
        return _plain({**values, "cost": self.cost, "cost_known": self.cost_known})  # type: ignore[no-any-return]  # a dict

    def __repr__(self) -> str:
        at = "" if self.clean_at is None else f" clean_at={self.clean_at:.3f}"
        return f"<{self.name} {self.outcome}{at}>"


class RaceReport(Billed, kw_only=True):
    """What a race did: its policy, and a record for every entrant in the order of their turns."""

    policy: str
    entrants: list[EntrantReport]

    @property
    def winner(self) -> EntrantReport | None:
        """The record of the entrant that won, or None."""
        return next((entrant for entrant in self.entrants if entrant.outcome == "won"), None)

    def _bill(self) -> Bill:
        return total(entrant._bill() for entrant in self.entrants if entrant.started_at is not None)

    @property
    def elapsed(self) -> float:
        """Seconds since the start; they stand still when everybody who was started has ended."""
        begun = (each for each in self.entrants if each.started_at is not None or each.outcome == "running")
        return max((each.clock() if each.ended_at is None else each.ended_at for each in begun), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        known = {"cost": _plain(self.cost), "cost_known": self.cost_known}
        return {"policy": self.policy, **known, "entrants": [entrant.to_dict() for entrant in self.entrants]}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Read what ``to_dict`` gave; an error is then a ``ReportedError``.

        :raises ValueError: it is no report
        """
        try:
            return convert(data, cls, dec_hook=_restored)
        except (ValidationError, RecursionError) as error:
            raise ValueError(f"this is no report of a race: {error}") from None

    def waterfall(self, width: int = 80, *, ascii: bool = False) -> str:  # noqa: A002  # the plain word for it
        """Draw the race as text: a bar an entrant, on one axis of time.

        :param width: of a line, in columns; from 40 on
        :param ascii: without characters that a plain terminal may not have
        """
        from g4ftrio._drawing.waterfall import draw

        return draw(self.chart(), width, ascii=ascii)

    def to_svg(self) -> str:
        """Draw the race as an SVG picture, for light and for dark surroundings, without anything from elsewhere."""
        from g4ftrio._drawing.svg import draw

        return draw(self.chart())

    def chart(self) -> _chart.Chart:
        """Lay the race out as it stands, for drawings."""
        return _chart.chart(self.to_dict(), self.elapsed)

    def __str__(self) -> str:
        return "\n".join([f"race, {self.policy}:", *(_line(entrant) for entrant in self.entrants)])


def _line(entrant: EntrantReport) -> str:
    at = "" if entrant.clean_at is None else f", clean after {entrant.clean_at:.3f} s"
    why = "" if entrant.error is None else f": {describe(entrant.error).removeprefix(f'{entrant.name}: ')}"
    return f"  {entrant.name}: {entrant.outcome.replace('_', ' ')}{at}{why}"


def _plain(value: Any) -> Any:
    match value:
        case float():
            return round(value, 6)
        case ReportedError():
            return {"type": value.type, "message": describe(value)}
        case Exception():
            return {"type": type(value).__name__, "message": describe(value)}
        case Usage():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        case Mapping():
            return {name: _plain(each) for name, each in value.items()}
        case RaceReport() | EntrantReport():
            return value.to_dict()
        case list():
            return [_plain(each) for each in value]
    return value


def _restored(kind: type, value: Any) -> Any:
    """Make an error of what a report tells of one."""
    match value:
        case {"type": str(name), "message": str(message)} if kind is Exception:
            return ReportedError(name, message)
    raise ValueError(f"{value!r:.50} cannot be read")
