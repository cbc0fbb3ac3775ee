"""ROS 2 messages in CDR as trees, for paths that pick elements by what is in them or go on into JSON."""

import struct
from collections.abc import Sequence

import numpy as np

from ._field_paths import Step
from ._ros2 import CdrError, byte_order
from ._ros2_fields import DTYPES, MAX_DEPTH, MAX_MESSAGE, Definition, Field

__all__ = ["CdrTree", "is_plain"]

_BYTES = frozenset({"uint8", "byte", "char"})
_START = 4
"""Length of the encapsulation header, where alignment begins."""


def is_plain(definition: Definition, steps: Sequence[Step]) -> bool:
    """Whether a path leads to members and elements by number alone, without a look at what is in them."""
    type_: str | None = definition.root
    for step in steps:
        if not step.name or step.where or step.is_each:
            return False
        if type_ in {"string", "wstring"} or type_ in _BYTES:
            return False
        field = next((f for f in definition.types.get(type_ or "", ()) if f.name == step.name), None)
        type_ = field.type if field is not None else None
    return True


class CdrTree:
    """Trees of messages of one definition; satisfies `Tree`."""

    def __init__(self, definition: Definition) -> None:
        """Prepare for a definition that was checked for size."""
        self._definition = definition
        self._payload: memoryview | None = None
        self._value: object = None
        self._order = "<"

    def of(self, payload: memoryview) -> object:
        """The tree of a message.

        Raises:
            CdrError: The payload is no message of this type, or too large.
        """
        if payload is self._payload:
            return self._value
        self._payload = None
        if len(payload) > MAX_MESSAGE:
            raise CdrError(f"{len(payload):,} bytes; at most {MAX_MESSAGE:,} are decoded of a {self._definition.root}")
        self._order = byte_order(payload)
        try:
            self._value, _ = self._struct(self._definition.root, payload, _START, 0)
        except (struct.error, UnicodeDecodeError) as error:
            raise CdrError(f"not a {self._definition.root} ({len(payload):,} bytes: {error})") from error
        self._payload = payload
        return self._value

    def _struct(self, type_: str, data: memoryview, at: int, depth: int) -> tuple[dict[str, object], int]:
        if depth > MAX_DEPTH:
            raise CdrError(f"structs are nested deeper than {MAX_DEPTH}")
        value: dict[str, object] = {}
        fields = self._definition.types[type_]
        for field in fields:
            value[field.name], at = self._field(field, data, at, depth)
        return value, at + (not fields)  # a struct without members has one byte that says nothing

    def _field(self, field: Field, data: memoryview, at: int, depth: int) -> tuple[object, int]:
        if field.length is None:
            return self._one(field.type, data, at, depth)
        count = field.length
        if not count:
            (count,), at = self._unpack("I", data, at)
        if field.type in DTYPES:
            return self._numbers(field.type, count, data, at)
        if count > len(data) - at:
            raise CdrError(f"{count:,} elements in {max(0, len(data) - at):,} bytes")
        values = []
        for _ in range(count):
            value, at = self._one(field.type, data, at, depth)
            values.append(value)
        return values, at

    def _numbers(self, type_: str, count: int, data: memoryview, at: int) -> tuple[object, int]:
        dtype = np.dtype(DTYPES[type_])
        dtype = dtype if self._order == "<" else dtype.newbyteorder(">")
        if count:
            at = _aligned(at, dtype.itemsize)
        end = at + count * dtype.itemsize
        if end > len(data):
            raise CdrError(f"{count:,} numbers go to byte {end:,}; the message has {len(data):,}")
        if type_ in _BYTES:
            return bytes(data[at:end]), end
        return np.frombuffer(data[at:end], dtype).tolist(), end

    def _one(self, type_: str, data: memoryview, at: int, depth: int) -> tuple[object, int]:
        if type_ in DTYPES:
            numbers, at = self._numbers(type_, 1, data, at)
            return (bool(numbers[0]) if type_ == "bool" else numbers[0]), at  # type: ignore[index]
        if type_ == "string":
            (size,), at = self._unpack("I", data, at)
            if at + size > len(data):
                raise CdrError(f"a string goes to byte {at + size:,}; the message has {len(data):,}")
            return bytes(data[at : at + size]).removesuffix(b"\0").decode(), at + size
        if type_ not in self._definition.types:
            raise CdrError(f"a {type_} is not read")
        return self._struct(type_, data, at, depth + 1)

    def _unpack(self, code: str, data: memoryview, at: int) -> tuple[tuple[int, ...], int]:
        at = _aligned(at, 4)
        return struct.unpack_from(self._order + code, data, at), at + 4

    def number_type(self, steps: Sequence[Step]) -> str:
        """Number type of what a path leads to.

        Raises:
            CdrError: The type has nothing of that name.
        """
        types = self._definition.types
        type_, is_array = self._definition.root, False
        for step in steps:
            if step.name:
                if type_ == "string" or (type_ in _BYTES and is_array):
                    return "<f8"  # JSON from here on
                field = next((f for f in types.get(type_, ()) if f.name == step.name), None)
                if field is None or is_array:
                    there = ", ".join(f.name for f in types.get(type_, ())) or type_
                    there = "an array: give an index, [] or [name=text]" if is_array else there
                    raise CdrError(f"there is no {step.shown!r} in {type_} ({there})")
                type_, is_array = field.type, field.length is not None
            if step.where or step.is_each or step.pick is not None:
                if not is_array and not step.where and type_ != "string":
                    raise CdrError(f"{step.shown}: a {type_} is no array")
                is_array = False
        found = {f.type for f in self._numbers_below(type_, 0)} if type_ in types else {type_}
        dtypes = [np.dtype(DTYPES[t]) for t in found if t in DTYPES]
        return np.result_type(*dtypes).str if dtypes else "<f8"

    def _numbers_below(self, type_: str, depth: int) -> list[Field]:
        found = []
        for field in self._definition.types[type_]:
            if field.type in self._definition.types and field.length is None and depth < MAX_DEPTH:
                found += self._numbers_below(field.type, depth + 1)
            elif field.length is None and field.type in DTYPES and type_ not in _TIMES:
                found.append(field)
        return found


_TIMES = frozenset({"builtin_interfaces/Time", "builtin_interfaces/Duration", "std_msgs/Header"})


def _aligned(at: int, size: int) -> int:
    return _START + -(-(at - _START) // size) * size
