"""What a channel's messages are: which reader fits them, and why some can't be read."""

from dataclasses import dataclass
from typing import Literal

from ..text import clip, printable
from ._mcap_file import Channel
from ._ros2 import MULTI_ARRAYS, CdrError
from ._ros2_fields import DTYPES, NO_SIGNAL, Definition, Field, parse_definition

__all__ = ["MessageType", "message_type", "numeric_paths"]

Known = Literal["joint_state", "multi_array", "string", "compressed_image", "image", ""]

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
    """A type that is read by offset; empty: by its definition."""
    has_header: bool = False
    definition: Definition | None = None
    problem: str = ""
    """Why the messages can't be decoded; empty where they can."""

    @property
    def is_image(self) -> bool:
        """Whether a camera can be mapped to it."""
        return self.known in {"compressed_image", "image"}


def message_type(channel: Channel) -> MessageType:
    """Find out how a channel's messages are read; never raises."""
    parts = channel.schema.split("/")
    short = f"{parts[0]}/{parts[-1]}" if len(parts) > 1 else channel.schema
    name = channel.schema or channel.encoding
    if channel.encoding != "cdr":
        shown = clip(printable(channel.encoding), 40)
        problem = f"messages are encoded as {shown!r}; this release decodes 'cdr' (ROS 2)"
        return MessageType(name=name, short=short, problem=problem)
    known, fields = _STANDARD.get(short, ("", ()))
    if channel.schema_encoding == "ros2msg" and channel.definition.strip():
        try:
            definition = parse_definition(channel.schema, channel.definition)
        except CdrError as error:
            return MessageType(name=name, short=short, problem=printable(str(error)))
        is_standard = definition.fields == fields and all(
            definition.types[t] == part for t, part in _PARTS.items() if t in definition.types
        )
        has_header = definition.has_header and definition.types["std_msgs/Header"] == _PARTS["std_msgs/Header"]
        return MessageType(
            name=name,
            short=short,
            known=known if is_standard else "",
            has_header=has_header,
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


def numeric_paths(definition: Definition) -> list[str]:
    """Fields of a message, at the top, that give numbers: numeric ones and types made of single numbers."""
    paths = []
    for field in definition.fields:
        if field.type in NO_SIGNAL:
            continue
        if field.type in DTYPES:
            paths.append(field.name)
        elif field.length is None and field.type in definition.types:
            try:
                definition.leaves(field.name)
            except CdrError:
                continue
            paths.append(field.name)
    return paths
