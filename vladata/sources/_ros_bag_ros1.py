"""ROS 1 messages rewritten as CDR, so that one set of readers serves both.

ROS 1 puts fields end to end; CDR aligns each to its size, ends texts with a zero byte and counts it, and its header
has no sequence number. Formats: http://wiki.ros.org/msg, OMG DDSI-RTPS 10.2.
"""

import itertools
import re
import struct
from typing import NamedTuple

import numpy as np

from ..text import printable
from ._ros2 import CdrError
from ._ros2_fields import DTYPES, Definition, Field, parse_definition

__all__ = ["HEADER_TYPE", "Converted", "Ros1ToCdr", "ros1_definition", "ros2_text"]

HEADER_TYPE = "std_msgs/Header"

MAX_OPERATIONS = 1 << 16
"""Longest plan of a message type, about as many as it has fields with those of all types in it."""

_U32 = struct.Struct("<I")
_PADDING = tuple(bytes(n) for n in range(8))
_SIZES = {name: np.dtype(dtype).itemsize for name, dtype in DTYPES.items()}
_TIME = re.compile(r"^(\s*)(?:(t)ime|(d)uration)(?=[\s\[])", re.MULTILINE)
_SEQUENCE_NUMBER = re.compile(r"^\s*uint32\s+seq\s*(?:#.*)?$\n?", re.MULTILINE)
_TYPE_MARK = re.compile(r"^MSG:\s*(\S+)\s*$", re.MULTILINE)

_FIXED, _TEXT, _NUMBERS, _TEXTS, _MESSAGES, _SKIP = range(6)


class Converted(NamedTuple):
    """A message as ROS 2 has it."""

    payload: bytearray
    """In CDR."""
    used: int
    """Bytes of the original."""
    shift: int
    """Added to the place of the last byte array (an image) in the message, gives its place in the original."""


class _Operation(NamedTuple):
    """One thing to do; what the two numbers mean depends on its kind."""

    kind: int
    first: int = 0
    """Fixed: alignment; numbers: size of one; texts and messages: how many, 0 where the message says it."""
    second: int = 0
    """Fixed and skip: bytes."""
    inner: "tuple[_Operation, ...]" = ()
    """Of one of the messages."""


def ros2_text(name: str, text: str) -> str:
    """Write a ROS 1 message definition as ROS 2 has it: times are types, headers have no sequence number.

    Args:
        name: Of the message type, `package/Type`.
        text: As the bag has it, with all types that it uses.

    Raises:
        CdrError: A header has no sequence number, so that nobody knows what lies where in it.
    """
    text = text.replace("\r\n", "\n")
    marks = list(_TYPE_MARK.finditer(text))
    names = [name, *(m[1] for m in marks)]
    bounds = [0, *(m.start() for m in marks), len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(bounds)]
    for i, part_name in enumerate(names):
        if part_name == HEADER_TYPE:
            parts[i], count = _SEQUENCE_NUMBER.subn("", parts[i])
            if count != 1:
                raise CdrError(f"its {HEADER_TYPE} has {count} fields 'uint32 seq'; must have one")
    return _TIME.sub(lambda m: f"{m[1]}builtin_interfaces/{'Time' if m[2] else 'Duration'}", "".join(parts))


def ros1_definition(name: str, text: str) -> Definition:
    """Read a ROS 1 message definition.

    Raises:
        CdrError: It is not one, or breaks a limit.
    """
    return parse_definition(name, ros2_text(name, text).encode())


