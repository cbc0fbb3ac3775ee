"""One small valid recording of each kind that the sources read, written here with the formats' usual writers."""

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"

STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A valid recording in a folder of its own."""

    name: str
    source: str
    path: str
    """What is opened, relative to the folder; `.` is the folder."""
    options: dict[str, bool | float | str] = field(default_factory=dict)
    """Of the mapping."""
    mapping: dict[str, object] = field(default_factory=dict)
    """Further parts of the mapping: split, outcome, …."""

    def to_json(self) -> str:
        """As a text."""
        return json.dumps(asdict(self))


Writer = Callable[[Path], Seed | None]
WRITERS: dict[str, Writer] = {}


def writer(function: Writer) -> Writer:
    """Note a function that writes a seed into an empty folder; None where what it needs is not there."""
    WRITERS[function.__name__] = function
    return function


def write_all(folder: Path, names: Sequence[str]) -> list[Seed]:
    """Write seeds below a folder, each under its name."""
    found = []
    for name in names:
        function = WRITERS[name]
        target = folder / name
        target.mkdir(parents=True)
        seed = function(target)
        if seed is None:
            shutil.rmtree(target)
        else:
            (folder / f"{name}.json").write_text(seed.to_json())
            found.append(seed)
    return found


def load(folder: Path, name: str) -> Seed:
    """A seed that was written."""
    return Seed(**json.loads((folder / f"{name}.json").read_text()))


# Pieces -------------------------------------------------------------------------------------------------------------


def picture(index: int, height: int = 16, width: int = 24) -> np.ndarray:
    """An image that is not flat."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 9 + index, columns * 7, (rows + columns) * 5], axis=-1).astype(np.uint8)


def encoded(index: int, suffix: str = ".jpg") -> bytes:
    """The same, encoded."""
    import cv2

    return bytes(cv2.imencode(suffix, picture(index))[1])


