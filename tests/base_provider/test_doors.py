"""A subclass writes the one method that its base asks for, in whatever form; every other door works through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from inspect import Parameter, signature
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
import trio

import g4ftrio
from g4ftrio import AuthResult, EventLoopRunningError, FinishReason, Reasoning, ToolCallDelta, Usage
from g4ftrio._words.secrets import Secret
from g4ftrio.base_provider import AbstractProvider, AsyncAuthedProvider, AsyncGeneratorProvider, AsyncProvider
from g4ftrio.providers import OpenaiTemplate
from g4ftrio.typing import AsyncResult, CreateResult, Messages

Provider: TypeAlias = Any  # a class or an instance: what may be called is the same
WHY: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "cache"))


def said(model: str, messages: Messages, temperature: float | None, others: dict[str, Any]) -> str:
    return f"{model} was asked {messages[-1]['content']} at {temperature} with {dict(sorted(others.items()))}"


class SyncPlain(AbstractProvider):
    def create_completion(
        self, model: str, messages: Messages, stream: bool = False, temperature: float | None = None, **kw: Any
    ) -> CreateResult:
        yield from said(model, messages, temperature, kw).partition(" at ")


class SyncClass(AbstractProvider):
    @classmethod
    def create_completion(
        cls, model: str, messages: Messages, stream: bool = False, temperature: float | None = None, **kw: Any
    ) -> CreateResult:
        yield from said(model, messages, temperature, kw).partition(" at ")


class SyncStatic(AbstractProvider):
    @staticmethod
    def create_completion(
        model: str, messages: Messages, stream: bool = False, temperature: float | None = None, **kw: Any
    ) -> CreateResult:
        yield from said(model, messages, temperature, kw).partition(" at ")


class CoroutinePlain(AsyncProvider):
    async def create_async(self, model: str, messages: Messages, temperature: float | None = None, **kw: Any) -> str:
        return said(model, messages, temperature, kw)


class CoroutineClass(AsyncProvider):
    @classmethod
    async def create_async(cls, model: str, messages: Messages, temperature: float | None = None, **kw: Any) -> str:
        return said(model, messages, temperature, kw)


class CoroutineStatic(AsyncProvider):
    @staticmethod
    async def create_async(model: str, messages: Messages, temperature: float | None = None, **kw: Any) -> str:
        return said(model, messages, temperature, kw)


class GeneratorPlain(AsyncGeneratorProvider):
    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, temperature: float | None = None, **kw: Any
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class GeneratorClass(AsyncGeneratorProvider):
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, temperature: float | None = None, **kw: Any
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class GeneratorStatic(AsyncGeneratorProvider):
    @staticmethod
    async def create_async_generator(
        model: str, messages: Messages, stream: bool = True, temperature: float | None = None, **kw: Any
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class Authed(AsyncAuthedProvider):
    async def on_auth_async(self, **kw: Any) -> AuthResult:
        return AuthResult(token="a token")


class AuthedPlain(Authed):
    async def create_authed(
        self,
        model: str,
        messages: Messages,
        auth_result: AuthResult,
        stream: bool = True,
        temperature: float | None = None,
        **kw: Any,
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class AuthedClass(Authed):
    @classmethod
    async def create_authed(
        cls,
        model: str,
        messages: Messages,
        auth_result: AuthResult,
        stream: bool = True,
        temperature: float | None = None,
        **kw: Any,
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class AuthedStatic(Authed):
    @staticmethod
    async def create_authed(
        model: str,
        messages: Messages,
        auth_result: AuthResult,
        stream: bool = True,
        temperature: float | None = None,
        **kw: Any,
    ) -> AsyncResult:
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class OnlyMixin:
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, temperature: float | None = None, **kw: Any
    ) -> AsyncIterator[str]:
        kw.pop("stream", None)
        for piece in said(model, messages, temperature, kw).partition(" at "):
            yield piece


class FromMixin(OnlyMixin, AsyncGeneratorProvider):
    """Its one method comes from a class that is no provider."""


CLASSES: tuple[type[AbstractProvider], ...] = (
    *(SyncPlain, SyncClass, SyncStatic),
    *(CoroutinePlain, CoroutineClass, CoroutineStatic),
    *(GeneratorPlain, GeneratorClass, GeneratorStatic, FromMixin),
    *(AuthedPlain, AuthedClass, AuthedStatic),
)


async def by_create_async(provider: Provider, model: str, **extra: Any) -> str:
    text: str = await provider.create_async(model, WHY, **extra)
    return text


async def by_create_async_generator(provider: Provider, model: str, **extra: Any) -> str:
    text = ""
    async with aclosing(provider.create_async_generator(model, WHY, **extra)) as chunks:
        async for chunk in chunks:
            text += chunk
    return text


async def by_stream(provider: Provider, model: str, **extra: Any) -> str:
    text = ""
    async with provider.stream("Why?", model=model, **extra) as stream:
        async for chunk in stream.text_stream:
            text += chunk
    return text


async def by_complete(provider: Provider, model: str, **extra: Any) -> str:
    text: str = (await provider.complete("Why?", model=model, **extra)).text
    return text


async def by_race(provider: Provider, model: str, **extra: Any) -> str:
    extra.pop("flavour", None)  # a race knows who its entrants are, and not what they take
    async with g4ftrio.race([provider], "Why?", model=model, **extra) as stream:
        whole = await stream.collect()
    return whole.text


def by_create_completion(provider: Provider, model: str, **extra: Any) -> str:
    return "".join(provider.create_completion(model, WHY, **extra))


def by_complete_sync(provider: Provider, model: str, **extra: Any) -> str:
    text: str = provider.complete_sync("Why?", model=model, **extra).text
    return text


def by_stream_sync(provider: Provider, model: str, **extra: Any) -> str:
    text = ""
    with provider.stream_sync("Why?", model=model, **extra) as stream:
        for chunk in stream:
            text += chunk
    return text


def by_race_sync(provider: Provider, model: str, **extra: Any) -> str:
    extra.pop("flavour", None)
    with g4ftrio.race_sync([provider], "Why?", model=model, **extra) as stream:
        return stream.collect().text


ASYNC_DOORS: tuple[Callable[..., Awaitable[str]], ...] = (
    *(by_create_async, by_create_async_generator, by_stream, by_complete, by_race),
)
SYNC_DOORS: tuple[Callable[..., str], ...] = (by_create_completion, by_complete_sync, by_stream_sync, by_race_sync)

on_every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
through_every_async_door = pytest.mark.parametrize("door", ASYNC_DOORS, ids=lambda door: door.__name__)
through_every_sync_door = pytest.mark.parametrize("door", SYNC_DOORS, ids=lambda door: door.__name__)


def expected_of_class(door: Callable[..., object]) -> str:
    free = {} if "race" in door.__name__ else {"flavour": "lemon"}
    return said("asked", WHY, 0.25, free)


def expected_of_instance(door: Callable[..., object]) -> str:
    free = {} if "race" in door.__name__ else {"flavour": "lemon"}
    return said("bound", WHY, 0.5, {"top_k": 3, **free})


@pytest.mark.anyio
@on_every_class
@through_every_async_door
async def test_the_one_written_method_answers_through_every_asynchronous_door_on_the_class(
    cls: type[AbstractProvider], door: Callable[..., Awaitable[str]]
) -> None:
    assert await door(cls, "asked", temperature=0.25, flavour="lemon") == expected_of_class(door)


@pytest.mark.anyio
@on_every_class
@through_every_async_door
async def test_the_one_written_method_answers_through_every_asynchronous_door_on_a_bound_instance(
    cls: type[AbstractProvider], door: Callable[..., Awaitable[str]]
) -> None:
    bound = cls(model="bound", temperature=0.5, top_k=3)
    assert await door(bound, "", flavour="lemon") == expected_of_instance(door)


@on_every_class
@through_every_sync_door
def test_the_one_written_method_answers_through_every_synchronous_door_on_the_class(
    cls: type[AbstractProvider], door: Callable[..., str]
) -> None:
    assert door(cls, "asked", temperature=0.25, flavour="lemon") == expected_of_class(door)


@on_every_class
@through_every_sync_door
def test_the_one_written_method_answers_through_every_synchronous_door_on_a_bound_instance(
    cls: type[AbstractProvider], door: Callable[..., str]
) -> None:
    bound = cls(model="bound", temperature=0.5, top_k=3)
    assert door(bound, "", flavour="lemon") == expected_of_instance(door)


class BareSync(AbstractProvider):
    def create_completion(self, model: str, messages: Messages) -> CreateResult:
        yield "bare"


class BareCoroutine(AsyncProvider):
    async def create_async(self, model: str, messages: Messages) -> str:
        return "bare"


class BareGenerator(AsyncGeneratorProvider):
    async def create_async_generator(self, model: str, messages: Messages) -> AsyncResult:
        yield "bare"


class BareAuthed(AsyncAuthedProvider):
    async def on_auth_async(self) -> AuthResult:
        return AuthResult()

    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult) -> AsyncResult:
        yield "bare"


BARE: tuple[type[AbstractProvider], ...] = (BareSync, BareCoroutine, BareGenerator, BareAuthed)


@pytest.mark.anyio
@pytest.mark.parametrize("cls", BARE, ids=lambda cls: cls.__name__)
@through_every_async_door
async def test_a_method_that_takes_the_model_and_the_messages_alone_is_enough(
    cls: type[AbstractProvider], door: Callable[..., Awaitable[str]]
) -> None:
    assert await door(cls, "asked") == "bare"


# What the method gets.


class Counting(AsyncGeneratorProvider):
    count: int = 0


class Teller(Counting):
    """Counts in what it gets."""

    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        assert isinstance(self, Teller)
        self.count += 1
        yield f"{self.__class__.__name__} {self.count}"


class ClassTeller(Counting):
    @classmethod
    async def create_async_generator(cls, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        assert isinstance(cls, ClassTeller)
        cls.count += 1
        yield f"{cls.__name__} {cls.count}"


class TellerChild(Teller):
    pass


class ClassTellerChild(ClassTeller):
    pass


@pytest.mark.anyio
@pytest.mark.parametrize(("cls", "child"), [(Teller, TellerChild), (ClassTeller, ClassTellerChild)])
async def test_what_a_method_keeps_on_self_or_cls_belongs_to_that_class_or_binding_alone(
    cls: type[Counting], child: type[Counting]
) -> None:
    name = cls.__name__
    fresh = type(name, (cls,), {})  # so that the test can be repeated
    fresh_child = type(f"{name}Child", (fresh,), {})
    bound, other = fresh(), fresh(model="other")
    asked = [fresh, fresh, fresh_child, bound, bound, bound, other, fresh_child, fresh]
    texts = [(await each.complete("Why?")).text for each in asked]
    assert texts == [
        *(f"{name} 1", f"{name} 2", f"{name}Child 1", f"{name} 1", f"{name} 2", f"{name} 3"),
        *(f"{name} 1", f"{name}Child 2", f"{name} 3"),
    ]
    assert vars(fresh).get("count", 0) == cls.count == child.count == 0


class StaticTeller(AsyncGeneratorProvider):
    api_key: str | None = None

    @staticmethod
    async def create_async_generator(
        model: str, messages: Messages, proxy: str | None = None, api_key: str | None = None, timeout: float = 120
    ) -> AsyncResult:
        yield f"{model} {proxy} {api_key} {timeout}"


@pytest.mark.anyio
async def test_a_static_method_gets_the_bound_settings_that_its_signature_names() -> None:
    bound = StaticTeller(model="m", proxy="http://127.0.0.1:1", api_key="k", timeout=7, headers={"not": "named"})
    assert await bound.create_async("", WHY) == "m http://127.0.0.1:1 k 7"
    assert await StaticTeller.create_async("asked", WHY) == "asked None None 120"


@pytest.mark.anyio
async def test_a_method_that_takes_any_keyword_gets_bound_parameters_and_no_bound_settings() -> None:
    bound = GeneratorStatic(proxy="http://127.0.0.1:1", timeout=7, headers={"X": "1"}, top_k=3, api_key="k")
    assert await bound.create_async("m", WHY) == said("m", WHY, None, {"api_key": Secret("k"), "top_k": 3})


@pytest.mark.anyio
async def test_what_a_call_gives_goes_before_what_is_bound() -> None:
    bound = StaticTeller(model="m", proxy="http://127.0.0.1:1", api_key="k")
    asked = bound.create_async_generator("asked", WHY, None, api_key="another")
    assert [chunk async for chunk in asked] == ["asked None another 120"]


@pytest.mark.anyio
async def test_a_static_method_sees_nothing_of_one_binding_in_another() -> None:
    StaticTeller(api_key="secret")
    assert await StaticTeller(proxy="http://127.0.0.1:1").create_async("m", WHY) == "m http://127.0.0.1:1 None 120"
    assert await StaticTeller.create_async("m", WHY) == "m None None 120"


def test_a_wrong_call_is_told_as_python_tells_it() -> None:
    bound: Provider = StaticTeller(model="m")
    with pytest.raises(
        TypeError, match=r"create_async_generator\(\) missing 1 required positional argument: 'messages'"
    ):
        bound.create_async_generator("asked")
    with pytest.raises(TypeError, match="got multiple values for argument 'model'"):
        bound.create_async_generator("asked", WHY, model="twice")
    with pytest.raises(TypeError, match="takes from 2 to 5 positional arguments but 6 were given"):
        bound.create_async_generator("asked", WHY, None, None, 120, "one too many")


def test_a_setting_that_nobody_knows_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(TypeError, match="unknown parameter 'temprature': did you mean 'temperature'"):
        Teller(temprature=1)


class OwnParameter(AsyncGeneratorProvider):
    async def create_async_generator(self, model: str, messages: Messages, flavour: str = "", **kw: Any) -> AsyncResult:
        yield flavour


@pytest.mark.anyio
async def test_a_parameter_of_the_written_method_can_be_bound() -> None:
    assert await OwnParameter(flavour="lemon").create_async("m", WHY) == "lemon"


class OwnOverHttp(OpenaiTemplate):
    api_base = "http://127.0.0.1:1"

    async def create_async_generator(self, model: str, messages: Any, flavour: str = "", **kw: Any) -> AsyncResult:
        yield flavour


def test_a_parameter_of_a_method_that_is_written_over_a_declared_provider_s_arrives_through_every_door() -> None:
    for door in (by_create_completion, by_complete_sync, by_stream_sync):
        assert door(OwnOverHttp, "m", flavour="lemon") == "lemon"
        assert door(OwnOverHttp(flavour="lemon"), "m") == "lemon"
    with pytest.raises(TypeError, match="unknown parameter 'flavor': did you mean 'flavour'"):
        by_complete_sync(OwnOverHttp, "m", flavor="lemon")


# `super()`.


class PlainChild(GeneratorPlain):
    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, temperature: float | None = None, **kw: Any
    ) -> AsyncResult:
        yield "child of "
        async for chunk in super().create_async_generator(model, messages, stream, temperature, **kw):
            yield chunk


class ClassChild(GeneratorClass):
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, temperature: float | None = None, **kw: Any
    ) -> AsyncResult:
        yield "child of "
        async for chunk in super().create_async_generator(model, messages, stream, temperature, **kw):
            yield chunk


class CoroutineChild(CoroutinePlain):
    async def create_async(self, *args: Any, **kw: Any) -> str:
        return "child of " + await super().create_async(*args, **kw)


class CoroutineClassChild(CoroutineClass):
    @classmethod
    async def create_async(cls, *args: Any, **kw: Any) -> str:
        return "child of " + await super().create_async(*args, **kw)


class SyncChild(SyncPlain):
    def create_completion(self, *args: Any, **kw: Any) -> CreateResult:
        yield "child of "
        yield from super().create_completion(*args, **kw)


class SyncClassChild(SyncClass):
    @classmethod
    def create_completion(
        cls, model: str, messages: Messages, stream: bool = False, temperature: float | None = None, **kw: Any
    ) -> CreateResult:
        yield "child of "
        yield from super().create_completion(model, messages, stream, temperature, **kw)


class AuthedChild(AuthedPlain):
    async def create_authed(self, *args: Any, **kw: Any) -> AsyncResult:
        yield "child of "
        async for chunk in super().create_authed(*args, **kw):
            yield chunk


CHILDREN: tuple[type[AbstractProvider], ...] = (
    *(PlainChild, ClassChild, CoroutineChild, CoroutineClassChild, SyncChild, SyncClassChild, AuthedChild),
)


@pytest.mark.anyio
@pytest.mark.parametrize("cls", CHILDREN, ids=lambda cls: cls.__name__)
@through_every_async_door
async def test_super_inside_an_overriding_method_works_on_the_class_and_on_an_instance(
    cls: type[AbstractProvider], door: Callable[..., Awaitable[str]]
) -> None:
    assert await door(cls, "asked", temperature=0.25, flavour="lemon") == "child of " + expected_of_class(door)
    bound = cls(model="bound", temperature=0.5, top_k=3)
    assert await door(bound, "", flavour="lemon") == "child of " + expected_of_instance(door)


class OtherDoors(GeneratorPlain):
    """Overrides a door of the library's, and calls it."""

    def create_completion(self, model: str, messages: Any, stream: bool = True, **kw: Any) -> CreateResult:
        return iter(["sync ", *super().create_completion(model, messages, stream, **kw)])

    @classmethod
    async def create_async(cls, model: str, messages: Any, **kw: Any) -> str:
        return "async " + await super().create_async(model, messages, **kw)

    @classmethod
    def get_create_function(cls) -> Callable[..., CreateResult]:
        return super().get_create_function()


