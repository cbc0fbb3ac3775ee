"""LeRobot v3 datasets: a real one, and small ones written here as the format's writer lays them out."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError, VladataError
from vladata.frame_decoder import FrameDecoder
from vladata.mapping import LabelMapping, OutcomeMapping, StreamMapping
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Instruction, Outcome, Recording, Stream
from vladata.sources import Place, Request, Source, lerobot_v2, lerobot_v3
from vladata.units import Clock, Kind, Mode, Unit

if TYPE_CHECKING:
    from vladata.pipeline import IngestResult

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

source: Source = lerobot_v3

FPS = 10
HEIGHT, WIDTH = 48, 64
KEY = "observation.images.front"
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{KEY}/chunk-000/file-000.mp4"
LENGTHS = (7, 5, 9)

Image = NDArray[np.uint8]
Table = dict[str, object]


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
    sources = {"state": "observation.state", "action": "action", "front": KEY}
    sources |= {k: str(v) for k, v in changes.items() if k in sources}
    labels: dict[str, object] = {"instruction": LabelMapping(source="task_index")}
    labels |= {k: v for k, v in changes.items() if k not in sources}
    streams = {k: StreamMapping(source=v) for k, v in sources.items() if v}
    mapping = SourceMapping.model_validate({"source": "lerobot_v3", "streams": streams, **labels})
    return Request(embodiment=embodiment, mapping=mapping)


NO_CAMERA = {"front": ""}


def blind(**changes: object) -> Request:
    """Without the camera."""
    embodiment = TOY.model_copy(update={"cameras": ()})
    return request(embodiment, front="", **changes)


# ------------------------------------------------------------------- writing


def picture(episode: int, row: int) -> Image:
    """A picture that no other frame has: a bar that moves over a ground of the episode's own brightness."""
    image = np.full((HEIGHT, WIDTH, 3), 40 + 50 * (episode % 4), dtype=np.uint8)
    image[:, (3 * row) % WIDTH : (3 * row) % WIDTH + 4] = 255 - 10 * (row % 9)
    return image


def encode(path: Path, images: Sequence[Image], codec: str = "libx264", **options: str) -> None:
    """Write a video as LeRobot does: constant rate, first stamp 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"g": "2", **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def join(path: Path, parts: Sequence[Path], lengths: Sequence[int]) -> None:
    """Join videos by stream copy: stamps move on by the frames before, packets stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = 0
    with av.open(str(path), "w") as target:
        stream = None
        for part, length in zip(parts, lengths, strict=True):
            with av.open(str(part)) as container:
                template = container.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(template, opaque=True)
                shift = round(before / FPS / template.time_base)
                for packet in container.demux(template):
                    if packet.size:
                        packet.pts += shift
                        packet.dts += shift
                        packet.stream = stream
                        target.mux(packet)
            before += length


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Videos of several episodes in one file, by how they were made; each is encoded once."""
    made: dict[object, bytes] = {}

    def make(
        lengths: Sequence[int] = LENGTHS, codec: str = "libx264", *, is_joined: bool = True, **options: str
    ) -> bytes:
        key = (tuple(lengths), codec, is_joined, tuple(sorted(options.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("videos")
            episodes = [[picture(e, k) for k in range(n)] for e, n in enumerate(lengths)]
            if is_joined:
                parts = [folder / f"{e}.mp4" for e in range(len(lengths))]
                for part, images in zip(parts, episodes, strict=True):
                    encode(part, images, codec, **options)
                join(folder / "all.mp4", parts, lengths)
            else:
                encode(folder / "all.mp4", [i for images in episodes for i in images], codec, **options)
            made[key] = (folder / "all.mp4").read_bytes()
        return made[key]

    return make


def rows_of(episode: int, length: int, first: int) -> Table:
    """The columns of one episode."""
    k = np.arange(length)
    return {
        "observation.state": pa.FixedSizeListArray.from_arrays(
            pa.array(np.stack([k / 3 + episode, -k / 7], axis=1).astype(np.float32).ravel()), 2
        ),
        "action": pa.FixedSizeListArray.from_arrays(
            pa.array(np.stack([k + 100.0 * episode, -k * k], axis=1).astype(np.float32).ravel()), 2
        ),
        "timestamp": (k / FPS).astype(np.float32),
        "frame_index": k,
        "episode_index": np.full(length, episode),
        "index": k + first,
        "task_index": np.full(length, episode % 2),
    }


@dataclass
class Toy:
    """A dataset to be written, one file of each kind unless changed."""

    root: Path
    lengths: Sequence[int] = LENGTHS
    video: bytes | None = None
    tasks: Sequence[str] = ("stack the cups", "unstack the cups")
    info: Table = field(default_factory=dict)
    features: Table = field(default_factory=dict)
    change_rows: Callable[[int, Table], Table] = lambda _, rows: rows
    change_episode: Callable[[int, Table], Table] = lambda _, row: row
    task_index_name: str | None = "task"

    def write(self) -> Path:
        self.write_meta()
        self.write_rows()
        if self.video is not None:
            put(self.root / VIDEO, self.video)
        return self.root

    def tables(self) -> list[pa.Table]:
        starts = np.cumsum([0, *self.lengths])
        return [pa.table(self.change_rows(e, rows_of(e, n, int(starts[e])))) for e, n in enumerate(self.lengths)]

    def write_rows(self) -> None:
        """One row group for each episode, by one writer."""
        tables = self.tables()
        path = self.root / DATA
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, tables[0].schema, compression="snappy", use_dictionary=True) as writer:
            for table in tables:
                writer.write_table(table)

    def write_meta(self) -> None:
        features: Table = {
            "observation.state": {"dtype": "float32", "shape": [2], "names": ["a", "b"], "fps": FPS},
            "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"], "fps": FPS},
            **{n: {"dtype": "int64", "shape": [1], "names": None} for n in ("index", "task_index", "frame_index")},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        }
        if self.video is not None:
            features[KEY] = {
                "dtype": "video",
                "shape": [HEIGHT, WIDTH, 3],
                "names": ["height", "width", "channels"],
                "info": {"video.fps": FPS, "video.pix_fmt": "yuv420p", "has_audio": False},
            }
        info: Table = {
            "codebase_version": "v3.0",
            "robot_type": "toy_arm",
            "total_episodes": len(self.lengths),
            "total_frames": sum(self.lengths),
            "total_tasks": len(self.tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": FPS,
            "splits": {"train": f"0:{len(self.lengths)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": {**features, **self.features},
            **self.info,
        }
        put(self.root / "meta" / "info.json", json.dumps(info).encode())
        frame = pd.DataFrame(
            {"task_index": range(len(self.tasks))}, index=pd.Index(self.tasks, name=self.task_index_name)
        )
        frame.to_parquet(self.root / "meta" / "tasks.parquet")
        self.write_episodes(range(len(self.lengths)), EPISODES)

    def episode_row(self, episode: int) -> Table:
        starts = np.cumsum([0, *self.lengths])
        row: Table = {
            "episode_index": episode,
            "tasks": [self.tasks[episode % 2 % len(self.tasks)]],
            "length": self.lengths[episode],
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": int(starts[episode]),
            "dataset_to_index": int(starts[episode + 1]),
            "stats/action/min": [0.0, 1.0],
            "stats/action/count": [self.lengths[episode]],
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        if self.video is not None:
            row |= {
                f"videos/{KEY}/chunk_index": 0,
                f"videos/{KEY}/file_index": 0,
                f"videos/{KEY}/from_timestamp": int(starts[episode]) / FPS,
                f"videos/{KEY}/to_timestamp": int(starts[episode + 1]) / FPS,
            }
        return self.change_episode(episode, row)

    def write_episodes(self, episodes: Sequence[int], name: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([self.episode_row(e) for e in episodes]), path)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Toy]:
    def make(**changes: object) -> Toy:
        return Toy(root=tmp_path / "toy_dataset", **changes)  # type: ignore[arg-type]

    return make


def only(root: Path, wanted: Request, episode: int = 0) -> Recording:
    (recording,) = lerobot_v3.read(root, Place(name=f"episode_{episode:06d}"), wanted)
    return recording


def values(recording: Recording, name: str) -> NDArray[np.generic]:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream.values


def camera(recording: Recording, name: str = "front") -> FrameStream:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    return stream


def reading(root: Path, wanted: Request, episode: int = 0) -> Iterator[Recording]:
    """A recording whose frames can be read."""
    yield from lerobot_v3.read(root, Place(name=f"episode_{episode:06d}"), wanted)


def taken_in(root: Path, out: Path, wanted: Request) -> "IngestResult":
    """Ingest in this process."""
    from vladata.mapping import SchemaFile
    from vladata.pipeline import IngestOptions, ingest

    said = wanted.embodiment.model_dump(by_alias=True)
    schema = SchemaFile.model_validate({**said, "mappings": {"lerobot_v3": wanted.mapping}})
    return ingest([root], out, IngestOptions(schema=schema), num_workers=0)


def all_frames(path: Path) -> list[Image]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


# ------------------------------------------------------------------- real data

REBOT = """
name: rebot_b601
version: 1
rate_hz: 30
proprioception:
  - name: state
    dimensions:
      - {name: shoulder_pan, kind: joint_position, unit: rad}
      - {name: shoulder_lift, kind: joint_position, unit: rad}
      - {name: elbow_flex, kind: joint_position, unit: rad}
      - {name: wrist_flex, kind: joint_position, unit: rad}
      - {name: wrist_yaw, kind: joint_position, unit: rad}
      - {name: wrist_roll, kind: joint_position, unit: rad}
      - {name: gripper, kind: joint_position, unit: rad}
