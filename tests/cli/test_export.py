"""`export`, `verify` of an export, and `tokenizer`, from the user's view."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.store.dataset import Dataset
from vladata.vocabulary import tail_vocabulary

OPTIONS = ["--tokenizer", "openvla_bins", "--horizon", 2, "--split", "train=0.8", "--split", "test=0.2"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory, process, sample_dataset):
    out = tmp_path_factory.mktemp("shards") / "shards"
    done = process("export", sample_dataset, "-o", out, *OPTIONS)
    assert done.returncode == 3, done.stderr
    return out, done


def rows_of(out):
    files = sorted(out.glob("data/executor/*.parquet"))
    return [r for f in files for r in pq.read_table(f).to_pylist()]


class TestExport:
    def test_splits_are_printed_and_what_was_refused_is_on_stderr(self, shards):
        out, done = shards
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["split", "episodes", "rows", "shards", "size"]
        counts = {line.split()[0]: [int(n) for n in line.split()[1:4]] for line in lines[1:3]}
        assert set(counts) == {"train", "test"}
        assert counts["train"][0] + counts["test"][0] == 6
        assert lines[-1].startswith(f"{out}: action tokenizer ")
        assert "refused" in done.stderr
        assert "2 steps: no image of wrist" in done.stderr
        assert counts["train"][1] + counts["test"][1] == 448 - 2 - refused_actions(done.stderr)
        assert len(rows_of(out)) == counts["train"][1] + counts["test"][1]

    def test_json_says_the_same(self, cli, shards, sample_dataset):
        done = cli("export", sample_dataset, "-o", shards[0], *OPTIONS, "--json")
        assert done.returncode == 3
        found = json.loads(done.stdout)
        assert {"splits", "refused", "clipped", "notes", "content_digest", "tokenizer_digest"} <= set(found)
        assert found["kept"] == sum(s["shards"] for s in found["splits"].values())  # it was there already

    def test_a_dry_run_says_what_would_be_written_and_writes_nothing(self, cli, sample_dataset, tmp_path):
        words = ["-o", tmp_path / "out", "--horizon", "2", "--dry-run"]
        done = cli("export", sample_dataset, *words)
        assert done.returncode in (0, 3)
        assert "nothing was written" in done.stdout
        assert not list(tmp_path.iterdir())
        json.loads(cli("export", sample_dataset, *words, "--json").stdout)

    def test_without_options_chunks_are_one_second_in_codes_of_fast_safe(self, cli, sample_dataset, tmp_path):
        done = cli("export", sample_dataset, "-o", tmp_path / "out")
        assert done.returncode == 3, done.stderr  # two steps have no image
        assert "horizon: 1 s are 10 steps at 10 Hz, 1 s" in done.stderr
        tokenizer = ActionTokenizer.load(tmp_path / "out")
        assert (tokenizer.scheme, tokenizer.horizon) == ("fast_safe", 10)

    @pytest.mark.parametrize(("words", "horizon"), [(["--horizon", 3], 3), (["--horizon-s", 0.5], 5)])
    def test_horizons_are_steps_or_seconds(self, cli, sample_dataset, tmp_path, words, horizon):
        done = cli("export", sample_dataset, "-o", tmp_path / "out", *words, "--dry-run", "--json")
        assert json.loads(done.stdout)["horizon"] == horizon

    def test_more_seconds_than_steps_are_allowed_is_one_line(self, cli, sample_dataset, tmp_path):
        done = cli("export", sample_dataset, "-o", tmp_path / "out", "--horizon-s", 200)
        assert (done.returncode, (tmp_path / "out").exists()) == (1, False)
        assert done.stderr.splitlines()[-1] == (
            "vladata: horizon_s is 200, 2,000 steps at 10 Hz; it must be at most 100, 1,000 steps: set --horizon-s, "
            "or --horizon in steps"
        )

    @pytest.mark.parametrize(
        ("words", "stored"),
        [
            (["--codec-option", "scale=20"], {"scale": 20}),
            (["--codec-option", "scale=20", "--codec-option", "vocab_size=512"], {"scale": 20, "vocab_size": 512}),
            (["--tokenizer", "bspline", "--codec-option", "num_basis=4"], {"num_basis": 4}),
        ],
    )
    def test_options_of_codecs(self, cli, sample_dataset, tmp_path, words, stored):
        out = tmp_path / "out"
        done = cli("export", sample_dataset, "-o", out, *words)
        assert done.returncode == 3, done.stderr  # two steps have no image
        assert json.loads((out / "manifest.json").read_text())["options"]["codec_options"] == stored
        codec = ActionTokenizer.load(out).codec
        if "scale" in stored:
            assert codec.scale == 20
            assert codec.num_codes <= stored.get("vocab_size", 1024)
        else:
            assert {len(row["action_codes"]) for row in rows_of(out)} == {4 * 7}

    @pytest.mark.parametrize(
        ("pair", "code", "reason"),
        [
            ("speed=20", 1, "fast_safe: speed: unexpected"),
            ("scale", 2, "--codec-option 'scale'; it must be NAME=VALUE"),
            ("scale=much", 1, "scale"),
        ],
    )
    def test_options_that_a_codec_does_not_have_are_one_line(self, cli, sample_dataset, tmp_path, pair, code, reason):
        done = cli("export", sample_dataset, "-o", tmp_path / "out", "--codec-option", pair)
        assert (done.returncode, (tmp_path / "out").exists()) == (code, False)
        (line,) = [text for text in done.stderr.splitlines() if not text.startswith("export: ")]
        assert reason in line

    def test_rows_for_planners_and_questions_beside_those_of_the_executor(self, cli, sample_dataset, tmp_path):
        out = tmp_path / "out"
        words = ["-o", out, "--configs", "executor,planner,vqa", "--split", "train=0.5", "--split", "test=0.5"]
        planned = cli("export", sample_dataset, *words, "--dry-run")
        done = cli("export", sample_dataset, *words)
        assert done.returncode == 3  # two steps have no image
        table = [line.split() for line in done.stdout.splitlines() if line.startswith(("planner", "vqa"))]
        assert [line[:2] for line in table] == [[c, s] for c in ("planner", "vqa") for s in ("train", "test")]
        for config, split, episodes, rows, *_ in table:
            assert f"{config}: {split}: {episodes} episodes, {rows} rows" in planned.stdout
            files = sorted(out.glob(f"data/{config}/{split}-*.parquet"))
            assert sum(pq.read_metadata(f).num_rows for f in files) == int(rows)
        planner = [r for f in out.glob("data/planner/*") for r in pq.read_table(f).to_pylist()]
        ends = {r["outcome"]: r["target"] for r in planner if r["decision"] == "end"}
        assert ends == {"success": "done", "failure": "move the cube over the bin"}
        assert cli("verify", out).returncode == 0
        # The second grasp of demo_004: what was done before stands in the history again.
        again = [r for r in planner if r["history"][:3] == ["reach the cube", "grasp the cube", "lift the cube"]]
        assert ["reach the cube", "grasp the cube", "lift the cube", "reach the cube"] in [r["history"] for r in again]

    def test_unknown_configs_are_a_usage_error(self, cli, sample_dataset, tmp_path):
        done = cli("export", sample_dataset, "-o", tmp_path / "out", "--configs", "executor,critic")
        assert done.returncode == 2
        assert "--configs has 'critic'" in done.stderr

    def test_only_episodes_of_an_outcome(self, cli, sample_dataset, tmp_path):
        done = cli("export", sample_dataset, "-o", tmp_path / "out", "--outcome", "failure", "--split", "train=1")
        assert done.returncode in (0, 3), done.stderr
        failed = [e.episode_id for e in Dataset.open(sample_dataset).entries if e.outcome == "failure"]
        assert {r["episode_id"] for r in rows_of(tmp_path / "out")} == set(failed)

    def test_edits_are_exported(self, cli, dataset, tmp_path):
        assert cli("edit", "drop", dataset, "demo_002.mcap").returncode == 0
        assert cli("edit", "trim", dataset, "demo_000.mcap", "--end", "2.0").returncode == 0
        assert cli("edit", "relabel", dataset, "demo_000.mcap", "lift it").returncode == 0
        done = cli("export", dataset, "-o", tmp_path / "out")
        assert done.returncode in (0, 3), done.stderr
        rows = rows_of(tmp_path / "out")
        assert len({r["episode_id"] for r in rows}) == 5
        first = [r for r in rows if r["task"] == "lift it"]
        assert 18 <= len(first) <= 21

    def test_an_export_or_a_recording_is_not_exported(self, cli, shards, sample_recordings, tmp_path):
        done = cli("export", shards[0], "-o", tmp_path / "out")
        assert done.returncode == 1
        assert "an export, not a dataset of episodes" in done.stderr
        assert cli("export", sample_recordings, "-o", tmp_path / "out").returncode == 1
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_holds_something_else_is_not_written_to(self, cli, sample_dataset, tmp_path, digest_of_tree):
        (tmp_path / "thesis.tex").write_text("x")
        done = cli("export", sample_dataset, "-o", tmp_path)
        assert done.returncode == 1
        assert "thesis.tex" in done.stderr
        before = digest_of_tree(sample_dataset)
        assert cli("export", sample_dataset, "-o", sample_dataset).returncode == 1
        assert digest_of_tree(sample_dataset) == before


def refused_actions(stderr):
    import re

    return sum(int(n) for n in re.findall(r"(\d+) steps: (?!no image)", stderr))


class TestVerify:
    def test_every_row_is_compared_with_the_episodes(self, cli, shards):
        done = cli("verify", shards[0])
        assert done.returncode == 0, done.stderr
        assert f"{len(rows_of(shards[0]))} rows" in done.stdout

    def test_an_export_whose_dataset_is_gone_asks_for_it(self, cli, dataset, tmp_path):
        out = tmp_path / "shards"
        assert cli("export", dataset, "-o", out).returncode in (0, 3)
        dataset.rename(tmp_path / "moved")
        done = cli("verify", out)
        assert done.returncode == 1
        assert "its dataset can't be opened, name another" in done.stderr
        assert cli("verify", out, "--dataset", tmp_path / "moved").returncode == 0

    def test_a_dataset_that_was_edited_since_is_told(self, cli, dataset, tmp_path):
        out = tmp_path / "shards"
        assert cli("export", dataset, "-o", out).returncode in (0, 3)
        assert cli("edit", "relabel", dataset, "0", "lift it").returncode == 0
        done = cli("verify", out)
        assert done.returncode == 4
        assert done.stderr


class TestTokenizer:
    def test_codes_decode_to_the_action_within_half_a_bin(self, cli, shards):
        out, _ = shards
        row = rows_of(out)[40]
        chunk = np.array(row["action_chunk"])
        done = cli("tokenizer", "encode", out, json.dumps(chunk.tolist()))
        assert done.returncode == 0, done.stderr
        codes = json.loads(done.stdout)
        assert codes == row["action_codes"]
        back = np.array(json.loads(cli("tokenizer", "decode", out / "action_tokenizer", done.stdout).stdout))
        tokenizer = ActionTokenizer.load(out / "action_tokenizer")
        low, high = np.array(tokenizer.normalization.low), np.array(tokenizer.normalization.high)
        inside = np.clip(chunk, low, high)
        assert (np.abs(back - inside) <= tokenizer.error_bound(inside[None])[0]).all()

    def test_numbers_come_from_stdin_too(self, cli, shards):
        row = rows_of(shards[0])[0]
        done = cli("tokenizer", "encode", shards[0], "-", input=json.dumps(row["action_chunk"]))
        assert json.loads(done.stdout) == row["action_codes"]

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["encode", "[[0, 0, 0, 0, 0, 0, NaN], [0, 0, 0, 0, 0, 0, 0]]"], "nan"),
            (["encode", "[]"], "shape"),
            (["encode", "[[0, 0, 0]]"], "3"),
            (["encode", "[[[[0]]]]"], "must be [D], [H, D] or [N, H, D]"),
            (["encode", "[[[0]]]"], "must be [N, 2, 7]"),
            (["encode", '["1", "2"]'], "not an array of JSON numbers"),
            (["encode", "[" * 5000], "not an array of JSON numbers"),
            (["encode", "nothing"], "not an array of JSON numbers"),
            (["encode", "[[0], [0, 1]]"], "not an array of JSON numbers"),
            (["decode", "[0, 0, 0]"], "codes"),
            (["decode", "[0, 0, 0, 0, 0, 0, 999, 0, 0, 0, 0, 0, 0, 0]"], "999"),
            (["decode", "[0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"], "integers"),
            (["decode", "[true, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"], "integers"),
            (["decode", "[[0], 0]"], "integers"),
            (["decode", "{}"], "integers"),
            (["decode", f"[{10**30}]"], "integers"),
            (["decode", "[" + "0, " * 13 + "256]"], "codes[0, 13] is 256; must be 0 to 255"),
            (["decode", "[[" + "0, " * 13 + "0], [0]]"], "row 1 has 1 codes; must be 2 * 7 = 14"),
            (["decode", "--ids", "[1, 2]"], "the tokenizer has no vocabulary"),
            (["decode", "--relaxed", "[1, 2]"], "row 0 has 2 codes; must be at least those of one step, 7"),
            (["decode", "[-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"], "-1"),
        ],
    )
    def test_what_can_not_be_is_one_line(self, cli, shards, words, reason):
        done = cli("tokenizer", words[0], shards[0], *words[1:])
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert reason in done.stderr

    def test_rows_of_several_chunks_come_back_as_several(self, cli, shards):
        chunks = [row["action_chunk"] for row in rows_of(shards[0])[40:43]]
        codes = json.loads(cli("tokenizer", "encode", shards[0], json.dumps(chunks)).stdout)
        assert codes == [row["action_codes"] for row in rows_of(shards[0])[40:43]]
        back = json.loads(cli("tokenizer", "decode", shards[0], json.dumps(codes)).stdout)
        assert np.shape(back) == np.shape(chunks)
        assert json.loads(cli("tokenizer", "decode", shards[0], json.dumps(codes[1])).stdout) == back[1]

    def test_relaxed_tells_what_was_repaired(self, cli, shards):
        codes = rows_of(shards[0])[40]["action_codes"]
        good = cli("tokenizer", "decode", "--relaxed", shards[0], json.dumps(codes))
        assert (good.returncode, good.stderr) == (0, "")
        strict = cli("tokenizer", "decode", shards[0], json.dumps(codes))
        assert strict.stdout == good.stdout
        # A step is missing, and one code is none: the step before is held, the code is the nearest.
        short = [*codes[:6], 999]
        done = cli("tokenizer", "decode", "--relaxed", shards[0], json.dumps([codes, short]))
        assert done.returncode == 3
        assert done.stderr == "row 1: 8 codes repaired, 0 values clipped\n"
        first, second = json.loads(done.stdout)
        assert first == json.loads(good.stdout)
        assert second == [[*first[0][:6], second[0][6]]] * 2

    def test_ids_go_through_the_id_map(self, cli, shards, tmp_path):
        tokenizer = ActionTokenizer.load(shards[0])
        with_ids = dataclasses.replace(tokenizer, vocabulary=tail_vocabulary(256, vocab_size=32000))
        with_ids.save(tmp_path)
        row = rows_of(shards[0])[40]
        done = cli("tokenizer", "encode", "--ids", tmp_path, json.dumps(row["action_chunk"]))
        ids = json.loads(done.stdout)
        assert ids == [31999 - code for code in row["action_codes"]]
        back = cli("tokenizer", "decode", "--ids", tmp_path, json.dumps(ids))
        assert back.stdout == cli("tokenizer", "decode", shards[0], json.dumps(row["action_codes"])).stdout
        wrong = cli("tokenizer", "decode", "--ids", tmp_path, json.dumps([*ids[:3], 2, *ids[4:]]))
        assert wrong.returncode == 1
        assert "ids[0, 3] is 2; must be the id of an action code" in wrong.stderr
        assert cli("tokenizer", "decode", "--ids", tmp_path, json.dumps(ids[:7])).returncode == 1
        held = cli("tokenizer", "decode", "--ids", "--relaxed", tmp_path, json.dumps(ids[:7]))
        assert held.returncode == 3
        assert held.stderr == "row 0: 7 codes repaired, 0 values clipped\n"

    def test_a_folder_without_tokenizer_is_named(self, cli, tmp_path):
        done = cli("tokenizer", "decode", tmp_path, "[1]")
        assert done.returncode == 1
        assert tmp_path.name in done.stderr
