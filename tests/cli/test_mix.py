"""`vladata mix` and `vladata verify` of what it made."""

import json

import pytest
import yaml


@pytest.fixture
def recipe(cli, sample_dataset, tmp_path):
    """The sample dataset, exported twice with other tokenizers, in one recipe."""
    for name, horizon in (("one", 2), ("two", 4)):
        words = ["--tokenizer", "openvla_bins", "--horizon", horizon, "--workers", 1]
        done = cli("export", sample_dataset, "-o", tmp_path / name, *words)
        assert done.returncode == 3, done.stderr  # two steps lack an image
    path = tmp_path / "mixture.yaml"
    parts = [{"name": "one", "export": "one"}, {"name": "two", "export": "two", "weight": 3.0}]
    path.write_text(yaml.safe_dump({"mixture": 1, "epoch_rows": 400, "parts": parts}))
    return path


def test_the_plan_the_mixture_and_its_verification(cli, recipe, tmp_path):
    planned = cli("mix", recipe, "--dry-run", "--workers", 1)
    assert planned.returncode == 0, planned.stderr
    assert "0.750000000000" in planned.stdout
    assert planned.stdout.endswith("nothing was written\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mixture.yaml", "one", "two"]
    stated = json.loads(cli("mix", recipe, "--dry-run", "--json", "--workers", 1).stdout)
    done = cli("mix", recipe, "-o", tmp_path / "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "0.750000000000" in done.stdout
    assert "episodes that several parts train on" in done.stderr
    assert json.loads((tmp_path / "out" / "mixture.json").read_text()) == stated
    again = cli("mix", recipe, "-o", tmp_path / "out", "--json", "--workers", 1)
    result = json.loads(again.stdout)
    assert result["plan"] == stated
    assert result["kept"] == result["num_shards"]
    refused = cli("verify", tmp_path / "out", "--dataset", tmp_path)
    assert refused.returncode == 2
    assert "--dataset goes with an export" in refused.stderr
    verified = cli("verify", tmp_path / "out", "--json", "--workers", 1)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["problems"] == []
    next((tmp_path / "out").glob("data/executor/train-*")).write_bytes(b"")
    verified = cli("verify", tmp_path / "out", "--workers", 1)
    assert verified.returncode == 4
    assert "size or SHA-256 differ" in verified.stderr


def test_usage_and_errors(cli, recipe, tmp_path):
    done = cli("mix", recipe)
    assert done.returncode == 2
    assert "--output is missing" in done.stderr
    recipe.write_text(recipe.read_text() + "speed: 3\n")
    done = cli("mix", recipe, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == "vladata: mixture.yaml: speed: extra inputs are not permitted, found 3\n"
    done = cli("mix", tmp_path / "none.yaml", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert not (tmp_path / "out").exists()


def test_leaks_that_are_left_out_are_a_loss(cli, recipe, sample_dataset, tmp_path):
    for seed in range(1, 20):
        split = ["--split", "train=0.5", "--split", "held=0.5", "--seed", seed]
        bins = ["--tokenizer", "openvla_bins", "--horizon", 1, "--workers", 1]
        done = cli("export", sample_dataset, "-o", tmp_path / "two", *split, *bins)
        assert done.returncode == 3, done.stderr
        done = cli("mix", recipe, "-o", tmp_path / "out", "--workers", 1)
        if done.returncode:
            break
    assert "are trained on by one part and held out by another" in done.stderr
    recipe.write_text(recipe.read_text() + "leaks: leave_out\n")
    done = cli("mix", recipe, "-o", tmp_path / "out", "--workers", 1)
    assert done.returncode == 3, done.stderr
    assert "rows are left out of training" in done.stderr
