"""What trio and anyio know of a running task and do not tell in public, or tell at a price.

The names with an underscore are private to them. Where one is gone, the answer is "unknown", and callers have a slower
way for that; ``tests/test_loops.py`` fails then, so that somebody notices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

__all__ = ("cancellation", "clock", "from_any_thread", "in_trio", "loopless_context", "open_scopes", "running")


def in_trio() -> bool:
    """Whether this task is trio's; else it is asyncio's. In trio's guest mode both run in one thread, by turns."""
    lowlevel = _trio()
    return lowlevel is not None and lowlevel.in_trio_task()


def running() -> bool:
    """Whether an event loop runs in this thread: by trio's and asyncio's own word, true in worker threads too."""
    lowlevel = _trio()
    if lowlevel is not None and lowlevel.in_trio_run():
        return True
    running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)  # likewise
    return running_loop is not None and running_loop() is not None


def _trio() -> Any:
    return getattr(sys.modules.get("trio"), "lowlevel", None)  # None also while another thread imports trio


def from_any_thread() -> Callable[[Callable[[], object]], None]:
    """A function by which any thread has the running loop call something soon; a loop that is gone does nothing."""
    post: Callable[[Callable[[], object]], object]
    if in_trio():
        import trio

        post = trio.lowlevel.current_trio_token().run_sync_soon
    else:
        import asyncio

        post = asyncio.get_running_loop().call_soon_threadsafe

    def call_soon(call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # trio's RunFinishedError is one, and asyncio's "Event loop is closed"
            post(call)

    return call_soon


def loopless_context() -> Context:
    """A copy of the context, to run in a thread of its own: without the mark that a loop runs, by which anyio goes."""
    context = copy_context()
    if sniffio := sys.modules.get("sniffio"):
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


def clock() -> Callable[[], float]:
    """The running loop's clock: 0.1 µs a look, where ``anyio.current_time`` finds the loop out anew for 2."""
    if in_trio():
        import trio

        return trio.lowlevel.current_clock().current_time
    import asyncio

    return asyncio.get_running_loop().time


def open_scopes() -> object:
    """The innermost cancel scope and the number of open nurseries of this task; None is unknown."""
    if in_trio():
        import trio

        task = trio.lowlevel.current_task()
        scope, nurseries = getattr(task, "_cancel_status", None), len(task.child_nurseries)
    else:
        scope, nurseries = _asyncio_scope(), 0  # an open task group of anyio's is an open scope
    return (id(scope), nurseries) if scope is not None else None


def cancellation() -> Callable[[], bool]:
    """A function that tells at a price of 0.1 µs whether the running task is cancelled; if unknown, it is always so.

    Who is told yes lets the loop look, by ``anyio.lowlevel.checkpoint_if_cancelled()``.
    """
    try:
        return _trio_cancellation() if in_trio() else _asyncio_cancellation()
    except (AttributeError, ImportError, RuntimeError, TypeError):  # RuntimeError: what asks is made before a loop runs
        return _unknown


def _unknown() -> bool:
    return True


def _trio_cancellation() -> Callable[[], bool]:
    import trio

    current_task: Callable[[], Any] = trio.lowlevel.current_task
    current_task()._cancel_status.effectively_cancelled  # noqa: B018  # raises AttributeError if it is gone

    def cancelled() -> bool:
        found: bool = current_task()._cancel_status.effectively_cancelled
        return found

    return cancelled


def _asyncio_scope() -> Any:
    import asyncio

    states: Any = getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", {})
    return getattr(states.get(asyncio.current_task()), "cancel_scope", None)


def _asyncio_cancellation() -> Callable[[], bool]:

    from anyio._backends._asyncio import CancelScope, TaskState, _task_states

    current_task = _current_task()
    unknown = TaskState(None, None)
    CancelScope.cancel_called, CancelScope.shield  # noqa: B018  # raises AttributeError if one is gone
    task: Any = None
    state: Any = unknown
    innermost: Any = None
    effective: tuple[Any, ...] = ()

    def cancelled() -> bool:
        nonlocal task, state, innermost, effective
        if (now := current_task()) is not task or state is unknown:
            task, state = now, _task_states.get(now, unknown)
        if state.cancel_scope is not innermost:
            innermost = state.cancel_scope
            effective = _effective(innermost)
        for scope in effective:  # noqa: SIM110  # any() takes a generator, which costs three times as much
            if scope._cancel_called:
                return True
        return False

    return cancelled


def _current_task() -> Callable[[], Any]:
    """``asyncio.current_task``, by the mapping behind it where there is one: in Python 3.11 that is 6 times faster."""
    import asyncio

    look: Callable[[], Any] = partial(getattr(asyncio.tasks, "_current_tasks", {}).get, asyncio.get_running_loop())
    return look if look() is asyncio.current_task() else asyncio.current_task


def _effective(scope: Any) -> tuple[Any, ...]:
    """The scopes whose cancellation reaches into this one, itself first."""
    scopes = []
    while scope is not None:
        scopes.append(scope)
        scope = None if scope._shield else scope._parent_scope
    return tuple(scopes)
