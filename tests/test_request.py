from __future__ import annotations

import pytest

from g4ftrio._words.request import Call, ChatParams, ChatRequest, check_params


def test_known_parameters_pass() -> None:
    check_params(dict.fromkeys(ChatParams.__annotations__))
    check_params({})


def test_a_parameter_that_only_this_provider_knows_passes() -> None:
    check_params({"temperature": 1, "num_ctx": 4096}, also=frozenset({"num_ctx"}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("temprature", "unknown parameter 'temprature': did you mean 'temperature'?"),
        ("max_token", "unknown parameter 'max_token': did you mean 'max_tokens'?"),
        ("tool_choise", "unknown parameter 'tool_choise': did you mean 'tool_choice'?"),
        ("zzz", "unknown parameter 'zzz': what only one service knows goes into extra_body={...}."),
    ],
)
def test_an_unknown_parameter_is_an_error_that_names_the_nearest_known(given: str, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_params({"seed": 1, given: 1})
    assert str(caught.value) == words


def test_the_nearest_known_may_be_the_providers_own() -> None:
    with pytest.raises(TypeError, match="did you mean 'num_ctx'"):
        check_params({"num_ctxt": 1}, also=frozenset({"num_ctx"}))


def test_a_request_streams_by_default_and_shares_nothing() -> None:
    one, other = ChatRequest(model="a", messages=[]), ChatRequest(model="a", messages=[])
    one.params["seed"] = 1
    one.extra_body["x"] = 1
    assert one.stream
    assert (other.params, other.extra_body) == ({}, {})


def test_the_repr_of_a_call_shows_no_header_no_body_and_no_query() -> None:
    call = Call(
        method="POST",
        url="https://a.test/v1/chat?key=sk-secret",
        headers={"Authorization": "Bearer sk-secret"},
        body=b'{"messages": "sk-secret"}',
    )
    assert repr(call) == str(call) == "<Call POST https://a.test/v1/chat>"


def test_a_call_is_frozen() -> None:
    call = Call(method="GET", url="https://a.test/", headers={})
    with pytest.raises(AttributeError, match="immutable"):
        call.url = "https://b.test/"  # type: ignore[misc]  # that it is refused is the test
