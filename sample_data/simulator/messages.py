"""ROS 2 messages of a recording: their definitions, and one function to build each of them."""

from typing import Any

from .arm import JOINT_NAMES, FloatArray, JointReading

Message = dict[str, Any]
"""The fields of a message, as the MCAP writer wants them."""

_SEPARATOR = "=" * 80

_TIME = """MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""

_HEADER = """MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""

_MULTI_ARRAY_LAYOUT = """MSG: std_msgs/MultiArrayLayout
MultiArrayDimension[] dim
uint32 data_offset
"""

_MULTI_ARRAY_DIMENSION = """MSG: std_msgs/MultiArrayDimension
string label
uint32 size
uint32 stride
"""

_JOINT_STATE = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
"""

_COMPRESSED_IMAGE = """std_msgs/Header header
string format
uint8[] data
"""

_FLOAT64_MULTI_ARRAY = """MultiArrayLayout layout
float64[] data
"""

_STRING = """string data
"""


def _definition(*parts: str) -> str:
    """Join a message definition and those that it uses, as the ros2msg encoding wants them."""
    return f"{_SEPARATOR}\n".join(parts)


DEFINITIONS = {
    "sensor_msgs/msg/JointState": _definition(_JOINT_STATE, _HEADER, _TIME),
    "sensor_msgs/msg/CompressedImage": _definition(_COMPRESSED_IMAGE, _HEADER, _TIME),
    "std_msgs/msg/Float64MultiArray": _definition(_FLOAT64_MULTI_ARRAY, _MULTI_ARRAY_LAYOUT, _MULTI_ARRAY_DIMENSION),
    "std_msgs/msg/String": _definition(_STRING),
}
"""Message type to its whole definition."""


def joint_state(stamp_ns: int, reading: JointReading) -> Message:
    """Build a sensor_msgs/msg/JointState."""
    return {
        "header": _header(stamp_ns, "base"),
        "name": list(JOINT_NAMES),
        "position": reading.position.tolist(),
        "velocity": reading.velocity.tolist(),
        "effort": reading.effort.tolist(),
    }


def joint_command(targets: FloatArray) -> Message:
    """Build a std_msgs/msg/Float64MultiArray of position targets, [7]."""
    num_targets = len(targets)
    dimension = {"label": "joints", "size": num_targets, "stride": num_targets}
    return {"layout": {"dim": [dimension], "data_offset": 0}, "data": targets.tolist()}


def compressed_image(stamp_ns: int, camera: str, jpeg: bytes) -> Message:
    """Build a sensor_msgs/msg/CompressedImage."""
    return {"header": _header(stamp_ns, f"{camera}_camera"), "format": "jpeg", "data": jpeg}


def text(content: str) -> Message:
    """Build a std_msgs/msg/String."""
    return {"data": content}


def _header(stamp_ns: int, frame_id: str) -> Message:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return {"stamp": {"sec": seconds, "nanosec": nanoseconds}, "frame_id": frame_id}
