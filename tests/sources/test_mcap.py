"""The MCAP source: real files, files written here, damaged files."""

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, Writer
from mcap_ros2._dynamic import serialize_dynamic
from mcap_ros2.decoder import DecoderFactory

from vladata.embodiment import Embodiment
from vladata.errors import GateError, SourceError
from vladata.images import decode, encode_jpeg
from vladata.mapping import Mapping, load_schema
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, StreamInfo, mcap
from vladata.sources import _mcap_blocks as blocks_module
from vladata.sources._mcap_file import MAGIC, McapWalk
from vladata.units import Clock

START = 1_700_000_000_000_000_000
SEPARATOR = "=" * 80 + "\n"
HEADER = (
    f"{SEPARATOR}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    f"{SEPARATOR}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)
LAYOUT = (
    f"{SEPARATOR}MSG: std_msgs/MultiArrayLayout\nMultiArrayDimension[] dim\nuint32 data_offset\n"
    f"{SEPARATOR}MSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride\n"
)
DEFINITIONS = {
    "sensor_msgs/msg/JointState": (
        f"std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{HEADER}"
    ),
    "sensor_msgs/msg/CompressedImage": f"std_msgs/Header header\nstring format\nuint8[] data\n{HEADER}",
    "sensor_msgs/msg/Image": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
        f"uint8[] data\n{HEADER}"
    ),
    "std_msgs/msg/Float64MultiArray": f"MultiArrayLayout layout\nfloat64[] data\n{LAYOUT}",
    "std_msgs/msg/String": "string data\n",
    "std_msgs/msg/Bool": "bool data\n",
    "rosgraph_msgs/msg/Clock": f"builtin_interfaces/Time clock\n{SEPARATOR}MSG: builtin_interfaces/Time\n"
    "int32 sec\nuint32 nanosec\n",
    "x_msgs/msg/Named": f"std_msgs/Header header\nstring[] joints\nfloat32[] values\n{HEADER}",
}

Row = tuple[str, str, int, dict[str, Any]]


def header(time_ns: int) -> dict[str, Any]:
    return {"stamp": {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}, "frame_id": "base"}


def joints(time_ns: int, values: list[float], names: list[str] | None = None, stamp: int | None = None) -> Row:
    message = {
        "header": header(time_ns - 1_000_000 if stamp is None else stamp),
        "name": ["a", "b"] if names is None else names,
        "position": values,
        "velocity": [10 * v for v in values],
        "effort": [],
    }
    return "/joints", "sensor_msgs/msg/JointState", time_ns, message


def command(time_ns: int, values: list[float]) -> Row:
    layout = {"dim": [{"label": "j", "size": 2, "stride": 2}], "data_offset": 0}
    return "/command", "std_msgs/msg/Float64MultiArray", time_ns, {"layout": layout, "data": values}


def jpeg(shade: int, height: int = 12, width: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), shade, np.uint8))[1].tobytes()


def image(time_ns: int, data: bytes, form: str = "jpeg") -> Row:
    message = {"header": header(time_ns), "format": form, "data": data}
    return "/camera", "sensor_msgs/msg/CompressedImage", time_ns, message


def raw(time_ns: int, pixels: bytes, height: int, step: int, width: int, encoding: str) -> Row:
    message = {
        "header": header(time_ns),
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": step,
        "data": pixels,
    }
    return "/camera", "sensor_msgs/msg/Image", time_ns, message


def text(topic: str, time_ns: int, data: str) -> Row:
    return topic, "std_msgs/msg/String", time_ns, {"data": data}


ENCODERS = {name: serialize_dynamic(name, definition)[name] for name, definition in DEFINITIONS.items()}


def write(path: Path, rows: list[Row], **options: Any) -> Path:
    with path.open("wb") as file:
        writer = Writer(file, **{"chunk_size": 4096, **options})
        writer.start(profile="ros2", library="test")
        schemas = {n: writer.register_schema(n, "ros2msg", text.encode()) for n, text in DEFINITIONS.items()}
        channels: dict[str, int] = {}
        for number, (topic, name, time_ns, message) in enumerate(rows):
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "cdr", schemas[name])
            writer.add_message(channels[topic], time_ns, ENCODERS[name](message), time_ns - 5, number)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def usual(count: int = 20) -> list[Row]:
    rows = [text("/task", START - 10, "stack the cups")]
    for i in range(count):
        time_ns = START + i * 20_000_000
        rows.append(joints(time_ns, [float(i), -float(i)]))
        rows.append(command(time_ns + 1000, [i + 0.5, i - 0.5]))
        rows.append(image(time_ns + 2000, jpeg(i)))
    return rows


JOINT = {"kind": "joint_position", "unit": "rad"}
EMBODIMENT = Embodiment.model_validate(
    {
        "name": "two_joints",
        "rate_hz": 10,
        "proprioception": [{"name": "state", "dimensions": [{"name": "a", **JOINT}, {"name": "b", **JOINT}]}],
        "action": [
            {
                "name": "action",
                "dimensions": [{"name": "a", "mode": "absolute", **JOINT}, {"name": "b", "mode": "absolute", **JOINT}],
            }
        ],
        "cameras": [{"name": "camera", "height": 12, "width": 16}],
        "streams": {"action": {"required": False}, "camera": {"required": False}},
    }
)
STREAMS: dict[str, dict[str, Any]] = {
    "state": {"from": "/joints", "field": "position"},
    "action": {"from": "/command"},
    "camera": {"from": "/camera"},
}
LABELS = {"instruction": {"from": "/task"}, "subtask": {"from": "/subtask"}, "outcome": {"from": "/outcome"}}


def request(changes: dict[str, dict[str, Any]] | None = None, **options: Any) -> Request:
    streams = {**STREAMS, **{n: {**STREAMS[n], **c} for n, c in (changes or {}).items()}}
    mapping = {"source": "mcap", "streams": streams, **LABELS, **options}
    return Request(embodiment=EMBODIMENT, mapping=Mapping.model_validate(mapping))


Use = Callable[..., Recording]


@pytest.fixture
def use(tmp_path: Path) -> Iterator[Use]:
    """Writes rows, reads the recording, and keeps its frames readable until the test ends."""
    open_now = []

    def run(rows: list[Row], wanted: Request | None = None, **options: Any) -> Recording:
        path = write(tmp_path / "demo.mcap", rows, **options)
        reading = mcap.read(path, mcap.places(path)[0], wanted or request())
        open_now.append(reading)
        return next(reading)

    yield run
    for reading in open_now:
        assert next(reading, None) is None