def mp4(count: int = STEPS, codec: str = "libx264") -> bytes:
    """A video of so many frames."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        if codec == "libx264":
            stream.options = {"g": "2", "bf": "0"}
        for k in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(k, 16, 32), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def vector(size: int, count: int = STEPS) -> np.ndarray:
    """Numbers of float32, [count, size]."""
    return np.linspace(-1, 1, count * size, dtype=np.float32).reshape(count, size)


# MCAP ---------------------------------------------------------------------------------------------------------------

JOINT_STATE = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
IMAGE_HEADER = JOINT_STATE[JOINT_STATE.index("=") :]
COMPRESSED = "std_msgs/Header header\nstring format\nuint8[] data\n" + IMAGE_HEADER
RAW_IMAGE = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
    "uint8[] data\n" + IMAGE_HEADER
)
TEXT = "string data\n"
START = 1_700_000_000_000_000_000


def _header(k: int) -> dict[str, object]:
    stamp = START + k * 100_000_000
    return {"stamp": {"sec": stamp // 10**9, "nanosec": stamp % 10**9}, "frame_id": "base"}


@writer
def mcap_ros2(folder: Path) -> Seed:
    """ROS 2 messages in compressed chunks."""
    return _mcap_ros2(folder, "mcap_ros2", "ZSTD")


@writer
def mcap_ros2_plain(folder: Path) -> Seed:
    """The same without compression, so that a change reaches the messages."""
    return _mcap_ros2(folder, "mcap_ros2_plain", "NONE")


def _mcap_ros2(folder: Path, name: str, compression: str) -> Seed:
    from mcap.writer import CompressionType
    from mcap_ros2.writer import Writer as Ros2Writer

    with (folder / "demo.mcap").open("wb") as file:
        target = Ros2Writer(file, chunk_size=4000, compression=getattr(CompressionType, compression))
        types = {
            "sensor_msgs/msg/JointState": JOINT_STATE,
            "sensor_msgs/msg/CompressedImage": COMPRESSED,
            "sensor_msgs/msg/Image": RAW_IMAGE,
            "std_msgs/msg/String": TEXT,
        }
        schemas = {n: target.register_msgdef(n, text) for n, text in types.items()}
        for k in range(STEPS):
            image = picture(k)
            messages = {
                "/joint_states": ("JointState", {"name": ["a", "b"], "position": [k * 0.1, 1.0]}),
                "/joint_commands": ("JointState", {"name": ["a", "b"], "position": [k * 0.1, 0.5]}),
                "/camera/compressed": ("CompressedImage", {"format": "jpeg", "data": encoded(k)}),
                "/camera/raw": (
                    "Image",
                    {"height": 16, "width": 24, "encoding": "rgb8", "is_bigendian": 0, "step": 72,
                     "data": image.tobytes()},
                ),
                "/task": ("String", {"data": "go"}),
            }  # fmt: skip
            for topic, (kind, message) in messages.items():
                full = next(t for t in types if t.endswith("/" + kind))
                body = message if kind == "String" else {"header": _header(k), **message}
                stamp = START + k * 100_000_000
                target.write_message(topic, schemas[full], body, stamp, stamp)
        target.finish()
    return Seed(name=name, source="mcap", path="demo.mcap", mapping={"instruction": {"from": "/task"}})


@writer
def mcap_json(folder: Path) -> Seed:
    """JSON messages, Foxglove's among them."""
    from mcap.writer import CompressionType
    from mcap.writer import Writer as McapWriter

    numbers = {"type": "object", "properties": {"q": {"type": "array", "items": {"type": "number"}}}}
    image = {
        "type": "object",
        "properties": {
            "timestamp": {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}},
            "frame_id": {"type": "string"},
            "data": {"type": "string", "contentEncoding": "base64"},
            "format": {"type": "string"},
        },
    }
    import base64

    with (folder / "demo.mcap").open("wb") as file:
        target = McapWriter(file, compression=CompressionType.NONE)
        target.start()
        first = target.register_schema("Joints", "jsonschema", json.dumps(numbers).encode())
        second = target.register_schema("foxglove.CompressedImage", "jsonschema", json.dumps(image).encode())
        channels = [target.register_channel("/q", "json", first), target.register_channel("/image", "json", second)]
        for k in range(STEPS):
            stamp = {"sec": START // 10**9, "nsec": k * 10**8}
            picture_ = {"timestamp": stamp, "frame_id": "c", "format": "jpeg"}
            picture_["data"] = base64.b64encode(encoded(k)).decode()
            for channel, message in zip(channels, ({"q": [k * 0.5, 2]}, picture_), strict=True):
                data = json.dumps(message).encode()
                time = START + k * 10**8
                target.add_message(channel, log_time=time, publish_time=time, data=data)
        target.finish()
    return Seed(name="mcap_json", source="mcap", path="demo.mcap")


def _foxglove(folder: Path, name: str, schema_name: str, fields: dict[str, object], bodies: list[object]) -> Seed:
    """An MCAP file of one topic in JSON."""
    from mcap.writer import CompressionType
    from mcap.writer import Writer as McapWriter

    time = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"timestamp": time, "frame_id": {"type": "string"}, **fields}}
    with (folder / "demo.mcap").open("wb") as file:
        target = McapWriter(file, compression=CompressionType.NONE)
        target.start()
        number = target.register_schema(schema_name, "jsonschema", json.dumps(schema).encode())
        channel = target.register_channel("/topic", "json", number)
        for k, body in enumerate(bodies):
            stamp = {"sec": START // 10**9, "nsec": k * 10**8}
            data = json.dumps({"timestamp": stamp, "frame_id": "c", **body}).encode()  # type: ignore[dict-item]
            target.add_message(channel, log_time=START + k * 10**8, publish_time=START, data=data)
        target.finish()
    return Seed(name=name, source="mcap", path="demo.mcap")


@writer
def mcap_video(folder: Path) -> Seed:
    """Foxglove's CompressedVideo: H.264 in Annex B, a packet in each message."""
    import base64

    import av

    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 32, 16, "yuv420p"
    codec.framerate, codec.options = 10, {"g": "3", "bf": "0", "tune": "zerolatency"}
    packets = []
    for k in range(STEPS):
        frame = av.VideoFrame.from_ndarray(picture(k, 16, 32), format="rgb24").reformat(format="yuv420p")
        frame.pts = k
        packets += [bytes(p) for p in codec.encode(frame)]
    packets += [bytes(p) for p in codec.encode(None)]
    bodies = [{"format": "h264", "data": base64.b64encode(p).decode()} for p in packets]
    fields = {"data": {"type": "string", "contentEncoding": "base64"}, "format": {"type": "string"}}
    return _foxglove(folder, "mcap_video", "foxglove.CompressedVideo", fields, list(bodies))


@writer
def mcap_transform(folder: Path) -> Seed:
    """Foxglove's FrameTransform."""
    numbers = {n: {"type": "number"} for n in "xyzw"}
    fields = {n: {"type": "object", "properties": numbers} for n in ("translation", "rotation")}
    fields["child_frame_id"] = {"type": "string"}
    bodies = [
        {"child_frame_id": "tool", "translation": {"x": 0.1 * k, "y": 0, "z": 1},
         "rotation": {"x": 0, "y": 0, "z": 0, "w": 1}}
        for k in range(STEPS)
    ]  # fmt: skip
    return _foxglove(folder, "mcap_transform", "foxglove.FrameTransform", fields, list(bodies))


@writer
def mcap_protobuf(folder: Path) -> Seed:
    """Protobuf messages with their descriptor."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from mcap.writer import CompressionType
    from mcap.writer import Writer as McapWriter

    file_descriptor = descriptor_pb2.FileDescriptorProto(name="fuzz.proto", package="fuzz", syntax="proto3")
    inner = file_descriptor.message_type.add(name="Inner")
    inner.field.add(name="x", number=1, type=1, label=1)
    message = file_descriptor.message_type.add(name="Arm")
    message.field.add(name="position", number=1, type=1, label=3)
    message.field.add(name="mode", number=2, type=9, label=1)
    message.field.add(name="inner", number=3, type=11, label=1, type_name=".fuzz.Inner")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_descriptor)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("fuzz.Arm"))
    descriptors = descriptor_pb2.FileDescriptorSet(file=[file_descriptor])
    with (folder / "demo.mcap").open("wb") as file:
        target = McapWriter(file, compression=CompressionType.NONE)
        target.start()
        schema = target.register_schema("fuzz.Arm", "protobuf", descriptors.SerializeToString())
        channel = target.register_channel("/arm", "protobuf", schema)
        for k in range(STEPS):
            value = kind(position=[0.1 * k, 1.0], mode="on", inner={"x": k})
            data = value.SerializeToString()
            time = START + k * 10**8
            target.add_message(channel, log_time=time, publish_time=time, data=data)
        target.finish()
    return Seed(name="mcap_protobuf", source="mcap", path="demo.mcap")


@writer
def mcap_split(folder: Path) -> Seed:
    """A file that marks divide into episodes."""
    seed = _mcap_ros2(folder, "mcap_split", "NONE")
    split = {"from": "/task", "kind": "each"}
    return Seed(name="mcap_split", source="mcap", path=seed.path, mapping={"split": split})


# ROS bags -----------------------------------------------------------------------------------------------------------


def _ros_messages(store: object) -> list[tuple[str, str, list[object]]]:
    types = store.types  # type: ignore[attr-defined]
    header, time = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]

    def head(k: int) -> object:
        stamp = START + k * 10**8
        extra = {"seq": k} if "seq" in header.__dataclass_fields__ else {}
        return header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="b", **extra)

    joint, image, text = (types[f"sensor_msgs/msg/{n}"] for n in ("JointState", "CompressedImage", "Image"))
    none = np.zeros(0)
    joints = [
        joint(header=head(k), name=["a", "b"], position=np.array([k * 0.1, 1]), velocity=none, effort=none)
        for k in range(STEPS)
    ]
    images = [image(header=head(k), format="jpeg", data=np.frombuffer(encoded(k), np.uint8)) for k in range(STEPS)]
    raws = [
        text(header=head(k), height=16, width=24, encoding="rgb8", is_bigendian=0, step=72,
             data=picture(k).reshape(-1))
        for k in range(STEPS)
    ]  # fmt: skip
    return [
        ("/joint_states", "sensor_msgs/msg/JointState", joints),
        ("/camera/compressed", "sensor_msgs/msg/CompressedImage", images),
        ("/camera/raw", "sensor_msgs/msg/Image", raws),
    ]


def _bag1(folder: Path, name: str, compression: object) -> Seed | None:
    try:
        from rosbags.rosbag1 import Writer as BagWriter
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        return None
    store = get_typestore(Stores.ROS1_NOETIC)
    bag = BagWriter(folder / "demo.bag")
    if compression:
        bag.set_compression(getattr(BagWriter.CompressionFormat, str(compression)))
    with bag:
        for topic, kind, messages in _ros_messages(store):
            connection = bag.add_connection(topic, kind, typestore=store)
            for k, message in enumerate(messages):
                bag.write(connection, START + k * 10**8, store.serialize_ros1(message, kind))
    return Seed(name=name, source="ros_bag", path="demo.bag")


@writer
def bag1(folder: Path) -> Seed | None:
    """A ROS 1 bag."""
    return _bag1(folder, "bag1", None)


@writer
def bag1_lz4(folder: Path) -> Seed | None:
    """A ROS 1 bag with compressed chunks."""
    return _bag1(folder, "bag1_lz4", "LZ4")


def _bag2(folder: Path, name: str, *, storage: str, compression: tuple[str, str] | None = None) -> Seed | None:
    try:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
        from rosbags.rosbag2 import Writer as BagWriter
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        return None
    store = get_typestore(Stores.ROS2_HUMBLE)
    bag = BagWriter(folder / "bag", version=9, storage_plugin=getattr(StoragePlugin, storage))
    if compression:
        bag.set_compression(getattr(CompressionMode, compression[0]), getattr(CompressionFormat, compression[1]))
    with bag:
        for topic, kind, messages in _ros_messages(store):
            connection = bag.add_connection(topic, kind, typestore=store)
            for k, message in enumerate(messages):
                bag.write(connection, START + k * 10**8, bytes(store.serialize_cdr(message, kind)))
    return Seed(name=name, source="ros_bag", path="bag")


@writer
def bag2_sqlite(folder: Path) -> Seed | None:
    """A ROS 2 bag in sqlite."""
    return _bag2(folder, "bag2_sqlite", storage="SQLITE3")


@writer
def bag2_mcap(folder: Path) -> Seed | None:
    """A ROS 2 bag in MCAP, which is a recording by itself."""
    seed = _bag2(folder, "bag2_mcap", storage="MCAP")
    return seed and Seed(name=seed.name, source="mcap", path="bag/bag.mcap")


@writer
def bag2_messages(folder: Path) -> Seed | None:
    """A ROS 2 bag whose messages are compressed one by one."""
    return _bag2(folder, "bag2_messages", storage="SQLITE3", compression=("MESSAGE", "ZSTD"))


@writer
def bag2_file(folder: Path) -> Seed | None:
    """A ROS 2 bag that is compressed whole."""
    return _bag2(folder, "bag2_file", storage="SQLITE3", compression=("FILE", "ZSTD"))


# HDF5 ---------------------------------------------------------------------------------------------------------------


@writer
def aloha(folder: Path) -> Seed:
    """ALOHA with JPEG images and a mobile base."""
    import h5py

    images = [encoded(k) for k in range(STEPS)]
    width = max(map(len, images))
    with h5py.File(folder / "episode_0.hdf5", "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, True
        for name, size in (("qpos", 14), ("qvel", 14), ("effort", 14)):
            file[f"observations/{name}"] = vector(size)
        file["action"], file["base_action"] = vector(14), vector(2)
        rows = np.zeros((STEPS, width), np.uint8)
        for k, image in enumerate(images):
            rows[k, : len(image)] = np.frombuffer(image, np.uint8)
        file.create_dataset("observations/images/cam_high", data=rows, chunks=(1, width))
        file["compress_len"] = np.array([[len(i) for i in images]], float)
    return Seed(name="aloha", source="aloha_hdf5", path="episode_0.hdf5")


@writer
def aloha_raw(folder: Path) -> Seed:
    """ALOHA with raw images."""
    import h5py

    with h5py.File(folder / "episode_0.hdf5", "w") as file:
        file.attrs["sim"] = True
        file["observations/qpos"], file["observations/qvel"], file["action"] = vector(14), vector(14), vector(14)
        images = np.stack([picture(k) for k in range(STEPS)])
        file.create_dataset("observations/images/top", data=images, chunks=(1, *images.shape[1:]))
    return Seed(name="aloha_raw", source="aloha_hdf5", path="episode_0.hdf5")


@writer
def robomimic(folder: Path) -> Seed:
    """robomimic with two demonstrations and a mask."""
    import h5py

    with h5py.File(folder / "demo.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = 2 * STEPS
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}})
        for index in (1, 10):
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = STEPS
            demo.attrs["ep_meta"] = json.dumps({"lang": "lift it"})
            demo["actions"], demo["states"] = vector(7), vector(9)
            demo["rewards"], demo["dones"] = np.zeros(STEPS), np.eye(STEPS)[-1]
            demo["obs/robot0_eef_pos"] = vector(3)
            demo["obs/agentview_image"] = np.stack([picture(k) for k in range(STEPS)])
        file["mask/train"] = np.array([b"demo_1"])
    return Seed(name="robomimic", source="robomimic_hdf5", path="demo.hdf5")


@writer
def robomimic_flat(folder: Path) -> Seed:
    """Numbered arrays at the root."""
    import h5py

    with h5py.File(folder / "demo.hdf5", "w") as file:
        for index in (0, 2, 10):
            file[f"actions_{index}"], file[f"states_{index}"] = vector(7), vector(9)
    return Seed(name="robomimic_flat", source="robomimic_hdf5", path="demo.hdf5")


@writer
def hdf5_episodes(folder: Path) -> Seed:
    """An HDF5 file with a group for each episode."""
    import h5py

    with h5py.File(folder / "log.h5", "w") as file:
        for index in (1, 2, 10):
            group = file.create_group(f"runs/run_{index}")
            group["q"], group["t"] = vector(3), np.arange(STEPS) * 10**8 + START
            group["task"] = "go"
    options = {"episodes": "runs/run_*", "time": "t", "time_unit": "ns"}
    mapping = {"streams": {"s0": {"from": "q", "join": "index"}}, "instruction": {"from": "task"}}
    return Seed(name="hdf5_episodes", source="hdf5_columns", path="log.h5", options=options, mapping=mapping)


@writer
def libero(folder: Path) -> Seed:
    """LIBERO with one demonstration."""
    import h5py

    with h5py.File(folder / "task_demo.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"], data.attrs["macros_image_convention"] = "Libero", "opengl"
        data.attrs["problem_info"] = json.dumps({"language_instruction": ["pick it up"]})
        data.attrs["bddl_file_name"], data.attrs["num_demos"], data.attrs["total"] = "a.bddl", 1, STEPS
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        demo = data.create_group("demo_0")
        demo.attrs["num_samples"] = STEPS
        for name, size in (("ee_states", 6), ("gripper_states", 2), ("joint_states", 7)):
            demo[f"obs/{name}"] = vector(size)
        for name in ("agentview_rgb", "eye_in_hand_rgb"):
            demo[f"obs/{name}"] = np.stack([picture(k) for k in range(STEPS)])
        demo["actions"], demo["states"], demo["robot_states"] = vector(7), vector(9), vector(9)
        demo["rewards"] = demo["dones"] = np.eye(STEPS, dtype=np.uint8)[-1]
    return Seed(name="libero", source="libero_hdf5", path="task_demo.hdf5")


@writer
def hdf5_any(folder: Path) -> Seed:
    """An HDF5 file of its own kind: numbers, times, text, images, variable lengths."""
    import h5py

    with h5py.File(folder / "log.h5", "w") as file:
        file["time"] = START / 1e9 + np.arange(STEPS) * 0.1
        file["robot/q"], file["robot/target"] = vector(6), vector(6)
        file.create_dataset("robot/zipped", data=vector(4), chunks=(2, 4), compression="gzip", shuffle=True)
        file["robot/text"] = [f"step {k}" for k in range(STEPS)]
        images = file.create_dataset("camera/jpeg", (STEPS,), dtype=h5py.vlen_dtype(np.uint8))
        for k in range(STEPS):
            images[k] = np.frombuffer(encoded(k), np.uint8)
        file["camera/raw"] = np.stack([picture(k) for k in range(STEPS)])
        file["robot/record"] = np.zeros(STEPS, dtype=[("a", "f4"), ("b", "i2")])
        file["robot/q"].attrs["names"] = ["a", "b", "c", "d", "e", "f"]
    return Seed(name="hdf5_any", source="hdf5_columns", path="log.h5", options={"time": "time"})


@writer
def droid(folder: Path) -> Seed | None:
    """A DROID episode: trajectory.h5 with a video for each of two cameras."""
    import h5py

    episode = folder / "success" / "2023-07-07" / "Fri_Jul__7_09:42:23_2023"
    (episode / "recordings" / "MP4").mkdir(parents=True)
    cameras = {"22246076": 0, "26638268": 1}
    ms = START // 10**6 + np.arange(STEPS) * 67
    with h5py.File(episode / "trajectory.h5", "w") as file:
        file.attrs.update({"success": True, "failure": False, "current_task": "put it away", "user": "someone",
                           "robot_serial_number": "panda-1", "version_number": "1.1", "time": "Fri_Jul"})  # fmt: skip
        state = file.create_group("observation/robot_state")
        for name, size in (("cartesian_position", 6), ("joint_positions", 7), ("joint_velocities", 7)):
            state[name] = vector(size).astype(float)
        state["gripper_position"] = vector(1)[:, 0].astype(float)
        stamps = file.create_group("observation/timestamp")
        for name in ("read_start", "read_end"):
            stamps[f"robot_state/{name}"] = ms
        stamps["robot_state/robot_timestamp_seconds"] = ms // 1000
        stamps["robot_state/robot_timestamp_nanos"] = ms % 1000 * 10**6
        for name in ("step_start", "policy_start", "sleep_start", "control_start", "step_end"):
            stamps[f"control/{name}"] = ms
        stamps["skip_action"] = np.zeros(STEPS, bool)
        for serial, kind in cameras.items():
            for name in ("read_start", "read_end", "frame_received", "estimated_capture"):
                stamps[f"cameras/{serial}_{name}"] = ms
            file[f"observation/camera_type/{serial}"] = np.full(STEPS, kind)
        for name in ("success", "failure", "movement_enabled", "controller_on"):
            file[f"observation/controller_info/{name}"] = np.zeros(STEPS, bool)
        for name, size in (("cartesian_position", 6), ("cartesian_velocity", 6), ("joint_position", 7),
                           ("joint_velocity", 7)):  # fmt: skip
            file[f"action/{name}"] = vector(size).astype(float)
        for name in ("gripper_position", "gripper_velocity", "target_gripper_position"):
            file[f"action/{name}"] = vector(1)[:, 0].astype(float)
        file["action/target_cartesian_position"] = vector(6).astype(float)
    names = dict(zip(("wrist", "ext1"), cameras, strict=True))
    metadata: dict[str, object] = {"uuid": "lab+1+2023", "lab": "lab", "user": "someone", "success": True,
                                   "current_task": "put it away", "trajectory_length": STEPS}  # fmt: skip
    for place, serial in names.items():
        metadata |= {f"{place}_cam_serial": serial, f"{place}_mp4_path": f"x/recordings/MP4/{serial}.mp4",
                     f"{place}_cam_extrinsics": [0.0] * 6}  # fmt: skip
        (episode / "recordings" / "MP4" / f"{serial}.mp4").write_bytes(mp4())
    (episode / "metadata_lab+1+2023.json").write_text(json.dumps(metadata))
    return Seed(name="droid", source="droid", path=str(episode.relative_to(folder)))


# LeRobot ------------------------------------------------------------------------------------------------------------


def _lerobot_features() -> dict[str, object]:
    single = {"shape": [1], "names": None}
    return {
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]},
        "observation.images.front": {"dtype": "video", "shape": [16, 32, 3],
                                     "names": ["height", "width", "channels"]},
        "observation.images.wrist": {"dtype": "image", "shape": [16, 24, 3],
                                     "names": ["height", "width", "channels"]},
        "timestamp": {"dtype": "float32", **single},
        **{n: {"dtype": "int64", **single} for n in ("frame_index", "episode_index", "index", "task_index")},
    }  # fmt: skip


def _lerobot_rows(episode: int, first: int, *, has_language: bool = False) -> object:
    import pyarrow as pa

    listed = pa.list_(pa.float32(), 3)
    columns: dict[str, object] = {
        "observation.state": pa.array(vector(3).tolist(), type=listed),
        "action": pa.array(vector(3).tolist(), type=listed),
        "observation.images.wrist": pa.array(
            [{"bytes": encoded(k, ".png"), "path": None} for k in range(STEPS)],
            type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "timestamp": pa.array(np.arange(STEPS, dtype=np.float32) / 10),
        "frame_index": pa.array(np.arange(STEPS)),
        "episode_index": pa.array(np.full(STEPS, episode)),
        "index": pa.array(first + np.arange(STEPS)),
        "task_index": pa.array(np.zeros(STEPS, np.int64)),
    }
    if has_language:
        row = {"role": "user", "content": "reach", "style": "subtask", "timestamp": 0.0, "camera": None,
               "tool_calls": []}  # fmt: skip
        texts = [(n, pa.string()) for n in ("role", "content", "style", "camera")]
        fields = [*texts, ("timestamp", pa.float32()), ("tool_calls", pa.list_(pa.string()))]
        columns["language_persistent"] = pa.array([[row]] * STEPS, type=pa.list_(pa.struct(fields)))
    return pa.table(columns)


@writer
def lerobot_v21(folder: Path) -> Seed:
    """LeRobot v2.1 with a video and images in rows."""
    import pyarrow.parquet as pq

    root = folder / "dataset"
    info = {
        "codebase_version": "v2.1", "fps": 10, "robot_type": "so101", "features": _lerobot_features(),
        "total_episodes": 1, "total_frames": STEPS, "total_tasks": 1, "total_videos": 1, "total_chunks": 1,
        "chunks_size": 1000, "splits": {"train": "0:1"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    lines = {
        "meta/info.json": json.dumps(info),
        "meta/episodes.jsonl": json.dumps({"episode_index": 0, "tasks": ["go"], "length": STEPS}) + "\n",
        "meta/tasks.jsonl": json.dumps({"task_index": 0, "task": "go"}) + "\n",
        "meta/episodes_stats.jsonl": json.dumps({"episode_index": 0, "stats": {}}) + "\n",
    }
    for name, text in lines.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    data = root / "data/chunk-000/episode_000000.parquet"
    video = root / "videos/chunk-000/observation.images.front/episode_000000.mp4"
    for path in (data, video):
        path.parent.mkdir(parents=True)
    pq.write_table(_lerobot_rows(0, 0), data)
    video.write_bytes(mp4())
    return Seed(name="lerobot_v21", source="lerobot_v2", path="dataset")


@writer
def lerobot_v30(folder: Path) -> Seed:
    """LeRobot v3.0 with two episodes in one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = folder / "dataset"
    features = _lerobot_features()
    features["language_persistent"] = {"dtype": "language", "shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0", "fps": 10, "robot_type": "so101", "features": features,
        "total_episodes": 2, "total_frames": 2 * STEPS, "total_tasks": 1, "chunks_size": 1000,
        "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "splits": {"train": "0:2"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    names = {
        "data": "data/chunk-000/file-000.parquet",
        "episodes": "meta/episodes/chunk-000/file-000.parquet",
        "tasks": "meta/tasks.parquet",
        "video": "videos/observation.images.front/chunk-000/file-000.mp4",
    }
    for name in names.values():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/stats.json").write_text("{}")
    tables = [_lerobot_rows(k, k * STEPS, has_language=True) for k in range(2)]
    with pq.ParquetWriter(root / names["data"], tables[0].schema) as target:  # type: ignore[attr-defined]
        for table in tables:
            target.write_table(table)
    key = "videos/observation.images.front/"
    episodes = {
        "episode_index": [0, 1], "length": [STEPS] * 2, "tasks": [["go"]] * 2,
        "data/chunk_index": [0, 0], "data/file_index": [0, 0],
        "dataset_from_index": [0, STEPS], "dataset_to_index": [STEPS, 2 * STEPS],
        f"{key}chunk_index": [0, 0], f"{key}file_index": [0, 0],
        f"{key}from_timestamp": [0.0, STEPS / 10], f"{key}to_timestamp": [STEPS / 10, 2 * STEPS / 10],
        "meta/episodes/chunk_index": [0, 0], "meta/episodes/file_index": [0, 0],
    }  # fmt: skip
    pq.write_table(pa.table(episodes), root / names["episodes"])
    tasks = pa.table({"task_index": [0], "task": ["go"]})
    index = {"index_columns": ["task"], "columns": [], "column_indexes": []}
    pq.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(index)}), root / names["tasks"])
    (root / names["video"]).write_bytes(mp4(2 * STEPS))
    return Seed(name="lerobot_v30", source="lerobot_v3", path="dataset")


