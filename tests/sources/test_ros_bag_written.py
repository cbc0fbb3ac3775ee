"""Bags written with rosbags' own writers and read back: every storage and compression, split, renamed, incomplete."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vladata.embodiment import Embodiment
from vladata.errors import MissingExtraError, SourceError
from vladata.ingest import discover
from vladata.mapping import Mapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, _ros_bag_types, mcap, ros_bag
from vladata.units import Clock

START = 1_700_000_000_000_000_000
ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS2 = get_typestore(Stores.ROS2_HUMBLE)

PRIVATE = (
    "std_msgs/Header header\nuint8 mode\nfloat64 force\nstring[] who\nfloat32[3] push\nduration left\ntime[] when\n"
)
for _store, _header in ((ROS1, "uint32 seq\ntime stamp\nstring frame_id\n"), (ROS2, None)):
    _text = (
        PRIVATE
        if _header
        else PRIVATE.replace("time[]", "builtin_interfaces/Time[]").replace(
            "duration left", "builtin_interfaces/Duration left"
        )
    )
    _store.register(get_types_from_msg(_text, "lab_msgs/msg/Private"))

FOXGLOVE = "foxglove_msgs/msg/CompressedImage"
for _store, _time in ((ROS1, "time"), (ROS2, "builtin_interfaces/Time")):
    _store.register(get_types_from_msg(f"{_time} timestamp\nstring frame_id\nuint8[] data\nstring format\n", FOXGLOVE))

FORMATS = (
    "ros1",
    "ros1-bz2",
    "ros1-lz4",
    "sqlite",
    "sqlite-message",
    "sqlite-file",
    "mcap",
    "mcap-message",
    "mcap-file",
    "mcap-storage",
)

Row = tuple[str, int, Any]
"""Topic, time of receipt and message."""


def is_ros1(form: str) -> bool:
    return form.startswith("ros1")


class Make:
    """Messages of ROS 1 or ROS 2."""

    def __init__(self, form: str = "ros1") -> None:
        self.is_ros1 = is_ros1(form)
        self.store = ROS1 if self.is_ros1 else ROS2

    def __call__(self, name: str, *values: Any) -> Any:
        return self.store.types[name](*values)

    def header(self, time_ns: int) -> Any:
        stamp = self("builtin_interfaces/msg/Time", time_ns // 10**9, time_ns % 10**9)
        return self("std_msgs/msg/Header", *([7] if self.is_ros1 else []), stamp, "base")

    def joints(
        self, log_ns: int, values: list[float], stamp: int | None = None, names: tuple[str, ...] = ("a", "b")
    ) -> Row:
        header = self.header(log_ns - 1_000_000 if stamp is None else stamp)
        numbers = np.array(values, dtype=np.float64)
        message = self("sensor_msgs/msg/JointState", header, list(names), numbers, numbers[::-1].copy(), np.zeros(0))
        return "/joints", log_ns, message

    def image(self, log_ns: int, data: bytes, topic: str = "/camera", form: str = "jpeg") -> Row:
        pixels = np.frombuffer(data, np.uint8)
        return topic, log_ns, self("sensor_msgs/msg/CompressedImage", self.header(log_ns), form, pixels)

    def raw(self, log_ns: int, pixels: np.ndarray, encoding: str, topic: str = "/raw") -> Row:
        height, width = pixels.shape[:2]
        data = pixels.reshape(height, -1).view(np.uint8)
        step = data.shape[1]
        message = self(
            "sensor_msgs/msg/Image", self.header(log_ns), height, width, encoding, 0, step, data.reshape(-1).copy()
        )
        return topic, log_ns, message

    def text(self, topic: str, log_ns: int, data: str) -> Row:
        return topic, log_ns, self("std_msgs/msg/String", data)

    def array(self, log_ns: int, values: list[float]) -> Row:
        layout = self("std_msgs/msg/MultiArrayLayout", [self("std_msgs/msg/MultiArrayDimension", "j", 2, 2)], 0)
        return "/command", log_ns, self("std_msgs/msg/Float64MultiArray", layout, np.array(values))

    def private(self, log_ns: int, force: float, who: tuple[str, ...] = ("x", "operator")) -> Row:
        left = self("builtin_interfaces/msg/Duration", 3, 4)
        when = [self("builtin_interfaces/msg/Time", 5, 6)] * 3
        push = np.array([1, 2, 3], np.float32)
        return (
            "/private",
            log_ns,
            self("lab_msgs/msg/Private", self.header(log_ns), 2, force, list(who), push, left, when),
        )


def jpeg(shade: int, height: int = 12, width: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), shade, np.uint8))[1].tobytes()


def usual(form: str, count: int = 20) -> list[Row]:
    make = Make(form)
    rows = [make.text("/task", START - 10, "stack the cups")]
    for i in range(count):
        time_ns = START + i * 20_000_000
        rows.append(make.joints(time_ns, [float(i), -float(i)]))
        rows.append(make.array(time_ns + 1000, [i + 0.5, i - 0.5]))
        rows.append(make.image(time_ns + 2000, jpeg(i)))
        rows.append(make.private(time_ns + 3000, i / 3))
    return rows


def write(path: Path, rows: list[Row], form: str, **options: Any) -> Path:
    """Write a bag; the folder of a ROS 2 bag is `path` without suffix."""
    if is_ros1(form):
        return write_ros1(path, rows, form.partition("-")[2], **options)
    storage, _, compression = form.partition("-")
    folder = path.with_suffix("")
    plugin = StoragePlugin.SQLITE3 if storage == "sqlite" else StoragePlugin.MCAP
    writer = Ros2Writer(folder, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in rows:
            name = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=ROS2, **options)
            writer.write(connections[topic], time_ns, ROS2.serialize_cdr(message, name))
    return folder


def write_ros1(path: Path, rows: list[Row], compression: str, *, behind: bytes = b"", chunk: int = 1 << 14) -> Path:
    path = path.with_suffix(".bag")
    writer = Ros1Writer(path)
    writer.chunk_threshold = chunk
    if compression:
        writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
    with writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in rows:
            name = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=ROS1)
            writer.write(connections[topic], time_ns, bytes(ROS1.serialize_ros1(message, name)) + behind)
    return path


JOINT = {"kind": "joint_position", "unit": "rad"}
EMBODIMENT = {
    "name": "two_joints",
    "rate_hz": 10,
    "proprioception": [
        {"name": "state", "dimensions": [{"name": "a", **JOINT}, {"name": "b", **JOINT}]},
        {"name": "force", "dimensions": [{"name": "force", "kind": "force", "unit": "N"}]},
    ],
    "action": [{"name": "action", "dimensions": [{"name": n, "mode": "absolute", **JOINT} for n in ("a", "b")]}],
    "cameras": [{"name": "camera", "height": 12, "width": 16}, {"name": "raw", "height": 12, "width": 16}],
    "streams": {n: {"required": False} for n in ("action", "camera", "force", "raw")},
}
STREAMS: dict[str, dict[str, Any]] = {
    "state": {"from": "/joints", "field": "position"},
    "force": {"from": "/private", "field": "force"},
    "action": {"from": "/command"},
    "camera": {"from": "/camera"},
    "raw": {"from": "/raw"},
}
LABELS = {
    n: {"from": f"/{topic}"} for n, topic in (("instruction", "task"), ("subtask", "sub"), ("outcome", "outcome"))
}


def request(
    changes: dict[str, dict[str, Any]] | None = None,
    *,
    required: tuple[str, ...] = (),
    source: str = "ros_bag",
    **more: Any,
) -> Request:
    streams = {**STREAMS, **{n: {**STREAMS[n], **c} for n, c in (changes or {}).items()}}
    rules = {n: {"required": n in required} for n in STREAMS if n != "state"}
    embodiment = Embodiment.model_validate({**EMBODIMENT, "streams": rules})
    mapping = {"source": source, "streams": streams, **LABELS, **more}
    return Request(embodiment=embodiment, mapping=Mapping.model_validate(mapping))


Use = Callable[..., Recording]


@pytest.fixture
def use() -> Iterator[Use]:
    """Reads a bag, and keeps its frames readable until the test ends."""
    open_now = []

    def run(path: Path, wanted: Request | None = None) -> Recording:
        (place,) = ros_bag.places(path)
        reading = ros_bag.read(path, place, wanted or request())
        open_now.append(reading)
        return next(reading)

    yield run
    for reading in open_now:
        assert next(reading, None) is None


def numbers(recording: Recording, name: str = "state") -> Stream:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream


def camera(recording: Recording, name: str = "camera") -> FrameStream:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    return stream


def frames(recording: Recording, name: str = "camera") -> list[bytes]:
    stream = camera(recording, name)
    return [bytes(stream.frames.read(i)) for i in range(stream.num_frames)]


class TestEveryStorage:
    @pytest.mark.parametrize("form", FORMATS)
    def test_all_that_was_written_is_read_to_the_nanosecond_and_the_byte(
        self, tmp_path: Path, use: Use, form: str
    ) -> None:
        path = write(tmp_path / "demo.bag", usual(form), form)
        recording = use(path)
        logs = START + np.arange(20) * 20_000_000
        state, action, force = (numbers(recording, n) for n in ("state", "action", "force"))
        assert state.values.tolist() == [[i, -i] for i in range(20)]
        assert state.time_ns.tolist() == (logs - 1_000_000).tolist()
        assert state.receive_time_ns is not None
        assert state.receive_time_ns.tolist() == logs.tolist()
        assert (state.clock, state.clock_choice) == (Clock.UNIX, "header")
        assert action.values.tolist() == [[i + 0.5, i - 0.5] for i in range(20)]
        assert (action.time_ns - 1000).tolist() == logs.tolist()
        assert (action.clock_choice, action.receive_time_ns) == ("log", None)
        assert force.values[:, 0].tolist() == [i / 3 for i in range(20)]
        assert frames(recording) == [jpeg(i) for i in range(20)]
        assert (camera(recording).codec, camera(recording).height, camera(recording).width) == ("jpeg", 12, 16)
        assert camera(recording).frames.sizes.tolist() == [len(jpeg(i)) for i in range(20)]
        assert [i.text for i in recording.instructions] == ["stack the cups"]
        assert not recording.is_lossy

    @pytest.mark.parametrize("form", FORMATS)
    def test_frames_are_read_in_any_order_from_any_camera(self, tmp_path: Path, use: Use, form: str) -> None:
        make = Make(form)
        rng = np.random.default_rng(1)
        rows, expected = [], {"camera": [], "raw": []}
        for i in range(30):
            for k, (name, topic) in enumerate((("camera", "/camera"), ("raw", "/other"))):
                data = cv2.imencode(".png", rng.integers(0, 255, (12, 16, 3), np.uint8))[1].tobytes()
                expected[name].append(data)
                rows.append(make.image(START + i * 1000 + k, data, topic, "png"))
            rows.append(make.joints(START + i * 1000 + 9, [0.0, 0.0]))
        path = write(tmp_path / "demo.bag", rows, form)
        recording = use(path, request({"raw": {"from": "/other"}}))
        places = [(n, i) for n in expected for i in range(30)]
        for k in rng.permutation(len(places)):
            name, i = places[k]
            assert bytes(camera(recording, name).frames.read(i)) == expected[name][i]
        order = np.concatenate([camera(recording, n).frames.order for n in expected])
        assert len(set(order.tolist())) == 60

    @pytest.mark.parametrize("form", FORMATS)
    def test_images_in_the_middle_of_their_messages_are_found(self, tmp_path: Path, use: Use, form: str) -> None:
        make = Make(form)
        rows = [make.joints(START, [0.0, 0.0])]
        for i in range(8):
            stamp = make("builtin_interfaces/msg/Time", 1_700_000_000, i)
            message = make(FOXGLOVE, stamp, "lens" * i, np.frombuffer(jpeg(9 * i), np.uint8), "jpeg")
            rows.append(("/camera", START + i, message))
        recording = use(write(tmp_path / "demo.bag", rows, form), request(required=("camera",)))
        assert frames(recording) == [jpeg(9 * i) for i in range(8)]
        assert camera(recording).time_ns.tolist() == [START + i for i in range(8)]

    @pytest.mark.parametrize("form", FORMATS)
    def test_raw_images_are_encoded_without_touching_their_pixels_where_they_are_depth(
        self, tmp_path: Path, use: Use, form: str
    ) -> None:
        make = Make(form)
        rng = np.random.default_rng(2)
        pixels = [rng.integers(0, 1 << 16, (12, 16), np.uint16) for _ in range(5)]
        rows = [make.joints(START, [0.0, 0.0])]
        rows += [make.raw(START + i, p, "16UC1") for i, p in enumerate(pixels)]
        recording = use(write(tmp_path / "demo.bag", rows, form))
        assert camera(recording, "raw").codec == "png"
        for data, expected in zip(frames(recording, "raw"), pixels, strict=True):
            assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), expected)

    @pytest.mark.parametrize("form", FORMATS)
    def test_inspect_describes_topics_types_and_images(self, tmp_path: Path, form: str) -> None:
        found = ros_bag.inspect(write(tmp_path / "demo.bag", usual(form), form))
        by_name = {(s.name, s.field): s for s in found.streams if s.clock_choice != "log" or s.name == "/command"}
        assert {n: by_name[n].count for n in by_name} | {} == dict.fromkeys(by_name, 20)
        assert by_name["/joints", "position"].element_names == ("a", "b")
        assert by_name["/joints", "position"].shape == (2,)
        assert by_name["/camera", None].shape == (12, 16, 3)
        assert by_name["/camera", None].codec == "jpeg"
        assert by_name["/private", "push"].shape == (3,)
        assert by_name["/joints", "position"].time_ns[0] == START - 1_000_000
        assert ("messages", "81") in found.facts
        assert not any("decoded" in p for p in found.problems)

    @pytest.mark.parametrize("form", FORMATS)
    def test_each_bag_is_found_once(self, tmp_path: Path, form: str) -> None:
        folder = tmp_path / "bags"
        folder.mkdir()
        path = write(folder / "demo.bag", usual(form, 2), form)
        for preferred in ((), ("ros_bag",), ("mcap",)):
            seen = discover(folder, preferred=preferred)
            assert len(seen.found) == 1
            assert not seen.rejected
            is_plain_mcap = form in {"mcap", "mcap-storage"}
            expected = path / "demo.mcap" if is_plain_mcap else path
            assert seen.found[0].path == expected
            by_mcap = is_plain_mcap and preferred != ("ros_bag",)
            assert seen.found[0].source == ("mcap" if by_mcap else "ros_bag")

    def test_a_mapping_moves_between_sources_with_its_name_alone(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("mcap"), "mcap")
        ours = use(folder)
        file = folder / "demo.mcap"
        theirs = next(mcap.read(file, mcap.places(file)[0], request(source="mcap")))
        for name in ("state", "action", "force"):
            assert np.array_equal(numbers(ours, name).values, numbers(theirs, name).values)
            assert np.array_equal(numbers(ours, name).time_ns, numbers(theirs, name).time_ns)
        assert ours.instructions == theirs.instructions

    def test_times_of_publishing_are_those_of_mcap(self, tmp_path: Path, use: Use) -> None:
        wanted = request({"state": {"clock": "publish"}})
        stream = numbers(use(write(tmp_path / "demo", usual("mcap", 3), "mcap"), wanted))
        assert stream.clock_choice == "publish"
        with pytest.raises(SourceError, match="only MCAP has times of publishing"):
            use(write(tmp_path / "other", usual("sqlite", 3), "sqlite"), wanted)


values = st.floats(allow_nan=False, width=64)
times = st.integers(0, 2**31 * 10**9 - 1)
samples = st.lists(
    st.tuples(times, times, st.lists(values, min_size=2, max_size=2), st.binary(max_size=40), st.text(max_size=8)),
    min_size=1,
    max_size=12,
)


class TestProperty:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(form=st.sampled_from(FORMATS), rows=samples)
    def test_what_is_written_is_what_is_read(self, tmp_path: Path, form: str, rows: list[Any]) -> None:
        """Random stamps, numbers, images and texts through each of the writers."""
        folder = tmp_path / hashlib.sha256(repr((form, rows)).encode()).hexdigest()[:12]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make = Make(form)
        log = sorted(r[0] for r in rows)
        start = jpeg(1)
        written = []
        for log_ns, (_, stamp, pair, tail, said) in zip(log, rows, strict=True):
            written.append(make.joints(log_ns, pair, stamp))
            written.append(make.image(log_ns, start + tail))
            written.append(make.text("/task", log_ns, said.replace("\0", "")))
        path = write(folder / "demo.bag", written, form)
        (place,) = ros_bag.places(path)
        reading = ros_bag.read(path, place, request({"camera": {"clock": "log"}}, split={"from": "/task"}))
        recording = next(reading)
        state = numbers(recording)
        assert state.receive_time_ns is not None
        assert state.receive_time_ns.tolist() == log
        is_header = any(r[1] for r in rows)
        assert state.time_ns.tolist() == ([r[1] for r in rows] if is_header else log)
        assert state.values.tobytes() == np.array([r[2] for r in rows], dtype=np.float64).tobytes()
        assert camera(recording).time_ns.tolist() == log
        assert frames(recording) == [start + r[3] for r in rows]
        assert [m.text for m in recording.marks] == [r[4].replace("\0", "") for r in rows]
        assert [m.receive_time_ns for m in recording.marks] == log
        reading.close()
        shutil.rmtree(folder)


def split(folder: Path, parts: list[Path], *, names: list[str] | None = None) -> Path:
    """Make one bag of several, as a recorder splits it."""
    folder.mkdir()
    files = []
    for number, part in enumerate(parts):
        (file,) = (p for p in part.iterdir() if p.name != "metadata.yaml")
        suffix = "".join(file.suffixes)
        files.append(names[number] if names else f"{folder.name}_{number}{suffix}")
        shutil.copy(file, folder / files[-1])
    document = yaml.safe_load((parts[0] / "metadata.yaml").read_text())
    info = document["rosbag2_bagfile_information"]
    others = [yaml.safe_load((p / "metadata.yaml").read_text()) for p in parts]
    info["relative_file_paths"] = files
    info["message_count"] = sum(o["rosbag2_bagfile_information"]["message_count"] for o in others)
    (folder / "metadata.yaml").write_text(yaml.safe_dump(document))
    return folder


def written_split(tmp_path: Path, form: str, **options: Any) -> Path:
    """Three files of 20 steps in all."""
    rows = usual(form, 20)
    cuts = [rows[:30], rows[30:60], rows[60:]]
    parts = [write(tmp_path / f"part_{i}", cut, form) for i, cut in enumerate(cuts)]
    return split(tmp_path / "whole", parts, **options)


SPLIT_FORMATS = [f for f in FORMATS if not is_ros1(f)]


class TestFilesOfABag:
    @pytest.mark.parametrize("form", SPLIT_FORMATS)
    def test_a_split_bag_is_one_recording(self, tmp_path: Path, use: Use, form: str) -> None:
        names = [n + (".db3" if form.startswith("sqlite") else ".mcap") for n in ("z", "m", "a")]
        names = [n + (".zstd" if form.endswith("file") else "") for n in names]
        folder = written_split(tmp_path, form, names=names)
        recording = use(folder)
        assert numbers(recording).values[:, 0].tolist() == list(range(20))
        assert frames(recording) == [jpeg(i) for i in range(20)]
        assert [f.name for f in recording.files] == [*names, "metadata.yaml"]
        assert not any("metadata" in n for n in recording.notes)
        assert [f.path for f in discover(tmp_path / "whole").found] == [folder]

    @pytest.mark.parametrize("form", SPLIT_FORMATS)
    def test_a_bag_without_metadata_is_the_files_that_are_named_like_their_folder(
        self, tmp_path: Path, use: Use, form: str
    ) -> None:
        folder = written_split(tmp_path, form)
        (folder / "metadata.yaml").unlink()
        seen = discover(folder)
        assert [(f.path, f.source) for f in seen.found] == [(folder, "ros_bag")]
        recording = use(folder)
        assert numbers(recording).values[:, 0].tolist() == list(range(20))
        assert any("there is no metadata.yaml" in n for n in recording.notes)

    def test_files_without_metadata_and_of_other_names_are_recordings_of_their_own(self, tmp_path: Path) -> None:
        folder = written_split(tmp_path, "sqlite")
        (folder / "metadata.yaml").unlink()
        other = folder.rename(tmp_path / "my_demos")
        assert [f.path.name for f in discover(other).found] == ["whole_0.db3", "whole_1.db3", "whole_2.db3"]

    def test_ten_files_are_ordered_by_number(self, tmp_path: Path, use: Use) -> None:
        rows = usual("sqlite", 12)[1:]
        parts = [write(tmp_path / f"part_{i}", rows[4 * i : 4 * i + 4], "sqlite") for i in range(12)]
        folder = split(tmp_path / "long", parts)
        (folder / "metadata.yaml").unlink()
        assert numbers(use(folder)).values[:, 0].tolist() == list(range(12))

    def test_renamed_files_are_read_and_named(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        (folder / "demo.db3").rename(folder / "better name.db3")
        recording = use(folder)
        assert len(numbers(recording).values) == 20
        assert any("lists demo.db3, which is not there; better name.db3 is read" in n for n in recording.notes)
        assert not recording.is_lossy

    def test_a_file_that_was_unpacked_or_packed_since_is_found(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite-file"), "sqlite-file")
        packed = folder / "demo.db3.zstd"
        with zstandard.open(packed, "rb") as file:
            (folder / "demo.db3").write_bytes(file.read())
        packed.unlink()
        assert len(numbers(use(folder)).values) == 20

    def test_a_missing_file_of_several_is_said_and_the_rest_is_read(self, tmp_path: Path, use: Use) -> None:
        folder = written_split(tmp_path, "sqlite")
        (folder / "whole_1.db3").unlink()
        recording = use(folder)
        assert recording.is_lossy
        assert any("1 of 3 files of the bag are missing: whole_1.db3" in n for n in recording.notes)
        assert any("metadata.yaml says 81 messages; 51 are there" in n for n in recording.notes)
        assert 0 < len(numbers(recording).values) < 20

    def test_a_file_that_is_not_listed_is_said_and_not_read(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        shutil.copy(folder / "demo.db3", folder / "copy.db3")
        recording = use(folder)
        assert len(numbers(recording).values) == 20
        assert any("copy.db3: not listed in metadata.yaml, not read" in n for n in recording.notes)

    @pytest.mark.parametrize(
        "text",
        ["rosbag2_bagfile_information: [", "rosbag2_bagfile_information: 7", "rosbag2_bagfile_information: &a [*a]"],
    )
    def test_damaged_metadata_is_no_reason_to_refuse(self, tmp_path: Path, use: Use, text: str) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        (folder / "metadata.yaml").write_text(text)
        assert ros_bag.can_read(folder)
        recording = use(folder)
        assert len(numbers(recording).values) == 20
        assert any(n.startswith("metadata.yaml") for n in recording.notes)

    def test_a_folder_may_be_called_like_a_file(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite").rename(tmp_path / "demo (copy).db3")
        assert [(f.path, f.source) for f in discover(tmp_path).found] == [(folder, "ros_bag")]
        recording = use(folder)
        assert recording.place == "demo (copy).db3"
        assert len(numbers(recording).values) == 20

    def test_names_with_marks_of_addresses_are_read(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        file = folder / "demo.db3"
        odd = file.rename(tmp_path / "a%20b?mode=rwc#c.db3")
        assert len(numbers(use(odd)).values) == 20
        assert {p.name for p in tmp_path.iterdir()} == {"demo", odd.name}

    def test_one_file_of_several_says_that_there_are_more(self, tmp_path: Path, use: Use) -> None:
        folder = written_split(tmp_path, "sqlite")
        recording = use(folder / "whole_0.db3")
        assert any("name its folder to read all of them" in n for n in recording.notes)

    def test_a_write_ahead_log_with_messages_is_said(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        (folder / "demo.db3-wal").write_bytes(b"x" * 4152)
        (folder / "demo.db3-shm").write_bytes(b"y" * 32768)
        recording = use(folder)
        assert len(numbers(recording).values) == 20
        assert any("demo.db3-wal (4,152 bytes) lies beside the database" in n for n in recording.notes)
        assert sorted(p.name for p in folder.iterdir()) == ["demo.db3", "demo.db3-shm", "demo.db3-wal", "metadata.yaml"]

    def test_the_same_bag_has_the_same_id_wherever_it_lies(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        (tmp_path / "other").mkdir()
        moved = Path(shutil.copytree(folder, tmp_path / "other" / "demo"))
        assert use(folder).recording_id == use(moved).recording_id


class TestRos1:
    def test_a_bag_that_was_never_closed_is_read(self, tmp_path: Path, use: Use) -> None:
        path = tmp_path / "demo.bag"
        writer = Ros1Writer(path)
        writer.chunk_threshold = 2000
        writer.open()
        make = Make("ros1")
        connection = writer.add_connection("/joints", "sensor_msgs/msg/JointState", typestore=ROS1)
        for i in range(100):
            _, log_ns, message = make.joints(START + i, [float(i), 0.0])
            writer.write(connection, log_ns, ROS1.serialize_ros1(message, "sensor_msgs/msg/JointState"))
        writer.abort()
        recording = use(path)
        assert numbers(recording).values[:, 0].tolist() == list(range(len(numbers(recording).values)))
        assert len(numbers(recording).values) > 80
        assert any("never closed by its recorder" in n for n in recording.notes)

    @pytest.mark.parametrize("form", ["ros1", "ros1-bz2", "ros1-lz4"])
    def test_a_truncated_bag_gives_all_up_to_the_break(self, tmp_path: Path, use: Use, form: str) -> None:
        path = write(tmp_path / "demo.bag", usual(form, 60), form, chunk=4000)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        recording = use(path)
        found = numbers(recording).values[:, 0].tolist()
        assert found == list(range(len(found)))
        assert len(found) > 10
        assert recording.is_lossy
        assert any("demo.bag is truncated: it ends at byte" in n for n in recording.notes)
        assert len(frames(recording)) > 10

    def test_bytes_behind_messages_are_left_out_and_counted(self, tmp_path: Path, use: Use) -> None:
        path = write(tmp_path / "demo.bag", usual("ros1"), "ros1", behind=b"\1\2\3\4")
        recording = use(path)
        assert frames(recording) == [jpeg(i) for i in range(20)]
        assert numbers(recording).values[:, 0].tolist() == list(range(20))
        assert any("/joints: 20 messages have bytes behind their end" in n for n in recording.notes)

    def test_several_publishers_of_one_topic_are_one_stream(self, tmp_path: Path, use: Use) -> None:
        path = tmp_path / "demo.bag"
        make = Make("ros1")
        with Ros1Writer(path) as writer:
            publishers = [
                writer.add_connection("/joints", "sensor_msgs/msg/JointState", typestore=ROS1, callerid=f"/node{i}")
                for i in range(98)
            ]
            for i, publisher in enumerate(publishers):
                _, log_ns, message = make.joints(START + i, [float(i), 0.0])
                writer.write(publisher, log_ns, ROS1.serialize_ros1(message, "sensor_msgs/msg/JointState"))
        assert numbers(use(path)).values[:, 0].tolist() == list(range(98))

    def test_bag_time_from_one_nanosecond_beside_headers_of_unix_time(self, tmp_path: Path, use: Use) -> None:
        make = Make("ros1")
        rows = [make.joints(1 + i, [float(i), 0.0], START + i) for i in range(5)]
        path = write(tmp_path / "demo.bag", rows, "ros1")
        stream = numbers(use(path))
        assert stream.clock is Clock.UNIX
        assert stream.receive_time_ns is not None
        assert stream.receive_time_ns.tolist() == [1, 2, 3, 4, 5]
        problems = [p for s in ros_bag.inspect(path).streams for p in s.problems]
        assert "header stamps are unix time, log times monotonic time" in problems

    def test_zero_headers_and_empty_names_fall_back_to_the_log_and_to_the_order(self, tmp_path: Path, use: Use) -> None:
        make = Make("ros1")
        rows = [make.joints(START + i, [float(i), 0.0], 0, ()) for i in range(5)]
        recording = use(write(tmp_path / "demo.bag", rows, "ros1"))
        assert numbers(recording).time_ns.tolist() == [START + i for i in range(5)]
        assert any("all header stamps are 0" in n for n in recording.notes)
        assert any("have no names" in n for n in recording.notes)

    def test_an_old_bag_says_its_version(self, tmp_path: Path) -> None:
        path = tmp_path / "old.bag"
        path.write_bytes(b"#ROSBAG V1.2\n" + bytes(100))
        assert ros_bag.can_read(path)
        (found,) = discover(path).found
        with pytest.raises(SourceError, match=r"a ROS bag of version 1\.2; this release reads 2\.0"):
            next(ros_bag.read(found.path, found.places[0], request()))

    def test_an_encrypted_bag_says_so(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.bag", usual("ros1", 2), "ros1")
        data = path.read_bytes()
        field = b"encryptor=rosbag/AesCbcEncryptor"
        field = len(field).to_bytes(4, "little") + field
        size = int.from_bytes(data[13:17], "little")
        path.write_bytes(
            data[:13] + (size + len(field)).to_bytes(4, "little") + data[17 : 17 + size] + field + data[17 + size :]
        )
        with pytest.raises(SourceError, match="the bag is encrypted"):
            ros_bag.inspect(path)

    def test_a_header_of_other_fields_is_not_guessed_at(self, tmp_path: Path, use: Use) -> None:
        path = tmp_path / "demo.bag"
        rows = Make("ros1")
        text = "Header header\nfloat64 force\n" + "=" * 80 + "\nMSG: std_msgs/Header\ntime stamp\nstring frame_id\n"
        with Ros1Writer(path) as writer:
            connection = writer.add_connection("/private", "x/msg/X", msgdef=text, md5sum="0" * 32)
            joints = writer.add_connection("/joints", "sensor_msgs/msg/JointState", typestore=ROS1)
            writer.write(connection, START, bytes(30))
            _, log_ns, message = rows.joints(START, [1.0, 2.0])
            writer.write(joints, log_ns, ROS1.serialize_ros1(message, "sensor_msgs/msg/JointState"))
        recording = use(path)
        assert "force" not in recording.streams
        assert any("has 0 fields 'uint32 seq'; must have one" in n for n in recording.notes)


def change(path: Path, *statements: str) -> Path:
    """Run SQL on a storage file."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


