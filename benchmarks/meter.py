"""What this process has spent: CPU, time, memory. Workers use it too, where nothing of ours is installed."""

from __future__ import annotations

import gc
import resource
import time
from typing import NamedTuple

__all__ = ("Meter", "Spent", "memory")


class Spent(NamedTuple):
    """µs of CPU of this process, and of time."""

    cpu: float
    wall: float


class Meter:
    """Measures from where it is made."""

    def __init__(self) -> None:
        gc.collect()
        self._began = _now()

    def read(self) -> Spent:
        """What has been spent since."""
        now = _now()
        return Spent(now.cpu - self._began.cpu, now.wall - self._began.wall)


def memory() -> float:
    """Give the resident memory of this process in KiB, where the system says."""
    with open("/proc/self/statm") as sizes:  # noqa: PTH123  # one small file
        return int(sizes.read().split()[1]) * resource.getpagesize() / 1024


def _now() -> Spent:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Spent((usage.ru_utime + usage.ru_stime) * 1e6, time.perf_counter() * 1e6)
