"""What goes wrong is the same error over all wires, and says whose it is."""

from __future__ import annotations

import anyio
import pytest

from g4ftrio import (
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    ProviderError,
    RateLimitError,
    Timeout,
    TruncatedError,
)
from g4ftrio.providers import HttpProvider
from g4ftrio.simulator import FAULTS
from tests.providers.all_wires import ALL, asking, fleet_of

pytestmark = pytest.mark.anyio

QUESTION = "Why is the sky blue?"
PATIENT = Timeout(connect=10, idle=10)

WHOLE = ("advertising", "refusal", "empty", "html_text", "error_as_text")  # which are for a race to judge
ERRORS: dict[str, type[ProviderError]] = {
    "html": APIResponseValidationError,
    "rate_limit": RateLimitError,
    **dict.fromkeys(("error", "overloaded"), InternalServerError),
    "unauthorized": AuthenticationError,
    "not_found": NotFoundError,
    "error_in_stream": APIStatusError,
    **dict.fromkeys(("cut", "reset", "truncated", "bad_json"), TruncatedError),
}
LATE = {
    **dict.fromkeys(("stall", "keepalive", "slow_head"), ("first_chunk", Timeout(first_chunk=0.25))),
    "stall_mid": ("stall", Timeout(stall=0.25)),
}
BY_WIRE = ("no_done", "garbage")  # an end marker is not everywhere beside the reason; nonsense may hold no frame at all


def test_there_is_a_word_about_every_fault() -> None:
    assert sorted([*WHOLE, *ERRORS, *LATE, *BY_WIRE]) == sorted(FAULTS)


async def asked_all(fault: str, timeout: Timeout) -> dict[str, ProviderError | None]:
    """Ask everybody at once; what each failed with."""
    errors: dict[str, ProviderError | None] = {}

    async def ask(label: str, provider: HttpProvider) -> None:
        errors[label] = None
        try:
            await provider.complete(QUESTION, timeout=timeout)
        except ProviderError as error:
            errors[label] = error

    async with fleet_of(*ALL, fault=fault) as fleet:
        async with anyio.create_task_group() as tasks:
            for label in ALL:
                tasks.start_soon(ask, label, asking(fleet[label]))
        await fleet.quiet()
        assert not any(fleet[label].connections for label in ALL)
    return errors


@pytest.mark.parametrize("fault", WHOLE)
async def test_what_is_no_error_is_none_anywhere(fault: str) -> None:
    assert await asked_all(fault, PATIENT) == dict.fromkeys(ALL)


@pytest.mark.parametrize("fault", ERRORS)
async def test_an_error_is_of_the_same_type_everywhere(fault: str) -> None:
    errors = await asked_all(fault, PATIENT)
    for label, error in errors.items():
        assert isinstance(error, ERRORS[fault]), (label, error)
        assert str(error).startswith(f"{label}: ")


@pytest.mark.parametrize("fault", BY_WIRE)
async def test_whatever_else_comes_is_typed(fault: str) -> None:
    errors = await asked_all(fault, PATIENT)
    assert {type(error) for error in errors.values()} <= {type(None), TruncatedError, APIResponseValidationError}
    assert {error.provider for error in errors.values() if error} <= {*ALL}


@pytest.mark.parametrize("fault", LATE)
async def test_a_wait_that_is_too_long_ends_everywhere(fault: str) -> None:
    kind, timeout = LATE[fault]
    errors = await asked_all(fault, timeout)
    kinds = {label: error.kind for label, error in errors.items() if isinstance(error, APITimeoutError)}
    assert kinds == dict.fromkeys(ALL, kind)
