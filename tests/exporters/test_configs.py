"""The three configs of one export: one split, equal bytes, resumed, mixed, declared, verified, and loaded."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vladata import images
from vladata.errors import ExportError, SchemaError
from vladata.exporters import _text_shard, _verify, _work
from vladata.exporters.huggingface import (
    ExportOptions,
    ExternalData,
    PlannerOptions,
    VqaOptions,
    export,
    plan,
    verify,
)
from vladata.recording import Outcome
from vladata.store.dataset import Dataset
from vladata.testing.builders import build_embodiment, build_instructions

from .conftest import build_dataset

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
SUBTASKS = {"reach the cube": 0.0, "grasp the cube": 0.5, "lift the cube": 1.0}
HALVES = {"train": 0.5, "validation": 0.5}


def labelled(outcome: str = "success") -> dict[str, Any]:
    return {
        "instructions": build_instructions("put the cube into the bin", SUBTASKS),
        "outcomes": (Outcome(kind=outcome),),  # type: ignore[arg-type]
    }


def write_others(folder: Path, count: int = 60, pictures: int = 30) -> Path:
    """Conversations about few pictures: each picture comes twice, under two names."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        image = np.full((30, 40, 3), 8 * (number % pictures), np.uint8)
        (folder / "images" / f"{number}.jpg").write_bytes(images.encode_jpeg(image))
        turns = [("human", "<image>\nWhat is this?"), ("gpt", f"A square, number {number}.")]
        turns += [("human", "Is it grey?"), ("gpt", "Yes.")] if number % 3 == 0 else []
        rows.append(
            {
                "id": number,
                "image": f"{number}.jpg",
                "conversations": [{"from": who, "value": text} for who, text in turns],
            }
        )
    (folder / "rows.json").write_text(json.dumps([*rows, {"id": "bad"}]))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six labelled episodes, one without subtasks, and others' data; only to be read."""
    folder: Path = tmp_path_factory.mktemp("configs")
    outcomes = ("success", "failure", "success", "success", "failure")
    build_dataset(folder / "dataset", [*map(labelled, outcomes), {}], build_embodiment(cameras=("front", "wrist")))
    write_others(folder / "others")
    return folder


def options_of(home: Path, **changes: Any) -> ExportOptions:
    external = ExternalData(name="squares", path=home / "others", format="llava", share=0.25)
    given: dict[str, Any] = {
        "tokenizer": "openvla_bins",
        "horizon": 4,
        "splits": HALVES,
        "planner": PlannerOptions(every_s=0.4),
        "vqa": VqaOptions(per_episode=12, external=(external,)),
    }
    return ExportOptions(**{**given, **changes})


@pytest.fixture(scope="module")
def one(home: Path) -> Path:
    """An export with all configs; only to be read."""
    export(Dataset.open(home / "dataset"), home / "out", options_of(home), workers=0)
    return home / "out"


@pytest.fixture
def own(home: Path, one: Path, tmp_path: Path) -> Path:
    """The same, to be changed, beside its own dataset and others' data."""
    for name in ("dataset", "others"):
        shutil.copytree(home / name, tmp_path / name)
    return Path(shutil.copytree(one, tmp_path / "out"))