@pytest.mark.parametrize("provider", [OtherDoors, OtherDoors()], ids=["class", "instance"])
def test_super_inside_an_overridden_door_of_the_library_reaches_the_library(provider: Provider) -> None:
    assert "".join(provider.get_create_function()("m", WHY)) == "sync " + said("m", WHY, None, {})
    assert anyio.run(provider.create_async, "m", WHY) == "async " + said("m", WHY, None, {})


class OverSync(AbstractProvider):
    """Writes a second door over the first."""

    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield "sync"

    async def create_async(self, model: str, messages: Messages, **kw: Any) -> str:
        return "over " + await super().create_async(model, messages, **kw)

    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        yield "over "
        async for chunk in super().create_async_generator(model, messages, **kw):
            yield chunk


@pytest.mark.anyio
@through_every_async_door
async def test_a_synchronous_provider_may_write_asynchronous_doors_over_its_own(
    door: Callable[..., Awaitable[str]],
) -> None:
    assert await door(OverSync, "m") == "over sync"
    assert await door(OverSync(), "m") == "over sync"


@pytest.mark.anyio
async def test_a_generator_over_a_synchronous_method_belongs_to_the_task_that_opens_it() -> None:
    stream = await SyncPlain.stream("Why?", model="m").settle()
    assert (await stream.collect()).text == said("m", WHY, None, {})
    with pytest.raises(TypeError, match="cannot be settled: use `async with"):
        await OverSync.stream("Why?").settle()


