"""The command line, ``g4ftrio`` or ``python -m g4ftrio``; needs the extra ``cli``.

Bottom to top: ``_failure`` errors in words, ``_prompt`` what is asked, ``_output`` standard output; ``_view`` a report
as a table and as lines, ``_drawing`` as a picture, ``_screen`` what standard error shows of it; ``_found`` keys and
local servers, ``_demo`` the simulated fleet, ``_entrants`` who is asked; ``_signals`` Ctrl-C; ``_run`` one race;
``_listing`` and ``_simulate`` the other commands; ``_result`` what a benchmark came to, ``_gauge`` how it goes,
``_bench`` one of them, ``_load`` its options; ``_options`` what can be written behind a command; ``_commands`` the
commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ("main",)

_EXTRA = ("click", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and give its exit status.

    That is 0; 1 where no provider answered; 2 for a wrong use; 130 after Ctrl-C, 143 after a SIGTERM; 141 where nobody
    reads standard output any more.

    :param argv: the arguments behind the program's name; those of this process if None
    """
    if sys.stderr is None:  # it was closed, and what is meant for it must not go to standard output
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # it stays open as long as the process runs
    try:
        for module in _EXTRA:
            __import__(module)
        from g4ftrio.cli._commands import run

        return run(sys.argv[1:] if argv is None else list(argv))
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(f"g4ftrio: the command line needs {error.name}: pip install 'g4ftrio[cli]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
