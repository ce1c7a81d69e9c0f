"""Methods that work on a class as on its instances: what they are bound to, and how they look."""

from __future__ import annotations

import inspect
import logging
import pydoc
from collections.abc import Callable
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar

import anyio
import pytest

import g4ftrio
from g4ftrio.base_provider import (
    AbstractProvider,
    Ask,
    AsyncAuthedProvider,
    AsyncGeneratorProvider,
    AsyncProvider,
    ProviderModelMixin,
    RaiseErrorMixin,
)
from g4ftrio.providers import Jmuz, OpenAI
from g4ftrio.typing import AsyncResult, CreateResult, Messages

T = TypeVar("T")
WHY: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]
BASES = (AbstractProvider, AsyncProvider, AsyncGeneratorProvider, AsyncAuthedProvider)
DOORS = ("create_completion", "create_async", "create_async_generator", "stream", "complete", "complete_sync")

on_every_base = pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)


class Plain(AsyncGeneratorProvider):
    """A provider of mine."""

    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, flavour: str = "vanilla", **kw: Any
    ) -> AsyncResult:
        """Ask it."""
        yield f"{type(self).__name__} {flavour}"


class Static(AsyncGeneratorProvider):
    @staticmethod
    async def create_async_generator(
        model: str, messages: Messages, stream: bool = True, flavour: str = "vanilla", **kw: Any
    ) -> AsyncResult:
        """Ask it."""
        yield flavour


class ByClass(AsyncGeneratorProvider):
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, flavour: str = "vanilla", **kw: Any
    ) -> AsyncResult:
        """Ask it."""
        yield flavour


WRITTEN = "(model: 'str', messages: 'Messages', stream: 'bool' = True, flavour: 'str' = 'vanilla', **kw: 'Any')"


@pytest.mark.parametrize("cls", [Plain, Static, ByClass])
@pytest.mark.parametrize("on", ["class", "instance"])
def test_the_signature_of_a_written_method_is_its_own_without_the_instance(cls: Any, on: str) -> None:
    method = (cls if on == "class" else cls()).create_async_generator
    assert str(inspect.signature(method)) == f"{WRITTEN} -> 'AsyncResult'"
    assert method.__doc__ == "Ask it."
    assert method.__name__ == "create_async_generator"
    assert inspect.ismethod(method)


@on_every_base
@pytest.mark.parametrize("door", DOORS)
def test_the_signature_of_a_base_s_door_is_the_same_on_the_class_and_on_an_instance(
    base: type[AbstractProvider], door: str
) -> None:
    on_class, on_instance = getattr(base, door), getattr(base(), door)
    assert inspect.signature(on_class) == inspect.signature(on_instance)
    names = list(inspect.signature(on_class).parameters)
    assert names[0] == ("model" if door.startswith("create") else "messages")
    assert "messages" in names


def helped(thing: object) -> str:
    """What ``help()`` shows, without the line breaks, which differ from one Python to another."""
    text = pydoc.plain(pydoc.render_doc(thing))
    return " ".join(text.replace(" |", " ").split()).replace("( ", "(").replace(" )", ")")


@on_every_base
@pytest.mark.parametrize("on", ["class", "instance"])
def test_help_shows_every_door_of_a_base_with_its_parameters_and_its_words(
    base: type[AbstractProvider], on: str
) -> None:
    text = helped(base if on == "class" else base())
    for door in DOORS:
        assert f" {door}(m" in text
    assert "Ask, and read the answer as it comes: ``async with provider.stream" in text
    assert f" params = '{base.__name__} supports: (" in text


@pytest.mark.parametrize("on", ["class", "instance"])
def test_help_shows_what_a_subclass_wrote(on: str) -> None:
    text = helped(Plain if on == "class" else Plain()).replace("'", "")  # Python 3.14 shows types without quotes
    assert "A provider of mine." in text
    assert f" create_async_generator{WRITTEN}".replace("'", "") in text


@pytest.mark.parametrize("cls", [g4ftrio.Race, g4ftrio.Fallback, OpenAI, Jmuz])
def test_help_works_on_whatever_class(cls: type) -> None:
    assert pydoc.render_doc(cls).count("\n") > 20


def test_a_look_at_a_class_makes_no_instance() -> None:
    made: list[str] = []

    class Costly(Plain):
        def __init__(self, **settings: Any) -> None:
            made.append("one")
            super().__init__(**settings)

    before = dict(vars(Costly))
    assert Costly.url == ""
    assert "create_async_generator" in dir(Costly)
    assert (made, dict(vars(Costly))) == ([], before)


def test_the_default_instance_is_made_once_for_each_class_and_not_inherited() -> None:
    class Child(Plain):
        pass

    def instance(cls: Any) -> object:
        return cls.complete.__self__

    assert instance(Plain) is instance(Plain)
    assert instance(Child) is instance(Child)
    assert type(instance(Plain)) is Plain
    assert type(instance(Child)) is Child


class NeedsSettings(AsyncGeneratorProvider):
    def __init__(self, flavour: str) -> None:
        super().__init__()
        self.flavour = flavour

    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        yield self.flavour


@pytest.mark.parametrize("cls", [g4ftrio.Race, g4ftrio.Fallback, NeedsSettings], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda cls: cls.create_completion("m", WHY),
        lambda cls: anyio.run(cls.create_async, "m", WHY),
        lambda cls: cls.create_async_generator("m", WHY),
        lambda cls: cls.stream("Why?"),
        lambda cls: anyio.run(cls.complete, "Why?"),
        lambda cls: cls.complete_sync("Why?"),
        lambda cls: cls.stream_sync("Why?"),
        lambda cls: cls.get_parameters(),
        lambda cls: cls.params,
    ],
)
def test_a_class_that_cannot_be_made_without_settings_says_so_when_a_method_is_called_on_it(
    cls: type[AbstractProvider], call: Callable[[Any], object]
) -> None:
    with pytest.raises(TypeError, match=f"make an instance of {cls.__name__} first: .*missing 1 required positional"):
        call(cls)


