"""The footer of a Parquet file: read, put together anew and written, without touching what it describes.

A footer is one struct of Thrift's compact protocol. It is read into plain structs that keep fields nobody here knows,
so that what other writers put there survives. Format: apache/parquet-format, `parquet.thrift`; the protocol:
apache/thrift, `thrift-compact-protocol.md`.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ExportError
from ._parquet import MAGIC

__all__ = [
    "Listed",
    "Struct",
    "footer_bytes",
    "leaves",
    "parse",
    "read_footer",
    "serialize",
    "stored_bytes",
    "with_columns",
]

MAX_DEPTH = 32
"""Structs and lists in each other; a footer has about eight."""
MAX_FOOTER_BYTES = 256 << 20
_END_BYTES = 8
"""The footer's length and the magic."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_NUMBERS = frozenset({_I16, _I32, _I64})

# Field numbers of FileMetaData, SchemaElement, RowGroup, ColumnChunk and ColumnMetaData.
SCHEMA, NUM_ROWS, ROW_GROUPS = 2, 3, 4
NAME, NUM_CHILDREN = 4, 5
COLUMNS, TOTAL_BYTES, GROUP_ROWS, GROUP_OFFSET, COMPRESSED_BYTES, ORDINAL = 1, 2, 3, 5, 6, 7
METADATA, PATH, UNCOMPRESSED_SIZE, COMPRESSED_SIZE, DATA_OFFSET, DICTIONARY_OFFSET = 3, 3, 6, 7, 9, 11


@dataclass(slots=True)
class Listed:
    """A list or a set of one kind of values."""

    kind: int
    items: list["bool | int | float | bytes | Listed | Struct"]
    is_set: bool = False


@dataclass(slots=True)
class Struct:
    """Fields by number: the kind of the value on the wire, and the value."""

    fields: dict[int, tuple[int, "bool | int | float | bytes | Listed | Struct"]] = field(default_factory=dict)

    def number(self, key: int) -> int:
        """An integer field; 0 where it is not there."""
        kind, value = self.fields.get(key, (_I64, 0))
        if kind not in _NUMBERS or not isinstance(value, int):
            raise ExportError(f"Parquet footer: field {key} is of kind {kind}; must be an integer")
        return value

    def structs(self, key: int) -> list["Struct"]:
        """A field that is a list of structs."""
        _, value = self.fields.get(key, (_LIST, None))
        if not isinstance(value, Listed) or not all(isinstance(item, Struct) for item in value.items):
            raise ExportError(f"Parquet footer: field {key} must be a list of structs")
        return [item for item in value.items if isinstance(item, Struct)]

    def struct(self, key: int) -> "Struct":
        """A field that is a struct."""
        _, value = self.fields.get(key, (_STRUCT, None))
        if not isinstance(value, Struct):
            raise ExportError(f"Parquet footer: field {key} must be a struct")
        return value


# The protocol --------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads values, never beyond the end of the bytes; lengths are compared with what is left before anything grows."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def num_left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.num_left:
            raise ExportError(f"Parquet footer: {count} bytes are announced; {self.num_left} are left")
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF
        raise ExportError("Parquet footer: a number has more than ten bytes")

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind: int, depth: int) -> "bool | int | float | bytes | Listed | Struct":
        if depth > MAX_DEPTH:
            raise ExportError(f"Parquet footer: more than {MAX_DEPTH} levels deep")
        if kind in _NUMBERS:
            return self.zigzag()
        if kind == _BYTE:
            return self.take(1)[0]
        if kind == _DOUBLE:
            return float(struct.unpack("<d", self.take(8))[0])
        if kind == _BINARY:
            return self.take(self.varint())
        if kind in {_LIST, _SET}:
            return self.listed(kind, depth)
        if kind == _STRUCT:
            return self.struct(depth)
        raise ExportError(f"Parquet footer: a value of kind {kind}; footers have none")

    def listed(self, kind: int, depth: int) -> Listed:
        head = self.take(1)[0]
        count, inner = head >> 4, head & 0x0F
        count = self.varint() if count == 15 else count
        if count > self.num_left:
            raise ExportError(f"Parquet footer: a list of {count} values; {self.num_left} bytes are left")
        if inner in {_TRUE, _FALSE}:
            items: list[bool | int | float | bytes | Listed | Struct] = [self.take(1)[0] == 1 for _ in range(count)]
        else:
            items = [self.value(inner, depth + 1) for _ in range(count)]
        return Listed(kind=inner, items=items, is_set=kind == _SET)

    def struct(self, depth: int) -> Struct:
        found = Struct()
        key = 0
        while head := self.take(1)[0]:
            kind = head & 0x0F
            key = key + (head >> 4) if head >> 4 else self.zigzag()
            if key in found.fields or not 0 < key < 1 << 15:
                raise ExportError(f"Parquet footer: field {key} comes twice or is none")
            found.fields[key] = (kind, kind == _TRUE if kind <= _FALSE else self.value(kind, depth + 1))
        return found


