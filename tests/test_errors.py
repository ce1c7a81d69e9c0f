from __future__ import annotations

import re
from typing import Any

import pytest

from g4ftrio._words import errors as _errors
from g4ftrio._words.errors import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Error,
    EventLoopRunningError,
    InternalServerError,
    LimitError,
    MessagesError,
    MissingKeyError,
    ModelNotFoundError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RejectedError,
    SetupError,
    SpecError,
    TruncatedError,
    UnknownModelError,
    UnknownProviderError,
    UnprocessableEntityError,
    describe,
    excerpt,
    status_error,
)
from g4ftrio._words.secrets import mask


def an(kind: type[ProviderError], message: str = "", **fields: Any) -> ProviderError:
    return kind(message, **{"provider": "one/a", **fields})


# What each error says, word for word.
WORDS: list[tuple[Error, str]] = [
    (an(ProviderError), "one/a: failed"),
    (an(ProviderError, "so it is"), "one/a: failed: so it is"),
    (ProviderError("so it is"), "failed: so it is"),
    (an(APIStatusError, "teapot", status=418), "one/a: the service answered with an error (status 418): teapot"),
    (an(BadRequestError, "no", status=400), "one/a: the request was refused (status 400): no"),
    (
        an(AuthenticationError, "bad key", status=401),
        "one/a: the key was refused (status 401): bad key. Check the key, and that it belongs to this service.",
    ),
    (
        an(AuthenticationError, "Bad key.", status=401),
        "one/a: the key was refused (status 401): Bad key. Check the key, and that it belongs to this service.",
    ),
    (
        an(PermissionDeniedError, status=403),
        "one/a: permission was denied (status 403). Check the key, and that it belongs to this service.",
    ),
    (an(PaymentRequiredError, status=402), "one/a: the service wants to be paid (status 402)"),
    (an(NotFoundError, status=404), "one/a: not found (status 404)"),
    (an(ModelNotFoundError, "gpt-0", status=404), "one/a: no such model (status 404): gpt-0"),
    (an(ConflictError, status=409), "one/a: the service answered with an error (status 409)"),
    (an(UnprocessableEntityError, status=422), "one/a: the request was refused (status 422)"),
    (an(RateLimitError, "slow", status=429), "one/a: too many requests (status 429): slow"),
    (
        an(RateLimitError, "slow", status=429, retry_after=1.5),
        "one/a: too many requests (status 429): slow. It asks to wait 1.5 s.",
    ),
    (an(RateLimitError, retry_after=0.0), "one/a: too many requests. It asks to wait 0 s."),
    (an(InternalServerError, status=503), "one/a: the service failed (status 503)"),
    (an(APIConnectionError, "reset by peer"), "one/a: the connection failed: reset by peer"),
    (an(TruncatedError, "no [DONE]"), "one/a: the answer was cut off: no [DONE]"),
    (an(APIResponseValidationError, "<html>"), "one/a: an answer that cannot be read: <html>"),
    (
        LimitError("limit", 4, provider="a"),
        "a: the limit of requests at once is reached (limit=4). "  # noqa: ISC004  # one sentence in two lines
        "Raise it, or let a request wait longer for its turn (wait=).",
    ),
    (
        LimitError("tokens", 9000, 60.0, retry_after=2.5),
        "the rate of tokens is used up (9000 in 60 s). Raise it, or let a request wait longer for its turn (wait=).",
    ),
    (an(RejectedError, "empty"), "one/a: the answer was rejected: empty"),
    (
        APITimeoutError("connect", 5, provider="one/a"),
        "one/a: no connection within 5 s (timeout connect=5)",
    ),
    (APITimeoutError("first_chunk", 2.5), "no clean chunk within 2.5 s (timeout first_chunk=2.5)"),
    (APITimeoutError("stall", 20), "the model wrote nothing within 20 s (timeout stall=20)"),
    (APITimeoutError("idle", 300), "no byte came within 300 s (timeout idle=300)"),
    (APITimeoutError("total", 600), "not done within 600 s (timeout total=600)"),
    (
        MissingKeyError("one", ("ONE_API_KEY",)),
        "one: there is no API key. Set the ONE_API_KEY environment variable or pass api_key=.",
    ),
    (
        MissingKeyError("one", ("ONE_KEY", "ONE_TOKEN")),
        "one: there is no API key. Set the ONE_KEY or ONE_TOKEN environment variable or pass api_key=.",
    ),
    (MissingKeyError("one"), "one: there is no API key. Pass api_key=."),
    (
        MissingKeyError("one", ("ONE_KEY",), "ONE_KEY is for another address"),
        "one: there is no API key: ONE_KEY is for another address. Pass api_key=.",
    ),
    (
        UnknownProviderError("opena", ("openai", "ollama", "groq")),
        "there is no provider named 'opena': did you mean openai?",
    ),
    (UnknownProviderError("Groc", ("groq",)), "there is no provider named 'Groc': did you mean groq?"),
    (
        UnknownProviderError("zzz", ("groq",)),
        "there is no provider named 'zzz': `g4ftrio providers` lists them.",
    ),
    (SpecError("no provider in '/model'"), "no provider in '/model'"),
    (
        AllFailed({"one/a": an(RateLimitError, status=429), "two": KeyError()}),
        "no provider answered (2 asked)\n  one/a: too many requests (status 429)\n  two: KeyError",
    ),
]


