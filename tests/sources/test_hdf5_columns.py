"""Any HDF5 by mapping: times, rates and episodes by options, compared with h5py alone."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError
from vladata.images import decode
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, Source, aloha_hdf5, hdf5_columns, libero_hdf5, robomimic_hdf5
from vladata.units import Clock, Kind, Mode, Unit

source: Source = hdf5_columns

Array = NDArray[Any]

START_NS = 1_767_603_600_123_456_789
HEIGHT, WIDTH = 24, 32


def picture(seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT)), dtype=np.uint8)


def jpeg(seed: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(seed))[1].tobytes())


def write(path: Path, rows: int = 20, frames: int = 6) -> Path:
    """A log of somebody: joints at 100 Hz with names, commands at 50 Hz, a camera with JPEGs of varying length."""
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file.attrs["task"] = "wipe the table"
        file.attrs["result"] = "failure: slipped"
        file["robot/joints"] = rng.normal(size=(rows, 3))
        file["robot/joints"].attrs["columns"] = ["elbow", "wrist", "shoulder"]
        file["robot/time_ns"] = START_NS + 10_000_000 * np.arange(rows)
        file["command/values"] = rng.normal(size=(rows // 2, 2)).astype("f4")
        file["command/t"] = START_NS / 1e9 + 0.02 * np.arange(rows // 2)
        images = file.create_dataset("camera/jpeg", frames, h5py.vlen_dtype(np.uint8))
        for k in range(frames):
            images[k] = np.frombuffer(jpeg(k), np.uint8)
        file["camera/stamp_us"] = (START_NS // 1000 + 33_333 * np.arange(frames)).astype(np.uint64)
        file["note"] = [b"calm"] * rows
    return path


def signal(name: str, names: tuple[str, ...], mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=n, kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for n in names)
    return Signal(name=name, dimensions=dimensions)


ROBOT = Embodiment(
    name="robot",
    rate_hz=10,
    proprioception=(signal("joints", ("shoulder", "elbow", "wrist")),),
    action=(signal("command", ("left", "right"), Mode.ABSOLUTE),),
    cameras=(Camera(name="camera", height=HEIGHT, width=WIDTH),),
    streams={"command": StreamRule(required=False), "camera": StreamRule(required=False)},
)
SOURCES: dict[str, object] = {"joints": "robot/joints", "command": "command/values", "camera": "camera/jpeg"}
TIMES = {
    "time.joints": "robot/time_ns",
    "time.command": "command/t",
    "time.camera": "camera/stamp_us",
    "names.joints": "columns",
}


def request(
    options: Mapping[str, object] | None = None, sources: Mapping[str, object] = SOURCES, **labels: object
) -> Request:
    streams = {n: {"from": s} if isinstance(s, str) else s for n, s in sources.items()}
    mapping = {"source": "hdf5_columns", "streams": streams, "options": dict(options or {}), **labels}
    return Request(embodiment=ROBOT, mapping=SourceMapping.model_validate(mapping))


class Read:
    """One recording, with all frames taken while they can be read."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.frames = {
            n: [bytes(s.frames.read(i)) for i in range(s.num_frames)]
            for n, s in recording.streams.items()
            if isinstance(s, FrameStream)
        }
        self.notes = "\n".join(recording.notes)

    def values(self, name: str) -> Array:
        stream = self.recording.streams[name]
        assert isinstance(stream, Stream)
        return stream.values

    def time_ns(self, name: str) -> list[int]:
        found: list[int] = self.recording.streams[name].time_ns.tolist()
        return found


def read_all(path: Path, wanted: Request) -> list[Read]:
    (place,) = hdf5_columns.places(path)
    return [Read(r) for r in hdf5_columns.read(path, place, wanted)]


def read(path: Path, wanted: Request) -> Read:
    (found,) = read_all(path, wanted)
    return found


JOINTS: dict[str, object] = {"joints": "robot/joints"}


