"""ROS 2 messages of any type by field path, decoded by mcap-ros2-support.

The definition comes from a stranger: it is read here, checked for size, and handed on rewritten with plain names.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ._ros2 import CdrError, Vectors, byte_order

__all__ = ["DTYPES", "NO_SIGNAL", "Definition", "Field", "FieldValues", "Leaf", "parse_definition"]

MAX_DEFINITION = 1 << 20
MAX_MESSAGE = 1 << 18
"""Largest message that is decoded into objects, bytes."""
MAX_LEAVES = 4096
"""Most numbers in one sample of a field."""
MAX_DEPTH = 32

DTYPES = {
    "bool": "|u1", "byte": "|u1", "char": "|u1", "uint8": "|u1", "int8": "|i1",
    "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8",
    "float32": "<f4", "float64": "<f8",
}  # fmt: skip
_SIZES = {name: np.dtype(dtype).itemsize for name, dtype in DTYPES.items()} | {"string": 4, "wstring": 4}

_TIMES = {
    "builtin_interfaces/Time": (("sec", "int32"), ("nanosec", "uint32")),
    "builtin_interfaces/Duration": (("sec", "int32"), ("nanosec", "uint32")),
}
NO_SIGNAL = frozenset({"std_msgs/Header", *_TIMES})
"""Types whose numbers are no measurement or command."""

_LINE = re.compile(r"^([A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?:\[(?:(<=)?(\d*))\])?\s+([A-Za-z][A-Za-z0-9_]*)\s*(=)?")
_PART = re.compile(r"^([A-Za-z][A-Za-z0-9_]*)(?:\[(\d{1,6})\])?$")


class Field(NamedTuple):
    """One field of a message type."""

    name: str
    type: str
    """A primitive, or `package/Type`."""
    length: int | None = None
    """None: not an array; 0: an array of any length; else its fixed length."""


class Leaf(NamedTuple):
    """A number or text that a path leads to."""

    path: str
    steps: tuple[str | int, ...]
    type: str


def _short(name: str) -> str:
    """`package/Type` of `package/msg/Type`."""
    parts = name.split("/")
    return f"{parts[0]}/{parts[-1]}" if len(parts) > 1 else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A message type with all types that it uses."""

    root: str
    types: dict[str, tuple[Field, ...]]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the message."""
        return self.types[self.root]

    @property
    def has_header(self) -> bool:
        """Whether the message begins with a std_msgs/Header."""
        return bool(self.fields) and self.fields[0] == Field(self.fields[0].name, "std_msgs/Header")

    def leaves(self, path: str | None) -> tuple[Leaf, ...]:
        """What a path leads to: one array or text, or all single numbers below it; None: below the message.

        Raises:
            CdrError: There is nothing of that name, or no number under it; with what there is.
        """
        type_, length, steps = self.root, None, list[str | int]()
        for part in path.split(".") if path else ():
            match = _PART.match(part)
            found = {f.name: f for f in self.types.get(type_, ())} if length is None else {}
            if match is None or match[1] not in found:
                there = ", ".join(found) or ("an array: give an index" if length is not None else type_)
                raise CdrError(f"there is no {part!r} in {'.'.join(map(str, steps)) or self.root} ({there})")
            type_, length = found[match[1]].type, found[match[1]].length
            steps.append(match[1])
            if match[2] is not None:
                if length is None:
                    raise CdrError(f"{match[1]} is not an array; {part!r} has an index")
                steps.append(int(match[2]))
                length = None
        if length is not None and type_ in self.types:
            raise CdrError(f"{path} is an array of {type_}; give an index, for instance {path}[0]")
        leaves = [Leaf(path or "", tuple(steps), type_)] if type_ not in self.types else self._below(type_, steps, "")
        if not leaves:
            names = ", ".join(f.name for f in self.types[type_])
            raise CdrError(f"{path or self.root} has no single numbers in it; its fields are {names}")
        return tuple(leaves)

    def _below(self, type_: str, steps: list[str | int], path: str) -> list[Leaf]:
        """All single numbers in a type, headers and times left out."""
        leaves: list[Leaf] = []
        for field in self.types[type_]:
            if field.length is not None or field.type in NO_SIGNAL:
                continue
            below, name = [*steps, field.name], f"{path}{field.name}"
            if field.type in self.types:
                leaves += self._below(field.type, below, f"{name}.")
            elif field.type in DTYPES:
                leaves.append(Leaf(name, tuple(below), field.type))
            if len(leaves) > MAX_LEAVES:
                raise CdrError(f"{self.root} has more than {MAX_LEAVES} numbers")
        return leaves

    def check_size(self) -> None:
        """Make sure that decoding takes no more than a message's bytes allow.

        Raises:
            CdrError: The types contain each other, or a message has too many bytes whatever is in it.
        """
        self._least_size(self.root, {}, 0)

    def _least_size(self, type_: str, known: dict[str, int], depth: int) -> int:
        """Fewest bytes of a value of a type, without padding; at least 1."""
        if type_ not in self.types:
            return _SIZES[type_]
        if depth > MAX_DEPTH:
            raise CdrError(f"types of {self.root} contain each other, or are nested deeper than {MAX_DEPTH}")
        if type_ not in known:
            size = 0 if self.types[type_] else 1
            for field in self.types[type_]:
                each = self._least_size(field.type, known, depth + 1)
                size += each if field.length is None else field.length * each or 4
                if size > MAX_MESSAGE:
                    raise CdrError(f"a {type_} has at least {size:,} bytes; at most {MAX_MESSAGE:,} are decoded")
            known[type_] = size
        return known[type_]


def parse_definition(name: str, data: bytes) -> Definition:
    """Read a concatenated ros2msg definition.

    Raises:
        CdrError: It is not one, uses types that it does not define, or breaks a limit.
    """
    if len(data) > MAX_DEFINITION:
        raise CdrError(f"the definition has {len(data):,} bytes; at most {MAX_DEFINITION:,} are read")
    root = _short(name)
    types: dict[str, tuple[Field, ...]] = {}
    current, fields = root, list[Field]()
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.split("#", 1)[0].strip()
        if re.match(r"^={3,}$", text):
            types.setdefault(current, tuple(fields))
            current, fields = "", []
        elif text.startswith("MSG:"):
            current = _short(text[4:].strip())
        elif text:
            field = _parse_line(text, current)
            fields += [field] if field is not None else []
    types.setdefault(current, tuple(fields))
    for type_, times in _TIMES.items():
        types.setdefault(type_, tuple(Field(*t) for t in times))
    definition = Definition(root=root, types=_reachable(root, types))
    definition.check_size()
    return definition


def _parse_line(text: str, current: str) -> Field | None:
    """One field; None for a constant."""
    match = _LINE.match(text)
    if match is None:
        raise CdrError(f"the definition has a line that is no field: {text[:60]!r}")
    type_, bound, length, name, constant = match.groups()
    if constant:
        return None
    if type_ == "Header":
        type_ = "std_msgs/Header"
    elif type_ not in _SIZES:
        type_ = _short(type_) if "/" in type_ else f"{current.split('/')[0]}/{type_}"
    if length is None:
        return Field(name, type_)
    if length == "0":
        raise CdrError(f"{name} is an array of fixed length 0")
    return Field(name, type_, 0 if bound or not length else int(length))


def _reachable(root: str, types: dict[str, tuple[Field, ...]]) -> dict[str, tuple[Field, ...]]:
    """The types that a message uses, itself first."""
    found = {root: types.get(root, ())}
    waiting = [root]
    while waiting:
        for field in found[waiting.pop()]:
            if field.type in _SIZES or field.type in found:
                continue
            if field.type not in types:
                raise CdrError(f"the definition of {root} uses {field.type}, but does not contain it")
            found[field.type] = types[field.type]
            waiting.append(field.type)
    return found


def _decoder(definition: Definition) -> tuple[Callable[[bytes], object], dict[tuple[str, str], str]]:
    """The library's decoder for a definition with plain names, and the new name of each field by type and name."""
    from mcap.records import Schema
    from mcap_ros2.decoder import DecoderFactory

    new_types = {t: f"plain/T{i}" for i, t in enumerate(definition.types)}
    new_fields: dict[tuple[str, str], str] = {}
    parts = []
    for type_, fields in definition.types.items():
        lines = [] if type_ == definition.root else [f"MSG: {new_types[type_]}"]
        for i, field in enumerate(fields):
            new_fields[type_, field.name] = f"f{i}"
            plain = {"byte": "uint8", "char": "uint8"}.get(field.type, field.type)
            bracket = "" if field.length is None else f"[{field.length or ''}]"
            lines.append(f"{new_types.get(plain, plain)}{bracket} f{i}")
        if type_ == definition.root:
            # Read behind everything else: fails where a text or a byte array went beyond the message unnoticed.
            lines.append("uint8 guard")
        parts.append("\n".join(lines))
    text = f"\n{'=' * 80}\n".join(parts)
    schema = Schema(id=1, name="plain/T0", encoding="ros2msg", data=text.encode())
    decode = DecoderFactory().decoder_for("cdr", schema)
    if decode is None:
        raise CdrError(f"no decoder for {definition.root}")
    return decode, new_fields


