"""Content codings. Nobody asks for one (``Accept-Encoding: identity``), and some services pack all the same.

A little that was packed may become much: 64 KiB of gzip are up to 64 MiB. So an answer is unpacked a piece at a time,
as it is read, and whoever reads has limits for what comes. Codings that cannot be unpacked like that are refused.
"""

from __future__ import annotations

import zlib
from math import inf

from g4ftrio._words.errors import APIResponseValidationError, TruncatedError
from g4ftrio.transports._bodies import Body

__all__ = ("unpacked",)

_PIECE = 65_536  # bytes that are unpacked at once
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's ``wbits``
_RAW = -15
_ZLIB = 8  # the lower half of a zlib stream's first byte; some services send deflate's bytes without zlib's around them
_REFUSED = frozenset({"br", "compress", "x-compress", "zstd"})


def unpacked(body: Body, codings: str) -> Body:
    """Give the body as it was before it was packed. A coding that nobody knows is none: services send ``utf-8``, too.

    :param codings: the value of ``Content-Encoding``, empty where there is none
    """
    named = [coding for each in codings.lower().split(",") if (coding := each.strip()) in {*_WINDOWS, *_REFUSED}]
    return _Unpacked(body, named) if named else body


class _Unpacked:
    """What a packed body holds."""

    __slots__ = ("_body", "_codings", "_inflate", "_is_full", "_packed", "aclose", "close_now", "repeatable")

    def __init__(self, body: Body, codings: list[str]) -> None:
        self._body = body
        self._codings = codings
        self._inflate: zlib._Decompress | None = None
        self._packed = b""
        self._is_full = False  # zlib may hold back what did not go into the last piece
        self.aclose, self.close_now = body.aclose, body.close_now
        self.repeatable = getattr(body, "repeatable", True)

    async def pull(self, until: float = inf) -> bytes:
        """Give the next piece; none at the end. What follows the packed bytes is passed over.

        :raises APIResponseValidationError: it is packed otherwise than it says, or as nobody can unpack it here
        :raises TruncatedError: it ends too early
        """
        if len(self._codings) > 1 or self._codings[0] in _REFUSED:
            said = ", ".join(self._codings)
            raise APIResponseValidationError(f"its body is packed as {said!r}, which was not asked for")
        while not (piece := self._unpack()):
            self._packed = await self._body.pull(until)
            if not self._packed:
                return self._end()
        return piece

    def _unpack(self) -> bytes:
        if not (self._packed or self._is_full):
            return b""
        inflate = self._inflate = self._inflate or self._begin()
        if inflate.eof:
            return b""
        try:
            piece = inflate.decompress(self._packed, _PIECE)
        except zlib.error as error:
            raise APIResponseValidationError("its compressed body cannot be unpacked") from error
        self._packed = inflate.unconsumed_tail
        self._is_full = len(piece) == _PIECE
        return piece

    def _begin(self) -> zlib._Decompress:
        is_raw = self._codings[0] == "deflate" and self._packed[0] & 0x0F != _ZLIB
        return zlib.decompressobj(_RAW if is_raw else _WINDOWS[self._codings[0]])

    def _end(self) -> bytes:
        if self._inflate is not None and not self._inflate.eof:
            raise TruncatedError("its compressed body ends too early")
        return b""