def read_path(path: Path, wanted: Request | None = None) -> Recording:
    reading = mcap.read(path, mcap.places(path)[0], wanted or request())
    recording = next(reading)
    assert next(reading, None) is None
    return recording


def numbers(recording: Recording, name: str) -> Stream:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream


def camera(recording: Recording, name: str = "camera") -> FrameStream:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    return stream


class TestFile:
    """The container alone."""

    def test_all_conformance_files_give_their_messages(self, shared_data: Path) -> None:
        paths = sorted((shared_data / "mcap_conformance" / "TenMessages").glob("*.mcap"))
        assert len(paths) == 40
        for path in paths:
            expected = [
                dict(record["fields"])
                for record in json.loads(path.with_suffix(".json").read_text())["records"]
                if record["type"] == "Message"
            ]
            with path.open("rb", buffering=0) as file:
                walk = McapWalk(file, path.name)
                found = [
                    {
                        "channel_id": str(m.channel_id),
                        "sequence": str(m.sequence),
                        "log_time": str(m.log_time),
                        "publish_time": str(m.publish_time),
                        "data": [str(b) for b in m.payload],
                    }
                    for m in walk.messages()
                ]
            assert len(found) == 10
            assert found == expected, path.name
            assert walk.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        "options",
        [
            {"compression": CompressionType.NONE},
            {"compression": CompressionType.LZ4},
            {"compression": CompressionType.ZSTD},
            {"compression": CompressionType.ZSTD, "chunk_size": 10_000_000},
            {"enable_crcs": False},
        ],
        ids=["none", "lz4", "zstd", "one chunk", "no checksums"],
    )
    def test_compression_makes_no_difference(self, use: Use, options: dict[str, Any]) -> None:
        recording = use(usual(), **options)
        np.testing.assert_array_equal(numbers(recording, "state").values[:, 0], np.arange(20))
        assert [bytes(camera(recording).frames.read(i)) for i in range(20)] == [jpeg(i) for i in range(20)]
        has_note = any("chunks have no checksum" in n for n in recording.notes)
        assert has_note == (options.get("enable_crcs") is False)

    def test_messages_outside_chunks_are_read(self, use: Use) -> None:
        recording = use(usual(), use_chunking=False, enable_data_crcs=True)
        assert bytes(camera(recording).frames.read(7)) == jpeg(7)
        assert len(numbers(recording, "state").time_ns) == 20

    def test_flipped_bit_outside_chunks_is_found(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual(), use_chunking=False, enable_data_crcs=True)
        data = bytearray(path.read_bytes())
        data[data.index(struct.pack("<d", 7.0))] ^= 1
        path.write_bytes(data)
        with pytest.raises(SourceError, match="the CRC-32 of the data is"):
            read_path(path)

    def test_uncompressed_chunk_is_not_held_where_it_is_large(
        self, use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vladata.sources._mcap_file.MAX_CHUNK", 1000)
        recording = use(usual(), compression=CompressionType.NONE)
        assert [bytes(camera(recording).frames.read(i)) for i in range(20)] == [jpeg(i) for i in range(20)]
        path = tmp_path / "demo.mcap"
        data = bytearray(path.read_bytes())
        data[data.index(struct.pack("<d", 7.0))] ^= 1
        path.write_bytes(data)
        damaged = read_path(path)
        assert damaged.is_lossy
        assert any("the chunk's CRC-32 is" in n for n in damaged.notes)
        kept = numbers(damaged, "state").values[:, 0].tolist()
        assert 7.0 not in kept
        assert len(kept) < 20
        assert set(kept) < set(range(20))

    def test_statistics_that_count_other_messages_are_noted(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual())
        data = path.read_bytes()
        at = data.rindex(b"\x0b" + struct.pack("<Q", 46 + 10 * 4)) + 9
        path.write_bytes(data[:at] + struct.pack("<Q", 999) + data[at + 8 :])
        assert "the file's statistics say 999 messages; 61 are there" in read_path(path).notes


class TestDamage:
    """One line that names file, place and reason, and nothing else."""

    @pytest.mark.parametrize(
        ("start", "reason"),
        [
            (b"\x89MCAP0\n", "line endings were converted"),
            (b"\x89MCAP0\r\r\n", "line endings were converted"),
            (b"\xef\xbf\xbdMCAP0\r\n", "line endings were converted"),
            (b"\x89MCAP9\r\n", "MCAP version '9'; this release reads version '0'"),
            (b"\x89HDF\r\n\x1a\n", "begins with 89 48 44 46 0d 0a 1a 0a; an MCAP file begins with 89 4d"),
            (b"\x89MC", "the file has 3 bytes"),
            (b"", "the file has 0 bytes"),
        ],
    )
    def test_wrong_magic_says_what_happened(self, tmp_path: Path, start: bytes, reason: str) -> None:
        whole = write(tmp_path / "demo.mcap", usual()).read_bytes()
        path = tmp_path / "wrong.mcap"
        path.write_bytes(start + (whole[8:] if len(start) > 6 else b""))
        assert mcap.can_read(path) == ("line endings" in reason or "version" in reason)
        for attempt in (mcap.places, mcap.inspect):
            with pytest.raises(SourceError) as error:
                attempt(path)
            assert str(error.value).startswith("wrong.mcap: ")
            assert reason in str(error.value)

    @pytest.mark.parametrize("kind", list(CompressionType), ids=lambda k: k.name)
    def test_truncated_file_gives_everything_up_to_the_break(self, tmp_path: Path, kind: CompressionType) -> None:
        path = write(tmp_path / "demo.mcap", usual(200), compression=kind)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        recording = read_path(path)
        assert recording.is_lossy
        (note,) = [n for n in recording.notes if n.startswith("truncated")]
        assert f"the file ends at byte {len(data) // 2:,} inside or before the" in note
        assert "has no footer" in note
        count = int(note.split("footer; ")[1].split(" messages")[0].replace(",", ""))
        state = numbers(recording, "state").values[:, 0]
        np.testing.assert_array_equal(state, np.arange(len(state)))
        assert 60 < len(state) < 140
        assert count == 1 + sum(len(s.time_ns) for s in recording.streams.values())
        assert mcap.inspect(path).problems[0] == note

    @pytest.mark.parametrize("kind", list(CompressionType), ids=lambda k: k.name)
    def test_the_last_chunk_is_read_as_far_as_it_goes(self, tmp_path: Path, kind: CompressionType) -> None:
        rng = np.random.default_rng(5)
        noise = [rng.integers(0, 255, (60, 80, 3), np.uint8) for _ in range(40)]
        frames = [cv2.imencode(".png", n)[1].tobytes() for n in noise]  # nothing to compress: zstd keeps its blocks
        rows = [joints(START, [1.0, 2.0]), *(image(START + i, f, "png") for i, f in enumerate(frames))]
        path = write(tmp_path / "whole.mcap", rows, compression=kind, chunk_size=1 << 30)
        cut = tmp_path / "demo.mcap"
        cut.write_bytes(path.read_bytes()[:400_000])
        reading = mcap.read(cut, mcap.places(cut)[0], request())
        recording = next(reading)
        found = [bytes(camera(recording).frames.read(i)) for i in range(camera(recording).num_frames)]
        assert found == frames[: len(found)]
        assert 10 < len(found) < 30
        assert recording.is_lossy
        assert next(reading, None) is None

    def test_a_large_chunk_is_read_as_far_as_it_goes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vladata.sources._mcap_file.MAX_CHUNK", 1000)
        path = write(tmp_path / "demo.mcap", usual(50), compression=CompressionType.NONE, chunk_size=1 << 30)
        path.write_bytes(path.read_bytes()[:20_000])
        state = numbers(read_path(path), "state").values[:, 0]
        np.testing.assert_array_equal(state, np.arange(len(state)))
        assert 10 < len(state) < 50

    def test_file_cut_at_any_byte_is_lossy_or_says_what_is_missing(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual(3))
        data = path.read_bytes()
        most = 0
        for length in [*range(0, len(data), 7), len(data) - 1]:
            path.write_bytes(data[:length])
            try:
                recording = read_path(path)
            except SourceError as error:
                said = str(error)
                assert re.match(r"demo\.mcap: .*(truncated|the file has \d bytes)", said)
                continue
            assert recording.is_lossy
            assert any(n.startswith("truncated") for n in recording.notes)
            state = numbers(recording, "state").values[:, 0].tolist()
            assert state == [0.0, 1.0, 2.0][: len(state)]
            assert len(state) >= most
            most = len(state)
        assert most == 3

    def test_zeros_behind_the_data_are_a_break(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual(50), use_chunking=False)
        data = path.read_bytes()
        path.write_bytes(data[:10_000] + bytes(5000))
        recording = read_path(path)
        assert recording.is_lossy
        path.write_bytes(data[: data.index(b"\x0f" + struct.pack("<Q", 4))] + bytes(5000))
        recording = read_path(path)
        assert len(numbers(recording, "state").time_ns) == 50
        assert any(
            "no record begins at byte" in n and "the 5,000 bytes from there on are lost" in n for n in recording.notes
        )

    def test_chunk_with_a_flipped_bit_is_left_out_and_named(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual(), compression=CompressionType.NONE)
        data = bytearray(path.read_bytes())
        at = data.index(struct.pack("<d", 7.0))
        data[at] ^= 1
        path.write_bytes(data)
        recording = read_path(path)
        assert recording.is_lossy
        (note,) = [n for n in recording.notes if "CRC-32" in n]
        assert re.match(
            r"damaged at byte [\d,]+: the chunk's CRC-32 is \w+; it must be \w+; the chunk \(messages", note
        )
        start, end = (int(t) for t in re.findall(r"from (\d+) to (\d+) ns\) is left out", note)[0])
        times = START + np.arange(20) * 20_000_000
        expected = np.arange(20)[(times < start) | (times > end)]
        np.testing.assert_array_equal(numbers(recording, "state").values[:, 0], expected)
        assert 0 < len(expected) < 20
        (count,) = [n for n in recording.notes if "statistics" in n]
        assert count.startswith("the file's statistics say 61 messages; ")
        assert any("CRC-32" in p for p in mcap.inspect(path).problems)

    def test_channels_of_a_lost_chunk_are_known_from_the_summary(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo.mcap", usual(100), compression=CompressionType.ZSTD)
        data = bytearray(path.read_bytes())
        first = data.index(bytes.fromhex("28b52ffd"))
        data[first + 40] ^= 0xFF
        path.write_bytes(data)
        recording = read_path(path)
        assert recording.is_lossy
        assert 80 < len(numbers(recording, "state").time_ns) < 100
        assert 80 < camera(recording).num_frames < 100

    def test_without_a_summary_messages_of_lost_channels_are_counted(self, tmp_path: Path) -> None:
        first = chunk(stored=schema_and_channel(b"/lost").replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 9, 1)))
        first = first.replace(b"x/Count", b"x/Couny", 1)
        broken = bytearray(first)
        broken[25:29] = struct.pack("<I", 12345)  # a checksum that is wrong
        rest = schema_and_channel() + record(5, struct.pack("<HIQQ", 1, 0, 5, 5) + bytes((0, 1, 0, 0, 7, 0)))
        rest += record(5, struct.pack("<HIQQ", 9, 0, 5, 5) + bytes(6))
        path = tmp_path / "demo.mcap"
        path.write_bytes(whole(bytes(broken) + rest))
        with pytest.raises(SourceError, match=r"state has|must have \[2\]"):
            read_path(path, request({"state": {"field": "count"}}))
        assert "1 messages are of channels that only a damaged part defines" in mcap.inspect(path).problems

    @settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_damaged_bytes_are_read_or_refused_but_nothing_else(self, tmp_path: Path, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(list(CompressionType)))
        path = write(tmp_path / "demo.mcap", usual(3), compression=kind, enable_crcs=data.draw(st.booleans()))
        damaged = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged)
        for attempt in (read_path, mcap.inspect):
            try:
                attempt(path)
                said = "demo.mcap: "
            except (SourceError, GateError) as error:
                said = str(error)
            assert said.startswith("demo.mcap: ")

    @pytest.mark.parametrize(
        ("change", "error", "reason"),
        [
            ({"compression": b"brotli"}, SourceError, "compression is 'brotli'; must be one of none, zstd, lz4"),
            ({"size": 1 << 40}, GateError, "has 1,099,511,627,776 bytes; at most 67,108,864 are read at once"),
            ({"size": 5}, SourceError, "expands to more than 5 bytes; it says 5"),
            ({"size": 70_000}, SourceError, "it says 70,000"),
            ({"stored": b"not zstd at all"}, SourceError, r"can't be decompressed \(zstd"),
        ],
    )
    @pytest.mark.parametrize("name", ["zstd", "lz4"])
    def test_hostile_chunk_is_refused_before_it_expands(
        self, tmp_path: Path, change: dict[str, Any], error: type[Exception], reason: str, name: str
    ) -> None:
        compress = {"zstd": zstandard.compress, "lz4": lz4.frame.compress}[name]
        records = schema_and_channel() + b"".join(record(5, struct.pack("<HIQQ", 1, 0, 5, 5)) for _ in range(2000))
        values = {"compression": name.encode(), "size": len(records), "stored": compress(records), **change}
        path = tmp_path / "demo.mcap"
        path.write_bytes(whole(chunk(**values)))
        with pytest.raises(error, match=reason.replace("(zstd", f"({name}")):
            read_path(path)

    def test_zstd_bomb_of_many_frames_is_stopped(self, tmp_path: Path) -> None:
        bomb = zstandard.compress(bytes(8 << 20)) * 1000
        path = tmp_path / "demo.mcap"
        path.write_bytes(whole(chunk(compression=b"zstd", size=1 << 20, stored=bomb)))
        with pytest.raises(SourceError, match="expands to more than 1,048,576 bytes"):
            read_path(path)

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (lambda: record(5, bytes(10)), "a message record has 10 bytes; it must have at least 22"),
            (lambda: record(5, struct.pack("<HIQQ", 9, 0, 5, 5)), "channel 9, which is not defined before"),
            (lambda: struct.pack("<BQ", 5, 1 << 50), "truncated: the file ends at byte"),
            (lambda: chunk(stored=struct.pack("<BQ", 5, 1 << 50)), "of 1,125,899,906,842,624 bytes; 0 are left"),
            (lambda: chunk(stored=b"abc"), "byte 0 of the chunk: 3 bytes are left over"),
            (lambda: chunk(stored=b"abc", size=4), "the chunk is not compressed, but says 4 bytes and stores 3"),
            (lambda: record(4, struct.pack("<HHI", 1, 7, 0) + bytes(8)), "uses schema 7, which is not defined before"),
            (lambda: record(3, b"\1"), "the schema record can't be parsed"),
            (
                lambda: schema_and_channel() + schema_and_channel(b"/other"),
                "channel 1 is defined twice, differently",
            ),
            (lambda: b"", "topics are none"),
        ],
    )
    def test_impossible_record_is_named(self, tmp_path: Path, body: Callable[[], bytes], reason: str) -> None:
        path = tmp_path / "demo.mcap"
        path.write_bytes(whole(body()))
        with pytest.raises(SourceError, match=reason):
            read_path(path)

    def test_log_time_beyond_2262_is_refused(self, tmp_path: Path) -> None:
        message = struct.pack("<HIQQ", 1, 0, 1 << 63, 0) + bytes((0, 1, 0, 0, 7, 0))
        path = tmp_path / "demo.mcap"
        path.write_bytes(whole(schema_and_channel(b"/joints") + record(5, message)))
        with pytest.raises(SourceError, match="has log_time 9223372036854775808; must be less than 2"):
            read_path(path, request({"state": {"field": "count"}}))

    def test_file_that_changes_between_walk_and_frames_is_noticed(self, use: Use, tmp_path: Path) -> None:
        recording = use(usual())
        with (tmp_path / "demo.mcap").open("ab") as file:
            file.write(b"more")
        with pytest.raises(SourceError, match="the file was changed while it was read"):
            camera(recording).frames.read(0)


