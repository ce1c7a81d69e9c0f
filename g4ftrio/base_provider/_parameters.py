"""The parameters of a request: which may come from outside, and the form that a provider's own method is shown as."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from math import isfinite
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from g4ftrio._words.errors import SetupError
from g4ftrio.base_provider._signatures import annotations_of, signature_of

if TYPE_CHECKING:
    from inspect import Parameter

__all__ = ("BASIC_PARAMETERS", "PARAMETER_EXAMPLES", "SAFE_PARAMETERS", "safe_parameters")

SAFE_PARAMETERS = (
    *("model", "messages", "stream", "timeout", "proxy", "media", "response_format", "prompt", "negative_prompt"),
    *("tools", "conversation", "history_disabled", "temperature", "top_k", "top_p", "frequency_penalty"),
    *("presence_penalty", "max_tokens", "stop", "api_key", "api_base", "seed", "width", "height", "max_retries"),
    *("web_search", "guidance_scale", "num_inference_steps", "randomize_seed", "safe", "enhance", "private"),
    *("aspect_ratio", "n", "reasoning_effort"),
)
"""The names of request parameters that a caller may be shown and may pass."""

BASIC_PARAMETERS: Mapping[str, Any] = {
    "provider": None,
    "model": "",
    "messages": [],
    "stream": False,
    "timeout": 0,
    "response_format": None,
    "max_tokens": 4096,
    "stop": ["stop1", "stop2"],
}
"""What every provider takes, and its defaults in a form; never sent unasked."""

PARAMETER_EXAMPLES: Mapping[str, Any] = {
    "proxy": "http://user:password@127.0.0.1:3128",
    "temperature": 1,
    "top_k": 1,
    "top_p": 1,
    "frequency_penalty": 1,
    "presence_penalty": 1,
    "messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    "media": [["data:image/jpeg;base64,...", "filename.jpg"]],
    "response_format": {"type": "json_object"},
    "conversation": {"conversation_id": "550e8400-e29b-11d4-a716-446655440000", "message_id": "..."},
    "seed": 42,
    "tools": [],
}
"""An example for each parameter whose type alone does not tell what to write."""

_ADDRESSES = ("api_base", "proxy")
_URLS = ("https://", "http://", "data:")
_EMPTY: tuple[tuple[type, Any], ...] = ((bool, False), (int, 0), (float, 0.0), (str, ""), (list, []), (dict, {}))
_MODULE = re.compile(r"('[^']*')|\b(?:\w+\.)+(?=\w)")  # in front of a name, and not in a literal


def safe_parameters(untrusted: Mapping[str, Any], *, allow: Collection[str] = ()) -> dict[str, Any]:
    """Give what may be forwarded of parameters that come from outside: a web form's, say.

    What is not in ``SAFE_PARAMETERS`` is left out.

    :param untrusted: names and values as they came
    :param allow: ``api_base`` and ``proxy``, where the application lets its users choose them
    :raises SetupError: an ``api_base`` or a ``proxy`` that is not allowed, because it would send a key elsewhere; or
        media that is not a URL, because a path would send a file of this machine
    """
    safe = {name: value for name, value in untrusted.items() if name in SAFE_PARAMETERS}
    for name in _ADDRESSES:
        if safe.get(name) and name not in allow:
            raise SetupError(f"{name} from outside would send keys elsewhere: allow it by allow=[{name!r}]")
    media = safe.get("media")
    if media and not (isinstance(media, list | tuple) and all(map(_is_harmless, media))):
        raise SetupError("media from outside must be a list of URLs: a path would send a file of this machine")
    return safe


def _is_harmless(item: Any) -> bool:
    """Whether a medium, or its first half where it has a file name, is on the web or brings its own bytes."""
    source = item[0] if isinstance(item, list | tuple) and item else item
    return isinstance(source, bytes) or (isinstance(source, str) and source.startswith(_URLS))


def shown(method: Callable[..., Any], *, stream: bool) -> dict[str, Parameter]:
    """The safe parameters in a method's signature; those of an ``Unpack[...]`` stand there by their own names.

    :param stream: whether ``stream`` is one of them
    """
    from inspect import Parameter

    found: dict[str, Parameter] = {}
    hints = _hints(method)
    for name, parameter in signature_of(method).parameters.items():
        if parameter.kind == Parameter.VAR_KEYWORD:
            for each, annotation in _unpacked(hints.get(name)).items():
                found.setdefault(each, Parameter(each, Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
        else:
            found[name] = parameter.replace(annotation=hints.get(name, parameter.annotation))
    return {name: each for name, each in found.items() if name in SAFE_PARAMETERS and (stream or name != "stream")}


def as_json(parameters: Mapping[str, Parameter], fixed: Mapping[str, Any], *, system: bool) -> dict[str, Any]:
    """Plain JSON values for a form: a real default, else an example, else a value of the parameter's type.

    They are copies: who changes them changes no default.

    :param fixed: values that are known better
    :param system: whether the example of ``messages`` has a system message
    """
    import json

    own = {name: _value(parameter, system) for name, parameter in parameters.items()}
    copied: dict[str, Any] = json.loads(json.dumps({**BASIC_PARAMETERS, **own, **fixed}))
    return copied


def as_text(name: str, parameters: Mapping[str, Parameter], default_model: str) -> str:
    """A parameter a line: name, type, default."""
    lines = [f"    {_line(parameter, default_model)}," for parameter in parameters.values()]
    return "\n".join([f"{name} supports: (", *lines, ")"])


def _line(parameter: Parameter, default_model: str) -> str:
    default = default_model if parameter.name == "model" and default_model else parameter.default
    text = parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_type_name(parameter.annotation)}"
    return text if default is parameter.empty else f"{text} = {default!r}"


def _type_name(annotation: Any) -> str:
    from types import UnionType
    from typing import Union, get_origin

    if get_origin(annotation) in (Union, UnionType):  # `Optional[str]` too, as Python 3.14 writes it
        return " | ".join(map(_type_name, _arguments(annotation)))
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not _arguments(annotation):
        return annotation.__name__
    return _MODULE.sub(lambda found: found[1] or "", str(annotation))


def _value(parameter: Parameter, system: bool) -> Any:
    default = parameter.default
    if default is not None and default is not parameter.empty and _is_json(default):
        return default
    if parameter.name == "messages" and not system:
        return [each for each in PARAMETER_EXAMPLES["messages"] if each["role"] != "system"]
    if parameter.name in PARAMETER_EXAMPLES:
        return PARAMETER_EXAMPLES[parameter.name]
    return _empty(parameter.annotation)


def _empty(annotation: Any) -> Any:
    """A value of that type; of a union, of its first member that has one."""
    import collections.abc
    from types import UnionType
    from typing import Literal, Union, get_origin

    origin, arguments = get_origin(annotation), _arguments(annotation)
    if origin in (Union, UnionType):
        return next((value for value in map(_empty, arguments) if value is not None), None)
    if origin is Literal:
        return arguments[0] if _is_json(arguments[0]) else None
    kind = origin or annotation
    if not isinstance(kind, type):
        return None
    if kind in (collections.abc.Sequence, collections.abc.Iterable, tuple):
        return []
    if kind is collections.abc.Mapping:
        return {}
    return next((value for base, value in _EMPTY if issubclass(kind, base)), None)


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    return isfinite(value) if isinstance(value, float) else isinstance(value, str | int | None)


def _arguments(annotation: Any) -> tuple[Any, ...]:
    from typing import get_args

    return get_args(annotation)


def _unpacked(annotation: Any) -> Mapping[str, Any]:
    """The fields of the typed dict in an ``Unpack[...]``."""
    from typing import get_type_hints, is_typeddict

    wanted = next(iter(_arguments(annotation)), None)
    if not is_typeddict(wanted):
        return {}
    try:
        return get_type_hints(wanted)
    except NameError:
        return annotations_of(wanted)


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, each evaluated by itself: one that names what only type checkers import is left out."""
    from inspect import unwrap
    from typing import get_type_hints

    function = unwrap(method)
    hints: dict[str, Any] = {}
    for name, annotation in annotations_of(function).items():
        alone = SimpleNamespace(__annotations__={name: annotation})
        with suppress(NameError, TypeError, AttributeError, SyntaxError):
            hints |= get_type_hints(alone, getattr(function, "__globals__", {}))
    return hints


def names(method: Callable[..., Any]) -> frozenset[str]:
    """The names in a method's signature."""
    return frozenset(signature_of(method).parameters)
