"""JSON of the right shape, and of nearly the right one: made from schemas, and from frames that services sent.

``frames_of(wire)`` is a hypothesis strategy that ``msgspec.inspect`` derives from the wire's own schemas; anywhere in
what it makes there may be a value of another type. ``mutated(frame)`` puts each of ``JUNK`` in each place of a frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from tests.faults.wires import Wire, Words

__all__ = ("JUNK", "frames_of", "mutated", "shape_of")

_DEEP = 950  # levels that a decoder still reads at the bottom of the stack, and may not at the top of it
_TOO_DEEP = 5000

JUNK: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "negative": b"-1",
    "an int of 65 bits": b"36893488147419103232",
    "an int of 5,000 digits": b"9" * 5000,
    "a float": b"0.5",
    "a float that is too large": b"1e999",
    "a float that is as large as can be": b"1.7976931348623157e308",
    "no number": b"NaN",
    "no number, in text": b'"NaN"',
    "an empty text": b'""',
    "a text": b'"x"',
    "a number, in text": b'"429"',
    "a NUL": b'"\\u0000"',
    "half a character": b'"\\ud83d"',
    "the other half": b'"\\udc00x"',
    "no UTF-8": b'"\xff\xfe"',
    "control characters": b'"\x00\r"',
    "an empty list": b"[]",
    "a list": b'[null, 1, "x", [], {}]',
    "an empty object": b"{}",
    "an object": b'{"type": "x", "error": {"message": 1}, "text": 2, "": null}',
    "a key twice": b'{"type": "x", "type": 1}',
    "deep lists": b"[" * _DEEP + b"]" * _DEEP,
    "deep objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "lists that are too deep": b"[" * _TOO_DEEP,
    "an object that does not end": b'{"type": "x',
    "nothing": b"",
}

_MARK = "\x01here\x01"
_MARK_WRITTEN = json.dumps(_MARK).encode()


def mutated(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """Give the frame with each place in it replaced by each kind of junk, and left out; and say what was done."""
    try:
        whole = json.loads(frame)
    except ValueError:
        return
    for where, marked in _marked(whole):
        written = json.dumps(marked).encode()
        for what, junk in JUNK.items():
            yield f"{what} at {where or 'the top'}", written.replace(_MARK_WRITTEN, junk)
    for where, left in _without_a_key(whole):
        yield f"nothing at {where}", json.dumps(left).encode()


def shape_of(frame: bytes) -> str:
    """Give the same for all frames that differ only in their texts and numbers."""
    try:
        return json.dumps(_shape(json.loads(frame)), sort_keys=True)
    except ValueError:
        return repr(frame)


def _shape(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: child if key == "type" else _shape(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_shape(child) for child in node[:1]]
    return type(node).__name__


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def _with(node: Any, key: Any, child: Any) -> Any:
    if isinstance(node, dict):
        return {**node, key: child}
    return [*node[:key], child, *node[key + 1 :]]


def _marked(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    yield where, _MARK
    for key, child in _children(node):
        for place, marked in _marked(child, f"{where}/{key}"):
            yield place, _with(node, key, marked)


def _without_a_key(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    for key, child in _children(node):
        if isinstance(node, dict):
            yield f"{where}/{key}", {name: value for name, value in node.items() if name != key}
        for place, left in _without_a_key(child, f"{where}/{key}"):
            yield place, _with(node, key, left)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 600)
    | st.sampled_from([2**63, 2**64, -(2**64), 10**30])
    | st.floats()
    | st.text(max_size=8)
)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
_NOTES = ("error", "message", "type", "code", "detail", "details", "@type", "retryDelay", "loc", "object", "metadata")


class _Shapes:
    """Strategies for the types of one wire.

    What a schema leaves open (``Any``, ``Raw``) is filled with anything, or with another of the wire's classes.
    """

    def __init__(self, wire: Wire) -> None:
        self._words: Words = wire.words()
        self._roots = inspect.multi_type_info(wire.schemas())
        self._made: dict[object, st.SearchStrategy[Any]] = {}
        notes = st.dictionaries(st.sampled_from(_NOTES), _ANYTHING, min_size=1, max_size=3)
        self._open = _ANYTHING | notes | st.deferred(lambda: st.one_of([self.of(root) for root in self._roots]))

    def events(self) -> st.SearchStrategy[Any]:
        """What the wire may send, and what is nearly that."""
        return st.one_of([self.of(root) for root in self._roots]) | self._open

    def of(self, kind: inspect.Type, key: str = "") -> st.SearchStrategy[Any]:
        """Give values of a type, some of them of another."""
        found = (type(kind).__name__, repr(kind), key)
        if found not in self._made:
            self._made[found] = st.deferred(lambda: self._right(kind, key) | _ANYTHING)
        return self._made[found]

    def _right(self, kind: inspect.Type, key: str) -> st.SearchStrategy[Any]:
        match kind:
            case inspect.StructType():
                return self._struct(kind)
            case inspect.UnionType(types=kinds):
                return st.one_of([self.of(each, key) for each in kinds])
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                return st.lists(self.of(item, key), max_size=3)
            case inspect.TupleType(item_types=items):
                return st.tuples(*(self.of(item, key) for item in items)).map(list)
            case inspect.DictType():
                return self._open
            case inspect.LiteralType(values=values):
                return st.sampled_from(values)
        return _PLAIN[type(kind)](self, key)

    def _struct(self, kind: inspect.StructType) -> st.SearchStrategy[Any]:
        fields = {field.encode_name: self.of(field.type, field.encode_name) for field in kind.fields}
        needed = {field.encode_name for field in kind.fields if field.required}
        made = st.fixed_dictionaries(
            {name: made for name, made in fields.items() if name in needed},
            optional={name: made for name, made in fields.items() if name not in needed},
        )
        if kind.tag is None or kind.tag_field is None:
            return made
        mark = {kind.tag_field: kind.tag}
        return made.map(lambda held: {**mark, **held})

    def text(self, key: str) -> st.SearchStrategy[Any]:
        """Texts, mostly those that the wire says at this key."""
        known = self._words.get(key, ())
        return st.sampled_from(known) | st.text(max_size=8) if known else st.text(max_size=8)

    def open(self, key: str) -> st.SearchStrategy[Any]:
        """What the schema does not describe."""
        return self._open | self.text(key)


_PLAIN: dict[type, Callable[[_Shapes, str], st.SearchStrategy[Any]]] = {
    inspect.AnyType: _Shapes.open,
    inspect.RawType: _Shapes.open,
    inspect.StrType: _Shapes.text,
    inspect.IntType: lambda _, __: st.integers(),
    inspect.FloatType: lambda _, __: st.floats(),
    inspect.BoolType: lambda _, __: st.booleans(),
    inspect.NoneType: lambda _, __: st.none(),
}


def frames_of(wire: Wire) -> st.SearchStrategy[list[bytes]]:
    """Frames of a wire's shape, some of them of another, some no JSON at all."""
    written = _Shapes(wire).events().map(lambda event: json.dumps(event).encode())
    sent = [frame for answer in wire.answers() for frame in answer]
    noise = st.binary(max_size=20) | st.sampled_from([b"[DONE]", b"", b" ", b"null", b"[]", b"{}", b"\xef\xbb\xbf{}"])
    return st.lists(written | written | st.sampled_from(sent) | noise, max_size=5)