class TestDefinitions:
    def without(self, tmp_path: Path) -> Path:
        """A bag of Humble or before: no definitions."""
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        change(folder / "demo.db3", "DROP TABLE message_definitions", "DROP TABLE schema")
        return folder

    def test_standard_types_are_known_and_private_ones_are_named(self, tmp_path: Path, use: Use) -> None:
        folder = self.without(tmp_path)
        recording = use(folder)
        assert set(recording.streams) == {"state", "action", "camera"}
        assert any(
            "not decoded: /private: the file has no definition of lab_msgs/msg/Private" in n for n in recording.notes
        )
        assert any("force is not required and left out" in n for n in recording.notes)
        with pytest.raises(
            SourceError, match=r"force is mapped to /private .*has no definition of lab_msgs/msg/Private"
        ):
            use(folder, request(required=("force",)))

    def test_other_standard_types_come_from_the_distribution_that_the_bag_names(self, tmp_path: Path, use: Use) -> None:
        make = Make("sqlite")
        pose = "geometry_msgs/msg/PoseStamped"
        point, turn = (
            make("geometry_msgs/msg/Point", 1.0, 2.0, 3.0),
            make("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0),
        )
        message = make(pose, make.header(START), make("geometry_msgs/msg/Pose", point, turn))
        folder = write(tmp_path / "demo", [("/pose", START, message), make.joints(START, [0.0, 0.0])], "sqlite")
        change(folder / "demo.db3", "DROP TABLE message_definitions", "DROP TABLE schema")
        metadata = folder / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace("ros_distro: rosbags", "ros_distro: foxy"))
        recording = use(folder, request({"force": {"from": "/pose", "field": "pose.position.y"}}))
        assert numbers(recording, "force").values.tolist() == [[2.0]]
        assert any("no definition of geometry_msgs/msg/PoseStamped; ROS foxy's was taken" in n for n in recording.notes)

    def test_without_the_optional_package_the_line_that_installs_it_is_given(
        self, tmp_path: Path, use: Use, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_ros_bag_types, "has_standard_types", lambda: False)
        folder = self.without(tmp_path)
        assert set(use(folder).streams) == {"state", "action", "camera"}
        with pytest.raises(MissingExtraError, match=r"pip install 'vladata\[ros\]'"):
            use(folder, request(required=("force",)))

    def test_an_unknown_distribution_is_replaced_by_the_usual_one(self) -> None:
        found = _ros_bag_types.standard_definition("std_msgs/msg/String", "no such distribution")
        assert found is not None
        assert found[1] == "humble"
        assert _ros_bag_types.standard_definition("lab_msgs/msg/Private", "humble") is None