class TestTimes:
    def test_each_stream_has_its_own_clock_names_and_bytes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        found = read(path, request(TIMES))
        with h5py.File(path) as file:
            np.testing.assert_array_equal(found.values("joints"), file["robot/joints"][()][:, [2, 0, 1]])
            np.testing.assert_array_equal(found.values("command"), file["command/values"][()])
            assert found.values("command").dtype == np.float32
            assert found.time_ns("joints") == file["robot/time_ns"][()].tolist()
            assert found.time_ns("camera") == [1000 * int(t) for t in file["camera/stamp_us"][()]]
            # Seconds as float64: the nearest nanosecond of the very number that is stored.
            assert found.time_ns("command") == [round(Fraction(float(t)) * 10**9) for t in file["command/t"][()]]
        assert found.frames["camera"] == [jpeg(k) for k in range(6)]
        assert {s.clock for s in found.recording.streams.values()} == {Clock.UNIX}
        assert found.recording.streams["joints"].clock_choice == "robot/time_ns"
        assert not found.recording.is_stepped
        assert "joints: 3 of 3 elements of robot/joints joined by name" in found.notes
        assert "time: robot/time_ns in ns, clock unix for the stamps lie between 2001 and 2100" in found.notes
        assert "not kept: note" in found.notes

    def test_one_time_for_all_makes_rows_steps(self, tmp_path: Path) -> None:
        path = tmp_path / "log.hdf5"
        with h5py.File(path, "w") as file:
            file["q"], file["u"] = np.zeros((4, 3)), np.ones((4, 2))
            file["t"] = [0.5, 0.6, 0.71, 0.8]
        found = read(path, request({"time": "t"}, {"joints": "q", "command": "u"}))
        assert found.recording.is_stepped
        assert found.time_ns("joints") == [500_000_000, 600_000_000, 710_000_000, 800_000_000]
        assert {s.clock for s in found.recording.streams.values()} == {Clock.MONOTONIC}
        assert "all streams have the same stamps: rows are steps" in found.notes
        assert "t is float64 and nothing says its unit: seconds" in found.notes

    @pytest.mark.parametrize(
        ("unit", "name", "values", "expected"),
        [
            ("", "time_ms", np.array([1, 2, 4]), [10**6, 2 * 10**6, 4 * 10**6]),
            ("us", "time", np.array([1, 2, 4], "u2"), [1000, 2000, 4000]),
            ("ms", "time_ns", np.array([1.5, 2.25, 3]), [1_500_000, 2_250_000, 3_000_000]),
            ("s", "time", np.array([0.1, 0.2, 0.4], "f4"), [100_000_001, 200_000_003, 400_000_006]),
            ("ns", "stamp", np.array([-5, 0, 2**62]), [-5, 0, 2**62]),
            ("", "t", np.array([2.5e-9, 3.5e-9, 1.5]), [round(Fraction(t) * 10**9) for t in (2.5e-9, 3.5e-9, 1.5)]),
            ("", "t", np.array([-1.5, 0, 1e-9])[:, None], [-1_500_000_000, 0, 1]),
        ],
    )
    def test_units_are_said_by_an_option_or_the_name(
        self, tmp_path: Path, unit: str, name: str, values: Array, expected: list[int]
    ) -> None:
        with h5py.File(tmp_path / "log.hdf5", "w") as file:
            file["robot/joints"], file[name] = np.zeros((3, 3)), values
        options = {"time": name, **({"time_unit": unit} if unit else {})}
        assert read(tmp_path / "log.hdf5", request(options, JOINTS)).time_ns("joints") == expected

    @pytest.mark.parametrize(
        ("values", "options", "reason"),
        [
            (
                np.full(3, 1.7e9, "f4"),
                {},
                r"is float32, which counts in steps of 128 s at 1700000000: its 3 rows share 1 ",
            ),
            (np.array([1.7e9, 1.7e9, 1.7e9 + 128], "f4"), {}, "counts in steps of 128 s"),
            (np.full(3, 5.0), {}, "is the same in all 3 rows: no time was recorded"),
            (np.array([1, 2, 3]), {}, r"is int64 and nothing says its unit; say options\.time_unit"),
            (np.array([1, 2]), {"time_unit": "s"}, r"robot/joints has 3 rows, stamps has 2 stamps"),
            (np.array([1.0, np.nan, 2.0]), {}, "is not finite at row 1"),
            (np.array([1.0, 2.0, 1e11]), {}, "beyond the range"),
            (np.array([1, 2, 2**64 - 1], "u8"), {"time_unit": "ns"}, "beyond the range"),
            (np.zeros((3, 2)), {}, "has 2 values in a row; stamps must have one"),
            (np.array([True, False, True]), {"time_unit": "s"}, "is bool; stamps must be numbers"),
            (np.array([b"1", b"2", b"3"]), {}, "must be numbers"),
        ],
    )
    def test_stamps_that_are_no_clock_are_refused_with_the_reason(
        self, tmp_path: Path, values: Array, options: dict[str, object], reason: str
    ) -> None:
        with h5py.File(tmp_path / "log.hdf5", "w") as file:
            file["robot/joints"], file["stamps"] = np.zeros((3, 3)), values
        with pytest.raises(SourceError, match=reason):
            read(tmp_path / "log.hdf5", request({"time": "stamps", **options}, JOINTS))

    def test_equal_and_backward_stamps_are_counted_and_kept(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "log.hdf5", "w") as file:
            file["robot/joints"], file["t"] = np.zeros((5, 3)), [1.0, 1.0, 2.0, 1.5, 3.0]
        found = read(tmp_path / "log.hdf5", request({"time": "t", "clock": "simulated"}, JOINTS))
        assert found.time_ns("joints") == [10**9, 10**9, 2 * 10**9, 15 * 10**8, 3 * 10**9]
        assert found.recording.streams["joints"].clock is Clock.SIMULATED
        assert "t repeats the stamp of the row before in 1 of 5 rows" in found.notes
        assert "t goes backward 1 times" in found.notes

    def test_without_times_rows_are_steps_at_the_option_or_the_schemas_rate(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        for options, period, who in (
            ({}, 100_000_000, "10 Hz, the rate of robot"),
            ({"rate_hz": 25}, 40_000_000, "25 Hz, as options.rate_hz says"),
            ({"time": "none", "rate_hz": 25}, 40_000_000, "25 Hz"),
        ):
            found = read(path, request({**options, "names": "columns"}, JOINTS))
            assert found.recording.streams["joints"].clock is Clock.NOMINAL
            assert found.time_ns("joints") == [period * t for t in range(20)]
            assert found.recording.is_stepped
            assert f"no times are used: stamps are row / {who}" in found.notes

    def test_streams_that_can_not_go_together_name_both(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        with pytest.raises(SourceError, match=r"joints has 20, command has 10, camera has 6 rows; .*must be as many"):
            read(path, request({"names.joints": "columns"}))
        with pytest.raises(SourceError, match=r"joints has stamps, command has none; say options\.time\.command"):
            read(path, request({"time.joints": "robot/time_ns", "names.joints": "columns"}))

    def test_stamps_that_are_not_there_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"no dataset 'robot/clock', which options\.time names"):
            read(write(tmp_path / "log.hdf5"), request({"time": "robot/clock"}, JOINTS))


class TestRecords:
    def test_fields_of_records_are_streams_and_stamps(self, tmp_path: Path) -> None:
        kind = np.dtype([("stamp", "i8"), ("q", "f4", (3,)), ("u", ">f8", (2,)), ("word", "S4")])
        table = np.zeros(7, kind)
        rng = np.random.default_rng(0)
        table["q"], table["u"], table["stamp"] = rng.normal(size=(7, 3)), rng.normal(size=(7, 2)), np.arange(7) * 10
        path = tmp_path / "table.hdf5"
        with h5py.File(path, "w") as file:
            file.create_dataset("log/table", data=table, chunks=(2,), compression="gzip")
        streams = {n: {"from": "log/table", "field": f} for n, f in (("joints", "q"), ("command", "u"))}
        found = read(path, request({"time": "log/table.stamp", "time_unit": "ms"}, streams))
        np.testing.assert_array_equal(found.values("joints"), table["q"])
        np.testing.assert_array_equal(found.values("command"), table["u"])
        assert found.values("command").dtype == np.dtype("=f8")
        assert found.time_ns("joints") == [10_000_000 * t for t in range(7)]
        with pytest.raises(SourceError, match="fields stamp, q, u, word; no field x"):
            read(path, request({}, {"joints": {"from": "log/table", "field": "x"}}))
        with pytest.raises(SourceError, match="must be numbers"):
            read(path, request({}, {"joints": {"from": "log/table", "field": "word"}}))
        with pytest.raises(SourceError, match="is record"):
            read(path, request({}, {"joints": "log/table"}))
        assert [s.field for s in hdf5_columns.inspect(path).streams] == ["stamp", "q", "u", "word"]


class TestNames:
    def test_names_that_do_not_hold_the_schemas_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        with h5py.File(path, "r+") as file:
            file["robot/joints"].attrs["columns"] = ["a", "b", "c"]
        with pytest.raises(SourceError, match=r"names .*a, b, c.*needs .*shoulder"):
            read(path, request({"names": "columns"}, JOINTS))
        found = read(path, request({"names": "columns"}, {"joints": {"from": "robot/joints", "join": "index"}}))
        assert "joined by index" in found.notes

    @pytest.mark.parametrize("value", ['["elbow", "wrist", "shoulder"]', np.array([b"elbow", b"wrist", b"shoulder"])])
    def test_names_are_a_list_or_its_json(self, tmp_path: Path, value: object) -> None:
        path = write(tmp_path / "log.hdf5")
        with h5py.File(path, "r+") as file:
            file["robot/joints"].attrs["columns"] = value
            expected = file["robot/joints"][()][:, [2, 0, 1]]
        np.testing.assert_array_equal(read(path, request({"names": "columns"}, JOINTS)).values("joints"), expected)

    @pytest.mark.parametrize("value", ["elbow, wrist", 3, np.arange(3), "[1, 2]"])
    def test_names_that_are_none_are_refused(self, tmp_path: Path, value: object) -> None:
        path = write(tmp_path / "log.hdf5")
        with h5py.File(path, "r+") as file:
            file["robot/joints"].attrs["columns"] = value
        with pytest.raises(SourceError, match=r"robot/joints@columns is .*; names must be a list of texts"):
            read(path, request({"names": "columns"}, JOINTS))

    def test_common_attribute_that_is_missing_is_a_note_and_a_streams_own_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        assert "joints: robot/joints has no attribute axes" in read(path, request({"names": "axes"}, JOINTS)).notes
        with pytest.raises(SourceError, match="robot/joints@axes is None"):
            read(path, request({"names.joints": "axes"}, JOINTS))


class TestImages:
    def test_raw_padded_and_varying_images_are_one_to_one(self, tmp_path: Path) -> None:
        path = tmp_path / "images.hdf5"
        frames = [jpeg(k) for k in range(4)]
        pixels = np.array([picture(k) for k in range(4)])
        padded = np.zeros((4, max(map(len, frames)) + 9), np.uint8)
        for row, frame in zip(padded, frames, strict=True):
            row[: len(frame)] = np.frombuffer(frame, np.uint8)
        with h5py.File(path, "w") as file:
            file["q"], file["raw"], file["padded"] = np.zeros((4, 3)), pixels, padded
            file.create_dataset("gray", data=pixels[..., 0], chunks=(3, HEIGHT, 5), compression="gzip")
            file.create_dataset("alpha", data=np.concatenate([pixels, pixels[..., :1]], axis=3))
            varying = file.create_dataset("varying", 4, h5py.vlen_dtype(np.uint8))
            for k, frame in enumerate(frames):
                varying[k] = np.frombuffer(frame, np.uint8)
        for name in ("padded", "varying"):
            assert read(path, request({}, {"joints": "q", "camera": name})).frames["camera"] == frames
        for name, form in (("raw", "rgb8"), ("gray", "mono8"), ("alpha", "rgba8")):
            found = read(path, request({}, {"joints": "q", "camera": name}))
            stream = found.recording.streams["camera"]
            assert isinstance(stream, FrameStream)
            assert stream.pixel_format == form
            for data, expected in zip(found.frames["camera"], pixels, strict=True):
                rgb = np.repeat(expected[..., :1], 3, axis=2) if name == "gray" else expected
                np.testing.assert_array_equal(decode(data), rgb)

    def test_camera_has_no_field(self, tmp_path: Path) -> None:
        wanted = request(TIMES, {**SOURCES, "camera": {"from": "camera/jpeg", "field": "x"}})
        with pytest.raises(SourceError, match="cameras have no fields in HDF5"):
            read(write(tmp_path / "log.hdf5"), wanted)


class TestLabels:
    def test_texts_numbers_and_attributes_are_labels(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        labels = {"instruction": {"from": "@task"}, "outcome": {"from": "result"}, "subtask": {"from": "note"}}
        found = read(path, request({"time": "robot/time_ns", "names": "columns"}, JOINTS, **labels)).recording
        assert [(i.text, i.kind) for i in found.instructions] == [("wipe the table", "task"), ("calm", "subtask")]
        assert [(o.kind, o.reason) for o in found.outcomes] == [("failure", "slipped")]

    def test_texts_of_other_rows_than_the_stamps_are_refused(self, tmp_path: Path) -> None:
        wanted = request(TIMES, subtask={"from": "note"})
        path = write(tmp_path / "log.hdf5")
        assert len(read(path, wanted).recording.instructions) == 1
        with h5py.File(path, "r+") as file:
            del file["note"]
            file["note"] = ["a"] * 7
        with pytest.raises(SourceError, match="note has 7 texts; must have one, or one for each of 20 steps"):
            read(path, wanted)


def write_episodes(path: Path, lengths: Mapping[int, int]) -> Path:
    with h5py.File(path, "w") as file:
        file["calibration"] = np.eye(3)
        for number, rows in lengths.items():
            rng = np.random.default_rng(number)
            group = file.create_group(f"runs/traj_{number}")
            group["q"], group["u"] = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
            group["t"] = np.arange(rows) * 0.1 + number
            group.attrs["task"] = f"task {number}"
    return path


class TestEpisodes:
    SOURCES: Mapping[str, object] = {"joints": "q", "command": "u"}

    def test_each_group_of_the_pattern_is_one_in_numeric_order(self, tmp_path: Path) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", {10: 3, 9: 4, 2: 5})
        wanted = request({"episodes": "runs/traj_*", "time": "t"}, self.SOURCES, instruction={"from": "task"})
        found = read_all(path, wanted)
        assert [f.recording.place for f in found] == [f"runs.hdf5#runs/traj_{n:05d}" for n in (2, 9, 10)]
        assert len({f.recording.recording_id for f in found}) == 3
        for one, number in zip(found, (2, 9, 10), strict=True):
            with h5py.File(path) as file:
                group = file[f"runs/traj_{number}"]
                np.testing.assert_array_equal(one.values("joints"), group["q"][()])
                np.testing.assert_array_equal(one.values("command"), group["u"][()])
                expected = [round(Fraction(float(t)) * 10**9) for t in group["t"][()]]
                assert one.time_ns("joints") == expected
            assert [i.text for i in one.recording.instructions] == [f"task {number}"]
            assert not one.recording.is_lossy

    def test_episode_without_a_required_dataset_is_left_out_and_named_by_the_others(self, tmp_path: Path) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", {1: 3, 2: 3})
        with h5py.File(path, "r+") as file:
            del file["runs/traj_2/q"]
        (found,) = read_all(path, request({"episodes": "runs/*"}, self.SOURCES))
        assert found.recording.is_lossy
        assert "1 of 2 episodes of the file are left out: runs/traj_2 has no dataset q for joints" in found.notes
        with h5py.File(path, "r+") as file:
            del file["runs/traj_1/q"]
        with pytest.raises(SourceError, match="no episode of 2 can be read: runs/traj_1 has no dataset q"):
            read_all(path, request({"episodes": "runs/*"}, self.SOURCES))

    def test_paths_from_the_root_are_common_to_all(self, tmp_path: Path) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", {1: 3, 2: 3})
        found = read_all(path, request({"episodes": "runs/*"}, {"joints": "/calibration"}))
        for one in found:
            np.testing.assert_array_equal(one.values("joints"), np.eye(3))
        assert found[0].recording.recording_id != found[1].recording.recording_id

    @pytest.mark.parametrize(
        "pattern", ["runs/demo_*", "calibration", "runs/traj_1/*", "runs/traj_[12]", "runs/../runs"]
    )
    def test_pattern_that_fits_no_group_is_refused(self, tmp_path: Path, pattern: str) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", {1: 3, 2: 3})
        with pytest.raises(SourceError, match=r"fits no group; at the root are calibration, runs"):
            read_all(path, request({"episodes": pattern}, self.SOURCES))

    def test_pattern_of_many_stars_is_refused(self, tmp_path: Path) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", {1: 3})
        with pytest.raises(SchemaError, match="has 4 stars in a name"):
            read_all(path, request({"episodes": "r*u*n*s*/*"}, self.SOURCES))

    def test_many_episodes_need_no_more_memory_than_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_episodes(tmp_path / "runs.hdf5", dict.fromkeys(range(12), 50))
        monkeypatch.setattr("vladata.sources._hdf5.MAX_TOTAL_BYTES", 50 * 6 * 8)
        assert len(read_all(path, request({"episodes": "runs/*", "time": "t"}, self.SOURCES))) == 12
        monkeypatch.setattr("vladata.sources._hdf5.MAX_TOTAL_BYTES", 50 * 6 * 8 - 1)
        with pytest.raises(SourceError, match="together with the others"):
            read_all(path, request({"episodes": "runs/*", "time": "t"}, self.SOURCES))


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"time.nothing": "t"}, r"options\.time\.nothing is not known"),
            ({"time_unit": "min"}, r"options\.time_unit is 'min'; it must be one of s, ms, us, ns"),
            (
                {"clock.joints": "wall"},
                r"options\.clock\.joints is 'wall'; it must be one of unix, monotonic, simulated",
            ),
            ({"rate_hz": -3}, r"options\.rate_hz is -3"),
            ({"episodes": 3}, "must be a text"),
        ],
    )
    def test_wrong_ones_are_refused(self, tmp_path: Path, options: dict[str, object], reason: str) -> None:
        with pytest.raises(SchemaError, match=reason):
            read(write(tmp_path / "log.hdf5"), request(options))