# What is never forwarded, and defaults.


class Strict(AsyncGeneratorProvider):
    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, **kw: Any
    ) -> AsyncResult:
        yield f"{stream} {sorted(kw)}"


class StrictCoroutine(AsyncProvider):
    async def create_async(self, model: str, messages: Messages, **kw: Any) -> str:
        return f"{sorted(kw)}"


class StrictSync(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = True, **kw: Any) -> CreateResult:
        yield f"{stream} {sorted(kw)}"


@pytest.mark.anyio
@pytest.mark.parametrize("cls", [Strict, StrictSync])
async def test_loop_and_executor_and_timeout_are_taken_by_create_async_and_not_forwarded(
    cls: type[AbstractProvider],
) -> None:
    text = await cls.create_async("m", WHY, loop=object(), executor=None, timeout=60, kept=1)
    assert text.endswith("['kept']")


@pytest.mark.parametrize("cls", [Strict, StrictCoroutine])
def test_loop_and_executor_and_timeout_are_taken_by_create_completion_and_not_forwarded(
    cls: type[AbstractProvider],
) -> None:
    [text] = cls.create_completion("m", WHY, True, loop=object(), executor=object(), timeout=60, kept=1)
    assert str(text).endswith("['kept']")


def test_stream_has_no_default_in_create_completion_of_abstract_provider_and_is_false_or_true_in_the_others() -> None:
    assert signature(AbstractProvider.create_completion).parameters["stream"].default is Parameter.empty
    assert signature(AsyncProvider.create_completion).parameters["stream"].default is False
    assert signature(AsyncGeneratorProvider.create_completion).parameters["stream"].default is True
    assert signature(AsyncGeneratorProvider.create_async_generator).parameters["stream"].default is True


