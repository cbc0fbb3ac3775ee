"""LeRobot v2 datasets: a real one, and small ones written here with the oddities of others."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SourceError, VladataError
from vladata.mapping import LabelMapping, OutcomeMapping, StreamMapping, load_schema
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Instruction, Outcome, Recording, Stream
from vladata.sources import Place, Request, Source, lerobot_v2
from vladata.sources._lerobot_info import element_names
from vladata.units import Clock, Kind, Mode, Unit

source: Source = lerobot_v2

Changes = dict[str, object]

FPS = 10
ROWS = 6
HEIGHT, WIDTH = 48, 64
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 99\n"
VIDEO_KEY = "observation.images.front"
VIDEO = f"videos/chunk-000/{VIDEO_KEY}/episode_000000.mp4"
PARQUET = "data/chunk-000/episode_000000.parquet"


def signal(name: str, mode: Mode | None = None) -> Signal:
    names = ("a", "b")
    return Signal(
        name=name, dimensions=tuple(Dimension(name=n, kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for n in names)
    )


TOY = Embodiment(
    name="toy",
    rate_hz=FPS,
    proprioception=(signal("state"),),
    action=(signal("action", Mode.ABSOLUTE),),
    cameras=(Camera(name="front", height=HEIGHT, width=WIDTH),),
)


def request(embodiment: Embodiment = TOY, **changes: object) -> Request:
    sources = {"state": "observation.state", "action": "action", "front": VIDEO_KEY}
    sources |= {k: str(v) for k, v in changes.items() if k in sources}
    labels = {"instruction": LabelMapping(source="task_index")}
    labels |= {k: v for k, v in changes.items() if k not in sources}  # type: ignore[misc]
    streams = {k: StreamMapping(source=v) for k, v in sources.items() if v}
    mapping = SourceMapping.model_validate({"source": "lerobot_v2", "streams": streams, **labels})
    return Request(embodiment=embodiment, mapping=mapping)


def columns(num_rows: int = ROWS) -> dict[str, object]:
    rows = np.arange(num_rows)
    return {
        "observation.state": [[k / 3, -k / 7] for k in range(num_rows)],
        "action": [[float(k), float(-k)] for k in range(num_rows)],
        "timestamp": (rows / FPS).astype(np.float32),
        "frame_index": rows,
        "episode_index": np.zeros(num_rows, dtype=np.int64),
        "index": rows,
        "task_index": np.zeros(num_rows, dtype=np.int64),
    }


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Small h264 videos, by number of frames."""
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    made: dict[tuple[int, int], bytes] = {}

    def make(num_frames: int = ROWS, rate: int = FPS) -> bytes:
        if (num_frames, rate) not in made:
            path = tmp_path_factory.mktemp("video") / "video.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=rate, options={"bf": "2", "g": "4"})
                stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
                for k in range(num_frames):
                    image = np.full((HEIGHT, WIDTH, 3), 10 * k, dtype=np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(stream.encode())
            made[num_frames, rate] = path.read_bytes()
        return made[num_frames, rate]

    return make


@pytest.fixture
def toy(tmp_path: Path, mp4: Callable[..., bytes]) -> Callable[..., Path]:
    """Writes a dataset of one episode, with changes; columns that are None are left out."""

    def make(
        changed: Changes | None = None,
        info: Changes | None = None,
        tasks: Sequence[str] = ("stack the cups", "unstack the cups"),
        num_rows: int = ROWS,
    ) -> Path:
        root = tmp_path / "toy_dataset"
        declared: Changes = {
            "codebase_version": "v2.1",
            "robot_type": "toy_arm",
            "total_episodes": 1,
            "total_frames": num_rows,
            "chunks_size": 1000,
            "fps": FPS,
            "splits": {"train": "0:1"},
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": {
                "observation.state": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
                "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
                VIDEO_KEY: {
                    "dtype": "video",
                    "shape": [HEIGHT, WIDTH, 3],
                    "names": ["height", "width", "channels"],
                    "info": {"video.codec": "h264", "video.fps": FPS},
                },
                "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            },
            **(info or {}),
        }
        write(root / "meta" / "info.json", json.dumps({k: v for k, v in declared.items() if v is not None}).encode())
        lines = [json.dumps({"task_index": k, "task": t}) for k, t in enumerate(tasks)]
        write(root / "meta" / "tasks.jsonl", "\n".join(lines).encode())
        write(
            root / "meta" / "episodes.jsonl",
            json.dumps(
                {"episode_index": 0, "tasks": ["stack the cups"], "length": num_rows, "grade": "fail: slow"}
            ).encode(),
        )
        table = {**columns(num_rows), **(changed or {})}
        parquet(root / PARQUET, {k: v for k, v in table.items() if v is not None})
        write(root / VIDEO, mp4(num_rows))
        return root

    return make


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def parquet(path: Path, table: Changes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)


def only(root: Path, wanted: Request | None = None) -> Recording:
    (recording,) = lerobot_v2.read(root, Place(name="episode_000000"), wanted or request())
    return recording


def values(recording: Recording, name: str) -> np.ndarray:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream.values


def camera(recording: Recording, name: str = "front") -> FrameStream:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    return stream


# ------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def g1(shared_data: Path) -> Path:
    return shared_data / "g1_inspire_lerobot_v21"


@pytest.fixture(scope="module")
def g1_request() -> Request:
    schema = load_schema("unitree_g1_inspire")
    mapping = schema.mapping_for("lerobot_v2")
    assert mapping is not None
    return Request(embodiment=schema.embodiment, mapping=mapping)


class TestG1:
    def test_the_episode_that_has_its_video_equals_the_source(self, g1: Path, g1_request: Request) -> None:
        av = pytest.importorskip("av", reason="the extra 'video' is not installed")
        table = pq.read_table(g1 / "data" / "chunk-000" / "episode_000001.parquet")
        video = g1 / "videos" / "chunk-000" / "observation.images.cam_high" / "episode_000001.mp4"
        with av.open(str(video)) as container:
            packets = [bytes(p) for p in container.demux(video=0) if p.size]
        for recording in lerobot_v2.read(g1, Place(name="episode_000001"), g1_request):
            assert recording.is_stepped
            for name, column in (("state", "observation.state"), ("action", "action")):
                found = values(recording, name)
                assert found.dtype == np.float32
                assert found.shape == (393, 26)
                for k, row in enumerate(table[column].to_pylist()):
                    assert found[k].tolist() == row
            stream = camera(recording, "cam_high")
            assert (stream.codec, stream.height, stream.width) == ("av1", 480, 640)
            assert stream.num_frames == len(packets) == 393
            assert [bytes(stream.frames.read(k)) for k in range(393)] == packets
            assert recording.instructions == (Instruction(text="Pick up the yellow bottle on the table."),)
            assert {s.clock for s in recording.streams.values()} == {Clock.NOMINAL}
            assert stream.time_ns.tolist() == [round(k * 1e9 / 30) for k in range(393)]
            assert recording.metadata["split"] == "train"

    def test_episodes_without_their_video_are_named_with_the_file(self, g1: Path, g1_request: Request) -> None:
        places = lerobot_v2.places(g1)
        assert [p.name for p in places] == [f"episode_{k:06d}" for k in range(100)]
        missing = 0
        for place in places:
            if place.name == "episode_000001":
                continue
            with pytest.raises(
                SourceError,
                match=rf"^videos/chunk-000/observation\.images\.cam_high/{place.name}\.mp4 is not there$",
            ):
                list(lerobot_v2.read(g1, place, g1_request))
            missing += 1
        assert missing == 99

    def test_a_camera_that_need_not_be_there_is_left_out_with_a_note(self, g1: Path, g1_request: Request) -> None:
        embodiment = g1_request.embodiment.model_copy(update={"streams": {"cam_high": StreamRule(required=False)}})
        wanted = Request(embodiment=embodiment, mapping=g1_request.mapping)
        lengths = [json.loads(line)["length"] for line in (g1 / "meta" / "episodes.jsonl").read_text().splitlines()]
        for k in (0, 50, 99):
            (recording,) = lerobot_v2.read(g1, Place(name=f"episode_{k:06d}"), wanted)
            assert set(recording.streams) == {"state", "action"}
            assert len(values(recording, "state")) == lengths[k]
            assert "cam_high: the episode has no observation.images.cam_high" in recording.notes

    def test_inspect_describes_an_episode_that_is_whole(self, g1: Path) -> None:
        inspection = lerobot_v2.inspect(g1)
        assert inspection.looked_at == "episode_000001"
        assert inspection.rate_hz == 30
        by_name = {s.name: s for s in inspection.streams}
        video = by_name["observation.images.cam_high"]
        assert (video.kind, video.codec, video.count, video.shape) == ("video", "av1", 393, (480, 640, 3))
        assert by_name["action"].element_names[0] == "kLeftShoulderPitch"
        assert by_name["action"].shape == (26,)
        assert inspection.problems[0].startswith("99 of 100 videos of observation.images.cam_high are not there")

    def test_a_dataset_without_parquet_files_names_them(self, shared_data: Path) -> None:
        root = shared_data / "so101_wrist_lerobot_v21_nodata"
        assert lerobot_v2.can_read(root)
        places = lerobot_v2.places(root)
        assert len(places) == 5
        for place in places:
            with pytest.raises(SourceError, match=rf"^data/chunk-000/{place.name}\.parquet is not there$"):
                list(lerobot_v2.read(root, place, request()))
        inspection = lerobot_v2.inspect(root)
        assert inspection.problems[0] == "no episode can be read; what follows is as declared"
        assert "5 of 5 parquet files are not there, first data/chunk-000/episode_000000.parquet" in inspection.problems
        video = {s.name: s for s in inspection.streams}["observation.images.follower_wrist"]
        assert (video.kind, video.codec, video.count, video.shape) == ("video", "av1", 775, (480, 640, 3))

    def test_version_3_is_refused_with_both_versions(self, shared_data: Path) -> None:
        root = shared_data / "rebot_devarm_lerobot_v30"
        for attempt in (lerobot_v2.places, lerobot_v2.inspect):
            with pytest.raises(SourceError, match=r"codebase_version v3\.0; this reads v2\.0 and v2\.1$"):
                attempt(root)

    def test_other_folders_are_not_lerobot(self, shared_data: Path) -> None:
        others = [p for p in shared_data.iterdir() if "lerobot" not in p.name]
        assert others
        assert not any(lerobot_v2.can_read(p) for p in others)
        assert not lerobot_v2.can_read(shared_data / "g1_inspire_lerobot_v21" / "meta" / "info.json")


# ------------------------------------------------------------------- rows


class TestRows:
    def test_rows_pass_through_by_their_number(self, toy: Callable[..., Path]) -> None:
        recording = only(toy())
        assert values(recording, "state").tolist() == columns()["observation.state"]
        assert values(recording, "action").tolist() == columns()["action"]
        assert camera(recording).time_ns.tolist() == [k * 100_000_000 for k in range(ROWS)]
        assert "timestamp is frame_index / 10 fps: no time was recorded" in recording.notes
        assert "not kept: index" in recording.notes

    def test_version_2_0_is_read_too(self, toy: Callable[..., Path]) -> None:
        assert only(toy(info={"codebase_version": "v2.0"})).metadata["codebase_version"] == "v2.0"

    def test_recorded_stamps_are_kept_on_a_monotonic_clock(self, toy: Callable[..., Path]) -> None:
        stamps = np.array([0.0, 0.1, 0.25, 0.3, 0.4, 0.55])
        recording = only(toy({"timestamp": stamps}))
        assert camera(recording).clock is Clock.MONOTONIC
        assert camera(recording).time_ns.tolist() == [0, 100000000, 250000000, 300000000, 400000000, 550000000]

    @pytest.mark.parametrize(("off_by", "clock"), [(0.5, Clock.NOMINAL), (1000.0, Clock.MONOTONIC)])
    def test_nominal_is_what_float32_rounding_explains(
        self, toy: Callable[..., Path], off_by: float, clock: Clock
    ) -> None:
        rows = np.arange(ROWS) / FPS
        stamps = (rows + off_by * float(np.spacing(np.float32(rows[-1])))).astype(np.float64)
        assert camera(only(toy({"timestamp": stamps}))).clock is clock

    def test_constant_stamps_give_the_row_number_with_a_note(self, toy: Callable[..., Path]) -> None:
        recording = only(toy({"timestamp": np.full(ROWS, 1.7e9, dtype=np.float32)}))
        assert camera(recording).clock is Clock.NOMINAL
        assert any("timestamp is 1.7e+09 in every row" in n for n in recording.notes)

    def test_no_stamps_give_the_row_number_with_a_note(self, toy: Callable[..., Path]) -> None:
        recording = only(toy({"timestamp": None, "frame_index": None}))
        assert camera(recording).time_ns.tolist() == [k * 100_000_000 for k in range(ROWS)]
        assert any("no timestamps are recorded" in n for n in recording.notes)

    def test_frame_index_that_begins_later_is_kept(self, toy: Callable[..., Path]) -> None:
        rows = np.arange(40, 40 + ROWS)
        recording = only(toy({"frame_index": rows, "timestamp": (rows / FPS).astype(np.float32)}))
        assert camera(recording).clock is Clock.NOMINAL
        assert camera(recording).time_ns[0] == 4_000_000_000
        assert "frame_index begins at 40" in recording.notes

    def test_stamps_that_are_not_finite_are_an_error(self, toy: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match="episode_000000: column timestamp is not one finite number"):
            only(toy({"timestamp": np.full(ROWS, np.nan)}))

    def test_row_without_values_is_nan_and_named(self, toy: Callable[..., Path]) -> None:
        rows: list[list[float | None] | None] = [[1.0, 2.0], None, [], [3.0, None], [4.0, 5.0], [6.0, 7.0]]
        column = pa.array(rows, type=pa.list_(pa.float32()))
        recording = only(toy({"action": column}))
        expected = [[1, 2], [np.nan] * 2, [np.nan] * 2, [3, np.nan], [4, 5], [6, 7]]
        assert np.array_equal(values(recording, "action"), np.array(expected), equal_nan=True)
        assert "action: 3 rows have missing values, which are nan: 1, 2, 3" in recording.notes

    def test_fixed_lists_with_missing_rows_are_nan_too(self, toy: Callable[..., Path]) -> None:
        column = pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0], None, [7.0, 8.0]], type=pa.list_(pa.float64(), 2))
        found = values(only(toy({"action": column})), "action")
        assert np.isnan(found).any(axis=1).tolist() == [False, True, False, False, True, False]
        assert found[2].tolist() == [3, 4]

    def test_rows_of_different_length_are_an_error(self, toy: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=f"{PARQUET}: action has 2 values at first and 3 .* at row 4"):
            only(toy({"action": [[0.0, 1.0]] * 4 + [[0.0, 1.0, 2.0], [0.0, 1.0]]}))

    def test_columns_of_numbers_are_vectors_of_one(self, toy: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"frame_index has shape \[1\] .*; state must have \[2\] \(a, b\)"):
            only(toy(), request(state="frame_index"))

    def test_two_columns_of_one_name_are_refused_by_it(self, toy: Callable[..., Path]) -> None:
        root = toy()
        table = pq.read_table(root / PARQUET)
        pq.write_table(table.append_column("action", table.column("action")), root / PARQUET)
        with pytest.raises(SourceError, match="column 'action' comes twice; names must differ"):
            only(root)
        assert any("column 'action' comes twice" in p for p in lerobot_v2.inspect(root).problems)

    def test_missing_column_names_it_and_those_that_are_there(self, toy: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"no column 'observation.pose'; there are observation.state, action, "):
            only(toy(), request(state="observation.pose"))

    def test_columns_are_joined_by_name_where_all_are_named(self, toy: Callable[..., Path]) -> None:
        features = {"action": {"dtype": "float32", "shape": [2], "names": {"motors": ["b", "a"]}}}
        recording = only(toy(info={"features": features}), request(front=""))
        assert values(recording, "action").tolist() == [[float(-k), float(k)] for k in range(ROWS)]

    @pytest.mark.parametrize(
        ("names", "found"),
        [
            (["a", "b"], ("a", "b")),
            ([["a", "b"]], ("a", "b")),
            ({"motors": ["a", "b"]}, ("a", "b")),
            ({"left": ["a"], "right": ["b"]}, ("a", "b")),
            ({"b": 1, "a": 0}, ("a", "b")),
            (None, ()),
            ([1, 2], ()),
            ({"a": 7}, ()),
        ],
    )
    def test_names_of_elements_in_all_their_forms(self, names: object, found: tuple[str, ...]) -> None:
        assert element_names(names) == found


