"""`vladata retokenize`, `vladata tokenizer report` and `fit`, as users run them."""

import json
from pathlib import Path

import pytest

from vladata.action_tokenizer import ActionTokenizer

SCHEMES = "openvla_bins,uniform_bins:num_codes=16,uniform_bins:num_codes=0"


@pytest.fixture
def out(cli, dataset: Path, tmp_path: Path) -> Path:
    words = ("--tokenizer", "openvla_bins", "--horizon", 4)
    assert cli("export", dataset, "-o", tmp_path / "out", *words).returncode in (0, 3)
    return tmp_path / "out"


def test_retokenize_there_and_back(cli, out, digest_of_tree):
    before = digest_of_tree(out)
    words = ("retokenize", out, "--tokenizer", "uniform_bins", "--bins", 64, "--workers", 1)
    planned = cli(*words, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "nothing was written" in planned.stdout
    plan = json.loads(cli(*words, "--dry-run", "--json").stdout)
    assert digest_of_tree(out) == before
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert "openvla_bins -> uniform_bins" in done.stdout
    assert "left alone" in done.stdout
    assert cli("verify", out, "--workers", 1).returncode == 0
    back = json.loads(cli("retokenize", out, "--tokenizer", "openvla_bins", "--workers", 1, "--json").stdout)
    assert (back["rows"], back["image_bytes"]) == (plan["rows"], plan["image_bytes"])
    assert digest_of_tree(out) == before
    assert "nothing to put back" in cli("retokenize", out, "--undo").stdout
    assert json.loads(cli("retokenize", out, "--undo", "--json").stdout) == {"undone": False}


def test_retokenize_says_what_is_missing(cli, out, tmp_path):
    assert cli("retokenize", out).returncode == 2
    done = cli("retokenize", tmp_path / "nothing", "--tokenizer", "rt1_bins")
    assert done.returncode == 1
    assert "no export" in done.stderr
    wrong = cli("retokenize", out, "--tokenizer", "uniform_bins", "--codec-option", "num_codes")
    assert wrong.returncode == 2
    assert "NAME=VALUE" in wrong.stderr


def test_report_of_a_dataset_and_of_its_export(cli, dataset, out, tmp_path):
    plot = tmp_path / "a.png"
    done = cli("tokenizer", "report", dataset, "--horizon", 4, "--schemes", SCHEMES, "--plot", plot, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert plot.is_file()
    for word in ("uniform_bins:num_codes=16", "held out", "encode/s", "joint_command.joint1", "rad"):
        assert word in done.stdout
    assert "uniform_bins:num_codes=0: can't be used here" in done.stderr
    words = ("--schemes", "openvla_bins", "--json", "--max-tokens", 10, "--workers", 1)
    one = json.loads(cli("tokenizer", "report", dataset, "--horizon", 4, *words).stdout)
    other = json.loads(cli("tokenizer", "report", out, *words).stdout)
    assert one["schemes"][0]["loss"] == other["schemes"][0]["loss"]
    assert one["schemes"][0]["over_limit"] == one["schemes"][0]["loss"]["chunks"]


def test_without_options_they_are_of_one_second_with_fast_safe_first(cli, dataset, tmp_path):
    found = json.loads(cli("tokenizer", "report", dataset, "--json", "--workers", 1).stdout)
    names = [scheme["scheme"] for scheme in found["schemes"]]
    assert names[:3] == ["fast_safe", "fast", "bspline"]
    assert {"openvla_bins", "quantile_bins"} < set(names)
    assert (found["horizon"], found["failed"]) == (10, {})
    done = cli("tokenizer", "fit", dataset, "-o", tmp_path / "bundle", "--workers", 1)
    assert done.returncode == 0, done.stderr
    made = ActionTokenizer.load(tmp_path / "bundle")
    assert (made.scheme, made.horizon) == ("fast_safe", 10)


def test_the_plot_is_there_where_nobody_reads_the_table_to_its_end(cli, out, tmp_path, monkeypatch):
    def closed(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("vladata_cli.tokenizer_report._print", closed)
    plot = tmp_path / "a.svg"
    with pytest.raises(ZeroDivisionError):
        cli("tokenizer", "report", out, "--schemes", "uniform_bins", "--plot", plot, "--workers", 1)
    assert plot.is_file()


def test_report_refuses_options_that_an_export_has_decided(cli, out, tmp_path):
    done = cli("tokenizer", "report", out, "--horizon", 4)
    assert done.returncode == 2
    assert "leave out --horizon" in done.stderr
    (tmp_path / "a.png").write_text("mine")
    for name in ("a.png", "a.pdf"):
        assert cli("tokenizer", "report", out, "--plot", tmp_path / name).returncode == 2
    assert cli("tokenizer", "report", out, "--schemes", " , ").returncode == 2
    assert cli("tokenizer", "report", out, "--schemes", "uniform_bins:num_codes=0").returncode == 1


def test_fit_writes_what_an_export_would_have(cli, dataset, out, tmp_path):
    bundle = tmp_path / "bundle"
    words = ("--scheme", "quantile_bins", "--codec-option", "num_codes=32", "-o", bundle, "--workers", 1)
    dry = cli("tokenizer", "fit", dataset, *words, "--horizon", 4, "--dry-run")
    assert (dry.returncode, bundle.exists()) == (0, False)
    done = cli("tokenizer", "fit", dataset, *words, "--horizon", 4)
    assert done.returncode == 0, done.stderr
    assert "quantile_bins:num_codes=32" in done.stdout
    made = ActionTokenizer.load(bundle)
    assert made.codec.num_codes == 32
    again = cli("tokenizer", "fit", out, *words)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    other = cli("tokenizer", "fit", out, *words[:4], "-o", tmp_path / "other", "--json", "--workers", 1)
    assert json.loads(other.stdout)["schemes"][0]["num_codes"] == 32
    assert ActionTokenizer.load(tmp_path / "other").digest == made.digest