class FieldValues:
    """What a path of a message type gives, message by message: numbers or texts."""

    def __init__(self, definition: Definition, path: str | None) -> None:
        """Prepare for a path such as `position`, `pose.position.x`, `transforms[0].transform` or None (all numbers).

        Raises:
            CdrError: The path does not fit the type.
        """
        leaves = definition.leaves(path)
        self.is_text = leaves[0].type in {"string", "wstring"}
        self._root = definition.root
        self._decode, new = _decoder(definition)
        self._steps = [_renamed(definition, leaf, new) for leaf in leaves]
        self.element_names = tuple(leaf.path for leaf in leaves) if len(leaves) > 1 else ()
        dtypes = [np.dtype(DTYPES[leaf.type]) for leaf in leaves if not self.is_text]
        self.vectors = Vectors(np.result_type(*dtypes).str if dtypes else "<f8")
        self.texts: list[tuple[str, ...]] = []
        """Of each message, where the path leads to texts."""

    def add(self, payload: memoryview) -> None:
        """Decode one message.

        Raises:
            CdrError: The payload is not a message of its type, or too large.
        """
        if len(payload) > MAX_MESSAGE:
            raise CdrError(f"{len(payload):,} bytes; at most {MAX_MESSAGE:,} are decoded of a {self._root}")
        byte_order(payload)
        try:
            message = self._decode(bytes(payload) + b"\0")
        except (struct.error, ValueError, NotImplementedError) as error:
            raise CdrError(f"not a {self._root} ({len(payload):,} bytes: {error})") from error
        values: list[object] = []
        for steps in self._steps:
            value = _follow(message, steps)
            values += value if isinstance(value, list | bytes) else [value]
        if self.is_text:
            self.texts.append(tuple(str(v) for v in values))
        else:
            self.vectors.append(np.asarray(values, dtype=self.vectors.dtype).tobytes())


def _renamed(definition: Definition, leaf: Leaf, new: dict[tuple[str, str], str]) -> tuple[str | int, ...]:
    type_ = definition.root
    steps: list[str | int] = []
    for step in leaf.steps:
        if isinstance(step, str):
            steps.append(new[type_, step])
            type_ = next(f.type for f in definition.types[type_] if f.name == step)
        else:
            steps.append(step)
    return tuple(steps)


def _follow(value: object, steps: tuple[str | int, ...]) -> object:
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list | bytes) or step >= len(value):
                count = len(value) if isinstance(value, list | bytes) else 0
                raise CdrError(f"an array has {count} elements; the path has index {step}")
            value = value[step]
        else:
            value = getattr(value, step)
    return value
