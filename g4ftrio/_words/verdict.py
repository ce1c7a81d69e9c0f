"""What an error says of the service that was asked. One table, for circuit breakers and for retries."""

from __future__ import annotations

from typing import Literal, TypeAlias

from g4ftrio._words.errors import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    InternalServerError,
    LimitError,
    ProviderError,
    RateLimitError,
    SetupError,
)

__all__ = ("Verdict", "verdict", "worth_retrying")

Verdict: TypeAlias = Literal["failure", "pause", "request", "unknown"]

# The first line that fits counts.
_VERDICTS: tuple[tuple[type[Exception], Verdict], ...] = (
    (LimitError, "pause"),
    (RateLimitError, "pause"),
    (SetupError, "request"),
    (APIConnectionError, "failure"),  # time-outs and answers that were cut are connection errors, too
    (APIResponseValidationError, "failure"),
    (InternalServerError, "failure"),
    (ProviderError, "request"),  # 400, 401, 402, 403, 404, 409, 422; an answer that was not clean
    (OSError, "failure"),  # of providers that translate nothing; ``TimeoutError`` is one
)
_OF_THE_SERVICE = (408, None)  # a request that took too long, and an error that was sent in place of the answer


def verdict(error: Exception) -> Verdict:
    """What an error says of the service.

    ``failure``: it is in trouble. ``pause``: it is well and wants to be left alone for a while. ``request``: this
    request, its key or the set-up is wrong, or the answer was not wanted. ``unknown``: a foreign exception. A race or a
    group is as its errors are: a failure if one of them is, else a pause, and so on.
    """
    if isinstance(error, AllFailed):
        return _worst(list(error.failures.values()))
    if isinstance(error, ExceptionGroup):
        return _worst(list(error.exceptions))
    if type(error) is APIStatusError and error.status in _OF_THE_SERVICE:
        return "failure"
    return next((what for kind, what in _VERDICTS if isinstance(error, kind)), "unknown")


def worth_retrying(error: Exception) -> bool:
    """Whether the same request may well succeed a little later: after a ``failure``, and after a ``pause``."""
    return verdict(error) in ("failure", "pause")


def _worst(errors: list[Exception]) -> Verdict:
    found = {verdict(error) for error in errors}
    order: tuple[Verdict, ...] = ("failure", "unknown", "pause", "request")
    return next((each for each in order if each in found), "unknown")
