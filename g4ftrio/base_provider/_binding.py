"""Methods that work on a class as on its instances, however a subclass writes them.

A provider's class is a declaration, and ``Example.create_completion(...)`` asks it with nothing bound. So what such a
method gets as ``self`` (or, written as a class method, as ``cls``) is always an instance: where it is called on the
class, a default one, made once for each class. What it keeps there, a list of models say, belongs to that class alone.

``on_class_too`` and ``creating`` decorate the library's own methods. ``as_written`` takes what a subclass wrote under
the same name, be it a plain, a class or a static method, and passes what is bound to the instance for the parameters
that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from msgspec import Struct

from g4ftrio._words.secrets import hidden
from g4ftrio.base_provider._signatures import signature_of

__all__ = ("Bound", "ClassProperty", "as_written", "creating", "on_class_too", "room_for_default")

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

_DEFAULT = "_default_instance"
_ADDRESSES = ("api_base", "api_endpoint", "base_url")


class on_class_too(Generic[P, R]):  # noqa: N801  # it is written as a decorator
    """A method that may be called on the class too: there it gets a default instance.

    :ivar function: the function, whose first parameter is the instance
    """

    def __init__(self, function: Callable[Concatenate[Any, P], R]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        room_for_default(owner)

    def __get__(self, instance: object | None, owner: type[Any]) -> Callable[P, R]:
        return MethodType(self.function, _default_instance(owner) if instance is None else instance)


def creating(function: Callable[Concatenate[Any, P], R]) -> on_class_too[..., R]:
    """Decorate a method that subclasses write anew, with parameters of their own and in whatever form.

    What is bound to the instance goes before the defaults in its signature.
    """
    return as_written(function, lambda instance: instance._before_defaults())


class ClassProperty(Generic[R]):
    """A property of instances and of the class, where it gets a default instance.

    ``classmethod`` over ``property`` is gone from Python 3.13.
    """

    def __init__(self, function: Callable[[Any], R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type[Any]) -> R:
        return self._function(_default_instance(owner) if instance is None else instance)


def as_written(
    method: Any, bound: Callable[[Any], Bound] | None, given: Callable[[Any], Any] = lambda result: result
) -> on_class_too[..., Any]:
    """Wrap a method that a subclass wrote.

    :param method: a function, a ``classmethod`` or a ``staticmethod``
    :param bound: gives what is bound to an instance; None where the method asks nobody and gets nothing of it
    :param given: what becomes of its result
    """
    is_static = isinstance(method, staticmethod)
    function: Callable[..., Any] = method.__func__ if isinstance(method, staticmethod | classmethod) else method
    read: list[_Signature] = []

    @wraps(function)
    def call(instance: Any, /, *arguments: Any, **named: Any) -> Any:
        if bound is not None:
            if not read:
                read.append(_Signature.of(function, is_static))
            arguments, named = read[0].completed(arguments, named, bound(instance))
        named = hidden(named)
        return given(function(*arguments, **named) if is_static else function(instance, *arguments, **named))

    if is_static:
        call.__signature__ = _with_instance(function)  # type: ignore[attr-defined]  # so ``help()`` takes nothing off
    return on_class_too(call)


class Bound(Struct):
    """What is bound to an instance.

    :ivar settings: for parameters of these names
    :ivar defaults: the same, and for a method that takes any keyword as well
    """

    settings: dict[str, Any]
    defaults: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Bound {', '.join({**self.settings, **self.defaults})}>"  # the values may be keys

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec's shows everything
        return [(name, ...) for name in {**self.settings, **self.defaults}]


class _Signature(Struct):
    """What a method takes beside the instance; ``positional`` is None where its parameters have no names to call."""

    names: frozenset[str]
    positional: tuple[str, ...] | None
    takes_any: bool

    @classmethod
    def of(cls, function: Callable[..., Any], is_static: bool) -> _Signature:
        from inspect import Parameter

        parameters = list(signature_of(function).parameters.values())[0 if is_static else 1 :]
        kinds = {parameter.kind for parameter in parameters}
        nameless = kinds & {Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL}
        return cls(
            names=frozenset(each.name for each in parameters),
            positional=None
            if nameless
            else tuple(each.name for each in parameters if each.kind == Parameter.POSITIONAL_OR_KEYWORD),
            takes_any=Parameter.VAR_KEYWORD in kinds,
        )

    def completed(
        self, arguments: tuple[Any, ...], named: dict[str, Any], bound: Bound
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Add what is bound and was not given; an empty ``model`` counts as not given.

        ``stream``, which doors pass on without being asked, is left out where the method does not take it.
        """
        placed = dict(zip(self.positional or (), arguments, strict=False))
        if self.positional is None or len(placed) < len(arguments) or placed.keys() & named.keys():
            return arguments, named  # not ours to complete, or a mistake that Python tells better
        given = {**placed, **named}
        if not given.get("model") and "model" in bound.settings:
            given.pop("model", None)
        if not (self.takes_any or "stream" in self.names):
            given.pop("stream", None)
        fitting = {name: value for name, value in bound.settings.items() if name in self.names}
        fitting |= {name: value for name, value in bound.defaults.items() if self.takes_any or name in self.names}
        if any(given.get(name) not in (None, bound.settings.get(name)) for name in _ADDRESSES):
            fitting.pop("api_key", None)  # a bound key goes to the bound address only
        return (), {**fitting, **given}


def _with_instance(function: Callable[..., Any]) -> Any:
    """The signature of a static method, as if it took the instance first."""
    from inspect import Parameter

    own = signature_of(function)
    return own.replace(parameters=[Parameter("self", Parameter.POSITIONAL_ONLY), *own.parameters.values()])


def room_for_default(owner: type[Any]) -> None:
    """Make room for a class's default instance, so that a look at a method does not change the class's dict."""
    setattr(owner, _DEFAULT, None)


def _default_instance(owner: type[Any]) -> object:
    made = vars(owner).get(_DEFAULT)
    if made is None:
        try:
            made = owner()
        except TypeError as error:
            return _NotMade(owner, error)
        setattr(owner, _DEFAULT, made)
    return made


class _NotMade:
    """Stands for the default instance of a class that cannot be made without settings; whoever uses it is told."""

    def __init__(self, owner: type[Any], error: TypeError) -> None:
        self._owner, self._error = owner, error

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"make an instance of {self._owner.__name__} first: {self._error}") from self._error
