"""A mixture as trainers read it: rows, shares, columns, splits, and the same bytes each time."""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError, TokenizeError
from vladata.exporters.huggingface import ExportOptions
from vladata.mixtures.mix import mix, plan
from vladata.mixtures.verify import verify_mixture
from vladata.recording import Instruction

Recipe = Callable[..., Path]
Parts = Callable[..., list[dict[str, Any]]]

NUMBER_COLUMNS = ("observation.state", "action", "action_chunk", "action_is_pad")


def read_rows(out: Path, split: str = "train", config: str = "executor") -> list[dict[str, Any]]:
    return [r for p in sorted((out / "data" / config).glob(f"{split}-*")) for r in pq.read_table(p).to_pylist()]


def key(row: dict[str, Any]) -> tuple[str, int]:
    return row["episode_id"], row["step_index"]


LOADED = """
import base64, json, sys
import datasets

def plain(value):
    return base64.b64encode(value["bytes"]).decode() if isinstance(value, dict) else value

out, cache, *configs = sys.argv[1:]
for config in configs:
    loaded = datasets.load_dataset(out, config, cache_dir=cache)
    streamed = datasets.load_dataset(out, config, cache_dir=cache, streaming=True)
    for name, split in loaded.items():
        assert streamed[name].features == split.features
        for column in [n for n, f in split.features.items() if isinstance(f, datasets.Image)]:
            split = split.cast_column(column, datasets.Image(decode=False))
        rows, flowing = list(split), list(streamed[name].decode(False))
        assert rows == flowing, name
        print(json.dumps([config + " " + name, [{k: plain(v) for k, v in r.items()} for r in rows]]))
"""


