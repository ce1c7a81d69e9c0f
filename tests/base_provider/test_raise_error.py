"""Every payload by which a service says that something went wrong, under every status."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    MissingAuthError,
    PaymentRequiredError,
    ProviderError,
    RateLimitError,
    ResponseError,
)
from g4ftrio.base_provider import AsyncGeneratorProvider, RaiseErrorMixin
from g4ftrio.providers import OpenaiTemplate


class Service(AsyncGeneratorProvider, RaiseErrorMixin):
    default_model = "m"


PAYLOADS: tuple[tuple[Any, str], ...] = (
    ({"error_message": "it broke"}, "it broke"),
    ({"error": "it broke"}, "it broke"),
    ({"error": True}, "{'error': True}"),
    ({"error": True, "message": "it broke"}, "it broke"),
    ({"error": {"code": "broken", "message": "it broke"}}, "it broke"),
    (
        {"error": {"code": "broken", "message": "it broke", "failed_generation": "{oops"}},
        "it broke (it wrote: {oops)",
    ),
    ({"error": {"message": "it broke"}}, "it broke"),
    ({"error": {"code": "broken"}}, "broken"),
    ({"error": {"reason_number": 7}}, "{'error': {'reason_number': 7}}"),
    ({"error": "it broke", "choices": [{"delta": {}}]}, "it broke"),
    ([{"error": {"message": "it broke"}}], "it broke"),
)
STATUSES: tuple[tuple[int | None, type[ProviderError]], ...] = (
    (400, BadRequestError),
    (401, MissingAuthError),
    (402, PaymentRequiredError),
    (403, MissingAuthError),
    (404, ResponseError),
    (418, ResponseError),
    (429, RateLimitError),
    (500, ResponseError),
    (503, ResponseError),
    (200, ResponseError),
    (None, ResponseError),
)
NAMED = (BadRequestError, MissingAuthError, PaymentRequiredError, RateLimitError)


@pytest.mark.parametrize(("payload", "words"), PAYLOADS, ids=[str(payload) for payload, _ in PAYLOADS])
@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_an_error_payload_is_an_error_of_the_status_s_kind_with_the_service_s_words(
    payload: Any, words: str, status: int | None, kind: type[ProviderError]
) -> None:
    with pytest.raises(kind) as caught:
        Service.raise_error(payload, status)
    error = caught.value
    assert (error.message, error.provider) == (words, "service/m")
    assert error.status == (status if status and status >= 400 else None)
    assert isinstance(error, kind if kind in NAMED else ResponseError)
    assert kind in NAMED or not isinstance(error, NAMED)


def test_the_names_of_the_documents_are_the_library_s() -> None:
    assert MissingAuthError is AuthenticationError
    assert issubclass(ResponseError, ProviderError)


@pytest.mark.parametrize("status", [None, 200])
@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, RateLimitError),
        ({"error": {"code": "401", "message": "who are you"}}, MissingAuthError),
        ({"error": "no", "status": 402}, PaymentRequiredError),
        ({"error": True, "code": 400}, BadRequestError),
    ],
)
def test_a_status_that_the_payload_names_counts_where_the_answer_s_own_is_no_error(
    payload: Any, kind: type[ProviderError], status: int | None
) -> None:
    with pytest.raises(kind):
        Service.raise_error(payload, status)


def test_the_answer_s_own_status_goes_before_one_that_the_payload_names() -> None:
    with pytest.raises(PaymentRequiredError):
        Service.raise_error({"error": {"code": 429, "message": "no credit"}}, 402)


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"message": {"content": "Hi"}}]},
        {"data": [{"id": "a-model"}]},
        {"choices": [{}], "error": None},
        {"data": [{}], "error": False, "error_message": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [None, 200])
def test_an_answer_is_no_error(payload: Any, status: int | None) -> None:
    Service.raise_error(payload, status)


@pytest.mark.parametrize(
    "payload",
    [{}, {"choices": []}, {"data": []}, {"id": "x"}, {"error": None}, [], "text", None, 7, {"error": {}}],
    ids=repr,
)
def test_a_payload_with_neither_error_nor_answer_is_an_invalid_response_and_is_shown(payload: Any) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        Service.raise_error(payload)
    assert caught.value.message == f"neither an answer nor an error: {payload}"
    assert caught.value.provider == "service/m"


@pytest.mark.parametrize(("status", "kind"), [each for each in STATUSES if each[0] and each[0] >= 400])
@pytest.mark.parametrize("payload", [{}, {"id": "x"}, {"choices": [{}]}, None, "text"], ids=repr)
def test_an_error_s_status_is_an_error_whatever_the_payload(
    payload: Any, status: int, kind: type[ProviderError]
) -> None:
    with pytest.raises(kind) as caught:
        Service.raise_error(payload, status)
    assert (caught.value.status, caught.value.message) == (status, str(payload))


def test_a_long_payload_is_cut() -> None:
    for payload in ({"error": "x" * 100_000}, {"error": {"a": "x" * 100_000}}, {"odd": "x" * 100_000}):
        with pytest.raises(ProviderError) as caught:
            Service.raise_error(payload)
        assert len(str(caught.value)) < 600


def test_openai_template_has_it() -> None:
    with pytest.raises(RateLimitError, match="openaitemplate: too many requests"):
        OpenaiTemplate.raise_error({"error": "slow down"}, 429)


def test_it_may_be_called_on_an_instance_whose_name_the_error_has() -> None:
    with pytest.raises(RateLimitError, match="mine: too many requests"):
        Service(name="mine").raise_error({"error": "slow down"}, 429)
