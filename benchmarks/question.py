"""What a question is: which cases it has, which figures it shows, and what they must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ("OURS", "Bar", "Case", "Column", "Question", "Row")

OURS = ("g4ftrio",)


class Row(NamedTuple):
    """One line of a table: a peer on a loop, in a case."""

    peer: str
    loop: str = ""
    case: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"{self.peer} {self.loop}".strip(), self.case)))


@dataclass(frozen=True)
class Case:
    """One way in which a question is asked.

    :ivar name: what the row says of it beside the peer's name
    :ivar job: the arguments of the question's ``measure``
    :ivar only: the peers that are asked so; none means all of the question's
    """

    name: str = ""
    job: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A figure that is shown.

    :ivar least: whether the least of the samples stands beside the median, in brackets
    """

    key: str
    heading: str
    digits: int = 1
    least: bool = False


class Bar(NamedTuple):
    """What a figure must be: ``row``'s, divided by that of ``to``, at most ``most``.

    :ivar to: the row to divide by; None divides by nothing, or with ``to_key`` by the same row's other figure
    """

    row: Row
    key: str
    most: float
    to: Row | None = None
    to_key: str = ""

    def __str__(self) -> str:
        base = self.to or self.to_key
        return f"{self.row}: {self.key}" + (f", of {base}" if base else "")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of every peer. The module that declares it has ``measure``, which answers it, beside it.

    ``measure(worker, **job)`` runs in each worker, and gives figures, or lists of which the median is the figure; where
    ``inside`` is false it is ``measure(peer, **job)`` and runs in ``run.py`` itself.

    :ivar says: what is done, and what the figures mean
    :ivar peers: who is asked; none means all that speak to the server
    :ivar ratio: the figure of which the tables give the ratios to g4ftrio's
    :ivar less: from which figures which other one is taken away
    :ivar rounds: how many rounds at most, for what takes long
    :ivar warm: whether a first round is not counted: it opens connections, and loads what is loaded late
    :ivar fresh: whether each sample needs a process of its own
    :ivar quick: what is changed in every job where only a rough answer is wanted
    """

    title: str
    says: str
    columns: tuple[Column, ...]
    cases: tuple[Case, ...] = (Case(),)
    peers: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    ratio: str = ""
    less: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 99
    warm: bool = True
    fresh: bool = False
    inside: bool = True
    quick: Mapping[str, Any] = field(default_factory=dict)