def record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def schema_and_channel(topic: bytes = b"/joints") -> bytes:
    schema = struct.pack("<H", 1) + sized(b"x/Count") + sized(b"ros2msg") + sized(b"uint16 count")
    channel = struct.pack("<HH", 1, 1) + sized(topic) + sized(b"cdr") + sized(b"")
    return record(3, schema) + record(4, channel)


def chunk(*, stored: bytes, compression: bytes = b"", size: int | None = None) -> bytes:
    size = len(stored) if size is None else size
    head = struct.pack("<QQQI", 0, 0, size, 0) + sized(compression)
    return record(6, head + struct.pack("<Q", len(stored)) + stored)


def whole(body: bytes) -> bytes:
    start = MAGIC + record(1, sized(b"ros2") + sized(b""))
    return start + body + record(15, bytes(4)) + record(2, bytes(20)) + MAGIC


class TestStreams:
    """Values, frames, times."""

    def test_sample_recordings_equal_the_generated_decoder(self, sample_recordings: Path) -> None:
        schema = load_schema("sample_arm")
        mapping = schema.mapping_for("mcap")
        assert mapping is not None
        paths = sorted(sample_recordings.glob("*.mcap"))
        assert len(paths) >= 4
        for path in paths:
            reading = mcap.read(path, mcap.places(path)[0], Request(embodiment=schema.embodiment, mapping=mapping))
            recording = next(reading)
            expected: dict[str, list[Any]] = {}
            with path.open("rb") as file:
                for _, channel, message, decoded in NonSeekingReader(
                    file, decoder_factories=[DecoderFactory()]
                ).iter_decoded_messages():
                    expected.setdefault(channel.topic, []).append((message.log_time, decoded))
            self._compare(recording, expected)
            assert next(reading, None) is None
            assert recording.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert recording.place == path.name

    def _compare(self, recording: Recording, expected: dict[str, list[Any]]) -> None:
        states = expected["/joint_states"]
        for name, field in (("joint_position", "position"), ("joint_velocity", "velocity")):
            stream = numbers(recording, name)
            np.testing.assert_array_equal(stream.values, [getattr(m, field) for _, m in states])
            assert stream.time_ns.tolist() == [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in states]
            assert stream.receive_time_ns is not None
            assert stream.receive_time_ns.tolist() == [t for t, _ in states]
        commands = numbers(recording, "joint_command")
        np.testing.assert_array_equal(commands.values, [m.data for _, m in expected["/joint_commands"]])
        assert commands.time_ns.tolist() == [t for t, _ in expected["/joint_commands"]]
        for name in ("front", "wrist"):
            images = expected[f"/cameras/{name}/compressed"]
            stream_ = camera(recording, name)
            assert [bytes(stream_.frames.read(i)) for i in range(len(images))] == [m.data for _, m in images]
            assert stream_.frames.sizes.tolist() == [len(m.data) for _, m in images]
            assert (stream_.codec, stream_.height, stream_.width, stream_.clock) == ("jpeg", 120, 160, Clock.UNIX)
        texts = [(i.text, i.time_ns) for i in recording.instructions if i.kind == "subtask"]
        assert texts == [(m.data, t) for t, m in expected["/subtask"]]
        (outcome,) = recording.outcomes
        said = expected["/outcome"][0][1].data
        assert said == (outcome.kind + (f": {outcome.reason}" if outcome.reason else ""))

    def test_frames_in_order_expand_each_chunk_once(self, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [(f"/camera{k}", *image(START + i, jpeg(i))[1:]) for i in range(40) for k in range(2)]
        embodiment = Embodiment.model_validate(
            {"name": "x", "rate_hz": 10, "cameras": [{"name": f"c{k}", "height": 12, "width": 16} for k in range(2)]}
        )
        streams = {f"c{k}": {"from": f"/camera{k}"} for k in range(2)}
        wanted = Request(embodiment=embodiment, mapping=Mapping.model_validate({"source": "mcap", "streams": streams}))
        recording = use(rows, wanted)
        expanded: list[int] = []
        expand = blocks_module.BlockReader._expand

        def counted(self: blocks_module.BlockReader, block: int) -> memoryview:
            expanded.append(block)
            return expand(self, block)

        monkeypatch.setattr(blocks_module.BlockReader, "_expand", counted)
        both = [camera(recording, f"c{k}") for k in range(2)]
        reading = sorted((int(c.frames.order[i]), k, i) for k, c in enumerate(both) for i in range(40))
        assert [r[0] for r in reading] == list(range(80))
        for _, k, i in reading:
            assert bytes(both[k].frames.read(i)) == jpeg(i)
        assert expanded == sorted(set(expanded))
        assert len(expanded) > 3

    def test_arrays_are_read_only(self, use: Use) -> None:
        stream = numbers(use(usual()), "state")
        with pytest.raises(ValueError, match="read-only"):
            stream.values[0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            stream.time_ns[0] = 1

    def test_id_depends_on_content_and_place(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        one = read_path(write(tmp_path / "demo.mcap", usual()))
        assert read_path(write(tmp_path / "a" / "demo.mcap", usual())).recording_id == one.recording_id
        assert read_path(write(tmp_path / "other.mcap", usual())).recording_id != one.recording_id
        assert read_path(write(tmp_path / "demo.mcap", usual(19))).recording_id != one.recording_id

    def test_joints_in_another_order_are_joined_by_name(self, use: Use) -> None:
        recording = use([joints(START + i, [2.0, 1.0, 3.0], ["b", "a", "c"]) for i in range(3)])
        np.testing.assert_array_equal(numbers(recording, "state").values, [[1, 2]] * 3)
        assert "state: 2 of 3 elements of /joints.position joined by name" in recording.notes

    def test_names_that_change_are_joined_message_by_message(self, use: Use) -> None:
        rows = [joints(START + i, [1.0, 2.0], ["a", "b"] if i % 3 else ["b", "a"]) for i in range(9)]
        recording = use(rows)
        np.testing.assert_array_equal(
            numbers(recording, "state").values, [[1, 2] if i % 3 else [2, 1] for i in range(9)]
        )

    def test_messages_of_another_publisher_are_left_out_and_noted(self, use: Use) -> None:
        rows = [joints(START + i, *(([1.0, 2.0], ["a", "b"]) if i % 2 else ([9.0], ["gripper"]))) for i in range(10)]
        recording = use(rows)
        stream = numbers(recording, "state")
        np.testing.assert_array_equal(stream.values, [[1, 2]] * 5)
        assert stream.receive_time_ns is not None
        assert (stream.receive_time_ns - START).tolist() == [1, 3, 5, 7, 9]
        assert "state: 5 messages of /joints.position name none of its dimensions; they are left out" in recording.notes

    def test_names_that_lose_a_joint_are_an_error(self, use: Use) -> None:
        rows = [joints(START + i, [1.0, 2.0], ["a", "b"] if i < 5 else ["a", "x"]) for i in range(9)]
        with pytest.raises(SourceError, match=r"names change at message 5 from \(a, b\) to \(a, x\)"):
            use(rows)

    def test_messages_without_names_are_joined_by_index_and_noted(self, use: Use) -> None:
        recording = use([joints(START + i, [1.0, 2.0], []) for i in range(3)])
        np.testing.assert_array_equal(numbers(recording, "state").values, [[1, 2]] * 3)
        assert "state: the messages of /joints.position have no names" in recording.notes

    def test_vectors_of_varying_length_are_an_error(self, use: Use) -> None:
        rows = [command(START + i, [1.0, 2.0] if i != 7 else [1.0]) for i in range(9)] + usual(2)
        with pytest.raises(SourceError, match=r"demo.mcap: /command: message 7 has 1 values, message 0 has 2"):
            use(rows)

    def test_field_of_another_shape_names_both_shapes(self, use: Use) -> None:
        rows = [*usual(2), *(joints(START + i, [1.0, 2.0, 3.0], ["x", "y", "z"]) for i in range(3))]
        with pytest.raises(SourceError, match=r"has shape \[3\] \(x, y, z\); state must have \[2\] \(a, b\)"):
            use([r for r in rows if r[0] != "/joints" or len(r[3]["name"]) == 3], request({"state": {"join": "index"}}))

    def test_other_names_are_joined_by_index_on_request_only(self, use: Use) -> None:
        rows = [joints(START + i, [1.0, 2.0], ["q0", "q1"]) for i in range(3)]
        with pytest.raises(SourceError, match=r"names \(q0, q1\); state needs \(a, b\): all .* or say join: index"):
            use(rows)
        recording = use(rows, request({"state": {"join": "index"}}))
        np.testing.assert_array_equal(numbers(recording, "state").values, [[1, 2]] * 3)

    def test_empty_field_names_both_shapes(self, use: Use) -> None:
        with pytest.raises(SourceError, match=r"/joints.effort has shape \[0\] .*must have \[2\]"):
            use(usual(3), request({"state": {"field": "effort"}}))

    def test_data_offset_of_a_layout_is_noted(self, use: Use) -> None:
        rows = [command(START + i, [1.0, 2.0]) for i in range(3)] + [joints(START, [1.0, 2.0])]
        rows[1][3]["layout"]["data_offset"] = 1
        recording = use(rows)
        np.testing.assert_array_equal(numbers(recording, "action").values, [[1, 2]] * 3)
        assert "/command: 1 messages have a layout.data_offset; it was not applied" in recording.notes

    def test_select_picks_elements(self, use: Use) -> None:
        rows = [command(START + i, [1.0, 2.0, 3.0, 4.0]) for i in range(3)] + [joints(START, [1.0, 2.0])]
        recording = use(rows, request({"action": {"select": [3, 1]}}))
        np.testing.assert_array_equal(numbers(recording, "action").values, [[4, 2]] * 3)

    def test_any_type_is_read_by_field_path_and_names(self, use: Use) -> None:
        rows: list[Row] = [
            (
                "/named",
                "x_msgs/msg/Named",
                START + i,
                {"header": header(START + 5 * i), "joints": ["b", "a"], "values": [i, -i]},
            )
            for i in range(4)
        ]
        named = {"state": {"from": "/named", "field": "values", "names_field": "joints"}}
        stream = numbers(use(rows, request(named)), "state")
        np.testing.assert_array_equal(stream.values, [[-i, i] for i in range(4)])
        assert stream.values.dtype == np.float32
        assert (stream.time_ns - START).tolist() == [0, 5, 10, 15]

    def test_real_joint_states_and_images_are_read(self, shared_data: Path) -> None:
        path = shared_data / "rerun_mcap_samples" / "rosbag2_2025_09_10-13_03_56_0.mcap"
        names = ["shoulder_joint", "elbow_joint", "wrist_joint", "gripper_joint"]
        embodiment = Embodiment.model_validate(
            {
                "name": "x",
                "rate_hz": 10,
                "proprioception": [
                    {"name": "joints", "dimensions": [{"name": n, **JOINT} for n in names]},
                    {
                        "name": "gyro",
                        "dimensions": [{"name": n, "kind": "angular_velocity", "unit": "rad/s"} for n in "xyz"],
                    },
                ],
                "cameras": [
                    {"name": "compressed", "height": 480, "width": 640},
                    {"name": "raw", "height": 480, "width": 640},
                ],
            }
        )
        streams = {
            "joints": {"from": "/joint_state", "field": "position"},
            "gyro": {"from": "/imu", "field": "angular_velocity"},
            "compressed": {"from": "/compressed_image"},
            "raw": {"from": "/image"},
        }
        wanted = Request(embodiment=embodiment, mapping=Mapping.model_validate({"source": "mcap", "streams": streams}))
        reading = mcap.read(path, mcap.places(path)[0], wanted)
        recording = next(reading)
        assert numbers(recording, "joints").values.shape == (15, 4)
        assert numbers(recording, "gyro").values.shape == (1, 3)
        assert camera(recording, "compressed").codec == "jpeg"
        image_data = bytes(camera(recording, "compressed").frames.read(0))
        assert path.read_bytes().count(image_data) == 1
        assert decode(image_data).shape == (480, 640, 3)
        raw_stream = camera(recording, "raw")
        assert (raw_stream.codec, raw_stream.pixel_format, raw_stream.height) == ("jpeg", "rgb8", 480)
        with path.open("rb") as file:
            messages = NonSeekingReader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages(["/image"])
            pixels = np.frombuffer(next(iter(messages))[3].data, np.uint8).reshape(480, 640, 3)
        assert bytes(raw_stream.frames.read(0)) == encode_jpeg(pixels, 95)
        assert recording.metadata == {"rosbag2.ROS_DISTRO": "humble"}
        assert next(reading, None) is None

    def test_topic_that_is_missing_names_stream_and_topics(self, use: Use) -> None:
        rows = [r for r in usual() if r[0] != "/joints"]
        with pytest.raises(SourceError) as error:
            use(rows)
        assert str(error.value) == (
            "demo.mcap: state is mapped to /joints, which is not in the file; its topics are /camera, /command, /task"
        )

    def test_stream_that_is_not_required_may_be_missing(self, use: Use) -> None:
        recording = use([joints(START, [1.0, 2.0])])
        assert list(recording.streams) == ["state"]
        assert any(n.startswith("camera is mapped to /camera, which is not in the file") for n in recording.notes)
        assert any(n.startswith("no instruction: /task is not in the file") for n in recording.notes)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"camera": {"from": "/joints"}}, "is no image; a camera needs sensor_msgs/msg/CompressedImage"),
            ({"state": {"from": "/camera"}}, "there is no 'position'"),
            ({"state": {"field": "torque"}}, r"no 'torque' in sensor_msgs/JointState \(header, name, position"),
            ({"state": {"field": "name"}}, "has text in 'name'; a signal needs numbers"),
            ({"action": {"names_field": "layout.data_offset"}}, "has no texts in 'layout.data_offset'"),
        ],
    )
    def test_mapping_that_does_not_fit_a_type_is_an_error(
        self, use: Use, changes: dict[str, dict[str, Any]], reason: str
    ) -> None:
        if "names_field" in changes.get("action", {}):
            changes = {"action": {"field": "layout.data_offset", **changes["action"]}}
        with pytest.raises(SourceError, match=reason):
            use(usual(3), request(changes))

    def test_messages_of_an_unknown_encoding_are_an_error_where_mapped(self, shared_data: Path) -> None:
        path = next(shared_data.rglob("wrong_rmw_test_0.mcap"))
        with pytest.raises(SourceError, match="messages are encoded as 'wrong_format'; this release decodes 'cdr', "):
            read_path(path, request({"state": {"from": "/test_topic"}}))


