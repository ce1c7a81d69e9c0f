"""What can be written behind ``bench``: how much is asked, of what, and where the result goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from g4ftrio._words.bill import check_prices
from g4ftrio.bench import (
    Bursts,
    Constant,
    Goals,
    Load,
    Poisson,
    Prompts,
    Ramp,
    Sweep,
    Users,
    made_up,
    prompts,
    read_trace,
)
from g4ftrio.bench._options import RunOptions
from g4ftrio.cli._bench import Order
from g4ftrio.cli._entrants import from_environment
from g4ftrio.cli._options import check_specs
from g4ftrio.cli._prompt import read_prompt
from g4ftrio.cli._result import Files

__all__ = ("benches", "order_of", "saves")

Number = TypeVar("Number", int, float)
Command = TypeVar("Command", bound=Callable[..., Any])

_COUNT = 20  # requests to each where nothing says when to end: they may cost money
_PROMPT = "Why is the sky blue?"
_STEP = 10.0  # seconds of a sweep's step


class _Unreadable(Exception):
    """What is written is none of the form."""


def _users(written: str, _: float | None) -> Load:
    return Users(_number(written, int))


def _bursts(written: str, _: float | None) -> Load:
    rate, shape = _numbers(written, ":", 2)
    return Bursts(rate, shape)


def _ramp(written: str, duration: float | None) -> Load:
    start, stop = _numbers(written, ":", 2)
    if duration is None:
        raise click.UsageError("--ramp needs --duration SECONDS, in which it goes from A to B")
    return Ramp(start, stop, duration)


def _sweep(written: str, duration: float | None) -> Load:
    rates = tuple(_numbers(written, ",", None))
    return Sweep(rates, _STEP if duration is None else duration / len(rates))


_LOADS: Mapping[str, tuple[str, str, Callable[[str, float | None], Load]]] = {
    "users": (
        "N",
        "So many users of each, who ask again when they have the answer; 4 if nothing else is said.",
        _users,
    ),
    "rate": ("R", "R requests a second to each, evenly.", lambda written, _: Constant(_number(written, float))),
    "poisson": ("R", "R requests a second to each, at random.", lambda written, _: Poisson(_number(written, float))),
    "bursts": ("R:SHAPE", "Likewise in bursts; the nearer SHAPE is to 0, the burstier. 1 is Poisson.", _bursts),
    "ramp": ("A:B", "From A requests a second to B, within --duration.", _ramp),
    "sweep": ("R,R,R", "One rate after another, 10 s each or --duration together: which one is held?", _sweep),
    "trace": ("FILE", "At the times in a JSONL or CSV file.", lambda written, _: read_trace(written)),
}


def order_of(given: dict[str, Any]) -> Order:
    """Make an order of what a command line gives.

    :raises click.UsageError: options that cannot be used together, or one that cannot be read
    :raises SetupError: prompts that cannot be read
    """
    duration, count = given["duration"], given["count"]
    load = _load(given, duration)
    if isinstance(load, Sweep):
        duration = None  # it is that of the steps
    if count is None and duration is None and load.is_endless:
        count = _COUNT
    options = RunOptions(
        count=count,
        duration=duration,
        warmup=given["warmup"],
        max_error_share=given["max_errors"],
        max_cost=given["max_cost"],
        cancel_share=given["cancel"],
        allow_cache=given["allow_cache"],
        seed=given["seed"],
    )
    kept = ("model", "params", "timeout", "policy", "goals", "verify_policies", "dry_run", "quiet", "jsonl_to", "races")
    return Order(
        specs=given["specs"] or (() if given["races"] else from_environment()),
        load=load,
        prompts=_prompts(given),
        prices={**given["prices"], **dict(map(_price, given["price"]))},
        options=options,
        files=Files(**{name: given[name] for name in Files.__struct_fields__}),
        **{name: given[name] for name in kept},
    )


def _prompts(given: dict[str, Any]) -> Prompts:
    sources = {"PROMPT": given["prompt"], "--prompts": given["prompts"], "--prompt-words": given["prompt_words"]}
    chosen = {name: value for name, value in sources.items() if value is not None}
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} cannot be used together: choose one")
    most = given["max_tokens"]
    match chosen:
        case {"--prompts": "-"}:
            return prompts(sys.stdin, max_tokens=most)
        case {"--prompts": path}:
            return prompts(Path(path), max_tokens=most)
        case {"--prompt-words": words}:
            return made_up(words, max_tokens=most, seed=given["seed"])
        case {"PROMPT": words}:
            return prompts(read_prompt(words) if words == "-" else words, max_tokens=most)
    return prompts(_PROMPT, max_tokens=most)


def _load(given: dict[str, Any], duration: float | None) -> Load:
    written = {name: given[name] for name in _LOADS}
    chosen = {name: text for name, text in written.items() if text is not None} or {"users": "4"}
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(f'--{name}' for name in chosen)} cannot be used together: choose one")
    ((name, text),) = chosen.items()
    form, _, read = _LOADS[name]
    try:
        return read(text, duration)
    except _Unreadable:
        raise click.UsageError(f"--{name} {text}: write --{name} {form}") from None
    except ValueError as error:
        raise click.UsageError(f"--{name} {text}: {error}") from None


def _numbers(written: str, between: str, count: int | None) -> list[float]:
    read = [_number(each, float) for each in written.split(between)]
    if count is not None and len(read) != count:
        raise _Unreadable
    return read


def _number(written: str, kind: Callable[[str], Number]) -> Number:
    try:
        return kind(written)
    except ValueError:
        raise _Unreadable from None


def _goals(ctx: click.Context, param: click.Parameter, written: tuple[str, ...]) -> Goals:
    """Read ``first_token=0.5``."""
    names = Goals.__struct_fields__
    read = {}
    for each in written:
        name, _, seconds = each.partition("=")
        if name not in names:
            raise click.BadParameter(f"{each!r} is not NAME=SECONDS, with a NAME out of {', '.join(names)}", ctx, param)
        read[name] = _positive(ctx, param, seconds)
    return Goals(**read)


def _price(written: str) -> tuple[str, tuple[float, float]]:
    """Read ``openai/gpt-5-mini=0.25,2``."""
    name, _, pair = written.rpartition("=")
    try:
        read, made = _numbers(pair, ",", 2)
    except _Unreadable:
        raise click.UsageError(f"--price {written}: write --price SPEC=IN,OUT, for a million tokens each") from None
    return name, (read, made)


def _prices(ctx: click.Context, param: click.Parameter, path: Path | None) -> dict[str, tuple[float, float]]:
    if path is None:
        return {}
    try:
        return check_prices(msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[float, float]]))
    except (OSError, ValueError, RecursionError):
        said = f'{path} is no file of prices: {{"openai/gpt-5-mini": [0.25, 2]}}, for a million tokens each'
        raise click.BadParameter(said, ctx, param) from None


def _positive(ctx: click.Context, param: click.Parameter, written: str | None) -> float | None:
    if written is None:
        return None
    try:
        seconds = float(written)
    except ValueError:
        seconds = 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise click.BadParameter(f"{written!r} is not a number of seconds above 0", ctx, param)
    return seconds


def _picture(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in (".svg", ".png"):
        raise click.BadParameter(f"{str(path)!r} ends neither in .svg nor in .png", ctx, param)
    return path


def _file(name: str, told: str, **more: Any) -> Callable[[Command], Command]:
    return click.option(f"--{name}", f"{name}_to", type=click.Path(path_type=Path), metavar="FILE", help=told, **more)


_SAVING = (
    _file("json", "Write the summary as JSON; - is standard output."),
    _file("csv", "Write a row for each request."),
    _file("html", "Write a page with plots that needs nothing else."),
    _file("plot", "Write the main plots, as .svg or .png.", callback=_picture),
)

_RACE = click.option(
    "--race",
    "races",
    multiple=True,
    callback=check_specs,
    metavar="SPEC,SPEC",
    help="A race to ask as well; repeat it.",
)

_LOADING = tuple(click.option(f"--{name}", name, metavar=form, help=told) for name, (form, told, _) in _LOADS.items())

_AMOUNT = (
    click.option("--count", type=click.IntRange(min=1), metavar="N", help="Requests to each; 20 if nothing ends it."),
    click.option("--duration", callback=_positive, metavar="SECONDS", help="Send requests for so long."),
    click.option(
        "--warmup",
        type=click.FloatRange(min=0),
        default=0,
        metavar="N",
        help="What does not count at first: seconds with --duration, else requests to each.",
    ),
    click.option("--max-errors", type=click.FloatRange(0, 1), metavar="SHARE", help="End it if more than that fail."),
    click.option(
        "--price",
        multiple=True,
        metavar="SPEC=IN,OUT",
        help="What a million tokens cost, read and written; repeat it.",
    ),
    click.option(
        "--prices",
        type=click.Path(path_type=Path),
        callback=_prices,
        metavar="FILE",
        help='Prices as JSON: {"openai/gpt-5-mini": [0.25, 2]}',
    ),
    click.option("--max-cost", type=click.FloatRange(min=0), metavar="SUM", help="Send nothing that might cost more."),
    click.option(
        "--cancel", type=click.FloatRange(0, 1), default=0, metavar="SHARE", help="Break off that many early."
    ),
    click.option(
        "--goal",
        "goals",
        multiple=True,
        callback=_goals,
        metavar="NAME=SECONDS",
        help="What a good answer keeps, first_token=0.5 say.",
    ),
)

_ASKED = (
    click.option("--prompts", type=click.Path(allow_dash=True), metavar="FILE", help="A prompt a line, or JSONL."),
    click.option("--prompt-words", type=click.IntRange(min=1), metavar="N", help="Make up prompts of so many words."),
    click.option("--allow-cache", is_flag=True, help="Ask the prompts as they are, which a service may have cached."),
    click.option("--seed", type=int, default=0, metavar="N", help="What all that is random is drawn from."),
)

_EXTRA = (
    click.option("--verify-policies", is_flag=True, help="Race for real what was estimated; it costs more requests."),
    click.option("-q", "--quiet", is_flag=True, help="Show nothing while it runs."),
    click.option("--dry-run", is_flag=True, help="Say what would be sent, and end."),
    _file("jsonl", "Write a line for each request as it ends: the raw truth, to report on later."),
)


def benches(command: Command) -> Command:
    """Give a command the options of a run."""
    for option in reversed((_RACE, *_LOADING, *_AMOUNT, *_ASKED, *_EXTRA)):
        command = option(command)
    return command


def saves(command: Command) -> Command:
    """Give a command the options that say where its result goes."""
    for option in reversed(_SAVING):
        command = option(command)
    return command