@pytest.mark.anyio
async def test_stream_arrives_as_it_was_asked_for() -> None:
    assert await Strict.create_async("m", WHY, stream=False) == "False []"
    assert (await Strict.complete("Why?", stream=False)).text == "False []"
    assert (await Strict.complete("Why?")).text == "True []"
    assert (await StrictSync.complete("Why?")).text == "True []"
    assert await StrictSync.create_async("m", WHY) == "False []"
    assert await StrictSync.create_async("m", WHY, stream=True) == "True []"


@pytest.mark.anyio
async def test_a_base_says_that_its_one_method_is_not_written() -> None:
    said_so = "has none of the methods that create an answer"
    with pytest.raises(NotImplementedError, match=f"AsyncProvider {said_so}"):
        await AsyncProvider.create_async("m", WHY)
    with pytest.raises(NotImplementedError, match=f"AsyncGeneratorProvider {said_so}"):
        AsyncGeneratorProvider.create_async_generator("m", WHY)
    with pytest.raises(NotImplementedError, match="AsyncAuthedProvider has no create_authed"):
        AsyncAuthedProvider.create_authed("m", WHY, AuthResult())


def test_create_completion_of_abstract_provider_is_abstract() -> None:
    with pytest.raises(NotImplementedError, match="AbstractProvider has none of the methods"):
        AbstractProvider.create_completion("m", WHY, False)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'stream'"):
        AbstractProvider.create_completion("m", WHY)


