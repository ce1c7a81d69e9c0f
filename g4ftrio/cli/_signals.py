"""Ctrl-C and SIGTERM as a cancellation, so that sockets are closed and the terminal is left as it was."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable

from anyio import CancelScope, create_task_group, open_signal_receiver
from anyio.abc import TaskStatus

__all__ = ("until_interrupted",)


async def until_interrupted(work: Callable[[], Awaitable[int]], *, end: Callable[[], object] | None = None) -> int:
    """Do the work, and give its exit status, or 128 and the number of the signal that ended it.

    A second signal is not held back: should closing hang, it ends the process.

    :param work: must not raise
    :param end: what a signal does instead of cancelling the work
    """
    if sys.platform == "win32":  # there are no signal handlers on its event loops: KeyboardInterrupt ends it
        return await work()
    status = 0
    caught = 0

    async def listen(scope: CancelScope, *, task_status: TaskStatus[None]) -> None:
        nonlocal caught
        with open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for caught in signals:  # noqa: B007  # the first one is what is wanted
                break
        (end or scope.cancel)()

    async with create_task_group() as tasks:
        await tasks.start(listen, tasks.cancel_scope)
        status = await work()
        tasks.cancel_scope.cancel()
    return 128 + caught if caught else status
