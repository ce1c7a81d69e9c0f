"""What a run would send and cost, and what it has cost, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from g4ftrio.bench._prompts import Prompts
from g4ftrio.bench._spending import Quote, Spending
from g4ftrio.bench._table import Grid

__all__ = ("costs", "quotes")

_ROUNDS = 1000  # prompts that are looked at; what comes after them is taken to be like them
_UNKNOWN = "-"


def quotes(names: Sequence[str], spending: Spending, prompts: Prompts, rounds: int | None) -> Grid:
    """Tell what a run would send.

    :param rounds: requests to each target; None where nobody knows, then it is told of one
    """
    asked = rounds or 1
    rows = [_row(name, spending, prompts, asked) for name in names]
    return Grid(
        title="What would be sent" if rounds else "What one request would be",
        heads=("target", "requests", "tokens in, about", "tokens out, at most", "cost, at most"),
        rows=tuple(rows),
        notes=(
            "tokens in are estimated by characters, four to a token; tokens out are bounded by --max-tokens",
            "cost needs --price or --prices, and --max-tokens; of a race, all entrants are counted",
        ),
    )


def costs(spent: Mapping[str, float]) -> Grid:
    """Tell what a run has cost; without rows where there were no prices."""
    rows = [(name, _money(cost)) for name, cost in spent.items()]
    if len(rows) > 1:
        rows.append(("all", _money(sum(spent.values()))))
    return Grid(
        title="What it cost at most",
        heads=("target", "cost"),
        rows=tuple(rows),
        notes=("by the services' own counts; what they did not count is taken to be all that they may have written",),
    )


def _row(name: str, spending: Spending, prompts: Prompts, rounds: int) -> tuple[str, ...]:
    looked_at = min(rounds, _ROUNDS)
    found = [spending.quote(name, prompts[number]) for number in range(looked_at)]
    read = [quote.input_tokens * len(quote.output_tokens) for quote in found]
    sums = (_sum(each, rounds / looked_at) for each in (read, map(_written, found), (quote.cost for quote in found)))
    tokens_in, tokens_out, cost = sums
    return (name, f"{rounds:,}", _whole(tokens_in), _whole(tokens_out), _money(cost))


def _written(quote: Quote) -> int | None:
    """How many tokens all services together may write."""
    known = [tokens for tokens in quote.output_tokens.values() if tokens is not None]
    return sum(known) if len(known) == len(quote.output_tokens) else None


def _sum(values: Iterable[float | None], scale: float) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return scale * sum(known) if len(known) == len(found) else None


def _whole(count: float | None) -> str:
    return _UNKNOWN if count is None else f"{count:,.0f}"


def _money(cost: float | None) -> str:
    """Write a sum with four figures that count, since one request costs next to nothing."""
    return _UNKNOWN if cost is None else f"{cost:,.2f}" if cost >= 100 else f"{cost:.4g}"
