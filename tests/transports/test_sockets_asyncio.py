"""A connected socket is handed to asyncio's loops; what a call looks like on one is in test_http1.py."""

from __future__ import annotations

import asyncio
import os
import socket

import anyio
import pytest

from g4ftrio.transports._sockets_asyncio import AsyncioSocket
from tests import clocks

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "uvloop"], indirect=True)]
anyio_backend = clocks.all_loops


async def test_a_cancelled_hand_over_closes_the_socket_and_stays_a_cancellation() -> None:
    ours, peer = socket.socketpair()
    with peer:
        number = ours.fileno()
        ours.setblocking(False)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await AsyncioSocket.open(ours)
        assert scope.cancelled_caught
        await asyncio.sleep(0)
        assert ours.fileno() == -1  # or a later look at it would be one at whatever has that number then
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        assert peer.recv(1) == b""
