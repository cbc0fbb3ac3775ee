"""`resync`: the steps of committed episodes are made anew, and can go back."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import vladata

SCHEMA = Path(__file__).parents[2] / "schemas" / "sample_arm.yaml"


@pytest.fixture
def changed(tmp_path):
    """Write the sample schema with changes; gives its path."""

    def write(change):
        schema = yaml.safe_load(SCHEMA.read_text())
        change(schema)
        path = tmp_path / "robot.yaml"
        path.write_text(yaml.safe_dump(schema))
        return path

    return write


def test_without_a_change_every_episode_is_the_same_byte_for_byte(cli, sample_dataset, tmp_path, digest_of_tree):
    done = cli("resync", sample_dataset, "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "6 new episodes" in done.stdout
    assert digest_of_tree(tmp_path / "again") == digest_of_tree(sample_dataset)
    assert "0 new episodes, 6 already there" in cli("resync", sample_dataset, "-o", tmp_path / "again").stdout


def test_another_rate_equals_an_ingest_of_the_recordings_and_goes_back(
    cli, sample_dataset, sample_recordings, tmp_path, changed, digest_of_tree
):
    schema = changed(lambda s: s.update(rate_hz=5))
    assert cli("resync", sample_dataset, "-s", schema, "-o", tmp_path / "slow").returncode == 0
    assert cli("ingest", sample_recordings, "-s", schema, "-o", tmp_path / "ingested").returncode in {0, 3}
    assert digest_of_tree(tmp_path / "slow") == digest_of_tree(tmp_path / "ingested")
    assert cli("resync", tmp_path / "slow", "-s", "sample_arm", "-o", tmp_path / "back").returncode == 0
    assert digest_of_tree(tmp_path / "back") == digest_of_tree(sample_dataset)


def test_offsets_and_corrections_are_taken_back_by_a_mapping_without_them(cli, sample_dataset, tmp_path):
    plain = yaml.safe_load(SCHEMA.read_text())["mappings"]["mcap"]
    for name in ("front", "wrist"):
        plain["streams"][name].pop("offset_ns")
        plain["streams"][name]["latency_ns"] = 20_000_000
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(plain))
    done = cli("resync", sample_dataset, "--mapping", tmp_path / "mapping.yaml", "-o", tmp_path / "moved")
    assert done.returncode == 0, done.stderr
    for old, new in zip(vladata.open(sample_dataset), vladata.open(tmp_path / "moved"), strict=True):
        assert old.recording_id == new.recording_id
        assert old.content_digest == new.content_digest
        assert old.episode_id != new.episode_id
        first = new.steps.images["front"][0]
        assert new.steps.time_ns[0] == new.streams["front"].time_ns[first] - 20_000_000


def test_edits_go_along_and_conversions_are_not_done_twice(cli, write_recording, tmp_path, changed):
    schema = changed(lambda s: s["mappings"]["mcap"]["streams"]["joint_velocity"].update(units={"joint1": "deg/s"}))
    path = write_recording(tmp_path / "demo.mcap", seconds=1)
    assert cli("ingest", path, "-s", schema, "-o", tmp_path / "out", "--set", "operator=p7").returncode == 0
    (episode,) = vladata.open(tmp_path / "out")
    edit = cli("edit", "relabel", tmp_path / "out", episode.episode_id[:8], "lift the cube")
    assert edit.returncode == 0, edit.stderr
    slow = changed(lambda s: s.update(rate_hz=5))
    assert cli("resync", tmp_path / "out", "-s", slow, "-o", tmp_path / "slow").returncode == 0
    (again,) = vladata.open(tmp_path / "slow")
    assert again.instruction == "lift the cube"
    assert again.metadata == (next(iter(vladata.open(tmp_path / "out")))).metadata
    assert again.provenance["conversions"] == episode.provenance["conversions"]
    np.testing.assert_array_equal(again.streams["joint_velocity"].values, episode.streams["joint_velocity"].values)
    assert cli("verify", tmp_path / "slow").returncode == 0


def test_what_can_t_be_made_anew_is_refused_in_one_line(cli, sample_dataset, tmp_path, changed):
    done = cli("resync", sample_dataset, "-o", sample_dataset)
    assert done.returncode == 1
    assert "is the dataset itself" in done.stderr
    schema = changed(lambda s: s["proprioception"][0]["dimensions"].reverse())
    done = cli("resync", sample_dataset, "-s", schema, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "joint_position has other dimensions or units in the episode than in sample_arm" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_was_decided_at_reading_is_not_pretended_to_change(cli, sample_dataset, tmp_path):
    plain = yaml.safe_load(SCHEMA.read_text())["mappings"]["mcap"]
    plain["streams"]["front"]["clock"] = "log"
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(plain))
    done = cli("resync", sample_dataset, "--mapping", tmp_path / "mapping.yaml", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "streams.front.clock differs from the mapping that the episode was made with" in done.stderr