def parse(data: bytes) -> Struct:
    """Read a struct.

    Raises:
        ExportError: The bytes are none of the compact protocol, too deep, or end too early.
    """
    return _Reader(data).struct(0)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint(((value << 1) ^ (value >> 63)) & 0xFFFFFFFFFFFFFFFF)


def _written(kind: int, value: "bool | int | float | bytes | Listed | Struct") -> bytes:
    if isinstance(value, Struct):
        return serialize(value)
    if isinstance(value, Listed):
        count = len(value.items)
        head = bytes([min(count, 15) << 4 | value.kind]) + (_varint(count) if count >= 15 else b"")
        if value.kind in {_TRUE, _FALSE}:
            return head + bytes(1 if item else 2 for item in value.items)
        return head + b"".join(_written(value.kind, item) for item in value.items)
    if isinstance(value, bytes):
        return _varint(len(value)) + value
    if isinstance(value, float):
        return struct.pack("<d", value)
    return bytes([value]) if kind == _BYTE else _zigzag(value)


def serialize(given: Struct) -> bytes:
    """Write a struct, fields in the order of their numbers."""
    out = bytearray()
    before = 0
    for key in sorted(given.fields):
        kind, value = given.fields[key]
        if kind <= _FALSE:
            kind = _TRUE if value else _FALSE
        step = key - before
        out += bytes([step << 4 | kind]) if step <= 15 else bytes([kind]) + _zigzag(key)
        if kind > _FALSE:
            out += _written(kind, value)
        before = key
    return bytes(out) + b"\0"


# Footers -------------------------------------------------------------------------------------------------------------


def footer_bytes(footer: Struct) -> bytes:
    """The end of a Parquet file: footer, its length, and the magic."""
    data = serialize(footer)
    return data + struct.pack("<I", len(data)) + MAGIC


def _path(column: Struct) -> tuple[bytes, ...]:
    _, path = column.struct(METADATA).fields.get(PATH, (_LIST, None))
    if not isinstance(path, Listed):
        raise ExportError("Parquet footer: a column has no path")
    return tuple(part for part in path.items if isinstance(part, bytes))


