"""The command line as real processes: pipes, terminals and signals."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Self

import pytest

from g4ftrio.simulator import Fault, Running, Service, ThreadFleet, run_in_thread

if sys.platform == "win32":
    pytest.skip("pseudo-terminals and signals are those of POSIX", allow_module_level=True)

PATIENCE = 30  # seconds until a process that hangs is killed
GREEN = re.compile(rb"\x1b\[[0-9;]*32m")


@pytest.fixture(scope="module")
def services() -> Iterator[ThreadFleet]:
    services = [
        Service("good", first_token=0.1, text="It is blue."),
        Service("silent", fault="stall"),
        Service("stuck", text="one two three four five six", fault=Fault("stall_mid", after=3)),
        Service("endless", gap=0.001, tokens=100_000),
    ]
    with run_in_thread(services) as running:
        yield running


@pytest.fixture
def fleet(services: ThreadFleet) -> Iterator[Callable[[str], Running]]:
    """Services by name; a test ends when they have seen every connection closed: nothing is left of its processes."""
    yield services.__getitem__
    while any(running.connections for running in services.values()):
        sleep(0.001)


Fleet = Callable[[str], Running]


class Process:
    """The command line with its output in pipes, or both outputs in one terminal."""

    def __init__(self, *argv: str, out: int = subprocess.PIPE, err: int = subprocess.PIPE, **environ: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "g4ftrio", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "TERM": "xterm-256color", **environ},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, size: int) -> bytes:
        """Read so much of standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def read_until(self, wanted: bytes) -> None:
        """Read standard error to the line in which that is."""
        assert self._process.stderr is not None
        assert any(wanted in line for line in self._process.stderr)

    def close_output(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.stdout = None

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        self._process.send_signal(signum)

    def end(self) -> tuple[int, bytes, bytes]:
        """Wait for the end; give the exit status, and what was not read yet of the outputs."""
        out, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out or b"", err or b""


class Terminal:
    """A pseudo-terminal of 100 columns."""

    def __enter__(self) -> Self:
        self._master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._master)

    def seen(self) -> bytes:
        """Give everything that was written there; call it once, when the process has been started."""
        os.close(self.slave)
        written = b""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # Linux says so when the last one has closed the other end
                return written
            if not piece:
                return written
            written += piece


def specs(fleet: Fleet, *names: str) -> list[str]:
    return [word for name in names for word in ("-p", fleet(name).spec)]


def shown_in_a_terminal(*argv: str, **environ: str) -> tuple[int, bytes]:
    with Terminal() as terminal, Process(*argv, out=terminal.slave, err=terminal.slave, **environ) as process:
        seen = terminal.seen()
        status, _, _ = process.end()
        return status, seen


@pytest.mark.parametrize(("loop", "signum"), [("trio", signal.SIGINT), ("asyncio", signal.SIGTERM)])
def test_text_streams_into_a_pipe_and_a_signal_ends_it_cleanly(fleet: Fleet, loop: str, signum: int) -> None:
    with Process("race", "Why?", "--loop", loop, *specs(fleet, "stuck", "silent")) as process:
        assert process.read(13) == b"one two three"
        process.interrupt(signum)
        status, out, err = process.end()

    assert (status, out) == (128 + signum, b"\n")
    assert err.endswith(b"g4ftrio: interrupted\n")
    assert b"Traceback" not in err
    assert fleet("stuck").log[-1].outcome == "client_gone"


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_an_interrupt_before_the_win_closes_the_sockets(fleet: Fleet, loop: str) -> None:
    with Process("race", "Why?", "--json", "--loop", loop, *specs(fleet, "silent")) as process:
        process.read_until(b"connected")
        process.interrupt()
        status, out, err = process.end()

    assert status == 130
    assert json.loads(out)["error"] == {"type": "KeyboardInterrupt", "message": "interrupted"}
    assert json.loads(out)["report"]["entrants"][0]["outcome"] == "cancelled"
    assert b"Traceback" not in err


