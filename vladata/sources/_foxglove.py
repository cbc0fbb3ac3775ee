"""Foxglove's message types in the encodings that recorders write them in: where images and stamps lie in a message.

Schemas: https://docs.foxglove.dev/docs/visualization/message-schemas.
"""

import base64
import binascii
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ._field_paths import Tree, TreePath
from ._ros2 import CdrError, ImagePlace, RawImage, byte_order
from ._ros2_fields import Field

if TYPE_CHECKING:
    from ._mcap_protobuf import ProtobufTree

__all__ = [
    "CDR_LAYOUTS",
    "ROLES",
    "JsonImages",
    "ProtobufImages",
    "Role",
    "cdr_image",
    "cdr_raw_image",
    "protobuf_stamp",
    "role_of",
]

Role = Literal["compressed_image", "image", "video", "joint_list", "joint_arrays", "log", ""]

ROLES: dict[str, Role] = {
    "CompressedImage": "compressed_image",
    "RawImage": "image",
    "CompressedVideo": "video",
    "JointStates": "joint_list",
    "JointState": "joint_arrays",
    "Log": "log",
}
"""By the name of the type without its package."""

_TIME = Field("timestamp", "builtin_interfaces/Time")
_ENCODED = (_TIME, Field("frame_id", "string"), Field("data", "uint8", 0), Field("format", "string"))
CDR_LAYOUTS: dict[Role, tuple[Field, ...]] = {
    "compressed_image": _ENCODED,
    "video": _ENCODED,
    "image": (
        _TIME,
        Field("frame_id", "string"),
        Field("width", "uint32"),
        Field("height", "uint32"),
        Field("encoding", "string"),
        Field("step", "uint32"),
        Field("data", "uint8", 0),
    ),
}
"""How the definitions of the types that are read by offset begin."""

_START = 4
_MAX_TEXT = 1024

_STRING, _BYTES, _UINT32, _FIXED32 = 9, 12, 13, 7


def role_of(schema: str) -> Role:
    """What a type of Foxglove is for, in any of the forms of its name; empty for other types."""
    for prefix in ("foxglove.", "foxglove_msgs/msg/", "foxglove_msgs/"):
        if schema.startswith(prefix):
            return ROLES.get(schema.removeprefix(prefix), "")
    return ""


class _Cdr:
    """Members of a CDR message, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._order = data, byte_order(data)
        self.at = _START + 8  # behind the time

    def u32(self) -> int:
        self.at = (self.at + 3) & ~3
        try:
            (value,) = struct.unpack_from(f"{self._order}I", self._data, self.at)
        except struct.error as error:
            raise CdrError(f"{len(self._data)} bytes are too few") from error
        self.at += 4
        return int(value)

    def block(self) -> tuple[int, int]:
        """First byte and size of a text or of bytes."""
        size = self.u32()
        start, self.at = self.at, self.at + size
        if self.at > len(self._data):
            raise CdrError(f"{size:,} bytes at byte {start}; the message has {len(self._data):,}")
        return start, size

    def text(self) -> str:
        start, size = self.block()
        return _text(self._data[start : start + size]).removesuffix("\0")


def _text(data: memoryview) -> str:
    if len(data) > _MAX_TEXT:
        raise CdrError(f"a text of {len(data):,} bytes; at most {_MAX_TEXT:,} are read here")
    return bytes(data).decode("utf-8", "replace")


def cdr_image(payload: memoryview) -> ImagePlace:
    """Find the data in a CompressedImage or CompressedVideo in CDR.

    Raises:
        CdrError: The payload is no such message.
    """
    members = _Cdr(payload)
    members.block()
    start, size = members.block()
    return ImagePlace(members.text(), start, size)


def cdr_raw_image(payload: memoryview) -> RawImage:
    """Take a RawImage in CDR apart.

    Raises:
        CdrError: The payload is no such message.
    """
    members = _Cdr(payload)
    members.block()
    width, height = members.u32(), members.u32()
    encoding, step = members.text(), members.u32()
    start, size = members.block()
    return _raw((height, width, step), encoding, payload[start : start + size])


def _raw(size: tuple[int, int, int], encoding: str, pixels: memoryview) -> RawImage:
    """A RawImage, whose numbers are little-endian."""
    height, width, step = size
    if step * height > len(pixels):
        raise CdrError(f"{height} rows of {step:,} bytes; the image has {len(pixels):,} bytes")
    return RawImage(height, width, encoding, False, step, pixels)


class ProtobufImages:
    """Finds images in protobuf messages without decoding them."""

    def __init__(self, tree: "ProtobufTree", path: str) -> None:
        """Prepare for the field that has the image's bytes, a dotted path of single fields.

        Raises:
            CdrError: There is no such field of bytes.
        """
        self._numbers: list[int] = []
        *outer, last = path.split(".")
        type_ = tree.descriptor
        for name in outer:
            field = type_.fields_by_name.get(name)
            type_ = field.message_type if field is not None else None
            if field is None or type_ is None or tree.is_repeated(field):
                raise CdrError(f"has no single message {name!r} on the way to {path!r}")
            self._numbers.append(field.number)
        field = type_.fields_by_name.get(last)
        if field is None or field.type != _BYTES or tree.is_repeated(field):
            there = ", ".join(f.name for f in type_.fields if f.type == _BYTES) or "none"
            raise CdrError(f"has no bytes in {path!r}; its fields of bytes are {there}")
        self._data = field.number
        self._texts = {n: self._field(type_, n, {_STRING}) for n in ("format", "encoding")}
        self._sizes = {n: self._field(type_, n, {_UINT32, _FIXED32}) for n in ("height", "width", "step")}

    def _field(self, type_: object, name: str, kinds: set[int]) -> tuple[int, int]:
        """Number and type of a field; zeros where there is none."""
        field = type_.fields_by_name.get(name)  # type: ignore[attr-defined]
        return (field.number, field.type) if field is not None and field.type in kinds else (0, 0)

    def _spans(self, payload: memoryview) -> tuple[dict[int, tuple[int, int]], memoryview, int]:
        """Fields of the inner message: the last of each number; that message, and where it begins."""
        from ._mcap_protobuf import wire_fields

        base, data = 0, payload
        for number in self._numbers:
            found = {n: (start, end) for n, start, end in wire_fields(data)}
            start, end = found.get(number, (0, 0))
            base, data = base + start, data[start:end]
        return {n: (start, end) for n, start, end in wire_fields(data)}, data, base

    def locate(self, payload: memoryview) -> ImagePlace:
        """Find the data of a message.

        Raises:
            CdrError: The payload is no such message.
        """
        spans, data, base = self._spans(payload)
        start, end = spans.get(self._data, (0, 0))
        form = spans.get(self._texts["format"][0], (0, 0))
        return ImagePlace(_text(data[slice(*form)]), base + start, end - start)

    def raw(self, payload: memoryview) -> RawImage:
        """Take a RawImage apart.

        Raises:
            CdrError: The payload is no such message.
        """
        from ._mcap_protobuf import wire_varint

        spans, data, _ = self._spans(payload)
        sizes = []
        for number, type_ in self._sizes.values():
            start, end = spans.get(number, (0, 0))
            if end == start:
                sizes.append(0)
            elif type_ == _FIXED32:
                sizes.append(int.from_bytes(data[start:end], "little"))
            else:
                sizes.append(wire_varint(data, start)[0])
        encoding = _text(data[slice(*spans.get(self._texts["encoding"][0], (0, 0)))])
        pixels = data[slice(*spans.get(self._data, (0, 0)))]
        return _raw((sizes[0], sizes[1], sizes[2]), encoding, pixels)


def protobuf_stamp(tree: "ProtobufTree") -> Callable[[memoryview], int | None] | None:
    """What reads the stamp of a type's messages; None where the type has none."""
    from ._field_times import stamp_of

    fields = tree.descriptor.fields_by_name
    for name in ("timestamp", "stamp"):
        field = fields.get(name)
        type_ = field.message_type if field is not None and not tree.is_repeated(field) else None
        if field is not None and type_ is not None and type_.full_name == "google.protobuf.Timestamp":
            number = field.number
            return lambda payload: _protobuf_time(payload, number)
    header = fields.get("header")
    if header is not None and header.message_type is not None:
        return lambda payload: stamp_of(tree.of(payload))
    return None


