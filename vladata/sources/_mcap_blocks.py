"""Payloads of an MCAP file read again by their place."""

import os
from array import array
from collections import OrderedDict
from typing import BinaryIO

from ..errors import SourceError
from ._mcap_codecs import decompress

__all__ = ["BlockReader", "Blocks"]


class Blocks:
    """Places of the compressed chunks; block 0 is the file itself."""

    def __init__(self) -> None:
        """Begin with the file."""
        self.position = array("q", [0])
        self.stored = array("q", [0])
        self.size = array("q", [0])
        self.compression = [""]

    def add(self, position: int, stored: int, size: int, compression: str) -> int:
        """Add a chunk and return its number."""
        self.position.append(position)
        self.stored.append(stored)
        self.size.append(size)
        self.compression.append(compression)
        return len(self.position) - 1


class BlockReader:
    """Payloads by place; the two last chunks stay expanded."""

    def __init__(self, file: BinaryIO, name: str, blocks: Blocks) -> None:
        """Read from the file that was walked."""
        self._fd = file.fileno()
        self._name = name
        self._blocks = blocks
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._state = self._file_state()

    def _file_state(self) -> tuple[int, int]:
        state = os.fstat(self._fd)
        return state.st_size, state.st_mtime_ns

    def read(self, block: int, offset: int, size: int) -> memoryview:
        """The bytes at a place.

        Raises:
            SourceError: The file was changed since it was walked.
        """
        if block == 0:
            return self._stored(offset, size)
        data = self._kept.get(block)
        if data is None:
            while len(self._kept) > 1:
                self._kept.popitem(last=False)
            data = self._kept[block] = self._expand(block)
        return data[offset : offset + size]

    def _stored(self, position: int, size: int) -> memoryview:
        data = os.pread(self._fd, size, position)
        if len(data) != size or self._file_state() != self._state:
            raise SourceError(f"{self._name}: the file was changed while it was read")
        return memoryview(data)

    def _expand(self, block: int) -> memoryview:
        stored = self._stored(self._blocks.position[block], self._blocks.stored[block])
        target = memoryview(bytearray(self._blocks.size[block]))
        problem = decompress(self._blocks.compression[block], stored, target)
        if problem:
            raise SourceError(f"{self._name}: the chunk at byte {self._blocks.position[block]:,} {problem}")
        return target
