"""What is asked: prompts from a file, from standard input, from a list, or made up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import msgspec
from msgspec import Struct, structs

from g4ftrio._words.errors import MessagesError, SetupError, excerpt
from g4ftrio._words.messages import normalize
from g4ftrio._words.request import check_params
from g4ftrio.bench._chance import chance
from g4ftrio.simulator._latency import Latency, as_latency

__all__ = ("Prompt", "PromptTypes", "Prompts", "made_up", "prompts")

_WORDS = (  # short ones, most of which are one token to most models
    """time year people way day man thing woman life child world school state family student group country problem hand
    part place case week company system program question work number night point home water room mother area money story
    fact month lot right study book eye job word business issue side kind head house service friend father power hour
    game line end member law car city name team minute idea body back parent face level office door health art war
    history party result change morning reason research girl guy moment air teacher force education""".split()  # noqa: SIM905  # a hundred quoted words would be harder to read
)
_ASK = "Write about"


class Prompt(Struct, frozen=True):
    """One thing to ask.

    :ivar messages: in the OpenAI shape
    :ivar params: for this request alone: ``max_tokens``, ``tools``, ...
    """

    messages: list[dict[str, Any]]
    params: dict[str, Any] = {}

    def prefixed(self, prefix: str) -> Prompt:
        """The same with something before its first words, so that no service finds it in a cache."""
        messages = [dict(message) for message in self.messages]
        messages[0]["content"] = _before(prefix, messages[0].get("content"))
        return structs.replace(self, messages=messages)


class Prompts:
    """Prompts by their numbers, as many as are wanted.

    :param source: where they come from, in words
    :param give: the prompt of a number from 0 up
    :param count: after how many they begin anew; None for never
    """

    def __init__(self, source: str, give: Callable[[int], Prompt], count: int | None = None) -> None:
        self.source = source
        self._give = give
        self.count = count

    def index(self, round: int) -> int:  # noqa: A002  # it is one
        """Which prompt is asked in this round."""
        return round % self.count if self.count else round

    def __getitem__(self, number: int) -> Prompt:
        return self._give(self.index(number))

    def __str__(self) -> str:
        return self.source


PromptTypes: TypeAlias = Prompts | str | os.PathLike[str] | TextIO | Sequence[str | Mapping[str, Any]]


def prompts(source: PromptTypes, *, max_tokens: int | None = None) -> Prompts:
    """Read prompts.

    In a file, a line is a prompt, or all lines are JSON objects: ``{"prompt": "Why?"}`` or ``{"messages": [...]}``,
    with any chat parameter beside it (``max_tokens``, ``tools``, ...). A mapping in a list is the same.

    :param source: a prompt, a path (``pathlib.Path``), an open file (``sys.stdin``), or a list of prompts and mappings
    :param max_tokens: for all that do not say it themselves
    :raises SetupError: there is no such file, nothing in it, or a line of it cannot be read
    """
    if isinstance(source, Prompts):
        return source
    name, items = _items(source)
    defaults = {} if max_tokens is None else {"max_tokens": max_tokens}
    read = [_prompt(item, where, defaults) for where, item in items]
    if not read:
        raise SetupError(f"{name}: there is no prompt in it")
    return Prompts(name, read.__getitem__, len(read))


def made_up(words: Latency | float = 100, *, max_tokens: Latency | float | None = None, seed: int = 0) -> Prompts:
    """Make prompts up, no two alike.

    :param words: how many a prompt has; a number, or a distribution: ``g4ftrio.simulator.lognormal(100, 0.5)``
    :param max_tokens: likewise, how many tokens an answer may have
    """
    length, most = as_latency(words), None if max_tokens is None else as_latency(max_tokens)

    def give(number: int) -> Prompt:
        random = chance(seed, f"prompt/{number}")
        text = " ".join([_ASK, *random.choices(_WORDS, k=max(1, round(length(random)) - 2))])
        params = {} if most is None else {"max_tokens": max(1, round(most(random)))}
        return Prompt([{"role": "user", "content": text}], params)

    return Prompts("made up", give)


def _items(source: str | os.PathLike[str] | TextIO | Sequence[Any]) -> tuple[str, Iterable[tuple[str, Any]]]:
    """The prompts of a source one by one, each with where it stands, and what the source is called."""
    if isinstance(source, str):
        return "1 prompt", [("the prompt", source)]
    if isinstance(source, Sequence):
        return f"{len(source)} prompts", [(f"prompt {number}", item) for number, item in enumerate(source, 1)]
    name = os.fspath(source) if isinstance(source, os.PathLike) else getattr(source, "name", "the prompts")
    try:
        text = Path(name).read_text("utf-8") if isinstance(source, os.PathLike) else source.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the prompts in {name} cannot be read: {error}") from None
    lines = [(f"{name} line {number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and lines[0][1].lstrip().startswith("{"):
        return name, ((where, _decoded(line, where)) for where, line in lines)
    return name, lines


def _decoded(line: str, where: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise SetupError(f"{where} is not JSON: {error}") from None


def _prompt(item: Any, where: str, defaults: Mapping[str, Any]) -> Prompt:
    given = {"prompt": item} if isinstance(item, str) else item
    if not isinstance(given, Mapping) or ("prompt" in given) == ("messages" in given):
        raise SetupError(f'{where}: write {{"prompt": "..."}} or {{"messages": [...]}}, not {excerpt(repr(item), 60)}')
    params = {**defaults, **given}
    system = params.pop("system", None)
    messages = params.pop("prompt", None) or params.pop("messages", "")
    try:
        check_params(params)
        return Prompt(normalize(messages, system), params)
    except (MessagesError, TypeError) as error:
        raise SetupError(f"{where}: {error}") from None


def _before(prefix: str, content: Any) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": prefix}, *content]
    return prefix + (content or "")
