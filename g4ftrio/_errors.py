"""The errors. Each writes its own words from data, and says what to do.

Error
├── SetupError                      the program's own set-up is wrong; nothing was sent
│   ├── UnknownProviderError        (LookupError)
│   ├── SpecError                   (ValueError) not ``provider[/model][@base_url]``
│   ├── MessagesError               (ValueError) messages that no service could read
│   ├── EventLoopRunningError       (RuntimeError) a synchronous form was called inside an event loop
│   ├── UnknownModelError           (ModelNotFoundError)
│   └── MissingKeyError             (AuthenticationError)
├── ProviderError                   one provider failed: .provider .status .retry_after .request_id
│   ├── APIStatusError              it answered with an error, by status or inside the stream
│   │   ├── BadRequestError         400        ├── ConflictError             409
│   │   ├── AuthenticationError     401, 403   ├── UnprocessableEntityError  422
│   │   │   └── PermissionDeniedError    403   ├── RateLimitError            429
│   │   ├── PaymentRequiredError    402        └── InternalServerError       5xx
│   │   └── NotFoundError           404
│   │       └── ModelNotFoundError
│   ├── APIConnectionError          no connection, or it broke
│   │   ├── APITimeoutError         (TimeoutError) .kind: connect, first_chunk, stall, idle or total
│   │   └── TruncatedError          the answer ended without its end marker; .text is what came
│   ├── APIResponseValidationError  an answer that is not of the wire's form
│   │   └── ParseError              (ValueError) nor of the form that was asked for; .text is all of it
│   ├── LimitError                  a limit of one's own (limit=, rate=) was reached; nothing was sent
│   └── RejectedError               an answer, but not a clean one
└── AllFailed                       every entrant of a race failed: .failures
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from g4ftrio._printable import printable

__all__ = (
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AllFailed",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "Error",
    "EventLoopRunningError",
    "InternalServerError",
    "LimitError",
    "MessagesError",
    "MissingAuthError",
    "MissingKeyError",
    "ModelNotFoundError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProviderError",
    "ProviderNotFoundError",
    "RateLimitError",
    "RejectedError",
    "ResponseError",
    "SetupError",
    "SpecError",
    "TruncatedError",
    "UnknownModelError",
    "UnknownProviderError",
    "UnprocessableEntityError",
    "describe",
    "excerpt",
    "mask",
    "opening",
    "signed",
    "status_error",
)

_SAID = 500  # characters of a service's own words that an error repeats
_MESSAGE = 1000  # characters of the longest message of an error, which may have words of our own around those
_ID = 200  # characters of the longest name that a service gives to a request
_QUOTED = 3  # times that one may be quoted: by a service, by the one that it asked, and by us
_HIDDEN = 4  # characters from which on a secret, or the beginning of one, is masked


class Error(Exception):
    """The root of everything that this library raises on its own account."""


class SetupError(Error):
    """The set-up is wrong; nothing was sent to anybody."""


class UnknownProviderError(SetupError, LookupError):
    """No provider of that name is declared."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        from difflib import get_close_matches

        near = get_close_matches(self.name.lower(), self.known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`g4ftrio providers` lists them."
        return f"there is no provider named {self.name!r}: {hint}"


class SpecError(SetupError, ValueError):
    """A spec string that is not ``provider[/model][@base_url]``."""


class MessagesError(SetupError, ValueError):
    """Messages that no service could read: none at all, an empty prompt, a part of no known kind."""


class EventLoopRunningError(SetupError, RuntimeError):
    """A synchronous form was called inside a running event loop, which it would block; nothing was sent.

    :param instead: the asynchronous line to write instead
    """

    def __init__(self, instead: str) -> None:
        super().__init__(instead)
        self.instead = instead

    def __str__(self) -> str:
        return f"this would block the event loop that runs here: write `{self.instead}` instead"


class ProviderError(Error):
    """One provider failed.

    :ivar provider: the entrant's or the provider's name; None before it is known
    :ivar status: the HTTP status, or None
    :ivar retry_after: seconds that the service asks to wait, or None
    :ivar request_id: the service's own name for the request, or None
    """

    what = "failed"

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id

    def advice(self) -> str:
        """What to do about it, one sentence, or nothing."""
        return f"It asks to wait {self.retry_after:g} s." if self.retry_after is not None else ""

    def __str__(self) -> str:
        status = f" (status {self.status})" if self.status else ""
        said = f": {self.message}" if self.message else ""
        advice = self.advice()
        text = f"{self.what}{status}{said}"
        if advice:
            text += ("" if text.endswith((".", "!", "?")) else ".") + " " + advice
        return f"{self.provider}: {text}" if self.provider else text


class APIStatusError(ProviderError):
    """The service answered with an error."""

    what = "the service answered with an error"


class BadRequestError(APIStatusError):
    """400: the service could not read the request."""

    what = "the request was refused"


class AuthenticationError(APIStatusError):
    """401 (403 below): the key is missing, wrong, or not allowed to do this."""

    what = "the key was refused"

    def advice(self) -> str:
        return f"Check the key, and that it belongs to this service. {super().advice()}".rstrip()


class PermissionDeniedError(AuthenticationError):
    """403: the key may not do this."""

    what = "permission was denied"


class MissingKeyError(AuthenticationError, SetupError):
    """A provider needs a key and was given none; nothing was sent.

    :param provider: the provider's name
    :param variables: the environment variables that it declares
    :param reason: why a key that is there was not used
    """

    what = "there is no API key"

    def __init__(self, provider: str, variables: Sequence[str] = (), reason: str = "") -> None:
        super().__init__(reason, provider=provider)
        self.variables = tuple(variables)

    def advice(self) -> str:
        if self.message or not self.variables:
            return "Pass api_key=."
        return f"Set the {' or '.join(self.variables)} environment variable or pass api_key=."


class PaymentRequiredError(APIStatusError):
    """402: the account has no credit left."""

    what = "the service wants to be paid"


class NotFoundError(APIStatusError):
    """404: no such address or model."""

    what = "not found"


class ModelNotFoundError(NotFoundError):
    """The provider does not have that model."""

    what = "no such model"


class UnknownModelError(ModelNotFoundError, SetupError):
    """The provider's models are known, and this is none of them; nothing was sent.

    :param model: the name that was asked for
    :param known: the names of the models and of their aliases
    """

    def __init__(self, model: str, known: Iterable[str], *, provider: str | None = None) -> None:
        super().__init__(provider=provider)
        self.model = model
        self.known = tuple(known)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.known), self.__dict__

    def __str__(self) -> str:
        text = f"no such model: {self.model!r}. It has {', '.join(self.known)}."
        return f"{self.provider}: {text}" if self.provider else text


