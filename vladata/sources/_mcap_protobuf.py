"""Protobuf messages whose schema comes with the file: as trees, and by the place of their bytes.

A file's descriptors live in a pool of their own, which goes with the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..text import clip, printable
from ._field_paths import Step
from ._ros2 import CdrError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import Message

__all__ = ["ProtobufTree", "wire_fields", "wire_varint"]

MAX_DEFINITION = 1 << 20
MAX_MESSAGE = 4 << 20
"""Largest message that is decoded into objects, bytes; images are taken by their place and may be larger."""

_DTYPES = {
    1: "<f8", 2: "<f4", 3: "<i8", 4: "<u8", 5: "<i4", 6: "<u8", 7: "<u4", 8: "|u1", 13: "<u4", 14: "<i4",
    15: "<i4", 16: "<i8", 17: "<i4", 18: "<i8",
}  # fmt: skip
"""By the descriptor's type number."""
_STRING, _BYTES = 9, 12

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5

_TIMES = {"google.protobuf.Timestamp", "google.protobuf.Duration"}


class ProtobufTree:
    """Trees of messages of one type; satisfies `Tree`."""

    def __init__(self, name: str, definition: bytes) -> None:
        """Build the type out of a FileDescriptorSet.

        Raises:
            CdrError: It is none, does not hold the type or what that uses, or breaks a limit.
        """
        self.descriptor = _descriptor(name, definition)
        self._class: Any = None
        self._payload: memoryview | None = None
        self._value: object = None

    def of(self, payload: memoryview) -> object:
        """The tree of a message.

        Raises:
            CdrError: The payload is no message of this type, or too large.
        """
        if payload is self._payload:
            return self._value
        self._payload = None
        if len(payload) > MAX_MESSAGE:
            raise CdrError(f"{len(payload):,} bytes; at most {MAX_MESSAGE:,} are decoded of a {self.descriptor.name}")
        from google.protobuf.message import DecodeError

        if self._class is None:
            from google.protobuf.message_factory import GetMessageClass

            self._class = GetMessageClass(self.descriptor)
        try:
            self._value = _View(self._class.FromString(bytes(payload)))
        except DecodeError as error:
            raise CdrError(f"not a {self.descriptor.full_name} ({len(payload):,} bytes)") from error
        self._payload = payload
        return self._value

    @staticmethod
    def is_repeated(field: "FieldDescriptor") -> bool:
        """Whether a field has any number of values."""
        return _is_repeated(field)

    def number_type(self, steps: Sequence[Step]) -> str:
        """Number type of what a path leads to.

        Raises:
            CdrError: The type has nothing of that name.
        """
        import numpy as np

        field: FieldDescriptor | None = None
        type_: Descriptor | None = self.descriptor
        is_array = False
        for step in steps:
            if step.name:
                if field is not None and field.type in {_STRING, _BYTES} and not is_array:
                    return "<f8"  # JSON from here on
                if is_array and type_ is not None:
                    raise CdrError(f"there is no {step.name!r} in an array: give an index, [] or [name=text]")
                if type_ is None or (step.name not in type_.fields_by_name and not _is_map(type_)):
                    there = ", ".join(f.name for f in type_.fields) if type_ is not None else "a value"
                    raise CdrError(f"there is no {step.name!r} in {type_.name if type_ else 'it'} ({there[:300]})")
                field = type_.fields_by_name["value" if _is_map(type_) else step.name]
                type_ = field.message_type
                is_array = _is_repeated(field) and not (type_ is not None and _is_map(type_))
            if step.pick is not None or step.is_each or step.where:
                is_text = field is not None and field.type in {_STRING, _BYTES}
                if not is_array and not step.where and not is_text:
                    raise CdrError(f"{step.shown} is no array")
                is_array = False
        found = [np.dtype(_DTYPES[f.type]) for f in _numbers(type_)] if type_ is not None else []
        if type_ is None and field is not None and field.type in _DTYPES:
            found = [np.dtype(_DTYPES[field.type])]
        return np.result_type(*found).str if found else "<f8"


def _is_map(type_: "Descriptor") -> bool:
    return bool(type_.GetOptions().map_entry)


