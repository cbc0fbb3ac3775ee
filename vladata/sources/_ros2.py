"""ROS 2 messages in CDR: the types that fill recordings, read by offset without objects in between.

Every reader takes one payload after the other and keeps numbers only. All other types: `_ros2_fields`.
"""

import struct
from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "JOINT_FIELDS",
    "MULTI_ARRAYS",
    "CdrError",
    "ImagePlace",
    "JointStates",
    "MultiArrays",
    "RawImage",
    "Vectors",
    "byte_order",
    "compressed_image",
    "header_stamp",
    "raw_image",
    "string",
]

JOINT_FIELDS = ("position", "velocity", "effort")

MULTI_ARRAYS = {
    f"std_msgs/{name}MultiArray": dtype
    for name, dtype in {
        "Float64": "<f8", "Float32": "<f4", "Int64": "<i8", "Int32": "<i4", "Int16": "<i2", "Int8": "<i1",
        "UInt64": "<u8", "UInt32": "<u4", "UInt16": "<u2", "UInt8": "<u1",
    }.items()
}  # fmt: skip
"""Message types with a layout and then one array, and the array's number type."""

MAX_TEXT = 64 * 1024
"""Longest text, bytes."""

_DATA = 4
"""Length of the encapsulation header, where alignment begins."""

_FIELD_NAMES = 16

_STAMP = {"<": struct.Struct("<iI"), ">": struct.Struct(">iI")}
_HEADER = {"<": struct.Struct("<iII"), ">": struct.Struct(">iII")}
_U32 = {"<": struct.Struct("<I"), ">": struct.Struct(">I")}


class CdrError(ValueError):
    """A payload is not a message of its type; the text says why."""


class ImagePlace(NamedTuple):
    """Where the image lies in a CompressedImage."""

    format: str
    offset: int
    """Of the image in the payload."""
    size: int


