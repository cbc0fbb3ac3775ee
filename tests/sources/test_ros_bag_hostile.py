"""Bags from strangers: damaged, lying about sizes, databases that do things by themselves, paths that lead out."""

import bz2
import contextlib
import os
import random
import shutil
import sqlite3
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

from vladata.embodiment import Embodiment
from vladata.errors import GateError, SourceError, VladataError
from vladata.ingest import discover
from vladata.mapping import Mapping
from vladata.recording import FrameStream
from vladata.sources import Request, ros_bag
from vladata.sources import _ros_bag_unpack as unpack_module
from vladata.sources._ros2 import CdrError
from vladata.sources._ros_bag_ros1 import Ros1ToCdr, ros1_definition

START = 1_700_000_000_000_000_000
JOINTS, IMAGE, TEXT = "sensor_msgs/msg/JointState", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
FORMATS = ("ros1", "ros1-bz2", "ros1-lz4", "sqlite", "sqlite-message", "sqlite-file", "mcap-message", "mcap-file")


def messages(store: Any, count: int, *, has_seq: bool) -> list[tuple[str, int, Any]]:
    rows = []
    for i in range(count):
        stamp = store.types["builtin_interfaces/msg/Time"](1_700_000_000, i)
        header = store.types["std_msgs/msg/Header"](*([i] if has_seq else []), stamp, "base")
        pair = np.array([i, -i], np.float64)
        rows.append(("/joints", START + 3 * i, store.types[JOINTS](header, ["a", "b"], pair, pair, np.zeros(0))))
        rows.append(("/camera", START + 3 * i + 1, store.types[IMAGE](header, "png", np.frombuffer(PNG, np.uint8))))
        rows.append(("/task", START + 3 * i + 2, store.types[TEXT](f"do {i}")))
    return rows


def write(path: Path, form: str, count: int = 6) -> Path:
    kind, _, compression = form.partition("-")
    if kind == "ros1":
        path = path.with_suffix(".bag")
        store = get_typestore(Stores.ROS1_NOETIC)
        writer = Ros1Writer(path)
        writer.chunk_threshold = 900
        if compression:
            writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
        fill(writer, store, messages(store, count, has_seq=True))
        return path
    store = get_typestore(Stores.ROS2_HUMBLE)
    plugin = StoragePlugin.SQLITE3 if kind == "sqlite" else StoragePlugin.MCAP
    two = Ros2Writer(path, version=9, storage_plugin=plugin)
    if compression:
        two.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    fill(two, store, messages(store, count, has_seq=False))
    return path


def fill(writer: Any, store: Any, rows: list[tuple[str, int, Any]], damage: Callable[[bytes], bytes] = bytes) -> None:
    with writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in rows:
            name = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=store)
            serialize = store.serialize_ros1 if isinstance(writer, Ros1Writer) else store.serialize_cdr
            writer.write(connections[topic], time_ns, damage(bytes(serialize(message, name))))


JOINT = {"kind": "joint_position", "unit": "rad"}
REQUEST = Request(
    embodiment=Embodiment.model_validate(
        {
            "name": "two_joints",
            "rate_hz": 10,
            "proprioception": [{"name": "state", "dimensions": [{"name": n, **JOINT} for n in ("a", "b")]}],
            "cameras": [{"name": "camera", "height": 1, "width": 1}],
            "streams": {"state": {"required": False}, "camera": {"required": False}},
        }
    ),
    mapping=Mapping.model_validate(
        {
            "source": "ros_bag",
            "streams": {"state": {"from": "/joints"}, "camera": {"from": "/camera"}},
            "instruction": {"from": "/task"},
        }
    ),
)


def storage_file(path: Path) -> Path:
    if path.is_file():
        return path
    return next(p for p in path.iterdir() if p.name != "metadata.yaml")


def use_all(path: Path) -> str:
    """Everything that a run does with a path; which of the library's errors came of it, if any."""
    with contextlib.suppress(ShownError):
        return attempt(path)
    return "refused"


class ShownError(Exception):
    """One of the library's errors, which is one line."""


def attempt(path: Path) -> str:
    try:
        return use_it(path)
    except VladataError as error:
        if "\n" in str(error) or len(str(error)) > 1500:
            raise
        raise ShownError(str(error)) from error