@pytest.mark.parametrize("cls", [g4ftrio.Race, NeedsSettings])
def test_the_methods_of_a_class_that_cannot_be_made_without_settings_can_be_looked_at(cls: Any) -> None:
    assert "messages" in inspect.signature(cls.complete).parameters
    assert cls.complete.__doc__


def test_an_instance_of_a_class_that_needs_settings_has_every_door() -> None:
    provider = NeedsSettings("lemon")
    assert provider.complete_sync("Why?").text == "lemon"
    assert provider.params.startswith("NeedsSettings supports: (")
    race = g4ftrio.Race([provider])
    assert race.complete_sync("Why?").text == "lemon"
    assert race.params.startswith("Race supports: (")
    assert race.get_parameters(as_json=True)["provider"] == "Race"


class FirstMixin:
    """No provider; comes before the base, as Python's own rules want it."""

    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield f"mixin {kw.get('top_k')} over "
        try:
            yield from super().create_completion(model, messages, stream)  # type: ignore[misc]  # of what it is mixed into
        except NotImplementedError:
            yield "nothing"


class LastMixin:
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield "never"


class MixedFirst(FirstMixin, AbstractProvider):
    pass


class MixedLast(AbstractProvider, LastMixin):
    pass


class WroteItself(FirstMixin, AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        return super().create_completion(model, messages, stream, **kw)


class ChildOfMixed(MixedFirst):
    pass


@pytest.mark.parametrize("cls", [MixedFirst, WroteItself, ChildOfMixed])
def test_a_method_of_a_plain_mixin_in_front_of_the_base_counts_as_written(cls: Any) -> None:
    assert "".join(cls.create_completion("m", WHY)) == "mixin None over nothing"
    assert "".join(cls(top_k=3).create_completion("m", WHY)) == "mixin 3 over nothing"
    assert cls(top_k=3).complete_sync("Why?").text == "mixin 3 over nothing"


def test_a_method_of_a_plain_mixin_behind_the_base_does_not_count() -> None:
    with pytest.raises(NotImplementedError):
        MixedLast.create_completion("m", WHY, False)


def traced(function: Callable[..., T]) -> Callable[..., T]:
    @wraps(function)
    def call(*args: Any, **kw: Any) -> T:
        return function(*args, **kw)

    return call


class Decorated(AbstractProvider):
    @traced
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield f"{model} {kw}"


def test_a_decorated_method_gets_what_is_bound() -> None:
    assert list(Decorated(model="bound", top_k=3).create_completion("", WHY)) == ["bound {'top_k': 3}"]


def test_class_methods_may_name_their_class() -> None:
    class Named(AbstractProvider):
        @classmethod
        def create_completion(cls, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
            yield f"{cls.__name__} {cls.label} {cls.__module__}"

    assert list(Named.create_completion("m", WHY)) == [f"Named named {__name__}"]
    assert list(Named().create_completion("m", WHY)) == [f"Named named {__name__}"]


class Lonely(RaiseErrorMixin):
    """No provider at all."""


class LonelyChild(Lonely):
    pass


def test_a_default_instance_is_of_the_very_class_also_where_that_is_no_provider() -> None:
    instances: list[Any] = [cls.raise_error.__self__ for cls in (Lonely, LonelyChild, Lonely)]  # type: ignore[attr-defined]  # of a method
    assert [type(instance) for instance in instances] == [Lonely, LonelyChild, Lonely]
    assert instances[0] is instances[2]


def test_raise_error_works_on_the_class_and_on_an_instance_of_what_is_no_provider() -> None:
    Lonely.raise_error({"choices": [{}]})
    Lonely().raise_error({"data": [{}]})


@pytest.mark.parametrize("cls", [Plain, Static, ByClass, OpenAI, Jmuz], ids=lambda cls: cls.__name__)
def test_a_bound_key_is_in_no_repr(cls: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bound = cls(model="m", api_key="secret-key-of-mine")
    looked_at = [
        bound,
        bound.stream("Why?"),
        bound.complete,
        bound._bound(),
        bound._ask("Why?", None, None, None, None, {}),
    ]
    assert "secret-key" not in repr(looked_at) + str(bound) + caplog.text
    assert "api_key" not in repr(bound)


def test_a_key_among_the_parameters_of_a_request_is_not_in_its_repr() -> None:
    from g4ftrio._words.report import EntrantReport

    ask = Ask(messages=WHY, params={"api_key": "secret-key-of-mine"}, record=EntrantReport(name="mine"))
    assert repr(ask) == "<Ask mine>"


def test_what_a_class_declares_can_be_bound_and_stays_with_the_instance() -> None:
    class Declared(Plain):
        url = "https://one.example"
        flavours: Any = MappingProxyType({"a": 1})

    bound = Declared(url="https://two.example", flavours={"b": 2})
    assert (bound.url, bound.flavours) == ("https://two.example", {"b": 2})
    assert (Declared.url, dict(Declared.flavours)) == ("https://one.example", {"a": 1})
    assert Declared().url == "https://one.example"


class Modelled(ProviderModelMixin, Plain):
    default_model = "m"


def test_bases_may_be_mixed_in_any_order() -> None:
    class Other(Plain, ProviderModelMixin):
        default_model = "m"

    assert Modelled.complete_sync("Why?").text == "Modelled vanilla"
    assert Other.complete_sync("Why?").text == "Other vanilla"
    assert Modelled.get_models() == Other.get_models() == ["m"]
