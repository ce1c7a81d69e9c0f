"""What can be written behind a command: types that read it, and the options that several commands have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from g4ftrio._race.policies import Policy, adaptive, fallback, parallel, staggered
from g4ftrio._words.request import check_params
from g4ftrio._words.secrets import in_address
from g4ftrio._words.timeouts import Timeout
from g4ftrio.cli._drawing import check_plot

__all__ = ("asks", "asks_often", "check_specs", "loop", "plot")

_ON_VIEW = "what stands on a command line can be read by all users of this machine, and later in the shell's history"

Command = TypeVar("Command", bound=Callable[..., Any])

_PLAIN: dict[str, Callable[[], Policy]] = {"parallel": parallel, "fallback": fallback, "adaptive": adaptive}
_NUMBERED: dict[str, Callable[[float], Policy]] = {"staggered": staggered, "adaptive": adaptive}


def _policy(ctx: click.Context, param: click.Parameter, written: str) -> Policy:
    """Read ``parallel``, ``fallback``, ``staggered:SECONDS``, ``adaptive`` or ``adaptive:PERCENTILE``."""
    if written in _PLAIN:
        return _PLAIN[written]()
    name, _, number = written.partition(":")
    if name not in _NUMBERED:
        known = "parallel, staggered:SECONDS, adaptive[:PERCENTILE] and fallback"
        raise click.BadParameter(f"{written!r} is none of {known}", ctx, param)
    try:
        return _NUMBERED[name](float(number))
    except ValueError:
        said = "write the head start in seconds, staggered:2, or the percentile from 0 to 1, adaptive:0.9"
        raise click.BadParameter(f"{written!r}: {said}", ctx, param) from None


def _timeout(ctx: click.Context, param: click.Parameter, written: str | None) -> Timeout:
    try:
        return Timeout.of(None if written is None else float(written))
    except ValueError:
        raise click.BadParameter(f"{written!r} is not a number of seconds; 0 is no limit", ctx, param) from None


def _params(ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    read = {name: _value(text) for name, text in pairs}
    if "extra_headers" in read:
        raise click.BadParameter(f"extra_headers is for programs: {_ON_VIEW}", ctx, param)
    try:
        check_params(read)
    except TypeError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return read


def _value(text: str) -> Any:
    """Read JSON; what is none stands for itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def check_specs(ctx: click.Context, param: click.Parameter, specs: Any) -> Any:
    """See that no spec has a password or a key in its address.

    :raises click.BadParameter: one has
    """
    written = (specs,) if isinstance(specs, str) else specs
    if any(secret for spec in written for secret in in_address(spec)):
        raise click.BadParameter(
            f"there is a password or a key in the address: {_ON_VIEW}. Put the address into $G4FTRIO_PROVIDERS,"
            " or into the variable that `g4ftrio providers --json` names for it",
            ctx,
            param,
        )
    return specs


def _plot(ctx: click.Context, param: click.Parameter, written: str | None) -> Path | None:
    try:
        return None if written is None else check_plot(written)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


plot = click.option("--plot", callback=_plot, metavar="FILE", help="Draw the race into an SVG file.")

loop = click.option(
    "--loop",
    "--backend",
    "loop",
    type=click.Choice(["trio", "asyncio"]),
    default="trio",
    show_default=True,
    help="The event loop.",
)

_ASKING = (
    click.argument("prompt", required=False),
    click.option(
        "-p",
        "--provider",
        "specs",
        multiple=True,
        callback=check_specs,
        metavar="SPEC",
        help="Whom to ask, provider[/model][@base_url]; repeat it. Else $G4FTRIO_PROVIDERS, else a simulated fleet.",
    ),
    click.option("--all", "everyone", is_flag=True, help="Ask every provider with a key or a server on this machine."),
    click.option("-m", "--model", metavar="MODEL", help="The model where a SPEC names none."),
    click.option("-s", "--system", metavar="TEXT", help="A system message."),
    click.option(
        "-o",
        "--option",
        "params",
        type=(str, str),
        multiple=True,
        callback=_params,
        metavar="NAME VALUE",
        help="A parameter such as temperature, as JSON or else a string; repeat it.",
    ),
    click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="The longest answer."),
    click.option(
        "--timeout",
        callback=_timeout,
        metavar="SECONDS",
        help="The longest wait without progress, for each provider; 0 is no limit.",
    ),
    loop,
    click.option("--reasoning", is_flag=True, help="Show the model's reasoning on standard error."),
    click.option("--json", "as_json", is_flag=True, help="Write one JSON object with the answer and the report."),
    click.option("--report", is_flag=True, help="Draw the race below the answer, on standard error."),
    plot,
    click.option(
        "--state",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Start with what this file says of the providers' times and health, and keep it there.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show nothing of the race."),
)


# Those of them that hold for many requests too: the prompt, -p, -m, -o, --max-tokens, --timeout, and the loop.
_OFTEN = (*_ASKING[:2], _ASKING[3], *_ASKING[5:9])


def asks(policy: str) -> Callable[[Command], Command]:
    """Give a command the prompt and the options that go with it.

    :param policy: the one where the command line names none
    """
    return partial(_with, options=(*_ASKING[:3], _when(policy), *_ASKING[3:]))


def asks_often(command: Command) -> Command:
    """Give a command that asks many times the prompt, and those options that go with it."""
    return _with(command, options=(*_OFTEN, _when("parallel")))


def _when(policy: str) -> Callable[[Command], Command]:
    return click.option(
        "--policy",
        callback=_policy,
        default=policy,
        metavar="parallel|staggered:SECONDS|adaptive[:PERCENTILE]|fallback",
        show_default=True,
        help="When to ask the next one.",
    )


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