def load(out: Path, cache: Path, *configs: str) -> dict[str, list[dict[str, Any]]]:
    """What `datasets` gives, plain and streamed, by config and split; in a process of its own."""
    command = [sys.executable, "-c", LOADED, str(out), str(cache), *configs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.fixture(scope="module")
def mixed(three_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three parts, 300 rows of train in several shards; only to be read."""
    folder = tmp_path_factory.mktemp("mixed")
    lines = "".join(f"  - {{name: {n}, export: {three_parts}/{n}/shards}}\n" for n in ("arm", "aloha", "small"))
    (folder / "mixture.yaml").write_text(f"mixture: 1\nepoch_rows: 300\nseed: 5\nparts:\n{lines}")
    mix(folder / "mixture.yaml", folder / "out", shard_bytes=250_000, workers=0)
    return folder / "out"


class TestPadded:
    def test_every_row_is_its_part_s_row_padded_and_masked(self, mixed: Path, three_parts: Path) -> None:
        own = {
            name: {key(r): r for s in ("train", "validation") for r in read_rows(three_parts / name / "shards", s)}
            for name in ("arm", "aloha", "small")
        }
        splits = ["train", "validation_arm", "validation_aloha", "validation_small"]
        rows = [r for s in splits for r in read_rows(mixed, s)]
        assert len(rows) == 300 + 16 + 31 + 11
        for row in rows:
            source = own[row["part"]][key(row)]
            assert row["embodiment"] == f"{row['part']}_robot"
            dims, horizon = len(source["action"]), len(source["action_chunk"])
            for name, width in (("observation.state", len(source["observation.state"])), ("action", dims)):
                assert row[name] == source[name] + [0.0] * (14 - width)
                assert row[name.rpartition(".")[2] + "_mask"] == [True] * width + [False] * (14 - width)
            chunk = np.array(row["action_chunk"])
            assert chunk.shape == (4, 14)
            assert (chunk[:horizon, :dims] == source["action_chunk"]).all()
            assert (chunk[horizon:] == 0).all()
            assert (chunk[:, dims:] == 0).all()
            assert row["action_is_pad"] == source["action_is_pad"] + [True] * (4 - horizon)
            for name in ("timestamp", "task", "subtask", "action_codes", "episode_index"):
                assert row[name] == source[name]
            for camera in ("front", "wrist", "top"):
                column = f"observation.images.{camera}"
                assert row[column] == source.get(column)

    def test_actions_come_back_by_the_part_s_own_tokenizer(self, mixed: Path) -> None:
        tokenizers = {p.name: ActionTokenizer.load(p) for p in (mixed / "action_tokenizer").iterdir()}
        assert set(tokenizers) == {"arm", "aloha", "small"}
        for row in read_rows(mixed):
            tokenizer = tokenizers[row["part"]]
            chunk = np.array(row["action_chunk"])[: tokenizer.horizon, : tokenizer.dims][None]
            codes = tokenizer.encode_represented(chunk)
            assert np.asarray(codes).tolist() == [row["action_codes"]]

    def test_the_shares_are_the_plan_s_and_no_row_comes_too_often(self, mixed: Path) -> None:
        stored = json.loads((mixed / "mixture.json").read_text())
        rows = read_rows(mixed)
        counts = Counter(r["part"] for r in rows)
        assert counts == {p["name"]: p["epoch_rows"] for p in stored["parts"]}
        assert sum(counts.values()) == stored["epoch_rows"] == 300
        times = Counter((r["part"], *key(r)) for r in rows)
        for part in stored["parts"]:
            own = [n for k, n in times.items() if k[0] == part["name"]]
            assert len(own) == part["pool"]
            assert {*own} <= {part["most"] - 1, part["most"]}
        assert Counter(r["embodiment"] for r in rows) == {s["name"]: s["rows"] for s in stored["embodiments"]}

    def test_the_rows_are_mixed_from_the_first_to_the_last(self, mixed: Path) -> None:
        rows = read_rows(mixed)
        for start in range(0, 300, 50):
            counts = Counter(r["part"] for r in rows[start : start + 50])
            assert counts["arm"] == pytest.approx(50 * 0.41, abs=4)
            assert counts["small"] == pytest.approx(50 * 34 / 300, abs=4)
        arm = [key(r) for r in rows if r["part"] == "arm"]
        assert arm[:80] != sorted(arm[:80])

    def test_what_is_held_out_is_whole_in_order_and_never_in_train(self, mixed: Path, three_parts: Path) -> None:
        train = {key(r) for r in read_rows(mixed)}
        for name in ("arm", "aloha", "small"):
            held = [key(r) for r in read_rows(mixed, f"validation_{name}")]
            assert held == [key(r) for r in read_rows(three_parts / name / "shards", "validation")]
            assert not set(held) & train

    def test_datasets_loads_it_plain_and_streamed(self, mixed: Path, tmp_path: Path) -> None:
        found = load(mixed, tmp_path, "executor")
        assert {n: len(r) for n, r in found.items()} == {
            "executor train": 300,
            "executor validation_arm": 16,
            "executor validation_aloha": 31,
            "executor validation_small": 11,
        }
        stored = read_rows(mixed)
        assert [(r["part"], *key(r)) for r in found["executor train"]] == [(r["part"], *key(r)) for r in stored]
        front = "observation.images.front"
        for row, source in zip(found["executor train"], stored, strict=True):
            expected = source[front] and base64.b64encode(source[front]["bytes"]).decode()
            assert row[front] == expected

    def test_statistics_are_each_part_s_own_under_its_name(self, mixed: Path, three_parts: Path) -> None:
        merged = json.loads((mixed / "dataset_statistics.json").read_text())
        assert list(merged) == ["arm", "aloha", "small"]
        for name, found in merged.items():
            own = three_parts / name / "shards"
            assert {f"{name}_robot": found} == json.loads((own / "dataset_statistics.json").read_text())
            for file in ("manifest.json", "README.md"):
                assert (mixed / "parts" / name / file).read_bytes() == (own / file).read_bytes()
            assert (mixed / "norm_stats" / name / "norm_stats.json").read_bytes() == (
                own / "norm_stats.json"
            ).read_bytes()

    def test_the_card_names_the_splits_and_the_content(self, mixed: Path) -> None:
        card = (mixed / "README.md").read_text()
        manifest = json.loads((mixed / "manifest.json").read_text())
        assert f"content sha256 {manifest['content_digest']}" in card
        assert "| `arm` | `arm_robot` | 80 |" in card
        text = (mixed / "manifest.json").read_text() + (mixed / "mixture.json").read_text() + card
        assert "/tmp" not in text

    def test_cameras_of_one_role_share_a_column(self, recipe: Recipe, parts: Parts, tmp_path: Path) -> None:
        lines = parts(arm={"cameras": {"front": "primary"}}, aloha={"cameras": {"top": "primary"}})
        mix(recipe(*lines), tmp_path / "out", workers=0)
        row = read_rows(tmp_path / "out")[0]
        images = [n for n in row if n.startswith("observation.images.")]
        assert images == ["observation.images.primary", "observation.images.wrist"]
        assert all(r["observation.images.primary"]["bytes"] for r in read_rows(tmp_path / "out"))

    @pytest.mark.parametrize(
        ("cameras", "reason"),
        [
            ({"back": "primary"}, "part arm has no camera 'back' to rename; there are front, wrist"),
            ({"front": "wrist"}, "part arm: two cameras would be observation.images.wrist"),
        ],
    )
    def test_a_camera_that_is_not_there_or_comes_twice_is_an_error(
        self, recipe: Recipe, parts: Parts, cameras: dict[str, str], reason: str
    ) -> None:
        with pytest.raises(ExportError, match=reason):
            plan(recipe(*parts(arm={"cameras": cameras})), workers=0)

    def test_a_part_without_state_has_zeros_and_a_mask_that_says_so(
        self, make_part: Any, recipe: Recipe, parts: Parts, tmp_path: Path
    ) -> None:
        options = ExportOptions(tokenizer="openvla_bins", horizon=2, proprioception=())
        blind = make_part("blind", [{"seed": 7}, {"seed": 8}], options, cameras=())
        mix(recipe(*parts("small"), {"name": "blind", "export": str(blind)}), tmp_path / "out", workers=0)
        rows = [r for r in read_rows(tmp_path / "out") if r["part"] == "blind"]
        assert rows
        assert all(not any(r["state_mask"]) and not any(r["observation.state"]) for r in rows)


class TestColumns:
    def change(self, part: Path, change: Callable[[Any], Any]) -> None:
        """Rewrite the shards of an export with other columns, and its manifest with it."""
        import hashlib

        manifest = json.loads((part / "manifest.json").read_text())
        for line in manifest["files"]:
            if line["file"].endswith(".parquet"):
                path = part / line["file"]
                table = change(pq.read_table(path))
                pq.write_table(table, path, row_group_size=50)
                line["size"], line["sha256"] = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        (part / "manifest.json").write_text(json.dumps(manifest))

    def test_a_column_that_all_have_is_kept_and_one_that_some_have_is_an_error(
        self, make_part: Any, recipe: Recipe, tmp_path: Path
    ) -> None:
        import pyarrow as pa

        one, other = (make_part(n, [{"seed": s}, {"seed": s + 1}], cameras=()) for n, s in (("one", 1), ("other", 5)))
        lines = [{"name": "one", "export": str(one)}, {"name": "other", "export": str(other)}]
        self.change(one, lambda t: t.append_column("mood", pa.array([f"p{i}" for i in range(t.num_rows)])))
        with pytest.raises(ExportError, match=r"column 'mood' is string in one and not there in other"):
            plan(recipe(*lines), workers=0)
        mix(recipe(*lines, drop=["mood"]), tmp_path / "without", workers=0)
        assert "mood" not in read_rows(tmp_path / "without")[0]
        self.change(other, lambda t: t.append_column("mood", pa.array(range(t.num_rows))))
        with pytest.raises(ExportError, match="column 'mood' is string in one and int64 in other"):
            plan(recipe(*lines), workers=0)
        self.change(other, lambda t: t.drop_columns("mood"))
        self.change(other, lambda t: t.append_column("mood", pa.array([f"q{i}" for i in range(t.num_rows)])))
        mix(recipe(*lines), tmp_path / "with", workers=0)
        assert {r["mood"][0] for r in read_rows(tmp_path / "with")} == {"p", "q"}

    def test_codes_as_text_must_be_of_one_codec(self, make_part: Any, recipe: Recipe, tmp_path: Path) -> None:
        lines = []
        for name, seed, count in (("one", 1, 20), ("other", 5, 30)):
            options = ExportOptions(tokenizer="uniform_bins", codec_options={"num_codes": count})
            part = make_part(name, [{"seed": seed}, {"seed": seed + 1}], options, cameras=())
            lines.append({"name": name, "export": str(part)})
        with pytest.raises(ExportError, match="rows of one and other have codes of different codecs as text"):
            plan(recipe(*lines), workers=0)
        mix(recipe(*lines, keep_ids=False), tmp_path / "out", workers=0)
        assert not {"target", "completion"} & set(read_rows(tmp_path / "out")[0])
        # Without codes it is any text, as in rows of a planner.
        for line in lines:
            self.change(Path(line["export"]), lambda t: t.drop_columns("action_codes"))
        mix(recipe(*lines), tmp_path / "out", workers=0)
        assert read_rows(tmp_path / "out")[0]["target"]

    def test_images_that_are_not_there_stay_so_and_paths_are_an_error(
        self, make_part: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pyarrow as pa

        monkeypatch.setattr("vladata.mixtures.verify._load_once", lambda *_: [])
        front = "observation.images.front"
        part = make_part("one", [{"seed": 1}, {"seed": 2}])

        def every_third(table: Any, value: Any) -> Any:
            images = table.column(front).to_pylist()
            images[::3] = [value] * len(images[::3])
            kind = table.schema.field(front)
            return table.set_column(table.column_names.index(front), kind, pa.array(images, type=kind.type))

        self.change(part, lambda t: every_third(t, None))
        lines = [{"name": "one", "export": str(part)}]
        mix(recipe(*lines), tmp_path / "out", workers=0)
        own = {key(r): r[front] for r in read_rows(part)}
        assert {r[front] is None for r in read_rows(tmp_path / "out")} == {True, False}
        assert all(r[front] == own[key(r)] for r in read_rows(tmp_path / "out"))
        assert verify_mixture(tmp_path / "out", workers=0).problems == ()
        for value in (
            {"bytes": None, "path": "/etc/passwd"},
            {"bytes": b"x", "path": "x"},
            {"bytes": None, "path": None},
        ):
            self.change(part, lambda t, value=value: every_third(t, value))
            with pytest.raises(ExportError, match=f"{front} holds a path, or no bytes"):
                mix(recipe(*lines), tmp_path / "bad", workers=0)

    def test_rows_without_actions_are_mixed_as_well(
        self, make_part: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pyarrow as pa

        monkeypatch.setattr("vladata.mixtures.verify._load_once", lambda *_: [])

        def with_pictures(table: Any) -> Any:
            front = table["observation.images.front"]
            pictures = pa.array([[image] * 2 for image in front.to_pylist()], type=pa.list_(front.type))
            few = table.select(["episode_id", "step_index", "observation.images.front"])
            return few.append_column("images", pictures)

        lines = []
        for name, seed in (("one", 1), ("other", 5)):
            part = make_part(name, [{"seed": seed}, {"seed": seed + 1}])
            self.change(part, with_pictures)
            lines.append({"name": name, "export": str(part)})
        mix(recipe(*lines, epoch_rows=50), tmp_path / "out", workers=0)
        rows = read_rows(tmp_path / "out")
        assert list(rows[0]) == ["part", "embodiment", "episode_id", "step_index", "images", "observation.images.front"]
        assert all(r["images"] == [r["observation.images.front"]] * 2 for r in rows)
        path = next((tmp_path / "out").glob("data/executor/train-*"))
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert columns["images.list.element.bytes"].compression == "UNCOMPRESSED"
        assert not columns["images.list.element.bytes"].is_stats_set
        assert verify_mixture(tmp_path / "out", workers=0).problems == ()

    def test_a_column_of_the_mixture_s_own_name_must_be_dropped(
        self, make_part: Any, recipe: Recipe, tmp_path: Path
    ) -> None:
        import pyarrow as pa

        one = make_part("one", [{"seed": 1}, {"seed": 2}], cameras=())
        self.change(one, lambda t: t.append_column("part", pa.array(range(t.num_rows))))
        with pytest.raises(ExportError, match="part one has a column 'part', which the mixture writes; drop it"):
            plan(recipe({"name": "one", "export": str(one)}), workers=0)
        with pytest.raises(ExportError, match="drop: no part has a column 'speed'"):
            plan(recipe({"name": "one", "export": str(one)}, drop=["speed"]), workers=0)
        with pytest.raises(ExportError, match="'action_is_pad' is dropped and 'action_chunk' is not"):
            plan(recipe({"name": "one", "export": str(one)}, drop=["part", "action_is_pad"]), workers=0)
        mix(recipe({"name": "one", "export": str(one)}, drop=["part"]), tmp_path / "out", workers=0)


class TestPlan:
    def test_weights_caps_and_temperature(self, recipe: Recipe, parts: Parts) -> None:
        found = plan(recipe(*parts("arm", aloha={"weight": 2.0}, small={"max_rows": 10})), workers=0)
        assert [p.pool for p in found.parts] == [80, 93, 10]
        # Shares are of 80, 2 · 93 and 10; the epoch as large as all parts together.
        assert found.epoch_rows == 183
        assert [p.epoch_rows for p in found.parts] == [53, 123, 7]
        found = plan(recipe(*parts("arm", "aloha", small={"share": 0.5})), workers=0)
        # 22 rows at most 4 times are half of 176.
        assert found.epoch_rows == 176
        assert found.parts[2].epoch_rows == 88
        assert found.parts[2].repeats == 4.0
        assert "the epoch has 176 of 195 rows: in a longer one small would repeat more than 4 times" in found.notes
        found = plan(recipe(*parts("arm", "aloha", "small"), temperature=1e9, epoch_rows=60), workers=0)
        assert [p.epoch_rows for p in found.parts] == [20, 20, 20]
        found = plan(recipe(*parts("arm", "small", aloha={"max_share": 0.3}), epoch_rows=100), workers=0)
        assert found.parts[2].epoch_rows == 30
        assert any("aloha: 47.69% of the epoch became 30.00% (max_share)" in n for n in found.notes)

    def test_probabilities_sum_to_one_in_the_stored_form(self, recipe: Recipe, parts: Parts) -> None:
        from decimal import Decimal

        found = plan(recipe(*parts("arm", "aloha", "small"), temperature=3.0), workers=0)
        assert sum(Decimal(p.probability) for p in found.parts) == 1

    @pytest.mark.parametrize(
        ("fields", "knobs", "reason"),
        [
            ({"epoch_rows": 2000}, {}, r"part \w+: .* rows of an epoch of 2,000 repeat its .*; max_repeats is 4"),
            ({"epoch_rows": 2}, {}, r"part small: its share of 0\.113 is none of 2 rows; epoch_rows must be at least"),
            ({}, {"max_share": 0.1}, r"max_share: arm 0\.1 \+ aloha 0\.1 \+ small 0\.1 = 0\.3 of the epoch"),
        ],
    )
    def test_caps_that_cannot_be_met_are_errors_with_numbers(
        self, recipe: Recipe, parts: Parts, fields: dict[str, Any], knobs: dict[str, Any], reason: str
    ) -> None:
        lines = parts(arm=knobs, aloha=knobs, small=knobs)
        with pytest.raises(ExportError, match=reason):
            plan(recipe(*lines, **fields), workers=0)

    def test_tasks_are_counted_in_the_rows_that_are_drawn(
        self, make_part: Any, recipe: Recipe, parts: Parts, tmp_path: Path
    ) -> None:
        many = [{"seed": i, "instructions": (Instruction(text=f"task {i % 3}"),)} for i in range(7)]
        part = make_part("many", many, cameras=())
        path = recipe({"name": "many", "export": str(part)}, *parts("small"), epoch_rows=170, max_repeats=9)
        found = mix(path, tmp_path / "out", workers=0).plan
        counted = Counter(r["task"] for r in read_rows(tmp_path / "out"))
        assert {t.name: t.rows for t in found.tasks} == counted
        assert sum(t.share for t in found.tasks) == pytest.approx(1.0)
        assert found.hours == sum(p.hours for p in found.parts)
        assert sum(t.hours for t in found.tasks) == pytest.approx(found.hours)

    def test_the_most_frequent_tasks_are_listed(
        self, make_part: Any, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vladata.mixtures.plan.TOP_TASKS", 3)
        many = [
            {"seed": i, "duration_s": 0.2 * (i + 1), "instructions": (Instruction(text=f"task {i}\x1b[31m"),)}
            for i in range(8)
        ]
        part = make_part("many", many, cameras=())
        found = plan(recipe({"name": "many", "export": str(part)}), workers=0)
        assert len(found.tasks) == 3
        assert found.other_tasks[0] == 7 - 3
        assert found.tasks[0].rows > found.tasks[1].rows > found.tasks[2].rows
        assert sum(t.rows for t in found.tasks) + found.other_tasks[1] == found.epoch_rows
        assert "\x1b" not in found.to_json().decode()


class TestSameBytes:
    def test_with_one_worker_with_two_and_with_none_and_run_again(
        self, recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Callable[[Path], dict[str, str]]
    ) -> None:
        path = recipe(*parts("arm", "aloha", "small"), epoch_rows=250)
        results = [mix(path, tmp_path / f"out{n}", shard_bytes=150_000, workers=n) for n in (0, 1, 2)]
        trees = [digest_of_tree(tmp_path / f"out{n}") for n in (0, 1, 2)]
        assert trees[0] == trees[1] == trees[2]
        assert len([n for n in trees[0] if "/train-" in n]) > 1
        again = mix(path, tmp_path / "out1", shard_bytes=150_000, workers=2)
        assert again.kept == again.num_shards == results[0].num_shards
        assert digest_of_tree(tmp_path / "out1") == trees[0]
        assert again.plan.to_json() == results[0].plan.to_json()

    def test_another_seed_is_another_order_of_the_same_shares(
        self, recipe: Recipe, parts: Parts, tmp_path: Path
    ) -> None:
        for seed in (1, 2):
            mix(recipe(*parts("arm", "aloha"), seed=seed), tmp_path / f"out{seed}", workers=0)
        one, other = (read_rows(tmp_path / f"out{s}") for s in (1, 2))
        assert [key(r) for r in one] != [key(r) for r in other]
        assert Counter(map(key, one)) == Counter(map(key, other))

    def test_another_mixture_into_the_same_folder_leaves_nothing_of_the_old_one(
        self, recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Callable[[Path], dict[str, str]]
    ) -> None:
        out = tmp_path / "out"
        mix(recipe(*parts("arm", "aloha", "small")), out, shard_bytes=100_000, workers=0)
        (out / "notes.txt").write_text("mine")
        mix(recipe(*parts("small"), layout="apart"), out, workers=0)
        mix(recipe(*parts("aloha")), out, workers=0)
        mix(recipe(*parts("aloha")), tmp_path / "new", workers=0)
        found = digest_of_tree(out)
        assert found.pop("notes.txt")
        assert found == digest_of_tree(tmp_path / "new")


class TestRefused:
    def test_folders_that_are_none(self, recipe: Recipe, parts: Parts, three_parts: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with pytest.raises(ExportError, match=r"part x: .* is no whole export"):
            mix(recipe({"name": "x", "export": "nowhere"}), out, workers=0)
        with pytest.raises(ExportError, match=r"part x: .* is no whole export"):
            mix(recipe({"name": "x", "export": str(three_parts / "arm" / "dataset")}), out, workers=0)
        with pytest.raises(ExportError, match="no row of config planner, split train"):
            mix(recipe(*parts("arm"), config="planner"), out, workers=0)
        with pytest.raises(ExportError, match="none inside the other"):
            mix(recipe(*parts("arm")), three_parts / "arm" / "shards" / "mixed", workers=0)
        assert not out.exists()
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
        with pytest.raises(ExportError, match=r"holds 'thesis\.txt' and is no mixture"):
            mix(recipe(*parts("arm")), out, workers=0)
        assert [p.name for p in out.iterdir()] == ["thesis.txt"]
        with pytest.raises(ExportError, match="is no mixture of vladata"):
            mix(recipe(*parts("aloha")), three_parts / "arm" / "shards", workers=0)

    def test_a_shard_that_was_changed_is_never_mixed(self, make_part: Any, recipe: Recipe, tmp_path: Path) -> None:
        part = make_part("one", [{"seed": 1}, {"seed": 2}], cameras=())
        path = next(part.glob("data/executor/train-*"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        lines = [{"name": "one", "export": str(part)}]
        for layout in ("padded", "apart"):
            with pytest.raises(ExportError, match=r"(can't be read|SHA-256 differs|differs from the part's manifest)"):
                mix(recipe(*lines, layout=layout), tmp_path / "out", workers=0)
        path.write_bytes(data[:-1])
        with pytest.raises(ExportError, match=r"part one: data/executor/train.* bytes; the manifest says"):
            plan(recipe(*lines), workers=0)
        path.unlink()
        with pytest.raises(ExportError, match="is missing"):
            plan(recipe(*lines), workers=0)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"format_version": 9}, "export version 9; this release reads"),
            ({"files": 3}, "manifest.json is damaged"),
            ({"episodes": [{}]}, "manifest.json is damaged"),
            ({"options": {"splits": []}}, "manifest.json is damaged"),
        ],
    )
    def test_damaged_manifests(self, make_part: Any, recipe: Recipe, change: dict[str, Any], reason: str) -> None:
        part = make_part("one", [{"seed": 1, "duration_s": 0.5}, {"seed": 2, "duration_s": 0.5}], cameras=())
        manifest = json.loads((part / "manifest.json").read_text())
        (part / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(ExportError, match=reason):
            plan(recipe({"name": "one", "export": str(part)}), workers=0)

    def test_a_manifest_that_leads_out_of_its_folder(self, make_part: Any, recipe: Recipe) -> None:
        part = make_part("one", [{"seed": 1, "duration_s": 0.5}, {"seed": 2, "duration_s": 0.5}], cameras=())
        text = (part / "manifest.json").read_text()
        (part / "manifest.json").write_text(text.replace("data/executor/train", "data/executor/../../../train"))
        with pytest.raises(ExportError, match=r"part one: manifest\.json: "):
            plan(recipe({"name": "one", "export": str(part)}), workers=0)

    def test_an_altered_tokenizer(self, make_part: Any, recipe: Recipe) -> None:
        part = make_part("one", [{"seed": 1, "duration_s": 0.5}, {"seed": 2, "duration_s": 0.5}], cameras=())
        path = part / "action_tokenizer" / "action_tokenizer.json"
        path.write_text(path.read_text().replace('"rate_hz": 10.0', '"rate_hz": 11.0'))
        with pytest.raises(TokenizeError, match=r"part one: action_tokenizer\.json was altered"):
            plan(recipe({"name": "one", "export": str(part)}), workers=0)

    def test_first_splits_of_different_names(self, make_part: Any, recipe: Recipe, parts: Parts) -> None:
        options = ExportOptions(tokenizer="openvla_bins", horizon=1, splits={"training": 0.5, "held": 0.5})
        part = make_part("one", [{"seed": 1}, {"seed": 2}], options, cameras=())
        with pytest.raises(ExportError, match="the first split is train in small and training in one"):
            plan(recipe(*parts("small"), {"name": "one", "export": str(part)}), workers=0)


class TestApart:
    def test_shards_are_links_and_the_epoch_is_a_table(
        self, recipe: Recipe, parts: Parts, three_parts: Path, tmp_path: Path
    ) -> None:
        lines = parts("arm", aloha={"weight": 2.0}, small={"share": 0.2})
        done = mix(recipe(*lines, layout="apart", epoch_rows=200), tmp_path / "apart", workers=1)
        assert done.linked == 6
        out = tmp_path / "apart"
        for name in ("arm", "aloha", "small"):
            for path in (three_parts / name / "shards" / "data/executor").iterdir():
                assert path.samefile(out / f"data/executor_{name}" / path.name)
        order = pq.read_table(out / "epoch.parquet").to_pylist()
        assert Counter(r["part"] for r in order) == {p.name: p.epoch_rows for p in done.plan.parts}
        own = {n: read_rows(out, config=f"executor_{n}") for n in ("arm", "aloha", "small")}
        files = {r["file"]: pq.read_table(out / r["file"]).to_pylist() for r in order}
        chosen = [own[r["part"]][r["row"]] for r in order]
        assert chosen == [files[r["file"]][r["row_in_file"]] for r in order]
        # The same rows in the same order as in the padded layout.
        mix(recipe(*lines, epoch_rows=200), tmp_path / "padded", workers=0)
        assert [key(r) for r in chosen] == [key(r) for r in read_rows(tmp_path / "padded")]

    def test_datasets_loads_all_configs(self, recipe: Recipe, parts: Parts, tmp_path: Path) -> None:
        out = tmp_path / "out"
        mix(recipe(*parts("arm", "small"), layout="apart"), out, workers=0)
        found = load(out, tmp_path / "cache", "executor_arm", "executor_small", "epoch")
        assert {n: len(r) for n, r in found.items()} == {
            "executor_arm train": 80,
            "executor_arm validation": 16,
            "executor_small train": 22,
            "executor_small validation": 11,
            "epoch train": 102,
        }

    def test_copies_where_links_can_not_be(
        self, recipe: Recipe, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        done = mix(recipe(*parts("small"), layout="apart"), tmp_path / "out", workers=0)
        assert done.linked == 0
        assert len(read_rows(tmp_path / "out", config="executor_small")) == 22
        before = next((tmp_path / "out").glob("data/*/train-*")).stat().st_ino
        assert mix(recipe(*parts("small"), layout="apart"), tmp_path / "out", workers=0).kept == 2
        assert next((tmp_path / "out").glob("data/*/train-*")).stat().st_ino == before

    def test_a_new_export_of_a_part_does_not_reach_into_the_mixture(
        self, make_part: Any, recipe: Recipe, tmp_path: Path
    ) -> None:
        from vladata.exporters.huggingface import export
        from vladata.store.dataset import Dataset

        part = make_part("one", [{"seed": 1}, {"seed": 2}], cameras=())
        mix(recipe({"name": "one", "export": str(part)}, layout="apart"), tmp_path / "out", workers=0)
        before = [p.read_bytes() for p in sorted((tmp_path / "out").glob("data/*/*"))]
        options = ExportOptions(tokenizer="openvla_bins", horizon=3)
        export(Dataset.open(part.parent / "dataset"), part, options, workers=0)
        assert [p.read_bytes() for p in sorted((tmp_path / "out").glob("data/*/*"))] == before
        # Shards of the same names that hold something else are none that were there.
        again = mix(recipe({"name": "one", "export": str(part)}, layout="apart"), tmp_path / "out", workers=0)
        assert (again.kept, again.linked) == (0, 2)
