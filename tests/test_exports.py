"""What a module offers: `__all__` says it, all of it, in order, and every name has its words."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import g4ftrio

NAMES = [
    each.name for each in pkgutil.walk_packages(g4ftrio.__path__, "g4ftrio.") if not each.name.endswith("__main__")
]


def is_empty(module: ModuleType) -> bool:
    return not Path(module.__file__ or "").read_text(encoding="utf-8").strip()


def isort_key(name: str) -> tuple[int, str]:
    """The order that ruff keeps (RUF022): constants, classes, the rest."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


@pytest.fixture(params=["g4ftrio", *NAMES])
def module(request: pytest.FixtureRequest) -> ModuleType:
    loaded = import_module(request.param)
    if is_empty(loaded):
        pytest.skip("an empty file")
    return loaded


def test_all_is_a_sorted_tuple_without_repetition(module: ModuleType) -> None:
    assert isinstance(module.__all__, tuple)
    assert len(set(module.__all__)) == len(module.__all__)
    own = [name for name in module.__all__ if name not in passed_on(module)]
    assert own == sorted(own, key=isort_key)


def passed_on(module: ModuleType) -> set[str]:
    """What a package repeats of its modules by `*_module.__all__`, sorted there."""
    inner = [
        each for each in vars(module).values() if inspect.ismodule(each) and f"{module.__name__}._" in each.__name__
    ]
    return {name for each in inner for name in each.__all__}


def test_all_names_what_there_is(module: ModuleType) -> None:
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing


def test_nothing_private_is_exported(module: ModuleType) -> None:
    assert not [name for name in module.__all__ if name.startswith("_") and name != "__version__"]


def test_every_module_says_what_it_is_for(module: ModuleType) -> None:
    assert module.__doc__


def test_every_public_name_has_its_words(module: ModuleType) -> None:
    silent = [name for name in module.__all__ if is_silent(getattr(module, name), module.__name__)]
    assert not silent


def is_silent(thing: Any, home: str) -> bool:
    """Tell whether something is a class or a function of this module and has no docstring of its own."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)) or thing.__module__ != home:
        return False
    return not vars(thing).get("__doc__") if inspect.isclass(thing) else not thing.__doc__


@pytest.mark.parametrize("name", [name for name in ["g4ftrio", *NAMES] if "._" not in name])
def test_every_method_that_users_see_has_its_words(name: str) -> None:
    module = import_module(name)
    classes = [cls for export in getattr(module, "__all__", ()) if inspect.isclass(cls := getattr(module, export))]
    silent = {
        f"{cls.__module__}.{cls.__name__}.{method}"
        for cls in classes
        if cls.__module__.startswith("g4ftrio")
        for method, thing in vars(cls).items()
        if not method.startswith("_") and inspect.isroutine(thing) and not inspect.getdoc(getattr(cls, method))
    }
    assert not silent


# The face.


@pytest.fixture
def face() -> tuple[str, ...]:
    names: tuple[str, ...] | None = getattr(g4ftrio, "__all__", None)
    if names is None:
        pytest.skip("the face is not written yet")
    return names


def test_the_face_gives_all_that_it_names_and_lists_it(face: tuple[str, ...]) -> None:
    for name in face:
        getattr(g4ftrio, name)
    assert set(face) <= set(dir(g4ftrio))


def test_the_face_shows_no_more_than_it_names(face: tuple[str, ...]) -> None:
    shown = {name for name, value in vars(g4ftrio).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert shown - {"TYPE_CHECKING"} <= set(face)


def test_type_checkers_and_programs_are_told_the_same(face: tuple[str, ...]) -> None:
    tree = ast.parse(Path(g4ftrio.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    told = {alias.asname: f"{node.module}" for node in imports for alias in node.names}
    assert told == {name: f"g4ftrio.{home}" for name, home in g4ftrio._WHERE.items()}
    assert set(told) == set(face) <= set(dir(g4ftrio))


def test_a_star_import_gives_the_face(face: tuple[str, ...]) -> None:
    given: dict[str, object] = {}
    exec("from g4ftrio import *", given)
    assert given.keys() - {"__builtins__"} == set(face)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    missing = "no_such_name"
    with pytest.raises(AttributeError, match=missing):
        getattr(g4ftrio, missing)
