"""Whom to start first. Plain decisions over what is known of each: no clock, no I/O, nothing known of what is raced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from g4ftrio._race.latencies import Latencies

if TYPE_CHECKING:
    from random import Random

__all__ = ("Order", "Ordering", "Prices")

Order: TypeAlias = Literal["given", "latency", "success", "price"]
Prices: TypeAlias = Mapping[str, tuple[float, float]]

_READ = 3  # tokens that are read for each one written, where prices are compared


class Ordering:
    """An order among entrants, anew for each race.

    By latency and by success, whoever is not known yet comes first, so that each is tried; and a share of the races
    begins with one of the others, so that one that has recovered is found again.

    :param explore: that share, from 0 to 1
    :param prices: by key, for a million tokens read and a million written; whoever has none comes last
    :param seed: makes the exploration repeatable
    """

    def __init__(
        self, by: Order = "given", *, explore: float = 0.05, prices: Prices | None = None, seed: int | None = None
    ) -> None:
        if by not in (known := get_args(Order)):
            raise ValueError(f"order is one of {', '.join(known)}, not {by!r}")
        if not 0 <= explore <= 1:
            raise ValueError(f"explore is a share from 0 to 1, not {explore!r}")
        if by == "price" and not prices:
            raise ValueError('order="price" needs prices={"provider/model": (input, output)} for a million tokens')
        self.by = by
        self._explore = explore
        self._prices = {key: _price(key, price) for key, price in (prices or {}).items()}
        self._seed = seed
        self._random: Random | None = None

    @property
    def learns(self) -> bool:
        """Whether it goes by what became of earlier calls."""
        return self.by in _KNOWLEDGE

    def turns(self, keys: Sequence[str], latencies: Latencies | None) -> list[int]:
        """Give the places of the keys in the order of their turns."""
        turns = list(range(len(keys)))
        if self.by == "price":
            return sorted(turns, key=lambda place: self._prices.get(keys[place], inf))
        if not self.learns or latencies is None:
            return turns
        rank = _KNOWLEDGE[self.by]
        turns.sort(key=lambda place: rank(latencies, keys[place]))
        if len(turns) > 1 and self._chance().random() < self._explore:
            turns.insert(0, turns.pop(self._chance().randrange(1, len(turns))))
        return turns

    def _chance(self) -> Random:
        if self._random is None:
            from random import Random

            self._random = Random(self._seed)  # noqa: S311  # whom to try is no secret
        return self._random


def _by_latency(latencies: Latencies, key: str) -> float:
    """The typical time; whoever fails every other time counts as twice as slow."""
    typical, success = latencies.typical(key), latencies.success(key)
    return -1.0 if typical is None or success is None else typical / success


def _by_success(latencies: Latencies, key: str) -> float:
    success = latencies.success(key)
    return -1.0 if success is None else -success


_KNOWLEDGE: dict[str, Callable[[Latencies, str], float]] = {"latency": _by_latency, "success": _by_success}


def _price(key: str, price: Any) -> float:
    """The price of a mix, to compare."""
    match price:
        case (int() | float() as read, int() | float() as written) if 0 <= read < inf and 0 <= written < inf:
            return _READ * read + written
    raise ValueError(f"the price of {key} is (input, output) for a million tokens, not {price!r}")