@pytest.mark.parametrize(("cls", "on"), [*product(CLASSES, ("class", "instance"))])
def test_get_create_function_gives_create_completion_and_get_async_create_function_the_base_s_own(
    cls: type[AbstractProvider], on: str
) -> None:
    provider: Any = cls if on == "class" else cls(model="bound")
    name = "create_async_generator" if issubclass(cls, AsyncGeneratorProvider) else "create_async"
    assert provider.get_create_function() == provider.create_completion
    assert provider.get_async_create_function() == getattr(provider, name)


def test_supports_stream_is_true_of_the_generator_s_base_alone() -> None:
    assert AsyncGeneratorProvider.supports_stream is True
    assert AsyncAuthedProvider.supports_stream is True
    assert AsyncProvider.supports_stream is False
    assert AbstractProvider.supports_stream is False


# What the single doors give.


def test_create_completion_of_async_provider_gives_one_item_the_whole_text() -> None:
    answer = CoroutinePlain.create_completion("m", WHY)
    assert next(answer) == said("m", WHY, None, {})
    assert list(answer) == []


class SaysNothing(AsyncProvider):
    async def create_async(self, model: str, messages: Messages, **kw: Any) -> str:
        return ""


def test_create_completion_of_async_provider_gives_one_item_though_the_text_is_empty() -> None:
    assert list(SaysNothing.create_completion("m", WHY)) == [""]
    assert SaysNothing.complete_sync("Why?").text == ""