# RLDS ---------------------------------------------------------------------------------------------------------------


@writer
def rlds(folder: Path) -> Seed:
    """What TFDS wrote for the tests: one split with every kind of feature."""
    source = ROOT / "tests" / "golden" / "rlds" / "golden_robot" / "1.0.0"
    target = folder / "golden_robot" / "1.0.0"
    shutil.copytree(source, target)
    (target / "golden_robot-val.tfrecord-00000-of-00001").unlink()
    info = json.loads((target / "dataset_info.json").read_text())
    info["splits"] = info["splits"][:1]
    (target / "dataset_info.json").write_text(json.dumps(info))
    labels = {
        "instruction": {"from": "language_instruction"},
        "subtask": {"from": "all_instructions"},
        "outcome": {"from": "action/mode", "success": ["stop"]},
    }
    return Seed(name="rlds", source="rlds", path=".", options={"reward": "reward"}, mapping=labels)


# Tables with videos -------------------------------------------------------------------------------------------------


@writer
def csv_run(folder: Path) -> Seed:
    """A CSV with times, numbers and texts beside a video and its stamps."""
    lines = ["timestamp,joint_a,joint_b,target_a,target_b,is_moving,note"]
    lines += [f'{2.5 + k * 0.1:.6f},{k * 0.1},{1.5},{k * 0.2},-1e-3,True,"a, b"' for k in range(STEPS)]
    (folder / "run").mkdir()
    (folder / "run" / "data.csv").write_text("\n".join(lines) + "\n")
    (folder / "run" / "front.mp4").write_bytes(mp4())
    stamps = ["frame,timestamp"] + [f"{k},{2.5 + k * 0.1:.6f}" for k in range(STEPS)]
    (folder / "run" / "front_timestamps.csv").write_text("\n".join(stamps) + "\n")
    return Seed(name="csv_run", source="csv_video", path="run", options={"table": "data.csv", "video_time": "rows"})


