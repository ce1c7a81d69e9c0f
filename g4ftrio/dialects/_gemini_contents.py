"""Messages in the OpenAI shape as the contents of a Gemini request.

Sources: https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from g4ftrio._words.errors import MessagesError
from g4ftrio.dialects._gemini_turn import NAME
from g4ftrio.dialects._parts import Inline, Linked, media_of, metadata_of, refuse, text_of
from g4ftrio.dialects._tools import arguments_of, calls_of, names_of

__all__ = ("contents_of",)

_SYSTEM = ("system", "developer")
_RESULTS = ("tool", "function")
_TEXTS = ("text", "refusal")


def contents_of(messages: Sequence[Mapping[str, Any]], stand_in: str = "") -> list[dict[str, Any]]:
    """Give what was said, turn by turn; system messages stand apart from it.

    :param stand_in: the signature for calls of tools that came unsigned, from another service say; empty for none
    :raises MessagesError: the wire has no form for something in it, or nothing was said
    """
    history = _History(stand_in)
    for message in messages:
        history.add(message)
    if not history.contents:
        raise MessagesError("there is nothing to answer: add a user message")
    return history.contents


class _History:
    """The turns so far. A call is known by its id until another turn has one with the same."""

    def __init__(self, stand_in: str) -> None:
        self.contents: list[dict[str, Any]] = []
        self._stand_in = stand_in
        self._names: dict[str, str] = {}
        self._sent_ids: set[str] = set()
        self._latest = ""

    def add(self, message: Mapping[str, Any]) -> None:
        role = message["role"]
        if role in _SYSTEM:
            return
        if role in _RESULTS:
            self._add_result(self._result(message))
        elif role == "assistant":
            self._add_turn("model", self._answered(message))
        else:
            self._add_turn("user", _parts(message["content"]))
        self._latest = role

    def _add_turn(self, role: str, parts: list[dict[str, Any]]) -> None:
        if parts:
            self.contents.append({"role": role, "parts": parts})

    def _add_result(self, result: dict[str, Any]) -> None:
        """Add to the turn that answers calls; the service wants the results of all of them in one."""
        part = {"functionResponse": result}
        if self._latest in _RESULTS:
            self.contents[-1]["parts"].append(part)
        else:
            self._add_turn("user", [part])

    def _answered(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._names |= names_of([message])
        kept = metadata_of(message, NAME)
        parts = list(kept) if isinstance(kept, list) else self._rebuilt(message)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        self._sent_ids = {call["id"] for call in calls if call.get("id")}
        return parts

    def _rebuilt(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = [
            {"functionCall": {"id": call.id, "name": call.name, "args": arguments_of(call)}}
            for call in calls_of(message)
        ]
        if calls and self._stand_in:
            calls[0]["thoughtSignature"] = self._stand_in  # the first of several signs for all
        return [*_parts(message["content"]), *calls]

    def _result(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call_id = str(message.get("tool_call_id") or "")
        name = self._names.get(call_id) or message.get("name")
        if not isinstance(name, str):
            raise MessagesError(f"a tool message answers the call {call_id!r}, which no message before it holds")
        content = message["content"]
        result: dict[str, Any] = {"name": name, "response": _response(text_of(content))}
        if call_id in self._sent_ids:
            result["id"] = call_id
        if shown := [part for part in _parts(content) if "text" not in part]:
            result["parts"] = shown
        return result


def _response(said: str) -> dict[str, Any]:
    """Give a result as the object that the wire wants; what is none yet is put under the key that is meant for it."""
    try:
        held = msgspec.json.decode(said)
    except (ValueError, RecursionError):
        held = None
    return held if isinstance(held, dict) else {"output": said}


def _parts(content: str | Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    if isinstance(content, str) or content is None:
        return [{"text": content}] if content else []
    return [part for given in content if (part := _part(given))]


def _part(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a part, or nothing for one that is empty, or that is not sent back: unsigned thoughts."""
    kind = given["type"]
    if kind in _TEXTS:
        return {"text": given[kind]} if given[kind] else {}
    if kind == "thinking":
        return {}
    held = media_of(given)
    if isinstance(held, Inline):
        return {"inlineData": {"mimeType": held.mime, "data": held.data}}
    return {"fileData": _file(held)}


def _file(linked: Linked) -> dict[str, str]:
    if not linked.url.startswith(("https://", "http://", "gs://")):
        what = "file_id that is no address" if linked.is_id else "link that is no address"
        raise refuse(what, "give the uri that the service gave for the file, or the file itself")
    from mimetypes import guess_type

    kind = guess_type(urlsplit(linked.url).path)[0]
    return {"mimeType": kind, "fileUri": linked.url} if kind else {"fileUri": linked.url}
