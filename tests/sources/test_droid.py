"""DROID demonstrations, written here with h5py and PyAV in the layout in which they are recorded."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import SchemaError, SourceError, VladataError
from vladata.ingest import discover
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Place, Request, Source, droid
from vladata.units import Clock, Kind, Mode, Unit

source: Source = droid

ROWS = 8
HEIGHT, WIDTH = 32, 48
START_MS = 1_700_000_000_123
SERIALS = {"wrist": "18026681", "ext1": "22008760", "ext2": "24400334"}
NAME = "Fri_Jul__7_09:42:23_2023"
PERSON = "Ada Lovelace"


def stamps_ms(num_rows: int, offset: int, step: int = 67) -> np.ndarray:
    return START_MS + offset + step * np.arange(num_rows, dtype=np.int64)


def datasets(num_rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """All datasets of a trajectory, by path."""
    random_ = np.random.default_rng(seed)
    state = {"cartesian_position": 6, "joint_positions": 7, "joint_velocities": 7, "gripper_position": 0}
    action = {"cartesian_position": 6, "joint_position": 7, "gripper_position": 0, "joint_velocity": 7}

    def numbers(size: int) -> np.ndarray:
        return random_.normal(size=(num_rows, size) if size else (num_rows,))

    found = {f"observation/robot_state/{n}": numbers(d) for n, d in state.items()}
    found |= {f"action/{n}": numbers(d) for n, d in action.items()}
    found["action/robot_state/joint_positions"] = numbers(7)
    time = "observation/timestamp"
    nanos = (START_MS - 40) * 10**6 + 66_666_667 * np.arange(num_rows, dtype=np.int64) + 11
    found[f"{time}/robot_state/robot_timestamp_seconds"] = nanos // 10**9
    found[f"{time}/robot_state/robot_timestamp_nanos"] = nanos % 10**9
    found[f"{time}/robot_state/read_start"] = stamps_ms(num_rows, 1)
    found[f"{time}/robot_state/read_end"] = stamps_ms(num_rows, 2)
    for k, name in enumerate(("step_start", "policy_start", "sleep_start", "control_start", "step_end")):
        found[f"{time}/control/{name}"] = stamps_ms(num_rows, 10 * k)
    for k, serial in enumerate(SERIALS.values()):
        found[f"{time}/cameras/{serial}_read_start"] = stamps_ms(num_rows, 3)
        found[f"{time}/cameras/{serial}_read_end"] = stamps_ms(num_rows, 6)
        found[f"{time}/cameras/{serial}_frame_received"] = stamps_ms(num_rows, -20 - k)
        found[f"{time}/cameras/{serial}_estimated_capture"] = stamps_ms(num_rows, -50 - k) + 0.25
        found[f"observation/camera_type/{serial}"] = np.full(num_rows, int(k > 0))
        found[f"observation/camera_extrinsics/{serial}_left"] = numbers(6)
    found[f"{time}/skip_action"] = np.zeros(num_rows, dtype=bool)
    found["observation/controller_info/movement_enabled"] = np.ones(num_rows, dtype=bool)
    return found


ATTRIBUTES: dict[str, object] = {
    "time": NAME,
    "robot_serial_number": "295341-1325480",
    "version_number": "1.3",
    "user": PERSON,
    "building": "Gates",
    "scene_id": 4812,
    "current_task": "put the marker in the mug",
    "success": True,
    "failure": False,
}
METADATA: dict[str, object] = {
    "uuid": "IRIS+ef107c48+2023-07-07-09h-42m-23s",
    "lab": "IRIS",
    "user": PERSON,
    "user_id": "ef107c48",
    "date": "2023-07-07",
    "hdf5_path": f"IRIS/success/2023-07-07/{PERSON}/trajectory.h5",
    "building": "Gates",
    "scene_id": 4812,
    "success": True,
    "robot_serial": "panda-295341-1325480",
    "current_task": "put the marker in the mug",
    "trajectory_length": ROWS,
    **{f"{role}_cam_serial": serial for role, serial in SERIALS.items()},
    "wrist_cam_extrinsics": [0.1, 0.2, 0.3, 0, 0, 1.5],
    "left_mp4_path": f"/home/{PERSON}/recordings/MP4/22008760.mp4",
}


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Small h264 videos, by number of frames and a number that makes them different."""
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    made: dict[tuple[int, int], bytes] = {}

    def make(num_frames: int = ROWS, number: int = 0) -> bytes:
        if (num_frames, number) not in made:
            path = tmp_path_factory.mktemp("video") / "video.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=15, options={"bf": "2", "g": "4"})
                stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
                for k in range(num_frames):
                    image = np.full((HEIGHT, WIDTH, 3), (9 * k + 50 * number) % 256, dtype=np.uint8)
                    image[:, : WIDTH // 2, 1] = 128
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(stream.encode())
            made[num_frames, number] = path.read_bytes()
        return made[num_frames, number]

    return make


@pytest.fixture
def demo(tmp_path: Path, mp4: Callable[..., bytes]) -> Callable[..., Path]:
    """Writes a demonstration's folder; datasets, attributes and metadata that are None are left out."""

    def make(
        changed: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        num_rows: int = ROWS,
        num_frames: int | None = None,
        has_metadata: bool = True,
        outcome: str = "success",
    ) -> Path:
        folder = tmp_path / "IRIS" / outcome / "2023-07-07" / NAME
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "recordings" / "MP4").mkdir(parents=True)
        with h5py.File(folder / "trajectory.h5", "w") as file:
            for path, values in {**datasets(num_rows), **(changed or {})}.items():
                if values is not None:
                    file[path] = values
            for name, value in {**ATTRIBUTES, **(attributes or {})}.items():
                if value is not None:
                    file.attrs[name] = value
        if has_metadata:
            said = {k: v for k, v in {**METADATA, **(metadata or {})}.items() if v is not None}
            (folder / f"metadata_{METADATA['uuid']}.json").write_text(json.dumps(said))
        for k, serial in enumerate(SERIALS.values()):
            (folder / "recordings" / "MP4" / f"{serial}.mp4").write_bytes(mp4(num_frames or num_rows, k))
        return folder

    return make