# ------------------------------------------------------------------- labels and notes


class TestLabels:
    def test_task_that_changes_becomes_timed_instructions(self, toy: Callable[..., Path]) -> None:
        recording = only(toy({"task_index": np.array([0, 0, 1, 1, 1, 0])}))
        assert recording.instructions == (
            Instruction(text="stack the cups", time_ns=0, end_ns=200_000_000),
            Instruction(text="unstack the cups", time_ns=200_000_000, end_ns=500_000_000),
            Instruction(text="stack the cups", time_ns=500_000_000),
        )

    def test_task_that_is_not_listed_is_a_note(self, toy: Callable[..., Path]) -> None:
        recording = only(toy({"task_index": np.full(ROWS, 7)}))
        assert recording.instructions == ()
        assert "task_index: 7 not in meta/tasks.jsonl, or without a text" in recording.notes

    def test_texts_in_a_column_are_instructions(self, toy: Callable[..., Path]) -> None:
        root = toy({"note": ["reach"] * 4 + ["grasp"] * 2})
        recording = only(root, request(subtask=LabelMapping(source="note")))
        assert [i.text for i in recording.instructions if i.kind == "subtask"] == ["reach", "grasp"]

    @pytest.mark.parametrize(
        ("mapping", "outcome"),
        [
            (OutcomeMapping(source="next.success"), Outcome(kind="success")),
            (OutcomeMapping(source="grade"), Outcome(kind="failure", reason="slow")),
        ],
    )
    def test_outcome_is_the_last_value_of_a_column_or_that_of_the_episode(
        self, toy: Callable[..., Path], mapping: OutcomeMapping, outcome: Outcome
    ) -> None:
        root = toy({"next.success": [False] * 5 + [True]})
        assert only(root, request(outcome=mapping)).outcomes == (outcome,)

    def test_declarations_that_differ_from_the_data_are_notes(
        self, toy: Callable[..., Path], mp4: Callable[..., bytes]
    ) -> None:
        features: Changes = {
            "observation.state": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
            "action": {"dtype": "float32", "shape": [2], "names": None},
            VIDEO_KEY: {"dtype": "video", "shape": [3, 480, 640], "info": {"video.codec": "av1"}},
        }
        root = toy({"episode_index": np.full(ROWS, 3)}, info={"features": features})
        write(root / "meta" / "episodes.jsonl", b'{"episode_index": 0, "length": 99}\n')
        write(root / VIDEO, mp4(ROWS, 25))
        notes = "\n".join(only(root).notes)
        assert f"meta/episodes.jsonl declares 99 steps; the parquet file has {ROWS}" in notes
        assert "column episode_index is 3; the file's name says 0" in notes
        assert "front: info.json declares codec av1; the video has h264" in notes
        assert "front: info.json declares shape [3, 480, 640]; the video has 48 x 64" in notes
        assert "front: the video plays at 25 Hz, info.json declares 10 fps" in notes

    def test_rate_other_than_the_schemas_is_a_note(self, toy: Callable[..., Path]) -> None:
        slower = TOY.model_copy(update={"rate_hz": 5.0})
        assert "info.json declares 10 fps; toy has 5 Hz" in only(toy(), request(slower)).notes

    def test_the_id_follows_rows_videos_and_tasks(self, toy: Callable[..., Path]) -> None:
        ids = [only(toy()).recording_id for _ in range(2)]
        assert ids[0] == ids[1]
        others = [
            only(toy({"action": [[1.0, 2.0]] * ROWS})).recording_id,
            only(toy(tasks=["another"])).recording_id,
        ]
        root = toy()
        data = (root / VIDEO).read_bytes()
        write(root / VIDEO, data + b"\0\0\0\x08free")
        others.append(only(root).recording_id)
        assert len({ids[0], *others}) == 4

    def test_files_are_listed_with_size_and_digest(self, toy: Callable[..., Path]) -> None:
        import hashlib

        root = toy()
        for file, name in zip(only(root).files, (PARQUET, VIDEO), strict=True):
            data = (root / name).read_bytes()
            assert (file.name, file.size, file.sha256) == (name, len(data), hashlib.sha256(data).hexdigest())


