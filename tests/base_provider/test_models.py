"""Which models a provider has, what else they are called, and to whom that knowledge belongs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

import g4ftrio
from g4ftrio import EventLoopRunningError, ModelNotFoundError, SetupError
from g4ftrio.base_provider import AsyncGeneratorProvider, ProviderModelMixin
from g4ftrio.providers import Jmuz
from g4ftrio.typing import AsyncResult, Messages


class Answering(AsyncGeneratorProvider, ProviderModelMixin):
    @classmethod
    async def create_async_generator(cls, model: str, messages: Messages, **kw: Any) -> AsyncResult:
        yield cls.get_model(model)


class Zoo(Answering):
    default_model = "ape"
    models: Sequence[str] = ["ape", "bee"]
    model_aliases: Mapping[str, str | Sequence[str]] = {"monkey": "ape-2", "any": ["cat", "dog"]}
    image_models: Sequence[str] = ["eye"]
    vision_models: Sequence[str] = ["owl"]


class Unlisted(Answering):
    default_model = "only"
    model_aliases: Mapping[str, str | Sequence[str]] = {"alias": "only"}


class Nameless(Answering):
    pass


# get_models


def test_get_models_gives_those_that_are_known() -> None:
    assert Zoo.get_models() == ["ape", "bee"]
    assert Zoo(model="bee").get_models() == ["ape", "bee"]


def test_get_models_falls_back_to_the_default_model() -> None:
    assert Unlisted.get_models() == ["only"]
    assert Nameless.get_models() == []


def test_get_models_takes_whatever_keywords() -> None:
    assert Zoo.get_models(api_key="k", ignored=True) == ["ape", "bee"]


@pytest.mark.anyio
async def test_get_models_inside_a_loop_gives_what_is_known() -> None:
    assert Zoo.get_models() == ["ape", "bee"]


@pytest.mark.anyio
async def test_get_models_of_who_must_ask_names_list_models_inside_a_loop_and_gives_what_is_known() -> None:
    fresh: Any = type("Fresh", (Jmuz,), {"api_base": "http://127.0.0.1:1"})
    with pytest.raises(EventLoopRunningError, match=r"await Fresh\.list_models\(\)"):
        fresh.get_models()
    known = fresh(models=["known"])
    assert known.get_models() == ["known"]


# get_model


@pytest.mark.parametrize("empty", ["", None])
def test_get_model_of_nothing_gives_the_default(empty: str | None) -> None:
    assert Zoo.get_model(empty) == "ape"
    assert Zoo.get_model() == "ape"
    assert Zoo(model="bee").get_model(empty) == "bee"
    assert Nameless.get_model(empty) == ""


def test_get_model_of_an_alias_gives_its_name() -> None:
    assert Zoo.get_model("monkey") == "ape-2"
    assert Unlisted.get_model("alias") == "only"


def test_get_model_of_a_default_that_is_an_alias_gives_its_name() -> None:
    class Aliased(Zoo):
        default_model = "monkey"

    assert Aliased.get_model("") == "ape-2"


def test_get_model_of_an_alias_with_a_list_draws_one_of_it() -> None:
    assert {Zoo.get_model("any") for _ in range(100)} == {"cat", "dog"}


@pytest.mark.parametrize("name", ["ape", "bee", "ape-2", "cat", "dog", "eye", "owl"])
def test_get_model_counts_models_targets_of_aliases_image_and_vision_models_as_known(name: str) -> None:
    assert Zoo.get_model(name) == name


def test_get_model_counts_the_default_model_as_known() -> None:
    assert Zoo(default_model="new").get_model("new") == "new"


def test_get_model_of_an_unknown_one_raises_an_error_that_lists_the_known_and_sends_nothing() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        Zoo.get_model("yak")
    assert str(caught.value) == "zoo: no such model: 'yak'. It has ape, bee, monkey, any."
    assert isinstance(caught.value, SetupError)


def test_get_model_lets_every_name_pass_where_the_models_are_not_known() -> None:
    assert Unlisted.get_model("yak") == "yak"
    assert Nameless.get_model("yak") == "yak"


@pytest.mark.anyio
async def test_a_race_asks_for_the_name_that_the_service_has_and_refuses_an_unknown_one_on_entry() -> None:
    async with g4ftrio.race([Zoo(model="monkey")], "Why?") as stream:
        assert (await stream.collect()).text == "ape-2"
    with pytest.raises(ModelNotFoundError, match="no such model: 'yak'"):
        await g4ftrio.race([Zoo], "Why?", model="yak").settle()


# To whom it belongs.


class Asking(Answering):
    """Asks its service, which has one model more each time, and keeps what it hears."""

    default_model = "m0"
    asked: int = 0

    @classmethod
    def get_models(cls, **kw: Any) -> list[str]:
        if not cls.models:
            cls.asked += 1
            cls.models = [f"{cls.__name__}-{cls.asked}"]
        return super().get_models(**kw)


class AskingPlain(Answering):
    default_model = "m0"
    asked: int = 0

    def get_models(self, **kw: Any) -> list[str]:
        if not self.models:
            self.asked += 1
            self.models = [f"{type(self).__name__}-{self.asked}"]
        return super().get_models(**kw)


@pytest.mark.parametrize("base", [Asking, AskingPlain])
def test_models_that_a_method_keeps_stay_with_that_class_or_binding_and_are_asked_for_once(base: Any) -> None:
    parent: Any = type("Parent", (base,), {})
    child: Any = type("Child", (parent,), {})
    bound = parent(model="m")
    for _ in range(2):
        assert parent.get_models() == ["Parent-1"]
        assert child.get_models() == ["Child-1"]
        assert bound.get_models() == ["Parent-1"]
    assert parent(model="another").asked == 0
    assert (base.models, parent.models, child.models) == ((), (), ())


def test_what_is_changed_in_place_stays_with_that_binding() -> None:
    class Changing(Zoo):
        @classmethod
        def get_models(cls, **kw: Any) -> list[str]:
            kept: Any
            for kept in (cls.models, cls.image_models, cls.vision_models, cls.model_aliases["any"]):
                kept.append("new")
            cls.model_aliases["new"] = "ape"  # type: ignore[index]  # it is a dict
            return super().get_models(**kw)

    assert Changing.get_models() == Changing().get_models() == Changing(model="m").get_models() == ["ape", "bee", "new"]
    assert (Zoo.models, Zoo.image_models, Zoo.vision_models) == (["ape", "bee"], ["eye"], ["owl"])
    assert Zoo.model_aliases == Changing.model_aliases == {"monkey": "ape-2", "any": ["cat", "dog"]}


def test_a_list_that_was_given_out_may_be_changed() -> None:
    Zoo.get_models().append("new")
    assert Zoo.get_models() == ["ape", "bee"]


def test_the_mixin_itself_has_no_mutable_class_attribute() -> None:
    for name in ("models", "image_models", "vision_models"):
        assert getattr(ProviderModelMixin, name) == ()
    with pytest.raises(TypeError):
        ProviderModelMixin.model_aliases["new"] = "leak"  # type: ignore[index]  # that is what is tested


def test_models_may_be_bound() -> None:
    models = ["x"]
    bound = Zoo(models=models, model_aliases={"ex": "x"})
    assert (bound.get_models(), bound.get_model("ex"), Zoo.get_models()) == (["x"], "x", ["ape", "bee"])
    bound.get_models().append("y")
    assert models == ["x"]


# list_models


@pytest.mark.anyio
async def test_list_models_gives_those_of_get_models() -> None:
    assert await Zoo.list_models() == ["ape", "bee"]
    assert await Zoo().list_models() == ["ape", "bee"]


@pytest.mark.anyio
@pytest.mark.parametrize("on", ["class", "instance"])
async def test_list_models_runs_an_overriding_get_models_in_a_thread_and_keeps_what_it_heard(on: str) -> None:
    threads: list[threading.Thread] = []

    class Blocking(Answering):
        @classmethod
        def get_models(cls, **kw: Any) -> list[str]:
            if not cls.models:
                threads.append(threading.current_thread())
                assert until.wait(10)
                cls.models = ["heard"]
            return list(cls.models)

    until = threading.Event()
    provider: Any = Blocking if on == "class" else Blocking(model="m")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.list_models)
        await anyio.sleep(0.01)
        until.set()  # by this very loop
    assert await provider.list_models() == provider.get_models() == ["heard"]
    assert threads != [threading.current_thread()]
    assert len(threads) == 1