class Ros1ToCdr:
    """Rewrites messages of one type."""

    def __init__(self, definition: Definition) -> None:
        """Make a plan for a definition.

        Raises:
            CdrError: The type has too many fields.
        """
        self._name = definition.root
        self._definition = definition
        self._count = 0
        self._plan = self._operations(definition.root)

    def _operations(self, type_: str) -> tuple[_Operation, ...]:
        """What to do for a message of a type; fixed parts that follow each other are one copy."""
        plan = [_Operation(_SKIP, second=4)] if type_ == HEADER_TYPE else []
        for field in self._definition.types[type_]:
            for operation in self._of_field(field):
                last = plan[-1] if plan else None
                if last is not None and last.kind == operation.kind == _FIXED and last.first == operation.first:
                    plan[-1] = last._replace(second=last.second + operation.second)
                else:
                    plan.append(operation)
        self._count += len(plan)
        if self._count > MAX_OPERATIONS:
            raise CdrError(f"the definition of {printable(self._name)} has more than {MAX_OPERATIONS:,} fields")
        return tuple(plan)

    def _of_field(self, field: Field) -> tuple[_Operation, ...]:
        length, size = field.length, _SIZES.get(field.type)
        if size is not None:
            return (_Operation(_NUMBERS, size) if length == 0 else _Operation(_FIXED, size, size * (length or 1)),)
        if field.type == "string":
            return (_Operation(_TEXT) if length is None else _Operation(_TEXTS, length),)
        if field.type not in self._definition.types:
            raise CdrError(f"{printable(field.name)} is a {printable(field.type)}, which ROS 1 does not have")
        inner = self._operations(field.type)
        return inner if length is None else (_Operation(_MESSAGES, length, inner=inner),)

    def convert(self, data: memoryview) -> Converted:
        """Rewrite one message.

        Raises:
            CdrError: It is not a message of this type.
        """
        out = bytearray(b"\0\1\0\0")
        shifts: list[int] = []
        try:
            used = _run(self._plan, data, 0, out, shifts)
        except struct.error as error:
            raise CdrError(f"{len(data):,} bytes are too few for a {self._name}") from error
        if used > len(data):
            raise CdrError(f"{len(data):,} bytes are too few for a {self._name}")
        return Converted(out, used, shifts[-1] if shifts else 0)


def _run(plan: tuple[_Operation, ...], data: memoryview, at: int, out: bytearray, shifts: list[int]) -> int:
    """Do a plan from a byte on, and return the byte behind what was read; beyond the end where the data is short."""
    for kind, first, second, inner in plan:
        if kind == _FIXED:
            out += _PADDING[(4 - len(out)) % first]
            end = at + second
            out += data[at:end]
            at = end
        elif kind == _NUMBERS:
            at = _numbers(data, at, out, first)
            if first == 1:
                shifts.append(at - len(out))
        elif kind == _TEXT:
            at = _text(data, at, out)
        elif kind == _SKIP:
            at += second
        else:
            count = first
            if not count:
                count = int(_U32.unpack_from(data, at)[0])
                at += 4
                out += _PADDING[-len(out) % 4]
                out += _U32.pack(count)
            if count > len(data) - at:
                raise CdrError(f"{count:,} elements in {max(0, len(data) - at):,} bytes")
            for _ in range(count):
                at = _text(data, at, out) if kind == _TEXTS else _run(inner, data, at, out, shifts)
    return at


def _numbers(data: memoryview, at: int, out: bytearray, size: int) -> int:
    """A sequence of numbers."""
    count = int(_U32.unpack_from(data, at)[0])
    end = at + 4 + count * size
    if end > len(data):
        raise CdrError(f"{count:,} numbers go to byte {end:,}; the message has {len(data):,}")
    out += _PADDING[-len(out) % 4]
    out += _U32.pack(count)
    if size == 8 and count:
        out += _PADDING[(4 - len(out)) % 8]
    out += data[at + 4 : end]
    return end


def _text(data: memoryview, at: int, out: bytearray) -> int:
    size = int(_U32.unpack_from(data, at)[0])
    end = at + 4 + size
    if end > len(data):
        raise CdrError(f"a string goes to byte {end:,}; the message has {len(data):,}")
    out += _PADDING[-len(out) % 4]
    out += _U32.pack(size + 1)
    out += data[at + 4 : end]
    out += b"\0"
    return end