class TestTime:
    """Clocks and order."""

    def test_header_stamp_is_the_time_where_there_is_one(self, use: Use) -> None:
        recording = use(usual())
        state, action = numbers(recording, "state"), numbers(recording, "action")
        assert state.receive_time_ns is not None
        assert (state.receive_time_ns - state.time_ns == 1_000_000).all()
        assert action.receive_time_ns is None
        assert int(action.time_ns[0]) == START + 1000
        assert state.clock is action.clock is Clock.UNIX
        assert "state: time is header.stamp, unix (between the years 2000 and 2100)" in recording.notes
        assert "action: time is log_time, unix (between the years 2000 and 2100)" in recording.notes

    @pytest.mark.parametrize(("clock", "offset"), [("header", -1_000_000), ("log", 0), ("publish", -5)])
    def test_mapping_chooses_the_clock(self, use: Use, clock: str, offset: int) -> None:
        assert int(numbers(use(usual(), request({"state": {"clock": clock}})), "state").time_ns[0]) == START + offset

    def test_zero_headers_give_way_to_log_time(self, use: Use) -> None:
        rows = [joints(START + i, [1.0, 2.0], stamp=0) for i in range(5)]
        recording = use(rows)
        assert (numbers(recording, "state").time_ns - START).tolist() == [0, 1, 2, 3, 4]
        assert "state: all header stamps are 0; time is log_time" in recording.notes
        with pytest.raises(SourceError, match=r"clock is header, but /joints .*all header stamps are 0"):
            use(rows, request({"state": {"clock": "header"}}))

    def test_header_clock_without_header_is_an_error(self, use: Use) -> None:
        with pytest.raises(SourceError, match="its messages have no header"):
            use(usual(), request({"action": {"clock": "header"}}))

    def test_small_stamps_are_monotonic_time(self, use: Use) -> None:
        recording = use([joints(START + i, [1.0, 2.0], stamp=5_000_000_000 + i) for i in range(5)])
        assert numbers(recording, "state").clock is Clock.MONOTONIC

    def test_small_stamps_beside_a_simulator_are_simulated_time(self, use: Use) -> None:
        clock: Row = ("/clock", "rosgraph_msgs/msg/Clock", START, {"clock": {"sec": 1, "nanosec": 0}})
        recording = use([clock, *(joints(START + i, [1.0, 2.0], stamp=5_000_000_000 + i) for i in range(5))])
        assert numbers(recording, "state").clock is Clock.SIMULATED

    def test_backward_header_stamps_are_left_as_they_are(self, use: Use) -> None:
        stamps = [START, START + 10, START + 5, START + 20]
        recording = use([joints(START + 100 * i, [1.0, 2.0], stamp=s) for i, s in enumerate(stamps)])
        assert numbers(recording, "state").time_ns.tolist() == stamps
        assert not any("order" in n for n in recording.notes)

    def test_messages_out_of_order_are_put_into_log_order_and_noted(self, use: Use) -> None:
        rows = usual()
        index = [i for i, r in enumerate(rows) if r[0] == "/camera"]
        rows[index[3]], rows[index[4]] = rows[index[4]], rows[index[3]]
        recording = use(rows)
        assert (np.diff(camera(recording).time_ns) > 0).all()
        assert [bytes(camera(recording).frames.read(i)) for i in (3, 4)] == [jpeg(3), jpeg(4)]
        assert (np.diff(camera(recording).frames.order)[2:5] < 0).tolist() == [False, True, False]
        assert "/camera: 2 messages were not in order of log time and were put into it" in recording.notes

    @settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(times=st.lists(st.integers(0, 30), min_size=1, max_size=40))
    def test_equal_log_times_keep_the_order_of_the_file(self, tmp_path: Path, times: list[int]) -> None:
        rows = [joints(START + t, [float(i), 0.0]) for i, t in enumerate(times)]
        state = numbers(read_path(write(tmp_path / "demo.mcap", rows)), "state")
        expected = sorted(range(len(times)), key=lambda i: times[i])
        assert state.values[:, 0].tolist() == expected

    def test_restart_is_left_for_the_split(self, use: Use) -> None:
        rows = [joints(START + i * 100_000_000, [float(i), 0.0]) for i in range(50)]
        recording = use(rows + rows)
        assert int((np.diff(numbers(recording, "state").time_ns) < 0).sum()) == 1
        assert any("log time of /joints goes back by 4.900 s" in n for n in recording.notes)

    def test_split_has_the_time_of_receipt_of_every_stream(self, use: Use) -> None:
        recording = use(usual(), request(on_backward_time="split"))
        for name in ("state", "action", "camera"):
            stream = recording.streams[name]
            assert stream.receive_time_ns is not None
            assert (np.diff(stream.receive_time_ns) > 0).all()


