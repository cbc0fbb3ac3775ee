"""MCAP messages in JSON, protobuf, ROS 1 and Foxglove's types: what is read equals what was written."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader
from mcap.writer import Writer
from mcap_protobuf.decoder import DecoderFactory
from mcap_protobuf.writer import Writer as ProtobufWriter
from mcap_ros2._dynamic import serialize_dynamic

from vladata.embodiment import Embodiment
from vladata.errors import SourceError, VladataError
from vladata.mapping import Mapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Place, Request, mcap
from vladata.units import Clock

START = 1_700_000_000_000_000_000
JOINT = {"kind": "joint_position", "unit": "rad"}


# ---------------------------------------------------------------- protobuf types, made here from Foxglove's schemas


def message(name: str, *fields: tuple[Any, ...]) -> descriptor_pb2.DescriptorProto:
    made = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, type_, *more) in enumerate(fields, 1):
        options = more[0] if more else {}
        part = made.field.add(name=field, number=options.get("number", number))
        part.label = F.LABEL_REPEATED if options.get("many") else F.LABEL_OPTIONAL
        if isinstance(type_, str):
            part.type, part.type_name = F.TYPE_MESSAGE, type_
        else:
            part.type = type_
        if options.get("optional"):
            part.proto3_optional = True
            part.oneof_index = len(made.oneof_decl)
            made.oneof_decl.add(name=f"_{field}")
    return made


TIME = ".google.protobuf.Timestamp"
D, S, B, U = F.TYPE_DOUBLE, F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_FIXED32
FILE = descriptor_pb2.FileDescriptorProto(
    name="types.proto",
    package="foxglove",
    syntax="proto3",
    dependency=["google/protobuf/timestamp.proto"],
    message_type=[
        message("Vector3", ("x", D), ("y", D), ("z", D)),
        message("Quaternion", ("x", D), ("y", D), ("z", D), ("w", D)),
        message("Pose", ("position", ".foxglove.Vector3"), ("orientation", ".foxglove.Quaternion")),
        message("PoseInFrame", ("timestamp", TIME), ("frame_id", S), ("pose", ".foxglove.Pose")),
        message(
            "FrameTransform",
            ("timestamp", TIME),
            ("parent_frame_id", S),
            ("child_frame_id", S),
            ("translation", ".foxglove.Vector3"),
            ("rotation", ".foxglove.Quaternion"),
        ),
        message("FrameTransforms", ("transforms", ".foxglove.FrameTransform", {"many": True})),
        message("CompressedImage", ("timestamp", TIME), ("data", B), ("format", S), ("frame_id", S)),
        message(
            "RawImage",
            ("timestamp", TIME),
            ("width", U),
            ("height", U),
            ("encoding", S),
            ("step", U),
            ("data", B),
            ("frame_id", S),
        ),
        message(
            "JointState",
            ("name", S),
            ("position", D, {"optional": True}),
            ("velocity", D, {"optional": True}),
            ("acceleration", D, {"optional": True}),
            ("effort", D, {"optional": True}),
        ),
        message("JointStates", ("timestamp", TIME), ("joints", ".foxglove.JointState", {"many": True})),
        message("Item", ("name", S), ("value", F.TYPE_FLOAT)),
        message(
            "Mixed",
            ("items", ".foxglove.Item", {"many": True}),
            ("blob", B),
            ("packed", F.TYPE_INT64, {"many": True}),
            ("note", S),
            ("flag", F.TYPE_BOOL),
            ("single", F.TYPE_FLOAT),
        ),
    ],
)
POOL = descriptor_pool.DescriptorPool()
POOL.Add(descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
POOL.Add(FILE)


def proto(name: str, **values: Any) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"foxglove.{name}"))(**values)


def stamp(time_ns: int) -> dict[str, int]:
    return {"seconds": time_ns // 10**9, "nanos": time_ns % 10**9}


def vector(x: float, y: float, z: float) -> dict[str, float]:
    return {"x": x, "y": y, "z": z}


Row = tuple[str, int, Any]


def write_protobuf(path: Path, rows: list[Row]) -> Path:
    with path.open("wb") as file, ProtobufWriter(file) as writer:
        for topic, time_ns, made in rows:
            writer.write_message(topic, made, time_ns, time_ns - 3)
    return path


def write_json(path: Path, rows: list[Row], schemas: dict[str, str] | None = None) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="", library="test")
        channels: dict[str, int] = {}
        for topic, time_ns, made in rows:
            if topic not in channels:
                name = (schemas or {}).get(topic)
                schema = writer.register_schema(name, "jsonschema", b'{"type": "object"}') if name else 0
                channels[topic] = writer.register_channel(topic, "json", schema)
            data = made if isinstance(made, bytes) else json.dumps(made).encode()
            writer.add_message(channels[topic], time_ns, data, time_ns - 3)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def write_ros(
    path: Path, rows: list[tuple[str, str, int, Any]], definitions: dict[str, str], form: str = "ros2msg"
) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile=form[:4], library="test")
        encoding = {"ros2msg": "cdr", "ros1msg": "ros1"}[form]
        channels: dict[str, int] = {}
        for topic, name, time_ns, made in rows:
            if topic not in channels:
                schema = writer.register_schema(name, form, definitions[name].encode())
                channels[topic] = writer.register_channel(topic, encoding, schema)
            data = made if isinstance(made, bytes) else serialize_dynamic(name, definitions[name])[name](made)
            writer.add_message(channels[topic], time_ns, data, time_ns - 3)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


# ---------------------------------------------------------------- reading


def request(names: str | list[str] = "xyz", camera: str | None = None, **mapping: Any) -> Request:
    embodiment: dict[str, Any] = {"name": "x", "rate_hz": 10}
    streams: dict[str, Any] = {}
    if mapping.get("state"):
        embodiment["proprioception"] = [{"name": "state", "dimensions": [{"name": n, **JOINT} for n in names]}]
        streams["state"] = mapping.pop("state")
    if camera is not None:
        embodiment["cameras"] = [{"name": "camera", "height": 12, "width": 16}]
        streams["camera"] = {"from": camera, **mapping.pop("camera_options", {})}
    return Request(
        embodiment=Embodiment.model_validate(embodiment),
        mapping=Mapping.model_validate({"source": "mcap", "streams": streams, **mapping}),
    )


Read = Callable[[Path, Request], Recording]


@pytest.fixture
def read() -> Iterator[Read]:
    """Reads a file; its frames can be read until the test ends."""
    open_now = []

    def run(path: Path, wanted: Request) -> Recording:
        reading = mcap.read(path, mcap.places(path)[0], wanted)
        open_now.append(reading)
        return next(reading)

    yield run
    for reading in open_now:
        assert next(reading, None) is None


def state(recording: Recording) -> Stream:
    stream = recording.streams["state"]
    assert isinstance(stream, Stream)
    return stream


def camera(recording: Recording) -> FrameStream:
    stream = recording.streams["camera"]
    assert isinstance(stream, FrameStream)
    return stream


def jpeg(shade: int) -> bytes:
    return cv2.imencode(".jpg", np.full((12, 16, 3), shade, np.uint8))[1].tobytes()


def fields(path: Path) -> dict[tuple[str, str | None], Any]:
    return {(s.name, s.field): s for s in reversed(mcap.inspect(path).streams)}


QUATERNION = {"x": 0.0, "y": 0.0, "z": 0.6, "w": 0.8}
SEVEN = ["x", "y", "z", "qx", "qy", "qz", "qw"]


class TestProtobuf:
    def test_real_file_equals_the_library_that_wrote_it(self, shared_data: Path, read: Read) -> None:
        path = shared_data / "rerun_mcap_samples" / "simple_protobuf_vec3.mcap"
        with path.open("rb") as file:
            reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
            expected = [(m.log_time, (d.x, d.y, d.z)) for _, _, m, d in reader.iter_decoded_messages()]
        found = state(read(path, request(state={"from": "/test/points"})))
        assert list(zip(found.time_ns.tolist(), map(tuple, found.values.tolist()), strict=True)) == expected
        assert len(expected) == 5
        assert found.clock_choice == "log"

    def test_real_pose_and_json_in_one_file_are_read(self, shared_data: Path, read: Read) -> None:
        path = shared_data / "rerun_mcap_samples" / "simple-protobuf.mcap"
        pose, mouse = {}, []
        with path.open("rb") as file:
            for _, channel, record in NonSeekingReader(file).iter_messages():
                if channel.topic == "mouse":
                    mouse.append((record.log_time, json.loads(record.data)))
        recording = read(path, request("x", state={"from": "mouse", "field": "clientX"}))
        assert state(recording).values[:, 0].tolist() == [float(m["clientX"]) for _, m in mouse]
        assert state(recording).time_ns.tolist() == [t for t, _ in mouse]
        assert len(mouse) == 292
        with path.open("rb") as file:
            reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
            for _, _, _, decoded in reader.iter_decoded_messages(["pose"]):
                p, o = decoded.pose.position, decoded.pose.orientation
                pose = {"values": [p.x, p.y, p.z, o.x, o.y, o.z, o.w], "stamp": decoded.timestamp.ToNanoseconds()}
        found = state(read(path, request(SEVEN, state={"from": "pose", "field": "pose", "join": "index"})))
        assert found.values.tolist() == [pose["values"]]
        assert found.time_ns.tolist() == [pose["stamp"]]
        assert found.clock_choice == "header"

    def test_joint_states_are_joined_by_name_and_a_joint_without_a_value_is_no_hole(
        self, tmp_path: Path, read: Read
    ) -> None:
        def joints(i: int) -> list[dict[str, Any]]:
            made = [{"name": "b", "position": 10.0 + i, "velocity": 1.0}, {"name": "c"}, {"name": "a", "position": i}]
            return made if i % 2 else made[::-1]

        rows = [
            ("/joints", START + 100 * i, proto("JointStates", timestamp=stamp(START + 100 * i - 7), joints=joints(i)))
            for i in range(6)
        ]
        path = write_protobuf(tmp_path / "a.mcap", rows)
        found = state(read(path, request("ab", state={"from": "/joints", "field": "position"})))
        np.testing.assert_array_equal(found.values, [[i, 10 + i] for i in range(6)])
        assert found.values.dtype == np.float64
        assert (found.time_ns - START).tolist() == [100 * i - 7 for i in range(6)]
        assert found.receive_time_ns is not None
        assert (found.receive_time_ns - START).tolist() == [100 * i for i in range(6)]
        with pytest.raises(SourceError, match=r"names \(c, b\)|needs \(a, c\)"):
            read(path, request("ac", state={"from": "/joints", "field": "position"}))
        info = fields(path)["/joints", "joints[].position"]
        assert info.element_names == ("a", "b")

    def test_one_frame_of_many_transforms_is_chosen_with_its_own_stamp(self, tmp_path: Path, read: Read) -> None:
        def transform(child: str, i: int) -> Any:
            return proto(
                "FrameTransform",
                timestamp=stamp(START + 1000 * i),
                parent_frame_id="base",
                child_frame_id=child,
                translation=vector(i, 2 * i, 3.0),
                rotation=QUATERNION,
            )

        rows = [("/tf", START + 10 * i, transform("gripper" if i % 3 else "camera", i)) for i in range(9)]
        both = [
            proto("FrameTransforms", transforms=[transform("camera", i), transform("gripper", i)]) for i in range(4)
        ]
        rows += [("/tfs", START + 10 * i, made) for i, made in enumerate(both)]
        path = write_protobuf(tmp_path / "a.mcap", rows)
        one = read(path, request(SEVEN, state={"from": "/tf", "field": "[child_frame_id=gripper]", "join": "index"}))
        kept = [i for i in range(9) if i % 3]
        assert state(one).values.tolist() == [[i, 2 * i, 3.0, 0.0, 0.0, 0.6, 0.8] for i in kept]
        assert (state(one).time_ns - START).tolist() == [1000 * i for i in kept]
        assert any("3 of 9 messages have nothing there" in n for n in one.notes)
        many = read(path, request(state={"from": "/tfs", "field": "transforms[child_frame_id=gripper].translation"}))
        assert state(many).values.tolist() == [[i, 2 * i, 3.0] for i in range(4)]
        assert (state(many).time_ns - START).tolist() == [1000 * i for i in range(4)]
        assert any("time is the stamp of the element" in n for n in many.notes)
        infos = fields(path)
        for name, at in (("/tf", "[child_frame_id=gripper]"), ("/tfs", "transforms[child_frame_id=camera]")):
            assert infos[name, at].shape == (7,)
        with pytest.raises(
            SourceError, match=r"none of 9 messages gives a sample: no element is \[child_frame_id=arm\]"
        ):
            read(path, request(state={"from": "/tf", "field": "[child_frame_id=arm].translation"}))

    def test_images_are_kept_byte_for_byte(self, tmp_path: Path, read: Read) -> None:
        rows = [
            (
                "/camera",
                START + i,
                proto("CompressedImage", timestamp=stamp(START + 5 * i), data=jpeg(i), format="jpeg"),
            )
            for i in range(5)
        ]
        recording = read(write_protobuf(tmp_path / "a.mcap", rows), request(camera="/camera"))
        found = camera(recording)
        assert [bytes(found.frames.read(i)) for i in range(5)] == [jpeg(i) for i in range(5)]
        assert (found.codec, found.height, found.width, found.clock) == ("jpeg", 12, 16, Clock.UNIX)
        assert (found.time_ns - START).tolist() == [0, 5, 10, 15, 20]
        assert found.clock_choice == "header"

    @pytest.mark.parametrize("encoding", ["rgba8", "bgra8"])
    def test_raw_images_lose_their_alpha_channel_and_it_is_said(
        self, tmp_path: Path, read: Read, encoding: str
    ) -> None:
        pixel = [250, 120, 10, 77] if encoding == "rgba8" else [10, 120, 250, 77]
        pixels = np.tile(np.array(pixel, np.uint8), (12, 16, 1)).tobytes()
        made = proto("RawImage", width=16, height=12, encoding=encoding, step=64, data=pixels)
        recording = read(write_protobuf(tmp_path / "a.mcap", [("/raw", START, made)]), request(camera="/raw"))
        shown = cv2.imdecode(np.frombuffer(camera(recording).frames.read(0), np.uint8), cv2.IMREAD_COLOR)[0, 0, ::-1]
        assert np.abs(shown.astype(int) - [250, 120, 10]).max() <= 3
        assert any("without their alpha channel" in n for n in recording.notes)

    def test_depth_in_metres_becomes_millimetres_and_what_does_not_fit_is_counted(
        self, tmp_path: Path, read: Read
    ) -> None:
        depth = np.full((12, 16), 1.2344, "<f4")
        depth[0, :5] = [np.nan, 0.0, -1.0, np.inf, 70.0]
        depth[1, 0] = 65.535
        made = proto("RawImage", width=16, height=12, encoding="32FC1", step=64, data=depth.tobytes())
        recording = read(write_protobuf(tmp_path / "a.mcap", [("/raw", START, made)]), request(camera="/raw"))
        found = cv2.imdecode(np.frombuffer(camera(recording).frames.read(0), np.uint8), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint16
        assert found[0, :6].tolist() == [0, 0, 0, 0, 0, 1234]
        assert found[1, 0] == 65535
        assert any("4 pixels have no distance, 1 beyond 65.535 m were set to 0" in n for n in recording.notes)

    def test_json_inside_bytes_and_text_goes_on_the_path(self, tmp_path: Path, read: Read) -> None:
        def mixed(i: int) -> Any:
            inner = {"arm": {"q": [i, i + 0.5, -i]}, "grip": {"name": "g", "width": 0.25 * i}}
            return proto(
                "Mixed",
                items=[{"name": "z", "value": 0.1 * i}, {"name": "x", "value": 1.5}, {"name": "y", "value": -i}],
                blob=json.dumps(inner).encode(),
                packed=[2**60 + i, 7, i],
                note=json.dumps([{"v": i}, {"v": 2 * i}]),
            )

        path = write_protobuf(tmp_path / "a.mcap", [("/mixed", START + i, mixed(i)) for i in range(4)])

        def values(names: str, field: str, **options: Any) -> Stream:
            return state(read(path, request(names, state={"from": "/mixed", "field": field, **options})))

        assert values("xyz", "blob.arm.q").values.tolist() == [[i, i + 0.5, -i] for i in range(4)]
        assert values("x", "blob.grip.width").values[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75]
        assert values("xy", "note[].v").values.tolist() == [[i, 2 * i] for i in range(4)]
        packed = values("xyz", "packed")
        assert packed.values.dtype == np.int64
        assert packed.values[:, 0].tolist() == [2**60 + i for i in range(4)]
        items = values("xyz", "items[].value")  # by the elements' names
        assert items.values.dtype == np.float32
        np.testing.assert_array_equal(items.values, np.array([[1.5, -i, 0.1 * i] for i in range(4)], np.float32))
        assert values("x", "items[name=z].value").values[:, 0].tolist() == [np.float32(0.1 * i) for i in range(4)]
        named = values("xyz", "items[].value", names_field="items[].name")
        np.testing.assert_array_equal(named.values, items.values)
        infos = fields(path)
        assert infos["/mixed", "items[].value"].element_names == ("z", "x", "y")
        assert ("/mixed", "blob.arm") not in infos
        assert infos["/mixed", "blob.arm.q"].shape == (3,)

    def test_fields_that_are_not_there_are_named(self, tmp_path: Path, read: Read) -> None:
        path = write_protobuf(tmp_path / "a.mcap", [("/mixed", START, proto("Mixed", blob=b"\xff", note="x"))])
        for field, reason in (
            ("nothing", r"there is no 'nothing' in Mixed \(items, blob"),
            ("packed.a", "there is no 'a'"),
            ("items", "is an array|has nothing|no single numbers|must have"),
            ("note", "has text in 'note'; a signal needs numbers"),
            ("blob.x", "not JSON"),
            ("note.x", "not JSON"),
            ("flag[0]", "is no array"),
            ("items[0", "is no path"),
            ("items[a]", "must be an index, empty, or name=text"),
        ):
            with pytest.raises(SourceError, match=reason):
                read(path, request("x", state={"from": "/mixed", "field": field}))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda d: d[:-3], "is no FileDescriptorSet"),
            (lambda _: b"", "does not hold foxglove.Vector3"),
            (lambda _: b"\x0a\x02\x0a\x00" * 300_000, "at most 1,048,576 are read"),
            (lambda d: d.replace(b"Vector3", b"Vectorx"), "can't be used|does not hold"),
        ],
    )
    def test_definition_that_is_damaged_is_named(
        self, tmp_path: Path, read: Read, change: Callable[[bytes], bytes], reason: str
    ) -> None:
        whole = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
        path = tmp_path / "a.mcap"
        with path.open("wb") as file:
            writer = Writer(file)
            writer.start()
            schema = writer.register_schema("foxglove.Vector3", "protobuf", change(whole))
            channel = writer.register_channel("/v", "protobuf", schema)
            writer.add_message(channel, START, proto("Vector3", x=1, y=2, z=3).SerializeToString(), START)
            writer.finish()  # type: ignore[no-untyped-call]
        with pytest.raises(SourceError, match=reason):
            read(path, request(state={"from": "/v"}))
        (info,) = mcap.inspect(path).streams
        assert info.problems

    def test_types_of_protobuf_itself_may_be_left_out_of_the_definition(self, tmp_path: Path, read: Read) -> None:
        data = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
        path = tmp_path / "a.mcap"
        with path.open("wb") as file:
            writer = Writer(file)
            writer.start()
            schema = writer.register_schema("foxglove.PoseInFrame", "protobuf", data)
            channel = writer.register_channel("/pose", "protobuf", schema)
            made = proto("PoseInFrame", timestamp=stamp(START + 1), pose={"position": vector(1, 2, 3)})
            writer.add_message(channel, START, made.SerializeToString(), START)
            writer.finish()  # type: ignore[no-untyped-call]
        found = state(read(path, request(state={"from": "/pose", "field": "pose.position"})))
        assert found.values.tolist() == [[1, 2, 3]]
        assert found.time_ns.tolist() == [START + 1]

    def test_types_that_contain_each_other_many_times_are_measured_in_no_time(self, tmp_path: Path, read: Read) -> None:
        wide = [message(f"T{i}", *((f"f{j}", ".w.T" + str(j)) for j in range(20)), ("x", D)) for i in range(20)]
        file_ = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto3", message_type=wide)
        path = tmp_path / "a.mcap"
        with path.open("wb") as file:
            writer = Writer(file)
            writer.start()
            data = descriptor_pb2.FileDescriptorSet(file=[file_]).SerializeToString()
            channel = writer.register_channel("/w", "protobuf", writer.register_schema("w.T0", "protobuf", data))
            writer.add_message(channel, START, b"\xa9\x01" + np.float64(3).tobytes(), START)
            writer.finish()  # type: ignore[no-untyped-call]
        assert state(read(path, request("x", state={"from": "/w"}))).values.tolist() == [[3.0]]


class TestJson:
    def test_header_stamps_and_names_of_a_joint_state(self, tmp_path: Path, read: Read) -> None:
        rows = [
            (
                "/joints",
                START + 100 * i,
                {
                    "header": {"stamp": {"sec": START // 10**9, "nanosec": 7 * i}, "frame_id": "b"},
                    "name": ["b", "a"],
                    "position": [i, i + 0.25],
                },
            )
            for i in range(5)
        ]
        path = write_json(tmp_path / "a.mcap", rows, {"/joints": "sensor_msgs/msg/JointState"})
        recording = read(path, request("ab", state={"from": "/joints"}))
        assert state(recording).values.tolist() == [[i + 0.25, i] for i in range(5)]
        assert (state(recording).time_ns - START).tolist() == [7 * i for i in range(5)]

    def test_packed_arrays_of_names_and_values(self, tmp_path: Path, read: Read) -> None:
        rows = [
            ("/state", START + i, {"t": {"list": [{"name": n, "value": i * k} for k, n in enumerate("zyx")]}})
            for i in range(3)
        ]
        found = read(
            write_json(tmp_path / "a.mcap", rows), request(state={"from": "/state", "field": "t.list[].value"})
        )
        assert state(found).values.tolist() == [[2 * i, i, 0] for i in range(3)]
        assert "state: 3 of 3 elements of /state.t.list[].value joined by name" in found.notes

    def test_messages_without_the_field_are_left_out_and_counted(self, tmp_path: Path, read: Read) -> None:
        rows = [("/s", START + i, {"q": [i, i, i]} if i != 2 else {"other": 1}) for i in range(5)]
        recording = read(write_json(tmp_path / "a.mcap", rows), request(state={"from": "/s", "field": "q"}))
        assert (state(recording).time_ns - START).tolist() == [0, 1, 3, 4]
        assert any("1 of 5 messages have nothing there (there is no 'q' (other))" in n for n in recording.notes)
        with pytest.raises(SourceError, match=r"none of 5 messages gives a sample: there is no 'p' \(q\)"):
            read(tmp_path / "a.mcap", request(state={"from": "/s", "field": "p"}))

    def test_whole_numbers_beyond_double_precision_are_said(self, tmp_path: Path, read: Read) -> None:
        rows: list[Row] = [("/s", START, {"q": [2**53 + 1, 1, 2]}), ("/s", START + 1, {"q": ["NaN", "Infinity", 0]})]
        recording = read(write_json(tmp_path / "a.mcap", rows[:1]), request(state={"from": "/s", "field": "q"}))
        assert any("1 whole numbers beyond 2^53 were rounded" in n for n in recording.notes)

    @pytest.mark.parametrize("form", ["struct", "text"])
    def test_foxglove_images_and_their_stamps(self, tmp_path: Path, read: Read, form: str) -> None:
        def timestamp(i: int) -> Any:
            if form == "text":
                return f"2023-11-14T22:13:20.00000000{i}Z"
            return {"sec": START // 10**9, "nsec": i}

        rows = [
            (
                "/camera",
                START + 10 * i,
                {
                    "timestamp": timestamp(i),
                    "frame_id": "c",
                    "format": "jpeg",
                    "data": base64.b64encode(jpeg(i)).decode(),
                },
            )
            for i in range(4)
        ]
        pixels = np.tile(np.array([9, 120, 240], np.uint8), (12, 16, 1)).tobytes()
        encoded = base64.b64encode(pixels).decode()
        rows.append(
            (
                "/raw",
                START,
                {"width": 16, "height": 12, "encoding": "bgr8", "step": 48, "data": encoded, "timestamp": {}},
            )
        )
        path = write_json(
            tmp_path / "a.mcap", rows, {"/camera": "foxglove.CompressedImage", "/raw": "foxglove.RawImage"}
        )
        found = camera(read(path, request(camera="/camera")))
        assert [found.frames.read(i) for i in range(4)] == [jpeg(i) for i in range(4)]
        assert found.frames.sizes.tolist() == [len(jpeg(i)) for i in range(4)]
        assert (found.time_ns - START).tolist() == [0, 1, 2, 3]
        raw = camera(read(path, request(camera="/raw")))
        shown = cv2.imdecode(np.frombuffer(raw.frames.read(0), np.uint8), cv2.IMREAD_COLOR)[0, 0]
        assert np.abs(shown.astype(int) - [9, 120, 240]).max() <= 3
        assert fields(path)["/camera", None].codec == "jpeg"
        assert fields(path)["/raw", None].shape == (12, 16, 3)

    def test_texts_and_flags_become_labels(self, tmp_path: Path, read: Read) -> None:
        rows: list[Row] = [("/s", START + i, {"q": [1, 2, 3]}) for i in range(5)]
        rows.insert(0, ("/task", START - 5, {"text": {"en": "fold the towel"}}))
        rows.append(("/ok", START + 9, {"done": True}))
        recording = read(
            write_json(tmp_path / "a.mcap", rows),
            request(
                state={"from": "/s", "field": "q"},
                instruction={"from": "/task", "field": "text.en"},
                outcome={"from": "/ok", "field": "done"},
            ),
        )
        assert [(i.text, i.receive_time_ns) for i in recording.instructions] == [("fold the towel", START - 5)]
        assert [(o.kind, o.receive_time_ns) for o in recording.outcomes] == [("success", START + 9)]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"{", "not JSON"),
            (b'{"q": 1', "not JSON"),
            (b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
            (b'{"q": [' + b"[]," * 600_000 + b"[]]}", "at most 1,048,576 are parsed"),
            (b'{"q": "text"}', "has text in 'q'"),
            (b'{"q": [1, "two", 3]}', "is an array of text"),
            (b'{"q": ' + b"9" * 5000 + b"}", "not JSON|digits|no float64"),
            (b'{"q": ' + b"9" * 400 + b"}", "a number is no float64"),
            (b"\xff\xfe", "not JSON"),
            (b"[1, 2, 3]", "there is no 'q' in an array"),
        ],
    )
    def test_hostile_document_is_refused_in_one_line(
        self, tmp_path: Path, read: Read, data: bytes, reason: str
    ) -> None:
        path = write_json(tmp_path / "a.mcap", [("/s", START, data)])
        with pytest.raises(SourceError, match=reason) as error:
            read(path, request(state={"from": "/s", "field": "q"}))
        assert "\n" not in str(error.value)
        mcap.inspect(path)


SEPARATOR = "=" * 80 + "\n"
TIME_2 = f"{SEPARATOR}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
GEOMETRY = (
    f"{SEPARATOR}MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
    f"{SEPARATOR}MSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"
)
ROS2 = {
    "tf2_msgs/msg/TFMessage": (
        "geometry_msgs/TransformStamped[] transforms\n"
        f"{SEPARATOR}MSG: geometry_msgs/TransformStamped\nstd_msgs/Header header\nstring child_frame_id\n"
        f"Transform transform\n{SEPARATOR}MSG: geometry_msgs/Transform\nVector3 translation\nQuaternion rotation\n"
        f"{GEOMETRY}{SEPARATOR}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{TIME_2}"
    ),
    "foxglove_msgs/msg/CompressedImage": (
        f"builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\nstring message_id\n{TIME_2}"
    ),
    "foxglove_msgs/msg/RawImage": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\nstring encoding\n"
        f"uint32 step\nuint8[] data\n{TIME_2}"
    ),
    "foxglove_msgs/msg/JointStates": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/JointState[] joints\n"
        f"{SEPARATOR}MSG: foxglove_msgs/JointState\nstring name\nfloat64 position\nfloat64 velocity\n{TIME_2}"
    ),
    "foxglove_msgs/msg/JointState": (
        f"builtin_interfaces/Time timestamp\nstring[] name\nfloat64[] position\nfloat64[] velocity\n{TIME_2}"
    ),
    "std_msgs/msg/String": "string data\n",
    "x_msgs/msg/Empty": "Nothing[] many\nuint8 last\n" + f"{SEPARATOR}MSG: x_msgs/Nothing\n",
}


def time_2(time_ns: int) -> dict[str, int]:
    return {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}


class TestRos2:
    def transforms(self, *children: tuple[str, int]) -> dict[str, Any]:
        return {
            "transforms": [
                {
                    "header": {"stamp": time_2(START + 1000 * i), "frame_id": "base"},
                    "child_frame_id": child,
                    "transform": {"translation": vector(i, 0.5, -i), "rotation": QUATERNION},
                }
                for child, i in children
            ]
        }

    def test_one_frame_of_tf_is_chosen_with_its_own_stamp(self, tmp_path: Path, read: Read) -> None:
        name = "tf2_msgs/msg/TFMessage"
        rows = [("/tf", name, START + 10 * i, self.transforms(("gripper", i), ("elbow", 90))) for i in range(1, 4)]
        rows += [("/tf", name, START + 50, self.transforms(("wheel", 5)))]
        rows += [("/tf", name, START + 60, self.transforms(("gripper", 6), ("gripper", 7)))]
        path = write_ros(tmp_path / "a.mcap", rows, ROS2)
        field = "transforms[header.frame_id=base,child_frame_id=gripper].transform"
        recording = read(path, request(SEVEN, state={"from": "/tf", "field": field, "join": "index"}))
        assert state(recording).values.tolist() == [[i, 0.5, -i, 0.0, 0.0, 0.6, 0.8] for i in (1, 2, 3, 7)]
        assert (state(recording).time_ns - START).tolist() == [1000, 2000, 3000, 7000]
        assert any("1 messages have it several times; the last was taken" in n for n in recording.notes)
        assert any("1 of 5 messages have nothing there" in n for n in recording.notes)
        by_log = request(SEVEN, state={"from": "/tf", "field": field, "join": "index", "clock": "log"})
        assert (state(read(path, by_log)).time_ns - START).tolist() == [10, 20, 30, 60]
        assert fields(path)["/tf", "transforms[child_frame_id=wheel].transform"].element_names[:2] == (
            "translation.x",
            "translation.y",
        )

    def test_foxglove_types_in_cdr(self, tmp_path: Path, read: Read) -> None:
        pixels = np.tile(np.array([250, 120, 10], np.uint8), (12, 16, 1)).tobytes()
        head = {"timestamp": time_2(START + 3), "frame_id": "cam"}
        raw = {**head, "width": 16, "height": 12, "encoding": "rgb8", "step": 48, "data": pixels}
        joints = [{"name": n, "position": float(k), "velocity": 0.0} for k, n in enumerate("zyx")]
        arrays = {"timestamp": time_2(START + 3), "name": ["z", "x", "y"], "position": [3.0, 1.0, 2.0]}
        rows = [
            ("/camera", "foxglove_msgs/msg/CompressedImage", START, {**head, "data": jpeg(9), "format": "jpeg"}),
            ("/raw", "foxglove_msgs/msg/RawImage", START, raw),
            ("/joints", "foxglove_msgs/msg/JointStates", START, {**head, "joints": joints}),
            ("/arrays", "foxglove_msgs/msg/JointState", START, {**arrays, "velocity": []}),
        ]
        path = write_ros(tmp_path / "a.mcap", rows, ROS2)
        image = camera(read(path, request(camera="/camera")))
        assert bytes(image.frames.read(0)) == jpeg(9)
        assert image.time_ns.tolist() == [START + 3]
        found = camera(read(path, request(camera="/raw")))
        shown = cv2.imdecode(np.frombuffer(found.frames.read(0), np.uint8), cv2.IMREAD_COLOR)[0, 0, ::-1]
        assert np.abs(shown.astype(int) - [250, 120, 10]).max() <= 3
        assert state(read(path, request(state={"from": "/joints", "field": "position"}))).values.tolist() == [[2, 1, 0]]
        assert state(read(path, request(state={"from": "/arrays"}))).values.tolist() == [[1, 2, 3]]
        infos = fields(path)
        assert infos["/joints", "joints[].position"].element_names == ("z", "y", "x")
        assert infos["/camera", None].shape == (12, 16, 3)

    def test_json_inside_a_string_message(self, tmp_path: Path, read: Read) -> None:
        rows = [
            ("/s", "std_msgs/msg/String", START + i, {"data": json.dumps({"q": [i, 2, 3], "note": "é"})})
            for i in range(3)
        ]
        path = write_ros(tmp_path / "a.mcap", rows, ROS2)
        found = state(read(path, request(state={"from": "/s", "field": "data.q"})))
        assert found.values.tolist() == [[i, 2, 3] for i in range(3)]
        assert fields(path)["/s", "data.q"].shape == (3,)

    def test_xcdr2_is_refused_by_name(self, tmp_path: Path, read: Read) -> None:
        rows = [("/s", "std_msgs/msg/String", START, b"\0\x07\0\0\3\0\0\0hi\0")]
        path = write_ros(tmp_path / "a.mcap", rows, ROS2)
        with pytest.raises(
            SourceError, match=r"encapsulation 0007; must be plain CDR, 0000 or 0001: XCDR2 is not read"
        ):
            read(path, request(state={"from": "/s", "field": "data.q"}))
        (info,) = mcap.inspect(path).streams
        assert "XCDR2" in info.problems[0]

    def test_many_empty_structs_do_not_fill_memory(self, tmp_path: Path, read: Read) -> None:
        rows = [("/s", "x_msgs/msg/Empty", START, b"\0\1\0\0\xff\xff\xff\xff\0\0\0\0")]
        path = write_ros(tmp_path / "a.mcap", rows, ROS2)
        for field in ("last", "[last=0].last"):
            with pytest.raises(SourceError, match=r"4,294,967,295 elements in|not a x_msgs/Empty"):
                read(path, request("x", state={"from": "/s", "field": field}))


class TestRos1:
    HEADER = f"{SEPARATOR}MSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"

    def test_messages_of_ros_1_equal_rosbags(self, tmp_path: Path, read: Read) -> None:
        rosbags = pytest.importorskip("rosbags.typesys")
        store = rosbags.get_typestore(rosbags.Stores.ROS1_NOETIC)
        types = store.types
        header = types["std_msgs/msg/Header"](
            seq=5, stamp=types["builtin_interfaces/msg/Time"](START // 10**9, 77), frame_id="b"
        )
        joint = types["sensor_msgs/msg/JointState"]
        image = types["sensor_msgs/msg/CompressedImage"]
        rows = []
        for i in range(3):
            values = np.array([i, 2.0, 3.0])
            made = joint(header=header, name=["z", "x", "y"], position=values, velocity=values, effort=values[:0])
            data = bytes(store.serialize_ros1(made, joint.__msgtype__))
            rows.append(("/joints", "sensor_msgs/JointState", START + i, data))
            picture = image(header=header, format="jpeg", data=np.frombuffer(jpeg(i), np.uint8))
            data = bytes(store.serialize_ros1(picture, image.__msgtype__)) + (b"tail" if i == 1 else b"")
            rows.append(("/camera", "sensor_msgs/CompressedImage", START + i, data))
        definitions = {
            "sensor_msgs/JointState": "Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
            f"float64[] effort\n{self.HEADER}",
            "sensor_msgs/CompressedImage": f"Header header\nstring format\nuint8[] data\n{self.HEADER}",
        }
        path = write_ros(tmp_path / "a.mcap", rows, definitions, "ros1msg")
        recording = read(path, request(camera="/camera", state={"from": "/joints", "field": "position"}))
        assert state(recording).values.tolist() == [[2, 3, i] for i in range(3)]
        assert state(recording).time_ns.tolist() == [START + 77] * 3
        assert [bytes(camera(recording).frames.read(i)) for i in range(3)] == [jpeg(i) for i in range(3)]
        infos = fields(path)
        assert infos["/joints", "position"].element_names == ("z", "x", "y")
        assert infos["/camera", None].codec == "jpeg"


class TestClocks:
    @pytest.mark.parametrize(("clock", "offset"), [("auto", 500), ("header", 500), ("log", 0), ("publish", -3)])
    def test_the_clock_that_was_chosen_is_on_the_stream(
        self, tmp_path: Path, read: Read, clock: str, offset: int
    ) -> None:
        rows = [
            (
                "/p",
                START + i,
                proto("PoseInFrame", timestamp=stamp(START + i + 500), pose={"position": vector(i, 0, 1)}),
            )
            for i in range(3)
        ]
        wanted = request(state={"from": "/p", "field": "pose.position", "clock": clock})
        found = state(read(write_protobuf(tmp_path / "a.mcap", rows), wanted))
        assert (found.time_ns - START).tolist() == [offset + i for i in range(3)]
        assert found.clock_choice == ("header" if clock == "auto" else clock)

    def test_stamps_of_zero_give_way_to_the_log(self, tmp_path: Path, read: Read) -> None:
        rows = [("/p", START + i, {"timestamp": {"sec": 0, "nsec": 0}, "q": [1, 2, 3]}) for i in range(3)]
        recording = read(write_json(tmp_path / "a.mcap", rows), request(state={"from": "/p", "field": "q"}))
        assert state(recording).clock_choice == "log"
        assert "state: all header stamps are 0; time is log_time" in recording.notes


def test_every_conformance_file_is_inspected_with_its_topic_and_messages(shared_data: Path) -> None:
    """Independent of the summary, which 10 of the 40 do without or have in part."""
    paths = sorted((shared_data / "mcap_conformance" / "TenMessages").glob("*.mcap"))
    assert len(paths) == 40
    for path in paths:
        with path.open("rb") as file:
            expected = [m.log_time for _, _, m in NonSeekingReader(file).iter_messages(log_time_order=False)]
        (info,) = mcap.inspect(path).streams
        assert (info.name, info.count, info.time_ns.tolist()) == ("example", 10, expected), path.name


def test_hundreds_of_channels_with_one_message_each_are_read_at_once(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.mcap"
    definition = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        for i in range(800):
            schema = writer.register_schema("foxglove.Vector3", "protobuf", definition)
            channel = writer.register_channel(f"/topic/{i:03d}", "protobuf", schema)
            writer.add_message(channel, START + i, proto("Vector3", x=i).SerializeToString(), START)
        writer.finish()  # type: ignore[no-untyped-call]
    assert len({s.name for s in mcap.inspect(path).streams}) == 800
    assert state(read(path, request("x", state={"from": "/topic/777", "field": "x"}))).values.tolist() == [[777.0]]


# ---------------------------------------------------------------- properties


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
number = st.floats(allow_nan=False, width=64)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[str, list[int], list[int], list[str], list[list[float]]]:
    form = draw(st.sampled_from(["json", "protobuf", "ros2"]))
    joints = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    steps = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
    log = (START + np.cumsum(steps)).tolist()
    stamps = [t + draw(st.integers(-(10**6), 10**6)) for t in log]
    values = [draw(st.lists(number, min_size=len(joints), max_size=len(joints))) for _ in log]
    return form, log, stamps, joints, values


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=recordings(), seed=st.integers(0, 10**6))
def test_what_is_written_comes_back_to_the_nanosecond_and_the_byte(
    tmp_path: Path, data: tuple[str, list[int], list[int], list[str], list[list[float]]], seed: int
) -> None:
    form, log, stamps, joints, values = data
    order = random.Random(seed).sample(range(len(joints)), len(joints))
    frames = [jpeg((seed + i) % 255) for i in range(len(log))]
    path = tmp_path / "a.mcap"
    listed = [[{"name": joints[k], "position": row[k]} for k in order] for row in values]
    if form == "json":
        rows: list[Row] = []
        for i, t in enumerate(log):
            rows.append(
                ("/j", t, {"timestamp": {"sec": stamps[i] // 10**9, "nsec": stamps[i] % 10**9}, "joints": listed[i]})
            )
            rows.append(("/c", t, {"data": base64.b64encode(frames[i]).decode(), "format": "jpeg"}))
        write_json(path, rows, {"/j": "foxglove.JointStates", "/c": "foxglove.CompressedImage"})
    elif form == "protobuf":
        rows = []
        for i, t in enumerate(log):
            rows.append(("/j", t, proto("JointStates", timestamp=stamp(stamps[i]), joints=listed[i])))
            rows.append(("/c", t, proto("CompressedImage", data=frames[i], format="jpeg")))
        write_protobuf(path, rows)
    else:
        ros = []
        for i, t in enumerate(log):
            head = {"timestamp": time_2(stamps[i]), "frame_id": "x"}
            ros.append(("/j", "foxglove_msgs/msg/JointStates", t, {**head, "joints": listed[i]}))
            ros.append(("/c", "foxglove_msgs/msg/CompressedImage", t, {**head, "data": frames[i], "format": "jpeg"}))
        write_ros(path, ros, ROS2)
    embodiment = {
        "name": "x",
        "rate_hz": 10,
        "proprioception": [{"name": "state", "dimensions": [{"name": f"d{k}", **JOINT} for k in range(len(joints))]}],
        "cameras": [{"name": "camera", "height": 12, "width": 16}],
    }
    streams = {
        "state": {"from": "/j", "field": "position", "names": joints},
        "camera": {"from": "/c", "clock": "log"},
    }
    wanted = Request(
        embodiment=Embodiment.model_validate(embodiment),
        mapping=Mapping.model_validate({"source": "mcap", "streams": streams}),
    )
    reading = mcap.read(path, Place(name="a.mcap"), wanted)
    recording = next(reading)
    found = state(recording)
    np.testing.assert_array_equal(found.values, np.array(values).reshape(len(log), len(joints)))
    assert found.time_ns.tolist() == stamps
    assert found.receive_time_ns is not None
    assert found.receive_time_ns.tolist() == log
    images = camera(recording)
    assert [bytes(images.frames.read(i)) for i in range(len(log))] == frames
    assert images.time_ns.tolist() == log
    assert next(reading, None) is None


def small(path: Path) -> Path:
    """A file with everything that this source reads, small."""
    rows: list[Row] = []
    for i in range(3):
        t = START + 1000 * i
        rows.append(("/j", t, proto("JointStates", timestamp=stamp(t), joints=[{"name": "x", "position": 1.5}])))
        rows.append(("/c", t, proto("CompressedImage", timestamp=stamp(t), data=jpeg(i), format="jpeg")))
        rows.append(("/m", t, proto("Mixed", blob=b'{"q": [1, 2]}', packed=[1, 2], items=[{"name": "x", "value": 1}])))
        rows.append(
            ("/t", t, proto("FrameTransforms", transforms=[{"child_frame_id": "g", "translation": vector(1, 2, 3)}]))
        )
    return write_protobuf(path, rows)


def test_mutated_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    whole = small(tmp_path / "whole.mcap").read_bytes()
    loose = tmp_path / "loose.mcap"
    with loose.open("wb") as file:
        writer = Writer(file, use_chunking=False, enable_crcs=False)
        writer.start()
        data = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
        for topic, name, made in (
            ("/j", "JointStates", proto("JointStates", joints=[{"name": "x", "position": 1.5}])),
            ("/c", "CompressedImage", proto("CompressedImage", data=jpeg(3), format="jpeg")),
            ("/m", "Mixed", proto("Mixed", blob=b'{"q": [1, 2]}', items=[{"name": "x", "value": 1}])),
        ):
            channel = writer.register_channel(
                topic, "protobuf", writer.register_schema(f"foxglove.{name}", "protobuf", data)
            )
            for i in range(3):
                writer.add_message(channel, START + i, made.SerializeToString(), START)
        channel = writer.register_channel("/t", "json", 0)
        writer.add_message(channel, START, b'{"transforms": [{"child_frame_id": "g", "translation": {"x": 1}}]}', START)
        writer.finish()  # type: ignore[no-untyped-call]
    rng = random.Random(7)
    wanted = [
        request("x", camera="/c", state={"from": "/j", "field": "position"}),
        request("xy", state={"from": "/m", "field": "blob.q"}),
        request("x", state={"from": "/t", "field": "transforms[child_frame_id=g].translation.x"}),
    ]
    path, outcomes = tmp_path / "a.mcap", set()
    for k in range(300):
        damaged = bytearray(loose.read_bytes() if k % 3 else whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            kind = rng.random()
            if kind < 0.6:
                damaged[at] = rng.randrange(256)
            elif kind < 0.8:
                del damaged[at : at + rng.randint(1, 40)]
            else:
                damaged[at:at] = damaged[rng.randrange(len(damaged)) :][: rng.randint(1, 40)]
        path.write_bytes(damaged)
        mcap.can_read(path)
        for attempt in (lambda: mcap.inspect(path), *(lambda w=w: read_all(path, w) for w in wanted)):
            try:
                attempt()
                outcomes.add("read")
            except VladataError as error:
                lines = str(error).splitlines()
                outcomes.add("refused" if len(lines) == 1 else "several lines")
    assert outcomes == {"read", "refused"}


def read_all(path: Path, wanted: Request) -> None:
    for recording in mcap.read(path, mcap.places(path)[0], wanted):
        for stream in recording.streams.values():
            if isinstance(stream, FrameStream):
                for i in range(stream.num_frames):
                    stream.frames.read(i)


SCHEMA = """\
name: two
rate_hz: 20
proprioception:
  - name: state
    dimensions:
      - {name: x, kind: joint_position, unit: rad}
      - {name: y, kind: joint_position, unit: rad}
