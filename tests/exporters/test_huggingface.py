"""The export as trainers read it: rows, splits, tokens, statistics, and what is refused."""

import base64
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata import images
from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError, PluginNotFoundError, SchemaError, TokenizeError
from vladata.exporters.huggingface import ExportOptions, export, plan
from vladata.recording import Instruction, Outcome
from vladata.store.dataset import Dataset
from vladata.testing.builders import START_NS
from vladata.tokenizers import TokenRows

MakeDataset = Callable[..., Dataset]

FRONT = "observation.images.front"
ALL_TRAIN = {"train": 1.0}


def read_rows(out: Path, split: str = "train") -> list[dict[str, Any]]:
    return [r for path in sorted((out / "data/executor").glob(f"{split}-*")) for r in pq.read_table(path).to_pylist()]


def read_manifest(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def with_steps(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of steps: `with_steps(action=function)` applies the function to a copy of that field."""

    def change(steps: Any) -> Any:
        fields = {}
        for name, function in changes.items():
            value = {n: a.copy() for n, a in getattr(steps, name).items()}
            function(value)
            fields[name] = value
        return dataclasses.replace(steps, **fields)

    return change


LOADED = """
import base64, json, sys
import datasets

def plain(row):
    return {k: base64.b64encode(v["bytes"]).decode() if isinstance(v, dict) else v for k, v in row.items()}

out, cache = sys.argv[1:]
loaded = datasets.load_dataset(out, cache_dir=cache)
streamed = datasets.load_dataset(out, cache_dir=cache, streaming=True)
images = [n for n, f in loaded["train"].features.items() if isinstance(f, datasets.Image)]
for name, split in loaded.items():
    assert streamed[name].features == split.features
    for column in images:
        split = split.cast_column(column, datasets.Image(decode=False))
    rows, flowing = list(split), list(streamed[name].decode(False))
    assert rows == flowing, name
    print(json.dumps({"split": name, "features": str(split.features["action_chunk"]), "images": images,
                      "rows": [plain(r) for r in rows]}))
"""


def load(out: Path, cache: Path) -> dict[str, Any]:
    """What `datasets` gives, plain and streamed, by split; in its own process, for it leaves an event loop behind."""
    command = [sys.executable, "-c", LOADED, str(out), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {line["split"]: line for line in map(json.loads, done.stdout.splitlines())}


def encoded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: base64.b64encode(v["bytes"]).decode() if isinstance(v, dict) else v for k, v in row.items()} for row in rows
    ]


def test_every_row_is_its_step(dataset: Dataset, one_export: Path) -> None:
    rows = read_rows(one_export) + read_rows(one_export, "validation")
    assert sorted((r["episode_index"], r["step_index"]) for r in rows) == [(e, t) for e in range(6) for t in range(16)]
    assert {n: s["rows"] for n, s in read_manifest(one_export)["splits"].items()} == {"train": 80, "validation": 16}
    episodes = list(dataset)
    for row in rows:
        episode = episodes[row["episode_index"]]
        t, steps = row["step_index"], episode.steps
        assert row["episode_id"] == episode.episode_id
        assert row["timestamp"] == (steps.time_ns[t] - steps.time_ns[0]) / 1e9
        assert (row["task"], row["subtask"]) == ("put the cube into the bin", "")
        assert row["observation.state"] == steps.proprioception["arm"][t].tolist()
        assert row["action"] == steps.action["command"][t].tolist()
        for camera in ("front", "wrist"):
            stored = episode.streams[camera].frames.read(steps.images[camera][t])  # type: ignore[union-attr]
            assert row[f"observation.images.{camera}"] == {"bytes": stored, "path": None}


def test_a_chunk_is_the_actions_that_follow_and_padding_is_marked(dataset: Dataset, one_export: Path) -> None:
    actions = [e.steps.action["command"] for e in dataset]
    for row in read_rows(one_export):
        ahead = np.arange(row["step_index"], row["step_index"] + 4)
        assert row["action_is_pad"] == (ahead >= 16).tolist()
        assert row["action_chunk"] == actions[row["episode_index"]][np.minimum(ahead, 15)].tolist()


def test_chunks_that_run_over_the_end_are_dropped_on_request(dataset: Dataset, tmp_path: Path) -> None:
    result = export(
        dataset, tmp_path / "out", ExportOptions(tokenizer="openvla_bins", horizon=4, chunk_end="drop"), workers=0
    )
    assert result.refused == {"the chunk is shorter than the horizon": 18}
    rows = read_rows(tmp_path / "out")
    assert max(r["step_index"] for r in rows) == 12
    assert not any(any(r["action_is_pad"]) for r in rows)


@pytest.mark.parametrize(
    "options",
    [
        ExportOptions(tokenizer="openvla_bins", horizon=1),
        ExportOptions(tokenizer="openvla_bins", horizon=5, representation="chunk_relative", normalization="min_max"),
        ExportOptions(tokenizer="uniform_bins", codec_options={"num_codes": 512}, representation="delta", horizon=2),
    ],
    ids=["one step", "chunk relative", "delta"],
)
def test_codes_decode_to_the_chunk_within_the_stated_error(
    dataset: Dataset, tmp_path: Path, options: ExportOptions
) -> None:
    out = tmp_path / "out"
    result = export(dataset, out, options, workers=0)
    tokenizer = ActionTokenizer.load(out / "action_tokenizer")
    rows = read_rows(out) + read_rows(out, "validation")
    chunks = np.array([r["action_chunk"] for r in rows])
    decoded = tokenizer.decode_represented(np.array([r["action_codes"] for r in rows]))
    low, high = np.array(tokenizer.normalization.low), np.array(tokenizer.normalization.high)
    inside = (chunks >= low) & (chunks <= high)
    bound = (high - low) / 2 / (512 if options.tokenizer == "uniform_bins" else 255)
    assert (np.abs(decoded - chunks)[inside] <= np.broadcast_to(bound + 1e-6, chunks.shape)[inside]).all()
    counts = (~inside & np.array(tokenizer.normalization.mask))[~np.array([r["action_is_pad"] for r in rows])].sum(0)
    assert result.clipped == {n: c for n, c in zip(tokenizer.names, counts, strict=True) if c}
    state = np.array([r["observation.state"] for r in rows])
    actions = np.array([r["action"] for r in rows])
    if options.representation != "delta":
        restored = tokenizer.representation.restore(chunks, state)
        assert restored[:, 0] == pytest.approx(actions, abs=1e-6)


def test_the_defaults_are_one_second_in_codes_of_fast_safe(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = export(dataset, out, ExportOptions(), workers=0)
    tokenizer = ActionTokenizer.load(out)
    assert (tokenizer.scheme, tokenizer.horizon, tokenizer.rate_hz) == ("fast_safe", 10, 10.0)
    assert "horizon: 1 s are 10 steps at 10 Hz, 1 s" in result.notes
    rows = read_rows(out) + read_rows(out, "validation")
    chunks = np.array([r["action_chunk"] for r in rows])
    decoded = tokenizer.decode_represented(TokenRows.of([r["action_codes"] for r in rows]))
    inside = np.clip(chunks, tokenizer.normalization.low, tokenizer.normalization.high)
    assert (np.abs(decoded - inside) <= tokenizer.error_bound(inside) + 1e-6).all()
    options = read_manifest(out)["options"]
    assert (options["tokenizer"], options["horizon"], options["horizon_s"]) == ("fast_safe", 10, 1.0)


def test_datasets_reads_it_plain_and_streaming(one_export: Path, tmp_path: Path) -> None:
    loaded = load(one_export, tmp_path / "cache")
    assert {n: len(split["rows"]) for n, split in loaded.items()} == {"train": 80, "validation": 16}
    assert loaded["train"]["images"] == [FRONT, "observation.images.wrist"]
    assert loaded["train"]["features"] == "List(List(Value('float32'), length=4), length=4)"
    for name, split in loaded.items():
        assert split["rows"] == encoded(read_rows(one_export, name))


def test_a_new_export_into_the_same_folder_is_what_datasets_gives(make_dataset: MakeDataset, tmp_path: Path) -> None:
    """`datasets` keys its cache by the card's text, not by the files."""
    out, cache = tmp_path / "out", tmp_path / "cache"
    for seed in (0, 50):
        dataset = make_dataset({"seed": seed}, {"seed": seed + 1}, name=f"dataset_{seed}")
        export(dataset, out, ExportOptions(), workers=0)
        assert load(out, cache)["train"]["rows"] == encoded(read_rows(out))


def test_another_tokenizer_over_equal_rows_is_what_datasets_gives(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing but the codes differs, and the third export is the first one again."""
    out, cache = tmp_path / "out", tmp_path / "cache"
    found = []
    for tokenizer in ("openvla_bins", "uniform_bins", "openvla_bins"):
        export(dataset, out, ExportOptions(tokenizer=tokenizer), workers=0)
        rows = load(out, cache)["train"]["rows"]
        assert rows == encoded(read_rows(out))
        codes = ActionTokenizer.load(out).encode_represented(np.array([r["action_chunk"] for r in rows]))
        np.testing.assert_array_equal(codes, [r.pop("action_codes") for r in rows])
        assert all(r.pop("target") for r in rows)  # the codes as text
        found.append((codes, rows))
    assert found[0][1] == found[1][1] == found[2][1]
    assert (found[0][0] != found[1][0]).any()
    np.testing.assert_array_equal(found[0][0], found[2][0])


def test_statistics_are_those_of_the_first_split_alone(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(dataset, out, ExportOptions(horizon=3, representation="chunk_relative"), workers=0)
    rows = read_rows(out)
    targets = np.array([r["action_chunk"] for r in rows])[~np.array([r["action_is_pad"] for r in rows])]
    state = np.array([r["observation.state"] for r in rows])
    openpi = json.loads((out / "norm_stats.json").read_text())["norm_stats"]
    assert openpi["actions"]["q01"] == pytest.approx(np.quantile(targets, 0.01, axis=0), abs=1e-12)
    assert openpi["state"]["mean"] == pytest.approx(state.mean(axis=0), abs=1e-12)
    openvla = json.loads((out / "dataset_statistics.json").read_text())["test_arm"]
    assert openvla["num_transitions"] == len(targets)
    assert openvla["num_trajectories"] == 5
    assert openvla["action"]["mask"] == [True, True, True, False]


def test_equal_content_is_in_one_split(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(*({"seed": i // 2} for i in range(12)))
    result = export(dataset, tmp_path / "out", ExportOptions(splits={"train": 0.5, "validation": 0.5}), workers=0)
    split_of: dict[str, set[str]] = {}
    for episode in read_manifest(tmp_path / "out")["episodes"]:
        split_of.setdefault(episode["content_digest"], set()).add(episode["split"])
    assert len(split_of) == 6
    assert all(len(splits) == 1 for splits in split_of.values())
    assert any("content of another one: 6" in note for note in result.notes)


def test_a_split_without_rows_is_not_declared(make_dataset: MakeDataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = export(make_dataset({}), out, ExportOptions(), workers=0)
    assert list(result.splits) == ["train"]
    assert set(load(out, tmp_path / "cache")) == {"train"}


class TestRefusedSteps:
    def bad(self, name: str, step: int, value: float) -> Any:
        def change(values: dict[str, Any]) -> None:
            values[name][step] = value

        return change

    def test_nan_is_never_a_token(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        steps = with_steps(action=self.bad("command", 5, np.nan), proprioception=self.bad("arm", 9, np.inf))
        dataset = make_dataset({"steps": steps}, {})
        out = tmp_path / "out"
        result = export(dataset, out, ExportOptions(horizon=3, splits=ALL_TRAIN), workers=0)
        refused = {"the action is not finite": 1, "the state is not finite": 1}
        assert result.refused == refused == read_manifest(out)["refused"]
        rows = [r for r in read_rows(out) if r["episode_index"] == 0]
        assert [r["step_index"] for r in rows] == [t for t in range(16) if t not in {5, 9}]
        assert next(r for r in rows if r["step_index"] == 3)["action_is_pad"] == [False, False, True]
        assert np.isfinite([r["action_chunk"] for r in rows]).all()
        card = (out / "README.md").read_text()
        assert "| the action is not finite | 1 | 3.12% |" in card

    def test_invalid_samples_and_missing_images_are_no_rows(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        def lose(values: dict[str, Any]) -> None:
            values["command"][2] = False
            values["arm"][4] = False

        steps = with_steps(valid=lose, images=self.bad("front", 7, -1))
        dataset = make_dataset({"steps": steps}, {}, cameras=("front", "wrist"))
        expected = {"no image of front": 1, "the action is not valid": 1, "the state is not valid": 1}
        result = export(dataset, tmp_path / "out", ExportOptions(splits=ALL_TRAIN), workers=0)
        assert result.refused == expected
        options = ExportOptions(splits=ALL_TRAIN, cameras=("wrist",))
        assert "no image of front" not in export(dataset, tmp_path / "other", options, workers=0).refused

    def test_an_episode_without_a_row_is_named(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        def lose(values: dict[str, Any]) -> None:
            values["front"][:] = -1

        dataset = make_dataset({"steps": with_steps(images=lose)}, {})
        result = export(dataset, tmp_path / "out", ExportOptions(splits=ALL_TRAIN), workers=0)
        assert result.refused == {"no image of front": 16}
        assert "episodes without a row: 1, the first: demo_000.mcap" in result.notes
        assert plan(dataset, ExportOptions(splits=ALL_TRAIN), workers=0).empty == ("demo_000.mcap",)

    def test_nothing_but_bad_steps_is_an_error(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        dataset = make_dataset({"steps": with_steps(action=self.bad("command", slice(None), np.nan))})  # type: ignore[arg-type]
        with pytest.raises(ExportError, match="no step of the dataset can be a row; the action is not finite: 16"):
            export(dataset, tmp_path / "out", ExportOptions(), workers=0)
        assert not (tmp_path / "out").exists()


class TestImages:
    def test_resized_images_have_the_size_and_the_card_says_so(self, dataset: Dataset, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = export(dataset, out, ExportOptions(image_size=(24, 40), resize="letterbox"), workers=0)
        row = read_rows(out)[3]
        episode = dataset[row["episode_index"]]
        picture = images.decode(row[FRONT]["bytes"])
        assert picture.shape == (24, 40, 3)
        expected = images.resize(episode[row["step_index"]].images["front"], 24, 40, "letterbox")
        assert row[FRONT]["bytes"] == images.encode_jpeg(expected, 95)
        assert any(n.startswith("front: transcoded") and "resized to 24x40" in n for n in result.notes)
        assert "JPEG, quality 95, letterbox" in (out / "README.md").read_text()

    def test_a_frame_that_several_steps_show_is_in_each_row(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        dataset = make_dataset({"rates_hz": {"front": 4.0}})
        assert len(set(dataset[0].steps.images["front"].tolist())) < 10
        for options in (ExportOptions(), ExportOptions(image_size=(16, 16))):
            out = tmp_path / str(options.image_size)
            export(dataset, out, options, workers=0)
            episode = dataset[0]
            for row in read_rows(out):
                frame = episode.frame("front", int(episode.steps.images["front"][row["step_index"]]))
                if options.image_size is None:
                    assert (images.decode(row[FRONT]["bytes"]) == frame).all()
                else:
                    small = images.resize(frame, 16, 16, "letterbox")
                    assert row[FRONT]["bytes"] == images.encode_jpeg(small, 95)

    def test_row_groups_are_small(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        dataset = make_dataset({"duration_s": 9.9}, {"duration_s": 2.9})
        export(dataset, tmp_path / "out", ExportOptions(row_group_rows=40, splits=ALL_TRAIN), workers=0)
        metadata = pq.ParquetFile(next((tmp_path / "out/data/executor").iterdir())).metadata
        assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [40, 40, 40, 10]

    def test_shards_keep_near_their_target(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        dataset = make_dataset(*({"duration_s": 9.9} for _ in range(4)))
        options = ExportOptions(tokenizer="openvla_bins", horizon=1, shard_bytes=200_000, splits=ALL_TRAIN)
        result = export(dataset, tmp_path / "out", options, workers=0)
        sizes = [p.stat().st_size for p in (tmp_path / "out/data/executor").iterdir()]
        assert result.splits["train"].shards == len(sizes) == 3
        assert max(sizes) < 220_000
        rows = read_rows(tmp_path / "out")
        assert [(r["episode_index"], r["step_index"]) for r in rows] == [(e, t) for e in range(4) for t in range(100)]


class TestSelection:
    def test_outcomes_can_be_chosen_and_what_is_left_out_is_counted(
        self, make_dataset: MakeDataset, tmp_path: Path
    ) -> None:
        dataset = make_dataset({}, {"outcomes": (Outcome(kind="failure"),)}, {"outcomes": ()})
        options = ExportOptions(outcomes=("success",))
        export(dataset, tmp_path / "out", options, workers=0)
        manifest = read_manifest(tmp_path / "out")
        assert manifest["left_out"] == {"outcome failure": 1, "outcome not said": 1}
        assert [e["place"] for e in manifest["episodes"]] == ["demo_000.mcap"]
        with pytest.raises(ExportError, match="none of 3 episodes"):
            export(
                make_dataset({}, {}, {}, name="b"), tmp_path / "b_out", ExportOptions(outcomes=("failure",)), workers=0
            )

    def test_edits_count(self, own_dataset: Dataset, tmp_path: Path) -> None:
        dataset = own_dataset
        first, second, third = (e.recording_id for e in dataset.entries[:3])
        dataset.edits.append({"action": "relabel", "recording_id": first, "text": "lift it"}, "me")
        dataset.edits.append({"action": "drop", "recording_id": second}, "me")
        end = int(dataset[2].steps.time_ns[5])
        dataset.edits.append({"action": "trim", "recording_id": third, "end_ns": end}, "me")
        edited = Dataset.open(dataset.path)
        export(edited, tmp_path / "out", ExportOptions(splits=ALL_TRAIN), workers=0)
        rows = read_rows(tmp_path / "out")
        assert {r["task"] for r in rows if r["episode_index"] == 0} == {"lift it"}
        assert sum(r["episode_index"] == 1 for r in rows) == 5
        assert len({r["episode_index"] for r in rows}) == 5
        assert read_manifest(tmp_path / "out")["left_out"] == {"dropped by an edit": 1}

    def test_subtasks_hold_from_their_time_on(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        texts = (
            Instruction(text="clean up"),
            Instruction(text="reach", kind="subtask", time_ns=START_NS, end_ns=START_NS + 500_000_000),
            Instruction(text="lift", kind="subtask", time_ns=START_NS + 800_000_000),
        )
        export(make_dataset({"instructions": texts}), tmp_path / "out", ExportOptions(), workers=0)
        rows = read_rows(tmp_path / "out")
        assert [r["subtask"] for r in rows] == ["reach"] * 5 + [""] * 3 + ["lift"] * 8
        assert {r["task"] for r in rows} == {"clean up"}

    def test_signals_and_cameras_are_columns_in_the_order_of_the_schema(self, dataset: Dataset, tmp_path: Path) -> None:
        options = ExportOptions(cameras=("wrist",), proprioception=())
        export(dataset, tmp_path / "out", options, workers=0)
        row = read_rows(tmp_path / "out")[0]
        assert "observation.images.wrist" in row
        assert not {FRONT, "observation.state"} & row.keys()
        with pytest.raises(ExportError, match="no camera 'left'; there are front, wrist"):
            export(dataset, tmp_path / "bad", ExportOptions(cameras=("left",)), workers=0)

    def test_two_embodiments_need_a_choice(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        make_dataset({}, name="both")
        both = make_dataset({"place": "other.mcap"}, name="both", embodiment_name="other")
        with pytest.raises(ExportError, match="2 embodiments, other, test_arm; choose one"):
            export(both, tmp_path / "out", ExportOptions(), workers=0)
        result = export(both, tmp_path / "out", ExportOptions(embodiment="other"), workers=0)
        assert result.splits["train"].episodes == 1


class TestPlan:
    def test_it_says_what_export_writes_and_writes_nothing(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        def lose(values: dict[str, Any]) -> None:
            values["front"][3] = -1

        dataset = make_dataset({"steps": with_steps(images=lose)}, {}, {})
        before = sorted(tmp_path.rglob("*"))
        planned = plan(dataset, ExportOptions(), workers=0)
        assert sorted(tmp_path.rglob("*")) == before
        result = export(dataset, tmp_path / "out", ExportOptions(), workers=0)
        for name, split in result.splits.items():
            guess = planned.splits[name]
            assert (guess.episodes, guess.rows, guess.shards) == (split.episodes, split.rows, split.shards)
            assert 0.5 < guess.bytes / split.bytes < 1.5
        assert planned.refused == result.refused == {"no image of front": 1}
        assert sorted(planned.files) == sorted(
            p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out/data/executor").iterdir()
        )
        assert any("refused: 1 of 48 steps: no image of front" in line for line in planned.lines())
        json.dumps([planned.to_dict(), result.to_dict()])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"horizon": 0}, "horizon is 0"),
        ({"row_group_rows": 500}, "row_group_rows is 500; it must be 32 to 100"),
        ({"image_size": (8, 224)}, "image_size is 8"),
        ({"splits": {"../x": 1.0}}, "split '../x'"),
        ({"outcomes": ("good",)}, "outcome 'good'"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        ExportOptions(**wrong)


def test_what_can_not_be_made_is_refused_before_the_folder_is_touched(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, error in [
        (ExportOptions(tokenizer="nosuch"), PluginNotFoundError),
        (ExportOptions(codec_options={"nonsense": 1}), TokenizeError),
        (ExportOptions(base_tokenizer=tmp_path), TokenizeError),
        (ExportOptions(action=("nothing",)), ExportError),
    ]:
        with pytest.raises(error):
            export(dataset, out, options, workers=0)
        assert not out.exists()
    assert issubclass(SchemaError, Exception)
