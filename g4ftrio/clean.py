"""Ways to decide a race: predicates for ``clean=``, alone or joined by ``all_of`` and ``any_of``. No I/O.

Each is made by a function, and is asked for every chunk of an entrant that has not won:
``(chunk, text_so_far) -> bool``. True lets the entrant win. False is "not yet", also where too little text has come to
tell; an answer that ends before it can be told does not win. What can never come right raises ``RejectedError``, so
that the entrant is dropped and the next one started.

All of them want content as ``g4ftrio.is_content`` does, so an error page or an error's JSON wins by none. They judge
text: a tool call, a picture or sound passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias

from g4ftrio._cleaning import is_content
from g4ftrio._words.chunks import Chunk
from g4ftrio._words.errors import RejectedError, excerpt

if TYPE_CHECKING:
    from g4ftrio._words.completion import Completion

__all__ = (
    "REFUSALS",
    "FirstComplete",
    "Predicate",
    "all_of",
    "any_of",
    "begins_json",
    "first_complete",
    "in_script",
    "long_enough",
    "matches",
    "not_refusal",
)

Predicate: TypeAlias = Callable[[Chunk, str], bool]
Judge: TypeAlias = Callable[[str], bool]

_BEGINNING = 4096  # characters
_WORD = 10  # characters, on average more than a word has; where words are not set apart, characters count
_SPARSE = 50  # characters among which there is at least one letter
_FENCE = re.compile(r"```\w*[ \t]*\r?\n")
_FENCE_BEGUN = re.compile(r"`{1,2}|```\w*[ \t]*\r?")
_FENCE_LIMIT = 100  # characters
_OPENINGS = {
    "object": re.compile(r'\{\s*["}]'),
    "array": re.compile(r'\[\s*[\]\[{"\dtfn-]'),
}

REFUSALS = (
    "i'm sorry, but i can",
    "i'm sorry, i can",
    "i am sorry, but i can",
    "sorry, but i can",
    "sorry, i can't",
    "i can't assist",
    "i can't help",
    "i cannot assist",
    "i cannot help",
    "i can't provide",
    "i cannot provide",
    "i'm not able to",
    "i am not able to",
    "i'm unable to",
    "i am unable to",
    "i won't be able to",
    "i must decline",
    "as an ai",
)


def all_of(*predicates: Predicate) -> Predicate:
    """Clean is what passes each of them; who is rejected by one is rejected.

    :raises TypeError: one of them is ``first_complete``, which decides by itself
    """
    return partial(_all, _joinable(predicates))


def any_of(*predicates: Predicate) -> Predicate:
    """Clean is what passes one of them; who is rejected by all is rejected.

    :raises TypeError: one of them is ``first_complete``, which decides by itself
    """
    return partial(_any, _joinable(predicates))


def begins_json(*, kind: Literal["any", "object", "array"] = "any") -> Predicate:
    """Clean is text that begins as a JSON object or array does, in a fence of backquotes or bare.

    :param kind: which of the two
    """
    if kind not in ("any", *_OPENINGS):
        raise ValueError(f"kind= is 'any', 'object' or 'array', not {kind!r}")
    openings = [opening for name, opening in _OPENINGS.items() if kind in ("any", name)]
    return partial(_decide, partial(_begins_json, openings))


def long_enough(*, characters: int = 0, words: int = 0) -> Predicate:
    """Clean is text of at least so many characters and words, white space around it not counted.

    Words are what stands between white space; ten characters pass for one, as some scripts set no words apart.
    """
    if characters < 0 or words < 0:
        raise ValueError("characters= and words= are numbers from 0")
    return partial(_decide, partial(_is_long_enough, characters, words))


def in_script(*scripts: str, share: float = 0.5, letters: int = 20) -> Predicate:
    """Clean is text whose first letters are mostly of these scripts, which tells Russian from English, not French.

    :param scripts: as the names of Unicode's characters begin: ``latin``, ``cyrillic``, ``greek``, ``arabic``,
        ``hebrew``, ``devanagari``, ``thai``, ``hangul``, ``cjk``; Japanese is ``cjk``, ``hiragana`` and ``katakana``
    :param share: of the letters
    :param letters: how many are looked at; a text with fewer is not told
    """
    if not scripts or not all(str(script).isalpha() for script in scripts):
        raise ValueError(f"a script is a name such as 'latin', not {scripts!r}")
    if not (0 < share <= 1 and letters > 0):
        raise ValueError("share= is above 0 and at most 1, letters= a number from 1")
    return partial(_decide, partial(_is_in_script, tuple(map(str.upper, scripts)), share, letters))


def not_refusal(*, also: tuple[str, ...] = ()) -> Predicate:
    """Clean is text that does not open as a refusal does.

    :param also: openings beside ``REFUSALS``, in any case
    """
    if isinstance(also, str):
        raise TypeError("also= is a tuple of openings")
    return partial(_decide, partial(_is_no_refusal, (*REFUSALS, *map(str.lower, also))))


def matches(pattern: str | re.Pattern[str], *, within: int = 2048) -> Predicate:
    """Clean is text in whose beginning a regular expression is found.

    :param within: characters; a text with so many that does not match is rejected
    """
    if within < 1:
        raise ValueError("within= is a number from 1")
    return partial(_decide, partial(_matches, re.compile(pattern), within))


class FirstComplete:
    """Says that only whole answers are judged; made by ``first_complete``.

    :param accept: tells whether a whole answer may win
    :param limit: bytes that are kept of each answer
    """

    def __init__(self, accept: Callable[[Completion], bool], limit: int) -> None:
        self.accept = accept
        self.limit = limit

    def __call__(self, chunk: Chunk, text: str) -> bool:  # noqa: ARG002  # a predicate's signature
        """No chunk decides."""
        return False


def first_complete(accept: Callable[[Completion], bool] | None = None, *, limit: int = 8 << 20) -> FirstComplete:
    """Let the first whole answer win that is accepted: ``race(..., clean=first_complete())``.

    Nothing is given out before that; then all of it is. An answer without content does not win, nor one that is not of
    the type that ``response_format=`` asks for. A time-out ``first_chunk`` bounds the wait for the whole.

    :param accept: given a ``Completion``, whether it may win; without it every one may
    :param limit: bytes that are kept of each answer; an entrant whose answer is longer is rejected
    """
    if accept is not None and not callable(accept):
        raise TypeError(f"accept= is a function of a Completion, not {accept!r}")
    return FirstComplete(accept or (lambda _: True), limit)


def _joinable(predicates: tuple[Predicate, ...]) -> tuple[Predicate, ...]:
    if not predicates or not all(map(callable, predicates)):
        raise TypeError("join one or more predicates")
    if any(isinstance(each, FirstComplete) for each in predicates):
        raise TypeError("first_complete cannot be joined: look at the whole answer in its accept=")
    return predicates


def _all(predicates: tuple[Predicate, ...], chunk: Chunk, text: str) -> bool:
    passed = [decide(chunk, text) for decide in predicates]  # all are asked, as each may reject
    return all(passed)


def _any(predicates: tuple[Predicate, ...], chunk: Chunk, text: str) -> bool:
    rejected = []
    for decide in predicates:
        try:
            if decide(chunk, text):
                return True
        except RejectedError as error:
            rejected.append(error)
    if len(rejected) == len(predicates):
        raise rejected[0]
    return False


def _decide(judge: Judge, chunk: Chunk, text: str) -> bool:
    """Judge the text if this chunk is a piece of it; other content passes."""
    return is_content(chunk, text) and (not isinstance(chunk, str) or judge(text))


def _begins_json(openings: list[re.Pattern[str]], text: str) -> bool:
    text = text[:_BEGINNING].lstrip()
    if fence := _FENCE.match(text):
        text = text[fence.end() :].lstrip()
    elif _FENCE_BEGUN.fullmatch(text[:_FENCE_LIMIT]):
        return False
    if not text:
        return False
    if any(opening.match(text) for opening in openings):
        return True
    if not text.strip("{[ \t\r\n") and any(opening.match(text + each) for opening in openings for each in '"}]'):
        return False
    raise RejectedError(f"it does not begin like JSON: {excerpt(text, 100)!r}")


def _is_long_enough(characters: int, words: int, text: str) -> bool:
    if len(text) < characters or len(text.strip()) < characters:
        return False
    return len(text) >= words * _WORD or len(text.split()) >= words


def _is_in_script(scripts: tuple[str, ...], share: float, letters: int, text: str) -> bool:
    seen = list(islice(filter(str.isalpha, text[: letters * _SPARSE]), letters))
    if len(seen) < letters and len(text) < letters * _SPARSE:
        return False
    if sum(_is_of(letter, scripts) for letter in seen) >= share * letters:
        return True
    raise RejectedError(f"it is not in {' or '.join(scripts).lower()} script: {excerpt(text, 100)!r}")


def _is_of(letter: str, scripts: tuple[str, ...]) -> bool:
    from unicodedata import name

    return name(letter, "").startswith(scripts)


def _is_no_refusal(openings: tuple[str, ...], text: str) -> bool:
    begin = " ".join(text[:1024].split()).replace("\u2019", "'").lower()
    if any(opening.startswith(begin) for opening in openings if len(begin) < len(opening)):
        return False
    if begin.startswith(openings):
        raise RejectedError(f"a refusal: {excerpt(text, 100)!r}")
    return True


def _matches(pattern: re.Pattern[str], within: int, text: str) -> bool:
    if pattern.search(text[:within]):
        return True
    if len(text) < within:
        return False
    raise RejectedError(f"it does not match {pattern.pattern!r}: {excerpt(text, 100)!r}")