action:
  - name: action
    dimensions:
      - {name: shoulder_pan, kind: joint_position, unit: rad, mode: absolute}
      - {name: shoulder_lift, kind: joint_position, unit: rad, mode: absolute}
      - {name: elbow_flex, kind: joint_position, unit: rad, mode: absolute}
      - {name: wrist_flex, kind: joint_position, unit: rad, mode: absolute}
      - {name: wrist_yaw, kind: joint_position, unit: rad, mode: absolute}
      - {name: wrist_roll, kind: joint_position, unit: rad, mode: absolute}
      - {name: gripper, kind: joint_position, unit: rad, mode: absolute}
cameras: []
mappings:
  lerobot_v3:
    source: lerobot_v3
    streams:
      state: {from: observation.state, units: deg, names: [shoulder_pan.pos, shoulder_lift.pos, elbow_flex.pos,
        wrist_flex.pos, wrist_yaw.pos, wrist_roll.pos, gripper.pos]}
      action: {from: action, units: deg, names: [shoulder_pan.pos, shoulder_lift.pos, elbow_flex.pos,
        wrist_flex.pos, wrist_yaw.pos, wrist_roll.pos, gripper.pos]}
    instruction: {from: task_index}
"""


class TestRebot:
    """The public recording of a real arm, in degrees."""

    @pytest.fixture
    def rebot(self, shared_data: Path) -> Path:
        return shared_data / "rebot_devarm_lerobot_v30"

    @pytest.fixture
    def schema(self, tmp_path: Path) -> Path:
        path = tmp_path / "rebot.yaml"
        path.write_text(REBOT)
        return path

    def test_its_rows_equal_the_parquet_file(self, rebot: Path, schema: Path) -> None:
        from vladata.mapping import load_schema

        loaded = load_schema(schema)
        mapping = loaded.mapping_for("lerobot_v3")
        assert mapping is not None
        assert [p.name for p in lerobot_v3.places(rebot)] == ["episode_000000"]
        recording = only(rebot, Request(embodiment=loaded.embodiment, mapping=mapping))
        table = pq.read_table(rebot / DATA)
        for name, column in (("state", "observation.state"), ("action", "action")):
            found = values(recording, name)
            assert found.dtype == np.float32
            assert found.shape == (871, 7)
            assert found.tolist() == table[column].to_pylist()
            assert recording.streams[name].time_ns.tolist() == [round(k * 1e9 / 30) for k in range(871)]
            assert recording.streams[name].clock is Clock.NOMINAL
        assert recording.instructions == (Instruction(text="pick and place"),)
        assert recording.metadata == {
            "codebase_version": "v3.0",
            "robot_type": "seeed_b601_dm_follower",
            "split": "train",
        }
        assert [f.name for f in recording.files] == [DATA]

    def test_degrees_are_converted_once(self, rebot: Path, schema: Path, tmp_path: Path) -> None:
        import vladata
        from vladata.mapping import load_schema

        loaded = load_schema(schema)
        wanted = Request(embodiment=loaded.embodiment, mapping=loaded.mappings["lerobot_v3"])
        assert taken_in(rebot, tmp_path / "out", wanted).rejected == ()
        (episode,) = vladata.open(tmp_path / "out")
        table = pq.read_table(rebot / DATA)
        for found, column in (
            (episode.steps.proprioception["state"], "observation.state"),
            (episode.steps.action["action"], "action"),
        ):
            degrees = np.array(table[column].to_pylist(), dtype=np.float64)
            assert np.allclose(found, np.radians(degrees), atol=1e-6)

    def test_a_drafted_schema_and_mapping_take_it_in(
        self, rebot: Path, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        import vladata

        schema, mapping, out = tmp_path / "drafted.yaml", tmp_path / "mapping.yaml", tmp_path / "out"
        assert cli("schema", "draft", rebot, "--name", "drafted", "-o", schema).returncode == 0
        done = cli("inspect", rebot, "-s", schema, "--write-mapping", mapping)
        assert done.returncode == 0, done.stderr
        assert "source: lerobot_v3" in mapping.read_text()
        done = cli("ingest", rebot, "-s", schema, "--mapping", mapping, "-o", out)
        assert done.returncode == 0, done.stderr
        (episode,) = vladata.open(out)
        column = pq.read_table(rebot / DATA)["action"].to_pylist()
        (action,) = episode.steps.action.values()
        assert action.tolist() == column
        assert episode.instruction == "pick and place"
        assert "Traceback" not in cli("validate", out).stderr

    def test_version_2_is_refused_with_both_versions(self, shared_data: Path) -> None:
        root = shared_data / "g1_inspire_lerobot_v21"
        assert not lerobot_v3.can_read(root)
        with pytest.raises(SourceError, match=r"codebase_version v2\.1; this reads v3\.0 and v3\.1$"):
            lerobot_v3.places(root)

    def test_each_version_has_one_source(self, shared_data: Path) -> None:
        for item in shared_data.iterdir():
            readers = [m.__name__ for m in (lerobot_v2, lerobot_v3) if m.can_read(item)]
            assert len(readers) == ("lerobot" in item.name), item


# ------------------------------------------------------------------- versions


class TestVersions:
    @pytest.mark.parametrize(
        ("version", "reader", "message"),
        [
            ("v1.6", lerobot_v2, r"codebase_version v1\.6; this reads v2\.0 and v2\.1"),
            ("v2.1", lerobot_v2, ""),
            ("v3.0", lerobot_v3, ""),
            ("v3.1", lerobot_v3, ""),
            ("v4.0", lerobot_v3, r"codebase_version v4\.0; this reads v3\.0 and v3\.1"),
            ("vnext", lerobot_v2, r"codebase_version vnext; this reads"),
        ],
    )
    def test_one_source_takes_each_and_refuses_what_it_does_not_know(
        self, toy: Callable[..., Toy], version: str, reader: Source, message: str
    ) -> None:
        root = toy(info={"codebase_version": version}).write()
        assert [m for m in (lerobot_v2, lerobot_v3) if m.can_read(root)] == [reader]
        if message:
            with pytest.raises(SourceError, match=message):
                reader.places(root)

    def test_an_unknown_version_3_is_read_and_said(self, toy: Callable[..., Toy]) -> None:
        root = toy(info={"codebase_version": "v3.7"}).write()
        assert "codebase_version v3.7 is read like v3.1; known are v3.0, v3.1" in lerobot_v3.inspect(root).problems

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"codebase_version": 3}', '{"codebase_version": null}', "\x00"])
    def test_another_info_json_is_no_dataset(self, tmp_path: Path, text: str) -> None:
        put(tmp_path / "meta" / "info.json", text.encode())
        assert not lerobot_v2.can_read(tmp_path)
        assert not lerobot_v3.can_read(tmp_path)


# ------------------------------------------------------------------- rows


class TestRows:
    def test_each_episode_has_its_rows(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        assert [p.name for p in lerobot_v3.places(root)] == [f"episode_{e:06d}" for e in range(3)]
        for episode, table in enumerate(made.tables()):
            recording = only(root, blind(), episode)
            assert values(recording, "state").tolist() == table["observation.state"].to_pylist()
            assert values(recording, "action").tolist() == table["action"].to_pylist()
            assert recording.streams["state"].time_ns.tolist() == [k * 10**8 for k in range(LENGTHS[episode])]
            assert recording.instructions == (Instruction(text=made.tasks[episode % 2]),)

    def test_row_groups_need_not_be_episodes(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        pq.write_table(pa.concat_tables(made.tables()), root / DATA, row_group_size=4)
        for episode, table in enumerate(made.tables()):
            assert values(only(root, blind(), episode), "action").tolist() == table["action"].to_pylist()

    def test_rows_that_go_on_in_the_next_files_are_one_episode(self, toy: Callable[..., Toy]) -> None:
        made = toy(info={"chunks_size": 2}, change_episode=lambda e, row: {**row, "data/file_index": int(e == 2)})
        root = made.write()
        table = pa.concat_tables(made.tables())
        names = [f"data/chunk-00{c}/file-00{f}.parquet" for c, f in ((0, 0), (0, 1), (1, 0))]
        for name, (start, stop) in zip(names, ((0, 9), (9, 15), (15, 21)), strict=True):
            put(root / name, b"")
            pq.write_table(table.slice(start, stop - start), root / name)
        for episode, part in enumerate(made.tables()):
            recording = only(root, blind(), episode)
            assert values(recording, "state").tolist() == part["observation.state"].to_pylist()
        assert f"rows are in 2 files: {names[1]}, {names[2]}" in recording.notes
        assert [f.name for f in recording.files] == names[1:]

    def test_what_rows_say_counts_where_their_order_says_something_else(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        made.write_episodes((2, 0, 1), EPISODES)
        assert values(only(root, blind(), 2), "action")[0, 0] == 200
        problem = "row 0 of meta/episodes says episode_index 2: what the rows say counts"
        assert any(p.startswith(problem) for p in lerobot_v3.inspect(root).problems)

    def test_rows_that_lie_apart_are_put_together_in_order(self, toy: Callable[..., Toy]) -> None:
        made = toy(lengths=(4, 4))
        root = made.write()
        table = pa.concat_tables(made.tables())
        pq.write_table(table.take([0, 1, 4, 5, 2, 3, 6, 7]), root / DATA)
        assert values(only(root, blind(), 1), "action")[:, 0].tolist() == [100, 101, 102, 103]

    def test_the_table_of_episodes_may_have_several_files(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        made.write_episodes((0, 1), EPISODES)
        made.write_episodes((2,), "meta/episodes/chunk-000/file-001.parquet")
        assert len(lerobot_v3.places(root)) == 3
        assert values(only(root, blind(), 2), "action")[0, 0] == 200

    @pytest.mark.parametrize("name", ["task", None, "something"])
    def test_tasks_are_the_index_whatever_its_name(self, toy: Callable[..., Toy], name: str | None) -> None:
        root = toy(task_index_name=name).write()
        columns = pq.read_schema(root / "meta" / "tasks.parquet").names
        assert (name or "__index_level_0__") in columns
        assert only(root, blind(), 1).instructions == (Instruction(text="unstack the cups"),)

    def test_tasks_of_the_table_of_episodes_where_rows_have_none(self, toy: Callable[..., Toy]) -> None:
        root = toy().write()
        found = only(root, blind(instruction=LabelMapping(source="tasks")), 1).instructions
        assert found == (Instruction(text="unstack the cups"),)

    def test_a_length_that_differs_is_a_note(self, toy: Callable[..., Toy]) -> None:
        root = toy(change_episode=lambda _, row: {**row, "length": 99}).write()
        recording = only(root, blind())
        assert "meta/episodes declares 99 steps; the parquet file has 7" in recording.notes
        assert len(values(recording, "state")) == 7
        assert recording.is_lossy

    def test_declarations_that_differ_are_problems(self, toy: Callable[..., Toy]) -> None:
        root = toy(info={"total_episodes": 50, "total_frames": 14983, "splits": {"train": "0:50"}}).write()
        problems = lerobot_v3.inspect(root).problems
        assert "info.json declares 50 episodes; there are 3" in problems
        assert "info.json declares 14983 frames; meta/episodes adds up to 21" in problems
        assert "info.json declares splits up to episode 50; there are 3" in problems

    def test_recorded_times_are_kept_and_the_rate_is_measured(self, toy: Callable[..., Toy]) -> None:
        stamps = np.cumsum([0.0, 0.125, 0.126, 0.124, 0.125, 0.125, 0.125])

        def change(episode: int, rows: Table) -> Table:
            return {**rows, "timestamp": stamps[: len(rows["frame_index"])]} if episode == 0 else rows  # type: ignore[arg-type]

        root = toy(lengths=(7,), change_rows=change).write()
        recording = only(root, blind())
        assert recording.streams["state"].clock is Clock.MONOTONIC
        assert recording.streams["state"].clock_choice == "timestamp"
        assert recording.streams["state"].time_ns.tolist() == np.round(stamps * 1e9).astype(int).tolist()
        assert "rows come at 8 Hz (median), info.json declares 10 fps" in recording.notes

    def test_float32_unix_time_that_cannot_tell_rows_apart_is_not_used(self, toy: Callable[..., Toy]) -> None:
        def change(_: int, rows: Table) -> Table:
            return {**rows, "timestamp": (1.7e9 + np.arange(1500) / FPS).astype(np.float32)}

        recording = only(toy(lengths=(1500,), change_rows=change).write(), blind())
        assert recording.streams["state"].clock is Clock.NOMINAL
        assert any("timestamp is float32, which at 1.7e+09 s goes in steps of 128 s" in n for n in recording.notes)

    def test_time_may_be_in_another_column(self, toy: Callable[..., Toy]) -> None:
        def change(_: int, rows: Table) -> Table:
            return {k: v for k, v in rows.items() if k != "timestamp"} | {"t": np.arange(7) * 0.207 + 5}

        root = toy(lengths=(7,), change_rows=change).write()
        recording = only(root, blind(options={"time_column": "t"}))
        assert recording.streams["state"].time_ns[:2].tolist() == [5_000_000_000, 5_207_000_000]
        assert recording.streams["state"].clock_choice == "t"

    def test_an_unknown_option_is_named(self, toy: Callable[..., Toy]) -> None:
        with pytest.raises(SchemaError, match=r"options\.times is not known to lerobot_v3"):
            only(toy().write(), blind(options={"times": "t"}))

    def test_a_matrix_is_taken_row_by_row_and_said(self, toy: Callable[..., Toy]) -> None:
        from datasets import Array2D, Features, Value  # what the format's own writer uses
        from datasets.arrow_writer import ArrowWriter

        assert ArrowWriter is not None
        schema = Features({"pose": Array2D(shape=(1, 2), dtype="float32"), "k": Value("int64")}).arrow_schema
        kind = schema.field("pose").type

        def change(episode: int, rows: Table) -> Table:
            n = len(rows["frame_index"])  # type: ignore[arg-type]
            storage = pa.array([[[float(k), float(episode)]] for k in range(n)], type=kind.storage_type)
            return {**rows, "pose": pa.ExtensionArray.from_storage(kind, storage)}

        features = {"pose": {"dtype": "float32", "shape": [1, 2], "names": None}}
        recording = only(toy(change_rows=change, features=features).write(), blind(state="pose"), 1)
        assert values(recording, "state").tolist() == [[float(k), 1.0] for k in range(5)]
        assert "state: pose has shape [1, 2]; its elements are taken row by row" in recording.notes

    def test_the_id_is_the_episodes_own_wherever_its_files_lie(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        before = [only(root, blind(), e).recording_id for e in range(3)]
        # the writer goes on: one more episode, other row groups, another compression, other numbers of rows
        more = toy(lengths=(*LENGTHS, 4))
        more.write()
        pq.write_table(pa.concat_tables(more.tables()), root / DATA, row_group_size=3, compression="zstd")
        after = [only(root, blind(), e).recording_id for e in range(4)]
        assert after[:3] == before
        assert len(set(after)) == 4
        changed = toy(change_rows=lambda _, rows: {**rows, "action": rows["observation.state"]})
        assert only(changed.write(), blind(), 0).recording_id != before[0]


# ------------------------------------------------------------------- videos


class TestVideos:
    @pytest.mark.parametrize(
        ("codec", "options"),
        [
            ("libx264", {"bf": "2", "g": "4"}),
            ("libx264", {"bf": "0", "g": "2"}),
            ("libsvtav1", {"g": "2", "crf": "30", "preset": "12"}),
            ("mpeg4", {"bf": "0", "g": "3"}),
        ],
    )
    def test_packets_of_joined_videos_are_each_episodes_own(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes], codec: str, options: dict[str, str]
    ) -> None:
        root = toy(video=videos(codec=codec, **options)).write()
        expected = all_frames(root / VIDEO)
        first = 0
        with av.open(str(root / VIDEO)) as container:
            packets = [bytes(p) for p in container.demux(video=0) if p.size]
        for episode, length in enumerate(LENGTHS):
            for recording in reading(root, request(), episode):
                stream = camera(recording)
                assert stream.video is not None
                assert (stream.video.lead_in, stream.video.lead_out) == (0, 0)
                assert stream.video.pts.min() == 0
                assert [bytes(stream.frames.read(k)) for k in range(length)] == packets[first : first + length]
                decoder = FrameDecoder(stream)
                assert decoder.num_frames == length
                for k in range(length):
                    assert np.array_equal(decoder.decode(k), expected[first + k]), (episode, k)
                assert not any("looked up" in n for n in recording.notes)
            first += length

    @pytest.mark.parametrize(
        "options",
        [
            {"bf": "2", "g": "50"},
            {"bf": "1", "g": "9"},
            {"bf": "0", "g": "50"},
            {"codec": "libsvtav1", "g": "50", "preset": "12"},
            # open groups: frames between a key frame and the one before it refer to both
            {"codec": "libx265", "x265-params": "open-gop=1:keyint=6:min-keyint=6:bframes=3:log-level=none"},
        ],
    )
    def test_episodes_that_begin_between_key_frames_show_their_own_frames(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes], options: dict[str, str]
    ) -> None:
        if options.get("codec", "libx264") not in av.codecs_available:
            pytest.skip("this PyAV can't encode it")
        root = toy(video=videos(is_joined=False, **options)).write()
        expected = all_frames(root / VIDEO)
        first, leads = 0, []
        for episode, length in enumerate(LENGTHS):
            for recording in reading(root, request(), episode):
                stream = camera(recording)
                assert stream.video is not None
                leads.append((stream.video.lead_in, stream.video.lead_out))
                assert len(stream.frames.sizes) == length + sum(leads[-1])
                assert stream.num_frames == length
                assert bool(stream.video.keyframes[0])
                decoder = FrameDecoder(stream)
                for k in reversed(range(length)):
                    assert np.array_equal(decoder.decode(k), expected[first + k]), (episode, k)
            first += length
        assert any(lead_in for lead_in, _ in leads)
        assert (options != {"bf": "2", "g": "50"}) or any(lead_out for _, lead_out in leads)

    def test_the_whole_way_of_a_video_with_frames_before_it(
        self,
        toy: Callable[..., Toy],
        videos: Callable[..., bytes],
        tmp_path: Path,
        cli: Callable[..., subprocess.CompletedProcess[str]],
    ) -> None:
        import vladata
        from vladata import pipeline

        root = toy(video=videos(is_joined=False, bf="2", g="50")).write()
        out = tmp_path / "out"
        assert taken_in(root, out, request()).rejected == ()
        expected = all_frames(root / VIDEO)
        starts = dict(zip(("episode_000000", "episode_000001", "episode_000002"), (0, 7, 12), strict=True))
        dataset = vladata.open(out)
        episodes = list(dataset)
        assert len(episodes) == 3
        for episode in episodes:
            start = starts[str(episode.provenance["place"])]
            for step in episode:
                image = step.image("front")
                assert image is not None
                assert np.array_equal(image, expected[start + step.index])
        assert pipeline.verify(dataset, num_workers=0).problems == ()
        found = pipeline.validate(dataset, num_workers=0).findings
        assert not [f for f in found if f.check.startswith(("structure.counts", "structure.frame", "camera.und"))]
        exported = cli("export", out, "-o", tmp_path / "export")
        assert exported.returncode == 0, exported.stderr

    def test_the_last_frame_may_be_where_to_timestamp_points(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        def change(_: int, row: Table) -> Table:
            end = row[f"videos/{KEY}/to_timestamp"]
            return {**row, f"videos/{KEY}/to_timestamp": end - 1 / FPS}  # type: ignore[operator]

        # more frames than episodes, so that only times say where an episode is
        root = toy(lengths=LENGTHS[:2], video=videos(), change_episode=change).write()
        assert camera(only(root, request(), 1)).num_frames == 5

    def test_times_that_add_up_rounding_are_corrected_by_counting(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        def change(episode: int, row: Table) -> Table:
            return {**row, f"videos/{KEY}/from_timestamp": row[f"videos/{KEY}/from_timestamp"] + 0.08 * episode}  # type: ignore[operator]

        root = toy(video=videos(), change_episode=change).write()
        expected = all_frames(root / VIDEO)
        for recording in reading(root, request(), 1):
            assert np.array_equal(FrameDecoder(camera(recording)).decode(0), expected[7])
            (note,) = [n for n in recording.notes if "so the first is counted" in n]
            assert "from_timestamp 0.78 s is 20 ms from the nearest frame" in note
            assert "7, not 8" in note
            assert any("frames lie up to 80 ms from where they are looked up" in n for n in recording.notes)

    def test_a_time_that_is_a_frame_counts_also_where_counting_says_another(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        def change(episode: int, row: Table) -> Table:
            moved = {0: 9, 1: 16, 2: 0}  # the last episode's frames come first
            start = moved[episode] / FPS
            end = start + LENGTHS[episode] / FPS
            return {**row, f"videos/{KEY}/from_timestamp": start, f"videos/{KEY}/to_timestamp": end}

        root = toy(video=videos(), change_episode=change).write()
        expected = all_frames(root / VIDEO)
        for recording in reading(root, request(), 0):
            assert np.array_equal(FrameDecoder(camera(recording)).decode(0), expected[9])

    @pytest.mark.parametrize(
        ("begin", "message"),
        [
            (99.0, r"has frames from 0 to 2 s and none at from_timestamp 99 s"),
            (None, r"from_timestamp of episode_000001 is None; must be seconds inside the video"),
            (float("nan"), r"from_timestamp of episode_000001 is nan; must be seconds inside the video"),
        ],
    )
    def test_a_time_outside_the_video_is_an_error(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes], begin: object, message: str
    ) -> None:
        def change(episode: int, row: Table) -> Table:
            return {**row, f"videos/{KEY}/from_timestamp": begin} if episode == 1 else row

        root = toy(lengths=LENGTHS[:2], video=videos(), change_episode=change).write()
        assert camera(only(root, request(), 0)).num_frames == 7
        with pytest.raises(SourceError, match=message):
            only(root, request(), 1)

    def test_other_numbers_of_frames_and_rows_are_an_error(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        def change(_: int, row: Table) -> Table:
            return {**row, f"videos/{KEY}/to_timestamp": row[f"videos/{KEY}/to_timestamp"] + 2 / FPS}  # type: ignore[operator]

        root = toy(lengths=LENGTHS[:2], video=videos(), change_episode=change).write()
        message = r"^videos/.*, from frame 7 on up to to_timestamp 1.4 s, has 7 frames; the episode has 5 rows"
        with pytest.raises(SourceError, match=message):
            only(root, request(), 1)

    def test_a_video_that_ends_too_early_costs_its_last_episode(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        root = toy(video=videos((7, 5, 6))).write()
        assert camera(only(root, request(), 1)).num_frames == 5
        with pytest.raises(SourceError, match=r"from frame 12 on, has 6 frames; the episode has 9 rows"):
            only(root, request(), 2)

    def test_a_missing_video_is_named_or_left_out_where_it_need_not_be_there(
        self, toy: Callable[..., Toy], videos: Callable[..., bytes]
    ) -> None:
        root = toy(video=videos()).write()
        (root / VIDEO).unlink()
        with pytest.raises(SourceError, match=rf"^{VIDEO} is not there$"):
            only(root, request())
        embodiment = TOY.model_copy(update={"streams": {"front": StreamRule(required=False)}})
        assert "front" not in only(root, request(embodiment)).streams
        assert any("3 of 3 videos of" in p for p in lerobot_v3.inspect(root).problems)

    def test_the_folder_may_be_called_video(self, toy: Callable[..., Toy], videos: Callable[..., bytes]) -> None:
        root = toy(video=videos()).write()
        (root / "videos").rename(root / "video")
        recording = only(root, request())
        assert recording.files[1].name == VIDEO.replace("videos/", "video/", 1)

    def test_depth_is_kept_as_packets_and_said(self, toy: Callable[..., Toy], tmp_path: Path) -> None:
        if "libx265" not in av.codecs_available:
            pytest.skip("this PyAV has no encoder for depth video")
        path = tmp_path / "depth.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx265", rate=FPS, options={"x265-params": "log-level=none"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray12le"
            for k in range(sum(LENGTHS)):
                image = np.full((HEIGHT, WIDTH), 100 * k, dtype=np.uint16)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray12le")))
            container.mux(stream.encode())
        said = {
            "is_depth_map": True,
            "depth_unit": "m",
            "video.depth_min": 0.01,
            "video.depth_max": 10,
            "video.shift": 3.5,
        }
        features = {KEY: {"dtype": "video", "shape": [HEIGHT, WIDTH, 1], "names": None, "info": said}}
        root = toy(video=path.read_bytes(), features=features).write()
        recording = only(root, request())
        stream_ = camera(recording)
        assert (stream_.codec, stream_.pixel_format) == ("hevc", "gray12le")
        note = "front: depth is kept as the video's packets, not converted to metres (depth_unit m, depth_min 0.01"
        assert any(n.startswith(note) for n in recording.notes)

    def test_inspect_says_what_the_video_is(self, toy: Callable[..., Toy], videos: Callable[..., bytes]) -> None:
        info = {s.name: s for s in lerobot_v3.inspect(toy(video=videos()).write()).streams}[KEY]
        assert (info.kind, info.codec, info.shape, info.count) == ("video", "h264", (HEIGHT, WIDTH, 3), 7)


# ------------------------------------------------------------------- images


class TestImages:
    JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108003000400301220002110103110100ffd9")

    def images(self, episode: int, count: int) -> list[bytes]:
        return [self.JPEG + bytes([episode, k]) * (k + 1) for k in range(count)]

    def test_images_in_rows_pass_through_one_by_one(self, toy: Callable[..., Toy]) -> None:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

        def change(episode: int, rows: Table) -> Table:
            found = self.images(episode, len(rows["frame_index"]))  # type: ignore[arg-type]
            return {**rows, KEY: pa.array([{"bytes": i, "path": f"{k}.jpg"} for k, i in enumerate(found)], type=kind)}

        features = {KEY: {"dtype": "image", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}}
        made = toy(change_rows=change, features=features)
        root = made.write()
        pq.write_table(pa.concat_tables(made.tables()), root / DATA, row_group_size=4)
        for episode, length in enumerate(LENGTHS):
            for recording in reading(root, request(), episode):
                stream = camera(recording)
                expected = self.images(episode, length)
                assert (stream.codec, stream.height, stream.width) == ("jpeg", HEIGHT, WIDTH)
                assert stream.frames.sizes.tolist() == [len(i) for i in expected]
                assert [bytes(stream.frames.read(k)) for k in range(length)] == expected
                assert bytes(stream.frames.read(1)) == expected[1]

    def test_a_long_column_of_images_takes_the_memory_of_a_short_one(self, toy: Callable[..., Toy]) -> None:
        rng = np.random.default_rng(3)
        images = [self.JPEG + rng.bytes(200_000) for _ in range(400)]  # 80 MB

        def change(_: int, rows: Table) -> Table:
            return {**rows, KEY: pa.array(images, type=pa.binary())}

        features = {KEY: {"dtype": "image", "shape": [HEIGHT, WIDTH, 3], "names": None}}
        made = toy(lengths=(400,), change_rows=change, features=features)
        root = made.write()
        # what is unpacked at once is a page; the writer's default is one of 1,024 rows, whatever their size
        pq.write_table(made.tables()[0], root / DATA, write_batch_size=16, use_dictionary=False)
        for recording in reading(root, request()):
            frames = camera(recording).frames
            before = pa.total_allocated_bytes()
            peak = 0
            for k in range(400):
                assert bytes(frames.read(k)) == images[k]
                peak = max(peak, pa.total_allocated_bytes() - before)
            assert peak < 40_000_000


# ------------------------------------------------------------------- labels


def persistent(*entries: tuple[str, str | None, float]) -> list[Table]:
    return [
        {"role": "assistant", "content": text, "style": style, "timestamp": when, "camera": None, "tool_calls": None}
        for style, text, when in entries
    ]


LANGUAGE = pa.list_(
    pa.struct(
        [
            pa.field("role", pa.string(), nullable=False),
            ("content", pa.string()),
            ("style", pa.string()),
            pa.field("timestamp", pa.float32(), nullable=False),
            ("camera", pa.string()),
            ("tool_calls", pa.list_(pa.string())),
        ]
    )
)
EVENTS = pa.list_(pa.struct([f for f in LANGUAGE.value_type if f.name != "timestamp"]))


class TestLabels:
    def test_language_columns_become_subtasks_plans_and_paraphrases(self, toy: Callable[..., Toy]) -> None:
        listed = persistent(
            ("task_aug", "pile the cups up", 0.0),
            ("subtask", "reach", 0.0),
            ("plan", "reach, then grasp", 0.0),
            ("memory", "nothing yet", 0.1),
            ("subtask", "grasp", 0.3),
        )
        events: list[list[Table]] = [[] for _ in range(7)]
        events[2] = [
            {"role": "user", "content": "where?", "style": "vqa", "camera": KEY, "tool_calls": None},
            {"role": "assistant", "content": "{}", "style": "vqa", "camera": KEY, "tool_calls": None},
        ]
        events[4] = [{"role": "assistant", "content": "lift", "style": "subtask", "camera": None, "tool_calls": None}]

        def change(_: int, rows: Table) -> Table:
            return {
                **rows,
                "language_persistent": pa.array([listed] * 7, type=LANGUAGE),
                "language_events": pa.array(events, type=EVENTS),
            }

        language = {"dtype": "language", "shape": [1], "names": None}
        features = {"language_persistent": language, "language_events": language}
        root = toy(lengths=(7,), change_rows=change, features=features).write()
        recording = only(root, blind(subtask=LabelMapping(source="language_persistent")))
        assert recording.instructions == (
            Instruction(text="stack the cups"),
            Instruction(text="pile the cups up", kind="paraphrase"),
            Instruction(text="reach", kind="subtask", time_ns=0),
            Instruction(text="reach, then grasp", kind="plan", time_ns=0),
            Instruction(text="grasp", kind="subtask", time_ns=300_000_000),
        )
        assert "language_persistent: left out 1 memory" in recording.notes
        assert any("not kept: language_events" in n or "language_events" in n for n in recording.notes)
        recording = only(root, blind(subtask=LabelMapping(source="language_events")))
        assert recording.instructions[1:] == (Instruction(text="lift", kind="subtask", time_ns=400_000_000),)
        assert "language_events: left out 2 vqa" in recording.notes
        one = only(root, blind(subtask=LabelMapping(source="language_persistent", field="plan")))
        assert [i.kind for i in one.instructions] == ["task", "plan"]
        kinds = {s.name: s.kind for s in lerobot_v3.inspect(root).streams}
        assert kinds["language_persistent"] == kinds["language_events"] == "text"
        with pytest.raises(SourceError, match="has no field 'vqa'; styles that are instructions are"):
            only(root, blind(subtask=LabelMapping(source="language_persistent", field="vqa")))

    def test_a_list_that_is_not_the_same_on_every_row_is_a_note(self, toy: Callable[..., Toy]) -> None:
        lists = [persistent(("subtask", "reach", 0.0))] * 6 + [persistent(("subtask", "grasp", 0.0))]

        def change(_: int, rows: Table) -> Table:
            return {**rows, "language_persistent": pa.array(lists, type=LANGUAGE)}

        recording = only(
            toy(lengths=(7,), change_rows=change).write(), blind(subtask=LabelMapping(source="language_persistent"))
        )
        assert "language_persistent: 1 rows have another list than the first, which counts" in recording.notes

    def test_subtasks_by_number(self, toy: Callable[..., Toy]) -> None:
        def change(_: int, rows: Table) -> Table:
            return {**rows, "subtask_index": np.array([1, 1, 0, 0, 0, 2, 2])}

        root = toy(lengths=(7,), change_rows=change).write()
        frame = pd.DataFrame({"subtask_index": [0, 1]}, index=pd.Index(["grasp", "reach"], name="subtask"))
        frame.to_parquet(root / "meta" / "subtasks.parquet")
        recording = only(root, blind(subtask=LabelMapping(source="subtask_index")))
        assert recording.instructions[1:] == (
            Instruction(text="reach", kind="subtask", time_ns=0, end_ns=200_000_000),
            Instruction(text="grasp", kind="subtask", time_ns=200_000_000, end_ns=500_000_000),
        )
        assert "subtask_index: 2 not in meta/subtasks.parquet, or without a text" in recording.notes

    def test_a_task_that_changes_in_the_episode_is_timed(self, toy: Callable[..., Toy]) -> None:
        def change(_: int, rows: Table) -> Table:
            return {**rows, "task_index": np.array([0, 0, 0, 1, 1, 1, 1])}

        recording = only(toy(lengths=(7,), change_rows=change).write(), blind())
        assert recording.instructions == (
            Instruction(text="stack the cups", time_ns=0, end_ns=300_000_000),
            Instruction(text="unstack the cups", time_ns=300_000_000),
        )

    def test_success_interventions_and_rewards_become_outcomes(self, toy: Callable[..., Toy]) -> None:
        def change(_: int, rows: Table) -> Table:
            return {
                **rows,
                "next.success": np.array([False] * 6 + [True]),
                "next.done": np.array([False, True, False, False, False, False, False]),
                "intervention": np.array([False, True, True, False, False, True, True]),
                "next.reward": np.array([0, 0, 0.5, 0.5, 0, 0, 1], dtype=np.float32),
            }

        root = toy(lengths=(7,), change_rows=change).write()
        options = {"intervention": "intervention", "reward": "next.reward"}
        recording = only(root, blind(outcome=OutcomeMapping(source="next.success"), options=options))
        assert recording.outcomes == (
            Outcome(kind="success"),
            Outcome(kind="intervention", time_ns=100_000_000, end_ns=300_000_000),
            Outcome(kind="intervention", time_ns=500_000_000),
            Outcome(kind="reward", time_ns=200_000_000, end_ns=400_000_000, value=0.5),
            Outcome(kind="reward", time_ns=600_000_000, value=1.0),
        )
        recording = only(root, blind(outcome=OutcomeMapping(source="next.done")))
        assert recording.outcomes == (Outcome(kind="failure"),)
        assert "outcome: next.done is true at row 1 and false at the last, which counts" in recording.notes
        assert any(n.startswith("not kept: ") and "intervention" in n for n in recording.notes)

    def test_an_outcome_may_stand_in_the_table_of_episodes(self, toy: Callable[..., Toy]) -> None:
        root = toy(change_episode=lambda e, row: {**row, "success": e != 1}).write()
        wanted = blind(outcome=OutcomeMapping(source="success"))
        assert [only(root, wanted, e).outcomes[0].kind for e in range(3)] == ["success", "failure", "success"]


# ------------------------------------------------------------------- damage

KILLED = """
import os, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
numbers = np.random.default_rng(0).normal(size=1000)
table = pa.table({"episode_index": np.zeros(1000, dtype=np.int64), "action": numbers})
writer = pq.ParquetWriter(sys.argv[1], table.schema)
for _ in range(20):
    writer.write_table(table)
