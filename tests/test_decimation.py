"""A slower embodiment than the recording: delta actions are composed, absolute ones sampled."""

from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

import vladata

SCHEMA = Path(__file__).parents[1] / "schemas" / "widowx_bridge.yaml"


def test_real_delta_actions_at_a_fifth_of_the_rate_are_the_sum_with_rotations_composed(cli, shared_data, tmp_path):
    plain = yaml.safe_load(SCHEMA.read_text())
    slow = yaml.safe_load(SCHEMA.read_text())
    slow["rate_hz"] = plain["rate_hz"] / 5
    slow["mappings"]["rlds"] |= {"options": {"rate_hz": float(plain["rate_hz"])}, "step_clock": {"kind": "grid"}}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(slow))
    source = shared_data / "bridge_rlds_tfrecord" / "bridge_dataset" / "1.0.0"
    shard = next(source.glob("*-val.tfrecord-*"))
    assert cli("ingest", shard, "-s", "widowx_bridge", "-o", tmp_path / "plain").returncode == 0
    done = cli("ingest", shard, "-s", tmp_path / "slow.yaml", "-o", tmp_path / "slow")
    assert done.returncode == 0, done.stderr
    assert "no times are recorded: stamps are step / 5 Hz, options.rate_hz" in done.stderr
    every = {e.provenance["place"]: e for e in vladata.open(tmp_path / "plain")}
    assert len(every) > 10
    for episode in vladata.open(tmp_path / "slow"):
        other = every[episode.provenance["place"]]
        fast, found = other.steps.action["action"].astype(np.float64), episode.steps.action["action"]
        assert (len(fast), len(found)) == (10, 2)
        np.testing.assert_array_equal(episode.streams["action"].values, other.streams["action"].values)
        for k in range(2):
            part = fast[5 * k : 5 * k + 5]
            np.testing.assert_allclose(found[k, :3], part[:, :3].sum(axis=0), atol=1e-6)
            total = Rotation.identity()
            for turn in Rotation.from_euler("xyz", part[:, 3:6]):
                total = turn * total
            np.testing.assert_allclose(found[k, 3:6], total.as_euler("xyz"), atol=1e-6)
            assert found[k, 6] == np.float32(part[0, 6])