asked: list[str] = []


class Noting(AsyncGeneratorProvider):
    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        asked.append("asked")
        yield "a"
        asked.append("went on")
        yield "b"


class NotingAuthed(Authed):
    async def create_authed(self, model: str, messages: Messages, auth_result: AuthResult, **kw: Any) -> AsyncResult:
        asked.append("asked")
        yield "a"


class NotingCoroutine(AsyncProvider):
    async def create_async(self, model: str, messages: Messages, **kw: Any) -> str:
        asked.append("asked")
        return "a"


class NotingSync(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        asked.append("asked")
        yield "a"


NOTING: tuple[type[AbstractProvider], ...] = (Noting, NotingAuthed, NotingCoroutine, NotingSync)


@pytest.mark.anyio
@pytest.mark.parametrize("cls", NOTING, ids=lambda cls: cls.__name__)
async def test_creating_the_generator_asks_nothing_before_the_first_read(cls: Any) -> None:
    asked.clear()
    async with aclosing(cls.create_async_generator("m", WHY)) as chunks:
        await anyio.sleep(0.01)
        assert asked == []
        assert await anext(chunks) == "a"
        assert asked == ["asked"]


def test_create_completion_asks_nothing_before_the_first_read_and_closes_early() -> None:
    asked.clear()
    chunks: Any = Noting.create_completion("m", WHY)
    assert asked == []
    assert next(chunks) == "a"
    chunks.close()
    assert asked[0] == "asked"


class Waiting(AsyncGeneratorProvider):
    """Gives its second chunk when the first has been taken."""

    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        yield "first"
        assert await anyio.to_thread.run_sync(kw["taken"].wait, 5)
        yield "second"


def test_create_completion_gives_chunk_by_chunk_and_not_after_the_fact() -> None:
    taken = threading.Event()
    chunks = Waiting.create_completion("m", WHY, taken=taken)
    assert next(chunks) == "first"
    taken.set()
    assert list(chunks) == ["second"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda: Noting.create_completion("m", WHY), "async for chunk in Noting.create_async_generator(...)"),
        (lambda: NotingAuthed.create_completion("m", WHY), "async for chunk in NotingAuthed.create_async_generator("),
        (lambda: NotingCoroutine.create_completion("m", WHY), "await NotingCoroutine.create_async(...)"),
        (lambda: Noting.complete_sync("Why?"), "await Noting.complete(...)"),
        (lambda: NotingSync.complete_sync("Why?"), "await NotingSync.complete(...)"),
        (lambda: Noting.stream_sync("Why?"), "async with Noting.stream(...) as stream:"),
        (lambda: NotingAuthed.on_auth(), "await NotingAuthed.on_auth_async(...)"),
    ],
)
async def test_a_synchronous_form_inside_an_event_loop_names_the_line_to_write_instead_and_asks_nothing(
    call: Callable[[], object], instead: str
) -> None:
    asked.clear()
    with pytest.raises(EventLoopRunningError) as caught:
        call()
    assert instead in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert asked == []


