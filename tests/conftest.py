"""What every test gets: both loops, a clean environment, and a look at what it left behind."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction

import pytest
from hypothesis import settings

from tests import clocks, leaks

_FOREIGN_ENDS = ("_API_KEY", "_API_BASE", "_BASE_URL", "_PROXY")
_FOREIGN_STARTS = ("G4FTRIO_", "OLLAMA_")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("any machine", deadline=None)  # a busy one takes as long as it takes
    settings.load_profile("any machine")
    config.addinivalue_line("markers", "may_leak(why): leaves something behind on purpose; see tests/leaks.py")


def pytest_collection_finish() -> None:
    _freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Function, nextitem: pytest.Function | None) -> None:
    if nextitem is None or nextitem.module is not item.module:
        _freeze()


def _freeze() -> None:
    # What has been imported and remembered by now is never garbage: a full collection after each test then takes 1 ms
    # and not 40, and does not get slower from one module to the next.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> clocks.Backend:
    """Run on asyncio and trio with the real clock; `tests.clocks` has other sets."""
    return clocks.real_backend(request.param)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the keys, addresses and proxies of whoever runs the tests out of them."""
    for name in os.environ:
        if name.upper().endswith(_FOREIGN_ENDS) or name.upper().startswith(_FOREIGN_STARTS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a task, a generator, a descriptor or a thread behind."""
    if request.node.get_closest_marker("may_leak"):
        yield
        return
    on_anyio = "anyio_backend" in request.fixturenames and _is_async(request.node)
    watch = leaks.ProcessWatch(files=not on_anyio)
    if on_anyio:
        request.getfixturevalue("loop_leak_check")
    yield
    watch.check()


@pytest.fixture
async def loop_leak_check() -> AsyncIterator[None]:
    async with leaks.LoopWatch():
        yield


def _is_async(item: pytest.Function) -> bool:
    function = item.function
    given = getattr(function, "hypothesis", None)
    return iscoroutinefunction(given.inner_test if given else function)
