"""`tf.train.Example` read from the protocol buffer wire format: three nested messages, no generated code.

Values are found first and made into arrays only when asked for. Wire format:
https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..text import clip, printable

__all__ = ["Feature", "parse_example"]

Kind = Literal["bytes", "float", "int64", ""]

MAX_FEATURES = 10_000
MAX_NAME = 1000
MAX_STRINGS = 1_000_000
"""Byte strings of one list: each is at least an object in memory, however short."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_KINDS: dict[int, Kind] = {1: "bytes", 2: "float", 3: "int64"}
_BEAT_EVERY = 100_000
_BLOCK = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One list of values in an example, not yet read."""

    kind: Kind
    """Of the list; empty where the writer set none."""
    _data: memoryview
    """The whole example."""
    _lists: tuple[tuple[int, int], ...]
    """Where the list's messages begin and end; several are one list."""
    _where: str

    def spans(self) -> NDArray[np.int64]:
        """Where the byte strings of a `bytes` list lie in the example: [N, 2], begin and end.

        Raises:
            SourceError: The list is of another kind, or damaged.
        """
        self._require("bytes")
        found: list[tuple[int, int]] = []
        for number, wire_type, begin, end in self._fields():
            if number == 1:
                self._require_type(wire_type, begin, (_LENGTH,))
                found.append((begin, end))
                if len(found) > MAX_STRINGS:
                    raise SourceError(f"{self._where}: more than {MAX_STRINGS:,} byte strings")
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def strings(self) -> list[bytes]:
        """The byte strings of a `bytes` list; errors as `spans`."""
        return [bytes(self._data[begin:end]) for begin, end in self.spans().tolist()]

    def count(self) -> int:
        """How many values the list has; they are not read.

        Raises:
            SourceError: The list is damaged.
        """
        if self.kind == "bytes":
            return len(self.spans())
        count = 0
        for number, wire_type, begin, end in self._fields():
            if number != 1:
                continue
            if wire_type != _LENGTH:
                count += 1
            elif self.kind == "float":
                count += (end - begin) // 4
            else:
                for place in range(begin, end, _BLOCK):
                    workers.beat()
                    octets = np.frombuffer(self._data[place : min(place + _BLOCK, end)], dtype=np.uint8)
                    count += int(np.count_nonzero(octets < 0x80))
        return count

    def floats(self) -> NDArray[np.float32]:
        """The values of a `float` list, [N].

        Raises:
            SourceError: The list is of another kind, or damaged.
        """
        self._require("float")
        parts: list[NDArray[np.float32]] = []
        for data, place in self._runs(_FIXED32):
            if len(data) % 4:
                raise SourceError(f"{self._where}: {len(data)} bytes of float at byte {place}; must be a multiple of 4")
            parts.append(np.frombuffer(data, dtype="<f4"))
        return np.concatenate(parts, dtype=np.float32) if parts else np.zeros(0, dtype=np.float32)

    def ints(self) -> NDArray[np.int64]:
        """The values of an `int64` list, [N].

        Raises:
            SourceError: The list is of another kind, or damaged.
        """
        parts = list(self._int_blocks())
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def int_pieces(self, size: int) -> Iterator[NDArray[np.int64]]:
        """The values of an `int64` list in pieces, so that they need not lie in memory together.

        Args:
            size: Values of each piece, at least 1; the last may have fewer.

        Raises:
            SourceError: As `ints`.
        """
        parts: list[NDArray[np.int64]] = []
        count = 0
        for block in self._int_blocks():
            parts.append(block)
            count += len(block)
            if count < size:
                continue
            values = np.concatenate(parts)
            whole = count // size * size
            for place in range(0, whole, size):
                yield values[place : place + size]
            parts, count = [values[whole:]], count - whole
        if count:
            yield np.concatenate(parts)

    def _int_blocks(self) -> Iterator[NDArray[np.int64]]:
        self._require("int64")
        for data, _ in self._runs(_VARINT):
            octets = np.frombuffer(data, dtype=np.uint8)
            place = 0
            while place < len(octets):
                workers.beat()
                block = octets[place : place + _BLOCK]
                ends = np.flatnonzero(block < 0x80)
                if len(ends) == 0:
                    raise SourceError(f"{self._where}: the last number is cut off")
                last = int(ends[-1]) + 1
                yield _varints(block[:last], ends, self._where)
                place += last

    def _runs(self, wire_type_of_one: int) -> Iterator[tuple[bytes | memoryview, int]]:
        """Values that lie one after another, packed or not, and the byte where they begin."""
        single: list[memoryview] = []
        for number, wire_type, begin, end in self._fields():
            if number != 1:
                continue
            self._require_type(wire_type, begin, (_LENGTH, wire_type_of_one))
            if wire_type == wire_type_of_one:
                single.append(self._data[begin:end])
            if single and (wire_type == _LENGTH or len(single) >= _BEAT_EVERY):
                yield b"".join(single), begin
                single = []
            if wire_type == _LENGTH:
                yield self._data[begin:end], begin
        if single:
            yield b"".join(single), 0

    def _fields(self) -> Iterator[tuple[int, int, int, int]]:
        for begin, end in self._lists:
            yield from _fields(self._data, begin, end, self._where)

    def _require(self, kind: Kind) -> None:
        if self.kind not in {kind, ""}:
            raise SourceError(f"{self._where}: a list of {self.kind}; must be of {kind}")

    def _require_type(self, wire_type: int, place: int, allowed: tuple[int, ...]) -> None:
        if wire_type not in allowed:
            raise SourceError(f"{self._where}: wire type {wire_type} at byte {place}; must be {allowed[0]}")