@pytest.fixture(autouse=True)
def without_loading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading through `datasets` takes seconds; the test that wants it says so."""
    if "with_loading" not in request.fixturenames:
        monkeypatch.setattr(_verify, "_load_once", lambda *_: [])


@pytest.fixture
def with_loading() -> None:
    """Asks for loading through `datasets`."""


def read_rows(out: Path, config: str, split: str = "*") -> list[dict[str, Any]]:
    paths = sorted((out / "data" / config).glob(f"{split}-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def manifest_of(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def tree(out: Path) -> dict[str, str]:
    files = (p for p in out.rglob("*") if p.is_file() and p.name != ".origin.json")
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# Rows ---------------------------------------------------------------------------------------------------------------


def test_an_episode_is_in_one_split_in_all_configs(one: Path) -> None:
    split_of = {e["episode_index"]: e["split"] for e in manifest_of(one)["episodes"]}
    for config in ("executor", "planner", "vqa"):
        for split in HALVES:
            for row in read_rows(one, config, split):
                assert row["episode_index"] is None or split_of[row["episode_index"]] == split


def test_a_planner_row_shows_the_step_and_says_what_comes_next(home: Path, one: Path) -> None:
    episodes = list(Dataset.open(home / "dataset"))
    rows = read_rows(one, "planner")
    assert {r["episode_index"] for r in rows} == {0, 1, 2, 3, 4}
    for row in rows:
        episode, t = episodes[row["episode_index"]], row["step_index"]
        stored = episode.streams["wrist"].frames.read(episode.steps.images["wrist"][t])  # type: ignore[union-attr]
        assert row[WRIST] == {"bytes": stored, "path": None}
        assert row["observation.state"] == episode.steps.proprioception["arm"][t].tolist()
        assert row["timestamp"] == (episode.steps.time_ns[t] - episode.steps.time_ns[0]) / 1e9
        assert row["target"] == ("done" if row["is_done"] else row["next_subtask"])
        assert row["outcome"] == episode.outcome
        (user,) = row["prompt"]
        assert [p["type"] for p in user["content"]] == ["image", "image", "text"]
        assert row["goal"] in user["content"][2]["text"]
        assert row["completion"] == [{"role": "assistant", "content": [{"type": "text", "text": row["target"]}]}]
    assert {r["is_done"] for r in rows if r["step_index"] == 15} == {True, False}


def test_a_question_has_the_images_of_its_step_and_its_evidence(home: Path, one: Path) -> None:
    episodes = list(Dataset.open(home / "dataset"))
    for row in (r for r in read_rows(one, "vqa") if r["source"] == "episodes"):
        episode, t = episodes[row["episode_index"]], row["step_index"]
        frames = [
            episode.streams[c].frames.read(episode.steps.images[c][t])  # type: ignore[union-attr]
            for c in row["cameras"]
        ]
        assert [p["bytes"] for p in row["images"]] == frames
        assert row["cameras"] == ["front", "wrist"]
        assert json.loads(row["evidence"])["step"] == t
        assert row["target"] == row["answer"] == row["completion"][0]["content"][0]["text"]
        assert row["prompt"][0]["content"][2] == {"type": "text", "text": row["question"]}


def test_others_rows_make_up_the_declared_share_of_each_split_and_none_comes_twice(one: Path) -> None:
    seen: set[str] = set()
    for split in HALVES:
        rows = read_rows(one, "vqa", split)
        others = [r for r in rows if r["source"] == "squares"]
        assert len(others) == 12
        assert len(rows) == 48
        names = {json.loads(r["evidence"])["row"] for r in others}
        assert len(names) == 12
        assert seen.isdisjoint(names)
        seen |= names
        places = [n for n, r in enumerate(rows) if r["source"] == "squares"]
        assert np.diff(places).max() <= 4  # spread between the rows of the episodes
    manifest = manifest_of(one)["texts"]["vqa"]["external"]
    assert manifest == [
        {
            "name": "squares",
            "format": "llava",
            "share": 0.25,
            "splits": {s: {"rows": 12, "wanted": 12} for s in HALVES},
            "rows_read": 61,
            "refused": {"conversations are no list of 2 to 64 turns": 1},
        }
    ]


def test_an_image_of_others_is_in_one_split_whatever_its_name(one: Path) -> None:
    pictures = {
        split: {p["bytes"] for r in read_rows(one, "vqa", split) if r["source"] == "squares" for p in r["images"]}
        for split in HALVES
    }
    assert pictures["train"].isdisjoint(pictures["validation"])
    assert all(pictures.values())


def test_a_conversation_keeps_all_its_turns_and_ends_with_the_answer(one: Path) -> None:
    rows = [r for r in read_rows(one, "vqa") if r["source"] == "squares"]
    assert {len(r["prompt"]) for r in rows} == {1, 3}
    for row in rows:
        messages = [*row["prompt"], *row["completion"]]
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2)
        texts = [[p["text"] for p in m["content"] if p["type"] == "text"] for m in messages]
        assert texts[0] == ["What is this?"]
        assert texts[-1] == [row["answer"]] == [row["target"]]
        assert texts[-2] == [row["question"]]
        assert [p["type"] for m in messages for p in m["content"]].count("image") == len(row["images"]) == 1
        assert messages[0]["content"][0]["type"] == "image"
        assert (row["episode_index"], row["step_index"], row["cameras"]) == (None, None, [""])


def test_too_few_rows_are_not_repeated_and_the_reached_share_is_told(home: Path, tmp_path: Path) -> None:
    external = ExternalData(name="squares", path=home / "others", format="llava", share=0.9)
    options = options_of(home, planner=None, vqa=VqaOptions(per_episode=12, external=(external,)))
    result = export(Dataset.open(home / "dataset"), tmp_path / "out", options, workers=0)
    mixed = result.mixed["squares"]
    assert {m["wanted"] for m in mixed.values()} == {324}
    assert sum(m["rows"] for m in mixed.values()) == 60
    told = [n for n in result.notes if "none is repeated" in n]
    assert len(told) == 2
    card = (tmp_path / "out/README.md").read_text()
    share = mixed["train"]["rows"] / (mixed["train"]["rows"] + 36)
    assert f"| squares | `train` | {mixed['train']['rows']} | 90.00% | {share:.2%} |" in card
    assert "squares: 1 of 61 rows refused: conversations are no list of 2 to 64 turns: 1" in result.notes


def test_images_are_resized_like_the_cameras(home: Path, tmp_path: Path) -> None:
    """Also frames that no row of the executor shows: with chunks of 8 its last rows are dropped."""
    options = options_of(home, image_size=(20, 28), horizon=8, chunk_end="drop")
    export(Dataset.open(home / "dataset"), tmp_path / "out", options, workers=0)
    shown = {(r["episode_index"], r["step_index"]): r[FRONT]["bytes"] for r in read_rows(tmp_path / "out", "executor")}
    rows = read_rows(tmp_path / "out", "planner")
    assert {r["step_index"] for r in rows} - {t for _, t in shown} == {9, 10, 14, 15}
    for row in rows:
        place = (row["episode_index"], row["step_index"])
        assert shown.get(place, row[FRONT]["bytes"]) == row[FRONT]["bytes"]
        assert images.decode(row[FRONT]["bytes"]).shape == (20, 28, 3)
    for row in read_rows(tmp_path / "out", "vqa"):
        assert all(images.decode(p["bytes"]).shape == (20, 28, 3) for p in row["images"])
    assert verify(tmp_path / "out", home / "dataset", workers=0).problems == ()


def test_episodes_without_rows_of_the_executor_can_have_questions(
    make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    def no_action(values: Any) -> Any:
        return np.full_like(values, np.nan)

    dataset = make_dataset(labelled(), {**labelled(), "values": {"command": no_action}}, labelled())
    options = ExportOptions(splits={"train": 1.0}, vqa=VqaOptions(per_episode=4), image_size=(20, 28))
    result = export(dataset, tmp_path / "out", options, workers=0)
    assert result.splits["train"].episodes == 2
    assert result.configs["vqa"]["train"].episodes == 3
    assert verify(tmp_path / "out", dataset.path, workers=0).problems == ()


TEXT_TEMPLATE = """
name: say
kind: vqa
description: A question and its answer as text.
prompt: [{text: "Q: {question} A: ", begin: true}]
target: [{put: target, apart: true}, {put: end_of_text}]
"""


def test_ids_and_labels_with_a_base_tokenizer(home: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {w: n for n, w in enumerate(["<unk>", "</s>", "Q", ":", "A", "yes", "no", "Yes", "."])}
    base = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    base.add_special_tokens(["<unk>", "</s>"])
    (tmp_path / "base").mkdir()
    base.save(str(tmp_path / "base/tokenizer.json"))
    (tmp_path / "base/tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (tmp_path / "say.yaml").write_text(TEXT_TEMPLATE)
    rows = json.loads((home / "others/rows.json").read_text())
    rows[1]["conversations"][1]["value"] = "This ends </s> here."
    shutil.copytree(home / "others", tmp_path / "others")
    (tmp_path / "others/rows.json").write_text(json.dumps(rows))
    external = ExternalData(name="squares", path=tmp_path / "others", format="llava", share=0.6)
    options = ExportOptions(
        splits=HALVES,
        base_tokenizer=tmp_path / "base",
        vqa=VqaOptions(per_episode=12, prompt=str(tmp_path / "say.yaml"), external=(external,)),
        planner=PlannerOptions(),
    )
    result = export(Dataset.open(home / "dataset"), tmp_path / "out", options, workers=0)
    assert any(
        "several turns need a prompt of messages: 20, text would be read as a token: 1" in n for n in result.notes
    )
    for row in read_rows(tmp_path / "out", "vqa"):
        prompt = base.encode(row["prompt"], add_special_tokens=False).ids
        target = base.encode(row["target"], add_special_tokens=False).ids
        assert row["prompt"] == f"Q: {row['question']} A: "
        assert row["input_ids"] == [*prompt, *target, 1]
        assert row["labels"] == [-100] * len(prompt) + [*target, 1]
        assert row["loss_mask"] == [label >= 0 for label in row["labels"]]
    assert "input_ids" not in read_rows(tmp_path / "out", "planner")[0]  # its template gives messages
    verified = verify(tmp_path / "out", home / "dataset", workers=0)
    assert verified.problems == ()
    assert verified.notes == (
        "others' data was chosen with a base tokenizer: its rows were compared with themselves alone",
    )
    assert str(tmp_path) not in (tmp_path / "out/manifest.json").read_text()


def test_a_template_of_another_kind_is_refused(home: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(home / "dataset")
    with pytest.raises(ExportError, match="prompt vqa_chat is for vqa; the config planner needs one of its own"):
        export(dataset, tmp_path / "out", ExportOptions(planner=PlannerOptions(prompt="vqa_chat")), workers=0)
    with pytest.raises(SchemaError, match="no prompt named 'nope'"):
        export(dataset, tmp_path / "out", ExportOptions(vqa=VqaOptions(prompt="nope")), workers=0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"vqa": VqaOptions(kinds=("colour",))}, "vqa kind 'colour'"),
        ({"vqa": VqaOptions(), "cameras": ()}, "test_arm has no camera"),
        ({"vqa": VqaOptions(external=(ExternalData(name="x", path=Path("no"), format="llava", share=0.5),))}, "x: "),
    ],
)
def test_what_can_not_be_asked_is_refused(home: Path, tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ExportError, match=match):
        export(Dataset.open(home / "dataset"), tmp_path / "out", ExportOptions(**options), workers=0)
    assert not (tmp_path / "out/manifest.json").exists()


# The folder ---------------------------------------------------------------------------------------------------------


def test_the_card_declares_each_config_with_a_digest_of_its_own(one: Path) -> None:
    front = yaml.safe_load((one / "README.md").read_text().split("---")[1])
    assert [c["config_name"] for c in front["configs"]] == ["executor", "planner", "vqa"]
    assert [c.get("default") for c in front["configs"]] == [True, None, None]
    digests = {c: m["content_digest"] for c, m in manifest_of(one)["configs"].items()}
    for config in front["configs"]:
        assert config["description"].endswith(f"content sha256 {digests[config['config_name']]}")
        assert {f["split"] for f in config["data_files"]} == set(HALVES)
        for files in config["data_files"]:
            assert list(one.glob(files["path"]))
    assert len(set(digests.values())) == 3


def test_other_questions_change_one_config_alone(home: Path, one: Path, tmp_path: Path) -> None:
    vqa = VqaOptions(per_episode=12, seed=1)
    export(Dataset.open(home / "dataset"), tmp_path / "out", options_of(home, vqa=vqa), workers=0)
    before, after = tree(one), tree(tmp_path / "out")
    changed = {n for n in before if n.startswith("data/") and before[n] != after[n]}
    assert changed == {f"data/vqa/{s}-00000-of-00001.parquet" for s in HALVES}


def test_the_number_of_workers_does_not_matter(home: Path, one: Path, tmp_path: Path) -> None:
    export(Dataset.open(home / "dataset"), tmp_path / "out", options_of(home), workers=2)
    assert tree(tmp_path / "out") == tree(one)


def test_shards_are_cut_and_each_has_its_part_of_others_rows(home: Path, tmp_path: Path) -> None:
    options = options_of(home, shard_bytes=100_000)
    planned = plan(Dataset.open(home / "dataset"), options, workers=0)
    result = export(Dataset.open(home / "dataset"), tmp_path / "out", options, workers=0)
    assert result.configs["vqa"]["train"].shards > 1
    assert {c: {n: s.rows for n, s in own.items()} for c, own in planned.texts.items()} == {
        c: {n: s.rows for n, s in own.items()} for c, own in result.configs.items() if c != "executor"
    }
    for path in (tmp_path / "out/data/vqa").glob("*.parquet"):
        sources = pq.read_table(path, columns=["source"])["source"].to_pylist()
        assert abs(sources.count("squares") - 0.25 * len(sources)) <= 1
    assert verify(tmp_path / "out", home / "dataset", workers=0).problems == ()


def test_an_interrupted_export_goes_on(home: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def fails_at_the_last(unit: Any) -> Any:
        if unit.shard.config == "vqa" and unit.shard.split == "validation":
            raise KeyboardInterrupt
        done.append(unit.shard.file)
        return _text_shard.write_text_shard(unit)

    out, dataset = tmp_path / "out", Dataset.open(home / "dataset")
    monkeypatch.setattr(_work, "write_text_shard", fails_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        export(dataset, out, options_of(home), workers=0)
    assert not (out / "manifest.json").exists()
    assert len(done) == 3
    monkeypatch.undo()
    monkeypatch.setattr(_verify, "_load_once", lambda *_: [])
    assert export(dataset, out, options_of(home), workers=0).kept == 5
    assert tree(out) == tree(one)
    assert export(dataset, out, options_of(home), workers=0).kept == 6


def test_configs_that_are_not_asked_for_any_more_go(home: Path, own: Path) -> None:
    export(Dataset.open(own.parent / "dataset"), own, options_of(own.parent, planner=None, vqa=None), workers=0)
    assert [p.name for p in (own / "data").iterdir()] == ["executor"]
    assert list(manifest_of(own)["configs"]) == ["executor"]


def test_a_config_without_rows_is_not_declared(dataset: Dataset, tmp_path: Path) -> None:
    result = export(dataset, tmp_path / "out", ExportOptions(planner=PlannerOptions()), workers=0)
    assert list(result.configs) == ["executor"]
    assert "planner: no episode gives a row; the config is not declared" in result.notes
    assert "planner: episodes without subtasks: 6" in result.notes
    assert "planner" not in (tmp_path / "out/README.md").read_text().split("---")[1]
    assert not (tmp_path / "out/data/planner").exists()
    assert verify(tmp_path / "out", dataset.path, workers=0).problems == ()


LOADED = """
import base64, json, sys
import datasets