class TestLabels:
    """Texts on the time axis."""

    def test_texts_have_their_time(self, use: Use) -> None:
        rows = [text("/task", START - 10, "stack the cups")]
        rows += [joints(START + i * 20_000_000, [1.0, 2.0], stamp=START + i * 20_000_000) for i in range(10)]
        rows += [text("/subtask", START + i * 50_000_000, name) for i, name in enumerate(["reach", "reach", "grasp"])]
        rows.append(text("/outcome", START + 190_000_000, "Failure: dropped: twice"))
        recording = use(sorted(rows, key=lambda r: r[2]))
        assert [(i.text, i.kind, i.time_ns) for i in recording.instructions] == [
            ("stack the cups", "task", START - 10),
            ("reach", "subtask", START),
            ("grasp", "subtask", START + 100_000_000),
        ]
        (outcome,) = recording.outcomes
        assert (outcome.kind, outcome.reason, outcome.time_ns) == ("failure", "dropped: twice", START + 190_000_000)
        assert "subtask: 1 of 3 messages repeat the one before" in recording.notes

    def test_instruction_before_the_first_sample_holds_from_the_first_step(self, use: Use) -> None:
        # The sample's own clock is a second behind the log's, so that log time would begin too late.
        rows = [joints(START + i * 10, [1.0, 2.0], stamp=START - 1_000_000_000 + i * 10) for i in range(5)]
        recording = use([text("/task", START - 5, "early"), *rows, text("/task", START + 45, "late")])
        assert [(i.text, i.time_ns) for i in recording.instructions] == [("early", None), ("late", START + 45)]

    def test_labels_of_another_clock_get_the_time_of_the_sample_received_next(self, use: Use) -> None:
        rows: list[Row] = [joints(START + i * 10, [1.0, 2.0], stamp=1000 + i) for i in range(5)]
        rows.insert(3, text("/subtask", START + 25, "grasp"))
        recording = use(rows)
        assert [i.time_ns for i in recording.instructions] == [1003]
        assert any("received at unix time; each text has the monotonic time" in n for n in recording.notes)

    def test_unknown_outcome_is_left_out_and_noted(self, use: Use) -> None:
        recording = use([*usual(2), text("/outcome", START + 1, "so so")])
        assert recording.outcomes == ()
        said = "outcome 'so so' is left out; it must be one of success, true"
        assert any(n.startswith(said) for n in recording.notes)

    def test_outcome_may_be_a_flag(self, use: Use) -> None:
        recording = use([*usual(2), ("/outcome", "std_msgs/msg/Bool", START + 30_000_000, {"data": True})])
        assert [(o.kind, o.time_ns) for o in recording.outcomes] == [("success", START + 30_000_000)]


