"""What there is in this process that a race could leave behind, in numbers. Imports no pytest, so it runs anywhere."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from types import AsyncGeneratorType, GeneratorType
from typing import NamedTuple

__all__ = ("Census", "census", "resident")

_OPEN_FILES = "/proc/self/fd"
_POOLS = ("AnyIO worker thread", "Trio thread ", "asyncio_", "ThreadPoolExecutor")  # workers kept for the next job
_SUSPENDED = (AsyncGeneratorType, GeneratorType)
_OF_A_WORKER = "claim_worker_thread"  # anyio's, suspended for as long as an idle worker is kept


class Census(NamedTuple):
    """Counts.

    :ivar tasks: of the running loop
    :ivar generators: that have not ended, asynchronous or not; a coroutine is a task's, or warns that it is nobody's
    :ivar threads: without the idle workers that the loops keep
    :ivar files: open descriptors, without the null device
    """

    tasks: int
    generators: int
    threads: int
    files: int

    def more_than(self, other: Census) -> dict[str, int]:
        """What there is more of, and how many."""
        pairs = zip(self._fields, self, other, strict=True)
        return {name: now - then for name, now, then in pairs if now > then}


def census() -> Census:
    """Count, when what is garbage was collected."""
    gc.collect()
    held = [each for each in gc.get_objects() if type(each) in _SUSPENDED]
    return Census(_tasks(), sum(map(_is_suspended, held)), _threads(), _files())


def _is_suspended(found: object) -> bool:
    match found:
        case AsyncGeneratorType():
            return found.ag_frame is not None
        case GeneratorType():
            return found.gi_frame is not None and found.__name__ != _OF_A_WORKER
    return False


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


def _threads() -> int:
    return sum(not thread.name.startswith(_POOLS) for thread in threading.enumerate())


def _files() -> int:
    found = 0
    for number in os.listdir(_OPEN_FILES):  # noqa: PTH208  # names are enough
        try:
            found += os.readlink(f"{_OPEN_FILES}/{number}") != os.devnull  # noqa: PTH115  # the text of the link
        except FileNotFoundError:  # the listing's own
            continue
    return found


def resident() -> int:
    """Give this process's resident memory in bytes."""
    with open("/proc/self/statm") as sizes:  # noqa: PTH123  # one small file
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
