"""The card: filled from the data, safe, and its code works."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vladata.exporters.huggingface import ExportOptions, export
from vladata.recording import Instruction, Outcome
from vladata.store.dataset import Dataset

MakeDataset = Callable[..., Dataset]


def front_matter(card: str) -> dict[str, Any]:
    head = card.split("---\n")[1]
    content: dict[str, Any] = yaml.safe_load(head)
    return content


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_front_matter_declares_splits_and_carries_the_digest(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = export(dataset, out, ExportOptions(), workers=0)
    content = front_matter((out / "README.md").read_text())
    (config,) = content["configs"]
    assert config["config_name"] == "executor"
    assert result.content_digest in config["description"]
    assert [f["split"] for f in config["data_files"]] == ["train", "validation"]
    for files in config["data_files"]:
        assert len(list(out.glob(files["path"]))) == 1
    assert content["size_categories"] == ["n<1K"]


def test_numbers_on_the_card_are_those_of_the_data(make_dataset: MakeDataset, tmp_path: Path) -> None:
    failed = {"outcomes": (Outcome(kind="failure"),), "instructions": (Instruction(text="lift the cube"),)}
    dataset = make_dataset({}, {}, failed, {"outcomes": (), "draft": {"metadata": {"licence": "CC-BY-4.0"}}})
    export(
        dataset, tmp_path / "out", ExportOptions(splits={"train": 1.0}, tokenizer="openvla_bins", horizon=2), workers=0
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "64 rows from 4 demonstrations at 10 Hz" in card
    assert "| `train` | 4 | 64 | 1 | 2 | 1 | 1 |" in section(card, "Splits and outcomes")
    assert "| put the cube into the bin | 48 | 3 |" in section(card, "Tasks")
    assert "| lift the cube | 16 | 1 |" in section(card, "Tasks")
    assert "Licence: CC-BY-4.0." in card
    actions = np.concatenate([e.steps.action["command"][:, 0] for e in dataset])
    row = next(line for line in section(card, "Actions").splitlines() if "`command.joint_0`" in line)
    targets = np.concatenate([actions, *(e.steps.action["command"][1:, 0] for e in dataset)]).astype(np.float64)
    assert f"| {targets.min():.5g} | {np.quantile(targets, 0.01):.5g} | {targets.mean():.5g} |" in row
    assert "| `command.gripper` | 1 | absolute |" in section(card, "Actions")
    assert "passes through" in section(card, "Actions")


def test_skew_is_the_quantile_of_the_ages(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset({"rates_hz": {"front": 7.0}})
    export(dataset, tmp_path / "out", ExportOptions(), workers=0)
    line = next(x for x in section((tmp_path / "out/README.md").read_text(), "Timing").splitlines() if "`front`" in x)
    p50, p95, largest = (float(cell) for cell in line.split("|")[2:5])
    ages = dataset[0].steps.age_ns["front"] / 1e6
    assert p95 == pytest.approx(np.quantile(ages, 0.95, method="inverted_cdf"), abs=0.11)
    assert p50 == pytest.approx(np.quantile(ages, 0.5, method="inverted_cdf"), abs=0.11)
    assert largest == pytest.approx(ages.max(), abs=0.11)


def test_rows_that_were_steps_have_no_measured_skew(make_dataset: MakeDataset, tmp_path: Path) -> None:
    rows = {"draft": {"sync": {"policy": {"step_clock": "rows"}}}}
    export(make_dataset(rows), tmp_path / "out", ExportOptions(), workers=0)
    assert "not measured" in section((tmp_path / "out" / "README.md").read_text(), "Timing")


HOSTILE = (
    "a | b\n---\n# x <script>alert(1)</script> [l](http://e.example) ![i](http://e.example/i.png) `c` \x1b[31m {{x}}"
)


def test_text_of_strangers_is_text(make_dataset: MakeDataset, tmp_path: Path) -> None:
    hostile = {"instructions": (Instruction(text=HOSTILE),), "draft": {"notes": [HOSTILE]}, "place": "d\n---\n.mcap"}
    export(make_dataset(hostile, {}), tmp_path / "out", ExportOptions(), workers=0)
    card = (tmp_path / "out" / "README.md").read_text()
    assert list(front_matter(card)) == ["pretty_name", "task_categories", "tags", "size_categories", "configs"]
    assert "\x1b" not in card
    assert "\n---\n# x" not in card
    bare = re.sub(r"\\.", "", card.split("---\n", 2)[2])
    assert "<script" not in bare
    assert "](" not in bare
    (line,) = (x for x in section(card, "Tasks").splitlines() if "script" in x)
    assert len(re.findall(r"(?<!\\)\|", line)) == 4


def test_sources_that_left_something_out_are_quoted(make_dataset: MakeDataset, tmp_path: Path) -> None:
    noted = {"draft": {"notes": ["topic /tf was left out"]}}
    result = export(make_dataset(noted, noted, {}), tmp_path / "out", ExportOptions(), workers=0)
    assert "source, episodes: 2: topic /tf was left out" in result.notes
    assert "- source, episodes: 2: topic /tf was left out" in (tmp_path / "out" / "README.md").read_text()


def test_the_code_on_the_card_decodes_an_action(one_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    card = (one_export / "README.md").read_text()
    load, decode = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert 'load_dataset("path/to/this/folder", split="train")' in load
    rows = pq.read_table(next(one_export.glob("data/executor/train-*"))).to_pylist()
    names: dict[str, Any] = {"rows": rows}
    exec(decode.replace("path/to/this/folder", str(one_export)), names)
    assert names["chunk"] == pytest.approx(np.array(rows[0]["action_chunk"]), abs=0.02)
