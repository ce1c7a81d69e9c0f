"""The floors of the house: imports run down only. What is written here is read from the source, nothing is imported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

HOUSE = Path(__file__).parent.parent / "g4ftrio"

# From the ground up. A module or a package may import what is below it, and what stands on its own floor.
# A new one is placed here by hand.
FLOORS = (
    (
        "_bill",
        "_chart",
        "_chunks",
        "_completion",
        "_errors",
        "_events",
        "_health",
        "_holds",
        "_messages",
        "_origin",
        "_printable",
        "_report",
        "_request",
        "_secrets",
        "_structured",
        "_svg",
        "_timeouts",
        "_verdict",
        "_waterfall",
        "typing",
    ),
    ("_cleaning", "_framing", "clean", "dialects"),
    ("_auth_file", "_browser", "transports"),
    (
        "_budget",
        "_entrant",
        "_handoff",
        "_iterators",
        "_keeper",
        "_latencies",
        "_loops",
        "_ordering",
        "_policies",
        "_race",
        "_source",
        "_tasks",
        "_timeline",
    ),
    ("_answer", "_driven", "_filtered", "_gate", "_generated", "_socket_answer", "_stream", "_sync", "_threads"),
    ("_limited", "_limits", "_state_file"),
    ("base_provider", "providers"),
    ("_cleaned", "_compose", "_course", "_failover", "_retry", "_wrapping"),
    ("__init__", "__main__", "bench", "cli", "simulator", "telemetry", "testing"),
)

NO_CHATS = (  # the race over any async iterators...
    *("_budget", "_entrant", "_handoff", "_iterators", "_keeper", "_latencies", "_ordering", "_policies"),
    *("_race", "_source"),
)
CHATS = ("_chunks", "_cleaning", "_completion", "_messages", "_request", "_structured", "dialects")  # ...and not these

NO_IO = ("_chunks", "_cleaning", "_framing", "clean", "_messages", "dialects")
IO = (
    *("anyio", "asyncio", "sniffio", "trio", "uvloop", "concurrent", "selectors", "socket", "ssl", "threading"),
    *("aiohttp", "h11", "httpcore", "httptools", "httpx", "requests", "trio_websocket", "urllib3", "websockets"),
)

SLOW_TO_LOAD = (
    *(
        "click",
        "h11",
        "httpcore",
        "httptools",
        "httpx",
        "opentelemetry",
        "rich",
        "trio",
        "trio_websocket",
        "uvloop",
        "websockets",
    ),
    *("asyncio", "dataclasses", "importlib.metadata", "inspect", "random", "ssl"),
)

EMPTY_NAMES = {"common", "core", "helper", "helpers", "manager", "misc", "util", "utils"}
LONGEST = 60  # lines of a function


class Import(NamedTuple):
    """One imported module, and where."""

    module: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(HOUSE.parent)}:{self.line}"


def sources() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = HOUSE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path: Path) -> Iterator[Import]:
    """All imports of a file: at its top, inside functions, and for type checkers."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names):
                yield from (Import(each.name, path, node.lineno) for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.rsplit(".", level - 1)[0] if level else ""
                origin = ".".join(filter(None, (above, module)))
                for each in names:
                    inner = f"{origin}.{each.name}"
                    yield Import(inner if is_module(inner) else origin, path, node.lineno)


def room(module: str) -> str | None:
    """The module or package directly under the house that something of ours belongs to."""
    top, _, rest = module.partition(".")
    if top != HOUSE.name:
        return None
    return rest.partition(".")[0] or "__init__"


def floor(of: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if of in rooms]
    assert found, f"{of} stands on no floor yet: write it in FLOORS"
    return found[0]


def all_imports(*rooms: str) -> list[Import]:
    return [each for path in sources() if not rooms or room(module_name(path)) in rooms for each in imports(path)]


def arrows() -> dict[str, set[str]]:
    """Which of our modules each of our modules imports."""
    found: dict[str, set[str]] = {}
    for path in sources():
        name = module_name(path)
        found[name] = {each.module for each in imports(path) if room(each.module)} - {name}
    return found


def test_every_module_has_its_floor() -> None:
    placed = {each for rooms in FLOORS for each in rooms}
    homeless = {room(module_name(path)) for path in sources()} - placed
    assert not homeless, f"write on which floor these stand, in FLOORS: {homeless}"


def test_no_module_stands_on_two_floors() -> None:
    placed = [each for rooms in FLOORS for each in rooms]
    assert len(placed) == len(set(placed))


def test_imports_run_down_only() -> None:
    upward = []
    for each in all_imports():
        here, there = room(module_name(each.path)), room(each.module)
        if here and there and floor(there) > floor(here):
            upward.append(f"{each}: {here} (floor {floor(here)}) imports {each.module} (floor {floor(there)})")
    assert not upward, "arrows up:\n" + "\n".join(upward)


def test_no_imports_run_in_a_circle() -> None:
    left = arrows()
    while leaves := [name for name, below in left.items() if not below & left.keys()]:
        for name in leaves:
            del left[name]
    circle = {name: sorted(below & left.keys()) for name, below in left.items()}
    assert not circle, f"these import each other, or what does: {circle}"


def test_the_race_knows_nothing_of_chats() -> None:
    chats = [f"{each} imports {each.module}" for each in all_imports(*NO_CHATS) if room(each.module) in CHATS]
    assert not chats, chats


def test_formats_and_words_do_no_io() -> None:
    io = [f"{each} imports {each.module}" for each in all_imports(*NO_IO) if each.module.partition(".")[0] in IO]
    assert not io, io


def test_files_are_named_after_what_is_in_them() -> None:
    empty = [path.name for path in sources() if path.stem.strip("_") in EMPTY_NAMES]
    assert not empty


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [
        f"{module_name(path)}.{node.name}: {lines} lines"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST
    ]
    assert not long, long


def loaded_by(statement: str) -> set[str]:
    code = f"""if True:
        import sys
        import anyio, anyio.lowlevel, msgspec  # what these load is theirs
        before = set(sys.modules)
        {statement}
        print(*sorted(set(sys.modules) - before))
    """
    run = subprocess.run([sys.executable, "-c", code], cwd=HOUSE.parent, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_import_loads_the_face_only() -> None:
    assert loaded_by("import g4ftrio") == {"g4ftrio"}


def test_all_names_together_load_nothing_slow() -> None:
    loaded = loaded_by("from g4ftrio import *")
    assert "g4ftrio._compose" in loaded
    assert not loaded.intersection(SLOW_TO_LOAD)


# Vendors. What differs between them is a field of a dialect, so their names are nowhere but in `providers`. A wire that
# is called as the vendor who thought it up is no vendor: its name is that of a module in `dialects`.


def vendors() -> set[str]:
    """The declared services, in lower case: labels, and the names of their classes. One without an address is none."""
    names = set()
    for path in (HOUSE / "providers").rglob("*.py"):
        for node in ast.walk(tree(path)):
            declared = texts(node) if isinstance(node, ast.ClassDef) else {}
            if "label" in declared and declared.keys() & {"api_base", "url"}:
                names |= {declared["class"].casefold(), declared["label"].casefold()}
    return names - wires()


def wires() -> set[str]:
    """The names of the dialects' modules, as they would be of classes and of labels; one over sockets is ``-ws``."""
    stems = {path.stem for path in (HOUSE / "dialects").glob("[!_]*.py")}
    names = {stem.replace("_", joint) for stem in stems for joint in ("", "-", "_")}
    return names | {name.replace("-socket", "-ws") for name in names}


def texts(declaration: ast.ClassDef) -> dict[str, str]:
    """The strings that a class's body assigns, by their names; the class's own name is ``class``."""
    found = {"class": declaration.name}
    for node in declaration.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                found[name] = text
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def docstrings(module: ast.Module) -> set[int]:
    """The ids of the nodes that are strings standing alone: docstrings, and the notes below attributes."""
    alone = (node.value for node in ast.walk(module) if isinstance(node, ast.Expr))
    return {id(value) for value in alone if isinstance(value, ast.Constant)}


def words(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Identifiers and the words in strings, each with its line."""
    skipped = docstrings(module)
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name.casefold(), node.lineno
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name.casefold(), node.lineno
            case ast.Constant(value=str(text)) if id(node) not in skipped:
                # Some vendors' names are plain words ("together"): in a string, only one that looks like a name counts.
                yield from ((word.casefold(), node.lineno) for word in vendor_like(text))


def vendor_like(text: str) -> Iterator[str]:
    """The words of a string that could be a vendor's: capitalised, a key's variable, or a spec's beginning."""
    yield from re.findall(r"\b([A-Z]\w+)\b", text)
    yield from re.findall(r"\b([A-Z]+)_(?:API_KEY|BASE_URL|HOST)\b", text)
    yield from re.findall(r"^([\w.-]+)(?:$|[/@])", text)


def test_no_vendor_is_named_outside_the_declarations() -> None:
    names = vendors()
    if not names:
        pytest.skip("g4ftrio.providers names nobody yet")
    named = [
        f"{path.relative_to(HOUSE.parent)}:{line}: {word}"
        for path in sources()
        if room(module_name(path)) != "providers"
        for word, line in words(tree(path))
        if word in names
    ]
    assert not named, "what differs between vendors is a field of a dialect:\n" + "\n".join(named)


# The test of the tests: each rule finds what it is there for.


@pytest.fixture
def other_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    house = tmp_path / "g4ftrio"
    (house / "dialects").mkdir(parents=True)
    (house / "providers").mkdir()
    for name in ("__init__", "_race", "dialects/__init__", "providers/__init__"):
        (house / f"{name}.py").write_text("")
    monkeypatch.setattr(sys.modules[__name__], "HOUSE", house)
    return house


@pytest.mark.parametrize(
    "line",
    [
        "import g4ftrio._race",
        "from g4ftrio import _race",
        "from .. import _race",
        "from .._race import race",
        "def lazily():\n    from g4ftrio._race import race",
        "if TYPE_CHECKING:\n    from g4ftrio._race import race",
        "from g4ftrio import race",
    ],
)
def test_an_arrow_up_is_found_however_it_is_written(other_house: Path, line: str) -> None:
    (other_house / "dialects" / "chat.py").write_text(line)
    with pytest.raises(AssertionError, match=r"dialects/chat.py:[12]: dialects \(floor 1\) imports g4ftrio"):
        test_imports_run_down_only()


def test_a_module_that_nobody_placed_is_found(other_house: Path) -> None:
    (other_house / "_new.py").write_text("")
    with pytest.raises(AssertionError, match="_new"):
        test_every_module_has_its_floor()


def test_a_circle_is_found(other_house: Path) -> None:
    (other_house / "dialects" / "one.py").write_text("from g4ftrio.dialects import two")
    (other_house / "dialects" / "two.py").write_text("from g4ftrio.dialects.one import x")
    with pytest.raises(AssertionError, match=r"g4ftrio.dialects.one"):
        test_no_imports_run_in_a_circle()


def test_io_and_chats_are_found(other_house: Path) -> None:
    (other_house / "dialects" / "one.py").write_text("def lazily():\n    import asyncio.queues")
    (other_house / "_race.py").write_text("from g4ftrio._chunks import Chunk")
    (other_house / "_chunks.py").write_text("")
    with pytest.raises(AssertionError, match=r"asyncio.queues"):
        test_formats_and_words_do_no_io()
    with pytest.raises(AssertionError, match=r"g4ftrio._chunks"):
        test_the_race_knows_nothing_of_chats()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("if vendor == 'acme': pass", True),
        ("key = environ['ACME_API_KEY']", True),
        ("print('ask Acme for a key')", True),
        ("provider = 'acme/model-1'", True),
        ("acme = 1", True),
        ("'''Acme is named in a docstring.'''", False),
        ("# Acme is named in a comment", False),
        ("print('at the acme of his art')", False),
        ("wire = 'wired'", False),
    ],
)
def test_a_vendors_name_is_found_in_code_only(other_house: Path, line: str, found: bool) -> None:
    declared = (
        "class Acme(Provider):\n    label = 'acme'\n    url = 'a:'",
        "class Wired(Acme):\n    label = 'wired'\n    url = 'b:'",
    )
    (other_house / "providers" / "__init__.py").write_text("\n".join(declared))
    (other_house / "dialects" / "wired.py").write_text("")
    (other_house / "_race.py").write_text(line)
    if found:
        with pytest.raises(AssertionError, match=r"_race.py:1: acme"):
            test_no_vendor_is_named_outside_the_declarations()
    else:
        test_no_vendor_is_named_outside_the_declarations()