@writer
def csv_one(folder: Path) -> Seed:
    """A CSV alone."""
    lines = ["t,q0,q1"] + [f"{k * 0.02},{k},{-k}" for k in range(20)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return Seed(name="csv_one", source="csv_video", path="log.csv")


@writer
def csv_sidecar(folder: Path) -> Seed:
    """A CSV beside a video with a file of stamps."""
    seed = csv_run(folder)
    assert seed is not None
    (folder / "run" / "front_timestamps.csv").rename(folder / "run" / "front.timestamps.csv")
    options = {"table": "data.csv", "video_time": "sidecar"}
    return Seed(name="csv_sidecar", source=seed.source, path=seed.path, options=options)


@writer
def csv_video_start(folder: Path) -> Seed:
    """A CSV beside a video whose own stamps count from the table's start."""
    csv_run(folder)
    (folder / "run" / "front_timestamps.csv").unlink()
    return Seed(name="csv_video_start", source="csv_video", path="run", options={"video_time": "pts_from_table_start"})


@writer
def csv_folder(folder: Path) -> Seed:
    """A folder of tables, each a demonstration."""
    (folder / "runs").mkdir()
    for number in range(2):
        lines = ["timestamp,q0,q1"] + [f"{k * 0.02},{k},{-k}" for k in range(8)]
        (folder / "runs" / f"log_{number}.csv").write_text("\n".join(lines) + "\n")
    return Seed(name="csv_folder", source="csv_video", path="runs")


@writer
def json_lines(folder: Path) -> Seed:
    """JSON lines."""
    (folder / "run").mkdir()
    lines = [json.dumps({"time": START + k * 10**8, "q": [k, 1.5], "tcp": {"x": 0.1}}) for k in range(STEPS)]
    (folder / "run" / "log.jsonl").write_text("\n".join(lines) + "\n")
    return Seed(name="json_lines", source="csv_video", path="run", options={"time_unit": "ns"})


@writer
def parquet_run(folder: Path) -> Seed:
    """A Parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "run").mkdir()
    table = pa.table(
        {
            "timestamp": pa.array(START + np.arange(STEPS) * 10**8, type=pa.timestamp("ns")),
            "state": pa.array(vector(3).tolist(), type=pa.list_(pa.float32())),
            "grip": pa.array(np.arange(STEPS) / 7),
            "image": pa.array([encoded(k) for k in range(STEPS)]),
        }
    )
    pq.write_table(table, folder / "run" / "log.parquet")
    return Seed(name="parquet_run", source="csv_video", path="run")


# UMI ----------------------------------------------------------------------------------------------------------------


def _zarr_members() -> dict[str, bytes]:
    """A zarr 2 store without any package: groups, arrays with one chunk or one for each row."""
    import zlib

    group = json.dumps({"zarr_format": 2}).encode()
    members = {".zgroup": group, "data/.zgroup": group, "meta/.zgroup": group}

    def add(name: str, values: np.ndarray, rows: int, codec: dict[str, object] | None) -> None:
        members[f"{name}/.zarray"] = json.dumps(
            {
                "zarr_format": 2, "shape": list(values.shape), "chunks": [rows, *values.shape[1:]],
                "dtype": values.dtype.str, "compressor": codec, "fill_value": 0, "order": "C", "filters": None,
            }
        ).encode()  # fmt: skip
        for chunk in range(-(-len(values) // rows)):
            part = np.zeros((rows, *values.shape[1:]), values.dtype)
            block = values[chunk * rows : (chunk + 1) * rows]
            part[: len(block)] = block
            place = ".".join([str(chunk), *["0"] * (values.ndim - 1)])
            data = part.tobytes()
            members[f"{name}/{place}"] = zlib.compress(data) if codec else data

    zipped: dict[str, object] = {"id": "zlib", "level": 1}
    for name, size in (("eef_pos", 3), ("eef_rot_axis_angle", 3), ("gripper_width", 1)):
        add(f"data/robot0_{name}", vector(size), 4, zipped)
    add("data/robot0_demo_start_pose", vector(6).astype(float), STEPS, None)
    add("data/camera0_rgb", np.stack([picture(k) for k in range(STEPS)]), 1, zipped)
    add("meta/episode_ends", np.array([2, STEPS], np.int64), 2, None)
    return members


@writer
def umi_zip(folder: Path) -> Seed:
    """A replay buffer in a ZIP file."""
    with zipfile.ZipFile(folder / "dataset.zarr.zip", "w", zipfile.ZIP_STORED) as target:
        for name, data in _zarr_members().items():
            target.writestr(name, data)
    return Seed(name="umi_zip", source="umi_zarr", path="dataset.zarr.zip")


@writer
def umi_jxl(folder: Path) -> Seed | None:
    """A replay buffer in a ZIP file, images as JPEG XL and numbers in Blosc."""
    try:
        import imagecodecs
        import numcodecs
    except ImportError:
        return None
    members = _zarr_members()
    images = [imagecodecs.jpegxl_encode(picture(k)) for k in range(STEPS)]
    meta = json.loads(members["data/camera0_rgb/.zarray"])
    meta["compressor"] = {"id": "imagecodecs_jpegxl", "level": None, "effort": 1, "distance": 0.0}
    members["data/camera0_rgb/.zarray"] = json.dumps(meta).encode()
    members |= {f"data/camera0_rgb/{k}.0.0.0": bytes(i) for k, i in enumerate(images)}
    blosc = numcodecs.Blosc(cname="zstd", clevel=5)
    meta = json.loads(members["data/robot0_eef_pos/.zarray"])
    meta["compressor"], meta["chunks"] = blosc.get_config(), [STEPS, 3]
    members["data/robot0_eef_pos/.zarray"] = json.dumps(meta).encode()
    members = {n: d for n, d in members.items() if not n.startswith("data/robot0_eef_pos/") or n.endswith("y")}
    members["data/robot0_eef_pos/0.0"] = bytes(blosc.encode(vector(3)))
    with zipfile.ZipFile(folder / "dataset.zarr.zip", "w", zipfile.ZIP_STORED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return Seed(name="umi_jxl", source="umi_zarr", path="dataset.zarr.zip")


@writer
def umi_folder(folder: Path) -> Seed:
    """A replay buffer in a folder."""
    root = folder / "dataset.zarr"
    for name, data in _zarr_members().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return Seed(name="umi_folder", source="umi_zarr", path="dataset.zarr")


# Real files, where they are -----------------------------------------------------------------------------------------


def _real(source: str, place: str, path: str = "", *, mapping: dict[str, object] | None = None) -> None:
    """Note a real recording below `shared/data`: a file, or a folder and what in it is opened."""
    name = "real_" + Path(place).stem.replace("-", "_").replace(".", "_")

    def copy(folder: Path) -> Seed | None:
        origin = REAL / place
        if not origin.exists():
            return None
        if origin.is_dir():
            shutil.copytree(origin, folder / origin.name)
        else:
            shutil.copyfile(origin, folder / origin.name)
        for item in folder.rglob("*"):
            item.chmod(0o755 if item.is_dir() else 0o644)
        opened = origin.name + (f"/{path}" if path else "")
        return Seed(name=name, source=source, path=opened, mapping=mapping or {})

    WRITERS[name] = copy


for _name in ("ch-chx-mx-pad-rch", "ch-chx-mx-rch-rsh-sum", "ch-mx-pad", "rch-rsh-st", "ch-pad-st"):
    _real("mcap", f"mcap_conformance/TenMessages/TenMessages-{_name}.mcap")
for _name in ("foxglove_log", "simple-protobuf"):
    _real("mcap", f"rerun_mcap_samples/{_name}.mcap")
_BAGS = "rosbag2_edge_cases/rosbag2_tests/resources"
_real("ros_bag", f"{_BAGS}/sqlite3/bag_with_topics_and_service_events")
_real("ros_bag", f"{_BAGS}/compressed_bag")
_real("ros_bag", f"{_BAGS}/reindex_test_bags/message_compression/message_compression_0.db3")
_real("ros_bag", "mcap_conformance/chatter.db3")
_real("lerobot_v3", "rebot_devarm_lerobot_v30")


@writer
def real_csv(folder: Path) -> Seed | None:
    """The beginning of the log of a teleoperated arm."""
    origin = REAL / "csv_robot_logs" / "act_train" / "latency_runs" / "run_20260514_203014"
    if not origin.exists():
        return None
    (folder / "run").mkdir()
    for name in ("data.csv", "events.csv"):
        lines = (origin / name).read_bytes().splitlines(keepends=True)
        (folder / "run" / name).write_bytes(b"".join(lines[:30]))
    return Seed(name="real_csv", source="csv_video", path="run")


@writer
def real_bridge(folder: Path) -> Seed | None:
    """Two records of BridgeData."""
    origin = REAL / "bridge_rlds_tfrecord" / "bridge_dataset" / "1.0.0"
    if not origin.exists():
        return None
    target = folder / "bridge_dataset" / "1.0.0"
    target.mkdir(parents=True)
    (target / "features.json").write_bytes((origin / "features.json").read_bytes())
    data = next(origin.glob("*train.tfrecord*")).read_bytes()
    end = 0
    for _ in range(2):
        end += struct.unpack_from("<Q", data, end)[0] + 16
    (target / "bridge_dataset-train.tfrecord-00000-of-00001").write_bytes(data[:end])
    label = {"instruction": {"from": "language_instruction"}}
    return Seed(name="real_bridge", source="rlds", path=".", mapping=label)