def _protobuf_time(payload: memoryview, number: int) -> int | None:
    from ._field_times import checked_ns
    from ._mcap_protobuf import wire_fields, wire_varint

    is_there, parts = False, {1: 0, 2: 0}
    for found, start, end in wire_fields(payload):
        if found == number:
            is_there = True
            inside = payload[start:end]
            for n, at, _ in wire_fields(inside):
                if n in parts:
                    value, _ = wire_varint(inside, at)
                    parts[n] = value - (1 << 64) if value >= 1 << 63 else value
    return checked_ns(parts[1], parts[2]) if is_there else None


class JsonImages:
    """Takes images out of JSON messages, where they are base64."""

    def __init__(self, tree: Tree, path: str) -> None:
        """Prepare for the member that has the image.

        Raises:
            CdrError: It is no path.
        """
        self._tree = tree
        self._path = TreePath(path)
        self._format, self._encoding = TreePath("format"), TreePath("encoding")

    def form(self, payload: memoryview) -> str:
        """What the message calls its image."""
        return self._text(payload, self._format)

    def _text(self, payload: memoryview, path: TreePath) -> str:
        try:
            (text,) = path.texts(self._tree.of(payload))
        except (CdrError, ValueError):
            return ""
        return text[:_MAX_TEXT]

    def data(self, payload: memoryview) -> bytes:
        """The image of a message.

        Raises:
            CdrError: There is none, or it is no base64.
        """
        value = self._path.value(self._tree.of(payload))
        if not isinstance(value, str):
            raise CdrError(f"{self._path.path} is no text; an image in JSON must be base64")
        text = value.partition(",")[2] if value.startswith("data:") else value
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CdrError(f"{self._path.path} is no base64: {error}") from error

    def raw(self, payload: memoryview) -> RawImage:
        """Take a RawImage apart.

        Raises:
            CdrError: The payload is no such message.
        """
        tree = self._tree.of(payload)
        sizes = []
        for name in ("height", "width", "step"):
            (value,), _ = TreePath(name).numbers(tree)
            if not isinstance(value, int) or not 0 <= value < 1 << 32:
                raise CdrError(f"{name} is {value!r}; must be a whole number")
            sizes.append(value)
        encoding = self._text(payload, self._encoding)
        return _raw((sizes[0], sizes[1], sizes[2]), encoding, memoryview(self.data(payload)))
