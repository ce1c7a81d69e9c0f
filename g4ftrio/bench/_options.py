"""How a run is run, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Literal, TypeAlias, TypedDict

from msgspec import Struct

from g4ftrio._words.errors import SetupError
from g4ftrio.bench._load import Load

__all__ = ("Options", "Phase", "RunOptions")

Phase: TypeAlias = Literal["warmup", "measured", "cooldown"]


class RunOptions(TypedDict, total=False):
    """What ``run`` takes by name; ``Options`` says what each is."""

    count: int | None
    duration: float | None
    warmup: float
    cooldown: float
    max_error_share: float | None
    max_cost: float | None
    cancel_share: float
    cancel_after: float
    max_active: int
    allow_cache: bool
    seed: int


class Options(Struct, frozen=True, kw_only=True):
    """How a run is run.

    :ivar count: requests to each target that count
    :ivar duration: seconds in which requests are sent
    :ivar warmup: what does not count at the beginning: seconds if ``duration`` is given, else requests to each target
    :ivar cooldown: likewise at the end
    :ivar max_error_share: the run ends if more than this share of its requests failed, judged from the tenth on
    :ivar max_cost: no request is sent with which the run might cost more; needs ``prices`` and ``max_tokens``
    :ivar cancel_share: the share of the requests that are broken off; ``seed`` says which
    :ivar cancel_after: seconds within which that happens
    :ivar max_active: requests of an open loop under way; who must wait for that is late, and the records say so
    :ivar allow_cache: ask the prompts as they are, and not behind a prefix of its own each that no service has cached
    :ivar seed: of all that is drawn: the times of the load, and who is broken off
    """

    count: int | None = None
    duration: float | None = None
    warmup: float = 0
    cooldown: float = 0
    max_error_share: float | None = None
    max_cost: float | None = None
    cancel_share: float = 0.0
    cancel_after: float = 1.0
    max_active: int = 1000
    allow_cache: bool = False
    seed: int = 0

    def check(self, load: Load) -> None:
        """See that a run can be done, and will end.

        :raises SetupError: what is wrong
        """
        wrong = next((text for text, is_wrong in self._doubts(load) if is_wrong), None)
        if wrong:
            raise SetupError(wrong)

    @property
    def rounds(self) -> int | None:
        """How many requests each target gets at most."""
        if self.count is None or self.duration is not None:
            return self.count
        return self.count + int(self.warmup) + int(self.cooldown)

    def phase(self, number: int, at: float) -> Phase:
        """Whether a request counts.

        :param number: which of its target's it is
        :param at: when it was scheduled
        """
        place, end = (number, self.rounds or inf) if self.duration is None else (at, self.duration)
        if place < self.warmup:
            return "warmup"
        return "measured" if place < end - self.cooldown else "cooldown"

    def _doubts(self, load: Load) -> Iterator[tuple[str, bool]]:
        seconds, share = self.duration, self.max_error_share
        is_endless = self.count is None and seconds is None
        yield "count is a number of requests from 1", self.count is not None and self.count < 1
        yield "duration is a number of seconds above 0", seconds is not None and not 0 < seconds < inf
        yield f"a load of {load} has no end of its own: give count or duration", is_endless and load.is_endless
        yield "warmup and cooldown are numbers from 0", not min(self.warmup, self.cooldown) >= 0
        yield "cooldown needs count or duration, to be before the end", bool(self.cooldown) and is_endless
        spared = self.warmup + self.cooldown
        yield "warmup and cooldown leave nothing of duration", seconds is not None and spared >= seconds
        yield "max_error_share is a share from 0 to 1", share is not None and not 0 <= share <= 1
        yield "max_cost is a sum from 0", self.max_cost is not None and not self.max_cost >= 0
        yield "cancel_share is a share from 0 to 1", not 0 <= self.cancel_share <= 1
        yield "cancel_after is a number of seconds above 0", not 0 < self.cancel_after < inf
        yield "max_active is a number from 1", self.max_active < 1
