"""What the library knows of trio's and anyio's insides: these fail when a private name is gone."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import current_token

from g4ftrio import _loops
from tests import clocks

pytestmark = pytest.mark.anyio
anyio_backend = clocks.all_loops


async def test_the_clock_is_the_loops_own() -> None:
    assert _loops.clock()() == pytest.approx(anyio.current_time(), abs=0.5)
    assert _loops.in_trio() == (current_token().backend_class.__module__ == "anyio._backends._trio")


async def test_a_cancellation_is_known_at_once() -> None:
    cancelled = _loops.cancellation()
    assert cancelled is not _loops._unknown
    assert not cancelled()
    with anyio.CancelScope() as outer:
        assert not cancelled()
        with anyio.CancelScope():
            outer.cancel()
            assert cancelled()
            with anyio.CancelScope(shield=True):
                assert not cancelled()
            assert cancelled()
    assert not cancelled()


async def test_a_cancellation_is_that_of_the_task_that_asks() -> None:
    cancelled = _loops.cancellation()
    told: list[bool] = []

    async def ask() -> None:
        told.append(cancelled())

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
        scope.cancel()
        told.append(cancelled())
    assert told == [False, True]


async def test_open_scopes_and_task_groups_are_seen() -> None:
    with anyio.CancelScope():  # an entrant always has one
        before = _loops.open_scopes()
        assert before is not None
        with anyio.CancelScope():
            assert _loops.open_scopes() != before
        async with anyio.create_task_group():
            assert _loops.open_scopes() != before
        assert _loops.open_scopes() == before
