"""Results as Markdown: for each question a table, what is missing in it and why, and what its figures must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from itertools import chain
from typing import Any

from environments import ENVIRONMENTS, PINS
from medians import median
from peers import PEERS
from question import OURS, Bar, Case, Column, Question, Row
from questions import NAMES

__all__ = ("between", "markdown", "preface", "report", "rows_of", "section")

_MARKS = {"ours": "**", "floor": "*", "peer": ""}
_MARK_OF = {peer.name: _MARKS[peer.kind] for peer in PEERS}


def rows_of(question: Question, names: Iterable[str] = (), loops: Iterable[str] = ()) -> dict[Row, Case]:
    """The rows that a question has, and the case of each.

    :param names: peers to keep; none means all
    :param loops: loops to keep; none means all
    """
    return {
        Row(peer.name, loop, case.name): case
        for peer in PEERS
        for case in question.cases
        for loop in (peer.loops if question.inside else ("",))
        if peer.name in (question.peers or _MARK_OF)
        and peer.name in (names or _MARK_OF)
        and peer.name in (case.only or _MARK_OF)
        and (not loop or loop in (loops or peer.loops))
    }


def report(results: Mapping[str, Any]) -> str:
    """Everything that there is."""
    return "\n\n".join([preface(results), *(section(name, results) for name in NAMES if name in results["questions"])])


def preface(results: Mapping[str, Any]) -> str:
    """On what it was measured, and with what."""
    return f"Measured on {', '.join(results['machine'].values())}, with {_versions(results['environments'])}."


def _versions(found: Mapping[str, Mapping[str, str]]) -> str:
    """What was installed of what is pinned; what the index had not is marked."""
    installed = {
        name: found[environment][name]
        for environment, names in ENVIRONMENTS.items()
        for name in (each.partition("[")[0] for each in names)
        if name in found.get(environment, {})
    }
    marks = {True: "", False: " (not the pinned one)"}
    return ", ".join(f"{name} {version}{marks[version == PINS[name]]}" for name, version in sorted(installed.items()))


def section(name: str, results: Mapping[str, Any]) -> str:
    """One question."""
    question: Question = import_module(f"questions.{name}").QUESTION
    found = results["questions"][name]
    table = Table(question, found["rows"])
    how = f"the median of {found['rounds']}" if found["rounds"] > 1 else "once"
    if any(column.least for column in question.columns):
        how += ", the least in brackets"
    parts = [
        f"### {question.title}",
        f"{question.says} Measured {found['date']}: {how}.",
        markdown(table.lines()),
        "\n".join(table.missing()),
        markdown(table.judgement()),
    ]
    return "\n\n".join(filter(None, parts))


class Table:
    """A question and the samples of its rows.

    :param samples: for each row ``figures``, lists by key, or the reason why it ``cannot``
    """

    def __init__(self, question: Question, samples: Mapping[str, Any]) -> None:
        self._question = question
        self._cases = {row: case for row, case in rows_of(question).items() if str(row) in samples}
        self._figures = {row: samples[str(row)].get("figures", {}) for row in self._cases}
        self._reasons = {row: samples[str(row)].get("cannot") for row in self._cases}

    def lines(self) -> list[list[str]]:
        """The head, and a line for each row: where ratios are given the least first, otherwise as declared."""
        rows = [row for row in self._cases if not self._reasons[row]]
        ours: list[Row] = []
        if self._question.ratio:
            rows.sort(key=lambda row: self._median(row, self._question.ratio) or 0.0)
            ours = [row for row in self._cases if row.peer in OURS and row.case == self._question.cases[0].name]
        head = ["", *(column.heading for column in self._question.columns)]
        head += [f"/ {row.peer} {row.loop}".rstrip() for row in ours]
        return [head, *(self._line(row, ours) for row in rows), *self._server()]

    def _line(self, row: Row, ours: Sequence[Row]) -> list[str]:
        mark = _MARK_OF[row.peer]
        cells = [self._cell(row, column) for column in self._question.columns]
        return [f"{mark}{row}{mark}", *cells, *(self._ratio(row, our) for our in ours)]

    def _cell(self, row: Row, column: Column) -> str:
        samples = self._figures[row].get(column.key)
        if not samples:
            return "-"
        least = f" ({min(samples):,.{column.digits}f})" if column.least else ""
        return f"{median(samples):,.{column.digits}f}{least}"

    def _ratio(self, row: Row, our: Row) -> str:
        """How many times what ours takes: in the same case, if others have that too."""
        base = our if self._cases[row].only else our._replace(case=row.case)
        ratio = self._quotient(self._median(row, self._question.ratio), self._median(base, self._question.ratio))
        return "-" if ratio is None else f"{ratio:.2f}"

    def _server(self) -> Iterable[list[str]]:
        """What the server itself took, and what it could have done."""
        costs = [*chain.from_iterable(figures.get("server", ()) for figures in self._figures.values())]
        if costs:
            yield [f"the server itself: up to {1e6 / median(costs):,.0f} events/s", f"{median(costs):,.2f}"]

    def missing(self) -> list[str]:
        """Who is not in the table, and why."""
        return [f"- {row}: {reason}" for row, reason in self._reasons.items() if reason]

    def judgement(self) -> list[list[str]]:
        """What the figures must be, and what they are."""
        found = [(bar, is_) for bar in self._question.bars if (is_ := self._found(bar)) is not None]
        if not found:
            return []
        words = ("**missed**", "met")
        lines = [[str(bar), f"{bar.most:.3g}", f"{is_:.3g}", words[is_ <= bar.most]] for bar, is_ in found]
        return [["must be", "at most", "is", ""], *lines]

    def _found(self, bar: Bar) -> float | None:
        value = self._median(bar.row, bar.key)
        if bar.to is None and not bar.to_key:
            return value
        return self._quotient(value, self._median(bar.to or bar.row, bar.to_key or bar.key))

    def _median(self, row: Row, key: str) -> float | None:
        samples = self._figures.get(row, {}).get(key)
        return median(samples) if samples else None

    @staticmethod
    def _quotient(value: float | None, base: float | None) -> float | None:
        return value / base if value is not None and base else None


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; short lines are filled up."""
    if not lines:
        return ""
    head, *body = lines
    filled = [[*line, *[""] * (len(head) - len(line))] for line in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---", *["---:"] * (len(head) - 1)], *filled))


def between(text: str, mark: str, new: str) -> str:
    """Put ``new`` between the comments ``<!-- mark -->`` and ``<!-- /mark -->`` of a text."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"
