"""Who can be asked, and for which models."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from g4ftrio import providers
from g4ftrio._words.printable import on_one_line
from g4ftrio._words.secrets import shown
from g4ftrio.base_provider import AbstractProvider
from g4ftrio.cli._failure import as_dict, exit_status, in_words, output_status
from g4ftrio.cli._found import address_of, key_in
from g4ftrio.cli._output import Output
from g4ftrio.providers import HttpProvider

__all__ = ("columns", "declared", "models")


def declared() -> list[dict[str, Any]]:
    """Describe every provider: where it is, what it speaks, and whether its key is set; never the key."""
    return [_described(label, cls) for label, cls in providers.known().items()]


def columns(rows: Sequence[dict[str, Any]]) -> str:
    """Set what ``declared`` gives as a table."""
    cells = [("PROVIDER", "ADDRESS", "KEY", "SET", "WIRE"), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)


async def models(spec: str, output: Output, *, as_json: bool) -> int:
    """Write a provider's models, a line each or as a JSON list, and give the exit status."""
    try:
        names = await providers.resolve(spec).list_models()
    except Exception as error:  # noqa: BLE001  # a provider of another package may raise anything
        print(f"g4ftrio: {in_words(error)}", file=sys.stderr)
        if as_json:
            await output.write(json.dumps({"error": as_dict(error)}) + "\n")
        return exit_status(error)
    await output.write(json.dumps(names) + "\n" if as_json else "".join(f"{on_one_line(name)}\n" for name in names))
    return output_status(output.error)


def _described(label: str, cls: type[AbstractProvider]) -> dict[str, Any]:
    return {
        "label": label,
        "address": shown(address_of(cls())),
        "key_variables": list(getattr(cls, "key_variables", ())),
        "key_is_set": bool(key_in(cls)),
        "needs_key": cls.needs_auth,
        "base_variables": list(getattr(cls, "base_variables", ())),
        "wire": type(cls.dialect).__name__ if issubclass(cls, HttpProvider) else "",
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    variables = row["key_variables"]
    is_set = "yes" if row["key_is_set"] else "no" if row["needs_key"] else "not needed"
    return row["label"], row["address"] or "-", " or ".join(variables) or "-", is_set, row["wire"] or "-"
