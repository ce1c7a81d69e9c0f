"""When requests are sent: loads, plain data that say their times ahead. No clock and no I/O but to read a trace.

A load is what each target gets. ``Users`` is a closed loop: who has an answer asks again. All others are open loops:
their times are known before the run, so that a slow service cannot slow down who measures it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import accumulate, count, islice, repeat
from math import ceil, inf, isfinite, sqrt
from random import Random
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct, to_builtins

from g4ftrio.bench._chance import chance

__all__ = (
    "Arrival",
    "Bursts",
    "Constant",
    "Load",
    "OpenLoad",
    "Poisson",
    "Ramp",
    "Sweep",
    "Trace",
    "Users",
    "arrivals",
    "plain_load",
)


class _Load(Struct, frozen=True, tag=str.lower):
    """What all loads are."""

    @property
    def is_endless(self) -> bool:
        """Whether it goes on until something else ends the run."""
        return True

    @property
    def spacing(self) -> float:
        """Seconds between two requests to a target where they are nearest on average."""
        return 0.0


class Users(_Load, frozen=True):
    """A closed loop: so many users of each target, each of whom asks again as soon as the answer is there."""

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"users are a number from 1, not {self.count!r}")

    def __str__(self) -> str:
        return "1 user" if self.count == 1 else f"{self.count} users"


class _Rate(_Load, frozen=True):
    rate: float

    def __post_init__(self) -> None:
        _check_above_0(rate=self.rate)

    @property
    def spacing(self) -> float:
        return 1 / self.rate


class Constant(_Rate, frozen=True):
    """One request every ``1 / rate`` seconds.

    :ivar rate: requests per second to each target
    """

    def times(self, _: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        return (number / self.rate for number in count())

    def __str__(self) -> str:
        return f"{self.rate:g}/s"


class Poisson(_Rate, frozen=True):
    """Requests that know nothing of each other, as of many users: the gaps are exponentially distributed.

    :ivar rate: requests per second to each target, on average
    """

    def times(self, random: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        return accumulate(random.expovariate(self.rate) for _ in repeat(None))

    def __str__(self) -> str:
        return f"poisson {self.rate:g}/s"


class Bursts(_Rate, frozen=True):
    """Requests that come in bursts: the gaps are gamma distributed.

    :ivar rate: requests per second to each target, on average
    :ivar shape: 1 is Poisson; the smaller, the burstier: the gaps' deviation is ``1 / sqrt(shape)`` of their mean
    """

    shape: float = 0.25

    def __post_init__(self) -> None:
        _check_above_0(rate=self.rate, shape=self.shape)

    def times(self, random: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        scale = 1 / (self.rate * self.shape)
        return accumulate(random.gammavariate(self.shape, scale) for _ in repeat(None))

    def __str__(self) -> str:
        return f"bursts {self.rate:g}/s, shape {self.shape:g}"


class Ramp(_Load, frozen=True):
    """A rate that changes evenly from one to another, and then the run is over.

    :ivar start: requests per second to each target at the beginning
    :ivar stop: the same at the end
    """

    start: float
    stop: float
    seconds: float

    def __post_init__(self) -> None:
        _check_above_0(seconds=self.seconds, highest=self._highest)
        if min(self.start, self.stop) < 0:
            raise ValueError(f"a ramp goes from a rate to a rate, from 0 up, not {self}")

    @property
    def is_endless(self) -> bool:
        return False

    @property
    def spacing(self) -> float:
        return 1 / self._highest

    def times(self, _: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        # The n-th is sent when the rate adds up to n: start * t + (stop - start) / (2 * seconds) * t**2 == n.
        total = (self.start + self.stop) / 2 * self.seconds
        slope = 2 * (self.stop - self.start) / self.seconds
        for number in range(ceil(total - 1e-9)):
            yield 2 * number / (self.start + sqrt(max(self.start**2 + slope * number, 0.0))) if number else 0.0

    @property
    def _highest(self) -> float:
        return max(self.start, self.stop)

    def __str__(self) -> str:
        return f"ramp {self.start:g} to {self.stop:g}/s in {self.seconds:g} s"


class Sweep(_Load, frozen=True):
    """One constant rate after another, to find out which of them a service holds; see ``knees``.

    :ivar rates: requests per second to each target, one step each
    :ivar seconds: how long a step lasts
    :ivar pause: seconds without a request after each step, so that it does not burden the next one
    """

    rates: tuple[float, ...]
    seconds: float = 10.0
    pause: float = 0.0

    def __post_init__(self) -> None:
        _check_above_0(seconds=self.seconds, **{f"rate {number}": rate for number, rate in enumerate(self.rates, 1)})
        if not self.rates or not 0 <= self.pause < inf:
            raise ValueError("a sweep has at least one rate, and a pause from 0 seconds")

    @property
    def is_endless(self) -> bool:
        return False

    @property
    def spacing(self) -> float:
        return 1 / max(self.rates)

    def times(self, _: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        for step, rate in enumerate(self.rates):
            begin = step * (self.seconds + self.pause)
            yield from (begin + place / rate for place in range(_before(self.seconds, rate)))

    def step(self, number: int) -> int:
        """Which step that request of a target belongs to."""
        ends = accumulate(_before(self.seconds, rate) for rate in self.rates)
        return next(step for step, end in enumerate(ends) if number < end)

    def __str__(self) -> str:
        return f"sweep {', '.join(f'{rate:g}' for rate in self.rates)}/s, {self.seconds:g} s each"


class Trace(_Load, frozen=True):
    """Requests at the times of others that were recorded; ``read_trace`` reads a file of them.

    :ivar moments: seconds from the run's start, ascending
    """

    moments: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.moments or not all(isfinite(at) and at >= 0 for at in self.moments):
            raise ValueError("a trace has at least one moment, and each is a number of seconds from 0")
        if any(later < earlier for earlier, later in zip(self.moments, self.moments[1:], strict=False)):
            raise ValueError("the moments of a trace ascend")

    @property
    def is_endless(self) -> bool:
        return False

    def times(self, _: Random) -> Iterator[float]:
        """The times of one target's requests, in seconds from the run's start."""
        return iter(self.moments)

    def __str__(self) -> str:
        return f"trace of {len(self.moments)} requests in {self.moments[-1]:g} s"


OpenLoad: TypeAlias = Constant | Poisson | Bursts | Ramp | Sweep | Trace
Load: TypeAlias = Users | OpenLoad


class Arrival(NamedTuple):
    """One request that is due.

    :ivar at: seconds from the run's start
    :ivar place: whose it is among the targets
    :ivar round: which it is of those of its target
    """

    at: float
    place: int
    round: int


def arrivals(load: OpenLoad, targets: int, *, rounds: int | None = None, seed: int = 0) -> Iterator[Arrival]:
    """The requests of an open loop in the order of their times.

    Every target gets the same times, each a little later than the one before it, so that their requests take turns.

    :param rounds: how many requests each target gets at most
    """
    return merge(*(_of_one(load, place, targets, rounds, seed) for place in range(targets)))


def _of_one(load: OpenLoad, place: int, targets: int, rounds: int | None, seed: int) -> Iterable[Arrival]:
    shift = load.spacing * place / targets
    times = islice(load.times(chance(seed, "times")), rounds)
    return (Arrival(at + shift, place, number) for number, at in enumerate(times))


def plain_load(load: Load) -> dict[str, Any]:
    """A load as plain JSON values, to be written down with a run; of a trace only how long it is."""
    if isinstance(load, Trace):
        return {"type": "trace", "requests": len(load.moments), "seconds": load.moments[-1]}
    plain: dict[str, Any] = to_builtins(load)
    return plain


def _before(seconds: float, rate: float) -> int:
    """How many requests at a constant rate there are before the end of so many seconds."""
    return ceil(seconds * rate - 1e-9)  # of 10 seconds at 0.3 there are 3, whatever the last digit says


def _check_above_0(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name} of a load is a number above 0, not {value!r}")
