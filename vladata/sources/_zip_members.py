"""Members of a ZIP file, found by its central directory without an object for each: a store of images has a million.

Source: PKWARE, APPNOTE.TXT 6.3.9, sections 4.3 and 4.5.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .. import workers
from ..errors import GateError, SourceError, VladataError
from ..text import clip, printable

__all__ = ["Member", "ZipFile", "contains"]

MAX_MEMBERS = 20_000_000
_MAX_NAME = 1_000
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 2**16
_BLOCK = 2**20
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1


class Member(NamedTuple):
    """Where a member lies."""

    offset: int
    """Of its local header."""
    stored: int
    """Bytes in the file."""
    size: int
    """Bytes once unpacked, as declared."""
    crc: int
    method: int


class ZipFile:
    """An open ZIP file."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Find the central directory.

        Args:
            file: Open for reading; stays open.
            name: For errors.

        Raises:
            SourceError: Not a ZIP file, or cut off.
            GateError: Too many members.
        """
        self._file, self._name = file, name
        self._size = os.fstat(file.fileno()).st_size
        self._count, self._start, self._length = self._directory()
        if self._count > MAX_MEMBERS:
            raise GateError(f"{name}: {self._count:,} members; must have at most {MAX_MEMBERS:,}")
        if self._start + self._length > self._size or self._length < _ENTRY.size * self._count:
            raise SourceError(f"{name}: damaged ZIP: its directory does not fit into the file")

    def _pread(self, size: int, place: int) -> bytes:
        return os.pread(self._file.fileno(), size, place) if place >= 0 else b""

    def _directory(self) -> tuple[int, int, int]:
        """Number of members, first byte and length of the directory."""
        tail_at = max(0, self._size - _END.size - _MAX_COMMENT)
        tail = self._pread(self._size - tail_at, tail_at)
        place = tail.rfind(b"PK\x05\x06")
        if place < 0 or len(tail) - place < _END.size:
            raise SourceError(f"{self._name}: not a ZIP file, or cut off: it has no directory at its end")
        _, disk, first, here, count, length, start, _ = _END.unpack_from(tail, place)
        end64 = self._pread(_END64_PLACE.size, tail_at + place - _END64_PLACE.size)
        if end64[:4] == b"PK\x06\x07":
            found = self._pread(_END64.size, _END64_PLACE.unpack(end64)[2])
            if len(found) < _END64.size or found[:4] != b"PK\x06\x06":
                raise SourceError(f"{self._name}: damaged ZIP: its directory of 64 bits is not where it should be")
            _, _, _, _, disk, first, here, count, length, start = _END64.unpack(found)
        if disk or first or here != count:
            raise SourceError(f"{self._name}: a ZIP file of several parts; must be one file")
        return count, start, length

    def members(self) -> Iterator[tuple[str, Member]]:
        """All members in the directory's order; a name that comes again means its last one.

        Raises:
            SourceError: The directory is damaged, or a member is encrypted.
        """
        block, base, place, end = b"", self._start, 0, self._start + self._length
        for number in range(self._count):
            if number % 10_000 == 0:
                workers.beat()
            if len(block) - place < _ENTRY.size + 3 * 2**16 and base + len(block) < end:
                base, place = base + place, 0
                block = self._pread(min(_BLOCK, end - base), base)
            if len(block) - place < _ENTRY.size:
                raise SourceError(
                    f"{self._name}: damaged ZIP: its directory ends after {number} of {self._count} members"
                )
            fields = _ENTRY.unpack_from(block, place)
            flags, method, crc, stored, size = fields[3], fields[4], fields[7], fields[8], fields[9]
            lengths = fields[10], fields[11], fields[12]
            place += _ENTRY.size
            data = block[place : place + sum(lengths)]
            if fields[0] != b"PK\x01\x02" or len(data) < sum(lengths):
                raise SourceError(f"{self._name}: damaged ZIP: member {number} of its directory is no entry")
            place += sum(lengths)
            name = self._text(data[: lengths[0]], number)
            if flags & _ENCRYPTED:
                raise SourceError(f"{self._name}: {printable(name)} is encrypted")
            size, stored, offset = _wide(data[lengths[0] : lengths[0] + lengths[1]], size, stored, fields[16])
            yield name, Member(offset, stored, size, crc, method)

    def has_text(self, text: bytes) -> bool:
        """Whether the directory has a text somewhere, most likely in a name."""
        end, rest = self._start + self._length, b""
        for place in range(self._start, end, _BLOCK):
            workers.beat()
            block = rest + self._pread(min(_BLOCK, end - place), place)
            if text in block:
                return True
            rest = block[-len(text) :]
        return False

    def _text(self, name: bytes, number: int) -> str:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            text = ""
        if not 0 < len(text) <= _MAX_NAME:
            raise SourceError(f"{self._name}: damaged ZIP: the name of member {number} is not UTF-8 or too long")
        return text

    def read(self, member: Member, limit: int, what: str) -> bytes:
        """The content of a member, its checksum compared.

        Args:
            member: Of this file.
            limit: Bytes that it may have, packed and unpacked.
            what: Its name, for errors.

        Raises:
            SourceError: It is damaged, or packed in a way that is not read.
            GateError: It is larger than the limit.
        """
        where = f"{self._name}: {clip(printable(what), 200)}"
        if max(member.size, member.stored) > limit:
            raise GateError(f"{where} has {max(member.size, member.stored):,} bytes; must have at most {limit:,}")
        head = self._pread(_LOCAL.size, member.offset)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            raise SourceError(f"{where}: damaged ZIP: it is not where the directory says")
        lengths = _LOCAL.unpack(head)[9:]
        data = self._pread(member.stored, member.offset + _LOCAL.size + sum(lengths))
        if len(data) != member.stored:
            raise SourceError(f"{where} is cut off")
        if member.method == _DEFLATED:
            data = self._inflated(data, member.size, where)
        elif member.method != _STORED:
            raise SourceError(f"{where}: packed by method {member.method}; must be stored or deflated")
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise SourceError(f"{where} is damaged: its checksum differs")
        return data

    def _inflated(self, data: bytes, size: int, where: str) -> bytes:
        try:
            return zlib.decompressobj(-15).decompress(data, size + 1)
        except zlib.error as error:
            raise SourceError(f"{where} is damaged: {error}") from error


def contains(path: Path, ending: str) -> bool:
    """Tell whether a file is ZIP and its directory has a name with this text; never raises on bad content.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        if file.read(4) not in {b"PK\x03\x04", b"PK\x05\x06"}:
            return False
        try:
            return ZipFile(file, path.name).has_text(ending.encode())
        except VladataError:
            return False


def _wide(extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
    """Sizes and place of a member, those of 64 bits where the entry has them."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - place - 4) // 8}Q", extra, place + 4))
            size = next(numbers, size) if size == 0xFFFFFFFF else size
            stored = next(numbers, stored) if stored == 0xFFFFFFFF else stored
            offset = next(numbers, offset) if offset == 0xFFFFFFFF else offset
        place += 4 + length
    return size, stored, offset
