"""What can go wrong with a provider, as a table: the name of a fault and the function that does it to a good answer.

A function's docstring is the fault's one line of documentation, its keyword arguments are what ``Fault`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from itertools import chain, repeat
from typing import TypeAlias

from msgspec.structs import replace

from g4ftrio._words.chunks import Refusal
from g4ftrio.simulator._scene import Scene, say
from g4ftrio.simulator._text import split_tokens
from g4ftrio.simulator._wire import Answer, Beat, Ending, Frame, Mark

__all__ = ("FAULTS", "Fault")

ADVERTISEMENT = "Join for free at https://discord.gg/sim ...\n"
CHALLENGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    "<body><h1>Checking your browser</h1><noscript>Enable JavaScript and cookies to continue</noscript></body></html>"
)
_PIECE = 8  # characters of a delta of advertising: a client's filter must not rely on whole words


class Fault:
    """A fault on demand.

    :param name: one of ``FAULTS``
    :param settings: what this fault takes: ``after`` (tokens that come before it), ``seconds``, ``retry_after``
        (seconds), ``status``, ``text``
    :raises ValueError: there is no such fault, or it does not take such a setting
    """

    __slots__ = ("name", "settings")

    def __init__(self, name: str, **settings: float | str) -> None:
        if name not in _APPLY:
            near = get_close_matches(name, _APPLY, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_APPLY)}."
            raise ValueError(f"there is no fault named {name!r}: {hint}")
        known = tuple(signature(_APPLY[name]).parameters)[1:]
        for setting in settings:
            if setting not in known:
                raise ValueError(f"fault {name!r} does not take {setting!r}; it takes {', '.join(known) or 'nothing'}")
        self.name = name
        self.settings = settings

    @classmethod
    def of(cls, value: Fault | str | None) -> Fault | None:
        """Read a fault as a declaration gives it."""
        return cls(value) if isinstance(value, str) else value

    def apply(self, scene: Scene) -> Answer:
        """Give a spoilt answer in place of the good one."""
        return _APPLY[self.name](scene, **self.settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and (self.name, self.settings) == (other.name, other.settings)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.settings.items()))))

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"Fault({self.name!r}{settings})"


def _advertising(scene: Scene, *, text: str = ADVERTISEMENT, seconds: float = 0.0) -> Answer:
    """An advertisement comes first, in several deltas, then after some seconds the answer."""
    opening, first, *rest = scene.beats
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    waits = chain((scene.first_token,), repeat(0.0))
    advertisement = [Beat(wait, (piece,)) for wait, piece in zip(waits, pieces, strict=False)]
    return Answer(beats=(opening, *advertisement, replace(first, wait=seconds), *rest))


def _refusal(scene: Scene, *, text: str = "I cannot help with that.") -> Answer:
    """The model refuses, in the field that is apart from the text."""
    return Answer(beats=say(scene, [Refusal(token) for token in split_tokens(text)]))


def _empty(scene: Scene) -> Answer:
    """An answer without content, ended properly."""
    return Answer(beats=say(scene, []))


def _rate_limit(scene: Scene, *, retry_after: float = 1) -> Answer:
    """429, with a Retry-After header in seconds."""
    headers = {"retry-after": f"{retry_after:g}"}
    return _refused(scene, 429, "Too many requests: slow down.", "rate_limit_exceeded", headers)


def _error(scene: Scene, *, status: int = 500) -> Answer:
    """500, or another status, with an error as JSON."""
    return _refused(scene, status, "The simulated service failed.", "internal_error")


def _overloaded(scene: Scene, *, status: int = 503) -> Answer:
    """503, or 529, with an error as JSON."""
    return _refused(scene, status, "The simulated service is overloaded.", "overloaded")


def _unauthorized(scene: Scene) -> Answer:
    """401, whatever the key."""
    return _refused(scene, 401, "The simulated service does not accept this key.", "invalid_api_key")


def _not_found(scene: Scene) -> Answer:
    """404: no such model, though the list of models has it."""
    return _refused(scene, 404, f"The model {scene.ask.model!r} does not exist.", "model_not_found")


def _html(scene: Scene) -> Answer:
    """200 with a challenge page as HTML."""
    return Answer(lead=scene.first_token, content_type="text/html; charset=utf-8", body=CHALLENGE.encode())


def _html_text(scene: Scene) -> Answer:
    """A challenge page as the answer's text."""
    return Answer(beats=say(scene, split_tokens(CHALLENGE)))