def use_it(path: Path) -> str:
    if not ros_bag.can_read(path):
        ros_bag.places(path)
        return "foreign"
    (place,) = ros_bag.places(path)
    ros_bag.inspect(path)
    with contextlib.closing(ros_bag.read(path, place, REQUEST)) as reading:
        for stream in next(reading).streams.values():
            if isinstance(stream, FrameStream):
                for index in range(stream.num_frames):
                    stream.frames.read(index)
    return "read"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled, replaced by extremes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, kind = rng.randrange(len(out)), rng.randrange(5)
        size = rng.choice((1, 4, 8, 40))
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + size]
        elif kind == 2:
            out[at:at] = out[at : at + size]
        elif kind == 3:
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)))
        else:
            del out[at:]
        if not out:
            break
    return bytes(out)


class TestMutations:
    @pytest.mark.parametrize("form", FORMATS)
    def test_a_damaged_bag_is_read_in_part_or_refused_in_one_line(self, tmp_path: Path, form: str) -> None:
        path = write(tmp_path / "demo", form)
        file = storage_file(path)
        original = file.read_bytes()
        rng = random.Random(form)
        results = set()
        before = set(Path(tempfile.gettempdir()).glob("*.unpacked"))
        for _ in range(45):
            file.write_bytes(mutated(original, rng))
            results.add(use_all(path))
        file.write_bytes(original)
        assert use_all(path) == "read"
        assert "refused" in results
        assert set(Path(tempfile.gettempdir()).glob("*.unpacked")) <= before

    def test_damaged_metadata_is_read_or_refused_in_one_line(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite")
        file = path / "metadata.yaml"
        original = file.read_bytes()
        rng = random.Random(7)
        for _ in range(45):
            file.write_bytes(mutated(original, rng))
            assert use_all(path) in {"read", "refused", "foreign"}

    @pytest.mark.parametrize("form", ["ros1", "sqlite"])
    def test_damaged_messages_in_a_whole_container_never_break_it(self, tmp_path: Path, form: str) -> None:
        rng = random.Random(form)
        store = get_typestore(Stores.ROS1_NOETIC if form == "ros1" else Stores.ROS2_HUMBLE)
        results = []
        for k in range(12):
            path = tmp_path / f"demo_{k}"
            damage = (lambda data: mutated(data, rng)) if k else bytes
            if form == "ros1":
                path = path.with_suffix(".bag")
                fill(Ros1Writer(path), store, messages(store, 2, has_seq=True), damage)
            else:
                writer = Ros2Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
                fill(writer, store, messages(store, 2, has_seq=False), damage)
            results.append(use_all(path))
        assert set(results) <= {"read", "refused"}
        assert results.count("read") > 3


def chunk(compression: str, size: int, data: bytes) -> bytes:
    """A record of a ROS 1 bag that says that it expands to a size."""
    fields = [b"op=\x05", b"compression=" + compression.encode(), b"size=" + struct.pack("<I", size)]
    header = b"".join(struct.pack("<I", len(f)) + f for f in fields)
    return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data


class TestSizes:
    @pytest.mark.parametrize(
        ("compression", "pack"), [("bz2", bz2.compress), ("lz4", lz4.frame.compress)], ids=["bz2", "lz4"]
    )
    @pytest.mark.parametrize("says", [1 << 31, 40 << 20])
    def test_a_chunk_that_expands_enormously_takes_no_memory(
        self, tmp_path: Path, compression: str, pack: Callable[[bytes], bytes], says: int
    ) -> None:
        path = write(tmp_path / "demo", "ros1")
        data = path.read_bytes()
        end = 13 + 4096
        bomb = chunk(compression, says, pack(bytes(200 << 20)))
        path.write_bytes(data[:end] + bomb + data[end:])
        tracemalloc.start()
        with pytest.raises((SourceError, GateError), match=r"at most|expands to more than"):
            ros_bag.inspect(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 150 << 20

    def test_a_message_that_expands_enormously_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite-message")
        bomb = zstandard.ZstdCompressor().compress(bytes(130 << 20))
        stream = zstandard.ZstdCompressor().compressobj()
        unsized = stream.compress(bytes(130 << 20)) + stream.flush()
        for data in (bomb, unsized):
            connection = sqlite3.connect(storage_file(path))
            connection.execute("UPDATE messages SET data = ? WHERE topic_id = 1", (data,))
            connection.commit()
            connection.close()
            tracemalloc.start()
            found = ros_bag.inspect(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 120 << 20
            problems = [p for s in found.streams if s.name == "/joints" for p in s.problems]
            assert any("expands to" in p for p in problems)

    def test_a_packed_file_that_expands_enormously_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unpack_module, "SLACK", 1 << 20)
        path = write(tmp_path / "demo", "sqlite-file")
        file = storage_file(path)
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())
        file.write_bytes(zstandard.compress(plain + bytes(200 << 20)))
        with pytest.raises(GateError, match="expands to more than"):
            ros_bag.inspect(path)

    def test_a_packed_file_that_ends_early_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite-file", 200)
        file = storage_file(path)
        whole = file.read_bytes()
        for size in (len(whole) - 1, len(whole) - 9, len(whole) // 2):
            file.write_bytes(whole[:size])
            with pytest.raises(SourceError, match=r"truncated|can't be unpacked"):
                ros_bag.inspect(path)

    def test_a_full_disk_is_said_before_it_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpack_module, "MIN_FREE", 1 << 62)
        with pytest.raises(GateError, match=r"no room to unpack it into .*; TMPDIR can name another"):
            ros_bag.inspect(write(tmp_path / "demo", "sqlite-file"))

    def test_a_definition_that_multiplies_its_fields_is_refused(self) -> None:
        rule = "=" * 80
        parts = ["x/T1[1000] a"]
        parts += [f"{rule}\nMSG: x/T{i}\nx/T{i + 1}[1000] a" for i in range(1, 6)]
        text = "\n".join([*parts, f"{rule}\nMSG: x/T6\nuint8 a"])
        with pytest.raises(CdrError, match="has at least"):
            ros1_definition("x/T0", text)
        wide = "\n".join(
            [
                "x/A a",
                *(f"x/A a{i}" for i in range(1000)),
                f"{rule}\nMSG: x/A",
                *(f"uint8 b{i}\nuint16 c{i}" for i in range(60)),
            ]
        )
        with pytest.raises(CdrError, match="more than 65,536 fields"):
            Ros1ToCdr(ros1_definition("x/T", wide))

    def test_a_count_beyond_the_message_ends_at_once(self) -> None:
        definition = ros1_definition("x/T", "x/E[] a\n" + "=" * 80 + "\nMSG: x/E\n")
        with pytest.raises(CdrError, match="4,294,967,295 elements in 0 bytes"):
            Ros1ToCdr(definition).convert(memoryview(b"\xff\xff\xff\xff"))


class TestDatabases:
    def changed(self, tmp_path: Path, *statements: str) -> Path:
        path = write(tmp_path / "demo", "sqlite")
        connection = sqlite3.connect(storage_file(path))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return path

    def test_damaged_schema_whose_text_is_not_utf8_is_one_line(self, tmp_path: Path) -> None:
        path = self.changed(tmp_path, "CREATE INDEX noted ON messages (topic_id)")
        data = storage_file(path).read_bytes()
        storage_file(path).write_bytes(
            data.replace(b"CREATE INDEX noted ON messages", b"CREATE INDEX noted \x96N messages")
        )
        with pytest.raises(SourceError, match="damaged database"):
            ros_bag.inspect(path)

    @pytest.mark.parametrize(
        "statements",
        [
            (
                "ALTER TABLE messages RENAME TO hidden",
                "CREATE VIEW messages AS SELECT id, topic_id, timestamp, zeroblob(100000000) AS data FROM hidden",
            ),
            (
                "ALTER TABLE messages RENAME TO hidden",
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data AS (zeroblob(900000000)))",
            ),
            (
                "ALTER TABLE messages RENAME TO hidden",
                "CREATE VIRTUAL TABLE messages USING fts5(id, topic_id, timestamp, data)",
            ),
            (
                "ALTER TABLE messages RENAME TO hidden",
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data) WITHOUT ROWID",
            ),
            ("ALTER TABLE messages RENAME TO hidden", "CREATE TABLE messages(id TEXT, topic_id, timestamp, data)"),
            ("DROP TABLE topics",),
        ],
    )
    def test_tables_that_are_no_plain_tables_are_not_asked(self, tmp_path: Path, statements: tuple[str, ...]) -> None:
        path = self.changed(tmp_path, *statements)
        with pytest.raises(SourceError, match="has no plain table"):
            ros_bag.inspect(path)
        assert not ros_bag.can_read(storage_file(path))

    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        path = self.changed(tmp_path, "DROP INDEX timestamp_idx", "ALTER TABLE messages RENAME COLUMN timestamp TO t")
        with pytest.raises(SourceError, match="table 'messages' has no column 'timestamp'"):
            ros_bag.inspect(path)

    def test_triggers_never_run_and_the_file_is_never_written(self, tmp_path: Path) -> None:
        path = self.changed(
            tmp_path,
            "CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM topics; END",
            "PRAGMA journal_mode = WAL",
        )
        for name in ("demo.db3-wal", "demo.db3-shm"):
            (path / name).unlink(missing_ok=True)
        before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.iterdir()}
        assert use_all(path) == "read"
        assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.iterdir()} == before

    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            ("UPDATE messages SET timestamp = -5 WHERE id = 3", "message 3 has timestamp -5; must be ns from 0 on"),
            ("UPDATE messages SET timestamp = 'now' WHERE id = 3", "message 3 has timestamp"),
            (
                "UPDATE messages SET topic_id = 77 WHERE id = 3",
                "message 3 is of topic 77, which is not in the table topics",
            ),
            ("UPDATE messages SET id = -3 WHERE id = 3", "its number must be from 0"),
            ("UPDATE messages SET id = 9000000000000000000 WHERE id = 3", "its number must be from 0"),
        ],
    )
    def test_rows_that_are_no_messages_are_refused(self, tmp_path: Path, statement: str, reason: str) -> None:
        with pytest.raises(SourceError, match=reason):
            ros_bag.inspect(self.changed(tmp_path, statement))

    def test_texts_are_shown_without_what_steers_a_terminal(self, tmp_path: Path) -> None:
        path = self.changed(tmp_path, "UPDATE topics SET type = 'x' || char(27) || '[31m/msg/Y' WHERE id = 1")
        found = ros_bag.inspect(path)
        assert not any("\x1b" in p for s in found.streams for p in s.problems)

    def test_a_damaged_page_ends_the_bag_there(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite", 400)
        file = storage_file(path)
        data = bytearray(file.read_bytes())
        at = len(data) // 2 // 4096 * 4096
        data[at : at + 4096] = bytes(4096)
        file.write_bytes(data)
        (place,) = ros_bag.places(path)
        with contextlib.closing(ros_bag.read(path, place, REQUEST)) as reading:
            recording = next(reading)
            assert recording.is_lossy
            assert any("is damaged" in n and "up to there were read" in n for n in recording.notes)
            assert 10 < len(recording.streams["state"].time_ns) < 400


class TestPaths:
    @pytest.mark.parametrize("name", ["../secret.db3", "/etc/passwd", "..", "a/../../secret.db3"])
    def test_metadata_can_not_name_a_file_elsewhere(self, tmp_path: Path, name: str) -> None:
        path = write(tmp_path / "demo", "sqlite")
        shutil.copy(path / "demo.db3", tmp_path / "secret.db3")
        (path / "demo.db3").unlink()
        metadata = path / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace("- demo.db3", f"- {name}"))
        with pytest.raises((SourceError, GateError)):
            ros_bag.places(path)

    def test_a_link_out_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite")
        (path / "demo.db3").rename(tmp_path / "secret.db3")
        (path / "demo.db3").symlink_to(tmp_path / "secret.db3")
        with pytest.raises(GateError, match="is a link out of its folder"):
            ros_bag.places(path)

    def test_a_link_that_no_metadata_lists_is_refused_as_well(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite")
        (path / "metadata.yaml").unlink()
        shutil.copy(path / "demo.db3", path / "demo_0.db3")
        (path / "demo.db3").rename(tmp_path / "secret.db3")
        (path / "demo_1.db3").symlink_to(tmp_path / "secret.db3")
        assert ros_bag.can_read(path)
        with pytest.raises(GateError, match="is a link out of its folder"):
            ros_bag.places(path)

    def test_a_pipe_is_never_opened(self, tmp_path: Path) -> None:
        path = write(tmp_path / "demo", "sqlite")
        (path / "demo.db3").unlink()
        os.mkfifo(path / "demo.db3")
        with pytest.raises(SourceError, match="none is there"):
            ros_bag.places(path)

    def test_a_file_that_is_named_like_a_bag_and_is_none_says_what_it_is(self, tmp_path: Path) -> None:
        for name in ("a.bag", "b.db3", "c.db3.zstd"):
            (tmp_path / name).write_bytes(b"something else entirely, of no use")
        seen = discover(tmp_path)
        assert not seen.ignored
        reasons = [r.reason for r in seen.rejected]
        for found in seen.found:
            with pytest.raises(SourceError) as raised:
                ros_bag.inspect(found.path)
            reasons.append(str(raised.value))
        assert len(reasons) == 3
        assert all("is no bag" in r for r in reasons)

    def test_a_bag_that_changes_while_it_is_read_is_refused(self, tmp_path: Path) -> None:
        for form in ("ros1", "sqlite"):
            path = write(tmp_path / form, form, 50)
            (place,) = ros_bag.places(path)
            with contextlib.closing(ros_bag.read(path, place, REQUEST)) as reading:
                camera = next(reading).streams["camera"]
                assert isinstance(camera, FrameStream)
                assert bytes(camera.frames.read(40)) == PNG
                file = storage_file(path)
                with file.open("r+b") as changing:
                    changing.truncate(4096)
                with pytest.raises(SourceError, match="was changed while it was read"):
                    for index in range(50):
                        camera.frames.read(index)
