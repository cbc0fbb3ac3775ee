"""TFRecord framing: length, checksum of the length, data, checksum of the data.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord, section TFRecords format details.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .. import workers
from ..errors import SourceError
from ._crc32c import crc32c

__all__ = ["MAX_RECORD", "RecordSpan", "masked_crc32c", "read_record", "walk"]

MAX_RECORD = 2**31 - 1
"""Largest record: a protocol buffer message has less than 2 GiB."""

_LENGTH = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_BEAT_EVERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpan:
    """Where a record lies in its file."""

    index: int
    offset: int
    """Of its length field, in bytes."""
    size: int
    """Bytes of its data; 0 where the length is damaged."""
    problem: str = ""
    """Why neither this record nor what comes after it can be found; empty where all is well."""

    @property
    def end(self) -> int:
        """First byte after the record."""
        return self.offset + _LENGTH.size + self.size + _CHECKSUM.size


def masked_crc32c(data: bytes | memoryview) -> int:
    """CRC-32C as TFRecord stores it: turned and shifted, so that a checksum of checksums is not degenerate."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def walk(file: BinaryIO) -> Iterator[RecordSpan]:
    """Walk over the records by their lengths; their data is not read.

    Args:
        file: Open for reading.

    Yields:
        Each record; where one is damaged or cut off so that its end is unknown, it is the last and says why.
    """
    size = os.fstat(file.fileno()).st_size
    offset = index = 0
    while offset < size:
        if index % _BEAT_EVERY == 0:
            workers.beat()
        span = _span(file, index, offset, size)
        yield span
        if span.problem:
            return
        offset = span.end
        index += 1


def _span(file: BinaryIO, index: int, offset: int, file_size: int) -> RecordSpan:
    head = os.pread(file.fileno(), _LENGTH.size, offset)
    if len(head) < _LENGTH.size:
        return RecordSpan(index=index, offset=offset, size=0, problem=f"the file ends at byte {file_size} inside it")
    length, stored = _LENGTH.unpack(head)
    found = masked_crc32c(head[:8])
    if found != stored:
        problem = f"CRC-32C of its length is {stored:#010x}; its bytes give {found:#010x}"
        if offset == 0 and head[:2] == b"\x1f\x8b":
            problem = "the file is compressed with gzip; unpack it first"
        return RecordSpan(index=index, offset=offset, size=0, problem=problem)
    if offset + _LENGTH.size + length + _CHECKSUM.size > file_size:
        problem = f"its length is {length:,} bytes; the file ends at byte {file_size}"
        return RecordSpan(index=index, offset=offset, size=0, problem=problem)
    return RecordSpan(index=index, offset=offset, size=length)


def read_record(file: BinaryIO, span: RecordSpan, name: str) -> bytes:
    """Read a record's data and check it.

    Args:
        file: Open for reading.
        span: Where the record lies.
        name: Of the file, for errors.

    Raises:
        SourceError: The record is damaged, cut off or larger than 2 GiB; with file, record and byte offset.
    """
    where = f"{name}: record {span.index} at byte {span.offset}"
    if span.problem:
        raise SourceError(f"{where}: {span.problem}")
    if span.size > MAX_RECORD:
        raise SourceError(f"{where}: {span.size:,} bytes; must be at most {MAX_RECORD:,}")
    start = span.offset + _LENGTH.size
    data = _read_exactly(file, start, span.size, where)
    (stored,) = _CHECKSUM.unpack(_read_exactly(file, start + span.size, _CHECKSUM.size, where))
    found = masked_crc32c(data)
    if found != stored:
        raise SourceError(f"{where}: CRC-32C of its data is {stored:#010x}; its bytes give {found:#010x}: damaged")
    return data


def _read_exactly(file: BinaryIO, offset: int, size: int, where: str) -> bytes:
    # pread does not move the file's position, which processes after a fork share
    data = os.pread(file.fileno(), size, offset)
    if len(data) == size:
        return data
    parts = [data]
    missing = size - len(data)
    while missing and (part := os.pread(file.fileno(), missing, offset + size - missing)):
        parts.append(part)
        missing -= len(part)
    if missing:
        raise SourceError(f"{where}: {missing:,} bytes are missing: the file has become shorter")
    return b"".join(parts)
