"""What a race has learned, in a file: small, for the user alone, written whole or not at all.

It is ``{"g4ftrio": 1, "saved_at": ..., "health": {...}, "policy": {...}}``, times by the wall clock. To lose
it costs some requests that take longer, so what goes wrong is logged and never raised.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from anyio import current_time, to_thread
from msgspec import Meta, Struct, field

from g4ftrio._resilience.health import Health
from g4ftrio._timeline import to_timeline

__all__ = ("load_state", "save_state")

_VERSION = 1
_MAX_SIZE = 1 << 20  # bytes

_log = logging.getLogger("g4ftrio")


class _File(Struct, forbid_unknown_fields=True):
    version: int = field(name="g4ftrio")
    saved_at: Annotated[float, Meta(ge=0, le=1e11)]
    health: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)


async def save_state(path: str | os.PathLike[str], health: Health, policy: object) -> None:
    """Write what is known of providers, and what the policy has learned if it has a ``state()``."""
    now = time.time()
    shift = now - current_time() - to_timeline()
    learned: Callable[[], dict[str, Any]] | None = getattr(policy, "state", None)
    kept = _File(_VERSION, now, health.state(shift), learned() if learned is not None else {})
    await to_thread.run_sync(_write, Path(path), msgspec.json.encode(kept))


async def load_state(path: str | os.PathLike[str], health: Health, policy: object) -> None:
    """Take over what such a file holds; one that is not there, is broken or is not ours changes nothing."""
    found = await to_thread.run_sync(_read, Path(path))
    if found is None:
        return
    now = current_time() + to_timeline()
    restore: Callable[[dict[str, Any]], None] | None = getattr(policy, "restore", None)
    try:
        health.restore(found.health, time.time() - now, now)
        if restore is not None and found.policy:
            restore(found.policy)
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # msgspec's ValidationError is the first
        _log.warning("%s was not used: %s", path, error)


def _read(path: Path) -> _File | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
        if len(data) > _MAX_SIZE:
            raise ValueError("it is larger than 1 MiB")
        found = msgspec.json.decode(data, type=_File)
        if found.version != _VERSION:
            raise ValueError(f"it is of version {found.version}, and this is {_VERSION}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s was not used: %s", path, getattr(error, "strerror", None) or error)
        return None
    return found


def _write(path: Path, data: bytes) -> None:
    from tempfile import mkstemp

    new: Path | None = None
    try:
        if len(data) > _MAX_SIZE:
            raise ValueError("it would be larger than 1 MiB")
        handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by the user alone
        new = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, ValueError) as error:
        _log.warning("%s was not written: %s", path, getattr(error, "strerror", None) or error)
        if new is not None:
            with suppress(OSError):
                new.unlink()
