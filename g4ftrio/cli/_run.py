"""One race from the command line: the answer to standard output, what becomes of it to the screen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from g4ftrio._compositions.course import RaceContext
from g4ftrio._compositions.race import Race
from g4ftrio._race.policies import Policy
from g4ftrio._streams.stream import RaceStream
from g4ftrio._words.chunks import Chunk, Reasoning, ToolCalls
from g4ftrio._words.report import RaceReport
from g4ftrio._words.timeouts import Timeout
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.cli._demo import as_providers
from g4ftrio.cli._drawing import plot
from g4ftrio.cli._entrants import announcement, hint, named, whatever_was_found
from g4ftrio.cli._failure import FAILED, as_dict, exit_status, in_words, output_status
from g4ftrio.cli._output import Output
from g4ftrio.cli._screen import Screen
from g4ftrio.simulator import DEMO, serve

__all__ = ("Order", "Run")

_GRACE = 0.5  # seconds that a provider has to close; after Ctrl-C everything is over within one


class Order(Struct, kw_only=True, frozen=True):
    """What a command line asks for.

    :ivar specs: whom to ask; nobody is the simulated fleet
    :ivar everyone: ask whoever is found
    :ivar report: draw the race on standard error
    :ivar plot: draw it into this file
    :ivar state: what is known of the providers, from one call to the next
    :ivar command: how to call the command, for advice
    """

    prompt: str
    policy: Policy
    timeout: Timeout
    params: dict[str, Any]
    specs: Sequence[str] = ()
    everyone: bool = False
    model: str | None = None
    system: str | None = None
    as_json: bool = False
    reasoning: bool = False
    report: bool = False
    plot: Path | None = None
    state: Path | None = None
    command: str = "g4ftrio race"


class Run:
    """One race, from the choice of the entrants to the exit status."""

    def __init__(self, order: Order, output: Output, screen: Screen) -> None:
        self._order = order
        self._output = output
        self._screen = screen
        self._stream: RaceStream | None = None
        self._error: Exception | None = None
        self._undrawn = 0

    async def __call__(self) -> int:
        """Ask, write the answer, and give the exit status."""
        try:
            return await self._ask()
        except Exception as error:  # noqa: BLE001  # a wrong set-up, or what the set-up of a foreign provider raises
            self._screen.tell(f"g4ftrio: {in_words(error)}")
            if self._order.as_json:
                await self._output.write(_as_line({"error": as_dict(error), "report": None}))
            return exit_status(error)

    async def _ask(self) -> int:
        order = self._order
        if order.everyone:
            return await self._race(await whatever_was_found(order.model, self._screen.note))
        if order.specs:
            return await self._race(named(order.specs, order.model))
        self._screen.note(await hint(order.command))
        async with serve(DEMO) as fleet:
            return await self._race(as_providers(fleet))

    async def _race(self, entrants: Sequence[AbstractProvider]) -> int:
        order = self._order
        self._screen.note(announcement(entrants))
        async with Race(entrants, policy=order.policy, grace=_GRACE, state=order.state) as llm:
            return await self._follow(
                llm.stream(order.prompt, model=order.model, system=order.system, timeout=order.timeout, **order.params)
            )

    async def _follow(self, context: RaceContext) -> int:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._screen.follow, context)
                await self._read(context)
                tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_GRACE, shield=True):
                await self._end(context.report, "interrupted")
            raise
        error = self._error
        await self._end(context.report, in_words(error, brief=self._screen.tells_failures) if error else "")
        return output_status(self._output.error) or (exit_status(error) if error else self._undrawn)

    async def _read(self, context: RaceContext) -> None:
        """Enter the race, and write the answer as it comes; what goes wrong is kept."""
        try:
            async with context as self._stream:
                self._screen.decided(context.report)
                while batch := await self._stream.pull():
                    if not await self._show(batch):
                        return
        except Exception as error:  # noqa: BLE001  # a provider of another package may raise anything
            self._error = error

    async def _show(self, batch: list[Chunk]) -> bool:
        """Write what a read brought; tell whether there is still somebody to read more."""
        text = ""
        for chunk in batch:
            if isinstance(chunk, Reasoning | ToolCalls):
                await self._write(text)
                text = ""
                await self._show_beside(chunk)
            else:
                text += str(chunk)
        return await self._write(text)

    async def _show_beside(self, chunk: Reasoning | ToolCalls) -> None:
        """Write what is no text of the answer to standard error."""
        if isinstance(chunk, Reasoning):
            if self._order.reasoning:
                self._screen.think(chunk.text)
        elif not self._order.as_json:
            await self._output.end_line()
            for call in chunk.calls:
                self._screen.tell(msgspec.json.encode(call).decode())

    async def _write(self, text: str) -> bool:
        if self._order.as_json or not text:
            return self._output.error is None
        self._screen.answer_goes_on()
        return await self._output.write(text)

    async def _end(self, report: RaceReport, error: str) -> None:
        """End the answer's last line, and show what has become of everybody."""
        self._screen.answer_goes_on()
        await self._output.end_line()
        self._screen.finish(report, self._stream.finish_reason if self._stream else None)
        if error:
            self._screen.tell(f"g4ftrio: {error}")
        self._draw(report)
        if self._order.as_json:
            told = self._error or (KeyboardInterrupt(error) if error else None)
            await self._output.write(_as_line(self._result(report, told)))

    def _draw(self, report: RaceReport) -> None:
        """Draw the race where that is wanted, and there was one."""
        if self._order.report and report.entrants:
            self._screen.draw(report)
        if self._order.plot and report.entrants and (fault := plot(report, self._order.plot)):
            self._screen.tell(f"g4ftrio: {fault}")
            self._undrawn = FAILED

    def _result(self, report: RaceReport, error: BaseException | None) -> dict[str, Any]:
        stream = self._stream
        result: dict[str, Any] = {} if error is None else {"error": as_dict(error)}
        if stream is not None:
            result |= {
                "text": stream.text,
                "winner": stream.winner,
                "model": stream.model,
                "finish_reason": stream.finish_reason,
                "usage": msgspec.to_builtins(stream.usage),
                "tool_calls": msgspec.to_builtins(stream.tool_calls),
            }
        return {**result, "report": report.to_dict()}


def _as_line(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False) + "\n"