class ConflictError(APIStatusError):
    """409: the request is at odds with the service's state."""


class UnprocessableEntityError(APIStatusError):
    """422: the request's form is right and its content is not."""

    what = "the request was refused"


class RateLimitError(APIStatusError):
    """429: too many requests, or the quota is used up."""

    what = "too many requests"


class InternalServerError(APIStatusError):
    """5xx: the service failed."""

    what = "the service failed"


class APIConnectionError(ProviderError):
    """There was no connection, or it broke."""

    what = "the connection failed"


class APITimeoutError(APIConnectionError, TimeoutError):
    """A wait was too long.

    :param kind: which of the time-outs: connect, first_chunk, stall, idle or total
    :param seconds: its value
    """

    def __init__(self, kind: str, seconds: float, *, provider: str | None = None) -> None:
        super().__init__(provider=provider)
        self.kind = kind
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.seconds), self.__dict__

    def __str__(self) -> str:
        what = _WAITS.get(self.kind, "no answer")
        text = f"{what} within {self.seconds:g} s (timeout {self.kind}={self.seconds:g})"
        return f"{self.provider}: {text}" if self.provider else text


_WAITS = {
    "connect": "no connection",
    "first_chunk": "no clean chunk",
    "stall": "the model wrote nothing",
    "idle": "no byte came",
    "total": "not done",
}


class TruncatedError(APIConnectionError):
    """The answer ended without its end marker: it was cut.

    :ivar text: the text that had come, whole
    """

    what = "the answer was cut off"

    def __init__(self, message: str = "", *, text: str = "", provider: str | None = None) -> None:
        super().__init__(message, provider=provider)
        self.text = text


class APIResponseValidationError(ProviderError):
    """An answer that is not of the wire's form."""

    what = "an answer that cannot be read"


class LimitError(ProviderError):
    """A limit that the program itself has set for a provider was reached; nothing was sent.

    :ivar limit: which one: ``limit`` (requests at once), ``requests`` or ``tokens`` (of the rate)
    :ivar value: how many
    :ivar per: the seconds that a rate counts over, 0 for ``limit``
    :ivar retry_after: seconds until there is room, or None where that is unknown
    """

    def __init__(
        self, limit: str, value: int, per: float = 0.0, *, retry_after: float | None = None, provider: str | None = None
    ) -> None:
        super().__init__(provider=provider, retry_after=retry_after)
        self.limit = limit
        self.value = value
        self.per = per

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.limit, self.value, self.per), self.__dict__

    def __str__(self) -> str:
        text = f"the limit of requests at once is reached (limit={self.value})"
        if self.limit != "limit":
            text = f"the rate of {self.limit} is used up ({self.value} in {self.per:g} s)"
        text += ". Raise it, or let a request wait longer for its turn (wait=)."
        return f"{self.provider}: {text}" if self.provider else text