def vector(name: str, size: int, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}_{k}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for k in range(size))
    return Signal(name=name, dimensions=dimensions)


def robot(**rules: StreamRule) -> Embodiment:
    return Embodiment(
        name="franka",
        rate_hz=15,
        proprioception=(vector("joints", 8),),
        action=(vector("action", 7, Mode.ABSOLUTE),),
        cameras=(Camera(name="front", height=HEIGHT, width=WIDTH),),
        streams=rules,
    )


SOURCES: dict[str, Any] = {
    "joints": "observation/robot_state/joint_positions + observation/robot_state/gripper_position",
    "action": "action/joint_position",
    "front": "ext1",
}


def request(embodiment: Embodiment | None = None, streams: dict[str, Any] | None = None, **more: object) -> Request:
    entries = {k: v if isinstance(v, dict) else {"from": v} for k, v in {**SOURCES, **(streams or {})}.items() if v}
    labels: dict[str, object] = {"instruction": {"from": "current_task"}, "outcome": {"from": "success"}, **more}
    mapping = SourceMapping.model_validate({"source": "droid", "streams": entries, **labels})
    return Request(embodiment=embodiment or robot(), mapping=mapping)


def only(path: Path, wanted: Request | None = None) -> Recording:
    (place,) = droid.places(path)
    (recording,) = droid.read(path, place, wanted or request())
    return recording


def values(recording: Recording, name: str) -> np.ndarray:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream.values