class TestFiles:
    def test_any_hdf5_but_an_episode_of_its_own_is_read_after_all_others(
        self, tmp_path: Path, sample_dataset: Path
    ) -> None:
        path = write(tmp_path / "log.hdf5")
        assert hdf5_columns.can_read(path)
        assert hdf5_columns.IS_GENERAL
        for other in (aloha_hdf5, robomimic_hdf5, libero_hdf5):
            assert not other.can_read(path)
            assert not other.IS_GENERAL
        assert not hdf5_columns.can_read(next(sample_dataset.glob("episodes/*/*.h5")))
        (tmp_path / "text.hdf5").write_text("no")
        for no in (tmp_path, tmp_path / "text.hdf5", tmp_path / "none.hdf5"):
            assert not hdf5_columns.can_read(no)

    def test_user_block_in_front_is_no_hindrance(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "block.hdf5", "w", userblock_size=512) as file:
            file["robot/joints"] = np.ones((2, 3))
        assert hdf5_columns.can_read(tmp_path / "block.hdf5")
        assert read(tmp_path / "block.hdf5", request({}, JOINTS)).values("joints").tolist() == [[1, 1, 1], [1, 1, 1]]

    @pytest.mark.parametrize(
        ("content", "error", "reason"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", SourceError, "a Git LFS pointer"),
            (b"not this", GateError, "not a readable HDF5 file"),
            (b"", GateError, "not a readable HDF5 file"),
        ],
    )
    def test_file_of_the_suffix_that_is_something_else_says_what(
        self, tmp_path: Path, content: bytes, error: type[Exception], reason: str
    ) -> None:
        (tmp_path / "a.hdf5").write_bytes(content)
        assert not hdf5_columns.can_read(tmp_path / "a.hdf5")
        with pytest.raises(error, match=reason):
            hdf5_columns.places(tmp_path / "a.hdf5")

    def test_dataset_without_a_place_for_values_has_none(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.h5")
        with h5py.File(path, "a") as file:
            file["empty_time"] = h5py.Empty("f8")
        assert {s.name: s.count for s in hdf5_columns.inspect(path).streams}["empty_time"] == 0
        with pytest.raises(SourceError, match="empty_time"):
            read_all(path, request({"time": "empty_time"}))

    def test_label_without_values_is_none(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.h5")
        with h5py.File(path, "a") as file:
            file["empty"] = np.zeros(0)
            file["wide"] = np.zeros((0, 3))
        for name in ("empty", "wide"):
            assert read(path, request(TIMES, outcome={"from": name})).recording.outcomes == ()

    def test_file_without_datasets_is_refused(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file.create_group("cam_data")
        with pytest.raises(SourceError, match="holds no dataset"):
            hdf5_columns.places(tmp_path / "a.hdf5")

    def test_inspect_lists_everything_and_what_could_be_a_clock(self, tmp_path: Path) -> None:
        path = write(tmp_path / "log.hdf5")
        with h5py.File(path, "r+") as file:
            file["hand/timestamp"] = np.full(9, 1.7e9, "f4")
            file["phase"] = np.array([1 + 2j]).view("f8")
        found = hdf5_columns.inspect(path)
        kinds = {s.name: s.kind for s in found.streams}
        assert kinds["robot/joints"] == "numeric"
        assert kinds["camera/jpeg"] == "image"
        assert kinds["note"] == kinds["task"] == "text"
        problems = "\n".join(found.problems)
        assert "robot/time_ns is named like stamps: options.time can name it" in problems
        assert "hand/timestamp is float32, which counts in steps of 128 s" in problems


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_streams_come_back_to_the_nanosecond_and_the_byte(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "random.hdf5"
    unit = data.draw(st.sampled_from(["s", "ms", "us", "ns"]))
    factor = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[unit]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    limit = 2**62 // factor
    with h5py.File(path, "w") as file:
        expected: dict[str, list[int]] = {}
        for name in ("joints", "command", "camera"):
            count = data.draw(st.integers(2, 12))
            stamps: list[int] | list[float]
            if data.draw(st.booleans()):
                stamps = data.draw(st.lists(st.integers(-limit, limit), min_size=count, max_size=count, unique=True))
                file[f"{name}_time"] = np.array(stamps, dtype=np.int64)
            else:
                floats = st.floats(-1e9, min(1e9, limit), allow_nan=False)
                stamps = data.draw(st.lists(floats, min_size=count, max_size=count, unique=True))
                file[f"{name}_time"] = np.array(stamps)
            expected[name] = [round(Fraction(t) * factor) for t in stamps]
        joints = rng.normal(size=(len(expected["joints"]), 3)).astype(data.draw(st.sampled_from(["f4", ">f8", "f2"])))
        command = rng.integers(-9, 9, (len(expected["command"]), 2)).astype(data.draw(st.sampled_from(["i2", ">i4"])))
        frames = [jpeg(k) for k in range(len(expected["camera"]))]
        file["joints"], file["command"] = joints, command
        images = file.create_dataset("camera", len(frames), h5py.vlen_dtype(np.uint8))
        for k, frame in enumerate(frames):
            images[k] = np.frombuffer(frame, np.uint8)
    options = {"time_unit": unit, "clock": "unix"} | {f"time.{n}": f"{n}_time" for n in expected}
    found = read(path, request(options, {n: n for n in expected}))
    np.testing.assert_array_equal(found.values("joints"), joints)
    np.testing.assert_array_equal(found.values("command"), command)
    assert found.values("joints").dtype == joints.dtype.newbyteorder("=")
    assert found.frames["camera"] == frames
    for name, stamps in expected.items():
        assert found.time_ns(name) == stamps
        assert found.recording.streams[name].clock is Clock.UNIX


SCHEMA = """
name: robot
rate_hz: 20
proprioception:
  - name: joints
    dimensions: [{name: shoulder, kind: other, unit: '1'}, {name: elbow, kind: other, unit: '1'},
                 {name: wrist, kind: other, unit: '1'}]
action:
  - name: command
    dimensions:
      - {name: left, kind: other, unit: '1', mode: absolute}
      - {name: right, kind: other, unit: '1', mode: absolute}
cameras: [{name: camera, height: 24, width: 32}]
mappings:
  hdf5_columns:
    source: hdf5_columns
    streams:
      joints: {from: robot/joints}
      command: {from: command/values}
      camera: {from: camera/jpeg}
    instruction: {from: task}
    outcome: {from: result}
    options: {time.joints: robot/time_ns, time.command: command/t, time.camera: camera/stamp_us, names.joints: columns}
"""


def test_the_command_synchronizes_streams_on_their_own_clocks(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "log.hdf5", rows=60, frames=18)
    schema, out = tmp_path / "robot.yaml", tmp_path / "dataset"
    schema.write_text(SCHEMA)
    assert cli("inspect", path).returncode == 0
    done = cli("ingest", path, "-s", schema, "-o", out)
    assert done.returncode == 0, done.stderr
    assert cli("validate", out, "--fail-on", "error").returncode == 0
    (file,) = out.glob("episodes/*/*.h5")
    with h5py.File(file) as episode, h5py.File(path) as log:
        np.testing.assert_array_equal(episode["streams/joints/time_ns"][()], log["robot/time_ns"][()])
        np.testing.assert_array_equal(episode["streams/joints/values"][()], log["robot/joints"][()][:, [2, 0, 1]])
        assert episode["streams/camera/frames"][()].tobytes() == b"".join(jpeg(k) for k in range(18))
        assert episode["instructions/text"][0] == b"wipe the table"
        assert episode["outcomes/reason"][0] == b"slipped"
        assert 0 < len(episode["steps/time_ns"]) <= 18
