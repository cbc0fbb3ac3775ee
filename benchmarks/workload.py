"""The recordings that are measured: made from a seed, message by message, so that any length fits into memory."""

import heapq
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, Writer

from .scenes import frame_pool

__all__ = ["BYTES_PER_S", "SCHEMA", "write_recording"]

SCHEMA = Path(__file__).with_name("arm.yaml")
START_NS = 1_700_000_000 * 10**9
CAMERA_HZ, JOINT_HZ = 30, 200
NUM_JOINTS = 7
BYTES_PER_S = 6_500_000
"""About the size of a recording."""

_SEPARATOR = "=" * 80 + "\n"
_HEADER = (
    f"{_SEPARATOR}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    f"{_SEPARATOR}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)
_DEFINITIONS = {
    "sensor_msgs/msg/CompressedImage": f"std_msgs/Header header\nstring format\nuint8[] data\n{_HEADER}",
    "sensor_msgs/msg/JointState": (
        f"std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{_HEADER}"
    ),
    "std_msgs/msg/Float64MultiArray": (
        "MultiArrayLayout layout\nfloat64[] data\n"
        f"{_SEPARATOR}MSG: std_msgs/MultiArrayLayout\nMultiArrayDimension[] dim\nuint32 data_offset\n"
        f"{_SEPARATOR}MSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride\n"
    ),
    "std_msgs/msg/String": "string data\n",
}
_TOPICS = {
    "/cameras/front/compressed": "sensor_msgs/msg/CompressedImage",
    "/cameras/wrist/compressed": "sensor_msgs/msg/CompressedImage",
    "/left/joint_states": "sensor_msgs/msg/JointState",
    "/right/joint_states": "sensor_msgs/msg/JointState",
    "/joint_commands": "std_msgs/msg/Float64MultiArray",
    "/instruction": "std_msgs/msg/String",
    "/outcome": "std_msgs/msg/String",
}

_Timed = tuple[int, str, bytes]
"""Time in ns, topic, message in CDR."""


class _Cdr:
    """A message in little-endian CDR, field by field."""

    def __init__(self) -> None:
        self._parts = [b"\0\1\0\0"]
        self._size = 0

    def add(self, form: str, *values: object) -> "_Cdr":
        """Append numbers, each aligned to its own size."""
        width = struct.calcsize(f"<{form[-1]}")
        return self._append(struct.pack(f"<{form}", *values), width)

    def text(self, text: str) -> "_Cdr":
        data = text.encode() + b"\0"
        return self.add("I", len(data))._append(data, 1)

    def data(self, data: bytes) -> "_Cdr":
        return self.add("I", len(data))._append(data, 1)

    def doubles(self, values: np.ndarray) -> "_Cdr":
        return self.add("I", len(values))._append(values.astype("<f8").tobytes(), 8)

    def header(self, time_ns: int, frame_id: str) -> "_Cdr":
        return self.add("iI", *divmod(time_ns, 10**9)).text(frame_id)

    def message(self) -> bytes:
        return b"".join(self._parts)

    def _append(self, data: bytes, alignment: int) -> "_Cdr":
        padding = -self._size % alignment
        self._parts += [b"\0" * padding, data]
        self._size += padding + len(data)
        return self


def write_recording(path: Path, *, seed: int, duration_s: float) -> None:
    """Write an MCAP file (zstd, chunks of 1 MiB) with two cameras, two arms and their commands."""
    messages = heapq.merge(
        _camera("front", seed, duration_s),
        _camera("wrist", seed + 1, duration_s),
        _joints("left", seed + 2, duration_s),
        _joints("right", seed + 3, duration_s),
        _commands(seed + 4, duration_s),
        iter([(START_NS, "/instruction", _Cdr().text(f"put cube {seed} into the bin").message())]),
        iter([(START_NS + round(duration_s * 1e9), "/outcome", _Cdr().text("success").message())]),
    )
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="vladata benchmarks")
        schemas = {n: writer.register_schema(n, "ros2msg", d.encode()) for n, d in _DEFINITIONS.items()}
        channels = {t: writer.register_channel(t, "cdr", schemas[n]) for t, n in _TOPICS.items()}
        for number, (time_ns, topic, data) in enumerate(messages):
            writer.add_message(channels[topic], time_ns, data, time_ns, number)
        writer.finish()


def _stamps(rate_hz: int, jitter_ns: float, seed: int, duration_s: float) -> Iterator[tuple[int, int]]:
    """Number, and time of capture; jitter is small against the period, so that times increase."""
    random = np.random.default_rng(seed)
    for k in range(round(duration_s * rate_hz)):
        yield k, START_NS + round(k * 1e9 / rate_hz + random.uniform(0, jitter_ns))


def _camera(name: str, seed: int, duration_s: float) -> Iterator[_Timed]:
    frames = frame_pool(seed)
    for k, time_ns in _stamps(CAMERA_HZ, 2e6, seed, duration_s):
        data = _Cdr().header(time_ns, name).text("jpeg").data(frames[k % len(frames)]).message()
        yield time_ns + 12_000_000, f"/cameras/{name}/compressed", data


def _joints(side: str, seed: int, duration_s: float) -> Iterator[_Timed]:
    phase = np.random.default_rng(seed).uniform(0, 6, NUM_JOINTS)
    names = [f"{side}{i + 1}" for i in range(NUM_JOINTS)]
    for k, time_ns in _stamps(JOINT_HZ, 2e5, seed, duration_s):
        angle = 0.3 * k / JOINT_HZ + phase
        message = _Cdr().header(time_ns, side).add("I", NUM_JOINTS)
        for name in names:
            message.text(name)
        message.doubles(np.sin(angle)).doubles(0.3 * np.cos(angle)).doubles(np.zeros(NUM_JOINTS))
        yield time_ns + 300_000, f"/{side}/joint_states", message.message()


def _commands(seed: int, duration_s: float) -> Iterator[_Timed]:
    phase = np.random.default_rng(seed).uniform(0, 6, 2 * NUM_JOINTS)
    for k, time_ns in _stamps(JOINT_HZ, 2e5, seed, duration_s):
        message = _Cdr().add("I", 1).text("joints").add("II", 2 * NUM_JOINTS, 2 * NUM_JOINTS).add("I", 0)
        yield time_ns, "/joint_commands", message.doubles(np.sin(0.3 * k / JOINT_HZ + phase)).message()
