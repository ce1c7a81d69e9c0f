"""What a benchmark writes down: the raw truth, a record for each request. Everything else is computed from these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from g4ftrio.bench._statistics import Statistics

__all__ = ("Ending", "EntrantRecord", "RequestRecord", "Run", "Setup")


class EntrantRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one entrant of a race. Times are seconds from the run's start, None is never."""

    name: str
    outcome: str
    started_at: float | None = None
    first_chunk_at: float | None = None
    clean_at: float | None = None
    ended_at: float | None = None
    output_tokens: int | None = None
    usage_known: str = "unknown"


class RequestRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request. Times are seconds from the run's start by the loop's clock, None is never.

    :ivar number: counts the requests of the run from 0
    :ivar round: counts those of its target; in the same round all targets get the same prompt
    :ivar target: the provider or race that was asked
    :ivar phase: whether it counts, or was left out as warm-up or cool-down
    :ivar scheduled_at: when it should have been sent; ``scheduled`` and goals are counted from here
    :ivar sent_at: when it was
    :ivar first_token_at: the first piece of model output: text, reasoning, tool arguments, sound
    :ivar first_content_at: the first clean piece of the answer
    :ivar ended_at: the last of the answer, its finish reason and usage included; or when it failed
    :ivar gaps: seconds between one piece of output and the next
    :ivar tokens_from: whether ``output_tokens`` are the service's own count or the pieces that came
    :ivar hidden_tokens: those of ``output_tokens`` that are reasoning of which nothing was shown
    :ivar error: what went wrong by its class's name, empty where nothing did; ``message`` is what it said
    :ivar cancelled: whether this run broke it off on purpose
    :ivar winner: which entrant of a race gave the answer
    """

    number: int
    round: int = 0
    target: str
    phase: Literal["warmup", "measured", "cooldown"] = "measured"
    prompt: int = 0
    scheduled_at: float
    sent_at: float
    connected_at: float | None = None
    first_byte_at: float | None = None
    first_token_at: float | None = None
    first_content_at: float | None = None
    ended_at: float
    gaps: tuple[float, ...] = ()
    pieces: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens_from: Literal["usage", "pieces"] = "pieces"
    hidden_tokens: int = 0
    finish_reason: str | None = None
    error: str = ""
    message: str = ""
    cancelled: bool = False
    winner: str = ""
    entrants: tuple[EntrantRecord, ...] = ()


class Setup(Struct, frozen=True, kw_only=True):
    """What was asked, of whom, how, and on what: the first line of a file of records.

    :ivar targets: names in the order in which they were given
    :ivar races: the entrants' names of those targets that are races
    :ivar load: in words, ``8 users`` or ``poisson 5/s`` say
    :ivar started: the wall clock's time in ISO 8601
    """

    version: str
    targets: tuple[str, ...]
    races: dict[str, tuple[str, ...]] = {}
    load: str
    seed: int
    started: str
    machine: str
    backend: str
    options: dict[str, Any] = {}


class Ending(Struct, frozen=True, kw_only=True):
    """How a run ended, and what it cost this machine: the last line of a file of records.

    :ivar seconds: from the run's start to its end
    :ivar cpu_seconds: of the thread that ran it, whatever else that thread did included
    :ivar reason: all was done, somebody stopped it, too many requests failed, or ``max_cost`` was reached
    :ivar costs: what was spent at most, by target, in the currency of the prices; empty where there were none
    :ivar lateness: seconds by which its thread noticed too late what came, looked at 16 times a second
    """

    seconds: float
    cpu_seconds: float
    reason: Literal["complete", "interrupted", "errors", "cost"] = "complete"
    costs: dict[str, float] = {}
    lateness: Statistics | None = None


class Run(Struct, frozen=True, kw_only=True):
    """A whole run, or as much of it as there was time for.

    :ivar records: in the order in which they ended; those of ``stored`` are read from their file each time
    :ivar interrupted: whether it was stopped before its end, or its file was cut
    :ivar ending: None where the file was cut
    """

    setup: Setup
    records: Sequence[RequestRecord]
    interrupted: bool = False
    ending: Ending | None = None