def with_columns(template: Struct, leaves: list[tuple[bytes, ...]], parts: list[Struct]) -> Struct:
    """A footer whose row groups have their columns from several footers of one file.

    Args:
        template: Schema and metadata; it has no row groups.
        leaves: Paths of all columns of the schema, in order.
        parts: Footers that describe equal rows in equal row groups; of columns that several have, the last one counts.

    Raises:
        ExportError: The parts have different row groups, or a column is in none.
    """
    groups: list[bool | int | float | bytes | Listed | Struct] = []
    num_groups = {len(part.structs(ROW_GROUPS)) for part in parts}
    if len(num_groups) != 1:
        raise ExportError(f"Parquet footers have {sorted(num_groups)} row groups; must have equally many")
    for index, members in enumerate(zip(*(part.structs(ROW_GROUPS) for part in parts), strict=True)):
        rows = {group.number(GROUP_ROWS) for group in members}
        if len(rows) != 1:
            raise ExportError(f"row group {index} has {sorted(rows)} rows; must be the same in all columns")
        found = {_path(column): column for group in members for column in group.structs(COLUMNS)}
        missing = [leaf for leaf in leaves if leaf not in found]
        if missing:
            raise ExportError(f"row group {index} has no column {b'.'.join(missing[0]).decode(errors='replace')}")
        groups.append(_group(index, [found[leaf] for leaf in leaves], rows.pop()))
    fields = dict(template.fields)
    fields[NUM_ROWS] = (_I64, sum(g.number(GROUP_ROWS) for g in groups if isinstance(g, Struct)))
    fields[ROW_GROUPS] = (_LIST, Listed(kind=_STRUCT, items=groups))
    return Struct(fields)


def _group(index: int, columns: list[Struct], num_rows: int) -> Struct:
    facts = [column.struct(METADATA) for column in columns]
    first = facts[0]
    return Struct(
        {
            COLUMNS: (_LIST, Listed(kind=_STRUCT, items=list(columns))),
            TOTAL_BYTES: (_I64, sum(f.number(UNCOMPRESSED_SIZE) for f in facts)),
            GROUP_ROWS: (_I64, num_rows),
            GROUP_OFFSET: (_I64, first.number(DICTIONARY_OFFSET) or first.number(DATA_OFFSET)),
            COMPRESSED_BYTES: (_I64, sum(f.number(COMPRESSED_SIZE) for f in facts)),
            ORDINAL: (_I16, index),
        }
    )


def read_footer(path: Path, end: int) -> bytes:
    """The footer of the Parquet file that ends at a place of a file.

    Raises:
        ExportError: No Parquet file ends there.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, end - _END_BYTES))
        tail = file.read(_END_BYTES)
        if len(tail) != _END_BYTES or tail[4:] != MAGIC:
            raise ExportError(f"{path.name}: no Parquet file ends at byte {end:,}; it must, with {MAGIC.decode()}")
        length = int.from_bytes(tail[:4], "little")
        if length > min(MAX_FOOTER_BYTES, end - _END_BYTES):
            raise ExportError(f"{path.name}: the footer has {length:,} bytes; there is no room for it")
        file.seek(end - _END_BYTES - length)
        return file.read(length)


def leaves(footer: Struct) -> list[tuple[bytes, ...]]:
    """Paths of all columns of a footer's schema, in order; at least one.

    Raises:
        ExportError: The schema ends too early, is too deep, or has no columns.
    """
    elements = iter(footer.structs(SCHEMA))
    found: list[tuple[bytes, ...]] = []

    def walk(prefix: tuple[bytes, ...], count: int) -> None:
        for _ in range(count):
            element = next(elements, None)
            if element is None or len(prefix) > MAX_DEPTH:
                raise ExportError(f"Parquet footer: the schema ends too early, or is more than {MAX_DEPTH} levels deep")
            _, name = element.fields.get(NAME, (_BINARY, b""))
            path = (*prefix, name if isinstance(name, bytes) else b"")
            if element.number(NUM_CHILDREN):
                walk(path, element.number(NUM_CHILDREN))
            else:
                found.append(path)

    root = next(elements, Struct())
    walk((), root.number(NUM_CHILDREN))
    if not found:
        raise ExportError("Parquet footer: the schema has no columns; must have at least one")
    return found


def stored_bytes(footer: Struct) -> dict[tuple[bytes, ...], int]:
    """Bytes of each column in the file, over all row groups."""
    total: dict[tuple[bytes, ...], int] = {}
    for group in footer.structs(ROW_GROUPS):
        for column in group.structs(COLUMNS):
            path = _path(column)
            total[path] = total.get(path, 0) + column.struct(METADATA).number(COMPRESSED_SIZE)
    return total
