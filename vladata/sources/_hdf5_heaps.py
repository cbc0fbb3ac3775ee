"""Damage that makes libhdf5 read for ever or crash: heaps of texts with parts of no size, packed chunks of none.

Source: HDF5 File Format Specification 3.0, III.E (global heap).
"""

import mmap
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GateError, SourceError
from ..text import printable
from ..workers import beat

if TYPE_CHECKING:
    import h5py

__all__ = ["check_chunks", "check_heaps"]

MAX_SCANNED = 128 * 2**20
"""Larger files are not searched: there the limit on time without progress ends an endless read."""

_MARK = b"GCOL\x01"
_HEADER = 16
_MIN_SIZE = 4096
_CHECKSUM = 4
_WORD = 2**64
_BEAT_EVERY = 4096


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap that has a part of no size, or of one beyond all; libhdf5 never gets over it.

    Raises:
        GateError: There is one; with its place.
    """
    status = path.stat()
    if _HEADER < status.st_size <= MAX_SCANNED:
        place = _endless(str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        if place is not None:
            raise GateError(f"{printable(path.name)}: damaged HDF5: the heap at byte {place:,} has a part of no size")


@lru_cache(maxsize=64)
def _endless(path: str, inode: int, size: int, mtime_ns: int) -> int | None:  # noqa: ARG001 the key of the cache
    """Where the first endless heap begins; None where there is none."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(_MARK)
        while place >= 0:
            end = place + int.from_bytes(data[place + 8 : place + 16], "little")
            if place + _MIN_SIZE <= end <= len(data) and _is_endless(data, place + _HEADER, end):
                return place
            place = data.find(_MARK, place + 1)
    return None


def _is_endless(data: mmap.mmap, place: int, end: int) -> bool:
    while place + _HEADER <= end:
        index = int.from_bytes(data[place : place + 2], "little")
        size = int.from_bytes(data[place + 8 : place + 16], "little")
        # as libhdf5 reckons: in 64 bits, which a size near their end leaves
        needed = size if index == 0 else (_HEADER + (size + 7) % _WORD // 8 * 8) % _WORD
        if needed == 0 or needed >= _WORD // 2:
            return True
        place += needed
    return False


def check_chunks(dataset: "h5py.Dataset", file_bytes: int) -> None:
    """Refuse a dataset whose packed chunks have no size or lie beyond the file: unpacking those can crash.

    Raises:
        SourceError: There is one; with what it is.
    """
    plan = dataset.id.get_create_plist()
    if dataset.chunks is None or plan.get_nfilters() == 0:
        return
    smallest = _CHECKSUM + 1 if dataset.fletcher32 else 1
    seen = 0

    def look(info: "h5py.h5d.StoreInfo") -> str | None:
        nonlocal seen
        seen += 1
        if seen % _BEAT_EVERY == 0:
            beat()
        is_there = info.byte_offset is not None and 0 < info.byte_offset <= file_bytes - info.size
        return None if is_there and info.size >= smallest else f"chunk of {info.size:,} bytes at {info.byte_offset}"

    problem = dataset.id.chunk_iter(look)
    if problem:
        raise SourceError(f"{problem}; must lie in the file's {file_bytes:,}")