def packets(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


class TestDemonstration:
    @pytest.mark.parametrize("is_file", [False, True])
    def test_it_equals_the_files_as_they_are(self, demo: Callable[..., Path], is_file: bool) -> None:
        folder = demo()
        path = folder / "trajectory.h5" if is_file else folder
        assert droid.can_read(path)
        (place,) = droid.places(path)
        assert place.name == NAME
        with h5py.File(folder / "trajectory.h5") as file:
            known: dict[str, np.ndarray] = {p: file[p][()] for p in datasets()}
        state, time = "observation/robot_state", "observation/timestamp"
        for recording in droid.read(path, place, request()):
            expected = np.column_stack([known[f"{state}/joint_positions"], known[f"{state}/gripper_position"]])
            np.testing.assert_array_equal(values(recording, "joints"), expected)
            np.testing.assert_array_equal(values(recording, "action"), known["action/joint_position"])
            robot_ns = known[f"{time}/robot_state/robot_timestamp_seconds"] * 10**9
            robot_ns = robot_ns + known[f"{time}/robot_state/robot_timestamp_nanos"]
            joints = recording.streams["joints"]
            assert joints.time_ns.tolist() == robot_ns.tolist()
            assert joints.receive_time_ns is not None
            assert joints.receive_time_ns.tolist() == (known[f"{time}/robot_state/read_end"] * 10**6).tolist()
            action = recording.streams["action"]
            assert action.time_ns.tolist() == (known[f"{time}/control/control_start"] * 10**6).tolist()
            front = recording.streams["front"]
            assert isinstance(front, FrameStream)
            serial = SERIALS["ext1"]
            captured = known[f"{time}/cameras/{serial}_estimated_capture"]
            assert front.time_ns.tolist() == [int(c) * 10**6 + 250_000 for c in captured]
            mp4 = folder / "recordings" / "MP4" / f"{serial}.mp4"
            assert [bytes(front.frames.read(k)) for k in range(ROWS)] == packets(mp4)
            assert {s.clock for s in recording.streams.values()} == {Clock.UNIX}
            assert (joints.clock_choice, action.clock_choice) == (
                "robot_state/robot_timestamp",
                "control/control_start",
            )
            assert front.clock_choice == f"cameras/{serial}_estimated_capture"
            assert recording.is_stepped
            assert not recording.is_lossy
            assert [i.text for i in recording.instructions] == ["put the marker in the mug"]
            assert [o.kind for o in recording.outcomes] == ["success"]
            assert [f.name for f in recording.files] == [
                "trajectory.h5",
                f"recordings/MP4/{serial}.mp4",
                "metadata_*.json",
            ]

    def test_log_stamps_are_those_of_the_recording_computer(self, demo: Callable[..., Path]) -> None:
        streams = {k: {"from": v, "clock": "log"} for k, v in SOURCES.items()}
        recording = only(demo(), request(streams=streams))
        known = datasets()
        for name, path in {
            "joints": "robot_state/read_end",
            "action": "control/step_start",
            "front": f"cameras/{SERIALS['ext1']}_read_end",
        }.items():
            expected = known[f"observation/timestamp/{path}"] * 10**6
            assert recording.streams[name].time_ns.tolist() == expected.tolist()
            assert recording.streams[name].clock_choice == path

    def test_a_clock_far_from_the_computers_is_said(self, demo: Callable[..., Path]) -> None:
        seconds = datasets()["observation/timestamp/robot_state/robot_timestamp_seconds"] - 7
        recording = only(demo({"observation/timestamp/robot_state/robot_timestamp_seconds": seconds}))
        assert any(n.startswith("joints: robot_state/robot_timestamp is 70") for n in recording.notes)

    @pytest.mark.parametrize("chosen", ["wrist", "18026681", "18026681.mp4", "recordings/MP4/18026681.mp4"])
    def test_cameras_are_named_by_role_serial_or_file(self, demo: Callable[..., Path], chosen: str) -> None:
        recording = only(demo(), request(streams={"front": chosen}))
        assert recording.streams["front"].clock_choice == "cameras/18026681_estimated_capture"

    def test_both_eyes_of_a_camera_are_another_video(
        self, demo: Callable[..., Path], mp4: Callable[..., bytes]
    ) -> None:
        folder = demo()
        (folder / "recordings" / "MP4" / "22008760-stereo.mp4").write_bytes(mp4(ROWS, 3))
        (place,) = droid.places(folder)
        for recording in droid.read(folder, place, request(streams={"front": "ext1-stereo"})):
            stream = recording.streams["front"]
            assert isinstance(stream, FrameStream)
            expected = packets(folder / "recordings" / "MP4" / "22008760-stereo.mp4")
            assert [bytes(stream.frames.read(k)) for k in range(ROWS)] == expected

    def test_without_metadata_the_trajectory_says_which_camera_is_at_the_wrist(self, demo: Callable[..., Path]) -> None:
        folder = demo(has_metadata=False)
        assert (
            only(folder, request(streams={"front": "wrist"}))
            .streams["front"]
            .clock_choice.startswith("cameras/18026681")
        )
        with pytest.raises(SourceError, match=r"nothing says which camera is ext1: .*there are 18026681, 22008760"):
            only(folder)

    def test_a_missing_dataset_names_those_there_are(self, demo: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"^joints: no dataset 'qpos'; there are action/cartesian_position"):
            only(demo(), request(streams={"joints": "qpos"}))

    def test_options_are_none(self, demo: Callable[..., Path]) -> None:
        with pytest.raises(SchemaError, match=r"options\.rate is not known to droid; it has none"):
            only(demo(), request(options={"rate": 1}))


class TestPeople:
    def test_names_of_people_are_not_copied(self, demo: Callable[..., Path]) -> None:
        recording = only(demo())
        assert recording.metadata == {
            "lab": "IRIS",
            "building": "Gates",
            "scene_id": "4812",
            "robot_serial": "panda-295341-1325480",
            "droid_version": "1.3",
            **{f"{role}_cam_serial": serial for role, serial in SERIALS.items()},
            "wrist_cam_extrinsics": "[0.1, 0.2, 0.3, 0, 0, 1.5]",
        }
        everything = repr(
            (recording.metadata, recording.notes, recording.files, recording.place, recording.instructions)
        )
        assert PERSON not in everything
        assert "ef107c48" not in everything
        (left,) = [n for n in recording.notes if n.startswith("not copied")]
        assert left.startswith("not copied, for they say who recorded: user, user_id, uuid; not copied: date, hdf5_")

    def test_nor_does_inspect_show_them(self, demo: Callable[..., Path]) -> None:
        inspection = droid.inspect(demo())
        assert PERSON not in repr(inspection)
        assert "ef107c48" not in repr(inspection)
        assert ("lab", "IRIS") in inspection.facts


class TestLabels:
    def test_the_folder_says_the_outcome_where_nothing_else_does(self, demo: Callable[..., Path]) -> None:
        silent = {"success": None, "failure": None}
        folder = demo(attributes=silent, metadata=silent, outcome="failure")
        recording = only(folder)
        assert [o.kind for o in recording.outcomes] == ["failure"]
        assert "outcome: failure by the folder that it lies in" in recording.notes

    def test_a_folder_that_says_otherwise_is_named(self, demo: Callable[..., Path]) -> None:
        recording = only(demo(outcome="failure"))
        assert [o.kind for o in recording.outcomes] == ["success"]
        assert "outcome: success as recorded; the folder says failure" in recording.notes

    @pytest.mark.parametrize(("flag", "kind"), [(False, "success"), (True, "failure")])
    def test_the_flag_of_failure_can_be_mapped(self, demo: Callable[..., Path], flag: bool, kind: str) -> None:
        recording = only(demo(attributes={"failure": flag}), request(outcome={"from": "failure"}))
        assert [o.kind for o in recording.outcomes] == [kind]

    def test_a_task_that_nobody_wrote_is_a_note(self, demo: Callable[..., Path]) -> None:
        recording = only(demo(attributes={"current_task": None}, metadata={"current_task": None}))
        assert recording.instructions == ()
        assert "task: neither trajectory.h5 nor the metadata says current_task" in recording.notes


class TestRows:
    def test_skipped_rows_are_left_out_and_counted(self, demo: Callable[..., Path]) -> None:
        skip = np.zeros(ROWS, dtype=bool)
        skip[[0, 3]] = True
        folder = demo({"observation/timestamp/skip_action": skip})
        embodiment = robot(front=StreamRule(required=False))
        recording = only(folder, request(embodiment, {"front": None}))
        known = datasets()
        np.testing.assert_array_equal(values(recording, "action"), known["action/joint_position"][~skip])
        expected = known["observation/timestamp/control/control_start"][~skip] * 10**6
        assert recording.streams["action"].time_ns.tolist() == expected.tolist()
        assert recording.is_stepped
        assert "2 of 8 rows are skipped (skip_action): their numbers are left out" in recording.notes

    def test_a_video_keeps_the_frames_of_skipped_rows_and_is_joined_by_time(self, demo: Callable[..., Path]) -> None:
        skip = np.zeros(ROWS, dtype=bool)
        skip[2] = True
        recording = only(demo({"observation/timestamp/skip_action": skip}))
        assert not recording.is_stepped
        assert len(recording.streams["front"].time_ns) == ROWS
        assert len(recording.streams["action"].time_ns) == ROWS - 1
        assert "videos keep the frames of skipped rows, so that steps are joined by time" in recording.notes

    def test_a_trajectory_of_skipped_rows_is_refused(self, demo: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"all 8 rows are skipped"):
            only(demo({"observation/timestamp/skip_action": np.ones(ROWS, dtype=bool)}))

    @pytest.mark.parametrize("count", [0, 5])
    def test_datasets_of_different_lengths_are_refused(self, demo: Callable[..., Path], count: int) -> None:
        with pytest.raises(SourceError, match=rf"have {count}, 8 rows; must have as many each"):
            only(demo({"action/joint_position": np.zeros((count, 7))}))

    def test_stamps_that_say_nothing_give_way_to_the_next(self, demo: Callable[..., Path]) -> None:
        time = "observation/timestamp/robot_state"
        zeros = np.zeros(ROWS, dtype=np.int64)
        changed = {f"{time}/robot_timestamp_seconds": zeros, f"{time}/robot_timestamp_nanos": zeros}
        recording = only(demo(changed))
        assert recording.streams["joints"].clock_choice == "robot_state/read_end"
        assert "robot_state/robot_timestamp is the same in all 8 rows: it holds no time" in recording.notes
        recording = only(demo({**changed, f"{time}/read_end": zeros}))
        assert recording.streams["joints"].clock is Clock.NOMINAL
        with pytest.raises(SourceError, match=r"there are no stamps robot_state/robot_timestamp; say clock: log"):
            only(demo(changed), request(streams={"joints": {"from": SOURCES["joints"], "clock": "header"}}))


class TestVideos:
    def test_a_video_with_other_frames_than_rows_is_refused(self, demo: Callable[..., Path]) -> None:
        folder = demo(num_frames=ROWS - 1)
        with pytest.raises(SourceError, match=r"22008760\.mp4 has 7 frames; the trajectory has 8 rows"):
            only(folder)
        recording = only(folder, request(robot(front=StreamRule(required=False))))
        assert set(recording.streams) == {"joints", "action"}
        assert recording.is_lossy
        assert any(n.startswith("front is left out: recordings/MP4/22008760.mp4 has 7 frames") for n in recording.notes)

    def test_a_frame_that_was_dropped_is_seen_in_frame_received(self, demo: Callable[..., Path]) -> None:
        path = f"observation/timestamp/cameras/{SERIALS['ext1']}_frame_received"
        received = datasets()[path]
        received[4] = received[3]
        with pytest.raises(SourceError, match=r"frame_received stands still or goes back in 1 rows, first in row 4"):
            only(demo({path: received}))

    def test_svo_alone_is_named_and_the_numbers_come_in(self, demo: Callable[..., Path]) -> None:
        folder = demo()
        shutil.rmtree(folder / "recordings" / "MP4")
        (folder / "recordings" / "SVO").mkdir()
        for serial in SERIALS.values():
            (folder / "recordings" / "SVO" / f"{serial}.svo").write_bytes(b"SVO")
        assert droid.can_read(folder)
        with pytest.raises(
            SourceError, match=r"^front: recordings/MP4/22008760\.mp4 is not there, only .*SVO is not read"
        ):
            only(folder)
        embodiment = robot(front=StreamRule(required=False))
        recording = only(folder, request(embodiment))
        assert (set(recording.streams), recording.is_lossy) == ({"joints", "action"}, True)
        assert not only(folder, request(embodiment, {"front": None})).is_lossy
        assert any(p.startswith("SVO is not read: recordings/SVO/18026681.svo") for p in droid.inspect(folder).problems)


class TestInspect:
    def test_it_offers_datasets_videos_and_texts(self, demo: Callable[..., Path]) -> None:
        inspection = droid.inspect(demo())
        by_name = {s.name: s for s in inspection.streams}
        assert by_name["observation/robot_state/joint_positions"].shape == (7,)
        assert by_name["observation/robot_state/joint_positions"].clock_choice == "robot_state/robot_timestamp"
        assert {s.name for s in inspection.streams if s.kind == "video"} == {"wrist", "ext1", "ext2"}
        assert by_name["ext1"].time_ns[0] == stamps_ms(1, -51)[0] * 10**6 + 250_000
        assert {s.name for s in inspection.streams if s.kind == "text"} == {"current_task", "success"}
        assert inspection.rate_hz == 15


@st.composite
def changes(draw: st.DrawFn) -> tuple[int, list[int], list[list[float]], list[int]]:
    rows = draw(st.integers(1, 6))
    number = st.floats(allow_nan=False)
    steps = draw(st.lists(st.integers(1, 10**9), min_size=rows, max_size=rows))
    joints = draw(st.lists(st.lists(number, min_size=7, max_size=7), min_size=rows, max_size=rows))
    return rows, steps, joints, draw(st.lists(st.integers(1, 500), min_size=rows, max_size=rows))


class TestRoundTrip:
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(change=changes())
    def test_what_is_written_is_what_is_read(
        self, change: tuple[int, list[int], list[list[float]], list[int]], demo: Callable[..., Path]
    ) -> None:
        rows, steps, joints, capture = change
        robot_ns = np.cumsum(steps) + START_MS * 10**6
        captured = START_MS + np.cumsum(capture)
        time = "observation/timestamp"
        folder = demo(
            {
                "observation/robot_state/joint_positions": np.array(joints),
                f"{time}/robot_state/robot_timestamp_seconds": robot_ns // 10**9,
                f"{time}/robot_state/robot_timestamp_nanos": robot_ns % 10**9,
                f"{time}/cameras/{SERIALS['ext1']}_estimated_capture": captured,
            },
            num_rows=rows,
        )
        embodiment = robot().model_copy(update={"proprioception": (vector("joints", 7),)})
        wanted = request(embodiment, {"joints": "observation/robot_state/joint_positions"})
        for recording in droid.read(folder, Place(name=NAME), wanted):
            assert values(recording, "joints").tobytes() == np.array(joints).tobytes()
            if rows > 1:
                assert recording.streams["joints"].time_ns.tolist() == robot_ns.tolist()
                assert recording.streams["front"].time_ns.tolist() == (captured * 10**6).tolist()
            stream = recording.streams["front"]
            assert isinstance(stream, FrameStream)
            mp4 = folder / "recordings" / "MP4" / f"{SERIALS['ext1']}.mp4"
            assert [bytes(stream.frames.read(k)) for k in range(rows)] == packets(mp4)

    def test_mutated_files_are_read_or_refused_in_one_line(self, demo: Callable[..., Path]) -> None:
        folder = demo()
        random_ = random.Random(3)
        files = [
            folder / "trajectory.h5",
            folder / f"metadata_{METADATA['uuid']}.json",
            folder / "recordings" / "MP4" / "22008760.mp4",
        ]
        refused = 0
        for k in range(90):
            file = files[k % 3]
            data = file.read_bytes()
            file.write_bytes(mutated(data, random_))
            droid.can_read(folder)
            for act in (droid.inspect, only):
                reason = refusal(act, folder)
                refused += bool(reason)
                assert "\n" not in reason
            file.write_bytes(data)
        assert refused > 25


def refusal(act: Callable[..., object], path: Path) -> str:
    """The library's error; anything else passes."""
    try:
        act(path)
    except VladataError as error:
        return str(error)
    return ""


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Flip, cut or splice."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        place = random_.randrange(len(changed) or 1)
        kind = random_.randrange(4)
        if kind <= 1 and changed:
            changed[place] ^= 1 << random_.randrange(8)
        elif kind == 2:
            del changed[place : place + random_.randint(1, 200)]
        else:
            changed[place:place] = changed[place // 2 : place // 2 + 60]
    return bytes(changed)


class TestCommand:
    def test_from_inspect_to_validate(self, demo: Callable[..., Path], tmp_path: Path, cli: Callable[..., Any]) -> None:
        rows = 40
        wave = np.sin(np.arange(rows)[:, None] / 20 + np.arange(7))
        folder = demo(
            {
                "observation/robot_state/joint_positions": wave,
                "observation/robot_state/gripper_position": wave[:, 0],
                "action/joint_position": wave + 0.01,
            },
            num_rows=rows,
        )
        found = discover(tmp_path / "IRIS")
        assert [(f.source, f.path) for f in found.found] == [("droid", folder)]
        assert not found.rejected
        schema, mapping = tmp_path / "franka.yaml", tmp_path / "mapping.yaml"
        body = {
            "name": "franka",
            "rate_hz": 15,
            "proprioception": [vector("joint_positions", 7).model_dump(mode="json", exclude_defaults=True)],
            "action": [vector("joint_position", 7, Mode.ABSOLUTE).model_dump(mode="json", exclude_defaults=True)],
            "cameras": [{"name": "ext1", "height": HEIGHT, "width": WIDTH}],
        }
        schema.write_text(yaml.safe_dump(body))
        done = cli("inspect", folder, "--schema", schema, "--write-mapping", mapping)
        assert done.returncode == 0, done.stderr
        written = yaml.safe_load(mapping.read_text())
        assert written["streams"]["ext1"]["from"] == "ext1"
        assert written["streams"]["joint_positions"]["from"] == "observation/robot_state/joint_positions"
        assert written["instruction"]["from"] == "current_task"
        dataset = tmp_path / "dataset"
        done = cli("ingest", tmp_path / "IRIS", "--schema", schema, "--mapping", mapping, "-o", dataset)
        assert done.returncode == 0, done.stderr
        import vladata

        (episode,) = list(vladata.open(dataset))
        assert len(episode) == rows
        assert [i.text for i in episode.instructions] == ["put the marker in the mug"]
        assert PERSON not in repr((episode.metadata, episode.provenance))
        done = cli("validate", dataset, "--fail-on", "error")
        assert done.returncode == 0, done.stdout
