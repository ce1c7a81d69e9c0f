"""The commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from g4ftrio._words.errors import Error, SetupError
from g4ftrio.cli._bench import bench as measure, report as tell_again
from g4ftrio.cli._demo import fleet_of
from g4ftrio.cli._drawing import coloured, plain, plot as write_plot, saved
from g4ftrio.cli._entrants import from_environment
from g4ftrio.cli._failure import FAILED, USAGE, exit_status, in_words
from g4ftrio.cli._listing import columns, declared, models as list_models
from g4ftrio.cli._load import benches, order_of, saves
from g4ftrio.cli._options import asks, asks_often, check_specs, loop, plot
from g4ftrio.cli._output import Output
from g4ftrio.cli._prompt import read_prompt
from g4ftrio.cli._result import Files
from g4ftrio.cli._run import Order, Run
from g4ftrio.cli._screen import choose
from g4ftrio.cli._signals import until_interrupted
from g4ftrio.cli._simulate import simulate as run_fleet
from g4ftrio.simulator import FAULTS
from g4ftrio.simulator._dialects import DIALECTS, SOCKETS

__all__ = ("run",)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and give the exit status; a wrong use is one line on standard error."""
    try:
        status = cli.main(list(arguments), prog_name="g4ftrio", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _refuse(error, _advised(error), arguments)
    except Error as error:
        return _refuse(error, in_words(error), arguments)


class _Commands(click.Group):
    """Commands of which some have a second word."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, by its two words first."""
        name = " ".join(args[:2])
        if len(args) > 1 and name in self.commands:
            return name, self.commands[name], args[2:]
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="g4ftrio")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Ask several language models at once, and stream from the first that gives a clean chunk.

    The answer goes to standard output, everything else to standard error. The exit status is 0, 1 if no provider
    answered, 2 for a wrong use, 130 after Ctrl-C.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
    return USAGE


@cli.command()
@asks("parallel")
@click.pass_context
def race(ctx: click.Context, /, **given: Any) -> int:
    """Ask all at once; the first clean chunk wins, the others are dropped."""
    return _ask(ctx, **given)


@cli.command()
@asks("staggered:2")
@click.pass_context
def ask(ctx: click.Context, /, **given: Any) -> int:
    """Ask one, and the next where it fails or takes longer than two seconds."""
    return _ask(ctx, **given)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list.")
def providers(*, as_json: bool) -> int:
    """List who can be asked, where, and whether there is a key; a key itself is never shown."""
    rows = declared()
    click.echo(json.dumps(rows) if as_json else columns(rows), nl=as_json)
    return 0


@cli.command()
@asks_often
@benches
@saves
def bench(**given: Any) -> int:
    """Measure providers side by side, and races of them.

    Each is asked the same, in turns. What came of it is a table on standard output, and whatever the options below
    write; Ctrl-C ends it early, and tells what was measured. `g4ftrio bench report FILE...` tells it again, and
    compares runs.
    """
    loop = given.pop("loop")
    return measure(order_of(given), loop)


@cli.command("bench report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@saves
def bench_report(files: Sequence[Path], **given: Any) -> int:
    """Tell what came of runs that --jsonl wrote down; of several, how they compare."""
    return tell_again(files, Files(**given))


@cli.command()
@click.argument("spec", callback=check_specs)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list.")
@loop
def models(spec: str, *, as_json: bool, loop: str) -> int:
    """List the models that a provider offers now."""
    return _on(loop, partial(list_models, spec, Output(sys.stdout), as_json=as_json))


@cli.command()
@click.argument("file")
@plot
def report(file: str, *, plot: Path | None) -> int:
    """Draw a race whose report was saved: FILE is what --json wrote, - is standard input."""
    from rich.console import Console

    race = saved(file)
    if plot is not None:
        fault = write_plot(race, plot)
        click.echo(f"g4ftrio: {fault}" if fault else f"{plot} shows the race", err=True)
        return FAILED if fault else 0
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(coloured(race, console.width, console.encoding))
    else:
        click.echo(plain(race, sys.stdout), nl=False)
    return 0


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="The first service's port.")
@click.option("--fault", "faults", multiple=True, metavar="NAME:FAULT", help="What goes wrong with a service.")
@click.option(
    "--dialect",
    "dialects",
    multiple=True,
    metavar="[NAME:]DIALECT",
    help=f"What a service speaks, or all do: {', '.join((*DIALECTS, *SOCKETS))}.",
)
@click.option("--seed", type=int, default=0, metavar="N", help="What the times and answers are drawn from.")
@click.option("--faults", "lists_faults", is_flag=True, help="List the faults, and end.")
@loop
def simulate(
    *, port: int, faults: Sequence[str], dialects: Sequence[str], seed: int, lists_faults: bool, loop: str
) -> int:
    """Run simulated providers until Ctrl-C, and write the command that races them.

    FAULT may be followed by settings, as in steady:cut,after=3; none makes a service well.
    Without --dialect each service has its own wire, one of them over a WebSocket.
    """
    if lists_faults:
        click.echo("".join(f"{name:<16}  {effect}\n" for name, effect in FAULTS.items()), nl=False)
        return 0
    return _on(loop, partial(run_fleet, fleet_of(faults, seed, dialects), port, Output(sys.stdout)))


def _ask(
    ctx: click.Context,
    *,
    prompt: str | None,
    specs: Sequence[str],
    everyone: bool,
    params: dict[str, Any],
    max_tokens: int | None,
    loop: str,
    quiet: bool,
    **given: Any,
) -> int:
    if everyone and specs:
        raise SetupError("--all and -p cannot be used together: name everybody, or nobody")
    if max_tokens is not None:
        params = {**params, "max_tokens": max_tokens}
    order = Order(
        prompt=read_prompt(prompt),
        specs=specs or from_environment(),
        everyone=everyone,
        params=params,
        command=ctx.command_path,
        **given,
    )
    return _on(loop, Run(order, Output(sys.stdout), choose(quiet=quiet, reasoning=order.reasoning)))


def _on(loop: str, work: Callable[[], Awaitable[int]]) -> int:
    return anyio.run(until_interrupted, work, backend=loop)


def _advised(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "g4ftrio"
    return f"{error.format_message().rstrip('.')} (see `{where} --help`)"


def _refuse(error: Exception, words: str, arguments: Sequence[str]) -> int:
    words = " ".join(words.split())
    print(f"g4ftrio: {words}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": {"type": type(error).__name__, "message": words}, "report": None}))
    return exit_status(error) if isinstance(error, Error) else USAGE
