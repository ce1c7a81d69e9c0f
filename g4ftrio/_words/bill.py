"""What tokens cost, as far as it is known. Prices are the caller's, in whatever currency; none are built in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from g4ftrio._words.chunks import Usage

__all__ = ("Bill", "Known", "Price", "check_prices", "total")

Known: TypeAlias = Literal["exact", "at_least", "unknown"]
Price: TypeAlias = tuple[float, float]

_MILLION = 1e6


class Bill(Struct, frozen=True):
    """A sum, and what it is worth: ``exact``, ``at_least``, or ``unknown`` where there is none."""

    cost: float | None = None
    known: Known = "unknown"

    @classmethod
    def of(cls, price: Price | None, usage: Usage | None, known: Known) -> Bill:
        """The price of what was used; input that the service had in its cache counts in full."""
        if price is None or usage is None:
            return cls()
        cost = ((usage.input_tokens or 0) * price[0] + (usage.output_tokens or 0) * price[1]) / _MILLION
        is_whole = usage.input_tokens is not None and usage.output_tokens is not None
        return cls(cost, known if is_whole else "at_least")


def total(bills: Iterable[Bill]) -> Bill:
    """The sum of all; what is unknown of one makes it a lower bound."""
    every = list(bills)
    costs = [bill.cost for bill in every if bill.cost is not None]
    if not costs:
        return Bill()
    return Bill(sum(costs), "exact" if all(bill.known == "exact" for bill in every) else "at_least")


def check_prices(prices: Mapping[str, Price] | None) -> dict[str, Price]:
    """Read a table of prices.

    :raises ValueError: it is none
    """
    try:
        table = {name: (float(paid), float(made)) for name, (paid, made) in (prices or {}).items()}
        fits = all(price >= 0 for pair in table.values() for price in pair)
    except (AttributeError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError("prices= is {'provider/model': (input, output)}, for a million tokens each, from 0 up")
    return table
