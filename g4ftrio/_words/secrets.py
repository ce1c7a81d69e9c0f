"""What must not be seen: keys, passwords, cookies. As values that no ``repr`` shows, and as what is masked in words.

Promised: such a value is in the request to the service that it is meant for, on the provider that was given it (as
``api_key``, and in private attributes, whose ``repr`` is a mask; a pickle of the provider has to hold it), and nowhere
else that is printed: not in an error and what is chained to it, not in a log record, a report, an event or a file that
is written here, and not in a traceback, tools that show the variables of its frames included. Not promised: what the
caller's own frames and objects hold; the text of an answer, whatever its model says; and what a client of httpx's own
logs at DEBUG of the head of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from g4ftrio._words.errors import Error, ProviderError, excerpt

__all__ = (
    "Found",
    "Secret",
    "SecretBytes",
    "cleared",
    "hidden",
    "in_address",
    "in_headers",
    "mask",
    "private",
    "shown",
    "without_userinfo",
)

E = TypeVar("E", bound=Exception)

_MASK = "***"
_SHORTEST = 4  # characters; what is shorter is in many a word
_CODED = 8  # characters of base64 that are too many to be a coincidence
_BEGINNING = 12  # characters of a secret by which one is known that was cut
_REST = r"[^\s<>…]*"
_ID = 200  # characters of the longest name that a service gives to a request
_MESSAGE = 1000  # characters of the longest message of an error, which may have words of our own around a service's
_QUOTED = 3  # times that one may be quoted: by a service, by the one that it asked, and by us
_CHAIN = 50  # errors that hang together
_ADDRESSES = frozenset({"api_base", "api_endpoint", "base_url", "url"})
_VALUES = frozenset({"api_key", "cookies", "extra_headers", "headers", "proxy"})
_TELLING = re.compile(r"auth|cookie|credential|key|pass|secret|session|sig|token", re.IGNORECASE)  # names
_USERINFO = re.compile(r"(?<=://)[^/?#]*@")
_PRIVATE = re.compile(r"(?:(?<=//)|^(?!.*//)).*@|(?<=\?).*", re.DOTALL)  # of an address that may be none


class Secret(str):
    """Text that its ``repr`` does not show, nor that of what is put together from it with ``+``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MASK)

    def __rich_repr__(self) -> Iterator[str]:
        yield _MASK

    def __add__(self, other: str) -> Secret:
        return Secret(str.__add__(self, other))

    def __radd__(self, other: str) -> Secret:
        return Secret(str.__add__(other, self))

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> SecretBytes:
        """Encode it; what comes of that is not shown either."""
        return SecretBytes(str.encode(self, encoding, errors))


class SecretBytes(bytes):
    """The same for bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MASK.encode())

    def __rich_repr__(self) -> Iterator[bytes]:
        yield _MASK.encode()

    def __add__(self, other: Any) -> SecretBytes:
        return SecretBytes(bytes.__add__(self, other))


class Found:
    """Secrets that are looked for when something is to be masked, and not for each request."""

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())


def hidden(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings or parameters by name, with what is secret in them as values that are not shown."""
    return {name: _hidden(name, value) for name, value in settings.items()}


def _hidden(name: str, value: Any) -> Any:
    if name in _ADDRESSES:
        return private(value) if isinstance(value, str) else value
    if name not in _VALUES:
        return value
    if isinstance(value, Mapping):
        return {key: _hidden(name, each) for key, each in value.items()}
    return Secret(value) if isinstance(value, str) else value


@lru_cache(maxsize=256)
def private(address: str) -> str:
    """An address as a value that is not shown, if something in it may be secret."""
    return Secret(address) if _PRIVATE.search(address) else address


def shown(address: str) -> str:
    """An address without what may be secret in it; it need not be one."""
    return _PRIVATE.sub(lambda found: f"{_MASK}@" if found[0].endswith("@") else _MASK, address)


def without_userinfo(address: str) -> tuple[str, str]:
    """Take user and password out of an address; they are given as HTTP's ``Basic`` wants them before base64."""
    found = _USERINFO.search(address)
    if found is None:
        return address, ""
    user, _, password = found[0][:-1].partition(":")
    return _USERINFO.sub("", address, count=1), Secret(f"{unquote(user)}:{unquote(password)}")


def in_address(address: str) -> Iterator[str]:
    """The secrets in an address: its password, and what its query calls a key."""
    if not _PRIVATE.search(address):
        return
    _, userinfo = without_userinfo(address)
    user, _, password = userinfo.partition(":")
    yield from (userinfo, Secret(password or user))
    query = address.partition("?")[2].partition("#")[0]
    for name, _, value in (field.partition("=") for field in query.split("&")):
        if _TELLING.search(name):
            yield Secret(value)
            yield Secret(unquote(value))


