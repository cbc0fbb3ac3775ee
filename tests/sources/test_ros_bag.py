"""The source of ROS bags on public bags that nobody here made, against rosbags and sqlite3."""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vladata.embodiment import Embodiment
from vladata.errors import SchemaError, SourceError
from vladata.ingest import discover
from vladata.mapping import Mapping
from vladata.recording import Recording, Stream
from vladata.sources import Inspection, Request, mcap, ros_bag
from vladata.units import Clock

EDGES = "rosbag2_edge_cases"
SQLITE = f"{EDGES}/rosbag2_tests/resources/sqlite3"
WBAG = f"{EDGES}/rosbag2_py/test/resources"
KUKA = "kuka_joint_states_ros1_bag/test.bag"
EMBAG = "embag_ros1_bags/test.bag"
KUKA_JOINTS = [f"lwr_arm_{i}_joint" for i in range(7)]


def signal_of(names: list[str], kind: str = "joint_position", unit: str = "rad") -> dict[str, Any]:
    return {"name": "state", "dimensions": [{"name": n, "kind": kind, "unit": unit} for n in names]}


def request_of(names: list[str], stream: dict[str, Any], *, kind: str = "other", **mapping: Any) -> Request:
    unit = "rad" if kind == "joint_position" else "1"
    embodiment = {"name": "robot", "rate_hz": 10, "proprioception": [signal_of(names, kind, unit)]}
    given = {"source": "ros_bag", "streams": {"state": stream}, **mapping}
    return Request(embodiment=Embodiment.model_validate(embodiment), mapping=Mapping.model_validate(given))


def read(path: Path, wanted: Request) -> Recording:
    (place,) = ros_bag.places(path)
    reading = ros_bag.read(path, place, wanted)
    recording = next(reading)
    assert next(reading, None) is None
    return recording


def state(recording: Recording) -> Stream:
    stream = recording.streams["state"]
    assert isinstance(stream, Stream)
    return stream


def counts(inspection: Inspection) -> dict[str, int]:
    return {s.name: s.count for s in inspection.streams}


def problems_of(inspection: Inspection, topic: str) -> str:
    return "; ".join(p for s in inspection.streams if s.name == topic for p in s.problems)


def ros1_messages(path: Path) -> list[tuple[str, int, Any]]:
    """Topic, time and message of everything in a ROS 1 bag, decoded by rosbags with the bag's own definitions."""
    store = get_typestore(Stores.EMPTY)
    with Ros1Reader(path) as reader:
        for connection in reader.connections:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        return [(c.topic, t, store.deserialize_ros1(data, c.msgtype)) for c, t, data in reader.messages()]


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