class TestTopicsThatFail:
    def test_a_damaged_message_costs_its_topic_only(self, tmp_path: Path, use: Use) -> None:
        folder = write(tmp_path / "demo", usual("sqlite"), "sqlite")
        change(folder / "demo.db3", "UPDATE messages SET data = x'0001000001' WHERE id = 11")
        with sqlite3.connect(folder / "demo.db3") as connection:
            query = "SELECT name FROM topics JOIN messages ON topics.id = topic_id WHERE messages.id = 11"
            ((topic,),) = connection.execute(query).fetchall()
        name = next(n for n, m in STREAMS.items() if m["from"] == topic)
        assert name != "state"
        recording = use(folder)
        assert {"state", "action", "camera", "force"} - set(recording.streams) == {name}
        assert any(f"{name} is not required and left out" in n for n in recording.notes)
        with pytest.raises(SourceError, match=f"{name} is mapped to {topic}"):
            use(folder, request(required=(name,)))

    def test_a_field_that_is_not_there_costs_its_stream_only(self, tmp_path: Path, use: Use) -> None:
        path = write(tmp_path / "demo.bag", usual("ros1"), "ros1")
        changes = {"force": {"from": "/joints", "field": "torque"}}
        recording = use(path, request(changes))
        assert set(recording.streams) == {"state", "action", "camera"}
        with pytest.raises(SourceError, match="'torque'"):
            use(path, request(changes, required=("force",)))

    def test_labels_that_are_no_texts_are_said(self, tmp_path: Path, use: Use) -> None:
        path = write(tmp_path / "demo.bag", usual("ros1"), "ros1")
        recording = use(path, request(outcome={"from": "/camera"}))
        assert any(n.startswith("no outcome: ") for n in recording.notes)