class Mixed(AsyncGeneratorProvider):
    async def create_async_generator(self, model: str, messages: Messages, **kw: Any) -> AsyncIterator[Any]:
        for chunk in ("a", Reasoning("hm"), 5, Usage(1, 2), "b"):
            yield chunk


class MixedSync(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = True, **kw: Any) -> Iterator[Any]:
        return iter(["a", Reasoning("hm"), 5, Usage(1, 2), "b"])


@pytest.mark.anyio
@pytest.mark.parametrize("cls", [Mixed, MixedSync])
async def test_what_is_not_text_adds_what_str_gives(cls: type[AbstractProvider]) -> None:
    assert await cls.create_async("m", WHY) == "a5b"
    assert [str(chunk) async for chunk in cls.create_async_generator("m", WHY)] == ["a", "", "5", "", "b"]


# `create_async` of a synchronous provider.


def test_create_async_of_abstract_provider_takes_timeout_loop_and_executor_by_name() -> None:
    parameters = signature(AbstractProvider.create_async).parameters
    assert list(parameters) == ["model", "messages", "timeout", "loop", "executor", "params"]
    for name in ("timeout", "loop", "executor"):
        assert (parameters[name].kind, parameters[name].default) == (Parameter.KEYWORD_ONLY, None)


class Blocking(AbstractProvider):
    """Waits for what it is given as ``until``, and tells in which thread."""

    def create_completion(
        self, model: str, messages: Messages, stream: bool = False, *, until: threading.Event, **kw: Any
    ) -> CreateResult:
        yield threading.current_thread().name
        if not until.wait(10):
            raise AssertionError("nobody came")
        left.append("the thread")
        yield "!"


