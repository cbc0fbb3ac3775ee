"""Verification says what is not so, and nothing where all is as it must be."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from vladata.errors import ExportError
from vladata.mixtures.mix import mix
from vladata.mixtures.verify import verify_mixture


@pytest.fixture(scope="module")
def made(three_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two parts and of a mixture of each layout; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("arm", "small"):
        shutil.copytree(three_parts / name / "shards", folder / name)
    for layout in ("padded", "apart"):
        recipe = folder / f"{layout}.yaml"
        recipe.write_text(
            f"mixture: 1\nlayout: {layout}\nparts:\n  - {{name: arm, export: arm, weight: 0.5}}\n"
            "  - {name: small, export: small, max_rows: 20}\n"
        )
        mix(recipe, folder / layout, workers=0)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parts and mixtures together at another place; without the load through `datasets`, which takes seconds."""
    monkeypatch.setattr("vladata.mixtures.verify._load_once", lambda *_: [])
    shutil.copytree(made, tmp_path / "there")
    return tmp_path / "there"


def rewrite(out: Path, file: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a shard and the manifest with it: what only a comparison of rows can find."""
    path, manifest = out / file, json.loads((out / "manifest.json").read_text())
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path, row_group_size=50)
    for line in manifest["files"]:
        if line["file"] == file:
            line["size"], line["sha256"] = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("layout", ["padded", "apart"])
def test_a_mixture_is_as_it_was_written_also_through_datasets(made: Path, layout: str) -> None:
    found = verify_mixture(made / layout, workers=1)
    assert found.problems == ()
    assert found.rows == {"padded": 100 + 27, "apart": 80 + 22 + 27 + 100}[layout]


@pytest.mark.parametrize("layout", ["padded", "apart"])
def test_at_another_place_it_still_finds_its_parts(folder: Path, layout: str) -> None:
    assert verify_mixture(folder / layout, workers=0).problems == ()


def column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


def at(table: pa.Table, part: str) -> int:
    return int(table.column("part").to_pylist().index(part))


def changed(name: str, part: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """A change of one value in the first row of a part."""

    def apply(table: pa.Table) -> pa.Table:
        values = table.column(name).to_pylist()
        row = at(table, part)
        values[row] = change(values[row])
        return column(table, name, pa.array(values, type=table.schema.field(name).type))

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("action", "arm", lambda v: [v[0] + 1, *v[1:]]), "action: differs from the part's"),
        (changed("action", "small", lambda v: [*v[:6], 1.0]), "action: padding is not as it must be"),
        (changed("action_mask", "small", lambda _: [True] * 7), "action_mask: must be true for the part's own 4"),
        (changed("state_mask", "arm", lambda _: [False] * 7), "state_mask: must be true for the part's own 7"),
        (changed("observation.state", "arm", lambda _: [0.0] * 7), "observation.state: differs from the part's"),
        (changed("action_is_pad", "arm", lambda v: [not x for x in v]), "action_is_pad: differs from the part's"),
        (changed("task", "arm", lambda _: "dance"), "task: differs from the part's"),
        (changed("action_codes", "arm", lambda v: v[::-1]), "action_codes: differs from the part's"),
        (
            changed("observation.images.front", "arm", lambda v: {**v, "bytes": v["bytes"] + b" "}),
            "observation.images.front: differs from the part's",
        ),
        (
            changed("observation.images.front", "small", lambda _: {"bytes": b"x", "path": None}),
            "observation.images.front: is there, and the part has none",
        ),
        (changed("part", "arm", lambda _: "small"), "part: 'small'; must be 'arm'"),
        (changed("embodiment", "arm", lambda _: "other"), "embodiment: 'other'; must be 'arm_robot'"),
        (lambda t: t.slice(1), "99 rows; the plan has 100"),
        (lambda t: t.take(pa.array(list(range(len(t)))[::-1])), "differs from the part's"),
        (lambda t: t.filter(pc.equal(t["part"], "arm")), "part small: 0 rows of train; the plan has"),
    ],
)
def test_a_changed_row_is_found(folder: Path, change: Callable[[pa.Table], pa.Table], reason: str) -> None:
    (path,) = (folder / "padded").glob("data/executor/train-*")
    rewrite(folder / "padded", path.relative_to(folder / "padded").as_posix(), change)
    problems = verify_mixture(folder / "padded", workers=0).problems
    assert any(reason in p for p in problems), problems


@pytest.mark.parametrize("layout", ["padded", "apart"])
@pytest.mark.parametrize(
    "file", ["README.md", "mixture.json", "dataset_statistics.json", "action_tokenizer/arm/action_tokenizer.json"]
)
def test_a_changed_file_is_found(folder: Path, layout: str, file: str) -> None:
    path = folder / layout / file
    path.write_bytes(path.read_bytes().replace(b"arm", b"ARM") if file == "README.md" else path.read_bytes() + b" ")
    problems = verify_mixture(folder / layout, workers=0).problems
    assert f"{file}: size or SHA-256 differ from the manifest's" in problems
    path.unlink()
    if file != "mixture.json":
        assert f"{file}: missing" in verify_mixture(folder / layout, workers=0).problems


@pytest.mark.parametrize("layout", ["padded", "apart"])
def test_a_changed_or_further_shard_is_found(folder: Path, layout: str) -> None:
    out = folder / layout
    path = min(out.glob("data/*/train-*"))
    name = path.relative_to(out).as_posix()
    data = path.read_bytes()
    path.unlink()  # in the apart layout it is the part's own
    path.write_bytes(data[:-1])
    (path.parent / "more.parquet").write_bytes(b"")
    problems = verify_mixture(out, workers=0).problems
    assert any(name in p and "differ" in p for p in problems)
    assert any("more.parquet: not in the manifest" in p for p in problems)
    path.unlink()
    assert any(name in p and "missing" in p for p in verify_mixture(out, workers=0).problems)


def test_another_order_of_the_epoch_is_found(folder: Path) -> None:
    rewrite(folder / "apart", "epoch.parquet", lambda t: t.slice(1))
    problems = verify_mixture(folder / "apart", workers=0).problems
    assert "epoch.parquet: is not the order that recipe and parts give" in problems
    assert any("rows of train; the plan has" in p for p in problems)


def test_a_plan_that_was_written_by_hand_is_found(folder: Path) -> None:
    path = folder / "padded" / "mixture.json"
    path.write_text(path.read_text().replace('"most": 1', '"most": 2'))
    problems = verify_mixture(folder / "padded", workers=0).problems
    assert "mixture.json: is not the plan that recipe and parts give" in problems


def test_a_part_that_was_changed_since_or_is_gone(folder: Path) -> None:
    manifest = folder / "arm" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text + "\n")
    problems = verify_mixture(folder / "padded", workers=0).problems
    assert any(p.startswith("part arm: the export was changed since") for p in problems)
    manifest.unlink()
    with pytest.raises(ExportError, match=r"the mixture can't be planned again: part arm: .* is no whole export"):
        verify_mixture(folder / "padded", workers=0)
    (folder / "padded" / ".origin.json").unlink()
    with pytest.raises(ExportError, match="does not say where its parts are"):
        verify_mixture(folder / "padded", workers=0)


def test_what_is_no_mixture(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no mixture; manifest\.json is missing"):
        verify_mixture(folder / "arm", workers=0)
    manifest = folder / "padded" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version":1', '"format_version":7', 1))
    with pytest.raises(ExportError, match="mixture version 7; this release reads 1"):
        verify_mixture(folder / "padded", workers=0)
    manifest.unlink()
    (folder / "padded" / ".unfinished").mkdir()
    with pytest.raises(ExportError, match="this mixture is not finished; run vladata mix again"):
        verify_mixture(folder / "padded", workers=0)
