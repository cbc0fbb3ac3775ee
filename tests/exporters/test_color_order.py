"""Cameras whose recorder had swapped red and blue: declared in the schema, undone on reading."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from PIL import Image

import vladata

SCHEMA = Path(__file__).parents[2] / "schemas" / "sample_arm.yaml"


def test_swapped_channels_are_undone_in_frames_and_exports_and_stay_as_they_came_in_the_episode(
    cli, write_recording, tmp_path
):
    schema = yaml.safe_load(SCHEMA.read_text())
    next(c for c in schema["cameras"] if c["name"] == "front")["color_order"] = "bgr"
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(schema))
    path = write_recording(tmp_path / "demo.mcap", seconds=1)
    assert cli("ingest", path, "-s", tmp_path / "robot.yaml", "-o", tmp_path / "out").returncode == 0
    assert cli("ingest", path, "-s", "sample_arm", "-o", tmp_path / "plain").returncode == 0
    (episode,), (plain,) = vladata.open(tmp_path / "out"), vladata.open(tmp_path / "plain")
    assert episode.streams["front"].frames.read(3) == plain.streams["front"].frames.read(3)
    frame = plain.frame("front", 3)
    assert not np.array_equal(frame, frame[..., ::-1])
    np.testing.assert_array_equal(episode.frame("front", 3), frame[..., ::-1])
    np.testing.assert_array_equal(episode.frame("wrist", 3), plain.frame("wrist", 3))

    assert cli("export", tmp_path / "out", "-o", tmp_path / "shards", "--split", "train=1").returncode in {0, 3}
    row = pq.read_table(next((tmp_path / "shards").glob("data/*/*.parquet"))).slice(0, 1).to_pylist()[0]
    shown = np.asarray(Image.open(io.BytesIO(row["observation.images.front"]["bytes"])))
    wanted = plain.frame("front", int(plain.steps.images["front"][row["step_index"]]))[..., ::-1]
    assert np.abs(shown.astype(int) - wanted).mean() < 4
    wrist = plain.streams["wrist"].frames.read(int(plain.steps.images["wrist"][row["step_index"]]))
    assert row["observation.images.wrist"]["bytes"] == bytes(wrist)
    assert cli("verify", tmp_path / "shards").returncode == 0
    assert "had swapped red and blue; it was undone" in (tmp_path / "shards" / "README.md").read_text()