# ------------------------------------------------------------------- files


class TestFiles:
    def test_video_with_another_number_of_frames_names_both(
        self, toy: Callable[..., Path], mp4: Callable[..., bytes]
    ) -> None:
        root = toy()
        write(root / VIDEO, mp4(ROWS - 1))
        with pytest.raises(SourceError, match=rf"^{VIDEO} has 5 frames; the parquet file has 6 rows: must be as many"):
            only(root)

    @pytest.mark.parametrize("name", [VIDEO, PARQUET])
    def test_git_lfs_pointer_is_told(self, toy: Callable[..., Path], name: str) -> None:
        root = toy()
        write(root / name, POINTER)
        with pytest.raises(SourceError, match=rf"^{name} is a Git LFS pointer.*git lfs pull$"):
            only(root)

    @pytest.mark.parametrize("part", [0.2, 0.6, 0.99])
    def test_parquet_without_its_footer_is_told(self, toy: Callable[..., Path], part: float) -> None:
        root = toy()
        data = (root / PARQUET).read_bytes()
        write(root / PARQUET, data[: int(part * len(data))])
        with pytest.raises(SourceError, match=rf"^{PARQUET}: .*without its footer"):
            only(root)

    def test_parquet_with_flipped_bytes_gives_an_error_or_rows(self, toy: Callable[..., Path]) -> None:
        root = toy()
        data = (root / PARQUET).read_bytes()
        chooser = np.random.default_rng(4)
        wanted = request(front="")
        num_errors = 0
        for _ in range(150):
            damaged = bytearray(data)
            for place in chooser.integers(4, len(data) - 8, 4):
                damaged[place] = chooser.integers(256)
            write(root / PARQUET, bytes(damaged))
            try:
                only(root, wanted)
            except VladataError:
                num_errors += 1
        assert num_errors > 50

    def test_parquet_without_rows_is_an_error(self, toy: Callable[..., Path]) -> None:
        root = toy()
        table = pq.read_table(root / PARQUET)
        pq.write_table(table.slice(0, 0), root / PARQUET)
        with pytest.raises(SourceError, match=rf"^{PARQUET}: 0 rows"):
            only(root)

    def test_columns_that_unpack_to_too_much_are_refused(
        self, toy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vladata.sources._lerobot_rows.MAX_BYTES", 5_000_000)
        root = toy()
        # a column of one repeated text is stored in a few bytes
        parquet(root / PARQUET, {**columns(3000), "note": ["x" * 10_000] * 3000})
        assert (root / PARQUET).stat().st_size < 200_000
        with pytest.raises(GateError, match=rf"^{PARQUET}: columns of more than 5,000,000 bytes"):
            only(root, request(front="", subtask=LabelMapping(source="note")))

    def test_damaged_video_is_an_error_with_its_name(self, toy: Callable[..., Path]) -> None:
        root = toy()
        data = (root / VIDEO).read_bytes()
        write(root / VIDEO, data[: len(data) // 2])
        with pytest.raises(SourceError, match=r"^episode_000000\.mp4: "):
            only(root)

    def test_stray_files_are_no_episodes(self, toy: Callable[..., Path]) -> None:
        root = toy()
        for name in (
            "data/.DS_Store",
            "data/chunk-000/episode_000026",
            "data/chunk-000/notes.parquet",
            "data/chunk-007/episode_000001.parquet",
            "data/metadata/session.json",
        ):
            write(root / name, b"x")
        assert [p.name for p in lerobot_v2.places(root)] == ["episode_000000"]

    def test_episode_that_is_not_declared_is_read_with_a_note(self, toy: Callable[..., Path]) -> None:
        root = toy()
        (root / "meta" / "episodes.jsonl").unlink()
        assert [p.name for p in lerobot_v2.places(root)] == ["episode_000000"]
        assert "episode_000000 is not in meta/episodes.jsonl" in only(root).notes

    def test_chunk_index_in_the_template_is_the_chunk(self, toy: Callable[..., Path]) -> None:
        root = toy(info={"data_path": "data/chunk-{chunk_index:03d}/episode_{episode_index:06d}.parquet"})
        assert len(lerobot_v2.places(root)) == 1
        assert only(root).is_stepped

    def test_templates_may_be_left_out(self, toy: Callable[..., Path]) -> None:
        assert only(toy(info={"data_path": None, "video_path": None})).is_stepped

    @pytest.mark.parametrize(
        "template",
        [
            "../outside/episode_{episode_index:06d}.parquet",
            "/etc/passwd",
            "data/{episode_index.__class__}",
            "data/{0}",
            "data/{episode_index:>999999999}",
        ],
    )
    def test_template_that_leaves_the_folder_or_does_more_is_refused(
        self, toy: Callable[..., Path], template: str
    ) -> None:
        root = toy(info={"data_path": template})
        with pytest.raises(GateError):
            only(root)

    def test_feature_key_that_leaves_the_folder_is_refused(self, toy: Callable[..., Path]) -> None:
        key = "../../../secret"
        root = toy(info={"features": {key: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3]}}})
        with pytest.raises(GateError):
            only(root, request(front=key))

    def test_link_out_of_the_folder_is_refused(self, toy: Callable[..., Path], tmp_path: Path) -> None:
        root = toy()
        (root / VIDEO).rename(tmp_path / "elsewhere.mp4")
        (root / VIDEO).symlink_to(tmp_path / "elsewhere.mp4")
        with pytest.raises(GateError):
            only(root)

    @pytest.mark.parametrize(
        ("info", "message"),
        [
            ({"fps": 0}, "fps is 0; must be a number above 0"),
            ({"fps": "30"}, "fps is '30'"),
            ({"fps": None}, "fps is None"),
            ({"chunks_size": 0}, "chunks_size is 0"),
            ({"features": []}, "no features"),
            ({"codebase_version": "v1.6"}, r"codebase_version v1\.6; this reads v2\.0 and v2\.1"),
        ],
    )
    def test_bad_declarations_say_what_is_and_what_must_be(
        self, toy: Callable[..., Path], info: Changes, message: str
    ) -> None:
        with pytest.raises(SourceError, match=message):
            lerobot_v2.places(toy(info=info))

    def test_bad_line_of_json_is_named(self, toy: Callable[..., Path]) -> None:
        root = toy()
        write(root / "meta" / "tasks.jsonl", b'{"task_index": 0, "task": "a"}\n\n{"task_index": \n')
        with pytest.raises(SourceError, match=r"^meta/tasks\.jsonl: line 3: not JSON"):
            lerobot_v2.places(root)

    def test_changed_declarations_are_read_again(self, toy: Callable[..., Path]) -> None:
        assert only(toy(tasks=["one"])).instructions[0].text == "one"
        assert only(toy(tasks=["two and more"])).instructions[0].text == "two and more"

    @pytest.mark.parametrize("name", ["episode_", "episode_x", "../episode_000000", "episode_" + "9" * 20])
    def test_place_that_names_no_episode_is_an_error(self, toy: Callable[..., Path], name: str) -> None:
        with pytest.raises(SourceError, match="no such episode"):
            list(lerobot_v2.read(toy(), Place(name=name), request()))


class TestImagesInRows:
    JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108003000400301220002110103110100ffd9")

    @pytest.mark.parametrize("has_struct", [True, False])
    def test_encoded_images_pass_through(self, toy: Callable[..., Path], has_struct: bool) -> None:
        images = [self.JPEG + bytes([k]) * k for k in range(ROWS)]
        column = [{"bytes": i, "path": f"{k}.jpg"} for k, i in enumerate(images)] if has_struct else images
        recording = only(toy({"image": column}), request(front="image"))
        stream = camera(recording)
        assert (stream.codec, stream.height, stream.width) == ("jpeg", HEIGHT, WIDTH)
        assert [bytes(stream.frames.read(k)) for k in range(ROWS)] == images
        assert stream.frames.sizes.tolist() == [len(i) for i in images]

    def test_row_without_an_image_is_named(self, toy: Callable[..., Path]) -> None:
        column = [{"bytes": self.JPEG, "path": "a"}] * 3 + [{"bytes": None, "path": "b"}] * 3
        with pytest.raises(SourceError, match=f"{PARQUET}: image has no image at row 3; every row must have one"):
            only(toy({"image": column}), request(front="image"))

    def test_column_of_numbers_is_no_camera(self, toy: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"action is list<.*>; must be encoded images"):
            only(toy(), request(front="action"))


# ------------------------------------------------------------------- oddities of others


class TestOddities:
    def test_each_episode_is_read_with_its_own_columns(self, toy: Callable[..., Path]) -> None:
        root = toy()
        rows = np.arange(4)
        other: Changes = {f"arm1_j{k}": np.full(4, -1, dtype=np.int32) for k in range(1, 4)}
        other |= {f"arm2_j{k}": (100 * k + rows).astype(np.int32) for k in range(1, 3)}
        other |= {"t": rows * 0.207 + 3, "episode": np.full(4, 1), "cam0": [TestImagesInRows.JPEG] * 4}
        parquet(root / "data/chunk-000/episode_000001.parquet", other)
        assert [p.name for p in lerobot_v2.places(root)] == ["episode_000000", "episode_000001"]
        assert len(values(only(root), "state")) == ROWS
        with pytest.raises(SourceError, match=r"no column 'observation\.state'; there are arm1_j1, arm1_j2"):
            list(lerobot_v2.read(root, Place(name="episode_000001"), request(front="cam0")))
        streams = {
            "state": StreamMapping(source="arm2_j*", names=("arm2_j2", "arm2_j1")),
            "action": StreamMapping(source="arm2_j*", join="index"),
            "front": StreamMapping(source="cam0"),
        }
        mapping = SourceMapping(source="lerobot_v2", streams=streams, options={"time_column": "t"})
        wanted = Request(embodiment=TOY, mapping=mapping)
        (recording,) = lerobot_v2.read(root, Place(name="episode_000001"), wanted)
        assert values(recording, "state").tolist() == [[200 + k, 100 + k] for k in range(4)]
        assert values(recording, "action").tolist() == [[100 + k, 200 + k] for k in range(4)]
        assert recording.streams["state"].time_ns.tolist() == np.round((rows * 0.207 + 3) * 1e9).astype(int).tolist()
        assert "rows come at 4.831 Hz (median), info.json declares 10 fps" in recording.notes
        assert any("arm1_j1" in n for n in recording.notes if n.startswith("not kept: "))

    def test_numbers_that_stand_for_an_arm_that_was_not_there_are_named(self, toy: Callable[..., Path]) -> None:
        rows = [[0.5 * k, -1, -1, -1] for k in range(ROWS)]
        root = toy({"observation.state": rows}, info={"features": {"observation.state": {"names": list("abcd")}}})
        info = {s.name: s for s in lerobot_v2.inspect(root).streams}["observation.state"]
        assert info.problems == ("b, c, d are -1 in every row: not connected? If so: placeholder: -1",)

    def test_actions_that_are_shifted_states_are_named(self, toy: Callable[..., Path]) -> None:
        states = [[k / 3, -k / 7] for k in range(ROWS)]
        root = toy({"action": [*states[1:], [9.0, 9.0]]})
        note = "action[t] is observation.state[t+1] in every row: measured states, not commands"
        assert note in only(root).notes
        assert note in lerobot_v2.inspect(root).problems
        assert not any("measured states" in n for n in only(toy()).notes)

    def test_actions_that_are_states_of_the_same_row_are_named(self, toy: Callable[..., Path]) -> None:
        states = [[k / 3, -k / 7] for k in range(ROWS)]
        assert any("observation.state[t] in every row" in n for n in only(toy({"action": states})).notes)

    def test_an_episode_of_one_row_is_read(self, toy: Callable[..., Path]) -> None:
        recording = only(toy(num_rows=1))
        assert values(recording, "state").shape == (1, 2)
        assert camera(recording).time_ns.tolist() == [0]

    def test_parts_that_modality_json_names_are_streams(self, toy: Callable[..., Path]) -> None:
        wide = [[float(10 * k + e) for e in range(5)] for k in range(ROWS)]
        features: Changes = {
            "observation.state": {"dtype": "float32", "shape": [5], "names": None},
            VIDEO_KEY: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3]},
        }
        root = toy({"observation.state": wide}, info={"features": features})
        modality = {
            "state": {
                "base": {"start": 0, "end": 1},
                "left_arm": {"start": 1, "end": 3},
                "odd": {"start": 4, "end": 2},
            },
            "action": {"left_arm": {"start": 0, "end": 2, "original_key": "action"}, "long": {"start": 0, "end": 7}},
            "video": {"ego": {"original_key": VIDEO_KEY}},
            "annotation": {"human.task": {"original_key": "task_index"}},
        }
        write(root / "meta" / "modality.json", json.dumps(modality).encode())
        label = LabelMapping(source="annotation.human.task")
        parts = {"state": "state.left_arm", "action": "action.left_arm", "front": "video.ego"}
        recording = only(root, request(**parts, instruction=label))
        assert recording.instructions == (Instruction(text="stack the cups"),)
        assert values(recording, "state").tolist() == [row[1:3] for row in wide]
        assert values(recording, "action").tolist() == columns()["action"]
        assert camera(recording).num_frames == ROWS
        selected = SourceMapping.model_validate(
            {
                "source": "lerobot_v2",
                "streams": {
                    "state": StreamMapping(source="observation.state", select=(2, 4)),
                    "action": StreamMapping(source="action"),
                    "front": StreamMapping(source=VIDEO_KEY),
                },
            }
        )
        found = values(only(root, Request(embodiment=TOY, mapping=selected)), "state")
        assert found.tolist() == [[row[2], row[4]] for row in wide]
        inspection = lerobot_v2.inspect(root)
        assert "state.left_arm = observation.state[1:3]" in dict(inspection.facts)["modality.json"]
        assert f"video.ego = {VIDEO_KEY}, annotation" in dict(inspection.facts)["modality.json"]
        assert "modality.json: state.odd is no slice; must have start and end" in inspection.problems
        with pytest.raises(SourceError, match=r"modality\.json says action\.long is action\[0:7\]; it has 2 values"):
            only(root, request(state="state.left_arm", action="action.long"))

    def test_the_folder_of_videos_may_be_called_video(self, toy: Callable[..., Path]) -> None:
        root = toy()
        (root / "videos").rename(root / "video")
        assert only(root).files[1].name == VIDEO.replace("videos/", "video/")

    def test_files_beside_the_episodes_are_named(self, toy: Callable[..., Path]) -> None:
        root = toy()
        for name in ("data/.DS_Store", "data/chunk-000/episode_000026", "data/metadata/session.json"):
            write(root / name, b"x")
        (problem,) = [p for p in lerobot_v2.inspect(root).problems if "beside" in p]
        assert problem == (
            "3 files beside the episodes are left: data/.DS_Store, data/chunk-000/episode_000026, "
            "data/metadata/session.json"
        )

    def test_declared_totals_that_differ_are_named(self, toy: Callable[..., Path]) -> None:
        root = toy(info={"total_episodes": 50, "total_frames": 14983, "splits": {"train": "0:50"}})
        problems = lerobot_v2.inspect(root).problems
        assert "info.json declares 50 episodes; there are 1" in problems
        assert f"info.json declares 14983 frames; meta/episodes.jsonl adds up to {ROWS}" in problems
        assert "info.json declares splits up to episode 50; there are 1" in problems

    def test_a_column_whose_name_begins_another_is_itself(self, toy: Callable[..., Path]) -> None:
        root = toy({"action.raw": [[7.0, 7.0]] * ROWS})
        assert values(only(root), "action").tolist() == columns()["action"]

    def test_an_info_json_that_git_lfs_left_says_so(self, tmp_path: Path) -> None:
        write(tmp_path / "meta" / "info.json", POINTER)
        assert lerobot_v2.can_read(tmp_path)
        with pytest.raises(SourceError, match=r"meta/info\.json: a Git LFS pointer"):
            lerobot_v2.places(tmp_path)

    def test_changed_files_give_an_error_or_rows(self, toy: Callable[..., Path]) -> None:
        root = toy()
        names = ["meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl", PARQUET, VIDEO]
        whole = {n: (root / n).read_bytes() for n in names}
        rng = np.random.default_rng(5)
        num_good, messages = 0, []
        for turn in range(150):
            name = names[turn % len(names)]
            changed = bytearray(whole[name])
            for place in rng.integers(len(changed), size=rng.integers(1, 5)):
                changed[place] = rng.integers(256)
            cut = int(rng.integers(len(changed))) if turn % 3 == 0 else len(changed)
            write(root / name, bytes(changed[:cut]))
            try:
                if lerobot_v2.can_read(root):
                    lerobot_v2.inspect(root)
                    for place in lerobot_v2.places(root)[:5]:
                        for recording in lerobot_v2.read(root, place, request()):
                            frames = camera(recording).frames
                            for k in range(len(frames.sizes)):
                                frames.read(k)
                num_good += 1
            except VladataError as error:
                messages.append(str(error))
            write(root / name, whole[name])
        assert len(messages) > 30
        assert num_good > 5
        assert not [m for m in messages if "\n" in m or len(m) > 1000]


