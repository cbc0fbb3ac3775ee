"""CDR readers, beside the generated decoder of mcap-ros2-support and on real messages."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader
from mcap.records import Schema
from mcap_ros2._dynamic import generate_dynamic, serialize_dynamic
from mcap_ros2.decoder import DecoderFactory

from vladata.sources._mcap_types import numeric_paths
from vladata.sources._ros2 import (
    CdrError,
    JointStates,
    MultiArrays,
    compressed_image,
    header_stamp,
    raw_image,
    string,
)
from vladata.sources._ros2_fields import FieldValues, parse_definition

SEPARATOR = "=" * 80
HEADER = (
    f"{SEPARATOR}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    f"{SEPARATOR}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)
JOINTS = f"std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{HEADER}"
COMPRESSED = f"std_msgs/Header header\nstring format\nuint8[] data\n{HEADER}"
RAW = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
    f"uint8[] data\n{HEADER}"
)
LAYOUT = (
    f"{SEPARATOR}\nMSG: std_msgs/MultiArrayLayout\nMultiArrayDimension[] dim\nuint32 data_offset\n"
    f"{SEPARATOR}\nMSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride\n"
)

numbers = st.lists(st.floats(allow_nan=False, width=32), max_size=9)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
headers = st.builds(
    lambda sec, nanosec, frame: {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame},
    st.integers(0, 2**31 - 1),
    st.integers(0, 999_999_999),
    texts,
)


def encoded(name: str, definition: str, message: dict[str, Any]) -> memoryview:
    return memoryview(serialize_dynamic(name, definition)[name](message))


@settings(deadline=None)
@given(headers, st.lists(texts, max_size=5), numbers, numbers, numbers)
def test_joint_state_is_read_as_the_generated_decoder_reads_it(
    header: dict[str, Any], names: list[str], position: list[float], velocity: list[float], effort: list[float]
) -> None:
    message = {"header": header, "name": names, "position": position, "velocity": velocity, "effort": effort}
    payload = encoded("sensor_msgs/msg/JointState", JOINTS, message)
    expected = generate_dynamic("sensor_msgs/msg/JointState", JOINTS)["sensor_msgs/msg/JointState"](bytes(payload))
    reader = JointStates(frozenset({"position", "velocity", "effort"}))
    for _ in range(2):  # the second time by the names known from the first
        reader.add(payload)
    assert [reader.names[k] for k in reader.names_of] == [tuple(expected.name)] * 2
    for field in ("position", "velocity", "effort"):
        assert reader.fields[field].flat().tolist() == 2 * getattr(expected, field)
    stamp = expected.header.stamp
    assert header_stamp(payload) == stamp.sec * 1_000_000_000 + stamp.nanosec


def test_joint_names_may_change_between_messages() -> None:
    reader = JointStates(frozenset({"position"}))
    header = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "base"}
    for names, values in ((["a", "b"], [1.0, 2.0]), (["b", "a"], [3.0, 4.0]), (["a", "b"], [5.0, 6.0])):
        message = {"header": header, "name": names, "position": values, "velocity": [], "effort": []}
        reader.add(encoded("sensor_msgs/msg/JointState", JOINTS, message))
    assert reader.names == [("a", "b"), ("b", "a")]
    assert list(reader.names_of) == [0, 1, 0]
    assert reader.fields["position"].flat().tolist() == [1, 2, 3, 4, 5, 6]


def test_fields_may_trade_lengths_between_messages() -> None:
    reader = JointStates(frozenset({"position", "velocity"}))
    rows = [([1.0, 2.0], [3.0]), ([4.0], [5.0, 6.0]), ([], [7.0, 8.0, 9.0]), ([1.0, 2.0], [3.0])]
    for position, velocity in rows:
        message = {"name": ["a", "b"], "position": position, "velocity": velocity, "effort": []}
        reader.add(encoded("sensor_msgs/msg/JointState", JOINTS, message))
    assert reader.fields["position"].flat().tolist() == [1, 2, 4, 1, 2]
    assert reader.fields["velocity"].flat().tolist() == [3, 5, 6, 7, 8, 9, 3]
    assert list(reader.fields["velocity"].lengths) == [1, 2, 3, 1]


@settings(deadline=None)
@given(headers, texts, st.binary(max_size=40))
def test_compressed_image_is_found_in_its_message(header: dict[str, Any], form: str, data: bytes) -> None:
    message = {"header": header, "format": form, "data": data}
    payload = encoded("sensor_msgs/msg/CompressedImage", COMPRESSED, message)
    place = compressed_image(payload)
    assert place.format == form
    assert bytes(payload[place.offset : place.offset + place.size]) == data


def test_raw_image_keeps_padded_rows() -> None:
    message = {
        "header": {"stamp": {"sec": 1, "nanosec": 0}, "frame_id": "cam"},
        "height": 2,
        "width": 3,
        "encoding": "mono8",
        "is_bigendian": 0,
        "step": 4,
        "data": bytes(range(8)),
    }
    image = raw_image(encoded("sensor_msgs/msg/Image", RAW, message))
    assert (image.height, image.width, image.encoding, image.step) == (2, 3, "mono8", 4)
    assert bytes(image.pixels) == bytes(range(8))


def test_raw_image_with_fewer_bytes_than_its_rows_is_refused() -> None:
    message = {"height": 3, "width": 3, "encoding": "mono8", "is_bigendian": 0, "step": 4, "data": bytes(8)}
    with pytest.raises(CdrError, match="3 rows of 4 bytes; the image has 8 bytes"):
        raw_image(encoded("sensor_msgs/msg/Image", RAW, message))


@pytest.mark.parametrize(
    ("item", "dtype"), [("float64", "<f8"), ("float32", "<f4"), ("int16", "<i2"), ("uint8", "|u1")]
)
@settings(deadline=None)
@given(labels=st.lists(texts, max_size=3), values=st.lists(st.integers(0, 100), max_size=7))
def test_multi_array_is_read_behind_any_layout(item: str, dtype: str, labels: list[str], values: list[int]) -> None:
    name, definition = "std_msgs/msg/XMultiArray", f"MultiArrayLayout layout\n{item}[] data\n{LAYOUT}"
    dimensions = [{"label": label, "size": 1, "stride": 1} for label in labels]
    data: list[int] | bytes = bytes(values) if item == "uint8" else values
    payload = encoded(name, definition, {"layout": {"dim": dimensions, "data_offset": 0}, "data": data})
    reader = MultiArrays(dtype)
    reader.add(payload)
    assert reader.vectors.flat().tolist() == values


def test_big_endian_messages_are_read() -> None:
    head = struct.pack(">iI I4s", 5, 7, 4, b"cam\0")
    names = struct.pack(">I I2s2x I2s2x", 2, 2, b"a\0", 2, b"b\0")
    # The two numbers begin at byte 40 behind the encapsulation header, a multiple of 8.
    payload = memoryview(b"\0\0\0\0" + head + names + struct.pack(">I2dII", 2, 1.5, -2.5, 0, 0))
    assert header_stamp(payload) == 5_000_000_007
    joints = JointStates(frozenset({"position", "velocity"}))
    joints.add(payload)
    assert joints.names == [("a", "b")]
    assert joints.fields["position"].flat().tolist() == [1.5, -2.5]
    assert list(joints.fields["velocity"].lengths) == [0]
    assert string(memoryview(b"\0\0\0\0" + struct.pack(">I3s", 3, b"hi\0"))) == "hi"
    array = MultiArrays("<f4")
    array.add(memoryview(b"\0\0\0\0" + struct.pack(">III2f", 0, 0, 2, 1.5, -2.5)))
    assert array.vectors.flat().tolist() == [1.5, -2.5]


def test_other_encapsulations_are_refused() -> None:
    with pytest.raises(CdrError, match="encapsulation 0007; must be plain CDR"):
        string(memoryview(b"\0\x07\0\0" + struct.pack("<I3s", 3, b"hi\0")))


def samples() -> Iterator[tuple[str, Any, memoryview]]:
    header = {"stamp": {"sec": 3, "nanosec": 4}, "frame_id": "base"}
    joints = {"header": header, "name": ["a", "b"], "position": [1.0, 2.0], "velocity": [3.0, 4.0], "effort": [5.0]}
    payload = encoded("sensor_msgs/msg/JointState", JOINTS, joints)
    yield "joints", lambda p: JointStates(frozenset({"position"})).add(p), payload
    definition = parse_definition("sensor_msgs/msg/JointState", JOINTS.encode())
    yield "fields", FieldValues(definition, "effort").add, payload
    image = {"header": header, "format": "jpeg", "data": b"12345"}
    yield "compressed", compressed_image, encoded("sensor_msgs/msg/CompressedImage", COMPRESSED, image)
    raw = {"header": header, "height": 2, "width": 2, "encoding": "mono8", "step": 2, "data": b"1234"}
    yield "raw", raw_image, encoded("sensor_msgs/msg/Image", RAW, raw)
    yield "string", string, encoded("std_msgs/msg/String", "string data", {"data": "hello"})
    array = {"layout": {"dim": [{"label": "x", "size": 2, "stride": 2}], "data_offset": 0}, "data": [1.0, 2.0]}
    name, definition_text = "std_msgs/msg/Float64MultiArray", f"MultiArrayLayout layout\nfloat64[] data\n{LAYOUT}"
    yield "array", lambda p: MultiArrays("<f8").add(p), encoded(name, definition_text, array)


@pytest.mark.parametrize(("read", "payload"), [s[1:] for s in samples()], ids=[s[0] for s in samples()])
def test_message_that_is_cut_anywhere_is_an_error(read: Any, payload: memoryview) -> None:
    read(payload)
    for length in range(len(payload)):
        with pytest.raises(CdrError):
            read(payload[:length])


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_message_is_read_or_refused_but_nothing_else(data: st.DataObject) -> None:
    _, read, payload = data.draw(st.sampled_from(list(samples())))
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(memoryview(bytes(damaged)))
    except CdrError:
        pass


def plain(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = getattr(value, step)
    return value


def test_every_field_of_real_messages_equals_the_generated_decoder(shared_data: Path) -> None:
    compared = 0
    for path in sorted(shared_data.rglob("*.mcap")):
        if "conformance" in path.as_posix():
            continue
        with path.open("rb") as file:
            for schema, channel, message in NonSeekingReader(file).iter_messages(log_time_order=False):
                if channel.message_encoding != "cdr" or schema is None or "_Event" in schema.name:
                    continue
                if len(message.data) > 100_000:
                    continue
                compared += compare_fields(schema, message.data)
    assert compared > 5000


def compare_fields(schema: Schema, data: bytes) -> int:
    decode = DecoderFactory().decoder_for("cdr", schema)
    assert decode is not None
    expected = decode(data)
    definition = parse_definition(schema.name, schema.data)
    paths = numeric_paths(definition)
    if schema.name == "std_msgs/msg/String":
        assert string(memoryview(data)) == expected.data
        return 1
    for path in paths:
        reader = FieldValues(definition, path)
        reader.add(memoryview(data))
        value = plain(expected, path.split("."))
        if reader.element_names:
            value = [plain(value, name.split(".")) for name in reader.element_names]
        elif not isinstance(value, list | bytes | int | float):
            value = [plain(value, definition.leaves(path)[0].path.split("."))]
        wanted = list(value) if isinstance(value, list | bytes) else [value]
        np.testing.assert_array_equal(reader.vectors.flat(), np.array(wanted, dtype=reader.vectors.dtype))
    return len(paths)


POSE = (
    "std_msgs/Header header\nPose pose  # where\nPoint[] path\nuint8 MODE=3\nfloat64[2] pair\nstring<=8 label\n"
    f"{HEADER}"
    f"{SEPARATOR}\nMSG: x_msgs/Pose\nPoint position\nQuaternion orientation\n"
    f"{SEPARATOR}\nMSG: x_msgs/Point\nfloat64 x 0.5\nfloat64 y\nfloat64 z\n"
    f"{SEPARATOR}\nMSG: x_msgs/Quaternion\nfloat32 x\nfloat32 y\nfloat32 z\nfloat32 w 1\n"
)


def pose_values(path: str | None) -> FieldValues:
    point = {"x": 1.0, "y": 2.0, "z": 3.0}
    message = {
        "header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "w"},
        "pose": {"position": point, "orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}},
        "path": [point, {"x": 4.0, "y": 5.0, "z": 6.0}],
        "pair": [7.0, 8.0],
        "label": "grasp",
    }
    definition = parse_definition("x_msgs/msg/Stamped", POSE.encode())
    assert definition.has_header
    values = FieldValues(definition, path)
    values.add(encoded("x_msgs/msg/Stamped", POSE, message))
    return values


@pytest.mark.parametrize(
    ("path", "expected", "names"),
    [
        ("pose.position.x", [1], ()),
        ("pose.position", [1, 2, 3], ("x", "y", "z")),
        ("path[1].y", [5], ()),
        ("path[1]", [4, 5, 6], ("x", "y", "z")),
        ("pair", [7, 8], ()),
        ("pair[1]", [8], ()),
        ("header.stamp.nanosec", [2], ()),
        (
            None,
            [1, 2, 3, 0, 0, 0, 1],
            tuple(f"pose.{p}" for p in ("position.x", "position.y", "position.z"))
            + tuple(f"pose.orientation.{c}" for c in "xyzw"),
        ),
    ],
)
def test_path_leads_into_messages(path: str | None, expected: list[float], names: tuple[str, ...]) -> None:
    values = pose_values(path)
    assert values.vectors.flat().tolist() == expected
    assert values.element_names == names


def test_path_to_a_text_gives_the_text() -> None:
    assert pose_values("label").texts == [("grasp",)]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pose.location", r"there is no 'location' in pose \(position, orientation\)"),
        ("path.x", r"there is no 'x' in path \(an array: give an index\)"),
        ("path", r"path is an array of x_msgs/Point; give an index, for instance path\[0\]"),
        ("path[9].x", "an array has 2 elements; the path has index 9"),
        ("pose[0]", "pose is not an array"),
        ("pose.__class__", "there is no '__class__'"),
    ],
)
def test_path_that_does_not_fit_says_what_is_there(path: str, message: str) -> None:
    with pytest.raises(CdrError, match=message):
        pose_values(path)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("A a\n===\nMSG: x/A\nA again\n", "contain each other"),
        ("A[] a\n===\nMSG: x/A\nA[] again\n", "contain each other"),
        ("float64[100000000] many\n", "a x/Root has at least 800,000,000 bytes"),
        ("y/Other a\n", "uses y/Other, but does not contain it"),
        ("float64[0] none\n", "fixed length 0"),
        ("float64 x\n--- what\n", "a line that is no field: '--- what'"),
        ("uint8 x\n" * 200_000, "at most 1,048,576 are read"),
    ],
)
def test_hostile_definition_is_refused(definition: str, message: str) -> None:
    with pytest.raises(CdrError, match=message):
        parse_definition("x/msg/Root", definition.encode())


def test_deep_tree_of_types_is_measured_in_no_time() -> None:
    levels = [f"{'=' * 3}\nMSG: x/T{i}\n" + "".join(f"T{i + 1}[] f{k}\n" for k in range(10)) for i in range(30)]
    definition = "T0 root\n" + "".join(levels) + "===\nMSG: x/T30\nuint8 end\n"
    assert len(parse_definition("x/msg/Root", definition.encode()).types) > 30


def test_text_that_goes_beyond_its_message_is_an_error() -> None:
    definition = parse_definition("std_msgs/msg/String", b"string data")
    payload = b"\0\1\0\0" + struct.pack("<I", 100) + b"short\0"
    with pytest.raises(CdrError):
        FieldValues(definition, "data").add(memoryview(payload))
    with pytest.raises(CdrError, match="goes to byte 108; the message has 14"):
        string(memoryview(payload))


def test_large_message_is_not_decoded_into_objects() -> None:
    definition = parse_definition("x/msg/Cloud", b"float32[] data")
    with pytest.raises(CdrError, match="at most 262,144 are decoded"):
        FieldValues(definition, "data").add(memoryview(bytes(1_000_000)))
