"""Standard output, written without blocking the event loop, whoever reads it."""

from __future__ import annotations

import errno
import os
from typing import TextIO

from anyio import wait_writable
from anyio.lowlevel import checkpoint

from g4ftrio._words.printable import printable

__all__ = ("Output",)

_PIECE = 4096  # bytes; POSIX lets a pipe that is writable take at least 512 of them at once, Linux a page


class Output:
    """Where the answer goes.

    A plain ``write`` to a pipe whose reader is slow blocks the whole process, and with it Ctrl-C. So the text is
    written in pieces, each when there is room for it. What cannot be waited for, such as a file, does not block.

    :ivar is_terminal: whether control sequences have to be neutralised
    :ivar error: why writing ended, or None
    :ivar ends_line: whether what was written ends with a newline, or nothing was
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._can_wait = True
        self.is_terminal = stream is not None and stream.isatty()
        self.error = None if stream is not None else OSError(errno.EBADF, "it is closed")
        self.ends_line = True

    async def write(self, text: str) -> bool:
        """Write all of the text; tell whether there is still somebody to read more."""
        if text and self.error is None:
            self.ends_line = text.endswith("\n")
            try:
                await self._write(printable(text) if self.is_terminal else text)
            except OSError as error:
                self.error = error
        return self.error is None

    async def end_line(self) -> None:
        """Let what follows begin on a line of its own."""
        if not self.ends_line:
            await self.write("\n")

    async def _write(self, text: str) -> None:
        descriptor = self._descriptor()
        if descriptor is None:
            print(text, end="", file=self._stream, flush=True)
            return
        left = memoryview(text.encode(self._encoding, "replace"))
        while left:
            await self._room(descriptor)
            try:
                left = left[os.write(descriptor, left[:_PIECE]) :]
            except BlockingIOError:  # it was taken by somebody else who writes there
                await checkpoint()

    async def _room(self, descriptor: int) -> None:
        if self._can_wait:
            try:
                return await wait_writable(descriptor)
            except (OSError, NotImplementedError):
                self._can_wait = False
        return await checkpoint()

    def _descriptor(self) -> int | None:
        try:
            return self._stream.fileno() if self._stream else None
        except OSError:  # a stream that some program has put there
            return None
