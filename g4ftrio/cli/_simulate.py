"""The simulated fleet in the foreground."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from anyio import sleep_forever

from g4ftrio.cli._failure import FAILED
from g4ftrio.cli._output import Output
from g4ftrio.simulator import Running, Service, serve

__all__ = ("simulate",)


async def simulate(services: Sequence[Service], port: int, output: Output) -> int:
    """Serve until interrupted; first write the command that races these services.

    :param port: the first service's, the next one's is one higher; 0 lets the system choose
    """
    try:
        async with serve(services, ports=port) as fleet:
            await output.write(_command(fleet.values()))
            print("listening; Ctrl-C ends it", file=sys.stderr, flush=True)
            await sleep_forever()
    except OSError as error:
        print(f"g4ftrio: {error.strerror}; choose another --port", file=sys.stderr)
    return FAILED


def _command(services: Iterable[Running]) -> str:
    return 'g4ftrio race "Why is the sky blue?"' + "".join(f" \\\n    -p {each.spec}" for each in services) + "\n"