action:
  - name: command
    dimensions:
      - {name: x, kind: joint_position, unit: rad, mode: absolute}
      - {name: y, kind: joint_position, unit: rad, mode: absolute}
cameras:
  - {name: camera, height: 12, width: 16}
"""
MAPPING = """\
source: mcap
streams:
  state: {from: /joints, field: position}
  command: {from: /command, field: data.q, join: index}
  camera: {from: /camera}
instruction: {from: /task, field: text}
outcome: {from: /mark, field: text}
split: {from: /mark, field: text, start: [go], stop: [success, failure]}
"""


def test_two_demonstrations_in_one_file_through_the_whole_command(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "two.yaml").write_text(SCHEMA)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    path = tmp_path / "day.mcap"
    step = 50_000_000
    rows: list[Row] = []
    for i in range(60):
        t = START + i * step
        joints = [{"name": "y", "position": -i}, {"name": "x", "position": i}]
        rows.append(("/joints", t, proto("JointStates", timestamp=stamp(t), joints=joints)))
        picture = cv2.imencode(".jpg", np.random.default_rng(i).integers(0, 255, (12, 16, 3), np.uint8))[1].tobytes()
        rows.append(("/camera", t + 1, proto("CompressedImage", timestamp=stamp(t + 1), data=picture, format="jpeg")))
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        data = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
        channels = {
            topic: writer.register_channel(
                topic, "protobuf", writer.register_schema(f"foxglove.{name}", "protobuf", data)
            )
            for topic, name in (("/joints", "JointStates"), ("/camera", "CompressedImage"))
        }
        channels |= {topic: writer.register_channel(topic, "json", 0) for topic in ("/command", "/task", "/mark")}
        events: list[tuple[int, str, bytes]] = [(t, topic, made.SerializeToString()) for topic, t, made in rows]
        for i in range(60):
            inner = json.dumps({"q": [i + 0.5, -i]})
            events.append((START + i * step + 2, "/command", json.dumps({"data": inner}).encode()))
        for t, topic, text in (
            (2, "/task", "fold"),
            (5, "/mark", "go"),
            (25, "/mark", "success"),
            (30, "/mark", "go"),
            (31, "/task", "stack"),
            (55, "/mark", "failure"),
        ):
            events.append((START + t * step - 10, topic, json.dumps({"text": text}).encode()))
        for t, topic, payload in sorted(events):
            writer.add_message(channels[topic], t, payload, t)
        writer.finish()  # type: ignore[no-untyped-call]
    done = cli("inspect", path)
    assert done.returncode == 0, done.stderr
    for topic in channels:
        assert topic in done.stdout
    out = tmp_path / "dataset"
    words = ("--schema", tmp_path / "two.yaml", "--mapping", tmp_path / "mapping.yaml", "-o", out)
    done = cli("ingest", path, *words)
    assert done.returncode == 0, done.stderr
    listed = json.loads(cli("ls", out, "--json").stdout)
    assert [(r["place"], r["instruction"], r["outcome"], r["num_steps"]) for r in listed] == [
        ("day.mcap#0", "fold", "success", 18),
        ("day.mcap#1", "stack", "failure", 23),
    ]
    assert cli("validate", out, "--fail-on", "error").returncode in {0, 4}
    import vladata

    for episode, first, last in zip(vladata.open(out), (5, 30), (24, 54), strict=True):
        found = episode.streams["state"]
        np.testing.assert_array_equal(found.values, [[i, -i] for i in range(first, last + 1)])
        assert found.time_ns.tolist() == [START + i * step for i in range(first, last + 1)]