@pytest.mark.parametrize(("error", "words"), WORDS, ids=lambda value: type(value).__name__)
def test_an_error_says_what_happened_to_whom_and_what_to_do(error: Error, words: str) -> None:
    assert str(error) == words


# The tree: for each class, what else an `except` may call it.
TREE: dict[type[Exception], tuple[type[Exception], ...]] = {
    SetupError: (Error,),
    UnknownProviderError: (SetupError, LookupError),
    SpecError: (SetupError, ValueError),
    MessagesError: (SetupError, ValueError),
    MissingKeyError: (AuthenticationError, SetupError),
    EventLoopRunningError: (SetupError, RuntimeError),
    ProviderError: (Error,),
    APIStatusError: (ProviderError,),
    BadRequestError: (APIStatusError,),
    AuthenticationError: (APIStatusError,),
    PermissionDeniedError: (AuthenticationError,),
    PaymentRequiredError: (APIStatusError,),
    NotFoundError: (APIStatusError,),
    ModelNotFoundError: (NotFoundError,),
    UnknownModelError: (ModelNotFoundError, SetupError),
    ConflictError: (APIStatusError,),
    UnprocessableEntityError: (APIStatusError,),
    RateLimitError: (APIStatusError,),
    InternalServerError: (APIStatusError,),
    APIConnectionError: (ProviderError,),
    APITimeoutError: (APIConnectionError, TimeoutError),
    TruncatedError: (APIConnectionError,),
    APIResponseValidationError: (ProviderError,),
    LimitError: (ProviderError,),
    RejectedError: (ProviderError,),
    AllFailed: (Error,),
}


@pytest.mark.parametrize(("kind", "bases"), TREE.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_error_stands_where_the_tree_says(kind: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    assert kind.__bases__ == bases


def test_every_error_stands_in_the_tree() -> None:
    kinds = {each for each in vars(_errors).values() if isinstance(each, type) and issubclass(each, Error)}
    assert kinds - {Error} == set(TREE)


def test_every_error_of_the_tree_is_drawn() -> None:
    drawing = _errors.__doc__ or ""
    assert [kind.__name__ for kind in TREE if not re.search(rf"─ {kind.__name__}\b", drawing)] == []


def test_the_older_names_are_the_same_classes() -> None:
    assert _errors.MissingAuthError is AuthenticationError
    assert _errors.ProviderNotFoundError is UnknownProviderError
    assert _errors.ResponseError is APIStatusError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, PaymentRequiredError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIStatusError),
        (408, APIStatusError),
        (409, ConflictError),
        (418, APIStatusError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (499, APIStatusError),
        (500, InternalServerError),
        (502, InternalServerError),
        (503, InternalServerError),
        (529, InternalServerError),
        (599, InternalServerError),
        (200, APIStatusError),
        (None, APIStatusError),
    ],
)
def test_a_status_becomes_its_error(status: int | None, kind: type[APIStatusError]) -> None:
    error = status_error(status, "so it is", retry_after=2.0, request_id="req_1")
    assert type(error) is kind
    assert (error.status, error.message) == (status, "so it is")
    assert (error.provider, error.retry_after, error.request_id) == (None, 2.0, "req_1")


