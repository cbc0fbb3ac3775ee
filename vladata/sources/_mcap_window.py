"""A file read once in order through one buffer, digested on the way."""

import hashlib
from typing import BinaryIO

__all__ = ["EndOfFileError", "Window"]

SIZE = 4 << 20
"""Bytes of the buffer, unless more are asked for at once."""


class EndOfFileError(Exception):
    """The file has fewer bytes than were asked for."""


class Window:
    """Read a file once in order through one buffer, and digest what passes."""

    def __init__(self, file: BinaryIO, *, is_digested: bool) -> None:
        self._file = file
        self._buffer = memoryview(bytearray(SIZE))
        self._start = self._end = 0
        self.position = 0
        self._digest = hashlib.sha256() if is_digested else None

    def take(self, count: int) -> memoryview:
        """The next bytes; good until the next call."""
        if self._end - self._start < count:
            self._fill(count)
        view = self._buffer[self._start : self._start + count]
        self._start += count
        self.position += count
        return view

    def skip(self, count: int) -> None:
        while count > 0:
            step = min(count, len(self._buffer))
            self.take(step)
            count -= step

    def rest(self) -> bytes:
        """What is left of the file, the first 8 bytes of it; reads to the end."""
        first = b""
        while True:
            if self._start == self._end:
                self._refill(0)
                if self._start == self._end:
                    return first
            piece = self.take(self._end - self._start)
            first = (first + bytes(piece[:8]))[:8]

    def hexdigest(self) -> str:
        return self._digest.hexdigest() if self._digest is not None else ""

    def _fill(self, count: int) -> None:
        held = self._end - self._start
        if count > len(self._buffer):
            larger = memoryview(bytearray(count))
            larger[:held] = self._buffer[self._start : self._end]
            self._buffer = larger
        elif held:
            self._buffer[:held] = bytes(self._buffer[self._start : self._end])
        self._start = 0
        self._refill(held)
        if self._end < count:
            raise EndOfFileError

    def _refill(self, held: int) -> None:
        """Fill the buffer behind the held bytes as far as the file goes."""
        self._start, self._end = 0, held
        while self._end < len(self._buffer):
            read = self._file.readinto(self._buffer[self._end :])  # type: ignore[attr-defined]
            if not read:
                break
            if self._digest is not None:
                self._digest.update(self._buffer[self._end : self._end + read])
            self._end += read
