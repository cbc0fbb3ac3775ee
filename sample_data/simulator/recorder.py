"""The recorder: collects messages as they arrive and writes them as one ROS 2 style MCAP file."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mcap_ros2.writer import Writer

from .messages import DEFINITIONS, Message

INSTRUCTION_TOPIC = "/instruction"
SUBTASK_TOPIC = "/subtask"
JOINT_COMMANDS_TOPIC = "/joint_commands"
JOINT_STATES_TOPIC = "/joint_states"
OUTCOME_TOPIC = "/outcome"

TOPIC_TYPES = {
    INSTRUCTION_TOPIC: "std_msgs/msg/String",
    SUBTASK_TOPIC: "std_msgs/msg/String",
    JOINT_COMMANDS_TOPIC: "std_msgs/msg/Float64MultiArray",
    JOINT_STATES_TOPIC: "sensor_msgs/msg/JointState",
    "/cameras/front/compressed": "sensor_msgs/msg/CompressedImage",
    "/cameras/wrist/compressed": "sensor_msgs/msg/CompressedImage",
    OUTCOME_TOPIC: "std_msgs/msg/String",
}
"""Topic to message type."""

CHUNK_SIZE = 256 * 1024
"""Uncompressed size of a chunk of the file, bytes."""


@dataclass(frozen=True)
class _ReceivedMessage:
    log_time_ns: int
    topic: str
    message: Message


def camera_topic(camera: str) -> str:
    """Return the topic of the images of a camera."""
    return f"/cameras/{camera}/compressed"


class Recorder:
    """Messages of one recording, each with the robot computer's time of its arrival."""

    def __init__(self) -> None:
        self._received: list[_ReceivedMessage] = []

    def receive(self, topic: str, log_time_ns: int, message: Message) -> None:
        """Take a message that arrives at `log_time_ns`, Unix time; calls may be in any order."""
        self._received.append(_ReceivedMessage(log_time_ns, topic, message))

    def write(self, path: Path, end_ns: int) -> None:
        """Write the messages that have arrived until `end_ns`, ordered by arrival."""
        in_time = [received for received in self._received if received.log_time_ns <= end_ns]
        in_time.sort(key=lambda received: received.log_time_ns)
        num_written: Counter[str] = Counter()
        with path.open("wb") as stream, Writer(stream, chunk_size=CHUNK_SIZE) as writer:
            schemas = {
                datatype: writer.register_msgdef(datatype, definition) for datatype, definition in DEFINITIONS.items()
            }
            for received in in_time:
                writer.write_message(
                    topic=received.topic,
                    schema=schemas[TOPIC_TYPES[received.topic]],
                    message=received.message,
                    log_time=received.log_time_ns,
                    publish_time=received.log_time_ns,
                    sequence=num_written[received.topic],
                )
                num_written[received.topic] += 1
