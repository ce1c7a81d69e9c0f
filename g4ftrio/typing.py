"""The types that signatures of providers are written with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeAlias

from g4ftrio._words.chunks import Chunk
from g4ftrio._words.messages import MediaItem, Messages

__all__ = ("AsyncResult", "Chunk", "CreateResult", "Media", "Messages")

AsyncResult: TypeAlias = AsyncIterator[Chunk]  # what ``create_async_generator`` gives
CreateResult: TypeAlias = Iterator[Chunk]  # what ``create_completion`` gives
Media: TypeAlias = Sequence[MediaItem]  # URLs, paths or bytes, each alone or with a file name