class TestMarks:
    @pytest.mark.parametrize("form", ["ros1-lz4", "sqlite", "mcap"])
    def test_marks_are_the_messages_of_the_topic_in_the_order_of_receipt(
        self, tmp_path: Path, use: Use, form: str
    ) -> None:
        make = Make(form)
        rows = [
            *usual(form),
            *(make.text("/episode", START + t, s) for t, s in ((5, "start"), (9, "stop"), (7, "discard"))),
        ]
        recording = use(write(tmp_path / "demo.bag", rows, form), request(split={"from": "/episode"}))
        assert [(m.receive_time_ns - START, m.text) for m in recording.marks] == [
            (5, "start"),
            (7, "discard"),
            (9, "stop"),
        ]
        assert numbers(recording, "action").receive_time_ns is not None

    def test_a_missing_topic_of_marks_is_an_error(self, tmp_path: Path, use: Use) -> None:
        path = write(tmp_path / "demo.bag", usual("ros1", 2), "ros1")
        with pytest.raises(SourceError, match="split is mapped to /episode, which is not in the bag"):
            use(path, request(split={"from": "/episode"}))

    def test_a_restart_keeps_the_order_of_the_file(self, tmp_path: Path, use: Use) -> None:
        make = Make("ros1")
        rows = [make.joints(START + t * 10**9, [float(t), 0.0]) for t in (0, 5, 6, 1, 2)]
        recording = use(write(tmp_path / "demo.bag", rows, "ros1"), request(on_backward_time="split"))
        assert numbers(recording).values[:, 0].tolist() == [0, 5, 6, 1, 2]
        assert any("messages are left in the order of the file" in n for n in recording.notes)
