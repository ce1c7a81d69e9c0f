"""In a child process: after a fork, or begun anew, it races with what is its own, and the parent's goes on undisturbed.

The program has raced on every loop, and holds a stream half read and idle connections, when it forks. The child races,
in every form, by a client of its own and by the one that it inherited, and ends by ``os._exit`` or as a program does;
then the parent reads the rest of its stream. The same for each start method of ``multiprocessing``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from g4ftrio.simulator import Service, ThreadFleet, run_in_thread
from tests.embedding.services import NEVER, TEXT

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")

RACING = """if True:
    import asyncio, gc, os, sys
    import trio
    import g4ftrio
    from g4ftrio.providers import OpenAICompatible

    quick, slow, never = sys.argv[1:4]

    def entrants(*bases):
        return [OpenAICompatible(model="m", name=f"e{n}", api_base=base) for n, base in enumerate(bases)]

    async def ask():
        async with g4ftrio.race(entrants(quick, never), "Why?") as stream:
            return (await stream.collect()).text

    def race_in_every_form():
        texts = [trio.run(ask), asyncio.run(ask())]
        for backend in ("trio", "asyncio"):
            with g4ftrio.race_sync(entrants(quick, never), "Why?", backend=backend) as stream:
                texts.append(stream.collect().text)
        [text] = set(texts)
        return text
"""

FORKING = (
    RACING
    + """
    def fork(end):
        sys.stdout.flush()
        child = os.fork()
        if child:
            assert os.waitpid(child, 0) == (child, 0), "the child failed"
            return
        try:
            for texts in (trio.run(ask_again), asyncio.run(ask_again())):
                assert texts == ["opened", "kept"], texts
            print(race_in_every_form(), flush=True)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        if end == "at once":
            os._exit(0)
        sys.exit(0)

    async def ask_again():
        reports = [(await llm.complete("Why?")).report.entrants[0] for _ in range(2)]
        return ["kept" if report.connected_at is None else "opened" for report in reports]

    assert race_in_every_form()
    loop = asyncio.new_event_loop()
    client = g4ftrio.open_http_client()
    kept = OpenAICompatible(model="m", api_base=quick, http_client=client)
    llm = g4ftrio.Race([kept])
    assert trio.run(ask_again) == ["opened", "kept"]  # its connection is idle now
    assert loop.run_until_complete(ask_again()) == ["opened", "kept"]
    stream = loop.run_until_complete(g4ftrio.race(entrants(slow, never), "Why?").settle())
    text = loop.run_until_complete(stream.receive())
    for end in ("at once", "as a program does"):
        fork(end)
    rest = loop.run_until_complete(stream.collect())
    loop.run_until_complete(stream.aclose())
    assert loop.run_until_complete(ask_again()) == ["kept", "kept"]
    loop.run_until_complete(client.aclose())
    loop.close()
    print("the parent read", rest.text)
"""
)

CHILDREN = (
    RACING.replace("if True:\n", "").replace("\n    ", "\n").removeprefix("    ")
    + """
import multiprocessing

def work(queue):
    queue.put(race_in_every_form())

if __name__ == "__main__":
    assert race_in_every_form()
    running = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        running.append((method, queue, process))
    for method, queue, process in running:
        process.join()
        assert process.exitcode == 0, method
        print(method, queue.get(), flush=True)
    assert race_in_every_form()
"""
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[ThreadFleet]:
    services = [
        Service("quick", text=TEXT, models=("m",)),
        Service("slow", text=TEXT, models=("m",), gap=0.1),
        Service("never", first_token=NEVER, models=("m",)),
    ]
    with run_in_thread(services) as fleet:
        yield fleet


def output_of(fleet: ThreadFleet, arguments: list[str]) -> list[str]:
    bases = [fleet[name].api_base for name in ("quick", "slow", "never")]
    ran = subprocess.run(
        [sys.executable, *arguments, *bases],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    fleet.quiet()
    assert not any(running.connections for running in fleet.values())
    return ran.stdout.splitlines()


def test_a_fork_races_and_leaves_the_parent_s_connections_alone(fleet: ThreadFleet) -> None:
    assert output_of(fleet, ["-c", FORKING]) == [TEXT, TEXT, f"the parent read {TEXT}"]
    assert [exchange.outcome for exchange in fleet["slow"].log] == ["complete"]


def test_a_child_of_multiprocessing_races_however_it_was_started(fleet: ThreadFleet, tmp_path: Path) -> None:
    script = tmp_path / "children.py"
    script.write_text("import sys\n" + CHILDREN, "utf-8")
    assert output_of(fleet, ["-W", "error", str(script)]) == [
        f"{method} {TEXT}" for method in ("fork", "spawn", "forkserver")
    ]
