"""The function calls of one answer on the Responses wire, put together from events that name them in several ways."""

from __future__ import annotations

from msgspec import Struct

from g4ftrio._words.chunks import ToolCallDelta, ToolCalls
from g4ftrio.dialects._responses_items import FunctionCall
from g4ftrio.dialects._tool_calls import ToolCallAssembler

__all__ = ("ResponsesCalls",)


class _Call(Struct, gc=False):
    number: int
    call_id: str = ""
    is_named: bool = False
    is_argued: bool = False


class ResponsesCalls:
    """Gathers the calls of one answer.

    By the book a call begins with its item, goes on with pieces that bear the item's place in the output and its id,
    and ends with the whole item, whose arguments are those of the pieces. Servers also leave out the beginning, the
    pieces, the places or the ids, count all places as 0, and repeat the whole at the end of the answer. So a call is
    found by its ``call_id``, else by its item's id or place, else it is the one that is open; its arguments are
    those of its pieces, and only where none came those of the whole item.
    """

    def __init__(self) -> None:
        self._assembler = ToolCallAssembler()
        self._known: dict[int | str, _Call] = {}
        self._open: _Call | None = None
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._assembler)

    def begin(self, place: int | None, item: FunctionCall) -> ToolCallDelta | None:
        """Take the item that a call begins with; what arguments it has come again."""
        call = self._find(place, item) or self._new()
        self._open = call
        return self._add(call, place, item, None)

    def go_on(self, place: int | None, item_id: str | None, arguments: str) -> ToolCallDelta:
        """Take a piece of a call's arguments."""
        call = self._at(place) or self._at(item_id) or self._open or self._new()
        self._open = call
        return self._add(call, place, FunctionCall(item_id), arguments) or ToolCallDelta(call.number)

    def end(self, place: int | None, item: FunctionCall) -> ToolCallDelta | None:
        """Take a whole item, and give what of it did not come before."""
        call = self._find(place, item) or (self._open if not item.call_id else None) or self._new()
        self._open = None
        return self._add(call, place, item, None if call.is_argued else item.arguments)

    def calls(self) -> ToolCalls:
        """Give all calls, whole."""
        return self._assembler.calls()

    def is_argued(self, place: int | None, item_id: str | None) -> bool:
        """Whether the arguments of the call came in pieces already."""
        call = self._at(place) or self._at(item_id) or self._open
        return call is not None and call.is_argued

    def _at(self, key: int | str | None) -> _Call | None:
        return None if key is None else self._known.get(key)

    def _find(self, place: int | None, item: FunctionCall) -> _Call | None:
        if call := self._at(item.call_id):
            return call
        call = self._at(item.id) or self._at(place)
        return None if call is None or (item.call_id and call.call_id) else call

    def _new(self) -> _Call:
        self._count += 1
        return _Call(self._count - 1)

    def _add(self, call: _Call, place: int | None, item: FunctionCall, arguments: object) -> ToolCallDelta | None:
        self._known |= {key: call for key in (place, item.id, item.call_id) if key is not None}
        call.call_id = call.call_id or item.call_id or ""
        names_it = bool(item.name) and not call.is_named
        if not names_it and not arguments:
            return None
        call.is_named = call.is_named or names_it
        call.is_argued = call.is_argued or bool(arguments)
        id_, name = (item.call_id or item.id or "", item.name or "") if names_it else ("", "")
        return self._assembler.add(call.number, id_, name, arguments)
