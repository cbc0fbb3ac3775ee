"""Every public recording beside the repository: looked at, taken in or refused, never a traceback."""

import json

import pytest

ITEMS = (
    "arm6dof_moveit_mcap",
    "bridge_rlds_tfrecord",
    "csv_robot_logs",
    "embag_ros1_bags",
    "g1_inspire_lerobot_v21",
    "kuka_joint_states_ros1_bag",
    "mcap_conformance",
    "rebot_devarm_lerobot_v30",
    "rerun_mcap_samples",
    "rosbag2_edge_cases",
    "so101_wrist_lerobot_v21_nodata",
    "urdf",
)
NO_RECORDING = {"urdf"}


def test_no_item_is_left_out(shared_data):
    assert sorted(p.name for p in shared_data.iterdir() if p.is_dir()) == sorted(ITEMS)


@pytest.mark.parametrize("item", ITEMS)
def test_inspect_describes_each_item_or_says_in_one_line_why_not(cli, shared_data, item):
    done = cli("inspect", shared_data / item)
    assert "Traceback" not in done.stderr
    if item in NO_RECORDING:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
    else:
        assert done.returncode == 0, done.stderr
        assert "demonstrations" in done.stdout.splitlines()[0]


@pytest.mark.parametrize("item", ITEMS)
def test_a_schema_of_another_robot_is_refused_with_true_reasons(cli, shared_data, tmp_path, item):
    """One line for each recording: no mapping for the format, or what the recording does not have."""
    done = cli("ingest", shared_data / item, "-s", "sample_arm", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    rejected = tmp_path / "out" / "rejected.json"
    if rejected.exists():
        reasons = [r["reason"] for r in json.loads(rejected.read_text())["rejected"]]
        assert reasons
        assert all("\n" not in r and len(r) < 1000 for r in reasons)
    else:
        *others, last = done.stderr.splitlines()
        assert last.startswith("vladata: ")
        assert all(line.startswith("ignored ") for line in others)


def test_every_file_alone_is_described_or_refused_in_one_line(shared_data):
    """Also the files that are a part of something: a parquet file, a video, a metadata file."""
    from vladata.errors import VladataError
    from vladata.ingest import discover, source_module

    seen: dict[str, int] = {}
    for path in sorted(p for p in shared_data.rglob("*") if p.is_file()):
        if path.parent.name == "chunk-000" and not path.stem.endswith("000001"):
            continue  # a hundred alike
        for found in discover(path).found:
            reason = ""
            try:
                source_module(found.source).inspect(found.path)
                seen[found.source] = seen.get(found.source, 0) + 1
            except VladataError as error:
                reason = str(error)
            assert "\n" not in reason
    assert seen["mcap"] >= 40
