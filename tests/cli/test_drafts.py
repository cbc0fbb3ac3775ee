"""Drafts through the command: inspect, draft, ingest with the draft, validate; for every kind of recording at hand."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import vladata
from vladata import plugins
from vladata.mapping import load_mapping, load_schema

Run = Callable[..., Any]


def bridge(shared: Path, folder: Path) -> Path:
    """Its validation split."""
    target = folder / "bridge_dataset" / "1.0.0"
    target.mkdir(parents=True)
    for path in (shared / "bridge_rlds_tfrecord" / "bridge_dataset" / "1.0.0").iterdir():
        if "train" not in path.name:
            shutil.copyfile(path, target / path.name)
    return target


def g1(shared: Path, folder: Path) -> Path:
    """The one episode that has its video."""
    source = shared / "g1_inspire_lerobot_v21"
    for path in [*source.glob("meta/*"), *source.rglob("episode_000001.*")]:
        target = folder / "g1" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder / "g1"


def rebot(shared: Path, folder: Path) -> Path:
    return shared / "rebot_devarm_lerobot_v30"


def so100(shared: Path, folder: Path) -> Path:
    return shared / "csv_robot_logs" / "inference_logs" / "adungus_eval_test_logging" / "20250721_092957"


def ur10(shared: Path, folder: Path) -> Path:
    return shared / "csv_robot_logs" / "act_train" / "latency_runs" / "run_20260514_203014"


def kuka(shared: Path, folder: Path) -> Path:
    return shared / "kuka_joint_states_ros1_bag"


def rerun(shared: Path, folder: Path) -> Path:
    return shared / "rerun_mcap_samples" / "rosbag2_2025_09_10-13_03_56_0.mcap"


REAL = [
    (bridge, "rlds", "", 25, ["state", "action"]),
    (g1, "lerobot_v2", "g1_29dof_with_hand.urdf", 1, ["state", "action"]),
    (rebot, "lerobot_v3", "reBot-DevArm_fixend.urdf", 1, ["state", "action"]),
    (so100, "csv_video", "so_arm100_5dof.urdf", 1, ["raw_pos", "pos"]),
    (ur10, "csv_video", "", 1, ["tcp", "qd", "q", "raw", "d", "target"]),
    (
        kuka,
        "ros_bag",
        "lula_franka_gen.urdf",
        1,
        ["joint_states_position", "joint_states_velocity", "joint_states_effort"],
    ),
    (rerun, "mcap", "", 1, ["joint_state_position", "joint_state_velocity", "joint_state_effort"]),
]


@pytest.mark.parametrize(("make", "source", "urdf", "count", "signals"), REAL, ids=[r[0].__name__ for r in REAL])
def test_real_recording_is_ingested_with_the_schema_drafted_from_it(
    cli: Run, shared_data: Path, tmp_path: Path, make: Any, source: str, urdf: str, count: int, signals: list[str]
) -> None:
    if source not in plugins.names("sources"):
        pytest.skip(f"{source} is not there")
    path, schema = make(shared_data, tmp_path), tmp_path / "draft.yaml"
    words = ["--urdf", shared_data / "urdf" / urdf] if urdf else []
    done = cli("schema", "draft", path, "--name", "drafted", "-o", schema, *words)
    assert done.returncode == 0, done.stderr
    assert "not looked at" not in done.stderr
    drafted = load_schema(schema)
    assert (drafted.name, sorted(drafted.mappings)) == ("drafted", [source])
    assert sorted(s.name for s in drafted.signals) == sorted(signals)
    done = cli("ingest", path, "--schema", schema, "-o", tmp_path / "data")
    assert done.returncode in {0, 3}, done.stderr
    dataset = vladata.open(tmp_path / "data")
    assert len(dataset.entries) == count
    episode = next(iter(dataset))
    assert {*episode.steps.proprioception, *episode.steps.action} == set(signals)
    for values in episode.steps.proprioception.values():
        assert np.isfinite(values).any()


def test_sample_recordings_are_ingested_with_the_draft_and_are_good(
    cli: Run, sample_recordings: Path, tmp_path: Path
) -> None:
    schema = tmp_path / "draft.yaml"
    assert cli("schema", "draft", sample_recordings / "demo_000.mcap", "-o", schema).returncode == 0
    assert cli("schema", "check", schema).returncode == 0
    text = re.sub(r"\n *#   (?=\S)", " ", schema.read_text("utf-8"))
    assert "names are those of joint_states_position, which they drive by order" in text
    assert "absolute: follows the level of joint_states_position (clear: correlation 1.00" in text
    done = cli("ingest", sample_recordings, "--schema", schema, "-o", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert cli("validate", tmp_path / "data").returncode == 0
    drafted = load_schema(schema)
    (command,) = drafted.action
    assert command.names == (*(f"joint{i}" for i in range(1, 7)), "gripper")
    # The mapping alone, for the drafted schema as for any other.
    mapping = tmp_path / "mapping.yaml"
    done = cli("inspect", sample_recordings / "demo_001.mcap", "--schema", schema, "--write-mapping", mapping)
    assert done.returncode == 0, done.stderr
    again, own = load_mapping(mapping, drafted.embodiment), drafted.mapping_for("mcap")
    assert own is not None
    assert {n: (s.source, s.field) for n, s in again.streams.items()} == {
        n: (s.source, s.field) for n, s in own.streams.items()
    }


def test_degrees_by_the_urdf_become_radians_in_the_episode_once_the_unit_of_time_is_said(
    cli: Run, tmp_path: Path
) -> None:
    if "csv_video" not in plugins.names("sources"):
        pytest.skip("csv_video is not there")
    time = np.arange(200) / 50
    degrees = np.stack([60 * np.sin(time + i) for i in range(3)], axis=1)
    names = [f"arm_{n}" for n in ("base", "elbow", "wrist")]
    rows = "\n".join(",".join(f"{v:.9g}" for v in (t, *row)) for t, row in zip(time, degrees, strict=True))
    (tmp_path / "log.csv").write_text(f"timestamp,{','.join(names)}\n{rows}\n")
    joints = "".join(
        f'<joint name="{n}_joint" type="revolute"><limit lower="-1.2" upper="1.2" velocity="2"/></joint>' for n in names
    )
    (tmp_path / "arm.urdf").write_text(f"<robot name='a'>{joints}</robot>")
    schema = tmp_path / "draft.yaml"
    done = cli("schema", "draft", tmp_path / "log.csv", "--urdf", tmp_path / "arm.urdf", "-o", schema)
    assert done.returncode == 0, done.stderr
    mapping = load_schema(schema).mapping_for("csv_video")
    assert mapping is not None
    ((name, stream),) = mapping.streams.items()
    assert stream.units == "deg"
    # Time that begins with 0 could count anything: the draft asks, and does not guess.
    assert cli("ingest", tmp_path / "log.csv", "--schema", schema, "-o", tmp_path / "none").returncode == 1
    schema.write_text(
        schema.read_text("utf-8").replace("# options: {time_unit: s}", "options: {time_unit: s}"), "utf-8"
    )
    done = cli("ingest", tmp_path / "log.csv", "--schema", schema, "-o", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    values = next(iter(vladata.open(tmp_path / "data"))).streams[name].values
    np.testing.assert_allclose(values, np.deg2rad(degrees), rtol=1e-7)
    mapping_file = tmp_path / "mapping.yaml"
    done = cli("inspect", tmp_path / "log.csv", "--urdf", tmp_path / "arm.urdf", "--write-mapping", mapping_file)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(mapping_file.read_text("utf-8"))["streams"][name]["units"] == "deg"


def test_urdf_that_is_none_stops_the_draft_with_one_line(cli: Run, sample_recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "arm.urdf").write_text("<mujoco/>")
    done = cli("schema", "draft", sample_recordings / "demo_000.mcap", "--urdf", tmp_path / "arm.urdf")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vladata: arm.urdf: its root element is <mujoco>; must be <robot>, as a URDF has it\n"


def test_recording_that_is_none_gives_the_reason(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"nothing of the kind")
    done = cli("schema", "draft", tmp_path / "a.mcap")
    assert done.returncode == 1
    assert "a.mcap" in done.stderr


class Broken:
    """A source whose second stream can't be read."""

    __name__ = "broken"

    def __init__(self, places: int = 1, rows: int = 30) -> None:
        from vladata.sources import Place

        self.num_reads = 0
        self.all_places = tuple(Place(name=f"e{i}") for i in range(places))
        self.rows = rows

    def read(self, _path: Path, place: Any, request: Any) -> Iterator[Any]:
        from vladata.errors import SourceError
        from vladata.recording import Recording, Stream
        from vladata.units import Clock

        self.num_reads += 1
        if any(m.source == "bad" for m in request.mapping.streams.values()):
            raise SourceError("bad: rows of two lengths")
        time_ns = np.arange(self.rows, dtype=np.int64)
        streams = {
            name: Stream(name=name, clock=Clock.NOMINAL, time_ns=time_ns, values=np.full((self.rows, 2), 1.5))
            for name in request.mapping.streams
        }
        yield Recording(recording_id="x", source="broken", place=place.name, files=(), streams=streams, is_stepped=True)


