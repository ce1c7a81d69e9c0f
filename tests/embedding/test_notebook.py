"""In a notebook, where a loop runs already: ``await`` works at the top, and the synchronous forms say to use it.

Always by what notebooks are made of (code compiled to be awaited at the top, on a running loop), by IPython's own shell
where that is installed, and with ``-m long`` in a kernel, where Jupyter's client is.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from g4ftrio.simulator import ThreadFleet, run_in_thread
from tests.embedding.services import SERVICES, TEXT

SETTING = """
import g4ftrio
from g4ftrio.providers import OpenAICompatible
asked = [OpenAICompatible(model=name, api_base=base) for name, base in {bases!r}.items()]
quick, slow, never = asked
"""
CELLS = (
    # what a user of scripts tries first
    "quick.complete_sync('Why?')",
    "g4ftrio.race_sync([quick, never], 'Why?')",
    "list(quick.create_completion('quick', 'Why?'))",
    # what works
    "said = (await quick.complete('Why?')).text",
    "async with g4ftrio.race([quick, never], 'Why?') as stream:\n    said = (await stream.collect()).text",
    # a stream that is kept from cell to cell
    "stream = await g4ftrio.race([slow], 'Why?').settle()\nsaid = await anext(stream)",
    "said += await anext(stream)\nawait stream.aclose()",
)
REFUSED = 3
SAID = (TEXT, TEXT, "on", "on and")
ADVICE = (
    "await OpenAICompatible.complete(...)",
    "async with race(...) as stream:",
    "async for chunk in OpenAICompatible.create_async_generator(...)",
)


@pytest.fixture
def fleet() -> Iterator[ThreadFleet]:
    with run_in_thread(SERVICES) as fleet:
        yield fleet


def setting(fleet: ThreadFleet) -> str:
    return SETTING.format(bases={name: fleet[name].api_base for name in ("quick", "slow", "never")})


def closed(fleet: ThreadFleet) -> bool:
    fleet.quiet()
    return not any(running.connections for running in fleet.values())


def test_cells_on_a_running_loop(fleet: ThreadFleet) -> None:
    space: dict[str, Any] = {}
    exec(setting(fleet), space)
    errors, said = [], []

    async def run(cell: str) -> None:
        code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, space)
        if inspect.isawaitable(result):
            await result

    async def main() -> None:
        for cell in CELLS[:REFUSED]:
            with pytest.raises(RuntimeError) as caught:
                await run(cell)
            errors.append(caught.value)
        assert not any(running.log for running in fleet.values())
        for cell in CELLS[REFUSED:]:
            await asyncio.create_task(run(cell))  # a kernel has a task for each
            said.append(space["said"])

    asyncio.run(main())
    assert [type(error).__name__ for error in errors] == ["EventLoopRunningError"] * REFUSED
    assert [advice in str(error) for error, advice in zip(errors, ADVICE, strict=True)] == [True] * REFUSED, errors
    assert tuple(said) == SAID
    assert closed(fleet)


@pytest.mark.may_leak("IPython keeps a loop for later")
@pytest.mark.filterwarnings("ignore:Attempting to work in a virtualenv")
def test_cells_in_ipythons_shell_on_asyncio_and_on_trio(fleet: ThreadFleet) -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    config = pytest.importorskip("traitlets.config").Config(HistoryManager={"enabled": False})
    shell = interactive.InteractiveShell.instance(config=config)
    try:
        assert shell.run_cell(setting(fleet)).success
        for magic in ("%autoawait asyncio", "%autoawait trio"):
            assert shell.run_cell(magic).success
            for cell, said in zip(CELLS[REFUSED : REFUSED + 2], SAID, strict=False):
                shell.run_cell(cell).raise_error()
                assert shell.user_ns["said"] == said
    finally:
        interactive.InteractiveShell.clear_instance()
    assert closed(fleet)


@pytest.mark.long
@pytest.mark.may_leak("Jupyter's client keeps a loop for later")
def test_cells_in_a_kernel(fleet: ThreadFleet) -> None:
    pytest.importorskip("ipykernel")
    kernel, client = pytest.importorskip("jupyter_client.manager").start_new_kernel(kernel_name="python3")

    def run(cell: str) -> tuple[str, str]:
        asked = client.execute(cell, stop_on_error=False)
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
            pass
        return reply["content"]["status"], reply["content"].get("ename", "")

    try:
        assert run(setting(fleet)) == ("ok", "")
        for cell in CELLS[:REFUSED]:
            assert run(cell) == ("error", "EventLoopRunningError")
        for cell in CELLS[REFUSED:]:
            assert run(cell) == ("ok", "")
        assert closed(fleet)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