class TestRos1:
    def test_joints_stamps_and_receipt_are_those_of_another_reader(self, shared_data: Path) -> None:
        path = shared_data / KUKA
        recording = read(path, request_of(KUKA_JOINTS, {"from": "/joint_states"}, kind="joint_position"))
        expected = ros1_messages(path)
        stream = state(recording)
        assert len(expected) == 4101
        assert stream.values.dtype == np.float64
        assert np.array_equal(stream.values, np.stack([m.position for _, _, m in expected]))
        assert stream.time_ns.tolist() == [stamp_ns(m) for _, _, m in expected]
        assert stream.receive_time_ns is not None
        assert stream.receive_time_ns.tolist() == [t for _, t, _ in expected]
        assert (stream.clock, stream.clock_choice) == (Clock.UNIX, "header")
        assert recording.place == "test.bag"
        assert [f.size for f in recording.files] == [path.stat().st_size]
        assert not recording.is_lossy

    @pytest.mark.parametrize("field", ["position", "velocity", "effort"])
    def test_joints_are_joined_by_name_in_any_order(self, shared_data: Path, field: str) -> None:
        names = KUKA_JOINTS[::-1][:3]
        stream = {"from": "/joint_states", "field": field, "names_field": "name"}
        recording = read(shared_data / KUKA, request_of(names, stream))
        rows = [getattr(m, field)[[6, 5, 4]] for _, _, m in ros1_messages(shared_data / KUKA)]
        assert np.array_equal(state(recording).values, np.stack(rows))

    def test_a_header_ahead_of_the_log_is_reported_and_either_clock_can_be_had(self, shared_data: Path) -> None:
        path = shared_data / KUKA
        assert "header ahead of log by" in problems_of(ros_bag.inspect(path), "/joint_states")
        wanted = request_of(KUKA_JOINTS, {"from": "/joint_states", "clock": "log"}, kind="joint_position")
        stream = state(read(path, wanted))
        assert stream.time_ns.tolist() == [t for _, t, _ in ros1_messages(path)]
        assert (stream.clock_choice, stream.receive_time_ns) == ("log", None)

    def test_lz4_chunks_and_messages_of_any_type_are_read_by_field_path(self, shared_data: Path) -> None:
        path = shared_data / EMBAG
        expected = [(t, m) for topic, t, m in ros1_messages(path) if topic == "/base_pose_ground_truth"]
        stream = {"from": "/base_pose_ground_truth", "field": "pose.pose"}
        names = ["position.x", "position.y", "position.z", *(f"orientation.{a}" for a in "xyzw")]
        found = state(read(path, request_of(names, stream)))
        poses = [m.pose.pose for _, m in expected]
        rows = [[*(getattr(p.position, a) for a in "xyz"), *(getattr(p.orientation, a) for a in "xyzw")] for p in poses]
        assert np.array_equal(found.values, np.array(rows))
        assert found.time_ns.tolist() == [stamp_ns(m) for _, m in expected]

    def test_arrays_keep_their_number_type(self, shared_data: Path) -> None:
        names = [str(i) for i in range(90)]
        found = state(read(shared_data / EMBAG, request_of(names, {"from": "/base_scan", "field": "ranges"})))
        rows = [m.ranges for topic, _, m in ros1_messages(shared_data / EMBAG) if topic == "/base_scan"]
        assert found.values.dtype == np.float32
        assert np.array_equal(found.values, np.stack(rows))

    def test_simulated_time_is_no_unix_time_and_topics_are_described(self, shared_data: Path) -> None:
        found = ros_bag.inspect(shared_data / EMBAG)
        assert counts(found) == {"/base_scan": 1727, "/base_pose_ground_truth": 1727}
        assert {s.clock for s in found.streams} == {Clock.MONOTONIC}
        assert ("compression", "lz4") in found.facts
        by_field = {(s.name, s.field): s for s in found.streams}
        assert by_field["/base_scan", "ranges"].shape == (90,)
        assert by_field["/base_scan", "ranges"].dtype == "float32"

    def test_a_bag_without_what_is_mapped_is_refused_in_one_line(self, shared_data: Path) -> None:
        with pytest.raises(SourceError, match="not in the bag; its topics are /base_pose_ground_truth, /base_sc"):
            read(shared_data / EMBAG, request_of(KUKA_JOINTS, {"from": "/joint_states"}))

    def test_times_of_publishing_are_refused_for_a_bag_that_has_none(self, shared_data: Path) -> None:
        with pytest.raises(SourceError, match="clock is publish, but only MCAP has times of publishing"):
            read(shared_data / KUKA, request_of(KUKA_JOINTS, {"from": "/joint_states", "clock": "publish"}))

    def test_an_unknown_option_is_refused(self, shared_data: Path) -> None:
        wanted = request_of(KUKA_JOINTS, {"from": "/joint_states"}, options={"chunk_threshold": 1.0})
        with pytest.raises(SchemaError, match="chunk_threshold is not known to ros_bag"):
            read(shared_data / KUKA, wanted)


KUKA_SCHEMA: dict[str, Any] = {
    "name": "kuka_lwr",
    "version": 1,
    "rate_hz": 20,
    "proprioception": [signal_of(KUKA_JOINTS)],
    "action": [
        {
            "name": "target",
            "dimensions": [
                {"name": n, "kind": "joint_position", "unit": "rad", "mode": "absolute"} for n in KUKA_JOINTS
            ],
        }
    ],
    "mappings": {
        "ros_bag": {
            "source": "ros_bag",
            "streams": {"state": {"from": "/joint_states", "field": "position"}},
            "derived": {"target": {"from": "state", "rule": "next_state"}},
            "step_clock": {"kind": "grid"},
        }
    },
}


