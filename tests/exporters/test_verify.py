"""Verification finds what was changed, and says where."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vladata.errors import ExportError, GateError
from vladata.exporters import _verify
from vladata.exporters.huggingface import ExportOptions, export, verify
from vladata.store.dataset import Dataset

SHARD = "data/executor/train-00000-of-00001.parquet"


def change_column(out: Path, column: str, change: Callable[[list[Any]], None]) -> None:
    """Change rows of a shard and make its size and SHA-256 in the manifest fit, as a careful forger would."""
    path = out / SHARD
    table = pq.read_table(path)
    values = table[column].to_pylist()
    change(values)
    index = table.schema.get_field_index(column)
    changed = table.set_column(
        index, table.schema.field(column), pa.array(values, type=table.schema.field(column).type)
    )
    pq.write_table(changed, path, row_group_size=50)
    refresh(out)


def refresh(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    for line in manifest["files"]:
        data = (out / line["file"]).read_bytes()
        line.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (out / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def with_loading() -> None:
    """Asks for loading through `datasets`."""


@pytest.fixture(autouse=True)
def without_loading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading through `datasets` takes seconds and sees no single value; tests that want it say so."""
    if "with_loading" not in request.fixturenames:
        monkeypatch.setattr(_verify, "_load_once", lambda *_: [])


@pytest.mark.usefixtures("with_loading")
def test_a_good_export_passes(one_export: Path) -> None:
    result = verify(one_export, workers=0)
    assert result.problems == ()
    assert (result.rows, result.files) == (96, 6)
    assert result.bytes == sum(p.stat().st_size for p in one_export.rglob("*") if p.is_file()) - sum(
        (one_export / n).stat().st_size for n in ("manifest.json", ".origin.json")
    )


@pytest.mark.usefixtures("with_loading")
@pytest.mark.parametrize(
    "options",
    [
        ExportOptions(image_size=(20, 30), resize="stretch", shard_bytes=100_000),
        ExportOptions(horizon=3, representation="delta", chunk_end="drop", cameras=("wrist",), proprioception=()),
    ],
    ids=["resized", "some columns"],
)
def test_other_exports_pass_in_workers(dataset: Dataset, tmp_path: Path, options: ExportOptions) -> None:
    export(dataset, tmp_path / "out", options, workers=0)
    assert verify(tmp_path / "out", dataset.path, workers=2).problems == ()


def set_value(row: int, *place: int, to: object) -> Callable[[list[Any]], None]:
    def change(values: list[Any]) -> None:
        target: Any = values[row]
        for index in place[:-1]:
            target = target[index]
        if place:
            target[place[-1]] = to
        else:
            values[row] = to

    return change


def swap(values: list[Any]) -> None:
    values[3], values[4] = values[4], values[3]


@pytest.mark.parametrize(
    ("column", "change", "found"),
    [
        ("action", set_value(7, 2, to=0.125), r"row 7: action\[2\]: 0.125; the episode gives"),
        ("observation.state", set_value(60, 0, to=9.0), r"row 60: observation.state\[0\]: 9.0; the episode gives"),
        ("action_chunk", set_value(7, 1, 0, to=0.5), r"row 7: action_chunk\[1, 0\]: 0.5; the episode gives"),
        ("action_is_pad", set_value(7, 3, to=True), r"row 7: action_is_pad\[3\]: True; the episode gives False"),
        ("action_codes", set_value(11, 5, to=3), r"row 11: action_codes\[5\]: 3; the episode gives"),
        ("action_codes", set_value(11, 5, to=300), r"row 11: action_codes\[5\]: 300; the episode gives"),
        ("task", set_value(2, to="drop it"), r"row 2: task: 'drop it'; the episode gives 'put the cube"),
        ("timestamp", set_value(2, to=7.5), r"row 2: timestamp: 7.5; the episode gives 0.2"),
        ("observation.images.front", swap, r"row 3: observation.images.front: differs from frame"),
        ("step_index", set_value(5, to=6), r"15 of them different steps; must be 16, in order"),
        ("step_index", set_value(5, to=99), r"row 5: step_index: 99 is no row of demo_"),
        ("episode_index", set_value(5, to=77), r"row 5: episode_index: 77 is no episode of this shard"),
    ],
)
def test_one_changed_value_is_found_with_row_and_column(
    own_export: Path, column: str, change: Callable[[list[Any]], None], found: str
) -> None:
    change_column(own_export, column, change)
    problems = verify(own_export, workers=0).problems
    assert any(p.startswith((f"{SHARD}: ", "episode ")) for p in problems)
    assert [p for p in problems if re.search(found, p)], problems


