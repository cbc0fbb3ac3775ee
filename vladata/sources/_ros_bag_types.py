"""What the messages of a bag's topics are; and definitions of the standard types, for bags that hold none."""

import functools
from typing import NamedTuple

from ..text import clip, printable
from ._mcap_file import Channel
from ._mcap_types import MessageType, message_type
from ._ros2 import CdrError
from ._ros_bag_ros1 import Ros1ToCdr, ros2_text

__all__ = ["ROS1", "Opened", "has_standard_types", "opened_ros1", "opened_ros2", "standard_definition"]

ROS1 = "noetic"
"""The distribution whose types ROS 1 bags have."""

_USUAL = "humble"
"""The last one whose SQLite files hold no definitions."""


def has_standard_types() -> bool:
    """Whether the package that knows the standard types is installed."""
    try:
        import rosbags.typesys  # noqa: F401
    except ImportError:
        return False
    return True


@functools.cache
def standard_definition(type_: str, distro: str) -> tuple[bytes, str] | None:
    """A standard type with all types in it, as ROS 2 writes it.

    Args:
        type_: For instance `nav_msgs/msg/Odometry`; in ROS 1 without `msg`.
        distro: Name of a ROS distribution, as the bag says.

    Returns:
        The definition and the distribution that it is of; None where the type is no standard one.
    """
    from rosbags.typesys import Stores, TypesysError, get_typestore

    prefix = "ros1_" if distro == ROS1 else "ros2_"
    known = {s.value.removeprefix(prefix) for s in Stores if s.value.startswith(prefix)}
    used = distro if distro in known else _USUAL
    # The types of ROS 1 are written as in a bag of ROS 1.
    is_ros1 = used == ROS1
    parts = type_.split("/")
    name = f"{parts[0]}/msg/{parts[-1]}" if is_ros1 and len(parts) == 2 else type_
    try:
        text, _ = get_typestore(Stores(prefix + used)).generate_msgdef(name, ros_version=1 if is_ros1 else 2)
    except TypesysError:
        return None
    return text.encode(), used


class Opened(NamedTuple):
    """A topic as one file has it."""

    channel: Channel
    type: MessageType
    converter: Ros1ToCdr | None = None
    """Rewrites messages of ROS 1."""
    distro: str = ""
    """The ROS distribution whose definition was taken; empty where the bag has one."""
    is_extra_missing: bool = False
    """Whether an optional package might know the type."""


def _refused(channel: Channel, problem: str) -> Opened:
    type_ = message_type(channel)
    return Opened(channel, MessageType(name=type_.name, short=type_.short, problem=problem))


def opened_ros2(channel: Channel, declared: str, distro: str) -> Opened:
    """Find out how the messages of a ROS 2 topic are read; never raises.

    Args:
        channel: As the storage file has it.
        declared: How metadata.yaml says that its messages are serialized.
        distro: Name of the ROS distribution that recorded; empty where nobody says.
    """
    if declared != "cdr" and channel.encoding == "cdr":
        shown = clip(printable(declared), 40)
        return _refused(channel, f"metadata.yaml says that its messages are in {shown!r}; only 'cdr' is decoded")
    if channel.schema.endswith("_Event") and "/srv/" in channel.schema:
        return _refused(channel, "its messages are service events; only those of topics are decoded")
    type_ = message_type(channel)
    if not type_.problem or channel.encoding != "cdr" or channel.definition:
        return Opened(channel, type_)
    if not has_standard_types():
        return Opened(channel, type_, is_extra_missing=True)
    found = standard_definition(channel.schema, distro)
    if found is None:
        return Opened(channel, type_)
    channel = channel._replace(schema_encoding="ros2msg", definition=found[0])
    return Opened(channel, message_type(channel), distro=found[1])


def opened_ros1(channel: Channel, problem: str) -> Opened:
    """Find out how the messages of a ROS 1 topic are rewritten and read; never raises.

    Args:
        channel: With the definition as ROS 2 would have it.
        problem: Why it could not be rewritten; empty where it could.
    """
    is_extra_missing, distro = False, ""
    if not channel.definition.strip() and not problem:
        is_extra_missing = not has_standard_types()
        found = None if is_extra_missing else standard_definition(channel.schema, ROS1)
        if found is not None:
            channel = channel._replace(definition=ros2_text(channel.schema, found[0].decode()).encode())
            distro = found[1]
    type_ = message_type(channel)
    if not type_.problem and type_.definition is None:
        problem = f"the file has no definition of {printable(channel.schema)}"
    if problem or type_.problem:
        return _refused(channel, problem or type_.problem)._replace(is_extra_missing=is_extra_missing)
    assert type_.definition is not None
    try:
        return Opened(channel, type_, Ros1ToCdr(type_.definition), distro)
    except CdrError as error:
        return _refused(channel, str(error))