def plain(value):
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return base64.b64encode(value["bytes"]).decode()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value

out, cache = sys.argv[1:]
for config in ("planner", "vqa"):
    loaded = datasets.load_dataset(out, config, cache_dir=cache)
    streamed = datasets.load_dataset(out, config, cache_dir=cache, streaming=True)
    for name, split in loaded.items():
        assert streamed[name].features == split.features
        rows = split.data.to_pylist()
        flowing = list(streamed[name].decode(False))
        assert rows == flowing, (config, name)
        for row in rows:
            print(json.dumps({"config": config, "split": name, "row": {k: plain(v) for k, v in row.items()}}))
"""


def plain(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return base64.b64encode(value["bytes"]).decode()
    return [plain(v) for v in value] if isinstance(value, list) else value


def test_datasets_gives_the_rows_that_lie_in_the_shards(one: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADED, str(one), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = list(map(json.loads, done.stdout.splitlines()))
    for config in ("planner", "vqa"):
        for split in HALVES:
            rows = [f["row"] for f in found if (f["config"], f["split"]) == (config, split)]
            assert rows == [{k: plain(v) for k, v in row.items()} for row in read_rows(one, config, split)]


# Verification -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_loading")
def test_a_good_export_passes(home: Path, one: Path) -> None:
    result = verify(one, workers=2)
    assert (result.problems, result.notes) == ((), ())
    rows = {c: sum(s["rows"] for s in m["splits"].values()) for c, m in manifest_of(one)["configs"].items()}
    assert result.rows == sum(rows.values())


def change(out: Path, file: str, column: str, function: Callable[[list[Any]], None]) -> None:
    """Change rows of a shard and make the manifest fit, as a careful forger would."""
    table = pq.read_table(out / file)
    values = table[column].to_pylist()
    function(values)
    field = table.schema.field(column)
    table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, type=field.type))
    rewrite(out, file, table)


def rewrite(out: Path, file: str, table: pa.Table) -> None:
    pq.write_table(table, out / file, row_group_size=50)
    manifest = manifest_of(out)
    for line in manifest["files"]:
        data = (out / line["file"]).read_bytes()
        line.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (out / "manifest.json").write_text(json.dumps(manifest))


PLANNER, VQA = "data/planner/train-00000-of-00001.parquet", "data/vqa/train-00000-of-00001.parquet"


def put(place: int, value: Any) -> Callable[[list[Any]], None]:
    def function(values: list[Any]) -> None:
        values[place] = value

    return function


def swap(values: list[Any]) -> None:
    values[0], values[10] = values[10], values[0]


@pytest.mark.parametrize(
    ("file", "column", "function", "match"),
    [
        (PLANNER, "next_subtask", put(0, "drop it"), "row 0: next_subtask: 'drop it' is not what the episode gives"),
        (PLANNER, "history", put(2, ["x"]), r"row 2: history: \['x'\]"),
        (PLANNER, "step_index", put(1, 3), "row 1: step_index: 3 is not"),
        (PLANNER, "is_done", put(0, True), "row 0: is_done: True is not"),
        (PLANNER, "timestamp", put(0, 7.0), "row 0: timestamp: 7.0; the episode gives 0.0"),
        (PLANNER, "observation.state", put(0, [0.0] * 4), "row 0: observation.state"),
        (PLANNER, FRONT, swap, "row 0: observation.images.front: differs from the image of front at step 0"),
        (PLANNER, "prompt", put(0, []), r"row 0: prompt: \[\]; must be"),
        (PLANNER, "completion", swap, "row 0: completion"),
        (PLANNER, "episode_id", put(0, "x"), "row 0: episode_id: 'x'"),
        (VQA, "answer", put(0, "maybe"), "row 0: answer: 'maybe' is not what the episode gives"),
        (VQA, "evidence", put(0, "{}"), "row 0: evidence: '{}' is not"),
        (VQA, "images", swap, "row 0: observation.images.front: differs"),
        (VQA, "cameras", put(0, []), r"row 0: cameras: \[\]"),
        (VQA, "episode_index", put(0, 77), "row 0: episode_index: 77 is no episode of this shard"),
        (VQA, "source", put(0, "else"), "row 0: source: 'else' is not declared"),
    ],
)
def test_a_changed_row_is_found(
    own: Path, file: str, column: str, function: Callable[[list[Any]], None], match: str
) -> None:
    change(own, file, column, function)
    problems = "\n".join(verify(own, workers=0).problems)
    assert re.search(match, problems), problems


def test_a_row_that_is_missing_or_moved_is_found(own: Path) -> None:
    table = pq.read_table(own / PLANNER)
    rewrite(own, PLANNER, pa.concat_tables([table.slice(0, 1), table.slice(2)]))
    problems = "\n".join(verify(own, workers=0).problems)
    assert "rows; the manifest says" in problems
    assert "rows of planner in the shards; must be" in problems
    rewrite(own, PLANNER, pa.concat_tables([table.slice(1, 1), table.slice(0, 1), table.slice(2)]))
    assert any("in order" in p for p in verify(own, workers=0).problems)


def other_row(values: list[Any]) -> int:
    return next(n for n, v in enumerate(values) if v != "episodes")


def test_a_changed_row_of_others_is_found(own: Path) -> None:
    place = other_row(pq.read_table(own / VQA)["source"].to_pylist())
    change(own, VQA, "answer", put(place, "A lie."))
    assert (
        "vqa: train: 12 rows of others' data; the data that is there gives 12, 11 of them equal"
        in verify(own, workers=0).problems
    )


def test_a_changed_image_of_others_is_found(own: Path) -> None:
    place = other_row(pq.read_table(own / VQA)["source"].to_pylist())
    change(own, VQA, "images", put(place, [{"bytes": images.encode_jpeg(np.zeros((9, 9, 3), np.uint8)), "path": None}]))
    problems = verify(own, workers=0).problems
    assert problems == (f"{VQA}: row {place}: images: the image's SHA-256 is not that of the evidence",)


def test_where_others_data_is_gone_it_is_told(own: Path) -> None:
    shutil.rmtree(own.parent / "others")
    result = verify(own, workers=0)
    assert result.problems == ()
    assert result.notes == ("others' data squares not found: their rows were compared with themselves alone",)


def test_an_image_in_two_splits_is_found(own: Path) -> None:
    shutil.rmtree(own.parent / "others")
    train, validation = (pq.read_table(own / VQA.replace("train", s)) for s in HALVES)
    mine, theirs = (other_row(t["source"].to_pylist()) for t in (train, validation))
    columns = ("images", "evidence", "question", "answer", "prompt", "target", "completion")
    for column in columns:
        change(own, VQA, column, put(mine, validation[column].to_pylist()[theirs]))
    assert any("of others' data is in train as well" in p for p in verify(own, workers=0).problems)


def test_a_shard_that_is_missing_or_damaged_is_found(own: Path) -> None:
    (own / VQA).write_bytes(b"PAR1" + bytes(100))
    (own / PLANNER).unlink()
    problems = "\n".join(verify(own, workers=0).problems)
    assert f"{PLANNER}: missing" in problems
    assert f"{VQA}: file: can't be read" in problems