class RejectedError(ProviderError):
    """The provider answered, but with nothing clean: empty, advertising, a challenge page, an error as text."""

    what = "the answer was rejected"


class AllFailed(Error):
    """Every entrant of a race failed; raised from an exception group of their errors.

    :ivar failures: each entrant's name and its error, in the order of the race
    :ivar report: the race's report, or None
    """

    def __init__(self, failures: Mapping[str, Exception], report: object = None) -> None:
        super().__init__(failures)
        self.failures = dict(failures)
        self.report = report

    def __str__(self) -> str:
        said = {name: _without(name, describe(error)).replace("\n", "\n  ") for name, error in self.failures.items()}
        lines = [f"  {name}: {text}" for name, text in said.items()]
        return "\n".join([f"no provider answered ({len(lines)} asked)", *lines])


def describe(error: BaseException) -> str:
    """An error in words, its class's name where it has none."""
    return str(error) or type(error).__name__


def _without(name: str, text: str) -> str:
    return text.removeprefix(f"{name}: ")


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


_BY_CODE: dict[str, type[APIStatusError]] = {
    "API_KEY_INVALID": AuthenticationError,  # with status 400, where others have 401
}


def status_error(
    status: int | None,
    message: str,
    *,
    code: str = "",
    retry_after: float | None = None,
    request_id: str | None = None,
) -> APIStatusError:
    """The error for an HTTP status, or for an error payload that names one.

    :param status: 400 to 599, or None where the service named none
    :param message: what the service said
    :param code: what the service calls it; some codes say more than their status
    """
    default = InternalServerError if status is not None and status >= 500 else APIStatusError
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status or 0, default)
    return kind(excerpt(message), status=status, retry_after=retry_after, request_id=request_id)


def excerpt(text: str, limit: int = _SAID) -> str:
    """The beginning of somebody else's words, on one line, without what a terminal would obey."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def opening(data: bytes, limit: int) -> str:
    """The beginning of somebody else's bytes, as ``excerpt`` gives that of words."""
    text = data[: 4 * limit].decode("utf-8", "replace")
    return excerpt(text if len(data) <= 4 * limit else f"{text}…", limit)


def signed(error: Exception, provider: str, secrets: Iterable[str]) -> Exception:
    """Put a provider's name to its error, and see that what the error says is short, printable and no secret."""
    if isinstance(error, ProviderError):
        error.provider = error.provider or provider
        error.message = mask(excerpt(error.message, _MESSAGE), secrets)
        error.args = (error.message,)  # what `repr` shows
        error.request_id = error.request_id and mask(excerpt(error.request_id, _ID), secrets)
    return error


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it replaced by ``***``, also one of which an excerpt shows the beginning."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be the beginning of another
        if len(secret) >= _HIDDEN:
            for spelt in _spellings(secret[: len(text) + 1]):  # of a longer one, the text can only have the beginning
                text = _mask_cut(text.replace(spelt, "***"), spelt)
    return text


def _spellings(secret: str) -> Iterable[str]:
    """A secret as it is, on one line, and as JSON, HTML and URLs write it; and each of these quoted several times."""
    from html import escape
    from json import dumps
    from urllib.parse import quote

    line, written = " ".join(secret.split()), dumps(secret)[1:-1]
    spelt = [secret, line, written, written.replace("/", r"\/"), escape(secret), quote(secret, safe="")]
    for _ in range(_QUOTED):
        spelt = list(dict.fromkeys([*spelt, *(repr(each)[1:-1] for each in spelt)]))
    return spelt


def _mask_cut(text: str, secret: str) -> str:
    *cut, rest = text.split("…")
    return "…".join([*(_without_beginning(each, secret) for each in cut), rest])


def _without_beginning(text: str, secret: str) -> str:
    longest = min(len(secret) - 1, len(text))
    found = next((n for n in range(longest, _HIDDEN - 1, -1) if text.endswith(secret[:n])), 0)
    return f"{text[:-found]}***" if found else text


MissingAuthError = AuthenticationError
ProviderNotFoundError = UnknownProviderError
ResponseError = APIStatusError
