"""Two robots that nobody here built, in one mixture: BridgeData (7 dimensions, 4 cameras) and a Unitree G1."""

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer


@pytest.fixture(scope="module")
def robots(shared_data, process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robots")
    sources = {
        "bridge": ("bridge_rlds_tfrecord", "widowx_bridge"),
        "g1": ("g1_inspire_lerobot_v21", "unitree_g1_inspire"),
    }
    for name, (source, schema) in sources.items():
        done = process("ingest", shared_data / source, "-s", schema, "-o", folder / f"{name}_dataset", "--workers", 2)
        assert done.returncode in {0, 3}, done.stderr
        done = process(
            "export",
            folder / f"{name}_dataset",
            "-o",
            folder / name,
            "--horizon",
            4,
            "--image-size",
            "64x64",
            "--tokenizer",
            "openvla_bins",
        )
        assert done.returncode in {0, 3}, done.stderr
    (folder / "mixture.yaml").write_text(
        """
        mixture: 1
        temperature: 2.0
        max_repeats: 3
        parts:
          - {name: bridge, export: bridge, cameras: {image_0: primary}}
          - {name: g1, export: g1, max_share: 0.5, cameras: {cam_high: primary}}
        """
    )
    return folder


@pytest.mark.parametrize("layout", ["padded", pytest.param("apart", marks=pytest.mark.slow)])
def test_they_are_mixed_and_verified(robots, process, tmp_path, layout):
    recipe = robots / f"{layout}.yaml"
    recipe.write_text(
        (robots / "mixture.yaml").read_text().replace("mixture: 1", f"mixture: 1\n        layout: {layout}")
    )
    out = tmp_path / "out"
    done = process("mix", recipe, "-o", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    done = process("verify", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    stored = json.loads((out / "mixture.json").read_text())
    counts = {p["name"]: p["epoch_rows"] for p in stored["parts"]}
    if layout == "apart":
        assert Counter(pq.read_table(out / "epoch.parquet").column("part").to_pylist()) == counts
        return
    rows = [r for p in sorted(out.glob("data/executor/train-*")) for r in pq.read_table(p).to_pylist()]
    assert Counter(r["part"] for r in rows) == counts
    assert all(r["observation.images.primary"]["bytes"][:2] == b"\xff\xd8" for r in rows)
    assert all((r["observation.images.image_1"] is None) == (r["part"] == "g1") for r in rows)
    tokenizers = {p.name: ActionTokenizer.load(p) for p in (out / "action_tokenizer").iterdir()}
    for row in rows[:200]:
        tokenizer = tokenizers[row["part"]]
        chunk = np.array(row["action_chunk"])[None, : tokenizer.horizon, : tokenizer.dims]
        decoded = tokenizer.decode_represented([row["action_codes"]])
        error = np.abs(decoded - chunk)
        assert (error[~tokenizer.is_clipped(chunk)] <= tokenizer.error_bound(chunk)[~tokenizer.is_clipped(chunk)]).all()
        assert sum(row["action_mask"]) == tokenizer.dims
