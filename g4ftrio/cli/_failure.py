"""Errors as the command line tells them: a line, an exit status, a JSON object."""

from __future__ import annotations

import errno
import sys
from typing import Any

from g4ftrio._words.errors import AllFailed, MissingKeyError, ProviderError, SetupError, describe
from g4ftrio._words.printable import printable

__all__ = ("FAILED", "USAGE", "as_dict", "exit_status", "in_words", "output_status")

FAILED = 1
USAGE = 2
_UNREAD = 141  # 128 and the number of SIGPIPE, as shells count


def in_words(error: BaseException, *, brief: bool = False) -> str:
    """Say what happened and what to do, on one line where one provider failed, else on a line for each.

    :param brief: what became of each was told already
    """
    match error:
        case AllFailed(failures=failures) if len(failures) == 1:
            ((name, only),) = failures.items()
            return f"{name}: {in_words(only).removeprefix(f'{name}: ')}"
        case AllFailed() if brief:
            return describe(error).partition("\n")[0]
        case MissingKeyError(variables=variables, message=reason) if variables:
            return f"{error.provider}: {error.what}{_remedy(reason, variables)}"
    return printable(describe(error))


def exit_status(error: BaseException) -> int:
    """Tell a wrong use from a provider's failure."""
    if isinstance(error, AllFailed):
        return USAGE if all(isinstance(each, SetupError) for each in error.failures.values()) else FAILED
    return USAGE if isinstance(error, SetupError) else FAILED


def output_status(error: OSError | None) -> int:
    """Give the exit status for how writing to standard output went; that nobody reads any more is not worth a word."""
    if error is None:
        return 0
    if error.errno == errno.EPIPE:
        return _UNREAD
    print(f"g4ftrio: standard output cannot be written: {error.strerror}", file=sys.stderr)
    return FAILED


def as_dict(error: BaseException) -> dict[str, Any]:
    """Give plain JSON values."""
    told: dict[str, Any] = {"type": type(error).__name__, "message": in_words(error)}
    if isinstance(error, ProviderError):
        told |= {name: getattr(error, name) for name in ("provider", "status", "retry_after", "request_id")}
    if isinstance(error, AllFailed):
        told["failures"] = {name: as_dict(each) for name, each in error.failures.items()}
    return told


def _remedy(reason: str, variables: tuple[str, ...]) -> str:
    """Keys are never written on a command line: there they would stay in the shell's history."""
    if reason:
        return f": {reason}. Put that address into the variable that `g4ftrio providers --json` names for it."
    return f". Set the {' or '.join(variables)} environment variable."