def _error_in_stream(scene: Scene, *, after: int = 0) -> Answer:
    """200, and after some tokens an error object in place of a chunk."""
    error = Frame(scene.wire.error(500, "The simulated service failed in mid-stream.", "internal_error"))
    wait = 0.0 if after else scene.first_token
    return Answer(beats=(*_until(scene, after), Beat(wait, (error,))))


def _error_as_text(scene: Scene) -> Answer:
    """An error object as the answer's text."""
    error = scene.wire.error(500, "The simulated service failed.", "internal_error")
    return Answer(beats=say(scene, split_tokens(error.decode())))


def _stall(scene: Scene) -> Answer:
    """The head and the answer's opening, then nothing, for ever."""
    return _stall_mid(scene, after=0)


def _stall_mid(scene: Scene, *, after: int = 5) -> Answer:
    """Some tokens, then nothing, for ever."""
    return Answer(beats=(*_until(scene, after), Beat(0.0, ending=Ending.SILENCE)))


def _keepalive(scene: Scene, *, seconds: float = 0.25) -> Answer:
    """Keep-alive comments and no content, for ever, one every so many seconds."""
    comment = Beat(max(seconds, 0.001), (Mark.COMMENT,))
    return Answer(beats=chain(_until(scene, 0), repeat(comment)))


def _cut(scene: Scene, *, after: int = 5) -> Answer:
    """The connection is closed after some tokens, in the midst of the body."""
    return Answer(beats=(*_until(scene, after), Beat(0.0, ending=Ending.CUT)))


def _reset(scene: Scene, *, after: int = 5) -> Answer:
    """The connection is reset after some tokens."""
    return Answer(beats=(*_until(scene, after), Beat(0.0, ending=Ending.RESET)))


def _truncated(scene: Scene, *, after: int = 5) -> Answer:
    """The body ends properly after some tokens, with neither finish reason nor end marker."""
    return Answer(beats=_until(scene, after))


def _no_done(scene: Scene) -> Answer:
    """A whole answer with its finish reason, but without the end marker."""
    *spoken, last = scene.beats
    items = tuple(item for item in last.items if item is not Mark.DONE)
    return Answer(beats=(*spoken, replace(last, items=items)))


def _garbage(scene: Scene) -> Answer:
    """Random bytes for a body, under the right content type."""
    return Answer(lead=scene.first_token, body=scene.random.randbytes(2048))


def _bad_json(scene: Scene, *, after: int = 0) -> Answer:
    """After some tokens, a chunk that is not JSON, and the end marker."""
    wait = 0.0 if after else scene.first_token
    broken = Frame(b'{"choices": [{"index": 0, "delta": {"content": "and th')
    return Answer(beats=(*_until(scene, after), Beat(wait, (broken, Mark.DONE))))


def _slow_head(scene: Scene, *, seconds: float = 10.0) -> Answer:
    """The response's head comes only after so many seconds, then a good answer."""
    return Answer(lead=seconds, beats=scene.beats)


def _until(scene: Scene, after: int) -> tuple[Beat, ...]:
    """Take the good answer's opening and so many of its tokens, never its ending."""
    opening, *spoken, _ = scene.beats
    return (opening, *spoken[: max(after, 0)])


def _refused(scene: Scene, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = scene.wire.error(status, message, code)
    return Answer(status=status, headers=headers or {}, lead=scene.first_token, body=body)


_Apply: TypeAlias = Callable[..., Answer]
_APPLY: dict[str, _Apply] = {
    function.__name__.lstrip("_"): function
    for function in (
        *(_advertising, _refusal, _empty, _html, _html_text, _error_as_text),
        *(_rate_limit, _error, _overloaded, _unauthorized, _not_found),
        *(_stall, _stall_mid, _keepalive, _slow_head),
        *(_error_in_stream, _cut, _reset, _truncated, _no_done, _garbage, _bad_json),
    )
}

FAULTS: dict[str, str] = {name: apply.__doc__ or "" for name, apply in _APPLY.items()}
