"""What is measured of a request: each measure once, with its formula.

All are seconds of the loop's clock, of requests that were answered whole: what failed, or was broken off on purpose, is
counted and not measured. ``tokens`` are those that were written as the service counts them, without reasoning of which
it showed nothing; where it does not count, each piece that came is taken for one.

====================  =====================================================  ========================================
measure               formula                                                is
====================  =====================================================  ========================================
connect               connected - sent                                       the connection, where none was kept
first_byte            first byte - sent                                      the head of the answer
first_token           first token - sent                                     any output: text, reasoning, tool call
first_content         first content - sent                                   clean output: no reasoning, no error page
inter_token           piece - piece before, for each                         what a reader waits for
per_output_token      (end - first token) / (tokens - 1)                     the pace, from 2 tokens on
end_to_end            end - sent                                             the whole answer
queue                 sent - scheduled                                       how late this machine sent it
scheduled_first       first token - scheduled                                ``first_token`` with the waiting before
scheduled             end - scheduled                                        ``end_to_end`` with the waiting before
====================  =====================================================  ========================================

In a closed loop, scheduled is sent. In an open loop it is not where the client or a limit of its own held the request
back; who counts from sent then leaves out the very waiting that the load causes ("coordinated omission").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from g4ftrio.bench._records import RequestRecord

__all__ = ("MEASURES", "Goals", "is_answered", "tokens", "values")


def tokens(record: RequestRecord) -> int:
    """How many tokens were written that the client could see."""
    if record.output_tokens is None:
        return record.pieces
    return record.output_tokens - record.hidden_tokens


def is_answered(record: RequestRecord) -> bool:
    """Whether the answer came whole."""
    return not record.error and not record.cancelled


def _since(begin: float, end: float | None) -> tuple[float, ...]:
    return () if end is None else (end - begin,)


def _per_output_token(record: RequestRecord) -> tuple[float, ...]:
    count = tokens(record)
    if record.first_token_at is None or count < 2:
        return ()
    return ((record.ended_at - record.first_token_at) / (count - 1),)


MEASURES: Mapping[str, Callable[[RequestRecord], Sequence[float]]] = {
    "connect": lambda record: _since(record.sent_at, record.connected_at),
    "first_byte": lambda record: _since(record.sent_at, record.first_byte_at),
    "first_token": lambda record: _since(record.sent_at, record.first_token_at),
    "first_content": lambda record: _since(record.sent_at, record.first_content_at),
    "inter_token": lambda record: record.gaps,
    "per_output_token": _per_output_token,
    "end_to_end": lambda record: _since(record.sent_at, record.ended_at),
    "queue": lambda record: _since(record.scheduled_at, record.sent_at),
    "scheduled_first": lambda record: _since(record.scheduled_at, record.first_token_at),
    "scheduled": lambda record: _since(record.scheduled_at, record.ended_at),
}


def values(record: RequestRecord, measure: str) -> Sequence[float]:
    """What a request has of a measure: one value, none, or of ``inter_token`` many.

    :raises ValueError: there is no such measure
    """
    if measure not in MEASURES:
        raise ValueError(f"a measure is one of {', '.join(MEASURES)}, not {measure!r}")
    return MEASURES[measure](record)


class Goals(Struct, frozen=True, kw_only=True):
    """What an answer must keep to be a good one, in seconds; None is no goal.

    ``first_token`` and ``end_to_end`` count from when the request was scheduled.
    """

    first_token: float | None = None
    per_output_token: float | None = None
    end_to_end: float | None = None

    def met_by(self, record: RequestRecord) -> bool:
        """Whether a request was answered whole, and kept them all."""
        goals = {
            "scheduled_first": self.first_token,
            "per_output_token": self.per_output_token,
            "scheduled": self.end_to_end,
        }
        if not is_answered(record):
            return False
        return all(value <= goal for name, goal in goals.items() if goal is not None for value in values(record, name))

    def __bool__(self) -> bool:
        return self != Goals()