def test_what_a_service_says_is_put_on_one_line_and_cut() -> None:
    error = status_error(500, "<html>\n  <body>" + "x" * 10_000)
    assert error.message.startswith("<html> <body>xxx")
    assert len(error.message) == 500
    assert "\n" not in str(error)


def test_a_provider_that_is_learned_later_is_named() -> None:
    error = status_error(429, "slow")
    error.provider = "one/a"
    assert str(error) == "one/a: too many requests (status 429): slow"


def test_a_time_out_is_a_builtin_one_and_knows_its_limit() -> None:
    error = APITimeoutError("stall", 2.5, provider="one")
    assert isinstance(error, TimeoutError)
    assert (error.kind, error.seconds, error.provider, error.status) == ("stall", 2.5, "one", None)


def test_a_cut_answer_keeps_what_came() -> None:
    error = TruncatedError("no [DONE]", text="The sky is", provider="one")
    assert (error.text, error.provider) == ("The sky is", "one")


def test_all_failed_keeps_every_failure_in_the_order_of_the_race() -> None:
    failures = {"b": RejectedError("empty", provider="b"), "a": ValueError("odd")}
    error = AllFailed(failures, report="report")
    assert list(error.failures.items()) == list(failures.items())
    assert error.report == "report"
    failures.clear()
    assert list(error.failures) == ["b", "a"]


def test_all_failed_names_each_entrant_once() -> None:
    error = AllFailed({"one": RejectedError("empty", provider="one"), "outer": AllFailed({"in": KeyError("x")})})
    assert str(error).splitlines() == [
        "no provider answered (2 asked)",
        "  one: the answer was rejected: empty",
        "  outer: no provider answered (1 asked)",
        "    in: 'x'",
    ]


def test_an_error_is_described_by_its_words_else_by_its_class() -> None:
    assert describe(ValueError("odd")) == "odd"
    assert describe(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("exactly 10", 10, "exactly 10"),
        ("exactly 11!", 10, "exactly 1…"),
        ("  a\r\n\tb  ", 10, "a b"),
        ("", 10, ""),
    ],
)
def test_an_excerpt_is_one_line_of_bounded_length(text: str, limit: int, expected: str) -> None:
    assert excerpt(text, limit) == expected


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("the key sk-1234 was refused", ["sk-1234"], "the key *** was refused"),
        ("sk-1234 sk-1234", ["sk-1234"], "*** ***"),
        ("one two-2 three-3", ["two-2", "three-3"], "one *** ***"),
        ("nothing to hide", ["sk-1234"], "nothing to hide"),
        ("nothing to hide", [], "nothing to hide"),
        ("an empty secret is none", [""], "an empty secret is none"),
        ("abc is too short to be a secret", ["abc"], "abc is too short to be a secret"),
        ("m (the code sk-12…)", ["sk-1234"], "m (the code ***…)"),
        ("sk-1… and sk-12… and sk…", ["sk-1234"], "***… and ***… and sk…"),
        (r"as JSON writes it: a\"b\/c\u00e9, a\"b/c\u00e9", ['a"b/cé'], "as JSON writes it: ***, ***"),
        ("in a page: &lt;a&amp;b&gt;", ["<a&b>"], "in a page: ***"),
        ("in an address: a%2Fb%2Bc%3D%3D", ["a/b+c=="], "in an address: ***"),
        ("on one line: why is the sky blue", ["why\n  is the\tsky blue"], "on one line: ***"),
        ("a" * 400 + "…", ["a" * 1_000_000], "***…"),
    ],
)
def test_secrets_are_masked(text: str, secrets: list[str], expected: str) -> None:
    assert mask(text, secrets) == expected