def test_a_real_bag_becomes_an_episode_with_one_command(
    cli: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    import h5py

    schema = tmp_path / "kuka_lwr.yaml"
    schema.write_text(yaml.safe_dump(KUKA_SCHEMA))
    shown = cli("inspect", shared_data / KUKA)
    assert shown.returncode == 0, shown.stderr
    assert "/joint_states" in shown.stdout
    assert "ros_bag" in shown.stdout
    done = cli("ingest", shared_data / "kuka_joint_states_ros1_bag", "-s", schema, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr + done.stdout
    (file,) = (tmp_path / "out" / "episodes").rglob("*.h5")
    expected = ros1_messages(shared_data / KUKA)
    with h5py.File(file) as episode:
        stored = episode["streams/state"]
        assert np.array_equal(stored["values"][:], np.stack([m.position for _, _, m in expected]))
        assert stored["time_ns"][:].tolist() == [stamp_ns(m) for _, _, m in expected]
        provenance = json.loads(episode["provenance"][()])
        assert provenance["source"] == "ros_bag"
        steps = episode["steps/time_ns"][:]
        assert abs(len(steps) - 41 * 20) <= 2
    checked = cli("validate", tmp_path / "out")
    assert "1 error" in checked.stdout  # nobody said what the task was, and nothing else is wrong
    assert "labels.instruction" in checked.stdout
    again = cli("ingest", shared_data / "kuka_joint_states_ros1_bag", "-s", schema, "-o", tmp_path / "out")
    assert again.returncode == 0
    assert len(list((tmp_path / "out" / "episodes").rglob("*.h5"))) == 1


def test_a_mapping_drafted_from_a_bag_is_read_back(cli: Callable[..., Any], shared_data: Path, tmp_path: Path) -> None:
    schema = tmp_path / "kuka_lwr.yaml"
    plain = {k: v for k, v in KUKA_SCHEMA.items() if k not in {"mappings", "action"}}
    schema.write_text(yaml.safe_dump({**plain, "action": []}))
    mapping = tmp_path / "mapping.yaml"
    done = cli("inspect", shared_data / KUKA, "--schema", schema, "--write-mapping", mapping)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load(mapping.read_text())
    assert written["source"] == "ros_bag"
    assert written["streams"]["state"]["from"] == "/joint_states"


class TestWhoReadsWhat:
    def found(self, folder: Path, *preferred: str) -> dict[str, str]:
        seen = discover(folder, preferred=preferred)
        assert not seen.rejected
        names = [f.path.relative_to(folder).as_posix() for f in seen.found]
        assert len(set(names)) == len(names)
        for name in names:  # nothing is found twice, as itself and as a part of its folder
            assert not any(other != name and other.startswith(f"{name}/") for other in names)
        return dict(zip(names, (f.source for f in seen.found), strict=True))

    def test_each_recording_of_the_edge_cases_is_found_once(self, shared_data: Path) -> None:
        mcap_folder = "rosbag2_tests/resources/mcap"
        assert self.found(shared_data / EDGES) == {
            "ros2bag/test/resources/empty_bag": "ros_bag",
            "rosbag2_cpp/test/rosbag2_cpp/bags/only_services.mcap": "mcap",
            "rosbag2_cpp/test/rosbag2_cpp/bags/only_topics.mcap": "mcap",
            "rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.db3": "ros_bag",
            "rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.mcap": "mcap",
            "rosbag2_py/test/resources/mcap/reindex_test_bags/multiple_files": "ros_bag",
            "rosbag2_py/test/resources/mcap/wbag": "ros_bag",
            "rosbag2_py/test/resources/sqlite3/wbag": "ros_bag",
            "rosbag2_tests/resources/compressed_bag": "ros_bag",
            f"{mcap_folder}/bag_with_topics_and_service_events/bag_with_topics_and_service_events.mcap": "mcap",
            f"{mcap_folder}/cdr_test/cdr_test_0.mcap": "mcap",
            f"{mcap_folder}/wrong_rmw_test/wrong_rmw_test_0.mcap": "mcap",
            "rosbag2_tests/resources/reindex_test_bags/file_compression": "ros_bag",
            "rosbag2_tests/resources/reindex_test_bags/message_compression": "ros_bag",
            "rosbag2_tests/resources/sqlite3/bag_with_topics_and_service_events": "ros_bag",
            "rosbag2_tests/resources/sqlite3/cdr_test": "ros_bag",
            "rosbag2_tests/resources/sqlite3/wrong_rmw_test": "ros_bag",
        }

    def test_one_plain_mcap_in_a_bag_folder_is_read_by_the_source_there_is_a_mapping_for(
        self, shared_data: Path
    ) -> None:
        folder = shared_data / "arm6dof_moveit_mcap"
        assert self.found(folder) == {"rosbag2.mcap": "mcap"}
        assert self.found(folder, "mcap") == {"rosbag2.mcap": "mcap"}
        assert self.found(folder, "ros_bag") == {"rosbag2.mcap": "ros_bag"}

    def test_independent_files_side_by_side_stay_independent(self, shared_data: Path, sample_recordings: Path) -> None:
        found = self.found(shared_data / "mcap_conformance")
        assert len(found) == 41
        assert found["chatter.db3"] == "ros_bag"
        assert set(self.found(sample_recordings).values()) == {"mcap"}

    def test_foreign_files_are_left_to_others(self, shared_data: Path) -> None:
        assert not ros_bag.can_read(shared_data / "urdf")
        assert not ros_bag.can_read(shared_data / "rerun_mcap_samples" / "simple-protobuf.mcap")
        assert not ros_bag.can_read(shared_data / "csv_robot_logs")
        assert not ros_bag.can_read(shared_data / "nothing_of_this_name")


class TestRos2:
    def test_a_renamed_file_is_read_and_named(self, shared_data: Path) -> None:
        folder = shared_data / "arm6dof_moveit_mcap"
        found = ros_bag.inspect(folder)
        assert counts(found) == {"/display_planned_path": 10}
        assert any("rosbag2_2026_05_13-04_26_21_0.mcap, which is not there; rosbag2.mcap" in p for p in found.problems)
        assert ("ros_distro", "jazzy") in found.facts

    def test_a_bag_gives_what_the_mcap_source_gives_for_its_file(self, shared_data: Path) -> None:
        folder = shared_data / "arm6dof_moveit_mcap"
        names = [f"j{i}" for i in range(6)]
        path = "trajectory[0].joint_trajectory.points[0].positions"
        wanted = request_of(names, {"from": "/display_planned_path", "field": path, "join": "index"})
        ours = read(folder, wanted)
        file = folder / "rosbag2.mcap"
        theirs = next(mcap.read(file, mcap.places(file)[0], wanted))
        other = theirs.streams["state"]
        assert isinstance(other, Stream)
        assert np.array_equal(state(ours).values, other.values)
        assert np.array_equal(state(ours).time_ns, other.time_ns)
        assert ours.files[0].sha256 == theirs.files[0].sha256

    @pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
    def test_a_split_bag_is_one_recording_in_the_order_of_its_metadata(self, shared_data: Path, storage: str) -> None:
        folder = shared_data / WBAG / storage / "wbag"
        with Ros2Reader(folder) as reader:
            expected = Counter(c.topic for c, _, _ in reader.messages())
        found = ros_bag.inspect(folder)
        assert counts(found) == expected
        assert sum(expected.values()) == 6074
        assert not found.problems
        with pytest.raises(SourceError, match=r"state is mapped to BBB \(std_msgs/msg/String\), which"):
            read(folder, request_of(["length"], {"from": "BBB"}))

    def test_the_order_of_split_files_is_that_of_the_metadata(self, shared_data: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(shared_data / WBAG / "sqlite3" / "wbag", tmp_path / "wbag"))
        names = {"wbag_0.db3": "d.db3", "wbag_1.db3": "c.db3", "wbag_2.db3": "e.db3", "wbag_3.db3": "a.db3"}
        metadata = folder / "metadata.yaml"
        text = metadata.read_text()
        for old, new in names.items():
            (folder / old).rename(folder / new)
            text = text.replace(old, new)
        metadata.write_text(text)
        wanted = texts_request("AAA")
        moved, original = (read(f, wanted) for f in (folder, shared_data / WBAG / "sqlite3" / "wbag"))
        assert [i.text for i in moved.instructions] == [i.text for i in original.instructions]
        assert [f.name for f in moved.files] == ["d.db3", "c.db3", "e.db3", "a.db3", "wbag_4.db3", "metadata.yaml"]

    @pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
    def test_texts_of_a_split_bag_are_those_of_another_reader(self, shared_data: Path, storage: str) -> None:
        folder = shared_data / WBAG / storage / "wbag"
        store = get_typestore(Stores.ROS2_HUMBLE)
        with Ros2Reader(folder) as reader:
            said = [
                (t, store.deserialize_cdr(data, c.msgtype).data) for c, t, data in reader.messages() if c.topic == "CCC"
            ]
        found = read(folder, texts_request("CCC")).marks
        assert [(m.receive_time_ns, m.text) for m in found] == said

    def test_a_bag_without_metadata_is_read_in_the_order_of_its_numbers(self, shared_data: Path) -> None:
        folder = shared_data / WBAG / "mcap" / "reindex_test_bags" / "multiple_files"
        found = ros_bag.inspect(folder)
        assert counts(found) == {"/chatter": 3177}
        assert any("there is no metadata.yaml" in p for p in found.problems)
        recording = read(folder, texts_request("/chatter"))
        expected = []
        for number in range(3):
            with Ros2Reader(folder / f"multiple_files_{number}.mcap") as reader:
                expected += [t for _, t, _ in reader.messages()]
        assert [m.receive_time_ns for m in recording.marks] == expected

    def test_a_lone_database_is_a_recording(self, shared_data: Path) -> None:
        path = shared_data / "mcap_conformance" / "chatter.db3"
        with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
            rows = connection.execute("SELECT timestamp, data FROM messages ORDER BY id").fetchall()
        found = read(path, texts_request("/chatter")).marks
        assert [(m.receive_time_ns, m.text) for m in found] == [(t, d[8:].rstrip(b"\0").decode()) for t, d in rows]

    def test_packed_messages_are_unpacked_though_no_metadata_says_so(self, shared_data: Path) -> None:
        import zstandard

        folder = shared_data / EDGES / "rosbag2_tests/resources/reindex_test_bags/message_compression"
        expected = []
        for number in range(4):
            path = folder / f"message_compression_{number}.db3"
            with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
                query = "SELECT m.timestamp, m.data FROM messages m JOIN topics t ON t.id = m.topic_id"
                query += " WHERE t.name = '/topic' ORDER BY m.id"
                expected += [(t, zstandard.decompress(d)) for t, d in connection.execute(query)]
        recording = read(folder, texts_request("/topic"))
        found = [(m.receive_time_ns, m.text) for m in recording.marks]
        assert found == [(t, d[8:].split(b"\0")[0].decode()) for t, d in expected]
        assert any("packed one by one (zstd)" in n for n in recording.notes)

    def test_packed_files_are_unpacked(self, shared_data: Path, tmp_path: Path) -> None:
        import zstandard

        folder = shared_data / EDGES / "rosbag2_tests/resources/reindex_test_bags/file_compression"
        expected = []
        for number in range(4):
            plain = tmp_path / "plain.db3"
            plain.write_bytes(
                zstandard.decompress((folder / f"file_compression_{number}.db3.zstd").read_bytes(), 1 << 24)
            )
            with sqlite3.connect(plain) as connection:
                query = "SELECT m.timestamp FROM messages m JOIN topics t ON t.id = m.topic_id"
                expected += connection.execute(f"{query} WHERE t.name = '/topic' ORDER BY m.id").fetchall()
        recording = read(folder, texts_request("/topic"))
        assert [(m.receive_time_ns,) for m in recording.marks] == expected
        assert sum(counts(ros_bag.inspect(folder)).values()) == 775

    def test_an_empty_bag_is_described_and_refused(self, shared_data: Path) -> None:
        for folder in ("ros2bag/test/resources/empty_bag", "rosbag2_tests/resources/compressed_bag"):
            found = ros_bag.inspect(shared_data / EDGES / folder)
            assert counts(found) == {"/parameter_events": 0, "/rosout": 0}
            assert "the bag is empty: it has no message" in found.problems
            with pytest.raises(SourceError, match="/rosout, which has no message"):
                read(shared_data / EDGES / folder, request_of(["level"], {"from": "/rosout", "field": "level"}))

    def test_stray_files_beside_a_database_are_not_touched(self, shared_data: Path, tmp_path: Path) -> None:
        source = shared_data / EDGES / "ros2bag/test/resources/empty_bag"
        folder = Path(shutil.copytree(source, tmp_path / "empty_bag"))
        (folder / "empty_bag_0.db3-wal").write_bytes(b"left by a recorder")
        before = {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir()}
        found = ros_bag.inspect(folder)
        assert any("empty_bag_0.db3-wal (18 bytes) lies beside" in p for p in found.problems)
        assert {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir()} == before

    def test_service_events_are_named_and_the_rest_is_read(self, shared_data: Path) -> None:
        folder = shared_data / SQLITE / "bag_with_topics_and_service_events"
        found = ros_bag.inspect(folder)
        assert counts(found)["/test_service1/_service_event"] == 4
        assert "service events" in problems_of(found, "/test_service1/_service_event")
        recording = read(folder, texts_request("/test_topic1", field="string_value"))
        assert len(recording.marks) == 1
        assert any("not decoded: /test_service1/_service_event, /test_service2/" in n for n in recording.notes)

    def test_numbers_of_a_database_with_definitions_are_those_of_another_reader(self, shared_data: Path) -> None:
        folder = shared_data / SQLITE / "cdr_test"
        store = get_typestore(Stores.EMPTY)
        with Ros2Reader(folder) as reader:
            (connection,) = [c for c in reader.connections if c.topic == "/test_topic"]
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
            messages = [
                (t, store.deserialize_cdr(data, connection.msgtype)) for _, t, data in reader.messages([connection])
            ]
        stream = state(read(folder, request_of(["value"], {"from": "/test_topic", "field": "float64_value"})))
        assert stream.values[:, 0].tolist() == [m.float64_value for _, m in messages]
        assert stream.time_ns.tolist() == [t for t, _ in messages]

    def test_a_wrong_serialization_is_an_error_only_where_it_is_needed(self, shared_data: Path) -> None:
        folder = shared_data / SQLITE / "wrong_rmw_test"
        found = ros_bag.inspect(folder)
        assert "'wrong_format'" in problems_of(found, "/test_topic")
        stream = {"from": "/test_topic", "field": "float64_value"}
        with pytest.raises(SourceError, match=r"metadata\.yaml says that its messages are in 'wrong_format'"):
            read(folder, request_of(["value"], stream))
        wanted = request_of(["value"], stream)
        optional = {**wanted.embodiment.model_dump(mode="json"), "streams": {"state": {"required": False}}}
        recording = read(folder, Request(embodiment=Embodiment.model_validate(optional), mapping=wanted.mapping))
        assert not recording.streams
        assert any("state is not required and left out" in n for n in recording.notes)

    def test_types_without_a_definition_are_the_standard_ones_and_others_are_named(self, shared_data: Path) -> None:
        path = shared_data / EDGES / "rosbag2_tests/resources/reindex_test_bags/file_compression"
        stream = {"from": "/rosout", "field": "level"}
        recording = read(path, request_of(["level"], stream))
        assert any("no definition of rcl_interfaces/msg/Log; ROS humble's was taken" in n for n in recording.notes)
        assert set(state(recording).values[:, 0].tolist()) <= {10, 20, 30, 40, 50}
        assert len(state(recording).values) > 0


def texts_request(topic: str, field: str | None = None) -> Request:
    """A request for nothing but the texts of a topic, as marks and as instructions."""
    embodiment = {
        "name": "robot",
        "rate_hz": 10,
        "proprioception": [signal_of(["a"])],
        "streams": {"state": {"required": False}},
    }
    label = {"from": topic, "field": field}
    mapping = {"source": "ros_bag", "streams": {}, "split": label, "instruction": label}
    return Request(embodiment=Embodiment.model_validate(embodiment), mapping=Mapping.model_validate(mapping))