class RawImage(NamedTuple):
    """A sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    """Bytes of a row, padding included."""
    pixels: memoryview


_ENCAPSULATIONS = {2: "PL_CDR", 3: "PL_CDR", **dict.fromkeys(range(6, 12), "XCDR2")}
"""Others than plain CDR, by the low byte (DDS-XTypes 1.3, 7.6.2.1.2)."""


def byte_order(payload: memoryview) -> str:
    """Byte order of a payload, as struct writes it.

    Raises:
        CdrError: The payload is not plain CDR.
    """
    if len(payload) < _DATA:
        raise CdrError(f"{len(payload)} bytes; a CDR message has at least {_DATA}")
    if payload[0] != 0 or payload[1] > 1:
        name = _ENCAPSULATIONS.get(payload[1], "") if payload[0] == 0 else ""
        raise CdrError(
            f"encapsulation {bytes(payload[:2]).hex()}; must be plain CDR, 0000 or 0001"
            + (f": {name} is not read" if name else "")
        )
    return "<" if payload[1] else ">"


def _align4(at: int) -> int:
    return (at + 3) & ~3


def _skip_string(payload: memoryview, at: int, order: str) -> int:
    """The byte behind a string, not aligned."""
    at = _align4(at)
    end = at + 4 + int(_U32[order].unpack_from(payload, at)[0])
    if end > len(payload):
        raise CdrError(f"a string goes to byte {end:,}; the message has {len(payload):,}")
    return end


def _text(payload: memoryview, at: int, order: str) -> tuple[str, int]:
    """A string and the byte behind it."""
    at = _align4(at)
    end = _skip_string(payload, at, order)
    if end - at - 4 > MAX_TEXT:
        raise CdrError(f"a text has {end - at - 4:,} bytes; at most {MAX_TEXT:,} are read")
    try:
        return bytes(payload[at + 4 : end]).removesuffix(b"\0").decode(), end
    except UnicodeDecodeError as error:
        raise CdrError(f"a text is not UTF-8 at byte {at + 4 + error.start}") from error


def header_stamp(payload: memoryview) -> int:
    """Stamp of a message that begins with a header, ns.

    Raises:
        CdrError: The payload is too short or not plain CDR.
    """
    order = byte_order(payload)
    if len(payload) < _DATA + 8:
        raise CdrError(f"{len(payload)} bytes; a message with a header has at least {_DATA + 12}")
    seconds, nanoseconds = _STAMP[order].unpack_from(payload, _DATA)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def string(payload: memoryview) -> str:
    """Text of a std_msgs/String.

    Raises:
        CdrError: The payload is not a message of this type.
    """
    try:
        return _text(payload, _DATA, byte_order(payload))[0]
    except struct.error as error:
        raise CdrError(f"{len(payload)} bytes are too few") from error


def compressed_image(payload: memoryview) -> ImagePlace:
    """Find the image in a sensor_msgs/CompressedImage.

    Raises:
        CdrError: The payload is not a message of this type.
    """
    order = byte_order(payload)
    try:
        at = _skip_string(payload, _DATA + 8, order)
        form, at = _text(payload, at, order)
        at = _align4(at)
        size = int(_U32[order].unpack_from(payload, at)[0])
    except struct.error as error:
        raise CdrError(f"{len(payload)} bytes are too few") from error
    if at + 4 + size > len(payload):
        raise CdrError(f"an image of {size:,} bytes at byte {at + 4}; the message has {len(payload):,}")
    return ImagePlace(form, at + 4, size)


def raw_image(payload: memoryview) -> RawImage:
    """Take a sensor_msgs/Image apart.

    Raises:
        CdrError: The payload is not a message of this type.
    """
    order = byte_order(payload)
    try:
        at = _align4(_skip_string(payload, _DATA + 8, order))
        height, width = struct.unpack_from(f"{order}II", payload, at)
        encoding, at = _text(payload, at + 8, order)
        is_bigendian = payload[at] != 0
        at = _align4(at + 1)
        step, size = struct.unpack_from(f"{order}II", payload, at)
    except (struct.error, IndexError) as error:
        raise CdrError(f"{len(payload)} bytes are too few") from error
    if at + 8 + size > len(payload) or step * height > size:
        raise CdrError(
            f"{height} rows of {step:,} bytes; the image has {size:,} bytes and the message {len(payload):,}"
        )
    return RawImage(height, width, encoding, is_bigendian, step, payload[at + 8 : at + 8 + size])


class Vectors:
    """Vectors of one field, one per message, end to end."""

    def __init__(self, dtype: str) -> None:
        """Begin empty, for a little-endian number type."""
        self.dtype = np.dtype(dtype)
        self.lengths = array("I")
        """Elements of each message's vector."""
        self._data = bytearray()

    def append(self, data: memoryview | bytes, order: str = "<") -> None:
        """Add one vector as bytes."""
        if order == ">":
            data = np.frombuffer(data, self.dtype.newbyteorder(">")).astype(self.dtype).tobytes()
        self._data += data
        self.lengths.append(len(data) // self.dtype.itemsize)

    def clear(self) -> None:
        """Forget what was added."""
        self._data.clear()
        del self.lengths[:]

    def flat(self) -> NDArray[np.generic]:
        """All numbers, end to end."""
        return np.frombuffer(self._data, self.dtype)


def _sequence(payload: memoryview, at: int, order: str, itemsize: int) -> tuple[int, int]:
    """First byte and end of the numbers of a sequence."""
    at = _align4(at)
    count = int(_U32[order].unpack_from(payload, at)[0])
    at += 4
    if itemsize == 8 and count:  # an empty sequence is followed by no padding
        at = ((at - _DATA + 7) & ~7) + _DATA
    end = at + itemsize * count
    if end > len(payload):
        raise CdrError(f"{count:,} numbers go to byte {end:,}; the message has {len(payload):,}")
    return at, end


class JointStates:
    """Fields of sensor_msgs/JointState messages, with the names that came with each."""

    def __init__(self, fields: frozenset[str]) -> None:
        """Keep these of `position`, `velocity` and `effort`."""
        self.fields = {f: Vectors("<f8") for f in JOINT_FIELDS if f in fields}
        self.names: list[tuple[str, ...]] = []
        """All lists of names that occur."""
        self.names_of = array("I")
        """Which of them each message has."""
        self._known: dict[tuple[str, ...], int] = {}
        self._head = b""
        self._end = 0
        self._last = 0
        self._size = -1
        self._counts = struct.Struct("<III")
        self._count_values = (0, 0, 0)
        self._counts_at = 0
        self._cuts: list[tuple[Vectors, int, int]] = []

    def add(self, payload: memoryview) -> None:
        """Read one message.

        Raises:
            CdrError: The payload is not a message of this type.
        """
        # Mostly all but the stamp and the numbers is the same as in the message before.
        if (
            len(payload) == self._size
            and payload[0] == 0
            and payload[1] == 1
            and payload[_DATA + 8 : self._end] == self._head
            and self._counts.unpack_from(payload, self._counts_at) == self._count_values
        ):
            for vectors, start, end in self._cuts:
                vectors.append(payload[start:end])
        else:
            self._read_whole(payload)
        self.names_of.append(self._last)

    def _read_whole(self, payload: memoryview) -> None:
        """Read a message from its start, and remember what lies where."""
        order = byte_order(payload)
        self._size = -1
        self._read_names(payload, order)
        at = self._end
        spans: list[tuple[int, int]] = []
        try:
            for _ in JOINT_FIELDS:
                start, at = _sequence(payload, at, order, 8)
                spans.append((start, at))
        except struct.error as error:
            raise CdrError(f"{len(payload)} bytes are too few") from error
        found = dict(zip(JOINT_FIELDS, spans, strict=True))
        for field, vectors in self.fields.items():
            vectors.append(payload[slice(*found[field])], order)
        if order == "<":
            counts_at = [_align4(before) for before in (self._end, spans[0][1], spans[1][1])]
            gaps = [counts_at[1] - counts_at[0] - 4, counts_at[2] - counts_at[1] - 4]
            self._counts = struct.Struct(f"<I{gaps[0]}xI{gaps[1]}xI")
            self._counts_at = counts_at[0]
            self._count_values = self._counts.unpack_from(payload, self._counts_at)
            self._cuts = [(vectors, *found[field]) for field, vectors in self.fields.items()]
            self._size = len(payload)

    def _read_names(self, payload: memoryview, order: str) -> None:
        try:
            at = _align4(_skip_string(payload, _DATA + 8, order))
            count = int(_U32[order].unpack_from(payload, at)[0])
            at += 4
            if count > len(payload) // 4:
                raise CdrError(f"{count:,} names in a message of {len(payload):,} bytes")
            names = []
            for _ in range(count):
                name, at = _text(payload, at, order)
                names.append(name)
        except struct.error as error:
            raise CdrError(f"{len(payload)} bytes are too few") from error
        key = tuple(names)
        if key not in self._known:
            self._known[key] = len(self.names)
            self.names.append(key)
        self._last = self._known[key]
        self._head, self._end = bytes(payload[_DATA + 8 : at]), at


class MultiArrays:
    """The array of std_msgs/Float64MultiArray and its like; the layout is only passed over."""

    def __init__(self, dtype: str) -> None:
        """Read arrays of a little-endian number type."""
        self.vectors = Vectors(dtype)
        self.num_offset = 0
        """Messages whose layout has a data_offset."""

    def add(self, payload: memoryview) -> None:
        """Read one message.

        Raises:
            CdrError: The payload is not a message of this type.
        """
        order = byte_order(payload)
        try:
            dimensions = int(_U32[order].unpack_from(payload, _DATA)[0])
            if dimensions > len(payload) // 12:
                raise CdrError(f"{dimensions:,} dimensions in a message of {len(payload):,} bytes")
            at = _DATA + 4
            for _ in range(dimensions):
                at = _align4(_skip_string(payload, at, order)) + 8
            self.num_offset += _U32[order].unpack_from(payload, at)[0] != 0
            at, end = _sequence(payload, at + 4, order, self.vectors.dtype.itemsize)
        except struct.error as error:
            raise CdrError(f"{len(payload)} bytes are too few") from error
        self.vectors.append(payload[at:end], order)