def inspection_of(module: Broken, *names: str, rows: int = 30) -> Any:
    from vladata.sources import Inspection, StreamInfo

    streams = tuple(StreamInfo(name=n, type="t", count=rows, shape=(2,)) for n in names)
    return Inspection(source="broken", places=module.all_places, looked_at="e0", streams=streams)


def test_stream_that_can_not_be_read_does_not_hide_the_others() -> None:
    from vladata.drafts import take_samples

    module = Broken()
    look = take_samples(module, Path("x"), inspection_of(module, "good", "bad", "fine"))  # type: ignore[arg-type]
    assert sorted(look.samples) == [("fine", None), ("good", None)]
    assert look.problems == ("bad: bad: rows of two lengths",)


def test_short_demonstrations_are_looked_at_together() -> None:
    from vladata.drafts import take_samples

    module = Broken(places=5, rows=30)
    look = take_samples(module, Path("x"), inspection_of(module, "good"))  # type: ignore[arg-type]
    sample = look.samples["good", None]
    assert sample.values.shape == (150, 2)
    assert np.bincount(sample.part).tolist() == [30] * 5


def test_stream_of_too_many_values_is_not_looked_at_and_said() -> None:
    from vladata.drafts import take_samples

    module = Broken()
    found = inspection_of(module, "huge", rows=10**9)
    look = take_samples(module, Path("x"), found)  # type: ignore[arg-type]
    assert (look.samples, module.num_reads) == ({}, 0)
    assert look.problems == ("huge: 1,000,000,000 samples are too many to look at their values",)