def test_an_interrupt_gets_through_while_nobody_reads_the_output(fleet: Fleet) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(65536))
    except BlockingIOError:
        os.set_blocking(writer, True)
    with Process("race", "Why?", *specs(fleet, "good"), out=writer) as process:
        process.read_until(b"won")
        process.interrupt()
        status, _, err = process.end()
    os.close(reader)
    os.close(writer)

    assert (status, b"Traceback" in err) == (130, False)


def test_a_reader_who_has_enough_ends_it_quietly(fleet: Fleet) -> None:
    with Process("race", "Why?", "-q", *specs(fleet, "endless")) as process:
        assert process.read(1) != b""
        process.close_output()
        status, _, err = process.end()

    assert (status, err) == (141, b"")
    assert fleet("endless").log[-1].outcome == "client_gone"


def test_a_terminal_shows_the_race_then_the_answer_then_the_summary(fleet: Fleet) -> None:
    status, seen = shown_in_a_terminal("race", "Why?", *specs(fleet, "good", "silent"), NO_COLOR="")

    assert status == 0
    assert GREEN.search(seen)
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1  # the cursor is hidden, and comes back
    live, text, end = re.split(rb"(It is blue\.)", seen)
    assert text == b"It is blue."
    assert live.rindex(b"\x1b[?25h") > live.rindex(b"dropped")
    assert b"\x1b[1A" not in end  # nothing is drawn over the answer
    assert b"won after" in end
    assert b"dropped: openai-compatible/silent at" in re.sub(rb"\s+", b" ", end)


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_plain_terminal_gets_lines_without_control_sequences(fleet: Fleet, environ: dict[str, str]) -> None:
    status, seen = shown_in_a_terminal("race", "Why?", *specs(fleet, "good", "silent"), **environ)

    assert status == 0
    assert b"\x1b" not in seen
    lines = seen.decode().splitlines()
    answer = lines.index("It is blue.")
    assert lines[answer - 1].endswith(("good: won", "silent: dropped"))
    assert lines[-1].startswith("openai-compatible/good won after ")


def test_a_terminal_shows_the_race_drawn_in_colours(fleet: Fleet) -> None:
    status, seen = shown_in_a_terminal("race", "Why?", "--report", *specs(fleet, "good", "silent"), NO_COLOR="")
    assert status == 0
    drawn = seen[seen.rindex(b"(parallel())") :]
    assert re.search(rb"\x1b\[32m(\xe2\x96\x88)+\x1b\[0m", drawn)  # full blocks in green
    assert b"dropped" in drawn


def test_an_interrupt_leaves_the_terminal_as_it_was(fleet: Fleet) -> None:
    with Terminal() as terminal, Process("race", "x", *specs(fleet, "stuck"), err=terminal.slave) as process:
        assert process.read(13) == b"one two three"
        process.interrupt()
        seen = terminal.seen()
        status, _, _ = process.end()

    assert status == 130
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1
    assert b"interrupted" in seen


def test_the_simulated_fleet_runs_until_it_is_interrupted() -> None:
    with Process("simulate", "--fault", "promo:none", "--fault", "steady:stall") as process:
        process.read_until(b"Ctrl-C")
        process.interrupt()
        status, out, err = process.end()

    assert (status, err) == (130, b"")
    assert re.findall(r"-p ([\w/-]+)@http://127.0.0.1:\d+", out.decode()) == [
        "openai-compatible/promo",
        "anthropic/steady",
        "openai-responses-ws/patient",
    ]


@pytest.mark.parametrize("module", ["click", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(module: str) -> None:
    script = f"import sys; sys.modules[{module!r}] = None; from g4ftrio.cli import main; sys.exit(main(['race', 'hi']))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, cwd=Path.cwd())

    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.decode() == f"g4ftrio: the command line needs {module}: pip install 'g4ftrio[cli]'\n"