left: list[str] = []


@pytest.mark.anyio
async def test_create_async_of_abstract_provider_keeps_the_loop_free() -> None:
    until = threading.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: Blocking.create_async("m", WHY, until=until))
        await anyio.sleep(0.01)
        until.set()  # by this very loop


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("provider", "timeout"),
    [
        (Blocking, 0.02),
        (Blocking(timeout=0.02), None),
        (Blocking(timeout=g4ftrio.Timeout(total=0.02)), None),
        (Blocking(timeout=0.02), 60),
    ],
    ids=["call's", "bound number", "bound total", "call's beside bound"],
)
async def test_create_async_of_abstract_provider_times_out_although_the_thread_is_stuck(
    provider: Provider, timeout: float | None
) -> None:
    left.clear()
    until = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
        await provider.create_async("m", WHY, timeout=timeout, until=until)
    assert left == []
    until.set()


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [None, 0, 60])
async def test_create_async_of_abstract_provider_joins_the_text_of_an_answer_in_time(timeout: float | None) -> None:
    assert await SyncPlain.create_async("m", WHY, timeout=timeout) == said("m", WHY, None, {})


@pytest.mark.anyio
async def test_create_async_of_abstract_provider_runs_in_the_given_executor_on_both_loops() -> None:
    until = threading.Event()
    until.set()
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        assert await Blocking.create_async("m", WHY, executor=executor, until=until) == "mine_0!"


class Failing(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield "a"
        raise KeyError("its own")


@pytest.mark.anyio
async def test_create_async_of_abstract_provider_raises_the_provider_s_own_error() -> None:
    with pytest.raises(KeyError, match="its own"):
        await Failing.create_async("m", WHY)


# The documents' own lines.


class Reasoned(AsyncGeneratorProvider):
    @classmethod
    async def create_async_generator(cls, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        for chunk in (
            Reasoning("hm"),
            "It is ",
            ToolCallDelta(0, "id", "name", "{}"),
            "42.",
            FinishReason("stop"),
            Usage(1),
        ):
            yield chunk


async def collected() -> str:
    result_text = ""
    async for chunk in Reasoned.create_async_generator(model="m", messages=WHY):
        result_text += chunk
    return result_text


async def printed() -> None:
    async for chunk in Reasoned.create_async_generator(model="m", messages=WHY):
        print(chunk, end="")


def test_the_documents_own_lines_run_unchanged_under_asyncio_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(collected()) == "It is 42."
    asyncio.run(printed())
    assert capsys.readouterr().out == "It is 42."


def test_the_documents_own_lines_run_unchanged_under_trio_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert trio.run(collected) == "It is 42."
    trio.run(printed)
    assert capsys.readouterr().out == "It is 42."


@pytest.mark.parametrize("cls", [SyncClass, CoroutineClass, GeneratorClass, AuthedClass])
def test_the_documents_own_synchronous_lines_run_unchanged(cls: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    for chunk in cls.create_completion("m", WHY, stream=True):
        print(chunk, end="")
    assert capsys.readouterr().out == said("m", WHY, None, {})