def _numbers(type_: "Descriptor") -> "Iterator[FieldDescriptor]":
    """Single numbers in a type and the types in it; those of a map are its values."""
    seen, waiting = {type_.full_name}, [type_]
    while waiting:
        current = waiting.pop()
        for field in current.fields:
            inner = field.message_type
            is_single = not _is_repeated(field) or (inner is not None and _is_map(inner))
            if inner is not None and is_single and inner.full_name not in seen | _TIMES:
                seen.add(inner.full_name)
                waiting.append(inner)
            elif field.type in _DTYPES and is_single and not (_is_map(current) and field.name == "key"):
                yield field


def _descriptor(name: str, definition: bytes) -> "Descriptor":
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import DecodeError

    shown = clip(printable(name), 100)
    if len(definition) > MAX_DEFINITION:
        raise CdrError(f"the definition has {len(definition):,} bytes; at most {MAX_DEFINITION:,} are read")
    try:
        files = {f.name: f for f in FileDescriptorSet.FromString(definition).file}
    except DecodeError as error:
        raise CdrError(f"the definition of {shown} is no FileDescriptorSet") from error
    pool = DescriptorPool()
    for file in _in_order(files):
        try:
            pool.Add(file)
        except TypeError as error:
            reason = clip(printable(str(error)), 200)
            raise CdrError(f"the definition of {shown} can't be used: {reason}") from error
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError as error:
        raise CdrError(f"the definition does not hold {shown}") from error


def _in_order(files: "dict[str, FileDescriptorProto]") -> "Iterator[FileDescriptorProto]":
    """Files after those that they depend on; the types of protobuf itself are added where a writer left them out."""
    from google.protobuf import duration_pb2, timestamp_pb2
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    wanted = {d for f in files.values() for d in f.dependency}
    for known in (duration_pb2.DESCRIPTOR, timestamp_pb2.DESCRIPTOR):
        if known.name in wanted and known.name not in files:
            files[known.name] = FileDescriptorProto.FromString(known.serialized_pb)
    seen: set[str] = set()
    waiting = [(n, False) for n in reversed(files)]
    while waiting:
        name, is_ready = waiting.pop()
        if is_ready:
            yield files[name]
        elif name not in seen and name in files:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(d, False) for d in files[name].dependency]


def _is_repeated(field: "FieldDescriptor") -> bool:
    known = getattr(field, "is_repeated", None)  # releases before 6.31 have the label only
    return bool(known) if known is not None else field.label == field.LABEL_REPEATED


class _View(Mapping[str, object]):
    """A message as a mapping of the fields that are set, or that have a value by default."""

    __slots__ = ("_message",)

    def __init__(self, message: "Message") -> None:
        self._message: Any = message

    def __getitem__(self, name: str) -> object:
        field = self._message.DESCRIPTOR.fields_by_name[name]
        value = self._value(field)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in self._message.DESCRIPTOR.fields if self._is_there(f))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_there(self, field: "FieldDescriptor") -> bool:
        return bool(not field.has_presence or self._message.HasField(field.name))

    def _value(self, field: "FieldDescriptor") -> object:
        if not self._is_there(field):
            return None
        value = getattr(self._message, field.name)
        is_message = field.message_type is not None
        if not _is_repeated(field):
            return _View(value) if is_message else value
        if is_message and _is_map(field.message_type):
            holds_messages = field.message_type.fields_by_name["value"].message_type is not None
            return {_key(k): _View(v) if holds_messages else v for k, v in value.items()}
        return [_View(v) for v in value] if is_message else list(value)


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def wire_varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends.

    Raises:
        CdrError: It goes beyond the message.
    """
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CdrError(f"{len(data):,} bytes are no protobuf message")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def wire_fields(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Fields of a message as they lie in it: number, first byte and end of the value.

    Raises:
        CdrError: It is no protobuf message.
    """
    at = 0
    while at < len(data):
        tag, at = wire_varint(data, at)
        start, wire = at, tag & 7
        if wire == _VARINT:
            _, at = wire_varint(data, at)
        elif wire == _DELIMITED:
            size, start = wire_varint(data, at)
            at = start + size
        elif wire in {_FIXED32, _FIXED64}:
            at += 4 if wire == _FIXED32 else 8
        else:
            raise CdrError(f"byte {at} of {len(data):,} has wire type {wire}; groups are not read")
        if at > len(data):
            raise CdrError(f"a field goes to byte {at:,}; the message has {len(data):,}")
        yield tag >> 3, start, at
