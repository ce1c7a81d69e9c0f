"""How long things take: distributions to draw seconds from, each a function of a ``random.Random``."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, log
from random import Random
from typing import TypeAlias

__all__ = ("Latency", "as_latency", "constant", "lognormal", "uniform", "with_stragglers")

Latency: TypeAlias = Callable[[Random], float]


def constant(seconds: float) -> Latency:
    """Always take the same time."""
    _check(seconds=seconds)
    return lambda _: seconds


def uniform(least: float, most: float) -> Latency:
    """Take anything between two numbers of seconds, each as likely as the other."""
    _check(least=least, most=most)
    return lambda random: random.uniform(least, most)


def lognormal(median: float, sigma: float) -> Latency:
    """Take mostly about ``median`` seconds, now and then much longer, as services on a network do.

    :param sigma: standard deviation of the logarithm; at 0.5, one in twenty takes more than 2.3 medians
    """
    _check(median=median, sigma=sigma)
    if median == 0:
        return constant(0.0)
    return lambda random: random.lognormvariate(log(median), sigma)


def with_stragglers(latency: Latency | float, share: float = 0.05, factor: float = 10) -> Latency:
    """Let a share of the draws take ``factor`` times as long."""
    _check(share=share, factor=factor)
    draw = as_latency(latency)

    def straggling(random: Random) -> float:
        seconds = draw(random)
        return seconds * factor if random.random() < share else seconds

    return straggling


def as_latency(value: Latency | float) -> Latency:
    """Read a latency as a declaration gives it: a bare number is constant."""
    return value if callable(value) else constant(value)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} of a latency is a number from 0 up, not {value!r}")
