"""The types that signatures of providers are written with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from os import PathLike
from typing import TypeAlias

from g4ftrio._chunks import Chunk
from g4ftrio._messages import Messages

__all__ = ("AsyncResult", "Chunk", "CreateResult", "Media", "Messages")

AsyncResult: TypeAlias = AsyncIterator[Chunk]  # what ``create_async_generator`` gives
CreateResult: TypeAlias = Iterator[Chunk]  # what ``create_completion`` gives

Source: TypeAlias = str | PathLike[str] | bytes  # an ``https:`` or ``data:`` URL, a path, or the bytes themselves
Media: TypeAlias = Sequence[Source | tuple[Source, str | None]]  # each alone, or with a file name
