"""Finds a marked secret in whatever somebody can see of a run, however it is written there.

    mark = Mark("sk-...")
    assert not mark.shown_by(error, stream, provider)

Looked at are, from each object on: its ``repr``, ``str``, ``format``, what pprint and rich print of it and of its
``vars`` (so private attributes by what they print); every public attribute, slot, property, item and member, as deep as
they go; of an error its arguments, notes, cause, context and the members of a group, and the variables of its frames as
``capture_locals=True`` and rich's ``show_locals=True`` print them; what ``to_dict``, JSON and pickle make of it.
"""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from io import StringIO
from pathlib import Path
from pprint import pformat
from types import BuiltinMethodType, CodeType, FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any, TypeAlias
from urllib.parse import quote

from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from g4ftrio.base_provider import AbstractProvider

__all__ = ("Mark", "seen", "tracebacks")

Seen: TypeAlias = tuple[str, str]

_TESTS = str(Path(__file__).parent.parent)
_WINDOW = 8  # characters of a secret that are enough to betray it; every other of them is looked for
_DEPTH = 12
_UNSEEN = (type, ModuleType, FunctionType, MethodType, BuiltinMethodType, CodeType, FrameType, TracebackType)
_SETTINGS = ("api_key", "api_base", "api_endpoint", "url")  # what a provider was given, in public attributes of its own
_LINKS = ("__cause__", "__context__", "__notes__", "exceptions", "args")


class Mark:
    """A secret that is found again: whole or a piece, in any case, in the encodings that services and tools use."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        written = {secret, quote(secret, safe=""), escape(secret), json.dumps(secret)[1:-1], *_in_base64(secret)}
        self._pieces = {
            form[n : n + _WINDOW].casefold() for form in written for n in range(0, max(len(form) - _WINDOW, 0) + 1, 2)
        }

    def is_in(self, text: str) -> bool:
        """Whether the text betrays it."""
        text = text.casefold()
        return any(piece in text for piece in self._pieces)

    def shown_by(self, *things: object) -> list[str]:
        """Where it can be seen in these things, as paths with the beginning of what is seen."""
        return [f"{path}: {self._around(text)}" for path, text in seen(things) if self.is_in(text)]

    def _around(self, text: str) -> str:
        at = min(found for piece in self._pieces if (found := text.casefold().find(piece)) >= 0)
        return f"...{text[max(at - 60, 0) : at + 40]}..."


def _in_base64(secret: str) -> Iterator[str]:
    """What is the same in base64 whatever stands before and behind it, ``user:`` say."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        yield coded[2 if before else 0 :][: -2 or None]


def seen(things: Iterable[object]) -> Iterator[Seen]:
    """Everything that can be seen of these things: where, and the text."""
    known: dict[int, object] = {}
    for number, thing in enumerate(things):
        yield from _Walk(known).into(f"{type(thing).__name__}[{number}]", thing, _DEPTH)


class _Walk:
    """A walk that looks at each object once.

    :param known: by id, what was looked at; it is kept, so that no id is given twice
    """

    def __init__(self, known: dict[int, object]) -> None:
        self._known = known

    def into(self, path: str, thing: object, depth: int) -> Iterator[Seen]:
        if isinstance(thing, str):
            yield path, str.__str__(thing)
        elif isinstance(thing, bytes | bytearray):
            yield path, thing.decode("latin-1")
        elif not isinstance(thing, (*_UNSEEN, int, float, type(None))) and id(thing) not in self._known and depth:
            self._known[id(thing)] = thing
            yield from _printed(path, thing)
            if isinstance(thing, BaseException):
                yield from self._frames(thing)
            for name, member in _members(thing):
                yield from self.into(f"{path}{name}", member, depth - 1)

    def _frames(self, error: BaseException) -> Iterator[Seen]:
        """The variables of the frames that it came through, but for those of tests."""
        for frame, line in traceback.walk_tb(error.__traceback__):
            where = frame.f_code.co_filename
            if id(frame) not in self._known and not where.startswith(_TESTS):
                self._known[id(frame)] = frame
                for name, value in frame.f_locals.items():
                    yield f"{name} in {where}:{line}", f"{_tried(repr, value)} {_tried(_by_rich, value)}"


def _printed(path: str, thing: object) -> Iterator[Seen]:
    """What tools print of it."""
    printers: dict[str, Callable[[Any], object]] = {
        "repr": repr,
        "str": str,
        "format": format,
        "pprint": pformat,
        "rich": _by_rich,
        "vars": lambda of: f"{(state := _state(of))!r} {_by_rich(state)}",
    }
    if not isinstance(thing, AbstractProvider):  # it takes its key along into another process
        printers["pickle"] = lambda of: pickle.dumps(of, 0).decode("latin-1")
    if hasattr(thing, "to_dict"):
        printers["json"] = lambda of: json.dumps(of.to_dict())
    if isinstance(thing, Mapping | list | tuple):
        printers = {"json": lambda of: json.dumps(of, default=str)}
    for how, printed in printers.items():
        if text := _tried(printed, thing):
            yield f"{how}({path})", str(text)


def _by_rich(thing: object) -> str:
    """What rich prints; what lies deeper is looked at by itself."""
    if type(thing).__repr__ is object.__repr__ and not hasattr(thing, "__rich_repr__"):
        return ""  # the same
    return pretty_repr(thing, max_depth=1 if isinstance(thing, dict) else 2, max_width=1000)


def _tried(look: Callable[[Any], object], thing: object) -> object:
    """What a look gives; nothing where it cannot be had."""
    try:
        return look(thing)
    except Exception:  # a property of what is closed, or what no pickle holds
        return None


def tracebacks(error: BaseException) -> Iterator[Seen]:
    """The tracebacks of an error and what is chained to it, as tools print them."""
    yield "traceback", "".join(traceback.format_exception(error))
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "traceback with locals", "".join(whole.format())
    printed = Console(file=StringIO(), record=True, width=1000)
    unlimited: Any = {"locals_max_length": None, "locals_max_string": None}
    traced = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True, **unlimited)
    printed.print(traced)
    yield "rich's traceback with locals", printed.export_text()


def _members(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, Mapping):
        for key, value in list(thing.items()):
            yield "{key}", key
            yield f"[{key!r:.40}]", value
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from ((f"[{n}]", member) for n, member in enumerate(thing))
    for name in _names(thing):
        if (value := _tried(lambda of, name=name: getattr(of, name), thing)) is not None:  # type: ignore[misc]  # as it is now
            yield f".{name}", value


def _names(thing: object) -> Iterator[str]:
    if isinstance(thing, Mapping | list | tuple | set | frozenset) and type(thing).__module__ == "builtins":
        return
    settings = _SETTINGS if isinstance(thing, AbstractProvider) else ()
    yield from (name for name in dir(thing) if not name.startswith("_") and name not in settings)
    if isinstance(thing, BaseException):
        yield from _LINKS


def _state(thing: object) -> dict[str, object]:
    """All attributes, private ones and slots too."""
    slots = [name for kind in type(thing).__mro__ for name in _slots(kind)]
    found = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return {**found, **getattr(thing, "__dict__", {})}


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots
