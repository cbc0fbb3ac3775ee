"""What a channel's messages are: which reader fits them, and why some can't be read."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from ..text import clip, printable
from ._field_paths import Tree
from ._field_times import stamp_of
from ._foxglove import CDR_LAYOUTS, Role, protobuf_stamp, role_of
from ._mcap_file import Channel, Message
from ._mcap_json import JsonTree
from ._mcap_protobuf import ProtobufTree
from ._ros2 import MULTI_ARRAYS, CdrError
from ._ros2_fields import DTYPES, NO_SIGNAL, Definition, Field, parse_definition
from ._ros_bag_ros1 import Ros1ToCdr, ros2_text

__all__ = ["MessageType", "Types", "message_type", "numeric_paths"]

Known = Literal["joint_state", "multi_array", "string"] | Role

_HEADER = Field("header", "std_msgs/Header")
_STANDARD: dict[str, tuple[Known, tuple[Field, ...]]] = {
    "sensor_msgs/JointState": (
        "joint_state",
        (_HEADER, Field("name", "string", 0), *(Field(f, "float64", 0) for f in ("position", "velocity", "effort"))),
    ),
    "sensor_msgs/CompressedImage": (
        "compressed_image",
        (_HEADER, Field("format", "string"), Field("data", "uint8", 0)),
    ),
    "sensor_msgs/Image": (
        "image",
        (
            _HEADER,
            Field("height", "uint32"),
            Field("width", "uint32"),
            Field("encoding", "string"),
            Field("is_bigendian", "uint8"),
            Field("step", "uint32"),
            Field("data", "uint8", 0),
        ),
    ),
    "std_msgs/String": ("string", (Field("data", "string"),)),
}
for _name in MULTI_ARRAYS:
    _item = _name.removeprefix("std_msgs/").removesuffix("MultiArray").lower()
    _STANDARD[_name] = ("multi_array", (Field("layout", "std_msgs/MultiArrayLayout"), Field("data", _item, 0)))

_PARTS = {
    "std_msgs/Header": (Field("stamp", "builtin_interfaces/Time"), Field("frame_id", "string")),
    "builtin_interfaces/Time": (Field("sec", "int32"), Field("nanosec", "uint32")),
    "std_msgs/MultiArrayLayout": (Field("dim", "std_msgs/MultiArrayDimension", 0), Field("data_offset", "uint32")),
    "std_msgs/MultiArrayDimension": (Field("label", "string"), Field("size", "uint32"), Field("stride", "uint32")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageType:
    """How the messages of a channel can be read."""

    name: str
    """As the file names it; a channel without a schema: its encoding."""
    short: str
    """`package/Type`."""
    known: Known = ""
    """A type that is read by offset, or has fields of its own by default; empty: by its definition."""
    has_header: bool = False
    """Whether messages may carry a stamp."""
    definition: Definition | None = None
    encoding: str = "cdr"
    digest: bytes = b""
    """Of a definition in another language than ROS."""
    tree: Tree | None = field(default=None, compare=False, repr=False)
    """Where messages are not CDR: what makes trees of them."""
    stamp: Callable[[memoryview], int | None] | None = field(default=None, compare=False, repr=False)
    """Reads the stamp of a message that is not plain ROS; None: it begins with it."""
    rewrite: Callable[[Message], Message] | None = field(default=None, compare=False, repr=False)
    """Where messages are ROS 1: what makes them CDR."""
    problem: str = ""
    """Why the messages can't be decoded; empty where they can."""

    @property
    def is_image(self) -> bool:
        """Whether a camera can be mapped to it."""
        return self.known in {"compressed_image", "image", "video"}

    @property
    def is_foxglove(self) -> bool:
        """Whether it is one of Foxglove's types."""
        return bool(role_of(self.name))


Types = dict[tuple[str, str, str, bytes], MessageType]
"""What was found out of the channels of one file."""


def message_type(channel: Channel, known: Types | None = None) -> MessageType:
    """Find out how a channel's messages are read; never raises.

    Args:
        channel: As the file defines it.
        known: Filled, so that equal definitions are parsed once.
    """
    key = (channel.encoding, channel.schema, channel.schema_encoding, channel.definition)
    if known is None or key not in known:
        found = _READERS.get(channel.encoding, _unreadable)(channel)
        if known is None:
            return found
        known[key] = found
    return known[key]


def _short(channel: Channel) -> str:
    parts = channel.schema.split("/")
    return f"{parts[0]}/{parts[-1]}" if len(parts) > 1 else channel.schema


def _unreadable(channel: Channel) -> MessageType:
    shown = clip(printable(channel.encoding), 40)
    readable = ", ".join(f"'{name}'" for name in _READERS)
    problem = f"messages are encoded as {shown!r}; this release decodes {readable}"
    return MessageType(name=channel.schema or channel.encoding, short=_short(channel), problem=problem)


def _cdr_type(channel: Channel) -> MessageType:
    short, name = _short(channel), channel.schema or channel.encoding
    known, fields = _STANDARD.get(short, ("", ()))
    if channel.schema_encoding == "ros2msg" and channel.definition.strip():
        try:
            definition = parse_definition(channel.schema, channel.definition)
        except CdrError as error:
            return MessageType(name=name, short=short, problem=printable(str(error)))
        is_standard = definition.fields == fields and all(
            definition.types[t] == part for t, part in _PARTS.items() if t in definition.types
        )
        role = role_of(channel.schema)
        layout = CDR_LAYOUTS.get(role, ())
        return MessageType(
            name=name,
            short=short,
            known=(known if is_standard else "") or (role if definition.fields[: len(layout)] == layout else ""),
            has_header=_begins_with_stamp(definition),
            definition=definition,
        )
    if known:
        # Only the definition is missing or in another language; the type is one that everybody has.
        return MessageType(name=name, short=short, known=known, has_header=fields[0] == _HEADER)
    shown = clip(printable(channel.schema_encoding), 40)
    problem = f"the definition of {printable(name)} is {shown!r}; this release reads 'ros2msg'"
    if channel.schema_encoding == "ros2msg" or not channel.definition:
        problem = f"the file has no definition of {printable(name) or 'its messages'}"
    return MessageType(name=name, short=short, problem=problem)


def _begins_with_stamp(definition: Definition) -> bool:
    """Whether a message begins with the standard header, or with a time that is its stamp."""
    if definition.has_header:
        return definition.types["std_msgs/Header"] == _PARTS["std_msgs/Header"]
    first = definition.fields[0] if definition.fields else None
    is_time = first in {Field(n, "builtin_interfaces/Time") for n in ("timestamp", "stamp")}
    return is_time and definition.types["builtin_interfaces/Time"] == _PARTS["builtin_interfaces/Time"]


def _json_type(channel: Channel) -> MessageType:
    tree = JsonTree()
    return MessageType(
        name=channel.schema or channel.encoding,
        short=_short(channel),
        known=role_of(channel.schema) or ("joint_arrays" if channel.schema.endswith("JointState") else ""),
        has_header=True,
        encoding="json",
        digest=hashlib.sha256(channel.definition).digest(),
        tree=tree,
        stamp=lambda payload: stamp_of(tree.of(payload)),
    )


def _protobuf_type(channel: Channel) -> MessageType:
    name, short = channel.schema or channel.encoding, _short(channel)
    if channel.schema_encoding != "protobuf":
        shown = clip(printable(channel.schema_encoding), 40)
        problem = f"the definition of {printable(name)} is {shown!r}; protobuf messages need 'protobuf'"
        return MessageType(name=name, short=short, problem=problem)
    try:
        tree = ProtobufTree(channel.schema, channel.definition)
    except CdrError as error:
        return MessageType(name=name, short=short, problem=printable(str(error)))
    stamp = protobuf_stamp(tree)
    has_arrays = {"name", "position"} <= set(tree.descriptor.fields_by_name)
    known: Known = role_of(channel.schema) or ("joint_arrays" if name.endswith("JointState") and has_arrays else "")
    return MessageType(
        name=name,
        short=short,
        known=known,
        has_header=stamp is not None,
        encoding="protobuf",
        digest=hashlib.sha256(channel.definition).digest(),
        tree=tree,
        stamp=stamp,
    )


def _ros1_type(channel: Channel) -> MessageType:
    """Of messages that are rewritten as CDR, so that one set of readers serves both."""
    try:
        text = ros2_text(channel.schema, channel.definition.decode("utf-8", "replace"))
        as_cdr = channel._replace(encoding="cdr", schema_encoding="ros2msg", definition=text.encode())
        found = _cdr_type(as_cdr)
        if found.definition is None:
            # Without one nobody knows how to rewrite the messages, however well their type is known.
            problem = found.problem or f"the file has no definition of {printable(found.name)}"
            return MessageType(name=found.name, short=found.short, problem=problem)
        convert = Ros1ToCdr(found.definition).convert
    except CdrError as error:
        return MessageType(name=channel.schema, short=_short(channel), problem=printable(str(error)))

    def rewrite(message: Message) -> Message:
        done = convert(message.payload)
        return message._replace(payload=memoryview(done.payload), offset=message.offset + done.shift)

    return replace(found, rewrite=rewrite, encoding="ros1")


_READERS: dict[str, Callable[[Channel], MessageType]] = {
    "cdr": _cdr_type,
    "json": _json_type,
    "protobuf": _protobuf_type,
    "ros1": _ros1_type,
}
"""By the encoding of the messages."""


def numeric_paths(definition: Definition) -> list[str]:
    """Fields of a message, at the top, that give numbers: numeric ones and types made of single numbers."""
    paths = []
    for member in definition.fields:
        if member.type in NO_SIGNAL:
            continue
        if member.type in DTYPES:
            paths.append(member.name)
        elif member.length is None and member.type in definition.types:
            try:
                definition.leaves(member.name)
            except CdrError:
                continue
            paths.append(member.name)
    return paths
