"""The processes that a benchmark runs: the server, and the workers that ask it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from environments import Certificate, Environment
from peers import Peer

__all__ = ("Stage",)

HERE = Path(__file__).resolve().parent
PATIENCE = 300  # seconds that one sample may take


class Process:
    """A worker, driven over its pipes.

    :ivar refusal: why it can do nothing, if that is so
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in ``close``
        self._process = subprocess.Popen(
            command, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self.refusal: str | None = None
        self.refusal = self._answer().get("cannot")

    def ask(self, question: str, job: Mapping[str, Any]) -> dict[str, Any]:
        """Have a job done: gives ``figures``, or why it ``cannot``."""
        if self.refusal:
            return {"cannot": self.refusal}
        with suppress(BrokenPipeError):  # its death is what the answer tells
            print(json.dumps({"question": question, "job": job}), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select((output,), (), (), PATIENCE)
        if line := output.readline() if ready else "":
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.kill()
        self.refusal = f"its process died{self._last_words()}" if ready else f"it took more than {PATIENCE} s"
        return {"cannot": self.refusal}

    def _last_words(self) -> str:
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").split()
        return f": ... {' '.join(words[-20:])}" if words else ""

    def close(self) -> None:
        """Let it end."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()


class Stage:
    """The server, and a worker for each peer and loop; ``close`` ends them.

    :param environments: where the peers are installed, by the name of the environment
    :param certificate: the server's
    """

    def __init__(self, environments: Mapping[str, Environment], certificate: Certificate) -> None:
        self._environments = environments
        self._workers: dict[tuple[str, str], Process] = {}
        self._environ = {**os.environ, "SSL_CERT_FILE": str(certificate.trust)}
        command = [sys.executable, str(HERE / "server.py"), str(certificate.chain), str(certificate.key)]
        self._server = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        self._ports = self._server.stdout.readline().strip()

    def ask(self, question: str, peer: Peer, loop: str, job: Mapping[str, Any], *, fresh: bool) -> dict[str, Any]:
        """Take a sample.

        :param fresh: in a new process
        """
        if fresh:
            with closing(self._start(peer, loop)) as worker:
                return worker.ask(question, job)
        worker = self._workers.get((peer.name, loop)) or self._start(peer, loop)
        self._workers[peer.name, loop] = worker
        answer = worker.ask(question, job)
        if worker.refusal:  # another question may be asked of a new one
            self._workers.pop((peer.name, loop)).close()
        return answer

    def _start(self, peer: Peer, loop: str) -> Process:
        python = self._environments[peer.environment].python
        command = [python, str(HERE / "worker.py"), peer.client, loop, self._ports]
        return Process(command, {**self._environ, **peer.environ})

    def close(self) -> None:
        """Let all processes end."""
        for worker in self._workers.values():
            worker.close()
        self._server.communicate()