def test_a_flipped_bit_anywhere_is_found(own_export: Path) -> None:
    rng = np.random.default_rng(0)
    names = [p.relative_to(own_export).as_posix() for p in own_export.rglob("*.*") if p.is_file()]
    for name in (n for n in names if n not in {"manifest.json", ".origin.json"}):
        path = own_export / name
        before = path.read_bytes()
        data = bytearray(before)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        problems = verify(own_export, workers=0).problems
        assert any(name in p for p in problems), name
        path.write_bytes(before)


@pytest.mark.usefixtures("with_loading")
def test_a_card_that_datasets_can_not_load_by_is_found(own_export: Path) -> None:
    card = own_export / "README.md"
    card.write_text(card.read_text().replace("data/executor/validation-*", "data/executor/valid-*"))
    refresh(own_export)
    assert any(p.startswith("datasets.load_dataset: ") for p in verify(own_export, workers=0).problems)


def test_missing_and_unknown_files_are_named(own_export: Path) -> None:
    shutil.move(own_export / SHARD, own_export / "data/executor/copy.parquet")
    (own_export / "norm_stats.json").unlink()
    problems = verify(own_export, workers=0).problems
    assert f"{SHARD}: missing" in problems
    assert "norm_stats.json: missing" in problems
    assert "data/executor/copy.parquet: not in the manifest" in problems


def test_a_missing_row_is_found(own_export: Path) -> None:
    table = pq.read_table(own_export / SHARD)
    pq.write_table(pa.concat_tables([table.slice(0, 10), table.slice(11)]), own_export / SHARD, row_group_size=50)
    refresh(own_export)
    problems = verify(own_export, workers=0).problems
    assert f"{SHARD}: 79 rows; the manifest says 80" in problems
    assert any("15 rows in the shards, 15 of them different steps; must be 16" in p for p in problems)


def test_content_in_two_splits_is_found(own_export: Path) -> None:
    manifest = json.loads((own_export / "manifest.json").read_text())
    one = next(e for e in manifest["episodes"] if e["split"] == "validation")
    other = next(e for e in manifest["episodes"] if e["split"] == "train")
    one["content_digest"] = other["content_digest"]
    (own_export / "manifest.json").write_text(json.dumps(manifest))
    assert any("are in train and validation" in p for p in verify(own_export, workers=0).problems)


def test_an_edit_after_the_export_shows(own_export: Path, own_dataset: Dataset) -> None:
    own_dataset.edits.append(
        {"action": "relabel", "recording_id": own_dataset.entries[0].recording_id, "text": "no"}, "me"
    )
    problems = verify(own_export, workers=0).problems
    assert "the dataset was changed since the export" in problems[0]
    assert any("task: 'put the cube into the bin'; the episode gives 'no'" in p for p in problems)


def test_the_dataset_is_found_beside_the_export_or_named(
    own_export: Path, own_dataset: Dataset, tmp_path: Path
) -> None:
    own_dataset.path.rename(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="its dataset can't be opened, name another place"):
        verify(own_export, workers=0)
    assert verify(own_export, tmp_path / "elsewhere", workers=0).problems == ()


def test_what_is_no_whole_export_is_refused(tmp_path: Path, own_export: Path) -> None:
    with pytest.raises(ExportError, match="no export"):
        verify(tmp_path, workers=0)
    (own_export / "manifest.json").unlink()
    (own_export / ".unfinished").mkdir()
    with pytest.raises(ExportError, match="not finished; run vladata export again"):
        verify(own_export, workers=0)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "vladata-export", "format_version": 99}'])
def test_a_damaged_manifest_is_one_line(own_export: Path, text: str) -> None:
    (own_export / "manifest.json").write_text(text)
    with pytest.raises(ExportError):
        verify(own_export, workers=0)


def test_a_manifest_can_not_lead_out_of_its_folder(own_export: Path) -> None:
    manifest = json.loads((own_export / "manifest.json").read_text())
    manifest["files"].append({"file": "../../etc/passwd", "size": 1, "sha256": ""})
    (own_export / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GateError, match="must stay under its folder"):
        verify(own_export, workers=0)