class TestImages:
    """Encoded as they came, raw ones encoded here."""

    def test_frames_of_several_sizes_are_noted(self, use: Use) -> None:
        rows = [*usual(2), image(START + 50_000_000, jpeg(1, 6, 8))]
        recording = use(rows)
        assert (camera(recording).height, camera(recording).width) == (12, 16)
        assert "camera: frames have several sizes (height x width): 2 of 12x16, 1 of 6x8" in recording.notes

    def test_frame_of_another_codec_is_an_error(self, use: Use) -> None:
        png = cv2.imencode(".png", np.zeros((12, 16, 3), np.uint8))[1].tobytes()
        with pytest.raises(SourceError, match=r"message 2 of /camera .*: a png image; the ones before are jpeg"):
            use([*usual(2), image(START + 50_000_000, png)])

    def test_damaged_frame_is_kept_and_noted(self, use: Use) -> None:
        recording = use([*usual(2), image(START + 50_000_000, b"noise")])
        assert bytes(camera(recording).frames.read(2)) == b"noise"
        assert "camera: 1 frames are not jpeg images; they are kept as recorded" in recording.notes

    def test_topic_without_any_image_is_an_error(self, use: Use) -> None:
        with pytest.raises(SourceError, match=r"none of 2 images is a JPEG or PNG \(format: 'h264'\)"):
            use([*usual(0), joints(START, [1.0, 2.0]), *(image(START + i, b"\0\0\1video", "h264") for i in range(2))])

    def test_depth_inside_compressed_depth_is_the_png_alone(self, use: Use) -> None:
        depth = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 300
        png = cv2.imencode(".png", depth)[1].tobytes()
        form = "16UC1; compressedDepth png"
        recording = use([joints(START, [1.0, 2.0]), image(START + 1, bytes(12) + png, form)])
        assert bytes(camera(recording).frames.read(0)) == png
        assert any("compressedDepth" in n for n in recording.notes)

    def test_raw_depth_is_encoded_without_loss(self, use: Use) -> None:
        depth = np.arange(12 * 16, dtype="<u2").reshape(12, 16) * 300
        padded = np.concatenate([depth.view(np.uint8), np.full((12, 6), 99, np.uint8)], axis=1).tobytes()
        recording = use([joints(START, [1.0, 2.0]), *(raw(START + i, padded, 12, 38, 16, "16UC1") for i in range(2))])
        stream = camera(recording)
        assert (stream.codec, stream.pixel_format, stream.num_frames) == ("png", "16UC1", 2)
        stored = bytes(stream.frames.read(1))
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED), depth)
        assert stream.frames.sizes.tolist() == [len(stored)] * 2
        assert "camera: raw images (16UC1) were encoded as PNG, without loss" in recording.notes

    @pytest.mark.parametrize(("encoding", "expected"), [("rgb8", [250, 120, 10]), ("bgr8", [10, 120, 250])])
    def test_raw_colours_keep_their_channels(self, use: Use, encoding: str, expected: list[int]) -> None:
        pixels = np.tile(np.array([250, 120, 10], np.uint8), (12, 16, 1)).tobytes()
        stream = camera(use([joints(START, [1.0, 2.0]), raw(START, pixels, 12, 48, 16, encoding)]))
        found = decode(bytes(stream.frames.read(0)))
        assert np.abs(found.astype(int) - np.array(expected)).max() <= 3

    @pytest.mark.parametrize(
        ("encoding", "step", "reason"),
        [
            ("bayer_rggb8", 16, "encoding 'bayer_rggb8'; must be one of rgb8, bgr8, .*a Bayer mosaic has no colours"),
            ("rgb8", 16, "rows of 16 bytes; need 48 each"),
        ],
    )
    def test_raw_image_that_is_not_read_says_why(self, use: Use, encoding: str, step: int, reason: str) -> None:
        with pytest.raises(SourceError, match=rf"message 0 of /camera .*{reason}"):
            use([joints(START, [1.0, 2.0]), raw(START, bytes(12 * step), 12, step, 16, encoding)])


