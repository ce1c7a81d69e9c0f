"""A user's own module, as mypy --strict sees it: every form of a subclass, and calls on the class and on an instance.

What is tested is that this file has no type error (the checks run mypy over the tests); ``assert_type`` says what
each call gives. Run, it tells that the same lines work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from inspect import Parameter
from pathlib import Path
from typing import Any, assert_type

import pytest

import g4ftrio.typing
from g4ftrio import AuthResult, Chunk, Completion, Stream, race, race_sync
from g4ftrio.base_provider import (
    AbstractProvider,
    AsyncAuthedProvider,
    AsyncGeneratorProvider,
    AsyncProvider,
    ProviderModelMixin,
    RaiseErrorMixin,
)
from g4ftrio.providers import Jmuz, OpenaiTemplate
from g4ftrio.typing import AsyncResult, CreateResult, Media, Messages

WHY: Messages = [{"role": "user", "content": "Why?"}]


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path))


class SyncPlain(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        yield f"{model} by {type(self).__name__}"


class SyncStatic(AbstractProvider):
    @staticmethod
    def create_completion(model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
        return iter([model])


class CoroutineClass(AsyncProvider):
    working = False
    url = "https://service.example"

    @classmethod
    async def create_async(cls, model: str, messages: Messages, proxy: str | None = None, **kw: Any) -> str:
        return model


class GeneratorPlain(AsyncGeneratorProvider):
    default_model = "m"
    supports_message_history = True

    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, media: Media | None = None, **kw: Any
    ) -> AsyncResult:
        yield model


class GeneratorClass(AsyncGeneratorProvider, ProviderModelMixin, RaiseErrorMixin):
    default_model = "m"
    models = ("m", "n")
    model_aliases: Mapping[str, str | Sequence[str]] = {"alias": "n"}

    @classmethod
    def get_models(cls, **kw: Any) -> list[str]:
        return super().get_models(**kw)

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, temperature: float = 0.5, **kw: Any
    ) -> AsyncResult:
        cls.raise_error({"choices": [{}]}, 200)
        yield cls.get_model(model)


class GeneratorStatic(AsyncGeneratorProvider):
    @staticmethod
    async def create_async_generator(
        model: str, messages: Messages, stream: bool = True, **kw: Any
    ) -> AsyncIterator[Chunk]:
        yield model


class ChildOfPlain(GeneratorPlain):
    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, media: Media | None = None, **kw: Any
    ) -> AsyncResult:
        async for chunk in super().create_async_generator(model, messages, stream, media, **kw):
            yield chunk


class ChildOfClass(GeneratorClass):
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, temperature: float = 0.7, **kw: Any
    ) -> AsyncResult:
        async for chunk in super().create_async_generator(model, messages, stream, temperature, **kw):
            yield chunk


class Authed(AsyncAuthedProvider):
    parent = "Family"

    @classmethod
    async def on_auth_async(cls, **kw: Any) -> AuthResult:
        return AuthResult(token="t")

    @classmethod
    async def create_authed(
        cls, model: str, messages: Messages, auth_result: AuthResult, stream: bool = True, **kw: Any
    ) -> AsyncResult:
        yield model


class Relay(OpenaiTemplate):
    url = "https://relay.example"
    api_base = "https://relay.example/v1"
    default_model = "m"
    model_aliases: Mapping[str, str | Sequence[str]] = {"alias": "m"}

    @classmethod
    def create_async_generator(
        cls, model: str, messages: str | Messages, stream: bool = True, **kw: Any
    ) -> AsyncResult:
        return super().create_async_generator(model, messages, stream=stream, **kw)


@pytest.mark.anyio
async def test_what_is_asked_on_the_class_and_on_an_instance_has_these_types() -> None:
    bound = SyncPlain(model="bound", temperature=0.5)
    assert assert_type(await SyncPlain.create_async("m", WHY, timeout=60), str) == "m by SyncPlain"
    assert assert_type(await bound.create_async("", WHY), str) == "bound by SyncPlain"
    whole = await SyncPlain.complete("Why?", model="m", temperature=0.5)
    assert assert_type(whole, Completion).text == "m by SyncPlain"
    async with bound.stream("Why?") as stream:
        assert_type(stream, Stream)
        async for chunk in stream:
            assert assert_type(chunk, Chunk) == "bound by SyncPlain"
    assert assert_type(await SyncPlain.list_models(), list[str]) == []


@pytest.mark.anyio
async def test_the_documents_own_loop_has_these_types() -> None:
    result_text = ""
    async for chunk in GeneratorClass.create_async_generator(model="alias", messages=WHY):
        result_text += chunk
    async for chunk in GeneratorStatic.create_async_generator("m", WHY):
        result_text += chunk
    async for chunk in ChildOfClass.create_async_generator("m", WHY, temperature=1):
        result_text += chunk
    async for chunk in ChildOfPlain().create_async_generator("m", WHY):
        result_text += chunk
    assert assert_type(result_text, str) == "nmmm"


@pytest.mark.anyio
async def test_the_generator_of_an_instance_has_these_types() -> None:
    async for chunk in GeneratorPlain(model="bound").create_async_generator("", WHY):
        assert assert_type(chunk, Chunk) == "bound"
    async for chunk in Authed(model="bound").create_async_generator("", WHY):
        assert assert_type(chunk, Chunk) == "bound"


@pytest.mark.anyio
async def test_what_is_inherited_may_be_called_on_the_class_whatever_form_the_written_method_has() -> None:
    assert assert_type(await GeneratorPlain.create_async("m", WHY), str) == "m"
    assert assert_type(await CoroutineClass.create_async("m", WHY, proxy=None), str) == "m"
    assert assert_type((await CoroutineClass.complete("Why?", model="m")).text, str) == "m"
    assert assert_type(await Authed.create_async("m", WHY), str) == "m"


@pytest.mark.anyio
async def test_a_race_of_classes_and_instances_has_these_types() -> None:
    async with race([GeneratorPlain, GeneratorStatic(model="n"), SyncStatic], "Why?", model="m") as stream:
        async for chunk in stream:
            assert_type(chunk, Chunk)
        assert assert_type(stream.text, str) in ("m", "n")


def test_synchronous_forms_have_these_types() -> None:
    assert list(assert_type(SyncStatic.create_completion("m", WHY), Iterator[Chunk])) == ["m"]
    assert list(assert_type(SyncPlain().create_completion("m", WHY), Iterator[Chunk])) == ["m by SyncPlain"]
    assert list(assert_type(GeneratorPlain.create_completion("m", WHY), Iterator[Chunk])) == ["m"]
    assert list(assert_type(CoroutineClass.create_completion("m", WHY, False), Iterator[Chunk])) == ["m"]
    assert assert_type(GeneratorStatic.complete_sync("Why?", model="m"), Completion).text == "m"
    [login] = assert_type(Authed.on_auth(), Iterator[Chunk])
    assert isinstance(login, AuthResult)
    with race_sync([SyncStatic], "Why?", model="m") as stream:
        text = ""
        for chunk in stream:
            text += chunk
    assert text == "m"


def test_what_a_provider_says_of_itself_has_these_types() -> None:
    assert_type(GeneratorClass.params, str)
    assert_type(GeneratorClass().params, str)
    parameters: dict[str, Parameter] = GeneratorClass.get_parameters()
    form: dict[str, Any] = GeneratorClass().get_parameters(as_json=True)
    assert parameters.keys() <= form.keys()
    assert assert_type(GeneratorClass.get_models(), list[str]) == ["m", "n"]
    assert assert_type(GeneratorClass.get_model("alias"), str) == "n"
    assert assert_type(Authed.get_cache_file(), Path).name == "auth_Family.json"
    Authed.write_cache_file(Authed.get_cache_file(), AuthResult(token="t"))
    create: Callable[..., CreateResult] = SyncStatic.get_create_function()
    assert list(create("m", WHY)) == ["m"]


@pytest.mark.anyio
async def test_declared_providers_may_be_written_over_and_called_on_class_and_instance() -> None:
    for relay in (Relay.create_async_generator("m", WHY), Relay(api_key="k").create_async_generator("m", WHY)):
        assert_type(relay, AsyncIterator[Chunk])
    async with aclosing(Jmuz.create_async_generator(model="gpt-4o", messages=WHY)):  # type: ignore[type-var]  # it has aclose()
        pass


def test_the_types_of_the_documents_are_importable() -> None:
    assert {"AsyncResult", "CreateResult", "Messages"} <= set(g4ftrio.typing.__all__)
    assert AsyncResult == AsyncIterator[Chunk]
    assert CreateResult == Iterator[Chunk]
    assert Messages == Sequence[Mapping[str, Any]]
