"""What docs/checks/real-data.md says of the real recordings, from the recording to the report."""

import json
from pathlib import Path

import pytest
import yaml

JOINTS = (
    "shoulder_pan.pos",
    "shoulder_lift.pos",
    "elbow_flex.pos",
    "wrist_flex.pos",
    "wrist_yaw.pos",
    "wrist_roll.pos",
)


@pytest.fixture
def judged(cli, tmp_path):
    """Ingest a recording with a schema and give the findings from warning on, as check and severity."""

    def run(recording, schema):
        done = cli("ingest", recording, "-s", schema, "-o", tmp_path / "dataset", "--set", "instruction=move")
        assert done.returncode in (0, 3), done.stderr
        report = json.loads(cli("validate", tmp_path / "dataset", "--json").stdout)
        return sorted({(f["check"], f["severity"]) for f in report["findings"] if f["severity"] != "info"})

    return run


def arm(path, units):
    """A schema of the reBot arm whose joints the mapping reads in a unit."""
    joints = [{"name": n, "kind": "joint_position", "unit": "rad"} for n in JOINTS]
    gripper = {"name": "gripper.pos", "kind": "gripper_aperture", "unit": "1"}
    said = [{} if units is None else {"units": dict.fromkeys(JOINTS, units)} for _ in range(2)]
    schema = {
        "name": "rebot",
        "rate_hz": 30,
        "proprioception": [{"name": "state", "dimensions": [*joints, gripper]}],
        "action": [{"name": "action", "dimensions": [{**d, "mode": "absolute"} for d in (*joints, gripper)]}],
        "mappings": {
            "lerobot_v3": {
                "source": "lerobot_v3",
                "streams": {
                    "state": {"from": "observation.state", **said[0]},
                    "action": {"from": "action", **said[1]},
                },
            }
        },
    }
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    return path


def test_degrees_that_are_declared_radians_are_found(judged, shared_data, tmp_path):
    found = judged(shared_data / "rebot_devarm_lerobot_v30", arm(tmp_path / "rebot.yaml", None))
    assert ("meaning.units", "error") in found


def test_the_same_arm_declared_right_only_stands_still_at_its_end(judged, shared_data, tmp_path):
    found = judged(shared_data / "rebot_devarm_lerobot_v30", arm(tmp_path / "rebot.yaml", "deg"))
    assert found == [("motion.idle_tail", "warning")]


def test_the_bag_of_the_kuka_stands_still_and_its_stamps_are_ahead(judged, cli, shared_data, tmp_path):
    recording = shared_data / "kuka_joint_states_ros1_bag"
    assert cli("schema", "draft", recording, "--name", "kuka", "-o", tmp_path / "kuka.yaml").returncode == 0
    assert judged(recording, tmp_path / "kuka.yaml") == [
        ("motion.idle_head", "warning"),
        ("motion.idle_tail", "warning"),
        ("timing.ahead", "warning"),
    ]


def test_the_loop_of_the_so100_could_not_keep_its_rate(judged, cli, shared_data, tmp_path):
    recording = shared_data / "csv_robot_logs" / "inference_logs"
    assert cli("schema", "draft", recording, "--name", "so100", "-o", tmp_path / "so100.yaml").returncode == 0
    assert judged(recording, tmp_path / "so100.yaml") == [("timing.gaps", "warning"), ("timing.step_rate", "error")]


@pytest.mark.slow
def test_the_video_of_the_g1_repeats_its_frames_and_nothing_else_is_wrong(judged, shared_data, tmp_path):
    text = (Path(__file__).parents[2] / "schemas" / "unitree_g1_inspire.yaml").read_text()
    optional = text.replace("\nmappings:\n", "\nstreams:\n  cam_high: {required: false}\nmappings:\n", 1)
    schema = tmp_path / "g1.yaml"
    schema.write_text(optional)
    assert judged(shared_data / "g1_inspire_lerobot_v21", schema) == [("camera.few_frames", "warning")]