class TestInspect:
    """What a recording offers."""

    def infos(self, path: Path) -> dict[tuple[str, str | None, str], StreamInfo]:
        return {(s.name, s.field, s.clock_choice): s for s in mcap.inspect(path).streams}

    def test_sample_recording_is_described(self, sample_recordings: Path) -> None:
        infos = self.infos(sample_recordings / "demo_000.mcap")
        position = infos["/joint_states", "position", "header"]
        assert position.shape == (7,)
        assert position.element_names == (*(f"joint{i}" for i in range(1, 7)), "gripper")
        assert position.clock is Clock.UNIX
        assert len(position.time_ns) == position.count > 500
        front = infos["/cameras/front/compressed", None, "header"]
        assert (front.kind, front.codec, front.shape) == ("image", "jpeg", (120, 160, 3))
        assert any(p.startswith("header ahead of log by 1") for p in front.problems)
        assert not np.array_equal(infos["/cameras/front/compressed", None, "log"].time_ns, front.time_ns)
        assert infos["/joint_commands", "data", "log"].shape == (7,)
        assert infos["/outcome", "data", "log"].kind == "text"

    def test_clock_problems_are_named(self, tmp_path: Path) -> None:
        rows = [joints(START + 10 * i, [1.0, 2.0], stamp=0) for i in range(4)]
        rows += [
            ("/later", "sensor_msgs/msg/JointState", START + t, joints(START, [1.0], stamp=START + s)[3])
            for t, s in ((100, 50), (200, 40), (150, 60))
        ]
        infos = self.infos(write(tmp_path / "demo.mcap", rows))
        assert infos["/joints", "position", "log"].problems == ("header stamps are 0",)
        assert "time goes backward 1 times" in infos["/later", "position", "header"].problems
        assert infos["/later", "position", "log"].problems == ("time goes backward 1 times",)

    def test_every_real_file_can_be_inspected(self, shared_data: Path) -> None:
        paths = [p for p in shared_data.rglob("*.mcap") if p.is_file()]
        assert len(paths) > 50
        for path in paths:
            inspection = mcap.inspect(path)
            assert inspection.streams
            for info in inspection.streams:
                assert len(info.time_ns) == info.count
        (mouse, *_) = mcap.inspect(next(shared_data.rglob("simple-protobuf.mcap"))).streams
        assert (mouse.type, mouse.field, mouse.dtype) == ("MouseEvent", "clientX", "float64")
        assert mouse.problems == ()

    def test_file_of_a_split_bag_says_so(self, shared_data: Path) -> None:
        path = next(shared_data.rglob("wbag_0.mcap"))
        assert any("one of several of a ROS 2 bag" in p for p in mcap.inspect(path).problems)
