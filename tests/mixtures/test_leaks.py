"""Episodes that one part trains on and another holds out never go by unseen."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from vladata.errors import ExportError
from vladata.exporters.huggingface import ExportOptions
from vladata.mixtures.mix import mix, plan

Recipe = Callable[..., Path]
SPLITS = {"train": 0.5, "validation": 0.5}
ONE_STEP: dict[str, Any] = {"tokenizer": "openvla_bins", "horizon": 1}


@pytest.fixture
def lines(make_part: Callable[..., Path]) -> list[dict[str, Any]]:
    """Two exports of the same eight episodes, each split in its own way."""
    made = []
    for name, seed in (("one", 1), ("two", 2)):
        options = ExportOptions(**ONE_STEP, splits=SPLITS, seed=seed)
        episodes = [{"seed": i, "duration_s": 0.5} for i in range(8)]
        made.append({"name": name, "export": str(make_part(name, episodes, options, cameras=()))})
    return made


def episodes(line: dict[str, Any]) -> dict[str, str]:
    """Split of each content."""
    manifest = json.loads((Path(line["export"]) / "manifest.json").read_text())
    return {e["content_digest"]: e["split"] for e in manifest["episodes"]}


def test_they_are_refused(lines: list[dict[str, Any]], recipe: Recipe, tmp_path: Path) -> None:
    one, two = map(episodes, lines)
    assert set(one) == set(two)
    count = sum(one[c] != two[c] for c in one)
    assert count
    with pytest.raises(
        ExportError, match=rf"{count} episodes \({count * 6} rows\) are trained on by one part and held out by another"
    ):
        mix(recipe(*lines), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_or_left_out_of_training_and_counted(lines: list[dict[str, Any]], recipe: Recipe, tmp_path: Path) -> None:
    one, two = map(episodes, lines)
    both = {c for c in one if one[c] == two[c] == "train"}
    out = tmp_path / "out"
    found = mix(recipe(*lines, leaks="leave_out"), out, workers=0).plan
    manifest = json.loads((Path(lines[0]["export"]) / "manifest.json").read_text())
    content = {e["episode_id"]: e["content_digest"] for e in manifest["episodes"]}
    second = json.loads((Path(lines[1]["export"]) / "manifest.json").read_text())
    content |= {e["episode_id"]: e["content_digest"] for e in second["episodes"]}
    rows = {n: pq.read_table(next(out.glob(f"data/executor/{n}-*"))).to_pylist() for n in ("train", "validation_one")}
    assert {content[r["episode_id"]] for r in rows["train"]} == both
    held = {content[r["episode_id"]] for r in rows["validation_one"]}
    assert held == {c for c in one if one[c] == "validation"}
    left = Counter(leak["part"] for leak in found.leaks)
    for part in found.parts:
        assert part.left_out == 6 * left[part.name] == part.rows - part.pool
        if part.left_out:
            note = f"{part.name}: {part.left_out} rows are left out of training, for another part holds them out"
            assert note in found.notes
    assert f"episodes that several parts train on: {len(both)}; they count for each" in found.notes
    # In the apart layout the shards hold them, and the mixture says so.
    apart = plan(recipe(*lines, leaks="leave_out", layout="apart"), workers=0)
    assert any(n.startswith("leaks: only epoch.parquet leaves those rows out") for n in apart.notes)


def test_a_part_of_which_nothing_is_left_is_an_error(make_part: Callable[..., Path], recipe: Recipe) -> None:
    first = [{"seed": 1, "duration_s": 0.5}, {"seed": 2, "duration_s": 0.5}]
    one = make_part("one", first, ExportOptions(**ONE_STEP, splits=SPLITS), cameras=())
    held = [c for c, s in episodes({"export": str(one)}).items() if s == "validation"]
    manifest = json.loads((one / "manifest.json").read_text())
    place = next(e["place"] for e in manifest["episodes"] if e["content_digest"] == held[0])
    seed = 1 if "000" in place else 2
    two = make_part(
        "two", [{"seed": seed, "duration_s": 0.5}], ExportOptions(**ONE_STEP, splits={"train": 1.0}), cameras=()
    )
    lines = [{"name": "one", "export": str(one)}, {"name": "two", "export": str(two)}]
    with pytest.raises(ExportError, match="part two: other parts hold out all its 6 rows of train"):
        plan(recipe(*lines, leaks="leave_out"), workers=0)
