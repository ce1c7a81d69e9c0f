"""Tool calls put together from the pieces in which they come; one assembler for all dialects."""

from __future__ import annotations

from typing import Any

import msgspec

from g4ftrio._words.chunks import ToolCall, ToolCallDelta, ToolCalls

__all__ = ("ToolCallAssembler",)


class _Call(msgspec.Struct):
    number: int
    id: str = ""
    name: str = ""
    pieces: list[str] = []

    def ends(self) -> bool:
        """Whether the arguments so far could be a whole JSON object."""
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}")


class ToolCallAssembler:
    """Gathers the tool calls of one answer and numbers them from 0 in the order in which they begin.

    By the book a call's pieces share an ``index``, and only the first brings ``id`` and ``name``. Servers also send no
    index at all, index 0 for every call of several, ``id`` and ``name`` with each piece, or a whole call in one piece.
    So a piece begins a new call where its index is new, or where it brings a name and either another id, another
    name, or arguments that begin anew after arguments that look whole. A piece without a name always goes on.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._latest: dict[int | str, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, index: int | None, id: str, name: str, arguments: Any) -> ToolCallDelta:  # noqa: A002 - the wire's name
        """Take a piece, and give it as a chunk.

        :param index: the call's number as the server counts, or None
        :param arguments: the next piece of the JSON string; a value that is no string is encoded
        """
        piece = arguments if isinstance(arguments, str) else _encoded(arguments)
        call = self._find(index, id)
        if call is None or _begins(call, id, name, piece):
            call = _Call(len(self._calls))
            self._calls.append(call)
        if index is not None:
            self._latest[index] = call
        if id:
            self._latest[id] = call
        call.id = call.id or id
        call.name = call.name or name
        if piece:
            call.pieces.append(piece)
        return ToolCallDelta(call.number, id, name, piece)

    def calls(self) -> ToolCalls:
        """Give the calls, whole. One that came without an id is called after its number, so that it can be answered."""
        return ToolCalls(
            tuple(ToolCall(call.id or f"call_{call.number}", call.name, "".join(call.pieces)) for call in self._calls)
        )

    def _find(self, index: int | None, id: str) -> _Call | None:  # noqa: A002 - the wire's name
        if index is not None:
            return self._latest.get(index)
        if id and id in self._latest:
            return self._latest[id]
        return self._calls[-1] if self._calls else None


def _begins(call: _Call, id: str, name: str, piece: str) -> bool:  # noqa: A002 - the wire's name
    if not name:
        return False
    if id and call.id:
        return id != call.id
    if name != call.name:
        return call.name != ""
    return piece.lstrip().startswith("{") and call.ends()  # in this order no piece is looked through twice


def _encoded(arguments: Any) -> str:
    return "" if arguments is None else msgspec.json.encode(arguments).decode()