os._exit(9)  # the session ends before finalize
"""


def kill_writer(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == 9
    assert path.stat().st_size > 1000


UNFINISHED = "not parquet, or without its footer: the writer did not finish, or the file is cut off"


class TestDamage:
    def test_rows_of_a_killed_writer_say_so(self, toy: Callable[..., Toy]) -> None:
        root = toy().write()
        kill_writer(root / DATA)
        with pytest.raises(SourceError, match=rf"^{DATA}: {UNFINISHED}$"):
            only(root, blind())

    def test_a_table_of_episodes_of_a_killed_writer_says_so(self, toy: Callable[..., Toy]) -> None:
        root = toy().write()
        kill_writer(root / EPISODES)
        assert lerobot_v3.can_read(root)
        with pytest.raises(SourceError, match=rf"^{EPISODES}: {UNFINISHED}$"):
            lerobot_v3.places(root)

    def test_a_session_that_was_killed_before_any_table_says_so(self, toy: Callable[..., Toy]) -> None:
        root = toy().write()
        (root / EPISODES).unlink()
        kill_writer(root / DATA)
        with pytest.raises(SourceError, match=rf"meta/episodes has no table of episodes; {DATA}: {UNFINISHED}"):
            lerobot_v3.places(root)

    def test_the_episodes_before_the_kill_come_in(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        made.write_episodes((0, 1), EPISODES)
        kill_writer(root / "meta/episodes/chunk-000/file-001.parquet")
        assert [p.name for p in lerobot_v3.places(root)] == [f"episode_{e:06d}" for e in range(3)]
        assert len(values(only(root, blind(), 1), "state")) == 5
        message = (
            rf"^episode_000002 is in no table under meta/episodes that can be read; .*file-001\.parquet: {UNFINISHED}"
        )
        with pytest.raises(SourceError, match=message):
            only(root, blind(), 2)
        assert any(UNFINISHED in p for p in lerobot_v3.inspect(root).problems)

    def test_an_episode_whose_rows_are_missing_costs_itself(self, toy: Callable[..., Toy], tmp_path: Path) -> None:
        root = toy(change_episode=lambda e, row: {**row, "data/file_index": 7 if e == 1 else 0}).write()
        for num_new in (2, 0):  # again: nothing is new
            done = taken_in(root, tmp_path / "out", blind())
            assert (done.num_new, len(done.committed)) == (num_new, 2)
            (rejected,) = done.rejected
            assert rejected.place == "episode_000001"
            assert rejected.reason == "data/chunk-000/file-007.parquet is not there"

    def test_a_dataset_that_grew_gives_its_new_episodes_only(self, toy: Callable[..., Toy], tmp_path: Path) -> None:
        root = toy().write()
        assert taken_in(root, tmp_path / "out", blind()).num_new == 3
        toy(lengths=(*LENGTHS, 4)).write()
        done = taken_in(root, tmp_path / "out", blind())
        assert (done.num_new, len(done.committed), done.rejected) == (1, 4, ())

    def test_rows_of_another_episode_only_are_named(self, toy: Callable[..., Toy]) -> None:
        made = toy()
        root = made.write()
        pq.write_table(made.tables()[0], root / DATA)
        with pytest.raises(
            SourceError, match=rf"^{DATA} has no row of episode_000001, which meta/episodes places there"
        ):
            only(root, blind(), 1)

    def test_a_git_lfs_pointer_is_told(self, toy: Callable[..., Toy]) -> None:
        root = toy().write()
        put(root / DATA, b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 99\n")
        with pytest.raises(SourceError, match=rf"^{DATA} is a Git LFS pointer.*git lfs pull$"):
            only(root, blind())

    def test_a_template_that_leaves_the_folder_is_refused(self, toy: Callable[..., Toy]) -> None:
        root = toy(info={"data_path": "../{chunk_index}/{file_index}.parquet"}).write()
        with pytest.raises(GateError):
            only(root, blind())

    def test_absurd_numbers_of_episodes_are_refused(self, toy: Callable[..., Toy]) -> None:
        made = toy(info={"total_episodes": 10**15})
        root = made.write()
        assert len(lerobot_v3.places(root)) == 3  # only a number; the table counts
        kill_writer(root / "meta/episodes/chunk-000/file-001.parquet")
        with pytest.raises(GateError, match="episodes; must have at most"):
            lerobot_v3.places(root)

    def test_changed_files_give_an_error_or_rows(self, toy: Callable[..., Toy], videos: Callable[..., bytes]) -> None:
        root = toy(video=videos()).write()
        names = ["meta/info.json", "meta/tasks.parquet", EPISODES, DATA, VIDEO]
        whole = {n: (root / n).read_bytes() for n in names}
        rng = np.random.default_rng(8)
        num_good, messages = 0, []
        for turn in range(300):
            name = names[turn % len(names)]
            put(root / name, mutated(whole[name], rng))
            os.utime(root / name, ns=(turn, turn))
            try:
                if lerobot_v3.can_read(root):
                    for place in lerobot_v3.places(root)[:20]:
                        for recording in lerobot_v3.read(root, place, request()):
                            for stream in recording.streams.values():
                                if isinstance(stream, FrameStream):
                                    for k in range(len(stream.frames.sizes)):
                                        stream.frames.read(k)
                    lerobot_v3.inspect(root)
                num_good += 1
            except VladataError as error:
                messages.append(str(error))
            put(root / name, whole[name])
        assert len(messages) > 50
        assert num_good > 5
        assert not [m for m in messages if "\n" in m or len(m) > 1000]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut or splice."""
    kind = rng.integers(4)
    if kind == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    if kind == 1:
        start, stop = sorted(rng.integers(len(data), size=2))
        del changed[start : min(stop, start + 64)]
        return bytes(changed)
    for place in rng.integers(len(data), size=rng.integers(1, 6)):
        changed[place] = rng.integers(256)
    return bytes(changed)