def in_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """The secrets in header fields: the whole of them, and what stands behind a scheme or a cookie's name."""
    for name, value in headers.items():
        if _TELLING.search(name):
            yield Secret(value)
            yield Secret(value.rpartition(" ")[2])
            yield from (Secret(cookie.partition("=")[2]) for cookie in value.split("; "))


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it replaced by ``***``, also one that an excerpt cut off, here or at the service.

    A secret is found in upper and lower case, and as it stands in URLs, in JSON, in HTML, in base64 and quoted.
    """
    lower = text.casefold()
    every = (
        form for each in secrets for form in _forms(each[: len(text) + 1])
    )  # of a longer one, the text has its beginning
    found = {form for form in every if form[:_SHORTEST].casefold() in lower}  # a long history is not made a pattern
    forms = sorted(found, key=len, reverse=True)  # one may begin another
    if not forms:
        return text
    begun = [re.escape(form[:_BEGINNING]) + _REST for form in forms if len(form) > _BEGINNING]
    pattern = "|".join([*map(re.escape, forms), *begun])
    return _mask_cut(re.sub(pattern, _MASK, text, flags=re.IGNORECASE), forms)


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < _SHORTEST:
        return
    from html import escape
    from json import dumps

    line, in_json = " ".join(secret.split()), dumps(secret)[1:-1]
    spelt = {str(secret), line, in_json, in_json.replace("/", r"\/"), escape(secret), quote(secret, safe="")}
    for _ in range(_QUOTED):
        spelt |= {repr(each)[1:-1] for each in spelt}
    yield from spelt
    yield from filter(lambda coded: len(coded) >= _CODED, _in_base64(secret))


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of it whatever stands before and behind it: three characters become four."""
    from base64 import b64encode

    for before in range(3):
        coded = b64encode(b"\0" * before + secret.encode("utf-8", "replace")).decode()
        begin, end = -(-before * 8 // 6), (before + len(secret.encode("utf-8", "replace"))) * 8 // 6
        yield coded[begin:end]


def _mask_cut(text: str, forms: Sequence[str]) -> str:
    """Mask what stands before an ellipsis and is the beginning of a secret."""
    *cut, rest = text.split("…")
    return "…".join([*(_without_beginning(each, forms) for each in cut), rest])


def _without_beginning(text: str, forms: Sequence[str]) -> str:
    lower = text.casefold()
    found = max((_overlap(lower, form.casefold()) for form in forms), default=0)
    return f"{text[:-found]}{_MASK}" if found else text


def _overlap(text: str, form: str) -> int:
    """How many of a form's first characters the text ends with."""
    return next((n for n in range(len(form) - 1, _SHORTEST - 1, -1) if text.endswith(form[:n])), 0)


def cleared(error: E, secrets: Iterable[str], provider: str = "") -> E:
    """Make an error one that may be seen: raise it anew where it leaves what knows the secrets.

    Its words are masked, and so are those of ours that are chained to it. The frames below are dropped, because their
    variables are the request and what the service said; so is what else is chained to it and shows a secret.

    :param provider: its name, where the error has none yet
    """
    known = tuple(secrets)
    for each in _chained(error):
        each.__traceback__ = None
        for link in ("__cause__", "__context__"):
            other = getattr(each, link)
            if other is not None and not isinstance(other, Error) and _shows(other, known):
                setattr(each, link, None)
        _forget_request(each)
        if isinstance(each, ProviderError):
            each.provider = each.provider or provider or None
            each.message = mask(excerpt(each.message, _MESSAGE), known)
            each.request_id = each.request_id and mask(excerpt(each.request_id, _ID), known)
            each.args = (each.message,)  # what `repr` shows
    return error


def _chained(error: BaseException) -> list[BaseException]:
    found = [error]
    for one in found:  # which grows meanwhile
        links = (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))
        found += [each for each in links if each is not None and not any(each is known for known in found)]
        if len(found) > _CHAIN:
            break
    return found


def _shows(error: BaseException, secrets: Sequence[str]) -> bool:
    said = f"{error} {error!r} {vars(error)!r}"
    return mask(said, secrets) != said


def _forget_request(error: BaseException) -> None:
    """Take out of an error of httpx's the request, whose headers it would show."""
    held = vars(error)
    if "_request" in held:
        held["_request"] = None
    held.pop("response", None)
