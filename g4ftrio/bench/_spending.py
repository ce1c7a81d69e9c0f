"""What requests may cost before they are sent, and what they took. No I/O.

Prices are the caller's, for a million tokens of input and of output. Before a request is sent, its tokens of input are
estimated by its characters, and those of output are at most ``max_tokens``; a race may ask all its entrants. Afterwards
what the service counted is taken. Where it did not count, because it was left or lost, all that it may have written is:
a bound that is kept is worth more than an average.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any

from msgspec import Struct

from g4ftrio._words.bill import Price, check_prices
from g4ftrio._words.errors import SetupError
from g4ftrio.bench._prompts import Prompt, Prompts
from g4ftrio.bench._records import EntrantRecord, RequestRecord
from g4ftrio.bench._targets import Target

__all__ = ("Quote", "Spending", "tokens_of")

_CHARACTERS = 4  # of English text to a token (https://help.openai.com/en/articles/4936856)
_DATA = "data:"  # begins the address of an image that is sent along; how many tokens that makes, nobody else knows
_MILLION = 1e6


class Quote(Struct, frozen=True):
    """What one request may take.

    :ivar input_tokens: about so many, of each service that is asked
    :ivar output_tokens: at most so many, by the service's name in records; None where nothing bounds them
    :ivar cost: at most, of all services together; None where a price or a bound is not known
    """

    input_tokens: int
    output_tokens: dict[str, int | None]
    cost: float | None


class Spending:
    """What a run has spent, and may still spend.

    :param prices: by the names of targets and entrants, or by ``provider/model``
    :param most: what all requests together may cost
    :raises SetupError: the prices are none; or, with ``most``, what a request costs at most cannot be known
    :ivar costs: what has been spent, by target
    """

    def __init__(
        self,
        targets: Iterable[Target],
        prices: Mapping[str, Price] | None,
        *,
        params: Mapping[str, Any],
        most: float | None = None,
    ) -> None:
        try:
            table = check_prices(prices)
        except ValueError as error:
            raise SetupError(str(error)) from None
        self._targets = {target.name: target for target in targets}
        self._prices = {name: dict(_priced(target, table)) for name, target in self._targets.items()}
        self._params = params
        self._most = inf if most is None else most
        if most is not None and not table:
            raise SetupError("max_cost needs prices, as {'provider/model': (input, output)} for a million tokens each")
        self._reserved = 0.0
        self.costs = dict.fromkeys(self._targets, 0.0) if table else {}

    @property
    def spent(self) -> float:
        """What has been spent on all targets."""
        return sum(self.costs.values())

    def check(self, prompts: Prompts) -> None:
        """See that a limit can be kept.

        :raises SetupError: a target has no price, or nothing bounds the tokens of an answer
        """
        if self._most == inf:
            return
        for target, prices in self._prices.items():
            for name, price in prices.items():
                if price is None:
                    raise SetupError(f"max_cost needs a price for {name}{'' if name == target else f' of {target}'}")
        for number in range(prompts.count or 1):
            for name in self._targets:
                if self.quote(name, prompts[number]).cost is None:
                    raise SetupError("max_cost needs max_tokens, so that it is known what a request costs at most")

    def quote(self, target: str, prompt: Prompt) -> Quote:
        """Say what a request may take."""
        read = tokens_of(prompt)
        written = {name: _most_tokens(each, {**self._params, **prompt.params}) for name, each in self._services(target)}
        prices = self._prices[target]
        costs = [_cost(prices[name], read, most) for name, most in written.items()]
        known = [cost for cost in costs if cost is not None]
        return Quote(read, written, sum(known) if len(known) == len(costs) else None)

    def reserve(self, quote: Quote) -> bool:
        """Set aside what a request may cost, if there is room for it."""
        cost = quote.cost or 0.0
        if self.spent + self._reserved + cost > self._most:
            return False
        self._reserved += cost
        return True

    def settle(self, quote: Quote, record: RequestRecord) -> None:
        """Count what a request took instead of what was set aside for it."""
        self._reserved -= quote.cost or 0.0
        if self.costs:
            self.costs[record.target] += sum(_took(quote, record, self._prices[record.target]))

    def _services(self, target: str) -> Iterator[tuple[str, Any]]:
        return self._targets[target].services


def tokens_of(prompt: Prompt) -> int:
    """About how many tokens a prompt and its tools are, by their characters; what an image makes is left out."""
    characters = _characters(prompt.messages) + _characters(prompt.params.get("tools"))
    return -(-characters // _CHARACTERS)


def _characters(value: Any) -> int:
    match value:
        case str():
            return 0 if value.startswith(_DATA) else len(value)
        case Mapping():
            return sum(map(_characters, value.values()))
        case list():
            return sum(map(_characters, value))
    return 0


def _priced(target: Target, table: Mapping[str, Price]) -> Iterator[tuple[str, Price | None]]:
    for name, provider in target.services:
        keys = (name, f"{provider.label}/{provider.model or target.provider.model}", target.name)
        yield name, next((table[key] for key in keys if key in table), None)


def _most_tokens(provider: Any, params: Mapping[str, Any]) -> int | None:
    most = provider._merged(params).get("max_tokens")
    return most if isinstance(most, int) else None


def _cost(price: Price | None, read: int, written: int | None) -> float | None:
    if price is None or written is None:
        return None
    return (read * price[0] + written * price[1]) / _MILLION


def _took(quote: Quote, record: RequestRecord, prices: Mapping[str, Price | None]) -> Iterator[float]:
    """Give what each service that was asked took; one that answered nothing but an error took nothing."""
    read = quote.input_tokens if record.input_tokens is None else record.input_tokens
    if not record.entrants:
        counted = record.output_tokens if record.tokens_from == "usage" else None
        services = [(record.target, counted, bool(record.error) and not record.pieces)]
    else:
        asked = (each for each in record.entrants if each.started_at is not None)
        services = [(each.name, _counted(each), _failed(each)) for each in asked]
    for name, counted, is_free in services:
        written = quote.output_tokens.get(name) if counted is None else counted
        cost = _cost(prices.get(name), read, written)
        if cost is not None and not is_free:
            yield cost


def _counted(entrant: EntrantRecord) -> int | None:
    return entrant.output_tokens if entrant.usage_known == "exact" else None


def _failed(entrant: EntrantRecord) -> bool:
    return entrant.outcome == "failed" and entrant.first_chunk_at is None