# ------------------------------------------------------------------- property


@st.composite
def datasets(draw: st.DrawFn) -> dict[str, object]:
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    dtype = draw(st.sampled_from(["float32", "float64", "int64"]))
    return {
        "lengths": lengths,
        "dtype": dtype,
        "seed": draw(st.integers(0, 2**16)),
        "group": draw(st.integers(1, 40)),
        "splits": sorted(draw(st.sets(st.integers(1, max(1, sum(lengths) - 1)), max_size=3))),
        "is_timed": draw(st.booleans()),
    }


class TestProperty:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(made=datasets())
    def test_what_was_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, made: dict[str, object]) -> None:
        lengths: list[int] = made["lengths"]  # type: ignore[assignment]
        rng = np.random.default_rng(made["seed"])  # type: ignore[arg-type]
        total = sum(lengths)
        numbers = rng.integers(-1000, 1000, (total, 2)).astype(str(made["dtype"])) / (
            1 if made["dtype"] == "int64" else 7
        )
        numbers = numbers.astype(str(made["dtype"]))
        jpegs = [TestImages.JPEG + rng.bytes(int(rng.integers(0, 50))) for _ in range(total)]
        starts = np.cumsum([0, *lengths])
        stamps_ns = np.concatenate([np.cumsum(rng.integers(1, 10**9, n)) for n in lengths])
        cuts = [0, *(c for c in made["splits"] if c < total), total]  # type: ignore[attr-defined]
        files = [(int(np.searchsorted(cuts, s, side="right")) - 1) for s in starts[:-1]]

        def change_episode(episode: int, row: Table) -> Table:
            return {**row, "data/file_index": files[episode]}

        toy = Toy(
            root=tmp_path_factory.mktemp("property"),
            lengths=lengths,
            change_episode=change_episode,
            features={KEY: {"dtype": "image", "shape": [HEIGHT, WIDTH, 3], "names": None}},
        )
        toy.write_meta()
        table = pa.concat_tables(toy.tables())
        flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 2)
        table = table.set_column(table.column_names.index("action"), "action", flat)
        table = table.append_column(KEY, pa.array([{"bytes": j, "path": None} for j in jpegs]))
        if made["is_timed"]:
            seconds = pa.array(stamps_ns / 1e9)
            table = table.set_column(table.column_names.index("timestamp"), "timestamp", seconds)
        for k, (a, b) in enumerate(itertools.pairwise(cuts)):
            path = toy.root / f"data/chunk-000/file-{k:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(a, b - a), path, row_group_size=made["group"])
        for episode, length in enumerate(lengths):
            mine = slice(starts[episode], starts[episode + 1])
            for recording in reading(toy.root, request(), episode):
                found = values(recording, "action")
                assert found.dtype == numbers.dtype
                assert found.tolist() == numbers[mine].tolist()
                frames = camera(recording).frames
                assert [bytes(frames.read(k)) for k in range(length)] == jpegs[mine]
                expected = [round(k * 1e9 / FPS) for k in range(length)]
                # one row has no interval that could differ; more are timed by their column
                if made["is_timed"] and length > 1:
                    expected = stamps_ns[mine].tolist()
                    assert recording.streams["action"].clock is Clock.MONOTONIC
                if length > 1:
                    assert recording.streams["action"].time_ns.tolist() == expected
