"""What an error says of its service: the table, line by line."""

from __future__ import annotations

import pytest

from g4ftrio._words.errors import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    LimitError,
    MissingKeyError,
    RejectedError,
    SetupError,
    TruncatedError,
    status_error,
)
from g4ftrio._words.verdict import Verdict, verdict, worth_retrying

FAILURE = APIConnectionError()
PAUSE = status_error(429, "")
REQUEST = status_error(400, "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        *((status_error(status, ""), "request") for status in (400, 401, 402, 403, 404, 409, 422)),
        *((status_error(status, ""), "failure") for status in (408, 500, 502, 503, 529, None)),
        (status_error(429, ""), "pause"),
        (LimitError("limit", 1), "pause"),
        (APIConnectionError(), "failure"),
        (APITimeoutError("stall", 1), "failure"),
        (TruncatedError(), "failure"),
        (APIResponseValidationError(), "failure"),
        (RejectedError(), "request"),
        (SetupError(), "request"),
        (MissingKeyError("one"), "request"),
        (ConnectionResetError(), "failure"),
        (TimeoutError(), "failure"),
        (KeyError("x"), "unknown"),
        (AllFailed({"a": REQUEST, "b": FAILURE, "c": PAUSE}), "failure"),
        (AllFailed({"a": REQUEST, "c": PAUSE}), "pause"),
        (AllFailed({"a": REQUEST}), "request"),
        (ExceptionGroup("", [REQUEST, KeyError()]), "unknown"),
    ],
    ids=str,
)
def test_an_error_speaks_of_its_service_or_of_the_request(error: Exception, said: Verdict) -> None:
    assert verdict(error) == said
    assert worth_retrying(error) == (said in ("failure", "pause"))
