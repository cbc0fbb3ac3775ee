"""Images that are encoded as they come: into an unnamed temporary file, so that memory holds one at a time."""

import os
import tempfile
from array import array
from typing import IO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spool", "SpooledFrames"]

Int64Array = NDArray[np.int64]


class SpooledFrames:
    """Encoded frames in a spool; satisfies `Frames`."""

    def __init__(self, file: IO[bytes], ends: Int64Array, rows: Int64Array, order: Int64Array) -> None:
        """Read frame `rows[i]` of those that end at `ends`, [N]."""
        # The file and not its number, which another file may get when this one is closed.
        self._file, self._ends, self._rows, self._order = file, ends, rows, order

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return np.diff(self._ends, prepend=0)[self._rows]

    @property
    def order(self) -> Int64Array:
        """As `Spool.frames` was told, [N]."""
        return self._order

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        row = int(self._rows[index])
        start = int(self._ends[row - 1]) if row else 0
        return os.pread(self._file.fileno(), int(self._ends[row]) - start, start)


class Spool:
    """Encoded images, one after the other; closing it gives the space back."""

    def __init__(self) -> None:
        """Begin empty."""
        self._file = tempfile.TemporaryFile(prefix="vladata-", buffering=0)  # noqa: SIM115 — closed with the recording
        self._ends = array("q")

    def add(self, data: bytes) -> None:
        """Append an image."""
        view = memoryview(data)
        while view:  # an unbuffered write may take a part only
            view = view[self._file.write(view) :]
        self._ends.append(len(data) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ends)

    def frames(self, *, first_order: int = 0) -> SpooledFrames:
        """All images, as they were added; the first has the order `first_order`."""
        rows = np.arange(len(self), dtype=np.int64)
        return self.picked(rows, first_order + rows)

    def picked(self, rows: Int64Array, order: Int64Array) -> SpooledFrames:
        """Some images: which, and the order of each, [N]."""
        return SpooledFrames(self._file, np.array(self._ends, dtype=np.int64), rows, order)

    def close(self) -> None:
        """Give the space back; frames can't be read any more."""
        self._file.close()