class TestProperty:
    @settings(max_examples=25, deadline=None)
    @given(
        num_rows=st.integers(1, 40),
        dtype=st.sampled_from(["float32", "float64", "int32", "bool"]),
        seed=st.integers(0, 2**16),
        group=st.integers(1, 50),
        is_timed=st.booleans(),
    )
    def test_what_was_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, num_rows: int, dtype: str, seed: int, group: int, is_timed: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        numbers = (rng.integers(-500, 500, (num_rows, 2)) / (7 if "float" in dtype else 1)).astype(dtype)
        jpegs = [TestImagesInRows.JPEG + rng.bytes(int(rng.integers(60))) for _ in range(num_rows)]
        stamps_ns = np.cumsum(rng.integers(1, 10**9, num_rows))
        table = columns(num_rows)
        table |= {"action": pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 2)}
        table |= {"timestamp": stamps_ns / 1e9} if is_timed else {}
        table |= {"image": pa.array([{"bytes": j, "path": None} for j in jpegs])}
        root = tmp_path_factory.mktemp("property")
        info = {"codebase_version": "v2.1", "fps": FPS, "features": {"image": {"dtype": "image"}}}
        write(root / "meta" / "info.json", json.dumps(info).encode())
        (root / PARQUET).parent.mkdir(parents=True)
        pq.write_table(pa.table(table), root / PARQUET, row_group_size=group)
        for recording in lerobot_v2.read(root, Place(name="episode_000000"), request(front="image", instruction=None)):
            found = values(recording, "action")
            assert found.dtype == numbers.dtype
            assert found.tolist() == numbers.tolist()
            frames = camera(recording).frames
            assert [bytes(frames.read(k)) for k in range(num_rows)] == jpegs
            if num_rows > 1:
                nominal = [round(k * 1e9 / FPS) for k in range(num_rows)]
                assert camera(recording).time_ns.tolist() == (stamps_ns.tolist() if is_timed else nominal)