def parse_example(data: bytes, where: str) -> dict[str, Feature]:
    """Find the features of a serialized `tf.train.Example`.

    Args:
        data: The message; the features keep it.
        where: File and record, for errors.

    Returns:
        Features by name, in the order of the message.

    Raises:
        SourceError: Not such a message, damaged, or with too many features; with the byte.
    """
    view = memoryview(data)
    found: dict[str, Feature] = {}
    for number, wire_type, begin, end in _fields(view, 0, len(view), where):
        if number != 1 or wire_type != _LENGTH:
            continue
        for inner, inner_type, inner_begin, inner_end in _fields(view, begin, end, where):
            if inner != 1 or inner_type != _LENGTH:
                continue
            name, feature = _entry(view, inner_begin, inner_end, where)
            if name in found:
                raise SourceError(f"{where}: feature {printable(name)} comes twice, again at byte {inner_begin}")
            found[name] = feature
            if len(found) > MAX_FEATURES:
                raise SourceError(f"{where}: more than {MAX_FEATURES:,} features")
    return found


def _entry(view: memoryview, begin: int, end: int, where: str) -> tuple[str, Feature]:
    """Name and list of one feature: an entry of the map."""
    name = ""
    values: list[tuple[int, int]] = []
    for number, wire_type, first, last in _fields(view, begin, end, where):
        if number == 1 and wire_type == _LENGTH:
            name = _name(view[first:last], first, where)
        elif number == 2 and wire_type == _LENGTH:
            values.append((first, last))
    place = f"{where}: {clip(printable(name), 100)}"
    lists = [
        (_KINDS[number], inner_begin, inner_end)
        for first, last in values
        for number, wire_type, inner_begin, inner_end in _fields(view, first, last, place)
        if number in _KINDS and wire_type == _LENGTH
    ]
    kinds = sorted({kind for kind, _, _ in lists})
    if len(kinds) > 1:
        raise SourceError(f"{place}: has lists of {' and of '.join(kinds)}; must have one kind")
    return name, Feature(lists[0][0] if lists else "", view, tuple((begin, end) for _, begin, end in lists), place)


def _name(octets: memoryview, place: int, where: str) -> str:
    if len(octets) > MAX_NAME:
        raise SourceError(f"{where}: feature name of {len(octets):,} bytes at byte {place}; at most {MAX_NAME:,}")
    try:
        return str(octets, "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: feature name at byte {place} is not UTF-8") from error


def _fields(view: memoryview, begin: int, end: int, where: str) -> Iterator[tuple[int, int, int, int]]:
    """Fields of a message: number, wire type, and where the value begins and ends (without its length)."""
    place = begin
    count = 0
    while place < end:
        count += 1
        if count % _BEAT_EVERY == 0:
            workers.beat()
        start = place
        key, place = _varint(view, place, end, where)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise SourceError(f"{where}: field number 0 at byte {start}: not a tf.train.Example, or damaged")
        if wire_type == _LENGTH:
            size, place = _varint(view, place, end, where)
        elif wire_type == _VARINT:
            size = _varint(view, place, end, where)[1] - place
        elif wire_type == _FIXED64:
            size = 8
        elif wire_type == _FIXED32:
            size = 4
        else:
            raise SourceError(f"{where}: wire type {wire_type} at byte {start}: not a tf.train.Example, or damaged")
        if size > end - place:
            raise SourceError(f"{where}: field of {size:,} bytes at byte {start}; its message ends at byte {end}")
        yield number, wire_type, place, place + size
        place += size


def _varint(view: memoryview, place: int, end: int, where: str) -> tuple[int, int]:
    """A number of at most ten bytes, and the place after it."""
    value = 0
    for k in range(10):
        if place + k >= end:
            raise SourceError(f"{where}: a number at byte {place} is cut off")
        octet = view[place + k]
        value |= (octet & 0x7F) << 7 * k
        if octet < 0x80:
            return value, place + k + 1
    raise SourceError(f"{where}: a number at byte {place} has more than 10 bytes")


def _varints(octets: NDArray[np.uint8], last: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    """Numbers that lie one after another, as int64.

    Args:
        octets: Their bytes, the last one the end of a number.
        last: Where each number's last byte is.
        where: For errors.
    """
    if len(last) == len(octets):
        return octets.astype(np.int64)
    first = np.concatenate([[0], last[:-1] + 1])
    num_octets = last - first + 1
    if num_octets.max() > 10:
        raise SourceError(f"{where}: a number has more than 10 bytes")
    values = np.zeros(len(first), dtype=np.uint64)
    for k in range(int(num_octets.max())):
        has_octet = num_octets > k
        # bits beyond the 64th fall off, as in every implementation
        values[has_octet] |= (octets[first[has_octet] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return values.view(np.int64)
