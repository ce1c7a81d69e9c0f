"""Made-up English: whole sentences of an exact number of words, about what was asked, the same for the same seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

__all__ = ("made_up", "split_tokens", "topics")

_WORDS = {
    "thing": ("pattern", "balance", "rhythm", "signal", "picture", "surface", "boundary", "current", "middle", "frame"),
    "plural": ("patterns", "layers", "signals", "habits", "details", "angles", "waves", "pieces", "lessons", "numbers"),
    "quality": ("simple", "quiet", "patient", "careful", "hidden", "gentle", "steady", "common", "bright", "curious"),
    "matter": ("light", "time", "distance", "practice", "scale", "memory", "weather", "motion"),
}
_OPENERS = (
    "When people ask about {topic}, it helps to begin with {matter}.",
    "The short story of {topic} is one of {matter} and {quality} {plural}.",
    "Most of {topic} comes down to {quality} {plural} and a little {matter}.",
    "To understand {topic}, follow the {thing} before you count the {plural}.",
)
_SENTENCES = (
    "The {thing} changes slowly, while the {plural} around it move fast.",
    "Each {thing} leaves {quality} {plural} behind, and those add up.",
    "With enough {matter}, even {quality} {plural} begin to look {quality}.",
    "That is why the {thing} seems {quality} from far away.",
    "Look at {topic} twice, and the {quality} {thing} becomes clear.",
    "None of this needs more than {matter} and {quality} {plural}.",
    "Between one {thing} and the next, {matter} does most of the work.",
    "So {topic} is less about {plural} than about {matter}.",
    "In practice, {quality} {plural} matter more than the {thing} itself.",
)
_CLOSERS = (  # the n-th has n words, and so an answer can have any number of them
    "",
    "Simple.",
    "That helps.",
    "It adds up.",
    "That is the point.",
    "The rest follows from that.",
    "Everything else is a {quality} detail.",
    "From there, the {thing} explains itself well.",
    "And that is all the {thing} needs today.",
)
_PLAIN_WORDS = frozenset(
    """a about all an and any are as at be because between by can could describe did do does explain few for from give
    has have how i if in into is it its me more my of on one or our please say sentence sentences short so some tell
    than that the their them there these they this to two us was we were what when where which who why will with word
    words would write you your""".split()  # noqa: SIM905  # ninety quoted words would be harder to read
)
_TOPIC = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z][A-Za-z0-9-]{1,19}(?![A-Za-z0-9_-])")
_TOKEN = re.compile(r"\s*\S+|\s+$")


def topics(question: str) -> list[str]:
    """Pick the words that a question is about, no more than five of its first 500 characters."""
    found = (word for word in _TOPIC.findall(question[:500]) if word.lower() not in _PLAIN_WORDS)
    return list(dict.fromkeys(found))[:5]


def made_up(random: Random, question: str, tokens: int) -> list[str]:
    """Write whole sentences of exactly so many words about a question; a token is a word with the space before it."""
    about = topics(question) or ["this"]
    shapes = [random.choice(_OPENERS)]
    written: list[str] = []
    while len(written) < tokens:
        room = tokens - len(written)
        shape = _CLOSERS[min(room, len(_CLOSERS) - 1)]
        if len(shapes[0].split()) <= room >= len(_CLOSERS):
            shape = shapes.pop(0)
        written += _fill(random, shape, about)
        shapes = shapes or random.sample(_SENTENCES, len(_SENTENCES))  # none is said twice before all are
    return [word if n == 0 else f" {word}" for n, word in enumerate(written)]


def _fill(random: Random, shape: str, about: list[str]) -> Iterator[str]:
    for word in shape.split():
        before, brace, slot = word.partition("{")
        name, _, after = slot.partition("}")
        choices: Sequence[str] = about if name == "topic" else _WORDS.get(name, ("",))
        yield before + random.choice(choices) + after if brace else word


def split_tokens(text: str) -> list[str]:
    """Split a text into words with the white space before each; joined, they are the text again."""
    return _TOKEN.findall(text)
